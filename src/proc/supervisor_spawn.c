/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/supervisor_int.h"

static bool is_private(const char *variable)
{
    static const struct span names[] = {
        {"NOTIFY_SOCKET=",        14},
        {"WATCHDOG_",             9 },
        {"LISTEN_",               7 },
        {"SALLYPORT_DEMO_STATE=", 21}
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (span_starts(span_of(variable), names[i]))
            return true;
    return false;
}

static char **child_environment(void)
{
    size_t n = 0, kept = 0;

    while (environ[n])
        n++;
    char **ret = calloc(n + 1, sizeof *ret);

    for (size_t i = 0; ret && i < n; i++)
        if (!is_private(environ[i]))
            ret[kept++] = environ[i];
    return ret;
}

/* A group of its own: Ctrl-C on the terminal is for the supervisor, which then drains the others.
 */
static int set_attributes(posix_spawnattr_t *attr)
{
    sigset_t none, all;

    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    return posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF) ||
           posix_spawnattr_setpgroup(attr, 0) || posix_spawnattr_setsigmask(attr, &none) ||
           posix_spawnattr_setsigdefault(attr, &all);
}

int spawn(const char *path, char *const argv[], int control, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    char **env = child_environment();
    int r = ENOMEM;

    if (!env)
        return ENOMEM;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attr);
    /* The second, also when the number is right by chance, clears close-on-exec. */
    if (!posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0) &&
        !posix_spawn_file_actions_adddup2(&actions, control, SPAWN_CONTROL_FD) &&
        !set_attributes(&attr))
        r = posix_spawn(ret_pid, path, &actions, &attr, argv, env);
    (void)posix_spawnattr_destroy(&attr);
    (void)posix_spawn_file_actions_destroy(&actions);
    free(env);
    return r;
}

int spawn_pair(int ret[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret) != 0)
        return errno;
    if (fcntl(ret[0], F_SETFL, O_NONBLOCK) == 0)
        return 0;
    int errnum = errno;

    (void)close(ret[0]);
    (void)close(ret[1]);
    return errnum;
}

void spawn_status_text(int status, struct buf *out)
{
    if (WIFSIGNALED(status))
        buf_fmt(out, "was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        buf_fmt(out, "exited with code %d", WEXITSTATUS(status));
}

uint64_t backoff_next(struct backoff *b, uint64_t lived_ms)
{
    uint64_t wait = BACKOFF_MIN_MS;

    if (lived_ms >= SETTLED_MS)
        b->failures = 0;
    if (b->failures++ == 0)
        return 0;
    for (unsigned i = 2; i < b->failures && wait < BACKOFF_MAX_MS; i++)
        wait *= 2;
    return wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS;
}
