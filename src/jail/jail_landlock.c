/* SPDX-License-Identifier: Apache-2.0 */
/* jail_landlock.c - Landlock by its system calls: libc has no wrappers, and Debian 12's kernel
 * headers know ABI 2 only, so that numbers and structs of later ABIs stand here. A right that the
 * running kernel does not know must not be named to it; it is then not restricted. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail/jail_layers.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif

/* include/uapi/linux/landlock.h as of ABI 7. */
struct ruleset_attr {
    uint64_t handled_fs;
    uint64_t handled_net; /* ABI 4 */
    uint64_t scoped;      /* ABI 6 */
};

struct path_beneath_attr {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH      1

#define FS_EXECUTE     (1ull << 0)
#define FS_WRITE_FILE  (1ull << 1)
#define FS_READ_FILE   (1ull << 2)
#define FS_READ_DIR    (1ull << 3)
#define FS_REMOVE_DIR  (1ull << 4)
#define FS_REMOVE_FILE (1ull << 5)
#define FS_MAKE_CHAR   (1ull << 6)
#define FS_MAKE_DIR    (1ull << 7)
#define FS_MAKE_REG    (1ull << 8)
#define FS_MAKE_SOCK   (1ull << 9)
#define FS_MAKE_FIFO   (1ull << 10)
#define FS_MAKE_BLOCK  (1ull << 11)
#define FS_MAKE_SYM    (1ull << 12)
#define FS_REFER       (1ull << 13) /* ABI 2 */
#define FS_TRUNCATE    (1ull << 14) /* ABI 3 */
#define FS_IOCTL_DEV   (1ull << 15) /* ABI 5 */

#define FS_ABI_1 (FS_MAKE_SYM | (FS_MAKE_SYM - 1))
#define NET_TCP  3ull /* ABI 4: bind, connect */
#define SCOPES   3ull /* ABI 6: abstract UNIX sockets, signals to processes outside */

#define READ_RIGHTS (FS_READ_FILE | FS_READ_DIR)
#define KEEP_RIGHTS                                                                             \
    (READ_RIGHTS | FS_WRITE_FILE | FS_REMOVE_FILE | FS_REMOVE_DIR | FS_MAKE_DIR | FS_MAKE_REG | \
     FS_REFER | FS_TRUNCATE)
/* The rights that mean something for a file that is no directory; others are refused by the kernel
 * with EINVAL. */
#define FILE_RIGHTS (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

/* What the resolver (and its modules, which the loader maps on first use), OpenSSL, the time zone
 * and the random generator read while the gateway runs. These are files and not all of /etc, where
 * other people's keys are; the price: a resolv.conf that is replaced, not rewritten, is seen by the
 * next generation of the gateway only. */
static const char *const gateway_reads[] = {
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/etc/ssl/openssl.cnf",
    "/etc/ssl/certs",
    "/run/systemd/resolve",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/dev/null",
    "/dev/urandom",
    NULL,
};

static struct ruleset_attr handled_by(int abi, enum jail_role role)
{
    struct ruleset_attr a = {.handled_fs = FS_ABI_1};

    if (abi >= 2)
        a.handled_fs |= FS_REFER;
    if (abi >= 3)
        a.handled_fs |= FS_TRUNCATE;
    if (abi >= 4 && role != JAIL_GATEWAY)
        a.handled_net = NET_TCP;
    if (abi >= 5)
        a.handled_fs |= FS_IOCTL_DEV;
    if (abi >= 6)
        a.scoped = SCOPES;
    return a;
}

/* An older kernel takes a longer struct as long as what it does not know is zero; the size it knows
 * is what cannot be wrong. */
static size_t attr_size(int abi)
{
    if (abi >= 6)
        return sizeof(struct ruleset_attr);
    return abi >= 4 ? offsetof(struct ruleset_attr, scoped)
                    : offsetof(struct ruleset_attr, handled_net);
}

static NODISCARD bool allow_fd(int ruleset, int fd, uint64_t rights)
{
    const struct path_beneath_attr rule = {.allowed = rights, .parent_fd = fd};

    return syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) == 0;
}

static NODISCARD bool allow_path(int ruleset, const char *path)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    bool ok;

    if (fd < 0)
        return true; /* what does not exist needs no permission */
    ok = allow_fd(ruleset, fd, READ_RIGHTS);
    if (!ok && errno == EINVAL)
        ok = allow_fd(ruleset, fd, READ_RIGHTS & FILE_RIGHTS);
    (void)close(fd);
    return ok;
}

static NODISCARD bool allow_paths(int ruleset, const char *const *paths)
{
    for (; paths && *paths; paths++)
        if (!allow_path(ruleset, *paths))
            return false;
    return true;
}

/* Workers and zygote get no rule at all: nothing can be opened. */
static NODISCARD bool add_rules(const struct jail_spec *spec, int ruleset, uint64_t handled)
{
    if (spec->role != JAIL_GATEWAY)
        return true;
    if (spec->keep_dir_fd >= 0 && !allow_fd(ruleset, spec->keep_dir_fd, KEEP_RIGHTS & handled))
        return false;
    return allow_paths(ruleset, gateway_reads) && allow_paths(ruleset, spec->read_paths);
}

static NODISCARD enum err missing(struct buf *why, const char *what)
{
    const char *hint = errno == ENOSYS || errno == EOPNOTSUPP
                           ? " (needs Linux 5.13 or later with \"landlock\" in its lsm= list)"
                           : "";

    buf_fmt(why, "%s: %s%s", what, strerror(errno), hint);
    return ERR_MISSING;
}

enum err jail_landlock(const struct jail_spec *spec, struct jail_report *r, struct buf *why)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);

    if (abi < 1)
        return missing(why, "landlock_create_ruleset");
    struct ruleset_attr attr = handled_by((int)abi, spec->role);
    long fd = syscall(SYS_landlock_create_ruleset, &attr, attr_size((int)abi), 0);

    if (fd < 0)
        return missing(why, "landlock_create_ruleset");
    if (!add_rules(spec, (int)fd, attr.handled_fs) ||
        syscall(SYS_landlock_restrict_self, fd, 0) != 0) {
        enum err e = missing(why, "landlock_restrict_self");

        (void)close((int)fd);
        return e;
    }
    (void)close((int)fd);
    r->landlock_abi = (int)abi;
    return OK;
}
