# SPDX-License-Identifier: Apache-2.0
"""What records say of the connections that carried a document on: HOW they were protected, WHO was there, and WHY one
was refused. To a printer, to a scanner elsewhere, to clamd."""
import pytest

from testenv import Clamd, Way, ipp, wait
from testenv.fake_printer import FakePrinter
from testenv.printing import PrintGateway, printer
from testenv.wrong_printer import WrongPrinter
from test_ipp_gateway import PDF

OPEN = {"require": "[]", "pipeline": "[]"}
REFUSED = ("error", "error_text")


@pytest.fixture
def start_gateway(tmp_path, certificates):
    started = []

    def start(*printers, **options):
        started.append(PrintGateway(tmp_path / f"gateway-{len(started)}", certificates, printers, **options))
        return started[-1]

    yield start
    for gateway in started:
        gateway.stop()


def printed(gateway, name="front", code=ipp.OK):
    """The upstreams of a print job, and its record."""
    answer = gateway.client(name).print_job(PDF, "application/pdf")
    assert answer.code == code, answer
    record = gateway.record_of(answer)
    return record.get("upstream"), record


class TestPrinter:
    @pytest.mark.parametrize("scheme, auth", [("ipps", ""), ("ipp", ";AUTH=TLS")], ids=["ipps", "upgrade"])
    def test_tls(self, certificates, start_gateway, scheme, auth):
        with WrongPrinter(certificates.server) as fake:
            gateway = start_gateway(printer("front", fake.uri(scheme, auth), backend_ca=certificates.ca, **OPEN))
            (found,), record = printed(gateway)
            assert (found["to"], found["address"]) == ("backend", f"127.0.0.1:{fake.port}")
            assert (found["how"], found["version"], found["resumed"]) == ("strong", "TLSv1.3", False)
            assert found["cipher"].startswith("TLS_") and found["peer"].startswith("CN=") and found["end_to_end"] is True
            assert not {"why", *REFUSED} & set(found)
            assert record["protection"]["version"] == "clear"  # the client's own connection is another one
            said = gateway.command_line("status", "--state", gateway.state, "--id", record["id"]).stdout
            assert f"upstream    backend 127.0.0.1:{fake.port}, protection strong, peer CN=" in said, said

    def test_clear(self, start_gateway):
        """Of a kept connection every record says the same."""
        with FakePrinter() as fake:
            gateway = start_gateway(printer("front", fake.uri(), **OPEN))
            expected = {"to": "backend", "address": f"127.0.0.1:{fake.port}", "how": "none", "version": "clear", "resumed": False}
            for _ in range(2):
                assert printed(gateway)[0] == [expected]
                answer = gateway.client("front").ask(ipp.GET_PRINTER_ATTRIBUTES)
                assert gateway.record_of(answer)["upstream"] == [expected]
            answer = gateway.client("front").ask(0x4000)  # an operation that no printer hears of
            assert "upstream" not in gateway.record_of(answer)

    @pytest.mark.parametrize("scheme, auth", [("ipps", ""), ("ipp", ";AUTH=TLS")], ids=["ipps", "upgrade"])
    def test_a_certificate_of_somebody_else(self, certificates, start_gateway, scheme, auth, tmp_path):
        other = type(certificates)(tmp_path / "other", "another CA")
        with WrongPrinter(certificates.server) as fake:
            gateway = start_gateway(printer("front", fake.uri(scheme, auth), backend_ca=other.ca, **OPEN))
            (found,), record = printed(gateway, code=0x0502)
            assert (found["how"], found["why"], found["why_side"]) == ("none", "we-rejected-peer", "local"), found
            assert (found["why_certain"], found["why_source"]) == (True, "x509") and "peer" not in found
            assert not fake.jobs
            said = gateway.command_line("status", "--state", gateway.state, "--id", record["id"]).stdout
            assert f"upstream    backend 127.0.0.1:{fake.port}, protection none: " in said, said

    @pytest.mark.parametrize("scheme, auth", [("ipps", ""), ("ipp", ";AUTH=TLS")], ids=["ipps", "upgrade"])
    def test_somebody_who_is_not_wanted(self, certificates, start_gateway, scheme, auth):
        """TLS is there; who is there is said, and why nothing was sent."""
        with WrongPrinter(certificates.server) as fake:
            gateway = start_gateway(printer("front", fake.uri(scheme, auth), backend_ca=certificates.ca,
                                            backend_peers="['dns:other.test']", **OPEN))
            (found,), _ = printed(gateway, code=0x0502)
            assert (found["how"], found["why"]) == ("strong", "wrong-peer") and found["peer"].startswith("CN="), found
            assert not fake.jobs

    def test_nobody_is_there(self, start_gateway):
        gateway = start_gateway(printer("front", "ipp://127.0.0.1:9/ipp/print", **OPEN))
        (found,), _ = printed(gateway, code=0x0502)
        assert {k: found[k] for k in found if k != "error_text"} == {"to": "backend", "address": "127.0.0.1:9", "error": "upstream"}
        assert "cannot connect to 127.0.0.1" in found["error_text"]


class TestScanner:
    @pytest.fixture
    def behind(self):
        with FakePrinter() as fake:
            yield fake

    @pytest.mark.parametrize("secure", [False, True], ids=["icap", "icaps"])
    def test_way(self, sallyport, certificates, start_gateway, behind, secure):
        _, port = sallyport.address("tls" if secure else "clear")
        host = "localhost" if secure else "127.0.0.1"
        url = f"{'icaps' if secure else 'icap'}://{host}:{port}/inspect"
        gateway = start_gateway(printer("front", behind.uri(), icap=url, icap_ca=certificates.ca, **OPEN))
        for _ in range(2):
            (scanner, backend), _ = printed(gateway)
            assert (scanner["to"], scanner["address"], backend["to"]) == ("icap", f"{host}:{port}", "backend")
            assert scanner["how"] == ("strong" if secure else "none") and "error" not in scanner
            assert scanner.get("peer", "").startswith("CN=") == secure

    def test_somebody_who_is_not_wanted(self, sallyport, certificates, start_gateway, behind):
        _, port = sallyport.address("tls")
        gateway = start_gateway(printer("front", behind.uri(), icap=f"icaps://localhost:{port}/inspect", icap_ca=certificates.ca,
                                        icap_peers="['dns:scan.test']", **OPEN))
        (found,), _ = printed(gateway, code=0x0507)
        assert (found["to"], found["how"], found["why"], found["error"]) == ("icap", "strong", "wrong-peer", "policy"), found
        assert found["peer"].startswith("CN=") and not behind.jobs

    def test_a_certificate_of_somebody_else(self, sallyport, certificates, start_gateway, behind, tmp_path):
        other = type(certificates)(tmp_path / "other", "another CA")
        _, port = sallyport.address("tls")
        gateway = start_gateway(printer("front", behind.uri(), icap=f"icaps://localhost:{port}/inspect", icap_ca=other.ca, **OPEN))
        (found,), _ = printed(gateway, code=0x0507)
        assert (found["how"], found["why"], found["why_side"], found["why_certain"]) == ("none", "we-rejected-peer", "local", True)
        assert found["error"] == "tls" and found["error_text"].startswith("cannot use localhost: ") and not behind.jobs


class TestClamd:
    @pytest.fixture(scope="class")
    def clamd(self, tmp_path_factory):
        with Clamd(tmp_path_factory.mktemp("clamd")) as daemon:
            yield daemon

    @staticmethod
    def ask(gateway, body):
        reply = Way(gateway, "clear").ask("RESPMOD", "clam", body)
        return gateway.wait_record(lambda r: r.get("id") == reply.field("X-Request-ID"))

    @staticmethod
    def start(start_sallyport, address, more=""):
        gateway = start_sallyport(services="  - {name: clam, type: inspect, path: /clam, pipeline: [clamav]}\n",
                                  more=f"engines: {{clamav: {{address: '{address}'}}}}\n{more}", ready=False, threads=1)

        def is_known():
            try:
                engine = gateway.status()["inspection"]["clamd"]
                return engine["up"] or engine["why"]
            except AssertionError:
                return False  # nobody answers yet

        wait.until(is_known, "a word on clamd", 60)
        return gateway

    @pytest.mark.parametrize("tcp", [False, True], ids=["socket", "tcp"])
    def test_way(self, start_sallyport, clamd, tcp):
        gateway = self.start(start_sallyport, f"127.0.0.1:{clamd.port}" if tcp else clamd.socket_path)
        found, = self.ask(gateway, b"a file")["upstream"]
        assert found["address"] == (f"127.0.0.1:{clamd.port}" if tcp else f"unix:{clamd.socket_path}")
        assert (found["to"], found["how"], found["version"]) == ("clamd", "none", "clear") and not set(REFUSED) & set(found)
        again = self.ask(gateway, b"a file")
        assert again["cached"] is True and "upstream" not in again  # nobody was asked
        options = Way(gateway, "clear").ask("OPTIONS", "clam").field("X-Request-ID")
        assert "upstream" not in gateway.wait_record(lambda r: r["id"] == options)

    def test_refused(self, start_sallyport, clamd, tmp_path):
        policy = tmp_path / "policy"
        policy.write_text(f"version 1\nrule proto=tcp port={clamd.port} min=strong\n")
        policy.chmod(0o600)
        gateway = self.start(start_sallyport, f"127.0.0.1:{clamd.port}", f"policy: {policy}\n")
        found, = self.ask(gateway, b"a file")["upstream"]
        assert (found["to"], found["error"]) == ("clamd", "policy") and "how" not in found  # there was no connection
        assert (found["why"], found["why_side"], found["why_certain"]) == ("level-too-low", "local", True)
        assert (found["why_source"], found["why_raw"]) == ("policy", 2)
        assert found["error_text"].startswith("not asked: ") and "(line 2 of this machine's policy)" in found["error_text"]
