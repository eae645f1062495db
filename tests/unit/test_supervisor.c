/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the supervisor that need no other process: sockets, the notes to systemd, the demo's
 * files, how long it waits before it starts something again. The rest is tested from outside. */
#include "test_net.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "net/listener.h"
#include "proc/demo_ca.h"
#include "proc/generation_text.h"
#include "proc/mounted.h"
#include "proc/notify.h"
#include "proc/supervisor_int.h"

/* ---- back-off ---- */

static void waits_longer_and_longer(void **state)
{
    static const uint64_t want[] = {0, 100, 200, 400, 800, 1600, 3200, 5000, 5000};
    struct backoff b = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_int_equal(backoff_next(&b, SETTLED_MS - 1), want[i]);
    assert_int_equal(backoff_next(&b, SETTLED_MS), 0);
    assert_int_equal(backoff_next(&b, 1), 100);
}

/* ---- sockets ---- */

struct plan {
    struct settings s;
    struct listener_config listeners[2];
    char dir[32], control[64];
    struct socket_set old, set;
    struct buf why;
};

static void listener_at(struct listener_config *l, const char *name, uint16_t port)
{
    *l = (struct listener_config){
        .name = name,
        .backlog = 16,
        .address = {.kind = CONFIG_ADDRESS_IPV4, .port = port, .host = "127.0.0.1"}
    };
}

static int setup(void **state)
{
    struct plan *p = calloc(1, sizeof *p);

    assert_non_null(p);
    (void)span_copy(SPAN("/tmp/test_supervisor-XXXXXX"), p->dir, sizeof p->dir);
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->control, sizeof p->control, "%s/c", p->dir);
    listener_at(&p->listeners[0], "a", 0);
    listener_at(&p->listeners[1], "b", 0);
    p->s = (struct settings){
        .listeners = p->listeners, .n_listeners = 1, .n_threads = 2, .control_path = p->control};
    buf_init(&p->why, 0);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct plan *p = *state;

    sockets_done(&p->old);
    sockets_done(&p->set);
    buf_done(&p->why);
    (void)unlink(p->control);
    (void)rmdir(p->dir);
    free(p);
    return 0;
}

static unsigned count(const struct socket_set *s, const char *name)
{
    unsigned n = 0;

    for (unsigned i = 0; i < s->n; i++)
        n += strcmp(s->v[i].listener, name) == 0;
    return n;
}

/* |set| becomes |old|, and a new one is made. */
static enum err next(struct plan *p)
{
    sockets_done(&p->old);
    p->old = p->set;
    p->set = (struct socket_set){0};
    buf_reset(&p->why);
    return sockets_open(&p->s, &p->old, &p->set, &p->why);
}

static unsigned port_of(const struct socket_set *s, const char *name)
{
    for (unsigned i = 0; i < s->n; i++)
        if (strcmp(s->v[i].listener, name) == 0)
            return address_port(&s->v[i].at);
    return 0;
}

static void one_for_each_loop(void **state)
{
    struct plan *p = *state;

    assert_int_equal(next(p), OK);
    assert_int_equal(count(&p->set, "a"), 2);
    assert_int_equal(count(&p->set, "control"), 1);
    assert_int_not_equal(port_of(&p->set, "a"), 0);
    assert_int_equal(address_port(&p->set.v[1].at), address_port(&p->set.v[0].at));
    assert_int_equal(p->set.v[0].loop, 0);
    assert_int_equal(p->set.v[1].loop, 1);
}

static void kept_by_address(void **state)
{
    struct plan *p = *state;
    unsigned port;

    assert_int_equal(next(p), OK);
    port = port_of(&p->set, "a");
    p->s.n_listeners = 2;
    assert_int_equal(next(p), OK);
    assert_int_equal(port_of(&p->set, "a"), port);
    assert_int_equal(count(&p->set, "b"), 2);
    /* Under another name, with its port written out. */
    listener_at(&p->listeners[0], "renamed", (uint16_t)port);
    assert_int_equal(next(p), OK);
    assert_int_equal(port_of(&p->set, "renamed"), port);
    assert_int_equal(count(&p->set, "a"), 0);
}

/* Fewer loops: each socket has a queue, so none is closed. */
static void loops_come_and_go(void **state)
{
    struct plan *p = *state;

    p->s.n_threads = 3;
    assert_int_equal(next(p), OK);
    p->s.n_threads = 2;
    assert_int_equal(next(p), OK);
    assert_int_equal(count(&p->set, "a"), 3);
    assert_int_equal(p->set.v[2].loop, 0);
    p->s.n_threads = 4;
    assert_int_equal(next(p), OK);
    assert_int_equal(count(&p->set, "a"), 4);
    assert_int_equal(p->set.v[3].loop, 3);
}

static int listens(const struct socket_entry *e)
{
    int v = -1;
    socklen_t n = sizeof v;

    assert_int_equal(getsockopt(e->fd, SOL_SOCKET, SO_ACCEPTCONN, &v, &n), 0);
    return v;
}

/* The port of a listener without its certificate is taken, and refuses. Once it is open it cannot
 * become one that waits. */
static void waiting_ports(void **state)
{
    struct plan *p = *state;
    struct tls_config tls = {.name = "t", .waits = true};
    unsigned port;

    p->s.tls = &tls;
    p->s.n_tls = 1;
    p->listeners[0].tls = "t";
    assert_int_equal(next(p), OK);
    port = port_of(&p->set, "a");
    assert_int_not_equal(port, 0);
    assert_int_equal(listens(&p->set.v[0]), 0);
    assert_int_equal(next(p), OK); /* the next generation has the same */
    assert_int_equal(port_of(&p->set, "a"), port);
    assert_int_equal(listens(&p->set.v[1]), 0);
    assert_int_equal(listen(p->set.v[0].fd, 4), 0); /* as the gateway does */
    assert_int_equal(next(p), ERR_CONFIG);
    assert_non_null(strstr(buf_cstr(&p->why), "listener 'a' has no certificate that can be used"));
    tls.waits = false;
    p->set = p->old; /* the attempt left nothing */
    p->old = (struct socket_set){0};
    assert_int_equal(next(p), OK);
    assert_int_equal(port_of(&p->set, "a"), port);
}

static void port_of_a_stranger(void **state)
{
    struct plan *p = *state;
    struct address a = test_loopback(0);
    int fd = -1, errnum;

    /* Even one with SO_REUSEPORT of the same user. */
    assert_int_equal(listener_socket(&a, 1, &fd, &errnum), OK);
    a = test_local_address(fd);
    listener_at(&p->listeners[0], "a", (uint16_t)address_port(&a));
    assert_int_equal(next(p), ERR_IO);
    assert_non_null(strstr(buf_cstr(&p->why), "for listener 'a': Address already in use; another "
                                              "program has it: see 'ss -ltnp'"));
    assert_int_equal(p->set.n, 0);
    (void)close(fd);
}

/* From 127.0.0.1 to every address, on the same port, which is ours already. */
static void port_of_our_own(void **state)
{
    struct plan *p = *state;
    unsigned port;

    assert_int_equal(next(p), OK);
    port = port_of(&p->set, "a");
    p->listeners[0].address = (struct config_address){
        .kind = CONFIG_ADDRESS_IPV4, .port = (uint16_t)port, .host = "0.0.0.0"};
    assert_int_equal(next(p), OK);
    assert_int_equal(count(&p->set, "a"), 2);
}

static void set_number(const char *name, int v)
{
    char text[16];

    (void)snprintf(text, sizeof text, "%d", v);
    assert_int_equal(setenv(name, text, 1), 0);
}

/* A socket without SO_REUSEPORT: every loop gets the same one. Descriptor 3 is ours here. */
static void from_systemd(void **state)
{
    struct plan *p = *state;
    struct address a = test_loopback(0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), kept = dup(3);

    assert_int_equal(bind(fd, (const struct sockaddr *)&a.ss, a.len), 0);
    assert_int_equal(listen(fd, 4), 0);
    a = test_local_address(fd);
    assert_int_equal(dup2(fd, 3), 3);
    if (fd != 3)
        (void)close(fd);
    set_number("LISTEN_PID", getpid());
    set_number("LISTEN_FDS", 1);
    assert_int_equal(setenv("LISTEN_FDNAMES", "a:more", 1), 0);
    sockets_from_systemd(&p->set, &p->why);
    assert_string_equal(buf_cstr(&p->why), "");
    assert_null(getenv("LISTEN_FDS"));
    assert_int_equal(p->set.n, 1);
    assert_true(p->set.v[0].inherited);
    /* Its name counts, whatever the configuration says of the address. */
    listener_at(&p->listeners[0], "a", 9);
    assert_int_equal(next(p), OK);
    assert_int_equal(count(&p->set, "a"), 2);
    assert_int_equal(port_of(&p->set, "a"), address_port(&a));
    if (kept >= 0)
        (void)close(kept);
}

static void for_another_process(void **state)
{
    struct plan *p = *state;

    set_number("LISTEN_PID", getpid() + 1);
    set_number("LISTEN_FDS", 1);
    sockets_from_systemd(&p->set, &p->why);
    assert_int_equal(p->set.n, 0);
    assert_null(getenv("LISTEN_PID"));
}

static void told_as_json(void **state)
{
    struct plan *p = *state;
    char want[128];
    struct buf out;

    buf_init(&out, 0);
    assert_int_equal(next(p), OK);
    sockets_json(&p->set, &out);
    (void)snprintf(want, sizeof want, "{\"a\":\"127.0.0.1:%u\"}", port_of(&p->set, "a"));
    assert_string_equal(buf_cstr(&out), want);
    buf_done(&out);
}

/* ---- systemd ---- */

static void notes(void **state)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    char name[64], got[64];

    (void)state;
    (void)unsetenv("NOTIFY_SOCKET");
    notify("READY=1"); /* nobody listens: nothing happens */
    (void)snprintf(name, sizeof name, "@test_supervisor-%d", (int)getpid());
    (void)span_copy(span_of(name), sa.sun_path, sizeof sa.sun_path);
    sa.sun_path[0] = '\0';
    assert_int_equal(bind(fd, (const struct sockaddr *)&sa,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
                     0);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    notify("STATUS=%s", "fine");
    assert_int_equal(recv(fd, got, sizeof got, 0), 11);
    assert_memory_equal(got, "STATUS=fine", 11);
    (void)unsetenv("NOTIFY_SOCKET");
    (void)close(fd);
}

static void watchdog_period(void **state)
{
    (void)state;
    (void)unsetenv("WATCHDOG_PID");
    (void)unsetenv("WATCHDOG_USEC");
    assert_int_equal(notify_watchdog_ms(), 0);
    assert_int_equal(setenv("WATCHDOG_USEC", "30000000", 1), 0);
    assert_int_equal(notify_watchdog_ms(), 15000);
    set_number("WATCHDOG_PID", getpid() + 1);
    assert_int_equal(notify_watchdog_ms(), 0);
    (void)unsetenv("WATCHDOG_PID");
    (void)unsetenv("WATCHDOG_USEC");
}

/* ---- demo ---- */

static void demo_is_a_configuration(void **state)
{
    struct settings_loaded *l = NULL;
    struct config_report r;
    struct demo d;
    struct buf out;
    struct stat st;

    (void)state;
    buf_init(&out, 0);
    assert_int_equal(demo_prepare(NULL, -1, &d, &out), OK);
    assert_true(d.temporary);
    config_report_init(&r);
    enum err e = settings_load(d.config_path, NULL, &r, &l);

    config_report_print(&r, &out);
    assert_string_equal(buf_cstr(&out), "");
    assert_int_equal(e, OK);
    assert_string_equal(l->settings.state, d.state);
    assert_int_equal(l->settings.listeners[0].address.port, 1344);
    assert_int_equal(l->settings.listeners[1].address.port, 11344);
    assert_int_equal(l->settings.admin.address.port, 9344);
    assert_int_equal(l->settings.n_services, 2);
    assert_false(l->settings.sandbox_required);
    settings_loaded_free(l);
    config_report_done(&r);
    char *dir = span_dup(span_of(d.state));

    demo_done(&d);
    assert_int_equal(stat(dir, &st), -1);
    free(dir);
    buf_done(&out);
}

/* Without a port: the one that all such servers have. Nobody gets in without TLS and a certificate.
 */
static void directory_is_a_configuration(void **state)
{
    struct plan *p = *state;
    struct settings_loaded *l;
    struct config_report r;
    char *path, own[64];

    (void)snprintf(own, sizeof own, "%s/state", p->dir);
    assert_int_equal(mounted_prepare("/nonexistent/certs", own, -1, &path, &p->why), OK);
    config_report_init(&r);
    assert_int_equal(settings_load(path, NULL, &r, &l), OK);
    assert_string_equal(l->settings.state, own);
    assert_int_equal(l->settings.n_listeners, 1);
    assert_int_equal(l->settings.listeners[0].address.port, 11344);
    assert_int_equal(l->settings.listeners[0].require, SALLYPORT_STRONG);
    assert_string_equal(l->settings.listeners[0].tls, l->settings.tls[0].name);
    assert_string_equal(l->settings.tls[0].directory, "/nonexistent/certs");
    assert_int_equal(l->settings.tls[0].clients, TLS_CLIENTS_REQUIRE);
    assert_int_equal(l->settings.n_services, 1);
    settings_loaded_free(l);
    config_report_done(&r);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(own), 0);
    free(path);
}

static X509 *read_cert(const char *dir, const char *name)
{
    char path[96];
    FILE *f;
    X509 *x;

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "re");
    assert_non_null(f);
    x = PEM_read_X509(f, NULL, NULL, NULL);
    (void)fclose(f);
    assert_non_null(x);
    return x;
}

static void own_ca(void **state)
{
    struct plan *p = *state;
    X509 *ca, *server, *client, *later;

    assert_int_equal(demo_ca_prepare(p->dir, &p->why), OK);
    ca = read_cert(p->dir, "ca.pem");
    server = read_cert(p->dir, "server.pem");
    assert_int_equal(X509_verify(server, X509_get0_pubkey(ca)), 1);
    assert_int_equal(X509_check_host(server, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_ip_asc(server, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(server, "::1", 0), 1);
    assert_int_equal(X509_check_ca(ca), 1);
    assert_int_equal(X509_check_ca(server), 0);
    client = read_cert(p->dir, "client.pem");
    assert_int_equal(X509_verify(client, X509_get0_pubkey(ca)), 1);
    assert_int_equal(X509_check_purpose(client, X509_PURPOSE_SSL_CLIENT, 0), 1);
    assert_int_equal(X509_check_purpose(client, X509_PURPOSE_SSL_SERVER, 0), 0);
    assert_int_equal(X509_check_purpose(server, X509_PURPOSE_SSL_CLIENT, 0), 0);
    assert_int_equal(X509_check_host(client, "client.demo.test", 0, 0, NULL), 1);
    X509_free(client);
    /* Kept; but a leaf of another CA is not. */
    assert_int_equal(demo_ca_prepare(p->dir, &p->why), OK);
    later = read_cert(p->dir, "server.pem");
    assert_int_equal(X509_cmp(server, later), 0);
    X509_free(later);
    char path[96];

    (void)snprintf(path, sizeof path, "%s/ca.key", p->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(demo_ca_prepare(p->dir, &p->why), OK);
    later = read_cert(p->dir, "server.pem");
    assert_int_not_equal(X509_cmp(server, later), 0);
    X509_free(later);
    X509_free(server);
    X509_free(ca);
    static const char *const names[] = {"ca.pem",     "ca.key",     "server.pem",
                                        "server.key", "client.pem", "client.key"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", p->dir, names[i]);
        (void)unlink(path);
    }
}

/* ---- the zygote ---- */

struct need {
    const char *name;
    enum icap_service_type type;
    unsigned pipeline, rule; /* engines of the service, and of a rule of it */
    bool needed;
};

static const struct need needs[] = {
    {"echo",             ICAP_SERVICE_ECHO,    1u << PIPELINE_YARA,     0,                       false},
    {"yara",             ICAP_SERVICE_INSPECT, 1u << PIPELINE_YARA,     0,                       true },
    {"filetype",         ICAP_SERVICE_INSPECT, 1u << PIPELINE_FILETYPE, 0,                       true },
    {"printing",         ICAP_SERVICE_INSPECT, 1u << PIPELINE_PRINTING, 0,                       true },
    {"clamav",           ICAP_SERVICE_INSPECT, 1u << PIPELINE_CLAMAV,   0,                       true },
    {"url",              ICAP_SERVICE_INSPECT, 1u << PIPELINE_URL,      0,                       false},
    {"url, a rule more", ICAP_SERVICE_INSPECT, 1u << PIPELINE_URL,      1u << PIPELINE_FILETYPE, true },
};

static void bodies_need_a_zygote(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(needs); i++) {
        struct rule_settings rule = {.then = RULE_PIPELINE, .pipeline = needs[i].rule};
        struct icap_service_settings v = {.type = needs[i].type,
                                          .pipeline = needs[i].pipeline,
                                          .rules = &rule,
                                          .n_rules = needs[i].rule ? 1 : 0};
        struct settings_loaded l = {
            .settings = {.services = &v, .n_services = 1}
        };

        if (zygote_is_needed(&l) != needs[i].needed)
            fail_msg("%s", needs[i].name);
    }
}

/* ---- the journal ---- */

static const char journal_lines[] =
    "{\"op\":\"add\",\"id\":\"aaaaaaaa\",\"kind\":\"exception\",\"created\":\"2020-01-01T00:00:00."
    "000Z\","
    "\"expires\":\"2020-01-02T00:00:00.000Z\",\"by\":\"root\",\"reason\":\"over\",\"host\":\"a."
    "example\"}\n"
    "{\"op\":\"add\",\"id\":\"bbbbbbbb\",\"kind\":\"exception\",\"created\":\"2020-01-01T00:00:00."
    "000Z\","
    "\"expires\":\"2999-01-02T00:00:00.000Z\",\"by\":\"root\",\"reason\":\"kept\",\"host\":\"b."
    "example\"}\n"
    "{\"op\":\"add\",\"id\":\"cccccccc\",\"kind\":\"exception\",\"created\":\"2020-01-01T00:00:00."
    "000Z\","
    "\"expires\":\"2999-01-02T00:00:00.000Z\",\"by\":\"root\",\"reason\":\"gone\",\"host\":\"c."
    "example\"}\n"
    "{\"op\":\"remove\",\"id\":\"cccccccc\",\"at\":\"2020-01-01T00:00:00.000Z\",\"by\":\"root\"}\n"
    "{\"op\":\"add\",\"id\":\"ddd"; /* a full disk */

static void journal_is_compacted(void **state)
{
    struct plan *p = *state;
    struct settings_loaded l = {0};
    struct span text = SPAN_NONE;
    struct stat st;
    char path[96];
    int fd;

    (void)snprintf(path, sizeof path, "%s/exceptions.jsonl", p->dir);
    l.settings.exceptions_path = path;
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(files_open_exceptions(&l, true, &fd, &p->why), OK);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(write(fd, journal_lines, strlen(journal_lines)), strlen(journal_lines));
    (void)close(fd);
    /* Somebody may be writing to it: not touched. */
    assert_int_equal(files_open_exceptions(&l, false, &fd, &p->why), OK);
    assert_int_equal(text_read(fd, TEXT_PUBLIC, &text), OK);
    assert_true(span_eq(text, span_of(journal_lines)));
    text_free(&text);
    (void)close(fd);
    assert_int_equal(files_open_exceptions(&l, true, &fd, &p->why), OK);
    assert_int_equal(text_read(fd, TEXT_PUBLIC, &text), OK);
    assert_non_null(strstr(text.p, "bbbbbbbb"));
    assert_null(strstr(text.p, "aaaaaaaa"));
    assert_null(strstr(text.p, "cccccccc"));
    assert_true(span_ends(text, SPAN("}\n")));
    text_free(&text);
    /* The descriptor is the file's that is there now, and appends. */
    assert_int_equal(write(fd, "x\n", 2), 2);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, lseek(fd, 0, SEEK_END));
    (void)close(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_int_equal(files_open_exceptions(&l, true, &fd, &p->why), ERR_IO);
    assert_int_equal(unlink(path), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_longer_and_longer),
        cmocka_unit_test_setup_teardown(one_for_each_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(kept_by_address, setup, teardown),
        cmocka_unit_test_setup_teardown(loops_come_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_ports, setup, teardown),
        cmocka_unit_test_setup_teardown(port_of_a_stranger, setup, teardown),
        cmocka_unit_test_setup_teardown(port_of_our_own, setup, teardown),
        cmocka_unit_test_setup_teardown(from_systemd, setup, teardown),
        cmocka_unit_test_setup_teardown(for_another_process, setup, teardown),
        cmocka_unit_test_setup_teardown(told_as_json, setup, teardown),
        cmocka_unit_test(notes),
        cmocka_unit_test(watchdog_period),
        cmocka_unit_test(demo_is_a_configuration),
        cmocka_unit_test_setup_teardown(directory_is_a_configuration, setup, teardown),
        cmocka_unit_test_setup_teardown(own_ca, setup, teardown),
        cmocka_unit_test(bodies_need_a_zygote),
        cmocka_unit_test_setup_teardown(journal_is_compacted, setup, teardown),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("supervisor", tests, NULL, NULL);
}
