/* SPDX-License-Identifier: Apache-2.0 */
/* map.h - uthash as this tree uses it: SipHash-2-4 with a seed made at start, because keys come
 * from the net, and no exit when memory is short (HASH_ADD leaves the element out; test hh.tbl ==
 * NULL). Include this, never <uthash.h>. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

/* SipHash-2-4 of |n| bytes under the process's seed. */
uint64_t map_hash(const void *p, size_t n);
/* Sets the seed: once, at start, with 16 random bytes, before any map exists. Without it (tests)
 * the seed is fixed. */
void map_seed(const uint8_t seed[16]);
/* The pure function, for its test vectors. */
uint64_t siphash24(const uint8_t key[16], const void *p, size_t n);

#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = (unsigned)map_hash((keyptr), (keylen)))
#define HASH_NONFATAL_OOM                    1
#define uthash_nonfatal_oom(elt)             ((void)(elt))
#include <uthash.h>

#endif
