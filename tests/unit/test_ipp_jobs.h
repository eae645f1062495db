/* SPDX-License-Identifier: Apache-2.0 */
/* test_ipp_jobs.h - what the tests of the book of jobs share: asking it about one job. */
#ifndef TEST_IPP_JOBS_H
#define TEST_IPP_JOBS_H

#include "test_store.h"

#include "ipp/ipp_jobs_int.h"

#define RETENTION UINT64_C(100000)
#define INCOMING  UINT64_C(2000)

/* ---- asking and waiting ---- */

struct heard {
    unsigned n; /* answers */
    enum err err;
    struct ipp_job job; /* |saved| points into |bytes| */
    char bytes[IPP_JOB_SAVED_MAX];
};

static struct heard heard;

static inline void on_heard(void *arg, enum err err, const struct ipp_job *job)
{
    struct heard *h = arg;

    h->n++;
    h->err = err;
    assert_int_equal(job == NULL, err != OK);
    if (!job)
        return;
    h->job = *job;
    if (job->saved.n)
        memcpy(h->bytes, job->saved.p, job->saved.n);
    h->job.saved = (struct span){h->bytes, job->saved.n};
}

static inline struct ipp_jobs_settings settings(struct fixture *f)
{
    return (struct ipp_jobs_settings){
        .store = f->store, .clock = &f->clock, .retention_ms = RETENTION, .incoming_ms = INCOMING};
}

static inline struct ipp_jobs_ask ask_of(struct fixture *f)
{
    heard.n = 0;
    return (struct ipp_jobs_ask){
        .set = settings(f), .loop = f->loop, .done = on_heard, .arg = &heard};
}

static inline enum err wait_heard(struct fixture *f)
{
    assert_int_equal(heard.n, 0); /* never inside the call */
    while (!heard.n)
        (void)loop_turn(f->loop, true);
    assert_int_equal(heard.n, 1);
    return heard.err;
}

static inline enum err get_job(struct fixture *f, int32_t id)
{
    struct ipp_jobs_ask a = ask_of(f);

    assert_int_equal(ipp_jobs_get(&a, id), OK);
    return wait_heard(f);
}

/* One that is not there has the number 0. */
static inline void on_found(void *arg, enum err err, const struct ipp_job *v, size_t n)
{
    assert_int_equal(n, err ? 0 : 1);
    on_heard(arg, err, err ? NULL : v);
}

/* By the printer's number. */
static inline enum err find_job(struct fixture *f, const char *printer, int32_t printer_id)
{
    struct ipp_jobs_list l = {.set = settings(f), .loop = f->loop, .done = on_found, .arg = &heard};

    heard.n = 0;
    assert_int_equal(ipp_jobs_find_all(&l, span_of(printer), &printer_id, 1), OK);
    enum err e = wait_heard(f);

    return e == OK && heard.job.id == 0 ? ERR_MISSING : e;
}

static inline enum err put_job(struct fixture *f, const struct ipp_job *j)
{
    struct ipp_jobs_ask a = ask_of(f);

    assert_int_equal(ipp_jobs_put(&a, j), OK);
    return wait_heard(f);
}

/* As the book has it then. */
static inline struct ipp_job add_job(struct fixture *f, const struct ipp_job *j)
{
    struct ipp_jobs_ask a = ask_of(f);

    assert_int_equal(ipp_jobs_add(&a, j), OK);
    assert_int_equal(wait_heard(f), OK);
    return heard.job;
}

static inline struct ipp_job at_printer(struct fixture *f, const char *printer, int32_t printer_id)
{
    struct ipp_job j = {.printer_id = printer_id, .stage = IPP_JOB_PRINTER, .user = "ann"};

    (void)span_copy(span_of(printer), j.printer, sizeof j.printer);
    return add_job(f, &j);
}

/* Puts |text| where the book has its entries. */
static inline void write_raw(struct fixture *f, const char *space, const struct ipp_jobs_key *key,
                             const char *text)
{
    struct answer *a = answer_new();
    const struct store_asker by = asker(f, a);
    const struct store_put p = {
        .key = ipp_jobs_key_span(key), .value = span_of(text), .version = STORE_ANY};

    assert_int_equal(store_put(f->store, space, &p, &by, NULL), OK);
    assert_int_equal(wait_for(f, a)->err, OK);
}

/* Whatever was asked of the store by now is done, and its answers have come. */
static inline void step(struct fixture *f)
{
    struct answer *a = answer_new();
    const struct store_asker by = asker(f, a);

    assert_int_equal(store_get(f->store, SPACE, SPAN("x"), &by, NULL), OK);
    (void)wait_for(f, a);
}

#endif
