"""How fast logs are taken in: MB of log per second of import, process start left out; beside agentsview where it is installed.

    python bench/import_speed.py [--source FOLDER] [--times 10] [--sessions 10000] [--rounds 3] [--agentsview PROGRAM]

Two homes: the logs below FOLDER copied under new ids (default: the tests' own small ones, many times), and many small sessions. Each round
imports each home into a fresh store, ours and theirs in turn, so that a ratio holds when the machine's speed drifts. The figure to quote is the median.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when it is run by its path
from bench.corpus import copy, small

ROOT = Path(__file__).resolve().parents[1]
SYNCED = re.compile(r"synced in ([0-9.]+)(ms|s|m(?:([0-9.]+)s)?)\b")


def ours(home: Path, work: Path) -> float:
    """Import the home into a fresh store; return the seconds that the command itself reports."""
    database = work / "ours.sqlite3"
    for path in work.glob("ours.sqlite3*"):
        path.unlink()
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{database}", "DATA_DIR": str(work / "data")}
    manage = [sys.executable, str(ROOT / "manage.py")]
    subprocess.run([*manage, "migrate", "-v0"], env=environment, check=True)
    done = subprocess.run([*manage, "import_sessions", "--json", str(home)], env=environment, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["seconds"])


def theirs(program: str, home: Path, work: Path) -> float:
    """Let agentsview sync the home into a fresh store; return the seconds that it reports."""
    person = work / "person"
    shutil.rmtree(person, ignore_errors=True)
    person.mkdir()
    (person / ".claude").symlink_to(home)
    environment = {"PATH": os.environ["PATH"], "HOME": str(person), "AGENTSVIEW_NO_DAEMON": "1"}
    done = subprocess.run([program, "sync"], env=environment, check=True, capture_output=True, text=True)
    found = SYNCED.search(done.stdout + done.stderr)
    if found is None:
        raise SystemExit(f"agentsview said nothing of its time:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    number, unit, rest = float(found[1]), found[2], float(found[3] or 0)
    return number / 1000 if unit == "ms" else number * 60 + rest if unit.startswith("m") else number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="a folder with Claude Code logs")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small-rounds", type=int, default=1)
    parser.add_argument("--agentsview", default=shutil.which("agentsview"))
    args = parser.parse_args()
    source, times = (args.source, args.times) if args.source else (ROOT / "tests/logs/claude-code", 500)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        homes = {
            f"{times} copies of real logs" if args.source else f"{times} copies of the tests' logs": (
                work / "copies",
                sum(copy(source, work / "copies", number) for number in range(times)),
                args.rounds,
            ),
            f"{args.sessions:,} small sessions": (
                work / "small",
                sum(small(work / "small", number) for number in range(args.sessions)),
                args.small_rounds,
            ),
        }
        for title, (home, size, rounds) in homes.items():
            times_ours, times_theirs = [], []
            for _ in range(rounds):
                times_ours.append(ours(home, work))
                if args.agentsview:
                    times_theirs.append(theirs(args.agentsview, home, work))
            seconds = statistics.median(times_ours)
            line = f"{title}: {size / 1e6:.1f} MB in {seconds:.2f} s, {size / 1e6 / seconds:.1f} MB/s"
            if times_theirs:
                rival = statistics.median(times_theirs)
                line += f"; agentsview {rival:.2f} s, {size / 1e6 / rival:.1f} MB/s; ours is {rival / seconds:.1f} times as fast"
            print(line, flush=True)


if __name__ == "__main__":
    main()
