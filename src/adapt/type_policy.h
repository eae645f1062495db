/* SPDX-License-Identifier: Apache-2.0 */
/* type_policy.h - which types of files a service takes, judged by what they are declared as, called
 * and look like. Never the declaration alone: all three are held against the lists. */
#ifndef ADAPT_TYPE_POLICY_H
#define ADAPT_TYPE_POLICY_H

#include "adapt/facts.h"
#include "adapt/type_table.h"
#include "config/config.h"

enum type_mismatch { TYPE_MISMATCH_PASS, TYPE_MISMATCH_NOTE, TYPE_MISMATCH_BLOCK };

struct type_policy_settings {
    struct config_strings allow; /* globs over the sniffed type; empty: every type */
    struct config_strings deny;  /* globs over declared type, sniffed type; ".exe": the file name */
    enum type_mismatch mismatch; /* it looks like something else than it is declared as or called */
    enum type_mismatch odd_names; /* names with tricks (file_name.h) */
};
extern const struct config_block type_policy_block;

/* The objects of one body, one after the other. Set |policy| and |steps|, zero the rest. */
struct type_walk {
    const struct type_policy_settings *policy;
    struct steps steps;
    struct type_memo memo;
};
/* Judges one object into |r|: findings of the engine "filetype" and, for a block, VERDICT_BLOCK
 * with CAUSE_DENIED unless |r| has a graver one. |tricks|: FILE_NAME_* that were seen when the name
 * was made plain, besides those that are still in it. |where|: "part …" or "". FIELD objects are
 * held against |deny| only, and there by their declared type: workers do not look at their bytes. A
 * name that nobody can read (file_name_is_unknown()) is denied where any end of a name is. False:
 * out of steps, and it is not judged. */
NODISCARD bool type_policy_judge(struct type_walk *w, const struct object *o, unsigned tricks,
                                 const char *where, struct scan_result *r);
/* Declared (by type or name) and sniffed type do not go together: something that runs, or opens in
 * another program, under a harmless name. Unknown types never mismatch. *ret_kind: a short word. */
bool type_mismatch(struct span declared, struct span name, struct span sniffed,
                   const char **ret_kind);

#endif
