/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/serve.h"

#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "worker/inspect.h"

/* Processor seconds a job may use beyond its own limit, before SIGXCPU ends the worker: engines
 * look at the clock now and then only. */
#define CPU_GRACE_S      2u
#define SEND_PATIENCE_MS 1000u

/* A worker lives through many jobs, but RLIMIT_CPU counts from its birth. Without a limit (best
 * effort, sanitizers) there is nothing to move. */
static void allow_cpu_time(uint32_t time_ms)
{
    struct rusage used;
    struct rlimit cpu;

    if (getrlimit(RLIMIT_CPU, &cpu) != 0 || cpu.rlim_cur == RLIM_INFINITY ||
        getrusage(RUSAGE_SELF, &used) != 0)
        return;
    rlim_t now = (rlim_t)used.ru_utime.tv_sec + (rlim_t)used.ru_stime.tv_sec + 1;
    rlim_t soft = now + time_ms / 1000 + CPU_GRACE_S;

    cpu.rlim_cur = soft < cpu.rlim_max ? soft : cpu.rlim_max;
    (void)setrlimit(RLIMIT_CPU, &cpu);
}

/* The kernel refuses another descriptor while too many of one user's are on their way. They will
 * arrive; a worker may not sleep, so it yields. */
static NODISCARD enum err send_result(int sock, struct wire_message *m, int objects)
{
    uint64_t end = clock_mono_ms(&clock_system) + SEND_PATIENCE_MS;
    enum err e = wire_send(sock, m, objects);

    while (e == ERR_BUSY && clock_mono_ms(&clock_system) < end) {
        (void)sched_yield();
        e = wire_send(sock, m, objects);
    }
    if (e != ERR_BUSY)
        return e;
    m->result.has_objects = false;
    engine_judge(&m->result.result, VERDICT_ERROR, CAUSE_OVERLOAD, ERR_BUSY,
                 "what was unpacked cannot be handed over now");
    return wire_send(sock, m, -1);
}

enum worker_exit worker_serve(int sock, const struct engines *engines)
{
    struct wire_message in, out;

    for (;;) {
        int fd = -1, objects = -1;
        enum err e = wire_receive(sock, &in, &fd);

        if (e == ERR_EOF || e == ERR_RESET)
            return WORKER_EXIT_DONE;
        if (e == ERR_SYNTAX || (e == OK && in.kind != WIRE_JOB))
            return WORKER_EXIT_PROTOCOL;
        if (e != OK)
            return WORKER_EXIT_SOCKET;
        allow_cpu_time(in.job.time_ms);
        memset(&out, 0, sizeof out);
        out.kind = WIRE_RESULT;
        out.result.id = in.job.id;
        worker_inspect(engines, &in, fd, &out.result.result, &objects);
        (void)close(fd);
        out.result.has_objects = objects >= 0;
        e = send_result(sock, &out, objects);
        if (objects >= 0)
            (void)close(objects);
        if (e != OK)
            return e == ERR_RESET ? WORKER_EXIT_DONE : WORKER_EXIT_SOCKET;
    }
}
