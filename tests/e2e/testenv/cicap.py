# SPDX-License-Identifier: Apache-2.0
"""c-icap 0.5.10: its server with the services echo and ex206, and its client."""
import pathlib
import socket
import subprocess

from . import wait
from .peers import free_port, need
from .process import Process

MODULES = "/usr/lib/x86_64-linux-gnu/c_icap"
CONFIG = """\
PidFile {dir}/c-icap.pid
CommandsSocket {dir}/c-icap.ctl
StartServers 1
MaxServers 2
ThreadsPerChild 20
Port 127.0.0.1:{port}
{tls}
TmpDir {dir}
DebugLevel 1
ModulesDir {modules}
ServicesDir {modules}
LoadMagicFile /etc/c-icap/c-icap.magic
ServerLog {dir}/server.log
AccessLog {dir}/access.log
Service echo srv_echo.so
Service ex206 srv_ex206.so
"""


class CIcap(Process):
    """The server, on |port| and, with |tls| = (certificate, key), on |tls_port|."""

    def __init__(self, folder, tls=None):
        program = need("c-icap", "c-icap")
        self.dir = pathlib.Path(folder)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.port, self.tls_port = free_port(), free_port() if tls else None
        tls_line = f"TlsPort 127.0.0.1:{self.tls_port} cert={tls[0]} key={tls[1]}" if tls else ""
        config = self.dir / "c-icap.conf"
        config.write_text(CONFIG.format(dir=self.dir, port=self.port, tls=tls_line, modules=MODULES))
        super().__init__([program, "-N", "-f", config], self.dir / "output.log")
        wait.until(self._answers, "an answer of c-icap", 15)

    def _answers(self):
        assert self.is_running(), f"c-icap ended:\n{self.log()}"
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except ConnectionRefusedError:
            return False
        return True


def cicap_client(port, service, *options, tls_ca=None, file=None, output=None, seconds=60):
    """Runs c-icap-client against 127.0.0.1: the finished process; its talk is on stderr."""
    command = [need("c-icap-client", "c-icap"), "-i", "127.0.0.1", "-p", str(port), "-s", service]
    command += ["-tls", "-tls-no-verify"] if tls_ca else []
    command += ["-f", str(file)] if file else []
    command += ["-o", str(output)] if output else []
    command += [str(o) for o in options]
    return subprocess.run(command, capture_output=True, timeout=seconds, check=False)
