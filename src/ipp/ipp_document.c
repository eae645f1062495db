/* SPDX-License-Identifier: Apache-2.0 */
/* Documents as they come: what is taken at all, and where it waits until somebody has looked at it.
 */
#include <string.h>

#include "ipp/ipp_server_int.h"

/* ---- before it comes ---- */

static bool read_compression(struct ipp_exchange *ex)
{
    static const char *const codings[] = {"gzip", "deflate"};
    struct span text = ex->message->compression;

    ex->coding = "";
    if (!text.p || span_eq(text, SPAN("none")))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(codings); i++)
        if (span_eq(text, span_of(codings[i]))) {
            ex->coding = codings[i];
            return true;
        }
    return false;
}

/* RFC 8011 4.3.1.1: the client must say whether more follows. */
static bool read_last(const struct ipp_exchange *ex, bool *ret_last)
{
    struct ipp_attribute a;
    struct ipp_value v;

    *ret_last = true;
    return ex->operation->code != IPP_OPERATION_SEND_DOCUMENT ||
           (ipp_message_find(ex->message, SPAN("last-document"), &a) == OK &&
            ipp_attribute_single(&a, IPP_VALUE_BOOLEAN, &v) && ipp_value_boolean(&v, ret_last));
}

/* The backend of CUPS makes the job anew, and prints again what was sent before, whatever it hears
 * of a document that comes too early: so it does not get to send one. */
static uint64_t patience(const struct ipp_exchange *ex)
{
    bool last = true;

    (void)read_last(ex, &last);
    return last ? loop_now_ms(ex->server->env.loop) + ex->printer->set->wait_ms : 0;
}

static bool is_being_sent(const struct ipp_exchange *ex)
{
    return ex->has_job && (ex->job.stage == IPP_JOB_SCANNING || ex->job.stage == IPP_JOB_SENDING);
}

static void read_format(struct ipp_exchange *ex)
{
    struct span text = ex->message->format;
    struct span type = span_trim(span_cut(&text, ';'));
    size_t n = span_copy(type, ex->format, sizeof ex->format);

    for (size_t i = 0; i < n; i++)
        ex->format[i] = char_lower(ex->format[i]);
}

/* "application/octet-stream" leaves it to the printer what the document is: then its looks count.
 */
bool ipp_format_is_any(const char *format)
{
    return !format[0] || strcmp(format, "application/octet-stream") == 0;
}

static bool is_too_long(const struct ipp_exchange *ex)
{
    const struct http_request *req = http_current(http_connection_engine(ex->conn->http));
    uint64_t max = ex->printer->set->body_max;

    return req->length != HTTP_LENGTH_UNKNOWN && req->length > max &&
           req->length - ex->attributes.n > max;
}

/* The document need not come for this: clients of CUPS keep it to themselves then, drop the answer,
 * and cancel the job, so that it is the job which has to say why. */
static bool is_wanted(struct ipp_exchange *ex)
{
    static const struct ipp_refusal packed = {
        .status = IPP_CLIENT_ERROR_COMPRESSION_NOT_SUPPORTED,
        .err = ERR_POLICY,
        .rule = "compression",
        .reason = "unsupported-compression",
    };
    static const struct ipp_refusal format = {
        .status = IPP_CLIENT_ERROR_DOCUMENT_FORMAT_NOT_SUPPORTED,
        .err = ERR_POLICY,
        .rule = "formats",
        .reason = "unsupported-document-format",
    };
    static const struct ipp_refusal size = {
        .status = IPP_CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE,
        .err = ERR_LIMIT,
        .rule = "body-max",
        .reason = "aborted-by-system",
    };
    bool is_packed_well = read_compression(ex);

    read_format(ex);
    if (!is_packed_well)
        ipp_document_refuse(ex, &packed, "documents may be packed by gzip or deflate here");
    else if (!ipp_format_is_any(ex->format) &&
             !ipp_printer_takes_format(ex->printer->set, span_of(ex->format)))
        ipp_document_refuse(ex, &format, "%s is not printed here", ex->format);
    else if (is_too_long(ex))
        ipp_document_refuse(ex, &size, "documents may have %llu octets here",
                            (unsigned long long)ex->printer->set->body_max);
    else
        return true;
    return false;
}

static bool is_canceled(const struct ipp_exchange *ex)
{
    return ex->has_job && (ex->job.stage == IPP_JOB_CANCELED || ex->job.stage == IPP_JOB_STOPPING);
}

static bool is_accepted(struct ipp_exchange *ex)
{
    bool last;

    /* With any other status the scheduler of CUPS makes a new job, and what was canceled prints. */
    if (is_canceled(ex)) {
        ipp_reply_refuse(ex, IPP_SERVER_ERROR_JOB_CANCELED, ERR_CONFLICT, "job",
                         "the job was canceled");
        return false;
    }
    if (is_being_sent(ex)) {
        ipp_reply_refuse(ex, IPP_SERVER_ERROR_BUSY, ERR_BUSY, "document",
                         "another document of the job is on its way to the printer: send this one "
                         "again when that is there");
        return false;
    }
    if (ex->has_job && ex->job.stage != IPP_JOB_INCOMING && ex->job.stage != IPP_JOB_PRINTER) {
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_NOT_POSSIBLE, ERR_CONFLICT, "job", "%s",
                         ex->job.why[0] ? ex->job.why : "the job takes no more documents");
        return false;
    }
    if (!read_last(ex, &last)) {
        ipp_reply_refuse(ex, IPP_CLIENT_ERROR_BAD_REQUEST, ERR_PROTO, "document",
                         "Send-Document needs last-document");
        return false;
    }
    return is_wanted(ex);
}

static void on_progress(void *arg)
{
    ipp_exchange_wake(arg);
}

static void take_early(struct ipp_exchange *ex)
{
    const struct segment *s;

    while (ex->state == EX_DOCUMENT && (s = chain_first(&ex->early))) {
        struct slice slice = s->slice;

        (void)block_ref(slice.block);
        chain_skip(&ex->early, slice.len);
        ipp_document_take(ex, slice);
    }
    chain_done(&ex->early);
}

/* A memfd is for other processes to read. Where none does, what it would hold stays in blocks:
 * about as much memory, of the same budget, and the document is copied twice less. */
static uint64_t memory_max(const struct ipp_exchange *ex)
{
    const struct ipp_printer_settings *set = ex->printer->set;
    uint64_t memfd_max = ex->server->env.spool->memory_max;
    bool is_shown = set->pipeline || set->icap;

    return !is_shown && memfd_max > set->memory_max ? memfd_max : set->memory_max;
}

void ipp_document_begin(struct ipp_exchange *ex)
{
    struct ipp_server *s = ex->server;
    const struct body_settings set = {
        .loop = s->env.loop,
        .spool = s->env.spool,
        .memory_max = memory_max(ex),
        .digest = true,
        .progress = on_progress,
        .arg = ex,
    };

    if (!is_accepted(ex))
        return;
    if (body_new(&set, &ex->document) != OK) {
        ipp_reply_refuse(ex, IPP_SERVER_ERROR_BUSY, ERR_NOMEM, "memory",
                         "no memory for a document");
        return;
    }
    ex->state = EX_DOCUMENT;
    (void)!http_go_on(http_connection_engine(ex->conn->http));
    ipp_exchange_wake(ex);
    take_early(ex);
    if (ex->request_over && ex->state == EX_DOCUMENT)
        ipp_document_end(ex);
}

/* ---- while it comes ---- */

enum cause ipp_cause_of_store(enum err e)
{
    if (e == ERR_LIMIT)
        return CAUSE_TOO_LARGE;
    return e == ERR_NOMEM || e == ERR_BUSY ? CAUSE_OVERLOAD : CAUSE_DISK_FULL;
}

void ipp_document_take(struct ipp_exchange *ex, struct slice s)
{
    enum err e = body_append(ex->document, s);

    block_unref(s.block);
    if (e)
        ipp_document_decide(ex, ipp_cause_of_store(e), "the document could not be kept");
    else if (body_len(ex->document) > ex->printer->set->body_max)
        ipp_document_decide(ex, CAUSE_TOO_LARGE, "the document is larger than is printed here");
}

uint64_t ipp_document_client(const struct ipp_exchange *ex)
{
    struct address peer;

    if (ex->who.tenant)
        return ex->who.tenant->client;
    if (!ex->conn)
        return 1;
    peer = stream_peer(http_connection_stream(ex->conn->http));
    return address_hash(&peer);
}

void ipp_document_end(struct ipp_exchange *ex)
{
    struct loop *l = ex->server->env.loop;
    struct ipp_job described;

    ex->document_len = body_len(ex->document);
    body_sha256(ex->document, ex->sha256);
    ex->document_ended = true;
    metrics_add(ex->server->env.metrics, ex->server->loop_index, ex->printer->metrics.documents, 1);
    metrics_add(ex->server->env.metrics, ex->server->loop_index, ex->printer->metrics.bytes,
                ex->document_len);
    if (ex->document_len == 0) {
        /* Send-Document without one ends a job (RFC 8011 4.3.1). */
        if (ex->operation->code == IPP_OPERATION_SEND_DOCUMENT)
            ipp_forward(ex);
        else
            ipp_reply_refuse(ex, IPP_CLIENT_ERROR_BAD_REQUEST, ERR_PROTO, "document",
                             "there is no document in the request");
        return;
    }
    ipp_job_describe(ex, IPP_JOB_SCANNING, &described);
    file_name_plain(span_of(described.name), &ex->name);
    ex->client = ipp_document_client(ex);
    ex->slot_until_ms = loop_now_ms(l) + ex->server->env.scan_wait_ms;
    ex->patience_ms = patience(ex);
    ipp_inspect(ex);
}
