/* SPDX-License-Identifier: Apache-2.0 */
/* body.h - one body on its way through us: a queue that is memory first and spool above, that can
 * be held back as a whole until a verdict is there, read by another process, and taken out at the
 * front while more is put in at the end. Because of it a slow reader never stops the peer that
 * writes (RFC 3507 erratum E7).
 *
 * Threads: belongs to its loop's thread. */
#ifndef ADAPT_BODY_H
#define ADAPT_BODY_H

#include "base/chain.h"
#include "net/spool.h"

struct body;

#define BODY_SHA256_HEX 64

struct body_settings {
    struct loop *loop;
    const struct spool_settings *spool;
    uint64_t memory_max; /* bytes kept in blocks */
    bool digest;         /* take SHA-256 of everything that is appended */
    void (*progress)(
        void *arg); /* more can be taken, or appended again; on the loop, never inside a call */
    void *arg;
};

NODISCARD enum err body_new(const struct body_settings *s, struct body **ret);
void body_free(struct body *b); /* NULL is fine */

/* Takes its own reference. An error (ERR_FULL, ERR_NOMEM, ERR_LIMIT, ERR_IO) is sticky; bytes
 * before it can still be taken only if they were not in the spool. */
NODISCARD enum err body_append(struct body *b, struct slice s);
uint64_t body_len(const struct body *b);   /* appended so far */
uint64_t body_taken(const struct body *b); /* taken so far */
enum err body_error(const struct body *b);
/* The spool is slower than the peer: stop reading until |progress|. */
bool body_is_behind(const struct body *b);

/* Takes up to |max| bytes from the front. SEGMENT_SLICE carries a reference for the receiver,
 * SEGMENT_FILE a reference to the file. False: nothing is there now (|progress| tells), or
 * everything was taken. */
bool body_take(struct body *b, uint64_t max, struct segment *ret);

/* No more will be appended; |done| gets a read-only descriptor of the whole body (the receiver
 * closes it), on the loop, never inside the call. Only while nothing has been taken. May be called
 * again when it was answered: each gets a descriptor of its own. */
typedef void (*body_file_fn)(void *arg, int fd, enum err err);
void body_file(struct body *b, body_file_fn done, void *arg);

/* Of everything appended; only with |digest|. Lower-case hex with a closing NUL. */
void body_sha256(struct body *b, char ret[BODY_SHA256_HEX + 1]);

#endif
