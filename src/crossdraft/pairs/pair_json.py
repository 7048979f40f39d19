"""One pair as plain JSON and back: the fields that our pairs file and the pair store share."""

from __future__ import annotations

from typing import Any

from crossdraft.base.fields import Item, is_time, shown
from crossdraft.pairs.record import Pair, StagesMs


def fields_of(pair: Pair) -> dict[str, Any]:
    """Every field of a pair as plain JSON, in the order of the record."""
    return {
        "clip": pair.clip,
        "index": pair.index,
        "drive": pair.drive,
        "dataset": pair.dataset,
        "question": pair.question,
        "question_index": pair.question_index,
        "draft_tokens": list(pair.draft_tokens),
        "target_tokens": list(pair.target_tokens),
        "draft_text": pair.draft_text,
        "target_text": pair.target_text,
        "draft_stages_ms": pair.draft_stages_ms,
        "target_stages_ms": pair.target_stages_ms,
        "extra": dict(pair.extra),
        "simulated": pair.simulated,
    }


def pair_of(item: Item) -> Pair:
    """The pair of such fields; whether its events were computed is not said by older files.

    Raises:
        InputError: a field is missing or of another type.
    """
    draft, target = item.tokens("draft_tokens"), item.tokens("target_tokens")
    clip = item.text("clip")
    if clip is None or draft is None or target is None:
        raise item.error("lacks one of clip, draft_tokens, target_tokens", "a whole pair")
    simulated = item.value.get("simulated")
    if simulated is not None and not isinstance(simulated, bool):
        raise item.error(f"simulated is {shown(simulated)}", "true or false")
    return Pair(
        clip=clip,
        index=item.whole("index", 0),
        question=item.text("question") or "",
        question_index=item.whole("question_index", 0),
        draft_tokens=draft,
        target_tokens=target,
        draft_text=item.text("draft_text"),
        target_text=item.text("target_text"),
        drive=item.text("drive"),
        dataset=item.text("dataset") or "",
        draft_stages_ms=_stages(item, "draft_stages_ms"),
        target_stages_ms=_stages(item, "target_stages_ms"),
        extra=item.mapping("extra"),
        simulated=bool(simulated),
    )


def _stages(item: Item, key: str) -> StagesMs | None:
    value = item.value.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 5 or not all(map(is_time, value)):
        raise item.error(f"{key} is no list of five times", "five times in milliseconds")
    load, preprocess, vision, prefill, decode = map(float, value)
    return (load, preprocess, vision, prefill, decode)
