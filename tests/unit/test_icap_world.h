/* SPDX-License-Identifier: Apache-2.0 */
/* test_icap_world.h - an ICAP server with all that it stands on, in the test's hand: its loop and
 * clock, a listener on loopback, workers that the test plays, records in a pipe. test_icap_peer.h
 * has the clients. */
#ifndef TEST_ICAP_WORLD_H
#define TEST_ICAP_WORLD_H

#include "test_fake_workers.h"

#include <jansson.h>
#include <poll.h>

#include "base/log.h"
#include "config/config.h"
#include "icap/icap_server.h"

struct world_config {
    struct arena mem; /* of itself, and what it points to */
    struct icap_service_settings *services;
    size_t n_services;
    struct icap_limits limits;
    struct engines_settings engines;
};

static const struct config_row world_rows[] = {
    CONFIG_LIST("services", struct world_config, services, n_services, icap_service_block,
                .help = "services"),
    CONFIG_BLOCK("limits", struct world_config, limits, icap_limits_block, .help = "limits"),
    CONFIG_BLOCK("engines", struct world_config, engines, engines_block, .help = "engines"),
};
static const struct config_block world_block = CONFIG_ROWS(struct world_config, world_rows);

#define PEERS_MAX 16

struct peer {
    int fd; /* -1: closed */
    struct buf in;
    bool deaf; /* does not read */
    bool eof;  /* the server has closed */
    bool reset;
};

struct world {
    struct test_clock clock;
    struct loop *loop;
    struct timer pace; /* something to wait for: loop_turn() then looks at the clock */
    char dir[64];
    struct budget memory, spooled;
    struct scan_slots *scans;
    struct spool_settings spool;
    struct worker_settings worker_settings;
    struct workers *workers;
    struct inspector *inspector;
    struct exceptions *exceptions; /* of the next snapshot */
    uint64_t decision_steps;       /* the same */
    struct tenants *tenants;       /* the same; NULL: none */
    struct logins *logins;         /* NULL: none; see world_prepare */
    struct fake_zygote zygote;
    struct metrics *metrics;
    struct icap_progress *progress;
    struct record_log *records;
    int record_fd; /* the reading end */
    struct buf record_in;
    struct icap_snapshot *snapshot;
    unsigned n_released; /* snapshots */
    struct loop_group *group;
    struct listener_settings settings;
    int listening;
    struct address address;
    struct listener *listener;
    struct icap_server *server;
    struct icap_servers servers;
    struct icap_server *by_loop[1];
    struct peer peers[PEERS_MAX];
    unsigned n_peers;
    unsigned n_drained;
};

static void world_no_fire(struct timer *t)
{
    (void)t;
}

static unsigned *world_released;

/* NULL, or a test's: makes tenants and logins, before there is a server. */
static void (*world_prepare)(struct world *w);

static void world_release(void *owner)
{
    struct world_config *c = owner;

    (*world_released)++;
    arena_done(&c->mem);
    free(c);
}

static inline struct icap_snapshot *world_snapshot(struct world *w, const char *text,
                                                   const char *engines)
{
    struct world_config *c = calloc(1, sizeof *c);
    struct config_report r;
    struct icap_snapshot *s;
    struct arena mem;

    assert_non_null(c);
    arena_init(&mem, 0);
    config_report_init(&r);
    if (config_load_text(span_of(text), "test.yaml", &world_block, &mem, &r, c) != OK)
        fail_msg("the test's configuration is wrong:\n%s", text);
    config_report_done(&r);
    c->mem = mem;
    const struct icap_snapshot_source src = {
        .services = c->services,
        .n_services = c->n_services,
        .limits = &c->limits,
        .worker_engines = engines,
        .unpack = &c->engines.unpack,
        .decision_steps = w->decision_steps,
        .exceptions = w->exceptions,
        .tenants = w->tenants,
        .metrics = w->metrics,
        .release = world_release,
        .owner = c,
    };

    struct buf why;

    buf_init(&why, 0);
    if (icap_snapshot_new(&src, &s, &why) != OK)
        fail_msg("no snapshot: %s", buf_cstr(&why));
    buf_done(&why);
    return s;
}

static inline void world_open_records(struct world *w)
{
    struct record_log_settings s = {
        .loops = 1, .buffer_max = 1 << 20, .flush_ms = 1, .on_full = RECORD_REFUSE};
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    w->record_fd = fds[0];
    s.fd = fds[1];
    assert_int_equal(record_log_new(&s, &w->records), OK);
    (void)close(fds[1]);
    buf_init(&w->record_in, 0);
}

static inline void world_open_spool(struct world *w)
{
    const char *tmp = getenv("TMPDIR");

    (void)snprintf(w->dir, sizeof w->dir, "%s/test_icap.XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(w->dir));
    w->spool = (struct spool_settings){
        .dir_fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        .memory_max = 1 << 20,
        .bytes = &w->spooled,
        .memory = &w->memory,
        .queue_max = 1 << 20,
    };
}

static inline void world_listen(struct world *w)
{
    struct loop *loops[1] = {w->loop};
    int error = 0;

    w->address = test_loopback(0);
    assert_int_equal(listener_socket(&w->address, 64, &w->listening, &error), OK);
    w->address = test_local_address(w->listening);
    assert_int_equal(loop_group_new(loops, 1, &w->group), OK);
    w->by_loop[0] = w->server;
    w->servers.by_loop = w->by_loop;
    w->settings.refs = 1;
    w->settings.name = "edge";
    w->settings.handshake_ms = 10000;
    assert_int_equal(listener_new(w->loop, w->group, w->listening, &w->settings,
                                  &icap_listener_events, &w->servers, &w->listener),
                     OK);
}

static inline unsigned world_scans(struct world *w)
{
    struct scan_slots_counts c;

    scan_slots_count(w->scans, &c);
    return c.used;
}

/* |tls|: NULL for clear; the caller's. */
static inline struct world *world_new(const char *config, struct tls_context *tls)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    log_set_level(LOG_LEVEL_ERROR);
    world_released = &w->n_released;
    test_clock_init(&w->clock, UINT64_C(1800000000000));
    w->loop = test_loop(&w->clock.clock);
    w->pace.fire = world_no_fire;
    timer_set(w->loop, &w->pace, UINT64_MAX / 2);
    budget_init(&w->memory, 0);
    budget_init(&w->spooled, 0);
    assert_int_equal(scan_slots_new(1000, &w->scans), OK);
    block_set_budget(&w->memory);
    world_open_spool(w);
    world_open_records(w);
    assert_int_equal(metrics_new(1, 4096, &w->metrics), OK);
    assert_int_equal(icap_progress_new(w->metrics, &w->progress), OK);
    w->worker_settings =
        (struct worker_settings){.count = 2, .reuse = 1000, .queue = 16, .grace_ms = 500};
    assert_int_equal(workers_new(w->loop, &w->worker_settings, &w->workers), OK);
    workers_set_channel(w->workers, fake_open(&w->zygote));
    const struct inspector_environment inspection = {.loop = w->loop, .workers = w->workers};

    assert_int_equal(inspector_new(&inspection, &w->inspector), OK);
    assert_int_equal(exceptions_new(&w->exceptions), OK);
    w->decision_steps = 20000000;
    if (world_prepare)
        world_prepare(w);
    w->snapshot = world_snapshot(w, config, "yara 4.2.3 rules 1");
    const struct icap_server_environment env = {
        .loop = w->loop,
        .workers = w->workers,
        .inspector = w->inspector,
        .spool = &w->spool,
        .scans = w->scans,
        .scan_wait_ms = 100,
        .records = w->records,
        .metrics = w->metrics,
        .progress = w->progress,
        .logins = w->logins,
        .id_seed = 42,
    };

    assert_int_equal(icap_server_new(&env, w->snapshot, &w->server), OK);
    w->settings.tls = tls;
    world_listen(w);
    return w;
}

static inline void world_free(struct world *w)
{
    listener_free(w->listener);
    icap_server_free(w->server);
    icap_snapshot_unref(w->snapshot);
    exceptions_unref(w->exceptions);
    inspector_free(w->inspector);
    workers_free(w->workers);
    timer_clear(w->loop, &w->pace);
    for (unsigned i = 0; i < w->n_peers; i++) {
        if (w->peers[i].fd >= 0)
            (void)close(w->peers[i].fd);
        buf_done(&w->peers[i].in);
    }
    fake_close(&w->zygote);
    assert_int_equal(loop_group_connections(w->group, 0), 0);
    loop_free(w->loop);
    logins_free(w->logins);
    tenants_unref(w->tenants);
    loop_group_free(w->group);
    (void)close(w->listening);
    record_log_free(w->records);
    (void)close(w->record_fd);
    buf_done(&w->record_in);
    icap_progress_free(w->progress);
    metrics_free(w->metrics);
    (void)close(w->spool.dir_fd);
    assert_int_equal(rmdir(w->dir), 0);
    /* All that was taken has been given back, whatever happened. */
    assert_int_equal(budget_used(&w->memory), 0);
    assert_int_equal(budget_used(&w->spooled), 0);
    scan_slots_free(w->scans);
    block_set_budget(NULL);
    block_pool_trim(0);
    free(w);
}

/* ---- time ---- */

static inline void peer_read(struct peer *p)
{
    while (p->fd >= 0 && !p->deaf && !p->eof && !p->reset) {
        char *room = buf_reserve(&p->in, 65536);
        ssize_t n = recv(p->fd, room, 65536, MSG_DONTWAIT);

        if (n > 0)
            p->in.n += (size_t)n;
        else if (n == 0)
            p->eof = true;
        else if (errno == EAGAIN)
            return;
        else
            p->reset = true;
    }
}

static inline void world_step(struct world *w, bool wait)
{
    (void)loop_turn(w->loop, wait);
    fake_step(&w->zygote);
    for (unsigned i = 0; i < w->n_peers; i++)
        peer_read(&w->peers[i]);
}

#define WORLD_UNTIL(w, condition)                              \
    do {                                                       \
        unsigned turns_ = 0;                                   \
        while (!(condition)) {                                 \
            if (++turns_ > 5000)                               \
                fail_msg("never became true: %s", #condition); \
            world_step((w), turns_ % 4 == 0);                  \
        }                                                      \
    } while (0)

/* Enough turns for things that must not happen. */
static inline void world_settle(struct world *w)
{
    for (unsigned i = 0; i < 30; i++)
        world_step(w, false);
}

/* Lets |ms| pass in a few pieces. */
static inline void world_pass(struct world *w, uint64_t ms)
{
    world_settle(w);
    for (unsigned i = 0; i < 4; i++) {
        w->clock.now_ms += ms / 4;
        world_step(w, false);
        world_step(w, false);
    }
    w->clock.now_ms += ms % 4;
    world_settle(w);
}

/* ---- records ---- */

/* The next record; the caller json_decref()s it. */
static inline json_t *world_record(struct world *w)
{
    json_error_t error;
    json_t *j;
    size_t n;

    while ((n = span_find(buf_span(&w->record_in), '\n')) == w->record_in.n) {
        struct pollfd fd = {.fd = w->record_fd, .events = POLLIN};

        if (poll(&fd, 1, 10000) != 1)
            fail_msg("no record came");
        char *room = buf_reserve(&w->record_in, 65536);
        ssize_t got = read(w->record_fd, room, 65536);

        assert_true(got > 0);
        w->record_in.n += (size_t)got;
    }
    j = json_loadb(w->record_in.p, n, 0, &error);
    if (!j)
        fail_msg("a record is no JSON: %s", error.text);
    buf_drop(&w->record_in, n + 1);
    return j;
}

static inline const char *record_text(const json_t *j, const char *key)
{
    const char *text = json_string_value(json_object_get(j, key));

    return text ? text : "";
}

static inline uint64_t record_number(const json_t *j, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(j, key));
}

#endif
