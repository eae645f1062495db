# SPDX-License-Identifier: Apache-2.0
"""reject-status of printers: in which status whose document is refused, and what CUPS makes of each that may be
configured."""
import signal

import pytest

from testenv import build_dir, ipp, samples, wait
from testenv.cups import Cupsd
from testenv.printing import PrintGateway, printer
from testenv.sallyport import run_command

CUPS, WINDOWS = "CUPS/2.4.2 (Linux 6.1; x86_64) IPP/2.0", "Windows NT 10.0"
FORMAT_ERROR, PERMISSION_ERROR, UNPRINTABLE, ATTRIBUTES, JOB_CANCELED = 0x0411, 0x0419, 0x041b, 0x040b, 0x0508
NAMES = {ipp.SECURITY_ERROR: "client-error-document-security-error", ipp.FORBIDDEN: "client-error-forbidden",
         ipp.FORMAT_NOT_SUPPORTED: "client-error-document-format-not-supported",
         ATTRIBUTES: "client-error-attributes-or-values-not-supported", FORMAT_ERROR: "client-error-document-format-error",
         PERMISSION_ERROR: "client-error-document-permission-error", JOB_CANCELED: "server-error-job-canceled",
         UNPRINTABLE: "client-error-document-unprintable-error"}
# What the scheduler's job is after a Print-Job that was refused so. After others it comes again, or is held.
ENDING = {ipp.FORMAT_NOT_SUPPORTED: ipp.CANCELED, ATTRIBUTES: ipp.CANCELED, JOB_CANCELED: ipp.COMPLETED}
ONE_REQUEST = "[Create-Job, Send-Document]"


def rows(*rows):
    return "[" + ", ".join("{" + ", ".join(f"{k}: {v}" for k, v in row.items()) + "}" for row in rows) + "]"


SOME = rows({"agent": "Windows", "operation": "Print-Job", "status": NAMES[FORMAT_ERROR]},
            {"agent": "windows nt 10", "status": NAMES[ipp.FORBIDDEN]},
            {"agent": "CUPS/2", "operation": "Print-Job", "status": NAMES[ATTRIBUTES]},
            {"operation": "Send-Document", "status": NAMES[JOB_CANCELED]},
            {"agent": "CUPS/", "status": NAMES[ipp.FORMAT_NOT_SUPPORTED]}, {"status": NAMES[UNPRINTABLE]})


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, cupsd):
    uri, lax = cupsd.uri(), "{engine-down: error, infected: error}"
    printers = [printer("usual", uri, require="[]"), printer("some", uri, require="[]", reject_status=SOME),
                printer("small", uri, require="[]", body_max="10k", reject_status=SOME),
                printer("picky", uri, require="[]", formats="[application/pdf]", reject_status=SOME),
                printer("later", uri, require="[]", on=lax, reject_status=SOME)]
    for status, name in NAMES.items():
        send = rows({"operation": "Send-Document", "status": name})
        printers.append(printer(f"send-{status:04x}", uri, require="[]", reject_status=send))
    for status in ENDING:
        printers.append(printer(f"print-{status:04x}", uri, require="[]", refuse=ONE_REQUEST,
                                reject_status=rows({"status": NAMES[status]})))
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers) as running:
        yield running


def send(client, operation, document, *rest, **more):
    """(answer, job or None)."""
    if operation == "Print-Job":
        return client.print_job(document, *rest, **more), None
    job = client.create_job()
    return client.send_document(job, document, *rest, **more), job


class TestAnswers:
    @pytest.mark.parametrize("agent, print_job, send_document", [
        (WINDOWS, FORMAT_ERROR, ipp.FORBIDDEN), ("Windows", FORMAT_ERROR, JOB_CANCELED), ("not Windows", UNPRINTABLE, JOB_CANCELED),
        (CUPS, ATTRIBUTES, JOB_CANCELED), ("CUPS/1.7", ipp.FORMAT_NOT_SUPPORTED, JOB_CANCELED), (None, UNPRINTABLE, JOB_CANCELED)])
    def test_first_row_that_fits(self, gateway, agent, print_job, send_document):
        client = gateway.client("some", agent=agent)
        for operation, status in ("Print-Job", print_job), ("Send-Document", send_document):
            answer, job = send(client, operation, samples.EICAR)
            assert (answer.status, answer.code) == (200, status), answer
            assert "the document is infected: EICAR-Test-File" in answer.message.get("status-message")
            record = gateway.record_of(answer)
            assert (record["print"]["status"], record["cause"], record["action"]) == (NAMES[status], "infected", "block")
            if job:  # why it ended is no matter of the status
                message = client.job(job)
                assert (message.get("job-state"), message.get("job-state-reasons")) == (ipp.ABORTED, "document-security-error")

    @pytest.mark.parametrize("agent, print_job", [(WINDOWS, ipp.SECURITY_ERROR), (CUPS, ipp.FORMAT_NOT_SUPPORTED)])
    def test_without_rows(self, gateway, agent, print_job):
        client = gateway.client("usual", agent=agent)
        assert send(client, "Print-Job", samples.EICAR)[0].code == print_job
        assert send(client, "Send-Document", samples.EICAR)[0].code == ipp.SECURITY_ERROR

    @pytest.mark.parametrize("operation", ["Print-Job", "Send-Document"])
    def test_what_has_its_own(self, gateway, operation):
        """What is too large, packed in another way, of a format that is named and not printed, and what may come again."""
        def code(at, *rest, **more):
            return send(gateway.client(at, agent=WINDOWS), operation, *rest, **more)[0].code
        for chunked in False, True:
            assert code("small", samples.noise(300_000), None, chunked=chunked) == ipp.TOO_LARGE
        assert code("some", b"a", compression="br") == 0x040f
        assert code("picky", b"words", "text/plain") == ipp.FORMAT_NOT_SUPPORTED
        assert code("later", samples.EICAR) == ipp.BUSY

    def test_a_format_that_only_shows(self, gateway):
        """Is for the rows: somebody has looked at the document."""
        answer = gateway.client("picky", agent=WINDOWS).print_job(b"words", "application/octet-stream")
        assert (answer.code, gateway.record_of(answer)["cause"]) == (FORMAT_ERROR, "denied")


class TestScheduler:
    """A CUPS of its own, whose queues lead to those printers: each status that check lets pass ends the job, and no
    queue stops."""
    QUEUES = [f"send-{status:04x}" for status in NAMES] + [f"print-{status:04x}" for status in ENDING]

    @pytest.fixture(scope="class")
    def front(self, tmp_path_factory, gateway):
        with Cupsd(tmp_path_factory.mktemp("front"), {name: gateway.uri(name) for name in self.QUEUES}) as server:
            server.sent = {}
            for name in self.QUEUES:  # all at once: after a refused Print-Job the backend rests for ten seconds
                answer = server.client(name).print_job(samples.EICAR, "application/octet-stream", name=name)
                assert answer.code == ipp.OK, answer
                server.sent[name] = answer.message.get("job-id")
            yield server

    @pytest.mark.parametrize("queue", QUEUES)
    def test_sent_once(self, front, gateway, queue):
        client, status = front.client(queue), int(queue[-4:], 16)
        wait.until(lambda: client.job_state(front.sent[queue]) >= ipp.CANCELED, f"the end of the job of {queue}", 60)
        if queue.startswith("print"):
            assert client.job_state(front.sent[queue]) == ENDING[status]
        after = client.print_job(f"after {queue}".encode(), "application/octet-stream").message.get("job-id")
        wait.until(lambda: client.job_state(after) == ipp.COMPLETED, f"the next job of {queue}", 60)

        def told():
            return [r["print"]["status"] for r in gateway.print_records()
                    if r["print"].get("printer") == queue and r.get("action") == "block"]
        wait.until(told, f"the record of the refusal at {queue}")
        assert told() == [NAMES[status]]


CHECK = """\
state: {state}
listeners:
  - {{name: print, protocol: ipp, address: "127.0.0.1:0"}}
printers:
  - name: acct
    path: /ipp/acct
    backend: ipp://127.0.0.1:1/q
    require: []
    reject-status:
      - {{agent: Windows, operation: Print-Job, status: client-error-document-format-error}}
      - {row}
"""


class TestCheck:
    @pytest.mark.parametrize("row, column, words", [
        ("{agent: W, status: client-error-not-possible}", 28, ["client-error-not-possible", "CUPS", "client-error-forbidden"]),
        ("{agent: W, status: server-error-internal-error}", 28, ["server-error-internal-error", "stop", "job-canceled"]),
        ("{agent: W, status: client-error-not-authenticated}", 28, ["password"]), ("{status: successful-ok}", 18, ["printed"]),
        ("{status: server-error-busy}", 18, ["come again"]),
        ("{status: client-error-forbiden}", 18, ["did you mean 'client-error-forbidden'?"]),
        ("{operation: Print-Jop, status: client-error-forbidden}", 21, ["did you mean 'Print-Job'?"]),
        ("{operation: Create-Job, status: client-error-forbidden}", 21, ["Print-Job, Send-Document", "no document"]),
        ("{agnt: W, status: client-error-forbidden}", 10, ["did you mean 'agent'?"]),
        ("{status: client-error-document-security-error}", 18, ["for ever", "'agent: CUPS/'", "job-canceled"])])
    def test_mistake(self, tmp_path, row, column, words):
        path = tmp_path / "sallyport.yaml"
        path.write_text(CHECK.format(state=tmp_path / "state", row=row))
        done = run_command(build_dir(), "check", "-c", path)
        [complaint] = [line for line in done.stderr.splitlines() if "warning: " not in line]
        assert (done.returncode, done.stdout) == (2, "")
        assert complaint.startswith(f"{path}:11:{column}: ") and [w for w in words if w not in complaint] == [], complaint

    def test_fine(self, tmp_path):
        path = tmp_path / "sallyport.yaml"
        path.write_text(CHECK.format(state=tmp_path / "state", row="{status: server-error-job-canceled}"))
        done = run_command(build_dir(), "check", "-c", path, "-p")
        assert done.returncode == 0, done.stderr
        assert "status: client-error-document-format-error" in done.stdout and "agent: Windows" in done.stdout


class TestReload:
    def test_live(self, tmp_path, certificates, cupsd):
        """Also for a client whose connection is kept."""
        def text(status):
            return printer("acct", cupsd.uri(), require="[]", reject_status=rows({"agent": "Test", "status": NAMES[status]}))
        with PrintGateway(tmp_path, certificates, [text(FORMAT_ERROR)]) as gateway, \
                ipp.IppConnection(gateway.address("print")) as kept:
            def ask():
                return kept.ask(ipp.request(ipp.PRINT_JOB, gateway.uri("acct"), data=samples.EICAR),
                                fields=[("User-Agent", "Test/1")]).code
            assert ask() == FORMAT_ERROR
            pid = gateway.gateway_pid()
            gateway.config.write_text(gateway.config.read_text().replace(text(FORMAT_ERROR), text(PERMISSION_ERROR)))
            gateway.send_signal(signal.SIGHUP)
            gateway.wait_log("reload: done without interruption", 20)
            assert ask() == PERMISSION_ERROR
            assert gateway.gateway_pid() == pid
