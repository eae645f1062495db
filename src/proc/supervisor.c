/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/supervisor.h"

#include <errno.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/secret.h"
#include "proc/control.h"
#include "proc/generation_text.h"
#include "proc/mounted.h"
#include "proc/notify.h"
#include "proc/supervisor_int.h"

#define EXIT_CONFIG     2
#define TAKEOVER_MS     5000u
#define TAKEOVER_END_MS 2000u

static const int watched[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};

/* ---- stop ---- */

static void stop_now(struct supervisor *s)
{
    for (struct gateway *g = s->gateways; g; g = g->next)
        gateway_kill(g);
    for (struct zygote *z = s->zygotes; z; z = z->next)
        zygote_kill(z);
}

static void on_stop_timer(struct timer *t)
{
    stop_now(CONTAINER_OF(t, struct supervisor, stop_timer));
}

/* The zygotes go last: files that are being inspected need them. */
static void stop_progress(struct supervisor *s)
{
    if (s->gateways || s->finished)
        return;
    for (struct zygote *z = s->zygotes; z; z = z->next)
        if (z->control >= 0 && z->state == ZYGOTE_READY)
            zygote_end(z);
    if (!s->zygotes) {
        s->finished = true;
        loop_stop(s->loop);
        return;
    }
    s->stop_timer.fire = on_stop_timer;
    timer_set(s->loop, &s->stop_timer, loop_now_ms(s->loop) + ZYGOTE_END_MS);
}

void supervisor_progress(struct supervisor *s)
{
    if (s->stopping)
        stop_progress(s);
    else
        change_want(s, 0);
}

static void stop_timers(struct supervisor *s)
{
    timer_clear(s->loop, &s->gateway_timer);
    timer_clear(s->loop, &s->zygote_timer);
    timer_clear(s->loop, &s->poll_files);
    timer_clear(s->loop, &s->settle);
}

void supervisor_exit(struct supervisor *s, int code)
{
    s->exit_code = code;
    s->stopping = true;
    stop_timers(s);
    stop_now(s);
    stop_progress(s);
}

static void stop(struct supervisor *s, int signum)
{
    uint64_t drain_ms;

    if (s->stopping || !s->started) {
        if (s->stopping)
            log_warn(AREA, "a second %s: stops at once", strsignal(signum));
        s->stopping = true;
        change_abandon(s);
        stop_now(s);
        stop_progress(s);
        return;
    }
    drain_ms = s->loaded->settings.drain_ms;
    log_info(AREA, "%s: drains, for %llu ms at most; once more: stops at once", strsignal(signum),
             (unsigned long long)drain_ms);
    notify("STOPPING=1\nSTATUS=draining");
    s->stopping = true;
    stop_timers(s);
    change_abandon(s);
    for (struct gateway *g = s->gateways; g; g = g->next)
        gateway_drain(g, drain_ms);
    sockets_done(&s->sockets); /* the gateways close theirs: new clients are refused from now on */
    stop_progress(s);
}

/* ---- signals ---- */

/* Also children that an earlier image of this process started and that nobody here knows. */
static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (!zygote_reaped(s, pid, status) && !gateway_reaped(s, pid, status))
            log_debug(AREA, "an earlier child ended pid=%d", (int)pid);
}

static void reopen_records(struct supervisor *s)
{
    struct buf why;
    int fd;

    buf_init(&why, 0);
    if (files_open_records(s->loaded, &fd, &why) != OK) {
        log_error("records", "%s; the old file stays in use", buf_cstr(&why));
    } else if (fd >= 0) {
        (void)close(s->records_fd);
        s->records_fd = fd;
        for (struct gateway *g = s->gateways; g; g = g->next)
            if (gateway_send_records(g, fd) != OK)
                log_error("records", "gateway keeps the old file pid=%d", (int)g->pid);
        log_info("records", "opened %s anew", s->loaded->settings.records_path);
    }
    buf_done(&why);
}

static void on_signal(void *arg, int signum)
{
    struct supervisor *s = arg;

    switch (signum) {
    case SIGCHLD: reap(s); return;
    case SIGTERM:
    case SIGINT: stop(s, signum); return;
    case SIGHUP: change_want(s, WANT_RELOAD); return;
    case SIGUSR1:
        if (s->started && !s->stopping)
            reopen_records(s);
        return;
    case SIGUSR2: change_want(s, WANT_REEXEC); return;
    default: return;
    }
}

/* Signals that nobody watches, yet or any more, would end the process in the middle of its start,
 * also the one that SIGUSR2 has just executed, or of its end. Those that ask for the end may do so
 * during the start. */
static void hold_signals(bool also_end, bool hold)
{
    sigset_t set;

    (void)sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(watched); i++)
        if (also_end || (watched[i] != SIGTERM && watched[i] != SIGINT))
            (void)sigaddset(&set, watched[i]);
    (void)sigprocmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static enum err watch_signals(struct supervisor *s)
{
    static_assert(ARRAY_LEN(watched) == ARRAY_LEN(s->signals), "one watch for each signal");

    for (size_t i = 0; i < ARRAY_LEN(watched); i++)
        TRY(signal_watch_new(s->loop, watched[i], on_signal, s, &s->signals[i]));
    hold_signals(true, false);
    return OK;
}

/* ---- SIGUSR2 ---- */

/* Also without what is only in memory: a certificate whose files are wrong by now would be lost. */
static bool config_is_fine(struct supervisor *s)
{
    struct settings_loaded *l;
    struct config_report r;
    struct buf text;

    config_report_init(&r);
    enum err e = settings_load(s->config_path, s->state, &r, &l);

    if (!e && settings_check_open(l, s->loaded, &r) != OK) {
        settings_loaded_free(l);
        e = ERR_CONFIG;
    }
    if (e) {
        buf_init(&text, 0);
        config_report_print(&r, &text);
        log_error(AREA, "the program is not executed anew, the configuration has errors: %s",
                  buf_cstr(&text));
        buf_done(&text);
    } else {
        settings_loaded_free(l);
    }
    config_report_done(&r);
    return e == OK;
}

/* The new image finds the gateway through the control socket, as after a crash: one way to take
 * over, and it is used often enough to be known to work. */
void supervisor_reexec(struct supervisor *s)
{
    if (!s->options->argv || !config_is_fine(s))
        return;
    log_info(AREA, "executes %s anew", s->exe);
    notify("RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=executing the program anew",
           (unsigned long long)clock_mono_us(&clock_system));
    if (s->demo.temporary)
        (void)setenv("SALLYPORT_DEMO_STATE", s->demo.state, 1);
    hold_signals(false, true);
    (void)execv(s->exe, s->options->argv);
    log_error(AREA, "cannot execute %s: %s; goes on as before", s->exe, strerror(errno));
    hold_signals(true, false);
    notify("READY=1");
}

/* ---- start ---- */

static void log_start(const struct supervisor *s)
{
    struct buf listeners;
    const struct zygote *z = s->zygote;

    buf_init(&listeners, 0);
    sockets_text(&s->sockets, &listeners);
    log_info(AREA,
             "sallyport " SALLYPORT_VERSION " serves pid=%d gateway=%d threads=%u %s sandbox=%s "
             "layers='%s' engines='%s' state=%s",
             (int)getpid(), (int)s->current->pid, s->current->threads, buf_cstr(&listeners),
             s->loaded->settings.sandbox_required ? "required" : "best-effort",
             z ? z->layers : "no worker", z ? z->engines : "none", s->loaded->settings.state);
    buf_done(&listeners);
}

/* The gateway whose sockets we took has company on them now, and may go. */
static void end_orphan(struct supervisor *s)
{
    struct buf why;

    if (s->orphan < 0)
        return;
    buf_init(&why, 0);
    if (control_drain(s->orphan, s->loaded->settings.drain_ms, TAKEOVER_END_MS, &why) == OK)
        log_info(AREA, "the gateway that served without a supervisor drains");
    else
        log_error(AREA, "the gateway that served without a supervisor does not end: %s",
                  buf_cstr(&why));
    buf_done(&why);
    (void)close(s->orphan);
    s->orphan = -1;
}

static void on_watchdog(struct timer *t)
{
    struct supervisor *s = CONTAINER_OF(t, struct supervisor, watchdog);

    notify("WATCHDOG=1");
    timer_set(s->loop, t, loop_now_ms(s->loop) + notify_watchdog_ms());
}

void supervisor_started(struct supervisor *s)
{
    s->started = true;
    end_orphan(s);
    log_start(s);
    notify("READY=1\nMAINPID=%d\nSTATUS=serves", (int)getpid());
    certificates_poll(s);
    files_poll_soon(s);
}

static bool has_listener(const struct socket_set *set, const char *name)
{
    for (unsigned i = 0; i < set->n; i++)
        if (strcmp(set->v[i].listener, name) == 0)
            return true;
    return false;
}

static void take_over(struct supervisor *s, const struct settings_loaded *l, struct socket_set *set)
{
    struct control_socket *taken = calloc(CONTROL_SOCKETS_MAX, sizeof *taken);
    unsigned n = 0;
    struct buf why;

    buf_init(&why, 0);
    enum err e = taken ? control_takeover(l->settings.control_path, TAKEOVER_MS, taken,
                                          CONTROL_SOCKETS_MAX, &n, &s->orphan, &why)
                       : ERR_NOMEM;

    if (e == OK)
        log_info(AREA, "takes %u sockets over from a gateway that serves without a supervisor", n);
    else if (e != ERR_UPSTREAM)
        log_warn(AREA, "%s; starts with sockets of its own", buf_cstr(&why));
    for (unsigned i = 0; i < n; i++)
        if (sockets_add(set, taken[i].listener, taken[i].fd) != OK)
            log_warn(AREA, "cannot use a socket of listener '%s'", taken[i].listener);
    buf_done(&why);
    free(taken);
}

/* systemd passes its sockets to every start; a gateway that still serves has them already. */
static void take_activated(struct socket_set *set, struct socket_set *activated)
{
    unsigned n = set->n;
    const struct socket_set had = {.v = set->v, .n = n};

    for (unsigned i = 0; i < activated->n; i++) {
        int fd = activated->v[i].fd;

        if (n > 0 && has_listener(&had, activated->v[i].listener))
            (void)close(fd);
        else if (sockets_add(set, activated->v[i].listener, fd) != OK)
            log_warn(AREA, "cannot use the socket of systemd for '%s'", activated->v[i].listener);
    }
    activated->n = 0;
    sockets_done(activated);
}

/* Prints what is wrong to people, and not as log lines: this may be a shell. */
static struct settings_loaded *load(struct supervisor *s)
{
    struct settings_loaded *l = NULL;
    struct config_report r;
    struct buf text;

    config_report_init(&r);
    buf_init(&text, 0);
    enum err e = settings_load(s->config_path, s->state, &r, &l);

    config_report_print(&r, &text);
    if (e && text.n == 0)
        buf_fmt(&text, "%s: %s\n", s->config_path, err_text(e));
    if (text.n)
        (void)fwrite(text.p, 1, text.n, stderr);
    buf_done(&text);
    config_report_done(&r);
    return e ? NULL : l;
}

static bool prepare_demo(struct supervisor *s)
{
    const char *state = s->options->state ? s->options->state : getenv("SALLYPORT_DEMO_STATE");
    struct buf why;
    bool ok;

    buf_init(&why, 0);
    ok = demo_prepare(state, s->options->port, &s->demo, &why) == OK;
    if (ok && !s->options->state)
        s->demo.temporary = true; /* also when it came from the image before */
    if (!ok)
        (void)fprintf(stderr, "sallyport: the demo cannot start: %s\n", buf_cstr(&why));
    (void)unsetenv("SALLYPORT_DEMO_STATE");
    buf_done(&why);
    s->config_path = s->demo.config_path;
    s->state = NULL;
    return ok;
}

static bool prepare_mounted(struct supervisor *s)
{
    const struct supervisor_options *o = s->options;
    struct buf why;
    bool ok;

    buf_init(&why, 0);
    ok = mounted_prepare(o->certificates, o->state, o->port, &s->made_config, &why) == OK;
    if (!ok)
        (void)fprintf(stderr, "sallyport: cannot start: %s\n", buf_cstr(&why));
    buf_done(&why);
    s->config_path = s->made_config;
    s->state = NULL;
    return ok;
}

static bool choose_config(struct supervisor *s)
{
    s->config_path = s->options->config_path;
    s->state = s->options->state;
    if (!s->config_path && s->options->demo)
        return prepare_demo(s);
    if (!s->config_path && s->options->certificates)
        return prepare_mounted(s);
    if (!s->config_path)
        s->config_path = SUPERVISOR_CONFIG_DEFAULT;
    return true;
}

static void warn_root(const struct settings_loaded *l)
{
    if (geteuid() == 0 && !l->uid)
        log_warn(AREA, "runs as root and the configuration names no user: the gateway stays root, "
                       "workers run as 65534 (nobody)");
}

/* Everything up to the first process. False: exit_code says what the shell is told. */
static bool start(struct supervisor *s, struct settings_loaded *l, struct socket_set *activated)
{
    struct socket_set inherited = {0};
    struct buf why;

    buf_init(&why, 0);
    s->exit_code = EXIT_CONFIG;
    if (!files_lock(s, l, &why)) {
        log_error(AREA, "%s", buf_cstr(&why));
        buf_done(&why);
        settings_loaded_free(l);
        return false;
    }
    buf_done(&why);
    warn_root(l);
    files_forget_addresses(l);
    files_raise_descriptors(l);
    /* Keys and the secret of tickets are in here from now on: no other process of the same user may
     * look. Not before, for it takes /dev/fd away, by which a shell may hand over files. */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    take_over(s, l, &inherited);
    take_activated(&inherited, activated);
    s->exit_code = 0;
    change_start(s, l, &inherited); /* takes |l|; its sockets are duplicates */
    sockets_done(&inherited);
    return true;
}

/* ---- main ---- */

static bool init(struct supervisor *s)
{
    ssize_t n = readlink("/proc/self/exe", s->exe, sizeof s->exe - 1);

    secret_forbid_cores();
    s->change = (struct change){.spool_fd = -1, .records_fd = -1, .chain_fd = -1};
    hold_signals(false, true);
    (void)signal(SIGPIPE, SIG_IGN);
    /* What a careless parent left open is nothing for our children. */
    (void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    if (n < 0 || loop_new(0, &clock_system, &s->loop) != OK || watch_signals(s) != OK) {
        log_error(AREA, "cannot set up the event loop: %s", strerror(errno));
        return false;
    }
    if (notify_watchdog_ms()) {
        s->watchdog.fire = on_watchdog;
        timer_set(s->loop, &s->watchdog, loop_now_ms(s->loop) + notify_watchdog_ms());
    }
    return true;
}

/* Tickets of one generation are good in the next. A program that is executed anew starts over. */
static bool make_ticket_secret(struct supervisor *s)
{
    unsigned char random[32];
    bool ok = getrandom(random, sizeof random, 0) == (ssize_t)sizeof random &&
              text_copy((struct span){(const char *)random, sizeof random}, TEXT_SECRET,
                        &s->ticket_secret) == OK;

    explicit_bzero(random, sizeof random);
    if (!ok)
        log_error(AREA, "cannot make a secret for session tickets");
    return ok;
}

static void done(struct supervisor *s)
{
    hold_signals(true, true);
    if (s->loop) {
        change_abandon(s);
        files_unwatch(s);
        stop_timers(s);
        timer_clear(s->loop, &s->watchdog);
        timer_clear(s->loop, &s->stop_timer);
        for (size_t i = 0; i < ARRAY_LEN(s->signals); i++)
            signal_watch_close(s->signals[i]);
        loop_free(s->loop);
    }
    if (s->started && s->exit_code == 0) {
        files_forget_addresses(s->loaded);
        (void)unlink(s->loaded->settings.control_path);
    }
    sockets_done(&s->sockets);
    settings_loaded_free(s->loaded);
    const int fds[] = {s->spool_fd, s->records_fd, s->chain_fd, s->exceptions_fd,
                       s->store_fd, s->orphan,     s->lock_fd};

    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        int fd = fds[i];

        if (fd >= 0)
            (void)close(fd);
    }
    certificates_free(s);
    for (unsigned i = 0; i < FILES_KINDS; i++)
        free(s->files_told[i]);
    text_free(&s->ticket_secret);
    free(s->files_tried);
    free(s->rules_tried);
    demo_done(&s->demo);
    free(s->made_config);
}

/* The first thing of all: a variable that lies must not name a descriptor that we opened. */
static void inherit(struct socket_set *activated)
{
    struct buf why;

    log_setup(STDERR_FILENO, LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "supervisor");
    buf_init(&why, 0);
    sockets_from_systemd(activated, &why);
    if (why.n)
        log_warn(AREA, "%s", buf_cstr(&why));
    buf_done(&why);
}

static int run(struct supervisor *s, struct socket_set *activated)
{
    struct settings_loaded *l;

    inherit(activated);
    if (!init(s) || !make_ticket_secret(s))
        return 1;
    if (!choose_config(s) || !(l = load(s)))
        return EXIT_CONFIG;
    log_setup(STDERR_FILENO, l->settings.log.level, l->settings.log.format, "supervisor");
    if (!start(s, l, activated))
        return s->exit_code;
    if (!s->finished)
        loop_run(s->loop);
    if (s->started)
        log_info(AREA, "ended");
    return s->exit_code;
}

int supervisor_main(const struct supervisor_options *o)
{
    struct supervisor *s = calloc(1, sizeof *s);
    struct socket_set activated = {0};

    if (!s)
        return 1;
    s->options = o;
    s->lock_fd = s->spool_fd = s->records_fd = s->chain_fd = s->exceptions_fd = s->store_fd =
        s->orphan = -1;
    int code = run(s, &activated);

    sockets_done(&activated);
    done(s);
    free(s);
    return code;
}
