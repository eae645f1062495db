/* SPDX-License-Identifier: Apache-2.0 */
/* tls entries together with their files and the environment: what is refused, in which words, and
 * what a listener makes of the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "proc/settings_load.h"
#include "test_certs.h"

static char folder[] = "/tmp/sallyport-settings-XXXXXX";
static struct test_cert ca, leaf;

static const char *const files[] = {"c.pem", "c.key", "ca.pem", "ca.crl",   "secret", "short",
                                    "junk",  "empty", "open",   "open.key", "x.yaml"};

static void path_of(const char *name, char ret[128])
{
    (void)snprintf(ret, 128, "%s/%s", folder, name);
}

static void put(const char *name, struct span text)
{
    char path[128];

    path_of(name, path);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text.p, 1, text.n, f), text.n);
    assert_int_equal(fclose(f), 0);
    (void)chmod(path, strncmp(name, "open", 4) == 0 ? 0604 : 0600);
}

static int make_files(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return 1;
    ca = test_ca_new("CA");
    leaf = test_cert_new(&ca, (struct test_cert_spec){.cn = "localhost", .san = "DNS:localhost"});
    char *crl = test_crl_new(&ca, NULL, -TEST_DAY, TEST_DAY);

    put("c.pem", span_of(leaf.cert_pem));
    put("c.key", span_of(leaf.key_pem));
    put("open.key", span_of(leaf.key_pem));
    put("ca.pem", span_of(ca.cert_pem));
    put("ca.crl", span_of(crl));
    put("secret", SPAN("0123456789abcdef0123456789abcdef"));
    put("short", SPAN("0123456789abcdef0123456789abcde"));
    put("junk", SPAN("nonsense"));
    put("empty", SPAN(""));
    put("open", SPAN("0123456789abcdef0123456789abcdef"));
    free(crl);
    return 0;
}

static int drop_files(void **state)
{
    char path[128];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        path_of(files[i], path);
        (void)unlink(path);
    }
    (void)rmdir(folder);
    test_cert_free(&ca);
    test_cert_free(&leaf);
    return 0;
}

/* @ in |text| is the folder. */
static char *in_folder(const char *text)
{
    struct buf out;

    buf_init(&out, 0);
    for (; *text; text++)
        if (*text == '@')
            buf_text(&out, folder);
        else
            buf_char(&out, *text);
    char *copy = span_dup(buf_span(&out));

    buf_done(&out);
    assert_non_null(copy);
    return copy;
}

#define COMMON                                                      \
    "listeners: [{name: a, address: \"127.0.0.1:0\", tls: main}]\n" \
    "services: [{name: s, type: echo, path: /s}]\n"                 \
    "tls: [{name: main, certificate: @/c.pem, key: @/c.key"

static enum err load(const char *text, struct buf *said, struct settings_loaded **ret)
{
    struct config_report r;
    char path[128], *config = in_folder(text);

    put("x.yaml", span_of(config));
    free(config);
    path_of("x.yaml", path);
    config_report_init(&r);
    enum err e = settings_load(path, NULL, &r, ret);

    config_report_print(&r, said);
    config_report_done(&r);
    return e;
}

/* ---- the text ---- */

/* clang-format off */
static const struct row {
    const char *more; /* of the tls entry */
    enum tls_clients clients;
    unsigned flags;
    const char *refused; /* NULL: loads */
    const char *warned;
} rows[] = {
    {"", TLS_CLIENTS_OFF, 0, NULL, NULL},
    {", client-ca: @/ca.pem", TLS_CLIENTS_REQUIRE, 0, NULL, NULL},
    {", client-ca: @/ca.pem, verify-client: require", TLS_CLIENTS_REQUIRE, 0, NULL, NULL},
    {", client-ca: @/ca.pem, verify-client: request", TLS_CLIENTS_REQUEST, 0, NULL, NULL},
    {", client-ca: @/ca.pem, verify-client: off", TLS_CLIENTS_OFF, 0, NULL, NULL},
    {", verify-client: off", TLS_CLIENTS_OFF, 0, NULL, NULL},
    {", verify-client: require", 0, 0, "name client-ca", NULL},
    {", verify-client: request", 0, 0, "name client-ca", NULL},
    {", client-ca: @/junk", 0, 0, "no certificate among those to trust", NULL},
    {", client-ca: @/empty", 0, 0, "no certificate among those to trust", NULL},
    {", client-ca: @/empty, verify-client: request", 0, 0, "no certificate among those to trust",
     NULL},
    {", client-ca: @/missing", 0, 0, "No such file", NULL},
    {", client-ca: @/ca.pem, client-crl: @/ca.crl", TLS_CLIENTS_REQUIRE, 0, NULL, NULL},
    {", client-ca: @/ca.pem, client-crl: [@/ca.crl, @/ca.crl]", TLS_CLIENTS_REQUIRE, 0, NULL,
     NULL},
    {", client-ca: @/ca.pem, client-crl: @/junk", 0, 0, "no CRL in a file of CRLs", NULL},
    {", client-ca: @/ca.pem, client-crl: @/missing", 0, 0, "No such file", NULL},
    {", client-crl: @/ca.crl", 0, 0, "there is no client-ca", NULL},
    {", client-ca: @/ca.pem, verify-client: off, client-crl: @/ca.crl", 0, 0,
     "verify-client is off", NULL},
    {", client-ca: @/ca.pem, client-depth: 0", 0, 0, "client-depth must be", NULL},
    {", client-ca: @/ca.pem, verification-flags: 256", TLS_CLIENTS_REQUIRE, 256, NULL, NULL},
    {", client-ca: @/ca.pem, verification-flags: IgnoreEndRevocationUnknown|128",
     TLS_CLIENTS_REQUIRE, 384, NULL, NULL},
    {", client-ca: @/ca.pem, verification-flags: \"IgnoreEndRevocationUnknown, 2048\"",
     TLS_CLIENTS_REQUIRE, 2304, NULL, NULL},
    {", client-ca: @/ca.pem, verification-flags: [IgnoreInvalidPolicy, "
     "IgnoreRootRevocationUnknown]", TLS_CLIENTS_REQUIRE, 2176, NULL, NULL},
    {", client-ca: @/ca.pem, verification-flags: NoFlag", TLS_CLIENTS_REQUIRE, 0, NULL, NULL},
    {", client-ca: @/ca.pem, verification-flags: IgnoreAll", 0, 0,
     "'IgnoreAll' is not a verification flag", NULL},
    {", client-ca: @/ca.pem, verification-flags: 4096", 0, 0, "'4096' is not a verification flag",
     NULL},
    {", client-ca: @/ca.pem, verification-flags: IgnoreNotTimeValid", 0, 0,
     "write it under insecure-verification-flags", NULL},
    {", client-ca: @/ca.pem, verification-flags: AllFlags", 0, 0,
     "write it under insecure-verification-flags", NULL},
    {", client-ca: @/ca.pem, verification-flags: 16", 0, 0, "AllowUnknownCertificateAuthority:",
     NULL},
    {", client-ca: @/ca.pem, insecure-verification-flags: IgnoreNotTimeValid", TLS_CLIENTS_REQUIRE,
     1, NULL, "INSECURE: tls 'main' lets in clients whose certificates are not good"},
    {", client-ca: @/ca.pem, insecure-verification-flags: AllFlags, verify-client: request",
     TLS_CLIENTS_REQUEST, 4095, NULL, "INSECURE"},
    {", client-ca: @/ca.pem, insecure-verification-flags: 16", TLS_CLIENTS_REQUIRE, 16, NULL,
     "has no effect with verify-client: require"},
    {", insecure-verification-flags: 1", 0, 0, "there is no client-ca", NULL},
    {", ticket-secret: @/secret", TLS_CLIENTS_OFF, 0, NULL, NULL},
    {", ticket-secret: @/short", 0, 0, "less than 32 bytes", NULL},
    {", ticket-secret: @/open", 0, 0, "every user of this machine can read", NULL},
    {", ticket-secret: @/empty", 0, 0, "less than 32 bytes", NULL},
    {", ticket-secret: @/missing", 0, 0, "No such file", NULL},
    {", ticket-secret: @/secret, tickets: off", 0, 0, "tickets is off", NULL},
    {", tickets: off", TLS_CLIENTS_OFF, 0, NULL, NULL},
    {", ocsp: @/junk", TLS_CLIENTS_OFF, 0, NULL, "is not sent to clients"},
    {", ocsp: @/missing", 0, 0, "No such file", NULL},
    {", names: [a.test, \"*.b.test\"]", TLS_CLIENTS_OFF, 0, NULL, NULL},
    {", names: [\"*\"]", 0, 0, "be a DNS name", NULL},
    {", names: [\"a.*.test\"]", 0, 0, "be a DNS name", NULL},
    {", names: [\"a..test\"]", 0, 0, "be a DNS name", NULL},
    {", names: [\"a.test.\"]", 0, 0, "be a DNS name", NULL},
};
/* clang-format on */

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        struct settings_loaded *l = NULL;
        char text[1024];
        struct buf said;

        buf_init(&said, 0);
        (void)snprintf(text, sizeof text, COMMON "%s}]\n", row->more);
        enum err e = load(text, &said, &l);

        print_message("%s: %s\n", row->more, buf_cstr(&said));
        assert_int_equal(e, row->refused ? ERR_CONFIG : OK);
        if (row->refused)
            assert_non_null(strstr(buf_cstr(&said), row->refused));
        if (row->warned)
            assert_non_null(strstr(buf_cstr(&said), row->warned));
        if (!row->refused && !row->warned)
            assert_string_equal(buf_cstr(&said), "");
        if (!e) {
            assert_int_equal(l->settings.tls[0].clients, row->clients);
            assert_int_equal(settings_tls_flags(&l->settings.tls[0], 0), row->flags);
        }
        settings_loaded_free(l);
        buf_done(&said);
    }
}

/* A key that every user can read is nobody's proof. */
static void test_a_key_for_everybody(void **state)
{
    struct settings_loaded *l = NULL;
    struct buf said;

    (void)state;
    buf_init(&said, 0);
    assert_int_equal(load("listeners: [{name: a, address: \"127.0.0.1:0\", tls: m}]\n"
                          "services: [{name: s, type: echo, path: /s}]\n"
                          "tls: [{name: m, certificate: @/c.pem, key: @/open.key}]\n",
                          &said, &l),
                     ERR_CONFIG);
    assert_non_null(strstr(buf_cstr(&said), "x.yaml:3:"));
    assert_non_null(strstr(buf_cstr(&said), "every user of this machine can read"));
    assert_non_null(strstr(buf_cstr(&said), "chmod o= it"));
    buf_done(&said);
}

/* ---- the environment ---- */

#define FIRST     "CERTIFICATE__VefificationFlags"
#define SECOND    "CERTIFICATE__VerificationFlags"
#define INSECURE  "INSECURE_CERTIFICATE__VerificationFlags"
#define INSECURE2 "INSECURE_CERTIFICATE__VefificationFlags"

static void test_environment(void **state)
{
    static const struct {
        const char *first, *second, *insecure, *more;
        unsigned flags;
        const char *refused, *warned;
    } envs[] = {
        {NULL,                         NULL,                                NULL,                 "",                             0,    NULL,                         NULL      },
        {"IgnoreEndRevocationUnknown", NULL,                                NULL,                 "",                             256,  NULL,                         NULL      },
        {NULL,                         "IgnoreEndRevocationUnknown | 2048", NULL,                 "",                             2304, NULL,                         NULL      },
        {"256",                        "IgnoreEndRevocationUnknown",        NULL,                 "",                             256,  NULL,                         NULL      },
        {"256",                        "512",                               NULL,                 "",                             0,    "say different things",       NULL      },
        {"nothing",                    NULL,                                NULL,                 "",                             0,    "'nothing' in " FIRST,        NULL      },
        {NULL,                         "",                                  NULL,                 "",                             0,    "is not a verification flag", NULL      },
        {NULL,                         "IgnoreNotTimeValid",                NULL,                 "",                             0,    "write it in " INSECURE,      NULL      },
        {NULL,                         "4095",                              NULL,                 "",                             0,    "write it in " INSECURE,      NULL      },
        {NULL,                         NULL,                                "IgnoreNotTimeValid", "",                             1,    NULL,                         "INSECURE"},
        {NULL,                         "256",                               "33",                 "",                             289,  NULL,                         "INSECURE"},
 /* What the entry says itself counts, and nothing else. */
        {NULL,                         "256",                               NULL,                 ", verification-flags: NoFlag", 0,    NULL,                         NULL      },
        {NULL,                         "256",                               "1",                  ", verification-flags: 2048",   2048, NULL,                         "INSECURE"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(envs); i++) {
        struct settings_loaded *l = NULL;
        char text[1024];
        struct buf said;

        (void)unsetenv(FIRST);
        (void)unsetenv(SECOND);
        (void)unsetenv(INSECURE);
        if (envs[i].first)
            (void)setenv(FIRST, envs[i].first, 1);
        if (envs[i].second)
            (void)setenv(SECOND, envs[i].second, 1);
        if (envs[i].insecure)
            (void)setenv(INSECURE, envs[i].insecure, 1);
        buf_init(&said, 0);
        (void)snprintf(text, sizeof text, COMMON ", client-ca: @/ca.pem%s}]\n", envs[i].more);
        enum err e = load(text, &said, &l);

        print_message("%zu: %s\n", i, buf_cstr(&said));
        assert_int_equal(e, envs[i].refused ? ERR_CONFIG : OK);
        if (envs[i].refused)
            assert_non_null(strstr(buf_cstr(&said), envs[i].refused));
        if (envs[i].warned)
            assert_non_null(strstr(buf_cstr(&said), envs[i].warned));
        if (!e)
            assert_int_equal(settings_tls_flags(&l->settings.tls[0], l->environment_flags),
                             envs[i].flags);
        settings_loaded_free(l);
        buf_done(&said);
    }
    (void)unsetenv(FIRST);
    (void)unsetenv(SECOND);
    (void)unsetenv(INSECURE);
    (void)setenv(INSECURE2, "1", 1);
    struct settings_loaded *l = NULL;
    struct buf said;

    buf_init(&said, 0);
    assert_int_equal(load(COMMON ", client-ca: @/ca.pem}]\n", &said, &l), OK);
    assert_int_equal(l->environment_flags, 1);
    settings_loaded_free(l);
    buf_done(&said);
    (void)unsetenv(INSECURE2);
}

/* ---- more certificates for one listener ---- */

static void test_also(void **state)
{
    static const struct {
        const char *tls, *also, *more; /* of the listener; of the other entry */
        const char *refused;
    } also[] = {
        {"main",   "[other]",       "",                                               NULL                                                        },
        {"main",   "[other, main]", "",                                               NULL                                                        },
        {"main",   "[othe]",        "",                                               "no entry of tls has the name 'othe'; did you mean 'other'?"},
        {"main",   "[other]",       ", client-ca: @/ca.pem",                          "must not have another client-ca"                           },
        {"main",   "[other]",       ", minimum: \"1.3\"",                             "its minimum is not that of tls 'main'"                     },
        {"main",   "[other]",       ", tickets: off",                                 "its tickets is not"                                        },
        {"main",   "[other]",       ", ticket-secret: @/secret",                      "its ticket-secret is not"                                  },
        {"main",   "[other]",       ", client-depth: 3",                              "its client-depth is not"                                   },
        {"mutual", "[other]",       ", client-ca: @/ca.pem, client-crl: @/ca.crl",
         "its client-crl is not"                                                                                                                  },
        {"mutual", "[other]",       ", client-ca: @/ca.pem, verification-flags: 256",
         "its verification-flags is not"                                                                                                          },
        {"mutual", "[other]",       "",                                               NULL                                                        },
        {"mutual", "[other]",       ", client-ca: @/ca.pem",                          NULL                                                        },
        {"mutual", "[other]",       ", client-ca: @/ca.pem, verify-client: request",
         "must not have another client-ca or verify-client"                                                                                       },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(also); i++) {
        struct settings_loaded *l = NULL;
        char text[1024];
        struct buf said;

        buf_init(&said, 0);
        (void)snprintf(text, sizeof text,
                       "listeners: [{name: a, address: \"127.0.0.1:0\", tls: %s, also-tls: %s}]\n"
                       "services: [{name: s, type: echo, path: /s}]\n"
                       "tls: [{name: main, certificate: @/c.pem, key: @/c.key},"
                       "{name: mutual, certificate: @/c.pem, key: @/c.key, client-ca: @/ca.pem},"
                       "{name: other, certificate: @/c.pem, key: @/c.key%s}]\n",
                       also[i].tls, also[i].also, also[i].more);
        enum err e = load(text, &said, &l);

        print_message("%zu: %s\n", i, buf_cstr(&said));
        assert_int_equal(e, also[i].refused ? ERR_CONFIG : OK);
        if (also[i].refused)
            assert_non_null(strstr(buf_cstr(&said), also[i].refused));
        settings_loaded_free(l);
        buf_done(&said);
    }
    struct settings_loaded *l = NULL;
    struct buf said;

    buf_init(&said, 0);
    assert_int_equal(load("listeners: [{name: a, address: \"127.0.0.1:0\", also-tls: [m]}]\n"
                          "services: [{name: s, type: echo, path: /s}]\n"
                          "tls: [{name: m, certificate: @/c.pem, key: @/c.key}]\n",
                          &said, &l),
                     ERR_CONFIG);
    assert_non_null(strstr(buf_cstr(&said), "name the entry for all other clients first"));
    buf_done(&said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_a_key_for_everybody),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_also),
    };

    return cmocka_run_group_tests(tests, make_files, drop_files);
}
