/* SPDX-License-Identifier: Apache-2.0 */
/* The writer behind the audit records. Each loop appends to a lane of its own under that lane's
 * lock, which only the writer contends for, and only to swap two buffers. The writer sleeps while
 * all lanes are empty, waits |flush_ms| after the first line, then writes everything with one
 * writev(2). With a sealer that write ends in the batch's seal. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"
#include "observe/record.h"
#include "observe/record_sealer.h"

#define RETRY_MS 1000u
/* Lines that are written while the caches still hold them. Under load the two buffers of a lane
 * then take turns, and no page is asked for and given back for each batch. */
#define BATCH     (128u << 10)
#define BUF_KEEP  (512u << 10) /* a burst's buffer above this goes back to the system */
#define IOV_BATCH 64u
#define NO_MARK   SIZE_MAX

struct lane {
    _Alignas(64) pthread_mutex_t lock; /* guards fill and mark */
    struct buf fill;
    size_t mark; /* what lies before it belongs to the file before a rotation, or NO_MARK */
    /* The writer's own. Swapped with |fill|; out.p[off, end) is next to be written. */
    struct buf out;
    size_t off, end;
};

struct record_log {
    struct record_log_settings set;
    uint64_t batch; /* so much is not waited with */
    struct lane *lanes;
    _Atomic uint64_t waiting; /* bytes in all lanes */
    _Atomic bool stop;
    _Atomic bool urgent; /* the writer shall not wait for |flush_ms| */
    _Atomic bool failed; /* the last write failed, or a line was dropped since */
    sem_t wake;
    pthread_t thread;
    pthread_mutex_t lock; /* guards next_fd; held over the marking and the gathering of all lanes */
    int next_fd;          /* rotation: -1 for none */
    /* The writer's own. */
    int fd;
    bool need_lf;     /* the file ends in half a line */
    bool write_error; /* the last write failed: slow down */
    bool told;        /* that the chain cannot go on */
    /* Counts; written by the writer, |lost| by all. */
    _Atomic uint64_t written, lost, bytes, batches, write_errors, seals;
};

static void count(_Atomic uint64_t *c, uint64_t n)
{
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

/* ---- the loops' side ---- */

/* The writer is told even when no line waits: it alone takes |failed| back. */
static enum err append_lost(struct record_log *log, enum err e)
{
    count(&log->lost, 1);
    if (!atomic_exchange(&log->failed, true))
        (void)sem_post(&log->wake);
    return e;
}

static void wake_now(struct record_log *log)
{
    atomic_store(&log->urgent, true);
    (void)sem_post(&log->wake);
}

static enum err lane_append(struct lane *lane, struct span line)
{
    enum err e;

    (void)pthread_mutex_lock(&lane->lock);
    buf_add(&lane->fill, line);
    e = lane->fill.err;
    lane->fill.err = OK; /* the line is lost, the lane goes on */
    (void)pthread_mutex_unlock(&lane->lock);
    return e;
}

/* Room is taken before the line goes in, so that the writer never gives back more than was taken.
 */
enum err record_log_append(struct record_log *log, unsigned loop, struct span line)
{
    uint64_t before;
    enum err e;

    if (log->set.fd < 0 || line.n == 0)
        return OK;
    assert(loop < log->set.loops && line.p[line.n - 1] == '\n');
    before = atomic_fetch_add(&log->waiting, line.n);
    if (before > log->set.buffer_max || line.n > log->set.buffer_max - before)
        e = ERR_FULL;
    else
        e = lane_append(&log->lanes[loop], line);
    if (e) {
        atomic_fetch_sub(&log->waiting, line.n);
        return append_lost(log, e);
    }
    /* The first line starts the writer's clock; a batch cuts its wait short. */
    if (before < log->batch && before + line.n >= log->batch)
        wake_now(log);
    else if (before == 0)
        (void)sem_post(&log->wake);
    return OK;
}

bool record_log_refuses(const struct record_log *log)
{
    return log->set.on_full == RECORD_REFUSE && atomic_load(&log->failed);
}

void record_log_reopen(struct record_log *log, int fd)
{
    int copy;

    if (log->set.fd < 0)
        return;
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) {
        count(&log->write_errors, 1);
        return;
    }
    (void)pthread_mutex_lock(&log->lock);
    if (log->next_fd >= 0)
        (void)close(log->next_fd);
    log->next_fd = copy;
    for (unsigned i = 0; i < log->set.loops; i++) {
        struct lane *lane = &log->lanes[i];

        (void)pthread_mutex_lock(&lane->lock);
        if (lane->mark == NO_MARK)
            lane->mark = lane->fill.n;
        (void)pthread_mutex_unlock(&lane->lock);
    }
    (void)pthread_mutex_unlock(&log->lock);
    wake_now(log);
}

void record_log_count(const struct record_log *log, struct record_log_counts *ret)
{
    *ret = (struct record_log_counts){
        .written = atomic_load_explicit(&log->written, memory_order_relaxed),
        .lost = atomic_load_explicit(&log->lost, memory_order_relaxed),
        .bytes = atomic_load_explicit(&log->bytes, memory_order_relaxed),
        .batches = atomic_load_explicit(&log->batches, memory_order_relaxed),
        .write_errors = atomic_load_explicit(&log->write_errors, memory_order_relaxed),
        .seals = atomic_load_explicit(&log->seals, memory_order_relaxed),
    };
}

/* ---- the writer's side ---- */

/* |rotating|: what is behind the mark waits for the new file. */
static void lane_gather(struct lane *lane, bool rotating)
{
    struct buf empty = lane->out;
    bool swap = lane->off == lane->out.n; /* else what the last try left comes first */

    if (swap) {
        buf_reset(&empty);
        if (empty.cap > BUF_KEEP)
            buf_done(&empty);
    }
    (void)pthread_mutex_lock(&lane->lock);
    if (swap) {
        lane->out = lane->fill;
        lane->fill = empty;
        lane->off = 0;
    }
    lane->end = lane->out.n;
    if (swap && rotating && lane->mark < lane->end)
        lane->end = lane->mark;
    if (rotating)
        lane->mark = NO_MARK;
    (void)pthread_mutex_unlock(&lane->lock);
}

/* Swaps every lane whose last batch is out. Returns the file to rotate to after what lies before
 * the marks is written, or -1. */
static int gather(struct record_log *log)
{
    int next;

    (void)pthread_mutex_lock(&log->lock);
    next = log->next_fd;
    log->next_fd = -1;
    for (unsigned i = 0; i < log->set.loops; i++)
        lane_gather(&log->lanes[i], next >= 0);
    (void)pthread_mutex_unlock(&log->lock);
    return next;
}

static uint64_t lines_in(struct span s)
{
    uint64_t n = 0;

    for (struct span rest = s; rest.n; n++) {
        size_t at = span_find(rest, '\n');

        if (at == rest.n)
            break;
        rest = span_sub(rest, at + 1, SIZE_MAX);
    }
    return n;
}

/* |n| bytes of the batch are with the kernel: first the LF that closes half a line, then the lanes
 * in order. */
static void batch_taken(struct record_log *log, size_t n)
{
    count(&log->bytes, n);
    if (n && log->need_lf) {
        log->need_lf = false;
        n--;
    }
    for (unsigned i = 0; n && i < log->set.loops; i++) {
        struct lane *lane = &log->lanes[i];
        size_t here = lane->end - lane->off < n ? lane->end - lane->off : n;

        count(&log->written, lines_in((struct span){lane->out.p + lane->off, here}));
        lane->off += here;
        n -= here;
        atomic_fetch_sub(&log->waiting, here);
    }
}

/* At most IOV_BATCH of them. The LF that closes half a line comes first. */
static unsigned batch_iov(struct record_log *log, struct iovec iov[])
{
    static char lf[] = "\n";
    unsigned n = 0;

    if (log->need_lf)
        iov[n++] = (struct iovec){lf, 1};
    for (unsigned i = 0; i < log->set.loops && n < IOV_BATCH; i++) {
        struct lane *lane = &log->lanes[i];

        if (lane->off < lane->end)
            iov[n++] = (struct iovec){lane->out.p + lane->off, lane->end - lane->off};
    }
    return n;
}

/* A write failed: a lane that stopped within a line loses the rest of that line, because half of it
 * is in the file already, and readers must find line ends. */
static void batch_cut(struct record_log *log)
{
    for (unsigned i = 0; i < log->set.loops; i++) {
        struct lane *lane = &log->lanes[i];
        struct span rest = {lane->out.p + lane->off, lane->out.n - lane->off};
        size_t n;

        if (rest.n == 0 || lane->off == 0 || lane->out.p[lane->off - 1] == '\n')
            continue;
        n = span_find(rest, '\n') + 1;
        lane->off += n;
        atomic_fetch_sub(&log->waiting, n);
        log->need_lf = true;
        count(&log->lost, 1);
    }
}

/* Writes what lies before each lane's |end|: one writev unless the kernel takes less, or there are
 * more lanes than iovecs. */
static bool batch_write_plain(struct record_log *log)
{
    struct iovec iov[IOV_BATCH];
    unsigned n;

    while ((n = batch_iov(log, iov)) > 0) {
        ssize_t taken = writev(log->fd, iov, (int)n);

        if (taken < 0 && errno == EINTR)
            continue;
        if (taken <= 0) {
            count(&log->write_errors, 1);
            batch_cut(log);
            return false;
        }
        count(&log->batches, 1);
        batch_taken(log, (size_t)taken);
    }
    return true;
}

/* ---- sealed batches ---- */

/* Moves |iov| on; false when the kernel takes no more. */
static bool write_all(struct record_log *log, struct iovec *iov, unsigned n, size_t *ret_done)
{
    for (*ret_done = 0; n > 0;) {
        ssize_t taken = writev(log->fd, iov, (int)n);

        if (taken < 0 && errno == EINTR)
            continue;
        if (taken <= 0)
            return false;
        count(&log->batches, 1);
        *ret_done += (size_t)taken;
        size_t left = (size_t)taken;

        for (; n > 0 && left >= iov->iov_len; n--)
            left -= iov++->iov_len;
        if (n > 0)
            *iov = (struct iovec){(char *)iov->iov_base + left, iov->iov_len - left};
    }
    return true;
}

/* Once until it works again. */
static void tell_chain(struct record_log *log, bool ok)
{
    struct buf why;

    if (log->told == !ok)
        return;
    log->told = !ok;
    if (ok) {
        log_info("records", "the chain of the records goes on");
        return;
    }
    buf_init(&why, 0);
    record_sealer_why(log->set.sealer, &why);
    log_error("records",
              "%s; no record is written until that is mended (tried every second), and what is in "
              "records.on-full counts",
              buf_cstr(&why));
    buf_done(&why);
}

/* The seal is not in the file, or not whole: what is there of its batch stays unsealed. */
static bool seal_failed(struct record_log *log, bool in_seal)
{
    count(&log->write_errors, 1);
    batch_cut(log);
    log->need_lf |= in_seal;
    record_sealer_abandon(log->set.sealer);
    return false;
}

/* Room for one more is behind the |n| of |iov|. No other process writes meanwhile. A LF that closes
 * half a line is no seal's: it belongs to what nobody vouches for. */
static bool batch_seal(struct record_log *log, struct iovec *iov, unsigned n)
{
    const unsigned lf = log->need_lf;
    const bool lines = n > lf;
    struct span line;
    size_t done, batch = 0;

    if (record_sealer_begin(log->set.sealer, iov + lf, n - lf, &line) != OK) {
        count(&log->write_errors, 1);
        tell_chain(log, false);
        return false;
    }
    for (unsigned i = 0; i < n; i++)
        batch += iov[i].iov_len;
    if (lines)
        iov[n++] = (struct iovec){(void *)(uintptr_t)line.p, line.n}; /* writev only reads */
    bool ok = write_all(log, iov, n, &done);

    batch_taken(log, done < batch ? done : batch);
    if (done > batch)
        count(&log->bytes, done - batch);
    if (!ok)
        return seal_failed(log, done > batch);
    if (!lines) {
        record_sealer_abandon(log->set.sealer);
        return true;
    }
    ok = record_sealer_commit(log->set.sealer) == OK;
    count(ok ? &log->seals : &log->write_errors, 1);
    if (!ok)
        tell_chain(log, false);
    return ok;
}

/* After a failure, and also when no line waits: |failed| lasts as long as the trouble does. */
static bool chain_works(struct record_log *log)
{
    struct span line;

    if (!log->told)
        return true;
    if (record_sealer_begin(log->set.sealer, NULL, 0, &line) != OK) {
        count(&log->write_errors, 1);
        return false;
    }
    record_sealer_abandon(log->set.sealer);
    tell_chain(log, true);
    return true;
}

static bool batch_write_sealed(struct record_log *log)
{
    struct iovec iov[IOV_BATCH + 1];
    unsigned n;

    if (!chain_works(log))
        return false;
    while ((n = batch_iov(log, iov)) > 0)
        if (!batch_seal(log, iov, n))
            return false;
    return true;
}

static bool batch_write(struct record_log *log)
{
    return log->set.sealer ? batch_write_sealed(log) : batch_write_plain(log);
}

static void rotate(struct record_log *log, int next)
{
    (void)close(log->fd);
    log->fd = next;
    log->need_lf = false;
    for (unsigned i = 0; i < log->set.loops; i++)
        log->lanes[i].end = log->lanes[i].out.n;
}

/* One turn of the writer. */
static void flush(struct record_log *log)
{
    int next = gather(log);
    bool ok = batch_write(log);

    if (next >= 0) {
        rotate(log, next);
        ok = batch_write(log);
    }
    log->write_error = !ok;
    atomic_store(&log->failed, !ok);
}

static struct timespec from_now(uint64_t ms)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* Sleeps for |ms|, or until something is urgent. */
static void nap(struct record_log *log, uint64_t ms)
{
    struct timespec until = from_now(ms);

    while (!atomic_exchange(&log->urgent, false))
        if (sem_clockwait(&log->wake, CLOCK_MONOTONIC, &until) != 0 && errno == ETIMEDOUT)
            return;
}

/* An idle gateway does not wake up for its records. */
static void wait_for_lines(struct record_log *log)
{
    while (atomic_load(&log->waiting) == 0 && !atomic_load(&log->urgent) &&
           !atomic_load(&log->failed))
        (void)sem_wait(&log->wake);
}

static void *writer(void *arg)
{
    struct record_log *log = arg;

    while (!atomic_load(&log->stop)) {
        if (!log->write_error)
            wait_for_lines(log);
        if (log->write_error)
            nap(log, RETRY_MS);
        else if (atomic_load(&log->waiting) < log->batch)
            nap(log, log->set.flush_ms);
        flush(log);
    }
    flush(log); /* lines that stood behind a failed batch, or came during the last flush */
    return NULL;
}

/* ---- life ---- */

/* Signals are the loops' to take. */
static enum err writer_start(struct record_log *log)
{
    sigset_t all, before;
    int error;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&log->thread, NULL, writer, log);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error ? ERR_BUSY : OK;
}

static void log_destroy(struct record_log *log)
{
    for (unsigned i = 0; log->lanes && i < log->set.loops; i++) {
        buf_done(&log->lanes[i].fill);
        buf_done(&log->lanes[i].out);
        (void)pthread_mutex_destroy(&log->lanes[i].lock);
    }
    free(log->lanes);
    (void)pthread_mutex_destroy(&log->lock);
    (void)sem_destroy(&log->wake);
    if (log->next_fd >= 0)
        (void)close(log->next_fd);
    if (log->fd >= 0)
        (void)close(log->fd);
    free(log);
}

static enum err log_open(struct record_log *log)
{
    size_t n = log->set.loops * sizeof *log->lanes;

    log->fd = fcntl(log->set.fd, F_DUPFD_CLOEXEC, 3);
    if (log->fd < 0)
        return err_from_errno(errno);
    log->lanes = mem_fail_now() ? NULL : aligned_alloc(_Alignof(struct lane), n);
    if (!log->lanes)
        return ERR_NOMEM;
    for (unsigned i = 0; i < log->set.loops; i++) {
        log->lanes[i] = (struct lane){.mark = NO_MARK};
        (void)pthread_mutex_init(&log->lanes[i].lock, NULL);
    }
    return writer_start(log);
}

enum err record_log_new(const struct record_log_settings *s, struct record_log **ret)
{
    struct record_log *log = mem_fail_now() ? NULL : calloc(1, sizeof *log);
    enum err e = OK;

    if (!log)
        return ERR_NOMEM;
    log->set = *s;
    log->batch = s->buffer_max / 2 < BATCH ? s->buffer_max / 2 : BATCH;
    log->fd = log->next_fd = -1;
    (void)pthread_mutex_init(&log->lock, NULL);
    (void)sem_init(&log->wake, 0, 0);
    if (s->fd >= 0)
        e = log_open(log);
    if (e)
        log_destroy(log);
    else
        *ret = log;
    return e;
}

void record_log_free(struct record_log *log)
{
    if (!log)
        return;
    if (log->set.fd >= 0) {
        atomic_store(&log->stop, true);
        wake_now(log);
        (void)pthread_join(log->thread, NULL);
    }
    record_sealer_free(log->set.sealer);
    log_destroy(log);
}
