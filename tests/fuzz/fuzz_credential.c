/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_credential.c - what the store holds: a line with the key, then the text. What is read is
 * written and read again as the same, and what is kept for Digest is whole. */
#include <stdlib.h>

#include "tenant/credential.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* A realm and SHA-256, with MD5 or without, or nothing at all. */
static void check_digest(const struct digest_verifier *d)
{
    bool kept = digest_verifier_is_kept(d);

    check(kept == digest_verifier_realm_is_valid(span_of(d->realm)));
    check(kept == (digest_verifier_ha1(d, DIGEST_SHA256) != NULL));
    check(kept || !digest_verifier_ha1(d, DIGEST_MD5));
    check(!digest_verifier_ha1(d, DIGEST_SHA512_256));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = {(const char *)data, size}, key = span_cut(&rest, '\n');
    struct credential c, back;
    struct buf out, again;

    if (credential_parse(key, rest, &c) != OK)
        return 0;
    check(c.version == 0 && span_eq(span_of(c.user), key));
    check_digest(&c.digest);
    buf_init(&out, 0);
    credential_format(&c, &out);
    check(credential_parse(key, buf_span(&out), &back) == OK);
    buf_init(&again, 0);
    credential_format(&back, &again);
    check(span_eq(buf_span(&out), buf_span(&again)));
    buf_done(&again);
    buf_done(&out);
    return 0;
}
