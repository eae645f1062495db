/* SPDX-License-Identifier: Apache-2.0 */
/* probe_talk.h - one connection to the server that is probed: connects, sends, reads answers, all
 * with deadlines. It waits in poll(2); a probe has nothing else to do.
 *
 * Threads: one. */
#ifndef CLI_PROBE_TALK_H
#define CLI_PROBE_TALK_H

#include "cli/probe_answer.h"
#include "net/address.h"
#include "protect/tls_pipe.h"

#define PROBE_ADDRESSES_MAX 8u

struct probe_target {
    const char *host; /* without brackets; the name to verify, too */
    unsigned port;
    struct tls_context *tls; /* NULL: clear text */
    bool prove; /* the server must prove who it is, on each connection: it is told a password */
    uint64_t connect_ms, answer_ms;
    /* probe_target_resolve() fills these. */
    struct address addresses[PROBE_ADDRESSES_MAX];
    unsigned n_addresses;
};

/* Asks the system's resolver. On ERR_UPSTREAM *ret_why is static text. */
NODISCARD enum err probe_target_resolve(struct probe_target *t, const char **ret_why);

struct probe_talk {
    const struct probe_target *target;
    int fd; /* -1: closed */
    struct tls_pipe *tls;
    struct address address;
    struct buf in; /* read, and part of no answer yet */
    bool eof;
    bool tls_broke; /* that is why; |why| says more */
    bool heard;     /* a byte came since |heard| was cleared */
    char why[200];  /* after an error: a sentence */
    uint64_t connect_us;
};

/* The first address that takes it. ERR_UPSTREAM, ERR_TIMEOUT, ERR_TLS; |why| says more. Close it
 * in any case. |clear|: no TLS, although the target has it. |like|: resume its TLS session. */
NODISCARD enum err probe_talk_open(struct probe_talk *k, const struct probe_target *t);
NODISCARD enum err probe_talk_open_clear(struct probe_talk *k, const struct probe_target *t);
NODISCARD enum err probe_talk_open_tls(struct probe_talk *k, const struct probe_target *t,
                                       enum tls_pipe_rules rules, const struct probe_talk *like);
/* TLS on a connection that began in clear text, of which nothing is left unread. Errors as above.
 */
NODISCARD enum err probe_talk_start_tls(struct probe_talk *k, enum tls_pipe_rules rules);
void probe_talk_close(struct probe_talk *k);

/* Reads meanwhile what comes. ERR_EOF and ERR_RESET: the server takes no more; it may have answered
 * all the same. */
NODISCARD enum err probe_talk_send(struct probe_talk *k, struct span bytes);
/* One answer. ERR_TIMEOUT, ERR_TLS, ERR_SYNTAX (it cannot be understood, or ends early:
 * |a->fault|). */
NODISCARD enum err probe_talk_receive(struct probe_talk *k, struct probe_answer *a);
/* Waits until something comes (true) that is no part of an answer that was received, or the end
 * (false, eof set), or |ms| are over (false). */
bool probe_talk_listen(struct probe_talk *k, uint64_t ms);

#endif
