/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_server_int.h - the bodies behind ipp_server.h, for its own files:
 *
 *   ipp_server.c    connections, snapshots, the printers of this loop
 *   ipp_exchange.c  one request: its parts as they come, and the way through what follows
 *   ipp_upgrade.c   OPTIONS, and TLS on the way (RFC 2817)
 *   ipp_admit.c     which printer is meant, and whether the request is protected as is demanded
 *   ipp_login.c     who asks: Digest, Basic, certificates
 *   ipp_job_ask.c   requests about a job that was made before
 *   ipp_document.c  documents as they come
 *   ipp_inspect.c   the engines' look at them; ipp_verdict.c: what is made of that
 *   ipp_forward.c   what goes to the printer, and what comes back
 *   ipp_stop.c      jobs that end at the printer
 *   ipp_job_list.c  lists of jobs
 *   ipp_printer_list.c      all printers at once; ipp_cancel_all.c: all jobs at once
 *   ipp_subscription.c      subscriptions that were made before, or are made
 *   ipp_reply.c     what is written
 *   ipp_audit.c     what is recorded */
#ifndef IPP_SERVER_INT_H
#define IPP_SERVER_INT_H

#include "adapt/body.h"
#include "adapt/file_name.h"
#include "http/content_md5.h"
#include "http/http_connection.h"
#include "ipp/ipp_backend.h"
#include "ipp/ipp_http_target.h"
#include "ipp/ipp_jobs.h"
#include "ipp/ipp_server.h"
#include "ipp/ipp_translate.h"
#include "observe/record_upstream.h"

/* Jobs of one request, besides its target. */
#define IPP_OTHERS_MAX 64u

struct announcement;
struct ipp_exchange;
struct ipp_connection;

/* A printer as this loop reaches it. */
struct ipp_reach {
    const struct ipp_printer *printer; /* the snapshot's */
    struct ipp_backend *backend;
};

struct ipp_server {
    struct ipp_server_environment env;
    struct ipp_snapshot *snapshot;
    struct digest_keys keys;            /* of challenges */
    struct ipp_reach *reach;            /* one per printer of |snapshot| */
    struct ipp_connection *connections; /* list */
    struct ipp_exchange *detached;      /* list: documents whose clients do not wait any more */
    struct announcement *announcements; /* list: printers that are asked what they are */
    unsigned loop_index;
    uint64_t next_id;
    bool draining;
    void (*drained)(void *arg);
    void *drained_arg;
    struct task drained_task;
    bool drained_queued;
    bool dead;               /* freed while |drained_task| was queued: the task frees */
    struct buf line;         /* scratch for records */
    struct buf answer_spare; /* memory of an answer that was told, for the next one; or none */
    metric_id opened, refused[ERR_CODES];
    _Atomic uint64_t n_requests, n_jobs, n_refused;
    _Atomic unsigned n_connections;
};

struct ipp_connection {
    struct ipp_connection *prev, *next;
    struct ipp_server *server;
    struct ipp_snapshot *snapshot; /* whose limits the engine uses */
    struct http_connection *http;
    struct ipp_exchange *ex; /* the open one, or NULL */
    unsigned port;           /* by which the client came; 0: not known */
    bool first;              /* no exchange yet: the handshake's time goes into the first record */
    unsigned refusals;       /* wrong credentials */
    char offered[65];        /* Upgrade of the request behind which TLS began */
};

/* Where an exchange is. ATTRIBUTES: the message's come. ASKING: somebody is asked about the job or
 * the user; nothing of a document is taken. DOCUMENT: it comes. FILE: it is being completed. SLOT:
 * waits for a scan slot. SCAN. PRINTER: it has the request. BOOK: the job is being written down.
 * OPTIONS, UPGRADE: waits for its end, and then perhaps for TLS. PAUSE: the answer is known, and
 * waits (ipp_reply_out()). DONE: the answer is complete. */
enum ipp_exchange_state {
    EX_ATTRIBUTES,
    EX_ASKING,
    EX_DOCUMENT,
    EX_FILE,
    EX_SLOT,
    EX_SCAN,
    EX_PRINTER,
    EX_BOOK,
    EX_OPTIONS,
    EX_UPGRADE,
    EX_PAUSE,
    EX_DONE,
};

/* What is odd about a request, and taken all the same, besides what ipp_uri.h says of URIs. */
#define IPP_ODD_MD5_MALFORMED 0x100u
#define IPP_ODD_MD5_MISMATCH  0x200u
#define IPP_ODD_UPGRADE       0x400u  /* its Connection does not list it */
#define IPP_ODD_ALPN          0x800u  /* what followed 101 was begun for something else */
#define IPP_ODD_DOCUMENT      0x1000u /* some of it came where only TLS will do */

/* Whose request it is. */
struct ipp_identity {
    enum ipp_user kind;
    char name[IPP_JOB_USER_MAX + 1]; /* "" : nobody says */
    const struct tenant *tenant;     /* the snapshot's; NULL: none */
    const char *by; /* "digest-SHA-256", "basic", "certificate"; NULL: nothing proves it. Static */
};

struct ipp_exchange {
    struct ipp_exchange *prev, *next; /* detached */
    struct ipp_connection *conn;      /* NULL: detached, the client has its answer */
    struct address peer;              /* the client's, also then */
    struct ipp_server *server;
    struct ipp_snapshot *snapshot;
    enum ipp_exchange_state state;
    bool request_over;
    bool document_ended;
    struct timer timer; /* 100 Continue, scan slot, the client's patience, a pause */
    /* the request */
    struct ipp_http_target target;
    struct content_md5 md5;
    struct ipp_scan scan;
    struct buf attributes;       /* octets of the message, as they came */
    uint64_t held;               /* of them, taken from limits.memory */
    struct chain early;          /* of the document: what came before it is wanted */
    struct ipp_message *message; /* NULL: not whole */
    struct ipp_header header;    /* as far as it is known, for answers */
    const struct ipp_operation *operation;
    const struct ipp_printer *printer;
    struct ipp_level level; /* as observed */
    bool upgraded; /* TLS began behind this very request: what it said was said in clear text */
    struct ipp_identity who;
    struct ipp_demand demand;
    enum ipp_need lacks; /* what it was refused for */
    bool wants_tls;      /* it was refused because it came in clear text */
    unsigned odd;        /* of its URIs: IPP_URI_NOTED; IPP_ODD_ */
    bool is_operator;
    bool about_all; /* printers */
    struct login_waiter *login_waiter;
    struct timer login_timer;     /* |login_held| is told then, and not before */
    enum login_answer login_held; /* REFUSED, BUSY */
    struct session *session;      /* by which Basic was known; referenced */
    /* Whose password was wrong, or (Basic) came; the snapshot's. NULL: nobody's who is known: of
     * others nothing is kept, for what is written there by mistake may be a password. */
    const struct credential *tried;
    struct buf info; /* Authentication-Info, a field-line; or empty */
    /* the job */
    struct ipp_jobs_ask ask;
    bool asking;      /* |ask| is out */
    bool asked_again; /* about a job that changed while it was being canceled */
    struct ipp_jobs_list list;
    bool listing;
    bool has_job;
    struct ipp_job job; /* has_job: the one that the request is about, as the book has it */
    struct arena job_mem;
    struct ipp_job *jobs;                    /* of a list */
    void (*listed)(struct ipp_exchange *ex); /* it is there; also: what was asked of the book, or
                                                told to it, about others than |job| */
    void (*reserved)(struct ipp_exchange *ex, enum err e);
    bool lists_local; /* with those that are not at the printer */
    size_t n_jobs;
    struct ipp_subscription_work *subscription; /* NULL: it is about none */
    int32_t list_limit; /* so many the printer was asked for; 0: as many as the request says */
    size_t n_jobs_told; /* of Get-Jobs, of all printers that it is about */
    size_t n_listed;    /* printers, or jobs, that were dealt with one by one */
    unsigned n_undone;  /* of them */
    bool canceling;     /* one is being canceled, which may be answered inside that call */
    /* Jobs that the request names besides, as of Cancel-Jobs: the gateway's numbers, and how many
     * of |others| are looked up. */
    int32_t other_ids[IPP_OTHERS_MAX];
    size_t n_other_ids;
    struct ipp_job_numbers others[IPP_OTHERS_MAX];
    size_t n_others;
    /* the document */
    struct body *document;
    uint64_t document_len;
    char sha256[BODY_SHA256_HEX + 1];
    struct file_name name;            /* of the job, as a file's */
    char format[OBJECT_TYPE_MAX + 1]; /* declared; "" */
    const char *coding;               /* "gzip", "deflate" of compression; "" */
    struct inspection *inspection;
    struct remote_scan *remote; /* the file is shown to another scanner */
    int file;                   /* the document, as the engines got it; -1: not yet */
    bool slot;
    uint64_t slot_until_ms;
    uint64_t patience_ms;         /* the client waits so long for the verdict; 0: to the end */
    uint64_t client;              /* whose turn, and whose slot: a hash */
    bool was_remote;              /* the other scanner was asked, or there is no file for it */
    bool leaving;                 /* it is being told that it takes longer */
    bool filing;                  /* the document is being completed as a file */
    enum cause late;              /* what went wrong while it was |leaving| */
    const char *late_why;         /* static */
    struct object_table *objects; /* NULL: one */
    struct scan_result *result;
    unsigned causes;
    enum cause cause;
    enum action action;
    bool has_verdict, cached;
    const struct rule_settings *rule;
    /* the printer */
    struct ipp_errand *errand;
    struct ipp_printer_walk *walk; /* all printers are being asked */
    struct buf out;                /* the request for the printer; then the answer for the client */
    struct buf paused;             /* the answer, in a pause */
    struct buf answer;             /* the printer's */
    struct ipp_message answer_message;
    int32_t number;  /* of the job to be, taken before the printer is asked; 0: none */
    int32_t took_id; /* the printer's number of the job, before the book has it */
    bool settles; /* the printer has the job, and the rest is done without a client, too: the book
                     is told, and it gets the document, or is told to cancel the job */
    enum err unkept;  /* the book's: the printer's job is canceled for it */
    bool not_stopped; /* it was to be canceled there, and may not be */
    bool creating;    /* the errand is the Create-Job of a job whose document has come now */
    /* for the record */
    struct {                                /* of a detached one: how its client had come */
        struct listener_settings *settings; /* referenced; NULL: it is not detached */
        sallyport_report *report;           /* referenced */
        char agent[128], offered[65];
    } came;
    char id[RECORD_ID_LEN + 1];
    uint64_t start_wall_ms, start_us, scan_start_us, scan_us;
    unsigned http_status;
    uint16_t ipp_status; /* of the answer, or of the one that is to come */
    bool answered_ipp;
    enum err err;
    char why[256];
    char detail[200];                  /* more of it, which clients are not told */
    const char *rule_name;             /* what refused it, in words; static, or the snapshot's */
    struct record_upstreams upstreams; /* over which it went on */
};

/* ---- ipp_server.c ---- */

/* Where |p| is; NULL: not known any more. */
struct ipp_backend *ipp_server_backend(struct ipp_server *s, const struct ipp_printer *p);
void ipp_server_check_drained(struct ipp_server *s);

/* ---- ipp_announce.c ---- */

/* Nobody is asked any more: whoever waits for an announcement gets what is known without. */
void ipp_announcements_end(struct ipp_server *s);

/* ---- ipp_exchange.c ---- */

extern const struct http_handler ipp_http_handler; /* |arg| is a struct ipp_connection */
/* Goes on with its connection, if it has one. */
void ipp_exchange_wake(struct ipp_exchange *ex);
/* The request is judged and may be carried out: by its operation. */
void ipp_exchange_perform(struct ipp_exchange *ex);
/* The number of the job that the request is about; 0: none; IPP_JOB_ASK_NONE: none that could be.
 */
int32_t ipp_exchange_job(const struct ipp_exchange *ex);
/* The job that it is about was found, and may be touched. */
void ipp_exchange_perform_job(struct ipp_exchange *ex);
/* Nobody waits for it: what it waits for is given up. */
void ipp_exchange_drop_work(struct ipp_exchange *ex);
/* Answers whoever asks for a page. */
void ipp_exchange_no_page(struct ipp_exchange *ex);
/* The last thing: record, and gone. */
void ipp_exchange_finish(struct ipp_exchange *ex);
/* It goes on without its client, which has got |ex->out|. */
void ipp_exchange_detach(struct ipp_exchange *ex);

/* ---- ipp_upgrade.c ---- */

/* The head is here: does it offer TLS as the drafts' examples do? */
void ipp_upgrade_look(struct ipp_exchange *ex, const struct http_request *req);
void ipp_options_end(struct ipp_exchange *ex);
/* Is |req|, which is for a page, to be answered inside TLS? */
bool ipp_upgrade_for_page(const struct ipp_exchange *ex, const struct http_request *req);
/* The connection failed behind an upgrade that was granted: notes whether it looks as if somebody
 * else's handshake was put there. */
void ipp_upgrade_failed(struct ipp_exchange *ex);
/* Is the request, whose message is whole, one that asks for TLS first, and gets it? It goes on then
 * as EX_UPGRADE. */
bool ipp_upgrade_wanted(struct ipp_exchange *ex);
/* Is it one that asks for TLS first, and holds all of its message back until it hears 100 Continue?
 * It is answered then: it would have to be sent in clear text to be known. */
bool ipp_upgrade_held_back(struct ipp_exchange *ex);
void ipp_upgrade_end(struct ipp_exchange *ex);
/* TLS is there. */
void ipp_upgrade_switched(struct ipp_exchange *ex);
/* Does the request offer TLS (RFC 2817 3.1: a token TLS or TLS/x.y in Upgrade)? */
bool ipp_offers_tls(const struct http_request *req);
bool ipp_may_upgrade(const struct ipp_exchange *ex);
/* The token to answer with, and "HTTP/1.1", as a field-line. */
struct span ipp_upgrade_field(void);

/* ---- ipp_admit.c ---- */

/* The message is whole: finds printer and demand, looks at who asks, and goes on, or answers. */
void ipp_admit(struct ipp_exchange *ex);
/* Who asks is known as far as it will be: goes on with that. */
void ipp_admit_known(struct ipp_exchange *ex);
/* Held against |ex->demand|: true if it is met; else it is answered. */
bool ipp_admit_level(struct ipp_exchange *ex);
/* What |p| demands for the operation, as it is asked for here. */
struct ipp_demand ipp_admit_demand(const struct ipp_exchange *ex, const struct ipp_printer *p);
bool ipp_admit_is_operator(const struct ipp_exchange *ex, const struct ipp_printer *p);
/* Is whoever asks one of those whom |p| is for? */
bool ipp_admit_is_listed(const struct ipp_exchange *ex, const struct ipp_printer *p);
/* May whoever asks do that at ex->printer? Else it is answered. */
bool ipp_admit_allowed(struct ipp_exchange *ex);

/* ---- ipp_printer_list.c ---- */

/* Is it about all printers? |path|: of its target. */
bool ipp_printer_list_wanted(const struct ipp_exchange *ex, struct span path);
/* Is it one that is never sent on, but answered from what each printer says of itself? */
bool ipp_printer_list_is(const struct ipp_operation *o);
void ipp_printer_list(struct ipp_exchange *ex);
/* What is under way of it is given up. */
void ipp_printer_list_drop(struct ipp_exchange *ex);

/* ---- ipp_cancel_all.c ---- */

/* Cancel-My-Jobs or Cancel-Jobs that names none: cancels each that whoever asks may cancel. */
bool ipp_cancel_all_is(const struct ipp_operation *o);
bool ipp_cancel_all_wanted(const struct ipp_exchange *ex);
void ipp_cancel_all(struct ipp_exchange *ex);
/* Asks the printer to cancel its job |printer_id| for whoever asks; ex->errand. */
NODISCARD enum err ipp_cancel_ask(struct ipp_exchange *ex, int32_t printer_id, ipp_backend_fn done);

/* ---- ipp_subscription.c ---- */

/* Is it about subscriptions that the request names? */
bool ipp_subscription_is_named(const struct ipp_operation *o);
/* Adds the levels at which those were made to what is demanded, and calls |done|, perhaps at once.
 */
void ipp_subscription_demand(struct ipp_exchange *ex, void (*done)(struct ipp_exchange *ex));
/* Looks them up, and forwards the request, or answers. */
void ipp_subscription(struct ipp_exchange *ex);
/* Must the book be told of what it does to some, so that it has to work? */
bool ipp_subscription_is_written(const struct ipp_operation *o);
/* False: it would make too many, and is answered. */
bool ipp_subscription_may_make(struct ipp_exchange *ex);
/* The printer has done what was asked: writes down what it says of subscriptions that were made,
 * renewed or canceled, or looks up those that it lists. Calls |done|, perhaps at once, or answers.
 */
void ipp_subscription_answered(struct ipp_exchange *ex, void (*done)(struct ipp_exchange *ex));
/* Of those that it lists: may it be told? It is, then, and counts for the request's limit. |arg|:
 * the exchange. */
bool ipp_subscription_may_tell(void *arg, int32_t id);
void ipp_subscription_drop(struct ipp_exchange *ex);

/* ---- ipp_login.c ---- */

enum ipp_login_step {
    IPP_LOGIN_DONE,     /* ex->who is filled */
    IPP_LOGIN_WAITS,    /* ipp_admit_known() follows, or it is answered */
    IPP_LOGIN_ANSWERED, /* it was refused */
};
enum ipp_login_step ipp_login_begin(struct ipp_exchange *ex);
/* The head is here: what in it is an answer to a challenge that was made within TLS, and comes in
 * clear text, counts nowhere any more. */
void ipp_login_overheard(struct ipp_exchange *ex, const struct head *h);
/* Whose failures, and requests without a user, are counted: the client's address, as a key of
 * struct throttle. */
uint64_t ipp_login_source(const struct ipp_exchange *ex);
/* The fields of a 401; |stale|: the password was right. False without memory. */
bool ipp_login_challenges(struct ipp_exchange *ex, bool stale, struct buf *fields);
void ipp_login_end(struct ipp_exchange *ex);

/* ---- ipp_job_ask.c ---- */

/* The request names a job: looks it up and goes on, or answers. IPP_JOB_ASK_NONE: it names none
 * that could be one. */
#define IPP_JOB_ASK_NONE (-1)
void ipp_job_ask(struct ipp_exchange *ex, int32_t id);
/* Adds the level at which that job was made, if there is one, to what is demanded, and calls
 * |done|.
 * */
void ipp_job_demand(struct ipp_exchange *ex, int32_t id, void (*done)(struct ipp_exchange *ex));
/* The same of what nothing is known of. */
void ipp_job_demand_of_unknown(struct ipp_exchange *ex);
/* Of whoever asks: how many jobs may wait for their documents. */
struct ipp_jobs_opening ipp_job_opening(const struct ipp_exchange *ex);
/* Sees to it that the book will have room for what the printer is to be asked for, ex->number is
 * that of the job if it is a new one, and calls |done|, perhaps at once. */
void ipp_job_reserve(struct ipp_exchange *ex, void (*done)(struct ipp_exchange *ex, enum err e));
/* Puts |j| into the book, a new one or what has its version; |done| hears of it, in any case. */
void ipp_job_keep(struct ipp_exchange *ex, const struct ipp_job *j,
                  void (*done)(void *arg, enum err err, const struct ipp_job *job));
/* ex->job as the book has it now, for |done|. */
void ipp_job_reread(struct ipp_exchange *ex,
                    void (*done)(void *arg, enum err err, const struct ipp_job *job));
/* Looks up the jobs that the request names besides its target, and forwards it, or answers. */
void ipp_job_others(struct ipp_exchange *ex);
/* Answers with attributes of |j|. */
void ipp_job_answer(struct ipp_exchange *ex, const struct ipp_job *j);
/* Answers a request about a job that the printer has not got. */
void ipp_job_local(struct ipp_exchange *ex);
/* A job as |ex| makes it, without a number yet. */
void ipp_job_describe(struct ipp_exchange *ex, enum ipp_job_stage stage, struct ipp_job *ret);
/* Ends a job of which the printer has told no number; one that is on its way there is ended by
 * whoever sends it, and by the printer. */
void ipp_job_cancel_local(struct ipp_exchange *ex, const struct ipp_job *job,
                          void (*done)(void *arg, enum err err, const struct ipp_job *job));
bool ipp_job_is_over(const struct ipp_job *j);
/* Is |j| one of |p|'s, as |p| is now? What was at another device is nowhere: its number is another
 * job's there. */
bool ipp_job_is_at(const struct ipp_job *j, const struct ipp_printer *p);
/* Is it whoever asks who made it, as far as anybody was told? */
bool ipp_job_is_own(const struct ipp_exchange *ex, const struct ipp_job *j);
/* May it be told to whoever asks? */
bool ipp_job_may_tell(const struct ipp_exchange *ex, const struct ipp_job *j);
/* Create-Job, whose attributes |ex->out| holds as the printer takes them: keeps them and answers.
 */
void ipp_job_create(struct ipp_exchange *ex);

/* ---- ipp_document.c ---- */

void ipp_document_begin(struct ipp_exchange *ex);
/* Whose turn and share it is: a hash of the tenant, or of the address; it has a connection. */
uint64_t ipp_document_client(const struct ipp_exchange *ex);
void ipp_document_take(struct ipp_exchange *ex, struct slice s); /* takes the reference over */
void ipp_document_end(struct ipp_exchange *ex);
void ipp_document_drop(struct ipp_exchange *ex);
/* "application/octet-stream", or nothing: it is left to the printer what the document is. */
bool ipp_format_is_any(const char *format);
enum cause ipp_cause_of_store(enum err e);

/* ---- ipp_inspect.c ---- */

/* The document is here: has it looked at, and then judged. */
void ipp_inspect(struct ipp_exchange *ex);
/* Shows it to the printer's other scanner; it is judged again then. */
void ipp_inspect_elsewhere(struct ipp_exchange *ex);
void ipp_inspect_give_slot(struct ipp_exchange *ex);

/* ---- ipp_verdict.c ---- */

/* How a document is refused. */
struct ipp_refusal {
    uint16_t status; /* of the answer */
    enum err err;    /* of the record, and |rule|; static */
    const char *rule;
    const char *reason; /* the job ends with this keyword (RFC 8011 5.3.8), and with the words that
                           its client is told; static. NULL: the client may come again with it */
};
/* Ends the job that the document is of, unless the printer has others of its documents, and tells
 * the client, in words to which whom to ask and the record's number are added. Without a client,
 * who has gone, the job ends in any case. */
PRINTF(3, 4)
void ipp_document_refuse(struct ipp_exchange *ex, const struct ipp_refusal *r, const char *fmt,
                         ...);
/* The result is there: what follows from it. */
void ipp_document_judge(struct ipp_exchange *ex);
/* Nobody could look at it, or not at all of it: it is judged without that where the printer's row
 * lets |cause| pass, and refused else. |why|: static. */
void ipp_document_unseen(struct ipp_exchange *ex, enum cause cause, const char *why);
/* |cause|: the gravest; CAUSE_NONE: there is none, and it is printed. */
void ipp_document_decide(struct ipp_exchange *ex, enum cause cause, const char *why);
/* The printer could not be given what a client does not wait for: the job ends. */
bool ipp_document_failed(struct ipp_exchange *ex);
void ipp_document_on_timer(struct ipp_exchange *ex);

/* ---- ipp_forward.c ---- */

/* Sends the request on, with its document if there is one, and answers with what comes back. */
void ipp_forward(struct ipp_exchange *ex);
/* Appends Get-Printer-Attributes to |p|, with the request's requested-attributes. */
NODISCARD enum err ipp_forward_attributes(const struct ipp_exchange *ex,
                                          const struct ipp_printer *p, struct buf *out);
/* Appends the request as |p| is to get it. */
NODISCARD enum err ipp_forward_translate(const struct ipp_exchange *ex, const struct ipp_printer *p,
                                         struct buf *out);
/* How its answer is told to the client; |pub| is filled, and must live as long. */
struct ipp_answer_translation ipp_forward_translation(struct ipp_exchange *ex,
                                                      struct ipp_public_printer *pub);
/* The printer did not answer: so is the client. */
void ipp_forward_failed(struct ipp_exchange *ex, const struct ipp_backend_answer *a);
/* Takes the printer's answer, which is no error, over from the errand, which ends. */
void ipp_forward_keep(struct ipp_exchange *ex, const struct ipp_backend_answer *a);

/* The printer's part in it is over: goes on with the client, or, without one, ends. */
void ipp_forward_over(struct ipp_exchange *ex);
/* Tells the client what the printer answered, and then as above. */
void ipp_forward_answer(struct ipp_exchange *ex);

/* ---- ipp_stop.c ---- */

/* The printer has the job as |printer_id|, and somebody changed it in the book meanwhile: if that
 * was to cancel it, the printer is asked to. */
void ipp_stop_conflict(struct ipp_exchange *ex, int32_t printer_id);
/* The printer has the job, and the book cannot be told: nobody could be told under which name, and
 * what everybody could touch is worse. It is asked to cancel it, and the client is told what |err|
 * is. */
void ipp_stop_unkept(struct ipp_exchange *ex, enum err err);
/* The printer has the job and cannot have this document of it, which no client waits for: asks it
 * to cancel the job, of which the book says why (ex->why), and ends. */
void ipp_stop_incomplete(struct ipp_exchange *ex);

/* ---- ipp_job_list.c ---- */

/* Fills |ex->jobs| with those of |ex->answer_message| that the book knows, in its order (id 0: not
 * known), and, |with_local|, with those that are not at the printer and may be told. Calls
 * |listed|, or answers. */
void ipp_job_list(struct ipp_exchange *ex, bool with_local,
                  void (*listed)(struct ipp_exchange *ex));
/* An answer to Get-Jobs with `limit`, of which less may be told: would the printer tell more?
 * ex->list_limit is what it is to be asked for then. */
bool ipp_job_list_wants_more(struct ipp_exchange *ex);
/* Sets ex->list_limit for where printers are asked but once, whoever's their jobs are. */
void ipp_job_list_want_all(struct ipp_exchange *ex);
/* Of the jobs that may be told no more than the request's `limit` leaves are any more. */
void ipp_job_list_clip(struct ipp_exchange *ex);
/* The printer's have been told: adds the groups of those that it has not got to |ex->out|, an
 * answer to Get-Jobs without its end, as far as `limit` leaves room. */
void ipp_job_list_add(struct ipp_exchange *ex, const struct ipp_public_printer *pub);

/* ---- ipp_reply.c ---- */

/* Each ends the exchange's part in the answer (EX_DONE). */
void ipp_reply_http(struct ipp_exchange *ex, unsigned status, struct span fields, const char *text);
/* An IPP answer with a status and a sentence; |err| and |rule| for the record. */
PRINTF(5, 6)
void ipp_reply_refuse(struct ipp_exchange *ex, uint16_t status, enum err err, const char *rule,
                      const char *fmt, ...);
/* |ex->out| is the answer. It goes out some seconds later (EX_PAUSE) where CUPS would send the
 * document again at once. */
void ipp_reply_out(struct ipp_exchange *ex, uint16_t status);
void ipp_reply_on_timer(struct ipp_exchange *ex); /* after the pause */
/* Why the last document of this client, if that is CUPS, was refused a moment ago. */
bool ipp_refused_lately(const struct ipp_exchange *ex, char ret[IPP_REFUSAL_MAX + 1]);
/* How its printer is told to this client. */
void ipp_reply_public(const struct ipp_exchange *ex, struct ipp_public_printer *ret);

/* ---- ipp_audit.c ---- */

void ipp_audit_finish(struct ipp_exchange *ex);
/* Keeps what the record will say of the connection, which the exchange leaves. */
void ipp_audit_detach(struct ipp_exchange *ex);
void ipp_audit_refused(struct ipp_server *s, const struct listener_settings *settings,
                       const struct address *peer, enum err err, const char *why,
                       const sallyport_report *report);

#endif
