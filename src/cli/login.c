/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/login.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/prompt.h"

PRINTF(2, 3)
static int complain(const char *command, const char *fmt, ...)
{
    va_list ap;

    (void)fprintf(stderr, "sallyport %s: ", command);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    return EXIT_USAGE;
}

static bool has_control(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
    return false;
}

/* ---- the environment ---- */

void login_init(struct login *l)
{
    char *value = getenv(LOGIN_VARIABLE); /* NOLINT(concurrency-mt-unsafe): one thread so far */

    *l = (struct login){0};
    if (!value)
        return;
    (void)span_copy(span_of(value), l->password, sizeof l->password);
    /* Where the kernel shows it, in /proc/PID/environ, too. */
    explicit_bzero(value, strlen(value));
    (void)unsetenv(LOGIN_VARIABLE); /* NOLINT(concurrency-mt-unsafe) */
}

void login_wipe(struct login *l)
{
    explicit_bzero(l, sizeof *l);
}

/* ---- the user ---- */

/* RFC 3986 2.1. False: a percent sign without two digits, or longer than |cap| - 1. */
static bool decode(struct span s, char *dst, size_t cap, size_t *ret_n)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '%') {
            int high = i + 1 < s.n ? char_hex(s.p[i + 1]) : -1;
            int low = i + 2 < s.n ? char_hex(s.p[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (n + 1 >= cap)
            return false;
        dst[n++] = c;
    }
    dst[n] = '\0';
    *ret_n = n;
    return true;
}

/* RFC 3986 3.2.1, roughly: what others would end the host before, or not read at all. */
static bool has_foreign_byte(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f || s.p[i] == '#' ||
            s.p[i] == '\\')
            return true;
    return false;
}

/* NULL, or what is wrong with it. */
static const char *take_user(struct login *l, struct span text)
{
    struct span user = {l->user, 0};

    if (span_find(text, ':') < text.n)
        return "a password does not belong into a URL, where everybody on this machine can read "
               "it: leave it out, and give it by --password-file, in " LOGIN_VARIABLE
               ", or when you are asked";
    if (has_foreign_byte(text))
        return "the user in the URL has a byte that may not stand there; write it as % and two "
               "hexadecimal digits";
    if (!decode(text, l->user, sizeof l->user, &user.n))
        return "the user in the URL is longer than 128 bytes, or has a percent sign that is none "
               "of %00 to %FF";
    if (user.n == 0)
        return "the URL has an @ and no user before it";
    if (has_control(user) || !utf8_is_valid(user) || span_find(user, ':') < user.n)
        return "the user in the URL is no name: it has control characters, a colon, or is not "
               "UTF-8";
    return NULL;
}

static size_t authority_end(struct span s)
{
    size_t slash = span_find(s, '/'), query = span_find(s, '?');

    return slash < query ? slash : query;
}

bool login_take_user(struct login *l, const char *url, struct buf *ret_url, const char **ret_why)
{
    struct span all = span_of(url), rest, authority;
    size_t scheme = 0, at;

    while (scheme + 2 < all.n && !span_starts(span_sub(all, scheme, 3), SPAN("://")))
        scheme++;
    rest = span_sub(all, scheme + 3, SIZE_MAX);
    authority = span_sub(rest, 0, authority_end(rest));
    at = span_find(authority, '@');
    if (at == authority.n) {
        buf_add(ret_url, all);
        return true;
    }
    *ret_why = take_user(l, span_sub(authority, 0, at));
    /* Whoever parses the rest must not see another user in it, and another host. */
    if (!*ret_why && span_find(span_sub(authority, at + 1, SIZE_MAX), '@') < authority.n - at - 1)
        *ret_why = "the URL has more than one @ before its path; write %40 for one in the user";
    if (*ret_why) {
        l->user[0] = '\0';
        return false;
    }
    buf_add(ret_url, span_sub(all, 0, scheme + 3));
    buf_add(ret_url, span_sub(rest, at + 1, SIZE_MAX));
    return true;
}

/* ---- the password ---- */

static const char *password_wrong(struct span password)
{
    if (password.n == 0)
        return "it is empty";
    if (password.n > LOGIN_PASSWORD_MAX)
        return "it is longer than 1024 bytes";
    if (has_control(password))
        return "it has control characters";
    return utf8_is_valid(password) ? NULL : "it is not UTF-8";
}

/* As ssh has it: what is ours must be ours alone. Files of others are theirs to protect. */
static bool is_open_to_others(const struct stat *st)
{
    return S_ISREG(st->st_mode) && st->st_uid == getuid() && (st->st_mode & 077) != 0;
}

static int file_wrong(const char *command, const char *option, const char *path, const char *why)
{
    return complain(command, "%s %s: %s", option, path, why);
}

int login_read_file(const char *command, const char *option, const char *path, char *dst,
                    size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;

    explicit_bzero(dst, cap);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int errnum = errno;

        if (fd >= 0)
            (void)close(fd);
        return file_wrong(command, option, path, strerror(errnum));
    }
    if (is_open_to_others(&st)) {
        (void)close(fd);
        return complain(command,
                        "%s %s: others may read it (mode %04o), so it is no secret; chmod 600 it, "
                        "and think of another password",
                        option, path, (unsigned)st.st_mode & 07777u);
    }
    enum err e = prompt_line(fd, dst, cap);
    int errnum = errno;

    (void)close(fd);
    switch (e) {
    case OK:
    case ERR_EOF: return EXIT_FINE;
    case ERR_LIMIT: return file_wrong(command, option, path, "its first line is too long");
    case ERR_SYNTAX: return file_wrong(command, option, path, "it is no text");
    default: return file_wrong(command, option, path, strerror(errnum));
    }
}

static const char *option_of(const struct login *l)
{
    return l->option ? l->option : "--password-file";
}

static int ask_for_password(struct login *l, const char *command, const char *host)
{
    char text[LOGIN_USER_MAX + 300];
    enum err e;

    (void)snprintf(text, sizeof text, "Password of %s at %.255s: ", l->user, host);
    e = prompt_secret(text, l->password, sizeof l->password - 1);
    if (e == OK)
        return EXIT_FINE;
    if (e == ERR_MISSING)
        return complain(command,
                        "no password for user '%s', and no terminal to ask for it; give it by %s%s",
                        l->user, option_of(l), l->option ? "" : ", or in " LOGIN_VARIABLE);
    return complain(command, "no password for user '%s': %s", l->user,
                    e == ERR_LIMIT ? "it is longer than 1024 bytes" : "nothing was typed");
}

/* RFC 7617 2: base64 of user, colon and password, in UTF-8. */
static void make_value(struct login *l)
{
    char pair[sizeof l->user + sizeof l->password];
    int n = snprintf(pair, sizeof pair, "%s:%s", l->user, l->password);
    size_t front = span_copy(SPAN("Basic "), l->value, sizeof l->value);

    (void)EVP_EncodeBlock((unsigned char *)l->value + front, (const unsigned char *)pair, n);
    explicit_bzero(pair, sizeof pair);
}

int login_password(struct login *l, const char *command, const char *file, const char *host)
{
    const char *from = file ? file : LOGIN_VARIABLE, *wrong;
    int code = EXIT_FINE;

    secret_forbid_cores();
    if (file) {
        explicit_bzero(l->password, sizeof l->password);
        code = login_read_file(command, option_of(l), file, l->password, sizeof l->password);
    } else if (l->password[0] == '\0') {
        from = "what was typed";
        code = ask_for_password(l, command, host);
    }
    wrong = code == EXIT_FINE ? password_wrong(span_of(l->password)) : NULL;
    if (wrong)
        code = complain(command, "the password of user '%s' cannot be used (%s): %s", l->user, from,
                        wrong);
    if (code != EXIT_FINE)
        explicit_bzero(l->password, sizeof l->password);
    return code;
}

int login_read(struct login *l, const char *command, const char *file, const char *host)
{
    int code = login_password(l, command, file, host);

    if (code == EXIT_FINE)
        make_value(l);
    explicit_bzero(l->password, sizeof l->password);
    return code;
}
