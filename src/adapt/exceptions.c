/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/exceptions.h"

#include <assert.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "adapt/exceptions_int.h"
#include "adapt/rules.h"
#include "adapt/url_normal.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/utf8.h"

#define SHA256_HEX 64u

struct exception_entry {
    _Atomic unsigned refs;
    struct exception e;
    struct cidr client; /* when e.client is not empty */
};

struct exceptions {
    _Atomic unsigned refs;
    size_t n, n_bypass;
    struct exception_entry *v[]; /* |n| in their order, then those that are a BYPASS again */
};

/* ---- is it one ---- */

enum err exception_fault(struct buf *why, const char *fmt, ...)
{
    va_list ap;

    if (why) {
        va_start(ap, fmt);
        buf_vfmt(why, fmt, ap);
        va_end(ap);
    }
    return ERR_CONFIG;
}

bool exception_id_is_valid(struct span id)
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] == '\0' || !strchr(digits, id.p[i]))
            return false;
    return id.n == EXCEPTION_ID_LEN;
}

/* Printable: what a terminal shows is what is there. */
static bool is_plain_text(struct span s)
{
    if (!utf8_is_valid(s))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        /* C0, DEL, and C1 (U+0080..U+009F) */
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xa0))
            return false;
    }
    return true;
}

static enum err check_text(const char *name, const char *text, size_t cap, struct buf *why)
{
    size_t n = strnlen(text, cap);

    if (n == cap)
        return exception_fault(why, "%s is longer than %zu bytes", name, cap - 1);
    if (!is_plain_text((struct span){text, n}))
        return exception_fault(why, "%s must be UTF-8 text without control characters", name);
    return OK;
}

static enum err check_texts(const struct exception *e, struct buf *why)
{
    TRY(check_text("by", e->by, sizeof e->by, why));
    TRY(check_text("reason", e->reason, sizeof e->reason, why));
    TRY(check_text("service", e->service, sizeof e->service, why));
    TRY(check_text("sha256", e->sha256, sizeof e->sha256, why));
    TRY(check_text("signature", e->signature, sizeof e->signature, why));
    TRY(check_text("host", e->host, sizeof e->host, why));
    TRY(check_text("file", e->file, sizeof e->file, why));
    TRY(check_text("client", e->client, sizeof e->client, why));
    return check_text("tenant", e->tenant, sizeof e->tenant, why);
}

static enum err check_sha256(char *text, struct buf *why)
{
    size_t n = strlen(text);

    for (size_t i = 0; i < n; i++)
        if (char_hex(text[i]) < 0)
            n = 0;
    if (n != SHA256_HEX)
        return exception_fault(why, "sha256 must be 64 hexadecimal digits: copy it from the record "
                                    "of the blocked file");
    for (size_t i = 0; i < n; i++)
        text[i] = char_lower(text[i]);
    return OK;
}

/* As DNS has them, and with '_', which some have anyway. */
static bool is_host_name(struct span name)
{
    struct span label;

    while (name.p) {
        label = span_cut(&name, '.');
        for (size_t i = 0; i < label.n; i++) {
            char c = label.p[i];

            if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
                return false;
        }
        if (label.n == 0)
            return false;
    }
    return true;
}

static enum err check_host(char text[EXCEPTION_TEXT_MAX], struct buf *why)
{
    struct span host = span_of(text);
    size_t dot = span_starts(host, SPAN("."));
    struct url_host h = {.n = 0};
    bool good = url_host_normal(span_sub(host, dot, SIZE_MAX), &h) == OK;

    if (good && h.address)
        good = dot == 0; /* there is nothing below an address */
    else if (good)
        good = is_host_name((struct span){h.text, h.n});
    if (!good || dot + h.n >= EXCEPTION_TEXT_MAX)
        return exception_fault(why, "host must be a name (in its xn-- form) or an address, without "
                                    "scheme, port, path and '*': \"files.example\" is that one, "
                                    "\".example\" also everything below");
    memcpy(text + dot, h.text, h.n);
    text[dot + h.n] = '\0';
    return OK;
}

static enum err check_client(const char *text, struct buf *why)
{
    struct cidr net;

    if (cidr_parse(span_of(text), &net) != OK)
        return exception_fault(why, "client must be an address or a network, such as 192.0.2.7, "
                                    "192.0.2.0/24 or 2001:db8::/32, with zeros behind its prefix");
    return OK;
}

/* Holds for less than everything. */
static bool glob_narrows(const char *glob)
{
    return glob[strspn(glob, "*?")] != '\0';
}

static bool client_narrows(const char *client)
{
    struct cidr net;

    return *client && cidr_parse(span_of(client), &net) == OK && net.prefix > 0;
}

static enum err check_allow(const struct exception *e, struct buf *why)
{
    if (e->sha256[0] || e->host[0] || glob_narrows(e->signature) || glob_narrows(e->file) ||
        client_narrows(e->client))
        return OK;
    return exception_fault(
        why, "an exception needs at least one of sha256, signature, host, file, client (and more "
             "than '*' or /0): one for everything would be a bypass; use `sallyport bypass`");
}

static enum err check_bypass(const struct exception *e, struct buf *why)
{
    if (!e->service[0])
        return exception_fault(why, "a bypass needs the name of a service: there is none for all "
                                    "of them");
    if (e->sha256[0] || e->host[0] || e->signature[0] || e->file[0] || e->client[0] || e->tenant[0])
        return exception_fault(why, "a bypass is for a whole service and takes no conditions; use "
                                    "`sallyport exception` for single files, hosts or clients");
    return OK;
}

enum err exception_check_forms(struct exception *e, struct buf *why)
{
    TRY(check_texts(e, why));
    if (span_trim(span_of(e->reason)).n == 0)
        return exception_fault(why, "reason is missing: say why, for whoever finds this later");
    if (e->sha256[0])
        TRY(check_sha256(e->sha256, why));
    if (e->host[0])
        TRY(check_host(e->host, why));
    if (e->client[0])
        TRY(check_client(e->client, why));
    switch (e->kind) {
    case EXCEPTION_ALLOW: return check_allow(e, why);
    case EXCEPTION_BYPASS: return check_bypass(e, why);
    }
    return exception_fault(why, "kind must be \"exception\" or \"bypass\"");
}

/* "365d", "36h", "90s": in the largest unit that divides it. */
static void add_duration(struct buf *out, uint64_t ms)
{
    static const struct {
        uint64_t ms;
        const char *name;
    } units[] = {
        {86400000, "d" },
        {3600000,  "h" },
        {60000,    "m" },
        {1000,     "s" },
        {1,        "ms"}
    };
    size_t i = 0;

    while (ms % units[i].ms != 0)
        i++;
    buf_dec(out, ms / units[i].ms);
    buf_text(out, units[i].name);
}

static enum err check_times(const struct exception *e, uint64_t now_wall_ms, uint64_t max_ms,
                            struct buf *why)
{
    char text[ISO_TIME_LEN + 1];

    clock_iso_time(e->expires_wall_ms, text);
    if (e->expires_wall_ms <= now_wall_ms)
        return exception_fault(why,
                               "it would have expired at %s already: say for how long it shall "
                               "hold, such as 8h or 7d",
                               text);
    if (e->expires_wall_ms - now_wall_ms <= max_ms)
        return OK;
    (void)exception_fault(why, "it would hold until %s, and at most ", text);
    if (why)
        add_duration(why, max_ms);
    return exception_fault(why, " are allowed: take less, and renew it when it is still needed");
}

enum err exception_check(struct exception *e, uint64_t now_wall_ms, uint64_t max_ms,
                         struct buf *why)
{
    struct exception checked = *e;

    TRY(exception_check_forms(&checked, why));
    TRY(check_times(e, now_wall_ms, max_ms, why));
    *e = checked;
    return OK;
}

/* ---- entries ---- */

enum err exception_entry_new(const struct exception *e, struct exception_entry **ret)
{
    struct cidr client = {.prefix = 0};
    struct exception_entry *n;

    if (e->client[0] && cidr_parse(span_of(e->client), &client) != OK)
        return ERR_CONFIG;
    n = mem_fail_now() ? NULL : malloc(sizeof *n);
    if (!n)
        return ERR_NOMEM;
    *n = (struct exception_entry){.e = *e, .client = client};
    atomic_init(&n->refs, 1);
    *ret = n;
    return OK;
}

static struct exception_entry *entry_ref(struct exception_entry *e)
{
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    return e;
}

void exception_entry_unref(struct exception_entry *e)
{
    if (e && atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) == 1)
        free(e);
}

const struct exception *exception_of(const struct exception_entry *e)
{
    return &e->e;
}

/* ---- sets ---- */

enum err exceptions_of(struct exception_entry *const *v, size_t n, struct exceptions **ret)
{
    size_t n_bypass = 0;

    assert(n <= EXCEPTIONS_MAX);
    for (size_t i = 0; i < n; i++)
        n_bypass += v[i]->e.kind == EXCEPTION_BYPASS;
    struct exceptions *s =
        mem_fail_now() ? NULL
                       : malloc(sizeof *s + (n + n_bypass) * sizeof(struct exception_entry *));

    if (!s)
        return ERR_NOMEM;
    atomic_init(&s->refs, 1);
    s->n = n;
    s->n_bypass = 0;
    for (size_t i = 0; i < n; i++) {
        s->v[i] = entry_ref(v[i]);
        if (v[i]->e.kind == EXCEPTION_BYPASS)
            s->v[n + s->n_bypass++] = v[i];
    }
    *ret = s;
    return OK;
}

enum err exceptions_new(struct exceptions **ret)
{
    return exceptions_of(NULL, 0, ret);
}

struct exceptions *exceptions_ref(struct exceptions *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void exceptions_unref(struct exceptions *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < s->n; i++)
        exception_entry_unref(s->v[i]);
    free(s);
}

size_t exceptions_count(const struct exceptions *s)
{
    return s->n;
}

const struct exception *exceptions_at(const struct exceptions *s, size_t i)
{
    return i < s->n ? &s->v[i]->e : NULL;
}

static size_t index_of(const struct exceptions *s, const char *id)
{
    size_t i = 0;

    while (i < s->n && strcmp(s->v[i]->e.id, id) != 0)
        i++;
    return i;
}

const struct exception *exceptions_find(const struct exceptions *s, const char *id)
{
    return exceptions_at(s, index_of(s, id));
}

/* |s| without what has expired and the one at |without|, then |plus| (NULL: nothing). */
static enum err set_change(const struct exceptions *s, size_t without, struct exception_entry *plus,
                           uint64_t now_wall_ms, struct exceptions **ret)
{
    struct exception_entry **v = mem_fail_now() ? NULL : malloc((s->n + 1) * sizeof *v);
    enum err e = ERR_LIMIT;
    size_t n = 0;

    if (!v)
        return ERR_NOMEM;
    for (size_t i = 0; i < s->n; i++)
        if (i != without && s->v[i]->e.expires_wall_ms > now_wall_ms)
            v[n++] = s->v[i];
    if (plus)
        v[n++] = plus;
    if (n <= EXCEPTIONS_MAX)
        e = exceptions_of(v, n, ret);
    free(v);
    return e;
}

enum err exceptions_with(const struct exceptions *s, const struct exception *e,
                         uint64_t now_wall_ms, struct exceptions **ret)
{
    struct exception checked = *e;
    struct exception_entry *plus;
    enum err err;

    if (!exception_id_is_valid((struct span){e->id, strnlen(e->id, sizeof e->id)}) ||
        exceptions_find(s, e->id))
        return ERR_BUG;
    /* What stands in a set must be what a journal can bring back. */
    TRY(exception_check_forms(&checked, NULL));
    TRY(exception_entry_new(&checked, &plus));
    err = set_change(s, SIZE_MAX, plus, now_wall_ms, ret);
    exception_entry_unref(plus);
    return err;
}

enum err exceptions_without(const struct exceptions *s, const char *id, uint64_t now_wall_ms,
                            struct exceptions **ret)
{
    size_t i = index_of(s, id);

    return i == s->n ? ERR_MISSING : set_change(s, i, NULL, now_wall_ms, ret);
}

/* ---- matching ---- */

static bool signature_holds(const char *glob, const struct facts *f)
{
    const struct scan_result *r = f->result;
    unsigned blocking = 0;

    if (!f->has_body_facts || !r || r->incomplete || r->n_findings >= FINDINGS_MAX)
        return false;
    for (unsigned i = 0; i < r->n_findings; i++) {
        const struct finding *g = &r->findings[i];

        if (g->note)
            continue;
        if (!glob_match_within(span_of(glob),
                               (struct span){g->name, strnlen(g->name, sizeof g->name)}, f->steps))
            return false;
        blocking++;
    }
    return blocking > 0;
}

/* Each FILE's name matches, and none is without one; a table that cannot be read holds for nothing.
 */
static bool objects_hold(struct span glob, const struct facts *f, size_t *ret_files)
{
    const struct object_table *t = f->objects;
    struct objects_reader reader;
    struct object o;
    enum err e = OK;

    objects_reader_init(&reader, (struct span){t->bytes, t->len}, t->n, t->original_len,
                        t->derived_len);
    while (steps_take(f->steps, STEPS_OBJECT) && (e = objects_next(&reader, &o)) == OK) {
        if (object_is_nameless_file(&o))
            return false;
        if (o.role != OBJECT_FILE)
            continue;
        if (!glob_match_within(glob, o.name, f->steps))
            return false;
        ++*ret_files;
    }
    return e == ERR_EOF;
}

static bool file_holds(const char *text, const struct facts *f)
{
    struct span glob = span_of(text);
    size_t names = f->name.n > 0;

    /* A form whose parts nobody knows: the name is the sender's choice alone. */
    if (f->has_body_facts && span_istarts(f->declared, SPAN("multipart/")) &&
        (!f->objects || !f->result || f->result->incomplete))
        return false;
    if (f->name_unknown || (f->name.n > 0 && !glob_match_within(glob, f->name, f->steps)))
        return false;
    if (f->has_body_facts && f->objects && !objects_hold(glob, f, &names))
        return false;
    return names > 0 && !steps_are_out(f->steps);
}

static bool sha256_holds(const char *sha256, const struct facts *f)
{
    return f->has_body_facts && span_eq(span_of(sha256), span_of(f->sha256));
}

static bool is_in_force(const struct exception *e, const char *service, uint64_t now_wall_ms)
{
    return now_wall_ms < e->expires_wall_ms && (!e->service[0] || strcmp(e->service, service) == 0);
}

static bool conditions_hold(const struct exception_entry *n, const struct facts *f)
{
    const struct exception *e = &n->e;

    return (!e->tenant[0] || span_eq(span_of(e->tenant), f->tenant)) &&
           (!e->client[0] || cidr_contains(&n->client, &f->client)) &&
           (!e->sha256[0] || sha256_holds(e->sha256, f)) &&
           (!e->host[0] || host_match(span_of(e->host), f->host)) &&
           (!e->signature[0] || signature_holds(e->signature, f)) &&
           (!e->file[0] || file_holds(e->file, f));
}

const struct exception *exceptions_match_still(const struct exceptions *s,
                                               const struct exceptions *still, const char *service,
                                               const struct facts *f, uint64_t now_wall_ms)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct exception_entry *n = s->v[i];

        if (n->e.kind == EXCEPTION_ALLOW && is_in_force(&n->e, service, now_wall_ms) &&
            conditions_hold(n, f) && (s == still || exceptions_find(still, n->e.id)))
            return &n->e;
    }
    return NULL;
}

const struct exception *exceptions_match(const struct exceptions *s, const char *service,
                                         const struct facts *f, uint64_t now_wall_ms)
{
    return exceptions_match_still(s, s, service, f, now_wall_ms);
}

const struct exception *exceptions_bypass(const struct exceptions *s, const char *service,
                                          uint64_t now_wall_ms)
{
    for (size_t i = 0; i < s->n_bypass; i++) {
        const struct exception *e = &s->v[s->n + i]->e;

        if (is_in_force(e, service, now_wall_ms))
            return e;
    }
    return NULL;
}
