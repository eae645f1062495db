/* SPDX-License-Identifier: Apache-2.0 */
/* http_out.h - what the engines of HTTP and ICAP write: a chain in which heads, chunk framing and
 * small bodies lie behind each other in one block (and so are one segment for writev), and larger
 * bodies are slices of the blocks that they came in. Each call does all or nothing. */
#ifndef HTTP_OUT_H
#define HTTP_OUT_H

#include "base/chain.h"
#include "http/chunk.h"

/* Slices up to this many bytes are copied: one segment less, and no 64 KiB block pinned by them. */
#define HTTP_OUT_COPY_MAX 2048u
/* Largest chunk of a file range; slices are at most a block long. */
#define HTTP_OUT_FILE_CHUNK (1u << 20)

struct http_out {
    struct chain chain;
    /* Where the next text goes. Held also while nothing of it is queued, so that the framing of a
     * long body takes one block and not one for each chunk. */
    struct block *frame;
};

void http_out_init(struct http_out *o);
/* Drops everything; usable again. */
void http_out_done(struct http_out *o);
/* Gives the frame block and the chain's ring back when nothing is queued. */
void http_out_rest(struct http_out *o);
/* |n| bytes are written: drops them. */
void http_out_sent(struct http_out *o, uint64_t n);
/* Takes bytes from the end away until |len| are left: the undo of what has just been appended. */
void http_out_cut(struct http_out *o, uint64_t len);

/* Room for |n| <= BLOCK_SIZE bytes in a row, or NULL without memory; then http_out_commit() what
 * was written there. */
char *http_out_reserve(struct http_out *o, size_t n);
NODISCARD enum err http_out_commit(struct http_out *o, size_t n);
NODISCARD enum err http_out_copy(struct http_out *o, struct span s);
/* One chunk (RFC 9112 7.1); nothing for an empty piece, which would be a last-chunk. */
NODISCARD enum err http_out_chunk_copy(struct http_out *o, struct span bytes);
/* Takes its own reference, or copies. */
NODISCARD enum err http_out_chunk_slice(struct http_out *o, struct slice s);
NODISCARD enum err http_out_chunk_file(struct http_out *o, struct file_ref *f, uint64_t off,
                                       uint64_t len);

#endif
