"""Tests of the programs in benchmarks/: that they run and measure, never how fast."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from tests.docs.commands import ROOT


def benchmark(name: str) -> ModuleType:
    """A program of benchmarks/, or a file beside it, imported as it is where it runs: its folder is
    on the path of modules."""
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)
