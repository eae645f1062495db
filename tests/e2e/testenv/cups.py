# SPDX-License-Identifier: Apache-2.0
"""Printers and print clients of CUPS: a private cupsd, ippeveprinter, and the commands that people print with."""
import atexit
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

from . import wait
from .ipp import JOB, Client
from .peers import free_port, need
from .process import Process

CUPSD_CONF = """\
Listen 127.0.0.1:{port}
Listen {dir}/state/cups.sock
Browsing Off
WebInterface No
DefaultAuthType None
LogLevel debug
MaxLogSize 0
PreserveJobHistory Yes
PreserveJobFiles Yes
MaxJobs 0
<Location />
Order allow,deny
Allow all
</Location>
<Policy default>
JobPrivateAccess all
JobPrivateValues none
<Limit All>
Order allow,deny
Allow all
</Limit>
</Policy>
"""
CUPS_FILES_CONF = """\
ServerRoot {dir}/root
RequestRoot {dir}/spool
TempDir {dir}/spool/tmp
StateDir {dir}/state
CacheDir {dir}/cache
AccessLog {dir}/log/access
ErrorLog {dir}/log/error
PageLog {dir}/log/page
FileDevice Yes
User lp
Group lp
SystemGroup root
Sandboxing relaxed
"""
QUEUE = """\
<{kind} {name}>
Info {name}
DeviceURI {device}
State Idle
Accepting Yes
Shared Yes
JobSheets none none
QuotaPeriod 0
PageLimit 0
KLimit 0
OpPolicy default
ErrorPolicy {policy}
</{kind}>
"""
BUS_CONF = """\
<busconfig>
<type>system</type>
<listen>{address}</listen>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="*"/><allow receive_type="*"/></policy>
</busconfig>
"""


class Cupsd(Process):
    """A cupsd of the test's own. |queues|: name -> device URI; without, the raw queue `acct` on the null device, whose
    documents stay in the spool (documents())."""

    stop_seconds = 30

    def __init__(self, folder, queues=None, policy="abort-job", port=None):
        # Not below |folder|: cupsd's filters run as another user, and pytest keeps others out of its own.
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"sallyport-{pathlib.Path(folder).name}-"))
        atexit.register(shutil.rmtree, self.dir, True)
        self.dir.chmod(0o755)
        self.port = port or free_port()
        for name in ("root", "spool", "spool/tmp", "state", "cache", "log"):
            (self.dir / name).mkdir(parents=True, exist_ok=True)
        for name in ("spool", "spool/tmp", "cache"):
            shutil.chown(self.dir / name, "root", "lp")
            os.chmod(self.dir / name, 0o1770 if name == "spool/tmp" else 0o770)
        (self.dir / "cupsd.conf").write_text(CUPSD_CONF.format(dir=self.dir, port=self.port))
        (self.dir / "cups-files.conf").write_text(CUPS_FILES_CONF.format(dir=self.dir))
        queues = queues or {"acct": "file:/dev/null"}
        self.queues = list(queues)
        text = "".join(QUEUE.format(kind="DefaultPrinter" if i == 0 else "Printer", name=name, device=device, policy=policy)
                       for i, (name, device) in enumerate(queues.items()))
        (self.dir / "root" / "printers.conf").write_text(text)
        super().__init__([need("cupsd", "cups-daemon"), "-f", "-c", self.dir / "cupsd.conf", "-s",
                          self.dir / "cups-files.conf"], self.dir / "log" / "stdout")
        wait.until(lambda: (self.dir / "state" / "cups.sock").exists() and self.answers(), f"cupsd ({self.dir})", 30)

    def answers(self):
        assert self.is_running(), self.log()
        return ipptool(self.uri(), "get-printer-attributes.test", "-q").returncode in (0, 1)

    def uri(self, queue="acct"):
        return f"ipp://127.0.0.1:{self.port}/printers/{queue}"

    def server(self):
        """For CUPS_SERVER and -h."""
        return f"127.0.0.1:{self.port}"

    def error_log(self):
        return (self.dir / "log" / "error").read_text(errors="replace")

    def client(self, queue="acct", **more):
        return Client(("127.0.0.1", self.port), self.uri(queue), **more)

    def jobs(self):
        """Job number -> (name, state) of all that there ever were."""
        found = {}
        for queue in self.queues:
            client = self.client(queue)
            for number in (j["job-id"] for j in client.jobs("job-id")):
                job = client.job(number)  # of a list cupsd answers what it has at hand
                found[number] = job.get("job-name", JOB), job.get("job-state", JOB)
        return found

    def number_of(self, name):
        """Of the one job of that name."""
        [number] = [n for n, (known, _) in self.jobs().items() if known == name]
        return number

    def printed(self, name):
        """The documents of that job, in their order."""
        number = self.number_of(name)
        return [octets for (job, _), octets in sorted(self.files().items()) if job == number]

    def known(self):
        """The numbers of all jobs and documents, to compare with those of later."""
        return [[j["job-id"] for j in self.client(queue).jobs("job-id")] for queue in self.queues], sorted(self.files())

    def files(self):
        """Documents in the spool: (job number, document number) -> bytes."""
        return {(int(p.name[1:6]), int(p.name[7:])): p.read_bytes() for p in (self.dir / "spool").glob("d*-*")}

    def documents(self):
        """What was printed: job number at cupsd -> bytes of its first document."""
        return {job: octets for (job, number), octets in self.files().items() if number == 1}


class Bus(Process):
    """A D-Bus of a test's own, with nobody on it: ippeveprinter does not start without one, for it would announce
    itself."""

    def __init__(self, folder):
        path = pathlib.Path(folder) / "bus"
        self.address = f"unix:path={path}"
        config = path.with_suffix(".conf")
        config.write_text(BUS_CONF.format(address=self.address))
        super().__init__([need("dbus-daemon", "dbus-daemon"), "--config-file", config, "--nofork", "--nopidfile"],
                         path.with_suffix(".log"))
        wait.until(path.exists, f"dbus-daemon ({folder})", 30)


class IppEvePrinter(Process):
    """ippeveprinter, which keeps what it prints in documents(); one job at a time."""

    def __init__(self, folder, *options):
        self.dir = pathlib.Path(folder)
        self.spool = self.dir / "spool"
        self.spool.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        program = need("ippeveprinter", "cups-ipp-utils")
        self.bus = Bus(folder)
        super().__init__([program, "-r", "off", "-p", str(self.port), "-d", self.spool, "-k",
                          "-f", "application/pdf,image/jpeg,image/pwg-raster,text/plain,application/octet-stream",
                          "-c", need("true", "coreutils"),  # without a program it rests, as if it printed
                          *options, "Test"], self.dir / "log", env={"DBUS_SYSTEM_BUS_ADDRESS": self.bus.address})
        try:
            wait.until(self.listens, f"ippeveprinter ({self.dir})", 30)
        except AssertionError:
            self.stop()
            raise

    def listens(self):
        assert self.is_running(), self.log()
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self, *arguments, **more):
        try:
            return super().stop(*arguments, **more)
        finally:
            self.bus.stop()

    def uri(self):
        return f"ipp://127.0.0.1:{self.port}/ipp/print"

    def client(self, **more):
        return Client(("127.0.0.1", self.port), self.uri(), **more)

    def documents(self):
        return [p.read_bytes() for p in sorted(self.spool.rglob("*")) if p.is_file()]


def client_environment(folder, **more):
    """Of a CUPS client: nothing of this machine's or this user's, trust on first use in |folder|."""
    home = pathlib.Path(folder)
    (home / ".cups").mkdir(parents=True, exist_ok=True)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CUPS_", "IPP_", "PRINTER", "LPDEST"))}
    return {**env, "HOME": str(home), "LANG": "C.UTF-8", **more}


def run(*command, env=None, seconds=60, **more):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=seconds, check=False,
                          env=env, **more)


def ipptool(uri, test, *options, file=None, env=None, seconds=120):
    """|test|: one that comes with ipptool, or a path."""
    command = [need("ipptool", "cups-ipp-utils"), *options]
    if file:
        command += ["-f", file]
    return run(*command, uri, test, env=env, seconds=seconds)


COUNT = re.compile(r"\[(PASS|FAIL|SKIP)\]")


def counts(done):
    """(passed, failed, skipped) of a run with -t."""
    words = COUNT.findall(done.stdout)
    return tuple(words.count(w) for w in ("PASS", "FAIL", "SKIP"))
