/* SPDX-License-Identifier: Apache-2.0 */
/* icap_server_int.h - the bodies behind icap_server.h, for its own files: icap_server.c
 * (connections), icap_transaction.c (one request through its service), icap_login.c (whose request
 * it is), icap_subject.c (who sends what), icap_policy.c (what the service says to that),
 * icap_slow.c (what clients see meanwhile), icap_progress.c (scans that go on without their
 * transaction), icap_answer.c (what is written), icap_audit.c (what is recorded). */
#ifndef ICAP_SERVER_INT_H
#define ICAP_SERVER_INT_H

#include "adapt/body.h"
#include "adapt/file_name.h"
#include "icap/icap_engine.h"
#include "icap/icap_server.h"
#include "net/fair_queue.h"

#define ICAP_ID_FIELD "X-Request-ID: "

struct icap_connection;

struct icap_server {
    struct icap_server_environment env;
    struct icap_snapshot *snapshot;
    struct icap_connection *connections; /* list */
    struct icap_detached *detached;      /* list: scans whose users look at progress pages */
    unsigned n_detached;                 /* of these, without a verdict */
    struct icap_scan_queue *scan_queues; /* files that wait for a slot, by client */
    unsigned loop_index;
    uint64_t next_id;
    bool draining;
    void (*drained)(void *arg);
    void *drained_arg;
    struct task drained_task;
    bool drained_queued;
    bool dead;                      /* freed while |drained_task| was queued: the task frees */
    struct icap_transaction *spare; /* the last one that ended, for the next one, or NULL */
    struct buf line;                /* scratch for records */
    metric_id refused[ERR_CODES];   /* connections that ended before they were open, by error */
    metric_id failed[ERR_CODES];    /* transactions, by error */
    metric_id opened;
    _Atomic uint64_t n_transactions, n_blocked, n_refused;
    _Atomic unsigned n_connections, n_open;
};

/* Where a transaction is. LOGIN: it is not known yet whose it is; nothing behind its heads is
 * taken. RECEIVE: the body is gathered for a scan. SKIP: the answer is decided (unchanged), the
 * body is dropped as it comes. FILE: the body is being completed in its file. SCAN: a worker has
 * it. FLOW: the answer's body runs out of |body| while the request's may still run in. DONE: the
 * answer is complete. */
enum icap_transaction_state { TX_LOGIN, TX_RECEIVE, TX_SKIP, TX_FILE, TX_SCAN, TX_FLOW, TX_DONE };

/* A slow scan's trickle: the answer has begun before the verdict, out of a copy of the body's first
 * bytes. */
struct icap_slow {
    struct timer timer;
    uint8_t *head; /* the body's first bytes: |n| of at most |max| */
    uint32_t max, n, sent;
    uint32_t skipped;  /* of |sent|, when the rest follows */
    bool begun;        /* the answer's head is out: no block page any more */
    bool page;         /* it may be answered by a progress page */
    uint64_t since_ms; /* page: since when its body is complete */
    bool has_file;
    int file; /* the body, as the engines got it */
};

/* Who sends what, as the heads tell. Lives in the engine's arena. */
struct icap_subject {
    struct address client; /* the user's, if the peer is believed; else the peer's */
    bool believed;
    char client_ip[64], user[128]; /* as the peer states them */
    char host[256];
    struct span path; /* of the URL, with query; "/" without */
    struct file_name name;
    struct span type;                   /* Content-Type */
    char declared[OBJECT_TYPE_MAX + 1]; /* media type alone, in small letters */
};

/* A scan that goes on after its transaction was answered with a progress page, with what it needs
 * of the connection and the engine's arena. */
struct icap_detached {
    struct icap_detached *prev, *next;
    struct icap_transaction *tx;
    struct progress_entry *entry;
    struct icap_subject subject;
    char *text; /* what its spans point into */
    struct span encoding;
    char peer[ADDRESS_TEXT_MAX], listener[65];
};

/* What a service is called for one tenant. */
struct icap_names {
    uint64_t serial; /* of the snapshot that they belong to; 0: none yet */
    uint64_t tenant; /* its |client| */
    const struct icap_service *service;
    char istag[ICAP_ISTAG_LEN + 1], scope[ICAP_ISTAG_LEN + 1];
};

/* What a transaction that waits for its login waits for. */
enum icap_login_next {
    ICAP_LOGIN_GIVES_UP, /* a derivation, that does not come */
    ICAP_LOGIN_IS_WRONG, /* the end of a hold */
    ICAP_LOGIN_IS_BUSY,
    ICAP_LOGIN_HAS_ITS_TURN, /* within the tenant's quota */
    ICAP_LOGIN_HAS_NONE,
};

/* A file that waits for one of env.scans (icap_scan_slot.c). */
struct icap_scan_queue;
struct icap_scan_wait {
    struct icap_scan_wait *prev, *next; /* in its client's queue */
    struct icap_scan_queue *queue;      /* NULL: it does not wait */
    struct timer timer;
    uint64_t since_ms;
    bool over_quota; /* it is the tenant's quota that has none left */
    bool due;        /* to ask again, when it is the client's turn */
};

struct icap_transaction {
    struct icap_connection *conn; /* NULL: detached */
    struct icap_server *server;
    struct icap_snapshot *snapshot;
    const struct icap_service *service; /* NULL: answered with an error before one was found */
    const struct tenant *tenant;        /* the snapshot's; NULL: nobody's request */
    struct session *session;            /* by which it is known; NULL: none. Referenced */
    struct login_waiter *login_waiter;
    struct timer login_timer;
    enum icap_login_next login_next; /* when |login_timer| fires */
    bool anonymous;                  /* an OPTIONS that is answered to everybody */
    const char *istag, *scope;       /* the service's, or |names| */
    struct icap_names names;
    const struct icap_request *req; /* the engine's, until both halves are over */
    enum icap_transaction_state state;
    bool request_over;
    bool went_on;         /* 100 Continue was sent */
    struct span trailers; /* of the request's body; in the engine's arena */
    struct body *body;
    bool body_complete; /* body_len and sha256 are known */
    unsigned pipeline;  /* bits 1 << PIPELINE_* */
    struct inspection *scan;
    bool scan_slot;  /* holds one of env.scans */
    uint64_t client; /* whose */
    struct icap_scan_wait scan_wait;
    struct scan_result *result;       /* NULL until there is one */
    struct object_table *objects;     /* NULL: one */
    struct record_upstream *upstream; /* the engine elsewhere that was asked; NULL: none */
    bool strip_range;                 /* the answer is the request without Range */
    bool pass_fragment;               /* a fragment passes, uninspected */
    struct icap_slow slow;
    struct icap_detached *detached; /* NULL: the client waits */
    struct file_ref *fetch;         /* FLOW: the answer's body is this file from |fetched| on */
    uint64_t fetch_len, fetched;
    struct icap_subject *subject; /* NULL before the heads were understood, and without memory */
    /* for the record */
    char id[RECORD_ID_LEN + 1], follows[RECORD_ID_LEN + 1];
    const char *did; /* what was done, where it is no |action|; static */
    uint64_t start_wall_ms, start_us, body_us, scan_start_us, scan_us;
    bool has_method; /* a request-line was understood */
    enum icap_method method;
    unsigned icap_status, http_status;
    bool has_verdict;
    enum verdict verdict;
    enum action action;
    struct steps steps; /* left for rules and exceptions */
    enum cause cause;   /* that decided; CAUSE_NONE: none stood in the way */
    unsigned causes;    /* bits 1 << enum cause: all that did */
    enum err err;
    const char *err_why; /* static */
    uint64_t body_len;
    char sha256[BODY_SHA256_HEX + 1];
    const struct rule_settings *rule; /* the snapshot's */
    char exception[EXCEPTION_ID_LEN + 1], bypass[EXCEPTION_ID_LEN + 1];
    bool cached;
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
    struct fair_task turn; /* queued: it is to be pumped */
    uint64_t client;       /* whose turn that is: a hash of the peer's address */
    uint64_t unsent_ms;    /* since when only the stream holds bytes of answers, and none went */
    uint64_t read_us;      /* when bytes came in last; 0: none did */
    struct {
        struct session *session; /* the last login; NULL: none. Referenced */
        struct quota *quota;     /* counts this connection; NULL: none does */
        uint64_t until_ms;       /* no request after that; UINT64_MAX: any time */
        uint64_t hold_us;        /* nothing is read before, for the quota of bytes */
        uint64_t early;          /* bytes from before it was known whose they are */
        unsigned refusals;
        bool ticketed;
        bool shared; /* several users have logged in: each request has to say whose it is */
        uint64_t
            certified_in; /* serial of the snapshot that |certified| is of; 0: not looked for */
        const struct tenant *certified;
        bool ambiguous;          /* none, because several claim the certificate */
        struct icap_names names; /* of the last request */
    } login;
    uint64_t fresh_ms; /* draining: until then a first request may come; 0: not waiting for one */
    bool starved;      /* no memory for a block: try again soon */
    bool little;       /* came last */
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
/* Pumps when it is the client's turn: for events and completions. */
void icap_connection_wake(struct icap_connection *c);

/* ---- icap_transaction.c ---- */
void icap_transaction_begin(struct icap_connection *c);
void icap_transaction_body(struct icap_transaction *tx,
                           struct slice s); /* consumes the reference */
void icap_transaction_preview_end(struct icap_transaction *tx, bool ieof);
void icap_transaction_end(struct icap_transaction *tx, struct span trailers);
/* Moves answer bytes from the body to the engine; true when something moved. */
bool icap_transaction_drive(struct icap_transaction *tx);
/* It is the client's turn, and the transaction's, if it waited for that. */
void icap_transaction_turn(struct icap_transaction *tx);
/* Must the peer be kept from sending, because the spool is behind? */
bool icap_transaction_is_behind(const struct icap_transaction *tx);
/* It ends here, because of |f|: nothing more is put into its answer. f->status: what the engine has
 * answered by itself, 0: nothing. */
void icap_transaction_fail(struct icap_transaction *tx, const struct fault *f);
/* Both halves are over, or the connection is: leaves the record, frees. */
void icap_transaction_finish(struct icap_transaction *tx);

/* Whose it is was found out: goes on as |step| says (|f|: why it is refused), but never WAITS. */
enum icap_login_step { ICAP_LOGIN_DONE, ICAP_LOGIN_WAITS, ICAP_LOGIN_REFUSED };
void icap_transaction_admit(struct icap_transaction *tx, enum icap_login_step step,
                            const struct fault *f);

/* ---- icap_scan_slot.c ---- */
enum icap_scan_slot {
    ICAP_SCAN_GOES_ON, /* tx->scan_slot */
    ICAP_SCAN_WAITS,   /* icap_scan_slot_turn() is to be asked at each turn */
    ICAP_SCAN_REFUSED, /* none came, or there is no memory to wait for one; |over_quota| says why */
};
/* One of env.scans for a file of tx->client, within its tenant's quota, behind those of that client
 * that wait. */
enum icap_scan_slot icap_scan_slot_take(struct icap_transaction *tx);
/* It is the client's turn: is it the file's, too? */
enum icap_scan_slot icap_scan_slot_turn(struct icap_transaction *tx);
/* Gives back what it has, waits no longer; somebody else may have it. */
void icap_scan_slot_drop(struct icap_transaction *tx);
/* The transaction has no connection any more, whose turns it would wait for. */
void icap_scan_slot_detached(struct icap_transaction *tx);

/* ---- icap_login.c ---- */
/* After the heads, on listeners with a login policy. DONE: tx->tenant is set, or nobody's. WAITS:
 * icap_transaction_admit() follows. REFUSED: *f is what to answer. */
enum icap_login_step icap_login_begin(struct icap_transaction *tx, struct fault *f);
/* tx->service was found: sets tx->istag and tx->scope. False without memory. */
bool icap_login_service(struct icap_transaction *tx);
/* Nobody waits any more. */
void icap_login_end(struct icap_transaction *tx);
void icap_login_open(struct icap_connection *c);
void icap_login_close(struct icap_connection *c);
/* |n| bytes came in. */
void icap_login_read(struct icap_connection *c, uint32_t n);
/* When the connection has to end, as far as logins are concerned; loop time, ms. */
uint64_t icap_login_deadline(const struct icap_connection *c);
/* It has passed: what is under way ends, and says so; between requests the connection does. */
void icap_login_over(struct icap_connection *c);

/* ---- icap_subject.c ---- */
/* The HTTP head that the body belongs to, or NULL. */
const struct head *icap_message_head(const struct icap_request *req);
/* What a request's target says of its host that two readers read differently, or NULL. */
const char *icap_target_conflict(const struct head *request);
/* All codings of the message's body, as one list; in the engine's arena where there are several
 * fields. */
struct span icap_content_encoding(struct icap_transaction *tx, const struct head *http);
/* Fills tx->subject; NULL without memory. */
void icap_subject_find(struct icap_transaction *tx);
/* For rules and exceptions: what is known by now, and the steps that are left. tx->subject is
 * there.
 */
void icap_subject_facts(struct icap_transaction *tx, struct facts *ret);

/* ---- icap_policy.c ---- */
enum icap_judgement {
    ICAP_NOT_JUDGED,    /* inspect it */
    ICAP_JUDGED,        /* for *ret_cause, not CAUSE_NONE */
    ICAP_JUDGED_UNSEEN, /* it passes, without a look */
};
/* After the heads. Sets tx->pipeline, strip_range, rule, bypass, err, err_why. */
enum icap_judgement icap_judge_begin(struct icap_transaction *tx, enum cause *ret_cause);
/* After the engines. True: a rule decided, for *ret_cause; CAUSE_NOT_INSPECTED: it was too much
 * work to ask them. */
bool icap_judge_end(struct icap_transaction *tx, enum cause *ret_cause);
/* The action would not be pass: is there an exception, from before the message, that is in force
 * still? Sets tx->exception. */
bool icap_judge_exception(struct icap_transaction *tx);
/* Is the one that let the heads pass in force still? */
bool icap_exception_stands(const struct icap_transaction *tx, const char *id);

/* ---- icap_slow.c ---- */
/* An inspection begins: sets the timer if the service has a mode for slow ones. */
void icap_slow_begin(struct icap_transaction *tx);
/* Keeps the body's first bytes. */
void icap_slow_body(struct icap_transaction *tx, struct slice s);
/* The body is complete. */
void icap_slow_complete(struct icap_transaction *tx);
/* It lies in |fd|, which the engines get. */
void icap_slow_file(struct icap_transaction *tx, int fd);
/* The verdict is there, or the transaction ends. */
void icap_slow_end(struct icap_transaction *tx);
void icap_slow_free(struct icap_transaction *tx);

/* ---- icap_progress.c ---- */
/* A browser asked for this by following a link, and can be shown a page instead. */
bool icap_progress_suits(const struct icap_transaction *tx);
/* Answers with a page, and takes the scan off the connection. False: not now; nothing changed. */
bool icap_progress_detach(struct icap_transaction *tx);
/* A detached scan has its verdict and action. */
void icap_progress_act(struct icap_transaction *tx);
/* A request for a page or its file: answers it. False: it is none. */
bool icap_progress_fetch(struct icap_transaction *tx);
/* Moves bytes of a fetched file into the answer; true when something moved. */
bool icap_progress_drive(struct icap_transaction *tx);
/* The server goes: ends all detached scans. */
void icap_progress_end(struct icap_server *s);

/* ---- icap_transaction.c, for detached ones ---- */
void icap_transaction_free(struct icap_transaction *tx);
void icap_server_check_drained(struct icap_server *s);

/* ---- icap_answer.c ---- */
NODISCARD enum err icap_answer_options(struct icap_transaction *tx);
/* An ICAP error: |status|, and closes the connection after it if |close|. */
NODISCARD enum err icap_answer_error(struct icap_transaction *tx, unsigned status, bool close);
NODISCARD enum err icap_answer_204(struct icap_transaction *tx);
/* tx->icap_status (200 or 206) with the original heads; the body follows if the request has one.
 * ERR_MISSING: a REQMOD without its head (erratum E4) cannot be handed back. */
NODISCARD enum err icap_answer_original(struct icap_transaction *tx);
/* 200 with the block page: the whole answer. */
NODISCARD enum err icap_answer_block(struct icap_transaction *tx);
/* The block page in HTML. */
void icap_block_page(const struct icap_transaction *tx, struct buf *b);
/* What is said to have been found; the cause, where nothing was. */
struct span icap_threat(const struct icap_transaction *tx);
/* 200 with an HTTP response of our own: its head, and what of its body is there (empty: more
 * follows, or with |has_body| false nothing). */
struct icap_own_answer {
    struct span head, body;
    bool has_body;
    enum cause cause; /* blocked for that */
    struct span threat;
};
/* On failure nothing has changed, or the connection is aborted. */
NODISCARD enum err icap_answer_own(struct icap_transaction *tx, const struct icap_own_answer *a);

/* ---- icap_audit.c ---- */
void icap_audit_finish(struct icap_transaction *tx);
void icap_audit_refused(struct icap_server *s, const struct listener_settings *li,
                        const struct address *peer, enum err err, const char *why,
                        const sallyport_report *report);

#endif
