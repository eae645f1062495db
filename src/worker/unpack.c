/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/unpack.h"

#include <stdio.h>
#include <string.h>

#include "worker/decode.h"
#include "worker/engine.h"
#include "worker/printable.h"

/* Of names in FINDING_WHERE_MAX: what an engine adds, an offset, must fit behind them. */
#define SHOWN_FIELD 28u
#define SHOWN_FILE  40u

static void judge_not_unpacked(struct scan_result *r, const char *what)
{
    engine_judge(r, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK,
                 "the body %s, and unpacking was not asked for", what);
}

/* True when |encoding| says nothing but identity. */
static bool is_plain(struct span encoding)
{
    struct span coding;

    while (span_list_next(&encoding, &coding))
        if (!span_ieq(coding, SPAN("identity")))
            return false;
    return true;
}

static void leave_packed(struct unpack *u, struct span encoding, struct scan_result *r)
{
    if (!is_plain(encoding))
        judge_not_unpacked(r, "has a Content-Encoding");
    if (multipart_is(span_of(u->job->job.type)))
        judge_not_unpacked(r, "is a multipart");
}

static void judge_parts(const struct unpack *u, struct scan_result *r)
{
    char field[SHOWN_FIELD], part[64] = "";

    if (u->parts.parts) {
        printable(span_of(u->parts.head.field), field, sizeof field);
        (void)snprintf(part, sizeof part, " part %u \"%s\"", u->parts.parts, field);
    }
    engine_judge(r, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK, "the multipart%s %s", part,
                 u->parts.fault.why);
}

static void split(struct unpack *u, struct scan_result *r)
{
    uint32_t max = u->job->job.unpack.parts_max;

    u->split = true;
    if (max > OBJECTS_MAX - 1) /* and the body */
        max = OBJECTS_MAX - 1;
    if (multipart_init(&u->parts, u->body, span_of(u->job->job.type), max) != OK)
        judge_parts(u, r);
}

void unpack_open(struct unpack *u, const struct wire_message *job, struct span original,
                 const struct clock *clock, uint64_t end_us, struct scan_result *r)
{
    const struct decode_limits limits = {
        .unpack = job->job.unpack, .clock = clock, .end_us = end_us};
    struct span encoding = span_of(job->job.encoding);
    enum decode_end end = DECODE_PLAIN;

    memset(u, 0, sizeof *u);
    u->job = job;
    u->body = original;
    media_type_of(span_of(job->job.type), u->type);
    if (original.n == 0) /* nothing hides in nothing, whatever its head says */
        return;
    if (!(job->job.engines & WIRE_ENGINE_UNPACK)) {
        leave_packed(u, encoding, r);
        return;
    }
    end = decode_body(encoding, original, &limits, &u->pages, r);
    u->decoded = end == DECODE_DONE;
    /* A recipient may show what came out before the fault, so that is looked at. */
    if (u->decoded || u->pages.n)
        u->body = (struct span){(const char *)u->pages.p, u->pages.n};
    if (end != DECODE_FAILED && u->body.n && multipart_is(span_of(job->job.type)))
        split(u, r);
}

void unpack_body(const struct unpack *u, struct unpacked *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->p = (const uint8_t *)u->body.p;
    ret->facts = (struct object){
        .source = u->decoded ? OBJECT_DERIVED : OBJECT_ORIGINAL,
        .role = OBJECT_BODY,
        .len = u->body.n,
        .name = span_of(u->job->job.name),
        .declared = span_of(u->type),
    };
}

static void fill_where(const struct multipart_leaf *leaf, char ret[FINDING_WHERE_MAX])
{
    char field[SHOWN_FIELD], file[SHOWN_FILE];

    printable(span_of(leaf->head->field), field, sizeof field);
    printable(span_of(leaf->head->file), file, sizeof file);
    if (leaf->head->has_file)
        (void)snprintf(ret, FINDING_WHERE_MAX, "part %u \"%s\" file \"%s\"", leaf->part, field,
                       file);
    else
        (void)snprintf(ret, FINDING_WHERE_MAX, "part %u \"%s\"", leaf->part, field);
}

bool unpack_next(struct unpack *u, struct unpacked *ret, struct scan_result *r)
{
    struct multipart_leaf leaf;
    enum err e = ERR_EOF;

    if (u->split && u->parts.fault.err == OK)
        e = multipart_next(&u->parts, &leaf);
    if (e == ERR_SYNTAX)
        judge_parts(u, r);
    if (e != OK)
        return false;
    memset(ret, 0, sizeof *ret);
    ret->p = (const uint8_t *)u->body.p + leaf.off;
    ret->facts = (struct object){
        .source = u->decoded ? OBJECT_DERIVED : OBJECT_ORIGINAL,
        .role = leaf.head->has_file ? OBJECT_FILE : OBJECT_FIELD,
        .off = leaf.off,
        .len = leaf.len,
        .name = span_of(leaf.head->has_file ? leaf.head->file : leaf.head->field),
        .declared = span_of(leaf.head->type),
    };
    fill_where(&leaf, ret->where);
    return true;
}

void unpack_close(struct unpack *u)
{
    pages_done(&u->pages);
    u->body = SPAN_NONE;
}
