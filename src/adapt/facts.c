/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/facts.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

struct object_table *object_table_ref(struct object_table *t)
{
    if (t) {
        unsigned before = atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);

        assert(before > 0);
        (void)before;
    }
    return t;
}

void object_table_unref(struct object_table *t)
{
    if (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
        free(t);
}
