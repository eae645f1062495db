# SPDX-License-Identifier: Apache-2.0
"""A gateway that ends with everything under way at once, in the build with sanitizers: whoever waits for the store, for
a login, for a scan, or for a printer waits for something that goes away."""
import contextlib
import os
import pathlib
import signal
import subprocess
import time

import pytest

from testenv import ipp, wait
from testenv.endurance import is_alive
from testenv.fake_printer import FakePrinter
from testenv.icap import IcapConnection, request
from testenv.print_wire import add_user, basic, tenant
from testenv.printing import PrintGateway, printer
from testenv.sallyport import binary
from testenv.store_lock import writing

MORE = """\
drain: {drain}
login: {{rounds: {rounds}}}
services:
  - {{name: look, type: inspect, path: /look, pipeline: [filetype]}}
"""
ICAP = "  - {name: icap, protocol: icap, address: '127.0.0.1:0'}\n"
SLOW = 100_000  # rounds of PBKDF2: logins wait for one another, and none takes as long as a gateway may take to end


@pytest.mark.asan
class TestEverythingUnderWay:
    @pytest.fixture
    def fake(self):
        with FakePrinter() as running:
            yield running

    @pytest.fixture
    def silent(self, fake):
        """It takes requests, from now on, and says nothing to them until the test is over."""
        def talk(peer, fake_, head):
            fake_.hear(peer, head)
            peer.sock.settimeout(60)
            with contextlib.suppress(OSError):
                peer.sock.recv(1)
            return False
        return talk

    @pytest.fixture
    def start(self, tmp_path, certificates, fake):
        def start(drain="100ms"):
            printers = [printer("plain", fake.uri(), require="[]", scan_wait="100ms"),
                        printer("patient", fake.uri(), require="[]", scan_wait="60s"),
                        printer("logins", fake.uri(), require="[tls]", basic="true", pipeline="[]")]
            gateway = PrintGateway(tmp_path / "gateway", certificates, printers, listeners=ICAP, threads=2,
                                   more=MORE.format(drain=drain, rounds=SLOW),
                                   build=pathlib.Path(os.environ["SALLYPORT_DEBUG_BUILD"]))
            gateway.stop_seconds = 60
            return gateway
        assert binary(pathlib.Path(os.environ["SALLYPORT_DEBUG_BUILD"])).exists(), "build/debug has no sallyport yet"
        return start

    @staticmethod
    def under_way(gateway, fake, silent, stack, client):
        """Connections and commands that wait, each for something else."""
        def send(*words, at="plain", way="clear", fields=(), **more):
            c = stack.enter_context(ipp.IppConnection(gateway.address("print"), way))
            return c.send(gateway.client(at).request(*words, **more), fields=fields)
        job = client.create_job("waits")
        held = client.create_job("its document is looked at")
        stack.enter_context(gateway.frozen())
        assert client.send_document(held, b"nobody waits for it", None).code == ipp.OK
        for at in ("plain", "patient"):
            for i in range(3):
                send(ipp.PRINT_JOB, at=at, data=b"looked at %d" % i + at.encode())
        fake.talk_now = silent
        for operation in (ipp.GET_PRINTER_ATTRIBUTES, ipp.GET_JOBS, ipp.VALIDATE_JOB, ipp.CUPS_GET_PRINTERS):
            send(operation)
        for i in range(8):
            send(ipp.PRINT_JOB, at="logins", way="upgrade", data=b"x",
                 fields=[tuple(basic("ann", f"not hers {i}").split(": ", 1))])
        c = stack.enter_context(IcapConnection(gateway.address("icap")))
        c.send(request("REQMOD", gateway.url("look", "icap"), b"looked at over ICAP"))
        fake.wait_heard(ipp.GET_JOBS)
        lock = stack.enter_context(contextlib.ExitStack())
        lock.enter_context(writing(os.path.join(gateway.state, "store")))
        send(ipp.GET_JOB_ATTRIBUTES, job_id=job)
        send(ipp.CANCEL_JOB, job_id=job)
        send(ipp.CREATE_JOB)
        for words in (("printers",), ("status", "jobs"), ("tenant", "add", "late")):
            command = subprocess.Popen([binary(gateway.build), *words, "--state", gateway.state],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(command.wait, 60)
            stack.callback(command.kill)
        return lock

    @pytest.mark.parametrize("drain", ["100ms", "3s"])
    def test_stop(self, start, fake, silent, drain):
        """Cut after the drain's time: nothing that waits is touched afterwards, and nothing is left."""
        with contextlib.ExitStack() as stack:
            gateway = stack.enter_context(start(drain))
            tenant(gateway, "add", "acme")
            add_user(gateway, "acme", "ann", "a password of Ann's")
            lock = self.under_way(gateway, fake, silent, stack, gateway.client("plain"))
            time.sleep(0.5)  # what was sent last is on its way to the store
            # Not by the supervisor, who would not wait for a busy machine.
            ending = gateway.gateway_pid()
            os.kill(ending, signal.SIGTERM)
            gateway.wait_log("the drain's time is over", 30)
            lock.close()  # which its end would wait for
            wait.until(lambda: not is_alive(ending), "the gateway's end", 60)
            gateway.check_sanitizers()
            assert "freed with open handles" not in gateway.log()
            cut = [r["print"].get("operation") for r in gateway.records() if r.get("error") == "draining" and "print" in r]
            assert len(cut) > 12 and {"Get-Jobs", "Validate-Job", "Print-Job", "Send-Document"} <= set(cut), cut
