"""What a user installs: the wheel holds every module, the configuration data and the pages; the locks agree with pyproject.toml."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)", re.M)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("wattgate-*.whl")
    return ZipFile(built)


def files_under(folder: str) -> set[str]:
    found = (p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.relative_to(ROOT).as_posix() for p in found}


@pytest.mark.parametrize("package", ["gateway", "protocols", "firmware_sim"])
def test_the_wheel_holds_every_file_of_the_package(wheel: ZipFile, package: str) -> None:
    expected = files_under(package)
    assert f"{package}/__init__.py" in expected
    assert expected <= set(wheel.namelist())


def test_the_wheel_holds_the_pages(wheel: ZipFile) -> None:
    assert any(name.startswith("gateway/web/") and name.endswith(".html") for name in wheel.namelist())


def test_the_wheel_holds_the_configuration_data(wheel: ZipFile) -> None:
    expected = {f"gateway/{name}" for name in files_under("config")}
    assert any(name.startswith("gateway/config/meters/") and name.endswith(".toml") for name in expected)
    assert expected <= set(wheel.namelist())


def test_the_wheel_holds_nothing_else(wheel: ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"gateway", "protocols", "firmware_sim"}


def test_the_command_is_wattgate(wheel: ZipFile) -> None:
    (entry,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    assert "wattgate = gateway.__main__:main" in wheel.read(entry).decode()


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        (
            "requirements.lock",
            PYPROJECT["project"]["dependencies"]
            + PYPROJECT["project"]["optional-dependencies"]["postgres"]
            + PYPROJECT["dependency-groups"]["build"],
        ),
        ("requirements-dev.lock", PYPROJECT["dependency-groups"]["dev"]),
    ],
)
def test_the_lock_pins_what_pyproject_asks_for(lock: str, wanted: list[str]) -> None:
    text = (ROOT / lock).read_text()
    pins = dict(PIN.findall(text))
    asked = {name: version for w in wanted for name, version in PIN.findall(re.sub(r"\[.*?\]", "", w))}
    assert len(asked) == len(wanted), "every requirement is pinned with == and in lower case"
    assert asked.items() <= pins.items(), "run `make lock`"
    assert all("--hash=sha256:" in entry for entry in re.split(PIN.pattern, text, flags=re.M)[3::3]), "a pin without a hash"
    assert "://" not in text


def test_the_dockerfile_copies_what_exists_and_is_not_ignored() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M) for name in line.split()]
    assert "requirements.lock" in copied
    allowed = (ROOT / ".dockerignore").read_text().split()
    assert [name for name in copied if not (ROOT / name).exists() or f"!{name}" not in allowed] == []
