/* SPDX-License-Identifier: Apache-2.0 */
/* sockets.h - the listening sockets: bound here, inherited from systemd, or taken over from a
 * gateway whose supervisor died; and kept from one generation to the next. Connections that wait in
 * a socket's queue are lost when its last descriptor is closed, so nothing is closed that the
 * configuration still names. */
#ifndef PROC_SOCKETS_H
#define PROC_SOCKETS_H

#include "net/address.h"
#include "proc/settings.h"

#define SOCKETS_MAX      1024u
#define SOCKETS_NAME_MAX 128u

struct socket_entry {
    char listener[SOCKETS_NAME_MAX];
    unsigned loop;
    int fd;
    struct address at;
    bool inherited; /* opened by systemd: its name counts, whatever its address is */
};

/* Zeroed is empty. */
struct socket_set {
    struct socket_entry *v;
    unsigned n, cap;
};

void sockets_done(struct socket_set *s);
/* Takes |fd| over, also when it fails; ERR_SYNTAX: no listening stream socket, nor one that is
 * bound to a port and may listen later. */
NODISCARD enum err sockets_add(struct socket_set *s, const char *listener, int fd);
/* The descriptors that systemd passed ($LISTEN_FDS), and removes the variables. |why| names each
 * one that is of no use. */
void sockets_from_systemd(struct socket_set *s, struct buf *why);

/* The sockets that |c| wants; those of listeners that wait (struct tls_config) are bound, and the
 * gateway lets them listen when they have their certificate. Duplicates of those of |old| that fit,
 * and new ones. On failure |why| is a sentence for the operator, and *ret is untouched. */
NODISCARD enum err sockets_open(const struct settings *c, const struct socket_set *old,
                                struct socket_set *ret, struct buf *why);
/* {"edge":"127.0.0.1:1344",...}, one entry for each listener. */
void sockets_json(const struct socket_set *s, struct buf *out);
/* "edge=127.0.0.1:1344 admin=127.0.0.1:9344" for the log. */
void sockets_text(const struct socket_set *s, struct buf *out);

#endif
