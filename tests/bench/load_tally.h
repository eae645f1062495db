/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_tally.h - counts, latencies and faults of one run, and their report.
 */
#ifndef LOAD_TALLY_H
#define LOAD_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "load_answer.h"

/* Latencies in powers of two, each cut into 64 steps: within 1.6 % from 1 ns to hours. */
#define TALLY_STEPS 64
#define TALLY_SLOTS (64 * TALLY_STEPS)

struct latencies {
    uint64_t n, max_ns;
    uint64_t slot[TALLY_SLOTS];
};

struct tally {
    /* Inside the measured window. */
    uint64_t requests, body_bytes;
    struct latencies passed, blocked;
    double seconds;
    /* Of the whole run, what came before and after the window included. */
    uint64_t requests_total, bytes_in, bytes_out;
    uint64_t connects, handshakes, resumed, reconnects, unfinished;
    uint64_t continues, status_200, status_204, status_206;
    uint64_t held; /* connections that were open to the end, with --hold */
    uint64_t faults[FAULTS_N], faults_total;
    char first[FAULTS_N][160]; /* the detail of the first fault of each kind */
};

/* A complete answer; |counts|: it lies in the measured window. */
void tally_answer(struct tally *t, const struct answer *a, uint64_t ns, bool counts);

void tally_fault(struct tally *t, enum answer_fault f, const char *detail);

/* The report on stdout. |n_conns|: how many connections the run had. */
void tally_print(const struct tally *t, unsigned n_conns, bool json);

#endif
