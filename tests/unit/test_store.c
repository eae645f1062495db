/* SPDX-License-Identifier: Apache-2.0 */
/* The store: the same table for every backend. */
#include "test_store.h"

/* ---- the table ---- */

static void test_put_get_del(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(get(f, "a")->err, ERR_MISSING);
    struct answer *p = put(f, "a", "one", 0);

    assert_int_equal(p->err, OK);
    assert_true(p->version != 0 && p->version != STORE_ANY);
    struct answer *g = get(f, "a");

    assert_int_equal(g->err, OK);
    assert_string_equal(g->keys, "a=one ");
    assert_int_equal(g->item_version, p->version);
    assert_int_equal(g->expires_wall_ms, 0);
    assert_int_equal(put(f, "a", "", STORE_ANY)->err, OK);
    assert_string_equal(get(f, "a")->keys, "a= ");
    assert_int_equal(del(f, "a", STORE_ANY)->err, OK);
    assert_int_equal(get(f, "a")->err, ERR_MISSING);
    assert_int_equal(del(f, "a", STORE_ANY)->err, ERR_MISSING);
}

static void test_versions(void **state)
{
    struct fixture *f = *state;
    uint64_t first = put(f, "a", "1", 0)->version;

    assert_int_equal(put(f, "a", "x", 0)->err, ERR_CONFLICT);
    assert_int_equal(put(f, "a", "x", first + 1)->err, ERR_CONFLICT);
    assert_int_equal(put(f, "b", "x", first)->err, ERR_CONFLICT);
    assert_string_equal(get(f, "a")->keys, "a=1 ");
    uint64_t second = put(f, "a", "2", first)->version;

    assert_true(second != 0 && second != first);
    assert_int_equal(del(f, "a", first)->err, ERR_CONFLICT);
    assert_string_equal(get(f, "a")->keys, "a=2 ");
    assert_int_equal(del(f, "a", second)->err, OK);
    uint64_t third = put(f, "a", "3", 0)->version;

    assert_true(third != first && third != second);
    assert_int_equal(put(f, "a", "x", second)->err, ERR_CONFLICT);
}

/* Two changes that are committed together have two versions. */
static void test_versions_within_a_batch(void **state)
{
    struct fixture *f = *state;
    const struct store_put p = {.key = SPAN("a"), .value = SPAN("v"), .version = STORE_ANY};
    struct answer *a[8];

    for (unsigned i = 0; i < ARRAY_LEN(a); i++)
        a[i] = ask_put(f, &p);
    for (unsigned i = 0; i < ARRAY_LEN(a); i++) {
        assert_int_equal(wait_for(f, a[i])->err, OK);
        for (unsigned k = 0; k < i; k++) {
            assert_true(a[i]->version != a[k]->version);
            assert_true(a[i]->order > a[k]->order);
        }
    }
    assert_int_equal(get(f, "a")->item_version, a[ARRAY_LEN(a) - 1]->version);
}

static void test_expiry(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put_at(f, "a", "1", 0, NOW + 1000)->err, OK);
    assert_int_equal(put_at(f, "b", "1", 0, NOW + 5000)->err, OK);
    assert_int_equal(get(f, "a")->expires_wall_ms, NOW + 1000);
    f->wall_ms = NOW + 999;
    assert_int_equal(get(f, "a")->err, OK);
    f->wall_ms = NOW + 1000;
    assert_int_equal(get(f, "a")->err, ERR_MISSING);
    assert_int_equal(del(f, "a", STORE_ANY)->err, ERR_MISSING);
    assert_string_equal(list(f, SPACE, "", "", 10)->keys, "b=1 ");
    assert_int_equal(put_at(f, "a", "2", 0, 0)->err, OK); /* as one that is not there */
    f->wall_ms = NOW + 3600000;
    assert_string_equal(list(f, SPACE, "", "", 10)->keys, "a=2 ");
}

static void test_incr(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(incr(f, "n", 1, NOW + 1000)->number, 1);
    struct answer *a = incr(f, "n", 41, NOW + 9000);

    assert_int_equal(a->number, 42);
    assert_int_equal(get(f, "n")->item_version, a->version);
    assert_string_equal(get(f, "n")->keys, "n=42 ");
    assert_int_equal(get(f, "n")->expires_wall_ms, NOW + 1000); /* of the first */
    assert_int_equal(incr(f, "n", 0, 0)->number, 42);
    f->wall_ms = NOW + 1000;
    assert_int_equal(incr(f, "n", 7, 0)->number, 7);
    assert_int_equal(incr(f, "n", UINT64_MAX, 0)->err, ERR_SYNTAX);
    assert_int_equal(put(f, "t", "12x", 0)->err, OK);
    assert_int_equal(incr(f, "t", 1, 0)->err, ERR_SYNTAX);
    assert_string_equal(get(f, "t")->keys, "t=12x ");
    assert_int_equal(incr(f, "m", UINT64_MAX, 0)->number, UINT64_MAX);
}

static void test_list(void **state)
{
    struct fixture *f = *state;
    static const char *const keys[] = {"b", "aa", "a", "ab", "c", "b\xff", "ba"};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        assert_int_equal(put(f, keys[i], "", 0)->err, OK);
    assert_string_equal(list(f, SPACE, "", "", 100)->keys, "a= aa= ab= b= ba= b\xff= c= ");
    assert_string_equal(list(f, SPACE, "a", "", 100)->keys, "a= aa= ab= ");
    assert_string_equal(list(f, SPACE, "b", "b", 100)->keys, "ba= b\xff= ");
    assert_string_equal(list(f, SPACE, "b", "a", 100)->keys, "b= ba= b\xff= ");
    assert_string_equal(list(f, SPACE, "", "abc", 2)->keys, "b= ba= ");
    assert_true(list(f, SPACE, "", "abc", 2)->more);
    assert_false(list(f, SPACE, "", "", 7)->more);
    assert_true(list(f, SPACE, "", "", 6)->more);
    assert_string_equal(list(f, SPACE, "d", "", 100)->keys, "");
    assert_int_equal(list(f, SPACE, "d", "", 100)->err, OK);
    assert_string_equal(list(f, SPACE, "a", "b", 100)->keys, "");
    assert_int_equal(list(f, "nothing", "", "", 100)->n, 0);
}

/* Names of namespaces do not run into keys, whatever bytes those have. */
static void test_spaces(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *space;
        struct span key;
    } rows[] = {
        {"a",  {"x", 1}     },
        {"a",  {"\0x", 2}   },
        {"ab", {"x", 1}     },
        {"b",  {"\0\xff", 2}},
        {"a",  {"b\0x", 3}  },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct answer *a = answer_new();
        struct store_asker by = asker(f, a);
        const char digit[] = {(char)('0' + (int)i), '\0'};
        const struct store_put p = {.key = rows[i].key, .value = span_of(digit)};

        assert_int_equal(store_put(f->store, rows[i].space, &p, &by, NULL), OK);
        assert_int_equal(wait_for(f, a)->err, OK);
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct answer *a = get_in(f, rows[i].space, rows[i].key);

        assert_int_equal(a->err, OK);
        assert_int_equal(a->value[0], '0' + (int)i);
    }
    assert_int_equal(list(f, "a", "", "", 10)->n, 3);
    assert_int_equal(list(f, "ab", "", "", 10)->n, 1);
}

static void test_limits(void **state)
{
    struct fixture *f = *state;
    static char key[STORE_KEY_MAX + 1], value[STORE_VALUE_MAX + 1];
    struct answer *a = answer_new();
    struct store_asker by = asker(f, a);
    struct store_put p = {
        .key = {key,   STORE_KEY_MAX  },
          .value = {value, STORE_VALUE_MAX}
    };

    memset(key, 'k', sizeof key);
    memset(value, 'v', sizeof value);
    assert_int_equal(wait_for(f, ask_put(f, &p))->err, OK);
    struct answer *g = get_in(f, SPACE, p.key);

    assert_int_equal(g->err, OK);
    assert_int_equal(g->value_n, STORE_VALUE_MAX);
    p.key.n++;
    assert_int_equal(store_put(f->store, SPACE, &p, &by, NULL), ERR_LIMIT);
    assert_int_equal(store_get(f->store, SPACE, p.key, &by, NULL), ERR_LIMIT);
    assert_int_equal(store_get(f->store, SPACE, SPAN(""), &by, NULL), ERR_LIMIT);
    assert_int_equal(store_del(f->store, SPACE, SPAN("a"), 0, &by, NULL), ERR_LIMIT);
    assert_int_equal(store_get(f->store, "", SPAN("a"), &by, NULL), ERR_LIMIT);
    assert_int_equal(store_get(f->store, "a-name-of-thirty-three-characters", SPAN("a"), &by, NULL),
                     ERR_LIMIT);
    p.key.n = 1;
    p.value.n++;
    assert_int_equal(store_put(f->store, SPACE, &p, &by, NULL), ERR_LIMIT);
    struct store_range r = {.max = 0};

    assert_int_equal(store_list(f->store, SPACE, &r, &by, NULL), ERR_LIMIT);
    r.max = STORE_LIST_MAX + 1;
    assert_int_equal(store_list(f->store, SPACE, &r, &by, NULL), ERR_LIMIT);
    assert_false(a->came);
}

/* A list of large values comes in parts, and none is left out between them. */
static void test_list_large(void **state)
{
    struct fixture *f = *state;
    static char value[STORE_VALUE_MAX];
    char key[8], after[24] = "";
    size_t n = 0, parts = 0;
    struct answer *a;

    for (unsigned i = 0; i < 40; i++) {
        (void)snprintf(key, sizeof key, "%02u", i);
        const struct store_put p = {
            .key = span_of(key), .value = {value, sizeof value}
        };

        assert_int_equal(wait_for(f, ask_put(f, &p))->err, OK);
    }
    do {
        a = list(f, SPACE, "", after, STORE_LIST_MAX);
        assert_int_equal(a->err, OK);
        assert_true(a->n > 0);
        n += a->n;
        parts++;
        (void)snprintf(after, sizeof after, "%02zu", n - 1);
    } while (a->more);
    assert_int_equal(n, 40);
    assert_true(parts > 1);
}

static void test_order(void **state)
{
    struct fixture *f = *state;
    struct answer *a[60];
    char text[8];

    for (unsigned i = 0; i < ARRAY_LEN(a); i++) {
        (void)snprintf(text, sizeof text, "%u", i);
        const struct store_put p = {.key = SPAN("a"), .value = span_of(text), .version = STORE_ANY};

        a[i] = ask_put(f, &p);
    }
    assert_string_equal(get(f, "a")->keys, "a=59 ");
    for (unsigned i = 0; i < ARRAY_LEN(a); i++) {
        assert_true(a[i]->came);
        assert_true(i == 0 || a[i]->order > a[i - 1]->order);
    }
}

static void test_cancel(void **state)
{
    struct fixture *f = *state;
    const struct store_put p = {.key = SPAN("a"), .value = SPAN("v")};
    struct answer *a = answer_new();
    struct store_asker by = asker(f, a);
    struct store_op *op = NULL;

    assert_int_equal(store_put(f->store, SPACE, &p, &by, &op), OK);
    assert_non_null(op);
    store_cancel(op);
    assert_int_equal(put(f, "b", "", 0)->err, OK); /* comes after it */
    assert_false(a->came);
}

static void test_full(void **state)
{
    struct fixture *f = *state;
    static char value[4096];
    char key[16];
    unsigned n = 0;
    enum err e;

    do {
        (void)snprintf(key, sizeof key, "%05u", n);
        const struct store_put p = {
            .key = span_of(key), .value = {value, sizeof value}
        };

        e = wait_for(f, ask_put(f, &p))->err;
    } while (e == OK && ++n < 100000);
    assert_int_equal(e, ERR_FULL);
    struct store_counts c;

    store_count(f->store, &c);
    assert_int_equal(c.full, 1);
    assert_int_equal(c.changes, n + 1);
    assert_false(c.up);
    assert_true(n > 100);
    assert_int_equal(get(f, "00000")->err, OK); /* nothing was thrown out */
    assert_int_equal(get(f, key)->err, ERR_MISSING);
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(key, sizeof key, "%05u", i);
        assert_int_equal(del(f, key, STORE_ANY)->err, OK);
    }
    assert_int_equal(put(f, "a", "v", 0)->err, OK);
    store_count(f->store, &c);
    assert_true(c.up);
    assert_int_equal(c.failed + c.busy + c.waiting, 0);
}

static uint64_t mark(struct fixture *f)
{
    struct answer *a = get_in(f, STORE_MARKS, SPAN(SPACE));

    return a->err ? 0 : a->item_version;
}

/* A mark is another one after each change of its namespace, and of no other. */
static void test_marks(void **state)
{
    struct fixture *f = *state;
    struct answer *a = answer_new();
    struct store_asker by = asker(f, a);
    const struct store_put fresh = {.key = SPAN(SPACE)}, other = {.key = SPAN("a")};
    uint64_t seen[6];

    assert_int_equal(put(f, "a", "v", 0)->err, OK);
    assert_int_equal(mark(f), 0); /* nobody wanted one */
    assert_int_equal(store_put(f->store, STORE_MARKS, &fresh, &by, NULL), OK);
    assert_int_equal(wait_for(f, a)->err, OK);
    seen[0] = mark(f);
    assert_int_equal(seen[0], a->version);
    assert_int_equal(get(f, "a")->err, OK);
    assert_int_equal(put(f, "a", "v", 0)->err, ERR_CONFLICT);
    assert_int_equal(del(f, "b", STORE_ANY)->err, ERR_MISSING);
    a = answer_new();
    by = asker(f, a);
    assert_int_equal(store_put(f->store, "elsewhere", &other, &by, NULL), OK);
    assert_int_equal(wait_for(f, a)->err, OK);
    assert_int_equal(mark(f), seen[0]);
    assert_int_equal(put(f, "a", "w", STORE_ANY)->err, OK);
    seen[1] = mark(f);
    assert_int_equal(incr(f, "n", 1, 0)->err, OK);
    seen[2] = mark(f);
    assert_int_equal(del(f, "a", STORE_ANY)->err, OK);
    seen[3] = mark(f);
    uint64_t version = put(f, "a", "x", 0)->version;

    seen[4] = mark(f);
    seen[5] = version;
    for (unsigned i = 0; i < ARRAY_LEN(seen); i++)
        for (unsigned k = 0; k < i; k++)
            assert_true(seen[i] != seen[k] && seen[i] != 0);
    assert_string_equal(list(f, SPACE, "", "", 10)->keys, "a=x n=1 ");
}

static void test_changes(void **state)
{
    struct fixture *f = *state;
    uint64_t before = store_changes(f->store);

    assert_int_equal(get(f, "a")->err, ERR_MISSING);
    assert_int_equal(store_changes(f->store), before);
    assert_int_equal(put(f, "a", "v", 0)->err, OK);
    uint64_t after = store_changes(f->store);

    assert_true(after != before);
    assert_int_equal(del(f, "a", STORE_ANY)->err, OK);
    assert_true(store_changes(f->store) != after);
}

/* What is followed by more waits for that, however long it takes: one commit for both. */
static void test_more(void **state)
{
    struct fixture *f = *state;
    const struct store_put first = {
        .key = SPAN("a"), .value = SPAN("1"), .version = STORE_ANY, .more = true};
    const struct store_put second = {.key = SPAN("b"), .value = SPAN("2"), .version = STORE_ANY};
    uint64_t commits = 0;

    for (unsigned i = 0; i < 20; i++) {
        (void)usleep(2000); /* the store's thread sleeps again */
        uint64_t before = store_changes(f->store);
        struct answer *a = ask_put(f, &first);

        (void)usleep(2000);
        struct answer *b = ask_put(f, &second);

        assert_int_equal(wait_for(f, b)->err, OK);
        assert_true(a->came && a->err == OK && a->order < b->order);
        commits += store_changes(f->store) - before;
    }
    assert_true(f->kind == LMDB ? commits < 30
                                : commits == 40); /* it may be up for other reasons */
}

/* ---- against a model ---- */

struct model {
    bool there;
    unsigned value;
    uint64_t version, expires_wall_ms;
};

#define MODEL_KEYS 12u

static bool model_has(const struct fixture *f, struct model *m)
{
    if (m->there && m->expires_wall_ms && m->expires_wall_ms <= f->wall_ms)
        *m = (struct model){0};
    return m->there;
}

static void model_put(struct fixture *f, struct model *m, const char *key, unsigned r)
{
    uint64_t version = r & 1 ? STORE_ANY : r & 2 ? (model_has(f, m) ? m->version : 0) : 12345678901;
    uint64_t expires = r & 4 ? f->wall_ms + 1 + r % 50 : 0;
    char value[16];

    (void)snprintf(value, sizeof value, "%u", r % 1000);
    struct answer *a = put_at(f, key, value, version, expires);

    assert_int_equal(a->err, version == 12345678901 ? ERR_CONFLICT : OK);
    if (!a->err)
        *m = (struct model){true, r % 1000, a->version, expires};
}

static void model_del(struct fixture *f, struct model *m, const char *key, unsigned r)
{
    bool there = model_has(f, m);
    uint64_t version = r & 1 || !there ? STORE_ANY : m->version;

    assert_int_equal(del(f, key, version)->err, there ? OK : ERR_MISSING);
    *m = (struct model){0};
}

static void model_incr(struct fixture *f, struct model *m, const char *key, unsigned r)
{
    bool there = model_has(f, m);
    struct answer *a = incr(f, key, r % 9, f->wall_ms + 20);

    assert_int_equal(a->number, m->value + r % 9);
    *m = (struct model){true, m->value + r % 9, a->version,
                        there ? m->expires_wall_ms : f->wall_ms + 20};
}

static void model_check(struct fixture *f, struct model *models)
{
    char want[1024] = "";
    size_t n = 0;

    for (unsigned i = 0; i < MODEL_KEYS; i++)
        if (model_has(f, &models[i]))
            n += (size_t)snprintf(want + n, sizeof want - n, "k%02u=%u ", i, models[i].value);
    assert_string_equal(list(f, SPACE, "", "", 100)->keys, want);
}

/* Whatever is done in whatever order, the store says what a few lines say. */
static void test_model(void **state)
{
    struct fixture *f = *state;
    struct model models[MODEL_KEYS] = {0};
    unsigned seed = 7, rounds = f->kind == MEMORY ? 20000 : 400;
    char key[8];

    for (unsigned i = 0; i < rounds; i++) {
        unsigned r = (unsigned)rand_r(&seed), k = (unsigned)rand_r(&seed) % MODEL_KEYS;
        struct model *m = &models[k];

        (void)snprintf(key, sizeof key, "k%02u", k);
        switch ((unsigned)rand_r(&seed) % 5) {
        case 0:
        case 1: model_put(f, m, key, r); break;
        case 2: model_del(f, m, key, r); break;
        case 3: model_incr(f, m, key, r); break;
        default: f->wall_ms += r % 10;
        }
        if (i % 16 == 0)
            model_check(f, models);
    }
}

/* ---- threads ---- */

struct counting {
    struct fixture *fixture;
    struct loop *loop;
    unsigned left;
};

static void on_counted(void *arg, const struct store_reply *r)
{
    struct counting *c = arg;
    const struct store_asker by = {.loop = c->loop, .done = on_counted, .arg = c};

    if (r && r->err)
        abort();
    if (c->left == 0)
        loop_stop(c->loop);
    else if (c->left-- && store_incr(c->fixture->store, SPACE, SPAN("n"), 1, 0, &by, NULL) != OK)
        abort();
}

static void *counting_thread(void *arg)
{
    struct counting *c = arg;

    on_counted(c, NULL);
    loop_run(c->loop);
    return NULL;
}

static void test_threads(void **state)
{
    struct fixture *f = *state;
    struct counting c[3];
    pthread_t t[ARRAY_LEN(c)];

    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        c[i] = (struct counting){.fixture = f, .left = 50};
        assert_int_equal(loop_new(1, &clock_system, &c[i].loop), OK);
    }
    for (size_t i = 0; i < ARRAY_LEN(c); i++)
        assert_int_equal(pthread_create(&t[i], NULL, counting_thread, &c[i]), 0);
    for (unsigned i = 0; i < 200; i++)
        (void)store_changes(f->store);
    for (size_t i = 0; i < ARRAY_LEN(c); i++)
        assert_int_equal(pthread_join(t[i], NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(c); i++)
        loop_free(c[i].loop);
    assert_string_equal(get(f, "n")->keys, "n=150 ");
}

/* ---- */

#define ROW(kind, name, test)                                                   \
    {                                                                           \
        name ": " #test, test, setup, teardown, (void *)(uintptr_t)&kinds[kind] \
    }
#define BOTH(test) ROW(MEMORY, "memory", test), ROW(LMDB, "lmdb", test)

int main(void)
{
    static const enum kind kinds[] = {[MEMORY] = MEMORY, [LMDB] = LMDB};
    const struct CMUnitTest tests[] = {
        BOTH(test_put_get_del), BOTH(test_versions), BOTH(test_versions_within_a_batch),
        BOTH(test_expiry),      BOTH(test_incr),     BOTH(test_list),
        BOTH(test_spaces),      BOTH(test_limits),   BOTH(test_list_large),
        BOTH(test_order),       BOTH(test_cancel),   BOTH(test_full),
        BOTH(test_changes),     BOTH(test_more),     BOTH(test_model),
        BOTH(test_threads),     BOTH(test_marks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
