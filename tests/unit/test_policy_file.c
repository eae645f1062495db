/* SPDX-License-Identifier: Apache-2.0 */
/* The policy of a machine: what its text may say, which lines are about a connection, and that
 * lines can only tighten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "protect/policy.h"
#include "protect/policy_file_int.h"

static struct policy_file *policy_of(const char *lines)
{
    struct policy_fault fault;
    struct policy_file *p = NULL;
    struct buf text;

    buf_init(&text, 0);
    buf_fmt(&text, "version 1\n%s\n", lines);
    if (policy_parse(buf_span(&text), &p, &fault) != OK)
        fail_msg("line %u: %s", fault.line, fault.why);
    buf_done(&text);
    return p;
}

/* ---- the text ---- */

static void test_what_is_taken(void **state)
{
    static const char *const rows[] = {
        "",
        "# a comment\n\n \t \n#another",
        "classes 2026-1",
        "mark-bits 0x0fff0000",
        "interface wan0 min=strong peer",
        "interface wan0 proto=udp port=53 min=weak",
        "rule to=10.9.0.0/16 proto=tcp port=631  min=weak end-to-end peer=dns:*.print.example",
        "rule to=2001:db8::/32 min=integrity # a comment behind",
        "rule to=192.0.2.1 latched",
        "rule service=icap  min=integrity via=ipsec,tls latched",
        "rule proto=50 covered replay-safe",
        "rule port=1 peer=dns:a.example peer=uri:spiffe://example/x peer",
        "rule port=1 peer=\"dn:CN=*,O=Two Words\"",
        "exempt proto=udp port=68 uid=dhcp  level=none",
        "exempt proto=udp port=500 service=ike to=192.0.2.0/24 level=integrity",
        "attr role=printer for=uri:spiffe://example/printer/*",
        "default min=none",
        "default via=tls",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        print_message("%s\n", rows[i]);
        policy_unref(policy_of(rows[i]));
    }
}

static void test_what_is_refused(void **state)
{
    static const struct {
        const char *text;
        unsigned line;
        const char *why;
    } rows[] = {
        {"",                                                     0, "begins with 'version 1'"},
        {"# only a comment\n",                                   0, "begins with 'version 1'"},
        {"rule port=1 min=weak\n",                               1, "begins with 'version 1'"},
        {"version 2\n",                                          1, "only 'version 1'"       },
        {"version\n",                                            1, "only 'version 1'"       },
        {"version 1\nversion 1\n",                               2, "twice"                  },
        {"version 1\nclasses 1999-1\n",                          2, "2026-1"                 },
        {"version 1\nclasses 2026-1\nclasses 2026-1\n",          3, "twice"                  },
        {"version 1\nmark-bits 5\n",                             2, "mask"                   },
        {"version 1\nmark-bits 0x100000000\n",                   2, "mask"                   },
        {"version 1\nmark-bits 0x0\n",                           2, "mask"                   },
        {"version 1\n\n\nallow all\n",                           4, "no statement"           },
        {"version 1\nRule port=1 min=weak\n",                    2, "no statement"           },
        {"version 1\nrule port=1 min=weak\r\n",                  2, "byte 0x0d"              },
        {"version 1\nrule port=1 min=wea\xc3\xa9\n",             2, "byte 0xc3"              },
        {"version 1\nrule port=1 \"min=weak\n",                  2, "not closed"             },
        {"version 1\nrule min=weak\n",                           2, "says what it is about"  },
        {"version 1\nrule port=1\n",                             2, "demands nothing"        },
        {"version 1\nrule port=1 min=medium\n",                  2, "no level"               },
        {"version 1\nrule port=1 min=\n",                        2, "no level"               },
        {"version 1\nrule port=1 min=weak min=strong\n",         2, "twice"                  },
        {"version 1\nrule port=1 latched latched\n",             2, "twice"                  },
        {"version 1\nrule port=1 level=weak\n",                  2, "can have"               },
        {"version 1\nrule port=1 uid=0 min=weak\n",              2, "can have"               },
        {"version 1\nrule port=1 min=weak ende-to-end\n",        2, "can have"               },
        {"version 1\nrule port=0 min=weak\n",                    2, "1 to 65535"             },
        {"version 1\nrule port=65536 min=weak\n",                2, "1 to 65535"             },
        {"version 1\nrule port=+1 min=weak\n",                   2, "1 to 65535"             },
        {"version 1\nrule proto=tls min=weak\n",                 2, "proto="                 },
        {"version 1\nrule proto=0 min=weak\n",                   2, "proto="                 },
        {"version 1\nrule proto=256 min=weak\n",                 2, "proto="                 },
        {"version 1\nrule to=10.0.0.1/8 min=weak\n",             2, "behind its prefix"      },
        {"version 1\nrule to=10.0.0.0/33 min=weak\n",            2, "to="                    },
        {"version 1\nrule to=10.0.0.0/ min=weak\n",              2, "to="                    },
        {"version 1\nrule to=host.example min=weak\n",           2, "to="                    },
        {"version 1\nrule port=1 via=tls,tls\n",                 2, "layers are"             },
        {"version 1\nrule port=1 via=ssh\n",                     2, "layers are"             },
        {"version 1\nrule port=1 via=\n",                        2, "layers are"             },
        {"version 1\nrule port=1 peer=dns:\n",                   2, "names nobody"           },
        {"version 1\nrule port=1 peer=alice\n",                  2, "names nobody"           },
        {"version 1\ninterface min=weak\n",                      2, "needs its name"         },
        {"version 1\ninterface wan0\n",                          2, "demands nothing"        },
        {"version 1\nexempt proto=udp port=68 level=none\n",     2, "uid= or service="       },
        {"version 1\nexempt port=68 uid=dhcp level=none\n",      2, "proto= and port="       },
        {"version 1\nexempt proto=udp uid=dhcp level=none\n",    2, "proto= and port="       },
        {"version 1\nexempt proto=udp port=68 uid=dhcp\n",       2, "level="                 },
        {"version 1\nexempt proto=udp port=68 uid=a min=none\n", 2, "can have"               },
        {"version 1\nattr role=printer\n",                       2, "attr is written"        },
        {"version 1\nattr role= for=dns:a.example\n",            2, "attr is written"        },
        {"version 1\nattr role=printer for=dns:*\n",             2, "names nobody"           },
        {"version 1\ndefault\n",                                 2, "not even min=none"      },
        {"version 1\ndefault min=none\ndefault min=none\n",      3, "twice"                  },
        {"version 1\ndefault port=1 min=none\n",                 2, "can have"               },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct policy_fault fault;
        struct policy_file *p = NULL;

        print_message("%s", rows[i].text);
        assert_int_equal(policy_parse(span_of(rows[i].text), &p, &fault), ERR_SYNTAX);
        assert_null(p);
        assert_int_equal(fault.line, rows[i].line);
        if (!strstr(fault.why, rows[i].why))
            fail_msg("said: %s", fault.why);
    }
}

static void test_limits(void **state)
{
    struct policy_fault fault;
    struct policy_file *p = NULL;
    struct buf text;

    (void)state;
    buf_init(&text, 0);
    buf_text(&text, "version 1\n");
    for (unsigned i = 0; i < POLICY_RULES_MAX; i++)
        buf_text(&text, "rule port=1 min=weak\n");
    assert_int_equal(policy_parse(buf_span(&text), &p, &fault), OK);
    policy_unref(p);
    buf_text(&text, "rule port=1 min=weak\n");
    assert_int_equal(policy_parse(buf_span(&text), &p, &fault), ERR_SYNTAX);
    assert_int_equal(fault.line, POLICY_RULES_MAX + 2);
    buf_reset(&text);
    buf_text(&text, "version 1\n");
    for (unsigned i = 0; i <= POLICY_ATTRS_MAX; i++)
        buf_text(&text, "attr role=printer for=dns:a.example\n");
    assert_int_equal(policy_parse(buf_span(&text), &p, &fault), ERR_SYNTAX);
    assert_int_equal(fault.line, POLICY_ATTRS_MAX + 2);
    buf_reset(&text);
    buf_text(&text, "version 1\nrule");
    for (unsigned i = 0; i < 200; i++)
        buf_text(&text, " a");
    assert_int_equal(policy_parse(buf_span(&text), &p, &fault), ERR_SYNTAX);
    assert_non_null(strstr(fault.why, "words"));
    buf_reset(&text);
    buf_text(&text, "version 1\n");
    while (text.n <= POLICY_TEXT_MAX)
        buf_text(&text, "# ................................................................\n");
    assert_int_equal(policy_parse(buf_span(&text), &p, &fault), ERR_SYNTAX);
    assert_non_null(strstr(fault.why, "bytes"));
    buf_done(&text);
}

/* ---- which lines are about a connection ---- */

static const struct sockaddr *address(struct sockaddr_storage *room, const char *text,
                                      unsigned port)
{
    struct sockaddr_in *four = (void *)room;
    struct sockaddr_in6 *six = (void *)room;

    if (!text)
        return NULL;
    memset(room, 0, sizeof *room);
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)port);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &six->sin6_addr), 1);
        six->sin6_family = AF_INET6;
        six->sin6_port = htons((uint16_t)port);
    }
    return (const struct sockaddr *)room;
}

static int count(void *arg, const struct policy_demand *d)
{
    unsigned *n = arg;

    assert_non_null(d->want);
    (*n)++;
    return 0;
}

struct about_case {
    const char *line;
    const char *interface, *remote;
    unsigned remote_port, local_port; /* 0: address not known */
    int proto;
    const char *service, *user;
    bool holds;
};

static void test_which_connections(void **state)
{
    static const struct about_case rows[] = {
        {"default min=weak",                             NULL,    NULL,              0,   0,   0,           NULL,    NULL,   true },
        {"rule to=10.9.0.0/16 min=weak",                 NULL,    "10.9.255.1",      80,  0,   0,           NULL,    NULL,   true },
        {"rule to=10.9.0.0/16 min=weak",                 NULL,    "10.8.255.1",      80,  0,   0,           NULL,    NULL,   false},
        {"rule to=10.9.0.0/16 min=weak",                 NULL,    "::ffff:10.9.0.1", 80,  0,   0,           NULL,    NULL,   true },
        {"rule to=::ffff:10.9.0.0/112 min=weak",         NULL,    "10.9.0.1",        80,  0,   0,           NULL,    NULL,   true },
        {"rule to=::ffff:10.9.0.0/112 min=weak",         NULL,    "::ffff:10.9.0.1", 80,  0,   0,           NULL,    NULL,
         true                                                                                                                     },
        {"rule to=::ffff:10.9.0.0/112 min=weak",         NULL,    "10.8.0.1",        80,  0,   0,           NULL,    NULL,   false},
        {"rule to=10.9.0.0/16 min=weak",                 NULL,    "2001:db8::1",     80,  0,   0,           NULL,    NULL,   false},
        {"rule to=10.8.0.0/15 min=weak",                 NULL,    "10.9.0.1",        80,  0,   0,           NULL,    NULL,   true },
        {"rule to=10.8.0.0/15 min=weak",                 NULL,    "10.10.0.1",       80,  0,   0,           NULL,    NULL,   false},
        {"rule to=2001:db8::/32 min=weak",               NULL,    "2001:db8:1::1",   80,  0,   0,           NULL,    NULL,   true },
        {"rule to=2001:db8::/32 min=weak",               NULL,    "2001:db9::1",     80,  0,   0,           NULL,    NULL,   false},
        {"rule to=0.0.0.0/0 min=weak",                   NULL,    "203.0.113.9",     80,  0,   0,           NULL,    NULL,   true },
 /* What is not known may be so. */
        {"rule to=10.9.0.0/16 min=weak",                 NULL,    NULL,              0,   0,   0,           NULL,    NULL,   true },
        {"rule port=631 min=weak",                       NULL,    "192.0.2.1",       631, 0,   0,           NULL,    NULL,   true },
        {"rule port=631 min=weak",                       NULL,    "192.0.2.1",       632, 0,   0,           NULL,    NULL,   false},
        {"rule port=631 min=weak",                       NULL,    "192.0.2.1",       9,   631, 0,           NULL,    NULL,   true },
        {"rule port=631 min=weak",                       NULL,    NULL,              0,   0,   0,           NULL,    NULL,   true },
        {"rule proto=tcp min=weak",                      NULL,    NULL,              0,   0,   IPPROTO_TCP, NULL,    NULL,   true },
        {"rule proto=tcp min=weak",                      NULL,    NULL,              0,   0,   IPPROTO_UDP, NULL,    NULL,   false},
        {"rule proto=tcp min=weak",                      NULL,    NULL,              0,   0,   0,           NULL,    NULL,   true },
        {"rule proto=tcp port=1 min=weak",               NULL,    "192.0.2.1",       2,   0,   0,           NULL,    NULL,   false},
        {"interface wan0 min=weak",                      "wan0",  NULL,              0,   0,   0,           NULL,    NULL,   true },
        {"interface wan0 min=weak",                      "wan01", NULL,              0,   0,   0,           NULL,    NULL,   false},
        {"interface wan0 min=weak",                      NULL,    NULL,              0,   0,   0,           NULL,    NULL,   true },
        {"rule service=icap min=weak",                   NULL,    NULL,              0,   0,   0,           "icap",  NULL,   true },
        {"rule service=icap min=weak",                   NULL,    NULL,              0,   0,   0,           "icap2", NULL,   false},
        {"rule service=icap min=weak",                   NULL,    NULL,              0,   0,   0,           NULL,    NULL,   false},
 /* Exemptions are for those who ask for them. */
        {"exempt proto=udp port=68 uid=dhcp level=none", NULL,    "192.0.2.1",       68,  0,   IPPROTO_UDP,
         NULL,                                                                                                       "dhcp", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct about_case *row = &rows[i];
        struct sockaddr_storage local, remote;
        struct policy_file *p = policy_of(row->line);
        const struct policy_flow flow = {
            .interface = row->interface,
            .remote = address(&remote, row->remote, row->remote_port),
            .local = row->local_port ? address(&local, "192.0.2.7", row->local_port) : NULL,
            .proto = row->proto,
            .service = row->service,
            .user = row->user,
        };
        unsigned n = 0;

        print_message("row %zu: %s\n", i, row->line);
        assert_int_equal(policy_demands(p, &flow, NULL, count, &n), 0);
        assert_int_equal(n, row->holds);
        policy_unref(p);
    }
}

/* ---- only tighter ---- */

static int check(const char *lines, const sallyport_want *want, sallyport_report *report,
                 struct report_cause *cause)
{
    const struct policy_flow flow = {.proto = IPPROTO_TCP, .user = "dhcp", .uid = 7};
    struct policy_file *p = lines ? policy_of(lines) : NULL;
    int e = policy_check(p, &flow, want, report, cause);

    policy_unref(p);
    return e;
}

static void test_every_line_holds(void **state)
{
    static const struct {
        const char *lines;
        sallyport_level wants, has;
        int e;
        unsigned line; /* that refuses; 0: the want */
    } rows[] = {
        {"default min=none",                            SALLYPORT_NONE,   SALLYPORT_NONE, 0,       0},
        {"default min=weak",                            SALLYPORT_NONE,   SALLYPORT_WEAK, 0,       0},
        {"default min=strong",                          SALLYPORT_NONE,   SALLYPORT_WEAK, -EACCES, 2},
        {"default min=none\nrule proto=tcp min=strong", SALLYPORT_NONE,   SALLYPORT_WEAK, -EACCES, 3},
        {"rule proto=tcp min=strong\ndefault min=none", SALLYPORT_NONE,   SALLYPORT_WEAK, -EACCES, 2},
        {"rule proto=udp min=strong",                   SALLYPORT_NONE,   SALLYPORT_NONE, 0,       0},
        {"default min=none",                            SALLYPORT_STRONG, SALLYPORT_WEAK, -EACCES, 0},
        {NULL,                                          SALLYPORT_STRONG, SALLYPORT_WEAK, -EACCES, 0},
        {NULL,                                          SALLYPORT_WEAK,   SALLYPORT_WEAK, 0,       0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct report_cause cause;
        sallyport_report *r = report_alloc();
        sallyport_want *want;

        print_message("row %zu\n", i);
        assert_int_equal(sallyport_want_new(&want), 0);
        assert_int_equal(sallyport_want_protect(want, rows[i].wants, 0), 0);
        r->how.level = rows[i].has;
        r->how.via = SALLYPORT_VIA_TLS;
        assert_int_equal(check(rows[i].lines, want, r, &cause), rows[i].e);
        if (rows[i].e)
            assert_int_equal(cause.raw, rows[i].line);
        if (rows[i].line)
            assert_string_equal(cause.source, "policy");
        sallyport_want_free(want);
        sallyport_report_free(r);
    }
}

/* More lines never let through what fewer refused. */
static void test_more_lines_only_tighten(void **state)
{
    static const char *const lines[] = {
        "rule proto=tcp min=weak\n", "rule proto=tcp via=tls\n",     "default min=integrity\n",
        "rule port=5 min=strong\n",  "rule proto=tcp end-to-end\n",  "interface lo min=weak\n",
        "rule proto=udp peer\n",     "attr a=b for=dns:a.example\n", "rule proto=tcp covered\n",
    };
    struct report_cause cause;

    (void)state;
    for (unsigned set = 0; set < 1u << ARRAY_LEN(lines); set++)
        for (int level = SALLYPORT_NONE; level <= SALLYPORT_STRONG; level += 3) {
            sallyport_report *r = report_alloc();
            struct buf few, more;

            r->how.level = (sallyport_level)level;
            r->how.via = level ? SALLYPORT_VIA_TLS : SALLYPORT_VIA_CLEAR;
            r->how.end_to_end = SALLYPORT_YES;
            buf_init(&few, 0);
            buf_init(&more, 0);
            for (unsigned i = 0; i < ARRAY_LEN(lines); i++) {
                if (set & 1u << i)
                    buf_text(&few, lines[i]);
                if (set & 1u << i || i == set % ARRAY_LEN(lines))
                    buf_text(&more, lines[i]);
            }
            if (check(buf_cstr(&few), NULL, r, &cause) != 0)
                assert_int_not_equal(check(buf_cstr(&more), NULL, r, &cause), 0);
            buf_done(&few);
            buf_done(&more);
            sallyport_report_free(r);
        }
}

/* ---- less ---- */

static void test_less(void **state)
{
    static const struct {
        const char *lines;
        bool asks;
        int e;
        const char *code;
    } rows[] = {
        {"default min=strong\nexempt proto=tcp port=68 uid=dhcp level=none",               true,  0,       NULL       },
        {"default min=strong\nexempt proto=tcp port=68 uid=7 level=none",                  true,  0,       NULL       },
        {"default min=strong\nexempt proto=tcp port=68 uid=dhcp level=none",               false, -EACCES,
         "level-too-low"                                                                                              },
        {"default min=strong\nexempt proto=tcp port=68 uid=root level=none",               true,  -EPERM,
         "privilege"                                                                                                  },
        {"default min=strong\nexempt proto=tcp port=69 uid=dhcp level=none",               true,  -EPERM,
         "privilege"                                                                                                  },
        {"default min=strong\nexempt proto=udp port=68 uid=dhcp level=none",               true,  -EPERM,
         "privilege"                                                                                                  },
        {"default min=strong\nexempt proto=tcp port=68 service=dhcp level=none",           true,  -EPERM,
         "privilege"                                                                                                  },
        {"default min=strong\nexempt proto=tcp port=68 uid=dhcp level=integrity",          true,  -EACCES,
         "level-too-low"                                                                                              },
 /* Not known whether it is that network: then it is not. */
        {"default min=strong\nexempt proto=tcp port=68 uid=dhcp to=10.0.0.0/8 level=none", true,
         -EPERM,                                                                                           "privilege"},
        {"default min=none",                                                               true,  -EPERM,  "privilege"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sockaddr_storage local;
        const struct policy_flow flow = {.local = address(&local, "192.0.2.1", 68),
                                         .proto = IPPROTO_TCP,
                                         .user = "dhcp",
                                         .uid = 7};
        struct policy_file *p = policy_of(rows[i].lines);
        sallyport_report *clear;
        struct report_cause cause;
        sallyport_want *want;

        print_message("row %zu\n", i);
        assert_int_equal(sallyport_want_new(&want), 0);
        assert_int_equal(sallyport_report_new(NULL, &clear), 0);
        if (rows[i].asks)
            assert_int_equal(sallyport_want_flags(want, SALLYPORT_LESS), 0);
        assert_int_equal(policy_check(p, &flow, want, clear, &cause), rows[i].e);
        if (rows[i].code)
            assert_string_equal(cause.code, rows[i].code);
        sallyport_want_free(want);
        sallyport_report_free(clear);
        policy_unref(p);
    }
}

/* What a listener asks of it. */
static void test_listeners_policy(void **state)
{
    struct sockaddr_storage local, remote, none = {.ss_family = AF_UNSPEC};
    struct policy_file *p = policy_of("rule service=icap port=1344 min=weak\n"
                                      "rule proto=tcp to=10.0.0.0/8 via=tls");
    struct protect_system system = {.file = p, .service = "icap"}, nothing = {0};
    const struct sockaddr *at = address(&local, "192.0.2.1", 1344);
    const struct sockaddr *elsewhere = address(&remote, "192.0.2.9", 1344);
    const struct sockaddr *not_ip = (const struct sockaddr *)&none;
    char text[PROTECT_WHY_MAX];
    sallyport_report *clear;
    sallyport_why why;

    (void)state;
    assert_int_equal(sallyport_report_new(NULL, &clear), 0);
    assert_int_equal(protect_system_check(&nothing, at, elsewhere, clear, &why), OK);
    assert_int_equal(protect_system_check(&system, at, elsewhere, clear, &why), ERR_POLICY);
    assert_string_equal(protect_why_text(&why, text),
                        "the connection is not protected; it must be confidential "
                        "(line 2 of this machine's policy)");
    system.service = "ipp";
    assert_int_equal(protect_system_check(&system, at, elsewhere, clear, &why), OK);
    elsewhere = address(&remote, "10.9.8.7", 40000);
    assert_int_equal(protect_system_check(&system, at, elsewhere, clear, &why), ERR_POLICY);
    assert_int_equal(why.raw, 3);
    assert_int_equal(why.err, EPERM);
    assert_int_equal(protect_system_check(&system, NULL, NULL, clear, &why), ERR_POLICY);
    system.service = "icap"; /* a Unix socket has neither port nor network */
    assert_int_equal(protect_system_check(&system, not_ip, not_ip, clear, &why), OK);
    assert_int_equal(protect_system_check(&system, at, elsewhere, NULL, &why), ERR_POLICY);
    sallyport_report_free(clear);
    policy_unref(p);
}

static void test_flags_of_wants(void **state)
{
    static const struct {
        unsigned flag;
        bool tls_has;
        const char *code;
    } rows[] = {
        {SALLYPORT_END_TO_END,        true,  "not-end-to-end"},
        {SALLYPORT_LATCHED,           true,  "level-too-low" },
        {SALLYPORT_REPLAY_SAFE,       true,  "level-too-low" },
        {SALLYPORT_TRANSPORT_COVERED, false, "level-too-low" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        sallyport_report *tls = report_alloc(), *clear;
        sallyport_why why = {.size = sizeof why};
        sallyport_want *want;

        tls->how.via = SALLYPORT_VIA_TLS;
        tls->how.end_to_end = tls->how.replay_safe = SALLYPORT_YES;
        assert_int_equal(sallyport_report_new(NULL, &clear), 0);
        assert_int_equal(sallyport_want_new(&want), 0);
        assert_int_equal(sallyport_want_flags(want, 64), -EINVAL);
        assert_int_equal(sallyport_want_flags(want, rows[i].flag), 0);
        assert_int_equal(sallyport_want_check(want, tls, NULL), rows[i].tls_has ? 0 : -EACCES);
        assert_int_equal(sallyport_want_check(want, clear, &why), -EACCES);
        assert_string_equal(why.code, rows[i].code);
        /* Not known is not enough. */
        tls->how.end_to_end = tls->how.replay_safe = SALLYPORT_UNKNOWN;
        if (rows[i].flag != SALLYPORT_LATCHED)
            assert_int_equal(sallyport_want_check(want, tls, NULL), -EACCES);
        sallyport_want_free(want);
        sallyport_report_free(tls);
        sallyport_report_free(clear);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_taken),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_which_connections),
        cmocka_unit_test(test_every_line_holds),
        cmocka_unit_test(test_more_lines_only_tighten),
        cmocka_unit_test(test_less),
        cmocka_unit_test(test_listeners_policy),
        cmocka_unit_test(test_flags_of_wants),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
