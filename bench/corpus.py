"""Make homes full of Claude Code logs to import: real ones copied many times under new ids, or many small invented ones.

    python bench/corpus.py copies SOURCE HOME [--times 10]     SOURCE: a folder with .jsonl logs anywhere below it
    python bench/corpus.py small HOME [--sessions 10000]       sessions of about 17 kB, 20 turns each

Ids (session, line, response, request, agent) are changed alike in every file of a copy, so that each copy is a new set of sessions to any importer.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
RESPONSE = re.compile(rb'"(msg_|req_)([A-Za-z0-9_]+)"')


def copy(source: Path, home: Path, number: int) -> int:
    """Write copy `number` of every log below source into home's projects; return its bytes."""
    salt = str(number).encode()

    def new_uuid(match: re.Match[bytes]) -> bytes:
        return str(uuid.UUID(bytes=hashlib.blake2b(match.group() + salt, digest_size=16).digest(), version=4)).encode()

    def new_response(match: re.Match[bytes]) -> bytes:
        kind, name = match.groups()
        return b'"' + kind + hashlib.blake2b(name + salt, digest_size=12).hexdigest().encode()[: max(8, len(name))] + b'"'

    written = 0
    for path in sorted(source.rglob("*.jsonl")):
        inside = path.relative_to(source)
        # A project folder: what stands before the log, or before the folder of its sub-agents.
        folder = inside.parts[:-3] if inside.parent.name == "subagents" else inside.parts[:-1]
        project = "-".join(folder) + f"-copy-{number}"
        name = UUID.sub(new_uuid, "/".join(inside.parts[len(folder) :]).encode()).decode()
        if not UUID.search(name.encode()):
            name = f"{Path(name).stem}-{number}.jsonl"
        target = home / "projects" / project / name
        target.parent.mkdir(parents=True, exist_ok=True)
        data = RESPONSE.sub(new_response, UUID.sub(new_uuid, path.read_bytes()))
        target.write_bytes(data)
        written += len(data)
    return written


def small(home: Path, number: int) -> int:
    """Write one invented session of about 17 kB; return its bytes."""
    folder = home / "projects" / f"-srv-project-{number % 50}"
    folder.mkdir(parents=True, exist_ok=True)
    session = str(uuid.UUID(bytes=hashlib.blake2b(f"session {number}".encode(), digest_size=16).digest(), version=4))
    moment = datetime(2026, 9, 1, tzinfo=UTC) + timedelta(minutes=number)
    lines: list[str] = []
    parent: str | None = None

    def line(kind: str, message: dict[str, object], **more: object) -> None:
        nonlocal parent, moment
        own = str(uuid.UUID(bytes=hashlib.blake2b(f"{number} {len(lines)}".encode(), digest_size=16).digest(), version=4))
        moment += timedelta(seconds=3)
        stamp = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        common = {
            "parentUuid": parent,
            "isSidechain": False,
            "userType": "external",
            "cwd": f"/srv/project/{number % 50}",
            "sessionId": session,
        }
        lines.append(
            json.dumps(
                {
                    **common,
                    "version": "2.1.0",
                    "gitBranch": "main",
                    "type": kind,
                    "message": message,
                    "uuid": own,
                    "timestamp": stamp,
                    **more,
                }
            )
        )
        parent = own

    line("user", {"role": "user", "content": f"Task {number}: make the import keep its order."})
    for turn in range(10):
        usage = {
            "input_tokens": 4,
            "cache_creation_input_tokens": 800 + turn,
            "cache_read_input_tokens": 9000 + 400 * turn,
            "output_tokens": 120 + turn,
        }
        call = f"toolu_{number:06}{turn:02}"
        tool = {"type": "tool_use", "id": call, "name": "Read", "input": {"file_path": f"/srv/project/module_{turn}.py"}}
        line(
            "assistant",
            {
                "id": f"msg_{number:06}{turn:02}",
                "type": "message",
                "role": "assistant",
                "model": "claude-sonnet-4-5",
                "content": [tool],
                "usage": usage,
            },
            requestId=f"req_{number:06}{turn:02}",
        )
        text = f"def step_{turn}(rows):\n    return sorted(rows, key=lambda row: row.position)\n" * 6
        line("user", {"role": "user", "content": [{"tool_use_id": call, "type": "tool_result", "content": text}]})
    data = "\n".join(lines) + "\n"
    (folder / f"{session}.jsonl").write_text(data)
    return len(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    copies = kinds.add_parser("copies")
    copies.add_argument("source", type=Path)
    copies.add_argument("home", type=Path)
    copies.add_argument("--times", type=int, default=10)
    many = kinds.add_parser("small")
    many.add_argument("home", type=Path)
    many.add_argument("--sessions", type=int, default=10_000)
    args = parser.parse_args()
    shutil.rmtree(args.home, ignore_errors=True)
    if args.kind == "copies":
        written = sum(copy(args.source, args.home, number) for number in range(args.times))
    else:
        written = sum(small(args.home, number) for number in range(args.sessions))
    print(f"{written / 1e6:.1f} MB in {args.home}")


if __name__ == "__main__":
    main()
