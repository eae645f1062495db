/* SPDX-License-Identifier: Apache-2.0 */
/* policy_load.h - a policy out of a file that only root can have written. Blocks. */
#ifndef PROTECT_POLICY_LOAD_H
#define PROTECT_POLICY_LOAD_H

#include <sys/stat.h>

#include "base/buf.h"
#include "protect/policy_file.h"

/* 0 or -errno with a sentence in |why|, which begins with the path. -ENOENT: there is no such file;
 * -EPERM: it is not root's, or others can write it; -EBADMSG: it means nothing. */
int policy_load(const char *path, struct policy_file **ret, struct buf *why);

/* NULL, or why what such a file says is not root's word. Static. */
const char *policy_owner_fault(const struct stat *st);

#endif
