/* SPDX-License-Identifier: Apache-2.0 */
/* cli/record_verify.c reads what was sealed: whatever is changed is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "base/arena.h"
#include "test_record_files.h"

/* ---- records that were changed ---- */

#define BATCHES 6

/* Each has two records and a seal: lines 3n+1 to 3n+3. */
struct sealed {
    struct buf text;
    size_t at[BATCHES + 1]; /* where batch n begins */
};

static void seal_batch(struct record_sealer *s, const char *records, struct buf *out)
{
    char *text = span_dup(span_of(records));
    const struct iovec iov = {text, strlen(text)};
    struct span line;

    assert_int_equal(record_sealer_begin(s, &iov, 1, &line), OK);
    buf_text(out, records);
    buf_add(out, line);
    assert_int_equal(record_sealer_commit(s), OK);
    free(text);
}

static void seal_file(const struct files *f, struct sealed *ret)
{
    struct record_sealer *s = new_sealer(f);

    buf_init(&ret->text, 0);
    for (unsigned i = 0; i < BATCHES; i++) {
        char records[64];

        (void)snprintf(records, sizeof records, "{\"id\":\"a%u\"}\n{\"id\":\"b%u\"}\n", i, i);
        ret->at[i] = ret->text.n;
        seal_batch(s, records, &ret->text);
    }
    ret->at[BATCHES] = ret->text.n;
    record_sealer_free(s);
}

struct change {
    const char *name;
    /* Pieces of the sealed file, in their new order: batches from, to (not included); or text. */
    struct {
        unsigned from, to;
        const char *text;
    } pieces[5];
    const char *said[3];
};

#define FORGED_SEAL(n)                                                                            \
    "forge\n{\"time\":\"2026-01-01T00:00:00.000Z\",\"event\":\"seal\",\"seal\":" n                \
    ",\"octets\":6,\"mac\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}" \
    "\n"

/* clang-format off */
static const struct change changes[] = {
    {"a batch is gone", {{0, 2, NULL}, {3, 6, NULL}},
     {"F 9: seals 2 to 2 are missing before seal 3"}},
    {"the first one is gone", {{1, 6, NULL}},
     {"N 3: the first seal here is 1"}},
    {"several are gone", {{0, 1, NULL}, {4, 6, NULL}},
     {"F 6: seals 1 to 3 are missing before seal 4"}},
    {"the last one is gone", {{0, 5, NULL}},
     {"F 0: the end is missing: the last seal here is 4, and the gateway had written up to 5"}},
    {"all but the first", {{0, 1, NULL}},
     {"F 0: the end is missing: the last seal here is 0, and the gateway had written up to 5"}},
    {"one before the last is gone", {{0, 4, NULL}, {5, 6, NULL}},
     {"F 15: seals 4 to 4 are missing before seal 5"}},
    {"two change places", {{0, 2, NULL}, {3, 4, NULL}, {2, 3, NULL}, {4, 6, NULL}},
     {"F 9: seals 2 to 2 are missing before seal 3", "F 12: the order is wrong: seal 2 comes where seal 4 should"}},
    {"the last two change places", {{0, 4, NULL}, {5, 6, NULL}, {4, 5, NULL}},
     {"F 15: seals 4 to 4 are missing before seal 5", "F 18: the order is wrong: seal 4 comes where seal 6 should"}},
    {"the first two change places", {{1, 2, NULL}, {0, 1, NULL}, {2, 6, NULL}},
     {"F 6: the order is wrong: seal 0 comes where seal 2 should", "N 3: the first seal here is 1"}},
    {"a copy", {{0, 3, NULL}, {2, 6, NULL}},
     {"F 12: a copy of seal 2 with its batch"}},
    {"a copy further down", {{0, 5, NULL}, {1, 2, NULL}, {5, 6, NULL}},
     {"F 18: a copy of seal 1 with its batch"}},
    {"a line at the end", {{0, 6, NULL}, {0, 0, "{\"id\":\"x\"}\n"}},
     {"F 19: 11 octets from here on (lines 19 to 19) are not sealed"}},
    {"half a line at the end", {{0, 6, NULL}, {0, 0, "{\"id\""}},
     {"F 19: 5 octets from here on (lines 19 to 19) are not sealed"}},
    {"lines in the middle", {{0, 3, NULL}, {0, 0, "x\ny\n"}, {3, 6, NULL}},
     {"F 10: 4 octets from here on (lines 10 to 11) are not sealed"}},
    {"a forged batch at the end", {{0, 6, NULL}, {0, 0, FORGED_SEAL("6")}},
     {"F 20: what seal 6 covers was altered (lines 19 to 19), or the seal was"}},
    {"a forged batch in the middle", {{0, 3, NULL}, {0, 0, FORGED_SEAL("3")}, {3, 6, NULL}},
     {"F 11: what seal 3 covers was altered", "F 14: seal 3 comes again and is good: the one in line 11 of f was put in"}},
    {"a forged one with a number far away",
     {{0, 3, NULL}, {0, 0, FORGED_SEAL("18446744073709551615")}, {3, 6, NULL}},
     {"F 11: seal 18446744073709551615 was put in: the gateway has not come further than seal 6"}},
    {"a forged one with a number that the gateway has not come to",
     {{0, 3, NULL}, {0, 0, FORGED_SEAL("5000")}, {3, 6, NULL}},
     {"F 11: seal 5000 was put in: the gateway has not come further than seal 6"}},
    {"a forged one with a number that is near", {{0, 3, NULL}, {0, 0, FORGED_SEAL("100")}, {3, 6, NULL}},
     {"F 11: what seal 100 covers was altered (lines 10 to 10), or the seal was"}},
    {"a forged one with an old number", {{0, 3, NULL}, {0, 0, FORGED_SEAL("1")}, {3, 6, NULL}},
     {"F 11: seal 1 comes again (before: line 6 of f), and this one was altered or put in"}},
    {"a seal that covers more than there is", {{0, 6, NULL}, {0, 0, &FORGED_SEAL("6")[1]}},
     {"F 20: seal 6 covers 6 octets, and only 5 stand before it"}},
    {"nothing", {{0, 0, NULL}},
     {"F 0: there is no seal at all, and the gateway had written 6"}},
};
/* clang-format on */

static void test_changes(void **state)
{
    struct files *f = *state;
    struct sealed s;
    struct buf text;

    seal_file(f, &s);
    fill(f, buf_span(&s.text));
    verify(f);
    assert_good(f);
    assert_int_equal(f->counts.good, BATCHES);
    buf_init(&text, 0);
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        const struct change *c = &changes[i];

        buf_reset(&text);
        for (unsigned k = 0; k < ARRAY_LEN(c->pieces); k++) {
            size_t from = s.at[c->pieces[k].from], to = s.at[c->pieces[k].to];

            buf_add(&text, (struct span){s.text.p + from, to - from});
            buf_text(&text, c->pieces[k].text);
        }
        fill(f, buf_span(&text));
        verify(f);
        for (unsigned k = 0; k < ARRAY_LEN(c->said) && c->said[k]; k++)
            assert_said(f, c->said[k]);
        assert_int_equal(f->counts.faults > 0, c->said[0][0] == 'F');
    }
    buf_done(&text);
    buf_done(&s.text);
}

/* Every octet of the file, the times of its seals among them. */
static void test_every_octet_counts(void **state)
{
    struct files *f = *state;
    struct sealed s;

    seal_file(f, &s);
    fill(f, buf_span(&s.text));
    for (size_t i = 0; i < s.text.n; i++) {
        const char changed = s.text.p[i] == '1' ? '2' : '1', kept = s.text.p[i];
        int fd = open(f->path[0], O_WRONLY | O_CLOEXEC);

        assert_int_equal(pwrite(fd, &changed, 1, (off_t)i), 1);
        verify(f);
        assert_true(f->counts.faults > 0);
        assert_int_equal(pwrite(fd, &kept, 1, (off_t)i), 1);
        (void)close(fd);
    }
    buf_done(&s.text);
}

/* Cut anywhere the end is missing; without the state a file that ends in a seal looks whole. */
static void test_cut_anywhere(void **state)
{
    struct files *f = *state;
    struct sealed s;

    seal_file(f, &s);
    for (size_t n = 0; n < s.text.n; n++) {
        bool at_seal = false;

        for (unsigned i = 0; i < BATCHES; i++)
            at_seal |= n == s.at[i];
        fill(f, (struct span){s.text.p, n});
        verify(f);
        assert_true(f->counts.faults > 0);
        verify_fds(f, NULL, f->fd, 1);
        assert_int_equal(f->counts.faults == 0, at_seal);
    }
    buf_done(&s.text);
}

/* An altered MAC does not put the next batch into the wrong light. */
static void test_altered_mac_is_one_fault(void **state)
{
    struct files *f = *state;
    struct sealed s;

    seal_file(f, &s);
    char *digit = s.text.p + s.at[3] - 4;

    *digit = *digit == '0' ? '1' : '0';
    fill(f, buf_span(&s.text));
    verify(f);
    assert_said(f, "F 9: what seal 2 covers was altered (lines 7 to 8), or the seal was");
    assert_int_equal(f->counts.faults, 1);
    buf_done(&s.text);
}

/* As when a process is killed between its batch and its state; and a machine that lost more. */
static void test_repeated_numbers(void **state)
{
    struct files *f = *state;
    struct sealed s;
    struct record_sealer *sealer;

    seal_file(f, &s);
    const struct record_chain before = read_chain(f);

    sealer = new_sealer(f);
    seal_batch(sealer, "first\n", &s.text);
    const struct record_chain one = read_chain(f);

    seal_batch(sealer, "and one more\n", &s.text);
    write_chain(f, &one);
    seal_batch(sealer, "after a kill\n", &s.text);
    fill(f, buf_span(&s.text));
    verify(f);
    assert_said(f, "N 24: the number of seal 7 comes again and is good");
    assert_int_equal(f->counts.faults, 0);
    assert_int_equal(f->counts.repeated, 1);
    write_chain(f, &before);
    for (unsigned i = 0; i < 4; i++)
        seal_batch(sealer, "after the power came back\n", &s.text);
    fill(f, buf_span(&s.text));
    verify(f);
    assert_int_equal(f->counts.faults, 0);
    assert_int_equal(f->counts.repeated, 3);
    /* And the state that is behind: the last batch of a process that was killed. */
    verify_fds(f, &one, f->fd, 1);
    assert_said(f, "N 0: the state of the chain is at seal 7 and the records are at 10");
    assert_int_equal(f->counts.faults, 0);
    /* But not one that somebody made up. */
    struct record_chain made_up = one;

    made_up.key[3] ^= 1;
    verify_fds(f, &made_up, f->fd, 1);
    assert_said(f, "F 0: the state of the chain is not that of these records and this key");
    made_up = before;
    made_up.next = 0;
    verify_fds(f, &made_up, f->fd, 1);
    assert_said(f, "F 0: the state of the chain is not that of these records and this key");
    record_sealer_free(sealer);
    buf_done(&s.text);
}

/* A number that the chain reaches later, and no state that knows better. */
static void test_forged_ahead_of_its_number(void **state)
{
    struct files *f = *state;
    struct sealed s;
    struct buf text;

    seal_file(f, &s);
    buf_init(&text, 0);
    buf_add(&text, (struct span){s.text.p, s.at[3]});
    buf_text(&text, FORGED_SEAL("4"));
    buf_add(&text, (struct span){s.text.p + s.at[3], s.text.n - s.at[3]});
    fill(f, buf_span(&text));
    verify_fds(f, NULL, f->fd, 1);
    assert_said(f, "F 11: what seal 4 covers was altered (lines 10 to 10), or the seal was");
    assert_int_equal(f->counts.faults, 1);
    assert_int_equal(f->counts.good, BATCHES);
    buf_done(&text);
    buf_done(&s.text);
}

static void test_another_key(void **state)
{
    struct files *f = *state;
    struct sealed s;

    seal_file(f, &s);
    fill(f, buf_span(&s.text));
    f->key[0] ^= 1;
    verify(f);
    assert_said(f, "F 0: no seal can be checked: is this the key of these records");
    assert_int_equal(f->counts.good, 0);
    fill(f, (struct span){s.text.p + s.at[2], s.text.n - s.at[2]});
    verify_fds(f, NULL, f->fd, 1);
    assert_said(f, "F 0: no seal can be checked");
    buf_done(&s.text);
}

/* A batch that is not the first is checked by itself. */
static void test_one_batch_alone(void **state)
{
    struct files *f = *state;
    struct sealed s;

    seal_file(f, &s);
    fill(f, (struct span){s.text.p + s.at[5], s.text.n - s.at[5]});
    verify(f);
    assert_string_equal(buf_cstr(&f->said),
                        "N 3: the first seal here is 5: what came before is in older files\n");
    assert_int_equal(f->counts.good, 1);
    verify_fds(f, NULL, f->fd, 1);
    assert_int_equal(f->counts.faults, 0);
    s.text.p[s.at[5] + 7] ^= 1;
    fill(f, (struct span){s.text.p + s.at[5], s.text.n - s.at[5]});
    verify_fds(f, NULL, f->fd, 1);
    assert_said(f, "F 3: what seal 5 covers was altered (lines 1 to 2), or the seal was");
    assert_said(f, "F 0: no seal can be checked");
    buf_done(&s.text);
}

/* So is the one behind a gap, and each one where the order is wrong. */
static void test_altered_out_of_its_place(void **state)
{
    static const struct {
        unsigned altered, order[4];
        const char *said;
    } rows[] = {
        {3, {0, 3, 4, 5}, "F 6: what seal 3 covers was altered"},
        {2, {0, 3, 2, 4}, "F 9: what seal 2 covers was altered"},
        {0, {1, 0, 2, 3}, "F 6: what seal 0 covers was altered"},
        {2, {2, 3, 4, 5}, "F 3: what seal 2 covers was altered"},
    };
    struct files *f = *state;
    struct sealed s;
    struct buf text;

    seal_file(f, &s);
    buf_init(&text, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_reset(&text);
        s.text.p[s.at[rows[i].altered] + 7] ^= 1;
        for (unsigned k = 0; k < 4; k++) {
            size_t from = s.at[rows[i].order[k]];

            buf_add(&text, (struct span){s.text.p + from, s.at[rows[i].order[k] + 1] - from});
        }
        s.text.p[s.at[rows[i].altered] + 7] ^= 1;
        fill(f, buf_span(&text));
        verify_fds(f, NULL, f->fd, 1);
        assert_said(f, rows[i].said);
        assert_int_equal(f->counts.good, 3);
    }
    buf_done(&text);
    buf_done(&s.text);
}

/* ---- numbers that cost steps ---- */

/* A batch under a number that the chain did not come to yet. */
static void add_far(const struct files *f, uint64_t n, struct buf *out)
{
    struct record_sealer *s = new_sealer(f);
    struct record_chain c;
    struct record_mac *m;

    record_chain_begin(f->key, &c);
    assert_int_equal(record_mac_new(&m), OK);
    assert_int_equal(record_chain_skip(m, n, &c), OK);
    write_chain(f, &c);
    seal_batch(s, "{\"id\":\"x\"}\n", out);
    record_mac_free(m);
    record_sealer_free(s);
}

static void add_forged(uint64_t n, struct buf *out)
{
    buf_fmt(out,
            "{\"time\":\"2026-01-01T00:00:00.000Z\",\"event\":\"seal\",\"seal\":%llu,"
            "\"octets\":0,\"mac\":\"%064u\"}\n",
            (unsigned long long)n, 0u);
}

/* As far as the steps go, and no further; the file behind that one is looked at all the same. */
static void test_too_far(void **state)
{
    struct files *f = *state;
    struct buf text;

    buf_init(&text, 0);
    add_far(f, STEPS, &text);
    fill(f, buf_span(&text));
    verify_fds(f, NULL, f->fd, 1);
    assert_int_equal(f->counts.faults, 0);
    assert_int_equal(f->counts.good, 1);
    buf_reset(&text);
    add_far(f, STEPS + 1, &text);
    buf_text(&text, "{\"id\":\"not looked at\"}\n");
    fill(f, buf_span(&text));
    buf_reset(&text);
    add_far(f, STEPS, &text);
    assert_int_equal(write(f->fd[1], text.p, text.n), text.n);
    verify_fds(f, NULL, f->fd, 2);
    assert_said(f, "F 2: seal 1048577 is too far from seal 0 to be checked, and so is the rest of "
                   "this file");
    assert_int_equal(f->counts.faults, 1);
    assert_int_equal(f->counts.good, 1);
    assert_int_equal(f->counts.seals, 2);
    buf_done(&text);
}

/* Each number would be a long way of its own, from the beginning. */
static void test_steps_are_bounded(void **state)
{
    struct files *f = *state;
    struct buf text;

    buf_init(&text, 0);
    for (unsigned i = 0; i < 100; i++)
        add_forged(STEPS / 2 - i * UINT64_C(5000), &text);
    fill(f, buf_span(&text));
    verify_fds(f, NULL, f->fd, 1);
    assert_said(f, "F 3: seal 514288 is too far from seal 0 to be checked");
    assert_int_equal(f->counts.seals, 3);
    assert_int_equal(f->counts.faults, 4); /* and no good one */
    buf_done(&text);
}

/* The way to the first good seal is gone once, however many before it are bad. */
static void test_bad_ones_before_the_first_good(void **state)
{
    struct files *f = *state;
    struct buf text;

    buf_init(&text, 0);
    for (unsigned i = 10; i > 0; i--)
        add_forged(STEPS - i, &text);
    add_far(f, STEPS, &text);
    fill(f, buf_span(&text));
    verify_fds(f, NULL, f->fd, 1);
    assert_said(f, "N 12: the first seal here is 1048576");
    assert_int_equal(f->counts.faults, 10);
    assert_int_equal(f->counts.good, 1);
    buf_done(&text);
}

/* A copy stays one where numbers come again. */
static void test_copies_among_repeated_numbers(void **state)
{
    struct files *f = *state;
    struct sealed s;

    seal_file(f, &s);
    struct record_sealer *sealer = new_sealer(f);
    const struct record_chain six = read_chain(f);
    const size_t first = s.text.n;

    seal_batch(sealer, "a\n", &s.text);
    const size_t second = s.text.n;

    seal_batch(sealer, "b\n", &s.text);
    const size_t end = s.text.n;

    write_chain(f, &six);
    seal_batch(sealer, "c\n", &s.text);
    const size_t sealed = s.text.n;

    /* The seventh once more, where the eighth should come. */
    buf_add(&s.text, (struct span){s.text.p + first, second - first});
    fill(f, buf_span(&s.text));
    verify(f);
    assert_said(f, "F 26: a copy of seal 6 with its batch");
    assert_int_equal(f->counts.faults, 1);
    assert_int_equal(f->counts.repeated, 1);
    /* And the eighth, which the new seventh would have another one behind it. */
    s.text.n = sealed;
    buf_add(&s.text, (struct span){s.text.p + second, end - second});
    fill(f, buf_span(&s.text));
    verify(f);
    assert_said(f, "F 26: a copy of seal 7 with its batch");
    assert_int_equal(f->counts.faults, 1);
    /* Each time another one, and still too often. */
    s.text.n = sealed;
    for (unsigned i = 0; i < 3; i++) {
        write_chain(f, &six);
        seal_batch(sealer, i == 0 ? "d\n" : i == 1 ? "e\n" : "f\n", &s.text);
    }
    fill(f, buf_span(&s.text));
    verify(f);
    assert_said(f, "F 30: the number of seal 6 comes more than 4 times");
    assert_int_equal(f->counts.faults, 1);
    assert_int_equal(f->counts.repeated, 3);
    record_sealer_free(sealer);
    buf_done(&s.text);
}

/* Two processes, one of which has not heard of the rotation yet. */
static void test_written_while_rotated(void **state)
{
    static const bool younger[] = {false, false, true, false, true, true, false, true, true};
    struct files *f = *state;
    struct record_sealer *s = new_sealer(f);
    struct buf text[2];

    buf_init(&text[0], 0);
    buf_init(&text[1], 0);
    for (size_t i = 0; i < ARRAY_LEN(younger); i++)
        seal_batch(s, "{\"id\":\"x\"}\n", &text[younger[i]]);
    record_sealer_free(s);
    fill(f, buf_span(&text[0]));
    assert_int_equal(write(f->fd[1], text[1].p, text[1].n), text[1].n);
    verify(f);
    assert_string_equal(buf_cstr(&f->said),
                        "N 2: seals from 2 on go before some of the file before: two processes "
                        "wrote while the files were rotated\n");
    assert_int_equal(f->counts.good, ARRAY_LEN(younger));
    assert_int_equal(f->counts.records, ARRAY_LEN(younger));
    /* Changed all the same. */
    text[1].p[7] = 'y';
    assert_int_equal(ftruncate(f->fd[1], 0), 0);
    assert_int_equal(write(f->fd[1], text[1].p, text[1].n), text[1].n);
    verify(f);
    assert_said(f, "F 2: what seal 2 covers was altered (lines 1 to 1), or the seal was");
    assert_int_equal(f->counts.faults, 1);
    buf_done(&text[0]);
    buf_done(&text[1]);
}

static void test_shrinking_file(void **state)
{
    struct files *f = *state;
    const struct record_verify_settings set = {
        .key = f->key, .steps_max = 10, .say = on_say, .arg = f};
    const struct record_verify_file files[] = {
        {"a", f->fd[0], 100},
        {"b", -1,       100},
    };
    const struct record_verify_file *file = NULL;
    struct record_verify *v;
    int errnum;

    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(record_verify_new(&set, &files[i], 1, &v), OK);
        assert_int_equal(record_verify_next(v, &file, &f->counts, &errnum), ERR_IO);
        assert_ptr_equal(file, &files[i]);
        assert_int_equal(errnum, i ? EBADF : EIO);
        record_verify_free(v);
    }
    assert_int_equal(record_verify_new(&set, files, 0, &v), OK);
    assert_int_equal(record_verify_next(v, &file, &f->counts, &errnum), ERR_EOF);
    record_verify_free(v);
    record_verify_free(NULL);
    mem_fail_after(1);
    assert_int_equal(record_verify_new(&set, files, 2, &v), ERR_NOMEM);
    mem_fail_after(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_octet_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_altered_mac_is_one_fault, setup, teardown),
        cmocka_unit_test_setup_teardown(test_repeated_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forged_ahead_of_its_number, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_batch_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_altered_out_of_its_place, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_far, setup, teardown),
        cmocka_unit_test_setup_teardown(test_steps_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_ones_before_the_first_good, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copies_among_repeated_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_written_while_rotated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shrinking_file, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
