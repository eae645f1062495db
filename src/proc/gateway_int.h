/* SPDX-License-Identifier: Apache-2.0 */
/* gateway_int.h - the bodies behind gateway.h, for its own files:
 *
 *   gateway.c          the process: first set, main loop, end
 *   gateway_build.c    from a set to a gateway that serves
 *   gateway_config.c   a configuration made ready for use
 *   gateway_certificates.c   what is said about certificates, and which listeners wait for theirs
 *   gateway_files.c    what is said about the other files that are reloaded by themselves
 *   gateway_store.c    what is said about the store; a store that failed is tried again
 *   gateway_order.c    what one loop has another one do
 *   gateway_memory.c   gives memory back to the system
 *   gateway_live.c     messages of the supervisor, live changes
 *   gateway_drain.c    the way out
 *   gateway_thread.c   where loops stand among others that want the processor (gateway_thread.h)
 *   gateway_policy.c   what changes without a new configuration: exceptions, bypasses, versions of
 *                      engines (gateway_policy.h); gateway_clamd.c: whether ClamAV answers
 *   gateway_print.c    printing (gateway_print.h); gateway_print_command.c: questions about it
 *   gateway_remote.c   scanners on other machines (gateway_remote.h)
 *   gateway_logins.c   logins, and what they and tenants say of themselves (gateway_logins.h)
 *   gateway_tenants.c  the store, and the tenants in it (gateway_tenants.h)
 *   gateway_command.c  commands that come over the control socket; gateway_asked.c: what they
 *                      share; gateway_tenant_command.c: those about tenants, which wait for the
 *                      store
 *   gateway_status.c, gateway_metrics.c   what it tells about itself */
#ifndef PROC_GATEWAY_INT_H
#define PROC_GATEWAY_INT_H

#include <pthread.h>

#include "adapt/workers.h"
#include "icap/icap_server.h"
#include "jail/jail.h"
#include "net/listener.h"
#include "observe/admin.h"
#include "observe/record.h"
#include "proc/control.h"
#include "proc/gateway_logins.h"
#include "proc/gateway_policy.h"
#include "proc/gateway_print.h"
#include "proc/gateway_remote.h"
#include "proc/gateway_tenants.h"
#include "proc/gateway_thread.h"
#include "proc/generation.h"
#include "proc/settings.h"

#define ADMIN_LISTENER   "admin"
#define CONTROL_LISTENER "control"

/* ---- gateway_config.c ---- */

/* One configuration, ready: settings and what was made of them. Counted: the gateway, snapshots,
 * listeners' settings and thus connections hold it; the last one that goes frees it, on whatever
 * thread. Immutable but for |listeners|, which is loop 0's. */
struct gateway_config {
    _Atomic unsigned refs;
    struct arena mem;
    struct settings settings;
    struct tls_certificate *certificates; /* one per settings.tls; zeroed while it waits */
    struct tls_certificate *crls;         /* the same: tls_crls_read(); zeroed: none */
    struct listener_settings **listeners; /* one per settings.listeners, referenced; NULL: waits */
    struct url_lists *urls;
    struct policy_file *policy;       /* of the machine; NULL: none */
    struct tls_context **backend_tls; /* one per settings.printers; NULL: clear text */
    struct tls_context **icap_tls;    /* the same, for their scanners */
};
/* Parses the text of |g|, loads certificates and lists from its files. |why| gets every complaint.
 */
NODISCARD enum err gateway_config_new(const struct generation *g, struct gateway_config **ret,
                                      struct buf *why);
/* The gateway has a newer one: lets go of it, and of its listeners' settings. NULL is fine. */
void gateway_config_retire(struct gateway_config *c);
/* Another one who reads its settings, on whatever thread. */
struct gateway_config *gateway_config_ref(struct gateway_config *c);
void gateway_config_unref(struct gateway_config *c);
/* What a snapshot needs besides the configuration. */
struct snapshot_parts {
    const char *worker_engines, *clamav; /* versions, for ISTags */
    struct exceptions *exceptions;
    struct tenants *tenants;
    struct metrics *metrics;
};
NODISCARD enum err gateway_config_snapshot(struct gateway_config *c, const struct snapshot_parts *p,
                                           struct icap_snapshot **ret, struct buf *why);
/* Settings of the listener |name|; NULL: not one of the configuration ("admin", "control", or
 * gone), or one that waits. */
struct listener_settings *gateway_config_listener(const struct gateway_config *c, const char *name);
/* The tls entry that listener |name| waits for; NULL: it does not. */
const struct tls_config *gateway_config_waits(const struct gateway_config *c, const char *name);

/* ---- the gateway ---- */

/* A listening socket of one loop. |name| lives in the generation's arena. */
struct gateway_socket {
    const char *name;
    unsigned loop;
    int fd;
    int backlog;
    struct listener *listener; /* NULL: the control socket, or it waits for its certificate */
};

/* What is known of a tls entry, by its name; on loop 0 only. Never freed before the gateway:
 * metrics point here. */
struct gateway_certificate {
    struct gateway_certificate *next;
    struct gateway_core *gateway;
    char *name;
    bool refused; /* the files on the disk are not in use */
    char why[1024];
    unsigned reloads;
};

/* Files of one kind; on loop 0 only. */
struct gateway_files {
    char why[1024]; /* those on the disk are not in use; "": they are */
};

struct gateway_loop {
    struct gateway_core *gateway;
    struct loop *loop;
    struct workers *workers;
    struct clamd *clamd; /* NULL: none is configured */
    struct inspector *inspector;
    struct icap_server *icap;
    struct ipp_server *ipp;
    struct gateway_remote *remote;
    unsigned draining; /* servers that are not drained yet */
    pthread_t thread;
    bool thread_started;
};

/* On loop 0. */
struct gateway_memory {
    struct timer look;
    struct work trim;
    bool trimming;
    unsigned peak; /* most connections that were seen since memory was given back */
};

/* The gateway as it sees itself (the supervisor's view of it is struct gateway). */
struct gateway_core {
    struct generation generation; /* the first set: owns the arena that names live in */
    struct generation live;       /* a live set while it comes in */
    unsigned number;
    int control_fd; /* -1: the supervisor is gone */
    struct watch *control_watch;
    unsigned n_loops;
    struct gateway_loop *loops;
    struct loop_group *group, *admin_group;
    struct gateway_socket *sockets;
    unsigned n_sockets;
    struct gateway_config *config;
    struct gateway_certificate *certificates;
    struct gateway_files files[FILES_KINDS];
    struct icap_snapshot *snapshot;
    char engines[1024]; /* of the workers */
    struct gateway_policy policy;
    struct gateway_tenants keeper; /* of |tenants| */
    struct tenants *tenants;       /* in force; never NULL once it serves */
    struct gateway_logins logins;
    struct gateway_print print;
    struct icap_servers icap_servers;
    struct icap_server **by_loop;
    struct budget memory, spool_bytes;
    struct scan_slots *scans;
    struct spool_settings spool;
    struct metrics *metrics;
    struct record_log *records;
    bool records_chained;
    struct troubles *troubles;
    struct icap_progress *progress;
    struct admin *admin;
    struct control_server *control;
    struct control_handler control_handler;
    struct signal_watch *term, *interrupt;
    struct jail_report jail;
    struct listener_settings admin_settings;
    uint64_t started_wall_ms;
    bool draining;
    bool last;              /* nobody takes over: the admin listener says so until the end */
    unsigned drained_loops; /* on loop 0 only */
    struct gateway_memory memory_look;
    struct timer drain_timer;
    struct timer drain_again;
    uint64_t fresh_end_ms; /* until then the drain waits for connections that are not open yet */
};

/* "|what|: error text", and returns |e|. */
enum err gateway_fail(struct buf *why, enum err e, const char *what);

/* ---- gateway_order.c ---- */

/* Something that another loop has to do: posted, run there, freed. */
struct order {
    struct task task;
    struct gateway_loop *to;
    void (*run)(struct order *o);
    struct icap_snapshot *snapshot;     /* referenced */
    struct ipp_snapshot *print;         /* referenced */
    struct digest_keys keys;            /* secret */
    struct listener_settings *listener; /* referenced */
    struct gateway_socket *socket;
    struct worker_settings workers;
    int fd;
};
/* Never NULL: see there. */
struct order *order_new(struct gateway_loop *to, void (*run)(struct order *o));
void order_post(struct order *o);

/* ---- gateway_certificates.c ---- */

/* Metrics for the tls entries of the configuration in force. */
void gateway_certificates_learn(struct gateway_core *g);
void gateway_certificates_free(struct gateway_core *g);
/* A PROC_CERTIFICATE. */
void gateway_certificates_hear(struct gateway_core *g, struct span text, bool refused,
                               unsigned reloads);
/* Does every listener have its certificate? Else |why| says which one waits for what. */
bool gateway_certificates_are_there(const struct gateway_core *g, struct buf *why);
/* The array "tls" of the status. */
void gateway_certificates_json(const struct gateway_core *g, struct json *j);

/* ---- gateway_files.c ---- */

void gateway_files_metrics(struct gateway_core *g);
/* A PROC_FILES. */
void gateway_files_hear(struct gateway_core *g, unsigned kind, struct span why);
/* The array "files" of the status. */
void gateway_files_json(const struct gateway_core *g, struct json *j);

/* ---- gateway_store.c ---- */

void gateway_store_metrics(struct gateway_core *g);
/* The object "store" of the status. */
void gateway_store_json(const struct gateway_core *g, struct json *j);
/* Each second: one that failed is tried again every 30 s, as nobody else may ask it for long. */
void gateway_store_look(struct gateway_core *g);

/* ---- gateway_build.c ---- */

/* From now on the kernel takes connections for |s|; nothing happens when it does already. */
NODISCARD enum err gateway_socket_listen(const struct gateway_socket *s);
/* Begins to accept on |s|, which listens and whose loop's thread this is. */
NODISCARD enum err gateway_open_listener(struct gateway_core *g, struct gateway_socket *s,
                                         struct listener_settings *set);
NODISCARD enum err gateway_build(struct gateway_core *g, struct buf *why);
void gateway_unbuild(struct gateway_core *g);

/* ---- gateway_live.c ---- */
/* Messages of the supervisor; the watch's callback. */
void gateway_on_control(void *arg, unsigned events);
/* Says |text| to the supervisor, if there is still one. */
NODISCARD enum err gateway_answer(struct gateway_core *g, enum proc_kind kind, unsigned number,
                                  struct span text);
void gateway_tell(struct gateway_core *g, enum proc_kind kind, unsigned number, struct span text);

/* ---- gateway_drain.c ---- */
/* |last|: no other gateway takes over, Sallyport stops. */
void gateway_core_drain(struct gateway_core *g, uint64_t ms, bool last);
void gateway_stop_loops(struct gateway_core *g);

/* ---- gateway_memory.c ---- */
void gateway_memory_start(struct gateway_core *g);
void gateway_memory_stop(struct gateway_core *g);
/* Is it time, with so many connections as there are now? Takes note of them. */
bool gateway_memory_is_due(struct gateway_memory *m, unsigned connections);

/* ---- gateway_command.c ---- */
bool gateway_command(void *arg, const char *name, const struct json_t *command, unsigned uid,
                     struct buf *out);

/* ---- gateway_asked.c: a command that is being answered ---- */
struct asked {
    struct gateway_core *gateway;
    const struct json_t *command;
    const char *by;
    unsigned uid;
    struct buf *out;
    struct buf why;
};
/* Has the command members besides "command" and |known| (names, closed by NULL)? Complains. */
bool asked_members_are(struct asked *a, const char *const *known);
/* NULL after a complaint. */
const char *asked_text(struct asked *a, const char *key);
/* {"error":...} with the complaint. */
void asked_answer_why(struct asked *a);

/* ---- gateway_tenant_command.c ---- */
bool gateway_tenant_command(void *arg, const char *name, const struct json_t *command, unsigned uid,
                            struct control_ticket *ticket);
void gateway_tenant_list(struct gateway_core *g, struct buf *out);

/* ---- gateway_status.c, gateway_metrics.c ---- */
void gateway_status_json(void *arg, struct buf *out);
/* "engines", by their names; |engines|: bits 1 << PIPELINE_*. */
void gateway_engines_json(unsigned engines, struct json *j);
bool gateway_is_ready(void *arg, struct buf *why);
void gateway_status_metrics(struct gateway_core *g);
/* Of all loops. */
void gateway_clamd_counts(const struct gateway_core *g, struct clamd_counts *ret);

#endif
