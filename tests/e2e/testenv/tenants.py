# SPDX-License-Identifier: Apache-2.0
"""A gateway with two tenants, a user of each, and listeners for every kind of login."""
import base64
import hashlib
import json
import os
import pathlib
import socket
import ssl
import subprocess

from .icap import IcapConnection, request
from .sallyport import Sallyport, build_dir, is_sanitized

ALICE, BOB = ("alice", "correct horse battery"), ("bob", "staple of the others")
CONFIG = """\
state: {state}
threads: 2
sandbox: SANDBOX
log: {level: debug}
admin: {address: "127.0.0.1:0"}
login: {rounds: 100000, failures: FAILURES, user-failures: 1000MORE}
tls:
  - {name: server, certificate: CERTIFICATE, key: KEY, ticket-secret: TICKETS}
  - {name: mutual, certificate: CERTIFICATE, key: KEY, ticket-secret: TICKETS, client-ca: AUTHORITY}
listeners:
  - {name: clear, address: "127.0.0.1:0"}
  - {name: password, address: "127.0.0.1:0", tls: server, login: password}
  - {name: certificate, address: "127.0.0.1:0", tls: mutual, login: certificate}
  - {name: both, address: "127.0.0.1:0", tls: mutual, login: both}
  - {name: strict, address: "127.0.0.1:0", tls: mutual, login: both, options-login: required}
tenants:
  - {name: acme, certificates: ["dns:proxy.acme.test"], requests-per-second: REQUESTS}
  - {name: other, certificates: ["uri:spiffe://other.test/*", "dn:CN=other-by-name"]}
services:
  - {name: echo, type: echo, path: /echo}
  - {name: inspect, type: inspect, path: /inspect, preview: 1024}
  - {name: acme-only, type: inspect, path: /own, tenants: [acme], contact: "help@acme.test"}
  - {name: acme-mail, type: inspect, path: /mail, tenants: [acme], contact: "help@acme.test"}
  - {name: other-mail, type: inspect, path: /mail, tenants: [other], contact: "help@other.test"}
"""


def authorization(user, password):
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def verifier(password):
    """What the gateway keeps of a password, as the control socket takes it."""
    salt = os.urandom(16)
    derived = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 100000)
    return {"method": "pbkdf2-hmac-sha256", "rounds": 100000, "salt": salt.hex(),
            "hash": hashlib.sha256(derived).hexdigest()}


class Tenants:
    """A gateway with two tenants and a user for each, and its clients."""

    def __init__(self, folder, certificates, clients, requests="unlimited", failures="1000", more=""):
        certificate, key = certificates.server
        config = CONFIG
        self.ticket_secret = pathlib.Path(folder) / "ticket-secret"
        self.ticket_secret.parent.mkdir(parents=True, exist_ok=True)
        self.ticket_secret.touch(0o600)
        self.ticket_secret.write_bytes(os.urandom(48))
        for word, value in {"SANDBOX": "best-effort" if is_sanitized(build_dir()) else "required", "KEY": str(key),
                            "CERTIFICATE": str(certificate), "AUTHORITY": str(certificates.ca), "REQUESTS": requests,
                            "TICKETS": str(self.ticket_secret), "FAILURES": failures, "MORE": more}.items():
            config = config.replace(word, value)
        self.certificates, self.clients = certificates, clients
        self.gateway = Sallyport(folder, config=config)
        self.add("acme", *ALICE)
        self.add("other", *BOB)

    def run(self, *words, password=None):
        env = dict(os.environ, **({"SALLYPORT_PASSWORD": password} if password else {}))
        done = self.gateway.command_line("tenant", *words, "--state", self.gateway.state, env=env,
                                         stdin=subprocess.DEVNULL, start_new_session=True)
        assert done.returncode == 0, (words, done.stdout, done.stderr)

    def add(self, tenant, user, password):
        self.run("add", tenant, "--user", user, password=password)

    def add_many(self, tenant, users):
        """As add(), of many (name, password); those with the same password have the same verifier."""
        verifiers = {}
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            s.connect(str(self.gateway.state / "control.sock"))
            answers = s.makefile("rb")
            for user, password in users:
                if password not in verifiers:
                    verifiers[password] = verifier(password)
                command = {"command": "tenant-add", "tenant": tenant, "user": user, **verifiers[password]}
                s.sendall(json.dumps(command).encode() + b"\n")
                answer = json.loads(answers.readline())
                assert answer.get("ok"), answer

    def context(self, client=None):
        context = ssl.create_default_context(cafile=str(self.certificates.ca))
        if client:
            context.load_cert_chain(*self.clients[client])
        return context

    def connect(self, listener="password", client=None, context=None):
        # Derivations are below everything else, and this machine may be busy.
        return IcapConnection(self.gateway.address(listener), tls=context or self.context(client), timeout=120)

    def talk(self, context, session=None, who=None, listener="password"):
        """(status, was it resumed, TLS session) of one request on a connection of its own."""
        with socket.create_connection(self.gateway.address(listener), 120) as plain, \
                context.wrap_socket(plain, server_hostname="localhost", session=session) as secure:
            fields = [authorization(*who)] if who else []
            secure.sendall(request("RESPMOD", "icaps://localhost/echo", b"x", fields=fields))
            head = b""
            while b"\r\n\r\n" not in head:
                head += secure.recv(65536)
            return int(head.split()[1]), secure.session_reused, secure.session

    def ask(self, listener="password", who=None, client=None, service="echo", body=b"x", method="RESPMOD", **more):
        """One request on a connection of its own."""
        with self.connect(listener, client) as c:
            fields = [authorization(*who)] if who else []
            return c.ask(method, f"icaps://localhost/{service}", body, fields=fields, **more)

    def status(self, *arguments, **more):
        return self.ask(*arguments, **more).status

    def metric(self, name):
        return self.gateway.metrics()[name]
