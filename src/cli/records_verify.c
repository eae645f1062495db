/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/records_verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/plain_text.h"
#include "cli/record_verify.h"

/* Some seconds, for the most hostile of files; and as many more as the state says that the gateway
 * went, though no more than a quarter of an hour of them. */
#define STEPS_MAX       (UINT64_C(1) << 24)
#define STATE_STEPS_MAX (UINT64_C(1) << 31)
#define SAID_MAX        200u /* sentences about one file; the others are counted */
#define LOCK_TRIES      500u
#define LOCK_TRY_MS     10

struct run {
    const struct records_verify *a;
    struct buf records, chain_path;   /* where they are when no one says it */
    struct record_verify_file *files; /* with their sizes when the state was read */
    size_t n_files;
    int chain_fd; /* -1: none */
    uint8_t key[RECORD_MAC_LEN];
    struct record_chain state;
    bool has_state;
    unsigned said, held; /* of the current file */
};

PRINTF(2, 3) static int complain(const struct run *r, const char *fmt, ...)
{
    struct buf text;
    va_list ap;

    buf_init(&text, 0);
    va_start(ap, fmt);
    buf_vfmt(&text, fmt, ap);
    va_end(ap);
    int code = ask_complain(r->a->ask, EXIT_USAGE, "%s", buf_cstr(&text));

    buf_done(&text);
    return code;
}

PRINTF(1, 2) static void print_line(const char *fmt, ...)
{
    struct buf text, line;
    va_list ap;

    buf_init(&text, 0);
    buf_init(&line, 0);
    va_start(ap, fmt);
    buf_vfmt(&text, fmt, ap);
    va_end(ap);
    plain_text_line(&line, "%s", buf_cstr(&text));
    ask_print(&line);
    buf_done(&text);
    buf_done(&line);
}

/* ---- what it is checked with ---- */

/* At most |cap| octets, also of a pipe; -1 and errno. */
static ssize_t read_small(int fd, char *text, size_t cap)
{
    size_t n = 0;

    while (n < cap) {
        ssize_t r = read(fd, text + n, cap - n);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -1;
        if (r == 0)
            break;
        n += (size_t)r;
    }
    return (ssize_t)n;
}

/* It comes from elsewhere, and may come through a pipe. */
static int read_key(struct run *r)
{
    char text[RECORD_KEY_TEXT_LEN + 1];
    int fd = open(r->a->key, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n = fd >= 0 ? read_small(fd, text, sizeof text) : -1;
    int errnum = errno, code = EXIT_FINE;

    if (fd >= 0)
        (void)close(fd);
    if (n < 0)
        code = complain(r, "cannot read the key %s: %s", r->a->key, strerrordesc_np(errnum));
    else if (record_key_parse((struct span){text, (size_t)n}, r->key) != OK)
        code = complain(r, "%s is not a key of a chain of records", r->a->key);
    OPENSSL_cleanse(text, sizeof text);
    return code;
}

/* Not for ever: a gateway that hangs holds it, too. */
static bool lock_shared(int fd)
{
    const struct timespec moment = {.tv_nsec = LOCK_TRY_MS * 1000000L};
    struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

    for (unsigned i = 0; i < LOCK_TRIES; i++) {
        if (fcntl(fd, F_SETLK, &l) == 0)
            return true;
        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            return false;
        (void)nanosleep(&moment, NULL);
    }
    return false;
}

static int read_state(struct run *r)
{
    const char *path = buf_cstr(&r->chain_path);
    char state[RECORD_CHAIN_STATE_LEN + 1];
    int code = EXIT_FINE;

    if (!lock_shared(r->chain_fd))
        return complain(r, "cannot lock the state of the chain %s: %s", path,
                        strerrordesc_np(errno));
    ssize_t n = read_small(r->chain_fd, state, sizeof state);

    if (n < 0)
        code =
            complain(r, "cannot read the state of the chain %s: %s", path, strerrordesc_np(errno));
    else if (record_chain_decode((struct span){state, (size_t)n}, &r->state) != OK)
        code = complain(r, "%s is not the state of a chain of records", path);
    else
        r->has_state = true;
    OPENSSL_cleanse(state, sizeof state);
    return code;
}

/* One that nobody named may be out of reach: on another machine, or root's alone. */
static int open_state(struct run *r)
{
    const char *path;

    if (r->a->chain)
        buf_text(&r->chain_path, r->a->chain);
    else
        buf_fmt(&r->chain_path, "%s.chain",
                r->records.n ? buf_cstr(&r->records) : r->a->files[r->a->n_files - 1]);
    path = buf_cstr(&r->chain_path);
    r->chain_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (r->chain_fd >= 0)
        return EXIT_FINE;
    if (r->a->chain)
        return complain(r, "cannot read the state of the chain %s: %s", path,
                        strerrordesc_np(errno));
    print_line("note: whether the end is there cannot be told: %s: %s", path,
               strerrordesc_np(errno));
    return EXIT_FINE;
}

/* ---- what is checked ---- */

static int open_file(struct run *r, const char *name)
{
    struct record_verify_file *f = &r->files[r->n_files];
    struct stat st;

    *f = (struct record_verify_file){.name = name};
    f->fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (f->fd < 0)
        return complain(r, "cannot read the records %s: %s", name, strerrordesc_np(errno));
    r->n_files++;
    if (fstat(f->fd, &st) == 0 && S_ISREG(st.st_mode))
        return EXIT_FINE;
    return complain(r, "%s is no file: records are read twice, so unpack them into one", name);
}

static int open_files(struct run *r)
{
    size_t n = r->a->n_files ? r->a->n_files : 1;
    int code = EXIT_FINE;

    r->files = calloc(n, sizeof *r->files);
    if (!r->files)
        return complain(r, "out of memory");
    for (size_t i = 0; i < n && code == EXIT_FINE; i++)
        code = open_file(r, r->a->n_files ? r->a->files[i] : buf_cstr(&r->records));
    return code;
}

/* Under the lock nobody is in the middle of a batch. */
static int look(struct run *r)
{
    int code = r->chain_fd >= 0 ? read_state(r) : EXIT_FINE;

    for (size_t i = 0; i < r->n_files && code == EXIT_FINE; i++) {
        struct stat st;

        if (fstat(r->files[i].fd, &st) != 0)
            code = complain(r, "cannot read the records %s: %s", r->files[i].name,
                            strerrordesc_np(errno));
        else
            r->files[i].size = (uint64_t)st.st_size;
    }
    if (r->chain_fd >= 0)
        (void)close(r->chain_fd); /* ends the lock */
    r->chain_fd = -1;
    return code;
}

static int prepare(struct run *r)
{
    const struct ask *ask = r->a->ask;
    int code = EXIT_FINE;

    if (r->a->n_files == 0 || ask->config || ask->state)
        code = ask_records_path(ask, &r->records);
    if (code == EXIT_FINE)
        code = read_key(r);
    if (code == EXIT_FINE)
        code = open_state(r);
    if (code == EXIT_FINE)
        code = open_files(r);
    return code == EXIT_FINE ? look(r) : code;
}

/* ---- checking ---- */

static void on_say(void *arg, enum verify_kind kind, const char *name, uint64_t line,
                   const char *text)
{
    struct run *r = arg;
    const char *what = kind == VERIFY_NOTE ? "note: " : "";

    if (r->said == SAID_MAX) {
        r->held++;
        return;
    }
    r->said++;
    if (name)
        print_line("%s:%llu: %s%s", name, (unsigned long long)line, what, text);
    else
        print_line("%s%s", what, text);
}

static void print_counts(struct run *r, const char *name, const struct record_verify_counts *c)
{
    struct buf line;

    if (r->held)
        print_line("and %u sentences more", r->held);
    r->said = r->held = 0;
    buf_init(&line, 0);
    buf_fmt(&line, "%s: %llu records in %llu seals", name, (unsigned long long)c->records,
            (unsigned long long)c->seals);
    if (c->seals)
        buf_fmt(&line, " (%llu to %llu)", (unsigned long long)c->first,
                (unsigned long long)c->last);
    if (c->from[0])
        buf_fmt(&line, " from %s to %s", c->from, c->until);
    if (c->faults)
        buf_fmt(&line, ": WRONG, %llu fault%s", (unsigned long long)c->faults,
                c->faults == 1 ? "" : "s");
    else
        buf_text(&line, ": good");
    print_line("%s", buf_cstr(&line));
    buf_done(&line);
}

static int check_files(struct run *r, struct record_verify *v)
{
    const struct record_verify_file *f = NULL;
    struct record_verify_counts c;
    int errnum = 0;
    enum err e;

    while ((e = record_verify_next(v, &f, &c, &errnum)) == OK)
        print_counts(r, f->name, &c);
    if (e != ERR_EOF)
        return complain(r, "cannot read the records %s: %s", f ? f->name : "",
                        errnum ? strerrordesc_np(errnum) : err_text(e));
    if (record_verify_end(v, &c) != OK)
        return complain(r, "out of memory");
    print_counts(r, "all", &c);
    if (fflush(stdout) != 0 || ferror(stdout))
        return complain(r, "cannot write to standard output");
    return c.faults ? EXIT_REFUSED : EXIT_FINE;
}

static uint64_t steps_max(const struct run *r)
{
    if (!r->has_state)
        return STEPS_MAX;
    return STEPS_MAX + (r->state.next < STATE_STEPS_MAX ? r->state.next : STATE_STEPS_MAX);
}

static int check(struct run *r)
{
    const struct record_verify_settings s = {.key = r->key,
                                             .state = r->has_state ? &r->state : NULL,
                                             .steps_max = steps_max(r),
                                             .say = on_say,
                                             .arg = r};
    struct record_verify *v;

    if (record_verify_new(&s, r->files, r->n_files, &v) != OK)
        return complain(r, "out of memory");
    int code = check_files(r, v);

    record_verify_free(v);
    return code;
}

int records_verify(const struct records_verify *a)
{
    struct run r = {.a = a, .chain_fd = -1};

    buf_init(&r.records, 0);
    buf_init(&r.chain_path, 0);
    int code = prepare(&r);

    if (code == EXIT_FINE)
        code = check(&r);
    for (size_t i = 0; i < r.n_files; i++)
        (void)close(r.files[i].fd);
    free(r.files);
    if (r.chain_fd >= 0)
        (void)close(r.chain_fd);
    buf_done(&r.records);
    buf_done(&r.chain_path);
    OPENSSL_cleanse(r.key, sizeof r.key);
    record_chain_wipe(&r.state);
    return code;
}
