/* SPDX-License-Identifier: Apache-2.0 */
/* When operators are told of certificate files that are wrong, and of certificates that expire: not
 * too early, not too often, and never not. */
#include "test_net.h"

#include <fcntl.h>

#include "base/log.h"
#include "proc/supervisor_int.h"

#define START_MS UINT64_C(2000000000000)
#define DAY_MS   UINT64_C(86400000)

/* One entry, by hand. */
struct site {
    struct supervisor s;
    struct test_clock clock;
    struct settings_loaded loaded;
    struct tls_config tls;
    struct settings_tls state;
    int log_fd[2];
    char text[8192];
};

static int setup(void **state)
{
    struct site *t = calloc(1, sizeof *t);

    assert_non_null(t);
    test_clock_init(&t->clock, START_MS);
    t->s.loop = test_loop(&t->clock.clock);
    t->tls = (struct tls_config){.name = "gate", .directory = "/certs"};
    t->loaded.settings.tls = &t->tls;
    t->loaded.settings.n_tls = 1;
    t->loaded.tls = &t->state;
    t->s.loaded = &t->loaded;
    t->state.certificate.not_before = (int64_t)(START_MS / 1000);
    t->state.certificate.not_after = (int64_t)((START_MS + 365 * DAY_MS) / 1000);
    assert_int_equal(pipe2(t->log_fd, O_NONBLOCK | O_CLOEXEC), 0);
    log_setup(t->log_fd[1], LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "test");
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct site *t = *state;

    log_setup(STDERR_FILENO, LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "test");
    timer_clear(t->s.loop, &t->s.settle);
    certificates_free(&t->s);
    loop_free(t->s.loop);
    (void)close(t->log_fd[0]);
    (void)close(t->log_fd[1]);
    free(t);
    return 0;
}

/* Lines of the log since the last call. */
static unsigned lines(struct site *t)
{
    ssize_t n = read(t->log_fd[0], t->text, sizeof t->text - 1);
    unsigned count = 0;

    t->text[n > 0 ? n : 0] = '\0';
    for (const char *p = t->text; *p; p++)
        count += *p == '\n';
    return count;
}

/* The disk is looked at. */
static unsigned look(struct site *t, const char *why)
{
    t->state.refused = why;
    certificates_look(&t->s, &t->loaded);
    return lines(t);
}

static unsigned poll_after(struct site *t, uint64_t ms)
{
    t->clock.now_ms += ms;
    certificates_poll(&t->s);
    return lines(t);
}

static void quiet_for_a_moment(void **state)
{
    struct site *t = *state;

    assert_int_equal(look(t, "half written"), 0);
    assert_true(certificates_are_bad(&t->s));
    assert_int_equal(poll_after(t, SETTLE_MS - 1), 0);
    assert_int_equal(look(t, NULL), 0);
    assert_false(certificates_are_bad(&t->s));
    assert_int_equal(poll_after(t, SETTLE_MS), 0);
}

static void settled(void **state)
{
    struct site *t = *state;

    assert_int_equal(look(t, "wrong key"), 0);
    /* Nobody looks again: a timer does. */
    t->clock.now_ms += SETTLE_MS + 20;
    for (unsigned i = 0; i < 1000 && !lines(t); i++)
        (void)loop_turn(t->s.loop, true);
    assert_non_null(strstr(t->text, " error "));
    assert_non_null(strstr(t->text, "tls 'gate': the files in /certs are NOT in use: wrong key; "));
    assert_non_null(strstr(t->text, "until 2034-05-18T03:33:20.000Z; mend the files"));
    assert_string_equal(t->s.certificates->told, "wrong key");
    assert_int_equal(look(t, NULL), 1);
    assert_non_null(strstr(t->text, "the files are good again"));
    assert_null(t->s.certificates->told);
}

static void not_too_often(void **state)
{
    struct site *t = *state;

    assert_int_equal(look(t, "a"), 0);
    assert_int_equal(poll_after(t, SETTLE_MS), 1);
    for (unsigned i = 0; i < 59; i++)
        assert_int_equal(poll_after(t, 10000), 0);
    assert_int_equal(poll_after(t, 10000), 1); /* ten minutes */
    /* Another reason: who asks sees it at once, the log a little later. */
    assert_int_equal(poll_after(t, 1000), 0);
    assert_int_equal(look(t, "b"), 0);
    assert_string_equal(t->s.certificates->told, "b");
    assert_int_equal(poll_after(t, 4000), 1);
    assert_non_null(strstr(t->text, "NOT in use: b; "));
}

static void waits(void **state)
{
    struct site *t = *state;

    t->tls.waits = true;
    assert_int_equal(look(t, "nothing there"), 1);
    assert_non_null(strstr(t->text, "its listeners are closed: nothing there; they open by "));
    assert_int_equal(poll_after(t, 10000), 0); /* nor is there one to expire */
}

static void expires(void **state)
{
    static const struct {
        uint64_t day;
        unsigned lines;
        const char *says;
    } steps[] = {
        {1,   0, ""                            },
        {334, 0, ""                            },
        {335, 1, "(days left: 30): put another"},
        {336, 0, ""                            },
        {358, 1, "(days left: 7)"              },
        {363, 0, ""                            },
        {364, 1, "(days left: 1)"              },
        {365, 1, "HAS EXPIRED on 2034-05-18"   },
        {366, 0, ""                            },
    };
    struct site *t = *state;

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        t->clock.now_ms = START_MS + steps[i].day * DAY_MS;
        print_message("day %u\n", (unsigned)steps[i].day);
        assert_int_equal(poll_after(t, 0), steps[i].lines);
        assert_non_null(strstr(t->text, steps[i].says));
        assert_int_equal(poll_after(t, 0), 0);
    }
    /* Another one: from the beginning. */
    t->state.certificate.not_before = (int64_t)(t->clock.now_ms / 1000);
    t->state.certificate.not_after = t->state.certificate.not_before + 100 * 86400;
    assert_int_equal(poll_after(t, 0), 0);
    assert_int_equal(poll_after(t, 95 * DAY_MS), 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(quiet_for_a_moment), TEST(settled), TEST(not_too_often), TEST(waits), TEST(expires),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
