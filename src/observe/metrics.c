/* SPDX-License-Identifier: Apache-2.0 */
#include "observe/metrics.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

#define CACHE_LINE 64u

enum kind { COUNTER, GAUGE, TOTAL, HISTOGRAM };

/* Written under the table's lock before its id is known to anybody; never changes after, but for
 * |read|, |read_arg| and |next|, which the lock guards. */
struct metric {
    enum kind kind;
    unsigned slot; /* first of its values in each row */
    unsigned n_bounds;
    const uint64_t *bounds;
    const char *name, *labels, *help;
    double (*read)(void *arg);
    void *read_arg;
    struct metric *next; /* of that name */
    bool first;          /* of its name */
};

typedef _Atomic uint64_t value;

struct metrics {
    unsigned loops, slots_max, n_slots, n;
    size_t row_len;       /* values from one row to the next: whole cache lines */
    value *rows;          /* loops * row_len */
    struct metric *table; /* slots_max + 1; [0] goes nowhere */
    struct arena text;    /* names, labels, help, bounds */
    _Atomic bool full;
    pthread_mutex_t
        *lock; /* guards registration against scrapes; a pointer, since scrapes are const
                */
};

enum err metrics_new(unsigned loops, unsigned slots_max, struct metrics **ret)
{
    struct metrics *m = mem_fail_now() ? NULL : calloc(1, sizeof *m);
    size_t line = CACHE_LINE / sizeof(value), n;

    if (!m)
        return ERR_NOMEM;
    m->loops = loops;
    m->slots_max = slots_max;
    m->row_len = ((size_t)slots_max + 1 + line - 1) / line * line;
    m->n_slots = m->n = 1;
    arena_init(&m->text, 0);
    n = loops * m->row_len * sizeof(value);
    m->rows = mem_fail_now() ? NULL : aligned_alloc(CACHE_LINE, n);
    m->table = mem_fail_now() ? NULL : calloc((size_t)slots_max + 1, sizeof *m->table);
    m->lock = mem_fail_now() ? NULL : malloc(sizeof *m->lock);
    if (!m->rows || !m->table || !m->lock) {
        free(m->rows);
        free(m->table);
        free(m->lock);
        free(m);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < loops * m->row_len; i++)
        atomic_init(&m->rows[i], 0);
    (void)pthread_mutex_init(m->lock, NULL);
    *ret = m;
    return OK;
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    (void)pthread_mutex_destroy(m->lock);
    free(m->lock);
    free(m->rows);
    free(m->table);
    arena_done(&m->text);
    free(m);
}

/* ---- registration ---- */

static struct metric *find_name(const struct metrics *m, const char *name)
{
    for (unsigned i = 1; i < m->n; i++)
        if (m->table[i].first && strcmp(m->table[i].name, name) == 0)
            return &m->table[i];
    return NULL;
}

static struct metric *find_labels(struct metric *family, const char *labels)
{
    while (family && strcmp(family->labels, labels) != 0)
        family = family->next;
    return family;
}

static bool copy_texts(struct metrics *m, struct metric *to, const struct metric *from)
{
    uint64_t *bounds = arena_array(&m->text, from->n_bounds, sizeof *bounds);

    *to = *from;
    to->name = arena_text(&m->text, span_of(from->name));
    to->labels = arena_text(&m->text, span_of(from->labels));
    to->help = arena_text(&m->text, span_of(from->help));
    to->bounds = bounds;
    if (!to->name || !to->labels || !to->help || !bounds)
        return false;
    if (from->n_bounds)
        memcpy(bounds, from->bounds, from->n_bounds * sizeof *bounds);
    return true;
}

static metric_id add_new(struct metrics *m, const struct metric *like, unsigned n_slots,
                         struct metric *family)
{
    struct metric *x = &m->table[m->n];

    if (m->n > m->slots_max || n_slots > m->slots_max + 1 - m->n_slots || !copy_texts(m, x, like)) {
        atomic_store(&m->full, true);
        return 0;
    }
    x->slot = m->n_slots;
    x->next = NULL;
    x->first = family == NULL;
    while (family && family->next)
        family = family->next;
    if (family)
        family->next = x;
    m->n_slots += n_slots;
    return m->n++;
}

/* A name has one kind and, as a histogram, one set of bounds: anything else is our bug and gets the
 * id that goes nowhere. */
static bool is_alike(const struct metric *a, const struct metric *b)
{
    return a->kind == b->kind && a->n_bounds == b->n_bounds &&
           (a->n_bounds == 0 || memcmp(a->bounds, b->bounds, a->n_bounds * sizeof *a->bounds) == 0);
}

static metric_id metric_add(struct metrics *m, const struct metric *like, unsigned n_slots)
{
    struct metric *family, *same;
    metric_id id;

    (void)pthread_mutex_lock(m->lock);
    family = find_name(m, like->name);
    same = find_labels(family, like->labels);
    if (family && !is_alike(family, like)) {
        id = 0;
    } else if (same) {
        same->read = like->read;
        same->read_arg = like->read_arg;
        id = (metric_id)(same - m->table);
    } else {
        id = add_new(m, like, n_slots, family);
    }
    (void)pthread_mutex_unlock(m->lock);
    return id;
}

metric_id metrics_counter(struct metrics *m, const char *name, const char *labels, const char *help)
{
    struct metric like = {.kind = COUNTER, .name = name, .labels = labels, .help = help};

    return metric_add(m, &like, 1);
}

metric_id metrics_histogram(struct metrics *m, const char *name, const char *labels,
                            const char *help, const uint64_t *bounds_us, unsigned n_bounds)
{
    struct metric like = {
        .kind = HISTOGRAM,
        .name = name,
        .labels = labels,
        .help = help,
        .bounds = bounds_us,
        .n_bounds = n_bounds,
    };

    /* One per bound, one above the last bound, the sum. */
    return n_bounds < m->slots_max ? metric_add(m, &like, n_bounds + 2) : 0;
}

static metric_id add_read(struct metrics *m, enum kind kind, const char *name, const char *labels,
                          const char *help, double (*read)(void *arg), void *arg)
{
    struct metric like = {
        .kind = kind,
        .name = name,
        .labels = labels,
        .help = help,
        .read = read,
        .read_arg = arg,
    };

    return metric_add(m, &like, 0);
}

metric_id metrics_gauge(struct metrics *m, const char *name, const char *labels, const char *help,
                        double (*read)(void *arg), void *arg)
{
    return add_read(m, GAUGE, name, labels, help, read, arg);
}

metric_id metrics_total(struct metrics *m, const char *name, const char *labels, const char *help,
                        double (*read)(void *arg), void *arg)
{
    return add_read(m, TOTAL, name, labels, help, read, arg);
}

bool metrics_is_full(const struct metrics *m)
{
    return atomic_load(&m->full);
}

static void add_escaped(struct buf *out, struct span v, bool quotes)
{
    for (size_t i = 0; i < v.n; i++) {
        char c = v.p[i];

        if (c == '\n')
            buf_text(out, "\\n");
        else if (c == '\\' || (quotes && c == '"'))
            buf_fmt(out, "\\%c", c);
        else
            buf_char(out, c);
    }
}

void metrics_label(struct buf *labels, const char *name, struct span v)
{
    if (labels->n)
        buf_char(labels, ',');
    buf_text(labels, name);
    buf_text(labels, "=\"");
    add_escaped(labels, v, true);
    buf_char(labels, '"');
}

static void owner_label(const struct metrics_owner *o, struct buf *labels)
{
    buf_init(labels, 0);
    metrics_label(labels, o->kind, span_of(o->name));
}

metric_id metrics_counter_of(const struct metrics_owner *o, const char *name, const char *label,
                             const char *word, const char *help)
{
    struct buf labels;
    metric_id id;

    owner_label(o, &labels);
    if (label)
        metrics_label(&labels, label, span_of(word));
    id = metrics_counter(o->metrics, name, buf_cstr(&labels), help);
    buf_done(&labels);
    return id;
}

metric_id metrics_histogram_of(const struct metrics_owner *o, const char *name, const char *help,
                               const uint64_t *bounds_us, unsigned n_bounds)
{
    struct buf labels;
    metric_id id;

    owner_label(o, &labels);
    id = metrics_histogram(o->metrics, name, buf_cstr(&labels), help, bounds_us, n_bounds);
    buf_done(&labels);
    return id;
}

/* ---- values ---- */

/* One thread writes a row: a load and a store, no locked instruction. */
static void bump(value *v, uint64_t n)
{
    atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static value *slot(const struct metrics *m, unsigned loop, unsigned i)
{
    return &m->rows[loop * m->row_len + i];
}

void metrics_add(struct metrics *m, unsigned loop, metric_id id, uint64_t n)
{
    assert(loop < m->loops && id <= m->slots_max);
    if (m->table[id].kind == COUNTER)
        bump(slot(m, loop, m->table[id].slot), n);
}

void metrics_observe(struct metrics *m, unsigned loop, metric_id id, uint64_t us)
{
    const struct metric *x;
    unsigned i = 0;

    assert(loop < m->loops && id <= m->slots_max);
    x = &m->table[id];
    if (x->kind != HISTOGRAM)
        return;
    while (i < x->n_bounds && us > x->bounds[i])
        i++;
    bump(slot(m, loop, x->slot + i), 1);
    bump(slot(m, loop, x->slot + x->n_bounds + 1), us);
}

static uint64_t sum(const struct metrics *m, unsigned i)
{
    uint64_t n = 0;

    for (unsigned loop = 0; loop < m->loops; loop++)
        n += atomic_load_explicit(slot(m, loop, i), memory_order_relaxed);
    return n;
}

uint64_t metrics_value(const struct metrics *m, metric_id id)
{
    const struct metric *x = &m->table[id];
    uint64_t n = 0;

    if (x->kind == COUNTER)
        return sum(m, x->slot);
    for (unsigned i = 0; x->kind == HISTOGRAM && i <= x->n_bounds; i++)
        n += sum(m, x->slot + i);
    return n;
}

/* ---- the page: Prometheus text format 0.0.4 ---- */

/* Seconds from microseconds, exact, without trailing zeros. */
static void print_seconds(struct buf *out, uint64_t us)
{
    unsigned digits = 6, frac = (unsigned)(us % 1000000);

    buf_dec(out, us / 1000000);
    if (frac == 0)
        return;
    for (; frac % 10 == 0; frac /= 10)
        digits--;
    buf_fmt(out, ".%0*u", (int)digits, frac);
}

/* NAME SUFFIX {labels,le="..."}; |le| UINT64_MAX is +Inf. */
static void print_name(struct buf *out, const struct metric *x, const char *suffix,
                       const uint64_t *le)
{
    buf_text(out, x->name);
    buf_text(out, suffix);
    if (x->labels[0] != '\0' || le) {
        buf_char(out, '{');
        buf_text(out, x->labels);
        if (le) {
            buf_text(out, x->labels[0] != '\0' ? ",le=\"" : "le=\"");
            if (*le == UINT64_MAX)
                buf_text(out, "+Inf");
            else
                print_seconds(out, *le);
            buf_char(out, '"');
        }
        buf_char(out, '}');
    }
    buf_char(out, ' ');
}

/* The count is the sum of the buckets as read here: a bump between two reads cannot make the page
 * contradict itself. */
static void print_histogram(const struct metrics *m, struct buf *out, const struct metric *x)
{
    const uint64_t infinite = UINT64_MAX;
    uint64_t n = 0;

    for (unsigned i = 0; i <= x->n_bounds; i++) {
        n += sum(m, x->slot + i);
        print_name(out, x, "_bucket", i < x->n_bounds ? &x->bounds[i] : &infinite);
        buf_dec(out, n);
        buf_char(out, '\n');
    }
    print_name(out, x, "_sum", NULL);
    print_seconds(out, sum(m, x->slot + x->n_bounds + 1));
    buf_char(out, '\n');
    print_name(out, x, "_count", NULL);
    buf_dec(out, n);
    buf_char(out, '\n');
}

static void print_double(struct buf *out, double v)
{
    if (isnan(v))
        buf_text(out, "NaN");
    else if (isinf(v))
        buf_text(out, v > 0 ? "+Inf" : "-Inf");
    else
        buf_fmt(out, "%.15g", v);
}

static void print_metric(const struct metrics *m, struct buf *out, const struct metric *x)
{
    switch (x->kind) {
    case COUNTER:
        print_name(out, x, "", NULL);
        buf_dec(out, sum(m, x->slot));
        buf_char(out, '\n');
        break;
    case GAUGE:
    case TOTAL:
        print_name(out, x, "", NULL);
        print_double(out, x->read(x->read_arg));
        buf_char(out, '\n');
        break;
    case HISTOGRAM: print_histogram(m, out, x); break;
    }
}

static void print_header(struct buf *out, const struct metric *x)
{
    static const char *const kinds[] = {
        [COUNTER] = "counter", [GAUGE] = "gauge", [TOTAL] = "counter", [HISTOGRAM] = "histogram"};

    buf_fmt(out, "# HELP %s ", x->name);
    add_escaped(out, span_of(x->help), false);
    buf_fmt(out, "\n# TYPE %s %s\n", x->name, kinds[x->kind]);
}

void metrics_print(const struct metrics *m, struct buf *out)
{
    (void)pthread_mutex_lock(m->lock);
    for (unsigned i = 1; i < m->n; i++) {
        if (!m->table[i].first)
            continue;
        print_header(out, &m->table[i]);
        for (const struct metric *x = &m->table[i]; x; x = x->next)
            print_metric(m, out, x);
    }
    (void)pthread_mutex_unlock(m->lock);
}
