/* SPDX-License-Identifier: Apache-2.0 */
/* IPP URIs with AUTH lists: what is one, what it demands, and how it is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guard.h"
#include "ipp/ipp_http_target.h"
#include "ipp/ipp_uri.h"

#define T  IPP_AUTH_TLS
#define S3 IPP_AUTH_SSL3
#define D  IPP_AUTH_DAA

#define SECURE_PORT 443u /* where rows say nothing else */

static void assert_span(struct span s, const char *text)
{
    assert_int_equal(s.n, strlen(text));
    assert_true(span_eq(s, span_of(text)));
}

static bool lies_within(struct span s, struct span whole)
{
    return s.p == NULL || (s.p >= whole.p && s.p + s.n <= whole.p + whole.n);
}

/* ---- what is taken ---- */

struct good {
    const char *text;
    const char *printed;
    unsigned auth, port, warnings;
    const char *host, *path, *params;
};

static const struct good good[] = {
  /* What the draft says and what it leaves open. */
    {"ipp://h/q;AUTH=TLS",                     "ipp://h/q;AUTH=TLS",                     T,          631,   0,                                      "h",                   "/q",                ""      },
    {"IPP://H/q;auth=daa,tls",                 "ipp://h/q;AUTH=TLS,DAA",                 T | D,      631,   0,                                      "H",                   "/q",                ""      },
    {"ipp://h/q;AUTH=TLS,TLS",                 "ipp://h/q;AUTH=TLS",                     T,          631,   IPP_URI_DUPLICATE,                      "h",                   "/q",                ""      },
    {"ipp://h/q;foo=1;AUTH=TLS",               "ipp://h/q;foo=1;AUTH=TLS",               T,          631,   0,                                      "h",                   "/q;foo=1",          ""      },
    {"ipp://h/q;AUTH=SSL3",                    "ipp://h/q;AUTH=SSL3",                    S3,         443,   0,                                      "h",                   "/q",                ""      },
    {"ipp://h:8443/q;AUTH=SSL3",               "ipp://h:8443/q;AUTH=SSL3",               S3,         8443,  0,                                      "h",                   "/q",                ""      },
    {"ipps://h/q;AUTH=DAA",                    "ipps://h/q;AUTH=DAA",                    D,          631,   0,                                      "h",                   "/q",                ""      },
    {"ipps://h/q;AUTH=TLS",                    "ipps://h/q",                             T,          631,   IPP_URI_REDUNDANT,                      "h",                   "/q",                ""      },
    {"ipps://h/q;AUTH=SSL3,DAA",               "ipps://h/q;AUTH=DAA",                    S3 | D,     631,   0,                                      "h",                   "/q",                ""      },
    {"http://h:631/q;AUTH=TLS",                "ipp://h:631/q;AUTH=TLS",                 T,          631,   IPP_URI_NORMALISED,                     "h",                   "/q",
     ""                                                                                                                                                                                                 },
    {"ipp://u:p@h/q",                          "ipp://h/q",                              0,          631,   IPP_URI_HAS_USER,                       "h",                   "/q",                ""      },
    {"ipp://[2001:db8::1]:631/q;AUTH=TLS",     "ipp://[2001:db8::1]:631/q;AUTH=TLS",     T,          631,   0,
     "2001:db8::1",                                                                                                                                                        "/q",                ""      },
    {"ipp://h/q?x;AUTH=TLS",                   "ipp://h/q?x;AUTH=TLS",                   0,          631,   IPP_URI_IN_QUERY,                       "h",                   "/q",                ""      },
 /* Schemes and ports. */
    {"ipp://h",                                "ipp://h/",                               0,          631,   0,                                      "h",                   "/",                 ""      },
    {"ipp://h:631/",                           "ipp://h:631/",                           0,          631,   0,                                      "h",                   "/",                 ""      },
    {"iPpS://h/q",                             "ipps://h/q",                             0,          631,   0,                                      "h",                   "/q",                ""      },
    {"http://h/q",                             "ipp://h:80/q",                           0,          80,    IPP_URI_NORMALISED,                     "h",                   "/q",                ""      },
    {"HTTPS://h/q",                            "ipps://h:443/q",                         0,          443,   IPP_URI_NORMALISED,                     "h",                   "/q",                ""      },
    {"https://h:8443/q;AUTH=SSL3",             "ipps://h:8443/q",                        S3,         8443,  IPP_URI_NORMALISED,                     "h",                   "/q",                ""      },
    {"https://h/q;AUTH=TLS",                   "ipps://h:443/q",                         T,          443,   IPP_URI_NORMALISED | IPP_URI_REDUNDANT, "h",
     "/q",                                                                                                                                                                                      ""      },
    {"http://h/q;AUTH=SSL3",                   "ipp://h/q;AUTH=SSL3",                    S3,         443,   IPP_URI_NORMALISED,                     "h",                   "/q",                ""      },
    {"http://h/q;AUTH=SSL3,TLS",               "ipp://h:80/q;AUTH=TLS",                  S3 | T,     80,
     IPP_URI_NORMALISED | IPP_URI_REDUNDANT,                                                                                                        "h",                   "/q",                ""      },
    {"ipp://h:1/q",                            "ipp://h:1/q",                            0,          1,     0,                                      "h",                   "/q",                ""      },
    {"ipp://h:65535/q",                        "ipp://h:65535/q",                        0,          65535, 0,                                      "h",                   "/q",                ""      },
    {"ipp://h:00631/q",                        "ipp://h:631/q",                          0,          631,   0,                                      "h",                   "/q",                ""      },
 /* Hosts. */
    {"ipp://Print-1.Example_Net/q",            "ipp://print-1.example_net/q",            0,          631,   0,                                      "Print-1.Example_Net",
     "/q",                                                                                                                                                                                      ""      },
    {"ipp://example.net./q",                   "ipp://example.net./q",                   0,          631,   0,                                      "example.net.",        "/q",                ""      },
    {"ipp://192.0.2.7:8631/q",                 "ipp://192.0.2.7:8631/q",                 0,          8631,  0,                                      "192.0.2.7",           "/q",                ""      },
    {"ipp://[::]/q",                           "ipp://[::]/q",                           0,          631,   0,                                      "::",                  "/q",                ""      },
    {"ipp://[::1]",                            "ipp://[::1]/",                           0,          631,   0,                                      "::1",                 "/",                 ""      },
    {"ipp://[2001:DB8:1:2:3:4:5:6]/q",         "ipp://[2001:db8:1:2:3:4:5:6]/q",         0,          631,   0,
     "2001:DB8:1:2:3:4:5:6",                                                                                                                                               "/q",                ""      },
    {"ipp://[1:2:3:4:5:6:7::]/q",              "ipp://[1:2:3:4:5:6:7::]/q",              0,          631,   0,                                      "1:2:3:4:5:6:7::",     "/q",
     ""                                                                                                                                                                                                 },
    {"ipp://[::ffff:192.0.2.7]/q",             "ipp://[::ffff:192.0.2.7]/q",             0,          631,   0,                                      "::ffff:192.0.2.7",
     "/q",                                                                                                                                                                                      ""      },
    {"ipp://[1:2:3:4:5:6:192.0.2.7]/q",        "ipp://[1:2:3:4:5:6:192.0.2.7]/q",        0,          631,   0,
     "1:2:3:4:5:6:192.0.2.7",                                                                                                                                              "/q",                ""      },
    {"ipp://@h/q",                             "ipp://h/q",                              0,          631,   IPP_URI_HAS_USER,                       "h",                   "/q",                ""      },
    {"ipp://a%40b;c:d%2Fe@h/q",                "ipp://h/q",                              0,          631,   IPP_URI_HAS_USER,                       "h",                   "/q",                ""      },
 /* Lists. */
    {"ipp://h/;AUTH=TLS",                      "ipp://h/;AUTH=TLS",                      T,          631,   0,                                      "h",                   "/",                 ""      },
    {"ipp://h/a/;AUTH=TLS",                    "ipp://h/a/;AUTH=TLS",                    T,          631,   0,                                      "h",                   "/a/",               ""      },
    {"ipp://h/q;AUTH=TLS,SSL3",                "ipp://h/q;AUTH=TLS",                     T | S3,     631,   IPP_URI_REDUNDANT,                      "h",                   "/q",
     ""                                                                                                                                                                                                 },
    {"ipp://h/q;AUTH=DAA,SSL3,TLS,DAA",        "ipp://h/q;AUTH=TLS,DAA",                 T | S3 | D, 631,
     IPP_URI_REDUNDANT | IPP_URI_DUPLICATE,                                                                                                         "h",                   "/q",                ""      },
    {"ipp://h/q;aUtH=ssl3,dAa",                "ipp://h/q;AUTH=SSL3,DAA",                S3 | D,     443,   0,                                      "h",                   "/q",                ""      },
    {"ipp://h/q;AUTH=DAA;a=1;b",               "ipp://h/q;AUTH=DAA;a=1;b",               D,          631,   0,                                      "h",                   "/q",                ";a=1;b"},
    {"ipps://h/q;a;AUTH=TLS;b",                "ipps://h/q;a;b",                         T,          631,   IPP_URI_REDUNDANT,                      "h",                   "/q;a",              ";b"    },
    {"ipp://h/q;foo=1",                        "ipp://h/q;foo=1",                        0,          631,   0,                                      "h",                   "/q;foo=1",          ""      },
    {"ipp://h/q;AUTHOR=TLS",                   "ipp://h/q;AUTHOR=TLS",                   0,          631,   0,                                      "h",                   "/q;AUTHOR=TLS",     ""      },
    {"ipp://h/q;AUTH-X=TLS",                   "ipp://h/q;AUTH-X=TLS",                   0,          631,   0,                                      "h",                   "/q;AUTH-X=TLS",     ""      },
    {"ipp://h/q;XAUTH=TLS",                    "ipp://h/q;XAUTH=TLS",                    0,          631,   0,                                      "h",                   "/q;XAUTH=TLS",      ""      },
    {"ipp://h/q;x=AUTH=TLS",                   "ipp://h/q;x=AUTH=TLS",                   0,          631,   0,                                      "h",                   "/q;x=AUTH=TLS",     ""      },
    {"ipp://h/q,AUTH=TLS",                     "ipp://h/q,AUTH=TLS",                     0,          631,   0,                                      "h",                   "/q,AUTH=TLS",       ""      },
    {"ipp://h/AUTH=TLS",                       "ipp://h/AUTH=TLS",                       0,          631,   0,                                      "h",                   "/AUTH=TLS",         ""      },
    {"ipp://h/a;AUTH=TLS/b",                   "ipp://h/a;AUTH=TLS/b",                   0,          631,   IPP_URI_EARLIER,                        "h",                   "/a;AUTH=TLS/b",
     ""                                                                                                                                                                                                 },
    {"ipp://h/q;AUTH=TLS/",                    "ipp://h/q;AUTH=TLS/",                    0,          631,   IPP_URI_EARLIER,                        "h",                   "/q;AUTH=TLS/",
     ""                                                                                                                                                                                                 },
    {"ipp://h/a;x;auth/b;AUTH=DAA",            "ipp://h/a;x;auth/b;AUTH=DAA",            D,          631,   IPP_URI_EARLIER,                        "h",
     "/a;x;auth/b",                                                                                                                                                                             ""      },
    {"ipp://h/a;%41uth=TLS/b",                 "ipp://h/a;%41uth=TLS/b",                 0,          631,   IPP_URI_EARLIER,                        "h",
     "/a;%41uth=TLS/b",                                                                                                                                                                         ""      },
    {"ipp://h/a;AUTHOR/b",                     "ipp://h/a;AUTHOR/b",                     0,          631,   0,                                      "h",                   "/a;AUTHOR/b",       ""      },
 /* Paths. */
    {"ipp://h/ipp/my%20print",                 "ipp://h/ipp/my%20print",                 0,          631,   0,                                      "h",                   "/ipp/my%20print",   ""      },
    {"ipp://h/b%C3%BCro",                      "ipp://h/b%C3%BCro",                      0,          631,   0,                                      "h",                   "/b%C3%BCro",        ""      },
    {"ipp://h/100%25",                         "ipp://h/100%25",                         0,          631,   0,                                      "h",                   "/100%25",           ""      },
    {"ipp://h//a//q",                          "ipp://h//a//q",                          0,          631,   0,                                      "h",                   "//a//q",            ""      },
    {"ipp://h/...",                            "ipp://h/...",                            0,          631,   0,                                      "h",                   "/...",              ""      },
    {"ipp://h/.q/a.",                          "ipp://h/.q/a.",                          0,          631,   0,                                      "h",                   "/.q/a.",            ""      },
    {"ipp://h/q%3DAUTH%2CTLS",                 "ipp://h/q%3DAUTH%2CTLS",                 0,          631,   0,                                      "h",                   "/q%3DAUTH%2CTLS",   ""      },
    {"ipp://h/!$&'()*+,=:@-._~",               "ipp://h/!$&'()*+,=:@-._~",               0,          631,   0,                                      "h",                   "/!$&'()*+,=:@-._~",
     ""                                                                                                                                                                                                 },
 /* Queries. */
    {"ipp://h/q;AUTH=TLS?encryption=required", "ipp://h/q;AUTH=TLS?encryption=required", T,          631,   0,
     "h",                                                                                                                                                                  "/q",                ""      },
    {"ipp://h?a/b?c=%2f",                      "ipp://h/?a/b?c=%2f",                     0,          631,   0,                                      "h",                   "/",                 ""      },
    {"ipp://h/q?",                             "ipp://h/q?",                             0,          631,   0,                                      "h",                   "/q",                ""      },
    {"ipp://h/q?auth=TLS",                     "ipp://h/q?auth=TLS",                     0,          631,   IPP_URI_IN_QUERY,                       "h",                   "/q",                ""      },
    {"ipp://h/q?a&AUTH",                       "ipp://h/q?a&AUTH",                       0,          631,   IPP_URI_IN_QUERY,                       "h",                   "/q",                ""      },
    {"ipp://h/q?a;%61uth=1",                   "ipp://h/q?a;%61uth=1",                   0,          631,   IPP_URI_IN_QUERY,                       "h",                   "/q",                ""      },
    {"ipp://h/q?author=1&xauth=2",             "ipp://h/q?author=1&xauth=2",             0,          631,   0,                                      "h",                   "/q",                ""      },
    {"ipp://h/q;AUTH=DAA?;AUTH=TLS",           "ipp://h/q;AUTH=DAA?;AUTH=TLS",           D,          631,   IPP_URI_IN_QUERY,                       "h",
     "/q",                                                                                                                                                                                      ""      },
    {"ipp://h/q?/../",                         "ipp://h/q?/../",                         0,          631,   0,                                      "h",                   "/q",                ""      },
};

static void check_printed(const struct ipp_uri *u, const char *printed)
{
    char room[IPP_URI_MAX], twice[IPP_URI_MAX];
    struct writer w = writer_of(room, sizeof room), w2 = writer_of(twice, sizeof twice);
    struct ipp_uri again;

    assert_int_equal(ipp_uri_format(u, &w), OK);
    assert_span(writer_span(&w), printed);
    assert_int_equal(ipp_uri_parse(writer_span(&w), &again, NULL), OK);
    assert_true(ipp_uri_same(u, &again));
    assert_int_equal(again.warnings & ~(IPP_URI_EARLIER | IPP_URI_IN_QUERY), 0);
    assert_int_equal(ipp_uri_format(&again, &w2), OK);
    assert_span(writer_span(&w2), printed);
}

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct span text = span_of(good[i].text);
        struct guard g = guard_new(text.n);
        struct ipp_uri_fault fault = {0};
        struct ipp_uri u;

        print_message("%s\n", good[i].text);
        text = guard_span(&g, text);
        assert_int_equal(ipp_uri_parse(text, &u, &fault), OK);
        assert_int_equal(u.auth, good[i].auth);
        assert_int_equal(ipp_uri_port(&u, SECURE_PORT), good[i].port);
        assert_int_equal(u.warnings, good[i].warnings);
        assert_span(u.host, good[i].host);
        assert_span(u.path, good[i].path);
        assert_span(u.params, good[i].params);
        assert_int_equal(u.secure,
                         span_istarts(text, SPAN("ipps:")) || span_istarts(text, SPAN("https:")));
        assert_int_equal(u.query.p != NULL, span_find(text, '?') < text.n);
        assert_true(lies_within(u.host, text) && lies_within(u.params, text));
        assert_true(lies_within(u.query, text) && lies_within(u.userinfo, text));
        check_printed(&u, good[i].printed);
        guard_free(&g);
    }
}

static void test_userinfo_and_query(void **state)
{
    struct ipp_uri u;

    (void)state;
    assert_int_equal(ipp_uri_parse(SPAN("ipp://u:p@h/q?a=b"), &u, NULL), OK);
    assert_span(u.userinfo, "u:p");
    assert_span(u.query, "a=b");
    assert_true(u.warnings & IPP_URI_REFUSED);
    assert_int_equal(ipp_uri_parse(SPAN("ipp://h/q"), &u, NULL), OK);
    assert_null(u.userinfo.p);
    assert_null(u.query.p);
    assert_int_equal(ipp_uri_parse(SPAN("ipp://h/q?"), &u, NULL), OK);
    assert_non_null(u.query.p);
    assert_int_equal(u.query.n, 0);
}

/* ---- what is refused ---- */

struct bad {
    const char *text;
    enum ipp_uri_why why;
    const char *at; /* NULL: not looked at */
};

static const struct bad bad[] = {
  /* What the draft says and what it leaves open. */
    {"ipp://h/q;AUTH=",                   IPP_URI_AUTH_EMPTY,   "AUTH="         },
    {"ipp://h/q;AUTH",                    IPP_URI_AUTH_NO_LIST, "AUTH"          },
    {"ipp://h/q;AUTH=TLS,",               IPP_URI_AUTH_GAP,     ""              },
    {"ipp://h/q;AUTH=,TLS",               IPP_URI_AUTH_GAP,     ""              },
    {"ipp://h/q;AUTH=TLS,,DAA",           IPP_URI_AUTH_GAP,     ""              },
    {"ipp://h/q;AUTH=TLS, DAA",           IPP_URI_CHAR,         " "             },
    {"ipp://h/q;AUTH=TLS;AUTH=DAA",       IPP_URI_AUTH_TWICE,   "AUTH=DAA"      },
    {"ipp://h/q;AUTH=KERB",               IPP_URI_AUTH_UNKNOWN, "KERB"          },
    {"ipp://[fe80::1%25eth0]/q",          IPP_URI_ZONE,         "fe80::1%25eth0"},
    {"ipp://h;AUTH=TLS",                  IPP_URI_AUTH_HOST,    ";AUTH=TLS"     },
 /* Lists. */
    {"ipp://h/q;AUTH=,",                  IPP_URI_AUTH_GAP,     ""              },
    {"ipp://h/q;AUTH;x",                  IPP_URI_AUTH_NO_LIST, "AUTH"          },
    {"ipp://h/q;auth:TLS",                IPP_URI_AUTH_NO_LIST, "auth:TLS"      },
    {"ipp://h/q;AUTH,TLS",                IPP_URI_AUTH_NO_LIST, "AUTH,TLS"      },
    {"ipp://h/q;AUTH=;x=1",               IPP_URI_AUTH_EMPTY,   "AUTH="         },
    {"ipp://h/q;AUTH=TLS;auth=TLS",       IPP_URI_AUTH_TWICE,   "auth=TLS"      },
    {"ipp://h/q;AUTH=TLS;x;AUTH",         IPP_URI_AUTH_TWICE,   "AUTH"          },
    {"ipp://h/q;AUTH=TLS,IPSEC",          IPP_URI_AUTH_UNKNOWN, "IPSEC"         },
    {"ipp://h/q;AUTH=TLS1.3,TLS",         IPP_URI_AUTH_UNKNOWN, "TLS1.3"        },
    {"ipp://h/q;AUTH=SSL",                IPP_URI_AUTH_UNKNOWN, "SSL"           },
    {"ipp://h/q;AUTH=NONE",               IPP_URI_AUTH_UNKNOWN, "NONE"          },
    {"ipp://h/q;AUTH=TL",                 IPP_URI_AUTH_UNKNOWN, "TL"            },
    {"ipp://h/q;AUTH=T_L-S.x",            IPP_URI_AUTH_UNKNOWN, "T_L-S.x"       },
    {"ipp://h/q;AUTH==TLS",               IPP_URI_AUTH_TOKEN,   "=TLS"          },
    {"ipp://h/q;AUTH=TLS=1",              IPP_URI_AUTH_TOKEN,   "TLS=1"         },
    {"ipp://h/q;AUTH=3DES",               IPP_URI_AUTH_TOKEN,   "3DES"          },
    {"ipp://h/q;AUTH=TLS+DAA",            IPP_URI_AUTH_TOKEN,   "TLS+DAA"       },
    {"ipp://h/q;AUTH=T~",                 IPP_URI_AUTH_TOKEN,   "T~"            },
    {"ipp://h/q;AUTH=TLS%2CDAA",          IPP_URI_PARAM,        "%"             },
    {"ipp://h/q;AUTH%3DTLS",              IPP_URI_PARAM,        "%"             },
    {"ipp://h/q;%41UTH=TLS",              IPP_URI_PARAM,        "%"             },
    {"ipp://h/q%3BAUTH=TLS",              IPP_URI_HIDDEN,       "%3B"           },
    {"ipp://h/q%3bAUTH=TLS",              IPP_URI_HIDDEN,       "%3b"           },
    {"ipp://h/q;",                        IPP_URI_PARAM,        ""              },
    {"ipp://h/q;;AUTH=TLS",               IPP_URI_PARAM,        ""              },
    {"ipp://h/q;AUTH=TLS;",               IPP_URI_PARAM,        ""              },
    {"ipp://h/q;a=%20",                   IPP_URI_PARAM,        "%"             },
 /* Schemes. */
    {"",                                  IPP_URI_EMPTY,        ""              },
    {"ipp",                               IPP_URI_SCHEME,       "ipp"           },
    {"/q",                                IPP_URI_SCHEME,       NULL            },
    {"h/q",                               IPP_URI_SCHEME,       NULL            },
    {"h:631/q",                           IPP_URI_SCHEME,       "h"             },
    {"ftp://h/q",                         IPP_URI_SCHEME,       "ftp"           },
    {"ippss://h/q",                       IPP_URI_SCHEME,       "ippss"         },
    {"ip://h/q",                          IPP_URI_SCHEME,       "ip"            },
    {"://h/q",                            IPP_URI_SCHEME,       ""              },
    {" ipp://h/q",                        IPP_URI_CHAR,         " "             },
    {"ipp:",                              IPP_URI_NO_HOST,      NULL            },
    {"ipp:h/q",                           IPP_URI_NO_HOST,      NULL            },
    {"ipp:/h/q",                          IPP_URI_NO_HOST,      NULL            },
    {"ipp://",                            IPP_URI_NO_HOST,      ""              },
    {"ipp:///q",                          IPP_URI_NO_HOST,      ""              },
    {"ipp://?q",                          IPP_URI_NO_HOST,      ""              },
    {"ipp://u@/q",                        IPP_URI_NO_HOST,      ""              },
    {"ipp://:631/q",                      IPP_URI_NO_HOST,      ""              },
 /* Authorities. */
    {"ipp://a@b@h/q",                     IPP_URI_HOST,         "b@h"           },
    {"ipp://h%20x/q",                     IPP_URI_HOST,         NULL            },
    {"ipp://h%2Fq",                       IPP_URI_HOST,         NULL            },
    {"ipp://h,i/q",                       IPP_URI_HOST,         NULL            },
    {"ipp://h;x=1/q",                     IPP_URI_HOST,         "h;x=1"         },
    {"ipp://h~/q",                        IPP_URI_HOST,         NULL            },
    {"ipp://.h/q",                        IPP_URI_HOST,         NULL            },
    {"ipp://a..b/q",                      IPP_URI_HOST,         NULL            },
    {"ipp://./q",                         IPP_URI_HOST,         NULL            },
    {"ipp://h]/q",                        IPP_URI_HOST,         NULL            },
    {"ipp://[::1]x/q",                    IPP_URI_HOST,         "x"             },
    {"ipp://[::1]631/q",                  IPP_URI_HOST,         NULL            },
    {"ipp://h:631;auth=TLS/q",            IPP_URI_AUTH_HOST,    ";auth=TLS"     },
    {"ipp://[::1];AUTH=TLS",              IPP_URI_AUTH_HOST,    ";AUTH=TLS"     },
    {"ipp://u:p@h;AUTH",                  IPP_URI_AUTH_HOST,    ";AUTH"         },
    {"ipp://u%zz@h/q",                    IPP_URI_ESCAPE,       "%zz"           },
    {"ipp://u[@h/q",                      IPP_URI_CHAR,         "["             },
    {"ipp://h:/q",                        IPP_URI_PORT,         ""              },
    {"ipp://h:0/q",                       IPP_URI_PORT,         "0"             },
    {"ipp://h:65536/q",                   IPP_URI_PORT,         "65536"         },
    {"ipp://h:000631/q",                  IPP_URI_PORT,         "000631"        },
    {"ipp://h:+631/q",                    IPP_URI_PORT,         "+631"          },
    {"ipp://h:-1/q",                      IPP_URI_PORT,         "-1"            },
    {"ipp://h:631:631/q",                 IPP_URI_PORT,         NULL            },
    {"ipp://u:secret/q",                  IPP_URI_PORT,         NULL            },
    {"ipp://::1/q",                       IPP_URI_NO_HOST,      NULL            },
    {"ipp://[::1/q",                      IPP_URI_LITERAL,      NULL            },
    {"ipp://[]/q",                        IPP_URI_LITERAL,      ""              },
    {"ipp://[:]/q",                       IPP_URI_LITERAL,      ":"             },
    {"ipp://[:::]/q",                     IPP_URI_LITERAL,      NULL            },
    {"ipp://[1::2::3]/q",                 IPP_URI_LITERAL,      NULL            },
    {"ipp://[1:2:3:4:5:6:7]/q",           IPP_URI_LITERAL,      NULL            },
    {"ipp://[1:2:3:4:5:6:7:8:9]/q",       IPP_URI_LITERAL,      NULL            },
    {"ipp://[1:2:3:4::5:6:7:8]/q",        IPP_URI_LITERAL,      NULL            },
    {"ipp://[1:2:3:4:5:6:7:]/q",          IPP_URI_LITERAL,      NULL            },
    {"ipp://[:1:2:3:4:5:6:7]/q",          IPP_URI_LITERAL,      NULL            },
    {"ipp://[12345::]/q",                 IPP_URI_LITERAL,      NULL            },
    {"ipp://[g::]/q",                     IPP_URI_LITERAL,      NULL            },
    {"ipp://[::192.0.2]/q",               IPP_URI_LITERAL,      NULL            },
    {"ipp://[::192.0.2.256]/q",           IPP_URI_LITERAL,      NULL            },
    {"ipp://[::192.0.2.07]/q",            IPP_URI_LITERAL,      NULL            },
    {"ipp://[::192.0.2.7:1]/q",           IPP_URI_LITERAL,      NULL            },
    {"ipp://[192.0.2.7::]/q",             IPP_URI_LITERAL,      NULL            },
    {"ipp://[1:2:3:4:5:6:7:192.0.2.7]/q", IPP_URI_LITERAL,      NULL            },
    {"ipp://[192.0.2.7]/q",               IPP_URI_LITERAL,      NULL            },
    {"ipp://[v1.a]/q",                    IPP_URI_LITERAL,      NULL            },
    {"ipp://[h]/q",                       IPP_URI_LITERAL,      NULL            },
    {"ipp://[fe80::1%eth0]/q",            IPP_URI_ZONE,         NULL            },
 /* Paths. */
    {"ipp://h/a%2Fb",                     IPP_URI_HIDDEN,       "%2F"           },
    {"ipp://h/a%2fb",                     IPP_URI_HIDDEN,       "%2f"           },
    {"ipp://h/a%5Cb",                     IPP_URI_HIDDEN,       "%5C"           },
    {"ipp://h/a%00b",                     IPP_URI_CONTROL,      "%00"           },
    {"ipp://h/a%0D%0Ab",                  IPP_URI_CONTROL,      "%0D"           },
    {"ipp://h/a%7F",                      IPP_URI_CONTROL,      "%7F"           },
    {"ipp://h/a%",                        IPP_URI_ESCAPE,       "%"             },
    {"ipp://h/a%2",                       IPP_URI_ESCAPE,       "%2"            },
    {"ipp://h/a%2g",                      IPP_URI_ESCAPE,       "%2g"           },
    {"ipp://h/a%%20",                     IPP_URI_ESCAPE,       "%%2"           },
    {"ipp://h/a%FC",                      IPP_URI_UTF8,         NULL            }, /* Latin-1 */
    {"ipp://h/a%C0%AFb",                  IPP_URI_UTF8,         NULL            }, /* "/", overlong */
    {"ipp://h/a%ED%A0%80",                IPP_URI_UTF8,         NULL            }, /* a surrogate */
    {"ipp://h/..",                        IPP_URI_DOTS,         ".."            },
    {"ipp://h/.",                         IPP_URI_DOTS,         "."             },
    {"ipp://h/a/../b",                    IPP_URI_DOTS,         ".."            },
    {"ipp://h/a/./b",                     IPP_URI_DOTS,         "."             },
    {"ipp://h/a/%2e%2E/b",                IPP_URI_DOTS,         "%2e%2E"        },
    {"ipp://h/a/.%2e",                    IPP_URI_DOTS,         ".%2e"          },
    {"ipp://h/..;AUTH=TLS",               IPP_URI_DOTS,         "..;AUTH=TLS"   },
    {"ipp://h/a/..;x/b",                  IPP_URI_DOTS,         "..;x"          },
    {"ipp://h/a b",                       IPP_URI_CHAR,         " "             },
    {"ipp://h/a\tb",                      IPP_URI_CHAR,         "\t"            },
    {"ipp://h/a\r\n",                     IPP_URI_CHAR,         "\r"            },
    {"ipp://h/a\\b",                      IPP_URI_CHAR,         "\\"            },
    {"ipp://h/\"a\"",                     IPP_URI_CHAR,         "\""            },
    {"ipp://h/<a>",                       IPP_URI_CHAR,         "<"             },
    {"ipp://h/a^b",                       IPP_URI_CHAR,         "^"             },
    {"ipp://h/a`b",                       IPP_URI_CHAR,         "`"             },
    {"ipp://h/{a}",                       IPP_URI_CHAR,         "{"             },
    {"ipp://h/a|b",                       IPP_URI_CHAR,         "|"             },
    {"ipp://h/a[b",                       IPP_URI_CHAR,         "["             },
    {"ipp://h/q;a=[",                     IPP_URI_CHAR,         "["             },
    {"ipp://h/b\xc3\xbcro",               IPP_URI_CHAR,         NULL            },
    {"ipp://h/a\x7f",                     IPP_URI_CHAR,         NULL            },
    {"ipp://b\xc3\xbcro/",                IPP_URI_CHAR,         NULL            },
    {"ipp://h/q#top",                     IPP_URI_FRAGMENT,     "#top"          },
    {"ipp://h/q;AUTH=TLS#",               IPP_URI_FRAGMENT,     "#"             },
    {"ipp://h#/q",                        IPP_URI_FRAGMENT,     NULL            },
    {"ipp://h/q?a%",                      IPP_URI_ESCAPE,       "%"             },
    {"ipp://h/q?a[1]",                    IPP_URI_CHAR,         "["             },
    {"ipp://h/q?a b",                     IPP_URI_CHAR,         " "             },
};

static void check_bad(struct span text, enum ipp_uri_why why, const char *at)
{
    struct guard g = guard_new(text.n);
    struct ipp_uri_fault fault = {0};
    struct ipp_uri u = {.port = 7};

    text = guard_span(&g, text);
    assert_int_equal(ipp_uri_parse(text, &u, &fault), why == IPP_URI_LONG ? ERR_LIMIT : ERR_SYNTAX);
    assert_string_equal(ipp_uri_why_code(fault.why), ipp_uri_why_code(why));
    assert_true(lies_within(fault.at, text));
    if (at)
        assert_span(fault.at, at);
    assert_int_equal(u.port, 7); /* nothing is written */
    assert_int_not_equal(ipp_uri_parse(text, &u, NULL), OK);
    guard_free(&g);
}

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        print_message("%s\n", bad[i].text);
        check_bad(span_of(bad[i].text), bad[i].why, bad[i].at);
    }
    check_bad(SPAN("ipp://h/a\0b"), IPP_URI_CHAR, NULL);
    check_bad(SPAN("ipp://h/q;AUTH=TLS\0"), IPP_URI_CHAR, NULL);
}

static void test_length(void **state)
{
    char text[IPP_URI_MAX + 1], room[2 * IPP_URI_MAX];
    struct ipp_uri u;

    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text, "http://h/", 9);
    check_bad((struct span){text, IPP_URI_MAX + 1}, IPP_URI_LONG, "a");
    assert_int_equal(ipp_uri_parse((struct span){text, IPP_URI_MAX}, &u, NULL), OK);

    /* "ipp://h:80/" is longer by two octets: nothing is printed. */
    struct writer w = writer_of(room, sizeof room);

    assert_int_equal(ipp_uri_format(&u, &w), ERR_LIMIT);
    assert_int_equal(w.n, 0);
    assert_int_equal(w.err, OK);
    u.path.n -= 2;
    assert_int_equal(ipp_uri_format(&u, &w), OK);
    assert_int_equal(w.n, IPP_URI_MAX);
    /* Nor with a list, or where there is no room. */
    u.auth = IPP_AUTH_DAA;
    assert_int_equal(ipp_uri_format(&u, &w), ERR_LIMIT);
    w = writer_of(room, 20);
    u.path.n = 10;
    assert_int_equal(ipp_uri_format(&u, &w), ERR_LIMIT);
    assert_int_equal(w.n, 0);
    assert_int_equal(w.err, ERR_LIMIT);

    memset(text, 'a', sizeof text);
    memcpy(text, "ipp://", 6);
    memcpy(text + 6 + 256, "/", 1);
    check_bad((struct span){text, 300}, IPP_URI_HOST, NULL);
    memcpy(text + 6 + 255, "/", 1);
    assert_int_equal(ipp_uri_parse((struct span){text, 300}, &u, NULL), OK);
}

static void test_texts(void **state)
{
    (void)state;
    for (unsigned i = 0; i < IPP_URI_WHYS; i++) {
        assert_true(strlen(ipp_uri_why_text((enum ipp_uri_why)i)) > 10);
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(ipp_uri_why_code((enum ipp_uri_why)i),
                                    ipp_uri_why_code((enum ipp_uri_why)k));
    }
    assert_string_equal(ipp_uri_why_code(IPP_URI_AUTH_EMPTY), "auth-empty");
    assert_non_null(strstr(ipp_uri_why_text(IPP_URI_AUTH_HOST), "ipp://host/;AUTH=TLS"));
    assert_string_equal(ipp_uri_warning_code(IPP_URI_REDUNDANT), "auth-list-redundant");
    assert_string_equal(ipp_uri_warning_code(IPP_URI_HAS_USER | IPP_URI_EARLIER), "?");
    for (unsigned bit = IPP_URI_REDUNDANT; bit <= IPP_URI_EARLIER; bit <<= 1) {
        assert_string_not_equal(ipp_uri_warning_code(bit), "?");
        assert_string_not_equal(ipp_uri_warning_text(bit), "?");
    }
    assert_string_equal(ipp_uri_warning_text(0), "?");
}

/* ---- the same? ---- */

static void test_same(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"ipp://H",                 "ipp://h:631/",            true },
        {"ipp://h/q;AUTH=TLS,DAA",  "IPP://h/q;auth=DAA,TLS",  true },
        {"ipp://h/q;AUTH=TLS,SSL3", "ipp://h/q;AUTH=TLS",      true },
        {"ipps://h/q;AUTH=TLS",     "ipps://h/q",              true },
        {"http://h:631/q",          "ipp://h/q",               true },
        {"ipp://u:p@h/q",           "ipp://h/q",               true },
        {"ipp://h/q;a;AUTH=DAA;b",  "ipp://h/q;a;b;AUTH=DAA",  true },
        {"ipp://h/%71",             "ipp://h/q",               true },
        {"ipp://h/%c3%bc",          "ipp://h/%C3%BC",          true },
        {"ipp://h/q;AUTH=TLS",      "ipp://h/q",               false},
        {"ipp://h/q;AUTH=SSL3",     "ipp://h/q;AUTH=TLS",      false},
        {"ipp://h/q;AUTH=SSL3",     "ipp://h:631/q;AUTH=SSL3", false},
        {"ipps://h/q",              "ipp://h/q",               false},
        {"http://h/q",              "ipp://h/q",               false},
        {"ipp://h/Q",               "ipp://h/q",               false},
        {"ipp://h/q",               "ipp://h/q/",              false},
        {"ipp://h/q?",              "ipp://h/q",               false},
        {"ipp://h/q?a",             "ipp://h/q?b",             false},
        {"ipp://h/q%3Fa",           "ipp://h/q?a",             false},
        {"ipp://h./q",              "ipp://h/q",               false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ipp_uri a, b;

        print_message("%s %s\n", rows[i].a, rows[i].b);
        assert_int_equal(ipp_uri_parse(span_of(rows[i].a), &a, NULL), OK);
        assert_int_equal(ipp_uri_parse(span_of(rows[i].b), &b, NULL), OK);
        assert_int_equal(ipp_uri_same(&a, &b), rows[i].same);
        assert_int_equal(ipp_uri_same(&b, &a), rows[i].same);
        assert_true(ipp_uri_same(&a, &a));
    }
}

/* ---- printing ---- */

/* Parts that would make another URI than they say. */
static void test_no_injection(void **state)
{
    const struct ipp_uri ok = {.host = SPAN("h"), .path = SPAN("/q"), .auth = IPP_AUTH_TLS};
    struct ipp_uri odd[12];
    size_t n = 0;
    char room[IPP_URI_MAX];
    struct writer w = writer_of(room, sizeof room);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(odd); i++)
        odd[i] = ok;
    odd[n++].host = SPAN("h/x");
    odd[n++].host = SPAN("u@h");
    odd[n++].host = SPAN("h:99");
    odd[n++].host = SPAN_NONE;
    odd[n++].path = SPAN("q");
    odd[n++].path = SPAN_NONE;
    odd[n++].path = SPAN("/q;AUTH=DAA");
    odd[n++].path = SPAN("/q?x");
    odd[n++].path = SPAN("/q r");
    odd[n++].params = SPAN("x");
    odd[n++].params = SPAN(";AUTH=DAA");
    odd[n++].port = 65536;
    assert_int_equal(n, ARRAY_LEN(odd));
    for (size_t i = 0; i < n; i++) {
        print_message("%zu\n", i);
        assert_int_equal(ipp_uri_format(&odd[i], &w), ERR_SYNTAX);
        assert_int_equal(w.n, 0);
        assert_int_equal(w.err, OK);
    }
    odd[0] = ok;
    odd[0].auth = 0;
    odd[0].path = SPAN("/q;AUTH=TLS"); /* says more than the caller knows */
    assert_int_equal(ipp_uri_format(&odd[0], &w), ERR_SYNTAX);
    assert_int_equal(ipp_uri_format_target(&odd[0], &w), ERR_SYNTAX);
    odd[0].path = SPAN("*");
    assert_int_equal(ipp_uri_format_target(&odd[0], &w), ERR_SYNTAX);
    odd[0].path = SPAN("/q?x");
    assert_int_equal(ipp_uri_format_target(&odd[0], &w), ERR_SYNTAX);
    write_text(&w, "uri=");
    assert_int_equal(ipp_uri_format(&ok, &w), OK);
    assert_span(writer_span(&w), "uri=ipp://h/q;AUTH=TLS");
}

static void test_request_targets_printed(void **state)
{
    static const struct {
        const char *uri, *target; /* NULL: ERR_SYNTAX */
    } rows[] = {
        {"ipp://h:631/myprinter/myqueue;AUTH=TLS", "/myprinter/myqueue"},
        {"ipp://h",                                "/"                 },
        {"ipp://h/q;a;AUTH=TLS;b?c",               "/q;a;b?c"          },
        {"ipps://h/my%20print?",                   "/my%20print?"      },
        {"ipp://h/a;AUTH=TLS/b",                   NULL                },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char room[IPP_URI_MAX];
        struct writer w = writer_of(room, sizeof room);
        struct ipp_uri u;

        print_message("%s\n", rows[i].uri);
        assert_int_equal(ipp_uri_parse(span_of(rows[i].uri), &u, NULL), OK);
        assert_int_equal(ipp_uri_format_target(&u, &w), rows[i].target ? OK : ERR_SYNTAX);
        assert_span(writer_span(&w), rows[i].target ? rows[i].target : "");
    }
}

#define CLEAR    IPP_CHANNEL_CLEAR
#define UPGRADED IPP_CHANNEL_UPGRADED
#define IMPLICIT IPP_CHANNEL_IMPLICIT

static void test_job_uris(void **state)
{
    static const struct ipp_front both =
                                      {
                                          {"gw", 2},
                                          631, 631
    },
                                  two = {{"GW", 2}, 8631, 8443}, clear = {{"gw", 2}, 631, 0},
                                  secure = {{"::1", 3}, 0, 443};
    static const struct {
        const struct ipp_front *at;
        struct ipp_level made;
        enum ipp_job_style style;
        const char *uri; /* NULL: ERR_MISSING */
    } rows[] = {
        {&both,   {CLEAR, IPP_USER_CLAIMED},        IPP_JOB_AUTO,  "ipp://gw:631/jobs/42"               },
        {&both,   {CLEAR, IPP_USER_DIGEST},         IPP_JOB_AUTO,  "ipp://gw:631/jobs/42;AUTH=DAA"      },
        {&both,   {UPGRADED, IPP_USER_NONE},        IPP_JOB_AUTO,  "ipp://gw:631/jobs/42;AUTH=TLS"      },
        {&both,   {UPGRADED, IPP_USER_DIGEST},      IPP_JOB_AUTO,  "ipp://gw:631/jobs/42;AUTH=TLS,DAA"  },
        {&both,   {IMPLICIT, IPP_USER_BASIC},       IPP_JOB_AUTO,  "ipps://gw/jobs/42"                  },
        {&both,   {IMPLICIT, IPP_USER_DIGEST},      IPP_JOB_AUTO,  "ipps://gw/jobs/42;AUTH=DAA"         },
        {&both,   {IMPLICIT, IPP_USER_CERTIFICATE}, IPP_JOB_AUTO,  "ipps://gw/jobs/42"                  },
        {&two,    {IMPLICIT, IPP_USER_NONE},        IPP_JOB_AUTO,  "ipps://gw:8443/jobs/42"             },
        {&two,    {UPGRADED, IPP_USER_NONE},        IPP_JOB_AUTO,  "ipp://gw:8631/jobs/42;AUTH=TLS"     },
        {&both,   {CLEAR, IPP_USER_NONE},           IPP_JOB_DRAFT, "ipp://gw:631/jobs/42"               },
        {&both,   {UPGRADED, IPP_USER_DIGEST},      IPP_JOB_DRAFT, "ipp://gw:631/jobs/42;AUTH=TLS,DAA"  },
        {&two,    {IMPLICIT, IPP_USER_DIGEST},      IPP_JOB_DRAFT, "ipp://gw:8443/jobs/42;AUTH=SSL3,DAA"},
        {&both,   {CLEAR, IPP_USER_NONE},           IPP_JOB_IPPS,  "ipp://gw:631/jobs/42"               },
        {&both,   {UPGRADED, IPP_USER_DIGEST},      IPP_JOB_IPPS,  "ipps://gw/jobs/42;AUTH=DAA"         },
        {&two,    {UPGRADED, IPP_USER_NONE},        IPP_JOB_IPPS,  "ipps://gw:8443/jobs/42"             },
        {&two,    {IMPLICIT, IPP_USER_NONE},        IPP_JOB_IPPS,  "ipps://gw:8443/jobs/42"             },
        {&clear,  {UPGRADED, IPP_USER_NONE},        IPP_JOB_IPPS,  "ipp://gw:631/jobs/42;AUTH=TLS"      },
        {&clear,  {IMPLICIT, IPP_USER_NONE},        IPP_JOB_AUTO,  NULL                                 },
        {&clear,  {IMPLICIT, IPP_USER_NONE},        IPP_JOB_DRAFT, NULL                                 },
        {&secure, {CLEAR, IPP_USER_NONE},           IPP_JOB_AUTO,  NULL                                 },
        {&secure, {UPGRADED, IPP_USER_NONE},        IPP_JOB_DRAFT, NULL                                 },
        {&secure, {IMPLICIT, IPP_USER_NONE},        IPP_JOB_AUTO,  "ipps://[::1]:443/jobs/42"           },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char room[IPP_URI_MAX];
        struct writer w = writer_of(room, sizeof room);
        struct ipp_uri u;

        print_message("%s\n", rows[i].uri ? rows[i].uri : "no port");
        assert_int_equal(
            ipp_uri_format_job(rows[i].at, SPAN("/jobs/42"), rows[i].made, rows[i].style, &w),
            rows[i].uri ? OK : ERR_MISSING);
        assert_span(writer_span(&w), rows[i].uri ? rows[i].uri : "");
        if (rows[i].uri == NULL)
            continue;
        /* What made the job satisfies the job's URI. */
        assert_int_equal(ipp_uri_parse(writer_span(&w), &u, NULL), OK);
        assert_int_equal(u.warnings, 0);
        struct ipp_demand d = ipp_uri_demand(&u);

        assert_int_equal(ipp_demand_check(&d, rows[i].made), IPP_NEED_NOTHING);
    }
}

static void test_job_uris_refused(void **state)
{
    static const struct ipp_front gw =
                                      {
                                          {"gw", 2},
                                          631, 631
    },
                                  odd = {{"g w", 3}, 631, 631};
    const struct ipp_level made = {IPP_CHANNEL_UPGRADED, IPP_USER_DIGEST};
    char room[IPP_URI_MAX], path[IPP_URI_MAX];
    struct writer w = writer_of(room, sizeof room);
    /* ipp://gw:631 and ;AUTH=TLS,DAA */
    size_t longest = IPP_URI_MAX - 12 - 13;

    (void)state;
    memset(path, 'a', sizeof path);
    path[0] = '/';
    assert_int_equal(
        ipp_uri_format_job(&gw, (struct span){path, longest + 1}, made, IPP_JOB_AUTO, &w),
        ERR_LIMIT);
    assert_int_equal(w.n, 0);
    assert_int_equal(ipp_uri_format_job(&gw, (struct span){path, longest}, made, IPP_JOB_AUTO, &w),
                     OK);
    assert_int_equal(w.n, IPP_URI_MAX);
    w = writer_of(room, sizeof room);
    assert_int_equal(ipp_uri_format_job(&odd, SPAN("/jobs/1"), made, IPP_JOB_AUTO, &w), ERR_SYNTAX);
    assert_int_equal(ipp_uri_format_job(&gw, SPAN("jobs/1"), made, IPP_JOB_AUTO, &w), ERR_SYNTAX);
    assert_int_equal(ipp_uri_format_job(&gw, SPAN("/j;AUTH=DAA"), made, IPP_JOB_AUTO, &w),
                     ERR_SYNTAX);
    assert_int_equal(w.n, 0);
}

/* ---- request-targets ---- */

static void test_targets(void **state)
{
    static const struct {
        const char *text;
        enum ipp_uri_why why;
        enum ipp_http_form form;
        unsigned auth;
        const char *path, *query; /* query NULL: none */
    } rows[] = {
        {"/",                       IPP_URI_FINE,         IPP_HTTP_ORIGIN,   0,     "/",               NULL       },
        {"/q;AUTH=TLS,DAA",         IPP_URI_FINE,         IPP_HTTP_ORIGIN,   T | D, "/q",              NULL       },
        {"/q;auth=tls?a=b",         IPP_URI_FINE,         IPP_HTTP_ORIGIN,   T,     "/q",              "a=b"      },
        {"/q?;AUTH=TLS",            IPP_URI_FINE,         IPP_HTTP_ORIGIN,   0,     "/q",              ";AUTH=TLS"},
        {"//h/q",                   IPP_URI_FINE,         IPP_HTTP_ORIGIN,   0,     "//h/q",           NULL       },
        {"/ipp/my%20print",         IPP_URI_FINE,         IPP_HTTP_ORIGIN,   0,     "/ipp/my%20print", NULL       },
        {"/http://h/q",             IPP_URI_FINE,         IPP_HTTP_ORIGIN,   0,     "/http://h/q",     NULL       },
        {"http://h:631/q;AUTH=DAA", IPP_URI_FINE,         IPP_HTTP_ABSOLUTE, D,     "/q",              NULL       },
        {"HTTP://h",                IPP_URI_FINE,         IPP_HTTP_ABSOLUTE, 0,     "/",               NULL       },
        {"ipp://h?x",               IPP_URI_FINE,         IPP_HTTP_ABSOLUTE, 0,     "/",               "x"        },
        {"*",                       IPP_URI_FINE,         IPP_HTTP_ASTERISK, 0,     "*",               NULL       },
        {"",                        IPP_URI_EMPTY,        IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"h:631",                   IPP_URI_TARGET,       IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"q",                       IPP_URI_TARGET,       IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"**",                      IPP_URI_TARGET,       IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"*;AUTH=TLS",              IPP_URI_TARGET,       IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"?x",                      IPP_URI_TARGET,       IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {";AUTH=TLS",               IPP_URI_TARGET,       IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"ftp://h/q",               IPP_URI_SCHEME,       IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"http://u:p@h/q",          IPP_URI_USERINFO,     IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"http://h;AUTH=TLS",       IPP_URI_AUTH_HOST,    IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"http://h/a;AUTH=TLS/b",   IPP_URI_AUTH_PLACE,   IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"/a;AUTH=TLS/b",           IPP_URI_AUTH_PLACE,   IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"/a;x;auth/b;AUTH=TLS",    IPP_URI_AUTH_PLACE,   IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"/a;A%55TH=TLS/",          IPP_URI_AUTH_PLACE,   IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"/q;AUTH=KERB",            IPP_URI_AUTH_UNKNOWN, IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"/q;AUTH=TLS;AUTH=TLS",    IPP_URI_AUTH_TWICE,   IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"/print%3BAUTH=TLS",       IPP_URI_HIDDEN,       IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"/a%2F..%2Fb",             IPP_URI_HIDDEN,       IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"/../q",                   IPP_URI_DOTS,         IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"/q#x",                    IPP_URI_FRAGMENT,     IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
        {"/q HTTP/1.1",             IPP_URI_CHAR,         IPP_HTTP_ORIGIN,   0,     NULL,              NULL       },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span text = span_of(rows[i].text);
        struct guard g = guard_new(text.n);
        struct ipp_uri_fault fault = {0};
        struct ipp_http_target t;

        print_message("%s\n", rows[i].text);
        text = guard_span(&g, text);
        assert_int_equal(ipp_http_target_parse(text, &t, &fault), rows[i].path ? OK : ERR_SYNTAX);
        assert_int_equal(fault.why, rows[i].why);
        assert_true(lies_within(fault.at, text));
        if (rows[i].path) {
            assert_int_equal(t.form, rows[i].form);
            assert_int_equal(t.uri.auth, rows[i].auth);
            assert_span(t.uri.path, rows[i].path);
            assert_int_equal(t.uri.query.p != NULL, rows[i].query != NULL);
            assert_span(t.uri.query, rows[i].query ? rows[i].query : "");
        }
        guard_free(&g);
    }
}

static void test_target_length(void **state)
{
    char text[IPP_URI_MAX + 1];
    struct ipp_uri_fault fault = {0};
    struct ipp_http_target t;

    (void)state;
    memset(text, '/', sizeof text);
    assert_int_equal(ipp_http_target_parse((struct span){text, IPP_URI_MAX}, &t, &fault), OK);
    assert_int_equal(ipp_http_target_parse((struct span){text, IPP_URI_MAX + 1}, &t, &fault),
                     ERR_LIMIT);
    assert_int_equal(fault.why, IPP_URI_LONG);
}

static void test_canonical(void **state)
{
    (void)state;
    assert_int_equal(ipp_auth_canonical(T | S3 | D, false), T | D);
    assert_int_equal(ipp_auth_canonical(S3 | D, false), S3 | D);
    assert_int_equal(ipp_auth_canonical(T | S3 | D, true), D);
    assert_int_equal(ipp_auth_canonical(T, true), 0);
    assert_int_equal(ipp_auth_canonical(~0u, false), T | D);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),         cmocka_unit_test(test_userinfo_and_query),
        cmocka_unit_test(test_bad),          cmocka_unit_test(test_length),
        cmocka_unit_test(test_texts),        cmocka_unit_test(test_same),
        cmocka_unit_test(test_no_injection), cmocka_unit_test(test_request_targets_printed),
        cmocka_unit_test(test_job_uris),     cmocka_unit_test(test_job_uris_refused),
        cmocka_unit_test(test_targets),      cmocka_unit_test(test_target_length),
        cmocka_unit_test(test_canonical),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
