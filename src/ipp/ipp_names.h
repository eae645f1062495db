/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_names.h - IPP's operations and status codes: names, and what an operation means for a gateway
 * that scans documents. Constant tables: every function may be called from any thread. */
#ifndef IPP_NAMES_H
#define IPP_NAMES_H

#include "base/span.h"

#define IPP_OPERATION_ROW(id, code, name, class, usual) IPP_OPERATION_##id = (code),
enum ipp_operation_id {
#include "ipp/ipp_names.def"
};

#define IPP_STATUS_ROW(id, code, name) IPP_##id = (code),
enum ipp_status_code {
#include "ipp/ipp_names.def"
};

enum ipp_class {
    IPP_CLASS_DOCUMENT, /* document data follows the request */
    IPP_CLASS_FETCH,    /* the printer fetches the document from a URI */
    IPP_CLASS_DATA,     /* document or other data follows the response */
    IPP_CLASS_CREATE,   /* makes or validates a job, without data */
    IPP_CLASS_JOB,      /* changes a job or a document */
    IPP_CLASS_READ,
    IPP_CLASS_SUBSCRIPTION,
    IPP_CLASS_ADMIN,
    IPP_CLASS_INFRASTRUCTURE, /* a printer that comes for its jobs (PWG 5100.18) */
};

/* What happens where the configuration says nothing. */
enum ipp_usual {
    IPP_USUAL_DENY,
    IPP_USUAL_ALLOW,
    IPP_USUAL_NEVER, /* denied, and no configuration may allow it: it runs code on CUPS */
};

struct ipp_operation {
    uint16_t code;
    enum ipp_class class;
    enum ipp_usual usual;
    const char *name; /* "Print-Job" */
};

/* The operation, or NULL: not known, so denied with server-error-operation-not-supported. */
const struct ipp_operation *ipp_operation_find(uint16_t code);
/* As above by its name, without case: for configurations. */
const struct ipp_operation *ipp_operation_named(struct span name);
/* All of them, *ret_n rows: for operations-supported and manuals. */
const struct ipp_operation *ipp_operations(size_t *ret_n);
/* "document", "fetch": for records and configurations. Never NULL. */
const char *ipp_class_name(enum ipp_class class);
/* "client-error-bad-request"; NULL: not known. */
const char *ipp_status_name(uint16_t code);
/* Back. False: no status has that name. */
bool ipp_status_named(struct span name, uint16_t *ret);

#endif
