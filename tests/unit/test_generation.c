/* SPDX-License-Identifier: Apache-2.0 */
/* What goes down to a gateway: packets, and the order in which they make a set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proc/generation.h"
#include "proc/generation_text.h"

/* ---- packets ---- */

struct row {
    const char *name;
    struct proc_message m;
};

static const struct row rows[] = {
    {"begin",   {.kind = PROC_BEGIN, .number = 7, .threads = 2}                      },
    {"live",    {.kind = PROC_BEGIN, .number = UINT32_MAX, .threads = 256, .live = 1}},
    {"config",  {.kind = PROC_CONFIG, .text = "/etc/x.yaml"}                         },
    {"socket",  {.kind = PROC_SOCKET, .loop = 3, .text = "edge"}                     },
    {"list",    {.kind = PROC_FILE, .live = 1, .text = "/etc/list"}                  },
    {"journal", {.kind = PROC_EXCEPTIONS}                                            },
    {"store",   {.kind = PROC_STORE}                                                 },
    {"drain",   {.kind = PROC_DRAIN, .ms = UINT64_MAX}                               },
    {"failed",  {.kind = PROC_FAILED, .number = 1, .text = "line 1\nline 2 \xff"}    },
    {"drained", {.kind = PROC_DRAINED}                                               },
};

static struct span encode(const struct proc_message *m, char packet[PROC_PACKET_MAX])
{
    struct writer w = writer_of(packet, PROC_PACKET_MAX);

    assert_int_equal(proc_encode(m, &w), OK);
    return writer_span(&w);
}

static bool same(const struct proc_message *a, const struct proc_message *b)
{
    return a->kind == b->kind && a->number == b->number && a->loop == b->loop &&
           a->threads == b->threads && a->live == b->live && a->ms == b->ms &&
           strcmp(a->text, b->text) == 0;
}

static void round_trips(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char packet[PROC_PACKET_MAX];
        struct span bytes = encode(&rows[i].m, packet);
        static struct proc_message back;

        assert_int_equal(proc_decode(bytes, &back), OK);
        assert_true(same(&rows[i].m, &back));
        for (size_t n = 0; n < bytes.n; n++)
            assert_int_equal(proc_decode((struct span){packet, n}, &back), ERR_SYNTAX);
    }
}

static void longest_text(void **state)
{
    static struct proc_message m = {.kind = PROC_FILE}, back;
    char packet[PROC_PACKET_MAX];
    struct writer w = writer_of(packet, sizeof packet);

    (void)state;
    memset(m.text, 'x', PROC_TEXT_MAX - 1);
    assert_int_equal(proc_decode(encode(&m, packet), &back), OK);
    assert_int_equal(strlen(back.text), PROC_TEXT_MAX - 1);
    m.text[PROC_TEXT_MAX - 1] = 'x'; /* no NUL at all */
    assert_int_equal(proc_encode(&m, &w), ERR_BUG);
}

static void refused_packets(void **state)
{
    static struct proc_message m, kept;
    static const struct proc_message good = {.kind = PROC_SOCKET, .text = "edge"};
    char packet[PROC_PACKET_MAX + 1];
    struct span bytes = encode(&good, packet);

    (void)state;
    memset(&m, 0x5a, sizeof m);
    kept = m;
    packet[bytes.n] = 'x';
    assert_int_equal(proc_decode((struct span){packet, bytes.n + 1}, &m), ERR_SYNTAX);
    packet[bytes.n - 2] = '\0';
    assert_int_equal(proc_decode(bytes, &m), ERR_SYNTAX);
    packet[bytes.n - 2] = 'g';
    packet[0] = 0;
    assert_int_equal(proc_decode(bytes, &m), ERR_SYNTAX);
    packet[0] = PROC_DRAINED + 1;
    assert_int_equal(proc_decode(bytes, &m), ERR_SYNTAX);
    packet[0] = PROC_BEGIN;
    packet[1] = 2; /* live is 0 or 1 */
    assert_int_equal(proc_decode(bytes, &m), ERR_SYNTAX);
    assert_memory_equal(&m, &kept, sizeof m);
}

static void over_a_socket(void **state)
{
    static const struct proc_message sent = {.kind = PROC_CONFIG, .text = "x"};
    static struct proc_message got;
    int pair[2], fd = -1;
    struct span text = SPAN_NONE;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(proc_receive(pair[1], &got, &fd), ERR_AGAIN);
    int file = text_memfd("test", SPAN("hello"));

    assert_int_equal(proc_send(pair[0], &sent, file), OK);
    assert_int_equal(proc_send(pair[0], &sent, -1), OK);
    (void)close(file);
    assert_int_equal(proc_receive(pair[1], &got, &fd), OK);
    assert_true(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
    assert_int_equal(text_read(fd, TEXT_SECRET, &text), OK);
    assert_true(span_eq(text, SPAN("hello")));
    assert_int_equal(text.p[5], 0);
    text_free(&text);
    assert_int_equal(write(fd, "x", 1), -1); /* sealed */
    (void)close(fd);
    assert_int_equal(proc_receive(pair[1], &got, &fd), OK);
    assert_int_equal(fd, -1);
    assert_int_equal(send(pair[0], "junk", 4, 0), 4);
    assert_int_equal(proc_receive(pair[1], &got, &fd), ERR_SYNTAX);
    (void)close(pair[0]);
    assert_int_equal(proc_receive(pair[1], &got, &fd), ERR_EOF);
    (void)close(pair[1]);
}

static unsigned open_descriptors(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* |n| descriptors beside |bytes|: what only a gateway that was taken over sends. */
static void send_with_fds(int sock, struct span bytes, unsigned n)
{
    union {
        char bytes[CMSG_SPACE(8 * sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    struct iovec iov = {(void *)(uintptr_t)bytes.p, bytes.n};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    const int fds[8] = {0};

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    assert_true(sendmsg(sock, &msg, 0) >= 0);
}

static void too_many_descriptors(void **state)
{
    static const struct proc_message ready = {.kind = PROC_READY, .number = 1};
    static struct proc_message got;
    char packet[PROC_PACKET_MAX];
    struct span bytes = encode(&ready, packet);
    int pair[2], fd;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
    unsigned before = open_descriptors();

    for (unsigned n = 2; n <= 8; n++) {
        send_with_fds(pair[0], bytes, n);
        assert_int_equal(proc_receive(pair[1], &got, &fd), ERR_SYNTAX);
        assert_int_equal(open_descriptors(), before);
    }
    send_with_fds(pair[0], SPAN_NONE, 1);
    assert_int_equal(proc_receive(pair[1], &got, &fd), ERR_SYNTAX);
    assert_int_equal(open_descriptors(), before);
    (void)close(pair[0]);
    (void)close(pair[1]);
}

/* A text that may be a key is small; a list may be large. */
static void kinds_of_texts(void **state)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    struct span text = SPAN_NONE;

    (void)state;
    assert_int_equal(ftruncate(fd, TEXT_FILE_MAX + 1), 0);
    assert_int_equal(text_read(fd, TEXT_SECRET, &text), ERR_LIMIT);
    assert_int_equal(text_read(fd, TEXT_PUBLIC, &text), OK);
    assert_int_equal(text.n, TEXT_FILE_MAX + 1);
    assert_int_equal(text.p[text.n], 0);
    text_free(&text);
    assert_int_equal(ftruncate(fd, (off_t)TEXT_LIST_MAX + 1), 0);
    assert_int_equal(text_read(fd, TEXT_PUBLIC, &text), ERR_LIMIT);
    (void)close(fd);
}

/* ---- sets ---- */

static enum err add(struct generation *g, enum proc_kind kind, const char *text, int fd, bool *done)
{
    static struct proc_message m;

    m = (struct proc_message){.kind = kind, .number = 5, .threads = 2};
    (void)span_copy(span_of(text), m.text, sizeof m.text);
    return generation_add(g, &m, fd, done);
}

static int some_fd(void)
{
    return text_memfd("test", SPAN("a: 1\n"));
}

static enum err add_file_of(struct generation *g, unsigned owner, struct span text)
{
    struct proc_message m = {.kind = PROC_FILE, .loop = owner, .text = "/same"};
    bool done;

    return generation_add(g, &m, text_memfd("test", text), &done);
}

/* Two entries may have the same file as it was at different times. */
static void files_have_owners(void **state)
{
    struct generation g;
    bool done;

    (void)state;
    generation_init(&g);
    assert_int_equal(add(&g, PROC_BEGIN, "", -1, &done), OK);
    assert_int_equal(add_file_of(&g, 1, SPAN("old")), OK);
    assert_int_equal(add_file_of(&g, 2, SPAN("new")), OK);
    assert_true(span_eq(generation_tls_text(&g, 0, "/same"), SPAN("old")));
    assert_true(span_eq(generation_tls_text(&g, 1, "/same"), SPAN("new")));
    assert_null(generation_tls_text(&g, 2, "/same").p);
    assert_null(generation_tls_text(&g, 0, NULL).p);
    assert_null(generation_file_text(&g, "/same").p);
    assert_int_equal(add_file_of(&g, 2, SPAN("new")), ERR_PROTO);
    generation_done(&g);
}

static void whole_set(void **state)
{
    struct generation g;
    bool done;

    (void)state;
    generation_init(&g);
    assert_int_equal(add(&g, PROC_BEGIN, "", -1, &done), OK);
    assert_int_equal(g.state, GENERATION_OPEN);
    assert_int_equal(add(&g, PROC_CONFIG, "/x.yaml", some_fd(), &done), OK);
    for (unsigned i = 0; i < 5; i++) {
        char name[] = {'/', (char)('a' + i), '\0'};

        assert_int_equal(add(&g, PROC_FILE, name, some_fd(), &done), OK);
        assert_int_equal(add(&g, PROC_SOCKET, "edge", some_fd(), &done), OK);
    }
    assert_int_equal(add(&g, PROC_SPOOL, "", some_fd(), &done), OK);
    assert_int_equal(add(&g, PROC_RECORDS, "", some_fd(), &done), OK);
    assert_int_equal(add(&g, PROC_CHAIN, "", some_fd(), &done), OK);
    assert_int_equal(add(&g, PROC_EXCEPTIONS, "", some_fd(), &done), OK);
    assert_int_equal(add(&g, PROC_STORE, "", some_fd(), &done), OK);
    assert_int_equal(add(&g, PROC_WORKERS, "yara", some_fd(), &done), OK);
    assert_false(done);
    assert_int_equal(add(&g, PROC_END, "", -1, &done), OK);
    assert_true(done);
    assert_int_equal(g.state, GENERATION_COMPLETE);
    assert_int_equal(g.number, 5);
    assert_string_equal(g.config_file, "/x.yaml");
    assert_true(span_eq(g.config_text, SPAN("a: 1\n")));
    assert_int_equal(g.n_files, 5);
    assert_int_equal(g.n_sockets, 5);
    assert_string_equal(g.sockets[4].listener, "edge");
    assert_true(span_eq(generation_file_text(&g, "/e"), SPAN("a: 1\n")));
    assert_null(generation_file_text(&g, "/f").p);
    assert_true(g.worker_fds[0] >= 0 && g.worker_fds[1] == -1);
    assert_string_equal(g.engines, "yara");
    assert_true(g.exceptions_fd >= 0 && g.chain_fd >= 0);
    generation_drop_texts(&g);
    assert_null(generation_file_text(&g, "/e").p);
    assert_string_equal(g.sockets[4].listener, "edge");
    /* Only a fresh set fits now. */
    assert_int_equal(add(&g, PROC_RECORDS, "", some_fd(), &done), ERR_PROTO);
    assert_int_equal(add(&g, PROC_BEGIN, "", -1, &done), OK);
    assert_int_equal(g.n_files, 0);
    generation_done(&g);
}

struct wrong {
    const char *name;
    bool live;
    enum proc_kind kinds[4]; /* after BEGIN; the last one is wrong */
    const char *text;
    bool no_fd;
};

static const struct wrong wrongs[] = {
    {"a second begin",            false, {PROC_BEGIN},                       "",    true },
    {"config twice",              false, {PROC_CONFIG, PROC_CONFIG},         "/x",  false},
    {"config without text",       false, {PROC_CONFIG},                      "/x",  true },
    {"file twice",                false, {PROC_FILE, PROC_FILE},             "/x",  false},
    {"socket without descriptor", false, {PROC_SOCKET},                      "x",   true },
    {"two spools",                false, {PROC_SPOOL, PROC_SPOOL},           "",    false},
    {"two records",               false, {PROC_RECORDS, PROC_RECORDS},       "",    false},
    {"two chains",                false, {PROC_CHAIN, PROC_CHAIN},           "",    false},
    {"live with a chain",         true,  {PROC_CHAIN},                       "",    false},
    {"two journals",              false, {PROC_EXCEPTIONS, PROC_EXCEPTIONS}, "",    false},
    {"two stores",                false, {PROC_STORE, PROC_STORE},           "",    false},
    {"live with a store",         true,  {PROC_STORE},                       "",    false},
    {"live with a journal",       true,  {PROC_EXCEPTIONS},                  "",    false},
    {"two channels of a loop",    false, {PROC_WORKERS, PROC_WORKERS},       "",    false},
    {"no config",                 false, {PROC_END},                         "",    true },
    {"drain inside",              false, {PROC_DRAIN},                       "",    true },
    {"a certificate inside",      false, {PROC_CERTIFICATE},                 "a b", true },
    {"files inside",              false, {PROC_FILES},                       "a",   true },
    {"what a gateway says",       false, {PROC_READY},                       "",    true },
    {"live with a socket",        true,  {PROC_SOCKET},                      "x",   false},
    {"live with workers",         true,  {PROC_WORKERS},                     "x",   false},
    {"live with a spool",         true,  {PROC_SPOOL},                       "x",   false},
};

static void wrong_orders(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrongs); i++) {
        const struct wrong *w = &wrongs[i];
        static struct proc_message m;
        struct generation g;
        bool done;

        m = (struct proc_message){.kind = PROC_BEGIN, .threads = 1, .live = w->live};
        generation_init(&g);
        assert_int_equal(generation_add(&g, &m, -1, &done), OK);
        m.live = 0;
        (void)span_copy(span_of(w->text), m.text, sizeof m.text);
        for (size_t k = 0; k < ARRAY_LEN(w->kinds) && w->kinds[k]; k++) {
            bool last = k + 1 == ARRAY_LEN(w->kinds) || !w->kinds[k + 1];

            m.kind = w->kinds[k];
            enum err e = generation_add(&g, &m, w->no_fd ? -1 : some_fd(), &done);

            if (e != (last ? ERR_PROTO : OK))
                fail_msg("%s: %s", w->name, err_text(e));
        }
        generation_done(&g);
    }
}

static void numbers_out_of_range(void **state)
{
    struct generation g;
    bool done;
    static struct proc_message m;

    (void)state;
    generation_init(&g);
    m = (struct proc_message){.kind = PROC_BEGIN, .threads = 0};
    assert_int_equal(generation_add(&g, &m, -1, &done), ERR_PROTO);
    m.threads = GENERATION_THREADS_MAX + 1;
    assert_int_equal(generation_add(&g, &m, -1, &done), ERR_PROTO);
    m.threads = 2;
    assert_int_equal(generation_add(&g, &m, -1, &done), OK);
    m = (struct proc_message){.kind = PROC_SOCKET, .loop = 2};
    assert_int_equal(generation_add(&g, &m, some_fd(), &done), ERR_PROTO);
    m.kind = PROC_WORKERS;
    assert_int_equal(generation_add(&g, &m, some_fd(), &done), ERR_PROTO);
    generation_done(&g);
}

static void failing_allocations(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 12; n++) {
        struct generation g;
        bool done;
        enum err e;

        generation_init(&g);
        mem_fail_after(n);
        e = add(&g, PROC_BEGIN, "", -1, &done);
        for (unsigned i = 0; !e && i < 300; i++) {
            char name[] = {'/', (char)('a' + i % 26), (char)('a' + i / 26), '\0'};

            e = add(&g, PROC_SOCKET, name, some_fd(), &done);
        }
        mem_fail_after(0);
        assert_true(e == OK || e == ERR_NOMEM);
        generation_done(&g);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(longest_text),
        cmocka_unit_test(refused_packets),
        cmocka_unit_test(over_a_socket),
        cmocka_unit_test(too_many_descriptors),
        cmocka_unit_test(kinds_of_texts),
        cmocka_unit_test(whole_set),
        cmocka_unit_test(files_have_owners),
        cmocka_unit_test(files_have_owners),
        cmocka_unit_test(wrong_orders),
        cmocka_unit_test(numbers_out_of_range),
        cmocka_unit_test(failing_allocations),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("generation", tests, NULL, NULL);
}
