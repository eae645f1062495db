/* SPDX-License-Identifier: Apache-2.0 */
/* adapt/scan_slots.h: nobody gets all of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapt/scan_slots.h"
#include "base/span.h"

static unsigned take_all(struct scan_slots *s, uint64_t client)
{
    unsigned n = 0;

    while (n < 1000 && scan_slots_take(s, client))
        n++;
    return n;
}

static void give(struct scan_slots *s, uint64_t client, unsigned n)
{
    while (n-- > 0)
        scan_slots_give(s, client);
}

static void test_shares(void **state)
{
    static const struct {
        const char *name;
        unsigned max, first, second; /* what a greedy client gets, and then one that comes late */
    } rows[] = {
        {"one slot",   1,  1,  0},
        {"two",        2,  1,  1},
        {"eight",      8,  7,  1},
        {"sixty-four", 64, 56, 8},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scan_slots *s;
        struct scan_slots_counts c;

        print_message("row: %s\n", rows[i].name);
        assert_int_equal(scan_slots_new(rows[i].max, &s), OK);
        assert_true(scan_slots_have(s, 1));
        assert_int_equal(take_all(s, 1), rows[i].first);
        assert_false(scan_slots_have(s, 1));
        assert_int_equal(take_all(s, 2), rows[i].second);
        scan_slots_count(s, &c);
        assert_int_equal(c.used, rows[i].first + rows[i].second);
        assert_true(c.refused >= 2);
        give(s, 1, rows[i].first);
        give(s, 2, rows[i].second);
        scan_slots_count(s, &c);
        assert_int_equal(c.used + c.clients, 0);
        assert_int_equal(c.peak, rows[i].first + rows[i].second);
        scan_slots_free(s);
    }
}

/* What the greedy one gives back goes to the other until both have the same. */
static void test_shares_even_out(void **state)
{
    struct scan_slots *s;
    unsigned first, second = 0;

    (void)state;
    assert_int_equal(scan_slots_new(64, &s), OK);
    first = take_all(s, 1);
    second += take_all(s, 2);
    for (unsigned i = 0; i < 40; i++) {
        scan_slots_give(s, 1);
        first--;
        second += take_all(s, 2);
        first += take_all(s, 1);
    }
    assert_int_equal(first, 28);
    assert_int_equal(second, 28);
    assert_true(scan_slots_take(s, 3)); /* and there is room for a third */
    give(s, 1, first);
    give(s, 2, second);
    give(s, 3, 1);
    scan_slots_free(s);
}

static void test_clients_are_hosts(void **state)
{
    struct address a, b, c, unknown = {.len = 0};

    (void)state;
    assert_int_equal(address_parse(SPAN("192.0.2.1:10"), &a), OK);
    assert_int_equal(address_parse(SPAN("192.0.2.1:11"), &b), OK);
    assert_int_equal(address_parse(SPAN("192.0.2.2:10"), &c), OK);
    assert_true(address_hash(&a) == address_hash(&b));
    assert_true(address_hash(&a) != address_hash(&c));
    assert_true(address_hash(&unknown) == 0);
    assert_int_equal(address_parse(SPAN("[2001:db8::1]:10"), &a), OK);
    assert_int_equal(address_parse(SPAN("[2001:db8::2]:11"), &b), OK);
    assert_int_equal(address_parse(SPAN("[2001:db8:0:1::1]:10"), &c), OK);
    assert_true(address_hash(&a) == address_hash(&b)); /* a user has a /64 at least */
    assert_true(address_hash(&a) != address_hash(&c));
    assert_int_equal(address_parse(SPAN("192.0.2.1:10"), &a), OK);
    assert_int_equal(address_parse(SPAN("[::ffff:192.0.2.1]:10"), &b), OK);
    assert_true(address_hash(&a) == address_hash(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_shares_even_out),
        cmocka_unit_test(test_clients_are_hosts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
