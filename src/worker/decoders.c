/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/decoders.h"

#include <limits.h>
#include <stdlib.h>

#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/* --- gzip and deflate --- */

#define WINDOW_BITS 15
#define GZIP_BITS   (16 + WINDOW_BITS)

static void *zlib_open(int bits)
{
    z_stream *z = calloc(1, sizeof *z);

    if (z && inflateInit2(z, bits) == Z_OK)
        return z;
    free(z);
    return NULL;
}

static void zlib_close(void *ctx)
{
    (void)inflateEnd(ctx);
    free(ctx);
}

static void *gzip_open(const uint8_t *first, size_t n)
{
    (void)first;
    (void)n;
    return zlib_open(GZIP_BITS);
}

/* RFC 1950 2.2. No encoder's raw stream looks like it: that would be a stored block with a 1 where
 * RFC 1951 wants padding. */
static bool is_zlib(const uint8_t *p, size_t n)
{
    return n >= 2 && (p[0] & 0x0f) == Z_DEFLATED && (p[0] >> 4) <= WINDOW_BITS - 8 &&
           (p[0] << 8 | p[1]) % 31 == 0;
}

/* "deflate" is the zlib format (RFC 9110 8.4.1.2), but there always were servers that leave its
 * frame out, and every browser takes both. */
static void *deflate_open(const uint8_t *first, size_t n)
{
    return zlib_open(is_zlib(first, n) ? WINDOW_BITS : -WINDOW_BITS);
}

static uInt at_most_uint(size_t n)
{
    return n < UINT_MAX ? (uInt)n : UINT_MAX;
}

static enum decoder_state zlib_step(void *ctx, struct decoder_io *io)
{
    z_stream *z = ctx;
    uInt in = at_most_uint(io->in_n), out = at_most_uint(io->out_n);

    z->next_in = (Bytef *)(uintptr_t)io->in; /* zlib's const is optional */
    z->avail_in = in;
    z->next_out = io->out;
    z->avail_out = out;
    int rc = inflate(z, Z_NO_FLUSH);

    io->in += in - z->avail_in;
    io->in_n -= in - z->avail_in;
    io->out += out - z->avail_out;
    io->out_n -= out - z->avail_out;
    io->why = rc == Z_NEED_DICT ? "it needs a dictionary" : z->msg;
    switch (rc) {
    case Z_OK:
    case Z_BUF_ERROR: return DECODER_MORE;
    case Z_STREAM_END: return DECODER_END;
    case Z_MEM_ERROR: return DECODER_NOMEM;
    default: return DECODER_DAMAGED;
    }
}

static bool gzip_is_start(const uint8_t *p, size_t n)
{
    return n >= 2 && p[0] == 0x1f && p[1] == 0x8b;
}

static bool gzip_next(void *ctx)
{
    return inflateReset2(ctx, GZIP_BITS) == Z_OK;
}

/* --- brotli --- */

static void *brotli_open(const uint8_t *first, size_t n)
{
    (void)first;
    (void)n;
    return BrotliDecoderCreateInstance(NULL, NULL, NULL);
}

static void brotli_close(void *ctx)
{
    BrotliDecoderDestroyInstance(ctx);
}

static enum decoder_state brotli_failure(BrotliDecoderErrorCode code)
{
    bool memory = code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES &&
                  code >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES;

    return memory ? DECODER_NOMEM : DECODER_DAMAGED;
}

static enum decoder_state brotli_step(void *ctx, struct decoder_io *io)
{
    BrotliDecoderState *s = ctx;

    switch (BrotliDecoderDecompressStream(s, &io->in_n, &io->in, &io->out_n, &io->out, NULL)) {
    case BROTLI_DECODER_RESULT_SUCCESS: return DECODER_END;
    case BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT:
    case BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT: return DECODER_MORE;
    case BROTLI_DECODER_RESULT_ERROR: break;
    }
    return brotli_failure(BrotliDecoderGetErrorCode(s));
}

/* --- zstd --- */

#define ZSTD_WINDOW_LOG 27 /* 128 MiB; RFC 9659 lets a content-coding have 8 */

static void zstd_close(void *ctx)
{
    (void)ZSTD_freeDStream(ctx);
}

static void *zstd_open(const uint8_t *first, size_t n)
{
    ZSTD_DStream *z = ZSTD_createDStream();

    (void)first;
    (void)n;
    if (z && !ZSTD_isError(ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG)))
        return z;
    zstd_close(z);
    return NULL;
}

static enum decoder_state zstd_step(void *ctx, struct decoder_io *io)
{
    ZSTD_inBuffer in = {io->in, io->in_n, 0};
    ZSTD_outBuffer out = {io->out, io->out_n, 0};
    size_t rc = ZSTD_decompressStream(ctx, &out, &in);

    io->in += in.pos;
    io->in_n -= in.pos;
    io->out += out.pos;
    io->out_n -= out.pos;
    if (!ZSTD_isError(rc))
        return rc == 0 ? DECODER_END : DECODER_MORE;
    io->why = ZSTD_getErrorName(rc);
    ZSTD_ErrorCode code = ZSTD_getErrorCode(rc);

    if (code == ZSTD_error_frameParameter_windowTooLarge)
        return DECODER_WINDOW;
    return code == ZSTD_error_memory_allocation ? DECODER_NOMEM : DECODER_DAMAGED;
}

/* A frame, or a skippable one (RFC 8878 3.1). The formats before the RFC are nobody's coding. */
static bool zstd_is_start(const uint8_t *p, size_t n)
{
    if (n < 4)
        return false;
    uint32_t magic =
        (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;

    return magic == ZSTD_MAGICNUMBER ||
           (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

static bool zstd_next(void *ctx)
{
    return !ZSTD_isError(ZSTD_DCtx_reset(ctx, ZSTD_reset_session_only));
}

/* --- all --- */

static const struct decoder_kind kinds[] = {
    {.coding = "gzip",
     .alias = "x-gzip",
     .name = "gzip",
     .is_start = gzip_is_start,
     .open = gzip_open,
     .step = zlib_step,
     .next = gzip_next,
     .close = zlib_close},
    {.coding = "deflate",
     .name = "deflate",
     .open = deflate_open,
     .step = zlib_step,
     .close = zlib_close      },
    {.coding = "br",
     .name = "brotli",
     .open = brotli_open,
     .step = brotli_step,
     .close = brotli_close},
    {.coding = "zstd",
     .name = "zstd",
     .is_start = zstd_is_start,
     .open = zstd_open,
     .step = zstd_step,
     .next = zstd_next,
     .close = zstd_close},
};

const struct decoder_kind *decoder_kind_of(struct span coding)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (span_ieq(coding, span_of(kinds[i].coding)) ||
            (kinds[i].alias && span_ieq(coding, span_of(kinds[i].alias))))
            return &kinds[i];
    return NULL;
}
