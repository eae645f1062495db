/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_names.h"

#define IPP_OPERATION_ROW(id, code, name, class, usual) \
    {code, IPP_CLASS_##class, IPP_USUAL_##usual, name},
static const struct ipp_operation operations[] = {
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
    for (size_t i = 0; i < ARRAY_LEN(operations); i++)
        if (operations[i].code == code)
            return &operations[i];
    return NULL;
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
