/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* What ends a process at a terminal. */
static const int deadly[] = {SIGINT, SIGHUP, SIGTERM, SIGQUIT};
#define N_DEADLY ARRAY_LEN(deadly)

struct held {
    struct sigaction deadly[N_DEADLY], stop;
    sigset_t mask;
};

static volatile sig_atomic_t caught;

static void on_signal(int signum)
{
    caught = signum;
}

/* Nothing ends or stops us while the terminal does not echo: what comes ends the waiting for a
 * byte, and comes at no other time. */
static void hold_signals(struct held *h)
{
    struct sigaction note = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    sigset_t held;

    caught = 0;
    (void)sigemptyset(&held);
    for (size_t i = 0; i < N_DEADLY; i++)
        (void)sigaddset(&held, deadly[i]);
    (void)sigprocmask(SIG_BLOCK, &held, &h->mask); /* NOLINT(concurrency-mt-unsafe): one thread */
    for (size_t i = 0; i < N_DEADLY; i++)
        (void)sigaction(deadly[i], &note, &h->deadly[i]);
    (void)sigaction(SIGTSTP, &ignore, &h->stop);
}

static void release_signals(const struct held *h)
{
    for (size_t i = 0; i < N_DEADLY; i++)
        (void)sigaction(deadly[i], &h->deadly[i], NULL);
    (void)sigaction(SIGTSTP, &h->stop, NULL);
    if (caught)
        (void)raise(caught);
    (void)sigprocmask(SIG_SETMASK, &h->mask, NULL); /* NOLINT(concurrency-mt-unsafe) */
}

/* |mask|: of signals while it waits; NULL: as it is. */
static ssize_t read_byte(int fd, const sigset_t *mask, char *ret)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return ppoll(&p, 1, NULL, mask) < 0 ? -1 : read(fd, ret, 1);
}

static enum err read_line(int fd, const sigset_t *mask, char *dst, size_t cap)
{
    size_t n = 0;
    char c = '\n';

    for (;;) {
        ssize_t got = read_byte(fd, mask, &c);

        if (got < 0 && errno == EINTR && !caught)
            continue;
        if (got < 0)
            return ERR_IO;
        if (got == 0 && n == 0)
            return ERR_EOF;
        if (got == 0 || c == '\n')
            break;
        if (c == '\0')
            return ERR_SYNTAX;
        if (n + 1 == cap)
            return ERR_LIMIT;
        dst[n++] = c;
    }
    dst[n && dst[n - 1] == '\r' ? n - 1 : n] = '\0';
    return OK;
}

enum err prompt_line(int fd, char *dst, size_t cap)
{
    enum err e = read_line(fd, NULL, dst, cap);
    int errnum = errno;

    if (e)
        explicit_bzero(dst, cap);
    errno = errnum;
    return e;
}

static void say(int fd, const char *text)
{
    (void)!write(fd, text, strlen(text));
}

static enum err ask_on(int fd, const sigset_t *mask, const char *text, char *dst, size_t cap)
{
    struct termios was, silent;
    enum err e;

    if (tcgetattr(fd, &was) != 0)
        return ERR_MISSING;
    silent = was;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    /* Before it asks: what is typed at once is neither shown nor lost. */
    if (tcsetattr(fd, TCSAFLUSH, &silent) != 0)
        return ERR_IO;
    say(fd, text);
    e = read_line(fd, mask, dst, cap);
    (void)tcsetattr(fd, TCSAFLUSH, &was);
    say(fd, "\n");
    return e;
}

enum err prompt_secret(const char *text, char *dst, size_t cap)
{
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    struct held held;
    enum err e;

    if (fd < 0)
        return ERR_MISSING;
    hold_signals(&held);
    e = ask_on(fd, &held.mask, text, dst, cap);
    if (e || caught)
        explicit_bzero(dst, cap);
    (void)close(fd);
    release_signals(&held);
    return e;
}
