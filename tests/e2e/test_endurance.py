# SPDX-License-Identifier: Apache-2.0
"""Mixed load for a long time: all methods, many sizes, several engines, aborts, half-closes, reloads,
workers and gateways that are killed. Nobody is refused, no answer is lost or wrong but those that a
killed process had in its hands, and nothing grows. ./dev test --soak: half an hour."""
import pytest

from testenv import Clamd, Sallyport, Way, build_dir, samples, wait
from testenv.crowd import descriptors
from testenv.endurance import Mill
from testenv.sallyport import is_sanitized

MIB = samples.MIB
pytestmark = pytest.mark.alone
SERVICES = """\
  - {name: clam, type: inspect, path: /clam, pipeline: [clamav], revision: "REVISION"}
  - {name: all, type: inspect, path: /all, pipeline: [yara, filetype, clamav], preview: 1k, revision: "REVISION"}
"""
# What is meant to fill is small, so that it is full when the test is warm.
MORE = """\
drain: 5s
records: {buffer: 1m}
engines: {cache: {size: 1m}, clamav: {address: "SOCKET"}}
"""
# Between reloads, kills of a worker, kills of the gateway.
HALF_AN_HOUR, TWO_MINUTES = (1800, (10, 5, 60)), (120, (4, 2, 20))
WARM = 0.25  # of the run: what grows until then is not held against it
GROWTH = {"supervisor": 2 * MIB, "zygote": 2 * MIB, "gateway": 6 * MIB}


@pytest.fixture(scope="module")
def clamd(tmp_path_factory):
    with Clamd(tmp_path_factory.mktemp("clamd")) as daemon:
        yield daemon


@pytest.fixture
def sallyport(tmp_path, certificates, clamd):
    if is_sanitized(build_dir()):
        pytest.skip("memory figures are those of the release build")
    more = MORE.replace("SOCKET", str(clamd.socket_path))
    with Sallyport(tmp_path, tls=certificates.server, services=SERVICES, more=more) as gateway:
        wait.until(lambda: gateway.status()["inspection"]["clamd"]["up"], "clamd's self-test", 60)
        yield gateway


def changer(gateway):
    """change(n, another): the configuration for the n-th reload; |another|: wants another gateway."""
    original = gateway.config.read_text()
    generations = [0]

    def change(n, another):
        generations[0] += another
        text = original.replace("REVISION", str(n))
        gateway.config.write_text(text.replace("drain: 5s", f"drain: 5s\nlimits: {{scan-wait: {100 + generations[0]}ms}}"))
    return change


def print_curve(mill, say):
    """One line for each of a dozen moments: PSS in MiB, and descriptors."""
    moments = sorted({p[0] for p in mill.curve})
    for i in range(0, len(moments), max(1, len(moments) // 12)):
        cells = []
        for role in ("supervisor", "zygote", "gateway", "leaving", "worker"):
            here = [p for p in mill.curve if p[1] == role and moments[i] <= p[0] < moments[i] + mill.seconds / 60]
            if here:
                cells.append(f"{role} {max(p[3] for p in here) / MIB:.1f}/{max(p[4] for p in here)}")
        say(f"{moments[i]:5.0f} s  " + ", ".join(cells))


def assert_steady(mill, role):
    """What it had at most in the last quarter is not much more than what it had when warm."""
    warm, late = mill.points(role, WARM, 0.5), mill.points(role, 0.75)
    assert warm and late, f"no samples of {role}"
    memory = [max(p[0] for p in part) for part in (warm, late)]
    fds = [max(p[1] for p in part) for part in (warm, late)]
    assert memory[1] <= memory[0] + GROWTH[role], f"{role} grew from {memory[0] / MIB:.1f} to {memory[1] / MIB:.1f} MiB"
    if role != "gateway":  # its connections come and go
        assert fds[1] <= fds[0] + 4, f"descriptors of {role} grew from {fds[0]} to {fds[1]}"


def assert_at_rest(gateway, fds_at_start):
    """Nothing is left of the load: no connection, no byte in a budget, no descriptor."""
    def calm():
        status = gateway.status()
        return (sum(loop["connections"] for loop in status["loops"]) == 0
                and status["budgets"]["spool"]["used"] == 0 and status["budgets"]["scans"]["used"] == 0)
    wait.until(calm, "the end of all connections", 30)
    pid = gateway.gateway_pid()
    wait.until(lambda: descriptors(pid) <= fds_at_start + 16, f"some {fds_at_start} descriptors", 30)
    assert gateway.status()["budgets"]["memory"]["used"] <= MIB, gateway.status()["budgets"]


@pytest.mark.parametrize("length", [
    pytest.param(TWO_MINUTES, id="two minutes", marks=pytest.mark.slow),
    pytest.param(HALF_AN_HOUR, id="half an hour", marks=pytest.mark.soak),
])
def test_endurance(sallyport, certificates, capsys, length):
    seconds, intervals = length
    ways = [Way(sallyport, "clear"), Way(sallyport, "tls", certificates.ca)]
    fds = descriptors(sallyport.gateway_pid())
    mill = Mill(sallyport, ways, ["echo", "inspect", "clam", "all"], seconds, intervals, changer(sallyport))

    def say(text):
        with capsys.disabled():
            print(f"\n  {text}", end="")
    mill.run()
    print_curve(mill, say)
    say(f"{sum(c.done for c in mill.clients)} things done by clients, {sum(v.done for v in mill.volume)} requests by "
        f"icapload, {mill.faults.excused} excused; "
        + ", ".join(f"{mill.happened.count(k)} × {k}" for k in ("reload", "generation", "worker killed", "gateway killed")))
    assert not mill.faults.list, f"{len(mill.faults.list)}: " + "\n".join(mill.faults.list[:20])
    for role in GROWTH:
        assert_steady(mill, role)
    assert_at_rest(sallyport, fds)
    assert all(c.done > 20 for c in mill.clients) and all(v.done > 1000 for v in mill.volume)
    for kind in ("reload", "generation", "worker killed", "gateway killed"):
        assert mill.happened.count(kind) >= 3, kind
