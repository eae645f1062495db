/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "store/store_int.h"

/* ---- answers ---- */

/* Values may be secrets: nothing of them stays in memory that others get. */
static void op_free(struct store_op *op)
{
    buf_done(&op->text);
    free(op->items);
    explicit_bzero(op->bytes, op->n_bytes);
    free(op);
}

void store_reply_reset(struct store_op *op)
{
    op->reply = (struct store_reply){0};
    buf_reset(&op->text);
}

static bool items_grow(struct store_op *op)
{
    size_t cap = op->cap_items ? 2 * op->cap_items : 1;
    struct store_item *v = realloc(op->items, cap * sizeof *v);

    if (!v)
        return false;
    op->items = v;
    op->cap_items = cap;
    return true;
}

/* Spans are kept as lengths until the text does not move any more: see items_settle(). */
bool store_reply_add(struct store_op *op, const struct store_item *item)
{
    struct store_reply *r = &op->reply;
    size_t size = item->key.n + item->value.n;

    if (r->n_items > 0 && op->text.n + size > STORE_REPLY_MAX)
        return false;
    if (r->n_items == op->cap_items && !items_grow(op)) {
        r->err = ERR_NOMEM;
        return false;
    }
    op->items[r->n_items++] = *item;
    buf_add(&op->text, item->key);
    buf_add(&op->text, item->value);
    if (op->text.err)
        r->err = ERR_NOMEM;
    return r->err == OK;
}

static void items_settle(struct store_op *op)
{
    const char *at = op->text.p;

    for (size_t i = 0; i < op->reply.n_items; i++) {
        struct store_item *item = &op->items[i];

        item->key.p = at;
        at += item->key.n;
        item->value.p = at;
        at += item->value.n;
    }
    op->reply.items = op->items;
}

static void op_done(struct task *t)
{
    struct store_op *op = CONTAINER_OF(t, struct store_op, task);

    if (!op->cancelled)
        op->by.done(op->by.arg, &op->reply);
    op_free(op);
}

/* ---- numbers ---- */

static void count(_Atomic uint64_t *n)
{
    atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

/* Of the outcomes those that are no fault of the store say that it works. */
static void count_answer(struct store *s, const struct store_op *op, enum err e)
{
    bool failed = e == ERR_FULL || e == ERR_IO || e == ERR_NOMEM;

    if (e == ERR_ABORTED)
        return;
    count(op->kind == STORE_GET ? &s->gets : op->kind == STORE_LIST ? &s->lists : &s->changes);
    if (failed)
        count(e == ERR_FULL ? &s->full : &s->failed);
    atomic_store_explicit(store_is_change(op) ? &s->cannot_change : &s->cannot_read, failed,
                          memory_order_relaxed);
}

static uint64_t counted(const _Atomic uint64_t *n)
{
    return atomic_load_explicit(n, memory_order_relaxed);
}

void store_count(const struct store *s, struct store_counts *ret)
{
    *ret = (struct store_counts){
        .waiting = atomic_load_explicit(&s->waiting, memory_order_relaxed),
        .gets = counted(&s->gets),
        .lists = counted(&s->lists),
        .changes = counted(&s->changes),
        .full = counted(&s->full),
        .busy = counted(&s->busy),
        .failed = counted(&s->failed),
        .up = !atomic_load_explicit(&s->cannot_read, memory_order_relaxed) &&
              !atomic_load_explicit(&s->cannot_change, memory_order_relaxed),
    };
}

enum err store_ready(struct store *s)
{
    if (s->backend->is_tight(s))
        return ERR_FULL;
    return atomic_load_explicit(&s->cannot_change, memory_order_relaxed) ? ERR_IO : OK;
}

/* ---- the way back ---- */

void store_answer(struct store_op *op, enum err e)
{
    if (e || op->reply.err) {
        enum err first = e ? e : op->reply.err;

        store_reply_reset(op);
        op->reply.err = first;
    }
    items_settle(op);
    count_answer(op->store, op, op->reply.err);
    atomic_fetch_sub_explicit(&op->store->waiting, 1, memory_order_relaxed);
    loop_post(op->by.loop, &op->task);
}

void store_cancel(struct store_op *op)
{
    op->cancelled = true;
}

/* ---- rules ---- */

enum err store_check_version(const struct store_op *op, uint64_t now)
{
    if (op->kind == STORE_DEL && now == 0)
        return ERR_MISSING;
    return op->version == STORE_ANY || op->version == now ? OK : ERR_CONFLICT;
}

int store_key_order(struct span a, struct span b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;

    return c ? c : (a.n > b.n) - (a.n < b.n);
}

enum err store_add_number(struct store_op *op, struct span value, char ret[STORE_NUMBER_LEN + 1],
                          struct span *ret_text)
{
    uint64_t v = 0;

    if (value.n > 0)
        TRY(span_u64(value, UINT64_MAX, &v));
    if (__builtin_add_overflow(v, op->number, &v))
        return ERR_SYNTAX;
    int n = snprintf(ret, STORE_NUMBER_LEN + 1, "%llu", (unsigned long long)v);

    *ret_text = (struct span){ret, (size_t)n};
    op->reply.number = v;
    return OK;
}

/* ---- asking ---- */

/* What an operation says, before it is copied. */
struct wish {
    enum store_op_kind kind;
    struct span key, value;
    uint64_t version, expires_wall_ms, number;
    bool more;
};

static bool key_is_valid(struct span key)
{
    return key.n > 0 && key.n <= STORE_KEY_MAX;
}

static bool wish_is_valid(const struct wish *w, struct span space)
{
    if (space.n == 0 || space.n > STORE_SPACE_MAX)
        return false;
    switch (w->kind) {
    case STORE_GET:
    case STORE_INCR: return key_is_valid(w->key);
    case STORE_PUT: return key_is_valid(w->key) && w->value.n <= STORE_VALUE_MAX;
    case STORE_DEL: return key_is_valid(w->key) && w->version != 0;
    case STORE_LIST:
        return w->key.n <= STORE_KEY_MAX && w->value.n <= STORE_KEY_MAX && w->number > 0 &&
               w->number <= STORE_LIST_MAX;
    }
    return false;
}

static struct span copy_bytes(char *at, struct span s)
{
    if (s.n)
        memcpy(at, s.p, s.n);
    return (struct span){at, s.n};
}

static struct store_op *op_new(struct store *s, struct span space, const struct wish *w,
                               const struct store_asker *by)
{
    size_t n = w->key.n + w->value.n;
    struct store_op *op = calloc(1, sizeof *op + n);

    if (!op)
        return NULL;
    op->kind = w->kind;
    op->more = w->more;
    op->store = s;
    op->by = *by;
    op->task.run = op_done;
    op->space = space;
    op->n_bytes = n;
    op->key = copy_bytes(op->bytes, w->key);
    op->value = copy_bytes(op->bytes + w->key.n, w->value);
    op->version = w->version;
    op->expires_wall_ms = w->expires_wall_ms;
    op->number = w->number;
    buf_init_secret(&op->text, 0);
    return op;
}

static enum err ask(struct store *s, const char *space_name, const struct wish *w,
                    const struct store_asker *by, struct store_op **ret)
{
    struct span space = span_of(space_name);

    if (!wish_is_valid(w, space))
        return ERR_LIMIT;
    if (atomic_fetch_add_explicit(&s->waiting, 1, memory_order_relaxed) >= STORE_WAITING_MAX) {
        atomic_fetch_sub_explicit(&s->waiting, 1, memory_order_relaxed);
        count(&s->busy);
        return ERR_BUSY;
    }
    struct store_op *op = op_new(s, space, w, by);

    if (!op) {
        atomic_fetch_sub_explicit(&s->waiting, 1, memory_order_relaxed);
        return ERR_NOMEM;
    }
    if (ret)
        *ret = op;
    s->backend->submit(s, op);
    return OK;
}

enum err store_get(struct store *s, const char *space, struct span key,
                   const struct store_asker *by, struct store_op **ret)
{
    return ask(s, space, &(struct wish){.kind = STORE_GET, .key = key}, by, ret);
}

enum err store_put(struct store *s, const char *space, const struct store_put *put,
                   const struct store_asker *by, struct store_op **ret)
{
    const struct wish w = {.kind = STORE_PUT,
                           .key = put->key,
                           .value = put->value,
                           .version = put->version,
                           .expires_wall_ms = put->expires_wall_ms,
                           .more = put->more};

    return ask(s, space, &w, by, ret);
}

enum err store_del(struct store *s, const char *space, struct span key, uint64_t version,
                   const struct store_asker *by, struct store_op **ret)
{
    return ask(s, space, &(struct wish){.kind = STORE_DEL, .key = key, .version = version}, by,
               ret);
}

enum err store_incr(struct store *s, const char *space, struct span key, uint64_t n,
                    uint64_t expires_wall_ms, const struct store_asker *by, struct store_op **ret)
{
    const struct wish w = {
        .kind = STORE_INCR, .key = key, .expires_wall_ms = expires_wall_ms, .number = n};

    return ask(s, space, &w, by, ret);
}

enum err store_list(struct store *s, const char *space, const struct store_range *range,
                    const struct store_asker *by, struct store_op **ret)
{
    const struct wish w = {
        .kind = STORE_LIST, .key = range->prefix, .value = range->after, .number = range->max};

    return ask(s, space, &w, by, ret);
}

/* ---- life ---- */

uint64_t store_changes(struct store *s)
{
    return s->backend->changes(s);
}

enum err store_start(struct store *s)
{
    return s->backend->start(s);
}

void store_free(struct store *s)
{
    if (s)
        s->backend->free(s);
}
