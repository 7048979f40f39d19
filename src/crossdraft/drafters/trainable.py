"""The contract of a drafter that is trained by gradient.

The drafter brings its network, its loss and its rollouts; the training loop only loops. Everything
a drafter reads from the data comes in one `TokenBatch`, states of both models included.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from crossdraft.base.errors import InputError
from crossdraft.drafters.base import Drafter
from crossdraft.pairs.record import Head, Pair
from crossdraft.pairs.thoughts import thoughts_of

#: Stands behind the end of an answer. Id 0 is `<unk>` in Llama vocabularies: never an answer.
PAD = 0
#: Label of a position that no loss counts, and a rollout entry that proposes nothing.
IGNORE = -100
NO_PROPOSAL = -1


@dataclass(frozen=True, eq=False)
class TopBatch:
    """The largest logits of a batch of target answers, zeros behind the end.

    Attributes:
        ids: [batch, length, k] int64.
        logits: [batch, length, k] float32.
        total: [batch, length] float32, log-sum-exp over the whole vocabulary.
    """

    ids: Tensor
    logits: Tensor
    total: Tensor

    @classmethod
    def of(cls, pairs: Sequence[Pair], length: int) -> TopBatch:
        """Of the first `length` tokens of each pair's target answer."""
        tops = [thoughts_of(pair).top() for pair in pairs]
        return cls(
            _behind([top.ids.long() for top in tops], length),
            _behind([top.logits for top in tops], length),
            _behind([top.total for top in tops], length),
        )

    def to(self, device: torch.device) -> TopBatch:
        """The same on a device."""
        return TopBatch(self.ids.to(device), self.logits.to(device), self.total.to(device))


@dataclass(frozen=True)
class TokenBatch:
    """Answers of both models, padded on the right to the longest of the batch.

    Attributes:
        draft: [batch, draft_length] int64, `PAD` behind the end.
        draft_lengths: [batch] int64.
        target: [batch, target_length] int64, `PAD` behind the end.
        target_lengths: [batch] int64.
        questions: [batch] the questions as asked.
        states: by kind, float32, zeros behind the end: `own` [batch, draft_length, hidden],
            `forced` and `target` [batch, target_length, hidden]; state t emits token t.
        top: the target's largest logits, where they are asked for.
        head: the target's head, where it is asked for.
        question_ids: [batch] the target's ids of each question, where they are asked for; empty
            where nobody kept them.
    """

    draft: Tensor
    draft_lengths: Tensor
    target: Tensor
    target_lengths: Tensor
    questions: tuple[str, ...]
    states: Mapping[str, Tensor] = field(default_factory=dict)
    top: TopBatch | None = None
    head: Head | None = None
    question_ids: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(
        cls,
        pairs: Sequence[Pair],
        max_length: int,
        pad_to: int | None = None,
        needs: frozenset[str] = frozenset(),
    ) -> TokenBatch:
        """Make a batch.

        Args:
            max_length: longer answers are cut here.
            pad_to: pad both sides to this length instead of the longest of the batch.
            needs: a trainable's `batch_needs`: `own_states`, `forced_states`, `target_states`,
                `target_logits`, `head` and `question_ids` are read from behind the pairs.

        Raises:
            InputError: a pair has none of what is needed.
        """
        draft, draft_lengths = _padded([p.draft_tokens for p in pairs], max_length, pad_to)
        target, target_lengths = _padded([p.target_tokens for p in pairs], max_length, pad_to)
        questions = tuple(pair.question for pair in pairs)
        widths = {"own": draft.shape[1], "forced": target.shape[1], "target": target.shape[1]}
        states = {
            kind: _padded_states(pairs, kind, width)
            for kind, width in widths.items()
            if f"{kind}_states" in needs
        }
        top = TopBatch.of(pairs, target.shape[1]) if "target_logits" in needs else None
        head = thoughts_of(pairs[0]).head if "head" in needs and pairs else None
        asked = tuple(thoughts_of(pair).question_ids for pair in pairs if "question_ids" in needs)
        return cls(
            draft, draft_lengths, target, target_lengths, questions, states, top, head, asked
        )

    def to(self, device: torch.device) -> TokenBatch:
        """The same batch on a device; the head stays where it is."""
        return TokenBatch(
            self.draft.to(device),
            self.draft_lengths.to(device),
            self.target.to(device),
            self.target_lengths.to(device),
            self.questions,
            {kind: states.to(device) for kind, states in self.states.items()},
            None if self.top is None else self.top.to(device),
            self.head,
            self.question_ids,
        )

    def __len__(self) -> int:
        return len(self.questions)


def _padded(
    rows: Sequence[Sequence[int]], max_length: int, pad_to: int | None
) -> tuple[Tensor, Tensor]:
    """[batch, length] and [batch] of token rows."""
    cut = [row[:max_length] for row in rows]
    lengths = torch.tensor([len(row) for row in cut], dtype=torch.int64)
    width = pad_to if pad_to is not None else max((len(row) for row in cut), default=0)
    padded = torch.full((len(cut), width), PAD, dtype=torch.int64)
    for place, row in enumerate(cut):
        padded[place, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return padded, lengths


def _padded_states(pairs: Sequence[Pair], kind: str, length: int) -> Tensor:
    """[batch, length, hidden] float32 of one kind of states."""
    return _behind([thoughts_of(pair).states(kind) for pair in pairs], length)


def _behind(rows: Sequence[Tensor], length: int) -> Tensor:
    """[batch, length, ...] of rows [n, ...], cut at `length`, zeros behind their ends."""
    padded = rows[0].new_zeros((len(rows), length, *rows[0].shape[1:]))
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row[:length]
    return padded


@dataclass(frozen=True)
class Loss:
    """What a drafter says about one batch.

    Attributes:
        value: scalar, mean over the counted positions, with its graph.
        tokens: target tokens that were counted.
        top1, top5: of these, how many were the first candidate and among the first five; None where
            counting them would cost as much as the step.
        cosine: mean between predicted and true states, where states are predicted.
    """

    value: Tensor
    tokens: int
    top1: int | None
    top5: int | None
    cosine: float | None = None


class Trainable(Drafter):
    """A drafter with a network.

    Order of calls: `build` once from the training pairs (or `restore` from a checkpoint), then
    `loss` and `rollouts` from the loop, then the calls of every drafter.
    """

    #: Frozen dataclass of sizes and switches. Its fields are the flags of `crossdraft train NAME`;
    #: metadata["help"] of each field is the flag's help.
    Config: ClassVar[type[Any]]
    #: Settings of the training loop that suit this drafter better than the loop's own.
    training_defaults: ClassVar[Mapping[str, Any]] = {}
    #: What `loss` and `rollouts` read from a batch, as `TokenBatch.of` takes it.
    batch_needs: frozenset[str] = frozenset({"draft_tokens", "target_tokens"})
    #: Longest answer the network can read.
    max_length: int

    network: nn.Module

    def __init__(self, config: Any | None = None) -> None:
        self.config = self.Config() if config is None else config

    @property
    def loss_needs(self) -> frozenset[str]:
        """What `loss` alone reads, of what a batch may have."""
        return self.batch_needs

    @abstractmethod
    def build(self, pairs: Sequence[Pair], seed: int) -> None:
        """Make an untrained network whose vocabulary fits the training pairs.

        Raises:
            InputError: the configuration contradicts itself or the pairs.
        """

    @abstractmethod
    def loss(self, batch: TokenBatch) -> Loss:
        """Loss and hits of one batch, teacher-forced. Pure but for dropout and truncation, which
        follow torch's global generator while the network is in training mode."""

    @abstractmethod
    def rollouts(self, batch: TokenBatch, gamma: int) -> Tensor:
        """[batch, target_length, gamma] int64: the chain proposed at every start position.

        Entry [b, p] is what `propose(target[b, :p], Budget.chain(gamma))` proposes when all of
        the event model's answer has arrived; `NO_PROPOSAL` where it proposes nothing. Behind the
        first token that differs from the target nothing is ever accepted, so entries there may
        be anything.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Plain JSON that, with the tensors, is enough to restore the drafter."""

    def tensors(self) -> dict[str, Tensor]:
        """Weights as a checkpoint keeps them (which may be wider than the live network's)."""
        state = self.network.state_dict()
        return {name: value.detach().cpu().contiguous() for name, value in state.items()}

    @classmethod
    @abstractmethod
    def restore(cls, about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Trainable:
        """Rebuild from `describe` and `tensors`, on the CPU, in evaluation mode.

        Raises:
            InputError: the tensors do not fit together.
        """

    @classmethod
    def config_from(cls, values: Mapping[str, Any]) -> Any:
        """A `Config` from plain values.

        Raises:
            InputError: a name that the drafter does not know, or a value it refuses.
        """
        known = [known.name for known in fields(cls.Config)]
        unknown = sorted(values.keys() - set(known))
        if unknown:
            raise InputError(f"{cls.name} has no option {unknown[0]!r}", expected=", ".join(known))
        try:
            return cls.Config(**values)
        except (TypeError, ValueError) as error:
            raise InputError(f"{cls.name}: {error}") from error

    def options(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return asdict(self.config)

    def refuse_width(self, whose: str, found: int, trained: int) -> None:
        """Refuse states of a width that the network was not made for.

        Raises:
            InputError: they have another.
        """
        if found != trained:
            raise InputError(
                f"the {whose} states are {found} wide",
                where=self.name,
                expected=f"{trained}, as it was trained on",
                hint="a drafter is of the two models that it was trained with",
            )

    @property
    def parameters(self) -> int:
        """Number of trained values in the live network."""
        return sum(weight.numel() for weight in self.network.parameters())

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return next(self.network.parameters()).device


def option(default: Any, text: str) -> Any:
    """A configuration field that explains itself."""
    return field(default=default, metadata={"help": text})


def hits(logits: Tensor, labels: Tensor) -> tuple[int, int, int]:
    """Positions counted, and how many labels are the first candidate or among the first five.

    Args:
        logits: [..., vocab].
        labels: [...] with `IGNORE` where nothing counts.
    """
    counted = labels != IGNORE
    rows, wanted = logits[counted], labels[counted]
    # Counting the better ones is one pass; sorting 32,000 candidates would cost as much as a step.
    better = (rows > rows.gather(1, wanted[:, None])).sum(-1)
    return int(counted.sum()), int((better == 0).sum()), int((better < 5).sum())
