# SPDX-License-Identifier: Apache-2.0
"""The commands as a person or a script meets them: what they print, and exit codes (0 fine, 1 refused
or infected, 2 usage, 3 missing security, 4 network)."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from testenv import Certificates, Sallyport, Way, build_dir, free_port, need, samples, wait
from testenv.sallyport import binary, run_command

COMMANDS = ("serve", "check", "scan", "probe", "why", "status", "help", "version")


def run(*arguments, **more):
    return run_command(build_dir(), *arguments, **more)


class TestHelp:
    @pytest.mark.parametrize("arguments", [["help"], ["--help"], ["-h"]])
    def test_general(self, arguments):
        done = run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        for command in COMMANDS:
            assert re.search(rf"^  {command} ", done.stdout, re.M)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_of_a_command(self, command):
        done = run("help", command)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"usage: sallyport {command}")
        if command not in ("help", "version"):
            for option in ("--help", "-h"):
                assert run(command, option).stdout == done.stdout

    @pytest.mark.parametrize("arguments", [["version"], ["--version"], ["-V"]])
    def test_version(self, arguments):
        done = run(*arguments)
        assert done.returncode == 0
        assert re.fullmatch(r"sallyport \d+\.\d+\.\d+\n", done.stdout)

    @pytest.mark.parametrize("arguments", [
        [], ["nothing"], ["help", "nothing"], ["serve", "--nothing"], ["serve", "argument"], ["check", "--nothing"],
        ["check", "argument"], ["scan"], ["scan", "--nothing", "x"], ["status", "argument"], ["status", "--nothing"],
        ["scan", "--local", "--to", "icap://x/y", "z"], ["scan", "--ca", "x", "y"], ["scan", "--to", "ftp://x/y", "z"],
        ["scan", "--to", "icap://x/y", "--rules", "r", "z"], ["scan", "--to", "icap://"], ["check", "-c"],
        ["serve", "--demo-port", "5"], ["serve", "--demo", "-c", "x"], ["status", "-c", "x", "--state", "y"],
        ["scan", "--to", "icaps://x/y", "--ca", "x", "--insecure-no-verify", "z"], ["version", "argument"]])
    def test_usage(self, arguments):
        """Exit code 2, a sentence on stderr, nothing on stdout that a script might take for an answer."""
        done = run(*arguments)
        assert done.returncode == 2
        assert done.stderr and done.stdout == ""


GOOD = """\
state: {state}
listeners:
  - {name: clear, address: "127.0.0.1:0"}
services:
  - {name: echo, type: echo, path: /echo}
"""
# What is wrong: line, column, words of the complaint.
MISTAKES = {
    "unknown key": (GOOD.replace("listeners", "listners"), 2, 1, ["'listners'", "did you mean 'listeners'"]),
    "unknown key within": (GOOD.replace("name: echo", "nme: echo"), 5, 6, ["'nme'", "did you mean 'name'"]),
    "double key": (GOOD + "state: /x\n", 6, 1, ["state"]),
    "choice": (GOOD.replace("type: echo", "type: ecko"), 5, 24, ["echo or inspect", "'ecko'", "did you mean 'echo'"]),
    "number": (GOOD + "threads: many\n", 6, 10, ["threads", "'many'"]),
    "range": (GOOD + "threads: 99999\n", 6, 10, ["0..", "'99999'"]),
    "unit": (GOOD + "limits: {memory: 5q}\n", 6, 18, ["memory", "'5q'"]),
    "duration": (GOOD + "drain: 5 parsecs\n", 6, 8, ["drain"]),
    "missing": (GOOD.replace("name: echo, ", ""), 5, 5, ["name"]),
    "not YAML": (GOOD + "drain: [\n", 7, 1, ["YAML"]),
    "tls that is not there": (GOOD.replace('0"}', '0", tls: edge}'), 3, 48, ["edge"]),
    "clear text outside": (GOOD.replace("127.0.0.1:0", "*:0"), 3, 28, ["plaintext-outside-loopback"]),
    "same path": (GOOD + "  - {name: two, type: echo, path: /echo}\n", 6, 35, ["/echo", "'echo'"]),
    "file that is not there": (GOOD + "engines: {yara: {rules: [/nothing.yar]}}\n", 6, 26, ["/nothing.yar"]),
    "tab": (GOOD + "limits:\n\tmemory: 5m\n", 7, 1, []),
    "anchor": (GOOD + "drain: &a 5s\n", 6, 8, []),
}


PRINTING = pathlib.Path(__file__).resolve().parents[2] / "examples" / "printing.yaml"
# Of each block something that is said there, and something that is not.
PRINTED = ("protocol: ipp", "tls-begins: at-once", "upgrade: options", "host: print.example",
           "names: [print, 192.0.2.1]", "realm: sallyport", "algorithms: [sha-256, md5]", "users: [ann, bob]",
           "attributes: 3000", "depth: 16", "head-timeout: 7s", "exchange-timeout: 1h",
           "aliases: [/printers/acct, /ipp/print]", "backend: ipps://printer-hall.example/ipp/print",
           "require: [tls, digest]", "allow: [group:staff, group:operators]", "mismatch: block", "mismatch: note",
           "body-max: 200m", "hold: true", "anonymous: attributes", "pages-max: off",
           'contact: "the help desk, extension 4711"')


class TestCheck:
    @pytest.fixture
    def config(self, tmp_path):
        path = tmp_path / "sallyport.yaml"

        def write(text):
            path.write_text(text.replace("{state}", str(tmp_path / "state")))
            return path
        return write

    def test_fine(self, config):
        path = config(GOOD)
        done = run("check", "-c", path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{path} is fine: 1 listeners, 1 services\n"
        assert not (path.parent / "state").exists()  # looks, and touches nothing

    def test_passing_infected_files(self, config):
        """Allowed, for a trial run; but nobody shall do it without noticing."""
        path = config(GOOD.replace("type: echo", "type: inspect, on: {infected: pass}"))
        done = run("check", "-c", path)
        assert done.returncode == 0
        assert "warning: service" in done.stderr and "passes infected files" in done.stderr

    @pytest.mark.parametrize("name", MISTAKES)
    def test_mistake(self, config, name):
        """FILE:LINE:COLUMN: what is wrong, and what was meant."""
        text, line, column, words = MISTAKES[name]
        path = config(text)
        done = run("check", "-c", path)
        assert (done.returncode, done.stdout) == (2, "")
        place = f"{path}:{line}:{column}: "
        complaint = next((said for said in done.stderr.splitlines() if said.startswith(place)), None)
        assert complaint, done.stderr
        for word in words:
            assert word in complaint

    def test_all_mistakes_at_once(self, config):
        done = run("check", "-c", config(GOOD.replace("type: echo", "type: x") + "thread: 1\ndrian: 5s\n"))
        assert len(done.stderr.splitlines()) == 3

    def test_no_file(self, tmp_path):
        done = run("check", "-c", tmp_path / "none.yaml")
        assert done.returncode == 2
        assert "none.yaml" in done.stderr and "No such file" in done.stderr

    def test_keys_and_certificates_are_looked_at(self, config, certificates, tmp_path):
        certificate, key = certificates.server
        other = certificates.issue("other")[1]
        text = GOOD + "tls:\n  - {name: t, certificate: %s, key: %s}\n"
        assert run("check", "-c", config(text % (certificate, key))).returncode == 0
        assert run("check", "-c", config(text % (certificate, other))).returncode == 2
        assert run("check", "-c", config(text % (key, key))).returncode == 2
        assert run("check", "-c", config(text % (certificate, tmp_path / "none"))).returncode == 2

    def test_client_ca_that_is_none(self, config, certificates):
        certificate, key = certificates.server
        done = run("check", "-c", config(GOOD + f"tls:\n  - name: t\n    certificate: {certificate}\n    key: {key}\n"
                                         f"    client-ca: {key}\n"))
        assert done.returncode == 2
        assert ":10:16: " in done.stderr

    @pytest.mark.parametrize("peers, text", [
        ("[nobody]", "must be dns:NAME"), ("['dns:*.test']", "must be dns:NAME"), ("['dn:CN=a*']", "must be dns:NAME"),
        ("['dns:a.test']", "name a tls entry with client-ca")])
    def test_peers(self, config, certificates, peers, text):
        certificate, key = certificates.server
        text_of_it = GOOD.replace('name: clear, ', f"name: clear, tls: t, peers: {peers}, ")
        done = run("check", "-c", config(text_of_it + f"tls:\n  - {{name: t, certificate: {certificate}, key: {key}}}\n"))
        assert done.returncode == 2
        assert text in done.stderr

    def test_rules_are_compiled(self, config, tmp_path):
        rules = tmp_path / "my rules.yar"
        path = config(GOOD + f"engines: {{yara: {{rules: ['{rules}']}}}}\n")
        rules.write_text("rule fine { condition: false }\n")
        done = run("check", "-c", path, "-p")
        assert (done.returncode, done.stderr) == (0, "")
        assert "OK:" not in done.stdout and "services:" in done.stdout
        rules.write_text("\nrule broken { condition: nothing }\n")
        done = run("check", "-c", path)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{rules}:2: " in done.stderr
        rules.unlink()
        rules.mkdir()
        done = run("check", "-c", path)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{rules}: not a regular file" in done.stderr

    @staticmethod
    def print_twice(path):
        """What check -p prints of it, and of what it has printed."""
        first = run("check", "-c", path, "-p")
        assert first.returncode == 0, first.stderr
        again = path.with_name("again.yaml")
        again.write_text(first.stdout)
        second = run("check", "-c", again, "--print")
        assert second.stdout == first.stdout, second.stderr
        return first.stdout

    def test_printed_configuration_means_the_same(self, config, certificates):
        """check -p prints every default; what it prints, read again, prints equal."""
        certificate, key = certificates.server
        path = config(GOOD + f"tls:\n  - {{name: t, certificate: {certificate}, key: {key}}}\n"
                      "icap: {idle-timeout: 90s}\nlimits: {memory: 64m}\n")
        printed = self.print_twice(path)
        assert "idle-timeout: 90s" in printed and "memory: 64m" in printed
        assert "head-timeout: 10s" in printed  # a default

    def test_printed_configuration_of_printing(self, config, certificates):
        """The same, of the example for print gateways: listeners for ipp, their HTTP, printers."""
        certificate, key = certificates.server
        text = PRINTING.read_text()
        for old, new in (("/etc/sallyport/gateway.pem", certificate), ("/etc/sallyport/gateway.key", key),
                         ("/var/lib/sallyport", "{state}"), ("user: sallyport\n", "")):
            assert text.count(old) == 1
            text = text.replace(old, str(new))
        more = "  http: {head-timeout: 7s}\n  message: {attributes: 3000}\n"
        printed = self.print_twice(config(text.replace("\nipp:\n", "\nipp:\n" + more)))
        lines = [line.strip().removeprefix("- ") for line in printed.splitlines()]
        assert [line for line in PRINTED if line not in lines] == []

    def test_state_in_place_of_the_configured_one(self, config, tmp_path):
        done = run("check", "-c", config(GOOD), "-p", "--state", tmp_path / "elsewhere")
        assert f"state: {tmp_path / 'elsewhere'}\n" in done.stdout

    def test_serve_refuses_the_same(self, config):
        """A wrong configuration does not start anything."""
        path = config(MISTAKES["unknown key"][0])
        done = run("serve", "-c", path)
        assert done.returncode == 2
        assert f"{path}:2:1: " in done.stderr


@pytest.fixture
def files(tmp_path):
    """clean.txt, eicar.com and a folder with both below."""
    folder = tmp_path / "files"
    (folder / "below").mkdir(parents=True)
    for where in (folder, folder / "below"):
        (where / "clean.txt").write_text("A letter without anything in it.\n")
        (where / "eicar.com").write_bytes(samples.EICAR)
    (folder / "empty").write_bytes(b"")
    return folder


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


class TestScan:
    """Both ways: here, in a jailed worker, and over ICAP."""

    @pytest.fixture(params=["--local", "icap", "icaps", "icap --reqmod", "icaps --reqmod"])
    def scan(self, request, sallyport, certificates):
        where, _, option = request.param.partition(" ")
        arguments = ["--local"]
        if where != "--local":
            url = sallyport.url("inspect", "tls" if where == "icaps" else "clear")
            arguments = ["--to", url.replace("127.0.0.1", "localhost")]
            arguments += ["--ca", str(certificates.ca)] if where == "icaps" else []
            arguments += [option] if option else []

        def scan_it(*more):
            return run("scan", *more, *arguments)
        scan_it.where = where
        return scan_it

    def test_clean(self, scan, files):
        done = scan(files / "clean.txt")
        assert (done.returncode, done.stderr) == (0, "")
        assert re.match(rf"{re.escape(str(files))}/clean\.txt: pass( - Allowed)? \(", done.stdout)
        assert "1 file: 1 passed, 0 changed, 0 blocked, 0 not inspected, 0 failed" in done.stdout

    def test_infected(self, scan, files):
        done = scan(files / "eicar.com")
        assert done.returncode == 1
        assert "eicar.com: blocked" in done.stdout and "EICAR" in done.stdout

    def test_empty(self, scan, files):
        assert scan(files / "empty").returncode == 0

    def test_folder(self, scan, files):
        """All files below, in whatever order they are done; links are not followed out of it."""
        os.symlink("/etc/passwd", files / "link")
        done = scan(files, "--json")
        assert done.returncode == 1
        found = sorted(lines(done), key=lambda r: r["path"])
        assert [os.path.relpath(r["path"], files) for r in found] == \
            ["below/clean.txt", "below/eicar.com", "clean.txt", "eicar.com", "empty"]
        assert [r["verdict"] for r in found] == ["pass", "blocked", "pass", "blocked", "pass"]

    def test_json(self, scan, files):
        done = scan(files / "eicar.com", "--json")
        [found] = lines(done)
        assert found["path"] == str(files / "eicar.com")
        assert (found["verdict"], "EICAR" in found["reason"]) == ("blocked", True)
        assert found["ms"] > 0
        if scan.where != "--local":
            assert (found["icap_status"], found["http_status"]) == (200, 403)
            assert len(found["id"]) == 20
        if scan.where == "icaps":
            assert "TLS" in found["how"]
            assert found["who"]

    def test_missing_file(self, scan, files):
        """The others are scanned all the same; the exit code tells."""
        done = scan(files / "nothing", files / "clean.txt")
        assert done.returncode == 2
        assert "nothing: No such file or directory" in done.stderr
        assert "clean.txt: pass" in done.stdout

    @pytest.mark.parametrize("size", [1, 65536, 3 * samples.MIB])
    def test_sizes(self, scan, tmp_path, size):
        (tmp_path / "file.bin").write_bytes(samples.noise(size))
        assert scan(tmp_path / "file.bin").returncode == 0

    def test_names_with_controls(self, scan, tmp_path):
        """A terminal gets nothing that it would obey."""
        path = tmp_path / "\x1b[31mred\r\nX-Y: z\x7f.txt"
        path.write_text("clean")
        done = scan(path)
        assert done.returncode == 0
        assert not any(ord(c) < 0x20 and c != "\n" or ord(c) == 0x7f for c in done.stdout)
        [found] = lines(scan(path, "--json"))
        assert found["path"] == str(path)


class TestScanLocal:
    def test_own_rules(self, files, tmp_path):
        rules = tmp_path / "letters.yar"
        rules.write_text('rule Letter { strings: $a = "A letter" condition: $a }\n')
        done = run("scan", "--rules", rules, files / "clean.txt", files / "eicar.com", "--json")
        assert done.returncode == 1
        assert {(r["verdict"], r.get("reason")) for r in lines(done)} == {("blocked", "Letter"), ("pass", None)}

    def test_rules_that_do_not_compile(self, files, tmp_path):
        (tmp_path / "bad.yar").write_text("rule {\n")
        done = run("scan", "--rules", tmp_path / "bad.yar", files / "clean.txt")
        assert done.returncode in (1, 2)
        assert "bad.yar" in done.stderr and done.stdout == ""

    def test_no_worker(self, files):
        done = run("scan", "--worker", "/nothing", files / "clean.txt")
        assert done.returncode != 0
        assert "/nothing" in done.stderr or "worker" in done.stderr

    def test_without_root(self, files):
        """Nobody needs to be root to inspect a file."""
        done = as_nobody([binary(), "scan", "--local", "/etc/os-release"])
        assert done.returncode == 0, done.stderr


class TestScanRemote:
    def test_unknown_ca(self, sallyport, files):
        """The server cannot prove who it is: the security that was asked for is not there."""
        done = run("scan", "--to", sallyport.url("inspect", "tls"), files / "clean.txt")
        assert done.returncode == 3
        assert "certificate" in done.stdout + done.stderr

    def test_another_ca(self, sallyport, files, tmp_path):
        other = Certificates(tmp_path / "other")
        done = run("scan", "--to", sallyport.url("inspect", "tls"), "--ca", other.ca, files / "clean.txt")
        assert done.returncode == 3

    def test_another_name(self, start_sallyport, certificates, files):
        gateway = start_sallyport(tls=certificates.issue("elsewhere", "subjectAltName=DNS:elsewhere.test"))
        done = run("scan", "--to", gateway.url("inspect", "tls"), "--ca", certificates.ca, files / "clean.txt")
        assert done.returncode == 3

    def test_asked_not_to_verify(self, sallyport, files):
        done = run("scan", "--to", sallyport.url("inspect", "tls"), "--insecure-no-verify", files / "clean.txt")
        assert done.returncode == 0
        assert "who: nobody that is authenticated" in done.stdout

    def test_clear_text_where_tls_is_spoken(self, sallyport, files):
        url = sallyport.url("inspect", "tls").replace("icaps://", "icap://")
        done = run("scan", "--to", url, files / "clean.txt")
        assert done.returncode == 1
        assert "it may want TLS: icaps://" in done.stdout

    def test_tls_where_clear_text_is_spoken(self, sallyport, certificates, files):
        url = sallyport.url("inspect").replace("icap://", "icaps://")
        assert run("scan", "--to", url, "--ca", certificates.ca, files / "clean.txt").returncode in (3, 4)

    def test_nobody_listens(self, files):
        done = run("scan", "--to", f"icap://127.0.0.1:{free_port()}/inspect", files / "clean.txt")
        assert done.returncode == 4
        assert "refused" in (done.stdout + done.stderr).lower()

    def test_no_such_host(self, files):
        assert run("scan", "--to", "icap://nothing.invalid/inspect", files / "clean.txt").returncode == 4

    def test_unknown_service(self, sallyport, files):
        done = run("scan", "--to", sallyport.url("nothing"), files / "clean.txt")
        assert done.returncode == 4
        assert "404" in done.stdout + done.stderr

    def test_ca_file_that_is_none(self, sallyport, files):
        done = run("scan", "--to", sallyport.url("inspect", "tls"), "--ca", files / "clean.txt", files / "clean.txt")
        assert done.returncode == 2

    @pytest.mark.parametrize("option, said", [("--ca", "no certificate among those to trust"), ("--cert", "neither be empty")])
    def test_empty_file(self, sallyport, files, tmp_path, option, said):
        """It is no way to say: whom the system trusts, or nobody."""
        empty = tmp_path / "empty"
        empty.touch()
        done = run("scan", "--to", sallyport.url("inspect", "tls"), option, empty, files / "clean.txt")
        assert done.returncode == 2
        assert said in done.stderr

    def test_server_that_goes_away(self, start_sallyport, files):
        gateway = start_sallyport()
        url = gateway.url("inspect")
        gateway.stop()
        assert run("scan", "--to", url, files / "clean.txt").returncode == 4


def as_nobody(command):
    """Runs |command| without privileges; the caller's, when that is not root."""
    if os.geteuid() != 0:
        return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60, check=False)
    setpriv = [need("setpriv", "util-linux"), "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    return subprocess.run(setpriv + [str(c) for c in command], capture_output=True, text=True, timeout=60, check=False)


class TestStatus:
    def test_text(self, sallyport):
        Way(sallyport, "clear").ask("RESPMOD", "inspect", samples.EICAR)
        done = run("status", "--state", sallyport.state)
        assert (done.returncode, done.stderr) == (0, "")
        for words in (r"^sallyport \d+\.\d+\.\d+, gateway pid \d+, generation 1, since ", "^ready$", "^sandbox   .*seccomp",
                      r"^engines   yara ",
                      r"^tls       server .* CN=server, until \S+Z \(\d days\), serial \w+, reloads 0$",
                      r"^listener  clear +127\.0\.0\.1:\d+ +clear$", r"^listener  tls .* TLS$",
                      r"^service   inspect +/inspect .* blocked [1-9]", r"^thread    1 .*; turns \d+/s, on average \d+\.\d{3} ms, longest \d+\.\d{3} ms$",
                      r"^budget    spool ",
                      r"^records   written \d+, lost 0, write errors 0$"):
            assert re.search(words, done.stdout, re.M), (words, done.stdout)

    def test_json(self, sallyport):
        status = sallyport.status()
        assert (status["ready"], status["draining"], status["generation"]) == (True, False, 1)
        assert os.path.exists(f"/proc/{status['pid']}")
        assert status["supervisor_pid"] == sallyport.pid
        assert {name["name"] for name in status["listeners"]} == {"clear", "tls", "admin", "control"}
        assert {s["name"] for s in status["services"]} == {"echo", "inspect"}
        assert len(status["loops"]) == 2
        for loop in status["loops"]:
            assert loop["turns"] > 0
            assert loop["turn_mean_us"] <= loop["turn_longest_us"]
        assert set(status["budgets"]) == {"memory", "spool", "scans"}

    def test_by_configuration(self, sallyport):
        assert run("status", "-c", sallyport.config).returncode == 0

    def test_nobody_answers(self, tmp_path, start_sallyport):
        done = run("status", "--state", tmp_path)
        assert (done.returncode, done.stdout) == (4, "")
        assert "no gateway answers" in done.stderr
        gateway = start_sallyport()
        gateway.stop()
        assert run("status", "--state", gateway.state).returncode == 4

    def test_killed_gateway_is_not_waited_for(self, start_sallyport):
        """A gateway that stands still does not hang the command for ever."""
        gateway = start_sallyport()
        pid = gateway.gateway_pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            done = run("status", "--state", gateway.state)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert done.returncode == 4
        assert "in time" in done.stderr

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
    def test_refused_for_another_user(self, certificates):
        """Even where the file system would let him in, the peer's uid is looked at."""
        folder = tempfile.mkdtemp(prefix="sallyport-status-")
        os.chmod(folder, 0o755)
        try:
            with Sallyport(folder, tls=certificates.server) as gateway:
                command = [gateway.program, "status", "--state", gateway.state]
                os.chmod(gateway.state, 0o700)
                assert as_nobody(command).returncode == 4  # does not get near the socket
                os.chmod(gateway.state, 0o755)
                assert as_nobody(command).returncode == 4  # may not open it
                os.chmod(gateway.state / "control.sock", 0o666)
                done = as_nobody(command)
                assert done.returncode in (1, 4)
                assert "gateway pid" not in done.stdout and done.stderr
                assert gateway.status()["ready"]
        finally:
            shutil.rmtree(folder)


class TestServe:
    def test_second_one_with_the_same_state(self, start_sallyport):
        gateway = start_sallyport()
        done = run("serve", "-c", gateway.config)
        assert done.returncode == 2
        assert "another sallyport" in done.stderr
        assert gateway.status()["ready"]

    def test_address_that_is_taken(self, sallyport, tmp_path):
        config = tmp_path / "taken.yaml"
        host, port = sallyport.address()
        config.write_text(f"state: {tmp_path / 'state'}\nadmin: {{enabled: false}}\nlisteners:\n"
                          f"  - {{name: x, address: \"{host}:1\"}}\n  - {{name: y, address: \"192.0.2.1:5\", "
                          "plaintext-outside-loopback: true}\nservices: [{name: e, type: echo, path: /e}]\n")
        done = run("serve", "-c", config)
        assert port and done.returncode in (1, 2)
        assert "192.0.2.1:5" in done.stderr

    def test_stops_in_order(self, start_sallyport):
        gateway = start_sallyport()
        pids = list(gateway.processes())
        assert gateway.stop() == 0
        wait.until(lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), "the end of every process")
        assert not (gateway.state / "control.sock").exists() or run("status", "--state", gateway.state).returncode == 4
