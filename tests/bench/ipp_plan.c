/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipp_plan.c - the request that ippload sends.
 */
#include "ipp_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RFC 8010 3.5.1 and 3.5.2; RFC 8011 5.4.15 */
#define OPERATION_PRINT_JOB      0x0002
#define OPERATION_GET_ATTRIBUTES 0x000b
#define TAG_OPERATION            0x01
#define TAG_END                  0x03
#define TAG_NAME                 0x42
#define TAG_KEYWORD              0x44
#define TAG_URI                  0x45
#define TAG_CHARSET              0x47
#define TAG_LANGUAGE             0x48
#define TAG_MEDIA_TYPE           0x49

#define ATTRIBUTES_MAX 1024

/* The attributes of the request. A message that does not fit is |full|. */
struct message {
    uint8_t bytes[ATTRIBUTES_MAX];
    size_t len;
    bool full;
};

static void add(struct message *m, const void *p, size_t n)
{
    m->full |= n > sizeof m->bytes - m->len;
    if (m->full)
        return;
    memcpy(m->bytes + m->len, p, n);
    m->len += n;
}

static void add_byte(struct message *m, unsigned v)
{
    const uint8_t b = (uint8_t)v;

    add(m, &b, 1);
}

static void add_short(struct message *m, size_t v)
{
    add_byte(m, (unsigned)v >> 8);
    add_byte(m, (unsigned)v & 0xff);
}

/* RFC 8010 3.1.4; without a |name| it is a further value. */
static void add_attribute(struct message *m, unsigned tag, const char *name, const char *value)
{
    add_byte(m, tag);
    add_short(m, strlen(name));
    add(m, name, strlen(name));
    add_short(m, strlen(value));
    add(m, value, strlen(value));
}

static void message_make(const struct ipp_plan *p, struct message *m)
{
    bool is_job = p->operation == IPP_PLAN_PRINT_JOB;
    char uri[512];

    (void)snprintf(uri, sizeof uri, "%s://%s%s", p->tls ? "ipps" : "ipp", p->host, p->path);
    add(m, "\2\0", 2); /* version 2.0 */
    add_short(m, is_job ? OPERATION_PRINT_JOB : OPERATION_GET_ATTRIBUTES);
    add(m, "\0\0\0\0", 4); /* the request-id comes later */
    add_byte(m, TAG_OPERATION);
    add_attribute(m, TAG_CHARSET, "attributes-charset", "utf-8");
    add_attribute(m, TAG_LANGUAGE, "attributes-natural-language", "en");
    add_attribute(m, TAG_URI, "printer-uri", uri);
    add_attribute(m, TAG_NAME, "requesting-user-name", "bench");
    switch (p->operation) {
    case IPP_PLAN_ATTRIBUTES: add_attribute(m, TAG_KEYWORD, "requested-attributes", "all"); break;
    case IPP_PLAN_ATTRIBUTES_SMALL:
        add_attribute(m, TAG_KEYWORD, "requested-attributes", "printer-state");
        add_attribute(m, TAG_KEYWORD, "", "printer-state-reasons");
        add_attribute(m, TAG_KEYWORD, "", "printer-is-accepting-jobs");
        break;
    case IPP_PLAN_PRINT_JOB:
        add_attribute(m, TAG_NAME, "job-name", "bench");
        add_attribute(m, TAG_MEDIA_TYPE, "document-format", "application/pdf");
        break;
    }
    add_byte(m, TAG_END);
}

/* As much of a PDF file as tells its type. Its one stream has noise in it, which no engine finds
 * anything in and nothing compresses. */
static bool document_make(struct ipp_plan *p)
{
    static const char begin[] = "%PDF-1.4\n%";
    static const char stream[] = "\n1 0 obj\n<<>>\nstream\n";
    static const char end[] = "\nendstream\nendobj\n%%EOF\n";
    size_t from = sizeof begin - 1 + IPP_PLAN_STAMP_LEN + sizeof stream - 1;
    size_t to = p->size - (sizeof end - 1);
    uint64_t noise = UINT64_C(0x9e3779b97f4a7c15);

    p->document = malloc(p->size);
    if (!p->document)
        return false;
    p->stamp_at = sizeof begin - 1;
    memcpy(p->document, begin, sizeof begin - 1);
    memset(p->document + p->stamp_at, '0', IPP_PLAN_STAMP_LEN);
    memcpy(p->document + from - (sizeof stream - 1), stream, sizeof stream - 1);
    for (size_t i = from; i < to; i++) {
        noise ^= noise << 13; /* xorshift64 */
        noise ^= noise >> 7;
        noise ^= noise << 17;
        p->document[i] = (uint8_t)(noise >> 32);
    }
    memcpy(p->document + to, end, sizeof end - 1);
    return true;
}

bool ipp_plan_init(struct ipp_plan *p)
{
    struct message m = {.len = 0};
    size_t document_len = p->operation == IPP_PLAN_PRINT_JOB ? p->size : 0;
    int n;

    message_make(p, &m);
    n = snprintf(p->head, sizeof p->head,
                 "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/ipp\r\n"
                 "User-Agent: ippload\r\nContent-Length: %zu\r\n%s\r\n",
                 p->path, p->host, m.len + document_len, p->close ? "Connection: close\r\n" : "");
    if (m.full || n < 0 || (size_t)n + m.len > sizeof p->head)
        return false;
    memcpy(p->head + n, m.bytes, m.len);
    p->head_len = (size_t)n + m.len;
    p->id_at = (size_t)n + 4;
    return p->operation != IPP_PLAN_PRINT_JOB || document_make(p);
}

void ipp_plan_done(struct ipp_plan *p)
{
    free(p->document);
    p->document = NULL;
}

void ipp_plan_request_set(struct ipp_plan_request *r, uint32_t id, uint64_t serial)
{
    static const char digits[] = "0123456789abcdef";

    for (unsigned i = 0; i < sizeof r->id; i++)
        r->id[i] = (uint8_t)(id >> (24 - 8 * i));
    for (unsigned i = 0; i < sizeof r->stamp; i++)
        r->stamp[i] = digits[serial >> (60 - 4 * i) & 15];
}

static void piece(struct iovec *v, const void *p, size_t n)
{
    *v = (struct iovec){.iov_base = (void *)(uintptr_t)p, .iov_len = n};
}

int ipp_plan_iov(const struct ipp_plan *p, const struct ipp_plan_request *r,
                 struct iovec v[IPP_PLAN_PIECES])
{
    size_t after_id = p->id_at + sizeof r->id, after_stamp = p->stamp_at + sizeof r->stamp;

    piece(&v[0], p->head, p->id_at);
    piece(&v[1], r->id, sizeof r->id);
    piece(&v[2], p->head + after_id, p->head_len - after_id);
    if (!p->document)
        return 3;
    piece(&v[3], p->document, p->stamp_at);
    piece(&v[4], r->stamp, sizeof r->stamp);
    piece(&v[5], p->document + after_stamp, p->size - after_stamp);
    return 6;
}
