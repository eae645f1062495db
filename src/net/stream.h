/* SPDX-License-Identifier: Apache-2.0 */
/* stream.h - one connection: TCP, or TLS over it. A driver cannot tell which, except through the
 * report. Try first, wait later: reads and writes are tried at once and say ERR_AGAIN; then arm.
 *
 * Threads: a stream belongs to its loop's thread. */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "base/chain.h"
#include "net/address.h"
#include "net/loop.h"
#include "protect/tls_context.h"
#include "sallyport/report.h"

struct stream;

/* What happened, in the callback. OPEN: the TLS handshake ended well. FAILED: it did not
 * (stream_error). READABLE and WRITABLE are hints: try. */
enum { STREAM_READABLE = 1, STREAM_WRITABLE = 2, STREAM_OPEN = 4, STREAM_FAILED = 8 };
typedef void (*stream_fn)(void *arg, unsigned events);

/* TCP_NODELAY: answers go out in one write, and waiting for an ACK would only delay the next. What
 * is accepted has it from the socket that listens. */
void stream_no_delay(int fd);
/* Takes |fd| (a connected, non-blocking stream socket) over. On failure |fd| stays the caller's. */
NODISCARD enum err stream_new(struct loop *l, int fd, const struct address *peer, stream_fn fn,
                              void *arg, struct stream **ret);
/* A stream changes hands between drivers (listener -> protocol, pool -> user). */
void stream_set_callback(struct stream *s, stream_fn fn, void *arg);
/* Begins the handshake of |tls|'s role; OPEN or FAILED follows, never inside this call. Takes its
 * own reference to |tls|. A stream reads nothing ahead, so a driver that upgrades (RFC 2817) must
 * itself hold no clear bytes behind the upgrade: they would be taken for protected ones. ERR_PROTO
 * if TLS was started before or the stream has ended; ERR_TLS when it cannot begin (stream_error).
 */
NODISCARD enum err stream_start_tls(struct stream *s, struct tls_context *tls,
                                    const char *server_name);

/* Appends up to |max| bytes at b->data + b->used and moves b->used. OK: *ret_n > 0 bytes.
 * ERR_AGAIN, ERR_EOF (clean end: FIN, and close_notify in TLS), ERR_RESET, ERR_TLS (also a FIN
 * without close_notify: truncation). */
NODISCARD enum err stream_read(struct stream *s, struct block *b, uint32_t max, uint32_t *ret_n);
/* Are bytes waiting inside TLS that no poll would tell of? Never wait while this is true. */
bool stream_has_pending(const struct stream *s);
/* Could a read yield something now, as far as is known without asking the kernel? False: the next
 * one says ERR_AGAIN, until READABLE. */
bool stream_may_read(const struct stream *s);
/* The next read asks the kernel, whatever is known: is this idle connection still alive? */
void stream_ask_again(struct stream *s);
/* What a read would find, for who has no memory for one. OK: there is something, if only a part of
 * a TLS record; ERR_AGAIN: nothing, until READABLE; ERR_EOF: the peer has sent its last byte, which
 * may not be the last that was read, or the connection broke. */
NODISCARD enum err stream_look(struct stream *s);
/* One read for a driver that gives its engine what came as slices of blocks: behind what is in
 * |*left| (whose block must have room), else into a block of its own, whose reference |*left| has
 * then. As stream_read(), and ERR_BUSY: there is something, but no memory for it: try later.
 * |memory|: what blocks count against, whose last sixteenth is for answers; NULL: no limit. */
NODISCARD enum err stream_read_slice(struct stream *s, const struct budget *memory,
                                     struct slice *left, uint32_t *ret_n);
/* Looks at the first bytes without taking them (clear streams only). Returns how many, or 0. */
size_t stream_peek(struct stream *s, void *dst, size_t n);

/* Writes the head of |c| and drops from |c| what was taken, as much as goes without waiting; *ret_n
 * bytes were taken. TLS: up to eight records are batched into one write; taken bytes that wait in
 * that batch count as taken, and the next call, or stream_flush(), sends them. File ranges at the
 * front are loaded through the thread pool; until they are there the call says ERR_AGAIN, and
 * WRITABLE follows. OK: |c| is empty and everything is with the kernel. */
NODISCARD enum err stream_write(struct stream *s, struct chain *c, uint64_t *ret_n);
/* The same for the last bytes of a connection: the kernel may keep its last segment back, so that
 * it leaves with the close_notify and the FIN. Once this has said OK the caller must shut down or
 * close before it returns to the loop. */
NODISCARD enum err stream_write_last(struct stream *s, struct chain *c, uint64_t *ret_n);
/* OK when nothing taken is left here; ERR_AGAIN otherwise. */
NODISCARD enum err stream_flush(struct stream *s);
bool stream_has_unsent(const struct stream *s);
/* The driver's own sendmsg(2), for what only it can send (descriptors), said EAGAIN: WRITABLE comes
 * when there is room. */
void stream_wait_for_room(struct stream *s);

/* Which of READABLE, WRITABLE the driver wants to hear of, until it says otherwise; handles TLS's
 * own wants by itself, and tells of bytes that wait inside TLS. After ERR_EOF no more READABLE
 * comes. */
void stream_arm(struct stream *s, unsigned events);

/* The driver has no use yet for fewer than |n| bytes: READABLE comes when so many are with the
 * kernel, at most 64 KiB of them, or when the connection ends. 0: any are welcome, as is the case
 * before the first call, and again to be said by who is done. Reads themselves take what there is.
 * Nothing else ends the wait, so a driver that knows no better sets a timer. False: any byte is
 * told of; few are not worth the system call, and what OpenSSL holds of a record cannot be counted.
 */
bool stream_expect(struct stream *s, uint64_t n);
/* What came is acknowledged now, and not with what is sent next, or 40 ms later: a peer that holds
 * the rest back until then (Nagle's algorithm, RFC 9293 3.7.4) sends it. A hint; it may do nothing.
 * Of a read of STREAM_LITTLE bytes it would gain nothing: more than one segment, which the kernel
 * acknowledges, or one of a peer that writes much at once. */
void stream_acknowledge(struct stream *s);
#define STREAM_LITTLE 16384u

/* close_notify, then shutdown(SHUT_WR), after what is unsent. Best effort, never waits; reading
 * goes on. */
void stream_shutdown(struct stream *s);
/* No callback after this. |linger_ms| > 0: shuts down, then reads and drops until EOF or that long,
 * so that the kernel's RST does not destroy the answer (RFC 9112 9.6). 0: at once and, unless
 * stream_shutdown() was called, without close_notify: the peer sees a truncation. NULL is fine. */
void stream_close(struct stream *s, uint64_t linger_ms);

/* Other record keys in both directions from what is written next on (RFC 8446 4.6.3). ERR_MISSING:
 * not TLS 1.3; ERR_AGAIN: not now, because a record is half written; nothing has changed then. */
NODISCARD enum err stream_rekey(struct stream *s);
/* Session tickets of the protocol's own (protect/tls_ticket.h): issued with what is written next,
 * and what the ticket that this connection began with held (borrowed until the next call here).
 * ERR_MISSING and false where there are none: in clear text, in TLS 1.2, on clients. */
NODISCARD enum err stream_issue_ticket(struct stream *s, struct span data,
                                       uint64_t deadline_wall_s);
bool stream_ticket_data(const struct stream *s, struct span *ret_data);

/* The report on how this stream is protected; made after the handshake (or at once, when clear),
 * and once more when the peer's alert came later, as in TLS 1.3: its first WHY is then that.
 * Borrowed; all live as long as the stream. */
const sallyport_report *stream_report(const struct stream *s);
/* Unknown (len 0) for the path of a Unix socket. */
struct address stream_peer(const struct stream *s);
/* Our end of it, asked of the kernel; len 0 when it cannot say. */
struct address stream_local(const struct stream *s);
/* Is it what the policy of the machine demands? OK, or ERR_POLICY and *ret_why, whose strings are
 * static. */
struct protect_system;
NODISCARD enum err stream_check_system(const struct stream *s, const struct protect_system *system,
                                       sallyport_why *ret_why);
void stream_set_peer(struct stream *s, const struct address *peer); /* from a PROXY header */
struct loop *stream_loop(const struct stream *s);
/* What failed first, and why: a sentence, "" if nothing did. A reset gives way, once, to what the
 * peer turns out to have said before it; the sentence that was returned until then lives on, as
 * long as the stream, as all of them do. */
enum err stream_failure(const struct stream *s);
const char *stream_error(const struct stream *s);
/* After ERR_TLS: the peer ended the connection without a TLS close, and said nothing of why. */
bool stream_is_cut(const struct stream *s);
bool stream_is_tls(const struct stream *s);

#endif
