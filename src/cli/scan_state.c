/* SPDX-License-Identifier: Apache-2.0 */
/* scan_state.c - the file of --resume: JSON lines, the first says what it is, each other one is a
 * file that is done. Only appended to; a cut last line is dropped; the last line about a path
 * counts. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/json.h"
#include "base/map.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/scan_int.h"

#define HEADER "{\"sallyport-scan-state\":1}\n"

struct done_file {
    UT_hash_handle hh;
    uint64_t size, inode, mtime_ns;
    enum scan_verdict verdict;
    char *tag, *reason, *id;
    char path[];
};

struct scan_state {
    int fd;
    dev_t dev;
    ino_t ino;
    const char *service;
    struct done_file *files;
};

static uint64_t mtime_ns_of(const struct stat *st)
{
    return (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;
}

/* ---- reading ---- */

static void done_free(struct done_file *d)
{
    free(d->tag);
    free(d->reason);
    free(d->id);
    free(d);
}

static void forget(struct scan_state *s, const char *path)
{
    struct done_file *d = NULL;

    HASH_FIND(hh, s->files, path, strlen(path), d);
    if (!d)
        return;
    HASH_DEL(s->files, d);
    done_free(d);
}

static char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));

    return strdup(text ? text : "");
}

static uint64_t number_of(const json_t *o, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(o, key));

    return v > 0 ? (uint64_t)v : 0;
}

/* Verdicts that would be the same if they were asked for again. */
static bool is_final(enum scan_verdict v)
{
    return v == SCAN_PASS || v == SCAN_CHANGED || v == SCAN_BLOCKED;
}

static void remember(struct scan_state *s, const json_t *o)
{
    const char *path = json_string_value(json_object_get(o, "path"));
    const char *service = json_string_value(json_object_get(o, "service"));
    struct done_file *d;
    enum scan_verdict v;

    if (!path || !service ||
        !scan_verdict_parse(json_string_value(json_object_get(o, "verdict")), &v))
        return;
    forget(s, path);
    if (strcmp(service, s->service) != 0 || !is_final(v))
        return;
    d = calloc(1, sizeof *d + strlen(path) + 1);
    if (!d)
        return; /* then it is scanned again */
    memcpy(d->path, path, strlen(path) + 1);
    d->verdict = v;
    d->size = number_of(o, "size");
    d->inode = number_of(o, "inode");
    d->mtime_ns = number_of(o, "mtime_ns");
    d->tag = text_of(o, "tag");
    d->reason = text_of(o, "reason");
    d->id = text_of(o, "id");
    HASH_ADD_KEYPTR(hh, s->files, d->path, strlen(path), d);
    if (!d->hh.tbl)
        done_free(d);
}

static void read_line(struct scan_state *s, const char *line, size_t n)
{
    json_t *o = json_loadb(line, n, 0, NULL);

    if (json_is_object(o))
        remember(s, o);
    json_decref(o);
}

/* *ret_whole: bytes up to the end of the last whole line. */
static bool read_lines(struct scan_state *s, FILE *in, uint64_t *ret_whole)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    bool first = true, ours = true;

    *ret_whole = 0;
    while (ours && (n = getline(&line, &cap, in)) > 0) {
        size_t len = (size_t)n;
        bool whole = line[len - 1] == '\n';

        if (first)
            ours = len <= strlen(HEADER) && strncmp(line, HEADER, len) == 0;
        else if (whole)
            read_line(s, line, len);
        *ret_whole += whole ? len : 0;
        first = false;
    }
    free(line);
    return ours && !ferror(in);
}

static bool write_all(int fd, struct span text)
{
    while (text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);

        if (n < 0 && errno != EINTR)
            return false;
        text = span_sub(text, n > 0 ? (size_t)n : 0, SIZE_MAX);
    }
    return true;
}

/* NULL, or what is wrong. */
static const char *load(struct scan_state *s, const char *path)
{
    struct stat st;
    uint64_t whole = 0;
    FILE *in;
    int again;
    bool ok;

    s->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (s->fd < 0 || fstat(s->fd, &st) != 0)
        return strerror(errno);
    if (!S_ISREG(st.st_mode))
        return "not a regular file";
    if (flock(s->fd, LOCK_EX | LOCK_NB) != 0)
        return "another scan uses it";
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    again = fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
    in = again >= 0 ? fdopen(again, "r") : NULL;
    if (!in)
        return strerror(errno);
    ok = read_lines(s, in, &whole);
    (void)fclose(in);
    if (!ok)
        return "not a state file of sallyport scan; name another";
    if (ftruncate(s->fd, (off_t)whole) != 0 || (whole == 0 && !write_all(s->fd, SPAN(HEADER))))
        return strerror(errno);
    return NULL;
}

struct scan_state *scan_state_open(const char *path, const char *service, int *ret_code)
{
    struct scan_state *s = calloc(1, sizeof *s);
    const char *wrong = "no memory";

    if (s) {
        s->fd = -1;
        s->service = service;
        wrong = load(s, path);
    }
    if (!wrong)
        return s;
    (void)fprintf(stderr, "sallyport scan: --resume %s: %s\n", path, wrong);
    scan_state_close(s);
    *ret_code = EXIT_USAGE;
    return NULL;
}

void scan_state_close(struct scan_state *s)
{
    struct done_file *d, *next;

    if (!s)
        return;
    HASH_ITER (hh, s->files, d, next) {
        HASH_DEL(s->files, d);
        done_free(d);
    }
    if (s->fd >= 0)
        (void)close(s->fd);
    free(s);
}

/* ---- asking and adding ---- */

bool scan_state_knows(const struct scan_state *s, const char *path, const struct stat *st,
                      const char *tag, struct scan_outcome *ret)
{
    struct done_file *d = NULL;

    /* Two names that are no text may look the same in JSON. */
    if (tag[0] == '\0' || !utf8_is_valid(span_of(path)))
        return false;
    HASH_FIND(hh, s->files, path, strlen(path), d);
    if (!d || d->size != (uint64_t)st->st_size || d->inode != (uint64_t)st->st_ino ||
        d->mtime_ns != mtime_ns_of(st) || strcmp(d->tag, tag) != 0)
        return false;
    *ret = (struct scan_outcome){.verdict = d->verdict, .resumed = true};
    (void)span_copy(span_of(d->reason), ret->reason, sizeof ret->reason);
    (void)span_copy(span_of(d->id), ret->id, sizeof ret->id);
    (void)span_copy(span_of(d->tag), ret->tag, sizeof ret->tag);
    return true;
}

bool scan_state_add(struct scan_state *s, const char *path, const struct stat *st,
                    const struct scan_outcome *o)
{
    struct buf line;
    struct json j = json_to(&line);
    bool ok;

    buf_init(&line, 0);
    json_open(&j, NULL, '{');
    json_text(&j, "path", path);
    json_u64(&j, "size", (uint64_t)st->st_size);
    json_u64(&j, "mtime_ns", mtime_ns_of(st));
    json_u64(&j, "inode", (uint64_t)st->st_ino);
    json_text(&j, "verdict", scan_verdict_word(o->verdict));
    json_text(&j, "reason", o->reason);
    json_text(&j, "id", o->id);
    json_text(&j, "service", s->service);
    json_text(&j, "tag", o->tag);
    json_close(&j, '}');
    buf_char(&line, '\n');
    ok = !line.err && write_all(s->fd, buf_span(&line));
    buf_done(&line);
    return ok;
}

bool scan_state_is(const struct scan_state *s, const struct stat *st)
{
    return s->dev == st->st_dev && s->ino == st->st_ino;
}
