/* SPDX-License-Identifier: Apache-2.0 */
/* budget.h - how much of something may be in use at once: bytes of memory, bytes of spool, open
 * scans. Shared by the loop threads (relaxed atomics: a budget counts, it orders nothing). Going
 * over is an answer, not an accident. */
#ifndef BASE_BUDGET_H
#define BASE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct budget {
    _Atomic uint64_t used;
    _Atomic uint64_t peak;    /* highest |used| ever */
    _Atomic uint64_t refused; /* how often budget_take() said no */
    _Atomic uint64_t max;     /* 0: no limit; may change at a reload */
};

void budget_init(struct budget *b, uint64_t max);
/* Takes |n|; false (and nothing taken) when that would go over. A NULL budget always has room. */
bool budget_take(struct budget *b, uint64_t n);
void budget_give(struct budget *b, uint64_t n);
uint64_t budget_used(const struct budget *b);

#endif
