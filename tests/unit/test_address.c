/* SPDX-License-Identifier: Apache-2.0 */
#include "test_net.h"

#include <stdio.h>

static void test_parse_and_print(void **state)
{
    static const struct {
        const char *in, *out; /* out NULL: refused */
        unsigned port;
        bool loopback;
    } rows[] = {
        {"192.0.2.7:1344",        "192.0.2.7:1344",     1344,  false},
        {"127.0.0.9:0",           "127.0.0.9:0",        0,     true },
        {"[2001:DB8::7]:1344",    "[2001:db8::7]:1344", 1344,  false},
        {"[::1]:65535",           "[::1]:65535",        65535, true },
        {"*:631",                 "[::]:631",           631,   false},
        {"[::ffff:192.0.2.7]:80", "192.0.2.7:80",       80,    false},
        {"[::ffff:127.0.0.1]:80", "127.0.0.1:80",       80,    true },
        {"unix:/run/x.sock",      "unix:/run/x.sock",   0,     true },
        {"unix:",                 NULL,                 0,     false},
        {"192.0.2.7",             NULL,                 0,     false},
        {"192.0.2.7:65536",       NULL,                 0,     false},
        {"192.0.2.7:",            NULL,                 0,     false},
        {"192.0.2.7:-1",          NULL,                 0,     false},
        {"192.0.2:1",             NULL,                 0,     false},
        {"2001:db8::7:1344",      NULL,                 0,     false},
        {"[192.0.2.7]:1",         NULL,                 0,     false},
        {"localhost:1",           NULL,                 0,     false},
        {":1",                    NULL,                 0,     false},
        {"",                      NULL,                 0,     false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct address a;
        char text[ADDRESS_TEXT_MAX];
        enum err e = address_parse(span_of(rows[i].in), &a);

        print_message("%s\n", rows[i].in);
        assert_int_equal(e, rows[i].out ? OK : ERR_SYNTAX);
        if (e)
            continue;
        assert_string_equal(address_text(&a, text), rows[i].out);
        assert_int_equal(address_port(&a), rows[i].port);
        assert_int_equal(address_is_loopback(&a), rows[i].loopback);
    }
}

static void test_unknown(void **state)
{
    struct address a = {.len = 0};
    char text[ADDRESS_TEXT_MAX];

    (void)state;
    assert_string_equal(address_text(&a, text), "unknown");
    assert_string_equal(address_host_text(&a, text), "unknown");
    assert_int_equal(address_port(&a), 0);
    assert_false(address_is_loopback(&a));
}

static void test_long_unix_path(void **state)
{
    char in[200] = "unix:/", text[ADDRESS_TEXT_MAX];
    struct address a;

    (void)state;
    memset(in + 6, 'x', 106); /* 107 with the slash: the longest */
    assert_int_equal(address_parse(span_of(in), &a), OK);
    assert_string_equal(address_text(&a, text), in);
    in[112] = 'x';
    assert_int_equal(address_parse(span_of(in), &a), ERR_SYNTAX);
}

static void test_cidr(void **state)
{
    static const struct {
        const char *net;
        unsigned prefix;
        const char *address;
        bool in;
    } rows[] = {
        {"10.0.0.0",   8,   "10.255.1.2:1",         true },
        {"10.0.0.0",   8,   "11.0.0.1:1",           false},
        {"10.0.0.0",   8,   "[::ffff:10.1.2.3]:1",  true },
        {"192.0.2.8",  29,  "192.0.2.15:1",         true },
        {"192.0.2.8",  29,  "192.0.2.16:1",         false},
        {"192.0.2.8",  32,  "192.0.2.8:1",          true },
        {"192.0.2.8",  32,  "192.0.2.9:1",          false},
        {"0.0.0.0",    0,   "203.0.113.1:1",        true },
        {"0.0.0.0",    0,   "[2001:db8::1]:1",      false},
        {"2001:db8::", 32,  "[2001:db8:ffff::1]:1", true },
        {"2001:db8::", 32,  "[2001:db9::1]:1",      false},
        {"2001:db8::", 32,  "10.0.0.1:1",           false},
        {"::",         0,   "[2001:db8::1]:1",      true },
        {"::1",        128, "[::1]:1",              true },
        {"::1",        128, "[::2]:1",              false},
        {"::1",        128, "unix:/x",              false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool v6 = strchr(rows[i].net, ':') != NULL;
        struct cidr c = {.family = v6 ? AF_INET6 : AF_INET, .prefix = rows[i].prefix};
        struct address a;

        print_message("%s/%u %s\n", rows[i].net, rows[i].prefix, rows[i].address);
        assert_int_equal(inet_pton(c.family, rows[i].net, c.bytes), 1);
        assert_int_equal(address_parse(span_of(rows[i].address), &a), OK);
        assert_int_equal(cidr_contains(&c, &a), rows[i].in);
    }
    assert_false(cidr_contains(&(struct cidr){.family = AF_INET}, &(struct address){.len = 0}));
}

static void test_cidr_parse(void **state)
{
    static const struct {
        const char *text;
        int family; /* 0: refused */
        unsigned prefix;
    } rows[] = {
        {"10.0.0.0/8",                                        AF_INET,  8  },
        {"0.0.0.0/0",                                         AF_INET,  0  },
        {"192.0.2.1",                                         AF_INET,  32 },
        {"192.0.2.1/32",                                      AF_INET,  32 },
        {"192.0.2.128/25",                                    AF_INET,  25 },
        {"2001:db8::/32",                                     AF_INET6, 32 },
        {"::/0",                                              AF_INET6, 0  },
        {"::1",                                               AF_INET6, 128},
        {"",                                                  0,        0  },
        {"/8",                                                0,        0  },
        {"10.0.0.0/",                                         0,        0  },
        {"10.0.0.0/33",                                       0,        0  },
        {"10.0.0.0/-1",                                       0,        0  },
        {"10.0.0.0/8/8",                                      0,        0  },
        {"10.0.0.1/8",                                        0,        0  },
        {"192.0.2.129/25",                                    0,        0  },
        {"2001:db8::1/32",                                    0,        0  },
        {"::/129",                                            0,        0  },
        {"10.0.0",                                            0,        0  },
        {"[::1]",                                             0,        0  },
        {"192.0.2.1:80",                                      0,        0  },
        {"host.example",                                      0,        0  },
        {" 10.0.0.0/8",                                       0,        0  },
        {"10.0.0.0/0x8",                                      0,        0  },
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa", 0,        0  },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cidr c = {.family = -1};

        print_message("%s\n", rows[i].text);
        assert_int_equal(cidr_parse(span_of(rows[i].text), &c), rows[i].family ? OK : ERR_SYNTAX);
        assert_int_equal(c.family, rows[i].family ? rows[i].family : -1);
        assert_int_equal(c.prefix, rows[i].prefix);
    }
    struct cidr c;

    assert_int_equal(cidr_parse(SPAN("10.0.0.0\0/8"), &c), ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_and_print), cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_long_unix_path),  cmocka_unit_test(test_cidr),
        cmocka_unit_test(test_cidr_parse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
