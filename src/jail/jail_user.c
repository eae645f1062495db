/* SPDX-License-Identifier: Apache-2.0 */
/* jail_user.c - namespaces and the user: the two layers that need privileges, of which none are
 * left afterwards. */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail/jail_layers.h"

enum err jail_namespaces(const struct jail_spec *spec, struct jail_report *r, struct buf *why)
{
    (void)r;
    if (spec->inherited & JAIL_NAMESPACES)
        return OK;
    if (unshare(CLONE_NEWNET | CLONE_NEWIPC) == 0)
        return OK;
    /* Without privileges: a user namespace gives them for the moment, and jail_user drops them
     * right after. No user is mapped into it, so nobody can become anybody there. Not for a root
     * that may not unshare (containers): in there it would look like nobody and not be switched. */
    if (geteuid() != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC) == 0)
        return OK;
    buf_fmt(why, "unshare: %s (needs root, or user.max_user_namespaces above 0)", strerror(errno));
    return ERR_MISSING;
}

static bool has_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

    if (syscall(SYS_capget, &head, data) != 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(data); i++)
        if (data[i].effective | data[i].permitted | data[i].inheritable)
            return true;
    return false;
}

static NODISCARD enum err drop_capabilities(struct buf *why)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capset, &head, none) == 0 && !has_capabilities())
        return OK;
    buf_fmt(why, "capset: %s", strerror(errno));
    return ERR_POLICY;
}

static NODISCARD enum err switch_user(const struct jail_spec *spec, struct buf *why)
{
    if (geteuid() != 0 || spec->uid == 0)
        return OK;
    if (setgroups(0, NULL) == 0 && setresgid(spec->gid, spec->gid, spec->gid) == 0 &&
        setresuid(spec->uid, spec->uid, spec->uid) == 0 && geteuid() == spec->uid)
        return OK;
    buf_fmt(why, "switching to uid %u, gid %u: %s", (unsigned)spec->uid, (unsigned)spec->gid,
            strerror(errno));
    return ERR_POLICY;
}

enum err jail_user(const struct jail_spec *spec, struct jail_report *r, struct buf *why)
{
    (void)r;
    /* The bounding set first: dropping it needs a capability. It ends what a set-user-id program
     * could give back; no_new_privs ends that as well. */
    for (unsigned long cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
        ;
    TRY(switch_user(spec, why));
    TRY(drop_capabilities(why));
    if (geteuid() != 0)
        return OK;
    buf_text(why, "running as root; give the worker a user of its own");
    return ERR_MISSING;
}
