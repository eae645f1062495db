/* SPDX-License-Identifier: Apache-2.0 */
/* jail.h - what a process gives up before it meets hostile bytes, layer by layer, and which layers
 * are really on (kernels differ). Used by workers, the zygote and the gateway. */
#ifndef JAIL_JAIL_H
#define JAIL_JAIL_H

#include <sys/types.h>

#include "base/buf.h"

enum jail_layer {
    JAIL_NO_NEW_PRIVS = 1,
    JAIL_RLIMITS = 2,
    JAIL_NAMESPACES = 4, /* own empty network and IPC: zygote and workers */
    JAIL_USER = 8,       /* not root, no capabilities */
    JAIL_LANDLOCK = 16,
    JAIL_SECCOMP = 32,
};

/* WORKER: no network, no files, no new processes, bounded memory and time; a system call outside
 * the list kills it. ZYGOTE: no network, no files (what it needs is open before), forks. GATEWAY:
 * sockets and threads, files only below the spool directory, no exec, no ptrace, no new processes;
 * what is refused answers EPERM, so that a library's surprise does not stop the service. */
enum jail_role { JAIL_WORKER, JAIL_ZYGOTE, JAIL_GATEWAY };

struct jail_spec {
    enum jail_role role;
    bool required;        /* a layer of the role's minimum (all but NAMESPACES and USER, which need
                           * privileges) that cannot be had is an error; else it is left out and told */
    uint64_t memory_max;  /* worker: private writable memory, bytes, with what it has already; 0: no
                           * limit */
    uint64_t map_max;     /* worker: address space for mapped files, bytes, on top of memory_max */
    uint64_t cpu_seconds; /* worker: soft RLIMIT_CPU, SIGXCPU ends it; 0: no limit. It may raise the
                           * limit from job to job */
    uid_t uid;            /* switch to it when root; 0: stay. Impossible: always an error */
    gid_t gid;
    int keep_dir_fd;    /* gateway: this directory stays usable (the spool); -1: none */
    unsigned inherited; /* worker: report.on of the zygote that it was forked from, whose namespaces
                         * it shares; 0: none */
    const char *const *read_paths; /* gateway: files and directories that stay readable besides
                                    * those of the resolver and the loader; NULL-ended, or NULL.
                                    * What does not exist is left out */
};

struct jail_report {
    unsigned on;      /* JAIL_* */
    int landlock_abi; /* 0: none */
};

/* Enters. On ERR_POLICY (a required layer is missing) |why| names it and what to do; the process
 * must end then, since some layers may be on. Single-threaded callers only, but for GATEWAY's
 * seccomp and Landlock, which cover threads made later. |why| may be NULL.
 *
 * A sanitizer build (SALLYPORT_SANITIZED) sets no_new_privs only, since its runtime needs what the
 * jail takes; `required` is met then, and the report's text says so. */
NODISCARD enum err jail_enter(const struct jail_spec *spec, struct jail_report *ret,
                              struct buf *why);
/* "no-new-privs rlimits landlock(abi 7) seccomp": for the start line. */
void jail_report_text(const struct jail_report *r, struct buf *out);

#endif
