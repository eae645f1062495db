/* SPDX-License-Identifier: Apache-2.0 */
/* gateway_print.h - printing in the gateway process: the printers in force, what Digest remembers
 * of challenges, and the servers of the loops. For the files of gateway_int.h.
 *
 * Keys of challenges are each process's own, so that nobody's answer is good for two of them; who
 * asks another process than the one that challenged him is asked once more. Each is used for an
 * hour, or as long as a challenge is good, and then known for as long again. */
#ifndef PROC_GATEWAY_PRINT_H
#define PROC_GATEWAY_PRINT_H

#include "http/digest_replay.h"
#include "ipp/ipp_server.h"

struct gateway_core;
struct json;
struct gateway_config;
struct gateway_loop;
struct tenants;

struct gateway_print {
    struct digest_keys keys;
    uint64_t rotated_wall_ms; /* when the newest one was made */
    struct timer look;
    struct digest_replay *replay;
    struct throttle_shared *failures, *asked;
    struct ipp_refusals *refusals;
    struct ipp_jobs_numbers numbers; /* shared by the loops */
    struct ipp_snapshot *snapshot;   /* in force */
    struct ipp_servers servers;
};

/* Before loops are made. */
NODISCARD enum err gateway_print_init(struct gateway_core *g, struct buf *why);
NODISCARD enum err gateway_print_build_loop(struct gateway_loop *gl, uint64_t id_seed);
/* Keys of challenges change from now on; until then. */
void gateway_print_start(struct gateway_core *g);
void gateway_print_stop(struct gateway_core *g);
/* The loop's server goes. */
void gateway_print_free_loop(struct gateway_loop *gl);
void gateway_print_done(struct gateway_core *g);

/* gateway_print_command.c: "print-jobs" and "printers" of the control socket. True: took |ticket|.
 */
struct control_ticket;
struct json_t; /* jansson's */
bool gateway_print_command(void *arg, const char *name, const struct json_t *command,
                           struct control_ticket *ticket);

/* gateway_print_status.c: "printers" of the status; and "require" of one, as a list. */
void gateway_print_json(const struct gateway_core *g, struct json *j);
void gateway_print_require_json(const struct ipp_printer_settings *set, struct json *j);

/* Of |config|, with the engines and tenants in force. */
NODISCARD enum err gateway_print_snapshot(struct gateway_core *g, struct gateway_config *config,
                                          struct ipp_snapshot **ret, struct buf *why);
/* To all loops; takes the reference over. */
void gateway_print_publish(struct gateway_core *g, struct ipp_snapshot *snapshot);

#endif
