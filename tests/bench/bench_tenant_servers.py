# SPDX-License-Identifier: Apache-2.0
"""Gateways with two tenants, a and b, and a user of each."""
import json
import os
import pathlib
import subprocess
import sys

from bench_engines import Inspecting
from bench_machine import BenchError
from bench_servers import LOAD_CORE

VERIFIER_ROUNDS, KEY_ROUNDS = 210000, 100000  # as without a configuration
ADMIN_ABOVE = 20000                           # the port of the listener with logins
CLIENT = pathlib.Path(__file__).with_name("login_client.py")


class Tenants(Inspecting):
    """Two TLS listeners, of which one asks for a login; tenants without quotas."""

    name, title = "tenants", "Sallyport, tenants"
    quota = ""                       # of tenant a
    login = ""                       # further settings
    engines = ("cache: {size: off}",)
    services = ("name: echo, type: echo, path: /echo",
                "name: yara, type: inspect, path: /yara, pipeline: [yara]")
    probes = ("/echo", "/yara")
    config = """\
state: {dir}/state
threads: 1
sandbox: best-effort
tls:
  - {{name: bench, certificate: {certificate}, key: {key}}}
listeners:
  - {{name: nobody, address: "127.0.0.1:{tls}", protocol: icap, tls: bench}}
  - {{name: login, address: "127.0.0.1:{plain}", protocol: icap, tls: bench, login: password}}
"""

    def __init__(self, bench):
        super().__init__(bench)
        self.users, self.n_users = {}, 0

    @property
    def more(self):
        return (f'admin: {{address: "{self.admin_address()}"}}\n'
                f"login: {{rounds: {VERIFIER_ROUNDS}, session-rounds: {KEY_ROUNDS}{self.login}}}\n"
                f"tenants:\n  - {{name: a{self.quota}}}\n  - {{name: b}}\n")

    def admin_address(self):
        return f"127.0.0.1:{self.plain_port + ADMIN_ABOVE}"

    def login_address(self):
        return f"127.0.0.1:{self.plain_port}"

    def command(self):
        """Before everything else on its core, so that the machine's other work is not measured; the
        derivations put themselves below it."""
        return "/usr/bin/nice", "-n", "-20", *super().command()

    def is_ready(self):
        ok = all(self.answers(True, "-m", "RESPMOD", "-s", "1024", "-p", path, "--expect", "200")
                 for path in self.probes)
        if ok:
            self.spread_workers()
        return ok

    def start(self):
        super().start()
        for tenant in ("a", "b"):
            self.users[tenant] = self.add_user(tenant)

    def add_user(self, tenant):
        """A new one: its name and password."""
        self.n_users += 1
        user, password = f"user{self.n_users}", f"right password {self.n_users}"
        done = subprocess.run(
            (self.bench.build / "sallyport", "tenant", "add", tenant, "--user", user, "--state", self.dir / "state"),
            env={**os.environ, "SALLYPORT_PASSWORD": password}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=60)
        if done.returncode != 0:
            raise BenchError(f"sallyport tenant add: {done.stderr.strip()}")
        return user, password

    def log_in(self, tenant):
        """So that the session is there."""
        said = self.ask("each", self.login_address(), logins=[self.users[tenant]])
        if said["status"] != [200]:
            raise BenchError(f"{self.title}: the login of tenant {tenant} got {said['status'][0]}")

    # --- login_client.py ---

    def client(self, *words):
        return (*self.bench.namespace.prefix, "taskset", "-c", str(LOAD_CORE), sys.executable, "-B", str(CLIENT),
                *words)

    def ask(self, *words, logins=()):
        """What it says about |logins|, which are users with passwords."""
        lines = "".join(f"{user}:{password}\n" for user, password in logins)
        done = subprocess.run(self.client(*words), input=lines, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise BenchError(f"login_client.py {words[0]}: {done.stderr.strip()[-500:]}")
        return json.loads(done.stdout)

    def metrics(self):
        return self.ask("get", self.admin_address())


class Throttling(Tenants):
    """With limits on failures as they are without a configuration."""

    name, title = "throttling", "Sallyport, failures are throttled"


class Patient(Tenants):
    """Whatever is wrong is derived: no limit on failures is in reach."""

    name, title = "patient", "Sallyport, failures are not throttled"
    login = ", failures: 100000, user-failures: 100000"


class QuotaRequests(Tenants):
    name, title = "quota-requests", "Sallyport, 20 requests per second of tenant a"
    quota = ", requests-per-second: 20"


class QuotaScans(Tenants):
    name, title = "quota-scans", "Sallyport, 4 scans of tenant a"
    quota = ", scans: 4"
