# SPDX-License-Identifier: Apache-2.0
"""The policy of the machine in the gateway: it is joined with what listeners demand, and a change ends connections that are
below it."""
import os
import pathlib

import pytest

from testenv import Way, build_dir, wait
from testenv.sallyport import run_command

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a policy must belong to root")

CONFIG = """state: {folder}/state
policy: {policy}
listeners: [{{name: a, address: "127.0.0.1:1344"}}]
services: [{{name: e, path: /e, type: echo}}]
"""


def write(path, *lines):
    fresh = pathlib.Path(f"{path}.new")
    fresh.write_text("\n".join(["version 1", *lines, ""]))
    fresh.chmod(0o644)
    fresh.replace(path)


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "policy"
    write(path, "default min=none")
    return path


@pytest.fixture
def gateway(start_sallyport, policy, certificates):
    started = start_sallyport(tls=certificates.server, more=f"policy: {policy}\n")
    started.wait_ready()
    return started


def change(gateway, policy, *lines, done="without interruption"):
    """Another policy, which the gateway notices by itself; waits until the log says how it went."""
    before = gateway.log().count(done)
    write(policy, *lines)
    wait.until(lambda: gateway.log().count(done) > before, f"'{done}' in the log", 20)


def answers(way):
    try:
        return way.options("echo").status == 200
    except (AssertionError, ConnectionError, EOFError):
        return False


@pytest.fixture
def clear(gateway):
    return Way(gateway, "clear")


@pytest.fixture
def tls(gateway, certificates):
    return Way(gateway, "tls", certificates.ca)


class TestListeners:
    def test_only_tls_is_left(self, gateway, policy, clear, tls):
        assert answers(clear) and answers(tls)
        change(gateway, policy, "default min=none", "rule service=icap min=strong")
        assert not answers(clear) and answers(tls)
        assert clear.options("echo").status == 403
        record = gateway.wait_record(lambda r: r.get("error") == "policy")
        assert record["error_text"] == ("the connection is not protected; strong protection is required (line 3 of this machine's "
                                        "policy)")

    @pytest.mark.parametrize("line, holds", [
        ("rule proto=tcp port={port} min=integrity", True), ("rule proto=tcp port=1 min=integrity", False),
        ("rule proto=udp min=strong", False), ("rule to=192.0.2.0/24 min=strong", False),
        ("rule to=127.0.0.0/8 min=strong", True), ("rule service=ipp min=strong", False),
        ("interface no-such0 min=strong", True)])  # by which interface is not known
    def test_which_lines_hold(self, gateway, policy, clear, line, holds):
        change(gateway, policy, line.format(port=gateway.address()[1]))
        assert answers(clear) is not holds

    def test_a_known_peer(self, gateway, policy, tls):
        change(gateway, policy, "rule service=icap peer=dns:*.known.test")
        assert not answers(tls)
        gateway.wait_record(lambda r: r.get("error") == "policy" and "did not authenticate itself" in r["error_text"])


class TestOpenConnections:
    def test_those_below_the_new_one_end(self, gateway, policy, clear, tls):
        with clear.connect() as below, tls.connect() as above:
            for way, connection in ((clear, below), (tls, above)):
                assert connection.ask("OPTIONS", way.url("echo"), http=[], encapsulated="").status == 200
            before = len(gateway.records())
            change(gateway, policy, "default via=tls")
            below.sock.settimeout(10)
            below.expect_closed()
            record = gateway.wait_record(lambda r: r.get("error") == "policy", since=before)
            assert "not wanted here" in record["error_text"] and record["protection"]["how"] == "none"
            assert above.ask("OPTIONS", tls.url("echo"), http=[], encapsulated="").status == 200

    def test_in_the_middle_of_a_request(self, gateway, policy, clear):
        with clear.connect() as below:
            below.send(b"REQMOD " + clear.url("echo").encode() + b" ICAP/1.0\r\nHost: x\r\n")
            change(gateway, policy, "default min=weak")
            below.sock.settimeout(10)
            assert below.sock.recv(1) == b""
            gateway.wait_record(lambda r: r.get("error") == "policy")


class TestWrongFiles:
    def test_a_change_that_is_wrong_keeps_the_old_one(self, gateway, policy, clear):
        change(gateway, policy, "default min=strong")
        change(gateway, policy, "default min=medium", done="the policy of the machine holds as before")
        assert ":2: 'medium' is no level" in gateway.log()
        assert not answers(clear)
        change(gateway, policy, "default min=none")
        assert answers(clear)

    def test_a_file_that_is_gone_keeps_the_old_one(self, gateway, policy, clear):
        change(gateway, policy, "default min=strong")
        policy.unlink()
        wait.until(lambda: "the policy of the machine holds as before" in gateway.log(), "the complaint", 20)
        assert not answers(clear)

    @pytest.mark.parametrize("mode, lines, text", [
        (0o666, ["default min=none"], "chmod go-w"), (0o644, ["default min=medium"], "policy:2: 'medium' is no level"),
        (0o644, ["exempt proto=tcp port=1344 level=none"], "uid= or service=")])
    def test_nothing_starts(self, tmp_path, policy, mode, lines, text):
        write(policy, *lines)
        policy.chmod(mode)
        config = tmp_path / "sallyport.yaml"
        config.write_text(CONFIG.format(folder=tmp_path, policy=policy))
        done = run_command(build_dir(), "check", "-c", config)
        assert done.returncode == 2 and text in done.stdout + done.stderr

    def test_a_file_of_somebody_else(self, tmp_path, policy):
        os.chown(policy, 1, 0)
        config = tmp_path / "sallyport.yaml"
        config.write_text(CONFIG.format(folder=tmp_path, policy=policy))
        done = run_command(build_dir(), "check", "-c", config)
        assert done.returncode == 2 and "must belong to root" in done.stdout + done.stderr

    def test_a_file_that_is_named_must_be_there(self, tmp_path):
        config = tmp_path / "sallyport.yaml"
        config.write_text(CONFIG.format(folder=tmp_path, policy=tmp_path / "nothing"))
        done = run_command(build_dir(), "check", "-c", config)
        assert done.returncode == 2 and "cannot read" in done.stdout + done.stderr
