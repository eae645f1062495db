/* SPDX-License-Identifier: Apache-2.0 */
/* What only the store on the disk can do: outlive its process, also one that is killed, and be open
 * in several. */
#include "test_store.h"

/* ---- on the disk ---- */

static void test_reopen(void **state)
{
    struct fixture *f = *state;
    uint64_t version = put_at(f, "a", "v", 0, NOW + 1000)->version;

    close_all(f);
    open_all(f, ROOM);
    struct answer *a = get(f, "a");

    assert_string_equal(a->keys, "a=v ");
    assert_int_equal(a->item_version, version);
    assert_int_equal(a->expires_wall_ms, NOW + 1000);
}

static void test_sweep(void **state)
{
    struct fixture *f = *state;
    uint64_t swept;

    assert_int_equal(put_at(f, "a", "v", 0, NOW + 1000)->err, OK);
    assert_int_equal(put_at(f, "b", "v", 0, NOW + 1000)->err, OK);
    assert_int_equal(put_at(f, "b", "w", STORE_ANY, NOW + 9000)->err, OK);
    assert_int_equal(put_at(f, "c", "v", 0, 0)->err, OK);
    close_all(f);
    f->wall_ms = NOW + 1000;
    loop_open(f);
    f->store = store_open(f, ROOM);
    swept = store_changes(f->store);
    assert_int_equal(store_start(f->store), OK); /* looks at once */
    (void)get(f, "a");
    assert_true(store_changes(f->store) != swept);
    f->wall_ms = NOW; /* what was taken out does not come back */
    assert_string_equal(list(f, SPACE, "", "", 10)->keys, "b=w c=v ");
}

/* Whoever asks a store that ends before it has begun is told. */
static void test_freed_before_done(void **state)
{
    struct fixture *f = *state;
    struct answer *a = answer_new();
    struct store_asker by = asker(f, a);

    store_free(f->store);
    f->store = store_open(f, ROOM);
    assert_int_equal(store_get(f->store, SPACE, SPAN("a"), &by, NULL), OK);
    store_free(f->store);
    f->store = NULL;
    assert_int_equal(wait_for(f, a)->err, ERR_ABORTED);
}

static void test_too_much_waits(void **state)
{
    struct fixture *f = *state;
    struct answer *a = answer_new();
    struct store_asker by = asker(f, a);
    struct store_op *op;
    unsigned n = 0;

    store_free(f->store);
    f->store = store_open(f, ROOM); /* not started: everything waits */
    while (store_get(f->store, SPACE, SPAN("a"), &by, &op) == OK && n++ < 100000)
        store_cancel(op);
    assert_int_equal(n, 4096);
    assert_int_equal(store_get(f->store, SPACE, SPAN("a"), &by, &op), ERR_BUSY);
}

static void test_damaged(void **state)
{
    struct fixture *f = *state;
    const struct store_lmdb_settings set = {.path = f->dir, .bytes_max = ROOM, .clock = &f->clock};
    struct store *s = NULL;
    char path[64];
    struct buf why;

    close_all(f);
    (void)snprintf(path, sizeof path, "%s/data.mdb", f->dir);
    int fd = open(path, O_WRONLY | O_TRUNC);

    assert_int_equal(ftruncate(fd, 65536), 0);
    (void)close(fd);
    buf_init(&why, 0);
    assert_int_equal(store_lmdb_new(&set, &s, &why), ERR_IO);
    assert_non_null(strstr(buf_cstr(&why), "move it away"));
    buf_reset(&why);
    (void)span_copy(SPAN("/nonexistent"), f->dir, sizeof f->dir);
    assert_int_equal(store_lmdb_new(&set, &s, &why), ERR_IO);
    assert_non_null(strstr(buf_cstr(&why), "No such file"));
    buf_done(&why);
}

/* ---- several processes ---- */

/* Forked before the parent opens the store: an environment does not outlive a fork. */
static pid_t spawn_child(struct fixture *f, void (*run)(struct fixture *f, int in, int out),
                         int *ret_to, int *ret_from)
{
    int to[2], from[2];

    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(to[1]);
        (void)close(from[0]);
        (void)alarm(60);
        run(f, to[0], from[1]);
        _exit(0);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    *ret_to = to[1];
    *ret_from = from[0];
    return pid;
}

#define IN_FLIGHT 8u

struct writer_child {
    struct fixture *fixture;
    int out;
    uint32_t next;
};

struct write_one {
    struct writer_child *child;
    uint32_t number;
};

static void write_next(struct write_one *w);

static void on_written(void *arg, const struct store_reply *r)
{
    struct write_one *w = arg;

    if (r->err || write(w->child->out, &w->number, sizeof w->number) != sizeof w->number)
        _exit(1);
    write_next(w);
}

static void write_next(struct write_one *w)
{
    struct fixture *f = w->child->fixture;
    const struct store_asker by = {.loop = f->loop, .done = on_written, .arg = w};
    char key[16];

    w->number = w->child->next++;
    (void)snprintf(key, sizeof key, "%u", w->number);
    const struct store_put p = {.key = span_of(key), .value = span_of(key)};

    if (store_put(f->store, SPACE, &p, &by, NULL) != OK)
        _exit(1);
}

static void run_writer(struct fixture *f, int in, int out)
{
    static struct write_one w[IN_FLIGHT];
    struct writer_child child = {.fixture = f, .out = out};

    (void)in;
    open_all(f, ROOM);
    for (size_t i = 0; i < IN_FLIGHT; i++) {
        w[i].child = &child;
        write_next(&w[i]);
    }
    for (;;)
        (void)loop_turn(f->loop, true);
}

/* What was answered is there after a kill, whatever the process was doing. */
static void test_killed_writer(void **state)
{
    struct fixture *f = *state;
    int to, from;
    pid_t pid = spawn_child(f, run_writer, &to, &from);
    uint32_t number, n = 0;
    static bool seen[1u << 20];
    char key[16];

    while (n < 100 && read(from, &number, sizeof number) == sizeof number) {
        seen[number] = true;
        n++;
    }
    assert_int_equal(n, 100);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    while (read(from, &number, sizeof number) == sizeof number)
        seen[number] = true;
    open_all(f, ROOM);
    for (unsigned i = 0; i < ARRAY_LEN(seen); i++) {
        if (!seen[i])
            continue;
        (void)snprintf(key, sizeof key, "%u", i);
        assert_int_equal(get(f, key)->err, OK);
    }
    assert_int_equal(put(f, "more", "", 0)->err, OK); /* nobody holds its locks */
    (void)close(to);
    (void)close(from);
}

static void say(int fd)
{
    if (write(fd, "", 1) != 1)
        _exit(1);
}

static void hear(int fd)
{
    char c;

    if (read(fd, &c, 1) != 1)
        _exit(1);
}

/* With a larger map than the other one's, which it fills beyond that. */
static void run_other(struct fixture *f, int in, int out)
{
    static char value[STORE_VALUE_MAX];

    open_all(f, 4 * ROOM);
    say(out);
    hear(in);
    for (unsigned i = 0; i < 200; i++) {
        char key[8];

        (void)snprintf(key, sizeof key, "big%u", i);
        const struct store_put p = {
            .key = span_of(key), .value = {value, sizeof value}
        };

        if (wait_for(f, ask_put(f, &p))->err != OK)
            _exit(1);
    }
    if (put(f, "a", "theirs", 0)->err != OK)
        _exit(1);
    say(out);
    hear(in);
    if (strcmp(get(f, "a")->keys, "a=ours ") != 0)
        _exit(1);
    close_all(f);
}

static void test_two_processes(void **state)
{
    struct fixture *f = *state;
    int to, from, status;
    pid_t pid = spawn_child(f, run_other, &to, &from);

    hear(from);
    open_all(f, ROOM);
    uint64_t before = store_changes(f->store);

    assert_int_equal(get(f, "a")->err, ERR_MISSING);
    say(to);
    hear(from);
    assert_true(store_changes(f->store) != before);
    struct answer *a = get(f, "a");

    assert_int_equal(a->err, OK);
    assert_string_equal(a->keys, "a=theirs ");
    uint64_t version = a->item_version;

    assert_int_equal(put(f, "a", "x", 0)->err, ERR_CONFLICT);
    assert_int_equal(put(f, "b", "x", 0)->err, ERR_FULL); /* by our own limit */
    assert_int_equal(del(f, "big0", STORE_ANY)->err, OK);
    for (unsigned i = 1; i < 150; i++) {
        char key[8];

        (void)snprintf(key, sizeof key, "big%u", i);
        assert_int_equal(del(f, key, STORE_ANY)->err, OK);
    }
    assert_int_equal(put(f, "a", "ours", version)->err, OK);
    say(to);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    (void)close(to);
    (void)close(from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reopen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sweep, setup, teardown),
        cmocka_unit_test_setup_teardown(test_freed_before_done, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_much_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_writer, setup_dir, teardown),
        cmocka_unit_test_setup_teardown(test_two_processes, setup_dir, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
