/* SPDX-License-Identifier: Apache-2.0 */
/* cli/login.h: users in URLs. Properties: what is left of the URL has no user, and names the same
 * host, port and service as the whole for whoever parses either; a user is one that Basic can
 * carry. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "cli/login.h"
#include "icap/icap_message.h"

static void check_rest(const char *url, struct buf *rest)
{
    struct icap_uri whole, part;
    struct arena mem;

    arena_init(&mem, 1u << 16);
    if (icap_uri_parse(span_of(buf_cstr(rest)), &mem, &part, NULL) == OK) {
        assert(icap_uri_parse(span_of(url), &mem, &whole, NULL) == OK);
        assert(span_eq(whole.host, part.host) && whole.port == part.port);
        assert(span_eq(whole.path, part.path) && whole.secure == part.secure);
    }
    arena_done(&mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = {(const char *)data, size};
    struct login l;
    struct buf rest, again;
    const char *why = NULL;
    char *url;

    if (size > 2048)
        return 0;
    url = span_dup(in);
    assert(url);
    login_init(&l);
    buf_init(&rest, 0);
    buf_init(&again, 0);
    if (login_take_user(&l, url, &rest, &why)) {
        assert(!why && utf8_is_valid(span_of(l.user)) && !strchr(l.user, ':'));
        check_rest(url, &rest);
        login_init(&l);
        assert(login_take_user(&l, buf_cstr(&rest), &again, &why) && l.user[0] == '\0');
    } else {
        assert(why && l.user[0] == '\0' && rest.n == 0);
    }
    buf_done(&rest);
    buf_done(&again);
    free(url);
    return 0;
}
