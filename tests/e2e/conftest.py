# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests; testenv/ has what they are made of.

$SALLYPORT_BUILD (build/release) is the build under test, $SALLYPORT_DEBUG_BUILD (build/debug) the one
with sanitizers. CI=true: a test that cannot find a peer fails instead of being skipped.
"""
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.dont_write_bytecode = True

os.environ.setdefault("SALLYPORT_BUILD", str(pathlib.Path(__file__).resolve().parents[2] / "build" / "release"))
os.environ.setdefault("SALLYPORT_DEBUG_BUILD", str(pathlib.Path(__file__).resolve().parents[2] / "build" / "debug"))
for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
    os.environ.pop(proxy, None)  # everything here is on loopback

from testenv import CIcap, Certificates, Origin, Sallyport, Squid, Way  # noqa: E402
from testenv.cups import Cupsd, IppEvePrinter  # noqa: E402
from testenv.fake_printer import FakePrinter  # noqa: E402
from testenv.worker_wire import Zygote  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "soak: takes minutes; only with ./dev test --soak")
    config.addinivalue_line("markers", "tsan: also run on the ThreadSanitizer build by ./dev test --tsan")
    config.addinivalue_line("markers", "slow: tens of seconds, gigabytes of disk")
    config.addinivalue_line("markers", "alone: measures, or prints what it measured; not beside other tests")
    config.addinivalue_line("markers", "asan: wants the sanitizer build ($SALLYPORT_DEBUG_BUILD)")


def pytest_collection_modifyitems(items):
    """The longest files first, so that no process of a test run waits for another one at the end."""
    first = ["test_restart", "test_squid", "test_logins", "test_probe", "test_clamav", "test_abuse", "test_content"]
    items.sort(key=lambda item: first.index(item.path.stem) if item.path.stem in first else len(first))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A CA, and the server certificate `certificates.server` = (certificate, key)."""
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    made.server = made.issue("server")
    return made


@pytest.fixture(scope="module")
def cupsd(tmp_path_factory):
    """A scheduler of CUPS with the queue acct."""
    with Cupsd(tmp_path_factory.mktemp("cupsd")) as server:
        yield server


@pytest.fixture(scope="module")
def eve(tmp_path_factory):
    """A printer that shows what came."""
    with IppEvePrinter(tmp_path_factory.mktemp("eve")) as server:
        yield server


@pytest.fixture(scope="module")
def backend():
    """A printer that the tests play."""
    with FakePrinter() as fake:
        yield fake


@pytest.fixture(scope="session")
def origin():
    with Origin() as server:
        yield server


@pytest.fixture(scope="session")
def cicap(tmp_path_factory, certificates):
    """c-icap's server, clear and TLS."""
    with CIcap(tmp_path_factory.mktemp("c-icap"), tls=certificates.server) as server:
        yield server


@pytest.fixture(scope="module")
def sallyport(tmp_path_factory, certificates):
    """A gateway with /echo and /inspect on the listeners "clear" and "tls", shared by a module."""
    with Sallyport(tmp_path_factory.mktemp("sallyport"), tls=certificates.server) as gateway:
        yield gateway


@pytest.fixture(params=["clear", "tls"], ids=["icap", "icaps"])
def way(request, sallyport, certificates):
    """The module's gateway, over icap:// and over icaps://."""
    return Way(sallyport, request.param, certificates.ca)


@pytest.fixture
def start_sallyport(tmp_path):
    """Starts gateways of a test's own: start_sallyport(tls=…, services=…, config=…)."""
    started = []

    def start(**options):
        started.append(Sallyport(tmp_path / f"sallyport-{len(started)}", **options))
        return started[-1]

    yield start
    for gateway in started:
        gateway.stop()


@pytest.fixture
def start_squid():
    """Starts Squids: start_squid([(vectoring point, ICAP URL, options)…])."""
    started = []

    def start(services, **options):
        started.append(Squid(services, **options))
        return started[-1]

    yield start
    for squid in started:
        squid.__exit__(None, None, None)


@pytest.fixture(scope="module")
def zygote():
    """sallyport-worker with the rules that Sallyport brings along, shared by a module."""
    with Zygote() as z:
        yield z


@pytest.fixture
def channel(zygote):
    """A loop's socket to the zygote."""
    channel = zygote.channel()
    yield channel
    channel.close()


@pytest.fixture
def worker(zygote, channel):
    """A worker of a test's own."""
    worker = zygote.fork(channel)
    yield worker
    worker.close()
