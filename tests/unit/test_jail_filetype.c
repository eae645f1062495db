/* SPDX-License-Identifier: Apache-2.0 */
/* The filetype engine inside a worker's jail: every sample, and bytes of all kinds, without a
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
#include "test_filetype_samples.h"
#include "worker/engine_filetype.h"

#define ROUNDS    500u
#define LARGE     (3u << 20)
#define EXIT_JAIL 99

static char large[LARGE];

/* True when the engine has said some type of it. */
static bool sniff(const struct engine *e, struct span in, char sniffed[OBJECT_TYPE_MAX + 1])
{
    const struct engine_file file = {.p = (const uint8_t *)in.p,
                                     .n = in.n,
                                     .name = "",
                                     .type = "",
                                     .role = OBJECT_BODY,
                                     .where = "",
                                     .sniffed = sniffed,
                                     .time_ms = 1000};
    struct scan_result r;

    memset(&r, 0, sizeof r);
    sniffed[0] = '\0';
    e->scan(e->ctx, &file, &r);
    return strchr(sniffed, '/') != NULL;
}

/* Samples with a byte turned over here and there, and one behind the other: rare paths of libmagic.
 */
static bool sniff_broken(const struct engine *e)
{
    char bytes[8192], sniffed[OBJECT_TYPE_MAX + 1];
    uint32_t seed = 1;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct span in = filetype_samples[i % ARRAY_LEN(filetype_samples)].in;

        memset(bytes, i % 2 ? ' ' : 0, sizeof bytes);
        memcpy(bytes, in.p, in.n < sizeof bytes ? in.n : sizeof bytes);
        for (unsigned k = 0; k < 4; k++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[(seed >> 8) % (k ? sizeof bytes : 64)] = (char)(seed >> 24);
        }
        if (!sniff(e, (struct span){bytes, sizeof bytes}, sniffed))
            return false;
    }
    return true;
}

/* In the child: the exit code. */
static int in_jail(const struct engine *e)
{
    const struct jail_spec spec = {
        .role = JAIL_WORKER, .required = true, .cpu_seconds = 60, .keep_dir_fd = -1};
    char sniffed[OBJECT_TYPE_MAX + 1];
    struct jail_report report;

    if (!sniff(e, SPAN("first use\n"), sniffed) || jail_enter(&spec, &report, NULL) != OK)
        return EXIT_JAIL;
    for (size_t i = 0; i < ARRAY_LEN(filetype_samples); i++)
        if (!sniff(e, filetype_samples[i].in, sniffed) ||
            strcmp(sniffed, filetype_samples[i].type) != 0)
            return (int)i + 1;
    if (!sniff(e, (struct span){large, sizeof large}, sniffed))
        return EXIT_JAIL + 1;
    return sniff_broken(e) ? 0 : EXIT_JAIL + 2;
}

static void test_in_jail(void **state)
{
    struct buf describe, errors;
    struct engine e;
    int status = 0;

    (void)state;
    buf_init(&describe, 0);
    buf_init(&errors, 0);
    assert_int_equal(engine_filetype(NULL, 0, &e, &describe, &errors), OK);
    memset(large, 'a', sizeof large);
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(in_jail(&e));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WIFSIGNALED(status) ? WTERMSIG(status) : 0, 0);
    assert_int_equal(WEXITSTATUS(status), 0);
    engine_filetype_done(&e);
    buf_done(&describe);
    buf_done(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_jail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
