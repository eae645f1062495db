/* SPDX-License-Identifier: Apache-2.0 */
/* proc/gateway_tenant_command.c: a user is added while its tenant goes, somebody else changes it,
 * or the store fails. It has a tenant, it is not there, or whoever asked hears that it stayed. */
#include "test_net.h"

#include <poll.h>
#include <sys/un.h>

#include "proc/gateway_int.h"
#include "store/store_int.h"

#define VERIFIER                                           \
    "\"method\":\"pbkdf2-hmac-sha256\",\"rounds\":100000," \
    "\"salt\":\"00000000000000000000000000000000\","       \
    "\"hash\":\"0000000000000000000000000000000000000000000000000000000000000000\""
#define ADD "{\"command\":\"tenant-add\",\"tenant\":\"acme\",\"user\":\"ann\"," VERIFIER "}\n"

/* ---- a store in which things happen ---- */

struct world;

/* At the |nth| operation of its kind there (0: at each): |meanwhile| comes first, and then |err|
 * instead of it. */
struct event {
    enum store_op_kind kind;
    const char *space;
    unsigned nth;
    enum err err;
    void (*meanwhile)(struct world *w);
};

struct world {
    struct store base; /* what the gateway asks */
    struct store *inner;
    const struct event *events;
    unsigned seen[STORE_LIST + 1][2]; /* of tenants and of users */
    struct gateway_core gateway;
    struct loop *loop;
    struct control_server *server;
    char dir[48], path[64], answer[2048];
    int listening;
};

static void eventful_submit(struct store *s, struct store_op *op)
{
    struct world *w = CONTAINER_OF(s, struct world, base);
    bool tenants = span_eq(op->space, SPAN(TENANTS_SPACE));
    unsigned nth =
        tenants || span_eq(op->space, SPAN(USERS_SPACE)) ? ++w->seen[op->kind][!tenants] : 0;
    enum err e = OK;

    for (const struct event *v = w->events; nth && v->space && !e; v++) {
        if (v->kind != op->kind || !span_eq(op->space, span_of(v->space)) ||
            (v->nth && v->nth != nth))
            continue;
        if (v->meanwhile)
            v->meanwhile(w);
        e = v->err;
    }
    if (e)
        store_answer(op, e);
    else
        w->inner->backend->submit(w->inner, op);
}

static uint64_t eventful_changes(struct store *s)
{
    return store_changes(CONTAINER_OF(s, struct world, base)->inner);
}

static void eventful_free(struct store *s)
{
    store_free(CONTAINER_OF(s, struct world, base)->inner);
}

static const struct store_backend eventful = {
    .submit = eventful_submit, .changes = eventful_changes, .free = eventful_free};

/* ---- what others do ---- */

static void no_matter(void *arg, const struct store_reply *r)
{
    (void)arg;
    (void)r;
}

static void put(struct world *w, const char *space, const char *key, const struct buf *value)
{
    const struct store_asker by = {.loop = w->loop, .done = no_matter};
    const struct store_put p = {
        .key = span_of(key), .value = buf_span(value), .version = STORE_ANY};

    assert_int_equal(store_put(w->inner, space, &p, &by, NULL), OK);
}

static void touch_tenant(struct world *w)
{
    const struct tenant_record r = {.name = "acme", .key = "acme's key"};
    struct buf text;

    buf_init(&text, 0);
    tenant_record_format(&r, &text);
    put(w, TENANTS_SPACE, "acme", &text);
    buf_done(&text);
}

static void remove_tenant(struct world *w)
{
    const struct store_asker by = {.loop = w->loop, .done = no_matter};

    assert_int_equal(store_del(w->inner, TENANTS_SPACE, SPAN("acme"), STORE_ANY, &by, NULL), OK);
}

static void put_user(struct world *w, const char *tenant)
{
    struct credential c = {.user = "ann", .rounds = CREDENTIAL_ROUNDS_MIN, .disabled = true};
    struct buf text;

    (void)span_copy(span_of(tenant), c.tenant, sizeof c.tenant);
    buf_init(&text, 0);
    credential_format(&c, &text);
    put(w, USERS_SPACE, "ann", &text);
    buf_done(&text);
}

static void change_user(struct world *w)
{
    put_user(w, "acme");
}

static void move_user(struct world *w)
{
    put_user(w, "other");
}

/* Nothing more is taken, so that asking fails and not the answer. */
static void crowd(struct world *w)
{
    touch_tenant(w);
    atomic_store(&w->base.waiting, 2 * STORE_WAITING_MAX);
}

/* ---- the world ---- */

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    int errnum = 0;

    assert_non_null(w);
    (void)span_copy(SPAN("/tmp/test_tenant_command-XXXXXX"), w->dir, sizeof w->dir);
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->path, sizeof w->path, "%s/s", w->dir);
    assert_int_equal(control_listen(w->path, &w->listening, &errnum), OK);
    w->loop = test_loop(&clock_system);
    assert_int_equal(store_memory_new(&clock_system, 1 << 20, &w->inner), OK);
    w->base.backend = &eventful;
    w->gateway.config = calloc(1, sizeof *w->gateway.config);
    assert_non_null(w->gateway.config);
    w->gateway.config->refs = 1;
    w->gateway.keeper = (struct gateway_tenants){
        .gateway = &w->gateway, .store = &w->base, .loop = w->loop, .loaded = true};
    assert_int_equal(quotas_new(&w->gateway.keeper.quotas), OK);
    const struct control_handler h = {.command_later = gateway_tenant_command, .arg = &w->gateway};

    assert_int_equal(control_server_new(w->loop, w->listening, &h, &w->server), OK);
    touch_tenant(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    control_server_free(w->server);
    test_settle(w->loop);
    gateway_tenants_stop(&w->gateway);
    test_settle(w->loop);
    loop_free(w->loop);
    gateway_tenants_done(&w->gateway);
    free(w->gateway.config);
    (void)close(w->listening);
    (void)unlink(w->path);
    (void)rmdir(w->dir);
    free(w);
    return 0;
}

static void turn(struct world *w)
{
    struct pollfd nothing = {.fd = -1};

    (void)loop_turn(w->loop, false);
    (void)poll(&nothing, 0, 1);
}

static void add(struct world *w)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t n = -1;

    (void)span_copy(span_of(w->path), at.sun_path, sizeof at.sun_path);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(send(fd, ADD, strlen(ADD), MSG_NOSIGNAL), strlen(ADD));
    for (unsigned i = 0; i < 5000 && n < 0; i++) {
        turn(w);
        n = recv(fd, w->answer, sizeof w->answer - 1, MSG_DONTWAIT);
    }
    assert_true(n > 0);
    w->answer[n] = '\0';
    (void)close(fd);
}

struct found {
    bool told;
    char tenant[CREDENTIAL_TENANT_MAX + 1]; /* "": no such user */
};

static void on_user(void *arg, const struct store_reply *r)
{
    struct found *f = arg;
    struct credential c;

    f->told = true;
    if (r->err == ERR_MISSING)
        return;
    assert_int_equal(credential_parse(SPAN("ann"), r->items[0].value, &c), OK);
    (void)span_copy(span_of(c.tenant), f->tenant, sizeof f->tenant);
}

static void user_is_of(struct world *w, const char *tenant)
{
    struct found f = {.told = false};
    const struct store_asker by = {.loop = w->loop, .done = on_user, .arg = &f};

    assert_int_equal(store_get(w->inner, USERS_SPACE, SPAN("ann"), &by, NULL), OK);
    while (!f.told)
        turn(w);
    assert_string_equal(f.tenant, tenant);
}

/* ---- tests ---- */

#define TENANT_PUT STORE_PUT, TENANTS_SPACE
#define TENANT_GET STORE_GET, TENANTS_SPACE
#define USER_DEL   STORE_DEL, USERS_SPACE
#define USER_GET   STORE_GET, USERS_SPACE
#define GONE                             \
    {                                    \
        TENANT_PUT, 1, OK, remove_tenant \
    }
#define TOUCHED                         \
    {                                   \
        TENANT_PUT, 1, OK, touch_tenant \
    }

static const struct row {
    const char *name;
    struct event events[4];
    const char *answer, *tenant;
} rows[] = {
    {"nothing",                {{0}},                                      "\"ok\":true",               "acme" },
    {"the tenant was touched", {TOUCHED},                                  "\"ok\":true",               "acme" },
    {"the tenant went",        {GONE},                                     "at the same moment",        ""     },
    {"it is not confirmed",    {{TENANT_PUT, 1, ERR_IO, NULL}},            "so nothing was changed",    ""     },
    {"no second look",         {TOUCHED, {TENANT_GET, 2, ERR_IO, NULL}},   "so nothing was changed",    ""     },
    {"no second confirmation", {TOUCHED, {TENANT_PUT, 2, ERR_FULL, NULL}}, "full",                      ""     },
    {"the user was changed",   {GONE, {USER_DEL, 1, OK, change_user}},     "at the same moment",        ""     },
    {"it is another tenant's", {GONE, {USER_DEL, 1, OK, move_user}},       "at the same moment",        "other"},
    {"it stays",               {GONE, {USER_DEL, 1, ERR_IO, NULL}},        "'ann' is on the disk, but", "acme" },
    {"nothing can be done",    {{TENANT_PUT, 1, OK, crowd}},               "'ann' is on the disk, but", "acme" },
    {"it cannot be looked at",
     {GONE, {USER_DEL, 1, OK, change_user}, {USER_GET, 2, ERR_IO, NULL}},
     "'ann' is on the disk, but",                                                                       "acme" },
    {"it is changed for ever",
     {GONE, {USER_DEL, 0, OK, change_user}},
     "'ann' is on the disk, but",                                                                       "acme" },
};

static void test_no_user_without_a_tenant(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        print_message("%s\n", rows[i].name);
        if (i > 0) {
            (void)teardown(state);
            (void)setup(state);
        }
        struct world *w = *state;

        w->events = rows[i].events;
        add(w);
        if (!strstr(w->answer, rows[i].answer))
            fail_msg("not '%s': %s", rows[i].answer, w->answer);
        user_is_of(w, rows[i].tenant);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_no_user_without_a_tenant, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
