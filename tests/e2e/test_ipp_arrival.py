# SPDX-License-Identifier: Apache-2.0
"""PDF, JPEG and text, sent by the programs that people print with, at the printers of Debian: byte for byte. And a
printer that wants a password of the gateway."""

import pytest

from testenv import ipp, samples, wait
from testenv.cups import IppEvePrinter, client_environment, ipptool, run
from testenv.peers import need
from testenv.printing import PrintGateway, printer
from test_ipp_documents import JPEG, pdf

KINDS = {"pdf": pdf(3), "jpeg": JPEG, "text": "Grüße\r\n\tzum Schluß\f".encode() * 999}
SUFFIX = {"pdf": ".pdf", "jpeg": ".jpg", "text": ".txt"}
TYPES = {"pdf": "application/pdf", "jpeg": "image/jpeg", "text": "text/plain"}
# Program and options; how it comes.
PROGRAMS = {"lp": ((), "clear"), "lp -E": (("-E",), "upgraded"), "ipptool -I": (("-I",), "clear"),
            "ipptool -E": (("-E",), "upgraded"), "ipptool -S": (("-S",), "implicit"), "sallyport": ((), "implicit")}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, cupsd, eve):
    printers = [printer("acct", cupsd.uri(), require="[]", aliases="[/printers/acct]"),
                printer("eve", eve.uri(), require="[]", aliases="[/printers/eve]")]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers) as running:
        yield running


def send(gateway, program, name, path, kind, folder, ca):
    (options, _), env = PROGRAMS[program], client_environment(folder)
    host, port = gateway.address("print")
    if program == "sallyport":
        return gateway.command_line("print", "--ca", ca, gateway.uri(name, "ipps"), path)
    if program.startswith("lp"):
        return run(need("lp", "cups-client"), *options, "-h", f"{host}:{port}", "-d", name, "-o",
                   f"document-format={TYPES[kind]}", path, env=env)  # it says application/octet-stream of everything
    return ipptool(gateway.uri(name), "print-job.test", "-t", *options, file=path, env=env)


class TestArrival:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("program", PROGRAMS)
    @pytest.mark.parametrize("name", ["acct", "eve"])
    def test_byte_for_byte(self, gateway, cupsd, eve, certificates, tmp_path, name, program, kind):
        end = f"\n% {name} {program}\n".encode()  # the other ones are the same
        document = KINDS[kind] + end
        path = tmp_path / f"a{SUFFIX[kind]}"
        path.write_bytes(document)
        if name == "eve":  # one job at a time
            asked = ipp.GET_PRINTER_ATTRIBUTES
            wait.until(lambda: eve.client().ask(asked).message.get("printer-state") == 3, "an idle printer", 60)
        done = send(gateway, program, name, path, kind, tmp_path / "home", certificates.ca)
        assert done.returncode == 0, done
        printed = (lambda: list(cupsd.files().values())) if name == "acct" else eve.documents
        wait.until(lambda: printed().count(document) == 1, "the document", 60)
        record = gateway.wait_record(lambda r: r.get("sha256") == samples.digest(document))
        assert (record["print"]["channel"], record["action"]) == (PROGRAMS[program][1], "pass"), record
        assert record["body_len"] == len(document)


class TestPrinterWithPassword:
    """ippeveprinter -A: it tells everybody what it can do, and wants a password for everything else."""

    @pytest.fixture(scope="class")
    def closed(self, tmp_path_factory):
        with IppEvePrinter(tmp_path_factory.mktemp("closed"), "-A") as server:
            yield server

    @pytest.fixture(scope="class")
    def front(self, tmp_path_factory, certificates, closed):
        with PrintGateway(tmp_path_factory.mktemp("front"), certificates, [printer("closed", closed.uri(), require="[]")]) as g:
            yield g

    def test_what_it_can_do(self, front, closed):
        told = front.client("closed").ask(ipp.GET_PRINTER_ATTRIBUTES)
        assert told.code == ipp.OK and told.message.get("printer-state") == 3

    @pytest.mark.parametrize("operation", [ipp.VALIDATE_JOB, ipp.CREATE_JOB, ipp.PRINT_JOB, ipp.GET_JOBS])
    def test_everything_else(self, front, closed, operation):
        """Its question is none for the gateway's clients, who have no password of that printer."""
        answer = front.client("closed").ask(operation, data=b"words" if operation == ipp.PRINT_JOB else b"")
        assert (answer.status, answer.code, answer.fields["WWW-Authenticate"]) == (200, ipp.UNAVAILABLE, None)
        assert answer.message.get("status-message") == "the printer asks the gateway for a password"
        record = front.record_of(answer)
        assert (record["rule"], record["error"]) == ("printer", "upstream"), record
        assert closed.documents() == []
        assert any(t["area"] == "printer closed" for t in front.status()["troubles"])
