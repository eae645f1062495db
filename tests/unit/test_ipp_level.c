/* SPDX-License-Identifier: Apache-2.0 */
/* Levels of protection: their order, what lists and jobs demand, what a request lacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ipp/ipp_uri.h"

#define T  IPP_AUTH_TLS
#define S3 IPP_AUTH_SSL3
#define D  IPP_AUTH_DAA

#define CLEAR    IPP_CHANNEL_CLEAR
#define UPGRADED IPP_CHANNEL_UPGRADED
#define IMPLICIT IPP_CHANNEL_IMPLICIT

#define N_CHANNELS 3
#define N_USERS    5
#define N_LEVELS   (N_CHANNELS * N_USERS)

static struct ipp_level level(size_t i)
{
    return (struct ipp_level){(enum ipp_channel)(i / N_USERS), (enum ipp_user)(i % N_USERS)};
}

/* Rows: now; columns: then; both in the order of level(). Written down by hand. */
static void test_covers(void **state)
{
    static const char *const matrix[N_LEVELS] = {
        /* then:  clear upgr. impl.; each none, claimed, basic, digest, certificate */
        "10000 00000 00000", /* clear none */
        "11101 00000 00000", /* clear claimed */
        "11101 00000 00000", /* clear basic: as claimed */
        "11111 00000 00000", /* clear digest */
        "11101 00000 00000", /* clear certificate: as claimed */
        "10000 10000 10000", /* upgraded none */
        "11101 11000 11000", /* upgraded claimed */
        "11101 11100 11100", /* upgraded basic */
        "11111 11110 11110", /* upgraded digest */
        "11111 11111 11111", /* upgraded certificate */
        "10000 10000 10000", /* implicit: the same */
        "11101 11000 11000", "11101 11100 11100", "11111 11110 11110", "11111 11111 11111",
    };

    (void)state;
    for (size_t now = 0; now < N_LEVELS; now++)
        for (size_t then = 0; then < N_LEVELS; then++) {
            struct ipp_demand d = {.level = level(then)};
            bool covers = ipp_level_covers(level(now), level(then));

            assert_int_equal(covers, matrix[now][then + then / N_USERS] == '1');
            assert_int_equal(ipp_demand_check(&d, level(now)) == IPP_NEED_NOTHING, covers);
        }
}

static void test_join(void **state)
{
    (void)state;
    for (size_t a = 0; a < N_LEVELS; a++)
        for (size_t b = 0; b < N_LEVELS; b++) {
            struct ipp_level j = ipp_level_join(level(a), level(b));

            assert_true(ipp_level_covers(j, level(a)) && ipp_level_covers(j, level(b)));
            for (size_t c = 0; c < N_LEVELS; c++)
                if (ipp_level_covers(level(c), level(a)) && ipp_level_covers(level(c), level(b)))
                    assert_true(ipp_level_covers(level(c), j));
            if (level(a).channel == UPGRADED || level(b).channel == UPGRADED)
                assert_int_equal(j.channel, UPGRADED);
        }
}

/* What each list says to each channel and user; channel before user. */
static void test_lists(void **state)
{
    static const struct {
        unsigned auth;
        bool secure;
        enum ipp_need clear, clear_digest, tls, tls_digest;
    } rows[] = {
        {0,          false, IPP_NEED_NOTHING,     IPP_NEED_NOTHING,     IPP_NEED_NOTHING, IPP_NEED_NOTHING},
        {T,          false, IPP_NEED_UPGRADE,     IPP_NEED_UPGRADE,     IPP_NEED_NOTHING, IPP_NEED_NOTHING},
        {S3,         false, IPP_NEED_SECURE_PORT, IPP_NEED_SECURE_PORT, IPP_NEED_NOTHING, IPP_NEED_NOTHING},
        {T | S3,     false, IPP_NEED_UPGRADE,     IPP_NEED_UPGRADE,     IPP_NEED_NOTHING, IPP_NEED_NOTHING},
        {D,          false, IPP_NEED_DIGEST,      IPP_NEED_NOTHING,     IPP_NEED_DIGEST,  IPP_NEED_NOTHING},
        {T | D,      false, IPP_NEED_UPGRADE,     IPP_NEED_UPGRADE,     IPP_NEED_DIGEST,  IPP_NEED_NOTHING},
        {S3 | D,     false, IPP_NEED_SECURE_PORT, IPP_NEED_SECURE_PORT, IPP_NEED_DIGEST,
         IPP_NEED_NOTHING                                                                                 },
        {T | S3 | D, false, IPP_NEED_UPGRADE,     IPP_NEED_UPGRADE,     IPP_NEED_DIGEST,  IPP_NEED_NOTHING},
        {0,          true,  IPP_NEED_SECURE_PORT, IPP_NEED_SECURE_PORT, IPP_NEED_NOTHING, IPP_NEED_NOTHING},
        {T,          true,  IPP_NEED_UPGRADE,     IPP_NEED_UPGRADE,     IPP_NEED_NOTHING, IPP_NEED_NOTHING},
        {D,          true,  IPP_NEED_SECURE_PORT, IPP_NEED_SECURE_PORT, IPP_NEED_DIGEST,  IPP_NEED_NOTHING},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct ipp_uri u = {.auth = rows[i].auth, .secure = rows[i].secure};
        struct ipp_demand d = ipp_uri_demand(&u);

        for (int user = IPP_USER_NONE; user <= IPP_USER_CERTIFICATE; user++) {
            bool digest = user == IPP_USER_DIGEST, certificate = user == IPP_USER_CERTIFICATE;
            struct ipp_level now = {CLEAR, (enum ipp_user)user};

            assert_int_equal(ipp_demand_check(&d, now),
                             digest ? rows[i].clear_digest : rows[i].clear);
            now.channel = UPGRADED;
            assert_int_equal(ipp_demand_check(&d, now),
                             digest || certificate ? rows[i].tls_digest : rows[i].tls);
            now.channel = IMPLICIT;
            assert_int_equal(ipp_demand_check(&d, now),
                             digest || certificate ? rows[i].tls_digest : rows[i].tls);
        }
    }
}

static void test_job_demands(void **state)
{
    static const struct {
        struct ipp_level made, now;
        enum ipp_need need;
    } rows[] = {
        {{UPGRADED, IPP_USER_NONE},        {CLEAR, IPP_USER_DIGEST},    IPP_NEED_UPGRADE    },
        {{IMPLICIT, IPP_USER_NONE},        {CLEAR, IPP_USER_DIGEST},    IPP_NEED_SECURE_PORT},
        {{IMPLICIT, IPP_USER_NONE},        {UPGRADED, IPP_USER_NONE},   IPP_NEED_NOTHING    },
        {{UPGRADED, IPP_USER_DIGEST},      {CLEAR, IPP_USER_NONE},      IPP_NEED_UPGRADE    },
        {{UPGRADED, IPP_USER_DIGEST},      {UPGRADED, IPP_USER_BASIC},  IPP_NEED_DIGEST     },
        {{UPGRADED, IPP_USER_BASIC},       {UPGRADED, IPP_USER_NONE},   IPP_NEED_DIGEST     },
        {{IMPLICIT, IPP_USER_CERTIFICATE}, {IMPLICIT, IPP_USER_DIGEST}, IPP_NEED_CERTIFICATE},
        {{IMPLICIT, IPP_USER_CERTIFICATE}, {CLEAR, IPP_USER_DIGEST},    IPP_NEED_SECURE_PORT},
        {{CLEAR, IPP_USER_CLAIMED},        {CLEAR, IPP_USER_NONE},      IPP_NEED_DIGEST     },
        {{CLEAR, IPP_USER_BASIC},          {CLEAR, IPP_USER_CLAIMED},   IPP_NEED_NOTHING    },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ipp_demand d = {.level = rows[i].made};

        print_message("%zu\n", i);
        assert_int_equal(ipp_demand_check(&d, rows[i].now), rows[i].need);
    }
}

/* More demands never ask for less. */
static void test_union(void **state)
{
    (void)state;
    for (unsigned a = 0; a <= IPP_AUTH_ALL; a++)
        for (unsigned b = 0; b <= IPP_AUTH_ALL; b++)
            for (size_t job = 0; job < N_LEVELS; job++) {
                struct ipp_demand one = {.auth = a}, more = {.auth = b, .level = level(job)},
                                  sum = {0};

                ipp_demand_add(&sum, one);
                ipp_demand_add(&sum, more);
                for (size_t now = 0; now < N_LEVELS; now++) {
                    bool both = ipp_demand_check(&one, level(now)) == IPP_NEED_NOTHING &&
                                ipp_demand_check(&more, level(now)) == IPP_NEED_NOTHING;

                    assert_int_equal(ipp_demand_check(&sum, level(now)) == IPP_NEED_NOTHING, both);
                }
            }
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(ipp_channel_name(CLEAR), "clear");
    assert_string_equal(ipp_channel_name(UPGRADED), "upgraded");
    assert_string_equal(ipp_channel_name(IMPLICIT), "implicit");
    assert_string_equal(ipp_user_name(IPP_USER_NONE), "none");
    assert_string_equal(ipp_user_name(IPP_USER_CLAIMED), "claimed");
    assert_string_equal(ipp_user_name(IPP_USER_BASIC), "basic");
    assert_string_equal(ipp_user_name(IPP_USER_DIGEST), "digest");
    assert_string_equal(ipp_user_name(IPP_USER_CERTIFICATE), "certificate");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_covers), cmocka_unit_test(test_join),
        cmocka_unit_test(test_lists),  cmocka_unit_test(test_job_demands),
        cmocka_unit_test(test_union),  cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
