# SPDX-License-Identifier: Apache-2.0
"""Which operations pass where the configuration says nothing: every number that IANA or CUPS has given one, and those
that nobody has. What does not pass is refused before the printer hears of it, and is not told of as supported."""
import pytest

from testenv import ipp, wait
from testenv.fake_printer import FakePrinter
from testenv.ipp import BAD_REQUEST, GET_PRINTER_ATTRIBUTES, PRINTER, request
from testenv.print_wire import Digest, Wire, add_user, get_challenge
from testenv.printing import PrintGateway, printer

NOT_SUPPORTED = 0x0501
NUMBERS = [*range(0x0002, 0x0070), *range(0x4000, 0x4030), 0x7fff, 0x8000, 0xffff]
DATA = {0x0002, 0x0006}
CREATE = {0x0004, 0x0005, 0x000e, 0x003d}
JOBS = {0x0008, 0x000c, 0x000d, 0x0014, 0x0033, 0x0036, 0x0039, 0x003b}
READ = {0x0009, 0x000a, 0x000b, 0x0015, 0x0034, 0x0035, 0x003c, 0x4001, 0x4002, 0x4005}
SUBSCRIPTIONS = set(range(0x0016, 0x001d))
ALLOWED = DATA | CREATE | JOBS | READ | SUBSCRIPTIONS
OF_OPERATORS = {0x002f, 0x0030, 0x0038}  # Resume-Job, Promote-Job, Cancel-Jobs: whatever job there is
CONFIGURED = {0x0010: "Pause-Printer", 0x0012: "Purge-Jobs", 0x4027: "CUPS-Get-Document"}
PASSWORDS = {"ann": "a password of Ann's", "root": "the operator's"}
CONFIG = "login: {rounds: 100000, failures: 1000}\ntenants:\n  - {name: acme}\n"


@pytest.fixture(scope="module")
def backend():
    with FakePrinter([("operations-supported", ipp.ENUM, *NUMBERS)]) as fake:
        yield fake


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, backend):
    rows = {"require": "[tls, digest]", "pipeline": "[]", "operators": "['user:root']"}
    names = ", ".join(CONFIGURED.values())
    printers = [printer("open", backend.uri(), require="[]", pipeline="[]"), printer("plain", backend.uri(), **rows),
                printer("more", backend.uri(), operations=f"[{names}]", **rows)]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers, more=CONFIG) as running:
        for user, password in PASSWORDS.items():
            add_user(running, "acme", user, password)
        yield running


@pytest.fixture
def wire(gateway):
    wires = []

    def connect(way):
        wires.append(Wire(gateway.address("print"), way))
        return wires[-1]

    yield connect
    for opened in wires:
        opened.close()


class Asker:
    """Of |printer_name|: nobody in clear text, or a user who has proved himself."""

    def __init__(self, wire, printer_name, user=None):
        self.wire, self.name = wire, printer_name
        self.digest = user and Digest(user, PASSWORDS[user], get_challenge(wire.ask(self.request(ipp.VALIDATE_JOB))))
        self.job = self.ask(ipp.PRINT_JOB).message.get("job-id") if user != "root" else None

    def request(self, operation, **more):
        return request(operation, f"ipp://localhost/ipp/{self.name}", **more)

    def ask(self, operation):
        fields = [self.digest.field()] if self.digest else []
        more = {"job_id": self.job} if operation in JOBS - {0x0039} and self.job else {}
        return self.wire.ask(self.request(operation, data=b"%PDF-1.4" if operation in DATA else b"", **more), "/", *fields)


class TestDefaults:
    def test_nobody(self, gateway, backend, wire):
        asker = Asker(wire("clear"), "open")
        for number in NUMBERS:
            backend.forget()
            reply = asker.ask(number)
            assert (reply.code == NOT_SUPPORTED) == (number not in ALLOWED), (hex(number), reply)
            if number not in ALLOWED:
                assert backend.heard == [] and reply.words.endswith(("is not let through here", "is not known here")), hex(number)
        def refused():
            return [r for r in gateway.print_records() if r.get("rule") == "operations"]

        wait.until(lambda: len(refused()) == len(set(NUMBERS) - ALLOWED), "their records")
        assert all((r["error"], r["http_status"]) == ("policy", 200) for r in refused()), refused()[0]

    @pytest.mark.parametrize("number", [0x0000, 0x0001])
    def test_reserved(self, backend, wire, number):
        backend.forget()
        assert Asker(wire("clear"), "open").ask(number).code in (BAD_REQUEST, NOT_SUPPORTED)
        assert number not in backend.operations()

    @pytest.mark.parametrize("name", ["plain", "more"])
    def test_user(self, backend, wire, name):
        """What `operations` names is for operators."""
        asker = Asker(wire("upgraded"), name, "ann")
        passed = {n for n in NUMBERS if asker.ask(n).code != NOT_SUPPORTED}
        assert passed == ALLOWED

    @pytest.mark.parametrize("name, more", [("plain", set()), ("more", set(CONFIGURED))])
    def test_operator(self, backend, wire, name, more):
        asker = Asker(wire("upgraded"), name, "root")
        passed = {n for n in NUMBERS if asker.ask(n).code != NOT_SUPPORTED}
        assert passed == ALLOWED | OF_OPERATORS | more

    @pytest.mark.parametrize("never", ["CUPS-Add-Modify-Printer", "CUPS-Create-Local-Printer"])
    def test_never(self, gateway, tmp_path, never):
        """Nobody has CUPS run a program, whatever the configuration says."""
        path = tmp_path / "sallyport.yaml"
        path.write_text(gateway.config.read_text().replace(CONFIGURED[0x0010], never))
        done = gateway.command_line("check", "-c", path)
        assert done.returncode != 0 and "must not be one that runs programs at the printer" in done.stderr + done.stdout, done


@pytest.mark.parametrize("name, user, more", [("open", None, set()), ("plain", "ann", set()), ("more", "ann", set()),
                                              ("plain", "root", OF_OPERATORS),
                                              ("more", "root", OF_OPERATORS | set(CONFIGURED))])
def test_what_is_told(wire, name, user, more):
    """operations-supported is what passes, for whoever asks."""
    told = Asker(wire("upgraded"), name, user).ask(GET_PRINTER_ATTRIBUTES).message.all("operations-supported", PRINTER)
    assert set(told) == ALLOWED | more
