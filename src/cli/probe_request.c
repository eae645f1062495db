/* SPDX-License-Identifier: Apache-2.0 */
/* probe_request.c - the requests of a probe, and one exchange. */
#include <string.h>

#include "cli/probe_int.h"

#define BODY_MAX (8u << 20)

/* A larger one moves, and leaves what it had where it was. */
#define HEAD_ROOM 8192u

void probe_request_done(struct buf *request)
{
    if (request->p)
        explicit_bzero(request->p, request->cap);
    buf_done(request);
}

void probe_add_head(const struct probe *p, struct buf *out, const char *method, const char *url,
                    const char *version, const char *fields)
{
    if (p->authorization)
        (void)buf_reserve(out, HEAD_ROOM);
    buf_fmt(out, "%s %s %s\r\nHost: %s\r\nUser-Agent: sallyport-probe/" SALLYPORT_VERSION "\r\n",
            method, url, version, p->host_header);
    if (p->authorization)
        buf_fmt(out, "Authorization: %s\r\n", p->authorization);
    buf_fmt(out, "%s\r\n", fields);
}

void probe_add_chunk(struct buf *out, struct span bytes, bool last)
{
    if (bytes.n > 0) {
        buf_fmt(out, "%zx\r\n", bytes.n);
        buf_add(out, bytes);
        buf_text(out, "\r\n");
    }
    if (last)
        buf_text(out, "0\r\n\r\n");
}

static void add_preview(const struct probe_request *r, struct buf *out)
{
    bool whole = r->preview >= r->body.n;

    probe_add_chunk(out, span_sub(r->body, 0, r->preview), false);
    buf_text(out, whole ? "0; ieof\r\n\r\n" : "0\r\n\r\n");
}

void probe_add_request(const struct probe *p, const struct probe_request *r, struct buf *out)
{
    bool respmod = r->method == ICAP_RESPMOD;
    struct buf request, response, fields;

    buf_init(&request, 0);
    buf_init(&response, 0);
    buf_init(&fields, 0);
    buf_fmt(&request, "%s http://probe.invalid/%s HTTP/1.1\r\nHost: probe.invalid\r\n",
            respmod ? "GET" : "PUT", r->name);
    if (respmod)
        buf_fmt(&response,
                "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                "Content-Length: %zu\r\n\r\n",
                r->body.n);
    else
        buf_fmt(&request, "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n",
                r->body.n);
    buf_text(&request, "\r\n");
    buf_text(&fields, r->allow_204 ? "Allow: 204\r\n" : "");
    buf_text(&fields, r->close ? "Connection: close\r\n" : "");
    if (r->has_preview)
        buf_fmt(&fields, "Preview: %llu\r\n", (unsigned long long)r->preview);
    if (respmod)
        buf_fmt(&fields, "Encapsulated: req-hdr=0, res-hdr=%zu, res-body=%zu\r\n", request.n,
                request.n + response.n);
    else
        buf_fmt(&fields, "Encapsulated: req-hdr=0, req-body=%zu\r\n", request.n);
    probe_add_head(p, out, icap_method_name(r->method), p->url, "ICAP/1.0", buf_cstr(&fields));
    buf_add(out, buf_span(&request));
    buf_add(out, buf_span(&response));
    if (r->has_preview)
        add_preview(r, out);
    else
        probe_add_chunk(out, span_sub(r->body, 0, r->body.n - r->hold_back), r->hold_back == 0);
    buf_done(&request);
    buf_done(&response);
    buf_done(&fields);
}

/* ---- the form of an answer ---- */

static const struct {
    enum probe_note note;
    enum probe_check check;
    const char *bad, *good;
} forms[] = {
    {PROBE_NOTE_LEADING_LINES, PROBE_LEADING_LINES, "empty lines before the status-line",
     "answers begin with the status-line"                                                                                                   },
    {PROBE_NOTE_BARE_LF,       PROBE_BARE_LF,       "lines that end with LF alone",             "lines end with CR LF"                      },
    {PROBE_NOTE_HTTP_BARE_LF,  PROBE_HTTP_BARE_LF,
     "lines of the encapsulated HTTP head that end with LF alone",                              "lines of encapsulated heads end with CR LF"},
    {PROBE_NOTE_STATUS_LINE,   PROBE_STATUS_LINE,
     "the status-line is not ICAP/1.0, a blank, the status, a blank, words",                    "status-lines are as they should be"        },
    {PROBE_NOTE_FIELD,         PROBE_FIELD_SYNTAX,  "a line of the head that is no field-line",
     "every line of the heads is a field-line"                                                                                              },
    {PROBE_NOTE_FOLD,          PROBE_FIELD_FOLD,    "a field that goes on in the next line",
     "every field has one line"                                                                                                             },
    {PROBE_NOTE_CONTROL,       PROBE_FIELD_CONTROL, "control bytes in a field",
     "no control bytes in fields"                                                                                                           },
    {PROBE_NOTE_CHUNK_SIZE,    PROBE_CHUNK_SYNTAX,  "blanks around a chunk-size",
     "chunks are well formed"                                                                                                               },
    {PROBE_NOTE_CHUNK_END,     PROBE_CHUNK_SYNTAX,  "a chunk without CR LF behind its data",
     "chunks are well formed"                                                                                                               },
};

void probe_note_form(struct probe *p, const char *what, const struct probe_answer *a)
{
    /* A close before the first byte is no matter of form. */
    if (a->state == PROBE_ANSWER_BROKEN && (a->head.n > 0 || a->line.n > 0))
        probe_bad(p->report, PROBE_BROKEN_ANSWER, "the answer to %s: %s", what, a->fault);
    else if (a->state == PROBE_ANSWER_DONE)
        probe_ok(p->report, PROBE_BROKEN_ANSWER, "every answer can be understood");
    if (a->head.n == 0)
        return;
    for (unsigned i = 0; i < ARRAY_LEN(forms); i++) {
        if (probe_answer_has(a, forms[i].note))
            probe_bad(p->report, forms[i].check, "the answer to %s: %s", what, forms[i].bad);
        else
            probe_ok(p->report, forms[i].check, "%s", forms[i].good);
    }
}

/* A password that was refused is not said again: servers count. */
static void note_login(struct probe *p, const char *what, const struct probe_answer *a)
{
    if (a->state != PROBE_ANSWER_DONE || a->status < 200)
        return;
    if (a->status == 407 && p->authorization)
        probe_bad(p->report, PROBE_LOGIN, "%s: user '%s' is not accepted with this password (407)",
                  what, p->user);
    else if (a->status == 407)
        probe_bad(p->report, PROBE_LOGIN,
                  "%s: the server wants to know who asks (407); name the user in the URL, as in "
                  "icaps://user@host/service",
                  what);
    else if (p->authorization)
        probe_ok(p->report, PROBE_LOGIN, "user '%s' is let in", p->user);
    else
        probe_ok(p->report, PROBE_LOGIN, "the server does not ask who we are");
    if (a->status == 407) {
        p->denied = true;
        p->authorization = NULL;
    }
}

enum err probe_exchange(struct probe *p, struct probe_talk *k, const char *what,
                        struct span request, struct probe_answer *a)
{
    enum err e;

    probe_answer_init(a, BODY_MAX);
    e = probe_talk_send(k, request);
    /* RFC 3507 erratum E7: the answer may be there although the server takes no more. */
    if (e != ERR_TIMEOUT)
        e = probe_talk_receive(k, a);
    probe_note_form(p, what, a);
    note_login(p, what, a);
    return e;
}

enum err probe_fresh_exchange(struct probe *p, struct probe_talk *k, const char *what,
                              struct span request, struct probe_answer *a)
{
    enum err e = probe_talk_open(k, &p->target);

    if (e == OK)
        return probe_exchange(p, k, what, request, a);
    probe_answer_init(a, BODY_MAX);
    return e;
}
