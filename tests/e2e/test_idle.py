# SPDX-License-Identifier: Apache-2.0
"""What connections cost that wait for their next request: $SALLYPORT_IDLE of them (15,000), half of
them over TLS. Figures of the release build; more connections want a higher limit of descriptors
(ulimit -n) and, above some 28,000 for each of 8 addresses, more ports."""
import os

import pytest

from testenv import Crowd, Sallyport, Way, build_dir, load, samples, wait
from testenv.crowd import need_descriptors, pss
from testenv.sallyport import is_sanitized

KIB, MIB = samples.KIB, samples.MIB
CONNECTIONS = int(os.environ.get("SALLYPORT_IDLE", 15000))
MAX_PLAIN, MAX_TLS = 2 * KIB, 18 * KIB
MAX_AT_REST = 8 * MIB
ACTIVE = ("--connections", 16, "--duration", 3, "--method", "RESPMOD", "--size", 1024, "--allow-204")
pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def sallyport(tmp_path_factory, certificates):
    if is_sanitized(build_dir()):
        pytest.skip("memory figures are those of the release build")
    need_descriptors(CONNECTIONS)
    limits = f"limits: {{connections: {CONNECTIONS + 100}}}\nicap: {{idle-timeout: 1h}}\n"
    with Sallyport(tmp_path_factory.mktemp("sallyport"), tls=certificates.server, more=limits) as gateway:
        yield gateway


def settled(pid):
    """PSS when it does not change any more: what a connection leaves behind goes within a turn."""
    seen = [0]

    def same():
        seen.append(pss(pid))
        return seen[-1] == seen[-2] and seen[-1]
    return wait.until(same, "memory that stays as it is", 20, every=0.5)


def active(sallyport, say, what):
    """16 connections that work beside those that wait."""
    report = load(Way(sallyport, "clear"), *ACTIVE)
    say(f"16 active connections, {what}: p99 {report['latency_us']['p99']:.0f} us, "
        f"{report['requests_per_s']:.0f} requests/s")
    return report["latency_us"]["p99"]


@pytest.fixture
def say(capsys):
    def print_line(text):
        with capsys.disabled():
            print(f"\n  {text}", end="")
    return print_line


@pytest.mark.slow
def test_idle_connections(sallyport, certificates, say):
    pid = sallyport.gateway_pid()
    at_rest = settled(pid)
    say(f"at rest: {at_rest / MIB:.1f} MiB")
    assert at_rest <= MAX_AT_REST
    clear, half = Way(sallyport, "clear"), CONNECTIONS // 2
    with Crowd(clear, 64):
        before = settled(pid)  # what the threads have at hand is no idle connection's
    with Crowd(clear, half, net=1) as plain:
        with_plain = settled(pid)
        with Crowd(Way(sallyport, "tls", certificates.ca), half, net=2) as tls:
            with_tls = settled(pid)
            for_plain, for_tls = (with_plain - before) / half, (with_tls - with_plain) / half
            say(f"{half} plain connections that wait: {for_plain:.0f} bytes each; as many over TLS: {for_tls:.0f}; "
                f"together {with_tls / MIB:.0f} MiB")
            beside = active(sallyport, say, "beside them")
            for crowd in (plain, tls):
                for i in range(0, half, max(1, half // 100)):
                    crowd.ask(i)  # they are still served
    say(f"p99 ratio {beside / active(sallyport, say, 'alone'):.2f}")
    assert for_plain <= MAX_PLAIN
    assert for_tls <= MAX_TLS
    assert pid == sallyport.gateway_pid()


@pytest.mark.slow
def test_memory_goes_back_when_the_crowd_has_left(sallyport, certificates, say):
    """After the crowd of the test before, or one of its own; blocks that the threads keep stay."""
    pid = sallyport.gateway_pid()
    with Crowd(Way(sallyport, "tls", certificates.ca), 1000, net=3):
        crowded = pss(pid)
    wait.until(lambda: pss(pid) <= 2 * MAX_AT_REST, f"at most {2 * MAX_AT_REST / MIB} MiB", 20, every=0.5)
    say(f"{crowded / MIB:.1f} MiB with 1,000 TLS connections, {pss(pid) / MIB:.1f} MiB after")
    assert pid == sallyport.gateway_pid()
