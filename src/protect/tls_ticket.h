/* SPDX-License-Identifier: Apache-2.0 */
/* tls_ticket.h - session tickets (RFC 8446 4.6.1, RFC 5077): state that the client keeps, sealed
 * with keys that every thread, process and node derives from one secret.
 *
 * What is sealed besides the session: when its one full handshake was, until when the certificates
 * that it rested on were good, what was tolerated of them, how strong it was, and data of the
 * protocol with a deadline of its own. A ticket past any of these times is not refused: it leads to
 * a full handshake, which then decides. */
#ifndef PROTECT_TLS_TICKET_H
#define PROTECT_TLS_TICKET_H

#include "protect/tls_context.h"

#define TLS_TICKET_SECRET_MIN 32u
#define TLS_TICKET_DATA_MAX   256u
/* From the full handshake, however often it was resumed since. */
#define TLS_SESSION_MAX_S 3600u

/* Has one ticket with |data| (<= TLS_TICKET_DATA_MAX bytes, copied) sent with the next bytes that
 * are written to |ssl|, a server's open TLS 1.3 connection. From |deadline_wall_s| on (seconds
 * since 1970) the client's next handshake is a full one. ERR_LIMIT: |data| is too long.
 * ERR_MISSING: there is no such ticket, because it is not TLS 1.3, not a server's, or tickets are
 * off. ERR_NOMEM. */
NODISCARD enum err tls_ticket_issue(SSL *ssl, struct span data, uint64_t deadline_wall_s);
/* The data of the ticket that this connection was resumed with; borrowed until the next call for
 * |ssl|. False: it was not resumed, its ticket had none, or it is TLS 1.2, where a ticket brings
 * back a session and nothing else. */
bool tls_ticket_data(SSL *ssl, struct span *ret_data);

#endif
