/* SPDX-License-Identifier: Apache-2.0 */
/* The records as a stream of lines: all of them, or those of one tenant, to be handed to it or to
 * whatever collects them. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/ask.h"
#include "cli/record_follow.h"
#include "cli/records_verify.h"
#include "proc/supervisor.h"
#include "tenant/tenants.h"

#define LOOK_AGAIN_MS 200

enum { OPTION_STATE = 256, OPTION_FILE, OPTION_KEY, OPTION_CHAIN, OPTION_HELP };

/* clang-format off */
static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"state", required_argument, NULL, OPTION_STATE},
    {"file", required_argument, NULL, OPTION_FILE},
    {"tenant", required_argument, NULL, 't'},
    {"follow", no_argument, NULL, 'f'},
    {"key", required_argument, NULL, OPTION_KEY},
    {"chain", required_argument, NULL, OPTION_CHAIN},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};
/* clang-format on */

struct arguments {
    struct ask ask;
    const char *file, *tenant;
    const char *key, *chain; /* of verify */
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

static int run_verify(const struct arguments *a, int n, char **files)
{
    const struct records_verify v = {
        .ask = &a->ask, .key = a->key, .chain = a->chain, .files = files, .n_files = (size_t)n};

    if (a->file || a->tenant || a->follow)
        return command_wrong(&command_records, "--%s does not go with verify",
                             a->file     ? "file"
                             : a->tenant ? "tenant"
                                         : "follow");
    if (a->chain && (a->ask.config || a->ask.state))
        return command_wrong(&command_records, "--chain goes without --config and --state");
    if (!a->key)
        return command_wrong(&command_records, "--key is missing: the file RECORDS.key that was "
                                               "moved away when the chain began");
    return records_verify(&v);
}

static int run_verb(const struct arguments *a, int n, char **words)
{
    if (n > 0 && strcmp(words[0], "verify") == 0)
        return run_verify(a, n - 1, words + 1);
    if (n > 0)
        return command_wrong(&command_records, "unexpected argument '%s'", words[0]);
    if (a->key || a->chain)
        return command_wrong(&command_records, "--%s goes with verify", a->key ? "key" : "chain");
    return check_and_run(a);
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
        case OPTION_KEY: a.key = optarg; break;
        case OPTION_CHAIN: a.chain = optarg; break;
        case 'h':
        case OPTION_HELP: return command_usage(&command_records, false);
        default: return command_usage(&command_records, true);
        }
    return run_verb(&a, argc - optind, argv + optind);
}

const struct command command_records = {
    .name = "records",
    .summary = "print the audit records, or check that nobody changed them",
    .usage =
        "sallyport records [--tenant NAME] [--follow] [-c FILE | --state DIR | --file FILE]\n"
        "       sallyport records verify --key FILE [-c FILE | --state DIR | --chain FILE]\n"
        "                                [FILE...]\n\n"
        "Prints one line of JSON for each transaction, the oldest first, from the file that\n"
        "the running gateway writes, or from another one. With records.chain there are lines\n"
        "between them that seal what is before them; --tenant leaves them out.\n\n"
        "  -t, --tenant NAME   only those of this tenant: what it may be given\n"
        "  -f, --follow        and those that come, also after a rotation, until it is ended\n"
        "  --file FILE         this file, or /dev/stdin; no gateway has to run\n" ASK_USAGE
        "\nverify checks files of sealed records, the oldest first, or without any the one that\n"
        "the gateway writes: altered, missing, added or moved lines, and a missing end.\n\n"
        "  --key FILE          the key that was moved off the machine when the chain began\n"
        "  --chain FILE        state of the chain, which tells whether the end is there;\n"
        "                      default: beside the records, the last file's name and .chain\n"
        "\nExit code 0: done, 1: cannot be read or written, 2: usage, 4: nobody answers.\n"
        "Of verify 0: good, 1: something is wrong, 2: usage, or it could not be checked.\n",
    .run = run,
};
