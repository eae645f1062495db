# SPDX-License-Identifier: Apache-2.0
"""What decides about files and changes while connections are open: URL lists, ClamAV and its database,
who may connect."""
import re
import signal
import threading

import pytest

from testenv import Way, samples, wait
from testenv.clamd import Clamd
from testenv.icap import IcapConnection, http_request

URL = "  - {name: url, type: inspect, path: /url, pipeline: [url, yara]}\n"
CLAM = "  - {name: clam, type: inspect, path: /clam, pipeline: [clamav]}\n"


def blocked(gateway, service, body=b"harmless"):
    reply = Way(gateway, "clear").ask("REQMOD", service, body)
    return reply.status == 200 and reply.encapsulated[0][0] == "res-hdr" and reply.http_status() == 403


def istag(gateway, service):
    return next(s["istag"] for s in gateway.status()["services"] if s["name"] == service)


class TestLists:
    @pytest.fixture
    def listed(self, start_sallyport, tmp_path):
        path = tmp_path / "list.txt"
        path.write_text("# nothing yet\nelse.test\n")
        gateway = start_sallyport(services=URL,
                                  more=f"engines: {{url: {{lists: [{{name: bad, file: {path}, action: deny}}]}}}}\n")
        return gateway, path

    def test_change_is_live(self, listed):
        gateway, path = listed
        pid, before = gateway.gateway_pid(), istag(gateway, "url")
        other = istag(gateway, "echo")
        with IcapConnection(gateway.address()) as kept:
            assert kept.ask("REQMOD", gateway.url("url"), b"x").encapsulated[0][0] == "req-hdr"
            path.write_text("else.test\norigin.test\n")
            gateway.wait_log("changed files: done without interruption", 30)
            assert kept.ask("REQMOD", gateway.url("url"), b"x").encapsulated[0][0] == "res-hdr"
        assert gateway.gateway_pid() == pid
        assert istag(gateway, "url") != before and istag(gateway, "echo") == other

    def test_broken_list_keeps_the_old(self, listed):
        gateway, path = listed
        path.write_text("else.test\norigin.test\n~(\n")
        gateway.wait_log("the changed files cannot be used yet", 30)
        assert f"{path}:3:" in gateway.log()
        assert not blocked(gateway, "url")
        path.write_text("origin.test\n")
        wait.until(lambda: blocked(gateway, "url"), "the mended list", 30)

    def test_check_names_file_and_line(self, listed):
        gateway, path = listed
        assert gateway.command_line("check", "-c", gateway.config).returncode == 0
        path.write_text("a b c\n")
        done = gateway.command_line("check", "-c", gateway.config)
        assert done.returncode == 2 and f"{path}:1:" in done.stderr + done.stdout

    def test_large_list(self, listed):
        """Larger than what a certificate may have, and not in locked memory."""
        gateway, path = listed
        with path.open("w") as f:
            for i in range(400_000):
                f.write(f"host-{i}.example.test\n")
            f.write("origin.test\n")
        assert path.stat().st_size > 8 << 20
        wait.until(lambda: blocked(gateway, "url"), "the large list", 60)
        with open(f"/proc/{gateway.pid}/status", encoding="ascii") as f:
            locked = int(re.search(r"VmLck:\s+(\d+)", f.read())[1])
        assert locked < 1024

    def test_no_worker_is_needed_for_urls_alone(self, start_sallyport, tmp_path):
        path = tmp_path / "list.txt"
        path.write_text("origin.test\n")
        config = (f"state: {{state}}\nthreads: 1\nsandbox: best-effort\nadmin: {{address: 127.0.0.1:0}}\n"
                  f"engines: {{url: {{lists: [{{name: bad, file: {path}, action: deny}}]}}}}\nlisteners:\n"
                  f"  - {{name: clear, address: \"127.0.0.1:0\"}}\nservices:\n{URL.replace(', yara', '')}")
        gateway = start_sallyport(config=config)
        assert gateway.zygote_pids() == []
        assert blocked(gateway, "url")
        path.write_text("else.test\n")
        wait.until(lambda: not blocked(gateway, "url"), "the other list", 30)


class TestClamav:
    @pytest.fixture
    def clam(self, tmp_path):
        with Clamd(tmp_path / "clamd") as daemon:
            yield daemon

    def start(self, start_sallyport, clam, more=""):
        return start_sallyport(services=CLAM, more=f"engines: {{clamav: {{address: {clam.socket_path}, check: 500ms{more}}}}}\n")

    def test_first_file_has_its_verdict(self, start_sallyport, clam):
        gateway = self.start(start_sallyport, clam)
        assert blocked(gateway, "clam", samples.EICAR)
        status = gateway.status()["inspection"]["clamd"]
        assert status["up"] and status["version"].startswith("ClamAV ") and status["found"] >= 1
        metrics = gateway.metrics()
        assert metrics["sallyport_clamd_up"] == 1
        assert [v for k, v in metrics.items() if k.startswith("sallyport_clamd_info{")] == [1]
        assert re.search(r"^clamav    up +since .*: ClamAV ", gateway.command_line("status", "--state", gateway.state).stdout,
                         re.M)

    def test_down_and_back(self, start_sallyport, clam):
        """Who came back may have other signatures: what was judged before does not count any more, but
        only in services that ask it."""
        gateway = self.start(start_sallyport, clam)
        gateway.wait_log("clamd: the daemon is up: ClamAV ")
        tag, other = istag(gateway, "clam"), istag(gateway, "inspect")
        clam.stop()
        wait.until(lambda: gateway.admin("/readyz")[0] == 503, "not ready", 20)
        assert "service 'clam' needs ClamAV" in gateway.admin("/readyz")[1]
        assert gateway.metrics()["sallyport_clamd_up"] == 0
        text = gateway.command_line("status", "--state", gateway.state)
        assert text.returncode == 1 and "\nCLAMAV IS DOWN since " in text.stdout
        assert "clamd: the daemon cannot be used: " in gateway.log()
        assert istag(gateway, "clam") == tag  # an outage alone makes nothing that was cached older
        assert any(t["code"] == "engine-down" for t in gateway.status()["troubles"])
        clam.restart()
        gateway.wait_ready(30)
        assert blocked(gateway, "clam", samples.EICAR)
        assert istag(gateway, "clam") != tag and istag(gateway, "inspect") == other

    def test_other_settings_need_a_new_gateway(self, start_sallyport, clam):
        gateway = self.start(start_sallyport, clam)
        pid = gateway.gateway_pid()
        gateway.config.write_text(gateway.config.read_text().replace("check: 500ms", "check: 600ms, connections: 2"))
        gateway.send_signal(signal.SIGHUP)
        gateway.wait_log("reload: done with a new gateway process", 30)
        assert gateway.gateway_pid() != pid
        assert blocked(gateway, "clam", samples.EICAR)

    def test_nobody_there_at_the_start(self, start_sallyport, tmp_path):
        gateway = start_sallyport(services=CLAM, ready=False,
                                  more=f"engines: {{clamav: {{address: {tmp_path}/nothing}}}}\n")
        gateway.wait_log("clamd: the daemon cannot be used: ", 20)
        wait.until(lambda: gateway.admin("/readyz")[0] == 503, "an answer", 20)
        assert not blocked(gateway, "inspect")


class Crowd:
    """Clients that ask for the same few files again and again, so that most verdicts come from the cache, and
    that know since when each of them is bad. |may_fail|: harmless ones may be blocked, too."""

    def __init__(self, gateway, service, host=b"origin.test", may_fail=False, threads=4):
        self.gateway, self.service, self.host, self.may_fail = gateway, service, host, may_fail
        self.stop, self.failures, self.asked = threading.Event(), [], 0
        self.bad = [b"always bad"]  # whoever asks from now on has to be told
        self.unsure = []  # under way from harmless to bad
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]

    def __enter__(self):
        [t.start() for t in self.threads]
        return self

    def __exit__(self, *_):
        self.stop.set()
        [t.join(60) for t in self.threads]

    def run(self):
        while not self.stop.is_set() and not self.failures:
            for body in [b"harmless", b"quite harmless", *self.bad, *self.unsure]:
                unsure, must = body in self.unsure, body in self.bad  # in this order: there is no time between the two
                may = must or unsure or self.may_fail
                try:
                    http = [("req-hdr", http_request(b"POST", b"http://" + self.host + b"/" + body.replace(b" ", b"-")))]
                    reply = Way(self.gateway, "clear").ask("REQMOD", self.service, body, http=http)
                except Exception as error:  # noqa: BLE001: whatever it is, it is a lost transaction
                    self.failures.append(f"{body}: {error!r}")
                    return
                blocked = reply.encapsulated[0][0] == "res-hdr" if reply.encapsulated else False
                if reply.status != 200 or blocked < must or blocked > may or not blocked and reply.body != body:
                    self.failures.append(f"{body}: {reply}")
                self.asked += 1

    def change(self, body, do):
        """do() makes |body| bad: as soon as OPTIONS has another ISTag, nobody gets it any more."""
        old = Way(self.gateway, "clear").options(self.service).field("ISTag")
        self.unsure.append(body)
        self.go_on()

        def told():
            reply = Way(self.gateway, "clear").options(self.service)
            return reply.status == 200 and reply.field("ISTag") != old
        do()
        wait.until(lambda: self.failures or told(), "another ISTag", 60)
        self.bad.append(body)
        self.unsure.remove(body)
        self.go_on()

    def go_on(self, n=40):
        enough = self.asked + n
        wait.until(lambda: self.asked >= enough or self.failures, "more transactions", 60)
        assert not self.failures, self.failures[:3]


class TestUnderLoad:
    """What decides changes while clients ask: no answer is lost, none is wrong, and none of the old verdicts is
    given once the ISTag is another one."""

    RULE = 'rule R{n} {{ strings: $a = "{text}" condition: $a at 0 }}\n'

    def test_rules_and_lists(self, start_sallyport, tmp_path):
        rules, hosts = tmp_path / "own.yar", tmp_path / "list.txt"
        rules.write_text(self.RULE.format(n=0, text="always bad"))
        hosts.write_text("else.test\n")
        gateway = start_sallyport(services=URL, more=(
            f"engines: {{yara: {{rules: [{rules}]}}, url: {{lists: [{{name: bad, file: {hosts}, action: deny}}]}}}}\n"))
        with Crowd(gateway, "url") as crowd:
            for n in range(1, 4):
                text = f"later bad {n}"
                crowd.change(text.encode(), lambda n=n, text=text: rules.write_text(
                    rules.read_text() + self.RULE.format(n=n, text=text)))
                text = f"listed {n}"
                crowd.change(text.encode(), lambda text=text: hosts.write_text(
                    hosts.read_text() + f"origin.test/{text.replace(' ', '-')}\n"))
                # The rest is no change of what is bad: another gateway, and a reload that finds nothing.
                pid = gateway.gateway_pid()
                gateway.config.write_text(f"limits: {{scan-wait: {100 + n}ms}}\n"
                                          + re.sub("limits:.*\n", "", gateway.config.read_text()))
                gateway.send_signal(signal.SIGHUP)
                wait.until(lambda pid=pid: gateway.status()["pid"] != pid, "another gateway", 30)
                crowd.go_on()
                gateway.send_signal(signal.SIGHUP)
                crowd.go_on()
        assert not crowd.failures, crowd.failures[:3]
        assert sum(bool(r.get("cached")) for r in gateway.records()) > 20

    def test_a_new_database(self, start_sallyport, tmp_path):
        """A daemon that is ended and started with other signatures. Nothing is known while it is away."""
        with Clamd(tmp_path / "clamd") as clamd:
            clamd.add_signature("Test.Always", b"always bad")
            clamd.restart()
            gateway = start_sallyport(services=CLAM, more=(
                f"engines: {{clamav: {{address: {clamd.socket_path}, check: 300ms}}}}\n"))
            gateway.wait_log("clamd: the daemon is up: ClamAV ")
            with Crowd(gateway, "clam", may_fail=True) as crowd:
                for n in range(1, 3):
                    text = f"later bad {n}"
                    clamd.add_signature(f"Test.Later{n}", text.encode())
                    crowd.change(text.encode(), clamd.restart)
            assert not crowd.failures, crowd.failures[:3]
            passed = [r for r in gateway.records() if r.get("service") == "clam" and r.get("action") == "pass"]
            assert all(r["verdict"] == "pass" for r in passed)
            assert sum(bool(r.get("cached")) for r in passed) > 20


class TestAllow:
    def config(self, networks):
        return ("state: {state}\nthreads: 2\nsandbox: best-effort\nadmin: {address: 127.0.0.1:0}\nlisteners:\n"
                f"  - {{name: clear, address: \"127.0.0.1:0\", allow: {networks}}}\nservices:\n"
                "  - {name: echo, type: echo, path: /echo}\n")

    def test_strangers_are_cut_off_and_recorded(self, start_sallyport):
        gateway = start_sallyport(config=self.config("[192.0.2.0/24]"))
        with pytest.raises((AssertionError, EOFError, OSError)), IcapConnection(gateway.address()) as c:
            c.ask("REQMOD", gateway.url("echo"), b"x")
        record = gateway.wait_record(lambda r: r.get("error"))
        assert "allow" in record["error_text"] and record["client"].startswith("127.0.0.1")
        assert sum(v for k, v in gateway.metrics().items() if "refused" in k) >= 1

    def test_list_changes_live(self, start_sallyport):
        gateway = start_sallyport(config=self.config("[127.0.0.1]"))
        with IcapConnection(gateway.address()) as kept:
            assert kept.ask("REQMOD", gateway.url("echo"), b"x").status == 200
            gateway.config.write_text(self.config("[192.0.2.1]").replace("{state}", str(gateway.state)))
            gateway.send_signal(signal.SIGHUP)
            gateway.wait_log("reload: done without interruption", 20)
            assert kept.ask("REQMOD", gateway.url("echo"), b"x").status == 200
            with pytest.raises((AssertionError, EOFError, OSError)), IcapConnection(gateway.address()) as c:
                c.ask("REQMOD", gateway.url("echo"), b"x")
