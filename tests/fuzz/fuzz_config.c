/* SPDX-License-Identifier: Apache-2.0 */
/* Any text is loaded or refused with a complaint; what was loaded prints to a text that loads to an
 * equal struct, and prints the same again. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "../unit/test_config_example.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Loads |text| and prints it into |out|, which stays empty when the text is refused. */
static enum err load(struct span text, struct arena *mem, struct example_config *c, struct buf *out)
{
    struct config_report r;
    struct buf complaints;
    enum err e;

    config_report_init(&r);
    buf_init(&complaints, 0);
    e = config_load_text(text, "fuzz", &example_block, mem, &r, c);
    assert(e == OK || e == ERR_CONFIG || e == ERR_NOMEM);
    assert((e == ERR_CONFIG) == (r.n_errors > 0) || e == ERR_NOMEM);
    config_report_print(&r, &complaints);
    assert(utf8_is_valid(buf_span(&complaints)));
    for (size_t i = 0; i < complaints.n; i++)
        assert(complaints.p[i] == '\n' || (unsigned char)complaints.p[i] >= 0x20);
    for (size_t i = 0; i < r.n; i++)
        assert(span_find(span_of(r.v[i].text), '\n') == span_of(r.v[i].text).n);
    if (e == OK)
        config_print(&example_block, c, CONFIG_PRINT_SECRETS, out);
    buf_done(&complaints);
    config_report_done(&r);
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct example_config a, b;
    struct arena mem_a, mem_b;
    struct buf first, again;

    arena_init(&mem_a, 16u * 1024u * 1024u);
    arena_init(&mem_b, 16u * 1024u * 1024u);
    buf_init(&first, 0);
    buf_init(&again, 0);
    if (load((struct span){(const char *)data, size}, &mem_a, &a, &first) == OK &&
        first.n <= CONFIG_TEXT_MAX) {
        bool restart = true;

        assert(load(buf_span(&first), &mem_b, &b, &again) == OK);
        assert(span_eq(buf_span(&first), buf_span(&again)));
        assert(config_diff_restart(&example_block, &a, &b, &restart, NULL) == OK);
        assert(!restart);
    }
    buf_done(&first);
    buf_done(&again);
    arena_done(&mem_a);
    arena_done(&mem_b);
    return 0;
}
