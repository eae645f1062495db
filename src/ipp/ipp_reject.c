/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_reject.h"

#include "base/reader.h"
#include "ipp/ipp_names.h"

#define CUPS SPAN("CUPS/")

/* ---- which statuses there are ---- */

#define ENDING                                     \
    "client-error-document-format-not-supported, " \
    "client-error-attributes-or-values-not-supported or server-error-job-canceled"

/* |ends|: after it the ipp backend of CUPS (2.4) lets go of a job that it sent by Print-Job. After
 * the others it sends the same again, for ever, or holds it until somebody has typed a password;
 * after Send-Document it lets go whatever it hears. */
static const struct {
    uint16_t status;
    bool ends;
} allowed[] = {
    {IPP_CLIENT_ERROR_DOCUMENT_SECURITY_ERROR,            false},
    {IPP_CLIENT_ERROR_DOCUMENT_FORMAT_NOT_SUPPORTED,      true },
    {IPP_CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED, true },
    {IPP_CLIENT_ERROR_DOCUMENT_FORMAT_ERROR,              false},
    {IPP_CLIENT_ERROR_DOCUMENT_PERMISSION_ERROR,          false},
    {IPP_CLIENT_ERROR_DOCUMENT_UNPRINTABLE_ERROR,         false},
    {IPP_CLIENT_ERROR_FORBIDDEN,                          false},
    {IPP_SERVER_ERROR_JOB_CANCELED,                       true },
};

static bool ends_a_job(uint16_t status)
{
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
        if (allowed[i].status == status)
            return allowed[i].ends;
    return false;
}

/* Why not that one, which has a name. */
static const char *harm_of(uint16_t status)
{
    if (status < 0x0400)
        return "the client would take the document for printed";
    switch (status) {
    case IPP_CLIENT_ERROR_NOT_POSSIBLE:
        return "clients of CUPS send the document again at once, and again";
    case IPP_SERVER_ERROR_INTERNAL_ERROR: return "clients of CUPS stop the whole queue";
    case IPP_CLIENT_ERROR_NOT_AUTHENTICATED:
    case IPP_CLIENT_ERROR_NOT_AUTHORIZED:
        return "clients ask for a password, which would change nothing";
    case IPP_CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE: return "it is what documents over body-max get";
    case IPP_SERVER_ERROR_SERVICE_UNAVAILABLE:
    case IPP_SERVER_ERROR_DEVICE_ERROR:
    case IPP_SERVER_ERROR_TEMPORARY_ERROR:
    case IPP_SERVER_ERROR_NOT_ACCEPTING_JOBS:
    case IPP_SERVER_ERROR_BUSY:
        return "clients come again with the same document ('on' has error for that)";
    default: return "it says something else than that a document is refused";
    }
}

/* ---- rows ---- */

static const char *valid_agent(struct span text)
{
    return span_is_field_value(text) && span_eq(span_trim(text), text)
               ? NULL
               : "be the beginning of a User-Agent, as CUPS/";
}

static const struct config_row reject_rows[] = {
    CONFIG_STRING("agent", struct ipp_reject_settings, agent, .min = 1, .max = 128,
                  .valid = valid_agent,
                  .help = "How the client's User-Agent begins, in any case of letters. Without it: "
                          "every client, also one that says nothing."),
    CONFIG_STRING("operation", struct ipp_reject_settings, operation_name, .min = 1, .max = 64,
                  .help = "How the document came: Print-Job or Send-Document. Without it: by "
                          "either."),
    CONFIG_STRING(
        "status", struct ipp_reject_settings, status_name, .required = true, .min = 1, .max = 64,
        .help = "client-error-document-security-error, client-error-document-format-not-supported, "
                "client-error-attributes-or-values-not-supported, "
                "client-error-document-format-error, client-error-document-permission-error, "
                "client-error-document-unprintable-error, client-error-forbidden or "
                "server-error-job-canceled. For Print-Job of CUPS only the second, the third and "
                "the last: after others it sends the same for ever, or holds the job."),
};

static void read_operation(struct ipp_reject_settings *v, struct config_report *r)
{
    static const char *const words[] = {"Print-Job", "Send-Document"};
    const struct ipp_operation *o;

    if (!v->operation_name)
        return;
    o = ipp_operation_named(span_of(v->operation_name));
    if (o && (o->code == IPP_OPERATION_PRINT_JOB || o->code == IPP_OPERATION_SEND_DOCUMENT))
        v->operation = o->code;
    else
        (void)config_fault(r, v, "operation", "operation must be one of %s, %s, got '%s'%s",
                           words[0], words[1], v->operation_name,
                           o ? ", which brings no document to look at"
                             : config_hint(r, span_of(v->operation_name), words, 2));
}

static void read_status(struct ipp_reject_settings *v, struct config_report *r)
{
    const char *words[ARRAY_LEN(allowed)];
    char room[512] = "";
    struct writer w = writer_of(room, sizeof room - 1);
    uint16_t status = 0;
    bool known = ipp_status_named(span_of(v->status_name), &status);

    for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
        words[i] = ipp_status_name(allowed[i].status);
        write_text(&w, i ? ", " : "");
        write_text(&w, words[i]);
        if (known && allowed[i].status == status)
            v->status = status;
    }
    if (!v->status)
        (void)config_fault(r, v, "status", "status must be one of %s, got '%s'%s%s", room,
                           v->status_name, known ? ": " : "",
                           known
                               ? harm_of(status)
                               : config_hint(r, span_of(v->status_name), words, ARRAY_LEN(words)));
}

static enum err reject_check(void *block, struct config_report *r)
{
    read_operation(block, r);
    read_status(block, r);
    return OK;
}

const struct config_block ipp_reject_block =
    CONFIG_ROWS(struct ipp_reject_settings, reject_rows, .check = reject_check,
                .help = "The status in which documents are refused for what they are; the first "
                        "row that fits counts. What is too large is "
                        "client-error-request-entity-too-large all the same, and what clients "
                        "shall come again with server-error-busy.");

/* ---- what they say ---- */

static bool is_for(const struct ipp_reject_settings *v, uint16_t operation)
{
    return v->operation == 0 || v->operation == operation;
}

/* May a client of CUPS be one of those? |all|: is each? */
static bool has_cups(const struct ipp_reject_settings *v, bool *all)
{
    struct span agent = v->agent ? span_of(v->agent) : SPAN("");

    *all = span_istarts(CUPS, agent);
    return *all || span_istarts(agent, CUPS);
}

void ipp_reject_check(const struct ipp_reject_settings *v, size_t n, struct config_report *r)
{
    for (size_t i = 0; i < n; i++) {
        bool all;

        if (!is_for(&v[i], IPP_OPERATION_PRINT_JOB) || !has_cups(&v[i], &all))
            continue;
        if (!ends_a_job(v[i].status))
            (void)config_fault(r, &v[i], "status",
                               "clients of CUPS send a Print-Job again for ever after '%s', or "
                               "hold it: let an earlier row answer 'agent: CUPS/' with " ENDING
                               ", or write 'operation: Send-Document', or other agents",
                               v[i].status_name);
        if (all)
            return; /* no row behind it is asked */
    }
}

uint16_t ipp_reject_status(const struct ipp_reject_settings *v, size_t n, uint16_t operation,
                           struct span agent)
{
    for (size_t i = 0; i < n; i++)
        if (is_for(&v[i], operation) && (!v[i].agent || span_istarts(agent, span_of(v[i].agent))))
            return v[i].status;
    if (operation == IPP_OPERATION_PRINT_JOB && span_istarts(agent, CUPS))
        return IPP_CLIENT_ERROR_DOCUMENT_FORMAT_NOT_SUPPORTED;
    return IPP_CLIENT_ERROR_DOCUMENT_SECURITY_ERROR;
}
