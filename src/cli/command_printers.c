/* SPDX-License-Identifier: Apache-2.0 */
/* The printers of the running gateway: where each is, whether it answers, and how it is to be
 * announced. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/ask.h"
#include "proc/supervisor.h"

#define NOWHERE "nowhere: no listener offers the TLS that it requires"

enum { OPTION_STATE = 256, OPTION_JSON, OPTION_TXT, OPTION_HELP };

/* clang-format off */
static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"state", required_argument, NULL, OPTION_STATE},
    {"txt", no_argument, NULL, OPTION_TXT},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};
/* clang-format on */

struct arguments {
    struct ask ask;
    const char *name;
    bool json, txt;
};

static void add_require(const json_t *printer, struct buf *out)
{
    const json_t *list = json_object_get(printer, "require");
    size_t i;
    json_t *word;

    if (json_array_size(list) == 0)
        buf_text(out, "nothing");
    json_array_foreach(list, i, word)
    {
        buf_fmt(out, "%s%s", i ? ", " : "", json_string_value(word));
    }
}

/* null: the gateway had no time left for it. */
static const char *state_of(const json_t *p)
{
    const json_t *answers = json_object_get(p, "answers");

    if (json_is_null(answers))
        return "  (was not asked: too many others do not answer)";
    return json_is_true(answers) ? "" : "  (does not answer)";
}

static void add_printer(const json_t *p, struct buf *out)
{
    json_int_t ipp = ask_number(p, "ipp_port"), ipps = ask_number(p, "ipps_port");

    buf_fmt(out, "%s\n  path      %s\n  backend   %s%s\n", ask_text(p, "name"), ask_text(p, "path"),
            ask_text(p, "backend"), state_of(p));
    if (*ask_text(p, "why"))
        buf_fmt(out, "  why       %s\n", ask_text(p, "why"));
    buf_text(out, "  requires  ");
    add_require(p, out);
    buf_text(out, "\n  reached  ");
    if (!ipp && !ipps)
        buf_text(out, " " NOWHERE);
    if (ipps)
        buf_fmt(out, " ipps on port %lld", (long long)ipps);
    if (ipp)
        buf_fmt(out, "%s ipp on port %lld", ipps ? "," : "", (long long)ipp);
    buf_text(out, "\n");
}

/* As avahi-publish(1) and zone files take them: a type and a port, then the strings. */
static void add_txt(const json_t *p, struct buf *out)
{
    json_int_t ipp = ask_number(p, "ipp_port"), ipps = ask_number(p, "ipps_port");
    size_t i;
    json_t *line;

    if (ipps)
        buf_fmt(out, "_ipps._tcp %lld\n", (long long)ipps);
    if (!ipp && !ipps)
        buf_fmt(out, "# %s: %s\n", ask_text(p, "name"), NOWHERE);
    if (ipp)
        buf_fmt(out, "_ipp._tcp %lld\n", (long long)ipp);
    json_array_foreach(json_object_get(p, "txt"), i, line)
    {
        buf_fmt(out, "%s\n", json_string_value(line));
    }
}

static int show(const struct arguments *a, const json_t *root)
{
    const json_t *list = json_object_get(root, "printers");
    struct buf out;
    size_t i;
    json_t *p;

    if (a->json) {
        (void)json_dumpf(root, stdout, JSON_COMPACT);
        (void)putchar('\n');
        return EXIT_FINE;
    }
    buf_init(&out, 0);
    if (json_array_size(list) == 0)
        buf_text(&out, "no printers are configured\n");
    json_array_foreach(list, i, p)
    {
        if (i)
            buf_text(&out, "\n");
        if (a->txt)
            add_txt(p, &out);
        else
            add_printer(p, &out);
    }
    ask_print(&out);
    buf_done(&out);
    return EXIT_FINE;
}

static int ask(const struct arguments *a)
{
    json_t *question = json_pack("{s:s}", "command", "printers"), *answer;

    if (a->name && question)
        (void)json_object_set_new(question, "printer", json_string(a->name));
    int code = ask_json(&a->ask, question, &answer);

    if (code != EXIT_FINE)
        return code;
    code = show(a, answer);
    json_decref(answer);
    return code;
}

static int run(int argc, char **argv)
{
    struct arguments a = {.ask.command = &command_printers};
    int c;

    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (c) {
        case 'c': a.ask.config = optarg; break;
        case OPTION_STATE: a.ask.state = optarg; break;
        case OPTION_TXT: a.txt = true; break;
        case OPTION_JSON: a.json = true; break;
        case 'h':
        case OPTION_HELP: return command_usage(&command_printers, false);
        default: return command_usage(&command_printers, true);
        }
    if (optind < argc)
        a.name = argv[optind++];
    if (optind < argc)
        return command_wrong(&command_printers, "unexpected argument '%s'", argv[optind]);
    if (a.txt && a.json)
        return command_wrong(&command_printers, "--txt and --json do not go together");
    return ask(&a);
}

const struct command command_printers = {
    .name = "printers",
    .summary = "show the printers of the running gateway, and how to announce them",
    .usage = "sallyport printers [NAME] [--txt | --json] [-c FILE | --state DIR]\n\n"
             "Asks each printer whether it is there.\n\n"
             "  --txt               DNS-SD: service types with their ports, and the TXT record\n"
             "  --json              as JSON\n" ASK_USAGE
             "\nExit code 0: shown, 1: no such printer, 2: usage, 4: nobody answers.\n",
    .run = run,
};
