# SPDX-License-Identifier: Apache-2.0
"""Printers that become other devices (`backend`): what is known of the old one's jobs is nothing about the new one's."""
import re
import signal

import pytest

from testenv import ipp, store_lock, wait
from testenv.fake_printer import FakePrinter
from testenv.printing import PrintGateway, printer


@pytest.fixture
def devices():
    with FakePrinter() as one, FakePrinter() as other:
        yield one, other


def start(folder, certificates, device, backend=None):
    return PrintGateway(folder, certificates, [printer("fake", backend or device.uri(), require="[]", pipeline="[]")])


def make(gateway):
    """Two jobs at the printer, and one without its document."""
    client = gateway.client("fake")
    jobs = [client.print_job(b"one", None).message.get("job-id"), client.print_job(b"two", None).message.get("job-id")]
    return [*jobs, client.create_job("three")]


def listed(client):
    answer = client.ask(ipp.GET_JOBS, ("which-jobs", ipp.KEYWORD, "all"))
    assert answer.code == ipp.OK
    return [value for name, _, value in answer.message.attributes(ipp.JOB) if name == "job-id"]


class TestAnotherDevice:
    def is_unknown(self, gateway, jobs, device):
        client = gateway.client("fake")
        for job in jobs:
            assert client.ask(ipp.GET_JOB_ATTRIBUTES, job_id=job).code == ipp.NOT_FOUND
            assert client.ask(ipp.CANCEL_JOB, job_id=job).code == ipp.NOT_FOUND
            assert client.send_document(job, b"for another device", None).code == ipp.NOT_FOUND
        assert set(device.operations()) <= {ipp.GET_PRINTER_ATTRIBUTES}
        assert listed(client) == []
        return client

    def check(self, gateway, jobs, other):
        """It has jobs with the same numbers, which came from elsewhere."""
        other.jobs.update({1: "eve", 2: "eve"})
        client = self.is_unknown(gateway, jobs, other)
        assert client.print_job(b"the first one", None).message.get("job-id") > max(jobs)
        assert len(listed(client)) == 1  # that has number 1 there
        assert gateway.wait_record(lambda r: r.get("print", {}).get("printer_job") == 1 and r["print"]["job"] > max(jobs))

    def test_after_a_restart(self, tmp_path, certificates, devices):
        one, other = devices
        with start(tmp_path / "gateway", certificates, one) as gateway:
            jobs = make(gateway)
        with start(tmp_path / "gateway", certificates, other) as gateway:
            self.check(gateway, jobs, other)
        with start(tmp_path / "gateway", certificates, one) as gateway:  # and back
            client = gateway.client("fake")
            codes = [client.ask(ipp.GET_JOB_ATTRIBUTES, job_id=job).code for job in jobs]
            assert codes == [ipp.NOT_FOUND, ipp.OK, ipp.OK]  # the first one's number was another's since

    def test_after_a_reload(self, tmp_path, certificates, devices):
        one, other = devices
        with start(tmp_path / "gateway", certificates, one) as gateway:
            jobs = make(gateway)
            gateway.config.write_text(gateway.config.read_text().replace(one.uri(), other.uri()))
            before = gateway.log().count("reload: ")
            gateway.send_signal(signal.SIGHUP)
            wait.until(lambda: gateway.log().count("reload: ") > before, "a reload", 30)
            self.check(gateway, jobs, other)

    def test_the_same_in_other_words(self, tmp_path, certificates, devices):
        """Letters of its host and words behind its path make no other device."""
        one, _ = devices
        named, same = (one.uri().replace("127.0.0.1", name) + more for name, more in (("localhost", ""), ("LocalHost", "?x")))
        with start(tmp_path / "gateway", certificates, one, named) as gateway:
            jobs = make(gateway)
        with start(tmp_path / "gateway", certificates, one, same) as gateway:
            for job in jobs:
                assert gateway.client("fake").ask(ipp.GET_JOB_ATTRIBUTES, job_id=job).code == ipp.OK

    def test_records_without(self, tmp_path, certificates, devices):
        """They are of before devices were told apart, and count as this one's."""
        one, other = devices
        with start(tmp_path / "gateway", certificates, one) as gateway:
            jobs = make(gateway)
        assert store_lock.rewrite(tmp_path / "gateway" / "state" / "store",
                                  lambda v: re.sub(rb'"backend":"[0-9a-f]{16}",', b"", v)) == len(jobs)
        other.jobs.update({1: "ann", 2: "ann"})
        with start(tmp_path / "gateway", certificates, other) as gateway:
            for job in jobs:
                assert gateway.client("fake").ask(ipp.GET_JOB_ATTRIBUTES, job_id=job).code == ipp.OK
