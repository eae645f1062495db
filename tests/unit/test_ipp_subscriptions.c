/* SPDX-License-Identifier: Apache-2.0 */
#include "test_store.h"

#include "ipp/ipp_jobs_int.h"
#include "ipp/ipp_subscriptions.h"

#define LEASE UINT64_C(5000)

/* ---- asking and waiting ---- */

static struct {
    unsigned n; /* answers */
    enum err err;
    size_t n_found;
    int32_t ids[IPP_SUBSCRIPTIONS_MAX];
    struct ipp_job made[8]; /* of the first ones; id 0: nothing */
} heard;

static void on_found(void *arg, int32_t id, const struct ipp_job *made)
{
    (void)arg;
    assert_in_range(heard.n_found, 0, IPP_SUBSCRIPTIONS_MAX - 1);
    if (heard.n_found < ARRAY_LEN(heard.made))
        heard.made[heard.n_found] = made ? *made : (struct ipp_job){0};
    heard.ids[heard.n_found++] = id;
}

static void on_done(void *arg, enum err err)
{
    (void)arg;
    heard.n++;
    heard.err = err;
}

static struct ipp_subscriptions_ask ask_of(struct fixture *f)
{
    heard.n = 0;
    heard.n_found = 0;
    return (struct ipp_subscriptions_ask){
        .store = f->store, .loop = f->loop, .found = on_found, .done = on_done};
}

static enum err wait_heard(struct fixture *f)
{
    assert_int_equal(heard.n, 0); /* never inside the call */
    while (!heard.n)
        (void)loop_turn(f->loop, true);
    assert_int_equal(heard.n, 1);
    return heard.err;
}

static enum err find(struct fixture *f, const char *printer, const int32_t *v, size_t n)
{
    struct ipp_subscriptions_ask a = ask_of(f);

    assert_int_equal(ipp_subscriptions_find(&a, printer, v, n), OK);
    return wait_heard(f);
}

static enum err keep(struct fixture *f, const struct ipp_job *made, const int32_t *v, size_t n)
{
    struct ipp_subscriptions_ask a = ask_of(f);

    assert_int_equal(ipp_subscriptions_keep(&a, made, v, n, f->wall_ms + LEASE), OK);
    return wait_heard(f);
}

static enum err forget(struct fixture *f, const char *printer, int32_t id)
{
    struct ipp_subscriptions_ask a = ask_of(f);

    assert_int_equal(ipp_subscriptions_forget(&a, printer, id), OK);
    return wait_heard(f);
}

static bool is_known(struct fixture *f, const char *printer, int32_t id)
{
    assert_int_equal(find(f, printer, &id, 1), OK);
    assert_int_equal(heard.n_found, 1);
    assert_int_equal(heard.ids[0], id);
    return heard.made[0].id != 0;
}

static struct ipp_job made_by(const char *user)
{
    struct ipp_job j = {
        .made = {IPP_CHANNEL_UPGRADED, IPP_USER_DIGEST},
        .printer = "acct",
        .backend = "0123456789abcdef",
        .tenant = "acme",
        .created_wall_ms = NOW,
        .stage = IPP_JOB_INCOMING,
        .saved = SPAN("of a job"),
        .id = 99
    };

    (void)span_copy(span_of(user), j.user, sizeof j.user);
    return j;
}

/* ---- tests ---- */

static void test_keep_and_find(void **state)
{
    static const int32_t some[] = {7, 3, 2147483647}, asked[] = {3, 4, 7, 0, -1, 2147483647, 3};
    static const bool known[] = {true, false, true, false, false, true, true};
    struct fixture *f = *state;
    const struct ipp_job ann = made_by("ann");

    assert_int_equal(keep(f, &ann, some, ARRAY_LEN(some)), OK);
    assert_int_equal(find(f, "acct", asked, ARRAY_LEN(asked)), OK);
    assert_int_equal(heard.n_found, ARRAY_LEN(asked));
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        const struct ipp_job *j = &heard.made[i];

        assert_int_equal(heard.ids[i], asked[i]); /* in their order */
        assert_int_equal(j->id != 0, known[i]);
        if (!known[i])
            continue;
        assert_int_equal(j->id, asked[i]);
        assert_int_equal(j->printer_id, asked[i]);
        assert_int_equal(j->stage, IPP_JOB_PRINTER);
        assert_int_equal(j->made.channel, IPP_CHANNEL_UPGRADED);
        assert_int_equal(j->made.user, IPP_USER_DIGEST);
        assert_string_equal(j->user, "ann");
        assert_string_equal(j->tenant, "acme");
        assert_string_equal(j->backend, "0123456789abcdef");
        assert_int_equal(j->saved.n, 0);
    }
    assert_false(is_known(f, "acc", 7));
    assert_false(is_known(f, "acct2", 7));
    assert_false(is_known(f, "", 7));
}

/* Jobs of the same numbers are others. */
static void test_beside_jobs(void **state)
{
    static const int32_t id = 5;
    struct fixture *f = *state;
    const struct ipp_job ann = made_by("ann");
    const struct ipp_jobs_key key = ipp_jobs_key(id), at = ipp_jobs_printer_key(SPAN("acct"), id);
    struct answer *a = answer_new(), *b = answer_new();
    const struct store_asker by_a = asker(f, a), by_b = asker(f, b);
    struct store_op *op;

    assert_int_equal(keep(f, &ann, &id, 1), OK);
    assert_int_equal(store_get(f->store, IPP_JOBS_SPACE, ipp_jobs_key_span(&key), &by_a, &op), OK);
    assert_int_equal(
        store_get(f->store, IPP_JOBS_AT_PRINTER_SPACE, ipp_jobs_key_span(&at), &by_b, &op), OK);
    assert_int_equal(wait_for(f, a)->err, ERR_MISSING);
    assert_int_equal(wait_for(f, b)->err, ERR_MISSING);
}

static void test_given_anew(void **state)
{
    static const int32_t id = 5;
    struct fixture *f = *state;
    const struct ipp_job ann = made_by("ann"), bob = made_by("bob");

    assert_int_equal(keep(f, &ann, &id, 1), OK);
    assert_int_equal(keep(f, &bob, &id, 1), OK);
    assert_true(is_known(f, "acct", id));
    assert_string_equal(heard.made[0].user, "bob");
}

static void test_forget(void **state)
{
    static const int32_t two[] = {5, 6};
    struct fixture *f = *state;
    const struct ipp_job ann = made_by("ann");

    assert_int_equal(keep(f, &ann, two, 2), OK);
    assert_int_equal(forget(f, "acct", 5), OK);
    assert_int_equal(forget(f, "acct", 5), OK);
    assert_int_equal(forget(f, "other", 6), OK);
    assert_false(is_known(f, "acct", 5));
    assert_true(is_known(f, "acct", 6));
}

static void test_expires(void **state)
{
    static const int32_t id = 5;
    struct fixture *f = *state;
    const struct ipp_job ann = made_by("ann");

    assert_int_equal(keep(f, &ann, &id, 1), OK);
    f->wall_ms = NOW + LEASE - 1;
    assert_true(is_known(f, "acct", id));
    assert_int_equal(keep(f, &ann, &id, 1), OK); /* as when it is renewed */
    f->wall_ms = NOW + 2 * LEASE - 2;
    assert_true(is_known(f, "acct", id));
    f->wall_ms = NOW + 2 * LEASE;
    assert_false(is_known(f, "acct", id));
}

static void test_limits(void **state)
{
    static const char longer[] =
        "12345678901234567890123456789012345678901234567890123456789012345";
    static int32_t ids[IPP_SUBSCRIPTIONS_MAX + 1];
    struct fixture *f = *state;
    struct ipp_subscriptions_ask a = ask_of(f);
    const struct ipp_job ann = made_by("ann");

    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ids[i] = (int32_t)i + 1;
    assert_int_equal(ipp_subscriptions_find(&a, "acct", ids, 0), ERR_LIMIT);
    assert_int_equal(ipp_subscriptions_find(&a, "acct", ids, ARRAY_LEN(ids)), ERR_LIMIT);
    assert_int_equal(ipp_subscriptions_find(&a, longer, ids, 1), ERR_LIMIT);
    assert_int_equal(ipp_subscriptions_forget(&a, longer, 1), ERR_LIMIT);
    assert_int_equal(ipp_subscriptions_keep(&a, &ann, ids, 0, 0), ERR_LIMIT);
    assert_int_equal(ipp_subscriptions_keep(&a, &ann, ids, ARRAY_LEN(ids), 0), ERR_LIMIT);
    assert_int_equal(heard.n, 0);
    assert_int_equal(keep(f, &ann, ids, 20), OK);
    assert_int_equal(find(f, "acct", ids, IPP_SUBSCRIPTIONS_MAX), OK);
    assert_int_equal(heard.n_found, IPP_SUBSCRIPTIONS_MAX);
    assert_int_equal(heard.ids[IPP_SUBSCRIPTIONS_MAX - 1], IPP_SUBSCRIPTIONS_MAX);
}

/* What cannot be read is nothing: nobody gets at it. */
static void test_illegible(void **state)
{
    static const char *const texts[] = {"", "{}", "x"};
    static const int32_t six = 6;
    struct fixture *f = *state;
    const struct ipp_job ann = made_by("ann");
    const struct ipp_jobs_key five = ipp_jobs_printer_key(SPAN("acct"), 5),
                              other = ipp_jobs_printer_key(SPAN("acct"), 7),
                              elsewhere = ipp_jobs_printer_key(SPAN("other"), 6);
    struct answer *of_six = answer_new();
    const struct store_asker by_six = asker(f, of_six);
    const struct ipp_jobs_key key = ipp_jobs_printer_key(SPAN("acct"), six);
    struct store_op *op;

    assert_int_equal(keep(f, &ann, &six, 1), OK);
    assert_int_equal(
        store_get(f->store, IPP_SUBSCRIPTIONS_SPACE, ipp_jobs_key_span(&key), &by_six, &op), OK);
    (void)wait_for(f, of_six);
    const struct {
        const struct ipp_jobs_key *key;
        const char *text, *printer;
        int32_t id;
    } rows[] = {
        {&five,      texts[0],      "acct",  5},
        {&five,      texts[1],      "acct",  5},
        {&five,      texts[2],      "acct",  5},
        {&other,     of_six->value, "acct",  7}, /* another one's record */
        {&elsewhere, of_six->value, "other", 6}, /* another printer's */
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct answer *a = answer_new();
        const struct store_asker by = asker(f, a);
        const struct store_put p = {.key = ipp_jobs_key_span(rows[i].key),
                                    .value = span_of(rows[i].text),
                                    .version = STORE_ANY};

        assert_int_equal(store_put(f->store, IPP_SUBSCRIPTIONS_SPACE, &p, &by, &op), OK);
        assert_int_equal(wait_for(f, a)->err, OK);
        assert_false(is_known(f, rows[i].printer, rows[i].id));
    }
    assert_true(is_known(f, "acct", six));
}

/* Some of what was to be kept may be, and is whole then. */
static void test_no_memory(void **state)
{
    static const int32_t three[] = {1, 2, 3};
    struct fixture *f = *state;
    const struct ipp_job ann = made_by("ann");
    enum err e = ERR_NOMEM;
    unsigned n = 0;

    while (e == ERR_NOMEM && ++n < 100) {
        struct ipp_subscriptions_ask a = ask_of(f);

        mem_fail_after(n);
        e = ipp_subscriptions_keep(&a, &ann, three, 3, NOW + LEASE);
        if (!e)
            e = wait_heard(f);
        mem_fail_after(0);
    }
    assert_int_equal(e, OK);
    assert_in_range(n, 4, 99);
    e = ERR_NOMEM;
    for (n = 0; e == ERR_NOMEM && ++n < 100;) {
        struct ipp_subscriptions_ask a = ask_of(f);

        mem_fail_after(n);
        e = ipp_subscriptions_find(&a, "acct", three, 3);
        if (!e)
            e = wait_heard(f);
        mem_fail_after(0);
    }
    assert_int_equal(e, OK);
    assert_int_equal(heard.n_found, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(heard.made[i].id, three[i]);
}

static void test_full(void **state)
{
    static int32_t ids[IPP_SUBSCRIPTIONS_MAX];
    struct fixture *f = *state;
    struct ipp_job ann = made_by("ann");
    enum err e = OK;

    memset(ann.name, 'x', sizeof ann.name - 1);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ids[i] = (int32_t)i + 1;
    for (unsigned i = 0; e == OK && i < 100; i++) {
        (void)snprintf(ann.printer, sizeof ann.printer, "p%u", i);
        e = keep(f, &ann, ids, ARRAY_LEN(ids));
    }
    assert_int_equal(e, ERR_FULL);
}

static void step(struct fixture *f)
{
    struct answer *a = answer_new();
    const struct store_asker by = asker(f, a);
    struct store_op *op;

    assert_int_equal(store_get(f->store, SPACE, SPAN("none"), &by, &op), OK);
    (void)wait_for(f, a);
}

static void test_cancel(void **state)
{
    static const int32_t three[] = {1, 2, 3};
    struct fixture *f = *state;
    const struct ipp_job ann = made_by("ann");

    for (unsigned i = 0; i < 3 * 6; i++) {
        struct ipp_subscriptions_ask a = ask_of(f);
        enum err e = OK;

        switch (i % 3) {
        case 0: e = ipp_subscriptions_keep(&a, &ann, three, 3, NOW + LEASE); break;
        case 1: e = ipp_subscriptions_find(&a, "acct", three, 3); break;
        default: e = ipp_subscriptions_forget(&a, "acct", 2);
        }
        assert_int_equal(e, OK);
        for (unsigned k = 0; k < i / 3; k++)
            step(f);
        unsigned n = heard.n;
        size_t found = heard.n_found;

        ipp_subscriptions_cancel(&a);
        step(f);
        assert_int_equal(heard.n, n);
        assert_int_equal(heard.n_found, found);
        ipp_subscriptions_cancel(&a);
    }
}

/* Too much waits, and then the store is freed. */
static void test_store_ends(void **state)
{
    static const int32_t two[] = {1, 2};
    struct fixture *f = *state;
    const struct ipp_job ann = made_by("ann");
    struct answer *none = answer_new();
    const struct store_asker by = asker(f, none);
    struct store_op *op;

    for (unsigned i = 0; i < 3; i++) {
        store_free(f->store);
        f->store = store_open(f, ROOM); /* not started: everything waits */
        struct ipp_subscriptions_ask a = ask_of(f), late = ask_of(f);
        enum err e = i == 0   ? ipp_subscriptions_find(&a, "acct", two, 2)
                     : i == 1 ? ipp_subscriptions_keep(&a, &ann, two, 2, 0)
                              : ipp_subscriptions_forget(&a, "acct", 1);

        assert_int_equal(e, OK);
        while (store_get(f->store, SPACE, SPAN("a"), &by, &op) == OK)
            store_cancel(op);
        assert_int_equal(ipp_subscriptions_find(&late, "acct", two, 1), ERR_BUSY);
        assert_int_equal(ipp_subscriptions_keep(&late, &ann, two, 1, 0), ERR_BUSY);
        assert_int_equal(ipp_subscriptions_forget(&late, "acct", 1), ERR_BUSY);
        store_free(f->store);
        assert_int_equal(wait_heard(f), ERR_ABORTED);
        assert_int_equal(heard.n_found, 0);
        f->store = store_open(f, ROOM);
    }
}

int main(void)
{
    static const enum kind kinds[] = {[MEMORY] = MEMORY, [LMDB] = LMDB};
    const struct CMUnitTest tests[] = {
        BOTH(test_keep_and_find),
        BOTH(test_beside_jobs),
        BOTH(test_given_anew),
        BOTH(test_forget),
        BOTH(test_expires),
        BOTH(test_limits),
        BOTH(test_illegible),
        BOTH(test_no_memory),
        BOTH(test_full),
        BOTH(test_cancel),
        ROW(LMDB, "lmdb", test_store_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
