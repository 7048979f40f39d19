"""Readers for the token files of the seed study.

Four formats: extraction, five-stage benchmark, inference, cached directory. Each is recognised by
the fields its items have, never by a path or a name; seed_map.md lists where they came from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item
from crossdraft.base.files import parse_json, read_text
from crossdraft.base.safe_load import load_tensors
from crossdraft.pairs.record import Pair, PairSet, StagesMs

# The target's fields were renamed over the study's life; all spellings mean the target.
_INFERENCE_TARGETS = ("llava", "videollava", "video_llava")
_INFERENCE_TEXTS = (*_INFERENCE_TARGETS, "llava-1.5-7b-hf", "Video-LLaVA-7B-hf")
_STAGE_KEYS = tuple(f"stage{n}_time" for n in range(1, 6))

EXPECTED = (
    "a crossdraft pairs file, a pair store, or the seed study's extraction, five-stage benchmark, "
    "inference or cached-directory format"
)


@dataclass(frozen=True)
class _Skip:
    """An item that holds no pair, and why."""

    reason: str


_Parser = Callable[[Item, int, Mapping[str, Any]], Pair | _Skip]


def read_items(value: Any, where: Path) -> PairSet:
    """Read a parsed JSON file in any of the three foreign layouts.

    Raises:
        InputError: the layout is not known, an item is malformed or stands twice, or no item
            holds a pair.
    """
    if isinstance(value, list):
        items, header = value, {}
    elif isinstance(value, Mapping) and isinstance(value.get("results"), list):
        items = value["results"]
        header = {key: field for key, field in value.items() if key != "results"}
    else:
        found = f"keys {sorted(map(str, value))[:8]}" if isinstance(value, Mapping) else "no items"
        raise InputError(f"unknown structure ({found})", where=where, expected=EXPECTED)
    if not items:
        raise InputError("the list of results is empty", where=where, expected=EXPECTED)
    name, parse = _recognise(items, where)
    parsed = [
        parse(Item(item, where, f"results[{place}]"), place, header)
        for place, item in enumerate(items)
    ]
    skipped = Counter(entry.reason for entry in parsed if isinstance(entry, _Skip))
    failures = header.get("errors")
    for failure in failures if isinstance(failures, list) else ():
        skipped[_failure_reason(failure)] += 1
    pairs = tuple(entry for entry in parsed if isinstance(entry, Pair))
    return checked(PairSet(pairs, name, header, skipped, where))


def checked(found: PairSet) -> PairSet:
    """Refuse a set without pairs or with the same clip and question twice.

    Raises:
        InputError: naming the first repeated clip, or the reasons why nothing was left.
    """
    if not found.pairs:
        reasons = ", ".join(f"{reason} ({n})" for reason, n in found.skipped.items())
        raise InputError(f"no usable pair; skipped: {reasons or 'nothing'}", where=found.path)
    seen: dict[tuple[str, int, str], int] = {}
    for place, pair in enumerate(found.pairs):
        first = seen.setdefault(pair.key, place)
        if first != place:
            raise InputError(
                f"pair {place} repeats pair {first}: clip {pair.clip}, question "
                f"{pair.question_index} ({pair.question or 'not named'})",
                where=found.path,
                expected="every clip and question once",
            )
    return found


def _recognise(items: Sequence[Any], where: Path) -> tuple[str, _Parser]:
    """Which format the items are in, by the fields of the first one that has any of them."""
    for item in items:
        if not isinstance(item, Mapping):
            continue
        if "egpt_tokens" in item or "vl_tokens" in item:
            return "extraction", _parse_extraction
        if isinstance(item.get("eventgpt"), Mapping) or isinstance(item.get("videollava"), Mapping):
            return "benchmark", _parse_benchmark
        if "egpt_token_ids" in item or any(f"{t}_token_ids" in item for t in _INFERENCE_TARGETS):
            return "inference", _parse_inference
    first = items[0]
    keys = sorted(map(str, first))[:8] if isinstance(first, Mapping) else type(first).__name__
    raise InputError(f"unknown structure (results[0] has {keys})", where=where, expected=EXPECTED)


def _parse_extraction(item: Item, place: int, header: Mapping[str, Any]) -> Pair | _Skip:
    draft, target = item.tokens("egpt_tokens"), item.tokens("vl_tokens")
    if draft is None or target is None:
        return _missing(draft, target)
    index = item.whole("sample_idx", place)
    dataset = str(header.get("dataset_dir") or item.where.name)
    question_index, query = item.whole("question_idx", 0), item.text("query")
    return Pair(
        clip=item.text("sample_id") or f"{dataset}/{index}",
        index=index,
        question=_listed_question(header, question_index) if query is None else query,
        question_index=question_index,
        draft_tokens=draft,
        target_tokens=target,
        draft_text=item.text("egpt_text"),
        target_text=item.text("vl_text"),
        dataset=dataset,
        extra=_rest(item, "egpt_tokens", "vl_tokens", "egpt_text", "vl_text", "query",
                    "sample_idx", "question_idx", "sample_id", "simulated"),
        simulated=item.value.get("simulated") is True,
    )  # fmt: skip


def _parse_benchmark(item: Item, place: int, header: Mapping[str, Any]) -> Pair | _Skip:
    if item.value.get("eventgpt") is None or item.value.get("videollava") is None:
        return _missing(item.value.get("eventgpt"), item.value.get("videollava"))
    drafter, target_model = item.sub("eventgpt"), item.sub("videollava")
    draft, target = drafter.tokens("output_tokens"), target_model.tokens("output_tokens")
    if draft is None or target is None:
        return _missing(draft, target)
    index = item.whole("sample_idx", place)
    dataset = str(header.get("dataset_name") or item.where.name)
    return Pair(
        clip=f"{dataset}/{index}",
        index=index,
        question=item.text("query") or "",
        question_index=item.whole("question_idx", 0),
        draft_tokens=draft,
        target_tokens=target,
        draft_text=drafter.text("output_text"),
        target_text=target_model.text("output_text"),
        dataset=dataset,
        draft_stages_ms=_stages_ms(drafter),
        target_stages_ms=_stages_ms(target_model),
        simulated=item.value.get("simulated") is True,
    )


def _parse_inference(item: Item, place: int, header: Mapping[str, Any]) -> Pair | _Skip:
    draft = item.tokens("egpt_token_ids")
    target_key = next((t for t in _INFERENCE_TARGETS if f"{t}_token_ids" in item.value), "llava")
    target = item.tokens(f"{target_key}_token_ids")
    if draft is None or target is None:
        return _missing(draft, target)
    source = PurePosixPath(item.text("event_data") or item.text("video_data") or "")
    drive = source.parent.name or None
    number = source.stem
    text_key = next((key for key in _INFERENCE_TEXTS if key in item.value), target_key)
    dataset = item.text("split") or item.where.name
    return Pair(
        clip=f"{dataset}/{drive}/{number}" if drive else item.text("id") or f"{dataset}/{place}",
        index=int(number) if number.isdecimal() else place,
        question=item.text("query") or "",
        question_index=item.whole("question_idx", 0),
        draft_tokens=draft,
        target_tokens=target,
        draft_text=item.text("egpt"),
        target_text=item.text(text_key),
        drive=drive,
        dataset=dataset,
    )


def read_cached_directory(folder: Path) -> PairSet:
    """Read `draft_tokens.pt` and `target_tokens.pt` ([n, length], zero-padded on the right).

    Raises:
        InputError: a file is missing, of the wrong shape or type, or lists do not fit together.
    """
    rows = {side: _padded_rows(folder, side) for side in ("draft", "target")}
    n = len(rows["draft"])
    if len(rows["target"]) != n:
        raise InputError(f"{n} draft rows but {len(rows['target'])} target rows", where=folder)
    # Numbers alone would make any two cached directories look like the same clips.
    numbered = [f"{folder.name}/{i}" for i in range(n)]
    ids = _optional_json(folder / "sample_ids.json", list) or numbered
    if len(ids) != n:
        raise InputError(f"{len(ids)} ids for {n} rows", where=folder / "sample_ids.json")
    header = _optional_json(folder / "metadata.json", dict) or {}
    pairs = [
        Pair(str(ids[i]), i, "", 0, rows["draft"][i], rows["target"][i],
             dataset=str(header.get("source") or folder.name))
        for i in range(n)
    ]  # fmt: skip
    return checked(PairSet(tuple(pairs), "cached directory", header, Counter(), folder))


def _padded_rows(folder: Path, side: str) -> list[tuple[int, ...]]:
    """Token rows without their padding. Zero is `<unk>` in Llama vocabularies: never an answer."""
    path = folder / f"{side}_tokens.pt"
    loaded = load_tensors(path)
    if isinstance(loaded, Mapping) or loaded.ndim != 2 or loaded.is_floating_point():
        raise InputError("no [samples, length] tensor of whole numbers", where=path)
    rows: list[tuple[int, ...]] = []
    for number, row in enumerate(loaded.tolist()):
        while row and row[-1] == 0:
            row.pop()
        if any(token < 0 for token in row):
            raise InputError(f"row {number} holds a negative token id", where=path)
        rows.append(tuple(row))
    return rows


def _optional_json(path: Path, kind: type) -> Any:
    """Parsed JSON of the wanted kind, None where the file is absent."""
    if not path.exists():
        return None
    value = parse_json(read_text(path), path)
    if not isinstance(value, kind):
        raise InputError(f"is not a {kind.__name__}", where=path)
    return value


def _stages_ms(model: Item) -> StagesMs | None:
    times = [model.time_ms(key) for key in _STAGE_KEYS]
    if any(time is None for time in times):
        return None
    load, preprocess, vision, prefill, decode = (time or 0.0 for time in times)
    return (load, preprocess, vision, prefill, decode)


def _missing(draft: Any, target: Any) -> _Skip:
    if draft is None and target is None:
        return _Skip("no tokens of either model")
    return _Skip("no drafter tokens" if draft is None else "no target tokens")


def _failure_reason(failure: Any) -> str:
    """Why an entry of a file's own error list holds no pair, without the clip's own path."""
    if isinstance(failure, Mapping):
        for side, name in (("egpt_error", "drafter"), ("vl_error", "target")):
            if failure.get(side):
                cause = str(failure[side]).split(": '")[0]
                return f"{name} failed when recorded ({cause})"
    return "failed when recorded"


def _listed_question(header: Mapping[str, Any], index: int) -> str:
    questions = header.get("questions")
    if isinstance(questions, list) and 0 <= index < len(questions):
        return str(questions[index])
    return ""


def _rest(item: Item, *known: str) -> dict[str, Any]:
    return {key: value for key, value in item.value.items() if key not in known}
