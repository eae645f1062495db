/* SPDX-License-Identifier: Apache-2.0 */
/* test_fake_workers.h - a zygote and its workers, played by the test: the other ends of the sockets
 * that adapt/workers.c talks to. Everything happens in fake_step(). */
#ifndef TEST_FAKE_WORKERS_H
#define TEST_FAKE_WORKERS_H

#include "test_net.h"

#include <errno.h>
#include <sys/mman.h>

#include "adapt/worker_wire.h"

#define FAKE_WORKERS_MAX 64

/* What a worker does with a file that comes. */
enum fake_mode {
    FAKE_HOLD,  /* nothing, until the test says */
    FAKE_ANSWER /* gives |answer| */
};

struct fake_worker {
    int fd; /* -1: gone */
    uint32_t pid;
    bool busy;
    struct wire_message job; /* the last one that came */
    int job_fd;              /* while busy */
};

struct fake_zygote {
    int channel; /* -1: gone */
    struct fake_worker workers[FAKE_WORKERS_MAX];
    unsigned n; /* forked so far */
    unsigned n_forks, n_kills, n_jobs;
    uint32_t fork_id, killed_pid;
    bool refuses, silent; /* what comes of FORK: FORK_FAILED, or nothing */
    enum fake_mode mode;
    struct scan_result answer;
};

/* Returns the gateway's end of the channel. */
static inline int fake_open(struct fake_zygote *z)
{
    int pair[2];

    *z = (struct fake_zygote){.channel = -1};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
                     0);
    z->channel = pair[0];
    return pair[1];
}

static inline void fake_drop_file(struct fake_worker *k)
{
    if (k->busy)
        (void)close(k->job_fd);
    k->busy = false;
}

/* As if the process had ended. */
static inline void fake_die(struct fake_worker *k)
{
    fake_drop_file(k);
    if (k->fd >= 0)
        (void)close(k->fd);
    k->fd = -1;
}

static inline void fake_close_channel(struct fake_zygote *z)
{
    if (z->channel >= 0)
        (void)close(z->channel);
    z->channel = -1;
}

static inline void fake_close(struct fake_zygote *z)
{
    fake_close_channel(z);
    for (unsigned i = 0; i < z->n; i++)
        fake_die(&z->workers[i]);
}

static inline void fake_fork(struct fake_zygote *z, uint32_t id)
{
    struct wire_message m = {
        .kind = WIRE_FORKED, .forked = {.id = id, .pid = 1000 + z->n}
    };
    struct fake_worker *k = &z->workers[z->n];
    int pair[2];

    assert_true(z->n < FAKE_WORKERS_MAX);
    z->n++;
    /* Blocking at the gateway's end, as a careless zygote's would be. */
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    *k = (struct fake_worker){.fd = pair[0], .pid = m.forked.pid};
    assert_int_equal(wire_send(z->channel, &m, pair[1]), OK);
    (void)close(pair[1]);
}

static inline void fake_order(struct fake_zygote *z, const struct wire_message *m)
{
    if (m->kind == WIRE_KILL) {
        z->n_kills++;
        z->killed_pid = m->kill.pid;
        for (unsigned i = 0; i < z->n; i++)
            if (z->workers[i].pid == m->kill.pid)
                fake_die(&z->workers[i]);
        return;
    }
    assert_int_equal(m->kind, WIRE_FORK);
    z->n_forks++;
    z->fork_id = m->fork.id;
    if (z->silent)
        return;
    if (z->refuses) {
        struct wire_message no = {.kind = WIRE_FORK_FAILED, .fork_failed = {.id = m->fork.id}};

        (void)span_copy(SPAN("no more processes"), no.fork_failed.text, sizeof no.fork_failed.text);
        assert_int_equal(wire_send(z->channel, &no, -1), OK);
        return;
    }
    fake_fork(z, m->fork.id);
}

/* The answer of a busy worker, with what it found in the file; |objects| stays the caller's, -1:
 * none. */
static inline void fake_answer_objects(struct fake_worker *k, const struct scan_result *r,
                                       int objects)
{
    struct wire_message m = {.kind = WIRE_RESULT};

    assert_true(k->busy);
    m.result.id = k->job.job.id;
    m.result.result = *r;
    m.result.has_objects = objects >= 0;
    assert_int_equal(wire_send(k->fd, &m, objects), OK);
    fake_drop_file(k);
}

static inline void fake_answer(struct fake_worker *k, const struct scan_result *r)
{
    fake_answer_objects(k, r, -1);
}

static inline void fake_work(struct fake_zygote *z, struct fake_worker *k)
{
    struct wire_message m;
    int fd;
    enum err e = wire_receive(k->fd, &m, &fd);

    if (e == ERR_AGAIN)
        return;
    if (e != OK) {
        fake_die(k); /* the gateway closed its end: a worker goes then */
        return;
    }
    assert_int_equal(m.kind, WIRE_JOB);
    assert_false(k->busy);
    k->busy = true;
    k->job = m;
    k->job_fd = fd;
    z->n_jobs++;
    if (z->mode == FAKE_ANSWER)
        fake_answer(k, &z->answer);
}

/* Takes what waits on all sockets. */
static inline void fake_step(struct fake_zygote *z)
{
    struct wire_message m;
    int fd;

    while (z->channel >= 0) {
        enum err e = wire_receive(z->channel, &m, &fd);

        if (e == ERR_AGAIN)
            break;
        if (e != OK)
            fake_close_channel(z);
        else
            fake_order(z, &m);
    }
    for (unsigned i = 0; i < z->n; i++)
        if (z->workers[i].fd >= 0)
            fake_work(z, &z->workers[i]);
}

static inline bool fake_is_busy(const struct fake_zygote *z)
{
    for (unsigned i = 0; i < z->n; i++)
        if (z->workers[i].busy)
            return true;
    return false;
}

/* The first worker that holds a file; the test fails when there is none. */
static inline struct fake_worker *fake_busy(struct fake_zygote *z)
{
    for (unsigned i = 0; i < z->n; i++)
        if (z->workers[i].busy)
            return &z->workers[i];
    fail_msg("no worker holds a file");
    return &z->workers[0];
}

static inline unsigned fake_alive(const struct fake_zygote *z)
{
    unsigned n = 0;

    for (unsigned i = 0; i < z->n; i++)
        n += z->workers[i].fd >= 0;
    return n;
}

static inline struct scan_result fake_found(const char *name)
{
    struct scan_result r = {.verdict = VERDICT_BLOCK, .cause = CAUSE_INFECTED, .n_findings = 1};

    (void)span_copy(SPAN("yara"), r.findings[0].engine, sizeof r.findings[0].engine);
    (void)span_copy(span_of(name), r.findings[0].name, sizeof r.findings[0].name);
    return r;
}

#endif
