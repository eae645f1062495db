# SPDX-License-Identifier: Apache-2.0
"""Keys that a gateway has, and what it leaves behind that tells its log everything that it tells anybody."""
import base64
import hmac
import os
import pathlib
import re
import signal
import time

import pytest

from testenv import ipp, wait
from testenv.fake_printer import FakePrinter
from testenv.icap import request
from testenv.print_wire import Wire, add_user
from testenv.printing import PrintGateway, printer
from testenv.tenants import ALICE, Tenants, authorization


def shapes(secret):
    """How it might be written: as it is, in hex, in base64 (with its tail cut off, which depends on what follows)."""
    digits = secret.hex()
    return [secret, digits.encode(), digits.upper().encode(), ":".join(re.findall("..", digits)).encode(),
            base64.b64encode(secret)[:len(secret) // 3 * 4], base64.urlsafe_b64encode(secret)[:len(secret) // 3 * 4]]


def shapes_of_key(path):
    """Of an EC key on P-256: the lines of its file, the whole text without line ends, its one secret number."""
    lines = [line for line in path.read_bytes().splitlines() if b"-----" not in line]
    der = base64.b64decode(b"".join(lines))
    number = re.search(rb"\x02\x01\x01\x04\x20(.{32})", der, re.S)[1]  # ECPrivateKey, RFC 5915 3
    return [line for line in lines if len(line) > 12] + shapes(der) + shapes(number)


def locked_memory(pid):
    """What a process keeps out of core files."""
    found, lines = [], pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in lines:
            if re.match("[0-9a-f]+-[0-9a-f]+ rw", line):
                begin, end = (int(x, 16) for x in line.split()[0].split("-"))
            elif line.startswith("VmFlags:") and {"dd", "wr"} <= set(line.split()) and end - begin <= 1 << 24:
                memory.seek(begin)  # what is larger is a sanitizer's
                found.append(memory.read(end - begin))
    return found


def session_keys(gateway, sessions):
    """Keys of the sessions whose ids were recorded: an id is made of its key, which only the memory of the process has."""
    keys = [memory[at:at + 32] for memory in locked_memory(gateway.gateway_pid()) for at in range(0, len(memory), 64)]
    return {key for key in keys if hmac.digest(key, b"session id", "sha256")[:16].hex() in sessions}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look into the gateway's memory")
def test_no_key_is_told(tmp_path, certificates):
    """That of the certificate, what keys of tickets are made of, those of sessions; also after a broken pair of
    files, a reload, another gateway process, and a session that was resumed."""
    tenants = Tenants(tmp_path / "tenants", certificates, clients={})
    gateway, context = tenants.gateway, tenants.context()
    key = certificates.server[1]
    wrong = certificates.issue("another")[1]

    def log_in():
        """The key of the session."""
        since = len(gateway.records())
        session = tenants.talk(context, who=ALICE)[2]
        assert tenants.talk(context, session)[:2] == (200, True)
        wait.until(lambda: len(gateway.records()) >= since + 2, "two records")
        found, = session_keys(gateway, {r["session"] for r in gateway.records()[since:]})
        return found

    with gateway:
        keys, text = [log_in()], gateway.config.read_text()
        for change, said in ((text.replace(f"key: {key}", f"key: {wrong}"), "everything stays as it was"),
                             (text.replace("threads: 2", "threads: 1"), "done with a new gateway process")):
            gateway.config.write_text(change)
            gateway.send_signal(signal.SIGHUP)
            gateway.wait_log(said, 30)
        keys.append(log_in())
        assert keys[0] != keys[1]
        secrets = [x for path in (key, wrong) for x in shapes_of_key(path)]
        secrets += [x for secret in (tenants.ticket_secret.read_bytes(), *keys) for x in shapes(secret)]
        assert gateway.tells(secrets) == []


def in_memory(pid, needle):
    """Where |needle| is in the memory of a process."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, mode = line.split()[:2]
            begin, end = (int(x, 16) for x in span.split("-"))
            if "r" not in mode or end - begin > 1 << 28 or line.endswith(("[vvar]", "[vsyscall]")):
                continue  # what is larger is a sanitizer's
            try:
                memory.seek(begin)
                text = memory.read(end - begin)
            except OSError:
                continue
            for hit in re.finditer(re.escape(needle), text):
                yield f"{begin + hit.start():x} {line.split()[-1]}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look into the gateway's memory")
@pytest.mark.parametrize("pieces", ["one", "inside the word", "behind the word", "many"])
def test_no_password_stays_in_memory(tmp_path, certificates, pieces):
    """After the login neither the password nor the word that stood for it is anywhere in the gateway."""
    user = ("erin", f"never to be found again {pieces}")
    tenants = Tenants(tmp_path / "tenants", certificates, clients={})
    field = authorization(*user)
    word = field.split()[-1]
    with tenants.gateway:
        tenants.add("acme", *user)
        with tenants.connect() as c:
            # Enough behind it that what gathers a head has to grow.
            more = [f"X-More-{i}: {'x' * 100}" for i in range(10)]
            message = request("RESPMOD", "icaps://localhost/echo", b"x", fields=[field, *more])
            at = message.index(word.encode())
            cuts = {"one": [], "inside the word": [at + 10], "behind the word": [at + len(word) + 10],
                    "many": range(at + len(word) + 5, at + 1200, 200)}[pieces]
            for begin, end in zip([0, *cuts], [*cuts, len(message)]):
                c.send(message[begin:end])
                time.sleep(0.1 if cuts else 0)
            assert c.read_reply("RESPMOD").status == 200
            for _ in range(3):
                assert c.ask("RESPMOD", "icaps://localhost/echo", b"x", fields=[field]).status == 200
            found = [where for needle in (user[1].encode(), word.encode()[12:])
                     for where in in_memory(tenants.gateway.gateway_pid(), needle)]
        assert not found


def stays(gateway, needles):
    return [where for needle in needles for where in in_memory(gateway.gateway_pid(), needle.encode())]


# What nobody can log in with, and is somebody's secret all the same.
SECRET = "nothing that is left behind"
WORD = base64.b64encode(f"erin:{SECRET}".encode()).decode().rstrip("=")
# Tests have numbers instead of them: the name of a test is in the environment of the gateway.
FORMS = [f"Authorization: Bearer {SECRET}", f"Authorization: Basic {WORD}!", f"Authorization: Basic {WORD} {SECRET}",
         f"Authorization: {SECRET}", f"Authorization: Basic {WORD * 40}",
         f"Authorization: Basic YTpi\r\nAuthorization: Basic {WORD}", f"Proxy-Authorization: Basic {WORD}"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look into the gateway's memory")
@pytest.mark.parametrize("form", FORMS, ids=range(len(FORMS)))
@pytest.mark.parametrize("method", ["RESPMOD", "OPTIONS"])
def test_what_was_no_login_does_not_stay(logged_in, form, method):
    """Other schemes, bad base64, two fields, a proxy's own: refused, and gone."""
    with logged_in.connect() as c:
        c.send(request(method, "icaps://localhost/echo", b"x" if method == "RESPMOD" else None, fields=form.split("\r\n"),
                       http=[] if method == "OPTIONS" else None))
        assert c.read_reply(method).status in (400, 407)
        assert not stays(logged_in.gateway, [SECRET, WORD[12:]])


# Behind and in front of the field that has the secret.
BROKEN = [("OPTIONS icaps://localhost/echo ICAP/1.0", "no colon", ""), ("OPTIONS icaps://localhost/echo ICAP/1.0", "", "no colon"),
          ("OPTIONS icaps://localhost/echo", "", ""), ("BREW icaps://localhost/echo ICAP/1.0", "", ""),
          ("RESPMOD icaps://localhost/echo ICAP/1.0", "", "Encapsulated: res-hdr=0, null-body=9")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look into the gateway's memory")
@pytest.mark.parametrize("head", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("behind", ["", "a second head"])
def test_a_broken_head_does_not_stay(logged_in, head, behind):
    """Nobody has looked for fields in it."""
    line, before, after = head
    lines = [line, "Host: localhost", before, f"Authorization: Basic {WORD}", after]
    text = "".join(f"{x}\r\n" for x in lines if x) + "\r\n"
    more = f"OPTIONS icaps://localhost/echo ICAP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\n\r\n"
    with logged_in.connect() as c:
        c.send(text.encode() + b"no status\r\n\r\n" + (more.encode() if behind else b""))
        assert c.read_reply("OPTIONS").status in (400, 501)
        c.expect_closed()
    assert not stays(logged_in.gateway, [SECRET, WORD[12:]])


@pytest.fixture(scope="module")
def logged_in(tmp_path_factory, certificates):
    tenants = Tenants(tmp_path_factory.mktemp("forms"), certificates, clients={})
    with tenants.gateway:
        yield tenants


@pytest.fixture(scope="module")
def printing(tmp_path_factory, certificates):
    with FakePrinter() as backend:
        gateway = PrintGateway(tmp_path_factory.mktemp("printing"), certificates,
                               [printer("basic", backend.uri(), require="[tls]", pipeline="[]", basic="true")],
                               more="login: {rounds: 100000, failures: 1000}\ntenants: [{name: acme}]\n")
        with gateway:
            add_user(gateway, "acme", "erin", SECRET)
            yield gateway


PRINTED = [("implicit", f"Authorization: Basic {base64.b64encode(f'erin:{SECRET}'.encode()).decode()}", [200]),
           *[("implicit", form, [200, 400, 401]) for form in FORMS],
           ("clear", f"Authorization: Basic {WORD}", [426]),  # answered before anybody looked at it
           ("upgraded", f"Authorization: Basic {WORD}!", [400])]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look into the gateway's memory")
@pytest.mark.parametrize("way, form, statuses", PRINTED, ids=range(len(PRINTED)))
def test_no_password_of_who_prints_stays(printing, way, form, statuses):
    message = ipp.request(ipp.VALIDATE_JOB, "ipp://localhost/ipp/basic", user="erin")
    wire = Wire(printing.address("print"), way)
    assert wire.ask(message, "/", form).status in statuses
    assert not stays(printing, [SECRET, WORD[12:]])
    assert wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + form.encode() + b"\r\n\r\n").reply().status == 404
    assert not stays(printing, [SECRET, WORD[12:]])
    wire.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look into the gateway's memory")
@pytest.mark.parametrize("way", ["clear", "upgraded", "implicit"])
@pytest.mark.parametrize("lines", [("no colon", FORMS[0]), (FORMS[0], "no colon"), (FORMS[0], "Content-Length: odd")], ids=range(3))
def test_a_broken_head_of_who_prints_does_not_stay(printing, way, lines):
    with Wire(printing.address("print"), way) as wire:
        wire.send("\r\n".join(["POST / HTTP/1.1", "Host: localhost", *lines, "", ""]).encode())
        assert wire.reply().status == 400
        assert wire.rest() == b""
    assert not stays(printing, [SECRET])
