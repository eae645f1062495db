/* SPDX-License-Identifier: Apache-2.0 */
/* adapt_settings.h - the configuration of inspection: engines, workers, budgets. */
#ifndef ADAPT_SETTINGS_H
#define ADAPT_SETTINGS_H

#include "adapt/verdict.h"
#include "config/config.h"

struct yara_settings {
    struct config_strings rules; /* rule files; empty: the installed set */
};

struct worker_settings {
    unsigned count;    /* workers of each loop */
    uint64_t memory;   /* address space of one worker, bytes */
    unsigned reuse;    /* files that one worker inspects before it is replaced */
    unsigned queue;    /* files waiting for a worker, each loop; above: overload */
    uint64_t grace_ms; /* a worker that is that late after its deadline is killed */
};

struct engines_settings {
    struct yara_settings yara;
    struct worker_settings workers;
};
extern const struct config_block engines_block;

extern const struct config_names cause_names; /* without CAUSE_NONE */
extern const struct config_names action_names;

#endif
