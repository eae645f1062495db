/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipp_answer.c - the checks of an IPP answer: its HTTP head, its framing, and its attributes.
 */
#include "ipp_answer.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TOKEN "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/* RFC 8010 3.5.1, 3.5.2; RFC 8011 4.1.6 */
#define HEADER_LEN      8
#define GROUP_OPERATION 0x01
#define GROUP_JOB       0x02
#define GROUP_PRINTER   0x04
#define TAG_END         0x03
#define TAG_VALUES_FROM 0x10 /* below are groups */
#define TAG_INTEGER     0x21
#define STATUS_GOOD_TO  0x00ff
#define HEAD_MIN        12 /* "HTTP/1.1 200" */

static enum answer_fault fault(struct ipp_answer *a, enum answer_fault f, const char *what,
                               const void *p, size_t n)
{
    const uint8_t *b = p;
    int used = snprintf(a->detail, sizeof a->detail, "%s%s", what, n > 0 ? ": " : "");

    for (size_t i = 0; i < n && (size_t)used + 1 < sizeof a->detail; i++)
        a->detail[used++] = isprint(b[i]) && b[i] != '"' && b[i] != '\\' ? (char)b[i] : '.';
    a->detail[used] = '\0';
    return f;
}

/* --- the head --- */

struct line {
    const char *p;
    size_t n;
};

/* What the head said so far. */
struct fields {
    bool has_length, has_type;
};

static bool is_named(struct line name, const char *wanted)
{
    return name.n == strlen(wanted) && strncasecmp(name.p, wanted, name.n) == 0;
}

static bool is_value(struct line v, const char *wanted)
{
    return is_named(v, wanted);
}

static enum answer_fault length_check(struct ipp_answer *a, struct line v)
{
    size_t n = 0;

    if (v.n == 0 || v.n > 9)
        return fault(a, FAULT_CONTENT_LENGTH, "no number of bytes", v.p, v.n);
    for (size_t i = 0; i < v.n; i++) {
        if (!isdigit((unsigned char)v.p[i]))
            return fault(a, FAULT_CONTENT_LENGTH, "no number of bytes", v.p, v.n);
        n = n * 10 + (size_t)(v.p[i] - '0');
    }
    if (n > IPP_ANSWER_MAX - a->head_len)
        return fault(a, FAULT_CONTENT_LENGTH, "larger than any such answer", v.p, v.n);
    a->body_len = n;
    return FAULT_NONE;
}

static enum answer_fault field_known(struct ipp_answer *a, struct fields *seen, struct line name,
                                     struct line value)
{
    bool is_length = is_named(name, "Content-Length"), is_type = is_named(name, "Content-Type");

    if ((is_length && seen->has_length) || (is_type && seen->has_type))
        return fault(a, FAULT_FIELD, "twice", name.p, name.n);
    if (is_named(name, "Transfer-Encoding"))
        return fault(a, FAULT_CONTENT_LENGTH, "Transfer-Encoding instead", value.p, value.n);
    if (is_named(name, "Connection"))
        a->close |= is_value(value, "close");
    if (is_type) {
        seen->has_type = true;
        if (!is_value(value, "application/ipp"))
            return fault(a, FAULT_CONTENT_TYPE, "Content-Type", value.p, value.n);
    }
    if (is_length) {
        seen->has_length = true;
        return length_check(a, value);
    }
    return FAULT_NONE;
}

static enum answer_fault field_check(struct ipp_answer *a, struct fields *seen, struct line l)
{
    struct line name = {l.p, 0}, value;

    while (name.n < l.n && l.p[name.n] != '\0' && strchr(TOKEN, l.p[name.n]))
        name.n++;
    if (name.n == 0 || name.n == l.n || l.p[name.n] != ':')
        return fault(a, FAULT_FIELD, "no field line", l.p, l.n);
    value = (struct line){l.p + name.n + 1, l.n - name.n - 1};
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] < 0x20 && value.p[i] != '\t')
            return fault(a, FAULT_FIELD, "a control character", l.p, l.n);
    while (value.n > 0 && (value.p[0] == ' ' || value.p[0] == '\t')) {
        value.p++;
        value.n--;
    }
    while (value.n > 0 && (value.p[value.n - 1] == ' ' || value.p[value.n - 1] == '\t'))
        value.n--;
    return field_known(a, seen, name, value);
}

static enum answer_fault status_check(struct ipp_answer *a, struct line l)
{
    bool is_line = l.n > HEAD_MIN && memcmp(l.p, "HTTP/1.1 ", 9) == 0 &&
                   isdigit((unsigned char)l.p[9]) && isdigit((unsigned char)l.p[10]) &&
                   isdigit((unsigned char)l.p[11]) && l.p[12] == ' ';

    if (!is_line)
        return fault(a, FAULT_STATUS_LINE, "no status line", l.p, l.n);
    if (memcmp(l.p + 9, "200", 3) != 0)
        return fault(a, FAULT_STATUS, "status", l.p + 9, l.n - 9);
    return FAULT_NONE;
}

/* Up to the next CR LF, which is there. */
static struct line line_next(const char **p)
{
    const char *end = strstr(*p, "\r\n");
    struct line l = {*p, (size_t)(end - *p)};

    *p = end + 2;
    return l;
}

/* |a->bytes| holds a whole head of |a->head_len| bytes. */
static enum answer_fault head_check(struct ipp_answer *a)
{
    char text[ANSWER_HEAD_MAX + 1];
    const char *p = text, *end = text + a->head_len - 2;
    struct fields seen = {false, false};
    enum answer_fault f;

    memcpy(text, a->bytes, a->head_len);
    text[a->head_len] = '\0';
    if (strlen(text) != a->head_len)
        return fault(a, FAULT_FIELD, "a NUL in the head", "", 0);
    f = status_check(a, line_next(&p));
    while (f == FAULT_NONE && p < end)
        f = field_check(a, &seen, line_next(&p));
    if (f == FAULT_NONE && !seen.has_type)
        f = fault(a, FAULT_CONTENT_TYPE, "no Content-Type", "", 0);
    if (f == FAULT_NONE && !seen.has_length)
        f = fault(a, FAULT_CONTENT_LENGTH, "no Content-Length", "", 0);
    return f;
}

/* --- the message --- */

struct wanted {
    uint8_t group;
    uint8_t tag; /* 0: any */
    const char *name;
};

#define WANTED_MAX 4
static const struct wanted wanted[][WANTED_MAX + 1] = {
    [IPP_PLAN_ATTRIBUTES] = {{GROUP_PRINTER, 0, "printer-name"},
                             {GROUP_PRINTER, 0, "printer-state"},
                             {GROUP_PRINTER, 0, "printer-uri-supported"},
                             {GROUP_PRINTER, 0, "operations-supported"}},
    [IPP_PLAN_ATTRIBUTES_SMALL] = {{GROUP_PRINTER, 0, "printer-state"},
                             {GROUP_PRINTER, 0, "printer-state-reasons"},
                             {GROUP_PRINTER, 0, "printer-is-accepting-jobs"}},
    [IPP_PLAN_PRINT_JOB] = {{GROUP_JOB, TAG_INTEGER, "job-id"}                                          },
};

/* A walk through the attributes. */
struct walk {
    const uint8_t *p, *end;
    uint8_t group;
    bool has_attribute; /* of this group, so that a further value may follow */
    unsigned found;     /* bits of what is wanted */
};

static size_t be16(const uint8_t *p)
{
    return (size_t)p[0] << 8 | p[1];
}

static void note(struct walk *w, const struct wanted *v, uint8_t tag, struct line name,
                 struct line value)
{
    for (unsigned i = 0; v[i].name; i++) {
        bool is_it = v[i].group == w->group && (v[i].tag == 0 || v[i].tag == tag) &&
                     name.n == strlen(v[i].name) && memcmp(name.p, v[i].name, name.n) == 0;

        if (is_it && tag == TAG_INTEGER) /* a number of something, above 0 */
            is_it = value.n == 4 && (unsigned char)value.p[0] < 0x80 &&
                    memcmp(value.p, "\0\0\0\0", 4) != 0;
        if (is_it)
            w->found |= 1u << i;
    }
}

/* RFC 8010 3.1.4 and 3.1.5. False: it goes beyond the message, or has no name. */
static bool value_next(struct walk *w, const struct wanted *v, uint8_t tag)
{
    struct line name, value;

    if (w->group == 0 || w->end - w->p < 2)
        return false;
    name = (struct line){(const char *)w->p + 2, be16(w->p)};
    w->p += 2;
    if ((size_t)(w->end - w->p) < name.n + 2 || (name.n == 0 && !w->has_attribute))
        return false;
    w->p += name.n;
    value = (struct line){(const char *)w->p + 2, be16(w->p)};
    w->p += 2;
    if ((size_t)(w->end - w->p) < value.n)
        return false;
    w->p += value.n;
    w->has_attribute = true;
    note(w, v, tag, name, value);
    return true;
}

/* False: broken. The end has to be that of the body. */
static bool attributes_walk(struct walk *w, const struct wanted *v)
{
    while (w->p < w->end) {
        uint8_t tag = *w->p++;

        if (tag == TAG_END)
            return w->p == w->end && w->group != 0;
        if (tag >= TAG_VALUES_FROM) {
            if (!value_next(w, v, tag))
                return false;
        } else {
            if (tag == 0 || (w->group == 0 && tag != GROUP_OPERATION))
                return false;
            w->group = tag;
            w->has_attribute = false;
        }
    }
    return false;
}

/* With what the server says about it, for people: RFC 8011 4.1.6.2. */
static enum answer_fault status_fault(struct ipp_answer *a, const uint8_t *m)
{
    static const char name[] = "status-message";
    const uint8_t *end = m + a->body_len, *p = memmem(m, a->body_len, name, sizeof name - 1);
    char code[32];

    (void)snprintf(code, sizeof code, "status-code 0x%04zx", be16(m + 2));
    p = p ? p + sizeof name - 1 : end;
    if (end - p < 2 || (size_t)(end - p - 2) < be16(p))
        return fault(a, FAULT_IPP_STATUS, code, "", 0);
    return fault(a, FAULT_IPP_STATUS, code, p + 2, be16(p));
}

static enum answer_fault header_check(struct ipp_answer *a, const uint8_t *m)
{
    uint32_t id = (uint32_t)(be16(m + 4) << 16 | be16(m + 6));
    char text[32];

    if (m[0] != 2 || m[1] != 0) {
        (void)snprintf(text, sizeof text, "%u.%u", m[0], m[1]);
        return fault(a, FAULT_IPP_VERSION, "version", text, strlen(text));
    }
    if (be16(m + 2) > STATUS_GOOD_TO)
        return status_fault(a, m);
    if (id != a->id) {
        (void)snprintf(text, sizeof text, "%u, sent %u", id, a->id);
        return fault(a, FAULT_REQUEST_ID, "request-id", text, strlen(text));
    }
    return FAULT_NONE;
}

static enum answer_fault message_check(struct ipp_answer *a)
{
    const uint8_t *m = a->bytes + a->head_len;
    const struct wanted *v = wanted[a->plan->operation];
    struct walk w = {.p = m + HEADER_LEN, .end = m + a->body_len};
    enum answer_fault f;

    if (a->body_len < HEADER_LEN)
        return fault(a, FAULT_IPP_MESSAGE, "shorter than its header", "", 0);
    f = header_check(a, m);
    if (f != FAULT_NONE)
        return f;
    if (!attributes_walk(&w, v)) {
        (void)snprintf(a->detail, sizeof a->detail, "near byte %td of %zu", w.p - m, a->body_len);
        return FAULT_IPP_MESSAGE;
    }
    for (unsigned i = 0; v[i].name; i++)
        if (!(w.found & 1u << i))
            return fault(a, FAULT_ATTRIBUTE, "missing", v[i].name, strlen(v[i].name));
    return FAULT_NONE;
}

/* --- bytes --- */

bool ipp_answer_init(struct ipp_answer *a, const struct ipp_plan *plan)
{
    *a = (struct ipp_answer){.plan = plan, .bytes = malloc(IPP_ANSWER_MAX + 1)};
    return a->bytes != NULL;
}

void ipp_answer_done(struct ipp_answer *a)
{
    free(a->bytes);
    a->bytes = NULL;
}

void ipp_answer_reset(struct ipp_answer *a, uint32_t id)
{
    a->id = id;
    a->len = a->head_len = a->body_len = 0;
    a->close = false;
    a->detail[0] = '\0';
}

/* One byte more than any answer has, so that bytes behind it show. */
uint8_t *ipp_answer_room(const struct ipp_answer *a, size_t *ret_n)
{
    *ret_n = IPP_ANSWER_MAX + 1 - a->len;
    return a->bytes + a->len;
}

/* ANSWER_EV_DONE: the head is there. */
static enum answer_event head_find(struct ipp_answer *a, enum answer_fault *ret_fault)
{
    size_t n = a->len < ANSWER_HEAD_MAX ? a->len : ANSWER_HEAD_MAX;
    const uint8_t *end = memmem(a->bytes, n, "\r\n\r\n", 4);

    if (!end && a->len < ANSWER_HEAD_MAX)
        return ANSWER_EV_MORE;
    if (!end) {
        *ret_fault = fault(a, FAULT_HEAD_LONG, "begins with", a->bytes, 40);
        return ANSWER_EV_FAULT;
    }
    a->head_len = (size_t)(end - a->bytes) + 4;
    *ret_fault = head_check(a);
    return *ret_fault == FAULT_NONE ? ANSWER_EV_DONE : ANSWER_EV_FAULT;
}

enum answer_event ipp_answer_took(struct ipp_answer *a, size_t n, enum answer_fault *ret_fault)
{
    a->len += n;
    if (a->head_len == 0) {
        enum answer_event ev = head_find(a, ret_fault);

        if (ev != ANSWER_EV_DONE)
            return ev;
    }
    if (a->len < a->head_len + a->body_len)
        return ANSWER_EV_MORE;
    *ret_fault = message_check(a);
    if (*ret_fault == FAULT_NONE && a->len > a->head_len + a->body_len)
        *ret_fault = fault(a, FAULT_EXTRA, "after the answer", a->bytes + a->head_len + a->body_len,
                           a->len - a->head_len - a->body_len);
    return *ret_fault == FAULT_NONE ? ANSWER_EV_DONE : ANSWER_EV_FAULT;
}

enum answer_fault ipp_answer_end(struct ipp_answer *a)
{
    if (a->len == 0)
        return fault(a, FAULT_CLOSED, "no byte of an answer", "", 0);
    if (a->head_len == 0)
        return fault(a, FAULT_HEAD_SHORT, "ends with",
                     a->bytes + a->len - (a->len < 40 ? a->len : 40), a->len < 40 ? a->len : 40);
    (void)snprintf(a->detail, sizeof a->detail, "%zu bytes of %zu", a->len - a->head_len,
                   a->body_len);
    return FAULT_BODY_SHORT;
}
