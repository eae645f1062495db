/* SPDX-License-Identifier: Apache-2.0 */
/* clamd.h - ClamAV's daemon as an engine: a pool of kept sessions (IDSESSION) per loop, files by
 * descriptor (FILDES over a Unix socket) or as a stream (INSTREAM). One clamd_monitor per process
 * knows whether the daemon answers, its version, and how large a file it really looks into.
 *
 * Threads: a clamd belongs to its loop's thread; the monitor to loop 0's, its clamd_health is read
 * by all. */
#ifndef ADAPT_CLAMD_H
#define ADAPT_CLAMD_H

#include "adapt/verdict.h"
#include "net/address.h"
#include "net/loop.h"
#include "net/spool.h"
#include "sallyport/report.h"

enum clamd_transport { CLAMD_AUTO, CLAMD_FILDES, CLAMD_INSTREAM };

#define CLAMD_WHY_MAX 160

/* A policy forbids to ask it. */
struct clamd_refusal {
    const char *text;  /* for people */
    sallyport_why why; /* its strings are static */
};

struct clamd_settings {
    struct address address;         /* unix:/path or an IP address */
    enum clamd_transport transport; /* AUTO: FILDES where the self-test shows that it works */
    unsigned connections_max;       /* of each loop; more files wait */
    unsigned queue_max;             /* files that wait, each loop */
    uint64_t scan_max;              /* larger files are not inspected */
    bool trust_silent;              /* believe an OK of a daemon with silent_limits, too */
    uint64_t check_ms;              /* how often VERSION is asked */
    uint64_t self_test_ms;          /* deadline of each question of the monitor */
    /* The monitor begins with clamd_monitor_refuse(); or NULL. */
    const struct clamd_refusal *refused;
};

struct record_upstream;

#define CLAMD_VERSION_MAX 96

/* What the monitor found out. Any thread reads; only the monitor writes. */
struct clamd_health;
NODISCARD enum err clamd_health_new(struct clamd_health **ret);
struct clamd_health *clamd_health_ref(struct clamd_health *h);
void clamd_health_unref(struct clamd_health *h);
struct clamd_health_report {
    bool up; /* answered VERSION, and found the test signature */
    /* Says OK to what it did not look into (AlertExceedsMax no, ScanArchive no): an archive that is
     * too deep or too large inside passes unseen, and which file has one is what it was asked. So
     * without trust_silent no OK of it counts: CLAMD_LIMIT. What it finds, it has found. */
    bool silent_limits;
    enum clamd_transport transport;  /* FILDES or INSTREAM */
    uint64_t scan_max;               /* what it really looks into, at most settings.scan_max */
    char version[CLAMD_VERSION_MAX]; /* "ClamAV 1.4.6/27400/Sat ..."; "" before it answered */
    char why[CLAMD_WHY_MAX];         /* what is wrong; "" when up, or not known yet */
    bool unmeasured; /* it has ended, and nobody knows yet what the one that is there looks into */
    bool refused;    /* it is not asked: clamd_monitor_refuse(). Then not up */
    sallyport_why refusal;  /* where |refused| */
    uint64_t since_wall_ms; /* of the present state */
    uint32_t
        lives; /* grows whenever the daemon was seen to end: what it knows may be other since */
};
void clamd_health_read(const struct clamd_health *h, struct clamd_health_report *ret);

/* Asks VERSION every check_ms, and at once after somebody saw the daemon gone; while it is down,
 * with pauses that grow from 100 ms to 5 s. Whenever the daemon comes up or its version changes:
 *   1. a small file with the EICAR test signature must be FOUND (else: no signatures, not up), by
 *      FILDES if the transport allows it, else by INSTREAM;
 *   2. a file of scan_max bytes that begins with it must be FOUND, too; if the daemon's own limits
 *      hide it, scan_max is lowered in steps (half each) until it is found, with one warning that
 *      names MaxFileSize, MaxScanSize, StreamMaxLength. A database whose test signature means the
 *      bare file only cannot be measured like that: settings.scan_max is then believed;
 *   3. an archive that is nested deeper than any daemon goes must not be called OK, else
 *      silent_limits.
 * Each of these files is a line in the daemon's log.
 * |changed|: on the loop, never inside a call, after health, version, transport or scan_max
 * changed.
 */
struct clamd_monitor;
NODISCARD enum err clamd_monitor_new(struct loop *l, const struct clamd_settings *s,
                                     struct clamd_health *h, void (*changed)(void *arg), void *arg,
                                     struct clamd_monitor **ret);
void clamd_monitor_free(struct clamd_monitor *m); /* NULL is fine */
/* |r|, copied: it must not be asked, so that it counts as down, for that reason, without a
 * connection to it; files that wait are not sent, those on their way end as they began. NULL: it
 * may be. */
void clamd_monitor_refuse(struct clamd_monitor *m, const struct clamd_refusal *r);

struct clamd;
/* Copies |s|, refs |h|. */
NODISCARD enum err clamd_new(struct loop *l, const struct clamd_settings *s, struct clamd_health *h,
                             struct clamd **ret);
/* Every open job ends with CLAMD_ERROR first. NULL is fine. */
void clamd_free(struct clamd *c);

enum clamd_verdict {
    CLAMD_CLEAN,
    CLAMD_FOUND, /* |text|: signature */
    CLAMD_LIMIT, /* Heuristics.Limits.Exceeded.*, Heuristics.Encrypted.*, size limits: not
                    inspected; |text| says which */
    CLAMD_ERROR, /* |err|: ERR_UPSTREAM (gone, broken), ERR_TIMEOUT, ERR_BUSY; |text|: a sentence */
};
struct clamd_answer {
    enum clamd_verdict verdict;
    enum err err;
    char text[FINDING_NAME_MAX];
    /* For the record: the connection that the file went over, or could not go over. Borrowed for
     * the call; NULL: it was not asked. */
    struct record_upstream *upstream;
};
typedef void (*clamd_fn)(void *arg, const struct clamd_answer *a);

struct clamd_request {
    int fd;
    bool moves;        /* |fd| goes over to clamd when the call says OK; else it is duplicated */
    uint64_t off, len; /* range of it; the whole file goes by descriptor */
    bool whole;
    uint64_t client;      /* whose file: those that wait are taken from each client in turn */
    uint64_t deadline_ms; /* loop time: no later than that |done| is called */
    clamd_fn done;        /* once, never inside the call; not after a cancel */
    void *arg;
};
struct clamd_job;
/* ERR_BUSY when the queue is full and no other client has more files in it (then the newest of
 * these ends with ERR_BUSY), ERR_NOMEM, ERR_IO (|fd| cannot be duplicated). A daemon that is
 * known to be down answers CLAMD_ERROR at once (and the monitor tries again). A session that dies
 * under a file is replaced once; a descriptor that the daemon does not take goes as a stream then.
 * Larger than the health's scan_max: CLAMD_LIMIT without asking. */
NODISCARD enum err clamd_submit(struct clamd *c, const struct clamd_request *r,
                                struct clamd_job **ret);
/* Nobody wants the answer any more. A session whose answer is not awaited is closed. */
void clamd_cancel(struct clamd_job *j);

struct clamd_counts {
    uint64_t jobs, found, errors; /* ended, by what they ended with */
    uint64_t reconnects;          /* sessions that were lost, and could not be made */
    unsigned busy, idle, queued;
};
void clamd_count(const struct clamd *c, struct clamd_counts *ret); /* any thread */

/* ---- the protocol, pure, for the files of clamd and their tests ---- */

/* One reply of a session, without its closing NUL: "7: stream: Eicar-Test-Signature FOUND",
 * "7: fd[10]: OK", "7: ... ERROR", "COMMAND READ TIMED OUT". *ret_id is 0 when there is none.
 * ERR_SYNTAX for anything else; nothing is written then. */
NODISCARD enum err clamd_parse_reply(struct span reply, uint32_t *ret_id, struct clamd_answer *ret);
/* The reply to VERSION in a session: "3: ClamAV 1.4.6/27400/Sat Nov 21 ...". */
NODISCARD enum err clamd_parse_version(struct span reply, uint32_t *ret_id,
                                       char ret[CLAMD_VERSION_MAX]);

#endif
