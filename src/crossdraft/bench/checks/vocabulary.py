"""What share of the drafter's words the target has, and which words may be drafted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossdraft.bench.checks.check import Check
from crossdraft.vlm.target import Target
from crossdraft.vlm.tokenizer_bridge import TokenizerBridge


@dataclass(frozen=True, eq=False)
class Words:
    """What a model leaves behind when it is unloaded.

    Attributes:
        tokenizer: as transformers loads it; None where there is none.
        draftable: [vocab] ids that may be drafted.
    """

    tokenizer: Any
    draftable: NDArray[np.bool_]

    @classmethod
    def of(cls, target: Target) -> Words:
        """Of a loaded model."""
        ids = np.arange(target.decoder.vocabulary)
        return cls(getattr(target.prompts, "tokenizer", None), target.may_draft(ids))


def check_vocabulary(target: Words | None, drafter: Words | None) -> Check:
    """How the drafter's ids map to the target's; a draftable id must stand for a word."""
    if target is None or drafter is None:
        return Check.skipped("vocabulary", "pair", "it takes both models")
    if target.tokenizer is None or drafter.tokenizer is None:
        return Check.skipped("vocabulary", "pair", "a model has no tokenizer")
    bridge = TokenizerBridge(
        drafter.tokenizer, target.tokenizer,
        source_vocab=len(drafter.draftable), target_vocab=len(target.draftable),
    )  # fmt: skip
    shares, there = bridge.shares, bridge.to_target
    usable = int(target.draftable[there[there >= 0]].sum())
    wordless = int(target.draftable[len(target.tokenizer) :].sum())
    line = (
        f"{shares.same_id:,} of {shares.source:,} drafter ids are the same piece under the same "
        f"id, {shares.other_id:,} under another, {shares.missing:,} have none; {usable:,} of them "
        f"may be drafted, of the target's {len(target.draftable):,} ids"
    )
    if wordless:
        line += f"; {wordless:,} ids that no word has may be drafted too"
    return Check(
        "vocabulary", "pair", not wordless and usable > 0, line,
        {"drafter_ids": shares.source, "same_id": shares.same_id, "other_id": shares.other_id,
         "missing": shares.missing, "identical": bridge.identical, "draftable": usable,
         "target_ids": len(target.draftable), "wordless": wordless},
    )  # fmt: skip
