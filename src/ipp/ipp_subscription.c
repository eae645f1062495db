/* SPDX-License-Identifier: Apache-2.0 */
/* Subscriptions (RFC 3995): how and by whom each was made stands for all that is done to it, and is
 * told of it, as with jobs. The book is asked before the printer, and told behind it. */
#include <stdio.h>
#include <stdlib.h>

#include "ipp/ipp_server_int.h"
#include "ipp/ipp_subscriptions.h"

struct ipp_subscription_work {
    struct ipp_subscriptions_ask ask;
    bool is_unknown, is_others;          /* one of those that were asked about */
    struct ipp_job made;                 /* the last one that was found */
    int32_t told[IPP_SUBSCRIPTIONS_MAX]; /* of a list */
    size_t n_told;
    size_t left; /* so many may be told */
};

bool ipp_subscription_is_named(const struct ipp_operation *o)
{
    switch (o->code) {
    case IPP_OPERATION_RENEW_SUBSCRIPTION:
    case IPP_OPERATION_CANCEL_SUBSCRIPTION:
    case IPP_OPERATION_GET_SUBSCRIPTION_ATTRIBUTES:
    case IPP_OPERATION_GET_NOTIFICATIONS: return true;
    default: return false;
    }
}

void ipp_subscription_drop(struct ipp_exchange *ex)
{
    if (ex->subscription)
        ipp_subscriptions_cancel(&ex->subscription->ask);
    free(ex->subscription);
    ex->subscription = NULL;
}

/* The exchange's, ready to ask. NULL: no memory. */
static struct ipp_subscription_work *work_of(struct ipp_exchange *ex,
                                             void (*done)(void *arg, enum err err))
{
    struct ipp_subscription_work *w = ex->subscription;

    if (!w)
        w = ex->subscription = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->ask.store = ex->server->env.store;
    w->ask.loop = ex->server->env.loop;
    w->ask.done = done;
    w->ask.arg = ex;
    return w;
}

static void refuse(struct ipp_exchange *ex, uint16_t status, enum err e, const char *why)
{
    ipp_reply_refuse(ex, status, e, "subscription", "%s", why);
}

static void refuse_book(struct ipp_exchange *ex, enum err e)
{
    ipp_reply_refuse(ex, IPP_SERVER_ERROR_TEMPORARY_ERROR, e, "subscription",
                     "what is known of subscriptions cannot be read now: %s", err_text(e));
}

/* ---- which ones ---- */

/* Of |a|, at most |max|; 0 for what is no number. Returns how many there are. */
static size_t numbers_of(const struct ipp_attribute *a, int32_t *v, size_t max)
{
    struct ipp_value value;
    size_t n = 0;

    for (struct span rest = a->values; ipp_value_next(&rest, &value); n++)
        if (n < max && (value.tag != IPP_VALUE_INTEGER || !ipp_value_integer(&value, &v[n])))
            v[n] = 0;
    return n;
}

static bool is_number(struct span name)
{
    return ipp_name_eq(SPAN("notify-subscription-id"), name) ||
           ipp_name_eq(SPAN("notify-subscription-ids"), name);
}

/* Wherever it stands, and however it is written: printers may look there. */
static bool is_named_once(const struct ipp_message *m)
{
    struct ipp_attribute a;
    struct ipp_group g;
    unsigned n = 0;

    for (struct span gs = m->groups; ipp_group_next(&gs, &g);)
        for (struct span rest = g.attributes; ipp_attribute_next(&rest, &a);)
            n += is_number(a.name);
    return n == 1;
}

/* Those that the request names, at most |max|. 0: it names none, or not as it must. */
static size_t named_by(const struct ipp_exchange *ex, int32_t *v, size_t max)
{
    bool many = ex->operation->code == IPP_OPERATION_GET_NOTIFICATIONS;
    struct ipp_attribute a;
    size_t n;

    if (!is_named_once(ex->message) ||
        ipp_message_find(ex->message,
                         many ? SPAN("notify-subscription-ids") : SPAN("notify-subscription-id"),
                         &a) != OK)
        return 0;
    n = numbers_of(&a, v, max);
    for (size_t i = 0; i < n && i < max; i++)
        if (v[i] <= 0)
            return 0;
    return many || n == 1 ? n : 0;
}

/* Those that the printer's answer tells of, at most |max|. */
static size_t answered_in(const struct ipp_message *m, int32_t *v, size_t max)
{
    struct ipp_attribute a;
    struct ipp_group g;
    size_t n = 0;

    for (struct span gs = m->groups; n < max && ipp_group_next(&gs, &g);)
        if (g.tag == IPP_GROUP_SUBSCRIPTION &&
            ipp_attribute_find(g.attributes, SPAN("notify-subscription-id"), &a) == OK &&
            numbers_of(&a, &v[n], 1) == 1 && v[n] > 0)
            n++;
    return n;
}

/* ---- before the printer is asked ---- */

static void on_found(void *arg, int32_t id, const struct ipp_job *made)
{
    struct ipp_exchange *ex = arg;
    struct ipp_subscription_work *w = ex->subscription;

    (void)id;
    if (!made || !ipp_job_is_at(made, ex->printer)) {
        w->is_unknown = true;
        return;
    }
    ipp_demand_add(&ex->demand, (struct ipp_demand){.auth = 0, .level = made->made});
    w->is_others = w->is_others || !ipp_job_is_own(ex, made);
    w->made = *made;
}

static bool look_up(struct ipp_exchange *ex, const int32_t *v, size_t n,
                    void (*done)(void *arg, enum err err))
{
    struct ipp_subscription_work *w = work_of(ex, done);

    if (!w)
        return false;
    w->is_unknown = w->is_others = false;
    w->ask.found = on_found;
    return ipp_subscriptions_find(&w->ask, ex->printer->set->name, v, n) == OK;
}

/* As they were made, so they are treated. */
static void on_looked_up(void *arg, enum err e)
{
    struct ipp_exchange *ex = arg;
    const struct ipp_subscription_work *w = ex->subscription;

    if (e)
        refuse_book(ex, e);
    else if (w->is_unknown)
        refuse(ex, IPP_CLIENT_ERROR_NOT_FOUND, ERR_MISSING, "there is no such subscription");
    else if (!ipp_admit_level(ex) || !ipp_admit_allowed(ex))
        return;
    else if (w->is_others && !ex->is_operator)
        refuse(ex, IPP_CLIENT_ERROR_NOT_AUTHORIZED, ERR_POLICY,
               "the subscription is another user's");
    else
        ipp_forward(ex);
}

void ipp_subscription(struct ipp_exchange *ex)
{
    int32_t v[IPP_OTHERS_MAX];
    size_t n = named_by(ex, v, IPP_OTHERS_MAX);

    ex->state = EX_ASKING;
    if (n == 0)
        refuse(ex, IPP_CLIENT_ERROR_BAD_REQUEST, ERR_SYNTAX, "the request names no subscription");
    else if (n > IPP_OTHERS_MAX)
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE, ERR_LIMIT, "subscription",
                         "a request may name %u subscriptions", IPP_OTHERS_MAX);
    else if (!look_up(ex, v, n, on_looked_up))
        refuse_book(ex, ERR_BUSY);
}

static void on_demanded(void *arg, enum err e)
{
    struct ipp_exchange *ex = arg;

    if (e) {
        refuse_book(ex, e);
        return;
    }
    if (ex->subscription->is_unknown)
        ipp_job_demand_of_unknown(ex);
    ex->listed(ex); /* which asks again, and says what is wrong */
}

void ipp_subscription_demand(struct ipp_exchange *ex, void (*done)(struct ipp_exchange *ex))
{
    int32_t v[IPP_OTHERS_MAX];
    size_t n = named_by(ex, v, IPP_OTHERS_MAX);

    if (!ex->printer || n == 0 || n > IPP_OTHERS_MAX) { /* which is answered later */
        done(ex);
        return;
    }
    ex->state = EX_ASKING;
    ex->listed = done;
    if (!look_up(ex, v, n, on_demanded))
        refuse_book(ex, ERR_BUSY);
}

static bool makes_only_these(const struct ipp_operation *o)
{
    return o->code == IPP_OPERATION_CREATE_PRINTER_SUBSCRIPTIONS ||
           o->code == IPP_OPERATION_CREATE_JOB_SUBSCRIPTIONS;
}

bool ipp_subscription_is_written(const struct ipp_operation *o)
{
    return makes_only_these(o) || o->code == IPP_OPERATION_RENEW_SUBSCRIPTION;
}

/* Each is a record, which is written before the answer leaves. */
bool ipp_subscription_may_make(struct ipp_exchange *ex)
{
    struct ipp_group g;
    size_t n = 0;

    for (struct span gs = ex->message->groups; ipp_group_next(&gs, &g);)
        n += g.tag == IPP_GROUP_SUBSCRIPTION;
    if (n <= IPP_OTHERS_MAX)
        return true;
    ipp_reply_refuse(ex, IPP_CLIENT_ERROR_TOO_MANY_SUBSCRIPTIONS, ERR_LIMIT, "subscription",
                     "a request may make %u subscriptions", IPP_OTHERS_MAX);
    return false;
}

/* ---- behind its answer ---- */

/* The longest in those groups, in seconds, as far as |max|; 0: none is said. 0 there is for ever.
 */
static uint64_t lease_in(const struct ipp_message *m, uint8_t tag, uint64_t max)
{
    struct ipp_attribute a;
    struct ipp_group g;
    uint64_t longest = 0;
    int32_t s = 0;

    for (struct span gs = m->groups; ipp_group_next(&gs, &g);) {
        if (g.tag != tag ||
            ipp_attribute_find(g.attributes, SPAN("notify-lease-duration"), &a) != OK)
            continue;
        bool ends = numbers_of(&a, &s, 1) == 1 && s > 0 && (uint64_t)s < max;
        uint64_t lease = ends ? (uint64_t)s : max;

        longest = lease > longest ? lease : longest;
    }
    return longest;
}

/* Printers may grant less than they are asked for, and do not always say so; subscriptions of jobs
 * have no lease (RFC 3995 5.3.8). */
static uint64_t lease_of(const struct ipp_exchange *ex)
{
    uint64_t lease = lease_in(&ex->answer_message, IPP_GROUP_SUBSCRIPTION, IPP_LEASE_MAX_S);

    if (lease)
        return lease;
    if (ex->operation->code != IPP_OPERATION_CREATE_PRINTER_SUBSCRIPTIONS &&
        ex->operation->code != IPP_OPERATION_RENEW_SUBSCRIPTION)
        return 0;
    lease = lease_in(ex->message, IPP_GROUP_SUBSCRIPTION, IPP_LEASE_ASKED_MAX_S);
    if (lease == 0) /* RFC 3995 has it there for renewals; some clients above */
        lease = lease_in(ex->message, IPP_GROUP_OPERATION, IPP_LEASE_ASKED_MAX_S);
    return lease ? lease
                 : IPP_LEASE_ASKED_MAX_S; /* the printer has a default, which it may not say */
}

static uint64_t expiry_of(const struct ipp_exchange *ex)
{
    return clock_wall_ms(loop_clock(ex->server->env.loop)) + lease_of(ex) * 1000 +
           ex->snapshot->set->retention_ms;
}

/* Nobody gets at one that could not be written down. What else was done to one is done, and is
 * told: a record that is there ends by itself. */
static void on_written(void *arg, enum err e)
{
    struct ipp_exchange *ex = arg;

    if (e && makes_only_these(ex->operation)) {
        ipp_reply_refuse(ex, IPP_SERVER_ERROR_TEMPORARY_ERROR, e, "subscription",
                         "what is known of subscriptions cannot be kept now: %s", err_text(e));
        ipp_forward_over(ex);
        return;
    }
    if (e)
        (void)snprintf(ex->detail, sizeof ex->detail,
                       "what was done to subscriptions could not be written down: %s", err_text(e));
    ex->listed(ex);
}

static void write_new(struct ipp_exchange *ex, const int32_t *v, size_t n)
{
    struct ipp_subscription_work *w = ex->subscription;
    struct ipp_job made = ex->job;

    if (ex->operation->code != IPP_OPERATION_SEND_DOCUMENT) /* else it is its Create-Job's */
        ipp_job_describe(ex, IPP_JOB_PRINTER, &made);
    made.octets = made.documents = 0;
    made.format[0] = '\0';
    enum err e = ipp_subscriptions_keep(&w->ask, &made, v, n, expiry_of(ex));

    if (e)
        on_written(ex, e);
}

static void write_renewed(struct ipp_exchange *ex)
{
    struct ipp_subscription_work *w = ex->subscription;
    const struct ipp_job made = w->made;
    enum err e = ipp_subscriptions_keep(&w->ask, &made, &made.id, 1, expiry_of(ex));

    if (e)
        on_written(ex, e);
}

static void write_ended(struct ipp_exchange *ex)
{
    struct ipp_subscription_work *w = ex->subscription;
    enum err e = ipp_subscriptions_forget(&w->ask, w->made.printer, w->made.id);

    if (e)
        on_written(ex, e);
}

static void on_listed_one(void *arg, int32_t id, const struct ipp_job *made)
{
    const struct ipp_exchange *ex = arg;
    struct ipp_subscription_work *w = ex->subscription;

    if (made && ipp_job_may_tell(ex, made))
        w->told[w->n_told++] = id;
}

static void on_listed(void *arg, enum err e)
{
    struct ipp_exchange *ex = arg;

    if (e) {
        refuse_book(ex, e);
        ipp_forward_over(ex);
    } else {
        ex->listed(ex);
    }
}

/* The printer counts everybody's, and is not told of the request's limit. */
static size_t limit_of(const struct ipp_exchange *ex)
{
    struct ipp_attribute a;
    int32_t limit = 0;

    if (ipp_message_find(ex->message, SPAN("limit"), &a) != OK || numbers_of(&a, &limit, 1) != 1 ||
        limit <= 0)
        return IPP_SUBSCRIPTIONS_MAX;
    return (size_t)limit;
}

static void list(struct ipp_exchange *ex, const int32_t *v, size_t n)
{
    struct ipp_subscription_work *w = ex->subscription;

    w->n_told = 0;
    w->left = limit_of(ex);
    w->ask.found = on_listed_one;
    w->ask.done = on_listed;
    enum err e = ipp_subscriptions_find(&w->ask, ex->printer->set->name, v, n);

    if (e)
        on_listed(ex, e);
}

/* Does the answer tell of subscriptions by which somebody could get at them? */
static bool tells_of_new(const struct ipp_exchange *ex)
{
    return makes_only_these(ex->operation) || ex->operation->code == IPP_OPERATION_PRINT_JOB ||
           ex->operation->code == IPP_OPERATION_SEND_DOCUMENT; /* of its Create-Job */
}

void ipp_subscription_answered(struct ipp_exchange *ex, void (*done)(struct ipp_exchange *ex))
{
    bool renews = ex->operation->code == IPP_OPERATION_RENEW_SUBSCRIPTION;
    bool ends = ex->operation->code == IPP_OPERATION_CANCEL_SUBSCRIPTION;
    bool lists = ex->operation->code == IPP_OPERATION_GET_SUBSCRIPTIONS;
    int32_t v[IPP_SUBSCRIPTIONS_MAX];
    size_t n = 0;

    if (lists || tells_of_new(ex))
        n = answered_in(&ex->answer_message, v, lists ? IPP_SUBSCRIPTIONS_MAX : IPP_OTHERS_MAX);

    if (n == 0 && !renews && !ends) {
        done(ex);
        return;
    }
    ex->state = EX_BOOK;
    ex->listed = done;
    if (!work_of(ex, on_written))
        on_written(ex, ERR_NOMEM);
    else if (renews)
        write_renewed(ex);
    else if (ends)
        write_ended(ex);
    else if (lists)
        list(ex, v, n);
    else
        write_new(ex, v, n);
}

bool ipp_subscription_may_tell(void *arg, int32_t id)
{
    const struct ipp_exchange *ex = arg;
    struct ipp_subscription_work *w = ex->subscription;

    for (size_t i = 0; w && w->left > 0 && i < w->n_told; i++) {
        if (w->told[i] == id) {
            w->left--;
            return true;
        }
    }
    return false;
}
