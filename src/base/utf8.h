/* SPDX-License-Identifier: Apache-2.0 */
/* utf8.h - RFC 3629: is the next character well formed, and how long is it. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/span.h"

/* Bytes of the well-formed character at the start of |s|, or 0 (also at the end of |s|). */
size_t utf8_len(struct span s);
bool utf8_is_valid(struct span s);
/* The beginning of |s|, at most |max| bytes: whole characters up to the first that is none, or does
 * not fit. */
struct span utf8_whole(struct span s, size_t max);

#endif
