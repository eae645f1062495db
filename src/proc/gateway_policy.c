/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/gateway_policy.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"
#include "proc/gateway_int.h"
#include "proc/generation_text.h"

#define LOOK_MS    1000u
#define WARN_MS    60000u /* between two reminders that a service is bypassed */
#define NO_READ_MS 60000u
#define ID_TRIES   16u

/* A bypass that is in force, or was a moment ago. */
struct bypass_watch {
    struct bypass_watch *next;
    struct exception bypass;
    uint64_t base;    /* of the service's counter when it began */
    uint64_t warn_ms; /* next reminder */
    bool seen;
};

/* What the gauge of one service asks for. */
struct bypass_gauge {
    struct bypass_gauge *next;
    const struct gateway_policy *policy;
    char service[65];
};

static uint64_t wall_now(void)
{
    return clock_wall_ms(&clock_system);
}

/* ---- snapshots ---- */

static enum err snapshot_with(struct gateway_core *g, struct gateway_config *config,
                              struct exceptions *set, struct icap_snapshot **ret, struct buf *why)
{
    const struct snapshot_parts parts = {.worker_engines = g->engines,
                                         .clamav = g->policy.clamd_text,
                                         .exceptions = set,
                                         .tenants = g->tenants,
                                         .metrics = g->metrics};

    return gateway_config_snapshot(config, &parts, ret, why);
}

enum err policy_snapshot(struct gateway_core *g, struct gateway_config *config,
                         struct icap_snapshot **ret, struct buf *why)
{
    return snapshot_with(g, config, g->policy.exceptions, ret, why);
}

static void order_snapshot(struct order *o)
{
    icap_server_set_snapshot(o->to->icap, o->snapshot);
    icap_snapshot_unref(o->snapshot);
}

void policy_publish(struct gateway_core *g, struct icap_snapshot *snapshot)
{
    icap_snapshot_unref(g->snapshot);
    g->snapshot = snapshot;
    for (unsigned i = 0; i < g->n_loops; i++) {
        struct order *o = order_new(&g->loops[i], order_snapshot);

        o->snapshot = icap_snapshot_ref(snapshot);
        order_post(o);
    }
}

/* The configuration was good enough for the snapshot before: only memory can be wanting. */
void policy_refresh(struct gateway_core *g)
{
    struct icap_snapshot *snapshot = NULL;
    struct ipp_snapshot *print = NULL;
    struct buf why;

    buf_init(&why, 0);
    if (policy_snapshot(g, g->config, &snapshot, &why) != OK ||
        gateway_print_snapshot(g, g->config, &print, &why) != OK) {
        log_error("gateway", "cannot make new ISTags: %s; ending, to be started again",
                  buf_cstr(&why));
        abort();
    }
    buf_done(&why);
    policy_publish(g, snapshot);
    gateway_print_publish(g, print);
}

/* ---- bypasses ---- */

const struct icap_service *policy_service(const struct gateway_core *g, const char *name)
{
    for (size_t i = 0; i < g->snapshot->n_services; i++)
        if (strcmp(g->snapshot->services[i].set->name, name) == 0)
            return &g->snapshot->services[i];
    return NULL;
}

static uint64_t bypass_counter(const struct gateway_core *g, const char *service)
{
    const struct icap_service *s = policy_service(g, service);

    return s ? metrics_value(g->metrics, s->metrics.bypassed) : 0;
}

static struct bypass_watch *watch_find(const struct gateway_policy *p, const char *id)
{
    struct bypass_watch *w = p->watches;

    while (w && strcmp(w->bypass.id, id) != 0)
        w = w->next;
    return w;
}

static uint64_t watch_passed(const struct gateway_policy *p, const struct bypass_watch *w)
{
    uint64_t now = bypass_counter(p->gateway, w->bypass.service);

    return now > w->base ? now - w->base : 0;
}

uint64_t policy_bypassed(const struct gateway_policy *p, const struct exception *bypass)
{
    const struct bypass_watch *w = watch_find(p, bypass->id);

    return w ? watch_passed(p, w) : 0;
}

/* |now|: loop time, ms. */
static void watch_add(struct gateway_policy *p, const struct exception *e, uint64_t now)
{
    struct bypass_watch *w = calloc(1, sizeof *w);
    char until[ISO_TIME_LEN + 1];

    clock_iso_time(e->expires_wall_ms, until);
    log_warn("bypass",
             "SERVICE '%s' IS BYPASSED: nothing that passes it is inspected until %s id=%s by=%s "
             "reason='%s'",
             e->service, until, e->id, e->by, e->reason);
    troubles_add(p->gateway->troubles, SPAN("bypass"), "bypassed", e->service, "", wall_now());
    if (!w)
        return; /* in force all the same; nobody is reminded of it */
    w->bypass = *e;
    w->base = bypass_counter(p->gateway, e->service);
    w->warn_ms = now + WARN_MS;
    w->seen = true;
    w->next = p->watches;
    p->watches = w;
}

static void watch_ended(const struct gateway_policy *p, const struct bypass_watch *w)
{
    log_info("bypass", "of service '%s' is over: it let %llu messages pass id=%s",
             w->bypass.service, (unsigned long long)watch_passed(p, w), w->bypass.id);
}

/* Brings the watches in line with the set. */
static void watches_update(struct gateway_policy *p)
{
    uint64_t now = loop_now_ms(p->gateway->loops[0].loop);

    for (struct bypass_watch *w = p->watches; w; w = w->next)
        w->seen = false;
    for (size_t i = 0; i < exceptions_count(p->exceptions); i++) {
        const struct exception *e = exceptions_at(p->exceptions, i);
        struct bypass_watch *w = watch_find(p, e->id);

        if (w)
            w->seen = true;
        else if (e->kind == EXCEPTION_BYPASS)
            watch_add(p, e, now);
    }
    for (struct bypass_watch **at = &p->watches; *at;) {
        struct bypass_watch *w = *at;

        if (w->seen) {
            at = &w->next;
            continue;
        }
        watch_ended(p, w);
        *at = w->next;
        free(w);
    }
}

static void remind(struct gateway_policy *p)
{
    uint64_t now = loop_now_ms(p->gateway->loops[0].loop), wall = wall_now();

    for (struct bypass_watch *w = p->watches; w; w = w->next) {
        uint64_t end = w->bypass.expires_wall_ms;

        if (now < w->warn_ms)
            continue;
        w->warn_ms = now + WARN_MS;
        log_warn("bypass",
                 "SERVICE '%s' IS BYPASSED for another %llu s; %llu messages passed id=%s",
                 w->bypass.service, (unsigned long long)(end > wall ? (end - wall) / 1000 : 0),
                 (unsigned long long)watch_passed(p, w), w->bypass.id);
    }
}

static double gauge_bypass(void *arg)
{
    const struct bypass_gauge *b = arg;

    return exceptions_bypass(b->policy->exceptions, b->service, wall_now()) ? 1 : 0;
}

static void gauge_add(struct gateway_core *g, const char *service)
{
    struct gateway_policy *p = &g->policy;
    struct bypass_gauge *b = p->gauges;
    struct buf labels;

    while (b && strcmp(b->service, service) != 0)
        b = b->next;
    if (b || (b = calloc(1, sizeof *b)) == NULL)
        return;
    (void)span_copy(span_of(service), b->service, sizeof b->service);
    b->policy = p;
    b->next = p->gauges;
    p->gauges = b;
    buf_init(&labels, 0);
    metrics_label(&labels, "service", span_of(service));
    (void)metrics_gauge(g->metrics, "sallyport_bypass_active", buf_cstr(&labels),
                        "1 while an operator lets everything pass a service without inspection.",
                        gauge_bypass, b);
    buf_done(&labels);
}

void policy_configured(struct gateway_core *g)
{
    const struct settings *s = &g->config->settings;

    verdict_cache_set_limits(g->policy.cache, s->engines.cache.size, s->engines.cache.ttl_ms);
    for (size_t i = 0; i < s->n_services; i++)
        if (s->services[i].type == ICAP_SERVICE_INSPECT)
            gauge_add(g, s->services[i].name);
    policy_clamd_configured(g);
}

/* ---- the set in force ---- */

static void log_expired(const struct exceptions *old, uint64_t now)
{
    for (size_t i = 0; i < exceptions_count(old); i++) {
        const struct exception *e = exceptions_at(old, i);

        if (e->kind == EXCEPTION_ALLOW && e->expires_wall_ms <= now)
            log_info("exceptions", "%s has expired by=%s reason='%s'", e->id, e->by, e->reason);
    }
}

/* Takes |set| over. */
static void set_replace(struct gateway_policy *p, struct exceptions *set)
{
    struct exceptions *old = p->exceptions;

    p->exceptions = set;
    log_expired(old, wall_now());
    exceptions_unref(old);
    watches_update(p);
}

/* What is in the journal now. */
static enum err journal_set(struct gateway_policy *p, struct exceptions **ret)
{
    struct span text;
    unsigned bad = 0;
    enum err e = journal_read(&p->journal, &text);

    if (e == ERR_MISSING)
        return exceptions_new(ret);
    TRY(e);
    e = exceptions_parse(text, wall_now(), ret, &bad);
    text_free(&text);
    if (!e && bad)
        log_warn("exceptions", "%u lines of the journal cannot be read and are left out", bad);
    return e;
}

static void journal_reread(struct gateway_core *g)
{
    static struct log_limit limit;
    struct exceptions *set = NULL;
    uint64_t held;
    enum err e = journal_set(&g->policy, &set);

    if (e == OK) {
        set_replace(&g->policy, set);
        policy_refresh(g);
    } else if (log_limit_pass(&limit, loop_now_ms(g->loops[0].loop), NO_READ_MS, &held)) {
        log_error("exceptions",
                  "the journal cannot be read: %s; what was in force stays, until it "
                  "expires",
                  err_text(e));
    }
}

static bool has_expired(const struct exceptions *set, uint64_t now)
{
    for (size_t i = 0; i < exceptions_count(set); i++)
        if (exceptions_at(set, i)->expires_wall_ms <= now)
            return true;
    return false;
}

/* Also sees what a gateway before us, or after us, wrote to the journal while both were there. By
 * the clock of the wall, which may be set: so it looks often and reckons nothing. */
static void on_look(struct timer *t)
{
    struct gateway_policy *p = CONTAINER_OF(t, struct gateway_policy, look);
    struct loop *l = p->gateway->loops[0].loop;

    timer_set(l, t, loop_now_ms(l) + LOOK_MS);
    if (journal_has_grown(&p->journal) || has_expired(p->exceptions, wall_now()))
        journal_reread(p->gateway);
    remind(p);
}

/* ---- changes ---- */

const char *policy_name_of(const struct gateway_policy *p, unsigned uid)
{
    return uid == p->own_uid ? p->own_name : uid == 0 ? "root" : "somebody";
}

/* Letters that are hard to mistake for one another, as in ids of records. */
static bool id_new(const struct exceptions *set, char ret[EXCEPTION_ID_LEN + 1])
{
    static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";
    uint8_t random[EXCEPTION_ID_LEN];

    for (unsigned tries = 0; tries < ID_TRIES; tries++) {
        if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
            return false;
        for (unsigned i = 0; i < EXCEPTION_ID_LEN; i++)
            ret[i] = letters[random[i] & 31];
        ret[EXCEPTION_ID_LEN] = '\0';
        if (!exceptions_find(set, ret))
            return true;
    }
    return false;
}

/* Writes |lines| down and puts |set| (consumed) in force; both or neither. */
static enum err set_commit(struct gateway_core *g, struct exceptions *set, const struct buf *lines,
                           struct buf *why)
{
    struct icap_snapshot *snapshot = NULL;
    enum err e = lines->err ? lines->err : snapshot_with(g, g->config, set, &snapshot, why);

    if (e == OK) {
        e = journal_append(&g->policy.journal, buf_span(lines), why);
        if (e) {
            icap_snapshot_unref(snapshot);
            troubles_add(g->troubles, SPAN("exceptions"), err_code(e),
                         "the journal cannot be written", "", wall_now());
            log_error("exceptions", "nothing was changed: %s", buf_cstr(why));
        }
    }
    if (e) {
        exceptions_unref(set);
        if (why->n == 0)
            buf_text(why, err_text(e));
        return e;
    }
    policy_publish(g, snapshot);
    set_replace(&g->policy, set);
    return OK;
}

static void log_added(const struct exception *e)
{
    char until[ISO_TIME_LEN + 1];
    struct buf text;
    struct json j;

    buf_init(&text, 0);
    j = json_to(&text);
    json_open(&j, NULL, '{');
    exception_json(e, &j);
    json_close(&j, '}');
    clock_iso_time(e->expires_wall_ms, until);
    log_warn("exceptions", "%s lets files pass until %s: %s", e->id, until, buf_cstr(&text));
    buf_done(&text);
}

/* The set without the bypass that |e| replaces; a reference or a new one. */
static enum err set_without_older(struct gateway_policy *p, const struct exception *e,
                                  struct exceptions **ret, struct buf *lines)
{
    const struct exception *old = NULL;

    if (e->kind == EXCEPTION_BYPASS)
        old = exceptions_bypass(p->exceptions, e->service, wall_now());
    if (!old) {
        *ret = exceptions_ref(p->exceptions);
        return OK;
    }
    exception_format_remove(old->id, e->by, wall_now(), lines);
    return exceptions_without(p->exceptions, old->id, wall_now(), ret);
}

static enum err set_with(struct gateway_policy *p, const struct exception *e,
                         struct exceptions **ret, struct buf *lines)
{
    struct exceptions *before = NULL;

    TRY(set_without_older(p, e, &before, lines));
    enum err err = exceptions_with(before, e, wall_now(), ret);

    exceptions_unref(before);
    return err;
}

enum err policy_add(struct gateway_core *g, struct exception *e, struct buf *why)
{
    struct gateway_policy *p = &g->policy;
    struct exceptions *set = NULL;
    struct buf lines;

    e->created_wall_ms = wall_now();
    if (!id_new(p->exceptions, e->id)) {
        buf_text(why, "no randomness for an id");
        return ERR_NOMEM;
    }
    buf_init(&lines, 0);
    enum err err = set_with(p, e, &set, &lines);

    if (err == ERR_LIMIT)
        buf_fmt(why, "there are %u exceptions already: remove some", EXCEPTIONS_MAX);
    else if (err)
        buf_text(why, err_text(err));
    exception_format_add(e, &lines);
    if (!err)
        err = set_commit(g, set, &lines, why);
    if (!err && e->kind == EXCEPTION_ALLOW)
        log_added(e);
    buf_done(&lines);
    return err;
}

enum err policy_remove(struct gateway_core *g, const char *id, const char *by,
                       struct exception *ret_gone, struct buf *why)
{
    struct gateway_policy *p = &g->policy;
    const struct exception *old = exceptions_find(p->exceptions, id);
    struct exceptions *set = NULL;
    struct buf lines;

    if (!old) {
        buf_fmt(why, "there is no exception with the id '%.64s'", id);
        return ERR_MISSING;
    }
    *ret_gone = *old;
    buf_init(&lines, 0);
    exception_format_remove(ret_gone->id, by, wall_now(), &lines);
    enum err e = exceptions_without(p->exceptions, ret_gone->id, wall_now(), &set);

    if (e)
        buf_text(why, err_text(e));
    else
        e = set_commit(g, set, &lines, why);
    if (!e)
        log_info("exceptions", "%s was removed by=%s", ret_gone->id, by);
    buf_done(&lines);
    return e;
}

/* ---- start and end ---- */

void policy_learn_names(struct gateway_policy *p, const struct settings *s)
{
    const char *name = geteuid() == 0 ? s->user : NULL;
    const struct passwd *pw = name ? getpwnam(name) : getpwuid(geteuid());

    p->own_uid = pw ? pw->pw_uid : geteuid();
    if (pw)
        (void)span_copy(span_of(pw->pw_name), p->own_name, sizeof p->own_name);
    else
        (void)snprintf(p->own_name, sizeof p->own_name, "uid %u", p->own_uid);
}

enum err policy_init(struct gateway_core *g, int fd, struct buf *why)
{
    struct gateway_policy *p = &g->policy;
    const struct engines_settings *s = &g->config->settings.engines;
    enum err e;

    p->gateway = g;
    p->look.fire = on_look;
    journal_init(&p->journal, fd);
    e = journal_set(p, &p->exceptions);
    if (e)
        return gateway_fail(why, e, "the journal of exceptions");
    e = verdict_cache_new(s->cache.size, s->cache.ttl_ms, &p->cache);
    if (e)
        return gateway_fail(why, e, "the verdict cache");
    e = policy_clamd_init(p, s->clamav);
    return e ? gateway_fail(why, e, "engines.clamav") : OK;
}

enum err policy_build_loop(struct gateway_loop *gl)
{
    struct gateway_policy *p = &gl->gateway->policy;
    struct inspector_environment env = {
        .loop = gl->loop,
        .workers = gl->workers,
        .cache = p->cache,
        .memory = &gl->gateway->memory,
    };

    if (p->clamd_health)
        TRY(clamd_new(gl->loop, &p->clamd_settings, p->clamd_health, &gl->clamd));
    env.clamd = gl->clamd;
    return inspector_new(&env, &gl->inspector);
}

enum err policy_start(struct gateway_core *g, struct buf *why)
{
    struct gateway_policy *p = &g->policy;
    struct loop *l = g->loops[0].loop;
    enum err e;

    policy_configured(g);
    timer_set(l, &p->look, loop_now_ms(l) + LOOK_MS);
    watches_update(p);
    e = policy_clamd_start(g);
    return e ? gateway_fail(why, e, "watching ClamAV") : OK;
}

void policy_stop(struct gateway_core *g)
{
    if (!g->loops || !g->loops[0].loop)
        return;
    timer_clear(g->loops[0].loop, &g->policy.look);
    clamd_monitor_free(g->policy.clamd_monitor);
    g->policy.clamd_monitor = NULL;
}

void policy_free_loop(struct gateway_loop *gl)
{
    inspector_free(gl->inspector);
    clamd_free(gl->clamd);
}

void policy_done(struct gateway_core *g)
{
    struct gateway_policy *p = &g->policy;

    while (p->watches) {
        struct bypass_watch *w = p->watches;

        p->watches = w->next;
        free(w);
    }
    while (p->gauges) {
        struct bypass_gauge *b = p->gauges;

        p->gauges = b->next;
        free(b);
    }
    verdict_cache_free(p->cache);
    policy_clamd_done(p);
    exceptions_unref(p->exceptions);
    if (p->gateway)
        journal_done(&p->journal);
}
