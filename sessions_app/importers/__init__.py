"""Reading other programs' logs: which formats there are, and which files below a path belong to which.

A format module turns bytes into the values of logs.py and knows no database; base.py writes them through the services.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from sessions_app.importers import claude_code, codex, sessionsite
from sessions_app.importers.lines import read_head
from sessions_app.importers.logs import NoLogsFound

FORMATS: dict[str, ModuleType] = {module.AGENT: module for module in (sessionsite, claude_code, codex)}
AUTO = "auto"
HEAD_SIZE = 65536

# Where the agents of a person's home folder, and of their own home folder, keep their logs.
HOMES = (".claude/projects", ".config/claude/projects", ".codex/sessions", ".codex/archived_sessions")
OWN_HOMES = {".claude": ("projects",), ".codex": ("sessions", "archived_sessions")}

Found = list[tuple[ModuleType, list[list[Path]]]]


def discover(path: str | os.PathLike[str], agent: str = AUTO) -> Found:
    """Return the logs at a path, by format: for each, the groups of files that are read together, in a fixed order.

    path: a log file (its sub-agents' files come with it), a project's folder, an agent's home, a person's home. agent: a name of FORMATS, or auto to recognise each file.
    Other files are passed over. A single file given with its agent's name is taken as it is.
    Raises NoLogsFound when the path does not exist or holds nothing known.
    """
    if agent != AUTO and agent not in FORMATS:
        raise NoLogsFound(f"There is no agent {agent!r}. Known: {AUTO}, {', '.join(FORMATS)}.")
    root = Path(path).expanduser()
    modules = list(FORMATS.values()) if agent == AUTO else [FORMATS[agent]]
    try:
        is_file, is_folder = root.is_file(), root.is_dir()
    except (OSError, ValueError) as error:
        raise NoLogsFound(f"{root}: cannot be looked at ({error}).") from None
    if is_file:
        module = _recognised(root, modules) or (modules[0] if agent != AUTO else None)
        if module is None:
            raise NoLogsFound(f"{root} is no log of a known agent ({', '.join(FORMATS)}).")
        return [(module, module.group([root, *module.companions(root)]))]
    if not is_folder:
        raise NoLogsFound(f"{root} does not exist.")
    files: dict[str, list[Path]] = {}
    for file in sorted(_files(root)):
        if module := _recognised(file, modules):
            files.setdefault(module.AGENT, []).append(file)
    if not files:
        raise NoLogsFound(f"{root} holds no log of a known agent ({', '.join(module.AGENT for module in modules)}).")
    return [(module, module.group(files[name])) for name, module in FORMATS.items() if name in files]


def _recognised(path: Path, modules: list[ModuleType]) -> ModuleType | None:
    head = read_head(path, HEAD_SIZE)
    return next((module for module in modules if module.recognise(path, head)), None)


def _files(root: Path) -> Iterator[Path]:
    """Yield the .jsonl files below a folder; in a home folder only where the agents put them, for the rest may be a whole disk."""
    places = [root / place for place in OWN_HOMES.get(root.name, ())]
    places = [place for place in (*places, *(root / home for home in HOMES)) if place.is_dir()]
    for place in places or [root]:
        for folder, folders, names in os.walk(place):
            folders.sort()
            for name in names:
                if name.endswith(".jsonl"):
                    yield Path(folder, name)
