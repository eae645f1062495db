/* SPDX-License-Identifier: Apache-2.0 */
/* zygote_process.c - the process that loads the rules and forks workers: one at a time serves, an
 * older one may still be ending. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "proc/supervisor_int.h"
#include "proc/worker_files.h"

#define WORKER_NAME    "sallyport-worker"
#define FIXED_ARGS_MAX 16u
#define NOBODY         65534 /* workers of a gateway that root started without a user */

/* ---- what it needs ---- */

static const char *worker_path(const struct supervisor *s, char *dst, size_t cap)
{
    return worker_files_program(s->options->worker_path, s->exe, dst, cap);
}

unsigned zygote_rules(const struct supervisor *s, const struct settings_loaded *l, const char **ret)
{
    const struct config_strings *rules = &l->settings.engines.yara.rules;
    unsigned n = 0;

    if (rules->n == 0) {
        ret[n++] = worker_files_rules(s->exe);
        return n;
    }
    for (; n < rules->n && n < SETTINGS_RULES_MAX; n++)
        ret[n] = rules->v[n];
    return n;
}

unsigned zygote_magic(const struct settings_loaded *l, const char **ret)
{
    const struct config_strings *magic = &l->settings.engines.filetype.magic;
    unsigned n = 0;

    for (; n < magic->n && n < SETTINGS_RULES_MAX; n++)
        ret[n] = magic->v[n];
    return n;
}

#define BODY_ENGINES                                                           \
    (1u << PIPELINE_YARA | 1u << PIPELINE_FILETYPE | 1u << PIPELINE_PRINTING | \
     1u << PIPELINE_CLAMAV)

bool zygote_is_needed(const struct settings_loaded *l)
{
    const struct settings *s = &l->settings;

    for (size_t i = 0; i < s->n_services; i++)
        if (s->services[i].type == ICAP_SERVICE_INSPECT &&
            rules_engines(s->services[i].pipeline, s->services[i].rules, s->services[i].n_rules) &
                BODY_ENGINES)
            return true;
    for (size_t i = 0; i < s->n_printers; i++)
        if (rules_engines(s->printers[i].pipeline, s->printers[i].rules, s->printers[i].n_rules) &
            BODY_ENGINES)
            return true;
    return false;
}

static uid_t worker_uid(const struct settings_loaded *l)
{
    if (geteuid() != 0)
        return 0;
    return l->uid ? l->uid : NOBODY;
}

static gid_t worker_gid(const struct settings_loaded *l)
{
    return l->uid ? l->gid : NOBODY;
}

void zygote_key(const struct supervisor *s, const struct settings_loaded *l, struct buf *out)
{
    const char *files[SETTINGS_RULES_MAX];
    unsigned n = zygote_rules(s, l, files);
    char path[4096];

    buf_fmt(out, "%s sandbox=%d memory=%llu uid=%u gid=%u\n", worker_path(s, path, sizeof path),
            l->settings.sandbox_required, (unsigned long long)l->settings.engines.workers.memory,
            (unsigned)worker_uid(l), (unsigned)worker_gid(l));
    for (unsigned i = 0; i < n; i++)
        files_key(files[i], out);
    buf_text(out, "magic\n");
    n = zygote_magic(l, files);
    for (unsigned i = 0; i < n; i++)
        files_key(files[i], out);
}

/* ---- start ---- */

struct arguments {
    char
        *v[FIXED_ARGS_MAX + 2 * 2 * SETTINGS_RULES_MAX]; /* rules and magic, each with its option */
    unsigned n;
    char memory[32], uid[16], gid[16];
};

/* exec() takes char * for history's sake and does not write. */
static void argument(struct arguments *a, const char *text)
{
    a->v[a->n++] = (char *)(uintptr_t)text;
}

static void option(struct arguments *a, const char *name, const char *value)
{
    argument(a, name);
    argument(a, value);
}

static void fill_arguments(const struct supervisor *s, const struct settings_loaded *l,
                           struct arguments *a)
{
    const char *files[SETTINGS_RULES_MAX];
    unsigned n = zygote_rules(s, l, files);

    argument(a, WORKER_NAME);
    option(a, "--control", SPAWN_CONTROL_TEXT);
    option(a, "--sandbox", l->settings.sandbox_required ? "required" : "best-effort");
    (void)snprintf(a->memory, sizeof a->memory, "%llu",
                   (unsigned long long)l->settings.engines.workers.memory);
    option(a, "--memory", a->memory);
    if (worker_uid(l)) {
        (void)snprintf(a->uid, sizeof a->uid, "%u", (unsigned)worker_uid(l));
        (void)snprintf(a->gid, sizeof a->gid, "%u", (unsigned)worker_gid(l));
        option(a, "--uid", a->uid);
        option(a, "--gid", a->gid);
    }
    for (unsigned i = 0; i < n; i++)
        option(a, "--rules", files[i]);
    n = zygote_magic(l, files);
    for (unsigned i = 0; i < n; i++)
        option(a, "--magic", files[i]);
    a->v[a->n] = NULL;
}

static void zygote_free(struct zygote *z)
{
    watch_close(z->watch);
    if (z->sup)
        timer_clear(z->sup->loop, &z->deadline);
    if (z->control >= 0)
        (void)close(z->control);
    free(z->key);
    free(z->broken);
    free(z->engines);
    free(z->layers);
    free(z);
}

static void take_text(char **slot, const char *text)
{
    free(*slot);
    *slot = span_dup(span_of(text));
}

/* It said all that it will ever say, or broke off; SIGCHLD tells the rest. */
static void hear_no_more(struct zygote *z)
{
    watch_close(z->watch);
    z->watch = NULL;
}

static void on_control(void *arg, unsigned events)
{
    struct zygote *z = arg;
    struct wire_message m;
    int fd = -1;
    enum err e = wire_receive(z->control, &m, &fd);

    (void)events;
    if (e == ERR_AGAIN)
        return;
    if (fd >= 0)
        (void)close(fd);
    if (e == OK && m.kind == WIRE_READY && z->state == ZYGOTE_STARTING) {
        timer_clear(z->sup->loop, &z->deadline);
        take_text(&z->engines, m.ready.engines);
        take_text(&z->layers, m.ready.layers);
        z->state = ZYGOTE_READY;
        change_zygote_ready(z->sup, z);
        return;
    }
    if (e == OK && m.kind == WIRE_BROKEN)
        take_text(&z->broken, m.broken.text);
    hear_no_more(z);
    if (e != OK && e != ERR_EOF)
        zygote_kill(z);
}

static void on_deadline(struct timer *t)
{
    struct zygote *z = CONTAINER_OF(t, struct zygote, deadline);

    log_error("worker", "the zygote is not ready in time and is killed pid=%d", (int)z->pid);
    zygote_kill(z);
}

static enum err zygote_spawn(struct supervisor *s, const struct settings_loaded *l,
                             struct zygote *z, struct buf *why)
{
    struct arguments *a = calloc(1, sizeof *a);
    char path[4096];
    const char *worker = worker_path(s, path, sizeof path);
    int pair[2], r;

    if (!a)
        return ERR_NOMEM;
    fill_arguments(s, l, a);
    r = spawn_pair(pair);
    if (r == 0) {
        r = spawn(worker, a->v, pair[1], &z->pid);
        (void)close(pair[1]);
        z->control = pair[0];
    }
    free(a);
    if (r == 0)
        return OK;
    buf_fmt(why, "cannot start the worker %s: %s", worker, strerror(r));
    if (r == ENOENT)
        buf_text(why, " (set SALLYPORT_WORKER to where it is)");
    return ERR_ENGINE;
}

enum err zygote_start(struct supervisor *s, const struct settings_loaded *l, struct zygote **ret,
                      struct buf *why)
{
    struct zygote *z = calloc(1, sizeof *z);
    struct buf key;

    if (!z)
        return ERR_NOMEM;
    *z = (struct zygote){.sup = s, .control = -1, .deadline = {.fire = on_deadline}};
    z->started_ms = loop_now_ms(s->loop);
    buf_init(&key, 0);
    zygote_key(s, l, &key);
    take_text(&z->key, buf_cstr(&key));
    buf_done(&key);
    take_text(&z->engines, "");
    take_text(&z->layers, "");
    enum err e = z->key && z->engines && z->layers ? zygote_spawn(s, l, z, why) : ERR_NOMEM;

    if (!e && (e = watch_new(s->loop, z->control, on_control, z, &z->watch)) != OK)
        (void)kill(z->pid, SIGKILL);
    if (e) {
        zygote_free(z);
        return e;
    }
    watch_arm(z->watch, WATCH_READ);
    timer_set(s->loop, &z->deadline, z->started_ms + RULES_MS);
    z->next = s->zygotes;
    s->zygotes = z;
    *ret = z;
    return OK;
}

/* ---- use and end ---- */

int zygote_channel(struct zygote *z)
{
    struct wire_message m = {.kind = WIRE_CHANNEL};
    int pair[2];

    if (z->state != ZYGOTE_READY || spawn_pair(pair) != 0)
        return -1;
    enum err e = wire_send(z->control, &m, pair[1]);

    (void)close(pair[1]);
    if (!e)
        return pair[0];
    (void)close(pair[0]);
    return -1;
}

void zygote_end(struct zygote *z)
{
    if (z->state == ZYGOTE_STARTING) {
        zygote_kill(z);
        return;
    }
    z->state = ZYGOTE_ENDING;
    hear_no_more(z);
    if (z->control >= 0)
        (void)close(z->control);
    z->control = -1;
}

void zygote_kill(struct zygote *z)
{
    z->state = ZYGOTE_ENDING;
    timer_clear(z->sup->loop, &z->deadline);
    (void)kill(z->pid, SIGKILL);
}

static void on_restart(struct timer *t)
{
    struct supervisor *s = CONTAINER_OF(t, struct supervisor, zygote_timer);

    change_want(s, WANT_RULES);
}

static void zygote_lost(struct supervisor *s, const struct zygote *z, const char *how)
{
    uint64_t now = loop_now_ms(s->loop);
    uint64_t wait = backoff_next(&s->zygote_backoff, now - z->started_ms);

    s->zygote = NULL;
    log_error("worker", "the zygote %s; a new one starts in %llu ms pid=%d", how,
              (unsigned long long)wait, (int)z->pid);
    s->zygote_timer.fire = on_restart;
    timer_set(s->loop, &s->zygote_timer, now + wait);
}

/* What it said last may still be unread when it is reaped. */
static void hear_last(struct zygote *z)
{
    struct wire_message m;
    int fd = -1;

    if (!z->watch || z->state != ZYGOTE_STARTING || wire_receive(z->control, &m, &fd) != OK)
        return;
    if (fd >= 0)
        (void)close(fd);
    if (m.kind == WIRE_BROKEN)
        take_text(&z->broken, m.broken.text);
}

bool zygote_reaped(struct supervisor *s, pid_t pid, int status)
{
    struct zygote **at = &s->zygotes;
    struct buf how;

    while (*at && (*at)->pid != pid)
        at = &(*at)->next;
    struct zygote *z = *at;

    if (!z)
        return false;
    *at = z->next;
    hear_last(z);
    buf_init(&how, 0);
    spawn_status_text(status, &how);
    bool current = s->zygote == z;

    if (!change_zygote_gone(s, z) && current && !s->stopping)
        zygote_lost(s, z, buf_cstr(&how));
    if (s->zygote == z)
        s->zygote = NULL;
    buf_done(&how);
    zygote_free(z);
    supervisor_progress(s);
    return true;
}
