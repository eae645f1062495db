# SPDX-License-Identifier: Apache-2.0
"""A cupsd with TLS: it looks for a certificate under the host's name when a handshake begins."""
import shutil
import socket

from .cups import Cupsd


class TlsCupsd(Cupsd):
    """With |certificate| = (certificate, key), whatever this machine is called."""

    def __init__(self, folder, certificate):
        super().__init__(folder)
        keys = self.dir / "root" / "ssl"
        keys.mkdir(exist_ok=True)
        for name in {"localhost", socket.gethostname(), socket.getfqdn(), socket.gethostname() + ".local"}:
            shutil.copy(certificate[0], keys / f"{name}.crt")
            shutil.copy(certificate[1], keys / f"{name}.key")
