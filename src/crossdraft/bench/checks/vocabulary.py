"""What share of the drafter's words the target has, and which words may be drafted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossdraft.bench.checks.check import Check
from crossdraft.vlm.image_text import picture_ids
from crossdraft.vlm.target import Target
from crossdraft.vlm.tokenizer_bridge import TokenizerBridge
from crossdraft.vlm.video_llava import VideoLlavaPrompts


@dataclass(frozen=True, eq=False)
class Words:
    """What a model leaves behind when it is unloaded.

    Attributes:
        tokenizer: as transformers loads it; None where there is none.
        draftable: [vocab] ids that may be drafted.
        trained: Video-LLaVA's ids from here on were never trained; None for other models.
    """

    tokenizer: Any
    draftable: NDArray[np.bool_]
    trained: int | None = None

    @classmethod
    def of(cls, target: Target) -> Words:
        """Of a loaded model."""
        ids = np.arange(target.decoder.vocabulary)
        video = isinstance(target.prompts, VideoLlavaPrompts)
        trained = min(picture_ids(target.model.config)) if video else None
        return cls(getattr(target.prompts, "tokenizer", None), target.may_draft(ids), trained)

    @property
    def wordless(self) -> int:
        """Ids that may be drafted and that no word of the tokenizer has."""
        words = np.isin(np.arange(len(self.draftable)), list(self.tokenizer.get_vocab().values()))
        return int((self.draftable & ~words).sum())

    @property
    def signs(self) -> list[str]:
        """Special tokens that may be drafted, other than the three that every Llama was trained
        with."""
        own = (
            self.tokenizer.bos_token_id,
            self.tokenizer.eos_token_id,
            self.tokenizer.unk_token_id,
        )
        added: dict[int, Any] = self.tokenizer.added_tokens_decoder
        return [
            str(token)
            for i, token in sorted(added.items())
            if token.special and i not in own and i < len(self.draftable) and self.draftable[i]
        ]


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
    count, wordless, signs = int(target.draftable.sum()), target.wordless, target.signs
    line = (
        f"{shares.same_id:,} of {shares.source:,} drafter ids are the same piece under the same "
        f"id, {shares.other_id:,} under another, {shares.missing:,} have none; {usable:,} of them "
        f"may be drafted, of the target's {len(target.draftable):,} ids"
    )
    if wordless:
        line += f"; {wordless:,} ids that no word has may be drafted too"
    if signs:
        line += f"; so may {', '.join(signs)}"
    whole = target.trained is None or count == target.trained
    if not whole:
        line += f"; {count:,} ids may be drafted, and {target.trained:,} were trained"
    return Check(
        "vocabulary", "pair", whole and not wordless and not signs and usable > 0, line,
        {"drafter_ids": shares.source, "same_id": shares.same_id, "other_id": shares.other_id,
         "missing": shares.missing, "identical": bridge.identical, "draftable": usable,
         "target_ids": len(target.draftable), "wordless": wordless,
         "special": signs, "may_draft": count},
    )  # fmt: skip
