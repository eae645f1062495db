/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine_printing.h"

#include <stdio.h>
#include <string.h>

#include "worker/print_scan.h"

static enum print_declared declared_as(const char *type)
{
    if (strcmp(type, "application/postscript") == 0)
        return PRINT_POSTSCRIPT;
    return strcmp(type, "application/pdf") == 0 ? PRINT_PDF : PRINT_OTHER;
}

static void tell(enum print_find found, size_t at, struct scan_result *r)
{
    struct finding f = {.engine = "printing", .note = !print_find_blocks(found)};

    (void)span_copy(span_of(print_find_name(found)), f.name, sizeof f.name);
    (void)snprintf(f.where, sizeof f.where, "offset %zu", at);
    engine_find(r, &f);
    if (!f.note)
        engine_judge(r, VERDICT_BLOCK, CAUSE_INFECTED, OK, "%s", f.name);
}

static void scan(void *ctx, const struct engine_file *file, struct scan_result *r)
{
    struct print_report report;

    (void)ctx;
    print_scan((struct span){(const char *)file->p, file->n}, declared_as(file->type), &report);
    for (unsigned i = 0; i < PRINT_FINDS; i++)
        if (report.find[i].there)
            tell((enum print_find)i, report.find[i].at, r);
    if (report.find[PRINT_PDF_ENCRYPTED].there)
        engine_judge(r, VERDICT_NOT_INSPECTED, CAUSE_NOT_INSPECTED, OK, "the PDF is encrypted");
    r->pages = report.pages;
}

struct engine engine_printing(struct buf *describe)
{
    buf_fmt(describe, "printing %d", PRINT_SCAN_VERSION);
    return (struct engine){.name = "printing", .bit = WIRE_ENGINE_PRINTING, .scan = scan};
}
