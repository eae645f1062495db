/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_allow.c - which operations and formats a printer of the gateway is used with. */
#include "adapt/rules.h"
#include "ipp/ipp_translate.h"

/* These name no job, or any job of anybody's, so owning one is no reason to let them through. */
static bool is_for_operators(uint16_t code)
{
    return code == IPP_OPERATION_CANCEL_JOBS || code == IPP_OPERATION_RESUME_JOB ||
           code == IPP_OPERATION_PROMOTE_JOB;
}

static bool has_name(const struct config_strings *names, const struct ipp_operation *o)
{
    for (size_t i = 0; i < names->n; i++)
        if (span_ieq(span_of(names->v[i]), span_of(o->name)))
            return true;
    return false;
}

bool ipp_printer_allows(const struct ipp_printer_settings *p, const struct ipp_operation *o,
                        bool is_operator)
{
    if (!o || has_name(&p->refuse, o))
        return false;
    switch (o->usual) {
    case IPP_USUAL_NEVER: return false;
    case IPP_USUAL_DENY: return is_operator && has_name(&p->operations, o);
    case IPP_USUAL_ALLOW: return is_operator || !is_for_operators(o->code);
    }
    return false;
}

bool ipp_printer_takes_format(const struct ipp_printer_settings *p, struct span type)
{
    struct span bare = span_trim(span_sub(type, 0, span_find(type, ';')));

    for (size_t i = 0; i < p->formats.n; i++)
        if (glob_match(span_of(p->formats.v[i]), bare))
            return true;
    return p->formats.n == 0;
}
