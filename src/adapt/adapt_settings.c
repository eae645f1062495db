/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/adapt_settings.h"

const struct config_names cause_names = CONFIG_NAMES(
    {"infected", CAUSE_INFECTED}, {"denied", CAUSE_DENIED}, {"engine-down", CAUSE_ENGINE_DOWN},
    {"timeout", CAUSE_TIMEOUT}, {"too-large", CAUSE_TOO_LARGE},
    {"not-inspected", CAUSE_NOT_INSPECTED}, {"worker-crash", CAUSE_WORKER_CRASH},
    {"overload", CAUSE_OVERLOAD}, {"disk-full", CAUSE_DISK_FULL});

const struct config_names action_names =
    CONFIG_NAMES({"pass", ACTION_PASS}, {"block", ACTION_BLOCK}, {"error", ACTION_ERROR});

static const struct config_row yara_rows[] = {
    CONFIG_PATHS("rules", struct yara_settings, rules,
                 .help = "YARA rule files, compiled together. Empty: the rules that come with "
                         "Sallyport. A change of a "
                         "file is noticed and taken over; a file that does not compile leaves the "
                         "old rules in force."),
};
static const struct config_block yara_block =
    CONFIG_ROWS(struct yara_settings, yara_rows, .help = "YARA rules, run in the jailed worker.");

static const struct config_row worker_rows[] = {
    CONFIG_COUNT("count", struct worker_settings, count, .min = 1, .max = 64, .fallback = "2",
                 .unit = "per thread",
                 .help = "Jailed worker processes that each gateway thread may keep."),
    CONFIG_SIZE(
        "memory", struct worker_settings, memory, .min = 64 << 20, .max = UINT64_C(1) << 40,
        .fallback = "2g", .restart = true,
        .help = "Address space of one worker; a file that makes it grow beyond ends the worker."),
    CONFIG_COUNT("reuse", struct worker_settings, reuse, .min = 1, .max = 1000000,
                 .fallback = "1000", .unit = "files",
                 .help = "Files that one worker inspects before it is replaced by a fresh one. 1: "
                         "a process for each file."),
    CONFIG_COUNT("queue", struct worker_settings, queue, .min = 1, .max = 100000, .fallback = "256",
                 .unit = "per thread",
                 .help =
                     "Files that may wait for a free worker; one more is answered as overload."),
    CONFIG_DURATION(
        "grace", struct worker_settings, grace_ms, .min = 10, .max = 60000, .fallback = "2s",
        .help = "A worker that has not answered that long after the scan's deadline is killed."),
};
static const struct config_block worker_block =
    CONFIG_ROWS(struct worker_settings, worker_rows,
                .help = "The jailed processes in which hostile files are parsed.");

static const struct config_row engines_rows[] = {
    CONFIG_BLOCK("yara", struct engines_settings, yara, yara_block, .help = "The YARA engine."),
    CONFIG_BLOCK("workers", struct engines_settings, workers, worker_block,
                 .help = "The worker processes."),
};
const struct config_block engines_block =
    CONFIG_ROWS(struct engines_settings, engines_rows,
                .help = "Inspection engines and the processes that run them.");
