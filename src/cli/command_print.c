/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "cli/print_format.h"
#include "cli/print_int.h"

#define COPIES_MAX 9999u

enum {
    OPTION_TYPE = PRINT_OPTION_OWN,
    OPTION_TITLE,
    OPTION_COPIES,
    OPTION_CREATE,
    OPTION_WAIT,
    OPTION_NO_PROGRESS
};

/* clang-format off */
static const struct option options[] = {
    PRINT_OPTIONS,
    {"option", required_argument, NULL, 'o'},
    {"type", required_argument, NULL, OPTION_TYPE},
    {"title", required_argument, NULL, OPTION_TITLE},
    {"copies", required_argument, NULL, OPTION_COPIES},
    {"create-job", no_argument, NULL, OPTION_CREATE},
    {"wait", no_argument, NULL, OPTION_WAIT},
    {"no-progress", no_argument, NULL, OPTION_NO_PROGRESS},
    {0},
};
/* clang-format on */

struct arguments {
    struct print_options common;
    struct print_job_options job;
};

static bool has_option(const struct print_job_options *j, struct span name)
{
    for (unsigned i = 0; i < j->n_options; i++)
        if (span_ieq(j->options[i].name, name))
            return true;
    return false;
}

/* False: *ret_code says how to end. */
static bool add_option(struct arguments *a, const struct ipp_client_option *o, int *ret_code)
{
    struct print_job_options *j = &a->job;

    if (has_option(j, o->name))
        *ret_code =
            command_wrong(&command_print, "-o " SPAN_FMT " was given twice", SPAN_ARG(o->name));
    else if (j->n_options == PRINT_JOB_OPTIONS_MAX)
        *ret_code = command_wrong(&command_print, "at most %u options", PRINT_JOB_OPTIONS_MAX);
    else
        j->options[j->n_options++] = *o;
    return *ret_code == EXIT_FINE;
}

static bool take_job_option(struct arguments *a, int *ret_code)
{
    struct ipp_client_option o;
    const char *wrong = ipp_client_option_parse(span_of(optarg), &o);

    if (!wrong)
        return add_option(a, &o, ret_code);
    *ret_code = command_wrong(&command_print, "-o %s: %s", optarg, wrong);
    return false;
}

static bool take_copies(struct arguments *a, int *ret_code)
{
    const struct ipp_client_option o = {
        .name = SPAN("copies"), .tag = IPP_VALUE_KEYWORD, .text = span_of(optarg)};
    uint64_t n;

    if (span_u64(o.text, COPIES_MAX, &n) == OK && n > 0)
        return add_option(a, &o, ret_code);
    *ret_code = command_wrong(&command_print, "--copies wants a number from 1 to %u, not '%s'",
                              COPIES_MAX, optarg);
    return false;
}

static bool take_option(struct arguments *a, int c, int *ret_code)
{
    switch (c) {
    case 'o': return take_job_option(a, ret_code);
    case OPTION_TYPE: a->job.type = optarg; return true;
    case OPTION_TITLE: a->job.title = optarg; return true;
    case OPTION_COPIES: return take_copies(a, ret_code);
    case OPTION_CREATE: a->job.create = true; return true;
    case OPTION_WAIT: a->job.wait = true; return true;
    case OPTION_NO_PROGRESS: a->job.progress = false; return true;
    default: return print_take_option(&a->common, c, ret_code);
    }
}

static const char *mistake(const struct print_job_options *j)
{
    struct span title = span_of(j->title);

    if (j->type && !print_format_is_valid(span_of(j->type)))
        return "--type wants a media type such as application/pdf";
    if (j->title && (title.n == 0 || !utf8_is_valid(title) || !span_is_field_value(title)))
        return "--title is empty, has control characters, or is not UTF-8";
    return NULL;
}

static int print(struct arguments *a, char *uri)
{
    struct print_link l;
    int code = print_link_open(&l, &a->common, uri);

    if (code == EXIT_FINE)
        code = print_run(&l, &a->job);
    print_link_close(&l);
    return code;
}

static int run(int argc, char **argv)
{
    struct arguments a = {.common.command = &command_print, .job.progress = true};
    const char *wrong;
    int c, code = EXIT_FINE;

    while ((c = getopt_long(argc, argv, PRINT_LETTERS "o:", options, NULL)) != -1)
        if (!take_option(&a, c, &code))
            return code;
    if (optind + 2 != argc)
        return command_wrong(&command_print,
                             "name one URI and one file, as in ipp://printer.example/"
                             "ipp/print letter.pdf; - is standard input");
    wrong = mistake(&a.job);
    if (wrong)
        return command_wrong(&command_print, "%s", wrong);
    a.job.file = argv[optind + 1];
    return print(&a, argv[optind]);
}

const struct command command_print = {
    .name = "print",
    .summary = "print a file, on a connection that is as the URI demands",
    .usage =
        "sallyport print [OPTIONS] URI FILE|-\n\n"
        "  -o NAME=VALUE           an attribute of the job, such as sides=two-sided-long-edge,\n"
        "                          media=iso_a4_210x297mm, print-quality=high\n"
        "  --copies N              how many\n"
        "  --type TYPE             what the file is, such as application/pdf; else by its first\n"
        "                          bytes or its name\n"
        "  --title TEXT            what the job is called; else as the file is\n"
        "  --create-job            Create-Job and Send-Document, in place of Print-Job\n"
        "  --wait                  until the job is done\n"
        "  --no-progress           no progress line on a terminal\n\n" PRINT_USAGE
        "\n" PRINT_USAGE_END
        "1: the job was refused, or did not end well, 2: usage or URI, 3: the security that the\n"
        "URI demands is not there (nothing was printed), 4: network or protocol, 5: user or\n"
        "password.\n",
    .run = run,
};
