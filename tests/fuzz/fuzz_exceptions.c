/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_exceptions.c - the journal of exceptions, and requests. A journal of what was read is read
 * as the same; garbage lines never lose good ones; what the check lets pass survives the journal,
 * whatever is in the struct. */
#include <stdlib.h>
#include <string.h>

#include "adapt/exceptions.h"
#include "base/clock.h"

#define NOW UINT64_C(1700000000000)
#define MAX UINT64_C(31536000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_same(const struct exception *a, const struct exception *b)
{
    check(a->kind == b->kind && a->created_wall_ms == b->created_wall_ms &&
          a->expires_wall_ms == b->expires_wall_ms);
    check(strcmp(a->id, b->id) == 0 && strcmp(a->by, b->by) == 0);
    check(strcmp(a->reason, b->reason) == 0 && strcmp(a->service, b->service) == 0);
    check(strcmp(a->sha256, b->sha256) == 0 && strcmp(a->signature, b->signature) == 0);
    check(strcmp(a->host, b->host) == 0 && strcmp(a->file, b->file) == 0);
    check(strcmp(a->client, b->client) == 0);
}

static struct exceptions *parse(struct span journal, unsigned *ret_bad)
{
    struct exceptions *s = NULL;

    *ret_bad = 0;
    check(exceptions_parse(journal, NOW, &s, ret_bad) == OK);
    check(exceptions_count(s) <= EXCEPTIONS_MAX);
    return s;
}

/* |s| written and read again. */
static void check_journal_of(const struct exceptions *s)
{
    struct exceptions *back;
    struct buf out;
    unsigned bad;

    buf_init(&out, 0);
    for (size_t i = 0; i < exceptions_count(s); i++) {
        struct exception e = *exceptions_at(s, i);
        size_t before = out.n;

        check(e.expires_wall_ms > NOW);
        check(exceptions_find(s, e.id) == exceptions_at(s, i));
        exception_format_add(&e, &out);
        check(out.n - before <= EXCEPTION_REQUEST_MAX);
    }
    back = parse(buf_span(&out), &bad);
    check(bad == 0 && exceptions_count(back) == exceptions_count(s));
    for (size_t i = 0; i < exceptions_count(s); i++)
        check_same(exceptions_at(back, i), exceptions_at(s, i));
    exceptions_unref(back);
    buf_done(&out);
}

static void journal(struct span in)
{
    struct exceptions *s;
    unsigned bad, lines = 1;

    for (size_t i = 0; i < in.n; i++)
        lines += in.p[i] == '\n';
    s = parse(in, &bad);
    check(bad + exceptions_count(s) <= lines);
    check_journal_of(s);
    exceptions_unref(s);
}

static void add_good(unsigned n, struct buf *out)
{
    struct exception e = {.kind = EXCEPTION_ALLOW,
                          .id = "zzzzzzz0",
                          .expires_wall_ms = NOW + 1,
                          .reason = "r",
                          .host = "h.example"};

    e.id[EXCEPTION_ID_LEN - 1] = (char)('0' + n);
    exception_format_add(&e, out);
}

/* The input's lines between good ones. Those that may name a good one are left out. */
static void garbage(struct span in)
{
    struct exceptions *s, *alone;
    struct span rest = in;
    struct buf out, without;
    unsigned bad, bad_alone;

    buf_init(&out, 0);
    buf_init(&without, 0);
    add_good(0, &out);
    for (unsigned n = 1; rest.p; n++) {
        struct span line = span_cut(&rest, '\n');

        if (line.n == 0 || memmem(line.p, line.n, "zzzzzzz", 7) || memchr(line.p, '\\', line.n))
            continue;
        buf_add(&out, line);
        buf_add(&without, line);
        buf_char(&out, '\n');
        buf_char(&without, '\n');
        if (n < 9)
            add_good(n, &out);
    }
    s = parse(buf_span(&out), &bad);
    alone = parse(buf_span(&without), &bad_alone);
    check(bad == bad_alone);
    for (size_t i = 0; i < exceptions_count(alone); i++)
        check(exceptions_find(s, exceptions_at(alone, i)->id) != NULL);
    rest = buf_span(&out);
    for (unsigned n = 0; n < 9; n++) {
        char id[] = "zzzzzzz0", text[] = "\"id\":\"zzzzzzz0\"";

        id[EXCEPTION_ID_LEN - 1] = text[sizeof text - 3] = (char)('0' + n);
        check((exceptions_find(s, id) != NULL) ==
              (memmem(rest.p, rest.n, text, sizeof text - 1) != NULL));
    }
    exceptions_unref(s);
    exceptions_unref(alone);
    buf_done(&out);
    buf_done(&without);
}

/* |e| as the control socket would add it. */
static void add_checked(struct exception *e)
{
    struct exceptions *none, *s;
    struct exception kept;
    struct buf why;

    buf_init(&why, 0);
    memcpy(e->id, "00000000", sizeof e->id);
    kept = *e;
    if (exception_check(e, NOW, MAX, &why) != OK) {
        check(why.n > 0 && memcmp(e, &kept, sizeof kept) == 0);
        buf_done(&why);
        return;
    }
    check(why.n == 0);
    buf_done(&why);
    kept = *e;
    check(exception_check(e, NOW, MAX, NULL) == OK && memcmp(e, &kept, sizeof kept) == 0);
    check(exceptions_new(&none) == OK);
    check(exceptions_with(none, e, NOW, &s) == OK);
    check_same(exceptions_at(s, 0), e);
    check_journal_of(s);
    exceptions_unref(none);
    exceptions_unref(s);
}

static void request(struct span in)
{
    struct exception e, kept;
    struct buf why;

    buf_init(&why, 0);
    memset(&e, 0x5a, sizeof e);
    kept = e;
    if (exception_parse_request(in, NOW, &e, &why) != OK) {
        check(why.n > 0 && memcmp(&e, &kept, sizeof kept) == 0);
    } else {
        check(why.n == 0 && !e.id[0] && !e.by[0] && !e.created_wall_ms);
        add_checked(&e);
    }
    buf_done(&why);
}

/* The input as the struct itself. */
static void any_struct(const uint8_t *data, size_t size)
{
    struct exception e;

    memset(&e, 0, sizeof e);
    memcpy(&e, data, size < sizeof e ? size : sizeof e);
    e.kind = size && data[0] & 1 ? EXCEPTION_BYPASS : EXCEPTION_ALLOW;
    e.created_wall_ms %= NOW;
    e.expires_wall_ms = NOW + 1 + e.expires_wall_ms % (MAX + 1000);
    add_checked(&e);
}

/* Small inputs reach every text: one after the other, cut at '\n'. */
static void any_texts(struct span in)
{
    struct exception e = {.kind = EXCEPTION_ALLOW, .expires_wall_ms = NOW + 1};
    const struct {
        char *p;
        size_t cap;
    } texts[] = {
        {e.host,      sizeof e.host     },
        {e.reason,    sizeof e.reason   },
        {e.client,    sizeof e.client   },
        {e.file,      sizeof e.file     },
        {e.signature, sizeof e.signature},
        {e.service,   sizeof e.service  },
        {e.sha256,    sizeof e.sha256   },
        {e.by,        sizeof e.by       },
    };

    for (size_t i = 0; i < ARRAY_LEN(texts) && in.p; i++)
        (void)span_copy(span_cut(&in, '\n'), texts[i].p, texts[i].cap);
    add_checked(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = {(const char *)data, size};

    journal(in);
    garbage(in);
    request(in);
    any_struct(data, size);
    any_texts(in);
    return 0;
}
