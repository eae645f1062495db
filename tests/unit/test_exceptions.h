/* SPDX-License-Identifier: Apache-2.0 */
/* test_exceptions.h - what the tests of exceptions share: making them, and sets of them. */
#ifndef TEST_EXCEPTIONS_H
#define TEST_EXCEPTIONS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapt/exceptions.h"

#define NOW  UINT64_C(1700000000000) /* 2023-11-14T22:13:20.000Z */
#define HOUR UINT64_C(3600000)
#define DAY  (24 * HOUR)

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* An exception with one member set: offset and text. */
static inline struct exception make(enum exception_kind kind, const char *id)
{
    struct exception e = {.kind = kind, .created_wall_ms = NOW, .expires_wall_ms = NOW + HOUR};

    (void)span_copy(span_of(id), e.id, sizeof e.id);
    (void)span_copy(SPAN("root"), e.by, sizeof e.by);
    (void)span_copy(SPAN("a ticket"), e.reason, sizeof e.reason);
    return e;
}

static inline struct exception allow_host(const char *id, const char *host)
{
    struct exception e = make(EXCEPTION_ALLOW, id);

    (void)span_copy(span_of(host), e.host, sizeof e.host);
    return e;
}

static inline struct exception bypass_of(const char *id, const char *service)
{
    struct exception e = make(EXCEPTION_BYPASS, id);

    (void)span_copy(span_of(service), e.service, sizeof e.service);
    return e;
}

static inline struct exceptions *with(struct exceptions *s, struct exception e)
{
    struct exceptions *n = NULL;

    assert_int_equal(exceptions_with(s, &e, NOW, &n), OK);
    exceptions_unref(s);
    return n;
}

static inline struct exceptions *empty_set(void)
{
    struct exceptions *s = NULL;

    assert_int_equal(exceptions_new(&s), OK);
    assert_int_equal(exceptions_count(s), 0);
    return s;
}

#endif
