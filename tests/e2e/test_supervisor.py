# SPDX-License-Identifier: Apache-2.0
"""The supervisor: reloads, restarts, hand-overs, and whatever dies. The rule of most tests here: a
client that connects is never refused, and where nothing was killed no connection breaks either."""
import collections
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import pytest

from testenv import IcapConnection, Sallyport, build_dir, chunked, need, samples, wait
from testenv.icap import body_head
from testenv.process import children
from testenv.sallyport import binary, is_sanitized

MARK = "SALLYPORT_TEST_MARK"
LISTENER = '  - {{name: {name}, address: "127.0.0.1:{port}"}}\n'
RULE = 'rule {name} {{ strings: $a = "{text}" condition: $a }}\n'
DESCRIPTOR = """
import os, socket, sys
s = socket.create_server(("127.0.0.1", 0))
open(sys.argv[1], "w").write(str(s.getsockname()[1]))
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="clear")
os.execv(sys.argv[2], sys.argv[2:])
"""


def marked(mark):
    """Pids of processes that carry |mark| in their environment, whoever their parent is by now."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            pass
    return found


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def config(listeners=("clear",), threads=2, more="", services="", ports=None):
    lines = "".join(LISTENER.format(name=n, port=(ports or {}).get(n, 0)) for n in listeners)
    sandbox = "best-effort" if is_sanitized(build_dir()) else "required"
    return (f"state: {{state}}\nthreads: {threads}\nsandbox: {sandbox}\ndrain: 20s\nlog: {{level: debug}}\n"
            f"admin: {{address: 127.0.0.1:0}}\n{more}listeners:\n{lines}services:\n"
            f"  - {{name: echo, type: echo, path: /echo}}\n"
            f"  - {{name: inspect, type: inspect, path: /inspect}}\n{services}")


def options(connection, url):
    """An OPTIONS request without encapsulated parts, and its answer."""
    connection.send(f"OPTIONS {url} ICAP/1.0\r\nHost: icap.test\r\n\r\n".encode())
    return connection.read_reply("OPTIONS")


class Gateway(Sallyport):
    """One whose pieces may be killed: what is left is found by its mark and killed at the end."""

    def __init__(self, folder, mark, **more):
        more.setdefault("config", config())
        more["env"] = {MARK: mark, **more.get("env", {})}
        # That of one that was killed: the next one replaces it, but not at once.
        (pathlib.Path(folder) / "state" / "addresses.json").unlink(missing_ok=True)
        super().__init__(folder, **more)

    def rewrite(self, text):
        self.config.write_text(text.replace("{state}", str(self.state)))

    def reload(self, done="reload: done", seconds=20):
        """SIGHUP; waits until the log says how it went."""
        before = self.log().count(done)
        self.send_signal(signal.SIGHUP)
        wait.until(lambda: self.log().count(done) > before, f"'{done}' in {self.log_path}", seconds)
        self._addresses = {}

    def ask(self, service="echo", listener="clear"):
        with IcapConnection(self.address(listener)) as c:
            return options(c, self.url(service, listener))

    def istag(self, service="inspect"):
        return self.ask(service).field("ISTag")


@pytest.fixture
def start(tmp_path):
    """start(**options) in the same folder each time, start(folder=…) in others."""
    mark = f"{MARK}={uuid.uuid4().hex}"
    started = []

    def run(folder="a", **options):
        started.append(Gateway(tmp_path / folder, mark.partition("=")[2], **options))
        return started[-1]

    yield run
    for gateway in started:
        gateway.popen.terminate()
    for gateway in started:
        try:
            gateway.popen.wait(30)
        except subprocess.TimeoutExpired:
            gateway.popen.kill()
    for pid in marked(mark):
        kill(pid)
    for gateway in started:
        gateway.popen.wait()
        gateway.check_sanitizers()


class Hammer(threading.Thread):
    """Connects and asks OPTIONS, again and again. refused: nobody listened; broken: no whole answer."""

    def __init__(self, gateway, listener="clear"):
        super().__init__(daemon=True)
        self.address, self.url = gateway.address(listener), gateway.url("echo", listener)
        self.refused = self.answered = 0
        self.broken, self.statuses = [], collections.Counter()
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.is_set():
            self.once()

    def once(self):
        try:
            c = IcapConnection(self.address, timeout=30)
        except ConnectionRefusedError:
            self.refused += 1
            return
        try:
            with c:
                self.statuses[options(c, self.url).status] += 1
                self.answered += 1
        except (OSError, EOFError) as e:
            self.broken.append(repr(e))

    def __enter__(self):
        self.start()
        self.progress()
        return self

    def progress(self, n=20, seconds=30):
        """Waits for |n| more answers."""
        goal = self.answered + n
        wait.until(lambda: self.answered >= goal, f"{n} more answers (broken: {self.broken[-3:]})", seconds)

    def __exit__(self, *exc):
        self.stopping.set()
        self.join(40)

    def assert_unharmed(self):
        assert self.refused == 0
        assert self.broken == []
        assert set(self.statuses) == {200}


class SlowTransfer:
    """A request with a body that ends when the test says so."""

    def __init__(self, gateway, listener="clear", size=300000):
        self.body = samples.noise(size)
        self.connection = IcapConnection(gateway.address(listener), timeout=30)
        self.connection.send(body_head("RESPMOD", gateway.url("echo", listener), size))
        self.connection.send(chunked(self.body[:1000], last=b""))

    def finish(self):
        self.connection.send(chunked(self.body[1000:]))
        reply = self.connection.read_reply("RESPMOD")
        self.connection.close()
        assert (reply.status, reply.body) == (200, self.body)


# ---- start ----


class TestStart:
    def run(self, tmp_path, text, env=None, arguments=("serve",)):
        path = tmp_path / "x.yaml"
        path.write_text(text.replace("{state}", str(tmp_path / "state")))
        return subprocess.run([binary(), *arguments, "-c", path], capture_output=True, text=True, timeout=30,
                              check=False, env={**os.environ, **(env or {})})

    def test_start_line(self, start):
        gateway = start()
        line = next(x for x in gateway.log().splitlines() if "serves pid=" in x)
        assert f"pid={gateway.pid} " in line and "threads=2" in line
        assert f"clear={gateway.addresses()['clear']}" in line and "yara" in line
        assert set(gateway.addresses()) == {"clear", "admin"}
        assert (gateway.state / "control.sock").stat().st_mode & 0o777 == 0o600
        assert gateway.state.stat().st_mode & 0o777 in (0o700, 0o755)  # made by the test or by us

    def test_errors_name_their_place(self, tmp_path):
        run = self.run(tmp_path, "state: {state}\nthreads: many\nlistners: []\n")
        assert run.returncode == 2
        assert re.search(r"x\.yaml:2:\d+: .*threads", run.stderr)
        assert re.search(r"x\.yaml:3:\d+: .*listeners", run.stderr)

    def test_certificates_are_checked(self, tmp_path, certificates):
        other = certificates.issue("other")
        tls = (f"tls:\n  - {{name: t, certificate: {certificates.server[0]}, key: {other[1]}}}\n"
               "  - {name: u, certificate: /nonexistent/c.pem, key: /nonexistent/k.pem}\n")
        run = self.run(tmp_path, config(more=tls))
        assert run.returncode == 2
        assert "x.yaml:8:" in run.stderr and "cannot read '/nonexistent/c.pem'" in run.stderr

    def test_port_in_use(self, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            run = self.run(tmp_path, config(ports={"clear": port}))
        assert run.returncode == 2
        assert f"cannot listen on 127.0.0.1:{port} for listener 'clear': Address already in use" in run.stderr
        assert "ss -ltnp" in run.stderr

    def test_second_instance(self, start):
        gateway = start()
        run = gateway.command_line("serve", "-c", gateway.config)
        assert run.returncode == 2
        assert "another sallyport runs with the state directory" in run.stderr
        assert gateway.ask().status == 200

    def test_no_worker_program(self, tmp_path):
        run = self.run(tmp_path, config(), env={"SALLYPORT_WORKER": "/nonexistent/worker"})
        assert run.returncode == 1
        assert "cannot start the worker /nonexistent/worker" in run.stderr

    def test_broken_rules(self, tmp_path):
        rules = tmp_path / "bad.yar"
        rules.write_text("rule x { condition: ")
        run = self.run(tmp_path, config(more=f"engines: {{yara: {{rules: [{rules}]}}}}\n"))
        assert run.returncode == 1
        assert "cannot start: the worker cannot work" in run.stderr

    def test_echo_needs_no_worker(self, start):
        text = config(ports={}).replace("  - {name: inspect, type: inspect, path: /inspect}\n", "")
        gateway = start(config=text, env={"SALLYPORT_WORKER": "/nonexistent/worker"}, ready=False)
        wait.until(lambda: (gateway.state / "addresses.json").exists(), "addresses.json")
        assert gateway.ask().status == 200

    def test_state_too_deep_for_a_socket_address(self, start):
        """sun_path has 108 bytes."""
        gateway = start(folder="/".join(["deeper" * 5] * 4))
        assert gateway.status()["pid"] in children(gateway.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
class TestUser:
    def test_gateway_and_workers_are_that_user(self, start):
        nobody = pwd.getpwnam("nobody")
        gateway = start(config="user: nobody\n" + config())
        sanitized = is_sanitized(build_dir())  # such builds stay who they are
        for pid in [gateway.gateway_pid(), *gateway.zygote_pids()]:
            assert os.stat(f"/proc/{pid}").st_uid == (0 if sanitized else nobody.pw_uid)
        assert os.stat(f"/proc/{gateway.pid}").st_uid == 0
        assert (gateway.state / "spool").stat().st_uid == nobody.pw_uid
        assert (gateway.state / "records.jsonl").stat().st_uid == 0
        assert gateway.state.stat().st_uid == 0  # what root opens by path is in root's directory
        assert (gateway.state / "control.sock").stat().st_uid == nobody.pw_uid
        with IcapConnection(gateway.address()) as c:
            assert c.ask("REQMOD", gateway.url("inspect"), samples.noise(3 << 20)).status == 200
        gateway.reload("without interruption")
        kill(gateway.gateway_pid())
        gateway.wait_ready()
        assert gateway.ask().status == 200


NOBODY = 65534


def uid_of(pid):
    return int(re.search(r"^Uid:\t(\d+)\t", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.skipif(is_sanitized(build_dir()), reason="such builds stay who they are, and dumpable for LeakSanitizer")
class TestDumpable:
    """No core files, and nothing to be read in /proc or by ptrace for others of the same user: the kernel says so by
    giving what is below /proc/PID to root, whoever the process is. One that was root and has become somebody else is
    like that anyway; one that began as nobody has to ask for it."""

    @pytest.fixture(scope="class", params=["user: nobody", "begun by nobody"])
    def gateway(self, request):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="sallyport-dumpable-"))
        begun = request.param.startswith("begun")
        setpriv = (need("setpriv", "util-linux"), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        (folder / "state").mkdir()
        for path in (folder, folder / "state"):
            path.chmod(0o755)
            os.chown(path, *(NOBODY, NOBODY) if begun else (0, 0))
        try:
            text = config() if begun else "user: nobody\n" + config()
            with Sallyport(folder, config=text, prefix=setpriv if begun else ()) as gateway:
                with IcapConnection(gateway.address()) as c:
                    assert c.ask("RESPMOD", gateway.url("inspect"), b"x").status in (200, 204)
                gateway.begun = begun
                yield gateway
        finally:
            shutil.rmtree(folder)

    @staticmethod
    def expect_closed(pids):
        for pid in pids:
            assert uid_of(pid) == NOBODY
            for name in ("environ", "mem", "fd", "maps", "auxv"):
                assert os.stat(f"/proc/{pid}/{name}").st_uid == 0, name

    def test_gateway_and_workers(self, gateway):
        workers = wait.until(gateway.worker_pids, "a worker")
        zygotes = gateway.zygote_pids()
        self.expect_closed([gateway.gateway_pid(), *zygotes, *workers])
        assert len(zygotes) == 1

    def test_supervisor(self, gateway):
        """Which reads the keys."""
        if gateway.begun:
            self.expect_closed([gateway.pid])
        else:
            assert uid_of(gateway.pid) == 0  # of whom everything is root's

class TestDemo:
    def test_own_ca(self, tmp_path):
        from testenv.process import Process
        state = tmp_path / "demo"
        for _ in range(2):
            log = tmp_path / "demo.log"
            process = Process([binary(), "serve", "--demo", "--demo-port", "0", "--state", state], log)
            try:
                wait.until((state / "addresses.json").exists, f"addresses.json ({log})", 20)
                addresses = json.loads((state / "addresses.json").read_text())
                with IcapConnection(addresses["icaps"], tls=state / "tls" / "ca.pem") as c:
                    assert options(c, "icaps://localhost/avscan").status == 200
                ca = (state / "tls" / "ca.pem").read_bytes()
            finally:
                assert process.stop() == 0
        assert (state / "tls" / "ca.pem").read_bytes() == ca  # kept for the second start
        assert (state / "tls" / "server.key").stat().st_mode & 0o777 == 0o600

    def test_reexecution_keeps_the_directory(self, tmp_path):
        from testenv.process import Process
        process = Process([binary(), "serve", "--demo", "--demo-port", "0"], tmp_path / "demo.log")
        process.wait_log(" serves pid=", 20)
        process.send_signal(signal.SIGUSR2)
        wait.until(lambda: process.log().count(" serves pid=") == 2, "the second start", 20)
        first, second = re.findall(r" (icap=\S+ icaps=\S+ admin=\S+) .* state=(\S+)", process.log())
        assert first == second
        assert process.stop() == 0
        assert not pathlib.Path(second[1]).exists()

    def test_temporary_directory_goes(self, tmp_path):
        from testenv.process import Process
        process = Process([binary(), "serve", "--demo", "--demo-port", "0"], tmp_path / "demo.log")
        process.wait_log(" serves pid=", 20)
        state = pathlib.Path(re.search(r" state=(\S+)", process.log())[1])
        assert state.exists() and state.name.startswith("sallyport-demo-")
        assert process.stop() == 0
        assert not state.exists()


class TestSystemd:
    @pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
    def test_notify(self, start, tmp_path, abstract):
        name = f"\0sallyport-{uuid.uuid4().hex}" if abstract else str(tmp_path / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(name)
            s.settimeout(30)
            gateway = start(env={"NOTIFY_SOCKET": name.replace("\0", "@"), "WATCHDOG_USEC": "200000"})
            heard = []

            def expect(wanted):
                while not any(wanted in x for x in heard):
                    heard.append(s.recv(4096).decode())
                heard.clear()

            expect(f"READY=1\nMAINPID={gateway.pid}")
            expect("WATCHDOG=1")
            gateway.send_signal(signal.SIGHUP)
            expect("RELOADING=1\nMONOTONIC_USEC=")
            expect("READY=1")
            gateway.send_signal(signal.SIGTERM)
            expect("STOPPING=1")
        environment = pathlib.Path(f"/proc/{gateway.pid}/environ")
        assert gateway.stop() == 0 and not environment.exists()

    def test_socket_activation(self, start, tmp_path):
        port_file = tmp_path / "port"
        gateway = start(prefix=(sys.executable, "-c", DESCRIPTOR, port_file))
        assert gateway.address("clear") == ("127.0.0.1", int(port_file.read_text()))
        with Hammer(gateway) as hammer:
            kill(gateway.gateway_pid())
            hammer.progress()
            # A new supervisor gets the socket through the gateway.
            gateway.send_signal(signal.SIGUSR2)
            wait.until(lambda: gateway.log().count(" serves pid=") == 2, "the second start", 20)
            hammer.progress()
        assert hammer.refused == 0


# ---- reload ----


class TestReload:
    def test_live(self, start):
        gateway = start()
        pid = gateway.gateway_pid()
        with IcapConnection(gateway.address()) as c:
            assert options(c, gateway.url("other")).status == 404
            gateway.rewrite(config(services="  - {name: other, type: echo, path: /other}\n"))
            gateway.reload("without interruption")
            assert options(c, gateway.url("other")).status == 200
        assert gateway.gateway_pid() == pid

    def test_errors_keep_the_old(self, start):
        gateway = start()
        pid = gateway.gateway_pid()
        gateway.rewrite(config(more="drian: 3s\n"))
        with Hammer(gateway) as hammer:
            gateway.reload("everything stays as it was")
            hammer.progress()
        hammer.assert_unharmed()
        assert re.search(r"sallyport\.yaml:7:1: .*drian.*did you mean 'drain'", gateway.log())
        assert gateway.gateway_pid() == pid

    def test_new_listener(self, start):
        gateway = start()
        pid, address = gateway.gateway_pid(), gateway.address()
        slow = SlowTransfer(gateway)
        with Hammer(gateway) as hammer:
            gateway.rewrite(config(listeners=("clear", "second")))
            gateway.reload("with a new gateway process")
            hammer.progress()
            assert gateway.ask(listener="second").status == 200
            assert gateway.address() == address
            assert gateway.gateway_pid() != pid and is_alive(pid)
            slow.finish()
            wait.until(lambda: not is_alive(pid), "the end of the old gateway", 20)
            hammer.progress()
        hammer.assert_unharmed()

    def test_listener_goes(self, start):
        gateway = start(config=config(listeners=("clear", "second")))
        gone = gateway.address("second")
        with Hammer(gateway) as hammer:
            gateway.rewrite(config())
            gateway.reload("with a new gateway process")
            hammer.progress()
        hammer.assert_unharmed()
        assert "second" not in gateway.addresses()

        def refused():
            try:
                socket.create_connection(gone, 5).close()
                return False
            except ConnectionRefusedError:
                return True
        wait.until(refused, "the closed listener", 20)

    def test_threads(self, start):
        gateway = start(config=config(threads=1))
        with Hammer(gateway) as hammer:
            for threads in (3, 2, 1, 2):
                gateway.rewrite(config(threads=threads))
                wait.until(lambda: len(gateways(gateway)) < 3, "a drained gateway", 20)
                gateway.reload("with a new gateway process")
                hammer.progress()
                assert len(gateway.status()["loops"]) == threads
        hammer.assert_unharmed()

    def test_port_in_use_keeps_the_old(self, start):
        gateway = start()
        with socket.create_server(("127.0.0.1", 0)) as taken, Hammer(gateway) as hammer:
            gateway.rewrite(config(listeners=("clear", "second"), ports={"second": taken.getsockname()[1]}))
            gateway.reload("another program has it")
            hammer.progress()
        hammer.assert_unharmed()

    def test_three_gateways_at_most(self, start):
        gateway = start()
        slow = []
        for i in range(2):
            slow.append(SlowTransfer(gateway))
            gateway.rewrite(config(threads=3 + i))
            gateway.reload("with a new gateway process")
        slow.append(SlowTransfer(gateway))
        gateway.rewrite(config(threads=1))
        gateway.reload("waits until one of 3 gateway processes has drained")
        assert len(gateways(gateway)) == 3
        done = gateway.log().count("with a new gateway process")
        slow.pop(0).finish()
        wait.until(lambda: gateway.log().count("with a new gateway process") > done, "the fourth gateway", 20)
        for transfer in slow:
            transfer.finish()
        assert len(gateway.status()["loops"]) == 1

    def test_certificate(self, start, tmp_path, certificates):
        first, second = certificates.issue("first"), certificates.issue("second")
        cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
        shutil.copy(first[0], cert)
        shutil.copy(first[1], key)
        gateway = start(tls=(cert, key), config=None)
        pid = gateway.gateway_pid()

        def serial():
            with IcapConnection(gateway.address("tls"), tls=certificates.ca) as c:
                return c.sock.getpeercert()["serialNumber"]

        before = serial()
        for source, path in ((second[0], cert), (second[1], key)):  # as a renewal does: one after the other
            shutil.copy(source, f"{path}.new")
            os.rename(f"{path}.new", path)
        wait.until(lambda: serial() != before, "the new certificate", 20)
        assert gateway.gateway_pid() == pid

    def test_certificate_that_does_not_fit_its_key(self, start, tmp_path, certificates):
        first, second = certificates.issue("first"), certificates.issue("second")
        cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
        shutil.copy(first[0], cert)
        shutil.copy(first[1], key)
        gateway = start(tls=(cert, key), config=None)
        shutil.copy(second[0], cert)
        gateway.wait_log("are NOT in use: the key does not belong to the certificate", 20)
        with IcapConnection(gateway.address("tls"), tls=certificates.ca) as c:
            assert options(c, gateway.url("echo", "tls")).status == 200


def gateways(gateway):
    return [p for p, line in gateway.processes().items() if "--gateway-control" in line and is_alive(p)]


class TestRules:
    @pytest.fixture
    def rules(self, tmp_path):
        path = tmp_path / "rules" / "own.yar"
        path.parent.mkdir()
        path.write_text(RULE.format(name="First", text="first-pattern"))
        return path

    def blocked(self, gateway, text):
        with IcapConnection(gateway.address()) as c:
            return c.ask("REQMOD", gateway.url("inspect"), text.encode()).encapsulated[0][0] == "res-hdr"

    def test_change_is_taken_over(self, start, rules):
        gateway = start(config=config(more=f"engines: {{yara: {{rules: [{rules}]}}}}\n"))
        tag, pid = gateway.istag(), gateway.gateway_pid()
        assert self.blocked(gateway, "a first-pattern") and not self.blocked(gateway, "a second-pattern")
        with Hammer(gateway) as hammer:
            rules.write_text(RULE.format(name="Second", text="second-pattern"))
            wait.until(lambda: gateway.istag() != tag, "another ISTag", 20)
            hammer.progress()
        hammer.assert_unharmed()
        assert self.blocked(gateway, "a second-pattern") and not self.blocked(gateway, "a first-pattern")
        assert gateway.gateway_pid() == pid
        wait.until(lambda: len(gateway.zygote_pids()) == 1, "the end of the old zygote", 20)

    def test_broken_rules_keep_the_old(self, start, rules):
        gateway = start(config=config(more=f"engines: {{yara: {{rules: [{rules}]}}}}\n"))
        tag, zygotes = gateway.istag(), gateway.zygote_pids()
        rules.write_text("rule broken {")
        gateway.wait_log("rules: the worker cannot work", 20)
        assert self.blocked(gateway, "a first-pattern")
        assert gateway.istag() == tag
        assert [p for p in gateway.zygote_pids() if is_alive(p)] == zygotes
        rules.write_text(RULE.format(name="Mended", text="mended-pattern"))
        wait.until(lambda: gateway.istag() != tag, "another ISTag", 20)
        assert self.blocked(gateway, "a mended-pattern")


# ---- deaths ----


class TestDeaths:
    def test_gateway(self, start):
        gateway = start()
        with Hammer(gateway) as hammer:
            for _ in range(3):
                pid = gateway.gateway_pid()
                kill(pid)
                hammer.progress()
                wait.until(lambda: gateway.admin("/readyz")[0] == 200 and gateway.gateway_pid() != pid,
                           "another gateway", 20)
        assert hammer.refused == 0
        assert len(hammer.broken) <= 3  # the one that it was serving
        assert gateway.log().count("was killed by signal 9 (Killed); a new one starts in") == 3

    def test_zygote(self, start):
        gateway = start()
        before = gateway.zygote_pids()
        with Hammer(gateway) as hammer:
            kill(before[0])
            wait.until(lambda: gateway.zygote_pids() not in ([], before), "another zygote", 20)
            gateway.wait_ready()
            hammer.progress()
        hammer.assert_unharmed()
        with IcapConnection(gateway.address()) as c:
            assert c.ask("REQMOD", gateway.url("inspect"), b"harmless").encapsulated[0][0] == "req-hdr"

    def test_worker(self, start):
        gateway = start()
        with Hammer(gateway) as hammer:
            workers = gateway.worker_pids()
            assert workers
            for pid in workers:
                kill(pid)
            wait.until(lambda: not set(gateway.worker_pids()) & set(workers), "the end of the workers", 20)
            with IcapConnection(gateway.address()) as c:
                assert c.ask("REQMOD", gateway.url("inspect"), b"harmless").encapsulated[0][0] == "req-hdr"
            assert gateway.worker_pids()
            hammer.progress()
        hammer.assert_unharmed()

    def test_supervisor(self, start):
        first = start()
        pid, address = first.gateway_pid(), first.address()
        slow = SlowTransfer(first)
        with Hammer(first) as hammer:
            kill(first.pid)
            first.popen.wait()
            hammer.progress()
            assert first.ask("inspect").status == 200
            second = start()
            wait.until(lambda: second.gateway_pid() != pid, "another gateway", 20)
            assert second.address() == address
            hammer.progress()
            slow.finish()
            wait.until(lambda: not is_alive(pid), "the end of the old gateway", 30)
            hammer.progress()
            assert second.status()["pid"] in children(second.pid)
        hammer.assert_unharmed()
        assert "sockets over from a gateway that serves without a supervisor" in second.log()
        assert second.stop() == 0

    def test_supervisor_then_gateway(self, start):
        """Nobody is left: the next start begins with fresh sockets, and clears the spool."""
        first = start()
        pid = first.gateway_pid()
        kill(first.pid)
        first.popen.wait()
        kill(pid)
        wait.until(lambda: not is_alive(pid), "the end of the gateway")
        left = first.state / "spool" / "spool-left-over"
        left.write_text("x")
        second = start()
        assert second.ask().status == 200
        assert not left.exists()

    def test_reexecution(self, start):
        gateway = start()
        pid, address = gateway.gateway_pid(), gateway.address()
        slow = SlowTransfer(gateway)
        with Hammer(gateway) as hammer:
            gateway.send_signal(signal.SIGUSR2)
            wait.until(lambda: gateway.log().count(f" serves pid={gateway.pid} ") == 2, "the second start", 30)
            hammer.progress()
            gateway._addresses = {}
            assert gateway.address() == address
            assert gateway.gateway_pid() != pid
            slow.finish()
            wait.until(lambda: not is_alive(pid), "the end of the old gateway", 30)
            gateway.reload("without interruption")
        hammer.assert_unharmed()
        assert gateway.stop() == 0

    def test_reexecution_with_errors_does_not_happen(self, start):
        gateway = start()
        gateway.rewrite("threads: many\n")
        gateway.send_signal(signal.SIGUSR2)
        gateway.wait_log("the program is not executed anew", 20)
        assert gateway.ask().status == 200


# ---- stop, records ----


class TestSpool:
    def test_a_named_directory_must_exist(self, start, tmp_path):
        """A mistyped mount point is told; it is not made, and filled, on the file system below."""
        missing = tmp_path / "mount" / "spool"
        gateway = start(config=config() + f"spool: {{path: {missing}}}\n", ready=False)
        assert gateway.popen.wait(20) != 0
        assert f"cannot use the directory {missing} of spool.path" in gateway.log()
        assert not missing.parent.exists()

    def test_a_named_directory_is_used(self, start, tmp_path):
        gateway = start(config=config() + f"spool: {{path: {tmp_path}}}\n")
        assert gateway.ask().status == 200


class TestStop:
    def test_drain(self, start):
        gateway = start()
        slow = SlowTransfer(gateway)
        gateway.send_signal(signal.SIGTERM)
        gateway.wait_log("drains, for 20000 ms at most")

        def refused():
            try:
                socket.create_connection(gateway.address(), 5).close()
                return False
            except ConnectionRefusedError:
                return True
        wait.until(refused, "a refused connect while the last gateway drains")
        slow.finish()
        assert gateway.popen.wait(20) == 0
        assert refused()
        assert not (gateway.state / "control.sock").exists()

    def test_drain_ends(self, start):
        gateway = start(config=config().replace("drain: 20s", "drain: 300ms"))
        slow = SlowTransfer(gateway)
        before = time.monotonic()
        gateway.send_signal(signal.SIGTERM)
        assert gateway.popen.wait(20) == 0
        assert 0.3 <= time.monotonic() - before < 10
        with pytest.raises((OSError, EOFError)):
            slow.finish()

    def test_twice_is_at_once(self, start):
        gateway = start()
        slow = SlowTransfer(gateway)
        gateway.send_signal(signal.SIGTERM)
        gateway.wait_log("drains, for 20000 ms at most")
        gateway.send_signal(signal.SIGTERM)
        assert gateway.popen.wait(10) == 0
        with pytest.raises((OSError, EOFError)):
            slow.finish()

    def test_a_storm_of_signals_ends_well(self, start):
        gateway = start()
        while gateway.is_running():
            gateway.send_signal(signal.SIGTERM)
            gateway.send_signal(signal.SIGHUP)
        assert gateway.popen.wait(10) == 0

    def test_no_process_is_left(self, start):
        gateway = start()
        pids = set(gateway.processes())
        assert len(pids) >= 3
        assert gateway.stop() == 0
        wait.until(lambda: not any(is_alive(p) for p in pids), "the end of all processes")


class TestRecords:
    def test_rotation(self, start):
        gateway = start()
        path = gateway.state / "records.jsonl"
        old = gateway.state / "records.1"

        def one(name):
            with IcapConnection(gateway.address()) as c:
                c.ask("REQMOD", gateway.url("echo"), b"x", fields=[f"X-Client-Username: {name}"])

        one("before")
        wait.until(lambda: path.stat().st_size > 0, "the first record")
        path.rename(old)
        gateway.send_signal(signal.SIGUSR1)
        gateway.wait_log("opened")
        wait.until(path.exists, "the new file")
        one("after")
        wait.until(lambda: path.stat().st_size > 0, "the second record")
        assert old.read_text().count("\n") == 1
