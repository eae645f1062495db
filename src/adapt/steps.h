/* SPDX-License-Identifier: Apache-2.0 */
/* steps.h - how much work a decision may be for the loop that makes it. Rules, exceptions and types
 * are held against every part of a form, and who sends the form chooses how many there are and how
 * long their names. One step is about the comparison of one byte: the same input takes the same
 * steps everywhere. Plain value; a decision that is out of steps is none. */
#ifndef ADAPT_STEPS_H
#define ADAPT_STEPS_H

#include <stdbool.h>
#include <stdint.h>

#define STEPS_OBJECT 20u /* to read one part of a form */

struct steps {
    uint64_t left;
    bool out; /* there was more to do */
};

/* NULL: as many as it takes. False, and |out|, when there are not |n| left. */
static inline bool steps_take(struct steps *s, uint64_t n)
{
    if (!s)
        return true;
    s->out |= n > s->left;
    s->left -= n > s->left ? s->left : n;
    return !s->out;
}

static inline bool steps_are_out(const struct steps *s)
{
    return s && s->out;
}

#endif
