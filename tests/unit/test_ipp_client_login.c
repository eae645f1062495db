/* SPDX-License-Identifier: Apache-2.0 */
/* The IPP client and printers that want to know who asks: what is answered, to whom, and what is
 * not, on which channel. */
#include "test_ipp_client_world.h"

#include "http/digest_params.h"

/* ---- Digest ---- */

static void hear_digest(struct fixture *f, struct digest_credentials *ret, char room[4096])
{
    struct writer scratch = writer_of(room, 4096);

    hear_request(f);
    assert_int_equal(digest_credentials_parse(span_of(f->authorization), &scratch, ret), DIGEST_OK);
}

/* rspauth of a server that knows the password |password|. */
static void rspauth(const struct digest_credentials *c, const char *password,
                    struct digest_hex *ret)
{
    const struct digest_proof proof = {.alg = c->alg,
                                       .qop = c->qop,
                                       .nonce = c->nonce,
                                       .nc = c->nc,
                                       .cnonce = c->cnonce,
                                       .uri = c->uri};
    struct digest_hex ha1;

    assert_int_equal(digest_ha1(c->alg, SPAN(USER), c->realm, span_of(password), &ha1), DIGEST_OK);
    assert_int_equal(digest_response(&proof, &ha1, ret), DIGEST_OK);
}

static void check_digest(struct fixture *f, enum ipp_channel channel)
{
    struct digest_credentials c;
    char room[4096];

    hear_request(f);
    assert_string_equal(f->authorization, "");
    assert_int_equal(f->n_passwords, 0);
    say(f, ASK_DIGEST);
    hear_digest(f, &c, room);
    assert_true(span_eq(c.user, SPAN(USER)));
    assert_true(span_eq(c.uri, SPAN("/q")));
    assert_int_equal(c.alg, DIGEST_SHA256);
    assert_int_equal(c.qop, DIGEST_QOP_AUTH);
    assert_int_equal(f->header.request_id, 1);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->result.level.channel, channel);
    assert_int_equal(f->result.level.user, IPP_USER_DIGEST);
    assert_int_equal(f->result.lacks, IPP_NEED_NOTHING);
    assert_int_equal(f->n_passwords, 1);
    /* And the next one without being asked. */
    ask(f);
    hear_digest(f, &c, room);
    assert_int_equal(c.count, 2);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->n_passwords, 1);
}

static void test_digest_in_clear(void **state)
{
    struct fixture *f = *state;

    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=DAA", USER);
    ask(f);
    accept_one(f);
    check_digest(f, IPP_CHANNEL_CLEAR);
}

/* First the channel, then who asks (the draft, 3.1). */
static void test_digest_after_upgrade(void **state)
{
    struct fixture *f = *state;

    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=DAA,TLS", USER);
    ask(f);
    upgrade(f, FINAL);
    check_digest(f, IPP_CHANNEL_UPGRADED);
}

static void test_digest_in_ipps(void **state)
{
    struct fixture *f = *state;

    use_as(f, "ipps://127.0.0.1:%u/q;AUTH=DAA", USER);
    ask(f);
    accept_one(f);
    begin_tls(f, server_implicit);
    check_digest(f, IPP_CHANNEL_IMPLICIT);
}

/* The answer belongs to none of what the list has: the question was answered all the same, and the
 * caller is told what is missing. */
static void test_not_asked(void **state)
{
    struct fixture *f = *state;

    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=DAA", USER);
    ask(f);
    accept_one(f);
    hear_request(f);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->result.level.user, IPP_USER_CLAIMED);
    assert_int_equal(f->result.lacks, IPP_NEED_DIGEST);
}

static void test_connection_ends_with_401(void **state)
{
    struct fixture *f = *state;
    struct digest_credentials c;
    char room[4096];

    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=TLS,DAA", USER);
    ask(f);
    upgrade(f, FINAL);
    hear_request(f);
    say(f, DENIED CHALLENGE("n1") "Connection: close\r\n\r\nno");
    upgrade(f, FINAL);
    hear_digest(f, &c, room);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

static void test_stale(void **state)
{
    struct fixture *f = *state;
    struct digest_credentials c;
    char room[4096];

    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=DAA", USER);
    ask(f);
    accept_one(f);
    hear_request(f);
    say(f, ASK_DIGEST);
    hear_digest(f, &c, room);
    say(f, DENIED "WWW-Authenticate: Digest realm=\"r\", qop=\"auth\", algorithm=SHA-256, "
                  "nonce=\"n2\", stale=true\r\n\r\nno");
    hear_digest(f, &c, room);
    assert_true(span_eq(c.nonce, SPAN("n2")));
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->n_passwords, 1);
}

/* Not for ever. */
static void test_stale_again_and_again(void **state)
{
    struct fixture *f = *state;

    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=DAA", USER);
    ask(f);
    accept_one(f);
    for (unsigned i = 0; i < 10 && !f->n_done; i++) {
        char text[300];

        hear_request(f);
        (void)snprintf(text, sizeof text,
                       DENIED "WWW-Authenticate: Digest realm=\"r\", qop=\"auth\", "
                              "algorithm=SHA-256, nonce=\"n%u\", stale=true\r\n\r\nno",
                       i);
        say(f, text);
        settle(f);
    }
    finish_with(f, IPP_CLIENT_LOGIN, "asks who we are");
}

static void test_wrong_password(void **state)
{
    struct fixture *f = *state;

    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=DAA", USER);
    ask(f);
    accept_one(f);
    hear_request(f);
    say(f, ASK_DIGEST);
    hear_request(f);
    say(f, DENIED CHALLENGE("n2") "\r\nno");
    finish_with(f, IPP_CLIENT_LOGIN, "does not accept user 'ann'");
    ends_silently(f);
}

static void test_no_user(void **state)
{
    struct fixture *f = *state;

    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    say(f, ASK_DIGEST);
    finish_with(f, IPP_CLIENT_LOGIN, "name a user (-u)");
    ends_silently(f);
}

static const char *no_password(void *arg)
{
    (void)arg;
    return NULL;
}

static void test_no_password(void **state)
{
    struct fixture *f = *state;

    f->set.login = (struct ipp_client_login){.user = USER, .password = no_password};
    ask_at(f, "ipp://127.0.0.1:%u/q");
    hear_request(f);
    say(f, ASK_DIGEST);
    finish_with(f, IPP_CLIENT_LOGIN, "the password of user 'ann'");
}

/* A user that no field can hold is not asked for over and over. */
static void test_impossible_user(void **state)
{
    struct fixture *f = *state;

    ask_at_as(f, "ipp://127.0.0.1:%u/q", "a:b");
    for (unsigned i = 0; i < 10 && !f->n_done; i++) {
        hear_request(f);
        assert_string_equal(f->authorization, "");
        say(f, ASK_DIGEST);
        settle(f);
    }
    finish_with(f, IPP_CLIENT_LOGIN, "the printer cannot be told who asks");
}

/* ---- the rest of an answer that is no result ---- */

static void hear_login_anew(struct fixture *f)
{
    struct digest_credentials c;
    char room[4096];

    accept_one(f);
    hear_digest(f, &c, room);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

/* Types for longer than the printer may say nothing. */
static const char *type_slowly(void *arg)
{
    ((struct fixture *)arg)->clock.now_ms += 400000;
    return give_password(arg);
}

static void test_slow_typist(void **state)
{
    struct fixture *f = *state;

    f->set.login = (struct ipp_client_login){.user = USER, .password = type_slowly, .arg = f};
    f->message.user = USER;
    use(f, "ipp://127.0.0.1:%u/q;AUTH=DAA");
    ask(f);
    accept_one(f);
    hear_request(f);
    say(f, DENIED CHALLENGE("n1") "\r\n"); /* its body comes later */
    hear_login_anew(f);
}

/* It gets a moment, and not one with each byte. */
static void test_401_that_drips(void **state)
{
    struct fixture *f = *state;

    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=DAA", USER);
    ask(f);
    accept_one(f);
    hear_request(f);
    say(f, "HTTP/1.1 401 No\r\nContent-Length: 60000\r\n" CHALLENGE("n1") "\r\n");
    pass(f, 600);
    say(f, "n");
    pass(f, 600);
    hear_login_anew(f);
}

/* ---- the printer's proof ---- */

static void check_proof(struct fixture *f, const char *password, enum ipp_client_end end)
{
    struct digest_credentials c;
    struct digest_hex proof;
    char room[4096], fields[300];

    use_as(f, "ipp://127.0.0.1:%u/q;AUTH=DAA", USER);
    ask(f);
    accept_one(f);
    hear_request(f);
    say(f, ASK_DIGEST);
    hear_digest(f, &c, room);
    rspauth(&c, password, &proof);
    (void)snprintf(fields, sizeof fields,
                   "Authentication-Info: rspauth=\"%s\", qop=auth, cnonce=\"" SPAN_FMT
                   "\", nc=" SPAN_FMT "\r\n",
                   proof.text, SPAN_ARG(c.cnonce), SPAN_ARG(c.nc));
    answer(f, IPP_SUCCESSFUL_OK, fields);
    finish(f, end);
}

static void test_proof(void **state)
{
    check_proof(*state, PASSWORD, IPP_CLIENT_ANSWERED);
}

static void test_wrong_proof(void **state)
{
    struct fixture *f = *state;

    check_proof(f, "guessed", IPP_CLIENT_LOGIN);
    assert_non_null(strstr(f->result.why, "did not prove"));
    assert_int_equal(f->status, 0xffff);
}

/* ---- Basic ---- */

static void test_basic_is_not_answered(void **state)
{
    struct fixture *f = *state;

    ask_at_as(f, "ipps://127.0.0.1:%u/q", USER);
    begin_tls(f, server_implicit);
    hear_request(f);
    say(f, DENIED BASIC "\r\nno");
    finish_with(f, IPP_CLIENT_LOGIN, "--allow-basic");
    ends_silently(f);
    assert_int_equal(f->n_passwords, 0);
}

static void test_basic_allowed(void **state)
{
    struct fixture *f = *state;

    f->set.allow_basic = true;
    ask_at_as(f, "ipps://127.0.0.1:%u/q", USER);
    begin_tls(f, server_implicit);
    hear_request(f);
    say(f, DENIED BASIC "\r\nno");
    hear_request(f);
    assert_string_equal(f->authorization, "Basic YW5uOnMzY3JldA==");
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
    assert_int_equal(f->result.level.user, IPP_USER_BASIC);
}

static const char *give_long_password(void *arg)
{
    static char text[1024 + 1];

    (void)arg;
    memset(text, 'x', sizeof text - 1);
    return text;
}

/* The longest that there is. */
static void test_basic_with_a_long_password(void **state)
{
    struct fixture *f = *state;

    f->set.allow_basic = true;
    f->set.login = (struct ipp_client_login){.user = USER, .password = give_long_password};
    f->message.user = USER;
    ask_at(f, "ipps://127.0.0.1:%u/q");
    begin_tls(f, server_implicit);
    hear_request(f);
    say(f, DENIED BASIC "\r\nno");
    hear_request(f);
    assert_int_equal(strncmp(f->authorization, "Basic YW5uOnh4eHh4", 18), 0);
    assert_int_equal(strlen(f->authorization), strlen("Basic ") + (4 + 1024 + 2) / 3 * 4);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

/* Digest is taken where there is a choice, whatever comes first. */
static void test_basic_first(void **state)
{
    struct fixture *f = *state;

    f->set.allow_basic = true;
    ask_at_as(f, "ipps://127.0.0.1:%u/q", USER);
    begin_tls(f, server_implicit);
    hear_request(f);
    say(f, DENIED BASIC CHALLENGE("n") "\r\nno");
    hear_request(f);
    assert_int_equal(strncmp(f->authorization, "Digest ", 7), 0);
    answer(f, IPP_SUCCESSFUL_OK, "");
    finish(f, IPP_CLIENT_ANSWERED);
}

/* Allowed or not: nobody tells a password to everybody. */
static void test_basic_in_clear(void **state)
{
    struct fixture *f = *state;

    f->set.allow_basic = true;
    ask_at_as(f, "ipp://127.0.0.1:%u/q", USER);
    hear_request(f);
    say(f, DENIED BASIC "\r\nno");
    finish_with(f, IPP_CLIENT_LOGIN, "to whoever listens");
    assert_int_equal(f->n_passwords, 0);
}

/* Nor to anybody who may be the printer. */
static void test_basic_to_anybody(void **state)
{
    struct fixture *f = *state;

    f->set.allow_basic = f->set.insecure = true;
    ask_at_as(f, "ipps://127.0.0.1:%u/q", USER);
    begin_tls(f, server_implicit);
    hear_request(f);
    say(f, DENIED BASIC "\r\nno");
    finish_with(f, IPP_CLIENT_LOGIN, "to whoever listens");
}

static void test_basic_for_daa(void **state)
{
    struct fixture *f = *state;

    f->set.allow_basic = true;
    use_as(f, "ipps://127.0.0.1:%u/q;AUTH=DAA", USER);
    ask(f);
    accept_one(f);
    begin_tls(f, server_implicit);
    hear_request(f);
    say(f, DENIED BASIC "\r\nno");
    finish_with(f, IPP_CLIENT_SECURITY, "Digest is demanded");
    assert_int_equal(f->n_passwords, 0);
}

static void test_other_schemes(void **state)
{
    struct fixture *f = *state;

    ask_at_as(f, "ipps://127.0.0.1:%u/q", USER);
    begin_tls(f, server_implicit);
    hear_request(f);
    say(f, DENIED "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: Bearer realm=\"r\"\r\n\r\nno");
    finish_with(f, IPP_CLIENT_LOGIN, "in a way that is not answered");
}

static void test_401_without_challenge(void **state)
{
    struct fixture *f = *state;

    ask_at_as(f, "ipps://127.0.0.1:%u/q", USER);
    begin_tls(f, server_implicit);
    hear_request(f);
    say(f, DENIED "\r\nno");
    finish_with(f, IPP_CLIENT_LOGIN, "in a way that is not answered");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_digest_in_clear),
        CASE(test_digest_after_upgrade),
        CASE(test_digest_in_ipps),
        CASE(test_not_asked),
        CASE(test_connection_ends_with_401),
        CASE(test_stale),
        CASE(test_stale_again_and_again),
        CASE(test_wrong_password),
        CASE(test_no_user),
        CASE(test_no_password),
        CASE(test_impossible_user),
        CASE(test_slow_typist),
        CASE(test_401_that_drips),
        CASE(test_proof),
        CASE(test_wrong_proof),
        CASE(test_basic_is_not_answered),
        CASE(test_basic_allowed),
        CASE(test_basic_with_a_long_password),
        CASE(test_basic_first),
        CASE(test_basic_in_clear),
        CASE(test_basic_to_anybody),
        CASE(test_basic_for_daa),
        CASE(test_other_schemes),
        CASE(test_401_without_challenge),
    };

    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
