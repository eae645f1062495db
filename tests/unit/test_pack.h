/* SPDX-License-Identifier: Apache-2.0 */
/* test_pack.h - bodies with Content-Encodings, for tests of what takes them apart. */
#ifndef TEST_PACK_H
#define TEST_PACK_H

#include <string.h>

#include <zlib.h>
#include <zstd.h>

#include "base/buf.h"

enum { PACK_RAW = -15, PACK_ZLIB = 15, PACK_GZIP = 31 };

/* Appends |in| to |out|, packed by zlib. */
static inline void pack_zlib(int bits, struct span in, struct buf *out)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.p, .avail_in = (uInt)in.n};
    size_t room = in.n + in.n / 100 + 100;
    char *p = buf_reserve(out, room);

    assert_non_null(p);
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_out = (Bytef *)p;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->n += z.total_out;
    assert_int_equal(deflateEnd(&z), Z_OK);
}

static inline void pack_zstd(struct span in, struct buf *out)
{
    size_t room = ZSTD_compressBound(in.n);
    char *p = buf_reserve(out, room);

    assert_non_null(p);
    size_t n = ZSTD_compress(p, room, in.p, in.n, 3);

    assert_false(ZSTD_isError(n));
    out->n += n;
}

/* RFC 7932 9.2: uncompressed meta-blocks, for which one needs no encoder. */
static inline void pack_brotli(struct span in, struct buf *out)
{
    unsigned first = 1; /* WBITS stands before the first header */

    while (in.n) {
        struct span block = span_sub(in, 0, 65536);
        uint32_t head = ((uint32_t)(block.n - 1) << 3 | 1u << 19) << first;
        char bytes[3] = {(char)(head & 0xff), (char)(head >> 8 & 0xff), (char)(head >> 16)};

        buf_add(out, (struct span){bytes, 3});
        buf_add(out, block);
        in = span_sub(in, block.n, SIZE_MAX);
        first = 0;
    }
    buf_char(out, first ? 0x06 : 0x03);
}

/* |coding|: gzip, deflate (zlib's), raw (deflate without), br or zstd. */
static inline void pack(const char *coding, struct span in, struct buf *out)
{
    if (strcmp(coding, "gzip") == 0)
        pack_zlib(PACK_GZIP, in, out);
    else if (strcmp(coding, "deflate") == 0)
        pack_zlib(PACK_ZLIB, in, out);
    else if (strcmp(coding, "raw") == 0)
        pack_zlib(PACK_RAW, in, out);
    else if (strcmp(coding, "br") == 0)
        pack_brotli(in, out);
    else
        pack_zstd(in, out);
}

#endif
