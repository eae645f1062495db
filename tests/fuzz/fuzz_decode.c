/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_decode.c - bodies with Content-Encodings. What comes out never goes over the limits, a body
 * is decoded, left alone or judged, and decoding it again makes the same of it.
 *
 * Input: Content-Encoding, LF, body. The input is also packed by zlib and must come back. */
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "worker/decode.h"

#define SIZE_LIMIT  (3u << 20)
#define RATIO_LIMIT 50u
#define RATIO_FROM  (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static uint64_t no_time(void *ctx)
{
    (void)ctx;
    return 0;
}

static const struct clock stopped = {no_time, no_time, NULL};
static const struct decode_limits limits = {
    .unpack = {.size_max = SIZE_LIMIT, .ratio_max = RATIO_LIMIT, .codings_max = 3},
    .clock = &stopped,
    .end_us = 1
};

static void decode(struct span encoding, struct span in)
{
    struct pages out = {.p = NULL}, again = {.p = NULL};
    struct scan_result r = {.verdict = VERDICT_PASS}, s = {.verdict = VERDICT_PASS};
    enum decode_end end = decode_body(encoding, in, &limits, &out, &r);
    uint64_t ratio = (uint64_t)in.n * RATIO_LIMIT;

    if (ratio < RATIO_FROM)
        ratio = RATIO_FROM;
    check(out.n <= SIZE_LIMIT + 1 && out.n <= ratio + 1);
    check((end == DECODE_FAILED) == (r.verdict == VERDICT_NOT_INSPECTED));
    check(end != DECODE_FAILED || (r.cause == CAUSE_NOT_INSPECTED && r.why[0]));
    check(end != DECODE_DONE || (out.n <= SIZE_LIMIT && out.n <= ratio));
    check(end != DECODE_PLAIN || out.n == 0);
    check(decode_body(encoding, in, &limits, &again, &s) == end);
    check(again.n == out.n && (out.n == 0 || memcmp(out.p, again.p, out.n) == 0));
    check(strcmp(r.why, s.why) == 0);
    pages_done(&out);
    pages_done(&again);
}

/* What zlib packs comes back as it was, whatever the window and level. */
static void there_and_back(const uint8_t *data, size_t n, int bits, const char *coding)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)n};
    struct pages out = {.p = NULL};
    struct scan_result r = {.verdict = VERDICT_PASS};
    size_t room = n + n / 100 + 1000;
    Bytef *packed = malloc(room);

    check(packed &&
          deflateInit2(&z, (int)(n % 10), Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    z.next_out = packed;
    z.avail_out = (uInt)room;
    check(deflate(&z, Z_FINISH) == Z_STREAM_END);
    check(decode_body(span_of(coding), (struct span){(char *)packed, z.total_out}, &limits, &out,
                      &r) == DECODE_DONE);
    check(out.n == n && (n == 0 || memcmp(out.p, data, n) == 0));
    check(deflateEnd(&z) == Z_OK);
    pages_done(&out);
    free(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = {(const char *)data, size}, encoding = span_cut(&in, '\n');

    if (!in.p || in.n == 0)
        return 0;
    decode(encoding, in);
    if (data[0] % 4 == 0)
        there_and_back(data, size, 31, "gzip");
    else if (data[0] % 4 == 1)
        there_and_back(data, size, 15, "deflate");
    else if (data[0] % 4 == 2)
        there_and_back(data, size, -15, "deflate");
    return 0;
}
