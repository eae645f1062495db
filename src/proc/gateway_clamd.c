/* SPDX-License-Identifier: Apache-2.0 */
/* Whether ClamAV answers, and what follows when that, or its database, changes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proc/gateway_int.h"

#define FIRST_WORD_MS 5000u
#define VERSIONS_MAX  400u /* a database each day: a year */

/* What the gauge of one version asks for. */
struct clamd_version {
    struct clamd_version *next;
    const struct gateway_policy *policy;
    char text[CLAMD_VERSION_MAX];
};

/* As clamd.h wants it; the configuration has made sure that it is no name. */
static bool clamd_address(const struct config_address *c, struct address *ret)
{
    char path[ADDRESS_TEXT_MAX];
    int n;

    if (c->kind != CONFIG_ADDRESS_UNIX)
        return settings_address(c, ret);
    n = snprintf(path, sizeof path, "unix:%s", c->host);
    return n > 0 && (size_t)n < sizeof path && address_parse(span_of(path), ret) == OK;
}

enum err policy_clamd_init(struct gateway_policy *p, const struct clamav_settings *s)
{
    if (!s)
        return OK;
    p->clamd_settings = (struct clamd_settings){.transport = s->transport,
                                                .connections_max = s->connections,
                                                .queue_max = s->queue,
                                                .scan_max = s->max_scan,
                                                .trust_silent = s->trust_silent,
                                                .check_ms = s->check_ms,
                                                .self_test_ms = s->self_test_ms};
    if (!clamd_address(&s->address, &p->clamd_settings.address))
        return ERR_CONFIG;
    return clamd_health_new(&p->clamd_health);
}

/* Goes into ISTags, with the time of the last change that the version need not tell: a daemon that
 * came back may have loaded other signatures. While the daemon is away its last version stands: an
 * outage does not make what clients have cached any older. */
static bool clamd_text_changed(struct gateway_policy *p)
{
    char text[sizeof p->clamd_text], epoch[32] = "";
    const char *silent = !p->clamd.silent_limits          ? ""
                         : p->clamd_settings.trust_silent ? " silent and believed"
                                                          : " silent";

    if (!p->clamd.up)
        return false;
    if (p->epoch_s)
        (void)snprintf(epoch, sizeof epoch, " since %llu", (unsigned long long)p->epoch_s);
    (void)snprintf(text, sizeof text, "%s max-scan %llu%s%s", p->clamd.version,
                   (unsigned long long)p->clamd.scan_max, silent, epoch);
    if (strcmp(text, p->clamd_text) == 0)
        return false;
    memcpy(p->clamd_text, text, sizeof text);
    return true;
}

/* The monitor has logged it. */
static void tell_trouble(struct gateway_core *g)
{
    const struct clamd_health_report *now = &g->policy.clamd;

    if (!now->up)
        troubles_add(g->troubles, SPAN("engine clamav"), "engine-down", now->why, "",
                     clock_wall_ms(&clock_system));
    else if (now->silent_limits)
        troubles_add(g->troubles, SPAN("engine clamav"), "not-inspected",
                     "clamd calls clean what is over its limits: set AlertExceedsMax yes in "
                     "clamd.conf",
                     "", clock_wall_ms(&clock_system));
}

static double gauge_version(void *arg)
{
    const struct clamd_version *v = arg;

    return v->policy->clamd.up && strcmp(v->policy->clamd.version, v->text) == 0;
}

/* sallyport_clamd_info{version="..."} is 1 for the one that answers now. */
static void version_add(struct gateway_core *g)
{
    struct gateway_policy *p = &g->policy;
    struct clamd_version *v = p->clamd_versions;
    struct buf labels;
    unsigned n = 0;

    for (; v && strcmp(v->text, p->clamd.version) != 0; v = v->next)
        n++;
    if (v || n >= VERSIONS_MAX || (v = calloc(1, sizeof *v)) == NULL)
        return;
    v->policy = p;
    v->next = p->clamd_versions;
    memcpy(v->text, p->clamd.version, sizeof v->text);
    p->clamd_versions = v;
    buf_init(&labels, 0);
    metrics_label(&labels, "version", span_of(v->text));
    (void)metrics_gauge(g->metrics, "sallyport_clamd_info", buf_cstr(&labels),
                        "1 for the version of ClamAV and its database that answers.", gauge_version,
                        v);
    buf_done(&labels);
}

static void on_changed(void *arg)
{
    struct gateway_core *g = arg;
    struct gateway_policy *p = &g->policy;
    bool was_up = p->clamd.up;
    uint32_t lives = p->clamd.lives;

    clamd_health_read(p->clamd_health, &p->clamd);
    tell_trouble(g);
    if (p->clamd.up)
        version_add(g);
    if (p->clamd.up && p->clamd_text[0] && (!was_up || p->clamd.lives != lives))
        policy_forget_verdicts(g);
    else if (clamd_text_changed(p))
        policy_refresh(g);
}

void policy_forget_verdicts(struct gateway_core *g)
{
    struct gateway_policy *p = &g->policy;
    const struct cache_settings *s = &g->config->settings.engines.cache;
    uint64_t now_s = clock_wall_ms(&clock_system) / 1000;

    /* Another text even within the second. */
    p->epoch_s = now_s > p->epoch_s ? now_s : p->epoch_s + 1;
    verdict_cache_set_limits(p->cache, 0, s->ttl_ms);
    verdict_cache_set_limits(p->cache, s->size, s->ttl_ms);
    if (clamd_text_changed(p))
        policy_refresh(g);
}

struct refused {
    struct clamd_refusal as;
    char text[sizeof "not asked: " + PROTECT_WHY_MAX];
};

/* NULL: it may be asked. Through its own socket nothing leaves the machine; over TCP all is clear
 * text, so that it is known before anything is sent which lines of the policy hold. */
static const struct clamd_refusal *refusal(const struct gateway_core *g, struct refused *dst)
{
    const struct address *a = &g->policy.clamd_settings.address;
    const struct protect_system system = {.file = g->config->policy, .service = "clamd"};
    char text[PROTECT_WHY_MAX];
    sallyport_why *why = &dst->as.why;

    if (a->ss.ss_family == AF_UNIX ||
        protect_system_check(&system, NULL, (const struct sockaddr *)&a->ss, NULL, why) == OK)
        return NULL;
    (void)snprintf(dst->text, sizeof dst->text, "not asked: %s", protect_why_text(why, text));
    dst->as.text = dst->text;
    return &dst->as;
}

void policy_clamd_configured(struct gateway_core *g)
{
    struct refused why;

    if (g->policy.clamd_monitor)
        clamd_monitor_refuse(g->policy.clamd_monitor, refusal(g, &why));
}

enum err policy_clamd_start(struct gateway_core *g)
{
    struct gateway_policy *p = &g->policy;
    struct loop *l = g->loops[0].loop;

    if (!p->clamd_health)
        return OK;
    struct clamd_settings set = p->clamd_settings;
    struct refused why;

    set.refused = refusal(g, &why);
    TRY(clamd_monitor_new(l, &set, p->clamd_health, on_changed, g, &p->clamd_monitor));
    uint64_t end = loop_now_ms(l) + FIRST_WORD_MS;

    while (!p->clamd.up && !p->clamd.why[0] && loop_now_ms(l) < end && loop_turn(l, true))
        ;
    if (!p->clamd.up && !p->clamd.why[0])
        log_warn("clamav", "has not answered for %u s; files are engine-down until it does",
                 FIRST_WORD_MS / 1000);
    return OK;
}

void policy_clamd_done(struct gateway_policy *p)
{
    while (p->clamd_versions) {
        struct clamd_version *v = p->clamd_versions;

        p->clamd_versions = v->next;
        free(v);
    }
    if (p->clamd_health)
        clamd_health_unref(p->clamd_health);
}
