# SPDX-License-Identifier: Apache-2.0
"""Load on a TLS listener from processes of its own, until standard input ends; then a JSON report.

    handshakes.py shake HOST PORT CA CERTIFICATE KEY RATE    new connections, each with one OPTIONS
    handshakes.py hold HOST PORT CA CERTIFICATE KEY N        N transactions that stay open, then end

Says "running" when it is under way."""
import asyncio
import json
import socket
import ssl
import subprocess
import sys
import threading
import time

THREADS = 4
BODY = [b"%04d" % i * 250 for i in range(3)]
OPTIONS = b"OPTIONS icaps://x/echo ICAP/1.0\r\nHost: x\r\nConnection: close\r\n\r\n"
HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
RESPMOD = (b"RESPMOD icaps://x/echo ICAP/1.0\r\nHost: x\r\nConnection: close\r\n"
           b"Encapsulated: res-hdr=0, res-body=%d\r\n\r\n" % len(HTTP)) + HTTP


def context_for(ca, certificate, key):
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate, key)
    return context


class Shaker:
    def __init__(self, address, context, rate):
        self.address, self.context, self.pause = address, context, THREADS / rate
        self.stopping = threading.Event()
        self.done, self.failures = [], []

    def once(self):
        began = time.monotonic()
        try:
            with socket.create_connection(self.address, 20) as plain, \
                    self.context.wrap_socket(plain, server_hostname="localhost") as sock:
                serial = sock.getpeercert()["serialNumber"]
                sock.sendall(OPTIONS)
                answer = sock.recv(4096)
                if not answer.startswith(b"ICAP/1.0 200 "):
                    raise EOFError(f"answer {answer[:40]!r}")
            self.done.append((began, serial))
        except (OSError, EOFError) as e:
            self.failures.append(repr(e))

    def run(self):
        due = time.monotonic()
        while not self.stopping.is_set():
            self.once()
            due = max(due + self.pause, time.monotonic() - self.pause)
            self.stopping.wait(max(0, due - time.monotonic()))


def shake(address, context, rate):
    shaker = Shaker(address, context, rate)
    threads = [threading.Thread(target=shaker.run) for _ in range(THREADS)]
    began = time.monotonic()
    for t in threads:
        t.start()
    print("running", flush=True)
    sys.stdin.read()
    shaker.stopping.set()
    for t in threads:
        t.join()
    return {"done": shaker.done, "failures": shaker.failures, "seconds": time.monotonic() - began}


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


async def open_transaction(address, context, gate):
    async with gate:  # handshakes have a deadline each
        reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname="localhost")
    writer.write(RESPMOD + chunk(BODY[0]))
    await writer.drain()
    return reader, writer


async def end_transaction(reader, writer):
    """None, or what was wrong with it."""
    try:
        writer.write(b"".join(chunk(b) for b in BODY[1:]) + b"0\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(-1), 120)
        writer.close()
    except (OSError, asyncio.TimeoutError) as e:
        return repr(e)
    whole = answer.startswith(b"ICAP/1.0 200 ") and answer.endswith(b"0\r\n\r\n")
    return None if whole and all(b in answer for b in BODY) else f"answer {answer[:60]!r}"


async def hold(address, context, n):
    gate = asyncio.Semaphore(20)
    opened = await asyncio.gather(*(open_transaction(address, context, gate) for _ in range(n)), return_exceptions=True)
    pairs = [p for p in opened if isinstance(p, tuple)]
    failures = [repr(p) for p in opened if not isinstance(p, tuple)]
    print("running", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    ends = await asyncio.gather(*(end_transaction(*p) for p in pairs))
    return {"done": len(pairs), "failures": failures + [e for e in ends if e]}


class Handshakes:
    """The above as a process; a context manager. result() ends it."""

    def __init__(self, what, address, ca, pair, number):
        command = [sys.executable, __file__, what, address[0], str(address[1]), str(ca), *map(str, pair), str(number)]
        self.popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait_running(self):
        assert self.popen.stdout.readline() == "running\n"

    def result(self, seconds=180):
        out, _ = self.popen.communicate("", timeout=seconds)
        assert self.popen.returncode == 0
        return json.loads(out)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.communicate()


def main():
    what, host, port, ca, certificate, key, number = sys.argv[1:]
    address, context = (host, int(port)), context_for(ca, certificate, key)
    report = shake(address, context, float(number)) if what == "shake" else \
        asyncio.run(hold(address, context, int(number)))
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
