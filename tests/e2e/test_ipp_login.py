# SPDX-License-Identifier: Apache-2.0
"""Who prints: Digest (RFC 7616) byte by byte, client certificates; who may use which printer; and what wrong passwords
get. Basic is in test_ipp_basic.py."""
import base64
import hashlib
import itertools
import os
import pty
import re
import select

import pytest

from testenv import ipp, wait
from testenv.cups import client_environment, ipptool

from testenv.ipp import GET_PRINTER_ATTRIBUTES, PRINT_JOB, VALIDATE_JOB, request
from testenv.moved_clock import MovedClock
from testenv.peers import need
from testenv.print_wire import (REALM, Digest, Wire, add_user, authorization, basic, challenges, context, fresh_source,
                                get_challenge, parameters, post, tenant)
from testenv.printing import PrintGateway, printer

PASSWORDS = {"ann": "a password of Ann's", "bob": "Bob's own words", "eve": "what Eve says", "root": "the operator's"}
CONFIG = """\
login: {rounds: 100000, failures: 1000, user-failures: 1000}
tenants:
  - {name: acme, certificates: ["dns:client.acme.test"]}
  - {name: other}
"""
GROUPS = """\
  groups:
    - {name: staff, users: [ann]}
"""
PDF = b"%PDF-1.4\n%%EOF\n"
LIFETIME = 300  # of nonces, in seconds
ELSEWHERE = "another realm"
TOO_OLD, USED = "the nonce is too old", "the nonce and its count were used before"
OFFERED = "TLS/1.2,TLS/1.1,TLS/1.0"  # by Wire.upgrade()


def printers(backend):
    return [printer("open", backend.uri(), require="[]", pipeline="[]"),
            printer("clear", backend.uri(), require="[digest]", pipeline="[]", aliases="[/printers/clear]"),
            printer("secure", backend.uri(), require="[tls, digest]", pipeline="[]", aliases="[/printers/secure]"),
            printer("basic", backend.uri(), require="[tls]", pipeline="[]", basic="true", allow='["tenant:acme"]'),
            printer("certificate", backend.uri(), require="[certificate]", pipeline="[]"),
            printer("staff", backend.uri(), require="[tls, digest]", pipeline="[]",
                    allow='["group:staff", "user:eve"]', operators='["user:root"]'),
            printer("others", backend.uri(), require="[tls, digest]", pipeline="[]", allow='["tenant:other"]'),
            printer("listed", backend.uri(), require="[tls]", pipeline="[]", allow='["user:ann"]'),
            printer("closed", backend.uri(), require="[tls, digest]", pipeline="[]", anonymous="nothing"),
            printer("silent", backend.uri(), require="[tls]", pipeline="[]", anonymous="nothing")]


def start(folder, certificates, backend, digest="", users=tuple(PASSWORDS), config=CONFIG, **more):
    gateway = PrintGateway(folder, certificates, printers(backend), more=config,
                           listeners='  - {name: bare, protocol: ipp, address: "127.0.0.1:0"}\n'
                                     '  - {name: any, protocol: ipp, address: "127.0.0.1:0", tls: print, upgrade: any}\n',
                           tls=f", client-ca: {certificates.ca}, verify-client: request",
                           ipp="ipp:\n" + GROUPS + (f"  digest: {{{digest}}}\n" if digest else ""), **more)
    for user in users:
        add_user(gateway, "other" if user == "eve" else "acme", user, PASSWORDS[user])
    return gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, backend):
    with start(tmp_path_factory.mktemp("gateway"), certificates, backend) as running:
        yield running


@pytest.fixture(scope="module")
def configured(tmp_path_factory, certificates, backend):
    """A gateway where `ipp.digest` says otherwise than by default."""
    digest = f"algorithms: [sha-256], realm: {ELSEWHERE}"
    with start(tmp_path_factory.mktemp("configured"), certificates, backend, digest) as running:
        tenant(running, "passwd", "ann", "--digest", ELSEWHERE, password=PASSWORDS["ann"])
        yield running


@pytest.fixture
def connect_to(backend):
    """connect_to(gateway, way, …): a Wire that comes from an address of the test's own."""
    wires, source = [], fresh_source()
    backend.forget()

    def connect(to, way="upgraded", listener="print", **options):
        wires.append(Wire(to.address(listener), way, **{"source": source, **options}))
        return wires[-1]

    yield connect
    for wire in wires:
        wire.close()


@pytest.fixture
def connect(gateway, connect_to):
    return lambda way="upgraded", **options: connect_to(gateway, way, **options)


def ask_for(name="secure", operation=VALIDATE_JOB, *attributes, user="claimed", **more):
    return request(operation, f"ipp://localhost/ipp/{name}", *attributes, user=user, **more)


def begin(wire, name="secure", user="ann", password=None, algorithm="SHA-256"):
    """The Digest of a user for a challenge of its own."""
    challenge = get_challenge(wire.ask(ask_for(name)), algorithm)
    return Digest(user, password or PASSWORDS.get(user, "no password"), challenge)


def key_of(digest):
    """The number of the key that its challenge was made with."""
    return base64.urlsafe_b64decode(digest.challenge["nonce"])[0]


def is_stale(reply):
    """Does it say that the password was right?"""
    assert reply.status == 401, reply
    return {c.get("stale") for _, c in challenges(reply)} == {"true"}


def check_record(gateway, wire, reply, why):
    """Of a login that was refused: who, and |why|."""
    record = wire.record(gateway, id=reply.get("X-Request-ID"))
    said = record["user"], record["error"], record["error_text"], record["http_status"]
    assert said == ("claimed", "login", why, reply.status) and "auth" not in record["print"], record


class TestChallenge:
    def test_strongest_first(self, connect):
        for way in ("upgraded", "implicit"):
            found = challenges(connect(way).ask(ask_for()))
            assert [(scheme, c["algorithm"]) for scheme, c in found] == [("Digest", "SHA-256"), ("Digest", "MD5")]
            for _, c in found:
                assert set(c) == {"realm", "qop", "algorithm", "nonce", "charset"}  # no opaque: libcups takes it ill
                assert (c["realm"], c["qop"], c["charset"]) == (REALM, "auth", "UTF-8")
                assert len(c["nonce"]) <= 96

    def test_no_md5_where_others_listen(self, connect):
        reply = connect("clear").ask(ask_for("clear"))
        assert [(scheme, c["algorithm"]) for scheme, c in challenges(reply)] == [("Digest", "SHA-256")]

    def test_basic_is_last(self, connect):
        """CUPS takes the first scheme that it knows."""
        for name in ("basic;AUTH=DAA", "basic"):
            reply = connect().ask(ask_for(name))
            assert [scheme for scheme, _ in challenges(reply)] == ["Digest", "Digest", "Basic"], name
        reply = connect().ask(ask_for("secure"))
        assert "Basic" not in str(reply.all("WWW-Authenticate"))

    def test_each_is_another(self, connect):
        """Two connections of a client begin with the same count, so they need different nonces."""
        wires = [connect(), connect()]
        nonces = [c["nonce"] for _ in range(10) for wire in wires for _, c in challenges(wire.ask(ask_for()))]
        assert len(set(nonces)) == len(nonces) == 40

    def test_the_connection_goes_on(self, connect):
        wire = connect()
        reply = wire.ask(ask_for())
        assert (reply.status, reply.get("Connection")) == (401, None)
        assert wire.ask(ask_for(operation=GET_PRINTER_ATTRIBUTES)).code == ipp.OK

    @pytest.mark.parametrize("way, name", [("upgraded", "secure"), ("implicit", "secure"), ("clear", "clear")])
    def test_as_configured(self, configured, connect_to, way, name):
        """No MD5, and the realm that the configuration names; who has a password there comes in."""
        wire = connect_to(configured, way)
        found = challenges(wire.ask(ask_for(name)))
        assert [(scheme, c["algorithm"], c["realm"]) for scheme, c in found] == [("Digest", "SHA-256", ELSEWHERE)]
        assert wire.ask(ask_for(name), "/", begin(wire, name).field()).code == ipp.OK
        assert not is_stale(wire.ask(ask_for(name), "/", begin(wire, name, "bob").field()))  # he has one elsewhere

    def test_what_is_not_configured_is_not_taken(self, configured, connect_to):
        """MD5 that nobody offered, and a password of another realm."""
        wire = connect_to(configured)
        digest = begin(wire)
        for change in ({"algorithm": "MD5"}, {"realm": REALM}):
            challenge = {**digest.challenge, **change}
            assert not is_stale(wire.ask(ask_for(), "/", Digest("ann", PASSWORDS["ann"], challenge).field())), change
        assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK

    def test_before_the_document(self, connect):
        body = ask_for(operation=PRINT_JOB).encode()
        wire = connect().send(post(body, "/", "Expect: 100-continue").replace(b"Content-Length: %d" % len(body),
                                                                             b"Content-Length: 1000000"))
        assert wire.reply().status == 401


class TestRight:
    @pytest.mark.parametrize("way, name, algorithm", [("clear", "clear", "SHA-256"), ("upgraded", "secure", "SHA-256"),
                                                      ("implicit", "secure", "SHA-256"), ("upgraded", "secure", "MD5"),
                                                      ("implicit", "secure", "MD5")])
    def test_in(self, gateway, backend, connect, way, name, algorithm):
        """The printer hears the name that was proved, whatever the request says of itself."""
        wire = connect(way)
        digest = begin(wire, name, algorithm=algorithm)
        values = digest.values()
        asked = ask_for(name, PRINT_JOB, ("document-format", ipp.MIME, "application/pdf"), user="root", data=PDF)
        reply = wire.ask(asked, "/", authorization(values), "User-Agent: Test/1.0")
        assert reply.code == ipp.OK
        info = parameters(reply.get("Authentication-Info"))
        assert info == {"qop": "auth", "nc": values["nc"], "cnonce": values["cnonce"],
                        "rspauth": digest.proof("", "/", values["nc"], values["cnonce"])}
        assert backend.last(PRINT_JOB).message.all("requesting-user-name") == ["ann"]
        assert b"Authorization" not in backend.last(PRINT_JOB).head
        record = wire.record(gateway, operation="Print-Job")
        assert (record["client"], record["user"], record["tenant"]) == (wire.name, "ann", "acme")
        assert record["type"] == "application/pdf" and "sniffed" not in record  # nobody looks into it here
        said = record["print"]
        assert said["agent"] == "Test/1.0"
        assert (said["auth"], said["channel"]) == (f"digest-{algorithm}", way)
        assert said["required"] == ("DAA" if way == "clear" else "TLS,DAA")
        assert said.get("offered") == (OFFERED if way == "upgraded" else None)
        assert record.get("protection", {}).get("cipher") == (None if way == "clear" else wire.sock.cipher()[0])
        assert (said["printer"], said["status"], record["action"]) == (name, "successful-ok", "pass")
        assert (record["body_len"], record["sha256"]) == (len(PDF), hashlib.sha256(PDF).hexdigest())

    def test_again_and_again(self, connect):
        wire = connect()
        digest = begin(wire)
        for _ in range(5):
            assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK

    @pytest.mark.parametrize("target, uri", [
        ("/ipp/secure", "/ipp/secure"), ("/ipp/secure;AUTH=TLS,DAA", "/ipp/secure;AUTH=TLS,DAA"),
        ("/ipp/secure", "/ipp/secure;AUTH=TLS,DAA"), ("/ipp/secure;AUTH=TLS", "/ipp/secure"),
        ("/ipp/my%20print", "/ipp/my print"), ("/ipp/my%20print", "/ipp/my%20print"),
        ("http://localhost/ipp/secure", "/ipp/secure"), ("/ipp/secure", "ipp://h/ipp/secure")])
    def test_uri_as_clients_write_it(self, connect, target, uri):
        wire = connect()
        assert wire.ask(ask_for(), target, begin(wire).field(uri)).code == ipp.OK

    def test_at_another_printer(self, connect):
        """One realm for all of a gateway."""
        wire = connect()
        digest = begin(wire)
        assert wire.ask(ask_for("staff"), "/", digest.field()).code == ipp.OK

    def test_where_nobody_asks(self, gateway, connect):
        """Who proves himself although nobody asked is known, too."""
        wire = connect()
        digest = begin(wire)
        assert wire.ask(ask_for("open"), "/", digest.field()).code == ipp.OK
        assert wire.record(gateway, printer="open")["user"] == "ann"


@pytest.fixture(scope="module")
def refused(gateway):
    """(user, password) of those who are refused, whatever there is of them."""
    tenant(gateway, "add", "acme", "--user", "no-digest", password="a password")
    add_user(gateway, "acme", "elsewhere", "a password", "--digest", ELSEWHERE, "--digest-md5")
    add_user(gateway, "acme", "off", "a password")
    tenant(gateway, "disable", "acme", "--user", "off")
    tenant(gateway, "add", "closed")
    add_user(gateway, "closed", "cut", "a password")
    tenant(gateway, "disable", "closed")
    return {"unknown": ("nobody", "wrong"), "no name": ("", "wrong"), "wrong": ("ann", "wrong"), "no password": ("ann", ""),
            "no Digest": ("no-digest", "a password"), "another realm": ("elsewhere", "a password"),
            "disabled": ("off", "a password"), "disabled, wrong": ("off", "wrong"), "tenant disabled": ("cut", "a password"),
            "tenant disabled, wrong": ("cut", "wrong")}


class TestWrong:
    @pytest.mark.parametrize("change", [
        {"algorithm": "SHA-256-sess"}, {"algorithm": "MD5-sess", "response": "0" * 32}, {"algorithm": "SHA-512-256"},
        {"algorithm": "SHA-1"}, {"algorithm": None, "response": "0" * 32}, {"qop": "auth-int"}, {"username": "bob"},
        {"qop": None, "nc": None, "cnonce": None}, {"realm": "elsewhere"}, {"nonce": "bm9uY2U"}, {"userhash": "true"},
        {"response": "0" * 64}], ids=str)
    def test_is_asked_anew(self, connect, change):
        """401, and not with the word that the password was right."""
        wire = connect()
        digest = begin(wire)
        assert not is_stale(wire.ask(ask_for(), "/", digest.field(**change)))
        assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK

    def test_a_nonce_that_was_changed(self, connect):
        wire = connect()
        digest = begin(wire)
        nonce = digest.challenge["nonce"]
        for at in (10, 20, 39):
            changed = nonce[:at] + ("A" if nonce[at] != "A" else "B") + nonce[at + 1:]
            assert not is_stale(wire.ask(ask_for(), "/", digest.field(nonce=changed))), at

    @pytest.mark.parametrize("change", [
        {"uri": "/elsewhere"}, {"uri": "/ipp/secure"}, {"nc": "1"}, {"nc": "00000000"}, {"nc": "0000000g"}, {"nc": None},
        {"cnonce": None}, {"cnonce": ""}, {"response": "abc"}, {"response": None}, {"nonce": None}, {"realm": None},
        {"username": None}, {"uri": None}, {"qop": None}], ids=str)
    def test_is_no_request(self, connect, change):
        wire = connect()
        digest = begin(wire)
        values = {k: v for k, v in {**digest.values(), **change}.items() if v is not None}
        reply = wire.ask(ask_for(), "/", authorization(values))
        assert (reply.status, reply.get("WWW-Authenticate")) == (400, None)
        assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK

    @pytest.mark.parametrize("more", [', username="ann"', ", nc=00000001", ', NONCE="x"', ", qop=auth", ', response="00"',
                                      ", x", ",,,="])
    def test_parameters_twice(self, connect, more):
        wire = connect()
        digest = begin(wire)
        assert wire.ask(ask_for(), "/", authorization(digest.values(), more)).status == 400

    def test_two_fields(self, connect):
        wire = connect()
        digest = begin(wire)
        assert wire.ask(ask_for(), "/", digest.field(), digest.field()).status == 400
        assert wire.ask(ask_for(), "/", digest.field(), basic("ann", PASSWORDS["ann"])).status == 400

    @pytest.mark.parametrize("line", ["Authorization: Digest", "Authorization: Digest username", "Authorization: ",
                                      "Authorization: Digest " + 'x="' + "y" * 5000 + '"'],
                             ids=["none", "word", "empty", "long"])
    def test_cannot_be_read(self, connect, line):
        assert connect().ask(ask_for(), "/", line).status == 400

    @pytest.mark.parametrize("line", ["Authorization: Bearer x", "Authorization: Negotiate YII=",
                                      "Authorization: Local x", "Authorization: PeerCred root"])
    def test_other_schemes(self, connect, line):
        assert not is_stale(connect().ask(ask_for(), "/", line))

    @pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
    def test_unknown_user_is_the_same(self, gateway, connect, refused, algorithm):
        """Nothing tells whether there is such a user, nor what is kept of him; not even to who has the password.
        Records say why, and do not take the name for one that was proved."""
        said = {}
        for user, password in refused.values():
            wire = connect()
            reply = wire.ask(ask_for(), "/", begin(wire, user=user, password=password or " ", algorithm=algorithm).field())
            fields = [(n, re.sub('nonce="[A-Za-z0-9_-]{40}"', "nonce", v)) for n, v in reply.fields
                      if n not in ("Date", "X-Request-ID")]
            said[user, password] = reply.line, fields, reply.body
            check_record(gateway, wire, reply, "no such user, or not the password")
        first = said["nobody", "wrong"]
        assert first[0] == "HTTP/1.1 401 Unauthorized" and len(said) == len(refused)
        assert all(s == first for s in said.values()), said

    def test_md5_in_clear(self, connect):
        """Also where the user has it: who listens would try passwords at leisure. What was heard counts nowhere."""
        wire = connect("upgraded")
        digest = begin(wire, algorithm="MD5")
        reply = connect("clear").ask(ask_for("clear"), "/", digest.field())
        assert reply.status == 401 and not is_stale(reply)
        assert is_stale(wire.ask(ask_for(), "/", digest.field()))

    def test_nobody_s_credentials_are_read_in_clear_for_tls(self, connect):
        wire = connect("clear")
        digest = begin(wire, "clear")
        reply = wire.ask(ask_for("secure"), "/", digest.field())
        assert (reply.status, reply.get("WWW-Authenticate")) == (426, None)
        assert wire.ask(ask_for("clear"), "/", digest.field(nc=f"{digest.nc:08x}")).code == ipp.OK  # not used up


class TestReplay:
    def test_the_same_again(self, gateway, connect):
        wire, second = connect(), connect()
        digest = begin(wire)
        values = digest.values()
        assert wire.ask(ask_for(), "/", authorization(values)).code == ipp.OK
        for other in (wire, second):
            reply = other.ask(ask_for(), "/", authorization(values))
            assert is_stale(reply)
            check_record(gateway, other, reply, USED)
        assert second.ask(ask_for(), "/", digest.field()).code == ipp.OK

    def test_wrong_password_hears_no_stale(self, connect):
        """Else a client would try its wrong password for ever, believing in it."""
        wire = connect()
        digest = begin(wire)
        values = digest.values()
        assert wire.ask(ask_for(), "/", authorization(values)).code == ipp.OK
        assert not is_stale(wire.ask(ask_for(), "/", authorization({**values, "response": "0" * 64})))

    def test_counts_with_gaps_and_out_of_order(self, connect):
        """libcups begins with 2, and requests on two connections overtake each other."""
        wires = itertools.cycle([connect(), connect()])
        digest = begin(next(wires))
        for n in (2, 7, 5, 9, 6, 70, 8):
            assert next(wires).ask(ask_for(), "/", digest.field(nc=f"{n:08x}")).code == ipp.OK, n
        for n in (7, 70, 5):
            assert is_stale(next(wires).ask(ask_for(), "/", digest.field(nc=f"{n:08x}"))), n

    def test_too_far_behind(self, connect):
        wire = connect()
        digest = begin(wire)
        assert wire.ask(ask_for(), "/", digest.field(nc="0000ffff")).code == ipp.OK
        assert is_stale(wire.ask(ask_for(), "/", digest.field(nc="00000001")))

    def test_two_challenges_with_the_same_count(self, connect):
        wires = [connect(), connect()]
        digests = [begin(wire) for wire in wires]
        for wire, digest in zip(wires, digests):
            assert wire.ask(ask_for(), "/", digest.field(nc="00000002")).code == ipp.OK

    @pytest.mark.parametrize("first, then, name", [("clear", "upgraded", "secure"), ("clear", "implicit", "clear"),
                                                   ("upgraded", "clear", "clear"), ("implicit", "clear", "clear")])
    def test_a_challenge_of_the_other_channel(self, connect, first, then, name):
        """Who got an answer to a challenge that he could read, or make, has nothing that counts within TLS."""
        digest, wire = begin(connect(first), "clear"), connect(then)
        reply = wire.ask(ask_for(name), "/", digest.field())
        assert reply.status == 401
        digest.challenge, digest.nc = get_challenge(reply), 0
        assert wire.ask(ask_for(name), "/", digest.field()).code == ipp.OK

    def test_within_tls_both_ways_are_one(self, connect):
        digest = begin(connect("upgraded"))
        assert connect("implicit").ask(ask_for(), "/", digest.field()).code == ipp.OK

    def test_a_refused_request_uses_nothing_up(self, connect):
        wire = connect()
        digest = begin(wire)
        values = digest.values()
        assert wire.ask(ask_for(), "/", authorization({**values, "response": "0" * 64})).status == 401
        assert wire.ask(ask_for(), "/", authorization(values)).code == ipp.OK


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    return MovedClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def timed(tmp_path_factory, certificates, backend, clock):
    """A gateway on a clock that the tests move; RFC 2069 is on."""
    with start(tmp_path_factory.mktemp("timed"), certificates, backend, "rfc2069: single-use",
               env=clock.environment) as running:
        yield running


class TestTime:
    def test_too_old(self, timed, clock, connect_to):
        wire = connect_to(timed)
        digest = begin(wire)
        assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK
        clock.move(LIFETIME + 2)
        assert not is_stale(wire.ask(ask_for(), "/", digest.field(response="0" * 64)))
        reply = wire.ask(ask_for(), "/", digest.field())
        assert is_stale(reply)
        check_record(timed, wire, reply, TOO_OLD)
        digest.challenge, digest.nc = get_challenge(reply), 0
        assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK

    def test_a_short_life(self, tmp_path, certificates, backend, clock, connect_to):
        """As it is configured: the password was right, the nonce is too old."""
        lifetime = 60
        with start(tmp_path / "gateway", certificates, backend, f"nonce-lifetime: {lifetime}s", users=("ann",),
                   env=clock.environment) as own:
            wire = connect_to(own)
            digest = begin(wire)
            clock.move(lifetime // 2)
            assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK
            clock.move(lifetime // 2 + 2)
            reply = wire.ask(ask_for(), "/", digest.field())
            assert is_stale(reply)
            check_record(own, wire, reply, TOO_OLD)
            digest.challenge, digest.nc = get_challenge(reply), 0
            assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK

    def test_keys_change(self, tmp_path, certificates, backend, clock, connect_to):
        """Every hour; a challenge that was made with the key before is good for as long as it was to be."""
        with start(tmp_path / "gateway", certificates, backend, users=("ann",), env=clock.environment) as own:
            first = key_of(begin(wire := connect_to(own)))
            clock.move(3400)
            digest = begin(wire)
            assert key_of(digest) == first
            for n, seconds in enumerate((250, 3700, 3700)):
                clock.move(seconds)
                wait.until(lambda n=n: key_of(begin(connect_to(own))) == (first + n + 1) % 256, "another key")
                reply = wire.ask(ask_for(), "/", digest.field())
                assert is_stale(reply) if n else reply.code == ipp.OK

    def test_after_a_restart(self, tmp_path, certificates, backend, connect_to):
        """A nonce of before is an old one, not a forged one: clients answer the new one and ask nobody anything."""
        with start(tmp_path / "gateway", certificates, backend) as first:
            digest = begin(connect_to(first))
            assert connect_to(first).ask(ask_for(), "/", digest.field()).code == ipp.OK
        with start(tmp_path / "gateway", certificates, backend, users=()) as again:
            wire = connect_to(again)
            reply = wire.ask(ask_for(), "/", digest.field())
            assert is_stale(reply)
            check_record(again, wire, reply, TOO_OLD)
            digest.challenge, digest.nc = get_challenge(reply), 0
            assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK

    def test_the_next_one(self, timed, clock, connect_to):
        """Towards the end of a nonce's life the answer has another one, and nobody has to be asked."""
        wire = connect_to(timed)
        digest = begin(wire)
        reply = wire.ask(ask_for(), "/", digest.field())
        assert "nextnonce" not in parameters(reply.get("Authentication-Info"))
        clock.move(LIFETIME * 9 // 10)
        reply = wire.ask(ask_for(), "/", digest.field())
        assert reply.code == ipp.OK
        nonce = parameters(reply.get("Authentication-Info"))["nextnonce"]
        assert nonce != digest.challenge["nonce"]
        digest.challenge, digest.nc = {**digest.challenge, "nonce": nonce}, 0
        clock.move(LIFETIME // 2)
        assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK

    def test_a_clock_that_is_put_back(self, timed, clock, connect_to):
        wire = connect_to(timed)
        clock.move(7200)
        digest = begin(wire)
        clock.move(-7200)
        reply = wire.ask(ask_for(), "/", digest.field())
        assert is_stale(reply)
        check_record(timed, wire, reply, TOO_OLD)
        digest.challenge, digest.nc = get_challenge(reply), 0
        assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK


class Old(Digest):
    """As clients of 1997 answer: without a count."""

    def values(self, path="/", method="POST", **change):
        return super().values(path, method, **{"qop": None, "nc": None, "cnonce": None, "algorithm": None, **change})


class TestRFC2069:
    def begin(self, wire, algorithm="MD5"):
        return Old("ann", PASSWORDS["ann"], get_challenge(wire.ask(ask_for()), algorithm))

    def test_each_nonce_once(self, timed, connect_to):
        wire = connect_to(timed)
        old = self.begin(wire)
        reply = wire.ask(ask_for(), "/", old.field())
        assert reply.code == ipp.OK
        info = parameters(reply.get("Authentication-Info"))
        reply = wire.ask(ask_for(), "/", old.field())
        assert is_stale(reply)
        check_record(timed, wire, reply, USED)
        old.challenge = {**old.challenge, "nonce": info["nextnonce"]}
        assert wire.ask(ask_for(), "/", old.field()).code == ipp.OK

    def test_a_nonce_is_of_one_kind(self, timed, connect_to):
        """What was used with a count is not taken without one, nor the other way round."""
        wire = connect_to(timed)
        old = self.begin(wire)
        counted = Digest("ann", PASSWORDS["ann"], old.challenge)
        assert wire.ask(ask_for(), "/", counted.field()).code == ipp.OK
        assert is_stale(wire.ask(ask_for(), "/", old.field()))
        old = self.begin(wire)
        assert wire.ask(ask_for(), "/", old.field()).code == ipp.OK
        assert is_stale(wire.ask(ask_for(), "/", Digest("ann", PASSWORDS["ann"], old.challenge).field()))

    def test_never_in_clear(self, timed, connect_to):
        old = self.begin(connect_to(timed))
        reply = connect_to(timed, "clear").ask(ask_for("clear"), "/", old.field())
        assert reply.status == 401 and not is_stale(reply)

    def test_off(self, connect):
        wire = connect()
        reply = wire.ask(ask_for(), "/", self.begin(wire).field())
        assert reply.status == 401 and not is_stale(reply)


class TestThrottle:
    ALLOWED = 10  # whatever loops they come to; then one more each 6 s

    @pytest.mark.parametrize("who", ["wrong", "unknown", "no Digest", "tenant disabled"])
    def test_by_address(self, gateway, connect, refused, who):
        """Some tools try a wrong password for ever. Each try counts the same, whoever it was for."""
        answers, (user, password) = [], refused[who]
        while 429 not in answers and len(answers) < self.ALLOWED + 4:
            field = begin(wire := connect(), user=user, password=password).field()
            answers.append(wire.ask(ask_for(), "/", field).status)
        assert answers[:self.ALLOWED] == [401] * self.ALLOWED and answers[-1] == 429, answers
        assert wire.record(gateway, http_status=429)["error"] == "overload"
        assert wire.ask(ask_for(operation=GET_PRINTER_ATTRIBUTES)).code == ipp.OK  # who shows no password is served
        other = connect(source="127.0.0.2")
        assert other.ask(ask_for(), "/", begin(other).field()).code == ipp.OK

    @pytest.mark.parametrize("who", ["wrong", "unknown", "no Digest", "tenant disabled"])
    def test_one_connection_ends(self, connect, refused, who):
        wire, (user, password) = connect(), refused[who]
        digest = begin(wire, user=user, password=password)
        replies = [wire.ask(ask_for(), "/", digest.field()) for _ in range(5)]
        assert [r.status for r in replies] == [401] * 5
        assert [r.get("Connection") for r in replies] == [None] * 4 + ["close"]
        assert wire.rest() == b""


class TestChanges:
    """What an administrator changes counts at once, also on connections that are open."""

    @pytest.fixture
    def user(self, gateway):
        name = f"user{next(self.numbers)}"
        add_user(gateway, "acme", name, "a password")
        return name

    numbers = itertools.count()

    def test_disabled(self, gateway, connect, user):
        wire = connect()
        digest = begin(wire, user=user, password="a password")
        assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK
        tenant(gateway, "disable", "acme", "--user", user)
        reply = wire.ask(ask_for(), "/", digest.field())
        assert reply.status == 401 and not is_stale(reply)
        tenant(gateway, "enable", "acme", "--user", user)
        assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK

    def test_tenant_disabled(self, gateway, connect):
        tenant(gateway, "add", "fleeting")
        add_user(gateway, "fleeting", "fleeting-user", "a password")
        wire = connect()
        digest = begin(wire, user="fleeting-user", password="a password")
        assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK
        tenant(gateway, "disable", "fleeting")
        assert wire.ask(ask_for(), "/", digest.field()).status == 401

    def test_another_password(self, gateway, connect, user):
        wire = connect()
        digest = begin(wire, user=user, password="a password")
        tenant(gateway, "passwd", user, "--digest", REALM, password="another password")
        assert wire.ask(ask_for(), "/", digest.field()).status == 401
        digest.password = "another password"
        assert wire.ask(ask_for(), "/", digest.field()).code == ipp.OK

    @pytest.mark.parametrize("options, algorithm, status", [
        ((), "SHA-256", 401), (("--digest", REALM), "SHA-256", 200), (("--digest", REALM), "MD5", 401),
        (("--digest", "elsewhere"), "SHA-256", 401)])
    def test_what_is_kept(self, gateway, connect, user, options, algorithm, status):
        tenant(gateway, "passwd", user, *options, password="another password")
        wire = connect()
        digest = begin(wire, user=user, password="another password", algorithm=algorithm)
        assert wire.ask(ask_for(), "/", digest.field()).status == status

    def test_removed(self, gateway, connect, user):
        wire = connect()
        digest = begin(wire, user=user, password="a password")
        tenant(gateway, "remove", "--user", user, "--yes")
        assert wire.ask(ask_for(), "/", digest.field()).status == 401


@pytest.fixture(scope="module")
def clients(certificates):
    return {"acme": certificates.issue("print-client", "subjectAltName=DNS:client.acme.test", "clientAuth"),
            "nobody": certificates.issue("print-stranger", "subjectAltName=DNS:stranger.test", "clientAuth")}


class TestCertificate:
    @pytest.mark.parametrize("way", ["upgraded", "implicit"])
    def test_in(self, gateway, backend, connect, clients, way):
        wire = connect(way, tls=context(certificate=clients["acme"]))
        assert wire.ask(ask_for("certificate", PRINT_JOB, user="root", data=PDF)).code == ipp.OK
        record = wire.record(gateway, operation="Print-Job")
        assert (record["tenant"], record["print"]["auth"]) == ("acme", "certificate")
        assert backend.last(PRINT_JOB).message.all("requesting-user-name") == [record["user"]]
        assert "root" not in record["user"]

    @pytest.mark.parametrize("client", [None, "nobody"])
    def test_without(self, gateway, backend, connect, clients, client):
        wire = connect(tls=context(certificate=client and clients[client]))
        reply = wire.ask(ask_for("certificate", PRINT_JOB, data=PDF))
        assert reply.code == 0x0402 and "certificate" in reply.words
        assert backend.heard == []
        assert wire.record(gateway, operation="Print-Job")["print"]["lacked"] == "certificate"

    def test_password_is_less(self, connect):
        wire = connect()
        assert wire.ask(ask_for("certificate"), "/", begin(wire).field()).code == 0x0402

    def test_not_for_what_was_said_before(self, gateway, backend, connect, clients):
        """The request was written in clear text, where anybody could write it: the handshake behind it proves nothing."""
        wire = connect("clear", listener="any")
        wire.send(post(ask_for("certificate"), "/", "Connection: Upgrade", "Upgrade: TLS/1.2"))
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        reply = wire.start_tls(context(certificate=clients["acme"])).reply()
        assert reply.code == 0x0402 and backend.heard == []
        assert wire.ask(ask_for("certificate")).code == ipp.OK  # what is said inside it is another matter

    def test_own_job(self, connect, clients):
        wire = connect(tls=context(certificate=clients["acme"]))
        made = wire.ask(ask_for("secure", PRINT_JOB, data=PDF)).message
        asked = ask_for("secure", ipp.GET_JOB_ATTRIBUTES, job_id=made.get("job-id"))
        assert wire.ask(asked).answer == ipp.OK
        other = connect()
        assert other.ask(asked, "/", begin(other).field()).answer == 0x0402  # proves less than the job was made with

    def test_is_more_than_a_password(self, connect, clients):
        assert connect(tls=context(certificate=clients["acme"])).ask(ask_for("secure")).code == ipp.OK

    def test_in_clear(self, connect):
        assert connect("clear").ask(ask_for("certificate")).status == 426

    def test_what_the_printer_can_do_is_told(self, connect):
        assert connect().ask(ask_for("certificate", GET_PRINTER_ATTRIBUTES)).code == ipp.OK


class TestWhoMay:
    @pytest.mark.parametrize("name, user, code", [
        ("staff", "ann", ipp.OK), ("staff", "bob", ipp.FORBIDDEN), ("staff", "eve", ipp.OK), ("staff", "root", ipp.OK),
        ("others", "eve", ipp.OK), ("others", "ann", ipp.FORBIDDEN), ("others", "root", ipp.FORBIDDEN),
        ("basic", "bob", ipp.OK), ("basic", "eve", ipp.FORBIDDEN)])
    def test_allow(self, gateway, backend, connect, name, user, code):
        wire = connect()
        digest = begin(wire, user=user)
        reply = wire.ask(ask_for(name, PRINT_JOB, data=PDF), "/", digest.field())
        assert reply.code == code
        assert (PRINT_JOB in backend.operations()) == (code == ipp.OK)
        if code != ipp.OK:
            assert reply.words == "you may not use this printer"
            assert wire.record(gateway, operation="Print-Job")["rule"] == "allow"

    def test_a_name_that_is_only_said(self, backend, connect):
        """requesting-user-name proves nothing."""
        for name in ("basic", "listed"):
            assert connect().ask(ask_for(name, PRINT_JOB, user="ann", data=PDF)).answer in (401, ipp.FORBIDDEN)
        assert backend.heard == []

    def test_who_has_not_said_anything_is_asked(self, connect):
        """A list of users is no use where nobody is asked who he is."""
        wire = connect()
        reply = wire.ask(ask_for("listed"))
        assert {scheme for scheme, _ in challenges(reply)} == {"Digest"}
        assert wire.ask(ask_for("listed"), "/", begin(wire).field()).code == ipp.OK

    @pytest.mark.parametrize("name, status", [("secure", 200), ("staff", 200), ("basic", 200), ("listed", 200),
                                              ("closed", 401), ("silent", 401)])
    def test_what_is_told_to_everybody(self, connect, name, status):
        assert connect().ask(ask_for(name, GET_PRINTER_ATTRIBUTES)).status == status

    def test_uris_that_are_told(self, gateway, connect):
        """Each with the protection and the login that go with it."""
        port = gateway.address("print")[1]
        uris = [f"ipps://localhost:{port}/ipp/secure", f"ipp://localhost:{port}/ipp/secure;AUTH=TLS,DAA"]
        told = connect().ask(ask_for("secure", GET_PRINTER_ATTRIBUTES), "/ipp/secure").message
        assert told.all("printer-uri-supported") == uris
        assert told.all("uri-security-supported") == ["tls", "tls"]
        assert told.all("uri-authentication-supported") == ["digest", "digest"]
        for way, uri in (("implicit", uris[0]), ("upgraded", uris[1])):  # libcups asks at / and takes two for one
            told = connect(way).ask(ask_for("secure", GET_PRINTER_ATTRIBUTES), "/").message
            assert told.all("printer-uri-supported") == [uri]
            assert len(told.all("uri-security-supported")) == len(told.all("uri-authentication-supported")) == 1


def at_a_terminal(command, env, prompt, answer, seconds=60):
    """(exit code, what it said) of a command that is told |answer| whenever it says |prompt|."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, env)
    said, answered = b"", 0
    try:
        while select.select([terminal], [], [], seconds)[0]:
            data = os.read(terminal, 4096)
            if not data:
                break
            said += data
            while said.count(prompt.encode()) > answered:
                answered += 1
                os.write(terminal, answer.encode() + b"\n")
    except OSError:
        pass  # it has ended
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode(errors="replace")


class TestRealClients:
    def test_ipptool(self, gateway, backend, connect_to, tmp_path):
        """With user and password in the URI."""
        backend.forget()
        port = gateway.address("print")[1]
        env = client_environment(tmp_path / "home")
        path = tmp_path / "document.pdf"
        path.write_bytes(PDF)
        password = PASSWORDS["bob"].replace(" ", "%20").replace("'", "%27")
        for uri, options in ((f"ipp://bob:{password}@localhost:{port}/ipp/secure", []),
                             (f"ipp://bob:{password}@localhost:{port}/ipp/secure", ["-E"]),
                             (f"ipps://bob:{password}@localhost:{port}/ipp/secure", [])):
            done = ipptool(uri, "print-job.test", "-t", *options, file=path, env=env)
            assert done.returncode == 0, done.stdout
            assert backend.last(PRINT_JOB).message.get("requesting-user-name") == "bob"
            assert backend.last(PRINT_JOB).document == PDF

    def test_ipptool_with_a_wrong_password_ends(self, tmp_path, certificates, backend):
        """Each of its tries comes on another connection."""
        with start(tmp_path / "gateway", certificates, backend) as own:
            port = own.address("print")[1]
            done = ipptool(f"ipps://ann:wrong@localhost:{port}/ipp/secure", "print-job.test", "-t", file=__file__,
                           env=client_environment(tmp_path / "home"), seconds=60)
            assert done.returncode != 0
            own.stop()  # its records are whole then
            statuses = [r.get("http_status") for r in own.print_records()]
            assert 401 in statuses and len(statuses) < 60 and 200 not in statuses, statuses

    @pytest.mark.parametrize("listener, name, options", [("bare", "clear", []), ("print", "clear", []),
                                                         ("print", "secure", ["-E"])])
    def test_lp(self, gateway, backend, tmp_path, listener, name, options):
        """Which asks the person at the terminal."""
        backend.forget()
        path = tmp_path / "document.pdf"
        path.write_bytes(PDF)
        port = gateway.address(listener)[1]
        command = [need("lp", "cups-client"), *options, "-h", f"localhost:{port}", "-U", "ann", "-d", name, str(path)]
        code, said = at_a_terminal(command, client_environment(tmp_path / "home"), "assword", PASSWORDS["ann"])
        assert code == 0 and "request id is" in said, said
        heard = backend.last(PRINT_JOB) if PRINT_JOB in backend.operations() else backend.wait_heard(ipp.SEND_DOCUMENT)
        assert heard.document == PDF
        assert heard.message.get("requesting-user-name") == "ann"
