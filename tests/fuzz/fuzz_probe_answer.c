/* SPDX-License-Identifier: Apache-2.0 */
/* cli/probe_answer.h. Byte 0: step of the split. Properties: split = whole; an answer that is
 * complete is so without the bytes behind it, and not without its last byte; limits hold; nothing
 * more is taken once it is over. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/probe_answer.h"

#define BODY_MAX 1000u

static size_t run(struct probe_answer *a, struct span in, size_t step)
{
    size_t at = 0;

    probe_answer_init(a, BODY_MAX);
    while (at < in.n) {
        struct span piece = span_sub(in, at, step);
        size_t used = 0;
        enum err e = probe_answer_feed(a, piece, &used);

        assert(used <= piece.n);
        at += used;
        assert((e == ERR_SYNTAX) == (a->state == PROBE_ANSWER_BROKEN));
        assert(e == OK || (e == ERR_SYNTAX && a->fault));
        if (e || a->state == PROBE_ANSWER_DONE)
            break;
        assert(used == piece.n);
    }
    assert(a->body.n <= BODY_MAX);
    assert(a->status == 0 || (a->status >= 100 && a->status <= 999));
    return at;
}

static void check_same(const struct probe_answer *a, const struct probe_answer *b)
{
    assert(a->state == b->state && a->notes == b->notes && a->status == b->status &&
           a->http_status == b->http_status && a->n_parts == b->n_parts && a->fault == b->fault);
    assert(span_eq(buf_span(&a->head), buf_span(&b->head)));
    assert(span_eq(buf_span(&a->http), buf_span(&b->http)));
    /* A body that is too long is refused with the piece that is too much. */
    assert(a->state == PROBE_ANSWER_BROKEN || span_eq(buf_span(&a->body), buf_span(&b->body)));
}

static void check_end(struct span in, size_t end)
{
    struct probe_answer a;
    size_t used = 0;

    assert(run(&a, span_sub(in, 0, end), SIZE_MAX) == end);
    assert(a.state == PROBE_ANSWER_DONE);
    assert(probe_answer_feed(&a, SPAN("more"), &used) == OK && used == 0);
    probe_answer_eof(&a);
    assert(a.state == PROBE_ANSWER_DONE);
    probe_answer_done(&a);
    (void)run(&a, span_sub(in, 0, end - 1), SIZE_MAX);
    assert(a.state != PROBE_ANSWER_DONE);
    probe_answer_eof(&a);
    assert(a.state == PROBE_ANSWER_BROKEN);
    probe_answer_done(&a);
}

static void check_fields(const struct probe_answer *a)
{
    struct span name, value;
    size_t at = 0, last = 0;

    while (probe_answer_next(a, SPAN_NONE, &at, &name, &value)) {
        assert(at > last);
        last = at;
        assert(span_find(value, '\n') == value.n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct probe_answer whole, split;
    struct span in;
    size_t used;

    if (size == 0)
        return 0;
    in = (struct span){(const char *)data + 1, size - 1};
    used = run(&whole, in, SIZE_MAX);
    (void)run(&split, in, 1u + data[0] % 16u);
    check_same(&whole, &split);
    check_fields(&whole);
    if (whole.state == PROBE_ANSWER_DONE)
        check_end(in, used);
    probe_answer_done(&whole);
    probe_answer_done(&split);
    return 0;
}
