/* SPDX-License-Identifier: Apache-2.0 */
/* The printing engine inside a worker's jail: every sample, and bytes of all kinds, without a
 * system call that kills. Sanitizer builds have no jail; there this shows only that nothing
 * crashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/jail.h"
#include "test_print_samples.h"
#include "worker/engine_printing.h"

#define ROUNDS      500u
#define EXIT_JAIL   99
#define EXIT_BROKEN 98

static struct scan_result look(const struct engine *e, struct span in)
{
    const struct engine_file file = {.p = (const uint8_t *)in.p,
                                     .n = in.n,
                                     .name = "",
                                     .type = "",
                                     .role = OBJECT_BODY,
                                     .where = "",
                                     .time_ms = 1000};
    struct scan_result r;

    memset(&r, 0, sizeof r);
    e->scan(e->ctx, &file, &r);
    return r;
}

/* As many findings as the sample says, and its pages. */
static bool is_right(const struct engine *e, const struct print_sample *s)
{
    struct scan_result r = look(e, s->in);
    unsigned n = s->finds[0] != '\0';

    for (const char *p = s->finds; *p; p++)
        n += *p == ' ';
    return r.n_findings == n && r.pages == s->pages;
}

/* Samples with a byte turned over here and there, and one behind the other. */
static bool survives_noise(const struct engine *e)
{
    char bytes[4096] = {0};
    uint32_t seed = 1;

    for (unsigned i = 0; i < ROUNDS; i++) {
        size_t n = 0;

        while (n < sizeof bytes - 512) {
            seed = seed * 1664525u + 1013904223u;
            struct span in =
                span_sub(print_samples[(seed >> 8) % ARRAY_LEN(print_samples)].in, 0, 512);

            memcpy(bytes + n, in.p, in.n);
            n += in.n ? in.n : 1;
            bytes[(seed >> 4) % n] = (char)(seed >> 24);
        }
        if (look(e, (struct span){bytes, n}).n_findings > FINDINGS_MAX)
            return false;
    }
    return true;
}

/* In the child: the exit code. */
static int in_jail(const struct engine *e)
{
    const struct jail_spec spec = {
        .role = JAIL_WORKER, .required = true, .cpu_seconds = 60, .keep_dir_fd = -1};
    struct jail_report report;

    if (jail_enter(&spec, &report, NULL) != OK)
        return EXIT_JAIL;
    for (size_t i = 0; i < ARRAY_LEN(print_samples); i++)
        if (print_samples[i].in.n && !is_right(e, &print_samples[i]))
            return (int)(i % 90) + 1;
    return survives_noise(e) ? 0 : EXIT_BROKEN;
}

static void test_in_jail(void **state)
{
    struct buf describe;
    struct engine e;
    int status = 0;

    (void)state;
    buf_init(&describe, 0);
    e = engine_printing(&describe);
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(in_jail(&e));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WIFSIGNALED(status) ? WTERMSIG(status) : 0, 0);
    assert_int_equal(WEXITSTATUS(status), 0);
    buf_done(&describe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_jail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
