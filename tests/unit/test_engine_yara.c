/* SPDX-License-Identifier: Apache-2.0 */
/* The YARA engine with one scanner for all objects: what is said of an object is the same whatever
 * was scanned before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <elf.h>
#include <unistd.h>

#include "worker/engine_yara.h"

/* |slow| runs until its time is over. */
static const char rules_text[] =
    "import \"pe\"\n"
    "rule evil { strings: $a = \"EVIL\" $b = /EV[A-Z]+L/ condition: any of them }\n"
    "rule twice { strings: $a = \"again\" condition: #a == 2 }\n"
    "rule noted { meta: action = \"note\" strings: $a = \"remark\" condition: $a }\n"
    "rule named { condition: filename == \"a.exe\" }\n"
    "rule typed { condition: declared_type == \"image/png\" }\n"
    "rule ends { condition: extension == \".js\" }\n"
    "rule program { condition: entrypoint >= 0 }\n"
    "rule large { condition: filesize > 200 and pe.number_of_sections >= 0 }\n"
    "rule slow { strings: $a = \"SLOW\"\n"
    "    condition: $a and for any i in (0 .. 4000000000) : (i == filesize + 5000000000) }\n";

/* A program for YARA: an ELF header and one segment that holds the entry point. */
static const struct {
    Elf64_Ehdr head;
    Elf64_Phdr segment;
} program = {
    .head = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
             .e_type = ET_EXEC,
             .e_machine = EM_X86_64,
             .e_version = EV_CURRENT,
             .e_entry = 0x1010,
             .e_phoff = sizeof(Elf64_Ehdr),
             .e_ehsize = sizeof(Elf64_Ehdr),
             .e_phentsize = sizeof(Elf64_Phdr),
             .e_phnum = 1},
    .segment = {.p_type = PT_LOAD,                                         .p_vaddr = 0x1000, .p_memsz = 0x100, .p_filesz = 0x100           },
};
#define PROGRAM                                \
    {                                          \
        (const char *)&program, sizeof program \
    }

struct row {
    const char *what;
    struct span bytes;
    const char *name, *type;
    enum verdict verdict;
    unsigned n;                  /* findings */
    const char *finding, *where; /* the first */
};

/* clang-format off */
static const struct row rows[] = {
    {"clean", SPAN("nothing"), "", "", VERDICT_PASS, 0, NULL, NULL},
    {"infected", SPAN("some EVIL"), "b.txt", "text/plain", VERDICT_BLOCK, 1, "evil", "offset 5"},
    {"infected, two strings", SPAN("EVIIL and EVIL"), "", "", VERDICT_BLOCK, 1, "evil",
     "offset 0"},
    {"one half", SPAN("here again"), "", "", VERDICT_PASS, 0, NULL, NULL},
    {"both halves", SPAN("again, again"), "", "", VERDICT_BLOCK, 1, "twice", "offset 0"},
    {"note", SPAN("a remark"), "c.txt", "", VERDICT_PASS, 1, "noted", "offset 2"},
    {"name", SPAN("nothing"), "a.exe", "", VERDICT_BLOCK, 1, "named", ""},
    {"another name", SPAN("nothing"), "a.exe.txt", "", VERDICT_PASS, 0, NULL, NULL},
    {"type", SPAN("nothing"), "", "image/png", VERDICT_BLOCK, 1, "typed", ""},
    {"extension", SPAN("nothing"), "x.JS", "image/gif", VERDICT_BLOCK, 1, "ends", ""},
    {"program", PROGRAM, "p", "", VERDICT_BLOCK, 1, "program", ""},
    {"slow", SPAN("SLOW"), "s.txt", "text/plain", VERDICT_ERROR, 0, NULL, NULL},
    {"slow and infected", SPAN("EVIL, SLOW"), "", "", VERDICT_ERROR, 0, NULL, NULL},
};
/* clang-format on */

static struct yara_rules rules;
static struct engine engine;

static void check(const struct row *row)
{
    const struct engine_file file = {.p = (const uint8_t *)row->bytes.p,
                                     .n = row->bytes.n,
                                     .name = row->name,
                                     .type = row->type,
                                     .role = OBJECT_FILE,
                                     .where = "",
                                     .time_ms = row->verdict == VERDICT_ERROR ? 1 : 60000};
    struct scan_result r;

    memset(&r, 0, sizeof r);
    engine.scan(engine.ctx, &file, &r);
    assert_int_equal(r.verdict, row->verdict);
    assert_int_equal(r.cause, row->verdict == VERDICT_ERROR   ? CAUSE_TIMEOUT
                              : row->verdict == VERDICT_BLOCK ? CAUSE_INFECTED
                                                              : CAUSE_NONE);
    assert_int_equal(r.n_findings, row->n);
    if (row->n) {
        assert_string_equal(r.findings[0].name, row->finding);
        assert_string_equal(r.findings[0].where, row->where);
    }
}

/* Each after each, itself included. */
static void test_each_after_each(void **state)
{
    (void)state;
    for (size_t before = 0; before < ARRAY_LEN(rows); before++)
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            print_message("%s after %s\n", rows[i].what, rows[before].what);
            check(&rows[before]);
            check(&rows[i]);
        }
}

static void test_one_scanner(void **state)
{
    const struct YR_SCAN_CONTEXT *first;

    (void)state;
    yara_rules_drop_scanner(&rules);
    assert_null(rules.scanner);
    check(&rows[0]);
    first = rules.scanner;
    assert_non_null(first);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].verdict != VERDICT_ERROR) {
            check(&rows[i]);
            assert_ptr_equal(rules.scanner, first);
        }
}

/* One that broke off is not used again. */
static void test_broken_scanner(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check(&rows[i]);
        assert_true((rules.scanner == NULL) == (rows[i].verdict == VERDICT_ERROR));
    }
}

static int set_up(void **state)
{
    char path[] = "/tmp/sallyport-rules-XXXXXX";
    const char *files[] = {path};
    struct buf text;
    int fd = mkstemp(path);
    enum err e = ERR_IO;

    (void)state;
    buf_init(&text, 0);
    if (fd >= 0 && write(fd, rules_text, sizeof rules_text - 1) == sizeof rules_text - 1)
        e = yara_rules_load(files, 1, &rules, &text, &text);
    if (fd >= 0) {
        (void)close(fd);
        (void)unlink(path);
    }
    if (e != OK)
        print_error("%s\n", buf_cstr(&text));
    else
        engine = engine_yara(&rules, &text);
    buf_done(&text);
    return e == OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    yara_rules_done(&rules);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_after_each),
        cmocka_unit_test(test_one_scanner),
        cmocka_unit_test(test_broken_scanner),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
