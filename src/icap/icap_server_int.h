/* SPDX-License-Identifier: Apache-2.0 */
/* icap_server_int.h - the bodies behind icap_server.h, for its own files: icap_server.c
 * (connections), icap_transaction.c (one request through its service), icap_answer.c (what is
 * written), icap_audit.c (what is recorded). */
#ifndef ICAP_SERVER_INT_H
#define ICAP_SERVER_INT_H

#include "adapt/body.h"
#include "icap/icap_engine.h"
#include "icap/icap_server.h"

#define ICAP_ID_FIELD "X-Request-ID: "

struct icap_connection;

struct icap_server {
    struct icap_server_environment env;
    struct icap_snapshot *snapshot;
    struct icap_connection *connections; /* list */
    unsigned loop_index;
    uint64_t next_id;
    bool draining;
    void (*drained)(void *arg);
    void *drained_arg;
    struct task drained_task;
    bool drained_queued;
    bool dead;                          /* freed while |drained_task| was queued: the task frees */
    struct buf line;                    /* scratch for records */
    metric_id refused[ERR_ABORTED + 1]; /* connections that ended before they were open, by error */
    metric_id failed[ERR_ABORTED + 1];  /* transactions, by error */
    metric_id opened;
    _Atomic uint64_t n_transactions, n_blocked, n_refused;
    _Atomic unsigned n_connections, n_open;
};

/* Where a transaction is. RECEIVE: the body is gathered for a scan. SKIP: the answer is decided
 * (unchanged), the body is dropped as it comes. FILE: the body is being completed in its file.
 * SCAN: a worker has it. FLOW: the answer's body runs out of |body| while the request's may still
 * run in. DONE: the answer is complete. */
enum icap_transaction_state { TX_RECEIVE, TX_SKIP, TX_FILE, TX_SCAN, TX_FLOW, TX_DONE };

struct icap_transaction {
    struct icap_connection *conn;
    struct icap_snapshot *snapshot;
    const struct icap_service *service; /* NULL: answered with an error before one was found */
    const struct icap_request *req;     /* the engine's, until both halves are over */
    enum icap_transaction_state state;
    bool request_over;
    struct span trailers; /* of the request's body; in the engine's arena */
    struct body *body;
    struct worker_job *job;
    bool scan_slot;             /* holds one of env.scans */
    struct scan_result *result; /* NULL until there is one */
    /* for the record */
    char id[RECORD_ID_LEN + 1];
    uint64_t start_wall_ms, start_us, body_us, scan_start_us, scan_us, decided_us;
    bool has_method; /* a request-line was understood */
    enum icap_method method;
    unsigned icap_status, http_status;
    bool has_verdict;
    enum verdict verdict;
    enum action action;
    enum cause cause;
    enum err err;
    const char *err_why; /* static */
    uint64_t body_len;
    char sha256[BODY_SHA256_HEX + 1];
    char client_ip[64], user[128], url_host[256];
};

struct icap_connection {
    struct icap_connection *prev, *next;
    struct icap_server *server;
    struct icap_snapshot *snapshot; /* whose limits the engine uses */
    struct accepted accepted;
    struct stream *stream;
    struct icap_engine *engine;
    struct icap_identity identity;
    struct icap_transaction *tx; /* the open transaction, or NULL */
    struct slice leftover;       /* read, but not taken by the engine yet; holds a reference */
    struct timer timer;
    struct task again; /* pump once more after this turn */
    bool again_queued;
    uint64_t unsent_ms; /* since when only the stream holds bytes of answers, and none went */
    uint64_t fresh_ms;  /* draining: until then a first request may come; 0: not waiting for one */
    bool starved;       /* no memory for a block: try again soon */
    bool eof;
    bool aborted; /* nothing that is still queued anywhere is worth waiting for */
    bool dead;
    bool first; /* no transaction yet: the handshake's time goes into the first record */
    /* The field with the id of the open transaction, or of the next one. */
    char id_field[sizeof ICAP_ID_FIELD + RECORD_ID_LEN + 2];
};

/* The open transaction, if any, has used up its id: takes a new one. */
void icap_connection_renew_id(struct icap_connection *c);

/* Runs the connection as far as it goes without waiting. The connection may be gone when it
 * returns. */
void icap_connection_pump(struct icap_connection *c);
/* Pumps on a later turn: for completions. */
void icap_connection_wake(struct icap_connection *c);

/* ---- icap_transaction.c ---- */
void icap_transaction_begin(struct icap_connection *c);
void icap_transaction_body(struct icap_transaction *tx,
                           struct slice s); /* consumes the reference */
void icap_transaction_preview_end(struct icap_transaction *tx, bool ieof);
void icap_transaction_end(struct icap_transaction *tx, struct span trailers);
/* Moves answer bytes from the body to the engine; true when something moved. */
bool icap_transaction_drive(struct icap_transaction *tx);
/* Must the peer be kept from sending, because the spool is behind? */
bool icap_transaction_is_behind(const struct icap_transaction *tx);
/* It ends here, because of |f|: nothing more is put into its answer. f->status: what the engine has
 * answered by itself, 0: nothing. */
void icap_transaction_fail(struct icap_transaction *tx, const struct fault *f);
/* Both halves are over, or the connection is: leaves the record, frees. */
void icap_transaction_finish(struct icap_transaction *tx);

/* ---- icap_answer.c ---- */
NODISCARD enum err icap_answer_options(struct icap_transaction *tx);
/* An ICAP error: |status|, and closes the connection after it if |close|. */
NODISCARD enum err icap_answer_error(struct icap_transaction *tx, unsigned status, bool close);
NODISCARD enum err icap_answer_204(struct icap_transaction *tx);
/* 200 with the original heads; the body follows if the request has one. ERR_MISSING: a REQMOD
 * without its head (erratum E4) cannot be handed back. */
NODISCARD enum err icap_answer_original(struct icap_transaction *tx);
/* 200 with the block page: the whole answer. */
NODISCARD enum err icap_answer_block(struct icap_transaction *tx);

/* ---- icap_audit.c ---- */
/* Copies what the record needs from the heads, before they go. */
void icap_audit_begin(struct icap_transaction *tx);
void icap_audit_finish(struct icap_transaction *tx);
void icap_audit_refused(struct icap_server *s, const struct listener_settings *li,
                        const struct address *peer, enum err err, const char *why);
/* File name and media type as the message declares them; empty spans without. */
struct span icap_declared_name(const struct icap_request *req);
struct span icap_declared_type(const struct icap_request *req);

#endif
