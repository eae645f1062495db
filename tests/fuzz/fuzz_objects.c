/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_objects.c - tables of what is in a body, from a worker that may be an enemy's. Whatever
 * comes out lies inside the original or the derived bytes; and a table that was read to its end is,
 * once written again, the same bytes. */
#include <stdlib.h>

#include "adapt/objects.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_object(const struct object *o, uint64_t original_len, uint64_t derived_len)
{
    uint64_t whole = o->source == OBJECT_ORIGINAL ? original_len : derived_len;

    check(o->source == OBJECT_ORIGINAL || o->source == OBJECT_DERIVED);
    check(o->off <= whole && o->len <= whole - o->off);
    check(o->name.n <= OBJECT_NAME_MAX && o->declared.n <= OBJECT_TYPE_MAX &&
          o->sniffed.n <= OBJECT_TYPE_MAX);
    check(span_find(o->name, '\0') == o->name.n);
}

static void walk(struct span table, uint32_t n, uint64_t original_len, uint64_t derived_len)
{
    struct objects_reader r;
    struct object o;
    struct buf again;
    uint32_t seen = 0;
    enum err e;

    buf_init(&again, 0);
    objects_reader_init(&r, table, n, original_len, derived_len);
    while ((e = objects_next(&r, &o)) == OK) {
        check(++seen <= n);
        check_object(&o, original_len, derived_len);
        check(object_format(&o, &again) == OK);
    }
    check(e == ERR_EOF || e == ERR_SYNTAX);
    if (e == ERR_EOF)
        check(seen == n && span_eq(buf_span(&again), table));
    else
        check(again.n <= table.n);
    buf_done(&again);
}

/* The input is the memfd's end: the derived bytes (some, by the first byte), table, tail. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t off = 0, len = 0;
    uint32_t n = 0;
    struct span file = {(const char *)data, size};

    if (size < OBJECTS_TAIL) {
        check(objects_parse_tail(file, size, &off, &len, &n) == ERR_SYNTAX);
        return 0;
    }
    struct span tail = span_sub(file, size - OBJECTS_TAIL, OBJECTS_TAIL);

    walk(span_sub(file, 0, size - OBJECTS_TAIL), data[size - 1], data[0], 100);
    if (objects_parse_tail(tail, size, &off, &len, &n) != OK)
        return 0;
    check(off <= size && len <= size - off && off + len + OBJECTS_TAIL == size);
    walk(span_sub(file, (size_t)off, (size_t)len), n, data[0], off);
    return 0;
}
