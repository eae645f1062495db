# SPDX-License-Identifier: Apache-2.0
"""The gateway under test: configured, started on ports of the system's choice, watched, ended."""
import json
import os
import pathlib
import subprocess
import urllib.error
import urllib.request

from . import wait
from .icap import IcapConnection, request
from .peers import missing
from .process import Process, children

CONFIG = """\
state: {state}
threads: {threads}
sandbox: {sandbox}
log: {{level: debug}}
admin: {{address: 127.0.0.1:0}}
{tls}listeners:
  - {{name: clear, address: "127.0.0.1:0"}}
{tls_listener}services:
  - {{name: echo, type: echo, path: /echo}}
  - {{name: inspect, type: inspect, path: /inspect}}
{services}{more}"""
TLS = """\
tls:
  - {{name: server, certificate: {certificate}, key: {key}}}
"""
TLS_LISTENER = '  - {name: tls, address: "127.0.0.1:0", tls: server, require: strong}\n'


def build_dir(kind="SALLYPORT_BUILD", default="build/release"):
    root = pathlib.Path(__file__).resolve().parents[3]
    return pathlib.Path(os.environ.get(kind) or root / default)


def binary(build=None):
    path = (build or build_dir()) / "sallyport"
    if not path.exists():
        missing(f"{path} is not built")
    return path


def is_sanitized(build):
    options = json.loads((build / "meson-info" / "intro-buildoptions.json").read_text())
    return any(o["name"] == "b_sanitize" and o["value"] != "none" for o in options)


class Sallyport(Process):
    """`sallyport serve -c` with the services /echo and /inspect on listeners "clear" and, with
    |tls| = (certificate, key), "tls". |services|: further YAML list entries, each with its two
    spaces; |more|: YAML at the top level; |config|: a whole configuration instead (with {state})."""

    stop_seconds = 60

    def __init__(self, folder, tls=None, services="", more="", config=None, threads=2, sandbox=None, build=None,
                 ready=True, env=None, prefix=()):
        self.build = pathlib.Path(build or build_dir())
        self.program = binary(self.build)
        self.dir = pathlib.Path(folder)
        self.state = self.dir / "state"
        self.state.mkdir(parents=True, exist_ok=True)
        self.config = self.dir / "sallyport.yaml"
        if config is None:
            config = self._config(tls, services, more, threads, sandbox)
        self.config.write_text(config.replace("{state}", str(self.state)))
        super().__init__([*prefix, self.program, "serve", "-c", self.config], self.dir / "sallyport.log",
                         env=env or {})
        self._addresses = {}
        if ready:
            self.wait_ready()

    def _config(self, tls, services, more, threads, sandbox):
        # Sanitizers and the jail do not go together.
        sandbox = sandbox or ("best-effort" if is_sanitized(self.build) else "required")
        return CONFIG.format(state=self.state, threads=threads, sandbox=sandbox,
                             tls=TLS.format(certificate=tls[0], key=tls[1]) if tls else "",
                             tls_listener=TLS_LISTENER if tls else "", services=services, more=more)

    # ---- where it is ----

    def addresses(self):
        """Listener name -> "ip:port", as the gateway wrote them."""
        if not self._addresses:
            path = self.state / "addresses.json"
            wait.until(lambda: self._alive() and path.exists(), f"{path} (log: {self.log_path})", 20)
            self._addresses = json.loads(path.read_text())
        return self._addresses

    def address(self, listener="clear"):
        host, _, port = self.addresses()[listener].rpartition(":")
        return host.strip("[]"), int(port)

    def url(self, service, listener="clear"):
        scheme = "icaps" if listener == "tls" else "icap"
        return f"{scheme}://{self.addresses()[listener]}/{service}"

    def _alive(self):
        assert self.is_running(), f"sallyport ended:\n{self.log()[-6000:]}"
        return True

    # ---- how it is ----

    def admin(self, path, timeout=5):
        """(status, text) of the admin listener."""
        try:
            with urllib.request.urlopen(f"http://{self.addresses()['admin']}{path}", timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError) as e:
            return 0, str(e)

    def wait_ready(self, seconds=30):
        wait.until(lambda: self._alive() and self.admin("/readyz")[0] == 200,
                   f"/readyz of sallyport (log: {self.log_path})", seconds)

    def metrics(self):
        """Sample name with its labels -> value."""
        status, text = self.admin("/metrics")
        assert status == 200, text
        rows = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in rows}

    def status(self):
        run = self.command_line("status", "--state", self.state, "--json")
        assert run.returncode in (0, 1), run.stderr  # 1: running but not ready
        return json.loads(run.stdout)

    def command_line(self, *arguments, seconds=60, **more):
        """Runs another sallyport command of the same build."""
        return run_command(self.build, *arguments, seconds=seconds, **more)

    def records(self):
        path = self.state / "records.jsonl"
        if not path.exists():
            return []
        # The last line may be under way.
        return [json.loads(line) for line in path.read_text().split("\n")[:-1]]

    def wait_record(self, matches, seconds=10, since=0):
        """The first record, leaving |since| out, for which matches(record)."""
        return wait.until(lambda: next((r for r in self.records()[since:] if matches(r)), None),
                          f"a record ({self.state / 'records.jsonl'})", seconds)

    def tells(self, secrets):
        """(secret, where it can be seen) of those |secrets|, which are bytes, that can be: in the log, in what it
        answers, in environments and arguments of its processes, in anything below its state directory."""
        seen = {"log": self.log_path.read_bytes(), "status": json.dumps(self.status()).encode(),
                "metrics": self.admin("/metrics")[1].encode()}
        for pid in self.processes():
            for name in ("environ", "cmdline"):
                seen[f"{name} of {pid}"] = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
        seen.update((str(path), path.read_bytes()) for path in self.state.rglob("*") if path.is_file())
        assert all(len(secret) >= 8 for secret in secrets)
        return [(secret, place) for secret in secrets for place, text in seen.items() if secret in text]

    def processes(self):
        """Pid -> command line of everything below the supervisor, itself included."""
        found, todo = {}, [self.pid]
        while todo:
            pid = todo.pop()
            try:
                found[pid] = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                todo += children(pid)
            except (FileNotFoundError, ProcessLookupError):
                pass
        return found

    def gateway_pid(self):
        return self.status()["pid"]

    def zygote_pids(self):
        return [p for p in children(self.pid) if "sallyport-worker" in self.processes().get(p, "")]

    def worker_pids(self):
        return [p for zygote in self.zygote_pids() for p in children(zygote)]


BLOCK = 65536  # what each read takes


def hold_memory(gateway, share, service, listener="clear"):
    """Connections with requests that do not come to their end, which hold that share of limits.memory: each has the
    block that its heads came in, as far as anything is read."""
    def used():
        return gateway.status()["budgets"]["memory"]["used"]

    held, most = [], gateway.status()["budgets"]["memory"]["max"]
    unfinished = request("RESPMOD", gateway.url(service, listener), b"a file")[:-5]
    while (before := used()) < share * most:
        n = int(share * most - before) // BLOCK // 2 + 1  # those that are refused take another one for their answer
        for _ in range(n):
            held.append(IcapConnection(gateway.address(listener), timeout=60))
            held[-1].send(unfinished)
        wait.until(lambda enough=before + n * BLOCK: used() >= enough, "more memory in use", 30)
    return held


class Way:
    """One listener of a gateway, and how its clients come in. |listener| "tls": verified with |ca|."""

    def __init__(self, gateway, listener, ca=None):
        self.gateway, self.listener = gateway, listener
        self.ca = ca if listener == "tls" else None

    def connect(self, **options):
        return IcapConnection(self.gateway.address(self.listener), tls=self.ca, **options)

    def url(self, service):
        return self.gateway.url(service, self.listener)

    def options(self, service, **more):
        """The answer to OPTIONS."""
        return self.ask("OPTIONS", service, http=[], encapsulated="", **more)

    def ask(self, method, service, body=None, **more):
        """One transaction on a connection of its own."""
        with self.connect() as c:
            return c.ask(method, self.url(service), body, **more)


def run_command(build, *arguments, seconds=60, **more):
    return subprocess.run([str(binary(build)), *map(str, arguments)], capture_output=True, text=True,
                          timeout=seconds, check=False, **more)
