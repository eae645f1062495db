/* SPDX-License-Identifier: Apache-2.0 */
/* decoders.h - zlib, brotli and zstd behind one small interface: bytes in, bytes out, in any
 * pieces. For decode.c, which knows what a whole body is. */
#ifndef WORKER_DECODERS_H
#define WORKER_DECODERS_H

#include "base/span.h"

enum decoder_state {
    DECODER_MORE,    /* took or gave something, or wants more input or room */
    DECODER_END,     /* the end of a stream; decoder_next for another one */
    DECODER_DAMAGED, /* |why| says more, or is NULL */
    DECODER_WINDOW,  /* needs more memory than we allow one body */
    DECODER_NOMEM,
};

/* What is left to read and where to write; moved on by each step. */
struct decoder_io {
    const uint8_t *in;
    size_t in_n;
    uint8_t *out;
    size_t out_n;
    const char *why;
};

struct decoder_kind {
    const char *coding, *alias; /* in small letters (RFC 9110 8.4.1, RFC 7932, RFC 8878) */
    const char *name;           /* for people */
    bool (*is_start)(const uint8_t *p, size_t n); /* NULL: one stream only, without a mark */
    void *(*open)(const uint8_t *first,
                  size_t n); /* the first bytes of the data; NULL: no memory */
    enum decoder_state (*step)(void *ctx, struct decoder_io *io);
    bool (*next)(void *ctx); /* another stream follows; NULL like is_start */
    void (*close)(void *ctx);
};

/* For a content-coding in any case; NULL when we do not have it. */
const struct decoder_kind *decoder_kind_of(struct span coding);

#endif
