# SPDX-License-Identifier: Apache-2.0
"""A print gateway under test."""
import contextlib
import os
import signal

from .ipp import Client
from .sallyport import Sallyport, build_dir, is_sanitized

CONFIG = """\
state: {{state}}
threads: {threads}
sandbox: {sandbox}
log: {{level: debug}}
admin: {{address: 127.0.0.1:0}}
tls:
  - {{name: print, certificate: {certificate}, key: {key}{tls}}}
listeners:
  - {{name: print, protocol: ipp, address: "127.0.0.1:0"{listener_tls}{listener}}}
{listeners}{ipp}printers:
{printers}{more}"""


def printer(name, backend, path=None, **rows):
    """An entry of `printers`; rows as YAML texts, '_' for '-'."""
    rows = {"path": path or f"/ipp/{name}", "backend": backend, **rows}
    text = "".join(f"    {key.replace('_', '-')}: {value}\n" for key, value in rows.items())
    return f"  - name: {name}\n{text}"


class PrintGateway(Sallyport):
    """|printers|: texts of printer(). |listener|: more rows of the listener `print`, which with |bare| has no TLS;
    |listeners|, |more|: more YAML."""

    def __init__(self, folder, certificates, printers, tls="", listener="", listeners="", ipp="", more="", threads=2,
                 bare=False, **options):
        build = options.get("build") or build_dir()
        text = CONFIG.format(sandbox="best-effort" if is_sanitized(build) else "required",
                             certificate=certificates.server[0], key=certificates.server[1], tls=tls, listener=listener,
                             listener_tls="" if bare else ", tls: print",
                             listeners=listeners, ipp=ipp, printers="".join(printers), more=more, threads=threads)
        super().__init__(folder, config=text, **options)

    def uri(self, printer_name, scheme="ipp", listener="print", auth="", host=None):
        host_, port = self.address(listener)
        return f"{scheme}://{host or host_}:{port}/ipp/{printer_name}{auth}"

    def client(self, printer_name, way="clear", listener="print", **more):
        uri = self.uri(printer_name, "ipps" if way == "tls" else "ipp", listener)
        return Client(self.address(listener), uri, way=way, **more)

    def print_records(self, operation=None):
        return [r for r in self.records() if "print" in r and (not operation or r["print"].get("operation") == operation)]

    def record_of(self, answer):
        return self.wait_record(lambda r: r["id"] == answer.fields["X-Request-ID"])

    @contextlib.contextmanager
    def frozen(self):
        """Meanwhile nobody inspects anything that was not inspected before."""
        stopped = []
        try:
            for pids in (self.zygote_pids, self.worker_pids):
                for pid in pids():
                    os.kill(pid, signal.SIGSTOP)
                    stopped.append(pid)
            yield
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
