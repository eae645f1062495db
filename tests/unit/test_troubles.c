/* SPDX-License-Identifier: Apache-2.0 */
/* The last troubles: each kind once, counted; the oldest kind gives way; any thread may add. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "observe/troubles.h"

#define THREADS 4u
#define EACH    2000u

static int setup(void **state)
{
    struct troubles *t;

    assert_int_equal(troubles_new(&t), OK);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    troubles_free(*state);
    return 0;
}

static void text_of(struct troubles *t, struct buf *out)
{
    struct json j = json_to(out);

    buf_reset(out);
    json_open(&j, NULL, '[');
    troubles_json(t, &j);
    json_close(&j, ']');
}

static unsigned kinds(const struct buf *text)
{
    unsigned n = 0;

    for (size_t i = 0; i < text->n; i++)
        n += text->p[i] == '{';
    return n;
}

static void one_of_each_kind(void **state)
{
    struct troubles *t = *state;
    struct buf out;

    buf_init(&out, 0);
    text_of(t, &out);
    assert_string_equal(buf_cstr(&out), "[]");
    troubles_add(t, SPAN("service a"), "timeout", "too slow", "id1", 1000);
    troubles_add(t, SPAN("service b"), "timeout", "too slow", "id2", 2000);
    troubles_add(t, SPAN("service a"), "timeout", "too slow", "id3", 3000);
    troubles_add(t, SPAN("service a"), "overload", "too slow", "", 3000);
    assert_int_equal(troubles_count(t), 4);
    text_of(t, &out);
    assert_string_equal(
        buf_cstr(&out),
        "[{\"area\":\"service a\",\"code\":\"overload\",\"text\":\"too slow\",\"count\":1,"
        "\"first\":\"1970-01-01T00:00:03.000Z\",\"last\":\"1970-01-01T00:00:03.000Z\",\"id\":\"\"},"
        "{\"area\":\"service a\",\"code\":\"timeout\",\"text\":\"too slow\",\"count\":2,"
        "\"first\":\"1970-01-01T00:00:01.000Z\",\"last\":\"1970-01-01T00:00:03.000Z\",\"id\":"
        "\"id3\"},"
        "{\"area\":\"service b\",\"code\":\"timeout\",\"text\":\"too slow\",\"count\":1,"
        "\"first\":\"1970-01-01T00:00:02.000Z\",\"last\":\"1970-01-01T00:00:02.000Z\",\"id\":"
        "\"id2\"}]");
    buf_done(&out);
}

/* A clock that stands still does not mix up the order. */
static void oldest_gives_way(void **state)
{
    struct troubles *t = *state;
    char name[32];
    struct buf out;

    for (unsigned i = 0; i < TROUBLES_MAX; i++) {
        (void)snprintf(name, sizeof name, "text %u", i);
        troubles_add(t, SPAN("a"), "c", name, "", 7);
    }
    troubles_add(t, SPAN("a"), "c", "text 0", "", 7); /* not the oldest any more */
    troubles_add(t, SPAN("a"), "c", "one more", "", 7);
    buf_init(&out, 0);
    text_of(t, &out);
    assert_int_equal(kinds(&out), TROUBLES_MAX);
    assert_non_null(strstr(buf_cstr(&out), "\"text 0\""));
    assert_non_null(strstr(buf_cstr(&out), "\"one more\""));
    assert_null(strstr(buf_cstr(&out), "\"text 1\""));
    assert_non_null(strstr(buf_cstr(&out), "\"text 2\""));
    buf_done(&out);
}

static void texts_are_cut(void **state)
{
    struct troubles *t = *state;
    char longer[1000];
    struct buf out;

    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    troubles_add(t, span_of(longer), longer, longer, longer, 0);
    troubles_add(t, span_of(longer), longer, longer, longer, 0);
    troubles_add(NULL, SPAN("a"), "b", "c", "", 0);
    buf_init(&out, 0);
    text_of(t, &out);
    assert_int_equal(kinds(&out), 1);
    assert_true(out.n < 600);
    buf_done(&out);
}

static void *add_many(void *arg)
{
    for (unsigned i = 0; i < EACH; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "%u", i % 40);
        troubles_add(arg, SPAN("a"), "c", name, "", i);
    }
    return NULL;
}

static void many_threads(void **state)
{
    struct troubles *t = *state;
    pthread_t threads[THREADS];
    struct buf out;

    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, t), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(troubles_count(t), THREADS * EACH);
    buf_init(&out, 0);
    text_of(t, &out);
    assert_int_equal(kinds(&out), TROUBLES_MAX);
    buf_done(&out);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_of_each_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(oldest_gives_way, setup, teardown),
        cmocka_unit_test_setup_teardown(texts_are_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(many_threads, setup, teardown),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("troubles", tests, NULL, NULL);
}
