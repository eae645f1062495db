# SPDX-License-Identifier: Apache-2.0
"""Somebody on the way takes out what would lead to TLS, in front of a real gateway: no client that was told to insist on
TLS sends its document, and to no printer that demands it does one come."""
import subprocess

import pytest

from testenv import ipp, need
from testenv.cups import client_environment, ipptool, run
from testenv.fake_printer import FakePrinter
from testenv.printing import PrintGateway, printer
from testenv.tap import Tap, without_upgrade

FINE, _, _, SECURITY, NETWORK, _ = range(6)
DOCUMENT = b"what nobody on the way shall read\n"
# From whom it is taken out.
WAYS = {"questions": lambda data, is_clients: without_upgrade(data) if is_clients else data,
        "answers": lambda data, is_clients: data if is_clients else without_upgrade(data),
        "both": lambda data, _: without_upgrade(data)}


@pytest.fixture(scope="module")
def fake():
    with FakePrinter([("operations-supported", ipp.ENUM, ipp.PRINT_JOB, ipp.VALIDATE_JOB, ipp.GET_PRINTER_ATTRIBUTES),
                      ("document-format-supported", ipp.MIME, "text/plain", "application/octet-stream")]) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, fake):
    printers = [printer("secure", fake.uri(), require="[tls]", pipeline="[]", aliases="[/printers/secure]"),
                printer("open", fake.uri(), require="[]", pipeline="[]", aliases="[/printers/open]")]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers) as running:
        yield running


@pytest.fixture(params=WAYS)
def tap(request, gateway, fake):
    fake.forget()
    with Tap(gateway.address("print"), WAYS[request.param]) as running:
        running.way = request.param
        yield running


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_bytes(DOCUMENT)
    return path


def sallyport(gateway, tap, name, document, auth=";AUTH=TLS", *options):
    uri = f"ipp://localhost:{tap.port}/ipp/{name}{auth}"
    return gateway.command_line("print", *options, uri, document, stdin=subprocess.DEVNULL)


def nothing_was_sent(tap, fake):
    assert DOCUMENT not in bytes(tap.seen)
    assert ipp.PRINT_JOB not in fake.operations()


class TestDowngrade:
    @pytest.mark.parametrize("name", ["secure", "open"])
    def test_our_own(self, gateway, tap, fake, document, certificates, name):
        """What it expects stands in the URI."""
        done = sallyport(gateway, tap, name, document, ";AUTH=TLS", "--ca", certificates.ca)
        assert done.returncode == SECURITY, done.stderr
        assert done.stderr.endswith("; nothing was done\n"), done.stderr
        nothing_was_sent(tap, fake)

    def test_not_insisting(self, gateway, tap, fake, document, certificates):
        """A client that goes on with a warning tells the gateway by which URI it came: that insists in its place."""
        for name in ("secure", "open"):
            done = sallyport(gateway, tap, name, document, ";AUTH=TLS", "--ca", certificates.ca, "--no-insist")
            assert done.returncode in (SECURITY, NETWORK), done.stderr
            assert ("warning: " in done.stderr) == (tap.way != "answers"), done.stderr
            nothing_was_sent(tap, fake)

    @pytest.mark.parametrize("name", ["secure", "open"])
    def test_lp(self, tap, fake, document, tmp_path, name):
        """With -E it insists, and takes a 101 that does not say of what."""
        done = run(need("lp", "cups-client"), "-E", "-h", f"localhost:{tap.port}", "-d", name, document,
                   env=client_environment(tmp_path))
        self.check(tap, fake, done)

    @staticmethod
    def check(tap, fake, done):
        assert (done.returncode == FINE) == (tap.way == "answers"), done
        assert DOCUMENT not in bytes(tap.seen)
        assert done.returncode == FINE or ipp.PRINT_JOB not in fake.operations()

    @pytest.mark.parametrize("name", ["secure", "open"])
    def test_ipptool(self, tap, fake, document, tmp_path, name):
        done = ipptool(f"ipp://localhost:{tap.port}/ipp/{name}", "print-job.test", "-t", "-E", file=document,
                       env=client_environment(tmp_path))
        self.check(tap, fake, done)

    def test_nothing_taken_out(self, gateway, fake, document, certificates):
        """The same way, with nobody on it who changes anything."""
        fake.forget()
        with Tap(gateway.address("print")) as tap:
            done = sallyport(gateway, tap, "secure", document, ";AUTH=TLS", "--ca", certificates.ca)
        assert done.returncode == FINE, done.stderr
        assert DOCUMENT not in bytes(tap.seen) and fake.last(ipp.PRINT_JOB).document == DOCUMENT
