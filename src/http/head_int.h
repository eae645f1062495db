/* SPDX-License-Identifier: Apache-2.0 */
/* head_int.h - the byte searches of head.c, for their tests and the twin check of the fuzzer.
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
/* No control byte but HTAB, and CR and LF only as CRLF? Also counts the LFs. */
bool head_is_plain(const char *p, size_t n, size_t *ret_lines);
bool head_is_plain_scalar(const char *p, size_t n, size_t *ret_lines);

#endif
