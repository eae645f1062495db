/* SPDX-License-Identifier: Apache-2.0 */
/* reject-status: which rows there may be, and which status follows from them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ipp/ipp_names.h"
#include "ipp/ipp_reject.h"

struct world {
    struct ipp_reject_settings *rows;
    size_t n;
};

static enum err world_check(void *block, struct config_report *r)
{
    const struct world *w = block;

    ipp_reject_check(w->rows, w->n, r);
    return OK;
}

static const struct config_row world_rows[] = {
    CONFIG_LIST("r", struct world, rows, n, ipp_reject_block, .max = IPP_REJECT_MAX,
                .help = "rows"),
};
static const struct config_block world_block =
    CONFIG_ROWS(struct world, world_rows, .check = world_check);

/* clang-format off */
#define ALL "client-error-document-security-error, client-error-document-format-not-supported, " \
    "client-error-attributes-or-values-not-supported, client-error-document-format-error, " \
    "client-error-document-permission-error, client-error-document-unprintable-error, " \
    "client-error-forbidden, server-error-job-canceled"
#define MUST(place) "x:" place ": status must be one of " ALL ", got "
#define FOR_EVER(place, status) "x:" place ": clients of CUPS send a Print-Job again for ever after '" status "', or " \
    "hold it: let an earlier row answer 'agent: CUPS/' with client-error-document-format-not-supported, " \
    "client-error-attributes-or-values-not-supported or server-error-job-canceled, or write 'operation: Send-Document', " \
    "or other agents\n"
#define S "status: client-error-document-security-error"
#define F "status: client-error-document-format-not-supported"

/* Rows, and what is said of them. */
static const struct row {
    const char *text, *said;
} rows[] = {
    {"", ""},
    {"r: []", ""},
    {"r: [{" F "}]", ""},
    {"r: [{status: client-error-attributes-or-values-not-supported}]", ""},
    {"r: [{status: server-error-job-canceled}]", ""},
    {"r: [{agent: Windows, operation: Print-Job, " S "}]", ""},
    {"r: [{agent: Windows, status: client-error-document-format-error}]", ""},
    {"r: [{agent: Windows, status: client-error-document-permission-error}]", ""},
    {"r: [{agent: Windows, status: client-error-document-unprintable-error}]", ""},
    {"r: [{agent: Windows, status: client-error-forbidden}]", ""},
    {"r: [{operation: Send-Document, status: client-error-forbidden}]", ""},
    {"r: [{agent: CUPS/, operation: Send-Document, " S "}]", ""},
    {"r: [{agent: CUPS/, operation: SEND-document, " S "}]", ""},
    /* what does harm */
    {"r: [{status: client-error-not-possible}]",
     MUST("1:14") "'client-error-not-possible': clients of CUPS send the document again at once, and again\n"},
    {"r: [{status: server-error-internal-error}]",
     MUST("1:14") "'server-error-internal-error': clients of CUPS stop the whole queue\n"},
    {"r: [{agent: W, status: client-error-not-authenticated}]",
     MUST("1:24") "'client-error-not-authenticated': clients ask for a password, which would change nothing\n"},
    {"r: [{status: client-error-not-authorized}]",
     MUST("1:14") "'client-error-not-authorized': clients ask for a password, which would change nothing\n"},
    {"r: [{status: server-error-busy}]",
     MUST("1:14") "'server-error-busy': clients come again with the same document ('on' has error for that)\n"},
    {"r: [{status: client-error-request-entity-too-large}]",
     MUST("1:14") "'client-error-request-entity-too-large': it is what documents over body-max get\n"},
    {"r: [{status: successful-ok}]",
     MUST("1:14") "'successful-ok': the client would take the document for printed\n"},
    {"r: [{status: successful-ok-ignored-or-substituted-attributes}]",
     MUST("1:14") "'successful-ok-ignored-or-substituted-attributes': the client would take the document for printed\n"},
    {"r: [{status: server-error-operation-not-supported}]",
     MUST("1:14") "'server-error-operation-not-supported': it says something else than that a document is refused\n"},
    {"r: [{status: client-error-not-found}]",
     MUST("1:14") "'client-error-not-found': it says something else than that a document is refused\n"},
    /* what is none */
    {"r: [{status: client-error-document-securty-error}]",
     MUST("1:14") "'client-error-document-securty-error'; did you mean 'client-error-document-security-error'?\n"},
    {"r: [{status: nonsense}]", MUST("1:14") "'nonsense'\n"},
    {"r: [{status: 0x041a}]", MUST("1:14") "'0x041a'\n"},
    {"r: [{agent: W}]", "x:1:5: required key 'status' is missing in r\n"},
    {"r: [{operation: Print-Jop, " F "}]",
     "x:1:17: operation must be one of Print-Job, Send-Document, got 'Print-Jop'; did you mean 'Print-Job'?\n"},
    {"r: [{operation: Validate-Job, " F "}]",
     "x:1:17: operation must be one of Print-Job, Send-Document, got 'Validate-Job', which brings no document to look at\n"},
    {"r: [{operation: nonsense, status: nonsense}]",
     "x:1:17: operation must be one of Print-Job, Send-Document, got 'nonsense'\n" MUST("1:35") "'nonsense'\n"},
    {"r: [{agent: '', " F "}]", "x:1:13: agent must be a text of 1..128 bytes, got ''\n"},
    {"r: [{agent: ' W', " F "}]", "x:1:13: agent must be the beginning of a User-Agent, as CUPS/, got ' W'\n"},
    {"r: [{agent: \"W\\n\", " F "}]", "x:1:13: agent must be the beginning of a User-Agent, as CUPS/, got 'W\\x0a'\n"},
    {"r: [{agnt: W, " F "}]", "x:1:6: unknown key 'agnt' in r; did you mean 'agent'?\n"},
    /* what CUPS would send for ever */
    {"r: [{" S "}]", FOR_EVER("1:14", "client-error-document-security-error")},
    {"r: [{operation: Print-Job, status: client-error-forbidden}]", FOR_EVER("1:36", "client-error-forbidden")},
    {"r: [{agent: cups, " S "}]", FOR_EVER("1:27", "client-error-document-security-error")},
    {"r: [{agent: C, " S "}]", FOR_EVER("1:24", "client-error-document-security-error")},
    {"r: [{agent: CUPS/2.4, status: client-error-document-format-error}]",
     FOR_EVER("1:31", "client-error-document-format-error")},
    {"r: [{agent: CUPS/1, " F "}, {status: client-error-document-permission-error}]",
     FOR_EVER("1:83", "client-error-document-permission-error")},
    {"r: [{agent: CUPS/, operation: Send-Document, " F "}, {" S "}]",
     FOR_EVER("1:108", "client-error-document-security-error")},
    {"r: [{agent: CUPS/, " F "}, {" S "}]", ""},
    {"r: [{agent: CU, operation: Print-Job, " F "}, {" S "}]", ""},
    {"r: [{" F "}, {agent: CUPS/, " S "}]", ""},
};
/* clang-format on */

struct loaded {
    struct config_report r;
    struct arena mem;
    struct world w;
    struct buf said;
    enum err err;
};

static struct loaded *load(const char *text)
{
    struct loaded *l = calloc(1, sizeof *l);

    assert_non_null(l);
    config_report_init(&l->r);
    arena_init(&l->mem, 0);
    buf_init(&l->said, 0);
    l->err = config_load_text(span_of(text), "x", &world_block, &l->mem, &l->r, &l->w);
    config_report_print(&l->r, &l->said);
    return l;
}

static void unload(struct loaded *l)
{
    config_report_done(&l->r);
    buf_done(&l->said);
    arena_done(&l->mem);
    free(l);
}

static void row_case(void **state)
{
    const struct row *row = *state;
    struct loaded *l = load(row->text);

    assert_string_equal(buf_cstr(&l->said), row->said);
    assert_int_equal(l->err, row->said[0] ? ERR_CONFIG : OK);
    unload(l);
}

/* As many as there may be, and one more. */
static void test_bound(void **state)
{
    (void)state;
    for (unsigned more = 0; more < 2; more++) {
        struct buf text;

        buf_init(&text, 0);
        buf_text(&text, "r:\n");
        for (unsigned i = 0; i < IPP_REJECT_MAX + more; i++)
            buf_text(&text, "  - {" F "}\n");
        struct loaded *l = load(buf_cstr(&text));

        assert_string_equal(buf_cstr(&l->said),
                            more ? "x:2:3: r must have 0..32 elements, got 33\n" : "");
        assert_int_equal(l->w.n, more ? 0 : IPP_REJECT_MAX);
        unload(l);
        buf_done(&text);
    }
}

static void test_rows_are_sound(void **state)
{
    struct config_report r;
    struct buf said;

    (void)state;
    config_report_init(&r);
    buf_init(&said, 0);
    enum err e = config_rows_check(&world_block, &r);

    config_report_print(&r, &said);
    assert_string_equal(buf_cstr(&said), "");
    assert_int_equal(e, OK);
    buf_done(&said);
    config_report_done(&r);
}

/* ---- what follows ---- */

#define PRINT    IPP_OPERATION_PRINT_JOB
#define SEND     IPP_OPERATION_SEND_DOCUMENT
#define USUAL    ""
#define CUPS_242 "CUPS/2.4.2 (Linux 6.1; x86_64) IPP/2.0"
#define SOME                                                                       \
    "r: [{agent: Windows, operation: Print-Job, status: client-error-forbidden}, " \
    "{agent: windows, status: client-error-document-format-error}, "               \
    "{agent: CUPS/2, status: client-error-attributes-or-values-not-supported}, "   \
    "{operation: Send-Document, status: server-error-job-canceled}]"
#define ALL_ROWS "r: [{status: server-error-job-canceled}, {agent: Windows, " F "}]"

static const struct answer {
    const char *rows;
    uint16_t operation;
    const char *agent; /* NULL: none */
    uint16_t status;
} answers[] = {
    {USUAL,    PRINT, NULL,          0x041a},
    {USUAL,    PRINT, "",            0x041a},
    {USUAL,    PRINT, CUPS_242,      0x040a},
    {USUAL,    PRINT, "cups/1",      0x040a},
    {USUAL,    PRINT, "CUPS",        0x041a},
    {USUAL,    PRINT, "x CUPS/2",    0x041a},
    {USUAL,    SEND,  CUPS_242,      0x041a},
    {USUAL,    SEND,  NULL,          0x041a},
    {SOME,     PRINT, "Windows NT",  0x0401},
    {SOME,     PRINT, "WINDOWS",     0x0401},
    {SOME,     SEND,  "Windows NT",  0x0411},
    {SOME,     PRINT, "Window",      0x041a},
    {SOME,     PRINT, "not Windows", 0x041a},
    {SOME,     PRINT, CUPS_242,      0x040b},
    {SOME,     SEND,  CUPS_242,      0x040b},
    {SOME,     PRINT, "CUPS/1.7",    0x040a},
    {SOME,     SEND,  "CUPS/1.7",    0x0508},
    {SOME,     SEND,  NULL,          0x0508},
    {SOME,     PRINT, NULL,          0x041a},
    {ALL_ROWS, PRINT, CUPS_242,      0x0508},
    {ALL_ROWS, SEND,  "Windows",     0x0508},
    {ALL_ROWS, PRINT, NULL,          0x0508},
};

static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        const struct answer *a = &answers[i];
        struct loaded *l = load(a->rows);

        assert_string_equal(buf_cstr(&l->said), "");
        uint16_t got = ipp_reject_status(l->w.rows, l->w.n, a->operation,
                                         a->agent ? span_of(a->agent) : SPAN_NONE);

        if (got != a->status)
            fail_msg("%zu: %s: 0x%04x", i, a->agent ? a->agent : "-", got);
        unload(l);
    }
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows) + 3];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){.name = rows[i].text,
                                         .test_func = row_case,
                                         .initial_state = (void *)(uintptr_t)&rows[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_bound);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_rows_are_sound);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_answers);
    return cmocka_run_group_tests_name("ipp_reject", tests, NULL, NULL);
}
