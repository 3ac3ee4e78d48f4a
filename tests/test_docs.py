"""The documents are true: their diagrams come from the tables, their examples run, the commands that they name exist.

And the page has words for every event, as the documents have a line for every profile.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from gateway.cli.answers import Failure
from gateway.cli.app import app
from gateway.domain.events import EventKind
from gateway.domain.slots import BACK_MS, DAY_MS
from gateway.entrypoints.guests import MAX_GUESTS
from gateway.services.open_slots import MOST_REQUESTED
from gateway.services.plan import MAX_ON_DEMAND
from tests.diagrams import diagrams
from tests.gateway.bootstrap.certificates import authority, vouched

ROOT = Path(__file__).parents[1]
WATTGATE = Path(sys.executable).parent / "wattgate"
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.M | re.S)
SHELL = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
TOML = re.compile(r"^```toml\n(.*?)^```", re.M | re.S)
TARIFF_FILE = re.compile(r"currency = ")  # a block that begins so is a file of its own, not part of a configuration
COMMENTED = re.compile(r"^# (?=\[|[a-z_0-9]+ = )", re.M)


def blocks() -> list[tuple[str, str]]:
    """(where, text) of every console block in the documents."""
    found = []
    for name in DOCUMENTS:
        for n, text in enumerate(CONSOLE.findall((ROOT / name).read_text()), 1):
            found.append((f"{name} block {n}", text))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which the examples' relative paths are right."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "wattgate").symlink_to(WATTGATE)
    return tmp_path


@pytest.mark.parametrize(("where", "text"), blocks(), ids=[where for where, _ in blocks()])
def test_every_console_block_gives_what_it_shows(where: str, text: str, folder: Path) -> None:
    """`$ ` begins a command, the lines after it are its output; ... stands for anything. Blocks run line by line in one folder."""
    for step in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, shown = step.partition("\n")
        run = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env={"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        pattern = ".*?".join(re.escape(part) for part in shown.strip().split("..."))
        assert re.fullmatch(pattern, (run.stdout + run.stderr).strip(), re.S), f"{where}: {command}\n{run.stdout}{run.stderr}"


def test_the_diagrams_are_drawn_from_the_tables() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for diagram in diagrams():
        assert diagram in text, f"python -m tests.diagrams prints:\n{diagram}"


def test_the_documents_name_only_what_there_is() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for name in DOCUMENTS:
        text = (ROOT / name).read_text()
        for target in re.findall(r"`make (\w+)", text):
            assert re.search(rf"^{target}:", makefile, re.M), f"{name} names make {target}"
        for path in re.findall(r"\]\(([^)#:]+)\)", text):
            assert path.startswith("https:") or ((ROOT / name).parent / path).exists(), f"{name} links to {path}"


def shell_lines() -> list[tuple[str, str]]:
    """(document, command) of every use of wattgate in a block of shell."""
    found = []
    for name in DOCUMENTS:
        lines = "\n".join(SHELL.findall((ROOT / name).read_text())).splitlines()
        found += [(name, line) for line in lines if "wattgate " in line]
    return found


@pytest.mark.parametrize(("where", "line"), shell_lines(), ids=[line for _, line in shell_lines()])
def test_every_shell_line_is_understood_by_its_verb(where: str, line: str) -> None:
    """Verb, arguments and options are parsed, not run."""
    words = shlex.split(line, comments=True)
    words = words[next(n for n, word in enumerate(words) if word.endswith("wattgate")) + 1 :]
    command = get_command(app)
    while isinstance(command, TyperGroup):
        name = words.pop(0)
        assert name in command.commands, f"{where}: {line}: there is no verb {name}"
        command = command.commands[name]
    if "--help" not in words:
        command.make_context("wattgate", words)


def ran(*words: str) -> tuple[int, str]:
    """How a verb ends, and what it says; in this process, which is quicker than one of its own."""
    result = CliRunner().invoke(app, words)
    if isinstance(result.exception, Failure):
        return result.exception.code, "\n".join(result.exception.sentences)
    return result.exit_code, result.output


RFC_8410_KEY = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""
"""Its section 10.1."""


def checked(folder: Path, text: str) -> tuple[int, str]:
    """What `wattgate check` says of this configuration."""
    told = {"passwords.toml": "", "crypto.token": "a-token-of-some-length", "sms.url": "json://127.0.0.1/{to}"}
    for secret, text_ in (told | {"icbc-mac.key": "0123456789abcdeffedcba9876543210", "north.pem": RFC_8410_KEY}).items():
        (folder / secret).touch(mode=0o600)
        (folder / secret).write_text(text_)
    (folder / "passwords.toml").write_text('[control]\npassword = "000000"\n[north-1]\npassword = "123456"\n')
    if 'cert = "G1.crt"' in text:
        [name] = re.findall(r'^\[gateway\]\nid = "(.*?)"', text, re.M)
        vouched(folder, name, authority(folder))
        for made, named in (("ca.pem", "ca.crt"), (f"{name}.pem", "G1.crt"), (f"{name}.key", "G1.key")):
            (folder / made).replace(folder / named)
    if 'certificate = "bank.crt"' in text:
        vouched(folder, "bank", authority(folder))
        for made, named in (("ca.pem", "banks.crt"), ("bank.pem", "bank.crt")):
            (folder / made).replace(folder / named)
    (folder / "gateway.toml").write_text(text)
    return ran("check", "-c", str(folder / "gateway.toml"))


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if TOML.search((ROOT / name).read_text())])
def test_the_toml_of_a_document_is_one_good_configuration(name: str, tmp_path: Path) -> None:
    blocks = TOML.findall((ROOT / name).read_text())
    tariffs = [block for block in blocks if TARIFF_FILE.match(block)]
    code, said = checked(tmp_path, "\n".join(('[gateway]\nid = "docs"', *(block for block in blocks if block not in tariffs))))
    assert code == 0, f"{name}: {said}"
    for number, block in enumerate(tariffs):
        file = tmp_path / f"tariff-{number}.toml"
        file.write_text(block)
        code, said = ran("tariffs", "check", str(file))
        assert code == 0, f"{name}: {said}"


def test_what_the_example_only_mentions_is_good_too(tmp_path: Path) -> None:
    text, count = COMMENTED.subn("", (ROOT / "config" / "examples" / "gateway.toml").read_text())
    assert count > 30
    code, said = checked(tmp_path, text)
    assert code == 0, said
    assert checked(tmp_path, text.replace("latency_ms", "latencyms"))[0] == 1, "what is wrong would not be seen"


def test_the_table_of_meters_names_every_profile() -> None:
    table = (ROOT / "README.md").read_text().partition("| profile |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines() for name in re.findall(r"`([a-z0-9-]+)`", row.split(" | ")[0])]
    assert sorted(named) == sorted(path.stem for path in (ROOT / "config" / "meters").glob("*.toml"))


def test_the_bounds_that_are_told_are_those_that_hold() -> None:
    readme, collection = (ROOT / "README.md").read_text(), (ROOT / "docs" / "collection.md").read_text()
    asked = f"{MOST_REQUESTED:,} values of the past in one request"
    assert f"- {MAX_GUESTS} guests wait for a line, {MAX_ON_DEMAND} reads on demand, {asked};" in readme
    assert f"most {MOST_REQUESTED:,} at once" in collection
    assert {ms // DAY_MS for ms in BACK_MS.values()} == {0, 3, 31}, "the documents say: three days, the last month's end"


def test_the_page_has_words_for_every_event() -> None:
    told = re.findall(r"^  (\w+): \[", (ROOT / "gateway" / "web" / "words.js").read_text(), re.M)
    assert sorted(told) == sorted(EventKind)


@pytest.mark.parametrize(
    "verb",
    [
        "demo",
        "run",
        "check",
        "sim",
        "central",
        "decode",
        "topup",
        "cut",
        "restore",
        "protect",
        "unprotect",
        "lines",
        "reload",
        "ledger verify",
        "read",
        "scan",
        "doctor",
        "capture",
        "replay",
        "bench meter",
    ],
)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    code, said = ran(*shlex.split(verb), "--help")
    assert code == 0
    assert f"wattgate {verb}" in said.replace("\n", " ") and "Example:" in said
