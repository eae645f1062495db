/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_rewrite.h - copies an IPP message with edits. What is kept is kept octet by octet, in its
 * order, unknown tags and groups with it; what is edited leaves a legal message: the first value
 * that is left of a set carries the name, a member without values goes, an attribute without values
 * too.
 *
 * The caller's rules are asked about each group, then about each of its attributes, then about
 * values. Sans-IO; no state but the caller's, so one message and one thread at a time. */
#ifndef IPP_REWRITE_H
#define IPP_REWRITE_H

#include "ipp/ipp_message.h"
#include "ipp/ipp_write.h"

enum ipp_action {
    IPP_KEEP,
    IPP_ASK, /* attributes: keep, but ask about each value of it */
    IPP_DROP,
    IPP_REPLACE,
    IPP_DROP_ATTRIBUTE, /* values: the whole attribute, whatever holds the value */
};

/* What is asked about. */
struct ipp_place {
    uint8_t group;         /* its tag */
    unsigned group_index;  /* 0: the first one. In answers each job has a group of its own */
    struct span attribute; /* name; SPAN_NONE: the group is asked about */
    struct span member;    /* innermost one; SPAN_NONE: not in a collection */
    unsigned depth;        /* collections around it */
};

/* A plain value to write in place of another one; copied when the callback returns. */
struct ipp_edit {
    uint8_t tag;
    struct span value;
};

/* Each callback may be NULL: keep. Answers that a callback does not know are ERR_BUG. */
struct ipp_rewrite_rules {
    /* KEEP or DROP; the first group must stay. */
    enum ipp_action (*group)(void *arg, const struct ipp_place *at, const struct ipp_group *g);
    /* KEEP, ASK, DROP, or REPLACE by what it wrote to |w|: any number of attributes and values,
     * collections as well. The caller's name for a value goes by |w|'s rules (ipp_write.h). */
    enum ipp_action (*attribute)(void *arg, const struct ipp_place *at,
                                 const struct ipp_attribute *a, struct ipp_writer *w);
    /* Each uri of an attribute that is kept, in collections as well; after ASK each plain value.
     * KEEP, DROP, REPLACE by *ret, DROP_ATTRIBUTE. */
    enum ipp_action (*value)(void *arg, const struct ipp_place *at, const struct ipp_value *v,
                             struct ipp_edit *ret);
    /* All of a group that is kept was asked about; may write attributes to |w| that follow it. */
    void (*group_end)(void *arg, const struct ipp_place *at, struct ipp_writer *w);
    uint32_t request_id; /* 0: as it is */
};

/* Appends the message, rewritten, to |out|, which must not hold |m|'s octets. |arg| goes to the
 * callbacks, which may not touch |out|. Version and operation-id or status-code stay. OK;
 * ERR_LIMIT: |out| is full, or something new is too long; ERR_NOMEM; ERR_SYNTAX, ERR_BUG: as
 * ipp_write_end(), of what callbacks wrote. After an error |out| holds what it held before (and its
 * own error). */
NODISCARD enum err ipp_rewrite(const struct ipp_message *m, const struct ipp_rewrite_rules *rules,
                               void *arg, struct buf *out);

#endif
