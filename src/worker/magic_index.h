/* SPDX-License-Identifier: Apache-2.0 */
/* magic_index.h - which of libmagic's thousands of tests can hold for a file, found in one pass
 * over its bytes. It may name tests that fail; it never leaves one out that holds. */
#ifndef WORKER_MAGIC_INDEX_H
#define WORKER_MAGIC_INDEX_H

#include "worker/magic_file.h"

#define MAGIC_HITS_MAX 256u

struct magic_index;

/* Indices of groups, in the order in which libmagic would try them. */
struct magic_hits {
    unsigned n;
    unsigned flags; /* MAGIC_FLAG_BINTEST and TEXTTEST: there are such tests among them */
    uint32_t group[MAGIC_HITS_MAX];
};

/* |groups| must outlive the index. */
NODISCARD enum err magic_index_new(const struct magic_group *groups, uint32_t n,
                                   struct magic_index **ret);
void magic_index_free(struct magic_index *x);
/* Tests for bytes are held against |file|, those for text against |text|, which libmagic makes of
 * it (magic_text.h); its p is NULL when none of these is tried. ERR_LIMIT: more than
 * MAGIC_HITS_MAX. Not for two threads at a time. */
NODISCARD enum err magic_index_find(struct magic_index *x, struct span file, struct span text,
                                    struct magic_hits *ret);

#endif
