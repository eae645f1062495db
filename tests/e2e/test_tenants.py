# SPDX-License-Identifier: Apache-2.0
"""Tenants and users: added, listed, switched off, removed through the command line; kept over every kind
of restart, shared by two generations of the gateway, and secret. With what Digest needs, or without."""
import base64
import hashlib
import json
import os
import pathlib
import pty
import pwd
import re
import signal
import socket
import subprocess
import threading

import pytest

from testenv import IcapConnection, Sallyport, wait
from testenv.process import children
from testenv.sallyport import binary, build_dir, is_sanitized

PASSWORD = "correct horse battery staple"
GENERATED = re.compile(r"^password: ((?:[0-9a-z]{5}-){4}[0-9a-z]{5})$", re.M)
ROWS = 'tenants:\n  - {name: acme, connections: 3, certificates: ["dns:a.example"]}\n  - {name: beta}\n'
QUICK = "login: {rounds: 100000}\n"
REALM = "the printers"
WITH_LOGIN = """\
state: {state}
threads: 1
sandbox: SANDBOX
admin: {address: "127.0.0.1:0"}
login: {rounds: 100000}
tls: [{name: server, certificate: CERTIFICATE, key: KEY}]
listeners: [{name: password, address: "127.0.0.1:0", tls: server, login: password}]
services: [{name: echo, type: echo, path: /echo}]
"""


class Operator:
    """`sallyport tenant` on one gateway."""

    def __init__(self, gateway):
        self.gateway = gateway

    def run(self, *words, code=0, password=None, **more):
        env = {k: v for k, v in os.environ.items() if k != "SALLYPORT_PASSWORD"}
        if password is not None:
            env["SALLYPORT_PASSWORD"] = password
        if "input" not in more:
            more["stdin"] = subprocess.DEVNULL
        done = self.gateway.command_line("tenant", "--state", self.gateway.state, *words, env=env,
                                         start_new_session=True, **more)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done

    def tenants(self):
        return {t["name"]: t for t in json.loads(self.run("list", "--json").stdout)["tenants"]}

    def users(self, tenant):
        return {u["user"]: u for u in self.tenants()[tenant]["users"]}

    def ask(self, **command):
        """Over the control socket itself."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(str(self.gateway.state / "control.sock"))
            s.sendall(json.dumps(command).encode() + b"\n")
            return json.loads(s.makefile("rb").readline())

    def reload(self, done, seconds=30):
        before = self.gateway.log().count(done)
        self.gateway.send_signal(signal.SIGHUP)
        wait.until(lambda: self.gateway.log().count(done) > before, f"'{done}'", seconds)
        self.gateway._addresses = {}

    def stored(self):
        """Everything that lies in the store, as bytes."""
        return (self.gateway.state / "store" / "data.mdb").read_bytes()


def verifier(password=PASSWORD, **more):
    salt = bytes(range(16))
    derived = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 100000)
    return {"method": "pbkdf2-hmac-sha256", "rounds": 100000, "salt": salt.hex(),
            "hash": hashlib.sha256(derived).hexdigest(), **more}


def ha1(algorithm, user, password=PASSWORD, realm=REALM):
    """RFC 7616 3.4.2."""
    return hashlib.new(algorithm, f"{user}:{realm}:{password}".encode()).hexdigest()


def digest(user="joe", **more):
    return {"realm": REALM, "sha256": ha1("sha256", user), **more}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with Sallyport(tmp_path_factory.mktemp("tenants"), more=ROWS + QUICK) as gateway:
        yield gateway


@pytest.fixture
def operator(shared):
    """On a gateway with the tenants of its configuration, and no users."""
    operator = Operator(shared)
    yield operator
    for name, tenant in operator.tenants().items():
        for user in tenant["users"]:
            operator.run("remove", "--user", user["user"], "--yes")
        if tenant["disabled"]:
            operator.run("enable", name)
        if not tenant["configured"]:
            operator.run("remove", name, "--yes")


@pytest.fixture
def own(start_sallyport):
    return Operator(start_sallyport(more=ROWS + QUICK))


class TestTenants:
    def test_those_of_the_configuration_are_there(self, operator):
        tenants = operator.tenants()
        assert sorted(tenants) == ["acme", "beta"]
        assert tenants["acme"]["configured"] and tenants["acme"]["certificates"] == 1
        assert not tenants["acme"]["disabled"] and tenants["acme"]["users"] == []
        assert tenants["acme"]["connections"] == tenants["acme"]["requests"] == tenants["acme"]["refused"] == 0

    def test_round_trip(self, operator):
        assert "tenant 'gamma' was added" in operator.run("add", "gamma").stdout
        assert not operator.tenants()["gamma"]["configured"]
        assert "already" in operator.run("add", "gamma", code=1).stderr
        operator.run("disable", "gamma")
        assert operator.tenants()["gamma"]["disabled"]
        assert "DISABLED" in operator.run("list").stdout
        operator.run("enable", "gamma")
        assert not operator.tenants()["gamma"]["disabled"]
        operator.run("remove", "gamma", "--yes")
        assert "gamma" not in operator.tenants()
        assert "no tenant 'gamma'" in operator.run("remove", "gamma", "--yes", code=1).stderr

    def test_configured_is_not_removed(self, operator):
        assert "take it out there first" in operator.run("remove", "acme", "--yes", code=1).stderr
        assert "acme" in operator.tenants()

    def test_removed_with_its_users_and_no_others(self, operator):
        for user, tenant in (("g1", "gamma"), ("g2", "gamma"), ("a1", "acme")):
            operator.run("add", tenant, "--user", user, password=PASSWORD)
        operator.run("remove", "gamma", "--yes")
        operator.run("add", "gamma")
        assert operator.users("gamma") == {}
        assert list(operator.users("acme")) == ["a1"]

    @pytest.mark.parametrize("name", ["", ".", "a b", "a/b", "-a", "ä", "a" * 65, "a\nb"])
    def test_names(self, operator, name):
        operator.run("add", "--", name, code=1)
        assert len(operator.tenants()) == 2


class TestUsers:
    def test_round_trip(self, operator):
        operator.run("add", "acme", "--user", "joe", password=PASSWORD)
        user = operator.users("acme")["joe"]
        assert (user["rounds"], user["disabled"]) == (100000, False)
        assert "already" in operator.run("add", "beta", "--user", "joe", password=PASSWORD, code=1).stderr
        operator.run("disable", "acme", "--user", "joe")
        assert operator.users("acme")["joe"]["disabled"]
        assert "is not of tenant 'beta'" in operator.run("enable", "beta", "--user", "joe", code=1).stderr
        operator.run("passwd", "joe", password="another password")
        after = operator.users("acme")["joe"]
        assert after["disabled"] and after["changed"] > user["changed"]
        operator.run("enable", "acme", "--user", "joe")
        assert not operator.users("acme")["joe"]["disabled"]
        operator.run("remove", "--user", "joe", "--yes")
        assert operator.users("acme") == {}
        for words in (("passwd", "joe"), ("rotate", "joe")):
            assert "no user 'joe'" in operator.run(*words, password=PASSWORD if words[0] == "passwd" else None,
                                                    code=1).stderr

    def test_makes_its_tenant(self, operator):
        operator.run("add", "gamma", "--user", "ann", password=PASSWORD)
        assert list(operator.users("gamma")) == ["ann"]

    def test_generated_and_rotated(self, operator):
        first = GENERATED.search(operator.run("add", "acme", "--user", "joe", "--generate").stdout)[1]
        second = GENERATED.search(operator.run("rotate", "joe").stdout)[1]
        third = json.loads(operator.run("rotate", "joe", "--json").stdout)["password"]
        assert len({first, second, third}) == 3
        for password in (first, second, third):
            assert password.encode() not in operator.stored()

    def test_what_is_kept_is_the_draft_s_verifier(self, operator):
        operator.run("add", "acme", "--user", "joe", password=PASSWORD)
        record = re.search(rb'\{"tenant":"acme","method":"pbkdf2-hmac-sha256","rounds":100000,[^}]*\}',
                           operator.stored())
        kept = json.loads(record[0])
        derived = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), bytes.fromhex(kept["salt"]), 100000)
        assert hashlib.sha256(derived).hexdigest() == kept["hash"]
        assert derived.hex().encode() not in operator.stored() and derived not in operator.stored()

    @pytest.mark.parametrize("text", [PASSWORD + "\n", PASSWORD, PASSWORD + "\r\nand more\n"])
    def test_password_file(self, operator, tmp_path, text):
        (tmp_path / "password").write_text(text)
        (tmp_path / "password").chmod(0o600)
        operator.run("add", "acme", "--user", "joe", "--password-file", tmp_path / "password")
        operator.run("passwd", "joe", "--password-file", "-", input=text)
        kept = json.loads(re.findall(rb'\{"tenant":"acme"[^}]*\}', operator.stored())[0])
        assert hashlib.sha256(hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), bytes.fromhex(kept["salt"]),
                                                  100000)).hexdigest() == kept["hash"]

    def test_password_file_of_others(self, operator, tmp_path):
        """What everybody reads is no secret."""
        (tmp_path / "password").write_text(PASSWORD)
        (tmp_path / "password").chmod(0o644)
        refused = operator.run("add", "acme", "--user", "joe", "--password-file", tmp_path / "password", code=2)
        assert "others may read it (mode 0644)" in refused.stderr
        assert operator.users("acme") == {}

    @pytest.mark.parametrize("password, why", [
        ("short", "shorter than 8"), ("", "shorter than 8"), ("x" * 1025, "longer than 1024"),
        ("tab\tinside it", "control characters"),
    ])
    def test_passwords_that_will_not_do(self, operator, password, why):
        assert why in operator.run("add", "acme", "--user", "joe", password=password, code=1).stderr
        assert operator.users("acme") == {}

    def test_prompt(self, operator):
        """Twice, without an echo, on a terminal."""
        command = [str(binary(build_dir())), "tenant", "add", "acme", "--user", "joe", "--state",
                   str(operator.gateway.state)]
        assert self.talk(command, [PASSWORD, PASSWORD]) == (0, False)
        assert list(operator.users("acme")) == ["joe"]
        command[1:4] = ["tenant", "passwd", "joe"]
        del command[4:6]
        assert self.talk(command, [PASSWORD, "something else"])[0] == 1

    @staticmethod
    def talk(command, answers):
        """(exit code, was a password echoed)."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.pop("SALLYPORT_PASSWORD", None)
            os.execv(command[0], command)
        said = b""
        answers = list(answers)
        try:
            while True:
                piece = os.read(terminal, 1000)
                said += piece
                if said.count(b": ") and piece.rstrip().endswith(b":") and answers:
                    os.write(terminal, answers.pop(0).encode() + b"\n")
                if not piece:
                    break
        except OSError:  # the terminal's other end is closed
            pass
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), PASSWORD.encode() in said


class TestWrongInput:
    @pytest.mark.parametrize("words", [
        (), ("fly",), ("add",), ("add", "a", "b"), ("list", "x"), ("disable",), ("passwd",), ("rotate",), ("remove",),
        ("add", "acme", "--generate"), ("add", "acme", "--password-file", "/dev/null"), ("list", "--yes"),
        ("rotate", "joe", "--generate"), ("disable", "acme", "--generate"), ("passwd", "joe", "--user", "x"),
        ("add", "acme", "--user", "j:oe", "--generate"), ("passwd", "joe", "--generate", "--password-file", "x"),
        ("passwd", "joe"), ("remove", "acme"), ("add", "acme", "--password", "x"), ("list", "--digest", "x"),
        ("disable", "acme", "--digest", "x"), ("remove", "acme", "--digest-md5"), ("passwd", "joe", "--digest"),
    ], ids=" ".join)
    def test_usage(self, operator, words):
        """Without a terminal there is nobody to ask, either."""
        assert operator.run(*words, code=2).stderr

    def test_nobody_answers(self, operator, tmp_path):
        run = operator.gateway.command_line("tenant", "list", "--state", tmp_path)
        assert run.returncode == 4

    @pytest.mark.parametrize("command, why", [
        ({"command": "tenant-add"}, '"tenant" is missing'),
        ({"command": "tenant-add", "tenant": "a/b"}, "cannot be the name"),
        ({"command": "tenant-add", "tenant": 1}, '"tenant" is missing'),
        ({"command": "tenant-add", "tenant": "x", "colour": "red"}, "'colour' means nothing"),
        ({"command": "tenant-add", "tenant": "x", **verifier()}, "'method' means nothing"),
        ({"command": "tenant-add", "tenant": "x", "user": "joe"}, '"rounds" 100000 to'),
        ({"command": "tenant-add", "tenant": "x", "user": "j:oe", **verifier()}, "cannot be the name"),
        ({"command": "tenant-add", "tenant": "x", "user": "joe", **verifier(rounds=99999)}, '"rounds" 100000 to'),
        ({"command": "tenant-add", "tenant": "x", "user": "joe", **verifier(salt="00")}, '"salt" 32'),
        ({"command": "tenant-add", "tenant": "x", "user": "joe", **verifier(hash="zz" * 32)}, '"hash" 64'),
        ({"command": "tenant-add", "tenant": "x", "user": "joe", **verifier(method="plain")}, "pbkdf2"),
        ({"command": "tenant-add", "tenant": "x", "user": "joe", "password": PASSWORD, **verifier()}, "'password'"),
        ({"command": "tenant-passwd", "user": "nobody", **verifier()}, "no user 'nobody'"),
        ({"command": "tenant-disable"}, '"tenant" is missing'),
        ({"command": "tenant-disable", "tenant": "nobody"}, "no tenant 'nobody'"),
        ({"command": "tenant-remove"}, '"tenant" is missing'),
        ({"command": "tenant-list", "tenant": "x"}, "means nothing"),
    ])
    def test_control_socket(self, operator, command, why):
        assert why in operator.ask(**command)["error"]
        assert sorted(operator.tenants()) == ["acme", "beta"]

    def test_two_writers(self, operator):
        """Of many that add the same user at once, one does."""
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(
            operator.ask(command="tenant-add", tenant="acme", user="joe", **verifier()))) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len([a for a in answers if a.get("ok")]) == 1
        for answer in answers:
            assert answer.get("ok") or re.search("already|same moment", answer["error"])

    def test_user_of_a_tenant_that_is_being_removed(self, operator):
        """Either it has a tenant, or it is not there: it must not be the next tenant's of that name."""
        def both(user):
            lines = [{"command": "tenant-add", "tenant": "gamma", "user": user, **verifier()},
                     {"command": "tenant-remove", "tenant": "gamma"}]
            with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
                for s in (one, other):
                    s.settimeout(20)
                    s.connect(str(operator.gateway.state / "control.sock"))
                for s, line in zip((one, other), lines):
                    s.sendall(json.dumps(line).encode() + b"\n")
                return [json.loads(s.makefile("rb").readline()) for s in (one, other)]

        for i in range(30):
            operator.ask(command="tenant-add", tenant="gamma")
            added, removed = both(f"user-{i}")
            again = operator.ask(command="tenant-add", tenant="gamma")
            users = [u["user"] for t in operator.ask(command="tenant-list")["tenants"] if t["name"] == "gamma" for u in t["users"]]
            if again.get("ok"):  # it was not there any more
                assert users == [], (i, added, removed)
            else:
                assert not removed.get("ok") or added.get("ok"), (i, added, removed)
                assert users in ([], [f"user-{i}"]) and (added.get("ok") or not users), (i, added, removed, users)
            operator.ask(command="tenant-remove", tenant="gamma")

    def test_users_of_one_tenant_at_once(self, operator):
        """Others who add to the same tenant are no reason to add none."""
        answers = []
        threads = [threading.Thread(target=lambda name=f"user-{i}": answers.append(
            operator.ask(command="tenant-add", tenant="acme", user=name, **verifier()))) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert all(a.get("ok") for a in answers), answers
        assert sorted(operator.users("acme")) == [f"user-{i}" for i in range(8)]

    def test_several_commands_of_one_client(self, operator):
        """Answers come in order, also when all was said at once; a client that leaves harms nobody."""
        lines = [{"command": "tenant-add", "tenant": "gamma"}, {"command": "tenant-list"},
                 {"command": "tenant-disable", "tenant": "gamma"}, {"command": "status"}]
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(str(operator.gateway.state / "control.sock"))
            s.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
            file = s.makefile("rb")
            added, listed, disabled, status = (json.loads(file.readline()) for _ in lines)
        assert added == disabled == {"ok": True, "tenant": "gamma", "user": None}
        assert "gamma" in [t["name"] for t in listed["tenants"]]
        assert status["pid"]
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(operator.gateway.state / "control.sock"))
            s.sendall(b'{"command":"tenant-enable","tenant":"gamma"}\n')
        wait.until(lambda: not operator.tenants()["gamma"]["disabled"], "a change whose client left", 10)


class TestDigest:
    """Who may use Digest: what is kept for that is kept where it was asked for, and nowhere else."""

    def test_add(self, operator):
        said = operator.run("add", "acme", "--user", "joe", "--digest", REALM, password=PASSWORD).stdout
        assert f"Digest: SHA-256 in the realm '{REALM}'" in said
        operator.run("add", "acme", "--user", "ann", "--digest", REALM, "--digest-md5", password=PASSWORD)
        operator.run("add", "acme", "--user", "bob", password=PASSWORD)
        users = operator.users("acme")
        assert users["joe"]["digest"] == {"realm": REALM, "md5": False}
        assert users["ann"]["digest"] == {"realm": REALM, "md5": True}
        assert users["bob"]["digest"] is None
        lines = {line.split()[0]: line for line in operator.run("list").stdout.splitlines()}
        assert f"Digest SHA-256 in '{REALM}'" in lines["joe"]
        assert f"Digest SHA-256 and MD5 in '{REALM}'" in lines["ann"]
        assert "Digest" not in lines["bob"]

    def test_what_is_kept(self, own):
        """HA1 of each algorithm that was asked for, beside the verifier, which is as without."""
        own.run("add", "acme", "--user", "joe", "--digest", REALM, password=PASSWORD)
        own.run("add", "acme", "--user", "ann", "--digest", REALM, "--digest-md5", password=PASSWORD)
        own.run("add", "acme", "--user", "bob", password=PASSWORD)
        assert self.kept(own, "joe")["digest"] == digest()
        assert self.kept(own, "ann")["digest"] == digest("ann", md5=ha1("md5", "ann"))
        assert PASSWORD.encode() not in own.stored()
        for name in ("sha256", "md5"):
            assert ha1(name, "bob").encode() not in own.stored()
        assert ha1("md5", "joe").encode() not in own.stored()
        kept = self.kept(own, "joe")
        derived = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), bytes.fromhex(kept["salt"]), 100000)
        assert hashlib.sha256(derived).hexdigest() == kept["hash"]

    @staticmethod
    def kept(operator, user):
        """The record of |user|, known by its hash."""
        records = re.findall(rb'\{"tenant":"acme",[^{}]*,"digest":\{[^{}]*\}\}', operator.stored())
        return next(r for r in map(json.loads, records) if r["digest"]["sha256"] == ha1("sha256", user))

    @pytest.mark.parametrize("words", [("passwd", "joe"), ("rotate", "joe")], ids=" ".join)
    def test_another_password_without(self, operator, words):
        """It was the old password's, and says so."""
        operator.run("add", "acme", "--user", "joe", "--digest", REALM, password=PASSWORD)
        said = operator.run(*words, password="another password" if words[0] == "passwd" else None).stdout
        assert "Digest: none any more" in said and "--digest REALM" in said
        assert operator.users("acme")["joe"]["digest"] is None
        said = operator.run(*words, password="a third password" if words[0] == "passwd" else None).stdout
        assert "Digest" not in said

    def test_another_password_with(self, operator):
        operator.run("add", "acme", "--user", "joe", password=PASSWORD)
        said = operator.run("passwd", "joe", "--digest", "elsewhere", "--digest-md5", password=PASSWORD).stdout
        assert "Digest: SHA-256 and MD5 in the realm 'elsewhere'" in said
        assert operator.users("acme")["joe"]["digest"] == {"realm": "elsewhere", "md5": True}
        rotated = json.loads(operator.run("rotate", "joe", "--digest", REALM, "--json").stdout)
        assert operator.users("acme")["joe"]["digest"] == {"realm": REALM, "md5": False}
        assert ha1("sha256", "joe", rotated["password"]).encode() in operator.stored()
        assert "digest_removed" not in rotated
        assert json.loads(operator.run("rotate", "joe", "--json").stdout)["digest_removed"] is True

    def test_disabled_user(self, operator):
        operator.run("add", "acme", "--user", "joe", "--digest", REALM, password=PASSWORD)
        before = operator.users("acme")["joe"]
        operator.run("disable", "acme", "--user", "joe")
        assert operator.users("acme")["joe"] == {**before, "disabled": True}
        line = next(s for s in operator.run("list").stdout.splitlines() if "joe" in s)
        assert "Digest SHA-256" in line and line.endswith("DISABLED")
        operator.run("enable", "acme", "--user", "joe")
        assert operator.users("acme")["joe"] == before

    def test_kept_over_restarts(self, tmp_path):
        with Sallyport(tmp_path / "own", more=ROWS + QUICK) as gateway:
            own = Operator(gateway)
            own.run("add", "acme", "--user", "joe", "--digest", REALM, "--digest-md5", password=PASSWORD)
            own.run("add", "acme", "--user", "ann", password=PASSWORD)
            before = own.tenants()
            pid = gateway.gateway_pid()
            os.kill(pid, signal.SIGKILL)
            wait.until(lambda: pid not in children(gateway.pid), "its end", 10)
            gateway.wait_ready()
            assert own.tenants() == before
        with Sallyport(tmp_path / "own", more=ROWS + QUICK) as gateway:
            own = Operator(gateway)
            assert own.tenants() == before
            assert self.kept(own, "joe")["digest"] == digest(md5=ha1("md5", "joe"))

    def test_more_rounds_at_a_login(self, start_sallyport, certificates):
        """The verifier is made anew, of the same password: what Digest needs stays as it is."""
        certificate, key = certificates.server
        config = WITH_LOGIN.replace("CERTIFICATE", str(certificate)).replace("KEY", str(key)).replace(
            "SANDBOX", "best-effort" if is_sanitized(build_dir()) else "required")
        own = Operator(start_sallyport(config=config))
        own.run("add", "acme", "--user", "joe", "--digest", REALM, "--digest-md5", password=PASSWORD)
        before = own.users("acme")["joe"]
        own.gateway.config.write_text(own.gateway.config.read_text().replace("rounds: 100000", "rounds: 110000"))
        own.reload("without interruption")
        with IcapConnection(own.gateway.address("password"), tls=certificates.ca, timeout=120) as c:
            token = base64.b64encode(f"joe:{PASSWORD}".encode()).decode()
            reply = c.ask("RESPMOD", "icaps://localhost/echo", b"x", fields=[f"Authorization: Basic {token}"])
            assert reply.status == 200
        wait.until(lambda: own.users("acme")["joe"]["rounds"] == 110000, "the new verifier", 60)
        assert own.users("acme")["joe"] == {**before, "rounds": 110000}
        records = re.findall(rb'\{"tenant":"acme",[^{}]*"rounds":110000,[^{}]*,"digest":\{[^{}]*\}\}', own.stored())
        assert records and json.loads(records[0])["digest"] == digest(md5=ha1("md5", "joe"))

    @pytest.mark.parametrize("words, why", [
        (("--digest", ""), "1 to 64 bytes"), (("--digest", "r" * 65), "1 to 64 bytes"),
        (("--digest", 'the "best"'), "1 to 64 bytes"), (("--digest", "a\\b"), "1 to 64 bytes"),
        (("--digest", "a\nb"), "1 to 64 bytes"), (("--digest", os.fsdecode(b"\xff")), "1 to 64 bytes"),
        (("--digest", "--digest-md5"), "say --digest REALM"), (("--digest-md5",), "say --digest REALM"),
    ], ids=repr)
    def test_realms_that_will_not_do(self, operator, words, why):
        """Before a password is asked for."""
        operator.run("add", "acme", "--user", "joe", password=PASSWORD)
        for command in (("passwd", "joe"), ("rotate", "joe"), ("add", "acme", "--user", "ann")):
            assert why in operator.run(*command, *words, code=2).stderr
        assert operator.users("acme")["joe"]["digest"] is None and len(operator.users("acme")) == 1

    @pytest.mark.parametrize("realm", ["x", "r" * 64, "büro", " a:b's ", "-x"])
    def test_realms_that_will(self, operator, realm):
        operator.run("add", "acme", "--user", "joe", "--digest", realm, password=PASSWORD)
        assert operator.users("acme")["joe"]["digest"]["realm"] == realm
        assert ha1("sha256", "joe", realm=realm).encode() in operator.stored()

    @pytest.mark.parametrize("words", [("--digest", REALM), ("--digest-md5",)], ids=" ".join)
    def test_without_a_user(self, operator, words):
        assert "say --user" in operator.run("add", "gamma", *words, code=2).stderr
        assert "gamma" not in operator.tenants()

    @pytest.mark.parametrize("value", [
        None, [], "x", 1, {}, {"realm": REALM}, {"sha256": ha1("sha256", "joe")},
        {"realm": REALM, "md5": ha1("md5", "joe")}, digest(realm=""), digest(realm="r" * 65), digest(realm='a"b'),
        digest(realm="a\\b"), digest(realm="a\tb"), digest(realm=1), digest(sha256="00"), digest(sha256=None),
        digest(sha256=ha1("sha256", "joe").upper()), digest(sha256=ha1("md5", "joe")), digest(md5=None),
        digest(md5="zz" * 16), digest(md5=ha1("sha256", "joe")), digest(password=PASSWORD),
    ], ids=repr)
    def test_control_socket(self, operator, value):
        """The gateway checks what it is to keep."""
        operator.run("add", "acme", "--user", "joe", "--digest", REALM, password=PASSWORD)
        for command in ({"command": "tenant-add", "tenant": "acme", "user": "ann"},
                        {"command": "tenant-passwd", "user": "joe"}):
            assert '"digest" must be' in operator.ask(**command, **verifier(), digest=value)["error"]
        users = operator.users("acme")
        assert list(users) == ["joe"] and users["joe"]["digest"] == {"realm": REALM, "md5": False}

    @pytest.mark.parametrize("command", [
        {"command": "tenant-add", "tenant": "gamma"}, {"command": "tenant-disable", "tenant": "acme", "user": "joe"},
        {"command": "tenant-remove", "user": "joe"}], ids=lambda c: c["command"])
    def test_where_it_does_not_belong(self, operator, command):
        operator.run("add", "acme", "--user", "joe", password=PASSWORD)
        assert "'digest' means nothing" in operator.ask(**command, digest=digest())["error"]

    def test_over_the_control_socket(self, operator):
        answer = operator.ask(command="tenant-add", tenant="acme", user="joe", **verifier(), digest=digest())
        assert answer == {"ok": True, "tenant": "acme", "user": "joe"}
        assert operator.users("acme")["joe"]["digest"] == {"realm": REALM, "md5": False}
        answer = operator.ask(command="tenant-passwd", user="joe", **verifier())
        assert answer == {"ok": True, "tenant": "acme", "user": "joe", "digest_removed": True}

    def test_log(self, own):
        own.run("add", "acme", "--user", "joe", "--digest", REALM, password=PASSWORD)
        own.run("passwd", "joe", password=PASSWORD)
        assert "user 'joe' of tenant 'acme' was added, also for Digest, by=" in own.gateway.log()
        assert "user 'joe' of tenant 'acme' got another password, but not for Digest any more, by=" in own.gateway.log()

    def test_help(self, operator):
        said = operator.run("--help").stdout
        assert "--digest REALM" in said and "--digest-md5" in said


class TestKept:
    def fill(self, operator):
        operator.run("add", "gamma", "--user", "ann", password=PASSWORD)
        operator.run("add", "acme", "--user", "joe", password=PASSWORD)
        operator.run("disable", "acme", "--user", "joe")
        return operator.tenants()

    def test_restart(self, start_sallyport, tmp_path):
        with Sallyport(tmp_path / "own", more=ROWS + QUICK) as gateway:
            before = self.fill(Operator(gateway))
        with Sallyport(tmp_path / "own", more=ROWS + QUICK) as gateway:
            assert Operator(gateway).tenants() == before
        with Sallyport(tmp_path / "own") as gateway:  # without its row
            acme = Operator(gateway).tenants()["acme"]
            assert acme["users"] == before["acme"]["users"] and not acme["configured"]

    def test_killed(self, own):
        """What was answered is there, whenever the gateway dies."""
        for i in range(3):
            own.run("add", f"t{i}", "--user", f"u{i}", password=PASSWORD)
            pid = own.gateway.gateway_pid()
            os.kill(pid, signal.SIGKILL)
            wait.until(lambda: pid not in children(own.gateway.pid), "its end", 10)
            own.gateway.wait_ready()
        tenants = own.tenants()
        assert [list(u["user"] for u in tenants[f"t{i}"]["users"]) for i in range(3)] == [["u0"], ["u1"], ["u2"]]

    def test_killed_while_it_writes(self, own):
        answered = []

        def add():
            for i in range(1000):
                try:
                    if own.ask(command="tenant-add", tenant=f"t{i}").get("ok"):
                        answered.append(f"t{i}")
                except (OSError, ValueError):  # killed
                    return

        pid = own.gateway.gateway_pid()
        thread = threading.Thread(target=add)
        thread.start()
        wait.until(lambda: len(answered) > 20, "some changes", 30)
        os.kill(pid, signal.SIGKILL)
        thread.join()
        wait.until(lambda: pid not in children(own.gateway.pid), "its end", 10)
        own.gateway.wait_ready()
        assert set(answered) <= set(own.tenants())
        own.run("add", "one-more")

    def test_reload_takes_new_rows(self, own):
        before = self.fill(own)
        own.gateway.config.write_text(own.gateway.config.read_text().replace(
            "{name: beta}", "{name: beta}\n  - {name: delta, scans: 2}"))
        own.reload("without interruption")
        wait.until(lambda: "delta" in own.tenants(), "the new tenant", 10)
        after = own.tenants()
        assert after["delta"]["configured"]
        assert {k: v for k, v in after.items() if k != "delta"} == before

    def test_reexecution(self, own):
        before = self.fill(own)
        own.gateway.send_signal(signal.SIGUSR2)
        wait.until(lambda: own.gateway.log().count("serves pid=") > 1, "the new program", 30)
        own.gateway._addresses = {}
        own.gateway.wait_ready()
        assert own.tenants() == before

    def test_two_generations(self, own):
        """One drains, the other serves, and both know what was changed."""
        first = own.gateway.gateway_pid()
        with IcapConnection(own.gateway.address()) as slow:
            slow.send(f"REQMOD {own.gateway.url('echo')} ICAP/1.0\r\nHost: x\r\n".encode())
            own.gateway.config.write_text(own.gateway.config.read_text().replace("threads: 2", "threads: 1"))
            own.reload("with a new gateway process")
            second = own.gateway.gateway_pid()
            assert first != second and first in children(own.gateway.pid)
            before = self.reads(own, first)
            own.run("add", "gamma", "--user", "ann", password=PASSWORD)
            wait.until(lambda: self.reads(own, first)[len(before):][-1:] == ["3 tenants, 1 users"],
                       "the old gateway to read it", 10)
            assert first in children(own.gateway.pid)
        assert list(own.users("gamma")) == ["ann"]

    @staticmethod
    def reads(operator, pid):
        return re.findall(rf"gateway\[{pid}\] tenants: read: (.*)$", operator.gateway.log(), re.M)

    def test_full(self, start_sallyport):
        """Nothing is added, and everything stays."""
        own = Operator(start_sallyport(more=QUICK + "store: {size: 1m}\n"))
        added, errors = [], []

        def fill(who):
            while not errors and len(added) < 20000:
                name = f"t{who}-{len(added)}"
                error = own.ask(command="tenant-add", tenant=name).get("error")
                (errors if error else added).append(error or name)

        threads = [threading.Thread(target=fill, args=(who,)) for who in range(12)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert all("full" in e for e in errors), errors
        assert sorted(own.tenants()) == sorted(added) and len(added) > 100
        metrics = own.gateway.metrics()
        assert metrics["sallyport_store_up"] == 0
        assert metrics['sallyport_store_errors_total{error="full"}'] >= len(errors)
        said = own.gateway.command_line("status", "--state", own.gateway.state).stdout
        assert "THE STORE CANNOT BE READ OR WRITTEN: full " in said
        own.run("remove", added[0], "--yes")
        assert own.gateway.metrics()["sallyport_store_up"] == 1 and own.gateway.status()["store"]["full"] >= len(errors)
        assert sorted(own.tenants()) == sorted(added[1:])


class TestStart:
    def refused(self, tmp_path, more="", prepare=None):
        folder = tmp_path / "own"
        (folder / "state" / "store").mkdir(parents=True, mode=0o700)
        (folder / "state").chmod(0o700)
        if prepare:
            prepare(folder / "state" / "store")
        gateway = Sallyport(folder, more=ROWS + more, ready=False)
        try:
            assert gateway.popen.wait(30) == 1
        finally:
            gateway.popen.kill()
        return gateway.log()

    def test_store_that_is_none(self, tmp_path):
        log = self.refused(tmp_path, prepare=lambda store: (store / "data.mdb").write_bytes(b"\1" * 65536))
        assert "cannot open the store, STATE/store" in log and "move it away" in log

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
    def test_root_follows_no_link(self, tmp_path):
        """The directory is the gateway's user's: what that one puts there is opened with its rights."""
        target = tmp_path / "root-only"
        target.write_bytes(b"")
        target.chmod(0o600)
        for folder in [tmp_path, *tmp_path.parents][:-1]:  # the file's own mode keeps them out, nothing else
            if folder.stat().st_uid == 0 and folder != pathlib.Path("/tmp"):
                folder.chmod(folder.stat().st_mode | 0o011)
        log = self.refused(tmp_path, "user: nobody\n", lambda store: (store / "lock.mdb").symlink_to(target))
        assert "cannot open the store" in log and "Permission denied" in log
        assert target.read_bytes() == b""

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
    def test_files_are_the_user_s(self, start_sallyport):
        own = Operator(start_sallyport(more=ROWS + QUICK + "user: nobody\n"))
        nobody = pwd.getpwnam("nobody").pw_uid
        store = own.gateway.state / "store"
        for path in (store, store / "data.mdb", store / "lock.mdb"):
            assert path.stat().st_uid == nobody
            assert path.stat().st_mode & 0o077 == 0
        own.run("add", "gamma", "--user", "ann", password=PASSWORD)
        pid = own.gateway.gateway_pid()
        os.kill(pid, signal.SIGKILL)
        wait.until(lambda: pid not in children(own.gateway.pid), "its end", 10)
        own.gateway.wait_ready()
        assert list(own.users("gamma")) == ["ann"]

    @pytest.mark.parametrize("rows, why", [
        ("  - {name: a, certificates: ['dns:x.example']}\n  - {name: b, certificates: ['DNS:X.example']}\n",
         "tenant 'a' has this certificate already"),
        ("  - {name: a}\n  - {name: a}\n", "name"),
        ("  - {name: a/b}\n", "letters, digits"),
        ("  - {name: a, certificates: [x]}\n", "dns:NAME"),
    ])
    def test_configuration(self, tmp_path, rows, why):
        (tmp_path / "x.yaml").write_text(f"listeners: [{{name: a, address: '127.0.0.1:0'}}]\ntenants:\n{rows}")
        run = subprocess.run([str(binary(build_dir())), "check", "-c", str(tmp_path / "x.yaml")],
                             capture_output=True, text=True, check=False, timeout=20)
        assert run.returncode == 2 and why in run.stderr + run.stdout

    def test_too_few_rounds(self, tmp_path):
        (tmp_path / "x.yaml").write_text("listeners: [{name: a, address: '127.0.0.1:0'}]\nlogin: {rounds: 50000}\n")
        run = subprocess.run([str(binary(build_dir())), "check", "-c", str(tmp_path / "x.yaml")],
                             capture_output=True, text=True, check=False, timeout=20)
        assert run.returncode == 2 and "100000" in run.stderr + run.stdout


class TestSecrets:
    def test_nothing_secret_is_shown(self, own):
        """Not in the log, which is at its most talkative, in status, in a process's environment or
        arguments, or in anything below the state directory."""
        password = "a secret nobody may see"
        own.run("add", "acme", "--user", "joe", password=password)
        rotated = GENERATED.search(own.run("rotate", "joe").stdout)[1]
        kept = json.loads(re.findall(rb'\{"tenant":"acme"[^}]*\}', own.stored())[0])
        own.run("add", "acme", "--user", "ann", "--digest", REALM, "--digest-md5", password=PASSWORD)
        keys = re.findall(rb'"key":"([0-9a-f]{64})"', own.stored())
        keys += [ha1("sha256", "ann").encode(), ha1("md5", "ann").encode()]
        assert len(set(keys)) == 4 and all(key in own.stored() for key in keys)
        secrets = [password.encode(), rotated.encode(), kept["salt"].encode(), kept["hash"].encode(), *keys]
        shown = own.gateway.log().encode() + json.dumps(own.gateway.status()).encode()
        shown += own.run("list").stdout.encode() + own.run("list", "--json").stdout.encode()
        shown += own.gateway.admin("/metrics")[1].encode()
        for pid in own.gateway.processes():
            shown += pathlib.Path(f"/proc/{pid}/environ").read_bytes()
            shown += pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        for path in own.gateway.state.rglob("*"):
            if path.is_file() and path.parent.name != "store":
                shown += path.read_bytes()
        for secret in secrets:
            assert secret not in shown
        for secret in secrets[:2]:
            assert secret not in own.stored()
        assert "user 'joe' of tenant 'acme' was added by=" in own.gateway.log()
        assert f"uid={os.geteuid()}" in own.gateway.log()

    def test_the_command_forgets_its_variable(self, own):
        """Nobody can read the password out of the environment of a command that waits."""
        fifo = own.gateway.dir / "control"
        fifo.mkdir()
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(fifo / "control.sock"))
            silent.listen()
            command = subprocess.Popen([str(binary(build_dir())), "tenant", "passwd", "joe", "--state", str(fifo)],
                                       env={**os.environ, "SALLYPORT_PASSWORD": PASSWORD}, stderr=subprocess.PIPE)
            try:
                client, _ = silent.accept()
                with client:
                    assert b"tenant-rounds" in client.recv(4096)
                    environ = pathlib.Path(f"/proc/{command.pid}/environ").read_bytes()
            finally:
                command.kill()
                command.communicate()
        assert PASSWORD.encode() not in environ

    @pytest.mark.skipif(is_sanitized(build_dir()), reason="the jail is the release build's")
    def test_in_the_jail(self, own):
        """All of the above went through it; and the store's files are all that is open of it."""
        pid = own.gateway.gateway_pid()
        names = sorted(os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
        store = str(own.gateway.state / "store")
        assert {n for n in names if n.startswith(store)} == {f"{store}/data.mdb", f"{store}/lock.mdb"}
        assert "seccomp" in own.gateway.status()["sandbox"]
