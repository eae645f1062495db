/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/attr.h"
#include "base/secret.h"

static void test_given_back_and_wiped(void **state)
{
    static const size_t sizes[] = {1, 32, 64, 65, 200, 2048};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t before = secret_used();
        unsigned char *p = secret_alloc(sizes[i]);

        assert_non_null(p);
        assert_true(secret_used() - before >= sizes[i]);
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(p[k], 0);
        memset(p, 'x', sizes[i]);
        secret_free(p, sizes[i]);
        assert_int_equal(secret_used(), before);
        unsigned char *q = secret_alloc(sizes[i]);

        assert_ptr_equal(p, q);
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(q[k], 0);
        secret_free(q, sizes[i]);
    }
}

static void test_many(void **state)
{
    void *v[2000];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        v[i] = secret_alloc(33);
        assert_non_null(v[i]);
        memset(v[i], (int)i, 33);
    }
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        assert_int_equal(*(unsigned char *)v[i], (unsigned char)i);
        secret_free(v[i], 33);
    }
    assert_int_equal(secret_used(), 0);
}

static void test_limits(void **state)
{
    (void)state;
    assert_null(secret_alloc(0));
    assert_null(secret_alloc(SECRET_MAX + 1));
    secret_free(NULL, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_given_back_and_wiped),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
