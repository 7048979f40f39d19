"""Token by token: what drafter, adapter and target say at the same position, and where they agree.

Two sources: a trained drafter with recorded answers, or three rows of ids from a file. What is
compared here is a row written alone; what verification would accept is replayed beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.decoding.answers import until_eos
from crossdraft.decoding.arrival import PUBLISHED_1S, clocked, stage_times
from crossdraft.decoding.replay import first_window, replay
from crossdraft.drafters.base import Budget, Drafter
from crossdraft.drafters.checkpoint import Loaded, clip_digest, load_drafter
from crossdraft.evaluation.alignment import Comparison, Row, summarise, written_alone
from crossdraft.evaluation.metrics import FIRST_WINDOW
from crossdraft.evaluation.token_file import ROWS, TokenSample, chosen_samples, read_token_file
from crossdraft.pairs.formats import read_pairs
from crossdraft.pairs.pieces import TokenizerPieces, Wording, learn_pieces
from crossdraft.pairs.record import Pair, warnings_about_pairs
from crossdraft.pairs.stored import fingerprinted

#: Samples shown where none are named.
_FIRST_SAMPLES = 3
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")


@dataclass(frozen=True)
class AnalyzeConfig:
    """Resolved options of `crossdraft analyze`.

    Attributes:
        checkpoint: trained drafter; needs `pairs`. Excludes `tokens`.
        pairs: recorded answers; with `tokens` they only teach what ids read as.
        tokens: file with three rows of ids per sample.
        samples: which ones, None: the first three of `pairs`, all of `tokens`.
        tokenizer: folder of a tokenizer.
        gamma: drafts per forward in the replay.
        eos: id that ends an answer.
    """

    checkpoint: Path | None = None
    pairs: Path | None = None
    tokens: Path | None = None
    samples: str | None = None
    tokenizer: Path | None = None
    gamma: int = 5
    eos: int = 2

    def check(self) -> None:
        """Raises: InputError: options that contradict each other or are out of range."""
        if (self.checkpoint is None) == (self.tokens is None):
            both = self.tokens is not None
            raise InputError(
                "CHECKPOINT and --tokens exclude each other" if both else "nothing to analyze",
                expected="CHECKPOINT with --pairs FILE, or --tokens FILE",
                hint="crossdraft analyze --help",
            )
        if self.checkpoint is not None and self.pairs is None:
            raise InputError("--pairs is missing", expected="recorded answers to run CHECKPOINT on")
        if self.gamma < 1:
            raise InputError(f"{self.gamma}", where="--gamma", expected="1 or more")

    def to_json(self) -> dict[str, Any]:
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class Analysis:
    """What came out, ready for a result file; `inputs` are the files read."""

    payload: dict[str, Any]
    warnings: tuple[str, ...]
    inputs: tuple[Path, ...]


@dataclass(frozen=True)
class _Sample:
    """One sample of either source."""

    number: int
    name: str
    rows: Mapping[str, Row]
    texts: Mapping[str, str]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> tuple[int, ...]:
        return tuple(token for token in self.rows["target"] if token is not None)


def analyze(config: AnalyzeConfig) -> Analysis:
    """Lay the rows side by side, compare and count.

    Raises:
        InputError: options that contradict each other, unreadable input, a missing sample.
    """
    config.check()
    pairs = read_pairs(config.pairs).pairs if config.pairs is not None else ()
    if config.tokens is not None:
        given, samples = _from_tokens(config.tokens, config.samples)
        loaded, first = None, 0
    else:
        assert config.checkpoint is not None and config.pairs is not None
        given, loaded = [], load_drafter(config.checkpoint)
        samples = _from_checkpoint(loaded, pairs, config)
        first = _first_proposed(samples)
    wording = _wording(config.tokenizer, pairs, given)
    compared = [_compare(sample, first, aligned=loaded is None) for sample in samples]
    payload = {
        "drafter": None
        if loaded is None
        else {"name": loaded.drafter.name, "path": str(loaded.path)},
        "compared_from": first,
        "alignment": _alignment(loaded, first),
        "clock": None if loaded is None else _clock(pairs, samples),
        "wording": wording.source,
        "samples": [
            _sample_json(sample, rows, first, wording)
            for sample, rows in zip(samples, compared, strict=True)
        ],
        "summary": {name: summarise([rows[name] for rows in compared]) for name in compared[0]},
        "verification": None if loaded is None else _verified(samples, config.gamma),
    }
    return Analysis(
        payload, tuple(_warnings(samples, first, loaded, pairs)), _inputs(config, loaded)
    )


def _from_tokens(path: Path, wanted: str | None) -> tuple[list[TokenSample], list[_Sample]]:
    """All samples of the file, and the chosen ones."""
    given = read_token_file(path)
    numbers = range(len(given)) if wanted is None else chosen_samples(wanted, len(given), path)
    return given, [_Sample(n, given[n].name, given[n].rows, given[n].texts) for n in numbers]


def _from_checkpoint(loaded: Loaded, pairs: Sequence[Pair], config: AnalyzeConfig) -> list[_Sample]:
    """The chosen pairs, with what the drafter writes alone and what verification accepts."""
    assert config.pairs is not None
    wanted = config.samples or f"0-{min(_FIRST_SAMPLES, len(pairs)) - 1}"
    return [
        _from_pair(number, pairs[number], loaded.drafter, config)
        for number in chosen_samples(wanted, len(pairs), config.pairs)
    ]


def _from_pair(number: int, pair: Pair, drafter: Drafter, config: AnalyzeConfig) -> _Sample:
    ended = replace(pair, target_tokens=until_eos(pair.target_tokens, config.eos))
    if not ended.target_tokens:
        raise InputError(f"the target's answer of sample {number} is empty", where=config.pairs)
    alone = written_alone(drafter, ended)
    arrival = clocked(ended)
    outcome = replay(drafter, ended, Budget.chain(config.gamma), arrival)
    window = first_window(drafter, ended, arrival, FIRST_WINDOW)
    texts = {"drafter": pair.draft_text}
    # A text tells of the whole answer; what stood behind EOS would be in it.
    texts["target"] = pair.target_text if ended.target_tokens == pair.target_tokens else None
    return _Sample(
        number,
        pair.clip,
        {"drafter": pair.draft_tokens, "adapter": alone, "target": ended.target_tokens},
        {row: text for row, text in texts.items() if text is not None},
        {
            "clip": pair.clip,
            "question": pair.question,
            "verification": {
                "tokens": outcome.tokens,
                "forwards": outcome.forwards,
                "tau": outcome.tokens / outcome.forwards,
                "accepted": list(outcome.accepted),
                "drafted": list(outcome.drafted),
                "first_window": window,
            },
        },
    )


def _first_proposed(samples: Sequence[_Sample]) -> int:
    """The first position at which the drafter proposes for any sample, 0 if it never does."""
    starts = [
        place
        for sample in samples
        for place, token in enumerate(sample.rows["adapter"])
        if token is not None
    ]
    return min(starts, default=0)


def _compare(sample: _Sample, first: int, *, aligned: bool) -> dict[str, Comparison]:
    """Adapter and raw drafter against the target, over the same positions.

    Args:
        aligned: the rows come aligned; else the seed study's alignment, in which the drafter's
            first token stands beside the first compared one, is counted too if it differs.
    """
    target, drafter = sample.target, sample.rows["drafter"]
    found = {
        "adapter": Comparison.of(sample.rows["adapter"], target, first),
        "drafter": Comparison.of(drafter, target, first),
    }
    if not aligned and first > 0:
        shifted = (*[None] * first, *drafter)
        found["drafter_shifted"] = Comparison.of(shifted, target, first)
    return found


def _alignment(loaded: Loaded | None, first: int) -> str:
    """What stands beside what, in words."""
    if loaded is None:
        return "compared from position 0, rows as the file gives them"
    if first == 0:
        return "compared from position 0"
    return f"compared from position {first}: {loaded.drafter.name} proposes nothing before it"


def _wording(
    tokenizer: Path | None, pairs: Sequence[Pair], given: Iterable[TokenSample]
) -> Wording:
    if tokenizer is not None:
        return TokenizerPieces(tokenizer)
    answers: list[tuple[Sequence[int], str | None]] = []
    for pair in pairs:
        answers += [(pair.draft_tokens, pair.draft_text), (pair.target_tokens, pair.target_text)]
    answers += [(s.rows[row], text) for s in given for row, text in s.texts.items()]
    return learn_pieces(answers)


def _sample_json(
    sample: _Sample, compared: Mapping[str, Comparison], first: int, wording: Wording
) -> dict[str, Any]:
    rows = {}
    for row in ROWS:
        said = [token for token in sample.rows[row] if token is not None]
        rows[row] = {
            "tokens": list(sample.rows[row]),
            "pieces": [None if t is None else wording.piece(t) for t in sample.rows[row]],
            "text": sample.texts.get(row) or wording.text(said),
        }
    return {
        "sample": sample.number,
        "name": sample.name,
        **sample.about,
        **rows,
        "matches": [None] * min(first, len(sample.target)) + list(compared["adapter"].hits),
        "against_target": {name: found.to_json() for name, found in compared.items()},
    }


def _verified(samples: Sequence[_Sample], gamma: int) -> dict[str, Any]:
    """What greedy verification accepts over all samples; tau is a ratio of sums."""
    each = [sample.about["verification"] for sample in samples]
    tokens, forwards = (sum(one[key] for one in each) for key in ("tokens", "forwards"))
    return {
        "gamma": gamma,
        "window": FIRST_WINDOW,
        "tokens": tokens,
        "forwards": forwards,
        "tau": tokens / forwards,
        "first_window": mean(one["first_window"] for one in each),
    }


def _clock(pairs: Sequence[Pair], samples: Sequence[_Sample]) -> str:
    times = (stage_times(pairs[sample.number]) or PUBLISHED_1S for sample in samples)
    return " and ".join(sorted({time.source for time in times}))


def _warnings(
    samples: Sequence[_Sample], first: int, loaded: Loaded | None, pairs: Sequence[Pair]
) -> list[str]:
    notes = warnings_about_pairs(pairs)
    seen = set(loaded.trained_on.clips) if loaded is not None and loaded.trained_on else set()
    known = sum(clip_digest(pairs[s.number].clip) in seen for s in samples) if seen else 0
    if known:
        notes.append(f"{known} of {len(samples)} samples are clips that training has seen")
    if loaded is not None and loaded.trained_on is None:
        notes.append("the checkpoint does not say what it was trained on: samples may be known")
    for row in ("drafter", "adapter"):
        beside = [t for s in samples for t in _beside(s.rows[row], len(s.target))[first:]]
        if None in beside:
            notes.append(
                f"the {row} row has no token at {beside.count(None)} of {len(beside)} compared "
                "positions: they count as missed"
            )
    return notes


def _beside(row: Row, length: int) -> Row:
    """The row cut or filled up to the target's length."""
    return (*row, *[None] * length)[:length]


def _inputs(config: AnalyzeConfig, loaded: Loaded | None) -> tuple[Path, ...]:
    """Files behind the numbers; of a tokenizer's folder its own files, not a model beside them."""
    read = [loaded.path if loaded is not None else None, config.pairs, config.tokens]
    if config.tokenizer is not None:
        read += [p for n in _TOKENIZER_FILES if (p := config.tokenizer / n).is_file()]
    return tuple(fingerprinted(path) for path in read if path is not None)
