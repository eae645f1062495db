# SPDX-License-Identifier: Apache-2.0
"""What the documents show can be used as it stands: every block of YAML in them, the examples and the
manual page's are configurations that `sallyport check` takes."""
import pathlib
import re
import shutil
import textwrap

import pytest

from testenv import build_dir
from testenv.sallyport import run_command

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = [*sorted((ROOT / "examples").glob("*.yaml")), ROOT / "examples" / "kubernetes" / "sallyport.yaml"]
ETC = "/etc/sallyport"

# A block may leave out what it is not about.
LISTENERS = 'listeners: [{name: test, address: "127.0.0.1:0"}]\n'
SERVICES = "services: [{name: test, type: echo, path: /test}]\n"
# Keys of a service that are shown without it.
OF_A_SERVICE = ("rules", "slow", "types", "on")
SERVICE = "services:\n  - name: test\n    type: inspect\n    path: /test\n    pipeline: [yara, filetype]\n"


def yaml_blocks(path):
    """(line, text) of each ```yaml block."""
    text = path.read_text()
    for match in re.finditer(r"^```yaml\n(.*?)^```$", text, re.M | re.S):
        yield text.count("\n", 0, match.start()) + 2, match.group(1)


def manual_blocks():
    text = (ROOT / "docs/man/sallyport.yaml.5.in").read_text()
    for match in re.finditer(r"^\.Bd -literal -offset indent\n(.*?)^\.Ed$", text, re.M | re.S):
        yield match.group(1).replace("\\e", "\\")


def complete(text):
    """|text| with what it leaves out."""
    keys = re.findall(r"^([a-z-]+):", text, re.M)
    if keys[0] in OF_A_SERVICE:
        text, keys = SERVICE + textwrap.indent(text, "    "), ["services"]
    return (text + ("" if "listeners" in keys else LISTENERS) + ("" if "services" in keys else SERVICES))


class Checker:
    """`sallyport check` with a folder in place of /etc/sallyport, in which there is everything that a
    document may name."""

    def __init__(self, folder, certificates):
        self.dir = folder
        certificate, key = certificates.server
        shutil.copy(certificate, folder / "gateway.pem")
        for name in ("clients.pem", "printers.pem"):
            shutil.copy(certificates.ca, folder / name)
        shutil.copy(key, folder / "gateway.key")
        shutil.copy(certificate, folder / "customers.pem")
        shutil.copy(key, folder / "customers.key")
        certificates.crl(folder / "clients.crl")
        (folder / "tickets").write_bytes(bytes(32))
        (folder / "tickets").chmod(0o600)
        (folder / "tls").mkdir()
        for source, name in ((certificate, "tls-server-cert"), (key, "tls-server-key"), (certificates.ca, "tls-cafile")):
            shutil.copy(source, folder / "tls" / name)
        shutil.copytree(ROOT / "examples" / "lists", folder / "lists")
        shutil.copytree(ROOT / "share" / "rules", folder / "rules")

    def _make(self, text):
        for name in re.findall(rf"{ETC}/(lists/[\w.-]+)", text):
            path = self.dir / name
            if not path.exists():
                path.write_text("host.example\n")
        for name in re.findall(rf"{ETC}/(rules/[\w.-]+)", text):
            path = self.dir / name
            if not path.exists():
                path.write_text("rule fine { condition: false }\n")

    def check(self, text):
        self._make(text)
        # The user sallyport is made by the package.
        text = re.sub(r"^user: .*\n", "", text.replace(ETC, str(self.dir)), flags=re.M)
        path = self.dir / "test.yaml"
        path.write_text(text)
        return run_command(build_dir(), "check", "-c", path)


@pytest.fixture(scope="module")
def checker(tmp_path_factory, certificates):
    return Checker(tmp_path_factory.mktemp("etc"), certificates)


BLOCKS = [pytest.param(text, id=f"{path.relative_to(ROOT)}:{line}")
          for path in DOCUMENTS for line, text in yaml_blocks(path)]


@pytest.mark.parametrize("text", BLOCKS)
def test_block(checker, text):
    done = checker.check(complete(text))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_example(checker, path):
    """Also without a warning: an example is what people begin with."""
    done = checker.check(path.read_text())
    assert (done.returncode, done.stderr) == (0, "")


def test_manual_page(checker):
    blocks = list(manual_blocks())
    assert blocks
    for text in blocks:
        done = checker.check(text)
        assert done.returncode == 0, done.stderr


def test_a_mistake_is_found(checker):
    """The test above can fail."""
    done = checker.check(complete("rules:\n  - {name: x, then: allow, hots: [host.example]}\n"))
    assert done.returncode == 2
    assert "hots" in done.stderr
