/* SPDX-License-Identifier: Apache-2.0 */
/* without.c - runs a program on a kernel that lacks something:
 *
 *     without landlock|seccomp|namespaces PROGRAM [ARGUMENT]...
 *
 * A filter answers the system calls of the feature as a kernel without it does. Features may be
 * joined by commas. */
#include <errno.h>
#include <linux/prctl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <seccomp.h>

#include "base/span.h"

static const struct {
    const char *feature;
    int syscall;
    int answer;
} missing[] = {
    {"landlock",   SCMP_SYS(landlock_create_ruleset), ENOSYS},
    {"landlock",   SCMP_SYS(landlock_add_rule),       ENOSYS},
    {"landlock",   SCMP_SYS(landlock_restrict_self),  ENOSYS},
    {"namespaces", SCMP_SYS(unshare),                 EPERM },
    {"seccomp",    SCMP_SYS(seccomp),                 ENOSYS},
};

static int take_away(scmp_filter_ctx filter, struct span feature)
{
    int rc = -EINVAL;

    for (size_t i = 0; i < ARRAY_LEN(missing); i++) {
        if (!span_eq(feature, span_of(missing[i].feature)))
            continue;
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)missing[i].answer),
                              missing[i].syscall, 0);
        if (rc != 0)
            return rc;
    }
    if (span_eq(feature, SPAN("seccomp"))) {
        struct scmp_arg_cmp set = {0, SCMP_CMP_EQ, PR_SET_SECCOMP, 0};

        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(prctl), 1, set);
    }
    return rc;
}

int main(int argc, char **argv)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int rc = filter ? 0 : -ENOMEM;

    if (argc < 3) {
        (void)fputs("usage: without FEATURE[,FEATURE] PROGRAM [ARGUMENT]...\n", stderr);
        return 2;
    }
    for (struct span rest = span_of(argv[1]); rest.p && rc == 0;)
        rc = take_away(filter, span_cut(&rest, ','));
    if (rc == 0)
        rc = seccomp_load(filter);
    if (rc == 0) {
        (void)execvp(argv[2], argv + 2);
        rc = -errno;
    }
    (void)fprintf(stderr, "without: %s\n", strerror(-rc));
    return 2;
}
