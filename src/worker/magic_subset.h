/* SPDX-License-Identifier: Apache-2.0 */
/* magic_subset.h - magic files made of some groups of others: for a file that passes no other test,
 * libmagic finds in them what it would find in the whole. */
#ifndef WORKER_MAGIC_SUBSET_H
#define WORKER_MAGIC_SUBSET_H

#include "worker/magic_index.h"

#define MAGIC_FILES_MAX   8u
#define MAGIC_SUBSET_MAX  1024u /* entries */
#define MAGIC_SUBSET_ROOM (MAGIC_SUBSET_MAX + MAGIC_FILES_MAX + 2)

/* What groups are made of: shared, and immutable once made. */
struct magic_base {
    struct magic_file files[MAGIC_FILES_MAX];
    size_t n_files;
    struct magic_group *groups, *names;
    uint32_t n_groups, n_names;
    /* For each entry of each file, tests before names: the index in |names| of what it USEs. */
    uint32_t *uses[MAGIC_FILES_MAX];
};

/* The type that a test at the end of a subset gives to every file. */
#define MAGIC_SUBSET_END "x-sallyport/no-test-of-bytes"

/* For magic_load_buffers(): one for each file of the base, with its order and its names. */
struct magic_subset {
    struct magic_entry *room; /* MAGIC_SUBSET_ROOM of them; the caller's */
    size_t n_files;
    void *files[MAGIC_FILES_MAX + 1];
    size_t sizes[MAGIC_FILES_MAX + 1];
};

/* |files| are parsed, and outlive the base. ERR_NOMEM, ERR_LIMIT. */
NODISCARD enum err magic_base_init(struct magic_base *b, const struct magic_file *files, size_t n);
void magic_base_done(struct magic_base *b);
/* Fills |s| with the groups of |hits| and the names that they use, and with |end| a last file that
 * has a test which every file passes: libmagic comes to it when no other test for bytes gave a
 * type, even where one ended the search without. ERR_LIMIT: too many entries; ERR_MISSING: one of
 * them may ask the whole again (an INDIRECT), or look at what a test before it left, or uses a name
 * that there is not. */
NODISCARD enum err magic_subset_make(const struct magic_base *b, const struct magic_hits *hits,
                                     bool end, struct magic_subset *s);

#endif
