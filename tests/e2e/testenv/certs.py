# SPDX-License-Identifier: Apache-2.0
"""Certificates by the openssl command: a CA, a server, clients, and wrong ones; CRLs and OCSP
responses."""
import pathlib
import re
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

    def issue(self, name, extensions=NAMES, usage="serverAuth", days=3, digest="sha256"):
        """(certificate, key); |days| negative: expired since then. |digest|: what the CA signs it with."""
        self._key(name)
        self._run("req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        lines = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature",
                 f"extendedKeyUsage={usage}", extensions]
        (self.folder / f"{name}.ext").write_text("\n".join(lines) + "\n")
        self._run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out",
                  f"{name}.pem", "-days", str(days), "-extfile", f"{name}.ext", f"-{digest}")
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def self_signed(self, name):
        self._key(name)
        self._run("req", "-x509", "-new", "-key", f"{name}.key", "-out", f"{name}.pem", "-days", "3", "-subj", f"/CN={name}")
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def intermediate(self, name):
        """A CA below this one; what it issues comes with its certificate."""
        below = Certificates.__new__(Certificates)
        below.folder, below.openssl = self.folder / name, self.openssl
        below.folder.mkdir()
        below.ca = below.folder / "ca.pem"
        below._key("ca")
        below._run("req", "-new", "-key", "ca.key", "-out", "ca.csr", "-subj", f"/CN={name}")
        (below.folder / "ca.ext").write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n")
        self._run("x509", "-req", "-in", below.folder / "ca.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                  "-out", below.ca, "-days", "3", "-extfile", below.folder / "ca.ext")
        return below

    def _index(self, certificates, status):
        lines = []
        for certificate in certificates:
            text = subprocess.run([self.openssl, "x509", "-in", certificate, "-noout", "-serial"], capture_output=True,
                                  text=True, check=True).stdout
            serial = re.search("serial=(.+)", text)[1]
            lines.append(f"{status}\t491231235959Z\t{'240101000000Z' if status == 'R' else ''}\t{serial}\tunknown\t/CN=x\n")
        return "".join(lines)

    def crl(self, path, revoked=(), expired=False):
        """Writes a CRL with the files |revoked| on it, in one step."""
        (self.folder / "index.txt").write_text(self._index(revoked, "R"))
        (self.folder / "ca.cnf").write_text("[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\ndefault_md = sha256\n")
        ends = ["-crl_lastupdate", "20240101000000Z", "-crl_nextupdate", "20240201000000Z"] if expired else ["-crldays", "1"]
        self._run("ca", "-config", "ca.cnf", "-gencrl", "-keyfile", "ca.key", "-cert", "ca.pem", "-out", "fresh.crl", *ends)
        fresh = pathlib.Path(f"{path}.fresh")
        fresh.write_bytes((self.folder / "fresh.crl").read_bytes())
        fresh.rename(path)
        return path

    def ocsp(self, path, certificate):
        """Writes an OCSP response that says good, for a day."""
        (self.folder / "ocsp.txt").write_text(self._index([certificate], "V"))
        self._run("ocsp", "-issuer", "ca.pem", "-cert", certificate, "-reqout", "request.der", "-no_nonce")
        self._run("ocsp", "-index", "ocsp.txt", "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key", "-reqin",
                  "request.der", "-respout", path, "-ndays", "1")
        return path
