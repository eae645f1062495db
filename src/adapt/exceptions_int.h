/* SPDX-License-Identifier: Apache-2.0 */
/* exceptions_int.h - what sets and their texts share. */
#ifndef ADAPT_EXCEPTIONS_INT_H
#define ADAPT_EXCEPTIONS_INT_H

#include "adapt/exceptions.h"

/* Appends a sentence and returns ERR_CONFIG. |why| NULL: nobody listens. */
PRINTF(2, 3) enum err exception_fault(struct buf *why, const char *fmt, ...);

/* EXCEPTION_ID_LEN characters of record_id()'s alphabet. */
bool exception_id_is_valid(struct span id);

/* Everything of exception_check() but the times. */
NODISCARD enum err exception_check_forms(struct exception *e, struct buf *why);

/* One exception, made ready to match, counted: sets share it. Immutable. */
struct exception_entry;
NODISCARD enum err exception_entry_new(const struct exception *e, struct exception_entry **ret);
void exception_entry_unref(struct exception_entry *e); /* NULL is fine */
const struct exception *exception_of(const struct exception_entry *e);

/* A set of |n| entries in their order; takes references of its own. */
NODISCARD enum err exceptions_of(struct exception_entry *const *v, size_t n,
                                 struct exceptions **ret);

#endif
