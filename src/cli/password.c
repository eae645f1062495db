/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/password.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/secret.h"
#include "cli/login.h"
#include "cli/prompt.h"
#include "tenant/credential.h"

#define GENERATED 25u /* letters of five bits each */
#define ROOM      (CREDENTIAL_PASSWORD_MAX + 2u)

static int complain(const struct command *c, const char *what, const char *why)
{
    (void)fprintf(stderr, "sallyport %s: %s: %s\n", c->name, what, why);
    return EXIT_REFUSED;
}

void password_done(struct buf *password)
{
    if (password->p)
        explicit_bzero(password->p, password->cap);
    buf_done(password);
}

/* ---- the terminal ---- */

static int no_terminal(const struct command *c, const char *hint)
{
    return command_wrong(c, "there is no terminal to ask on: %s", hint);
}

/* Into |out|, which has room for a password and one byte more, so that one that is too long is seen
 * to be. */
static enum err ask_once(const char *text, struct buf *out)
{
    enum err e = prompt_secret(text, out->p, out->cap);

    out->n = e ? 0 : strlen(out->p);
    return e;
}

static int ask_twice(const struct command *c, struct buf *out)
{
    struct buf again;
    int code = EXIT_FINE;
    enum err e = ERR_NOMEM;

    buf_init(&again, 0);
    if (buf_reserve(&again, ROOM))
        e = ask_once("Password: ", out);
    if (!e)
        e = ask_once("The same again: ", &again);
    if (e == ERR_MISSING)
        code = no_terminal(c, "say --password-file or --generate, or set $" LOGIN_VARIABLE);
    else if (e)
        code = complain(c, "the password", "cannot be read from the terminal");
    else if (!span_eq(buf_span(out), buf_span(&again)))
        code = complain(c, "the two passwords", "are not the same; nothing was changed");
    password_done(&again);
    return code;
}

int password_confirm(const struct command *c, const char *question, bool *ret_yes)
{
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    char line[256];

    if (fd < 0)
        return no_terminal(c, "say --yes when you mean it");
    (void)dprintf(fd, "%s [y/N] ", question);
    *ret_yes = prompt_line(fd, line, sizeof line) == OK &&
               (span_ieq(span_of(line), SPAN("y")) || span_ieq(span_of(line), SPAN("yes")));
    (void)close(fd);
    return EXIT_FINE;
}

/* ---- other sources ---- */

static int from_stdin(const struct command *c, struct buf *out)
{
    enum err e = prompt_line(STDIN_FILENO, out->p, out->cap);

    if (e == OK || e == ERR_EOF)
        return EXIT_FINE;
    return command_wrong(c, "standard input: %s",
                         e == ERR_IO ? strerrordesc_np(errno) : "its first line is no password");
}

static int from_file(const struct command *c, const char *path, struct buf *out)
{
    int code = strcmp(path, "-") == 0
                   ? from_stdin(c, out)
                   : login_read_file(c->name, "--password-file", path, out->p, out->cap);

    out->n = code == EXIT_FINE ? strlen(out->p) : 0;
    return code;
}

/* Taken out of the environment, where others of this user could read it as long as we run. */
static void from_variable(char *value, struct buf *out)
{
    buf_text(out, value);
    explicit_bzero(value, strlen(value));
    (void)unsetenv(LOGIN_VARIABLE);
}

/* Letters that are hard to mistake for one another, as in ids of records. */
static int generate(const struct command *c, struct buf *out)
{
    static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";
    uint8_t random[GENERATED];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return complain(c, "no password", "there is no randomness");
    for (unsigned i = 0; i < GENERATED; i++) {
        if (i && i % 5 == 0)
            buf_char(out, '-');
        buf_char(out, letters[random[i] & 31]);
    }
    explicit_bzero(random, sizeof random);
    return EXIT_FINE;
}

int password_read(const struct command *c, const struct password_source *from, struct buf *out)
{
    char *value = getenv(LOGIN_VARIABLE);
    const char *why;
    int code = EXIT_FINE;

    if (from->file && from->generate)
        return command_wrong(c, "--password-file and --generate do not go together");
    secret_forbid_cores();
    if (!buf_reserve(out, ROOM)) /* so that it never moves */
        return complain(c, "no password", "there is no memory");
    if (from->generate)
        code = generate(c, out);
    else if (from->file)
        code = from_file(c, from->file, out);
    else if (value)
        from_variable(value, out);
    else
        code = ask_twice(c, out);
    if (code == EXIT_FINE && !credential_password_is_valid(buf_span(out), &why))
        code = complain(c, "the password cannot be used", why);
    return code;
}
