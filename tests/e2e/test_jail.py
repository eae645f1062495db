# SPDX-License-Identifier: Apache-2.0
"""What processes in a jail can still do, tried from inside by programs/jail_probe.c, and what
`required` and `best-effort` make of a kernel that lacks a layer. Release build: sanitizers have no jail."""
import ctypes
import os
import pathlib
import subprocess

import pytest

PROGRAMS = pathlib.Path(os.environ["SALLYPORT_BUILD"]) / "tests" / "e2e" / "programs"
PROBE, WITHOUT = PROGRAMS / "jail_probe", PROGRAMS / "without"
NOBODY = 65534
ROOT = os.geteuid() == 0

KILLED = "killed by 31"  # SIGSYS
LANDLOCK_CREATE_RULESET, VERSION = 444, 1


def landlock_abi():
    abi = ctypes.CDLL(None, use_errno=True).syscall(LANDLOCK_CREATE_RULESET, None, 0, VERSION)
    return max(abi, 0)


ABI = landlock_abi()
needs_root = pytest.mark.skipif(not ROOT, reason="only root can change users and make namespaces")
needs_landlock = pytest.mark.skipif(ABI == 0, reason="this kernel has no Landlock")


def sandbox(*arguments, without=None, sandbox="required" if ABI else "best-effort", user=None, check=True):
    """Runs the probe; returns (exit code, layers as a list, {attempt: result}, text)."""
    command = [WITHOUT, without, PROBE] if without else [PROBE]
    command += ["--best-effort"] if sandbox == "best-effort" else []
    command += [str(a) for a in arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, user=user, group=user,
                          extra_groups=[] if user else None)
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    layers = lines.pop("layers", "").replace("(abi ", "(abi-").split()
    if check:
        assert done.returncode == 0, done.stdout
    return done.returncode, layers, lines, done.stdout


def attempts(*arguments, **options):
    return sandbox(*arguments, **options)[2]


def identity():
    return ["--uid", NOBODY, "--gid", NOBODY] if ROOT else []


class TestWorker:
    LIMITS = ["--memory", 64 << 20, "--cpu", 1]

    @pytest.fixture(scope="class")
    def inside(self):
        return attempts(*self.LIMITS, *identity(), "worker")

    @pytest.mark.parametrize("attempt", [
        "open-read", "open-proc", "open-create", "stat", "unlink", "open-by-handle", "read-resolver",
        "socket-inet", "socket-unix", "socket-packet", "socket-alg", "socketpair", "connect-tcp", "bind-tcp",
        "connect-abstract", "fork", "thread", "exec", "ptrace", "read-other-memory", "kill-outside",
        "mmap-exec", "mprotect-exec", "write-inherited", "ioctl", "ioctl-tiocsti", "dumpable", "unshare",
        "clone-namespace", "mount", "bpf", "keyctl", "io-uring", "userfaultfd", "perf", "personality", "setuid",
        "raise-memory", "memfd-huge-pages", "memfd-truncate", "fcntl", "other-abi"])
    def test_is_killed_when_it_tries(self, inside, attempt):
        assert inside[attempt] == KILLED

    def test_reads_what_it_was_given(self, inside):
        assert inside["read-inherited"] == "allowed"

    @pytest.mark.parametrize("attempt", ["memory", "memory-in-pieces"])
    def test_memory_ends_at_the_limit(self, inside, attempt):
        assert inside[attempt] == "ENOMEM"

    @pytest.mark.parametrize("attempt", ["memory-shared", "memory-growing"])
    def test_no_memory_beside_the_limit(self, inside, attempt):
        assert inside[attempt] == KILLED

    def test_hands_over_sealed_memory(self, inside):
        assert inside["memfd"] == "allowed"

    def test_memory_to_hand_over_ends_at_the_limits(self, inside):
        assert inside["memfd-large"] == "killed by 25"  # SIGXFSZ
        assert inside["memfd-many"] == "EMFILE"

    def test_cannot_write_what_it_was_given(self, inside):
        assert inside["pwrite-inherited"] == "EBADF"

    @pytest.mark.parametrize("attempt", ["cpu", "cpu-blocked"])
    def test_processor_time_ends_at_the_limit(self, inside, attempt):
        assert inside[attempt] == "killed by 24"  # SIGXCPU

    def test_moves_its_processor_limit_from_job_to_job(self, inside):
        assert inside["raise-cpu"] == "allowed"

    def test_says_so_when_it_aborts(self, inside):
        assert inside["abort"] == "killed by 6"

    @needs_landlock
    def test_layers(self):
        _, layers, _, _ = sandbox(*identity(), "worker", "none")
        assert [layer for layer in layers if layer not in ("namespaces", "user")] == [
            "no-new-privs", "rlimits", f"landlock(abi-{ABI})", "seccomp"]

    @needs_root
    def test_root_gives_up_being_root(self):
        assert {"namespaces", "user"} <= set(sandbox(*identity(), "worker", "none")[1])
        assert "user" not in sandbox("worker", "none")[1]  # uid 0 without capabilities is still the owner of /etc

    @needs_root
    def test_works_for_any_user(self):
        _, layers, inside, _ = sandbox("worker", "open-read", "fork", user=NOBODY)
        assert "user" in layers
        assert inside == {"open-read": KILLED, "fork": KILLED}


class TestZygote:
    @pytest.fixture(scope="class")
    def inside(self):
        return attempts(*identity(), "zygote", "open-read", "open-create", "socket-inet", "connect-tcp", "bind-tcp",
                        "connect-abstract", "thread", "exec", "ptrace", "read-other-memory", "kill-outside",
                        "mmap-exec", "mprotect-exec", "memory-shared", "unshare", "clone-namespace", "mount", "bpf",
                        "io-uring", "setuid", "ioctl", "fork", "socketpair", "core-file")

    def test_forks_and_pairs(self, inside):
        assert inside["fork"] == inside["socketpair"] == "allowed"

    def test_everything_else_is_refused(self, inside):
        refused = {k: v for k, v in inside.items() if k not in ("fork", "socketpair")}
        assert set(refused.values()) == {"EPERM"}, refused


class TestGateway:
    @pytest.fixture(scope="class")
    def spool(self, tmp_path_factory):
        spool = tmp_path_factory.mktemp("spool")
        spool.chmod(0o777)
        return spool

    @pytest.fixture(scope="class")
    def inside(self, spool):
        spool.parent.chmod(0o755)
        every = attempts("--keep", spool, *identity(), "gateway",
                         "keep-create", "keep-escape", "read-resolver", "open-read", "open-create", "open-proc",
                         "open-by-handle", "socket-inet", "socket-unix", "socket-packet", "socket-vsock", "socket-alg",
                         "connect-tcp", "bind-tcp", "connect-abstract", "thread", "fork", "exec", "ptrace",
                         "read-other-memory", "kill-outside", "mmap-exec", "mprotect-exec", "ioctl",
                         "ioctl-tiocsti", "dumpable", "unshare", "clone-namespace", "mount", "bpf", "keyctl",
                         "io-uring", "userfaultfd", "perf", "personality", "setuid", "core-file", "other-abi")
        return every

    @pytest.mark.parametrize("attempt", ["socket-inet", "socket-unix", "connect-tcp", "bind-tcp", "thread", "ioctl",
                                         "read-resolver", "keep-create"])
    def test_can_do_its_work(self, inside, attempt):
        assert inside[attempt] == "allowed"

    @pytest.mark.parametrize("attempt", ["fork", "exec", "ptrace", "read-other-memory", "open-by-handle", "mmap-exec",
                                         "mprotect-exec", "ioctl-tiocsti", "dumpable", "unshare", "clone-namespace",
                                         "mount", "bpf", "keyctl", "io-uring", "userfaultfd", "perf", "personality",
                                         "setuid", "core-file"])
    def test_is_refused(self, inside, attempt):
        assert inside[attempt] == "EPERM"

    @pytest.mark.parametrize("attempt", ["socket-packet", "socket-vsock", "socket-alg"])
    def test_socket_families(self, inside, attempt):
        assert inside[attempt] == "EAFNOSUPPORT"

    @needs_landlock
    @pytest.mark.parametrize("attempt", ["open-read", "open-create", "open-proc", "keep-escape"])
    def test_files_end_at_the_spool(self, inside, attempt):
        assert inside[attempt] == "EACCES"

    @pytest.mark.skipif(ABI < 6, reason="Landlock knows scopes since its ABI 6")
    @pytest.mark.parametrize("attempt", ["kill-outside", "connect-abstract"])
    def test_signals_and_abstract_sockets_stay_inside(self, inside, attempt):
        assert inside[attempt] == "EPERM"

    def test_another_abi_is_fatal(self, inside):
        assert inside["other-abi"] == KILLED

    def test_surprises_do_not_kill(self, inside):
        assert [k for k, v in inside.items() if v.startswith("killed")] == ["other-abi"]


class TestMissingLayers:
    @pytest.mark.parametrize("layer, hint", [("landlock", "needs Linux 5.13"), ("seccomp", "CONFIG_SECCOMP_FILTER")])
    @pytest.mark.parametrize("role", ["worker", "zygote", "gateway"])
    def test_required_refuses_and_says_why(self, layer, hint, role):
        if layer == "seccomp" and ABI == 0:
            pytest.skip("this kernel has no Landlock, which is missed first")
        code, _, _, text = sandbox(role, "open-read", without=layer, sandbox="required", check=False)
        assert code == 3
        assert f'layer "{layer}" is required' in text and hint in text

    @pytest.mark.parametrize("layer", ["landlock", "seccomp"])
    @pytest.mark.parametrize("role", ["worker", "zygote", "gateway"])
    def test_best_effort_goes_on_and_does_not_claim_it(self, layer, role):
        _, layers, _, _ = sandbox(role, "none", without=layer, sandbox="best-effort")
        assert "no-new-privs" in layers and "rlimits" in layers
        assert not [on for on in layers if on.startswith(layer)]

    def test_seccomp_alone_still_closes_files_and_network(self):
        inside = attempts("worker", "open-read", "connect-tcp", "fork", without="landlock", sandbox="best-effort")
        assert set(inside.values()) == {KILLED}

    @pytest.mark.skipif(ABI < 4, reason="Landlock knows TCP since its ABI 4")
    def test_landlock_alone_still_closes_files_and_network(self):
        inside = attempts("worker", "open-read", "connect-tcp", "bind-tcp", without="seccomp", sandbox="best-effort")
        assert set(inside.values()) == {"EACCES"}

    @needs_root
    def test_namespaces_alone_still_close_the_network(self):
        _, layers, inside, _ = sandbox("worker", "socket-inet", "connect-abstract", without="landlock,seccomp",
                                       sandbox="best-effort")
        assert "namespaces" in layers
        assert inside["connect-abstract"] == "ECONNREFUSED"

    @needs_landlock
    def test_namespaces_are_not_required(self):
        _, layers, inside, _ = sandbox("worker", "open-read", without="namespaces", sandbox="required")
        assert "namespaces" not in layers
        assert inside["open-read"] == KILLED

    @needs_root
    def test_a_user_that_cannot_be_had_is_never_left_out(self):
        code, _, _, text = sandbox("--uid", 2**32 - 1, "--gid", NOBODY, "worker", "none", sandbox="best-effort",
                                   check=False)
        assert code == 3 and "switching to uid" in text
