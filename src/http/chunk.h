/* SPDX-License-Identifier: Apache-2.0 */
/* chunk.h - chunked coding (RFC 9112 7.1) with the extensions that ICAP gives a meaning to: `ieof`
 * (RFC 3507 4.5) and `use-original-body` (ICAP Partial Content). Sans-IO, incremental, nothing
 * allocated by an announced size. */
#ifndef HTTP_CHUNK_H
#define HTTP_CHUNK_H

#include "base/block.h"
#include "base/buf.h"
#include "base/span.h"

#define CHUNK_NO_ORIGINAL UINT64_MAX

struct chunk_limits {
    size_t line_max;       /* chunk-size line with its extensions, bytes */
    size_t trailer_max;    /* trailer section, bytes */
    unsigned trailers_max; /* field-lines in it */
    /* Overhead: bytes of chunk-size lines may exceed the body's bytes by at most this much, so that
     * a peer cannot make us work on framing only (one-byte chunks with long extensions). */
    uint64_t overhead_max;
};

enum chunk_event_kind {
    CHUNK_NEED, /* all input used: feed more */
    CHUNK_DATA, /* |data| points into the input */
    CHUNK_LAST, /* last-chunk line read; |ieof| and |use_original| are set */
    CHUNK_END /* trailer section and empty line read: the body is over; trailers in chunk_trailers()
               */
};

struct chunk_event {
    enum chunk_event_kind kind;
    struct span data;
    bool ieof;
    uint64_t use_original; /* or CHUNK_NO_ORIGINAL */
};

struct chunk_decoder {
    unsigned char state;
    uint64_t left;  /* data bytes left of this chunk */
    uint64_t total; /* data bytes of the chunks begun so far */
    uint64_t overhead;
    size_t line_at;      /* where the unfinished trailer line begins in |trailers| */
    unsigned n_trailers; /* finished ones */
    bool ieof;
    uint64_t use_original;
    struct buf line;     /* the unfinished chunk-size line */
    struct buf trailers; /* raw trailer section: field-lines with CRLF, without the empty line */
};

/* Ready for the first chunk-size line. Only for new storage, or after chunk_decoder_done(). */
void chunk_decoder_init(struct chunk_decoder *d);
/* Ready for a bare trailer section (an ICAP trailer that follows the body): no chunk, only
 * field-lines and the empty line; CHUNK_END when it is over. */
void chunk_decoder_init_trailers(struct chunk_decoder *d);
/* Frees the buffers. */
void chunk_decoder_done(struct chunk_decoder *d);
/* Takes bytes from |in| up to the next event. *ret_used bytes were used; CHUNK_DATA's bytes count
 * as used. Refuses (ERR_PROTO, ERR_LIMIT): no digits, a value over 63 bits, a bare LF, garbage
 * after data, bad extensions, bad trailer lines, over a limit. Unknown well-formed extensions are
 * ignored. ERR_NOMEM without memory, ERR_BUG after CHUNK_END. Nothing can follow an error. */
NODISCARD enum err chunk_next(struct chunk_decoder *d, const struct chunk_limits *lim,
                              struct span in, size_t *ret_used, struct chunk_event *ret,
                              struct fault *reterr);
/* The same on received bytes: what was used is taken off |*in|, and *ret_data is the part of it
 * that CHUNK_DATA is about (it borrows the block), or empty. */
NODISCARD enum err chunk_next_slice(struct chunk_decoder *d, const struct chunk_limits *lim,
                                    struct slice *in, struct slice *ret_data,
                                    struct chunk_event *ret, struct fault *reterr);
struct span chunk_trailers(const struct chunk_decoder *d);

#define CHUNK_SIZE_LINE_MAX 18 /* 16 hex digits, CRLF */
/* Formats `SIZE CRLF` into |dst|; returns its length. */
size_t chunk_size_line(uint64_t size, char dst[CHUNK_SIZE_LINE_MAX]);

#endif
