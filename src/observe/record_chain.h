/* SPDX-License-Identifier: Apache-2.0 */
/* record_chain.h - what makes it visible that records were changed after they were written. Each
 * batch of lines ends in a seal line with a number, a time, and a MAC over both and the batch. The
 * key of a seal is made of the key before it, which is forgotten: who breaks in later has none that
 * fits what was sealed before.
 *
 *     mac n    = HMAC-SHA-256(key n, n || time in ms || octets || the batch)
 *     key n+1  = HMAC-SHA-256(key n, "sallyport record chain next")
 *
 * Numbers are 64 bits, big-endian. No MAC covers the one before it: there is a key for each number,
 * so numbers alone tell order and gaps, and each batch can be checked by itself. Here is what
 * writer and verifier share; the state's file is record_sealer.h's. */
#ifndef OBSERVE_RECORD_CHAIN_H
#define OBSERVE_RECORD_CHAIN_H

#include "base/span.h"

#define RECORD_MAC_LEN 32u

/* What the next seal is made with: a secret. */
struct record_chain {
    uint64_t next; /* number of that seal */
    uint8_t key[RECORD_MAC_LEN];
};

/* The beginning of the chain of |key|, which is key 0. */
void record_chain_begin(const uint8_t key[RECORD_MAC_LEN], struct record_chain *ret);
void record_chain_wipe(struct record_chain *c);

/* The state as a file: magic and version (4 octets), next, key. */
#define RECORD_CHAIN_STATE_LEN 52u
void record_chain_encode(const struct record_chain *c, char ret[RECORD_CHAIN_STATE_LEN]);
/* ERR_SYNTAX: it is no such file, or that of a version that is not known here. */
NODISCARD enum err record_chain_decode(struct span state, struct record_chain *ret);

/* Key 0 as one line of text, with its LF: for who checks the records. */
#define RECORD_KEY_TEXT_LEN 88u
void record_key_format(const uint8_t key[RECORD_MAC_LEN], char ret[RECORD_KEY_TEXT_LEN]);
/* With or without LF. ERR_SYNTAX: it is no such line. */
NODISCARD enum err record_key_parse(struct span text, uint8_t ret[RECORD_MAC_LEN]);

/* ---- the MAC ---- */

struct record_seal {
    uint64_t time_wall_ms; /* until the year 9999 */
    uint64_t n;
    uint64_t octets; /* right before the line, that it covers */
    uint8_t mac[RECORD_MAC_LEN];
};

struct record_mac;

/* ERR_NOMEM. Good for any number of MACs and steps, one after the other. */
NODISCARD enum err record_mac_new(struct record_mac **ret);
/* NULL is fine. */
void record_mac_free(struct record_mac *m);
/* The MAC of |s|, which is seal c->next, over its octets, which come next, in pieces. ERR_NOMEM. */
NODISCARD enum err record_mac_begin(struct record_mac *m, const struct record_chain *c,
                                    const struct record_seal *s);
NODISCARD enum err record_mac_add(struct record_mac *m, struct span piece);
NODISCARD enum err record_mac_end(struct record_mac *m, uint8_t ret[RECORD_MAC_LEN]);
/* On to the next seal. Both leave |c| as it was after an error, which is ERR_NOMEM. */
NODISCARD enum err record_chain_next(struct record_mac *m, struct record_chain *c);
/* On to seal |to|, not before c->next. Half a microsecond for each step. */
NODISCARD enum err record_chain_skip(struct record_mac *m, uint64_t to, struct record_chain *c);

/* ---- the seal line ---- */

#define RECORD_SEAL_MAX 208u /* of a line with its LF */
/* {"time":"1994-11-06T08:49:37.123Z","event":"seal","seal":17,"octets":1234,"mac":"<hex>"} and LF;
 * returns the length. */
size_t record_seal_format(const struct record_seal *s, char ret[RECORD_SEAL_MAX]);
/* |line| without its LF. Exactly what record_seal_format() makes. ERR_MISSING: it is no seal;
 * ERR_SYNTAX: it begins like one and goes on otherwise, so somebody changed it. */
NODISCARD enum err record_seal_parse(struct span line, struct record_seal *ret);

#endif
