/* SPDX-License-Identifier: Apache-2.0 */
/* basic.h - HTTP Basic credentials (RFC 7617), as ICAP clients send them. Pure; any thread. */
#ifndef TENANT_BASIC_H
#define TENANT_BASIC_H

#include "base/span.h"

/* Bytes of user, colon and password together. */
#define BASIC_TEXT_MAX  1153u
#define BASIC_TOKEN_MAX ((BASIC_TEXT_MAX + 2) / 3 * 4)
/* Room for what a token of |n| bytes decodes to, with a closing NUL. */
#define BASIC_ROOM(n) ((n) / 4 * 3 + 1)

/* The token of an Authorization value: "Basic", in letters of any case, and one token68.
 * ERR_MISSING: another scheme; ERR_SYNTAX; ERR_LIMIT: longer than any that could be right. */
NODISCARD enum err basic_token(struct span value, struct span *ret_token);
/* |dst|, with BASIC_ROOM(token.n) bytes, holds user, colon and password; *ret_user ends at the
 * first colon, *ret_password is the rest, both within |dst|, which is secret: wipe it. UTF-8
 * without control characters, as the challenge asks for (RFC 7617 2.1), in canonical base64 only:
 * one text, one token. ERR_SYNTAX. */
NODISCARD enum err basic_decode(struct span token, char *dst, struct span *ret_user,
                                struct span *ret_password);

#endif
