/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_tenant_record.c - what the store holds: a line with the key, then the text. What is read is
 * written and read again as the same. */
#include <stdlib.h>

#include "tenant/tenants.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = {(const char *)data, size}, key = span_cut(&rest, '\n');
    struct tenant_record c, back;
    struct buf out, again;

    if (tenant_record_parse(key, rest, &c) != OK)
        return 0;
    check(c.version == 0 && span_eq(span_of(c.name), key));
    buf_init(&out, 0);
    tenant_record_format(&c, &out);
    check(tenant_record_parse(key, buf_span(&out), &back) == OK);
    buf_init(&again, 0);
    tenant_record_format(&back, &again);
    check(span_eq(buf_span(&out), buf_span(&again)));
    buf_done(&again);
    buf_done(&out);
    return 0;
}
