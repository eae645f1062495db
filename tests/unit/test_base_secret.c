/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

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

/* The kernel's flags of the mapping that |p| is in, as /proc/PID/smaps has them: " rd wr mr … ". */
static void flags_of(const void *p, char *ret, size_t cap)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[512];
    bool here = false;

    assert_non_null(f);
    *ret = '\0';
    while (!*ret && fgets(line, sizeof line, f)) {
        char *end;
        uintptr_t from = (uintptr_t)strtoull(line, &end, 16);

        if (*end == '-') /* a range; the lines about it begin with words */
            here = from <= (uintptr_t)p && (uintptr_t)p < (uintptr_t)strtoull(end + 1, NULL, 16);
        else if (here && strncmp(line, "VmFlags:", 8) == 0)
            (void)snprintf(ret, cap, "%s", line + 8);
    }
    (void)fclose(f);
}

/* In no core file, and, where the limit allows it, in no swap space. */
static void test_where_it_lies(void **state)
{
    static const size_t sizes[] = {32, 2048};
    char flags[512], own;
    struct rlimit locked;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &locked), 0);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        void *p = secret_alloc(sizes[i]);

        assert_non_null(p);
        flags_of(p, flags, sizeof flags);
        print_message("%zu:%s", sizes[i], flags);
        assert_non_null(strstr(flags, " dd "));
        if (!IS_SANITIZED && locked.rlim_cur >= 256 * 1024) /* mlock() does nothing under them */
            assert_non_null(strstr(flags, " lo "));
        secret_free(p, sizes[i]);
    }
    flags_of(&own, flags, sizeof flags); /* others have neither */
    assert_true(*flags && !strstr(flags, " dd ") && !strstr(flags, " lo "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_given_back_and_wiped),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_where_it_lies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
