/* SPDX-License-Identifier: Apache-2.0 */
#include "base/budget.h"

#include <assert.h>
#include <stddef.h>

void budget_init(struct budget *b, uint64_t max)
{
    atomic_init(&b->used, 0);
    atomic_init(&b->peak, 0);
    atomic_init(&b->refused, 0);
    atomic_init(&b->max, max);
}

bool budget_take(struct budget *b, uint64_t n)
{
    if (!b)
        return true;
    uint64_t max = atomic_load_explicit(&b->max, memory_order_relaxed);
    uint64_t before = atomic_load_explicit(&b->used, memory_order_relaxed);

    /* Not add first and take back: a large request that is refused must not make a small one on
     * another thread fail meanwhile. */
    do {
        if (max && (before > max || n > max - before)) {
            atomic_fetch_add_explicit(&b->refused, 1, memory_order_relaxed);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&b->used, &before, before + n,
                                                    memory_order_relaxed, memory_order_relaxed));
    uint64_t peak = atomic_load_explicit(&b->peak, memory_order_relaxed);

    while (before + n > peak &&
           !atomic_compare_exchange_weak_explicit(&b->peak, &peak, before + n, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
    return true;
}

void budget_give(struct budget *b, uint64_t n)
{
    if (!b)
        return;
    uint64_t before = atomic_fetch_sub_explicit(&b->used, n, memory_order_relaxed);

    assert(before >= n);
    (void)before;
}

uint64_t budget_used(const struct budget *b)
{
    return atomic_load_explicit(&b->used, memory_order_relaxed);
}
