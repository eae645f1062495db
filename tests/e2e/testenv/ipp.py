# SPDX-License-Identifier: Apache-2.0
"""IPP messages (RFC 8010), and connections that carry them: in clear text, within TLS, or by Upgrade (RFC 2817)."""
import http.client
import itertools
import socket
import ssl
import struct

OPERATION, JOB, END, PRINTER, UNSUPPORTED, SUBSCRIPTION, EVENT, DOCUMENT = 1, 2, 3, 4, 5, 6, 7, 9
INTEGER, BOOLEAN, ENUM, OCTETS, COLLECTION, END_COLLECTION = 0x21, 0x22, 0x23, 0x30, 0x34, 0x37
TEXT, NAME, KEYWORD, URI, CHARSET, LANGUAGE, MIME, MEMBER = 0x41, 0x42, 0x44, 0x45, 0x47, 0x48, 0x49, 0x4a
PRINT_JOB, VALIDATE_JOB, CREATE_JOB, SEND_DOCUMENT, CANCEL_JOB = 0x0002, 0x0004, 0x0005, 0x0006, 0x0008
GET_JOB_ATTRIBUTES, GET_JOBS, GET_PRINTER_ATTRIBUTES = 0x0009, 0x000a, 0x000b
HOLD_JOB, RELEASE_JOB = 0x000c, 0x000d
CUPS_GET_DEFAULT, CUPS_GET_PRINTERS, CUPS_GET_CLASSES = 0x4001, 0x4002, 0x4005
OK, BAD_REQUEST, FORBIDDEN, NOT_AUTHORIZED = 0x0000, 0x0400, 0x0401, 0x0403
NOT_POSSIBLE, NOT_FOUND, TOO_LARGE = 0x0404, 0x0406, 0x0408
FORMAT_NOT_SUPPORTED, SECURITY_ERROR, UNAVAILABLE, TEMPORARY_ERROR, BUSY = 0x040a, 0x041a, 0x0502, 0x0505, 0x0507
HELD, PROCESSING, CANCELED, ABORTED, COMPLETED = 4, 5, 7, 8, 9

PIECE = 16384
_request_ids = itertools.count(1)


# ---- values ----

def _octets(tag, value):
    if isinstance(value, bytes):
        return value
    if tag in (INTEGER, ENUM):
        return struct.pack(">i", value)
    if tag == BOOLEAN:
        return bytes([value])
    return b"" if value is None else value.encode()


def _value(tag, octets):
    if tag < 0x20:
        return None
    if tag in (INTEGER, ENUM):
        return struct.unpack(">i", octets)[0]
    if tag == BOOLEAN:
        return octets != b"\0"
    return octets.decode(errors="replace") if 0x40 <= tag < 0x60 else octets


def _write(tag, name, octets):
    name = name.encode()
    return struct.pack(">BH", tag, len(name)) + name + struct.pack(">H", len(octets)) + octets


class Message:
    """|code|: the operation or the status. |groups|: (tag, attributes) each, with (name, tag, value, …) for an
    attribute; a value is an int, bool, str, bytes or None by its tag. Collections are read, not written: their
    members follow as attributes of the group."""

    def __init__(self, code, groups=(), request_id=None, version=(2, 0), data=b""):
        self.code, self.groups, self.version, self.data = code, list(groups), version, data
        self.request_id = request_id or next(_request_ids)

    def encode(self):
        out = [struct.pack(">BBHI", *self.version, self.code, self.request_id)]
        for tag, attributes in self.groups:
            out.append(bytes([tag]))
            for name, kind, *values in attributes:
                out += [_write(kind, name if i == 0 else "", _octets(kind, v)) for i, v in enumerate(values)]
        return b"".join(out) + bytes([END]) + self.data

    @classmethod
    def decode(cls, octets):
        major, minor, code, request_id = struct.unpack(">BBHI", octets[:8])
        message, at = cls(code, request_id=request_id, version=(major, minor)), 8
        while octets[at] != END:
            tag, at = octets[at], at + 1
            if tag < 0x10:
                message.groups.append((tag, []))
                continue
            n, = struct.unpack(">H", octets[at:at + 2])
            name, at = octets[at + 2:at + 2 + n].decode(), at + 2 + n
            n, = struct.unpack(">H", octets[at:at + 2])
            value, at = octets[at + 2:at + 2 + n], at + 2 + n
            message.add(tag, name, value)
        message.data = octets[at + 1:]
        return message

    def add(self, tag, name, octets):
        attributes = self.groups[-1][1]
        if tag == MEMBER:
            attributes.append((octets.decode(), None))
        elif tag == END_COLLECTION:
            pass
        elif name:
            attributes.append((name, tag, _value(tag, octets)))
        else:
            known, first, *values = attributes[-1]
            attributes[-1] = (known, tag if first is None else first, *values, _value(tag, octets))

    def attributes(self, group=None):
        return [a for tag, attributes in self.groups if group in (None, tag) for a in attributes]

    def all(self, name, group=None):
        """The values of the first attribute |name|."""
        return next((list(values) for known, _, *values in self.attributes(group) if known == name), [])

    def get(self, name, group=None):
        """The first of them, or None."""
        return next(iter(self.all(name, group)), None)

    def uris(self):
        """Every value of the syntax uri, wherever it stands: (name, value)."""
        return [(name, v) for name, tag, *values in self.attributes() if tag == URI for v in values]

    def __repr__(self):
        return f"<{self.code:#06x} {self.groups}>"


def request(operation, uri, *attributes, job=(), job_id=None, user="ann", data=b"", **more):
    """A request about the printer at |uri|, or about its job |job_id|. |attributes|: further operation attributes;
    |job|: those of the job."""
    head = [("attributes-charset", CHARSET, "utf-8"), ("attributes-natural-language", LANGUAGE, "en"),
            ("printer-uri", URI, uri)]
    if job_id is not None:
        head.append(("job-id", INTEGER, job_id))
    if user:
        head.append(("requesting-user-name", NAME, user))
    groups = [(OPERATION, head + list(attributes))]
    if job:
        groups.append((JOB, list(job)))
    return Message(operation, groups, data=data, **more)


# ---- connections ----

class Answer:
    """|status|, |fields|: HTTP's; |message|: None where the body is none; |body|: as it came. |client|: who asked, as
    records have it."""

    def __init__(self, response, client):
        self.client = client
        self.status, self.fields, self.body = response.status, response.headers, response.read()
        is_ipp = response.headers.get_content_type() == "application/ipp"
        self.message = Message.decode(self.body) if is_ipp and len(self.body) > 8 else None

    @property
    def code(self):
        assert self.message, (self.status, self.body)
        return self.message.code

    def __repr__(self):
        return f"<HTTP {self.status} {self.message or self.body}>"


def tls_context():
    """Trusts everybody: who is there is not what is tested by this."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class IppConnection:
    """To |address| (host, port). |way|: "clear", "tls" (from the first byte) or "upgrade". |context|: an SSLContext
    that is better than tls_context()."""

    def __init__(self, address, way="clear", context=None, timeout=60):
        self.name, self.host = address[0], f"{address[0]}:{address[1]}"
        self.context = context or tls_context()
        self.sock = socket.create_connection(address, timeout)
        self.local = "{}:{}".format(*self.sock.getsockname())  # as records have it
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if way == "tls":
            self.begin_tls()
        elif way == "upgrade":
            answer = self.upgrade()
            assert answer.status == 200, answer

    def begin_tls(self):
        self.sock = self.context.wrap_socket(self.sock, server_hostname=self.name)

    def upgrade(self, tokens="TLS/1.3, TLS/1.2"):
        """OPTIONS with Upgrade, 101, and TLS: the answer to OPTIONS."""
        self.sock.sendall(f"OPTIONS * HTTP/1.1\r\nHost: {self.host}\r\nConnection: Upgrade\r\nUpgrade: {tokens}\r\n\r\n"
                          .encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):  # nothing of TLS may be read along
            octet = self.sock.recv(1)
            assert octet, head
            head += octet
        assert head.startswith(b"HTTP/1.1 101 "), head
        self.begin_tls()
        return self.read("OPTIONS")

    def send(self, message, path="/", chunked=False, fields=(), document=None, end=True):
        """A POST. |fields|: further ones, as (name, value). |document|: pieces that follow the message, in chunks;
        without |end| more pieces may follow (send_piece())."""
        body = message.encode() if isinstance(message, Message) else message
        chunked = chunked or document is not None
        length = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", len(body))
        lines = [("Host", self.host), ("Content-Type", "application/ipp"), length, *fields]
        head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines) + "\r\n"
        try:
            if not chunked:
                self.sock.sendall(head.encode() + body)
                return self
            self.sock.sendall(head.encode())
            for piece in [body[i:i + PIECE] for i in range(0, len(body), PIECE)] + list(document or ()):
                self.send_piece(piece)
            if end:
                self.send_piece(b"")
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has answered, and hears no more
        return self

    def send_piece(self, piece):
        """A chunk; an empty one is the end."""
        self.sock.sendall(b"%x\r\n" % len(piece) + piece + b"\r\n")

    def read(self, method="POST"):
        response = http.client.HTTPResponse(self.sock, method=method)
        response.begin()
        return Answer(response, self.local)

    def ask(self, message, path="/", **more):
        return self.send(message, path, **more).read()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def ask(address, message, path="/", way="clear", **more):
    """One request on a connection of its own."""
    with IppConnection(address, way) as connection:
        return connection.ask(message, path, **more)


class Client:
    """Somebody who prints at |uri|, found at |address|, with a connection for each request."""

    def __init__(self, address, uri, way="clear", user="ann", agent=None):
        self.address, self.uri, self.way, self.user = address, uri, way, user
        self.path = "/" + uri.partition("://")[2].partition("/")[2]
        self.fields = [("User-Agent", agent)] if agent else []

    def request(self, operation, *attributes, **more):
        return request(operation, self.uri, *attributes, user=self.user, **more)

    def ask(self, operation, *attributes, chunked=False, **more):
        return ask(self.address, self.request(operation, *attributes, **more), self.path, self.way, chunked=chunked,
                   fields=self.fields)

    @staticmethod
    def describe(kind, compression):
        """Attributes of a document."""
        return ([("document-format", MIME, kind)] if kind else []) + (
            [("compression", KEYWORD, compression)] if compression else [])

    def print_job(self, document, kind="text/plain", name="document", compression=None, **more):
        return self.ask(PRINT_JOB, ("job-name", NAME, name), *self.describe(kind, compression), data=document, **more)

    def create_job(self, name="document", **more):
        """The job's number."""
        answer = self.ask(CREATE_JOB, ("job-name", NAME, name), **more)
        assert answer.code == OK, answer
        return answer.message.get("job-id", JOB)

    def send_document(self, job_id, document, kind="text/plain", last=True, compression=None, **more):
        return self.ask(SEND_DOCUMENT, *self.describe(kind, compression), ("last-document", BOOLEAN, last),
                        job_id=job_id, data=document, **more)

    def job(self, job_id):
        """What is told of it: a message."""
        answer = self.ask(GET_JOB_ATTRIBUTES, job_id=job_id)
        assert answer.code == OK, answer
        return answer.message

    def job_state(self, job_id):
        return self.job(job_id).get("job-state", JOB)

    def jobs(self, *names, which="all"):
        """For each: name -> value of the attributes |names|."""
        answer = self.ask(GET_JOBS, ("which-jobs", KEYWORD, which), ("requested-attributes", KEYWORD, *names))
        assert answer.code == OK, answer
        return [{name: values[0] for name, _, *values in attributes}
                for tag, attributes in answer.message.groups if tag == JOB]
