/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_int.h - what the files of the supervisor share. For them only.
 *
 *   supervisor.c          start, signals, stop
 *   supervisor_change.c   one change at a time: a start, a reload, new rules; all of it or nothing
 *   supervisor_gateway.c  gateway processes: the sets that they are sent, their deaths
 *   supervisor_files.c    state directory, lock, spool, records; which files to watch
 *   supervisor_chain.c    state and key of the records' chain: made once, opened
 *   supervisor_certificates.c  what is wrong with certificate files, and when they expire
 *   supervisor_journal.c  the journal of exceptions: opened, and freed of what is over
 *   zygote_process.c      zygote processes: rules, channels, their deaths
 *   supervisor_spawn.c    fork and exec */
#ifndef PROC_SUPERVISOR_INT_H
#define PROC_SUPERVISOR_INT_H

#include <sys/types.h>

#include "adapt/worker_wire.h"
#include "net/loop.h"
#include "proc/demo.h"
#include "proc/generation.h"
#include "proc/settings_load.h"
#include "proc/sockets.h"
#include "proc/supervisor.h"

#define AREA "supervisor"

#define READY_MS        30000u /* a gateway that takes longer to answer a set is broken */
#define RULES_MS        120000u
#define SETTLED_MS      10000u /* a process that lived that long did not die of its start */
#define BACKOFF_MIN_MS  100u
#define BACKOFF_MAX_MS  5000u
#define DRAIN_MARGIN_MS 2000u
#define ZYGOTE_END_MS   2000u
#define POLL_FILES_MS   10000u /* where inotify sees nothing: network file systems */
#define POLL_MISSING_MS \
    1000u /* while certificate files are missing or wrong: they will be mended */
#define SETTLE_MS                                                              \
    1000u /* a renewal writes one file after the other: as long as this nobody \
           * is alarmed */
#define GATEWAYS_MAX 3u

struct supervisor;

/* ---- supervisor_spawn.c ---- */

/* Starts |path| with its own process group, default signals, stdin from /dev/null, and |control| as
 * descriptor SPAWN_CONTROL_FD; every other descriptor must be close-on-exec. The environment is
 * ours without what systemd meant for us alone. Returns 0 or an errno value. */
#define SPAWN_CONTROL_FD   3
#define SPAWN_CONTROL_TEXT "3"
int spawn(const char *path, char *const argv[], int control, pid_t *ret_pid);
/* A SOCK_SEQPACKET pair; [0] is ours, non-blocking. 0 or an errno value. */
int spawn_pair(int ret[2]);
/* "was killed by signal 9 (Killed)", "exited with code 2". */
void spawn_status_text(int status, struct buf *out);

/* How long to wait before the next start of something that keeps dying. */
struct backoff {
    unsigned failures;
};
uint64_t backoff_next(struct backoff *b, uint64_t lived_ms);

/* ---- zygote_process.c ---- */

enum zygote_state { ZYGOTE_STARTING, ZYGOTE_READY, ZYGOTE_ENDING };

struct zygote {
    struct supervisor *sup;
    struct zygote *next;
    enum zygote_state state;
    pid_t pid;
    int control; /* -1 once it was told to end */
    struct watch *watch;
    struct timer deadline;
    uint64_t started_ms;
    char *key;     /* zygote_key() of what it was started with */
    char *broken;  /* its BROKEN text */
    char *engines; /* for WORKERS, "" before READY */
    char *layers;
};

/* Everything that a zygote depends on, as text: two equal ones need no new process. */
void zygote_key(const struct supervisor *s, const struct settings_loaded *l, struct buf *out);
/* Does |l| need a zygote at all? Bodies are unpacked in workers, whatever engine judges them. */
bool zygote_is_needed(const struct settings_loaded *l);
NODISCARD enum err zygote_start(struct supervisor *s, const struct settings_loaded *l,
                                struct zygote **ret, struct buf *why);
/* A new channel; the gateway's end, which is the caller's. -1: the zygote is of no use. */
int zygote_channel(struct zygote *z);
/* Lets it end by itself, once nobody uses it any more. */
void zygote_end(struct zygote *z);
void zygote_kill(struct zygote *z);
/* |pid| ended. True when it was a zygote's. */
bool zygote_reaped(struct supervisor *s, pid_t pid, int status);
/* The rule files and the magic files that |l| uses; |ret| has room for SETTINGS_RULES_MAX. */
#define SETTINGS_RULES_MAX 1024u
unsigned zygote_rules(const struct supervisor *s, const struct settings_loaded *l,
                      const char **ret);
unsigned zygote_magic(const struct settings_loaded *l, const char **ret);

/* ---- supervisor_gateway.c ---- */

enum gateway_state { GATEWAY_STARTING, GATEWAY_SERVING, GATEWAY_DRAINING };

struct packet;

struct gateway {
    struct supervisor *sup;
    struct gateway *next; /* newest first */
    enum gateway_state state;
    pid_t pid;
    int control;
    struct watch *watch;
    struct packet *first, **last; /* packets that the socket does not take yet */
    struct timer deadline;        /* READY, or the end of a drain */
    unsigned set;                 /* number of the set that was sent last */
    unsigned generation;          /* number of the set that it was started with */
    unsigned threads;
    bool answer_due; /* READY or FAILED for |set| */
    uint64_t started_ms;
};

/* What a gateway is made of. */
struct gateway_parts {
    const struct settings_loaded *loaded;
    const struct socket_set *sockets;
    int spool_fd, records_fd, chain_fd, exceptions_fd, store_fd;
    struct zygote *zygote; /* NULL: none */
};

NODISCARD enum err gateway_start(struct supervisor *s, const struct gateway_parts *p,
                                 struct gateway **ret, struct buf *why);
/* A live set; READY or FAILED will come. */
NODISCARD enum err gateway_send_live(struct gateway *g, const struct settings_loaded *l);
NODISCARD enum err gateway_send_workers(struct gateway *g, struct zygote *z);
struct certificate;
NODISCARD enum err gateway_send_certificate(struct gateway *g, const struct certificate *c);
NODISCARD enum err gateway_send_files(struct gateway *g, enum files_kind k);
NODISCARD enum err gateway_send_records(struct gateway *g, int fd);
void gateway_drain(struct gateway *g, uint64_t ms);
void gateway_kill(struct gateway *g);
bool gateway_reaped(struct supervisor *s, pid_t pid, int status);
unsigned gateway_count(const struct supervisor *s);

/* ---- supervisor_certificates.c ---- */

/* What is known of one tls entry, by its name: longer than any configuration. */
struct certificate {
    struct certificate *next;
    char *name;
    char *why;    /* the set on the disk is not in use; NULL: it is */
    char *told;   /* what the gateways, and so operators, were told of it; NULL: all is well */
    char *logged; /* the last alarm in the log since all was well */
    uint64_t bad_since_ms, logged_ms;
    unsigned reloads;
    struct certificate_end {
        int64_t not_after; /* of the one that |warned| is about */
        unsigned warned;   /* tls_certificate_warning() of the last one */
    } end, crl_end;
};

/* What |l| found on the disk. */
void certificates_look(struct supervisor *s, const struct settings_loaded *l);
/* |l| is about to take the place of |old|, which may be NULL. */
void certificates_taken(struct supervisor *s, const struct settings_loaded *old,
                        const struct settings_loaded *l);
/* Now and then: repeats alarms that nobody heard, warns of certificates that expire soon. */
void certificates_poll(struct supervisor *s);
bool certificates_are_bad(const struct supervisor *s);
void certificates_free(struct supervisor *s);

/* ---- supervisor_change.c ---- */

enum change_step { CHANGE_NONE, CHANGE_ZYGOTE, CHANGE_LIVE, CHANGE_GENERATION };
/* The order in which they are done. */
enum { WANT_RELOAD = 1, WANT_FILES = 2, WANT_RULES = 4, WANT_REEXEC = 8 };

struct change {
    enum change_step step;
    const char *cause;            /* "start", "SIGHUP"... for the log */
    struct settings_loaded *next; /* NULL: as it is */
    bool generation;              /* needs a new gateway process */
    struct zygote *zygote;        /* candidate, NULL: keep the current one */
    bool no_zygote;               /* the next configuration needs none */
    struct gateway *gateway;      /* candidate */
    struct socket_set sockets;
    int spool_fd, records_fd, chain_fd;
};

/* Asks for what |want| says as soon as no other change is under way. */
void change_want(struct supervisor *s, unsigned want);
/* The first one: takes |l|. |inherited|: sockets from systemd or a gateway without supervisor. */
void change_start(struct supervisor *s, struct settings_loaded *l,
                  const struct socket_set *inherited);
/* Events for the change that is under way; each says whether it was concerned. */
void change_zygote_ready(struct supervisor *s, struct zygote *z);
bool change_zygote_gone(struct supervisor *s, struct zygote *z);
void change_gateway_answer(struct supervisor *s, struct gateway *g, const char *failed);
bool change_gateway_gone(struct supervisor *s, const struct gateway *g);
/* Drops what is under way, without a word. */
void change_abandon(struct supervisor *s);

/* ---- supervisor_files.c ---- */

/* State directory and lock; |why| and false when that cannot be had, or another instance has it. */
bool files_lock(struct supervisor *s, const struct settings_loaded *l, struct buf *why);
NODISCARD enum err files_open_spool(const struct settings_loaded *l, int *ret_fd, struct buf *why);
/* -1 when records are off. */
NODISCARD enum err files_open_records(const struct settings_loaded *l, int *ret_fd,
                                      struct buf *why);
/* The state of the records' chain, made when there is none; -1 when records have none. ERR_CONFIG:
 * what is there is not to be begun anew without a word. */
NODISCARD enum err files_open_chain(const struct settings_loaded *l, int *ret_fd, struct buf *why);
/* The journal of exceptions. |compact|: rewrites it without what is over first; not while a gateway
 * may be appending to it. */
NODISCARD enum err files_open_exceptions(const struct settings_loaded *l, bool compact, int *ret_fd,
                                         struct buf *why);
/* The directory of the store, which is the gateway's user's alone. */
NODISCARD enum err files_open_store(const struct settings_loaded *l, int *ret_fd, struct buf *why);
/* Lets the configured user ask the gateway. */
void files_share_control(const struct settings_loaded *l);
/* Bodies that a crash left. Not while another gateway may be using the directory. */
void files_clear_spool(int spool_fd);
void files_write_addresses(const struct supervisor *s);
/* A list that nobody serves any more. */
void files_forget_addresses(const struct settings_loaded *l);
void files_raise_descriptors(const struct settings_loaded *l);
/* "path device inode size times" of a file as it is now; and of those of |l| as they were when they
 * were read. To notice changes that inotify missed, and to ignore what is none. */
void files_key(const char *path, struct buf *out);
void files_loaded_key(const struct settings_loaded *l, struct buf *out);
/* The files that the configuration of |l| names, as they are on the disk by now: equal to
 * files_loaded_key() when all are in use. */
void files_disk_key(const struct settings_loaded *l, struct buf *out);
/* What |l| found on the disk beside certificates: who did not know it is told, in the log and by
 * way of the gateways. */
void files_look(struct supervisor *s, const struct settings_loaded *l);
/* Watches the files of the current configuration, and no others any more. */
void files_watch(struct supervisor *s);
/* Looks at them from time to time, too: often while certificate files are missing or wrong. */
void files_poll_soon(struct supervisor *s);
void files_unwatch(struct supervisor *s);

/* ---- supervisor.c ---- */

struct supervisor {
    const struct supervisor_options *options;
    struct loop *loop;
    struct demo demo;
    char *made_config;       /* of mounted.h; NULL: none */
    char exe[4096];          /* where SIGUSR2 finds the program, maybe a newer one */
    const char *config_path; /* for reloads */
    const char *state;       /* override, or NULL */
    struct signal_watch *signals[6];
    struct timer watchdog, poll_files, stop_timer;
    struct settings_loaded *loaded;
    struct socket_set sockets;
    int lock_fd, spool_fd, records_fd, chain_fd;
    struct span ticket_secret; /* random, in locked memory; as long as this process lives */
    int exceptions_fd;         /* the journal: one for all gateways, from the first start on */
    int store_fd;              /* the store's directory: the same */
    int orphan;                /* control connection to a gateway that we took over; -1 */
    struct gateway *gateways, *current;
    struct zygote *zygotes, *zygote;
    unsigned sets; /* numbered so far */
    struct change change;
    unsigned wants;     /* WANT_*, when the change is done */
    struct task wanted; /* looks at |wants| on a turn of its own */
    bool wanted_posted;
    struct timer gateway_timer, zygote_timer; /* restarts that wait */
    struct backoff gateway_backoff, zygote_backoff;
    struct path_watch **watches;
    unsigned n_watches, cap_watches;
    struct certificate *certificates;
    struct timer settle;             /* certificate files that are wrong since a moment ago */
    unsigned polls_while_bad;        /* what is wrong may pass with time alone */
    char *files_told[FILES_KINDS];   /* the last mistake in each; NULL: all is well */
    char *files_tried, *rules_tried; /* keys of the last attempt: a broken file is tried once */
    bool reload_waits;               /* for the end of a gateway: there are GATEWAYS_MAX */
    bool started, stopping, finished;
    int exit_code;
};

/* Ends the process with |code|, after everything was torn down. */
void supervisor_exit(struct supervisor *s, int code);
/* A gateway or a zygote is gone, or a change is over: goes on with a stop, or with what waits. */
void supervisor_progress(struct supervisor *s);
/* Everything is in place for the first time. */
void supervisor_started(struct supervisor *s);
/* Executes this program anew in the same process. Returns only when that failed. */
void supervisor_reexec(struct supervisor *s);

#endif
