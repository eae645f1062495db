/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_ipp_job_record.c - what the store holds of a job. What is read is written and read again as
 * the same, with and without what was saved; time settles it once. The same bytes as a job's name
 * give a record that can be read. */
#include <stdlib.h>

#include "base/utf8.h"
#include "ipp/ipp_jobs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* |j| as text, read again into *ret and written again as the same. */
static void there_and_back(const struct ipp_job *j, struct arena *mem, struct ipp_job *ret)
{
    struct buf out, again;

    buf_init(&out, STORE_VALUE_MAX);
    buf_init(&again, STORE_VALUE_MAX);
    ipp_job_format(j, &out);
    check(out.err == OK);
    check(ipp_job_parse(buf_span(&out), mem, ret) == OK);
    ipp_job_format(ret, &again);
    check(span_eq(buf_span(&out), buf_span(&again)));
    buf_done(&again);
    buf_done(&out);
}

static void check_settled(struct ipp_job j, struct arena *mem)
{
    bool open = j.stage == IPP_JOB_INCOMING || j.stage == IPP_JOB_SCANNING ||
                j.stage == IPP_JOB_SENDING || j.stage == IPP_JOB_STOPPING;
    struct ipp_job later = j, back;

    if (j.until_wall_ms > 0) {
        ipp_job_settle(&j, j.until_wall_ms - 1);
        check(j.stage == later.stage);
    }
    ipp_job_settle(&later, j.until_wall_ms);
    check(later.stage == (open ? IPP_JOB_ABORTED : j.stage));
    there_and_back(&later, mem, &back);
    check(!open || (back.reason[0] && back.why[0] && back.saved.n == 0));
}

static void check_name(struct span name, struct arena *mem)
{
    struct ipp_job j = {.id = 1, .printer = "p"}, back;

    ipp_job_text(name, j.name, sizeof j.name);
    check(utf8_is_valid(span_of(j.name)));
    there_and_back(&j, mem, &back);
    check(span_eq(span_of(j.name), span_of(back.name)));
    (void)span_copy(name, j.why, sizeof j.why);
    (void)span_copy(name, j.user, sizeof j.user);
    j.saved = span_sub(name, 0, IPP_JOB_SAVED_MAX);
    there_and_back(&j, mem, &back);
    check(span_eq(j.saved, back.saved));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};
    struct ipp_job j, lean, back;
    struct arena mem;

    arena_init(&mem, 0);
    check_name(text, &mem);
    if (ipp_job_parse(text, &mem, &j) == OK) {
        check(ipp_job_parse(text, NULL, &lean) == OK);
        check(j.version == 0 && j.id >= 1 && j.printer_id >= 0 && !lean.saved.p);
        there_and_back(&j, &mem, &back);
        check(span_eq(j.saved, back.saved));
        check_settled(j, &mem);
    }
    arena_done(&mem);
    return 0;
}
