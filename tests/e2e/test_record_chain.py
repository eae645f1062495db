# SPDX-License-Identifier: Apache-2.0
"""records.chain: batches of records are sealed, whatever happens to the gateway meanwhile, and
`sallyport records verify` finds what was done to them afterwards."""
import json
import os
import re
import signal
import stat
import threading

import pytest

from testenv import Sallyport, Way, wait
from testenv.sallyport import run_command

CHAIN = "records: {chain: true}\n"


class Chained(Sallyport):
    """A gateway whose records are sealed, and what belongs to them."""

    def __init__(self, folder, **options):
        super().__init__(folder, **{"more": CHAIN, **options})

    @property
    def path(self):
        return self.state / "records.jsonl"

    @property
    def chain(self):
        return self.state / "records.jsonl.chain"

    @property
    def key(self):
        return self.state / "records.jsonl.key"

    def ask(self, n=1):
        """|n| transactions whose records are in the file by now; their ids."""
        way = Way(self, "clear")
        with way.connect() as c:
            ids = [c.ask("RESPMOD", way.url("echo"), b"x").field("X-Request-ID") for _ in range(n)]
        wait.until(lambda: ids[-1] in self.path.read_text(), "the last record")
        wait.until(lambda: is_seal(self.path.read_text().splitlines()[-1]), "its seal")
        return ids

    def verify(self, *arguments):
        return self.command_line("records", "verify", "--key", self.key, *arguments)


def is_seal(line):
    return '"event":"seal"' in line


def verify(gateway_or_build, key, *arguments):
    return run_command(gateway_or_build, "records", "verify", "--key", key, *arguments)


def assert_good(run):
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^all: \d+ records in \d+ seals .*: good$", run.stdout, re.M), run.stdout
    assert run.stderr == ""


def assert_wrong(run, *words):
    assert run.returncode == 1, run.stdout + run.stderr
    assert "WRONG" in run.stdout
    for word in words:
        assert re.search(word, run.stdout), f"lacks {word}:\n{run.stdout}"


class TestSealing:
    def test_files_and_lines(self, tmp_path):
        with Chained(tmp_path / "g") as gateway:
            ids = gateway.ask(3)
            assert stat.S_IMODE(gateway.chain.stat().st_mode) == 0o600
            assert stat.S_IMODE(gateway.key.stat().st_mode) == 0o600
            assert re.fullmatch(r"sallyport-record-key-1 [0-9a-f]{64}\n", gateway.key.read_text())
            assert f"move its key {gateway.key} off this machine" in gateway.log()
            secret = gateway.key.read_text().split()[1]
            lines = gateway.path.read_text().splitlines()
            seals = [json.loads(line) for line in lines if is_seal(line)]
            assert [list(s) for s in seals] == [["time", "event", "seal", "octets", "mac"]] * len(seals)
            assert [s["seal"] for s in seals] == list(range(len(seals)))
            assert [json.loads(line)["id"] for line in lines if not is_seal(line)] == ids
            assert gateway.status()["records"]["chained"] is True
            wait.until(lambda: gateway.status()["records"]["seals"] == len(seals), "their number in the status")
            assert gateway.metrics()["sallyport_record_seals_total"] == len(seals)
            text = gateway.command_line("status", "--state", gateway.state).stdout
            assert f"sealed in {len(seals)} batches" in text
            assert_good(gateway.verify("--state", gateway.state))
            assert_good(gateway.verify("-c", gateway.config))
            assert_good(gateway.verify(gateway.path))
        assert secret not in gateway.log()
        run = gateway.verify("--state", gateway.state)  # nobody has to run
        assert_good(run)
        assert "3 records" in run.stdout

    def test_other_commands(self, tmp_path):
        """Seals are among the lines of `records`, not among those of a tenant; records are found."""
        with Chained(tmp_path / "g") as gateway:
            [one] = gateway.ask()
            run = gateway.command_line("records", "--state", gateway.state)
            assert run.returncode == 0
            assert [is_seal(line) for line in run.stdout.splitlines()] == [False, True]
            assert gateway.command_line("records", "--state", gateway.state, "--tenant", "seal").stdout == ""
            assert one in gateway.command_line("status", "--state", gateway.state, "--id", one).stdout

    def test_off(self, start_sallyport):
        gateway = start_sallyport()
        reply = Way(gateway, "clear").ask("RESPMOD", "echo", b"x")
        gateway.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))
        assert not list(gateway.state.glob("records.jsonl.*"))
        assert gateway.status()["records"]["chained"] is False
        assert "sallyport_record_seals_total" not in gateway.metrics()
        assert "sealed" not in gateway.command_line("status", "--state", gateway.state).stdout

    def test_life(self, tmp_path):
        """Requests all the time, while generations change, gateways are killed, the supervisor becomes
        another program, and files are rotated: one chain, in which nothing is wrong."""
        with Chained(tmp_path / "g") as gateway:
            stop, answered = threading.Event(), [0]

            def ask():
                way = Way(gateway, "clear")
                while not stop.is_set():
                    try:
                        with way.connect() as c:
                            for _ in range(20):
                                c.ask("RESPMOD", way.url("echo"), b"x")
                                answered[0] += 1
                    except (OSError, AssertionError, EOFError):
                        pass  # of a gateway that was killed

            threads = [threading.Thread(target=ask) for _ in range(3)]
            for t in threads:
                t.start()
            old = []
            try:
                for i in range(3):
                    self.change(gateway, i, old)
            finally:
                stop.set()
                for t in threads:
                    t.join()
            assert answered[0] > 100
            assert_good(gateway.verify(*old, gateway.path))
        run = gateway.verify(*old, gateway.path)
        assert_good(run)
        [records] = re.findall(r"^all: (\d+) records", run.stdout, re.M)
        assert int(records) > 100
        # The youngest alone: what came before is said, and is no fault.
        run = gateway.verify(gateway.path)
        assert_good(run)
        assert "what came before is in older files" in run.stdout

    @staticmethod
    def change(gateway, i, old):
        def grows():
            size = gateway.path.stat().st_size
            wait.until(lambda: gateway.path.stat().st_size > size + 3000, "more records")

        def serves(pid):
            wait.until(lambda: gateway.admin("/readyz")[0] == 200 and gateway.gateway_pid() != pid, "another gateway")

        pid = gateway.gateway_pid()
        gateway.config.write_text(gateway.config.read_text().replace(f"buffer: {4 + i}m", f"buffer: {5 + i}m")
                                  if i else gateway.config.read_text().replace("chain: true", "chain: true, buffer: 5m"))
        gateway.send_signal(signal.SIGHUP)
        serves(pid)
        grows()
        pid = gateway.gateway_pid()
        os.kill(pid, signal.SIGKILL)
        serves(pid)
        grows()
        pid = gateway.gateway_pid()
        gateway.send_signal(signal.SIGUSR2)
        serves(pid)
        grows()
        old.append(gateway.state / f"records.{i}")
        os.rename(gateway.path, old[-1])
        gateway.send_signal(signal.SIGUSR1)
        wait.until(gateway.path.exists, "the new file")
        grows()

    def test_restart_goes_on(self, tmp_path):
        """With its key moved away the chain goes on, and no other one is begun."""
        with Chained(tmp_path / "g") as gateway:
            gateway.ask()
        key = tmp_path / "elsewhere"
        os.rename(gateway.key, key)
        with Chained(tmp_path / "g") as gateway:
            gateway.ask()
            assert not gateway.key.exists()
        assert gateway.log().count("a new chain of records begins") == 1
        run = verify(gateway.build, key, gateway.path)
        assert_good(run)
        assert "2 records" in run.stdout

    def test_a_number_that_comes_again(self, tmp_path):
        """As after the power was gone before the state was on the disk: both batches are there and good, and it is
        said; one that is altered is found, whichever of them it is."""
        with Chained(tmp_path / "g") as gateway:
            gateway.ask()
            before = gateway.chain.read_bytes()
            gateway.ask()
        gateway.chain.write_bytes(before)
        with Chained(tmp_path / "g") as gateway:
            gateway.ask()
        lines = gateway.path.read_text().splitlines(keepends=True)
        assert [json.loads(line)["seal"] for line in lines if is_seal(line)] == [0, 1, 1]
        run = gateway.verify(gateway.path)
        assert_good(run)
        assert ":6: note: the number of seal 1 comes again and is good: a gateway was killed" in run.stdout
        for at in (2, 4):
            altered = lines[at].replace('"action":"pass"', '"action":"pasS"')
            assert altered != lines[at]
            gateway.path.write_text("".join([*lines[:at], altered, *lines[at + 1:]]))
            assert_wrong(gateway.verify(gateway.path), "seal 1")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """(build, folder) with records.jsonl in at least six batches, its chain and its key."""
    folder = tmp_path_factory.mktemp("sealed")
    with Chained(folder / "g") as gateway:
        for _ in range(6):
            gateway.ask(2)
    return gateway


@pytest.fixture
def copy(sealed, tmp_path):
    """Lines of the sealed records, to be changed; call it with them to verify."""
    class Copy:
        path = tmp_path / "records.jsonl"
        lines = sealed.path.read_bytes().splitlines(keepends=True)
        seals = [i for i, line in enumerate(lines) if b'"event":"seal"' in line]

        def batch(self, n):
            """Its lines, from and to."""
            return (self.seals[n - 1] + 1 if n else 0), self.seals[n] + 1

        def verify(self, lines, chain=True):
            self.path.write_bytes(b"".join(lines))
            more = ["--chain", sealed.chain] if chain else []
            return verify(sealed.build, sealed.key, *more, self.path)

    assert len(Copy.seals) >= 6
    return Copy()


class TestTampering:
    def test_nothing(self, copy):
        assert_good(copy.verify(copy.lines))
        run = copy.verify(copy.lines, chain=False)
        assert_good(run)
        assert "note: whether the end is there cannot be told" in run.stdout

    def test_one_octet(self, copy):
        line = copy.lines[0].replace(b'"action":"pass"', b'"action":"pasS"')
        assert line != copy.lines[0]
        assert_wrong(copy.verify([line, *copy.lines[1:]]),
                     rf"records.jsonl:{copy.seals[0] + 1}: what seal 0 covers was altered \(lines 1 to ")

    def test_seal_itself(self, copy):
        for at, word in ((-5, "what seal 2 covers was altered"), (31, "what seal 2 covers was altered"),
                         (52, "this was a seal, and was altered")):
            lines = list(copy.lines)
            line = bytearray(lines[copy.seals[2]])
            line[at] = ord("0") if line[at] != ord("0") else ord("1")
            lines[copy.seals[2]] = bytes(line)
            assert_wrong(copy.verify(lines), word)

    def test_line_is_gone(self, copy):
        assert_wrong(copy.verify(copy.lines[1:]), "seal 0 covers .* lines of its batch are gone")

    def test_batch_is_gone(self, copy):
        start, end = copy.batch(2)
        assert_wrong(copy.verify(copy.lines[:start] + copy.lines[end:]), "seals 2 to 2 are missing before seal 3")

    def test_two_batches_change_places(self, copy):
        (a, b), (c, d) = copy.batch(2), copy.batch(3)
        assert_wrong(copy.verify(copy.lines[:a] + copy.lines[c:d] + copy.lines[a:b] + copy.lines[d:]),
                     "seals 2 to 2 are missing before seal 3", "the order is wrong: seal 2 comes where seal 4 should")

    def test_end_is_gone(self, copy):
        last = len(copy.seals) - 1
        lines = copy.lines[:copy.seals[last - 2] + 1]
        assert_wrong(copy.verify(lines),
                     f"the end is missing: the last seal here is {last - 2}, and the gateway had written up to {last}")
        assert_good(copy.verify(lines, chain=False))  # nobody can tell

    def test_line_is_added(self, copy):
        forged = copy.lines[0].replace(b'"action":"pass"', b'"action":"block"')
        assert_wrong(copy.verify([*copy.lines, forged]), "are not sealed: nobody vouches for them")

    def test_batch_is_forged(self, copy):
        forged = copy.lines[slice(*copy.batch(0))]
        forged[-1] = forged[-1].replace(b'"seal":0', b'"seal":%d' % len(copy.seals))
        assert_wrong(copy.verify(copy.lines + forged), f"what seal {len(copy.seals)} covers was altered")

    def test_batch_is_copied(self, copy):
        start, end = copy.batch(1)
        assert_wrong(copy.verify(copy.lines[:end] + copy.lines[start:]), "a copy of seal 1 with its batch")

    def test_batch_by_itself(self, copy):
        """The first one that is given, and the one behind a gap, are checked like any other."""
        start, _ = copy.batch(3)
        altered = copy.lines[start].replace(b'"action":"pass"', b'"action":"pasS"')
        run = copy.verify(copy.lines[start:])
        assert_good(run)
        assert "note: the first seal here is 3" in run.stdout
        assert_wrong(copy.verify([altered, *copy.lines[start + 1:]]), "what seal 3 covers was altered")
        before = copy.lines[:copy.batch(1)[1]]
        assert_wrong(copy.verify([*before, altered, *copy.lines[start + 1:]]), "what seal 3 covers was altered")

    def test_number_that_is_made_up(self, copy):
        """It costs no more than a moment, and with the state the others are checked."""
        start, end = copy.batch(0)
        forged = [*copy.lines[start:end - 1], copy.lines[end - 1].replace(b'"seal":0', b'"seal":%d' % 10 ** 18)]
        run = copy.verify(forged + copy.lines, chain=False)
        assert_wrong(run, r":\d+: seal 10{18} is too far from seal 0 to be checked, and so is the rest of this file")
        assert " in 1 seals " in run.stdout
        run = copy.verify(forged + copy.lines)
        assert_wrong(run, "seal 10{18} was put in: the gateway has not come further than seal", ": WRONG, 1 fault")
        assert f" in {len(copy.seals) + 1} seals " in run.stdout

    def test_older_key_cannot_be_had_from_the_state(self, sealed, copy, tmp_path):
        """What lies on the machine when somebody breaks in: its key seals nothing that was before."""
        state = sealed.chain.read_bytes()
        key = tmp_path / "key"
        key.write_text(f"sallyport-record-key-1 {state[20:52].hex()}\n")
        run = verify(sealed.build, key, "--chain", sealed.chain, sealed.path)
        assert_wrong(run, "no seal can be checked: is this the key")
        assert state[20:52].hex() not in sealed.key.read_text()
        assert_good(copy.verify(copy.lines))


class TestUsage:
    @pytest.mark.parametrize("arguments, words", [
        ([], "--key is missing"),
        (["--key", "{key}", "--chain", "{chain}", "--state", "/x"], "--chain goes without --config and --state"),
        (["--key", "{key}", "--tenant", "a"], "--tenant does not go with verify"),
        (["--key", "{key}", "--follow"], "--follow does not go with verify"),
        (["--key", "{key}", "--file", "x"], "--file does not go with verify"),
        (["--key", "/nowhere", "{path}"], "cannot read the key /nowhere: No such file"),
        (["--key", "{path}", "{path}"], "is not a key of a chain of records"),
        (["--key", "{key}", "--chain", "{key}", "{path}"], "is not the state of a chain of records"),
        (["--key", "{key}", "--chain", "/nowhere", "{path}"], "cannot read the state of the chain /nowhere"),
        (["--key", "{key}", "/nowhere"], "cannot read the records /nowhere"),
        (["--key", "{key}", "/dev/null"], "/dev/null is no file"),
        (["--key", "{key}", "--state", "/nowhere"], "cannot read the records /nowhere/records.jsonl")])
    def test_trouble(self, sealed, arguments, words):
        paths = {"key": sealed.key, "chain": sealed.chain, "path": sealed.path}
        run = run_command(sealed.build, "records", "verify", *(a.format(**paths) for a in arguments))
        assert run.returncode == 2
        assert words in run.stderr

    def test_key_through_a_pipe(self, sealed):
        assert_good(run_command(sealed.build, "records", "verify", "--key", "/dev/stdin", sealed.path,
                                input=sealed.key.read_text()))

    @pytest.mark.parametrize("arguments, words", [(["--key", "x"], "--key goes with verify"),
                                                  (["--chain", "x"], "--chain goes with verify"),
                                                  (["check"], "unexpected argument 'check'")])
    def test_without_verify(self, sealed, arguments, words):
        run = run_command(sealed.build, "records", *arguments)
        assert run.returncode == 2
        assert words in run.stderr


class TestFiles:
    """What is in the way of a start is said, and nothing is begun anew without a word."""

    def start(self, folder, **options):
        gateway = Chained(folder, ready=False, **options)
        try:
            assert gateway.popen.wait(30) == 2
        finally:
            gateway.popen.kill()
        return gateway.log()

    def test_state_is_garbage(self, tmp_path):
        with Chained(tmp_path / "g") as gateway:
            gateway.ask()
        for garbage in (b"", b"x" * 52, gateway.chain.read_bytes() + b"x", gateway.chain.read_bytes()[:-1]):
            gateway.chain.write_bytes(garbage)
            log = self.start(tmp_path / "g")
            assert f"{gateway.chain} is not the state of a chain of records: put back the right one" in log
            assert gateway.chain.read_bytes() == garbage

    def test_state_is_gone(self, tmp_path):
        with Chained(tmp_path / "g") as gateway:
            gateway.ask()
        gateway.chain.unlink()
        log = self.start(tmp_path / "g")
        assert "is gone, but its key" in log and "move the key away to begin a new chain" in log
        assert not gateway.chain.exists()

    def test_state_is_a_link(self, tmp_path):
        (tmp_path / "g" / "state").mkdir(parents=True)
        (tmp_path / "g" / "state" / "records.jsonl.chain").symlink_to(tmp_path / "elsewhere")
        assert "cannot open the state of the records' chain" in self.start(tmp_path / "g")

    def test_state_cannot_be_made(self, tmp_path):
        """Then no key is left, either, that would stand in the way of the next start."""
        state = tmp_path / "g" / "state"
        for name, words in (("records.jsonl.new", "cannot make"), ("records.jsonl.chain", "cannot open the state")):
            (state / name / "x").mkdir(parents=True)
            assert words in self.start(tmp_path / "g")
            assert not (state / "records.jsonl.key").exists()
            (state / name / "x").rmdir()
            (state / name).rmdir()
        with Chained(tmp_path / "g") as gateway:
            gateway.ask()

    def test_records_in_no_file(self, tmp_path):
        log = self.start(tmp_path / "g", more="records: {chain: true, path: /dev/null}\n")
        assert "records.chain needs records in a file, and /dev/null is none" in log

    def test_chain_without_records(self, tmp_path, sealed):
        config = tmp_path / "sallyport.yaml"
        text = sealed.config.read_text().replace("chain: true", "chain: true, enabled: false")
        config.write_text(text)
        run = run_command(sealed.build, "check", "-c", config)
        assert run.returncode == 2
        assert "there are no records to seal" in run.stderr + run.stdout

    def test_switched_on_by_a_reload(self, start_sallyport):
        gateway = start_sallyport()
        Way(gateway, "clear").ask("RESPMOD", "echo", b"x")
        path = gateway.state / "records.jsonl"
        os.rename(path, gateway.state / "unsealed")
        pid = gateway.gateway_pid()
        gateway.config.write_text(gateway.config.read_text() + CHAIN)
        gateway.send_signal(signal.SIGHUP)
        wait.until(lambda: gateway.admin("/readyz")[0] == 200 and gateway.gateway_pid() != pid, "another gateway")
        reply = Way(gateway, "clear").ask("RESPMOD", "echo", b"x")
        wait.until(lambda: reply.field("X-Request-ID") in path.read_text(), "its record")
        key = gateway.state / "records.jsonl.key"
        assert_good(gateway.command_line("records", "verify", "--key", key, "--state", gateway.state))

    def test_state_that_breaks_while_it_runs(self, tmp_path):
        """Then nothing is written, and with `refuse` nothing passes, until it is mended."""
        more = "records: {chain: true, on-full: refuse}\n"
        with Chained(tmp_path / "g", more=more) as gateway:
            gateway.ask()
            state = gateway.chain.read_bytes()
            os.truncate(gateway.chain, 0)
            lines = gateway.path.read_bytes()
            way = Way(gateway, "clear")
            way.ask("RESPMOD", "echo", b"x")
            wait.until(lambda: gateway.status()["records"]["refusing"], "refusing")
            assert gateway.admin("/readyz")[0] == 503
            assert gateway.path.read_bytes() == lines
            fd = os.open(gateway.chain, os.O_WRONLY)
            os.pwrite(fd, state, 0)
            os.close(fd)
            wait.until(lambda: not gateway.status()["records"]["refusing"], "accepting")
            gateway.ask()
            assert_good(gateway.verify("--state", gateway.state))
            assert gateway.log().count("no record is written until that is mended") == 1
            assert "the chain of the records goes on" in gateway.log()
