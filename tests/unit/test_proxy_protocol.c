/* SPDX-License-Identifier: Apache-2.0 */
/* PROXY protocol headers: a table, and every row cut anywhere. */
#include "test_net.h"

#include <stdio.h>

#include "net/proxy_protocol.h"

#define SIG      "\r\n\r\n\0\r\nQUIT\n"
#define V4_BODY  "\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x05\x40"
#define V6_IP(x) "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0" x
#define ROW(name, in, used, err, peer)  \
    {                                   \
        name, SPAN(in), used, err, peer \
    }

static const struct proxy_row {
    const char *name;
    struct span in;
    size_t used;
    enum err err;
    const char *peer; /* NULL: none */
} rows[] = {
    ROW("v1 TCP4", "PROXY TCP4 192.0.2.7 198.51.100.1 56324 1344\r\nOPTIONS", 46, OK,
        "192.0.2.7:56324"),
    ROW("v1 TCP6", "PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n", 44, OK, "[2001:db8::7]:1"),
    ROW("v1 UNKNOWN", "PROXY UNKNOWN\r\nx", 15, OK, NULL),
    ROW("v1 UNKNOWN with rest", "PROXY UNKNOWN ffff::1 ffff::2 3 4\r\n", 35, OK, NULL),
    ROW("v1 port 0", "PROXY TCP4 192.0.2.7 198.51.100.1 0 0\r\n", 39, OK, "192.0.2.7:0"),
    ROW("v1 leading zero", "PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n", 0, ERR_PROTO, NULL),
    ROW("v1 port too large", "PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n", 0, ERR_PROTO, NULL),
    ROW("v1 bare LF", "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n", 0, ERR_PROTO, NULL),
    ROW("v1 wrong family", "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n", 0, ERR_PROTO, NULL),
    ROW("v1 UDP4", "PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n", 0, ERR_PROTO, NULL),
    ROW("v1 missing port", "PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n", 0, ERR_PROTO, NULL),
    ROW("v1 more", "PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n", 0, ERR_PROTO, NULL),
    ROW("v1 two spaces", "PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n", 0, ERR_PROTO, NULL),
    ROW("v1 too long",
        "PROXY UNKNOWN "
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxx\r\n",
        0, ERR_PROTO, NULL),
    ROW("v2 TCP4", SIG "\x21\x11\x00\x0c" V4_BODY "rest", 28, OK, "192.0.2.7:56324"),
    ROW("v2 TCP6", SIG "\x21\x21\x00\x24" V6_IP("\x07") V6_IP("\x01") "\x00\x01\x00\x02", 52, OK,
        "[2001:db8::7]:1"),
    ROW("v2 TLV behind", SIG "\x21\x11\x00\x0f" V4_BODY "\x04\x00\x00", 31, OK, "192.0.2.7:56324"),
    ROW("v2 LOCAL", SIG "\x20\x00\x00\x00", 16, OK, NULL),
    ROW("v2 LOCAL with addresses", SIG "\x20\x11\x00\x0c" V4_BODY, 28, OK, NULL),
    ROW("v2 UNSPEC",
        SIG "\x21\x00\x00\x03"
            "abc",
        19, OK, NULL),
    ROW("v2 addresses cut short", SIG "\x21\x11\x00\x0b" V4_BODY, 0, ERR_PROTO, NULL),
    ROW("v2 UDP", SIG "\x21\x12\x00\x0c" V4_BODY, 0, ERR_PROTO, NULL),
    ROW("v2 unix, short", SIG "\x21\x31\x00\x0c" V4_BODY, 0, ERR_PROTO, NULL),
    ROW("v2 version 1", SIG "\x11\x11\x00\x0c" V4_BODY, 0, ERR_PROTO, NULL),
    ROW("v2 command 2", SIG "\x22\x11\x00\x0c" V4_BODY, 0, ERR_PROTO, NULL),
    ROW("v2 too long", SIG "\x21\x11\x02\x09" V4_BODY, 0, ERR_PROTO, NULL),
    ROW("no header", "OPTIONS icap://x/ ICAP/1.0\r\n", 0, ERR_PROTO, NULL),
    ROW("TLS", "\x16\x03\x01\x02\x00", 0, ERR_PROTO, NULL),
    ROW("lower case", "proxy TCP4", 0, ERR_PROTO, NULL),
    ROW("empty", "", 0, ERR_AGAIN, NULL),
};

static void check(const struct proxy_row *row, struct span in)
{
    size_t used = 0;
    bool has_peer = false;
    struct address peer;
    struct fault f = {.why = NULL};
    char text[ADDRESS_TEXT_MAX];
    enum err e = proxy_header_parse(in, &used, &has_peer, &peer, &f);

    assert_int_equal(e, row->err);
    if (e == ERR_PROTO)
        assert_non_null(f.why);
    if (e)
        return;
    assert_int_equal(used, row->used);
    assert_int_equal(has_peer, row->peer != NULL);
    if (row->peer)
        assert_string_equal(address_text(&peer, text), row->peer);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        print_message("%s\n", rows[i].name);
        check(&rows[i], rows[i].in);
    }
}

/* Any prefix is either the whole answer already, or asks for more. */
static void test_cut_anywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum err e = ERR_AGAIN;

        print_message("%s\n", rows[i].name);
        for (size_t n = 0; n <= rows[i].in.n && e == ERR_AGAIN; n++) {
            size_t used = 0;
            bool has_peer;
            struct address peer;
            char *exact = malloc(n + 1); /* so that ASan sees an over-read */
            struct span head = {exact + 1, n};

            memcpy(exact + 1, rows[i].in.p, n);
            e = proxy_header_parse(head, &used, &has_peer, &peer, NULL);
            if (e == OK)
                assert_true(n == rows[i].used);
            if (e != ERR_AGAIN)
                check(&rows[i], head);
            free(exact);
        }
        assert_int_equal(e, rows[i].err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_cut_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
