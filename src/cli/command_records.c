/* SPDX-License-Identifier: Apache-2.0 */
/* The records as a stream of lines: all of them, or those of one tenant, to be handed to it or to
 * whatever collects them. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/ask.h"
#include "cli/record_follow.h"
#include "proc/supervisor.h"
#include "tenant/tenants.h"

#define LOOK_AGAIN_MS 200

enum { OPTION_STATE = 256, OPTION_FILE, OPTION_HELP };

/* clang-format off */
static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"state", required_argument, NULL, OPTION_STATE},
    {"file", required_argument, NULL, OPTION_FILE},
    {"tenant", required_argument, NULL, 't'},
    {"follow", no_argument, NULL, 'f'},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};
/* clang-format on */

struct arguments {
    struct ask ask;
    const char *file, *tenant;
    bool follow;
};

/* A record's strings may say anything, also what looks like a member; so it is read as JSON, but
 * only if it may be one that is asked for. */
static bool is_wanted(const struct arguments *a, struct span line)
{
    if (!a->tenant)
        return line.n > 0;
    if (!memmem(line.p, line.n, a->tenant, strlen(a->tenant)))
        return false;
    json_t *root = json_loadb(line.p, line.n, 0, NULL);
    bool same = strcmp(ask_text(root, "tenant"), a->tenant) == 0;

    json_decref(root);
    return same;
}

static void print_line(struct span line)
{
    struct buf out;

    buf_init(&out, 0);
    buf_add(&out, line);
    buf_char(&out, '\n');
    ask_print(&out);
    buf_done(&out);
}

static void wait_a_moment(void)
{
    const struct timespec t = {.tv_nsec = LOOK_AGAIN_MS * 1000000L};

    (void)fflush(stdout); /* whoever reads them has what there is */
    (void)nanosleep(&t, NULL);
}

static int print_records(const struct arguments *a, struct record_follow *f, const char *path)
{
    struct span line;
    int errnum = 0;

    for (;;) {
        enum err e = record_follow_next(f, &line, &errnum);

        if (e == ERR_AGAIN && a->follow)
            wait_a_moment();
        else if (e == ERR_AGAIN)
            break;
        else if (e)
            return ask_complain(&a->ask, EXIT_REFUSED, "cannot read the records %s: %s", path,
                                errnum ? strerrordesc_np(errnum) : err_text(e));
        else if (is_wanted(a, line))
            print_line(line);
        if (ferror(stdout))
            break;
    }
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_FINE;
    return ask_complain(&a->ask, EXIT_REFUSED, "cannot write to standard output");
}

static int read_file(const struct arguments *a, const char *path)
{
    struct record_follow *f;
    int errnum;
    enum err e = record_follow_open(path, &f, &errnum);

    if (e)
        return ask_complain(&a->ask, EXIT_REFUSED, "cannot read the records %s: %s", path,
                            errnum ? strerrordesc_np(errnum) : err_text(e));
    int code = print_records(a, f, path);

    record_follow_close(f);
    return code;
}

/* The running gateway knows where its records are. */
static int read_gateways(const struct arguments *a)
{
    json_t *status;
    int code = ask_json(&a->ask, json_pack("{s:s}", "command", "status"), &status);

    if (code != EXIT_FINE)
        return code;
    const char *path = ask_text(json_object_get(status, "records"), "path");

    code = *path
               ? read_file(a, path)
               : ask_complain(&a->ask, EXIT_REFUSED, "records are switched off (records.enabled)");
    json_decref(status);
    return code;
}

static int check_and_run(const struct arguments *a)
{
    if (a->tenant && !tenant_name_is_valid(span_of(a->tenant)))
        return command_wrong(&command_records, "'%.64s' cannot be the name of a tenant", a->tenant);
    if (a->file && (a->ask.config || a->ask.state))
        return command_wrong(&command_records, "--file goes without --config and --state");
    return a->file ? read_file(a, a->file) : read_gateways(a);
}

static int run(int argc, char **argv)
{
    struct arguments a = {.ask.command = &command_records};
    int c;

    while ((c = getopt_long(argc, argv, "c:t:fh", options, NULL)) != -1)
        switch (c) {
        case 'c': a.ask.config = optarg; break;
        case OPTION_STATE: a.ask.state = optarg; break;
        case OPTION_FILE: a.file = optarg; break;
        case 't': a.tenant = optarg; break;
        case 'f': a.follow = true; break;
        case 'h':
        case OPTION_HELP: return command_usage(&command_records, false);
        default: return command_usage(&command_records, true);
        }
    if (optind < argc)
        return command_wrong(&command_records, "unexpected argument '%s'", argv[optind]);
    return check_and_run(&a);
}

const struct command command_records = {
    .name = "records",
    .summary = "print the audit records, of one tenant or of all",
    .usage =
        "sallyport records [--tenant NAME] [--follow] [-c FILE | --state DIR | --file FILE]\n\n"
        "Prints one line of JSON for each transaction, the oldest first, from the file that\n"
        "the running gateway writes, or from another one.\n\n"
        "  -t, --tenant NAME   only those of this tenant: what it may be given\n"
        "  -f, --follow        and those that come, also after a rotation, until it is ended\n"
        "  --file FILE         this file, or /dev/stdin; no gateway has to run\n" ASK_USAGE
        "\nExit code 0: done, 1: cannot be read or written, 2: usage, 4: nobody answers.\n",
    .run = run,
};
