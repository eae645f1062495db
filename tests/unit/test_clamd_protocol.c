/* SPDX-License-Identifier: Apache-2.0 */
/* What clamd says, as ClamAV 1.4.6 and older ones say it. */
#include "test_net.h"

#include "adapt/clamd.h"

struct row {
    const char *name, *reply;
    enum err err;
    uint32_t id;
    enum clamd_verdict verdict;
    enum err answer_err;
    const char *text;
};

/* clang-format off */
static const struct row rows[] = {
    {"a clean descriptor", "1: fd[10]: OK", OK, 1, CLAMD_CLEAN, OK, ""},
    {"a clean stream", "4294967295: stream: OK", OK, UINT32_MAX, CLAMD_CLEAN, OK, ""},
    {"a clean stream of an older one", "2: instream(local): OK", OK, 2, CLAMD_CLEAN, OK, ""},
    {"a finding", "12: fd[10]: Eicar-Test-Signature FOUND", OK, 12, CLAMD_FOUND, OK, "Eicar-Test-Signature"},
    {"a finding of an older one", "3: instream(127.0.0.1@40000): X FOUND", OK, 3, CLAMD_FOUND, OK, "X"},
    {"not from the official database", "3: stream: Test.UNOFFICIAL FOUND", OK, 3, CLAMD_FOUND, OK, "Test.UNOFFICIAL"},
    {"with its hash", "3: stream: Eicar(44d88612:68) FOUND", OK, 3, CLAMD_FOUND, OK, "Eicar(44d88612:68)"},
    {"a signature with odd bytes", "3: stream: a\xff\x01<b> OK FOUND", OK, 3, CLAMD_FOUND, OK, "a\xff\x01<b> OK"},
    {"a signature named OK", "3: stream: OK FOUND", OK, 3, CLAMD_FOUND, OK, "OK"},
    {"a signature with a colon", "3: stream: a: b FOUND", OK, 3, CLAMD_FOUND, OK, "a: b"},
    {"over MaxFileSize", "7: fd[11]: Heuristics.Limits.Exceeded.MaxFileSize FOUND", OK, 7, CLAMD_LIMIT, OK, "Heuristics.Limits.Exceeded.MaxFileSize"},
    {"over a limit, an older one", "7: fd[11]: Heuristics.Limits.Exceeded FOUND", OK, 7, CLAMD_LIMIT, OK, "Heuristics.Limits.Exceeded"},
    {"encrypted", "7: fd[11]: Heuristics.Encrypted.Zip FOUND", OK, 7, CLAMD_LIMIT, OK, "Heuristics.Encrypted.Zip"},
    {"another heuristic", "7: fd[11]: Heuristics.Phishing.Email FOUND", OK, 7, CLAMD_FOUND, OK, "Heuristics.Phishing.Email"},
    {"over StreamMaxLength", "1: INSTREAM size limit exceeded. ERROR", OK, 1, CLAMD_LIMIT, OK, "StreamMaxLength"},
    {"no descriptor", "1: No file descriptor received. ERROR", OK, 1, CLAMD_ERROR, ERR_UPSTREAM, "No file descriptor received."},
    {"an error of a file", "1: fd[10]: Can't allocate memory ERROR", OK, 1, CLAMD_ERROR, ERR_UPSTREAM, "Can't allocate memory"},
    {"a command that it has not", "1: Command invalid inside IDSESSION. ERROR", OK, 1, CLAMD_ERROR, ERR_UPSTREAM, "Command invalid inside IDSESSION."},
    {"it was idle", "COMMAND READ TIMED OUT", OK, 0, CLAMD_ERROR, ERR_UPSTREAM, "COMMAND READ TIMED OUT"},
    {"no command", "UNKNOWN COMMAND", OK, 0, CLAMD_ERROR, ERR_UPSTREAM, "UNKNOWN COMMAND"},
    {"nothing", "", ERR_SYNTAX, 0, 0, 0, NULL},
    {"no id", "stream: OK", ERR_SYNTAX, 0, 0, 0, NULL},
    {"id 0", "0: stream: OK", ERR_SYNTAX, 0, 0, 0, NULL},
    {"an id too large", "4294967296: stream: OK", ERR_SYNTAX, 0, 0, 0, NULL},
    {"a signed id", "-1: stream: OK", ERR_SYNTAX, 0, 0, 0, NULL},
    {"no space", "1:stream: OK", ERR_SYNTAX, 0, 0, 0, NULL},
    {"only an id", "1: ", ERR_SYNTAX, 0, 0, 0, NULL},
    {"no place", "1: OK", ERR_SYNTAX, 0, 0, 0, NULL},
    {"an empty place", "1: : OK", ERR_SYNTAX, 0, 0, 0, NULL},
    {"a finding of nothing", "1: stream:  FOUND", ERR_SYNTAX, 0, 0, 0, NULL},
    {"a finding without its name", "1: stream: FOUND", ERR_SYNTAX, 0, 0, 0, NULL},
    {"a finding nowhere", "1: X FOUND", ERR_SYNTAX, 0, 0, 0, NULL},
    {"an error of nothing", "1: stream:  ERROR", ERR_SYNTAX, 0, 0, 0, NULL},
    {"cut", "1: stream: X FOUN", ERR_SYNTAX, 0, 0, 0, NULL},
    {"more behind it", "1: stream: OK.", ERR_SYNTAX, 0, 0, 0, NULL},
    {"in small letters", "1: stream: ok", ERR_SYNTAX, 0, 0, 0, NULL},
    {"a version", "1: ClamAV 1.4.6", ERR_SYNTAX, 0, 0, 0, NULL},
    {"a pong", "1: PONG", ERR_SYNTAX, 0, 0, 0, NULL},
};
/* clang-format on */

static void test_replies(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct clamd_answer a = {.verdict = CLAMD_LIMIT, .text = "untouched"};
        uint32_t id = 77;
        enum err e = clamd_parse_reply(span_of(r->reply), &id, &a);

        if (e != r->err)
            fail_msg("%s: %s", r->name, err_code(e));
        if (e != OK) {
            assert_int_equal(id, 77);
            assert_string_equal(a.text, "untouched");
            continue;
        }
        if (id != r->id || a.verdict != r->verdict || a.err != r->answer_err ||
            strcmp(a.text, r->text) != 0)
            fail_msg("%s: id %u verdict %d err %d text '%s'", r->name, id, (int)a.verdict,
                     (int)a.err, a.text);
    }
}

static void test_a_nul_is_no_part_of_a_reply(void **state)
{
    struct clamd_answer a;
    uint32_t id;

    (void)state;
    assert_int_equal(clamd_parse_reply(SPAN("1: stream: a\0b FOUND"), &id, &a), ERR_SYNTAX);
}

static void test_a_long_signature_is_cut(void **state)
{
    char reply[400] = "1: stream: ", *p = reply + strlen(reply);
    struct clamd_answer a;
    uint32_t id;

    (void)state;
    memset(p, 'x', 300);
    memcpy(p + 300, " FOUND", 7);
    assert_int_equal(clamd_parse_reply(span_of(reply), &id, &a), OK);
    assert_int_equal(a.verdict, CLAMD_FOUND);
    assert_int_equal(strlen(a.text), FINDING_NAME_MAX - 1);
}

/* What is cut off is refused, and never another verdict than the whole. */
static void test_no_prefix_is_clean(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t n = 0; n < strlen(rows[i].reply); n++) {
            struct clamd_answer a = {.verdict = CLAMD_ERROR};
            uint32_t id;

            if (clamd_parse_reply((struct span){rows[i].reply, n}, &id, &a) == OK &&
                a.verdict == CLAMD_CLEAN && strcmp(rows[i].reply, "1: stream: OK.") != 0 &&
                !strstr(rows[i].reply, "OK FOUND"))
                fail_msg("%s cut at %zu is clean", rows[i].name, n);
        }
}

static void test_versions(void **state)
{
    static const struct {
        const char *reply;
        enum err err;
        const char *version;
    } versions[] = {
        {"3: ClamAV 1.4.6/27400/Sat Nov 21 10:00:00 2026", OK,
         "ClamAV 1.4.6/27400/Sat Nov 21 10:00:00 2026"                               },
        {"3: ClamAV 1.4.6",                                OK,         "ClamAV 1.4.6"},
        {"ClamAV 1.4.6",                                   ERR_SYNTAX, NULL          },
        {"3: ",                                            ERR_SYNTAX, NULL          },
        {"3: UNKNOWN COMMAND. ERROR",                      ERR_SYNTAX, NULL          },
        {"3: a\nb",                                        ERR_SYNTAX, NULL          },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        char version[CLAMD_VERSION_MAX] = "";
        uint32_t id = 0;

        assert_int_equal(clamd_parse_version(span_of(versions[i].reply), &id, version),
                         versions[i].err);
        if (versions[i].err == OK) {
            assert_int_equal(id, 3);
            assert_string_equal(version, versions[i].version);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_a_nul_is_no_part_of_a_reply),
        cmocka_unit_test(test_a_long_signature_is_cut),
        cmocka_unit_test(test_no_prefix_is_clean),
        cmocka_unit_test(test_versions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
