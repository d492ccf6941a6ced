"""Real logs that may lie beside the project (../shared). The project's tests need none of them, so their absence is nothing to warn of."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
NO_SHARED = "no real logs beside the project"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=NO_SHARED)
