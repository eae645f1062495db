/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/password.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <termios.h>
#include <unistd.h>

#include "tenant/credential.h"

#define GENERATED 25u /* letters of five bits each */

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

/* ---- one line ---- */

static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
static volatile sig_atomic_t caught; /* while the terminal does not echo */

/* Byte by byte: what follows the line is somebody else's. False: errno, or 0 for a line that is too
 * long. Without its line end. */
static bool read_line(int fd, struct buf *out)
{
    char c = 0;
    ssize_t n;

    while ((n = read(fd, &c, 1)) != 0 && c != '\n') {
        if (n < 0 && errno == EINTR && !caught)
            continue;
        if (n < 0)
            return false;
        if (out->n > CREDENTIAL_PASSWORD_MAX + 1) {
            errno = 0;
            return false;
        }
        buf_char(out, c);
    }
    if (out->n && out->p[out->n - 1] == '\r')
        out->n--;
    return true;
}

/* ---- the terminal ---- */

static int terminal_open(const struct command *c, const char *hint)
{
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        (void)command_wrong(c, "there is no terminal to ask on: %s", hint);
    return fd;
}

static void on_signal(int signum)
{
    caught = signum;
}

static void catch_signals(struct sigaction before[ARRAY_LEN(ends)])
{
    const struct sigaction sa = {.sa_handler = on_signal}; /* interrupts read(2) */

    caught = 0;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        (void)sigaction(ends[i], &sa, &before[i]);
}

/* And what came meanwhile comes now, with the echo on again. */
static void let_signals(const struct sigaction before[ARRAY_LEN(ends)])
{
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        (void)sigaction(ends[i], &before[i], NULL);
    if (caught)
        (void)raise(caught);
}

static bool read_hidden(int fd, const char *prompt, struct buf *out)
{
    struct sigaction before[ARRAY_LEN(ends)];
    struct termios shown, hidden;

    if (tcgetattr(fd, &shown) != 0)
        return false;
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    catch_signals(before);
    bool ok = tcsetattr(fd, TCSAFLUSH, &hidden) == 0 && dprintf(fd, "%s", prompt) > 0 &&
              read_line(fd, out);

    (void)tcsetattr(fd, TCSAFLUSH, &shown);
    (void)dprintf(fd, "\n");
    let_signals(before);
    return ok && !caught;
}

static int ask_twice(const struct command *c, struct buf *out)
{
    int fd = terminal_open(c, "say --password-file or --generate, or set $" PASSWORD_VARIABLE);
    int code = EXIT_FINE;
    struct buf again;

    if (fd < 0)
        return EXIT_USAGE;
    buf_init(&again, 0);
    if (!buf_reserve(&again, CREDENTIAL_PASSWORD_MAX + 2) || !read_hidden(fd, "Password: ", out) ||
        !read_hidden(fd, "The same again: ", &again))
        code = complain(c, "the password", "cannot be read from the terminal");
    else if (!span_eq(buf_span(out), buf_span(&again)))
        code = complain(c, "the two passwords", "are not the same; nothing was changed");
    password_done(&again);
    (void)close(fd);
    return code;
}

int password_confirm(const struct command *c, const char *question, bool *ret_yes)
{
    int fd = terminal_open(c, "say --yes when you mean it");
    struct buf line;

    if (fd < 0)
        return EXIT_USAGE;
    buf_init(&line, 0);
    (void)dprintf(fd, "%s [y/N] ", question);
    bool ok = read_line(fd, &line);

    *ret_yes =
        ok && (span_ieq(buf_span(&line), SPAN("y")) || span_ieq(buf_span(&line), SPAN("yes")));
    buf_done(&line);
    (void)close(fd);
    return EXIT_FINE;
}

/* ---- other sources ---- */

static int from_file(const struct command *c, const char *path, struct buf *out)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && read_line(fd, out);
    int errnum = ok ? 0 : errno;

    if (fd >= 0 && !is_stdin)
        (void)close(fd);
    if (ok)
        return EXIT_FINE;
    return complain(c, path, errnum ? strerrordesc_np(errnum) : "its first line is too long");
}

/* Taken out of the environment, where others of this user could read it as long as we run. */
static void from_variable(char *value, struct buf *out)
{
    buf_text(out, value);
    explicit_bzero(value, strlen(value));
    (void)unsetenv(PASSWORD_VARIABLE);
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
    char *value = getenv(PASSWORD_VARIABLE);
    const char *why;
    int code = EXIT_FINE;

    if (from->file && from->generate)
        return command_wrong(c, "--password-file and --generate do not go together");
    if (!buf_reserve(out, CREDENTIAL_PASSWORD_MAX + 2)) /* so that it never moves */
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
