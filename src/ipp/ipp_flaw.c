/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_flaw.h"

struct row {
    enum err err;
    uint16_t status;
    const char *text;
};

#define IPP_FLAW_ROW(id, err, status, text) [IPP_FLAW_##id] = {err, status, text},
static const struct row rows[] = {
#include "ipp/ipp_flaws.def"
};
#undef IPP_FLAW_ROW

enum err ipp_flaw_err(enum ipp_flaw flaw)
{
    return rows[flaw].err;
}

const char *ipp_flaw_text(enum ipp_flaw flaw)
{
    return rows[flaw].text;
}

uint16_t ipp_flaw_status(enum ipp_flaw flaw)
{
    return rows[flaw].status;
}

enum err ipp_fault_set(struct ipp_fault *f, enum ipp_flaw flaw, size_t off)
{
    if (f)
        *f = (struct ipp_fault){flaw, off};
    return rows[flaw].err;
}
