"""Serve single named files out of installed packages as static files: no copy in the repository, no script from another host.

The licence and the version stay with the package that `pip` installed. htmx needs no line in the setting: django-htmx brings it as an app.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage


def package_file(name: str) -> str | None:
    """Return the path of the file that settings.PACKAGE_STATIC_FILES names, None for any other name. Imports no package: plotly takes long."""
    if name not in settings.PACKAGE_STATIC_FILES:
        return None
    package, inside = settings.PACKAGE_STATIC_FILES[name]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / inside
    return str(path) if path.is_file() else None


class PackageFileStorage(FileSystemStorage):
    """Just enough of a storage for collectstatic to read the named files."""

    def path(self, name: str) -> str:
        found = package_file(name)
        if found is None:
            raise FileNotFoundError(name)
        return found


class PackageFileFinder(BaseFinder):
    storage = PackageFileStorage()

    def check(self, **kwargs: Any) -> list[Any]:
        return []

    # Django renamed `all` to `find_all` in 5.2 and passes it by keyword
    def find(self, path: str, find_all: bool = False, **kwargs: Any) -> Any:
        found = package_file(path)
        if find_all:
            return [found] if found else []
        return found or []  # Django takes None for one more place where it is

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, FileSystemStorage]]:
        for name in settings.PACKAGE_STATIC_FILES:
            if package_file(name):
                yield name, self.storage
