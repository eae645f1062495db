# SPDX-License-Identifier: Apache-2.0
"""Tenants: what a login costs, and what tenants notice of each other and of those who have none."""
import base64
import contextlib
import dataclasses
import json
import math
import os
import statistics
import subprocess
import time
from collections.abc import Callable

from bench_abuse import urgent
from bench_inspect import PATIENT, RESPMOD, InspectRow, with_priority
from bench_machine import BenchError
from bench_report import AtMost, Target
from bench_tenant_servers import (KEY_ROUNDS, VERIFIER_ROUNDS, Patient, QuotaRequests, QuotaScans, Tenants,
                                  Throttling)

ROUNDS = 3              # of the suite: all of it in about two minutes
CONNECTIONS = 16
RATE = 50               # requests a second of each polite connection
STORM = 1000            # connections at the same time that try passwords
FLOOD = 500             # connections of the greedy tenant
BEGIN_S = 1             # until storm or flood is under way
CROWD = 200             # connections whose first requests come together
FIRST_LOGINS = 20       # users in all rounds together
GUESSES = 60            # of each kind in all rounds together
SIGNIFICANT = 0.01
VERIFIERS = 'sallyport_login_derivations_total{of="verifier"}'
KEYS = 'sallyport_login_derivations_total{of="session-key"}'
HEADING = ("gateway and derivations on core 0, load on core 1, workers on both; polite clients before "
           "everything else on their core")


def field(login):
    return ("--field", "Authorization: Basic " + base64.b64encode(":".join(login).encode()).decode())


def echo(size=1024, path="/echo"):
    return (*RESPMOD, str(size), "-p", path)


def eager(command):
    """Before the machine's other work, behind what is urgent()."""
    return with_priority(command, "nice", "-n", "-20")


def modest(command):
    """Behind the workers: it stands for machines elsewhere, which take no core from them."""
    return with_priority(command, "nice", "-n", "19")


class TenantRow(InspectRow):
    """One gateway; |fresh|: a new one for each round, since it keeps failures and sessions in mind."""

    suite, core, fresh = "tenants", True, False

    @property
    def servers(self):
        return () if self.fresh else (self.server,)

    def round(self, run):
        with contextlib.ExitStack() as stack:
            server = (stack.enter_context(run.bench.fresh(self.server)) if self.fresh
                      else run.bench.server(self.server))
            self.once(run, server)
            if not server.alive():
                raise BenchError(f"{server.title} ended:\n{server.log.read_text()[-2000:]}")

    @staticmethod
    def share(run, n):
        """Of |n| in all rounds together; fewer when all runs are to be short."""
        args = run.bench.args
        return max(2, math.ceil(n / args.rounds * min(1, args.seconds)))


@dataclasses.dataclass(frozen=True)
class LookupRow(TenantRow):
    """The same requests with a password in each, and on a listener where nobody logs in."""

    name: str
    load: tuple
    server: type = Tenants

    @staticmethod
    def chosen(f):
        return {"ours": f.figure("login_rate"), "floor": f.figure("plain_rate"),
                "us": {"ours": f.figure("login_us"), "floor": f.figure("plain_us")}}

    def once(self, run, server):
        server.log_in("a")
        plain = self.sample(run, server, "plain", server.address(True), ())
        login = self.sample(run, server, "login", server.login_address(), field(server.users["a"]))
        run.figures.add(plain_rate=plain.rate, login_rate=login.rate, plain_us=plain.us["gateway"],
                        login_us=login.us["gateway"], above_us=login.us["gateway"] - plain.us["gateway"])

    def sample(self, run, server, who, address, more):
        options = ("-d", str(run.bench.args.seconds), "-w", "0.5", "-n", str(CONNECTIONS), *self.load, *more)
        command = run.bench.load_command(address, True, options)
        return run.measured(who, command, server.watched(), [server])

    def text(self, f):
        yield f"no login     {f.text('plain_rate')}/s  gateway {f.text('plain_us', 1)} us/rq"
        yield f"login        {f.text('login_rate')}/s  gateway {f.text('login_us', 1)} us/rq"
        yield f"a login in each request: {f.text('above_us', 1)} us of CPU"


class Beside(TenantRow):
    """Polite clients of a tenant, in calm and beside somebody else."""

    unit, fresh, tenant = "us p99", True, "b"
    target = AtMost(2, of="calm")
    path = "/echo"

    @staticmethod
    def chosen(f):
        return {"ours": f.figure("beside_p99"), "floor": f.figure("calm_p99")}

    def once(self, run, server):
        server.log_in("a")  # its derivations are first-login's
        server.log_in("b")
        calm = self.polite(run, server, "calm")
        with self.somebody(run, server):
            beside = self.polite(run, server, "beside")
        for name, sample in (("calm", calm), ("beside", beside)):
            latency = sample.report["latency_us"]
            run.figures.add(**{f"{name}_rate": sample.rate, f"{name}_p50": latency["p50"],
                               f"{name}_p99": latency["p99"], f"{name}_max": latency["max"],
                               f"{name}_cores": sample.cores["gateway"]})

    def polite(self, run, server, who):
        """Not repeated: two generators are no noise."""
        options = ("-d", str(run.bench.args.seconds), "-w", "0.5", "-n", str(CONNECTIONS), "--rate", str(RATE),
                   *echo(path=self.path), "--unique", *PATIENT, *field(server.users[self.tenant]))
        command = urgent(run.bench.load_command(server.login_address(), True, options))
        sample = run.bench.run([command], server.watched(), [server])
        run.figures.note(who, sample.report)
        return sample

    def text(self, f):
        for name in ("calm", "beside"):
            yield (f"{name:<12} {f.text(f'{name}_rate')}/s  p50 {f.text(f'{name}_p50')} "
                   f"p99 {f.text(f'{name}_p99')} max {f.text(f'{name}_max')} us  gateway "
                   f"{f.text(f'{name}_cores', 2)} cores")
        yield from self.other_text(f)


@dataclasses.dataclass(frozen=True)
class StormRow(Beside):
    """Somebody who tries passwords, every other one for the user of the polite clients."""

    name: str
    server: type
    core: bool = True
    tenant = "a"

    @contextlib.contextmanager
    def somebody(self, run, server):
        before, start = server.metrics(), time.monotonic()
        command = eager(server.client("storm", server.login_address(), "--from", "127.0.9.1", "-n", str(STORM),
                                      "--user", server.users[self.tenant][0]))
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              start_new_session=True) as storm:
            time.sleep(BEGIN_S)
            yield
            said = json.loads(storm.communicate(timeout=60)[0])
        after = server.metrics()

        def counted(name):
            return after[name] - before[name]
        answers = {k: v for k, v in said["answers"].items() if k in ("407", "503")}
        run.figures.add(sent=said["sent"], sent_rate=said["sent"] / said["seconds"],
                        derived=counted(VERIFIERS), refused=counted("sallyport_login_refused_total"),
                        throttled=counted("sallyport_login_throttled_total"),
                        derived_rate=counted(VERIFIERS) / (time.monotonic() - start),
                        said_407=answers.get("407", 0), said_503=answers.get("503", 0))
        for what in said["answers"].keys() - {"407", "503"}:
            key = f"storm: {what}"  # neither refusal: a login with a wrong password, or none at all
            run.figures.faults[key] = run.figures.faults.get(key, 0) + said["answers"][what]

    @staticmethod
    def other_text(f):
        yield (f"wrong        {f.text('sent')} passwords, {f.text('sent_rate')}/s: derived "
               f"{f.text('derived')} ({f.text('derived_rate', 1)}/s), throttled {f.text('throttled')}; "
               f"answers 407: {f.text('said_407')}, 503: {f.text('said_503')}")


@dataclasses.dataclass(frozen=True)
class QuotaRow(Beside):
    """Tenant a, far above its quota."""

    name: str
    server: type
    path: str
    priority: Callable = eager
    core: bool = True

    @contextlib.contextmanager
    def somebody(self, run, server):
        before = server.metrics()
        command = self.priority(run.bench.load_command(server.login_address(), True, (
            *echo(path=self.path), "--unique", *PATIENT, *field(server.users["a"]), "--field-once",
            "--blocked", "overload", "--refused", "-n", str(FLOOD), "--from", "127.0.0.3", "--max-errors", str(1 << 30),
            "-d", str(run.bench.args.seconds + BEGIN_S + 2), "--drain", "1")))
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                              start_new_session=True) as flood:
            time.sleep(BEGIN_S)
            yield
            report = json.loads(flood.communicate(timeout=90)[0])
        over = over_quota(server.metrics()) - over_quota(before)
        run.figures.add(flood_rate=report["requests_per_s"] - report["blocked"] / max(report["seconds"], 1e-9),
                        flood_blocked=report["blocked"], flood_p50=report["latency_us"]["p50"],
                        flood_over=over)

    @staticmethod
    def other_text(f):
        yield (f"flood of a   {f.text('flood_rate')}/s served, p50 {f.text('flood_p50')} us; overload or "
               f"503 {f.text('flood_blocked')}; over quota {f.text('flood_over')}")


def over_quota(metrics):
    """Of tenant a, of all kinds."""
    return sum(v for name, v in metrics.items()
               if name.startswith("sallyport_tenant_over_quota_total") and 'tenant="a"' in name)


@dataclasses.dataclass(frozen=True)
class FirstLoginRow(TenantRow):
    """Users whom the gateway has not seen yet: one at a time, and one on many connections at once."""

    name: str
    server: type = Tenants
    unit = "ms"

    @staticmethod
    def chosen(f):
        """Both derivations alone, elsewhere, are the least that a first login takes."""
        return {"ours": f.figure("first_ms"), "floor": f.figure("alone_ms")}

    def once(self, run, server):
        alone = server.ask("derive", str(VERIFIER_ROUNDS), str(KEY_ROUNDS))["ms"]
        users = [server.add_user("b") for _ in range(self.share(run, FIRST_LOGINS))]
        first, n_first = self.counted(run, server, "each", users)
        crowd, n_crowd = self.counted(run, server, "crowd", [server.add_user("b")], "-n", str(CROWD))
        run.figures.add(alone_ms=statistics.median(alone), first_ms=statistics.median(first),
                        first_max=max(first), crowd_p50=statistics.median(crowd), crowd_last=max(crowd),
                        first_derivations=n_first / len(users), crowd_derivations=n_crowd)

    @staticmethod
    def counted(run, server, mode, logins, *more):
        """Milliseconds of each answer, and how many derivations all of them took."""
        def derivations():
            now = server.metrics()
            return now[VERIFIERS] + now[KEYS]
        before = derivations()
        said = server.ask(mode, server.login_address(), *more, logins=logins)
        wrong = sum(s != 200 for s in said["status"])
        if wrong:
            run.figures.faults[f"{mode}: not 200"] = run.figures.faults.get(f"{mode}: not 200", 0) + wrong
        return said["ms"], derivations() - before

    def text(self, f):
        yield f"both derivations alone, on core 1: {f.text('alone_ms', 1)} ms"
        yield (f"first login  {f.text('first_ms', 1)} ms, slowest {f.text('first_max', 1)} ms, "
               f"{f.text('first_derivations', 1)} derivations each")
        yield (f"{CROWD} at once  p50 {f.text('crowd_p50', 1)} ms, last {f.text('crowd_last', 1)} ms, "
               f"{f.text('crowd_derivations')} derivations in all")


# --- is it told who exists? --------------------------------------------------------------------


def quartile_range(values):
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return high - low


def rank_sum(a, b):
    """Mann-Whitney: the share of pairs of which a's is larger (ties half), and how probable a share
    as far from a half is when both come from the same (normal approximation, without ties)."""
    larger = sum((x > y) + 0.5 * (x == y) for x in a for y in b)
    pairs = len(a) * len(b)
    z = (larger - pairs / 2) / math.sqrt(pairs * (len(a) + len(b) + 1) / 12)
    return larger / pairs, math.erfc(abs(z) / math.sqrt(2))


class WithinNoise(Target):
    text = "medians differ by less than the interquartile range"

    def met(self, outcome):
        if "difference" not in outcome.facts:
            return None
        return abs(outcome.facts["difference"]) < outcome.facts["noise"]


@dataclasses.dataclass(frozen=True)
class TimingRow(TenantRow):
    """Wrong passwords of a user, and of nobody, in turn; all of them new, so that each is derived."""

    name: str
    server: type = Patient
    unit, target = "ms", WithinNoise()

    def once(self, run, server):
        user, n, mark = server.users["a"][0], self.share(run, GUESSES), os.urandom(6).hex()
        guesses = [(who, f"guess {mark} {i}") for i in range(n) for who in (user, f"nobody-{mark}-{i}")]
        before = server.metrics()[VERIFIERS]
        said = server.ask("each", server.login_address(), logins=guesses)
        derived = server.metrics()[VERIFIERS] - before
        if derived != len(guesses) or set(said["status"]) != {407}:
            run.figures.faults["guess: not derived and refused"] = abs(len(guesses) - int(derived)) or sum(
                s != 407 for s in said["status"])
        for wrong, unknown in zip(said["ms"][::2], said["ms"][1::2]):
            run.figures.add(wrong_ms=wrong, unknown_ms=unknown)

    @staticmethod
    def statistic(f):
        wrong, unknown = f.values["wrong_ms"], f.values["unknown_ms"]
        larger, p = rank_sum(wrong, unknown)
        return {"difference": statistics.median(wrong) - statistics.median(unknown),
                "noise": min(quartile_range(wrong), quartile_range(unknown)), "larger": larger, "p": p}

    def chosen(self, f):
        return {"ours": f.figure("wrong_ms"), "floor": f.figure("unknown_ms"), "facts": self.statistic(f)}

    def outcome(self, figures):
        outcome = super().outcome(figures)
        outcome.detail["statistic"] = {k: round(v, 4) for k, v in outcome.facts.items()}
        return outcome

    def text(self, f):
        s = self.statistic(f)
        n = len(f.values["wrong_ms"])
        yield f"wrong password, {n} times  {f.text('wrong_ms', 2)} ms"
        yield f"unknown user, {n} times    {f.text('unknown_ms', 2)} ms"
        yield (f"medians differ by {s['difference']:.3f} ms, the interquartile range is {s['noise']:.3f} ms; "
               f"the wrong password took longer in {s['larger']:.0%} of pairs, p = {s['p']:.2f}"
               + (" DISTINGUISHABLE" if s["p"] < SIGNIFICANT else ""))


ROWS = [
    LookupRow("options", ()),
    LookupRow("respmod-1k", echo()),
    StormRow("login-storm", Throttling),
    StormRow("login-storm-derived", Patient, core=False),
    QuotaRow("quota-requests", QuotaRequests, "/echo"),
    QuotaRow("quota-scans", QuotaScans, "/yara", modest),
    FirstLoginRow("first-login"),
    TimingRow("timing"),
]
