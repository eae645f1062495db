/* SPDX-License-Identifier: Apache-2.0 */
/* store_lmdb.c - an LMDB environment and the one thread that works on it: it takes all that waits,
 * does it in one transaction, commits (which is on the disk then), and answers. Readers are on the
 * same thread, so that nobody holds an old state of the file for long, and the map may be moved
 * when another process made it larger.
 *
 * A transaction that fails takes all of its batch with it; then each operation gets one of its own,
 * and those that do not fit or cannot be are the only ones that hear of it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "store/store_lmdb_item.h"

#define BATCH_MAX     256u       /* operations of one transaction */
#define TIDY_S        30         /* between two sweeps */
#define SWEEP_MAX     1000u      /* entries of one sweep */
#define SPARE_BYTES   (1u << 20) /* of the map beyond bytes_max: taking out needs room, too */
#define SPARE_PAGES   64u        /* free pages inside the file, below which it counts as full */
#define VERSION_SHIFT 16         /* a version is the transaction's number and one within it */

struct lmdb_store {
    struct store base;
    const struct clock *clock;
    uint64_t bytes_max;
    MDB_env *env;
    MDB_dbi items, expiry;
    _Atomic bool tight;       /* the file */
    pthread_mutex_t map_lock; /* held while the map may move, and to look into it from outside */
    pthread_mutex_t lock;     /* guards what follows */
    pthread_cond_t wake;
    struct store_op *first, **last;
    bool stop;
    /* the thread's */
    pthread_t thread;
    bool thread_started;
};

static struct lmdb_store *lmdb_of(struct store *s)
{
    return CONTAINER_OF(s, struct lmdb_store, base);
}

/* ---- transactions ---- */

/* Another process may have made the map larger than ours is. */
static int map_adopt(struct lmdb_store *s)
{
    (void)pthread_mutex_lock(&s->map_lock);
    int rc = mdb_env_set_mapsize(s->env, 0);

    (void)pthread_mutex_unlock(&s->map_lock);
    return rc;
}

static int txn_begin(struct lmdb_store *s, bool writes, MDB_txn **ret)
{
    unsigned flags = writes ? 0 : MDB_RDONLY;
    int rc = mdb_txn_begin(s->env, NULL, flags, ret);

    if (rc == MDB_MAP_RESIZED && (rc = map_adopt(s)) == 0)
        rc = mdb_txn_begin(s->env, NULL, flags, ret);
    if (rc == MDB_READERS_FULL && mdb_reader_check(s->env, NULL) == 0)
        rc = mdb_txn_begin(s->env, NULL, flags, ret);
    return rc;
}

/* Pages that were given back within the file: the list of them is LMDB's database 0, each record a
 * count and that many numbers. */
static int pages_free(MDB_txn *txn, size_t *ret)
{
    MDB_cursor *cursor;
    MDB_val key, data;
    int rc = mdb_cursor_open(txn, 0, &cursor);

    *ret = 0;
    if (rc != 0)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        size_t n = 0;

        memcpy(&n, data.mv_data, data.mv_size < sizeof n ? data.mv_size : sizeof n);
        *ret += n;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* By which the file may grow. */
static int pages_beyond(struct lmdb_store *s, size_t *ret_size, size_t *ret)
{
    MDB_envinfo info;
    MDB_stat stat;
    int rc = mdb_env_info(s->env, &info);

    if (rc == 0)
        rc = mdb_env_stat(s->env, &stat);
    if (rc != 0)
        return rc;
    size_t used = info.me_last_pgno + 1, max = s->bytes_max / stat.ms_psize;

    *ret_size = stat.ms_psize;
    *ret = max > used ? max - used : 0;
    return 0;
}

/* Those inside the file are counted only where the others, |beyond|, are fewer than |enough|. LMDB
 * shows its free pages to readers only, so that is a transaction of its own. */
static int look_room(struct lmdb_store *s, size_t beyond, size_t enough, size_t *ret)
{
    MDB_txn *txn;
    size_t n = 0;

    *ret = beyond;
    if (beyond >= enough)
        return 0;
    int rc = txn_begin(s, false, &txn);

    if (rc != 0)
        return rc;
    rc = pages_free(txn, &n);
    mdb_txn_abort(txn);
    *ret += n;
    return rc;
}

/* Is the file as large as it may be, and (nearly) nothing free in it? */
static int look_full(struct lmdb_store *s, bool *ret)
{
    size_t page = 0, beyond = 0, room = 0;
    int rc = pages_beyond(s, &page, &beyond);

    *ret = false;
    if (rc != 0 || beyond >= SPARE_PAGES)
        return rc;
    rc = look_room(s, 0, SPARE_PAGES, &room);
    *ret = room < SPARE_PAGES;
    return rc;
}

/* Before it is full. */
static void look_tight(struct lmdb_store *s)
{
    size_t page = 0, beyond = 0, room = 0, enough = 0;
    int rc = pages_beyond(s, &page, &beyond);

    if (rc == 0) {
        enough = SPARE_PAGES + STORE_RESERVE / page;
        rc = look_room(s, beyond, enough, &room);
    }
    if (rc == 0)
        atomic_store_explicit(&s->tight, room < enough, memory_order_relaxed);
}

static int view_open(struct lmdb_store *s, bool writes, struct lmdb_view *ret)
{
    *ret = (struct lmdb_view){.items = s->items, .expiry = s->expiry};
    int rc = writes ? look_full(s, &ret->full) : 0;

    if (rc == 0)
        rc = txn_begin(s, writes, &ret->txn);
    if (rc != 0)
        return rc;
    ret->now_wall_ms = clock_wall_ms(s->clock);
    ret->version = ((uint64_t)mdb_txn_id(ret->txn) << VERSION_SHIFT) + 1;
    return 0;
}

static int view_close(struct lmdb_view *v, bool writes, int rc)
{
    if (rc == 0 && writes)
        return mdb_txn_commit(v->txn);
    mdb_txn_abort(v->txn);
    return rc;
}

/* ---- batches ---- */

static bool batch_writes(struct store_op *const *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (store_is_change(v[i]))
            return true;
    return false;
}

/* All of |v| or, when it returns something else than 0, none. |outcomes|: one each. */
static int batch_try(struct lmdb_store *s, struct store_op *const *v, size_t n, enum err *outcomes)
{
    struct lmdb_view view;
    bool writes = batch_writes(v, n);
    int rc = view_open(s, writes, &view);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = lmdb_run(&view, v[i], &outcomes[i]);
    return view_close(&view, writes, rc);
}

static void batch_run(struct lmdb_store *s, struct store_op *const *v, size_t n)
{
    enum err outcomes[BATCH_MAX];
    int rc = batch_try(s, v, n, outcomes);

    if (batch_writes(v, n))
        look_tight(s);
    for (size_t i = 0; i < n; i++) {
        int own = rc == 0 ? 0 : n == 1 ? rc : batch_try(s, &v[i], 1, &outcomes[i]);

        store_answer(v[i], own == 0 ? outcomes[i] : lmdb_err(own));
    }
}

/* ---- what nobody asked for ---- */

static void sweep(struct lmdb_store *s)
{
    struct lmdb_view view;
    unsigned n = SWEEP_MAX;
    int rc = 0;

    while (rc == 0 && n == SWEEP_MAX) {
        rc = view_open(s, true, &view);
        if (rc != 0)
            return;
        n = 0;
        rc = lmdb_sweep(&view, SWEEP_MAX, &n);
        (void)view_close(&view, true, rc == 0 && n == 0 ? MDB_NOTFOUND : rc);
    }
}

/* Is there anything that is over? Looks only, for a change is a sync of the disk. */
static bool has_expired(struct lmdb_store *s)
{
    struct lmdb_view view;
    MDB_cursor *cursor;
    MDB_val key = {0}, data;
    bool found = false;

    if (view_open(s, false, &view) != 0)
        return false;
    if (mdb_cursor_open(view.txn, view.expiry, &cursor) == 0) {
        found = mdb_cursor_get(cursor, &key, &data, MDB_FIRST) == 0;
        if (found)
            found = lmdb_expiry_is_over(&view, &key);
        mdb_cursor_close(cursor);
    }
    (void)view_close(&view, false, 0);
    return found;
}

/* ---- the thread ---- */

static size_t batch_take(struct lmdb_store *s, struct store_op **v)
{
    size_t n = 0;

    while (n < BATCH_MAX && s->first) {
        v[n++] = s->first;
        s->first = s->first->next;
    }
    if (!s->first)
        s->last = &s->first;
    return n;
}

/* Waits for work; 0: it is time to tidy up, or the end. */
static size_t work_wait(struct lmdb_store *s, const struct timespec *until, struct store_op **v,
                        bool *ret_stop)
{
    int r = 0;

    (void)pthread_mutex_lock(&s->lock);
    while (!s->first && !s->stop && r != ETIMEDOUT)
        r = pthread_cond_timedwait(&s->wake, &s->lock, until);
    size_t n = s->stop ? 0 : batch_take(s, v);

    *ret_stop = s->stop;
    (void)pthread_mutex_unlock(&s->lock);
    return n;
}

static bool is_past(const struct timespec *t)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > t->tv_sec || (now.tv_sec == t->tv_sec && now.tv_nsec >= t->tv_nsec);
}

static void *lmdb_thread(void *arg)
{
    struct lmdb_store *s = arg;
    struct store_op *v[BATCH_MAX];
    struct timespec next = {0};
    bool stop = false;

    (void)prctl(PR_SET_NAME, "store");
    while (!stop) {
        if (is_past(&next)) {
            (void)mdb_reader_check(s->env, NULL); /* of processes that were killed */
            if (has_expired(s))
                sweep(s);
            look_tight(s);
            (void)clock_gettime(CLOCK_MONOTONIC, &next);
            next.tv_sec += TIDY_S;
        }
        size_t n = work_wait(s, &next, v, &stop);

        if (n > 0)
            batch_run(s, v, n);
    }
    return NULL;
}

/* ---- backend ---- */

static enum err lmdb_start(struct store *base)
{
    struct lmdb_store *s = lmdb_of(base);
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&s->thread, NULL, lmdb_thread, s);

    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    s->thread_started = r == 0;
    return r == 0 ? OK : ERR_NOMEM;
}

static void lmdb_submit(struct store *base, struct store_op *op)
{
    struct lmdb_store *s = lmdb_of(base);
    bool more = op->more; /* |op| may be gone once it is in the queue */

    op->next = NULL;
    (void)pthread_mutex_lock(&s->lock);
    *s->last = op;
    s->last = &op->next;
    if (!more)
        (void)pthread_cond_signal(&s->wake);
    (void)pthread_mutex_unlock(&s->lock);
}

static uint64_t lmdb_changes(struct store *base)
{
    struct lmdb_store *s = lmdb_of(base);
    MDB_envinfo info = {0};

    (void)pthread_mutex_lock(&s->map_lock);
    (void)mdb_env_info(s->env, &info);
    (void)pthread_mutex_unlock(&s->map_lock);
    return info.me_last_txnid;
}

/* Others fill it, too: so it is looked at whenever somebody wants to know. */
static bool lmdb_is_tight(struct store *base)
{
    const struct lmdb_store *s = lmdb_of(base);
    struct statvfs v;
    int fd = -1;

    if (atomic_load_explicit(&s->tight, memory_order_relaxed))
        return true;
    if (mdb_env_get_fd(s->env, &fd) != 0 || fstatvfs(fd, &v) != 0 || v.f_blocks == 0)
        return false; /* not told */
    return v.f_bavail < STORE_RESERVE / v.f_frsize;
}

static void lmdb_free(struct store *base)
{
    struct lmdb_store *s = lmdb_of(base);

    (void)pthread_mutex_lock(&s->lock);
    s->stop = true;
    (void)pthread_cond_signal(&s->wake);
    (void)pthread_mutex_unlock(&s->lock);
    if (s->thread_started)
        (void)pthread_join(s->thread, NULL);
    while (s->first) {
        struct store_op *op = s->first;

        s->first = op->next;
        store_answer(op, ERR_ABORTED);
    }
    mdb_env_close(s->env);
    (void)pthread_cond_destroy(&s->wake);
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_mutex_destroy(&s->map_lock);
    free(s);
}

static const struct store_backend lmdb_backend = {
    .start = lmdb_start,
    .submit = lmdb_submit,
    .changes = lmdb_changes,
    .is_tight = lmdb_is_tight,
    .free = lmdb_free,
};

/* ---- opening ---- */

static int databases_open(struct lmdb_store *s)
{
    MDB_txn *txn = NULL;
    int rc = txn_begin(s, true, &txn);

    if (rc == 0)
        rc = mdb_dbi_open(txn, "items", MDB_CREATE, &s->items);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "expiry", MDB_CREATE, &s->expiry);
    if (rc == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

/* The names of new files are on the disk before what is in them counts. */
static int directory_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || fsync(fd) != 0 ? errno : 0;

    if (fd >= 0)
        (void)close(fd);
    return r;
}

static int environment_open(struct lmdb_store *s, const struct store_lmdb_settings *set)
{
    int rc = mdb_env_create(&s->env), dead;

    if (rc == 0)
        rc = mdb_env_set_mapsize(s->env, (set->bytes_max + SPARE_BYTES) & ~(SPARE_BYTES - 1));
    if (rc == 0)
        rc = mdb_env_set_maxdbs(s->env, 2);
    if (rc == 0)
        rc = mdb_env_open(s->env, set->path, MDB_NOTLS, 0600);
    if (rc == 0)
        rc = mdb_reader_check(s->env, &dead);
    if (rc == 0)
        rc = databases_open(s);
    return rc == 0 ? directory_sync(set->path) : rc;
}

static int locks_init(struct lmdb_store *s)
{
    pthread_condattr_t attr;

    if (pthread_mutex_init(&s->lock, NULL) != 0 || pthread_mutex_init(&s->map_lock, NULL) != 0 ||
        pthread_condattr_init(&attr) != 0)
        return ENOMEM;
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int r = pthread_cond_init(&s->wake, &attr);

    (void)pthread_condattr_destroy(&attr);
    return r;
}

static void say_why(int rc, struct buf *why)
{
    if (rc == MDB_VERSION_MISMATCH || rc == MDB_INVALID || rc == MDB_CORRUPTED ||
        rc == MDB_PAGE_NOTFOUND)
        buf_fmt(why,
                "data.mdb or lock.mdb is not one that this version can read: %s; put the "
                "directory back from a copy, or move it away to begin with an empty one",
                mdb_strerror(rc));
    else
        buf_text(why, mdb_strerror(rc));
}

enum err store_lmdb_new(const struct store_lmdb_settings *set, struct store **ret, struct buf *why)
{
    struct lmdb_store *s = calloc(1, sizeof *s);

    if (!s)
        return ERR_NOMEM;
    s->base.backend = &lmdb_backend;
    s->clock = set->clock;
    s->bytes_max = set->bytes_max;
    s->last = &s->first;
    int rc = locks_init(s);

    if (rc == 0)
        rc = environment_open(s, set);
    if (rc != 0) {
        say_why(rc, why);
        if (s->env)
            mdb_env_close(s->env);
        free(s);
        return lmdb_err(rc);
    }
    *ret = &s->base;
    return OK;
}
