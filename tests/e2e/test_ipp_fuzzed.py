# SPDX-License-Identifier: Apache-2.0
"""Broken at random, over the wire, against the build with sanitizers: requests, logins, heads of HTTP, and answers of a
printer. Each is answered, with a record; what a printer hears is legal; the gateway stays the same process, and prints.
What is broken is made of a number, so that a run can be repeated."""
import os
import pathlib
import random
import re
import struct

import pytest

from testenv import ipp, wait
from testenv.fake_printer import FakePrinter, http
from testenv.ipp import KEYWORD, MIME, NAME, URI, request
from testenv.print_wire import Digest, Wire, add_user, get_challenge, post, value
from testenv.printing import PrintGateway, printer
from testenv.sallyport import binary

CONFIG = "login: {rounds: 100000, failures: 100000, user-failures: 100000}\ntenants:\n  - {name: acme}\n"
IPP = "ipp: {requests-per-client: off, incoming-max: 1000000}\n"
PASSWORD = "a password of Ann's"
LENGTHS = (0, 1, 2, 255, 1024, 0x7fff, 0x8000, 0xffff)
MEDIA = b"".join([value(0x34, "media-col", b""), value(0x4a, "", b"media-size"), value(0x34, "", b""),
                  value(0x4a, "", b"x-dimension"), value(0x21, "", struct.pack(">i", 21000)), value(0x37, "", b""),
                  value(0x37, "", b"")])


class Printer(FakePrinter):
    """|illegal|: what it could not read."""

    def __init__(self):
        super().__init__([("printer-info", ipp.TEXT, "a printer"), ("device-uri", URI, "socket://10.1.2.3/"),
                          ("operations-supported", ipp.ENUM, 2, 4, 5, 6, 8, 9, 10, 11)])
        self.illegal = []

    def hear(self, peer, head):
        try:
            return super().hear(peer, head)
        except Exception as e:
            self.illegal.append((head, e))
            raise


@pytest.fixture(scope="module")
def backend():
    with Printer() as fake:
        yield fake


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, backend):
    build = pathlib.Path(os.environ["SALLYPORT_DEBUG_BUILD"])
    assert binary(build).exists(), f"{build} has no sallyport yet"
    printers = [printer("open", backend.uri(), require="[]"), printer("secure", backend.uri(), require="[tls, digest]")]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers, more=CONFIG, ipp=IPP, build=build) as running:
        add_user(running, "acme", "ann", PASSWORD)
        yield running


@pytest.fixture(autouse=True)
def unharmed(gateway, backend):
    pid = gateway.gateway_pid()
    backend.forget()
    yield
    backend.talk_now = None
    assert gateway.gateway_pid() == pid and "Sanitizer" not in gateway.log(), gateway.log()[-6000:]
    assert backend.illegal == []
    made = gateway.client("open").print_job(b"%PDF-1.4\n%%EOF\n")
    assert made.code == ipp.OK, made
    assert backend.last(ipp.PRINT_JOB).document == b"%PDF-1.4\n%%EOF\n"


def broken(octets, others, rng, whole_from=0):
    """|octets| with one to three things wrong, behind the first |whole_from|."""
    out = bytearray(octets)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(whole_from, len(out)) if len(out) > whole_from else len(out)
        kind = rng.randrange(6)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(out):
            out[at] = rng.choice((0, 1, 2, 3, 4, 5, 0x10, 0x13, 0x21, 0x34, 0x37, 0x41, 0x45, 0x4a, 0x7f, 0xff))
        elif kind == 2:
            out[at:at + 2] = struct.pack(">H", rng.choice(LENGTHS))
        elif kind == 3:
            del out[at:at + rng.randint(1, 20)]
        elif kind == 4:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            out[at:at] = other[start:start + rng.randint(1, 60)]
        else:
            del out[at:]
    return bytes(out)


def requests():
    about = "ipp://localhost/ipp/open"
    found = [request(ipp.PRINT_JOB, about, ("job-name", NAME, "a"), ("document-format", MIME, "text/plain"), data=b"words\n"),
             request(ipp.VALIDATE_JOB, about, job=[("copies", ipp.INTEGER, 2)]), request(ipp.CREATE_JOB, about),
             request(ipp.SEND_DOCUMENT, about, ("last-document", ipp.BOOLEAN, True), job_id=1, data=b"words\n"),
             request(ipp.GET_PRINTER_ATTRIBUTES, about, ("requested-attributes", KEYWORD, "all", "media-col-database")),
             request(ipp.GET_JOBS, about, ("which-jobs", KEYWORD, "all"), ("limit", ipp.INTEGER, 10)),
             request(ipp.GET_JOB_ATTRIBUTES, about, job_id=1), request(ipp.CANCEL_JOB, about, job_id=1),
             request(0x0038, about, ("job-ids", ipp.INTEGER, 1, 2, 3)), request(0x0039, about),
             request(ipp.CUPS_GET_PRINTERS, "ipp://localhost/"),
             request(0x0016, about, ("notify-pull-method", KEYWORD, "ippget"))]
    octets = [m.encode() for m in found]
    return octets + [octets[1][:-1] + MEDIA + b"\3"]


class Sender:
    """Connections that are opened anew when the gateway ends them."""

    def __init__(self, gateway, way="clear"):
        self.gateway, self.way, self.wire, self.ids = gateway, way, None, []

    def ask(self, octets):
        self.wire = self.wire or Wire(self.gateway.address("print"), self.way)
        reply = self.wire.send(octets).reply()
        self.ids.append(reply.get("X-Request-ID"))
        if reply.get("Connection") == "close":
            self.close()
        return reply

    def close(self):
        if self.wire:
            self.wire.close()
        self.wire = None

    def records(self):
        """Of all of them, by their ids."""
        self.close()
        assert all(self.ids) and len(set(self.ids)) == len(self.ids)
        wait.until(lambda: set(self.ids) <= {r["id"] for r in self.gateway.records()}, "their records", 30)
        return {r["id"]: r for r in self.gateway.records() if r["id"] in set(self.ids)}


@pytest.mark.asan
class TestFuzzed:
    @pytest.mark.parametrize("seed", range(4))
    def test_requests(self, gateway, seed):
        rng, whole, sender, codes = random.Random(seed), requests(), Sender(gateway), {}
        for _ in range(400):
            reply = sender.ask(post(broken(rng.choice(whole), whole, rng)))
            assert reply.status in (200, 400, 401, 403, 413, 426, 503), reply
            if reply.status == 200:
                assert reply.message, reply
                codes[sender.ids[-1]] = reply.message.code
        records = sender.records()
        assert sum(code >= 0x0400 for code in codes.values()) > 200  # most of them
        for number, code in codes.items():
            if code == ipp.BAD_REQUEST:
                assert records[number].get("error") and records[number].get("error_text"), records[number]

    @pytest.mark.parametrize("seed", range(2))
    def test_logins(self, gateway, seed):
        rng, sender = random.Random(seed), Sender(gateway, "implicit")
        asked = request(ipp.VALIDATE_JOB, "ipp://localhost/ipp/secure")
        digest, said = Digest("ann", PASSWORD, get_challenge(sender.ask(post(asked)))), []
        for _ in range(300):
            line = digest.field().encode()
            line = bytes(c if 0x20 <= c < 0x7f else 0x78 for c in broken(line, [line], rng, len("Authorization: ")))
            reply = sender.ask(post(asked, "/", line.decode()))
            assert reply.status in (200, 400, 401, 503), reply
            said.append(reply.status)
        assert said.count(200) < 100 and len(sender.records()) == len(sender.ids)

    @pytest.mark.parametrize("seed", range(2))
    def test_heads(self, gateway, seed):
        rng, whole, said = random.Random(seed), post(requests()[4]), {}
        end = whole.index(b"\r\n\r\n") + 4
        for _ in range(300):
            head = broken(whole[:end], [whole[:end]], rng)
            with Wire(gateway.address("print")) as wire:
                wire.send(head + whole[end:])
                wire.sock.shutdown(1)  # else one whose length is larger would be waited for
                told = wire.rest()
            assert told == b"" or told.startswith(b"HTTP/1.1 "), told[:200]
            said[wire.name] = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", told)]
        records = wait.until(lambda: self.of_connections(gateway, said), "their records", 30)
        answered = {name: [r["http_status"] for r in found if "http_status" in r] for name, found in records.items()}
        assert answered == said
        refused = [r for found in records.values() for r in found if r.get("http_status") != 200]
        assert len(refused) > 200 and all(r["error"] and r["error_text"] for r in refused)

    @staticmethod
    def of_connections(gateway, said):
        """Client -> its records, as soon as each has one for each status that it was |said|, and one at least."""
        found = {name: [] for name in said}
        for record in gateway.records():
            found.get(record.get("client"), []).append(record)
        return found if all(len(found[name]) >= max(len(statuses), 1) for name, statuses in said.items()) else None

    @pytest.mark.parametrize("seed", range(4))
    def test_answers(self, gateway, backend, seed):
        """Of the printer, in IPP and around it."""
        rng, sender = random.Random(seed), Sender(gateway)
        asked = [m for m in requests()[:8]]

        def talk(peer, fake, head):
            heard = fake.hear(peer, head)
            right = fake.reply(heard).encode()
            said = http(right)
            said = broken(said, [said], rng) if rng.randrange(4) == 0 else http(broken(right, [right], rng))
            peer.send(said)
            return False

        backend.talk_now = talk
        for _ in range(200):
            reply = sender.ask(post(rng.choice(asked)))
            assert reply.status == 200 and reply.message, reply
        records = sender.records()
        failed = [r for r in records.values() if r.get("rule") == "printer"]
        assert len(failed) > 50 and all(r["error"] and r["error_text"] for r in failed)
