# SPDX-License-Identifier: Apache-2.0
"""What is done to a subscription is done to the job that it is about, which the request does not name."""
import pytest

from testenv import ipp
from testenv.fake_printer import FakePrinter, answer, http
from testenv.printing import PrintGateway, printer

GET, RENEW, CANCEL = 0x0018, 0x001a, 0x001b
NUMBER = "notify-subscription-id"


@pytest.fixture(scope="module")
def fake():
    with FakePrinter() as printer_:
        yield printer_


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, fake):
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates,
                      [printer("fake", fake.uri(), require="[]", pipeline="[]")]) as running:
        yield running


@pytest.fixture(autouse=True)
def about(fake):
    """Subscriptions by number: attributes that say of which job each is."""
    subscriptions = {1: []}

    def talk(peer, fake_, head):
        heard = fake_.hear(peer, head)
        of = heard.message.get(NUMBER)
        if heard.operation != GET:
            reply = fake_.reply(heard)
        elif of in subscriptions:
            reply = answer(heard.message, ipp.OK, (ipp.SUBSCRIPTION, [(NUMBER, ipp.INTEGER, of), *subscriptions[of]]))
        else:
            reply = answer(heard.message, ipp.NOT_FOUND)
        peer.send(http(reply))
        return True
    fake.forget()
    fake.talk_now = talk
    yield subscriptions
    fake.forget()


@pytest.fixture
def job(gateway, fake, about):
    """One of ann's that was made within TLS, to which subscription 2 is."""
    made = gateway.client("fake", "upgrade").print_job(b"protected", None)
    assert made.code == ipp.OK
    about[2] = [("notify-job-id", ipp.INTEGER, max(fake.jobs))]
    return made.message.get("job-id")


def is_let_through(fake, client, operation, number, code=ipp.OK, **more):
    fake.heard = []
    reply = client.ask(operation, (NUMBER, ipp.INTEGER, number), **more)
    assert reply.code == code, reply
    assert (operation in fake.operations()) == (code == ipp.OK)
    return reply


@pytest.mark.parametrize("operation", [RENEW, CANCEL])
class TestSubscriptions:
    @pytest.mark.usefixtures("job")
    def test_of_a_job(self, gateway, fake, operation):
        is_let_through(fake, gateway.client("fake"), operation, 2, ipp.NOT_FOUND)
        is_let_through(fake, gateway.client("fake", "upgrade", user="bob"), operation, 2, ipp.NOT_FOUND)
        is_let_through(fake, gateway.client("fake", "upgrade"), operation, 2)

    @pytest.mark.usefixtures("job")
    def test_beside_another_job(self, gateway, fake, operation):
        client = gateway.client("fake")
        own = client.print_job(b"in clear", None).message.get("job-id")
        is_let_through(fake, client, operation, 2, ipp.NOT_FOUND, job_id=own)

    def test_of_a_job_of_elsewhere(self, gateway, fake, about, operation):
        """Which the gateway does not know, or cannot read the number of."""
        about.update({3: [("notify-job-id", ipp.INTEGER, 4711)], 4: [("notify-job-id", ipp.KEYWORD, "some")]})
        for number in (3, 4):
            is_let_through(fake, gateway.client("fake", "upgrade"), operation, number, ipp.NOT_FOUND)

    def test_of_the_printer(self, gateway, fake, operation):
        is_let_through(fake, gateway.client("fake"), operation, 1)

    def test_that_is_not_there(self, gateway, fake, operation):
        is_let_through(fake, gateway.client("fake"), operation, 9, ipp.NOT_FOUND)

    @pytest.mark.parametrize("named, job", [
        ([], []), ([(NUMBER, ipp.INTEGER, 1, 2)], []), ([(NUMBER, ipp.KEYWORD, "one")], []), ([], [(NUMBER, ipp.INTEGER, 1)]),
        ([(NUMBER, ipp.INTEGER, 1), (NUMBER, ipp.INTEGER, 2)], []), ([(NUMBER, ipp.INTEGER, 1)], [(NUMBER, ipp.INTEGER, 2)])])
    def test_none_or_several(self, gateway, fake, operation, named, job):
        assert gateway.client("fake").ask(operation, *named, job=job).code == 0x0400
        assert {GET, operation} & set(fake.operations()) == set()
