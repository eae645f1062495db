/* SPDX-License-Identifier: Apache-2.0 */
/* Who may log in by Digest: found by name and by hash, and let in by a server that asks the set of
 * tenants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/arena.h"
#include "http/digest_server.h"
#include "tenant/tenants.h"
#include "test_hash_work.h"

#define NOW UINT64_C(1800000000)

/* ---- a set ---- */

static struct tenant_record record(const char *name, bool disabled)
{
    struct tenant_record r = {.disabled = disabled};

    (void)span_copy(span_of(name), r.name, sizeof r.name);
    return r;
}

/* |realm| NULL: without Digest. Every password is s3cret. */
static struct credential user(const char *name, const char *tenant, const char *realm, bool md5)
{
    struct credential c = {.rounds = CREDENTIAL_ROUNDS_MIN};

    (void)span_copy(span_of(name), c.user, sizeof c.user);
    (void)span_copy(span_of(tenant), c.tenant, sizeof c.tenant);
    if (realm)
        assert_int_equal(
            digest_verifier_make(span_of(name), span_of(realm), SPAN("s3cret"), md5, &c.digest),
            DIGEST_OK);
    return c;
}

static enum err make(struct tenants **ret)
{
    const struct tenant_record records[] = {record("acme", false), record("closed", true)};
    struct credential users[] = {
        user("ann", "acme", "sallyport", true),   user("bob", "acme", "sallyport", false),
        user("eve", "acme", "elsewhere", true),   user("joe", "acme", NULL, false),
        user("off", "acme", "sallyport", true),   user("cut", "closed", "sallyport", true),
        user("gone", "nobody", "sallyport", true)};
    const struct tenants_source src = {.records = records,
                                       .n_records = ARRAY_LEN(records),
                                       .credentials = users,
                                       .n_credentials = ARRAY_LEN(users)};

    users[4].disabled = true;
    return tenants_new(&src, ret);
}

static int setup(void **state)
{
    struct tenants *t = NULL;

    assert_int_equal(make(&t), OK);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    tenants_unref(*state);
    return 0;
}

/* ---- look-ups ---- */

/* H("ann:sallyport"), H("eve:elsewhere"). */
#define ANN_SHA256 "01b0e17d99b28750e24bf4fb8fc863f943afccb8a3c60836fd7dd18c015c1db4"
#define ANN_CAPS   "01B0E17D99B28750E24BF4FB8FC863F943AFCCB8A3C60836FD7DD18C015C1DB4"
#define ANN_MD5    "33ea20172f1d2ef7b31205a08a1c3409"

static const struct find_row {
    const char *name, *user, *realm;
    enum digest_alg alg;
    bool userhash, found;
} find_rows[] = {
    {"SHA-256",               "ann",          "sallyport", DIGEST_SHA256,      false, true },
    {"SHA-256-sess",          "ann",          "sallyport", DIGEST_SHA256_SESS, false, true },
    {"MD5",                   "ann",          "sallyport", DIGEST_MD5,         false, true },
    {"MD5-sess",              "ann",          "sallyport", DIGEST_MD5_SESS,    false, true },
    {"SHA-512-256",           "ann",          "sallyport", DIGEST_SHA512_256,  false, false},
    {"without MD5",           "bob",          "sallyport", DIGEST_SHA256,      false, true },
    {"without MD5, asked",    "bob",          "sallyport", DIGEST_MD5,         false, false},
    {"another realm",         "eve",          "sallyport", DIGEST_SHA256,      false, false},
    {"its realm",             "eve",          "elsewhere", DIGEST_SHA256,      false, true },
    {"realm in capitals",     "ann",          "Sallyport", DIGEST_SHA256,      false, false},
    {"no realm",              "ann",          "",          DIGEST_SHA256,      false, false},
    {"without Digest",        "joe",          "sallyport", DIGEST_SHA256,      false, false},
    {"without Digest, realm", "joe",          "",          DIGEST_SHA256,      false, false},
    {"disabled",              "off",          "sallyport", DIGEST_SHA256,      false, false},
    {"tenant disabled",       "cut",          "sallyport", DIGEST_SHA256,      false, false},
    {"tenant not there",      "gone",         "sallyport", DIGEST_SHA256,      false, false},
    {"unknown",               "zoe",          "sallyport", DIGEST_SHA256,      false, false},
    {"no name",               "",             "sallyport", DIGEST_SHA256,      false, false},
    {"name in capitals",      "ANN",          "sallyport", DIGEST_SHA256,      false, false},
    {"hash",                  ANN_SHA256,     "sallyport", DIGEST_SHA256,      true,  true },
    {"hash, -sess",           ANN_SHA256,     "sallyport", DIGEST_SHA256_SESS, true,  true },
    {"hash in capitals",      ANN_CAPS,       "sallyport", DIGEST_SHA256,      true,  true },
    {"hash, MD5",             ANN_MD5,        "sallyport", DIGEST_MD5,         true,  true },
    {"hash, other realm",     ANN_SHA256,     "elsewhere", DIGEST_SHA256,      true,  false},
    {"hash of another alg",   ANN_MD5,        "sallyport", DIGEST_SHA256,      true,  false},
    {"hash, SHA-512-256",     ANN_SHA256,     "sallyport", DIGEST_SHA512_256,  true,  false},
    {"hash as a name",        ANN_SHA256,     "sallyport", DIGEST_SHA256,      false, false},
    {"name as a hash",        "ann",          "sallyport", DIGEST_SHA256,      true,  false},
    {"no hash",               "",             "sallyport", DIGEST_SHA256,      true,  false},
    {"longer than a hash",    ANN_SHA256 "0", "sallyport", DIGEST_SHA256,      true,  false},
};

static void test_find(void **state)
{
    static const struct credential before;
    const struct find_row *r = *state;
    const struct digest_credentials c = {
        .alg = r->alg, .userhash = r->userhash, .user = span_of(r->user)};
    struct tenants_digest arg = {.realm = span_of(r->realm), .found = &before};
    struct digest_hex ha1 = {.n = 7};
    struct tenants *t = NULL;

    assert_int_equal(make(&t), OK);
    arg.tenants = t;
    const struct credential *found = tenants_digest_find(t, span_of(r->realm), &c);

    assert_int_equal(found != NULL, r->found);
    assert_int_equal(tenants_digest_ha1(&arg, &c, &ha1), r->found);
    assert_ptr_equal(arg.found, found);
    if (found) {
        struct digest_hex want;

        assert_ptr_equal(found,
                         tenants_credential(t, r->userhash ? SPAN("ann") : span_of(r->user)));
        assert_int_equal(
            digest_ha1(r->alg, span_of(found->user), span_of(r->realm), SPAN("s3cret"), &want),
            DIGEST_OK);
        assert_true(digest_hex_equal(&ha1, &want));
    } else {
        assert_int_equal(ha1.n, 7);
    }
    tenants_unref(t);
}

/* Hashes of those who may not log in lead nowhere, either. */
static void test_hashes_of_others(void **state)
{
    static const char *const names[] = {"off", "cut", "gone", "joe", "zoe"};
    const struct tenants *t = *state;

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct digest_hex hash;

        assert_int_equal(
            digest_userhash(DIGEST_SHA256, span_of(names[i]), SPAN("sallyport"), &hash), DIGEST_OK);
        const struct digest_credentials c = {
            .alg = DIGEST_SHA256, .userhash = true, .user = digest_hex_span(&hash)};

        assert_null(tenants_digest_find(t, SPAN("sallyport"), &c));
    }
}

static void test_many(void **state)
{
    static struct credential users[1000];
    const struct tenant_record records[] = {record("acme", false)};
    const struct tenants_source src = {.records = records,
                                       .n_records = 1,
                                       .credentials = users,
                                       .n_credentials = ARRAY_LEN(users)};
    struct tenants *t = NULL;
    char name[16];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        (void)snprintf(name, sizeof name, "u%zu", i);
        users[i] = user(name, "acme", i % 3 == 0 ? NULL : "sallyport", i % 2 == 0);
    }
    assert_int_equal(tenants_new(&src, &t), OK);
    for (size_t i = 0; i < ARRAY_LEN(users); i++)
        for (unsigned md5 = 0; md5 < 2; md5++) {
            enum digest_alg alg = md5 ? DIGEST_MD5 : DIGEST_SHA256;
            struct digest_hex hash;

            assert_int_equal(digest_userhash(alg, span_of(users[i].user), SPAN("sallyport"), &hash),
                             DIGEST_OK);
            const struct digest_credentials c = {
                .alg = alg, .userhash = true, .user = digest_hex_span(&hash)};
            const struct credential *found = tenants_digest_find(t, SPAN("sallyport"), &c);

            if (i % 3 == 0 || (md5 && i % 2 != 0))
                assert_null(found);
            else
                assert_string_equal(found->user, users[i].user);
        }
    tenants_unref(t);
}

static void test_no_memory(void **state)
{
    struct tenants *t = NULL;

    (void)state;
    mem_fail_after(1);
    enum err e = make(&t);

    mem_fail_after(0);
    assert_int_equal(e, ERR_NOMEM);
    assert_null(t);
}

/* As where MD5 is not allowed: whoever has it in the store does no harm. Without SHA-256 nothing
 * goes. */
static void test_no_hash(void **state)
{
    const struct tenant_record records[] = {record("acme", false)};
    struct credential c = user("ann", "acme", "sallyport", true);
    const struct tenants_source src = {
        .records = records, .n_records = 1, .credentials = &c, .n_credentials = 1};
    const struct digest_credentials by_name = {.alg = DIGEST_MD5, .user = SPAN("ann")};
    const struct digest_credentials by_hash = {
        .alg = DIGEST_MD5, .userhash = true, .user = SPAN(ANN_MD5)};
    struct tenants *all = NULL, *md5_only = NULL;

    (void)state;
    assert_int_equal(EVP_set_default_properties(NULL, "fips=yes"), 1);
    enum err e = tenants_new(&src, &all);

    c.digest.ha1s.of[digest_alg_hash(DIGEST_SHA256)].n = 0;
    enum err md5_e = tenants_new(&src, &md5_only);

    assert_int_equal(EVP_set_default_properties(NULL, ""), 1);
    assert_int_equal(e, ERR_NOMEM);
    assert_int_equal(md5_e, OK);
    assert_non_null(tenants_digest_find(md5_only, SPAN("sallyport"), &by_name));
    assert_null(tenants_digest_find(md5_only, SPAN("sallyport"), &by_hash));
    tenants_unref(md5_only);
}

static void *look_up(void *arg)
{
    struct tenants *t = tenants_ref(arg);
    const struct digest_credentials rows[] = {
        {.alg = DIGEST_SHA256, .user = SPAN("ann")  },
        {.alg = DIGEST_MD5,    .user = SPAN(ANN_MD5), .userhash = true},
        {.alg = DIGEST_SHA256,                    .user = SPAN("off")                     },
    };
    size_t found = 0;

    for (unsigned i = 0; i < 3000; i++)
        found += tenants_digest_find(t, SPAN("sallyport"), &rows[i % ARRAY_LEN(rows)]) != NULL;
    tenants_unref(t);
    return (void *)(uintptr_t)found;
}

static void test_threads(void **state)
{
    pthread_t threads[4];
    void *found;

    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look_up, *state), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_join(threads[i], &found), 0);
        assert_int_equal((uintptr_t)found, 2000);
    }
}

/* ---- a server that asks it ---- */

static bool fill(void *arg, void *dst, size_t n)
{
    unsigned char *next = arg;

    memset(dst, ++*next, n);
    return true;
}

static const struct login_row {
    const char *name, *user, *password;
    enum digest_alg alg;
    bool userhash;
    enum digest_err want;
} login_rows[] = {
    {"right",            "ann", "s3cret", DIGEST_SHA256,      false, DIGEST_OK    },
    {"right, -sess",     "ann", "s3cret", DIGEST_SHA256_SESS, false, DIGEST_OK    },
    {"right, MD5",       "ann", "s3cret", DIGEST_MD5,         false, DIGEST_OK    },
    {"right, by hash",   "ann", "s3cret", DIGEST_SHA256,      true,  DIGEST_OK    },
    {"hash and MD5",     "ann", "s3cret", DIGEST_MD5,         true,  DIGEST_OK    },
    {"wrong",            "ann", "S3cret", DIGEST_SHA256,      false, DIGEST_ELOGIN},
    {"wrong, by hash",   "ann", "S3cret", DIGEST_SHA256,      true,  DIGEST_ELOGIN},
    {"wrong, -sess",     "ann", "S3cret", DIGEST_SHA256_SESS, false, DIGEST_ELOGIN},
    {"wrong, MD5",       "ann", "S3cret", DIGEST_MD5,         false, DIGEST_ELOGIN},
    {"wrong, MD5-sess",  "ann", "S3cret", DIGEST_MD5_SESS,    false, DIGEST_ELOGIN},
    {"nobody keeps it",  "ann", "s3cret", DIGEST_SHA512_256,  false, DIGEST_ELOGIN},
    {"MD5 is not kept",  "bob", "s3cret", DIGEST_MD5,         false, DIGEST_ELOGIN},
    {"other realm",      "eve", "s3cret", DIGEST_SHA256,      false, DIGEST_ELOGIN},
    {"no Digest",        "joe", "s3cret", DIGEST_SHA256,      false, DIGEST_ELOGIN},
    {"is disabled",      "off", "s3cret", DIGEST_SHA256,      false, DIGEST_ELOGIN},
    {"disabled by hash", "off", "s3cret", DIGEST_SHA256,      true,  DIGEST_ELOGIN},
    {"of a disabled",    "cut", "s3cret", DIGEST_SHA256,      false, DIGEST_ELOGIN},
    {"of one, by hash",  "cut", "s3cret", DIGEST_SHA256,      true,  DIGEST_ELOGIN},
    {"disabled, MD5",    "off", "s3cret", DIGEST_MD5,         false, DIGEST_ELOGIN},
    {"disabled, wrong",  "off", "S3cret", DIGEST_SHA256,      false, DIGEST_ELOGIN},
    {"nobody",           "zoe", "s3cret", DIGEST_SHA256,      false, DIGEST_ELOGIN},
};

/* What a client that knows |password| sends for |nonce|. */
static void answer(const struct login_row *r, const char *nonce, struct buf *out)
{
    struct digest_hex hash, ha1, response;
    struct digest_credentials c = {.alg = r->alg,
                                   .alg_named = true,
                                   .qop = DIGEST_QOP_AUTH,
                                   .userhash = r->userhash,
                                   .user = span_of(r->user),
                                   .realm = SPAN("sallyport"),
                                   .nonce = span_of(nonce),
                                   .uri = SPAN("/q1"),
                                   .nc = SPAN("00000001"),
                                   .cnonce = SPAN("c0ffee")};
    const struct digest_proof p = {.alg = c.alg,
                                   .qop = c.qop,
                                   .nonce = c.nonce,
                                   .nc = c.nc,
                                   .cnonce = c.cnonce,
                                   .method = SPAN("POST"),
                                   .uri = c.uri};

    assert_int_equal(digest_ha1(c.alg, c.user, c.realm, span_of(r->password), &ha1), DIGEST_OK);
    assert_int_equal(digest_response(&p, &ha1, &response), DIGEST_OK);
    assert_int_equal(digest_userhash(c.alg, c.user, c.realm, &hash), DIGEST_OK);
    c.response = digest_hex_span(&response);
    if (r->userhash)
        c.user = digest_hex_span(&hash);
    assert_int_equal(digest_credentials_format(&c, out), DIGEST_OK);
}

/* ---- what it costs ---- */

/* Of one login: what the server computes and looks up, which its time comes from. */
struct work {
    struct hash_work hash;
    unsigned look_ups;
};
static _Thread_local unsigned look_ups;

/* Where the linker optimizes (b_lto) it goes past this: nothing is counted then. */
#ifdef SALLYPORT_SANITIZED
#define LOOK_UPS_MIN 1
#else
#define LOOK_UPS_MIN 0
#endif

uint64_t __real_map_hash(const void *p, size_t n);
uint64_t __wrap_map_hash(const void *p, size_t n);
uint64_t __wrap_map_hash(const void *p, size_t n)
{
    look_ups++;
    return __real_map_hash(p, n);
}

/* |ret_found|: lives as long as |t|. */
static enum digest_err login(struct tenants *t, const struct login_row *r, struct work *ret_work,
                             const struct credential **ret_found)
{
    unsigned char next = 0;
    const struct digest_random random = {fill, &next};
    const struct digest_scope scope = {.purpose = DIGEST_WWW, .realm = SPAN("sallyport")};
    const struct digest_request request = {
        .method = SPAN("POST"), .target = SPAN("/q1"), .now_s = NOW};
    char nonce[DIGEST_NONCE_LEN + 1], room[DIGEST_TEXT_MAX];
    struct writer scratch = writer_of(room, sizeof room);
    struct digest_keys keys = {0};
    struct digest_accepted who;
    struct buf text;

    assert_int_equal(digest_keys_rotate(&keys, &random), DIGEST_OK);
    assert_int_equal(digest_nonce_make(&keys, &scope, NOW, &random, nonce), DIGEST_OK);
    const struct digest_server server = {.realm = SPAN("sallyport"),
                                         .algs = DIGEST_BIT(DIGEST_ALGS) - 1,
                                         .qops = DIGEST_BIT(DIGEST_QOP_AUTH),
                                         .lifetime_s = 300,
                                         .userhash = true,
                                         .keys = &keys,
                                         .replay = digest_replay_new(4),
                                         .random = &random};
    struct tenants_digest arg = {.tenants = t, .realm = server.realm};
    const struct digest_users users = {tenants_digest_ha1, &arg};

    assert_int_equal(digest_server_check(&server), DIGEST_OK);
    buf_init(&text, 0);
    answer(r, nonce, &text);
    const struct span value = buf_span(&text);

    hash_work = (struct hash_work){0};
    look_ups = 0;
    enum digest_err e = digest_authorize(&server, &request, &value, 1, &users, &scratch, &who);

    *ret_work = (struct work){hash_work, look_ups};
    *ret_found = arg.found;
    if (e == DIGEST_OK)
        digest_accepted_done(&who);
    buf_done(&text);
    digest_replay_free(server.replay);
    digest_keys_done(&keys);
    return e;
}

static void test_login(void **state)
{
    const struct login_row *r = *state;
    const struct credential *found;
    struct tenants *t = NULL;
    struct work done;

    assert_int_equal(make(&t), OK);
    assert_int_equal(login(t, r, &done, &found), r->want);
    if (r->want == DIGEST_OK) {
        assert_string_equal(found->user, r->user);
        assert_string_equal(found->tenant, "acme");
    }
    tenants_unref(t);
}

/* Neither computing nor looking up tells somebody who is refused whether there is such a user, and
 * what is kept of him. */
static void test_nobody_learns_who_exists(void **state)
{
    const struct credential *found;
    struct tenants *t = *state;

    for (size_t i = 0; i < ARRAY_LEN(login_rows); i++) {
        struct login_row nobody = login_rows[i];
        struct work known, unknown;

        if (login_rows[i].want == DIGEST_OK)
            continue;
        print_message("%s\n", login_rows[i].name);
        nobody.user = "zoe";
        assert_int_equal(login(t, &login_rows[i], &known, &found), DIGEST_ELOGIN);
        assert_int_equal(login(t, &nobody, &unknown, &found), DIGEST_ELOGIN);
        assert_same_hash_work(&known.hash, &unknown.hash);
        assert_int_equal(known.look_ups, unknown.look_ups);
        assert_int_equal(known.hash.hashes, digest_alg_is_sess(nobody.alg) ? 3 : 2);
        assert_int_equal(known.hash.comparisons, 2); /* of the nonce, and of the response */
        assert_in_range(known.look_ups, LOOK_UPS_MIN, 1);
    }
}

int main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(find_rows) + ARRAY_LEN(login_rows) + 6];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(find_rows); i++)
        tests[n++] = (struct CMUnitTest){find_rows[i].name, test_find, NULL, NULL,
                                         (void *)(uintptr_t)&find_rows[i]};
    for (size_t i = 0; i < ARRAY_LEN(login_rows); i++)
        tests[n++] = (struct CMUnitTest){login_rows[i].name, test_login, NULL, NULL,
                                         (void *)(uintptr_t)&login_rows[i]};
    tests[n++] =
        (struct CMUnitTest)cmocka_unit_test_setup_teardown(test_hashes_of_others, setup, teardown);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test_setup_teardown(test_nobody_learns_who_exists,
                                                                    setup, teardown);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_many);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_no_memory);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_no_hash);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test_setup_teardown(test_threads, setup, teardown);
    assert_int_equal(n, ARRAY_LEN(tests));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
