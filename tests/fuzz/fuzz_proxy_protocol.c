/* SPDX-License-Identifier: Apache-2.0 */
/* net/proxy_protocol.h. Properties: any prefix asks for more or gives the final answer; what is
 * used lies within the input and its maximum; the peer can be printed and parsed again. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    enum err err;
    size_t used;
    bool has_peer;
    struct address peer;
};

/* |n| bytes in memory of their own, so that reading past them shows. */
static struct result parse(const uint8_t *data, size_t n)
{
    struct result r = {.used = 0};
    struct fault f = {.why = NULL};
    char *p = malloc(n ? n : 1);

    assert(p);
    if (n)
        memcpy(p, data, n);
    r.err = proxy_header_parse((struct span){p, n}, &r.used, &r.has_peer, &r.peer, &f);
    free(p);
    assert(r.err == OK || r.err == ERR_AGAIN || r.err == ERR_PROTO);
    if (r.err == ERR_PROTO)
        assert(f.err == ERR_PROTO && f.why);
    return r;
}

static void check_peer(const struct result *r)
{
    char text[ADDRESS_TEXT_MAX];
    struct address again;

    if (!r->has_peer)
        return;
    (void)address_text(&r->peer, text);
    assert(address_parse(span_of(text), &again) == OK);
    assert(address_port(&again) == address_port(&r->peer));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result whole = parse(data, size);
    size_t end = size < PROXY_HEADER_MAX + 8 ? size : PROXY_HEADER_MAX + 8;

    if (size >= PROXY_HEADER_MAX)
        assert(whole.err != ERR_AGAIN);
    if (whole.err == OK) {
        assert(whole.used > 0 && whole.used <= size && whole.used <= PROXY_HEADER_MAX);
        check_peer(&whole);
    }
    for (size_t n = 0; n < end; n++) {
        struct result part = parse(data, n);

        if (part.err == ERR_AGAIN)
            continue;
        assert(part.err == whole.err && part.used == whole.used);
        assert(part.err != OK || part.has_peer == whole.has_peer);
        if (part.err == OK && part.has_peer)
            assert(memcmp(&part.peer, &whole.peer, sizeof part.peer) == 0);
        break;
    }
    return 0;
}
