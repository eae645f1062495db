/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_change.c - a start, a reload, new rules. One at a time, in this order: load and check,
 * a new zygote when the rules or its limits changed, then the gateway (a live set, or a new
 * process), and only when all of them said yes does anything old go. Whatever fails, the old stays
 * as it was, and the log says why. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "proc/notify.h"
#include "proc/supervisor_int.h"
#include "sallyport/conn.h"

static void change_gateway_step(struct supervisor *s);
static void change_commit(struct supervisor *s);

static const struct settings_loaded *wanted_settings(const struct supervisor *s)
{
    return s->change.next ? s->change.next : s->loaded;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

void change_abandon(struct supervisor *s)
{
    struct change *c = &s->change;

    if (c->zygote)
        zygote_end(c->zygote);
    if (c->gateway)
        gateway_kill(c->gateway);
    sockets_done(&c->sockets);
    close_fd(&c->spool_fd);
    close_fd(&c->records_fd);
    close_fd(&c->chain_fd);
    settings_loaded_free(c->next);
    *c = (struct change){.spool_fd = -1, .records_fd = -1, .chain_fd = -1};
}

/* Without a zygote files are refused, so it is tried again and again; the rules may be mended. */
static void retry_zygote(struct supervisor *s)
{
    uint64_t wait;

    if (s->zygote || !s->loaded || !zygote_is_needed(s->loaded))
        return;
    wait = backoff_next(&s->zygote_backoff, 0);
    timer_set(s->loop, &s->zygote_timer, loop_now_ms(s->loop) + (wait ? wait : BACKOFF_MIN_MS));
}

/* Complaints come with a line for each fault; the log wants one. */
static void log_failure(const char *cause, const char *why, const char *follows)
{
    struct span rest = span_of(why);
    struct buf text;

    buf_init(&text, 0);
    while (rest.p) {
        struct span line = span_cut(&rest, '\n');

        if (line.n)
            buf_fmt(&text, "%s" SPAN_FMT, text.n ? "; " : "", SPAN_ARG(line));
    }
    log_error(AREA, "%s: %s%s", cause, buf_cstr(&text), follows);
    buf_done(&text);
}

static void change_fail(struct supervisor *s, const char *why)
{
    const char *cause = s->change.cause;

    change_abandon(s);
    if (!s->started) {
        log_failure("cannot start", why, "");
        supervisor_exit(s, 1);
        return;
    }
    log_failure(cause, why, "; everything stays as it was");
    notify("READY=1\nSTATUS=%s failed, the old configuration is in force", cause);
    retry_zygote(s);
    supervisor_progress(s);
}

/* ---- zygote ---- */

static void remember_rules(struct supervisor *s, const struct settings_loaded *l)
{
    struct buf key;

    buf_init(&key, 0);
    zygote_key(s, l, &key);
    free(s->rules_tried);
    s->rules_tried = span_dup(buf_span(&key));
    buf_done(&key);
}

static bool zygote_fits(const struct supervisor *s, const struct settings_loaded *l)
{
    struct buf key;
    bool same;

    if (!s->zygote)
        return false;
    buf_init(&key, 0);
    zygote_key(s, l, &key);
    same = strcmp(s->zygote->key, buf_cstr(&key)) == 0;
    buf_done(&key);
    return same;
}

static void change_begin(struct supervisor *s)
{
    const struct settings_loaded *l = wanted_settings(s);
    struct change *c = &s->change;
    struct buf why;

    c->no_zygote = !zygote_is_needed(l);
    if (c->no_zygote || zygote_fits(s, l)) {
        change_gateway_step(s);
        return;
    }
    buf_init(&why, 0);
    remember_rules(s, l);
    c->step = CHANGE_ZYGOTE;
    enum err e = zygote_start(s, l, &c->zygote, &why);

    if (e)
        change_fail(s, why.n ? buf_cstr(&why) : err_text(e));
    buf_done(&why);
}

void change_zygote_ready(struct supervisor *s, struct zygote *z)
{
    if (s->change.zygote == z && s->change.step == CHANGE_ZYGOTE)
        change_gateway_step(s);
}

bool change_zygote_gone(struct supervisor *s, struct zygote *z)
{
    struct buf why;

    if (s->change.zygote != z)
        return false;
    s->change.zygote = NULL;
    buf_init(&why, 0);
    if (z->broken)
        buf_fmt(&why, "the worker cannot work: %s", z->broken);
    else
        buf_text(&why, "the worker's zygote ended before it was ready");
    change_fail(s, buf_cstr(&why));
    buf_done(&why);
    return true;
}

/* ---- gateway ---- */

static enum err open_parts(struct supervisor *s, struct buf *why)
{
    struct change *c = &s->change;
    const struct settings_loaded *l = wanted_settings(s);

    if (c->sockets.n == 0)
        TRY(sockets_open(&l->settings, &s->sockets, &c->sockets, why));
    if (c->spool_fd < 0)
        TRY(files_open_spool(l, &c->spool_fd, why));
    if (c->records_fd < 0)
        TRY(files_open_records(l, &c->records_fd, why));
    if (c->chain_fd < 0)
        TRY(files_open_chain(l, &c->chain_fd, why));
    /* With an orphan somebody still appends to it. */
    if (s->exceptions_fd < 0)
        TRY(files_open_exceptions(l, s->orphan < 0, &s->exceptions_fd, why));
    if (s->store_fd < 0)
        TRY(files_open_store(l, &s->store_fd, why));
    return OK;
}

static enum err start_generation(struct supervisor *s, struct buf *why)
{
    struct change *c = &s->change;

    TRY(open_parts(s, why));
    const struct gateway_parts parts = {.loaded = wanted_settings(s),
                                        .sockets = &c->sockets,
                                        .spool_fd = c->spool_fd,
                                        .records_fd = c->records_fd,
                                        .chain_fd = c->chain_fd,
                                        .exceptions_fd = s->exceptions_fd,
                                        .store_fd = s->store_fd,
                                        .zygote = c->no_zygote ? NULL
                                                  : c->zygote  ? c->zygote
                                                               : s->zygote};

    c->step = CHANGE_GENERATION;
    return gateway_start(s, &parts, &c->gateway, why);
}

static void change_gateway_step(struct supervisor *s)
{
    struct change *c = &s->change;
    struct buf why;
    enum err e = OK;

    if (!c->next) {
        change_commit(s); /* rules only */
        return;
    }
    buf_init(&why, 0);
    if (c->generation || !s->current || s->current->state != GATEWAY_SERVING) {
        e = start_generation(s, &why);
    } else {
        c->step = CHANGE_LIVE;
        e = gateway_send_live(s->current, c->next);
    }
    if (e)
        change_fail(s, why.n ? buf_cstr(&why) : err_text(e));
    buf_done(&why);
}

/* A gateway that took the place of one that died. */
static void restarted(struct gateway *g, const char *failed)
{
    if (failed) {
        log_error("gateway", "cannot serve: %s pid=%d", failed, (int)g->pid);
        gateway_kill(g);
        return;
    }
    log_info("gateway", "serves pid=%d generation=%u", (int)g->pid, g->generation);
}

void change_gateway_answer(struct supervisor *s, struct gateway *g, const char *failed)
{
    const struct change *c = &s->change;

    if (c->step == CHANGE_GENERATION && c->gateway == g) {
        if (failed)
            change_fail(s, failed);
        else
            change_commit(s);
    } else if (c->step == CHANGE_LIVE && s->current == g) {
        if (failed)
            change_fail(s, failed);
        else
            change_commit(s);
    } else if (s->current == g) {
        restarted(g, failed);
    }
}

bool change_gateway_gone(struct supervisor *s, const struct gateway *g)
{
    struct change *c = &s->change;

    if (c->step == CHANGE_LIVE && s->current == g) {
        change_fail(s, "the gateway died when it got the new configuration");
        return true;
    }
    if (c->gateway != g)
        return false;
    c->gateway = NULL;
    change_fail(s, "the new gateway process died before it was ready");
    return true;
}

/* ---- commit ---- */

static void commit_zygote(struct supervisor *s)
{
    struct change *c = &s->change;
    struct zygote *old = s->zygote;

    if (!c->zygote && !c->no_zygote)
        return;
    s->zygote = c->zygote;
    c->zygote = NULL;
    timer_clear(s->loop, &s->zygote_timer);
    for (struct gateway *g = s->gateways; g && s->zygote; g = g->next)
        if (g != c->gateway && gateway_send_workers(g, s->zygote) != OK)
            log_error("gateway", "cannot be given its workers pid=%d", (int)g->pid);
    if (s->zygote)
        log_info("worker", "inspects with '%s', jailed by '%s' pid=%d", s->zygote->engines,
                 s->zygote->layers, (int)s->zygote->pid);
    if (old)
        zygote_end(old);
}

static void commit_gateway(struct supervisor *s, uint64_t drain_ms)
{
    struct change *c = &s->change;
    struct gateway *old = s->current;

    s->current = c->gateway;
    c->gateway = NULL;
    sockets_done(&s->sockets);
    s->sockets = c->sockets;
    c->sockets = (struct socket_set){0};
    close_fd(&s->spool_fd);
    close_fd(&s->records_fd);
    close_fd(&s->chain_fd);
    s->spool_fd = c->spool_fd;
    s->records_fd = c->records_fd;
    s->chain_fd = c->chain_fd;
    c->spool_fd = c->records_fd = c->chain_fd = -1;
    timer_clear(s->loop, &s->gateway_timer);
    if (old)
        gateway_drain(old, drain_ms);
}

static void commit_settings(struct supervisor *s)
{
    struct change *c = &s->change;

    if (!c->next)
        return;
    struct settings_loaded *old = s->loaded;

    s->loaded = c->next;
    c->next = NULL;
    log_set_level(s->loaded->settings.log.level);
    certificates_taken(s, old, s->loaded);
    certificates_look(s, s->loaded);
    files_look(s, s->loaded);
    settings_loaded_free(old);
}

static void log_addresses(const struct supervisor *s)
{
    struct buf text;

    buf_init(&text, 0);
    sockets_text(&s->sockets, &text);
    log_info(AREA, "listens gateway=%d threads=%u %s", (int)s->current->pid, s->current->threads,
             buf_cstr(&text));
    buf_done(&text);
}

static void change_commit(struct supervisor *s)
{
    struct change *c = &s->change;
    const char *cause = c->cause;
    bool generation = c->step == CHANGE_GENERATION, config = c->next != NULL;
    uint64_t drain_ms = s->loaded ? s->loaded->settings.drain_ms : 0;

    commit_zygote(s);
    if (generation)
        commit_gateway(s, drain_ms);
    commit_settings(s);
    *c = (struct change){.spool_fd = -1, .records_fd = -1, .chain_fd = -1};
    files_watch(s);
    s->wants |= WANT_FILES; /* what the watches of before saw may be lost with them */
    if (generation)
        files_write_addresses(s);
    if (!s->started) {
        supervisor_started(s);
    } else {
        if (generation)
            log_addresses(s);
        log_info(AREA, "%s: done%s", cause,
                 generation ? " with a new gateway process"
                 : config   ? " without interruption"
                            : " with a new worker process");
        notify("READY=1\nSTATUS=%s done", cause);
    }
    supervisor_progress(s);
}

/* ---- what asks for a change ---- */

static void log_complaints(const struct config_report *r)
{
    struct buf text;

    buf_init(&text, 0);
    config_report_print(r, &text);
    struct span rest = buf_span(&text);

    while (rest.p && rest.n) {
        struct span line = span_cut(&rest, '\n');

        if (line.n)
            log_event(r->n_errors ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "config", SPAN_FMT,
                      SPAN_ARG(line));
    }
    buf_done(&text);
}

/* The default policy need not be there; but one that was does not end by a slip of a finger. */
static bool policy_is_gone(const struct settings_loaded *old, const struct settings_loaded *l)
{
    return old->has_policy && !old->settings.policy && !l->has_policy && !l->settings.policy;
}

static void take_next(struct supervisor *s, const char *cause, struct settings_loaded *l)
{
    struct buf key;
    bool restart = false;

    s->change.cause = cause;
    if (strcmp(l->settings.state, s->loaded->settings.state) != 0) {
        settings_loaded_free(l);
        change_fail(s, "the state directory cannot be changed by a reload: start anew");
        return;
    }
    if (policy_is_gone(s->loaded, l)) {
        settings_loaded_free(l);
        change_fail(s, "the policy " SALLYPORT_POLICY_PATH " is gone: to have none, let it say "
                       "'version 1' and nothing else, or start anew");
        return;
    }
    buf_init(&key, 0);
    if (config_diff_restart(&settings_block, &s->loaded->settings, &l->settings, &restart, &key) !=
        OK)
        restart = true;
    if (restart && gateway_count(s) >= GATEWAYS_MAX) {
        log_warn(AREA, "%s: waits until one of %u gateway processes has drained", cause,
                 GATEWAYS_MAX);
        settings_loaded_free(l);
        s->reload_waits = true;
    } else {
        if (restart)
            log_info(AREA, "%s: %s needs a new gateway process", cause,
                     key.n ? buf_cstr(&key) : "the change");
        s->change.next = l;
        s->change.generation = restart;
        change_begin(s);
    }
    buf_done(&key);
}

static void reload(struct supervisor *s)
{
    struct settings_loaded *l;
    struct config_report r;

    notify("RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)clock_mono_us(&clock_system));
    config_report_init(&r);
    enum err e = settings_reload(s->loaded, s->config_path, s->state, &r, &l);

    log_complaints(&r);
    config_report_done(&r);
    s->change.cause = "reload";
    if (e)
        change_fail(s, "the configuration has errors");
    else
        take_next(s, "reload", l);
}

/* Are the files other than at the last try, or, if there was none, than those that we have? */
static bool files_are_new(struct supervisor *s)
{
    struct buf last, now;
    bool fresh;

    buf_init(&last, 0);
    buf_init(&now, 0);
    if (s->files_tried)
        buf_text(&last, s->files_tried);
    else
        files_loaded_key(s->loaded, &last);
    files_disk_key(s->loaded, &now);
    fresh = !span_eq(buf_span(&last), buf_span(&now));
    if (fresh) {
        free(s->files_tried);
        s->files_tried = span_dup(buf_span(&now));
    }
    buf_done(&last);
    buf_done(&now);
    return fresh;
}

/* Not even one set that could be used? */
static bool loaded_is_same(const struct settings_loaded *a, const struct settings_loaded *b)
{
    struct buf x, y;
    bool same;

    buf_init(&x, 0);
    buf_init(&y, 0);
    files_loaded_key(a, &x);
    files_loaded_key(b, &y);
    same = span_eq(buf_span(&x), buf_span(&y));
    buf_done(&x);
    buf_done(&y);
    return same;
}

/* Certificates, keys, CAs of printers, lists and the policy, with the configuration as it was read:
 * it may be half edited by now. What is wrong keeps what it has, and holds up nothing else. */
static void reload_files(struct supervisor *s)
{
    struct settings_loaded *l;
    struct config_report r;

    if (!files_are_new(s))
        return;
    config_report_init(&r);
    enum err e = settings_load_again(s->loaded, &r, &l);
    bool same = !e && loaded_is_same(s->loaded, l);

    if (!same)
        log_complaints(&r);
    config_report_done(&r);
    s->change.cause = "changed files";
    if (e) {
        change_fail(s, "the changed files cannot be used yet");
        return;
    }
    certificates_look(s, l);
    files_look(s, l);
    if (same)
        settings_loaded_free(l);
    else
        take_next(s, "changed files", l);
    if (certificates_are_bad(s)) {
        files_watch(s); /* what was missing may be there now, in a directory that is new */
        files_poll_soon(s);
    }
}

static bool rules_are_as_tried(const struct supervisor *s)
{
    struct buf key;
    bool same;

    buf_init(&key, 0);
    zygote_key(s, s->loaded, &key);
    same = s->rules_tried && strcmp(s->rules_tried, buf_cstr(&key)) == 0;
    buf_done(&key);
    return same;
}

static void reload_rules(struct supervisor *s)
{
    if (!zygote_is_needed(s->loaded) || (s->zygote && rules_are_as_tried(s)))
        return;
    s->change.cause = s->zygote ? "rules" : "worker";
    change_begin(s);
}

static void on_wanted(struct task *t)
{
    struct supervisor *s = CONTAINER_OF(t, struct supervisor, wanted);
    unsigned want;

    s->wanted_posted = false;
    if (s->change.step != CHANGE_NONE || s->stopping || !s->started)
        return;
    want = s->wants & (~s->wants + 1); /* the lowest: a reload does what the others would */
    s->wants &= ~want;
    switch (want) {
    case WANT_RELOAD: reload(s); break;
    case WANT_FILES: reload_files(s); break;
    case WANT_RULES: reload_rules(s); break;
    case WANT_REEXEC: supervisor_reexec(s); break;
    default: return;
    }
    supervisor_progress(s);
}

void change_want(struct supervisor *s, unsigned want)
{
    s->wants |= want;
    s->wanted.run = on_wanted;
    if (s->wants && !s->wanted_posted && s->change.step == CHANGE_NONE) {
        s->wanted_posted = true;
        loop_defer(s->loop, &s->wanted);
    }
}

void change_start(struct supervisor *s, struct settings_loaded *l,
                  const struct socket_set *inherited)
{
    struct buf why;
    struct change *c = &s->change;

    *c = (struct change){.cause = "start",
                         .next = l,
                         .generation = true,
                         .spool_fd = -1,
                         .records_fd = -1,
                         .chain_fd = -1};
    buf_init(&why, 0);
    enum err e = sockets_open(&l->settings, inherited, &c->sockets, &why);

    if (!e)
        e = open_parts(s, &why);
    if (e) {
        log_error(AREA, "%s", why.n ? buf_cstr(&why) : err_text(e));
        change_abandon(s);
        supervisor_exit(s, 2);
    } else {
        files_share_control(l);
        if (s->orphan < 0)
            files_clear_spool(c->spool_fd);
        change_begin(s);
    }
    buf_done(&why);
}
