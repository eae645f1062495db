/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipp_conn.h - one connection of ippload's closed loop, which has a thread of its own.
 */
#ifndef IPP_CONN_H
#define IPP_CONN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

#include "ipp_answer.h"
#include "ipp_plan.h"
#include "load_tally.h"

/* What all connections share. */
struct ipp_run {
    const struct ipp_plan *plan;
    SSL_CTX *tls; /* NULL: plain */
    struct sockaddr_storage addr;
    socklen_t addr_len;
    uint64_t timeout_ns; /* of one answer */
    uint64_t from_ns, to_ns;
    uint64_t faults_max; /* then the run stops */

    pthread_mutex_t lock; /* guards what follows */
    struct tally tally;
    uint64_t requests_left; /* to begin */
    uint64_t serial;        /* of the next request */
    uint64_t last_ns;       /* of the last answer that counts */
};

struct ipp_conn {
    struct ipp_run *run;
    int fd; /* -1: not open */
    SSL *ssl;
    struct ipp_answer answer;
    struct ipp_plan_request request;
    uint64_t since_ns;  /* of the request, or of its connection where each has its own */
    uint64_t n_answers; /* right ones */
};

uint64_t ipp_now_ns(void);

/* For pthread_create(): |arg| is a struct ipp_conn. Sends requests until the run is over. */
void *ipp_conn_main(void *arg);

#endif
