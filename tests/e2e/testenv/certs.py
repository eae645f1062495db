# SPDX-License-Identifier: Apache-2.0
"""Certificates by the openssl command: a CA, a server, clients, and wrong ones."""
import pathlib
import subprocess

from .peers import need

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"


class Certificates:
    """Below |folder|: ca.pem; issue() makes NAME.pem and NAME.key. P-256 throughout."""

    def __init__(self, folder, common_name="Sallyport test CA"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.openssl = need("openssl", "openssl")
        self.ca = self.folder / "ca.pem"
        self._key("ca")
        self._run("req", "-x509", "-new", "-key", "ca.key", "-out", "ca.pem", "-days", "7", "-subj",
                  f"/CN={common_name}", "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
                  "keyUsage=critical,keyCertSign,cRLSign")

    def _run(self, *arguments):
        run = subprocess.run([self.openssl, *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"openssl {' '.join(arguments)}:\n{run.stderr}"

    def _key(self, name):
        self._run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.key")

    def issue(self, name, extensions=NAMES, usage="serverAuth", days=3):
        """(certificate, key); |days| negative: expired since then."""
        self._key(name)
        self._run("req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        lines = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature",
                 f"extendedKeyUsage={usage}", extensions]
        (self.folder / f"{name}.ext").write_text("\n".join(lines) + "\n")
        self._run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out",
                  f"{name}.pem", "-days", str(days), "-extfile", f"{name}.ext")
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"
