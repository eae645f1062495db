/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_tls_flags.c - verification flags out of configurations and environments: only known bits,
 * and what is written of them is read as the same. */
#include <stdint.h>
#include <stdlib.h>

#include "protect/tls_flags.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size}, wrong = SPAN_NONE;
    unsigned flags = 0, again = 0;
    struct buf out;

    if (tls_flags_parse(text, &flags, &wrong) != OK) {
        check(wrong.n <= size && flags == 0);
        return 0;
    }
    check((flags & ~(unsigned)TLS_FLAGS_ALL) == 0);
    buf_init(&out, 0);
    tls_flags_format(flags, &out);
    check(out.err || (tls_flags_parse(buf_span(&out), &again, &wrong) == OK && again == flags));
    buf_done(&out);
    return 0;
}
