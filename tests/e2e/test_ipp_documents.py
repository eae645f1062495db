# SPDX-License-Identifier: Apache-2.0
"""Documents on their way through the print gateway: what arrives does so byte for byte, and of what is refused its
printer hears nothing, while the client hears it in the status that makes it stop."""
import gzip
import io
import zipfile
import zlib

import pytest

from testenv import ipp, samples, wait
from testenv.cups import client_environment, ipptool, run
from testenv.peers import need
from testenv.print_wire import Wire
from testenv.printing import PrintGateway, printer
from testenv.tap import Tap

MACROS = "application/vnd.ms-word.document.macroenabled.12"
EXE = "application/vnd.microsoft.portable-executable"
CUPS = "CUPS/2.4.2 (Linux 6.1; x86_64) IPP/2.0"
UEL = b"\x1b%-12345X"
PJL = UEL + b'@PJL JOB NAME="a"\r\n@PJL FSDELETE NAME="0:\\a"\r\n@PJL ENTER LANGUAGE=PCL\r\n\x1bE' + UEL
POSTSCRIPT = b"%!PS-Adobe-3.0\n%%Page: 1 1\n(%disk0%a) (w) file pop showpage\n"
JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000") + samples.noise(30_000) + b"\xff\xd9"


def pdf(pages=1, more=b""):
    kids = b" ".join(b"%d 0 R" % (3 + i) for i in range(pages))
    page = b"%d 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>\nendobj\n"
    return (b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Kids [" + kids
            + b"] /Count %d >>\nendobj\n" % pages + b"".join(page % (3 + i) for i in range(pages)) + more
            + b"trailer << /Root 1 0 R >>\n%%EOF\n")


def docm():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("[Content_Types].xml", "<Types/>")
        z.writestr("word/document.xml", "<a/>")
        z.writestr("word/vbaProject.bin", b"not that it could run")
    return out.getvalue()


EMBEDDED = b"9 0 obj\n<< /Type /EmbeddedFile /Length 68 >>\nstream\n" + samples.EICAR + b"\nendstream\nendobj\n"
EICAR_PDF = pdf(more=EMBEDDED)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, cupsd):
    uri = cupsd.uri()
    rules = "[{name: no-test-files, signature: [\"EICAR-*\"], then: block, why: no test files}]"
    printers = [
        printer("plain", uri, require="[]", contact="help@print.test"),
        printer("strict", uri, require="[]", pipeline="[yara, filetype, printing]", pages_max=2, rules=rules,
                types=f"{{deny: [{EXE}, {MACROS}], mismatch: block}}"),
        printer("small", uri, require="[]", body_max="10k"),
        printer("wordy", uri, require="[]", contact=LONG_CONTACT, formats="[application/pdf]"),
        printer("picky", uri, require="[]", formats="[application/pdf, image/*]", aliases="[/printers/picky]"),
        printer("lax", uri, require="[]", on="{infected: pass}"),
        printer("lax-picky", uri, require="[]", pipeline="[yara, filetype, printing]", pages_max=2,
                formats="[application/pdf]", rules="[{name: not-bob, user: [bob], then: block}]",
                on="{infected: pass, not-inspected: pass}"),
        printer("held", uri, require="[]", hold="true"),
    ]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers) as running:
        yield running


@pytest.fixture
def untouched(cupsd):
    """The printer hears of no job, and gets no byte of a document."""
    before = cupsd.known()
    yield
    assert cupsd.known() == before


class TestArrival:
    """What was sent, byte for byte."""
    ANYTHING = "application/octet-stream"
    # What it is said to be, what it looks like, and what it is.
    KINDS = {"text": ("text/plain", "text/plain", b"words\n" * 2000),
             "pdf": ("application/pdf", "application/pdf", pdf()), "jpeg": ("image/jpeg", "image/jpeg", JPEG),
             "anything": (ANYTHING, ANYTHING, samples.noise(70_000)), "pdf as anything": (ANYTHING, "application/pdf", pdf()),
             "pdf of no type": (None, "application/pdf", pdf())}

    @pytest.mark.parametrize("way", ["clear", "upgrade", "tls"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_kinds(self, gateway, cupsd, kind, way):
        name, (said, looks, document) = f"{kind} {way}", self.KINDS[kind]
        answer = gateway.client("plain", way, agent="Test/1.0").print_job(document, said, name=name)
        assert answer.code == ipp.OK, answer
        assert cupsd.printed(name) == [document]
        record = gateway.record_of(answer)
        assert (record["verdict"], record["action"], record["body_len"]) == ("pass", "pass", len(document)), record
        assert record["sha256"] == samples.digest(document)
        assert (record.get("type"), record["sniffed"]) == (said, looks), record
        assert (record["client"], record["user"], record["print"]["agent"]) == (answer.client, "ann", "Test/1.0"), record

    @pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
    @pytest.mark.parametrize("size", [1, 65536, 5_000_000])
    @pytest.mark.parametrize("operation", ["Print-Job", "Send-Document"])
    def test_sizes(self, gateway, cupsd, size, chunked, operation):
        name, document = f"{size} {chunked} {operation}", b"t" if size == 1 else samples.noise(size)
        client = gateway.client("plain")
        if operation == "Print-Job":
            answer = client.print_job(document, None, name=name, chunked=chunked)
        else:
            answer = client.send_document(client.create_job(name), document, None, chunked=chunked)
        assert answer.code == ipp.OK, answer
        assert cupsd.printed(name) == [document]

    def test_job_attributes_arrive(self, gateway, cupsd):
        client = gateway.client("plain")
        wanted = [("copies", ipp.INTEGER, 3), ("job-priority", ipp.INTEGER, 77)]
        assert client.print_job(b"a", name="now", job=wanted).code == ipp.OK
        assert client.send_document(client.create_job("late", job=wanted), b"a").code == ipp.OK
        names = "copies", "job-priority", "job-originating-user-name"
        numbers = [number for number, (name, _) in cupsd.jobs().items() if name in ("now", "late")]
        assert len(numbers) == 2
        for number in numbers:
            job = cupsd.client().job(number)
            assert [job.get(n, ipp.JOB) for n in names] == [3, 77, "ann"], job

    @pytest.mark.usefixtures("untouched")
    def test_no_document(self, gateway):
        answer = gateway.client("plain").print_job(b"")
        assert (answer.code, answer.message.get("status-message")) == (0x0400, "there is no document in the request")

    def test_two_documents(self, gateway, cupsd):
        client = gateway.client("plain")
        job = client.create_job("two")
        assert client.send_document(job, b"first", last=False).code == ipp.OK
        assert client.send_document(job, b"second").code == ipp.OK
        assert cupsd.printed("two") == [b"first", b"second"]

    def test_last_document_alone(self, gateway, cupsd):
        """Send-Document without a document says that no more follows (RFC 8011 4.3.1)."""
        client = gateway.client("plain")
        job = client.create_job("closed")
        assert client.send_document(job, b"only", last=False).code == ipp.OK
        assert client.send_document(job, b"", None).code == ipp.OK
        assert cupsd.printed("closed") == [b"only"]
        wait.until(lambda: client.job_state(job) == ipp.COMPLETED, "the job's end")

    @pytest.mark.parametrize("operation", [ipp.PRINT_JOB, ipp.SEND_DOCUMENT])
    def test_in_many_pieces(self, gateway, cupsd, operation):
        """All of it is here before anybody knows whether it is wanted."""
        client, document = gateway.client("plain"), samples.noise(30_000)
        name, more = f"pieces {operation}", {}
        if operation == ipp.SEND_DOCUMENT:
            more = {"job_id": client.create_job(name)}
        message = client.request(operation, ("job-name", ipp.NAME, name), ("last-document", ipp.BOOLEAN, True), **more)
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in
                          [message.encode()] + [document[i:i + 500] for i in range(0, 30_000, 500)] + [b""])
        with ipp.IppConnection(client.address) as c:
            c.sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
                           b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
            assert c.read().code == ipp.OK
        assert cupsd.printed(name) == [document]

    @pytest.mark.usefixtures("untouched")
    def test_last_document_is_not_said(self, gateway):
        client = gateway.client("plain")
        answer = client.ask(ipp.SEND_DOCUMENT, job_id=client.create_job("unsaid"), data=b"a")
        assert (answer.code, answer.message.get("status-message")) == (0x0400, "Send-Document needs last-document")

    @pytest.mark.usefixtures("untouched")
    def test_canceled_before_it_came(self, gateway):
        """In the status after which the scheduler of CUPS does not make another job of it."""
        client = gateway.client("plain")
        job = client.create_job("canceled")
        assert client.ask(ipp.CANCEL_JOB, job_id=job).code == ipp.OK
        answer = client.send_document(job, b"nobody wants it any more")
        assert (answer.code, answer.message.get("status-message")) == (0x0508, "the job was canceled")
        assert client.job_state(job) == ipp.CANCELED

    def test_compressed(self, gateway, cupsd):
        """As it was packed: who unpacks it is the printer."""
        packed = gzip.compress(b"words\n" * 5000)
        answer = gateway.client("plain").print_job(packed, name="packed", compression="gzip")
        assert answer.code == ipp.OK, answer
        [stored] = cupsd.printed("packed")
        assert packed == stored
        assert gateway.record_of(answer)["sha256"] == samples.digest(packed)

    @pytest.mark.usefixtures("untouched")
    @pytest.mark.parametrize("compression", ["compress", "br", "GZIP"])
    def test_unheard_of_compression(self, gateway, compression):
        answer = gateway.client("plain").print_job(b"a", compression=compression)
        assert answer.code == 0x040f, answer

    @pytest.mark.usefixtures("untouched")
    @pytest.mark.parametrize("group", [ipp.JOB, ipp.SUBSCRIPTION, ipp.DOCUMENT], ids=["job", "subscription", "document"])
    def test_compression_that_only_the_printer_sees(self, gateway, group):
        """It looks in every group, and would unpack what nobody has looked into."""
        sent = ipp.request(ipp.PRINT_JOB, "ipp://localhost/ipp/plain", data=gzip.compress(samples.EICAR))
        sent.groups.append((group, [("compression", ipp.KEYWORD, "gzip")]))
        with Wire(gateway.address("print")) as wire:
            assert wire.ask(sent).code == ipp.BAD_REQUEST

    def test_infected_may_pass(self, gateway, cupsd):
        """Where the configuration says so it is printed, and recorded as what it is."""
        answer = gateway.client("lax").print_job(samples.EICAR, name="lax")
        assert answer.code == ipp.OK, answer
        assert cupsd.printed("lax") == [samples.EICAR]
        record = gateway.record_of(answer)
        assert (record["verdict"], record["action"], record["cause"]) == ("block", "pass", "infected"), record
        assert [f["name"] for f in record["findings"]] == ["EICAR-Test-File"]


    @pytest.mark.parametrize("document, compression, user, why", [
        (EICAR_PDF, None, "bob", "not allowed"), (samples.EICAR, None, "ann", "of this type are not printed here"),
        (b"no gzip", "gzip", "ann", "of this type are not printed here"),
        (pdf(3, EMBEDDED), None, "ann", "more pages than are printed here")], ids=["rule", "format", "no format", "pages"])
    @pytest.mark.usefixtures("untouched")
    def test_infected_may_pass_and_no_more(self, gateway, document, compression, user, why):
        """What one cause lets pass is still held against everything else that the printer's row says."""
        answer = gateway.client("lax-picky", user=user).print_job(document, None, compression=compression)
        assert answer.code == ipp.SECURITY_ERROR and why in answer.message.get("status-message"), answer
        record = gateway.record_of(answer)
        assert (record["action"], record["cause"]) == ("block", "denied"), record
        assert record["causes"] == ["denied", "not-inspected" if compression else "infected"], record


class Refusal:
    """|cause| of the record, |finding| that is one of it, and |words| that people are told. |looks|: the type that it
    looks like, where that is another one than |kind|, which it is said to be."""

    def __init__(self, at, document, kind, cause, finding, words, compression=None, rule="pipeline", looks=None):
        self.printer, self.document, self.kind, self.compression = at, document, kind, compression
        self.looks = looks or kind
        self.cause, self.finding, self.words, self.rule = cause, finding, words, rule


FILE, CONTAINED = "EICAR-Test-File", "EICAR-Test-File.Contained"
REFUSALS = {
    "eicar": Refusal("plain", samples.EICAR, "text/plain", "infected", FILE, "the document is infected: EICAR-Test-File"),
    "eicar of no type": Refusal("plain", samples.EICAR, None, "infected", FILE, "infected", looks="text/plain"),
    "eicar in gzip": Refusal("plain", gzip.compress(samples.EICAR), "text/plain", "infected", FILE, "infected", "gzip"),
    "eicar in deflate": Refusal("plain", zlib.compress(samples.EICAR), "text/plain", "infected", FILE, "infected",
                                "deflate"),
    "eicar in pdf": Refusal("plain", EICAR_PDF, "application/pdf", "infected", CONTAINED,
                            "the document is infected: EICAR-Test-File.Contained"),
    "eicar in pdf in gzip": Refusal("plain", gzip.compress(EICAR_PDF), "application/pdf", "infected", CONTAINED,
                                    "infected", "gzip"),
    "eicar in pdf in deflate": Refusal("plain", zlib.compress(EICAR_PDF), "application/pdf", "infected", CONTAINED,
                                       "infected", "deflate"),
    "eicar in pdf by a rule": Refusal("strict", EICAR_PDF, "application/pdf", "denied", "no-test-files",
                                      "the document is not allowed: no test files", rule="no-test-files"),
    "program as pdf": Refusal("strict", samples.portable_executable(), "application/pdf", "infected",
                              "Executable.Disguised", "infected: Executable.Disguised", looks=EXE),
    "macros": Refusal("strict", docm(), "application/octet-stream", "denied", f"Type.Denied.{MACROS}",
                      "the document is not allowed: Type.Denied", looks=MACROS),
    "commands for the printer": Refusal("strict", PJL, "application/octet-stream", "infected", "pjl-fsdelete",
                                        "infected: pjl-fsdelete", looks="text/plain"),
    "program for the printer": Refusal("strict", POSTSCRIPT, "application/postscript", "infected", "ps-file", "infected"),
    "encrypted pdf": Refusal("strict", pdf().replace(b"/Root 1 0 R", b"/Root 1 0 R /Encrypt 4 0 R"), "application/pdf",
                             "not-inspected", None, "nobody could look into the document"),
    "bomb": Refusal("plain", gzip.compress(bytes(1 << 28)), "text/plain", "not-inspected", None, "nobody could look", "gzip",
                    looks="application/octet-stream"),
    "many pages": Refusal("strict", pdf(3), "application/pdf", "denied", None,
                          "the document is not allowed: the document has more pages than are printed here"),
    "not what it says": Refusal("plain", b"no gzip", "text/plain", "not-inspected", None,
                                "nobody could look into the document", "gzip"),
    "unnamed type": Refusal("picky", b"plain words\n", "application/octet-stream", "denied", None,
                            "the document is not allowed: documents of this type are not printed here",
                            looks="text/plain"),
}
LONG_CONTACT = "x" * 250  # more than a sentence of IPP has room for
CLIENTS = {"CUPS prints": ("Print-Job", CUPS, ipp.FORMAT_NOT_SUPPORTED),
           "others print": ("Print-Job", "Other/1.0", ipp.SECURITY_ERROR),
           "who says nothing prints": ("Print-Job", None, ipp.SECURITY_ERROR),
           "CUPS sends": ("Send-Document", CUPS, ipp.SECURITY_ERROR),
           "others send": ("Send-Document", "Other/1.0", ipp.SECURITY_ERROR)}


def send(client, operation, document, *rest, **more):
    """(answer, job or None)."""
    if operation == "Print-Job":
        return client.print_job(document, *rest, **more), None
    job = client.create_job()
    return client.send_document(job, document, *rest, **more), job


@pytest.mark.usefixtures("untouched")
class TestRefused:
    """The CUPS scheduler sends for ever what it does not understand the refusal of: each client is told in its words.
    The record says all of it."""

    @pytest.mark.parametrize("what", REFUSALS)
    def test_refusal(self, gateway, what):
        refusal, answers = REFUSALS[what], []
        for operation, agent, status in CLIENTS.values():
            client = gateway.client(refusal.printer, agent=agent)
            answer, job = send(client, operation, refusal.document, refusal.kind, compression=refusal.compression)
            said = answer.message.get("status-message")
            assert (answer.status, answer.code) == (200, status), (operation, agent, answer)
            assert refusal.words in said and f"[{answer.fields['X-Request-ID']}]" in said, said
            assert ("; ask help@print.test" in said) == (refusal.printer == "plain"), said
            if job:
                self.check_aborted(client, job, refusal, said)
            answers.append((operation, agent, answer))
        for operation, agent, answer in answers:
            record = gateway.record_of(answer)
            self.check_record(record, refusal)
            assert (record["print"]["operation"], record["print"]["printer"]) == (operation, refusal.printer)
            who = record["client"], record["user"], record["print"].get("agent")
            assert who == (answer.client, "ann", agent), record

    @staticmethod
    def check_record(record, refusal):
        assert (record["action"], record["cause"], record["rule"]) == ("block", refusal.cause, refusal.rule), record
        found = [f["name"] for f in record.get("findings", ()) if not f.get("note")]
        assert refusal.finding in found if refusal.finding else not found, record
        assert record["sha256"] == samples.digest(refusal.document)
        assert (record.get("type"), record["sniffed"]) == (refusal.kind, refusal.looks), record

    @staticmethod
    def check_aborted(client, job, refusal, said):
        """Its own job never reached the printer; it ends, and says why to whoever asks."""
        message = client.job(job)
        assert message.get("job-state") == ipp.ABORTED, message
        assert message.get("job-state-message") == said
        reason = "document-permission-error" if refusal.cause == "denied" else "document-security-error"
        assert message.all("job-state-reasons") == [reason]
        again = client.send_document(job, b"harmless")
        assert (again.code, again.message.get("status-message")) == (ipp.NOT_POSSIBLE, said)
        assert client.ask(ipp.CANCEL_JOB, job_id=job).code == ipp.NOT_POSSIBLE

    @pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
    def test_too_large(self, gateway, chunked):
        """Before it is here where its length is said, and else after body-max octets of it."""
        for operation, agent, _ in CLIENTS.values():
            client = gateway.client("small", agent=agent)
            answer, job = send(client, operation, samples.noise(300_000), None, chunked=chunked)
            assert answer.code == ipp.TOO_LARGE, answer
            words = "the document is too large" if chunked else "documents may have 10240 octets here"
            assert words in answer.message.get("status-message")
            if job:
                assert client.job_state(job) == ipp.ABORTED
        record = gateway.record_of(answer)
        assert record["print"]["status"] == "client-error-request-entity-too-large"
        assert record["cause"] == "too-large" if chunked else record["rule"] == "body-max", record
        assert "sha256" not in record

    def test_as_large_as_allowed(self, gateway):
        """One octet more is too large; of what is just as large the last octets are looked at, too."""
        assert gateway.client("small").print_job(bytes(10_241)).code == ipp.TOO_LARGE
        assert gateway.client("small").print_job(archive(10_240), "application/zip").code == ipp.SECURITY_ERROR

    def test_format(self, gateway):
        """What the printer's formats do not have is refused by its name, before the document."""
        for operation, agent, _ in CLIENTS.values():
            client = gateway.client("picky", agent=agent)
            answer, job = send(client, operation, b"words", "Text/Plain; charset=utf-8")
            assert answer.code == ipp.FORMAT_NOT_SUPPORTED
            said = f"text/plain is not printed here [{answer.fields['X-Request-ID']}]"
            assert answer.message.get("status-message") == said
            if job:
                self.check_early(client, job, "unsupported-document-format", said)
        assert gateway.record_of(answer)["rule"] == "formats"

    def test_compression(self, gateway):
        client = gateway.client("plain")
        answer, job = send(client, "Send-Document", b"words", None, compression="br")
        said = answer.message.get("status-message")
        assert answer.code == 0x040f
        assert said == f"documents may be packed by gzip or deflate here; ask help@print.test [{answer.fields['X-Request-ID']}]"
        self.check_early(client, job, "unsupported-compression", said)

    @pytest.mark.parametrize("document, format_", [(b"words", "text/plain"), (samples.EICAR, None)], ids=["early", "verdict"])
    def test_number_is_never_cut(self, gateway, document, format_):
        answer, _ = send(gateway.client("wordy"), "Print-Job", document, format_)
        said = answer.message.get("status-message")
        assert "; ask xxx" in said and said.endswith(f"x [{answer.fields['X-Request-ID']}]"), said

    @staticmethod
    def check_early(client, job, reason, said):
        """As after a verdict; whoever drops the answer and cancels the job finds the same."""
        for _ in range(2):
            message = client.job(job)
            assert [message.get(f"job-state{end}") for end in ("", "-message")] == [ipp.ABORTED, said]
            assert message.all("job-state-reasons") == [reason]
            assert client.ask(ipp.CANCEL_JOB, job_id=job).code == ipp.NOT_POSSIBLE

    def test_early_of_another(self, gateway):
        """Who may not send a document to a job does not end it by one that nobody wants."""
        ann, bob = gateway.client("picky"), gateway.client("picky", user="bob")
        job = ann.create_job("of ann")
        assert bob.send_document(job, b"words", "text/plain").code == ipp.NOT_AUTHORIZED
        assert ann.job(job).all("job-state-reasons") == ["job-incoming"]

    @pytest.mark.parametrize("name, words", [("picky", "text/plain is not printed here ["),
                                             ("nobody", "there is no such printer here)")])
    def test_document_stays_at_home(self, gateway, tmp_path, name, words):
        """CUPS waits a second with it, behind the attributes: what can be said by then it need not be sent for."""
        path = tmp_path / "a.txt"
        path.write_bytes(b"a secret at home\n" * 20_000)
        env = client_environment(tmp_path / "home")
        with Tap(gateway.address("print")) as tap:
            done = ipptool(f"ipp://localhost:{tap.port}/ipp/{name}", "print-job.test", "-tv", "-I", file=path, env=env)
            assert done.returncode == 1 and f"({words}" in done.stdout, done.stdout
            assert b"document-format" in tap.seen and b"a secret at home" not in tap.seen

    def test_document_of_lp(self, gateway, tmp_path):
        """It drops the answer then, and cancels its job, which still says why."""
        user, path, env = "carol", tmp_path / "a.txt", client_environment(tmp_path / "home")
        path.write_bytes(b"a secret at home\n" * 20_000)
        with Tap(gateway.address("print")) as tap:
            done = run(need("lp", "cups-client"), "-U", user, "-h", f"localhost:{tap.port}", "-d", "picky",
                       "-o", "document-format=text/plain", path, env=env)
            assert done.returncode == 1 and b"a secret at home" not in tap.seen, done
        record = gateway.wait_record(lambda r: r.get("print", {}).get("operation") == "Send-Document"
                                     and r.get("rule") == "formats" and "CUPS/" in r["print"]["agent"] and r["user"] == user)
        why = f"text/plain is not printed here [{record['id']}]"
        assert record["error_text"] == why
        job = record["print"]["job"]
        canceled = gateway.wait_record(lambda r: r.get("print", {}).get("operation") == "Cancel-Job" and r["user"] == user)
        assert (canceled["print"]["job"], canceled["print"]["status"]) == (job, "client-error-not-possible")
        port = gateway.address("print")[1]
        listed = run(need("lpstat", "cups-client"), "-h", f"localhost:{port}", "-W", "completed", "-l", "-o", "picky",
                     env=env).stdout
        told = listed.split(f"picky-{job} ")[1].split("\npicky-")[0]
        assert f"\n\tStatus: {why}\n\tAlerts: unsupported-document-format\n" in told, listed


class TestSecondDocument:
    def test_refused(self, gateway, cupsd):
        """The first one is at the printer already, and stays all there is."""
        client = gateway.client("plain")
        job = client.create_job("one and a half")
        assert client.send_document(job, b"harmless", last=False).code == ipp.OK
        assert client.send_document(job, samples.EICAR).code == ipp.SECURITY_ERROR
        assert cupsd.printed("one and a half") == [b"harmless"]
        assert client.send_document(job, b"better", last=True).code == ipp.OK
        assert cupsd.printed("one and a half") == [b"harmless", b"better"]

    def test_refused_early(self, gateway, cupsd):
        client, name = gateway.client("picky"), "one and no text"
        job = client.create_job(name)
        assert client.send_document(job, pdf(), "application/pdf", last=False).code == ipp.OK
        assert client.send_document(job, b"words", "text/plain").code == ipp.FORMAT_NOT_SUPPORTED
        assert client.send_document(job, pdf(2), "application/pdf", last=True).code == ipp.OK
        assert cupsd.printed(name) == [pdf(), pdf(2)]


def archive(size):
    """A stored archive of |size| octets with the test file at its end."""
    def of(filler):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as z:
            z.writestr("a", bytes(filler))
            z.writestr("b", samples.EICAR)
        return out.getvalue()
    return of(size - len(of(0)))


class TestHold:
    """Jobs wait at the printer until their users are there."""

    def test_print_job(self, gateway, cupsd):
        ann, bob = gateway.client("held"), gateway.client("held", user="bob")
        no = [("job-hold-until", ipp.KEYWORD, "no-hold")]
        answer = ann.print_job(b"secret", name="waits", job=no)
        assert answer.code == ipp.OK, answer
        self.release(cupsd, "waits", answer.message.get("job-id"), ann, bob)

    def test_send_document(self, gateway, cupsd):
        ann, bob = gateway.client("held"), gateway.client("held", user="bob")
        job = ann.create_job("waits, too")
        assert ann.send_document(job, b"secret").code == ipp.OK
        self.release(cupsd, "waits, too", job, ann, bob)

    @staticmethod
    def release(cupsd, name, job, ann, bob):
        number = cupsd.number_of(name)
        assert cupsd.jobs()[number] == (name, ipp.HELD)
        assert ann.job_state(job) == ipp.HELD
        assert bob.ask(ipp.RELEASE_JOB, job_id=job).code == ipp.NOT_AUTHORIZED
        assert cupsd.jobs()[number] == (name, ipp.HELD)
        assert ann.ask(ipp.RELEASE_JOB, job_id=job).code == ipp.OK
        wait.until(lambda: cupsd.jobs()[number] == (name, ipp.COMPLETED), "the job's end", 30)
        assert cupsd.printed(name) == [b"secret"]
