/* SPDX-License-Identifier: Apache-2.0 */
/* The book of jobs, on either store. */
#include "test_ipp_jobs.h"

#include "store/store_int.h"

/* ---- one job ---- */

static void test_add_get_find(void **state)
{
    struct fixture *f = *state;
    struct ipp_job j = {.version = 7,
                        .printer = "acct",
                        .stage = IPP_JOB_INCOMING,
                        .until_wall_ms = NOW + 1000,
                        .name = "\xff"
                                "a",
                        .saved = SPAN("attributes")};
    struct ipp_job added = add_job(f, &j);

    assert_int_equal(added.id, 1);
    assert_true(added.version != 0 && added.version != 7);
    assert_string_equal(added.name, "\xef\xbf\xbd"
                                    "a");
    assert_true(span_eq(heard.job.saved, SPAN("attributes")));
    assert_int_equal(get_job(f, 1), OK);
    assert_int_equal(heard.job.version, added.version);
    assert_string_equal(heard.job.printer, "acct");
    assert_true(span_eq(heard.job.saved, SPAN("attributes")));
    assert_int_equal(find_job(f, "acct", 0), ERR_MISSING);

    j = at_printer(f, "acct", 5);
    assert_int_equal(j.id, 2);
    assert_int_equal(find_job(f, "acct", 5), OK);
    assert_int_equal(heard.job.id, 2);
    assert_int_equal(heard.job.version, j.version);
    assert_string_equal(heard.job.user, "ann");
}

static void test_missing(void **state)
{
    static const int32_t ids[] = {2, 0, -1, INT32_MIN, INT32_MAX};
    struct fixture *f = *state;

    (void)at_printer(f, "acct", 5);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        assert_int_equal(get_job(f, ids[i]), ERR_MISSING);
        assert_int_equal(find_job(f, "acct", ids[i]), ERR_MISSING);
    }
    assert_int_equal(find_job(f, "acc", 5), ERR_MISSING);
    assert_int_equal(find_job(f, "acct2", 5), ERR_MISSING);
    assert_int_equal(find_job(f, "", 5), ERR_MISSING);
}

static void test_put(void **state)
{
    struct fixture *f = *state;
    struct ipp_job j = {.printer = "acct", .until_wall_ms = NOW + 1000, .saved = SPAN("x")};
    struct ipp_job first = add_job(f, &j);

    j = first;
    j.stage = IPP_JOB_PRINTER;
    j.printer_id = 8;
    j.documents = 3;
    assert_int_equal(put_job(f, &j), OK);
    assert_int_equal(heard.job.id, 1);
    assert_int_equal(heard.job.documents, 3);
    assert_int_equal(heard.job.saved.n, 0); /* not kept any longer */
    assert_true(heard.job.version != first.version);
    struct ipp_job second = heard.job;

    assert_int_equal(find_job(f, "acct", 8), OK);
    assert_int_equal(heard.job.version, second.version);
    assert_int_equal(put_job(f, &j), ERR_CONFLICT); /* of the first */
    assert_int_equal(put_job(f, &second), OK);
    second.version = heard.job.version;
    second.id = 2;
    assert_int_equal(put_job(f, &second), ERR_MISSING);
    second.id = 1;
    second.printer_id = 9; /* it moved there */
    assert_int_equal(put_job(f, &second), OK);
    assert_int_equal(find_job(f, "acct", 8), ERR_MISSING);
    assert_int_equal(find_job(f, "acct", 9), OK);
}

static void test_settled(void **state)
{
    struct fixture *f = *state;
    struct ipp_job j = {.printer = "acct", .printer_id = 4, .stage = IPP_JOB_SCANNING};

    j.until_wall_ms = NOW + 1000;
    j = add_job(f, &j);
    assert_int_equal(j.stage, IPP_JOB_SCANNING);
    f->wall_ms = NOW + 1000;
    assert_int_equal(get_job(f, 1), OK);
    assert_int_equal(heard.job.stage, IPP_JOB_ABORTED);
    assert_int_equal(heard.job.ended_wall_ms, NOW + 1000);
    assert_string_equal(heard.job.reason, "aborted-by-system");
    assert_int_equal(find_job(f, "acct", 4), OK);
    assert_int_equal(heard.job.stage, IPP_JOB_ABORTED);
    assert_int_equal(put_job(f, &j), OK);
    assert_int_equal(heard.job.stage, IPP_JOB_ABORTED);
}

static void test_refused(void **state)
{
    static char bytes[IPP_JOB_SAVED_MAX + 1];
    struct fixture *f = *state;
    struct ipp_jobs_ask a = ask_of(f);
    const struct ipp_job good = {.id = 1, .version = 1, .printer = "p"};
    struct ipp_job bad[9];

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        bad[i] = good;
    bad[0].saved = (struct span){bytes, sizeof bytes};
    bad[1].printer[0] = '\0';
    bad[2].printer_id = -1;
    bad[3].stage = (enum ipp_job_stage)(IPP_JOB_CANCELED + 1);
    bad[4].made.channel = (enum ipp_channel)(IPP_CHANNEL_IMPLICIT + 1);
    bad[5].made.user = (enum ipp_user)(IPP_USER_CERTIFICATE + 1);
    bad[6].id = 0; /* of put alone from here on */
    bad[7].version = 0;
    bad[8].version = STORE_ANY;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(ipp_jobs_put(&a, &bad[i]), ERR_LIMIT);
        if (i < 6)
            assert_int_equal(ipp_jobs_add(&a, &bad[i]), ERR_LIMIT);
    }
    assert_int_equal(get_job(f, 1), ERR_MISSING);
    assert_int_equal(heard.n, 1);
    bad[0].saved.n--;
    assert_int_equal(ipp_jobs_add(&a, &bad[0]), OK);
    heard.n = 0;
    assert_int_equal(wait_heard(f), OK);
}

/* ---- numbers at the printer ---- */

/* The printer began anew: its number is the new job's, and stays it, whatever the old one does. */
static void test_taken_over(void **state)
{
    struct fixture *f = *state;
    struct ipp_job old = at_printer(f, "acct", 5), new = at_printer(f, "acct", 5);

    assert_int_equal(find_job(f, "acct", 5), OK);
    assert_int_equal(heard.job.id, new.id);
    assert_int_equal(get_job(f, new.id), OK);
    assert_int_equal(get_job(f, old.id), ERR_MISSING);
    old.documents++;
    assert_int_equal(put_job(f, &old), OK);
    old = heard.job;
    assert_int_equal(find_job(f, "acct", 5), OK);
    assert_int_equal(heard.job.id, new.id);
    old.printer_id = 6; /* it is new again */
    assert_int_equal(put_job(f, &old), OK);
    old = heard.job;
    old.printer_id = 5;
    assert_int_equal(put_job(f, &old), OK);
    assert_int_equal(find_job(f, "acct", 5), OK);
    assert_int_equal(heard.job.id, old.id);
    assert_int_equal(get_job(f, old.id), OK);
    assert_int_equal(get_job(f, new.id), ERR_MISSING);
    assert_int_equal(find_job(f, "acct", 6), ERR_MISSING);
}

/* Who is too late with what he knows takes nothing. */
static void test_taken_by_nobody(void **state)
{
    struct fixture *f = *state;
    const struct ipp_job j = {.printer = "acct", .stage = IPP_JOB_PRINTER};
    struct ipp_job old = at_printer(f, "acct", 5), new = add_job(f, &j);

    assert_int_equal(put_job(f, &new), OK);
    new.printer_id = 5;
    assert_int_equal(put_job(f, &new), ERR_CONFLICT);
    assert_int_equal(find_job(f, "acct", 5), OK);
    assert_int_equal(heard.job.id, old.id);
}

/* The number is taken over while the old job's own change is on its way. */
static void test_taken_over_meanwhile(void **state)
{
    struct fixture *f = *state;
    const struct ipp_job j = {.printer = "acct", .stage = IPP_JOB_PRINTER};
    struct ipp_job old = at_printer(f, "acct", 5), new = add_job(f, &j);
    struct ipp_jobs_ask a = ask_of(f), b = ask_of(f);
    static struct heard first;

    memset(&first, 0, sizeof first);
    a.arg = &first;
    new.printer_id = 5;
    assert_int_equal(ipp_jobs_put(&a, &old), OK);
    assert_int_equal(ipp_jobs_put(&b, &new), OK); /* and both go on in turn */
    while (!first.n || !heard.n)
        (void)loop_turn(f->loop, true);
    assert_int_equal(first.err, OK);
    assert_int_equal(heard.err, OK);
    assert_int_equal(find_job(f, "acct", 5), OK);
    assert_int_equal(heard.job.id, new.id);
}

/* Somebody took an entry out of the store: the next change brings it back. */
static void test_entry_lost(void **state)
{
    struct fixture *f = *state;
    struct ipp_job j = at_printer(f, "acct", 5);
    struct ipp_jobs_key key = ipp_jobs_printer_key(SPAN("acct"), 5);
    struct answer *a = answer_new();
    const struct store_asker by = asker(f, a);

    assert_int_equal(store_del(f->store, IPP_JOBS_AT_PRINTER_SPACE, ipp_jobs_key_span(&key),
                               STORE_ANY, &by, NULL),
                     OK);
    assert_int_equal(wait_for(f, a)->err, OK);
    assert_int_equal(get_job(f, j.id), ERR_MISSING);
    assert_int_equal(find_job(f, "acct", 5), ERR_MISSING);
    assert_int_equal(put_job(f, &j), OK);
    assert_int_equal(get_job(f, j.id), OK);
    assert_int_equal(find_job(f, "acct", 5), OK);
}

/* Jobs of other printers with the same number are other jobs. */
static void test_two_printers(void **state)
{
    struct fixture *f = *state;
    struct ipp_job a = at_printer(f, "a", 5), b = at_printer(f, "b", 5);

    assert_int_equal(find_job(f, "a", 5), OK);
    assert_int_equal(heard.job.id, a.id);
    b.printer_id = 6;
    assert_int_equal(put_job(f, &b), OK);
    assert_int_equal(find_job(f, "a", 5), OK);
    assert_int_equal(find_job(f, "b", 5), ERR_MISSING);
}

static void test_expiry(void **state)
{
    struct fixture *f = *state;
    struct ipp_job j = at_printer(f, "acct", 5);

    f->wall_ms = NOW + RETENTION - 1;
    assert_int_equal(put_job(f, &j), OK); /* which prolongs both */
    f->wall_ms = NOW + 2 * RETENTION - 2;
    assert_int_equal(get_job(f, j.id), OK);
    assert_int_equal(find_job(f, "acct", 5), OK);
    f->wall_ms++;
    assert_int_equal(get_job(f, j.id), ERR_MISSING);
    assert_int_equal(find_job(f, "acct", 5), ERR_MISSING);
    assert_int_equal(at_printer(f, "acct", 5).id, 2); /* numbers go on */
}

/* What only waits for its document is not kept as long as what was printed. */
static void test_expiry_of_incoming(void **state)
{
    struct fixture *f = *state;
    struct ipp_job j = {.printer = "acct",
                        .stage = IPP_JOB_INCOMING,
                        .until_wall_ms = NOW + 1000,
                        .saved = SPAN("attributes")};
    struct ipp_job dead = add_job(f, &j), late = add_job(f, &j);

    f->wall_ms = NOW + 1000 + INCOMING - 1;
    assert_int_equal(get_job(f, dead.id), OK);
    assert_int_equal(heard.job.stage, IPP_JOB_ABORTED);
    late.stage = IPP_JOB_PRINTER; /* its document was on its way by then */
    late.printer_id = 5;
    assert_int_equal(put_job(f, &late), OK);
    f->wall_ms++;
    assert_int_equal(get_job(f, dead.id), ERR_MISSING);
    f->wall_ms = NOW + RETENTION;
    assert_int_equal(get_job(f, late.id), OK);
    assert_int_equal(find_job(f, "acct", 5), OK);
}

/* Never later than others. */
static void test_expiry_of_long_incoming(void **state)
{
    struct fixture *f = *state;
    struct ipp_job j = {
        .printer = "acct", .stage = IPP_JOB_INCOMING, .until_wall_ms = NOW + 2 * RETENTION};

    j = add_job(f, &j);
    f->wall_ms = NOW + RETENTION;
    assert_int_equal(get_job(f, j.id), ERR_MISSING);
}

static void test_opening(void **state)
{
    static struct ipp_jobs_numbers n;
    const struct ipp_jobs_opening a = {.client = 1, .max = 3, .for_ms = 3000},
                                  b = {.client = 2, .max = 3, .for_ms = 3000};

    (void)state;
    n = (struct ipp_jobs_numbers){0};
    for (unsigned i = 0; i < 3; i++)
        assert_true(ipp_jobs_open(&n, &a, 50000));
    assert_false(ipp_jobs_open(&n, &a, 50000));
    assert_true(ipp_jobs_open(&n, &b, 50000));
    ipp_jobs_opened(&n, &a);
    assert_true(ipp_jobs_open(&n, &a, 50000));
    assert_false(ipp_jobs_open(&n, &a, 50900));
    assert_true(ipp_jobs_open(&n, &a, 51100)); /* one of them is over */
    assert_false(ipp_jobs_open(&n, &a, 51100));
    for (unsigned i = 0; i < 100; i++)
        ipp_jobs_opened(&n, &b); /* never more than at the beginning */
    for (unsigned i = 0; i < 3; i++)
        assert_true(ipp_jobs_open(&n, &b, 60000));
    assert_false(ipp_jobs_open(&n, &b, 60000));
}

/* Also when the job that took the number over is gone first. */
static void test_taken_over_and_gone(void **state)
{
    struct fixture *f = *state;
    struct ipp_job old = at_printer(f, "acct", 5);

    (void)at_printer(f, "acct", 5);
    f->wall_ms = NOW + RETENTION / 2;
    assert_int_equal(put_job(f, &old), OK);
    old = heard.job;
    f->wall_ms = NOW + RETENTION;
    assert_int_equal(find_job(f, "acct", 5), ERR_MISSING);
    assert_int_equal(put_job(f, &old), OK);
    assert_int_equal(find_job(f, "acct", 5), ERR_MISSING);
    assert_int_equal(get_job(f, old.id), ERR_MISSING);
}

/* What somebody left who was stopped in between, or damaged. */
static void test_left_over(void **state)
{
    struct fixture *f = *state;
    struct ipp_job j = at_printer(f, "acct", 5);
    struct ipp_jobs_key six = ipp_jobs_printer_key(SPAN("acct"), 6),
                        five = ipp_jobs_printer_key(SPAN("acct"), 5),
                        other = ipp_jobs_printer_key(SPAN("b"), 5), two = ipp_jobs_key(2),
                        one = ipp_jobs_key(1);
    struct buf text;

    write_raw(f, IPP_JOBS_AT_PRINTER_SPACE, &six, "1"); /* the job does not say so */
    assert_int_equal(find_job(f, "acct", 6), ERR_MISSING);
    write_raw(f, IPP_JOBS_AT_PRINTER_SPACE, &six, "77"); /* no such job */
    assert_int_equal(find_job(f, "acct", 6), ERR_MISSING);
    write_raw(f, IPP_JOBS_AT_PRINTER_SPACE, &other, "1"); /* the job says another printer */
    assert_int_equal(find_job(f, "b", 5), ERR_MISSING);
    buf_init(&text, 0);
    ipp_job_format(&j, &text);
    write_raw(f, IPP_JOBS_SPACE, &two, buf_cstr(&text)); /* another one's */
    assert_int_equal(get_job(f, 2), ERR_IO);
    buf_done(&text);
    static const char *const damaged[] = {"", "0", "x", "-1", "2147483648"};

    for (size_t i = 0; i < ARRAY_LEN(damaged); i++) {
        write_raw(f, IPP_JOBS_AT_PRINTER_SPACE, &five, damaged[i]);
        assert_int_equal(find_job(f, "acct", 5), ERR_MISSING);
        assert_int_equal(get_job(f, j.id), ERR_IO);
        assert_int_equal(put_job(f, &j), ERR_IO);
    }
    write_raw(f, IPP_JOBS_AT_PRINTER_SPACE, &five, "1");
    write_raw(f, IPP_JOBS_SPACE, &one, "{}");
    assert_int_equal(get_job(f, 1), ERR_IO);
    assert_int_equal(find_job(f, "acct", 5), ERR_MISSING);
    assert_int_equal(put_job(f, &j), ERR_IO);
}

/* ---- the end of numbers ---- */

static void count_set(struct fixture *f, const char *digits)
{
    struct ipp_jobs_key key = {.n = strlen(IPP_JOBS_COUNT_KEY)};

    memcpy(key.bytes, IPP_JOBS_COUNT_KEY, key.n);
    write_raw(f, IPP_JOBS_COUNT_SPACE, &key, digits);
}

static void test_numbers_end(void **state)
{
    struct fixture *f = *state;
    const struct ipp_job j = {.printer = "acct", .stage = IPP_JOB_SCANNING};
    struct ipp_jobs_ask a = ask_of(f);

    count_set(f, "2147483646");
    assert_int_equal(add_job(f, &j).id, IPP_JOB_ID_MAX);
    assert_int_equal(get_job(f, IPP_JOB_ID_MAX), OK);
    for (unsigned i = 0; i < 2; i++) {
        heard.n = 0;
        assert_int_equal(ipp_jobs_add(&a, &j), OK);
        assert_int_equal(wait_heard(f), ERR_FULL);
    }
    count_set(f, "many");
    heard.n = 0;
    assert_int_equal(ipp_jobs_add(&a, &j), OK);
    assert_int_equal(wait_heard(f), ERR_IO);
    count_set(f, "2147483646"); /* put back by somebody: no job is overwritten */
    heard.n = 0;
    assert_int_equal(ipp_jobs_add(&a, &j), OK);
    assert_int_equal(wait_heard(f), ERR_CONFLICT);
}

/* ---- numbers taken ahead ---- */

static enum err add_with(struct fixture *f, struct ipp_jobs_numbers *numbers)
{
    const struct ipp_job j = {.printer = "acct", .stage = IPP_JOB_SCANNING};
    struct ipp_jobs_ask a = ask_of(f);

    a.set.numbers = numbers;
    assert_int_equal(ipp_jobs_add(&a, &j), OK);
    return wait_heard(f);
}

static void add_numbers(struct fixture *f, struct ipp_jobs_numbers *numbers, int32_t from,
                        int32_t to)
{
    for (int64_t id = from; id <= to; id++) {
        assert_int_equal(add_with(f, numbers), OK);
        assert_int_equal(heard.job.id, id);
    }
}

/* One after the other, without a hole as long as the process lives; another one's are its own. */
static void test_numbers_ahead(void **state)
{
    struct fixture *f = *state;
    struct ipp_jobs_numbers mine = {0}, other = {0};
    const int32_t n = IPP_JOBS_NUMBERS;

    add_numbers(f, &mine, 1, 2);
    add_numbers(f, &other, n + 1, n + 1);
    add_numbers(f, &mine, 3, n);
    add_numbers(f, &mine, 2 * n + 1, 2 * n + 1);
    add_numbers(f, NULL, 3 * n + 1, 3 * n + 1);
    add_numbers(f, &other, n + 2, 2 * n);
    assert_int_equal(get_job(f, n), OK);
    assert_int_equal(get_job(f, 2 * n + 2), ERR_MISSING);
}

/* Two who find none ask both: nothing is given twice. */
static void test_numbers_at_once(void **state)
{
    struct fixture *f = *state;
    const struct ipp_job j = {.printer = "acct", .stage = IPP_JOB_SCANNING};
    struct ipp_jobs_numbers numbers = {0};
    struct ipp_jobs_ask a = ask_of(f), b = ask_of(f);

    a.set.numbers = b.set.numbers = &numbers;
    assert_int_equal(ipp_jobs_add(&a, &j), OK);
    assert_int_equal(ipp_jobs_add(&b, &j), OK);
    while (heard.n < 2)
        (void)loop_turn(f->loop, true);
    assert_int_equal(get_job(f, 1), OK);
    assert_int_equal(get_job(f, IPP_JOBS_NUMBERS + 1), OK);
    add_numbers(f, &numbers, 2, IPP_JOBS_NUMBERS);
    add_numbers(f, &numbers, 2 * IPP_JOBS_NUMBERS + 1, 2 * IPP_JOBS_NUMBERS + 1);
}

static void test_numbers_ahead_end(void **state)
{
    struct fixture *f = *state;
    struct ipp_jobs_numbers numbers = {0};

    count_set(f, "2147483640");
    add_numbers(f, &numbers, 2147483641, IPP_JOB_ID_MAX);
    assert_int_equal(add_with(f, &numbers), ERR_FULL);
    assert_int_equal(add_with(f, &numbers), ERR_FULL);
}

/* ---- at any moment ---- */

/* A job gets a number at the printer that another one had, and is stopped after |steps|. Who finds
 * the old one by it has not been told of the new one. */
static void stop_after(struct fixture *f, unsigned steps, int32_t printer_id)
{
    const struct ipp_job j = {
        .printer = "acct", .until_wall_ms = NOW + 1000, .saved = SPAN("attributes")};
    struct ipp_job old = at_printer(f, "acct", printer_id), new = add_job(f, &j);
    struct ipp_jobs_ask a = ask_of(f);

    new.stage = IPP_JOB_PRINTER;
    new.printer_id = printer_id;
    assert_int_equal(ipp_jobs_put(&a, &new), OK);
    for (unsigned i = 0; i < steps; i++)
        step(f);
    unsigned n = heard.n;

    ipp_jobs_cancel(&a);
    ipp_jobs_cancel(&a);
    step(f);
    step(f);
    assert_int_equal(heard.n, n);
    assert_true(n == 1 || (n == 0 && steps < 2));
    assert_int_equal(get_job(f, new.id), OK);
    bool told = heard.job.printer_id == printer_id;
    enum err e = find_job(f, "acct", printer_id);

    assert_true(e == OK || e == ERR_MISSING);
    if (e == OK)
        assert_int_equal(heard.job.id, told ? new.id : old.id);
    else
        assert_false(told);
    if (n)
        assert_true(told);
}

static void test_cancel_put(void **state)
{
    struct fixture *f = *state;
    struct ipp_jobs_ask never = {0};

    ipp_jobs_cancel(&never);
    for (unsigned steps = 0; steps < 6; steps++)
        stop_after(f, steps, (int32_t)steps + 1);
}

static void test_cancel_others(void **state)
{
    struct fixture *f = *state;
    struct ipp_job j = at_printer(f, "acct", 5), other = {.printer = "acct", .printer_id = 6};

    j.stage = other.stage = IPP_JOB_INCOMING;
    j.saved = other.saved = SPAN("attributes");
    for (unsigned i = 0; i < 3 * 5; i++) {
        struct ipp_jobs_ask a = ask_of(f);
        enum err e = OK;

        switch (i % 3) {
        case 0: e = ipp_jobs_get(&a, j.id); break;
        case 1: e = ipp_jobs_add(&a, &other); break;
        default: e = ipp_jobs_put(&a, &j);
        }
        assert_int_equal(e, OK);
        for (unsigned k = 0; k < i / 3; k++)
            step(f);
        unsigned n = heard.n;

        ipp_jobs_cancel(&a);
        step(f);
        assert_int_equal(heard.n, n);
        assert_int_equal(get_job(f, j.id), OK);
        j.version = heard.job.version;
    }
}

/* Whoever is answered may go on with the same question, about what it was just told. */
struct again {
    struct ipp_jobs_ask ask;
    unsigned n;
};

static void on_again(void *arg, enum err err, const struct ipp_job *job)
{
    struct again *g = arg;
    struct ipp_job j;

    assert_int_equal(err, OK);
    assert_true(span_eq(job->saved, SPAN("attributes")));
    if (++g->n == 4) {
        heard.n = 1;
        free(g);
        return;
    }
    j = *job;
    j.documents++;
    assert_int_equal(ipp_jobs_put(&g->ask, &j), OK);
    memset(&j, 0, sizeof j);
}

static void test_ask_again(void **state)
{
    struct fixture *f = *state;
    struct again *g = calloc(1, sizeof *g);
    const struct ipp_job j = {.printer = "acct",
                              .printer_id = 3,
                              .until_wall_ms = NOW + 1000,
                              .saved = SPAN("attributes")};

    assert_non_null(g);
    g->ask = ask_of(f);
    g->ask.done = on_again;
    g->ask.arg = g;
    assert_int_equal(ipp_jobs_add(&g->ask, &j), OK);
    assert_int_equal(wait_heard(f), OK);
    assert_int_equal(get_job(f, 1), OK);
    assert_int_equal(heard.job.documents, 3);
}

/* ---- what the store cannot do ---- */

static void test_full(void **state)
{
    static char bytes[IPP_JOB_SAVED_MAX];
    struct fixture *f = *state;
    struct ipp_job j = {
        .printer = "acct", .until_wall_ms = NOW + 1000, .saved = {bytes, sizeof bytes}
    };
    struct ipp_jobs_ask a = ask_of(f);
    unsigned n = 0, reserved = 0;
    int32_t id;

    do {
        heard.n = 0;
        j.printer_id = (int32_t)n + 1;
        reserved += store_ready(f->store) == OK;
        assert_int_equal(ipp_jobs_add(&a, &j), OK);
    } while (wait_heard(f) == OK && ++n < 1000);
    assert_int_equal(heard.err, ERR_FULL);
    assert_in_range(n - reserved, 1, 6); /* that had no room, as far as anybody else was told */
    assert_int_equal(ipp_jobs_reserve(&a, &id), ERR_FULL);
    assert_true(n > 50 && n < 100); /* of 44 KB each in 4 MB */
    assert_int_equal(get_job(f, (int32_t)n), OK);
    assert_int_equal(get_job(f, (int32_t)n + 1), ERR_MISSING);
}

/* What was reserved is used; a store whose last change failed is asked for another one. */
static void test_reserve(void **state)
{
    struct fixture *f = *state;
    struct ipp_jobs_numbers numbers = {0};
    struct ipp_jobs_ask a = ask_of(f);
    struct ipp_job j = {.printer = "acct", .stage = IPP_JOB_PRINTER, .printer_id = 7};
    int32_t id = 0;

    a.set.numbers = &numbers;
    assert_int_equal(ipp_jobs_reserve(&a, &id), OK);
    assert_int_equal(id, 0);
    assert_int_equal(wait_heard(f), OK);
    assert_int_equal(heard.job.id, 1);
    uint64_t before = store_changes(f->store);

    assert_int_equal(ipp_jobs_reserve(&a, &id), OK); /* at once */
    assert_int_equal(id, 2);
    assert_int_equal(store_changes(f->store), before);
    j.id = id;
    assert_int_equal(add_job(f, &j).id, 2);
    assert_int_equal(find_job(f, "acct", 7), OK);
    assert_int_equal(heard.job.id, 2);
}

static void test_reserve_of_broken(void **state)
{
    struct fixture *f = *state;
    struct ipp_jobs_numbers numbers = {0};
    struct ipp_jobs_ask a = ask_of(f);
    int32_t id = 0;

    a.set.numbers = &numbers;
    assert_int_equal(ipp_jobs_reserve(&a, &id), OK);
    assert_int_equal(wait_heard(f), OK);
    atomic_store(&f->store->cannot_change, true);
    for (int32_t first = 1; first < 3; first++) {
        heard.n = 0;
        assert_int_equal(ipp_jobs_reserve(&a, &id), OK);
        assert_int_equal(id, first == 1 ? 0 : 2); /* it is whole again: numbers are left */
        if (first == 1)
            assert_int_equal(wait_heard(f), OK);
    }
    count_set(f, "2147483647");
    atomic_store(&f->store->cannot_change, true);
    heard.n = 0;
    assert_int_equal(ipp_jobs_reserve(&a, &id), OK);
    assert_int_equal(wait_heard(f), ERR_FULL);
}

/* Each allocation of ours fails once: an error of the call or an answer, and nothing is left. */
static void test_no_memory(void **state)
{
    struct fixture *f = *state;
    const struct ipp_job j = {.printer = "acct",
                              .printer_id = 1,
                              .until_wall_ms = NOW + 1000,
                              .saved = SPAN("attributes")};
    enum err e = ERR_NOMEM;
    unsigned n = 0, called = 0;

    while (e == ERR_NOMEM && ++n < 50) {
        struct ipp_jobs_ask a = ask_of(f);

        mem_fail_after(n);
        e = ipp_jobs_add(&a, &j);
        called += e == ERR_NOMEM;
        if (!e)
            e = wait_heard(f);
        mem_fail_after(0);
    }
    assert_int_equal(e, OK);
    assert_int_equal(called, 1);
    assert_true(n > 2);
    const int32_t id = heard.job.id;

    n = 0;
    do {
        struct ipp_jobs_ask a = ask_of(f);

        mem_fail_after(++n);
        e = ipp_jobs_get(&a, id);
        if (!e)
            e = wait_heard(f);
        mem_fail_after(0);
    } while (e == ERR_NOMEM && n < 50);
    assert_int_equal(e, OK);
    assert_true(n > 1);
}

/* Too much waits, and then the store is freed. */
static void test_store_ends(void **state)
{
    struct fixture *f = *state;
    struct ipp_jobs_ask a = ask_of(f), b = ask_of(f);
    const struct ipp_job j = {.id = 1, .version = 1, .printer = "acct", .saved = SPAN("x")};
    struct store_op *op;
    struct answer *none = answer_new();
    const struct store_asker by = asker(f, none);

    store_free(f->store);
    f->store = store_open(f, ROOM); /* not started: everything waits */
    a.set.store = b.set.store = f->store;
    assert_int_equal(ipp_jobs_put(&a, &j), OK);
    while (store_get(f->store, SPACE, SPAN("a"), &by, &op) == OK)
        store_cancel(op);
    assert_int_equal(ipp_jobs_get(&b, 1), ERR_BUSY);
    assert_int_equal(ipp_jobs_add(&b, &j), ERR_BUSY);
    assert_int_equal(ipp_jobs_put(&b, &j), ERR_BUSY);
    store_free(f->store);
    f->store = NULL;
    assert_int_equal(wait_heard(f), ERR_ABORTED);
}

/* ---- two processes ---- */

#define EACH 30

static void run_adding(struct fixture *f, int out)
{
    open_all(f, ROOM);
    for (unsigned i = 0; i < EACH; i++) {
        struct ipp_job j = at_printer(f, "acct", (int32_t)i + 1);

        if (write(out, &j.id, sizeof j.id) != sizeof j.id)
            _exit(1);
    }
    close_all(f);
}

/* No number comes twice, and both see what the other one wrote. */
static void test_two_processes(void **state)
{
    struct fixture *f = *state;
    bool seen[2 * EACH + 1] = {0};
    int fds[2], status;
    int32_t id;

    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(60);
        run_adding(f, fds[1]);
        _exit(0);
    }
    (void)close(fds[1]);
    open_all(f, ROOM);
    for (unsigned i = 0; i < EACH; i++) {
        id = at_printer(f, "acct", EACH + (int32_t)i + 1).id;
        assert_in_range(id, 1, 2 * EACH);
        assert_false(seen[id]);
        seen[id] = true;
    }
    for (unsigned i = 0; i < EACH; i++) {
        assert_int_equal(read(fds[0], &id, sizeof id), sizeof id);
        assert_in_range(id, 1, 2 * EACH);
        assert_false(seen[id]);
        seen[id] = true;
        assert_int_equal(find_job(f, "acct", (int32_t)i + 1), OK);
        assert_int_equal(heard.job.id, id);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    (void)close(fds[0]);
}

/* ---- */

int main(void)
{
    static const enum kind kinds[] = {[MEMORY] = MEMORY, [LMDB] = LMDB};
    const struct CMUnitTest tests[] = {
        BOTH(test_add_get_find),
        BOTH(test_missing),
        BOTH(test_put),
        BOTH(test_settled),
        BOTH(test_refused),
        BOTH(test_taken_over),
        BOTH(test_taken_by_nobody),
        BOTH(test_taken_over_meanwhile),
        BOTH(test_entry_lost),
        BOTH(test_two_printers),
        BOTH(test_expiry),
        BOTH(test_expiry_of_incoming),
        BOTH(test_expiry_of_long_incoming),
        cmocka_unit_test(test_opening),
        BOTH(test_taken_over_and_gone),
        BOTH(test_left_over),
        BOTH(test_numbers_end),
        BOTH(test_numbers_ahead),
        BOTH(test_numbers_at_once),
        BOTH(test_numbers_ahead_end),
        BOTH(test_cancel_put),
        BOTH(test_cancel_others),
        BOTH(test_ask_again),
        BOTH(test_full),
        BOTH(test_reserve),
        BOTH(test_reserve_of_broken),
        BOTH(test_no_memory),
        ROW(LMDB, "lmdb", test_store_ends),
        {"lmdb: test_two_processes", test_two_processes, setup_dir, teardown, NULL},
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
