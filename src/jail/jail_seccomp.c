/* SPDX-License-Identifier: Apache-2.0 */
/* jail_seccomp.c - which system calls are left.
 *
 * Worker and zygote have lists of what is allowed: they do few things. The zygote's list holds all
 * of the worker's, because a worker inherits the zygote's filter below its own, and the stricter
 * answer of the two counts. The gateway (TLS, resolver, libuv, its stores) has a list of what is
 * denied: an honest allow-list of that much library code would be the whole table, and a hole in it
 * would show on a Sunday; what is denied is what a server never needs and an intruder wants. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <seccomp.h>

#include "jail/jail_layers.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#define CLONE_NAMESPACES                                                                          \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
     CLONE_NEWNET | CLONE_NEWTIME)

/* The system call may be made when |arg| & |mask| == |value|. */
struct when {
    int syscall;
    unsigned arg;
    scmp_datum_t mask, value;
};

/* An allowed value must be it in all 64 bits. A denied one counts in the 32 that the kernel looks
 * at: ioctl(fd, TIOCSTI | 1 << 32) is TIOCSTI. */
#define EXACTLY UINT64_MAX
#define AS_INT  UINT32_MAX

/* clang-format off */
static const int worker_calls[] = {
    /* its one socket, the descriptors that come over it (lseek tells a file's length: the stat
     * family takes paths) */
    SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(close), SCMP_SYS(lseek), SCMP_SYS(read),
    SCMP_SYS(pread64), SCMP_SYS(pwrite64),
    /* memory; mmap and mprotect have conditions */
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap),
    /* time, randomness, names of oneself */
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getrusage),
    SCMP_SYS(sched_yield), SCMP_SYS(restart_syscall),
    SCMP_SYS(exit), SCMP_SYS(exit_group),
};

static const struct when worker_conditions[] = {
    /* glibc reports "malloc(): corrupted" and the like there before it aborts */
    {SCMP_SYS(write),    0, EXACTLY, STDERR_FILENO},
    {SCMP_SYS(writev),   0, EXACTLY, STDERR_FILENO},
    {SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
    /* what it unpacked goes to the gateway in a memfd, which pwrite fills (nothing else that it
     * holds can be written at a place) and which nobody can change any more */
    {SCMP_SYS(memfd_create), 1, EXACTLY, MFD_CLOEXEC | MFD_ALLOW_SEALING},
    {SCMP_SYS(fcntl),        1, EXACTLY, F_ADD_SEALS},
    {SCMP_SYS(madvise),  2, EXACTLY, MADV_DONTNEED},
    {SCMP_SYS(madvise),  2, EXACTLY, MADV_SEQUENTIAL},
    {SCMP_SYS(madvise),  2, EXACTLY, MADV_WILLNEED},
    /* pthread_once wakes whether or not somebody waits */
    {SCMP_SYS(futex),    1, EXACTLY, FUTEX_WAKE_PRIVATE},
    {SCMP_SYS(futex),    1, EXACTLY, FUTEX_WAIT_PRIVATE},
};

/* Nothing executable, and nothing that RLIMIT_DATA does not count (jail_rlimits.c). */
#define MMAP_UNCOUNTED (MAP_SHARED | MAP_GROWSDOWN | MAP_HUGETLB)

static const int zygote_calls[] = {
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(write), SCMP_SYS(writev),
    SCMP_SYS(fcntl), SCMP_SYS(dup2), SCMP_SYS(dup3), SCMP_SYS(close_range),
    SCMP_SYS(getsockopt),
    /* its workers; kill has conditions */
    SCMP_SYS(tgkill), SCMP_SYS(wait4), SCMP_SYS(waitid),
    /* what fork(2) in libc and the child on its way into its jail do */
    SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(set_tid_address),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigreturn),
    SCMP_SYS(prlimit64), SCMP_SYS(getrlimit), SCMP_SYS(setrlimit),
    SCMP_SYS(geteuid), SCMP_SYS(getuid), SCMP_SYS(getppid), SCMP_SYS(capget), SCMP_SYS(capset),
    SCMP_SYS(seccomp), SCMP_SYS(landlock_create_ruleset), SCMP_SYS(landlock_add_rule),
    SCMP_SYS(landlock_restrict_self),
};

static const struct when zygote_conditions[] = {
    {SCMP_SYS(socketpair), 0, EXACTLY, AF_UNIX},
    /* processes, not threads, and no new namespaces */
    {SCMP_SYS(clone), 0, CLONE_NAMESPACES | CLONE_VM | CLONE_THREAD, 0},
    {SCMP_SYS(prctl), 0, EXACTLY, PR_SET_NAME},
    {SCMP_SYS(prctl), 0, EXACTLY, PR_SET_NO_NEW_PRIVS},
    {SCMP_SYS(prctl), 0, EXACTLY, PR_SET_DUMPABLE},
    {SCMP_SYS(prctl), 0, EXACTLY, PR_SET_SECCOMP},
    {SCMP_SYS(prctl), 0, EXACTLY, PR_CAP_AMBIENT},
    {SCMP_SYS(prctl), 0, EXACTLY, PR_CAPBSET_DROP},
};

static const int gateway_denied[] = {
    /* other programs and other processes' memory */
    SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(process_madvise),
    SCMP_SYS(pidfd_getfd), SCMP_SYS(pidfd_open), SCMP_SYS(pidfd_send_signal), SCMP_SYS(kcmp),
    SCMP_SYS(move_pages), SCMP_SYS(migrate_pages),
    /* the machine's shape */
    SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(umount), SCMP_SYS(pivot_root), SCMP_SYS(chroot),
    SCMP_SYS(fsopen), SCMP_SYS(fsmount), SCMP_SYS(fsconfig), SCMP_SYS(fspick),
    SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(mount_setattr), SCMP_SYS(setns),
    SCMP_SYS(unshare), SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(reboot), SCMP_SYS(acct),
    SCMP_SYS(quotactl), SCMP_SYS(quotactl_fd), SCMP_SYS(sethostname), SCMP_SYS(setdomainname),
    SCMP_SYS(settimeofday), SCMP_SYS(stime), SCMP_SYS(clock_settime), SCMP_SYS(clock_settime64),
    SCMP_SYS(clock_adjtime), SCMP_SYS(clock_adjtime64), SCMP_SYS(adjtimex), SCMP_SYS(syslog),
    SCMP_SYS(mknod), SCMP_SYS(mknodat), SCMP_SYS(fanotify_init), SCMP_SYS(fanotify_mark),
    /* files without their path, and so without Landlock's view of it */
    SCMP_SYS(open_by_handle_at), SCMP_SYS(name_to_handle_at),
    /* the kernel's large and young surfaces */
    SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register), SCMP_SYS(keyctl), SCMP_SYS(add_key),
    SCMP_SYS(request_key), SCMP_SYS(init_module), SCMP_SYS(finit_module),
    SCMP_SYS(create_module), SCMP_SYS(delete_module), SCMP_SYS(get_kernel_syms),
    SCMP_SYS(query_module), SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load),
    SCMP_SYS(lookup_dcookie), SCMP_SYS(nfsservctl), SCMP_SYS(vmsplice), SCMP_SYS(memfd_secret),
    /* what only old programs use */
    SCMP_SYS(personality), SCMP_SYS(modify_ldt), SCMP_SYS(iopl), SCMP_SYS(ioperm),
    SCMP_SYS(uselib), SCMP_SYS(ustat), SCMP_SYS(sysfs), SCMP_SYS(_sysctl), SCMP_SYS(vm86),
    SCMP_SYS(vm86old), SCMP_SYS(remap_file_pages), SCMP_SYS(vhangup), SCMP_SYS(shmget),
    SCMP_SYS(shmat), SCMP_SYS(semget), SCMP_SYS(msgget), SCMP_SYS(mq_open),
};

static const struct when gateway_denied_when[] = {
    {SCMP_SYS(clone),    0, CLONE_THREAD, 0}, /* a process */
    {SCMP_SYS(mmap),     2, PROT_WRITE | PROT_EXEC, PROT_WRITE | PROT_EXEC},
    {SCMP_SYS(mprotect), 2, PROT_EXEC, PROT_EXEC},
    {SCMP_SYS(ioctl),    1, AS_INT, TIOCSTI},
    {SCMP_SYS(ioctl),    1, AS_INT, TIOCLINUX},
    {SCMP_SYS(prctl),    0, AS_INT, PR_SET_DUMPABLE},
    {SCMP_SYS(prctl),    0, AS_INT, PR_SET_PTRACER},
};
/* clang-format on */

static struct scmp_arg_cmp compare(unsigned arg, enum scmp_compare op, scmp_datum_t value)
{
    return (struct scmp_arg_cmp){arg, op, value, 0};
}

/* Of the socket families only UNIX, INET, INET6, and NETLINK for its protocol 0 (routes: the
 * resolver asks which addresses the machine has). */
static int deny_sockets(scmp_filter_ctx f)
{
    const uint32_t deny = SCMP_ACT_ERRNO(EAFNOSUPPORT);
    int rc = seccomp_rule_add(f, deny, SCMP_SYS(socket), 1, compare(0, SCMP_CMP_GT, AF_NETLINK));

    for (scmp_datum_t family = 0; family < AF_NETLINK && rc == 0; family++)
        if (family != AF_UNIX && family != AF_INET && family != AF_INET6)
            rc = seccomp_rule_add(f, deny, SCMP_SYS(socket), 1, compare(0, SCMP_CMP_EQ, family));
    if (rc == 0)
        rc = seccomp_rule_add(f, deny, SCMP_SYS(socket), 2, compare(0, SCMP_CMP_EQ, AF_NETLINK),
                              compare(2, SCMP_CMP_NE, 0));
    return rc;
}

static int add_calls(scmp_filter_ctx f, uint32_t action, const int *calls, size_t n)
{
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++)
        rc = seccomp_rule_add(f, action, calls[i], 0);
    return rc;
}

static int add_conditions(scmp_filter_ctx f, uint32_t action, const struct when *w, size_t n)
{
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        struct scmp_arg_cmp cmp = {w[i].arg, SCMP_CMP_MASKED_EQ, w[i].mask, w[i].value};

        rc = seccomp_rule_add(f, action, w[i].syscall, 1, cmp);
    }
    return rc;
}

/* What worker and zygote share. */
static int allow_common(scmp_filter_ctx f)
{
    int rc = add_calls(f, SCMP_ACT_ALLOW, worker_calls, ARRAY_LEN(worker_calls));

    if (rc == 0)
        rc = add_conditions(f, SCMP_ACT_ALLOW, worker_conditions, ARRAY_LEN(worker_conditions));
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
                              SCMP_A3(SCMP_CMP_MASKED_EQ, MMAP_UNCOUNTED, 0));
    return rc;
}

static int fill_worker(scmp_filter_ctx f)
{
    int rc = allow_common(f);

    /* abort() unblocks its signal and sends it to itself: answered "done", so that a worker cannot
     * block SIGXCPU, and allowed towards oneself, so that the record says SIGABRT. */
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(0), SCMP_SYS(rt_sigprocmask), 0);
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                              compare(0, SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    /* Its own CPU limit, which grows with every job. */
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, compare(0, SCMP_CMP_EQ, 0),
                              compare(1, SCMP_CMP_EQ, RLIMIT_CPU));
    return rc;
}

static int fill_zygote(scmp_filter_ctx f)
{
    int rc = allow_common(f);

    if (rc == 0)
        rc = add_calls(f, SCMP_ACT_ALLOW, zygote_calls, ARRAY_LEN(zygote_calls));
    if (rc == 0)
        rc = add_conditions(f, SCMP_ACT_ALLOW, zygote_conditions, ARRAY_LEN(zygote_conditions));
    /* One process, and only its end; Landlock's scope, where there is one, and the user see to it
     * that it is a worker. */
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(kill), 2,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, 1u << 31, 0),
                              compare(1, SCMP_CMP_EQ, SIGKILL));
    /* clone3 has its flags in memory, where a filter cannot look: libc then uses clone. */
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return rc;
}

static int fill_gateway(scmp_filter_ctx f)
{
    const uint32_t deny = SCMP_ACT_ERRNO(EPERM);
    int rc = add_calls(f, deny, gateway_denied, ARRAY_LEN(gateway_denied));

    if (rc == 0)
        rc = add_conditions(f, deny, gateway_denied_when, ARRAY_LEN(gateway_denied_when));
    if (rc == 0)
        rc = deny_sockets(f);
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return rc;
}

static const struct {
    uint32_t otherwise;
    int (*fill)(scmp_filter_ctx f);
} filters[] = {
    [JAIL_WORKER] = {SCMP_ACT_KILL_PROCESS, fill_worker },
    [JAIL_ZYGOTE] = {SCMP_ACT_ERRNO(EPERM), fill_zygote },
    [JAIL_GATEWAY] = {SCMP_ACT_ALLOW,        fill_gateway},
};

enum err jail_seccomp(const struct jail_spec *spec, struct jail_report *r, struct buf *why)
{
    scmp_filter_ctx f = seccomp_init(filters[spec->role].otherwise);
    int rc = f ? 0 : -EOPNOTSUPP; /* or out of memory; this is the likely one */

    (void)r;
    /* no_new_privs is a layer of its own; a 32-bit or x32 call is nobody's. */
    if (rc == 0)
        rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_NNP, 0);
    if (rc == 0)
        rc = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (rc == 0)
        rc = filters[spec->role].fill(f);
    /* A binary tree instead of one long chain of comparisons. */
    if (rc == 0)
        rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (rc == 0)
        rc = seccomp_load(f);
    seccomp_release(f);
    if (rc == 0)
        return OK;
    buf_fmt(why, "seccomp: %s (needs a kernel with CONFIG_SECCOMP_FILTER)", strerror(-rc));
    return ERR_MISSING;
}
