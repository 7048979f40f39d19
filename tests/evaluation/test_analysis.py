"""Both ways into the token-by-token analysis, and the rows the seed study printed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.decoding.arrival import PUBLISHED_1S, Arrival
from crossdraft.decoding.replay import replay
from crossdraft.drafters.base import Budget
from crossdraft.drafters.checkpoint import TrainedOn, save_drafter
from crossdraft.drafters.token_adapter import TokenAdapterConfig, TokenAdapterDrafter
from crossdraft.evaluation.analysis import AnalyzeConfig, analyze
from crossdraft.pairs.formats import write_pairs
from crossdraft.pairs.record import PairSet
from tests.make import recorded_pairs

#: As in the seed study's report: the first differs at 11, the second at 1, the third at once.
ROWS = [
    ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 90, 91], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]),
    ([21, 90, 23, 91, 25], [21, 22, 23, 24, 25]),
    ([90, 91, 33, 34], [31, 32, 33, 34]),
]


def written(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def consecutive(payload: dict[str, Any], row: str = "adapter") -> list[int]:
    return [sample["against_target"][row]["consecutive"] for sample in payload["samples"]]


def test_rows_of_a_file(tmp_path: Path) -> None:
    value = [{"drafter": [21, 5], "adapter": a, "target": t} for a, t in ROWS]
    payload = analyze(AnalyzeConfig(tokens=written(tmp_path / "rows.json", value))).payload
    assert consecutive(payload) == [11, 1, 0]
    assert consecutive(payload, "drafter") == [0, 1, 0]
    summary = payload["summary"]["adapter"]
    assert (summary["matched"], summary["compared"]) == (11 + 3 + 2, 13 + 5 + 4)
    assert summary["consecutive_mean"] == 4
    assert summary["consecutive_zero"] == pytest.approx(1 / 3)
    assert list(payload["summary"]) == ["adapter", "drafter"], "rows come aligned"
    assert payload["samples"][1]["matches"] == [True, False, True, False, True]
    assert payload["samples"][1]["adapter"]["text"] == "⟨21⟩⟨90⟩⟨23⟩⟨91⟩⟨25⟩"
    assert payload["verification"] is None


def test_rows_printed_by_the_seed_study(tmp_path: Path) -> None:
    printed = Path(__file__).parents[3] / "shared" / "seeds" / "token_alignment_analysis.md"
    if not printed.exists():
        pytest.skip(f"no report of the seed study at {printed}")
    lines = re.findall(r"\*\* \| `(\[[\d, ]+\])` \| \"(.*)\" \|", printed.read_text("utf-8"))
    rows = [(json.loads(ids), text) for ids, text in lines]
    assert len(rows) == 9
    value = []
    for place in range(0, 9, 3):
        ids, texts = zip(*rows[place : place + 3], strict=True)
        value.append(
            dict(zip(("egpt", "adapted", "vl"), ids, strict=True))
            | {"texts": dict(zip(("drafter", "adapter", "target"), texts, strict=True))}
        )
    payload = analyze(AnalyzeConfig(tokens=written(tmp_path / "rows.json", value))).payload
    assert consecutive(payload) == [11, 1, 0]
    assert payload["samples"][0]["adapter"]["pieces"][:3] == [" key", " elements", " in"]


def test_samples_and_short_rows_of_a_file(tmp_path: Path) -> None:
    value = [{"drafter": [], "adapter": a[:2], "target": t} for a, t in ROWS]
    config = AnalyzeConfig(tokens=written(tmp_path / "rows.json", value), samples="2,0")
    found = analyze(config)
    assert [sample["sample"] for sample in found.payload["samples"]] == [2, 0]
    assert consecutive(found.payload) == [0, 2]
    assert any("adapter row has no token at 13 of 17" in note for note in found.warnings)


@pytest.fixture
def study(tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint of a small adapter, and pairs of which it has seen the first twenty."""
    pairs = recorded_pairs(30)
    # An answer that went on behind its end, one that is a single token.
    pairs = (
        *pairs[:28],
        replace(pairs[28], target_tokens=(*pairs[28].target_tokens, 5, 6)),
        replace(pairs[29], target_tokens=(5,)),
    )
    drafter = TokenAdapterDrafter(
        TokenAdapterConfig(embed_dim=8, num_layers=1, num_heads=2, ffn_dim=8)
    )
    drafter.build(pairs[:20], seed=0)
    save_drafter(drafter, tmp_path / "best_model.safetensors", TrainedOn.of(pairs[:20]))
    write_pairs(PairSet(pairs, "made"), tmp_path / "pairs.jsonl")
    return tmp_path / "best_model.safetensors", tmp_path / "pairs.jsonl"


def test_a_checkpoint_is_compared_from_the_first_position_it_proposes(
    study: tuple[Path, Path],
) -> None:
    found = analyze(AnalyzeConfig(*study))
    payload = found.payload
    assert payload["compared_from"] == 1
    assert payload["alignment"] == (
        "compared from position 1: token-adapter proposes nothing before it"
    )
    assert [sample["sample"] for sample in payload["samples"]] == [0, 1, 2]
    sample, pair = payload["samples"][0], recorded_pairs(30)[0]
    assert sample["drafter"]["tokens"] == list(pair.draft_tokens)
    assert sample["target"]["tokens"] == list(pair.target_tokens)
    assert sample["adapter"]["tokens"][0] is None
    assert sample["matches"][0] is None
    assert sample["matches"][1:] == [
        a == t for a, t in zip(sample["adapter"]["tokens"], pair.target_tokens, strict=True)
    ][1:]  # fmt: skip
    assert any("3 of 3 samples are clips that training has seen" in w for w in found.warnings)
    assert found.inputs == study


def test_the_raw_drafter_is_counted_in_both_alignments(study: tuple[Path, Path]) -> None:
    payload = analyze(AnalyzeConfig(*study, samples="0-9")).payload
    same = shifted = 0
    for sample in payload["samples"]:
        drafter, target = (sample[row]["tokens"] for row in ("drafter", "target"))
        same += sum(a == b for a, b in zip(drafter[1:], target[1:], strict=False))
        shifted += sum(a == b for a, b in zip(drafter, target[1:], strict=False))
    assert payload["summary"]["drafter"]["matched"] == same
    assert payload["summary"]["drafter_shifted"]["matched"] == shifted
    assert len({found["compared"] for found in payload["summary"].values()}) == 1


def test_verification_is_the_replay(study: tuple[Path, Path]) -> None:
    from crossdraft.drafters.checkpoint import load_drafter

    payload = analyze(AnalyzeConfig(*study, samples="3,4", gamma=3)).payload
    drafter = load_drafter(study[0]).drafter
    outcomes = [
        replay(drafter, pair, Budget.chain(3), Arrival(times=PUBLISHED_1S))
        for pair in recorded_pairs(30)[3:5]
    ]
    assert [s["verification"]["accepted"] for s in payload["samples"]] == [
        list(outcome.accepted) for outcome in outcomes
    ]
    tokens, forwards = sum(o.tokens for o in outcomes), sum(o.forwards for o in outcomes)
    assert payload["verification"]["tau"] == pytest.approx(tokens / forwards)
    assert payload["verification"]["first_window"] == 0, "nothing is proposed for position 0"
    assert payload["clock"] == PUBLISHED_1S.source


def test_answers_end_at_their_end_token(study: tuple[Path, Path]) -> None:
    payload = analyze(AnalyzeConfig(*study, samples="28,29")).payload
    ended, single = payload["samples"]
    assert ended["target"]["tokens"][-1] == 2
    assert single["against_target"]["adapter"]["compared"] == 0
    assert single["against_target"]["adapter"]["match_rate"] is None
    assert single["matches"] == [None]


def test_pieces_are_learned_from_all_pairs(study: tuple[Path, Path], tmp_path: Path) -> None:
    pairs = tuple(
        replace(
            pair,
            draft_text=None,
            target_text=" ".join("abcdefghijklmnop"[t % 16] for t in pair.target_tokens[:-1]),
        )
        for pair in recorded_pairs(30)
    )
    write_pairs(PairSet(pairs, "made"), tmp_path / "told.jsonl")
    told = analyze(AnalyzeConfig(study[0], tmp_path / "told.jsonl", samples="1")).payload
    sample = told["samples"][0]
    assert "pieces learned from" in told["wording"]
    assert sample["target"]["pieces"][0] == " f"
    assert sample["target"]["text"] == pairs[1].target_text
    assert sample["target"]["pieces"][-1] is None, "the end mark reads as nothing"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "nothing to analyze"),
        ({"checkpoint": Path("a"), "tokens": Path("b")}, "exclude each other"),
        ({"checkpoint": Path("a")}, "--pairs is missing"),
        ({"tokens": Path("absent.json")}, "no such file"),
        ({"tokens": Path("b"), "gamma": 0}, "--gamma"),
        ({"checkpoint": Path("absent"), "pairs": Path("b")}, "no such file"),
    ],
    ids=range(6),
)
def test_contradicting_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        analyze(AnalyzeConfig(**options))


def test_what_is_not_there_is_named(study: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sample 30"):
        analyze(AnalyzeConfig(*study, samples="0-30"))
    with pytest.raises(InputError, match="no such folder"):
        analyze(AnalyzeConfig(*study, tokenizer=tmp_path / "absent"))
    write_pairs(
        PairSet((replace(recorded_pairs(1)[0], target_tokens=()),), "made"),
        tmp_path / "empty.jsonl",
    )
    with pytest.raises(InputError, match="answer of sample 0 is empty"):
        analyze(AnalyzeConfig(study[0], tmp_path / "empty.jsonl"))
