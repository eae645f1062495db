/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipp_answer.h - checks what an IPP server answers, to the last byte. Bytes in, verdict out: it
 * owns no socket and no clock.
 */
#ifndef IPP_ANSWER_H
#define IPP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipp_plan.h"
#include "load_answer.h"

#define IPP_ANSWER_MAX (256 * 1024) /* HTTP head and message */

struct ipp_answer {
    const struct ipp_plan *plan;
    uint32_t id; /* request-id that has to come back */
    uint8_t *bytes;
    size_t len;      /* so far */
    size_t head_len; /* 0: it is not there yet */
    size_t body_len; /* that the head promises */
    bool close;      /* Connection: close */
    char detail[160];
};

/* False: out of memory. */
bool ipp_answer_init(struct ipp_answer *a, const struct ipp_plan *plan);

void ipp_answer_done(struct ipp_answer *a);

/* Makes |a| ready for the answer to the request |id|. */
void ipp_answer_reset(struct ipp_answer *a, uint32_t id);

/* Where the next bytes go, and how many there is room for: never 0 while the answer is not done. */
uint8_t *ipp_answer_room(const struct ipp_answer *a, size_t *ret_n);

/* |n| bytes came there. ANSWER_EV_CONTINUE does not happen. *ret_fault is written on
 * ANSWER_EV_FAULT only. An answer has to have a Content-Length: IPP servers know their answers
 * before they begin them. */
enum answer_event ipp_answer_took(struct ipp_answer *a, size_t n, enum answer_fault *ret_fault);

/* What it means that no byte will follow, or none did in time; never FAULT_NONE. */
enum answer_fault ipp_answer_end(struct ipp_answer *a);

#endif
