# SPDX-License-Identifier: Apache-2.0
"""The TLS policy of listeners, as auditors and real clients see it: which client certificates get in
and as whom, CRLs, names, OCSP, tickets; and what testssl.sh and sslscan find."""
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import xml.etree.ElementTree

import pytest

from testenv import Certificates, IcapConnection, Sallyport, need, wait

OPTIONS = b"OPTIONS icap://x/echo ICAP/1.0\r\nHost: x\r\nConnection: close\r\n\r\n"
REFUSED = (ssl.SSLError, ConnectionError, EOFError)
TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])

CONFIG = """\
state: {state}
threads: THREADS
sandbox: SANDBOX
drain: 1s
log: {level: debug}
admin: {address: "127.0.0.1:0"}
tls:
ENTRIES
listeners:
LISTENERS
services:
  - {name: echo, type: echo, path: /echo}
"""


def configuration(server, entries, sandbox, threads=2, listener=""):
    """One listener for each of |entries|: name -> more of its tls entry."""
    certificate, key = server
    tls = "".join(f"  - {{name: {name}, certificate: {certificate}, key: {key}{', ' if more else ''}{more}}}\n"
                  for name, more in entries.items())
    listeners = "".join(f'  - {{name: {name}, address: "127.0.0.1:0", tls: {name}{listener}}}\n' for name in entries)
    return (CONFIG.replace("THREADS", str(threads)).replace("SANDBOX", sandbox).replace("ENTRIES\n", tls)
            .replace("LISTENERS\n", listeners))


@pytest.fixture(scope="session")
def sandbox():
    from testenv.sallyport import build_dir, is_sanitized
    return "best-effort" if is_sanitized(build_dir()) else "required"


class Clients:
    """Certificates of clients, good and bad: name -> (certificate, key)."""

    def __init__(self, certificates, folder):
        self.by_name = {
            "fine": certificates.issue("fine", usage="clientAuth"),
            "revoked": certificates.issue("revoked", usage="clientAuth"),
            "expired": certificates.issue("gone", usage="clientAuth", days=-1),
            "self-signed": certificates.self_signed("selfmade"),
            "unknown CA": Certificates(folder / "other").issue("fine", usage="clientAuth"),
            "for servers": certificates.issue("forservers", usage="serverAuth"),
            "below": self.below(certificates.intermediate("middle")),
            "none": None,
        }

    @staticmethod
    def below(middle):
        certificate, key = middle.issue("below", usage="clientAuth")
        chain = middle.folder / "below-chain.pem"
        chain.write_bytes(certificate.read_bytes() + middle.ca.read_bytes())
        return chain, key


@pytest.fixture(scope="module")
def clients(certificates, tmp_path_factory):
    return Clients(certificates, tmp_path_factory.mktemp("clients")).by_name


@pytest.fixture(scope="module")
def lists(certificates, clients, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    return {"crl": certificates.crl(folder / "ca.crl", [clients["revoked"][0]]),
            "old": certificates.crl(folder / "old.crl", expired=True),
            "ocsp": certificates.ocsp(folder / "server.ocsp", certificates.server[0])}


@pytest.fixture(scope="module")
def sallyport(tmp_path_factory, certificates, lists, sandbox):
    ca = f"client-ca: {certificates.ca}"
    entries = {
        "plain": "",
        "silent": "tickets: off",
        "stapled": f"ocsp: {lists['ocsp']}",
        "require": ca,
        "request": f"{ca}, verify-client: request",
        "off": f"{ca}, verify-client: off",
        "crl": f"{ca}, client-crl: {lists['crl']}",
        "old": f"{ca}, client-crl: [{lists['old']}]",
        "old-tolerated": f"{ca}, client-crl: {lists['old']}, verification-flags: "
                         "IgnoreEndRevocationUnknown|IgnoreRootRevocationUnknown",
        "depth": f"{ca}, client-depth: 1",
        "time": f"{ca}, insecure-verification-flags: IgnoreNotTimeValid",
        "unknown": f"{ca}, verify-client: request, insecure-verification-flags: 16",
        "unknown-required": f"{ca}, insecure-verification-flags: [AllowUnknownCertificateAuthority]",
    }
    config = configuration(certificates.server, entries, sandbox)
    with Sallyport(tmp_path_factory.mktemp("sallyport"), config=config) as gateway:
        yield gateway


def s_client(gateway, certificates, listener, *options, talk=OPTIONS, name="localhost"):
    """What `openssl s_client` says: (exit code, text)."""
    ask = ["-servername", name] if name else ["-noservername"]
    wait_for_answer = ["-ign_eof"] if talk == OPTIONS else []
    run = subprocess.run([need("openssl", "openssl"), "s_client", "-connect", gateway.addresses()[listener], "-CAfile",
                          str(certificates.ca), *ask, *wait_for_answer, *map(str, options)], input=talk,
                         capture_output=True, timeout=30, check=False)
    return run.returncode, (run.stdout + run.stderr).decode(errors="replace")


def context_for(certificates, version=None, client=None):
    context = ssl.create_default_context(cafile=str(certificates.ca))
    if version:
        context.minimum_version = context.maximum_version = version
    if client:
        context.load_cert_chain(*client)
    return context


class TestClientCertificates:
    """listener, certificate -> as whom (None: nobody), or why not."""

    IN = [
        ("require", "fine", "CN=fine"), ("require", "below", "CN=below"),
        ("request", "fine", "CN=fine"), ("request", "none", None),
        ("off", "none", None), ("off", "fine", None), ("off", "expired", None), ("plain", "fine", None),
        ("crl", "fine", "CN=fine"),
        ("old-tolerated", "fine", "CN=fine"),
        ("depth", "fine", "CN=fine"),
        ("time", "expired", "CN=gone"),
        ("unknown", "unknown CA", None), ("unknown", "self-signed", None), ("unknown", "fine", "CN=fine"),
    ]
    OUT = [
        ("require", "none", "did not return a certificate"), ("require", "expired", "expired"),
        ("require", "self-signed", "self-signed"), ("require", "unknown CA", "issuer certificate"),
        ("require", "for servers", "purpose"),
        ("request", "expired", "expired"), ("request", "self-signed", "self-signed"),
        ("request", "unknown CA", "issuer certificate"), ("request", "for servers", "purpose"),
        ("crl", "revoked", "revoked"), ("crl", "below", "unable to get certificate CRL"),
        ("old", "fine", "CRL has expired"),
        ("old-tolerated", "below", "CRL has expired"),
        ("depth", "below", "too long"),
        ("time", "self-signed", "self-signed"),
        ("unknown", "expired", "expired"),
        ("unknown-required", "unknown CA", "did not authenticate itself"),
    ]

    def ask(self, sallyport, certificates, clients, listener, client, version):
        since = len(sallyport.records())
        pair = clients[client]
        options = ["-cert", pair[0], "-cert_chain", pair[0], "-key", pair[1]] if pair else []
        _, text = s_client(sallyport, certificates, listener, "-tls1_2" if version == TLS12 else "-tls1_3", *options)
        return sallyport.wait_record(lambda r: r["listener"] == listener, since=since), text

    @VERSIONS
    @pytest.mark.parametrize("listener, client, who", IN)
    def test_in(self, sallyport, certificates, clients, listener, client, who, version):
        record, text = self.ask(sallyport, certificates, clients, listener, client, version)
        assert "ICAP/1.0 200 OK" in text, text
        assert record["protection"].get("peer") == who
        assert record["protection"]["how"] == "strong"
        tolerated = {"time": "IgnoreNotTimeValid", "unknown": "AllowUnknownCertificateAuthority",
                     "old-tolerated": "IgnoreEndRevocationUnknown, IgnoreRootRevocationUnknown"}
        expected = tolerated.get(listener) if (listener, client) != ("unknown", "fine") else None
        assert record["protection"].get("tolerated") == expected

    @VERSIONS
    @pytest.mark.parametrize("listener, client, why", OUT)
    def test_out(self, sallyport, certificates, clients, listener, client, why, version):
        record, text = self.ask(sallyport, certificates, clients, listener, client, version)
        assert why in record["error_text"]
        if listener == "unknown-required":  # the handshake knows of no fault
            assert "ICAP/1.0 403 Forbidden" in text, text
        else:
            assert "ICAP/1.0" not in text.replace(OPTIONS.decode(), ""), text
            assert re.search("alert|handshake failure", text), text
        assert (record["protection"]["why"], record["protection"].get("peer")) == ("we-rejected-peer", None)
        assert (record["protection"]["why_side"], record["protection"]["why_certain"]) == ("local", True)
        if client not in ("none", "unknown CA") or listener != "unknown-required":
            assert record["protection"]["why_source"] == ("tls" if client == "none" else "x509")
        assert "service" not in record

    # What each side knows: the alert, RFC 8446 6.2, and what is in the record.
    BOTH_ENDS = [
        ("require", "none", 116, "did not return a certificate"), ("require", "expired", 45, "expired"),
        ("require", "self-signed", 48, "self-signed"), ("require", "unknown CA", 48, "issuer certificate"),
        ("require", "for servers", 43, "purpose"), ("crl", "revoked", 44, "revoked"), ("depth", "below", 48, "too long"),
    ]

    @VERSIONS
    @pytest.mark.parametrize("listener, client, alert, why", BOTH_ENDS)
    def test_both_ends_know_why(self, sallyport, certificates, clients, listener, client, alert, why, version):
        record, text = self.ask(sallyport, certificates, clients, listener, client, version)
        if version == TLS12 and client == "none":
            alert = 40  # it has none of its own
        assert f"SSL alert number {alert}\n" in text, text
        assert why in record["error_text"] and record["protection"]["how"] == "none"

    @pytest.mark.parametrize("listener, client, alert, why", [row for row in BOTH_ENDS if row[1] != "expired"])
    def test_our_client_says_why(self, sallyport, certificates, clients, listener, client, alert, why):
        """Of all but what it notices itself, before it connects."""
        since, pair = len(sallyport.records()), clients[client]
        done = sallyport.command_line("why", f"icaps://{sallyport.addresses()[listener]}/echo", "--json", "--ca",
                                      certificates.ca, *(["--cert", pair[0], "--key", pair[1]] if pair else []))
        reason, = json.loads(done.stdout)["why"]
        assert (done.returncode, reason["code"], reason["certain"]) == (3, "peer-rejected-us", True)
        assert (reason["source"], reason["raw"]) == ("tls-alert", alert)
        record = sallyport.wait_record(lambda r: r["listener"] == listener, since=since)
        assert why in record["error_text"] and record["protection"]["why"] == "we-rejected-peer"

    def test_status_says_whether_revocation_is_checked(self, sallyport):
        checked = {l["name"] for l in sallyport.status()["listeners"] if l.get("revocation_checked")}
        assert checked == {"crl", "old", "old-tolerated"}

    def test_which_cas_are_announced(self, sallyport, certificates):
        assert "Sallyport test CA" in s_client(sallyport, certificates, "request")[1].partition("Acceptable client")[2]
        for listener in ("plain", "off"):
            assert "No client certificate CA names sent" in s_client(sallyport, certificates, listener)[1]


class TestFlags:
    def start(self, tmp_path, certificates, sandbox, more, env):
        config = tmp_path / "x.yaml"
        config.write_text(configuration(certificates.server, {"a": f"client-ca: {certificates.ca}{more}"}, sandbox)
                          .replace("{state}", str(tmp_path)))
        program = Sallyport.__init__.__globals__["binary"]()
        run = subprocess.run([program, "check", "-c", config], env={**os.environ, **env}, capture_output=True, text=True,
                             timeout=30, check=False)
        return run.returncode, run.stdout + run.stderr

    @pytest.mark.parametrize("more, env, why", [
        (", verification-flags: 1", {}, "insecure-verification-flags"),
        (", verification-flags: Everything", {}, "'Everything' is not a verification flag"),
        ("", {"CERTIFICATE__VefificationFlags": "AllFlags"}, "INSECURE_CERTIFICATE__VerificationFlags"),
        ("", {"CERTIFICATE__VerificationFlags": "256", "CERTIFICATE__VefificationFlags": "1024"}, "say different things"),
        ("", {"CERTIFICATE__VerificationFlags": "x"}, "'x' in CERTIFICATE__VerificationFlags"),
    ])
    def test_refused(self, tmp_path, certificates, sandbox, more, env, why):
        code, text = self.start(tmp_path, certificates, sandbox, more, env)
        assert code != 0 and why in text, text

    def test_warned(self, tmp_path, certificates, sandbox):
        code, text = self.start(tmp_path, certificates, sandbox, ", insecure-verification-flags: AllFlags", {})
        assert code == 0 and "INSECURE" in text, text

    @pytest.mark.parametrize("variable", ["CERTIFICATE__VefificationFlags", "CERTIFICATE__VerificationFlags"])
    def test_environment(self, tmp_path, certificates, clients, sandbox, start_sallyport, lists, variable):
        """An entry without flags takes them from there; one with its own does not."""
        ca = f"client-ca: {certificates.ca}, client-crl: {lists['old']}"
        config = configuration(certificates.server, {"theirs": ca, "own": f"{ca}, verification-flags: NoFlag"}, sandbox)
        gateway = start_sallyport(config=config, env={
            **os.environ, variable: "IgnoreEndRevocationUnknown, IgnoreRootRevocationUnknown"})
        context = context_for(certificates, TLS13, clients["fine"])
        with IcapConnection(gateway.address("theirs"), tls=context) as c:
            assert c.ask("RESPMOD", gateway.url("echo", "theirs"), b"x").status == 200
        with pytest.raises(REFUSED):
            with IcapConnection(gateway.address("own"), tls=context) as c:
                c.ask("RESPMOD", gateway.url("echo", "own"), b"x")


class TestNames:
    @pytest.fixture(scope="class")
    def gateway(self, tmp_path_factory, certificates, sandbox):
        second = certificates.issue("second", "subjectAltName=DNS:second.test")
        third = certificates.issue("third", "subjectAltName=DNS:elsewhere.test")
        config = configuration(certificates.server, {"plain": ""}, sandbox, listener=", also-tls: [second, third]")
        config = config.replace("listeners:", f"  - {{name: second, certificate: {second[0]}, key: {second[1]}}}\n"
                                              f"  - {{name: third, certificate: {third[0]}, key: {third[1]}, "
                                              'names: ["third.test", "*.third.test"]}\nlisteners:', 1)
        with Sallyport(tmp_path_factory.mktemp("sallyport"), config=config) as gateway:
            yield gateway

    @pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
    @pytest.mark.parametrize("name, shown", [
        ("localhost", "server"), ("second.test", "second"), ("SECOND.test", "second"), ("third.test", "third"),
        ("a.third.test", "third"), ("a.b.third.test", "server"), ("elsewhere.test", "server"), ("unknown.test", "server")])
    def test_certificate(self, gateway, certificates, name, shown, version):
        _, text = s_client(gateway, certificates, "plain", version, name=name)
        assert f"subject=CN = {shown}\n" in text, text
        assert "ICAP/1.0 200 OK" in text

    def test_no_name(self, gateway, certificates):
        _, text = s_client(gateway, certificates, "plain", name=None)
        assert "subject=CN = server\n" in text, text

    def test_foreign_alpn(self, gateway, certificates):
        _, text = s_client(gateway, certificates, "plain", "-alpn", "h2,http/1.1")
        assert "No ALPN negotiated" in text and "ICAP/1.0 200 OK" in text, text


class TestOcsp:
    @pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
    def test_stapled(self, sallyport, certificates, version):
        text = s_client(sallyport, certificates, "stapled", "-status", version)[1]
        assert "OCSP Response Status: successful" in text and "Cert Status: good" in text, text
        assert "OCSP response: no response sent" in s_client(sallyport, certificates, "plain", "-status", version)[1]

    def test_of_another(self, tmp_path, certificates, sandbox, start_sallyport):
        """A warning, and nothing is sent; a right one is taken over as soon as it is there."""
        other = certificates.ocsp(tmp_path / "x.ocsp", certificates.issue("another")[0])
        gateway = start_sallyport(config=configuration(certificates.server, {"a": f"ocsp: {other}"}, sandbox))
        assert "is not sent to clients: it is about another certificate" in gateway.log()
        assert "no response sent" in s_client(gateway, certificates, "a", "-status")[1]
        certificates.ocsp(tmp_path / "right.ocsp", certificates.server[0]).rename(other)
        wait.until(lambda: "Cert Status: good" in s_client(gateway, certificates, "a", "-status")[1], "the response", 15)


class TestTickets:
    def visit(self, gateway, listener, context, session=None):
        """(session to come back with, was this one resumed?)"""
        raw = socket.create_connection(gateway.address(listener), 10)
        with context.wrap_socket(raw, server_hostname="localhost", session=session) as tls:
            tls.sendall(OPTIONS)
            answer = b""
            while more := tls.recv(4096):
                answer += more
            assert answer.startswith(b"ICAP/1.0 200 OK")
            return tls.session, tls.session_reused

    @pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
    def test_on_and_off(self, sallyport, certificates, version, tmp_path):
        for listener, on in (("plain", True), ("silent", False)):
            session = tmp_path / listener
            text = s_client(sallyport, certificates, listener, version, "-sess_out", session)[1]
            assert ("TLS session ticket:" in text) == on, text
            if session.exists():
                text = s_client(sallyport, certificates, listener, version, "-sess_in", session)[1]
                assert ("Reused, TLS" in text) == on, text
            else:
                assert not on
        # One from elsewhere is not taken where there are none.
        text = s_client(sallyport, certificates, "silent", version, "-sess_in", tmp_path / "plain")[1]
        assert "New, TLS" in text and "ICAP/1.0 200 OK" in text, text

    def test_an_hour_at_most(self, sallyport, certificates):
        text = s_client(sallyport, certificates, "plain", "-tls1_3")[1]
        hints = [int(n) for n in re.findall(r"ticket lifetime hint: (\d+)", text)]
        assert hints and max(hints) <= 3600
        assert "Max Early Data: 0" in text

    @VERSIONS
    def test_not_under_another_trust(self, sallyport, certificates, clients, version):
        context = context_for(certificates, version, clients["fine"])
        session, _ = self.visit(sallyport, "request", context)
        for listener, resumed in (("request", True), ("require", False), ("crl", False), ("plain", False)):
            assert self.visit(sallyport, listener, context, session)[1] == resumed, listener

    @VERSIONS
    def test_reload_and_new_generation(self, certificates, sandbox, start_sallyport, version):
        """Without a secret of the operator's, too, tickets are good after both."""
        gateway = start_sallyport(config=configuration(certificates.server, {"a": ""}, sandbox))
        context = context_for(certificates, version)
        session, _ = self.visit(gateway, "a", context)
        pid = gateway.gateway_pid()
        text = gateway.config.read_text()
        gateway.config.write_text(text.replace("{name: a, address", "{name: a, handshake: 9s, address"))
        gateway.send_signal(signal.SIGHUP)
        gateway.wait_log("reload: done without interruption")
        assert self.visit(gateway, "a", context, session)[1]
        gateway.config.write_text(text.replace("threads: 2", "threads: 3"))
        gateway.send_signal(signal.SIGHUP)
        gateway.wait_log("reload: done with a new gateway process", 30)
        assert gateway.gateway_pid() != pid
        assert self.visit(gateway, "a", context, session)[1]

    @VERSIONS
    def test_shared_secret(self, tmp_path, certificates, sandbox, start_sallyport, version):
        """Two nodes with one secret resume each other's sessions; a third does not."""
        secret, other = tmp_path / "secret", tmp_path / "other"
        secret.write_bytes(os.urandom(32))
        other.write_bytes(os.urandom(48))
        for file in (secret, other):
            file.chmod(0o600)
        a, b, c = (start_sallyport(config=configuration(certificates.server, {"a": f"ticket-secret: {file}"}, sandbox))
                   for file in (secret, secret, other))
        context = context_for(certificates, version)
        session, _ = self.visit(a, "a", context)
        assert self.visit(b, "a", context, session)[1]
        assert not self.visit(c, "a", context, session)[1]

    @VERSIONS
    def test_revoked_meanwhile(self, tmp_path, certificates, clients, sandbox, start_sallyport, version):
        """A new CRL counts at once, for those with tickets, too."""
        crl = certificates.crl(tmp_path / "ca.crl")
        gateway = start_sallyport(config=configuration(
            certificates.server, {"a": f"client-ca: {certificates.ca}, client-crl: {crl}"}, sandbox))
        context = context_for(certificates, version, clients["fine"])
        session, _ = self.visit(gateway, "a", context)
        assert self.visit(gateway, "a", context, session)[1]
        certificates.crl(crl, [clients["fine"][0]])

        def refused():
            try:
                self.visit(gateway, "a", context, session)
            except REFUSED:
                return True
            return False
        wait.until(refused, "the new CRL", 15)
        gateway.wait_record(lambda r: "revoked" in r.get("error_text", ""))


def test_no_renegotiation(sallyport, certificates):
    """R in s_client."""
    _, text = s_client(sallyport, certificates, "plain", "-tls1_2", talk=b"R\n")
    assert "RENEGOTIATING" in text and "no renegotiation" in text, text


class TestAuditors:
    @pytest.mark.slow
    def test_testssl(self, sallyport, tmp_path):
        """Protocols, standard cipher classes, forward secrecy, known vulnerabilities: nothing above LOW."""
        out = tmp_path / "testssl.json"
        host, port = sallyport.address("plain")
        subprocess.run([need("testssl", "testssl.sh"), "--jsonfile", out, "--ip", "one", "--warnings", "off", "--quiet",
                        "--color", "0", "-p", "-s", "-f", "-U", f"{host}:{port}"],
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=540, check=False,
                       env={**os.environ, "TERM": "dumb"})
        findings = json.loads(out.read_text())
        by_id = {f["id"]: f for f in findings}
        assert by_id["TLS1_2"]["severity"] == "OK" and by_id["TLS1_3"]["severity"] == "OK"
        assert "not offered" in by_id["TLS1"]["finding"] and "not offered" in by_id["TLS1_1"]["finding"]
        for wanted in ("heartbleed", "ROBOT", "secure_renego", "secure_client_renego", "CRIME_TLS", "SWEET32", "BEAST", "LUCKY13",
                       "RC4", "PFS", "cipherlist_NULL", "cipherlist_aNULL", "cipherlist_STRONG"):
            assert wanted in by_id, sorted(by_id)
        # What testssl says of its own openssl, which has no GOST, says nothing of the server.
        bad = [f for f in findings
               if f["severity"] not in ("OK", "INFO", "LOW", "DEBUG") and f["id"] != "engine_problem"]
        assert not bad, bad

    def test_sslscan(self, sallyport):
        run = subprocess.run([need("sslscan", "sslscan"), "--no-colour", "--xml=-", sallyport.addresses()["plain"]],
                             capture_output=True, text=True, timeout=120, check=True)
        test = xml.etree.ElementTree.fromstring(run.stdout).find("ssltest")
        enabled = {f"{p.get('type')} {p.get('version')}" for p in test.findall("protocol") if p.get("enabled") == "1"}
        assert enabled == {"tls 1.2", "tls 1.3"}
        ciphers = {c.get("cipher") for c in test.findall("cipher")}
        assert ciphers and all(c.startswith("TLS_") or c.startswith("ECDHE-ECDSA-") for c in ciphers), ciphers
        assert all(re.search("GCM|CHACHA20", c) for c in ciphers), ciphers
        assert test.find("renegotiation").get("supported") == "0"
        assert all(h.get("vulnerable") == "0" for h in test.findall("heartbleed"))
