/* SPDX-License-Identifier: Apache-2.0 */
/* scan_run.c - keeps a scanner's lanes busy until there is no file left or somebody says stop. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/scan_int.h"

#define AHEAD_MAX  65536u /* files that are found and wait */
#define AHEAD_STEP 64u    /* of them in one turn: the lanes shall not wait for a walk */
#define REDRAW_MS  200u

struct waiting {
    struct waiting *next;
    struct scan_found found;
};

struct lane {
    struct run *run;
    struct scan_file file;
    struct scan_found found;
    struct scan_outcome out;
    struct stat st;
    int fd; /* -1: nothing under way */
};

struct run {
    const struct scan_run_options *o;
    struct scanner *scanner;
    struct scan_source *source;
    struct scan_state *state;
    const char *tag; /* with |state| */
    struct waiting *first, **last;
    unsigned n_waiting, busy;
    bool ended;             /* the source has no more */
    bool stop, interrupted; /* begin nothing new */
    bool state_broken;
    uint64_t found, start_us;
    struct scan_totals totals;
    struct scan_progress progress;
    struct timer redraw;
    struct signal_watch *on_int;
    struct lane lanes[SCAN_JOBS_MAX];
};

/* ---- what comes out ---- */

static void redraw(struct run *r)
{
    r->totals.us = loop_now_us(r->scanner->loop) - r->start_us;
    scan_progress_draw(&r->progress, &r->totals, r->found, !r->ended,
                       loop_now_us(r->scanner->loop));
}

static void tell(struct run *r, const char *path, const struct scan_outcome *o)
{
    scan_count(&r->totals, o);
    scan_progress_erase(&r->progress);
    scan_print_line(r->o->style, r->scanner, path, o);
    if (r->o->fail_fast && o->verdict != SCAN_PASS)
        r->stop = true;
}

static void unreadable(struct run *r, const char *path, const char *why)
{
    struct scan_outcome o = {.verdict = SCAN_ERROR, .err = ERR_IO, .unreadable = true};

    (void)span_copy(span_of(why), o.reason, sizeof o.reason);
    tell(r, path, &o);
}

static void found_done(struct scan_found *f)
{
    free(f->path);
    f->path = NULL;
    if (f->fd >= 0)
        (void)close(f->fd);
    f->fd = -1;
}

static void keep(struct run *r, const struct lane *l)
{
    if (!r->state || l->found.spooled || r->state_broken)
        return;
    r->state_broken = !scan_state_add(r->state, l->found.path, &l->st, &l->out);
    if (!r->state_broken)
        return;
    if (r->totals.worst < EXIT_USAGE)
        r->totals.worst = EXIT_USAGE;
    scan_progress_erase(&r->progress);
    (void)fprintf(stderr, "sallyport scan: the file of --resume cannot be written: %s\n",
                  strerror(errno));
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* A verdict is about bytes that stood still. */
static void check_unchanged(struct lane *l)
{
    struct stat now;
    const char *wrong = NULL;

    if (fstat(l->fd, &now) != 0)
        wrong = strerror(errno);
    else if (now.st_size != l->st.st_size || !is_same_time(&now.st_mtim, &l->st.st_mtim))
        wrong = "it changed while it was read; scan it again";
    else if (now.st_nlink == 0 && l->st.st_nlink > 0)
        wrong = "it was removed while it was read";
    if (!wrong)
        return;
    l->out.verdict = SCAN_ERROR;
    l->out.err = ERR_IO;
    l->out.unreadable = true;
    (void)span_copy(span_of(wrong), l->out.reason, sizeof l->out.reason);
}

static void on_done(struct scan_file *f)
{
    struct lane *l = CONTAINER_OF(f, struct lane, file);
    struct run *r = l->run;

    check_unchanged(l);
    (void)close(l->fd);
    l->fd = -1;
    r->busy--;
    r->totals.bytes += f->len;
    keep(r, l);
    tell(r, l->found.path, &l->out);
    found_done(&l->found);
}

/* ---- what goes in ---- */

static void look_ahead(struct run *r)
{
    for (unsigned i = 0; i < AHEAD_STEP && r->n_waiting < AHEAD_MAX && !r->ended; i++) {
        struct waiting *w = calloc(1, sizeof *w);

        if (!w || !scan_source_next(r->source, &w->found)) {
            free(w);
            r->ended = true;
            return;
        }
        *r->last = w;
        r->last = &w->next;
        r->n_waiting++;
        r->found++;
    }
}

static struct scan_found take_waiting(struct run *r)
{
    struct waiting *w = r->first;
    struct scan_found f = w->found;

    r->first = w->next;
    if (!r->first)
        r->last = &r->first;
    r->n_waiting--;
    free(w);
    return f;
}

/* The descriptor, or -1: it was told why, or there is nothing to tell. */
static int open_found(struct run *r, struct scan_found *f, struct stat *st)
{
    int fd = f->fd, errnum = f->errnum;

    f->fd = -1;
    if (fd < 0 && errnum == 0) {
        fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        errnum = errno;
    }
    if (fd >= 0 && fstat(fd, st) == 0 && S_ISREG(st->st_mode)) {
        if (!r->state || !scan_state_is(r->state, st))
            return fd;
        r->found--;
    } else if (fd >= 0) {
        unreadable(r, f->path, "not a regular file");
    } else {
        unreadable(r, f->path, strerror(errnum));
    }
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static bool is_known(struct run *r, const struct scan_found *f, const struct stat *st)
{
    struct scan_outcome known;

    if (!r->state || f->spooled || !scan_state_knows(r->state, f->path, st, r->tag, &known))
        return false;
    tell(r, f->path, &known);
    return true;
}

static void start_lane(struct run *r, struct lane *l)
{
    l->found = take_waiting(r);
    l->fd = open_found(r, &l->found, &l->st);
    if (l->fd < 0 || is_known(r, &l->found, &l->st)) {
        if (l->fd >= 0)
            (void)close(l->fd);
        l->fd = -1;
        found_done(&l->found);
        return;
    }
    l->run = r;
    l->out = (struct scan_outcome){.verdict = SCAN_ERROR, .err = ERR_NOMEM, .reason = "no memory"};
    l->file = (struct scan_file){.name = span_of(l->found.name),
                                 .fd = l->fd,
                                 .len = (uint64_t)l->st.st_size,
                                 .out = &l->out,
                                 .done = on_done};
    r->busy++;
    if (!r->scanner->start(r->scanner, (unsigned)(l - r->lanes), &l->file))
        on_done(&l->file);
}

static void start_lanes(struct run *r)
{
    for (unsigned i = 0; i < r->scanner->jobs; i++)
        while (r->lanes[i].fd < 0 && r->n_waiting > 0 && !r->stop) {
            start_lane(r, &r->lanes[i]);
            look_ahead(r);
        }
}

/* ---- the run ---- */

static void on_interrupt(void *arg, int signum)
{
    struct run *r = arg;

    (void)signum;
    r->stop = r->interrupted = true;
    /* The second one ends everything at once. */
    signal_watch_close(r->on_int);
    r->on_int = NULL;
}

static void on_redraw(struct timer *t)
{
    struct run *r = CONTAINER_OF(t, struct run, redraw);

    redraw(r);
    timer_set(r->scanner->loop, t, loop_now_ms(r->scanner->loop) + REDRAW_MS);
}

static void run_all(struct run *r)
{
    for (;;) {
        look_ahead(r);
        start_lanes(r);
        redraw(r);
        if (r->busy == 0 && (r->stop || (r->ended && r->n_waiting == 0)))
            return;
        (void)loop_turn(r->scanner->loop,
                        r->busy > 0 && (r->ended || r->stop || r->n_waiting >= AHEAD_MAX));
    }
}

static void say_interrupted(const struct run *r)
{
    (void)fprintf(stderr, "sallyport scan: interrupted; %s%s%s\n",
                  r->o->resume ? "the same command with --resume "
                               : "with --resume FILE from the start, a second run would go on "
                                 "where this one ended",
                  r->o->resume ? r->o->resume : "", r->o->resume ? " goes on from here" : "");
}

static void begin(struct run *r)
{
    struct loop *l = r->scanner->loop;

    r->last = &r->first;
    r->redraw = (struct timer){.fire = on_redraw, .at_ms = UINT64_MAX};
    for (unsigned i = 0; i < SCAN_JOBS_MAX; i++)
        r->lanes[i].fd = -1;
    r->start_us = loop_now_us(l);
    r->tag = r->state ? r->scanner->tag(r->scanner) : "";
    if (signal_watch_new(l, SIGINT, on_interrupt, r, &r->on_int) != OK)
        r->on_int = NULL;
    if (!r->o->progress)
        return;
    scan_progress_init(&r->progress, stderr);
    if (r->progress.out)
        timer_set(l, &r->redraw, loop_now_ms(l));
}

static void end(struct run *r)
{
    timer_clear(r->scanner->loop, &r->redraw);
    scan_progress_erase(&r->progress);
    r->totals.us = loop_now_us(r->scanner->loop) - r->start_us;
    if (r->o->style == SCAN_STYLE_TEXT)
        scan_print_summary(r->scanner, &r->totals);
    if (r->interrupted)
        say_interrupted(r);
    if (r->on_int)
        signal_watch_close(r->on_int);
    while (r->first) {
        struct scan_found f = take_waiting(r);

        found_done(&f);
    }
}

int scan_run(const struct scan_run_options *o, struct scanner *s, struct scan_source *source,
             struct scan_state *state)
{
    struct run *r = calloc(1, sizeof *r);
    int code;

    if (!r)
        return EXIT_NETWORK;
    r->o = o;
    r->scanner = s;
    r->source = source;
    r->state = state;
    begin(r);
    run_all(r);
    end(r);
    code = r->interrupted ? EXIT_INTERRUPTED : r->totals.worst;
    free(r);
    return code;
}
