# SPDX-License-Identifier: Apache-2.0
"""Forms of which rules, exceptions and types would be too much work for the thread that decides: not
inspected, and soon; and what a form may take that is none of these."""
import signal
import time

import pytest

from test_content import form, upload
from testenv import Sallyport, Way, samples, wait

# Many rules with names that are slow to tell apart: 50 seconds of comparing, if somebody did.
SERVICES = """\
  - name: ruled
    type: inspect
    path: /ruled
    rules: [RULES]
  - {name: typed, type: inspect, path: /typed, pipeline: [yara, filetype], types: {deny: [DENY]}}
"""
GLOBS = '["*aaaaaaab*c", "*aaaaaac*d", "*aaaaaad*e"]'


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    rules = ", ".join(f"{{name: r{i}, file: {GLOBS}, then: block}}" for i in range(500))
    deny = ", ".join(f".{i}" for i in range(2000))
    services = SERVICES.replace("RULES", rules).replace("DENY", deny)
    with Sallyport(tmp_path_factory.mktemp("steps"), services=services) as gateway:
        yield gateway


def hostile(n=9000):
    return form([("f", "a" * 200 + f"{i}.txt", "text/plain", b"x") for i in range(n)])


def ask(gateway, service, kind, body):
    started = time.monotonic()
    reply = Way(gateway, "clear").ask("REQMOD", service, body, http=upload(kind, body))
    record = gateway.wait_record(lambda r: r["id"] == reply.field("X-Request-ID"))
    return reply, record, time.monotonic() - started


@pytest.mark.parametrize("service", ["ruled", "typed"])
class TestTooMuchWork:
    def test_not_inspected(self, gateway, service):
        before = gateway.metrics().get(f'sallyport_icap_out_of_steps_total{{service="{service}"}}', 0)
        reply, record, seconds = ask(gateway, service, *hostile())
        assert (reply.http_status(), reply.field("X-Response-Desc")) == (403, "not-inspected")
        assert (record["verdict"], record["action"], record["cause"]) == ("not-inspected", "block", "not-inspected")
        assert "limits.decision-steps" in record["error_text"]
        assert gateway.metrics()[f'sallyport_icap_out_of_steps_total{{service="{service}"}}'] == before + 1
        assert seconds < 20, seconds

    def test_what_is_found_is_found(self, gateway, service):
        kind, body = form([("f", "a" * 200 + f"{i}.txt", "text/plain", b"x") for i in range(9000)] +
                          [("last", "b.txt", "text/plain", samples.EICAR)])
        reply, record, _ = ask(gateway, service, kind, body)
        assert (reply.http_status(), record["cause"]) == (403, "infected")
        assert record["causes"] == ["infected", "not-inspected"]

    def test_what_people_send(self, gateway, service):
        kind, body = form([("f", f"photo {i}.jpeg", "image/jpeg", b"x") for i in range(20)])
        reply, record, _ = ask(gateway, service, kind, body)
        assert record["action"] == "pass" and reply.body == body

    def test_an_exception_for_its_digest(self, gateway, service):
        kind, body = hostile(8000 + (service == "typed"))  # exceptions are for every service
        _, record, _ = ask(gateway, service, kind, body)
        assert record["action"] == "block"
        done = gateway.command_line("exception", "add", "--sha256", record["sha256"], "--for", "1h", "--reason", "a test",
                                    "--state", gateway.state)
        assert done.returncode == 0, done.stderr
        reply, record, _ = ask(gateway, service, kind, body)
        assert record["action"] == "pass" and "exception" in record


def test_more_steps_by_a_reload(start_sallyport):
    services = "  - {name: ruled, type: inspect, path: /ruled, rules: [{name: r, file: [" + \
        ", ".join(f'"*.{i}"' for i in range(100)) + "], then: block}]}\n"
    gateway = start_sallyport(services=services, more="limits: {decision-steps: 100000}\n")
    kind, body = form([("f", f"{i}.txt", "text/plain", b"x") for i in range(300)])
    assert ask(gateway, "ruled", kind, body)[1]["cause"] == "not-inspected"
    text = gateway.config.read_text().replace("decision-steps: 100000", "decision-steps: 1000000")
    gateway.config.write_text(text)
    gateway.send_signal(signal.SIGHUP)
    wait.until(lambda: "reload: done" in gateway.log(), "the reload")
    assert ask(gateway, "ruled", kind, body)[1]["action"] == "pass"
