/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor.h - the process that is started by systemd or a shell: it opens and checks everything,
 * starts the zygote and the gateway, hands descriptors down, watches files, and restarts what dies.
 * It parses nothing from the net. */
#ifndef PROC_SUPERVISOR_H
#define PROC_SUPERVISOR_H

#include <stdbool.h>

#define SUPERVISOR_CONFIG_DEFAULT "/etc/sallyport/sallyport.yaml"

struct supervisor_options {
    const char *config_path;  /* NULL: SUPERVISOR_CONFIG_DEFAULT, or one that is made here */
    bool demo;                /* serve with a configuration, CA and certificate made on the spot */
    const char *certificates; /* serve what stands in this directory (mounted.h); NULL: no */
    int port; /* the demo's ICAP port, or that of |certificates|; -1: the usual ones, 0: any free
                 ones */
    const char *state;       /* in place of the configuration's; NULL: as configured */
    const char *worker_path; /* NULL: $SALLYPORT_WORKER, beside this program, or as installed */
    char *const *argv;       /* main()'s, closed by NULL: SIGUSR2 starts the same again */
};

/* Runs until SIGTERM or SIGINT; the process's exit code: 0 after a drain, 1 when the gateway or the
 * worker cannot be brought up, 2 for a wrong configuration, a second instance or a port that is
 * taken. */
int supervisor_main(const struct supervisor_options *o);

#endif
