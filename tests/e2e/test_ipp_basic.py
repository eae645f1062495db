# SPDX-License-Identifier: Apache-2.0
"""Who prints: Basic (RFC 7617) within TLS, where a printer takes it."""
import base64
import time

import pytest

from test_ipp_login import (CONFIG, PASSWORDS, PDF, ask_for, begin, connect, connect_to, gateway, start)  # noqa: F401
from testenv import ipp
from testenv.ipp import PRINT_JOB, VALIDATE_JOB, request
from testenv.print_wire import add_user, basic, challenges, post
from testenv.printing import PrintGateway, printer

HOLD = 1  # login.hold-refusals by default, in seconds
TURN = 0.05  # it is counted from the beginning of the gateway's turn, in whole milliseconds


class TestBasic:
    def test_in(self, gateway, backend, connect):
        for way in ("upgraded", "implicit"):
            wire = connect(way)
            assert wire.ask(ask_for("basic"), "/", basic("ann", PASSWORDS["ann"])).code == ipp.OK
            assert backend.last(VALIDATE_JOB).message.all("requesting-user-name") == ["ann"]
            record = wire.record(gateway, printer="basic")
            assert (record["user"], record["tenant"], record["print"]["auth"]) == ("ann", "acme", "basic")

    @pytest.mark.parametrize("user, password", [("ann", "wrong"), ("nobody", "wrong"), ("ann", "")])
    def test_wrong(self, connect, user, password):
        reply = connect().ask(ask_for("basic"), "/", basic(user, password))
        assert [scheme for scheme, _ in challenges(reply)] == ["Digest", "Digest", "Basic"]

    @staticmethod
    def held(wire, field, status):
        """Is it refused, and has that taken the second that it costs nobody but who asks?"""
        began = time.monotonic()
        reply = wire.ask(ask_for("basic"), "/", field)
        assert reply.status == status
        assert time.monotonic() - began >= HOLD - TURN

    def test_guessing_again_is_not_faster(self, gateway, connect):
        """Who sends again what is known to be wrong, or what nobody can be called, waits; the connection goes on."""
        wrong, wire = basic("ann", "a guess"), connect()
        assert wire.ask(ask_for("basic"), "/", wrong).status == 401  # this one was derived
        self.held(wire, wrong, 401)
        self.held(wire, "Authorization: Basic " + base64.b64encode(b"no colon").decode(), 401)
        assert wire.ask(ask_for("basic"), "/", basic("ann", PASSWORDS["ann"])).code == ipp.OK

    def test_who_has_to_wait_is_told_later(self, tmp_path, certificates, backend, connect_to):
        """Too many failures from there: no password is looked at, right or not, and whoever is logged in goes on."""
        few = CONFIG.replace(" failures: 1000,", " failures: 1, failure-every: 1h,")
        with start(tmp_path / "gateway", certificates, backend, users=("ann", "bob"), config=few) as own:
            wire, ann = connect_to(own), basic("ann", PASSWORDS["ann"])
            assert wire.ask(ask_for("basic"), "/", ann).code == ipp.OK
            assert wire.ask(ask_for("basic"), "/", basic("ann", "a guess")).status == 401
            self.held(wire, basic("bob", PASSWORDS["bob"]), 503)
            assert wire.record(own, http_status=503)["error"] == "overload"
            assert own.metrics()["sallyport_login_held_total"] == 1
            assert wire.ask(ask_for("basic"), "/", ann).code == ipp.OK

    def test_the_client_leaves_while_it_is_held(self, gateway, connect):
        wrong, wire = basic("ann", "another guess"), connect()
        assert wire.ask(ask_for("basic"), "/", wrong).status == 401
        wire.send(post(ask_for("basic"), "/", wrong))
        wire.close()
        self.held(connect(), wrong, 401)  # that one's second is over, too

    @pytest.mark.parametrize("line", ["Authorization: Basic", "Authorization: Basic !", "Authorization: Basic YW5u YW5u"])
    def test_cannot_be_read(self, connect, line):
        assert connect().ask(ask_for("basic"), "/", line).status in (400, 401)

    @pytest.mark.parametrize("name", ["secure", "open", "clear"])
    def test_where_it_is_not_taken(self, connect, name):
        """And the answer does not ask for it."""
        reply = connect().ask(ask_for(name), "/", basic("ann", PASSWORDS["ann"]))
        assert {scheme for scheme, _ in challenges(reply)} == {"Digest"}

    def test_never_in_clear(self, connect):
        reply = connect("clear").ask(ask_for("basic"), "/", basic("ann", PASSWORDS["ann"]))
        assert (reply.status, reply.get("WWW-Authenticate")) == (426, None)

    def test_is_no_digest(self, connect):
        """Who asks for DAA in a URI gets no less."""
        reply = connect().ask(ask_for("basic;AUTH=TLS,DAA"), "/", basic("ann", PASSWORDS["ann"]))
        assert reply.status == 401

    def test_own_job_by_its_uri(self, connect):
        """The URI of a job names no printer; the job does."""
        wire, field = connect(), basic("ann", PASSWORDS["ann"])
        made = wire.ask(ask_for("basic", PRINT_JOB, data=PDF), "/", field)
        assert made.code == ipp.OK
        asked = request(ipp.GET_JOB_ATTRIBUTES, made.message.get("job-uri"))
        asked.groups[0][1][2] = ("job-uri", ipp.URI, made.message.get("job-uri"))
        assert wire.ask(asked, "/", field).answer == ipp.OK

    def test_own_job(self, connect):
        """Made with a password that was sent: less than one that was proved, more than a name."""
        wire, field = connect(), basic("ann", PASSWORDS["ann"])
        made = wire.ask(ask_for("basic", PRINT_JOB, data=PDF), "/", field).message
        assert made.get("job-uri").endswith(f"/jobs/{made.get('job-id')};AUTH=TLS")
        asked = ask_for("basic", ipp.GET_JOB_ATTRIBUTES, job_id=made.get("job-id"), user="ann")
        assert wire.ask(asked).answer in (401, ipp.FORBIDDEN)
        digest = begin(wire)
        assert wire.ask(asked, "/", field).answer == ipp.OK
        assert wire.ask(asked, "/", digest.field()).answer == ipp.OK
        assert wire.ask(asked, "/", basic("bob", PASSWORDS["bob"])).answer == ipp.NOT_AUTHORIZED
        assert connect("clear").ask(asked, "/", field).status == 426

    def test_other_users_in_line(self, connect):
        """Digest at a printer that takes Basic, too."""
        wire = connect()
        digest = begin(wire, "basic;AUTH=DAA")
        assert wire.ask(ask_for("basic"), "/", digest.field()).code == ipp.OK


class TestIsolation:
    def test_cached_verdicts_are_not_shared(self, tmp_path, certificates, backend, connect_to):
        """A fast answer must not say that somebody else has printed this document."""
        looks = printer("looks", backend.uri(), require="[tls]", pipeline="[filetype]", basic="true")
        with PrintGateway(tmp_path / "gateway", certificates, [looks], more=CONFIG) as own:
            for user, of in (("ann", "acme"), ("bob", "acme"), ("eve", "other")):
                add_user(own, of, user, PASSWORDS[user])

            def cached(user):
                field = basic(user, PASSWORDS[user]) if user else None
                reply = connect_to(own).ask(ask_for("looks", PRINT_JOB, data=PDF), "/", *([field] if field else []))
                assert reply.code == ipp.OK
                record = own.wait_record(lambda r: r["id"] == reply.get("X-Request-ID"))
                assert record.get("tenant") == {"ann": "acme", "bob": "acme", "eve": "other"}.get(user)
                return record.get("cached", False)

            found = [(user, cached(user)) for user in (None, "ann", "bob", "eve", "eve", None)]
            assert found == [(None, False), ("ann", False), ("bob", True), ("eve", False), ("eve", True), (None, True)]
