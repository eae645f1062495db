/* SPDX-License-Identifier: Apache-2.0 */
/* content_md5.h - Content-MD5 of a request (RFC 1864, RFC 2616 14.15): a checksum of the body
 * without its transfer coding, which HTTP gave up in 2014 (RFC 7231 B). It proves nothing, for
 * whoever changes a body changes that, too; one that is wrong is worth a word in a record. Sans-IO;
 * one thread's at a time. */
#ifndef HTTP_CONTENT_MD5_H
#define HTTP_CONTENT_MD5_H

#include "http/digest_hash.h"
#include "http/head.h"

#define CONTENT_MD5_LEN 16u

/* All zero: there is no field, or no MD5 (a FIPS provider has none); nothing is computed. */
struct content_md5 {
    struct digest_hash hash;
    uint64_t n; /* octets of the body so far */
    struct digest_hex said;
};

/* Looks for the field. Where there is one, and MD5, |m| must be ended; else nothing is allocated.
 * False: it is there, and no base64 of 16 octets, or there twice. Without MD5 nothing is looked at.
 */
bool content_md5_begin(struct content_md5 *m, const struct head *h);
/* A piece of the body. */
static inline void content_md5_add(struct content_md5 *m, struct span s)
{
    if (!m->hash.ctx)
        return;
    m->n += s.n;
    digest_hash_add(&m->hash, s);
}
/* Gives back what |m| holds; doing it again is fine. False: |whole|, the body was all that was
 * added, and it is another one than the field says. */
bool content_md5_end(struct content_md5 *m, bool whole);

#endif
