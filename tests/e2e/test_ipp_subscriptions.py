# SPDX-License-Identifier: Apache-2.0
"""What is done to a subscription is done to the job that it is about, which the request does not name; and what is told
of one, or of its events, is told of that job."""
import pytest

from testenv import ipp
from testenv.fake_printer import FakePrinter, answer, http
from testenv.print_wire import Digest, Wire, add_user, get_challenge
from testenv.printing import PrintGateway, printer

GET, GET_ALL, RENEW, CANCEL, EVENTS = 0x0018, 0x0019, 0x001a, 0x001b, 0x001c
NUMBER = "notify-subscription-id"
PASSWORDS = {"ann": "a password of Ann's", "bob": "Bob's own words"}
URI = "ipp://localhost/ipp/fake"


@pytest.fixture(scope="module")
def fake():
    with FakePrinter() as printer_:
        yield printer_


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, fake):
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates,
                      [printer("fake", fake.uri(), require="[]", pipeline="[]")],
                      more="login: {rounds: 100000}\n") as running:
        for user, password in PASSWORDS.items():
            add_user(running, "acme", user, password)
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


def ask_as(gateway, way, user, message):
    """|user|: who proves it; None: somebody who says that he is ann."""
    with Wire(gateway.address("print"), way) as wire:
        if not user:
            return wire.ask(message)
        challenge = get_challenge(wire.ask(ipp.request(ipp.VALIDATE_JOB, URI + ";AUTH=DAA")))
        return wire.ask(message, "/", Digest(user, PASSWORDS[user], challenge).field())


class TestTold:
    """Of the subscriptions to a job, and of its events, is told as much as of the job; a printer tells everybody."""
    STRANGERS = [("clear", None), ("clear", "ann"), ("upgraded", None), ("upgraded", "bob"), ("implicit", "bob")]
    OF_PRINTER, OF_JOB = "about the printer", "about the letter"
    ASKED = {"one": (GET, (NUMBER, ipp.INTEGER, 2)), "all": (GET_ALL,),
             "events": (EVENTS, ("notify-subscription-ids", ipp.INTEGER, 1, 2))}

    @pytest.fixture
    def job(self, gateway, fake):
        """Ann's, made within TLS and with her password; subscription 1 is to the printer and 2 to this job."""
        made = ask_as(gateway, "upgraded", "ann", ipp.request(ipp.PRINT_JOB, URI, data=b"protected")).message
        assert made.get("job-uri").endswith(";AUTH=TLS,DAA")
        of_job = [("notify-job-id", ipp.INTEGER, max(fake.jobs)), ("job-state", ipp.ENUM, ipp.COMPLETED)]

        def talk(peer, fake_, head):
            asked = fake_.hear(peer, head).message
            tag = ipp.EVENT if asked.code == EVENTS else ipp.SUBSCRIPTION
            wanted = asked.all("requested-attributes")
            groups = [(tag, [a for a in [(NUMBER, ipp.INTEGER, n), ("notify-text", ipp.TEXT, text), *more]
                             if not wanted or "all" in wanted or a[0] in wanted])
                      for n, text, more in ((1, self.OF_PRINTER, []), (2, self.OF_JOB, of_job))
                      if asked.get(NUMBER) in (None, n)]
            return peer.send(http(answer(asked, ipp.OK, *groups))) or True

        fake.talk_now = talk
        return made.get("job-id")

    @pytest.mark.usefixtures("job")
    @pytest.mark.parametrize("what", ASKED)
    def test_without_the_number_of_the_job(self, gateway, what):
        """Who does not ask for notify-job-id is told no more."""
        operation, *attributes = self.ASKED[what]
        asked = ipp.request(operation, URI, *attributes, ("requested-attributes", ipp.KEYWORD, NUMBER, "notify-text"))
        for way, user in self.STRANGERS:
            assert self.OF_JOB not in str(ask_as(gateway, way, user, asked)), (way, user)
        assert self.OF_JOB in str(ask_as(gateway, "upgraded", "ann", asked))

    @pytest.mark.parametrize("what", ASKED)
    def test_of_a_protected_job(self, gateway, job, what):
        operation, *attributes = self.ASKED[what]
        asked = ipp.request(operation, URI, *attributes)
        for way in ("upgraded", "implicit"):
            reply = ask_as(gateway, way, "ann", asked)
            assert reply.code == ipp.OK and self.OF_JOB in str(reply), way
            assert reply.message.all("notify-job-id") == [job]
        for way, user in self.STRANGERS:
            reply = ask_as(gateway, way, user, asked)
            assert not reply.message.all("notify-job-id") and self.OF_JOB not in str(reply), (way, user)
            assert reply.code == ipp.OK and (self.OF_PRINTER in str(reply)) == (what != "one"), (way, user)

    @pytest.mark.usefixtures("job")
    @pytest.mark.parametrize("operation", [RENEW, CANCEL])
    def test_done_to_one_of_a_protected_job(self, gateway, fake, operation):
        asked = ipp.request(operation, URI, (NUMBER, ipp.INTEGER, 2))
        for way, user in self.STRANGERS:
            assert ask_as(gateway, way, user, asked).code == ipp.NOT_FOUND, (way, user)
        assert operation not in fake.operations()
        for way in ("upgraded", "implicit"):
            assert ask_as(gateway, way, "ann", asked).code == ipp.OK, way
        assert fake.operations().count(operation) == 2
