# SPDX-License-Identifier: Apache-2.0
"""Whatever goes wrong with a scan, each of three services does what it says about that cause: block,
answer with an ICAP error, or let pass. One record says which it was, and none says that the file was
inspected and clean."""
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from testenv import Clamd, IcapConnection, Sallyport, Way, build_dir, samples, wait
from testenv.icap import http_request, http_response, request
from testenv.peers import missing
from testenv.sallyport import hold_memory, is_sanitized

ACTIONS = ("block", "error", "pass")
METHODS = ("REQMOD", "RESPMOD")
CAUSES = ("infected", "denied", "engine-down", "timeout", "too-large", "not-inspected", "worker-crash", "overload",
          "disk-full")
# Files that have SLOW in them keep a worker busy for minutes.
SLOW = b"take your time"
RULES = """\
rule Slow { strings: $a = "take your time" condition: $a and for all i in (0 .. 100000000000) : (i >= 0) }
rule Bad { strings: $a = "something bad" condition: $a }
"""
CONFIG = """\
state: {{state}}
threads: {threads}
sandbox: {sandbox}
log: {{level: debug}}
admin: {{address: "127.0.0.1:0"}}
listeners: [{{name: clear, address: "127.0.0.1:0"}}]
engines:
  yara: {{rules: ["{rules}"]}}
  cache: {{size: off}}
  workers: {{count: 1, grace: 100ms}}
{engines}
{more}
services:
  - {{name: control, type: inspect, path: /control}}
{services}
"""


def three(name, more=""):
    """Services NAME-block, NAME-error, NAME-pass, which do that for every cause. Blocking is what comes of
    itself: the first of them says nothing about it."""
    lines = []
    for action in ACTIONS:
        on = ", ".join(f"{c}: {action}" for c in CAUSES)
        on = f", on: {{{on}}}" if action != "block" else ""
        lines.append(f"  - {{name: {name}-{action}, type: inspect, path: /{name}-{action}{on}{more}}}\n")
    return "".join(lines)


def configuration(folder, services, engines="", more="", threads=1):
    rules = folder / "rules.yar"
    rules.write_text(RULES)
    sandbox = "best-effort" if is_sanitized(build_dir()) else "required"
    return CONFIG.format(threads=threads, sandbox=sandbox, rules=rules, engines=engines, more=more, services=services)


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A file system of 4 MiB for the spool."""
    folder = tmp_path_factory.mktemp("disk")
    run = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True,
                         text=True, check=False)
    if run.returncode:
        missing(f"cannot mount a tmpfs: {run.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def clamd(tmp_path_factory):
    with Clamd(tmp_path_factory.mktemp("clamd")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, disk, clamd):
    folder = tmp_path_factory.mktemp("gateway")
    services = (three("plain", ", memory-max: 64k, deadline: 60s") + three("hurried", ", deadline: 50ms")
                + three("narrow", ", body-max: 10k")
                + three("clam", ", pipeline: [clamav]")
                + three("clam-hurried", ", pipeline: [clamav], deadline: 300ms")
                + "  - {name: both, type: inspect, path: /both, pipeline: [yara, clamav], on: {engine-down: pass}}\n"
                + three("listed", ", rules: [{name: no, host: [denied.test], then: block}]"))
    engines = f'  clamav: {{address: "{clamd.socket_path}", check: 300ms, max-scan: 1m}}'
    config = configuration(folder, services, engines=engines,
                           more=f"spool: {{path: {disk}, memory: 64k, reserve: 0}}")
    with Sallyport(folder, config=config) as gateway:
        wait.until(lambda: engine_is_up(gateway), "clamd's self-test", 60)
        yield gateway


def engine_is_up(gateway):
    return gateway.status()["inspection"]["clamd"]["up"]


def busy(gateway, n=1):
    return sum(loop["workers_busy"] for loop in gateway.status()["loops"]) == n


class Case:
    """One file, sent to a service with |action|: checked when it is answered."""

    def __init__(self, gateway, service, action, method, body, fields=(), http=None):
        self.gateway, self.name, self.action, self.method, self.body = gateway, service, action, method, body
        self.fields, self.http = fields, http
        self.service = f"{service}-{action}"
        self.c = IcapConnection(gateway.address())

    def send(self):
        self.c.send(request(self.method, self.gateway.url(self.service), self.body, fields=self.fields, http=self.http))
        return self

    def expect(self, cause, verdicts=("error",)):
        reply = self.c.read_reply(self.method)
        self.c.expect_silence()
        self.c.close()
        self.check_reply(reply, cause)
        return self.check_record(reply, cause, verdicts)

    def check_reply(self, reply, cause):
        allowed = "Allow: 204" in self.fields
        if self.action == "block":
            assert (reply.status, reply.http_status()) == (200, 403), cause
            assert reply.http_field("Cache-Control") == "no-store"
            assert reply.field("X-Response-Info") == "Blocked"
            assert reply.field("X-Response-Desc") == cause
            assert reply.field("X-Infection-Found").startswith("Type=")
        elif self.action == "error":
            assert reply.status == (403 if cause in ("infected", "denied") else 503), cause
            assert reply.field("X-Response-Info") == "Error"
            assert not reply.heads
        else:
            assert reply.status == (204 if allowed else 200), cause
            assert allowed or reply.body == self.body
            assert cause in reply.field("X-Response-Desc")
            assert reply.field("X-Infection-Found") is None

    def check_record(self, reply, cause, verdicts):
        id_ = reply.field("X-Request-ID")
        record = self.gateway.wait_record(lambda r: r["id"] == id_)
        assert sum(r["id"] == id_ for r in self.gateway.records()) == 1
        assert record["cause"] == cause, record
        assert record["verdict"] in verdicts and record["verdict"] != "pass", record
        assert record["action"] == self.action, record
        assert record["service"] == self.service and record["icap_status"] == reply.status
        return record


@pytest.fixture(params=ACTIONS)
def action(request):
    return request.param


@pytest.fixture(params=METHODS)
def method(request):
    return request.param


@pytest.fixture
def counted(gateway, action):
    """The metrics say it, too: each test here adds what it saw to their counters."""
    def causes():
        return {k: v for k, v in gateway.metrics().items() if "cause=" in k and f"-{action}" in k}
    before = causes()
    yield
    after = causes()
    assert sum(after.values()) > sum(before.get(k, 0) for k in after), after


def assert_fine(gateway):
    """All this leaves nothing behind: the control service inspects."""
    way = Way(gateway, "clear")
    assert way.ask("RESPMOD", "control", b"fine").body == b"fine"
    reply = way.ask("RESPMOD", "control", b"something bad")
    assert reply.http_status() == 403 and reply.field("X-Response-Desc") == "infected"


@pytest.mark.usefixtures("counted")
class TestOneGateway:
    def test_infected(self, gateway, action, method):
        """No failure; for comparison: even let pass it is no verdict of pass."""
        Case(gateway, "plain", action, method, b"something bad").send().expect("infected", ["block"])

    def test_denied(self, gateway, action, method):
        head = http_request(b"POST" if method == "REQMOD" else b"GET", b"http://denied.test/x")
        http = [("req-hdr", head)] + ([("res-hdr", http_response(4))] if method == "RESPMOD" else [])
        Case(gateway, "listed", action, method, b"file", http=http).send().expect("denied", ["block"])

    @pytest.mark.parametrize("fields", [(), ("Allow: 204",)], ids=["200", "204"])
    def test_timeout(self, gateway, action, method, fields):
        """The worker is still at it."""
        Case(gateway, "hurried", action, method, SLOW, fields).send().expect("timeout")
        wait.until(lambda: busy(gateway, 0), "the end of the late worker", 10)
        assert_fine(gateway)

    def test_worker_crash(self, gateway, action, method):
        """Killed while it scans."""
        case = Case(gateway, "plain", action, method, SLOW).send()
        wait.until(lambda: busy(gateway), "a busy worker")
        [worker] = gateway.worker_pids()
        wait.until(lambda: cpu_time(worker) > 0, "a worker that works")
        os.kill(worker, signal.SIGKILL)
        assert case.expect("worker-crash")["error"] == "worker"
        assert worker not in gateway.worker_pids()
        assert_fine(gateway)

    def test_too_large(self, gateway, action, method):
        case = Case(gateway, "narrow", action, method, samples.noise(10_241)).send()
        case.expect("too-large", ["not-inspected"])
        Case(gateway, "narrow", "block", method, b"something bad" + bytes(10_000)).send().expect("infected", ["block"])

    CODINGS = [(b"x-unheard-of", b"a file"), (b"gzip", b"a file"), (b"gzip, gzip, gzip, gzip", b"a file"),
               (b"identity, br", b"\x00")]

    def test_not_inspected(self, gateway, action, method):
        """A Content-Encoding that nobody knows, or that the body has not."""
        cases = []
        for coding, body in self.CODINGS:
            field = b"Content-Encoding: " + coding
            head = http_request(b"POST", fields=[field]) if method == "REQMOD" else http_request()
            http = [("req-hdr", head)] + ([("res-hdr", http_response(fields=[field]))] if method == "RESPMOD" else [])
            cases.append(Case(gateway, "plain", action, method, body, http=http).send())
        for case in cases:
            case.expect("not-inspected", ["not-inspected"])

    def test_disk_full(self, gateway, action, method, disk):
        """Whatever the service lets pass has to be kept, too: without Allow: 204 it cannot be handed back,
        and is an error, not half of it."""
        body = samples.noise(6 * samples.MIB)
        record = Case(gateway, "plain", action, method, body, ["Allow: 204"]).send().expect("disk-full")
        assert record["error"] == "disk-full"
        if action == "pass":
            reply = Way(gateway, "clear").ask(method, "plain-pass", body)
            assert reply.status == 503 and not reply.heads
        assert list(disk.iterdir()) == []
        assert_fine(gateway)

    def test_clamd_too_large(self, gateway, action):
        """Over what clamd is trusted to look into (max-scan): an engine could not look."""
        body = bytes(samples.MIB + 1)
        record = Case(gateway, "clam", action, "RESPMOD", body, ["Allow: 204"]).send().expect(
            "not-inspected", ["not-inspected"])
        assert record["body_len"] == len(body)

    def test_clamd_hangs(self, gateway, action, method, clamd):
        clamd.pause()
        try:
            Case(gateway, "clam-hurried", action, method, b"a file %d" % time.monotonic_ns()).send().expect("timeout")
        finally:
            clamd.go_on()
        wait.until(lambda: engine_is_up(gateway), "clamd's return", 60)
        Case(gateway, "clam", "block", method, samples.EICAR).send().expect("infected", ["block"])


def cpu_time(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


class TestClamdDead:
    @pytest.fixture(scope="class")
    def dead(self, gateway, clamd):
        clamd.kill()
        wait.until(lambda: not engine_is_up(gateway), "the news in status", 20)
        yield
        clamd.restart()
        wait.until(lambda: engine_is_up(gateway), "clamd's return", 60)

    @pytest.mark.usefixtures("dead")
    @pytest.mark.parametrize("fields", [(), ("Allow: 204",)], ids=["200", "204"])
    def test_engine_down(self, gateway, action, method, fields):
        case = Case(gateway, "clam", action, method, samples.EICAR, fields).send()
        assert case.expect("engine-down")["error"] in ("engine-down", "upstream")
        with IcapConnection(gateway.address()) as c:
            assert c.ask("OPTIONS", gateway.url(f"clam-{action}"), http=[]).status == 503
        assert_fine(gateway)

    @pytest.mark.usefixtures("dead")
    def test_the_strictest_of_two_causes(self, gateway, method):
        """engine-down may pass, and this file is also not-inspected, which may not."""
        way = Way(gateway, "clear")
        assert way.ask(method, "both", b"a plain file").body == b"a plain file"
        field = b"Content-Encoding: x-unheard-of"
        http = [("req-hdr", http_request(b"POST", fields=[field] if method == "REQMOD" else []))]
        if method == "RESPMOD":
            http.append(("res-hdr", http_response(fields=[field])))
        reply = way.ask(method, "both", b"a file", http=http)
        assert (reply.http_status(), reply.field("X-Response-Desc")) == (403, "not-inspected")
        record = gateway.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))
        assert (record["verdict"], record["action"], record["cause"]) == ("error", "block", "not-inspected")
        assert record["causes"] == ["not-inspected", "engine-down"]
        assert "x-unheard-of" in record["error_text"] and "clamd" in record["error_text"]
        explained = gateway.command_line("status", "--id", record["id"], "--state", gateway.state).stdout
        assert "not-inspected" in explained and "also        engine-down" in explained


class TestOverload:
    """limits.scans: 1, and the one is taken for longer than limits.scan-wait."""

    @pytest.fixture(scope="class")
    def full(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("overload")
        config = configuration(folder, three("plain"), more="limits: {scans: 1}")
        with Sallyport(folder, config=config) as gateway:
            holder = Case(gateway, "plain", "block", "RESPMOD", SLOW).send()
            wait.until(lambda: gateway.status()["budgets"]["scans"]["used"] == 1, "the held scan")
            yield gateway
            holder.c.close()
            wait.until(lambda: gateway.status()["budgets"]["scans"]["used"] == 0, "the slot given back")

    @pytest.mark.parametrize("fields", [(), ("Allow: 204",)], ids=["200", "204"])
    def test_overload(self, full, action, method, fields):
        begun, bodies = time.monotonic(), [b"a file", samples.EICAR, samples.noise(300_000)]
        cases = [Case(full, "plain", action, method, body, fields).send() for body in bodies]
        for case in cases:
            assert case.expect("overload")["error"] == "overload"
        assert time.monotonic() - begun < 5  # long before the deadline of a minute

    def test_in_status(self, full):
        """The last errors, each once, with how often."""
        ids = []
        for _ in range(3):
            reply = Way(full, "clear").ask("RESPMOD", "plain-error", b"a file")
            assert reply.status == 503
            ids.append(reply.field("X-Request-ID"))
        text = full.command_line("status", "--state", full.state).stdout
        found = re.search(r"^trouble +(\d+)x overload, .*plain-error.* id (\w+)$", text, re.M)
        assert found and int(found[1]) >= 3 and found[2] == ids[-1], text


class TestMemory:
    """limits.memory is nearly used up: from nine tenths of it on no new body is taken. Requests that
    do not come to their end hold it."""

    @pytest.fixture(scope="class")
    def gateway(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("memory")
        config = configuration(folder, three("plain"), more="limits: {memory: 16m}\nicap: {body-timeout: 10m}")
        with Sallyport(folder, config=config) as gateway:
            yield gateway

    @pytest.fixture(scope="class")
    def begun(self, gateway):
        """What was taken before, but for its end."""
        cases = {(action, body): Case(gateway, "plain", action, "RESPMOD", body) for action in ACTIONS
                 for body in (b"something bad" + samples.noise(200_000), samples.noise(200_001))}
        for case in cases.values():
            case.c.send(request(case.method, gateway.url(case.service), case.body)[:-5])
        wait.until(lambda: used(gateway) > 1_000_000, "bodies in memory")
        return list(cases.values())

    @pytest.fixture(scope="class")
    def hungry(self, gateway, begun):  # noqa: ARG002: they come first
        held = hold_memory(gateway, 0.91, "control")
        yield gateway
        for c in held:
            c.close()
        wait.until(lambda: used(gateway) < samples.MIB, "the memory given back")
        assert_fine(gateway)

    @pytest.mark.parametrize("fields", [(), ("Allow: 204",)], ids=["200", "204"])
    def test_memory(self, hungry, action, method, fields):
        """Whatever is in it: nobody looks."""
        for body in (b"a file", samples.EICAR, b"something bad", samples.noise(300_000)):
            record = Case(hungry, "plain", action, method, body, fields).send().expect("overload")
            assert record["error"] == "memory" and "limits.memory" in record["error_text"]
        budget = hungry.status()["budgets"]["memory"]
        assert budget["peak"] <= budget["max"] and budget["used"] > 0.9 * budget["max"]

    def test_what_had_begun_is_inspected(self, hungry, begun):
        for case in begun:
            case.c.send(b"0\r\n\r\n")
            if case.body.startswith(b"something bad"):
                case.expect("infected", ["block"])
            else:
                assert case.c.read_reply("RESPMOD").body == case.body
                case.c.close()


def used(gateway):
    return gateway.status()["budgets"]["memory"]["used"]


class TestBrokenWorker:
    """The worker program is replaced by one that cannot work, and what ran of the old one dies: everything
    that needs it is engine-down, and /readyz says so."""

    @pytest.fixture(scope="class", params=["exits", "missing", "no program"])
    def broken(self, request, tmp_path_factory):
        build = tmp_path_factory.mktemp("build")
        shutil.copy(build_dir() / "sallyport", build)
        shutil.copy(build_dir() / "sallyport-worker", build)
        shutil.copytree(build_dir() / "meson-info", build / "meson-info")
        folder = tmp_path_factory.mktemp("broken")
        config = configuration(folder, three("plain", ", deadline: 100ms"))
        with Sallyport(folder, config=config, build=build) as gateway:
            assert_fine(gateway)
            break_worker(build / "sallyport-worker", request.param)
            # Files wait for the next worker, as long as their deadline allows.
            for pid in [*gateway.zygote_pids(), *gateway.worker_pids()]:
                os.kill(pid, signal.SIGKILL)
            wait.until(lambda: gateway.admin("/readyz")[0] == 503, "the news at /readyz", 20)
            yield gateway

    def test_engine_down(self, broken, action, method):
        for body in (b"a file", samples.EICAR):
            Case(broken, "plain", action, method, body).send().expect("engine-down")
        with IcapConnection(broken.address()) as c:
            assert c.ask("OPTIONS", broken.url(f"plain-{action}"), http=[]).status == 503

    @pytest.mark.parametrize("how", ["exits", "missing", "no program"])
    def test_start(self, tmp_path, how):
        """A gateway that never had one does not start."""
        build = tmp_path / "build"
        build.mkdir()
        shutil.copy(build_dir() / "sallyport", build)
        shutil.copytree(build_dir() / "meson-info", build / "meson-info")
        break_worker(build / "sallyport-worker", how)
        gateway = Sallyport(tmp_path, config=configuration(tmp_path, three("plain")), build=build, ready=False)
        try:
            wait.until(lambda: not gateway.is_running(), "the refusal", 20)
            assert gateway.popen.returncode not in (0, None)
            assert "cannot start" in gateway.log() and "worker" in gateway.log()
            assert gateway.records() == []
        finally:
            gateway.stop()


def break_worker(path, how):
    path.unlink(missing_ok=True)
    if how == "exits":
        shutil.copy("/bin/false", path)
    elif how == "no program":
        path.write_bytes(b"\x7fELF, but not for long")
        path.chmod(0o755)
