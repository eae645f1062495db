/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ask.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/plain_text.h"
#include "cli/record_find.h"
#include "proc/control.h"
#include "proc/settings_load.h"
#include "proc/supervisor.h"

#define ASK_MS 5000u

int ask_complain(const struct ask *a, int code, const char *fmt, ...)
{
    struct buf text, line;
    va_list ap;

    buf_init(&text, 0);
    buf_init(&line, 0);
    va_start(ap, fmt);
    buf_vfmt(&text, fmt, ap);
    va_end(ap);
    plain_text_line(&line, "sallyport %s: %s", a->command->name, buf_cstr(&text));
    (void)fputs(buf_cstr(&line), stderr);
    buf_done(&text);
    buf_done(&line);
    return code;
}

/* ---- where it is ---- */

enum asked { ASK_SOCKET, ASK_RECORDS };

static bool path_of_state(const char *state, enum asked what, struct buf *path)
{
    buf_fmt(path, "%s/%s", state, what == ASK_SOCKET ? "control.sock" : "records.jsonl");
    return !path->err && path->n < 4096;
}

static int path_of_config(const char *config, enum asked what, struct buf *path)
{
    struct settings settings;
    struct config_report report;
    struct arena mem;
    struct buf text;
    int code = EXIT_USAGE;

    arena_init(&mem, 0);
    buf_init(&text, 0);
    config_report_init(&report);
    if (config_load_file(config, &settings_block, &mem, &report, &settings) == OK) {
        buf_text(path, what == ASK_SOCKET ? settings.control_path : settings.records_path);
        code = EXIT_FINE;
    } else {
        config_report_print(&report, &text);
        (void)fputs(buf_cstr(&text), stderr);
    }
    config_report_done(&report);
    buf_done(&text);
    arena_done(&mem);
    return code;
}

static int find_path(const struct ask *a, enum asked what, struct buf *path)
{
    if (a->state && a->config)
        return command_wrong(a->command, "-c and --state do not go together");
    if (!a->state)
        return path_of_config(a->config ? a->config : SUPERVISOR_CONFIG_DEFAULT, what, path);
    if (!path_of_state(a->state, what, path))
        return command_wrong(a->command, "--state is too long");
    return EXIT_FINE;
}

int ask_records_path(const struct ask *a, struct buf *path)
{
    return find_path(a, ASK_RECORDS, path);
}

/* ---- asking ---- */

int ask_line(const struct ask *a, const char *question, struct buf *answer)
{
    struct buf path, why;
    int code;

    buf_init(&path, 0);
    buf_init(&why, 0);
    code = find_path(a, ASK_SOCKET, &path);
    if (code == EXIT_FINE && control_ask(buf_cstr(&path), question, ASK_MS, answer, &why) != OK)
        code = ask_complain(a, EXIT_NETWORK, "%s", buf_cstr(&why));
    buf_done(&path);
    buf_done(&why);
    return code;
}

int ask_json(const struct ask *a, json_t *question, json_t **ret)
{
    char *line = question ? json_dumps(question, JSON_COMPACT) : NULL;
    struct buf answer;
    json_t *root = NULL;
    int code;

    json_decref(question);
    if (!line)
        return ask_complain(a, EXIT_USAGE, "out of memory, or an argument that is not UTF-8");
    buf_init(&answer, 0);
    code = ask_line(a, line, &answer);
    free(line);
    if (code == EXIT_FINE) {
        root = json_loads(buf_cstr(&answer), 0, NULL);
        if (!root)
            code = ask_complain(a, EXIT_NETWORK, "the gateway's answer is no JSON");
        else if (json_object_get(root, "error"))
            code = ask_complain(a, EXIT_REFUSED, "%s", ask_text(root, "error"));
    }
    buf_done(&answer);
    if (code == EXIT_FINE)
        *ret = root;
    else
        json_decref(root);
    return code;
}

/* ---- records ---- */

/* |path|, and what a rotation may have made of it. */
static enum err find_in_files(const char *path, const char *id, struct buf *line, int *ret_errnum)
{
    char older[4200];
    int unused;
    enum err e = record_find(path, id, line, ret_errnum);

    if (e != ERR_MISSING)
        return e;
    (void)snprintf(older, sizeof older, "%s.1", path);
    return record_find(older, id, line, &unused) == OK ? OK : ERR_MISSING;
}

static int record_of(const struct ask *a, const char *path, const char *id, json_t **ret)
{
    struct buf line;
    int errnum = 0, code = EXIT_FINE;

    buf_init(&line, 0);
    enum err e = find_in_files(path, id, &line, &errnum);

    if (e == ERR_MISSING)
        code = ask_complain(a, EXIT_REFUSED,
                            "no record with the id '%s' in %s: is it from another gateway, or was "
                            "the file rotated?",
                            id, path);
    else if (e)
        code = ask_complain(a, EXIT_REFUSED, "cannot read the records %s: %s", path,
                            errnum ? strerrordesc_np(errnum) : err_text(e));
    else if ((*ret = json_loadb(line.p, line.n, 0, NULL)) == NULL)
        code = ask_complain(a, EXIT_REFUSED, "the record '%s' cannot be read", id);
    buf_done(&line);
    return code;
}

int ask_record(const struct ask *a, const char *id, json_t **ret)
{
    json_t *status;
    int code;

    if (!record_id_is_valid(id))
        return command_wrong(a->command,
                             "'%.64s' is no id: ids have up to 32 letters and digits, "
                             "as records and block pages show them",
                             id);
    code = ask_json(a, json_pack("{s:s}", "command", "status"), &status);
    if (code != EXIT_FINE)
        return code;
    const char *path = ask_text(json_object_get(status, "records"), "path");

    if (*path)
        code = record_of(a, path, id, ret);
    else
        code = ask_complain(a, EXIT_REFUSED, "records are switched off (records.enabled)");
    json_decref(status);
    return code;
}

/* ---- text ---- */

const char *ask_text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

json_int_t ask_number(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

void ask_print(const struct buf *text)
{
    struct buf out;

    buf_init(&out, 0);
    plain_text_lines(&out, buf_span(text));
    (void)fputs(buf_cstr(&out), stdout);
    buf_done(&out);
}

void ask_quote(const char *text, struct buf *out)
{
    buf_char(out, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            buf_text(out, "'\\''");
        else
            buf_char(out, *text);
    }
    buf_char(out, '\'');
}

void ask_where(const struct ask *a, struct buf *out)
{
    if (!a->config && !a->state)
        return;
    buf_text(out, a->config ? " -c " : " --state ");
    ask_quote(a->config ? a->config : a->state, out);
}
