/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/inspect.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "worker/object_file.h"
#include "worker/unpack.h"

struct inspection {
    const struct engines *engines;
    const struct wire_message *job;
    const struct clock *clock;
    uint64_t end_us;
    bool over; /* the time */
    struct scan_result *r;
    struct unpack unpack;
    struct buf leaves; /* their entries in the table */
    uint32_t n_leaves;
    uint32_t pages;
    bool pages_unknown; /* of something in it */
};

/* --- the file --- */

/* True when the file's |len| bytes are mapped (or there are none). */
static NODISCARD bool map_file(int fd, uint64_t len, struct span *ret, struct scan_result *r)
{
    off_t end = lseek(fd, 0, SEEK_END);

    *ret = SPAN_NONE;
    if (end < 0 || (uint64_t)end < len) {
        engine_judge(r, VERDICT_ERROR, CAUSE_NOT_INSPECTED, ERR_IO,
                     end < 0 ? "the descriptor is no file"
                             : "the file is shorter than it should be");
        return false;
    }
    if (len == 0)
        return true;
    void *p = mmap(NULL, (size_t)len, PROT_READ, MAP_PRIVATE, fd, 0);

    if (p == MAP_FAILED) {
        if (errno == ENOMEM)
            engine_judge(r, VERDICT_NOT_INSPECTED, CAUSE_TOO_LARGE, OK,
                         "the file is larger than a worker's address space");
        else
            engine_judge(r, VERDICT_ERROR, CAUSE_NOT_INSPECTED, ERR_IO,
                         "the file cannot be mapped: %s", strerrordesc_np(errno));
        return false;
    }
    (void)madvise(p, (size_t)len, MADV_SEQUENTIAL);
    *ret = (struct span){p, (size_t)len};
    return true;
}

static void unmap_file(struct span file)
{
    if (file.n)
        (void)munmap((void *)(uintptr_t)file.p, file.n);
}

/* --- engines --- */

static bool has_finding(const struct scan_result *r, const struct finding *f)
{
    for (unsigned i = 0; i < r->n_findings; i++)
        if (strcmp(r->findings[i].engine, f->engine) == 0 &&
            strcmp(r->findings[i].name, f->name) == 0 && r->findings[i].note == f->note)
            return true;
    return false;
}

static void put_where_in_front(struct finding *f, const char *where)
{
    struct finding inner = *f;
    struct writer w = writer_of(f->where, sizeof f->where - 1);

    write_text(&w, where);
    if (inner.where[0])
        write_fmt(&w, " %s", inner.where);
    f->where[w.n] = '\0';
}

/* What one engine said of one object becomes part of what is said of the file. */
static void merge(struct scan_result *r, const struct scan_result *one, const char *where,
                  bool again)
{
    bool name_it = where[0] && one->verdict != VERDICT_BLOCK;

    for (unsigned i = 0; i < one->n_findings; i++) {
        struct finding f = one->findings[i];

        if (where[0])
            put_where_in_front(&f, where);
        if (!again || !has_finding(r, &f))
            engine_find(r, &f);
    }
    if (one->verdict == VERDICT_PASS)
        return;
    engine_judge(r, one->verdict, one->cause, one->err, "%s%s%s", name_it ? where : "",
                 name_it ? ": " : "", one->why);
    r->also |= one->also & ~(1u << r->cause);
}

/* Of a form all files together: what fills a field in is no document, and the form itself neither.
 */
static void add_pages(struct inspection *i, const struct unpacked *o, uint32_t pages)
{
    if (o->facts.role == OBJECT_FIELD || (o->facts.role == OBJECT_BODY && i->unpack.split))
        return;
    i->pages_unknown |= pages == 0;
    i->pages += pages < UINT32_MAX - i->pages ? pages : UINT32_MAX - i->pages;
}

static void run_engine(struct inspection *i, const struct engine *e, const struct unpacked *o,
                       char sniffed[SNIFFED_MAX])
{
    uint64_t now = clock_mono_us(i->clock);
    uint64_t left_ms = now < i->end_us ? (i->end_us - now) / 1000 : 0;
    struct scan_result one;
    char name[OBJECT_NAME_MAX + 1], type[OBJECT_TYPE_MAX + 1];
    const struct engine_file file = {
        .p = o->p,
        .n = (size_t)o->facts.len,
        .name = name,
        .type = type,
        .role = o->facts.role,
        .where = o->where,
        .sniffed = sniffed,
        .time_ms = left_ms ? (uint32_t)left_ms : 1,
    };

    if (now >= i->end_us) {
        i->over = true;
        engine_judge(i->r, VERDICT_ERROR, CAUSE_TIMEOUT, ERR_TIMEOUT,
                     "the scan ran out of time%s%s", o->where[0] ? " before " : "", o->where);
        return;
    }
    (void)span_copy(o->facts.name, name, sizeof name);
    (void)span_copy(o->facts.declared, type, sizeof type);
    memset(&one, 0, sizeof one);
    e->scan(e->ctx, &file, &one);
    /* Rules see a leaf twice: by itself, and in the whole of the body. */
    merge(i->r, &one, o->where, o->facts.role == OBJECT_BODY && i->unpack.split);
    if (e->bit == WIRE_ENGINE_PRINTING)
        add_pages(i, o, one.pages);
}

/* What was found already does not end it: an exception for that must not let pass what nobody has
 * looked at. */
static bool settled(const struct inspection *i)
{
    return i->over;
}

static void run_engines(struct inspection *i, const struct unpacked *o, char sniffed[SNIFFED_MAX])
{
    memset(sniffed, 0, SNIFFED_MAX);
    for (unsigned n = 0; n < i->engines->n && o->facts.len && !settled(i); n++)
        if (i->job->job.engines & (uint32_t)i->engines->list[n].bit)
            run_engine(i, &i->engines->list[n], o, sniffed);
    sniffed[SNIFFED_MAX - 1] = '\0';
}

/* The bits of |wanted| that no engine here has. */
static uint32_t engines_missing(const struct engines *engines, uint32_t wanted)
{
    for (unsigned i = 0; i < engines->n; i++)
        wanted &= ~(uint32_t)engines->list[i].bit;
    return wanted & ~(uint32_t)WIRE_ENGINE_UNPACK;
}

/* --- objects --- */

static void add_entry(const struct unpacked *o, const char *sniffed, struct buf *table)
{
    struct object facts = o->facts;

    facts.sniffed = span_of(sniffed);
    if (object_format(&facts, table) != OK && table->err == OK)
        table->err = ERR_BUG;
}

/* Leaves first, so that what is found has its part's name; then the whole, so that nothing hides
 * where we and a recipient read the multipart in two ways. */
static void inspect_leaves(struct inspection *i)
{
    struct unpacked o;
    char sniffed[SNIFFED_MAX];

    while (!settled(i) && unpack_next(&i->unpack, &o, i->r)) {
        i->n_leaves++;
        run_engines(i, &o, sniffed);
        if (i->job->job.want_objects)
            add_entry(&o, sniffed, &i->leaves);
    }
}

/* |body|: its entry in the table. */
static NODISCARD int make_objects(struct inspection *i, const struct buf *body)
{
    const struct unpack *u = &i->unpack;
    struct span derived = u->decoded ? u->body : SPAN_NONE;
    int fd = -1;
    enum err e = i->leaves.err ? i->leaves.err : body->err;

    if (e == OK)
        e = object_file(derived, buf_span(body), buf_span(&i->leaves), 1 + i->n_leaves, &fd);
    if (e == ERR_LIMIT)
        engine_judge(i->r, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK,
                     "the names of the multipart's parts are too long together");
    else if (e != OK)
        engine_judge(i->r, VERDICT_ERROR, CAUSE_NOT_INSPECTED, e,
                     "what was unpacked cannot be handed over: %s", err_text(e));
    return fd;
}

/* Something to tell: what the gateway has not in its own hands already. */
static bool objects_are_wanted(const struct inspection *i)
{
    return i->job->job.want_objects && (i->unpack.decoded || i->unpack.split) && !settled(i);
}

static NODISCARD int inspect_objects(struct inspection *i)
{
    struct unpacked body;
    struct buf entry;
    int fd = -1;

    inspect_leaves(i);
    unpack_body(&i->unpack, &body);
    run_engines(i, &body, i->r->sniffed);
    i->r->n_objects = i->unpack.split ? i->n_leaves : 1;
    i->r->pages = i->pages_unknown || settled(i) ? 0 : i->pages;
    if (objects_are_wanted(i)) {
        buf_init(&entry, 0);
        add_entry(&body, i->r->sniffed, &entry);
        fd = make_objects(i, &entry);
        buf_done(&entry);
    }
    return fd;
}

void worker_inspect(const struct engines *engines, const struct wire_message *job, int fd,
                    struct scan_result *ret, int *ret_objects)
{
    uint64_t start = clock_mono_us(&clock_system);
    uint64_t time_ms = job->job.time_ms ? job->job.time_ms : 1;
    struct inspection i = {.engines = engines,
                           .job = job,
                           .clock = &clock_system,
                           .end_us = start + time_ms * 1000,
                           .r = ret};
    struct span file;

    memset(ret, 0, sizeof *ret);
    ret->n_objects = 1;
    *ret_objects = -1;
    if (job->job.engines == 0)
        engine_judge(ret, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK, "no engine was asked");
    if (engines_missing(engines, job->job.engines))
        engine_judge(ret, VERDICT_ERROR, CAUSE_ENGINE_DOWN, ERR_ENGINE,
                     "the worker does not have the engine (no rules are loaded)");
    if (map_file(fd, job->job.len, &file, ret)) {
        buf_init(&i.leaves, OBJECTS_TABLE_MAX);
        unpack_open(&i.unpack, job, file, i.clock, i.end_us, ret);
        *ret_objects = inspect_objects(&i);
        unpack_close(&i.unpack);
        buf_done(&i.leaves);
        unmap_file(file);
    }
    ret->scan_us = clock_mono_us(&clock_system) - start;
}
