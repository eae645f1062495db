# SPDX-License-Identifier: Apache-2.0
"""Digest with -sess, whose proofs hang on the challenge and on the client's own nonce as well (RFC 7616 3.4.2)."""
import os
import subprocess

import pytest

from testenv import ipp
from testenv.ipp import VALIDATE_JOB, request
from testenv.print_wire import Digest, Wire, add_user, authorization, challenges, get_challenge
from testenv.printing import PrintGateway, printer

PASSWORD = "a password of Ann's"
CONFIG = """\
login: {rounds: 100000, failures: 1000, user-failures: 1000}
ipp: {digest: {algorithms: [md5-sess, sha-256-sess]}}
tenants:
  - {name: acme}
"""
IN_TLS, IN_CLEAR = ["SHA-256-sess", "MD5-sess"], ["SHA-256-sess"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, backend):
    printers = [printer("secure", backend.uri(), require="[tls, digest]", pipeline="[]"),
                printer("clear", backend.uri(), require="[digest]", pipeline="[]")]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers, more=CONFIG) as running:
        add_user(running, "acme", "ann", PASSWORD)
        yield running


@pytest.fixture
def connect(gateway, backend):
    wires = []
    backend.forget()

    def connect(way="upgraded"):
        wires.append(Wire(gateway.address("print"), way))
        return wires[-1]

    yield connect
    for wire in wires:
        wire.close()


def ask_for(name):
    return request(VALIDATE_JOB, f"ipp://localhost/ipp/{name}")


class TestSess:
    @pytest.mark.parametrize("way, name, offered", [("clear", "clear", IN_CLEAR), ("implicit", "secure", IN_TLS)])
    def test_offered(self, connect, way, name, offered):
        """The strongest first, and nothing else; MD5 not in clear text."""
        assert [c["algorithm"] for _, c in challenges(connect(way).ask(ask_for(name)))] == offered

    @pytest.mark.parametrize("way, name, algorithm", [
        ("clear", "clear", "SHA-256-sess"), ("upgraded", "secure", "SHA-256-sess"), ("implicit", "secure", "MD5-sess")])
    def test_in(self, gateway, connect, way, name, algorithm):
        wire = connect(way)
        digest = Digest("ann", PASSWORD, get_challenge(wire.ask(ask_for(name)), algorithm))
        for _ in range(3):  # another nonce of the client's each time
            values = digest.values()
            reply = wire.ask(ask_for(name), "/", authorization(values))
            assert reply.code == ipp.OK
            assert digest.proof("", "/", values["nc"], values["cnonce"]) in reply.get("Authentication-Info")
        record = wire.record(gateway, operation="Validate-Job", http_status=200)
        assert (record["user"], record["print"]["auth"]) == ("ann", f"digest-{algorithm}"), record
        assert wire.ask(ask_for(name), "/", authorization(values)).status == 401  # once

    @pytest.mark.parametrize("change, status", [({"cnonce": "another one"}, 401), ({"algorithm": "SHA-256"}, 401),
                                                ({"algorithm": "MD5-sess"}, 400)], ids=["cnonce", "without", "shorter"])
    def test_not_in(self, connect, change, status):
        wire = connect()
        digest = Digest("ann", PASSWORD, get_challenge(wire.ask(ask_for("secure")), "SHA-256-sess"))
        values = digest.values()
        assert wire.ask(ask_for("secure"), "/", authorization({**values, **change})).status == status
        assert wire.ask(ask_for("secure"), "/", authorization(values)).code == ipp.OK

    def test_wrong_password(self, connect):
        wire = connect()
        digest = Digest("ann", "not hers", get_challenge(wire.ask(ask_for("secure")), "SHA-256-sess"))
        assert wire.ask(ask_for("secure"), "/", digest.field()).status == 401

    def test_of_sallyport(self, gateway, certificates, tmp_path):
        (tmp_path / "document").write_text("printed with -sess")
        done = gateway.command_line("print", "--ca", certificates.ca, "-u", "ann",
                                    gateway.uri("secure", "ipps", auth=";AUTH=DAA", host="localhost"), tmp_path / "document",
                                    env={**os.environ, "SALLYPORT_PASSWORD": PASSWORD}, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        assert gateway.wait_record(lambda r: r.get("body_len") == 18)["print"]["auth"] == "digest-SHA-256-sess"
