/* SPDX-License-Identifier: Apache-2.0 */
/* Exceptions as text: what people ask for, and the journal. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "adapt/exceptions_int.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/map.h"

static const char *const kind_names[] = {
    [EXCEPTION_ALLOW] = "exception",
    [EXCEPTION_BYPASS] = "bypass",
};

const char *exception_kind_name(enum exception_kind kind)
{
    return (unsigned)kind < ARRAY_LEN(kind_names) ? kind_names[kind] : "?";
}

/* Texts, in the order of the journal. */
static const struct text_member {
    const char *name;
    size_t off, cap;
    bool required;
    bool journal_only; /* nothing that a request may say */
} text_members[] = {
#define TEXT_MEMBER(member) \
#member, offsetof(struct exception, member), sizeof(((struct exception *)0)->member)
    {TEXT_MEMBER(id),        true,  true },
          {TEXT_MEMBER(by),        true,  true },
    {TEXT_MEMBER(reason),    true,  false},
          {TEXT_MEMBER(service),   false, false},
    {TEXT_MEMBER(sha256),    false, false},
          {TEXT_MEMBER(signature), false, false},
    {TEXT_MEMBER(host),      false, false},
          {TEXT_MEMBER(file),      false, false},
    {TEXT_MEMBER(client),    false, false},
          {TEXT_MEMBER(tenant),    false, false},
#undef TEXT_MEMBER
};

/* ---- writing ---- */

static void add_time(struct json *j, const char *key, uint64_t wall_ms)
{
    char text[ISO_TIME_LEN + 1];

    clock_iso_time(wall_ms, text);
    json_text(j, key, text);
}

void exception_json(const struct exception *e, struct json *j)
{
    json_text(j, "id", e->id);
    json_text(j, "kind", exception_kind_name(e->kind));
    add_time(j, "created", e->created_wall_ms);
    add_time(j, "expires", e->expires_wall_ms);
    for (size_t i = 1; i < ARRAY_LEN(text_members); i++) {
        const struct text_member *m = &text_members[i];
        const char *text = (const char *)e + m->off;

        if (m->required || text[0])
            json_text(j, m->name, text);
    }
}

void exception_format_add(const struct exception *e, struct buf *out)
{
    struct json j = json_to(out);

    json_open(&j, NULL, '{');
    json_text(&j, "op", "add");
    exception_json(e, &j);
    json_close(&j, '}');
    buf_char(out, '\n');
}

void exception_format_remove(const char *id, const char *by, uint64_t now_wall_ms, struct buf *out)
{
    struct json j = json_to(out);

    json_open(&j, NULL, '{');
    json_text(&j, "op", "remove");
    json_text(&j, "id", id);
    add_time(&j, "at", now_wall_ms);
    json_text(&j, "by", by);
    json_close(&j, '}');
    buf_char(out, '\n');
}

/* ---- reading members ---- */

/* A JSON object that becomes an exception. */
struct reading {
    struct exception e;
    bool journal; /* else a request */
    bool has_kind, has_created, has_expires;
    uint64_t now_wall_ms;
    struct buf *why;
};

static struct span string_of(const json_t *v)
{
    return (struct span){json_string_value(v), json_string_length(v)};
}

/* Bounded before it is parsed; nothing that says a thing twice. */
static enum err object_load(struct span text, json_t **ret)
{
    json_error_t error;
    json_t *root;

    if (text.n == 0 || text.n > EXCEPTION_REQUEST_MAX)
        return ERR_SYNTAX;
    root = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &error);
    if (!root && json_error_code(&error) == json_error_out_of_memory)
        return ERR_NOMEM;
    if (!json_is_object(root)) {
        json_decref(root);
        return ERR_SYNTAX;
    }
    *ret = root;
    return OK;
}

/* 90s, 30m, 8h, 7d. */
static enum err parse_duration(struct span text, uint64_t *ret_ms)
{
    static const struct {
        char name;
        uint64_t ms;
    } units[] = {
        {'s', 1000    },
        {'m', 60000   },
        {'h', 3600000 },
        {'d', 86400000}
    };
    uint64_t v;

    for (size_t i = 0; i < ARRAY_LEN(units) && text.n > 0; i++) {
        if (text.p[text.n - 1] != units[i].name)
            continue;
        TRY(span_u64(span_sub(text, 0, text.n - 1), UINT32_MAX, &v));
        *ret_ms = v * units[i].ms;
        return OK;
    }
    return ERR_SYNTAX;
}

static enum err read_kind(struct reading *r, struct span text)
{
    for (size_t i = 0; i < ARRAY_LEN(kind_names); i++) {
        if (!span_eq(text, span_of(kind_names[i])))
            continue;
        r->e.kind = (enum exception_kind)i;
        r->has_kind = true;
        return OK;
    }
    return exception_fault(r->why, "kind must be \"exception\" or \"bypass\"");
}

static enum err read_expires_in(struct reading *r, struct span text)
{
    uint64_t ms;

    if (r->has_expires)
        return exception_fault(r->why, "there are both expires and expires_in: say one of them");
    if (parse_duration(text, &ms) != OK ||
        __builtin_add_overflow(r->now_wall_ms, ms, &r->e.expires_wall_ms))
        return exception_fault(r->why,
                               "expires_in must be a number with its unit: 90s, 30m, 8h, 7d");
    r->has_expires = true;
    return OK;
}

static enum err read_expires(struct reading *r, struct span text)
{
    if (r->has_expires)
        return exception_fault(r->why, "there are both expires and expires_in: say one of them");
    if (clock_iso_parse(text, &r->e.expires_wall_ms) != OK)
        return exception_fault(r->why,
                               "expires must be a time in UTC, such as 2030-01-31T18:00:00Z");
    r->has_expires = true;
    return OK;
}

static enum err read_created(struct reading *r, struct span text)
{
    if (clock_iso_parse(text, &r->e.created_wall_ms) != OK)
        return exception_fault(r->why, "created must be a time in UTC");
    r->has_created = true;
    return OK;
}

static enum err read_text(struct reading *r, const struct text_member *m, struct span text)
{
    if (text.n == 0 && !(m->journal_only && m->required))
        return exception_fault(r->why, "%s is empty: fill it, or leave it out", m->name);
    if (text.n >= m->cap)
        return exception_fault(r->why, "%s is longer than %zu bytes", m->name, m->cap - 1);
    (void)span_copy(text, (char *)&r->e + m->off, m->cap);
    return OK;
}

static enum err read_unknown(struct reading *r, struct span name)
{
    (void)exception_fault(r->why,
                          "unknown member \"" SPAN_FMT "\"; there are kind, expires_in, "
                          "expires",
                          SPAN_ARG(span_sub(name, 0, 64)));
    for (size_t i = 0; i < ARRAY_LEN(text_members); i++)
        if (!text_members[i].journal_only)
            (void)exception_fault(r->why, ", %s", text_members[i].name);
    return ERR_CONFIG;
}

static enum err read_member(struct reading *r, struct span name, const json_t *v)
{
    struct span text = string_of(v);

    if (r->journal && span_eq(name, SPAN("op")))
        return OK; /* the caller has looked at it */
    for (size_t i = 0; i < ARRAY_LEN(text_members); i++) {
        const struct text_member *m = &text_members[i];

        if ((!r->journal && m->journal_only) || !span_eq(name, span_of(m->name)))
            continue;
        if (!json_is_string(v))
            return exception_fault(r->why, "%s must be a text in quotes", m->name);
        return read_text(r, m, text);
    }
    if (span_eq(name, SPAN("kind")))
        return read_kind(r, text);
    if (span_eq(name, SPAN("expires")))
        return read_expires(r, text);
    if (!r->journal && span_eq(name, SPAN("expires_in")))
        return read_expires_in(r, text);
    if (r->journal && span_eq(name, SPAN("created")))
        return read_created(r, text);
    return read_unknown(r, name);
}

static enum err read_object(struct reading *r, json_t *object)
{
    const char *name;
    json_t *v;

    json_object_foreach(object, name, v) TRY(read_member(r, span_of(name), v));
    if (!r->has_kind)
        return exception_fault(r->why, "kind is missing: \"exception\" or \"bypass\"");
    if (!r->has_expires)
        return exception_fault(r->why, "expires_in is missing: say for how long, such as 8h or 7d");
    return OK;
}

enum err exception_parse_request(struct span json, uint64_t now_wall_ms, struct exception *ret,
                                 struct buf *why)
{
    struct reading r = {.now_wall_ms = now_wall_ms, .why = why};
    json_t *object;
    enum err e = object_load(json, &object);

    if (e == ERR_NOMEM)
        return e;
    if (e)
        return exception_fault(why,
                               "a request must be one JSON object of at most %u bytes, without "
                               "members that come twice",
                               EXCEPTION_REQUEST_MAX);
    e = read_object(&r, object);
    json_decref(object);
    if (!e)
        *ret = r.e;
    return e;
}

/* ---- the journal ---- */

struct item {
    struct exception_entry *entry;
    char id[EXCEPTION_ID_LEN];
    UT_hash_handle hh; /* keeps the order of adding, too */
};

struct replay {
    struct item *items;
    uint64_t now_wall_ms;
    unsigned bad;
};

static struct item *item_find(struct replay *r, struct span id)
{
    struct item *i = NULL;

    HASH_FIND(hh, r->items, id.p, EXCEPTION_ID_LEN, i);
    return i;
}

static void item_remove(struct replay *r, struct item *i)
{
    HASH_DEL(r->items, i);
    exception_entry_unref(i->entry);
    free(i);
}

static enum err item_add(struct replay *r, const struct exception *e)
{
    struct item *i = mem_fail_now() ? NULL : calloc(1, sizeof *i);
    enum err err = i ? exception_entry_new(e, &i->entry) : ERR_NOMEM;

    if (!err) {
        memcpy(i->id, e->id, EXCEPTION_ID_LEN);
        HASH_ADD(hh, r->items, id, EXCEPTION_ID_LEN, i);
        if (i->hh.tbl)
            return OK;
        exception_entry_unref(i->entry);
        err = ERR_NOMEM;
    }
    free(i);
    return err;
}

static enum err replay_add(struct replay *r, json_t *object)
{
    struct reading reading = {.journal = true};
    struct exception *e = &reading.e;

    if (read_object(&reading, object) != OK || !reading.has_created ||
        !json_object_get(object, "by") || !exception_id_is_valid(span_of(e->id)) ||
        exception_check_forms(e, NULL) != OK || item_find(r, span_of(e->id)) ||
        HASH_COUNT(r->items) >= EXCEPTIONS_MAX) {
        r->bad++;
        return OK;
    }
    return e->expires_wall_ms > r->now_wall_ms ? item_add(r, e) : OK;
}

static bool is_remove(json_t *object)
{
    const char *name;
    json_t *v;

    json_object_foreach(object, name, v)
    {
        struct span n = span_of(name);
        bool known = span_eq(n, SPAN("op")) || span_eq(n, SPAN("id")) || span_eq(n, SPAN("at")) ||
                     span_eq(n, SPAN("by"));

        if (!known || !json_is_string(v))
            return false;
    }
    return span_eq(string_of(json_object_get(object, "op")), SPAN("remove"));
}

/* A removal, or something that only a newer version knows: in both cases what |id| names is not
 * what it was. A removal of what has expired or could not be read finds nothing. */
static void replay_other(struct replay *r, json_t *object)
{
    struct span id = string_of(json_object_get(object, "id"));
    bool valid = exception_id_is_valid(id);
    struct item *i = valid ? item_find(r, id) : NULL;

    if (i)
        item_remove(r, i);
    if (!valid || !is_remove(object))
        r->bad++;
}

static enum err replay_line(struct replay *r, struct span line)
{
    json_t *object;
    enum err e;

    if (line.n == 0) /* a writer that found a cut line began with LF */
        return OK;
    e = object_load(line, &object);
    if (e == ERR_NOMEM)
        return e;
    if (e) {
        r->bad++;
        return OK;
    }
    if (span_eq(string_of(json_object_get(object, "op")), SPAN("add")))
        e = replay_add(r, object);
    else
        replay_other(r, object);
    json_decref(object);
    return e;
}

static enum err replay_set(const struct replay *r, struct exceptions **ret)
{
    size_t n = HASH_COUNT(r->items), at = 0;
    struct exception_entry **v = mem_fail_now() ? NULL : malloc((n + 1) * sizeof *v);
    enum err e;

    if (!v)
        return ERR_NOMEM;
    for (const struct item *i = r->items; i; i = i->hh.next)
        v[at++] = i->entry;
    assert(at == n);
    e = exceptions_of(v, n, ret);
    free(v);
    return e;
}

enum err exceptions_parse(struct span journal, uint64_t now_wall_ms, struct exceptions **ret,
                          unsigned *ret_bad_lines)
{
    struct replay r = {.now_wall_ms = now_wall_ms};
    struct span rest = journal;
    enum err e = OK;

    while (rest.p && !e)
        e = replay_line(&r, span_cut(&rest, '\n'));
    if (!e)
        e = replay_set(&r, ret);
    if (!e)
        *ret_bad_lines = r.bad;
    while (r.items)
        item_remove(&r, r.items);
    return e;
}
