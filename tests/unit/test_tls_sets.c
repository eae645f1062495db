/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a tls entry: which are read, what they must be, and what counts when they are of no
 * use: those of before, waiting, or a refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proc/settings_load.h"
#include "test_certs.h"

#define LISTENER  "listeners: [{name: edge, address: \"127.0.0.1:1344\", tls: t"
#define LISTENERS LISTENER ", peers: [\"dns:a\"]}]\n"

/* A folder with a configuration and a directory of certificates. */
struct place {
    char dir[64];
    struct test_cert ca, other_ca, first, second;
    struct settings_loaded *loaded;
    struct config_report r;
    struct buf said;
};

static const char *path_of(const struct place *p, const char *name)
{
    static char path[4][256];
    static unsigned n;
    char *at = path[n++ % 4];

    (void)snprintf(at, sizeof path[0], "%s/%s", p->dir, name);
    return at;
}

static void put(const struct place *p, const char *name, const char *text)
{
    FILE *f = fopen(path_of(p, name), "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path_of(p, name), 0600), 0);
}

static void put_set(const struct place *p, const char *dir, const struct test_cert *cert)
{
    char name[64];

    (void)mkdir(path_of(p, dir), 0700);
    (void)snprintf(name, sizeof name, "%s/tls-server-cert", dir);
    put(p, name, cert->cert_pem);
    (void)snprintf(name, sizeof name, "%s/tls-server-key", dir);
    put(p, name, cert->key_pem);
    (void)snprintf(name, sizeof name, "%s/tls-cafile", dir);
    put(p, name, p->ca.cert_pem);
}

/* |keys|: of the tls entry, with @ for the folder. */
static void configure_with(const struct place *p, const char *listeners, const char *keys)
{
    struct span rest = span_of(keys);
    struct buf text;

    buf_init(&text, 0);
    buf_text(&text, listeners);
    buf_text(&text, "tls: [{name: t, ");
    buf_add(&text, span_cut(&rest, '@'));
    while (rest.p) {
        buf_text(&text, p->dir);
        buf_add(&text, span_cut(&rest, '@'));
    }
    buf_text(&text, "}]\n");
    put(p, "x.yaml", buf_cstr(&text));
    buf_done(&text);
}

static void configure(const struct place *p, const char *keys)
{
    configure_with(p, LISTENERS, keys);
}

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);

    assert_non_null(p);
    (void)span_copy(SPAN("/tmp/test_tls_sets-XXXXXX"), p->dir, sizeof p->dir);
    assert_non_null(mkdtemp(p->dir));
    p->ca = test_ca_new("ca");
    p->other_ca = test_ca_new("other");
    p->first = test_cert_new(&p->ca, (struct test_cert_spec){.cn = "first"});
    p->second = test_cert_new(&p->ca, (struct test_cert_spec){.cn = "second"});
    config_report_init(&p->r);
    buf_init(&p->said, 0);
    configure(p, "directory: @/certs");
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    char command[128];

    (void)snprintf(command, sizeof command, "rm -rf %s", p->dir);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a path of ours */
    settings_loaded_free(p->loaded);
    config_report_done(&p->r);
    buf_done(&p->said);
    test_cert_free(&p->first);
    test_cert_free(&p->second);
    test_cert_free(&p->ca);
    test_cert_free(&p->other_ca);
    free(p);
    return 0;
}

enum how { START, RELOAD, AGAIN };

/* What comes takes the place of what was loaded before; |said| has the complaints. */
static enum err load(struct place *p, enum how how)
{
    struct settings_loaded *l = NULL;
    const char *path = path_of(p, "x.yaml");

    config_report_done(&p->r);
    config_report_init(&p->r);
    enum err e = how == START    ? settings_load(path, NULL, &p->r, &l)
                 : how == RELOAD ? settings_reload(p->loaded, path, NULL, &p->r, &l)
                                 : settings_load_again(p->loaded, &p->r, &l);

    buf_reset(&p->said);
    config_report_print(&p->r, &p->said);
    if (!e) {
        settings_loaded_free(p->loaded);
        p->loaded = l;
    }
    return e;
}

static void expect_served(const struct place *p, const char *subject)
{
    assert_false(p->loaded->settings.tls[0].waits);
    assert_int_equal(p->loaded->n_files, 3);
    assert_int_equal(p->loaded->files[0].owner, 1);
    assert_string_equal(p->loaded->tls[0].certificate.subject, subject);
}

static void expect_refused(const struct place *p, const char *why)
{
    assert_non_null(p->loaded->tls[0].refused);
    assert_non_null(strstr(p->loaded->tls[0].refused, why));
}

static void waits(void **state)
{
    struct place *p = *state;

    assert_int_equal(load(p, START), OK);
    assert_true(p->loaded->settings.tls[0].waits);
    assert_int_equal(p->loaded->n_files, 0);
    expect_refused(p, "certs/tls-server-cert': No such file or directory");
    assert_non_null(strstr(buf_cstr(&p->said), "warning: cannot read"));
    /* Also when nothing but the CA is missing: nobody gets in without a certificate by mistake. */
    put_set(p, "certs", &p->first);
    (void)unlink(path_of(p, "certs/tls-cafile"));
    assert_int_equal(load(p, AGAIN), OK);
    assert_true(p->loaded->settings.tls[0].waits);
    expect_refused(p, "certs/tls-cafile': No such file or directory");
    put_set(p, "certs", &p->first);
    assert_int_equal(load(p, AGAIN), OK);
    expect_served(p, "CN=first");
    assert_null(p->loaded->tls[0].refused);
}

/* What "..data" points to counts, whatever lies beside it. */
static void behind_a_link(void **state)
{
    struct place *p = *state;

    put_set(p, "certs", &p->first);
    put_set(p, "certs/..v2", &p->second);
    assert_int_equal(symlink("..v2", path_of(p, "certs/..data")), 0);
    assert_int_equal(load(p, START), OK);
    expect_served(p, "CN=second");
}

struct bad {
    const char *name;
    void (*spoil)(struct place *p);
    const char *why;
};

static void spoil_key(struct place *p)
{
    put(p, "certs/tls-server-key", p->first.key_pem);
}

static void spoil_cut(struct place *p)
{
    put(p, "certs/tls-server-key", "-----BEGIN PRIVATE KEY-----\nMIG");
}

static void spoil_empty(struct place *p)
{
    put(p, "certs/tls-server-cert", "");
}

static void spoil_date(struct place *p)
{
    struct test_cert old = test_cert_new(
        &p->ca, (struct test_cert_spec){.cn = "old", .from = -3 * TEST_DAY, .until = -TEST_DAY});

    put_set(p, "certs", &old);
    test_cert_free(&old);
}

static void spoil_future(struct place *p)
{
    struct test_cert later = test_cert_new(
        &p->ca, (struct test_cert_spec){.cn = "later", .from = TEST_DAY, .until = 3 * TEST_DAY});

    put_set(p, "certs", &later);
    test_cert_free(&later);
}

static void spoil_ca(struct place *p)
{
    put(p, "certs/tls-cafile", p->other_ca.cert_pem);
}

static void spoil_no_ca(struct place *p)
{
    (void)unlink(path_of(p, "certs/tls-cafile"));
}

static const struct bad bads[] = {
    {"another key",    spoil_key,    "the key does not belong to the certificate"  },
    {"half a key",     spoil_cut,    "not an unencrypted PEM private key"          },
    {"no certificate", spoil_empty,  "and neither be empty"                        },
    {"expired",        spoil_date,   "the certificate expired on"                  },
    {"too early",      spoil_future, "the certificate is not valid before"         },
    {"another CA",     spoil_ca,     "does not belong to the CAs"                  },
    {"no CA",          spoil_no_ca,  "certs/tls-cafile': No such file or directory"},
};

static void keeps(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bads); i++) {
        struct place *p = *state;

        print_message("%s\n", bads[i].name);
        put_set(p, "certs", &p->first);
        assert_int_equal(load(p, p->loaded ? AGAIN : START), OK);
        expect_served(p, "CN=first");
        put_set(p, "certs", &p->second);
        bads[i].spoil(p);
        /* Again and again: what is kept can be kept once more. */
        for (unsigned n = 0; n < 2; n++) {
            assert_int_equal(load(p, n ? RELOAD : AGAIN), OK);
            expect_served(p, "CN=first");
            expect_refused(p, bads[i].why);
        }
        put_set(p, "certs", &p->second);
        assert_int_equal(load(p, AGAIN), OK);
        expect_served(p, "CN=second");
        assert_null(p->loaded->tls[0].refused);
    }
}

/* A start with the same files: nothing to keep. */
static void start_with_bad(void **state)
{
    struct place *p = *state;

    put_set(p, "certs", &p->second);
    spoil_key(p);
    assert_int_equal(load(p, START), OK);
    assert_true(p->loaded->settings.tls[0].waits);
    assert_int_equal(p->loaded->n_files, 0);
    /* Keys that name files refuse, as ever; an issuer may be anybody. */
    configure(p, "certificate: @/certs/tls-server-cert, key: @/certs/tls-server-key, client-ca: "
                 "@/certs/tls-cafile");
    assert_int_equal(load(p, START), ERR_CONFIG);
    assert_non_null(strstr(buf_cstr(&p->said), "the key does not belong to the certificate"));
    put_set(p, "certs", &p->second);
    spoil_ca(p);
    assert_int_equal(load(p, START), OK);
    assert_non_null(strstr(buf_cstr(&p->said), "warning: the certificate does not belong"));
    spoil_key(p);
    assert_int_equal(load(p, RELOAD), ERR_CONFIG);
    assert_int_equal(load(p, AGAIN), OK);
    expect_served(p, "CN=second");
}

static void open_stays_open(void **state)
{
    struct place *p = *state;

    put_set(p, "certs", &p->first);
    assert_int_equal(load(p, START), OK);
    configure(p, "directory: @/elsewhere");
    assert_int_equal(load(p, RELOAD), ERR_CONFIG);
    assert_non_null(strstr(buf_cstr(&p->said), "the listener is open, and would have to close"));
    put_set(p, "elsewhere", &p->second);
    assert_int_equal(load(p, RELOAD), OK);
    expect_served(p, "CN=second");
}

static void sets_are_told_apart(void **state)
{
    struct place *p = *state;
    struct settings_loaded *old = NULL;

    put_set(p, "certs", &p->first);
    assert_int_equal(load(p, START), OK);
    config_report_done(&p->r);
    config_report_init(&p->r);
    assert_int_equal(settings_load_again(p->loaded, &p->r, &old), OK);
    assert_true(settings_tls_is_same(p->loaded, 0, old, 0));
    (void)unlink(path_of(p, "certs/tls-server-key"));
    put_set(p, "certs", &p->second);
    assert_int_equal(load(p, AGAIN), OK);
    assert_false(settings_tls_is_same(p->loaded, 0, old, 0));
    assert_non_null(settings_tls_file(old, 0, path_of(p, "certs/tls-server-key")));
    assert_null(settings_tls_file(old, 0, path_of(p, "certs/nothing")));
    settings_loaded_free(old);
}

/* ---- files of the TLS policy ---- */

static void put_crl_until(const struct place *p, const struct test_cert *revoked, long end)
{
    char *crl = test_crl_new(&p->ca, revoked, -2 * TEST_DAY, end);

    put(p, "certs/crl", crl);
    free(crl);
}

static void put_crl(const struct place *p, const struct test_cert *revoked)
{
    put_crl_until(p, revoked, TEST_DAY);
}

static void expect_whole(const struct place *p)
{
    struct tls_file files[TLS_FILES_MAX];
    unsigned n = settings_tls_files(&p->loaded->settings.tls[0], files);

    assert_false(p->loaded->settings.tls[0].waits);
    assert_int_equal(p->loaded->n_files, n);
    for (unsigned i = 0; i < n; i++)
        assert_string_equal(p->loaded->files[i].path, files[i].path);
}

static void expect_text(const struct place *p, const char *name, const char *text)
{
    const struct settings_file *f = settings_tls_file(p->loaded, 0, path_of(p, name));

    assert_non_null(f);
    assert_true(span_eq(f->text, span_of(text)));
}

static const struct {
    const char *name, *text, *why;
} policy_bads[] = {
    {"certs/crl",  "junk",                            "there is no CRL in a file of CRLs"},
    {"certs/crl",  NULL,                              "certs/crl': No such file"         },
    {"secret",     "short",                           "less than 32 bytes"               },
    {"secret",     NULL,                              "secret': No such file"            },
    {"staple.der", NULL,                              "staple.der': No such file"        },
    {"staple.der", "what is no response is not sent", NULL                               },
};

/* A bad one of them keeps all of them; an OCSP response that is of no use holds up nothing. */
static void policy_files_are_of_the_set(void **state)
{
    const char *const secret = "0123456789abcdef0123456789abcdef";
    struct place *p = *state;

    configure(p, "directory: @/certs, client-crl: [@/certs/crl], ticket-secret: @/secret, ocsp: "
                 "@/staple.der");
    for (size_t i = 0; i < ARRAY_LEN(policy_bads); i++) {
        put_set(p, "certs", &p->first);
        put_crl(p, NULL);
        put(p, "secret", secret);
        put(p, "staple.der", "no response");
        assert_int_equal(load(p, p->loaded ? AGAIN : START), OK);
        assert_non_null(strstr(buf_cstr(&p->said), "staple.der' is not sent to clients"));
        expect_whole(p);
        assert_null(p->loaded->tls[0].refused);

        put_set(p, "certs", &p->second);
        if (policy_bads[i].text)
            put(p, policy_bads[i].name, policy_bads[i].text);
        else
            (void)unlink(path_of(p, policy_bads[i].name));
        for (unsigned n = 0; n < 2; n++) {
            assert_int_equal(load(p, n ? RELOAD : AGAIN), OK);
            expect_whole(p);
            expect_text(p, "certs/tls-server-cert",
                        policy_bads[i].why ? p->first.cert_pem : p->second.cert_pem);
            expect_text(p, "secret", secret);
            if (policy_bads[i].why)
                expect_refused(p, policy_bads[i].why);
            else
                assert_null(p->loaded->tls[0].refused);
        }
    }
}

static void another_crl_is_another_set(void **state)
{
    struct place *p = *state;
    struct settings_loaded *old = NULL;

    put_set(p, "certs", &p->first);
    put_crl(p, NULL);
    configure(p, "directory: @/certs, client-crl: @/certs/crl");
    assert_int_equal(load(p, START), OK);
    config_report_done(&p->r);
    config_report_init(&p->r);
    assert_int_equal(settings_load_again(p->loaded, &p->r, &old), OK);
    put_crl(p, &p->second);
    assert_int_equal(load(p, AGAIN), OK);
    assert_false(settings_tls_is_same(p->loaded, 0, old, 0));
    settings_loaded_free(old);
}

/* With it nobody would get in, who does with the one from before. */
static void a_crl_that_is_over_replaces_none_that_is_not(void **state)
{
    struct place *p = *state;
    int64_t now = (int64_t)time(NULL);

    put_set(p, "certs", &p->first);
    put_crl(p, NULL);
    configure(p, "directory: @/certs, client-crl: @/certs/crl");
    assert_int_equal(load(p, START), OK);
    assert_in_range(p->loaded->tls[0].crl.not_after, now + TEST_DAY - 100, now + TEST_DAY + 100);
    put_set(p, "certs", &p->second);
    put_crl_until(p, NULL, -TEST_DAY);
    assert_int_equal(load(p, AGAIN), OK);
    expect_refused(p, "ended on");
    expect_text(p, "certs/tls-server-cert", p->first.cert_pem);
    assert_in_range(p->loaded->tls[0].crl.not_after, now, now + TEST_DAY + 100);
    put_crl(p, NULL);
    assert_int_equal(load(p, AGAIN), OK);
    assert_null(p->loaded->tls[0].refused);
    expect_text(p, "certs/tls-server-cert", p->second.cert_pem);
}

/* A start with one, and what comes after it: no client of the CA gets in, but others do, and a
 * certificate can be renewed. */
static void a_crl_that_is_over_closes_no_port(void **state)
{
    struct place *p = *state;

    put_set(p, "certs", &p->first);
    put_crl_until(p, NULL, -TEST_DAY);
    configure(p, "directory: @/certs, client-crl: @/certs/crl");
    assert_int_equal(load(p, START), OK);
    assert_non_null(strstr(buf_cstr(&p->said), "no client with a certificate gets in"));
    expect_whole(p);
    put_set(p, "certs", &p->second);
    assert_int_equal(load(p, AGAIN), OK);
    assert_null(p->loaded->tls[0].refused);
    expect_text(p, "certs/tls-server-cert", p->second.cert_pem);
}

/* Whoever says that it does not matter is taken by his word. */
static void a_crl_that_is_over_may_be_tolerated(void **state)
{
    struct place *p = *state;

    put_set(p, "certs", &p->first);
    put_crl(p, NULL);
    configure(p, "directory: @/certs, client-crl: @/certs/crl, verification-flags: "
                 "IgnoreEndRevocationUnknown");
    assert_int_equal(load(p, START), OK);
    put_crl_until(p, NULL, -TEST_DAY);
    assert_int_equal(load(p, AGAIN), OK);
    assert_null(p->loaded->tls[0].refused);
    assert_true(p->loaded->tls[0].crl.not_after < (int64_t)time(NULL));
}

/* Whoever asks for a name must not be shown another certificate than the one that it is to have. */
static void also_tls_is_waited_for(void **state)
{
    const char *const listeners = LISTENER ", also-tls: [more]}]\n";
    struct place *p = *state;
    const struct settings *s;

    put_set(p, "certs", &p->first);
    configure_with(p, listeners,
                   "directory: @/certs}, {name: more, directory: @/more, verify-client: off");
    assert_int_equal(load(p, START), OK);
    s = &p->loaded->settings;
    assert_ptr_equal(settings_listener_waits(s, &s->listeners[0]), &s->tls[1]);
    put_set(p, "more", &p->second);
    assert_int_equal(load(p, AGAIN), OK);
    s = &p->loaded->settings;
    assert_null(settings_listener_waits(s, &s->listeners[0]));
    assert_int_equal(p->loaded->n_files, 6);
    configure_with(p, listeners,
                   "directory: @/certs}, {name: more, directory: @/gone, verify-client: off");
    assert_int_equal(load(p, RELOAD), ERR_CONFIG);
    assert_non_null(strstr(buf_cstr(&p->said), "the files of tls 'more' cannot be used"));
}

/* What a directory promises does not depend on whether clients are asked. */
static void issuer_counts_without_clients(void **state)
{
    struct place *p = *state;

    configure_with(p, LISTENER "}]\n", "directory: @/certs, verify-client: off");
    put_set(p, "certs", &p->first);
    spoil_ca(p);
    assert_int_equal(load(p, START), OK);
    assert_true(p->loaded->settings.tls[0].waits);
    expect_refused(p, "does not belong to the CAs");
}

/* ---- beside the sets ---- */

static void expect_beside(const struct place *p, const char *name, const char *text)
{
    for (unsigned i = 0; i < p->loaded->n_files; i++) {
        const struct settings_file *f = &p->loaded->files[i];

        if (f->owner == 0 && strcmp(f->path, path_of(p, name)) == 0) {
            assert_true(span_eq(f->text, span_of(text)));
            return;
        }
    }
    fail_msg("%s was not loaded", name);
}

/* Sets, lists and the policy of the machine hold up each other as little as sets do. */
static void policy_and_lists_are_apart(void **state)
{
    const char *const loose = "version 1\ndefault min=none\n",
                      *const tight = "version 1\ndefault min=strong\n";
    struct place *p = *state;
    char top[512];

    if (geteuid() != 0)
        skip(); /* a policy must belong to root */
    (void)snprintf(top, sizeof top,
                   LISTENERS "policy: %s/policy\nengines: {url: {lists: [{name: l, file: %s/list, "
                             "action: deny}]}}\n",
                   p->dir, p->dir);
    configure_with(p, top, "directory: @/certs");
    put_set(p, "certs", &p->first);
    put(p, "policy", loose);
    put(p, "list", "a.test\n");
    assert_int_equal(load(p, START), OK);
    assert_null(p->loaded->policy_refused);

    put_set(p, "certs", &p->second);
    put(p, "policy", "version 1\ndefault min=medium\n");
    put(p, "list", "b.test\n");
    assert_int_equal(load(p, AGAIN), OK);
    assert_non_null(strstr(p->loaded->policy_refused, "policy:2: 'medium' is no level"));
    expect_beside(p, "policy", loose);
    expect_beside(p, "list", "b.test\n");
    expect_text(p, "certs/tls-server-cert", p->second.cert_pem);

    (void)unlink(path_of(p, "policy"));
    assert_int_equal(load(p, AGAIN), OK);
    assert_non_null(strstr(p->loaded->policy_refused, "policy': No such file"));
    expect_beside(p, "policy", loose);

    put(p, "policy", tight);
    put(p, "list", "~(\n");
    assert_int_equal(load(p, AGAIN), OK);
    assert_null(p->loaded->policy_refused);
    assert_non_null(p->loaded->lists_refused);
    expect_beside(p, "policy", tight);
    expect_beside(p, "list", "b.test\n");
    assert_int_equal(p->loaded->n_files, 5);
}

/* Nor do CAs of printers and of their scanners: each file for itself. */
static void trust_of_printers_is_apart(void **state)
{
    struct place *p = *state;
    char top[1024];

    (void)snprintf(top, sizeof top,
                   LISTENERS
                   "engines: {url: {lists: [{name: l, file: %s/list, action: deny}]}}\n"
                   "printers:\n"
                   "  - {name: one, path: /ipp/one, require: [], backend: \"ipps://one.test/q\", "
                   "backend-ca: %s/ca1}\n"
                   "  - {name: two, path: /ipp/two, require: [], backend: \"ipps://two.test/q\", "
                   "backend-ca: %s/ca2, icap: \"icaps://scan.test/s\", icap-ca: %s/ca1}\n",
                   p->dir, p->dir, p->dir, p->dir);
    configure_with(p, top, "directory: @/certs");
    put_set(p, "certs", &p->first);
    put(p, "list", "a.test\n");
    put(p, "ca1", p->first.cert_pem);
    put(p, "ca2", p->first.cert_pem);
    assert_int_equal(load(p, START), OK);
    assert_null(p->loaded->trust_refused);
    assert_int_equal(p->loaded->n_files, 6);

    put_set(p, "certs", &p->second);
    put(p, "list", "b.test\n");
    put(p, "ca1", "no certificate\n");
    put(p, "ca2", p->second.cert_pem);
    assert_int_equal(load(p, AGAIN), OK);
    assert_non_null(strstr(p->loaded->trust_refused, "printer 'one': "));
    assert_non_null(strstr(p->loaded->trust_refused, "/ca1'"));
    assert_null(strstr(p->loaded->trust_refused, "/ca2"));
    expect_beside(p, "ca1", p->first.cert_pem);
    expect_beside(p, "ca2", p->second.cert_pem);
    expect_beside(p, "list", "b.test\n");
    expect_text(p, "certs/tls-server-cert", p->second.cert_pem);
    assert_int_equal(p->loaded->n_files, 6);

    (void)unlink(path_of(p, "ca1"));
    put(p, "list", "~(\n"); /* nor do lists hold up CAs */
    put(p, "ca2", p->first.cert_pem);
    assert_int_equal(load(p, AGAIN), OK);
    assert_non_null(strstr(p->loaded->trust_refused, "ca1': No such file"));
    assert_non_null(p->loaded->lists_refused);
    expect_beside(p, "ca1", p->first.cert_pem);
    expect_beside(p, "ca2", p->first.cert_pem);

    put(p, "ca1", p->second.cert_pem);
    assert_int_equal(load(p, AGAIN), OK);
    assert_null(p->loaded->trust_refused);
    expect_beside(p, "ca1", p->second.cert_pem);
    put(p, "ca1", "no certificate\n");
    put(p, "list", "b.test\n");
    assert_int_equal(load(p, RELOAD), ERR_CONFIG); /* who asks for it is told */
    assert_non_null(strstr(buf_cstr(&p->said), "there is no certificate among those to trust"));
}

static void names_in_a_directory(void **state)
{
    static const struct {
        const char *directory, *path, *name;
    } names[] = {
        {"/d",  "/d/x",       "x" },
        {"/d/", "/d//x",      "x" },
        {"/d",  "/d/x/y",     NULL},
        {"/d",  "/d/../x",    NULL},
        {"/d",  "/dx/y",      NULL},
        {"/d",  "/elsewhere", NULL},
        {NULL,  "/d/x",       NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct tls_config t = {.directory = names[i].directory};
        const char *name = settings_tls_name(&t, names[i].path);

        assert_int_equal(name != NULL, names[i].name != NULL);
        if (name)
            assert_string_equal(name, names[i].name);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(waits),
        TEST(behind_a_link),
        TEST(keeps),
        TEST(start_with_bad),
        TEST(open_stays_open),
        TEST(sets_are_told_apart),
        TEST(policy_files_are_of_the_set),
        TEST(another_crl_is_another_set),
        TEST(a_crl_that_is_over_replaces_none_that_is_not),
        TEST(a_crl_that_is_over_closes_no_port),
        TEST(a_crl_that_is_over_may_be_tolerated),
        TEST(also_tls_is_waited_for),
        TEST(issuer_counts_without_clients),
        TEST(policy_and_lists_are_apart),
        TEST(trust_of_printers_is_apart),
        cmocka_unit_test(names_in_a_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
