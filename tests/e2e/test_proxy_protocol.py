# SPDX-License-Identifier: Apache-2.0
"""PROXY headers of load balancers, version 1 and 2: required from the listed sources, garbage from
others."""
import socket
import ssl
import struct

import pytest

from testenv import IcapConnection, Sallyport
from testenv.icap import request

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
CONFIG = """\
state: {state}
threads: 2
sandbox: required
log: {level: debug}
admin: {address: "127.0.0.1:0"}
tls:
  - {name: server, certificate: CERTIFICATE, key: KEY}
listeners:
  - {name: clear, address: "127.0.0.1:0", proxy-protocol-from: [127.0.0.1], handshake: 500ms}
  - {name: tls, address: "127.0.0.1:0", tls: server, proxy-protocol-from: [127.0.0.0/8], handshake: 500ms}
  - {name: others, address: "127.0.0.1:0", proxy-protocol-from: [10.0.0.0/8]}
  - {name: others-tls, address: "127.0.0.1:0", tls: server, proxy-protocol-from: [10.0.0.0/8]}
services:
  - {name: echo, type: echo, path: /echo}
"""


@pytest.fixture(scope="module")
def sallyport(tmp_path_factory, certificates):
    certificate, key = certificates.server
    config = CONFIG.replace("CERTIFICATE", str(certificate)).replace("KEY", str(key))
    with Sallyport(tmp_path_factory.mktemp("sallyport"), config=config) as gateway:
        yield gateway


def v1(text):
    return text.encode() + b"\r\n"


def v2(source, port, command=0x21, tlvs=b""):
    v6 = ":" in source
    pack = socket.inet_pton(socket.AF_INET6 if v6 else socket.AF_INET, source)
    other = socket.inet_pton(socket.AF_INET6 if v6 else socket.AF_INET, "::1" if v6 else "127.0.0.1")
    body = pack + other + struct.pack(">HH", port, 1344) + tlvs
    return SIGNATURE + bytes([command, 0x21 if v6 else 0x11]) + struct.pack(">H", len(body)) + body


def connect(sallyport, listener, header, certificates, pieces=1):
    """A connection behind |header|, sent in |pieces|; over TLS where the listener speaks it."""
    c = IcapConnection(sallyport.address(listener), timeout=10)
    step = max(1, len(header) // pieces)
    for i in range(0, len(header), step):
        c.send(header[i:i + step])
    if listener.endswith("tls"):
        context = ssl.create_default_context(cafile=str(certificates.ca))
        c.sock = context.wrap_socket(c.sock, server_hostname="localhost")
    return c


HEADERS = {
    "v1": (v1("PROXY TCP4 192.0.2.7 127.0.0.1 56324 1344"), "192.0.2.7:56324"),
    "v1 IPv6": (v1("PROXY TCP6 2001:db8::7 ::1 56324 1344"), "[2001:db8::7]:56324"),
    "v1 unknown": (v1("PROXY UNKNOWN"), None),
    "v1 unknown with more": (v1("PROXY UNKNOWN ffff::1 ffff::2 65535 65535"), None),
    "v1 longest": (v1("PROXY UNKNOWN " + "f" * 91), None),
    "v2": (v2("192.0.2.7", 56324), "192.0.2.7:56324"),
    "v2 IPv6": (v2("2001:db8::7", 56324), "[2001:db8::7]:56324"),
    "v2 with TLVs": (v2("192.0.2.7", 56324, tlvs=b"\x03\0\x04abcd\x02\0\x09localhost"), "192.0.2.7:56324"),
    "v2 local": (SIGNATURE + b"\x20\0\0\0", None),
    "v2 local with addresses": (v2("192.0.2.7", 56324, 0x20), None),
    "v2 unspecified": (SIGNATURE + b"\x21\0\0\0", None),
}
BAD = {
    "another word": b"PROXI TCP4 192.0.2.7 127.0.0.1 1 2\r\n", "lower case": b"proxy TCP4 192.0.2.7 127.0.0.1 1 2\r\n",
    "UDP": v1("PROXY UDP4 192.0.2.7 127.0.0.1 1 2"), "bare LF": b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\n",
    "name": v1("PROXY TCP4 localhost 127.0.0.1 1 2"), "families": v1("PROXY TCP4 2001:db8::7 ::1 1 2"),
    "port": v1("PROXY TCP4 192.0.2.7 127.0.0.1 65536 2"), "zero before": v1("PROXY TCP4 192.0.2.7 127.0.0.1 01 2"),
    "no ports": v1("PROXY TCP4 192.0.2.7 127.0.0.1"), "two spaces": v1("PROXY TCP4  192.0.2.7 127.0.0.1 1 2"),
    "more": v1("PROXY TCP4 192.0.2.7 127.0.0.1 1 2 3"), "endless": b"PROXY UNKNOWN " + b"x" * 200,
    "v2 version": v2("192.0.2.7", 1, 0x11), "v2 command": v2("192.0.2.7", 1, 0x22),
    "v2 cut": SIGNATURE + b"\x21\x11\0\x04abcd", "v2 huge": SIGNATURE + b"\x21\x11\xff\xff" + b"x" * 600,
    "v2 family": SIGNATURE + b"\x21\x12\0\x0c" + b"x" * 12,
}


@pytest.mark.parametrize("pieces", [1, 1000], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("listener", ["clear", "tls"])
def test_record_shows_that_client(sallyport, certificates, listener, name, pieces):
    header, client = HEADERS[name]
    with connect(sallyport, listener, header, certificates, pieces) as c:
        own = "%s:%d" % c.sock.getsockname()
        reply = c.ask("RESPMOD", sallyport.url("echo", listener), b"hello")
    assert (reply.status, reply.body) == (200, b"hello")
    record = sallyport.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))
    assert record["client"] == (client or own)


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_request_in_the_same_packet(sallyport, name):
    header, client = HEADERS[name]
    with IcapConnection(sallyport.address("clear")) as c:
        c.send(header + request("RESPMOD", "icap://x/echo", b"hello"))
        reply = c.read_reply("RESPMOD")
    assert reply.body == b"hello"
    assert sallyport.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))["client"] == client


def expect_closed(sock):
    """Nothing is answered: not to TLS, not in clear text, for nobody knows whom it would reach."""
    try:
        assert sock.recv(65536) == b""
    except ConnectionResetError:
        pass


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("listener", ["clear", "tls"])
def test_bad_header(sallyport, listener, name):
    since = len(sallyport.records())
    with socket.create_connection(sallyport.address(listener), 10) as s:
        own = "%s:%d" % s.getsockname()
        s.sendall(BAD[name])
        expect_closed(s)
    record = sallyport.wait_record(lambda r: r["client"] == own, since=since)
    assert (record["error"], record["listener"]) == ("protocol", listener)
    assert "PROXY" in record["error_text"]


@pytest.mark.parametrize("listener", ["clear", "tls"])
def test_missing_header(sallyport, certificates, listener):
    """From a listed source a client cannot come without."""
    since = len(sallyport.records())
    with socket.create_connection(sallyport.address(listener), 10) as s:
        own = "%s:%d" % s.getsockname()
        if listener == "tls":
            with pytest.raises((ssl.SSLError, ConnectionError)):
                ssl.create_default_context(cafile=str(certificates.ca)).wrap_socket(s, server_hostname="localhost")
        else:
            s.sendall(request("RESPMOD", "icap://x/echo", b"hello"))
            expect_closed(s)
    record = sallyport.wait_record(lambda r: r["client"] == own, since=since)
    assert record["error_text"] == "no PROXY header where one is required"


@pytest.mark.parametrize("start", [b"", b"PROXY TCP4 192.0.2.7 ", SIGNATURE[:5], SIGNATURE + b"\x21"])
def test_header_that_does_not_come(sallyport, start):
    since = len(sallyport.records())
    with socket.create_connection(sallyport.address("clear"), 10) as s:
        own = "%s:%d" % s.getsockname()
        s.sendall(start)
        expect_closed(s)
    record = sallyport.wait_record(lambda r: r["client"] == own, since=since)
    assert (record["error"], "the PROXY header did not come" in record["error_text"]) == ("timeout", True)


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_unlisted_source(sallyport, name):
    """Who is not listed cannot claim another address: his header is garbage to ICAP and to TLS."""
    header, _ = HEADERS[name]
    since = len(sallyport.records())
    with IcapConnection(sallyport.address("others")) as c:
        own = "%s:%d" % c.sock.getsockname()
        c.send(header + request("OPTIONS", "icap://x/echo", http=[], encapsulated=""))
        reply = c.read_reply("OPTIONS")
        assert reply.status in (400, 501)
        c.expect_closed()
    assert sallyport.wait_record(lambda r: r["client"] == own, since=since)["icap_status"] == reply.status
    with socket.create_connection(sallyport.address("others-tls"), 10) as s:
        s.sendall(header)
        s.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while piece := s.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
        assert not answer or answer.startswith((b"ICAP/1.0 403 ", b"\x15"))


def test_unlisted_source_without_a_header(sallyport):
    with IcapConnection(sallyport.address("others")) as c:
        assert c.ask("RESPMOD", "icap://x/echo", b"hello").body == b"hello"
