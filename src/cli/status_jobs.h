/* SPDX-License-Identifier: Apache-2.0 */
/* status_jobs.h - what the running gateway knows of print jobs. */
#ifndef CLI_STATUS_JOBS_H
#define CLI_STATUS_JOBS_H

#include "cli/ask.h"

#define STATUS_JOBS_MAX 1000u

/* The newest |max| (1..STATUS_JOBS_MAX), of |printer| or of all (NULL), to stdout. An exit code. */
int status_jobs(const struct ask *a, const char *printer, uint64_t max, bool as_json);

#endif
