/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "jail/jail_layers.h"

struct limit {
    __rlimit_resource_t what;
    const char *name;
    rlim_t max;
};

/* Nobody leaves a core file: it would hold keys or documents. */
static const struct limit everyone[] = {
    {RLIMIT_CORE, "RLIMIT_CORE", 0}
};

/* A worker creates no process; it holds /dev/null three times, its socket, one file, and one memfd
 * for what was in it. Few more, for RLIMIT_DATA does not count what is in a memfd. */
static const struct limit worker[] = {
    {RLIMIT_NOFILE,     "RLIMIT_NOFILE",     8},
    {RLIMIT_NPROC,      "RLIMIT_NPROC",      0},
    {RLIMIT_MEMLOCK,    "RLIMIT_MEMLOCK",    0},
    {RLIMIT_MSGQUEUE,   "RLIMIT_MSGQUEUE",   0},
    {RLIMIT_SIGPENDING, "RLIMIT_SIGPENDING", 0},
};

static NODISCARD enum err set_limit(const struct limit *l, struct buf *why)
{
    struct rlimit now;

    if (getrlimit(l->what, &now) == 0) {
        rlim_t max = now.rlim_max < l->max ? now.rlim_max : l->max;

        if (setrlimit(l->what, &(struct rlimit){max, max}) == 0)
            return OK;
    }
    buf_fmt(why, "setrlimit(%s): %s", l->name, strerror(errno));
    return ERR_MISSING;
}

static NODISCARD enum err set_all(const struct limit *l, size_t n, struct buf *why)
{
    for (size_t i = 0; i < n; i++)
        TRY(set_limit(&l[i], why));
    return OK;
}

/* RLIMIT_DATA counts private writable memory, which is what a parser's appetite is made of;
 * RLIMIT_AS alone would count the mapped file, too. seccomp refuses the mappings that RLIMIT_DATA
 * does not see (shared and growing downwards). A memfd is as long as what was unpacked in that
 * memory, at most; no other file that a worker holds can be written. */
static NODISCARD enum err limit_memory(const struct jail_spec *spec, struct buf *why)
{
    struct limit l[] = {
        {RLIMIT_DATA,  "RLIMIT_DATA",  spec->memory_max},
        {RLIMIT_FSIZE, "RLIMIT_FSIZE", spec->memory_max},
        {RLIMIT_AS,    "RLIMIT_AS",    RLIM_INFINITY   }
    };

    if (spec->memory_max == 0)
        return OK;
    if (__builtin_add_overflow(spec->memory_max, spec->map_max, &l[2].max))
        l[2].max = RLIM_INFINITY;
    return set_all(l, ARRAY_LEN(l), why);
}

/* Only the soft limit: the worker moves it on with every job that it is given. */
static NODISCARD enum err limit_cpu(const struct jail_spec *spec, struct buf *why)
{
    struct rlimit cpu;

    if (spec->cpu_seconds == 0)
        return OK;
    if (getrlimit(RLIMIT_CPU, &cpu) == 0) {
        cpu.rlim_cur = spec->cpu_seconds < cpu.rlim_max ? spec->cpu_seconds : cpu.rlim_max;
        if (setrlimit(RLIMIT_CPU, &cpu) == 0)
            return OK;
    }
    buf_fmt(why, "setrlimit(RLIMIT_CPU): %s", strerror(errno));
    return ERR_MISSING;
}

enum err jail_rlimits(const struct jail_spec *spec, struct jail_report *r, struct buf *why)
{
    (void)r;
    TRY(set_all(everyone, ARRAY_LEN(everyone), why));
    if (spec->role != JAIL_WORKER)
        return OK;
    TRY(set_all(worker, ARRAY_LEN(worker), why));
    TRY(limit_memory(spec, why));
    return limit_cpu(spec, why);
}
