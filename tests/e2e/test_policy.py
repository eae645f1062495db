# SPDX-License-Identifier: Apache-2.0
"""The policy of the machine in the gateway: it is joined with what listeners demand, and a change ends connections that are
below it. It holds for connections that the gateway makes as well: to printers, their scanners, clamd."""
import os
import pathlib

import pytest

from testenv import Clamd, Way, build_dir, ipp, wait
from testenv.fake_printer import FakePrinter
from testenv.printing import PrintGateway, printer
from testenv.sallyport import run_command
from testenv.samples import EICAR

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a policy must belong to root")

CONFIG = """state: {folder}/state
policy: {policy}
listeners: [{{name: a, address: "127.0.0.1:1344"}}]
services: [{{name: e, path: /e, type: echo}}]
"""


def write(path, *lines):
    fresh = pathlib.Path(f"{path}.new")
    fresh.write_text("\n".join(["version 1", *lines, ""]))
    fresh.chmod(0o644)
    fresh.replace(path)


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "policy"
    write(path, "default min=none")
    return path


@pytest.fixture
def gateway(start_sallyport, policy, certificates):
    started = start_sallyport(tls=certificates.server, more=f"policy: {policy}\n")
    started.wait_ready()
    return started


def change(gateway, policy, *lines, done="without interruption"):
    """Another policy, which the gateway notices by itself; waits until the log says how it went."""
    before = gateway.log().count(done)
    write(policy, *lines)
    wait.until(lambda: gateway.log().count(done) > before, f"'{done}' in the log", 20)


def answers(way):
    try:
        return way.options("echo").status == 200
    except (AssertionError, ConnectionError, EOFError):
        return False


@pytest.fixture
def clear(gateway):
    return Way(gateway, "clear")


@pytest.fixture
def tls(gateway, certificates):
    return Way(gateway, "tls", certificates.ca)


class TestListeners:
    def test_only_tls_is_left(self, gateway, policy, clear, tls):
        assert answers(clear) and answers(tls)
        change(gateway, policy, "default min=none", "rule service=icap min=strong")
        assert not answers(clear) and answers(tls)
        assert clear.options("echo").status == 403
        record = gateway.wait_record(lambda r: r.get("error") == "policy")
        assert record["error_text"] == ("the connection is not protected; strong protection is required (line 3 of this machine's "
                                        "policy)")

    @pytest.mark.parametrize("line, holds", [
        ("rule proto=tcp port={port} min=integrity", True), ("rule proto=tcp port=1 min=integrity", False),
        ("rule proto=udp min=strong", False), ("rule to=192.0.2.0/24 min=strong", False),
        ("rule to=127.0.0.0/8 min=strong", True), ("rule service=ipp min=strong", False),
        ("interface no-such0 min=strong", True)])  # by which interface is not known
    def test_which_lines_hold(self, gateway, policy, clear, line, holds):
        change(gateway, policy, line.format(port=gateway.address()[1]))
        assert answers(clear) is not holds

    def test_a_known_peer(self, gateway, policy, tls):
        change(gateway, policy, "rule service=icap peer=dns:*.known.test")
        assert not answers(tls)
        gateway.wait_record(lambda r: r.get("error") == "policy" and "did not authenticate itself" in r["error_text"])


class TestOpenConnections:
    def test_those_below_the_new_one_end(self, gateway, policy, clear, tls):
        with clear.connect() as below, tls.connect() as above:
            for way, connection in ((clear, below), (tls, above)):
                assert connection.ask("OPTIONS", way.url("echo"), http=[], encapsulated="").status == 200
            before = len(gateway.records())
            change(gateway, policy, "default via=tls")
            below.sock.settimeout(10)
            below.expect_closed()
            record = gateway.wait_record(lambda r: r.get("error") == "policy", since=before)
            assert "not wanted here" in record["error_text"] and record["protection"]["how"] == "none"
            assert above.ask("OPTIONS", tls.url("echo"), http=[], encapsulated="").status == 200

    def test_in_the_middle_of_a_request(self, gateway, policy, clear):
        with clear.connect() as below:
            below.send(b"REQMOD " + clear.url("echo").encode() + b" ICAP/1.0\r\nHost: x\r\n")
            change(gateway, policy, "default min=weak")
            below.sock.settimeout(10)
            assert below.sock.recv(1) == b""
            gateway.wait_record(lambda r: r.get("error") == "policy")


REFUSED = "the connection is not protected; strong protection is required (line 2 of this machine's policy)"


def line_for(port, level="strong"):
    return f"rule proto=tcp port={port} min={level}"


class TestPrinting:
    """What goes from the gateway to others for what was printed."""

    @pytest.fixture
    def behind(self):
        with FakePrinter() as fake:
            yield fake

    @pytest.fixture
    def start(self, tmp_path, certificates, policy):
        started = []

        def begin(*printers):
            started.append(PrintGateway(tmp_path / "print", certificates, printers, more=f"policy: {policy}\n", threads=1))
            started[-1].wait_ready()
            return started[-1]

        yield begin
        for gateway in started:
            gateway.stop()

    def prints(self, gateway, document=b"a document"):
        return gateway.client("fake").print_job(document)

    def test_scanner(self, sallyport, start, policy, behind):
        """No document leaves for a scanner that is below it; nothing is printed that it did not see."""
        host, port = sallyport.address("clear")
        gateway = start(printer("fake", behind.uri(), require="[]", pipeline="[]", icap=f"icap://{host}:{port}/inspect"))
        assert self.prints(gateway).code == ipp.OK and len(behind.jobs) == 1
        for i in range(2):
            change(gateway, policy, line_for(port))
            shown = len(sallyport.records())
            answer = self.prints(gateway, b"another one %d" % i)
            assert answer.code == 0x0507, answer  # server-error-busy: later
            record = gateway.record_of(answer)
            assert (record["action"], record["cause"]) == ("error", "engine-down"), record
            assert record["error_text"].endswith(f": the scanner was not asked: refused to use {host}: {REFUSED}"), record
            trouble, = [t for t in gateway.status()["troubles"] if t["area"] == "engine icap"]
            assert trouble["code"] == "engine-down" and trouble["text"].endswith(REFUSED) and trouble["count"] == i + 1
            assert len(sallyport.records()) == shown and len(behind.jobs) == 1 + i
            change(gateway, policy, "default min=none")
            assert self.prints(gateway, b"a third one %d" % i).code == ipp.OK and len(behind.jobs) == 2 + i
        assert self.prints(gateway, EICAR).code != ipp.OK and len(behind.jobs) == 3

    def test_a_scanner_that_is_above(self, sallyport, start, policy, behind, certificates):
        _, port = sallyport.address("tls")
        gateway = start(printer("fake", behind.uri(), require="[]", pipeline="[]", icap=f"icaps://localhost:{port}/inspect",
                                icap_ca=certificates.ca))
        change(gateway, policy, line_for(port))
        assert self.prints(gateway).code == ipp.OK and len(behind.jobs) == 1
        change(gateway, policy, f"rule proto=tcp port={port} peer=dns:other.test")
        answer = self.prints(gateway, b"another one")
        assert answer.code != ipp.OK and len(behind.jobs) == 1
        assert "is not wanted here (line 2 of this machine's policy); it is " in gateway.record_of(answer)["error_text"]

    def test_printer(self, start, policy, behind):
        gateway = start(printer("fake", behind.uri(), require="[]", pipeline="[]"))
        assert self.prints(gateway).code == ipp.OK and len(behind.jobs) == 1
        change(gateway, policy, line_for(behind.port))
        heard = len(behind.heard)
        answer = self.prints(gateway)
        assert answer.code == 0x0502, answer  # server-error-service-unavailable
        assert gateway.record_of(answer)["error_text"].endswith(REFUSED)
        trouble, = [t for t in gateway.status()["troubles"] if t["area"] == "printer fake"]
        assert trouble["code"] == "policy" and trouble["text"].endswith(REFUSED)
        said = gateway.command_line("printers", "--state", gateway.state).stdout
        assert "(does not answer)" in said and f"why       refused to use 127.0.0.1: {REFUSED}" in said
        assert len(behind.heard) == heard
        change(gateway, policy, "default min=none")
        assert self.prints(gateway).code == ipp.OK and len(behind.jobs) == 2


class TestClamd:
    """Over TCP all is clear text; through its socket nothing leaves the machine."""

    @pytest.fixture(scope="class")
    def clamd(self, tmp_path_factory):
        with Clamd(tmp_path_factory.mktemp("clamd")) as daemon:
            yield daemon

    def start(self, start_sallyport, policy, address):
        gateway = start_sallyport(services=("  - {name: clam, type: inspect, path: /clam, pipeline: [clamav]}\n"),
                                  more=f"policy: {policy}\nengines: {{clamav: {{address: '{address}'}}}}\n", ready=False, threads=1)

        def is_known():
            try:
                return self.engine(gateway)["up"] or self.engine(gateway)["why"]
            except AssertionError:
                return False  # nobody answers yet

        wait.until(is_known, "a word on clamd", 60)
        return gateway

    def engine(self, gateway):
        return gateway.status()["inspection"]["clamd"]

    def ask(self, gateway, body=b"a file"):
        reply = Way(gateway, "clear").ask("RESPMOD", "clam", body)
        return gateway.wait_record(lambda r: r.get("id") == reply.field("X-Request-ID"))

    def asked(self, clamd):
        return clamd.log().count("Sallyport.Test")

    def test_over_tcp(self, start_sallyport, policy, clamd):
        write(policy, line_for(clamd.port))
        gateway = self.start(start_sallyport, policy, f"127.0.0.1:{clamd.port}")
        for i in range(2):
            engine = self.engine(gateway)
            assert not engine["up"] and engine["why"] == f"not asked: {REFUSED}"
            asked = self.asked(clamd)
            record = self.ask(gateway, b"while it must not be asked %d" % i)
            assert record["cause"] == "engine-down" and REFUSED in record["error_text"], record
            assert "the daemon cannot be used: not asked: " in gateway.log()
            assert [t for t in gateway.status()["troubles"] if t["area"] == "engine clamav" and t["text"].endswith(REFUSED)]
            assert self.asked(clamd) == asked
            change(gateway, policy, "default min=none")
            wait.until(lambda: self.engine(gateway)["up"], "clamd", 60)
            assert self.ask(gateway, b"while it may be asked %d" % i)["action"] == "pass"
            assert self.ask(gateway, EICAR)["cause"] == "infected"
            change(gateway, policy, line_for(clamd.port))
            wait.until(lambda: not self.engine(gateway)["up"], "the refusal", 10)

    def test_through_its_socket(self, start_sallyport, policy, clamd):
        write(policy, "rule service=clamd min=strong")
        gateway = self.start(start_sallyport, policy, clamd.socket_path)
        assert self.engine(gateway)["up"]


class TestWrongFiles:
    def test_a_change_that_is_wrong_keeps_the_old_one(self, gateway, policy, clear):
        change(gateway, policy, "default min=strong")
        change(gateway, policy, "default min=medium", done="the policy of the machine holds as before")
        assert ":2: 'medium' is no level" in gateway.log()
        assert not answers(clear)
        change(gateway, policy, "default min=none")
        wait.until(lambda: answers(clear), "an answer: each thread hears of it by itself", 10)

    def test_a_file_that_is_gone_keeps_the_old_one(self, gateway, policy, clear):
        change(gateway, policy, "default min=strong")
        policy.unlink()
        wait.until(lambda: "the policy of the machine holds as before" in gateway.log(), "the complaint", 20)
        assert not answers(clear)

    @pytest.mark.parametrize("mode, lines, text", [
        (0o666, ["default min=none"], "chmod go-w"), (0o644, ["default min=medium"], "policy:2: 'medium' is no level"),
        (0o644, ["exempt proto=tcp port=1344 level=none"], "uid= or service=")])
    def test_nothing_starts(self, tmp_path, policy, mode, lines, text):
        write(policy, *lines)
        policy.chmod(mode)
        config = tmp_path / "sallyport.yaml"
        config.write_text(CONFIG.format(folder=tmp_path, policy=policy))
        done = run_command(build_dir(), "check", "-c", config)
        assert done.returncode == 2 and text in done.stdout + done.stderr

    def test_a_file_of_somebody_else(self, tmp_path, policy):
        os.chown(policy, 1, 0)
        config = tmp_path / "sallyport.yaml"
        config.write_text(CONFIG.format(folder=tmp_path, policy=policy))
        done = run_command(build_dir(), "check", "-c", config)
        assert done.returncode == 2 and "must belong to root" in done.stdout + done.stderr

    def test_a_file_that_is_named_must_be_there(self, tmp_path):
        config = tmp_path / "sallyport.yaml"
        config.write_text(CONFIG.format(folder=tmp_path, policy=tmp_path / "nothing"))
        done = run_command(build_dir(), "check", "-c", config)
        assert done.returncode == 2 and "cannot read" in done.stdout + done.stderr
