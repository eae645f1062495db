/* SPDX-License-Identifier: Apache-2.0 */
/* digest_base64.h - RFC 4648: base64url without padding for nonces, base64 for Basic and
 * checksums. Pure; any thread. */
#ifndef HTTP_DIGEST_BASE64_H
#define HTTP_DIGEST_BASE64_H

#include "base/buf.h"

/* Characters of |n| bytes in base64url without padding (RFC 4648 5). */
#define BASE64_URL_LEN(n) (((n)*4 + 2) / 3)
/* Writes BASE64_URL_LEN(n) characters and a closing NUL. */
void digest_base64_url(const uint8_t *p, size_t n, char *dst);
/* Back, exactly |n| bytes. False: another length, another character, or bits left over that are not
 * 0; so each text is the only one of its bytes. */
bool digest_base64_url_read(struct span text, uint8_t *dst, size_t n);
/* The same of padded base64 (RFC 4648 4). */
bool digest_base64_read(struct span text, uint8_t *dst, size_t n);
/* Appends |s| in padded base64 (RFC 4648 4). */
void digest_base64(struct span s, struct buf *out);

#endif
