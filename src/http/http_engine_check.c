/* SPDX-License-Identifier: Apache-2.0 */
/* http_engine_check.c - what the head of a request says about its message and its connection. What
 * two readers could understand in two ways is refused: one of them may stand in front of us. */
#include "http/http_engine_int.h"

static enum err refuse(struct fault *f, unsigned status, const char *why)
{
    return fault_set(f, ERR_PROTO, status, 0, why);
}

/* The parser hands odd lines on, for those who pass heads through as they are; a server must not
 * guess what they say (RFC 9112 5.1, 5.2). */
static enum err check_lines(const struct head *h, struct fault *f)
{
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct field *line = &h->fields[i];

        if (line->odd)
            return fault_set(f, ERR_PROTO, 400, (size_t)(line->value.p - h->text.p),
                             "malformed field-line");
    }
    return OK;
}

static enum err check_host(const struct head *h, struct fault *f)
{
    const char *why = head_host_conflict(h);

    if (!why && h->minor >= 1 && !head_count(h, SPAN("Host")))
        why = "no Host"; /* RFC 9112 3.2 */
    return why ? refuse(f, 400, why) : OK;
}

/* RFC 9112 6.1, 6.3, 11.2. Not even `chunked,` or a second field that repeats it: whoever stands in
 * front of us may have read something else there. */
static enum err check_codings(const struct head *h, struct fault *f)
{
    const struct span name = SPAN("Transfer-Encoding");

    if (h->minor == 0)
        return refuse(f, 400, "Transfer-Encoding in HTTP/1.0");
    if (head_count(h, SPAN("Content-Length")))
        return refuse(f, 400, "Content-Length together with Transfer-Encoding");
    if (head_count(h, name) > 1 || !span_ieq(head_value(h, name), SPAN("chunked")))
        return refuse(f, 501, "Transfer-Encoding other than chunked");
    return OK;
}

static enum err check_framing(struct http_request *r, struct fault *f)
{
    const struct head *h = r->head;
    enum err err;

    if (head_count(h, SPAN("Transfer-Encoding"))) {
        TRY(check_codings(h, f));
        r->has_body = true;
        r->length = HTTP_LENGTH_UNKNOWN;
        return OK;
    }
    err = head_content_length(h, &r->length);
    if (err && err != ERR_MISSING)
        return refuse(f, 400, "malformed or conflicting Content-Length");
    r->has_body = err == OK && r->length > 0;
    return OK;
}

/* RFC 9110 10.1.1. HTTP/1.0 knows no 100: there the expectation says nothing. */
static enum err check_expect(struct http_request *r, struct fault *f)
{
    const struct span name = SPAN("Expect");
    const struct head *h = r->head;

    for (unsigned i = head_find(h, name, 0); i < h->n_fields; i = head_find(h, name, i + 1)) {
        struct span rest = h->fields[i].value, element;

        while (span_list_next(&rest, &element)) {
            if (!span_ieq(element, SPAN("100-continue")))
                return refuse(f, 417, "unknown expectation");
            r->expects = h->minor >= 1 && r->has_body;
        }
    }
    return OK;
}

/* The version goes first: what the rest means hangs on it. */
enum err http_engine_check(struct http_request *r, struct fault *reterr)
{
    const struct head *h = r->head;
    const struct span connection = SPAN("Connection");

    if (h->major != 1)
        return refuse(reterr, 505, "HTTP version is not 1.x");
    TRY(check_lines(h, reterr));
    TRY(check_framing(r, reterr));
    TRY(check_host(h, reterr));
    TRY(check_expect(r, reterr));
    r->close = h->minor == 0 || head_has_token(h, connection, SPAN("close"));
    /* RFC 9110 7.8: ignored in HTTP/1.0. */
    if (h->minor >= 1 && head_count(h, SPAN("Upgrade")) > 0) {
        r->upgrades = head_has_token(h, connection, SPAN("upgrade"));
        r->upgrade_unlisted = !r->upgrades;
    }
    return OK;
}
