/* SPDX-License-Identifier: Apache-2.0 */
/* Logins: two derivations for each session however many ask, none for a request that comes after;
 * what ends sessions; what failures cost. */
#include "test_net.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdatomic.h>

#include "tenant/logins.h"

#define ROUNDS CREDENTIAL_ROUNDS_MIN

struct world {
    struct test_clock clock;
    struct loop *loop;
    struct timer pace;
    struct logins *logins;
    struct login_settings set;
    unsigned n_upgraded;
    struct credential upgraded;
};

/* One password takes long: made once. */
static struct credential alice, bob;

static void no_fire(struct timer *t)
{
    (void)t;
}

static struct credential user(const char *name, const char *tenant, const char *password)
{
    struct credential c = {.changed_wall_ms = 1000};

    (void)span_copy(span_of(name), c.user, sizeof c.user);
    (void)span_copy(span_of(tenant), c.tenant, sizeof c.tenant);
    assert_int_equal(credential_set_password(&c, span_of(password), ROUNDS), OK);
    return c;
}

static void set_tenants(struct world *w, const struct credential *v, size_t n, bool acme_disabled)
{
    struct tenant_record records[] = {
        {.name = "acme", .disabled = acme_disabled},
        {.name = "other"             }
    };
    const struct tenants_source src = {
        .records = records, .n_records = ARRAY_LEN(records), .credentials = v, .n_credentials = n};
    struct tenants *t;

    assert_int_equal(tenants_new(&src, &t), OK);
    logins_set_tenants(w->logins, t);
    tenants_unref(t);
}

static void on_upgrade(void *arg, const struct credential *c)
{
    struct world *w = arg;

    w->upgraded = *c;
    __atomic_add_fetch(&w->n_upgraded, 1, __ATOMIC_RELEASE);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    const struct logins_source src = {
        .clock = &w->clock.clock, .set = &w->set, .upgrade = on_upgrade, .arg = w};

    assert_non_null(w);
    test_clock_init(&w->clock, UINT64_C(1800000000000));
    w->loop = test_loop(&w->clock.clock);
    w->pace.fire = no_fire;
    timer_set(w->loop, &w->pace, UINT64_MAX / 2);
    w->set = (struct login_settings){
        .rounds = ROUNDS,
        .session_rounds = ROUNDS,
        .session_ms = SESSION_MS_MAX,
        .failure_ms = 10000,
        .sessions_max = 1000,
        .threads = 2,
        .queue_max = 8,
        .per_source = {.burst = 5, .every_ms = 1000},
        .per_user = {.burst = 8, .every_ms = 1000}
    };
    assert_int_equal(logins_new(&src, &w->logins), OK);
    set_tenants(w, (struct credential[]){alice, bob}, 2, false);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    timer_clear(w->loop, &w->pace);
    loop_free(w->loop);
    logins_free(w->logins);
    free(w);
    return 0;
}

static int make_users(void **state)
{
    (void)state;
    alice = user("alice", "acme", "correct horse");
    assert_int_equal(digest_verifier_make(SPAN("alice"), SPAN("printers"), SPAN("correct horse"),
                                          true, &alice.digest),
                     DIGEST_OK);
    bob = user("bob", "other", "battery staple");
    return 0;
}

/* ---- asking ---- */

struct asked {
    enum login_answer answer; /* WAIT: not told yet */
    struct session *session;
    struct login_waiter *waiter;
};

static void on_ready(void *arg, enum login_answer answer, struct session *s)
{
    struct asked *a = arg;

    assert_int_equal(a->answer, LOGIN_WAIT);
    a->answer = answer;
    a->session = s;
    a->waiter = NULL;
}

static void ask_from(struct world *w, struct asked *a, const char *text, uint64_t source,
                     const char *tenant)
{
    char token[256];
    int n = EVP_EncodeBlock((unsigned char *)token, (const unsigned char *)text, (int)strlen(text));
    const struct login_request r = {
        .loop = w->loop,
        .token = {token, (size_t)n},
        .source = source,
        .tenant = tenant,
        .ready = on_ready,
        .arg = a
    };

    *a = (struct asked){0};
    a->answer = logins_ask(w->logins, &r, &a->session, &a->waiter);
}

static void ask(struct world *w, struct asked *a, const char *text)
{
    ask_from(w, a, text, 1, NULL);
}

static enum login_answer answer_of(struct world *w, struct asked *a)
{
    TURN_UNTIL(w->loop, a->answer != LOGIN_WAIT);
    return a->answer;
}

static struct session *log_in(struct world *w, const char *text)
{
    struct asked a;

    ask(w, &a, text);
    assert_int_equal(answer_of(w, &a), LOGIN_OK);
    assert_non_null(a.session);
    return a.session;
}

static enum login_answer try(struct world *w, const char *text, uint64_t source)
{
    struct asked a;

    ask_from(w, &a, text, source, NULL);
    enum login_answer answer = answer_of(w, &a);

    session_unref(a.session);
    return answer;
}

static struct logins_counts counts(struct world *w)
{
    struct logins_counts c;

    logins_count(w->logins, &c);
    return c;
}

/* ---- tests ---- */

static void test_two_derivations_however_many_ask(void **state)
{
    struct world *w = *state;
    struct asked v[200];

    for (unsigned i = 0; i < ARRAY_LEN(v); i++)
        ask(w, &v[i], "alice:correct horse");
    for (unsigned i = 0; i < ARRAY_LEN(v); i++)
        assert_int_equal(answer_of(w, &v[i]), LOGIN_OK);
    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        assert_ptr_equal(v[i].session, v[0].session);
        session_unref(v[i].session);
    }
    /* And nothing for what comes after. */
    for (unsigned i = 0; i < 100; i++) {
        struct asked a;

        ask(w, &a, "alice:correct horse");
        assert_int_equal(a.answer, LOGIN_OK);
        assert_string_equal(session_tenant(a.session), "acme");
        assert_string_equal(session_user(a.session), "alice");
        assert_int_equal(strlen(session_id(a.session)), SESSION_ID_LEN);
        session_unref(a.session);
    }
    struct logins_counts c = counts(w);

    assert_int_equal(c.verified, 1);
    assert_int_equal(c.derived, 1);
    assert_int_equal(c.misses, 1);
    assert_int_equal(c.waits, 199);
    assert_int_equal(c.hits, 100);
    assert_int_equal(c.sessions, 1);
}

static void test_another_login_is_another_session(void **state)
{
    struct world *w = *state;
    struct session *a = log_in(w, "alice:correct horse"), *b = log_in(w, "bob:battery staple");

    assert_string_not_equal(session_id(a), session_id(b));
    assert_string_equal(session_tenant(b), "other");
    session_unref(a);
    session_unref(b);
}

/* What the pool's threads compute, counted where libcrypto would. */
static struct {
    _Atomic uint64_t rounds, hashes, comparisons;
} work;

int __real_PKCS5_PBKDF2_HMAC(const char *p, int n, const unsigned char *salt, int n_salt,
                             int rounds, const EVP_MD *md, int n_out, unsigned char *out);
int __wrap_PKCS5_PBKDF2_HMAC(const char *p, int n, const unsigned char *salt, int n_salt,
                             int rounds, const EVP_MD *md, int n_out, unsigned char *out);
int __wrap_PKCS5_PBKDF2_HMAC(const char *p, int n, const unsigned char *salt, int n_salt,
                             int rounds, const EVP_MD *md, int n_out, unsigned char *out)
{
    work.rounds += (uint64_t)rounds;
    return __real_PKCS5_PBKDF2_HMAC(p, n, salt, n_salt, rounds, md, n_out, out);
}

int __real_EVP_Digest(const void *p, size_t n, unsigned char *md, unsigned *n_md,
                      const EVP_MD *type, ENGINE *e);
int __wrap_EVP_Digest(const void *p, size_t n, unsigned char *md, unsigned *n_md,
                      const EVP_MD *type, ENGINE *e);
int __wrap_EVP_Digest(const void *p, size_t n, unsigned char *md, unsigned *n_md,
                      const EVP_MD *type, ENGINE *e)
{
    work.hashes++;
    return __real_EVP_Digest(p, n, md, n_md, type, e);
}

int __real_CRYPTO_memcmp(const void *a, const void *b, size_t n);
int __wrap_CRYPTO_memcmp(const void *a, const void *b, size_t n);
int __wrap_CRYPTO_memcmp(const void *a, const void *b, size_t n)
{
    work.comparisons++;
    return __real_CRYPTO_memcmp(a, b, n);
}

/* The same rounds, hashes and comparisons, and the same answer: of |text|, which is wrong. */
static void check_costs(struct world *w, const char *text, uint64_t rounds)
{
    struct logins_counts before = counts(w), after;

    work.rounds = work.hashes = work.comparisons = 0;
    print_message("%s\n", text);
    assert_int_equal(try(w, text, 1), LOGIN_REFUSED);
    assert_int_equal(work.rounds, rounds);
    assert_int_equal(work.hashes, 1);
    assert_int_equal(work.comparisons, 1);
    after = counts(w);
    assert_int_equal(after.rounds - before.rounds, rounds);
    assert_int_equal(after.verified - before.verified, 1);
    assert_int_equal(after.refused - before.refused, 1);
    assert_int_equal(after.derived, before.derived);
}

static void test_nobody_learns_who_exists(void **state)
{
    struct world *w = *state;
    struct credential off = bob;

    off.disabled = true;
    set_tenants(w, (struct credential[]){alice, off}, 2, false);
    check_costs(w, "alice:wrong", ROUNDS);
    check_costs(w, "nobody:wrong", ROUNDS);
    check_costs(w, "bob:battery staple", ROUNDS); /* who is disabled is nobody */
    check_costs(w, "bob:wrong", ROUNDS);
}

/* Somebody has a slower verifier: all take as long as that. */
static void test_rounds_are_those_of_the_slowest(void **state)
{
    struct world *w = *state;
    struct credential slow = bob;

    assert_int_equal(credential_set_password(&slow, SPAN("battery staple"), 3 * ROUNDS), OK);
    set_tenants(w, (struct credential[]){alice, slow}, 2, false);
    check_costs(w, "alice:wrong", 3 * ROUNDS);
    check_costs(w, "bob:wrong", 3 * ROUNDS);
    check_costs(w, "nobody:wrong", 3 * ROUNDS);
    session_unref(log_in(w, "alice:correct horse"));
}

static void test_a_failure_is_remembered(void **state)
{
    struct world *w = *state;

    assert_int_equal(try(w, "alice:wrong", 1), LOGIN_REFUSED);
    for (unsigned i = 0; i < 50; i++) {
        struct asked a;

        ask(w, &a, "alice:wrong");
        assert_int_equal(a.answer, LOGIN_REFUSED);
    }
    assert_int_equal(counts(w).verified, 1);
    assert_int_equal(counts(w).refused, 1); /* one guess, however often it is sent */
    w->clock.now_ms += 10000;
    assert_int_equal(try(w, "alice:wrong", 1), LOGIN_REFUSED);
    assert_int_equal(counts(w).verified, 2);
    w->clock.now_ms += 10000;
    logins_sweep(w->logins);
    assert_int_equal(counts(w).failures, 0);
}

static void test_guessing_has_to_wait(void **state)
{
    struct world *w = *state;
    char text[64];

    for (unsigned i = 0; i < 5; i++) {
        (void)snprintf(text, sizeof text, "alice:guess %u", i);
        assert_int_equal(try(w, text, 7), LOGIN_REFUSED);
    }
    assert_int_equal(try(w, "alice:guess 5", 7), LOGIN_BUSY);
    assert_int_equal(try(w, "bob:guess", 7), LOGIN_BUSY);
    assert_int_equal(counts(w).verified, 5);
    assert_int_equal(counts(w).throttled, 2);
    /* Others come in, and the same one later. */
    assert_int_equal(try(w, "bob:battery staple", 8), LOGIN_OK);
    w->clock.now_ms += 1000;
    assert_int_equal(try(w, "alice:guess 6", 7), LOGIN_REFUSED);
    assert_int_equal(try(w, "alice:guess 7", 7), LOGIN_BUSY);
}

/* From everywhere, a few each. */
static void test_guessing_at_one_user(void **state)
{
    struct world *w = *state;
    struct session *before = log_in(w, "alice:correct horse");
    struct asked a;
    char text[64];

    for (unsigned i = 0; i < 8; i++) {
        (void)snprintf(text, sizeof text, "alice:guess %u", i);
        assert_int_equal(try(w, text, 100 + i), LOGIN_REFUSED);
    }
    assert_int_equal(try(w, "alice:guess 8", 200), LOGIN_BUSY);
    /* Who has the tenant's certificate is not locked out, and sessions go on. */
    ask_from(w, &a, "alice:guess 9", 201, "acme");
    assert_int_equal(answer_of(w, &a), LOGIN_REFUSED);
    ask_from(w, &a, "alice:guess 10", 202, "other");
    assert_int_equal(answer_of(w, &a), LOGIN_BUSY);
    ask(w, &a, "alice:correct horse");
    assert_int_equal(a.answer, LOGIN_OK);
    assert_ptr_equal(a.session, before);
    session_unref(a.session);
    session_unref(before);
}

/* By Digest: the same count, and one who has been right from there is looked at. */
static void test_guessing_elsewhere(void **state)
{
    struct world *w = *state;
    char text[64];

    logins_tried(w->logins, SPAN("alice"), 1, true);
    for (unsigned i = 0; i < 8; i++) {
        assert_true(logins_may_try(w->logins, SPAN("alice"), 100 + i));
        logins_tried(w->logins, SPAN("alice"), 100 + i, false);
    }
    assert_false(logins_may_try(w->logins, SPAN("alice"), 200));
    assert_true(logins_may_try(w->logins, SPAN("alice"), 1));
    assert_true(logins_may_try(w->logins, SPAN("bob"), 200));
    (void)snprintf(text, sizeof text, "alice:guess");
    assert_int_equal(try(w, text, 201), LOGIN_BUSY);
    assert_int_equal(counts(w).throttled, 2);
    w->clock.now_ms += 1000;
    assert_true(logins_may_try(w->logins, SPAN("alice"), 200));
    /* However often it was right: for as long as a session. */
    for (unsigned i = 0; i < 100; i++)
        logins_tried(w->logins, SPAN("alice"), 1, true);
    w->clock.now_ms += SESSION_MS_MAX - 1000;
    for (unsigned i = 0; i < 9; i++)
        logins_tried(w->logins, SPAN("alice"), 100 + i, false);
    assert_false(logins_may_try(w->logins, SPAN("alice"), 1));
}

static void test_an_hour(void **state)
{
    struct world *w = *state;
    struct session *s = log_in(w, "alice:correct horse"), *t;

    assert_true(session_is_live(s, w->clock.now_ms + 3599999));
    assert_false(session_is_live(s, w->clock.now_ms + 3600000));
    w->clock.now_ms += 3600000;
    t = log_in(w, "alice:correct horse"); /* looked at anew */
    assert_int_equal(counts(w).verified, 2);
    assert_int_equal(counts(w).derived, 2);
    assert_string_not_equal(session_id(s), session_id(t));
    session_unref(s);
    session_unref(t);
}

/* Long before its end a request has it made anew, and does not wait for that. */
static void test_renewal(void **state)
{
    struct world *w = *state;
    struct session *s = log_in(w, "alice:correct horse"), *t;

    w->clock.now_ms += 3600000 / 10 * 6 - 1;
    t = log_in(w, "alice:correct horse");
    assert_ptr_equal(s, t);
    session_unref(t);
    assert_int_equal(counts(w).misses, 1);
    w->clock.now_ms += 3600000 / 10 * 3 + 1;
    for (unsigned i = 0; i < 10; i++) {
        t = log_in(w, "alice:correct horse");
        assert_true(session_is_live(t, w->clock.now_ms));
        session_unref(t);
    }
    TURN_UNTIL(w->loop, counts(w).renewed == 1);
    t = log_in(w, "alice:correct horse");
    assert_string_not_equal(session_id(s), session_id(t));
    assert_true(session_expires_ms(t) == w->clock.now_ms + 3600000);
    assert_true(session_is_live(s, w->clock.now_ms)); /* for whoever holds it */
    assert_int_equal(counts(w).misses, 2);
    assert_int_equal(counts(w).derived, 2);
    session_unref(s);
    session_unref(t);
}

/* What began together is not renewed together. */
static void test_renewals_are_spread(void **state)
{
    struct world *w = *state;
    struct credential v[24];
    char text[64];

    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        v[i] = alice;
        (void)snprintf(v[i].user, sizeof v[i].user, "user%u", i);
    }
    set_tenants(w, v, ARRAY_LEN(v), false);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
            (void)snprintf(text, sizeof text, "user%u:correct horse", i);
            session_unref(log_in(w, text));
            /* One after the other, for few may wait. */
            if (round == 1)
                TURN_UNTIL(w->loop, counts(w).misses == ARRAY_LEN(v) + counts(w).renewed);
        }
        if (round == 0)
            w->clock.now_ms += 3600000 / 100 * 75; /* the middle */
    }
    assert_true(counts(w).renewed > 0 && counts(w).renewed < ARRAY_LEN(v));
}

static void test_what_ends_sessions(void **state)
{
    struct credential disabled = alice, changed = alice, moved = alice;

    disabled.disabled = true;
    changed.changed_wall_ms++;
    (void)span_copy(SPAN("other"), moved.tenant, sizeof moved.tenant);
    const struct {
        const char *name;
        struct credential alice;
        size_t n;
        bool acme_disabled, ends;
    } rows[] = {
        {"nothing changed",     alice,    2, false, false},
        {"the user disabled",   disabled, 2, false, true },
        {"another password",    changed,  2, false, true },
        {"another tenant",      moved,    2, false, true },
        {"the user removed",    alice,    1, false, true },
        {"the tenant disabled", alice,    2, true,  true },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world *w;
        struct session *s;

        print_message("%s\n", rows[i].name);
        (void)teardown(state);
        (void)setup(state);
        w = *state;
        s = log_in(w, "alice:correct horse");
        set_tenants(w, (struct credential[]){bob, rows[i].alice}, rows[i].n, rows[i].acme_disabled);
        assert_int_equal(session_is_live(s, w->clock.now_ms), !rows[i].ends);
        assert_int_equal(counts(w).ended, rows[i].ends);
        session_unref(s);
    }
}

/* What was wrong may be right now. */
static void test_failures_are_forgotten_with_a_change(void **state)
{
    struct world *w = *state;
    struct credential changed = alice;

    assert_int_equal(try(w, "alice:new password", 1), LOGIN_REFUSED);
    assert_int_equal(credential_set_password(&changed, SPAN("new password"), ROUNDS), OK);
    changed.changed_wall_ms++;
    set_tenants(w, &changed, 1, false);
    assert_int_equal(try(w, "alice:new password", 1), LOGIN_OK);
    assert_int_equal(try(w, "alice:correct horse", 1), LOGIN_REFUSED);
}

/* The change comes while the old password is being looked at. */
static void test_change_under_way(void **state)
{
    struct world *w = *state;
    struct credential changed = alice;
    struct asked a;

    changed.changed_wall_ms++;
    ask(w, &a, "alice:correct horse");
    set_tenants(w, &changed, 1, false);
    assert_int_equal(answer_of(w, &a), LOGIN_REFUSED);
    assert_null(a.session);
    assert_int_equal(counts(w).sessions, 0);
}

static void test_cancel(void **state)
{
    struct world *w = *state;
    struct asked a, b, c;

    ask(w, &a, "alice:correct horse");
    ask(w, &b, "alice:correct horse");
    logins_cancel(a.waiter);
    assert_int_equal(answer_of(w, &b), LOGIN_OK);
    session_unref(b.session);
    assert_int_equal(a.answer, LOGIN_WAIT);
    /* Also when its call is on its way. */
    w->clock.now_ms += 3600000;
    ask(w, &c, "alice:correct horse");
    while (counts(w).sessions == 0 || counts(w).derived < 2 || counts(w).waiting > 0)
        (void)usleep(1000);
    logins_cancel(c.waiter);
    test_settle(w->loop);
    assert_int_equal(c.answer, LOGIN_WAIT);
    logins_cancel(NULL);
}

static void test_a_full_queue(void **state)
{
    struct world *w = *state;
    struct asked v[20];
    unsigned busy = 0, refused = 0;
    char text[64];

    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        (void)snprintf(text, sizeof text, "user%u:some password", i);
        ask_from(w, &v[i], text, 1000 + i, NULL);
    }
    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        busy += answer_of(w, &v[i]) == LOGIN_BUSY;
        refused += v[i].answer == LOGIN_REFUSED;
    }
    assert_int_equal(busy + refused, ARRAY_LEN(v));
    assert_true(busy > 0 && refused >= 8); /* as many as wait, at least */
    assert_int_equal(counts(w).queue_full, busy);
}

static enum login_answer ask_token(struct world *w, struct span token)
{
    struct asked a = {0};
    const struct login_request r = {
        .loop = w->loop, .token = token, .source = 1, .ready = on_ready, .arg = &a};

    a.answer = logins_ask(w->logins, &r, &a.session, &a.waiter);
    assert_null(a.waiter);
    return a.answer;
}

static void test_not_base64(void **state)
{
    struct world *w = *state;

    assert_int_equal(ask_token(w, SPAN("????")), LOGIN_REFUSED);
    assert_int_equal(counts(w).verified, 0);
}

/* What nobody can be called is refused at once, so that it can be held, and is a guess like any
 * other: one each, however often it is sent. */
static void test_what_cannot_be_right_costs(void **state)
{
    struct world *w = *state;
    static const char *const tokens[] = {"bm8gY29sb24=", "bm8gY29sb24x", "OmVtcHR5",
                                         "YTpi=", "YTpiCg=="};

    for (unsigned i = 0; i < ARRAY_LEN(tokens); i++) {
        assert_int_equal(ask_token(w, span_of(tokens[i])), LOGIN_REFUSED);
        assert_int_equal(ask_token(w, span_of(tokens[i])), LOGIN_REFUSED);
        assert_int_equal(counts(w).refused, i + 1);
    }
    assert_int_equal(counts(w).hits, ARRAY_LEN(tokens));
    assert_int_equal(counts(w).verified, 0);
    assert_int_equal(ask_token(w, SPAN("bm8gY29sb24y")), LOGIN_BUSY);
    assert_int_equal(try(w, "alice:correct horse", 1), LOGIN_BUSY);
    w->clock.now_ms += 1000;
    assert_int_equal(try(w, "alice:correct horse", 1), LOGIN_OK);
}

static void test_verifiers_grow(void **state)
{
    struct world *w = *state;

    w->set.rounds = 2 * ROUNDS;
    logins_set(w->logins, &w->set);
    struct session *s = log_in(w, "alice:correct horse");

    TURN_UNTIL(w->loop, __atomic_load_n(&w->n_upgraded, __ATOMIC_ACQUIRE) == 1);
    assert_int_equal(w->upgraded.rounds, 2 * ROUNDS);
    assert_int_equal(w->upgraded.version, alice.version);
    assert_memory_not_equal(w->upgraded.salt, alice.salt, sizeof alice.salt);
    /* What Digest needs is of the same password, too. */
    assert_string_equal(w->upgraded.digest.realm, "printers");
    assert_true(digest_hex_equal(digest_verifier_ha1(&w->upgraded.digest, DIGEST_SHA256),
                                 digest_verifier_ha1(&alice.digest, DIGEST_SHA256)));
    assert_true(digest_hex_equal(digest_verifier_ha1(&w->upgraded.digest, DIGEST_MD5),
                                 digest_verifier_ha1(&alice.digest, DIGEST_MD5)));
    /* Stored, it is the same password: the session goes on. */
    set_tenants(w, &w->upgraded, 1, false);
    assert_true(session_is_live(s, w->clock.now_ms));
    w->clock.now_ms += 3600000;
    session_unref(log_in(w, "alice:correct horse"));
    assert_int_equal(w->n_upgraded, 1);
    session_unref(s);
}

static void test_seals(void **state)
{
    struct world *w = *state;
    struct session *s = log_in(w, "alice:correct horse");
    uint8_t seal[SESSION_SEAL_LEN];

    session_seal(s, seal);
    struct session *t = logins_unseal(w->logins, (struct span){(char *)seal, sizeof seal});

    assert_ptr_equal(s, t);
    session_unref(t);
    for (unsigned i = 0; i < sizeof seal; i++) {
        seal[i] ^= 1;
        assert_null(logins_unseal(w->logins, (struct span){(char *)seal, sizeof seal}));
        seal[i] ^= 1;
    }
    assert_null(logins_unseal(w->logins, (struct span){(char *)seal, sizeof seal - 1}));
    assert_null(logins_unseal(w->logins, SPAN_NONE));
    w->clock.now_ms += 3600000;
    assert_null(logins_unseal(w->logins, (struct span){(char *)seal, sizeof seal}));
    session_unref(s);
}

/* The least recently used goes first. */
static void test_few_sessions(void **state)
{
    struct world *w = *state;
    struct credential v[36];
    char text[64];

    w->set.sessions_max = 16; /* two in each of the shards */
    logins_set(w->logins, &w->set);
    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        v[i] = alice;
        (void)snprintf(v[i].user, sizeof v[i].user, "user%u", i);
    }
    set_tenants(w, v, ARRAY_LEN(v), false);
    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        (void)snprintf(text, sizeof text, "user%u:correct horse", i);
        session_unref(log_in(w, text));
    }
    assert_true(counts(w).sessions <= 32);
    session_unref(log_in(w, "user35:correct horse"));
    assert_int_equal(counts(w).misses, ARRAY_LEN(v));
}

/* One waits as long as the setting says; a crowd is let go one after the other, but nobody is held
 * for ever. */
static void test_a_crowd_is_held_for_longer(void **state)
{
    struct world *w = *state;

    assert_int_equal(logins_hold_ms(w->logins), 0);
    assert_int_equal(counts(w).held, 0); /* nothing was */
    w->set.hold_ms = 640;
    logins_set(w->logins, &w->set);
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(logins_hold_ms(w->logins), 640 + 10 * i);
    for (unsigned i = 0; i < 5000; i++)
        assert_true(logins_hold_ms(w->logins) <= 30000);
    assert_int_equal(logins_hold_ms(w->logins), 30000);
    w->clock.now_ms += 30000; /* they have gone */
    assert_int_equal(logins_hold_ms(w->logins), 640);
    assert_int_equal(counts(w).held, 1000 + 5000 + 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_two_derivations_however_many_ask),
        TEST(test_a_crowd_is_held_for_longer),
        TEST(test_another_login_is_another_session),
        TEST(test_nobody_learns_who_exists),
        TEST(test_rounds_are_those_of_the_slowest),
        TEST(test_a_failure_is_remembered),
        TEST(test_guessing_has_to_wait),
        TEST(test_guessing_at_one_user),
        TEST(test_guessing_elsewhere),
        TEST(test_an_hour),
        TEST(test_renewal),
        TEST(test_renewals_are_spread),
        TEST(test_what_ends_sessions),
        TEST(test_failures_are_forgotten_with_a_change),
        TEST(test_change_under_way),
        TEST(test_cancel),
        TEST(test_a_full_queue),
        TEST(test_not_base64),
        TEST(test_what_cannot_be_right_costs),
        TEST(test_verifiers_grow),
        TEST(test_seals),
        TEST(test_few_sessions),
    };

    return cmocka_run_group_tests(tests, make_users, NULL);
}
