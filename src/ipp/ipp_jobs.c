/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_jobs.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>

#include "ipp/ipp_jobs_int.h"

/* ---- in the store ---- */

/* What is newer sorts first. */
struct ipp_jobs_key ipp_jobs_key(int32_t id)
{
    struct ipp_jobs_key k = {.n = 8};

    (void)snprintf(k.bytes, sizeof k.bytes, "%08x", IPP_JOB_ID_MAX - (uint32_t)id);
    return k;
}

struct ipp_jobs_key ipp_jobs_printer_key(struct span printer, int32_t printer_id)
{
    struct ipp_jobs_key k;

    assert(printer.n <= IPP_JOB_PRINTER_MAX);
    (void)snprintf(k.bytes, sizeof k.bytes, "%08x", (uint32_t)printer_id);
    k.n = 8 + span_copy(printer, k.bytes + 8, sizeof k.bytes - 8);
    return k;
}

enum err ipp_jobs_read(const struct store_item *item, uint64_t now_wall_ms, struct arena *mem,
                       struct ipp_job *ret)
{
    struct ipp_job j;
    enum err e = ipp_job_parse(item->value, mem, &j);

    if (e)
        return e == ERR_NOMEM ? e : ERR_IO;
    struct ipp_jobs_key own = ipp_jobs_key(j.id);

    if (!span_eq(item->key, ipp_jobs_key_span(&own)))
        return ERR_IO;
    j.version = item->version;
    ipp_job_settle(&j, now_wall_ms);
    *ret = j;
    return OK;
}

enum err ipp_jobs_read_id(const struct store_item *item, int32_t *ret)
{
    uint64_t v = 0;

    if (span_u64(item->value, IPP_JOB_ID_MAX, &v) != OK || v == 0)
        return ERR_IO;
    *ret = (int32_t)v;
    return OK;
}

bool ipp_jobs_is_at(const struct ipp_job *j, struct span printer, int32_t printer_id)
{
    return j->printer_id == printer_id && span_eq(span_of(j->printer), printer);
}

/* ---- numbers ---- */

/* The next one in the upper half, the last one in the lower; 0: none are left. */
static int32_t number_take(struct ipp_jobs_numbers *n)
{
    uint64_t left = n ? atomic_load_explicit(&n->left, memory_order_relaxed) : 0, then;

    do {
        if (left == 0)
            return 0;
        then = left >> 32 == (left & UINT32_MAX) ? 0 : left + (UINT64_C(1) << 32);
    } while (!atomic_compare_exchange_weak_explicit(&n->left, &left, then, memory_order_relaxed,
                                                    memory_order_relaxed));
    return (int32_t)(left >> 32);
}

/* Those from |first| to |last| are there to be taken, unless others are, who asked as well. */
static void numbers_put(struct ipp_jobs_numbers *n, uint64_t first, uint64_t last)
{
    uint64_t none = 0;

    if (first <= last)
        (void)atomic_compare_exchange_strong_explicit(&n->left, &none, first << 32 | last,
                                                      memory_order_relaxed, memory_order_relaxed);
}

/* ---- jobs that wait for their documents ---- */

static uint64_t each_ms(const struct ipp_jobs_opening *o)
{
    return o->for_ms / o->max + 1;
}

bool ipp_jobs_open(struct ipp_jobs_numbers *n, const struct ipp_jobs_opening *o, uint64_t now_ms)
{
    _Atomic uint64_t *whole = &n->whole_ms[o->client % IPP_JOBS_CLIENTS];
    uint64_t old = atomic_load_explicit(whole, memory_order_relaxed), then;

    do {
        then = (old > now_ms ? old : now_ms) + each_ms(o);
        if (then > now_ms + each_ms(o) * o->max)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(whole, &old, then, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

void ipp_jobs_opened(struct ipp_jobs_numbers *n, const struct ipp_jobs_opening *o)
{
    _Atomic uint64_t *whole = &n->whole_ms[o->client % IPP_JOBS_CLIENTS];
    uint64_t old = atomic_load_explicit(whole, memory_order_relaxed), then;

    do
        then = old > each_ms(o) ? old - each_ms(o) : 0;
    while (!atomic_compare_exchange_weak_explicit(whole, &old, then, memory_order_relaxed,
                                                  memory_order_relaxed));
}

/* ---- beginning and end of a question ---- */

/* Between the two |a->job| is what was asked for, and becomes the answer. */
static void begin(struct ipp_jobs_ask *a)
{
    assert(!a->op && !a->entry_op);
    a->entry_err = OK;
    a->job = (struct ipp_job){0};
    arena_init(&a->mem, 0);
    a->expires_wall_ms = clock_wall_ms(a->set.clock) + a->set.retention_ms;
}

/* An error of the call itself: nothing goes on. */
static enum err begun(struct ipp_jobs_ask *a, enum err e)
{
    if (e)
        arena_done(&a->mem);
    return e;
}

/* Nothing of |a| is touched once |done| has it: it may ask anew, or be freed. */
static void finish(struct ipp_jobs_ask *a, enum err e)
{
    struct ipp_job job = a->job;
    struct arena mem = a->mem;

    arena_init(&a->mem, 0);
    a->done(a->arg, e, e ? NULL : &job);
    arena_done(&mem);
}

static void go_on(struct ipp_jobs_ask *a, enum err e)
{
    if (e)
        finish(a, e);
}

static struct store_asker asker(struct ipp_jobs_ask *a,
                                void (*done)(void *arg, const struct store_reply *r))
{
    return (struct store_asker){.loop = a->loop, .done = done, .arg = a};
}

static struct ipp_jobs_ask *answered(void *arg)
{
    struct ipp_jobs_ask *a = arg;

    a->op = NULL;
    return a;
}

static uint64_t now(const struct ipp_jobs_ask *a)
{
    return clock_wall_ms(a->set.clock);
}

void ipp_jobs_cancel(struct ipp_jobs_ask *a)
{
    if (a->op)
        store_cancel(a->op);
    if (a->entry_op)
        store_cancel(a->entry_op);
    a->op = a->entry_op = NULL;
    arena_done(&a->mem);
}

/* ---- reading ---- */

static enum err job_get(struct ipp_jobs_ask *a, int32_t id,
                        void (*done)(void *arg, const struct store_reply *r))
{
    struct ipp_jobs_key key = ipp_jobs_key(id);
    const struct store_asker by = asker(a, done);

    return store_get(a->set.store, IPP_JOBS_SPACE, ipp_jobs_key_span(&key), &by, &a->op);
}

static enum err entry_get(struct ipp_jobs_ask *a, struct span printer, int32_t printer_id,
                          void (*done)(void *arg, const struct store_reply *r))
{
    struct ipp_jobs_key key = ipp_jobs_printer_key(printer, printer_id);
    const struct store_asker by = asker(a, done);

    return store_get(a->set.store, IPP_JOBS_AT_PRINTER_SPACE, ipp_jobs_key_span(&key), &by, &a->op);
}

static void on_holder(void *arg, const struct store_reply *r)
{
    struct ipp_jobs_ask *a = answered(arg);
    int32_t id = 0;
    enum err e = r->err ? r->err : ipp_jobs_read_id(r->items, &id);

    finish(a, !e && id != a->job.id ? ERR_MISSING : e);
}

/* Whoever gets a job may ask the printer about it, by a number that must not be another job's. */
static void on_got(void *arg, const struct store_reply *r)
{
    struct ipp_jobs_ask *a = answered(arg);
    enum err e = r->err ? r->err : ipp_jobs_read(r->items, now(a), &a->mem, &a->job);

    if (e || a->job.printer_id == 0)
        finish(a, e);
    else
        go_on(a, entry_get(a, span_of(a->job.printer), a->job.printer_id, on_holder));
}

enum err ipp_jobs_get(struct ipp_jobs_ask *a, int32_t id)
{
    begin(a);
    return job_get(a, id, on_got);
}

/* ---- writing ---- */

static bool is_keepable(const struct ipp_job *j)
{
    return j->printer[0] && j->printer_id >= 0 && j->saved.n <= IPP_JOB_SAVED_MAX &&
           j->stage <= IPP_JOB_CANCELED && j->made.channel <= IPP_CHANNEL_IMPLICIT &&
           j->made.user <= IPP_USER_CERTIFICATE;
}

/* One without its document is large, costs nothing to make, and is of no use once it is over. */
static uint64_t expiry(const struct ipp_jobs_ask *a)
{
    const struct ipp_job *j = &a->job;
    uint64_t over = j->until_wall_ms + a->set.incoming_ms;
    bool is_open = j->stage == IPP_JOB_INCOMING && j->printer_id == 0;

    return is_open && over < a->expires_wall_ms ? over : a->expires_wall_ms;
}

static enum err copy_job(struct ipp_jobs_ask *a, const struct ipp_job *j)
{
    a->job = *j;
    ipp_job_tidy(&a->job);
    a->expires_wall_ms = expiry(a);
    if (a->job.saved.n == 0)
        return OK;
    a->job.saved = arena_dup(&a->mem, a->job.saved);
    return a->job.saved.p ? OK : ERR_NOMEM;
}

/* The store's answers come in the order in which it was asked: the entry's is here. */
static void on_kept(void *arg, const struct store_reply *r)
{
    struct ipp_jobs_ask *a = answered(arg);

    assert(!a->entry_op);
    a->job.version = r->version;
    ipp_job_settle(&a->job, now(a));
    finish(a, r->err ? r->err : a->entry_err);
}

static enum err keep(struct ipp_jobs_ask *a)
{
    struct ipp_jobs_key key = ipp_jobs_key(a->job.id);
    const struct store_asker by = asker(a, on_kept);
    struct buf text;

    buf_init(&text, STORE_VALUE_MAX);
    ipp_job_format(&a->job, &text);
    const struct store_put put = {.key = ipp_jobs_key_span(&key),
                                  .value = buf_span(&text),
                                  .version = a->job.version,
                                  .expires_wall_ms = a->expires_wall_ms};
    enum err e = text.err ? text.err : store_put(a->set.store, IPP_JOBS_SPACE, &put, &by, &a->op);

    buf_done(&text);
    return e;
}

/* A conflict: the job of that number is another one since, or somebody else prolonged it. */
static void on_entry_kept(void *arg, const struct store_reply *r)
{
    struct ipp_jobs_ask *a = arg;

    a->entry_op = NULL;
    a->entry_err = r->err == ERR_CONFLICT ? OK : r->err;
}

/* The entry and the job behind it, which become durable in one go. */
static enum err keep_both(struct ipp_jobs_ask *a, int32_t id, uint64_t version)
{
    struct ipp_jobs_key key = ipp_jobs_printer_key(span_of(a->job.printer), a->job.printer_id);
    const struct store_asker by = asker(a, on_entry_kept);
    char digits[16];
    int n = snprintf(digits, sizeof digits, "%d", id);
    const struct store_put put = {
        .key = ipp_jobs_key_span(&key),
        .value = {digits, (size_t)n},
        .version = version,
        .expires_wall_ms = a->expires_wall_ms,
        .more = true,
    };

    TRY(store_put(a->set.store, IPP_JOBS_AT_PRINTER_SPACE, &put, &by, &a->entry_op));
    enum err e = keep(a);

    if (e) {
        store_cancel(a->entry_op);
        a->entry_op = NULL;
    }
    return e;
}

/* The printer's number is this job's from now on, whoever had it. */
static enum err keep_and_take(struct ipp_jobs_ask *a)
{
    return keep_both(a, a->job.id, STORE_ANY);
}

static enum err keep_and_prolong(struct ipp_jobs_ask *a, const struct store_reply *r)
{
    int32_t id = 0;

    if (r->err == ERR_MISSING)
        return keep_both(a, a->job.id, 0);
    TRY(r->err);
    TRY(ipp_jobs_read_id(r->items, &id));
    return keep_both(a, id, r->items->version);
}

/* The entry stays as long as this job does, also one that is another job's by now: were that gone
 * first, it would be this job's again. */
static void on_entry_seen(void *arg, const struct store_reply *r)
{
    struct ipp_jobs_ask *a = answered(arg);

    go_on(a, keep_and_prolong(a, r));
}

/* ---- adding ---- */

static enum err keep_new(struct ipp_jobs_ask *a)
{
    return a->job.printer_id ? keep_and_take(a) : keep(a);
}

static uint64_t numbers_at_once(const struct ipp_jobs_ask *a)
{
    return a->set.numbers ? IPP_JOBS_NUMBERS : 1;
}

static enum err read_number(struct ipp_jobs_ask *a, const struct store_reply *r)
{
    uint64_t n = numbers_at_once(a);

    if (r->err)
        return r->err == ERR_SYNTAX ? ERR_IO : r->err;
    if (r->number < n || r->number - n >= IPP_JOB_ID_MAX)
        return ERR_FULL;
    uint64_t first = r->number - n + 1, last = r->number;

    if (a->set.numbers)
        numbers_put(a->set.numbers, first + 1, last < IPP_JOB_ID_MAX ? last : IPP_JOB_ID_MAX);
    a->job.id = (int32_t)first;
    return OK;
}

static void on_number(void *arg, const struct store_reply *r)
{
    struct ipp_jobs_ask *a = answered(arg);
    enum err e = read_number(a, r);

    go_on(a, e ? e : keep_new(a));
}

static void on_reserved(void *arg, const struct store_reply *r)
{
    struct ipp_jobs_ask *a = answered(arg);

    finish(a, read_number(a, r));
}

static enum err ask_number(struct ipp_jobs_ask *a,
                           void (*done)(void *arg, const struct store_reply *r))
{
    const struct store_asker by = asker(a, done);

    return store_incr(a->set.store, IPP_JOBS_COUNT_SPACE, SPAN(IPP_JOBS_COUNT_KEY),
                      numbers_at_once(a), 0, &by, &a->op);
}

enum err ipp_jobs_add(struct ipp_jobs_ask *a, const struct ipp_job *j)
{
    if (!is_keepable(j))
        return ERR_LIMIT;
    begin(a);
    enum err e = copy_job(a, j);

    a->job.version = 0;
    if (e)
        return begun(a, e);
    if (a->job.id == 0)
        a->job.id = number_take(a->set.numbers);
    return begun(a, a->job.id ? keep_new(a) : ask_number(a, on_number));
}

enum err ipp_jobs_reserve(struct ipp_jobs_ask *a, int32_t *ret_id)
{
    enum err ready = store_ready(a->set.store);

    *ret_id = 0;
    if (ready == ERR_FULL)
        return ready;
    if (ready == OK)
        *ret_id = number_take(a->set.numbers);
    if (*ret_id)
        return OK;
    begin(a);
    return begun(a, ask_number(a, on_reserved));
}

/* ---- changing ---- */

static enum err change(struct ipp_jobs_ask *a, const struct store_item *item)
{
    struct ipp_job old;

    TRY(ipp_jobs_read(item, now(a), NULL, &old));
    if (old.version != a->job.version)
        return ERR_CONFLICT;
    if (a->job.printer_id == 0)
        return keep(a);
    struct span printer = span_of(a->job.printer);

    if (!ipp_jobs_is_at(&old, printer, a->job.printer_id))
        return keep_and_take(a);
    return entry_get(a, printer, a->job.printer_id, on_entry_seen);
}

static void on_old(void *arg, const struct store_reply *r)
{
    struct ipp_jobs_ask *a = answered(arg);

    go_on(a, r->err ? r->err : change(a, r->items));
}

enum err ipp_jobs_put(struct ipp_jobs_ask *a, const struct ipp_job *j)
{
    if (!is_keepable(j) || j->id < 1 || j->version == 0 || j->version == STORE_ANY)
        return ERR_LIMIT;
    begin(a);
    enum err e = copy_job(a, j);

    return begun(a, e ? e : job_get(a, a->job.id, on_old));
}
