/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/verdict.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

static unsigned bit_of(enum cause c)
{
    return c == CAUSE_NONE ? 0 : 1u << c;
}

unsigned scan_result_causes(const struct scan_result *r)
{
    return bit_of(r->cause) | r->also;
}

/* |text| before or behind what is there already. */
static void say_why(struct scan_result *r, bool first, const char *text)
{
    char old[sizeof r->why];
    size_t n;

    memcpy(old, r->why, sizeof old);
    n = span_copy(span_of(first ? text : old), r->why, sizeof r->why);
    if (old[0] && text[0])
        n += span_copy(SPAN("; "), r->why + n, sizeof r->why - n);
    (void)span_copy(span_of(first ? old : text), r->why + n, sizeof r->why - n);
}

void scan_result_judge(struct scan_result *r, enum verdict verdict, enum cause cause, enum err err,
                       const char *why, ...)
{
    bool graver = gravity[verdict] > gravity[r->verdict];
    bool is_new = verdict != VERDICT_PASS && (bit_of(cause) & ~scan_result_causes(r));
    char text[sizeof r->why];
    va_list ap;

    r->incomplete |= verdict == VERDICT_ERROR || verdict == VERDICT_NOT_INSPECTED;
    if (!graver && !is_new)
        return;
    va_start(ap, why);
    (void)vsnprintf(text, sizeof text, why, ap);
    va_end(ap);
    say_why(r, graver, text);
    r->also = (scan_result_causes(r) | bit_of(cause)) & ~bit_of(graver ? cause : r->cause);
    if (graver) {
        r->verdict = verdict;
        r->cause = cause;
        r->err = err;
    }
}

void scan_result_join(struct scan_result *r, const struct scan_result *other)
{
    for (unsigned i = 0; i < other->n_findings; i++)
        scan_result_find(r, &other->findings[i]);
    r->incomplete |= other->incomplete;
    if (other->verdict == VERDICT_PASS)
        return;
    scan_result_judge(r, other->verdict, other->cause, other->err, "%s", other->why);
    r->also |= other->also & ~bit_of(r->cause);
}

static const unsigned strictness[ACTIONS] = {
    [ACTION_PASS] = 0,
    [ACTION_ERROR] = 1,
    [ACTION_BLOCK] = 2,
};

enum action causes_action(unsigned causes, const uint8_t on[CAUSES], enum cause *cause)
{
    enum cause first = *cause;
    enum action action = ACTION_PASS;

    if (causes & bit_of(first))
        action = (enum action)on[first];
    for (enum cause c = CAUSE_NONE + 1; c < CAUSES; c++) {
        if (!(causes & bit_of(c)))
            continue;
        if (*cause == CAUSE_NONE || strictness[on[c]] > strictness[action]) {
            action = (enum action)on[c];
            *cause = c;
        }
    }
    return action;
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
