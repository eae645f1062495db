# SPDX-License-Identifier: Apache-2.0
"""The engine clamav with the real daemon: files of every size that its limits care about, what it
cannot look into, its death and return, a new database under load; over its Unix socket by descriptor
and over TCP by stream."""
import gzip
import io
import re
import signal
import socket
import threading
import zipfile

import pytest

from test_content import encoded, form, upload
from testenv import Clamd, Sallyport, Way, samples, wait
from testenv.icap import request

EICAR = samples.EICAR
MIB = samples.MIB
CONFIG = """\
state: {{state}}
threads: 2
sandbox: {sandbox}
admin: {{address: 127.0.0.1:0}}
limits: {{memory: 2g}}
listeners: [{{name: clear, address: "127.0.0.1:0"}}]
engines:
  clamav: {{address: "{address}", check: 300ms, {more}}}
services:
  - {{name: inspect, type: inspect, path: /inspect, pipeline: [clamav]}}
  - {{name: all, type: inspect, path: /all, pipeline: [yara, filetype, clamav]}}
  - {{name: open, type: inspect, path: /open, pipeline: [clamav], on: {{engine-down: pass, not-inspected: pass}}}}
  - {{name: strict, type: inspect, path: /strict, pipeline: [clamav], on: {{engine-down: error}}}}
"""


def start(folder, clamd, tcp=False, more="max-scan: 400m", ready=True):
    address = f"127.0.0.1:{clamd.port}" if tcp else clamd.socket_path
    config = CONFIG.format(address=address, more=more, sandbox="required")
    return Sallyport(folder, config=config, ready=ready)


@pytest.fixture(scope="module")
def clamd(tmp_path_factory):
    """Looks into everything up to 400 MiB."""
    with Clamd(tmp_path_factory.mktemp("clamd"), MaxFileSize="400M", MaxScanSize="400M", StreamMaxLength="400M",
               AlertExceedsMax="yes") as daemon:
        yield daemon


@pytest.fixture(scope="module", params=["descriptor", "stream"])
def gateway(request, tmp_path_factory, clamd):
    with start(tmp_path_factory.mktemp("gateway"), clamd, tcp=request.param == "stream") as gateway:
        wait.until(lambda: engine(gateway)["up"], "clamd's self-test", 60)
        gateway.transport = request.param
        yield gateway


# What takes long, and differs little between them.
ONE_TRANSPORT = pytest.mark.parametrize("gateway", ["descriptor", pytest.param("stream", marks=pytest.mark.soak)],
                                        indirect=True)


def engine(gateway):
    return gateway.status()["inspection"]["clamd"]


def istag(gateway, service="inspect"):
    return next(s["istag"] for s in gateway.status()["services"] if s["name"] == service)


def ask(gateway, service, body, **more):
    reply = Way(gateway, "clear").ask("RESPMOD", service, body, **more)
    return reply, gateway.wait_record(lambda r: r.get("id") == reply.field("X-Request-ID"))


def assert_blocked(reply, record, cause="infected"):
    assert reply.status == 200 and reply.http_status() == 403, record
    assert (record["action"], record["cause"]) == ("block", cause), record


def assert_passed(reply, record, body):
    assert reply.status == 204 or reply.body == body
    assert (record["verdict"], record["action"]) == ("pass", "pass"), record


def padded(size):
    return EICAR + bytes(size - len(EICAR))


class TestFiles:
    def test_the_way_is_as_configured(self, gateway):
        assert engine(gateway)["transport"] == gateway.transport

    @pytest.mark.parametrize("size", [len(EICAR), 1024, 65536, 30 * MIB])
    def test_infected(self, gateway, size):
        reply, record = ask(gateway, "inspect", padded(size))
        assert_blocked(reply, record)
        assert record["findings"][0]["engine"] == "clamav"
        assert "EICAR" in record["findings"][0]["name"]

    @pytest.mark.slow
    @ONE_TRANSPORT
    def test_300_mib(self, gateway):
        assert_blocked(*ask(gateway, "inspect", padded(300 * MIB)))

    @pytest.mark.parametrize("size", [1, 1024, 65536, 10 * MIB])
    def test_clean(self, gateway, size):
        body = samples.noise(size)
        assert_passed(*ask(gateway, "inspect", body), body)

    def test_empty(self, gateway):
        reply, record = ask(gateway, "inspect", b"")
        assert record["action"] == "pass"

    def test_compressed_for_the_way(self, gateway):
        body = gzip.compress(padded(1000))
        reply, record = ask(gateway, "inspect", body, http=[
            ("req-hdr", b"GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            ("res-hdr", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")])
        assert_blocked(reply, record)

    @pytest.mark.parametrize("service", ["inspect", "all"])
    def test_a_part_of_a_form(self, gateway, service):
        """EICAR counts only where a file begins: the form as a whole would not do."""
        sized = b"\x7fNotYara" + samples.noise(1000)
        kind, body = form([("a", None, None, b"Bob"), ("b", "clean.bin", None, sized), ("c", "x.bin", None, padded(99))])
        reply = Way(gateway, "clear").ask("REQMOD", service, body, http=upload(kind, body))
        record = gateway.wait_record(lambda r: r.get("id") == reply.field("X-Request-ID"))
        assert_blocked(reply, record)
        assert any("part 3" in f.get("where", "") for f in record["findings"]), record

    @pytest.mark.slow
    @ONE_TRANSPORT
    def test_ten_thousand_parts(self, gateway):
        """Each of them a file of its own for clamd."""
        parts = [(f"f{i}", f"{i}.txt", "text/plain", b"part %d" % i) for i in range(10_000)]
        for last, cause in ((b"the last", None), (EICAR, "infected")):
            parts[9999] = ("last", "last.txt", "text/plain", last)
            kind, body = form(parts)
            with Way(gateway, "clear").connect(timeout=60) as c:
                reply = c.ask("REQMOD", gateway.url("inspect"), body, http=upload(kind, body))
            record = gateway.wait_record(lambda r, reply=reply: r.get("id") == reply.field("X-Request-ID"))
            assert record["objects"] == 10_000
            if cause:
                assert_blocked(reply, record, cause)
                assert any("part 10000" in f.get("where", "") for f in record["findings"]), record
            else:
                assert_passed(reply, record, body)

    def test_many_at_once(self, gateway):
        failures = []

        def run(seed):
            for i in range(20):
                infected = (seed + i) % 3 == 0
                body = (EICAR if infected else b"") + samples.noise(5000, seed=seed * 100 + i)
                reply, record = ask(gateway, "all", body)
                if (reply.status == 200 and reply.http_status() == 403) != infected:
                    failures.append((seed, i, record))
        threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
        [t.start() for t in threads]
        [t.join(60) for t in threads]
        assert not failures


class WithoutDescriptors(threading.Thread):
    """A Unix socket in front of clamd's, as a relay in between: bytes go through, descriptors do not."""

    def __init__(self, path, clamd):
        super().__init__(daemon=True)
        self.clamd, self.listener = clamd, socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(64)

    def run(self):
        while True:
            try:
                ours = self.listener.accept()[0]
            except OSError:
                return
            theirs = self.clamd.connect(seconds=60)
            for a, b in ((ours, theirs), (theirs, ours)):
                threading.Thread(target=self.copy, args=(a, b), daemon=True).start()

    @staticmethod
    def copy(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class TestTransport:
    def test_descriptors_that_do_not_arrive(self, tmp_path, clamd):
        """The self-test sees it, and files go as streams over the same socket."""
        path = tmp_path / "relay.sock"
        config = CONFIG.format(address=path, more="max-scan: 400m", sandbox="required")
        with WithoutDescriptors(path, clamd), Sallyport(tmp_path / "gateway", config=config) as gateway:
            wait.until(lambda: engine(gateway)["up"], "clamd's self-test", 60)
            assert engine(gateway)["transport"] == "stream"
            for size in (len(EICAR), 30 * MIB):
                assert_blocked(*ask(gateway, "inspect", padded(size)))
            body = samples.noise(100_000)
            assert_passed(*ask(gateway, "inspect", body), body)


class TestTogether:
    def test_equal_files_at_once_are_scanned_once(self, tmp_path, clamd):
        """By whichever loop they came in; all have the one verdict."""
        config = CONFIG.format(address=clamd.socket_path, more="max-scan: 1m", sandbox="required")
        with Sallyport(tmp_path / "gateway", config=config.replace("300ms", "15s")) as gateway:
            wait.until(lambda: engine(gateway)["up"], "clamd's self-test", 60)
            for body in (padded(5000), samples.noise(5000)):
                before, way, connections = engine(gateway)["files"], Way(gateway, "clear"), []
                clamd.pause()
                try:
                    for _ in range(16):
                        connections.append(way.connect())
                        connections[-1].send(request("RESPMOD", way.url("inspect"), body))
                    wait.until(lambda: gateway.status()["budgets"]["scans"]["used"] == 16, "sixteen open scans")
                    assert sum(loop["open_transactions"] > 0 for loop in gateway.status()["loops"]) == 2
                    text = gateway.command_line("status", "--state", gateway.state).stdout
                    assert re.search(r"^clamav .*; busy 1, waiting 0,", text, re.M), text
                finally:
                    clamd.go_on()
                for c in connections:
                    reply = c.read_reply("RESPMOD")
                    assert reply.http_status() == 403 if body.startswith(EICAR) else reply.body == body
                    c.close()
                assert engine(gateway)["files"] == before + 1


class TestLimits:
    """clamd says OK to what is larger than its own limits: that is not clean."""

    def test_the_self_test_finds_clamds_own_limits(self, tmp_path):
        with Clamd(tmp_path / "clamd", MaxFileSize="8M", MaxScanSize="8M", StreamMaxLength="8M") as clamd, \
                start(tmp_path / "gateway", clamd) as gateway:
            wait.until(lambda: engine(gateway)["up"], "clamd's self-test", 60)
            assert engine(gateway)["max_scan"] <= 8 * MIB
            assert "MaxFileSize" in gateway.log()
            for service, passes in (("inspect", False), ("open", True)):
                reply, record = ask(gateway, service, padded(30 * MIB))
                assert record["verdict"] == "not-inspected", record
                assert (record["action"] == "pass") == passes
            assert_blocked(*ask(gateway, "inspect", padded(1 * MIB)))

    def test_limits_that_clamd_tells(self, tmp_path):
        with Clamd(tmp_path / "clamd", MaxFileSize="400M", MaxScanSize="400M", StreamMaxLength="400M",
                   MaxFiles="2", AlertExceedsMax="yes") as clamd, start(tmp_path / "gateway", clamd) as gateway:
            wait.until(lambda: engine(gateway)["up"], "clamd's self-test", 60)
            archive = io.BytesIO()
            with zipfile.ZipFile(archive, "w") as z:
                for i in range(20):
                    z.writestr(f"{i}.bin", samples.noise(100, seed=i))
            reply, record = ask(gateway, "inspect", archive.getvalue())
            assert_blocked(reply, record, "not-inspected")
            assert "Limits" in record["error_text"], record

    def test_bombs(self, tmp_path):
        """One that clamd stops at, and one that never gets there as a whole."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as z:
            z.writestr("zeros", bytes(100 * MIB))
        with Clamd(tmp_path / "clamd", MaxFileSize="20M", MaxScanSize="20M", StreamMaxLength="20M") as clamd, \
                start(tmp_path / "gateway", clamd, more="max-scan: 20m") as gateway:
            wait.until(lambda: engine(gateway)["up"], "clamd's self-test", 60)
            reply, record = ask(gateway, "inspect", archive.getvalue())
            assert_blocked(reply, record, "not-inspected")
            assert "Heuristics.Limits.Exceeded" in record["error_text"], record
            body = gzip.compress(bytes(100 * MIB))
            reply, record = ask(gateway, "inspect", body, http=encoded("gzip", body))
            assert_blocked(reply, record, "not-inspected")
            assert "decompresses to more than" in record["error_text"], record
            reply, record = ask(gateway, "open", archive.getvalue())
            assert (record["verdict"], record["action"]) == ("not-inspected", "pass"), record

    @pytest.mark.parametrize("how", ["descriptor", "stream"])
    def test_a_daemon_that_does_not_tell(self, tmp_path, how):
        """Debian's clamd.conf: OK to an archive that is nested too deep. So no OK of it counts, until it tells."""
        nest = b"nothing in here"
        for _ in range(30):
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w") as z:
                z.writestr("inner.zip", nest)
            nest = out.getvalue()
        with Clamd(tmp_path / "clamd", AlertExceedsMax="") as clamd, \
                start(tmp_path / "gateway", clamd, tcp=how == "stream", more="max-scan: 1m") as gateway:
            wait.until(lambda: engine(gateway)["up"], "clamd's self-test", 60)
            assert engine(gateway)["transport"] == how
            assert engine(gateway)["silent_limits"] and not engine(gateway)["believed"]
            assert gateway.metrics()["sallyport_clamd_silent_limits"] == 1
            assert "AlertExceedsMax" in gateway.log()
            assert "CALLS CLEAN" in gateway.command_line("status", "--state", gateway.state).stdout
            before = istag(gateway)
            for body in (nest, b"a harmless file"):
                reply, record = ask(gateway, "inspect", body)
                assert_blocked(reply, record, "not-inspected")
                assert "AlertExceedsMax" in record["error_text"]
            assert_blocked(*ask(gateway, "inspect", EICAR))
            clamd.restart(AlertExceedsMax="yes")
            wait.until(lambda: engine(gateway)["up"] and not engine(gateway)["silent_limits"], "the second self-test", 60)
            assert istag(gateway) != before
            assert gateway.metrics()["sallyport_clamd_silent_limits"] == 0
            assert_passed(*ask(gateway, "inspect", b"a harmless file"), b"a harmless file")
            assert_blocked(*ask(gateway, "inspect", nest), "not-inspected")

    def test_a_daemon_that_does_not_tell_and_is_believed(self, tmp_path):
        with Clamd(tmp_path / "clamd", AlertExceedsMax="") as clamd, \
                start(tmp_path / "gateway", clamd, more="max-scan: 1m, silent-limits: insecure-accept") as gateway:
            wait.until(lambda: engine(gateway)["up"], "clamd's self-test", 60)
            assert engine(gateway)["silent_limits"] and engine(gateway)["believed"]
            assert_passed(*ask(gateway, "inspect", b"a harmless file"), b"a harmless file")
            assert_blocked(*ask(gateway, "inspect", EICAR))
            assert "silent-limits" in gateway.log()

    def test_larger_than_max_scan(self, tmp_path, clamd):
        with start(tmp_path / "gateway", clamd, more="max-scan: 1m") as gateway:
            wait.until(lambda: engine(gateway)["up"], "clamd's self-test", 60)
            reply, record = ask(gateway, "inspect", bytes(2 * MIB))
            assert record["verdict"] == "not-inspected" and record["action"] == "block", record

    def test_a_daemon_without_signatures_is_down(self, tmp_path):
        clamd = Clamd(tmp_path / "clamd")
        (clamd.database / "test.ndb").write_text("Nothing:0:*:00112233445566778899aabbccddeeff00\n")
        clamd.restart()
        with clamd, start(tmp_path / "gateway", clamd, ready=False) as gateway:
            wait.until(lambda: "clamd" in gateway.log() and not engine(gateway)["up"] and engine(gateway)["why"],
                       "a complaint", 60)
            assert_blocked(*ask(gateway, "inspect", b"clean"), "engine-down")


class TestDeath:
    @pytest.fixture
    def pair(self, tmp_path):
        with Clamd(tmp_path / "clamd") as clamd, start(tmp_path / "gateway", clamd, more="max-scan: 1m") as gateway:
            wait.until(lambda: engine(gateway)["up"], "clamd's self-test", 60)
            yield clamd, gateway

    def test_each_service_does_what_it_says(self, pair):
        clamd, gateway = pair
        clamd.kill()
        assert_blocked(*ask(gateway, "inspect", b"clean 1"), "engine-down")
        reply, record = ask(gateway, "open", b"clean 2")
        assert record["action"] == "pass" and record["verdict"] == "error" and record["cause"] == "engine-down"
        reply, record = ask(gateway, "strict", b"clean 3")
        assert reply.status == 503 and record["action"] == "error"
        wait.until(lambda: not engine(gateway)["up"], "the news in status")
        assert Way(gateway, "clear").options("inspect").status == 503
        clamd.restart()
        wait.until(lambda: engine(gateway)["up"], "clamd's return", 60)
        assert_passed(*ask(gateway, "inspect", b"clean 1"), b"clean 1")
        assert_blocked(*ask(gateway, "inspect", padded(200)))

    def test_a_daemon_that_hangs_costs_its_deadline(self, tmp_path, pair):
        clamd, gateway = pair
        config = gateway.config.read_text().replace("pipeline: [clamav]}", "pipeline: [clamav], deadline: 1s}", 1)
        gateway.config.write_text(config)
        gateway.send_signal(signal.SIGHUP)
        wait.until(lambda: "reload: done" in gateway.log(), "the end of the reload", 30)
        clamd.pause()
        try:
            reply, record = ask(gateway, "inspect", b"clean 9")
            assert reply.http_status() == 403 and record["cause"] in ("timeout", "engine-down"), record
        finally:
            clamd.go_on()
        wait.until(lambda: engine(gateway)["up"], "clamd's return", 60)
        assert_passed(*ask(gateway, "inspect", b"clean 9"), b"clean 9")

    def new_database(self, clamd, gateway, load):
        """A file that passed is blocked as soon as the ISTag tells of the new database."""
        body = b"a document that nobody knew to be bad until now"
        assert_passed(*ask(gateway, "inspect", body), body)
        assert ask(gateway, "inspect", body)[1]["cached"]
        old = Way(gateway, "clear").options("inspect").field("ISTag")
        clamd.add_signature("Test.Late", b"nobody knew to be bad")
        load()

        def new_tag():
            reply = Way(gateway, "clear").options("inspect")
            return reply.status == 200 and reply.field("ISTag") != old
        wait.until(new_tag, "another ISTag", 60)
        reply, record = ask(gateway, "inspect", body)
        assert_blocked(reply, record)
        assert "cached" not in record and "Test.Late" in record["findings"][0]["name"]

    def test_a_restart_with_a_new_database(self, pair):
        self.new_database(*pair, pair[0].restart)

    def test_a_new_database_that_the_version_does_not_tell(self, pair):
        """Signatures of one's own: whoever changes them says so."""
        clamd, gateway = pair

        def load():
            clamd.reload()
            done = gateway.command_line("cache", "clear", "--state", gateway.state)
            assert done.returncode == 0, done.stderr
        self.new_database(clamd, gateway, load)

    def test_death_and_reload_under_load(self, pair):
        """Every transaction has its answer, and none of them is wrong: what is infected is blocked, and what is clean
        passes, or is blocked because nobody could look at it."""
        clamd, gateway = pair
        stop, failures, counts, clean = threading.Event(), [], {"asked": 0}, {}

        def run(seed):
            i = 0
            while not stop.is_set():
                i += 1
                infected = i % 4 == 0  # and no two files are equal
                body = (EICAR if infected else b"") + b"%d %d" % (seed, i) * 50
                try:
                    reply = Way(gateway, "clear").ask("RESPMOD", "inspect", body)
                except Exception as error:  # noqa: BLE001: whatever it is, it is a lost transaction
                    failures.append(repr(error))
                    return
                counts["asked"] += 1
                blocked = reply.status == 200 and reply.http_status() == 403
                if infected and not blocked:
                    failures.append(f"passed: {reply.fields}")
                if not infected and not blocked and reply.body != body:
                    failures.append(f"neither passed nor blocked: {reply} {reply.fields}")
                if not infected:
                    clean[reply.field("X-Request-ID")] = blocked
        threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
        [t.start() for t in threads]


        def go_on(n=40):
            enough = counts["asked"] + n
            wait.until(lambda: counts["asked"] >= enough or failures, "more transactions", 60)
        for i in range(3):
            go_on()
            clamd.kill()
            wait.until(lambda: not engine(gateway)["up"], "the news", 60)
            go_on()
            clamd.restart()
            wait.until(lambda: engine(gateway)["up"], "clamd's return", 60)
            go_on()
            clamd.add_signature(f"Test.More{i}", b"some other bytes %d" % i)
            clamd.reload()
            go_on()
        stop.set()
        [t.join(60) for t in threads]
        assert not failures, failures[:3]
        assert counts["asked"] > 50
        def seen():
            return {r["id"]: r for r in gateway.records() if r["id"] in clean}
        wait.until(lambda: len(seen()) == len(clean), "the records")
        wrong = [r for r in seen().values() if (r["action"], r["verdict"], r.get("cause"), r.get("causes")) != (
            ("block", "error", "engine-down", None) if clean[r["id"]] else ("pass", "pass", None, None))]
        assert not wrong, (len(wrong), wrong[:3])
        assert set(clean.values()) == {True, False}
        passed = [r for r in gateway.records() if r.get("service") == "inspect" and r.get("action") == "pass"]
        assert all(r["verdict"] == "pass" for r in passed)
