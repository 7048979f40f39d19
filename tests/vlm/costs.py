"""Made-up costs, and a target whose passes take stated times by a clock of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from crossdraft.base.tree import ROOT, DraftTree
from crossdraft.vlm.cost_curve import Cost, CostCurves
from crossdraft.vlm.cost_setup import Setup
from crossdraft.vlm.prompt import Prompt

SETUP = Setup(
    architecture="LlamaForCausalLM", parameters=1234, layers=2, config_digest="0" * 16,
    dtype="float32", device="cpu: made up", threads=2, cache="growing", room=0,
    compiled=False, kept_layers=0, attention="sdpa", matmul="highest", method=1, torch="2.13.0",
    transformers="5.23.0", context=300, question=15,
)  # fmt: skip


def cost(tokens: int, ratio: float, spread: float = 0.1) -> Cost:
    """A width of this ratio at 10 ms a step; quartiles `spread` to both sides."""
    spread = 0.0 if tokens == 1 else spread
    return Cost(tokens, 10 * ratio, ratio, ratio - spread, ratio + spread)


def curves(
    ratios: dict[int, float], trees: dict[int, float] | None = None, **changes: Any
) -> CostCurves:
    """Costs of these T(k)/T(1); trees as chains where not given."""
    made = CostCurves(
        setup=SETUP,
        chain=tuple(cost(tokens, ratio) for tokens, ratio in ratios.items()),
        tree=tuple(cost(tokens, ratio) for tokens, ratio in (trees or ratios).items()),
        tail=(cost(3, 0.2), cost(7, 0.5)),
        step_ms=10.0,
        prefill_ms=25.0,
        repeats=20,
        date="2026-01-31",
    )
    return replace(made, **changes)


#: Milliseconds of a pass: kind (`extend`, `ask`), drafts, and how many passes were before it.
Duration = Callable[[str, DraftTree, int], float]


@dataclass
class Machine:
    """A clock that only passes move, and what ran on it."""

    duration: Duration
    ms: float = 0.0
    ran: list[tuple[str, DraftTree]] = field(default_factory=list)
    #: What reading one pass's tokens takes.
    read_ms: float = 0.0

    def run(self, kind: str, tree: DraftTree) -> Any:
        """One pass; the answer's rows can be read as tokens, at a price."""
        self.ms += self.duration(kind, tree, len(self.ran))
        self.ran.append((kind, tree))
        return SimpleNamespace(logits=_Logits(self, len(tree)))


class _Logits:
    def __init__(self, machine: Machine, nodes: int) -> None:
        self.machine, self.nodes = machine, nodes

    def argmax(self, dim: int) -> _Logits:
        assert dim == -1
        return self

    def tolist(self) -> list[int]:
        self.machine.ms += self.machine.read_ms
        return [0] * (1 + self.nodes)


class _Session:
    """Counts tokens and holds every call to the contract."""

    def __init__(self, machine: Machine, prompt: Prompt) -> None:
        self.machine, self.prompt = machine, prompt
        self.behind = 0
        self.asked = False
        self.tree: DraftTree | None = None

    def fork(self) -> _Session:
        return _Session(self.machine, self.prompt)

    def ask(self, prompt: Prompt, tail: DraftTree | None = None) -> Any:
        assert not self.asked and prompt is self.prompt
        self.asked, self.tree = True, tail or DraftTree.empty()
        return self.machine.run("ask", self.tree)

    def extend(self, token: int, tree: DraftTree) -> Any:
        assert self.asked and self.behind == 0, "every pass stands at the same length"
        self.behind, self.tree = 1, tree
        return self.machine.run("extend", tree)

    def keep(self, path: Sequence[int]) -> None:
        assert self.tree is not None
        above = ROOT
        for node in path:
            assert self.tree.parents[node] == above
            above = node
        self.behind += len(path)
        self.tree = None

    def rollback(self, count: int) -> None:
        assert self.tree is None and count == self.behind
        self.behind = 0


class MadeTarget:
    """As much of a target as a measurement needs."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        duration: Duration,
        *,
        read_ms: float = 0.0,
        max_positions: int | None = 4096,
        hidden_size: int = 8,
    ) -> None:
        self.machine = Machine(duration, read_ms=read_ms)
        monkeypatch.setattr("crossdraft.vlm.cost_measure.now_ms", lambda: self.machine.ms)
        self.decoder = SimpleNamespace(
            longest=lambda prefix: max_positions, vocabulary=500, depth=2, keeps=(),
            config=SimpleNamespace(_attn_implementation="sdpa"),
            synchronise=lambda: None,
        )  # fmt: skip
        self.model = SimpleNamespace(
            config=SimpleNamespace(
                image_token_id=400, to_dict=lambda: {"hidden_size": hidden_size}
            ),
            num_parameters=lambda: 1234,
        )
        self.draftable, self.eos_ids = 410, frozenset({2})
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.cache, self.room, self.compiled = "growing", 1024, False
        self.opened: list[Prompt] = []

    def open(self, prompt: Prompt) -> Any:
        self.opened.append(prompt)
        return _Session(self.machine, prompt)

    def may_draft(self, tokens: Any) -> Any:
        return (tokens < self.draftable) & (tokens != 400)

    @property
    def passes(self) -> int:
        """Passes so far."""
        return len(self.machine.ran)


def linear(kind: str, tree: DraftTree, _: int) -> float:
    """10 ms a step, 1 ms for each draft; a prefill takes 30 ms and 0.5 ms for each draft."""
    return 10.0 + len(tree) if kind == "extend" else 30.0 + 0.5 * len(tree)
