# SPDX-License-Identifier: Apache-2.0
"""What operators see of printing, printers that are reached within TLS, and scanners on other machines."""
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import types

import pytest

from testenv import ipp, wait
from testenv.certs import Certificates
from testenv.cups import client_environment, ipptool
from testenv.fake_printer import FakePrinter, http
from testenv.printing import PrintGateway, printer
from testenv.samples import EICAR
from testenv.wrong_printer import WrongPrinter
from testenv.wrong_server import Stub
from test_ipp_gateway import PDF


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, cupsd):
    printers = [printer("acct", cupsd.uri(), require="[]", formats="[application/pdf, image/*]"),
                printer("secure", cupsd.uri(), require="[tls, digest]"),
                printer("gone", "ipp://127.0.0.1:9/ipp/print", require="[]")]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers) as running:
        yield running


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "doc.pdf"
    path.write_bytes(PDF)
    return path


def print_to(uri, path, folder):
    return ipptool(uri, "print-job.test", "-tI", file=path, env=client_environment(folder / "home"))


class TestPrinters:
    def ask(self, gateway, *arguments):
        return gateway.command_line("printers", "--state", gateway.state, *arguments)

    def test_all(self, gateway, cupsd):
        done = self.ask(gateway, "--json")
        assert done.returncode == 0, done.stderr
        found = {p["name"]: p for p in json.loads(done.stdout)["printers"]}
        assert {n: p["answers"] for n, p in found.items()} == {"acct": True, "secure": True, "gone": False}
        assert found["secure"]["require"] == ["tls", "digest"] and found["acct"]["backend"] == cupsd.uri()
        assert len({p["uuid"] for p in found.values()}) == 3
        text = self.ask(gateway).stdout
        assert "acct" in text and "(does not answer)" in text and text.count("requires  nothing") == 2

    @pytest.mark.parametrize("name, air", [("acct", "none"), ("secure", "username,password"), ("gone", "none")])
    def test_txt(self, gateway, name, air):
        """What is announced is what the listeners are: no AUTH list in rp, formats that are printed, how to come in."""
        done = self.ask(gateway, name, "--txt")
        assert done.returncode == 0, done.stderr
        lines = [line for line in done.stdout.splitlines() if "=" in line]
        txt = dict(line.split("=", 1) for line in lines)
        assert lines[0] == "txtvers=1" and txt["rp"] == f"ipp/{name}" and txt["air"] == air and txt["TLS"] == "1.3"
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", txt["UUID"])
        assert all(len(line.encode()) <= 255 for line in lines) and "AUTH" not in done.stdout
        if name == "acct":
            assert set(txt["pdl"].split(",")) <= {"application/pdf"} | {f for f in txt["pdl"].split(",") if f.startswith("image/")}
            assert txt["ty"] == "Local Raw Printer"
        if name == "gone":
            assert "pdl" not in txt and txt["ty"] == "gone"

    @pytest.mark.parametrize("arguments, code, complaint", [
        (["nowhere"], 1, "no such printer"), (["--txt", "--json"], 2, "do not go together"), (["a", "b"], 2, "unexpected")])
    def test_wrong(self, gateway, arguments, code, complaint):
        done = self.ask(gateway, *arguments)
        assert done.returncode == code and complaint in done.stderr


    def test_silent_printers_hold_up_no_answer(self, tmp_path, certificates, cupsd):
        """Who asks waits for five seconds at the control socket, however long printers may take to print."""
        with contextlib.ExitStack() as stack:
            deaf = [stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64)).getsockname()[1] for _ in range(3)]
            printers = [printer(f"deaf{i}", f"ipp://127.0.0.1:{port}/ipp/print", require="[]", backend_timeout="60s")
                        for i, port in enumerate(deaf)]
            printers.insert(1, printer("acct", cupsd.uri(), require="[]"))
            gateway = stack.enter_context(PrintGateway(tmp_path, certificates, printers))
            done = self.ask(gateway, "--json")
            assert done.returncode == 0, done.stderr
            found = [(p["name"], p["answers"]) for p in json.loads(done.stdout)["printers"]]
            assert found == [("deaf0", False), ("acct", True), ("deaf1", False), ("deaf2", False)]
            done = self.ask(gateway, "deaf2")
            assert done.returncode == 0 and "(does not answer)" in done.stdout

    def test_a_slow_printer_is_not_stopped_for_others(self, tmp_path, certificates):
        """Operators wait less than CUPS' clients do: a printer that was too slow for them is in the next list."""
        go = threading.Event()

        def talk(peer, fake, head):
            heard = fake.hear(peer, head)
            go.wait(60)
            return peer.send(http(fake.reply(heard))) or True

        with FakePrinter() as fake:
            fake.talk_now = talk
            printers = [printer("slow", fake.uri(), require="[]")]
            with PrintGateway(tmp_path / "gateway", certificates, printers) as own:
                try:
                    assert "(does not answer)" in self.ask(own).stdout
                finally:
                    go.set()
                answer = own.client("slow").ask(ipp.CUPS_GET_DEFAULT)
                assert answer.message.get("printer-state", ipp.PRINTER) == 3

    def test_many_silent_printers(self, tmp_path, certificates):
        """Those for which no time is left are not called silent."""
        with socket.create_server(("127.0.0.1", 0), backlog=512) as deaf:
            uri = f"ipp://127.0.0.1:{deaf.getsockname()[1]}/ipp/print"
            printers = [printer(f"p{i}", uri, require="[]", backend_timeout="60s") for i in range(70)]
            with PrintGateway(tmp_path, certificates, printers) as gateway:
                done = self.ask(gateway, "--json")
                assert done.returncode == 0, done.stderr
                assert [p["answers"] for p in json.loads(done.stdout)["printers"]] == [False] * 64 + [None] * 6
                assert self.ask(gateway).stdout.count("(was not asked: too many others do not answer)") == 6


class TestJobs:
    def test_list(self, gateway, document, tmp_path):
        """How each was made, where it is, and why it ended."""
        assert print_to(gateway.uri("acct"), document, tmp_path).returncode == 0
        done = gateway.command_line("status", "jobs", "--state", gateway.state, "--json", "--max", 1)
        job, = json.loads(done.stdout)["jobs"]
        assert job["stage"] == "printer" and job["printer_id"] > 0 and job["channel"] == "clear"
        assert (job["auth"], job["printer"], job["octets"]) == ("claimed", "acct", len(PDF))
        assert gateway.wait_record(lambda r: r["id"] == job["record"])["print"]["job"] == job["id"]
        text = gateway.command_line("status", "jobs", "--state", gateway.state, "--printer", "acct").stdout
        assert f"{job['id']:6}  acct" in text
        none = gateway.command_line("status", "jobs", "--state", gateway.state, "--printer", "gone")
        assert none.returncode == 0 and "no jobs are known" in none.stdout

    @pytest.mark.parametrize("arguments, complaint", [
        (["--max", "0"], "--max takes 1..1000"), (["--id", "x"], "goes without")])
    def test_wrong(self, gateway, arguments, complaint):
        done = gateway.command_line("status", "jobs", "--state", gateway.state, *arguments)
        assert done.returncode == 2 and complaint in done.stderr


class TestStatus:
    """`sallyport status`, of printers."""

    @staticmethod
    def said(gateway):
        return {p["name"]: p for p in gateway.status()["printers"]}

    @staticmethod
    def line(gateway, name):
        text = gateway.command_line("status", "--state", gateway.state).stdout
        found, = re.findall(rf"^printer   {name} .*$", text, re.M)
        return found

    def test_what_it_did(self, gateway, cupsd, document, tmp_path):
        before = self.said(gateway)["acct"]
        assert (before["path"], before["require"], before["backend"]) == ("/ipp/acct", [], cupsd.uri())
        assert print_to(gateway.uri("acct"), document, tmp_path).returncode == 0
        (tmp_path / "eicar.pdf").write_bytes(PDF + EICAR)
        assert print_to(gateway.uri("acct"), tmp_path / "eicar.pdf", tmp_path).returncode != 0
        after = self.said(gateway)["acct"]
        grown = {k: after[k] - before[k] for k in ("jobs", "documents", "refused", "errors")}
        assert grown == {"jobs": 1, "documents": 2, "refused": 1, "errors": 0}
        assert {k: n - before["actions"][k] for k, n in after["actions"].items()} == {"pass": 1, "block": 1, "error": 0}
        assert after["requests"] >= before["requests"] + 2 and after["bytes"] > before["bytes"] + 2 * len(PDF)
        assert after["answers"] is True and after["answered"] and "filetype" in after["engines"]
        assert sum(loop["print_requests"] for loop in gateway.status()["loops"]) >= 2
        line = self.line(gateway, "acct")
        assert f"jobs {after['jobs']}; documents passed {after['actions']['pass']}, blocked " in line
        assert "requires nothing; engines " in line and line.endswith(f"{cupsd.uri()} answers"), line

    def test_whether_it_answers(self, gateway, document, tmp_path):
        secure = self.said(gateway)["secure"]
        assert secure["require"] == ["tls", "digest"] and "requires tls, digest; " in self.line(gateway, "secure")
        print_to(gateway.uri("gone"), document, tmp_path)
        gone = self.said(gateway)["gone"]
        assert (gone["answers"], gone["answered"]) == (False, None) and gone["failed"] and gone["errors"] > 0
        assert self.line(gateway, "gone").endswith("DOES NOT ANSWER")

    def test_over_a_reload(self, tmp_path, certificates):
        """What is known of a printer is not forgotten when the configuration is read again."""
        with FakePrinter() as fake, PrintGateway(tmp_path / "gateway", certificates,
                                                 [printer("fake", fake.uri(), require="[]")]) as gateway:
            assert (self.said(gateway)["fake"]["answers"], self.said(gateway)["fake"]["failed"]) == (None, None)
            assert self.line(gateway, "fake").endswith("was not asked yet")
            assert gateway.client("fake").ask(ipp.GET_PRINTER_ATTRIBUTES).code == ipp.OK
            answered = self.said(gateway)["fake"]["answered"]
            gateway.send_signal(signal.SIGHUP)
            gateway.wait_log("reload: ")
            again = self.said(gateway)["fake"]
            assert (again["answers"], again["answered"]) == (True, answered)
            fake.talk_now = lambda *_: False
            assert gateway.client("fake").ask(ipp.GET_PRINTER_ATTRIBUTES).code != ipp.OK
            assert self.line(gateway, "fake").endswith(f"DOES NOT ANSWER, and did at {answered} last")


class TestStore:
    def test_jobs_are_no_change_of_tenants(self, gateway, document, tmp_path):
        """Every job is written into the store that tenants are in: these are read again when they change, and not
        each second that somebody prints."""
        kinds = ("get", "list", "change")

        def asked():
            metrics = gateway.metrics()
            return {kind: metrics[f'sallyport_store_operations_total{{kind="{kind}"}}'] for kind in kinds}

        before = asked()
        assert print_to(gateway.uri("acct"), document, tmp_path).returncode == 0
        time.sleep(3)  # it is looked at each second
        after = asked()
        assert after["change"] > before["change"] and after["get"] >= before["get"] + 2
        assert after["list"] == before["list"]
        assert gateway.command_line("tenant", "add", "somebody", "--state", gateway.state).returncode == 0
        assert asked()["list"] > after["list"]
        status = gateway.status()["store"]
        assert gateway.metrics()["sallyport_store_up"] == 1 and status["up"] and status["changes"] > 0


class TestTroubles:
    def test_printer_is_gone(self, gateway, document, tmp_path):
        """Nobody is there: the client hears so at once, and the operator, too."""
        done = print_to(gateway.uri("gone"), document, tmp_path)
        assert "server-error-service-unavailable" in done.stdout
        trouble, = [t for t in gateway.status()["troubles"] if t["area"] == "printer gone"]
        record = gateway.wait_record(lambda r: r["id"] == trouble["id"])
        assert record["print"]["status"] == "server-error-service-unavailable" and record["rule"] == "printer"


class TestBackends:
    """A printer that demands TLS: another gateway, in front of cupsd."""

    @pytest.fixture(scope="class")
    def behind(self, tmp_path_factory, certificates, cupsd):
        printers = [printer("acct", cupsd.uri(), require="[tls]", pipeline="[]")]
        with PrintGateway(tmp_path_factory.mktemp("behind"), certificates, printers) as running:
            yield running

    @pytest.mark.parametrize("scheme, auth, ca, channel", [
        ("ipps", "", True, "implicit"), ("https", "", True, "implicit"), ("ipp", ";AUTH=TLS", True, "upgraded"),
        ("ipp", "", True, "upgraded"), ("http", "", True, "upgraded"), ("ipp", "", False, None), ("ipps", "", False, None)],
        ids=["ipps", "https", "upgrade", "when it is demanded", "http when it is demanded", "without a CA", "unknown CA"])
    def test_way(self, behind, certificates, start_gateway, document, tmp_path, scheme, auth, ca, channel):
        more = {"backend_ca": certificates.ca} if ca else {}
        gateway = start_gateway([printer("front", f"'{behind.uri('acct', scheme, auth=auth, host='localhost')}'",
                                         require="[]", **more)])
        since = len(behind.records())
        # The first request of a printer that demands TLS by itself may be one without a document only.
        ipptool(gateway.uri("front"), "get-printer-attributes.test", "-q")
        done = print_to(gateway.uri("front"), document, tmp_path)
        if not channel:
            assert "server-error-service-unavailable" in done.stdout, done.stdout
            assert gateway.wait_record(lambda r: r.get("rule") == "printer")["error_text"]
            return
        assert "[PASS]" in done.stdout, done.stdout
        record = behind.wait_record(lambda r: r["print"].get("operation") == "Print-Job", since=since)
        assert record["print"]["channel"] == channel and record["body_len"] == len(PDF)

    def test_demand_is_taken_back(self, start_gateway, certificates, tmp_path):
        """A printer without TLS, which was to have it: when that is not demanded any more, and the configuration read
        again, it is asked in clear text."""
        with WrongPrinter(certificates.server, options=b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n") as fake:
            rows = {"require": "[]", "backend_ca": certificates.ca}
            gateway = start_gateway([printer("front", fake.uri(), backend_require="strong", **rows)])
            assert gateway.client("front").ask(ipp.GET_PRINTER_ATTRIBUTES).code != ipp.OK
            assert fake.heard == []
            text = gateway.config.read_text()
            gateway.config.write_text(text.replace("backend-require: strong", "backend-require: none"))
            gateway.send_signal(signal.SIGHUP)
            gateway.wait_log("reload: ")
            assert gateway.client("front").ask(ipp.GET_PRINTER_ATTRIBUTES).code == ipp.OK

    def test_http(self, start_gateway, cupsd, document, tmp_path):
        """It is told of itself as ipp:, whatever it is called here."""
        gateway = start_gateway([printer("front", cupsd.uri().replace("ipp:", "http:"), require="[]")])
        before = set(cupsd.jobs())
        assert "[PASS]" in print_to(gateway.uri("front"), document, tmp_path).stdout
        assert len(set(cupsd.jobs()) - before) == 1

    @staticmethod
    def key_of(certificate):
        """As peers have it."""
        key = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"], capture_output=True, check=True)
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=key.stdout, capture_output=True, check=True)
        return f"'key:{hashlib.sha256(der.stdout).hexdigest()}'"

    @pytest.mark.parametrize("scheme, auth", [("ipps", ""), ("ipp", ";AUTH=TLS"), ("ipp", "")],
                             ids=["ipps", "upgrade", "not demanded by the printer"])
    def test_pins(self, certificates, start_gateway, scheme, auth):
        """With another key than the one that is pinned nothing is sent, though the CA has certified it."""
        other, _ = certificates.issue("other-key")
        with WrongPrinter(certificates.server) as fake:
            rows = {"require": "[]", "pipeline": "[]", "backend_ca": certificates.ca}
            gateway = start_gateway([
                printer("right", fake.uri(scheme, auth), backend_peers=f"[{self.key_of(certificates.server[0])}]", **rows),
                printer("wrong", fake.uri(scheme, auth), backend_peers=f"[{self.key_of(other)}]", **rows),
                printer("named", fake.uri(scheme, auth), backend_peers="['ip:127.0.0.1', 'dns:x.test']",
                        backend_require="strong", **rows)])
            for name in ("right", "named"):
                assert gateway.client(name).print_job(PDF, "application/pdf").code == ipp.OK
            assert len(fake.jobs) == 2 and all(heard.where == "tls" for heard in fake.heard)
            before = len(fake.sessions)
            answer = gateway.client("wrong").print_job(PDF, "application/pdf")
            assert answer.code == 0x0502, answer
            assert len(fake.jobs) == 2 and len(fake.sessions) > before
            for session in fake.sessions[before:]:
                assert not session.tls and (not session.clear or session.clear.startswith(b"OPTIONS * "))
                assert b"POST" not in session.clear
            record = gateway.record_of(answer)
            assert record["error"] == "policy" and "somebody who is not wanted here; it is " in record["error_text"]
            trouble, = [t for t in gateway.status()["troubles"] if t["area"] == "printer wrong"]
            assert "somebody who is not wanted here; it is " in trouble["text"]
            assert record["error_text"].startswith("the connection to the printer is not protected as is demanded: ")
            said = json.loads(gateway.command_line("printers", "--state", gateway.state, "--json").stdout)["printers"]
            assert {p["name"]: p["answers"] for p in said} == {"right": True, "wrong": False, "named": True}
            assert ["not wanted here" in (p["why"] or "") for p in said] == [False, True, False]

    def test_bad_ca_holds_up_nothing(self, behind, certificates, start_gateway, tmp_path):
        """Operators see it, the server's certificate is renewed all the same, the printer is reached as before, and
        what is mended is taken over."""
        authority = tmp_path / "backend-ca.pem"
        served = certificates.issue("front-0")
        names = types.SimpleNamespace(server=[tmp_path / "front.pem", tmp_path / "front.key"])
        metric = 'sallyport_files_reload_failed{files="printer-ca"}'

        def put(path, source):
            fresh = path.with_suffix(".new")
            fresh.write_bytes(source if isinstance(source, bytes) else source.read_bytes())
            fresh.chmod(0o600)
            fresh.rename(path)

        def answers():
            done = gateway.command_line("printers", "--state", gateway.state, "--json")
            return [p["answers"] for p in json.loads(done.stdout)["printers"]]

        put(authority, certificates.ca)
        for path, source in zip(names.server, served):
            put(path, source)
        gateway = start_gateway([printer("front", f"'{behind.uri('acct', 'ipps', host='localhost')}'", require="[]",
                                         backend_ca=authority)], certificates_of=names)
        assert answers() == [True] and gateway.metrics()[metric] == 0
        put(authority, b"this is no certificate\n")
        wait.until(lambda: gateway.metrics()[metric] == 1, "the metric", 20)
        gateway.wait_log("printer 'front': ", 10)
        entry, = [f for f in gateway.status()["files"] if f["refused"]]
        assert entry["name"] == "printer-ca" and str(authority) in entry["why"]
        assert "CHANGED FILES (printer-ca) ARE NOT IN USE: " in gateway.command_line("status", "--state", gateway.state).stdout
        for path, source in zip(names.server, certificates.issue("front-1")):
            put(path, source)
        gateway.wait_log("another certificate is in use subject='CN=front-1'", 20)
        assert answers() == [True]
        os.kill(gateway.gateway_pid(), signal.SIGKILL)
        gateway.wait_ready(30)
        assert answers() == [True] and gateway.metrics()[metric] == 1
        other = Certificates(tmp_path / "other", "another CA")
        put(authority, other.ca)
        wait.until(lambda: gateway.metrics()[metric] == 0, "the metric", 20)
        wait.until(lambda: answers() == [False], "the other CA", 20)
        put(authority, certificates.ca)
        wait.until(lambda: answers() == [True], "the CA of before", 20)

    def test_reloads_leave_no_connections(self, behind, certificates, start_gateway, tmp_path):
        """Each configuration has TLS contexts of its own; what was connected with those of before ends with them."""
        authority = tmp_path / "backend-ca.pem"
        authority.write_bytes(certificates.ca.read_bytes())
        uri = f"'{behind.uri('acct', 'ipps', host='localhost')}'"
        gateway = start_gateway([printer(f"front{i}", uri, require="[]", backend_ca=authority) for i in range(3)])
        open_ones, done = [], "changed files: done without interruption"
        for i in range(6):
            if i > 0:
                before = gateway.log().count(done)
                authority.write_bytes(certificates.ca.read_bytes() + b"\n" * i)
                wait.until(lambda: gateway.log().count(done) > before, "the change", 20)
            said = gateway.command_line("printers", "--state", gateway.state, "--json")
            assert [p["answers"] for p in json.loads(said.stdout)["printers"]] == [True] * 3
            open_ones.append(len(os.listdir(f"/proc/{gateway.gateway_pid()}/fd")))
        assert max(open_ones) <= open_ones[0] + 2, open_ones

    @pytest.mark.parametrize("auth", ["", ";AUTH=TLS", ";AUTH=TLS,SSL3"])
    def test_lists_are_not_the_printer_s(self, certificates, start_gateway, auth):
        """Neither the one of the configuration nor that of a client: it may take them for a part of its name."""
        with WrongPrinter(certificates.server) as fake:
            gateway = start_gateway([printer("front", fake.uri(auth=";AUTH=TLS"), require="[]", pipeline="[]",
                                             backend_ca=certificates.ca)])
            client = gateway.client("front", "upgrade")
            client.uri, client.path = client.uri + auth, client.path + auth
            assert client.ask(ipp.GET_PRINTER_ATTRIBUTES).code == client.ask(ipp.VALIDATE_JOB).code == ipp.OK
            assert client.print_job(PDF, "application/pdf").code == ipp.OK
            job = client.create_job()
            assert client.send_document(job, PDF, "application/pdf").code == ipp.OK
            assert client.job_state(job) == ipp.COMPLETED and client.jobs("job-id")
            assert {ipp.GET_PRINTER_ATTRIBUTES, ipp.VALIDATE_JOB, ipp.PRINT_JOB, ipp.CREATE_JOB, ipp.SEND_DOCUMENT,
                    ipp.GET_JOB_ATTRIBUTES, ipp.GET_JOBS} <= set(fake.operations())
            for heard in fake.heard:
                assert heard.where == "tls" and heard.head.startswith(b"POST /ipp/print HTTP/1.1\r\n"), heard.head
                assert heard.message.all("printer-uri") == [fake.uri()]
            for session in fake.sessions:
                assert b";auth" not in (session.clear + session.tls).lower()
                assert session.clear.startswith(b"OPTIONS * ") and session.clear.endswith(b"\r\n\r\n")
                assert session.clear.count(b"\r\n\r\n") == 1  # and nothing else in clear text


@pytest.fixture
def start_gateway(tmp_path, certificates):
    started = []

    def start(printers, certificates_of=certificates, **options):
        started.append(PrintGateway(tmp_path / f"gateway-{len(started)}", certificates_of, printers, **options))
        return started[-1]

    yield start
    for gateway in started:
        gateway.stop()


class TestScannerElsewhere:
    """Documents are shown to another ICAP server after the pipeline: here the module's own gateway for ICAP."""

    @pytest.mark.parametrize("secure", [False, True], ids=["icap", "icaps"])
    @pytest.mark.parametrize("pipeline", ["[]", "[filetype]"], ids=["alone", "after others"])
    def test_verdict(self, sallyport, certificates, cupsd, start_gateway, tmp_path, secure, pipeline):
        host, port = sallyport.address("tls" if secure else "clear")
        url = f"{'icaps' if secure else 'icap'}://{'localhost' if secure else host}:{port}/inspect"
        gateway = start_gateway([printer("acct", cupsd.uri(), require="[]", pipeline=pipeline, icap=url,
                                         icap_ca=certificates.ca)])
        fine, bad = tmp_path / "fine.txt", tmp_path / "bad.txt"
        fine.write_bytes(b"nothing to see")
        bad.write_bytes(EICAR)
        printed = len(cupsd.documents())
        assert "[PASS]" in print_to(gateway.uri("acct"), fine, tmp_path).stdout
        refused = print_to(gateway.uri("acct"), bad, tmp_path).stdout
        assert "the document is infected: EICAR-Test-File" in refused, refused
        assert len(cupsd.documents()) == printed + 1
        record = gateway.wait_record(lambda r: r.get("action") == "block")
        assert record["findings"][0]["engine"] == "icap" and record["cause"] == "infected"

    def test_who_it_is(self, sallyport, certificates, cupsd, start_gateway, tmp_path, document):
        """A scanner that is certified and somebody else sees no document."""
        _, port = sallyport.address("tls")
        rows = {"require": "[]", "pipeline": "[]", "icap": f"icaps://localhost:{port}/inspect", "icap_ca": certificates.ca}
        gateway = start_gateway([printer("right", cupsd.uri(), icap_peers="['dns:localhost']", icap_require="strong", **rows),
                                 printer("wrong", cupsd.uri(), icap_peers="['dns:scan.test']", **rows)])
        shown = len(sallyport.records())
        assert "server-error-busy" in print_to(gateway.uri("wrong"), document, tmp_path).stdout
        record = gateway.wait_record(lambda r: r.get("cause") == "engine-down")
        assert "the scanner was not asked: " in record["error_text"] and "; it is " in record["error_text"], record
        assert len(sallyport.records()) == shown
        assert "[PASS]" in print_to(gateway.uri("right"), document, tmp_path).stdout
        sallyport.wait_record(lambda r: r.get("service") == "inspect", since=shown)

    @staticmethod
    def changes(peer, _stub):
        """An ICAP server that makes another document of each."""
        while head := peer.head():
            if head.startswith(b"OPTIONS "):
                peer.send(b'ICAP/1.0 200 OK\r\nMethods: REQMOD\r\nISTag: "1"\r\nEncapsulated: null-body=0\r\n\r\n')
                continue
            peer.head()  # of the document
            peer.chunks()
            other = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n"
            peer.send(b'ICAP/1.0 200 OK\r\nISTag: "1"\r\nEncapsulated: req-hdr=0, req-body=%d\r\n\r\n' % len(other)
                      + other + b"5\r\nother\r\n0\r\n\r\n")

    def test_what_it_would_change(self, cupsd, start_gateway, tmp_path, document):
        """Is not printed: neither what came, nor what nobody sent."""
        printed = len(cupsd.documents())
        with Stub(self.changes) as scanner:
            gateway = start_gateway([printer("acct", cupsd.uri(), require="[]", icap=f"icap://{scanner.address}/x")])
            refused = print_to(gateway.uri("acct"), document, tmp_path).stdout
        assert "the document is not allowed: the scanner would change the document" in refused, refused
        assert len(cupsd.documents()) == printed
        record = gateway.wait_record(lambda r: r.get("action") == "block")
        assert (record["cause"], record["verdict"]) == ("denied", "block"), record

    def test_after_what_may_pass(self, sallyport, cupsd, start_gateway, tmp_path):
        """Engines that could not look leave it to the other scanner, and not to nobody."""
        host, port = sallyport.address("clear")
        gateway = start_gateway([printer("acct", cupsd.uri(), require="[]", deadline="3s", on="{timeout: pass, engine-down: pass}",
                                         icap=f"icap://{host}:{port}/inspect")])
        bad, printed = tmp_path / "bad.txt", len(cupsd.documents())
        bad.write_bytes(EICAR)
        with gateway.frozen():
            refused = print_to(gateway.uri("acct"), bad, tmp_path).stdout
        assert "the document is infected: EICAR-Test-File" in refused, refused
        assert len(cupsd.documents()) == printed
        record = gateway.wait_record(lambda r: r.get("action") == "block")
        assert record["cause"] == "infected" and record["causes"][1:] in (["timeout"], ["engine-down"]), record

    def test_rules_note_once(self, sallyport, cupsd, start_gateway, tmp_path, document):
        """They are asked before it, and with what it says once more."""
        host, port = sallyport.address("clear")
        gateway = start_gateway([printer("acct", cupsd.uri(), require="[]", rules="[{name: seen, then: note}]",
                                         icap=f"icap://{host}:{port}/inspect")])
        assert "[PASS]" in print_to(gateway.uri("acct"), document, tmp_path).stdout
        record = gateway.wait_record(lambda r: r.get("verdict"))
        assert [f["name"] for f in record["findings"]] == ["seen"], record

    def test_nobody_is_there(self, cupsd, start_gateway, tmp_path, document):
        """By default clients are told to come again."""
        gateway = start_gateway([printer("acct", cupsd.uri(), require="[]", icap="icap://127.0.0.1:9/x")])
        assert "server-error-busy" in print_to(gateway.uri("acct"), document, tmp_path).stdout
        record = wait.until(lambda: next((r for r in gateway.records() if r.get("cause") == "engine-down"), None), "a record")
        assert record["action"] == "error"
