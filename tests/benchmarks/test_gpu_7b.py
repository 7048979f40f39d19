"""The GPU benchmark, at tiny size on a CPU: every stage measures, and what fails is said."""

from __future__ import annotations

import ast
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from crossdraft.vlm.decoder import Decoder
from crossdraft.vlm.target import Target
from tests.benchmarks import benchmark
from tests.docs.commands import ROOT

gpu_7b = benchmark("gpu_7b")
meter, models, paths, report, stages = (
    benchmark(f"gpu_7b_{name}") for name in ("meter", "models", "paths", "report", "stages")
)
TINY = models.SIZES["tiny"]
CPU = torch.device("cpu")
#: A bare GPU machine has these, and those rooms of crossdraft that ask for no others.
BARE = {"torch", "transformers", "numpy", "numba", "safetensors", "crossdraft"}
BARE_ROOMS = {"base", "scenes", "vlm", "drafters", "decoding"}


@pytest.fixture(scope="module")
def model() -> Any:
    return models.target_of(TINY, CPU, torch.float64)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A whole run, as its file has it."""
    out = tmp_path_factory.mktemp("gpu") / "gpu.json"
    call = ["--size", "tiny", "--device", "cpu", "--repeats", "2", "--out", str(out)]
    assert gpu_7b.main(call) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, int | float):
        yield float(value)


def test_a_run_measures_every_stage(written: dict[str, Any]) -> None:
    found = written["stages"]
    assert list(found) == list(stages.STAGES)
    assert {name: stage.get("reason") for name, stage in found.items()} == dict.fromkeys(found)
    assert all(math.isfinite(one) for one in numbers(written))
    for role, vision in (("target", "projector"), ("drafter", "features")):
        assert set(found[role]["stages"]) == {
            "tower", vision, "llm_prefill", "first_token", "decode_step",
        }  # fmt: skip
        assert all(one["median_ms"] > 0 for one in found[role]["stages"].values())
    assert [cost["tokens"] for cost in found["verify"]["chain"]] == list(stages.VERIFIED)
    assert {"machine", "packages", "date", "command", "settings"} <= set(written)
    assert written["command"][:2] == ["python", "benchmarks/gpu_7b.py"]


def test_no_step_is_faster_than_reading_the_weights(written: dict[str, Any]) -> None:
    found = written["summary"]
    assert found["floor_ms"] > 0
    assert set(found["decode_over_floor"]) == {"growing", "preallocated"}
    assert all(ratio > 1 for ratio in found["decode_over_floor"].values())
    assert found["drafter_decode_over_floor"] > 1
    ways = written["stages"]["paths"]["paths"]
    assert found["best_path"] == min(ways, key=lambda name: ways[name]["step"]["median_ms"])
    assert found["best_t8_over_t1"] == ways[found["best_path"]]["t8_over_t1"]
    assert all(way["same_tokens_as_first_path"] for way in ways.values())


def test_the_table_shows_every_stage(written: dict[str, Any]) -> None:
    text = "\n".join(report.lines(written))
    for words in ("bandwidth (", "first_token", "T(61)/T(1)", "preallocated", "floors", "best: "):
        assert words in text


def test_prompts_have_the_published_lengths() -> None:
    """2071 ids of Video-LLaVA and 641 of EventGPT, by the configurations alone."""
    whole = models.SIZES["7b"]
    for config, frames, rows, text, length in (
        (whole.target(), 8, 257, models.VIDEO_TEXT, 2071),
        (whole.drafter(), 1, 5 + 577, models.EVENT_TEXT, 641),
    ):
        vision = config.vision_config
        assert frames * rows + sum(text) == length
        assert models._states(vision) in (rows, rows - 5)


def test_sizes_are_those_that_were_published() -> None:
    whole = models.SIZES["7b"]
    with torch.device("meta"):
        drafter = models.EventGPTForConditionalGeneration._from_config(whole.drafter())
        target = models.VideoOnlyLlava._from_config(whole.target())
    assert drafter.num_parameters() == 7_079_684_096
    # The language model with its 64 rows more, the projector; a tower of 257 places instead of 577.
    tower = 303_507_456 - 320 * 1024
    assert target.num_parameters() == 6_738_415_616 + 2 * 64 * 4096 + 20_979_712 + tower


def test_a_step_reads_all_but_the_embeddings(model: Any) -> None:
    text = model.config.text_config
    size = 8  # bytes of a float64
    layer = 4 * text.hidden_size**2 + 3 * text.hidden_size * text.intermediate_size
    norms = (2 * text.num_hidden_layers + 1) * text.hidden_size
    weights = text.num_hidden_layers * layer + norms + text.vocab_size * text.hidden_size
    read = meter.step_bytes(Decoder(model), 100)
    assert read["weights"] == size * weights
    assert read["keys_and_values"] == size * 2 * text.num_hidden_layers * text.hidden_size * 100
    assert read["total"] == read["weights"] + read["keys_and_values"]
    assert meter.floor_ms(read, 1e9) == pytest.approx(read["total"] / 1e6)


def chains(prompt: Any) -> dict[int, tuple[int, ...]]:
    return {width: prompt.ids[-width:] for width in paths.WIDTHS}


def prompt_and_words(model: Any) -> tuple[Any, dict[int, list[int]]]:
    """A prompt of text, and what a plain session says behind it."""
    prompt = models.text_prompt(model, models.video_prompt(model), question=1)
    return prompt, paths.warmed(paths.PATHS["growing"](model, prompt), chains(prompt))


def test_static_inputs_change_no_token(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a CUDA graph would record, run kernel by kernel."""
    prompt, expected = prompt_and_words(model)
    monkeypatch.setattr(paths.StaticStep, "capture", lambda self: None)
    assert paths.warmed(paths.GraphPath(model, prompt), chains(prompt)) == expected


def test_a_static_step_feels_every_token(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, _ = prompt_and_words(model)
    monkeypatch.setattr(paths.StaticStep, "capture", lambda self: None)
    path = paths.GraphPath(model, prompt)
    said = [path.run([token])[0] for token in range(3, 40)]
    session = Target(model).open(prompt)
    session.ask(prompt)
    for token, word in zip(range(3, 40), said, strict=True):
        assert int(session.extend(token).logits[0].argmax()) == word
        session.rollback(1)
    assert len(set(said)) > 1


def test_a_compiled_path_needs_one_graph_for_each_width(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch._dynamo.reset()
    counted = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counted))
    prompt, expected = prompt_and_words(model)
    assert paths.warmed(paths.PATHS["compiled"](model, prompt), chains(prompt)) == expected
    assert counted.frame_count == len(paths.WIDTHS)
    torch._dynamo.reset()


def test_the_buffers_that_steps_write_are_marked(model: Any) -> None:
    """Graphs that torch records are dropped where they write to buffers that may move."""
    prompt, _ = prompt_and_words(model)
    target = Target(model, cache="preallocated", room=paths._room(prompt))
    for static in (True, False):
        path = paths.SessionPath(target, prompt, static=static)
        path.run(prompt.ids[-8:])
        rows = [buffer for row in path._session._cache.rows for buffer in row.buffers()]
        assert [hasattr(one, "_dynamo_static_input_type") for one in rows] == [static] * len(rows)


def test_buffers_lie_in_steps_that_masks_want(model: Any) -> None:
    prompt, _ = prompt_and_words(model)
    capacity = paths._capacity(prompt)
    assert capacity % paths.ALIGNED == 0
    assert capacity >= len(prompt.ids) + max(paths.WIDTHS)


def test_what_fails_is_recorded_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_memory(run: Any) -> dict[str, Any]:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setitem(stages.STAGES, "target", no_memory)
    out = tmp_path / "gpu.json"
    call = ["--size", "tiny", "--device", "cpu", "--repeats", "1", "--stages", "target,paths"]
    assert gpu_7b.main([*call, "--paths", "graph,preallocated", "--out", str(out)]) == 0
    found = json.loads(out.read_text())["stages"]
    assert found["target"]["status"] == "failed"
    assert "CUDA out of memory" in found["target"]["reason"]
    ways = found["paths"]["paths"]
    assert ways["graph"]["status"] == "failed"
    assert "CUDA graph on cpu" in ways["graph"]["reason"]
    assert ways["preallocated"]["step"]["median_ms"] > 0
    assert "CUDA out of memory" in capsys.readouterr().out


@pytest.fixture
def run(model: Any) -> Any:
    """A run whose target is there already, and two stub paths."""
    one = stages.Settings("tiny", CPU, torch.float64, ("paths",), ("one", "two"), repeats=3)
    return stages.Run(one, held=(model, models.video_prompt(model)))


class Stub:
    """A path that says nothing; it fails in its call number `fails`."""

    def __init__(self, fails: int = 0, skips: int = 0) -> None:
        self.calls, self.fails, self.skips = 0, fails, skips

    def run(self, tokens: Any) -> list[int]:
        self.calls += 1
        torch._dynamo.utils.counters["inductor"]["cudagraph_skips"] += self.skips
        if self.calls == self.fails:
            raise RuntimeError("too many graphs")
        return [0 for _ in tokens]


def stubs(monkeypatch: pytest.MonkeyPatch, **named: Stub) -> None:
    for name, stub in named.items():
        monkeypatch.setitem(paths.PATHS, name, lambda *_, stub=stub: stub)


def test_a_device_that_is_lost_does_not_lose_what_was_measured(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost() -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "empty_cache", lost)
    monkeypatch.setattr(run, "settings", replace(run.settings, device=torch.device("cuda")))
    assert run.attempt(lambda: {"found": 1})["found"] == 1
    assert "illegal memory access" in run.attempt(lost)["reason"]


@pytest.mark.parametrize("call", [1, 8], ids=["warming", "timing"])
def test_a_path_that_fails_leaves_the_others(
    run: Any, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    stubs(monkeypatch, one=Stub(fails=call), two=Stub())
    found = stages.decode_paths(run)["paths"]
    assert found["one"] == {
        **found["one"], "status": "failed", "reason": "RuntimeError: too many graphs",
    }  # fmt: skip
    assert "step" not in found["one"]
    assert found["two"]["step"]["median_ms"] > 0 and found["two"]["same_tokens_as_first_path"]


def test_a_path_whose_graphs_are_skipped_has_failed(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(torch._dynamo.utils.counters, "inductor", Counter(cudagraph_skips=7))
    stubs(monkeypatch, one=Stub(), two=Stub(skips=1))
    found = stages.decode_paths(run)["paths"]
    assert "step" in found["one"] and "recorded no CUDA graph" in found["two"]["reason"]
    monkeypatch.delitem(sys.modules, "torch._dynamo.utils")
    assert paths.skipped_graphs() == 0


def test_a_paths_memory_is_its_own(run: Any, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second begins with 300 bytes in memory, of which none are its own."""
    stubs(monkeypatch, one=Stub(), two=Stub())
    before, peaks = iter([100, 300]), iter([150, 420])
    monkeypatch.setattr(run.meter, "allocated_bytes", lambda: next(before))
    monkeypatch.setattr(run.meter, "peak_bytes", lambda: next(peaks))
    found = stages.decode_paths(run)["paths"]
    weights = 8 * model.num_parameters()
    assert [found[name]["peak_memory_bytes"] - weights for name in ("one", "two")] == [50, 120]


def test_a_ratio_is_formed_of_times_of_one_round(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stubs(monkeypatch, one=Stub(), two=Stub())
    times = {"one": {1: [2.0], 8: [3.0]}, "two": {1: [1.0, 2.0, 4.0], 8: [5.0, 4.0, 4.0]}}
    monkeypatch.setattr(stages, "times_in_turn", lambda *_: (times, {}))
    found = stages.decode_paths(run)["paths"]
    assert [found[name]["t8_over_t1"] for name in ("one", "two")] == [1.5, 2.0]
    assert found["two"]["step"]["median_ms"] == 2.0


def test_bandwidth_is_bytes_over_the_median() -> None:
    class Known:
        device = CPU

        def __init__(self) -> None:
            self.medians_ms = iter([1.0, 4.0, 0.5])

        def stage(self, run: Any) -> dict[str, float]:
            run()
            return {"median_ms": next(self.medians_ms)}

    size, reads = 4 * 4096 * 8, meter.READS["cpu"]
    found = meter.bandwidth(Known(), torch.float32, size)
    # A copy reads and writes; a median is of all reads between two looks at the clock.
    expected = {"sum": 1e3, "copy": 2 * 250.0, "product": 2e3}
    assert found["bytes_per_s_by_way"] == {
        name: pytest.approx(size * reads * each) for name, each in expected.items()
    }
    assert (found["best"], found["buffer_bytes"]) == ("product", size)
    assert found["bytes_per_s"] == found["bytes_per_s_by_way"]["product"]


def test_a_run_that_measured_nothing_replaces_no_file(tmp_path: Path) -> None:
    out, new = tmp_path / "gpu.json", tmp_path / "new.json"
    out.write_text("kept")
    call = ["--size", "tiny", "--device", "cpu", "--repeats", "1", "--stages", "paths"]
    for file in (out, new):
        assert gpu_7b.main([*call, "--paths", "graph", "--out", str(file)]) == 1
    assert out.read_text() == "kept"
    stage = json.loads(new.read_text())["stages"]["paths"]
    assert stage["status"] == "failed"
    assert "graph: InputError: a CUDA graph on cpu" in stage["reason"]
    assert gpu_7b.main([*call, "--paths", "graph,growing", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["stages"]["paths"]["status"] == "done"


def test_nothing_begins_when_the_time_is_used_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_7b.main(["--size", "tiny", "--device", "cpu", "--seconds", "0"]) == 1
    assert capsys.readouterr().out.count("skipped: 0 s were used up") == len(stages.STAGES)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--stages", "paths,towers"), ("--paths", ""), ("--repeats", "0"), ("--device", "meta")],
)
def test_a_wrong_call_is_named(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_7b.main(["--size", "tiny", "--device", "cpu", option, value]) == 2
    assert option in capsys.readouterr().err


def test_only_what_a_bare_gpu_machine_has_is_imported() -> None:
    for file in (ROOT / "benchmarks").glob("gpu_7b*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            for name in names:
                top, _, rest = name.partition(".")
                known = top in BARE or top.startswith("gpu_7b") or top in sys.stdlib_module_names
                assert known, f"{file.name} imports {name}"
                assert top != "crossdraft" or rest.partition(".")[0] in BARE_ROOMS, name
