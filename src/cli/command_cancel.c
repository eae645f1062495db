/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <stdio.h>

#include "base/json.h"
#include "base/plain_text.h"
#include "cli/ask.h"
#include "cli/print_link.h"
#include "ipp/ipp_names.h"

enum { OPTION_JOB = PRINT_OPTION_OWN };

/* clang-format off */
static const struct option options[] = {
    PRINT_OPTIONS,
    {"job", required_argument, NULL, OPTION_JOB},
    {0},
};
/* clang-format on */

struct arguments {
    struct print_options common;
    int32_t job; /* 0: the URI is the job's */
};

struct canceled {
    int32_t id, state;
    struct buf title;
};

static struct ipp_client_message message_of(const struct arguments *a, const struct print_link *l,
                                            uint16_t operation)
{
    return (struct ipp_client_message){
        .operation = operation, .is_job = a->job == 0, .job_id = a->job, .user = l->user};
}

/* Asks about it first: that changes nothing, and the printer can ask who we are. */
static int look_at(const struct arguments *a, struct print_link *l, struct canceled *ret)
{
    static const char *const wanted[] = {"job-id", "job-name", "job-state"};
    struct ipp_client_message m = message_of(a, l, IPP_OPERATION_GET_JOB_ATTRIBUTES);
    struct ipp_group g;

    m.wanted = wanted;
    m.n_wanted = ARRAY_LEN(wanted);
    int code = print_ask(l, &m, NULL, true, NULL, NULL);

    if (code != EXIT_FINE || !print_is_success(l))
        return print_failed(l, code, "to show the job");
    ret->id = a->job;
    if (ipp_client_group(&l->answer.message, IPP_GROUP_JOB, &g)) {
        ret->id = ipp_client_number(g.attributes, "job-id", a->job);
        ret->state = ipp_client_number(g.attributes, "job-state", 0);
        buf_add(&ret->title, ipp_client_text(g.attributes, "job-name"));
    }
    return EXIT_FINE;
}

static void tell(const struct print_link *l, const struct canceled *j)
{
    struct buf out;
    struct json w = json_to(&out);

    buf_init(&out, 0);
    if (l->o->json) {
        json_open(&w, NULL, '{');
        json_span(&w, "uri", buf_span(&l->url));
        json_i64(&w, "job", j->id);
        json_span(&w, "title", buf_span(&j->title));
        json_text(&w, "state", print_job_state(7));
        print_add_protection(&w, l);
        json_close(&w, '}');
        (void)puts(buf_cstr(&out));
    } else {
        plain_text_line(&out, "job %d is canceled: " SPAN_FMT, j->id,
                        SPAN_ARG(buf_span(&j->title)));
        print_say_protection(l, &out);
        ask_print(&out);
    }
    buf_done(&out);
}

static int cancel(const struct arguments *a, struct print_link *l, struct canceled *j)
{
    const struct ipp_client_message m = message_of(a, l, IPP_OPERATION_CANCEL_JOB);
    int code = look_at(a, l, j);

    if (code != EXIT_FINE)
        return code;
    if (print_job_is_over(j->state)) {
        (void)snprintf(l->answer.result.why, sizeof l->answer.result.why, "job %d is %s already",
                       j->id, print_job_state(j->state));
        l->answer.result.end = IPP_CLIENT_REFUSED;
        return print_failed(l, EXIT_REFUSED, "");
    }
    code = print_ask(l, &m, NULL, false, NULL, NULL);
    if (code != EXIT_FINE || !print_is_success(l))
        return print_failed(l, code, "to cancel the job");
    tell(l, j);
    return EXIT_FINE;
}

static int open_and_cancel(const struct arguments *a, char *uri)
{
    struct canceled j = {0};
    struct print_link l;
    int code = print_link_open(&l, &a->common, uri);

    buf_init(&j.title, 0);
    if (code == EXIT_FINE)
        code = cancel(a, &l, &j);
    buf_done(&j.title);
    print_link_close(&l);
    return code;
}

static int run(int argc, char **argv)
{
    struct arguments a = {.common.command = &command_cancel};
    uint64_t n = 0;
    int c, code = EXIT_FINE;

    while ((c = getopt_long(argc, argv, PRINT_LETTERS, options, NULL)) != -1)
        if (c == OPTION_JOB) {
            if (span_u64(span_of(optarg), INT32_MAX, &n) != OK || n == 0)
                return command_wrong(&command_cancel, "--job wants the number of a job, not '%s'",
                                     optarg);
            a.job = (int32_t)n;
        } else if (!print_take_option(&a.common, c, &code)) {
            return code;
        }
    if (optind + 1 != argc)
        return command_wrong(&command_cancel,
                             "name one URI, of a job as `print` shows it, or of a printer with "
                             "--job N");
    return open_and_cancel(&a, argv[optind]);
}

const struct command command_cancel = {
    .name = "cancel",
    .summary = "cancel a print job",
    .usage =
        "sallyport cancel [OPTIONS] URI-OF-JOB\n"
        "       sallyport cancel [OPTIONS] --job N URI-OF-PRINTER\n\n"
        "  --job N                 the job with this number\n\n" PRINT_USAGE "\n" PRINT_USAGE_END
        "1: refused, or the job is over, 2: usage or URI, 3: the security that the URI demands is\n"
        "not there (nothing was canceled), 4: network or protocol, 5: user or password.\n",
    .run = run,
};
