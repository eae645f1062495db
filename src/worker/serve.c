/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/serve.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"

/* Processor seconds a job may use beyond its own limit, before SIGXCPU ends the worker: engines
 * look at the clock now and then only. */
#define CPU_GRACE_S 2u

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

/* True when the file's |len| bytes are mapped (or there are none). */
static NODISCARD bool map_file(int fd, uint64_t len, struct engine_file *file,
                               struct scan_result *r)
{
    off_t end = lseek(fd, 0, SEEK_END);

    if (end < 0 || (uint64_t)end < len) {
        engine_judge(r, VERDICT_ERROR, CAUSE_NOT_INSPECTED, ERR_IO,
                     end < 0 ? "the descriptor is no file"
                             : "the file is shorter than it should be");
        return false;
    }
    file->n = (size_t)len;
    if (len == 0)
        return true;
    void *p = mmap(NULL, file->n, PROT_READ, MAP_PRIVATE, fd, 0);

    if (p == MAP_FAILED) {
        if (errno == ENOMEM)
            engine_judge(r, VERDICT_NOT_INSPECTED, CAUSE_TOO_LARGE, OK,
                         "the file is larger than a worker's address space");
        else
            engine_judge(r, VERDICT_ERROR, CAUSE_NOT_INSPECTED, ERR_IO,
                         "the file cannot be mapped: %s", strerrordesc_np(errno));
        return false;
    }
    (void)madvise(p, file->n, MADV_SEQUENTIAL);
    file->p = p;
    return true;
}

static void unmap_file(struct engine_file *file)
{
    if (file->p)
        (void)munmap((void *)(uintptr_t)file->p, file->n);
    file->p = NULL;
}

/* The bits of |wanted| that no engine here has. */
static uint32_t engines_missing(const struct engines *engines, uint32_t wanted)
{
    for (unsigned i = 0; i < engines->n; i++)
        wanted &= ~(uint32_t)engines->list[i].bit;
    return wanted;
}

void worker_inspect(const struct engines *engines, const struct wire_message *job, int fd,
                    struct scan_result *ret)
{
    uint64_t start = clock_mono_us(&clock_system);
    struct engine_file file = {.p = NULL, .name = job->job.name, .type = job->job.type};
    uint32_t wanted = job->job.engines;

    memset(ret, 0, sizeof *ret);
    if (wanted == 0)
        engine_judge(ret, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK, "no engine was asked");
    if (engines_missing(engines, wanted))
        engine_judge(ret, VERDICT_ERROR, CAUSE_ENGINE_DOWN, ERR_ENGINE,
                     "the worker does not have the engine (no rules are loaded)");
    if (map_file(fd, job->job.len, &file, ret)) {
        for (unsigned i = 0; i < engines->n && file.n; i++) {
            uint64_t spent_ms = (clock_mono_us(&clock_system) - start) / 1000;

            file.time_ms = spent_ms < job->job.time_ms ? job->job.time_ms - (uint32_t)spent_ms : 1;
            if (wanted & (uint32_t)engines->list[i].bit)
                engines->list[i].scan(engines->list[i].ctx, &file, ret);
        }
        unmap_file(&file);
    }
    ret->scan_us = clock_mono_us(&clock_system) - start;
}

enum worker_exit worker_serve(int sock, const struct engines *engines)
{
    struct wire_message in, out;

    for (;;) {
        int fd = -1;
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
        worker_inspect(engines, &in, fd, &out.result.result);
        (void)close(fd);
        e = wire_send(sock, &out, -1);
        if (e != OK)
            return e == ERR_RESET ? WORKER_EXIT_DONE : WORKER_EXIT_SOCKET;
    }
}
