/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/gateway_tenants.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "proc/gateway_int.h"

#define LOOK_MS    1000u
#define LOAD_MS    10000u /* at the start: a store that takes longer is broken */
#define NO_READ_MS 60000u
#define RETRY_MS   30000u
#define PUTS_MAX   256u /* records for rows that are on their way at once */
#define ROUNDS_MAX 3u

/* Everything, read page by page. */
struct tenants_load {
    struct gateway_tenants *keeper;
    const char *space; /* being listed */
    uint64_t changes;
    uint64_t marks[2]; /* of |spaces|: looked at before these are read */
    unsigned n_marks;
    uint64_t seen; /* a hash of what is read */
    bool quiet;    /* nobody asked for it: it is published only if something is new */
    unsigned rounds;
    struct tenant_record *records;
    size_t n_records, cap_records;
    struct credential *credentials;
    size_t n_credentials, cap_credentials;
    unsigned bad;
    char after[STORE_KEY_MAX];
    size_t n_after;
    size_t next_row;
    unsigned puts;
    bool again;        /* somebody else made a record meanwhile */
    enum err row_err;  /* of a record for a row */
    struct task *then; /* who waits for this one */
};

static const char *const spaces[] = {TENANTS_SPACE, USERS_SPACE};

/* One record for a row, on its way. */
struct row_put {
    struct tenants_load *load;
    struct tenant_record record;
};

static void load_ask(struct tenants_load *l);
static void load_rows(struct tenants_load *l);
static void load_begin(struct gateway_tenants *t);
static void begin_run(struct task *task);

/* ---- sets ---- */

static void set_release(void *owner)
{
    gateway_config_unref(owner);
}

enum err gateway_tenants_make(struct gateway_core *g, struct gateway_config *config,
                              struct tenants **ret)
{
    const struct gateway_tenants *t = &g->keeper;
    const struct tenants_source src = {
        .rows = config->settings.tenants,
        .n_rows = config->settings.n_tenants,
        .records = t->records,
        .n_records = t->n_records,
        .credentials = t->credentials,
        .n_credentials = t->n_credentials,
        .quotas = t->quotas,
        .release = set_release,
        .owner = config,
    };

    TRY(tenants_new(&src, ret));
    (void)gateway_config_ref(config);
    return OK;
}

void gateway_tenants_take(struct gateway_core *g, struct tenants *set)
{
    struct tenants *old = g->tenants;

    g->tenants = set;
    tenants_limit(set);
    if (g->keeper.changed)
        g->keeper.changed(g, set);
    tenants_unref(old);
}

bool gateway_tenants_has_row(const struct gateway_core *g, const char *name)
{
    const struct settings *s = &g->config->settings;

    for (size_t i = 0; i < s->n_tenants; i++)
        if (strcmp(s->tenants[i].name, name) == 0)
            return true;
    return false;
}

enum err gateway_tenants_record(const char *name, struct tenant_record *ret)
{
    struct tenant_record r = {.created_wall_ms = clock_wall_ms(&clock_system)};

    (void)span_copy(span_of(name), r.name, sizeof r.name);
    if (getrandom(r.key, sizeof r.key, 0) != (ssize_t)sizeof r.key)
        return ERR_IO;
    *ret = r;
    return OK;
}

/* ---- the end of a load ---- */

static void forget(void *p, size_t n)
{
    if (p)
        explicit_bzero(p, n);
    free(p);
}

static void load_free(struct tenants_load *l)
{
    forget(l->records, l->cap_records * sizeof *l->records);
    forget(l->credentials, l->cap_credentials * sizeof *l->credentials);
    free(l);
}

static void run_waiting(struct gateway_tenants *t, struct task *first)
{
    while (first) {
        struct task *next = first->next;

        loop_defer(t->loop, first);
        first = next;
    }
}

static int credential_order(const void *a, const void *b)
{
    const struct credential *x = a, *y = b;
    int c = strcmp(x->tenant, y->tenant);

    return c ? c : strcmp(x->user, y->user);
}

/* What was read is what is known from now on. */
static void load_keep(struct tenants_load *l)
{
    struct gateway_tenants *t = l->keeper;

    if (l->n_credentials)
        qsort(l->credentials, l->n_credentials, sizeof *l->credentials, credential_order);
    forget(t->records, t->n_records * sizeof *t->records);
    forget(t->credentials, t->n_credentials * sizeof *t->credentials);
    t->records = l->records;
    t->n_records = l->n_records;
    t->credentials = l->credentials;
    t->n_credentials = l->n_credentials;
    l->records = NULL;
    l->credentials = NULL;
    l->cap_records = l->cap_credentials = 0;
}

static enum err load_publish(struct tenants_load *l)
{
    struct gateway_tenants *t = l->keeper;
    struct tenants *set = NULL;

    load_keep(l);
    TRY(gateway_tenants_make(t->gateway, t->gateway->config, &set));
    t->seen = l->seen; /* only what is in force is as before */
    gateway_tenants_take(t->gateway, set);
    log_debug("tenants", "read: %zu tenants, %zu users", tenants_count(set),
              tenants_credentials(set));
    if (l->bad)
        log_warn("tenants", "%u records of the store cannot be read and are left out", l->bad);
    return OK;
}

static void complain(struct gateway_tenants *t, enum err e, const char *what)
{
    static struct log_limit limit;
    uint64_t held;

    if (t->loaded && e != ERR_ABORTED &&
        log_limit_pass(&limit, loop_now_ms(t->loop), NO_READ_MS, &held))
        log_error("tenants", "%s: %s; it is tried again each second", what, err_text(e));
}

/* Other things are written into the store, too. */
static bool is_as_before(const struct tenants_load *l)
{
    return l->quiet && !l->then && l->keeper->loaded && l->seen == l->keeper->seen;
}

/* With |e| everything stays as it was, and is tried again: |changes| is not taken over. */
static void load_end(struct tenants_load *l, enum err e)
{
    struct gateway_tenants *t = l->keeper;
    struct task *then = l->then;

    if (!e && !t->store)
        e = ERR_ABORTED; /* the gateway ends */
    else if (!e && !is_as_before(l))
        e = load_publish(l);
    if (e)
        complain(t, e, "the store cannot be read; tenants and users stay as they were");
    else if (l->row_err)
        complain(t, l->row_err, "a tenant of the configuration cannot be added to the store");
    if (!e) {
        t->changes = l->changes;
        memcpy(t->marks, l->marks, sizeof t->marks);
    }
    t->retry_ms = loop_now_ms(t->loop) + RETRY_MS;
    t->first_err = e ? e : l->row_err;
    t->loaded |= t->first_err == OK;
    load_free(l);
    t->load = NULL;
    run_waiting(t, then);
    if ((t->waiting || t->wanted) && t->store && !t->begin.run) {
        t->begin.run = begin_run; /* on a turn of its own */
        loop_defer(t->loop, &t->begin);
    }
}

/* ---- reading ---- */

/* Room for one more; NULL: no memory. The old array may have secrets. */
static void *grow(void *array, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return array;
    size_t more = *cap ? 2 * *cap : 16;
    void *fresh = calloc(more, size);

    if (!fresh)
        return NULL;
    if (n)
        memcpy(fresh, array, n * size);
    forget(array, *cap * size);
    *cap = more;
    return fresh;
}

static enum err add_record(struct tenants_load *l, const struct tenant_record *r)
{
    struct tenant_record *v = grow(l->records, l->n_records, &l->cap_records, sizeof *l->records);

    if (!v)
        return ERR_NOMEM;
    l->records = v;
    v[l->n_records++] = *r;
    return OK;
}

static enum err read_tenant(struct tenants_load *l, const struct store_item *item)
{
    struct tenant_record r;

    TRY(tenant_record_parse(item->key, item->value, &r));
    r.version = item->version;
    return add_record(l, &r);
}

static enum err read_user(struct tenants_load *l, const struct store_item *item)
{
    struct credential c;

    TRY(credential_parse(item->key, item->value, &c));
    c.version = item->version;
    struct credential *v =
        grow(l->credentials, l->n_credentials, &l->cap_credentials, sizeof *l->credentials);

    if (v) {
        l->credentials = v;
        v[l->n_credentials++] = c;
    }
    explicit_bzero(&c, sizeof c);
    return v ? OK : ERR_NOMEM;
}

static void note_item(struct tenants_load *l, const struct store_item *item)
{
    const struct {
        uint64_t before, version;
    } key = {l->seen, item->version};
    uint8_t bytes[16];

    memcpy(bytes, &key, sizeof bytes);
    l->seen = siphash24(bytes, item->key.p, item->key.n);
    memcpy(bytes, &l->seen, sizeof l->seen);
    l->seen = siphash24(bytes, item->value.p, item->value.n);
}

/* One that cannot be read is left out: whoever it is about stays outside. */
static enum err read_items(struct tenants_load *l, const struct store_reply *r)
{
    bool users = strcmp(l->space, USERS_SPACE) == 0;

    for (size_t i = 0; i < r->n_items; i++) {
        note_item(l, &r->items[i]);
        enum err e = users ? read_user(l, &r->items[i]) : read_tenant(l, &r->items[i]);

        if (e == ERR_PROTO)
            l->bad++;
        else
            TRY(e);
    }
    if (r->n_items)
        l->n_after = span_copy(r->items[r->n_items - 1].key, l->after, sizeof l->after);
    return OK;
}

static void on_page(void *arg, const struct store_reply *r)
{
    struct tenants_load *l = arg;
    enum err e = r->err ? r->err : read_items(l, r);

    if (e) {
        load_end(l, e);
        return;
    }
    if (!r->more) {
        if (strcmp(l->space, USERS_SPACE) == 0) {
            load_rows(l);
            return;
        }
        l->space = USERS_SPACE;
        l->n_after = 0;
    }
    load_ask(l);
}

static void load_ask(struct tenants_load *l)
{
    struct gateway_tenants *t = l->keeper;
    const struct store_asker by = {.loop = t->loop, .done = on_page, .arg = l};
    const struct store_range all = {
        .after = {l->after, l->n_after},
          .max = STORE_LIST_MAX
    };
    enum err e = t->store ? store_list(t->store, l->space, &all, &by, NULL) : ERR_ABORTED;

    if (e)
        load_end(l, e);
}

/* ---- has anything changed? ---- */

/* Jobs of printers are written into the store, too, and change nothing here. */
static bool is_unchanged(const struct tenants_load *l)
{
    const struct gateway_tenants *t = l->keeper;

    return l->quiet && !l->then && t->loaded && !t->first_err && l->marks[0] && l->marks[1] &&
           l->marks[0] == t->marks[0] && l->marks[1] == t->marks[1];
}

static void load_marks(struct tenants_load *l);

/* Without a mark everything is read each time. */
static void on_mark(void *arg, const struct store_reply *r)
{
    struct tenants_load *l = arg;
    uint64_t mark = r->n_items ? r->items[0].version : r->version; /* of get; of put */

    l->marks[l->n_marks++] = r->err ? 0 : mark;
    load_marks(l);
}

static void on_old_mark(void *arg, const struct store_reply *r)
{
    struct tenants_load *l = arg;
    struct gateway_tenants *t = l->keeper;
    const struct store_asker by = {.loop = t->loop, .done = on_mark, .arg = l};
    const struct store_put fresh = {.key = span_of(spaces[l->n_marks])};

    if (r->err != ERR_MISSING || !t->store ||
        store_put(t->store, STORE_MARKS, &fresh, &by, NULL) != OK)
        on_mark(l, r);
}

static void load_marks(struct tenants_load *l)
{
    struct gateway_tenants *t = l->keeper;
    const struct store_asker by = {.loop = t->loop, .done = on_old_mark, .arg = l};
    enum err e = OK;

    if (l->n_marks < ARRAY_LEN(spaces)) {
        e = t->store ? store_get(t->store, STORE_MARKS, span_of(spaces[l->n_marks]), &by, NULL)
                     : ERR_ABORTED;
        if (e)
            load_end(l, e);
    } else if (is_unchanged(l)) {
        l->seen = t->seen;
        load_end(l, OK);
    } else {
        load_ask(l);
    }
}

static void load_read(struct tenants_load *l)
{
    l->space = TENANTS_SPACE;
    l->n_after = l->n_records = l->n_credentials = 0;
    l->bad = 0;
    l->seen = 0;
    l->next_row = 0;
    l->again = false;
    l->row_err = OK;
    l->n_marks = 0;
    l->changes = store_changes(l->keeper->store);
    load_marks(l);
}

static void load_begin(struct gateway_tenants *t)
{
    struct tenants_load *l = calloc(1, sizeof *l);

    if (!l) {
        complain(t, ERR_NOMEM, "the store cannot be read");
        run_waiting(t, t->waiting);
        t->waiting = NULL;
        return;
    }
    l->keeper = t;
    l->then = t->waiting;
    t->waiting = NULL;
    t->wanted = false;
    t->load = l;
    load_read(l);
}

static void begin_run(struct task *task)
{
    struct gateway_tenants *t = CONTAINER_OF(task, struct gateway_tenants, begin);

    t->begin.run = NULL; /* not queued any more */
    if (t->store && !t->load && (t->waiting || t->wanted))
        load_begin(t);
    if (!t->store) { /* the gateway ends */
        run_waiting(t, t->waiting);
        t->waiting = NULL;
    }
}

/* ---- rows without a record ---- */

static bool has_record(const struct tenants_load *l, const char *name)
{
    size_t from = 0, to = l->n_records;

    while (from < to) { /* the store lists them in order; those that were added stand behind */
        size_t middle = from + (to - from) / 2;
        int c = strcmp(name, l->records[middle].name);

        if (c == 0)
            return true;
        if (c < 0)
            to = middle;
        else
            from = middle + 1;
    }
    return false;
}

static void rows_progress(struct tenants_load *l)
{
    if (l->puts > 0)
        return;
    if (l->again && ++l->rounds < ROUNDS_MAX && l->keeper->store)
        load_read(l);
    else
        load_end(l, OK);
}

static void on_row(void *arg, const struct store_reply *r)
{
    struct row_put *p = arg;
    struct tenants_load *l = p->load;

    l->puts--;
    if (r->err == OK)
        log_info("tenants", "tenant '%s' of the configuration was added to the store",
                 p->record.name);
    if (r->err == OK || r->err == ERR_CONFLICT)
        l->again = true;
    else
        l->row_err = r->err;
    forget(p, sizeof *p);
    load_rows(l);
}

static enum err row_put(struct tenants_load *l, const char *name)
{
    struct gateway_tenants *t = l->keeper;
    struct row_put *p = calloc(1, sizeof *p);
    const struct store_asker by = {.loop = t->loop, .done = on_row, .arg = p};
    struct buf text;

    if (!p)
        return ERR_NOMEM;
    p->load = l;
    buf_init_secret(&text, 0);
    enum err e = gateway_tenants_record(name, &p->record);

    tenant_record_format(&p->record, &text);
    const struct store_put put = {.key = span_of(name), .value = buf_span(&text)};

    if (!e)
        e = text.err;
    if (!e)
        e = t->store ? store_put(t->store, TENANTS_SPACE, &put, &by, NULL) : ERR_ABORTED;
    buf_done(&text);
    if (e)
        forget(p, sizeof *p);
    else
        l->puts++;
    return e;
}

/* As many at once as may be; the answers come back here. */
static void load_rows(struct tenants_load *l)
{
    const struct settings *s = &l->keeper->gateway->config->settings;

    while (l->next_row < s->n_tenants && l->puts < PUTS_MAX && !l->row_err) {
        const char *name = s->tenants[l->next_row++].name;

        if (!has_record(l, name))
            l->row_err = row_put(l, name);
    }
    rows_progress(l);
}

/* ---- changes ---- */

void gateway_tenants_reload(struct gateway_core *g, struct task *then)
{
    struct gateway_tenants *t = &g->keeper;

    if (then) {
        then->next = t->waiting;
        t->waiting = then;
    }
    if (!t->store) {
        run_waiting(t, t->waiting);
        t->waiting = NULL;
    } else if (!t->load) {
        load_begin(t);
    } else {
        t->wanted = true;
    }
}

static void on_look(struct timer *timer)
{
    struct gateway_tenants *t = CONTAINER_OF(timer, struct gateway_tenants, look);

    timer_set(t->loop, timer, loop_now_ms(t->loop) + LOOK_MS);
    gateway_store_look(t->gateway);
    bool again = t->first_err && loop_now_ms(t->loop) >= t->retry_ms;

    if (!t->load && (again || store_changes(t->store) != t->changes))
        load_begin(t);
    else
        return;
    if (t->load)
        t->load->quiet = !again;
}

/* Somebody else changed the user meanwhile: then that counts, and the next login looks again. */
static void on_upgraded(void *arg, const struct store_reply *r)
{
    struct gateway_core *g = arg;

    if (r->err && r->err != ERR_CONFLICT)
        complain(&g->keeper, r->err, "a verifier with more rounds cannot be kept");
}

void gateway_tenants_upgrade(struct gateway_core *g, const struct credential *c)
{
    struct gateway_tenants *t = &g->keeper;
    const struct store_asker by = {.loop = t->loop, .done = on_upgraded, .arg = g};
    struct buf text;

    if (!t->store)
        return;
    buf_init_secret(&text, 0);
    credential_format(c, &text);
    const struct store_put put = {
        .key = span_of(c->user), .value = buf_span(&text), .version = c->version};
    enum err e = text.err ? text.err : store_put(t->store, USERS_SPACE, &put, &by, NULL);

    if (e)
        complain(t, e, "a verifier with more rounds cannot be kept");
    else
        log_info("tenants", "user '%s' logged in: its verifier has %u rounds now", c->user,
                 c->rounds);
    buf_done(&text);
}

/* ---- start ---- */

/* The files are opened, and made, as the user that works on them afterwards: root follows no path
 * into a directory that a lesser user can write to. */
static enum err become(const struct settings *s, bool lesser, struct buf *why)
{
    const struct passwd *p = s->user && getuid() == 0 ? getpwnam(s->user) : NULL;
    uid_t uid = p && lesser ? p->pw_uid : getuid();
    gid_t gid = p && lesser ? p->pw_gid : getgid();

    if (!p && s->user && getuid() == 0) {
        buf_fmt(why, "user '%s' does not exist\n", s->user);
        return ERR_CONFIG;
    }
    if (!p)
        return OK;
    if (lesser ? setegid(gid) == 0 && seteuid(uid) == 0 : seteuid(uid) == 0 && setegid(gid) == 0)
        return OK;
    buf_fmt(why, "cannot become the user '%s' to open the store\n", s->user);
    return ERR_POLICY;
}

static enum err open_store(struct gateway_core *g, int fd, struct buf *why)
{
    char path[64];
    const struct store_lmdb_settings set = {
        .path = path, .bytes_max = g->config->settings.store.size, .clock = &clock_system};
    struct buf said;

    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    buf_init(&said, 0);
    enum err e = store_lmdb_new(&set, &g->keeper.store, &said);

    if (e)
        buf_fmt(why, "cannot open the store, STATE/store: %s\n",
                said.n ? buf_cstr(&said) : err_text(e));
    buf_done(&said);
    return e;
}

enum err gateway_tenants_open(struct gateway_core *g, int fd, struct buf *why)
{
    struct gateway_tenants *t = &g->keeper;

    *t = (struct gateway_tenants){.gateway = g, .look = {.fire = on_look}};
    if (fd < 0)
        return gateway_fail(why, ERR_PROTO, "the supervisor sent no directory for the store");
    TRY(quotas_new(&t->quotas));
    TRY(become(&g->config->settings, true, why));
    enum err e = open_store(g, fd, why);

    TRY(become(&g->config->settings, false, why));
    return e;
}

static void on_late(struct timer *t)
{
    t->at_ms = UINT64_MAX;
}

/* On a loop of its own: the others are made of what is read here. */
static enum err load_first(struct gateway_tenants *t)
{
    struct timer late = {.fire = on_late};
    uint64_t end;

    TRY(loop_new(0, &clock_system, &t->loop));
    end = loop_now_ms(t->loop) + LOAD_MS;
    timer_set(t->loop, &late, end); /* the loop has something to wait for */
    load_begin(t);
    while (t->load && clock_mono_ms(&clock_system) < end)
        (void)loop_turn(t->loop, true);
    timer_clear(t->loop, &late);
    return t->load ? ERR_TIMEOUT : t->first_err;
}

enum err gateway_tenants_load(struct gateway_core *g, struct buf *why)
{
    struct gateway_tenants *t = &g->keeper;
    enum err e = store_start(t->store);

    if (!e)
        e = load_first(t);
    if (e) { /* before the loop, which gets the answers */
        store_free(t->store);
        t->store = NULL;
    }
    loop_free(t->loop);
    t->loop = NULL;
    if (e)
        return gateway_fail(why, e, "the store, STATE/store, cannot be read or written");
    return OK;
}

void gateway_tenants_start(struct gateway_core *g)
{
    struct gateway_tenants *t = &g->keeper;

    t->loop = g->loops[0].loop;
    timer_set(t->loop, &t->look, loop_now_ms(t->loop) + LOOK_MS);
}

/* ---- end ---- */

void gateway_tenants_stop(struct gateway_core *g)
{
    struct gateway_tenants *t = &g->keeper;
    struct store *s = t->store;

    if (t->loop)
        timer_clear(t->loop, &t->look);
    t->changed = NULL;
    t->store = NULL; /* nobody asks any more */
    store_free(s);
}

void gateway_tenants_done(struct gateway_core *g)
{
    struct gateway_tenants *t = &g->keeper;

    tenants_unref(g->tenants);
    g->tenants = NULL;
    forget(t->records, t->n_records * sizeof *t->records);
    forget(t->credentials, t->n_credentials * sizeof *t->credentials);
    quotas_free(t->quotas);
}
