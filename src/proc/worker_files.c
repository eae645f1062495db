/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/worker_files.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/span.h"

#define WORKER_NAME     "sallyport-worker"
#define INSTALLED_RULES SALLYPORT_DATADIR "/rules/sallyport.yar"

static bool beside(const char *exe, char *dst, size_t cap)
{
    struct span dir = span_of(exe);

    while (dir.n > 0 && dir.p[dir.n - 1] != '/')
        dir.n--;
    int n = snprintf(dst, cap, "%.*s" WORKER_NAME, (int)dir.n, dir.p);

    return n > 0 && (size_t)n < cap && access(dst, X_OK) == 0;
}

const char *worker_files_program(const char *named, const char *exe, char *dst, size_t cap)
{
    const char *environment = getenv("SALLYPORT_WORKER");

    if (named)
        return named;
    if (environment && *environment)
        return environment;
    return beside(exe, dst, cap) ? dst : SALLYPORT_LIBEXECDIR "/" WORKER_NAME;
}

/* A program that still lies beside its worker was built and not installed: then the rules of its
 * source tree are meant, whatever an older installation left. */
const char *worker_files_rules(const char *exe)
{
    const char *named = getenv("SALLYPORT_RULES");
    char worker[4096];

    if (named && *named)
        return named;
    if (beside(exe, worker, sizeof worker) && access(SALLYPORT_SOURCE_RULES, R_OK) == 0)
        return SALLYPORT_SOURCE_RULES;
    return access(INSTALLED_RULES, R_OK) == 0 || access(SALLYPORT_SOURCE_RULES, R_OK) != 0
               ? INSTALLED_RULES
               : SALLYPORT_SOURCE_RULES;
}
