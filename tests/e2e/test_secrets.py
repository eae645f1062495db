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

from testenv import wait
from testenv.icap import request
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
@pytest.mark.parametrize("in_pieces", [False, True])
def test_no_password_stays_in_memory(tmp_path, certificates, in_pieces):
    """After the login neither the password nor the word that stood for it is anywhere in the gateway."""
    user = ("erin", f"never to be found again {in_pieces}")
    tenants = Tenants(tmp_path / "tenants", certificates, clients={})
    field = authorization(*user)
    word = field.split()[-1]
    with tenants.gateway:
        tenants.add("acme", *user)
        with tenants.connect() as c:
            message = request("RESPMOD", "icaps://localhost/echo", b"x", fields=[field])
            cut = message.index(word.encode()) + 10 if in_pieces else len(message)
            c.send(message[:cut])
            if in_pieces:
                time.sleep(0.3)
                c.send(message[cut:])
            assert c.read_reply("RESPMOD").status == 200
            for _ in range(3):
                assert c.ask("RESPMOD", "icaps://localhost/echo", b"x", fields=[field]).status == 200
            found = [where for needle in (user[1].encode(), word.encode()[12:])
                     for where in in_memory(tenants.gateway.gateway_pid(), needle)]
        assert not found
