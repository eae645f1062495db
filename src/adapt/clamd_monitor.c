/* SPDX-License-Identifier: Apache-2.0 */
/* clamd_monitor.c - is clamd there, does it know the test signature, how far does it look? One look
 * is one session: VERSION, then, when there is a reason, the files of the self-test.
 *
 * Why the self-test: clamd answers OK to what it did not look into. With 1.4.6's defaults a file
 * above MaxFileSize (100M; 25M before 1.0), or a plain one above MaxScanSize, is "OK" within a
 * millisecond unless AlertExceedsMax is set; a database folder without signatures answers OK to
 * everything. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapt/clamd_int.h"
#include "base/log.h"

#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 5000u
/* Small enough for every sane limit. */
#define PADDED_MIN (64u << 10)
#define EICAR_LEN  68u
/* Deeper than any daemon goes: MaxRecursion is 100 at most. */
#define NEST_LEVELS 1000u

enum step {
    STEP_REST,
    STEP_CONNECT,
    STEP_VERSION,
    STEP_SMALL,  /* the bare test file */
    STEP_PADDED, /* with zeros behind it, PADDED_MIN bytes */
    STEP_LARGE,  /* with zeros behind it, |probe| bytes */
    STEP_NEST,   /* an archive in an archive in an archive */
};

struct clamd_monitor {
    struct loop *loop;
    struct clamd_settings settings;
    struct clamd_health *health;
    void (*changed)(void *arg);
    void *arg;
    enum step step;
    struct clamd_session *session;
    struct timer timer;             /* at rest: the next look; else the deadline of the question */
    uint64_t backoff_ms, looked_ms; /* looked_ms: end of the last look */
    bool suspected;                 /* look again when this look is over */
    bool full;                      /* this look measures limits, too */
    bool asked;                     /* the question of this step was sent */
    bool kept;                   /* |session| is left from the last look, and so tells of an end */
    uint32_t lives;              /* see clamd.h */
    bool reborn;                 /* it ended: measure it anew */
    char refused[CLAMD_WHY_MAX]; /* why nobody may ask it; "": it may be */
    sallyport_why refusal;
    uint64_t probe;
    struct clamd_health_report now, next; /* as told to all; as this look finds it */
    struct task tell;
    bool telling, dead;
};

static void step_begin(struct clamd_monitor *m, enum step step);

/* ---- what is told ---- */

static void tell_run(struct task *t)
{
    struct clamd_monitor *m = CONTAINER_OF(t, struct clamd_monitor, tell);

    m->telling = false;
    if (m->dead)
        free(m);
    else if (m->changed)
        m->changed(m->arg);
}

static void tell(struct clamd_monitor *m)
{
    if (!m->telling)
        loop_defer(m->loop, &m->tell);
    m->telling = true;
}

static bool is_same(const struct clamd_health_report *a, const struct clamd_health_report *b)
{
    return a->up == b->up && a->lives == b->lives && a->silent_limits == b->silent_limits &&
           a->transport == b->transport && a->scan_max == b->scan_max &&
           strcmp(a->version, b->version) == 0 && strcmp(a->why, b->why) == 0;
}

static void log_up(const struct clamd_monitor *m)
{
    char where[ADDRESS_TEXT_MAX];

    log_info("clamd", "the daemon is up: %s at=%s transport=%s scan_max=%llu", m->now.version,
             address_text(&m->settings.address, where),
             m->now.transport == CLAMD_FILDES ? "fildes" : "instream",
             (unsigned long long)m->now.scan_max);
    if (m->now.scan_max < m->settings.scan_max)
        log_warn("clamd",
                 "the daemon's own limits hide what is larger than %llu bytes, which is therefore "
                 "not inspected although max-scan allows %llu: raise MaxFileSize, MaxScanSize and "
                 "StreamMaxLength in clamd.conf",
                 (unsigned long long)m->now.scan_max, (unsigned long long)m->settings.scan_max);
    if (m->now.silent_limits)
        log_warn("clamd",
                 "the daemon calls clean what it did not look into, %s: set AlertExceedsMax yes "
                 "in clamd.conf, and leave ScanArchive on",
                 m->settings.trust_silent
                     ? "and is believed, as silent-limits says"
                     : "so that its OK is not believed and files are not-inspected");
}

static void log_down(const struct clamd_monitor *m)
{
    char where[ADDRESS_TEXT_MAX];

    log_warn("clamd", "the daemon cannot be used: %s at=%s", m->now.why,
             address_text(&m->settings.address, where));
}

/* Makes |next| known. Down for another reason is no other state: the log has the first one. */
static void publish(struct clamd_monitor *m)
{
    m->next.lives = m->lives;
    m->next.refused = m->refused[0] != '\0';
    m->next.refusal = m->refusal;

    bool first = m->now.since_wall_ms == 0, turned = first || m->now.up != m->next.up;

    if (!first && is_same(&m->now, &m->next))
        return;
    m->next.since_wall_ms = turned ? clock_wall_ms(loop_clock(m->loop)) : m->now.since_wall_ms;
    m->now = m->next;
    clamd_health_write(m->health, &m->now);
    if (m->now.up)
        log_up(m);
    else if (turned)
        log_down(m);
    tell(m);
}

/* ---- the end of a look ---- */

static void drop_session(struct clamd_monitor *m)
{
    clamd_session_close(m->session);
    m->session = NULL;
}

static void look_end(struct clamd_monitor *m)
{
    uint64_t wait = m->settings.check_ms;

    m->kept = m->next.up && m->session && clamd_session_is_idle(m->session);
    if (!m->kept)
        drop_session(m);
    m->step = STEP_REST;
    m->looked_ms = loop_now_ms(m->loop);
    publish(m);
    if (m->now.up) {
        m->backoff_ms = 0;
        if (m->suspected && wait > BACKOFF_MIN_MS)
            wait = BACKOFF_MIN_MS;
    } else {
        m->backoff_ms = m->backoff_ms ? m->backoff_ms * 2 : BACKOFF_MIN_MS;
        if (m->backoff_ms > BACKOFF_MAX_MS)
            m->backoff_ms = BACKOFF_MAX_MS;
        wait = m->backoff_ms;
    }
    timer_set(m->loop, &m->timer, loop_now_ms(m->loop) + wait);
}

static void look_down(struct clamd_monitor *m, struct span why)
{
    m->next = m->now;
    m->next.up = false;
    m->next.silent_limits = false;
    (void)span_copy(why, m->next.why, sizeof m->next.why);
    look_end(m);
}

static void look_up(struct clamd_monitor *m)
{
    m->next.up = true;
    m->next.why[0] = '\0';
    look_end(m);
}

/* ---- files of the self-test ---- */

/* The EICAR test file, in pieces so that no scanner takes us for infected, and zeros up to |len|: a
 * hole, which takes no memory. -1: errno. */
static int test_file(uint64_t len)
{
    static const char head[] = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-";
    static const char tail[] = "ANTIVIRUS-TEST-FILE!$H+H*";
    const size_t n_head = sizeof head - 1, n_tail = sizeof tail - 1;
    int fd = clamd_memfd();

    if (fd < 0)
        return -1;
    if (pwrite(fd, head, n_head, 0) != (ssize_t)n_head ||
        pwrite(fd, tail, n_tail, (off_t)n_head) != (ssize_t)n_tail ||
        (len > n_head + n_tail && ftruncate(fd, (off_t)len) != 0)) {
        int errnum = errno;

        (void)close(fd);
        errno = errnum;
        return -1;
    }
    return fd;
}

/* len 0: the bare file. */
static enum err send_test(struct clamd_monitor *m, uint64_t len)
{
    int fd = m->step == STEP_NEST ? clamd_nest_file(NEST_LEVELS) : test_file(len);
    struct file_ref *f = fd >= 0 ? clamd_file_new(fd) : NULL;

    if (!f) {
        if (fd >= 0)
            (void)close(fd);
        return ERR_NOMEM;
    }
    if (m->next.transport == CLAMD_FILDES)
        clamd_session_fildes(m->session, f);
    else
        clamd_session_instream(m->session, f, 0, len ? len : EICAR_LEN);
    file_unref(f);
    return OK;
}

/* ---- the steps ---- */

static uint64_t step_len(const struct clamd_monitor *m, enum step step)
{
    switch (step) {
    case STEP_PADDED: return PADDED_MIN;
    case STEP_LARGE: return m->probe;
    case STEP_NEST: return CLAMD_NEST_LEN(NEST_LEVELS);
    case STEP_REST:
    case STEP_CONNECT:
    case STEP_VERSION:
    case STEP_SMALL: break;
    }
    return 0;
}

static void after_limits(struct clamd_monitor *m)
{
    m->next.scan_max = m->probe;
    step_begin(m, STEP_NEST);
}

/* Was the signature found in the small file? */
static void after_small(struct clamd_monitor *m, bool is_found, struct span why)
{
    if (is_found && !m->full) {
        look_up(m);
    } else if (is_found) {
        m->probe = m->settings.scan_max;
        step_begin(m, STEP_PADDED);
    } else if (m->next.transport == CLAMD_FILDES && m->settings.transport == CLAMD_AUTO) {
        m->next.transport = CLAMD_INSTREAM;
        m->full = true;
        step_begin(m, STEP_SMALL);
    } else {
        look_down(m, why);
    }
}

static void after_large(struct clamd_monitor *m, bool is_found)
{
    if (is_found || m->probe <= PADDED_MIN) {
        after_limits(m);
        return;
    }
    m->probe = m->probe / 2 > PADDED_MIN ? m->probe / 2 : PADDED_MIN;
    if (m->probe == PADDED_MIN)
        after_limits(m); /* found before */
    else
        step_begin(m, STEP_LARGE);
}

static void after_test(struct clamd_monitor *m, enum clamd_verdict v, struct span why)
{
    switch (m->step) {
    case STEP_SMALL: after_small(m, v == CLAMD_FOUND, why); break;
    case STEP_PADDED:
        if (v == CLAMD_CLEAN)
            log_warn("clamd",
                     "the daemon's test signature means the bare file only: whether it looks "
                     "into files as large as max-scan cannot be tried");
        if (v == CLAMD_FOUND && m->probe > PADDED_MIN)
            step_begin(m, STEP_LARGE);
        else
            after_limits(m);
        break;
    case STEP_LARGE: after_large(m, v == CLAMD_FOUND); break;
    case STEP_NEST:
        m->next.silent_limits = v == CLAMD_CLEAN;
        look_up(m);
        break;
    case STEP_REST:
    case STEP_CONNECT:
    case STEP_VERSION: break;
    }
}

static void on_version(struct clamd_monitor *m, struct span text)
{
    char version[CLAMD_VERSION_MAX];
    uint32_t id;

    if (clamd_parse_version(text, &id, version) != OK || id != clamd_session_id(m->session)) {
        look_down(m, SPAN("it breaks clamd's protocol"));
        return;
    }
    m->full = m->reborn || !m->now.up || strcmp(version, m->now.version) != 0;
    m->reborn = false;
    m->next = m->now;
    memcpy(m->next.version, version, sizeof version);
    if (m->full) {
        m->next.transport = m->settings.transport;
        if (m->settings.address.ss.ss_family != AF_UNIX)
            m->next.transport = CLAMD_INSTREAM;
        else if (m->settings.transport == CLAMD_AUTO)
            m->next.transport = CLAMD_FILDES;
        m->next.silent_limits = false;
    }
    if (m->full || m->suspected) {
        m->suspected = false;
        step_begin(m, STEP_SMALL);
    } else {
        look_up(m);
    }
}

static void on_test(struct clamd_monitor *m, struct span text)
{
    struct clamd_answer a;
    uint32_t id = 0;

    if (clamd_parse_reply(text, &id, &a) != OK || (id && id != clamd_session_id(m->session))) {
        look_down(m, SPAN("it breaks clamd's protocol"));
        return;
    }
    /* After an error, and after a stream that is too long, clamd closes. */
    if (a.verdict == CLAMD_ERROR ||
        (a.verdict == CLAMD_LIMIT && m->next.transport != CLAMD_FILDES) ||
        !clamd_session_is_idle(m->session))
        drop_session(m);
    after_test(m, a.verdict,
               a.verdict == CLAMD_CLEAN
                   ? SPAN("it does not find the EICAR test signature: is its database empty?")
                   : span_of(a.text));
}

/* A session that dies, or a question without an answer, is an answer while the daemon is measured:
 * it may cut a connection at StreamMaxLength. */
static void on_lost(struct clamd_monitor *m, struct span why)
{
    bool was_asked = m->asked;

    drop_session(m);
    if (was_asked && m->step != STEP_VERSION)
        after_test(m, CLAMD_ERROR, why);
    else
        look_down(m, why);
}

/* The session of the last look ended by itself, so the daemon did. It may be back already, with
 * other signatures under the same version. */
static void on_ended(struct clamd_monitor *m)
{
    struct clamd_health_report until_measured = m->now;

    drop_session(m);
    m->kept = false;
    m->lives++;
    m->suspected = m->reborn = true;
    /* With other limits, or none that it tells of, it may call clean what it has not looked at. */
    until_measured.unmeasured = true;
    if (m->now.up)
        clamd_health_write(m->health, &until_measured);
    step_begin(m, STEP_CONNECT);
}

static void on_session(void *arg, enum clamd_session_event event, struct span text)
{
    struct clamd_monitor *m = arg;

    if (m->step == STEP_REST || (m->kept && event == CLAMD_SESSION_LOST)) {
        on_ended(m);
        return;
    }
    m->kept = false;
    switch (event) {
    case CLAMD_SESSION_READY:
        step_begin(m, m->step == STEP_CONNECT ? STEP_VERSION : m->step);
        break;
    case CLAMD_SESSION_REPLY:
        if (m->step == STEP_VERSION)
            on_version(m, text);
        else
            on_test(m, text);
        break;
    case CLAMD_SESSION_LOST: on_lost(m, text); break;
    }
}

static enum err step_send(struct clamd_monitor *m)
{
    if (!m->session)
        return clamd_session_new(m->loop, &m->settings.address, on_session, m, &m->session);
    if (!clamd_session_is_idle(m->session))
        return OK; /* READY begins the step again */
    m->asked = true;
    if (m->step != STEP_VERSION)
        return send_test(m, step_len(m, m->step));
    clamd_session_version(m->session);
    return OK;
}

/* Without a session it makes one first, and begins again when that is connected. */
static void step_begin(struct clamd_monitor *m, enum step step)
{
    if (m->refused[0])
        return;
    m->step = step;
    m->asked = false;
    timer_set(m->loop, &m->timer, loop_now_ms(m->loop) + m->settings.self_test_ms);
    enum err e = step_send(m);

    if (e)
        look_down(m, span_of(err_text(e)));
}

static void on_timer(struct timer *t)
{
    struct clamd_monitor *m = CONTAINER_OF(t, struct clamd_monitor, timer);

    if (m->step == STEP_REST)
        step_begin(m, m->session ? STEP_VERSION : STEP_CONNECT);
    else
        on_lost(m, SPAN("it does not answer"));
}

static void on_suspected(void *arg)
{
    struct clamd_monitor *m = arg;

    m->suspected = true;
    if (m->step != STEP_REST || !m->now.up)
        return;
    /* A daemon that fails file after file is not asked after each. */
    if (loop_now_ms(m->loop) >= m->looked_ms + BACKOFF_MIN_MS)
        step_begin(m, m->session ? STEP_VERSION : STEP_CONNECT);
    else
        timer_set(m->loop, &m->timer, m->looked_ms + BACKOFF_MIN_MS);
}

/* ---- whoever may not be asked ---- */

/* Nothing happens until it may be: no session, no timer. */
static void look_no_more(struct clamd_monitor *m)
{
    bool was_down = m->now.since_wall_ms > 0 && !m->now.up;

    drop_session(m);
    look_down(m, span_of(m->refused));
    timer_clear(m->loop, &m->timer);
    m->backoff_ms = 0;
    if (was_down)
        log_down(m); /* for another reason than the log has */
}

void clamd_monitor_refuse(struct clamd_monitor *m, const struct clamd_refusal *r)
{
    char before[sizeof m->refused];

    memcpy(before, m->refused, sizeof before);
    (void)span_copy(span_of(r ? r->text : ""), m->refused, sizeof m->refused);
    m->refusal = r ? r->why : (sallyport_why){0};
    if (strcmp(before, m->refused) == 0)
        return; /* no news, and nothing for the log */
    if (m->refused[0])
        look_no_more(m);
    else
        step_begin(m, STEP_CONNECT);
}

/* ---- life ---- */

enum err clamd_monitor_new(struct loop *l, const struct clamd_settings *s, struct clamd_health *h,
                           void (*changed)(void *arg), void *arg, struct clamd_monitor **ret)
{
    struct clamd_monitor *m = calloc(1, sizeof *m);

    if (!m)
        return ERR_NOMEM;
    m->loop = l;
    m->settings = *s;
    m->health = clamd_health_ref(h);
    m->changed = changed;
    m->arg = arg;
    m->timer.fire = on_timer;
    m->tell.run = tell_run;
    clamd_health_attach(h, l, on_suspected, m);
    m->settings.refused = NULL;
    if (s->refused)
        clamd_monitor_refuse(m, s->refused);
    else
        step_begin(m, STEP_CONNECT);
    *ret = m;
    return OK;
}

void clamd_monitor_free(struct clamd_monitor *m)
{
    if (!m)
        return;
    clamd_health_attach(m->health, NULL, NULL, NULL);
    clamd_health_unref(m->health);
    timer_clear(m->loop, &m->timer);
    clamd_session_close(m->session);
    m->dead = true;
    if (!m->telling)
        free(m);
}
