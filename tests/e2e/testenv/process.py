# SPDX-License-Identifier: Apache-2.0
"""A program under test: started, its output kept, ended by its own pid and by nothing else."""
import os
import pathlib
import signal
import subprocess

from . import wait

SANITIZERS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "WARNING: ThreadSanitizer",
              "ERROR: UndefinedBehaviorSanitizer")
ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "second_deadlock_stack=1",
}


class Process:
    """|command| with both outputs in |log|. A context manager: leaving it stops the program and
    checks that no sanitizer complained."""

    stop_seconds = 15

    def __init__(self, command, log, **popen):
        self.command = [str(c) for c in command]
        self.log_path = pathlib.Path(log)
        env = {**os.environ, **ENV, **popen.pop("env", {})}
        with self.log_path.open("ab") as out:
            self.popen = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env,
                                          **popen)

    @property
    def pid(self):
        return self.popen.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def is_running(self):
        return self.popen.poll() is None

    def wait_log(self, text, seconds=10):
        """Waits until |text| stands in the log."""
        def seen():
            assert self.is_running() or text in self.log(), f"{self.command[0]} ended:\n{self.log()}"
            return text in self.log()
        wait.until(seen, f"'{text}' in the log of {self.command[0]}", seconds)

    def send_signal(self, number):
        self.popen.send_signal(number)

    def stop(self, number=signal.SIGTERM, seconds=None):
        """Asks it to end; kills it, and fails, when it does not. The exit code."""
        if self.is_running():
            self.popen.send_signal(number)
        try:
            code = self.popen.wait(seconds or self.stop_seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"{self.command[0]} did not end:\n{self.log()[-4000:]}") from None
        self.check_sanitizers()
        return code

    def check_sanitizers(self):
        text = self.log()
        for mark in SANITIZERS:
            assert mark not in text, f"a sanitizer complained:\n{text[max(0, text.index(mark) - 500):][:8000]}"

    def memory(self, field="VmRSS"):
        """Bytes, from /proc: VmRSS, VmHWM, RssAnon."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(field)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()


def children(pid):
    """Pids of the direct children."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(p) for p in task.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found
