/* SPDX-License-Identifier: Apache-2.0 */
/* A struct that is initialised by a copy of another has every byte of it: with
 * -ftrivial-auto-var-init=zero gcc 12.2 takes some for padding and clears them. Results of scans
 * are such structs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "adapt/inspection.h"

struct source {
    struct scan_result result;
    uint64_t us;
};

__attribute__((noinline)) static void copy(const struct source *s, struct inspection_result *dst)
{
    const struct inspection_result r = {.scan = s->result, .worker_us = s->us};

    memcpy(dst, &r, sizeof *dst);
}

static void test_all_of_it_is_copied(void **state)
{
    static struct source s;
    static struct inspection_result r;

    (void)state;
    memset(&s, 0x01, sizeof s);
    copy(&s, &r);
    assert_memory_equal(r.scan.why, s.result.why, sizeof s.result.why);
    for (unsigned i = 0; i < FINDINGS_MAX; i++) {
        const struct finding *a = &s.result.findings[i], *b = &r.scan.findings[i];

        assert_memory_equal(a->engine, b->engine, sizeof a->engine);
        assert_memory_equal(a->name, b->name, sizeof a->name);
        assert_memory_equal(a->where, b->where, sizeof a->where);
    }
    assert_memory_equal(r.scan.sniffed, s.result.sniffed, sizeof s.result.sniffed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_of_it_is_copied)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
