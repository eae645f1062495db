/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_lmdb_item.h"

#include <errno.h>

#include "base/reader.h"

#define HEAD 16u /* version and expiry before each value */
#define NAME (STORE_SPACE_MAX + 1 + STORE_KEY_MAX)

static MDB_val val_of(const void *p, size_t n)
{
    return (MDB_val){.mv_size = n, .mv_data = (void *)(uintptr_t)p};
}

static struct span span_of_val(const MDB_val *v)
{
    return (struct span){v->mv_data, v->mv_size};
}

enum err lmdb_err(int rc)
{
    if (rc == 0)
        return OK;
    if (rc == MDB_MAP_FULL)
        return ERR_FULL;
    return rc > 0 ? err_from_errno(rc) : ERR_IO;
}

/* ---- names ---- */

struct name {
    char bytes[8 + NAME]; /* room for an expiry before it */
    size_t n;
};

static struct span name_span(const struct name *name)
{
    return (struct span){name->bytes + 8, name->n};
}

static void name_in(struct span space, struct span key, struct name *ret)
{
    struct writer w = writer_of(ret->bytes + 8, NAME);

    write_span(&w, space);
    write_u8(&w, 0);
    write_span(&w, key);
    ret->n = w.n;
}

/* |key| in the namespace of |op|; empty: where the namespace begins. */
static void name_make(const struct store_op *op, struct span key, struct name *ret)
{
    name_in(op->space, key, ret);
}

/* The key in "expiry": a big-endian time sorts as the time does. */
static MDB_val name_expiry(struct name *name, uint64_t expires_wall_ms)
{
    struct writer w = writer_of(name->bytes, 8);

    write_u64(&w, expires_wall_ms);
    return val_of(name->bytes, 8 + name->n);
}

/* ---- entries ---- */

/* What is at |name|; version 0: nothing, or it is over (|expires_wall_ms| says so). */
struct found {
    uint64_t version, expires_wall_ms;
    struct span value; /* until the next change */
};

static bool entry_parse(const MDB_val *data, struct found *ret)
{
    struct reader r = reader_of(data->mv_data, data->mv_size);

    ret->version = read_u64(&r);
    ret->expires_wall_ms = read_u64(&r);
    ret->value = read_span(&r, reader_left(&r));
    return r.err == OK;
}

/* A damaged entry is MDB_CORRUPTED. */
static int entry_get(const struct lmdb_view *v, const struct name *name, struct found *ret)
{
    MDB_val key = val_of(name->bytes + 8, name->n), data;
    int rc = mdb_get(v->txn, v->items, &key, &data);

    *ret = (struct found){0};
    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc == 0 && !entry_parse(&data, ret))
        rc = MDB_CORRUPTED;
    if (rc == 0 && store_is_over(ret->expires_wall_ms, v->now_wall_ms))
        ret->version = 0;
    return rc;
}

static int expiry_remove(const struct lmdb_view *v, struct name *name, const struct found *old)
{
    if (old->expires_wall_ms == 0)
        return 0;
    MDB_val key = name_expiry(name, old->expires_wall_ms);
    int rc = mdb_del(v->txn, v->expiry, &key, NULL);

    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int expiry_add(const struct lmdb_view *v, struct name *name, uint64_t expires_wall_ms)
{
    if (expires_wall_ms == 0)
        return 0;
    MDB_val key = name_expiry(name, expires_wall_ms), none = val_of("", 0);

    return mdb_put(v->txn, v->expiry, &key, &none, 0);
}

/* In place of |old|. |value| must not be in the environment: it may move. */
static int entry_put(struct lmdb_view *v, struct store_op *op, struct name *name,
                     const struct found *old, struct span value, uint64_t expires_wall_ms)
{
    MDB_val key = val_of(name->bytes + 8, name->n), data = {.mv_size = HEAD + value.n};
    int rc = expiry_remove(v, name, old);

    if (rc == 0)
        rc = mdb_put(v->txn, v->items, &key, &data, MDB_RESERVE);
    if (rc != 0)
        return rc;
    struct writer w = writer_of(data.mv_data, data.mv_size);

    write_u64(&w, v->version);
    write_u64(&w, expires_wall_ms);
    write_span(&w, value);
    op->reply.version = v->version++;
    return expiry_add(v, name, expires_wall_ms);
}

static int entry_del(struct lmdb_view *v, struct name *name, const struct found *old)
{
    MDB_val key = val_of(name->bytes + 8, name->n);
    int rc = mdb_del(v->txn, v->items, &key, NULL);

    v->version++;
    return rc == 0 ? expiry_remove(v, name, old) : rc;
}

/* ---- operations ---- */

static int run_get(struct lmdb_view *v, struct store_op *op, enum err *ret_err)
{
    struct name name;
    struct found f;

    name_make(op, op->key, &name);
    int rc = entry_get(v, &name, &f);

    if (rc != 0)
        return rc;
    const struct store_item item = {.key = op->key,
                                    .value = f.value,
                                    .version = f.version,
                                    .expires_wall_ms = f.expires_wall_ms};

    if (f.version == 0)
        *ret_err = ERR_MISSING;
    else
        (void)store_reply_add(op, &item);
    return 0;
}

static int run_put(struct lmdb_view *v, struct store_op *op, enum err *ret_err)
{
    struct name name;
    struct found f;

    name_make(op, op->key, &name);
    int rc = entry_get(v, &name, &f);

    if (rc != 0)
        return rc;
    *ret_err = store_check_version(op, f.version);
    if (!*ret_err && v->full)
        *ret_err = ERR_FULL;
    return *ret_err ? 0 : entry_put(v, op, &name, &f, op->value, op->expires_wall_ms);
}

static int run_del(struct lmdb_view *v, struct store_op *op, enum err *ret_err)
{
    struct name name;
    struct found f;

    name_make(op, op->key, &name);
    int rc = entry_get(v, &name, &f);

    if (rc != 0)
        return rc;
    *ret_err = store_check_version(op, f.version);
    return *ret_err ? 0 : entry_del(v, &name, &f);
}

static int run_incr(struct lmdb_view *v, struct store_op *op, enum err *ret_err)
{
    struct name name;
    struct found f;
    char digits[STORE_NUMBER_LEN + 1];
    struct span text = SPAN_NONE;

    name_make(op, op->key, &name);
    int rc = entry_get(v, &name, &f);

    if (rc != 0)
        return rc;
    *ret_err =
        v->full ? ERR_FULL : store_add_number(op, f.version ? f.value : SPAN_NONE, digits, &text);
    if (*ret_err)
        return 0;
    return entry_put(v, op, &name, &f, text, f.version ? f.expires_wall_ms : op->expires_wall_ms);
}

/* One entry that a list comes to. False: the list ends here. */
static bool list_item(struct lmdb_view *v, struct store_op *op, const MDB_val *key,
                      const MDB_val *data, int *ret_rc)
{
    struct span name = span_of_val(key);
    struct span own = span_sub(name, op->space.n + 1, SIZE_MAX);
    struct found f;

    *ret_rc = 0;
    if (name.n <= op->space.n || !span_starts(name, op->space) || name.p[op->space.n] != '\0' ||
        !span_starts(own, op->key))
        return false;
    if (!entry_parse(data, &f)) {
        *ret_rc = MDB_CORRUPTED;
        return false;
    }
    if (store_is_over(f.expires_wall_ms, v->now_wall_ms) ||
        (op->value.n && span_eq(own, op->value)))
        return true;
    const struct store_item item = {
        .key = own, .value = f.value, .version = f.version, .expires_wall_ms = f.expires_wall_ms};

    op->reply.more = op->reply.n_items == op->number || !store_reply_add(op, &item);
    return !op->reply.more;
}

static int run_list(struct lmdb_view *v, struct store_op *op, enum err *ret_err)
{
    MDB_cursor *cursor;
    struct name from;
    MDB_val data;
    int rc = mdb_cursor_open(v->txn, v->items, &cursor);

    (void)ret_err;
    if (rc != 0)
        return rc;
    name_make(op, store_key_order(op->value, op->key) > 0 ? op->value : op->key, &from);
    MDB_val key = val_of(from.bytes + 8, from.n);

    rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    while (rc == 0 && list_item(v, op, &key, &data, &rc))
        rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Its namespace has changed: so has the mark of that, if there is one. */
static int mark_change(struct lmdb_view *v, const struct store_op *op)
{
    struct name name;
    struct found f;

    name_in(SPAN(STORE_MARKS), op->space, &name);
    int rc = entry_get(v, &name, &f);

    if (rc != 0 || f.version == 0)
        return rc;
    MDB_val key = val_of(name.bytes + 8, name.n), data = {.mv_size = HEAD};

    rc = mdb_put(v->txn, v->items, &key, &data, MDB_RESERVE);
    if (rc != 0)
        return rc;
    struct writer w = writer_of(data.mv_data, data.mv_size);

    write_u64(&w, v->version++);
    write_u64(&w, 0);
    return 0;
}

int lmdb_run(struct lmdb_view *v, struct store_op *op, enum err *ret_err)
{
    static int (*const runs[])(struct lmdb_view * v, struct store_op * op, enum err * ret_err) = {
        [STORE_GET] = run_get,   [STORE_PUT] = run_put,   [STORE_DEL] = run_del,
        [STORE_INCR] = run_incr, [STORE_LIST] = run_list,
    };

    *ret_err = OK;
    store_reply_reset(op);
    int rc = runs[op->kind](v, op, ret_err);

    return rc == 0 && !*ret_err && store_is_marked(op) ? mark_change(v, op) : rc;
}

/* ---- what is over ---- */

bool lmdb_expiry_is_over(const struct lmdb_view *v, const MDB_val *key)
{
    struct reader r = reader_of(key->mv_data, key->mv_size);

    return store_is_over(read_u64(&r), v->now_wall_ms) || r.err;
}

/* Copied first: the changes move what the cursor shows. */
static int sweep_name(struct lmdb_view *v, const MDB_val *key)
{
    struct name name = {.n = key->mv_size - 8};
    struct found f;

    memcpy(name.bytes, key->mv_data, key->mv_size);
    MDB_val whole = val_of(name.bytes, key->mv_size);
    int rc = mdb_del(v->txn, v->expiry, &whole, NULL);

    if (rc == 0)
        rc = entry_get(v, &name, &f);
    if (rc != 0 || f.version != 0 || !store_is_over(f.expires_wall_ms, v->now_wall_ms))
        return rc; /* it was written anew since */
    MDB_val at = val_of(name_span(&name).p, name.n);

    rc = mdb_del(v->txn, v->items, &at, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int lmdb_sweep(struct lmdb_view *v, unsigned max, unsigned *ret_n)
{
    int rc = 0;

    for (*ret_n = 0; *ret_n < max && rc == 0; (*ret_n)++) {
        MDB_cursor *cursor;
        MDB_val key, data;

        rc = mdb_cursor_open(v->txn, v->expiry, &cursor);
        if (rc != 0)
            return rc;
        rc = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
        mdb_cursor_close(cursor);
        if (rc == MDB_NOTFOUND)
            return 0;
        if (rc == 0 && (key.mv_size <= 8 || key.mv_size > 8 + NAME))
            rc = MDB_CORRUPTED;
        if (rc == 0 && !lmdb_expiry_is_over(v, &key))
            return 0;
        if (rc == 0)
            rc = sweep_name(v, &key);
    }
    return rc;
}
