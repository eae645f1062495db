/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_names.h"

#define IPP_OPERATION_ROW(id, code, name, class, usual) \
    {code, IPP_CLASS_##class, IPP_USUAL_##usual, name},
static const struct ipp_operation operations[] = {
#include "ipp/ipp_names.def"
};

/* Where in |operations| each one is. */
#define IPP_OPERATION_ROW(id, ...) ROW_##id,
enum {
#include "ipp/ipp_names.def"
};

/* The codes of IANA are below 80, those of CUPS from 4000 on: seven bits, and one more, tell them
 * apart. A slot holds the row + 1; 0: none. */
#define SLOT(code)                       (((code)&0x7f) | ((code)&0x4000) >> 7)
#define IPP_OPERATION_ROW(id, code, ...) [SLOT(code)] = ROW_##id + 1,
static const uint8_t slots[256] = {
#include "ipp/ipp_names.def"
};

struct status {
    uint16_t code;
    const char *name;
};

#define IPP_STATUS_ROW(id, code, name) {code, name},
static const struct status statuses[] = {
#include "ipp/ipp_names.def"
};

const struct ipp_operation *ipp_operation_find(uint16_t code)
{
    uint8_t row = slots[SLOT(code)];

    return row && operations[row - 1].code == code ? &operations[row - 1] : NULL;
}

const struct ipp_operation *ipp_operation_named(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(operations); i++)
        if (span_ieq(span_of(operations[i].name), name))
            return &operations[i];
    return NULL;
}

const struct ipp_operation *ipp_operations(size_t *ret_n)
{
    *ret_n = ARRAY_LEN(operations);
    return operations;
}

const char *ipp_class_name(enum ipp_class class)
{
    static const char *const names[] = {
        [IPP_CLASS_DOCUMENT] = "document",
        [IPP_CLASS_FETCH] = "fetch",
        [IPP_CLASS_DATA] = "data",
        [IPP_CLASS_CREATE] = "create",
        [IPP_CLASS_JOB] = "job",
        [IPP_CLASS_READ] = "read",
        [IPP_CLASS_SUBSCRIPTION] = "subscription",
        [IPP_CLASS_ADMIN] = "admin",
        [IPP_CLASS_INFRASTRUCTURE] = "infrastructure",
    };

    return names[class];
}

const char *ipp_status_name(uint16_t code)
{
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        if (statuses[i].code == code)
            return statuses[i].name;
    return NULL;
}

bool ipp_status_named(struct span name, uint16_t *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        if (span_eq(span_of(statuses[i].name), name)) {
            *ret = statuses[i].code;
            return true;
        }
    return false;
}
