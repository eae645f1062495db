/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adapt/worker_wire.h"
#include "adapt/workers.h"
#include "cli/cli.h"
#include "cli/scan_int.h"
#include "proc/worker_files.h"

#define READY_MS    120000 /* large rule sets take their time to compile */
#define DEADLINE_MS 600000u
#define ARGS_MAX    160u
#define CONTROL_FD  3

struct local {
    struct scanner base;
    struct workers *workers;
    pid_t zygote;
    int control; /* -1: not started */
    uint64_t file_ms;
    char engines[SCAN_TAG_MAX];
    struct local_lane {
        struct local *local;
        struct scan_file *file;
        struct task empty;
    } lanes[SCAN_JOBS_MAX];
};

/* ---- one file ---- */

static enum scan_verdict verdict_of(enum verdict v)
{
    switch (v) {
    case VERDICT_PASS: return SCAN_PASS;
    case VERDICT_CHANGED: return SCAN_CHANGED;
    case VERDICT_BLOCK: return SCAN_BLOCKED;
    case VERDICT_NOT_INSPECTED: return SCAN_NOT_INSPECTED;
    case VERDICT_ERROR: return SCAN_ERROR;
    }
    return SCAN_ERROR;
}

/* Everything that was found, in one line. */
static void add_reason(const struct scan_result *r, struct scan_outcome *out)
{
    struct buf reason;

    buf_init(&reason, 0);
    if (r->verdict != VERDICT_BLOCK) /* its |why| is the first finding */
        buf_text(&reason, r->why);
    for (unsigned i = 0; i < r->n_findings; i++) {
        buf_text(&reason, reason.n ? ", " : "");
        buf_text(&reason, r->findings[i].name);
        buf_text(&reason, r->findings[i].note ? " (note)" : "");
    }
    (void)span_copy(buf_span(&reason), out->reason, sizeof out->reason);
    buf_done(&reason);
}

static void lane_done(struct local_lane *lane)
{
    struct scan_file *f = lane->file;

    lane->file = NULL;
    (void)span_copy(span_of(lane->local->engines), f->out->tag, sizeof f->out->tag);
    f->done(f);
}

static void on_done(void *arg, const struct scan_result *r, int objects)
{
    struct local_lane *lane = arg;
    struct scan_outcome *out = lane->file->out;

    if (objects >= 0) /* nobody asked for them */
        (void)close(objects);
    out->verdict = verdict_of(r->verdict);
    out->err = r->err;
    out->us = r->scan_us;
    add_reason(r, out);
    lane_done(lane);
}

/* No worker is needed to see that there is nothing in it. */
static void on_empty(struct task *t)
{
    struct local_lane *lane = CONTAINER_OF(t, struct local_lane, empty);

    lane->file->out->verdict = SCAN_PASS;
    lane_done(lane);
}

static bool local_start_file(struct scanner *s, unsigned n, struct scan_file *f)
{
    struct local *m = CONTAINER_OF(s, struct local, base);
    struct local_lane *lane = &m->lanes[n];
    struct worker_job *job;
    struct worker_job_request r = {
        .len = f->len,
        .engines = WIRE_ENGINE_YARA,
        .name = f->name,
        .deadline_ms = loop_now_ms(s->loop) + m->file_ms,
        .done = on_done,
        .arg = lane,
    };

    lane->local = m;
    lane->file = f;
    lane->empty.run = on_empty;
    if (f->len == 0) {
        loop_defer(s->loop, &lane->empty);
        return true;
    }
    r.fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
    return r.fd >= 0 && workers_submit(m->workers, &r, &job) == OK;
}

static const char *local_tag(struct scanner *s)
{
    return CONTAINER_OF(s, struct local, base)->engines;
}

static void local_close(struct scanner *s)
{
    struct local *m = CONTAINER_OF(s, struct local, base);

    workers_free(m->workers);
    for (unsigned i = 0; m->base.loop && i < 16; i++) /* what was deferred, handles that close */
        (void)loop_turn(m->base.loop, false);
    loop_free(m->base.loop);
    if (m->control >= 0)
        (void)close(m->control); /* with the channel it is what keeps the zygote alive */
    if (m->zygote > 0)
        (void)waitpid(m->zygote, NULL, 0);
    free(m);
}

/* ---- start ---- */

static int fail(int code, const char *what, const char *why)
{
    (void)fprintf(stderr, "sallyport scan: %s: %s\n", what, why);
    return code;
}

static void exec_worker(const struct scan_local_options *o, int control)
{
    char exe[PATH_MAX], program[PATH_MAX];
    const char *args[ARGS_MAX];
    unsigned n = 0;
    ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);

    exe[len > 0 ? len : 0] = '\0';
    args[n++] = worker_files_program(o->worker, exe, program, sizeof program);
    args[n++] = "--control";
    args[n++] = "3";
    args[n++] = "--sandbox";
    args[n++] = "best-effort";
    if (geteuid() == 0) {
        args[n++] = "--uid";
        args[n++] = "65534";
        args[n++] = "--gid";
        args[n++] = "65534";
    }
    for (unsigned i = 0; i < o->n_rules && n + 3 < ARGS_MAX; i++) {
        args[n++] = "--rules";
        args[n++] = o->rules[i];
    }
    if (o->n_rules == 0) {
        args[n++] = "--rules";
        args[n++] = worker_files_rules(exe);
    }
    args[n] = NULL;
    if (control == CONTROL_FD ? fcntl(control, F_SETFD, 0) == 0
                              : dup2(control, CONTROL_FD) == CONTROL_FD)
        (void)execv(args[0], (char *const *)(uintptr_t)args);
    (void)fail(EXIT_USAGE, args[0], strerror(errno));
    _exit(EXIT_USAGE);
}

static int start_zygote(struct local *m, const struct scan_local_options *o)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return fail(EXIT_NETWORK, "worker", strerror(errno));
    m->zygote = fork();
    if (m->zygote == 0)
        exec_worker(o, pair[1]);
    (void)close(pair[1]);
    m->control = pair[0];
    return m->zygote < 0 ? fail(EXIT_NETWORK, "worker", strerror(errno)) : EXIT_FINE;
}

static int wait_ready(struct local *m)
{
    struct pollfd p = {.fd = m->control, .events = POLLIN};
    struct wire_message msg;
    int fd = -1;

    if (poll(&p, 1, READY_MS) != 1 || wire_receive(m->control, &msg, &fd) != OK)
        return fail(EXIT_USAGE, "worker", "it did not start");
    if (fd >= 0)
        (void)close(fd);
    if (msg.kind == WIRE_BROKEN)
        return fail(EXIT_USAGE, "rules", msg.broken.text);
    if (msg.kind == WIRE_READY)
        (void)span_copy(span_of(msg.ready.engines), m->engines, sizeof m->engines);
    return msg.kind == WIRE_READY ? EXIT_FINE : fail(EXIT_USAGE, "worker", "it broke its protocol");
}

static int open_channel(struct local *m)
{
    struct wire_message msg = {.kind = WIRE_CHANNEL};
    int pair[2];
    enum err e;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return fail(EXIT_NETWORK, "worker", strerror(errno));
    e = wire_send(m->control, &msg, pair[1]);
    (void)close(pair[1]);
    if (e) {
        (void)close(pair[0]);
        return fail(EXIT_NETWORK, "worker", err_text(e));
    }
    workers_set_channel(m->workers, pair[0]);
    return EXIT_FINE;
}

static int local_start(struct local *m, const struct scan_local_options *o)
{
    struct worker_settings set = {
        .count = m->base.jobs, .reuse = 1000, .queue = m->base.jobs, .grace_ms = 2000};
    int code = start_zygote(m, o);

    if (code == EXIT_FINE)
        code = wait_ready(m);
    if (code != EXIT_FINE)
        return code;
    if (loop_new(0, &clock_system, &m->base.loop) != OK ||
        workers_new(m->base.loop, &set, &m->workers) != OK)
        return fail(EXIT_NETWORK, "worker", "no memory");
    return open_channel(m);
}

static unsigned processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > (long)SCAN_JOBS_MAX ? SCAN_JOBS_MAX : (unsigned)n;
}

struct scanner *scan_local_open(const struct scan_local_options *o, int *ret_code)
{
    struct local *m = calloc(1, sizeof *m);

    if (!m) {
        *ret_code = fail(EXIT_NETWORK, "worker", "no memory");
        return NULL;
    }
    m->base.start = local_start_file;
    m->base.tag = local_tag;
    m->base.close = local_close;
    m->base.jobs = o->jobs ? o->jobs : processors();
    m->file_ms = o->file_ms ? o->file_ms : DEADLINE_MS;
    m->control = -1;
    *ret_code = local_start(m, o);
    if (*ret_code == EXIT_FINE)
        return &m->base;
    local_close(&m->base);
    return NULL;
}
