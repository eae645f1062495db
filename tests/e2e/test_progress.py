# SPDX-License-Identifier: Apache-2.0
"""slow.mode: progress, with a real Squid between: the page while clamd thinks, then the file or the
block page; two browsers, records that belong together; and the same straight over ICAP."""
import hashlib
import re
import threading

import pytest

from testenv import Clamd, IcapConnection, Sallyport, Squid, samples, wait
from testenv.clamd import EICAR_NAME
from testenv.icap import http_request, http_response
from testenv.sallyport import build_dir, is_sanitized
from testenv.squid import KEEP_READING, READ_AHEAD

MIB = samples.MIB
HOST = "progress.test"
CONFIG = """\
state: {{state}}
threads: 2
sandbox: {sandbox}
admin: {{address: 127.0.0.1:0}}
listeners: [{{name: clear, address: "127.0.0.1:0", client-ip-from: [127.0.0.1]}}]
engines: {{clamav: {{address: "{clamd}", check: 15s}}}}
services:
  - {{name: upload, type: inspect, path: /upload, methods: [REQMOD]}}
  - name: download
    type: inspect
    path: /download
    pipeline: [clamav]
    contact: helpdesk@company.test
    slow: {{mode: progress, after: 300ms, every: 1s, host: {host}, keep: 30s, files: 8}}
"""
# In a delay pool what the gateway answers by itself may wait for ever, as block pages of uploads do.
SQUID = f"icap_send_client_ip on\nacl progress dstdomain {HOST}\n" + READ_AHEAD + KEEP_READING.replace(
    "allow fetch", "allow fetch !progress")
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
REFRESH = re.compile(r'<meta http-equiv="refresh" content="1;url=(http://progress\.test/[0-9a-z]{26})">')


def service_is_up(gateway):
    with IcapConnection(gateway.address()) as c:
        return c.ask("OPTIONS", gateway.url("download"), http=[]).status == 200


@pytest.fixture(scope="module")
def clamd(tmp_path_factory):
    with Clamd(tmp_path_factory.mktemp("clamd")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, clamd):
    sandbox = "best-effort" if is_sanitized(build_dir()) else "required"
    config = CONFIG.format(clamd=clamd.socket_path, host=HOST, sandbox=sandbox)
    with Sallyport(tmp_path_factory.mktemp("gateway"), config=config, ready=False) as gateway:
        gateway.wait_ready()
        wait.until(lambda: service_is_up(gateway), "clamd's self-test", 60)
        yield gateway


@pytest.fixture(scope="module")
def squid(gateway):
    services = [("reqmod_precache", gateway.url("upload"), ""), ("respmod_precache", gateway.url("download"), "")]
    with Squid(services, extra=SQUID) as squid:
        yield squid


@pytest.fixture
def slow(clamd):
    """clamd answers when the test says go_on()."""
    clamd.pause()
    yield clamd
    clamd.go_on()


def browse(squid, url, method="GET"):
    """(status, fields, body) as a browser that follows a link gets them."""
    connection = squid.open()
    try:
        connection.request(method, url, headers=BROWSER)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def page_address(answer):
    status, fields, body = answer
    assert status == 200, body[:300]
    assert fields["Content-Type"].startswith("text/html"), fields
    assert fields["Cache-Control"] == "no-store"
    found = REFRESH.search(body.decode())
    assert found, body
    return found[1]


def follow(squid, url):
    """Asks again, as the page does, until it is no such page any more."""
    def other():
        answer = browse(squid, url)
        return None if REFRESH.search(answer[2][:4096].decode("latin-1")) else answer
    return wait.until(other, "the end of the scan", 30)


def linked_records(gateway, since, last):
    """The first record of a file, and those that follow it, once there is a fetch that ended with |last|."""
    first = gateway.wait_record(lambda r: r.get("action") == "deferred" and "follows" not in r, since=since)
    gateway.wait_record(lambda r: r.get("follows") == first["id"] and r["method"] == "REQMOD" and r["action"] == last,
                        since=since)
    rest = [r for r in gateway.records()[since:] if r.get("follows") == first["id"]]
    return first, rest


class TestBrowser:
    @pytest.mark.parametrize("size", [1000, 100_000, 12 * MIB])
    def test_clean(self, gateway, squid, origin, slow, size):
        since = len(gateway.records())
        url = page_address(browse(squid, origin.url(f"/size/{size}")))
        assert page_address(browse(squid, url)) == url
        assert browse(squid, url, "HEAD")[0] == 200
        slow.go_on()
        status, fields, body = follow(squid, url)
        assert status == 200
        assert fields["Content-Disposition"].startswith(f'attachment; filename="{size}"')
        assert int(fields["Content-Length"]) == size
        assert hashlib.sha256(body).hexdigest() == samples.noise_digest(size)
        assert len(browse(squid, url)[2]) == size  # once more
        first, rest = linked_records(gateway, since, "pass")
        scans = [r for r in rest if "verdict" in r]
        assert [(r["verdict"], r["action"]) for r in scans] == [("pass", "pass")], rest
        assert scans[0]["sha256"] == first["sha256"] == samples.noise_digest(size)
        assert {r["action"] for r in rest if r["method"] == "REQMOD"} == {"deferred", "pass"}
        assert not any(url[-26:] in str(r) for r in rest)

    def test_infected(self, gateway, squid, origin, slow):
        since = len(gateway.records())
        url = page_address(browse(squid, origin.url("/eicar")))
        slow.go_on()
        status, _, body = follow(squid, url)
        assert status == 403
        assert EICAR_NAME.encode() in body and b"helpdesk@company.test" in body
        _, rest = linked_records(gateway, since, "block")
        scan = next(r for r in rest if "verdict" in r)
        assert (scan["verdict"], scan["action"], scan["cause"]) == ("block", "block", "infected")
        assert scan["id"].encode() in body

    def test_user_that_looks_away(self, gateway, squid, origin, slow):
        """The page was all that this connection waited for."""
        since = len(gateway.records())
        page_address(browse(squid, origin.url("/size/5000")))
        slow.go_on()
        gateway.wait_record(lambda r: r.get("verdict") == "pass" and "follows" in r, since=since)

    def test_programs_wait(self, squid, origin, slow):
        timer = threading.Timer(1.5, slow.go_on)
        timer.start()
        try:
            status, digest, _, _ = squid.get(origin.url("/size/7000"), fields={"Accept": "*/*"})
        finally:
            timer.join()
        assert (status, digest) == (200, samples.noise_digest(7000))

    def test_wrong_address(self, squid):
        assert browse(squid, f"http://{HOST}/{'0' * 26}")[0] == 404
        assert browse(squid, f"http://{HOST}/favicon.ico")[0] == 404


class TestIcap:
    """Users by X-Client-IP."""

    def ask(self, gateway, method, service, user, url, body=None):
        fields = [b"Accept: text/html"]
        http = [("req-hdr", http_request(url=url.encode(), fields=fields))]
        if method == "RESPMOD":
            http.append(("res-hdr", http_response(len(body))))
        with IcapConnection(gateway.address()) as c:
            return c.ask(method, gateway.url(service), body, http=http, fields=[f"X-Client-IP: {user}"])

    def test_two_users(self, gateway, slow):
        pages = {user: self.ask(gateway, "RESPMOD", "download", user, "http://a.test/f.bin", user.encode() * 9)
                 for user in ("192.0.2.1", "192.0.2.2")}
        urls = {user: REFRESH.search(reply.body.decode())[1] for user, reply in pages.items()}
        assert len(set(urls.values())) == 2
        slow.go_on()
        for user, url in urls.items():
            def mine(user=user, url=url):
                reply = self.ask(gateway, "REQMOD", "upload", user, url)
                return reply if reply.body == user.encode() * 9 else None
            assert wait.until(mine, "the file", 20).http_status() == 200
            other = next(u for u in urls if u != user)
            assert self.ask(gateway, "REQMOD", "upload", other, url).http_status() == 404

    def test_metrics(self, gateway):
        metrics = gateway.metrics()
        assert metrics["sallyport_progress_files"] >= 0
        assert any(name.startswith("sallyport_progress_pages_total") for name in metrics)
