/* SPDX-License-Identifier: Apache-2.0 */
/* test_store.h - what the tests of the store share: one store of either kind, with a clock in the
 * test's hand, and asking it. */
#ifndef TEST_STORE_H
#define TEST_STORE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store.h"

#define NOW   UINT64_C(1700000000000)
#define SPACE "things"
#define ROOM  (UINT64_C(4) << 20)

/* ---- fixture ---- */

enum kind { MEMORY, LMDB };

struct fixture {
    enum kind kind;
    struct clock clock;
    _Atomic uint64_t wall_ms;
    char dir[40];
    struct loop *loop;
    struct timer keep; /* the loop has something to wait for */
    struct store *store;
};

static inline uint64_t fixture_wall(void *ctx)
{
    return atomic_load(&((struct fixture *)ctx)->wall_ms);
}

static inline void keep_fire(struct timer *t)
{
    (void)t;
    fail_msg("no answer within 30 s");
}

static inline struct store *store_open(struct fixture *f, uint64_t bytes_max)
{
    const struct store_lmdb_settings set = {
        .path = f->dir, .bytes_max = bytes_max, .clock = &f->clock};
    struct store *s = NULL;
    struct buf why;

    buf_init(&why, 0);
    if (f->kind == MEMORY)
        assert_int_equal(store_memory_new(&f->clock, bytes_max, &s), OK);
    else if (store_lmdb_new(&set, &s, &why) != OK)
        fail_msg("%s", buf_cstr(&why));
    buf_done(&why);
    return s;
}

static inline void loop_open(struct fixture *f)
{
    assert_int_equal(loop_new(0, &clock_system, &f->loop), OK);
    f->keep = (struct timer){.fire = keep_fire};
    timer_set(f->loop, &f->keep, loop_now_ms(f->loop) + 30000);
}

static inline void loop_close(struct fixture *f)
{
    timer_clear(f->loop, &f->keep);
    loop_free(f->loop);
    f->loop = NULL;
}

static inline void open_all(struct fixture *f, uint64_t bytes_max)
{
    loop_open(f);
    f->store = store_open(f, bytes_max);
    assert_int_equal(store_start(f->store), OK);
}

static inline void close_all(struct fixture *f)
{
    store_free(f->store);
    f->store = NULL;
    if (f->loop)
        loop_close(f);
}

/* Without its store: for tests that fork first. */
static inline int setup_dir(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->kind = *state ? *(const enum kind *)*state : LMDB;
    f->clock = (struct clock){.mono_us = clock_system.mono_us, .wall_ms = fixture_wall, .ctx = f};
    f->wall_ms = NOW;
    (void)span_copy(SPAN("/tmp/test_store-XXXXXX"), f->dir, sizeof f->dir);
    assert_non_null(mkdtemp(f->dir));
    *state = f;
    return 0;
}

static inline int setup(void **state)
{
    (void)setup_dir(state);
    open_all(*state, ROOM);
    return 0;
}

static inline int unlink_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    close_all(f);
    (void)nftw(f->dir, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

/* ---- asking and waiting ---- */

struct answer {
    bool came;
    unsigned order; /* of the answers of this test */
    enum err err;
    uint64_t version, number;
    size_t n;
    bool more;
    char keys[1024]; /* of all items, each with "=value " if short */
    char value[STORE_VALUE_MAX + 1];
    size_t value_n;
    uint64_t item_version, expires_wall_ms;
};

static unsigned answers;

static inline void on_answer(void *arg, const struct store_reply *r)
{
    struct answer *a = arg;
    size_t n = 0;

    assert_false(a->came);
    a->came = true;
    a->order = ++answers;
    a->err = r->err;
    a->version = r->version;
    a->number = r->number;
    a->n = r->n_items;
    a->more = r->more;
    for (size_t i = 0; i < r->n_items; i++) {
        const struct store_item *item = &r->items[i];

        if (n + item->key.n + item->value.n + 3 < sizeof a->keys)
            n += (size_t)snprintf(a->keys + n, sizeof a->keys - n, SPAN_FMT "=" SPAN_FMT " ",
                                  SPAN_ARG(item->key), SPAN_ARG(item->value));
        a->value_n = span_copy(item->value, a->value, sizeof a->value);
        a->item_version = item->version;
        a->expires_wall_ms = item->expires_wall_ms;
    }
}

static inline struct answer *answer_new(void)
{
    static struct answer pool[64];
    static unsigned next;
    struct answer *a = &pool[next++ % ARRAY_LEN(pool)];

    memset(a, 0, sizeof *a);
    return a;
}

static inline struct store_asker asker(struct fixture *f, struct answer *a)
{
    return (struct store_asker){.loop = f->loop, .done = on_answer, .arg = a};
}

static inline struct answer *wait_for(struct fixture *f, struct answer *a)
{
    while (!a->came)
        (void)loop_turn(f->loop, true);
    return a;
}

static inline struct answer *ask_put(struct fixture *f, const struct store_put *p)
{
    struct answer *a = answer_new();
    struct store_asker by = asker(f, a);

    assert_int_equal(store_put(f->store, SPACE, p, &by, NULL), OK);
    assert_false(a->came); /* never inside the call */
    return a;
}

static inline struct answer *put_at(struct fixture *f, const char *key, const char *value,
                                    uint64_t version, uint64_t expires_wall_ms)
{
    const struct store_put p = {.key = span_of(key),
                                .value = span_of(value),
                                .version = version,
                                .expires_wall_ms = expires_wall_ms};

    return wait_for(f, ask_put(f, &p));
}

static inline struct answer *put(struct fixture *f, const char *key, const char *value,
                                 uint64_t version)
{
    return put_at(f, key, value, version, 0);
}

static inline struct answer *get_in(struct fixture *f, const char *space, struct span key)
{
    struct answer *a = answer_new();
    struct store_asker by = asker(f, a);

    assert_int_equal(store_get(f->store, space, key, &by, NULL), OK);
    assert_false(a->came);
    return wait_for(f, a);
}

static inline struct answer *get(struct fixture *f, const char *key)
{
    return get_in(f, SPACE, span_of(key));
}

static inline struct answer *del(struct fixture *f, const char *key, uint64_t version)
{
    struct answer *a = answer_new();
    struct store_asker by = asker(f, a);

    assert_int_equal(store_del(f->store, SPACE, span_of(key), version, &by, NULL), OK);
    assert_false(a->came);
    return wait_for(f, a);
}

static inline struct answer *incr(struct fixture *f, const char *key, uint64_t n, uint64_t expires)
{
    struct answer *a = answer_new();
    struct store_asker by = asker(f, a);

    assert_int_equal(store_incr(f->store, SPACE, span_of(key), n, expires, &by, NULL), OK);
    return wait_for(f, a);
}

static inline struct answer *list(struct fixture *f, const char *space, const char *prefix,
                                  const char *after, size_t max)
{
    struct answer *a = answer_new();
    struct store_asker by = asker(f, a);
    const struct store_range r = {.prefix = span_of(prefix), .after = span_of(after), .max = max};

    assert_int_equal(store_list(f->store, space, &r, &by, NULL), OK);
    return wait_for(f, a);
}

/* ---- rows: a test with one kind of store, or with both ---- */

#define ROW(kind, name, test)                                                   \
    {                                                                           \
        name ": " #test, test, setup, teardown, (void *)(uintptr_t)&kinds[kind] \
    }
#define BOTH(test) ROW(MEMORY, "memory", test), ROW(LMDB, "lmdb", test)

#endif
