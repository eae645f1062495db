# SPDX-License-Identifier: Apache-2.0
"""TLS as an auditor tries it, by the openssl command and Python's ssl."""
import json
import os
import re
import socket
import ssl
import subprocess
import threading

import pytest

from testenv import Certificates, IcapConnection, Sallyport, Way, need, samples, wait
from testenv.icap import request

CONFIG = """\
state: {state}
threads: 4
sandbox: required
log: {level: debug}
admin: {address: "127.0.0.1:0"}
tls:
  - {name: server, certificate: CERTIFICATE, key: KEY}
  - {name: newest, certificate: CERTIFICATE, key: KEY, minimum: "1.3"}
  - {name: mutual, certificate: CERTIFICATE, key: KEY, client-ca: CA}
listeners:
  - {name: tls, address: "127.0.0.1:0", tls: server, require: strong}
  - {name: newest, address: "127.0.0.1:0", tls: newest, require: strong}
  - {name: mutual, address: "127.0.0.1:0", tls: mutual, require: strong}
  - {name: known, address: "127.0.0.1:0", tls: mutual, require: strong, peers: ["dns:*.known.test", "dn:CN=friend"]}
  - {name: v6, address: "[::1]:0", tls: server, require: strong}
services:
  - {name: echo, type: echo, path: /echo}
  - {name: inspect, type: inspect, path: /inspect}
"""


@pytest.fixture(scope="module")
def sallyport(tmp_path_factory, certificates):
    certificate, key = certificates.server
    config = CONFIG.replace("CERTIFICATE", str(certificate)).replace("KEY", str(key)).replace("CA}", f"{certificates.ca}}}")
    with Sallyport(tmp_path_factory.mktemp("sallyport"), config=config) as gateway:
        yield gateway


def s_client(sallyport, certificates, *options, listener="tls", talk=b""):
    """What `openssl s_client` says: (exit code, text)."""
    address = sallyport.addresses()[listener]
    run = subprocess.run([need("openssl", "openssl"), "s_client", "-connect", address, "-CAfile", str(certificates.ca),
                          "-servername", "localhost", "-verify_return_error", *options], input=talk, capture_output=True,
                         timeout=30, check=False)
    return run.returncode, (run.stdout + run.stderr).decode(errors="replace")


def context_for(certificates, version=None, client=None):
    context = ssl.create_default_context(cafile=str(certificates.ca))
    if version:
        context.minimum_version = context.maximum_version = version
    if client:
        context.load_cert_chain(*client)
    return context


TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


class TestVersions:
    @pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
    def test_old_ones_fail_with_an_alert(self, sallyport, certificates, version):
        code, text = s_client(sallyport, certificates, version, "-cipher", "ALL:@SECLEVEL=0")
        assert code != 0
        assert re.search("alert protocol version|alert number 70|unsupported protocol", text), text

    @pytest.mark.parametrize("version, name", [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
    def test_new_ones_succeed(self, sallyport, certificates, version, name):
        code, text = s_client(sallyport, certificates, version)
        assert code == 0, text
        assert f"New, {name}, Cipher is" in text
        assert "Verify return code: 0 (ok)" in text
        assert "Compression: NONE" in text

    def test_minimum(self, sallyport, certificates):
        assert s_client(sallyport, certificates, "-tls1_2", listener="newest")[0] != 0
        assert s_client(sallyport, certificates, "-tls1_3", listener="newest")[0] == 0

    @pytest.mark.parametrize("ciphers", ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "AES128-GCM-SHA256",
                                         "AES128-SHA", "ALL:!AESGCM:!CHACHA20:!AESCCM", "aNULL", "DHE-RSA-AES128-GCM-SHA256"])
    def test_weak_offers_fail(self, sallyport, certificates, ciphers):
        """CBC, no forward secrecy, no authentication: not even when nothing else is offered."""
        code, text = s_client(sallyport, certificates, "-tls1_2", "-cipher", f"{ciphers}:@SECLEVEL=0")
        assert code != 0
        assert "alert handshake failure" in text, text

    @pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
                                        "ECDHE-ECDSA-CHACHA20-POLY1305"])
    def test_strong_offers_succeed(self, sallyport, certificates, cipher):
        code, text = s_client(sallyport, certificates, "-tls1_2", "-cipher", cipher)
        assert code == 0 and f"Cipher is {cipher}" in text, text

    def test_old_groups_fail(self, sallyport, certificates):
        assert s_client(sallyport, certificates, "-curves", "secp521r1")[0] != 0
        for group in ("X25519", "P-256"):
            assert s_client(sallyport, certificates, "-curves", group)[0] == 0


class TestRenegotiation:
    """That there is none: test_tls_policy.py."""

    def test_secure_renegotiation_is_announced(self, sallyport, certificates):
        assert "Secure Renegotiation IS supported" in s_client(sallyport, certificates, "-tls1_2")[1]

    def test_key_update(self, sallyport, certificates):
        """TLS 1.3: the client's keys change in the middle of a connection."""
        command = [need("openssl", "openssl"), "s_client", "-connect", sallyport.addresses()["tls"], "-CAfile",
                   str(certificates.ca), "-tls1_3"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            watchdog = threading.Timer(20, process.kill)
            watchdog.start()
            self.say(process, b"K\n", b"KEYUPDATE")
            self.say(process, b"OPTIONS icap://x/echo ICAP/1.0\r\nConnection: close\r\n\r\n", b"ICAP/1.0 200 OK")
            process.stdin.close()
            watchdog.cancel()

    @staticmethod
    def say(process, data, answer):
        process.stdin.write(data)
        process.stdin.flush()
        while answer not in (line := process.stdout.readline()):
            assert line, f"s_client ended without {answer}"


class TestResumption:
    @pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
    def test_across_threads(self, sallyport, certificates, version):
        """A ticket of one thread is good on every other: of many connections with it, all resume, and
        they are spread over the threads."""
        context = context_for(certificates, version)
        session, _, _ = self.talk(sallyport, context, None)
        held, ids = [], set()
        for _ in range(24):
            resumed, reply, c = self.open(sallyport, context, session)
            assert resumed
            held.append(c)
            ids.add(reply.field("X-Request-ID"))
        busy = [loop["connections"] for loop in sallyport.status()["loops"]]
        for c in held:
            c.close()
        assert sum(n > 0 for n in busy) >= 3, busy
        wait.until(lambda: ids <= {r["id"] for r in sallyport.records()}, "24 records")
        records = [r for r in sallyport.records() if r["id"] in ids]
        assert all(r["protection"]["resumed"] and r["protection"]["how"] == "strong" for r in records)

    def open(self, sallyport, context, session):
        c = IcapConnection.__new__(IcapConnection)
        raw = socket.create_connection(sallyport.address("tls"), 10)
        c.sock = context.wrap_socket(raw, server_hostname="localhost", session=session)
        c.timeout, c.buffer, c.outgoing, c.unsent = 10, bytearray(), None, memoryview(b"")
        return c.sock.session_reused, c.ask("RESPMOD", sallyport.url("echo", "tls"), b"x"), c

    def talk(self, sallyport, context, session):
        resumed, reply, c = self.open(sallyport, context, session)
        with c:
            return c.sock.session, resumed, reply

    def test_first_connection_is_not_resumed(self, sallyport, certificates):
        _, resumed, reply = self.talk(sallyport, context_for(certificates), None)
        assert not resumed
        record = sallyport.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))
        assert record["protection"]["resumed"] is False

    def test_not_with_client_certificates_of_others(self, sallyport, certificates):
        """A ticket from a listener without client certificates opens none that wants them."""
        context = context_for(certificates, TLS13)
        session, _, _ = self.talk(sallyport, context, None)
        with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
            raw = socket.create_connection(sallyport.address("mutual"), 10)
            with context.wrap_socket(raw, server_hostname="localhost", session=session) as tls:
                tls.sendall(request("RESPMOD", "icaps://x/echo", b"x"))
                if not tls.recv(4096):
                    raise EOFError

    def test_no_early_data(self, sallyport, certificates, tmp_path):
        path = tmp_path / "session"
        assert s_client(sallyport, certificates, "-tls1_3", "-sess_out", str(path), "-ign_eof",
                        talk=b"OPTIONS icap://x/echo ICAP/1.0\r\nConnection: close\r\n\r\n")[0] == 0
        (tmp_path / "early").write_bytes(b"OPTIONS icap://x/echo ICAP/1.0\r\n\r\n")
        _, text = s_client(sallyport, certificates, "-tls1_3", "-sess_in", str(path), "-early_data",
                           str(tmp_path / "early"))
        assert "Early data was accepted" not in text


class TestClientCertificates:
    @pytest.fixture(scope="class")
    def client(self, certificates):
        return certificates.issue("client-one", "subjectAltName=DNS:client-one.test", usage="clientAuth")

    @pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
    def test_with(self, sallyport, certificates, client, version):
        """The record says who it was."""
        with IcapConnection(sallyport.address("mutual"), tls=context_for(certificates, version, client)) as c:
            reply = c.ask("RESPMOD", sallyport.url("echo", "mutual"), b"x")
        record = sallyport.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))
        assert "client-one" in record["protection"]["peer"]

    @pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
    def test_without(self, sallyport, certificates, version):
        self.expect_refused(sallyport, context_for(certificates, version), "certificate")

    @pytest.mark.parametrize("kind", ["server's usage", "expired", "another CA"])
    def test_wrong(self, sallyport, certificates, kind, tmp_path):
        if kind == "another CA":
            wrong = Certificates(tmp_path / "other").issue("client", usage="clientAuth")
        elif kind == "expired":
            wrong = certificates.issue("client-old", usage="clientAuth", days=-1)
        else:
            wrong = certificates.issue("client-server", usage="serverAuth")
        self.expect_refused(sallyport, context_for(certificates, TLS13, wrong), "certificate")

    @pytest.mark.parametrize("name, alternative, in_", [
        ("a", "DNS:proxy.known.test", True), ("friend", "DNS:elsewhere.test", True),
        ("friends", "DNS:a.b.known.test", False), ("proxy.known.test", "DNS:elsewhere.test", False)])
    def test_only_those_who_are_wanted(self, sallyport, certificates, name, alternative, in_):
        """Whole names count, and those of the right kind; who is turned away hears so, and is in the record, too."""
        pair = certificates.issue(name, f"subjectAltName={alternative}", usage="clientAuth")
        context = context_for(certificates, TLS13, pair)
        since = len(sallyport.records())
        with IcapConnection(sallyport.address("known"), tls=context) as c:
            reply = c.ask("RESPMOD", sallyport.url("echo", "known"), b"x")
            assert reply.status == (200 if in_ else 403)
            if not in_:
                assert reply.field("Connection") == "close"
                c.expect_closed()
        why = self.command(sallyport, certificates, pair, "why", "--json")
        assert json.loads(why.stdout)["how"]["accepted"] == "yes"  # that much TLS says of both
        scan = self.command(sallyport, certificates, pair, "scan", __file__)
        if in_:
            assert (why.returncode, json.loads(why.stdout)["why"], scan.returncode) == (0, [], 0)
            return
        reason, = json.loads(why.stdout)["why"]
        assert (why.returncode, reason["code"], reason["certain"]) == (1, "peer-policy", False)
        assert scan.returncode == 1 and "the server does not let us use it (403)" in scan.stdout
        record = sallyport.wait_record(lambda r: r["listener"] == "known" and r.get("error") == "policy"
                                       and r["protection"]["peer"] == f"CN={name}", since=since)
        assert "not wanted here" in record["error_text"]
        assert record["protection"]["how"] == "strong"

    @staticmethod
    def command(sallyport, certificates, pair, name, *options):
        url = sallyport.url("echo", "known").replace("icap:", "icaps:")
        to = ["--to", url] if name == "scan" else [url]
        return sallyport.command_line(name, *to, "--ca", certificates.ca, "--cert", pair[0], "--key", pair[1], *options)

    @pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
    @pytest.mark.parametrize("tail", [b"\x17\x03\x03\x40\x00half a record", b"\x17\x03\x03\x00\x20" + bytes(32)],
                             ids=["half", "forged"])
    def test_broken_later(self, sallyport, certificates, client, version, tail):
        """However it ends, the record says how it was protected and who was there."""
        since = len(sallyport.records())
        c = IcapConnection(sallyport.address("mutual"), tls=context_for(certificates, version, client))
        peer = "%s:%d" % c.sock.getsockname()
        c.send(request("RESPMOD", sallyport.url("echo", "mutual"), samples.noise(9000))[:-2000])
        with socket.socket(fileno=c.sock.detach()) as raw:
            raw.sendall(tail)
            raw.shutdown(socket.SHUT_WR)
            record = sallyport.wait_record(lambda r: r["client"] == peer, since=since)
        assert record["error"] in ("client-gone", "tls", "peer-closed")
        assert record["protection"]["how"] == "strong"
        assert "client-one" in record["protection"]["peer"]

    def expect_refused(self, sallyport, context, text):
        """In TLS 1.3 the client learns of it at its first read."""
        since = len(sallyport.records())
        with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
            with IcapConnection(sallyport.address("mutual"), tls=context) as c:
                c.ask("RESPMOD", sallyport.url("echo", "mutual"), b"x")
        record = sallyport.wait_record(lambda r: r["listener"] == "mutual" and r.get("error") == "tls", since=since)
        assert text in record["error_text"]
        assert "service" not in record


class TestListeners:
    def test_ipv6(self, sallyport, certificates):
        if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):
            pytest.skip("no IPv6 here")
        host, port = sallyport.address("v6")
        assert host == "::1"
        with IcapConnection((host, port), tls=certificates.ca) as c:
            reply = c.ask("RESPMOD", f"icaps://[::1]:{port}/inspect", samples.EICAR)
        assert reply.http_status() == 403
        record = sallyport.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))
        assert record["client"].startswith("[::1]:")

    def test_foreign_alpn_is_ignored(self, sallyport, certificates):
        """Clients that offer ids of other protocols are served: there is none for ICAP."""
        context = context_for(certificates)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with IcapConnection(sallyport.address("tls"), tls=context) as c:
            assert c.sock.selected_alpn_protocol() is None
            assert c.ask("RESPMOD", sallyport.url("echo", "tls"), b"x").status == 200

    @pytest.mark.parametrize("name", ["localhost", "other.test", None])
    def test_any_server_name(self, sallyport, certificates, name):
        context = context_for(certificates)
        context.check_hostname = False
        with IcapConnection(sallyport.address("tls"), tls=context, server_name=name) as c:
            assert c.ask("RESPMOD", sallyport.url("echo", "tls"), b"x").status == 200

    def test_closes_with_close_notify(self, sallyport, certificates):
        with IcapConnection(sallyport.address("tls"), tls=certificates.ca) as c:
            c.ask("RESPMOD", sallyport.url("echo", "tls"), b"x", fields=["Connection: close"])
            c.expect_closed()  # fails without one

    def test_truncated_by_an_attacker(self, sallyport, certificates):
        """TCP's end without close_notify in the middle of a body is no end of the body."""
        since = len(sallyport.records())
        c = IcapConnection(sallyport.address("tls"), tls=certificates.ca)
        client = "%s:%d" % c.sock.getsockname()
        c.send(request("RESPMOD", sallyport.url("inspect", "tls"), samples.noise(9000))[:-2000])
        raw = socket.socket(fileno=c.sock.detach())
        raw.shutdown(socket.SHUT_WR)
        record = sallyport.wait_record(lambda r: r["client"] == client, since=since)
        raw.close()
        assert record["error"] in ("client-gone", "tls", "peer-closed")
        assert record.get("verdict") != "pass"

    def test_many_handshakes_at_once(self, sallyport, certificates):
        failures = []

        def shake():
            try:
                for _ in range(10):
                    Way(sallyport, "tls", certificates.ca).ask("RESPMOD", "echo", b"x")
            except Exception as e:  # handed to the test's thread
                failures.append(e)
        threads = [threading.Thread(target=shake) for _ in range(16)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not failures, failures
        wait.until(lambda: sum(loop["connections"] for loop in sallyport.status()["loops"]) == 0, "all gone")


def test_new_certificate_is_taken_over(tmp_path, certificates, start_sallyport):
    """Replacing the file is noticed: new connections get the new certificate, old ones go on."""
    certificate, key = tmp_path / "live.pem", tmp_path / "live.key"

    def install(pair):
        for source, target in zip(pair, (certificate, key)):
            fresh = target.with_suffix(".fresh")
            fresh.write_bytes(source.read_bytes())
            fresh.chmod(0o600)
            os.rename(fresh, target)

    install(certificates.server)
    gateway = start_sallyport(tls=(certificate, key))
    pid = gateway.gateway_pid()
    way = Way(gateway, "tls", certificates.ca)
    with way.connect() as old:
        first = old.sock.getpeercert()["serialNumber"]
        old.ask("RESPMOD", way.url("echo"), b"x")
        install(certificates.issue("fresh"))

        def fresh_serial():
            with way.connect() as c:
                return c.sock.getpeercert()["serialNumber"] != first
        wait.until(fresh_serial, "the new certificate", 15)
        assert old.ask("RESPMOD", way.url("echo"), b"x").status == 200
    assert gateway.gateway_pid() == pid
