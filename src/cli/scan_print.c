/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/plain_text.h"
#include "cli/cli.h"
#include "cli/scan_int.h"

static const char *const words[] = {
    [SCAN_PASS] = "pass",       [SCAN_CHANGED] = "changed",
    [SCAN_BLOCKED] = "blocked", [SCAN_NOT_INSPECTED] = "not-inspected",
    [SCAN_ERROR] = "error",
};

const char *scan_verdict_word(enum scan_verdict v)
{
    return words[v];
}

bool scan_verdict_parse(const char *word, enum scan_verdict *ret)
{
    for (unsigned i = 0; word && i < ARRAY_LEN(words); i++)
        if (strcmp(words[i], word) == 0) {
            *ret = (enum scan_verdict)i;
            return true;
        }
    return false;
}

static int exit_code_of(const struct scan_outcome *o)
{
    switch (o->verdict) {
    case SCAN_PASS: return EXIT_FINE;
    case SCAN_CHANGED:
    case SCAN_BLOCKED:
    case SCAN_NOT_INSPECTED: return EXIT_REFUSED;
    case SCAN_ERROR: break;
    }
    if (o->unreadable)
        return EXIT_USAGE;
    if (o->status == 403 || o->status == 407) /* nobody hindered us: we are not wanted */
        return EXIT_REFUSED;
    return o->err == ERR_TLS || o->err == ERR_POLICY ? EXIT_SECURITY : EXIT_NETWORK;
}

void scan_count(struct scan_totals *t, const struct scan_outcome *o)
{
    int code = exit_code_of(o);

    t->files++;
    t->resumed += o->resumed;
    t->passed += o->verdict == SCAN_PASS;
    t->changed += o->verdict == SCAN_CHANGED;
    t->blocked += o->verdict == SCAN_BLOCKED;
    t->not_inspected += o->verdict == SCAN_NOT_INSPECTED;
    t->failed += o->verdict == SCAN_ERROR;
    /* Something that could not be asked is worse than something that was found. */
    if (code > t->worst)
        t->worst = code;
}

/* ---- a line for each file ---- */

static void print_json(const struct scanner *s, const char *path, const struct scan_outcome *o)
{
    struct buf line;
    struct json j = json_to(&line);

    buf_init(&line, 0);
    json_open(&j, NULL, '{');
    json_text(&j, "path", path);
    json_text(&j, "verdict", scan_verdict_word(o->verdict));
    if (o->reason[0])
        json_text(&j, "reason", o->reason);
    if (o->id[0])
        json_text(&j, "id", o->id);
    if (o->status)
        json_u64(&j, "icap_status", o->status);
    if (o->http_status)
        json_u64(&j, "http_status", o->http_status);
    if (o->verdict == SCAN_ERROR)
        json_text(&j, "error", o->unreadable ? "unreadable" : err_code(o->err));
    if (o->resumed) {
        json_bool(&j, "resumed", true);
    } else if (!o->unreadable) {
        if (s->how[0])
            json_text(&j, "how", s->how);
        if (s->who[0])
            json_text(&j, "who", s->who);
        json_milli(&j, "ms", o->us);
    }
    json_close(&j, '}');
    (void)puts(buf_cstr(&line));
    buf_done(&line);
}

/* Names and reasons may come from hostile files: nothing that a terminal would obey. */
static void put_safe(FILE *to, const char *text)
{
    struct buf out;

    buf_init(&out, 0);
    plain_text_add(&out, span_of(text));
    (void)fputs(buf_cstr(&out), to);
    buf_done(&out);
}

static void print_text(const char *path, const struct scan_outcome *o)
{
    put_safe(stdout, path);
    (void)printf(": %s", scan_verdict_word(o->verdict));
    if (o->reason[0]) {
        (void)fputs(" - ", stdout);
        put_safe(stdout, o->reason);
    }
    if (o->resumed)
        (void)fputs(" (from the last run", stdout);
    else
        (void)printf(" (%.1f ms", (double)o->us / 1000.0);
    if (o->id[0]) {
        (void)fputs(", id ", stdout);
        put_safe(stdout, o->id);
    }
    (void)puts(")");
}

static void print_unreadable(const char *path, const struct scan_outcome *o)
{
    (void)fputs("sallyport scan: ", stderr);
    put_safe(stderr, path);
    (void)fprintf(stderr, ": %s\n", o->reason);
}

void scan_print_line(enum scan_style style, const struct scanner *s, const char *path,
                     const struct scan_outcome *o)
{
    bool known_pass = o->resumed && o->verdict == SCAN_PASS;

    if (o->unreadable)
        print_unreadable(path, o);
    switch (style) {
    case SCAN_STYLE_JSON: print_json(s, path, o); break;
    case SCAN_STYLE_QUIET:
        if (o->verdict != SCAN_PASS && !o->unreadable)
            print_text(path, o);
        break;
    case SCAN_STYLE_TEXT:
        if (!known_pass && !o->unreadable)
            print_text(path, o);
        break;
    }
    (void)fflush(stdout);
}

/* ---- the end ---- */

const char *scan_size_text(uint64_t bytes, char dst[24])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    uint64_t whole = bytes / 1024;
    unsigned rest = (unsigned)(bytes % 1024), u = 0;

    if (bytes < 1024) {
        (void)snprintf(dst, 24, "%u %s", (unsigned)bytes, bytes == 1 ? "byte" : "bytes");
        return dst;
    }
    for (; whole >= 1024 && u + 1 < ARRAY_LEN(units); u++) {
        rest = (unsigned)(whole % 1024);
        whole /= 1024;
    }
    (void)snprintf(dst, 24, "%u.%u %s", (unsigned)whole, rest * 10 / 1024, units[u]);
    return dst;
}

void scan_print_summary(const struct scanner *s, const struct scan_totals *t)
{
    double seconds = (double)t->us / 1e6;
    char size[24];

    (void)printf("%llu %s", (unsigned long long)t->files, t->files == 1 ? "file" : "files");
    if (t->resumed)
        (void)printf(", %llu of them from the last run", (unsigned long long)t->resumed);
    (void)printf(": %llu passed, %llu changed, %llu blocked, %llu not inspected, %llu failed\n",
                 (unsigned long long)t->passed, (unsigned long long)t->changed,
                 (unsigned long long)t->blocked, (unsigned long long)t->not_inspected,
                 (unsigned long long)t->failed);
    (void)printf("%s in %.2f s, %.1f MB/s\n", scan_size_text(t->bytes, size), seconds,
                 seconds > 0 ? (double)t->bytes / 1e6 / seconds : 0.0);
    if (s->how[0])
        (void)printf("how: %s\nwho: %s\n", s->how,
                     s->who[0] ? s->who : "nobody that is authenticated");
    (void)fflush(stdout);
}
