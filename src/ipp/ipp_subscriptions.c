/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_subscriptions.h"

#include <string.h>

#include "ipp/ipp_jobs_int.h"

/* As of jobs at a printer, in a namespace of their own. */
static struct ipp_jobs_key key_of(const struct ipp_subscriptions_ask *a)
{
    return ipp_jobs_printer_key(span_of(a->printer), a->ids[a->at]);
}

static struct store_asker asker(struct ipp_subscriptions_ask *a,
                                void (*done)(void *arg, const struct store_reply *r))
{
    return (struct store_asker){.loop = a->loop, .done = done, .arg = a};
}

static enum err begin(struct ipp_subscriptions_ask *a, const char *printer, const int32_t *v,
                      size_t n)
{
    if (n < 1 || n > IPP_SUBSCRIPTIONS_MAX || strlen(printer) > IPP_JOB_PRINTER_MAX)
        return ERR_LIMIT;
    (void)span_copy(span_of(printer), a->printer, sizeof a->printer);
    memcpy(a->ids, v, n * sizeof *v);
    a->n = n;
    a->at = 0;
    return OK;
}

/* The next one by |step|, or the end. */
static void go_on(struct ipp_subscriptions_ask *a, enum err e,
                  enum err (*step)(struct ipp_subscriptions_ask *a))
{
    a->at++;
    if (e == OK && a->at < a->n)
        e = step(a);
    else
        a->at = a->n;
    if (e || a->at == a->n)
        a->done(a->arg, e);
}

void ipp_subscriptions_cancel(struct ipp_subscriptions_ask *a)
{
    if (a->op)
        store_cancel(a->op);
    a->op = NULL;
}

/* ---- reading ---- */

static enum err find(struct ipp_subscriptions_ask *a);

/* ERR_MISSING: there is none, or it is not legible, or another one's. */
static enum err read_reply(const struct ipp_subscriptions_ask *a, const struct store_reply *r,
                           struct ipp_job *ret)
{
    TRY(r->err);
    enum err e = ipp_job_parse(r->items->value, NULL, ret);

    if (e == ERR_PROTO ||
        (e == OK && (ret->id != a->ids[a->at] || strcmp(ret->printer, a->printer) != 0)))
        return ERR_MISSING;
    return e;
}

static void on_got(void *arg, const struct store_reply *r)
{
    struct ipp_subscriptions_ask *a = arg;
    struct ipp_job made;
    enum err e = read_reply(a, r, &made);

    a->op = NULL;
    if (e == OK || e == ERR_MISSING)
        a->found(a->arg, a->ids[a->at], e ? NULL : &made);
    go_on(a, e == ERR_MISSING ? OK : e, find);
}

static enum err find(struct ipp_subscriptions_ask *a)
{
    struct ipp_jobs_key key = key_of(a);
    const struct store_asker by = asker(a, on_got);

    return store_get(a->store, IPP_SUBSCRIPTIONS_SPACE, ipp_jobs_key_span(&key), &by, &a->op);
}

enum err ipp_subscriptions_find(struct ipp_subscriptions_ask *a, const char *printer,
                                const int32_t *v, size_t n)
{
    TRY(begin(a, printer, v, n));
    return find(a);
}

/* ---- writing ---- */

static enum err keep(struct ipp_subscriptions_ask *a);

static void on_kept(void *arg, const struct store_reply *r)
{
    struct ipp_subscriptions_ask *a = arg;

    a->op = NULL;
    go_on(a, r->err, keep);
}

static enum err keep(struct ipp_subscriptions_ask *a)
{
    const struct store_asker by = asker(a, on_kept);
    struct ipp_jobs_key key = key_of(a);
    struct buf text;

    a->made.id = a->made.printer_id = a->ids[a->at];
    buf_init(&text, STORE_VALUE_MAX);
    ipp_job_format(&a->made, &text);
    const struct store_put put = {.key = ipp_jobs_key_span(&key),
                                  .value = buf_span(&text),
                                  .version = STORE_ANY,
                                  .expires_wall_ms = a->expires_wall_ms};
    enum err e =
        text.err ? text.err : store_put(a->store, IPP_SUBSCRIPTIONS_SPACE, &put, &by, &a->op);

    buf_done(&text);
    return e;
}

enum err ipp_subscriptions_keep(struct ipp_subscriptions_ask *a, const struct ipp_job *made,
                                const int32_t *v, size_t n, uint64_t expires_wall_ms)
{
    TRY(begin(a, made->printer, v, n));
    a->made = *made;
    a->made.stage = IPP_JOB_PRINTER;
    a->made.saved = SPAN_NONE;
    a->expires_wall_ms = expires_wall_ms;
    return keep(a);
}

static void on_forgotten(void *arg, const struct store_reply *r)
{
    struct ipp_subscriptions_ask *a = arg;

    a->op = NULL;
    a->done(a->arg, r->err == ERR_MISSING ? OK : r->err);
}

enum err ipp_subscriptions_forget(struct ipp_subscriptions_ask *a, const char *printer, int32_t id)
{
    TRY(begin(a, printer, &id, 1));
    struct ipp_jobs_key key = key_of(a);
    const struct store_asker by = asker(a, on_forgotten);

    return store_del(a->store, IPP_SUBSCRIPTIONS_SPACE, ipp_jobs_key_span(&key), STORE_ANY, &by,
                     &a->op);
}
