/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.h - counters, gauges and histograms that loops bump without locks (each loop has its own
 * row; a scrape adds them up) and that the admin listener prints in the Prometheus text format
 * 0.0.4. */
#ifndef OBSERVE_METRICS_H
#define OBSERVE_METRICS_H

#include "base/buf.h"

struct metrics;

/* |loops| rows. |slots_max|: values in all; each histogram takes its buckets + 2. */
NODISCARD enum err metrics_new(unsigned loops, unsigned slots_max, struct metrics **ret);
void metrics_free(struct metrics *m);

/* Registration: from the thread that owns the configuration, at start and reload; the same name and
 * labels give the same id again. |labels|: `service="echo",verdict="pass"` (escaped by
 * metrics_label()), or "". Returns 0, which is a valid id that goes nowhere, when the table is full
 * (logged by the caller through metrics_is_full()). */
typedef unsigned metric_id;
metric_id metrics_counter(struct metrics *m, const char *name, const char *labels,
                          const char *help);
metric_id metrics_histogram(struct metrics *m, const char *name, const char *labels,
                            const char *help, const uint64_t *bounds_us,
                            unsigned n_bounds); /* observed in us, printed in seconds */
/* Read at scrape time, on the scraping thread. |read| must be thread-safe. */
metric_id metrics_gauge(struct metrics *m, const char *name, const char *labels, const char *help,
                        double (*read)(void *arg), void *arg);
/* The same for a value that only grows and that somebody else counts. */
metric_id metrics_total(struct metrics *m, const char *name, const char *labels, const char *help,
                        double (*read)(void *arg), void *arg);
bool metrics_is_full(const struct metrics *m);
/* Adds `name="value"` to |labels|, with a comma where one is needed; escapes \, " and LF. */
void metrics_label(struct buf *labels, const char *name, struct span value);

/* Metrics of one of several things of a kind carry its name: service="echo". */
struct metrics_owner {
    struct metrics *metrics;
    const char *kind, *name;
};
/* With the label |label|="|word|", too, unless it is NULL. */
metric_id metrics_counter_of(const struct metrics_owner *o, const char *name, const char *label,
                             const char *word, const char *help);
metric_id metrics_histogram_of(const struct metrics_owner *o, const char *name, const char *help,
                               const uint64_t *bounds_us, unsigned n_bounds);

/* From loop |loop|'s thread only; relaxed. */
void metrics_add(struct metrics *m, unsigned loop, metric_id id, uint64_t n);
void metrics_observe(struct metrics *m, unsigned loop, metric_id id, uint64_t us);
uint64_t metrics_value(const struct metrics *m, metric_id id); /* sum over loops */
/* The whole page. Any thread. */
void metrics_print(const struct metrics *m, struct buf *out);

#endif
