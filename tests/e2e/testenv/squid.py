# SPDX-License-Identifier: Apache-2.0
"""Squid 5.7 (package squid-openssl) as an ICAP client: own folder, own ports, nothing cached, all
other settings as they come."""
import hashlib
import http.client
import os
import pathlib
import pwd
import shutil
import socket
import tempfile

from . import wait
from .peers import free_port, need
from .process import Process

CONFIG = """\
http_port 127.0.0.1:{port}
pid_filename {dir}/squid.pid
cache_log {dir}/cache.log
access_log stdio:{dir}/access.log
icap_log stdio:{dir}/icap.log
coredump_dir {dir}
cache deny all
netdb_filename none
pinger_enable off
shutdown_lifetime 1 seconds
acl local src 127.0.0.1
http_access allow local
http_access deny all
icap_enable on
"""

# Squid 5.7 may stop reading a response of 64 KiB or more from the origin, and then wait for ever for
# an ICAP server that wants to see all of it before it answers (Squid bug 5352). Delay pools without
# a limit wake it once a second. Not for uploads: in a pool they may wait for their block page for ever.
KEEP_READING = """\
acl fetch method GET HEAD
delay_pools 1
delay_class 1 1
delay_access 1 allow fetch
delay_parameters 1 2000000000/2000000000
"""

# Squid 5.7 may close the connection to its client instead of sending the last chunk, after all bytes,
# when the ICAP server's response ends while Squid's buffer for the client is full (it never knows
# that the adapted body was whole). It cannot be full when the gap is larger than the file.
READ_AHEAD = "read_ahead_gap 16 MB\n"

# Squid before 6.13 drops uploads that come faster than they are inspected, when its buffer for them is
# full (Squid bug 5405). It is not full when it may be larger than the file.
LARGE_UPLOADS = "client_request_buffer_max_size 2 GB\n"


class Squid(Process):
    """|services|: (vectoring point, URL, options of icap_service) each; a point is
    "reqmod_precache" or "respmod_precache"."""

    def __init__(self, services, extra=""):
        program = need("squid", "squid-openssl")
        # Squid gives up root for the user proxy, who must reach its folder.
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="squid-"))
        self.port = free_port()
        lines = [CONFIG.format(port=self.port, dir=self.dir), extra]
        for i, (point, url, options) in enumerate(services):
            lines += [f"icap_service s{i} {point} {url} bypass=off {options}", f"adaptation_access s{i} allow all"]
        (self.dir / "squid.conf").write_text("\n".join(lines) + "\n")
        if os.getuid() == 0:
            os.chmod(self.dir, 0o755)
            user = pwd.getpwnam("proxy")
            os.chown(self.dir, user.pw_uid, user.pw_gid)
        super().__init__([program, "-N", "-f", self.dir / "squid.conf"], self.dir / "output.log", cwd=self.dir)
        wait.until(self._answers, f"an answer of Squid ({self.dir})", 30)

    def _answers(self):
        assert self.is_running(), f"Squid ended:\n{self.log()}"
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except ConnectionRefusedError:
            return False
        return True

    def cache_log(self):
        return (self.dir / "cache.log").read_text(errors="replace")

    def icap_log(self):
        path = self.dir / "icap.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def __exit__(self, *exc):
        super().__exit__(*exc)
        if exc[0] is None:
            shutil.rmtree(self.dir, ignore_errors=True)

    # ---- what a browser does with it ----

    def open(self, timeout=30):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def get(self, url, timeout=30, fields=()):
        """(status, digest, length, head of the body) of a GET through the proxy."""
        connection = self.open(timeout)
        try:
            connection.request("GET", url, headers=dict(fields))
            return take(connection.getresponse())
        finally:
            connection.close()

    def post(self, url, pieces, length=None, timeout=30):
        """The same for an upload; |length| None: in the chunked coding."""
        connection = self.open(timeout)
        fields = {"Content-Type": "application/octet-stream"}
        if length is not None:
            fields["Content-Length"] = str(length)
        try:
            connection.request("POST", url, body=pieces, headers=fields, encode_chunked=length is None)
            return take(connection.getresponse())
        finally:
            connection.close()


def take(response):
    digest, length, head = hashlib.sha256(), 0, b""
    while piece := response.read(1 << 20):
        digest.update(piece)
        length += len(piece)
        head += piece[:max(0, 65536 - len(head))]
    return response.status, digest.hexdigest(), length, head
