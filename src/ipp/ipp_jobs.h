/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_jobs.h - what the gateway knows of each job: how and by whom it was made, which stands for as
 * long as anybody may want to do something to it (the draft, 3.3), and where it is. Kept in the
 * store, so that it outlives the gateway and all its processes see the same.
 *
 * Threads: any; answers come on the asker's loop, never inside the call. */
#ifndef IPP_JOBS_H
#define IPP_JOBS_H

#include "base/arena.h"
#include "ipp/ipp_level.h"
#include "net/address.h"
#include "store/store.h"
#include "tenant/credential.h"

#define IPP_JOB_USER_MAX    128u
#define IPP_JOB_PRINTER_MAX 64u
#define IPP_JOB_TEXT_MAX    255u /* name, status text: octets, cut at a character */
#define IPP_JOB_SAVED_MAX   32768u
#define IPP_JOB_ID_MAX      0x7fffffff
#define IPP_JOB_BACKEND_LEN 16u   /* hex digits */
#define IPP_JOBS_LIST_MAX   1000u /* jobs of one list, some 1.3 KB each */

/* Where the job is. INCOMING: made, and its document has not come. SCANNING: its document is here,
 * and its client does not wait. SENDING: that goes to the printer, which may print it already, but
 * has not said under which number. STOPPING: the same, and its user wants it to end, which whoever
 * sends it sees to. PRINTER: at the printer, which is asked about its state. ABORTED, CANCELED:
 * ended here; the printer may never have heard of it. */
enum ipp_job_stage {
    IPP_JOB_INCOMING,
    IPP_JOB_SCANNING,
    IPP_JOB_SENDING,
    IPP_JOB_STOPPING,
    IPP_JOB_PRINTER,
    IPP_JOB_ABORTED,
    IPP_JOB_CANCELED,
};

struct ipp_job {
    int32_t id; /* the gateway's; 1.. */
    char printer[IPP_JOB_PRINTER_MAX + 1];
    int32_t printer_id; /* the printer's; 0: it has not got it */
    /* Which device that was (struct ipp_printer); "": a record of before that was written */
    char backend[IPP_JOB_BACKEND_LEN + 1];
    enum ipp_job_stage stage;
    struct ipp_level made; /* how it was made, as observed */
    char user[IPP_JOB_USER_MAX + 1];
    char tenant[CREDENTIAL_TENANT_MAX + 1];
    char client[ADDRESS_TEXT_MAX]; /* address_host_text() */
    uint64_t created_wall_ms;
    uint64_t until_wall_ms; /* INCOMING to STOPPING: then nobody works at it any more, and it reads
                               as ABORTED */
    uint64_t ended_wall_ms; /* ABORTED, CANCELED */
    char name[IPP_JOB_TEXT_MAX + 1];   /* job-name */
    char format[IPP_JOB_TEXT_MAX + 1]; /* of the last document */
    uint64_t octets;                   /* of all documents */
    uint32_t documents;
    char reason[64];                /* keyword of job-state-reasons, of what ended here */
    char why[IPP_JOB_TEXT_MAX + 1]; /* sentence for job-state-message */
    char record[32];                /* id of the audit record that says more */
    struct span saved;              /* INCOMING: the attributes that made it, an IPP message of
                                       IPP_JOB_SAVED_MAX at most; borrowed. Kept no longer */
    uint64_t version;               /* the store's; 0: not from there */
};

/* ---- text of the store: ipp_job_record.c ---- */

/* Fills one of a job's texts, |cap| its size: cut at a character; NUL and what is no UTF-8 become
 * U+FFFD. */
void ipp_job_text(struct span text, char *dst, size_t cap);
/* Makes |j| what the book keeps of it: texts as above, numbers that JSON can hold, |saved| gone
 * unless INCOMING. */
void ipp_job_tidy(struct ipp_job *j);
/* As a line of JSON, tidied, and back. |saved| is base64url (RFC 4648 5). What is legal never fills
 * STORE_VALUE_MAX. ERR_PROTO: not one of ours; ERR_NOMEM. *ret is written only on OK; |ret->saved|
 * points into |mem| (NULL: it is left out), and |version| is the caller's to set. */
void ipp_job_format(const struct ipp_job *j, struct buf *out);
NODISCARD enum err ipp_job_parse(struct span text, struct arena *mem, struct ipp_job *ret);
/* What |j| is at |now|: an open one that is over reads as ABORTED, ended at |until|, with
 * |reason| (RFC 8011 5.3.8) and |why| that say so. */
void ipp_job_settle(struct ipp_job *j, uint64_t now_wall_ms);

/* ---- the book: ipp_jobs.c ---- */

#define IPP_JOBS_CLIENTS 4096u

/* What the loops of one process share; begin with zeros; any thread. Numbers that it took from the
 * store, for jobs that come: each is given once, and those that are left when the process ends are
 * nobody's. And how many jobs each client has opened. */
struct ipp_jobs_numbers {
    _Atomic uint64_t left; /* private */
    /* private: when all that this client has opened is over, were it one after the other; two that
     * share a place share what they may open */
    _Atomic uint64_t whole_ms[IPP_JOBS_CLIENTS];
};

/* |max| at once, each for |for_ms|. */
struct ipp_jobs_opening {
    uint64_t client; /* a keyed hash */
    unsigned max;
    uint64_t for_ms;
};
/* May the client open one more job that waits for its document? Counts it. */
bool ipp_jobs_open(struct ipp_jobs_numbers *n, const struct ipp_jobs_opening *o, uint64_t now_ms);
/* The document of one has come. */
void ipp_jobs_opened(struct ipp_jobs_numbers *n, const struct ipp_jobs_opening *o);

struct ipp_jobs_settings {
    struct store *store; /* borrowed; questions are answered or cancelled before it is freed */
    const struct clock *clock;
    uint64_t retention_ms;            /* of records, from their last change on */
    uint64_t incoming_ms;             /* of INCOMING ones, from |until_wall_ms| on, if that is
                                         sooner: as long as their document may take to come */
    struct ipp_jobs_numbers *numbers; /* borrowed; NULL: each new job asks the store for one */
};

/* One question; embed it, zeroed, and leave it alone until it is answered. */
struct ipp_jobs_ask {
    struct ipp_jobs_settings set;
    struct loop *loop;
    /* OK: |job| is what the book has now (it lives for the call, and is settled). ERR_MISSING: no
     * such job; ERR_CONFLICT: somebody else changed it meanwhile: read it again; ERR_FULL: the
     * store, or no number is left; ERR_IO: the store, or what it has is not legible; ERR_BUSY,
     * ERR_NOMEM, ERR_ABORTED: the store's. |job| is NULL then, and what was asked for may have
     * happened, or a part of it that does no harm. |done| may ask again with the same struct, about
     * |job| too, and may free it. */
    void (*done)(void *arg, enum err err, const struct ipp_job *job);
    void *arg;
    /* private */
    struct store_op *op;       /* the last one that was asked for */
    struct store_op *entry_op; /* a change of the entry at the printer's number before that */
    enum err entry_err;
    struct ipp_job job;
    struct arena mem;
    uint64_t expires_wall_ms;
};
/* Each answers through |a->done| unless it returns an error itself (ERR_BUSY, ERR_NOMEM). Any
 * number may be asked for: what cannot be is ERR_MISSING. */

/* A job whose number at the printer is another job's by now (ipp_jobs_put()) is ERR_MISSING, too:
 * the printer would be asked about that other one. */
NODISCARD enum err ipp_jobs_get(struct ipp_jobs_ask *a, int32_t id);
/* Before a printer is told of what the book is to know afterwards: is there room for it, and does
 * the book work? OK: *ret_id is a number that no job of this store ever had, for ipp_jobs_add(), or
 * 0: |done| gets a job with nothing but that. It costs a change of the store only where no number
 * is left of those that were taken at once, or where the last change failed: then this one says
 * whether the next would. ERR_FULL: no room, or no number, is left. */
NODISCARD enum err ipp_jobs_reserve(struct ipp_jobs_ask *a, int32_t *ret_id);
/* Gives it a number, unless |j| has one, and keeps it. |j| is copied. ERR_CONFLICT:
 * the number is taken, for the store was put back from a copy; another one is next. ERR_LIMIT:
 * |saved| is too long, no printer, a number or value out of its range. */
NODISCARD enum err ipp_jobs_add(struct ipp_jobs_ask *a, const struct ipp_job *j);
/* Keeps |j| in place of what has its version. Where |printer_id| is new, it can be found by that
 * afterwards; a job that had the same number at the printer before (which may begin anew) cannot
 * any more, nor be got at all, and does not get it back by a change of its own. ERR_LIMIT: as
 * above, or |j| is not from the store. */
NODISCARD enum err ipp_jobs_put(struct ipp_jobs_ask *a, const struct ipp_job *j);
/* |done| is not called any more. What was asked for may happen all the same. Fine at any time. */
void ipp_jobs_cancel(struct ipp_jobs_ask *a);

/* ---- many at once: ipp_jobs_list.c ---- */

/* A question about many jobs; as above. |done| gets |n| jobs, settled and without |saved|, or an
 * error and none. A record that is not legible counts as none: it hides no others. */
struct ipp_jobs_list {
    struct ipp_jobs_settings set;
    struct loop *loop;
    void (*done)(void *arg, enum err err, const struct ipp_job *v, size_t n);
    void *arg;
    /* private */
    struct ipp_jobs_walk *walk;
};
/* Those of |v| (numbers of |printer|) that the book has, in one go: |done| gets an array of |n|, in
 * the same order, of which unknown ones have id 0. Costs two reads for each, a few at a time.
 * ERR_LIMIT: more than IPP_JOBS_LIST_MAX, or |printer| is longer than any. */
NODISCARD enum err ipp_jobs_find_all(struct ipp_jobs_list *l, struct span printer, const int32_t *v,
                                     size_t n);
/* All jobs of the book, also those that their printer has forgotten, the newest first, at most
 * |max|; for operators and for lists of jobs that the printer has not got. |only| NULL: of all
 * printers; reads as many as it tells of. Else those of one: reads all that are newer than the last
 * one it tells of, and the whole book when it has fewer than |max| of them. It does so in pages,
 * each on a turn of its own, and keeps what it tells and one page. ERR_LIMIT: |max| is
 * not 1..IPP_JOBS_LIST_MAX, or |only| is longer than any. */
NODISCARD enum err ipp_jobs_all(struct ipp_jobs_list *l, const char *only, size_t max);
/* As ipp_jobs_cancel(). */
void ipp_jobs_list_cancel(struct ipp_jobs_list *l);

#endif
