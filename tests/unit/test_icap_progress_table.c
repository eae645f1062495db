/* SPDX-License-Identifier: Apache-2.0 */
/* The table of progress pages, from many threads at once. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "icap/icap_progress_table.h"

#define THREADS 4u
#define ROUNDS  300u

struct trial {
    struct icap_progress *table;
    char tokens[THREADS][PROGRESS_TOKEN_LEN + 1];
    pthread_mutex_t lock; /* of |tokens| */
    _Atomic unsigned next;
    unsigned wrong[THREADS];
};

static void look_for_others(struct trial *t, unsigned self)
{
    for (unsigned i = 0; i < THREADS; i++) {
        char token[PROGRESS_TOKEN_LEN + 1];
        enum progress_state state;
        struct progress_entry *e;
        char byte = 0;

        (void)pthread_mutex_lock(&t->lock);
        memcpy(token, t->tokens[i], sizeof token);
        (void)pthread_mutex_unlock(&t->lock);
        e = progress_find(t->table, span_of(token), SPAN("client"), &state);
        if (!e)
            continue;
        t->wrong[self] += !span_eq(e->about.id, SPAN("id"));
        if (state == PROGRESS_READY)
            t->wrong[self] += pread(e->file, &byte, 1, 0) != 1 || byte != 'x';
        if (state == PROGRESS_BLOCKED)
            t->wrong[self] += !span_eq(e->page, SPAN("page"));
        progress_unref(e);
    }
}

static void end_scan(struct progress_entry *e, unsigned round)
{
    static const char page[] = "page";
    int file;

    switch (round % 3) {
    case 0:
        file = memfd_create("file", MFD_CLOEXEC);
        (void)!write(file, "x", 1);
        progress_ready(e, file);
        break;
    case 1:
        progress_block(e, CAUSE_INFECTED, SPAN("threat"),
                       (struct span){strdup(page), sizeof page - 1});
        break;
    default: progress_fail(e); break;
    }
}

static void *add_and_find(void *arg)
{
    const struct progress_about about = {
        .service = "s",
        .files_max = THREADS - 1,
        .client = SPAN("client"),
        .id = SPAN("id"),
    };
    struct trial *t = arg;
    unsigned self = atomic_fetch_add(&t->next, 1);

    for (unsigned round = 0; round < ROUNDS; round++) {
        struct progress_entry *e;
        enum err err = progress_add(t->table, &about, &e);

        if (err) {
            t->wrong[self] += err != ERR_BUSY;
            look_for_others(t, self);
            continue;
        }
        (void)pthread_mutex_lock(&t->lock);
        memcpy(t->tokens[self], e->token, sizeof e->token);
        (void)pthread_mutex_unlock(&t->lock);
        look_for_others(t, self);
        end_scan(e, round);
        look_for_others(t, self);
        progress_drop(e, PROGRESS_EXPIRED);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct trial t = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[THREADS];
    struct metrics *m;

    (void)state;
    assert_int_equal(metrics_new(1, 64, &m), OK);
    assert_int_equal(icap_progress_new(m, &t.table), OK);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_and_find, &t), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(t.wrong[i], 0);
    icap_progress_free(t.table);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
