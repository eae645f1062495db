/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_reject.h - `reject-status` of a printer: in which status a document is refused for what it
 * is, by the client that sent it and the operation that carried it. Clients differ in which status
 * makes them stop, and in what they show. Pure; any thread. */
#ifndef IPP_REJECT_H
#define IPP_REJECT_H

#include "config/config.h"

struct ipp_reject_settings {
    const char *agent;                        /* User-Agent begins with it; NULL: any */
    const char *operation_name, *status_name; /* the former: NULL: any */
    uint16_t operation, status;               /* the same, by the block's check; 0: any */
};
extern const struct config_block ipp_reject_block;

/* Most rows of one printer. */
#define IPP_REJECT_MAX 32u

/* Complains about rows that would have clients of CUPS send the same document for ever. */
void ipp_reject_check(const struct ipp_reject_settings *v, size_t n, struct config_report *r);

/* The first row that fits, or what is good for the clients that are known. |agent|: User-Agent, or
 * SPAN_NONE. */
uint16_t ipp_reject_status(const struct ipp_reject_settings *v, size_t n, uint16_t operation,
                           struct span agent);

#endif
