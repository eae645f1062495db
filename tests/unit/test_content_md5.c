/* SPDX-License-Identifier: Apache-2.0 */
/* Content-MD5: which fields are one, and of which bodies they are right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>

#include "base/buf.h"
#include "http/content_md5.h"

#define OF_NOTHING "Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==\r\n"
#define OF_ABC     "Content-MD5: kAFQmDzST7DWlj99KOF/cg==\r\n" /* RFC 1321 A.5 */

/* A head's fields, whose text and table are |mem|'s. */
static struct head head_of(const char *fields, struct arena *mem)
{
    static const struct head_limits limits = {.line_max = 100, .size_max = 4096, .fields_max = 20};
    struct buf text;
    struct fault f;
    struct head h;

    buf_init(&text, 0);
    buf_fmt(&text, "POST / HTTP/1.1\r\nHost: h\r\n%s\r\n", fields);
    struct span kept = arena_dup(mem, buf_span(&text));

    buf_done(&text);
    if (head_parse(HEAD_HTTP_REQUEST, kept, &limits, mem, &h, &f) != OK)
        fail_msg("%s: %s", fields, f.why);
    return h;
}

struct row {
    const char *fields;
    bool good, computed;
};
static const struct row rows[] = {
    {"",                                                                    true,  false},
    {"X-Content-MD5: nonsense\r\n",                                         true,  false},
    {OF_ABC,                                                                true,  true },
    {OF_NOTHING,                                                            true,  true },
    {"content-md5: kAFQmDzST7DWlj99KOF/cg==\r\n",                           true,  true },
    {"Content-MD5:\t kAFQmDzST7DWlj99KOF/cg== \r\n",                        true,  true },
    {"Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==\r\n",                           true,  true },
    {"Content-MD5:\r\n",                                                    false, false},
    {"Content-MD5: nonsense\r\n",                                           false, false},
    {"Content-MD5: kAFQmDzST7DWlj99KOF/cg\r\n",                             false, false},
    {"Content-MD5: kAFQmDzST7DWlj99KOF/cg=\r\n",                            false, false},
    {"Content-MD5: kAFQmDzST7DWlj99KOF/cg===\r\n",                          false, false},
    {"Content-MD5: kAFQmDzST7DWlj99KOF/cgA=\r\n",                           false, false}, /* 17 octets */
    {"Content-MD5: kAFQmDzST7DWlj99KOF/\r\n",                               false, false}, /* 15 */
    {"Content-MD5: kAFQmDzST7DWlj99KOF/ch==\r\n",                           false, false}, /* bits left over */
    {"Content-MD5: kAFQmDzST7DWlj99KOF_cg==\r\n",                           false, false}, /* base64url */
    {"Content-MD5: 900150983cd24fb0d6963f7d28e17f72\r\n",                   false, false}, /* in hex */
    {"Content-MD5: \"kAFQmDzST7DWlj99KOF/cg==\"\r\n",                       false, false},
    {"Content-MD5: kAFQmDzST7DW lj99KOF/cg==\r\n",                          false, false},
    {"Content-MD5: kAFQmDzST7DWlj99KOF/cg==, kAFQmDzST7DWlj99KOF/cg==\r\n", false, false},
    {OF_ABC OF_ABC,                                                         false, false},
    {OF_ABC "Content-MD5: nonsense\r\n",                                    false, false},
    {"Content-MD5:\r\n" OF_ABC,                                             false, false},
};

static void test_fields(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct content_md5 m;
        struct arena mem;

        arena_init(&mem, 0);
        struct head h = head_of(rows[i].fields, &mem);

        if (content_md5_begin(&m, &h) != rows[i].good)
            fail_msg("%s", rows[i].fields);
        if ((m.hash.ctx != NULL) != rows[i].computed)
            fail_msg("%s", rows[i].fields);
        assert_true(content_md5_end(&m, false));
        assert_null(m.hash.ctx);
        arena_done(&mem);
    }
}

/* What is said of |body|, of which |cut| octets come first. */
static bool is_right(const char *fields, const char *body, size_t cut, bool whole)
{
    struct content_md5 m;
    struct arena mem;

    arena_init(&mem, 0);
    struct head h = head_of(fields, &mem);

    assert_true(content_md5_begin(&m, &h));
    content_md5_add(&m, span_sub(span_of(body), 0, cut));
    content_md5_add(&m, span_sub(span_of(body), cut, SIZE_MAX));
    if (m.hash.ctx)
        assert_int_equal(m.n, span_of(body).n);
    bool right = content_md5_end(&m, whole);

    assert_true(content_md5_end(&m, true)); /* once is enough */
    arena_done(&mem);
    return right;
}

static void test_bodies(void **state)
{
    (void)state;
    for (size_t cut = 0; cut <= 3; cut++) {
        assert_true(is_right(OF_ABC, "abc", cut, true));
        assert_false(is_right(OF_ABC, "abd", cut, true));
        assert_true(is_right(OF_ABC, "abd", cut, false));
        assert_true(is_right("", "abc", cut, true));
    }
    assert_true(is_right(OF_NOTHING, "", 0, true));
    assert_false(is_right(OF_ABC, "", 0, true));
    assert_false(is_right(OF_ABC, "abca", 3, true));
}

/* As with a FIPS provider, which has no MD5; here nothing has what is asked for. */
static void test_no_md5(void **state)
{
    static const char *const fields[] = {OF_ABC, "Content-MD5: nonsense\r\n"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        struct content_md5 m;
        struct arena mem;

        arena_init(&mem, 0);
        struct head h = head_of(fields[i], &mem);

        assert_int_equal(EVP_set_default_properties(NULL, "fips=yes"), 1);
        bool good = content_md5_begin(&m, &h);

        assert_int_equal(EVP_set_default_properties(NULL, ""), 1);
        assert_true(good);
        content_md5_add(&m, SPAN("abd"));
        assert_true(content_md5_end(&m, true));
        arena_done(&mem);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_no_md5),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
