/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/verdict.h"

#include <assert.h>

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
