/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts that are kept: what, how long, how much; and those that wait for somebody else's scan,
 * with cancels at each moment, and with threads for TSan. */
#include "test_net.h"

#include <pthread.h>
#include <stdatomic.h>

#include "adapt/verdict_cache.h"
#include "base/arena.h"

static struct verdict_key key_of(unsigned n)
{
    struct verdict_key k = {.bytes = {0}};

    k.bytes[0] = (uint8_t)n;
    k.bytes[1] = (uint8_t)(n >> 8);
    k.bytes[2] = (uint8_t)(n >> 16);
    return k;
}

static const struct verdict_key key_one = {.bytes = {1}}, key_nine = {.bytes = {9}};

/* Keys of one shard: the first byte says which. */
static struct verdict_key key_of_shard(unsigned n)
{
    struct verdict_key k = key_of(n << 8);

    return k;
}

static struct verdict_cache_value value_of(enum verdict verdict, enum cause cause, const char *why)
{
    struct verdict_cache_value v = {
        .result = {.verdict = verdict, .cause = cause, .n_objects = 1}
    };

    (void)span_copy(span_of(why), v.result.why, sizeof v.result.why);
    return v;
}

static struct object_table *table_new(size_t n)
{
    struct object_table *t = calloc(1, sizeof *t + n);

    assert_non_null(t);
    atomic_init(&t->refs, 1);
    t->len = n;
    return t;
}

/* One loop, one cache, and a clock in hand. */
struct world {
    struct test_clock clock;
    struct loop *loop;
    struct verdict_cache *cache;
};

static struct world world_new(uint64_t bytes_max, uint64_t ttl_ms)
{
    struct world w = {.loop = NULL};

    assert_int_equal(verdict_cache_new(bytes_max, ttl_ms, &w.cache), OK);
    return w;
}

/* Apart: the loop points at the clock. */
static void world_open(struct world *w)
{
    test_clock_init(&w->clock, 1000000);
    w->loop = test_loop(&w->clock.clock);
}

static void world_close(struct world *w)
{
    loop_free(w->loop);
    verdict_cache_free(w->cache);
}

struct caller {
    struct verdict_waiter *waiter;
    unsigned calls, values;
    struct verdict_cache_value last;
};

static void on_ready(void *arg, const struct verdict_cache_value *value)
{
    struct caller *c = arg;

    c->waiter = NULL;
    c->calls++;
    if (value) {
        c->values++;
        c->last = *value;
    }
}

static enum verdict_cache_answer ask(struct world *w, struct verdict_key key, struct caller *c)
{
    struct verdict_cache_value v = {.objects = NULL};
    enum verdict_cache_answer a =
        verdict_cache_ask(w->cache, &key, w->loop, on_ready, c, &c->waiter, &v);

    if (a == VERDICT_CACHE_HIT)
        c->last = v;
    return a;
}

static void done(struct world *w, struct verdict_key key, struct verdict_cache_value v)
{
    verdict_cache_done(w->cache, &key, w->clock.now_ms, &v, true);
}

/* Asks, and ends the scan that this may begin. True: it was kept. */
static bool is_kept(struct world *w, struct verdict_key key)
{
    struct caller c = {.calls = 0};
    enum verdict_cache_answer a = ask(w, key, &c);

    if (a == VERDICT_CACHE_HIT) {
        object_table_unref(c.last.objects);
        return true;
    }
    assert_int_equal(a, VERDICT_CACHE_MINE);
    verdict_cache_give_up(w->cache, &key);
    return false;
}

static struct verdict_cache_counts counts(const struct world *w)
{
    struct verdict_cache_counts n;

    verdict_cache_count(w->cache, &n);
    return n;
}

/* ---- keys ---- */

static void test_keys(void **state)
{
    static const struct {
        const char *name;
        struct span a[3], b[3];
        unsigned n_a, n_b;
        bool same;
    } rows[] = {
        {"equal",               {SPAN("ab"), SPAN("c")},        {SPAN("ab"), SPAN("c")}, 2, 2, true },
        {"another border",      {SPAN("ab"), SPAN("c")},        {SPAN("a"), SPAN("bc")}, 2, 2, false},
        {"another order",       {SPAN("ab"), SPAN("c")},        {SPAN("c"), SPAN("ab")}, 2, 2, false},
        {"an empty part",       {SPAN("ab")},                   {SPAN("ab"), SPAN("")},  1, 2, false},
        {"no pointer is empty", {SPAN(""), SPAN("x")},          {SPAN_NONE, SPAN("x")},  2, 2, true },
        {"a length inside",     {SPAN("a\0\0\0\0\0\0\0\001b")}, {SPAN("a"), SPAN("b")},  1, 2, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct verdict_key a, b;

        print_message("%s\n", rows[i].name);
        assert_int_equal(verdict_key_make(rows[i].a, rows[i].n_a, &a), OK);
        assert_int_equal(verdict_key_make(rows[i].b, rows[i].n_b, &b), OK);
        assert_int_equal(memcmp(&a, &b, sizeof a) == 0, rows[i].same);
    }
}

/* SHA-256 of 00 00 00 00 00 00 00 03 "abc". */
static void test_key_vector(void **state)
{
    static const uint8_t want[4] = {0xc3, 0x49, 0x4c, 0xa1};
    struct verdict_key k;

    (void)state;
    assert_int_equal(verdict_key_make(&SPAN("abc"), 1, &k), OK);
    assert_memory_equal(k.bytes, want, sizeof want);
}

/* ---- what is kept ---- */

static void test_kinds(void **state)
{
    static const struct {
        const char *name;
        enum verdict verdict;
        enum cause cause;
        enum err err;
        bool keep, kept;
    } rows[] = {
        {"pass",                              VERDICT_PASS,          CAUSE_NONE,          OK,          true,  true },
        {"pass, but not to be kept",          VERDICT_PASS,          CAUSE_NONE,          OK,          false, false},
        {"pass with an error",                VERDICT_PASS,          CAUSE_NONE,          ERR_WORKER,  true,  false},
        {"pass with a cause",                 VERDICT_PASS,          CAUSE_ENGINE_DOWN,   OK,          true,  false},
        {"infected",                          VERDICT_BLOCK,         CAUSE_INFECTED,      OK,          true,  true },
        {"infected, but not to be kept",      VERDICT_BLOCK,         CAUSE_INFECTED,      OK,          false, false},
        {"denied",                            VERDICT_BLOCK,         CAUSE_DENIED,        OK,          true,  true },
        {"blocked because an engine is down", VERDICT_BLOCK,         CAUSE_ENGINE_DOWN,   OK,          true,  false},
        {"blocked because of a deadline",     VERDICT_BLOCK,         CAUSE_TIMEOUT,       OK,          true,  false},
        {"changed",                           VERDICT_CHANGED,       CAUSE_NONE,          OK,          true,  false},
        {"not inspected",                     VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK,          true,  true },
        {"too large",                         VERDICT_NOT_INSPECTED, CAUSE_TOO_LARGE,     OK,          true,  true },
        {"not inspected in time",             VERDICT_NOT_INSPECTED, CAUSE_TIMEOUT,       OK,          true,  false},
        {"not inspected, overload",           VERDICT_NOT_INSPECTED, CAUSE_OVERLOAD,      OK,          true,  false},
        {"timeout",                           VERDICT_ERROR,         CAUSE_TIMEOUT,       ERR_TIMEOUT, true,  false},
        {"crash",                             VERDICT_ERROR,         CAUSE_WORKER_CRASH,  ERR_WORKER,  true,  false},
        {"engine down",                       VERDICT_ERROR,         CAUSE_ENGINE_DOWN,   ERR_ENGINE,  true,  false},
        {"overload",                          VERDICT_ERROR,         CAUSE_OVERLOAD,      ERR_BUSY,    true,  false},
        {"disk full",                         VERDICT_ERROR,         CAUSE_DISK_FULL,     ERR_FULL,    true,  false},
        {"error without a cause",             VERDICT_ERROR,         CAUSE_NONE,          OK,          true,  false},
        {"error as infected",                 VERDICT_ERROR,         CAUSE_INFECTED,      OK,          true,  false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = world_new(1 << 20, 60000);
        struct verdict_key key = key_of(7);
        struct verdict_cache_value v = value_of(rows[i].verdict, rows[i].cause, "why");
        struct caller leader = {.calls = 0}, waiter = {.calls = 0};

        world_open(&w);
        print_message("%s\n", rows[i].name);
        v.result.err = rows[i].err;
        assert_int_equal(ask(&w, key, &leader), VERDICT_CACHE_MINE);
        assert_int_equal(ask(&w, key, &waiter), VERDICT_CACHE_WAIT);
        verdict_cache_done(w.cache, &key, w.clock.now_ms, &v, rows[i].keep);
        test_settle(w.loop);
        /* also what is not kept counts for those that wait */
        assert_int_equal(waiter.values, 1);
        assert_int_equal(waiter.last.result.verdict, rows[i].verdict);
        assert_int_equal(waiter.last.result.cause, rows[i].cause);
        assert_int_equal(waiter.last.result.err, rows[i].err);
        assert_int_equal(is_kept(&w, key), rows[i].kept);
        assert_int_equal(counts(&w).entries, rows[i].kept);
        world_close(&w);
    }
}

static struct verdict_cache_value full_value(void)
{
    struct verdict_cache_value v = value_of(VERDICT_BLOCK, CAUSE_INFECTED, "found something");
    struct scan_result *r = &v.result;

    memset(r->why, 'w', sizeof r->why - 1);
    memset(r->sniffed, 's', sizeof r->sniffed - 1);
    r->also = 1u << CAUSE_DENIED | 1u << CAUSE_NOT_INSPECTED;
    r->n_objects = 4000000000;
    r->pages = 4000000001;
    r->scan_us = UINT64_MAX;
    r->n_findings = FINDINGS_MAX;
    for (unsigned i = 0; i < FINDINGS_MAX; i++) {
        struct finding *f = &r->findings[i];

        f->note = i % 3 == 1;
        memset(f->engine, (int)('a' + i), i);
        memset(f->name, (int)('A' + i), i * 8);
        memset(f->where, 0x80 + (int)i, FINDING_WHERE_MAX - 1 - i);
    }
    return v;
}

static void assert_same_result(const struct scan_result *a, const struct scan_result *b)
{
    assert_int_equal(a->verdict, b->verdict);
    assert_int_equal(a->cause, b->cause);
    assert_int_equal(a->also, b->also);
    assert_int_equal(a->err, b->err);
    assert_string_equal(a->why, b->why);
    assert_string_equal(a->sniffed, b->sniffed);
    assert_int_equal(a->n_objects, b->n_objects);
    assert_int_equal(a->pages, b->pages);
    assert_int_equal(a->scan_us, b->scan_us);
    assert_int_equal(a->n_findings, b->n_findings);
    for (unsigned i = 0; i < FINDINGS_MAX; i++) {
        assert_int_equal(a->findings[i].note, b->findings[i].note);
        assert_string_equal(a->findings[i].engine, b->findings[i].engine);
        assert_string_equal(a->findings[i].name, b->findings[i].name);
        assert_string_equal(a->findings[i].where, b->findings[i].where);
    }
}

/* Nothing of a verdict is lost, neither on a hit nor for one that waited. */
static void test_round_trip(void **state)
{
    struct verdict_cache_value values[] = {
        full_value(),
        value_of(VERDICT_PASS, CAUSE_NONE, ""),
        value_of(VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, "encrypted"),
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(values); i++) {
        struct world w = world_new(1 << 20, 60000);
        struct caller leader = {.calls = 0}, waiter = {.calls = 0}, later = {.calls = 0};

        world_open(&w);
        assert_int_equal(ask(&w, key_of(i), &leader), VERDICT_CACHE_MINE);
        assert_int_equal(ask(&w, key_of(i), &waiter), VERDICT_CACHE_WAIT);
        done(&w, key_of(i), values[i]);
        memset(&later.last, 0x5a, sizeof later.last);
        assert_int_equal(ask(&w, key_of(i), &later), VERDICT_CACHE_HIT);
        test_settle(w.loop);
        assert_same_result(&waiter.last.result, &values[i].result);
        assert_same_result(&later.last.result, &values[i].result);
        assert_null(later.last.objects);
        world_close(&w);
    }
}

/* A struct out of bounds must not make us read out of bounds. */
static void test_too_many_findings(void **state)
{
    struct world w = world_new(1 << 20, 60000);
    struct verdict_cache_value v = full_value();
    struct caller c = {.calls = 0};

    (void)state;
    world_open(&w);
    v.result.n_findings = FINDINGS_MAX + 5;
    done(&w, key_of(1), v); /* also without having asked */
    assert_int_equal(ask(&w, key_of(1), &c), VERDICT_CACHE_HIT);
    assert_int_equal(c.last.result.n_findings, FINDINGS_MAX);
    world_close(&w);
}

static void test_objects_are_counted(void **state)
{
    struct world w = world_new(1 << 20, 60000);
    struct object_table *t = table_new(1000);
    struct verdict_cache_value v = value_of(VERDICT_PASS, CAUSE_NONE, "");
    struct caller leader = {.calls = 0}, waiter = {.calls = 0}, hit = {.calls = 0};

    (void)state;
    world_open(&w);
    v.objects = t;
    assert_int_equal(ask(&w, key_of(1), &leader), VERDICT_CACHE_MINE);
    assert_int_equal(ask(&w, key_of(1), &waiter), VERDICT_CACHE_WAIT);
    done(&w, key_of(1), v);
    assert_int_equal(t->refs, 2); /* ours, and what cache and waiter share */
    assert_true(counts(&w).bytes > 1000);
    test_settle(w.loop);
    assert_ptr_equal(waiter.last.objects, t);
    assert_int_equal(ask(&w, key_of(1), &hit), VERDICT_CACHE_HIT);
    assert_int_equal(t->refs, 3);
    verdict_cache_set_limits(w.cache, 0, 60000); /* evicts */
    assert_int_equal(t->refs, 2);
    object_table_unref(hit.last.objects);
    assert_int_equal(t->refs, 1);
    object_table_unref(t);
    assert_null(object_table_ref(NULL));
    object_table_unref(NULL);
    world_close(&w);
}

/* ---- how long, how much ---- */

static void test_ttl(void **state)
{
    struct world w = world_new(1 << 20, 5000);
    uint64_t start;

    (void)state;
    world_open(&w);
    start = w.clock.now_ms;
    done(&w, key_of(1), value_of(VERDICT_PASS, CAUSE_NONE, ""));
    w.clock.now_ms = start + 5000;
    assert_true(is_kept(&w, key_of(1)));
    w.clock.now_ms = start - 30; /* another loop's clock may be a turn behind */
    assert_true(is_kept(&w, key_of(1)));
    w.clock.now_ms = start + 5001;
    assert_false(is_kept(&w, key_of(1)));
    assert_int_equal(counts(&w).expired, 1);
    assert_int_equal(counts(&w).entries, 0);
    assert_int_equal(counts(&w).bytes, 0);
    done(&w, key_of(1),
         value_of(VERDICT_PASS, CAUSE_NONE, "")); /* a hit does not make it younger */
    verdict_cache_set_limits(w.cache, 1 << 20, 100);
    w.clock.now_ms += 101;
    assert_false(is_kept(&w, key_of(1)));
    world_close(&w);
}

/* The oldest by use goes; the sum never is over the limit. */
static void test_least_recently_used(void **state)
{
    struct world w = world_new(1 << 20, 60000);
    uint64_t one;

    (void)state;
    world_open(&w);
    done(&w, key_of_shard(0), value_of(VERDICT_PASS, CAUSE_NONE, ""));
    one = counts(&w).bytes;
    assert_in_range(one, 1, 400); /* much less than a struct scan_result */
    verdict_cache_set_limits(w.cache, 16 * 4 * one, 60000);
    for (unsigned i = 1; i < 4; i++)
        done(&w, key_of_shard(i), value_of(VERDICT_PASS, CAUSE_NONE, ""));
    assert_int_equal(counts(&w).entries, 4);
    assert_true(is_kept(&w, key_of_shard(0))); /* used again: now 1 is the oldest */
    done(&w, key_of_shard(4), value_of(VERDICT_PASS, CAUSE_NONE, ""));
    assert_int_equal(counts(&w).evicted, 1);
    assert_int_equal(counts(&w).bytes, 4 * one);
    assert_false(is_kept(&w, key_of_shard(1)));
    assert_true(is_kept(&w, key_of_shard(0)));
    for (unsigned i = 2; i < 5; i++)
        assert_true(is_kept(&w, key_of_shard(i)));
    verdict_cache_set_limits(w.cache, 16 * 2 * one, 60000); /* at once */
    assert_int_equal(counts(&w).entries, 2);
    assert_int_equal(counts(&w).evicted, 3);
    assert_true(is_kept(&w, key_of_shard(4)));
    world_close(&w);
}

static void test_replaced(void **state)
{
    struct world w = world_new(1 << 20, 60000);
    struct caller c = {.calls = 0};
    uint64_t one;

    (void)state;
    world_open(&w);
    done(&w, key_of(1), value_of(VERDICT_PASS, CAUSE_NONE, ""));
    one = counts(&w).bytes;
    done(&w, key_of(1), value_of(VERDICT_BLOCK, CAUSE_DENIED, "four"));
    assert_int_equal(counts(&w).entries, 1);
    assert_int_equal(counts(&w).bytes, one + 4);
    assert_int_equal(ask(&w, key_of(1), &c), VERDICT_CACHE_HIT);
    assert_int_equal(c.last.result.verdict, VERDICT_BLOCK);
    world_close(&w);
}

static void test_too_large_to_keep(void **state)
{
    struct world w = world_new(16 * 4096, 60000);
    struct verdict_cache_value v = value_of(VERDICT_PASS, CAUSE_NONE, "");

    (void)state;
    world_open(&w);
    done(&w, key_of_shard(1), v);
    v.objects = table_new(5000);
    done(&w, key_of_shard(2), v);
    assert_false(is_kept(&w, key_of_shard(2)));
    assert_true(is_kept(&w, key_of_shard(1))); /* and it drove nothing out */
    assert_int_equal(v.objects->refs, 1);
    object_table_unref(v.objects);
    world_close(&w);
}

/* Nothing is kept, and still equal files wait for one another. */
static void test_size_zero(void **state)
{
    struct world w = world_new(0, 60000);
    struct caller leader = {.calls = 0}, waiter = {.calls = 0};

    (void)state;
    world_open(&w);
    assert_int_equal(ask(&w, key_of(1), &leader), VERDICT_CACHE_MINE);
    assert_int_equal(ask(&w, key_of(1), &waiter), VERDICT_CACHE_WAIT);
    done(&w, key_of(1), value_of(VERDICT_PASS, CAUSE_NONE, ""));
    test_settle(w.loop);
    assert_int_equal(waiter.values, 1);
    assert_false(is_kept(&w, key_of(1)));
    world_close(&w);
}

static void test_counts(void **state)
{
    struct world w = world_new(1 << 20, 60000);
    struct caller c[4] = {{.calls = 0}};

    (void)state;
    world_open(&w);
    assert_int_equal(ask(&w, key_of(1), &c[0]), VERDICT_CACHE_MINE);
    assert_int_equal(ask(&w, key_of(1), &c[1]), VERDICT_CACHE_WAIT);
    assert_int_equal(ask(&w, key_of(1), &c[2]), VERDICT_CACHE_WAIT);
    assert_int_equal(ask(&w, key_of(2), &c[3]), VERDICT_CACHE_MINE);
    done(&w, key_of(1), value_of(VERDICT_PASS, CAUSE_NONE, ""));
    assert_int_equal(ask(&w, key_of(1), &c[0]), VERDICT_CACHE_HIT);
    assert_int_equal(counts(&w).hits, 1);
    assert_int_equal(counts(&w).misses, 2);
    assert_int_equal(counts(&w).waits, 2);
    assert_int_equal(counts(&w).entries, 1);
    world_close(&w); /* also with a scan that nobody ended */
}

/* ---- waiting ---- */

static void test_never_inside_the_call(void **state)
{
    struct world w = world_new(1 << 20, 60000);
    struct caller leader = {.calls = 0}, waiter = {.calls = 0};

    (void)state;
    world_open(&w);
    assert_int_equal(ask(&w, key_of(1), &leader), VERDICT_CACHE_MINE);
    assert_int_equal(ask(&w, key_of(1), &waiter), VERDICT_CACHE_WAIT);
    assert_int_equal(ask(&w, key_of(2), &leader), VERDICT_CACHE_MINE); /* not one's business */
    done(&w, key_of(1), value_of(VERDICT_PASS, CAUSE_NONE, ""));
    assert_int_equal(waiter.calls, 0);
    test_settle(w.loop);
    assert_int_equal(waiter.calls, 1);
    assert_int_equal(leader.calls, 0);
    done(&w, key_of(1),
         value_of(VERDICT_PASS, CAUSE_NONE, "")); /* a second word: nobody hears it */
    test_settle(w.loop);
    assert_int_equal(waiter.calls, 1);
    world_close(&w);
}

/* The one that scanned goes away: exactly one of those that waited is the next. */
static void test_give_up(void **state)
{
    struct world w = world_new(1 << 20, 60000);
    struct caller c[5] = {{.calls = 0}};
    unsigned mine = 0, wait = 0;

    (void)state;
    world_open(&w);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(ask(&w, key_of(1), &c[i]), i ? VERDICT_CACHE_WAIT : VERDICT_CACHE_MINE);
    verdict_cache_give_up(w.cache, &key_one);
    test_settle(w.loop);
    for (unsigned i = 1; i < 5; i++) {
        assert_int_equal(c[i].calls, 1);
        assert_int_equal(c[i].values, 0);
        enum verdict_cache_answer a = ask(&w, key_of(1), &c[i]);

        mine += a == VERDICT_CACHE_MINE;
        wait += a == VERDICT_CACHE_WAIT;
    }
    assert_int_equal(mine, 1);
    assert_int_equal(wait, 3);
    done(&w, key_of(1), value_of(VERDICT_PASS, CAUSE_NONE, ""));
    test_settle(w.loop);
    for (unsigned i = 1; i < 5; i++)
        assert_int_equal(c[i].values, c[i].calls - 1);
    verdict_cache_give_up(w.cache, &key_nine); /* nobody scans it */
    world_close(&w);
}

/* Cancelled while it waits, when its call is on its way, and by a call that comes before. */
static void test_cancel(void **state)
{
    static const char *const names[] = {"while it waits", "on its way, a verdict",
                                        "on its way, given up", "and the loop ends"};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        struct world w = world_new(1 << 20, 60000);
        struct caller leader = {.calls = 0}, stays = {.calls = 0};
        struct caller *goes = calloc(1, sizeof *goes);

        world_open(&w);
        print_message("%s\n", names[i]);
        assert_int_equal(ask(&w, key_of(1), &leader), VERDICT_CACHE_MINE);
        assert_int_equal(ask(&w, key_of(1), goes), VERDICT_CACHE_WAIT);
        assert_int_equal(ask(&w, key_of(1), &stays), VERDICT_CACHE_WAIT);
        if (i == 2)
            verdict_cache_give_up(w.cache, &key_one);
        else if (i > 0)
            done(&w, key_of(1), value_of(VERDICT_PASS, CAUSE_NONE, ""));
        verdict_cache_cancel(goes->waiter);
        free(goes); /* right away: ASan sees a call that comes after all */
        if (i == 0)
            done(&w, key_of(1), value_of(VERDICT_PASS, CAUSE_NONE, ""));
        if (i < 3)
            test_settle(w.loop);
        if (i == 3)
            verdict_cache_cancel(stays.waiter);
        assert_int_equal(stays.calls, i < 3);
        assert_int_equal(stays.values, i < 2);
        world_close(&w);
    }
}

struct canceller {
    struct caller self;
    struct caller *other;
};

static void cancel_other(void *arg, const struct verdict_cache_value *value)
{
    struct canceller *c = arg;

    on_ready(&c->self, value);
    verdict_cache_cancel(c->other->waiter);
    c->other->waiter = NULL;
}

/* Both calls are in the same mailbox: the first one cancels the second. */
static void test_cancel_inside_a_call(void **state)
{
    struct world w = world_new(1 << 20, 60000);
    struct caller leader = {.calls = 0}, other = {.calls = 0};
    struct canceller c = {.other = &other};
    struct verdict_cache_value v;

    (void)state;
    world_open(&w);
    assert_int_equal(ask(&w, key_of(1), &leader), VERDICT_CACHE_MINE);
    assert_int_equal(
        verdict_cache_ask(w.cache, &key_one, w.loop, cancel_other, &c, &c.self.waiter, &v),
        VERDICT_CACHE_WAIT);
    assert_int_equal(ask(&w, key_of(1), &other), VERDICT_CACHE_WAIT);
    done(&w, key_of(1), value_of(VERDICT_PASS, CAUSE_NONE, ""));
    test_settle(w.loop);
    assert_int_equal(c.self.values, 1);
    assert_int_equal(other.calls, 0);
    verdict_cache_cancel(NULL);
    world_close(&w);
}

/* ---- without memory ---- */

static void test_no_memory(void **state)
{
    struct world w = world_new(1 << 20, 60000);
    struct caller leader = {.calls = 0}, waiter = {.calls = 0}, other = {.calls = 0};
    struct verdict_cache *none;
    struct verdict_key k;

    (void)state;
    world_open(&w);
    mem_fail_after(1);
    assert_int_equal(verdict_key_make(&SPAN("x"), 1, &k), ERR_NOMEM);
    mem_fail_after(1);
    assert_int_equal(verdict_cache_new(1, 1, &none), ERR_NOMEM);
    mem_fail_after(2);
    assert_int_equal(verdict_cache_new(1, 1, &none), ERR_NOMEM);
    mem_fail_after(1);
    assert_int_equal(ask(&w, key_of(1), &leader), VERDICT_CACHE_NONE); /* to begin */
    mem_fail_after(0);
    assert_int_equal(ask(&w, key_of(1), &leader), VERDICT_CACHE_MINE);
    mem_fail_after(1);
    assert_int_equal(ask(&w, key_of(1), &other), VERDICT_CACHE_NONE); /* to wait */
    mem_fail_after(0);
    assert_int_equal(ask(&w, key_of(1), &waiter), VERDICT_CACHE_WAIT);
    mem_fail_after(1);
    done(&w, key_of(1), value_of(VERDICT_PASS, CAUSE_NONE, "")); /* to keep, and to tell */
    mem_fail_after(0);
    test_settle(w.loop);
    assert_int_equal(waiter.calls, 1); /* not lost: it asks again */
    assert_int_equal(waiter.values, 0);
    assert_int_equal(ask(&w, key_of(1), &waiter), VERDICT_CACHE_MINE);
    world_close(&w);
}

/* ---- threads: many loops, few keys ---- */

#define LOOPS   4u
#define CLIENTS 8u /* of each loop */
#define ASKS    1500u
#define KEYS    5u

struct party;

struct client {
    struct party *party;
    struct task turn;
    struct verdict_waiter *waiter;
    unsigned key;
    unsigned calls; /* since it asked */
    bool leads;
    unsigned asks, hits, leads_n, waits, answers, again, cancels;
    uint64_t random;
};

/* A loop thread and its clients. */
struct party {
    pthread_t thread;
    struct loop *loop;
    struct verdict_cache *cache;
    struct client clients[CLIENTS];
    unsigned busy;        /* clients that are not done */
    struct timer give_up; /* of the test */
};

static unsigned draw(struct client *c, unsigned below)
{
    c->random = c->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(c->random >> 33) % below;
}

/* Each key has one verdict for ever: whoever gets another one sees a mix-up. */
static struct verdict_cache_value stress_value(unsigned key)
{
    struct verdict_cache_value v =
        value_of(key % 2 ? VERDICT_BLOCK : VERDICT_PASS, key % 2 ? CAUSE_INFECTED : CAUSE_NONE, "");

    v.result.scan_us = key;
    v.result.n_findings = key;
    for (unsigned i = 0; i < key; i++)
        memset(v.result.findings[i].name, (int)('a' + key), 20 + i);
    return v;
}

static void check_value(unsigned key, const struct verdict_cache_value *v)
{
    struct verdict_cache_value want = stress_value(key);

    assert_same_result(&v->result, &want.result);
    assert_int_equal(v->objects != NULL, key == 3);
    assert_true(!v->objects || v->objects->bytes[9] == 'x');
}

static void client_next(struct client *c)
{
    loop_defer(c->party->loop, &c->turn);
}

static void stress_ready(void *arg, const struct verdict_cache_value *value)
{
    struct client *c = arg;

    assert_non_null(c->waiter);
    assert_int_equal(++c->calls, 1);
    c->waiter = NULL;
    if (value) {
        check_value(c->key, value);
        c->answers++;
    } else {
        c->again++;
    }
    /* The turn is queued already when it meant to cancel. */
    if (!c->leads)
        client_next(c);
    c->leads = false;
}

static void stress_lead(struct client *c)
{
    struct verdict_key key = key_of(c->key);
    struct verdict_cache_value v = stress_value(c->key);

    c->leads = false;
    if (draw(c, 4) == 0) {
        verdict_cache_give_up(c->party->cache, &key);
        return;
    }
    if (c->key == 3) {
        v.objects = table_new(10);
        v.objects->bytes[9] = 'x';
    }
    verdict_cache_done(c->party->cache, &key, loop_now_ms(c->party->loop), &v, draw(c, 3) > 0);
    object_table_unref(v.objects);
}

static void stress_ask(struct client *c)
{
    struct verdict_cache_value v;
    struct verdict_key key;

    c->asks++;
    c->calls = 0;
    c->key = draw(c, KEYS);
    key = key_of(c->key);
    switch (
        verdict_cache_ask(c->party->cache, &key, c->party->loop, stress_ready, c, &c->waiter, &v)) {
    case VERDICT_CACHE_HIT:
        check_value(c->key, &v);
        object_table_unref(v.objects);
        c->hits++;
        client_next(c);
        return;
    case VERDICT_CACHE_MINE:
        c->leads_n++;
        c->leads = true;
        client_next(c);
        return;
    case VERDICT_CACHE_WAIT:
        c->waits++;
        c->leads = draw(c, 3) == 0; /* it will cancel, if its call does not come before */
        if (c->leads)
            client_next(c);
        return;
    case VERDICT_CACHE_NONE: fail_msg("memory");
    }
}

static void stress_turn(struct task *t)
{
    struct client *c = CONTAINER_OF(t, struct client, turn);

    if (c->leads && c->waiter) {
        verdict_cache_cancel(c->waiter);
        c->waiter = NULL;
        c->leads = false;
        c->cancels++;
    } else if (c->leads) {
        stress_lead(c);
    }
    if (c->asks < ASKS) {
        stress_ask(c);
        return;
    }
    if (--c->party->busy == 0)
        loop_stop(c->party->loop);
}

static void stress_too_late(struct timer *t)
{
    struct party *p = CONTAINER_OF(t, struct party, give_up);

    for (unsigned i = 0; i < CLIENTS; i++)
        print_message("client %u: %u asks, waits %d\n", i, p->clients[i].asks,
                      p->clients[i].waiter != NULL);
    abort(); /* a wake-up was lost */
}

static void *party_run(void *arg)
{
    struct party *p = arg;

    p->give_up.fire = stress_too_late;
    timer_set(p->loop, &p->give_up, loop_now_ms(p->loop) + 90000);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_next(&p->clients[i]);
    loop_run(p->loop);
    timer_clear(p->loop, &p->give_up);
    return NULL;
}

struct meddler {
    struct verdict_cache *cache;
    _Atomic bool stop;
};

/* Reloads and scrapes, all the time. */
static void *meddle(void *arg)
{
    struct meddler *m = arg;
    struct verdict_cache_counts n;

    for (unsigned i = 0; !atomic_load_explicit(&m->stop, memory_order_acquire); i++) {
        verdict_cache_set_limits(m->cache, i % 3 ? 16 * 3000 : 0, i % 5 ? 3 : 0);
        verdict_cache_count(m->cache, &n);
    }
    return NULL;
}

static void stress_check(const struct party *parties, const struct verdict_cache *cache)
{
    struct verdict_cache_counts n;
    unsigned hits = 0, leads = 0, waits = 0, answers = 0;

    for (unsigned i = 0; i < LOOPS * CLIENTS; i++) {
        const struct client *c = &parties[i / CLIENTS].clients[i % CLIENTS];

        assert_int_equal(c->asks, ASKS);
        assert_int_equal(c->hits + c->leads_n + c->waits, ASKS);
        assert_int_equal(c->answers + c->again + c->cancels, c->waits); /* each exactly once */
        hits += c->hits;
        leads += c->leads_n;
        waits += c->waits;
        answers += c->answers;
    }
    verdict_cache_count(cache, &n);
    assert_int_equal(n.hits, hits);
    assert_int_equal(n.misses, leads);
    assert_int_equal(n.waits, waits);
    print_message("%u hits, %u scans, %u waits (%u with a verdict)\n", hits, leads, waits, answers);
    assert_true(hits > 0 && leads > 0 && answers > 0 && waits > answers);
}

static void test_stress(void **state)
{
    static struct party parties[LOOPS];
    struct meddler m = {.stop = false};
    pthread_t meddler;

    (void)state;
    memset(parties, 0, sizeof parties);
    assert_int_equal(verdict_cache_new(1 << 20, 3, &m.cache), OK);
    for (unsigned i = 0; i < LOOPS; i++) {
        struct party *p = &parties[i];

        assert_int_equal(loop_new(i, &clock_system, &p->loop), OK);
        p->cache = m.cache;
        p->busy = CLIENTS;
        for (unsigned j = 0; j < CLIENTS; j++)
            p->clients[j] = (struct client){
                .party = p, .turn = {.run = stress_turn}, .random = i * 1000 + j + 1};
    }
    assert_int_equal(pthread_create(&meddler, NULL, meddle, &m), 0);
    for (unsigned i = 0; i < LOOPS; i++)
        assert_int_equal(pthread_create(&parties[i].thread, NULL, party_run, &parties[i]), 0);
    for (unsigned i = 0; i < LOOPS; i++)
        (void)pthread_join(parties[i].thread, NULL);
    atomic_store_explicit(&m.stop, true, memory_order_release);
    (void)pthread_join(meddler, NULL);
    for (unsigned i = 0; i < LOOPS; i++)
        loop_free(parties[i].loop);
    stress_check(parties, m.cache);
    verdict_cache_free(m.cache);
}

/* ---- threads: loops that end while others post to them ---- */

#define SHORT_LOOPS 300u

struct ender {
    struct verdict_cache *cache;
    _Atomic bool stop;
    unsigned waited, called;
};

static void *end_all(void *arg)
{
    struct ender *e = arg;
    struct verdict_cache_value v = stress_value(1);

    for (unsigned i = 0; !atomic_load_explicit(&e->stop, memory_order_acquire); i++) {
        if (i % 2)
            verdict_cache_give_up(e->cache, &key_one);
        else
            verdict_cache_done(e->cache, &key_one, 0, &v, false);
    }
    return NULL;
}

/* Asks for |n|, and turns until they were called or |turns| are over. The rest is cancelled, and
 * the loop freed: nobody may touch it any more. */
static void short_loop(struct ender *e, unsigned n, unsigned turns)
{
    struct loop *loop = test_loop(&clock_system);
    struct caller c[8] = {{.calls = 0}};
    struct verdict_cache_value v;
    unsigned waiting = 1;

    for (unsigned i = 0; i < n; i++)
        e->waited += verdict_cache_ask(e->cache, &key_one, loop, on_ready, &c[i], &c[i].waiter,
                                       &v) == VERDICT_CACHE_WAIT;
    for (unsigned t = 0; t < turns && waiting > 0; t++) {
        (void)loop_turn(loop, false);
        waiting = 0;
        for (unsigned i = 0; i < n; i++)
            waiting += c[i].waiter != NULL;
    }
    for (unsigned i = 0; i < n; i++) {
        e->called += c[i].calls;
        verdict_cache_cancel(c[i].waiter);
    }
    loop_free(loop);
}

static void test_loops_end(void **state)
{
    struct ender e = {.stop = false};
    pthread_t thread;

    (void)state;
    assert_int_equal(verdict_cache_new(0, 0, &e.cache), OK);
    assert_int_equal(pthread_create(&thread, NULL, end_all, &e), 0);
    for (unsigned i = 0; i < SHORT_LOOPS; i++) {
        short_loop(&e, 8, i % 4);
        short_loop(&e, 2, 100000); /* the last one's task is barely posted when the loop goes */
    }
    atomic_store_explicit(&e.stop, true, memory_order_release);
    (void)pthread_join(thread, NULL);
    print_message("%u waited, %u were called\n", e.waited, e.called);
    assert_true(e.called > 0 && e.called < e.waited);
    verdict_cache_free(e.cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_key_vector),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_too_many_findings),
        cmocka_unit_test(test_objects_are_counted),
        cmocka_unit_test(test_ttl),
        cmocka_unit_test(test_least_recently_used),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_too_large_to_keep),
        cmocka_unit_test(test_size_zero),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_never_inside_the_call),
        cmocka_unit_test(test_give_up),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_inside_a_call),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_stress),
        cmocka_unit_test(test_loops_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
