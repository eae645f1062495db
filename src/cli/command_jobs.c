/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a printer and of its jobs, or of one job, as the printer says it. */
#include <getopt.h>
#include <stdio.h>

#include "base/json.h"
#include "base/plain_text.h"
#include "cli/ask.h"
#include "cli/print_link.h"
#include "cli/scan_int.h"
#include "ipp/ipp_names.h"

#define MAX_DEFAULT 100
#define MAX_MAX     10000u

enum { OPTION_JOB = PRINT_OPTION_OWN, OPTION_COMPLETED, OPTION_MAX };

/* clang-format off */
static const struct option options[] = {
    PRINT_OPTIONS,
    {"job", required_argument, NULL, OPTION_JOB},
    {"completed", no_argument, NULL, OPTION_COMPLETED},
    {"max", required_argument, NULL, OPTION_MAX},
    {0},
};
/* clang-format on */

struct arguments {
    struct print_options common;
    int32_t job; /* 0: not named by its number */
    int32_t max;
    bool completed;
};

static const char *const about_job[] = {
    "job-id",    "job-uri",           "job-name",     "job-originating-user-name",
    "job-state", "job-state-reasons", "job-k-octets", "job-state-message",
};

/* ---- one job ---- */

static void add_job_json(struct json *j, struct span attributes)
{
    struct buf reasons;

    buf_init(&reasons, 0);
    print_add_texts(&reasons, attributes, "job-state-reasons");
    json_open(j, NULL, '{');
    json_i64(j, "job", ipp_client_number(attributes, "job-id", 0));
    json_span(j, "job_uri", ipp_client_text(attributes, "job-uri"));
    json_span(j, "title", ipp_client_text(attributes, "job-name"));
    json_span(j, "user", ipp_client_text(attributes, "job-originating-user-name"));
    json_text(j, "state", print_job_state(ipp_client_number(attributes, "job-state", 0)));
    json_span(j, "reasons", buf_span(&reasons));
    json_i64(j, "kib", ipp_client_number(attributes, "job-k-octets", 0));
    json_close(j, '}');
    buf_done(&reasons);
}

static void add_job_line(struct buf *out, struct span attributes)
{
    struct span user = ipp_client_text(attributes, "job-originating-user-name");
    struct span title = ipp_client_text(attributes, "job-name");
    int32_t kib = ipp_client_number(attributes, "job-k-octets", 0);
    char size[24];

    plain_text_line(out, "%6d  %-18s  %-12.*s  %-10s  " SPAN_FMT,
                    ipp_client_number(attributes, "job-id", 0),
                    print_job_state(ipp_client_number(attributes, "job-state", 0)), SPAN_ARG(user),
                    scan_size_text(kib > 0 ? (uint64_t)kib * 1024 : 0, size), SPAN_ARG(title));
}

static void add_line(struct buf *out, const char *what, struct span text)
{
    if (text.n)
        plain_text_line(out, "%s: " SPAN_FMT, what, SPAN_ARG(text));
}

static void add_job_text(struct buf *out, struct span attributes)
{
    struct span message = ipp_client_text(attributes, "job-state-message");

    struct buf reasons;

    buf_init(&reasons, 0);
    print_add_texts(&reasons, attributes, "job-state-reasons");
    plain_text_line(out, "job %d: %s (" SPAN_FMT ")", ipp_client_number(attributes, "job-id", 0),
                    print_job_state(ipp_client_number(attributes, "job-state", 0)),
                    SPAN_ARG(buf_span(&reasons)));
    buf_done(&reasons);
    add_line(out, "message", message);
    add_line(out, "title", ipp_client_text(attributes, "job-name"));
    add_line(out, "of", ipp_client_text(attributes, "job-originating-user-name"));
    add_line(out, "uri", ipp_client_text(attributes, "job-uri"));
}

static int show_job(const struct arguments *a, struct print_link *l)
{
    const struct ipp_client_message m = {
        .operation = IPP_OPERATION_GET_JOB_ATTRIBUTES,
        .is_job = a->job == 0,
        .job_id = a->job,
        .user = l->user,
        .wanted = about_job,
        .n_wanted = ARRAY_LEN(about_job),
    };
    struct ipp_group g = {0};
    struct buf out;
    int code = print_ask(l, &m, NULL, true, NULL, NULL);

    if (code != EXIT_FINE || !print_is_success(l))
        return print_failed(l, code, "to show the job");
    (void)ipp_client_group(&l->answer.message, IPP_GROUP_JOB, &g);
    buf_init(&out, 0);
    if (a->common.json) {
        struct json j = json_to(&out);

        json_open(&j, NULL, '{');
        json_span(&j, "uri", buf_span(&l->url));
        json_open(&j, "jobs", '[');
        add_job_json(&j, g.attributes);
        json_close(&j, ']');
        print_add_protection(&j, l);
        json_close(&j, '}');
        (void)puts(buf_cstr(&out));
    } else {
        add_job_text(&out, g.attributes);
        print_say_protection(l, &out);
        ask_print(&out);
    }
    buf_done(&out);
    return EXIT_FINE;
}

/* ---- the printer and its jobs ---- */

static bool is_accepting(struct span attributes)
{
    struct ipp_attribute a;
    struct ipp_value v;
    bool yes;

    return ipp_attribute_find(attributes, SPAN("printer-is-accepting-jobs"), &a) != OK ||
           !ipp_attribute_single(&a, IPP_VALUE_BOOLEAN, &v) || !ipp_value_boolean(&v, &yes) || yes;
}

static void add_printer_json(struct json *j, struct span attributes)
{
    struct buf reasons;

    buf_init(&reasons, 0);
    print_add_texts(&reasons, attributes, "printer-state-reasons");
    json_open(j, "printer", '{');
    json_span(j, "name", ipp_client_text(attributes, "printer-name"));
    json_span(j, "info", ipp_client_text(attributes, "printer-info"));
    json_text(j, "state", print_printer_state(ipp_client_number(attributes, "printer-state", 0)));
    json_span(j, "reasons", buf_span(&reasons));
    json_bool(j, "accepting", is_accepting(attributes));
    json_i64(j, "queued", ipp_client_number(attributes, "queued-job-count", -1));
    json_close(j, '}');
    buf_done(&reasons);
}

static void add_printer_text(struct buf *out, struct span attributes)
{
    int32_t queued = ipp_client_number(attributes, "queued-job-count", -1);
    struct buf line;

    buf_init(&line, 0);
    buf_fmt(&line, SPAN_FMT ": %s (", SPAN_ARG(ipp_client_text(attributes, "printer-name")),
            print_printer_state(ipp_client_number(attributes, "printer-state", 0)));
    print_add_texts(&line, attributes, "printer-state-reasons");
    buf_fmt(&line, "), %s", is_accepting(attributes) ? "takes jobs" : "takes no jobs");
    if (queued >= 0)
        buf_fmt(&line, ", %d queued", queued);
    plain_text_line(out, "%s", buf_cstr(&line));
    buf_done(&line);
}

static int ask_printer(struct print_link *l, struct json *j, struct buf *out)
{
    static const char *const wanted[] = {
        "printer-name",
        "printer-info",
        "printer-state",
        "printer-state-reasons",
        "printer-is-accepting-jobs",
        "queued-job-count",
    };
    const struct ipp_client_message m = {
        .operation = IPP_OPERATION_GET_PRINTER_ATTRIBUTES,
        .user = l->user,
        .wanted = wanted,
        .n_wanted = ARRAY_LEN(wanted),
    };
    struct ipp_group g = {0};
    int code = print_ask(l, &m, NULL, true, NULL, NULL);

    if (code != EXIT_FINE || !print_is_success(l))
        return print_failed(l, code, "to show the printer");
    (void)ipp_client_group(&l->answer.message, IPP_GROUP_PRINTER, &g);
    if (l->o->json)
        add_printer_json(j, g.attributes);
    else
        add_printer_text(out, g.attributes);
    return EXIT_FINE;
}

static void add_jobs(const struct print_link *l, struct json *j, struct buf *out)
{
    struct ipp_group g;

    if (l->o->json)
        json_open(j, "jobs", '[');
    for (struct span gs = l->answer.message.groups; ipp_group_next(&gs, &g);) {
        if (g.tag != IPP_GROUP_JOB)
            continue;
        if (l->o->json)
            add_job_json(j, g.attributes);
        else
            add_job_line(out, g.attributes);
    }
    if (l->o->json)
        json_close(j, ']');
}

static int ask_jobs(const struct arguments *a, struct print_link *l, struct json *j,
                    struct buf *out)
{
    const struct ipp_client_message m = {
        .operation = IPP_OPERATION_GET_JOBS,
        .user = l->user,
        .which = a->completed ? "completed" : "not-completed",
        .limit = a->max,
        .wanted = about_job,
        .n_wanted = ARRAY_LEN(about_job),
    };
    int code = print_ask(l, &m, NULL, true, NULL, NULL);

    if (code != EXIT_FINE || !print_is_success(l))
        return print_failed(l, code, "to list its jobs");
    add_jobs(l, j, out);
    return EXIT_FINE;
}

static int show_printer(const struct arguments *a, struct print_link *l)
{
    struct ipp_client_result first;
    struct buf out;
    struct json j = json_to(&out);
    int code;

    buf_init(&out, 0);
    json_open(&j, NULL, '{');
    if (l->o->json)
        json_span(&j, "uri", buf_span(&l->url));
    else
        buf_reset(&out);
    code = ask_printer(l, &j, &out);
    first = l->answer.result;
    if (code == EXIT_FINE)
        code = ask_jobs(a, l, &j, &out);
    /* A printer may want TLS for its jobs alone: the weaker channel is the one to tell. */
    if (code == EXIT_FINE && first.level.channel < l->answer.result.level.channel)
        l->answer.result = first;
    if (code == EXIT_FINE && l->o->json) {
        print_add_protection(&j, l);
        json_close(&j, '}');
        (void)puts(buf_cstr(&out));
    } else if (code == EXIT_FINE) {
        print_say_protection(l, &out);
        ask_print(&out);
    }
    buf_done(&out);
    return code;
}

/* ---- which of both ---- */

static bool is_number(struct span s)
{
    uint64_t n;

    return span_u64(s, INT32_MAX, &n) == OK;
}

/* URIs of jobs end in their number; a printer may be called that, too, and is then below
 * "printers". */
static bool is_job_path(struct span path)
{
    struct span last = SPAN_NONE, before = SPAN_NONE;

    for (struct span rest = path; rest.p;) {
        before = last;
        last = span_cut(&rest, '/');
    }
    return is_number(last) && before.n > 0 && !span_eq(before, SPAN("printers")) &&
           !span_eq(before, SPAN("classes"));
}

static int open_and_show(struct arguments *a, char *uri)
{
    struct print_link l;
    int code = print_link_open(&l, &a->common, uri);

    if (code == EXIT_FINE)
        code = a->job || is_job_path(l.uri.path) ? show_job(a, &l) : show_printer(a, &l);
    print_link_close(&l);
    return code;
}

/* False: *ret_code says how to end. */
static bool take_number(const char *name, uint64_t max, int32_t *ret, int *ret_code)
{
    uint64_t n;

    if (span_u64(span_of(optarg), max, &n) == OK && n > 0) {
        *ret = (int32_t)n;
        return true;
    }
    *ret_code = command_wrong(&command_jobs, "%s wants a number from 1 to %llu, not '%s'", name,
                              (unsigned long long)max, optarg);
    return false;
}

static bool take_option(struct arguments *a, int c, int *ret_code)
{
    switch (c) {
    case OPTION_JOB: return take_number("--job", INT32_MAX, &a->job, ret_code);
    case OPTION_MAX: return take_number("--max", MAX_MAX, &a->max, ret_code);
    case OPTION_COMPLETED: a->completed = true; return true;
    default: return print_take_option(&a->common, c, ret_code);
    }
}

static int run(int argc, char **argv)
{
    struct arguments a = {.common.command = &command_jobs, .max = MAX_DEFAULT};
    int c, code = EXIT_FINE;

    while ((c = getopt_long(argc, argv, PRINT_LETTERS, options, NULL)) != -1)
        if (!take_option(&a, c, &code))
            return code;
    if (optind + 1 != argc)
        return command_wrong(&command_jobs, "name one URI, of a printer or of a job");
    return open_and_show(&a, argv[optind]);
}

const struct command command_jobs = {
    .name = "jobs",
    .summary = "show a printer and its jobs, or one job",
    .usage =
        "sallyport jobs [OPTIONS] URI\n\n"
        "  --job N                 the printer's job with this number\n"
        "  --completed             jobs that are over, in place of those that are not\n"
        "  --max N                 at most so many jobs (100)\n\n" PRINT_USAGE "\n" PRINT_USAGE_END
        "1: refused, 2: usage or URI, 3: the security that the URI demands is not there, 4: "
        "network\n"
        "or protocol, 5: user or password.\n",
    .run = run,
};
