# SPDX-License-Identifier: Apache-2.0
"""Printing through the gateway, judged by others: the conformance suites that CUPS ships, two kinds of printers behind
it, what it calls itself and its jobs, several printers, and one that comes and goes."""
import re
import time

import pytest

from testenv import ipp, wait
from testenv.cups import Cupsd, client_environment, counts, ipptool
from testenv.peers import free_port
from testenv.print_wire import tenant
from testenv.printing import PrintGateway, printer

PDF = (b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
       b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, cupsd, eve):
    printers = [printer("acct", cupsd.uri(), require="[]", aliases="[/printers/acct]"),
                printer("secure", cupsd.uri(), require="[tls]", aliases="[/printers/secure]"),
                printer("eve", eve.uri(), require="[]")]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers) as running:
        yield running


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "doc.pdf"
    path.write_bytes(PDF)
    return path


WAYS = [("acct", "ipp", ()), ("secure", "ipp", ("-E",)), ("secure", "ipp", ()), ("secure", "ipps", ())]


@pytest.mark.tsan
class TestConformance:
    """The suites that CUPS ships: the same counts through the gateway as at cupsd itself."""

    # Of what the tests of required attributes expect, which a raw queue lacks much of anyway: pages of the printer's
    # own web server are not told of, and operations that are for administrators (Pause-Printer, Resume-Printer,
    # Purge-Jobs, Set-Printer-Attributes, Enable-Printer, Disable-Printer, Hold-New-Jobs, Release-Held-New-Jobs) or for
    # operators (Cancel-Jobs) are not named to others.
    REFUSED = {"ipp-1.1.test": [], "ipp-2.0.test": [],
               "ipp-2.1.test": ["0x0010", "0x0011", "0x0012", "0x0013", "0x0022", "0x0023"],
               "ipp-2.2.test": ["0x0010", "0x0011", "0x0012", "0x0013", "0x0022", "0x0023", "0x0025", "0x0026", "0x0038"]}

    @pytest.mark.parametrize("suite", REFUSED)
    @pytest.mark.parametrize("name, scheme, options", WAYS, ids=["clear", "upgrade", "426", "ipps"])
    def test_suite(self, gateway, cupsd, document, tmp_path, suite, name, scheme, options):
        env, version = client_environment(tmp_path / "home"), max("2.0", suite[4:7])
        direct = ipptool(cupsd.uri(), suite, "-V", version, "-tI", file=document, env=env)
        through = ipptool(gateway.uri(name, scheme), suite, "-V", version, "-tI", *options, file=document, env=env)
        assert counts(through) == counts(direct), through.stdout
        assert counts(direct)[0] > 20, direct.stdout  # a raw queue lacks some of what IPP/2.0 demands
        missing = {f'EXPECTED: operations-supported WITH-VALUE "{code}"' for code in self.REFUSED[suite]}
        if suite != "ipp-1.1.test":
            missing.add("EXPECTED: printer-more-info")
        assert self.unmet(through) - self.unmet(direct) == missing
        assert self.unmet(direct) <= self.unmet(through)

    @staticmethod
    def unmet(done):
        return {line.strip() for line in done.stdout.splitlines() if "EXPECTED:" in line}


BACKENDS = ["acct", "eve"]
CHANNELS = {"clear": ("ipp", ""), "upgrade": ("ipp", ";AUTH=TLS"), "tls": ("ipps", "")}


class TestUris:
    """Whatever leads anywhere leads to the gateway, and jobs say how they have to be asked about."""

    @pytest.fixture(params=BACKENDS)
    def name(self, request):
        return request.param

    @pytest.fixture(params=CHANNELS)
    def way(self, request):
        return request.param

    @pytest.fixture
    def check(self, gateway, cupsd, eve):
        """|answer| has |n| URIs or more, all of them of the gateway, and no port of a printer."""
        host, port = gateway.address("print")

        def of(answer, n):
            assert answer.code == ipp.OK, answer
            uris = [(name, uri) for name, uri in answer.message.uris() if not uri.startswith("urn:uuid:")]
            assert len(uris) >= n, answer
            for name, uri in uris:
                assert re.match(rf"ipps?://{re.escape(host)}:{port}/", uri), (name, uri)
            for backend in (cupsd, eve):
                assert b":%d" % backend.port not in answer.body
            return answer.message
        return of

    def test_printer(self, gateway, check, name, way):
        for wanted in ((), ("all",), ("all", "media-col-database", "printer-description", "job-template")):
            more = [("requested-attributes", ipp.KEYWORD, *wanted)] if wanted else []
            message = check(gateway.client(name, way).ask(ipp.GET_PRINTER_ATTRIBUTES, *more), 2)
            names = [n for n, *_ in message.attributes()]
            assert "device-uri" not in names and "member-uris" not in names
            assert message.all("uri-security-supported") == ["tls", "none"]
            assert len(message.all("uri-authentication-supported")) == 2

    def test_printer_uris_work(self, gateway, name):
        """Each of those that it is told by."""
        for at in (name, "secure"):
            told = gateway.client(at, "upgrade").ask(ipp.GET_PRINTER_ATTRIBUTES).message.all("printer-uri-supported")
            assert len(told) == 2 and (";AUTH=TLS" in told[1]) == (at == "secure"), told
            for uri in told:
                way = "tls" if uri.startswith("ipps:") else "upgrade" if "AUTH" in uri else "clear"
                client = ipp.Client(gateway.address("print"), uri, way)
                assert client.ask(ipp.GET_PRINTER_ATTRIBUTES).code == ipp.OK
                assert client.ask(ipp.VALIDATE_JOB).code == ipp.OK

    def test_jobs(self, gateway, check, name, way):
        client, (scheme, end) = gateway.client(name, way), CHANNELS[way]
        made = check(client.print_job(PDF, "application/pdf"), 1)
        host, port = gateway.address("print")
        for job in (made.get("job-id"), client.create_job()):
            said = f"{scheme}://{host}:{port}/jobs/{job}{end}"
            asked = check(client.ask(ipp.GET_JOB_ATTRIBUTES, job_id=job), 2)
            assert asked.get("job-uri") == said
            if job == made.get("job-id"):
                assert made.get("job-uri") == said
                wait.until(lambda number=job: client.job_state(number) == ipp.COMPLETED, "the job's end", 60)
            else:
                check(client.send_document(job, PDF, "application/pdf"), 1)
            self.ask_by_uri(gateway, check, said, way)
        wait.until(lambda: client.job_state(job) == ipp.COMPLETED, "the job's end", 60)
        listed = check(client.ask(ipp.GET_JOBS, ("which-jobs", ipp.KEYWORD, "completed"),
                                  ("requested-attributes", ipp.KEYWORD, "all")), 2)
        uris = [uri for known, uri in listed.uris() if known == "job-uri"]
        assert said in uris and made.get("job-uri") in uris

    @staticmethod
    def ask_by_uri(gateway, check, uri, way):
        head = [("attributes-charset", ipp.CHARSET, "utf-8"), ("attributes-natural-language", ipp.LANGUAGE, "en"),
                ("job-uri", ipp.URI, uri), ("requesting-user-name", ipp.NAME, "ann")]
        answer = ipp.ask(gateway.address("print"), ipp.Message(ipp.GET_JOB_ATTRIBUTES, [(ipp.OPERATION, head)]), way=way)
        assert check(answer, 2).get("job-uri") == uri


class TestIppEvePrinter:
    """A printer that is no CUPS, and has one job at a time."""

    @pytest.mark.parametrize("way", CHANNELS)
    @pytest.mark.parametrize("test", ["print-job.test", "create-job.test"])
    def test_prints(self, gateway, eve, tmp_path, way, test):
        flags = {"clear": [], "upgrade": ["-E"], "tls": ["-S"]}[way]
        document = PDF + f"% {way} {test}\n".encode()
        path = tmp_path / "a.pdf"
        path.write_bytes(document)
        asked = ipp.GET_PRINTER_ATTRIBUTES
        wait.until(lambda: eve.client().ask(asked).message.get("printer-state") == 3, "an idle printer", 60)
        done = ipptool(gateway.uri("eve"), test, "-t", *flags, file=path, env=client_environment(tmp_path / "home"))
        assert done.returncode == 0, done.stdout
        wait.until(lambda: eve.documents().count(document) == 1, "the document", 60)

    @pytest.mark.parametrize("test", ["get-completed-jobs.test", "get-jobs.test", "identify-printer.test",
                                      "validate-job.test"])
    def test_answers(self, gateway, eve, document, tmp_path, test):
        env = client_environment(tmp_path / "home")
        direct, through = (ipptool(uri, test, "-tI", file=document, env=env) for uri in (eve.uri(), gateway.uri("eve")))
        assert counts(through) == counts(direct), through.stdout


class TestSeveralPrinters:
    @pytest.fixture(scope="class")
    def queues(self, tmp_path_factory):
        with Cupsd(tmp_path_factory.mktemp("queues"), {"one": "file:/dev/null", "two": "file:/dev/null"}) as server:
            yield server

    @pytest.fixture(scope="class")
    def several(self, tmp_path_factory, certificates, queues):
        printers = [printer("one", queues.uri("one"), require="[]", aliases="[/ipp/print, /printers/one]"),
                    printer("two", queues.uri("two"), require="[]", aliases="[/printers/two, /printers/two/.printer]")]
        with PrintGateway(tmp_path_factory.mktemp("several"), certificates, printers) as running:
            yield running

    PATHS = {"/ipp/one": "one", "/ipp/print": "one", "/printers/one": "one", "/ipp/two": "two", "/printers/two": "two",
             "/printers/two/.printer": "two"}

    @pytest.mark.parametrize("path", PATHS)
    def test_aliases(self, several, queues, path):
        """Each leads to its printer, which calls itself by its own path; what the request-line says does not matter."""
        host, port = several.address("print")
        client = ipp.Client((host, port), f"ipp://{host}:{port}{path}")
        told = client.ask(ipp.GET_PRINTER_ATTRIBUTES).message.all("printer-uri-supported")
        assert told == [f"{scheme}://{host}:{port}/ipp/{self.PATHS[path]}" for scheme in ("ipps", "ipp")]
        for request_line in (path, "/", "/printers/nobody"):
            client.path = request_line
            answer = client.print_job(b"x", name=f"{path} at {request_line}")
            assert answer.code == ipp.OK
            number = queues.number_of(f"{path} at {request_line}")
            assert queues.client().job(number).get("job-printer-uri").endswith(f"/printers/{self.PATHS[path]}")

    @pytest.mark.parametrize("path", ["/", "/ipp", "/ipp/onee", "/ipp/one/x", "/printers/three", "/IPP/ONE", ""])
    def test_nobody(self, several, queues, path):
        host, port = several.address("print")
        client, before = ipp.Client((host, port), f"ipp://{host}:{port}{path}"), queues.known()
        for operation in (ipp.GET_PRINTER_ATTRIBUTES, ipp.PRINT_JOB):
            answer = client.ask(operation, data=b"x")
            assert answer.code == ipp.NOT_FOUND, answer
            assert answer.message.get("status-message") == "there is no such printer here"
        assert queues.known() == before

    def test_jobs_stay_apart(self, several):
        """A job is known at its own printer only, and lists have no others'."""
        one, two = several.client("one"), several.client("two")
        job = one.print_job(b"x").message.get("job-id")
        assert one.job(job)
        assert two.ask(ipp.GET_JOB_ATTRIBUTES, job_id=job).code == ipp.NOT_FOUND
        assert two.ask(ipp.CANCEL_JOB, job_id=job).code == ipp.NOT_FOUND
        assert job in [j["job-id"] for j in one.jobs("job-id")]
        assert job not in [j["job-id"] for j in two.jobs("job-id")]


class TestPrinterIsDown:
    """And comes back."""

    def test_down(self, tmp_path, certificates, cupsd):
        port = free_port()
        printers = [printer("away", f"ipp://127.0.0.1:{port}/printers/acct", require="[]"),
                    printer("here", cupsd.uri(), require="[]")]
        with PrintGateway(tmp_path / "gateway", certificates, printers) as gateway:
            away = gateway.client("away")
            self.check_down(gateway, away, port)
            assert gateway.client("here").ask(ipp.GET_PRINTER_ATTRIBUTES).code == ipp.OK
            for i in range(2):
                # The second time connections are kept from before, and dead.
                with Cupsd(tmp_path / f"cupsd-{i}", port=port) as back:
                    assert away.ask(ipp.GET_PRINTER_ATTRIBUTES).code == ipp.OK
                    assert away.print_job(b"back %d" % i, name="back").code == ipp.OK
                    assert away.send_document(away.create_job("later"), b"back").code == ipp.OK
                    assert back.printed("back") == [b"back %d" % i] and back.printed("later") == [b"back"]
            self.check_down(gateway, away, port)

    @staticmethod
    def check_down(gateway, client, port):
        operations = ipp.GET_PRINTER_ATTRIBUTES, ipp.GET_JOBS, ipp.VALIDATE_JOB, ipp.CREATE_JOB
        answers = [client.ask(operation) for operation in operations] + [client.print_job(b"x")]
        for answer in answers:
            assert (answer.status, answer.code) == (200, ipp.UNAVAILABLE), answer
            said = answer.message.get("status-message")
            assert said and str(port) not in said, answer
        for answer in answers:
            record = gateway.record_of(answer)
            assert record["print"]["printer"] == "away" and record["error"] == "upstream", record
            assert record["rule"] == "printer" and f"127.0.0.1:{port}" in record["error_text"], record


class TestStore:
    def test_jobs_are_no_news_of_tenants(self, tmp_path, certificates, cupsd):
        """The book of jobs is in the store of the tenants, who are read anew when something of them changed."""
        printers = [printer("acct", cupsd.uri(), require="[]")]
        with PrintGateway(tmp_path / "gateway", certificates, printers) as own:
            client, news = own.client("acct"), "tenants: read"
            before = own.log().count(news)
            for i in range(3):
                assert client.print_job(b"job %d" % i).code == ipp.OK
                time.sleep(1.1)  # it looks each second
            assert own.log().count(news) == before
            tenant(own, "add", "acme")
            wait.until(lambda: own.log().count(news) > before, "the new tenant is read")
