/* SPDX-License-Identifier: Apache-2.0 */
/* ipp/ipp_scan.h, ipp/ipp_message.h: one row, one message; whole, octet by octet, cut at each
 * octet, in front of a guard page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "guard.h"
#include "ipp/ipp_message.h"
#include "test_ipp.h"

#define REQ           IPP_REQUEST
#define RES           IPP_RESPONSE
#define GPA           HEADER("\0\x0b")
#define TEXT(t)       "\x41\0\1t" t
#define NAMED(t)      "\x44\0" t "\0\1v"
#define L8            "aaaaaaaa"
#define L64           L8 L8 L8 L8 L8 L8 L8 L8
#define L256          L64 L64 L64 L64
#define ANSWER_OF_TWO HEADER("\0\0") PREAMBLE "\2" INTEGER("x") "\4" INTEGER("x") END
#define DEEP(a, b)    BEGIN("c") MEMBER("m") a b FINISH

struct row {
    const char *name;
    enum ipp_kind kind;
    struct span in;
    enum ipp_flaw want;
    size_t off; /* 0: not looked at */
};

#define GZIP(name)  "\x44\0\x0b" name "\0\4gzip"
#define PLAIN(name) "\x49\0\x0f" name "\0\x0atext/plain"

/* clang-format off */
static const struct row rows[] = {
    /* good ones */
    {"the example",                REQ, S(EXAMPLE), IPP_FLAW_NONE, 0},
    {"the example, rewritten",     REQ, S(EXAMPLE_REWRITTEN), IPP_FLAW_NONE, 0},
    {"no target",                  REQ, S(HEADER("\x40\1") PREAMBLE END), IPP_FLAW_NONE, 0},
    {"a response",                 RES, S(HEADER("\0\0") PREAMBLE END), IPP_FLAW_NONE, 0},
    {"version 1.1",                REQ, S("\1\1\0\x0b\0\0\0\1" PREAMBLE PRINTER END), IPP_FLAW_NONE, 0},
    {"the largest request-id",     REQ, S("\1\1\0\x0b\x7f\xff\xff\xff" PREAMBLE PRINTER END), IPP_FLAW_NONE, 0},
    {"an attribute before the target", REQ, S(GPA PREAMBLE INTEGER("x") PRINTER END), IPP_FLAW_NONE, 0},
    {"printer-uri and job-id",     REQ, S(GPA PREAMBLE PRINTER JOB_ID END), IPP_FLAW_NONE, 0},
    {"job-id 0 of Cancel-My-Jobs", REQ, S(HEADER("\0\x39") PREAMBLE PRINTER "\x21\0\6" "job-id\0\4\0\0\0\0" END), IPP_FLAW_NONE, 0},
    {"job-id and printer-uri",     REQ, S(GPA PREAMBLE JOB_ID PRINTER END), IPP_FLAW_NONE, 0},
    {"job-uri",                    REQ, S(GPA PREAMBLE JOB END), IPP_FLAW_NONE, 0},
    {"system-uri",                 REQ, S(GPA PREAMBLE SYSTEM END), IPP_FLAW_NONE, 0},
    {"empty groups",               REQ, S(GPA PREAMBLE PRINTER "\2\4\2\5" END), IPP_FLAW_NONE, 0},
    {"unknown group 0f",           REQ, S(GPA PREAMBLE PRINTER "\x0f" INTEGER("x") END), IPP_FLAW_NONE, 0},
    {"unknown value tag 5e",       REQ, S(GPA PREAMBLE PRINTER "\x5e\0\1x\0\3abc" END), IPP_FLAW_NONE, 0},
    {"unknown value tag ff",       REQ, S(GPA PREAMBLE PRINTER "\xff\0\1x\0\0" END), IPP_FLAW_NONE, 0},
    {"an extension",               REQ, S(GPA PREAMBLE PRINTER "\x7f\0\1x\0\5\0\0\1\0v" END), IPP_FLAW_NONE, 0},
    {"values that look like tags", REQ, S(GPA PREAMBLE PRINTER "\x30\0\1x\0\5\3\3\3\3\3" END), IPP_FLAW_NONE, 0},
    {"a set",                      REQ, S(GPA PREAMBLE PRINTER INTEGER("x") MORE MORE END), IPP_FLAW_NONE, 0},
    {"out-of-band",                REQ, S(GPA PREAMBLE PRINTER "\x13\0\1x\0\0" END), IPP_FLAW_NONE, 0},
    {"an empty collection",        REQ, S(GPA PREAMBLE PRINTER "\2" BEGIN("c") FINISH END), IPP_FLAW_NONE, 0},
    {"a collection",               REQ, S(GPA PREAMBLE PRINTER "\2" DEEP(MORE, MORE) END), IPP_FLAW_NONE, 0},
    {"collections in a set",       REQ, S(GPA PREAMBLE PRINTER "\2" DEEP(MORE, ) BEGIN_MORE FINISH END), IPP_FLAW_NONE, 0},
    {"a collection in a collection", REQ,
     S(GPA PREAMBLE PRINTER "\2" DEEP(BEGIN_MORE MEMBER("n") MORE FINISH, MEMBER("o") MORE) INTEGER("x") END), IPP_FLAW_NONE, 0},
    {"text with language",         REQ, S(GPA PREAMBLE PRINTER "\x35\0\1t\0\x08\0\2en\0\2hi" END), IPP_FLAW_NONE, 0},
    {"a target in an answer's job", RES, S(HEADER("\0\0") PREAMBLE "\2" PRINTER JOB JOB_ID "\2" JOB END), IPP_FLAW_NONE, 0},
    {"request-id 1 in an answer with a long name", RES,
     S(HEADER("\0\0") PREAMBLE "\4\x42\0\1n\1\0" L256 END), IPP_FLAW_NONE, 0},
    {"NUL in an answer's text",    RES, S(HEADER("\0\0") PREAMBLE "\4" TEXT("\0\2a\0") END), IPP_FLAW_NONE, 0},
    {"a name of odd letters",      REQ, S(GPA PREAMBLE PRINTER "\2" NAMED("\5" "A*b~!") END), IPP_FLAW_NONE, 0},

    /* the shape */
    {"nothing",                    REQ, S(""), IPP_FLAW_TRUNCATED, 0},
    {"half a header",              REQ, S("\2\0\0\x0b"), IPP_FLAW_TRUNCATED, 4},
    {"a header only",              REQ, S(GPA), IPP_FLAW_TRUNCATED, 8},
    {"no end tag",                 REQ, S(GPA PREAMBLE PRINTER), IPP_FLAW_TRUNCATED, 0},
    {"an end in a name",           REQ, S(GPA "\1\x47\0\x12" "attr"), IPP_FLAW_TRUNCATED, 0},
    {"an end in a length",         REQ, S(GPA "\1\x47\0"), IPP_FLAW_TRUNCATED, 0},
    {"document data",              REQ, S(GPA PREAMBLE PRINTER END "%!PS"), IPP_FLAW_TRAILING, 0},
    {"two end tags",               REQ, S(GPA PREAMBLE PRINTER END END), IPP_FLAW_TRAILING, 0},
    {"no group",                   REQ, S(GPA END), IPP_FLAW_FIRST_GROUP, 8},
    {"the job group first",        REQ, S(GPA "\2" CHARSET LANGUAGE END), IPP_FLAW_FIRST_GROUP, 8},
    {"an attribute without a group", REQ, S(GPA CHARSET LANGUAGE END), IPP_FLAW_FIRST_GROUP, 8},
    {"two operation groups",       REQ, S(GPA PREAMBLE "\1" PRINTER END), IPP_FLAW_SECOND_OPERATION, 0},
    {"an operation group at the end", REQ, S(GPA PREAMBLE PRINTER "\2\1" END), IPP_FLAW_SECOND_OPERATION, 0},
    {"tag 00",                     REQ, S(GPA PREAMBLE PRINTER "\0" END), IPP_FLAW_RESERVED_TAG, 0},
    {"an extension without its tag", REQ, S(GPA PREAMBLE PRINTER "\x7f\0\1x\0\3\0\0\1" END), IPP_FLAW_VALUE_LENGTH, 0},
    {"no name at all",             REQ, S(GPA "\1\x47\0\0\0\5utf-8" END), IPP_FLAW_NO_NAME, 11},
    {"no name in a new group",     REQ, S(GPA PREAMBLE PRINTER "\2" MORE END), IPP_FLAW_NO_NAME, 0},
    {"a negative name length",     REQ, S(GPA "\1\x47\x80\0"), IPP_FLAW_NEGATIVE_LENGTH, 11},
    {"a negative value length",    REQ, S(GPA "\1\x30\0\1x\xff\xff"), IPP_FLAW_NEGATIVE_LENGTH, 0},
    {"a name of 256 octets",       REQ, S(GPA PREAMBLE "\x21\1\0" L256 "\0\4\0\0\0\1" END), IPP_FLAW_NAME_LENGTH, 0},
    {"NUL in a name",              REQ, S(GPA PREAMBLE "\x45\0\x0c" "printer-uri\0\0\x0bipp://gw/q1" END), IPP_FLAW_NAME_OCTET, 0},
    {"a space in a name",          REQ, S(GPA PREAMBLE NAMED("\2a ") END), IPP_FLAW_NAME_OCTET, 0},
    {"a letter of Latin-1 in a name", REQ, S(GPA PREAMBLE NAMED("\2a\xe4") END), IPP_FLAW_NAME_OCTET, 0},
    {"an integer of 3 octets",     REQ, S(GPA PREAMBLE "\x21\0\1x\0\3\0\0\1" END), IPP_FLAW_VALUE_LENGTH, 0},
    {"an integer of 5 octets",     REQ, S(GPA PREAMBLE "\x21\0\1x\0\5\0\0\0\0\1" END), IPP_FLAW_VALUE_LENGTH, 0},
    {"an empty boolean",           REQ, S(GPA PREAMBLE "\x22\0\1x\0\0" END), IPP_FLAW_VALUE_LENGTH, 0},
    {"an enum of 2 octets",        REQ, S(GPA PREAMBLE "\x23\0\1x\0\2\0\1" END), IPP_FLAW_VALUE_LENGTH, 0},
    {"a date of 8 octets",         REQ, S(GPA PREAMBLE "\x31\0\1x\0\x08" L8 END), IPP_FLAW_VALUE_LENGTH, 0},
    {"a resolution of 8 octets",   REQ, S(GPA PREAMBLE "\x32\0\1x\0\x08" L8 END), IPP_FLAW_VALUE_LENGTH, 0},
    {"a range of 4 octets",        REQ, S(GPA PREAMBLE "\x33\0\1x\0\4aaaa" END), IPP_FLAW_VALUE_LENGTH, 0},
    {"out-of-band with a value",   REQ, S(GPA PREAMBLE "\x13\0\1x\0\1a" END), IPP_FLAW_VALUE_LENGTH, 0},
    {"unassigned out-of-band with a value", REQ, S(GPA PREAMBLE "\x1f\0\1x\0\1a" END), IPP_FLAW_VALUE_LENGTH, 0},
    {"a collection with a value",  REQ, S(GPA PREAMBLE "\x34\0\1c\0\1a" FINISH END), IPP_FLAW_VALUE_LENGTH, 0},
    {"the end of one with a value", REQ, S(GPA PREAMBLE BEGIN("c") "\x37\0\0\0\1a" END), IPP_FLAW_VALUE_LENGTH, 0},
    {"text with language of 3 octets", REQ, S(GPA PREAMBLE "\x35\0\1t\0\3\0\0\0" END), IPP_FLAW_VALUE_LENGTH, 0},

    /* collections */
    {"an end tag in a collection", REQ, S(GPA PREAMBLE BEGIN("c") END), IPP_FLAW_END_IN_COLLECTION, 0},
    {"an end tag after a member",  REQ, S(GPA PREAMBLE BEGIN("c") MEMBER("m") MORE END), IPP_FLAW_END_IN_COLLECTION, 0},
    {"a group in a collection",    REQ, S(GPA PREAMBLE BEGIN("c") "\2" FINISH END), IPP_FLAW_GROUP_IN_COLLECTION, 0},
    {"tag 00 in a collection",     REQ, S(GPA PREAMBLE BEGIN("c") "\0" FINISH END), IPP_FLAW_GROUP_IN_COLLECTION, 0},
    {"a collection that only ends", REQ, S(GPA PREAMBLE FINISH END), IPP_FLAW_STRAY_END, 0},
    {"a collection that ends twice", REQ, S(GPA PREAMBLE DEEP(MORE, ) FINISH END), IPP_FLAW_STRAY_END, 0},
    {"a member outside",           REQ, S(GPA PREAMBLE MEMBER("m") MORE END), IPP_FLAW_STRAY_MEMBER, 0},
    {"a member with a name of its own outside", REQ, S(GPA PREAMBLE "\x4a\0\1m\0\1m" END), IPP_FLAW_STRAY_MEMBER, 0},
    {"a value without a member",   REQ, S(GPA PREAMBLE BEGIN("c") MORE FINISH END), IPP_FLAW_MEMBER_NAME, 0},
    {"a collection without a member", REQ, S(GPA PREAMBLE BEGIN("c") BEGIN_MORE FINISH FINISH END), IPP_FLAW_MEMBER_NAME, 0},
    {"a member without a value",   REQ, S(GPA PREAMBLE BEGIN("c") MEMBER("m") FINISH END), IPP_FLAW_MEMBER_VALUE, 0},
    {"a member behind a member",   REQ, S(GPA PREAMBLE BEGIN("c") MEMBER("m") MEMBER("n") MORE FINISH END), IPP_FLAW_MEMBER_VALUE, 0},
    {"a member without a name",    REQ, S(GPA PREAMBLE BEGIN("c") "\x4a\0\0\0\0" MORE FINISH END), IPP_FLAW_VALUE_LENGTH, 0},
    {"a member name with NUL",     REQ, S(GPA PREAMBLE BEGIN("c") "\x4a\0\0\0\2m\0" MORE FINISH END), IPP_FLAW_NAME_OCTET, 0},
    {"a name in a collection",     REQ, S(GPA PREAMBLE DEEP(INTEGER("x"), ) END), IPP_FLAW_NAME_IN_COLLECTION, 0},
    {"a name at its end",          REQ, S(GPA PREAMBLE BEGIN("c") "\x37\0\1c\0\0" END), IPP_FLAW_NAME_IN_COLLECTION, 0},

    /* what it says */
    {"version 0.9",                REQ, S("\0\x09\0\x0b\0\0\0\1" PREAMBLE PRINTER END), IPP_FLAW_VERSION, 0},
    {"version 3.0",                REQ, S("\3\0\0\x0b\0\0\0\1" PREAMBLE PRINTER END), IPP_FLAW_VERSION, 0},
    {"request-id 0",               REQ, S("\2\0\0\x0b\0\0\0\0" PREAMBLE PRINTER END), IPP_FLAW_REQUEST_ID, 4},
    {"a negative request-id",      REQ, S("\2\0\0\x0b\x80\0\0\0" PREAMBLE PRINTER END), IPP_FLAW_REQUEST_ID, 4},
    {"a charset of 64 octets",     REQ, S(GPA "\1\x47\0\x12" "attributes-charset\0\x40" L64 LANGUAGE END), IPP_FLAW_VALUE_TOO_LONG, 0},
    {"a keyword of 256 octets",    REQ, S(GPA PREAMBLE "\x44\0\1k\1\0" L256 END), IPP_FLAW_VALUE_TOO_LONG, 0},
    {"a uri of 1024 octets",       RES, S(HEADER("\0\0") PREAMBLE "\x45\0\1u\4\0" L256 L256 L256 L256 END), IPP_FLAW_VALUE_TOO_LONG, 0},
    {"a name of 256 octets, asked", REQ, S(GPA PREAMBLE "\x42\0\1n\1\0" L256 END), IPP_FLAW_VALUE_TOO_LONG, 0},
    {"a member name of 256 octets", REQ, S(GPA PREAMBLE BEGIN("c") "\x4a\0\0\1\0" L256 MORE FINISH END), IPP_FLAW_VALUE_LENGTH, 0},
    {"NUL in a uri",               REQ, S(GPA PREAMBLE "\x45\0\1u\0\7ipp:\0//" END), IPP_FLAW_NUL, 0},
    {"NUL in an answer's uri",     RES, S(HEADER("\0\0") PREAMBLE "\x45\0\1u\0\7ipp:\0//" END), IPP_FLAW_NUL, 0},
    {"NUL in a request's name",    REQ, S(GPA PREAMBLE "\x42\0\1n\0\4ann\0" END), IPP_FLAW_NUL, 0},
    {"NUL in a member's keyword",  REQ, S(GPA PREAMBLE DEEP("\x44\0\0\0\2k\0", ) END), IPP_FLAW_NUL, 0},
    {"NUL in text with language",  REQ, S(GPA PREAMBLE "\x35\0\1t\0\x08\0\2en\0\2h\0" END), IPP_FLAW_NUL, 0},
    {"language lengths too short", REQ, S(GPA PREAMBLE "\x36\0\1t\0\x08\0\2en\0\1hi" END), IPP_FLAW_LANGUAGE_LENGTHS, 0},
    {"language lengths too long",  RES, S(HEADER("\0\0") PREAMBLE "\x36\0\1t\0\x08\0\2en\0\3hi" END), IPP_FLAW_LANGUAGE_LENGTHS, 0},
    {"an empty operation group",   REQ, S(GPA "\1" END), IPP_FLAW_CHARSET, 0},
    {"language first",             REQ, S(GPA "\1" LANGUAGE CHARSET PRINTER END), IPP_FLAW_CHARSET, 0},
    {"charset as a keyword",       REQ, S(GPA "\1\x44\0\x12" "attributes-charset\0\5utf-8" LANGUAGE END), IPP_FLAW_CHARSET, 0},
    {"two values of charset",      REQ, S(GPA "\1" CHARSET "\x47\0\0\0\5utf-8" LANGUAGE END), IPP_FLAW_CHARSET, 0},
    {"charset again",              REQ, S(GPA PREAMBLE PRINTER CHARSET END), IPP_FLAW_CHARSET, 0},
    {"no language",                REQ, S(GPA "\1" CHARSET END), IPP_FLAW_LANGUAGE, 0},
    {"something before the language", REQ, S(GPA "\1" CHARSET PRINTER LANGUAGE END), IPP_FLAW_LANGUAGE, 0},
    {"language again",             REQ, S(GPA PREAMBLE PRINTER LANGUAGE END), IPP_FLAW_LANGUAGE, 0},

    /* targets */
    {"printer-uri twice",          REQ, S(GPA PREAMBLE PRINTER PRINTER END), IPP_FLAW_TWO_TARGETS, 0},
    {"printer-uri in two cases",   REQ, S(GPA PREAMBLE PRINTER "\x45\0\x0b" "Printer-URI\0\x0bipp://gw/q2" END), IPP_FLAW_TWO_TARGETS, 0},
    {"printer-uri and job-uri",    REQ, S(GPA PREAMBLE PRINTER JOB END), IPP_FLAW_TWO_TARGETS, 0},
    {"printer-uri and system-uri", REQ, S(GPA PREAMBLE SYSTEM PRINTER END), IPP_FLAW_TWO_TARGETS, 0},
    {"job-uri and job-id",         REQ, S(GPA PREAMBLE JOB JOB_ID END), IPP_FLAW_TWO_TARGETS, 0},
    {"printer-uri in the job group", REQ, S(GPA PREAMBLE "\2" PRINTER END), IPP_FLAW_TARGET_GROUP, 0},
    {"both places",                REQ, S(GPA PREAMBLE PRINTER "\2" PRINTER END), IPP_FLAW_TARGET_GROUP, 0},
    {"job-id in the job group",    REQ, S(GPA PREAMBLE PRINTER "\2" JOB_ID END), IPP_FLAW_TARGET_GROUP, 0},

    /* what the document is */
    {"compression and format",     REQ, S(GPA PREAMBLE PRINTER GZIP("compression") PLAIN("document-format") END), IPP_FLAW_NONE, 0},
    {"compression in the job group", REQ, S(GPA PREAMBLE PRINTER "\2" GZIP("compression") END), IPP_FLAW_DOCUMENT_GROUP, 0},
    {"Compression in a document group", REQ, S(GPA PREAMBLE PRINTER "\x09" GZIP("Compression") END), IPP_FLAW_DOCUMENT_GROUP, 0},
    {"compression in both",        REQ, S(GPA PREAMBLE GZIP("compression") "\2" GZIP("compression") END), IPP_FLAW_DOCUMENT_GROUP, 0},
    {"compression twice",          REQ, S(GPA PREAMBLE GZIP("compression") GZIP("COMPRESSION") END), IPP_FLAW_COMPRESSION_VALUE, 0},
    {"two compressions",           REQ, S(GPA PREAMBLE GZIP("compression") "\x44\0\0\0\4none" END), IPP_FLAW_COMPRESSION_VALUE, 0},
    {"compression, a name",        REQ, S(GPA PREAMBLE "\x42\0\x0b" "compression\0\4gzip" END), IPP_FLAW_COMPRESSION_VALUE, 0},
    {"a format in the job group",  REQ, S(GPA PREAMBLE PRINTER "\2" PLAIN("document-format") END), IPP_FLAW_DOCUMENT_GROUP, 0},
    {"a format twice",             REQ, S(GPA PREAMBLE PLAIN("document-format") PLAIN("Document-Format") END), IPP_FLAW_NONE, 0},
    {"a format, and a keyword",    REQ, S(GPA PREAMBLE PLAIN("document-format") "\x44\0\x0f" "document-format\0\3a/b" END), IPP_FLAW_FORMAT_VALUE, 0},
    {"two formats",                REQ, S(GPA PREAMBLE PLAIN("document-format") "\x49\0\0\0\3a/b" END), IPP_FLAW_FORMAT_VALUE, 0},
    {"a format, a keyword",        REQ, S(GPA PREAMBLE "\x44\0\x0f" "document-format\0\3a/b" END), IPP_FLAW_FORMAT_VALUE, 0},
    {"a format that is no-value",  REQ, S(GPA PREAMBLE "\x13\0\x0f" "document-format\0\0" END), IPP_FLAW_FORMAT_VALUE, 0},
    {"anything of that in an answer", RES,
     S(HEADER("\0\0") PREAMBLE "\4" PLAIN("document-format") GZIP("compression") GZIP("compression") END), IPP_FLAW_NONE, 0},
    {"printer-uri as a keyword",   REQ, S(GPA PREAMBLE "\x44\0\x0b" "printer-uri\0\x0bipp://gw/q1" END), IPP_FLAW_TARGET_VALUE, 0},
    {"an empty printer-uri",       REQ, S(GPA PREAMBLE "\x45\0\x0b" "printer-uri\0\0" END), IPP_FLAW_TARGET_VALUE, 0},
    {"two values of printer-uri",  REQ, S(GPA PREAMBLE PRINTER "\x45\0\0\0\1u" END), IPP_FLAW_TARGET_VALUE, 0},
    {"job-id twice",               REQ, S(GPA PREAMBLE PRINTER JOB_ID JOB_ID END), IPP_FLAW_JOB_ID_VALUE, 0},
    {"job-id 0",                   REQ, S(GPA PREAMBLE PRINTER "\x21\0\6" "job-id\0\4\0\0\0\0" END), IPP_FLAW_JOB_ID_VALUE, 0},
    {"a negative job-id",          REQ, S(GPA PREAMBLE PRINTER "\x21\0\6" "job-id\0\4\xff\xff\xff\xff" END), IPP_FLAW_JOB_ID_VALUE, 0},
    {"job-id as an enum",          REQ, S(GPA PREAMBLE PRINTER "\x23\0\6" "job-id\0\4\0\0\0\1" END), IPP_FLAW_JOB_ID_VALUE, 0},
    {"two values of job-id",       REQ, S(GPA PREAMBLE PRINTER JOB_ID MORE END), IPP_FLAW_JOB_ID_VALUE, 0},
    {"job-id alone",               REQ, S(GPA PREAMBLE JOB_ID END), IPP_FLAW_JOB_ID_ALONE, 0},
    {"job-id and system-uri",      REQ, S(GPA PREAMBLE SYSTEM JOB_ID END), IPP_FLAW_JOB_ID_ALONE, 0},
};
/* clang-format on */

static const struct ipp_limits limits = {
    .size_max = 1024u * 1024, .attributes_max = 8192, .depth_max = IPP_DEPTH_MAX};

/* ---- the scanner ---- */

struct result {
    enum err err; /* ERR_AGAIN: not over */
    struct ipp_fault fault;
    size_t at;
    bool doubt; /* OK: a value is one that may be refused */
};

static void feed(struct ipp_scan *s, const struct ipp_limits *lim, struct span in, struct result *r)
{
    size_t before = s->at, used = 0;

    if (r->err != ERR_AGAIN)
        return;
    r->err = ipp_scan_feed(s, lim, in, &used, &r->fault);
    assert_true(used <= in.n);
    if (r->err == ERR_AGAIN)
        assert_int_equal(used, in.n);
    if (r->err == OK || r->err == ERR_AGAIN)
        assert_int_equal(used, s->at - before);
    r->at = s->at;
    r->doubt = r->err == OK && s->doubt;
}

static struct result scan_in_two(const struct ipp_limits *lim, struct span in, size_t cut)
{
    struct ipp_scan s = {.at = 0};
    struct result r = {.err = ERR_AGAIN};

    feed(&s, lim, span_sub(in, 0, cut), &r);
    feed(&s, lim, span_sub(in, cut, SIZE_MAX), &r);
    return r;
}

static struct result scan_bytes(const struct ipp_limits *lim, struct span in)
{
    struct ipp_scan s = {.at = 0};
    struct result r = {.err = ERR_AGAIN};

    for (size_t i = 0; i < in.n; i++)
        feed(&s, lim, span_sub(in, i, 1), &r);
    return r;
}

static void assert_same(const char *name, struct result a, struct result b)
{
    if (a.err != b.err || a.at != b.at || a.fault.flaw != b.fault.flaw ||
        a.fault.off != b.fault.off || a.doubt != b.doubt)
        fail_msg("%s: %s at %zu (%s), and %s at %zu (%s)", name, err_code(a.err), a.at,
                 ipp_flaw_text(a.fault.flaw), err_code(b.err), b.at, ipp_flaw_text(b.fault.flaw));
}

/* The same for every split; the result for the whole. */
static struct result scan(const char *name, const struct ipp_limits *lim, struct span in)
{
    struct result whole = scan_in_two(lim, in, in.n);

    assert_same(name, whole, scan_bytes(lim, in));
    for (size_t cut = 0; cut < in.n; cut++)
        assert_same(name, whole, scan_in_two(lim, in, cut));
    return whole;
}

/* ---- rows ---- */

static void check_scan(const struct row *row, struct span in)
{
    struct result r = scan(row->name, &limits, in);
    bool is_shape = row->want > IPP_FLAW_TRAILING && row->want < IPP_FLAW_VERSION;

    if (is_shape)
        assert_int_equal(r.fault.flaw, row->want);
    else if (row->want == IPP_FLAW_TRUNCATED)
        assert_int_equal(r.err, ERR_AGAIN);
    else
        assert_int_equal(r.err, OK);
    if (row->want == IPP_FLAW_NONE)
        assert_int_equal(r.at, in.n);
    if (r.err == OK && (row->want == IPP_FLAW_VALUE_TOO_LONG || row->want == IPP_FLAW_NUL ||
                        row->want == IPP_FLAW_LANGUAGE_LENGTHS))
        assert_true(r.doubt);
}

/* What the scanner doubts is looked at, and then nothing is found in it that is not there. */
static void check_doubt(const struct row *row, struct span in)
{
    struct ipp_message m, doubted;
    struct ipp_scan s = {.at = 0};
    struct result r = {.err = ERR_AGAIN};
    struct ipp_fault f = {IPP_FLAW_NONE, 0}, g = {IPP_FLAW_NONE, 0};

    feed(&s, &limits, in, &r);
    if (r.err != OK || s.at < in.n)
        return;
    enum err e = ipp_message_read(row->kind, in, &s, &m, &f);

    s.doubt = true;
    assert_int_equal(ipp_message_read(row->kind, in, &s, &doubted, &g), e);
    assert_int_equal(f.flaw, g.flaw);
    assert_int_equal(f.off, g.off);
}

static void check_parse(const struct row *row, struct span in)
{
    struct ipp_message m;
    struct ipp_fault f = {IPP_FLAW_NONE, 0};
    enum err e = ipp_message_parse(row->kind, in, &limits, &m, &f);

    if (f.flaw != row->want || e != ipp_flaw_err(row->want))
        fail_msg("%s: %s, %s", row->name, err_code(e), ipp_flaw_text(f.flaw));
    if (row->off && f.off != row->off)
        fail_msg("%s: at %zu, not %zu", row->name, f.off, row->off);
    assert_true(f.off <= in.n);
    if (e == OK)
        assert_true(span_eq(m.octets, in));
}

static void rows_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct guard g = guard_new(rows[i].in.n);
        struct span in = guard_span(&g, rows[i].in);

        check_scan(&rows[i], in);
        check_parse(&rows[i], in);
        check_doubt(&rows[i], in);
        guard_free(&g);
    }
}

/* Each beginning of a good message wants more; what follows it is not looked at. */
static void every_beginning_wants_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].want != IPP_FLAW_NONE)
            continue;
        for (size_t n = 0; n < rows[i].in.n; n++) {
            struct guard g = guard_new(n);
            struct span in = guard_span(&g, span_sub(rows[i].in, 0, n));
            struct ipp_message m;
            struct ipp_fault f;

            assert_int_equal(ipp_message_parse(rows[i].kind, in, &limits, &m, &f), ERR_PROTO);
            assert_int_equal(f.flaw, IPP_FLAW_TRUNCATED);
            guard_free(&g);
        }
    }
}

static void document_data_begins_behind_the_end(void **state)
{
    static const char with_data[] = EXAMPLE "%!PS-Adobe";
    struct ipp_scan s = {.at = 0};
    size_t used = 0;
    struct span in = {with_data, sizeof with_data - 1};

    (void)state;
    assert_int_equal(sizeof EXAMPLE - 1, 190);
    assert_int_equal(ipp_scan_feed(&s, &limits, in, &used, NULL), OK);
    assert_int_equal(used, 0xbe);
    assert_int_equal(s.at, 0xbe);
    assert_int_equal(s.n_attributes, 6);
    assert_int_equal(ipp_scan_feed(&s, &limits, in, &used, NULL), ERR_BUG);
}

static void nothing_follows_an_error(void **state)
{
    struct ipp_scan s = {.at = 0};
    size_t used;

    (void)state;
    assert_int_equal(ipp_scan_feed(&s, &limits, SPAN(GPA END), &used, NULL), ERR_PROTO);
    assert_int_equal(used, 0);
    assert_int_equal(ipp_scan_feed(&s, &limits, SPAN("\1"), &used, NULL), ERR_BUG);
}

/* ---- octets of names and values ---- */

static size_t slow_nul(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\0')
            return i;
    return s.n;
}

/* Every octet at every place of every length, at each alignment in front of a guard page. */
static void octets_are_looked_at(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 40; n++) {
        struct guard g = guard_new(n + 8);
        char *room = g.map + g.n_map - (size_t)sysconf(_SC_PAGESIZE) - (n + 8);

        for (size_t at = 0; at <= 8; at++) {
            struct span s = {room + at, n};

            memset(room, 0, n + 8);
            memset(room + at, 'a', n);
            assert_true(ipp_name_is_good(s) && !ipp_has_nul(s));
            for (size_t i = 0; i < n; i++) {
                for (int c = 0; c < 256; c++) {
                    room[at + i] = (char)c;
                    assert_int_equal(ipp_name_is_good(s), ipp_name_check(s) == n);
                    assert_int_equal(ipp_name_is_good(s), c > 0x20 && c < 0x7f);
                    assert_int_equal(ipp_has_nul(s), slow_nul(s) < n);
                }
                room[at + i] = 'a';
            }
        }
        guard_free(&g);
    }
}

/* Neighbours do not hide each other. */
static void pairs_of_octets_are_looked_at(void **state)
{
    char room[16];
    struct span s = {room, 9};

    (void)state;
    memset(room, 'a', sizeof room);
    for (int a = 0; a < 256; a++)
        for (int b = 0; b < 256; b++) {
            room[3] = (char)a;
            room[4] = (char)b;
            assert_int_equal(ipp_name_is_good(s), ipp_name_check(s) == s.n);
            assert_int_equal(ipp_has_nul(s), slow_nul(s) < s.n);
        }
}

static void the_last_group_is_known(void **state)
{
    static const char octets[] = ANSWER_OF_TWO;
    struct span in = {octets, sizeof octets - 1};
    struct ipp_message m;

    (void)state;
    assert_int_equal(ipp_message_parse(RES, in, &limits, &m, NULL), OK);
    assert_int_equal((uint8_t)m.octets.p[m.last_group], IPP_GROUP_PRINTER);
    assert_int_equal(m.last_group, in.n - sizeof "\4" INTEGER("x"));
}

/* ---- limits ---- */

static void nest(struct buf *b, unsigned depth)
{
    buf_reset(b);
    buf_add(b, SPAN(GPA PREAMBLE PRINTER "\2" BEGIN("c")));
    for (unsigned i = 1; i < depth; i++)
        buf_add(b, SPAN(MEMBER("m") BEGIN_MORE));
    for (unsigned i = 0; i < depth; i++)
        buf_add(b, SPAN(FINISH));
    buf_add(b, SPAN(END));
    assert_int_equal(b->err, OK);
}

static void nesting_has_a_limit(void **state)
{
    struct ipp_message m;
    struct ipp_fault f = {IPP_FLAW_NONE, 0};
    struct ipp_limits less = limits;
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    less.depth_max = 3;
    nest(&b, 16);
    assert_int_equal(scan("16", &limits, buf_span(&b)).err, OK);
    assert_int_equal(ipp_message_parse(IPP_REQUEST, buf_span(&b), &limits, &m, &f), OK);
    nest(&b, 17);
    assert_int_equal(scan("17", &limits, buf_span(&b)).fault.flaw, IPP_FLAW_TOO_DEEP);
    assert_int_equal(ipp_message_parse(IPP_REQUEST, buf_span(&b), &limits, &m, &f), ERR_LIMIT);
    assert_int_equal(f.flaw, IPP_FLAW_TOO_DEEP);
    nest(&b, 3);
    assert_int_equal(scan("3", &less, buf_span(&b)).err, OK);
    nest(&b, 4);
    assert_int_equal(scan("4", &less, buf_span(&b)).fault.flaw, IPP_FLAW_TOO_DEEP);
    buf_done(&b);
}

static void attributes_have_a_limit(void **state)
{
    struct ipp_message m;
    struct ipp_fault f = {IPP_FLAW_NONE, 0};
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    for (unsigned n = 8192; n <= 8193; n++) {
        buf_reset(&b);
        buf_add(&b, SPAN(GPA PREAMBLE PRINTER "\2"));
        for (unsigned i = 3; i < n; i++)
            buf_add(&b, SPAN(INTEGER("x") MORE)); /* further values do not count */
        buf_add(&b, SPAN(END));
        assert_int_equal(ipp_message_parse(IPP_REQUEST, buf_span(&b), &limits, &m, &f),
                         n == 8192 ? OK : ERR_LIMIT);
    }
    assert_int_equal(m.n_attributes, 8192);
    assert_int_equal(f.flaw, IPP_FLAW_TOO_MANY);
    buf_done(&b);
}

/* Every size below the message's own is refused, at the same octet for every split. */
static void size_has_a_limit(void **state)
{
    struct span in = SPAN(EXAMPLE);
    struct ipp_limits lim = limits;

    (void)state;
    for (lim.size_max = 8; lim.size_max < in.n; lim.size_max++) {
        struct result r = scan("size", &lim, in);

        assert_int_equal(r.fault.flaw, IPP_FLAW_TOO_LARGE);
        assert_int_equal(r.err, ERR_LIMIT);
        assert_true(r.at <= lim.size_max);
    }
    assert_int_equal(scan("size", &lim, in).err, OK);
}

/* ---- what is read ---- */

static void the_example_is_read(void **state)
{
    struct ipp_message m;
    struct ipp_attribute a;
    struct ipp_group g;
    struct span groups, text = SPAN_NONE;
    struct ipp_value v;
    int32_t copies = 0;

    (void)state;
    assert_int_equal(ipp_message_parse(IPP_REQUEST, SPAN(EXAMPLE), &limits, &m, NULL), OK);
    assert_int_equal(m.header.major, 2);
    assert_int_equal(m.header.minor, 0);
    assert_int_equal(m.header.code, 2);
    assert_int_equal(m.header.request_id, 9);
    assert_int_equal(m.n_attributes, 6);
    assert_int_equal(m.target.kind, IPP_TARGET_PRINTER);
    assert_true(span_eq(m.target.uri, SPAN("ipp://gw.example/q1;AUTH=TLS")));
    assert_int_equal(ipp_message_find(&m, SPAN("requesting-user-name"), &a), OK);
    assert_true(ipp_attribute_single(&a, IPP_VALUE_NAME, &v) && ipp_value_text(&v, &text));
    assert_true(span_eq(text, SPAN("ann")));
    assert_int_equal(ipp_message_find(&m, SPAN("copies"), &a), ERR_MISSING);
    groups = m.groups;
    assert_true(ipp_group_next(&groups, &g));
    assert_true(span_eq(g.attributes, m.operation));
    assert_true(ipp_group_next(&groups, &g));
    assert_int_equal(g.tag, IPP_GROUP_JOB);
    assert_int_equal(ipp_attribute_find(g.attributes, SPAN("Copies"), &a), OK);
    assert_true(ipp_attribute_single(&a, IPP_VALUE_INTEGER, &v) && ipp_value_integer(&v, &copies));
    assert_int_equal(copies, 2);
    assert_false(ipp_group_next(&groups, &g));
}

struct target_row {
    struct span in;
    enum ipp_target_kind kind;
    const char *uri;
    int32_t job_id;
};

static void targets_are_told(void **state)
{
    static const struct target_row targets[] = {
        {S(GPA PREAMBLE END),                  IPP_TARGET_NONE,        "",             0},
        {S(GPA PREAMBLE PRINTER END),          IPP_TARGET_PRINTER,     "ipp://gw/q1",  0},
        {S(GPA PREAMBLE JOB_ID PRINTER END),   IPP_TARGET_PRINTER_JOB, "ipp://gw/q1",  7},
        {S(GPA PREAMBLE INTEGER("x") JOB END), IPP_TARGET_JOB,         "ipp://gw/j/7", 0},
        {S(GPA PREAMBLE SYSTEM END),           IPP_TARGET_SYSTEM,      "ipp://gw/sys", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct ipp_message m;

        assert_int_equal(ipp_message_parse(IPP_REQUEST, targets[i].in, &limits, &m, NULL), OK);
        assert_int_equal(m.target.kind, targets[i].kind);
        assert_true(span_eq(m.target.uri, span_of(targets[i].uri)));
        assert_int_equal(m.target.job_id, targets[i].job_id);
    }
}

static void collections_are_walked(void **state)
{
    struct ipp_message m;
    struct ipp_group g;
    struct ipp_attribute a, member, inner;
    struct ipp_value v, w;
    struct span groups, values, members;

    (void)state;
    assert_int_equal(
        ipp_message_parse(
            IPP_REQUEST,
            SPAN(GPA PREAMBLE "\2" DEEP(BEGIN_MORE MEMBER("n") MORE FINISH MORE,
                                        MEMBER("o") MORE MORE) BEGIN_MORE FINISH INTEGER("x") END),
            &limits, &m, NULL),
        OK);
    groups = m.groups;
    assert_true(ipp_group_next(&groups, &g) && ipp_group_next(&groups, &g));
    assert_int_equal(ipp_attribute_find(g.attributes, SPAN("c"), &a), OK);
    assert_int_equal(a.tag, IPP_VALUE_BEGIN_COLLECTION);
    values = a.values;
    assert_true(ipp_value_next(&values, &v));
    members = v.members;
    assert_true(ipp_member_next(&members, &member));
    assert_true(span_eq(member.name, SPAN("m")));
    assert_true(ipp_value_next(&member.values, &w));
    assert_int_equal(ipp_member_find(w.members, SPAN("n"), &inner), OK);
    assert_int_equal(inner.tag, IPP_VALUE_INTEGER);
    assert_true(ipp_value_next(&member.values, &w));
    assert_int_equal(w.tag, IPP_VALUE_INTEGER);
    assert_false(ipp_value_next(&member.values, &w));
    assert_int_equal(ipp_member_find(v.members, SPAN("o"), &member), OK);
    assert_true(ipp_value_next(&member.values, &w) && ipp_value_next(&member.values, &w));
    assert_false(ipp_value_next(&member.values, &w));
    assert_true(ipp_value_next(&values, &v));
    assert_int_equal(v.members.n, 0);
    assert_false(ipp_value_next(&values, &v));
    assert_int_equal(ipp_attribute_find(g.attributes, SPAN("x"), &a), OK);
}

static void doubles_are_no_answer(void **state)
{
    struct ipp_message m;
    struct ipp_attribute a;

    (void)state;
    assert_int_equal(ipp_message_parse(IPP_REQUEST,
                                       SPAN(GPA PREAMBLE INTEGER("x") INTEGER("X") END), &limits,
                                       &m, NULL),
                     OK);
    assert_int_equal(ipp_message_find(&m, SPAN("x"), &a), ERR_PROTO);
}

static void flaws_have_words(void **state)
{
    (void)state;
    for (enum ipp_flaw f = IPP_FLAW_NONE; f <= IPP_FLAW_JOB_ID_ALONE; f++) {
        assert_non_null(ipp_flaw_text(f));
        assert_int_equal(ipp_flaw_err(f) == OK, f == IPP_FLAW_NONE);
        assert_int_equal(ipp_flaw_status(f) == 0, f == IPP_FLAW_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_hold),
        cmocka_unit_test(every_beginning_wants_more),
        cmocka_unit_test(document_data_begins_behind_the_end),
        cmocka_unit_test(nothing_follows_an_error),
        cmocka_unit_test(octets_are_looked_at),
        cmocka_unit_test(pairs_of_octets_are_looked_at),
        cmocka_unit_test(the_last_group_is_known),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(attributes_have_a_limit),
        cmocka_unit_test(size_has_a_limit),
        cmocka_unit_test(the_example_is_read),
        cmocka_unit_test(targets_are_told),
        cmocka_unit_test(collections_are_walked),
        cmocka_unit_test(doubles_are_no_answer),
        cmocka_unit_test(flaws_have_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
