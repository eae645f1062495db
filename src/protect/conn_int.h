/* SPDX-License-Identifier: Apache-2.0 */
/* conn_int.h - the body of a context, for the files that ask its policy. */
#ifndef PROTECT_CONN_INT_H
#define PROTECT_CONN_INT_H

#include <net/if.h>
#include <pthread.h>
#include <stdatomic.h>

#include "protect/policy_file.h"
#include "sallyport/conn.h"

#define CTX_NAME_MAX 65u

struct sallyport_ctx {
    pthread_mutex_t reloading;  /* taken first: who reads the file last is whose policy stays */
    pthread_mutex_t lock;       /* of |policy|: held for a copy, never while waiting */
    struct policy_file *policy; /* NULL: none */
    /* Counts policies; 1 is the first. Changes under |lock|, with |policy|; read without it by who
     * only asks whether something changed. */
    _Atomic uint64_t generation;
    bool optional; /* the file need not be there */
    char path[4096];
    char service[CTX_NAME_MAX]; /* "": none */
    char user[CTX_NAME_MAX];    /* "": not known by name */
    uint32_t uid;
};

/* Another reference on the policy in force, and its number; NULL for no context, or none. */
struct policy_file *ctx_policy(const sallyport_ctx *ctx, uint64_t *ret_generation);
/* The number alone, without a lock: cheap enough for each call of a program. */
uint64_t ctx_generation(const sallyport_ctx *ctx);

/* Addresses of a flow with their own memory. */
struct flow {
    struct policy_flow view; /* points into the rest */
    struct sockaddr_storage local, remote;
    char interface[IF_NAMESIZE];
};
/* |local|, |remote| NULL: not known. The interface is asked for only where |policy| names one. */
void flow_fill(struct flow *f, const sallyport_ctx *ctx, const struct policy_file *policy,
               const struct sockaddr *local, const struct sockaddr *remote, int proto);

struct ifaddrs;
/* The one interface of |list| that has |local|. False: none has, or several have, so that it is not
 * known which; |dst| then means nothing. */
bool flow_interface(const struct ifaddrs *list, const struct sockaddr *local,
                    char dst[IF_NAMESIZE]);

#endif
