# SPDX-License-Identifier: Apache-2.0
"""Of several things that are wrong with a login the first one is answered: in which order they are looked at, since each
answer tells something, and what is refused early uses nothing up."""
import pytest

from testenv import ipp

from testenv.ipp import PRINT_JOB, VALIDATE_JOB, request
from testenv.print_wire import Digest, Wire, add_user, authorization, challenges, get_challenge
from testenv.printing import PrintGateway, printer

PASSWORD = "a password of Ann's"
CONFIG = "login: {rounds: 100000, failures: 1000, user-failures: 1000}\ntenants:\n  - {name: acme}\n"
STALE = "stale"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, backend):
    rows = {"require": "[tls, digest]", "pipeline": "[]"}
    printers = [printer("secure", backend.uri(), **rows), printer("bob", backend.uri(), allow="['user:bob']", **rows),
                printer("clear", backend.uri(), require="[digest]", pipeline="[]"),
                printer("picky", backend.uri(), formats="[application/pdf]", **rows)]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers, more=CONFIG) as running:
        for user in ("ann", "bob"):
            add_user(running, "acme", user, PASSWORD)
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


def ask_for(name="secure", operation=VALIDATE_JOB, **more):
    return request(operation, f"ipp://localhost/ipp/{name}", **more)


def begin(wire, name="secure", password=PASSWORD):
    return Digest("ann", password, get_challenge(wire.ask(ask_for(name))))


def said(reply):
    """The HTTP status, or `stale`, or the IPP status where the user was let in."""
    if reply.status == 401 and {c.get("stale") for _, c in challenges(reply)} == {"true"}:
        return STALE
    return reply.answer


# What can be wrong with the values of a login, in the order in which it is looked at, and how each is answered alone.
WRONG = {
    "cannot be read": ({"nc": "zz"}, 400),
    "algorithm": ({"algorithm": "SHA-512-256"}, 401),
    "forged nonce": ({"nonce": "bm9uY2U"}, 401),
    "target": ({"uri": "/elsewhere"}, 400),
    "password": ({"response": "0" * 64}, 401),
    "count": ({"nc": "00000001"}, STALE),  # which was used
}
ORDER = list(WRONG)
PAIRS = [(first, then) for i, first in enumerate(ORDER) for then in ORDER[i + 1:]
         if not set(WRONG[first][0]) & set(WRONG[then][0])]


class TestOrder:
    @pytest.mark.parametrize("what", ORDER)
    def test_alone(self, connect, what):
        wire = connect()
        digest = begin(wire)
        assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK
        changed, answered = WRONG[what]
        assert said(wire.ask(ask_for(), "/", digest.field(**changed))) == answered
        assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK

    @pytest.mark.parametrize("first, then", PAIRS)
    def test_two(self, connect, first, then):
        wire = connect()
        digest = begin(wire)
        assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK
        values = digest.values(**{k: v for k, v in WRONG[then][0].items() if k != "response"})
        values |= {k: v for k, v in WRONG[then][0].items() if k == "response"} | WRONG[first][0]
        assert said(wire.ask(ask_for(), "/", authorization(values))) == WRONG[first][1]
        assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK

    @pytest.mark.parametrize("what", ORDER)
    def test_channel_before_all_of_it(self, connect, backend, what):
        """In clear text for a printer that wants TLS credentials are not looked at, however wrong."""
        wire = connect("clear")
        digest = begin(wire, "clear")
        reply = wire.ask(ask_for("secure"), "/", digest.field(**WRONG[what][0]))
        assert (reply.status, reply.all("WWW-Authenticate")) == (426, [])
        assert backend.heard == []

    @pytest.mark.parametrize("name, more", [("bob", {}), ("secure", {"operation": 0x4028}), ("secure", {"operation": 0x0010}),
                                            ("picky", {"operation": PRINT_JOB, "data": b"x"})])
    def test_password_before_what_is_allowed(self, connect, backend, name, more):
        """Who has not proved who he is learns nothing of what others may do."""
        wire = connect()
        digest = begin(wire, name)
        for wrong in ("password", "forged nonce"):
            reply = wire.ask(ask_for(name, **more), "/", digest.field(**WRONG[wrong][0]))
            assert (reply.status, reply.message) == (401, None)
        assert wire.ask(ask_for(name, **more)).status == 401
        assert backend.heard == []

    def test_count_is_used_up_by_the_right_password_only(self, connect):
        """Whoever reads a login on the way cannot spoil it by a wrong one with its count."""
        wire = connect()
        digest = begin(wire)
        values = digest.values()
        for change in ({"response": "0" * 64}, {"uri": "/elsewhere"}, {"cnonce": "00"}):
            assert said(wire.ask(ask_for(), "/", authorization({**values, **change}))) in (400, 401)
        assert wire.ask(ask_for(), "/", authorization(values)).code == ipp.OK
        assert said(wire.ask(ask_for(), "/", authorization(values))) == STALE
