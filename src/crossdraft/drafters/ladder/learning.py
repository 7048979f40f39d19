"""How a level of the ladder learns, and how it is kept: the half of a drafter that needs no answer.

Row t of a network's input is what is known at token t; its output stands for the target's state
t + shift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from crossdraft.base.errors import InputError
from crossdraft.drafters.base import DRAFT_STATES, FORCED_STATES, HEAD
from crossdraft.drafters.ladder.blocks import causal
from crossdraft.drafters.ladder.inputs import Inputs, LadderNetwork, Widths
from crossdraft.drafters.ladder.losses import Counted, counted, seed_loss, token_loss
from crossdraft.drafters.states import Alignment, Predicted, StateDrafter
from crossdraft.drafters.trainable import Loss, TokenBatch
from crossdraft.pairs.record import Head, Pair
from crossdraft.pairs.thoughts import thoughts_of

#: Longest answer of the seed study's learned positions.
_LONGEST = 512


class LearningLevel(StateDrafter):
    """A level of the ladder.

    Attributes:
        widths: of the two models.
        follows: whether the event model's forced states are there, in training and live.
    """

    #: In the seed study: number, and name behind it.
    level: ClassVar[str] = ""
    seed_name: ClassVar[str] = ""
    Network: ClassVar[Any]
    #: Which states a row needs.
    reads_event: ClassVar[bool] = True
    reads_target: ClassVar[bool] = False
    training_defaults: ClassVar[Mapping[str, Any]] = {
        "learning_rate": 1e-3,
        "batch_size": 64,
        "num_epochs": 50,
    }
    config: Any
    network: LadderNetwork
    max_length = _LONGEST
    needs = frozenset({DRAFT_STATES, FORCED_STATES, HEAD})

    def __init__(self, config: Any | None = None) -> None:
        super().__init__(config)
        self.follows = True
        self._made = False
        self.widths: Widths
        self._heads: tuple[Head, torch.device, Head] | None = None

    @property
    def alignment(self) -> Alignment:
        """Which states of the event model are trained on."""
        aligned: Alignment = getattr(self.config, "aligned", "forced")
        return aligned

    @property
    def batch_needs(self) -> frozenset[str]:  # type: ignore[override]
        """What `loss` and `rollouts` read."""
        needs = {"target_tokens", "target_states", "head", *self.reads(self.alignment)}
        if self.reads_event:
            needs |= {"draft_tokens", "own_states"}
            if self.follows:
                needs.add("forced_states")
        if self._kl_weight:
            needs.add("target_logits")
        return frozenset(needs)

    @property
    def loss_needs(self) -> frozenset[str]:
        needs = {"target_tokens", "draft_tokens", "target_states", *self.reads(self.alignment)}
        if self.config.loss == "token":
            needs.add("head")
        return frozenset(needs | ({"target_logits"} if self._kl_weight else set()))

    @property
    def _kl_weight(self) -> float:
        return float(self.config.kl_weight) if self.config.loss == "token" else 0.0

    @property
    def sees_later(self) -> bool:
        """Whether outputs change with states that come later."""
        return False

    def reads(self, alignment: Alignment) -> frozenset[str]:
        needs = {f"{alignment}_states"} if self.reads_event else set()
        return frozenset(needs | ({"target_states"} if self.reads_target else set()))

    def build(self, pairs: Sequence[Pair], seed: int) -> None:
        thoughts = thoughts_of(pairs[0])
        self.follows = "forced" in thoughts.kinds
        if self.reads_event and self.alignment == "forced" and not self.follows:
            raise InputError(
                "no states of the event model over the target's answers",
                where="--alignment",
                expected="a store made with --alignment both or forced, or training on own states",
            )
        head = thoughts.head
        event = "own" if "own" in thoughts.kinds else "forced"
        draft_hidden = thoughts.states(event).shape[-1] if self.reads_event else head.hidden
        vocab = head.logits(thoughts.states("target")[:1]).shape[-1]
        self._make_network(Widths(head.hidden, draft_hidden, vocab, head.draftable), seed)

    def _make_network(self, widths: Widths, seed: int) -> None:
        self.widths = widths
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            try:
                self.network = self.Network(widths, self.config)
            except ValueError as error:
                raise InputError(f"{self.name}: {error}") from error
        self._made = True
        needs = type(self).needs
        self.needs = needs if self.follows else needs - {FORCED_STATES}

    def predicted(self, batch: TokenBatch, alignment: Alignment) -> Predicted:
        return self._run(self._inputs(batch, alignment))

    def _run(self, inputs: Inputs) -> Predicted:
        dtype = next(self.network.parameters()).dtype
        made: Predicted = self.network(inputs.to(dtype))
        return made

    def _inputs(self, batch: TokenBatch, alignment: Alignment) -> Inputs:
        """All rows of a batch, as long as what is read allows."""
        event = batch.states[alignment] if self.reads_event else None
        if not self.reads_target:
            assert event is not None
            return Inputs(event, mask=self._mask(event.shape[1], batch, alignment))
        target = batch.states["target"]
        if event is not None:
            event = _as_long_as(event, target.shape[1])
        return Inputs(event, target)

    def _mask(self, length: int, batch: TokenBatch | None, alignment: Alignment) -> Tensor | None:
        """Which rows see which, where it is not the network's own order. Of forced states only
        those that are there when a row is asked for."""
        if not self.sees_later:
            return None
        if alignment == "forced":
            return causal(length, self.device)
        if batch is None:
            return None
        own = torch.arange(length, device=self.device)
        inside = (own < batch.draft_lengths[:, None])[:, None, None]
        return inside | torch.eye(length, dtype=torch.bool, device=self.device)

    def loss(self, batch: TokenBatch) -> Loss:
        said = self.predicted(batch, self.alignment)
        own = self.reads_event and self.alignment == "own"
        lengths = batch.draft_lengths if own else batch.target_lengths
        rows = counted(batch, said.states.shape[1], lengths, self.shift)
        if self.config.loss == "seed":
            aligned = counted(batch, said.states.shape[1], lengths, 0)
            value, cosine = seed_loss(said.states, batch, rows, aligned if self.shift else None)
            return self._judged(value, cosine, said, batch, rows)
        head = self.head_here(batch.head)
        return token_loss(
            said, batch, rows, head, self._kl_weight, float(self.config.feature_weight)
        )

    def _judged(
        self, value: Tensor, cosine: float, said: Predicted, batch: TokenBatch, rows: Counted
    ) -> Loss:
        """Hits are counted where they are wanted: in validation, not in every step."""
        if self.network.training or batch.head is None:
            return Loss(value, rows.count, None, None, cosine)
        with torch.no_grad():
            logits = self.head_here(batch.head).logits(said.states[:, : rows.length][rows.inside])
        return Loss(value, rows.count, *rows.hits(logits), cosine)

    def _logits(self, said: Predicted, head: Head | None) -> Tensor:
        """[..., draftable ids] of outputs."""
        if said.scores is not None:
            return said.scores[..., : self.widths.draftable]
        here = self.head_here(head)
        return here.logits(said.states)[..., : here.draftable]

    def head_here(self, head: Head | None) -> Head:
        """The target's head, where the network lives."""
        if head is None:
            raise InputError(f"{self.name} reads tokens off states", expected="the target's head")
        if self._heads is None or self._heads[0] is not head or self._heads[1] != self.device:
            self._heads = (head, self.device, head.to(self.device))
        return self._heads[2]

    def describe(self) -> dict[str, Any]:
        return {
            "config": asdict(self.config),
            "widths": asdict(self.widths),
            "follows": self.follows,
        }

    @classmethod
    def restore(cls, about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        drafter = cls(cls.config_from(about["config"]))
        drafter.follows = bool(about["follows"])
        drafter.fill(Widths(**about["widths"]), tensors)
        return drafter

    def fill(self, widths: Widths, tensors: Mapping[str, Tensor]) -> None:
        """Take over weights.

        Raises:
            InputError: they are those of another network.
        """
        self._make_network(widths, seed=0)
        try:
            self.network.load_state_dict(dict(tensors))
        except RuntimeError as error:
            raise InputError(f"tensors do not fit {self.name} ({error})") from error
        self.network.eval()


def _as_long_as(states: Tensor, length: int) -> Tensor:
    """[batch, length, hidden], cut or with zeros behind."""
    return functional.pad(states[:, :length], (0, 0, 0, max(0, length - states.shape[1])))
