/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of an inspection: ask the cache; then the worker, which also unpacks; then clamd, once
 * for each object that the worker found. With a plain body worker and clamd look at the same time.
 */
#include "adapt/inspection.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapt/worker_wire.h"
#include "observe/record_upstream.h"

#define CLAMD_AHEAD  4u /* objects of one body that are with clamd at once */
#define ENCODED(enc) ((enc).n > 0 && !span_ieq((enc), SPAN("identity")))

struct inspector {
    struct inspector_environment env;
};

/* One object with clamd. */
struct clamd_slot {
    struct inspection *owner;
    struct clamd_job *job; /* NULL: free */
    char where[FINDING_WHERE_MAX];
};

struct inspection {
    struct inspector *inspector;
    struct inspection_request req; /* fd -1: handed on, or closed */
    struct scan_result result;
    struct object_table *objects;
    struct record_upstream *upstream;
    int objects_fd;   /* -1: none */
    uint64_t charged; /* of the memory budget, for it */
    struct worker_job *worker;
    bool plain;  /* one object, and it is the file as it came */
    bool leads;  /* the cache waits for our answer */
    bool cached; /* the answer is somebody else's */
    bool out_of_steps;
    struct verdict_key key;
    struct verdict_waiter *waiter;
    struct timer deadline; /* while waiting for somebody else's scan */
    uint64_t worker_start_us, worker_us, clamd_start_us, clamd_us;
    /* objects on their way to clamd */
    struct objects_reader reader;
    bool more;      /* the reader is not at its end */
    bool body_last; /* the second walk: only the body as a whole is left */
    unsigned object;
    struct clamd_slot slots[CLAMD_AHEAD];
    unsigned n_slots; /* busy */
    struct task tell;
    bool told;    /* |tell| is queued */
    bool dead;    /* cancelled while |tell| was queued */
    char texts[]; /* of |req| */
};

/* ---- the end ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

/* Nothing of |s| is under way any more. The cache's leader must have said its word before. */
static void inspection_stop(struct inspection *s)
{
    if (s->worker)
        workers_cancel(s->worker);
    s->worker = NULL;
    for (unsigned i = 0; i < CLAMD_AHEAD; i++) {
        if (s->slots[i].job)
            clamd_cancel(s->slots[i].job);
        s->slots[i].job = NULL;
    }
    s->n_slots = 0;
    s->more = false;
    if (s->waiter)
        verdict_cache_cancel(s->waiter);
    s->waiter = NULL;
    timer_clear(s->inspector->env.loop, &s->deadline);
    close_fd(&s->req.fd);
    close_fd(&s->objects_fd);
    if (s->charged)
        budget_give(s->inspector->env.memory, s->charged);
    s->charged = 0;
}

static void inspection_free(struct inspection *s)
{
    object_table_unref(s->objects);
    record_upstream_unref(s->upstream);
    free(s);
}

static void tell_run(struct task *t)
{
    struct inspection *s = CONTAINER_OF(t, struct inspection, tell);

    if (!s->dead) {
        struct inspection_result r = {
            .scan = s->result,
            .upstream = s->upstream,
            .objects = s->objects,
            .cached = s->cached,
            .out_of_steps = s->out_of_steps,
            .worker_us = s->worker_us,
            .clamd_us = s->clamd_us,
        };

        s->req.done(s->req.arg, &r);
    }
    inspection_free(s);
}

#define BAD_LUCK \
    (1u << CAUSE_TIMEOUT | 1u << CAUSE_OVERLOAD | 1u << CAUSE_ENGINE_DOWN | 1u << CAUSE_DISK_FULL)

/* Should those who wait for the same file get this answer, too? A crash would repeat itself; what
 * was only our bad luck (a deadline, a full queue) is not theirs, unless the file was found out all
 * the same. */
static bool is_for_all(const struct scan_result *r)
{
    return r->verdict == VERDICT_BLOCK || !(scan_result_causes(r) & BAD_LUCK);
}

static void tell_cache(struct inspection *s)
{
    struct verdict_cache *cache = s->inspector->env.cache;
    struct verdict_cache_value v = {.result = s->result, .objects = s->objects};

    if (!s->leads)
        return;
    s->leads = false;
    if (is_for_all(&s->result))
        verdict_cache_done(cache, &s->key, loop_now_ms(s->inspector->env.loop), &v,
                           s->result.verdict != VERDICT_ERROR);
    else
        verdict_cache_give_up(cache, &s->key);
}

/* The result is there. The call-back comes on a turn of its own. */
static void inspection_end(struct inspection *s)
{
    inspection_stop(s);
    tell_cache(s);
    s->told = true;
    loop_defer(s->inspector->env.loop, &s->tell);
}

void inspection_cancel(struct inspection *s)
{
    inspection_stop(s);
    if (s->leads)
        verdict_cache_give_up(s->inspector->env.cache, &s->key);
    s->leads = false;
    if (s->told)
        s->dead = true;
    else
        inspection_free(s);
}

/* ---- clamd ---- */

static bool is_under_way(const struct inspection *s)
{
    return s->worker || s->n_slots || s->more;
}

static void clamd_judge(struct inspection *s, const struct clamd_slot *slot,
                        const struct clamd_answer *a)
{
    struct finding f = {.engine = "clamav"};

    switch (a->verdict) {
    case CLAMD_CLEAN: return;
    case CLAMD_FOUND:
        (void)span_copy(span_of(a->text), f.name, sizeof f.name);
        (void)span_copy(span_of(slot->where), f.where, sizeof f.where);
        scan_result_find(&s->result, &f);
        scan_result_judge(&s->result, VERDICT_BLOCK, CAUSE_INFECTED, OK, "%s", a->text);
        return;
    case CLAMD_LIMIT:
        scan_result_judge(&s->result, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK,
                          "clamd did not look into it: %s", a->text);
        return;
    case CLAMD_ERROR:
        scan_result_judge(&s->result, VERDICT_ERROR,
                          a->err == ERR_TIMEOUT ? CAUSE_TIMEOUT
                          : a->err == ERR_BUSY  ? CAUSE_OVERLOAD
                                                : CAUSE_ENGINE_DOWN,
                          a->err, "clamd: %s", a->text);
        return;
    }
}

static void clamd_next(struct inspection *s);

/* Of several parts the one that failed. */
static void note_upstream(struct inspection *s, const struct clamd_answer *a)
{
    if (s->upstream && a->verdict != CLAMD_ERROR)
        return;
    record_upstream_unref(s->upstream);
    s->upstream = record_upstream_ref(a->upstream);
}

static void on_clamd(void *arg, const struct clamd_answer *a)
{
    struct clamd_slot *slot = arg;
    struct inspection *s = slot->owner;

    slot->job = NULL;
    s->n_slots--;
    s->clamd_us = loop_now_us(s->inspector->env.loop) - s->clamd_start_us;
    clamd_judge(s, slot, a);
    note_upstream(s, a);
    clamd_next(s); /* the others are heard as well: one that fails must not silence them */
}

static struct clamd_slot *free_slot(struct inspection *s)
{
    for (unsigned i = 0; i < CLAMD_AHEAD; i++)
        if (!s->slots[i].job)
            return &s->slots[i];
    return NULL;
}

static void clamd_give(struct inspection *s, struct clamd_slot *slot, struct clamd_request *r)
{
    enum err e;

    r->client = s->req.client;
    r->deadline_ms = s->req.deadline_ms;
    r->done = on_clamd;
    r->arg = slot;
    slot->owner = s;
    if (!s->clamd_start_us)
        s->clamd_start_us = loop_now_us(s->inspector->env.loop);
    e = s->inspector->env.clamd ? clamd_submit(s->inspector->env.clamd, r, &slot->job) : ERR_ENGINE;
    if (e == OK) {
        s->n_slots++;
        return;
    }
    slot->job = NULL;
    s->more = false;
    scan_result_judge(&s->result, VERDICT_ERROR,
                      e == ERR_ENGINE ? CAUSE_ENGINE_DOWN : CAUSE_OVERLOAD, e, "clamd: %s",
                      e == ERR_ENGINE ? "it is not configured any more"
                      : e == ERR_BUSY ? "as many files as engines.clamav.queue allows are waiting"
                                      : err_text(e));
}

static void object_where(const struct inspection *s, const struct object *o, char *dst, size_t cap)
{
    char name[64];

    if (o->role == OBJECT_BODY) {
        dst[0] = '\0';
        return;
    }
    (void)span_copy(o->name, name, sizeof name);
    (void)snprintf(dst, cap, "part %u %s \"%s\"", s->object,
                   o->role == OBJECT_FILE ? "file" : "field", name);
}

static void read_objects(const struct inspection *s, struct objects_reader *r)
{
    objects_reader_init(r, (struct span){s->objects->bytes, s->objects->len}, s->objects->n,
                        s->objects->original_len, s->objects->derived_len);
}

/* The parts of a form first, and then the form as a whole: so that a finding names its part. */
static bool next_object(struct inspection *s, struct object *ret)
{
    s->more = objects_next(&s->reader, ret) == OK;
    if (!s->more && !s->body_last) {
        s->body_last = s->more = true;
        read_objects(s, &s->reader);
        return false;
    }
    if (!s->more || s->body_last != (ret->role == OBJECT_BODY))
        return false;
    s->object += ret->role != OBJECT_BODY;
    return true;
}

/* Gives objects to clamd while there is room; ends the inspection after the last answer. */
static void clamd_next(struct inspection *s)
{
    struct clamd_slot *slot;
    struct object o;

    while (s->more && (slot = free_slot(s)) != NULL) {
        if (s->body_last && s->n_slots)
            break; /* the parts' answers come first */
        if (!next_object(s, &o) || o.len == 0)
            continue;
        object_where(s, &o, slot->where, sizeof slot->where);
        struct clamd_request r = {
            .fd = o.source == OBJECT_ORIGINAL ? s->req.fd : s->objects_fd,
            .off = o.off,
            .len = o.len,
            .whole = o.source == OBJECT_ORIGINAL && o.off == 0 && o.len == s->req.len,
        };

        clamd_give(s, slot, &r);
    }
    if (!is_under_way(s))
        inspection_end(s);
}

static bool wants_clamd(const struct inspection *s)
{
    return s->req.pipeline & 1u << PIPELINE_CLAMAV;
}

/* The last who needs the file. */
static void clamd_plain(struct inspection *s)
{
    struct clamd_request r = {.fd = s->req.fd, .moves = true, .len = s->req.len, .whole = true};

    s->slots[0].where[0] = '\0';
    clamd_give(s, &s->slots[0], &r);
    if (s->slots[0].job)
        s->req.fd = -1;
}

/* ---- what the worker found ---- */

static NODISCARD enum err read_at(int fd, void *dst, size_t n, uint64_t off)
{
    char *p = dst;

    while (n > 0) {
        ssize_t k = pread(fd, p, n, (off_t)off);

        if (k <= 0)
            return ERR_IO;
        p += k;
        n -= (size_t)k;
        off += (uint64_t)k;
    }
    return OK;
}

/* Walks the table once, so that everybody behind us may believe it. */
static NODISCARD enum err check_objects(const struct inspection *s)
{
    struct objects_reader r;
    struct object o;
    enum err e;

    read_objects(s, &r);
    while ((e = objects_next(&r, &o)) == OK)
        continue;
    return e == ERR_EOF ? OK : e;
}

/* Copies the table out of the memfd, which is in memory: this does not wait for a disk. */
static NODISCARD enum err load_objects(struct inspection *s)
{
    char tail[OBJECTS_TAIL];
    off_t end = lseek(s->objects_fd, 0, SEEK_END);
    uint64_t off, len;
    uint32_t n;

    if (end < (off_t)OBJECTS_TAIL)
        return ERR_SYNTAX;
    TRY(read_at(s->objects_fd, tail, sizeof tail, (uint64_t)end - OBJECTS_TAIL));
    TRY(objects_parse_tail((struct span){tail, sizeof tail}, (uint64_t)end, &off, &len, &n));
    s->objects = malloc(sizeof *s->objects + (size_t)len);
    if (!s->objects)
        return ERR_NOMEM;
    atomic_init(&s->objects->refs, 1);
    s->objects->n = n;
    s->objects->len = (size_t)len;
    s->objects->original_len = s->req.len;
    s->objects->derived_len = off;
    TRY(read_at(s->objects_fd, s->objects->bytes, (size_t)len, off));
    return check_objects(s);
}

/* The declared media type alone, in small letters. */
static struct span plain_type(struct span type, char dst[OBJECT_TYPE_MAX + 1])
{
    struct span rest = type;
    struct span t = span_trim(span_cut(&rest, ';'));
    size_t n = t.n < OBJECT_TYPE_MAX ? t.n : OBJECT_TYPE_MAX;

    for (size_t i = 0; i < n; i++)
        dst[i] = char_lower(t.p[i]);
    dst[n] = '\0';
    return (struct span){dst, n};
}

/* Types are the matter of leaves: a form that is itself of type multipart/form-data is no file.
 * False: out of steps. */
static bool judge_parts(struct inspection *s, struct type_walk *walk)
{
    char where[FINDING_WHERE_MAX];
    struct objects_reader r;
    struct object o;

    read_objects(s, &r);
    s->object = 0;
    while (objects_next(&r, &o) == OK) {
        if (o.role == OBJECT_BODY)
            continue;
        s->object++;
        object_where(s, &o, where, sizeof where);
        if (!type_policy_judge(walk, &o, 0, where, &s->result))
            return false;
    }
    return true;
}

static bool judge_body(struct inspection *s, struct type_walk *walk)
{
    char type[OBJECT_TYPE_MAX + 1];
    const struct object o = {
        .source = OBJECT_ORIGINAL,
        .role = OBJECT_BODY,
        .len = s->req.len,
        .name = s->req.name,
        .declared = plain_type(s->req.type, type),
        .sniffed = span_of(s->result.sniffed),
    };

    return type_policy_judge(walk, &o, s->req.tricks, "", &s->result);
}

static void judge_types(struct inspection *s)
{
    struct type_walk walk = {.policy = s->req.types, .steps.left = s->req.steps_max};
    bool parts = s->objects && s->objects->n != 1;

    if (!(s->req.pipeline & 1u << PIPELINE_FILETYPE) || !s->req.types)
        return;
    s->out_of_steps = parts ? !judge_parts(s, &walk) : !judge_body(s, &walk);
    if (s->out_of_steps)
        scan_result_judge(&s->result, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK,
                          "to judge the types of all its parts is more work than "
                          "limits.decision-steps allows");
}

/* The worker's memfd is memory, too, for as long as clamd has not read it. */
static bool charge_objects(struct inspection *s)
{
    struct budget *b = s->inspector->env.memory;
    uint64_t n = s->objects->derived_len;

    if (!b || n == 0)
        return true;
    if (!budget_take(b, n))
        return false;
    s->charged = n;
    return true;
}

static void clamd_objects(struct inspection *s)
{
    if (!s->objects) {
        clamd_plain(s);
        return;
    }
    if (!charge_objects(s)) {
        scan_result_judge(&s->result, VERDICT_ERROR, CAUSE_OVERLOAD, ERR_NOMEM,
                          "what is unpacked for clamd does not fit limits.memory");
        return;
    }
    read_objects(s, &s->reader);
    s->object = 0;
    s->more = true;
}

static void on_worker(void *arg, const struct scan_result *result, int objects)
{
    struct inspection *s = arg;
    struct scan_result earlier = s->result; /* clamd's, if it was faster */

    s->worker = NULL;
    s->worker_us = loop_now_us(s->inspector->env.loop) - s->worker_start_us;
    s->result = *result;
    s->result.incomplete |=
        result->verdict == VERDICT_ERROR || result->verdict == VERDICT_NOT_INSPECTED;
    scan_result_join(&s->result, &earlier);
    s->objects_fd = objects;
    if (objects >= 0 && load_objects(s) != OK) {
        object_table_unref(s->objects);
        s->objects = NULL;
        scan_result_judge(&s->result, VERDICT_ERROR, CAUSE_WORKER_CRASH, ERR_WORKER,
                          "the worker's list of objects is broken");
    }
    if (result->verdict == VERDICT_CHANGED)
        scan_result_judge(&s->result, VERDICT_ERROR, CAUSE_WORKER_CRASH, ERR_WORKER,
                          "the worker says that it changed the file, which no engine does");
    judge_types(s);
    if (wants_clamd(s) && !s->plain) {
        /* What could not be unpacked may still be recognised as it is. */
        clamd_objects(s);
        clamd_next(s);
    } else if (!is_under_way(s)) {
        inspection_end(s);
    }
}

/* ---- the beginning ---- */

static unsigned worker_engines(const struct inspection *s)
{
    unsigned engines = 0;

    if (s->req.pipeline & 1u << PIPELINE_YARA)
        engines |= WIRE_ENGINE_YARA;
    if (s->req.pipeline & 1u << PIPELINE_FILETYPE)
        engines |= WIRE_ENGINE_FILETYPE;
    if (s->req.pipeline & 1u << PIPELINE_PRINTING)
        engines |= WIRE_ENGINE_PRINTING;
    return engines || !s->plain ? engines | WIRE_ENGINE_UNPACK : 0;
}

static NODISCARD enum err ask_worker(struct inspection *s, unsigned engines)
{
    struct worker_job_request r = {
        .fd = s->req.fd,
        .len = s->req.len,
        .engines = engines,
        .name = s->req.name,
        .type = s->req.type,
        .encoding = s->req.encoding,
        .unpack = {.size_max = s->req.unpack->size_max,
                   .ratio_max = s->req.unpack->ratio_max,
                   .codings_max = s->req.unpack->codings_max,
                   .parts_max = s->req.unpack->parts_max},
        .want_objects = true,
        .client = s->req.client,
        .deadline_ms = s->req.deadline_ms,
        .done = on_worker,
        .arg = s,
    };

    if (wants_clamd(s))
        r.fd = fcntl(s->req.fd, F_DUPFD_CLOEXEC, 3);
    else
        s->req.fd = -1;
    if (r.fd < 0)
        return ERR_NOMEM;
    s->worker_start_us = loop_now_us(s->inspector->env.loop);
    return workers_submit(s->inspector->env.workers, &r, &s->worker);
}

/* Asks the engines. An error leaves nothing under way. */
static NODISCARD enum err inspection_run(struct inspection *s)
{
    unsigned engines = worker_engines(s);
    enum err e = engines ? ask_worker(s, engines) : OK;

    if (e) {
        s->worker = NULL;
        return e;
    }
    if (wants_clamd(s) && s->plain)
        clamd_plain(s);
    if (!is_under_way(s)) {
        if (s->result.verdict == VERDICT_PASS)
            scan_result_judge(&s->result, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK,
                              "no engine was asked");
        inspection_end(s);
    }
    return OK;
}

/* Asks the engines, once the file is there. It is not made for a queue that would refuse it. */
static NODISCARD enum err inspection_look(struct inspection *s)
{
    if (s->req.fd >= 0 || !s->req.need_file)
        return inspection_run(s);
    if (worker_engines(s) && !workers_have_room(s->inspector->env.workers, s->req.client))
        return ERR_BUSY;
    s->req.need_file(s->req.arg);
    return OK;
}

/* The engines could not be asked. */
static void judge_failure(struct inspection *s, enum err e)
{
    scan_result_judge(&s->result, VERDICT_ERROR, CAUSE_OVERLOAD, e, "%s",
                      e == ERR_BUSY ? "as many files as engines.workers.queue allows are waiting"
                                    : err_text(e));
}

static void on_deadline(struct timer *t)
{
    struct inspection *s = CONTAINER_OF(t, struct inspection, deadline);

    scan_result_judge(&s->result, VERDICT_ERROR, CAUSE_TIMEOUT, ERR_TIMEOUT,
                      "another scan of the same file did not end before the deadline");
    inspection_end(s);
}

static NODISCARD enum err inspection_ask(struct inspection *s);

static void use_value(struct inspection *s, const struct verdict_cache_value *v)
{
    s->cached = true;
    s->result = v->result;
    object_table_unref(s->objects);
    s->objects = v->objects ? object_table_ref(v->objects) : NULL;
}

static void on_cache(void *arg, const struct verdict_cache_value *v)
{
    struct inspection *s = arg;
    enum err e = OK;

    s->waiter = NULL;
    timer_clear(s->inspector->env.loop, &s->deadline);
    if (v) {
        use_value(s, v);
        inspection_end(s);
        return;
    }
    e = inspection_ask(s);
    if (e == OK)
        return;
    judge_failure(s, e);
    inspection_end(s);
}

static NODISCARD enum err inspection_ask(struct inspection *s)
{
    struct loop *loop = s->inspector->env.loop;
    struct verdict_cache_value v = {0};
    enum err e;

    switch (
        verdict_cache_ask(s->inspector->env.cache, &s->key, loop, on_cache, s, &s->waiter, &v)) {
    case VERDICT_CACHE_HIT:
        use_value(s, &v);
        object_table_unref(v.objects);
        inspection_end(s);
        return OK;
    case VERDICT_CACHE_WAIT: timer_set(loop, &s->deadline, s->req.deadline_ms); return OK;
    case VERDICT_CACHE_MINE: s->leads = true; break;
    case VERDICT_CACHE_NONE: break;
    }
    e = inspection_look(s);
    if (e && s->leads)
        verdict_cache_give_up(s->inspector->env.cache, &s->key);
    if (e)
        s->leads = false;
    return e;
}

void inspection_file(struct inspection *s, int fd)
{
    enum err e;

    s->req.fd = fd;
    e = inspection_run(s);
    if (e == OK)
        return;
    judge_failure(s, e);
    inspection_end(s);
}

static NODISCARD enum err make_key(struct inspection *s)
{
    char bits[] = {(char)s->req.pipeline, (char)s->req.tricks, (char)(s->req.tricks >> 8)};
    const struct span parts[] = {
        s->req.scope, s->req.sha256,   s->req.name,
        s->req.type,  s->req.encoding, {bits, sizeof bits}
    };

    return verdict_key_make(parts, ARRAY_LEN(parts), &s->key);
}

static bool is_plain(const struct inspection_request *r)
{
    return !ENCODED(r->encoding) && !span_istarts(span_trim(r->type), SPAN("multipart/"));
}

static struct span take_text(char **at, struct span text)
{
    struct span own = {*at, text.n};

    if (text.n)
        memcpy(*at, text.p, text.n);
    *at += text.n;
    return text.p ? own : SPAN_NONE;
}

/* The caller's texts may go before the answer comes. */
static void take_texts(struct inspection *s)
{
    struct inspection_request *r = &s->req;
    char *at = s->texts;

    r->sha256 = take_text(&at, r->sha256);
    r->scope = take_text(&at, r->scope);
    r->name = take_text(&at, r->name);
    r->type = take_text(&at, r->type);
    r->encoding = take_text(&at, r->encoding);
}

enum err inspection_start(struct inspector *i, const struct inspection_request *r,
                          struct inspection **ret)
{
    size_t texts = r->sha256.n + r->scope.n + r->name.n + r->type.n + r->encoding.n;
    struct inspection *s = calloc(1, sizeof *s + texts);
    enum err e = ERR_NOMEM;

    if (!s) {
        if (r->fd >= 0)
            (void)close(r->fd);
        return ERR_NOMEM;
    }
    s->inspector = i;
    s->req = *r;
    take_texts(s);
    s->objects_fd = -1;
    s->plain = is_plain(r);
    s->tell.run = tell_run;
    s->deadline.fire = on_deadline;
    if (!i->env.cache || r->sha256.n == 0)
        e = inspection_look(s);
    else if (make_key(s) == OK)
        e = inspection_ask(s);
    if (e) {
        inspection_stop(s);
        inspection_free(s);
        return e;
    }
    *ret = s;
    return OK;
}

enum err inspector_new(const struct inspector_environment *env, struct inspector **ret)
{
    struct inspector *i = calloc(1, sizeof *i);

    if (!i)
        return ERR_NOMEM;
    i->env = *env;
    *ret = i;
    return OK;
}

void inspector_free(struct inspector *i)
{
    free(i);
}

void inspector_set_clamd(struct inspector *i, struct clamd *clamd)
{
    i->env.clamd = clamd;
}
