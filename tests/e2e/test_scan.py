# SPDX-License-Identifier: Apache-2.0
"""`sallyport scan` with many files: at once, from lists and pipes, resumed, interrupted, on a terminal."""
import json
import os
import pty
import re
import signal
import subprocess
import threading

import pytest

from testenv import build_dir, free_port, samples, wait
from testenv.sallyport import binary, run_command

N_FILES = 40


def run(*arguments, **more):
    return run_command(build_dir(), "scan", *arguments, **more)


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def files(tmp_path):
    """Forty files, the last of them infected."""
    folder = tmp_path / "files"
    folder.mkdir()
    for i in range(N_FILES - 1):
        (folder / f"{i:02}.txt").write_text(f"letter {i}\n")
    (folder / f"{N_FILES - 1:02}.com").write_bytes(samples.EICAR)
    return folder


@pytest.fixture(params=["local", "icap"])
def where(request, sallyport):
    return [] if request.param == "local" else ["--to", sallyport.url("inspect")]


class TestMany:
    @pytest.mark.parametrize("jobs", [1, 3, 64])
    def test_all_at_once(self, where, files, jobs):
        """Each file once, whatever the order."""
        done = run(files, "--json", "--jobs", jobs, *where)
        assert (done.returncode, done.stderr) == (1, "")
        found = {r["path"]: r["verdict"] for r in lines(done)}
        assert len(lines(done)) == len(found) == N_FILES
        assert [p for p, v in found.items() if v != "pass"] == [str(files / f"{N_FILES - 1:02}.com")]

    def test_connections(self, start_sallyport, files):
        """--jobs says how many connections there are."""
        gateway = start_sallyport()
        pid = gateway.gateway_pid()
        os.kill(pid, signal.SIGSTOP)
        with subprocess.Popen([binary(), "scan", files, "--jobs", "7", "--to", gateway.url("echo")],
                              stdout=subprocess.PIPE, text=True) as scan:
            try:
                wait.until(lambda: _has_open(scan.pid, files / "06.txt"), "seven files to be opened")
                assert not _has_open(scan.pid, files / "07.txt")
                wait.until(lambda: _connections(scan.pid, gateway.address()[1]) == 7, "seven connections")
            finally:
                os.kill(pid, signal.SIGCONT)
            out, _ = scan.communicate(timeout=60)
        assert f"{N_FILES} files: {N_FILES} passed" in out

    def test_summary(self, where, files):
        done = run(files, *where)
        assert f"{N_FILES} files: {N_FILES - 1} passed, 0 changed, 1 blocked, 0 not inspected, 0 failed" in done.stdout
        assert re.search(r"^\d+ bytes in \d+\.\d\d s, \d+\.\d MB/s$", done.stdout, re.M)

    def test_quiet(self, where, files):
        done = run(files, "--quiet", *where)
        assert done.returncode == 1
        [line] = done.stdout.splitlines()
        assert "39.com: blocked" in line

    def test_fail_fast(self, where, files, tmp_path):
        (files / "!first.com").write_bytes(samples.EICAR)
        done = run(files, "--fail-fast", "--jobs", 1, "--json", *where)
        assert done.returncode == 1
        assert [r["verdict"] for r in lines(done)] == ["blocked"]


class TestSources:
    @pytest.mark.parametrize("separator", ["\n", "\0"])
    def test_list(self, where, files, tmp_path, separator):
        names = sorted(files.iterdir())[:3]
        (tmp_path / "list").write_text(separator.join(map(str, names)) + separator)
        done = run("--files-from", tmp_path / "list", "--json", *where)
        assert sorted(r["path"] for r in lines(done)) == list(map(str, names))

    def test_list_from_stdin(self, files):
        done = run("--files-from", "-", files / "00.txt", "--json", input=f"{files / '01.txt'}\n")
        assert sorted(r["path"] for r in lines(done)) == [str(files / "00.txt"), str(files / "01.txt")]

    def test_list_that_is_not_there(self, tmp_path):
        done = run("--files-from", tmp_path / "nothing")
        assert (done.returncode, done.stdout) == (2, "")
        assert "nothing: No such file" in done.stderr

    def test_stdin(self, where):
        done = run("-", "--name", "mail.eml", *where, input=samples.EICAR.decode())
        assert done.returncode == 1
        assert done.stdout.startswith("mail.eml: blocked")
        assert run("-", *where, input="a letter").stdout.startswith("stdin: pass")

    def test_large_stdin(self, where, tmp_path):
        (tmp_path / "large").write_bytes(samples.noise(3 * samples.MIB))
        with open(tmp_path / "large", "rb") as pipe:
            done = run("-", "--json", *where, stdin=pipe)
        assert [r["verdict"] for r in lines(done)] == ["pass"]

    @pytest.mark.parametrize("arguments", [
        ["-", "-"], ["-", "--files-from", "-"], ["x", "--name", "y"], ["x", "--jobs", "0"], ["x", "--jobs", "65"],
        ["x", "--jobs", "many"], ["x", "--timeout", "0"], ["x", "--timeout", "-1"], ["x", "--connect-timeout", "5"],
        ["x", "--json", "--quiet"], ["--jobs", "3"]])
    def test_wrong_use(self, arguments):
        done = run(*arguments, stdin=subprocess.DEVNULL)
        assert (done.returncode, done.stdout) == (2, "")
        assert "sallyport scan: " in done.stderr and "help scan" in done.stderr


class TestResume:
    def test_nothing_is_scanned_twice(self, where, files, tmp_path):
        state = tmp_path / "state"
        first = run(files, "--resume", state, *where)
        assert first.returncode == 1 and "from the last run" not in first.stdout
        done = run(files, "--resume", state, *where)
        assert done.returncode == 1  # what was found stays found
        assert f"{N_FILES} files, {N_FILES} of them from the last run: {N_FILES - 1} passed" in done.stdout
        assert [line for line in done.stdout.splitlines() if "39.com: blocked - " in line and "from the last run" in line]

    def test_what_changed_and_what_is_new(self, where, files, tmp_path):
        state = tmp_path / "state"
        run(files, "--resume", state, *where)
        (files / "03.txt").write_text("another letter\n")
        (files / "new.txt").write_text("new\n")
        done = run(files, "--resume", state, "--json", *where)
        assert {os.path.basename(r["path"]) for r in lines(done) if not r.get("resumed")} == {"03.txt", "new.txt"}

    def test_new_rules(self, files, tmp_path):
        """A verdict holds for the rules that it was made with."""
        rules, state = tmp_path / "r.yar", tmp_path / "state"
        rules.write_text("rule A { condition: false }\n")
        assert run(files, "--rules", rules, "--resume", state).returncode == 0
        assert run(files, "--rules", rules, "--resume", state, "--json").stdout.count("resumed") == N_FILES
        rules.write_text('rule Seven { strings: $a = "letter 7" condition: $a }\n')
        done = run(files, "--rules", rules, "--resume", state, "--json")
        assert "resumed" not in done.stdout
        assert [os.path.basename(r["path"]) for r in lines(done) if r["verdict"] == "blocked"] == ["07.txt"]

    def test_errors_are_tried_again(self, sallyport, files, tmp_path):
        state, url = tmp_path / "state", sallyport.url("inspect")
        assert run(files, "--to", f"icap://127.0.0.1:{free_port()}/inspect", "--resume", state).returncode == 4
        assert "from the last run" not in run(files, "--to", url, "--resume", state).stdout
        assert f"{N_FILES} of them from the last run" in run(files, "--to", url, "--resume", state).stdout
        # Another service says something else.
        assert "from the last run" not in run(files, "--to", sallyport.url("echo"), "--resume", state).stdout

    def test_state_that_is_none(self, files, tmp_path):
        done = run(files, "--resume", files / "00.txt")
        assert (done.returncode, done.stdout) == (2, "")
        assert "not a state file" in done.stderr
        assert (files / "00.txt").read_text() == "letter 0\n"

    def test_state_among_the_files(self, files):
        done = run(files, "--resume", files / "state", "--json")
        assert len(lines(done)) == N_FILES


class TestTrouble:
    def test_file_that_grows(self, files, start_sallyport):
        """What was answered was about other bytes."""
        gateway = start_sallyport()
        pid, path = gateway.gateway_pid(), files / "00.txt"
        os.kill(pid, signal.SIGSTOP)
        with subprocess.Popen([binary(), "scan", path, "--to", gateway.url("inspect"), "--json"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as scan:
            try:
                wait.until(lambda: _has_open(scan.pid, path), "the file to be opened")
                with open(path, "a") as f:
                    f.write("more\n")
            finally:
                os.kill(pid, signal.SIGCONT)
            out, err = scan.communicate(timeout=60)
        assert scan.returncode == 2
        assert "changed while it was read" in err
        assert json.loads(out)["error"] == "unreadable"

    def test_file_that_is_removed(self, files, start_sallyport):
        gateway = start_sallyport()
        pid, path = gateway.gateway_pid(), files / "00.txt"
        os.kill(pid, signal.SIGSTOP)
        with subprocess.Popen([binary(), "scan", path, "--to", gateway.url("inspect")], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as scan:
            try:
                wait.until(lambda: _has_open(scan.pid, path), "the file to be opened")
                path.unlink()
            finally:
                os.kill(pid, signal.SIGCONT)
            _, err = scan.communicate(timeout=60)
        assert scan.returncode == 2
        assert "removed while it was read" in err

    def test_timeout(self, files, start_sallyport):
        gateway = start_sallyport()
        pid = gateway.gateway_pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            done = run(files / "00.txt", "--to", gateway.url("inspect"), "--timeout", 1)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert done.returncode == 4
        assert "within the time" in done.stdout

    def test_interrupt(self, files, start_sallyport, tmp_path):
        """What is under way ends; the rest is for the next time."""
        gateway, state = start_sallyport(), tmp_path / "state"
        pid = gateway.gateway_pid()
        os.kill(pid, signal.SIGSTOP)
        command = [binary(), "scan", files, "--to", gateway.url("inspect"), "--jobs", "2"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as scan:
            try:
                wait.until(lambda: _has_open(scan.pid, files / "01.txt"), "two files to be opened")
                scan.send_signal(signal.SIGINT)
                wait.until(lambda: not _catches(scan.pid, signal.SIGINT), "SIGINT to be taken")
            finally:
                os.kill(pid, signal.SIGCONT)
            out, err = scan.communicate(timeout=60)
        assert scan.returncode == 130
        assert "2 files: 2 passed" in out
        assert "interrupted" in err and "--resume" in err
        assert f"{N_FILES} files" in run(files, "--to", gateway.url("inspect"), "--resume", state).stdout


class TestTerminal:
    def run_on_terminal(self, *arguments):
        """(exit code, what the terminal got) with stderr on a terminal, stdout a pipe."""
        master, slave = pty.openpty()
        got = []

        def read():
            while True:
                try:
                    got.append(os.read(master, 65536))
                except OSError:
                    return
        with subprocess.Popen([str(binary()), "scan", *map(str, arguments)], stdout=subprocess.PIPE, stderr=slave) as scan:
            os.close(slave)
            reader = threading.Thread(target=read)
            reader.start()
            scan.communicate(timeout=60)
            reader.join(10)
        os.close(master)
        return scan.returncode, b"".join(got).decode()

    def test_progress(self, files):
        code, got = self.run_on_terminal(files)
        assert code == 1
        assert re.search(r"\d+ of \d+\+? files, \d+ blocked, ", got)
        assert got.endswith("\r\x1b[K")  # erased

    @pytest.mark.parametrize("option", ["--no-progress", "--json", "--quiet"])
    def test_without(self, files, option):
        assert self.run_on_terminal(files, option) == (1, "")


def _has_open(pid, path):
    folder = f"/proc/{pid}/fd"
    try:
        return any(os.path.realpath(f"{folder}/{fd}") == str(path) for fd in os.listdir(folder))
    except FileNotFoundError:
        return False


def _catches(pid, signum):
    with open(f"/proc/{pid}/status") as f:
        caught = next(line for line in f if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signum - 1) & 1)


def _connections(pid, port):
    """Connections of the process to that port."""
    folder = f"/proc/{pid}/fd"
    sockets = {os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)}
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in list(f)[1:]]
    return sum(r[2].endswith(f":{port:04X}") and f"socket:[{r[9]}]" in sockets for r in rows)
