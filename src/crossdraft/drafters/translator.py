"""`translator`: turns the event model's words, as far as they have arrived, into the target's.

It conditions on the tokens the target has already fixed and is trained on tokens, with memories cut
at random (down to nothing), so that it can draft before the first word and improve with each one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.drafters.base import Budget, Context
from crossdraft.drafters.level_tree import Grown, Level, grown
from crossdraft.drafters.trainable import (
    IGNORE,
    NO_PROPOSAL,
    PAD,
    Loss,
    TokenBatch,
    Trainable,
    hits,
)
from crossdraft.drafters.translator_network import (
    Decoded,
    Memory,
    Translator,
    TranslatorConfig,
    causal,
)
from crossdraft.drafters.vocabulary import Vocabulary, distinct
from crossdraft.pairs.record import Pair


@dataclass(frozen=True)
class _Fixed:
    """What is decoded of the current answer.

    Attributes:
        words: the event model's words that `memory` holds.
        prefix: the target's tokens that `decoded` holds, behind the start row.
        logits: [proposable tokens] for the token behind the prefix.
    """

    words: tuple[int, ...]
    memory: Memory
    prefix: tuple[int, ...]
    decoded: Decoded
    logits: Tensor


class TranslatorDrafter(Trainable):
    """Trains and drafts with a `Translator`."""

    name = "translator"
    needs = frozenset({"draft_tokens"})
    Config = TranslatorConfig
    config: TranslatorConfig
    network: Translator
    training_defaults: ClassVar[Mapping[str, Any]] = {
        "learning_rate": 1e-3,
        "batch_size": 16,
        "num_epochs": 30,
    }

    def __init__(self, config: TranslatorConfig | None = None) -> None:
        super().__init__(config)
        self.max_length = self.config.max_seq_len
        self._drafts: Vocabulary | None = None
        self._targets: Vocabulary
        self._questions: dict[str, int] = {}
        self._question = ""
        self._fixed: _Fixed | None = None

    def build(self, pairs: Sequence[Pair], seed: int) -> None:
        length = self.max_length
        drafts = distinct(pair.draft_tokens[:length] for pair in pairs)
        targets = distinct(pair.target_tokens[:length] for pair in pairs)
        if not targets:
            raise InputError("no target answer has a token", hint="nothing to learn")
        self._make(
            Vocabulary.seen(max([PAD, *drafts]) + 1, drafts, []),
            Vocabulary.seen(targets[-1] + 1, targets, targets),
            sorted({pair.question for pair in pairs}),
            seed,
        )

    def _make(
        self, drafts: Vocabulary, targets: Vocabulary, questions: Sequence[str], seed: int
    ) -> None:
        self._drafts, self._targets = drafts, targets
        self._questions = {text: number for number, text in enumerate(questions, start=1)}
        self._fixed = None
        # Embedding rows are PAD, then the targets, then the unknown token; PAD is proposed only
        # where it is a target itself (then it is the first of both lists).
        heads = slice(targets.input_rows - 1 - targets.output_rows, targets.input_rows - 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = Translator(
                self.config, drafts.input_rows, targets.input_rows, heads, len(questions)
            ).eval()

    def loss(self, batch: TokenBatch) -> Loss:
        logits, labels = self._forced(batch)
        flat = functional.cross_entropy(
            logits.flatten(0, 1),
            labels.flatten(),
            ignore_index=IGNORE,
            label_smoothing=self.config.label_smoothing,
            reduction="sum",
        )
        tokens, top1, top5 = hits(logits.detach(), labels)
        # Target ids that no head row stands for count as missed, not as absent.
        beyond = int(batch.target_lengths.sum()) - tokens
        return Loss(flat / max(1, tokens), tokens + beyond, top1, top5)

    def _forced(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """Logits [batch, n, rows] and labels [batch, n]: row p predicts target token p."""
        assert self._drafts is not None
        length = batch.target.shape[1]
        tokens = self._targets.encode(batch.target[:, : max(0, length - 1)])
        numbers = [self._questions.get(question, 0) for question in batch.questions]
        questions = torch.tensor(numbers, dtype=torch.int64, device=batch.target.device)
        arrived = batch.draft_lengths
        if self.network.training:
            arrived = self._truncated(arrived)
            tokens = self._hidden(tokens, unknown=self._targets.input_rows - 1)
            questions = self._hidden(questions, unknown=0)
        logits = self.network(self._drafts.encode(batch.draft), arrived, tokens, questions)
        inside = torch.arange(length, device=batch.target.device) < batch.target_lengths[:, None]
        labels = torch.where(inside, self._targets.labels(batch.target), IGNORE)
        return logits[:, :length], labels

    def _truncated(self, lengths: Tensor) -> Tensor:
        """[batch] how much of each draft is shown: nothing, all of it, or a part of any length.

        A drafter is asked while the event model still speaks; it has to have seen that.
        """
        # Drawn on the CPU: the same draws on every device.
        case, share = torch.rand(2, len(lengths)).to(lengths.device)
        # As likely 0 as the full length and anything between.
        part = (share * (lengths + 1)).long().clamp(max=lengths)
        part = torch.where(case < self.config.empty_memory, 0, part)
        return torch.where(case >= 1 - self.config.full_memory, lengths, part)

    def _hidden(self, rows: Tensor, unknown: int) -> Tensor:
        """Some rows replaced by the unknown one: the memory has to fill in, and what was never
        seen before is nothing new."""
        hide = torch.rand(rows.shape).to(rows.device) < self.config.word_dropout
        return torch.where(hide, unknown, rows)

    def rollouts(self, batch: TokenBatch, gamma: int) -> Tensor:
        logits, _ = self._forced(batch)
        length = batch.target.shape[1]
        inside = torch.arange(length, device=logits.device) < batch.target_lengths[:, None]
        best = torch.where(inside, self._targets.decode(logits.argmax(-1)), NO_PROPOSAL)
        # A chain's entry d follows the chain's own earlier entries. Either these equal the target,
        # then it is the teacher-forced choice at p+d; or one of them is wrong, then nothing
        # behind it is ever accepted and any entry will do. So one forward says it all.
        return functional.pad(best, (0, gamma), value=NO_PROPOSAL).unfold(1, gamma, 1)[:, :length]

    def begin(self, context: Context) -> None:
        self._stream = context.stream
        self._question = context.question
        self._fixed = None

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        depth = min(budget.depth, self.max_length - len(prefix))
        if self._drafts is None or min(depth, budget.nodes, budget.branch) < 1:
            return DraftTree.empty()
        with torch.inference_mode():
            fixed = self._fixed = self._decode(tuple(prefix))
            tree = self._grow(fixed, Budget(budget.nodes, depth, budget.branch))
            tokens = self._targets.decode(tree.rows).tolist()
        return DraftTree.from_parents(tokens, tree.parents, tree.logq, self.name)

    def _decode(self, prefix: tuple[int, ...]) -> _Fixed:
        """The prefix against what has arrived by now; only rows that are new are run."""
        assert self._drafts is not None
        words, known, kept = self._stream.snapshot().tokens[: self.max_length], self._fixed, 0
        if known is not None and known.words == words:
            if known.prefix == prefix:
                return known
            memory = known.memory
            # The start row, and the tokens both have; the last row always runs, for its logits.
            kept = min(1 + _common(known.prefix, prefix), len(prefix))
        else:
            memory = self.network.read(self._drafts.encode(self._tensor(words)))
        past = known.decoded.first(kept) if known is not None and kept else None
        fresh = self._tensor(prefix[max(0, kept - 1) :])
        states = self.network.rows(self._targets.encode(fresh), place=max(1, kept))
        if not kept:
            number = torch.tensor([self._questions.get(self._question, 0)], device=self.device)
            states = torch.cat((self.network.opening(number), states), dim=1)
        mask = None if states.shape[1] == 1 else causal(kept, states.shape[1], self.device)
        logits, decoded = self.network.extend(states, past, memory, mask)
        return _Fixed(words, memory, prefix, decoded, logits[0, -1])

    def _tensor(self, tokens: Sequence[int]) -> Tensor:
        return torch.tensor([tokens], dtype=torch.int64, device=self.device)

    def _grow(self, fixed: _Fixed, budget: Budget) -> Grown:
        """The tree with the likeliest paths; each node sees the prefix and its own ancestors."""
        network, past = self.network, fixed.decoded
        known = past.length

        def run(level: Level) -> Tensor:
            nonlocal past
            tokens = (level.rows + network.heads.start)[None]
            states = network.rows(tokens, len(fixed.prefix) + level.depth, siblings=True)
            seen = level.ancestors
            mask = None if seen is None else functional.pad(seen, (known, 0), value=True)
            logits, past = network.extend(states, past, fixed.memory, mask)
            return logits[0]

        return grown(fixed.logits, budget, run)

    def describe(self) -> dict[str, Any]:
        assert self._drafts is not None
        return {
            "config": asdict(self.config),
            "questions": list(self._questions),
            "drafts": self._drafts.rows()["inputs"],
            "targets": self._targets.rows()["outputs"],
        }

    @classmethod
    def restore(cls, about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TranslatorDrafter:
        drafter = cls(cls.config_from(about["config"]))
        drafts, targets = about["drafts"], about["targets"]
        drafter._make(
            Vocabulary.seen(max(drafts) + 1, drafts, []),
            Vocabulary.seen(max(targets) + 1, targets, targets),
            about["questions"],
            seed=0,
        )
        try:
            drafter.network.load_state_dict(dict(tensors))
        except RuntimeError as error:
            raise InputError(f"tensors do not fit a translator ({error})") from error
        return drafter


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the prefix that both share."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))
