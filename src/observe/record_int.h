/* SPDX-License-Identifier: Apache-2.0 */
/* record_int.h - what the files of a record share. */
#ifndef OBSERVE_RECORD_INT_H
#define OBSERVE_RECORD_INT_H

#include "base/json.h"
#include "sallyport/report.h"

/* Of these only what |why| says, where there is no report. */
void record_put_why(struct json *j, const sallyport_why *why);
/* The members of "protection": HOW, WHO and WHY. |why|: more than the report's; NULL: those. */
void record_put_protection(struct json *j, const sallyport_report *report,
                           const sallyport_why *why);

#endif
