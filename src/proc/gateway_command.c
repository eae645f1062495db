/* SPDX-License-Identifier: Apache-2.0 */
/* Exceptions and bypasses over the control socket. What comes in is the operators', who are named
 * by the kernel; all the same every member is looked at, and an unknown one refused: a misspelt
 * condition would let more pass than was meant. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/json.h"
#include "base/log.h"
#include "proc/gateway_int.h"
#include "proc/generation_text.h"

static bool service_is_known(struct asked *a, const char *name)
{
    const struct icap_snapshot *s = a->gateway->snapshot;
    const struct icap_service *known = policy_service(a->gateway, name);
    const char *comma = "";

    if (known && known->set->type == ICAP_SERVICE_INSPECT)
        return true;
    buf_fmt(&a->why,
            known ? "the service '%.64s' inspects nothing; those that do are "
                  : "there is no service '%.64s'; there are ",
            name);
    for (size_t i = 0; i < s->n_services; i++) {
        if (s->services[i].set->type != ICAP_SERVICE_INSPECT)
            continue;
        buf_fmt(&a->why, "%s%s", comma, s->services[i].set->name);
        comma = ", ";
    }
    return false;
}

/* ---- answers ---- */

static void answer_exception(struct asked *a, const struct exception *e)
{
    struct json j = json_to(a->out);

    json_open(&j, NULL, '{');
    json_bool(&j, "ok", true);
    json_open(&j, "exception", '{');
    exception_json(e, &j);
    json_close(&j, '}');
    json_close(&j, '}');
}

/* ---- commands: false after a complaint in |why| ---- */

/* Of |request|, as exceptions.h wants it. */
static bool read_exception(struct asked *a, const json_t *request, uint64_t max_ms,
                           struct exception *ret)
{
    uint64_t now = clock_wall_ms(&clock_system);
    char *text = json_dumps(request, JSON_COMPACT);
    enum err e = text ? exception_parse_request(span_of(text), now, ret, &a->why) : ERR_NOMEM;

    free(text);
    if (e == OK)
        e = exception_check(ret, now, max_ms, &a->why);
    if (e && a->why.n == 0)
        buf_text(&a->why, err_text(e));
    if (e || (ret->service[0] && !service_is_known(a, ret->service)))
        return false;
    (void)span_copy(span_of(a->by), ret->by, sizeof ret->by);
    return true;
}

static bool run_exception_add(struct asked *a)
{
    static const char *const known[] = {"exception", NULL};
    const json_t *request = json_object_get(a->command, "exception");
    struct exception e = {0};

    if (!asked_members_are(a, known))
        return false;
    if (!json_is_object(request)) {
        buf_text(&a->why, "\"exception\" is missing, or no object");
        return false;
    }
    if (!read_exception(a, request, EXCEPTION_MAX_MS, &e))
        return false;
    if (e.kind != EXCEPTION_ALLOW) {
        buf_text(&a->why, "a bypass has a command of its own, \"bypass\"");
        return false;
    }
    if (policy_add(a->gateway, &e, &a->why) != OK)
        return false;
    answer_exception(a, &e);
    return true;
}

static bool run_exception_remove(struct asked *a)
{
    static const char *const known[] = {"id", NULL};
    struct exception gone;

    if (!asked_members_are(a, known))
        return false;
    const char *id = asked_text(a, "id");

    if (!id || policy_remove(a->gateway, id, a->by, &gone, &a->why) != OK)
        return false;
    answer_exception(a, &gone);
    return true;
}

static void list_json(const struct exceptions *set, struct buf *out)
{
    uint64_t now = clock_wall_ms(&clock_system);
    struct json j = json_to(out);

    json_open(&j, NULL, '{');
    json_open(&j, "exceptions", '[');
    for (size_t i = 0; i < exceptions_count(set); i++) {
        const struct exception *e = exceptions_at(set, i);

        json_open(&j, NULL, '{');
        exception_json(e, &j);
        json_bool(&j, "expired", e->expires_wall_ms <= now);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
}

/* What the journal still holds, as if nothing had ever expired. */
static enum err list_with_expired(struct gateway_policy *p, struct exceptions **ret)
{
    struct span text;
    unsigned bad;
    enum err e = journal_read(&p->journal, &text);

    if (e == ERR_MISSING)
        return exceptions_new(ret);
    TRY(e);
    e = exceptions_parse(text, 0, ret, &bad);
    text_free(&text);
    return e;
}

static bool run_exception_list(struct asked *a)
{
    static const char *const known[] = {"expired", NULL};
    const json_t *expired = json_object_get(a->command, "expired");
    struct exceptions *set = NULL;

    if (!asked_members_are(a, known))
        return false;
    if (expired && !json_is_boolean(expired)) {
        buf_text(&a->why, "\"expired\" is true or false");
        return false;
    }
    if (!json_is_true(expired))
        set = exceptions_ref(a->gateway->policy.exceptions);
    else if (list_with_expired(&a->gateway->policy, &set) != OK) {
        buf_text(&a->why, "the journal cannot be read");
        return false;
    }
    list_json(set, a->out);
    exceptions_unref(set);
    return true;
}

static bool run_bypass(struct asked *a)
{
    static const char *const known[] = {"service", "expires_in", "reason", NULL};
    struct exception e = {0};
    bool done;

    if (!asked_members_are(a, known) || !asked_text(a, "service"))
        return false;
    json_t *request = json_copy((json_t *)(uintptr_t)a->command);

    if (!request || json_object_del(request, "command") != 0 ||
        json_object_set_new(request, "kind", json_string("bypass")) != 0) {
        json_decref(request);
        return false;
    }
    done =
        read_exception(a, request, BYPASS_MAX_MS, &e) && policy_add(a->gateway, &e, &a->why) == OK;
    json_decref(request);
    if (done)
        answer_exception(a, &e);
    return done;
}

static bool run_bypass_end(struct asked *a)
{
    static const char *const known[] = {"service", NULL};
    struct gateway_core *g = a->gateway;
    struct exception gone;

    if (!asked_members_are(a, known))
        return false;
    const char *service = asked_text(a, "service");

    if (!service || !service_is_known(a, service))
        return false;
    const struct exception *e =
        exceptions_bypass(g->policy.exceptions, service, clock_wall_ms(&clock_system));

    if (!e) {
        buf_fmt(&a->why, "the service '%.64s' is not bypassed", service);
        return false;
    }
    if (policy_remove(g, e->id, a->by, &gone, &a->why) != OK)
        return false;
    answer_exception(a, &gone);
    return true;
}

static bool run_cache_clear(struct asked *a)
{
    static const char *const known[] = {NULL};
    struct verdict_cache_counts c;
    struct json j = json_to(a->out);

    if (!asked_members_are(a, known))
        return false;
    verdict_cache_count(a->gateway->policy.cache, &c);
    policy_forget_verdicts(a->gateway);
    log_info("gateway", "%s had %llu kept verdicts forgotten", a->by,
             (unsigned long long)c.entries);
    json_open(&j, NULL, '{');
    json_bool(&j, "ok", true);
    json_u64(&j, "forgotten", c.entries);
    json_close(&j, '}');
    return true;
}

static bool run_tenant_list(struct asked *a)
{
    static const char *const known[] = {NULL};

    if (!asked_members_are(a, known))
        return false;
    gateway_tenant_list(a->gateway, a->out);
    return true;
}

/* What a verifier that is made elsewhere shall have. */
static bool run_tenant_rounds(struct asked *a)
{
    static const char *const known[] = {NULL};
    struct json j = json_to(a->out);

    if (!asked_members_are(a, known))
        return false;
    json_open(&j, NULL, '{');
    json_u64(&j, "rounds", a->gateway->config->settings.login.rounds);
    json_close(&j, '}');
    return true;
}

bool gateway_command(void *arg, const char *name, const struct json_t *command, unsigned uid,
                     struct buf *out)
{
    static const struct {
        const char *name;
        bool (*run)(struct asked *a);
    } commands[] = {
        {"exception-add",    run_exception_add   },
        {"exception-list",   run_exception_list  },
        {"exception-remove", run_exception_remove},
        {"bypass",           run_bypass          },
        {"bypass-end",       run_bypass_end      },
        {"cache-clear",      run_cache_clear     },
        {"tenant-list",      run_tenant_list     },
        {"tenant-rounds",    run_tenant_rounds   },
    };
    struct gateway_core *g = arg;
    struct asked a = {.gateway = g,
                      .command = command,
                      .by = policy_name_of(&g->policy, uid),
                      .uid = uid,
                      .out = out};

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) != 0)
            continue;
        buf_init(&a.why, 4096);
        if (!commands[i].run(&a))
            asked_answer_why(&a);
        buf_done(&a.why);
        return true;
    }
    return false;
}
