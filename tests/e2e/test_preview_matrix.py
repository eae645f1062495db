# SPDX-License-Identifier: Apache-2.0
"""Every decision that a service can come to, at every place where it may fall in a preview, for every
Allow, in both methods: which answer RFC 3507 4.5 and 4.6 and the Partial Content extension leave, and
that it is the one that comes. Files that simply pass are in test_icap_wire.py, too."""
import dataclasses

import pytest

from testenv import IcapConnection, Sallyport, chunked, samples
from testenv.icap import encapsulate, http_request, http_response

EICAR = samples.EICAR
SERVICES = """\
  - name: ruled
    type: inspect
    path: /ruled
    rules:
      - {name: allowed, host: [allowed.test], then: allow}
      - {name: denied, host: [denied.test], then: block}
  - {name: erring, type: inspect, path: /erring, on: {denied: error, infected: error, too-large: error},
     body-max: 6000, rules: [{name: denied, host: [denied.test], then: block}]}
  - {name: small, type: inspect, path: /small, body-max: 600}
  - {name: letting, type: inspect, path: /letting, body-max: 600, on: {infected: pass, too-large: pass, denied: pass},
     rules: [{name: denied, host: [denied.test], then: block}]}
  - {name: partial, type: echo, path: /partial, answer: partial}
  - {name: whole, type: echo, path: /whole, answer: whole, body-max: 600}
"""
NOISE = samples.noise(5000)
RANGE = b"Range: bytes=0-9"
INFECTED = b"PK\x03\x04" + samples.noise(400) + EICAR


@dataclasses.dataclass
class Decision:
    """|early|: it falls with the heads; |at|: with that byte of the body; else with its end."""
    service: str
    body: bytes
    outcome: str  # "pass", "block", or the ICAP status of an error
    host: bytes = b"origin.test"
    fields: tuple = ()
    early: bool = False
    at: int = None


DECISIONS = {
    "clean": Decision("inspect", NOISE, "pass"),
    "infected": Decision("inspect", INFECTED, "block"),
    "infected, an error": Decision("erring", b"PK\x03\x04" + NOISE + EICAR, 403),
    "infected, let pass": Decision("letting", INFECTED, "pass"),
    "allowed by the heads": Decision("ruled", INFECTED, "pass", b"allowed.test", early=True),
    "denied by the heads": Decision("ruled", NOISE, "block", b"denied.test", early=True),
    "denied by the heads, an error": Decision("erring", NOISE, 403, b"denied.test", early=True),
    "denied by the heads, let pass": Decision("letting", NOISE[:500], "pass", b"denied.test", early=True),
    "too large": Decision("small", NOISE, "block", at=601),
    "too large, an error": Decision("erring", NOISE + NOISE, 503, at=6001),
    "too large, let pass": Decision("letting", NOISE, "pass", at=601),
    "echo": Decision("echo", NOISE, "pass", early=True),
    "echo, partial": Decision("partial", NOISE, "pass", early=True),
    "echo, whole": Decision("whole", NOISE, "pass"),  # body-max is nothing that an echo looks at
    # It means nothing in a request with a body (RFC 9110 14.2), and a response is no matter of it here.
    "with Range": Decision("inspect", NOISE, "pass", fields=(RANGE,)),
    "with Range, allowed by the heads": Decision("ruled", NOISE, "pass", b"allowed.test", (RANGE,), early=True),
}
# Name: (Preview, how many bytes of the body are shown at most, the last-chunk of what is shown). "len" is the
# length of the body.
ALL = 10**9
IEOF, LAST = b"0; ieof\r\n\r\n", b"0\r\n\r\n"
SHAPES = {
    "no preview": (None, ALL, LAST),
    "nothing shown": (0, 0, LAST),
    "a part": (1024, 1024, LAST),
    "less than announced": (1024, 100, LAST),
    "exactly all, ieof": ("len", ALL, IEOF),
    "exactly all, the end not known": ("len", ALL, LAST),
    "fits, ieof": (65536, ALL, IEOF),
    "fits, the end not known": (65536, ALL, LAST),
}
ALLOWS = {"none": (), "204": ("204",), "206": ("206",), "both": ("204", "206"), "trailers": ("204", "trailers")}


@pytest.fixture(scope="module")
def sallyport(tmp_path_factory):
    with Sallyport(tmp_path_factory.mktemp("matrix"), services=SERVICES) as gateway:
        yield gateway


def heads_of(method, decision):
    length = b"Content-Length: %d" % len(decision.body)
    url = b"http://" + decision.host + b"/file.bin"
    if method == "REQMOD":
        return [("req-hdr", http_request(b"POST", url, [length, *decision.fields]))]
    return [("req-hdr", http_request(b"GET", url, list(decision.fields))),
            ("res-hdr", http_response(len(decision.body)))]


class Exchange:
    """One transaction of a client that keeps to the RFC, and fails where the server does not."""

    def __init__(self, connection, method, url, decision, shape, allow):
        self.c, self.method, self.decision = connection, method, decision
        preview, shown, last = SHAPES[shape]
        self.body = decision.body
        self.preview = len(self.body) if preview == "len" else preview
        self.allow, self.ieof, self.shown = ALLOWS[allow], last == IEOF, min(shown, len(self.body))
        self.heads = heads_of(method, decision)
        lines = [f"{method} {url} ICAP/1.0", "Host: icap.test",
                 f"Encapsulated: {encapsulate(method, self.heads, True)}"]
        lines += [f"Preview: {self.preview}"] if self.preview is not None else []
        lines += [f"Allow: {', '.join(self.allow)}"] if self.allow else []
        self.c.send("\r\n".join(lines).encode() + b"\r\n\r\n" + b"".join(h for _, h in self.heads)
                    + chunked(self.body[:self.shown], 700, last))
        self.went_on = False
        self.run()

    def run(self):
        if self.c.peek_status() == 100:
            assert self.preview is not None, "100 without a preview"
            assert not self.ieof, "100 after ieof"
            self.c.expect_continue()
            self.went_on = True
            self.c.send(chunked(self.body[self.shown:], 700))
        self.reply = self.c.read_reply(self.method)
        self.c.expect_silence()
        self.check_legal()

    def check_legal(self):
        """The table of RFC 3507 4.6 and of Partial Content 5.1."""
        in_preview = self.preview is not None and not self.went_on
        status = self.reply.status
        assert status != 100, "a second 100"
        if status == 204:
            assert in_preview or "204" in self.allow, "204 that nobody allowed"
        elif status == 206:
            assert "206" in self.allow and (in_preview or "204" in self.allow), "206 that nobody allowed"
            if self.reply.use_original is not None:
                assert self.reply.use_original <= len(self.body)
        if "trailers" not in self.allow:
            assert self.reply.field("Trailer") is None

    def result(self):
        """What the client has in the end: (kind, body)."""
        reply = self.reply
        if reply.status == 204:
            return "pass", self.body
        if reply.status >= 300:
            return reply.status, None
        if "res-hdr" in reply.heads and (self.method == "REQMOD" or reply.http_status() == 403):
            return "block", reply.body
        body = reply.body
        if reply.use_original is not None:
            body += self.body[reply.use_original:]
        return "pass", body


def expected_100(decision, exchange):
    """Whether the decision can only fall after more of the body."""
    if exchange.preview is None or exchange.ieof:
        return False
    if decision.early:
        return False
    return decision.at is None or exchange.shown < decision.at


def expected_pass(decision, exchange):
    """The status of a body that passes."""
    may_204 = "204" in exchange.allow or exchange.preview is not None and not exchange.went_on
    if not may_204 or decision.service == "whole":
        return 200
    return 206 if decision.service == "partial" and "206" in exchange.allow else 204


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", DECISIONS)
def test_matrix(sallyport, name, shape):
    decision = DECISIONS[name]
    with IcapConnection(sallyport.address(), timeout=5) as c:
        for method in ("REQMOD", "RESPMOD"):
            for allow in ALLOWS:
                where = f"{method}, Allow {allow}"
                exchange = Exchange(c, method, sallyport.url(decision.service), decision, shape, allow)
                kind, body = exchange.result()
                assert kind == decision.outcome, where
                assert exchange.went_on == expected_100(decision, exchange), where
                if kind == "pass":
                    assert body == decision.body, where
                    assert exchange.reply.status == expected_pass(decision, exchange), where
                    if exchange.reply.status == 206:
                        assert (exchange.reply.body, exchange.reply.use_original) == (b"", 0), where
                    if RANGE in decision.fields and "req-hdr" in exchange.reply.heads:
                        assert b"\r\n" + RANGE + b"\r\n" in exchange.reply.heads["req-hdr"], where
                elif kind == "block":
                    assert exchange.reply.status == 200 and EICAR not in body, where
                    assert exchange.reply.http_status() == 403, where
                # Nothing is read after a final answer, and nothing is left of it: the next request is
                # where the server looks for one.
                if exchange.reply.field("Connection") == "close":
                    c.expect_closed()
                    pytest.fail(f"{where}: closed, although all that was sent is short")
                assert_next(c, sallyport)


def assert_next(c, gateway):
    c.send(f"OPTIONS {gateway.url('echo')} ICAP/1.0\r\nHost: x\r\n\r\n".encode())
    assert c.read_reply("OPTIONS").status == 200


class TestAfterTheFinalAnswer:
    """A preview that is answered is over: what follows is a new request, even one that looks as if it
    were the rest, and even when it was sent before the answer was read."""

    def preview(self, gateway, service, host, body=b"x" * 100):
        heads = [("req-hdr", http_request(url=b"http://" + host + b"/f")), ("res-hdr", http_response(100_000))]
        return (f"RESPMOD {gateway.url(service)} ICAP/1.0\r\nHost: x\r\nPreview: 100\r\nAllow: 206\r\n"
                f"Encapsulated: {encapsulate('RESPMOD', heads, True)}\r\n\r\n".encode()
                + b"".join(h for _, h in heads) + chunked(body))

    @pytest.mark.parametrize("service, host, status", [("ruled", b"denied.test", 200), ("ruled", b"allowed.test", 204),
                                                       ("echo", b"origin.test", 204), ("erring", b"denied.test", 403),
                                                       ("partial", b"origin.test", 206)])
    def test_next_request(self, sallyport, service, host, status):
        message = self.preview(sallyport, service, host)
        with IcapConnection(sallyport.address(), timeout=5) as c:
            c.send(message * 20)
            for _ in range(20):
                assert c.read_reply("RESPMOD").status == status
            c.expect_silence()
            assert_next(c, sallyport)

    @pytest.mark.parametrize("service, host, status", [("ruled", b"denied.test", 200), ("ruled", b"allowed.test", 204)])
    def test_a_rest_that_nobody_wants_is_no_request(self, sallyport, service, host, status):
        """A client that sends it all the same has lost the framing: 400, and the end."""
        with IcapConnection(sallyport.address(), timeout=5) as c:
            c.send(self.preview(sallyport, service, host))
            assert c.read_reply("RESPMOD").status == status
            c.send(chunked(b"the rest"))
            assert c.read_reply("RESPMOD").status == 400
            c.expect_closed()

    def test_no_100_comes_late(self, sallyport):
        """After ieof there is one answer, in every service."""
        with IcapConnection(sallyport.address(), timeout=5) as c:
            for service in ("inspect", "ruled", "erring", "small", "letting", "echo"):
                for _ in range(5):
                    heads = [("res-hdr", http_response(3))]
                    c.send(f"RESPMOD {sallyport.url(service)} ICAP/1.0\r\nHost: x\r\nPreview: 4096\r\n"
                           f"Encapsulated: {encapsulate('RESPMOD', heads, True)}\r\n\r\n".encode()
                           + heads[0][1] + chunked(b"abc", last=IEOF))
                    assert c.read_reply("RESPMOD").status == 204
                    c.expect_silence()
            assert_next(c, sallyport)


class TestEchoAnswers:
    """What the matrix does not show of `answer`."""

    @pytest.mark.parametrize("service, status", [("echo", 204), ("partial", 204), ("whole", 200)])
    @pytest.mark.parametrize("preview", [None, 0, 1024])
    def test_without_a_body(self, sallyport, service, status, preview):
        """No 100, and no 206: there is nothing to point to."""
        head = http_request()
        lines = [f"REQMOD {sallyport.url(service)} ICAP/1.0", "Host: x", "Allow: 204, 206",
                 f"Encapsulated: req-hdr=0, null-body={len(head)}"]
        lines += [f"Preview: {preview}"] if preview is not None else []
        with IcapConnection(sallyport.address(), timeout=5) as c:
            c.send("\r\n".join(lines).encode() + b"\r\n\r\n" + head)
            reply = c.read_reply("REQMOD")
            assert reply.status == status
            assert reply.heads == ({"req-hdr": head} if status == 200 else {})
            assert_next(c, sallyport)

    @pytest.mark.parametrize("service", ["partial", "whole"])
    def test_without_the_head_to_hand_back(self, sallyport, service):
        """REQMOD and a body, but no request head (erratum E5)."""
        with IcapConnection(sallyport.address(), timeout=5) as c:
            c.send(f"REQMOD {sallyport.url(service)} ICAP/1.0\r\nHost: x\r\nAllow: 204, 206\r\n"
                   "Encapsulated: req-body=0\r\n\r\n".encode() + chunked(b"abc"))
            assert c.read_reply("REQMOD").status == 418
            assert_next(c, sallyport)

    @pytest.mark.parametrize("service, status, fields", [
        ("partial", 206, ["Allow: 204, 206"]), ("partial", 206, ["Allow: 206", "Preview: 1024"]),
        ("whole", 200, ["Allow: 204"]), ("whole", 200, ["Preview: 1024"])])
    def test_record(self, sallyport, service, status, fields):
        """It says what was answered, and how much of the body came."""
        preview = "Preview: 1024" in fields
        heads = [("res-hdr", http_response(len(NOISE)))]
        with IcapConnection(sallyport.address(), timeout=5) as c:
            c.send("\r\n".join([f"RESPMOD {sallyport.url(service)} ICAP/1.0", "Host: x", *fields,
                                f"Encapsulated: {encapsulate('RESPMOD', heads, True)}"]).encode()
                   + b"\r\n\r\n" + heads[0][1] + chunked(NOISE[:1024] if preview else NOISE))
            if preview and status == 200:
                c.expect_continue()
                c.send(chunked(NOISE[1024:]))
            reply = c.read_reply("RESPMOD")
        record = sallyport.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))
        assert (reply.status, record["icap_status"], record["service"]) == (status, status, service)
        assert record["body_len"] == (1024 if preview and status == 206 else len(NOISE))

    @pytest.mark.parametrize("size", [1 << 20, 20 << 20])
    def test_large_and_whole(self, sallyport, size):
        """More than memory-max, to a client that sends everything before it reads anything."""
        body = samples.noise(1 << 20) * (size >> 20)
        heads = [("res-hdr", http_response(len(body)))]
        with IcapConnection(sallyport.address(), timeout=20) as c:
            c.send(f"RESPMOD {sallyport.url('whole')} ICAP/1.0\r\nHost: x\r\nPreview: 1024\r\n"
                   f"Encapsulated: {encapsulate('RESPMOD', heads, True)}\r\n\r\n".encode()
                   + heads[0][1] + chunked(body[:1024]))
            c.expect_continue()
            c.send(chunked(body[1024:], 65536))
            assert c.read_reply("RESPMOD").body == body
            assert_next(c, sallyport)

    def test_gone_inside_the_preview(self, sallyport):
        """A client that leaves while its preview is kept costs a record and nothing else."""
        since = len(sallyport.records())
        heads = [("res-hdr", http_response(len(NOISE)))]
        with IcapConnection(sallyport.address(), timeout=5) as c:
            c.send(f"RESPMOD {sallyport.url('whole')} ICAP/1.0\r\nHost: x\r\nPreview: 1024\r\n"
                   f"Encapsulated: {encapsulate('RESPMOD', heads, True)}\r\n\r\n".encode()
                   + heads[0][1] + b"64\r\n" + b"x" * 100 + b"\r\n")
            client = "%s:%d" % c.sock.getsockname()[:2]
        record = sallyport.wait_record(lambda r: r["client"] == client, since=since)
        assert record["error"] == "client-gone"
        with IcapConnection(sallyport.address(), timeout=5) as c:
            assert_next(c, sallyport)


class TestNoBody:
    """Preview: 0 and null-body, as Squid sends for each GET: never 100, nothing to wait for."""

    @pytest.mark.parametrize("allow", ALLOWS)
    @pytest.mark.parametrize("host, outcome", [(b"origin.test", "pass"), (b"allowed.test", "pass"),
                                               (b"denied.test", "block")])
    @pytest.mark.parametrize("preview", [None, 0, 1024])
    def test_get(self, sallyport, preview, host, outcome, allow):
        fields = ([f"Preview: {preview}"] if preview is not None else [])
        fields += [f"Allow: {', '.join(ALLOWS[allow])}"] if ALLOWS[allow] else []
        with IcapConnection(sallyport.address(), timeout=5) as c:
            for ranged in (False, True):
                head = http_request(url=b"http://" + host + b"/f", fields=[b"Range: bytes=1-"] if ranged else [])
                text = "\r\n".join([f"REQMOD {sallyport.url('ruled')} ICAP/1.0", "Host: x",
                                    f"Encapsulated: req-hdr=0, null-body={len(head)}", *fields])
                c.send(text.encode() + b"\r\n\r\n" + head)
                reply = c.read_reply("REQMOD")
                if outcome == "block":
                    assert (reply.status, reply.http_status()) == (200, 403)
                elif ranged:
                    assert reply.status == 200 and b"Range" not in reply.heads["req-hdr"]
                else:
                    may_204 = preview is not None or "204" in ALLOWS[allow]
                    assert reply.status == (204 if may_204 else 200)
            assert_next(c, sallyport)
