# SPDX-License-Identifier: Apache-2.0
"""The servers of the inspect rows: clamd, gateways with various pipelines, c-icap with clamd."""
import os
import pathlib
import socket

from bench_machine import tree, tree_cpu
from bench_servers import BOTH_CORES, CIcap, Sallyport, Server

DEADLINE_S = 2  # of a scan in the overload rows
QUEUE = 64      # files that wait for a worker in overload-queue
CICAP_MODULE = pathlib.Path("/usr/lib/x86_64-linux-gnu/c_icap/clamd_mod.so")
# The EICAR test string, put together here so that no scanner takes this file for infected.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-" + rb"ANTIVIRUS-TEST-FILE!$H+H*"


class Clamd(Server):
    """The daemon with one signature: what remains is what any file costs."""

    name = title = "clamd"
    cores = BOTH_CORES
    config = """\
LocalSocket {dir}/clamd.sock
DatabaseDirectory {dir}/db
TemporaryDirectory {dir}
Foreground yes
OfficialDatabaseOnly no
SelfCheck 3600
AlertExceedsMax yes
MaxFileSize 100M
MaxScanSize 100M
StreamMaxLength 100M
"""

    def command(self):
        conf, database = self.dir / "clamd.conf", self.dir / "db"
        database.mkdir()
        (database / "test.ndb").write_text(f"Bench.EICAR:0:*:{EICAR.hex()}\n")
        conf.write_text(self.config.format(dir=self.dir))
        return "/usr/sbin/clamd", "-F", "-c", conf

    def socket(self):
        return self.dir / "clamd.sock"

    def is_ready(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            try:
                s.connect(str(self.socket()))
                s.settimeout(5)
                s.sendall(b"zPING\0")
                return s.recv(16) == b"PONG\0"
            except OSError:
                return False


class Inspecting(Sallyport):
    """The gateway on its core, workers where the kernel puts them. A subclass says which services.

    Counted apart: "gateway" (with its supervisor) and "workers" (with their zygote)."""

    group = None  # a row of inspection without it would say nothing
    limits, engines, services, probes = "", (), (), ()
    has_clamd = False
    config = """\
state: {dir}/state
threads: 1
sandbox: best-effort
admin: {{enabled: false}}
listeners:
  - {{name: plain, address: "127.0.0.1:{plain}", protocol: icap}}
"""

    def command(self):
        command = super().command()
        engines = list(self.engines)
        if self.has_clamd:
            engines.append(f'clamav: {{address: "{self.bench.server(Clamd).socket()}"}}')
        lines = ["services:", *(f"  - {{{service}}}" for service in self.services)]
        lines += ["engines:", *(f"  {engine}" for engine in engines)] if engines else []
        with command[-1].open("a") as conf:
            conf.write(self.limits + "\n".join(lines) + "\n")
        return command

    def is_ready(self):
        """Each service hands a body back: workers and clamd answer."""
        ok = all(self.answers(False, "-m", "RESPMOD", "-s", "1024", "-p", path, "--expect", "200")
                 for path in self.probes)
        if ok:
            self.spread_workers()
        return ok

    def zygote(self):
        for pid in tree(self.process.pid):
            try:
                if b"sallyport-worker" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
            except (FileNotFoundError, ProcessLookupError):
                pass
        return None

    def spread_workers(self):
        for pid in tree(self.zygote()):
            os.sched_setaffinity(pid, BOTH_CORES)

    def workers_cpu(self):
        zygote = self.zygote()
        return tree_cpu(zygote) if zygote else 0.0

    def watched(self):
        return {"gateway": lambda: self.cpu() - self.workers_cpu(), "workers": self.workers_cpu}


class Uncached(Inspecting):
    name, title, has_clamd = "uncached", "Sallyport, no cache", True
    engines = ("cache: {size: off}",)
    services = ("name: echo, type: echo, path: /echo",
                "name: clamd, type: inspect, path: /clamd, pipeline: [clamav]",
                "name: yara, type: inspect, path: /yara, pipeline: [yara]",
                "name: filetype, type: inspect, path: /filetype, pipeline: [filetype]",
                "name: form, type: inspect, path: /form, pipeline: [yara, filetype]",
                "name: all, type: inspect, path: /all, pipeline: [yara, filetype, clamav]")
    probes = ("/clamd", "/yara")


class Cached(Inspecting):
    name, title, has_clamd = "cached", "Sallyport, cache", True
    services = ("name: echo, type: echo, path: /echo",
                "name: all, type: inspect, path: /all, pipeline: [yara, filetype, clamav]")
    probes = ("/all",)


class Overloaded(Inspecting):
    """With limits.scans as it is without a configuration."""

    name, title = "scans", "Sallyport, limits.scans 64"
    engines = ("cache: {size: off}",)
    services = (f"name: yara, type: inspect, path: /yara, pipeline: [yara], "
                f"deadline: {DEADLINE_S}s",)
    probes = ("/yara",)


class OverloadedQueue(Overloaded):
    """The queue of the workers is the limit."""

    name, title = "queue", f"Sallyport, engines.workers.queue {QUEUE}"
    limits = "limits: {scans: 100000}\n"
    engines = (*Overloaded.engines, f"workers: {{queue: {QUEUE}}}")


class OverloadedWait(Overloaded):
    """Nothing is refused: everybody waits."""

    name, title = "wait", "Sallyport, no limit in reach"
    limits = "limits: {scans: 100000}\n"
    engines = (*Overloaded.engines, "workers: {queue: 100000}")


class CIcapClamd(CIcap):
    """c-icap's virus_scan with clamd_mod, which passes descriptors, too."""

    name, title = "cicap-clamd", "c-icap"
    config = CIcap.config + """\
Module common clamd_mod.so
clamd_mod.ClamdSocket {clamd}
Service scan virus_scan.so
virus_scan.DefaultEngine clamd
virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE DOCUMENT
virus_scan.SendPercentData 0
virus_scan.StartSendPercentDataAfter 1000M
virus_scan.MaxObjectSize 1000M
"""

    def config_text(self, **more):
        return super().config_text(clamd=self.bench.server(Clamd).socket(), **more)

    @staticmethod
    def is_installed():
        return CICAP_MODULE.exists()
