/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_connect.c - from a name to an open stream. getaddrinfo(3) blocks, so it runs in the
 * thread pool; the addresses share one deadline, so that a dead one cannot use up all of it. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/upstream_int.h"

#define ADDRESSES_MAX 8u
#define WHY_MAX       256u

struct lookup {
    struct work work;
    struct dial *dial; /* NULL: cancelled */
    char *host;
    char port[8];
    struct addrinfo *found;
    int error; /* EAI_* */
};

struct dial {
    struct loop *loop;
    const struct upstream_settings *settings;
    dial_fn fn; /* NULL: cancelled */
    void *arg;
    struct task done_task, start_task;
    struct lookup *lookup;
    struct address addresses[ADDRESSES_MAX];
    unsigned n, next;
    int fd; /* being connected; -1: none */
    struct watch *watch;
    struct stream *stream;
    struct timer deadline, turn; /* of all, of one address */
    bool started, done;
    struct upstream_refusal refusal; /* with a report: there was a connection */
    enum err err;
    char why[WHY_MAX];
};

/* End. */

static void close_attempt(struct dial *d)
{
    timer_clear(d->loop, &d->turn);
    watch_close(d->watch);
    d->watch = NULL;
    if (d->fd >= 0)
        (void)close(d->fd);
    d->fd = -1;
}

static void run_done(struct task *t)
{
    struct dial *d = CONTAINER_OF(t, struct dial, done_task);
    struct stream *s = d->stream;

    d->stream = NULL;
    if (d->fn)
        d->fn(d->arg, s, d->err, d->why);
    else
        stream_close(s, 0);
    sallyport_report_free(d->refusal.report);
    free(d);
}

const struct upstream_refusal *dial_refusal(const struct dial *d)
{
    return d->refusal.report ? &d->refusal : NULL;
}

/* |d->stream| is handed out, or is closed here when |e|. */
static void finish(struct dial *d, enum err e)
{
    if (d->done)
        return;
    d->done = true;
    d->err = e;
    timer_clear(d->loop, &d->deadline);
    close_attempt(d);
    if (d->lookup)
        d->lookup->dial = NULL;
    d->lookup = NULL;
    if (d->stream)
        stream_set_callback(d->stream, NULL, NULL);
    if (e) {
        stream_close(d->stream, 0);
        d->stream = NULL;
    }
    loop_defer(d->loop, &d->done_task);
}

static void fail(struct dial *d, enum err e, const char *what, const char *detail)
{
    (void)snprintf(d->why, sizeof d->why, "%s %.80s: %.150s", what, d->settings->host, detail);
    finish(d, e);
}

void dial_cancel(struct dial *d)
{
    d->fn = NULL;
    finish(d, ERR_ABORTED);
}

static void on_deadline(struct timer *t)
{
    struct dial *d = CONTAINER_OF(t, struct dial, deadline);
    const char *phase = d->lookup           ? "the look-up took too long"
                        : d->stream != NULL ? "the TLS handshake took too long"
                                            : "nobody answered";

    fail(d, ERR_TIMEOUT, "cannot reach", phase);
}

/* TLS and policy. */

/* The stream ends with the refusal. */
static void keep_report(struct dial *d)
{
    d->refusal.report = protect_report_keep(stream_report(d->stream));
}

static void check_policy(struct dial *d)
{
    const struct upstream_settings *s = d->settings;
    sallyport_why *why = &d->refusal.why;
    char text[PROTECT_WHY_MAX];

    stream_arm(d->stream, 0);
    if (protect_policy_check(&s->policy, stream_report(d->stream), why) == OK &&
        stream_check_system(d->stream, &s->system, why) == OK) {
        finish(d, OK);
        return;
    }
    keep_report(d);
    d->refusal.by_policy = true;
    fail(d, ERR_POLICY, "refused to use",
         protect_refusal_text(why, stream_report(d->stream), text));
}

static void on_stream(void *arg, unsigned events)
{
    struct dial *d = arg;

    if (events & STREAM_FAILED) {
        keep_report(d);
        fail(d, stream_failure(d->stream), "cannot use", stream_error(d->stream));
    } else if (events & STREAM_OPEN) {
        check_policy(d);
    }
}

static void become_stream(struct dial *d)
{
    const struct upstream_settings *s = d->settings;
    int fd = d->fd;

    d->fd = -1;
    close_attempt(d);
    stream_no_delay(fd);
    enum err e = stream_new(d->loop, fd, &d->addresses[d->next - 1], on_stream, d, &d->stream);

    if (e) {
        (void)close(fd);
        fail(d, e, "cannot use", err_text(e));
        return;
    }
    if (!s->tls) {
        check_policy(d);
        return;
    }
    e = stream_start_tls(d->stream, s->tls, s->tls_name ? s->tls_name : s->host);
    if (e)
        fail(d, e, "cannot use", stream_error(d->stream));
}

/* Connect. */

static void connect_next(struct dial *d);

static void note_failure(struct dial *d, int errnum)
{
    char text[ADDRESS_TEXT_MAX], detail[64];

    (void)snprintf(d->why, sizeof d->why, "cannot connect to %.60s (%.60s): %.60s",
                   d->settings->host, address_text(&d->addresses[d->next - 1], text),
                   strerror_r(errnum, detail, sizeof detail));
    d->err = errnum == EMFILE || errnum == ENFILE ? ERR_BUSY : ERR_UPSTREAM;
    close_attempt(d);
}

static void on_writable(void *arg, unsigned events)
{
    struct dial *d = arg;
    int errnum = 0;
    socklen_t len = sizeof errnum;

    (void)events;
    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &errnum, &len) != 0)
        errnum = errno;
    if (errnum == 0) {
        become_stream(d);
        return;
    }
    note_failure(d, errnum);
    connect_next(d);
}

static void on_turn_end(struct timer *t)
{
    struct dial *d = CONTAINER_OF(t, struct dial, turn);

    note_failure(d, ETIMEDOUT);
    connect_next(d);
}

/* Each address that is left gets the same part of what is left of the time. */
static void set_turn(struct dial *d)
{
    uint64_t now = loop_now_ms(d->loop);
    uint64_t left = d->deadline.at_ms > now ? d->deadline.at_ms - now : 0;
    unsigned more = d->n - d->next;

    if (more > 0)
        timer_set(d->loop, &d->turn, now + left / (more + 1));
}

static bool connect_to(struct dial *d, const struct address *a)
{
    d->fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0 ||
        (connect(d->fd, (const struct sockaddr *)&a->ss, a->len) != 0 && errno != EINPROGRESS)) {
        note_failure(d, errno);
        return false;
    }
    if (watch_new(d->loop, d->fd, on_writable, d, &d->watch) != OK) {
        note_failure(d, ENOMEM);
        return false;
    }
    watch_arm(d->watch, WATCH_WRITE);
    set_turn(d);
    return true;
}

static void connect_next(struct dial *d)
{
    while (d->next < d->n)
        if (connect_to(d, &d->addresses[d->next++]))
            return;
    finish(d, d->err ? d->err : ERR_UPSTREAM);
}

/* Look-up. */

static void lookup_free(struct lookup *k)
{
    if (k->found)
        freeaddrinfo(k->found);
    free(k->host);
    free(k);
}

static void lookup_run(struct work *w)
{
    struct lookup *k = CONTAINER_OF(w, struct lookup, work);
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};

    k->error = getaddrinfo(k->host, k->port, &hints, &k->found);
}

static void lookup_done(struct work *w)
{
    struct lookup *k = CONTAINER_OF(w, struct lookup, work);
    struct dial *d = k->dial;

    if (d) {
        d->lookup = NULL;
        for (struct addrinfo *i = k->found; i && d->n < ADDRESSES_MAX; i = i->ai_next) {
            struct address *a = &d->addresses[d->n++];

            *a = (struct address){.len = i->ai_addrlen};
            memcpy(&a->ss, i->ai_addr, i->ai_addrlen);
        }
        if (k->error || d->n == 0)
            fail(d, ERR_UPSTREAM, "cannot find", k->error ? gai_strerror(k->error) : "no address");
        else
            connect_next(d);
    }
    lookup_free(k);
}

static enum err start_lookup(struct dial *d)
{
    struct lookup *k = calloc(1, sizeof *k);

    if (!k)
        return ERR_NOMEM;
    k->work.run = lookup_run;
    k->work.done = lookup_done;
    k->dial = d;
    k->host = span_dup(span_of(d->settings->host));
    (void)snprintf(k->port, sizeof k->port, "%u", d->settings->port & UINT16_MAX);
    enum err e = k->host ? loop_work(d->loop, &k->work) : ERR_NOMEM;

    if (e)
        lookup_free(k);
    else
        d->lookup = k;
    return e;
}

/* Literals need nobody's help. */
static bool take_literal(struct dial *d)
{
    struct span host = span_of(d->settings->host);
    char text[ADDRESS_TEXT_MAX];
    bool bare_v6 = span_find(host, ':') < host.n && host.p[0] != '[';

    if (host.n > 64)
        return false;
    (void)snprintf(text, sizeof text, bare_v6 ? "[%s]:%u" : "%s:%u", d->settings->host,
                   d->settings->port & UINT16_MAX);
    if (host.n == 0 || host.p[0] == '*' || address_parse(span_of(text), &d->addresses[0]) != OK)
        return false;
    d->n = 1;
    return true;
}

static void run_start(struct task *t)
{
    struct dial *d = CONTAINER_OF(t, struct dial, start_task);

    if (d->done) /* cancelled; its done task runs after this one */
        return;
    if (take_literal(d)) {
        connect_next(d);
        return;
    }
    enum err e = start_lookup(d);

    if (e)
        fail(d, e, "cannot find", err_text(e));
}

enum err dial_new(struct loop *l, const struct upstream_settings *s, dial_fn fn, void *arg,
                  struct dial **ret)
{
    struct dial *d = calloc(1, sizeof *d);

    if (!d)
        return ERR_NOMEM;
    d->loop = l;
    d->settings = s;
    d->fn = fn;
    d->arg = arg;
    d->fd = -1;
    d->done_task.run = run_done;
    d->start_task.run = run_start;
    d->deadline.fire = on_deadline;
    d->turn.fire = on_turn_end;
    timer_set(l, &d->deadline, loop_now_ms(l) + s->connect_ms);
    loop_defer(l, &d->start_task);
    *ret = d;
    return OK;
}
