/* SPDX-License-Identifier: Apache-2.0 */
/* probe_report.h - what a probe found: one result for each check, the worst that was seen. */
#ifndef CLI_PROBE_REPORT_H
#define CLI_PROBE_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

enum probe_section {
    PROBE_SECTION_CONNECTION,
    PROBE_SECTION_TLS,
    PROBE_SECTION_OPTIONS,
    PROBE_SECTION_ERRORS,
    PROBE_SECTION_ADAPT,
    PROBE_SECTION_KEEP,
    PROBE_SECTION_ANSWERS,
    PROBE_SECTION_UPGRADE,
    PROBE_SECTION_IMPLICIT,
    PROBE_SECTION_CLEAR,
    PROBE_SECTION_LOGIN,
    PROBE_SECTION_PRINTER,
    PROBE_SECTION_LISTS
};
#define PROBE_SECTIONS 13u

/* Each has sections of its own; they share connecting and TLS. */
enum probe_protocol { PROBE_ICAP, PROBE_IPP };

/* Ordered: a worse one takes the place of a better one. */
enum probe_severity { PROBE_SKIPPED, PROBE_OK, PROBE_WARN, PROBE_FAIL };

#define CHECK(id, name, section, severity, where, follows) PROBE_##id,
enum probe_check {
#include "cli/probe_checks.def"
#include "cli/probe_ipp_checks.def"
    PROBE_CHECKS
};
#undef CHECK

struct probe_report;
/* NULL without memory. |json|: nothing is printed before probe_report_end(). */
struct probe_report *probe_report_new(enum probe_protocol protocol, const char *url, bool json);
void probe_report_free(struct probe_report *r);

/* It is as it should be; it is not, in the way that the check's row rates; it was not tried. */
PRINTF(3, 4) void probe_ok(struct probe_report *r, enum probe_check c, const char *fmt, ...);
PRINTF(3, 4) void probe_bad(struct probe_report *r, enum probe_check c, const char *fmt, ...);
PRINTF(3, 4) void probe_skip(struct probe_report *r, enum probe_check c, const char *fmt, ...);
/* The user has said that it does not matter: a failure is a warning. */
void probe_excuse(struct probe_report *r, enum probe_check c);
/* A line of the section that is no check: certificates, versions. */
PRINTF(3, 4) void probe_say(struct probe_report *r, enum probe_section s, const char *fmt, ...);

enum probe_severity probe_severity_of(const struct probe_report *r, enum probe_check c);
unsigned probe_count(const struct probe_report *r, enum probe_severity s);
/* Did anything fail in there? */
bool probe_section_failed(const struct probe_report *r, enum probe_section s);
const char *probe_check_id(enum probe_check c);

/* Text: prints the section; call it when it is over. */
void probe_report_section(const struct probe_report *r, enum probe_section s);
/* Text: the totals; JSON: everything. */
void probe_report_end(const struct probe_report *r);

#endif
