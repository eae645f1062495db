/* SPDX-License-Identifier: Apache-2.0 */
/* store_memory.c - a map under one lock, for what may be forgotten with the process: an operation
 * costs less than the mailbox that brings its answer. A list looks at all entries. */
#include <pthread.h>
#include <stdlib.h>

#include "base/map.h"
#include "store/store_int.h"

#define ENTRY_COST 128u /* of an entry beside its bytes: struct, share of the table, malloc */
#define SWEEP_STEP 2u   /* entries that each change looks at, whether they have expired */

struct entry {
    UT_hash_handle hh; /* by name: namespace, NUL, key */
    uint64_t version, expires_wall_ms;
    size_t n_space, n_name, n_value;
    char bytes[]; /* name, value */
};

struct memory {
    struct store base;
    const struct clock *clock;
    uint64_t bytes_max;
    pthread_mutex_t lock; /* guards what follows */
    struct entry *map;    /* keeps the order of adding, too */
    struct entry *sweep;  /* where the sweep goes on; NULL: from the beginning */
    uint64_t bytes, versions;
    _Atomic uint64_t changes;
    _Atomic bool tight;
};

/* ---- entries ---- */

static uint64_t entry_cost(size_t n_name, size_t n_value)
{
    return n_name + n_value + ENTRY_COST;
}

static struct span entry_value(const struct entry *e)
{
    return (struct span){e->bytes + e->n_name, e->n_value};
}

static struct span entry_key(const struct entry *e)
{
    return (struct span){e->bytes + e->n_space + 1, e->n_name - e->n_space - 1};
}

static void entry_remove(struct memory *m, struct entry *e)
{
    if (m->sweep == e)
        m->sweep = e->hh.next;
    m->bytes -= entry_cost(e->n_name, e->n_value);
    HASH_DEL(m->map, e);
    explicit_bzero(e->bytes, e->n_name + e->n_value);
    free(e);
}

static size_t name_in(struct span space, struct span key,
                      char ret[STORE_SPACE_MAX + 1 + STORE_KEY_MAX])
{
    memcpy(ret, space.p, space.n);
    ret[space.n] = '\0';
    memcpy(ret + space.n + 1, key.p, key.n);
    return space.n + 1 + key.n;
}

static size_t name_make(const struct store_op *op, char ret[STORE_SPACE_MAX + 1 + STORE_KEY_MAX])
{
    return name_in(op->space, op->key, ret);
}

/* NULL: not there, or over. */
static struct entry *entry_find(struct memory *m, const struct store_op *op, uint64_t now)
{
    char name[STORE_SPACE_MAX + 1 + STORE_KEY_MAX];
    size_t n = name_make(op, name);
    struct entry *e = NULL;

    HASH_FIND(hh, m->map, name, n, e);
    if (!e || !store_is_over(e->expires_wall_ms, now))
        return e;
    entry_remove(m, e);
    return NULL;
}

/* ---- what is over ---- */

static void sweep_some(struct memory *m, uint64_t now)
{
    for (unsigned i = 0; i < SWEEP_STEP; i++) {
        struct entry *e = m->sweep ? m->sweep : m->map;

        if (!e)
            return;
        m->sweep = e->hh.next;
        if (store_is_over(e->expires_wall_ms, now))
            entry_remove(m, e);
    }
}

static void sweep_all(struct memory *m, uint64_t now)
{
    struct entry *e, *next;

    HASH_ITER (hh, m->map, e, next) {
        if (store_is_over(e->expires_wall_ms, now))
            entry_remove(m, e);
    }
}

/* ---- changes ---- */

static bool has_room(struct memory *m, uint64_t more, uint64_t less, uint64_t now)
{
    if (m->bytes - less + more <= m->bytes_max)
        return true;
    /* |less| is alive, so it stays counted. */
    sweep_all(m, now);
    return m->bytes - less + more <= m->bytes_max;
}

/* In place of |old|, which may be NULL. */
static enum err entry_set(struct memory *m, struct store_op *op, struct entry *old,
                          struct span value, uint64_t expires_wall_ms, uint64_t now)
{
    char name[STORE_SPACE_MAX + 1 + STORE_KEY_MAX];
    size_t n = name_make(op, name);
    uint64_t less = old ? entry_cost(old->n_name, old->n_value) : 0;

    if (!has_room(m, entry_cost(n, value.n), less, now))
        return ERR_FULL;
    struct entry *e = calloc(1, sizeof *e + n + value.n);

    if (!e)
        return ERR_NOMEM;
    e->version = m->versions + 1;
    e->expires_wall_ms = expires_wall_ms;
    e->n_space = op->space.n;
    e->n_name = n;
    e->n_value = value.n;
    memcpy(e->bytes, name, n);
    if (value.n)
        memcpy(e->bytes + n, value.p, value.n);
    if (old)
        entry_remove(m, old);
    HASH_ADD_KEYPTR(hh, m->map, e->bytes, n, e);
    if (!e->hh.tbl) {
        explicit_bzero(e->bytes, n + value.n);
        free(e);
        return ERR_NOMEM;
    }
    m->bytes += entry_cost(n, value.n);
    op->reply.version = ++m->versions;
    return OK;
}

static enum err run_put(struct memory *m, struct store_op *op, uint64_t now)
{
    struct entry *e = entry_find(m, op, now);

    TRY(store_check_version(op, e ? e->version : 0));
    return entry_set(m, op, e, op->value, op->expires_wall_ms, now);
}

static enum err run_del(struct memory *m, struct store_op *op, uint64_t now)
{
    struct entry *e = entry_find(m, op, now);

    TRY(store_check_version(op, e ? e->version : 0));
    entry_remove(m, e);
    return OK;
}

static enum err run_incr(struct memory *m, struct store_op *op, uint64_t now)
{
    struct entry *e = entry_find(m, op, now);
    char digits[STORE_NUMBER_LEN + 1];
    struct span text;

    TRY(store_add_number(op, e ? entry_value(e) : SPAN_NONE, digits, &text));
    return entry_set(m, op, e, text, e ? e->expires_wall_ms : op->expires_wall_ms, now);
}

/* The namespace of |op| has changed: so has the mark of that, if there is one. */
static void mark_change(struct memory *m, const struct store_op *op)
{
    char name[STORE_SPACE_MAX + 1 + STORE_KEY_MAX];
    size_t n = name_in(SPAN(STORE_MARKS), op->space, name);
    struct entry *e = NULL;

    HASH_FIND(hh, m->map, name, n, e);
    if (e)
        e->version = ++m->versions;
}

/* ---- reading ---- */

static struct store_item item_of(const struct entry *e)
{
    return (struct store_item){.key = entry_key(e),
                               .value = entry_value(e),
                               .version = e->version,
                               .expires_wall_ms = e->expires_wall_ms};
}

static enum err run_get(struct memory *m, struct store_op *op, uint64_t now)
{
    struct entry *e = entry_find(m, op, now);

    if (!e)
        return ERR_MISSING;
    struct store_item item = item_of(e);

    (void)store_reply_add(op, &item);
    return OK;
}

static int entry_order(const void *a, const void *b)
{
    return store_key_order(entry_key(*(const struct entry *const *)a),
                           entry_key(*(const struct entry *const *)b));
}

static bool is_listed(const struct store_op *op, const struct entry *e, uint64_t now)
{
    struct span key = entry_key(e);

    return span_eq((struct span){e->bytes, e->n_space}, op->space) && span_starts(key, op->key) &&
           (op->value.n == 0 || store_key_order(key, op->value) > 0) &&
           !store_is_over(e->expires_wall_ms, now);
}

static enum err run_list(struct memory *m, struct store_op *op, uint64_t now)
{
    size_t n = 0;
    const struct entry **v = malloc((HASH_COUNT(m->map) + 1) * sizeof *v);

    if (!v)
        return ERR_NOMEM;
    for (const struct entry *e = m->map; e; e = e->hh.next)
        if (is_listed(op, e, now))
            v[n++] = e;
    qsort(v, n, sizeof *v, entry_order);
    for (size_t i = 0; i < n && !op->reply.more; i++) {
        struct store_item item = item_of(v[i]);

        op->reply.more = i == op->number || !store_reply_add(op, &item);
    }
    free(v);
    return OK;
}

/* ---- backend ---- */

static void memory_submit(struct store *s, struct store_op *op)
{
    static enum err (*const runs[])(struct memory * m, struct store_op * op, uint64_t now) = {
        [STORE_GET] = run_get,   [STORE_PUT] = run_put,   [STORE_DEL] = run_del,
        [STORE_INCR] = run_incr, [STORE_LIST] = run_list,
    };
    struct memory *m = CONTAINER_OF(s, struct memory, base);
    bool changes = store_is_change(op);
    uint64_t now = clock_wall_ms(m->clock);

    (void)pthread_mutex_lock(&m->lock);
    if (changes)
        sweep_some(m, now);
    enum err e = runs[op->kind](m, op, now);

    if (!e && store_is_marked(op))
        mark_change(m, op);
    if (changes && !e)
        atomic_fetch_add_explicit(&m->changes, 1, memory_order_relaxed);
    atomic_store_explicit(&m->tight, m->bytes + STORE_RESERVE > m->bytes_max, memory_order_relaxed);
    store_answer(op, e); /* under the lock: answers come in the order of what happened */
    (void)pthread_mutex_unlock(&m->lock);
}

static uint64_t memory_changes(struct store *s)
{
    return atomic_load_explicit(&CONTAINER_OF(s, struct memory, base)->changes,
                                memory_order_relaxed);
}

static bool memory_is_tight(struct store *s)
{
    return atomic_load_explicit(&CONTAINER_OF(s, struct memory, base)->tight, memory_order_relaxed);
}

static enum err memory_start(struct store *s)
{
    (void)s;
    return OK;
}

static void memory_free(struct store *s)
{
    struct memory *m = CONTAINER_OF(s, struct memory, base);

    while (m->map)
        entry_remove(m, m->map);
    (void)pthread_mutex_destroy(&m->lock);
    free(m);
}

static const struct store_backend memory_backend = {
    .start = memory_start,
    .submit = memory_submit,
    .changes = memory_changes,
    .is_tight = memory_is_tight,
    .free = memory_free,
};

enum err store_memory_new(const struct clock *clock, uint64_t bytes_max, struct store **ret)
{
    struct memory *m = calloc(1, sizeof *m);

    if (!m)
        return ERR_NOMEM;
    m->base.backend = &memory_backend;
    m->clock = clock;
    m->bytes_max = bytes_max;
    if (pthread_mutex_init(&m->lock, NULL) != 0) {
        free(m);
        return ERR_NOMEM;
    }
    *ret = &m->base;
    return OK;
}
