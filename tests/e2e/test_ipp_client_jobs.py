# SPDX-License-Identifier: Apache-2.0
"""`sallyport print`, `cancel` and `jobs`: what becomes of a job, what is said of it, and what of that a terminal gets; at a
printer of which each answer can be made wrong."""
import re

import pytest

from test_ipp_client import FINE, NETWORK, PDF, REFUSED, SECRET, channel_of, run, run_json
from testenv import ipp
from testenv.wrong_printer import BASIC, DEMAND, DIGEST, answer, denied, http, wrong_printers


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "letter.pdf"
    path.write_bytes(PDF)
    return path


@pytest.fixture
def start(certificates):
    with wrong_printers(certificates.server) as begin:
        yield begin


class TestJob:
    def test_that_fails(self, start, document):
        fake = start()
        fake.job = lambda number: [("job-id", ipp.INTEGER, number), ("job-state", ipp.ENUM, ipp.ABORTED),
                                   ("job-state-reasons", ipp.KEYWORD, "document-security-error")]
        code, found = run_json("print", fake.uri(), document, "--wait")
        assert (code, found["state"], found["reasons"]) == (REFUSED, "aborted", "document-security-error")

    def test_that_fails_at_once(self, start, document):
        """Also without --wait nobody calls that fine."""
        fake = start()
        fake.job = lambda number: [("job-id", ipp.INTEGER, number), ("job-state", ipp.ENUM, ipp.ABORTED)]
        code, found = run_json("print", fake.uri(), document)
        assert (code, found["job"], found["state"]) == (REFUSED, 1, "aborted")

    def test_wait_for_a_job_without_a_number(self, start, document):
        fake = start(clear={ipp.PRINT_JOB: lambda heard: http(answer(heard.message, ipp.OK))})
        code, found = run_json("print", fake.uri(), document, "--wait")
        assert (code, found["error"], found["document_sent"]) == (NETWORK, "network", True)
        assert "does not say which job it made" in found["why"]
        assert run("print", fake.uri(), document).returncode == FINE

    def test_create_job_without_a_number(self, start, document):
        """No document for a job that nobody can name."""
        fake = start(clear={ipp.CREATE_JOB: lambda heard: http(answer(heard.message, ipp.OK))})
        code, found = run_json("print", fake.uri(), document, "--create-job")
        assert (code, found["error"], found["document_sent"]) == (NETWORK, "network", False)
        assert fake.operations()[-1] == ipp.CREATE_JOB

    def test_wait_that_fails(self, start, document):
        """The job is told all the same."""
        fake = start(clear={ipp.GET_JOB_ATTRIBUTES: b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"})
        fake.job = lambda number: [("job-id", ipp.INTEGER, number), ("job-state", ipp.ENUM, ipp.PROCESSING)]
        code, found = run_json("print", fake.uri(), document, "--wait")
        assert (code, found["job"], found["state"], found["error"]) == (REFUSED, 1, "processing", "refused")
        assert "HTTP 403" in found["why"] and found["channel"] == "clear"

    def test_protection_is_the_document_s(self, start, document, certificates):
        """Whatever is asked later, and however."""
        over = (ipp.JOB, [("job-state", ipp.ENUM, ipp.COMPLETED)])
        fake = start(clear={ipp.GET_JOB_ATTRIBUTES: DEMAND % b"426"},
                     within={ipp.GET_JOB_ATTRIBUTES: lambda heard: http(answer(heard.message, ipp.OK, over))})
        fake.job = lambda number: [("job-id", ipp.INTEGER, number), ("job-state", ipp.ENUM, ipp.PROCESSING)]
        code, found = run_json("print", fake.uri(), document, "--wait", "--ca", certificates.ca)
        assert (code, found["state"], channel_of(found)) == (FINE, "completed", ("clear", "", "claimed"))
        assert fake.last(ipp.PRINT_JOB).where == "clear" and fake.last(ipp.GET_JOB_ATTRIBUTES).where == "tls"

    def test_protection_is_the_weaker_one(self, start, certificates):
        fake = start(clear={ipp.GET_JOBS: DEMAND % b"426"})
        code, found = run_json("jobs", fake.uri(), "--ca", certificates.ca)
        assert (code, found["channel"], fake.last(ipp.GET_JOBS).where) == (FINE, "clear", "tls")


class TestAfterTheDocument:
    """No code that says that nothing was printed."""

    def test_security(self, start, document):
        fake = start(clear={ipp.PRINT_JOB: lambda heard: DEMAND % b"426"})
        code, found = run_json("print", fake.uri(), document)
        assert (code, found["error"], found["document_sent"]) == (NETWORK, "security", True)
        assert "no TLS with" in found["why"] and found["why"].endswith("; the document, or a part of it, had been sent")
        assert fake.last(ipp.PRINT_JOB).document == PDF

    def test_basic(self, start, document):
        """It went with Digest, unasked, since the printer had asked for that before."""
        fake = start(clear={None: lambda heard: None if b"Authorization" in heard.head else denied(DIGEST),
                            ipp.PRINT_JOB: lambda heard: denied(BASIC)})
        code, found = run_json("print", fake.uri(auth=";AUTH=DAA"), document, "-u", "ann", password=SECRET)
        assert (code, found["error"], found["document_sent"]) == (NETWORK, "security", True)
        assert "Basic alone" in found["why"] and fake.last(ipp.PRINT_JOB).document == PDF


class TestTerminal:
    @pytest.mark.parametrize("title", ["a\n     2  completed", "a\u009b2J", "a\u2028b", "a\u202eb", "a\x1b[2Jb"],
                             ids=ascii)
    def test_title_of_somebody_else(self, start, title):
        """Anybody's title reaches everybody's terminal: it is one line, and obeyed by none."""
        fake = start()
        fake.jobs[1] = "eve\n"
        fake.job = lambda number: [("job-id", ipp.INTEGER, number), ("job-state", ipp.ENUM, ipp.PROCESSING),
                                   ("job-name", ipp.NAME, title), ("job-originating-user-name", ipp.NAME, fake.jobs[1])]
        plain = re.sub("[^ -~]", "?", title)
        done = run("jobs", fake.uri())
        lines = done.stdout.split("\n")  # not at U+2028
        assert done.returncode == FINE and lines[1].split()[2] == "eve?" and lines[1].endswith("  " + plain)
        assert lines[2].startswith("how: ")
        assert f"\ntitle: {plain}\nof: eve?\nhow: " in run("jobs", fake.uri(), "--job", 1).stdout
        assert run("cancel", fake.uri(), "--job", 1).stdout.startswith(f"job 1 is canceled: {plain}\nhow: ")

    def test_terminal_is_safe(self, start, document):
        """What a printer says does not reach the terminal as it is."""
        def refuse(heard):
            message = answer(heard.message, 0x0400)
            message.groups[0][1].append(("status-message", ipp.TEXT, "\x1b[31mred"))
            return http(message)
        fake = start(clear={ipp.VALIDATE_JOB: refuse})
        done = run("print", fake.uri(), document)
        assert done.returncode == REFUSED and "client-error-bad-request: ?[31mred" in done.stderr
        assert "\x1b" not in done.stderr + done.stdout
