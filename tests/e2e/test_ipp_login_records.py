# SPDX-License-Identifier: Apache-2.0
"""Records of passwords that were refused say whose they were, where that is a user of the gateway: who counts them sees
for whom somebody tries passwords. What nobody is called stands in no record: it may be a password, typed in the wrong
field."""
import json
import signal

import pytest

from testenv import ipp, wait
from testenv.fake_printer import FakePrinter
from testenv.print_wire import Digest, Wire, add_user, basic, get_challenge
from testenv.printing import PrintGateway, printer

ANN = "a password of Ann's"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates):
    with FakePrinter() as fake:
        printers = [printer("fake", fake.uri(), require="[tls, digest]", pipeline="[]"),
                    printer("basic", fake.uri(), require="[tls]", pipeline="[]", basic="true", allow='["tenant:acme"]')]
        with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers,
                          more="login: {rounds: 100000, failures: 1000, user-failures: 1000}\n") as running:
            add_user(running, "acme", "ann", ANN)
            yield running


def ask(gateway, name, field=None):
    """|field|: makes Authorization for a challenge. The reply and its record."""
    uri = f"ipp://localhost/ipp/{name}"
    with Wire(gateway.address("print"), "upgraded") as wire:
        reply = wire.ask(ipp.request(ipp.VALIDATE_JOB, uri, user="claimed"))
        if field:
            reply = wire.ask(ipp.request(ipp.VALIDATE_JOB, uri, user="claimed"), "/", field(reply))
        return reply, wire.record(gateway, id=reply.get("X-Request-ID"))


def digest(user, password, algorithm="SHA-256"):
    return lambda reply: Digest(user, password, get_challenge(reply, algorithm)).field()


def by_basic(user, password):
    return lambda _: basic(user, password)


WRONG = [("fake", digest("ann", "not hers")), ("fake", digest("ann", "not hers", "MD5")), ("basic", by_basic("ann", "not hers")),
         ("basic", by_basic("ann", "")), ("basic", digest("ann", "not hers"))]
NOBODYS = [("fake", digest), ("basic", by_basic), ("basic", digest)]


class TestWhose:
    @pytest.mark.parametrize("name, field", WRONG)
    def test_wrong_passwords(self, gateway, name, field):
        reply, record = ask(gateway, name, field)
        assert reply.status == 401
        assert (record["error"], record["print"]["login"], record["user"]) == ("login", "ann", "claimed"), record
        assert "auth" not in record["print"] and "tenant" not in record

    @pytest.mark.parametrize("name, scheme", NOBODYS)
    @pytest.mark.parametrize("user", ["Ann", "a password of mine, in the wrong field", "ann@acme", "x" * 300])
    def test_of_nobody(self, gateway, name, scheme, user):
        reply, record = ask(gateway, name, scheme(user, ANN))
        assert reply.status == 401 and "login" not in record["print"], record
        assert user not in json.dumps(gateway.records()) and user not in gateway.log()

    @pytest.mark.parametrize("name, field", [("fake", digest("ann", ANN)), ("basic", by_basic("ann", ANN)), ("basic", None)])
    def test_right_ones(self, gateway, name, field):
        """Who that is says `user`."""
        reply, record = ask(gateway, name, field)
        assert "login" not in record["print"], record
        if field:
            assert reply.code == ipp.OK and record["user"] == "ann" and record["print"]["auth"]

    def test_right_and_refused(self, gateway):
        """An answer that was used before says nothing against its password."""
        uri = "ipp://localhost/ipp/fake"
        with Wire(gateway.address("print"), "upgraded") as wire:
            asked = ipp.request(ipp.VALIDATE_JOB, uri, user="claimed")
            field = digest("ann", ANN)(wire.ask(asked))
            assert wire.ask(asked, "/", field).code == ipp.OK
            reply = wire.ask(asked, "/", field)
            record = wire.record(gateway, id=reply.get("X-Request-ID"))
        assert (reply.status, record["error"]) == (401, "login") and "login" not in record["print"], record

    def test_printers_that_come_later(self, tmp_path, certificates):
        """The count is there as well when the gateway began without any."""
        with FakePrinter() as fake, PrintGateway(
                tmp_path / "gateway", certificates, [],
                more="login: {rounds: 100000, failures: 1000, user-failures: 2}\n") as running:
            text = running.config.read_text()
            running.config.write_text(text.replace("printers:\n", "printers:\n" + printer(
                "fake", fake.uri(), require="[tls, digest]", pipeline="[]")))
            running.send_signal(signal.SIGHUP)
            wait.until(lambda: ask(running, "fake")[0].status == 401, "a demand", 30)
            add_user(running, "acme", "ann", ANN)
            said = [ask(running, "fake", digest("ann", "not hers"))[1] for _ in range(3)]
            assert [r["http_status"] for r in said] == [401, 401, 503], said

    def test_too_many(self, tmp_path, certificates):
        """From wherever they came: nobody looks at them any more, and it is seen for whom they were. Also where no
        printer takes Basic."""
        with FakePrinter() as fake, PrintGateway(
                tmp_path / "gateway", certificates,
                [printer("fake", fake.uri(), require="[tls, digest]", pipeline="[]")],
                more="login: {rounds: 100000, failures: 1000, user-failures: 2}\n") as running:
            add_user(running, "acme", "ann", ANN)
            said = [ask(running, "fake", digest("ann", "not hers"))[1] for _ in range(3)]
            assert [r["print"]["login"] for r in said] == ["ann"] * 3
            assert [r["http_status"] for r in said] == [401, 401, 503] and said[2]["error"] == "overload", said
