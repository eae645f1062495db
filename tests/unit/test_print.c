/* SPDX-License-Identifier: Apache-2.0 */
/* What `print` knows without a printer: what a document is, how far it is, and words for states. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/print_format.h"
#include "cli/print_int.h"

/* ---- formats ---- */

/* clang-format off */
static const struct format_row {
    struct span head;
    const char *name, *type;
} formats[] = {
    {{"%PDF-1.7\n", 9}, "a", "application/pdf"},
    {{"%PDF-1.7\n", 9}, "a.txt", "application/pdf"}, /* the name is somebody's word */
    {{"%PDF", 4}, "a", PRINT_FORMAT_ANY},
    {{"%!PS-Adobe-3.0", 14}, "a", "application/postscript"},
    {{"\x04%!PS", 5}, "a", "application/postscript"},
    {{"\x89PNG\r\n\x1a\n\0", 9}, "a", "image/png"},
    {{"\x89PNG\n\x1a\n", 7}, "a", PRINT_FORMAT_ANY},
    {{"\xff\xd8\xff\xe0", 4}, "a.pdf", "image/jpeg"},
    {{"GIF89a", 6}, "a", "image/gif"},
    {{"RaS2PwgRaster", 13}, "a", "image/pwg-raster"},
    {{"UNIRAST\0", 8}, "a", "image/urf"},
    {{"UNIRASTER", 8}, "a", PRINT_FORMAT_ANY},
    {{"II*\0", 4}, "a", "image/tiff"},
    {{"MM\0*", 4}, "a", "image/tiff"},
    {{"hello", 5}, "a.txt", "text/plain"},
    {{"hello", 5}, "A.TXT", "text/plain"},
    {{"hello", 5}, ".txt", PRINT_FORMAT_ANY}, /* that is all of its name */
    {{"hello", 5}, "txt", PRINT_FORMAT_ANY},
    {{"hello", 5}, "a.pdf", PRINT_FORMAT_ANY}, /* it is none */
    {{"<html>", 6}, "a.html", "text/html"},
    {{"\x1b" "E", 2}, "a.pcl", "application/vnd.hp-pcl"},
    {{"", 0}, "", PRINT_FORMAT_ANY},
};
/* clang-format on */

static void test_format(void **state)
{
    const struct format_row *row = *state;

    assert_string_equal(print_format(row->head, span_of(row->name)), row->type);
    assert_true(print_format_is_valid(span_of(row->type)));
}

static void test_types(void **state)
{
    static const char *const good[] = {"a/b", "application/vnd.hp-PCL",
                                       "text/plain; charset=utf-8"};
    static const char *const bad[] = {"", "a", "a/", "/b", "a b/c", "a/b\nc", "a/b c"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(print_format_is_valid(span_of(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(print_format_is_valid(span_of(bad[i])));
}

/* ---- how far it is ---- */

static void check_progress(uint64_t sent, unsigned columns, const char *expected)
{
    struct buf line;

    buf_init(&line, 0);
    print_progress_text(sent, 4u << 20, 1000000, columns, &line);
    assert_string_equal(buf_cstr(&line), expected);
    buf_done(&line);
}

static void test_progress(void **state)
{
    (void)state;
    check_progress(0, 100, "[                              ] 0 bytes of 4.0 MiB, 0.0 MB/s");
    check_progress(2u << 20, 100, "[###############               ] 2.0 MiB of 4.0 MiB, 2.1 MB/s");
    check_progress(2u << 20, 60, "2.0 MiB of 4.0 MiB, 2.1 MB/s");
    check_progress(2u << 20, 20, "2.0 MiB of 4.0 MiB,");
    check_progress(4u << 20, 100, "4.0 MiB sent; the printer has it, and does not answer yet");
}

/* ---- words ---- */

static void test_states(void **state)
{
    (void)state;
    assert_string_equal(print_job_state(3), "pending");
    assert_string_equal(print_job_state(PRINT_JOB_COMPLETED), "completed");
    assert_string_equal(print_job_state(2), "?");
    assert_string_equal(print_job_state(10), "?");
    assert_string_equal(print_job_state(INT32_MIN), "?");
    assert_string_equal(print_printer_state(5), "stopped");
    assert_string_equal(print_printer_state(6), "?");
    assert_false(print_job_is_over(6));
    assert_true(print_job_is_over(7));
}

static void test_exit_codes(void **state)
{
    (void)state;
    assert_int_equal(print_exit_code(IPP_CLIENT_ANSWERED), EXIT_FINE);
    assert_int_equal(print_exit_code(IPP_CLIENT_REFUSED), EXIT_REFUSED);
    assert_int_equal(print_exit_code(IPP_CLIENT_SECURITY), EXIT_SECURITY);
    assert_int_equal(print_exit_code(IPP_CLIENT_NETWORK), EXIT_NETWORK);
    assert_int_equal(print_exit_code(IPP_CLIENT_LOCAL), EXIT_NETWORK);
    assert_int_equal(print_exit_code(IPP_CLIENT_LOGIN), EXIT_LOGIN);
}

int main(void)
{
    static const struct CMUnitTest plain[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_exit_codes),
    };
    struct CMUnitTest all[ARRAY_LEN(plain) + ARRAY_LEN(formats)];
    size_t n = ARRAY_LEN(plain);

    memcpy(all, plain, sizeof plain);
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        all[n++] = (struct CMUnitTest){.name = formats[i].type,
                                       .test_func = test_format,
                                       .initial_state = (void *)(uintptr_t)&formats[i]};
    return cmocka_run_group_tests(all, NULL, NULL);
}
