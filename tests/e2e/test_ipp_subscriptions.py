# SPDX-License-Identifier: Apache-2.0
"""Subscriptions (RFC 3995): how and by whom each was made stands for all that is done to it, and is told of it. Of their
events is told as much as of the job that they are about."""
import itertools
import os
import socket
import struct
import time

import pytest

from testenv import ipp, store_lock, wait
from testenv.fake_printer import FakePrinter, answer, http
from testenv.print_wire import Digest, Wire, add_user, get_challenge, post
from testenv.printing import PrintGateway, printer

CREATE, CREATE_OF_JOB, GET, GET_ALL, RENEW, CANCEL, EVENTS = range(0x0016, 0x001d)
NUMBER, NUMBERS, LEASE = "notify-subscription-id", "notify-subscription-ids", "notify-lease-duration"
PASSWORDS = {"ann": "a password of Ann's", "bob": "Bob's own words", "olga": "what operators say"}
URI = "ipp://localhost/ipp/fake"
PULL = ("notify-pull-method", ipp.KEYWORD, "ippget")
NAMED = [RENEW, CANCEL, GET, EVENTS]


class Subscribable(FakePrinter):
    """A printer that has subscriptions, and one event of each."""

    def __init__(self):
        super().__init__()
        self.granted = None  # a lease that it tells
        self.begin_anew()

    def begin_anew(self):
        super().begin_anew()
        self.subscriptions, self.subscription_numbers = {}, itertools.count(1)

    def subscribe(self, asked, job):
        """Those that are asked for; their groups."""
        made = []
        for n in itertools.islice(self.subscription_numbers, sum(tag == ipp.SUBSCRIPTION for tag, _ in asked.groups)):
            self.subscriptions[n] = [("notify-job-id", ipp.INTEGER, job)] if job else []
            lease = [] if self.granted is None else [(LEASE, ipp.INTEGER, self.granted)]
            made.append((ipp.SUBSCRIPTION, [(NUMBER, ipp.INTEGER, n), *lease]))
        return made

    @staticmethod
    def only(asked, attributes):
        wanted = asked.all("requested-attributes")
        return [a for a in attributes if not wanted or "all" in wanted or a[0] in wanted]

    def told(self, asked, n, tag=ipp.SUBSCRIPTION):
        more = [("job-state", ipp.ENUM, ipp.COMPLETED)] if tag == ipp.EVENT and self.subscriptions[n] else []
        return tag, self.only(asked, [(NUMBER, ipp.INTEGER, n), ("notify-text", ipp.TEXT, f"text of {n}"),
                                      *self.subscriptions[n], *more])

    def reply(self, heard):
        asked, of = heard.message, heard.message.get(NUMBER)
        if heard.operation in (ipp.PRINT_JOB, ipp.CREATE_JOB):
            reply = super().reply(heard)
            reply.groups += self.subscribe(asked, reply.get("job-id"))
            return reply
        if heard.operation in (CREATE, CREATE_OF_JOB):
            return answer(asked, ipp.OK, *self.subscribe(asked, asked.get("notify-job-id")))
        if heard.operation == GET_ALL:
            return answer(asked, ipp.OK, *(self.told(asked, n) for n in self.subscriptions))
        if heard.operation == EVENTS:
            return answer(asked, ipp.OK, *(self.told(asked, n, ipp.EVENT) for n in asked.all(NUMBERS)))
        if heard.operation in (GET, RENEW, CANCEL):
            if of not in self.subscriptions:
                return answer(asked, ipp.NOT_FOUND)
            told = [self.told(asked, of)] if heard.operation == GET else []
            if heard.operation == CANCEL:
                del self.subscriptions[of]
            return answer(asked, ipp.OK, *told)
        return super().reply(heard)


@pytest.fixture(scope="module")
def running():
    with Subscribable() as printer_:
        yield printer_


@pytest.fixture
def fake(running):
    running.forget()
    yield running
    running.forget()


def start(folder, certificates, fake, **more):
    printers = [printer("fake", fake.uri(), require="[]", pipeline="[]", operators='["user:olga"]')]
    return PrintGateway(folder, certificates, printers, more="login: {rounds: 100000}\n" + more.pop("more", ""), **more)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, running):
    with start(tmp_path_factory.mktemp("gateway"), certificates, running) as gateway_:
        for user, password in PASSWORDS.items():
            add_user(gateway_, "acme", user, password)
        yield gateway_


def ask_as(gateway, way, user, message):
    """|user|: who proves it; None: somebody who says that he is whom the message names."""
    with Wire(gateway.address("print"), way) as wire:
        if not user:
            return wire.ask(message)
        challenge = get_challenge(wire.ask(ipp.request(ipp.VALIDATE_JOB, URI + ";AUTH=DAA")))
        return wire.ask(message, "/", Digest(user, PASSWORDS[user], challenge).field())


def naming(operation, *numbers, user="ann", **more):
    """A request about subscriptions."""
    return ipp.request(operation, URI, (NUMBERS if operation == EVENTS else NUMBER, ipp.INTEGER, *numbers), user=user, **more)


def creation(n=1, user="ann", job=None, more=()):
    message = ipp.request(CREATE_OF_JOB if job else CREATE, URI, *([("notify-job-id", ipp.INTEGER, job)] if job else []),
                          user=user)
    message.groups += [(ipp.SUBSCRIPTION, [PULL, *more])] * n
    return message


def subscribe(gateway, way="clear", who=None, **more):
    """The new one's number."""
    made = ask_as(gateway, way, who, creation(**more))
    assert made.code == ipp.OK, made
    return made.message.get(NUMBER, ipp.SUBSCRIPTION)


class TestNamed:
    """What names a subscription."""

    def is_answered(self, gateway, fake, operation, number, expected, way="clear", who=None, **more):
        fake.heard = []
        reply = ask_as(gateway, way, who, naming(operation, number, **more))
        assert (reply.answer, operation in fake.operations()) == (expected, expected == ipp.OK), (way, who, reply)
        return reply

    @pytest.mark.parametrize("operation", NAMED)
    def test_made_within_tls(self, gateway, fake, operation):
        """By somebody who says that he is ann."""
        number = subscribe(gateway, "upgraded")
        self.is_answered(gateway, fake, operation, number, 426)
        self.is_answered(gateway, fake, operation, number, ipp.NOT_AUTHORIZED, "upgraded", user="bob")
        self.is_answered(gateway, fake, operation, number, ipp.OK, "implicit")

    @pytest.mark.parametrize("operation", NAMED)
    def test_made_with_a_password(self, gateway, fake, operation):
        number = subscribe(gateway, "upgraded", "ann")
        for way, user, expected in (("clear", None, 426), ("upgraded", None, 401), ("implicit", None, 401),
                                    ("upgraded", "bob", ipp.NOT_AUTHORIZED), ("implicit", "ann", ipp.OK)):
            self.is_answered(gateway, fake, operation, number, expected, way, user)

    @pytest.mark.parametrize("operation", NAMED)
    def test_credentials_in_clear_text(self, gateway, fake, operation):
        """They are not looked at, be they right or not: it was made within TLS."""
        number = subscribe(gateway, "upgraded", "ann")
        for user in ("ann", "bob"):
            reply = self.is_answered(gateway, fake, operation, number, 426, "clear", user)
            assert not reply.all("WWW-Authenticate") and not reply.all("Authentication-Info")

    @pytest.mark.parametrize("operation", NAMED)
    def test_operators(self, gateway, fake, operation):
        """They may, at its level; it stays its maker's."""
        number = subscribe(gateway, "upgraded", "ann")
        self.is_answered(gateway, fake, operation, number, 426, "clear", "olga")
        self.is_answered(gateway, fake, operation, number, ipp.OK, "upgraded", "olga")
        if operation == RENEW:
            self.is_answered(gateway, fake, CANCEL, number, ipp.NOT_AUTHORIZED, "upgraded", "bob")
            self.is_answered(gateway, fake, CANCEL, number, ipp.OK, "upgraded", "ann")

    @pytest.mark.parametrize("operation", NAMED)
    def test_made_in_clear_text(self, gateway, fake, operation):
        """By somebody who says that he is ann, as whoever says the same; or by nobody, as everybody."""
        number, anybodys = subscribe(gateway), subscribe(gateway, user=None)
        self.is_answered(gateway, fake, operation, number, ipp.NOT_AUTHORIZED, "upgraded", "bob")
        self.is_answered(gateway, fake, operation, number, ipp.OK)
        self.is_answered(gateway, fake, operation, anybodys, ipp.OK, "clear", "bob")

    @pytest.mark.parametrize("operation", NAMED)
    def test_made_elsewhere(self, gateway, fake, operation):
        """The printer has it, and is not asked about it; nor about one that there is not."""
        fake.subscriptions[4711] = []
        for number in (4711, 4712):
            reply = self.is_answered(gateway, fake, operation, number, ipp.NOT_FOUND, "upgraded", "olga")
            assert reply.words == "there is no such subscription"
        assert fake.operations() == []

    @pytest.mark.parametrize("operation", [RENEW, CANCEL, GET])
    @pytest.mark.parametrize("named, job", [
        ([], []), ([(NUMBER, ipp.INTEGER, 1, 2)], []), ([(NUMBER, ipp.KEYWORD, "one")], []), ([], [(NUMBER, ipp.INTEGER, 1)]),
        ([(NUMBER, ipp.INTEGER, 1), (NUMBER, ipp.INTEGER, 2)], []), ([(NUMBER, ipp.INTEGER, 1)], [(NUMBER, ipp.INTEGER, 2)]),
        ([(NUMBER, ipp.INTEGER, 1)], [("Notify-Subscription-ID", ipp.INTEGER, 2)]), ([(NUMBER, ipp.INTEGER, 0)], []),
        ([(NUMBERS, ipp.INTEGER, 1)], []), ([(NUMBER, ipp.INTEGER, -1)], []), ([(NUMBER, ipp.ENUM, 1)], [])])
    def test_none_or_several(self, gateway, fake, operation, named, job):
        assert gateway.client("fake").ask(operation, *named, job=job).code == ipp.BAD_REQUEST
        assert fake.operations() == []

    @pytest.mark.parametrize("named", [[], [(NUMBER, ipp.INTEGER, 1)], [(NUMBERS, ipp.KEYWORD, "one")],
                                       [(NUMBERS, ipp.INTEGER, 1), (NUMBER, ipp.INTEGER, 2)], [(NUMBERS, ipp.INTEGER, 1, 0)]])
    def test_events_of_none(self, gateway, fake, named):
        assert gateway.client("fake").ask(EVENTS, *named).code == ipp.BAD_REQUEST
        assert fake.operations() == []

    def test_events_of_several(self, gateway, fake):
        """All must be such as may be told."""
        mine = [subscribe(gateway, "upgraded", "ann") for _ in range(3)]
        bobs, clear = subscribe(gateway, "upgraded", "bob"), subscribe(gateway, user="ann")
        asked = [((*mine, clear), ipp.OK), ((*mine, bobs), ipp.NOT_AUTHORIZED), ((*mine, 9999), ipp.NOT_FOUND),
                 ((mine * 22)[:64], ipp.OK), ((mine * 22)[:65], ipp.TOO_LARGE)]
        for numbers, expected in asked:
            fake.heard = []
            reply = ask_as(gateway, "upgraded", "ann", naming(EVENTS, *numbers))
            assert (reply.code, EVENTS in fake.operations()) == (expected, expected == ipp.OK), numbers
        assert reply.words == "a request may name 64 subscriptions"
        reply = ask_as(gateway, "clear", None, naming(EVENTS, clear, mine[0]))
        assert reply.status == 426

    def test_beside_a_job(self, gateway, fake):
        """That it is said to be about one's own job changes nothing."""
        number, client = subscribe(gateway, "upgraded", "ann"), gateway.client("fake")
        own = client.print_job(b"in clear", None).message.get("job-id")
        for operation in NAMED:
            self.is_answered(gateway, fake, operation, number, 426, job_id=own)
            self.is_answered(gateway, fake, operation, number, ipp.NOT_AUTHORIZED, "upgraded", "bob", job_id=own)
            reply = self.is_answered(gateway, fake, operation, number, 426, "clear", "ann", job_id=own)
            assert not reply.all("WWW-Authenticate")

    def test_canceled(self, gateway, fake):
        number = subscribe(gateway)
        self.is_answered(gateway, fake, CANCEL, number, ipp.OK)
        fake.subscriptions[number] = []  # somebody else's by now
        for operation in NAMED:
            self.is_answered(gateway, fake, operation, number, ipp.NOT_FOUND)

    def test_not_canceled(self, gateway, fake):
        """Where the printer does not do it, it is known as before."""
        number = subscribe(gateway, "upgraded", "ann")
        taken = fake.subscriptions.pop(number)
        for operation in (CANCEL, RENEW):
            assert ask_as(gateway, "upgraded", "ann", naming(operation, number)).code == ipp.NOT_FOUND
            assert operation in fake.operations()
        fake.subscriptions[number] = taken
        self.is_answered(gateway, fake, CANCEL, number, ipp.NOT_AUTHORIZED, "upgraded", "bob")
        self.is_answered(gateway, fake, CANCEL, number, ipp.OK, "upgraded", "ann")

    def test_a_number_that_is_given_anew(self, gateway, fake):
        """It is the last one's to whom the printer gave it."""
        number = subscribe(gateway, "upgraded", "ann")
        fake.subscription_numbers = itertools.count(number)
        assert subscribe(gateway, "upgraded", "bob") == number
        self.is_answered(gateway, fake, RENEW, number, ipp.NOT_AUTHORIZED, "upgraded", "ann")
        self.is_answered(gateway, fake, RENEW, number, ipp.OK, "upgraded", "bob")


class TestOfJobs:
    """Those that are made for a job, or along with it."""

    def is_anns(self, gateway, fake, number):
        for way, user, expected in (("clear", None, 426), ("upgraded", "bob", ipp.NOT_AUTHORIZED), ("upgraded", "ann", ipp.OK)):
            reply = ask_as(gateway, way, user, naming(RENEW, number))
            assert reply.answer == expected, (way, user)
        assert fake.operations().count(RENEW) == 1

    def test_made_for_one(self, gateway, fake):
        """Only by whoever may do something to it."""
        made = ask_as(gateway, "upgraded", "ann", ipp.request(ipp.PRINT_JOB, URI, data=b"protected")).message
        job = made.get("job-id")
        for way, user in (("clear", None), ("upgraded", None), ("upgraded", "bob")):
            assert ask_as(gateway, way, user, creation(job=job)).answer == ipp.NOT_FOUND
        assert CREATE_OF_JOB not in fake.operations()
        number = subscribe(gateway, "upgraded", "ann", job=job)
        assert fake.last(CREATE_OF_JOB).message.get("notify-job-id") == max(fake.jobs)
        self.is_anns(gateway, fake, number)

    def test_made_with_it(self, gateway, fake):
        fake.begin_anew()
        message = ipp.request(ipp.PRINT_JOB, URI, data=b"a document")
        message.groups += [(ipp.SUBSCRIPTION, [PULL])] * 2
        made = ask_as(gateway, "upgraded", "ann", message)
        numbers = TestLists.listed(made)
        assert numbers == sorted(fake.subscriptions)[-2:]
        self.is_anns(gateway, fake, numbers[1])
        assert ask_as(gateway, "upgraded", "bob", naming(CANCEL, numbers[0])).code == ipp.NOT_AUTHORIZED

    @pytest.mark.parametrize("sender", ["ann", "olga"])
    def test_made_with_it_before_its_document(self, gateway, fake, sender):
        """It is whose the job is, also where an operator sends the document."""
        message = ipp.request(ipp.CREATE_JOB, URI)
        message.groups.append((ipp.SUBSCRIPTION, [PULL]))
        job = ask_as(gateway, "upgraded", "ann", message).message.get("job-id")
        before = set(fake.subscriptions)
        sent = ipp.request(ipp.SEND_DOCUMENT, URI, ("last-document", ipp.BOOLEAN, True), job_id=job, data=b"a document")
        assert ask_as(gateway, "upgraded", sender, sent).code == ipp.OK
        number, = set(fake.subscriptions) - before
        self.is_anns(gateway, fake, number)


class TestLists:
    """Get-Subscriptions: only those that may be told."""

    @pytest.fixture
    def made(self, gateway, fake):
        fake.begin_anew()
        made = {"anns": subscribe(gateway, "upgraded", "ann"), "bobs": subscribe(gateway, "upgraded", "bob"),
                "tls": subscribe(gateway, "upgraded"), "clear": subscribe(gateway)}
        fake.subscriptions[4711] = []
        return made

    @staticmethod
    def listed(reply):
        assert reply.code == ipp.OK, reply
        return [v for name, _, v, *_ in reply.message.attributes(ipp.SUBSCRIPTION) if name == NUMBER]

    @pytest.mark.parametrize("way, user, expected", [
        ("clear", None, ["clear"]), ("clear", "ann", ["clear"]), ("upgraded", None, ["tls", "clear"]),
        ("upgraded", "ann", ["anns", "tls", "clear"]), ("implicit", "bob", ["bobs", "tls", "clear"]),
        ("upgraded", "olga", ["anns", "bobs", "tls", "clear"])])
    def test_who_is_told_of_which(self, gateway, made, way, user, expected):
        reply = ask_as(gateway, way, user, ipp.request(GET_ALL, URI))
        assert self.listed(reply) == [made[name] for name in expected]

    def test_without_the_number(self, gateway, made):
        """It is asked for all the same: without it nobody knows which ones they are."""
        asked = ipp.request(GET_ALL, URI, ("requested-attributes", ipp.KEYWORD, "notify-text"))
        assert self.listed(ask_as(gateway, "clear", None, asked)) == [made["clear"]]

    def test_without_numbers_in_the_answer(self, gateway, fake, made):
        fake.only = lambda asked, attributes: [a for a in attributes if a[0] != NUMBER]
        try:
            reply = ask_as(gateway, "clear", None, ipp.request(GET_ALL, URI))
        finally:
            del fake.only
        assert made and reply.code == ipp.OK and not reply.message.attributes(ipp.SUBSCRIPTION)

    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    def test_limit(self, gateway, fake, made, limit):
        """Counts those that are told."""
        asked = ipp.request(GET_ALL, URI, ("limit", ipp.INTEGER, limit))
        assert self.listed(ask_as(gateway, "upgraded", "bob", asked)) == [made[n] for n in ("bobs", "tls", "clear")][:limit]
        assert fake.last(GET_ALL).message.get("limit") is None

    def test_none(self, gateway, fake):
        fake.begin_anew()
        assert self.listed(ask_as(gateway, "clear", None, ipp.request(GET_ALL, URI))) == []


class TestTold:
    """Of the subscriptions to a job, and of its events, is told as much as of the job."""
    STRANGERS = [("clear", None), ("clear", "ann"), ("upgraded", None), ("upgraded", "bob"), ("implicit", "bob")]

    @pytest.fixture
    def job(self, gateway, fake):
        """Ann's, made within TLS and with her password."""
        fake.begin_anew()
        made = ask_as(gateway, "upgraded", "ann", ipp.request(ipp.PRINT_JOB, URI, data=b"protected")).message
        assert made.get("job-uri").endswith(";AUTH=TLS,DAA")
        fake.forget()
        return made.get("job-id")

    @pytest.mark.parametrize("more", [[], [("requested-attributes", ipp.KEYWORD, "notify-text")]])
    @pytest.mark.parametrize("operation", [GET, GET_ALL, EVENTS])
    def test_subscribed_in_clear_text(self, gateway, fake, job, operation, more):
        """The printer says it of a subscription that is anybody's: its events are of the job nevertheless."""
        number = subscribe(gateway, user=None)
        fake.subscriptions[number] = [("notify-job-id", ipp.INTEGER, max(fake.jobs))]
        named = [] if operation == GET_ALL else [(NUMBERS if operation == EVENTS else NUMBER, ipp.INTEGER, number)]
        asked = ipp.request(operation, URI, *named, *more)
        for way, user in self.STRANGERS:
            reply = ask_as(gateway, way, user, asked)
            assert reply.code == ipp.OK and f"text of {number}" not in str(reply), (way, user)
            assert not reply.message.all("notify-job-id")
        reply = ask_as(gateway, "upgraded", "ann", asked)
        assert f"text of {number}" in str(reply) and job in reply.message.all("notify-job-id")

    @pytest.mark.parametrize("said", [("notify-job-id", ipp.INTEGER, 4711), ("notify-job-id", ipp.KEYWORD, "some")])
    def test_of_a_job_of_elsewhere(self, gateway, fake, said):
        """Which the gateway does not know, or cannot read the number of."""
        number = subscribe(gateway, user=None)
        fake.subscriptions[number] = [said]
        for operation in (GET, EVENTS):
            reply = ask_as(gateway, "upgraded", "olga", naming(operation, number))
            assert reply.code == ipp.OK and "text of" not in str(reply)


class TestKept:
    """What is known of them."""

    def test_after_a_restart(self, tmp_path, certificates, fake):
        with start(tmp_path / "gateway", certificates, fake) as gateway:
            number = subscribe(gateway, "upgraded")
        with start(tmp_path / "gateway", certificates, fake) as gateway:
            assert ask_as(gateway, "clear", None, naming(RENEW, number)).status == 426
            assert ask_as(gateway, "upgraded", None, naming(RENEW, number)).code == ipp.OK

    def test_another_device(self, tmp_path, certificates, fake):
        """Its numbers are of other subscriptions."""
        with start(tmp_path / "gateway", certificates, fake) as gateway:
            number = subscribe(gateway)
        with Subscribable() as other:
            other.subscriptions[number] = []
            with start(tmp_path / "gateway", certificates, other) as gateway:
                for operation in NAMED:
                    assert ask_as(gateway, "clear", None, naming(operation, number)).code == ipp.NOT_FOUND
                assert TestLists.listed(ask_as(gateway, "clear", None, ipp.request(GET_ALL, URI))) == []
            assert not set(NAMED) & set(other.operations())

    def test_until_when(self, tmp_path, certificates, fake):
        """Longer than its lease; then it is as if it had not been."""
        def expiry(number):
            entry = store_lock.get(os.path.join(gateway.state, "store"), b"ipp-subscriptions", b"%08xfake" % number)
            return struct.unpack(">Q", entry[8:16])[0] / 1000

        with start(tmp_path / "gateway", certificates, fake, ipp="ipp: {retention: 1h}\n") as gateway:
            now = time.time()
            lease = subscribe(gateway, more=[(LEASE, ipp.INTEGER, 86400)])
            usual, for_ever = subscribe(gateway), subscribe(gateway, more=[(LEASE, ipp.INTEGER, 0)])
            assert 0 <= expiry(lease) - now - 86400 - 3600 < 60
            assert 0 <= expiry(usual) - now - 31 * 86400 - 3600 < 60
            assert 0 <= expiry(for_ever) - now - 31 * 86400 - 3600 < 60  # the printer did not say that it is
            fake.granted = 0
            assert 0 <= expiry(subscribe(gateway)) - now - 67108863 - 3600 < 60
            fake.granted = 100
            assert 0 <= expiry(subscribe(gateway, more=[(LEASE, ipp.INTEGER, 0)])) - now - 100 - 3600 < 60
            fake.granted = None
            with_job = ipp.request(ipp.PRINT_JOB, URI, data=b"a document")
            with_job.groups.append((ipp.SUBSCRIPTION, [PULL, (LEASE, ipp.INTEGER, 0)]))  # which there is none of
            assert 0 <= expiry(TestLists.listed(ask_as(gateway, "clear", None, with_job))[0]) - now - 3600 < 60
            for i, (tag, seconds) in enumerate([(ipp.OPERATION, 7200), (ipp.SUBSCRIPTION, 9999), (None, 31 * 86400)]):
                again = naming(RENEW, usual)  # some clients write it here, and others there
                if tag == ipp.SUBSCRIPTION:
                    again.groups.append((tag, []))
                if tag:
                    again.groups[-1][1].append((LEASE, ipp.INTEGER, seconds))
                assert ask_as(gateway, "clear", None, again).code == ipp.OK, i
                assert 0 <= expiry(usual) - now - seconds - 3600 < 60, i

    def test_no_room(self, tmp_path, certificates, fake):
        """The printer is not asked for what could not be written down."""
        with start(tmp_path / "gateway", certificates, fake, more="store: {size: 1m}\n") as gateway:
            number = subscribe(gateway)
            store_lock.fill(os.path.join(gateway.state, "store"), 1 << 20)
            wait.until(lambda: ask_as(gateway, "clear", None, creation()).code == ipp.TEMPORARY_ERROR, "no room", 30)
            fake.forget()
            reply = ask_as(gateway, "clear", None, creation())
            assert reply.code == ipp.TEMPORARY_ERROR and fake.operations() == []
            assert reply.words == ("there is no room for more subscriptions here; the printer has not got this one: "
                                   "try again later")
            record = gateway.wait_record(lambda r: r["id"] == reply.get("X-Request-ID"))
            assert (record["error"], record["rule"]) == ("disk-full", "job book"), record
            assert record["error_text"].endswith("see store.size, ipp.retention, and the disk of the store"), record
            assert ask_as(gateway, "clear", None, naming(GET, number)).code == ipp.OK

    @pytest.mark.parametrize("operation", [CREATE, RENEW])
    def test_not_kept(self, tmp_path, certificates, fake, operation):
        """The printer has done it, and the book cannot be told. Nobody gets at a new one, and so its maker hears; one
        that was renewed is known for a while yet."""
        with start(tmp_path / "gateway", certificates, fake, more="store: {size: 1m}\n") as gateway:
            number = subscribe(gateway)
            fake.forget()

            def talk(peer, fake_, head):
                store_lock.fill(os.path.join(gateway.state, "store"), 1 << 20)
                peer.send(http(fake_.reply(fake_.hear(peer, head))))
                return True
            fake.talk_now = talk
            reply = ask_as(gateway, "clear", None, creation() if operation == CREATE else naming(operation, number))
            fake.talk_now = None
            assert operation in fake.operations()
            record = gateway.wait_record(lambda r: r["id"] == reply.get("X-Request-ID"))
            if operation == CREATE:
                assert reply.code == ipp.TEMPORARY_ERROR and "cannot be kept now" in reply.words
                assert (record["error"], record["rule"]) == ("disk-full", "subscription"), record
                assert ask_as(gateway, "clear", None, naming(GET, max(fake.subscriptions))).code == ipp.NOT_FOUND
            else:
                assert reply.code == ipp.OK and "error" not in record
                assert record["error_text"].startswith("what was done to subscriptions could not be written down: "), record
                assert ask_as(gateway, "clear", None, naming(GET, number)).code == ipp.OK

    def test_client_leaves(self, tmp_path, certificates, fake):
        """With a job that brought one: both are known all the same."""
        with start(tmp_path / "gateway", certificates, fake) as gateway:
            fake.begin_anew()
            assert gateway.client("fake").print_job(b"the first one", None).code == ipp.OK
            message = ipp.request(ipp.PRINT_JOB, URI, data=b"left alone")
            message.groups.append((ipp.SUBSCRIPTION, [PULL]))
            with store_lock.writing(os.path.join(gateway.state, "store")):
                with Wire(gateway.address("print")) as wire:
                    wire.send(post(message))
                    wait.until(lambda: gateway.metrics()["sallyport_store_waiting"] > 0, "a job that is written down")
                    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                time.sleep(0.2)  # the gateway has seen it by then, or sees it later: the outcome is the same
            gateway.wait_record(lambda r: r.get("body_len") == len(b"left alone"))
            assert ask_as(gateway, "clear", None, naming(RENEW, max(fake.subscriptions))).code == ipp.OK

    @pytest.mark.parametrize("operation", [CREATE, CREATE_OF_JOB, ipp.PRINT_JOB, ipp.CREATE_JOB])
    def test_too_many(self, gateway, fake, operation):
        """Each is a record of its own."""
        job = gateway.client("fake").print_job(b"a job", None).message.get("job-id")
        named = [("notify-job-id", ipp.INTEGER, job)] if operation == CREATE_OF_JOB else []
        for n, expected in ((64, ipp.OK), (65, 0x0415)):
            fake.forget()
            message = ipp.request(operation, URI, *named, data=b"a document" if operation == ipp.PRINT_JOB else b"")
            message.groups += [(ipp.SUBSCRIPTION, [PULL])] * n
            reply = ask_as(gateway, "clear", None, message)
            assert reply.code == expected and bool(fake.operations()) == (expected == ipp.OK), reply
        assert reply.words == "a request may make 64 subscriptions"


class TestCups:
    """A real scheduler behind the gateway: what its subscribers see, and others do not."""

    @pytest.fixture
    def secure(self, tmp_path, certificates, cupsd):
        printers = [printer("fake", cupsd.uri(), require="[]", pipeline="[]")]
        with PrintGateway(tmp_path / "gateway", certificates, printers, more="login: {rounds: 100000}\n") as running:
            add_user(running, "acme", "bob", PASSWORDS["bob"])
            yield running

    @pytest.fixture
    def number(self, secure):
        """Ann's, made within TLS."""
        events = ("notify-events", ipp.KEYWORD, "job-created", "job-completed", "printer-state-changed")
        return subscribe(secure, "upgraded", more=[events, (LEASE, ipp.INTEGER, 3600)])

    @staticmethod
    def texts(reply):
        assert reply.code == ipp.OK, reply
        return [v for name, _, v in reply.message.attributes(ipp.EVENT) if name == "notify-text"]

    def test_events(self, secure, number):
        """Of jobs that may be told, and no others."""
        theirs = ipp.request(ipp.PRINT_JOB, URI, data=b"another's", user="bob")
        hidden = ask_as(secure, "implicit", "bob", theirs).message.get("job-id")
        mine = ask_as(secure, "clear", None, ipp.request(ipp.PRINT_JOB, URI, data=b"mine")).message.get("job-id")
        assert mine and hidden
        assert hidden < mine  # so its events come first
        assert ask_as(secure, "clear", None, naming(EVENTS, number)).status == 426
        assert ask_as(secure, "upgraded", None, naming(EVENTS, number, user="bob")).code == ipp.NOT_AUTHORIZED
        reply = wait.until(lambda: (r := ask_as(secure, "upgraded", None, naming(EVENTS, number))) and self.texts(r) and r,
                           "events")
        about = [v for name, _, v, *_ in reply.message.attributes(ipp.EVENT) if name == "notify-job-id"]
        assert mine in about and hidden not in about, about
        assert hidden in [job["job-id"] for job in self.as_bob(secure)]

    @staticmethod
    def as_bob(gateway):
        """He is told of it."""
        reply = ask_as(gateway, "implicit", "bob", ipp.request(ipp.GET_JOBS, URI, ("which-jobs", ipp.KEYWORD, "all")))
        return [{name: v for name, _, v, *_ in group} for tag, group in reply.message.groups if tag == ipp.JOB]

    def test_all_that_is_done_to_one(self, secure, cupsd, number):
        listed = TestLists.listed(ask_as(secure, "upgraded", None, ipp.request(GET_ALL, URI)))
        assert number in listed
        assert number not in TestLists.listed(ask_as(secure, "clear", None, ipp.request(GET_ALL, URI)))
        told = ask_as(secure, "upgraded", None, naming(GET, number))
        assert told.code == ipp.OK and told.message.get(LEASE) == 3600
        for operation in (RENEW, CANCEL):
            assert ask_as(secure, "clear", None, naming(operation, number)).status == 426
            assert ask_as(secure, "upgraded", None, naming(operation, number, user="bob")).code == ipp.NOT_AUTHORIZED
            assert ask_as(secure, "upgraded", None, naming(operation, number)).code == ipp.OK
        assert ask_as(secure, "upgraded", None, naming(GET, number)).code == ipp.NOT_FOUND
        gone = cupsd.client().ask(GET, (NUMBER, ipp.INTEGER, number))
        assert gone.code == ipp.NOT_FOUND

    def test_one_that_was_made_behind_it(self, secure, cupsd):
        """It is nobody's here."""
        made = cupsd.client().request(CREATE)
        made.groups.append((ipp.SUBSCRIPTION, [PULL]))
        number = ipp.ask(cupsd.client().address, made, cupsd.client().path).message.get(NUMBER)
        assert number
        for operation in NAMED:
            assert ask_as(secure, "clear", None, naming(operation, number)).code == ipp.NOT_FOUND
        assert number not in TestLists.listed(ask_as(secure, "clear", None, ipp.request(GET_ALL, URI)))
