/* SPDX-License-Identifier: Apache-2.0 */
/* generation.h - everything that one gateway process needs from outside, handed down by the
 * supervisor over a SOCK_SEQPACKET socket pair: texts as sealed memfds, sockets and files as
 * descriptors. The gateway opens no path.
 *
 *   supervisor -> gateway
 *     BEGIN {number, live, threads}   starts a set; live: swap the running one
 *     CONFIG +memfd {file name}       the YAML text
 *     FILE +memfd {path, loop, live}  contents of each file that the configuration names; loop: 1 +
 *                                     index of the tls entry that it belongs to, 0: of none; live:
 *                                     no secret, and maybe large (a list). Two are no files: see
 *                                     GENERATION_TICKET_SECRET
 *     SOCKET +fd {listener, loop}     listening sockets, "admin" and "control" among them; one
 *                                     loop may get several of one listener
 *     SPOOL +fd, RECORDS +fd          directory; append-only file (RECORDS alone: rotation)
 *     CHAIN +fd                       state of the records' chain
 *     EXCEPTIONS +fd                  the exceptions' journal: readable, append-only
 *     STORE +fd                       directory of the store, the gateway's user's
 *     WORKERS +fd {loop, engines}     channel to the zygote (alone: a new zygote)
 *     END                             build it: READY or FAILED {text} comes back
 *     CERTIFICATE {number, live, text}  alone: of the tls entry that is the first word of |text|;
 *                                     number: sets taken over so far; live: the files on the disk
 *                                     are not in use, and the rest of |text| says why
 *     FILES {number, text}            alone: what is wrong with the files on the disk of |number|
 *                                     (enum files_kind), so that those from before stay in use;
 *                                     without a text they are in use
 *     DRAIN {ms, live}                stop accepting, finish, exit 0; live: no other gateway takes
 *                                     over, so the admin listener answers to the end
 *   gateway -> supervisor
 *     READY {number} | FAILED {number, text} | DRAINED
 *
 * A live set has no SOCKET, SPOOL, RECORDS, CHAIN, EXCEPTIONS, STORE or WORKERS; it changes
 * what may change without them. The single messages (RECORDS, WORKERS, CERTIFICATE, FILES, DRAIN)
 * never come between a BEGIN and its END. */
#ifndef PROC_GENERATION_H
#define PROC_GENERATION_H

#include "base/arena.h"
#include "base/reader.h"

enum proc_kind {
    PROC_BEGIN = 1,
    PROC_CONFIG,
    PROC_FILE,
    PROC_SOCKET,
    PROC_SPOOL,
    PROC_RECORDS,
    PROC_CHAIN,
    PROC_EXCEPTIONS,
    PROC_STORE,
    PROC_WORKERS,
    PROC_END,
    PROC_CERTIFICATE,
    PROC_FILES,
    PROC_DRAIN,
    PROC_READY,
    PROC_FAILED,
    PROC_DRAINED,
};

/* Paths are absolute, so these are none: a secret for the tickets of TLS, which is the supervisor's
 * and outlives generations; and verification flags (decimal) from its environment. */
#define GENERATION_TICKET_SECRET "ticket-secret"
#define GENERATION_FLAGS         "verification-flags"

/* Files beside those of tls entries that are taken over, or kept, by themselves. */
enum files_kind { FILES_POLICY, FILES_LISTS, FILES_PRINTER_CA };
#define FILES_KINDS 3u
/* "policy", "lists", "printer-ca". */
const char *files_kind_name(enum files_kind k);

#define PROC_TEXT_MAX   4096u
#define PROC_PACKET_MAX (PROC_TEXT_MAX + 64u)

/* One flat message: every kind uses the members that its line above names. */
struct proc_message {
    enum proc_kind kind;
    uint32_t number; /* generation */
    uint32_t loop;
    uint32_t threads;
    uint32_t live;
    uint64_t ms;
    char text[PROC_TEXT_MAX]; /* path, listener, engines, reason; closed by NUL */
};

NODISCARD enum err proc_encode(const struct proc_message *m, struct writer *w);
NODISCARD enum err proc_decode(struct span packet, struct proc_message *ret);
/* One packet and an optional descriptor (-1: none), as wire_send() and wire_receive() of
 * adapt/worker_wire.h do. */
NODISCARD enum err proc_send(int sock, const struct proc_message *m, int fd);
NODISCARD enum err proc_receive(int sock, struct proc_message *ret, int *ret_fd);
/* The same for a packet that proc_encode() made. */
NODISCARD enum err proc_send_packet(int sock, struct span packet, int fd);

struct generation_file {
    const char *path;
    unsigned owner;   /* as |loop| of the message */
    struct span text; /* lives until generation_drop_texts() */
};

struct generation_socket {
    const char *listener;
    unsigned loop;
    int fd;
};

#define GENERATION_FILES_MAX   1024u
#define GENERATION_SOCKETS_MAX 4096u
#define GENERATION_THREADS_MAX 64u

/* What BEGIN..END gathered, on the gateway's side. */
struct generation {
    struct arena mem;
    enum { GENERATION_IDLE, GENERATION_OPEN, GENERATION_COMPLETE } state;
    unsigned number, threads;
    bool live;
    const char *config_file;
    struct span config_text;
    struct generation_file *files;
    unsigned n_files;
    struct generation_socket *sockets;
    unsigned n_sockets;
    int spool_fd, records_fd, chain_fd, exceptions_fd, store_fd; /* -1: none */
    int *worker_fds;     /* |threads| channels, -1: none; NULL in a live set */
    const char *engines; /* the engines' versions, "" without */
};

/* Gathers messages; OK when the message belonged to the set, and *ret_done when END completed it.
 * ERR_PROTO when the order is wrong (nothing but BEGIN fits a generation that is idle or complete:
 * look at |state| before handing in a RECORDS or WORKERS), ERR_NOMEM. Takes |fd| over in any case.
 * After an error the generation is good for generation_done() only. */
NODISCARD enum err generation_add(struct generation *g, const struct proc_message *m, int fd,
                                  bool *ret_done);
void generation_init(struct generation *g);
/* Closes descriptors that are still in it (set those that moved out to -1) and wipes the texts:
 * they hold keys. */
void generation_done(struct generation *g);
/* The texts have been used: wipes and frees them, and keeps the rest. */
void generation_drop_texts(struct generation *g);
/* Contents of |path| of no tls entry (p[n] is NUL), or p == NULL. */
struct span generation_file_text(const struct generation *g, const char *path);
/* The same for a file of tls entry |i|; |path| may be NULL. */
struct span generation_tls_text(const struct generation *g, size_t i, const char *path);

#endif
