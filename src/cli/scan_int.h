/* SPDX-License-Identifier: Apache-2.0 */
/* scan_int.h - the parts of `sallyport scan`: command_scan.c reads the command line, scan_source.c
 * finds files, a scanner inspects several at a time, at a server (scan_remote.c) or in workers of
 * its own (scan_local.c), scan_run.c keeps it busy, scan_state.c remembers what is done, and
 * scan_print.c and scan_progress.c tell.
 *
 * Threads: one. */
#ifndef CLI_SCAN_INT_H
#define CLI_SCAN_INT_H

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "cli/client_tls.h"
#include "cli/login.h"
#include "net/loop.h"
#include "sallyport/want.h"

#define SCAN_JOBS_MAX 64u
#define SCAN_TAG_MAX  1024u

/* Files under way were finished, no others were begun: what a shell says after SIGINT. */
#define EXIT_INTERRUPTED (128 + SIGINT)

enum scan_verdict { SCAN_PASS, SCAN_CHANGED, SCAN_BLOCKED, SCAN_NOT_INSPECTED, SCAN_ERROR };
const char *scan_verdict_word(enum scan_verdict v);
/* False for a word that means none. */
bool scan_verdict_parse(const char *word, enum scan_verdict *ret);

struct scan_outcome {
    enum scan_verdict verdict;
    enum err err;    /* with SCAN_ERROR: which exit code it means */
    bool unreadable; /* with SCAN_ERROR: the file's fault, nobody was asked or the answer is void */
    bool resumed;    /* known from the last run */
    char reason[512];       /* what was found, or what went wrong */
    char id[64];            /* of the transaction, for the server's records */
    char tag[SCAN_TAG_MAX]; /* ISTag, or the engines: under which rules the verdict holds */
    unsigned status, http_status;
    uint64_t us;
};

/* ---- scanners ---- */

struct scan_file {
    struct span name; /* declared */
    int fd;           /* regular file, stays the caller's */
    uint64_t len;
    struct scan_outcome *out;
    /* Once, never inside start(); |out| is filled then. */
    void (*done)(struct scan_file *f);
};

struct scanner {
    struct loop *loop;
    unsigned jobs; /* files at a time; |lane| 0.. below it */
    /* False: no memory, and |done| does not come. One file a lane at a time. */
    bool (*start)(struct scanner *s, unsigned lane, struct scan_file *f);
    /* Asks, if need be, and runs the loop: the tag under which verdicts hold now, or "". */
    const char *(*tag)(struct scanner *s);
    void (*close)(struct scanner *s);
    char how[256]; /* HOW the last connection was protected; "" without one */
    char who[256]; /* WHO was there: the authenticated server; "" if nobody is known */
};

struct scan_remote_options {
    const char *url; /* without a user */
    struct client_tls_options tls;
    struct login *login;       /* whose user may be ""; filled by scan_remote_open() */
    const char *password_file; /* or NULL */
    bool insecure_login;       /* a password may go to anybody */
    int require;               /* sallyport_level at least; -1: strong for icaps://, else none */
    sallyport_want *want;      /* WHO it must be, or NULL */
    bool reqmod;
    unsigned jobs;       /* 0: 4 */
    uint64_t connect_ms; /* 0: 10 s */
    uint64_t file_ms;    /* one file, all told; 0: as the protocol engine has it */
};
/* NULL: a message was printed, and *ret_code is the exit code. */
struct scanner *scan_remote_open(const struct scan_remote_options *o, int *ret_code);

struct scan_local_options {
    const char *worker; /* program, or NULL: as `serve` finds it */
    const char *const *rules;
    unsigned n_rules; /* 0: the rules that come with Sallyport */
    unsigned jobs;    /* 0: as many as there are processors */
    uint64_t file_ms; /* 0: 10 min */
};
struct scanner *scan_local_open(const struct scan_local_options *o, int *ret_code);

/* ---- where files come from ---- */

struct scan_found {
    char *path;   /* as it is printed; the receiver frees it */
    char *name;   /* declared; points into path, or is static */
    int fd;       /* opened already, or -1 */
    int errnum;   /* cannot be read */
    bool spooled; /* has no place in a file system */
};

struct scan_source;
struct scan_source_options {
    char **paths;           /* closed by NULL; "-" is standard input */
    const char *files_from; /* or NULL; "-" is standard input */
    const char *name;       /* declared, for standard input; NULL: "stdin" */
};
/* Reads standard input to its end, if it is wanted. NULL: a message was printed, and *ret_code is
 * the exit code. */
struct scan_source *scan_source_open(const struct scan_source_options *o, int *ret_code);
void scan_source_close(struct scan_source *s);
/* The next file, folders walked in the order of names. False at the end. */
bool scan_source_next(struct scan_source *s, struct scan_found *ret);
/* The paths in |text|: separated by NUL if there is one in it, by LF otherwise; empty ones are
 * left out. Cuts |text| apart in place and appends pointers into it. False without memory. */
bool scan_list_split(struct buf *text, char ***paths, size_t *n_paths);
/* A copy of what |fd| has, in a file without a name, read-only; -1 and errno. */
int scan_spool(int fd);

/* ---- what is done already ---- */

struct scan_state;
/* Reads |path|, or makes it. |service|: whom verdicts are asked of; what another said does not
 * count. NULL: a message was printed, and *ret_code is the exit code. */
struct scan_state *scan_state_open(const char *path, const char *service, int *ret_code);
void scan_state_close(struct scan_state *s);
/* Is this file, unchanged, among those that have a final verdict under |tag|? */
bool scan_state_knows(const struct scan_state *s, const char *path, const struct stat *st,
                      const char *tag, struct scan_outcome *ret);
/* Appends a line. False: it could not be written. */
bool scan_state_add(struct scan_state *s, const char *path, const struct stat *st,
                    const struct scan_outcome *o);
/* The state file itself is no file to scan. */
bool scan_state_is(const struct scan_state *s, const struct stat *st);

/* ---- telling ---- */

struct scan_totals {
    uint64_t files, passed, changed, blocked, not_inspected, failed;
    uint64_t resumed; /* of |files| */
    uint64_t bytes;   /* of files that were scanned now */
    uint64_t us;
    int worst; /* exit code so far */
};
void scan_count(struct scan_totals *t, const struct scan_outcome *o);

enum scan_style { SCAN_STYLE_TEXT, SCAN_STYLE_QUIET, SCAN_STYLE_JSON };
void scan_print_line(enum scan_style style, const struct scanner *s, const char *path,
                     const struct scan_outcome *o);
void scan_print_summary(const struct scanner *s, const struct scan_totals *t);
/* "12.3 MiB" */
const char *scan_size_text(uint64_t bytes, char dst[24]);

struct scan_progress {
    FILE *out; /* NULL: nothing is shown */
    unsigned columns;
    uint64_t next_us; /* no redraw before */
    bool drawn;
};
/* Shows something only if |fd| is a terminal. */
void scan_progress_init(struct scan_progress *p, FILE *out);
/* At most ten times a second. |found|: files so far; |more|: and there may be more. */
void scan_progress_draw(struct scan_progress *p, const struct scan_totals *t, uint64_t found,
                        bool more, uint64_t now_us);
/* One line that fits |columns|, for the above. */
void scan_progress_text(const struct scan_totals *t, uint64_t found, bool more, unsigned columns,
                        struct buf *out);
void scan_progress_erase(struct scan_progress *p);

/* ---- all of it ---- */

struct scan_run_options {
    enum scan_style style;
    bool fail_fast;
    bool progress;
    const char *resume; /* for the hint after an interruption, or NULL */
};
/* Returns the exit code. |state| NULL: nothing is remembered. */
int scan_run(const struct scan_run_options *o, struct scanner *s, struct scan_source *source,
             struct scan_state *state);

#endif
