# SPDX-License-Identifier: Apache-2.0
"""The load generator against servers that do nothing wrong: it asks for what its options say, and
passes them. The binary is $SALLYPORT_BUILD/tests/bench/icapload; test_load_faults.py is its other half.
"""
import email
import json
import os
import ssl
import subprocess
import threading

import pytest

from testenv.wrong_server import (CONTINUE, LOAD, NO_CHANGE, NO_CHANGE_OK, PARTIAL_OK, PREVIEW, REQMOD, RESPMOD, SIZE,
                                  UNIQUE, WAIT, Stub, answer, block_page, each, good, load, partial)

pytestmark = pytest.mark.skipif("CI" not in os.environ and not LOAD.exists(),
                                reason="SALLYPORT_BUILD names no build with tests/bench/icapload")


class TestGood:
    @pytest.mark.parametrize("options", [
        (), REQMOD, ("-m", "REQMOD", "-s", "5000"), RESPMOD, ("-m", "RESPMOD", "-s", "0"),
        ("-m", "RESPMOD", "-s", "1"), ("-m", "RESPMOD", "-s", "65536"),
        ("-m", "RESPMOD", "-s", "300000"), NO_CHANGE_OK, (*RESPMOD, "--expect", "200"),
    ])
    def test_echo(self, options):
        with Stub(each(good)) as stub:
            code, report = load(stub.address, *options, requests=20, connections=4)
        assert (code, report["errors"], report["requests"]) == (0, {}, 20)
        assert report["status"]["200"] == 20

    def test_no_change(self):
        with Stub(each(lambda request: NO_CHANGE)) as stub:
            code, report = load(stub.address, *NO_CHANGE_OK, requests=20)
        assert (code, report["status"]["204"]) == (0, 20)

    @pytest.mark.parametrize("n", [0, 1, 1000, SIZE])
    @pytest.mark.parametrize("options", [PARTIAL_OK, (*PREVIEW, "--allow-206")])
    def test_partial(self, options, n):
        with Stub(each(lambda request: partial(request, n))) as stub:
            code, report = load(stub.address, *options, "--expect", "206", requests=20)
        wrong = "--preview" in options and n > 1000  # of which the server saw 1000 bytes only
        assert (code, report["status"]["206"]) == ((1, 0) if wrong else (0, 20))

    def test_partial_that_is_whole(self):
        with Stub(each(lambda request: partial(request, SIZE, b""))) as stub:
            code, report = load(stub.address, *PARTIAL_OK)
        assert (code, report["errors"], report["status"]["206"]) == (0, {}, 3)

    @pytest.mark.parametrize("options, allow", [
        (RESPMOD, None), (NO_CHANGE_OK, b"204"), ((*RESPMOD, "--allow-206"), b"206"), (PARTIAL_OK, b"204, 206")])
    def test_allow(self, options, allow):
        seen = []

        def reply(request):
            seen.append([line[7:] for line in request.icap.split(b"\r\n") if line.startswith(b"Allow: ")])
            return answer(request)
        with Stub(each(reply)) as stub:
            load(stub.address, *options, requests=1)
        assert seen == [[allow] if allow else []]

    def test_what_differs_in_every_answer(self):
        """Date and an id are no reason to take a head for another one, whatever their length."""
        count = []

        def reply(request):
            count.append(1)
            return answer(request, more=b"Date: %06d\r\nX-Request-ID: %d\r\n" % (len(count), 7 ** len(count)))
        with Stub(each(reply)) as stub:
            code, report = load(stub.address, *RESPMOD, requests=30)
        assert (code, report["errors"], report["requests"]) == (0, {}, 30)

    def test_answer_before_the_request_is_over(self):
        """The client goes on to the end of its body, and the next request follows it."""
        def talk(peer, _stub):
            for _ in range(5):
                peer.head()
                peer.send(NO_CHANGE)
                peer.head(), peer.head(), peer.chunks()
        with Stub(talk) as stub:
            code, report = load(stub.address, *NO_CHANGE_OK, requests=5)
        assert (code, report["errors"], report["requests"]) == (0, {}, 5)

    def test_every_cut(self):
        """The same answer in pieces of every size, so that each check meets each cut."""
        whole = []

        def talk(peer, _stub):
            step = 1
            while request := peer.request():
                data = answer(request)
                whole.append(len(data))
                for i in range(0, len(data), step):
                    peer.send(data[i:i + step])
                step += 1
        with Stub(talk) as stub:
            code, report = load(stub.address, "-m", "RESPMOD", "-s", "50", "--timeout", "5",
                                requests=60)
        assert (code, report["errors"], report["requests"]) == (0, {}, 60)
        assert report["bytes_in"] == sum(whole)

    def test_reads_while_it_writes(self):
        """A body that fits no socket buffer, echoed by a server that holds next to nothing."""
        size = 32 << 20

        def talk(peer, _stub):
            peer.head()
            peer.head()
            http = peer.head()
            peer.send(b'ICAP/1.0 200 OK\r\nISTag: "t1"\r\n'
                      b"Encapsulated: res-hdr=0, res-body=%d\r\n\r\n%s" % (len(http), http))
            left = 1
            while left:
                line = peer.file.readline()
                left = int(line, 16)
                peer.send(line + peer.file.read(left + 2))
        with Stub(talk) as stub:
            code, report = load(stub.address, "-m", "RESPMOD", "-s", str(size), "--timeout", "20",
                                requests=1)
        assert (code, report["errors"], report["requests"]) == (0, {}, 1)
        assert report["bytes_out"] > size

    @pytest.mark.parametrize("final", [NO_CHANGE, None])
    def test_preview_then_continue(self, final):
        def talk(peer, _stub):
            while request := peer.request():
                assert request.preview and len(request.body) == 1000 and not request.ieof
                if not final:
                    peer.send(CONTINUE)
                    request.body += peer.chunks()[0]
                peer.send(final or answer(request))
        with Stub(talk) as stub:
            code, report = load(stub.address, *PREVIEW, "--continue",
                                "never" if final else "always", requests=5)
        assert (code, report["errors"], report["requests"]) == (0, {}, 5)
        assert report["status"]["100"] == (0 if final else 5)

    def test_preview_that_is_the_whole_body(self):
        seen = []

        def reply(request):
            seen.append(request.ieof)
            return answer(request)
        with Stub(each(reply)) as stub:
            code, report = load(stub.address, *RESPMOD, "--preview", str(SIZE))
        assert (code, report["errors"], seen) == (0, {}, [True] * 3)

    def test_preview_without_body(self):
        with Stub(each(lambda request: NO_CHANGE)) as stub:
            code, report = load(stub.address, *REQMOD, "--preview", "0")
        assert (code, report["errors"]) == (0, {})

    def test_connection_for_each_request(self):
        def talk(peer, _stub):
            request = peer.request()
            assert b"\r\nConnection: close\r\n" in request.icap
            peer.send(answer(request))
        with Stub(talk) as stub:
            code, report = load(stub.address, *RESPMOD, "--close", requests=10)
        assert (code, report["errors"], report["connects"]) == (0, {}, 10)

    def test_announced_close(self):
        with Stub(lambda peer, _: peer.send(answer(peer.request(),
                                                   more=b"Connection: close\r\n"))) as stub:
            code, report = load(stub.address, *RESPMOD, requests=5)
        assert (code, report["errors"], report["reconnects"]) == (0, {}, 5)


class TestBodies:
    def test_unique(self):
        """No two bodies of two runs are the same, and what is not the stamp is as without."""
        seen, plain = [], []

        def reply(request):
            seen.append(request.body)
            return answer(request)
        with Stub(each(reply)) as stub:
            for _ in range(2):
                code, report = load(stub.address, *UNIQUE, requests=20, connections=4)
                assert (code, report["errors"], report["requests"]) == (0, {}, 20)
        with Stub(each(lambda request: plain.append(request.body) or answer(request))) as stub:
            load(stub.address, *RESPMOD, requests=1)
        assert len(seen) == len({body[:16] for body in seen}) == 40
        assert all(len(body) == SIZE for body in seen)
        assert plain[0][16:] in [body[16:] for body in seen]

    @pytest.mark.parametrize("size", [16, 17, 65536, 65537, 300000])
    @pytest.mark.parametrize("preview", [0, 1, 15, 16, 17, 1000, None])
    def test_unique_in_every_cut(self, size, preview):
        options = ("-m", "RESPMOD", "-s", str(size), "--unique")

        def talk(peer, _stub):
            while request := peer.request():
                if request.preview and not request.ieof:
                    peer.send(CONTINUE)
                    request.body += peer.chunks()[0]
                assert len(request.body) == size and int(request.body[:16], 16)
                peer.send(answer(request))
        with Stub(talk) as stub:
            code, report = load(stub.address, *options,
                                *(() if preview is None else ("--preview", str(preview))))
        assert (code, report["errors"], report["requests"]) == (0, {}, 3)

    @pytest.mark.parametrize("files", [False, True])
    @pytest.mark.parametrize("parts, size", [(1, 16), (10, 1024), (1000, 100)])
    def test_form(self, parts, size, files):
        seen = []

        def reply(request):
            message = email.message_from_bytes(
                request.http_head().split(b"\r\n", 1)[1] + request.body)
            assert message.get_content_type() == "multipart/form-data"
            assert int(message["Content-Length"]) == len(request.body)
            seen.append([(p.get_param("name", header="Content-Disposition"), p.get_payload())
                         for p in message.get_payload()])
            assert [p.get_filename() for p in message.get_payload()] == [
                f"note{i}.txt" if files else None for i in range(parts)]
            return answer(request)
        with Stub(each(reply)) as stub:
            code, report = load(stub.address, *REQMOD, "--form", str(parts), "-s", str(size),
                                "--unique", "--timeout", "5", *(["--files"] if files else []))
        assert (code, report["errors"], report["requests"]) == (0, {}, 3)
        for form in seen:
            assert [name for name, _ in form] == [f"field{i}" for i in range(parts)]
            assert {len(value) for _, value in form} == {size}
        assert len({form[0][1] for form in seen}) == 3

    @pytest.mark.parametrize("method", [RESPMOD, ("-m", "REQMOD", "-s", str(SIZE))])
    def test_block_page(self, method):
        """Every other answer is the allowed page; its latency is not mixed with the others'."""
        count = []

        def reply(request):
            count.append(1)
            return block_page() if len(count) % 2 else answer(request)
        with Stub(each(reply)) as stub:
            code, report = load(stub.address, *method, "--blocked", "overload", requests=10)
        assert (code, report["errors"], report["requests"], report["blocked"]) == (0, {}, 10, 5)
        assert report["latency_us"]["max"] > 0 and report["blocked_us"]["max"] > 0

    @pytest.mark.parametrize("options, errors", [(("--refused",), []), ((), ["status"])])
    def test_refused(self, options, errors):
        """Every other answer is 503; the connection goes on where that is allowed."""
        count = []

        def reply(request):
            count.append(1)
            return b'ICAP/1.0 503 Busy\r\nISTag: "t1"\r\nEncapsulated: null-body=0\r\n\r\n' if len(count) % 2 \
                else answer(request)
        with Stub(each(reply)) as stub:
            code, report = load(stub.address, *RESPMOD, *options, requests=10, connections=1)
        assert (code, list(report["errors"])) == (bool(errors), errors)
        if not errors:
            assert (report["requests"], report["blocked"], report["connects"]) == (10, 5, 1)
            assert (report["status"]["200"], report["latency_us"]["max"] > 0) == (5, True)

    def test_block_page_after_a_preview(self):
        with Stub(each(lambda request: block_page())) as stub:
            code, report = load(stub.address, *PREVIEW, "--blocked", "overload")
        assert (code, report["errors"], report["blocked"]) == (0, {}, 3)

    @pytest.mark.parametrize("options", [
        ("-m", "RESPMOD", "-s", "15", "--unique"), (*RESPMOD, "--unique", "--fill"),
        (*RESPMOD, "--form", "2"), (*REQMOD, "--form", "2"), (*RESPMOD, "--rate", "5", "--close"),
        ("--hold", "--close"), ("--hold", "--rate", "5"), ("--hold", "-r", "5"),
    ])
    def test_what_does_not_go_together(self, options):
        done = subprocess.run([str(LOAD), *options, "127.0.0.1:9"], capture_output=True, timeout=30)
        assert done.returncode == 2


def test_source_address():
    seen = []

    def talk(peer, _stub):
        seen.append(peer.sock.getpeername()[0])
        peer.send(answer(peer.request()))
    with Stub(talk) as stub:
        code, report = load(stub.address, *RESPMOD, "--from", "127.0.0.9", requests=1)
    assert (code, report["errors"], seen) == (0, {}, ["127.0.0.9"])


class TestPaths:
    def seen(self, *options, requests, connections=1):
        paths = {}

        def talk(peer, _stub):
            while request := peer.request():
                paths.setdefault(peer, []).append(request.icap.split(b" ")[1].rpartition(b"/")[2].decode())
                if request.preview and paths[peer][-1] == "b":
                    peer.send(CONTINUE)
                    request.body += peer.chunks()[0]
                peer.send(NO_CHANGE if len(request.body) < SIZE else answer(request))
        with Stub(talk) as stub:
            code, report = load(stub.address, *options, requests=requests, connections=connections)
        assert (code, report["errors"], report["requests"]) == (0, {}, requests)
        return list(paths.values()), report["status"]

    def test_one(self):
        assert self.seen(*RESPMOD, "--path", "/a", requests=3)[0] == [["a", "a", "a"]]

    def test_two(self):
        """They alternate on each connection, not by who comes first."""
        paths, _ = self.seen(*RESPMOD, "--path", "/a", "--also", "/b", requests=41, connections=3)
        assert len(paths) == 3
        for of_one in paths:
            assert of_one == (["a", "b"] * 41)[:len(of_one)]

    def test_half_continues(self):
        _, status = self.seen(*PREVIEW, "--path", "/a", "--also", "/b", requests=40)
        assert status == {"100": 20, "200": 20, "204": 20, "206": 0}


class TestField:
    """A line of one's own, on each request or once for a connection."""
    LINE = "Authorization: Basic YTpi"

    def seen(self, *options, requests, per_connection=None):
        """For each connection, which of its requests had the line."""
        found = []

        def talk(peer, _stub):
            found.append(mine := [])
            while request := peer.request():
                lines = request.icap.split(b"\r\n")
                assert lines.count(self.LINE.encode()) <= 1 and b"Host: " in request.icap
                mine.append(self.LINE.encode() in lines)
                last = len(mine) == per_connection
                peer.send(answer(request, more=b"Connection: close\r\n" if last else b""))
                if last:
                    return
        with Stub(talk) as stub:
            code, report = load(stub.address, *options, requests=requests, connections=1)
        assert (code, report["errors"], report["requests"]) == (0, {}, requests)
        return found

    def test_none(self):
        assert self.seen(*RESPMOD, requests=3) == [[False] * 3]

    def test_each(self):
        assert self.seen(*RESPMOD, "--field", self.LINE, requests=4) == [[True] * 4]

    @pytest.mark.parametrize("more", [(), ("--also", "/b")])
    def test_once(self, more):
        """Also where another connection begins with the second of two paths."""
        assert self.seen(*RESPMOD, *more, "--field", self.LINE, "--field-once", requests=6,
                         per_connection=3) == [[True, False, False]] * 2

    def test_once_for_connections_that_close(self):
        assert self.seen(*RESPMOD, "--close", "--field", self.LINE, "--field-once", requests=3,
                         per_connection=1) == [[True]] * 3

    @pytest.mark.parametrize("options, words", [
        (("--field", "no colon"), "NAME: VALUE"), (("--field", "A: b\r\nC: d"), "NAME: VALUE"),
        (("--field-once",), "--field"), (("--field", "A: " + "b" * 3000), "too long")])
    def test_refused(self, options, words):
        done = subprocess.run([str(LOAD), *options, "127.0.0.1:9"], capture_output=True, text=True, timeout=30)
        assert done.returncode == 2 and words in done.stderr.splitlines()[0]


class TestHold:
    @staticmethod
    def held(talk, *options, connections=4):
        """What the generator reports; the server may do |meanwhile| while its connections are held."""
        with Stub(talk) as stub:
            command = [str(LOAD), "--json", "--hold", "-n", str(connections), "--timeout", "0.4", *options,
                       stub.address]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load_:
                assert load_.stdout.readline() == "held\n"
                stub.held.set()
                stub.done.wait(WAIT)
                report = json.loads(load_.communicate(timeout=30)[0])  # ends its standard input
        return load_.returncode, report

    def test_all(self):
        requests = []

        def talk(peer, stub):
            requests.append(peer.request())
            peer.send(answer(requests[-1]))
            stub.held.wait(WAIT)
            stub.done.set()
            assert peer.request() is None  # one each
        code, report = self.held(talk, *RESPMOD)
        assert (code, report["errors"], report["held"], report["requests_total"]) == (0, {}, 4, 4)
        assert len(requests) == 4

    def test_a_few_at_a_time(self):
        """Sixteen wait for their answer at most, however many are to be held."""
        waiting, most, lock = set(), [], threading.Lock()

        def talk(peer, stub):
            request = peer.request()
            with lock:
                waiting.add(peer)
                most.append(len(waiting))
            threading.Event().wait(0.02)
            with lock:
                waiting.discard(peer)
            peer.send(answer(request))
            stub.held.wait(WAIT)
            stub.done.set()
            peer.request()
        code, report = self.held(talk, *RESPMOD, "--timeout", "5", connections=50)
        assert (code, report["errors"], report["held"]) == (0, {}, 50)
        assert 1 < max(most) <= 16

    def test_a_server_that_hangs_up(self):
        """No fault, but whoever counts memory must know."""
        gone = threading.Semaphore(2)

        def talk(peer, stub):
            peer.send(answer(peer.request()))
            stub.held.wait(WAIT)
            if gone.acquire(blocking=False):
                return
            threading.Event().wait(0.1)
            stub.done.set()
            peer.request()
        code, report = self.held(talk, *RESPMOD)
        assert (code, report["errors"], report["held"]) == (0, {}, 2)

    def test_starved(self):
        turn = threading.Semaphore(3)

        def talk(peer, stub):
            request = peer.request()
            if turn.acquire(blocking=False):
                peer.send(answer(request))
            stub.held.wait(WAIT)
            stub.done.set()
            stub.over.wait(WAIT)
        code, report = self.held(talk, *RESPMOD)
        assert (code, report["errors"], report["held"]) == (1, {"starved": 1}, 3)

    def test_bytes_while_held(self):
        def talk(peer, stub):
            peer.send(answer(peer.request()))
            stub.held.wait(WAIT)
            peer.send(b"x")
            threading.Event().wait(0.1)
            stub.done.set()
            peer.request()
        code, report = self.held(talk, *RESPMOD, connections=1)
        assert (code, report["errors"], report["held"]) == (1, {"extra-bytes": 1}, 0)


class TestPace:
    def test_rate(self):
        with Stub(each(good)) as stub:
            code, report = load(stub.address, *RESPMOD, "--rate", "50", requests=40, connections=2)
        assert (code, report["errors"], report["requests"]) == (0, {}, 40)
        assert 0.3 < report["seconds"] < 3  # 20 of each connection, 20 ms apart

    def test_after_a_late_answer(self):
        """It counts in full, those behind it do not pay for it, and the pace goes on."""
        count = []

        def reply(request):
            count.append(1)
            if len(count) == 1:
                threading.Event().wait(0.3)
            return answer(request)
        with Stub(each(reply)) as stub:
            code, report = load(stub.address, *RESPMOD, "--rate", "50", "--timeout", "5",
                                requests=10)
        assert (code, report["errors"], report["requests"]) == (0, {}, 10)
        assert report["latency_us"]["max"] > 290000 and report["latency_us"]["p50"] < 100000
        assert report["seconds"] > 0.3 + 8 * 0.02

    def test_bytes_during_a_pause(self):
        with Stub(each(lambda request: answer(request) + b"x")) as stub:
            code, report = load(stub.address, *RESPMOD, "--rate", "5")
        assert (code, list(report["errors"])) == (1, ["extra-bytes"])

    def test_the_end_does_not_wait_for_a_pause(self):
        with Stub(each(good)) as stub:
            command = [str(LOAD), "--json", "-n", "2", "-d", "0.2", *RESPMOD, "--rate", "1",
                       stub.address]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        report = json.loads(done.stdout)
        assert (done.returncode, report["errors"], report["requests"]) == (0, {}, 1)


class TestTls:
    @pytest.fixture(scope="class")
    def context(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("tls")
        cert, key = folder / "cert.pem", folder / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-subj", "/CN=localhost", "-days", "2", "-keyout", key, "-out", cert],
            check=True, capture_output=True, timeout=30)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        return context

    @pytest.mark.parametrize("size", [0, 1, 16384, 300000])
    def test_echo(self, context, size):
        with Stub(each(good), context) as stub:
            code, report = load(stub.address, "--tls", "-m", "RESPMOD", "-s", str(size),
                                "--timeout", "5", requests=10, connections=2)
        assert (code, report["errors"], report["requests"]) == (0, {}, 10)
        assert report["handshakes"] == 2

    @pytest.mark.parametrize("resume", [False, True])
    def test_connection_for_each_request(self, context, resume):
        def talk(peer, _stub):
            peer.send(answer(peer.request()))
        with Stub(talk, context) as stub:
            code, report = load(stub.address, "--tls", "--close", *(("--resume",) * resume),
                                "--timeout", "5", requests=5)
        assert (code, report["errors"], report["handshakes"]) == (0, {}, 5)
        assert report["resumed"] == (4 if resume else 0)

    def test_extra_bytes(self, context):
        with Stub(each(lambda request: answer(request) + b"x"), context) as stub:
            code, report = load(stub.address, "--tls", *RESPMOD, "--timeout", "5")
        assert (code, list(report["errors"])) == (1, ["extra-bytes"])

    def test_no_tls(self):
        with Stub(lambda peer, _: peer.send(b"ICAP/1.0 400 Bad request\r\n\r\n")) as stub:
            code, report = load(stub.address, "--tls")
        assert (code, list(report["errors"])) == (1, ["handshake"])


class TestUsage:
    @pytest.mark.parametrize("options", [
        (), ("127.0.0.1",), ("-n", "0", "127.0.0.1:1"), ("-m", "GET", "127.0.0.1:1"),
        ("-d", "x", "127.0.0.1:1"), ("-s", "-5", "127.0.0.1:1"), ("-s", "5", "127.0.0.1:1"),
        ("--nonsense", "127.0.0.1:1"), ("127.0.0.1:1", "127.0.0.1:2"),
    ])
    def test_refused(self, options):
        done = subprocess.run([str(LOAD), *options], capture_output=True, text=True, timeout=30)
        assert done.returncode == 2
        assert "usage: icapload" in done.stderr

    def test_text_report_names_the_fault(self):
        with Stub(each(lambda request: answer(request, istag=b""))) as stub:
            done = subprocess.run([str(LOAD), "-r", "1", "-n", "1", stub.address],
                                  capture_output=True, text=True, timeout=30)
        assert done.returncode == 1
        assert "FAULT istag: 1" in done.stdout
