/* SPDX-License-Identifier: Apache-2.0 */
/* stream_int.h - the body of a stream, for its files. */
#ifndef NET_STREAM_INT_H
#define NET_STREAM_INT_H

#include <netinet/in.h>
#include <sys/uio.h>

#include "net/edge.h"
#include "net/fair_queue.h"
#include "net/loop_int.h"
#include "net/stream.h"

#define STREAM_RECORD_MAX 16384u /* RFC 8446 5.1 */

enum stream_state {
    STREAM_CLEAR,
    STREAM_HANDSHAKE,
    STREAM_TLS,
    STREAM_BROKEN, /* the handshake failed */
    STREAM_LINGER, /* closed by its driver; waits for the peer's FIN */
    STREAM_GONE,   /* only the memory is left, until the deferred free */
};

struct stream_load;

struct stream {
    struct loop *loop;
    struct edge edge;
    int fd;
    enum stream_state state;
    stream_fn fn;
    void *arg;
    unsigned armed; /* what the driver wants to hear of */
    unsigned ready; /* EDGE_READ and EDGE_WRITE: came, and no system call has fallen short since */

    SSL *ssl;
    struct tls_context *tls;
    /* Encrypted bytes that are not with the kernel yet. The BIO takes whatever OpenSSL writes, so
     * that OpenSSL never wants to write: reading and writing cannot cross. */
    struct chain out;
    int low_water;            /* SO_RCVLOWAT; 0: as it was made */
    bool held;                /* |out| is a ticket that waits for the driver's turn */
    bool direct;              /* the record being written is the only one: no need to collect */
    bool starved;             /* OpenSSL holds at most a part of a record */
    bool transport_eof;       /* the BIO has seen the FIN */
    bool dry;                 /* the last read(2) took all there was: wait before the next */
    bool may_fall_short;      /* EDGE_SHORT: a read that takes less than it could proves nothing */
    bool write_wants_read;    /* a write waits for bytes from the peer */
    bool last;                /* what is written now is followed by |must_shut| at once */
    bool must_shut, shut;     /* SHUT_WR is due after |out|; is done */
    enum err bio_err;         /* what a system call under OpenSSL said; OK: nothing */
    enum err in_err, out_err; /* sticky ends of the two halves */
    bool in_err_told;

    unsigned kicks; /* events to deliver from |kick| */
    bool kicked, again_queued;
    struct task kick, free_task;
    struct task again;     /* what is ready and wanted, while nothing new comes */
    struct fair_task turn; /* the next step of the handshake */
    unsigned loads;        /* of files in memory, since one went through the pool */
    struct stream_load *load;
    struct timer linger;
    struct loop_hook hook;

    sallyport_report *report;
    sallyport_report *late_report; /* with the alert that came after the handshake; or NULL */
    enum err failure;
    char *error;       /* NULL: out of memory for it, or no error */
    char *first_error; /* what |error| replaced, which happens once at most; or NULL */
    void *owner;       /* the upstream pool's record of this connection */
    /* An IP address as its sockaddr; 0 bytes: unknown. A sockaddr_storage would be a fifth of what
     * an idle connection costs. */
    unsigned char peer_len;
    unsigned char peer[sizeof(struct sockaddr_in6)];
};

/* First one wins. */
void stream_fail(struct stream *s, enum err e, const char *why);
/* From now on the output half says |e|. Returns |e|. */
enum err stream_fail_out(struct stream *s, enum err e, const char *why);
/* The same from an errno value. */
enum err stream_fail_errno(struct stream *s, int errnum);
/* Delivers |events| (those that the driver still wants) from the run-next queue. */
void stream_kick(struct stream *s, unsigned events);
/* Calls the driver now. The stream may be GONE after it. */
void stream_deliver(struct stream *s, unsigned events);
/* Sees to it that what driver and TLS want by now is told when it is ready, or is. */
void stream_update(struct stream *s);
/* Sends what goes of |out|. */
void stream_push(struct stream *s);
/* The next step of the handshake, or what is held, when it is the peer's turn. */
void stream_wait_turn(struct stream *s);
/* recv(2) from the socket, as it says. After a read that took less than it could nothing is there
 * until an edge says so: then EAGAIN without a system call. */
ssize_t stream_recv(struct stream *s, void *dst, size_t max);
/* sendmsg(2) of |n| > 0 pieces, as it says. */
ssize_t stream_send(struct stream *s, const struct iovec *iov, size_t n);
/* SHUT_WR, if it is due and nothing is before it. */
void stream_shut_if_due(struct stream *s);

/* stream_tls.c */
enum err stream_tls_read(struct stream *s, uint8_t *dst, uint32_t max, uint32_t *ret_n);
enum err stream_tls_write(struct stream *s, struct chain *c, uint64_t *ret_n);
/* Sends |out|. OK, ERR_AGAIN, or why the output half is dead. */
enum err stream_tls_flush(struct stream *s);
/* Does OpenSSL have bytes that were read, be it part of a record? */
bool stream_tls_holds(const struct stream *s);
void stream_tls_handshake(struct stream *s);
void stream_tls_close_notify(struct stream *s);
void stream_tls_free(struct stream *s);

/* stream_load.c: the file range at the front of |c|. OK: there is memory at the front now.
 * ERR_AGAIN: WRITABLE follows. */
enum err stream_load_first(struct stream *s, struct chain *c);
bool stream_is_loading(const struct stream *s);
/* The stream goes; a load that is under way ends by itself. */
void stream_load_drop(struct stream *s);

/* Scratch of this thread, STREAM_RECORD_MAX bytes; valid until anything else runs. */
uint8_t *stream_scratch(void);

#endif
