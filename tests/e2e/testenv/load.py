# SPDX-License-Identifier: Apache-2.0
"""Load by tests/bench/icapload, which checks every answer to its last byte, beside what a test does."""
import json
import subprocess

from .peers import missing
from .sallyport import build_dir


class Load:
    """icapload with |arguments| against |way|'s listener; result() waits for its report."""

    def __init__(self, way, *arguments, service="echo"):
        program = build_dir() / "tests" / "bench" / "icapload"
        if not program.exists():
            missing(f"{program} is not built")
        tls = ["--tls"] if way.listener == "tls" else []
        address = "%s:%d" % way.gateway.address(way.listener)
        self.command = [str(program), "--json", "--path", f"/{service}", *tls, *map(str, arguments), address]
        self.popen = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._report = None

    def is_running(self):
        return self.popen.poll() is None

    def result(self, seconds=120):
        """The report as a dict, with "exit": 0 when every answer was right."""
        if self._report is None:
            out, errors = self.popen.communicate(timeout=seconds)
            assert self.popen.returncode in (0, 1), f"{' '.join(self.command)}: {errors}"
            self._report = {**json.loads(out), "exit": self.popen.returncode}
        return self._report

    def stop(self):
        if self.is_running():
            self.popen.kill()
        self.popen.communicate()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()


def load(way, *arguments, service="echo"):
    """A whole run; every answer was right, and there were some."""
    with Load(way, *arguments, service=service) as run:
        report = run.result()
    assert report["exit"] == 0 and report["requests_total"] > 0, report
    return report
