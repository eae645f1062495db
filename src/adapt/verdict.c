/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/verdict.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const verdict_names[] = {
    [VERDICT_PASS] = "pass",   [VERDICT_CHANGED] = "changed",
    [VERDICT_BLOCK] = "block", [VERDICT_NOT_INSPECTED] = "not-inspected",
    [VERDICT_ERROR] = "error",
};

static const char *const cause_names[] = {
    [CAUSE_NONE] = "none",
    [CAUSE_INFECTED] = "infected",
    [CAUSE_DENIED] = "denied",
    [CAUSE_ENGINE_DOWN] = "engine-down",
    [CAUSE_TIMEOUT] = "timeout",
    [CAUSE_TOO_LARGE] = "too-large",
    [CAUSE_NOT_INSPECTED] = "not-inspected",
    [CAUSE_WORKER_CRASH] = "worker-crash",
    [CAUSE_OVERLOAD] = "overload",
    [CAUSE_DISK_FULL] = "disk-full",
};

static const char *const action_names[] = {
    [ACTION_PASS] = "pass",
    [ACTION_BLOCK] = "block",
    [ACTION_ERROR] = "error",
};

static_assert(ARRAY_LEN(verdict_names) == VERDICTS, "a verdict without a name");
static_assert(ARRAY_LEN(cause_names) == CAUSES, "a cause without a name");
static_assert(ARRAY_LEN(action_names) == ACTIONS, "an action without a name");

const char *verdict_name(enum verdict v)
{
    return (size_t)v < ARRAY_LEN(verdict_names) ? verdict_names[v] : "unknown";
}

const char *cause_name(enum cause c)
{
    return (size_t)c < ARRAY_LEN(cause_names) ? cause_names[c] : "unknown";
}

const char *action_name(enum action a)
{
    return (size_t)a < ARRAY_LEN(action_names) ? action_names[a] : "unknown";
}

static const unsigned gravity[VERDICTS] = {
    [VERDICT_PASS] = 0,  [VERDICT_CHANGED] = 1, [VERDICT_NOT_INSPECTED] = 2,
    [VERDICT_ERROR] = 3, [VERDICT_BLOCK] = 4,
};

void scan_result_judge(struct scan_result *r, enum verdict verdict, enum cause cause, enum err err,
                       const char *why, ...)
{
    va_list ap;

    r->incomplete |= verdict == VERDICT_ERROR || verdict == VERDICT_NOT_INSPECTED;
    if (gravity[verdict] <= gravity[r->verdict])
        return;
    r->verdict = verdict;
    r->cause = cause;
    r->err = err;
    va_start(ap, why);
    (void)vsnprintf(r->why, sizeof r->why, why, ap);
    va_end(ap);
}

void scan_result_find(struct scan_result *r, const struct finding *f)
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
