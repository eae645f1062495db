/* SPDX-License-Identifier: Apache-2.0 */
/* record.h - the audit record: one JSON line per transaction, that says what passed, how it was
 * protected, who sent it, what was decided and why. The writer never blocks a loop: lines are
 * gathered per loop and written in batches by a thread of its own. */
#ifndef OBSERVE_RECORD_H
#define OBSERVE_RECORD_H

#include "base/buf.h"
#include "sallyport/report.h"

struct record_upstream; /* record_upstream.h */

#define RECORD_ID_LEN 20
/* Unique per process start: |seed| (random, 6 bytes of it used), loop, counter; as 20 characters of
 * base 32 (digits and lower-case letters without i, l, o, u), with a closing NUL. */
void record_id(uint64_t seed, unsigned loop, uint64_t counter, char ret[RECORD_ID_LEN + 1]);

struct record_finding {
    const char *engine; /* "yara" */
    struct span name;   /* rule or signature */
    struct span where;  /* part of the file, or empty */
    bool note;          /* it did not block */
};

/* A request to a printer. */
struct record_print {
    const char *operation; /* "Print-Job" */
    const char *printer;
    uint32_t job, printer_job; /* its numbers here and there; 0: none */
    const char *channel;       /* "clear", "upgraded", "implicit" */
    struct span offered;       /* Upgrade, of the request or of the one before which TLS began */
    const char *required;      /* AUTH list that it had to meet, "" for none */
    const char *lacked;        /* what it did not meet; NULL: it did */
    const char *odd;           /* about it: words, with commas; NULL: nothing */
    const char *auth;          /* what proved the user; NULL: nothing did */
    const char *login;         /* as whom it would have been, had the password been right; NULL */
    const char *status;        /* "successful-ok": of the IPP answer */
    struct span agent;         /* User-Agent */
    uint32_t pages;            /* of the document, as far as it tells; 0: not known */
};

#define RECORD_TEXT_MAX 512

/* Every member may be empty: an absent value is left out of the line (but the three byte counts,
 * for which 0 is a value). Spans may hold hostile bytes: they are cut at RECORD_TEXT_MAX bytes and
 * escaped. */
struct record {
    const char *id;
    const char *follows;   /* id of the record that this one belongs to */
    uint64_t time_wall_ms; /* first byte of the request */
    struct span client;    /* address of the connection's peer, with port */
    struct span client_ip; /* X-Client-IP as the peer states it */
    struct span user;      /* X-Authenticated-User / X-Client-Username as the peer states it */
    const char *listener;
    const char *tenant;                       /* whose request it is */
    const char *session;                      /* id of the login */
    const struct record_print *print;         /* NULL: it was no request to a printer */
    const sallyport_report *report;           /* HOW, WHO */
    struct record_upstream *const *upstreams; /* over which it went on */
    unsigned n_upstreams;
    const char *service;
    const char *method;
    struct span url_host;         /* host of the encapsulated request; never the full URL */
    unsigned icap_status;         /* what was answered */
    unsigned http_status;         /* of the encapsulated answer, if we made one */
    uint64_t bytes_in, bytes_out; /* wire bytes of the ICAP request and answer */
    uint64_t body_len;            /* bytes of the inspected body */
    const char *sha256;           /* lower-case hex of the body, NULL if not taken */
    struct span file;             /* declared file name, made plain */
    struct span type;             /* declared media type */
    const char *sniffed;          /* media type as the body looks */
    unsigned objects;             /* leaves of a multipart; 0 and 1: left out */
    const char *verdict;          /* "pass", "block", "changed", "not-inspected", "error" */
    const char *action;           /* what was done: "pass", "block", "error", "deferred" */
    const char *const *causes;    /* "infected", "timeout", ...: first the one that decided */
    unsigned n_causes;
    const char *rule;      /* that decided */
    const char *exception; /* id of the one that let it pass */
    const char *bypass;    /* id of the bypass that let it pass */
    bool cached;           /* the verdict is an earlier or a concurrent scan's */
    const struct record_finding *findings;
    unsigned n_findings;
    uint64_t handshake_us, head_us, body_us, scan_us, total_us; /* 0: left out */
    const char *error; /* stable code of the error (err_code()), NULL for none */
    struct span error_text;
};

/* Appends the line, with its LF. The keys, in this order: time, id, follows, client, client_ip,
 * user, listener, tenant, session, protection{how, version, cipher, peer, resumed},
 * upstream[{to, address, how, ..., error, error_text}], print{printer,
 * operation, job, printer_job, channel, required, lacked, auth, agent, status, pages}, service,
 * method, url_host, icap_status, http_status, bytes_in, bytes_out, body_len, sha256, file, type,
 * sniffed, objects, verdict, action, cause, causes[], rule, exception, bypass, cached,
 * findings[{engine, name, where, note}], timing_ms{handshake, head, body, scan, total}, error,
 * error_text. After an error of |out| the line is not whole: look at out->err before appending it
 * to a log. */
void record_format(const struct record *r, struct buf *out);

enum record_on_full { RECORD_DROP, RECORD_REFUSE };

struct record_log;
struct record_sealer;
struct record_log_settings {
    int fd;              /* O_APPEND, blocking; -1: records are off. Duplicated. */
    unsigned loops;      /* appending threads are 0..loops-1 */
    uint64_t buffer_max; /* bytes waiting for the writer, all loops; 8 MiB */
    uint64_t flush_ms;   /* a line waits at most about that long; 200 */
    enum record_on_full on_full;
    /* Each batch ends in a seal (record_chain.h), and what cannot be sealed is not written: it is
     * as with a disk that takes nothing. NULL: no seals. Taken over with success. */
    struct record_sealer *sealer;
};
/* Starts the writer thread. */
NODISCARD enum err record_log_new(const struct record_log_settings *s, struct record_log **ret);
/* Flushes what it can, ends the thread, frees. After the appending threads are done. NULL is fine.
 */
void record_log_free(struct record_log *log);
/* From loop |loop|'s thread; cheap: one uncontended lock, and one futex call for the first line of
 * each batch. |line|: one line with its LF. ERR_FULL: the line was dropped, and counted, because
 * the buffer is full (the disk is full or slow); ERR_NOMEM the same. */
NODISCARD enum err record_log_append(struct record_log *log, unsigned loop, struct span line);
/* on_full is RECORD_REFUSE, and the last write failed or a line was dropped since: transactions
 * must not be accepted now. The writer keeps trying every second and clears this itself. Any
 * thread. */
bool record_log_refuses(const struct record_log *log);
/* Rotation: from now on lines go to |fd| (duplicated). What was gathered before goes to the old one
 * first, as far as it takes it; what it does not take goes to |fd|, too. Any thread; does not
 * wait for the writer. No effect on a log whose records are off. */
void record_log_reopen(struct record_log *log, int fd);
/* A line that a full disk cut in half is completed by nothing: the writer remembers it and begins
 * with a LF when it can write again, and counts the line as lost. */
struct record_log_counts {
    uint64_t written, lost, bytes, batches, write_errors;
    uint64_t seals; /* whose state is written, too; their lines are not among |written| */
};
void record_log_count(const struct record_log *log, struct record_log_counts *ret);

#endif
