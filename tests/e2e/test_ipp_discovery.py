# SPDX-License-Identifier: Apache-2.0
"""What is announced of printers by DNS-SD (`sallyport printers --txt`): for each state of a listener, and for all that
a printer may require, just the ways by which one gets to it, and what one is asked for there."""
import pytest

from testenv import ipp
from testenv.fake_printer import FakePrinter
from testenv.print_wire import Wire
from testenv.printing import PrintGateway, printer

FORMATS = ("application/octet-stream", "application/pdf", "image/jpeg", "text/plain")
UUID = "8e2c5a4e-0000-4000-8000-0123456789ab"
TELLS = [("printer-make-and-model", ipp.TEXT, "Fake 9000"), ("printer-location", ipp.TEXT, "Cellar\r\nair=none"),
         ("document-format-supported", ipp.MIME, *FORMATS), ("color-supported", ipp.BOOLEAN, True),
         ("sides-supported", ipp.KEYWORD, "one-sided", "two-sided-long-edge"),
         ("urf-supported", ipp.KEYWORD, "V1.4", "W8"), ("printer-kind", ipp.KEYWORD, "document", "photo"),
         ("media-supported", ipp.KEYWORD, "na_letter_8.5x11in", "iso_a3_297x420mm", "iso_a6_105x148mm"),
         ("mopria-certified", ipp.TEXT, "1.3"),
         ("printer-uuid", ipp.URI, f"urn:uuid:{UUID}"), ("printer-type", ipp.ENUM, 4),
         ("device-uri", ipp.URI, "socket://10.1.2.3/"), ("printer-more-info", ipp.URI, "http://10.1.2.3/")]
# Rows of the printer; does it need TLS; what one is asked for.
REQUIRES = {
    "none": ({"require": "[]"}, False, "none"),
    "tls": ({"require": "[tls]"}, True, "none"),
    "tls-digest": ({"require": "[tls, digest]"}, True, "username,password"),
    "digest": ({"require": "[digest]"}, False, "username,password"),
    "certificate": ({"require": "[certificate]"}, True, "certificate"),
    "basic": ({"require": "[tls]", "basic": "true"}, True, "none"),  # nobody is asked for anything
    "basic-allow": ({"require": "[tls]", "basic": "true", "allow": "['user:ann']"}, True, "username,password"),
    "allow": ({"require": "[]", "allow": "['user:ann']"}, False, "username,password"),
    "nothing": ({"require": "[]", "anonymous": "nothing"}, False, "username,password"),
    "picky": ({"require": "[]", "formats": "[application/pdf, 'image/*', application/octet-stream]"}, False, "none"),
}


class State:
    """Of the first listener, and of more. |clear|, |secure|: the listener by which one comes so, or None; |upgrades|:
    what begins in clear text may become TLS."""

    def __init__(self, clear, secure, upgrades, ports=(), **options):
        self.clear, self.secure, self.upgrades, self.ports, self.options = clear, secure, upgrades, ports, options

    def port(self, gateway, kind):
        listener = self.clear if kind == "_ipp._tcp" else self.secure
        return dict(self.ports).get(kind) or gateway.address(listener)[1]


SECOND = '  - {name: second, protocol: ipp, address: "127.0.0.1:0", tls: print, tls-begins: at-once}\n'
STATES = {
    "no tls": State("print", None, False, bare=True),
    "sniff": State("print", "print", True),
    "at-once": State(None, "print", False, listener=", tls-begins: at-once"),
    "by-upgrade": State("print", None, True, listener=", tls-begins: by-upgrade"),
    "any": State("print", "print", True, listener=", upgrade: any"),
    "no upgrade": State("print", "print", False, listener=", upgrade: off"),
    "two": State("print", "second", False, bare=True, listeners=SECOND),
    "ports of others": State("print", "second", True, ports=(("_ipp._tcp", 631), ("_ipps._tcp", 443)),
                             listener=", tls-begins: by-upgrade", listeners=SECOND,
                             ipp="ipp: {port: 631, secure-port: 443}\n"),
}


@pytest.fixture(scope="module")
def backend():
    with FakePrinter(TELLS) as fake:
        yield fake


@pytest.fixture(scope="module", params=STATES)
def running(request, tmp_path_factory, certificates, backend):
    """(a gateway, the state of its listeners)"""
    state = STATES[request.param]
    printers = [printer(name, backend.uri(), pipeline="[]", **rows) for name, (rows, _, _) in REQUIRES.items()]
    with PrintGateway(tmp_path_factory.mktemp("gateway"), certificates, printers,
                      tls=f", client-ca: {certificates.ca}, verify-client: request",
                      more="tenants:\n  - {name: acme, certificates: ['dns:client.acme.test']}\n", **state.options) as gateway:
        yield gateway, state


def announced(gateway, name):
    """Service type -> port, and the TXT record as a dictionary; comments are left out."""
    done = gateway.command_line("printers", name, "--txt", "--state", gateway.state)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    services = dict(line.split(" ") for line in lines if line.startswith("_"))
    strings = lines[len(services):]
    assert strings[0] == "txtvers=1" and all("=" in s and len(s.encode()) <= 255 for s in strings), strings
    txt = dict(s.split("=", 1) for s in strings)
    assert len(txt) == len(strings)
    return {kind: int(port) for kind, port in services.items()}, txt


def question(name):
    return ipp.request(ipp.GET_PRINTER_ATTRIBUTES, f"ipp://localhost/ipp/{name}")


def ways_in(state, needs_tls):
    """(service type, listener, way of Wire) of those that are announced."""
    ways = [("_ipps._tcp", state.secure, "implicit")] if state.secure else []
    if state.clear and (state.upgrades or not needs_tls):
        ways.append(("_ipp._tcp", state.clear, "upgraded" if needs_tls else "clear"))
    return ways


@pytest.mark.parametrize("name", REQUIRES)
class TestAnnounced:
    def test_txt(self, running, name):
        gateway, state = running
        _, needs_tls, air = REQUIRES[name]
        services, txt = announced(gateway, name)
        ways = ways_in(state, needs_tls)
        assert services == {kind: state.port(gateway, kind) for kind, _, _ in ways}
        tls = any(kind == "_ipps._tcp" or state.upgrades for kind, _, _ in ways)
        assert txt.get("TLS") == ("1.3" if tls else None)
        if tls or not needs_tls:  # else nobody gets to it
            assert txt["air"] == air
        assert (txt["rp"], txt["qtotal"], txt["priority"]) == (f"ipp/{name}", "1", "0")

    def test_of_the_printer(self, running, backend, name):
        """What it says of itself, as far as it is let through, and nothing of where it is."""
        gateway, _ = running
        _, txt = announced(gateway, name)
        formats = FORMATS[1:3] if name == "picky" else FORMATS[1:]
        assert (txt["ty"], txt["note"], txt["pdl"]) == ("Fake 9000", "Cellar  air=none", ",".join(formats))
        assert (txt["Color"], txt["Duplex"], txt["URF"], txt["kind"]) == ("T", "T", "V1.4,W8", "document,photo")
        assert (txt["product"], txt["PaperMax"], txt["mopria-certified"]) == ("(Fake 9000)", "tabloid-A3", "1.3")
        assert txt["UUID"] != UUID
        assert not {"printer-type", "printer-state", "adminurl"} & set(txt)
        said = " ".join(txt.values())
        assert str(backend.port) not in said and "10.1.2.3" not in said and "AUTH" not in said

    def test_ways(self, running, name):
        """Each way that is announced leads to the printer, which tells of the same ways; no other one does."""
        gateway, state = running
        _, needs_tls, air = REQUIRES[name]
        ways, (_, txt) = ways_in(state, needs_tls), announced(gateway, name)
        for kind, listener, way in ways:
            with Wire(gateway.address(listener), way) as wire:
                reply = wire.ask(question(name), f"/ipp/{name}")
                if name == "nothing":
                    assert way == "implicit" or reply.status == 401
                    continue
                assert reply.code == ipp.OK, (kind, reply)
            told = reply.message
            assert told.get("printer-uuid") == f"urn:uuid:{txt['UUID']}"
            uris = told.all("printer-uri-supported")
            assert [uri.split(":")[0] for uri in uris] == [k[1:].split(".")[0] for k, _, _ in ways]
            if air == "username,password":
                assert {"basic", "digest"} & set(told.all("uri-authentication-supported"))
            else:
                assert set(told.all("uri-authentication-supported")) == {
                    "certificate" if air == "certificate" else "requesting-user-name"}
        if state.clear and "_ipp._tcp" not in [kind for kind, _, _ in ways]:
            with Wire(gateway.address(state.clear)) as wire:
                assert wire.ask(question(name), f"/ipp/{name}").status == 403


def test_reached_nowhere(tmp_path, certificates, backend):
    """A printer to which no listener leads is not announced, and operators are told."""
    with PrintGateway(tmp_path, certificates, [printer("acct", backend.uri(), require="[tls]")], bare=True) as gateway:
        services, _ = announced(gateway, "acct")
        assert services == {}
        done = gateway.command_line("printers", "--state", gateway.state)
        assert "reached   nowhere: no listener offers the TLS that it requires" in done.stdout, done.stdout
