/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_proc_message.c - messages between supervisor and gateway. What is decoded encodes to the
 * same bytes; and any sequence of messages makes a set or is refused, without a leak. */
#include <stdlib.h>
#include <string.h>

#include "proc/generation.h"
#include "proc/generation_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void decode_then_encode(struct span packet)
{
    static struct proc_message m, kept;
    char bytes[PROC_PACKET_MAX];
    struct writer w = writer_of(bytes, sizeof bytes);

    memset(&m, 0x5a, sizeof m);
    kept = m;
    if (proc_decode(packet, &m) != OK) {
        check(memcmp(&m, &kept, sizeof m) == 0);
        return;
    }
    check(proc_encode(&m, &w) == OK);
    check(span_eq(writer_span(&w), packet));
}

/* Each byte is a message: its kind, whether a descriptor comes with it, and a few small numbers. */
static void gather(const uint8_t *data, size_t size)
{
    static const char *const texts[] = {"a", "b", "admin", ""};
    static struct proc_message m;
    struct generation g;
    bool done = false;
    enum err e = OK;

    generation_init(&g);
    for (size_t i = 0; i < size && i < 256 && !done && !e; i++) {
        m = (struct proc_message){.kind = (enum proc_kind)(1 + data[i] % PROC_DRAINED),
                                  .loop = data[i] >> 7,
                                  .threads = 1 + (i & 1),
                                  .live = size & 1};
        (void)span_copy(span_of(texts[data[i] >> 4 & 3]), m.text, sizeof m.text);
        int fd = data[i] & 0x40 ? -1 : text_memfd("fuzz", SPAN("a: 1\n"));

        e = generation_add(&g, &m, fd, &done);
        check(!done || (!e && g.state == GENERATION_COMPLETE));
        check(g.n_sockets == 0 || !g.live);
    }
    generation_done(&g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode_then_encode((struct span){(const char *)data, size});
    gather(data, size);
    return 0;
}
