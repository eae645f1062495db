# SPDX-License-Identifier: Apache-2.0
"""`sallyport print`, `cancel` and `jobs`: at cupsd, ippeveprinter and the gateway, through proxies, and at printers that do
not do what the URI demands."""
import fcntl
import json
import os
import pathlib
import pty
import re
import struct
import subprocess
import termios

import pytest

from testenv import build_dir, free_port, ipp, need, wait
from testenv.connect_proxy import ConnectProxy

from testenv.cups_tls import TlsCupsd
from testenv.print_wire import add_user
from testenv.printing import PrintGateway, printer
from testenv.sallyport import binary, run_command
from testenv.wrong_printer import BASIC, DEMAND, DIGEST, SWITCH, answer, denied, http, wrong_printers
from testenv.wrong_server import Stub

PDF = (b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
       b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n")
SECRET = "a password of Ann's"
TENANTS = "login: {rounds: 100000, failures: 1000, user-failures: 1000}\ntenants:\n  - {name: acme}\n"
FINE, REFUSED, USAGE, SECURITY, NETWORK, LOGIN = range(6)


def run(*arguments, password=None, **more):
    """A command of a user without a terminal; passwords are nowhere in what it says."""
    env = {**os.environ, **({"SALLYPORT_PASSWORD": password} if password else {})}
    if "input" not in more:
        more["stdin"] = subprocess.DEVNULL
    done = run_command(build_dir(), *arguments, env=env, start_new_session=True, **more)
    assert SECRET not in done.stdout + done.stderr
    return done


def run_json(*arguments, **more):
    """(exit code, object)."""
    done = run(*arguments, "--json", **more)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def cupsd(tmp_path_factory, certificates):
    with TlsCupsd(tmp_path_factory.mktemp("cupsd"), certificates.server) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, cupsd):
    printers = [printer("open", cupsd.uri(), require="[]", pipeline="[]"),
                printer("secure", cupsd.uri(), require="[tls]", pipeline="[]"),
                printer("digest", cupsd.uri(), require="[tls, digest]", pipeline="[]"),
                printer("daa", cupsd.uri(), require="[digest]", pipeline="[]"),
                printer("held", cupsd.uri(), require="[tls]", pipeline="[]", hold="true")]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers, more=TENANTS) as running:
        add_user(running, "acme", "ann", SECRET)
        yield running


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "letter.pdf"
    path.write_bytes(PDF)
    return path


@pytest.fixture
def start(certificates):
    """Starts printers that can be made wrong."""
    with wrong_printers(certificates.server) as begin:
        yield begin


@pytest.fixture
def proxy():
    started = []

    def begin(**options):
        started.append(ConnectProxy(**options))
        return started[-1].__enter__() or started[-1]
    yield begin
    for one in started:
        one.__exit__()


def channel_of(found):
    return found["channel"], found["auth"], found["user_by"]


# ---- printers as they are ----

class TestCups:
    """What others have in the field."""

    def test_clear(self, cupsd, document):
        before = set(cupsd.documents())
        code, found = run_json("print", cupsd.uri(), document)
        assert (code, channel_of(found), found["format"]) == (FINE, ("clear", "", "claimed"), "application/pdf")
        assert found["job_uri"] == f"ipp://127.0.0.1:{cupsd.port}/jobs/{found['job']}"
        wait.until(lambda: cupsd.documents().get(found["job"]) == PDF, "the document")
        assert set(cupsd.documents()) - before == {found["job"]}

    @pytest.mark.parametrize("scheme, auth, channel", [("ipp", ";AUTH=TLS", "upgraded"), ("ipp", ";AUTH=SSL3", "implicit"),
                                                       ("ipp", ";AUTH=TLS,SSL3", "upgraded"), ("ipps", "", "implicit")])
    def test_tls(self, cupsd, document, certificates, scheme, auth, channel):
        uri = cupsd.uri().replace("ipp:", scheme + ":") + auth
        code, found = run_json("print", uri, document, "--ca", certificates.ca)
        assert (code, found["channel"], found["who"]) == (FINE, channel, "CN=server")
        wait.until(lambda: cupsd.documents().get(found["job"]) == PDF, "the document")

    def test_nobody_asks_for_digest(self, cupsd, document):
        before = cupsd.documents()
        code, found = run_json("print", cupsd.uri() + ";AUTH=DAA", document, "-u", "ann", password=SECRET)
        assert (code, found["error"]) == (SECURITY, "security")
        assert cupsd.documents() == before

    def test_wait(self, cupsd, document):
        code, found = run_json("print", cupsd.uri(), document, "--wait", "--title", "a title", "-u", "bob")
        assert (code, found["state"], found["title"]) == (FINE, "completed", "a title")

    def test_create_job(self, cupsd, document):
        code, found = run_json("print", cupsd.uri(), document, "--create-job", "--copies", 2, "-o", "sides=one-sided")
        assert code == FINE
        wait.until(lambda: cupsd.documents().get(found["job"]) == PDF, "the document")

    def test_text(self, cupsd, document):
        done = run("print", cupsd.uri(), document)
        assert (done.returncode, done.stderr) == (FINE, "")
        assert re.fullmatch(r"job \d+: 191 bytes, application/pdf, [a-z-]+( \(.*\))?\nuri: ipp://.*\nhow: clear text.*\n"
                            r"who: nobody that is authenticated\nuser: .*, which nothing proves\n", done.stdout)

    def test_standard_input(self, cupsd):
        code, found = run_json("print", cupsd.uri(), "-", input=PDF.decode())
        assert (code, found["title"], found["bytes"]) == (FINE, "stdin", len(PDF))
        wait.until(lambda: cupsd.documents().get(found["job"]) == PDF, "the document")

    def test_no_such_printer(self, cupsd, document):
        done = run("print", cupsd.uri("nothing"), document)
        assert done.returncode == REFUSED
        assert "client-error-not-found" in done.stderr and done.stdout == ""

    def test_jobs(self, cupsd, document):
        code, found = run_json("print", cupsd.uri(), document, "--wait", "-u", "carol")
        assert code == FINE
        code, listed = run_json("jobs", cupsd.uri(), "--completed")
        assert code == FINE and listed["printer"]["name"] == "acct" and listed["printer"]["accepting"]
        mine = next(j for j in listed["jobs"] if j["job"] == found["job"])
        assert (mine["state"], mine["user"], mine["title"]) == ("completed", "carol", "letter.pdf")
        for arguments in (["jobs", found["job_uri"]], ["status", found["job_uri"]],
                          ["jobs", cupsd.uri(), "--job", found["job"]]):
            code, one = run_json(*arguments)
            assert (code, [j["state"] for j in one["jobs"]]) == (FINE, ["completed"])

    def test_jobs_text(self, cupsd):
        done = run("jobs", cupsd.uri())
        assert (done.returncode, done.stderr) == (FINE, "")
        assert re.match(r"acct: (idle|processing) \(.*\), takes jobs, \d+ queued\n", done.stdout)


class TestIppEvePrinter:
    """Announces a chunked answer to OPTIONS that never ends; takes one job at a time."""

    @pytest.mark.parametrize("scheme, auth, channel", [("ipp", "", "clear"), ("ipp", ";AUTH=TLS", "upgraded"),
                                                       ("ipps", "", "implicit")])
    def test_print(self, eve, document, scheme, auth, channel):
        uri, trust = eve.uri().replace("ipp:", scheme + ":") + auth, ["--insecure-no-verify"]

        def when_not_busy():
            code, found = run_json("print", uri, document, "--wait", *trust)
            return (code, found) if found.get("status") != "server-error-busy" else None
        code, found = wait.until(when_not_busy, "ippeveprinter to be ready", 30)
        assert (code, found["channel"], found["state"]) == (FINE, channel, "completed")
        assert PDF in eve.documents()
        assert run_json("jobs", found["job_uri"], *trust)[1]["jobs"][0]["job"] == found["job"]

    def test_nobody_vouches_for_it(self, eve, document):
        code, found = run_json("print", eve.uri() + ";AUTH=TLS", document)
        assert (code, found["error"]) == (SECURITY, "security")
        assert "certificate" in found["why"]

    def test_value_that_it_does_not_know(self, eve, document):
        done = run("print", eve.uri(), document, "-o", "media=a4")
        assert done.returncode == REFUSED
        assert "client-error-attributes-or-values-not-supported" in done.stderr


# ---- the gateway ----

# name, scheme, list, is the user named: what is to come of it.
LISTS = {
    "nothing": ("open", "ipp", "", False, ("clear", "", "claimed")),
    "nothing, for a printer that wants TLS": ("secure", "ipp", "", False, ("upgraded", "TLS", "claimed")),
    "TLS": ("secure", "ipp", ";AUTH=TLS", False, ("upgraded", "TLS", "claimed")),
    "tls": ("secure", "ipp", ";auth=tls", False, ("upgraded", "TLS", "claimed")),
    "TLS, of a printer that wants nothing": ("open", "ipp", ";AUTH=TLS", False, ("upgraded", "TLS", "claimed")),
    "SSL3": ("secure", "ipp", ";AUTH=SSL3", False, ("implicit", "SSL3", "claimed")),
    "TLS,SSL3": ("secure", "ipp", ";AUTH=TLS,SSL3", False, ("upgraded", "TLS", "claimed")),
    "ipps": ("secure", "ipps", "", False, ("implicit", "SSL3", "claimed")),
    "DAA": ("daa", "ipp", ";AUTH=DAA", True, ("clear", "DAA", "digest")),
    "TLS,DAA": ("digest", "ipp", ";AUTH=TLS,DAA", True, ("upgraded", "TLS,DAA", "digest")),
    "DAA,TLS": ("digest", "ipp", ";AUTH=DAA,TLS", True, ("upgraded", "TLS,DAA", "digest")),
    "SSL3,DAA": ("digest", "ipp", ";AUTH=SSL3,DAA", True, ("implicit", "SSL3,DAA", "digest")),
    "ipps and DAA": ("digest", "ipps", ";AUTH=DAA", True, ("implicit", "SSL3,DAA", "digest")),
    "ipps, for a printer that wants Digest": ("digest", "ipps", "", True, ("implicit", "SSL3,DAA", "digest")),
}


class TestGateway:
    @pytest.mark.parametrize("case", LISTS)
    def test_list(self, gateway, document, certificates, cupsd, case):
        """Each list gets what it says, and the job's URI says the same."""
        name, scheme, auth, named, expected = LISTS[case]
        user = ["-u", "ann"] if named else []
        code, found = run_json("print", gateway.uri(name, scheme, auth=auth), document, "--ca", certificates.ca, *user,
                               password=SECRET if named else None)
        assert code == FINE, found
        assert channel_of(found) == expected
        record = gateway.wait_record(lambda r: r.get("print", {}).get("operation") == "Print-Job" and
                                     r["print"].get("job") == found["job"])
        assert record["print"]["channel"] == expected[0], record
        channel, daa = expected[0], "DAA" in expected[1]
        scheme_of_job = "ipps" if channel == "implicit" else "ipp"
        list_of_job = {"upgraded": ["TLS"]}.get(channel, []) + ["DAA"] * daa
        assert found["job_uri"].startswith(scheme_of_job + "://")
        assert found["job_uri"].partition(";AUTH=")[2].split(",") == (list_of_job or [""])

    @pytest.mark.parametrize("auth, said", [
        (";AUTH=TLS,SSL3", "warning: one of the list's ways to TLS would be enough"), (";AUTH=TLS", "")])
    def test_two_ways_to_tls(self, gateway, document, certificates, cupsd, auth, said):
        """Told, and no reason not to print."""
        before, uri = cupsd.documents(), gateway.uri("secure", auth=auth)
        done = run("print", uri, document, "--ca", certificates.ca)
        assert (done.returncode, done.stderr) == (FINE, f"sallyport print: {uri}: {said}\n" if said else "")
        assert ", by upgrade\n" in done.stdout
        wait.until(lambda: len(cupsd.documents()) > len(before), "the document")
        assert [octets for job, octets in cupsd.documents().items() if job not in before] == [PDF]

    def test_every_later_request_is_as_well_protected(self, gateway, document, certificates):
        """The URI of the job is enough to be let in to it; less is not, and somebody else is not."""
        trust = ["--ca", certificates.ca]
        code, found = run_json("print", gateway.uri("digest", auth=";AUTH=TLS,DAA"), document, *trust, "-u", "ann",
                               password=SECRET)
        assert code == FINE
        code, one = run_json("jobs", found["job_uri"], *trust, "-u", "ann", password=SECRET)
        assert (code, channel_of(one)) == (FINE, ("upgraded", "TLS,DAA", "digest"))
        bare = found["job_uri"].partition(";")[0]
        assert run("jobs", bare, *trust).returncode == LOGIN

    def test_cancel(self, gateway, document, certificates):
        trust = ["--ca", certificates.ca]
        code, found = run_json("print", gateway.uri("held", auth=";AUTH=TLS"), document, *trust, "-u", "bob")
        assert (code, found["state"]) == (FINE, "pending-held"), found
        code, canceled = run_json("cancel", found["job_uri"], *trust, "-u", "bob")
        assert (code, canceled["job"], canceled["state"]) == (FINE, found["job"], "canceled"), canceled
        code, again = run_json("cancel", found["job_uri"], *trust, "-u", "bob")
        assert (code, again["error"]) == (REFUSED, "refused")
        assert "canceled already" in again["why"]

    def test_cancel_by_number(self, gateway, document, certificates):
        trust = ["--ca", certificates.ca, "-u", "bob"]
        uri = gateway.uri("held", auth=";AUTH=TLS")
        code, found = run_json("print", uri, document, *trust)
        done = run("cancel", uri, "--job", found["job"], *trust)
        assert (done.returncode, done.stderr) == (FINE, "")
        assert done.stdout.startswith(f"job {found['job']} is canceled: letter.pdf\n")

    def test_cancel_of_a_stranger(self, gateway, document, certificates):
        trust = ["--ca", certificates.ca]
        code, found = run_json("print", gateway.uri("digest", auth=";AUTH=TLS,DAA"), document, *trust, "-u", "ann",
                               password=SECRET)
        assert code == FINE
        assert run("cancel", found["job_uri"].partition(";")[0], *trust, "-u", "eve", password="nothing").returncode == LOGIN

    def test_wrong_password(self, gateway, document, certificates, cupsd):
        before = cupsd.documents()
        done = run("print", gateway.uri("digest", auth=";AUTH=TLS,DAA"), document, "--ca", certificates.ca, "-u", "ann",
                   password="guessed")
        assert done.returncode == LOGIN
        assert "does not accept user 'ann' with this password" in done.stderr
        assert cupsd.documents() == before

    def test_nobody_is_named(self, gateway, document, certificates):
        done = run("print", gateway.uri("digest"), document, "--ca", certificates.ca)
        assert done.returncode == LOGIN and "name a user (-u)" in done.stderr

    def test_large(self, gateway, certificates, cupsd, tmp_path):
        path = tmp_path / "large.txt"
        path.write_bytes(os.urandom(1 << 20) * 12)
        code, found = run_json("print", gateway.uri("secure", auth=";AUTH=TLS"), path, "--ca", certificates.ca, "--type",
                               "application/octet-stream")
        assert (code, found["bytes"]) == (FINE, 12 << 20)
        wait.until(lambda: path.read_bytes() in cupsd.documents().values(), "the document", 30)


# ---- what is sent, and what is not ----

def tls_only(session):
    """Nothing of IPP in clear text."""
    return b"POST" not in session.clear and b"printer-uri" not in session.clear


class TestDowngrade:
    """Somebody takes the Upgrade field out, or the printer never knew it."""

    @pytest.mark.parametrize("status", [b"200 OK", b"400 Bad", b"405 No", b"501 No", b"404 No"])
    def test_nothing_is_sent(self, start, document, status):
        fake = start(options=b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status)
        code, found = run_json("print", fake.uri(auth=";AUTH=TLS,DAA"), document, "-u", "ann", password=SECRET)
        assert (code, found["error"]) == (SECURITY, "security")
        assert "does not upgrade to TLS" in found["why"]
        assert fake.heard == [] and all(tls_only(s) and s.tls == b"" for s in fake.sessions)

    def test_no_insist(self, start, document):
        """A warning, and the document in clear text; but no password."""
        fake = start(options=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        done = run("print", fake.uri(auth=";AUTH=TLS"), document, "--no-insist")
        assert done.returncode == FINE
        assert "warning: " in done.stderr and "in clear text" in done.stderr
        assert fake.last(ipp.PRINT_JOB).document == PDF
        fake.clear[None] = denied(DIGEST)
        done = run("print", fake.uri(auth=";AUTH=TLS"), document, "--no-insist", "-u", "ann", password=SECRET)
        assert done.returncode == SECURITY
        assert not any(b"Authorization" in s.clear for s in fake.sessions)

    def test_401_before_101(self, start, document):
        fake = start(options=denied(BASIC, DIGEST))
        done = run("print", fake.uri(auth=";AUTH=TLS,DAA"), document, "-u", "ann", password=SECRET)
        assert done.returncode == SECURITY and "in clear text" in done.stderr
        assert not any(b"Authorization" in s.clear for s in fake.sessions)

    def test_no_tls_behind_101(self, start, document, certificates):
        fake = start(no_tls=True)
        assert run("print", fake.uri(auth=";AUTH=TLS"), document, "--ca", certificates.ca).returncode == SECURITY
        assert fake.heard == []

    def test_bytes_behind_101(self, start, document, certificates):
        """What an attacker puts there would be taken for the printer's first answer inside TLS."""
        fake = start(options=SWITCH + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        done = run("print", fake.uri(auth=";AUTH=TLS"), document, "--ca", certificates.ca)
        assert done.returncode == SECURITY and "follows the printer's 101" in done.stderr
        assert fake.heard == []

    def test_answer_too_many(self, start, document, certificates):
        fake = start(final=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 2)
        done = run("print", fake.uri(auth=";AUTH=TLS"), document, "--ca", certificates.ca)
        assert done.returncode == NETWORK and "before it was asked" in done.stderr
        assert fake.heard == []

    def test_lenient(self, start, document, certificates):
        fake = start(options=b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        uri, trust = fake.uri(auth=";AUTH=TLS"), ["--ca", certificates.ca]
        assert run("print", uri, document, *trust).returncode == SECURITY
        assert run("print", uri, document, *trust, "--lenient-upgrade").returncode == FINE

    def test_certificate(self, start, document, certificates):
        fake = start()
        assert run("print", fake.uri(auth=";AUTH=TLS"), document).returncode == SECURITY
        assert fake.heard == []
        assert run("print", fake.uri(auth=";AUTH=TLS"), document, "--insecure-no-verify").returncode == FINE

    def test_nobody_asks_for_digest(self, start, document, certificates):
        """Told before anything of a job was said."""
        fake = start()
        code, found = run_json("print", fake.uri(auth=";AUTH=TLS,DAA"), document, "--ca", certificates.ca, "-u", "ann",
                               password=SECRET)
        assert (code, found["error"]) == (SECURITY, "security")
        assert fake.operations() == [ipp.GET_PRINTER_ATTRIBUTES, ipp.VALIDATE_JOB]
        code, _ = run_json("cancel", fake.uri(auth=";AUTH=TLS,DAA"), "--job", 1, "--ca", certificates.ca, "-u", "ann",
                           password=SECRET)
        assert code in (REFUSED, SECURITY) and ipp.CANCEL_JOB not in fake.operations()

    def test_cancel_without_digest(self, start, document, certificates):
        fake = start()
        fake.reply(type("", (), {"operation": ipp.CREATE_JOB, "message": ipp.request(ipp.CREATE_JOB, fake.uri())}))
        fake.job = lambda number: [("job-id", ipp.INTEGER, number), ("job-state", ipp.ENUM, ipp.PROCESSING)]
        done = run("cancel", fake.uri(auth=";AUTH=TLS,DAA"), "--job", 1, "--ca", certificates.ca, "-u", "ann", password=SECRET)
        assert done.returncode == SECURITY and "the printer does not ask for it; nothing was done" in done.stderr
        assert fake.operations() == [ipp.GET_JOB_ATTRIBUTES]


class TestDemands:
    """A printer that is asked in clear text, and wants TLS."""

    @pytest.mark.parametrize("status", [b"426", b"418"])
    def test_upgrade(self, start, document, certificates, status):
        fake = start(clear={None: DEMAND % status})
        code, found = run_json("print", fake.uri(), document, "--ca", certificates.ca)
        assert (code, found["channel"]) == (FINE, "upgraded")
        assert {h.where for h in fake.heard if h.operation == ipp.PRINT_JOB} == {"tls"}
        assert not any(PDF in s.clear for s in fake.sessions)

    def test_plain_418(self, start, document, certificates):
        fake = start(clear={None: b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n"})
        done = run("print", fake.uri(), document, "--ca", certificates.ca)
        assert done.returncode == REFUSED and "418" in done.stderr

    def test_426_without_upgrade(self, start, document, certificates):
        fake = start(clear={None: b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"})
        done = run("print", fake.uri(), document, "--ca", certificates.ca)
        assert done.returncode == SECURITY and "-p" in done.stderr


class TestWire:
    """What a printer of somebody else's gets to see."""

    def test_order(self, start, document, certificates):
        """Upgrade, then what the printer can do, then whether it would take the job, then the job."""
        fake = start()
        assert run("print", fake.uri(auth=";AUTH=TLS"), document, "--ca", certificates.ca, "-u", "joe", "--title", "t",
                   "--copies", 3, "-o", "sides=one-sided", "-o", "x-fold=true").returncode == FINE
        assert fake.operations() == [ipp.GET_PRINTER_ATTRIBUTES, ipp.VALIDATE_JOB, ipp.PRINT_JOB]
        assert len(fake.sessions) == 1 and tls_only(fake.sessions[0])
        head = fake.sessions[0].clear
        assert head == (b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: sallyport/%s\r\n"
                        b"Upgrade: TLS/1.3, TLS/1.2\r\nConnection: Upgrade\r\n\r\n" % (fake.port, version()))
        job = fake.last(ipp.PRINT_JOB)
        assert job.head.startswith(b"POST /ipp/print HTTP/1.1\r\n") and b"\r\nExpect: 100-continue\r\n" in job.head
        assert job.document == PDF
        asked = job.message
        assert asked.get("printer-uri") == fake.uri()  # without a list that a stranger does not know
        assert asked.get("requesting-user-name") == "joe" and asked.get("job-name") == "t"
        assert asked.get("document-format") == "application/pdf"
        assert asked.attributes(ipp.JOB) == [("copies", ipp.INTEGER, 3), ("sides", ipp.KEYWORD, "one-sided"),
                                             ("x-fold", ipp.BOOLEAN, True)]

    def test_syntax_that_the_printer_tells(self, start, document):
        fake = start(more=[("x-fold-default", ipp.KEYWORD, "none"), ("print-quality-supported", ipp.ENUM, 3, 4, 5),
                           ("bin-supported", ipp.NAME, "left")])
        assert run("print", fake.uri(), document, "-o", "x-fold=true", "-o", "print-quality=high", "-o",
                   "bin=7").returncode == FINE
        assert fake.last(ipp.PRINT_JOB).message.attributes(ipp.JOB) == [
            ("x-fold", ipp.KEYWORD, "true"), ("print-quality", ipp.ENUM, 5), ("bin", ipp.NAME, "7")]
        fake.forget()
        done = run("print", fake.uri(), document, "-o", "print-quality=best")
        assert done.returncode == USAGE and "print-quality=best: the number of an enum is wanted" in done.stderr
        assert fake.operations() == [ipp.GET_PRINTER_ATTRIBUTES]

    @pytest.mark.parametrize("name, content, formats, expected", [
        ("a.txt", b"hello", [], "text/plain"), ("a", b"%!PS-Adobe", [], "application/postscript"),
        ("a.pdf", b"\xff\xd8\xff\xe0", [], "image/jpeg"), ("a.bin", b"\0\1", [], "application/octet-stream"),
        ("a.txt", b"hello", ["application/octet-stream", "image/urf"], "application/octet-stream"),
        ("a.txt", b"hello", ["image/urf"], "text/plain")])
    def test_format(self, start, tmp_path, name, content, formats, expected):
        fake = start(more=[("document-format-supported", ipp.MIME, *formats)] if formats else [])
        (tmp_path / name).write_bytes(content)
        assert run("print", fake.uri(), tmp_path / name).returncode == FINE
        assert fake.last(ipp.PRINT_JOB).message.get("document-format") == expected

    def test_type(self, start, document):
        fake = start()
        assert run("print", fake.uri(), document, "--type", "image/urf").returncode == FINE
        assert fake.last(ipp.PRINT_JOB).message.get("document-format") == "image/urf"

    def test_the_list_is_for_gateways(self, start, document, certificates):
        """Who says that it is one of ours gets the URI with its list, from the first request on; the request-target has
        none in any case."""
        fake = start(final=b"HTTP/1.1 200 OK\r\nServer: sallyport\r\nContent-Length: 0\r\n\r\n")
        fake.within[None] = lambda heard: http(fake.reply(heard), more=b"Server: sallyport/9\r\n")
        fake.within[ipp.PRINT_JOB] = None
        uri = fake.uri(auth=";AUTH=TLS")
        assert run("print", uri, document, "--ca", certificates.ca).returncode == FINE
        assert [h.message.get("printer-uri") for h in fake.heard] == [uri] * 3
        assert all(h.head.startswith(b"POST /ipp/print HTTP/1.1\r\n") for h in fake.heard)

    def test_basic(self, start, document, certificates):
        """Within TLS, to whom it is allowed, and nowhere else."""
        def ask(heard):
            return None if b"\r\nAuthorization: Basic " in heard.head else denied(BASIC)
        fake = start(within={ipp.VALIDATE_JOB: ask})
        options = ["--ca", certificates.ca, "-u", "ann"]
        done = run("print", fake.uri("ipps"), document, *options, password=SECRET)
        assert done.returncode == LOGIN and "--allow-basic" in done.stderr
        code, found = run_json("print", fake.uri("ipps"), document, *options, "--allow-basic", password=SECRET)
        assert (code, found["user_by"]) == (FINE, "basic")
        fake.clear[ipp.VALIDATE_JOB] = ask
        done = run("print", fake.uri(), document, *options, "--allow-basic", password=SECRET)
        assert done.returncode == LOGIN and "to whoever listens" in done.stderr
        assert not any(b"Authorization" in s.clear for s in fake.sessions)
        done = run("print", fake.uri("ipps", ";AUTH=DAA"), document, *options, "--allow-basic", password=SECRET)
        assert done.returncode == SECURITY and "offers Basic alone" in done.stderr

    def test_userinfo(self, start, document):
        """A password in the URI is used where it is asked for by Digest, and is nowhere else."""
        fake = start(clear={None: denied(DIGEST)})
        uri = fake.uri().replace("://", "://ann:sesame%21@")
        done = run("print", uri, document)
        assert done.returncode == LOGIN  # the fake knows nobody
        assert "warning: a user or password in a URI is seen by many" in done.stderr
        assert "sesame" not in done.stdout + done.stderr
        sent = b"".join(s.clear for s in fake.sessions)
        assert b'Authorization: Digest username="ann"' in sent
        assert b"sesame" not in sent and b"ann:" not in sent and b"@127" not in sent

    @pytest.mark.parametrize("uri", ["ipp://ann:sesa/me@h/q", "ipp://ann:sesa?me@h/q", "ipp://ann:sesa#me@h/q",
                                     "ipp://ann:ses@ame@h/q", "ftp://ann:sesame@h/q", "ipp://ann:sesame@h;AUTH=TLS"])
    def test_wrong_uri_with_a_password(self, document, uri):
        """Whatever is wrong with it, it is not shown."""
        done = run("print", uri, document)
        assert (done.returncode, done.stdout) == (USAGE, "")
        assert done.stderr and "ses" not in done.stderr

    def test_password_leaves_the_command_line(self, start, document):
        """Whoever looks at processes a moment later does not see it."""
        fake = start(final=None)
        uri = fake.uri(auth=";AUTH=TLS").replace("://", "://ann:sesame@")
        with subprocess.Popen([binary(), "print", uri, document, "--insecure-no-verify"], stderr=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, start_new_session=True) as process:
            wait.until(lambda: fake.sessions and fake.sessions[0].clear, "the request for TLS")
            seen = pathlib.Path(f"/proc/{process.pid}/cmdline").read_bytes()
            process.kill()
        assert b"sesame" not in seen and b"ann@127.0.0.1" in seen

    def test_ignored(self, start, document):
        """What a printer passes over is told."""
        fake = start(clear={ipp.VALIDATE_JOB: lambda heard: http(answer(
            heard.message, 1, (ipp.UNSUPPORTED, [("x-fold", 0x10, None)])))})
        done = run("print", fake.uri(), document, "-o", "x-fold=true")
        assert done.returncode == FINE and "warning: the printer does not do x-fold" in done.stderr

    def test_validate_job_is_unknown(self, start, document):
        fake = start(clear={ipp.VALIDATE_JOB: lambda heard: http(answer(heard.message, 0x0501))})
        assert run("print", fake.uri(), document).returncode == FINE
        assert fake.last(ipp.PRINT_JOB).document == PDF


def version():
    return run("version").stdout.split()[1].encode()


# ---- proxies ----

class TestProxy:
    """CONNECT and nothing else: TLS ends at the printer."""

    @pytest.mark.parametrize("scheme, auth, channel", [("ipp", "", "clear"), ("ipp", ";AUTH=TLS", "upgraded"),
                                                       ("ipps", "", "implicit")])
    def test_tunnel(self, proxy, gateway, document, certificates, scheme, auth, channel):
        between = proxy()
        code, found = run_json("print", gateway.uri("open", scheme, auth=auth), document, "--ca", certificates.ca, "-p",
                               f"127.0.0.1:{between.port}")
        assert (code, found["channel"]) == (FINE, channel)
        assert set(between.methods()) == {b"CONNECT"}
        assert set(between.targets()) == {"{}:{}".format(*gateway.address("print"))}
        assert channel == "clear" or PDF not in between.passed

    def test_login(self, proxy, gateway, document, certificates, tmp_path):
        between = proxy(users={"pat": "sesame"})
        secret = tmp_path / "secret"
        secret.write_text("sesame\n")
        secret.chmod(0o600)
        options = ["--ca", certificates.ca, "-p", f"http://pat@127.0.0.1:{between.port}"]
        uri = gateway.uri("secure", auth=";AUTH=TLS")
        done = run("print", uri, document, *options, "--proxy-password-file", secret)
        assert done.returncode == FINE, done.stderr
        assert b"sesame" not in b"".join(between.heads)
        secret.write_text("wrong\n")
        done = run("print", uri, document, *options, "--proxy-password-file", secret)
        assert done.returncode == LOGIN and "the proxy does not accept user 'pat'" in done.stderr
        done = run("print", uri, document, *options)
        assert done.returncode == LOGIN and "--proxy-password-file" in done.stderr

    def test_basic(self, proxy, gateway, document, tmp_path):
        """The way to the proxy is in clear text: it gets no password."""
        between = proxy(users={"pat": "sesame"}, challenge=b'Proxy-Authenticate: Basic realm="proxy"\r\n')
        secret = tmp_path / "secret"
        secret.write_text("sesame\n")
        secret.chmod(0o600)
        done = run("print", gateway.uri("open"), document, "-p", f"pat@127.0.0.1:{between.port}", "--proxy-password-file",
                   secret, "--allow-basic")
        assert done.returncode == LOGIN and "Basic alone" in done.stderr
        assert not any(b"Authorization" in h for h in between.heads)

    @pytest.mark.parametrize("refusal", [b"403 Forbidden", b"405 Method Not Allowed"])
    def test_only_443(self, proxy, start, document, certificates, refusal):
        """Where the list has another way, that is tried."""
        fake = start()
        between = proxy(ports={443}, to={443: fake.port}, refusal=refusal)
        options = ["--ca", certificates.ca, "-p", f"127.0.0.1:{between.port}"]
        code, found = run_json("print", "ipp://127.0.0.1/ipp/print;AUTH=TLS,SSL3", document, *options)
        assert (code, found["channel"]) == (FINE, "implicit")
        assert between.targets()[:2] == ["127.0.0.1:631", "127.0.0.1:443"]
        done = run("print", "ipp://127.0.0.1/ipp/print;AUTH=TLS", document, *options)
        assert done.returncode == NETWORK and "lets nobody through to 127.0.0.1:631" in done.stderr

    def test_nobody_listens(self, document):
        done = run("print", "ipp://127.0.0.1/q", document, "-p", f"127.0.0.1:{free_port()}")
        assert done.returncode == NETWORK and "the proxy: " in done.stderr

    def test_that_closes(self, document):
        with Stub(lambda peer, _stub: peer.head()) as stub:
            done = run("print", "ipp://127.0.0.1/q", document, "-p", stub.address)
        assert done.returncode == NETWORK and "no good answer from the proxy" in done.stderr


# ---- wrong input ----

def traced(path, *arguments):
    """`print`, and what it asks of the net in |path|."""
    command = [need("strace", "strace"), "-f", "-e", "trace=network", "-o", path, binary(), "print", *arguments]
    # The leak checker of sanitizers wants to trace for itself.
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})


class TestUse:
    @pytest.mark.parametrize("arguments, words", [
        (["ipp://h/q;AUTH=KERB"], "cannot do KERB"), (["ipp://h/q;AUTH=TLS,IPSEC"], "cannot do IPSEC")])
    def test_no_connection_for_what_cannot_be_done(self, document, tmp_path, arguments, words):
        """Not a single connect(2), and no look-up of the host either."""
        trace = tmp_path / "trace"
        done = traced(trace, *arguments, document)
        assert (done.returncode, done.stdout) == (SECURITY, "")
        assert words in done.stderr and "nothing was sent" in done.stderr
        assert not [line for line in trace.read_text().splitlines() if re.search(r"\b(connect|sendto|sendmsg)\(", line)]

    def test_the_trace_above_can_show_one(self, document, tmp_path):
        trace = tmp_path / "trace"
        done = traced(trace, f"ipp://127.0.0.1:{free_port()}/q", document)
        assert done.returncode == NETWORK
        assert re.search(r"\bconnect\(", trace.read_text())

    @pytest.mark.parametrize("arguments", [
        [], ["ipp://h/q"], ["ipp://h/q", "a", "b"], ["icap://h/q", "DOC"], ["h", "DOC"], ["ipp://h;AUTH=TLS", "DOC"],
        ["ipp://h/q;AUTH=", "DOC"], ["ipp://h/q;AUTH=TLS;AUTH=DAA", "DOC"], ["ipp://h/q;AUTH=DAA", "DOC"],
        ["ipp://h/q", "/nothing"], ["ipp://h/q", "/"], ["ipp://h/q", "EMPTY"], ["ipp://h/q", "DOC", "-o", "sides"],
        ["ipp://h/q", "DOC", "-o", "sides=a", "-o", "Sides=b"], ["ipp://h/q", "DOC", "-o", "copies=1", "--copies", "2"],
        ["ipp://h/q", "DOC", "--copies", "0"], ["ipp://h/q", "DOC", "--copies", "many"], ["ipp://h/q", "DOC", "--type", "pdf"],
        ["ipp://h/q", "DOC", "--title", ""], ["ipp://h/q", "DOC", "--title", "a\nb"], ["ipp://h/q", "DOC", "--nothing"],
        ["ipp://h/q", "DOC", "-u", ""], ["ipp://h/q", "DOC", "-u", "a:b"], ["ipp://joe@h/q", "DOC", "-u", "ann"],
        ["ipp://a%zz:b@h/q", "DOC"], ["ipp://a:b%0@h/q", "DOC"], ["ipp://a@b@h/q", "DOC"],
        ["ipp://h/q", "DOC", "--password", "x"], ["ipp://h/q", "DOC", "--password-file", "x"],
        ["ipp://h/q", "DOC", "-u", "ann", "--password-file", "/nothing"], ["ipp://h/q", "DOC", "-p", "proxy"],
        ["ipp://h/q", "DOC", "-p", "ftp://proxy:1"], ["ipp://h/q", "DOC", "-p", "proxy:1/x"], ["ipp://h/q", "DOC", "-p", ":1"],
        ["ipp://h/q", "DOC", "-p", "a:b@proxy:1"], ["ipp://h/q", "DOC", "--proxy-password-file", "x"],
        ["ipp://h/q", "DOC", "-p", "proxy:1", "--proxy-password-file", "x"],
        ["ipps://h/q", "DOC", "--ca", "/nothing"], ["ipps://h/q", "DOC", "--ca", "x", "--insecure-no-verify"],
        ["ipps://h/q", "DOC", "--key", "x"], ["ipps://h/q", "DOC", "--allow-basic", "--insecure-no-verify"],
        ["ipp://h/q", "DOC", "--timeout", "0"], ["ipp://h/q", "DOC", "--connect-timeout", "x"]])
    def test_wrong_use_of_print(self, document, tmp_path, arguments):
        """Told before anybody is connected to."""
        (tmp_path / "empty").touch()
        names = {"DOC": document, "EMPTY": tmp_path / "empty"}
        done = run("print", *(names.get(a, a) for a in arguments))
        assert (done.returncode, done.stdout) == (USAGE, ""), done.stderr
        assert done.stderr

    @pytest.mark.parametrize("command", ["cancel", "jobs"])
    @pytest.mark.parametrize("arguments", [[], ["ipp://h/q", "x"], ["ftp://h/q"], ["ipp://h/q", "--job", "0"],
                                           ["ipp://h/q", "--job", "x"], ["ipp://h/q", "--job", "99999999999"],
                                           ["ipp://h/q;AUTH=DAA"], ["ipp://h/q", "--nothing"]])
    def test_wrong_use(self, command, arguments):
        done = run(command, *arguments)
        assert (done.returncode, done.stdout) == (USAGE, "")
        assert done.stderr

    @pytest.mark.parametrize("arguments", [["--max", "0"], ["--max", "x"]])
    def test_wrong_use_of_jobs(self, arguments):
        assert run("jobs", "ipp://h/q", *arguments).returncode == USAGE

    @pytest.mark.parametrize("command", ["print", "cancel", "jobs"])
    def test_help(self, command):
        done = run("help", command)
        assert (done.returncode, done.stderr) == (FINE, "")
        assert done.stdout.startswith(f"usage: sallyport {command} ")
        assert run(command, "--help").stdout == run(command, "-h").stdout == done.stdout

    def test_status_is_still_the_gateway_s(self):
        assert run("status", "argument").returncode == USAGE
        assert "unexpected argument 'argument'" in run("status", "argument").stderr

    def test_status_of_a_printer(self, start):
        fake = start()
        done = run("status", fake.uri())
        assert done.returncode == FINE and done.stdout.startswith("fake: idle ")

    def test_password_without_a_terminal(self, start, document, certificates):
        fake = start(within={None: denied(DIGEST)})
        done = run("print", fake.uri(auth=";AUTH=TLS,DAA"), document, "--ca", certificates.ca, "-u", "ann")
        assert done.returncode == LOGIN and "no terminal to ask for it" in done.stderr

    def test_password_file_of_others(self, document, tmp_path):
        secret = tmp_path / "secret"
        secret.write_text(SECRET)
        secret.chmod(0o644)
        done = run("print", "ipp://h/q", document, "-u", "ann", "--password-file", secret)
        assert done.returncode == USAGE and "others may read it" in done.stderr

    def test_nobody_listens(self, document):
        code, found = run_json("print", f"ipp://127.0.0.1:{free_port()}/q", document)
        assert (code, found["error"]) == (NETWORK, "network")

    def test_no_such_host(self, document):
        done = run("print", "ipp://nothing.invalid/q", document)
        assert done.returncode == NETWORK and "cannot find nothing.invalid" in done.stderr


class TestTerminal:
    def test_asks_for_the_password(self, start, document):
        """On the terminal, when the printer wants it."""
        fake = start(clear={None: denied(DIGEST)})
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(str(binary()), [str(binary()), "print", fake.uri(), str(document), "-u", "ann"])
        seen = read_until(terminal, b"Password of ann at 127.0.0.1: ")
        wait.until(lambda: not termios.tcgetattr(terminal)[3] & termios.ECHO, "echo to be switched off")
        os.write(terminal, b"sesame\n")
        seen += read_until(terminal, None)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == LOGIN
        os.close(terminal)
        assert b"sesame" not in seen and b"does not accept user 'ann'" in seen

    def test_progress(self, start, tmp_path):
        """A line that grows, and is gone at the end."""
        path = tmp_path / "large"
        path.write_bytes(bytes(40 << 20))
        fake = start()
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(str(binary()), [str(binary()), "print", fake.uri(), str(path)])
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        seen = read_until(terminal, None)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == FINE
        os.close(terminal)
        assert re.search(rb"\r\x1b\[K(\[#* *\] )?[\d.]+ (bytes|[KM]iB) (of 40\.0 MiB|sent)", seen), seen
        assert seen.rindex(b"\r\x1b[K") < seen.index(b"job 1: 40.0 MiB")


def read_until(terminal, mark):
    """What comes from a terminal, up to |mark|, or to its end."""
    seen = b""
    while mark is None or mark not in seen:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            data = b""
        if not data:
            assert mark is None, seen
            return seen
        seen += data
    return seen
