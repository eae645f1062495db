/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/probe_answer.h"

#define LINE_MAX_BYTES  (64u << 10)
#define HEAD_MAX_BYTES  (256u << 10)
#define EMPTY_LINES_MAX 4u

void probe_answer_init(struct probe_answer *a, size_t body_max)
{
    *a = (struct probe_answer){.state = PROBE_ANSWER_START};
    buf_init(&a->head, HEAD_MAX_BYTES);
    buf_init(&a->http, HEAD_MAX_BYTES);
    buf_init(&a->body, body_max);
    buf_init(&a->line, LINE_MAX_BYTES);
}

void probe_answer_done(struct probe_answer *a)
{
    buf_done(&a->head);
    buf_done(&a->http);
    buf_done(&a->body);
    buf_done(&a->line);
}

bool probe_answer_has(const struct probe_answer *a, enum probe_note note)
{
    return (a->notes & (1u << note)) != 0;
}

static void note(struct probe_answer *a, enum probe_note n)
{
    a->notes |= 1u << n;
}

static enum err broken(struct probe_answer *a, const char *why)
{
    a->state = PROBE_ANSWER_BROKEN;
    a->fault = why;
    return ERR_SYNTAX;
}

/* ---- the ICAP head ---- */

/* "ICAP/1.0 204 No modifications" */
static enum err status_line(struct probe_answer *a, struct span line)
{
    struct span rest = line, version = span_cut(&rest, ' '), digits;
    uint64_t status;

    if (!span_istarts(version, SPAN("ICAP/")) && !span_istarts(version, SPAN("HTTP/")))
        return broken(a, "it does not begin with ICAP/1.0");
    while (rest.n > 0 && rest.p[0] == ' ') {
        rest = span_sub(rest, 1, SIZE_MAX);
        note(a, PROBE_NOTE_STATUS_LINE);
    }
    digits = span_cut(&rest, ' ');
    if (digits.n != 3 || span_u64(digits, 999, &status) != OK || status < 100)
        return broken(a, "its status-line has no status of three digits");
    if (!span_eq(version, SPAN("ICAP/1.0")) || !span_is_field_value(line))
        note(a, PROBE_NOTE_STATUS_LINE);
    a->status = (unsigned)status;
    a->state = PROBE_ANSWER_HEAD;
    return OK;
}

static void check_field(struct probe_answer *a, struct span line)
{
    struct span value = line, name = span_cut(&value, ':');

    if (line.p[0] == ' ' || line.p[0] == '\t')
        note(a, PROBE_NOTE_FOLD);
    else if (!value.p || !span_is_token(name))
        note(a, PROBE_NOTE_FIELD);
    if (!span_is_field_value(line))
        note(a, PROBE_NOTE_CONTROL);
}

static bool entity_of(struct span name, enum icap_entity *ret)
{
    for (unsigned i = 0; i <= ICAP_NULL_BODY; i++)
        if (span_ieq(name, span_of(icap_entity_name((enum icap_entity)i)))) {
            *ret = (enum icap_entity)i;
            return true;
        }
    return false;
}

static void encapsulated(struct probe_answer *a)
{
    struct span list = probe_answer_field(a, SPAN("Encapsulated")), item;
    bool is_list = list.p != NULL;

    while (span_list_next(&list, &item)) {
        struct span value = item, name = span_trim(span_cut(&value, '='));
        unsigned n = a->n_parts;

        if (n < PROBE_PARTS_MAX && entity_of(name, &a->part[n].entity) &&
            span_u64(span_trim(value), UINT32_MAX, &a->part[n].off) == OK)
            a->n_parts++;
        else
            note(a, PROBE_NOTE_ENCAPSULATED);
    }
    /* RFC 3507 4.4.1: the body comes last, and there is always one, be it null-body. */
    if (is_list && (a->n_parts == 0 || !icap_entity_is_body(a->part[a->n_parts - 1].entity)))
        note(a, PROBE_NOTE_ENCAPSULATED);
    for (unsigned i = 0; i + 1 < a->n_parts; i++)
        if (icap_entity_is_body(a->part[i].entity))
            note(a, PROBE_NOTE_ENCAPSULATED);
}

/* Goes to the part that |at_part| means: its offset is held against where it really begins. */
static void enter_part(struct probe_answer *a)
{
    bool is_body;

    if (a->at_part >= a->n_parts) {
        a->state = PROBE_ANSWER_DONE;
        return;
    }
    if (a->part[a->at_part].off != a->http.n)
        note(a, PROBE_NOTE_OFFSET);
    is_body = icap_entity_is_body(a->part[a->at_part].entity);
    if (!is_body) {
        a->state = PROBE_ANSWER_HTTP;
        return;
    }
    a->has_body = a->part[a->at_part].entity != ICAP_NULL_BODY;
    a->state = a->has_body ? PROBE_ANSWER_CHUNK_SIZE : PROBE_ANSWER_DONE;
}

static void head_end(struct probe_answer *a)
{
    encapsulated(a);
    if (a->status / 100 == 1) {
        a->state = PROBE_ANSWER_DONE;
        return;
    }
    if (a->status != 204) {
        enter_part(a);
        return;
    }
    for (unsigned i = 0; i < a->n_parts; i++)
        if (a->part[i].entity != ICAP_NULL_BODY)
            note(a, PROBE_NOTE_204_BODY);
    a->state = PROBE_ANSWER_DONE;
}

static enum err head_line(struct probe_answer *a, struct span raw, struct span line)
{
    if (a->state == PROBE_ANSWER_START && line.n == 0) {
        note(a, PROBE_NOTE_LEADING_LINES);
        return ++a->empty_lines > EMPTY_LINES_MAX ? broken(a, "it is nothing but empty lines") : OK;
    }
    buf_add(&a->head, raw);
    if (a->head.err)
        return broken(a, "its head is longer than 256 KiB");
    if (a->state == PROBE_ANSWER_START)
        return status_line(a, line);
    if (line.n > 0)
        check_field(a, line);
    else
        head_end(a);
    return OK;
}

/* ---- what is encapsulated ---- */

/* "HTTP/1.1 403 Forbidden" */
static void http_status(struct probe_answer *a, struct span line)
{
    struct span rest = line, version = span_cut(&rest, ' ');
    uint64_t status;

    if (a->http_status == 0 && span_istarts(version, SPAN("HTTP/")) &&
        span_u64(span_cut(&rest, ' '), 999, &status) == OK)
        a->http_status = (unsigned)status;
}

static enum err http_line(struct probe_answer *a, struct span raw, struct span line)
{
    if (a->part[a->at_part].entity == ICAP_RES_HDR)
        http_status(a, line);
    buf_add(&a->http, raw);
    if (a->http.err)
        return broken(a, "an encapsulated head does not end within 256 KiB");
    if (line.n == 0) {
        a->at_part++;
        enter_part(a);
    }
    return OK;
}

/* chunk-size [ chunk-ext ], RFC 9112 7.1 */
static enum err chunk_size_line(struct probe_answer *a, struct span line)
{
    struct span rest = line, size = span_cut(&rest, ';'), trimmed = span_trim(size);

    if (span_hex_u64(trimmed, UINT32_MAX, &a->chunk_left) != OK)
        return broken(a, "where a chunk-size should be there is something else");
    if (trimmed.n != size.n)
        note(a, PROBE_NOTE_CHUNK_SIZE);
    a->state = a->chunk_left ? PROBE_ANSWER_CHUNK_DATA : PROBE_ANSWER_TRAILER;
    return OK;
}

static enum err chunk_end_line(struct probe_answer *a, struct span line)
{
    if (line.n == 0) {
        a->state = PROBE_ANSWER_CHUNK_SIZE;
        return OK;
    }
    note(a, PROBE_NOTE_CHUNK_END);
    return chunk_size_line(a, line);
}

static enum err trailer_line(struct probe_answer *a, struct span line)
{
    if (line.n == 0)
        a->state = PROBE_ANSWER_DONE;
    else
        note(a, PROBE_NOTE_TRAILER);
    return OK;
}

/* ---- feeding ---- */

static enum err take_line(struct probe_answer *a)
{
    struct span raw = buf_span(&a->line);
    struct span line = span_sub(raw, 0, raw.n - 1);
    bool has_cr = line.n > 0 && line.p[line.n - 1] == '\r';

    if (has_cr)
        line.n--;
    else
        note(a, a->state == PROBE_ANSWER_HTTP ? PROBE_NOTE_HTTP_BARE_LF : PROBE_NOTE_BARE_LF);
    switch (a->state) {
    case PROBE_ANSWER_START:
    case PROBE_ANSWER_HEAD: return head_line(a, raw, line);
    case PROBE_ANSWER_HTTP: return http_line(a, raw, line);
    case PROBE_ANSWER_CHUNK_SIZE: return chunk_size_line(a, line);
    case PROBE_ANSWER_CHUNK_END: return chunk_end_line(a, line);
    case PROBE_ANSWER_TRAILER: return trailer_line(a, line);
    case PROBE_ANSWER_CHUNK_DATA:
    case PROBE_ANSWER_DONE:
    case PROBE_ANSWER_BROKEN: break;
    }
    return ERR_BUG;
}

static enum err feed_data(struct probe_answer *a, struct span in, size_t *ret_used)
{
    struct span data = span_sub(in, 0, a->chunk_left);

    buf_add(&a->body, data);
    if (a->body.err)
        return a->body.err == ERR_NOMEM ? ERR_NOMEM : broken(a, "its body is far too long");
    a->chunk_left -= data.n;
    if (a->chunk_left == 0)
        a->state = PROBE_ANSWER_CHUNK_END;
    *ret_used += data.n;
    return OK;
}

static enum err feed_line(struct probe_answer *a, struct span in, size_t *ret_used)
{
    size_t lf = span_find(in, '\n');
    size_t n = lf < in.n ? lf + 1 : in.n;
    enum err e;

    buf_add(&a->line, span_sub(in, 0, n));
    if (a->line.err)
        return a->line.err == ERR_NOMEM ? ERR_NOMEM : broken(a, "a line is longer than 64 KiB");
    *ret_used += n;
    if (lf == in.n)
        return OK;
    e = take_line(a);
    buf_reset(&a->line);
    return e;
}

enum err probe_answer_feed(struct probe_answer *a, struct span in, size_t *ret_used)
{
    *ret_used = 0;
    while (*ret_used < in.n && a->state != PROBE_ANSWER_DONE) {
        struct span rest = span_sub(in, *ret_used, SIZE_MAX);

        if (a->state == PROBE_ANSWER_BROKEN)
            return ERR_SYNTAX;
        TRY(a->state == PROBE_ANSWER_CHUNK_DATA ? feed_data(a, rest, ret_used)
                                                : feed_line(a, rest, ret_used));
    }
    return OK;
}

void probe_answer_eof(struct probe_answer *a)
{
    if (a->state == PROBE_ANSWER_START && a->line.n == 0)
        (void)broken(a, "the server closed the connection without an answer");
    else if (a->state != PROBE_ANSWER_DONE && a->state != PROBE_ANSWER_BROKEN)
        (void)broken(a, "the server closed the connection in the middle of its answer");
}

/* ---- asking ---- */

bool probe_answer_next(const struct probe_answer *a, struct span prefix, size_t *at,
                       struct span *ret_name, struct span *ret_value)
{
    struct span head = buf_span(&a->head);

    while (*at < head.n) {
        struct span rest = span_sub(head, *at, SIZE_MAX), line = span_cut(&rest, '\n');
        struct span value = line, name;
        bool first = *at == 0;

        *at += line.n + 1;
        name = span_trim(span_cut(&value, ':'));
        if (first || !value.p || !span_istarts(name, prefix))
            continue;
        if (value.n > 0 && value.p[value.n - 1] == '\r')
            value.n--;
        *ret_name = name;
        *ret_value = span_trim(value);
        return true;
    }
    return false;
}

struct span probe_answer_field(const struct probe_answer *a, struct span name)
{
    struct span found, value;
    size_t at = 0;

    while (probe_answer_next(a, name, &at, &found, &value))
        if (found.n == name.n)
            return value;
    return SPAN_NONE;
}
