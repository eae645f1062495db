/* SPDX-License-Identifier: Apache-2.0 */
/* adapt/client_queue.h: whose turn it is, and who makes room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "adapt/client_queue.h"
#include "base/span.h"

#define ENTRIES_MAX 64u

struct waiting {
    char name;
    struct client_queue_entry place;
};

static struct client_queue queue;
static struct waiting waiting[ENTRIES_MAX];
static unsigned n_waiting;

static int setup(void **state)
{
    (void)state;
    memset(&queue, 0, sizeof queue);
    n_waiting = 0;
    return 0;
}

static char name_of(struct client_queue_entry *e)
{
    return e ? CONTAINER_OF(e, struct waiting, place)->name : '-';
}

static struct waiting *add(char name, uint64_t client, bool held)
{
    struct waiting *w = &waiting[n_waiting++];

    assert_true(n_waiting <= ENTRIES_MAX);
    w->name = name;
    client_queue_add(&queue, &w->place, client, held);
    return w;
}

/* Each letter is an entry: small ones of client 1, capitals of client 2, digits of client 3. */
static uint64_t client_of(char name)
{
    return name >= 'a' ? 1 : name >= 'A' ? 2 : 3;
}

static void add_all(const char *names)
{
    for (; *names; names++)
        (void)add(*names, client_of(*names), false);
}

static void assert_taken(const char *names)
{
    for (; *names; names++)
        assert_int_equal(name_of(client_queue_take(&queue)), *names);
}

static void test_turns(void **state)
{
    static const struct {
        const char *name, *come, *taken;
    } rows[] = {
        {"nobody",                         "",          ""         },
        {"one client, in order",           "abcd",      "abcd"     },
        {"two, in turn",                   "abcdAB",    "aAbBcd"   },
        {"three, by when they came first", "ab1AB2c",   "a1Ab2Bc"  },
        {"who brings one does not wait",   "abcdefghA", "aAbcdefgh"},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        print_message("row: %s\n", rows[i].name);
        (void)setup(NULL);
        add_all(rows[i].come);
        assert_int_equal(queue.n, strlen(rows[i].come));
        assert_taken(rows[i].taken);
        assert_int_equal(queue.n, 0);
        assert_int_equal(queue.n_ready, 0);
        assert_null(client_queue_take(&queue));
    }
}

/* Also of clients who had nothing in it meanwhile. */
static void test_turns_are_remembered(void **state)
{
    (void)state;
    add_all("aA");
    assert_taken("aA");
    add_all("BCb");
    assert_taken("b");
    add_all("1");
    assert_taken("1BC");
}

static void test_put_back(void **state)
{
    struct client_queue_entry *e;

    (void)state;
    add_all("abAB");
    e = client_queue_take(&queue);
    assert_int_equal(name_of(e), 'a');
    assert_int_equal(queue.n, 3);
    client_queue_put_back(&queue, e);
    assert_int_equal(queue.n, 4);
    assert_taken("aAbB");
    add_all("cC");
    e = client_queue_take(&queue);
    assert_int_equal(name_of(e), 'c');
    client_queue_put_back(&queue, e);
    assert_taken("cC");
}

static void test_held(void **state)
{
    struct waiting *held, *other;

    (void)state;
    held = add('a', 1, true);
    other = add('b', 1, true);
    assert_int_equal(queue.n, 2);
    assert_int_equal(queue.n_ready, 0);
    assert_null(client_queue_take(&queue));
    add_all("cA");
    client_queue_release(&queue, &held->place);
    assert_int_equal(queue.n_ready, 3);
    assert_taken("cAa");
    assert_null(client_queue_take(&queue));
    client_queue_remove(&queue, &other->place);
    assert_int_equal(queue.n, 0);
}

static char last_of_most(uint64_t client)
{
    return name_of(client_queue_last_of_most(&queue, client));
}

static void test_who_makes_room(void **state)
{
    static const struct {
        const char *name, *come;
        char for_1, for_2, for_3, for_new;
    } rows[] = {
        {"empty",                      "",       '-', '-', '-', '-'},
        {"one",                        "a",      '-', '-', '-', '-'},
        {"two of one",                 "ab",     '-', 'b', 'b', 'b'},
        {"as many with this one",      "abA",    '-', '-', 'b', 'b'},
        {"still more with this one",   "abcA",   '-', 'c', 'c', 'c'},
        {"the newest of most",         "abcAB1", '-', '-', 'c', 'c'},
        {"who has most is the second", "aABC1",  'C', '-', 'C', 'C'},
        {"each has one",               "aA1",    '-', '-', '-', '-'},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        print_message("row: %s\n", rows[i].name);
        (void)setup(NULL);
        add_all(rows[i].come);
        assert_int_equal(last_of_most(1), rows[i].for_1);
        assert_int_equal(last_of_most(2), rows[i].for_2);
        assert_int_equal(last_of_most(3), rows[i].for_3);
        assert_int_equal(last_of_most(77), rows[i].for_new);
    }
}

/* It has its place, and is the first to lose it: the least was done for it. */
static void test_what_is_held_makes_room(void **state)
{
    (void)state;
    add_all("ab");
    (void)add('c', 1, true);
    (void)add('d', 1, true);
    assert_int_equal(last_of_most(2), 'd');
    client_queue_remove(&queue, client_queue_last_of_most(&queue, 2));
    client_queue_remove(&queue, client_queue_last_of_most(&queue, 2));
    assert_int_equal(last_of_most(2), 'b');
}

/* The greedy one cannot have more than what the others leave. */
static void test_a_full_queue_is_shared(void **state)
{
    static const unsigned max = 12;
    unsigned n_of[4] = {0};

    (void)state;
    for (unsigned i = 0; i < ENTRIES_MAX; i++) {
        uint64_t client = i % 16 < 14 ? 1 : i % 16 - 12;

        if (queue.n >= max) {
            struct client_queue_entry *e = client_queue_last_of_most(&queue, client);

            if (!e)
                continue;
            n_of[name_of(e) - '0']--;
            client_queue_remove(&queue, e);
        }
        (void)add((char)('0' + client), client, false);
        n_of[client]++;
    }
    assert_int_equal(queue.n, max);
    assert_int_equal(n_of[2], 4);
    assert_int_equal(n_of[3], 4);
    assert_int_equal(n_of[1], 4);
}

static void test_walk(void **state)
{
    /* Of the first and the last crowd, both sides of a word's end, and two that share one. */
    static const uint64_t clients[] = {0, 63, 64, 255, 256, 700, 64};
    unsigned seen = 0;
    struct client_queue_entry *e;

    (void)state;
    assert_null(client_queue_first(&queue));
    for (unsigned i = 0; i < ARRAY_LEN(clients); i++) {
        (void)add((char)(2 * i), clients[i], false);
        (void)add((char)(2 * i + 1), clients[i], true);
    }
    e = client_queue_first(&queue);
    while (e) {
        struct waiting *w = CONTAINER_OF(e, struct waiting, place);

        e = client_queue_next(&queue, e);
        seen |= 1u << w->name;
        client_queue_remove(&queue, &w->place);
    }
    assert_int_equal(seen, (1u << 2 * ARRAY_LEN(clients)) - 1);
    assert_int_equal(queue.n, 0);
    assert_null(client_queue_first(&queue));
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_turns),
        TEST(test_turns_are_remembered),
        TEST(test_put_back),
        TEST(test_held),
        TEST(test_who_makes_room),
        TEST(test_what_is_held_makes_room),
        TEST(test_a_full_queue_is_shared),
        TEST(test_walk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
