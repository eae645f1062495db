/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/sample.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "worker/inspect.h"

#define SAMPLE_MS 5000u

/* A form with one file, "a.txt", and in it "Nothing is hidden in these few bytes.\n": deflate,
 * gzip, brotli and zstd, one around the other. */
static const uint8_t packed[] = {
    0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x94, 0xa1, 0x04, 0x00, 0xf0, 0x08, 0x10, 0x1f, 0x8b, 0x08, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x01, 0x79, 0x00, 0x86, 0xff, 0x78, 0xda, 0x45, 0xcb, 0x31,
    0x0a, 0x02, 0x31, 0x10, 0x46, 0xe1, 0x3e, 0x90, 0x3b, 0x0c, 0xe9, 0x67, 0xed, 0x77, 0xb1, 0xd2,
    0xda, 0xca, 0x0b, 0x44, 0x32, 0x31, 0x03, 0xbb, 0x93, 0xe0, 0xfc, 0xe0, 0xee, 0xed, 0x15, 0x2c,
    0x2c, 0x1f, 0x7c, 0x8f, 0xd9, 0x63, 0xb8, 0x74, 0x83, 0x18, 0xf8, 0xaa, 0x3e, 0xba, 0x2b, 0xb4,
    0xdb, 0x4c, 0xb5, 0xbf, 0x36, 0x2e, 0x19, 0x79, 0x21, 0xcb, 0x9b, 0x9c, 0x53, 0x4d, 0x0b, 0x55,
    0x5d, 0xe5, 0x57, 0x79, 0xc2, 0x8e, 0xf4, 0x7f, 0xef, 0xc7, 0x90, 0x99, 0x20, 0x3b, 0x4e, 0x63,
    0xcd, 0x6a, 0x31, 0xc4, 0x70, 0xeb, 0x68, 0x6a, 0x4f, 0x52, 0xa7, 0xa6, 0xa5, 0x88, 0x91, 0x1a,
    0xa1, 0x89, 0x0b, 0x55, 0x79, 0xd3, 0xe3, 0x80, 0xf8, 0xf4, 0x75, 0xcc, 0xce, 0x1c, 0xc3, 0x07,
    0xea, 0x13, 0x2d, 0x5c, 0x72, 0x65, 0x81, 0x03, 0x79, 0x00, 0x00, 0x00, 0x03,
};

static void scan_plain(const struct engines *engines)
{
    static const uint8_t text[] = "Nothing is hidden in these few bytes.\n";
    char sniffed[SNIFFED_MAX] = "";
    const struct engine_file file = {.p = text,
                                     .n = sizeof text - 1,
                                     .name = "sample.txt",
                                     .type = "text/plain",
                                     .role = OBJECT_BODY,
                                     .where = "",
                                     .sniffed = sniffed,
                                     .time_ms = SAMPLE_MS};
    struct scan_result ignored; /* the rules may find what they like */

    memset(&ignored, 0, sizeof ignored);
    for (unsigned i = 0; i < engines->n; i++)
        engines->list[i].scan(engines->list[i].ctx, &file, &ignored);
}

static void fill_job(struct wire_message *m)
{
    memset(m, 0, sizeof *m);
    m->kind = WIRE_JOB;
    m->job.engines = WIRE_ENGINE_UNPACK;
    m->job.time_ms = SAMPLE_MS;
    m->job.len = sizeof packed;
    m->job.want_objects = true;
    m->job.unpack = (struct wire_unpack){
        .size_max = 1 << 20, .ratio_max = 100, .codings_max = 4, .parts_max = 1};
    (void)span_copy(SPAN("multipart/form-data; boundary=s"), m->job.type, sizeof m->job.type);
    (void)span_copy(SPAN("deflate, gzip, br, zstd"), m->job.encoding, sizeof m->job.encoding);
}

enum err sample_inspect(const struct engines *engines, struct buf *why)
{
    struct wire_message job;
    struct scan_result r;
    int objects = -1, fd = memfd_create("sample", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    scan_plain(engines);
    if (fd < 0 || pwrite(fd, packed, sizeof packed, 0) != (ssize_t)sizeof packed) {
        buf_fmt(why, "a sample in memory cannot be made: %s", strerrordesc_np(errno));
        if (fd >= 0)
            (void)close(fd);
        return ERR_ENGINE;
    }
    fill_job(&job);
    worker_inspect(engines, &job, fd, &r, &objects);
    (void)close(fd);
    if (objects >= 0)
        (void)close(objects);
    if (r.verdict == VERDICT_PASS && r.n_objects == 1 && objects >= 0)
        return OK;
    buf_fmt(why, "a sample could not be unpacked: %s", r.why);
    return ERR_ENGINE;
}
