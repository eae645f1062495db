/* SPDX-License-Identifier: Apache-2.0 */
/* secret.h - memory for small secrets: locked, in no core file, wiped when it is given back. Where
 * the limit of locked memory forbids the first, the others hold all the same.
 *
 * Threads: any; a mutex, held for a look at a list. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <stddef.h>

#define SECRET_MAX 2048u

/* |n| bytes, 1..SECRET_MAX, all zero. NULL: out of memory, or too many. */
void *secret_alloc(size_t n);
/* The |n| that it was asked for with. NULL is fine. */
void secret_free(void *p, size_t n);
/* No core file of this process, wherever the system sends them: what is read and copied on its way
 * into such memory is in none either. Children inherit it. Not PR_SET_DUMPABLE, which takes /dev/fd
 * away, and with it files that a shell hands over. */
void secret_forbid_cores(void);
/* Bytes that are taken, for tests. */
size_t secret_used(void);

#endif
