/* SPDX-License-Identifier: Apache-2.0 */
/* Plays tests/data/icap/ *.md: prose, specification and test at once. A "## name" begins a scene;
 * its fences are played in order:
 *
 *   client   bytes from the wire; each line ends with CRLF, but for one that ends with "\-";
 *            escapes: \r \n \t \0 \\ \xHH
 *   events   the events since the last such fence, one a line; BODY pieces are joined
 *   do       calls of the driver, one a line (see actions[]); " = code" expects that error
 *   http     the encapsulated head of the next reply
 *   server   the bytes written since the last such fence
 *
 * Each scene runs whole, byte by byte, cut in two at every byte, in front of a guard page, and with
 * each allocation failing in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "guard.h"
#include "icap/icap_engine.h"

#define STEPS_MAX  40
#define BLOCKS_MAX 8192

enum step_kind { STEP_CLIENT, STEP_EVENTS, STEP_DO, STEP_HTTP, STEP_SERVER };

struct step {
    enum step_kind kind;
    struct span text;
};

struct scene {
    struct span name;
    struct step steps[STEPS_MAX];
    unsigned n;
};

enum cut { CUT_NONE, CUT_BYTES, CUT_AT, CUT_GUARD };

struct player {
    struct icap_engine *e;
    uint64_t now;
    bool failing; /* out of memory is being played: nothing is compared */
    bool failed;
    enum cut cut;
    size_t cut_at;
    struct block *blocks[BLOCKS_MAX]; /* one for each piece of input */
    unsigned n_blocks;
    struct {
        struct slice s;
    } pending[BLOCKS_MAX];
    unsigned pending_first, pending_n;
    struct buf log, body, wire, http, fields;
    struct guard guard;
};

static const struct icap_limits limits = {
    .request_line_max = 512,
    .head_max = 2048,
    .fields_max = 16,
    .http_head_max = 1024,
    .chunk_line_max = 128,
    .trailer_max = 256,
    .chunk_overhead_max = 1024,
    .preview_max = 4096,
    .discard_max = 100,
    .empty_lines_max = 2,
    .memory_max = 1u << 16,
    .head_ms = 10000,
    .body_idle_ms = 60000,
    .write_idle_ms = 50000,
    .idle_ms = 120000,
    .transaction_ms = 600000,
};
static const struct icap_identity identity = {
    {"sallyport", 9},
    {"none",      4}
};

/* ---- texts ---- */

/* |raw| with its escapes resolved. */
static void add_unescaped(struct buf *b, struct span raw)
{
    for (size_t i = 0; i < raw.n; i++) {
        char c = raw.p[i];

        if (c == '\\' && i + 1 < raw.n) {
            c = raw.p[++i];
            if (c == 'x' && i + 2 < raw.n) {
                c = (char)(char_hex(raw.p[i + 1]) << 4 | char_hex(raw.p[i + 2]));
                i += 2;
            } else {
                c = c == 'r' ? '\r' : c == 'n' ? '\n' : c == 't' ? '\t' : c == '0' ? '\0' : c;
            }
        }
        buf_char(b, c);
    }
}

static void add_escaped(struct buf *b, struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c == '\r')
            buf_text(b, "\\r");
        else if (c == '\n')
            buf_text(b, "\\n");
        else if (c < 0x20 || c >= 0x7f)
            buf_fmt(b, "\\x%02x", c);
        else
            buf_char(b, (char)c);
    }
}

/* A fence's lines as wire bytes. */
static void add_wire(struct buf *b, struct span text)
{
    while (text.n) {
        struct span line = span_cut(&text, '\n');
        bool bare = span_ends(line, SPAN("\\-"));

        add_unescaped(b, span_sub(line, 0, line.n - (bare ? 2 : 0)));
        if (!bare)
            buf_text(b, "\r\n");
    }
}

/* ---- blocks that are exactly as large as the piece, and whose references are counted ---- */

static struct slice piece_new(struct player *p, struct span s)
{
    struct block *b = malloc(sizeof *b);

    assert_non_null(b);
    assert_true(p->n_blocks < BLOCKS_MAX);
    *b = (struct block){.refs = 1, .used = (uint32_t)s.n};
    if (p->cut == CUT_GUARD) {
        p->guard = guard_new(s.n);
        b->data = (uint8_t *)(uintptr_t)guard_span(&p->guard, s).p;
    } else {
        b->data = malloc(s.n + (s.n == 0));
        assert_non_null(b->data);
        memcpy(b->data, s.p, s.n);
    }
    p->blocks[p->n_blocks++] = b;
    return (struct slice){b, 0, (uint32_t)s.n};
}

static void pieces_free(struct player *p)
{
    for (unsigned i = 0; i < p->n_blocks; i++) {
        assert_int_equal(p->blocks[i]->refs, 1); /* nobody kept or lost one */
        if (p->cut != CUT_GUARD)
            free(p->blocks[i]->data);
        free(p->blocks[i]);
    }
    if (p->guard.map)
        guard_free(&p->guard);
}

/* ---- events ---- */

static void log_request(struct player *p)
{
    const struct icap_request *r = icap_current(p->e);
    struct buf *b = &p->log;

    assert_non_null(r);
    buf_fmt(b, "REQUEST %s " SPAN_FMT, icap_method_name(r->method), SPAN_ARG(r->uri.path));
    if (r->uri.query.n)
        buf_fmt(b, " query=" SPAN_FMT, SPAN_ARG(r->uri.query));
    buf_text(b, r->uri.secure ? " secure" : "");
    if (r->has_preview)
        buf_fmt(b, " preview=%u", (unsigned)r->preview);
    buf_text(b, r->allow.s204 ? " 204" : "");
    buf_text(b, r->allow.s206 ? " 206" : "");
    buf_text(b, r->allow.trailers ? " trailers" : "");
    buf_text(b, r->has_body ? " body" : "");
    buf_text(b, r->close ? " close" : "");
    if (r->http_request)
        buf_fmt(b, " | " SPAN_FMT " " SPAN_FMT, SPAN_ARG(r->http_request->method),
                SPAN_ARG(r->http_request->target));
    if (r->http_response)
        buf_fmt(b, " | %u", r->http_response->status);
    buf_char(b, '\n');
}

static void log_body(struct player *p)
{
    if (p->body.n == 0)
        return;
    buf_text(&p->log, "BODY ");
    add_escaped(&p->log, buf_span(&p->body));
    buf_char(&p->log, '\n');
    buf_reset(&p->body);
}

static void log_event(struct player *p, const struct icap_event *ev)
{
    if (ev->kind == ICAP_EV_BODY) {
        assert_true(ev->slice.len > 0);
        buf_add(&p->body, slice_span(ev->slice));
        block_unref(ev->slice.block);
        return;
    }
    log_body(p);
    switch (ev->kind) {
    case ICAP_EV_REQUEST: log_request(p); break;
    case ICAP_EV_PREVIEW_END:
        buf_text(&p->log, ev->ieof ? "PREVIEW_END ieof\n" : "PREVIEW_END\n");
        break;
    case ICAP_EV_END:
        buf_text(&p->log, "END");
        if (ev->trailers.n) {
            buf_char(&p->log, ' ');
            add_escaped(&p->log, ev->trailers);
        }
        buf_char(&p->log, '\n');
        break;
    case ICAP_EV_REFUSED:
        buf_fmt(&p->log, "REFUSED %u %s\n", ev->fault.status, ev->fault.why);
        p->failed |= ev->fault.err == ERR_NOMEM;
        break;
    case ICAP_EV_GONE: buf_fmt(&p->log, "GONE %s\n", ev->fault.why); break;
    case ICAP_EV_BODY:
    case ICAP_EV_NONE: break;
    }
}

static void drain(struct player *p)
{
    struct icap_event ev;

    while (icap_next(p->e, &ev))
        log_event(p, &ev);
}

static void note(struct player *p, enum err err)
{
    if (p->failing && err == ERR_NOMEM)
        p->failed = true;
    else
        assert_int_equal(err, OK);
}

/* Feeds what waits, as far as the engine takes it. */
static void pump(struct player *p)
{
    drain(p);
    while (p->pending_n) {
        struct slice *s = &p->pending[p->pending_first].s;
        size_t used = 0;

        note(p, icap_feed(p->e, *s, &used));
        drain(p);
        if (used == 0)
            return;
        *s = slice_sub(*s, (uint32_t)used, s->len - (uint32_t)used);
        if (s->len == 0) {
            p->pending_first++;
            p->pending_n--;
        }
    }
}

static void push_piece(struct player *p, struct span s)
{
    if (s.n == 0)
        return;
    p->pending[p->pending_first + p->pending_n++].s = piece_new(p, s);
    pump(p);
}

/* ---- steps ---- */

static void play_client(struct player *p, struct span text)
{
    struct buf b;
    struct span s;

    buf_init(&b, 0);
    add_wire(&b, text);
    s = buf_span(&b);
    switch (p->cut) {
    case CUT_NONE:
    case CUT_GUARD: push_piece(p, s); break;
    case CUT_BYTES:
        for (size_t i = 0; i < s.n; i++)
            push_piece(p, span_sub(s, i, 1));
        break;
    case CUT_AT:
        if (p->cut_at < s.n) {
            push_piece(p, span_sub(s, 0, p->cut_at));
            push_piece(p, span_sub(s, p->cut_at, SIZE_MAX));
        } else {
            push_piece(p, s);
        }
        p->cut_at -= p->cut_at < s.n ? p->cut_at : s.n;
        break;
    }
    buf_done(&b);
}

static void check_text(const char *what, struct buf *got, struct span want)
{
    struct buf w;

    buf_init(&w, 0);
    buf_add(&w, want);
    if (!span_eq(buf_span(got), want))
        print_error("%s differ\n--- expected\n%s\n--- got\n%s\n", what, buf_cstr(&w),
                    buf_cstr(got));
    assert_true(span_eq(buf_span(got), want));
    buf_done(&w);
}

static void play_events(struct player *p, struct span text)
{
    log_body(p);
    if (!p->failing)
        check_text("events", &p->log, text);
    buf_reset(&p->log);
}

static void take_output(struct player *p)
{
    struct chain *out = icap_output(p->e);

    for (uint32_t i = 0; i < out->n; i++) {
        const struct segment *s = chain_at(out, i);

        assert_int_not_equal(s->kind, SEGMENT_FILE);
        buf_add(&p->wire, s->kind == SEGMENT_SLICE ? slice_span(s->slice) : s->text);
    }
    icap_sent(p->e, out->len);
}

static void play_server(struct player *p, struct span text)
{
    struct buf want;

    take_output(p);
    buf_init(&want, 0);
    add_wire(&want, text);
    if (!p->failing)
        check_text("bytes", &p->wire, buf_span(&want));
    buf_done(&want);
    buf_reset(&p->wire);
    pump(p);
}

static struct span word(struct span *rest)
{
    return span_cut(rest, ' ');
}

static enum err do_reply(struct player *p, struct span args)
{
    uint64_t status = 0;
    struct icap_reply r = {.fields = buf_span(&p->fields), .http_head = buf_span(&p->http)};
    enum err e;

    assert_int_equal(span_u64(word(&args), 999, &status), OK);
    r.status = (unsigned)status;
    while (args.n) {
        struct span w = word(&args);

        r.has_body |= span_eq(w, SPAN("body"));
        r.close |= span_eq(w, SPAN("close"));
        if (span_eq(w, SPAN("request")))
            r.part = ICAP_PART_REQUEST;
        if (span_eq(w, SPAN("response")))
            r.part = ICAP_PART_RESPONSE;
        if (span_starts(w, SPAN("istag=")))
            r.istag = span_sub(w, 6, SIZE_MAX);
        if (span_starts(w, SPAN("trailers=")))
            r.trailer_names = span_sub(w, 9, SIZE_MAX);
    }
    e = status == 204 ? icap_no_change(p->e, &r) : icap_reply_head(p->e, &r);
    buf_reset(&p->fields);
    buf_reset(&p->http);
    return e;
}

static enum err do_field(struct player *p, struct span args)
{
    buf_add(&p->fields, args);
    buf_text(&p->fields, "\r\n");
    return OK;
}

static enum err do_go_on(struct player *p, struct span args)
{
    (void)args;
    return icap_go_on(p->e);
}

static enum err do_body(struct player *p, struct span args)
{
    struct buf b;
    enum err e;

    buf_init(&b, 0);
    add_unescaped(&b, args);
    e = icap_reply_copy(p->e, buf_span(&b));
    buf_done(&b);
    return e;
}

/* N bytes of 'x' as a slice. */
static enum err do_slice(struct player *p, struct span args)
{
    uint64_t n = 0;
    struct block *b;
    enum err e;

    assert_int_equal(span_u64(args, BLOCK_SIZE, &n), OK);
    b = block_new();
    if (!b)
        return ERR_NOMEM;
    memset(b->data, 'x', (size_t)n);
    e = icap_reply_body(p->e, (struct slice){b, 0, (uint32_t)n});
    block_unref(b);
    return e;
}

static enum err do_original(struct player *p, struct span args)
{
    uint64_t from = 0;

    assert_int_equal(span_u64(args, UINT64_MAX, &from), OK);
    return icap_reply_original(p->e, from);
}

/* "end [http trailer lines] [| icap trailer lines]", escaped */
static enum err do_end(struct player *p, struct span args)
{
    struct span http = span_cut(&args, '|');
    struct buf a, b;
    enum err e;

    buf_init(&a, 0);
    buf_init(&b, 0);
    add_unescaped(&a, span_trim(http));
    add_unescaped(&b, span_trim(args));
    e = icap_reply_end(p->e, buf_span(&a), buf_span(&b));
    buf_done(&a);
    buf_done(&b);
    return e;
}

static enum err do_discard(struct player *p, struct span args)
{
    (void)args;
    icap_discard_rest(p->e);
    return OK;
}

static enum err do_close_after(struct player *p, struct span args)
{
    (void)args;
    icap_close_after(p->e);
    return OK;
}

static enum err do_abort(struct player *p, struct span args)
{
    (void)args;
    icap_abort(p->e);
    return OK;
}

static enum err do_eof(struct player *p, struct span args)
{
    (void)args;
    icap_eof(p->e);
    return OK;
}

static enum err do_pause(struct player *p, struct span args)
{
    icap_pause(p->e, span_eq(args, SPAN("on")));
    return OK;
}

/* "wait MS": time passes. */
static enum err do_wait(struct player *p, struct span args)
{
    uint64_t ms = 0;

    assert_int_equal(span_u64(args, UINT32_MAX, &ms), OK);
    p->now += ms;
    icap_tick(p->e, p->now);
    return OK;
}

/* "wants read write close": exactly these. */
static enum err do_wants(struct player *p, struct span args)
{
    unsigned want = 0;

    while (args.n) {
        struct span w = word(&args);

        want |= span_eq(w, SPAN("read")) ? ICAP_WANT_READ : 0;
        want |= span_eq(w, SPAN("write")) ? ICAP_WANT_WRITE : 0;
        want |= span_eq(w, SPAN("close")) ? ICAP_WANT_CLOSE : 0;
    }
    if (!p->failing)
        assert_int_equal(icap_wants(p->e), want);
    return OK;
}

/* "deadline MS": so far ahead; "deadline never". */
static enum err do_deadline(struct player *p, struct span args)
{
    uint64_t ms = 0;

    if (p->failing)
        return OK;
    if (span_eq(args, SPAN("never"))) {
        assert_true(icap_deadline(p->e) == UINT64_MAX);
        return OK;
    }
    assert_int_equal(span_u64(args, UINT32_MAX, &ms), OK);
    assert_int_equal(icap_deadline(p->e) - p->now, ms);
    return OK;
}

static const struct {
    const char *name;
    enum err (*fn)(struct player *p, struct span args);
} actions[] = {
    {"abort",    do_abort      },
    {"body",     do_body       },
    {"close",    do_close_after},
    {"deadline", do_deadline   },
    {"discard",  do_discard    },
    {"end",      do_end        },
    {"eof",      do_eof        },
    {"field",    do_field      },
    {"go_on",    do_go_on      },
    {"original", do_original   },
    {"pause",    do_pause      },
    {"reply",    do_reply      },
    {"slice",    do_slice      },
    {"wait",     do_wait       },
    {"wants",    do_wants      },
};

static struct span cut_expected(struct span *line)
{
    for (size_t i = 0; i + 3 <= line->n; i++) {
        if (span_eq(span_sub(*line, i, 3), SPAN(" = "))) {
            struct span code = span_sub(*line, i + 3, SIZE_MAX);

            *line = span_sub(*line, 0, i);
            return code;
        }
    }
    return SPAN("ok");
}

static void play_action(struct player *p, struct span line)
{
    struct span want = cut_expected(&line);
    struct span name = word(&line);

    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (!span_eq(name, span_of(actions[i].name)))
            continue;
        enum err e = actions[i].fn(p, line);

        if (p->failing)
            p->failed |= e == ERR_NOMEM;
        else if (!span_eq(span_of(err_code(e)), want))
            fail_msg(SPAN_FMT ": %s, expected " SPAN_FMT, SPAN_ARG(name), err_code(e),
                     SPAN_ARG(want));
        pump(p);
        return;
    }
    fail_msg("unknown action '" SPAN_FMT "'", SPAN_ARG(name));
}

static void play_step(struct player *p, const struct step *s)
{
    struct span text = s->text;

    switch (s->kind) {
    case STEP_CLIENT: play_client(p, text); break;
    case STEP_EVENTS: play_events(p, text); break;
    case STEP_HTTP: add_wire(&p->http, text); break;
    case STEP_SERVER: play_server(p, text); break;
    case STEP_DO:
        while (text.n && !p->failed)
            play_action(p, span_cut(&text, '\n'));
        break;
    }
}

/* ---- scenes ---- */

static bool play(const struct scene *sc, enum cut cut, size_t cut_at, unsigned fail_at)
{
    struct player *p = calloc(1, sizeof *p);
    bool failed;

    assert_non_null(p);
    p->cut = cut;
    p->cut_at = cut_at;
    p->now = 1000;
    p->failing = fail_at > 0;
    assert_int_equal(icap_engine_new(&limits, &identity, p->now, &p->e), OK);
    mem_fail_after(fail_at);
    for (unsigned i = 0; i < sc->n && !p->failed; i++)
        play_step(p, &sc->steps[i]);
    mem_fail_after(0);
    log_body(p);
    if (!p->failing) {
        take_output(p);
        check_text("unexpected events", &p->log, SPAN_NONE);
        check_text("unexpected bytes", &p->wire, SPAN_NONE);
    }
    icap_engine_free(p->e);
    pieces_free(p);
    buf_done(&p->log);
    buf_done(&p->body);
    buf_done(&p->wire);
    buf_done(&p->http);
    buf_done(&p->fields);
    failed = p->failed;
    free(p);
    return failed;
}

static size_t client_bytes(const struct scene *sc)
{
    struct buf b;
    size_t n;

    buf_init(&b, 0);
    for (unsigned i = 0; i < sc->n; i++)
        if (sc->steps[i].kind == STEP_CLIENT)
            add_wire(&b, sc->steps[i].text);
    n = b.n;
    buf_done(&b);
    return n;
}

static void play_all_ways(const struct scene *sc)
{
    size_t n = client_bytes(sc);
    unsigned quiet = 0;

    (void)play(sc, CUT_NONE, 0, 0);
    (void)play(sc, CUT_BYTES, 0, 0);
    (void)play(sc, CUT_GUARD, 0, 0);
    for (size_t at = 1; at < n; at++)
        (void)play(sc, CUT_AT, at, 0);
    /* Until a few failures in a row were never reached. */
    for (unsigned i = 1; quiet < 4; i++)
        quiet = play(sc, i % 2 ? CUT_NONE : CUT_AT, n / 2, i) ? 0 : quiet + 1;
}

static enum step_kind kind_of(struct span name)
{
    static const char *const names[] = {[STEP_CLIENT] = "client",
                                        [STEP_EVENTS] = "events",
                                        [STEP_DO] = "do",
                                        [STEP_HTTP] = "http",
                                        [STEP_SERVER] = "server"};

    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (span_eq(name, span_of(names[i])))
            return (enum step_kind)i;
    fail_msg("unknown fence '" SPAN_FMT "'", SPAN_ARG(name));
    return STEP_CLIENT;
}

/* Takes one fence of |*rest|, which begins behind its opening line. */
static struct span take_fence(struct span *rest)
{
    struct span all = *rest;

    while (rest->n) {
        const char *at = rest->p;

        if (span_starts(span_cut(rest, '\n'), SPAN("```")))
            return (struct span){all.p, (size_t)(at - all.p)};
    }
    fail_msg("fence without an end");
    return SPAN_NONE;
}

static unsigned play_text(struct span rest)
{
    struct scene *sc = calloc(1, sizeof *sc);
    unsigned played = 0;

    assert_non_null(sc);
    for (;;) {
        struct span line = span_cut(&rest, '\n');
        bool end = !rest.p;

        if (span_starts(line, SPAN("## ")) || end) {
            if (sc->n) {
                print_message("  " SPAN_FMT "\n", SPAN_ARG(sc->name));
                play_all_ways(sc);
                played++;
            }
            *sc = (struct scene){.name = span_sub(line, 3, SIZE_MAX)};
        } else if (span_starts(line, SPAN("```"))) {
            assert_true(sc->n < STEPS_MAX);
            sc->steps[sc->n].kind = kind_of(span_sub(line, 3, SIZE_MAX));
            sc->steps[sc->n++].text = take_fence(&rest);
        }
        if (end)
            break;
    }
    free(sc);
    return played;
}

static void play_file(void **state)
{
    const char *name = *state;
    const char *source = getenv("SALLYPORT_SOURCE");
    char path[4096];
    struct buf b;
    FILE *f;
    size_t n;

    (void)snprintf(path, sizeof path, "%s/tests/data/icap/%s", source ? source : ".", name);
    f = fopen(path, "rb");
    if (!f)
        fail_msg("cannot open %s (SALLYPORT_SOURCE?)", path);
    buf_init(&b, 0);
    do {
        char *room = buf_reserve(&b, 65536);

        assert_non_null(room);
        n = fread(room, 1, 65536, f);
        b.n += n;
    } while (n);
    (void)fclose(f);
    assert_true(play_text(buf_span(&b)) > 0);
    buf_done(&b);
}

#define FILE_TEST(name)                                        \
    {                                                          \
        name, play_file, NULL, NULL, (void *)(uintptr_t)(name) \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST("examples.md"),  FILE_TEST("preview.md"),  FILE_TEST("encapsulated.md"),
        FILE_TEST("body.md"),      FILE_TEST("refusals.md"), FILE_TEST("connection.md"),
        FILE_TEST("deadlines.md"), FILE_TEST("replies.md"),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
