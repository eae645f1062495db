/* SPDX-License-Identifier: Apache-2.0 */
/* Walks through the book of jobs, on either store. */
#include "test_ipp_jobs.h"

struct told {
    unsigned times;
    enum err err;
    size_t n;
    struct ipp_job jobs[IPP_JOBS_LIST_MAX];
};

static struct told told;

static void on_told(void *arg, enum err err, const struct ipp_job *v, size_t n)
{
    struct told *t = arg;

    t->times++;
    t->err = err;
    t->n = n;
    assert_int_equal(v == NULL, err != OK);
    assert_true(n == 0 || !err);
    if (n)
        memcpy(t->jobs, v, n * sizeof *v);
}

static struct ipp_jobs_list list_of(struct fixture *f)
{
    told.times = 0;
    return (struct ipp_jobs_list){
        .set = settings(f), .loop = f->loop, .done = on_told, .arg = &told};
}

static enum err wait_told(struct fixture *f)
{
    assert_int_equal(told.times, 0);
    while (!told.times)
        (void)loop_turn(f->loop, true);
    assert_int_equal(told.times, 1);
    return told.err;
}

static enum err find_all(struct fixture *f, const char *printer, const int32_t *v, size_t n)
{
    struct ipp_jobs_list l = list_of(f);

    assert_int_equal(ipp_jobs_find_all(&l, span_of(printer), v, n), OK);
    return wait_told(f);
}

static enum err all(struct fixture *f, const char *only, size_t max)
{
    struct ipp_jobs_list l = list_of(f);

    assert_int_equal(ipp_jobs_all(&l, only, max), OK);
    return wait_told(f);
}

static void assert_told(const int32_t *ids, size_t n)
{
    assert_int_equal(told.n, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(told.jobs[i].id, ids[i]);
}

static void on_filled(void *arg, enum err err, const struct ipp_job *job)
{
    int32_t *id = arg;

    assert_int_equal(err, OK);
    assert_int_equal(job->id, *id);
    *id = 0;
}

/* |n| jobs, in turn of the printers "a" and "b", with numbers there from 101 on. All at once: a
 * disk makes each wait. */
static void fill(struct fixture *f, int32_t n)
{
    static struct ipp_jobs_ask asks[150];
    static int32_t ids[ARRAY_LEN(asks)];

    assert_in_range(n, 1, ARRAY_LEN(asks));
    for (int32_t i = 0; i < n; i++) {
        struct ipp_job j = {.printer_id = 101 + i, .stage = IPP_JOB_PRINTER, .user = "ann"};

        j.printer[0] = i % 2 ? 'b' : 'a';
        ids[i] = i + 1;
        asks[i] = ask_of(f);
        asks[i].done = on_filled;
        asks[i].arg = &ids[i];
        assert_int_equal(ipp_jobs_add(&asks[i], &j), OK);
    }
    for (int32_t i = 0; i < n; i++)
        while (ids[i])
            (void)loop_turn(f->loop, true);
}

/* ---- by the printer's numbers ---- */

static void test_find_all(void **state)
{
    static const int32_t ask[] = {101, 999, 103, 102, 0, 101, -5, 105};
    static const int32_t want[] = {1, 0, 3, 0, 0, 1, 0, 5};
    struct fixture *f = *state;

    fill(f, 6);
    assert_int_equal(find_all(f, "a", ask, ARRAY_LEN(ask)), OK);
    assert_told(want, ARRAY_LEN(want));
    assert_string_equal(told.jobs[0].user, "ann");
    assert_true(told.jobs[0].version != 0);
    assert_int_equal(find_all(f, "c", ask, ARRAY_LEN(ask)), OK);
    for (size_t i = 0; i < ARRAY_LEN(ask); i++)
        assert_int_equal(told.jobs[i].id, 0);
    assert_int_equal(find_all(f, "a", ask, 0), OK);
    assert_int_equal(told.n, 0);
}

/* More than are on their way at once, to the limit. */
static void test_find_many(void **state)
{
    static int32_t ask[IPP_JOBS_LIST_MAX + 1];
    struct fixture *f = *state;
    struct ipp_jobs_list l = list_of(f);

    fill(f, 50);
    for (size_t i = 0; i < ARRAY_LEN(ask); i++)
        ask[i] = 100 + (int32_t)i;
    assert_int_equal(find_all(f, "b", ask, IPP_JOBS_LIST_MAX), OK);
    assert_int_equal(told.n, IPP_JOBS_LIST_MAX);
    for (size_t i = 0; i < IPP_JOBS_LIST_MAX; i++)
        assert_int_equal(told.jobs[i].id, i > 0 && i <= 50 && i % 2 == 0 ? i : 0);
    assert_int_equal(ipp_jobs_find_all(&l, SPAN("b"), ask, IPP_JOBS_LIST_MAX + 1), ERR_LIMIT);
}

/* One that is damaged, or left over, is not there, and hides no others. */
static void test_find_all_left_over(void **state)
{
    static const int32_t ask[] = {101, 103, 105, 107, 109}, want[] = {0, 0, 0, 0, 9};
    struct fixture *f = *state;
    struct ipp_jobs_key one = ipp_jobs_key(1), at3 = ipp_jobs_printer_key(SPAN("a"), 103),
                        at5 = ipp_jobs_printer_key(SPAN("a"), 105),
                        at7 = ipp_jobs_printer_key(SPAN("a"), 107);

    fill(f, 9);
    write_raw(f, IPP_JOBS_SPACE, &one, "{}");
    write_raw(f, IPP_JOBS_AT_PRINTER_SPACE, &at3, "x");
    write_raw(f, IPP_JOBS_AT_PRINTER_SPACE, &at5, "4");
    write_raw(f, IPP_JOBS_AT_PRINTER_SPACE, &at7, "77");
    assert_int_equal(find_all(f, "a", ask, ARRAY_LEN(ask)), OK);
    assert_told(want, ARRAY_LEN(want));
}

/* ---- all ---- */

static void test_all(void **state)
{
    static const int32_t every[] = {7, 6, 5, 4, 3, 2, 1}, of_a[] = {7, 5, 3, 1};
    struct fixture *f = *state;

    assert_int_equal(all(f, NULL, 10), OK);
    assert_int_equal(told.n, 0);
    fill(f, 7);
    assert_int_equal(all(f, NULL, 10), OK);
    assert_told(every, 7);
    assert_int_equal(all(f, NULL, 7), OK);
    assert_told(every, 7);
    assert_int_equal(all(f, NULL, 3), OK);
    assert_told(every, 3);
    assert_int_equal(all(f, "a", 10), OK);
    assert_told(of_a, 4);
    assert_int_equal(all(f, "a", 2), OK);
    assert_told(of_a, 2);
    assert_int_equal(all(f, "c", IPP_JOBS_LIST_MAX), OK);
    assert_int_equal(told.n, 0);
    assert_int_equal(all(f, "", 10), OK);
    assert_int_equal(told.n, 0);
}

/* Over several pages; one record that nobody can read is in each. */
static void test_all_pages(void **state)
{
    struct fixture *f = *state;
    size_t n = 0;

    fill(f, 150);
    for (int32_t id = 40; id <= 140; id += 50) {
        struct ipp_jobs_key key = ipp_jobs_key(id);

        write_raw(f, IPP_JOBS_SPACE, &key, "damaged");
    }
    assert_int_equal(all(f, NULL, IPP_JOBS_LIST_MAX), OK);
    assert_int_equal(told.n, 147);
    for (int32_t id = 150; id > 0; id--)
        if (id != 40 && id != 90 && id != 140)
            assert_int_equal(told.jobs[n++].id, id);
    assert_int_equal(all(f, NULL, 140), OK);
    assert_int_equal(told.n, 140);
    assert_int_equal(told.jobs[139].id, 8);
    assert_int_equal(all(f, "b", 70), OK);
    assert_int_equal(told.n, 70);
    assert_int_equal(told.jobs[69].id, 6);
    assert_int_equal(all(f, "a", 80), OK);
    assert_int_equal(told.n, 75);
}

/* Pages that are full before they have as many as asked for, and values that lists have no use
 * for. */
static void test_all_large(void **state)
{
    static char bytes[IPP_JOB_SAVED_MAX];
    struct fixture *f = *state;
    const struct ipp_job j = {
        .printer = "a", .until_wall_ms = NOW + 1000, .saved = {bytes, sizeof bytes}
    };

    for (unsigned i = 0; i < 50; i++)
        (void)add_job(f, &j);
    assert_int_equal(all(f, NULL, 100), OK);
    assert_int_equal(told.n, 50);
    for (size_t i = 0; i < 50; i++) {
        assert_int_equal(told.jobs[i].id, 50 - i);
        assert_int_equal(told.jobs[i].stage, IPP_JOB_INCOMING);
        assert_int_equal(told.jobs[i].saved.n, 0);
    }
    f->wall_ms = NOW + 1000;
    assert_int_equal(all(f, NULL, 100), OK);
    assert_int_equal(told.jobs[0].stage, IPP_JOB_ABORTED);
    f->wall_ms = NOW + RETENTION;
    assert_int_equal(all(f, NULL, 100), OK);
    assert_int_equal(told.n, 0);
}

/* ---- refusals, ends ---- */

static void test_refused(void **state)
{
    static const char longer[] =
        "12345678901234567890123456789012345678901234567890123456789012345";
    static const int32_t ask[] = {1};
    struct fixture *f = *state;
    struct ipp_jobs_list l = list_of(f);

    assert_int_equal(ipp_jobs_all(&l, NULL, 0), ERR_LIMIT);
    assert_int_equal(ipp_jobs_all(&l, "a", 0), ERR_LIMIT);
    assert_int_equal(ipp_jobs_all(&l, NULL, IPP_JOBS_LIST_MAX + 1), ERR_LIMIT);
    assert_int_equal(ipp_jobs_all(&l, longer, 1), ERR_LIMIT);
    assert_int_equal(ipp_jobs_find_all(&l, span_of(longer), ask, 1), ERR_LIMIT);
    step(f);
    assert_int_equal(told.times, 0);
    assert_null(l.walk);
}

static void test_no_memory(void **state)
{
    static const int32_t ask[] = {101, 103};
    struct fixture *f = *state;

    fill(f, 4);
    for (unsigned n = 1; n <= 2; n++) { /* the walk, its jobs */
        struct ipp_jobs_list l = list_of(f);

        mem_fail_after(n);
        assert_int_equal(ipp_jobs_all(&l, NULL, 10), ERR_NOMEM);
        mem_fail_after(n);
        assert_int_equal(ipp_jobs_find_all(&l, SPAN("a"), ask, 2), ERR_NOMEM);
        mem_fail_after(0);
        assert_null(l.walk);
    }
    if (f->kind != MEMORY)
        return;
    /* The store's own answers fail, in turn. */
    for (unsigned n = 3; n < 6; n++) {
        struct ipp_jobs_list l = list_of(f);

        mem_fail_after(n);
        assert_int_equal(ipp_jobs_find_all(&l, SPAN("a"), ask, 2), OK);
        assert_int_equal(wait_told(f), ERR_NOMEM);
        mem_fail_after(0);
        assert_null(l.walk);
    }
    struct ipp_jobs_list l = list_of(f);

    mem_fail_after(3);
    assert_int_equal(ipp_jobs_all(&l, NULL, 10), OK);
    assert_int_equal(wait_told(f), ERR_NOMEM);
    mem_fail_after(0);
}

static void test_cancel(void **state)
{
    static int32_t ask[60];
    struct fixture *f = *state;

    fill(f, 150);
    for (size_t i = 0; i < ARRAY_LEN(ask); i++)
        ask[i] = 101 + (int32_t)i;
    for (unsigned i = 0; i < 3 * 12; i++) {
        struct ipp_jobs_list l = list_of(f);

        if (i % 3 == 0)
            assert_int_equal(ipp_jobs_all(&l, "a", IPP_JOBS_LIST_MAX), OK);
        else
            assert_int_equal(ipp_jobs_find_all(&l, SPAN("a"), ask, i % 3 == 1 ? ARRAY_LEN(ask) : 0),
                             OK);
        for (unsigned k = 0; k < i / 3; k++)
            step(f);
        unsigned times = told.times;

        ipp_jobs_list_cancel(&l);
        ipp_jobs_list_cancel(&l);
        step(f);
        step(f);
        assert_int_equal(told.times, times);
        if (i < 3)
            assert_int_equal(times, 0);
        if (i >= 3 * 11)
            assert_int_equal(times, 1);
    }
}

/* Whoever is answered may ask anew with the same list, and free it. */
struct again {
    struct ipp_jobs_list list;
    unsigned n;
};

static void on_again(void *arg, enum err err, const struct ipp_job *v, size_t n)
{
    static const int32_t ask[] = {101};
    struct again *g = arg;

    assert_int_equal(err, OK);
    switch (g->n++) {
    case 0:
        assert_int_equal(n, 3);
        assert_int_equal(ipp_jobs_find_all(&g->list, SPAN("a"), ask, 1), OK);
        assert_int_equal(v[2].id, 1); /* still ours */
        return;
    case 1:
        assert_int_equal(n, 1);
        assert_int_equal(ipp_jobs_find_all(&g->list, SPAN("a"), ask, 0), OK);
        return;
    default:
        assert_int_equal(n, 0);
        free(g);
        told.times = 1;
    }
}

static void test_ask_again(void **state)
{
    struct fixture *f = *state;
    struct again *g = calloc(1, sizeof *g);

    assert_non_null(g);
    fill(f, 3);
    g->list = list_of(f);
    g->list.done = on_again;
    g->list.arg = g;
    assert_int_equal(ipp_jobs_all(&g->list, NULL, 10), OK);
    while (!told.times)
        (void)loop_turn(f->loop, true);
}

/* Too much waits, and then the store is freed. */
static void test_store_ends(void **state)
{
    static const int32_t ask[] = {1, 2, 3};
    struct fixture *f = *state;
    struct ipp_jobs_list l, late;
    struct answer *none = answer_new();
    const struct store_asker by = asker(f, none);
    struct store_op *op;

    for (unsigned i = 0; i < 2; i++) {
        store_free(f->store);
        f->store = store_open(f, ROOM); /* not started: everything waits */
        l = late = list_of(f);
        assert_int_equal(i ? ipp_jobs_all(&l, NULL, 9) : ipp_jobs_find_all(&l, SPAN("a"), ask, 3),
                         OK);
        for (unsigned k = i ? 1 : 3; k < 4096 - 2; k++) {
            assert_int_equal(store_get(f->store, SPACE, SPAN("a"), &by, &op), OK);
            store_cancel(op);
        }
        assert_int_equal(ipp_jobs_find_all(&late, SPAN("a"), ask, 3), ERR_BUSY); /* of two */
        assert_null(late.walk);
        assert_int_equal(ipp_jobs_all(&late, NULL, 9), ERR_BUSY);
        assert_null(late.walk);
        store_free(f->store);
        assert_int_equal(wait_told(f), ERR_ABORTED);
        assert_null(l.walk);
        f->store = store_open(f, ROOM);
    }
}

int main(void)
{
    static const enum kind kinds[] = {[MEMORY] = MEMORY, [LMDB] = LMDB};
    const struct CMUnitTest tests[] = {
        BOTH(test_find_all),
        BOTH(test_find_many),
        BOTH(test_find_all_left_over),
        BOTH(test_all),
        BOTH(test_all_pages),
        BOTH(test_all_large),
        BOTH(test_refused),
        BOTH(test_no_memory),
        BOTH(test_cancel),
        BOTH(test_ask_again),
        ROW(LMDB, "lmdb", test_store_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
