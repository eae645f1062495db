/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_print_scan.c - documents as printers read them. Whatever the input is, what is found lies in
 * it, the same bytes get the same report, and nothing in front of them hides commands behind UEL,
 * PostScript behind what may end data or a job, also in quoted characters, or where the head of an
 * EPS says that it is, an object of a PDF, or its trailer. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "worker/print_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void scan(struct span in, enum print_declared declared, struct print_report *ret)
{
    memset(ret, 0x5a, sizeof *ret);
    print_scan(in, declared, ret);
    for (unsigned i = 0; i < PRINT_FINDS; i++)
        check(ret->find[i].there ? ret->find[i].at < in.n : ret->find[i].at == 0);
}

static void check_same(const struct print_report *a, const struct print_report *b)
{
    check(a->pages == b->pages);
    for (unsigned i = 0; i < PRINT_FINDS; i++)
        check(a->find[i].there == b->find[i].there && a->find[i].at == b->find[i].at);
}

/* |in| between |head| and |tail|, of which |f| is found. */
static void check_not_hidden_behind(struct span head, struct span in, const char *tail,
                                    enum print_find f)
{
    struct print_report r;
    struct buf b;

    buf_init(&b, 0);
    buf_add(&b, head);
    buf_add(&b, in);
    buf_text(&b, tail);
    check(b.err == OK);
    scan(buf_span(&b), PRINT_OTHER, &r);
    check(r.find[f].there);
    buf_done(&b);
}

static void check_not_hidden(const char *head, struct span in, const char *tail, enum print_find f)
{
    check_not_hidden_behind(span_of(head), in, tail, f);
}

/* Whatever stands between the head of an EPS file and what it says is PostScript. */
static void check_eps(struct span in)
{
    char head[8] = "\xc5\xd0\xd3\xc6";

    for (unsigned i = 0; i < 4; i++)
        head[4 + i] = (char)((sizeof head + in.n) >> 8 * i);
    check_not_hidden_behind((struct span){head, sizeof head}, in, "(a) deletefile",
                            PRINT_PS_DELETEFILE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum print_declared declared[] = {PRINT_OTHER, PRINT_POSTSCRIPT, PRINT_PDF};
    const struct span in = {(const char *)data, size};
    struct print_report r, again;

    for (size_t i = 0; i < ARRAY_LEN(declared); i++) {
        scan(in, declared[i], &r);
        scan(in, declared[i], &again);
        check_same(&r, &again);
    }
    check_not_hidden("", in, "\x1b%-12345X@PJL FSDELETE", PRINT_PJL_FSDELETE);
    check_not_hidden("", in, "\x1b%-12345X%!PS\n(a) deletefile", PRINT_PS_DELETEFILE);
    if (size < 4096)
        check_not_hidden("", in, "\n%!PS\n(a) deletefile", PRINT_PS_DELETEFILE);
    check_not_hidden("%!PS\n", in, "\x04(a) deletefile", PRINT_PS_DELETEFILE);
    check_not_hidden("%!PS\n", in, "\x04(a) delete\x01&ile", PRINT_PS_DELETEFILE);
    check_not_hidden("%!PS\n", in, "\x04(a) delete\x01\x13&i\x1cle", PRINT_PS_DELETEFILE);
    check_eps(in);
    check_not_hidden("%!PS\n", in, "\n~> (a) deletefile", PRINT_PS_DELETEFILE);
    check_not_hidden("%!PS\n", in, "\n%%EndData\n(a) deletefile", PRINT_PS_DELETEFILE);
    check_not_hidden("%PDF-1.7\n", in, "\n5 0 obj<</S/Launch>>", PRINT_PDF_LAUNCH);
    check_not_hidden("%PDF-1.7\n", in, "\ntrailer<</Encrypt 5 0 R>>", PRINT_PDF_ENCRYPTED);
    return 0;
}
