/* SPDX-License-Identifier: Apache-2.0 */
/* jail_probe.c - tries, from inside each jail, what an intruder would:
 *
 *     jail_probe worker|zygote|gateway [OPTION]... [ATTEMPT]...     (without attempts: all)
 *
 *     --best-effort   --memory BYTES   --cpu SECONDS   --uid N   --gid N   --keep DIR
 *
 * Prints (to a pipe: a worker may not make a file grow) "layers: ...", then for each attempt one
 * line: "NAME: allowed", "NAME: EPERM" or "NAME: killed by 31". Every attempt has its own process:
 * it enters the jail, tries, and tells by its exit code, for which even the worker's jail leaves
 * room. Exit code 3: the jail refused. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/jail.h"

/* What attempts find open when they start, as a worker finds what it inherited. */
static struct {
    int null_rd;   /* a regular file, read-only */
    int tcp;       /* sockets from before the jail */
    int listening; /* abstract UNIX socket of this program, which stays outside */
    struct sockaddr_un abstract;
    socklen_t abstract_len;
    int keep; /* --keep, or -1 */
    pid_t outside;
} at_hand;

static int answer(long rc)
{
    return rc < 0 ? errno : 0;
}

/* --- files --- */

static int open_read(void)
{
    return answer(open("/etc/passwd", O_RDONLY));
}

static int open_proc(void)
{
    return answer(open("/proc/self/mem", O_RDWR));
}

static int open_create(void)
{
    return answer(open("/tmp/jail-probe-was-here", O_WRONLY | O_CREAT, 0600));
}

static int do_stat(void)
{
    struct stat st;

    return answer(stat("/etc/passwd", &st));
}

static int do_unlink(void)
{
    return answer(unlink("/tmp/jail-probe-was-not-here"));
}

static int write_inherited(void)
{
    return answer(write(at_hand.null_rd, "x", 1));
}

static int read_inherited(void)
{
    char c;

    return answer(read(at_hand.null_rd, &c, 1));
}

static int open_by_handle(void)
{
    struct {
        struct file_handle h;
        char room[MAX_HANDLE_SZ];
    } f = {.h = {.handle_bytes = MAX_HANDLE_SZ}};
    int mount_id;

    return answer(name_to_handle_at(AT_FDCWD, "/etc/passwd", &f.h, &mount_id, 0));
}

static int keep_create(void)
{
    int fd = openat(at_hand.keep, "made-in-jail", O_RDWR | O_CREAT, 0600);

    if (fd < 0 || write(fd, "x", 1) != 1)
        return errno;
    return answer(unlinkat(at_hand.keep, "made-in-jail", 0));
}

static int keep_escape(void)
{
    return answer(openat(at_hand.keep, "../../../../../../../etc/passwd", O_RDONLY));
}

static int read_resolver(void)
{
    return answer(open("/etc/nsswitch.conf", O_RDONLY));
}

/* --- network --- */

static int socket_inet(void)
{
    return answer(socket(AF_INET, SOCK_STREAM, 0));
}

static int socket_unix(void)
{
    return answer(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int socket_packet(void)
{
    return answer(socket(AF_PACKET, SOCK_DGRAM, 0));
}

static int socket_vsock(void)
{
    return answer(socket(AF_VSOCK, SOCK_STREAM, 0));
}

static int socket_alg(void)
{
    return answer(syscall(SYS_socket, (uint64_t)AF_ALG | 1ull << 32, SOCK_SEQPACKET, 0));
}

static int socket_pair(void)
{
    int pair[2];

    return answer(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int connect_tcp(void)
{
    struct sockaddr_in to = loopback(9);
    int e = answer(connect(at_hand.tcp, (struct sockaddr *)&to, sizeof to));

    return e == ECONNREFUSED ? 0 : e; /* the kernel did try */
}

static int bind_tcp(void)
{
    struct sockaddr_in to = loopback(0);

    return answer(bind(at_hand.tcp, (struct sockaddr *)&to, sizeof to));
}

static int connect_abstract(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    return fd < 0 ? errno
                  : answer(connect(fd, (struct sockaddr *)&at_hand.abstract, at_hand.abstract_len));
}

/* --- processes --- */

static int do_fork(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    return answer(pid);
}

static void *nothing(void *arg)
{
    return arg;
}

static int do_thread(void)
{
    pthread_t t;
    int e = pthread_create(&t, NULL, nothing, NULL);

    return e ? e : pthread_join(t, NULL);
}

static int do_exec(void)
{
    char name[] = "true", *const argv[] = {name, NULL};

    return answer(execve("/bin/true", argv, NULL));
}

static int do_ptrace(void)
{
    return answer(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int read_other_memory(void)
{
    char here[8];
    struct iovec local = {here, sizeof here}, remote = {here, sizeof here};

    return answer(process_vm_readv(at_hand.outside, &local, 1, &remote, 1, 0));
}

static int kill_outside(void)
{
    return answer(kill(at_hand.outside, SIGCONT));
}

/* --- memory and time --- */

static int too_much_memory(void)
{
    char *p = malloc(256u << 20);

    if (!p)
        return errno;
    memset(p, 1, 256u << 20);
    return p[4711] - 1;
}

static int much_in_pieces(void)
{
    for (unsigned i = 0; i < 4096; i++) {
        char *p = malloc(1u << 16);

        if (!p)
            return errno;
        memset(p, 1, 1u << 16);
    }
    return 0;
}

static int mapping(int prot, int flags)
{
    return mmap(NULL, 4096, prot, flags | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
}

static int shared_memory(void)
{
    return mapping(PROT_READ | PROT_WRITE, MAP_SHARED);
}

static int growing_memory(void)
{
    return mapping(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_GROWSDOWN);
}

static int mmap_exec(void)
{
    return mapping(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);
}

static int mprotect_exec(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? errno : answer(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

/* Half a minute without a limit, so that a jail that does not work is a result as well. */
static int spin(void)
{
    for (volatile uint64_t i = 0; i < 10000000000; i++)
        ;
    return 0;
}

/* As a worker that was taken over would, to stay. */
static int spin_blocked(void)
{
    sigset_t all;

    (void)sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, NULL);
    return spin();
}

static int raise_cpu(void)
{
    struct rlimit cpu;

    if (getrlimit(RLIMIT_CPU, &cpu) != 0)
        return errno;
    cpu.rlim_cur = cpu.rlim_max;
    return answer(setrlimit(RLIMIT_CPU, &cpu));
}

/* As a worker hands over what it unpacked; one byte at |off|, from there on. */
static int fill_memfd(unsigned flags, off_t off)
{
    (void)close(at_hand.tcp); /* few descriptors are allowed, and these are ours only */
    int fd = (int)syscall(SYS_memfd_create, "x", flags);

    if (fd < 0 || pwrite(fd, "x", 1, off) != 1)
        return errno;
    return answer(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL));
}

static int memfd(void)
{
    return fill_memfd(MFD_CLOEXEC | MFD_ALLOW_SEALING, 0);
}

static int memfd_large(void)
{
    return fill_memfd(MFD_CLOEXEC | MFD_ALLOW_SEALING, 1 << 30);
}

static int memfd_huge_pages(void)
{
    return fill_memfd(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB, 0);
}

static int many_memfds(void)
{
    for (unsigned i = 0; i < 16; i++)
        if (syscall(SYS_memfd_create, "x", MFD_CLOEXEC | MFD_ALLOW_SEALING) < 0)
            return errno;
    return 0;
}

static int truncate_memfd(void)
{
    (void)close(at_hand.tcp);
    int fd = (int)syscall(SYS_memfd_create, "x", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    return fd < 0 ? errno : answer(ftruncate(fd, 1));
}

static int do_fcntl(void)
{
    return answer(fcntl(at_hand.null_rd, F_GETFL));
}

static int pwrite_inherited(void)
{
    return answer(pwrite(at_hand.null_rd, "x", 1, 0));
}

static int raise_memory(void)
{
    struct rlimit data;

    if (getrlimit(RLIMIT_DATA, &data) != 0)
        return errno;
    data.rlim_max = data.rlim_cur = RLIM_INFINITY;
    return answer(setrlimit(RLIMIT_DATA, &data));
}

static int core_file(void)
{
    struct rlimit core;

    return getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0 ? EPERM : 0;
}

static int do_abort(void)
{
    abort();
}

/* --- the kernel --- */

static int do_ioctl(void)
{
    int n;

    return answer(ioctl(at_hand.tcp, FIONREAD, &n));
}

static int ioctl_tiocsti(void)
{
    char c = 'x';
    int e = answer(syscall(SYS_ioctl, at_hand.null_rd, (uint64_t)TIOCSTI | 1ull << 32, &c));

    return e == ENOTTY ? 0 : e; /* the kernel did look */
}

static int be_dumpable(void)
{
    return answer(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static int do_unshare(void)
{
    return answer(unshare(CLONE_NEWUSER));
}

static int clone_namespace(void)
{
    long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);

    if (pid == 0)
        _exit(0);
    return answer(pid);
}

static int do_mount(void)
{
    return answer(mount("none", "/tmp", "tmpfs", 0, NULL));
}

static int do_bpf(void)
{
    return answer(syscall(SYS_bpf, 0, NULL, 0));
}

static int do_keyctl(void)
{
    return answer(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0));
}

static int do_io_uring(void)
{
    return answer(syscall(SYS_io_uring_setup, 1, NULL));
}

static int do_userfaultfd(void)
{
    return answer(syscall(SYS_userfaultfd, 0));
}

static int do_perf(void)
{
    struct perf_event_attr attr = {.size = sizeof attr};

    return answer(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}

static int do_personality(void)
{
    return answer(personality(ADDR_NO_RANDOMIZE));
}

static int do_setuid(void)
{
    return answer(setuid(0));
}

/* The x32 table of the same kernel, which a filter on numbers alone would not know. */
static int other_abi(void)
{
    return answer(syscall(0x40000000 + SYS_getpid));
}

static const struct attempt {
    const char *name;
    int (*run)(void);
} attempts[] = {
    {"open-read",         open_read        },
    {"open-proc",         open_proc        },
    {"open-create",       open_create      },
    {"stat",              do_stat          },
    {"unlink",            do_unlink        },
    {"write-inherited",   write_inherited  },
    {"read-inherited",    read_inherited   },
    {"open-by-handle",    open_by_handle   },
    {"keep-create",       keep_create      },
    {"keep-escape",       keep_escape      },
    {"read-resolver",     read_resolver    },
    {"socket-inet",       socket_inet      },
    {"socket-unix",       socket_unix      },
    {"socket-packet",     socket_packet    },
    {"socket-vsock",      socket_vsock     },
    {"socket-alg",        socket_alg       },
    {"socketpair",        socket_pair      },
    {"connect-tcp",       connect_tcp      },
    {"bind-tcp",          bind_tcp         },
    {"connect-abstract",  connect_abstract },
    {"fork",              do_fork          },
    {"thread",            do_thread        },
    {"exec",              do_exec          },
    {"ptrace",            do_ptrace        },
    {"read-other-memory", read_other_memory},
    {"kill-outside",      kill_outside     },
    {"memory",            too_much_memory  },
    {"memory-in-pieces",  much_in_pieces   },
    {"memory-shared",     shared_memory    },
    {"memory-growing",    growing_memory   },
    {"memfd",             memfd            },
    {"memfd-large",       memfd_large      },
    {"memfd-many",        many_memfds      },
    {"memfd-huge-pages",  memfd_huge_pages },
    {"memfd-truncate",    truncate_memfd   },
    {"fcntl",             do_fcntl         },
    {"pwrite-inherited",  pwrite_inherited },
    {"mmap-exec",         mmap_exec        },
    {"mprotect-exec",     mprotect_exec    },
    {"cpu",               spin             },
    {"cpu-blocked",       spin_blocked     },
    {"raise-cpu",         raise_cpu        },
    {"raise-memory",      raise_memory     },
    {"core-file",         core_file        },
    {"abort",             do_abort         },
    {"ioctl",             do_ioctl         },
    {"ioctl-tiocsti",     ioctl_tiocsti    },
    {"dumpable",          be_dumpable      },
    {"unshare",           do_unshare       },
    {"clone-namespace",   clone_namespace  },
    {"mount",             do_mount         },
    {"bpf",               do_bpf           },
    {"keyctl",            do_keyctl        },
    {"io-uring",          do_io_uring      },
    {"userfaultfd",       do_userfaultfd   },
    {"perf",              do_perf          },
    {"personality",       do_personality   },
    {"setuid",            do_setuid        },
    {"other-abi",         other_abi        },
};

/* --- running them --- */

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void lay_out(const char *keep)
{
    at_hand.outside = getpid();
    at_hand.null_rd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    at_hand.tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    at_hand.listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    at_hand.abstract.sun_family = AF_UNIX;
    at_hand.abstract_len = sizeof at_hand.abstract;
    at_hand.keep = keep ? open(keep, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (at_hand.null_rd < 0 || at_hand.tcp < 0 || at_hand.listening < 0 ||
        (keep && at_hand.keep < 0))
        die("lay out");
    /* Only the family: the kernel chooses an abstract name. */
    if (bind(at_hand.listening, (struct sockaddr *)&at_hand.abstract, sizeof(sa_family_t)) != 0 ||
        listen(at_hand.listening, 4) != 0 ||
        getsockname(at_hand.listening, (struct sockaddr *)&at_hand.abstract,
                    &at_hand.abstract_len) != 0)
        die("listen");
}

/* The report goes to descriptor 2, which every jail may write to; 3 is the answer to a refusal. */
static int print_layers(const struct jail_spec *spec)
{
    struct jail_report report;
    struct buf text;
    int status;
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid == 0) {
        buf_init(&text, 0);
        if (jail_enter(spec, &report, &text) != OK) {
            (void)fprintf(stderr, "refused: %s\n", buf_cstr(&text));
            _exit(3);
        }
        buf_text(&text, "layers: ");
        jail_report_text(&report, &text);
        buf_char(&text, '\n');
        _exit(write(STDERR_FILENO, text.p, text.n) < 0);
    }
    (void)waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 4;
}

static void print_attempt(const struct jail_spec *spec, const struct attempt *a)
{
    struct jail_report report;
    int status;
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid == 0) {
        if (jail_enter(spec, &report, NULL) != OK)
            _exit(255);
        _exit(a->run());
    }
    (void)waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        (void)printf("%s: killed by %d\n", a->name, WTERMSIG(status));
    else if (WEXITSTATUS(status) == 0)
        (void)printf("%s: allowed\n", a->name);
    else
        (void)printf("%s: %s\n", a->name, strerrorname_np(WEXITSTATUS(status)));
}

static bool is_named(const char *name, char *const *names)
{
    if (!*names)
        return true;
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

static uint64_t number(const char *text)
{
    return strtoull(text, NULL, 10);
}

static enum jail_role role_of(const char *name)
{
    if (strcmp(name, "worker") == 0)
        return JAIL_WORKER;
    return strcmp(name, "zygote") == 0 ? JAIL_ZYGOTE : JAIL_GATEWAY;
}

static const char *parse(int argc, char **argv, struct jail_spec *spec)
{
    static const struct option names[] = {
        {"best-effort", no_argument,       NULL, 'b'},
        {"memory",      required_argument, NULL, 'm'},
        {"cpu",         required_argument, NULL, 'c'},
        {"uid",         required_argument, NULL, 'u'},
        {"gid",         required_argument, NULL, 'g'},
        {"keep",        required_argument, NULL, 'k'},
        {NULL,          0,                 NULL, 0  }
    };
    const char *keep = NULL;
    int option;

    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'b': spec->required = false; break;
        case 'm': spec->memory_max = number(optarg); break;
        case 'c': spec->cpu_seconds = number(optarg); break;
        case 'u': spec->uid = (uid_t)number(optarg); break;
        case 'g': spec->gid = (gid_t)number(optarg); break;
        case 'k': keep = optarg; break;
        default: exit(2);
        }
    }
    if (optind == argc)
        exit(2);
    spec->role = role_of(argv[optind++]);
    return keep;
}

int main(int argc, char **argv)
{
    struct jail_spec spec = {.required = true, .map_max = 1u << 30};
    const char *keep = parse(argc, argv, &spec);

    lay_out(keep);
    spec.keep_dir_fd = at_hand.keep;
    (void)setvbuf(stdout, NULL, _IONBF, 0);
    (void)dup2(STDOUT_FILENO, STDERR_FILENO);

    int code = print_layers(&spec);

    for (size_t i = 0; i < ARRAY_LEN(attempts) && code == 0; i++)
        if (is_named(attempts[i].name, argv + optind))
            print_attempt(&spec, &attempts[i]);
    return code;
}
