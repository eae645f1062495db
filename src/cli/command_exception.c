/* SPDX-License-Identifier: Apache-2.0 */
/* Lets files pass for a while that the inspection would stop. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/plain_text.h"
#include "cli/ask.h"
#include "proc/supervisor.h"

enum {
    OPTION_STATE = 256,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_ALL,
    OPTION_ID,
    OPTION_SERVICE,
    OPTION_SHA256,
    OPTION_SIGNATURE,
    OPTION_HOST,
    OPTION_FILE,
    OPTION_CLIENT,
    OPTION_TENANT,
    OPTION_FOR,
    OPTION_UNTIL,
    OPTION_REASON,
};

/* clang-format off */
static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"state", required_argument, NULL, OPTION_STATE},
    {"json", no_argument, NULL, OPTION_JSON},
    {"all", no_argument, NULL, OPTION_ALL},
    {"id", required_argument, NULL, OPTION_ID},
    {"service", required_argument, NULL, OPTION_SERVICE},
    {"sha256", required_argument, NULL, OPTION_SHA256},
    {"signature", required_argument, NULL, OPTION_SIGNATURE},
    {"host", required_argument, NULL, OPTION_HOST},
    {"file", required_argument, NULL, OPTION_FILE},
    {"client", required_argument, NULL, OPTION_CLIENT},
    {"tenant", required_argument, NULL, OPTION_TENANT},
    {"for", required_argument, NULL, OPTION_FOR},
    {"until", required_argument, NULL, OPTION_UNTIL},
    {"reason", required_argument, NULL, OPTION_REASON},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

/* Options of `add` that go into the request as they are. */
static const struct {
    int option;
    const char *member;
} members[] = {
    {OPTION_SERVICE, "service"}, {OPTION_SHA256, "sha256"}, {OPTION_SIGNATURE, "signature"},
    {OPTION_HOST, "host"}, {OPTION_FILE, "file"}, {OPTION_CLIENT, "client"},
    {OPTION_TENANT, "tenant"},
    {OPTION_FOR, "expires_in"}, {OPTION_UNTIL, "expires"}, {OPTION_REASON, "reason"},
};
/* clang-format on */

struct arguments {
    struct ask ask;
    bool json, all;
    const char *id;    /* of a record */
    json_t *exception; /* what is asked for */
};

/* ---- answers ---- */

static void describe(const json_t *e, struct buf *out)
{
    static const char *const conditions[] = {"service", "sha256", "signature", "host",
                                             "file",    "client", "tenant"};

    buf_fmt(out, "%s  until %s  by %s%s\n", ask_text(e, "id"), ask_text(e, "expires"),
            ask_text(e, "by"), json_is_true(json_object_get(e, "expired")) ? "  EXPIRED" : "");
    if (strcmp(ask_text(e, "kind"), "bypass") == 0)
        buf_fmt(out, "    BYPASS of the whole service %s\n", ask_text(e, "service"));
    else
        for (size_t i = 0; i < ARRAY_LEN(conditions); i++)
            if (*ask_text(e, conditions[i]))
                plain_text_line(out, "    %-10s %s", conditions[i], ask_text(e, conditions[i]));
    plain_text_line(out, "    %-10s %s", "reason", ask_text(e, "reason"));
}

static int answer_json(const json_t *answer)
{
    (void)json_dumpf(answer, stdout, JSON_COMPACT);
    (void)putchar('\n');
    return EXIT_FINE;
}

/* Asks |question|; shows the one exception of the answer after |headline|. */
static int ask_one(const struct arguments *a, json_t *question, const char *headline)
{
    json_t *answer;
    struct buf out;
    int code = ask_json(&a->ask, question, &answer);

    if (code != EXIT_FINE)
        return code;
    if (a->json) {
        code = answer_json(answer);
    } else {
        buf_init(&out, 0);
        buf_text(&out, headline);
        describe(json_object_get(answer, "exception"), &out);
        ask_print(&out);
        buf_done(&out);
    }
    json_decref(answer);
    return code;
}

/* ---- add ---- */

static int add_member(struct arguments *a, const char *member, const char *value)
{
    if (json_object_get(a->exception, member))
        return command_wrong(a->ask.command, "the condition '%s' is there twice", member);
    if (json_object_set_new(a->exception, member, json_string(value)) != 0)
        return command_wrong(a->ask.command, "'%s' is not UTF-8", member);
    return EXIT_FINE;
}

/* The service and the file that the record |a->id| is about. */
static int add_record(struct arguments *a)
{
    json_t *record;
    int code = ask_record(&a->ask, a->id, &record);

    if (code != EXIT_FINE)
        return code;
    if (!*ask_text(record, "sha256") && !json_object_get(a->exception, "sha256") &&
        !json_object_get(a->exception, "host"))
        code = ask_complain(&a->ask, EXIT_REFUSED,
                            "the record '%s' has no sha256: its file was not read to its end. Name "
                            "the host with --host instead",
                            a->id);
    if (code == EXIT_FINE && *ask_text(record, "sha256") &&
        !json_object_get(a->exception, "sha256"))
        code = add_member(a, "sha256", ask_text(record, "sha256"));
    if (code == EXIT_FINE && *ask_text(record, "service") &&
        !json_object_get(a->exception, "service"))
        code = add_member(a, "service", ask_text(record, "service"));
    if (code == EXIT_FINE && *ask_text(record, "tenant") &&
        !json_object_get(a->exception, "tenant"))
        code = add_member(a, "tenant", ask_text(record, "tenant"));
    json_decref(record);
    return code;
}

static int run_add(struct arguments *a)
{
    bool in = json_object_get(a->exception, "expires_in") != NULL;
    bool at = json_object_get(a->exception, "expires") != NULL;
    int code;

    if (in == at)
        return command_wrong(a->ask.command,
                             "say for how long: --for 8h, or --until 2030-01-31T18:00:00Z");
    if (!json_object_get(a->exception, "reason"))
        return command_wrong(a->ask.command,
                             "--reason is missing: whoever meets this exception wants to know why");
    if (a->id && (code = add_record(a)) != EXIT_FINE)
        return code;
    (void)json_object_set_new(a->exception, "kind", json_string("exception"));
    return ask_one(a, json_pack("{s:s,s:O}", "command", "exception-add", "exception", a->exception),
                   "in force from now on:\n");
}

/* ---- list, remove ---- */

static int run_list(const struct arguments *a)
{
    json_t *answer;
    struct buf out;
    size_t i;
    const json_t *e;
    int code = ask_json(
        &a->ask, json_pack("{s:s,s:b}", "command", "exception-list", "expired", a->all), &answer);

    if (code != EXIT_FINE)
        return code;
    const json_t *list = json_object_get(answer, "exceptions");

    if (a->json) {
        code = answer_json(answer);
    } else {
        buf_init(&out, 0);
        json_array_foreach(list, i, e)
        {
            describe(e, &out);
        }
        if (json_array_size(list) == 0)
            buf_text(&out, "no exceptions\n");
        ask_print(&out);
        buf_done(&out);
    }
    json_decref(answer);
    return code;
}

static int run_remove(const struct arguments *a, const char *id)
{
    return ask_one(a, json_pack("{s:s,s:s}", "command", "exception-remove", "id", id),
                   "no longer in force:\n");
}

/* ---- command line ---- */

static int take_condition(struct arguments *a, int option)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (members[i].option == option)
            return add_member(a, members[i].member, optarg);
    return command_usage(a->ask.command, true);
}

/* -1: go on. */
static int read_options(struct arguments *a, int argc, char **argv)
{
    int c, code;

    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (c) {
        case 'c': a->ask.config = optarg; break;
        case OPTION_STATE: a->ask.state = optarg; break;
        case OPTION_JSON: a->json = true; break;
        case OPTION_ALL: a->all = true; break;
        case OPTION_ID: a->id = optarg; break;
        case 'h':
        case OPTION_HELP: return command_usage(a->ask.command, false);
        default:
            code = take_condition(a, c);
            if (code != EXIT_FINE)
                return code;
        }
    return -1;
}

static int run_verb(struct arguments *a, int n, char **words)
{
    bool has_conditions = json_object_size(a->exception) > 0 || a->id;
    const char *verb = n > 0 ? words[0] : "";
    int wanted = strcmp(verb, "remove") == 0 ? 2 : 1;

    if (n == 0)
        return command_wrong(a->ask.command, "say what to do: add, list or remove");
    if (n > wanted)
        return command_wrong(a->ask.command, "unexpected argument '%s'", words[wanted]);
    if (a->all && strcmp(verb, "list") != 0)
        return command_wrong(a->ask.command, "--all goes with list");
    if (strcmp(verb, "add") == 0)
        return run_add(a);
    if (has_conditions)
        return command_wrong(a->ask.command, "conditions go with add");
    if (strcmp(verb, "list") == 0)
        return run_list(a);
    if (strcmp(verb, "remove") != 0)
        return command_wrong(a->ask.command, "there is no '%s': add, list or remove", verb);
    if (n < wanted)
        return command_wrong(a->ask.command,
                             "remove which one? 'sallyport exception list' has ids");
    return run_remove(a, words[1]);
}

static int run(int argc, char **argv)
{
    struct arguments a = {.ask.command = &command_exception, .exception = json_object()};
    int code = read_options(&a, argc, argv);

    if (code < 0)
        code = run_verb(&a, argc - optind, argv + optind);
    json_decref(a.exception);
    return code;
}

const struct command command_exception = {
    .name = "exception",
    .summary = "let a file pass for a while that is blocked",
    .usage =
        "sallyport exception add [CONDITION...] --for TIME --reason TEXT [-c FILE | --state DIR]\n"
        "       sallyport exception list [--all] [--json] [-c FILE | --state DIR]\n"
        "       sallyport exception remove ID [--json] [-c FILE | --state DIR]\n\n"
        "Conditions; all that are given must hold:\n"
        "  --id RECORD         the file and the service of this record\n"
        "  --service NAME      only in this service\n"
        "  --sha256 DIGEST     this file\n"
        "  --signature NAME    files in which nothing else was found; '*' and '?' stand for any\n"
        "  --host NAME         from or to this host; .NAME: and those below it\n"
        "  --file NAME         files of this name; '*' and '?' stand for any\n"
        "  --client ADDRESS    of this user's address or network\n"
        "  --tenant NAME       of this tenant; with --id that of the record\n\n"
        "  --for TIME          how long: 30m, 8h, 7d; at most 90d\n"
        "  --until TIME        or until when: 2030-01-31T18:00:00Z\n"
        "  --reason TEXT       why; whoever lists the exceptions reads it\n"
        "  --all               with list: also those that have expired\n"
        "  --json              as JSON\n" ASK_USAGE
        "\nExit code 0: done, 1: refused, 2: usage, 4: nobody answers.\n",
    .run = run,
};
