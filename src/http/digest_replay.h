/* SPDX-License-Identifier: Apache-2.0 */
/* digest_replay.h - which counts of which nonces were used (RFC 7616 3.4, nc; 5.4). A nonce enters
 * with its first successful use, so that nobody without a password takes room here, and leaves when
 * it is too old to be used. What is in the table is never put out by something newer: a full table
 * asks for another nonce instead of forgetting that an old one was used. No user has more than
 * three quarters of it, so that nobody with a password keeps the others out.
 *
 * All memory is taken by digest_replay_new(). Any thread; a mutex, held for a look at a few entries
 * and, at most once a second while the table is full, at all of them. Processes that share keys
 * (digest_nonce.h) would each take the same credentials once: give them keys of their own. */
#ifndef HTTP_DIGEST_REPLAY_H
#define HTTP_DIGEST_REPLAY_H

#include "http/digest.h"

#define DIGEST_REPLAY_MAX 1048576u /* nonces; each takes some 40 bytes */

struct digest_replay;
/* Room for |n| nonces, 1..DIGEST_REPLAY_MAX. NULL: out of memory, or not in that range. */
struct digest_replay *digest_replay_new(uint32_t n);
/* NULL is fine. */
void digest_replay_free(struct digest_replay *r);
/* Nonces in it, also those that are over and not swept yet. */
uint32_t digest_replay_count(struct digest_replay *r);

/* In place of a count: the nonce is used up as a whole (RFC 2069, which has no counts). */
#define DIGEST_REPLAY_WHOLE 0u

/* Uses |count| of the nonce with that |random|, which is good until |until_s| (included), for the
 * user of that hash. Counts may begin anywhere, leave gaps and come in any order within 64 of the
 * highest one. DIGEST_OK: it was not used before, and is now. DIGEST_EREPLAY: it was, or is too far
 * below the highest one. DIGEST_EFULL. DIGEST_ESTALE: the clock was put back, and whether it was
 * used is forgotten. */
NODISCARD enum digest_err digest_replay_use(struct digest_replay *r, uint64_t random, uint64_t user,
                                            uint32_t count, uint64_t until_s, uint64_t now_s);
/* Uses all of it up, of whomever it is: from now on each count is DIGEST_EREPLAY. What was not in
 * the table takes no more than an eighth of it: it may be anybody's. DIGEST_EFULL: that is full,
 * and nothing has happened; DIGEST_ESTALE. */
NODISCARD enum digest_err digest_replay_burn(struct digest_replay *r, uint64_t random,
                                             uint64_t until_s, uint64_t now_s);

#endif
