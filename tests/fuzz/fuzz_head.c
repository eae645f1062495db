/* SPDX-License-Identifier: Apache-2.0 */
/* http/head.h. Byte 0: kind and split seed. Properties: any split finds the same end and the same
 * fault; vector and plain searches agree; what parses consists of its views. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/head.h"
#include "http/head_int.h"

static const struct head_limits limits = {.line_max = 200, .size_max = 2000, .fields_max = 20};

struct found {
    enum err err;
    size_t len;
    struct fault fault;
};

static struct found scan(struct span in, size_t step)
{
    struct head_scan s = {0};
    struct found r = {.err = ERR_AGAIN};

    for (size_t n = step; r.err == ERR_AGAIN; n += step) {
        if (n > in.n)
            n = in.n;
        r.err = head_scan(&s, span_sub(in, 0, n), &limits, &r.len, &r.fault);
        if (n == in.n)
            break;
    }
    return r;
}

static void check_searches(struct span in)
{
    for (size_t at = 0; at < in.n && at < 40; at++) {
        const char *p = in.p + at;
        size_t n = in.n - at;

        assert(head_find_stop(p, n) == head_find_stop_scalar(p, n));
        assert(head_find_control(p, n) == head_find_control_scalar(p, n));
        assert(head_token_len(p, n) == head_token_len_scalar(p, n));
        assert(head_plain_end(p, n) == head_plain_end_scalar(p, n));
    }
}

static void check_inside(struct span part, struct span whole)
{
    assert(part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n));
}

static void check_head(const struct head *h)
{
    uint64_t length;

    assert(h->n_fields <= limits.fields_max && h->start_line.n <= limits.line_max);
    assert(h->major < 10 && h->minor < 10 && (h->status == 0 || h->status >= 100));
    check_inside(h->method, h->text);
    check_inside(h->target, h->text);
    check_inside(h->reason, h->text);
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct field *f = &h->fields[i];

        check_inside(f->name, h->text);
        check_inside(f->value, h->text);
        assert(f->odd == (f->name.n == 0));
        assert(f->odd || (span_is_token(f->name) && span_is_field_value(f->value)));
        assert(!f->odd || h->kind == HEAD_HTTP_REQUEST || h->kind == HEAD_HTTP_STATUS);
        assert(f->odd || head_find(h, f->name, i) == i);
        (void)head_has_token(h, f->name, SPAN("close"));
    }
    (void)head_smuggling(h);
    if (head_content_length(h, &length) == OK)
        assert(length <= INT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct found whole, cut;
    struct span in;
    struct arena mem;
    struct head h;
    struct fault f = {0};
    enum err e;

    if (size < 2)
        return 0;
    in = (struct span){(const char *)data + 1, size - 1};
    check_searches(in);
    whole = scan(in, in.n);
    cut = scan(in, 1 + data[0] / 4u % 16);
    assert(whole.err == cut.err);
    if (whole.err == OK)
        assert(whole.len == cut.len && whole.len <= in.n && whole.len <= limits.size_max);
    else if (whole.err != ERR_AGAIN)
        assert(whole.fault.status == cut.fault.status && whole.fault.off == cut.fault.off);
    arena_init(&mem, 1u << 16);
    if (whole.err == OK)
        in.n = whole.len;
    e = head_parse((enum head_kind)(data[0] % 4), in, &limits, &mem, &h, &f);
    if (e == OK)
        assert(whole.err == OK); /* the parser takes nothing that the scan refuses */
    else
        assert(f.err == e && f.why);
    if (e == OK)
        check_head(&h);
    arena_done(&mem);
    return 0;
}
