/* SPDX-License-Identifier: Apache-2.0 */
/* TXT records: what printers say of themselves, in the words of DNS-SD. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ipp/ipp_advertise.h"
#include "test_ipp_text.h"
#include "test_ipp_translate_world.h"

/* Of a printer that says |words|; to be freed by the caller. */
static char *record(const char *words)
{
    struct ipp_printer_settings set = world_settings();
    struct ipp_public_printer p = world_printer(&set);
    struct ipp_advertisement a = {.printer = &p};
    struct ipp_message m;
    struct buf octets, txt;

    buf_init(&octets, 0);
    buf_init(&txt, 0);
    text_message(&octets, IPP_SUCCESSFUL_OK, words);
    world_parse(IPP_RESPONSE, &octets, &m);
    a.attributes = &m;
    ipp_advertise_txt(&a, &txt);
    char *text = span_dup(buf_span(&txt));

    buf_done(&txt);
    buf_done(&octets);
    return text;
}

/* The line |key| of that record is |want|; NULL: there is none. */
static void line_is(const char *words, const char *key, const char *want)
{
    char *text = record(words);
    struct span found = SPAN_NONE;

    for (struct span rest = span_of(text), line; rest.n;) {
        line = span_cut(&rest, '\n');
        struct span value = line, name = span_cut(&value, '=');

        if (span_eq(name, span_of(key)))
            found = value;
        assert_true(line.n <= 255);
    }
    if (!want && found.p)
        fail_msg("%s: %s is there", words, key);
    if (want && !span_eq(found, span_of(want)))
        fail_msg("%s: %s is '%.*s', not '%s'", words, key, (int)found.n, found.p, want);
    free(text);
}

static void test_paper(void **state)
{
    static const struct {
        const char *media, *word;
    } rows[] = {
        {"kiso_a6_105x148mm",                                         "<legal-A4" },
        {"kna_letter_8.5x11in",                                       "<legal-A4" },
        {"kiso_a4_210x297mm",                                         "legal-A4"  },
        {"kna_legal_8.5x14in",                                        "legal-A4"  },
        {"kiso_a4_297x210mm",                                         "legal-A4"  },
        {"kiso_a6_105x148mm +kiso_a4_210x297mm +kna_letter_8.5x11in", "legal-A4"  },
        {"kiso_a3_297x420mm",                                         "tabloid-A3"},
        {"kna_ledger_11x17in",                                        "tabloid-A3"},
        {"kiso_a2_420x594mm",                                         "isoC-A2"   },
        {"kna_c_17x22in",                                             "isoC-A2"   },
        {"kiso_a1_594x841mm",                                         ">isoC-A2"  },
        {"kcustom_min_100x100mm +kcustom_max_330.2x1200mm",           "tabloid-A3"},
        {"nA4 +niso_a5_148x210mm",                                    "<legal-A4" },
 /* not sizes */
        {"kA4",                                                       NULL        },
        {"kiso_a4_210x297",                                           NULL        },
        {"kiso_a4_210mm",                                             NULL        },
        {"kiso_a4_210x297x3mm",                                       NULL        },
        {"kiso_a4_-210x297mm",                                        NULL        },
        {"kiso_a4_x297mm",                                            NULL        },
        {"kiso_a4_210xmm",                                            NULL        },
        {"kiso_a4_1e5x297mm",                                         NULL        },
        {"kiso_a4_210x29700000000000000000000mm",                     NULL        },
        {"kiso_a4_210.x297mm",                                        "legal-A4"  },
        {"kmm",                                                       NULL        },
        {"i7",                                                        NULL        },
        {"-",                                                         NULL        },
    };
    char words[128];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        (void)snprintf(words, sizeof words, "@4 media-supported=%s", rows[i].media);
        line_is(words, "PaperMax", rows[i].word);
    }
    line_is("@4 x=i1", "PaperMax", NULL);
}

/* |n| times a character of two octets, between |begin| and |end|. */
static const char *umlauts(const char *begin, size_t n, const char *end, char dst[512])
{
    char *at = stpcpy(dst, begin);

    while (n-- > 0)
        at = stpcpy(at, "\xc3\xbc");
    (void)stpcpy(at, end);
    return dst;
}

static void test_names(void **state)
{
    char words[512], want[512];

    (void)state;
    line_is("@4 printer-make-and-model=tFake", "ty", "Fake");
    line_is("@4 printer-make-and-model=tFake", "product", "(Fake)");
    line_is("@4 x=i1", "ty", "acct");
    line_is("@4 x=i1", "product", "(acct)");
    line_is("@4 mopria-certified=t1.3", "mopria-certified", "1.3");
    line_is("@4 x=i1", "mopria-certified", NULL);
    /* No line is longer than 255 octets, and none ends in half of a character. */
    (void)umlauts("@4 printer-make-and-model=t", 200, "", words);
    line_is(words, "ty", umlauts("", 126, "", want));
    line_is(words, "product", umlauts("(", 122, ")", want));
    (void)umlauts("@4 printer-make-and-model=tx", 200, "", words);
    line_is(words, "ty", umlauts("x", 125, "", want));
    line_is(words, "product", umlauts("(x", 122, ")", want));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paper),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
