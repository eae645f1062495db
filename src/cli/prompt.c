/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* What ends a process at a terminal. */
static const int deadly[] = {SIGINT, SIGHUP, SIGTERM, SIGQUIT};
#define N_DEADLY ARRAY_LEN(deadly)

struct held {
    struct sigaction deadly[N_DEADLY], stop;
};

static volatile sig_atomic_t caught;

static void on_signal(int signum)
{
    caught = signum;
}

/* Nothing ends or stops us while the terminal does not echo: read(2) returns instead. */
static void hold_signals(struct held *h)
{
    struct sigaction note = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};

    caught = 0;
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
}

static enum err read_line(int fd, char *dst, size_t cap)
{
    size_t n = 0;
    char c = '\n';

    for (;;) {
        ssize_t got = read(fd, &c, 1);

        if (got < 0 && errno == EINTR && !caught)
            continue;
        if (got < 0 || c == '\0')
            return ERR_IO;
        if (got == 0 && n == 0)
            return ERR_EOF;
        if (got == 0 || c == '\n')
            break;
        if (n < cap)
            dst[n++] = c; /* the last one is one too many */
    }
    if (n == cap)
        return ERR_LIMIT;
    dst[n] = '\0';
    return OK;
}

static void say(int fd, const char *text)
{
    (void)!write(fd, text, strlen(text));
}

static enum err ask_on(int fd, const char *text, char *dst, size_t cap)
{
    struct termios was, silent;
    enum err e;

    if (tcgetattr(fd, &was) != 0)
        return ERR_MISSING;
    silent = was;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    say(fd, text);
    if (tcsetattr(fd, TCSAFLUSH, &silent) != 0)
        return ERR_IO;
    e = read_line(fd, dst, cap);
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
    e = ask_on(fd, text, dst, cap);
    if (e || caught)
        explicit_bzero(dst, cap);
    (void)close(fd);
    release_signals(&held);
    return e;
}
