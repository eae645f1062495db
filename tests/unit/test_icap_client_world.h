/* SPDX-License-Identifier: Apache-2.0 */
/* test_icap_client_world.h - the ICAP client's driver under test: against our own server on the
 * same loop, or against a script of raw bytes that the test speaks. */
#ifndef TEST_ICAP_CLIENT_WORLD_H
#define TEST_ICAP_CLIENT_WORLD_H

#include "test_icap_peer.h"

#include "icap/icap_client.h"

static const char client_config[] = "services:\n"
                                    "  - {name: echo, type: echo, path: /echo}\n"
                                    "  - {name: scan, type: inspect, path: /scan}\n"
                                    "  - {name: look, type: inspect, path: /look, preview: 1k}\n";

#define BIG (20u << 20)

struct fixture {
    uint64_t file_ms; /* of the client, if not 0 */
    struct icap_client_login login;
    struct world *w;
    struct icap_client *client;
    char uri[64];
    int fd;
    unsigned n_done;
    bool in_call, inside, free_in_callback;
    struct icap_client_result result;
    /* A server of the test's own. */
    int listening;
    struct address address;
    struct peer *server; /* the last connection to it */
    unsigned n_accepted;
};

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->w = world_new(client_config, NULL);
    f->w->zygote.mode = FAKE_ANSWER;
    f->fd = memfd_create("file", MFD_CLOEXEC);
    f->listening = -1;
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    icap_client_free(f->client);
    world_settle(f->w);
    if (f->fd >= 0)
        (void)close(f->fd);
    if (f->listening >= 0)
        (void)close(f->listening);
    world_free(f->w);
    free(f);
    return 0;
}

static inline void connect_to(struct fixture *f, const struct address *a, const char *path,
                              enum icap_method method)
{
    struct icap_client_settings s = {
        .upstream = {.host = "127.0.0.1", .port = address_port(a)},
        .uri = f->uri,
        .host_header = "gw",
        .method = method,
        .login = f->login,
        .file_ms = f->file_ms,
    };

    (void)snprintf(f->uri, sizeof f->uri, "icap://gw%s", path);
    assert_int_equal(icap_client_new(f->w->loop, &s, &f->client), OK);
}

static inline void use_world(struct fixture *f, const char *path, enum icap_method method)
{
    connect_to(f, &f->w->address, path, method);
}

static inline void file_is(struct fixture *f, struct span text)
{
    assert_int_equal(ftruncate(f->fd, 0), 0);
    assert_int_equal(pwrite(f->fd, text.p, text.n, 0), (ssize_t)text.n);
}

static inline void file_is_big(struct fixture *f)
{
    assert_int_equal(ftruncate(f->fd, BIG), 0);
    for (unsigned i = 0; i < BIG; i += 65537)
        assert_int_equal(pwrite(f->fd, &i, sizeof i, i), sizeof i);
}

static inline void on_done(void *arg, const struct icap_client_result *result)
{
    struct fixture *f = arg;

    f->n_done++;
    f->inside |= f->in_call;
    f->result = *result;
    if (f->free_in_callback) {
        icap_client_free(f->client);
        f->client = NULL;
    }
}

static inline void begin(struct fixture *f)
{
    struct icap_client_file file = {.name = SPAN("a b/c%.txt"), .fd = f->fd};
    off_t len = lseek(f->fd, 0, SEEK_END);

    file.len = (uint64_t)len;
    f->n_done = 0;
    f->in_call = true;
    assert_int_equal(icap_client_scan(f->client, &file, on_done, f), OK);
    assert_int_equal(icap_client_scan(f->client, &file, on_done, f), ERR_BUG);
    f->in_call = false;
    assert_int_equal(f->n_done, 0);
}

static inline void scan(struct fixture *f)
{
    begin(f);
    WORLD_UNTIL(f->w, f->n_done);
    assert_int_equal(f->n_done, 1);
    assert_false(f->inside);
}

/* ---- a server of the test's own ---- */

static inline void use_script(struct fixture *f)
{
    int error = 0;

    f->address = test_loopback(0);
    assert_int_equal(listener_socket(&f->address, 8, &f->listening, &error), OK);
    f->address = test_local_address(f->listening);
    connect_to(f, &f->address, "/s", ICAP_RESPMOD);
    file_is(f, SPAN("hello"));
}

static inline void accept_one(struct fixture *f)
{
    int fd = -1;

    WORLD_UNTIL(f->w, (fd = accept4(f->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
    f->n_accepted++;
    f->server = peer_of(f->w, fd);
}

/* Waits until the client has sent |text|, and forgets what came. */
static inline void hear(struct fixture *f, const char *text)
{
    struct peer *p = f->server;

    WORLD_UNTIL(f->w, p->in.n && memmem(p->in.p, p->in.n, text, strlen(text)));
    buf_reset(&p->in);
}

#define OPTIONS_ANSWER                                                      \
    "ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\nISTag: \"t\"\r\nPreview: 2\r\n" \
    "Encapsulated: null-body=0\r\n\r\n"

static inline void answer_options(struct fixture *f)
{
    accept_one(f);
    hear(f, "OPTIONS icap://gw/s ICAP/1.0\r\n");
    peer_say(f->w, f->server, OPTIONS_ANSWER);
}

static inline void finish(struct fixture *f)
{
    WORLD_UNTIL(f->w, f->n_done);
    assert_false(f->inside);
}

#endif
