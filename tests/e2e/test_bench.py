# SPDX-License-Identifier: Apache-2.0
"""The bench itself: what it makes of figures, which rows it has with which targets, and that a run from
end to end says what a machine or a document wants. Not how fast anything is."""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = ROOT / "tests" / "bench"
sys.path.insert(0, str(BENCH))

import bench_icap  # noqa: E402
import bench_inspect  # noqa: E402
import bench_load  # noqa: E402
import bench_machine  # noqa: E402
import bench_print  # noqa: E402
import bench_report  # noqa: E402
import bench_runs  # noqa: E402
import bench_suite  # noqa: E402
import bench_tenants  # noqa: E402
from bench_report import Above, All, AtLeast, AtMost, Below, Figure, NoneStarved, NotAbove, Outcome, Tail  # noqa: E402
from testenv.peers import need  # noqa: E402

BUILD = pathlib.Path(os.environ.get("SALLYPORT_BUILD") or ROOT / "build" / "release")
KEYS = ["row", "ours", "peer", "floor", "unit", "ratio", "floor_ratio"]  # of every bench, in this order


def figure(value):
    return Figure(value, value / 2, value * 2)


def outcome(ours=80, peer=40, floor=100, **more):
    figures = {k: figure(v) if v is not None else None for k, v in (("ours", ours), ("peer", peer), ("floor", floor))}
    return Outcome(row="icap/x", unit="requests/s", **figures, **more)


class TestFigures:
    def test_median_and_range(self):
        assert Figure.of([5, 1, 3]) == Figure(3, 1, 5)
        assert Figure.of([4.0]) == Figure(4.0, 4.0, 4.0)

    @pytest.mark.parametrize("value, text", [(123456.7, "123,457"), (100, "100"), (99.94, "99.9"), (10, "10.0"),
                                             (1.234, "1.23"), (0, "0.00"), (-0.5, "-0.50")])
    def test_number(self, value, text):
        assert bench_report.number(value) == text

    @pytest.mark.parametrize("a, b, ratio", [(50, 100, 0.5), (None, 100, None), (50, None, None), (50, 0, None)])
    def test_ratio(self, a, b, ratio):
        assert bench_report.ratio(*(None if v is None else figure(v) for v in (a, b))) == ratio


class TestTargets:
    @pytest.mark.parametrize("target, met", [
        (AtLeast(0.80), True), (AtLeast(0.81), False), (AtMost(0.80), True), (AtMost(0.79), False),
        (Below(80, "MiB"), True), (Below(79, "MiB"), False), (Above(-20, "us"), True), (Above(-21, "us"), False)])
    def test_of_figures(self, target, met):
        assert outcome(target=target).met() is met

    @pytest.mark.parametrize("target", [AtLeast(0.1), AtMost(9), Above(9, "us"), All(AtLeast(0.1), NoneStarved())])
    def test_without_a_floor(self, target):
        """--only leaves it out: that is neither met nor missed."""
        assert outcome(floor=None, facts={"starved": 0}, target=target).met() is None

    def test_without_us(self):
        assert outcome(ours=None, target=Below(9, "MiB")).met() is None
        assert outcome(ours=None, target=All(NoneStarved(), Tail(2))).met() is None

    @pytest.mark.parametrize("ours, peer, met", [(40, 40, True), (41, 40, False), (-3, 5, True), (None, 40, None),
                                                 (40, None, None)])
    def test_not_above_the_peer(self, ours, peer, met):
        assert outcome(ours=ours, peer=peer, target=NotAbove("nginx")).met() is met

    def test_no_target(self):
        assert outcome().met() is None

    @pytest.mark.parametrize("facts, met", [
        ({"starved": 0, "p50": 10, "p99": 20}, True), ({"starved": 1, "p50": 10, "p99": 20}, False),
        ({"starved": 0, "p50": 10, "p99": 21}, False), ({"starved": 0, "p50": 0, "p99": 0}, None)])
    def test_all(self, facts, met):
        target = All(AtLeast(0.70), NoneStarved(), Tail(2))
        assert target.text == ">= 0.70 x floor, none starved, p99 <= 2 x p50"
        assert outcome(facts=facts, target=target).met() is met

    @pytest.mark.parametrize("facts, met", [({"resumed": 0.9}, True), ({"resumed": 0.5}, False), ({}, None)])
    def test_resumed(self, facts, met):
        assert outcome(facts=facts, target=bench_report.Resumed()).met() is met

    def test_one_that_is_missed_is_enough(self):
        assert outcome(floor=None, facts={"starved": 3}, target=All(AtLeast(0.1), NoneStarved())).met() is False


class TestReports:
    def test_json(self):
        row = json.loads(bench_report.as_json(outcome(target=AtLeast(0.8), detail={"sallyport": {"us": 5}},
                                                      faults={"cicap: status": 2}, thrown=3, noisy=1)))
        assert list(row) == [*KEYS, "target", "met", "detail"]
        assert [row[k] for k in KEYS] == ["icap/x", 80, 40, 100, "requests/s", 2.0, 0.8]
        assert (row["target"], row["met"]) == (">= 0.80 x floor", True)
        assert row["detail"] == {"range": {"ours": [40, 160], "peer": [20, 80], "floor": [50, 200]},
                                 "sallyport": {"us": 5}, "errors": {"cicap: status": 2}, "thrown": 3, "noisy": 1}

    def test_json_of_what_is_missing(self):
        row = json.loads(bench_report.as_json(outcome(peer=None, floor=None)))
        assert [row[k] for k in KEYS] == ["icap/x", 80, None, None, "requests/s", None, None]
        assert (row["target"], row["met"], list(row["detail"]["range"])) == (None, None, ["ours"])

    def test_text(self):
        text = bench_report.as_text(outcome(
            target=AtLeast(0.9), lines=["floor 1", "ours 2"], us={"ours": figure(10), "floor": figure(5)},
            faults={"sallyport: body-byte": 7}, thrown=2, noisy=1))
        assert text.split("\n") == [
            "icap/x", "  floor 1", "  ours 2", "  ours / c-icap: 2.00 x requests/s",
            "  ours / floor: 0.80 x requests/s, 2.00 x CPU", "  c-icap / floor: 0.40 x requests/s",
            "  target: >= 0.90 x floor: MISSED", "  FAULT sallyport: body-byte: 7",
            "  2 disturbed runs thrown away, 1 kept although NOISY"]

    @pytest.mark.parametrize("floor, word", [(100, "met"), (1000, "MISSED"), (None, "not measured")])
    def test_text_tells_whether_the_target_is_met(self, floor, word):
        assert f"target: >= 0.80 x floor: {word}" in bench_report.as_text(outcome(floor=floor, target=AtLeast(0.8)))

    def test_text_of_a_quiet_row(self):
        assert bench_report.as_text(outcome(peer=None, floor=None)) == "icap/x"

    def test_text_names_the_peer(self):
        text = bench_report.as_text(outcome(peer_title="nginx", target=NotAbove("nginx")))
        assert text.split("\n") == ["icap/x", "  ours / nginx: 2.00 x requests/s", "  ours / floor: 0.80 x requests/s",
                                    "  nginx / floor: 0.40 x requests/s", "  target: <= nginx: MISSED"]

    def test_markdown(self):
        head, rule = bench_report.markdown_head().split("\n")
        assert "| c-icap |" in head and "| nginx |" in bench_report.markdown_head("nginx")
        rows = [bench_report.as_markdown(o) for o in (
            outcome(target=AtLeast(0.8), us={"ours": figure(5.5)}), outcome(ours=None, peer=None, noisy=1),
            outcome(target=AtMost(0.5)))]
        for line in (rule, *rows):  # as many cells as the head
            assert line.count("|") == head.count("|")
        assert rows[0] == ("| `icap/x` | requests/s | 80.0 [40.0..160] (5.50 µs) | 40.0 [20.0..80.0] "
                           "| 100 [50.0..200] | 2.00 | 0.80 | ≥ 0.80 × floor | yes |")
        assert rows[1] == "| `icap/x` (noisy) | requests/s | – | – | 100 [50.0..200] | – | – | – | – |"
        assert rows[2].endswith("| ≤ 0.50 × floor | no |")


class TestMerged:
    """Several load generators at the same time."""

    REPORT = {"requests": 10, "seconds": 2.0, "requests_per_s": 5.0, "body_bytes_per_s": 100, "requests_total": 12,
              "bytes_in": 1, "bytes_out": 2, "connections": 8, "starved": 1, "unfinished": 0, "connects": 8,
              "handshakes": 0, "resumed": 0, "reconnects": 0, "held": 0, "blocked": 0, "cpu_seconds": 1.5,
              "status": {"100": 0, "200": 12}, "errors": {"status": 1}, "details": {"status": "a"},
              "latency_us": {"p50": 10.0, "p90": 20.0, "p99": 30.0, "max": 40.0},
              "blocked_us": {"p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0}}

    def test_one(self):
        assert bench_report.merged([self.REPORT]) is self.REPORT

    def test_two(self):
        other = {**self.REPORT, "requests": 30, "seconds": 2.5, "errors": {"extra-bytes": 2}, "details": {},
                 "latency_us": {"p50": 20.0, "p90": 20.0, "p99": 70.0, "max": 30.0}}
        both = bench_report.merged([self.REPORT, other])
        assert (both["requests"], both["requests_per_s"], both["starved"], both["cpu_seconds"]) == (40, 10, 2, 3)
        assert (both["seconds"], both["connections"], both["status"]) == (2.5, 16, {"100": 0, "200": 24})
        assert both["errors"] == {"status": 1, "extra-bytes": 2}
        assert both["latency_us"] == {"p50": 17.5, "p90": 20.0, "p99": 60.0, "max": 40.0}
        assert set(both) == set(self.REPORT)

    def test_nothing_answered(self):
        idle = {**self.REPORT, "requests": 0}
        assert bench_report.merged([idle, idle])["latency_us"]["p50"] == 0


class TestRows:
    ICAP = {name: row for row in bench_icap.ROWS for name in row.names}
    # docs say these; a row that is renamed or loses its target is missed here
    TARGETS = {
        ">= 0.80 x floor": ["options", "options-128", "reqmod-get", "reqmod-get-128", "allow-204-16k", "tls-options",
                            "tls-respmod-1k", "tls-respmod-16k", "tls-respmod-256k", "tls-respmod-4m"],
        ">= 0.75 x floor": ["respmod-1k", "respmod-16k", "preview-fits", "preview-204", "preview-half", "preview-206"],
        ">= 0.70 x floor, none starved, p99 <= 2 x p50": ["respmod-1k-1000"],
        ">= 0.60 x floor": ["respmod-256k"], ">= 0.70 x floor": ["respmod-4m"],
        "<= 1.25 x floor": ["close-options", "close-respmod-1k"], "<= 1.08 x floor": ["tls-handshake"],
        "<= 1.08 x floor, sessions resumed": ["tls-resumed"],
        "<= 2 KiB": ["idle"], "<= 18 KiB": ["tls-idle"], "<= 8 MiB": ["rest"],
        "<= 16 MiB": ["bulk-64x64m-rss"], "<= 24 MiB": ["tls-bulk-64x64m-rss"],
        "<= clamd alone + 20 us": ["clamd-1k", "clamd-16k", "clamd-256k", "clamd-4m"],
    }

    @pytest.mark.parametrize("suite", bench_suite.SUITES)
    def test_names_are_unique(self, suite):
        names = [name for row in bench_suite.SUITES[suite].ROWS for name in row.names]
        assert len(names) == len(set(names))
        assert len(list(bench_suite.listing(suite))) == len(names)

    @pytest.mark.parametrize("target", TARGETS)
    def test_targets(self, target):
        for name in self.TARGETS[target]:
            assert self.ICAP[name].target.text == target, name

    def test_both_protocols(self):
        """Every load that makes sense in both has both."""
        only_one = {"tls-handshake", "tls-resumed", "close-options", "both-cores-respmod-1k-1000",
                    "tls-both-cores-handshake", "rest"}
        for name, row in self.ICAP.items():
            if name not in only_one and not isinstance(row, bench_inspect.ClamdRow):
                other = name[4:] if name.startswith("tls-") else f"tls-{name}"
                assert other in self.ICAP, name

    def test_connections(self):
        for name in ("options", "reqmod-get", "respmod-1k", "respmod-16k"):
            assert [self.ICAP[name + n].connections for n in ("-1", "", "-128", "-1000")] == [1, 16, 128, 1000]

    def test_large_tls_is_held_against_batched_records(self):
        """Wherever 16 KiB and more come back."""
        for name, row in self.ICAP.items():
            if not isinstance(row, bench_load.LoadRow) or "-s" not in row.load:
                continue
            size = int(row.load[row.load.index("-s") + 1])
            comes_back = size >= 16384 and row.expect is None
            assert dict(row.floor).get("batched", False) == (row.tls and comes_back), name

    def test_floors_do_what_their_rows_ask_for(self):
        floors = {name: row.kinds()["floor"].options for name, row in self.ICAP.items()
                  if isinstance(row, bench_load.LoadRow)}
        assert floors["respmod-1k"] == ()
        assert floors["tls-respmod-16k"] == ("-B",)
        assert floors["preview-half"] == ("-a",) and floors["tls-preview-half"] == ("-B", "-a")
        assert floors["preview-206"] == ("-n", "206") and floors["allow-204-16k"] == ("-n", "204")
        assert floors["both-cores-respmod-1k"] == ("-t", "2")
        assert floors["tls-both-cores-respmod-256k"] == ("-B", "-t", "2")

    def test_expected_statuses_are_those_of_the_floor(self):
        for name, row in self.ICAP.items():
            if isinstance(row, bench_load.LoadRow):
                in_preview = "-v" in row.load and row.expect == 204  # that is what a floor says by itself
                assert in_preview or dict(row.floor).get("answer") == row.expect, name

    def test_who_is_asked_for_what(self):
        """c-icap's echo has its own mind about previews, and the floor has no services."""
        bench, row = argparse.Namespace(args=arguments()), self.ICAP["preview-206"]
        options = {role: list(row.options(bench, kind)) for role, kind in row.kinds().items()}
        for role, wanted, unwanted in (("ours", {"/partial", "--expect"}, {"--fill"}),
                                       ("peer", {"/partial"}, {"--expect", "--fill"}),
                                       ("floor", {"--fill", "--expect"}, {"/partial"}),
                                       ("cicap-default", {"--max-errors", "/partial"}, {"--expect"})):
            assert wanted <= set(options[role]) and not unwanted & set(options[role]), role

    def test_warmup_is_long_enough_for_all_handshakes(self):
        assert self.ICAP["tls-respmod-1k-1000"].warmup() > 3 > 1 > self.ICAP["respmod-1k-1000"].warmup()
        assert self.ICAP["tls-respmod-1k"].warmup() < 0.5

    def test_a_floor_is_started_once(self):
        assert self.ICAP["respmod-1k"].kinds()["floor"] is self.ICAP["options"].kinds()["floor"]

    def test_debians_default_is_beside_the_tuned_one(self):
        kinds = self.ICAP["respmod-1k"].kinds()
        assert {"floor", "peer", "ours", "cicap-default"} == set(kinds)
        assert "MaxKeepAliveRequests 100\n" in kinds["cicap-default"].limits
        assert "MaxKeepAliveRequests -1\n" in kinds["peer"].limits

    def test_records(self):
        kinds = self.ICAP["records-off-respmod-1k"].kinds()
        assert "enabled: false" in kinds["ours"].more
        assert kinds["sallyport"].more == ""
        kinds = self.ICAP["records-sealed-respmod-1k"].kinds()
        assert "chain: true" in kinds["ours"].more and kinds["sallyport"].more == ""


class TestTenants:
    ROWS = {row.name: row for row in bench_tenants.ROWS}

    def test_targets(self):
        texts = {name: row.target.text if row.target else None for name, row in self.ROWS.items()}
        assert texts == {"options": None, "respmod-1k": None, "first-login": None,
                         **dict.fromkeys(("login-storm", "login-storm-derived", "quota-requests", "quota-scans"),
                                         "<= 2.00 x calm"),
                         "timing": "medians differ by less than the interquartile range"}

    @pytest.mark.parametrize("facts, met", [({"difference": -0.9, "noise": 1}, True), ({"difference": 1, "noise": 1}, False),
                                            ({"difference": -2, "noise": 1}, False), ({}, None)])
    def test_within_noise(self, facts, met):
        assert outcome(facts=facts, target=bench_tenants.WithinNoise()).met() is met

    def test_rank_sum(self):
        """Against figures of scipy.stats.mannwhitneyu(method="asymptotic", use_continuity=False)."""
        same = [1.0, 2.0, 3.0, 4.0]
        assert bench_tenants.rank_sum(same, same) == (0.5, 1.0)
        larger, p = bench_tenants.rank_sum([5, 6, 7, 8], same)
        assert (larger, round(p, 4)) == (1.0, 0.0209)
        assert bench_tenants.rank_sum(same, [5, 6, 7, 8]) == (0.0, p)

    def test_quartile_range(self):
        assert bench_tenants.quartile_range([1, 2, 3, 4, 5]) == 2

    @pytest.mark.parametrize("rounds, seconds, share", [(3, 2, 20), (1, 2, 60), (7, 1, 9), (1, 0.2, 12), (60, 0.1, 2)])
    def test_share(self, rounds, seconds, share):
        run = argparse.Namespace(bench=argparse.Namespace(args=arguments(rounds=rounds, seconds=seconds)))
        assert bench_tenants.TenantRow.share(run, 60) == share

    def test_over_quota_of_one_tenant(self):
        name = "sallyport_tenant_over_quota_total"
        assert bench_tenants.over_quota({f'{name}{{tenant="a"}}': 3, f'{name}{{tenant="b"}}': 4, "a": 5}) == 3

    @pytest.mark.parametrize("suite, rounds", [("icap", 5), ("inspect", 5), ("abuse", 5), ("tenants", 3),
                                               ("print", 3)])
    def test_rounds(self, suite, rounds):
        assert bench_suite.rounds_usual(suite) == rounds


class TestPrint:
    ROWS = {row.name: row for row in bench_print.ROWS}

    def test_rows(self):
        assert list(self.ROWS) == ["attributes", "attributes-small", "attributes-tls", "job-1m", "job-1m-tls",
                                   "job-1m-scanned", "close-attributes-tls"]
        assert {name for name, row in self.ROWS.items() if not row.target} == {"job-1m-scanned"}  # which nginx cannot
        assert {row.target.text for row in self.ROWS.values() if row.target} == {"<= nginx"}
        assert {name: row.limit for name, row in self.ROWS.items() if row.limit} == {
            "attributes": 40, "attributes-small": 20, "attributes-tls": 40}

    def test_servers_have_words_for_only(self):
        assert {kind.group for kind in bench_print.ROLES.values()} <= set(bench_suite.GROUPS)

    @pytest.mark.parametrize("added, us, met", [(40, 41, (True, False)), (41, 40, (False, True)),
                                                (None, 9, (None, True))])
    def test_limits(self, added, us, met):
        figures = bench_inspect.Figures()
        figures.add(ours_us=us, **({} if added is None else {"ours_added": added}))
        limits = self.ROWS["attributes"].limits(figures)
        assert (limits["us"], (limits["p50_met"], limits["cpu_met"])) == (40, met)
        assert self.ROWS["job-1m"].limits(figures) == {"us": None, "p50_met": None, "cpu_met": None}

    def test_what_is_added(self):
        """To cupsd's own time of the same round; who comes first changes with each."""
        p50, order = {"cupsd": [100, 200, 300], "nginx": [110, 230, 310], "sallyport": [150, 260, 320]}, []

        class Run:
            figures = bench_inspect.Figures()

            @staticmethod
            def has(_kind):
                return True

        class Row(bench_print.PrintRow):
            def sample(self, run, role, connections):
                name = bench_print.ROLES[role].name
                order.append(name)
                report = {"latency_us": {"p50": p50[name].pop(0), "p99": 1}, "body_bytes_per_s": 0,
                          "requests_per_s": 1}
                return bench_runs.Sample(1, {"server": 7}, {}, 0.5, 0, report)
        row = Row("x", ())
        for _ in range(3):
            row.round(Run)
        assert order == ["cupsd", "nginx", "sallyport", "nginx", "sallyport", "cupsd", "sallyport", "cupsd", "nginx"]
        assert Run.figures.values["ours_added"] == [50, 60, 20] and Run.figures.values["peer_added"] == [10, 30, 10]
        found = row.outcome(Run.figures)
        assert (found.ours.median, found.peer.median, found.floor.median) == (50, 10, 200)
        assert (found.unit, found.met(), found.peer_title) == ("us p50 added", False, "nginx")


def arguments(**more):
    return argparse.Namespace(**{"filter": None, "all": False, "only": ",".join(bench_suite.GROUPS), "rounds": 1,
                                 "seconds": 1.0, "retries": 0, "noise": 0.1, "format": "json", **more})


class TestChoice:
    def test_core(self):
        rows = bench_suite.rows_chosen("icap", arguments())
        assert {r.name for r in rows if isinstance(r, bench_load.LoadRow)} == bench_icap.CORE
        assert all(r.core for r in rows)

    def test_all(self):
        assert bench_suite.rows_chosen("icap", arguments(all=True)) == bench_icap.ROWS

    @pytest.mark.parametrize("regex, names", [
        ("^icap/options$", ["options"]), ("respmod-4m", ["respmod-4m", "tls-respmod-4m"]),
        ("^icap/bulk-64x64m-rss", ["bulk-64x64m"])])
    def test_filter(self, regex, names):
        assert [r.name for r in bench_suite.rows_chosen("icap", arguments(filter=regex))] == names

    def test_filter_without_a_row(self):
        with pytest.raises(bench_machine.BenchError, match="--list"):
            bench_suite.rows_chosen("icap", arguments(filter="nonsense"))

    @pytest.mark.parametrize("wrong, word", [({"only": "floor,cicup"}, "cicup"), ({"filter": "("}, "expression"),
                                             ({"rounds": 0}, "--rounds"), ({"seconds": 0.0}, "--seconds")])
    def test_wrong_arguments(self, wrong, word):
        with pytest.raises(bench_machine.BenchError, match=re.escape(word)):
            bench_suite.check(arguments(**wrong))

    def test_faults_of_a_peer_are_its_own(self):
        assert bench_suite.is_ours("sallyport: body-byte") and bench_suite.is_ours("floor-batched: status")
        assert not bench_suite.is_ours("cicap-default: closed-early") and not bench_suite.is_ours("nginx: status")


class Script:
    """A Bench whose runs have been written down: other cores used, requests a second."""

    def __init__(self, *runs, **more):
        self.args, self.runs = arguments(**more), list(runs)

    def run(self, *_):
        other, rate = self.runs.pop(0)
        return bench_runs.Sample(rate, {}, {}, 0.5, other, {"errors": {}})


class TestDisturbedRuns:
    @pytest.mark.parametrize("runs, rate, thrown, noisy", [
        ([(0.05, 1)], 1, 0, 0), ([(0.5, 1), (0.05, 2)], 2, 1, 0), ([(0.5, 1), (0.2, 2), (0.3, 3)], 2, 2, 1)])
    def test_repeated(self, runs, rate, thrown, noisy):
        disturbed = bench_runs.Disturbed()
        sample = bench_runs.Bench.quiet_run(Script(*runs, retries=2), [], {}, [], disturbed)
        assert (sample.rate, disturbed.thrown, disturbed.noisy) == (rate, thrown, noisy)


class TestMachine:
    def test_cpu_is_finer_than_a_tick(self):
        """Of another process, in less than the 10 ms of /proc/PID/stat."""
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
            try:
                seen = set()
                deadline = time.monotonic() + 10
                while len(seen) < 5 and time.monotonic() < deadline:
                    seen.add(bench_machine.process_cpu(other.pid))
                steps = [b - a for a, b in zip(sorted(seen), sorted(seen)[1:])]
                assert 0 < min(steps) < 0.01
                assert bench_machine.tree_cpu(os.getpid()) > bench_machine.process_cpu(other.pid)
            finally:
                other.kill()
        with pytest.raises(ProcessLookupError):
            bench_machine.process_cpu(other.pid)

    def test_cpu_of_children_that_are_gone(self):
        before = bench_machine.tree_cpu(os.getpid())
        subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.2: pass"], check=True)
        assert bench_machine.tree_cpu(os.getpid()) - before > 0.18

    def test_memory_that_grows(self):
        program = "import sys; input(); x = b'x' * (32 << 20); print('up', flush=True); input()"
        with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as other:
            before = bench_machine.tree_memory(other.pid)
            bench_machine.peaks_reset(other.pid)
            print(file=other.stdin, flush=True)
            assert other.stdout.readline() == "up\n"
            after = bench_machine.tree_memory(other.pid)
            assert 32 << 10 <= after[0].pss - before[0].pss < 40 << 10
            assert bench_machine.footprint(after) - bench_machine.footprint(before) >= 32 << 10
            assert bench_machine.peak_rss(other.pid) >= 32 << 10
            print(file=other.stdin, flush=True)
        assert bench_machine.tree_memory(other.pid) == [] and bench_machine.peak_rss(other.pid) == 0

    def test_footprint(self):
        parts = [bench_machine.Memory("a", 0, 10, 7), bench_machine.Memory("b", 0, 20, 9)]
        assert bench_machine.footprint(parts) == 39
        assert bench_machine.footprint([]) == 0

    def test_field_that_is_missing(self):
        with pytest.raises(bench_machine.BenchError, match="Pss"):
            bench_machine.kib("Rss: 1 kB\n", "Pss")


def figures_of(row, name):
    return row["detail"]["figures"][name]["median"]


def bench(*options, **more):
    return subprocess.run([sys.executable, "-B", BENCH / "bench.py", *options], capture_output=True, text=True,
                          timeout=300, **more)


class TestProgram:
    QUICK = ("--build", BUILD, "--rounds", "1", "--seconds", "0.2", "--retries", "0", "--only", "floor,sallyport")
    needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")

    @pytest.mark.parametrize("suite", bench_suite.SUITES)
    def test_list(self, suite):
        done = bench(suite, "--list")
        assert done.returncode == 0
        assert done.stdout.splitlines() == list(bench_suite.listing(suite))

    @pytest.mark.parametrize("options, words", [
        (("icap", "--json", "--markdown"), "not allowed"), (("nonsense",), "invalid choice"), (("icap",), "--build"),
        (("icap", "--build", "/nonexistent", "--only", "x"), "--only takes"),
        (("icap", "--build", "/nonexistent", "--rounds", "0"), "--rounds")])
    def test_usage(self, options, words):
        done = bench(*options)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr

    @needs_root
    def test_nothing_built(self, tmp_path):
        done = bench("icap", "--build", tmp_path, "-f", "^icap/options$")
        assert done.returncode == 2
        assert "icapfloor is not there" in done.stderr

    @needs_root
    def test_json(self):
        done = bench("icap", *self.QUICK, "--json", "-f", "^icap/(tls-preview-half|close-options|tls-resumed|idle)$")
        assert done.returncode == 0, done.stderr
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert [row["row"] for row in rows] == ["icap/tls-preview-half", "icap/close-options", "icap/tls-resumed",
                                                 "icap/idle"]
        assert [row["unit"] for row in rows] == ["requests/s", "us CPU/request", "us CPU/request", "KiB/connection"]
        for row in rows:
            assert list(row) == [*KEYS, "target", "met", "detail"]
            assert row["ours"] > 0 and row["peer"] is None and row["ratio"] is None
            assert isinstance(row["met"], bool) and row["detail"]["errors"] == {}
        status = rows[0]["detail"]["sallyport"]["status"]  # half of them went on
        assert 0 < status["204"] and abs(status["204"] - status["200"]) <= 16 * 2
        assert rows[2]["detail"]["sallyport"]["resumed"] > 0
        assert rows[3]["detail"]["sallyport"]["held"] == 1000

    @needs_root
    @pytest.mark.soak
    def test_tenants(self):
        """Logins work, the storm is refused, the flood is held back, and all of it is counted."""
        done = bench("tenants", *self.QUICK, "--json")
        assert done.returncode == 0, (done.stdout, done.stderr)
        rows = {row["row"]: row for row in map(json.loads, done.stdout.splitlines())}
        assert list(rows) == [f"tenants/{r.name}" for r in bench_tenants.ROWS if r.core]
        for row in rows.values():
            assert list(row) == [*KEYS, "target", "met", "detail"]
            assert row["ours"] > 0 and row["floor"] > 0 and row["detail"]["errors"] == {}

        def median(row, name):
            return rows[f"tenants/{row}"]["detail"]["figures"][name]["median"]
        assert median("options", "login_us") > 0 and median("options", "plain_us") > 0
        assert median("login-storm", "sent") > 0
        assert median("quota-requests", "flood_over") > 0
        assert (median("first-login", "first_derivations"), median("first-login", "crowd_derivations")) == (2, 2)
        assert rows["tenants/timing"]["detail"]["statistic"].keys() == {"difference", "noise", "larger", "p"}

    @needs_root
    def test_print(self):
        """Requests and documents come through all three, in clear text and within TLS."""
        need("nginx", "nginx"), need("cupsd", "cups-daemon")
        done = bench("print", *self.QUICK[:-2], "--json", "-f", "^print/(attributes-small|job-1m-scanned|close-.*)$")
        assert done.returncode == 0, (done.stdout, done.stderr)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert [row["row"] for row in rows] == ["print/attributes-small", "print/job-1m-scanned",
                                                "print/close-attributes-tls"]
        assert [row["unit"] for row in rows] == ["us p50 added", "us p50 added", "us CPU/request"]
        for row in rows:
            assert list(row) == [*KEYS, "target", "met", "detail"]
            assert isinstance(row["met"], bool) is (row["row"] != "print/job-1m-scanned")
            assert row["floor"] > 0 and row["detail"]["errors"] == {}
            for name in ("floor_us", "floor_p50", "peer_us", "peer_cupsd_us", "ours_us", "ours_cupsd_us"):
                assert figures_of(row, name) > 0, name
        assert figures_of(rows[0], "ours_octets") > 0 and figures_of(rows[0], "ours_crowd_rate") > 0
        assert rows[0]["detail"]["limit"]["us"] == 20
        assert figures_of(rows[1], "ours_workers_us") > 0
        assert rows[2]["ours"] == figures_of(rows[2], "ours_us") and rows[2]["peer"] == figures_of(rows[2], "peer_us")

    @needs_root
    def test_print_without_a_floor(self):
        """cupsd is there, but nobody asks it alone."""
        need("cupsd", "cups-daemon")
        done = bench("print", *self.QUICK[:-2], "--only", "sallyport", "-f", "^print/attributes$")
        assert done.returncode == 0, done.stderr
        assert "cupsd alone  not measured\n" in done.stdout and "target: <= nginx: not measured" in done.stdout

    @needs_root
    def test_markdown_and_text(self):
        row = "^icap/both-cores-respmod-1k$"
        done = bench("icap", *self.QUICK, "--markdown", "-f", row)
        assert done.returncode == 0, done.stderr
        opening, empty, head, rule, line = done.stdout.splitlines()
        assert "1 round of 0.2 s" in opening and empty == ""
        assert line.startswith("| `icap/both-cores-respmod-1k`") and line.count("|") == head.count("|")
        done = bench("icap", *self.QUICK, "-f", row)
        assert done.returncode == 0, done.stderr
        assert "Sallyport, both cores" in done.stdout and "ours / floor: " in done.stdout

    @needs_root
    def test_interrupted(self):
        """It takes its servers and its namespace with it."""
        with subprocess.Popen([sys.executable, "-B", BENCH / "bench.py", "icap", *self.QUICK, "--seconds", "60", "-f",
                               "^icap/options$"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
            name = f"sallyport-bench-{run.pid}"
            assert "1 round of 60 s" in run.stdout.readline()
            deadline = time.monotonic() + 20
            while not bench_machine.tree(run.pid)[2:] and time.monotonic() < deadline:
                threading.Event().wait(0.05)
            run.terminate()
            run.communicate(timeout=60)
        assert run.returncode == 143
        left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
        assert name not in left.stdout.split()
