#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Asks a printer of your own (cupsd, ippeveprinter) and writes what it answers, octet by octet: README.md.

    capture.py URI FOLDER PREFIX     URI: http://127.0.0.1:PORT/PATH; FOLDER/PREFIX-NAME are written
"""
import http.client
import pathlib
import struct
import sys
import time
import urllib.parse

INTEGER, NAME, KEYWORD, URI, CHARSET, LANGUAGE, MIME = 0x21, 0x42, 0x44, 0x45, 0x47, 0x48, 0x49
BUSY = b"\x05\x07"


def attribute(tag, name, *values):
    """One attribute of RFC 8010 3.1.4."""
    out = b""
    for value in values:
        octets = struct.pack(">i", value) if isinstance(value, int) else value.encode()
        out += struct.pack(">BH", tag, len(name)) + name.encode() + struct.pack(">H", len(octets)) + octets
        name = ""
    return out


class Printer:
    """One that is asked."""

    def __init__(self, uri, folder, prefix):
        url = urllib.parse.urlsplit(uri)
        self.host, self.path = url.netloc, url.path
        self.uri = uri.replace("http:", "ipp:", 1)
        self.begin = pathlib.Path(folder) / prefix

    def ask(self, operation, *attributes, groups=b"", document=b"", keep=None, user="ann"):
        """The answer; kept in a file when it has a name."""
        message = struct.pack(">BBHI", 2, 0, operation, 1) + b"\1" + attribute(
            CHARSET, "attributes-charset", "utf-8") + attribute(
            LANGUAGE, "attributes-natural-language", "en") + attribute(
            URI, "printer-uri", self.uri) + attribute(NAME, "requesting-user-name", user)
        message += b"".join(attributes) + groups + b"\3" + document
        connection = http.client.HTTPConnection(self.host, timeout=10)
        connection.request("POST", self.path, message, {"Content-Type": "application/ipp"})
        answer = connection.getresponse().read()
        connection.close()
        print(f"{operation:04x} {keep or '-'}: {answer[2:4].hex()}, {len(answer)} octets")
        if keep:
            pathlib.Path(f"{self.begin}-{keep}").write_bytes(answer)
        return answer

    def print_job(self, user, name, keep=None):
        """The number of the job. ippeveprinter takes one at a time."""
        for _ in range(30):
            answer = self.ask(0x0002, attribute(NAME, "job-name", name), attribute(
                MIME, "document-format", "text/plain"), document=b"A letter.\n", keep=keep, user=user)
            if answer[2:4] != BUSY:
                break
            time.sleep(1)
        at = answer.index(b"\x21\0\6job-id\0\4") + 11
        return struct.unpack(">i", answer[at:at + 4])[0]


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    printer = Printer(*sys.argv[1:])
    printer.ask(0x000b, attribute(KEYWORD, "requested-attributes", "printer-description"), keep="printer")
    printer.ask(0x000b, attribute(KEYWORD, "requested-attributes", "printer-uri-supported", "no-such-attribute"),
                keep="unsupported")
    subscription = printer.ask(0x0016, groups=b"\6" + attribute(KEYWORD, "notify-pull-method", "ippget") + attribute(
        KEYWORD, "notify-events", "job-state-changed", "printer-state-changed"))
    job = printer.print_job("ann", "ann's letter", keep="print-job")
    printer.print_job("bob", "bob's secret")
    of_job = attribute(INTEGER, "job-id", job)
    printer.ask(0x0009, of_job, keep="job")
    printer.ask(0x0009, of_job, attribute(KEYWORD, "requested-attributes", "job-state", "job-uri"), keep="job-state")
    printer.ask(0x000a, attribute(KEYWORD, "which-jobs", "all"), keep="jobs")
    printer.ask(0x000a, attribute(KEYWORD, "which-jobs", "all"), attribute(
        KEYWORD, "requested-attributes", "job-name", "job-originating-user-name"), keep="job-names")
    if subscription[2:4] == b"\0\0":
        at = subscription.index(b"notify-subscription-id\0\4") + 24
        printer.ask(0x001c, attribute(INTEGER, "notify-subscription-ids",
                                      *struct.unpack(">i", subscription[at:at + 4])), keep="events")
        printer.ask(0x0019, keep="subscriptions")


if __name__ == "__main__":
    main()
