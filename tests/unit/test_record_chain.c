/* SPDX-License-Identifier: Apache-2.0 */
/* record_chain.c: what a seal is made of, held against values that another program computed, and
 * lines that are seals, almost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "guard.h"
#include "observe/record_chain.h"

#define TIME "\"1994-11-06T08:49:37.123Z\""
#define MAC  "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define LINE \
    "{\"time\":" TIME ",\"event\":\"seal\",\"seal\":17,\"octets\":1234,\"mac\":\"" MAC "\"}"

static void key_of_test(uint8_t key[RECORD_MAC_LEN])
{
    for (unsigned i = 0; i < RECORD_MAC_LEN; i++)
        key[i] = (uint8_t)i;
}

static void assert_hex(const uint8_t v[RECORD_MAC_LEN], const char *want)
{
    char hex[2 * RECORD_MAC_LEN + 1];

    for (unsigned i = 0; i < RECORD_MAC_LEN; i++)
        (void)snprintf(hex + (size_t)2 * i, 3, "%02x", v[i]);
    assert_string_equal(hex, want);
}

/* ---- seals: Python's hmac and hashlib made these of the key 00 01 02 ... 1f ---- */

struct vector {
    const char *batch;
    size_t fill;      /* so many 'x' and a LF instead */
    const char *time; /* as its seal says it */
    const char *mac, *next_key;
};

/* clang-format off */
static const struct vector vectors[] = {
    {"one\n", 0, "1994-11-06T08:49:37.123Z",
     "b5d8517d08adfc51eb2e218223c5fce2813df663ad8c348d74e1a52508a9f9aa",
     "a4c23aa3799dc0af62d126f3f18f6b01fc0225a0139140b3e76ae6b6487120e7"},
    {"{\"a\":1}\n{\"b\":2}\n", 0, "1970-01-01T00:00:00.000Z",
     "549414dadab4f14f21f5b419edc3dea4e2e428889362e767849c1d85f6d04426",
     "5b3b8dbac6d2f96288241905ea96226a6bffda206c1f068e4429e273dee870bf"},
    {NULL, 100000, "9999-12-31T23:59:59.999Z",
     "5fc878fceadf1747a47b449956a9c393c3ea835dd5ca32b11ad723869f5d883a",
     "5ca247b23e82165c82aab86c8cc8cd2c165148456e4cd17a2a85c3ae62826441"},
};
/* clang-format on */

static char *batch_of(const struct vector *v)
{
    if (v->batch)
        return span_dup(span_of(v->batch));
    char *text = calloc(1, v->fill + 2);

    assert_non_null(text);
    memset(text, 'x', v->fill);
    text[v->fill] = '\n';
    return text;
}

/* A seal at |time|: what its line says is what is sealed. */
static struct record_seal seal_at(const char *time, uint64_t octets)
{
    char line[RECORD_SEAL_MAX];
    struct record_seal s;

    (void)snprintf(line, sizeof line,
                   "{\"time\":\"%s\",\"event\":\"seal\",\"seal\":0,\"octets\":%llu,\"mac\":\"" MAC
                   "\"}",
                   time, (unsigned long long)octets);
    assert_int_equal(record_seal_parse(span_of(line), &s), OK);
    return s;
}

/* In pieces of |piece|, the way does not matter. */
static void seal_vectors(size_t piece)
{
    struct record_chain c;
    struct record_mac *m;
    uint8_t key[RECORD_MAC_LEN], mac[RECORD_MAC_LEN];

    key_of_test(key);
    record_chain_begin(key, &c);
    assert_int_equal(record_mac_new(&m), OK);
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        char *text = batch_of(&vectors[i]);
        struct span batch = span_of(text);
        const struct record_seal s = seal_at(vectors[i].time, batch.n);

        assert_int_equal(c.next, i);
        assert_int_equal(record_mac_begin(m, &c, &s), OK);
        for (size_t at = 0; at < batch.n; at += piece)
            assert_int_equal(record_mac_add(m, span_sub(batch, at, piece)), OK);
        assert_int_equal(record_mac_end(m, mac), OK);
        assert_hex(mac, vectors[i].mac);
        assert_int_equal(record_chain_next(m, &c), OK);
        assert_hex(c.key, vectors[i].next_key);
        free(text);
    }
    record_mac_free(m);
}

static void test_seals(void **state)
{
    (void)state;
    seal_vectors(SIZE_MAX / 2);
    seal_vectors(1);
    seal_vectors(4096);
}

static void test_skip(void **state)
{
    struct record_chain c, kept;
    struct record_mac *m;
    uint8_t key[RECORD_MAC_LEN];

    (void)state;
    key_of_test(key);
    record_chain_begin(key, &c);
    assert_int_equal(record_mac_new(&m), OK);
    kept = c;
    assert_int_equal(record_chain_skip(m, 0, &c), OK);
    assert_memory_equal(&c, &kept, sizeof c);
    assert_int_equal(record_chain_skip(m, 1000, &c), OK);
    assert_int_equal(c.next, 1000);
    assert_hex(c.key, "63bdd46b88d5f973af2a42036a562a1db179a36ac5ca705dd371f2006dd7a4e6");
    record_chain_wipe(&c);
    assert_int_equal(c.next, 0);
    assert_int_equal(c.key[5], 0);
    record_mac_free(m);
    record_mac_free(NULL);
}

static void test_no_memory(void **state)
{
    struct record_chain c, kept;
    struct record_mac *m = NULL;
    uint8_t key[RECORD_MAC_LEN];
    const struct record_seal s = {0};

    (void)state;
    mem_fail_after(1);
    assert_int_equal(record_mac_new(&m), ERR_NOMEM);
    assert_null(m);
    mem_fail_after(0);
    assert_int_equal(record_mac_new(&m), OK);
    key_of_test(key);
    record_chain_begin(key, &c);
    kept = c;
    mem_fail_after(1);
    assert_int_equal(record_mac_begin(m, &c, &s), ERR_NOMEM);
    mem_fail_after(1);
    assert_int_equal(record_chain_next(m, &c), ERR_NOMEM);
    mem_fail_after(3);
    assert_int_equal(record_chain_skip(m, 5, &c), ERR_NOMEM);
    mem_fail_after(0);
    assert_memory_equal(&c, &kept, sizeof c);
    record_mac_free(m);
}

/* ---- state and key ---- */

static void test_state(void **state)
{
    struct record_chain c = {.next = UINT64_C(0x0102030405060708)}, back = {0};
    char file[RECORD_CHAIN_STATE_LEN + 1] = {0};

    (void)state;
    memset(c.key, 0xaa, sizeof c.key);
    record_chain_encode(&c, file);
    assert_memory_equal(file, "SPchain\n\0\0\0\1\1\2\3\4\5\6\7\10\xaa", 21);
    assert_int_equal((uint8_t)file[51], 0xaa);
    assert_int_equal(record_chain_decode((struct span){file, RECORD_CHAIN_STATE_LEN}, &back), OK);
    assert_memory_equal(&back, &c, sizeof c);
    back.next = 5;
    for (size_t n = 0; n < RECORD_CHAIN_STATE_LEN; n++)
        assert_int_equal(record_chain_decode((struct span){file, n}, &back), ERR_SYNTAX);
    assert_int_equal(record_chain_decode((struct span){file, sizeof file}, &back), ERR_SYNTAX);
    for (size_t i = 0; i < 12; i++) {
        file[i] ^= 1;
        assert_int_equal(record_chain_decode((struct span){file, RECORD_CHAIN_STATE_LEN}, &back),
                         ERR_SYNTAX);
        file[i] ^= 1;
    }
    assert_int_equal(back.next, 5);
}

static void test_key(void **state)
{
    static const char *const bad[] = {
        "",
        "sallyport-record-key-1 " MAC "0",
        "sallyport-record-key-1 " MAC " ",
        "sallyport-record-key-1 " MAC "\n\n",
        "sallyport-record-key-1  " MAC,
        "sallyport-record-key-2 " MAC,
        "sallyport-record-key-1 " LINE,
        MAC,
        "sallyport-record-key-1 00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff",
    };
    const struct span good = SPAN("sallyport-record-key-1 " MAC "\n");
    uint8_t key[RECORD_MAC_LEN] = {0};
    char text[RECORD_KEY_TEXT_LEN];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(record_key_parse(span_of(bad[i]), key), ERR_SYNTAX);
    assert_int_equal(key[1], 0);
    assert_int_equal(record_key_parse(good, key), OK);
    assert_hex(key, MAC);
    record_key_format(key, text);
    assert_memory_equal(text, good.p, good.n);
    assert_int_equal(record_key_parse(span_sub(good, 0, good.n - 1), key), OK);
}

/* ---- the seal line ---- */

struct row {
    const char *name;
    struct span line;
    enum err want;
};

#define ROW(name, text, want)                \
    {                                        \
        name, {text, sizeof(text) - 1}, want \
    }
#define SEAL(members) "{\"time\":" TIME ",\"event\":\"seal\"" members "}"

/* clang-format off */
static const struct row rows[] = {
    ROW("as it is", LINE, OK),
    ROW("number 0", SEAL(",\"seal\":0,\"octets\":0,\"mac\":\"" MAC "\""), OK),
    ROW("the largest numbers",
        SEAL(",\"seal\":18446744073709551615,\"octets\":18446744073709551615,\"mac\":\"" MAC "\""),
        OK),
    ROW("nothing", "", ERR_MISSING),
    ROW("a record", "{\"time\":" TIME ",\"id\":\"0123456789abcdefghjk\",\"client\":\"x\"}",
        ERR_MISSING),
    ROW("a record that quotes one",
        "{\"time\":" TIME ",\"id\":\"x\",\"user\":\",\\\"event\\\":\\\"seal\\\"\"}", ERR_MISSING),
    ROW("another event", "{\"time\":" TIME ",\"event\":\"start\",\"seal\":17}", ERR_MISSING),
    ROW("no time", "{\"event\":\"seal\",\"seal\":17,\"octets\":1,\"mac\":\"" MAC "\"}",
        ERR_MISSING),
    ROW("white space", "{\"time\": " TIME ",\"event\":\"seal\"}", ERR_MISSING),
    ROW("a day that is none",
        "{\"time\":\"1994-02-30T08:49:37.123Z\",\"event\":\"seal\",\"seal\":1,\"octets\":1,\"mac\":\"" MAC
        "\"}", ERR_SYNTAX),
    ROW("no members", SEAL(""), ERR_SYNTAX),
    ROW("a number too large",
        SEAL(",\"seal\":18446744073709551616,\"octets\":1,\"mac\":\"" MAC "\""), ERR_SYNTAX),
    ROW("octets too large",
        SEAL(",\"seal\":1,\"octets\":18446744073709551616,\"mac\":\"" MAC "\""), ERR_SYNTAX),
    ROW("a leading zero", SEAL(",\"seal\":01,\"octets\":1,\"mac\":\"" MAC "\""), ERR_SYNTAX),
    ROW("a sign", SEAL(",\"seal\":-1,\"octets\":1,\"mac\":\"" MAC "\""), ERR_SYNTAX),
    ROW("no number", SEAL(",\"seal\":,\"octets\":1,\"mac\":\"" MAC "\""), ERR_SYNTAX),
    ROW("another order", SEAL(",\"octets\":1,\"seal\":1,\"mac\":\"" MAC "\""), ERR_SYNTAX),
    ROW("capital letters in the MAC",
        SEAL(",\"seal\":1,\"octets\":1,\"mac\":\"00112233445566778899AABBCCDDEEFF"
             "00112233445566778899aabbccddeeff\""), ERR_SYNTAX),
    ROW("a short MAC", SEAL(",\"seal\":1,\"octets\":1,\"mac\":\"00\""), ERR_SYNTAX),
    ROW("no hex", SEAL(",\"seal\":1,\"octets\":1,\"mac\":\"0g112233445566778899aabbccddeeff"
                       "00112233445566778899aabbccddeeff\""), ERR_SYNTAX),
    ROW("more members", SEAL(",\"seal\":1,\"octets\":1,\"mac\":\"" MAC "\",\"x\":1"), ERR_SYNTAX),
    ROW("something behind it", LINE " ", ERR_SYNTAX),
    ROW("a CR", LINE "\r", ERR_SYNTAX),
    ROW("a NUL", "{\"time\":" TIME ",\"event\":\"seal\",\"seal\":1\0", ERR_SYNTAX),
};
/* clang-format on */

static void test_lines(void **state)
{
    struct guard g = guard_new(4096);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct record_seal s = {.n = 4711};
        char back[RECORD_SEAL_MAX];
        enum err e = record_seal_parse(guard_span(&g, rows[i].line), &s);

        if (e != rows[i].want)
            print_error("%s\n", rows[i].name);
        assert_int_equal(e, rows[i].want);
        if (e) {
            assert_int_equal(s.n, 4711);
            continue;
        }
        size_t n = record_seal_format(&s, back);

        assert_int_equal(n, rows[i].line.n + 1);
        assert_memory_equal(back, rows[i].line.p, n - 1);
        assert_int_equal(back[n - 1], '\n');
    }
    guard_free(&g);
}

static void test_what_a_line_says(void **state)
{
    struct record_seal s;

    (void)state;
    assert_int_equal(record_seal_parse(SPAN(LINE), &s), OK);
    assert_int_equal(s.time_wall_ms, UINT64_C(784111777123));
    assert_int_equal(s.n, 17);
    assert_int_equal(s.octets, 1234);
    assert_hex(s.mac, MAC);
}

/* Cut anywhere, and with any octet another one: never a seal that formats otherwise. */
static void test_cut_and_changed_anywhere(void **state)
{
    const struct span line = SPAN(LINE);
    struct guard g = guard_new(4096);
    char changed[sizeof LINE];

    (void)state;
    for (size_t n = 0; n < line.n; n++) {
        struct record_seal s;

        assert_int_not_equal(record_seal_parse(guard_span(&g, span_sub(line, 0, n)), &s), OK);
    }
    for (size_t i = 0; i < line.n; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            struct record_seal s;
            char back[RECORD_SEAL_MAX];

            memcpy(changed, line.p, line.n);
            changed[i] = (char)(changed[i] ^ 1 << bit);
            struct span in = guard_span(&g, (struct span){changed, line.n});

            if (record_seal_parse(in, &s) != OK)
                continue;
            assert_int_equal(record_seal_format(&s, back), line.n + 1);
            assert_memory_equal(back, changed, line.n);
        }
    guard_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seals),
        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_what_a_line_says),
        cmocka_unit_test(test_cut_and_changed_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
