/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine.h"

#include <stdarg.h>
#include <stdio.h>

static const unsigned gravity[VERDICTS] = {
    [VERDICT_PASS] = 0,  [VERDICT_CHANGED] = 1, [VERDICT_NOT_INSPECTED] = 2,
    [VERDICT_ERROR] = 3, [VERDICT_BLOCK] = 4,
};

void engine_judge(struct scan_result *r, enum verdict verdict, enum cause cause, enum err err,
                  const char *why, ...)
{
    va_list ap;

    if (gravity[verdict] <= gravity[r->verdict])
        return;
    r->verdict = verdict;
    r->cause = cause;
    r->err = err;
    va_start(ap, why);
    (void)vsnprintf(r->why, sizeof r->why, why, ap);
    va_end(ap);
}

void engine_find(struct scan_result *r, const struct finding *f)
{
    if (r->n_findings < FINDINGS_MAX) {
        r->findings[r->n_findings++] = *f;
        return;
    }
    for (unsigned i = FINDINGS_MAX; i > 0 && !f->note; i--) {
        if (r->findings[i - 1].note) {
            r->findings[i - 1] = *f;
            return;
        }
    }
}
