/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/status_jobs.h"

#include <stdio.h>

#include "base/plain_text.h"

static void add_job(const json_t *j, struct buf *out)
{
    const char *why = ask_text(j, "why"), *name = ask_text(j, "name");

    plain_text_line(out, "%6lld  %-12s %-9s %-8s %-11s %-12s %s", (long long)ask_number(j, "id"),
                    ask_text(j, "printer"), ask_text(j, "stage"), ask_text(j, "channel"),
                    ask_text(j, "auth"), ask_text(j, "user"), name[0] ? name : "-");
    if (why[0])
        plain_text_line(out, "        %s", why);
    if (why[0] && ask_text(j, "record")[0])
        plain_text_line(out, "        see: sallyport status --id %s", ask_text(j, "record"));
}

static int show(const json_t *root, bool as_json)
{
    const json_t *list = json_object_get(root, "jobs");
    struct buf out;
    size_t i;
    json_t *j;

    if (as_json) {
        (void)json_dumpf(root, stdout, JSON_COMPACT);
        (void)putchar('\n');
        return EXIT_FINE;
    }
    buf_init(&out, 0);
    if (json_array_size(list) == 0)
        buf_text(&out, "no jobs are known\n");
    else
        buf_fmt(&out, "%6s  %-12s %-9s %-8s %-11s %-12s %s\n", "job", "printer", "where", "came",
                "proved by", "user", "name");
    json_array_foreach(list, i, j)
    {
        add_job(j, &out);
    }
    ask_print(&out);
    buf_done(&out);
    return EXIT_FINE;
}

int status_jobs(const struct ask *a, const char *printer, uint64_t max, bool as_json)
{
    json_t *question = json_pack("{s:s,s:I}", "command", "print-jobs", "max", (json_int_t)max);
    json_t *answer;

    if (printer && question)
        (void)json_object_set_new(question, "printer", json_string(printer));
    int code = ask_json(a, question, &answer);

    if (code != EXIT_FINE)
        return code;
    code = show(answer, as_json);
    json_decref(answer);
    return code;
}
