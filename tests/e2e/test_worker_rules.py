# SPDX-License-Identifier: Apache-2.0
"""The rules that Sallyport brings along, in a worker: what they block, what they note, what they
leave alone."""
import io
import os
import pathlib
import re
import zipfile

import pytest

from testenv.samples import EICAR, portable_executable
from testenv.worker_wire import BLOCK, INFECTED, NONE, PASS, RULES, UNPACK, YARA

ELF = b"\x7fELF\2\1\1".ljust(64, b"\0")
MACHO = b"\xcf\xfa\xed\xfe".ljust(64, b"\0")
SCRIPT = b"#!/bin/sh\necho hello\n"
DOCX = b"application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def archive(*members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, data in members:
            z.writestr(name, data)
    return out.getvalue()


def ole(*words, vba=True):
    """The raw look of a compound file: its head, a directory with UTF-16 names, identifiers, texts."""
    head = bytes.fromhex("d0cf11e0a1b11ae1").ljust(512, b"\0")
    names = ["Root Entry", "WordDocument"] + (["VBA", "_VBA_PROJECT", "PROJECT"] if vba else [])
    directory = b"".join(n.encode("utf-16-le").ljust(128, b"\0") for n in names)
    return head + directory + b"\0\0".join(w.encode() for w in words) + b"\0" * 64


def pdf(*objects, catalog=""):
    parts = [f"1 0 obj\n<< /Type /Catalog /Pages 2 0 R {catalog} >>\nendobj\n",
             "2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n",
             "3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>\nendobj\n"]
    parts += [f"{n} 0 obj\n{o}\nendobj\n" for n, o in enumerate(objects, 4)]
    return b"%PDF-1.7\n" + "".join(parts).encode() + b"trailer << /Root 1 0 R >>\n%%EOF\n"


def multipart(data):
    return (b"--limit\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.com\"\r\n"
            b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n--limit--\r\n")


PDF_JS = "<< /S /JavaScript /JS (app.alert(1)) >>"
MACRO = ["AutoOpen", "ThisDocument"]

# name, type, content, findings that block, findings that are notes
SAMPLES = {
    # -- the test file
    "eicar": ("a.com", "", EICAR, ["EICAR-Test-File"], []),
    "eicar with its newline": ("a.com", "", EICAR + b"\r\n", ["EICAR-Test-File"], []),
    "eicar, all white space": ("a.com", "", EICAR + b" \t\r\n\x1a" * 12, ["EICAR-Test-File"], []),
    "eicar, 129 bytes": ("a.com", "", EICAR.ljust(129), [], ["EICAR-Test-String"]),
    "eicar and more": ("a.txt", "", EICAR + b" is a test", [], ["EICAR-Test-String"]),
    "text about eicar": ("a.txt", "text/plain", b"The string is " + EICAR + b", see eicar.org", [],
                         ["EICAR-Test-String"]),
    "text without the whole string": ("a.txt", "", EICAR[:60], [], []),
    "eicar stored in zip": ("a.zip", "", archive(("a.com", EICAR), method=zipfile.ZIP_STORED),
                            ["EICAR-Test-File.Contained"], []),
    "eicar deflated hides": ("a.zip", "", archive(("a.com", EICAR * 9)), [], []),
    "eicar in ole": ("a.doc", "", ole(EICAR.decode(), vba=False), ["EICAR-Test-File.Contained"], []),
    "eicar in tar": ("a.tar", "", b"a.com".ljust(257, b"\0") + b"ustar\0".ljust(255, b"\0") + EICAR.ljust(512, b"\0"),
                     ["EICAR-Test-File.Contained"], []),
    "eicar uploaded by a form": ("", "multipart/form-data; boundary=limit", multipart(EICAR),
                                 ["EICAR-Test-File", "EICAR-Test-File.Contained"], []),
    "form field that mentions it": ("", "multipart/form-data; boundary=limit", multipart(b"about " + EICAR), [],
                                    ["EICAR-Test-String"]),
    # -- executables in disguise
    "exe as pdf": ("invoice.pdf", "", portable_executable(), ["Executable.Disguised"], []),
    "exe as PDF, capitals": ("INVOICE.PDF", "", portable_executable(), ["Executable.Disguised"], []),
    "exe as picture by type": ("", "image/png", portable_executable(), ["Executable.Disguised"], []),
    "exe as office document by type": ("", DOCX.decode(), portable_executable(), ["Executable.Disguised"], []),
    "elf as text": ("notes.txt", "", ELF, ["Executable.Disguised"], []),
    "mach-o as picture": ("a.jpeg", "", MACHO, ["Executable.Disguised"], []),
    "exe as exe": ("setup.exe", "application/octet-stream", portable_executable(), [], []),
    "exe that a server labels text": ("setup.exe", "text/plain", portable_executable(), [], []),
    "elf without a claim": ("", "application/octet-stream", ELF, [], []),
    "versioned library": ("libz.so.1", "application/octet-stream", ELF, [], []),
    "elf that a server labels text": ("libz.so.1", "text/plain", ELF, [], ["Executable.AsText"]),
    "upload script that labels nothing": ("", "text/html", portable_executable(), [], ["Executable.AsText"]),
    "text that starts with MZ": ("a.txt", "text/plain", b"MZ is how programs begin.\n" * 20, [], []),
    "dot in a folder": ("x.pdf/setup", "application/octet-stream", portable_executable(), [], []),
    "two extensions": ("invoice.pdf      .exe", "", portable_executable(), ["Executable.DeceptiveName"], []),
    "right to left": ("annexe\u202egpj.exe", "", portable_executable(), ["Executable.DeceptiveName"], []),
    "arabic name": ("\u062a\u0642\u0631\u064a\u0631.exe", "", portable_executable(), [], []),
    "script as picture": ("cat.png", "image/png", SCRIPT, ["Script.Disguised"], []),
    "script as text": ("install.txt", "text/plain", SCRIPT, [], ["Script.AsText"]),
    "script as script": ("install.sh", "text/plain", SCRIPT, [], []),
    "script of a package": ("tool.postinst", "text/plain", SCRIPT, [], []),
    "markdown with a shebang inside": ("a.txt", "text/plain", b"Start with\n#!/bin/sh\n", [], []),
    # -- office
    "macro that starts a program": ("a.doc", "", ole(*MACRO, "WScript.Shell"), ["Office.AutoMacro.Program"], []),
    "excel macro that fetches one": ("a.xls", "", ole("Workbook_Open", "URLDownloadToFileA"),
                                     ["Office.AutoMacro.Program"], []),
    "macro on open": ("a.doc", "", ole(*MACRO), [], ["Office.AutoMacro"]),
    "macro on demand": ("a.doc", "", ole("ThisDocument", "FormatTable", "CreateObject"), [], ["Office.Macro"]),
    "document that speaks of macros": ("a.doc", "", ole("The AutoOpen macro runs WScript.Shell", vba=False), [], []),
    "text that speaks of macros": ("a.txt", "", b"_VBA_PROJECT AutoOpen WScript.Shell", [], []),
    "docm": ("a.docm", "", archive(("word/document.xml", "<a/>"), ("word/vbaProject.bin", ole(*MACRO))), [],
             ["Office.Macro"]),
    "docm, stored": ("a.docm", "", archive(("word/vbaProject.bin", ole(*MACRO, "powershell")),
                                           method=zipfile.ZIP_STORED), ["Office.AutoMacro.Program"], []),
    "macro in docx": ("a.docx", "", archive(("word/vbaProject.bin", ole(*MACRO))), ["Office.HiddenMacro"], []),
    "macro in xlsx by type": ("", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
                              archive(("xl/vbaProject.bin", ole())), ["Office.HiddenMacro"], []),
    "docx": ("a.docx", DOCX.decode(), archive(("word/document.xml", "<w>vbaProject.bin, AutoOpen</w>")), [], []),
    # -- pdf
    "plain pdf": ("a.pdf", "application/pdf", pdf(), [], []),
    "launch": ("a.pdf", "", pdf("<< /S /Launch /Win << /F (cmd.exe) >> >>", catalog="/OpenAction 4 0 R"),
               ["PDF.Launch"], []),
    "launch without spaces": ("a.pdf", "", pdf("<</Type/Action/S/Launch/F(calc.exe)>>"), ["PDF.Launch"], []),
    "launch in hexadecimal": ("a.pdf", "", pdf("<< /S /L#61unch /F (a) >>"), ["PDF.HiddenNames"], []),
    "launch all in hexadecimal": ("a.pdf", "", pdf("<< /S /#4c#61#75#6e#63#68 /F (a) >>"), ["PDF.HiddenNames"], []),
    "javascript on open": ("a.pdf", "", pdf(PDF_JS, catalog="/OpenAction 4 0 R"), ["PDF.AutoJavaScript"], []),
    "javascript on open, inline": ("a.pdf", "", pdf(catalog=f"/OpenAction {PDF_JS}"), ["PDF.AutoJavaScript"], []),
    "javascript in hexadecimal": ("a.pdf", "", pdf("<< /S /JavaScr#69pt /JS (x) >>", catalog="/OpenAction 4 0 R"),
                                  ["PDF.HiddenNames"], ["PDF.JavaScript"]),
    "js in hexadecimal": ("a.pdf", "", pdf("<< /S /JavaScript /#4aS (x) >>"), ["PDF.HiddenNames"], ["PDF.JavaScript"]),
    "form that checks a field": ("a.pdf", "", pdf(f"<< /FT /Tx /AA << /K {PDF_JS} >> >>"), [], ["PDF.JavaScript"]),
    "opens at a page, has a button": ("a.pdf", "", pdf(PDF_JS, catalog="/OpenAction [3 0 R /Fit]"), [],
                                      ["PDF.JavaScript"]),
    "opens at a page by reference": ("a.pdf", "", pdf("[3 0 R /Fit]", catalog="/OpenAction 4 0 R"), [], []),
    "page that speaks of it": ("a.pdf", "", pdf("<< /Length 70 >>\nstream\nBT (use /JavaScript in /OpenAction, or "
                                               "/Launch, to harm) Tj ET\nendstream"), [], []),
    "names with escaped spaces": ("a.pdf", "", pdf("<< /Type /Font /BaseFont /Java#20Sans#20Launch >>"), [], []),
    "text that quotes a pdf": ("a.txt", "text/plain", b" " * 2000 + pdf(PDF_JS, catalog="/OpenAction 4 0 R"), [], []),
}


class TestRules:
    @pytest.mark.parametrize("label", SAMPLES)
    def test_sample(self, worker, label):
        name, kind, data, blocking, notes = SAMPLES[label]
        result = worker.scan(data, name.encode(), kind.encode(), engines=YARA | UNPACK)
        assert (sorted(result.blocking), result.notes) == (sorted(blocking), notes)
        assert (result.verdict, result.cause) == ((BLOCK, INFECTED) if blocking else (PASS, NONE))

    def test_rule_file_is_not_flagged_itself(self, worker):
        for path in (RULES, pathlib.Path(__file__)):
            assert worker.scan(path.read_bytes(), path.name.encode()).findings == []

    def test_every_rule_says_what_and_why(self):
        rules = re.findall(r"^rule (\w+)\n\{(.*?)^\}", RULES.read_text(), re.M | re.S)
        assert len(rules) > 10
        for name, body in rules:
            for key in ("threat", "description", "reference"):
                assert f"        {key} = " in body, f"{name} has no {key}"

    def test_programs_of_this_machine_are_not_flagged(self, worker):
        for path in sorted(pathlib.Path("/usr/bin").iterdir())[:200]:
            if path.is_file() and os.access(path, os.R_OK):
                result = worker.scan(path.read_bytes(), path.name.encode(), b"application/octet-stream")
                assert result.blocking == [], path
