# SPDX-License-Identifier: Apache-2.0
"""The state directory on a file system of 4 MiB that runs full: bodies get the action that the
service has for it, records are counted or refused as configured, and both come back with the room."""
import json
import os
import subprocess

import pytest

from testenv import Way, samples, wait
from testenv.icap import body_head, chunks
from testenv.peers import missing

CONFIG = """\
state: {state}
threads: 1
sandbox: required
log: {level: debug}
admin: {address: "127.0.0.1:0"}
spool: {memory: 64k, reserve: RESERVE}
records: {on-full: ON-FULL}
listeners:
  - {name: clear, address: "127.0.0.1:0"}
services:
  - {name: echo, type: echo, path: /echo, memory-max: 64k}
  - {name: block, type: inspect, path: /block, memory-max: 64k}
  - {name: error, type: inspect, path: /error, memory-max: 64k, on: {disk-full: error}}
  - {name: pass, type: inspect, path: /pass, memory-max: 64k, on: {disk-full: pass}}
"""
LARGE = 6 * samples.MIB  # more than the file system has
SMALL = 30_000           # stays in memory


@pytest.fixture
def disk(tmp_path):
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    run = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True,
                         text=True, check=False)
    if run.returncode:
        missing(f"cannot mount a tmpfs: {run.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def start(start_sallyport, disk):
    """Starts a gateway whose state directory is on the small disk: the gateway."""
    def start_it(on_full="drop", reserve="0"):
        gateway = start_sallyport(config=CONFIG.replace("RESERVE", reserve).replace("ON-FULL", on_full)
                                  .replace("{state}", str(disk / "state")), ready=False)
        gateway.state = disk / "state"
        gateway.wait_ready()
        return gateway, Way(gateway, "clear")
    yield start_it


def fill(disk):
    """Takes all the room there is."""
    with open(disk / "filler", "wb", buffering=0) as f:
        for size in (65536, 4096, 512, 64, 1):
            try:
                while f.write(b"x" * size):
                    pass
            except OSError:
                pass
    assert os.statvfs(disk).f_bavail == 0


def free(disk):
    (disk / "filler").unlink()


class TestSpool:
    def test_block(self, start):
        gateway, way = start()
        reply = way.ask("RESPMOD", "block", samples.noise(LARGE))
        assert (reply.status, reply.http_status()) == (200, 403)
        assert reply.field("X-Response-Desc") == "disk-full"
        record = gateway.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))
        assert (record["verdict"], record["action"], record["cause"]) == ("error", "block", "disk-full")
        assert record["error"] == "disk-full"

    def test_error(self, start):
        gateway, way = start()
        reply = way.ask("RESPMOD", "error", samples.noise(LARGE))
        assert reply.status == 503
        assert reply.field("Retry-After")
        record = gateway.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))
        assert (record["icap_status"], record["cause"], record["error"]) == (503, "disk-full", "disk-full")

    def test_pass(self, start):
        """What the client still has can pass; what only the full disk could keep cannot, and is an
        error, not half a body."""
        gateway, way = start()
        reply = way.ask("RESPMOD", "pass", samples.noise(LARGE), fields=["Allow: 204"])
        assert reply.status == 204
        assert reply.field("X-Response-Desc") == "not inspected: disk-full"
        record = gateway.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))
        assert (record["verdict"], record["action"], record["cause"]) == ("error", "pass", "disk-full")
        assert way.ask("RESPMOD", "pass", samples.noise(LARGE)).status == 503

    def test_reserve(self, start):
        """Room that the spool leaves to others, the records for one: 4 MiB are less than 64."""
        gateway, way = start(reserve="64m")
        for size, status in ((SMALL, None), (samples.MIB, 403)):
            reply = way.ask("RESPMOD", "block", samples.noise(size))
            assert (reply.http_status() if status else None) == status
        gateway.wait_record(lambda r: r.get("cause") == "disk-full")

    def test_room_comes_back(self, start, disk):
        _, way = start()
        fill(disk)
        assert way.ask("RESPMOD", "block", samples.noise(2 * samples.MIB)).http_status() == 403
        assert way.ask("RESPMOD", "block", samples.noise(SMALL)).body_len == SMALL  # needs no disk
        assert way.ask("RESPMOD", "block", samples.EICAR).field("X-Response-Desc") == "infected"
        free(disk)
        reply = way.ask("RESPMOD", "block", samples.noise(2 * samples.MIB))
        assert samples.digest(reply.body) == samples.noise_digest(2 * samples.MIB)

    def test_spooled_answer_that_finds_no_room(self, start):
        """echo to a client that reads nothing: the answer cannot be kept; it is cut, never made to look
        whole, and recorded."""
        gateway, way = start()
        size = 40 * samples.MIB
        with way.connect() as c:
            client = "%s:%d" % c.sock.getsockname()
            c.send(body_head("RESPMOD", way.url("echo"), size))
            with pytest.raises((EOFError, ConnectionError)):
                for piece in chunks(samples.pieces(size)):
                    c.send(piece)
                c.read_reply("RESPMOD")
        record = gateway.wait_record(lambda r: r["client"] == client)
        assert record["error"] == "disk-full"
        assert way.ask("RESPMOD", "echo", b"fine").body == b"fine"

    def test_nothing_is_left_behind(self, start, disk):
        gateway, way = start()
        for _ in range(3):
            way.ask("RESPMOD", "block", samples.noise(LARGE))
        wait.until(lambda: gateway.status()["budgets"]["spool"]["used"] == 0, "the room given back")
        assert list((disk / "state" / "spool").iterdir()) == []
        wait.until(lambda: os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize > 3 * samples.MIB, "free blocks")


def check_lines(gateway):
    """Every line is a record. But for one that the full disk cut: that stands alone on its line, is the
    beginning of a record, and was counted as lost."""
    cut = []
    text = (gateway.state / "records.jsonl").read_text()
    assert text.endswith("\n")
    for line in text.splitlines():
        try:
            json.loads(line)
        except ValueError:
            cut.append(line)
    assert all(line.startswith('{"time":"') for line in cut)
    assert text.count('{"time":') == len(text.splitlines())
    return len(cut)


class TestRecords:
    def test_drop_goes_on_and_counts(self, start, disk):
        gateway, way = start("drop")
        before = way.ask("RESPMOD", "block", b"before").field("X-Request-ID")
        gateway.wait_record(lambda r: r["id"] == before)
        fill(disk)

        def lost():
            assert way.ask("RESPMOD", "block", b"x", fields=[f"X-Client-Username: {'u' * 500}"]).body == b"x"
            return gateway.status()["records"]["write_errors"] > 0
        wait.until(lost, "a write error")
        assert gateway.admin("/readyz")[0] == 200
        free(disk)

        after = way.ask("RESPMOD", "block", b"after").field("X-Request-ID")
        wait.until(lambda: any(r["id"] == after for r in self.whole(gateway)), "a record after the room came back")
        gateway.stop()
        lines = self.whole(gateway)
        assert lines[0]["id"] == before
        cut = check_lines(gateway)
        assert cut <= 1

    def test_drop_loses_what_the_buffer_cannot_hold(self, start_sallyport, disk):
        """Counted in the metrics: as many as are missing in the file."""
        config = CONFIG.replace("RESERVE", "0").replace("on-full: ON-FULL", "on-full: drop, buffer: 64k")
        gateway = start_sallyport(config=config.replace("{state}", str(disk / "state")), ready=False)
        gateway.state = disk / "state"
        gateway.wait_ready()
        way = Way(gateway, "clear")
        fill(disk)
        asked = 0
        with way.connect() as c:
            while gateway.metrics()["sallyport_records_lost_total"] < 10:
                for _ in range(50):
                    asked += 1
                    assert c.ask("RESPMOD", way.url("echo"), b"x",
                                 fields=[f"X-Client-Username: {'u' * 500}"]).status == 200
                assert asked < 5000
        lost = gateway.metrics()["sallyport_records_lost_total"]
        free(disk)

        def written_and_lost():
            metrics = gateway.metrics()
            return metrics["sallyport_records_written_total"], metrics["sallyport_records_lost_total"]
        wait.until(lambda: written_and_lost()[0] > 0 and sum(written_and_lost()) >= asked, "what was kept is written")
        written, total_lost = written_and_lost()
        assert total_lost >= lost
        gateway.stop()
        cut = check_lines(gateway)
        assert written + total_lost == asked
        assert len(self.whole(gateway)) == written
        assert cut <= 1

    @pytest.mark.parametrize("service", ["block", "error", "pass"])
    def test_refuse(self, start, disk, service):
        """No transaction without its record: the answer is that of the service for disk-full."""
        gateway, way = start("refuse")
        fill(disk)

        def refused():
            way.ask("RESPMOD", service, b"x", fields=[f"X-Client-Username: {'u' * 500}"])
            return gateway.status()["records"]["refusing"]
        wait.until(refused, "refusing")
        reply = way.ask("RESPMOD", service, b"x")
        if service == "block":
            assert (reply.http_status(), reply.field("X-Response-Desc")) == (403, "disk-full")
        elif service == "error":
            assert reply.status == 503
        else:
            assert reply.body == b"x"
            assert reply.field("X-Response-Desc") == "not inspected: disk-full"
        status, text = gateway.admin("/readyz")
        assert (status, "records cannot be written" in text) == (503, True)
        free(disk)
        wait.until(lambda: gateway.admin("/readyz")[0] == 200, "ready again")
        last = way.ask("RESPMOD", service, b"after")
        assert last.body == b"after"
        gateway.stop()
        assert any(r["id"] == last.field("X-Request-ID") for r in self.whole(gateway))
        check_lines(gateway)

    @staticmethod
    def whole(gateway):
        found = []
        for line in (gateway.state / "records.jsonl").read_text().split("\n")[:-1]:
            try:
                found.append(json.loads(line))
            except ValueError:
                pass
        return found
