/* SPDX-License-Identifier: Apache-2.0 */
/* clamd_protocol.c - what clamd says. Inside IDSESSION each reply is "ID: WHERE: WHAT", closed by
 * NUL; WHERE is "fd[10]" or "stream" (older ones: "instream(local)"), and missing in some errors. A
 * session that it ends by itself says "COMMAND READ TIMED OUT" with neither id nor NUL. */
#include <string.h>

#include "adapt/clamd.h"

static const struct span limit_prefixes[] = {
    {"Heuristics.Limits.Exceeded", 26},
    {"Heuristics.Encrypted.",      21}, /* it could not look inside */
};

static enum err take_id(struct span *rest, uint32_t *ret)
{
    size_t n = span_find(*rest, ':');
    uint64_t id;

    TRY(span_u64(span_sub(*rest, 0, n), UINT32_MAX, &id));
    if (id == 0 || !span_starts(span_sub(*rest, n, SIZE_MAX), SPAN(": ")))
        return ERR_SYNTAX;
    *rest = span_sub(*rest, n + 2, SIZE_MAX);
    *ret = (uint32_t)id;
    return OK;
}

/* Drops "WHERE: ". False: there is none. */
static bool skip_where(struct span *rest)
{
    size_t n = span_find(*rest, ':');

    if (n == 0 || !span_starts(span_sub(*rest, n, SIZE_MAX), SPAN(": ")))
        return false;
    *rest = span_sub(*rest, n + 2, SIZE_MAX);
    return true;
}

static bool cut_end(struct span *s, struct span end)
{
    if (!span_ends(*s, end))
        return false;
    s->n -= end.n;
    return true;
}

static void fill(struct clamd_answer *ret, enum clamd_verdict v, enum err e, struct span text)
{
    ret->verdict = v;
    ret->err = e;
    (void)span_copy(text, ret->text, sizeof ret->text);
}

static void found(struct clamd_answer *ret, struct span signature)
{
    enum clamd_verdict v = CLAMD_FOUND;

    for (size_t i = 0; i < ARRAY_LEN(limit_prefixes); i++)
        if (span_starts(signature, limit_prefixes[i]))
            v = CLAMD_LIMIT;
    fill(ret, v, OK, signature);
}

static void failed(struct clamd_answer *ret, struct span text)
{
    if (span_starts(text, SPAN("INSTREAM size limit exceeded")))
        fill(ret, CLAMD_LIMIT, OK, SPAN("StreamMaxLength"));
    else
        fill(ret, CLAMD_ERROR, ERR_UPSTREAM, text);
}

/* Behind the id. */
static enum err parse_result(struct span rest, struct clamd_answer *ret)
{
    bool where = skip_where(&rest);

    if (where && span_eq(rest, SPAN("OK")))
        fill(ret, CLAMD_CLEAN, OK, SPAN(""));
    else if (where && cut_end(&rest, SPAN(" FOUND")) && rest.n > 0)
        found(ret, rest);
    else if (cut_end(&rest, SPAN(" ERROR")) && rest.n > 0)
        failed(ret, rest);
    else
        return ERR_SYNTAX;
    return OK;
}

static bool is_farewell(struct span reply)
{
    return span_eq(reply, SPAN("COMMAND READ TIMED OUT")) ||
           span_eq(reply, SPAN("UNKNOWN COMMAND"));
}

enum err clamd_parse_reply(struct span reply, uint32_t *ret_id, struct clamd_answer *ret)
{
    struct span rest = reply;
    struct clamd_answer a = {.verdict = CLAMD_ERROR};
    uint32_t id = 0;

    if (span_find(reply, '\0') != reply.n)
        return ERR_SYNTAX;
    if (is_farewell(reply)) {
        fill(&a, CLAMD_ERROR, ERR_UPSTREAM, reply);
    } else {
        TRY(take_id(&rest, &id));
        TRY(parse_result(rest, &a));
    }
    *ret_id = id;
    *ret = a;
    return OK;
}

enum err clamd_parse_version(struct span reply, uint32_t *ret_id, char ret[CLAMD_VERSION_MAX])
{
    struct span rest = reply;
    uint32_t id;

    TRY(take_id(&rest, &id));
    /* "Command invalid inside IDSESSION. ERROR" is no version. */
    if (rest.n == 0 || !span_is_field_value(rest) || span_ends(rest, SPAN(" ERROR")))
        return ERR_SYNTAX;
    *ret_id = id;
    (void)span_copy(rest, ret, CLAMD_VERSION_MAX);
    return OK;
}
