/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_flaw.h - what is wrong with an IPP message: one value for each rule, with its text and the
 * IPP status to answer. Constant tables: every function may be called from any thread. */
#ifndef IPP_FLAW_H
#define IPP_FLAW_H

#include <stdint.h>

#include "base/err.h"

#define IPP_FLAW_ROW(id, err, status, text) IPP_FLAW_##id,
enum ipp_flaw {
#include "ipp/ipp_flaws.def"
};
#undef IPP_FLAW_ROW

struct ipp_fault {
    enum ipp_flaw flaw;
    size_t off; /* of the octet where it was seen, from the first of the message */
};

/* ERR_PROTO, or ERR_LIMIT for what a limit refused. */
enum err ipp_flaw_err(enum ipp_flaw flaw);
/* English, for logs and status-message. Never NULL. */
const char *ipp_flaw_text(enum ipp_flaw flaw);
/* RFC 8011 4.1: the status-code to answer. */
uint16_t ipp_flaw_status(enum ipp_flaw flaw);
/* Fills |f|, which may be NULL, and returns the flaw's error. */
enum err ipp_fault_set(struct ipp_fault *f, enum ipp_flaw flaw, size_t off);

#endif
