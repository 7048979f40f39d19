"""The contract of a session: one model, one scene, driven precisely enough to verify drafts.

    session = target.open(scene)             # the picture is read once
    child = session.fork()                   # free; any number of them
    step = child.ask(question, tail)         # row 0: the last prompt token, then the tail's nodes
    child.keep(path)                         # these nodes are the answer now
    step = child.read(tokens)                # and these, whoever said them; a row for each
    step = child.extend(token, tree)         # row 0: `token`, then the tree's nodes
    child.rollback(2)                        # the last two committed tokens never were

Whatever the order of the calls, a step's rows are those of one fresh forward over the same tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from crossdraft.base.clock import Spans
from crossdraft.base.tree import DraftTree
from crossdraft.vlm.prompt import Prompt


@dataclass(frozen=True, eq=False)
class Step:
    """What one pass says about the root and the n nodes of a tree behind it.

    Attributes:
        logits: [1 + n, vocab], as the model's head gives them; row 0 is the root, the last
            committed token, row 1 + i is node i.
        hidden: [1 + n, hidden] post-final-norm states whose logits these are.
        layers: {i: [1 + n, hidden]} states after i decoder layers (0: embeddings) where the
            session was opened to keep them; transformers' `hidden_states[i]`.
    """

    logits: Tensor
    hidden: Tensor
    layers: Mapping[int, Tensor] = field(default_factory=dict)

    def kept(self, path: Sequence[int]) -> Step:
        """The rows of the root and the nodes on `path`, in that order."""
        rows = torch.tensor([0, *(node + 1 for node in path)], device=self.hidden.device)
        return Step(
            self.logits[rows.to(self.logits.device)],
            self.hidden[rows],
            {i: states[rows.to(states.device)] for i, states in self.layers.items()},
        )


@dataclass(frozen=True, eq=False)
class TopLogits:
    """The largest logits of each of n rows, and what makes probabilities of them.

    Attributes:
        ids: [n, k] int64, the largest logit first; among equals the greedy choice, then the
            smaller id.
        logits: [n, k] float32, as the model's head gives them.
        total: [n] float32, log-sum-exp over the whole vocabulary: `logits - total[:, None]` are
            log-probabilities.
    """

    ids: Tensor
    logits: Tensor
    total: Tensor


@dataclass(frozen=True, eq=False)
class States:
    """A model's states over an answer of n tokens, its own or somebody else's.

    Attributes:
        hidden: [n, hidden] post-final-norm; row t emits token t and has read the tokens before
            it, row 0 the prompt alone.
        layers: {i: [n, hidden]} of the same rows, transformers' `hidden_states[i]`, where the
            target was told to keep them.
        top: of the same rows, where logits were asked for.
    """

    hidden: Tensor
    layers: Mapping[int, Tensor] = field(default_factory=dict)
    top: TopLogits | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """A greedy answer.

    Attributes:
        tokens: ids, the end token included where the answer ended with one.
        end: why it ended, `eos` or `length`.
        prompt_hash: of the prompt it answers.
        hidden: [len(tokens), hidden] state t emits token t, where states were asked for.
        layers: {i: [len(tokens), hidden]} of the same rows, where states were asked for and the
            target was told to keep them.
        top: of the same rows, where logits were asked for.
    """

    tokens: tuple[int, ...]
    end: Literal["eos", "length"]
    prompt_hash: str
    hidden: Tensor | None = None
    layers: Mapping[int, Tensor] = field(default_factory=dict)
    top: TopLogits | None = None


class Session(Protocol):
    """One model at one point of one answer. Not for two threads at once."""

    @property
    def spans(self) -> Spans:
        """Every stage of every call of this session and its forks, by name: `read`, `vision`,
        `prefill`, `decode`, and `verify` for steps with drafts behind their token."""
        ...

    @property
    def tokens(self) -> tuple[int, ...]:
        """Every committed id, prompt and picture slots included. Behind the picture prefix alone
        until a question is asked."""
        ...

    @property
    def room(self) -> int | None:
        """Tokens that the next pass may have at most, root and tree together; None: no limit."""
        ...

    def fork(self, spans: Spans | None = None) -> Session:
        """A session at the picture prefix, whatever this one has done since.

        Args:
            spans: where its stages are recorded; by default where this one's are.
        """
        ...

    def ask(self, question: str | Prompt, tail: DraftTree = ...) -> Step:
        """Prefill a question, once per fork, with a tree of drafts as its tail.

        Raises:
            RuntimeError: a question was asked before.
            InputError: the prompt's picture prefix is another one, it holds ids that the model does
                not know, or it is too long.
            ValueError: the tail holds ids that must not be drafted.
        """
        ...

    def extend(self, token: int, tree: DraftTree = ...) -> Step:
        """One pass over `token`, which is committed, and the tree behind it, which is not.

        Raises:
            RuntimeError: no question was asked, or the last tree still waits for `keep`.
            InputError: the sequence would be longer than the cache or the model can hold.
            ValueError: the tree holds ids that must not be drafted.
        """
        ...

    def read(self, tokens: Sequence[int]) -> Step:
        """One pass over tokens that are all committed: what somebody else has said.

        Returns:
            One row per token; row i has read tokens up to `tokens[i]`.

        Raises:
            RuntimeError: as `extend`.
            InputError: as `extend`.
            ValueError: no tokens, or ids that the model does not know.
        """
        ...

    def keep(self, path: Sequence[int]) -> None:
        """Commit these nodes of the last tree, from the root's child downwards; drop the others.

        Raises:
            RuntimeError: there was no pass to keep of.
            ValueError: not a path of that tree.
        """
        ...

    def rollback(self, count: int) -> None:
        """Forget the last `count` committed tokens behind the prompt, and the last tree.

        Raises:
            RuntimeError: no question was asked.
            ValueError: so many were not committed since then.
        """
        ...

    def answer_many(
        self,
        questions: Sequence[str | Prompt],
        max_new_tokens: int = 50,
        *,
        states: bool = False,
        top: int = 0,
    ) -> list[Answer]:
        """Plain greedy answers to several questions about the scene, decoded side by side.

        Does not change this session. An answer that reaches the end of what the model can read
        ends there, as by `length`.

        Args:
            states: also give the states that emitted the answers.
            top: largest logits to give of each row; 0: none.

        Raises:
            InputError: as `ask`.
        """
        ...

    def read_many(
        self,
        questions: Sequence[str | Prompt],
        answers: Sequence[Sequence[int]],
        *,
        top: int = 0,
    ) -> list[States]:
        """What the model thinks while it is fed answers that somebody else has given, each to the
        question of the same place. All are read side by side over one copy of the picture.

        Does not change this session. The last token of an answer is not read: no row needs it.

        Args:
            answers: generated ids; an empty answer has no rows.
            top: largest logits to give of each row; 0: none.

        Returns:
            For each question one row per token of its answer.

        Raises:
            InputError: as `ask`, or an answer is longer than the model can read.
            ValueError: more or fewer answers than questions, or ids that the model does not know.
        """
        ...
