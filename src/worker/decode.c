/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/decode.h"

#include "worker/decoders.h"
#include "worker/engine.h"
#include "worker/printable.h"

#define STEP_IN      ((size_t)256 << 10) /* the clock is looked at between steps */
#define STEP_OUT     ((size_t)1 << 20)
#define RATIO_FROM   ((uint64_t)1 << 20)
#define CODINGS_HARD 16u /* of our own: nobody needs to allow more */

enum outcome {
    OUTCOME_DONE,
    OUTCOME_GOES_ON,
    OUTCOME_DAMAGED,
    OUTCOME_EARLY,
    OUTCOME_TRAILING,
    OUTCOME_TOO_LARGE,
    OUTCOME_RATIO,
    OUTCOME_WINDOW,
    OUTCOME_NOMEM,
    OUTCOME_TIMEOUT,
};

/* One coding of one body. */
struct pass {
    const struct decoder_kind *kind;
    void *ctx;
    const struct decode_limits *l;
    struct span in;
    size_t off;     /* taken of |in| */
    uint64_t limit; /* for |out|; |over| is the outcome behind it */
    enum outcome over;
    struct pages *out;
    const char *why;
};

static bool all_zero(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '\0')
            return false;
    return true;
}

static bool starts_stream(const struct pass *p)
{
    return p->kind->is_start &&
           p->kind->is_start((const uint8_t *)p->in.p + p->off, p->in.n - p->off);
}

/* After the end of a stream: another one, padding, or what nobody should send. */
static enum outcome stream_ended(struct pass *p)
{
    if (all_zero(span_sub(p->in, p->off, SIZE_MAX)))
        return OUTCOME_DONE;
    if (!starts_stream(p))
        return OUTCOME_TRAILING;
    return p->kind->next(p->ctx) ? OUTCOME_GOES_ON : OUTCOME_NOMEM;
}

static enum outcome step_outcome(struct pass *p, enum decoder_state state, bool moved)
{
    switch (state) {
    case DECODER_MORE:
        if (moved)
            return OUTCOME_GOES_ON;
        return p->off == p->in.n ? OUTCOME_EARLY : OUTCOME_DAMAGED;
    case DECODER_END: return stream_ended(p);
    case DECODER_DAMAGED: return OUTCOME_DAMAGED;
    case DECODER_WINDOW: return OUTCOME_WINDOW;
    case DECODER_NOMEM: return OUTCOME_NOMEM;
    }
    return OUTCOME_DAMAGED;
}

/* Room for one byte over the limit: whoever writes it has gone over. */
static enum outcome step(struct pass *p)
{
    uint64_t left = p->limit - p->out->n + 1;
    struct span in = span_sub(p->in, p->off, STEP_IN);
    size_t room = left < STEP_OUT ? (size_t)left : STEP_OUT;

    if (pages_reserve(p->out, room) != OK)
        return OUTCOME_NOMEM;
    struct decoder_io io = {
        .in = (const uint8_t *)in.p, .in_n = in.n, .out = p->out->p + p->out->n, .out_n = room};
    enum decoder_state state = p->kind->step(p->ctx, &io);

    p->off += in.n - io.in_n;
    p->out->n += room - io.out_n;
    p->why = io.why;
    if (p->out->n > p->limit)
        return p->over;
    return step_outcome(p, state, io.in_n < in.n || io.out_n < room);
}

static enum outcome run(struct pass *p)
{
    enum outcome o = OUTCOME_GOES_ON;

    if (p->kind->is_start && !starts_stream(p)) {
        p->why = "it does not begin like it";
        return OUTCOME_DAMAGED;
    }
    p->ctx = p->kind->open((const uint8_t *)p->in.p, p->in.n);
    if (!p->ctx)
        return OUTCOME_NOMEM;
    while (o == OUTCOME_GOES_ON) {
        o = step(p);
        if (o == OUTCOME_GOES_ON && clock_mono_us(p->l->clock) >= p->l->end_us)
            o = OUTCOME_TIMEOUT;
    }
    p->kind->close(p->ctx);
    return o;
}

static void not_inspected(const struct pass *p, struct scan_result *r, const char *what)
{
    engine_judge(r, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK, "the %s data %s", p->kind->name,
                 what);
}

static void judge(const struct pass *p, enum outcome o, struct scan_result *r)
{
    switch (o) {
    case OUTCOME_DONE:
    case OUTCOME_GOES_ON: break;
    case OUTCOME_DAMAGED:
        engine_judge(r, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK,
                     "the %s data is damaged at byte %zu%s%s%s", p->kind->name, p->off,
                     p->why ? " (" : "", p->why ? p->why : "", p->why ? ")" : "");
        break;
    case OUTCOME_EARLY: not_inspected(p, r, "ends early"); break;
    case OUTCOME_TRAILING:
        engine_judge(r, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK,
                     "%zu bytes follow the end of the %s data at byte %zu", p->in.n - p->off,
                     p->kind->name, p->off);
        break;
    case OUTCOME_TOO_LARGE:
        engine_judge(r, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK,
                     "the body decompresses to more than %llu bytes",
                     (unsigned long long)p->l->unpack.size_max);
        break;
    case OUTCOME_RATIO:
        engine_judge(r, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK,
                     "the body decompresses to more than %u times its size",
                     p->l->unpack.ratio_max);
        break;
    case OUTCOME_WINDOW: not_inspected(p, r, "needs too large a window"); break;
    case OUTCOME_NOMEM: not_inspected(p, r, "needs more memory than a worker may have"); break;
    case OUTCOME_TIMEOUT:
        engine_judge(r, VERDICT_ERROR, CAUSE_TIMEOUT, ERR_TIMEOUT,
                     "decompressing the body ran out of time");
        break;
    }
}

/* |encoded|: bytes that the peer sent, from which the ratio is counted in each step. */
static NODISCARD bool decode_one(const struct decoder_kind *kind, struct span in, size_t encoded,
                                 const struct decode_limits *l, struct pages *out,
                                 struct scan_result *r)
{
    uint64_t ratio;
    struct pass p = {.kind = kind,
                     .l = l,
                     .in = in,
                     .limit = l->unpack.size_max,
                     .over = OUTCOME_TOO_LARGE,
                     .out = out};

    if (__builtin_mul_overflow((uint64_t)encoded, l->unpack.ratio_max, &ratio))
        ratio = UINT64_MAX;
    if (ratio < RATIO_FROM)
        ratio = RATIO_FROM;
    if (ratio < p.limit) {
        p.limit = ratio;
        p.over = OUTCOME_RATIO;
    }
    if (p.limit > SIZE_MAX / 2)
        p.limit = SIZE_MAX / 2;
    enum outcome o = run(&p);

    judge(&p, o, r);
    return o == OUTCOME_DONE;
}

static void judge_unknown(struct span coding, struct scan_result *r)
{
    char shown[48];

    printable(coding, shown, sizeof shown);
    engine_judge(r, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK,
                 "the content coding \"%s\" is not known", shown);
}

/* The codings of the field, in its order; false when they are too many or one is not ours. */
static NODISCARD bool read_codings(struct span encoding, const struct decode_limits *l,
                                   const struct decoder_kind *ret[CODINGS_HARD], unsigned *ret_n,
                                   struct scan_result *r)
{
    unsigned max = l->unpack.codings_max < CODINGS_HARD ? l->unpack.codings_max : CODINGS_HARD;
    struct span coding;

    *ret_n = 0;
    while (span_list_next(&encoding, &coding)) {
        if (span_ieq(coding, SPAN("identity")))
            continue;
        if (*ret_n == max) {
            engine_judge(r, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK,
                         "the body has more than %u content codings", max);
            return false;
        }
        ret[*ret_n] = decoder_kind_of(coding);
        if (!ret[*ret_n]) {
            judge_unknown(coding, r);
            return false;
        }
        ++*ret_n;
    }
    return true;
}

enum decode_end decode_body(struct span encoding, struct span in, const struct decode_limits *l,
                            struct pages *out, struct scan_result *r)
{
    const struct decoder_kind *kinds[CODINGS_HARD] = {NULL};
    struct pages from = {.p = NULL};
    size_t encoded = in.n;
    unsigned n;

    if (!read_codings(encoding, l, kinds, &n, r))
        return DECODE_FAILED;
    if (n == 0)
        return DECODE_PLAIN;
    /* Applied in the order of the list, so undone from its end. */
    for (unsigned i = n; i > 0; i--) {
        bool done = decode_one(kinds[i - 1], in, encoded, l, out, r);

        pages_done(&from);
        if (!done && i > 1)
            pages_done(out);
        if (!done)
            return DECODE_FAILED;
        if (i > 1) {
            from = *out;
            *out = (struct pages){.p = NULL};
            in = (struct span){(const char *)from.p, from.n};
        }
    }
    return DECODE_DONE;
}
