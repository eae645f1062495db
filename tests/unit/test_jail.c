/* SPDX-License-Identifier: Apache-2.0 */
/* test_jail.c - what the jail says about itself. What it does is tests/e2e/test_jail.py's, which
 * tries it from inside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/jail.h"

#if defined(SALLYPORT_SANITIZED) && SALLYPORT_SANITIZED
#define SUFFIX " (sanitizer build: no jail)"
#else
#define SUFFIX ""
#endif

static const struct {
    struct jail_report report;
    const char *text;
} rows[] = {
    {{.on = 0},                                                                                  "none" SUFFIX           },
    {{.on = JAIL_NO_NEW_PRIVS},                                                                  "no-new-privs" SUFFIX   },
    {{.on = JAIL_NO_NEW_PRIVS | JAIL_RLIMITS | JAIL_LANDLOCK | JAIL_SECCOMP, .landlock_abi = 7},
     "no-new-privs rlimits landlock(abi 7) seccomp" SUFFIX                                                               },
    {{.on = JAIL_USER | JAIL_NAMESPACES, .landlock_abi = 7},                                     "namespaces user" SUFFIX},
};

static void test_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf text;

        buf_init(&text, 0);
        jail_report_text(&rows[i].report, &text);
        assert_string_equal(buf_cstr(&text), rows[i].text);
        buf_done(&text);
    }
}

/* In a process of its own: there is no way back. */
static void test_enter_gateway(void **state)
{
    const struct jail_spec spec = {.role = JAIL_GATEWAY, .keep_dir_fd = -1};
    struct jail_report report = {0};
    int status;
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(jail_enter(&spec, &report, NULL) == OK && (report.on & JAIL_NO_NEW_PRIVS) &&
                      prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1
                  ? 0
                  : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_enter_gateway),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
