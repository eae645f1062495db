/* SPDX-License-Identifier: Apache-2.0 */
/* probe_adapt.c - what a service does with files: small ones with and without Allow: 204, previews,
 * one of 256 KiB, and the EICAR test file. */
#include <stdio.h>

#include "cli/probe_int.h"

#define LARGE_SIZE    262144u
#define LAST_PIECE    16384u /* of it, held back to see whether the answer begins before */
#define PREVIEW_MAX   4096u
#define LISTEN_MS     150u
#define FIRST_BYTE_MS 500u
#define BODY_MAX      (8u << 20)

static const char small_text[] =
    "This is a plain text that sallyport probe sends; nothing in it needs to be changed.\n";

/* The EICAR test string, in two parts: no scanner shall take this program for infected. */
static const char eicar_1[] = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-";
static const char eicar_2[] = "ANTIVIRUS-TEST-FILE!$H+H*";

/* ---- judging an answer ---- */

static bool is_204_allowed(const struct probe_request *r)
{
    return r->allow_204 || r->has_preview;
}

static void judge_204(struct probe *p, const char *what, const struct probe_request *r,
                      bool went_on, const struct probe_answer *a)
{
    if (!r->allow_204 && (went_on || !is_204_allowed(r)))
        probe_bad(p->report, PROBE_NOT_ALLOWED_204, "%s: 204, which the request does not allow",
                  what);
    if (probe_answer_has(a, PROBE_NOTE_204_BODY))
        probe_bad(p->report, PROBE_BYTES_AFTER_204, "%s: 204 whose Encapsulated announces a body",
                  what);
}

static void judge_200(struct probe *p, const char *what, const struct probe_request *r,
                      const struct probe_answer *a)
{
    bool changed = !span_eq(buf_span(&a->body), r->body) ||
                   (r->method == ICAP_RESPMOD ? a->http_status != 200 : a->http_status != 0);

    if (a->n_parts == 0)
        probe_bad(p->report, PROBE_ENCAPSULATED_MISSING, "%s: 200 without Encapsulated", what);
    else
        probe_ok(p->report, PROBE_ENCAPSULATED_MISSING, "answers have Encapsulated");
    if (probe_answer_has(a, PROBE_NOTE_OFFSET))
        probe_bad(p->report, PROBE_ENCAPSULATED_OFFSET,
                  "%s: Encapsulated is '" SPAN_FMT "', but the heads have %zu bytes", what,
                  SPAN_ARG(probe_answer_field(a, SPAN("Encapsulated"))), a->http.n);
    else if (probe_answer_has(a, PROBE_NOTE_ENCAPSULATED))
        probe_bad(p->report, PROBE_ENCAPSULATED_OFFSET, "%s: Encapsulated is '" SPAN_FMT "'", what,
                  SPAN_ARG(probe_answer_field(a, SPAN("Encapsulated"))));
    else if (a->n_parts > 0)
        probe_ok(p->report, PROBE_ENCAPSULATED_OFFSET, "offsets are where the parts begin");
    if (changed)
        probe_bad(p->report, PROBE_BODY_CHANGED,
                  "%s: %zu bytes went in, %zu came back, with HTTP status %u", what, r->body.n,
                  a->body.n, a->http_status);
    else
        probe_ok(p->report, PROBE_BODY_CHANGED, "what is clean comes back unchanged");
}

static void judge_istag(struct probe *p, const char *what, const struct probe_answer *a)
{
    struct span tag = probe_answer_field(a, SPAN("ISTag"));

    if (tag.n == 0) {
        probe_bad(p->report, PROBE_ANSWER_ISTAG, "%s: the answer has no ISTag", what);
        return;
    }
    probe_ok(p->report, PROBE_ANSWER_ISTAG, "answers have an ISTag");
    if (p->istag[0] == '\0')
        return;
    if (span_eq(span_sub(tag, 0, sizeof p->istag - 1), span_of(p->istag)))
        probe_ok(p->report, PROBE_ISTAG_DIFFERS, "the ISTag is the same on all answers");
    else
        probe_bad(p->report, PROBE_ISTAG_DIFFERS,
                  "%s: the ISTag is " SPAN_FMT ", but OPTIONS said %s", what, SPAN_ARG(tag),
                  p->istag);
}

/* False: it has no status that counts. |went_on|: after 100 Continue. */
static bool judge(struct probe *p, const char *what, const struct probe_request *r, bool went_on,
                  const struct probe_answer *a)
{
    if (a->status != 200 && a->status != 204) {
        probe_bad(p->report, PROBE_ADAPT_ANSWER, "%s: status %u", what, a->status);
        return false;
    }
    probe_ok(p->report, PROBE_ADAPT_ANSWER, "files are answered with 200 or 204");
    judge_istag(p, what, a);
    if (a->status == 204)
        judge_204(p, what, r, went_on, a);
    else
        judge_200(p, what, r, a);
    return true;
}

/* Is the answer over where it says so? */
static void listen_on(struct probe *p, struct probe_talk *k, const char *what, unsigned status)
{
    bool more = probe_talk_listen(k, LISTEN_MS);

    if (more && status == 204)
        probe_bad(p->report, PROBE_BYTES_AFTER_204, "%s: %zu bytes came after the 204", what,
                  k->in.n);
    else if (more)
        probe_bad(p->report, PROBE_BROKEN_ANSWER, "%s: %zu bytes came after the end of the answer",
                  what, k->in.n);
    else if (status == 204)
        probe_ok(p->report, PROBE_BYTES_AFTER_204, "nothing comes after a 204");
}

/* ---- small files ---- */

static void try_small(struct probe *p, enum icap_method m, bool allow_204)
{
    struct probe_request r = {
        .method = m,
        .name = "sallyport-probe.txt",
        .body = {small_text, sizeof small_text - 1},
        .allow_204 = allow_204
    };
    struct probe_talk k;
    struct probe_answer a;
    struct buf request;
    char what[80];
    enum err e;

    (void)snprintf(what, sizeof what, "%s of a small file%s", icap_method_name(m),
                   allow_204 ? " with Allow: 204" : "");
    buf_init(&request, 0);
    probe_add_request(p, &r, &request);
    e = probe_fresh_exchange(p, &k, what, buf_span(&request), &a);
    if (e != OK) {
        probe_bad(p->report, PROBE_ADAPT_ANSWER, "%s: %s", what, k.why);
    } else if (judge(p, what, &r, false, &a)) {
        listen_on(p, &k, what, a.status);
        if (!allow_204 && a.status != 204)
            probe_ok(p->report, PROBE_NOT_ALLOWED_204,
                     "no 204 where the request does not allow it");
    }
    probe_answer_done(&a);
    probe_talk_close(&k);
    probe_request_done(&request);
}

/* ---- previews ---- */

/* All of the file is in the preview, and says so: there is nothing to ask for. */
static void try_ieof(struct probe *p, enum icap_method m)
{
    struct probe_request r = {
        .method = m,
        .name = "sallyport-probe.txt",
        .body = {small_text, sizeof small_text - 1},
        .has_preview = true,
        .preview = p->preview
    };
    struct probe_talk k;
    struct probe_answer a;
    struct buf request;
    char what[80];
    enum err e;

    if (r.preview < r.body.n) /* a file that fits */
        r.body.n = (size_t)r.preview;
    (void)snprintf(what, sizeof what, "%s with a preview that is all (ieof)", icap_method_name(m));
    buf_init(&request, 0);
    probe_add_request(p, &r, &request);
    e = probe_fresh_exchange(p, &k, what, buf_span(&request), &a);
    if (e == OK && a.status == 100)
        probe_bad(p->report, PROBE_ANSWER_100_AFTER_IEOF, "%s: 100 Continue", what);
    else if (e == OK)
        probe_ok(p->report, PROBE_ANSWER_100_AFTER_IEOF, "no 100 after ieof");
    else
        probe_bad(p->report, PROBE_PREVIEW_ANSWER, "%s: %s", what, k.why);
    if (e == OK && a.status != 100 && judge(p, what, &r, false, &a))
        listen_on(p, &k, what, a.status);
    probe_answer_done(&a);
    probe_talk_close(&k);
    probe_request_done(&request);
}

/* ---- a large file ---- */

struct large {
    struct probe_request request;
    struct probe_talk talk;
    struct probe_answer answer;
    const char *what;
    bool went_on, over; /* over: answered after the preview, or failed */
};

/* The preview, and what the server makes of it. */
static void large_preview(struct probe *p, struct large *l, struct buf *out)
{
    enum err e = probe_exchange(p, &l->talk, l->what, buf_span(out), &l->answer);

    if (e != OK) {
        probe_bad(p->report, PROBE_PREVIEW_ANSWER, "%s, after the preview: %s", l->what,
                  l->talk.why);
        l->over = true;
        return;
    }
    probe_ok(p->report, PROBE_PREVIEW_ANSWER, "previews are answered, this one with %u",
             l->answer.status);
    l->went_on = l->answer.status == 100;
    l->over = !l->went_on;
    if (l->over && judge(p, l->what, &l->request, false, &l->answer))
        probe_ok(p->report, PROBE_LARGE_ANSWER, "%s: answered after the preview", l->what);
    if (!l->went_on)
        return;
    probe_answer_done(&l->answer);
    probe_answer_init(&l->answer, BODY_MAX);
    buf_reset(out);
    probe_add_chunk(out,
                    span_sub(l->request.body, (size_t)l->request.preview,
                             l->request.body.n - (size_t)l->request.preview - LAST_PIECE),
                    false);
}

static void judge_first_byte(struct probe *p, const struct large *l, bool early)
{
    if (l->request.method != ICAP_RESPMOD)
        return; /* uploads do not stall */
    if (early)
        probe_ok(p->report, PROBE_FIRST_BYTE_LATE, "the answer begins before the file is through");
    else
        probe_bad(p->report, PROBE_FIRST_BYTE_LATE,
                  "%s: no byte of the answer before all of the file was there", l->what);
}

/* All but the last piece is in |out|. */
static void large_rest(struct probe *p, struct large *l, struct buf *out)
{
    struct span last = span_sub(l->request.body, l->request.body.n - LAST_PIECE, SIZE_MAX);
    bool early;
    enum err e;

    l->talk.heard = false;
    e = probe_talk_send(&l->talk, buf_span(out));
    early = e == OK && (l->talk.heard || probe_talk_listen(&l->talk, FIRST_BYTE_MS));
    buf_reset(out);
    probe_add_chunk(out, last, true);
    if (e == OK)
        e = probe_talk_send(&l->talk, buf_span(out));
    if (e != ERR_TIMEOUT)
        e = probe_talk_receive(&l->talk, &l->answer);
    probe_note_form(p, l->what, &l->answer);
    if (e != OK) {
        probe_bad(p->report, PROBE_LARGE_ANSWER, "%s: %s", l->what, l->talk.why);
        return;
    }
    if (!judge(p, l->what, &l->request, l->went_on, &l->answer))
        return;
    probe_ok(p->report, PROBE_LARGE_ANSWER, "a file of 256 KiB is answered");
    judge_first_byte(p, l, early);
}

static void fill_text(struct buf *text)
{
    for (unsigned i = 0; text->n < LARGE_SIZE && !text->err; i++)
        buf_fmt(text, "line %u of a large plain text\n", i);
    if (!text->err)
        text->n = LARGE_SIZE;
}

static void try_large(struct probe *p, enum icap_method m, bool with_preview)
{
    struct large l = {
        .request = {.method = m, .name = "sallyport-probe-large.txt"}
    };
    struct buf text, out;
    char what[80];

    buf_init(&text, 0);
    buf_init(&out, 0);
    fill_text(&text);
    (void)snprintf(what, sizeof what, "%s of 256 KiB%s", icap_method_name(m),
                   with_preview ? " with a preview" : "");
    l.what = what;
    l.request.body = buf_span(&text);
    l.request.has_preview = with_preview;
    l.request.hold_back = with_preview ? 0 : LAST_PIECE;
    l.request.preview = p->preview < PREVIEW_MAX ? p->preview : PREVIEW_MAX;
    probe_add_request(p, &l.request, &out);
    l.over = probe_talk_open(&l.talk, &p->target) != OK;
    if (l.over)
        probe_bad(p->report, PROBE_LARGE_ANSWER, "%s: %s", what, l.talk.why);
    if (l.over || !with_preview)
        probe_answer_init(&l.answer, BODY_MAX);
    else
        large_preview(p, &l, &out);
    if (!l.over)
        large_rest(p, &l, &out);
    probe_answer_done(&l.answer);
    probe_talk_close(&l.talk);
    buf_done(&text);
    buf_done(&out);
}

/* ---- EICAR ---- */

static void judge_eicar(struct probe *p, const char *what, const struct probe_request *r,
                        const struct probe_answer *a)
{
    struct span infection = probe_answer_field(a, SPAN("X-Infection-Found"));
    bool blocked;

    if (infection.n == 0)
        infection = probe_answer_field(a, SPAN("X-Virus-ID"));
    blocked = infection.n > 0 || a->http_status >= 400 || a->status == 403 ||
              (a->status == 200 && !span_eq(buf_span(&a->body), r->body));
    if (!blocked) {
        probe_bad(p->report, PROBE_EICAR_PASSED, "%s passes, with ICAP status %u", what, a->status);
        probe_skip(p->report, PROBE_EICAR_HEADER, "it was not blocked");
        return;
    }
    probe_ok(p->report, PROBE_EICAR_PASSED, "%s is blocked, with ICAP status %u, HTTP status %u",
             what, a->status, a->http_status);
    if (infection.n)
        probe_ok(p->report, PROBE_EICAR_HEADER, "and named: " SPAN_FMT, SPAN_ARG(infection));
    else
        probe_bad(p->report, PROBE_EICAR_HEADER, "it was blocked without X-Infection-Found");
}

static void try_eicar(struct probe *p, enum icap_method m)
{
    char file[sizeof eicar_1 + sizeof eicar_2], what[80];
    struct probe_request r = {.method = m, .name = "eicar.com", .allow_204 = true};
    struct probe_talk k;
    struct probe_answer a;
    struct buf request;
    enum err e;

    (void)snprintf(file, sizeof file, "%s%s", eicar_1, eicar_2);
    (void)snprintf(what, sizeof what, "%s of the EICAR test file", icap_method_name(m));
    r.body = span_of(file);
    buf_init(&request, 0);
    probe_add_request(p, &r, &request);
    e = probe_fresh_exchange(p, &k, what, buf_span(&request), &a);
    if (e != OK) {
        probe_bad(p->report, PROBE_EICAR_ANSWER, "%s: %s", what, k.why);
    } else {
        probe_ok(p->report, PROBE_EICAR_ANSWER, "the EICAR test file gets a whole answer");
        judge_istag(p, what, &a);
        judge_eicar(p, what, &r, &a);
    }
    probe_answer_done(&a);
    probe_talk_close(&k);
    probe_request_done(&request);
}

/* ---- all of it ---- */

static void try_method(struct probe *p, enum icap_method m)
{
    try_small(p, m, true);
    /* A service that does not answer the simplest request would only wait once more each time. */
    if (probe_severity_of(p->report, PROBE_ADAPT_ANSWER) == PROBE_FAIL)
        return;
    try_small(p, m, false);
    try_large(p, m, false);
    if (p->has_preview) {
        try_ieof(p, m);
        try_large(p, m, true);
    }
    if (p->eicar)
        try_eicar(p, m);
}

void probe_adapt(struct probe *p)
{
    if (!p->has_preview) {
        probe_skip(p->report, PROBE_ANSWER_100_AFTER_IEOF, "it asks for no previews");
        probe_skip(p->report, PROBE_PREVIEW_ANSWER, "it asks for no previews");
    }
    if (!p->eicar) {
        probe_skip(p->report, PROBE_EICAR_ANSWER, "--no-eicar");
        probe_skip(p->report, PROBE_EICAR_PASSED, "--no-eicar");
        probe_skip(p->report, PROBE_EICAR_HEADER, "--no-eicar");
    }
    for (unsigned m = ICAP_REQMOD; m < ICAP_METHODS; m++)
        if (p->methods & 1u << m)
            try_method(p, (enum icap_method)m);
}
