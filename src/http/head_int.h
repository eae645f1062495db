/* SPDX-License-Identifier: Apache-2.0 */
/* head_int.h - the byte searches of head_find.c: for head.c, their tests, and the fuzzer that holds
 * each against its plain twin.
 */
#ifndef HTTP_HEAD_INT_H
#define HTTP_HEAD_INT_H

#include <stdbool.h>
#include <stddef.h>

/* Offset of the first CR, LF or NUL, or |n|. */
size_t head_find_stop(const char *p, size_t n);
size_t head_find_stop_scalar(const char *p, size_t n);
/* Offset of the first control byte but HTAB, or |n| (RFC 9110 5.5). */
size_t head_find_control(const char *p, size_t n);
size_t head_find_control_scalar(const char *p, size_t n);
/* How many bytes of |p|, from its front, are tchar (RFC 9110 5.6.2). */
size_t head_token_len(const char *p, size_t n);
size_t head_token_len_scalar(const char *p, size_t n);
/* Where a head ends that has nothing odd in it: the offset behind its empty line, if up to there no
 * control byte stands but HTAB, and CR and LF only as CRLF, and the empty line is not the first. 0:
 * none, or something is odd. */
size_t head_plain_end(const char *p, size_t n);
size_t head_plain_end_scalar(const char *p, size_t n);

#endif
