#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares Sallyport with c-icap and with a floor server, on this machine, in the same minutes.

    bench.py icap --build DIR [--json] [-f REGEX] [--all] [--rounds 5] [--seconds 2]
                  [--only floor,cicap,sallyport]

Needs root: everything runs in a network namespace of its own, which is removed at the end. The
server under load is pinned to one core, the load generator to another, and a run is thrown away and
repeated when something else on the machine used more than a tenth of a core. Absolute figures move
with the machine: believe the ratios.
"""
import argparse
import dataclasses
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")
SERVER_CORE, LOAD_CORE = 0, 1
PLAIN_PORT, TLS_PORT = 1344, 11344
CONGESTION = "cubic"


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    load: tuple           # options for icapload
    connections: int = 16
    tls: bool = False
    core: bool = False    # measured without --all and -f
    floor: str = "floor"  # which floor server is the measure: floor, batched or alternate


def row(name, *load, **more):
    return Row(name, load, **more)


RESPMOD = ("-m", "RESPMOD", "-s")
PREVIEW = ("-v", "1024", "--allow-204")
ICAP_ROWS = [
    row("options", core=True),
    row("reqmod-get", "-m", "REQMOD", core=True),
    row("respmod-1k", *RESPMOD, "1024", core=True),
    row("respmod-16k", *RESPMOD, "16384", core=True),
    row("tls-respmod-1k", *RESPMOD, "1024", tls=True, core=True),
    row("respmod-1k-1000", *RESPMOD, "1024", connections=1000),
    row("respmod-256k", *RESPMOD, "262144"),
    row("respmod-4m", *RESPMOD, "4194304"),
    row("preview-fits", *RESPMOD, "1000", *PREVIEW),
    row("preview-16k", *RESPMOD, "16384", *PREVIEW, floor="alternate"),
    row("allow-204-16k", *RESPMOD, "16384", "--allow-204"),
    row("close-options", "--close"),
    row("close-respmod-1k", *RESPMOD, "1024", "--close"),
    row("tls-options", tls=True),
    row("tls-respmod-16k", *RESPMOD, "16384", tls=True, floor="batched"),
    row("tls-respmod-256k", *RESPMOD, "262144", tls=True, floor="batched"),
    row("tls-respmod-4m", *RESPMOD, "4194304", tls=True, floor="batched"),
    row("tls-handshake", "--close", tls=True),
    row("tls-resumed", "--close", "--resume", tls=True),
]


class BenchError(Exception):
    """Something that makes the comparison impossible, for a person to read."""


# --- the machine -------------------------------------------------------------------------------


def tool(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Namespace:
    """A network namespace with nothing but loopback, and a congestion control that does not pace.

    bbr, the default of some machines, halves bulk rates on loopback. A kernel may refuse the sysctl
    for an algorithm that is loaded but not on the list of allowed ones; a route may still name it.
    """

    def __init__(self):
        self.name = f"sallyport-bench-{os.getpid()}"
        self.prefix = ("ip", "netns", "exec", self.name)

    def __enter__(self):
        tool("ip", "netns", "add", self.name)
        try:
            self.run("ip", "link", "set", "lo", "up")
            self.congestion_set()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # what is still in here was started by this program, and lost its parent
        left = subprocess.run(("ip", "netns", "pids", self.name), capture_output=True, text=True)
        for pid in left.stdout.split():
            kill(int(pid))
        subprocess.run(("ip", "netns", "del", self.name), check=False)

    def run(self, *command):
        return tool(*self.prefix, *command)

    def congestion_set(self):
        try:
            self.run("sysctl", "-q", "-w", f"net.ipv4.tcp_congestion_control={CONGESTION}")
            return
        except BenchError:
            pass
        for net in ("127.0.0.1/32", "127.0.0.0/8"):
            self.run("ip", "route", "replace", "local", net, "dev", "lo", "table", "local",
                     "proto", "kernel", "scope", "host", "src", "127.0.0.1",
                     "congctl", CONGESTION)

    def congestion(self):
        """What a connection here really uses."""
        probe = ("import socket; s = socket.create_server(('127.0.0.1', 0));"
                 "c = socket.create_connection(s.getsockname());"
                 "print(c.getsockopt(6, 13, 16).rstrip(b'\\0').decode())")
        return self.run(sys.executable, "-c", probe).strip()


def stat_fields(pid):
    """/proc/PID/stat from the state on; the name before it may hold anything."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2:].split()


def tree(pid):
    """|pid| and its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                children.setdefault(int(stat_fields(entry)[1]), []).append(int(entry))
            except (FileNotFoundError, ProcessLookupError):
                pass
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def started(pid):
    """When |pid| began, which tells it from a later process of the same number; None: gone."""
    try:
        return stat_fields(pid)[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def tree_cpu(pid):
    """CPU seconds of the tree, children that are gone included."""
    ticks = 0
    for p in tree(pid):
        try:
            ticks += sum(int(v) for v in stat_fields(p)[11:15])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return ticks / TICKS


def machine_cpu():
    """CPU seconds that the machine was busy, time stolen by its host included."""
    line = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(v) for v in line[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


# --- the servers -------------------------------------------------------------------------------


class Server:
    """A server under test. A subclass says how it is started, and where it listens."""

    name = title = ""
    fill = False  # only answers with canned bytes

    def __init__(self, bench):
        self.bench = bench
        self.process = None
        self.dir = bench.dir / self.name
        self.dir.mkdir()
        self.log = self.dir / "log"

    def command(self):
        raise NotImplementedError

    def address(self, tls):
        return f"127.0.0.1:{TLS_PORT if tls else PLAIN_PORT}"

    def start(self):
        command = [str(a) for a in self.command()]
        if not os.access(command[0], os.X_OK):
            raise BenchError(f"{self.title}: {command[0]} is not there; --only leaves it out")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                (*self.bench.namespace.prefix, "taskset", "-c", str(SERVER_CORE), *command),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.dir)
        self.wait()

    def wait(self):
        """Until it answers; asked, not slept for."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if all(self.answers(tls) for tls in (False, True)):
                return
            time.sleep(0.05)
        raise BenchError(f"{self.title} does not answer:\n{self.log.read_text()[-2000:]}")

    def answers(self, tls):
        try:
            address = self.address(tls)
        except LookupError:
            return False
        command = self.bench.load_command(address, tls, ("-r", "1", "-n", "1", "--timeout", "1"))
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def cpu(self):
        return tree_cpu(self.process.pid)

    def stop(self):
        if not self.process:
            return
        family = {pid: started(pid) for pid in tree(self.process.pid)}
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        for pid, start in family.items():  # what did not listen to its parent
            if start is not None and started(pid) == start:
                kill(pid)


class Floor(Server):
    """The least work that moves the same bytes; its ports are the kernel's choice."""

    name = title = "floor"
    fill = True
    options = ()
    program = None  # another floor server to compare with

    def command(self):
        return (self.program or self.bench.tool("icapfloor"), "-p", "0", "-P", "0",
                "-c", self.bench.certificate, "-k", self.bench.key, *self.options)

    def address(self, tls):
        for line in self.log.read_text().splitlines():
            kind, _, address = line.partition(" ")
            if kind == ("tls" if tls else "plain"):
                return address
        raise LookupError("no port yet")


class FloorBatched(Floor):
    name, title, options = "batched", "floor, batched records", ("-B",)


class FloorAlternate(Floor):
    name, title, options = "alternate", "floor, every other preview 204", ("-a",)


class CIcap(Server):
    """c-icap at its best: one process, a thread for each connection, no limits, no access log."""

    name, title = "cicap", "c-icap"
    config = """\
PidFile {dir}/c-icap.pid
CommandsSocket {dir}/c-icap.ctl
Timeout 300
MaxKeepAliveRequests -1
KeepAliveTimeout 600
StartServers 1
MaxServers 1
MinSpareThreads 1
MaxSpareThreads 1100
ThreadsPerChild 1100
MaxRequestsPerChild 0
Port 127.0.0.1:{plain}
TlsPort 127.0.0.1:{tls} cert={certificate} key={key}
TmpDir {dir}
DebugLevel 0
Pipelining on
SupportBuggyClients off
ModulesDir /usr/lib/x86_64-linux-gnu/c_icap
ServicesDir /usr/lib/x86_64-linux-gnu/c_icap
LoadMagicFile /etc/c-icap/c-icap.magic
ServerLog {dir}/server.log
Service echo srv_echo.so
"""

    def command(self):
        conf = self.dir / "c-icap.conf"
        conf.write_text(self.config.format(
            dir=self.dir, plain=PLAIN_PORT, tls=TLS_PORT,
            certificate=self.bench.certificate, key=self.bench.key))
        return ("/usr/bin/c-icap", "-N", "-f", conf)


class Sallyport(Server):
    name, title = "sallyport", "Sallyport"
    plain_port, tls_port = PLAIN_PORT + 1, TLS_PORT + 1
    config = """\
state: {dir}/state
threads: 1
sandbox: best-effort
listeners:
  - {{name: plain, address: "127.0.0.1:{plain}", protocol: icap}}
  - {{name: tls, address: "127.0.0.1:{tls}", protocol: icap, tls: bench}}
tls:
  - {{name: bench, certificate: {certificate}, key: {key}}}
services:
  - {{name: echo, type: echo, path: /echo}}
"""

    def command(self):
        conf = self.dir / "sallyport.yaml"
        (self.dir / "state").mkdir(exist_ok=True)
        conf.write_text(self.config.format(
            dir=self.dir, plain=self.plain_port, tls=self.tls_port,
            certificate=self.bench.certificate, key=self.bench.key))
        return (self.bench.build / "sallyport", "serve", "-c", conf)

    def address(self, tls):
        return f"127.0.0.1:{self.tls_port if tls else self.plain_port}"


# --- measuring ---------------------------------------------------------------------------------


@dataclasses.dataclass
class Sample:
    """One run against one server."""
    rate: float
    us: float        # server CPU per request
    load_busy: float  # the load generator's share of its core
    other: float     # cores that something else used
    report: dict


class Series:
    """All runs of one row against one server."""

    def __init__(self):
        self.samples, self.thrown, self.noisy, self.faults = [], 0, 0, {}

    def add(self, sample, noisy):
        self.samples.append(sample)
        self.noisy += noisy
        for name, n in sample.report["errors"].items():
            if name != "starved":
                self.faults[name] = self.faults.get(name, 0) + n

    def median(self, value):
        return statistics.median(value(s) for s in self.samples)

    def rate(self):
        return self.median(lambda s: s.rate)

    def us(self):
        return self.median(lambda s: s.us)

    def starved(self):
        return max(s.report["starved"] for s in self.samples)

    def summary(self):
        rates = [s.rate for s in self.samples]
        us = [s.us for s in self.samples]
        status = self.samples[-1].report["status"]
        return {
            "rate": round(self.rate(), 1), "min": round(min(rates), 1), "max": round(max(rates), 1),
            "us": round(self.us(), 2), "us_min": round(min(us), 2), "us_max": round(max(us), 2),
            "p50_us": self.median(lambda s: s.report["latency_us"]["p50"]),
            "p99_us": self.median(lambda s: s.report["latency_us"]["p99"]),
            "mb_per_s": round(self.median(lambda s: s.report["body_bytes_per_s"]) / 1e6, 1),
            "load_busy": round(self.median(lambda s: s.load_busy), 2),
            "starved": self.starved(), "status": status, "errors": self.faults,
            "runs": len(self.samples), "thrown": self.thrown, "noisy": self.noisy,
        }


class Bench:
    """Certificates, scratch folder, namespace and servers of one comparison."""

    def __init__(self, args, namespace, directory):
        self.args, self.namespace, self.dir = args, namespace, directory
        self.build = pathlib.Path(args.build).resolve()
        self.certificate, self.key = directory / "cert.pem", directory / "key.pem"
        self.servers = []
        tool("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-subj", "/CN=localhost", "-days", "2",
             "-keyout", str(self.key), "-out", str(self.certificate))

    def tool(self, name):
        return self.build / "tests" / "bench" / name

    def start(self, kinds):
        for kind in kinds:
            server = kind(self)
            self.servers.append(server)
            server.start()

    def stop(self):
        for server in self.servers:
            server.stop()

    def load_command(self, address, tls, options):
        return [*self.namespace.prefix, "taskset", "-c", str(LOAD_CORE),
                str(self.tool("icapload")), "--json", *options,
                *(("--tls",) if tls else ()), address]

    def own_cpu(self):
        """Of all that this program started and is not the load generator."""
        return time.process_time() + sum(s.cpu() for s in self.servers if s.alive())

    def run(self, row, server):
        options = ["-d", str(self.args.seconds), "-w", "0.3", "-n", str(row.connections),
                   *row.load, *(("--fill",) if server.fill else ())]
        command = self.load_command(server.address(row.tls), row.tls, options)
        machine, own, used = machine_cpu(), self.own_cpu(), server.cpu()
        start = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True,
                              timeout=self.args.seconds + 60)
        seconds = time.monotonic() - start
        if not server.alive():
            raise BenchError(f"{server.title} ended during {row.name}:\n"
                             f"{server.log.read_text()[-2000:]}")
        used = server.cpu() - used
        if done.returncode not in (0, 1):
            raise BenchError(f"icapload: {done.stderr.strip()}")
        report = json.loads(done.stdout)
        own = self.own_cpu() - own + report["cpu_seconds"]
        return Sample(
            rate=report["requests_per_s"], us=used * 1e6 / max(report["requests_total"], 1),
            load_busy=report["cpu_seconds"] / seconds,
            other=(machine_cpu() - machine - own) / seconds, report=report)

    def quiet_run(self, row, server, series):
        """Repeats a disturbed run, a bounded number of times; then the least disturbed has to do."""
        best = None
        for _ in range(self.args.retries + 1):
            sample = self.run(row, server)
            if best is None or sample.other < best.other:
                best = sample
            if best.other <= self.args.noise:
                break
            series.thrown += 1
        series.add(best, best.other > self.args.noise)

    def measure(self, row):
        """One series for each server that has something to say about |row|, in turn."""
        servers = [s for s in self.servers if not isinstance(s, Floor) or s.name == row.floor]
        series = {s.name: Series() for s in servers}
        for _ in range(self.args.rounds):
            for server in servers:
                self.quiet_run(row, server, series[server.name])
        return series


# --- the report --------------------------------------------------------------------------------


def ratio(a, b):
    return round(a.rate() / b.rate(), 3) if a and b and b.rate() > 0 else None


def row_json(row, series):
    ours, peer, floor = (series.get(n) for n in ("sallyport", "cicap", row.floor))
    rates = [round(s.rate(), 1) if s else None for s in (ours, peer, floor)]
    return {"row": f"icap/{row.name}", "ours": rates[0], "peer": rates[1], "floor": rates[2],
            "unit": "requests/s", "ratio": ratio(ours, peer), "floor_ratio": ratio(ours, floor),
            "detail": {name: s.summary() for name, s in series.items()}}


def cell(name, s):
    d = s.summary()
    text = (f"  {name:<10}{d['rate']:>10,.0f}/s [{d['min']:,.0f}..{d['max']:,.0f}]"
            f"  {d['us']:>8.1f} us/rq [{d['us_min']:.1f}..{d['us_max']:.1f}]"
            f"  p50 {d['p50_us']:.0f} p99 {d['p99_us']:.0f} us  load {d['load_busy']:.0%}")
    if d["starved"]:
        text += f"  STARVED {d['starved']}"
    if d["status"]["100"] or d["status"]["204"]:
        text += f"  (100: {d['status']['100']}, 200: {d['status']['200']}, 204: {d['status']['204']})"
    if d["thrown"]:
        text += f"  {d['thrown']} thrown away"
    if d["noisy"]:
        text += f"  {d['noisy']} NOISY"
    for fault, n in d["errors"].items():
        text += f"  FAULT {fault}: {n}"
    return text


def row_text(row, series):
    lines = [f"icap/{row.name}"]
    lines += [cell(name, s) for name, s in series.items()]
    ours, peer, floor = (series.get(n) for n in ("sallyport", "cicap", row.floor))
    for a, b, words in ((ours, peer, "ours / c-icap"), (ours, floor, "ours / floor"),
                        (peer, floor, "c-icap / floor")):
        if a and b and b.rate() > 0 and b.us() > 0:
            lines.append(f"  {words}: {a.rate() / b.rate():.2f} x requests/s, "
                         f"{a.us() / b.us():.2f} x CPU")
    return "\n".join(lines)


def rows_chosen(args):
    if args.filter:
        return [r for r in ICAP_ROWS if re.search(args.filter, f"icap/{r.name}")]
    return [r for r in ICAP_ROWS if r.core or args.all]


def kinds_chosen(args, rows):
    only = args.only.split(",")
    kinds = {"sallyport": [Sallyport], "cicap": [CIcap],
             "floor": [k for k in (Floor, FloorBatched, FloorAlternate)
                       if any(r.floor == k.name for r in rows)]}
    unknown = [name for name in only if name not in kinds]
    if unknown:
        raise BenchError(f"--only takes {', '.join(kinds)}, got '{unknown[0]}'")
    return [kind for name in only for kind in kinds[name]]


def compare(args, namespace, directory):
    rows = rows_chosen(args)
    if not rows:
        raise BenchError(f"no row matches '{args.filter}'")
    bench = Bench(args, namespace, directory)
    faults = 0
    try:
        bench.start(kinds_chosen(args, rows))
        if not args.json:
            print(f"{args.rounds} rounds of {args.seconds} s, medians [min..max], congestion "
                  f"control {namespace.congestion()}, server on core {SERVER_CORE}, "
                  f"load on core {LOAD_CORE}")
        for row in rows:
            series = bench.measure(row)
            print(json.dumps(row_json(row, series)) if args.json else row_text(row, series),
                  flush=True)
            faults += sum(bool(s.faults) for n, s in series.items() if n != "cicap")
            faults += bool("sallyport" in series and series["sallyport"].starved())
    finally:
        bench.stop()
    return 1 if faults else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("suite", choices=["icap"])
    parser.add_argument("--build", required=True, help="build folder with sallyport and tests/bench")
    parser.add_argument("--json", action="store_true", help="one object for each row")
    parser.add_argument("-f", "--filter", help="rows whose name matches, of all rows")
    parser.add_argument("--all", action="store_true", help="all rows, not only the first five")
    parser.add_argument("--only", default="floor,cicap,sallyport", help="servers to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--noise", type=float, default=0.10,
                        help="cores that others may use during a run")
    parser.add_argument("--retries", type=int, default=4, help="for a disturbed run")
    return parser.parse_args()


def main():
    args = arguments()
    if os.geteuid() != 0:
        print("bench.py: a network namespace needs root", file=sys.stderr)
        return 2
    if (os.cpu_count() or 1) < 2:
        print("bench.py: needs two cores, one for the load", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the clean-up runs
    try:
        with Namespace() as namespace, \
                tempfile.TemporaryDirectory(prefix="sallyport-bench-") as directory:
            return compare(args, namespace, pathlib.Path(directory))
    except BenchError as error:
        print(f"bench.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
