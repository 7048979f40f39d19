"""Commands and code in README and docs are calls that work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from crossdraft.drafters.checkpoint import save_drafter
from crossdraft.scenes.writers import write_h5, write_npy
from tests.docs.commands import ROOT, parses
from tests.make import recorded_pairs
from tests.pairs.store.stores import make_row, write_store
from tests.scenes.event_files import made_stream
from tests.scenes.scene_folders import make_scenes
from tests.scenes.videos import make_video, numbered_frames
from tests.tiny import built
from tests.vlm.eventgpt_folder import write_eventgpt
from tests.vlm.video_llava_folder import write_video_llava

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [page for page in PAGES if page.name != "seed_map.md"]


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks, also where they stand indented in a list."""
    fenced = re.findall(
        rf"^( *)```{language}\n(.*?)^\1```", page.read_text(encoding="utf-8"), re.S | re.M
    )
    return [textwrap.dedent(text) for _, text in fenced]


def shell_lines() -> list[str]:
    lines = [
        line.strip()
        for page in PAGES
        for block in blocks(page, "bash")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return sorted({line for line in lines if line and not line.startswith("#")})


def test_there_is_something_to_check() -> None:
    assert any(line.startswith("crossdraft ") for line in shell_lines())


@pytest.mark.parametrize("line", [c for c in shell_lines() if "crossdraft " in c])
def test_command_parses(line: str) -> None:
    parses(line.removeprefix(".venv/bin/"))


@pytest.mark.parametrize("line", [c for c in shell_lines() if c.startswith("make ")])
def test_make_target_exists(line: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{line.split()[1]}:", makefile, re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_run(page: Path, extraction_file: Path) -> None:
    save_drafter(
        built("token-adapter", recorded_pairs(5)), extraction_file.parent / "best_model.safetensors"
    )
    if page.name == "scenes.md":
        make_scenes(extraction_file.parent / "clips" / "train_1s")
        write_h5(made_stream(500), extraction_file.parent / "events.h5")
    if page.name == "pair_store.md":
        write_store(extraction_file.parent / "store", [make_row(i) for i in range(20)])
    if page.name in ("README.md", "sessions.md", "model_pairs.md", "decoding.md"):
        write_video_llava(extraction_file.parent / "Video-LLaVA-7B-hf")
        make_video(extraction_file.parent / "drive.mp4", numbered_frames(10))
    if page.name in ("README.md", "eventgpt.md", "model_pairs.md"):
        write_eventgpt(extraction_file.parent / "EventGPT-7b")
        write_npy(made_stream(5000), extraction_file.parent / "drive.npy")
    examples = [
        code.replace("answers.json.gz", str(extraction_file)) for code in blocks(page, "python")
    ]
    if not examples:
        return
    # One process for a page, names of its own for every example: importing torch takes seconds.
    each = (
        "import json, sys\nfor code in json.load(sys.stdin): exec(code, {'__name__': '__main__'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", each], input=json.dumps(examples), capture_output=True, text=True,
        cwd=extraction_file.parent, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
