/* SPDX-License-Identifier: Apache-2.0 */
/* icap/icap_message.h. Byte 0 picks the grammar. Properties: format after parse is parsed to the
 * same; decoded paths are clean. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "icap/icap_message.h"

static void try_list(struct span in)
{
    struct icap_encapsulated a, b;
    struct fault f = {0};
    struct buf text;

    if (icap_encapsulated_parse(in, &a, &f) != OK) {
        assert(f.err == ERR_PROTO && f.why && f.off <= in.n);
        return;
    }
    assert(a.n >= 1 && a.n <= ICAP_ENCAPSULATED_MAX && a.part[0].off == 0);
    buf_init(&text, 0);
    for (unsigned i = 0; i < a.n; i++) {
        assert(icap_entity_is_body(a.part[i].entity) == (i + 1 == a.n));
        assert(i == 0 || a.part[i].off >= a.part[i - 1].off);
        buf_text(&text, i ? ", " : "");
        buf_text(&text, icap_entity_name(a.part[i].entity));
        buf_char(&text, '=');
        buf_dec(&text, a.part[i].off);
    }
    assert(icap_encapsulated_parse(buf_span(&text), &b, NULL) == OK && a.n == b.n);
    for (unsigned i = 0; i < a.n; i++)
        assert(a.part[i].entity == b.part[i].entity && a.part[i].off == b.part[i].off);
    for (unsigned m = 0; m < ICAP_METHODS; m++) {
        (void)icap_encapsulated_fits(&a, (enum icap_method)m);
        (void)icap_encapsulated_fits_reply(&a, (enum icap_method)m);
    }
    buf_done(&text);
}

static void try_uri(struct span in)
{
    struct icap_uri u;
    struct fault f = {0};
    struct arena mem;

    arena_init(&mem, 1u << 16);
    if (icap_uri_parse(in, &mem, &u, &f) == OK) {
        assert(u.host.n > 0 && u.port <= 65535 && u.path.n > 0 && u.path.n <= in.n + 1);
        assert(u.path.n == 1 || u.path.p[u.path.n - 1] != '/');
        assert(span_is_field_value(u.path) && span_is_field_value(u.query));
    } else {
        assert(f.why && f.off <= in.n);
    }
    arena_done(&mem);
}

static void try_allow(struct span in)
{
    static const struct head_limits limits = {4000, 8000, 50};
    struct buf text;
    struct arena mem;
    struct head h;

    buf_init(&text, 0);
    buf_text(&text, "OPTIONS icap://h ICAP/1.0\r\nAllow: ");
    buf_add(&text, in);
    buf_text(&text, "\r\n\r\n");
    arena_init(&mem, 1u << 16);
    if (head_parse(HEAD_ICAP_REQUEST, buf_span(&text), &limits, &mem, &h, NULL) == OK) {
        struct icap_allow a = icap_allow_parse(&h);

        assert(a.s204 == head_has_token(&h, SPAN("Allow"), SPAN("204")));
        assert(a.s206 == head_has_token(&h, SPAN("Allow"), SPAN("206")));
        assert(a.trailers == head_has_token(&h, SPAN("Allow"), SPAN("trailers")));
    }
    arena_done(&mem);
    buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in;

    if (size < 1)
        return 0;
    in = (struct span){(const char *)data + 1, size - 1};
    if (data[0] % 3 == 0)
        try_list(in);
    else if (data[0] % 3 == 1)
        try_uri(in);
    else
        try_allow(in);
    return 0;
}
