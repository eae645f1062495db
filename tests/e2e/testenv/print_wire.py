# SPDX-License-Identifier: Apache-2.0
"""A print client of which every byte is the test's: clear text, Upgrade (RFC 2817), TLS, and Digest (RFC 7616)."""
import base64
import hashlib
import itertools
import os
import pathlib
import re
import select
import socket
import ssl
import struct
import subprocess

from . import ipp, wait

OPTIONS = b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2,TLS/1.1,TLS/1.0\r\n\r\n"
FATAL, HANDSHAKE_FAILURE, PROTOCOL_VERSION, NO_APPLICATION_PROTOCOL = 2, 40, 70, 120
UPGRADED = "sallyport-upgraded"
_sources = itertools.count(2)


def fresh_source():
    """A loopback address that nobody came from yet: wrong passwords are counted by address, and records have it."""
    n = next(_sources)
    return f"127.0.{1 + n // 250}.{1 + n % 250}"


# ---- bytes ----

def post(body, path="/", *fields, host="localhost"):
    """A POST with its length. |body|: a message, or octets; |fields|: further field-lines."""
    body = body.encode() if isinstance(body, ipp.Message) else body
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/ipp", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *fields, "", ""]).encode() + body


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def post_in_chunks(body, path="/", *fields):
    octets, head = body.encode() if isinstance(body, ipp.Message) else body, post(b"", path, *fields)
    head = head.replace(b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n")
    return head + chunk(octets[:10]) + chunk(octets[10:]) + chunk(b"")


def value(tag, name, octets):
    """An attribute of a message as it is written (RFC 8010 3.1.4); without a name, a further value."""
    name = name if isinstance(name, bytes) else name.encode()
    return struct.pack(">BH", tag, len(name)) + name + struct.pack(">H", len(octets)) + octets


def client_hello(version, suites=b"\x00\x2f\xc0\x14", extensions=b""):
    """One that can do nothing newer than |version|, as (3, 0) for SSLv3, and nothing but the cipher |suites|."""
    version = bytes(version)
    body = version + os.urandom(32) + b"\0" + len(suites).to_bytes(2, "big") + suites + b"\x01\0"
    if extensions:
        body += len(extensions).to_bytes(2, "big") + extensions
    body = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16" + version + len(body).to_bytes(2, "big") + body


def context(alpn=(), minimum=None, maximum=None, certificate=None):
    """Trusts everybody: who is there is not what is tested by this."""
    made = ipp.tls_context()
    if alpn:
        made.set_alpn_protocols(list(alpn))
    if minimum:
        made.minimum_version = minimum
    if maximum:
        made.maximum_version = maximum
    if certificate:
        made.load_cert_chain(*map(str, certificate))
    return made


class Reply:
    """|fields|: (name, value) as they came. |message|: the IPP message, where there is one."""

    def __init__(self, head, body=b""):
        lines = head.decode("latin-1").split("\r\n")
        self.line, self.body = lines[0], body
        self.status = int(self.line.split(" ")[1])
        self.fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if line]

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def get(self, name):
        values = self.all(name)
        assert len(values) <= 1, self.fields
        return values[0] if values else None

    @property
    def message(self):
        return ipp.Message.decode(self.body) if self.get("Content-Type") == "application/ipp" else None

    @property
    def code(self):
        assert self.status == 200 and self.message, self
        return self.message.code

    @property
    def answer(self):
        """The IPP status, or the HTTP one where that is the answer."""
        return self.message.code if self.status == 200 and self.message else self.status

    @property
    def words(self):
        return self.message.get("status-message")

    def __repr__(self):
        return f"<{self.line} {self.fields} {self.message or self.body}>"


class Wire:
    """One connection, from |source| or from an address of its own. Nothing is read before a test asks for it."""

    def __init__(self, address, way="clear", tls=None, source=None, timeout=60, receive=None):
        self.sock = socket.socket()
        self.sock.settimeout(timeout)
        if receive:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.bind((source or fresh_source(), 0))
        self.sock.connect(address)
        self.name = "%s:%d" % self.sock.getsockname()
        self.kept = b""
        if way == "implicit":
            self.start_tls(tls)
        elif way == "upgraded":
            self.upgrade(tls)

    def send(self, data):
        self.sock.sendall(data)
        return self

    def start_tls(self, tls=None):
        assert not self.kept
        self.sock = (tls or context()).wrap_socket(self.sock, server_hostname="localhost", suppress_ragged_eofs=False)
        return self

    def upgrade(self, tls=None):
        """The whole way, up to the answer to OPTIONS inside TLS."""
        assert self.send(OPTIONS).head().startswith(b"HTTP/1.1 101 ")
        self.start_tls(tls)
        reply = self.reply()
        assert reply.status == 200, reply
        return reply

    def _more(self):
        data = self.sock.recv(65536)
        self.kept += data
        return bool(data)

    def exactly(self, n):
        while len(self.kept) < n:
            assert self._more(), f"closed after {self.kept!r}"
        data, self.kept = self.kept[:n], self.kept[n:]
        return data

    def line(self):
        while b"\r\n" not in self.kept:
            assert self._more(), f"closed after {self.kept!r}"
        return self.exactly(self.kept.index(b"\r\n") + 2)

    def head(self):
        """Up to and with the empty line; octet by octet, for TLS may begin behind it."""
        while b"\r\n\r\n" not in self.kept:
            data = self.sock.recv(1)
            assert data, f"closed after {self.kept!r}"
            self.kept += data
        return self.exactly(self.kept.index(b"\r\n\r\n") + 4)

    def reply(self, has_body=True):
        """The next one, be it interim or not."""
        lines = [self.line()]
        while lines[-1] != b"\r\n":
            lines.append(self.line())
        reply = Reply(b"".join(lines)[:-4])
        length = reply.get("Content-Length")
        if reply.get("Transfer-Encoding"):
            while n := int(self.line(), 16):
                reply.body += self.exactly(n)
                self.line()
            self.line()
        elif length and has_body and reply.status >= 200:
            reply.body = self.exactly(int(length))
        return reply

    def ask(self, message, path="/", *fields):
        return self.send(post(message, path, *fields)).reply()

    def rest(self):
        """All that still comes, until the other side ends; b"" after a reset."""
        data, self.kept = self.kept, b""
        try:
            while more := self.sock.recv(65536):
                data += more
        except (ConnectionResetError, BrokenPipeError):
            pass
        except ssl.SSLError as e:
            data += f" [{e.reason}]".encode()
        return data

    def record(self, gateway, seconds=10, **expected):
        """The gateway's last record of this connection; with |expected|, of one that says so (or, in its `print`)."""
        def matches(r):
            said = {**r, **r.get("print", {})}
            return r.get("client") == self.name and all(said.get(k) == v for k, v in expected.items())
        return wait.until(lambda: next((r for r in reversed(gateway.records()) if matches(r)), None),
                          f"a record of {self.name} with {expected} ({gateway.state})", seconds)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


# ---- much of it ----

MEGABYTE, GIGABYTE = 1 << 20, 1 << 30


def send_until_answered(wire, pieces):
    """Octets that were sent before the other side had said something, or had gone."""
    sent = 0
    wire.sock.setblocking(False)
    try:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                readable, writable, _ = select.select([wire.sock], [wire.sock], [], 60)
                if readable:
                    return sent
                assert writable
                n = wire.sock.send(view)
                view, sent = view[n:], sent + n
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        wire.sock.settimeout(60)
    return sent


def for_ever(data, limit=GIGABYTE):
    for _ in range(limit // len(data)):
        yield data


def memory_of(pid, field="VmHWM"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)

# ---- Digest ----

HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}
PARAM = re.compile(r'\s*([a-z0-9*-]+)=("((?:[^"\\]|\\.)*)"|[^",\s]*)', re.I)


def parameters(text):
    """Those of a challenge, of credentials or of Authentication-Info."""
    return {name.lower(): quoted if value.startswith('"') else value for name, value, quoted in PARAM.findall(text)}


def challenges(reply):
    """(scheme, parameters) of each WWW-Authenticate, in their order."""
    split = [value.partition(" ")[::2] for value in reply.all("WWW-Authenticate")]
    return [(scheme, parameters(rest)) for scheme, rest in split]


def hashed(algorithm, *words):
    return HASHES[algorithm.removesuffix("-sess")](":".join(words).encode()).hexdigest()


class Digest:
    """A user's answers to one challenge. |nc| counts on; change any parameter by its name, None leaves it out."""

    def __init__(self, user, password, challenge, nc=0):
        self.user, self.password, self.challenge, self.nc = user, password, challenge, nc

    @property
    def algorithm(self):
        return self.challenge["algorithm"]

    def proof(self, method, uri, nc, cnonce, **change):
        """The response, or with an empty |method| the server's rspauth."""
        c = {**self.challenge, **change}
        ha1 = hashed(self.algorithm, self.user, c["realm"], self.password)
        if self.algorithm.endswith("-sess"):
            ha1 = hashed(self.algorithm, ha1, c["nonce"], cnonce)
        middle = [] if change.get("qop", "") is None else [nc, cnonce, "auth"]
        return hashed(self.algorithm, ha1, c["nonce"], *middle, hashed(self.algorithm, method, uri))

    def values(self, path="/", method="POST", **change):
        self.nc += 1
        values = {"username": self.user, "realm": self.challenge["realm"], "nonce": self.challenge["nonce"], "uri": path,
                  "algorithm": self.algorithm, "qop": "auth", "nc": f"{self.nc:08x}", "cnonce": os.urandom(8).hex()}
        values.update(change)
        if "response" not in values:
            values["response"] = self.proof(method, values["uri"], values["nc"], values["cnonce"],
                                            **{k: change[k] for k in ("realm", "nonce", "qop") if k in change})
        return {k: v for k, v in values.items() if v is not None}

    def field(self, path="/", method="POST", **change):
        return authorization(self.values(path, method, **change))


def authorization(values, more=""):
    bare = ("algorithm", "qop", "nc", "stale", "userhash")
    words = [f"{k}={v}" if k in bare else f'{k}="{v}"' for k, v in values.items()]
    return "Authorization: Digest " + ", ".join(words) + more


def get_challenge(reply, algorithm="SHA-256"):
    assert reply.status == 401, reply
    return next(c for scheme, c in challenges(reply) if scheme == "Digest" and c["algorithm"] == algorithm)


# ---- users ----

REALM = "sallyport"


def tenant(gateway, *words, password=None):
    """`sallyport tenant` on this gateway."""
    env = {**os.environ, **({"SALLYPORT_PASSWORD": password} if password else {})}
    done = gateway.command_line("tenant", *words, "--state", gateway.state, env=env, stdin=subprocess.DEVNULL,
                                start_new_session=True)
    assert done.returncode == 0, (words, done.stdout, done.stderr)


def add_user(gateway, of, user, password, *options):
    options = options or ("--digest", REALM, "--digest-md5")
    tenant(gateway, "add", of, "--user", user, *options, password=password)


def basic(user, password):
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
