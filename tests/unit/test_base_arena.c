/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"

static void test_objects_are_zeroed_aligned_and_apart(void **state)
{
    struct arena a;
    unsigned char *seen[300];
    size_t size[300];
    unsigned seed = 3;

    (void)state;
    arena_init(&a, 0);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < ARRAY_LEN(seen); i++) {
            size[i] = (size_t)rand_r(&seed) % (i % 50 == 0 ? 20000 : 200);
            seen[i] = arena_alloc(&a, size[i]);
            assert_non_null(seen[i]);
            assert_int_equal((uintptr_t)seen[i] % _Alignof(max_align_t), 0);
            for (size_t k = 0; k < size[i]; k++)
                assert_int_equal(seen[i][k], 0);
            memset(seen[i], (int)i, size[i]);
        }
        for (unsigned i = 0; i < ARRAY_LEN(seen); i++)
            for (size_t k = 0; k < size[i]; k++)
                assert_int_equal(seen[i][k], (unsigned char)i);
        assert_false(a.failed);
        arena_reset(&a);
        assert_int_equal(a.used, 0);
    }
    arena_done(&a);
    assert_null(a.chunks);
}

static void test_budget(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 1024);
    assert_non_null(arena_alloc(&a, 1000));
    assert_int_equal(a.used, 1008); /* with rounding */
    assert_null(arena_alloc(&a, 17));
    assert_true(a.failed);
    assert_non_null(arena_alloc(&a, 16)); /* a smaller one still fits; the flag stays */
    assert_null(arena_alloc(&a, 1));
    assert_true(a.failed);
    arena_reset(&a);
    assert_false(a.failed);
    assert_non_null(arena_alloc(&a, 1024));
    arena_done(&a);
    assert_int_equal(a.max, 1024);
    assert_non_null(arena_alloc(&a, 1)); /* usable after done */
    arena_done(&a);
}

static void test_overflow(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 0);
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX / 2 + 1));
    assert_null(arena_array(&a, SIZE_MAX / 8, 16));
    assert_null(arena_array(&a, SIZE_MAX, SIZE_MAX));
    assert_null(arena_text(&a, (struct span){"", SIZE_MAX}));
    assert_true(a.failed);
    assert_non_null(arena_array(&a, 10, 16));
    assert_non_null(arena_array(&a, 0, 16));
    arena_done(&a);
}

static void test_texts(void **state)
{
    struct arena a;
    struct span s;

    (void)state;
    arena_init(&a, 64);
    s = arena_dup(&a, SPAN("a\0b"));
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.p, "a\0b", 4);
    s = arena_dup(&a, SPAN_NONE);
    assert_non_null(s.p);
    assert_int_equal(s.n, 0);
    assert_string_equal(arena_text(&a, SPAN("xyz")), "xyz");
    assert_null(arena_dup(&a, (struct span){"0123456789abcdef0123456789abcdef", 32}).p);
    assert_true(a.failed);
    arena_done(&a);
}

static void test_failing_allocator(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 0);
    mem_fail_after(2);
    assert_non_null(arena_alloc(&a, 4000));
    assert_non_null(arena_alloc(&a, 16)); /* fits the first chunk */
    assert_null(arena_alloc(&a, 4000));
    assert_true(a.failed);
    assert_non_null(arena_alloc(&a, 4000)); /* once only */
    mem_fail_after(0);
    assert_false(mem_fail_now());
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects_are_zeroed_aligned_and_apart),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_failing_allocator),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
