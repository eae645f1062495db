/* SPDX-License-Identifier: Apache-2.0 */
/* print_run.c - a document's way to the printer: what the printer can do, which tells nothing; then
 * Validate-Job, which is small and gets whatever the printer wants to know of us asked; then the
 * job (the draft, 3.1: nothing that matters before it is protected). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/plain_text.h"
#include "base/utf8.h"
#include "cli/ask.h"
#include "cli/print_format.h"
#include "cli/print_int.h"
#include "ipp/ipp_names.h"

#define POLL_MS     1000u
#define POLL_MS_MAX 10000u

struct print_job {
    struct print_link *link;
    struct print_job_options *o;
    struct print_document document;
    const char *format, *title;
    char name[256]; /* of the file, as its title */
    int32_t id, state;
    struct buf uri, reasons;       /* of the job; why it is in its state */
    struct ipp_client_result sent; /* how the document went */
    const char *error;             /* of waiting; NULL: none */
    struct buf why;                /* the same, as a sentence */
};

/* ---- the document ---- */

static int unreadable(const struct print_job *j, const char *why)
{
    (void)fprintf(stderr, "sallyport %s: %s: %s\n", j->link->o->command->name, j->o->file, why);
    return EXIT_USAGE;
}

/* A pipe is copied first: a printer may ask for a password and want all of it once more. */
static int open_document(struct print_job *j)
{
    bool is_stdin = strcmp(j->o->file, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(j->o->file, O_RDONLY | O_CLOEXEC | O_NOCTTY), copy;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0)
        return unreadable(j, strerror(errno));
    if (S_ISDIR(st.st_mode)) {
        (void)close(fd);
        return unreadable(j, "it is a directory");
    }
    if (is_stdin || !S_ISREG(st.st_mode)) {
        copy = scan_spool(fd);
        if (!is_stdin)
            (void)close(fd);
        fd = copy;
        if (fd < 0 || fstat(fd, &st) != 0)
            return unreadable(j, strerror(errno));
    }
    j->document.fd = fd;
    j->document.len = (uint64_t)st.st_size;
    return j->document.len ? EXIT_FINE : unreadable(j, "it is empty");
}

static struct span base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return span_of(slash ? slash + 1 : path);
}

/* A name that is no text is no title. */
static void name_document(struct print_job *j)
{
    struct span name = strcmp(j->o->file, "-") == 0 ? SPAN("stdin") : base_name(j->o->file);
    char head[PRINT_FORMAT_HEAD];
    ssize_t n = pread(j->document.fd, head, sizeof head, 0);

    j->format =
        j->o->type ? j->o->type : print_format((struct span){head, n > 0 ? (size_t)n : 0}, name);
    (void)span_copy(utf8_is_valid(name) && span_is_field_value(name) ? name : SPAN("document"),
                    j->name, sizeof j->name);
    j->title = j->o->title ? j->o->title : j->name;
}

/* ---- what the printer can do ---- */

static const char *const wanted[] = {
    "printer-state",
    "printer-state-reasons",
    "printer-is-accepting-jobs",
    "document-format-supported",
    "operations-supported",
};

/* What we made of the document is a guess: where the printer does not know that type, it may look
 * for itself. */
static void suit_format(struct print_job *j, struct span attributes)
{
    struct ipp_attribute a;

    if (j->o->type || ipp_attribute_find(attributes, SPAN("document-format-supported"), &a) != OK ||
        ipp_client_has(attributes, "document-format-supported", span_of(j->format)))
        return;
    if (ipp_client_has(attributes, "document-format-supported", SPAN(PRINT_FORMAT_ANY)))
        j->format = PRINT_FORMAT_ANY;
}

static int take_options(struct print_job *j)
{
    for (unsigned i = 0; i < j->o->n_options; i++) {
        struct ipp_client_option *o = &j->o->options[i];
        const char *wrong = ipp_client_option_type(&j->link->answer.message, o);

        if (wrong)
            return print_complain(j->link, EXIT_USAGE, "-o " SPAN_FMT "=" SPAN_FMT ": %s",
                                  SPAN_ARG(o->name), SPAN_ARG(o->text), wrong);
    }
    return EXIT_FINE;
}

static int ask_printer(struct print_job *j)
{
    const struct ipp_client_message m = {
        .operation = IPP_OPERATION_GET_PRINTER_ATTRIBUTES,
        .user = j->link->user,
        .wanted = wanted,
        .n_wanted = ARRAY_LEN(wanted),
        .wanted_options = j->o->options,
        .n_wanted_options = j->o->n_options,
    };
    struct ipp_group g;
    int code = print_ask(j->link, &m, NULL, true, NULL, NULL);

    if (code != EXIT_FINE || !print_is_success(j->link))
        return print_failed(j->link, code, "to say what it can do");
    if (ipp_client_group(&j->link->answer.message, IPP_GROUP_PRINTER, &g))
        suit_format(j, g.attributes);
    return take_options(j);
}

/* ---- the job ---- */

static struct ipp_client_message message_of(const struct print_job *j, uint16_t operation)
{
    return (struct ipp_client_message){
        .operation = operation,
        .user = j->link->user,
        .title = j->title,
        .format = j->format,
        .options = j->o->options,
        .n_options = j->o->n_options,
    };
}

/* RFC 8011 4.1.7: what the printer passes over it puts into a group of its own. */
static void say_ignored(struct print_job *j)
{
    struct ipp_attribute a;
    struct ipp_group g;

    if (!ipp_client_group(&j->link->answer.message, IPP_GROUP_UNSUPPORTED, &g))
        return;
    for (struct span as = g.attributes; ipp_attribute_next(&as, &a);)
        (void)print_complain(j->link, EXIT_FINE, "warning: the printer does not do " SPAN_FMT,
                             SPAN_ARG(a.name));
}

/* The printer has answered, and that does not do. */
static int does_not_do(struct print_job *j, enum ipp_client_end end, const char *why)
{
    struct ipp_client_result *r = &j->link->answer.result;

    r->end = end;
    (void)snprintf(r->why, sizeof r->why, "%s", why);
    return print_failed(j->link, print_exit_code(end), "");
}

static int validate(struct print_job *j)
{
    const struct ipp_client_message m = message_of(j, IPP_OPERATION_VALIDATE_JOB);
    int code = print_ask(j->link, &m, NULL, true, NULL, NULL);

    /* RFC 8011 4.2.3 has every printer do it; some do not. */
    if (code == EXIT_FINE &&
        j->link->answer.message.header.code == IPP_SERVER_ERROR_OPERATION_NOT_SUPPORTED)
        return EXIT_FINE;
    if (code != EXIT_FINE || !print_is_success(j->link))
        return print_failed(j->link, code, "the job");
    if (j->link->answer.result.lacks == IPP_NEED_DIGEST && !j->link->o->no_insist)
        return does_not_do(
            j, IPP_CLIENT_SECURITY,
            "Digest is demanded (DAA), and the printer does not ask for it: nothing was printed");
    say_ignored(j);
    return EXIT_FINE;
}

static void take_job(struct print_job *j)
{
    struct ipp_group g;

    if (!ipp_client_group(&j->link->answer.message, IPP_GROUP_JOB, &g))
        return;
    j->id = ipp_client_number(g.attributes, "job-id", j->id);
    j->state = ipp_client_number(g.attributes, "job-state", j->state);
    buf_reset(&j->reasons);
    print_add_texts(&j->reasons, g.attributes, "job-state-reasons");
    struct span uri = ipp_client_text(g.attributes, "job-uri");

    if (uri.n) {
        buf_reset(&j->uri);
        buf_add(&j->uri, uri);
    }
}

static int send_document(struct print_job *j, const struct ipp_client_message *m)
{
    struct print_progress p;
    int code;

    print_progress_begin(&p, j->link, j->document.len, j->o->progress && !j->link->o->json);
    code = print_ask(j->link, m, &j->document, false, print_progress_turn, &p);
    print_progress_end(&p);
    if (code != EXIT_FINE || !print_is_success(j->link))
        return print_failed(j->link, code, "the document");
    j->sent = j->link->answer.result;
    take_job(j);
    return EXIT_FINE;
}

static int create(struct print_job *j)
{
    struct ipp_client_message m = message_of(j, IPP_OPERATION_CREATE_JOB);
    int code;

    m.format = NULL; /* is the document's */
    code = print_ask(j->link, &m, NULL, false, NULL, NULL);
    if (code != EXIT_FINE || !print_is_success(j->link))
        return print_failed(j->link, code, "the job");
    j->link->made = true;
    take_job(j);
    if (j->id <= 0)
        return does_not_do(j, IPP_CLIENT_NETWORK,
                           "the printer made a job and does not say which: the document was not "
                           "sent");
    m = (struct ipp_client_message){
        .operation = IPP_OPERATION_SEND_DOCUMENT,
        .job_id = j->id,
        .user = j->link->user,
        .format = j->format,
        .document = true,
    };
    return send_document(j, &m);
}

static int print_job(struct print_job *j)
{
    const struct ipp_client_message m = message_of(j, IPP_OPERATION_PRINT_JOB);

    return j->o->create ? create(j) : send_document(j, &m);
}

/* ---- its end ---- */

static void on_time(struct timer *t)
{
    t->at_ms = UINT64_MAX;
}

static void let_pass(struct loop *l, uint64_t ms)
{
    struct timer t = {.fire = on_time, .at_ms = UINT64_MAX};
    uint64_t until = loop_now_ms(l) + ms;

    timer_set(l, &t, until);
    while (loop_now_ms(l) < until)
        (void)loop_turn(l, true);
    timer_clear(l, &t);
}

static int wait_for_end(struct print_job *j)
{
    static const char *const about[] = {"job-state", "job-state-reasons"};
    const struct ipp_client_message m = {
        .operation = IPP_OPERATION_GET_JOB_ATTRIBUTES,
        .job_id = j->id,
        .user = j->link->user,
        .wanted = about,
        .n_wanted = ARRAY_LEN(about),
    };
    uint64_t ms = POLL_MS / 4;

    while (!print_job_is_over(j->state)) {
        let_pass(j->link->loop, ms);
        int code = print_ask(j->link, &m, NULL, true, NULL, NULL);

        if (code != EXIT_FINE || !print_is_success(j->link)) {
            j->error = print_end_name(j->link->answer.result.end);
            return print_say_failure(j->link, code, "to say what became of the job", &j->why);
        }
        take_job(j);
        ms = ms * 2 > POLL_MS_MAX ? POLL_MS_MAX : ms * 2;
    }
    return EXIT_FINE;
}

/* ---- telling ---- */

static void tell_json(struct print_job *j)
{
    struct buf out;
    struct json w = json_to(&out);

    buf_init(&out, 0);
    json_open(&w, NULL, '{');
    json_span(&w, "uri", buf_span(&j->link->url));
    json_i64(&w, "job", j->id);
    json_span(&w, "job_uri", buf_span(&j->uri));
    json_text(&w, "state", print_job_state(j->state));
    json_span(&w, "reasons", buf_span(&j->reasons));
    json_text(&w, "title", j->title);
    json_text(&w, "format", j->format);
    json_u64(&w, "bytes", j->document.len);
    if (j->error) {
        json_text(&w, "error", j->error);
        json_span(&w, "why", buf_span(&j->why));
    }
    print_add_protection(&w, j->link);
    json_close(&w, '}');
    (void)puts(buf_cstr(&out));
    buf_done(&out);
}

static void tell_text(struct print_job *j)
{
    bool plain = j->reasons.n == 0 || span_eq(buf_span(&j->reasons), SPAN("none"));
    struct buf out;
    char size[24];

    buf_init(&out, 0);
    plain_text_line(&out, "job %d: %s, %s, %s%s" SPAN_FMT "%s", j->id,
                    scan_size_text(j->document.len, size), j->format, print_job_state(j->state),
                    plain ? "" : " (", SPAN_ARG(plain ? SPAN_NONE : buf_span(&j->reasons)),
                    plain ? "" : ")");
    if (j->uri.n)
        plain_text_line(&out, "uri: " SPAN_FMT, SPAN_ARG(buf_span(&j->uri)));
    print_say_protection(j->link, &out);
    ask_print(&out);
    buf_done(&out);
}

/* How the document was protected, and not the last question for what became of it. */
static void tell(struct print_job *j)
{
    j->link->answer.result = j->sent;
    if (j->link->o->json)
        tell_json(j);
    else
        tell_text(j);
}

static int run(struct print_job *j)
{
    int code = ask_printer(j);

    if (code == EXIT_FINE)
        code = validate(j);
    if (code == EXIT_FINE)
        code = print_job(j);
    if (code != EXIT_FINE)
        return code;
    if (j->o->wait && j->id <= 0)
        return does_not_do(j, IPP_CLIENT_NETWORK,
                           "the printer does not say which job it made: nobody can ask what "
                           "becomes of it");
    if (j->o->wait)
        code = wait_for_end(j);
    tell(j);
    if (code == EXIT_FINE && print_job_is_over(j->state) && j->state != PRINT_JOB_COMPLETED)
        code = EXIT_REFUSED;
    return code;
}

int print_run(struct print_link *l, struct print_job_options *o)
{
    struct print_job j = {.link = l, .o = o, .document.fd = -1};
    int code;

    buf_init(&j.uri, 0);
    buf_init(&j.reasons, 0);
    buf_init(&j.why, 0);
    code = open_document(&j);
    if (code == EXIT_FINE) {
        name_document(&j);
        code = run(&j);
    }
    if (j.document.fd >= 0 && j.document.fd != STDIN_FILENO)
        (void)close(j.document.fd);
    buf_done(&j.uri);
    buf_done(&j.reasons);
    buf_done(&j.why);
    return code;
}
