# SPDX-License-Identifier: Apache-2.0
"""Tenants log in: by certificate, by password, by both; once for an hour, however many connections;
each for itself, whatever the others do. With Python's ssl, and with Squid, which sends its tenants'
passwords with adaptation_meta."""
import base64
import concurrent.futures
import contextlib
import functools
import json
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time

import pytest

from testenv import IcapConnection, Squid, samples, wait
from testenv.cicap import cicap_client
from testenv.icap import chunked, http_request, http_response, request
from testenv.sallyport import binary, build_dir, is_sanitized
from testenv.squid import KEEP_READING
from testenv.tenants import ALICE, BOB, Tenants, authorization

KEY_UPDATE = 24  # RFC 8446 4.6.3
OPTIONS = {"method": "OPTIONS", "http": [], "encapsulated": "", "body": None}


def files_of(pid):
    """What a process has open or mapped."""
    mapped = pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [os.readlink(d) for d in pathlib.Path(f"/proc/{pid}/fd").iterdir()] + mapped


@pytest.fixture(scope="module")
def clients(certificates):
    """Client certificates: of acme, of other by name and by subject, of both of them, of nobody."""
    return {"acme": certificates.issue("acme-proxy", "subjectAltName=DNS:proxy.acme.test", "clientAuth"),
            "other": certificates.issue("other-proxy", "subjectAltName=URI:spiffe://other.test/proxy/1", "clientAuth"),
            "named": certificates.issue("other-by-name", "subjectAltName=DNS:named.test", "clientAuth"),
            "two": certificates.issue("of-two", "subjectAltName=DNS:proxy.acme.test,URI:spiffe://other.test/proxy/2",
                                      "clientAuth"),
            "nobody": certificates.issue("stranger", "subjectAltName=DNS:stranger.test", "clientAuth")}


@pytest.fixture(scope="module")
def tenants(tmp_path_factory, certificates, clients):
    made = Tenants(tmp_path_factory.mktemp("logins"), certificates, clients)
    with made.gateway:
        yield made


@pytest.fixture
def own(tmp_path, certificates, clients):
    """Starts one of a test's own: own(requests=…, failures=…, more=…)."""
    started = []

    def start(**options):
        started.append(Tenants(tmp_path / f"own-{len(started)}", certificates, clients, **options))
        return started[-1]

    yield start
    for one in started:
        one.gateway.stop()


class TestPassword:
    def test_challenge_then_login_on_one_connection(self, tenants):
        since = len(tenants.gateway.records())
        with tenants.connect() as c:
            reply = c.ask("RESPMOD", "icaps://localhost/echo", b"x")
            assert reply.status == 407
            assert reply.field("Proxy-Authenticate") == reply.field("WWW-Authenticate")
            assert re.fullmatch(r'Basic realm="[^"]+", charset="UTF-8"', reply.field("WWW-Authenticate"))
            reply = c.ask("RESPMOD", "icaps://localhost/echo", b"x", fields=[authorization(*ALICE)])
            assert (reply.status, reply.body) == (200, b"x")
            reply = c.ask("RESPMOD", "icaps://localhost/echo", b"y")  # once for a connection
            assert (reply.status, reply.body) == (200, b"y")
        first = tenants.gateway.wait_record(lambda r: r.get("error") == "login", since=since)
        assert "tenant" not in first and first["icap_status"] == 407
        record = tenants.gateway.wait_record(lambda r: r.get("tenant") == "acme", since=since)
        assert re.fullmatch("[0-9a-f]{32}", record["session"])
        assert record["protection"]["how"] == "strong"

    def test_unknown_user_and_wrong_password_are_the_same(self, tenants):
        name = "sallyport_login_verifier_rounds_total"
        said, rounds = [], []
        for who in [("alice", "wrong password"), ("nobody", "wrong password")]:
            before = tenants.metric(name)
            reply = tenants.ask(who=who)
            rounds.append(tenants.metric(name) - before)
            said.append((reply.status, [(n, v) for n, v in reply.fields if n not in ("Date", "X-Request-ID")]))
        assert said[0] == said[1] and said[0][0] == 407
        assert rounds == [100000, 100000]

    def test_one_login_for_200_first_requests(self, tenants):
        tenants.add("acme", "crowd", "many at the same time")
        names = ['sallyport_login_derivations_total{of="verifier"}', 'sallyport_login_derivations_total{of="session-key"}']
        before = [tenants.metric(n) for n in names]
        lines = request("RESPMOD", "icaps://localhost/echo", b"x",
                        fields=[authorization("crowd", "many at the same time")])
        crowd = [tenants.connect() for _ in range(200)]
        for c in crowd:
            c.send(lines)
        assert {c.read_reply("RESPMOD").status for c in crowd} == {200}
        for c in crowd:
            c.close()
        assert [tenants.metric(n) for n in names] == [b + 1 for b in before]

    def test_large_body_with_a_first_login(self, tenants):
        tenants.add("acme", "sender", "sends everything at once")
        body = os.urandom(3_000_000)
        reply = tenants.ask(who=("sender", "sends everything at once"), body=body)
        assert (reply.status, reply.body == body) == (200, True)

    def test_nobody_s_large_body_is_not_taken(self, tenants):
        with tenants.connect() as c:
            http = [("req-hdr", http_request()), ("res-hdr", http_response(10_000_000))]
            head = request("RESPMOD", "icaps://localhost/echo", b"", http=http)[:-len(chunked(b""))]
            c.send(head + b"10000\r\n" + b"x" * 0x10000)
            reply = c.read_reply("RESPMOD")
            assert reply.status == 407 and reply.field("Connection") == "close"

    def test_changes_count_at_once(self, tenants):
        tenants.add("acme", "carol", "first password")
        context, updates = tenants.context(), []

        def look(connection, direction, version, content, kind, data):
            if kind == KEY_UPDATE and content == ssl._TLSContentType.HANDSHAKE:
                updates.append(direction)

        context._msg_callback = look
        with tenants.connect(context=context) as c:
            fields = [authorization("carol", "first password")]
            assert c.ask("RESPMOD", "icaps://localhost/echo", b"x", fields=fields).status == 200
            tenants.run("passwd", "carol", password="second password")
            assert c.ask("RESPMOD", "icaps://localhost/echo", b"x").status == 407
            assert c.ask("RESPMOD", "icaps://localhost/echo", b"x", fields=fields).status == 407
            assert not updates
            fields = [authorization("carol", "second password")]
            assert c.ask("RESPMOD", "icaps://localhost/echo", b"x", fields=fields).status == 200
            assert updates[0] == "read"  # another session, other record keys
            for _ in range(2):
                assert c.ask("RESPMOD", "icaps://localhost/echo", b"x", fields=fields).status == 200
                assert updates == ["read", "write"]  # in both directions, and once
        assert tenants.status(who=("carol", "second password")) == 200
        tenants.run("disable", "acme", "--user", "carol")
        assert tenants.status(who=("carol", "second password")) == 407
        tenants.run("enable", "acme", "--user", "carol")
        assert tenants.status(who=("carol", "second password")) == 200
        tenants.run("remove", "--user", "carol", "--yes")
        assert tenants.status(who=("carol", "second password")) == 407

    def test_sessions_have_ids(self, tenants):
        """Whoever reads the records sees that a login was another one; requests of one login have the same id, and
        derive nothing."""
        tenants.add("acme", "ed", "first password of ed")
        names = ['sallyport_login_derivations_total{of="verifier"}', 'sallyport_login_derivations_total{of="session-key"}']
        before, body = [tenants.metric(n) for n in names], b"of ed" * 111
        with tenants.connect() as c:
            for password in ("first password of ed", "second password of ed"):
                if password.startswith("second"):
                    tenants.run("passwd", "ed", password=password)
                for _ in range(20):
                    login = authorization("ed", password)
                    assert c.ask("RESPMOD", "icaps://localhost/echo", body, fields=[login]).status == 200
        assert [tenants.metric(n) for n in names] == [b + 2 for b in before]

        def ids_of_ed():
            ids = [r["session"] for r in tenants.gateway.records() if r.get("body_len") == len(body)]
            return ids if len(ids) == 40 else None
        ids = wait.until(ids_of_ed, "the records")
        assert ids == 20 * [ids[0]] + 20 * [ids[20]] and ids[0] != ids[20]

    def test_other_letters(self, tenants):
        """UTF-8, as the challenge says; a colon in the password; the scheme in any case of letters."""
        tenants.add("acme", "jürgen", "Straße: 7 €")
        token = authorization("jürgen", "Straße: 7 €").split()[-1]
        for scheme in ("Basic", "basic", "BASIC"):
            with tenants.connect() as c:
                login = [f"Authorization: {scheme} {token}"]
                assert c.ask("RESPMOD", "icaps://localhost/echo", b"x", fields=login).status == 200

    def test_verifiers_grow(self, own):
        """When more rounds are asked for, at the next login; and that one goes on."""
        tenants = own()

        def rounds(user):
            done = tenants.gateway.command_line("tenant", "list", "--json", "--state", tenants.gateway.state)
            return {u["user"]: u["rounds"] for t in json.loads(done.stdout)["tenants"] for u in t["users"]}[user]

        with tenants.connect() as c:
            fields = [authorization(*ALICE)]
            assert c.ask("RESPMOD", "icaps://localhost/echo", b"x", fields=fields).status == 200
            config = tenants.gateway.config.read_text()
            tenants.gateway.config.write_text(config.replace("rounds: 100000", "rounds: 150000"))
            tenants.gateway.send_signal(signal.SIGHUP)
            tenants.gateway.wait_log("reload: done without interruption", 30)
            assert tenants.status(who=BOB) == 200
            wait.until(lambda: rounds("bob") == 150000, "the new verifier", 20)
            assert rounds("alice") == 100000  # has not logged in since
            assert c.ask("RESPMOD", "icaps://localhost/echo", b"x").status == 200
        sessions = tenants.metric("sallyport_login_sessions")
        assert tenants.status(who=BOB) == 200 and tenants.metric("sallyport_login_sessions") == sessions
        assert tenants.metric("sallyport_login_ended_total") == 0
        pid = tenants.gateway.gateway_pid()
        os.kill(pid, signal.SIGKILL)  # nobody is known any more
        wait.until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "its end")
        assert tenants.status(who=BOB) == 200 and tenants.status(who=("bob", "something else")) == 407


class TestGuessing:
    def test_those_who_guess_wait(self, own):
        """Whoever shows a tenant's certificate counts as that tenant, others as their address, which here is the same
        for all. Sessions go on."""
        tenants = own(failures="3", more=", failure-every: 1h, hold-refusals: 10ms")
        tenants.add("acme", "carol", "not logged in yet")
        assert tenants.status("both", client="acme", who=ALICE) == 200
        guesses = [tenants.ask("both", client="acme", who=("alice", f"guess number {i}")) for i in range(4)]
        assert [g.status for g in guesses] == [407, 407, 407, 503]
        assert int(guesses[3].field("Retry-After")) > 0
        assert tenants.status("both", client="acme", who=("carol", "not logged in yet")) == 503  # right or not
        assert tenants.metric("sallyport_login_throttled_total") == 2
        assert tenants.status("both", client="acme", who=ALICE) == 200
        assert tenants.status("both", client="other", who=BOB) == 200
        assert tenants.status(who=("carol", "not logged in yet")) == 200
        for i in range(3):
            assert tenants.status(who=("nobody", f"guess number {i}")) == 407
        assert tenants.status(who=("nobody", "guess number 4")) == 503
        assert tenants.metric("sallyport_login_throttled_total") == 3


class TestTickets:
    """Who resumes a TLS 1.3 session is logged in, as long as the login lasts."""

    @pytest.mark.parametrize("version, restored", [(ssl.TLSVersion.TLSv1_3, True), (ssl.TLSVersion.TLSv1_2, False)])
    def test_a_login_comes_back(self, tenants, version, restored):
        context = tenants.context()
        context.minimum_version = context.maximum_version = version
        status, _, session = tenants.talk(context, who=ALICE)
        assert status == 200 and session is not None
        since = len(tenants.gateway.records())
        status, resumed, _ = tenants.talk(context, session=session)
        assert resumed
        assert status == (200 if restored else 407)
        if restored:
            tenants.gateway.wait_record(lambda r: r.get("tenant") == "acme" and r["protection"]["resumed"], since=since)

    @pytest.mark.parametrize("who, status", [(None, 200), (ALICE, 200), (BOB, 407)])
    def test_with_the_password_of_another(self, tenants, who, status):
        """The certificate of the handshake still counts, which a client that resumes does not show again."""
        context = tenants.context("acme")
        _, _, session = tenants.talk(context, who=ALICE, listener="both")
        assert tenants.talk(context, session, who, listener="both")[:2] == (status, True)

    def test_with_the_certificate_of_another(self, tenants):
        """A session of one tenant's is that tenant's, whoever comes with it."""
        context, since = tenants.context("acme"), len(tenants.gateway.records())
        _, _, session = tenants.talk(context, who=ALICE, listener="both")
        context.load_cert_chain(*tenants.clients["other"])
        assert tenants.talk(context, session, BOB, listener="both")[:2] == (407, True)
        record = tenants.gateway.wait_record(lambda r: r.get("error") == "login", since=since)
        assert record["protection"]["peer"] == "CN=acme-proxy" and "tenant" not in record

    def test_not_of_a_connection_of_two(self, tenants):
        """The first ticket is the first user's; whoever comes later gets none, and none without a login counts."""
        context = tenants.context()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        with tenants.connect(context=context) as c:
            ask = functools.partial(c.ask, "RESPMOD", "icaps://localhost/echo", b"x")
            assert ask(fields=[authorization(*ALICE)]).status == 200
            assert ask().status == 200
            assert ask(fields=[authorization(*BOB)]).status == 200
            assert ask().status == 407
            assert ask(fields=[authorization(*ALICE)]).status == 200
            assert ask().status == 407

    def test_not_where_each_request_says_whose_it_is(self, own):
        tenants = own()
        config = tenants.gateway.config.read_text()
        tenants.gateway.config.write_text(config.replace("login: password}", "login: password, login-each-request: true}"))
        tenants.gateway.send_signal(signal.SIGHUP)
        context = tenants.context()
        context.minimum_version = ssl.TLSVersion.TLSv1_3

        def holds_for_the_next():
            with tenants.connect(context=context) as c:
                ask = functools.partial(c.ask, "RESPMOD", "icaps://localhost/echo", b"x")
                assert ask(fields=[authorization(*ALICE)]).status == 200
                return ask().status == 200
        wait.until(lambda: not holds_for_the_next(), "the new configuration")
        status, _, session = tenants.talk(context, who=ALICE)
        assert status == 200 and (session is None or not session.has_ticket)

    def test_not_after_its_user(self, tenants):
        tenants.add("acme", "dave", "has a ticket by now")
        context = tenants.context()
        status, _, session = tenants.talk(context, who=("dave", "has a ticket by now"))
        assert status == 200
        tenants.run("disable", "acme", "--user", "dave")
        assert tenants.talk(context, session=session)[0] == 407

    def test_no_ticket_before_the_login(self, tenants):
        context = tenants.context()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        status, _, session = tenants.talk(context)
        assert status == 407
        assert session is None or not session.has_ticket

    def test_not_after_the_session(self, own):
        tenants = own(more=", session: 2s")
        context = tenants.context()
        status, _, session = tenants.talk(context, who=ALICE)
        assert status == 200
        wait.until(lambda: tenants.metric("sallyport_login_sessions") == 0, "the end of the session")
        status, resumed, _ = tenants.talk(context, session=session)
        assert (status, resumed) == (407, False)


class TestCertificate:
    @pytest.mark.parametrize("client, status, tenant", [("acme", 200, "acme"), ("other", 200, "other"), ("named", 200, "other"),
                                                        ("nobody", 403, None)])
    def test_whose_it_is(self, tenants, client, status, tenant):
        since = len(tenants.gateway.records())
        assert tenants.status("certificate", client=client) == status
        record = tenants.gateway.wait_record(lambda r: r["listener"] == "certificate", since=since)
        assert record.get("tenant") == tenant
        assert (record.get("error") == "login") == (tenant is None)

    @pytest.mark.parametrize("client, who, status", [
        ("acme", ALICE, 200), ("other", BOB, 200), ("acme", BOB, 407), ("other", ALICE, 407), ("nobody", ALICE, 407),
        ("acme", None, 407)])
    def test_both_must_be_of_one_tenant(self, tenants, client, who, status):
        reply = tenants.ask("both", client=client, who=who)
        assert reply.status == status
        record = tenants.gateway.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))
        assert (record.get("tenant"), record.get("error")) == ((client, None) if status == 200 else (None, "login"))
        assert record["protection"]["peer"] == f"CN={tenants.clients[client][0].stem}"  # whose certificate it was

    @pytest.mark.parametrize("listener, who, status", [("certificate", None, 403), ("both", ALICE, 407), ("both", BOB, 407)])
    def test_of_two_tenants_is_of_none(self, tenants, listener, who, status):
        """Each row of the configuration is good, and one certificate matches rows of two: nobody guesses whose it is."""
        reply = tenants.ask(listener, client="two", who=who)
        assert reply.status == status
        record = tenants.gateway.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))
        assert "tenant" not in record and "session" not in record
        assert (record["error"], record["icap_status"]) == ("login", status)
        assert "the certificate is of several tenants" in record["error_text"]
        assert record["protection"]["peer"] == "CN=of-two"

    def test_of_a_tenant_that_is_disabled(self, own):
        """On the connections that it has, too, and until it is enabled again. Nobody else notices."""
        tenants = own()
        gateway = tenants.gateway
        with tenants.connect("certificate", "acme") as open_before:
            assert open_before.ask("RESPMOD", "icaps://localhost/echo", b"x").status == 200
            tenants.run("disable", "acme")
            replies = [open_before.ask("RESPMOD", "icaps://localhost/echo", b"x"), tenants.ask("certificate", client="acme")]
            open_before.expect_closed()
        for reply in replies:
            assert reply.status == 403 and reply.field("Connection") == "close"
            record = gateway.wait_record(lambda r, reply=reply: r["id"] == reply.field("X-Request-ID"))
            assert "tenant" not in record and record["error"] == "login"
            assert record["protection"]["peer"] == "CN=acme-proxy"
        assert tenants.status("both", client="acme", who=ALICE) == 407
        assert tenants.status("both", client="acme", **OPTIONS) == 407
        assert tenants.status("certificate", client="other") == 200
        tenants.run("enable", "acme")
        assert tenants.status("certificate", client="acme") == 200

    @pytest.mark.parametrize("listener, client, who, status", [
        ("both", "acme", None, 200), ("both", "nobody", None, 407), ("password", None, None, 407),
        ("strict", "acme", None, 407), ("strict", "acme", BOB, 407), ("strict", "acme", ALICE, 200),
        ("strict", "nobody", None, 407), ("certificate", "acme", None, 200), ("certificate", "nobody", None, 403)])
    def test_options_of_a_proxy_without_a_password(self, tenants, listener, client, who, status):
        """By default a tenant's certificate is enough for them; with `options-login: required` it is not."""
        assert tenants.status(listener, client=client, who=who, **OPTIONS) == status


class TestIsolation:
    def test_services(self, tenants):
        assert tenants.status(who=ALICE, service="own") in (200, 204)
        assert tenants.status(who=BOB, service="own") == 404
        assert tenants.status(who=BOB, service="nothing-of-that-name") == 404

    def test_block_page_and_istag(self, tenants):
        pages = [tenants.ask(who=who, service="mail", body=samples.EICAR) for who in (ALICE, BOB)]
        assert b"help@acme.test" in pages[0].body and b"help@other.test" in pages[1].body
        assert b"other" not in pages[0].body and b"acme" not in pages[1].body
        shared = [tenants.ask(who=who, service="inspect", body=b"plain").field("ISTag") for who in (ALICE, BOB)]
        assert shared[0] != shared[1]

    def test_cached_verdicts_are_not_shared(self, tenants):
        """A fast answer must not say that somebody else had this file."""
        body = b"a file that both of them send " * 40

        def cached(who):
            since = len(tenants.gateway.records())
            assert tenants.status(who=who, service="inspect", body=body) in (200, 204)
            return tenants.gateway.wait_record(lambda r: r.get("body_len") == len(body), since=since).get("cached", False)
        assert [cached(ALICE), cached(ALICE), cached(BOB), cached(BOB)] == [False, True, False, True]

    def test_exceptions(self, tenants):
        """One that is made from a tenant's record is the tenant's."""
        since = len(tenants.gateway.records())
        assert tenants.ask(who=ALICE, service="inspect", body=samples.EICAR).http_status() == 403
        record = tenants.gateway.wait_record(lambda r: r.get("verdict") == "block", since=since)
        done = tenants.gateway.command_line("exception", "add", "--id", record["id"], "--for", "1h", "--reason", "a test",
                                            "--json", "--state", tenants.gateway.state)
        assert done.returncode == 0, done.stderr
        made = json.loads(done.stdout)["exception"]
        assert made["tenant"] == "acme"
        reply = tenants.ask(who=ALICE, service="inspect", body=samples.EICAR)
        assert reply.body == samples.EICAR
        assert tenants.ask(who=BOB, service="inspect", body=samples.EICAR).http_status() == 403
        done = tenants.gateway.command_line("exception", "remove", made["id"], "--state", tenants.gateway.state)
        assert done.returncode == 0, done.stderr

    def test_records_of_one(self, own):
        """`sallyport records`: a tenant's own, those that are there and those that come, and no other's, also
        over a rotation."""
        tenants = own()
        gateway = tenants.gateway
        path, ask = gateway.state / "records.jsonl", ["records", "--state", gateway.state]
        assert [tenants.status(who=who) for who in (ALICE, BOB)] == [200, 200]
        wait.until(lambda: len(gateway.records()) == 2, "two records")
        everything = gateway.command_line(*ask)
        assert everything.stdout == path.read_text() and everything.returncode == 0
        command = [binary(), *map(str, ask), "--tenant", "acme", "--follow"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
            watchdog = threading.Timer(120, follower.kill)  # then readline() has nothing, and json complains
            watchdog.start()
            try:
                first = json.loads(follower.stdout.readline())
                os.rename(path, path.with_suffix(".1"))
                gateway.send_signal(signal.SIGUSR1)
                gateway.wait_log("anew")
                assert [tenants.status(who=who) for who in (BOB, ALICE)] == [200, 200]
                second = json.loads(follower.stdout.readline())
            finally:
                watchdog.cancel()
                follower.terminate()
        assert [r["tenant"] for r in (first, second)] == ["acme", "acme"]
        assert second in gateway.records() and first not in gateway.records()
        old = gateway.command_line("records", "--file", path.with_suffix(".1"), "--tenant", "other")
        assert [json.loads(line)["tenant"] for line in old.stdout.splitlines()] == ["other"]
        piped = gateway.command_line("records", "--file", "/dev/stdin", "-t", "other",
                                     input=path.with_suffix(".1").read_text())
        assert piped.stdout == old.stdout and piped.returncode == 0
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([binary(), "records", "--file", path], stdout=full, stderr=subprocess.PIPE, text=True,
                                  timeout=60, check=False)
        assert done.returncode == 1 and "cannot write to standard output" in done.stderr

    @pytest.mark.parametrize("words, code, complaint", [
        (["--tenant", "no/name"], 2, "'no/name' cannot be the name of a tenant"),
        (["--file", "/x", "--state", "/y"], 2, "--file goes without --config and --state"),
        (["more"], 2, "unexpected argument 'more'"),
        (["--file", "/nonexistent"], 1, "cannot read the records /nonexistent: No such file or directory"),
    ])
    def test_records_mistakes(self, tenants, words, code, complaint):
        done = tenants.gateway.command_line("records", *words)
        assert done.returncode == code and complaint in done.stderr and not done.stdout

    def test_quota_of_one_does_not_stop_the_other(self, own):
        tenants = own(requests="5")
        assert tenants.status(who=BOB) == 200
        assert tenants.status(who=ALICE) == 200
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            flood = [pool.submit(tenants.status, who=ALICE) for _ in range(40)]
            others = [tenants.status(who=BOB) for _ in range(20)]
            seen = {f.result() for f in flood}
        assert set(others) == {200}
        assert seen == {200, 503}
        metrics = tenants.gateway.metrics()
        assert metrics['sallyport_tenant_over_quota_total{tenant="acme"}'] > 0
        assert metrics['sallyport_tenant_over_quota_total{tenant="other"}'] == 0

    def test_quota_of_connections(self, own):
        tenants = own(requests="unlimited, connections: 2")
        with contextlib.ExitStack() as held:
            for c in [held.enter_context(tenants.connect()) for _ in range(2)]:
                assert c.ask("RESPMOD", "icaps://localhost/echo", b"x", fields=[authorization(*ALICE)]).status == 200
            reply = tenants.ask(who=ALICE)
            assert reply.status == 503 and reply.field("Retry-After") and reply.field("Connection") == "close"
            assert tenants.status(who=BOB) == 200
            wait.until(lambda: tenants.metric('sallyport_tenant_connections{tenant="other"}') == 0, "the end of the other's")
            assert tenants.metric('sallyport_tenant_connections{tenant="acme"}') == 2
        wait.until(lambda: tenants.status(who=ALICE) == 200, "a connection that is free")

    def test_quota_of_bytes(self, own):
        """One sends no faster than it may, the other as fast as it can, at the same time."""
        tenants = own(requests="unlimited, bytes-per-second: 200k")
        assert tenants.status(who=ALICE) == tenants.status(who=BOB) == 200
        body = os.urandom(1_400_000)  # 400 KB of it at once, the rest in five seconds
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            began = time.monotonic()
            slow = pool.submit(tenants.ask, who=ALICE, body=body)
            assert tenants.ask(who=BOB, body=body).body == body
            assert not slow.done()
            assert slow.result().body == body
            assert time.monotonic() - began >= 4
        received = {t: tenants.metric(f'sallyport_tenant_received_bytes_total{{tenant="{t}"}}') for t in ("acme", "other")}
        assert all(len(body) < n < 1.1 * len(body) for n in received.values()), received

    def test_quota_of_scans(self, own):
        """While the worker stands still: a file of each is on its way, and another one of the first is too many."""
        tenants = own(requests="unlimited, scans: 1", more="}\nengines: {workers: {count: 1}")
        assert {tenants.status(who=who, service="inspect") for who in (ALICE, BOB)} <= {200, 204}
        workers = wait.until(tenants.gateway.worker_pids, "a worker")
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        with tenants.connect() as a, tenants.connect() as b:
            for c, who in ((a, ALICE), (b, BOB)):
                c.send(request("RESPMOD", "icaps://localhost/inspect", b"a file", fields=[authorization(*who)]))
            names = [f'sallyport_tenant_scans{{tenant="{t}"}}' for t in ("acme", "other")]
            wait.until(lambda: [tenants.metric(n) for n in names] == [1, 1], "two files")
            assert tenants.ask(who=ALICE, service="inspect", body=b"more").field("X-Response-Desc") == "overload"
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            assert {c.read_reply("RESPMOD").status for c in (a, b)} <= {200, 204}

    @pytest.mark.parametrize("memory", ["16k", "4m"], ids=["on disk", "in memory"])
    def test_files_of_one(self, own, memory):
        """What waits in the spool has no name there, and no process that has looked at it keeps anything of it when
        it takes the file of another tenant."""
        tenants = own(requests="unlimited", more=f"}}\nengines: {{workers: {{count: 1}}}}\nspool: {{memory: {memory}")
        gateway = tenants.gateway
        inspect = {"service": "inspect", "body": os.urandom(300_000)}
        for who in (ALICE, BOB):
            assert tenants.status(who=who, **inspect) in (200, 204)
        workers = gateway.worker_pids()
        processes = [gateway.gateway_pid(), *workers]

        def bodies():
            return {(pid, file) for pid in processes for file in files_of(pid) if "/spool/" in file or "/memfd:" in file}

        before = bodies()
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        with tenants.connect() as a:
            a.send(request("RESPMOD", "icaps://localhost/inspect", os.urandom(300_000), fields=[authorization(*ALICE)]))
            wait.until(lambda: gateway.status()["budgets"]["scans"]["used"] == 1, "a file that waits")
            [(pid, file)] = {(pid, file) for pid, file in bodies() - before if pid == processes[0]}
            assert file.endswith("(deleted)") and ("/spool/" in file) == (memory == "16k")
            assert not list((gateway.state / "spool").iterdir())
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            assert a.read_reply("RESPMOD").status in (200, 204)
        assert tenants.status(who=BOB, **inspect) in (200, 204)
        assert gateway.worker_pids() == workers and bodies() == before

    def test_rules_of_one(self, own):
        """`tenant` is a condition."""
        tenants = own()
        config = tenants.gateway.config.read_text()
        row = "  - {name: inspect, type: inspect, path: /inspect, preview: 1024}"
        rule = "rules: [{name: not-theirs, tenant: [acme], then: block, why: acme sends none of these}]"
        assert row in config
        tenants.gateway.config.write_text(config.replace(row, f"{row[:-1]}, {rule}}}"))
        tenants.gateway.send_signal(signal.SIGHUP)
        tenants.gateway.wait_log("reload: done without interruption", 30)
        since = len(tenants.gateway.records())
        assert tenants.ask(who=ALICE, service="inspect").http_status() == 403
        assert tenants.status(who=BOB, service="inspect") in (200, 204)
        record = tenants.gateway.wait_record(lambda r: r.get("tenant") == "acme", since=since)
        assert (record["verdict"], record["rule"]) == ("block", "not-theirs")
        record = tenants.gateway.wait_record(lambda r: r.get("tenant") == "other", since=since)
        assert record["verdict"] == "pass" and "rule" not in record

    def test_quota_counts_options_of_a_certificate(self, own):
        """Whoever is known by its certificate alone is a tenant, too."""
        tenants = own(requests="5")

        def options(client):
            return tenants.status("both", client=client, **OPTIONS)

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            flood = {f.result() for f in [pool.submit(options, "acme") for _ in range(40)]}
        assert flood == {200, 503}
        assert options("other") == 200
        metrics = tenants.gateway.metrics()
        assert metrics['sallyport_tenant_over_quota_total{tenant="acme"}'] > 0
        assert metrics['sallyport_tenant_over_quota_total{tenant="other"}'] == 0


class TestTime:
    def test_the_end_of_a_session(self, own):
        tenants = own(more=", session: 3s")
        with tenants.connect() as c:
            assert c.ask("RESPMOD", "icaps://localhost/echo", b"x", fields=[authorization(*ALICE)]).status == 200
            c.expect_closed()  # within the session's time, not cut off
        before = tenants.metric('sallyport_login_derivations_total{of="session-key"}')
        assert tenants.status(who=ALICE) == 200
        wait.until(lambda: tenants.metric("sallyport_login_sessions") == 0, "the end of all sessions")
        assert tenants.status(who=ALICE) == 200
        assert tenants.metric('sallyport_login_derivations_total{of="session-key"}') > before


class TestSecrets:
    def test_nothing_secret_is_told(self, tenants):
        secrets = [word for user, password in (ALICE, BOB)
                   for word in (password, base64.b64encode(f"{user}:{password}".encode()).decode())]
        since = len(tenants.gateway.records())
        # Of the proxy's user, of the virus scanner before us, of the user at the origin; none of them our business.
        fields = ["Proxy-Authorization: Basic dXNlcjpvZi10aGUtcHJveHk=", "X-Scan-APIKEY: key-of-a-scanner"]
        lines = [b"Authorization: Bearer token-of-the-origin", b"Cookie: id=cookie-of-the-origin"]
        secrets += ["dXNlcjpvZi10aGUtcHJveHk=", "of-the-proxy", "key-of-a-scanner", "token-of-the-origin", "cookie-of-the-origin"]
        http = [("req-hdr", http_request(fields=lines)), ("res-hdr", http_response(1))]
        with tenants.connect() as c:
            fields.append(authorization(*ALICE))
            assert c.ask("RESPMOD", "icaps://localhost/inspect", b"x", fields=fields, http=http).status == 200
        assert tenants.status(who=("alice", "not the password at all")) == 407
        secrets.append("not the password at all")
        for status in (200, 407):  # what is looked through has these in it
            tenants.gateway.wait_record(lambda r, status=status: r.get("icap_status") == status, since=since)
        assert tenants.gateway.tells([secret.encode() for secret in secrets]) == []

    def test_no_core_of_the_gateway(self, tenants):
        """And what sessions are made of is in locked memory."""
        assert tenants.status(who=ALICE) == 200
        process = pathlib.Path(f"/proc/{tenants.gateway.gateway_pid()}")
        if not is_sanitized(build_dir()):
            assert re.search(r"Max core file size +0 +0 ", (process / "limits").read_text())
            assert int(re.search(r"VmLck:\s+(\d+) kB", (process / "status").read_text())[1]) > 0

    def test_a_password_on_a_clear_listener_is_nobody_s_business(self, tenants):
        """No login is asked for there: the field means nothing, and is not recorded."""
        with IcapConnection(tenants.gateway.address("clear")) as c:
            assert c.ask("RESPMOD", "icap://localhost/echo", b"x", fields=[authorization(*ALICE)]).status == 200


class TestConfiguration:
    @pytest.mark.parametrize("listener, words", [
        ('{name: l, address: "127.0.0.1:0", login: password}', "passwords in clear text"),
        ('{name: l, address: "127.0.0.1:0", login: certificate}', "clients show no certificates here"),
        ('{name: l, address: "127.0.0.1:0", tls: server, login: both}', "clients show no certificates here"),
        ('{name: l, address: "127.0.0.1:0", tls: silent, login: certificate}', "clients show no certificates here"),
        ('{name: l, address: "127.0.0.1:0", tls: silent, login: both}', "clients show no certificates here"),
        ('{name: l, address: "127.0.0.1:0", login-each-request: true}', "a request says whose it is by a password"),
        ('{name: l, address: "127.0.0.1:0", login: perhaps}', "certificate")])
    def test_what_cannot_be(self, tenants, certificates, tmp_path, listener, words):
        certificate, key = certificates.server
        path = tmp_path / "wrong.yaml"
        path.write_text(f"tls:\n  - {{name: server, certificate: {certificate}, key: {key}}}\n"
                        f"  - {{name: silent, certificate: {certificate}, key: {key}, client-ca: {certificates.ca}, "
                        f"verify-client: off}}\nlisteners:\n  - {listener}\n")
        done = tenants.gateway.command_line("check", "-c", path)
        assert done.returncode != 0 and words in done.stdout + done.stderr

    def test_rounds_below_the_draft_s(self, tenants, tmp_path):
        path = tmp_path / "weak.yaml"
        path.write_text('login: {session-rounds: 50000}\nlisteners: [{name: l, address: "127.0.0.1:0"}]\n')
        done = tenants.gateway.command_line("check", "-c", path)
        assert done.returncode != 0 and "100000" in done.stdout + done.stderr

    def test_sessions_of_more_than_an_hour(self, tenants, tmp_path):
        path = tmp_path / "long.yaml"
        path.write_text('login: {session: 2h}\nlisteners: [{name: l, address: "127.0.0.1:0"}]\n')
        assert tenants.gateway.command_line("check", "-c", path).returncode != 0


class TestClient:
    """`sallyport scan` against a gateway that wants logins."""

    @staticmethod
    def words(tenants, tmp_path, user, password, listener="password"):
        secret = tmp_path / "password"
        secret.write_text(password + "\n")
        secret.chmod(0o600)
        port = tenants.gateway.address(listener)[1]
        return ["scan", "--to", f"icaps://{user}@localhost:{port}/inspect", "--ca", tenants.certificates.ca,
                "--password-file", secret]

    def scan(self, tenants, tmp_path, user, password, *options, listener="password"):
        path = tmp_path / "clean.txt"
        path.write_text("nothing in here\n")
        return tenants.gateway.command_line(*self.words(tenants, tmp_path, user, password, listener), *options, path,
                                            seconds=120)

    def scan_for(self, seconds, tenants, tmp_path, *options, connections=1):
        """More and more files, until they take so long and so many connections: (what came of it, how many those were)."""
        path, n = tmp_path / "file", 300
        path.write_bytes(os.urandom(20000))
        while True:
            listed, began = tmp_path / "list", time.monotonic()
            before = tenants.metric("sallyport_connections_total")
            listed.write_text(f"{path}\n" * n)
            done = tenants.gateway.command_line(*self.words(tenants, tmp_path, *ALICE), *options, "--files-from", listed,
                                                seconds=120)
            taken = tenants.metric("sallyport_connections_total") - before
            if (time.monotonic() - began >= seconds and taken >= connections) or n > 100000:
                return done, taken
            n *= 3

    def test_in_and_out(self, tenants, tmp_path):
        done = self.scan(tenants, tmp_path, *ALICE)
        assert done.returncode == 0, done.stderr
        for user, password in (("alice", "not this one"), ("nobody", "not this one")):
            done = self.scan(tenants, tmp_path, user, password)
            assert done.returncode == 1 and "does not accept user" in done.stdout, (done.stdout, done.stderr)
            assert password not in done.stdout + done.stderr

    def test_certificate_and_password(self, tenants, clients, tmp_path):
        certificate, key = clients["acme"]
        options = ("--cert", certificate, "--key", key)
        assert self.scan(tenants, tmp_path, *ALICE, *options, listener="both").returncode == 0
        assert self.scan(tenants, tmp_path, *BOB, *options, listener="both").returncode == 1
        done = self.scan(tenants, tmp_path, *ALICE, listener="both")
        assert done.returncode == 3 and "certificate" in done.stdout

    @pytest.mark.parametrize("session, ends", [("1s", True), ("1h", False)])
    def test_many_files_over_the_ends_of_sessions(self, own, tmp_path, session, ends):
        """Two seconds of files, or more, on two connections at a time: no session of an hour ends meanwhile, and each
        of a second does, with its connections; others take their places, and no file notices."""
        tenants = own(more=f", session: {session}")
        expected = 4 if ends else 2
        done, connections = self.scan_for(2, tenants, tmp_path, "--jobs", "2", connections=expected)
        assert done.returncode == 0, (done.stdout[-2000:], done.stderr)
        assert tenants.metric("sallyport_login_refused_total") == 0
        assert connections >= expected if ends else connections == expected


class TestCIcapClient:
    def test_in_and_out(self, own, tmp_path):
        """It sends the same fields with OPTIONS and with the file."""
        tenants = own()
        sent, got = tmp_path / "sent", tmp_path / "got"
        sent.write_bytes(os.urandom(50000))
        port = tenants.gateway.address("password")[1]
        since = len(tenants.gateway.records())
        run = cicap_client(port, "echo", "-x", authorization(*ALICE), "-no204", tls_ca=True, file=sent, output=got)
        assert got.read_bytes() == sent.read_bytes(), run.stderr
        tenants.gateway.wait_record(lambda r: r.get("tenant") == "acme" and r.get("body_len") == 50000, since=since)
        got.unlink()
        since = len(tenants.gateway.records())
        with contextlib.suppress(subprocess.TimeoutExpired):  # after a 407 it waits for more, until it is ended
            wrong = authorization("alice", "not this one")
            cicap_client(port, "echo", "-x", wrong, tls_ca=True, file=sent, output=got, seconds=5)
        tenants.gateway.wait_record(lambda r: (r.get("method"), r.get("icap_status")) == ("RESPMOD", 407), since=since)
        assert not got.exists() or not got.read_bytes(), "a refused client got a file"


@pytest.fixture(scope="module")
def for_squid(certificates, clients):
    """Certificates where Squid's user can read them."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="squid-tenants-"))
    folder.chmod(0o755)
    for path in (certificates.ca, *clients["acme"], *clients["other"]):
        shutil.copy(path, folder)
        (folder / path.name).chmod(0o644)
    yield folder
    shutil.rmtree(folder)


class TestSquid:
    """Two tenants behind one proxy, told apart by the password that Squid adds for each."""

    @pytest.mark.parametrize("listener, each", [("password", False), ("password", True), ("both", False)])
    def test_two_tenants(self, own, for_squid, clients, origin, listener, each):
        """And traffic that is of none of them, for which Squid adds nothing."""
        tenants = own()
        certificate, key = (for_squid / path.name for path in clients["acme"])
        options = (f"tls-cafile={for_squid}/ca.pem tls-domain=localhost tls-cert={certificate} tls-key={key}")
        meta = ["acl at_acme req_header X-Customer acme", "acl at_other req_header X-Customer other"]
        for name, who in (("at_acme", ALICE), ("at_other", BOB)):
            token = base64.b64encode(":".join(who).encode()).decode()
            meta.append(f'adaptation_meta Authorization "Basic {token}" {name}')
        if listener == "password":  # Squid cannot log in to ask for OPTIONS
            config = tenants.gateway.config.read_text()
            more = ", login-each-request: true" if each else ""
            tenants.gateway.config.write_text(config.replace("tls: server, login: password",
                                                             f"tls: server, login: password, options-login: open{more}"))
            tenants.gateway.send_signal(signal.SIGHUP)
            wait.until(lambda: tenants.status(**OPTIONS) == 200, "open OPTIONS")
        url = tenants.gateway.url("mail", listener).replace("icap://", "icaps://")
        with Squid([("respmod_precache", url, options)], "\n".join(meta) + "\n" + KEEP_READING) as squid:
            def fetch(customer):
                status, _, _, head = squid.get(origin.url("/eicar"), fields=[("X-Customer", customer)])
                return status, head
            status, page = fetch("acme")
            assert status == 403 and b"help@acme.test" in page
            if each:  # else one user's connection is that user's
                assert fetch("nobody")[0] >= 500
            status, page = fetch("other")
            if listener == "password":
                assert status == 403 and b"help@other.test" in page
                assert fetch("nobody")[0] >= 500
                assert b"help@acme.test" in fetch("acme")[1]
            else:  # the proxy's certificate is acme's
                assert status >= 500
