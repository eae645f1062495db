/* SPDX-License-Identifier: Apache-2.0 */
/* gateway_int.h - the bodies behind gateway.h, for its own files: gateway.c (start, messages of the
 * supervisor, drain), gateway_config.c (a configuration made ready for use), gateway_status.c (what
 * it tells about itself). */
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
#include "proc/generation.h"
#include "proc/settings.h"

/* One configuration, ready: settings and what was made of them. Counted: the gateway, snapshots,
 * listeners' settings and thus connections hold it; the last one that goes frees it, on whatever
 * thread. Immutable but for |listeners|, which is loop 0's. */
struct gateway_config {
    _Atomic unsigned refs;
    struct arena mem;
    struct settings settings;
    struct listener_settings **listeners; /* one per settings.listeners, referenced */
};
/* Parses the text of |g|, loads certificates from its files. |why| gets every complaint. */
NODISCARD enum err gateway_config_new(const struct generation *g, struct gateway_config **ret,
                                      struct buf *why);
/* The gateway has a newer one: lets go of it, and of its listeners' settings. NULL is fine. */
void gateway_config_retire(struct gateway_config *c);
/* The services of |c|, with |engines| in their ISTags. */
NODISCARD enum err gateway_config_snapshot(struct gateway_config *c, const char *engines,
                                           struct metrics *m, struct icap_snapshot **ret);
/* Settings of the listener |name|; NULL: not one of the configuration ("admin", "control", or
 * gone). */
struct listener_settings *gateway_config_listener(const struct gateway_config *c, const char *name);

/* A listening socket of one loop. |name| lives in the generation's arena. */
struct gateway_socket {
    const char *name;
    unsigned loop;
    int fd;
    struct listener *listener; /* NULL: the control socket */
};

struct gateway_core;

struct gateway_loop {
    struct gateway_core *gateway;
    struct loop *loop;
    struct workers *workers;
    struct icap_server *icap;
    pthread_t thread;
    bool thread_started;
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
    struct icap_snapshot *snapshot;
    char engines[1024];
    struct icap_servers icap_servers;
    struct icap_server **by_loop;
    struct budget memory, scans, spool_bytes;
    struct spool_settings spool;
    struct metrics *metrics;
    struct record_log *records;
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
    struct timer drain_timer;
    struct timer drain_again;
    uint64_t fresh_end_ms; /* until then the drain waits for connections that are not open yet */
};

/* |last|: no other gateway takes over, Sallyport stops. */
void gateway_core_drain(struct gateway_core *g, uint64_t ms, bool last);

/* ---- gateway_status.c ---- */
void gateway_status_json(void *arg, struct buf *out);
bool gateway_is_ready(void *arg, struct buf *why);
void gateway_status_metrics(struct gateway_core *g);

#endif
