/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_jobs_int.h - how the book lies in the store. For ipp_jobs*.c and tests.
 *
 *   IPP_JOBS_SPACE             a job by its number: a record. Keys sort the newest first.
 *   IPP_JOBS_AT_PRINTER_SPACE  a printer and its number: digits of the job's number
 *   IPP_JOBS_COUNT_SPACE       IPP_JOBS_COUNT_KEY: the number that was given last, or the last one
 *                              of those that a process has taken for jobs to come
 *
 * Of the first two, what belongs together is written with one time of expiry, and asked for in one
 * go, what is at the printer's number first. An entry counts only if its job says the same, and a
 * job that has a number at the printer only if the entry there is its own. So whoever stops between
 * the two leaves what is no answer, and never what leads to a job which the printer has forgotten.
 */
#ifndef IPP_JOBS_INT_H
#define IPP_JOBS_INT_H

#include "ipp/ipp_jobs.h"

#define IPP_JOBS_SPACE            "ipp-jobs"
#define IPP_JOBS_AT_PRINTER_SPACE "ipp-jobs-at-printer"
#define IPP_JOBS_COUNT_SPACE      "ipp-jobs-count"
#define IPP_JOBS_COUNT_KEY        "last"
#define IPP_JOBS_NUMBERS          16u /* taken at once */

struct ipp_jobs_key {
    char bytes[8 + IPP_JOB_PRINTER_MAX + 1];
    size_t n;
};

static inline struct span ipp_jobs_key_span(const struct ipp_jobs_key *k)
{
    return (struct span){k->bytes, k->n};
}

/* Any number has a key; those below 1 have one that is never written. */
struct ipp_jobs_key ipp_jobs_key(int32_t id);
/* |printer|: at most IPP_JOB_PRINTER_MAX. */
struct ipp_jobs_key ipp_jobs_printer_key(struct span printer, int32_t printer_id);

/* An item of IPP_JOBS_SPACE, settled; |saved| as of ipp_job_parse(). ERR_IO: not legible, or not of
 * its key; ERR_NOMEM. */
NODISCARD enum err ipp_jobs_read(const struct store_item *item, uint64_t now_wall_ms,
                                 struct arena *mem, struct ipp_job *ret);
/* An item of IPP_JOBS_AT_PRINTER_SPACE. ERR_IO. */
NODISCARD enum err ipp_jobs_read_id(const struct store_item *item, int32_t *ret);
/* Does |j| say that it is that one at that printer? */
bool ipp_jobs_is_at(const struct ipp_job *j, struct span printer, int32_t printer_id);

#endif
