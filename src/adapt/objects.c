/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/objects.h"

#include <string.h>

#define OBJECTS_MAGIC 0x534f424au /* "SOBJ" */

static bool text_is_sound(struct span s)
{
    return span_find(s, '\0') == s.n;
}

static bool object_is_sound(const struct object *o)
{
    uint64_t end;

    return (o->source == OBJECT_ORIGINAL || o->source == OBJECT_DERIVED) &&
           o->role >= OBJECT_BODY && o->role <= OBJECT_FIELD &&
           !__builtin_add_overflow(o->off, o->len, &end) && text_is_sound(o->name) &&
           text_is_sound(o->declared) && text_is_sound(o->sniffed);
}

bool object_is_nameless_file(const struct object *o)
{
    if (o->role != OBJECT_FIELD || o->len == 0)
        return false;
    if (o->sniffed.n == 0)
        return o->len > OBJECT_TYPED_MAX;
    return !span_starts(o->sniffed, SPAN("text/")) && !span_ends(o->sniffed, SPAN("/x-empty"));
}

enum err object_format(const struct object *o, struct buf *table)
{
    uint8_t bytes[OBJECT_ENTRY_MIN + OBJECT_NAME_MAX + 2 * OBJECT_TYPE_MAX];
    struct writer w = writer_of(bytes, sizeof bytes);

    if (!object_is_sound(o))
        return ERR_BUG;
    if (o->name.n > OBJECT_NAME_MAX || o->declared.n > OBJECT_TYPE_MAX ||
        o->sniffed.n > OBJECT_TYPE_MAX)
        return ERR_LIMIT;
    write_u8(&w, (uint8_t)((unsigned)o->source << 4 | (unsigned)o->role));
    write_u64(&w, o->off);
    write_u64(&w, o->len);
    write_u8(&w, (uint8_t)o->name.n);
    write_u8(&w, (uint8_t)o->declared.n);
    write_u8(&w, (uint8_t)o->sniffed.n);
    write_span(&w, o->name);
    write_span(&w, o->declared);
    write_span(&w, o->sniffed);
    if (w.err == OK)
        buf_add(table, writer_span(&w));
    return w.err == OK ? table->err : w.err;
}

void objects_format_tail(uint64_t table_off, uint32_t n, struct buf *out)
{
    uint8_t bytes[OBJECTS_TAIL];
    struct writer w = writer_of(bytes, sizeof bytes);

    write_u64(&w, table_off);
    write_u32(&w, n);
    write_u32(&w, OBJECTS_MAGIC);
    buf_add(out, writer_span(&w));
}

enum err objects_parse_tail(struct span tail, uint64_t file_len, uint64_t *ret_off,
                            uint64_t *ret_len, uint32_t *ret_n)
{
    struct reader r = reader_of(tail.p, tail.n);
    uint64_t off = read_u64(&r);
    uint32_t n = read_u32(&r), magic = read_u32(&r);

    if (r.err || reader_left(&r) || magic != OBJECTS_MAGIC || file_len < OBJECTS_TAIL ||
        off > file_len - OBJECTS_TAIL)
        return ERR_SYNTAX;
    uint64_t len = file_len - OBJECTS_TAIL - off;

    if (n > OBJECTS_MAX || len > OBJECTS_TABLE_MAX || len < (uint64_t)n * OBJECT_ENTRY_MIN)
        return ERR_SYNTAX;
    *ret_off = off;
    *ret_len = len;
    *ret_n = n;
    return OK;
}

void objects_reader_init(struct objects_reader *o, struct span table, uint32_t n,
                         uint64_t original_len, uint64_t derived_len)
{
    *o = (struct objects_reader){.r = reader_of(table.p, table.n),
                                 .original_len = original_len,
                                 .derived_len = derived_len,
                                 .left = n};
}

static bool range_is_inside(const struct objects_reader *r, const struct object *o)
{
    uint64_t whole = o->source == OBJECT_ORIGINAL ? r->original_len : r->derived_len;

    return o->off <= whole && o->len <= whole - o->off;
}

enum err objects_next(struct objects_reader *o, struct object *ret)
{
    struct reader *r = &o->r;
    struct object v;

    if (o->left == 0)
        return r->err == OK && reader_left(r) == 0 ? ERR_EOF : ERR_SYNTAX;
    unsigned what = read_u8(r);

    v.source = (enum object_source)(what >> 4);
    v.role = (enum object_role)(what & 15);
    v.off = read_u64(r);
    v.len = read_u64(r);
    size_t name = read_u8(r), declared = read_u8(r), sniffed = read_u8(r);

    v.name = read_span(r, name);
    v.declared = read_span(r, declared);
    v.sniffed = read_span(r, sniffed);
    if (r->err == OK && (declared > OBJECT_TYPE_MAX || sniffed > OBJECT_TYPE_MAX ||
                         !object_is_sound(&v) || !range_is_inside(o, &v)))
        r->err = ERR_SYNTAX;
    if (r->err)
        return ERR_SYNTAX;
    o->left--;
    *ret = v;
    return OK;
}
