# SPDX-License-Identifier: Apache-2.0
"""Who prints, where that takes several of them: certificates whose names begin alike, and guesses at one user's password
from many addresses."""
import time

import pytest

from testenv import ipp
from testenv.fake_printer import FakePrinter
from testenv.ipp import GET_JOB_ATTRIBUTES, PRINT_JOB, VALIDATE_JOB, request
from testenv.print_wire import Digest, Wire, add_user, basic, context, fresh_source, get_challenge
from testenv.printing import PrintGateway, printer

PASSWORDS = {"ann": "a password of Ann's", "bob": "Bob's own words"}
GUESSES, HOLD_S = 12, 0.5
CONFIG = f"""\
login: {{rounds: 100000, user-failures: {GUESSES}, user-failure-every: 1h, hold-refusals: {round(1000 * HOLD_S)}ms}}
tenants:
  - {{name: acme, certificates: ["dns:client.acme.test"]}}
"""


@pytest.fixture
def gateway(tmp_path, certificates):
    with FakePrinter() as fake, PrintGateway(
            tmp_path, certificates, [printer("secure", fake.uri(), require="[tls]", pipeline="[]", basic="true"),
                                     printer("digest", fake.uri(), require="[tls, digest]", pipeline="[]")],
            more=CONFIG, tls=f", client-ca: {certificates.ca}, verify-client: request") as running:
        for user, password in PASSWORDS.items():
            add_user(running, "acme", user, password)
        yield running


@pytest.fixture
def connect(gateway):
    wires = []

    def connect(**options):
        wires.append(Wire(gateway.address("print"), "upgraded", **options))
        return wires[-1]

    yield connect
    for wire in wires:
        wire.close()


def ask_for(name, operation=VALIDATE_JOB, **more):
    return request(operation, f"ipp://localhost/ipp/{name}", user="claimed", **more)


def test_long_names(gateway, connect, certificates):
    """Of which more than the beginning counts."""
    wires = [connect(tls=context(certificate=certificates.issue("é" * 24 + last, "subjectAltName=DNS:client.acme.test",
                                                                "clientAuth"))) for last in "12"]
    made = wires[0].ask(ask_for("secure", PRINT_JOB, data=b"%PDF-1.4")).message
    names = [wires[0].record(gateway, operation="Print-Job")["user"]]
    asked = ask_for("secure", GET_JOB_ATTRIBUTES, job_id=made.get("job-id"))
    assert wires[1].ask(asked).code == 0x0403
    names.append(wires[1].record(gateway, operation="Get-Job-Attributes")["user"])
    assert wires[0].ask(asked).code == ipp.OK
    assert [len(name) for name in names] == [128, 128] and names[0][:63] == names[1][:63] and names[0] != names[1]


class TestGuesses:
    """At one user, from one address each: whoever has not been right from where he is has to wait, and nobody looks at
    what he says; others come in."""

    @staticmethod
    def try_(connect, user, password, source=None):
        """(status, seconds)"""
        wire = connect(source=source or fresh_source())
        digest = Digest(user, password, get_challenge(wire.ask(ask_for("digest")), "SHA-256"))
        begin = time.monotonic()
        reply = wire.ask(ask_for("digest"), "/", digest.field())
        return (reply.code if reply.status == 200 else reply.status), time.monotonic() - begin

    @pytest.mark.parametrize("user", ["ann", "nobody"])
    def test_digest(self, gateway, connect, user):
        home, elsewhere = fresh_source(), fresh_source()
        known = user in PASSWORDS
        if known:
            assert self.try_(connect, user, PASSWORDS[user], home)[0] == ipp.OK
        assert [self.try_(connect, user, "a guess")[0] for _ in range(GUESSES)] == [401] * GUESSES
        for password in ("a guess", PASSWORDS.get(user, "another guess")):
            status, seconds = self.try_(connect, user, password, elsewhere)
            assert status == 503 and seconds >= HOLD_S, (status, seconds)
        if known:
            assert self.try_(connect, user, PASSWORDS[user], home)[0] == ipp.OK
        assert self.try_(connect, "bob", PASSWORDS["bob"], elsewhere)[0] == ipp.OK
        assert gateway.metrics()["sallyport_login_throttled_total"] == 2

    def test_basic_counts_as_well(self, connect):
        """Wrong ones of Basic count for Digest."""
        for n in range(GUESSES):
            assert connect(source=fresh_source()).ask(ask_for("secure"), "/", basic("ann", f"guess {n}")).status == 401
        assert self.try_(connect, "ann", PASSWORDS["ann"])[0] == 503
