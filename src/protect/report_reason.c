/* SPDX-License-Identifier: Apache-2.0 */
/* report_reason.c - the codes of WHY: which side, whether to try again, which errno. The table is
 * total: a reason that is not in it cannot be made. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "protect/report_int.h"

static const struct reason_row rows[] = {
    {"local-policy",       SALLYPORT_SIDE_LOCAL,   false, {EPERM}                                 },
    {"privilege",          SALLYPORT_SIDE_LOCAL,   false, {EPERM}                                 },
    {"peer-policy",        SALLYPORT_SIDE_PEER,    false, {ECONNREFUSED}                          },
    {"no-common-proposal", SALLYPORT_SIDE_BOTH,    false, {EPROTO}                                },
    {"peer-rejected-us",   SALLYPORT_SIDE_PEER,    false, {ECONNREFUSED}                          },
    {"we-rejected-peer",   SALLYPORT_SIDE_LOCAL,   false, {EKEYREJECTED, EKEYEXPIRED, EKEYREVOKED}},
    {"wrong-peer",         SALLYPORT_SIDE_LOCAL,   false, {EACCES}                                },
    {"level-too-low",      SALLYPORT_SIDE_LOCAL,   false, {EACCES}                                },
    {"not-end-to-end",     SALLYPORT_SIDE_LOCAL,   false, {EACCES}                                },
    {"no-answer",          SALLYPORT_SIDE_UNKNOWN, true,  {ETIMEDOUT}                             },
    {"need-tls",           SALLYPORT_SIDE_LOCAL,   false, {ENOKEY}                                },
    {"ambiguous-cert",     SALLYPORT_SIDE_LOCAL,   false, {ENOTUNIQ}                              },
    {"unsupported",        SALLYPORT_SIDE_LOCAL,   false, {EOPNOTSUPP}                            },
    {"tolerated",          SALLYPORT_SIDE_LOCAL,   false, {0}                                     },
    {"unknown",            SALLYPORT_SIDE_UNKNOWN, true,  {EIO}                                   },
};

const struct reason_row *reason_at(size_t i)
{
    return i < ARRAY_LEN(rows) ? &rows[i] : NULL;
}

const struct reason_row *reason_find(const char *code)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].code, code) == 0)
            return &rows[i];
    return NULL;
}

static bool comes_with(const struct reason_row *row, int err)
{
    for (size_t i = 0; i < ARRAY_LEN(row->errs); i++)
        if (row->errs[i] && row->errs[i] == err)
            return true;
    return false;
}

sallyport_why reason_why(const struct report_cause *cause)
{
    const struct reason_row *row = reason_find(cause->code);

    assert(row && (cause->err == 0 || comes_with(row, cause->err)));
    if (!row)
        row = reason_find("unknown");
    return (sallyport_why){
        .size = sizeof(sallyport_why),
        .code = row->code,
        .err = comes_with(row, cause->err) ? cause->err : row->errs[0],
        .text = cause->text,
        .side = row->side,
        .stage = cause->stage,
        .flags = (cause->inferred ? 0u : SALLYPORT_WHY_CERTAIN) |
                 (row->retry ? SALLYPORT_WHY_RETRY : 0u),
        .source = cause->source ? cause->source : "",
        .raw = cause->raw,
    };
}

/* The struct as it was first. */
struct why_0 {
    uint32_t size;
    const char *code;
    int err;
    const char *text;
};
static_assert(offsetof(sallyport_why, text) == offsetof(struct why_0, text),
              "the struct only grows at its end");

bool reason_fits(const sallyport_why *ret_why)
{
    return ret_why->size >= sizeof(struct why_0);
}

void reason_give(const sallyport_why *why, sallyport_why *ret_why)
{
    uint32_t size = ret_why->size;

    /* What a later version of the caller's struct has more stays as the caller zeroed it. */
    memcpy(ret_why, why, size < sizeof *why ? size : sizeof *why);
    ret_why->size = size;
}

int report_add(sallyport_report *r, const struct report_cause *cause)
{
    struct report_why *w;

    if (!r->whys)
        r->whys = calloc(REPORT_WHYS_MAX, sizeof *r->whys);
    if (!r->whys)
        return -ENOMEM;
    if (r->n_whys == REPORT_WHYS_MAX)
        return 0;
    w = &r->whys[r->n_whys++];
    (void)snprintf(w->text, sizeof w->text, "%s", cause->text);
    w->why = reason_why(cause);
    w->why.text = w->text;
    return 0;
}

int report_add_why(sallyport_report *r, const char *code, int err, const char *text)
{
    return report_add(
        r, &(struct report_cause){
               .code = code, .err = err, .stage = SALLYPORT_STAGE_IDENTITY, .text = text});
}
