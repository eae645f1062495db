/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_conn.h - one connection of the closed loop: it sends a request while it reads the answer,
 * and begins the next one when both are over.
 */
#ifndef LOAD_CONN_H
#define LOAD_CONN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

#include "load_answer.h"
#include "load_plan.h"
#include "load_tally.h"

#define CONN_READ_MAX (256 * 1024)
#define CONN_TLS_MAX  16384 /* one TLS record */

enum conn_state {
    CONN_DOWN, /* not open, and not coming back */
    CONN_CONNECTING,
    CONN_HANDSHAKE,
    CONN_BUSY,    /* a request is out, or on its way */
    CONN_CLOSING, /* waits for the server to close */
    CONN_PAUSED,  /* the next request is not due yet */
    CONN_IDLE,    /* has finished its work, or is held; nothing may come any more */
};

/* What all connections share. */
struct run {
    const struct plan *plan;
    struct answer_memo memo;
    struct tally tally;
    SSL_CTX *tls; /* NULL: plain */
    bool resume;  /* offer the session of the connection before */
    bool hold;    /* one request on each connection, which then stays open */
    struct sockaddr_storage addr;
    socklen_t addr_len;
    struct sockaddr_in from; /* family 0: the kernel's choice */
    int epoll;
    uint8_t *buf;    /* CONN_READ_MAX bytes */
    uint8_t *record; /* CONN_TLS_MAX bytes: small pieces become one TLS record */
    unsigned n_active;
    bool stopping;                /* no further requests */
    uint64_t requests_left;       /* to begin */
    uint64_t serial;              /* of the next unique body */
    uint64_t pace_ns, stagger_ns; /* between requests of one connection; 0: as fast as answered */
    uint64_t faults_max;          /* then the run stops */
    uint64_t from_ns, to_ns, last_ns; /* the measured window; its last answer */
};

struct conn {
    int fd;
    enum conn_state state;
    uint32_t events; /* what epoll watches */
    unsigned index;
    unsigned seq; /* requests so far */
    SSL *ssl;
    SSL_SESSION *session;
    struct answer answer;
    struct plan_part part; /* being sent, from off on */
    uint64_t part_len, off;
    bool sending, answered;
    bool first; /* the request is the first one since it was opened */
    uint64_t n_answers;
    uint64_t since_ns; /* of the request, or of the wait for the end */
    uint64_t due_ns;   /* of the next request of a paced run; 0: none was yet */
};

uint64_t now_ns(void);

/* Opens |c|; without a connection it is down, and the fault is counted. */
void conn_open(struct run *r, struct conn *c);

/* Does what |events| of epoll allow. */
void conn_ready(struct run *r, struct conn *c, uint32_t events);

/* A paused connection goes on: its request is due, or the run ends. */
void conn_resume(struct run *r, struct conn *c, uint64_t now);

/* Is |c| open although it has nothing to do? */
bool conn_is_held(const struct conn *c);

/* Waited for too long. */
void conn_expire(struct run *r, struct conn *c);

/* The run is over: counts what |c| still waits for, and closes it. */
void conn_finish(struct run *r, struct conn *c);

/* Keeps the session tickets for conn.session; for SSL_CTX_sess_set_new_cb(). */
int conn_session_new(SSL *ssl, SSL_SESSION *session);

#endif
