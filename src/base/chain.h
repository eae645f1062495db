/* SPDX-License-Identifier: Apache-2.0 */
/* chain.h - bytes in order, on their way: slices of blocks, ranges of files and static text. Bodies
 * and output are chains; moving a body from one queue to another moves references.
 *
 * Threads: a chain belongs to one thread, as its blocks do. */
#ifndef BASE_CHAIN_H
#define BASE_CHAIN_H

#include "base/block.h"

struct iovec;

/* A file that several chains may point into. base does no I/O: whoever opened it says how it is
 * released. */
struct file_ref {
    int fd;
    uint32_t refs;
    bool in_memory;                      /* a memfd: reading it waits for no disk */
    void (*release)(struct file_ref *f); /* called once, when the last reference goes */
};

struct file_ref *file_ref(struct file_ref *f);
void file_unref(struct file_ref *f);

enum segment_kind { SEGMENT_SLICE, SEGMENT_TEXT, SEGMENT_FILE };

struct segment {
    enum segment_kind kind;
    union {
        struct slice slice;
        struct span text; /* static: outlives every chain */
        struct {
            struct file_ref *ref;
            uint64_t off, len;
        } file;
    };
};

struct chain {
    struct segment *segs; /* ring: [first, first + n) modulo cap */
    uint32_t first, n, cap;
    uint64_t len;        /* bytes in all segments */
    uint64_t memory_len; /* of these, in slices */
    uint64_t max;        /* byte limit of this chain's slices, 0: none */
};

/* |max|: how many bytes of slices the chain may hold; file ranges and text do not count. */
void chain_init(struct chain *c, uint64_t max);
/* Drops everything; the chain is empty and usable. */
void chain_done(struct chain *c);

/* All of these return ERR_LIMIT over the chain's limit, ERR_NOMEM without memory, and then change
 * nothing. */
/* Takes a reference of its own; joins with the last segment when it continues it. */
NODISCARD enum err chain_append_slice(struct chain *c, struct slice s);
/* Copies: small texts land behind each other in the block at the chain's end and so become one
 * segment. */
NODISCARD enum err chain_append_copy(struct chain *c, struct span bytes);
NODISCARD enum err chain_append_text(struct chain *c, struct span text);
NODISCARD enum err chain_append_file(struct chain *c, struct file_ref *f, uint64_t off,
                                     uint64_t len);
/* Moves all of |from| to the end of |to|; |from| is empty after it. */
NODISCARD enum err chain_move(struct chain *to, struct chain *from);

/* Drops the first |n| bytes (n <= len). */
void chain_skip(struct chain *c, uint64_t n);
/* First segment, or NULL. Valid until the chain changes. */
const struct segment *chain_first(const struct chain *c);
const struct segment *chain_at(const struct chain *c, uint32_t i);
/* Replaces the first |done| bytes of the first segment, which is a file range, by |loaded| (whose
 * references move in): what a driver does after it has read them. done == total length of |loaded|.
 */
NODISCARD enum err chain_load_first(struct chain *c, struct slice *loaded, uint32_t n_loaded,
                                    uint64_t done);
/* Points |iov| at the leading memory segments, up to |max| entries and |max_bytes|; stops at a file
 * range. Returns the entries used and *ret_bytes. */
uint32_t chain_iovec(const struct chain *c, struct iovec *iov, uint32_t max, size_t max_bytes,
                     size_t *ret_bytes);
uint64_t segment_len(const struct segment *s);

#endif
