/* SPDX-License-Identifier: Apache-2.0 */
/* proc/gateway_store.c: a store that failed is tried again, so that it is not called broken until
 * somebody happens to change something. */
#include "test_net.h"

#include "proc/gateway_int.h"
#include "store/store_int.h"

struct world {
    struct store base;
    enum err read, change; /* what the store answers */
    unsigned asked;
    struct test_clock clock;
    struct gateway_core gateway;
};

static void answer(struct store *s, struct store_op *op)
{
    struct world *w = CONTAINER_OF(s, struct world, base);

    w->asked++;
    store_answer(op, store_is_change(op) ? w->change : w->read);
}

static void keep_nothing(struct store *s)
{
    (void)s;
}

static const struct store_backend moody = {.submit = answer, .free = keep_nothing};

static void on_done(void *arg, const struct store_reply *r)
{
    (void)arg;
    (void)r;
}

static void somebody_asks(struct world *w)
{
    const struct store_asker by = {.loop = w->gateway.keeper.loop, .done = on_done};
    const struct store_put put = {.key = SPAN("x"), .version = STORE_ANY};

    assert_int_equal(store_get(&w->base, "things", SPAN("x"), &by, NULL), OK);
    assert_int_equal(store_put(&w->base, "things", &put, &by, NULL), OK);
    test_settle(w->gateway.keeper.loop);
}

static bool is_up(const struct world *w)
{
    struct store_counts c;

    store_count(&w->base, &c);
    return c.up;
}

/* As it is called each second. */
static unsigned look_for(struct world *w, unsigned seconds)
{
    w->asked = 0;
    for (unsigned i = 0; i < seconds; i++) {
        w->clock.now_ms += 1000;
        test_settle(w->gateway.keeper.loop);
        gateway_store_look(&w->gateway);
        test_settle(w->gateway.keeper.loop);
    }
    return w->asked;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    test_clock_init(&w->clock, UINT64_C(1800000000000));
    w->base.backend = &moody;
    w->read = ERR_MISSING;
    w->gateway.keeper = (struct gateway_tenants){
        .gateway = &w->gateway, .store = &w->base, .loop = test_loop(&w->clock.clock)};
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    loop_free(w->gateway.keeper.loop);
    free(w);
    return 0;
}

static void test_a_good_one_is_left_alone(void **state)
{
    struct world *w = *state;

    somebody_asks(w);
    assert_int_equal(look_for(w, 100), 0);
    assert_true(is_up(w));
}

static void test_it_is_tried_until_it_is_well(void **state)
{
    static const struct {
        enum err read, change;
    } rows[] = {
        {ERR_MISSING, ERR_FULL},
        {ERR_MISSING, ERR_IO  },
        {ERR_IO,      OK      },
        {ERR_NOMEM,   ERR_IO  },
    };
    struct world *w = *state;

    assert_int_equal(look_for(w, 1), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        w->read = rows[i].read;
        w->change = rows[i].change;
        somebody_asks(w);
        assert_false(is_up(w));
        assert_int_equal(look_for(w, 29), 0); /* it is seen for a while, however short it was */
        assert_int_equal(look_for(w, 90), 3 * 2);
        assert_false(is_up(w));
        w->read = ERR_MISSING;
        w->change = OK;
        assert_int_equal(look_for(w, 60), 2);
        assert_true(is_up(w));
    }
}

static void test_the_gateway_ends(void **state)
{
    struct world *w = *state;

    w->change = ERR_IO;
    somebody_asks(w);
    w->gateway.keeper.store = NULL;
    assert_int_equal(look_for(w, 100), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_good_one_is_left_alone),
        TEST(test_it_is_tried_until_it_is_well),
        TEST(test_the_gateway_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
