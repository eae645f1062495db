# SPDX-License-Identifier: Apache-2.0
"""Exceptions and bypasses: what operators let pass for a while, through the command line, against a
gateway that serves, is reloaded, executed anew, killed, or has no room left on its disk."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile

import pytest

from testenv import Sallyport, Way, samples, wait
from testenv.peers import missing

EICAR = samples.EICAR
TWO = '  - {name: other, type: inspect, path: /other}\n'


class Operator:
    """The command line on one gateway, and what its clients get."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.way = Way(gateway, "clear")

    def run(self, *arguments, code=0):
        done = self.gateway.command_line(*arguments, "--state", self.gateway.state)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        return done

    def add(self, *conditions, time="1h", reason="a test"):
        done = self.run("exception", "add", *conditions, "--for", time, "--reason", reason, "--json")
        return json.loads(done.stdout)["exception"]

    def list(self, *more):
        return json.loads(self.run("exception", "list", "--json", *more).stdout)["exceptions"]

    def ids(self):
        return [e["id"] for e in self.list()]

    def upload(self, body=EICAR, service="inspect"):
        """"pass" or "block", and the record's id."""
        reply = self.way.ask("REQMOD", service, body)
        blocked = reply.status == 200 and reply.encapsulated[0][0] == "res-hdr" and reply.http_status() == 403
        self.page = reply.body if blocked else None
        return ("block" if blocked else "pass"), reply.field("X-Request-ID")

    def verdict(self, *arguments, **more):
        return self.upload(*arguments, **more)[0]

    def wait_verdict(self, verdict, seconds=10):
        wait.until(lambda: self.verdict() == verdict, f"'{verdict}'", seconds)

    def istag(self, service="inspect"):
        return next(s["istag"] for s in self.gateway.status()["services"] if s["name"] == service)

    def service(self, name="inspect"):
        return next(s for s in self.gateway.status()["services"] if s["name"] == name)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with Sallyport(tmp_path_factory.mktemp("exceptions"), services=TWO) as gateway:
        yield gateway


@pytest.fixture
def operator(shared):
    """On a gateway without exceptions."""
    operator = Operator(shared)
    yield operator
    for id_ in operator.ids():
        operator.run("exception", "remove", id_)


@pytest.fixture
def own(start_sallyport):
    return Operator(start_sallyport(services=TWO))


class TestWalk:
    def test_from_a_blocked_upload_to_its_exception_and_back(self, operator):
        """What the manual promises: the id on the block page leads to the file's way through."""
        verdict, sent = operator.upload()
        assert verdict == "block"
        id_ = re.search(r"<code>([0-9a-z]+)</code>", operator.page.decode())[1]
        assert id_ == sent
        operator.gateway.wait_record(lambda r: r["id"] == id_)
        text = operator.run("status", "--id", id_).stdout
        for words in (rf"^id +{id_}$", r"^service +inspect$", r"^verdict +block$", r"^cause +infected$",
                      r"^finding +yara: EICAR-Test-File", rf"^sha256 +{samples.digest(EICAR)}$"):
            assert re.search(words, text, re.M), (words, text)
        command = re.search(rf"^  sallyport (exception add --id {id_} --for 8h --reason 'WHY' .*)$", text, re.M)
        assert command, text
        done = subprocess.run(f"{operator.gateway.program} {command[1].replace('8h', '3s')}", shell=True,
                              capture_output=True, text=True, check=False, timeout=20)
        assert done.returncode == 0, done.stderr
        made, = operator.list()
        assert (made["service"], made["sha256"], made["reason"]) == ("inspect", samples.digest(EICAR), "WHY")
        assert operator.verdict() == "pass"
        assert operator.verdict(service="other") == "block"
        assert operator.verdict(EICAR + b" ") == "block"
        record = operator.gateway.wait_record(lambda r: r.get("exception") == made["id"])
        assert record["action"] == "pass"
        operator.wait_verdict("block", 10)
        operator.gateway.wait_log(f"{made['id']} has expired", 10)
        assert operator.list() == []
        old, = [e for e in operator.list("--all") if e["id"] == made["id"]]
        assert old["expired"] is True

    def test_record_as_json(self, operator):
        _, id_ = operator.upload()
        record = operator.gateway.wait_record(lambda r: r["id"] == id_)
        assert json.loads(operator.run("status", "--id", id_, "--json").stdout) == record

    def test_unknown_record(self, operator):
        assert "no record with the id" in operator.run("status", "--id", "0123456789", code=1).stderr
        assert "is no id" in operator.run("status", "--id", "../x", code=2).stderr
        operator.run("exception", "add", "--id", "0123456789", "--for", "1h", "--reason", "x", code=1)
        assert operator.ids() == []


class TestExceptions:
    def test_each_change_makes_new_istags(self, operator):
        before, other = operator.istag(), operator.istag("other")
        made = operator.add("--sha256", samples.digest(EICAR), "--service", "inspect")
        assert operator.istag() != before
        assert operator.istag("other") == other
        operator.run("exception", "remove", made["id"])
        assert operator.istag() == before

    @pytest.mark.parametrize("conditions", [
        ("--signature", "EICAR-Test-File"), ("--signature", "EICAR*"), ("--host", "origin.test"),
        ("--client", "127.0.0.1"), ("--client", "127.0.0.0/8"), ("--sha256", samples.digest(EICAR).upper()),
    ], ids=lambda c: " ".join(c)[:30])
    def test_conditions(self, operator, conditions):
        made = operator.add(*conditions)
        assert operator.verdict() == "pass"
        operator.run("exception", "remove", made["id"])
        assert operator.verdict() == "block"

    def test_each_use_is_recorded(self, operator):
        """Those that come from the verdict cache, too."""
        made = operator.add("--sha256", samples.digest(EICAR))
        ids = []
        for _ in range(3):
            verdict, id_ = operator.upload()
            assert verdict == "pass"
            ids.append(id_)
        for id_ in ids:
            record = operator.gateway.wait_record(lambda r, id_=id_: r["id"] == id_)
            assert (record["exception"], record["verdict"], record["action"]) == (made["id"], "block", "pass"), record
            assert (record["cause"], record["findings"][0]["name"]) == ("infected", "EICAR-Test-File"), record

    @pytest.mark.parametrize("conditions", [
        ("--signature", "Other"), ("--host", "else.test"), ("--client", "192.0.2.0/24"), ("--file", "*.doc"),
        ("--signature", "EICAR*", "--host", "else.test"), ("--service", "other", "--host", "origin.test"),
    ], ids=" ".join)
    def test_conditions_that_do_not_hold(self, operator, conditions):
        operator.add(*conditions)
        assert operator.verdict() == "block"

    def test_who_and_why(self, operator):
        made = operator.add("--host", "a.test", reason="ticket 7: it's \"fine\"")
        assert made["by"] == ("root" if os.geteuid() == 0 else made["by"])
        text = operator.run("exception", "list").stdout
        assert made["id"] in text and "ticket 7: it's \"fine\"" in text and "a.test" in text
        operator.gateway.wait_log(f"{made['id']} lets files pass until", 10)

    def test_until(self, operator):
        done = operator.run("exception", "add", "--host", "a.test", "--until", "2020-01-01T00:00:00Z", "--reason", "x",
                            code=1)
        assert done.stderr and operator.ids() == []

    @pytest.mark.parametrize("arguments, code, words", [
        (("add", "--host", "a", "--reason", "x"), 2, "for how long"),
        (("add", "--host", "a", "--for", "1h", "--until", "2030-01-01T00:00:00Z", "--reason", "x"), 2, "for how long"),
        (("add", "--host", "a", "--for", "1h"), 2, "--reason"),
        (("add", "--for", "1h", "--reason", "x"), 1, ""),
        (("add", "--service", "inspect", "--for", "1h", "--reason", "x"), 1, ""),
        (("add", "--host", "a", "--for", "soon", "--reason", "x"), 1, "8h"),
        (("add", "--host", "a", "--for", "91d", "--reason", "x"), 1, ""),
        (("add", "--host", "a", "--for", "1h", "--reason", "x", "--service", "inspekt"), 1, "inspect, other"),
        (("add", "--host", "a", "--for", "1h", "--reason", "x", "--service", "echo"), 1, "inspects nothing"),
        (("add", "--sha256", "12", "--for", "1h", "--reason", "x"), 1, "sha256"),
        (("add", "--client", "everybody", "--for", "1h", "--reason", "x"), 1, "client"),
        (("add", "--host", "a", "--host", "b", "--for", "1h", "--reason", "x"), 2, "twice"),
        (("remove",), 2, "which one"),
        (("remove", "abcdefgh"), 1, "no exception"),
        (("remove", "a", "b"), 2, "unexpected"),
        (("list", "--host", "a"), 2, "go with add"),
        (("list", "x"), 2, "unexpected"),
        (("drop",), 2, "add, list or remove"),
        ((), 2, "add, list or remove"),
    ], ids=lambda v: " ".join(v)[:40] if isinstance(v, tuple) else None)
    def test_refused(self, operator, arguments, code, words):
        done = operator.run("exception", *arguments, code=code)
        assert words in done.stderr and done.stderr.startswith("sallyport exception: ")
        assert operator.ids() == []

    def test_in_status_and_metrics(self, operator):
        operator.add("--host", "a.test")
        operator.add("--host", "b.test", "--service", "other")
        assert operator.service("inspect")["exceptions"] == 1
        assert operator.service("other")["exceptions"] == 2
        assert operator.gateway.metrics()["sallyport_exceptions"] == 2
        assert "exceptions 2 in force" in operator.run("status").stdout

    def test_nobody_answers(self, tmp_path, shared):
        for command in (("exception", "list"), ("bypass", "inspect", "--end"), ("status", "--id", "0123456789")):
            assert shared.command_line(*command, "--state", tmp_path).returncode == 4

    def test_many(self, operator):
        """More than fits into one small answer."""
        made = [operator.add("--host", f"h{i}.test", reason="x" * 200) for i in range(60)]
        assert operator.ids() == [e["id"] for e in made]


class TestProtocol:
    """Members that are not known are refused: a misspelt condition would let more pass."""

    def ask(self, gateway, command):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(str(gateway.state / "control.sock"))
            s.sendall(json.dumps(command).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n"):
                data += s.recv(65536)
            return json.loads(data)

    @pytest.mark.parametrize("command", [
        {"command": "exception-add"},
        {"command": "exception-add", "exception": []},
        {"command": "exception-add", "exception": {"kind": "exception", "host": "a", "expires_in": "1h"}},
        {"command": "exception-add", "exception": {"kind": "exception", "hots": "a", "expires_in": "1h", "reason": "x"}},
        {"command": "exception-add", "exception": {"kind": "bypass", "service": "inspect", "expires_in": "1h", "reason": "x"}},
        {"command": "exception-add", "exception": {"kind": "exception", "host": "a", "expires_in": "1h", "reason": "x",
                                                   "by": "me"}},
        {"command": "exception-add", "x": 1, "exception": {"kind": "exception", "host": "a", "expires_in": "1h", "reason": "x"}},
        {"command": "exception-remove", "id": 7},
        {"command": "exception-remove", "id": "a\u0000b"},
        {"command": "exception-list", "expired": "yes"},
        {"command": "exception-list", "all": True},
        {"command": "bypass", "service": "inspect", "reason": "x"},
        {"command": "bypass", "service": "inspect", "expires_in": "1h"},
        {"command": "bypass", "expires_in": "1h", "reason": "x"},
        {"command": "bypass", "service": "inspect", "expires_in": "25h", "reason": "x"},
        {"command": "bypass", "service": "inspect", "expires_in": "1h", "reason": "x", "host": "a"},
        {"command": "bypass-end"},
        {"command": "bypass-end", "service": "inspect"},
        {"command": "bypass-end", "service": "nobody"},
    ], ids=lambda c: json.dumps(c)[12:70])
    def test_refused(self, operator, command):
        answer = self.ask(operator.gateway, command)
        assert set(answer) == {"error"} and answer["error"]
        assert operator.ids() == [] and not operator.service().get("bypass")


class TestBypass:
    def test_everything_passes_until_it_ends(self, operator):
        gateway = operator.gateway
        before = operator.istag()
        text = operator.run("bypass", "inspect", "--for", "10m", "--reason", "fire").stdout
        assert "IS BYPASSED" in text
        gateway.wait_log("SERVICE 'inspect' IS BYPASSED", 10)
        assert operator.verdict() == "pass"
        assert operator.verdict(service="other") == "block"
        assert operator.istag() != before
        assert gateway.metrics()['sallyport_bypass_active{service="inspect"}'] == 1
        assert gateway.metrics()['sallyport_bypass_active{service="other"}'] == 0
        assert operator.service()["bypass"]["reason"] == "fire"
        wait.until(lambda: operator.service()["bypass"]["passed"] == 1, "the message that passed")
        lines = operator.run("status").stdout.splitlines()
        assert re.match(r"SERVICE inspect IS BYPASSED until \S+ by \S+ \(fire\): 1 messages", lines[2]), lines
        assert gateway.wait_record(lambda r: r.get("bypass"))["action"] == "pass"
        operator.run("bypass", "inspect", "--end")
        assert operator.verdict() == "block"
        assert operator.istag() == before
        assert gateway.metrics()['sallyport_bypass_active{service="inspect"}'] == 0
        gateway.wait_log("of service 'inspect' is over: it let 1 messages pass", 10)

    def test_ends_by_itself(self, operator):
        operator.run("bypass", "inspect", "--for", "2s", "--reason", "x")
        assert operator.verdict() == "pass"
        operator.wait_verdict("block", 10)
        wait.until(lambda: "bypass" not in operator.service(), "its end in the status", 10)

    def test_a_second_one_takes_its_place(self, operator):
        operator.run("bypass", "inspect", "--for", "10m", "--reason", "first")
        operator.run("bypass", "inspect", "--for", "1h", "--reason", "second")
        assert [e["reason"] for e in operator.list()] == ["second"]
        operator.run("bypass", "inspect", "--end")
        assert operator.verdict() == "block"

    @pytest.mark.parametrize("arguments, code, words", [
        (("nobody", "--for", "1m", "--reason", "x"), 1, "there are inspect, other"),
        (("echo", "--for", "1m", "--reason", "x"), 1, "inspects nothing"),
        (("inspect", "--for", "25h", "--reason", "x"), 1, ""),
        (("inspect", "--for", "1m"), 2, "--reason"),
        (("inspect", "--reason", "x"), 2, "for how long"),
        (("inspect", "--end"), 1, "is not bypassed"),
        (("inspect", "--end", "--for", "1m"), 2, "--end goes without"),
        ((), 2, "which service"),
    ], ids=lambda v: " ".join(v)[:40] if isinstance(v, tuple) else None)
    def test_refused(self, operator, arguments, code, words):
        assert words in operator.run("bypass", *arguments, code=code).stderr
        assert operator.verdict() == "block"


class TestPersistence:
    """The journal outlives every process, and what is over is gone from it after a start."""

    def journal(self, operator):
        return operator.gateway.state / "exceptions.jsonl"

    def test_reload(self, own):
        made = own.add("--sha256", samples.digest(EICAR))
        for text, done in (("drain: 5s\n", "without interruption"), ("limits: {descriptors: 2000}\n", "new gateway process")):
            own.gateway.config.write_text(text + own.gateway.config.read_text().replace("drain: 5s\n", ""))
            own.gateway.send_signal(signal.SIGHUP)
            own.gateway.wait_log(f"reload: done {'with a ' if 'new' in done else ''}{done}", 20)
            assert own.verdict() == "pass"
            assert own.ids() == [made["id"]]

    def test_reexecution_and_deaths(self, own):
        gateway = own.gateway
        made = own.add("--sha256", samples.digest(EICAR))
        pid = gateway.gateway_pid()
        gateway.send_signal(signal.SIGUSR2)
        wait.until(lambda: gateway.status()["pid"] != pid and gateway.status()["ready"], "the next gateway", 30)
        assert own.ids() == [made["id"]]
        own.wait_verdict("pass")
        pid = gateway.gateway_pid()
        os.kill(pid, signal.SIGKILL)
        wait.until(lambda: gateway.admin("/readyz")[0] == 200 and gateway.gateway_pid() != pid, "another gateway", 30)
        assert own.ids() == [made["id"]] and own.verdict() == "pass"
        more = own.add("--host", "a.test")
        assert own.ids() == [made["id"], more["id"]]

    def test_start_anew_compacts(self, own, start_sallyport):
        kept = own.add("--sha256", samples.digest(EICAR))
        gone = own.add("--host", "gone.test")
        over = own.add("--host", "over.test", time="1s")
        own.run("exception", "remove", gone["id"])
        path = self.journal(own)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        wait.until(lambda: own.ids() == [kept["id"]], "the end of one")
        assert path.read_text().count("\n") == 4
        own.gateway.stop()
        with path.open("a") as f:
            f.write('{"op":"add","id":"zz')  # a disk ran full
        with Sallyport(own.gateway.dir, services=TWO) as again:
            operator = Operator(again)
            assert operator.ids() == [kept["id"]]
            assert operator.verdict() == "pass"
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            assert [line["id"] for line in lines] == [kept["id"]]
            assert over["id"] not in path.read_text()
            operator.add("--host", "more.test")
            assert len(operator.ids()) == 2

    def test_orphans_keep_it(self, own):
        """Without a supervisor the gateway still takes exceptions; the next supervisor finds them."""
        first = own.gateway
        pid = first.gateway_pid()
        os.kill(first.pid, signal.SIGKILL)
        first.popen.wait()
        made = own.add("--sha256", samples.digest(EICAR))
        with Sallyport(first.dir, services=TWO) as second:
            operator = Operator(second)
            wait.until(lambda: second.gateway_pid() != pid, "another gateway", 20)
            assert operator.ids() == [made["id"]]
            assert operator.verdict() == "pass"


class TestTrouble:
    def test_full_disk(self, start_sallyport, tmp_path):
        """Nothing is changed, and the operator is told so."""
        disk = tmp_path / "disk"
        disk.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True,
                              text=True, check=False)
        if done.returncode:
            missing(f"cannot mount a tmpfs: {done.stderr.strip()}")
        try:
            self.try_on(start_sallyport, disk)
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)

    def try_on(self, start_sallyport, disk):
        config = (f"state: {disk}/state\nthreads: 1\nsandbox: best-effort\nspool: {{reserve: 0}}\n"
                  f"records: {{enabled: false}}\nadmin: {{address: 127.0.0.1:0}}\nlisteners:\n"
                  f"  - {{name: clear, address: \"127.0.0.1:0\"}}\nservices:\n"
                  f"  - {{name: inspect, type: inspect, path: /inspect}}\n")
        gateway = start_sallyport(config=config, ready=False)
        gateway.state = disk / "state"
        gateway.wait_ready()
        operator = Operator(gateway)
        kept = operator.add("--host", "kept.test")
        journal = (disk / "state" / "exceptions.jsonl")
        with open(disk / "filler", "wb", buffering=0) as f:
            for size in (65536, 4096, 512, 64, 1):
                try:
                    while f.write(b"x" * size):
                        pass
                except OSError:
                    pass
        refused = 0
        for i in range(60):  # the last page of the journal may have room
            done = gateway.command_line("exception", "add", "--host", f"h{i}.test", "--for", "1h", "--reason",
                                        "x" * 200, "--state", gateway.state)
            if done.returncode:
                refused += 1
                assert done.returncode == 1 and "nothing was changed: No space left" in done.stderr
                break
        assert refused == 1
        before = operator.ids()
        assert kept["id"] in before
        assert journal.read_text().endswith("}\n") and len(journal.read_text().splitlines()) == len(before)
        assert "engine" not in str(gateway.status()["troubles"])
        assert any(t["area"] == "exceptions" for t in gateway.status()["troubles"])
        (disk / "filler").unlink()
        operator.run("exception", "remove", kept["id"])
        operator.add("--sha256", samples.digest(EICAR))
        assert operator.verdict() == "pass"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
    def test_another_user_may_not(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="sallyport-exceptions-"))
        folder.chmod(0o755)
        try:
            with Sallyport(folder) as gateway:
                operator = Operator(gateway)
                gateway.state.chmod(0o755)
                (gateway.state / "control.sock").chmod(0o666)
                program = folder / "sallyport"
                shutil.copy(gateway.program, program)
                for command in (("exception", "add", "--host", "a", "--for", "1h", "--reason", "x"),
                                ("bypass", "inspect", "--for", "1m", "--reason", "x")):
                    done = subprocess.run([program, *command, "--state", gateway.state], user=65534, group=65534,
                                          extra_groups=[], capture_output=True, text=True, check=False, timeout=20)
                    assert done.returncode in (1, 4) and done.stderr
                assert operator.ids() == []
        finally:
            shutil.rmtree(folder)

    def test_bypassed_without_workers_is_ready(self, start_sallyport):
        """A load balancer must not take the gateway out just when its engines are gone."""
        gateway = start_sallyport()
        operator = Operator(gateway)
        operator.run("bypass", "inspect", "--for", "1m", "--reason", "x")
        for pid in gateway.zygote_pids():
            os.kill(pid, signal.SIGKILL)
        assert operator.verdict() == "pass"
        assert gateway.admin("/readyz")[0] == 200
