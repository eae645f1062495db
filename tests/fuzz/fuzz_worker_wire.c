/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_worker_wire.c - packets between gateway, zygote and worker. What is decoded encodes to the
 * same bytes, and any struct that encodes decodes to itself; so one message has one encoding, and
 * nothing that one side can say is lost on the other. */
#include <stdlib.h>
#include <string.h>

#include "adapt/worker_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void decode_then_encode(struct span packet)
{
    static struct wire_message m, kept;
    uint8_t bytes[WIRE_MAX];
    struct writer w = writer_of(bytes, sizeof bytes);

    memset(&m, 0x5a, sizeof m);
    kept = m;
    if (wire_decode(packet, &m) != OK) {
        check(memcmp(&m, &kept, sizeof m) == 0);
        return;
    }
    check(wire_encode(&m, &w) == OK);
    check(span_eq(writer_span(&w), packet));
}

/* The input as the struct itself: texts without end, values out of range. Bytes behind a text's NUL
 * are not part of it, so the second packet is compared, not the struct. */
static void encode_then_decode(const uint8_t *data, size_t size)
{
    static struct wire_message m, back;
    uint8_t one[WIRE_MAX], two[WIRE_MAX];
    struct writer w = writer_of(one, sizeof one), v = writer_of(two, sizeof two);

    memset(&m, 0, sizeof m);
    memcpy(&m, data, size < sizeof m ? size : sizeof m);
    m.kind = (enum wire_kind)(size ? data[0] % 12 : 0);
    /* a bool that is neither is undefined before we see it */
    if (m.kind == WIRE_JOB)
        memset(&m.job.want_objects, size > 1 && (data[1] & 1), 1);
    if (m.kind == WIRE_RESULT) {
        memset(&m.result.has_objects, size > 1 && (data[1] & 2), 1);
        memset(&m.result.result.incomplete, size > 1 && (data[1] & 4), 1);
        for (size_t i = 0; i < FINDINGS_MAX; i++)
            memset(&m.result.result.findings[i].note, size > 1 && (data[1] >> (i % 8) & 1), 1);
    }
    if (wire_encode(&m, &w) != OK)
        return;
    check(wire_decode(writer_span(&w), &back) == OK);
    check(wire_encode(&back, &v) == OK);
    check(span_eq(writer_span(&w), writer_span(&v)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode_then_encode((struct span){(const char *)data, size});
    encode_then_decode(data, size);
    return 0;
}
