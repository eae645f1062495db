# SPDX-License-Identifier: Apache-2.0
"""Who answers print clients: cupsd alone, nginx in front of it, Sallyport in front of it."""
import os
import pathlib
import subprocess

from bench_engines import Inspecting
from bench_servers import BOTH_CORES, LOAD_CORE, Sallyport, Server

QUEUE = "bench"      # as the printer is called everywhere
SCANNED = "scanned"  # the same queue, at Sallyport behind engines
NGINX = pathlib.Path("/usr/sbin/nginx")


class PrintServer(Server):
    """Answers IPP at /printers/bench."""

    def ipp_load(self, tls, *options):
        """The command of its load."""
        return self.bench.load_command(self.address(tls), tls, options, "ippload")

    def answers(self, tls, *options):
        command = self.ipp_load(tls, "-r", "1", "-p", f"/printers/{QUEUE}", "--timeout", "1", *options)
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0

    def watched(self):
        """Whose CPU counts, by name: "server", and who else is there."""
        return {"server": self.cpu}


class Cupsd(PrintServer):
    """A raw queue on the null device, as fast as it goes: jobs are over at once and forgotten, nothing is logged."""

    name, title, group = "cupsd", "cupsd alone", "floor"
    config = """\
Listen 127.0.0.1:{port}
Browsing Off
WebInterface No
DefaultAuthType None
LogLevel error
AccessLogLevel config
PreserveJobHistory No
PreserveJobFiles No
MaxJobs 500
MaxClients 1000
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
    files = """\
ServerRoot {dir}/root
RequestRoot {dir}/spool
TempDir {dir}/spool/tmp
StateDir {dir}/state
CacheDir {dir}/cache
AccessLog {dir}/logs/access
ErrorLog {dir}/logs/error
PageLog {dir}/logs/page
FileDevice Yes
User lp
Group lp
SystemGroup root
Sandboxing relaxed
"""
    queue = f"""\
<DefaultPrinter {QUEUE}>
Info {QUEUE}
DeviceURI file:/dev/null
State Idle
Accepting Yes
Shared Yes
JobSheets none none
OpPolicy default
ErrorPolicy abort-job
</DefaultPrinter>
"""

    def command(self):
        for name in ("root", "spool", "spool/tmp", "state", "cache", "logs"):
            (self.dir / name).mkdir()
        (self.dir / "cupsd.conf").write_text(self.config.format(port=self.plain_port))
        (self.dir / "cups-files.conf").write_text(self.files.format(dir=self.dir))
        (self.dir / "root" / "printers.conf").write_text(self.queue)
        return "/usr/sbin/cupsd", "-f", "-c", self.dir / "cupsd.conf", "-s", self.dir / "cups-files.conf"

    def is_ready(self):
        """In clear text: TLS is what the others are for."""
        return self.answers(False)


class InFront(PrintServer):
    """Speaks to cupsd; the address of that is in its configuration."""

    def backend(self):
        return self.bench.server(Cupsd)

    def watched(self):
        return {**super().watched(), "cupsd": self.backend().cpu}


class Nginx(InFront):
    """A reverse proxy that looks at nothing: one worker, connections kept on both sides, no access log. Documents are
    read whole before they are sent on, as a gateway that judges them has to; above 256 KiB they are in a file, as at
    Sallyport (memory-max)."""

    name = title = group = "nginx"
    config = """\
daemon off;
user root;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    client_body_buffer_size 256k;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    upstream cupsd {{
        server {backend};
        keepalive 64;
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
    }}
    server {{
        listen 127.0.0.1:{plain};
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        client_max_body_size 0;
        location / {{
            proxy_pass http://cupsd;
            proxy_http_version 1.1;
            proxy_request_buffering on;
            proxy_set_header Connection "";
            proxy_set_header Host {backend};
        }}
    }}
}}
"""

    @staticmethod
    def is_installed():
        return NGINX.exists()

    def command(self):
        conf = self.dir / "nginx.conf"
        conf.write_text(self.config.format(
            dir=self.dir, plain=self.plain_port, tls=self.tls_port, certificate=self.bench.certificate,
            key=self.bench.key, backend=self.backend().address(False)))
        return NGINX, "-p", self.dir, "-e", self.dir / "error.log", "-c", conf


class Printing(InFront, Inspecting):
    """Records are on, verdicts are not kept; workers where the kernel puts them."""

    name, title, group = "sallyport", "Sallyport", "sallyport"
    config = """\
state: {dir}/state
threads: {threads}
sandbox: best-effort
admin: {{enabled: false}}
engines: {{cache: {{size: off}}}}
ipp: {{requests-per-client: off}}
listeners:
  - {{name: plain, address: "127.0.0.1:{plain}", protocol: ipp}}
  - {{name: tls, address: "127.0.0.1:{tls}", protocol: ipp, tls: bench, tls-begins: at-once}}
tls:
  - {{name: bench, certificate: {certificate}, key: {key}}}
"""

    @property
    def more(self):
        backend = f"ipp://{self.backend().address(False)}/printers/{QUEUE}"
        return (f'printers:\n'
                f'  - {{name: {QUEUE}, path: /printers/{QUEUE}, backend: "{backend}", require: [], pipeline: []}}\n'
                f'  - {{name: {SCANNED}, path: /printers/{SCANNED}, backend: "{backend}", require: [],\n'
                f'     pipeline: [yara, filetype]}}\n')

    def command(self):
        return Sallyport.command(self)

    def is_ready(self):
        ok = self.answers(False) and self.answers(True) and self.answers(
            False, "-o", "print-job", "-p", f"/printers/{SCANNED}")
        if ok:
            self.spread_workers()
        return ok

    def watched(self):
        return {"server": lambda: self.cpu() - self.workers_cpu(), "workers": self.workers_cpu,
                "cupsd": self.backend().cpu}
