"""Mutation testing: does a test notice when a line of the money's code is changed? mutmut changes, our tests judge.

usage: python -m tests.mutants [--children N] [--in FOLDER] [--write] [AREA or MODULE...]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from tests.mutants.areas import AREAS, Area
from tests.mutants.report import LEAST_PERCENT, Result, Survivor, explanations, table, write

ROOT = Path(__file__).parents[2]
COPIED = ("gateway", "protocols", "tests")
TEST_S = 20
"""What one test may take, several times what it does on a busy machine: a mutant that never ends is noticed by that."""
KILLED = {1, 3}
TIMED_OUT = {24, 36, 152, 255, -24}
"""mutmut's exit codes of a mutant: pytest failed or broke; the processor time or the wall time was up."""


def main(words: list[str]) -> int:
    known = {Path(module).stem: (name, module) for name, area in AREAS.items() for module in area.modules}
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--children", type=int, default=1, help="mutants tried at once (default: 1)")
    parser.add_argument("--in", dest="folder", type=Path, help="work there, keep it: a later run tries what is new or lives")
    parser.add_argument("--write", action="store_true", help="put the score and the survivors into tests/MUTANTS.md (all modules)")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join([*AREAS, *known])} (default: all)")
    asked = parser.parse_args(words)
    if unknown := set(asked.names) - AREAS.keys() - known.keys():
        parser.error(f"nothing is called {', '.join(sorted(unknown))}")
    if asked.write and asked.names:
        parser.error("tests/MUTANTS.md is written for all modules together")
    results: list[Result] = []
    for name, area in AREAS.items():
        modules = [m for m in area.modules if not asked.names or name in asked.names or Path(m).stem in asked.names]
        if modules:
            with _folder(asked.folder, name) as folder:
                results += _run(folder, area, modules, asked.children)
    print(table(results))
    why = explanations()
    for survivor in (each for result in results for each in result.survivors if each.change not in why):
        print(f"not explained: {survivor.name}\n{survivor.change}")
    if asked.write:
        write(results, why)
    return 0 if all(result.percent >= LEAST_PERCENT for result in results) else 1


@contextlib.contextmanager
def _folder(kept: Path | None, name: str) -> Iterator[Path]:
    if kept is None:
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            yield Path(folder)
    else:
        yield kept.resolve() / name


def _run(folder: Path, area: Area, modules: Sequence[str], children: int) -> list[Result]:
    """Mutates a copy. What lived in an earlier run there, unexplained, is tried again, as the tests may have changed."""
    for name in COPIED:
        _copy(ROOT / name, folder / name)
    shutil.copy2(ROOT / "pyproject.toml", folder)
    (folder / "setup.cfg").write_text(_settings(area))
    mutmut = [str(Path(sys.executable).parent / "mutmut"), "run", "--max-children", str(children)]
    if len(modules) < len(area.modules):
        subprocess.run(
            [*mutmut, *(module.removesuffix(".py").replace("/", ".") + ".*" for module in modules)], cwd=folder, check=True
        )
    else:
        why = explanations()
        lived = [each.name for module in modules for each in _lived(folder, module, {0}) if each.change not in why]
        subprocess.run(mutmut, cwd=folder, check=True)
        if lived:
            subprocess.run([*mutmut, *lived], cwd=folder, check=True)
    return [_result(folder, module) for module in modules]


def _copy(source: Path, target: Path) -> None:
    """What is as it was keeps its time, by which mutmut knows what it need not mutate anew."""
    wanted = {path.relative_to(source) for path in source.rglob("*.*") if path.is_file() and path.suffix != ".pyc"}
    for path in {path.relative_to(target) for path in target.rglob("*.*") if path.is_file()} - wanted:
        (target / path).unlink()
    for path in wanted:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        if not (target / path).exists() or (source / path).read_bytes() != (target / path).read_bytes():
            shutil.copyfile(source / path, target / path)


def _settings(area: Area) -> str:
    """mutmut's settings. A fork server that has collected the tests but run none, lest a mutant inherits what they worked out."""
    options = ["-p", "tests.mutants.plugin", "-p", "no:cacheprovider", f"--timeout={TEST_S}"]
    options += [f"--deselect={test}" for test in area.slow]
    lists: dict[str, Sequence[str]] = {
        "source_paths": ["gateway"],
        "only_mutate": area.modules,
        "also_copy": ["protocols"],
        "pytest_add_cli_args": options,
        "pytest_add_cli_args_test_selection": area.tests,
    }
    rows = [f"{name} =\n" + "\n".join(f"    {word}" for word in words) for name, words in lists.items()]
    return "[mutmut]\nprocess_isolation = forkserver\ntimeout_multiplier = 5\n" + "\n".join(rows) + "\n"


def _codes(folder: Path, module: str) -> dict[str, int | None]:
    found = folder / "mutants" / f"{module}.meta"
    codes: dict[str, int | None] = json.loads(found.read_text())["exit_code_by_key"] if found.exists() else {}
    return codes


def _lived(folder: Path, module: str, codes: Container[int | None]) -> list[Survivor]:
    with contextlib.chdir(folder):
        diff_apply = importlib.import_module("mutmut.mutation.diff_apply")
        found = [name for name, code in _codes(folder, module).items() if code in codes]
        return [Survivor(name, module, diff_apply.get_diff_for_mutant(name, path=module)) for name in found]


def _result(folder: Path, module: str) -> Result:
    codes = _codes(folder, module)
    timed_out = sum(code in TIMED_OUT for code in codes.values())
    return Result(module, len(codes), timed_out, tuple(_lived(folder, module, {*codes.values()} - KILLED - TIMED_OUT)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
