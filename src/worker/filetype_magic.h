/* SPDX-License-Identifier: Apache-2.0 */
/* filetype_magic.h - libmagic, asked for the type of a file in a tenth of the time.
 *
 * libmagic tries thousands of tests, one after the other, most of which cannot hold for the file at
 * hand. An index (magic_index.h) tells in one pass which might; libmagic then gets a magic file
 * that has these and no others (magic_subset.h), in the same order, and answers as it would have
 * with all: a test that fails leaves nothing behind. What cannot be told apart in this way, and
 * every failure on the way, is asked of the whole. No answer is kept from one file to the next. */
#ifndef WORKER_FILETYPE_MAGIC_H
#define WORKER_FILETYPE_MAGIC_H

#include "base/buf.h"

struct filetype_magic;

/* How often which way was taken. */
struct filetype_magic_counts {
    uint64_t whole, part;
    uint64_t made; /* magic files, for those asked of a part */
};

/* |path|: magic files, joined with ':'. ERR_CONFIG, and a line in |errors|: libmagic cannot load
 * them; ERR_NOMEM. Files that are not compiled, or for another version of libmagic than this knows,
 * are asked as a whole. */
NODISCARD enum err filetype_magic_new(const char *path, struct filetype_magic **ret,
                                      struct buf *errors);
void filetype_magic_free(struct filetype_magic *m);
/* Whether libmagic can load that; nothing is kept. */
NODISCARD enum err filetype_magic_check(const char *path, struct buf *errors);
/* libmagic's answer, or NULL when it fails: valid until the next question. */
const char *filetype_magic_ask(struct filetype_magic *m, struct span file);
/* The same, with every test tried: what the other is held against. */
const char *filetype_magic_ask_whole(struct filetype_magic *m, struct span file);
struct filetype_magic_counts filetype_magic_counts(const struct filetype_magic *m);

#endif
