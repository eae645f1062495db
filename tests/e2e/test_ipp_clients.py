# SPDX-License-Identifier: Apache-2.0
"""The programs that people print with, against the print gateway: lp, lpstat, cancel and ipptool of CUPS, and a CUPS
scheduler whose queues lead to it."""
import pathlib
import re
import socket
import threading

import pytest

from testenv import ipp, samples, wait
from testenv.cups import Cupsd, client_environment, ipptool, run
from testenv.fake_printer import FakePrinter, http
from testenv.peers import need
from testenv.print_wire import add_user
from testenv.printing import PrintGateway, printer
from test_ipp_documents import EXE, JPEG, MACROS, docm, pdf

PASSWORD = "correct.horse"
PRINTED = re.compile(r"request id is (\S+)-(\d+) \(1 file\(s\)\)")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, cupsd):
    uri, one_request = cupsd.uri(), "[Create-Job, Send-Document]"
    printers = [printer("acct", uri, require="[]", aliases="[/printers/acct]"),
                printer("secure", uri, require="[tls]", aliases="[/printers/secure]"),
                printer("single", uri, require="[]", refuse=one_request),
                printer("small", uri, require="[]", body_max=100),
                printer("small-single", uri, require="[]", body_max=100, refuse=one_request)]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers) as running:
        yield running


@pytest.fixture(scope="module")
def lone(tmp_path_factory, certificates, cupsd):
    """A gateway with one printer."""
    printers = [printer("acct", cupsd.uri(), require="[]", aliases="[/printers/acct]")]
    with PrintGateway(tmp_path_factory.mktemp("lone"), certificates, printers) as running:
        yield running


@pytest.fixture(scope="module")
def locked(tmp_path_factory, certificates, cupsd):
    """A gateway with a printer that wants a password within TLS, and one that wants nothing."""
    printers = [printer("locked", cupsd.uri(), require="[tls, digest]"), printer("acct", cupsd.uri(), require="[]")]
    with PrintGateway(tmp_path_factory.mktemp("locked"), certificates, printers,
                      more="login: {rounds: 100000}\n") as running:
        add_user(running, "acme", "ann", PASSWORD)
        yield running


class Commands:
    """CUPS' own, as the user ann, who has nothing in her home but certificates that she once saw."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.env = client_environment(folder)

    def run(self, gateway, command, *arguments, user="ann", server=True, **more):
        """Without |server| it is to be found in |more|, of the environment."""
        host, port = gateway.address("print")
        options = ["-U", user] if command != "lpstat" else []
        options += ["-h", f"{host}:{port}"] if server else []
        if "-E" in arguments:  # counts for what follows only
            options.insert(0, "-E")
        rest = [a for a in arguments if a != "-E"]
        return run(need(command, "cups-client"), *options, *rest, env={**self.env, **more})

    def document(self, data, name="document"):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def print(self, gateway, data, *arguments, **more):
        """(printer, number) that lp says the job has."""
        done = self.run(gateway, "lp", *arguments, self.document(data), **more)
        assert done.returncode == 0, done.stderr
        name, number = PRINTED.search(done.stdout).groups()
        return name, int(number)


@pytest.fixture
def commands(tmp_path):
    return Commands(tmp_path / "home")


def channels(gateway, data, times=1):
    """How the document |data| came, which is |times| or more."""
    digest = samples.digest(data)

    def found():
        return [r["print"]["channel"] for r in gateway.print_records() if r.get("sha256") == digest]

    wait.until(lambda: len(found()) >= times, "records")
    return found()


@pytest.fixture
def untouched(cupsd):
    """The printer hears of no job, and gets no byte of a document."""
    before = cupsd.known()
    yield
    assert cupsd.known() == before


class TestLp:
    WAYS = [("acct", (), "clear"), ("acct", ("-E",), "upgraded"), ("secure", (), "upgraded"),
            ("secure", ("-E",), "upgraded")]

    @pytest.mark.parametrize("name, flags, channel", WAYS, ids=["clear", "-E", "426", "426 -E"])
    def test_print(self, gateway, cupsd, commands, name, flags, channel):
        document = f"{name} {flags}".encode()
        said, job = commands.print(gateway, document, *flags, "-d", name)
        assert said == name
        assert list(cupsd.files().values()).count(document) == 1
        assert channels(gateway, document) == [channel]
        client = gateway.client(name, "clear" if channel == "clear" else "upgrade")
        message = client.job(job)
        assert message.get("job-originating-user-name") == "ann"
        assert message.get("job-uri").endswith("/jobs/%d%s" % (job, "" if channel == "clear" else ";AUTH=TLS"))
        wait.until(lambda: client.job_state(job) == ipp.COMPLETED, "the job's end")

    def test_first_printer(self, gateway, cupsd, commands):
        """Without a name it is the gateway's first; and the server may be in the environment."""
        host, port = gateway.address("print")
        for i, more in enumerate(({}, {"server": False, "CUPS_SERVER": f"{host}:{port}"})):
            document = b"first %d" % i
            assert commands.print(gateway, document, **more)[0] == "acct"
            assert list(cupsd.files().values()).count(document) == 1

    def test_options(self, gateway, cupsd, commands):
        commands.print(gateway, b"x", "-d", "acct", "-n", "3", "-q", "77", "-t", "with options")
        job = cupsd.client().job(cupsd.number_of("with options"))
        assert (job.get("copies", ipp.JOB), job.get("job-priority", ipp.JOB)) == (3, 77)

    @pytest.mark.parametrize("name, flags", [("acct", ()), ("secure", ()), ("secure", ("-E",))])
    @pytest.mark.usefixtures("untouched")
    def test_refused(self, gateway, commands, name, flags):
        done = commands.run(gateway, "lp", *flags, "-d", name, commands.document(samples.EICAR))
        assert done.returncode == 1
        assert "lp: the document is infected: EICAR-Test-File [" in done.stderr, done
        number = re.search(r"EICAR-Test-File (\[\w+\])", done.stderr)[1]
        in_tls = ["-E"] if name == "secure" else []  # in clear text nobody hears of such a job
        listed = commands.run(gateway, "lpstat", *in_tls, "-W", "completed", "-l", "-o", name).stdout
        assert listed.startswith(f"{name}-")
        assert (f"\n\tStatus: the document is infected: EICAR-Test-File {number}\n"
                "\tAlerts: document-security-error\n") in listed, listed
        assert "1970" not in listed  # CUPS' clients take times for those of the clock

    @pytest.mark.usefixtures("untouched")
    def test_no_such_printer(self, gateway, commands):
        assert commands.run(gateway, "lp", "-d", "nobody", commands.document(b"x")).returncode == 1


class TestJobs:
    """A job that waits: seen, released, cancelled, by its user and nobody else."""

    @pytest.fixture
    def held(self, lone, cupsd, commands, request):
        """Its number at the gateway, and at the printer."""
        name = request.node.name
        _, job = commands.print(lone, b"held", "-d", "acct", "-H", "hold", "-t", name)
        number = cupsd.number_of(name)
        assert cupsd.jobs()[number] == (name, ipp.HELD)
        yield job, number
        if cupsd.jobs()[number][1] == ipp.HELD:
            cupsd.client().ask(ipp.CANCEL_JOB, job_id=number)

    def test_lpstat(self, lone, commands, held):
        job, _ = held
        for more in (["-o"], ["-o", "acct"], ["-W", "all", "-o"], ["-E", "-o"]):
            done = commands.run(lone, "lpstat", *more)
            assert re.search(rf"^acct-{job} +ann +1024 ", done.stdout, re.M), done
        assert commands.run(lone, "lpstat", "-W", "completed", "-o").stdout.count(f"acct-{job} ") == 0

    @pytest.mark.parametrize("named", ["{}", "acct-{}"])
    def test_cancel(self, lone, cupsd, commands, held, named):
        job, number = held
        done = commands.run(lone, "cancel", named.format(job))
        assert done.returncode == 0, done.stderr
        assert cupsd.jobs()[number][1] == ipp.CANCELED
        assert f"acct-{job} " not in commands.run(lone, "lpstat", "-o").stdout

    def test_cancel_mine(self, lone, cupsd, commands, held):
        """All that the user has, and no others'."""
        theirs = lone.client("acct", user="bob").print_job(b"b", job=[("job-hold-until", ipp.KEYWORD, "indefinite")])
        done = commands.run(lone, "cancel", "-u", "ann", "acct")
        assert done.returncode == 0, done.stderr
        assert cupsd.jobs()[held[1]][1] == ipp.CANCELED
        bob = lone.client("acct", user="bob")
        assert bob.job_state(theirs.message.get("job-id")) == ipp.HELD
        assert bob.ask(ipp.CANCEL_JOB, job_id=theirs.message.get("job-id")).code == ipp.OK

    def test_cancel_of_another(self, lone, cupsd, commands, held):
        job, number = held
        done = commands.run(lone, "cancel", f"acct-{job}", user="bob")
        assert done.returncode == 1 and "the job is another user's" in done.stderr, done
        assert cupsd.jobs()[number][1] == ipp.HELD

    def test_release(self, lone, cupsd, commands, held):
        job, number = held
        done = commands.run(lone, "lp", "-i", f"acct-{job}", "-H", "resume")
        assert done.returncode == 0, done.stderr
        wait.until(lambda: cupsd.jobs()[number][1] == ipp.COMPLETED, "the job's end")


class TestLpstat:
    """What it tells is of the gateway, and nothing of what is behind it."""
    SAYS = {"-r": "scheduler is running", "-d": "system default destination: acct", "-p": "printer acct is idle. ",
            "-a": "acct accepting requests since", "-v": "device for acct: ipp://localhost:{port}/ipp/acct",
            "-t": "printer acct is idle. "}

    @pytest.mark.parametrize("option", SAYS)
    @pytest.mark.parametrize("flags", [(), ("-E",)], ids=["clear", "-E"])
    def test_one_printer(self, lone, cupsd, commands, option, flags):
        self.check(lone, cupsd, commands, flags, option)

    @pytest.mark.parametrize("option", SAYS)
    def test_several_printers(self, gateway, cupsd, commands, option):
        self.check(gateway, cupsd, commands, (), option)

    def check(self, gateway, cupsd, commands, flags, option):
        done = commands.run(gateway, "lpstat", *flags, option)
        assert done.returncode == 0, done.stderr
        assert self.SAYS[option].format(port=gateway.address("print")[1]) in done.stdout, done.stdout
        assert str(cupsd.port) not in done.stdout

    def test_named(self, gateway, commands):
        done = commands.run(gateway, "lpstat", "-p", "secure")
        assert done.returncode == 0 and done.stdout.startswith("printer secure is idle. "), done


class TestListsOfCups:
    """CUPS answers these operations for all of its queues, so they are never sent on as they are."""
    LISTS = [ipp.CUPS_GET_DEFAULT, ipp.CUPS_GET_PRINTERS, ipp.CUPS_GET_CLASSES]

    @staticmethod
    def told(answer):
        assert answer.code == ipp.OK, answer
        return [dict((a[0], a[2]) for a in attributes)["printer-name"]
                for tag, attributes in answer.message.groups if tag == ipp.PRINTER]

    def test_of_all(self, gateway):
        def names(operation):
            return self.told(ipp.ask(gateway.address("print"), ipp.request(operation, "ipp://localhost/")))

        assert names(ipp.CUPS_GET_PRINTERS) == ["acct", "single", "small", "small-single"]  # who may be seen in clear text
        assert names(ipp.CUPS_GET_CLASSES) == []

    def test_of_one(self, gateway):
        client = gateway.client("small")
        assert self.told(client.ask(ipp.CUPS_GET_DEFAULT)) == ["small"]
        assert self.told(client.ask(ipp.CUPS_GET_PRINTERS)) == ["small"]
        assert self.told(client.ask(ipp.CUPS_GET_CLASSES)) == []

    @pytest.mark.parametrize("operation", LISTS)
    def test_of_a_job(self, gateway, commands, operation):
        _, job = commands.print(gateway, b"of a list", "-d", "acct")
        assert gateway.client("acct").ask(operation, job_id=job).code == ipp.BAD_REQUEST


class TestSilentPrinters:
    """Printers that take connections and say nothing, in front of one that works: lists have it all the same, while
    whoever asked still waits."""
    SILENT = 18  # more than are asked at once

    @pytest.fixture(scope="class")
    def mixed(self, tmp_path_factory, certificates, cupsd):
        with socket.create_server(("127.0.0.1", 0), backlog=128) as silent:
            uri = f"ipp://127.0.0.1:{silent.getsockname()[1]}/ipp/print"
            printers = [printer(f"silent-{i}", uri, require="[]") for i in range(self.SILENT)]
            printers.append(printer("acct", cupsd.uri(), require="[]", aliases="[/printers/acct]"))
            with PrintGateway(tmp_path_factory.mktemp("mixed"), certificates, printers) as running:
                yield running

    def test_printers(self, mixed, commands):
        done = commands.run(mixed, "lpstat", "-p")
        assert done.returncode == 0, done.stderr
        lines = [line for line in done.stdout.splitlines() if line.startswith("printer ")]
        assert {line.split()[1] for line in lines} == {"acct", *(f"silent-{i}" for i in range(self.SILENT))}, done.stdout
        assert all(("disabled" in line) == ("silent" in line) for line in lines), done.stdout
        assert any(line.startswith("printer acct is idle. ") for line in lines), done.stdout
        errors = {name: n for name, n in mixed.metrics().items() if name.startswith("sallyport_ipp_printer_errors_total")}
        assert all((n > 0) == ("silent" in name) for name, n in errors.items()) and len(errors) == len(lines), errors

    def test_jobs(self, mixed, commands):
        _, job = commands.print(mixed, b"held", "-d", "acct", "-H", "hold", "-t", "among-silent")
        done = commands.run(mixed, "lpstat", "-o")
        assert done.returncode == 0 and f"acct-{job} " in done.stdout, done
        assert commands.run(mixed, "cancel", f"acct-{job}").returncode == 0

    def test_client_that_leaves(self, mixed):
        """What is asked for it is given up, and the next one is served."""
        everything = ipp.request(ipp.CUPS_GET_PRINTERS, "ipp://localhost/")
        for _ in range(3):
            with ipp.IppConnection(mixed.address("print")) as gone:
                gone.send(everything)
        assert mixed.client("acct").ask(ipp.GET_PRINTER_ATTRIBUTES).code == ipp.OK
        wait.until(lambda: len(mixed.print_records("CUPS-Get-Printers")) >= 3, "records of those who left")


class TestBusyPrinter:
    """A printer whose only connection has a job is no silent one: the next list asks it again."""

    def test_next_list(self, tmp_path, certificates):
        go = threading.Event()

        def talk(peer, fake, head):
            heard = fake.hear(peer, head)
            if heard.operation == ipp.PRINT_JOB:
                go.wait(60)
            return peer.send(http(fake.reply(heard))) or True

        with FakePrinter() as fake:
            fake.talk_now = talk
            printers = [printer("busy", fake.uri(), require="[]", pipeline="[]", backend_connections=1)]
            with PrintGateway(tmp_path / "gateway", certificates, printers, threads=1) as own:
                client = own.client("busy")

                def state():
                    return client.ask(ipp.CUPS_GET_DEFAULT).message.get("printer-state", ipp.PRINTER)

                with ipp.IppConnection(own.address("print")) as wire:
                    wire.send(client.request(ipp.PRINT_JOB, data=b"x"), client.path)
                    fake.wait_heard(ipp.PRINT_JOB)
                    assert state() == 5  # stopped: it does not answer now
                    go.set()
                    assert wire.read().code == ipp.OK
                assert state() == 3


class TestIpptool:
    WAYS = [("acct", (), "clear"), ("acct", ("-E",), "upgraded"), ("acct", ("-S",), "implicit"),
            ("acct", ("-I",), "clear"), ("secure", (), "upgraded"), ("secure", ("-E",), "upgraded"),
            ("secure", ("-S",), "implicit")]

    @pytest.mark.parametrize("name, flags, channel", WAYS, ids=[f"{w[0]}{''.join(w[1])}" for w in WAYS])
    def test_print(self, gateway, cupsd, commands, name, flags, channel):
        document = f"ipptool {name} {flags}".encode()
        path = commands.document(document, "a.txt")
        for test in ("print-job.test", "create-job.test"):
            done = ipptool(gateway.uri(name), test, "-t", *flags, file=path, env=commands.env)
            assert done.returncode == 0, done.stdout
        assert list(cupsd.files().values()).count(document) == 2
        assert channels(gateway, document, 2) == [channel] * 2

    @pytest.mark.parametrize("test, status", [("print-job.test", "client-error-document-format-not-supported"),
                                              ("create-job.test", "client-error-document-security-error")])
    @pytest.mark.usefixtures("untouched")
    def test_refused(self, gateway, commands, test, status):
        path = commands.document(samples.EICAR, "a.txt")
        done = ipptool(gateway.uri("acct"), test, "-tv", "-I", file=path, env=commands.env)
        assert done.returncode == 1
        assert f"status-code = {status} (the document is infected: EICAR-Test-File [" in done.stdout, done.stdout

    @staticmethod
    def check(text, gateway, commands, name, flags, login="", **patterns):
        """What a test of CUPS' own language can say about URIs, for a user whose |login| is in his; in |patterns|
        `ipp:@` is where the gateway is."""
        host, port = gateway.address("print")
        values = [f"{k}=" + re.sub(r"(ipps?):@", rf"\1:\/\/localhost:{port}", v) for k, v in patterns.items()]
        options = [word for value in values for word in ("-d", value)]
        test = commands.folder / "uris.test"
        test.write_text(text)
        done = ipptool(gateway.uri(name, host=login + host), test, "-t", *flags, *options,
                       file=commands.document(b"x", "a.txt"), env=commands.env)
        assert done.returncode == 0, done.stdout

    @pytest.mark.parametrize("flags, scheme, job_list", [(["-E"], "ipp", ";AUTH=TLS"), (["-S"], "ipps", "")],
                             ids=["-E", "-S"])
    def test_uris(self, gateway, commands, flags, scheme, job_list):
        self.check(JOB_URI_TEST, gateway, commands, "secure", flags, job=rf"/^{scheme}:@\/jobs\/[0-9]+{job_list}$/")
        self.check(PRINTER_URI_TEST, gateway, commands, "secure", flags, logins="requesting-user-name",
                   one=r"/^ipp:@\/ipp\/secure;AUTH=TLS$/", other=r"/^ipps:@\/ipp\/secure$/")

    WITH_PASSWORD = [([], "ipp", ";AUTH=TLS,DAA"), (["-E"], "ipp", ";AUTH=TLS,DAA"), (["-S"], "ipps", ";AUTH=DAA")]

    @pytest.mark.parametrize("flags, scheme, job_list", WITH_PASSWORD, ids=["426", "-E", "-S"])
    @pytest.mark.parametrize("name", ["locked", "locked;AUTH=TLS,DAA", "acct;AUTH=TLS,DAA", "acct;auth=daa,tls"])
    def test_uris_with_a_password(self, locked, commands, flags, scheme, job_list, name):
        """Whether the printer demands it or the URI; what is told of the printer is what the printer does."""
        login = f"ann:{PASSWORD}@"
        self.check(JOB_URI_TEST, locked, commands, name, flags, login, job=rf"/^{scheme}:@\/jobs\/[0-9]+{job_list}$/")
        if name.startswith("locked"):
            self.check(PRINTER_URI_TEST, locked, commands, name, flags, login, logins="digest",
                       one=r"/^ipp:@\/ipp\/locked;AUTH=TLS,DAA$/", other=r"/^ipps:@\/ipp\/locked$/")


@pytest.mark.usefixtures("untouched")
class TestWhy:
    """Who sends what may not be printed is told why, by the program that sent it; the printer gets no byte of it."""
    # Printer, file, document, what lp says that it is, the sentence, and the reason that the job has.
    KINDS = {"macros": ("strict", "a.docm", docm(), None, f"the document is not allowed: Type.Denied.{MACROS}",
                        "document-permission-error"),
             "disguised": ("strict", "a.pdf", samples.portable_executable(), "application/pdf",
                           "the document is infected: Executable.Disguised", "document-security-error"),
             "other type": ("picky", "a", b"plain words\n", None,
                            "the document is not allowed: documents of this type are not printed here",
                            "document-permission-error"),
             "other type, named": ("picky", "a.txt", b"plain words\n", "text/plain", "text/plain is not printed here",
                                   "unsupported-document-format")}

    @pytest.fixture(scope="class")
    def choosy(self, tmp_path_factory, certificates, cupsd):
        strict = printer("strict", cupsd.uri(), require="[]", aliases="[/printers/strict]", pipeline="[yara, filetype]",
                         types=f"{{deny: [{EXE}, {MACROS}], mismatch: block}}")
        picky = printer("picky", cupsd.uri(), require="[]", aliases="[/printers/picky]", formats="[application/pdf]")
        with PrintGateway(tmp_path_factory.mktemp("choosy"), certificates, [strict, picky]) as running:
            yield running

    @pytest.mark.parametrize("flags", [(), ("-E",)], ids=["clear", "-E"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_lp(self, choosy, commands, kind, flags):
        name, file, document, said, words, reason = self.KINDS[kind]
        options = ["-o", f"document-format={said}"] if said else []
        done = commands.run(choosy, "lp", *flags, "-d", name, *options, commands.document(document, file))
        assert done.returncode == 1 and "request id is" not in done.stdout, done
        if reason != "unsupported-document-format":  # libcups drops answers that come before the document
            assert f"lp: {words} [" in done.stderr, done
        listed = commands.run(choosy, "lpstat", *flags, "-W", "completed", "-l", "-o", name).stdout
        newest = listed.split(f"\n{name}-")[0]
        assert f"\n\tStatus: {words} [" in newest and f"\n\tAlerts: {reason}\n" in newest, listed

    @pytest.mark.parametrize("test", ["print-job.test", "create-job.test"])
    @pytest.mark.parametrize("flags", [("-I",), ("-S", "-I")], ids=["clear", "tls"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_ipptool(self, choosy, commands, kind, flags, test):
        name, file, document, _, words, reason = self.KINDS[kind]
        done = ipptool(choosy.uri(name), test, "-tv", *flags, file=commands.document(document, file), env=commands.env)
        early = reason == "unsupported-document-format"
        status = "security-error" if test == "create-job.test" and not early else "format-not-supported"
        assert done.returncode == 1
        assert f"status-code = client-error-document-{status} ({words} [" in done.stdout, done.stdout


JOB_URI_TEST = """\
{
    NAME "Print-Job"
    OPERATION Print-Job
    GROUP operation-attributes-tag
    ATTR charset attributes-charset utf-8
    ATTR language attributes-natural-language en
    ATTR uri printer-uri $uri
    ATTR name requesting-user-name ann
    FILE $filename
    STATUS successful-ok
    EXPECT job-id OF-TYPE integer IN-GROUP job-attributes-tag COUNT 1 WITH-VALUE >0
    EXPECT job-uri OF-TYPE uri IN-GROUP job-attributes-tag COUNT 1 WITH-VALUE "$job"
    EXPECT !device-uri
}
{
    NAME "Get-Job-Attributes by job-uri"
    OPERATION Get-Job-Attributes
    GROUP operation-attributes-tag
    ATTR charset attributes-charset utf-8
    ATTR language attributes-natural-language en
    ATTR uri job-uri $job-uri
    ATTR name requesting-user-name ann
    STATUS successful-ok
    EXPECT job-uri OF-TYPE uri COUNT 1 WITH-VALUE "$job"
    EXPECT !device-uri
}
"""
PRINTER_URI_TEST = """\
{
    NAME "Get-Printer-Attributes"
    OPERATION Get-Printer-Attributes
    GROUP operation-attributes-tag
    ATTR charset attributes-charset utf-8
    ATTR language attributes-natural-language en
    ATTR uri printer-uri $uri
    STATUS successful-ok
    EXPECT !device-uri
    EXPECT printer-uri-supported COUNT 2 WITH-VALUE "$one"
    EXPECT printer-uri-supported COUNT 2 WITH-VALUE "$other"
    EXPECT uri-security-supported COUNT 2 WITH-ALL-VALUES tls
    EXPECT uri-authentication-supported COUNT 2 WITH-ALL-VALUES "$logins"
}
"""


class TestScheduler:
    """A CUPS of its own, whose queues lead through its ipp backend to the gateway."""
    GOOD = {"clear": ("acct", "ipp", "", "clear"), "tls": ("acct", "ipps", "", "implicit"),
            "needs-tls": ("secure", "ipp", "", "upgraded"), "encrypted": ("acct", "ipp", "?encryption=required", "upgraded"),
            "secure-tls": ("secure", "ipps", "", "implicit"), "print-job": ("single", "ipp", "", "clear")}
    # What the queue makes of the refusal: states of the job there, and what its user sees. After Send-Document it is
    # canceled where the backend saw in time that the gateway's job is aborted.
    SENT = {ipp.CANCELED, ipp.COMPLETED}, ("Unable to add document to print job.", "Print job canceled at printer.")
    PRINTED = ("Print job was not accepted.",)
    REFUSED = {"infected": ("acct", *SENT, "the document is infected"),
               "infected-tls": ("secure", *SENT, "the document is infected"),
               "infected-single": ("single", {ipp.CANCELED}, PRINTED, "the document is infected"),
               "large": ("small", *SENT, "the document is too large"),
               "large-single": ("small-single", {ipp.ABORTED}, PRINTED, "the document is too large")}

    @pytest.fixture(scope="class")
    def front(self, tmp_path_factory, gateway):
        queues = {name: gateway.uri(at, scheme) + more for name, (at, scheme, more, _) in self.GOOD.items()}
        queues |= {name: gateway.uri(row[0]) for name, row in self.REFUSED.items()}
        with Cupsd(tmp_path_factory.mktemp("front"), queues) as server:
            server.sent = {}
            # All at once: after a refused Print-Job the backend rests for ten seconds.
            for name in queues:
                data = self.document(name)
                answer = server.client(name).print_job(data, "application/octet-stream", name=name)
                assert answer.code == ipp.OK, answer
                server.sent[name] = answer.message.get("job-id")
            yield server

    @staticmethod
    def document(queue):
        if queue.startswith("infected"):
            return samples.EICAR + b"\n" * len(queue)
        return f"from {queue}".encode().ljust(200 if queue.startswith("large") else 0)

    @staticmethod
    def wait_end(front, queue, job=None):
        client, job = front.client(queue), job or front.sent[queue]
        wait.until(lambda: client.job_state(job) >= ipp.CANCELED, f"the end of the job of {queue}", 60)
        return client.job(job)

    @pytest.mark.parametrize("queue", GOOD)
    def test_prints(self, front, gateway, cupsd, queue):
        assert self.wait_end(front, queue).get("job-state", ipp.JOB) == ipp.COMPLETED
        document = self.document(queue)
        assert list(cupsd.files().values()).count(document) == 1
        assert channels(gateway, document) == [self.GOOD[queue][3]]

    KINDS = {"pdf": ("application/pdf", pdf(3)), "jpeg": ("image/jpeg", JPEG)}

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("queue", GOOD)
    def test_kinds(self, front, gateway, cupsd, commands, queue, kind):
        """Byte for byte, and named as what the scheduler takes the file for."""
        media_type, document = self.KINDS[kind]
        document += f"\n% {queue}\n".encode()  # the other ones are the same
        done = run(need("lp", "cups-client"), "-h", front.server(), "-U", "ann", "-d", queue, commands.document(document),
                   env=commands.env)
        assert done.returncode == 0, done
        job = int(PRINTED.search(done.stdout)[2])
        assert self.wait_end(front, queue, job).get("job-state", ipp.JOB) == ipp.COMPLETED
        assert list(cupsd.files().values()).count(document) == 1
        record = gateway.wait_record(lambda r: r.get("sha256") == samples.digest(document))
        assert (record["print"]["channel"], record["user"]) == (self.GOOD[queue][3], "ann"), record
        assert (record["type"], record["sniffed"]) == (media_type, media_type), record

    @pytest.mark.parametrize("queue", REFUSED)
    def test_refused(self, front, gateway, cupsd, commands, queue):
        """Sent once, and not again; the queue goes on with the next job, and shows what became of this one."""
        _, states, shown, words = self.REFUSED[queue]
        assert self.wait_end(front, queue).get("job-state", ipp.JOB) in states
        listed = run("lpstat", "-h", front.server(), "-W", "all", "-l", "-o", queue, env=commands.env).stdout
        assert f"{queue}-{front.sent[queue]} " in listed and any(text in listed for text in shown), listed
        assert re.search(rf"\[Job {front.sent[queue]}\] (Print-Job|Send-Document): client-error-.* \({words}",
                         front.error_log())
        after = f"after {queue}".encode()
        answer = front.client(queue).print_job(after, "application/octet-stream")
        assert self.wait_end(front, queue, answer.message.get("job-id")).get("job-state", ipp.JOB) == ipp.COMPLETED
        assert list(cupsd.files().values()).count(after) == 1
        document = self.document(queue)
        assert document not in cupsd.files().values()
        assert len(channels(gateway, after)) == 1
        self.check_records(gateway, queue, document, words)

    def check_records(self, gateway, queue, document, words):
        at = self.REFUSED[queue][0]
        records = [r for r in gateway.print_records() if r["print"].get("printer") == at
                   and words in r.get("error_text", "") and r["print"]["operation"] in ("Print-Job", "Send-Document")]
        if "large" not in queue:
            records = [r for r in records if r.get("sha256") == samples.digest(document)]
        assert len(records) == 1, records
        assert records[0]["action"] == "block"

    def test_queues_are_not_stopped(self, front):
        for queue in self.REFUSED:
            self.wait_end(front, queue)
            message = front.client(queue).ask(ipp.GET_PRINTER_ATTRIBUTES).message
            assert (message.get("printer-state"), message.get("printer-is-accepting-jobs")) == (3, True), queue
