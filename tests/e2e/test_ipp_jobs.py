# SPDX-License-Identifier: Apache-2.0
"""Jobs stay as protected as they were made: whoever asks, on whichever way, by whichever name; before and after a
restart of the gateway, and after the printer has begun to count anew."""
import dataclasses
import itertools
import signal

import pytest

from testenv import ipp, wait
from testenv.cups import Cupsd
from testenv.fake_printer import FakePrinter, answer as answer_of, http
from testenv.ipp import (BOOLEAN, CANCEL_JOB, CREATE_JOB, GET_JOB_ATTRIBUTES, GET_JOBS, GET_PRINTER_ATTRIBUTES, HOLD_JOB,
                         INTEGER, KEYWORD, NOT_AUTHORIZED, NOT_FOUND, OK, OPERATION, PRINT_JOB, RELEASE_JOB, SEND_DOCUMENT,
                         URI, VALIDATE_JOB, Message, request)
from testenv.moved_clock import MovedClock
from testenv.print_wire import Digest, Wire, add_user, get_challenge, post
from testenv.printing import PrintGateway, printer

SET_JOB_ATTRIBUTES, CLOSE_JOB, RESTART_JOB = 0x0014, 0x003B, 0x000E
CANCEL_JOBS, CANCEL_MY_JOBS, GET_SUBSCRIPTIONS, CREATE_JOB_SUBSCRIPTIONS = 0x0038, 0x0039, 0x0019, 0x0017
CREATE_PRINTER_SUBSCRIPTIONS, GET_SUBSCRIPTION_ATTRIBUTES, GET_NOTIFICATIONS = 0x0016, 0x0018, 0x001C
RENEW_SUBSCRIPTION, CANCEL_SUBSCRIPTION = 0x001A, 0x001B
CANCEL_DOCUMENT, DELETE_DOCUMENT, GET_DOCUMENTS, GET_DOCUMENT_ATTRIBUTES = 0x0033, 0x0036, 0x0035, 0x0034
VALIDATE_DOCUMENT = 0x003D
PASSWORDS = {"ann": "a password of Ann's", "bob": "Bob's own words", "root": "the operator's", "zoe": "Zoe's password"}
OPEN = "ipp://localhost/ipp/open"
PDF = b"%PDF-1.4\n%%EOF\n"
HELD = [("job-hold-until", KEYWORD, "indefinite")]
UNAUTHORIZED, UPGRADE_REQUIRED, BAD_REQUEST = 401, 426, 0x0400
CLEAR, CLAIMED, DIGEST = "clear", "claimed", "digest"
NONE, WRONG, MD5, SHA256, OTHER = "none", "wrong", "MD5", "SHA-256", "other"
RANKS = {None: 0, CLAIMED: 1, DIGEST: 2}


def printers(backend, second=None):
    return [printer("open", backend.uri(), require="[]", pipeline="[]", operators='["user:root"]',
                    aliases="[/printers/open]"),
            printer("secure", backend.uri(), require="[tls, digest]", pipeline="[]"),
            printer("second", second or backend.uri(), require="[]", pipeline="[]")]


def start(folder, certificates, backend, style="", second=None, users=tuple(PASSWORDS), **more):
    more.setdefault("more", "login: {rounds: 100000, failures: 1000, user-failures: 1000}\n")
    gateway = PrintGateway(folder, certificates, printers(backend, second),
                           ipp=f"ipp: {{job-uris: {style}}}\n" if style else "", **more)
    for user in users:
        add_user(gateway, "acme", user, PASSWORDS[user])
    return gateway


class LimitingPrinter(FakePrinter):
    def reply(self, heard):
        reply, limit = super().reply(heard), heard.message.get("limit")
        if heard.operation == GET_JOBS and limit:
            reply.groups = reply.groups[:1 + limit]
        return reply


class WillingPrinter(FakePrinter):
    """Its subscriptions all have the number 1."""

    def reply(self, heard):
        reply = super().reply(heard)
        if heard.operation == CREATE_PRINTER_SUBSCRIPTIONS:
            reply.groups.append((ipp.SUBSCRIPTION, [("notify-subscription-id", INTEGER, 1)]))
        return reply


@dataclasses.dataclass(frozen=True)
class Level:
    """How a request comes, or a job was made."""
    channel: str
    user: str  # None, "claimed", "digest"
    name: str = "ann"

    @property
    def tls(self):
        return self.channel != CLEAR


class Client:
    """Asks |gateway| on |channel|, and proves who |auth| is; every request comes on a connection of its own."""

    challenges = {}  # by gateway, channel and algorithm, with a count

    def __init__(self, gateway, channel=CLEAR, auth=NONE, name="ann", claims="ann"):
        self.gateway, self.channel, self.auth = gateway, channel, auth
        self.name, self.claims = "bob" if auth == OTHER else name, claims

    @property
    def level(self):
        proves = self.auth in (MD5, SHA256, OTHER)
        user = DIGEST if proves else CLAIMED if self.claims else None
        return Level(self.channel, user, self.name if proves else self.claims)

    def digest(self, algorithm):
        """Of a challenge that all tests of this gateway count on."""
        key = (self.gateway.dir, self.channel, algorithm)
        if key not in self.challenges:
            way = "upgraded" if algorithm == MD5 and self.channel == CLEAR else self.channel  # there it is not offered
            with self.connect(way) as wire:
                reply = wire.ask(request(VALIDATE_JOB, "ipp://localhost/ipp/open;AUTH=DAA"))
            self.challenges[key] = [get_challenge(reply, algorithm), itertools.count(1)]
        challenge, counts = self.challenges[key]
        return Digest(self.name, "wrong" if self.auth == WRONG else PASSWORDS[self.name], challenge, nc=next(counts) - 1)

    def connect(self, channel=None):
        return Wire(self.gateway.address("print"), channel or self.channel)

    def fields(self, path="/"):
        if self.auth == NONE:
            return []
        return [self.digest(MD5 if self.auth == MD5 else SHA256).field(path)]

    def ask(self, message, path="/"):
        with self.connect() as wire:
            return wire.ask(message, path, *self.fields(path))

    def request(self, operation, name="open", uri=None, *attributes, **more):
        return request(operation, uri or f"ipp://localhost/ipp/{name}", *attributes, user=self.claims, **more)

    def about(self, operation, job, **more):
        return self.ask(self.request(operation, job.printer, job_id=job.id, **more))

    def print(self, name="open", uri=None, held=True):
        """A Job."""
        reply = self.ask(self.request(PRINT_JOB, name, uri, job=HELD if held else (), data=PDF))
        assert reply.answer == OK, reply
        return Job(reply.message.get("job-id"), reply.message.get("job-uri"), name, self.level)


@dataclasses.dataclass(frozen=True)
class Job:
    id: int
    uri: str
    printer: str
    made: Level


def by_uri(operation, uri, user="ann"):
    message = request(operation, uri, user=user)
    message.groups[0][1][2] = ("job-uri", URI, uri)
    return message


# ---- the rules ----

def is_covered(now, made):
    return now.tls >= made.tls and RANKS[now.user] >= RANKS[made.user]


def expected(client, printer_name, operation, job=None):
    """What the request gets: first the channel, then the user's proof, then whose the job is."""
    now, needs = client.level, Level(CLEAR, None)
    if printer_name == "secure":
        needs = Level("upgraded", None if operation == GET_PRINTER_ATTRIBUTES else DIGEST)
    if not now.tls and needs.tls:
        return UPGRADE_REQUIRED
    if job and not now.tls and job.made.tls:
        return UPGRADE_REQUIRED
    if client.auth == WRONG or (client.auth == MD5 and not now.tls):
        return UNAUTHORIZED
    if RANKS[now.user] < RANKS[needs.user] or (job and RANKS[now.user] < RANKS[job.made.user]):
        return UNAUTHORIZED
    if job and job.made.user and now.name != job.made.name:
        return NOT_AUTHORIZED
    return OK


def is_told(client, job):
    return is_covered(client.level, job.made) and (job.made.user != DIGEST or client.level.name == job.made.name)


# ---- fixtures ----

@pytest.fixture(scope="module")
def cupsd(tmp_path_factory):
    with Cupsd(tmp_path_factory.mktemp("cupsd"), {"acct": "file:/dev/null", "second": "file:/dev/null"}) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, cupsd):
    with start(tmp_path_factory.mktemp("gateway"), certificates, cupsd, second=cupsd.uri("second")) as running:
        yield running


MAKERS = [(CLEAR, NONE, None, "open"), (CLEAR, NONE, "ann", "open"), (CLEAR, SHA256, "ann", "open"),
          ("upgraded", NONE, "ann", "open"), ("upgraded", MD5, "ann", "open"), ("upgraded", SHA256, "ann", "open"),
          ("implicit", NONE, "ann", "open"), ("implicit", SHA256, "ann", "open"), ("upgraded", SHA256, "ann", "secure"),
          ("implicit", MD5, "ann", "secure")]


def make(gateway, channel, auth, claims, name):
    return Client(gateway, channel, auth, claims=claims).print(name)


@pytest.fixture(scope="module")
def jobs(gateway):
    """One of each level at each printer; nobody ends them."""
    return [make(gateway, *maker) for maker in MAKERS]


@pytest.fixture
def protected(gateway):
    """Ann's job, made within TLS and with her password."""
    return make(gateway, "upgraded", SHA256, "ann", "open")


# ---- tests ----

CHANNELS, AUTHS = (CLEAR, "upgraded", "implicit"), (NONE, WRONG, MD5, SHA256, OTHER)


class TestLevels:
    """Every way in, by everybody, against jobs of every level: what the rules say."""

    @pytest.fixture(params=itertools.product(CHANNELS, AUTHS), ids="-".join)
    def client(self, request, gateway):
        return Client(gateway, *request.param)

    @pytest.mark.parametrize("operation", [GET_PRINTER_ATTRIBUTES, VALIDATE_JOB, PRINT_JOB])
    def test_printer(self, client, operation):
        for name in ("open", "secure"):
            message = client.request(operation, name, job=HELD if operation == PRINT_JOB else (),
                                     data=PDF if operation == PRINT_JOB else b"")
            assert client.ask(message).answer == expected(client, name, operation), name

    def test_attributes(self, client, jobs):
        for job in jobs:
            wanted = expected(client, job.printer, GET_JOB_ATTRIBUTES, job)
            assert client.about(GET_JOB_ATTRIBUTES, job).answer == wanted, job

    def test_cancel(self, client, jobs, gateway):
        """Who may, can; and who may not has done nothing."""
        owner = Client(gateway, "upgraded", SHA256)
        for maker, job in zip(MAKERS, jobs):
            wanted = expected(client, job.printer, CANCEL_JOB, job)
            job = make(gateway, *maker) if wanted == OK else job
            assert client.about(CANCEL_JOB, job).answer == wanted, job
            state = owner.about(GET_JOB_ATTRIBUTES, job).message.get("job-state")
            assert state == (ipp.CANCELED if wanted == OK else ipp.HELD), job

    def test_list(self, client, jobs):
        """What may not be told is left out; nobody is refused for it."""
        for name in ("open", "secure"):
            reply = client.ask(client.request(GET_JOBS, name))
            wanted = expected(client, name, GET_JOBS)
            assert reply.answer == wanted
            if wanted == OK:
                told = [v for a in reply.message.attributes(ipp.JOB) if a[0] == "job-id" for v in a[2:]]
                known = [job for job in jobs if job.printer == name]
                assert {job.id for job in known if job.id in told} == {job.id for job in known if is_told(client, job)}

    def test_refusals_have_words_and_records(self, gateway, jobs):
        job = jobs[5]
        for channel, status, lacked in ((CLEAR, UPGRADE_REQUIRED, "TLS"), ("upgraded", UNAUTHORIZED, "DAA")):
            client = Client(gateway, channel)
            with client.connect() as wire:
                reply = wire.ask(client.request(GET_JOB_ATTRIBUTES, job_id=job.id))
                assert (reply.status, bool(reply.all("WWW-Authenticate"))) == (status, status == UNAUTHORIZED)
                said = wire.record(gateway, operation="Get-Job-Attributes")["print"]
                assert (said["job"], said["required"], said["lacked"]) == (job.id, "TLS,DAA", lacked)
        reply = Client(gateway, "upgraded", OTHER).about(GET_JOB_ATTRIBUTES, job)
        assert (reply.code, reply.words) == (NOT_AUTHORIZED, "the job is another user's")


class TestNames:
    """However a job is named it is the same job."""

    @staticmethod
    def named(how, job, operation=GET_JOB_ATTRIBUTES, user="ann"):
        """(message, request-target)."""
        path = f"/jobs/{job.id}"
        if how.startswith("uri "):
            uri = {"as told": job.uri, "in clear": f"ipp://localhost{path}", "ipps": f"ipps://localhost{path}",
                   "http": f"http://localhost:631{path}", "lower": f"ipp://localhost{path};AUTH=TLS"}[how[4:]]
            return by_uri(operation, uri, user), path
        uri = {"alias": "ipp://localhost/printers/open"}.get(how, OPEN)
        target = {"at /": "/", "at the job": path, "at another job": "/jobs/1", "at another printer": "/ipp/second"}
        return request(operation, uri, job_id=job.id, user=user), target.get(how, "/ipp/open")

    HOW = ["uri as told", "uri in clear", "uri ipps", "uri http", "uri lower", "number", "alias", "at /", "at the job",
           "at another job", "at another printer"]
    WHO = [("upgraded", SHA256, OK), ("implicit", MD5, OK), ("implicit", OTHER, NOT_AUTHORIZED),
           ("upgraded", NONE, UNAUTHORIZED), (CLEAR, SHA256, UPGRADE_REQUIRED), (CLEAR, NONE, UPGRADE_REQUIRED)]

    @pytest.mark.parametrize("how", HOW)
    def test_one(self, gateway, protected, how):
        for channel, auth, wanted in self.WHO:
            reply = Client(gateway, channel, auth).ask(*self.named(how, protected))
            assert reply.answer == wanted, (channel, auth)
            if wanted == OK:
                assert (reply.message.get("job-id"), reply.message.get("job-uri")) == (protected.id, protected.uri)

    CHANGES = {CANCEL_JOB: (), HOLD_JOB: (), RELEASE_JOB: (), SET_JOB_ATTRIBUTES: (),
               SEND_DOCUMENT: [("last-document", BOOLEAN, True)], CLOSE_JOB: ()}

    @pytest.mark.parametrize("operation", CHANGES)
    def test_changes(self, gateway, protected, operation):
        """Nobody but its owner, as it was made, changes it under any of its names; and he can."""
        for how in self.HOW:
            message, path = self.named(how, protected, operation)
            message.groups[0][1].extend(self.CHANGES[operation])
            if operation == SET_JOB_ATTRIBUTES:
                message.groups.append((ipp.JOB, [("job-hold-until", KEYWORD, "no-hold")]))
            message.data = PDF if operation == SEND_DOCUMENT else b""
            for channel, auth, wanted in self.WHO:
                if wanted != OK:
                    assert Client(gateway, channel, auth).ask(message, path).answer == wanted, (how, channel, auth)
        owner = Client(gateway, "upgraded", SHA256)
        assert owner.about(GET_JOB_ATTRIBUTES, protected).message.get("job-state") == ipp.HELD
        if operation not in (SEND_DOCUMENT, CLOSE_JOB):  # of a job that has its document
            assert owner.ask(message, path).answer == OK

    BESIDES = [(CANCEL_MY_JOBS, "job-ids"), (GET_SUBSCRIPTIONS, "notify-job-id"),
               (CREATE_JOB_SUBSCRIPTIONS, "notify-job-id")]
    STRANGERS = [("implicit", OTHER), ("upgraded", NONE), (CLEAR, SHA256), (CLEAR, NONE)]

    @staticmethod
    def besides(operation, attribute, job):
        message = request(operation, OPEN, (attribute, INTEGER, job.id))
        if operation in (CREATE_JOB_SUBSCRIPTIONS, CREATE_PRINTER_SUBSCRIPTIONS):
            message.groups.append((ipp.SUBSCRIPTION, [("notify-pull-method", KEYWORD, "ippget"),
                                                      ("notify-events", KEYWORD, "job-completed")]))
        return message

    @pytest.mark.parametrize("operation, attribute", BESIDES,
                             ids=["Cancel-My-Jobs", "Get-Subscriptions", "Create-Job-Subscriptions"])
    def test_besides_the_target(self, gateway, protected, operation, attribute):
        """There what may not be touched is not there, for the request as a whole would mean others."""
        message = self.besides(operation, attribute, protected)
        for channel, auth in self.STRANGERS:
            reply = Client(gateway, channel, auth).ask(message)
            assert (reply.code, reply.words) == (NOT_FOUND, "there is no such job"), (channel, auth)
        owner = Client(gateway, "upgraded", SHA256)
        assert owner.about(GET_JOB_ATTRIBUTES, protected).message.get("job-state") == ipp.HELD
        reply = owner.ask(message)
        assert reply.code in ((OK,) if operation != GET_SUBSCRIPTIONS else (OK, NOT_FOUND)), reply
        assert reply.words != "there is no such job"

    @pytest.mark.parametrize("channel, auth", [(CLEAR, NONE), ("upgraded", NONE)])
    def test_all_of_mine(self, gateway, channel, auth):
        """Who only says that she is Zoe has not her jobs, also where she names none of them."""
        owner = Client(gateway, "upgraded", SHA256, name="zoe", claims="zoe")
        job = owner.print()
        Client(gateway, channel, auth, claims="zoe").ask(request(CANCEL_MY_JOBS, OPEN, user="zoe"))
        assert owner.about(GET_JOB_ATTRIBUTES, job).message.get("job-state") == ipp.HELD
        others = [make(gateway, CLEAR, NONE, "ann", "open"), make(gateway, CLEAR, NONE, None, "open")]
        assert owner.ask(request(CANCEL_MY_JOBS, OPEN)).code == OK
        assert owner.about(GET_JOB_ATTRIBUTES, job).message.get("job-state") == ipp.CANCELED
        operator = Client(gateway, "upgraded", SHA256, name="root")
        assert [operator.about(GET_JOB_ATTRIBUTES, j).message.get("job-state") for j in others] == [ipp.HELD] * 2

    def test_an_operator_may(self, gateway, protected):
        operator = Client(gateway, "implicit", SHA256, name="root")
        for operation in (GET_JOB_ATTRIBUTES, ipp.RELEASE_JOB):
            assert operator.about(operation, protected).code == OK
        other = make(gateway, CLEAR, NONE, "ann", "open")
        assert operator.about(CANCEL_JOB, other).code == OK

    def test_of_an_operator(self, gateway, protected):
        """Who may do to others' jobs what their owners may, and no more than that: the channel counts for him, too."""
        message = request(CANCEL_JOBS, OPEN, ("job-ids", INTEGER, protected.id))
        owner, operator = Client(gateway, "upgraded", SHA256), Client(gateway, "upgraded", SHA256, name="root")
        assert owner.ask(message).code == 0x0501
        in_clear = Client(gateway, CLEAR, SHA256, name="root")
        assert in_clear.about(GET_JOB_ATTRIBUTES, protected).answer == UPGRADE_REQUIRED
        assert in_clear.ask(message).answer in (NOT_FOUND, UPGRADE_REQUIRED)
        assert owner.about(GET_JOB_ATTRIBUTES, protected).message.get("job-state") == ipp.HELD
        assert operator.ask(message).code == OK
        assert owner.about(GET_JOB_ATTRIBUTES, protected).message.get("job-state") == ipp.CANCELED

    def test_list_of_an_operator(self, gateway, protected):
        """Names of jobs that were made within TLS go through no net in clear text."""
        for channel, told in (("upgraded", True), (CLEAR, False)):
            reply = Client(gateway, channel, SHA256, name="root").ask(request(GET_JOBS, OPEN))
            ids = [v for a in reply.message.attributes(ipp.JOB) if a[0] == "job-id" for v in a[2:]]
            assert (protected.id in ids) == told, channel

    def test_of_another_printer(self, gateway, protected):
        for name in ("second", "secure"):
            client = Client(gateway, "upgraded", SHA256)
            reply = client.ask(client.request(GET_JOB_ATTRIBUTES, name, job_id=protected.id))
            assert (reply.code, reply.words) == (NOT_FOUND, "there is no such job")

    def test_that_nobody_made(self, gateway, protected):
        """Never is the printer asked instead: who may not know learns nothing."""
        client = Client(gateway, "upgraded", SHA256)
        for number, name in itertools.product((protected.id + 1000000, 2 ** 31 - 1), ("open", "second")):
            reply = client.ask(client.request(GET_JOB_ATTRIBUTES, name, job_id=number))
            assert (reply.code, reply.words) == (NOT_FOUND, "there is no such job")

    def test_past_the_gateway(self, gateway, cupsd):
        """A job that somebody has made at the printer itself is nobody's here."""
        sent = request(PRINT_JOB, cupsd.uri(), ("job-name", ipp.NAME, "made past it"), job=HELD, data=PDF)
        direct = ipp.ask(("127.0.0.1", cupsd.port), sent, "/printers/acct").message.get("job-id")
        client = Client(gateway, "upgraded", SHA256)
        told = client.ask(client.request(GET_JOBS, "open", None, ("requested-attributes", KEYWORD, "job-name"))).message
        assert told.all("job-name", ipp.JOB) and "made past it" not in str(told)
        asked = client.request(GET_JOB_ATTRIBUTES, "open", None, ("requested-attributes", KEYWORD, "job-name"), job_id=direct)
        assert "made past it" not in str(client.ask(asked).message)

    @pytest.mark.parametrize("path", ["/jobs/0", "/jobs/", "/jobs/-1", "/jobs/1x", "/jobs/4294967297", "/jobs/1/2", "/jobs"])
    def test_no_names(self, gateway, path):
        asked = by_uri(GET_JOB_ATTRIBUTES, f"ipp://localhost{path}")
        assert Client(gateway).ask(asked).code in (BAD_REQUEST, NOT_FOUND)

    def test_target_of_http_alone(self, gateway, protected):
        """The path of the request says nothing that the message does not."""
        message = Message(GET_JOB_ATTRIBUTES, [(OPERATION, request(GET_JOB_ATTRIBUTES, "x").groups[0][1][:2])])
        assert Client(gateway).ask(message, f"/jobs/{protected.id}").code == NOT_FOUND


class TestLetThrough:
    """The rest of what is let through and can name a job, at a printer that does all of it: it hears of it from nobody
    but the job's owner."""
    DOCUMENT, SUBSCRIPTION = [("document-number", INTEGER, 1)], [("notify-subscription-id", INTEGER, 1)]
    OF_SUBSCRIPTIONS = {GET_SUBSCRIPTION_ATTRIBUTES: SUBSCRIPTION, RENEW_SUBSCRIPTION: SUBSCRIPTION,
                        CANCEL_SUBSCRIPTION: SUBSCRIPTION, GET_NOTIFICATIONS: [("notify-subscription-ids", INTEGER, 1)],
                        GET_SUBSCRIPTIONS: [], CREATE_JOB_SUBSCRIPTIONS: [], CREATE_PRINTER_SUBSCRIPTIONS: []}
    OPERATIONS = {CANCEL_DOCUMENT: DOCUMENT, DELETE_DOCUMENT: DOCUMENT, GET_DOCUMENT_ATTRIBUTES: DOCUMENT,
                  GET_DOCUMENTS: [], RESTART_JOB: [], VALIDATE_DOCUMENT: [], CLOSE_JOB: [], **OF_SUBSCRIPTIONS}

    @pytest.fixture(scope="class")
    def willing(self, tmp_path_factory, certificates):
        """(a gateway, its printer, a job of Ann's that she made within TLS and with her password)."""
        with WillingPrinter() as fake, start(tmp_path_factory.mktemp("willing"), certificates, fake) as own:
            yield own, fake, make(own, "upgraded", SHA256, "ann", "open")

    @staticmethod
    def subscribe(fake, client, user):
        """The subscription that is named is |client|'s, and known, until it is canceled."""
        message = request(CREATE_PRINTER_SUBSCRIPTIONS, OPEN, user=user)
        message.groups.append((ipp.SUBSCRIPTION, [("notify-pull-method", KEYWORD, "ippget")]))
        assert client.ask(message).code == OK
        fake.heard = []

    @pytest.mark.parametrize("operation", OPERATIONS, ids=hex)
    def test_named(self, willing, operation):
        own, fake, job = willing
        for how in TestNames.HOW:
            self.subscribe(fake, Client(own, "upgraded", SHA256), "ann")
            message, path = TestNames.named(how, job, operation)
            message.groups[0][1].extend(self.OPERATIONS[operation])
            if how.startswith("uri ") and self.OF_SUBSCRIPTIONS.get(operation):  # whose target is a printer
                for channel, auth, _ in TestNames.WHO:
                    assert Client(own, channel, auth).ask(message, path).code == BAD_REQUEST
                assert fake.heard == [], how
                continue
            for channel, auth, wanted in TestNames.WHO:
                if wanted != OK:
                    assert Client(own, channel, auth).ask(message, path).answer == wanted, (how, channel, auth)
            assert fake.heard == [], how
            assert Client(own, "upgraded", SHA256).ask(message, path).code == OK, how
            assert fake.operations()[-1] == operation
            assert fake.last(operation).message.get("job-id") == max(fake.jobs)

    @pytest.mark.parametrize("attribute", ["notify-job-id", "job-ids"])
    @pytest.mark.parametrize("operation", OF_SUBSCRIPTIONS, ids=hex)
    def test_besides(self, willing, operation, attribute):
        own, fake, job = willing
        self.subscribe(fake, Client(own), None)
        message = TestNames.besides(operation, attribute, job)
        message.groups[0][1].extend(self.OF_SUBSCRIPTIONS[operation])
        for channel, auth in TestNames.STRANGERS:
            reply = Client(own, channel, auth).ask(message)
            assert (reply.code, reply.words) == (NOT_FOUND, "there is no such job"), (channel, auth)
        assert fake.heard == []
        assert Client(own, "implicit", SHA256).ask(message).code == OK
        assert fake.last(operation).message.get(attribute) == max(fake.jobs)


class TestLimit:
    """`limit` of Get-Jobs counts the jobs that are told, however many of others the printer has besides."""

    @pytest.fixture(scope="class")
    def crowd(self, tmp_path_factory, certificates):
        """A printer at which Bob has printed often, and Ann after that, twice and once by another name of it: (gateway,
        printer, Ann's jobs, and that other one)."""
        with LimitingPrinter() as fake:
            gateway = start(tmp_path_factory.mktemp("crowd"), certificates, fake)
            try:
                bob, ann = Client(gateway, "implicit", SHA256, name="bob", claims="bob"), Client(gateway, "implicit", SHA256)
                for _ in range(30):
                    bob.print()
                yield gateway, fake, [ann.print().id for _ in range(2)], ann.print("second").id
            finally:
                gateway.stop()

    @staticmethod
    def told(message):
        return [a[2] for a in message.attributes(ipp.JOB) if a[0] == "job-id"]

    @pytest.mark.parametrize("limit, asked", [(1, [1, 20, 80]), (2, [2, 20, 80]), (3, [3, 20, 80]), (100, [100])])
    def test_others(self, crowd, limit, asked):
        gateway, fake, own, _ = crowd
        fake.heard = []
        ann = Client(gateway, "implicit", SHA256)
        told = ann.ask(ann.request(GET_JOBS, "open", None, ("limit", INTEGER, limit))).message
        assert self.told(told) == own[:limit]
        assert [h.message.get("limit") for h in fake.heard if h.operation == GET_JOBS] == asked

    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    def test_all_printers(self, crowd, limit):
        """It is one for all of them, each of which is asked once."""
        gateway, fake, own, at_second = crowd
        fake.heard = []
        ann = Client(gateway, "implicit", SHA256)
        reply = ann.ask(ipp.request(GET_JOBS, "ipp://localhost/", ("limit", INTEGER, limit)))
        assert self.told(reply.message) == [*own, at_second][:limit]
        assert fake.operations() == [GET_JOBS] * 3

    def test_own(self, crowd):
        """Where all that the printer tells may be told it is asked once."""
        gateway, fake, *_ = crowd
        fake.heard = []
        bob = Client(gateway, "implicit", SHA256, name="bob", claims="bob")
        told = bob.ask(bob.request(GET_JOBS, "open", None, ("limit", INTEGER, 5))).message
        assert len(self.told(told)) == 5
        assert fake.operations() == [GET_JOBS]

    def test_that_has_no_more(self, crowd):
        """What it says the first time counts where it does not answer the second time."""
        gateway, fake, own, _ = crowd
        first = next(number for number, user in fake.jobs.items() if user == "ann")
        def once(peer, printer_, head):
            heard = printer_.hear(peer, head)
            if heard.message.get("limit") > 2:
                return False
            jobs = [(ipp.JOB, printer_.job(number)) for number in (first, 1)]
            peer.send(http(answer_of(heard.message, OK, *jobs)))
            return True
        ann = Client(gateway, "implicit", SHA256)
        fake.heard = []
        fake.talk_now = once
        try:
            told = ann.ask(ann.request(GET_JOBS, "open", None, ("limit", INTEGER, 2))).message
        finally:
            fake.talk_now = None
        assert (told.code, self.told(told)) == (OK, own[:1])
        assert {h.message.get("limit") for h in fake.heard} == {2, 20}


class TestDocuments:
    """Create-Job and Send-Document belong together: the document comes as protected as the job was made."""

    def test_levels(self, gateway, cupsd):
        owner = Client(gateway, "upgraded", SHA256)
        made = owner.ask(owner.request(CREATE_JOB, job=HELD)).message
        job = Job(made.get("job-id"), made.get("job-uri"), "open", owner.level)
        assert job.uri.endswith(f"/jobs/{job.id};AUTH=TLS,DAA")
        last = ("last-document", ipp.BOOLEAN, True)
        for channel, auth in itertools.product(CHANNELS, AUTHS):
            client = Client(gateway, channel, auth)
            wanted = expected(client, "open", SEND_DOCUMENT, job)
            if wanted != OK:
                reply = client.ask(client.request(SEND_DOCUMENT, "open", None, last, job_id=job.id, data=PDF))
                assert reply.answer == wanted, (channel, auth)
                assert client.about(CANCEL_JOB, job).answer == wanted, (channel, auth)
        before = len(cupsd.documents())
        reply = owner.ask(owner.request(SEND_DOCUMENT, "open", None, last, job_id=job.id, data=PDF))
        assert (reply.answer, reply.message.get("job-id"), reply.message.get("job-uri")) == (OK, job.id, job.uri)
        wait.until(lambda: len(cupsd.documents()) == before + 1, "the document at the printer")


class TestMinted:
    """URIs of jobs say how they were made, as it was seen and not as it was said."""

    MADE = {  # how: scheme, list
        "auto": {(CLEAR, NONE): ("ipp", ""), (CLEAR, SHA256): ("ipp", ";AUTH=DAA"), ("upgraded", NONE): ("ipp", ";AUTH=TLS"),
                 ("upgraded", SHA256): ("ipp", ";AUTH=TLS,DAA"), ("implicit", NONE): ("ipps", ""),
                 ("implicit", MD5): ("ipps", ";AUTH=DAA")},
        "draft": {(CLEAR, NONE): ("ipp", ""), ("upgraded", MD5): ("ipp", ";AUTH=TLS,DAA"),
                  ("implicit", NONE): ("ipp", ";AUTH=SSL3"), ("implicit", SHA256): ("ipp", ";AUTH=SSL3,DAA")},
        "ipps": {(CLEAR, NONE): ("ipp", ""), ("upgraded", NONE): ("ipps", ""), ("upgraded", SHA256): ("ipps", ";AUTH=DAA"),
                 ("implicit", NONE): ("ipps", "")}}

    @pytest.fixture(params=sorted(MADE))
    def style(self, request, tmp_path, certificates, cupsd, gateway):
        if request.param == "auto":
            yield request.param, gateway
            return
        with start(tmp_path / "gateway", certificates, cupsd, request.param, users=("ann",)) as own:
            yield request.param, own

    def test_forms(self, style):
        name, own = style
        port = own.address("print")[1]
        for (channel, auth), (scheme, auth_list) in self.MADE[name].items():
            client = Client(own, channel, auth)
            job = client.print()
            assert job.uri == f"{scheme}://localhost:{port}/jobs/{job.id}{auth_list}"
            said = client.ask(by_uri(GET_JOB_ATTRIBUTES, job.uri))  # and it leads back to the job
            assert (said.code, said.message.get("job-uri")) == (OK, job.uri)

    @pytest.mark.parametrize("claimed", ["", ";AUTH=TLS", ";AUTH=TLS,DAA", ";AUTH=DAA", ";AUTH=SSL3"])
    def test_as_seen(self, gateway, claimed):
        job = Client(gateway, "upgraded", SHA256).print(uri=f"ipp://localhost/ipp/open{claimed}")
        assert job.uri.endswith(";AUTH=TLS,DAA")

    def test_the_same_for_all(self, gateway, cupsd):
        """Who comes on another way is told of the job as it was made."""
        job = Client(gateway, "upgraded", NONE).print()
        said = Client(gateway, "implicit", SHA256).about(GET_JOB_ATTRIBUTES, job).message
        assert said.all("job-uri") == [job.uri]
        assert not [uri for _, uri in said.uris() if str(cupsd.port) in uri]


class TestDemandsOfUris:
    """A URI can ask for more than the printer does, and never for less."""

    @pytest.mark.parametrize("place", ["attribute", "request-target"])
    @pytest.mark.parametrize("name, auth_list, channel, auth, wanted", [
        ("open", "DAA", CLEAR, NONE, UNAUTHORIZED), ("open", "DAA", CLEAR, SHA256, OK),
        ("open", "TLS", CLEAR, NONE, UPGRADE_REQUIRED), ("open", "TLS", CLEAR, SHA256, UPGRADE_REQUIRED),
        ("open", "TLS", "upgraded", NONE, OK), ("open", "TLS", "implicit", NONE, OK),
        ("open", "SSL3", CLEAR, NONE, UPGRADE_REQUIRED), ("open", "SSL3", "upgraded", NONE, OK),
        ("open", "daa,tls", "upgraded", NONE, UNAUTHORIZED), ("open", "TLS,TLS,SSL3", "implicit", NONE, OK),
        ("open", "TLS,DAA", "upgraded", MD5, OK), ("secure", "TLS", "upgraded", NONE, UNAUTHORIZED),
        ("secure", "DAA", CLEAR, SHA256, UPGRADE_REQUIRED), ("secure", "SSL3", "upgraded", SHA256, OK)])
    def test_lists(self, gateway, place, name, auth_list, channel, auth, wanted):
        path = f"/ipp/{name}"
        with_list = f"{path};AUTH={auth_list}"
        path, target = (with_list, path) if place == "attribute" else (path, with_list)
        asked = request(VALIDATE_JOB, f"ipp://localhost{path}")
        assert Client(gateway, channel, auth).ask(asked, target).answer == wanted

    def test_both_together(self, gateway):
        message = request(VALIDATE_JOB, "ipp://localhost/ipp/open;AUTH=DAA")
        assert Client(gateway, CLEAR, SHA256).ask(message, "/ipp/open;AUTH=TLS").answer == UPGRADE_REQUIRED
        assert Client(gateway, "upgraded").ask(message, "/ipp/open;AUTH=TLS").answer == UNAUTHORIZED

    @pytest.mark.parametrize("auth_list, channel, auth, wanted", [
        ("", CLEAR, NONE, OK), (";AUTH=TLS", CLEAR, NONE, UPGRADE_REQUIRED),
        (";AUTH=TLS", CLEAR, SHA256, UPGRADE_REQUIRED), (";AUTH=SSL3", CLEAR, NONE, UPGRADE_REQUIRED),
        (";AUTH=DAA", CLEAR, NONE, UNAUTHORIZED), (";AUTH=DAA", CLEAR, SHA256, OK), (";AUTH=TLS", "upgraded", NONE, OK),
        (";AUTH=TLS", "implicit", NONE, OK), (";AUTH=TLS,DAA", "upgraded", NONE, UNAUTHORIZED),
        (";AUTH=TLS,DAA", "upgraded", SHA256, OK), (";AUTH=KERB", CLEAR, NONE, BAD_REQUEST)])
    @pytest.mark.parametrize("operation", [GET_JOB_ATTRIBUTES, CANCEL_JOB])
    def test_of_jobs(self, gateway, operation, auth_list, channel, auth, wanted):
        """Of a job that was made in clear, and may be asked for so by its own URI."""
        job = Client(gateway).print()
        assert "AUTH" not in job.uri
        assert Client(gateway, channel, auth).ask(by_uri(operation, job.uri + auth_list)).answer == wanted
        is_canceled = (operation, wanted) == (CANCEL_JOB, OK)  # and nothing was done where it was refused
        assert Client(gateway).ask(by_uri(CANCEL_JOB, job.uri)).answer == (ipp.NOT_POSSIBLE if is_canceled else OK)

    @pytest.mark.parametrize("uri, target, odd", [
        (OPEN + ";AUTH=TLS", "/", None), (OPEN + ";AUTH=TLS,SSL3", "/", "auth-list-redundant"),
        (OPEN.replace("ipp:", "ipps:") + ";AUTH=TLS", "/", "auth-list-redundant"), (OPEN, "/;AUTH=TLS,TLS", "auth-token-repeated"),
        (OPEN + "?;AUTH=TLS", "/", "auth-in-query"),
        (OPEN + ";AUTH=TLS,SSL3,TLS", "/", "auth-list-redundant,auth-token-repeated")])
    def test_odd(self, gateway, uri, target, odd):
        """Lists that do not say what somebody may have meant by them are taken, and recorded."""
        with Client(gateway, "implicit").connect() as wire:
            assert wire.ask(request(VALIDATE_JOB, uri), target).code == OK
            assert wire.record(gateway, operation="Validate-Job")["print"].get("odd") == odd

    @pytest.mark.parametrize("scheme", ["ipps", "https"])
    def test_schemes(self, gateway, scheme):
        message = request(VALIDATE_JOB, f"{scheme}://localhost/ipp/open")
        assert Client(gateway).ask(message).answer == UPGRADE_REQUIRED
        assert Client(gateway, "upgraded").ask(message).answer == OK

    BROKEN = ["/ipp/open;AUTH=KERB", "/ipp/open;AUTH=TLS,KERB", "/ipp/open;AUTH=", "/ipp/open;AUTH", "/ipp/open;AUTH=TLS,",
              "/ipp/open;AUTH=TLS,,DAA", "/ipp/open;AUTH=TLS;AUTH=DAA", "/ipp;AUTH=TLS/open", "/ipp/open%3BAUTH=TLS",
              "/ipp%2Fopen", "/ipp/open%00", "/ipp/../ipp/open"]

    @pytest.mark.parametrize("path", BROKEN)
    def test_that_cannot_be_met(self, gateway, path):
        """Somebody relied on it: it is not passed over."""
        with Client(gateway, "implicit").connect() as wire:
            reply = wire.ask(request(VALIDATE_JOB, f"ipp://localhost{path}"))
            assert reply.code == BAD_REQUEST and len(reply.words) > 10
            assert wire.record(gateway, operation="Validate-Job")["error"]
            assert wire.ask(request(VALIDATE_JOB, OPEN), path).status == 400

    @pytest.mark.parametrize("uri", [
        "ipp://u:p@localhost/ipp/open", "ipp://localhost:99999/ipp/open", "ipp:///ipp/open", "ftp://localhost/ipp/open",
        "ipp://localhost;AUTH=TLS", "/ipp/open", "ipp://localhost/ipp/open;AUTH=TLS, DAA"])
    def test_no_uris_of_printers(self, gateway, uri):
        assert Client(gateway).ask(request(VALIDATE_JOB, uri)).code == BAD_REQUEST

    def test_of_another_host(self, gateway):
        assert Client(gateway).ask(request(VALIDATE_JOB, "ipp://printer.example/ipp/open")).code == NOT_FOUND


class TestAgain:
    """What is known of jobs outlives the gateway's processes."""
    NUMBERS = 16  # that a process takes from the book at once

    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "gateway"

    @staticmethod
    def check(own, jobs):
        for job in jobs:
            for channel, auth in itertools.product(CHANNELS, (NONE, SHA256, OTHER)):
                client = Client(own, channel, auth)
                wanted = expected(client, "open", GET_JOB_ATTRIBUTES, job)
                assert client.about(GET_JOB_ATTRIBUTES, job).answer == wanted, (job, channel, auth)

    @staticmethod
    def check_names(own, job):
        """Of a job of Ann's with TLS and her password: who may not, gets at it by none of its names."""
        for operation, how in itertools.product((GET_JOB_ATTRIBUTES, CANCEL_JOB), TestNames.HOW):
            message, path = TestNames.named(how, job, operation)
            for channel, auth, wanted in TestNames.WHO:
                if wanted != OK or operation == GET_JOB_ATTRIBUTES:
                    answer = Client(own, channel, auth).ask(message, path).answer
                    assert answer == wanted, (operation, how, channel, auth)
        for operation, attribute in TestNames.BESIDES:
            message = TestNames.besides(operation, attribute, job)
            for channel, auth in TestNames.STRANGERS:
                assert Client(own, channel, auth).ask(message).code == NOT_FOUND, (operation, channel, auth)
        owner = Client(own, "upgraded", SHA256)
        assert owner.about(GET_JOB_ATTRIBUTES, job).message.get("job-state") == ipp.HELD

    def make(self, own):
        return [make(own, *maker) for maker in MAKERS if maker[3] == "open"]

    def forget_challenges(self, own):
        for key in [k for k in Client.challenges if k[0] == own.dir]:
            del Client.challenges[key]

    def test_restart(self, folder, certificates, cupsd):
        with start(folder, certificates, cupsd) as own:
            jobs = self.make(own)
            self.check(own, jobs)
        self.forget_challenges(own)
        with start(folder, certificates, cupsd, users=()) as again:
            self.check(again, jobs)
            self.check_names(again, jobs[5])
            assert Client(again, "upgraded", SHA256).about(CANCEL_JOB, jobs[5]).code == OK
            assert self.make(again)[0].id > jobs[-1].id  # no number twice

    def test_two_generations(self, folder, certificates, cupsd):
        """A reload with another number of threads makes a second gateway; the first one ends what it has begun."""
        with start(folder, certificates, cupsd) as own:
            jobs, old = self.make(own), own.gateway_pid()
            number = self.NUMBERS * -(-jobs[-1].id // self.NUMBERS) + 1
            body = request(GET_JOB_ATTRIBUTES, OPEN, job_id=number).encode()
            with Client(own).connect() as wire:
                assert wire.ask(request(GET_PRINTER_ATTRIBUTES, OPEN)).code == OK
                wire.send(post(body)[:-1])  # the old one waits for the last octet
                own.config.write_text(own.config.read_text().replace("threads: 2", "threads: 1"))
                own.send_signal(signal.SIGHUP)
                wait.until(lambda: own.gateway_pid() != old, "the second generation", 30)
                self.forget_challenges(own)
                made = Client(own, "upgraded", SHA256).print()
                assert made.id == number
                reply = wire.send(body[-1:]).reply()
                assert (reply.status, reply.get("Connection")) == (UPGRADE_REQUIRED, "close, Upgrade")
            self.check(own, [*jobs, made])

    def test_retention(self, folder, tmp_path, certificates, cupsd):
        """Afterwards the gateway knows nothing of the job, and nobody gets at it."""
        clock = MovedClock(tmp_path / "clock")
        with start(folder, certificates, cupsd, users=("ann",), env=clock.environment) as own:
            client = Client(own, "upgraded", SHA256)
            job = client.print()
            clock.move(6 * 86400)
            self.forget_challenges(own)
            assert client.about(GET_JOB_ATTRIBUTES, job).code == OK
            clock.move(2 * 86400)
            self.forget_challenges(own)
            for operation in (GET_JOB_ATTRIBUTES, CANCEL_JOB):
                reply = client.about(operation, job)
                assert (reply.code, reply.words) == (NOT_FOUND, "there is no such job")
            assert client.print().id > job.id

    def test_printer_that_begins_anew(self, tmp_path, certificates, monkeypatch):
        """Its first job has a number that another one had before it, which is not told as that one."""
        with Cupsd(tmp_path / "first") as first:
            port = first.port
            with start(tmp_path / "gateway", certificates, first, users=("ann", "bob")) as own:
                ann, bob = Client(own, "upgraded", SHA256), Client(own, "upgraded", OTHER)
                old = ann.print()
                assert self.number_at_printer(own, old) == 1
                first.stop()
                monkeypatch.setattr("testenv.cups.free_port", lambda: port)
                with Cupsd(tmp_path / "second"):
                    new = bob.print()
                    assert self.number_at_printer(own, new) == 1
                    assert new.id != old.id
                    for operation in (GET_JOB_ATTRIBUTES, CANCEL_JOB):
                        assert ann.about(operation, old).code == NOT_FOUND
                        assert ann.about(operation, new).code == NOT_AUTHORIZED
                    assert bob.about(CANCEL_JOB, new).code == OK

    @staticmethod
    def number_at_printer(own, job):
        record = own.wait_record(lambda r: r.get("print", {}).get("job") == job.id)
        return record["print"]["printer_job"]
