"""Drafting inside transformers' own `generate`:

    speculate = custom_generate("suffix")
    model.generate(**inputs, max_new_tokens=50, custom_generate=speculate)

`generate` prepares inputs, processors and criteria as always. Every token is chosen from the
model's row by what it prepared, in its order, so the answer is the one of plain `generate`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import EosTokenCriteria, MaxLengthCriteria
from transformers.generation.utils import GenerateDecoderOnlyOutput

from crossdraft.base.errors import InputError
from crossdraft.base.tree import ROOT, DraftTree, Verification
from crossdraft.decoding.generate_inputs import Inputs, refuse, target_of, unfit, unusual
from crossdraft.decoding.generation import Generation
from crossdraft.decoding.loop import Drafting, decode
from crossdraft.decoding.stopping import End
from crossdraft.decoding.stream import AnswerStream
from crossdraft.decoding.width import Fixed, Width
from crossdraft.drafters.base import HEAD, OF_THE_EVENT_MODEL, Budget, Context, Drafter, Stream
from crossdraft.drafters.find import find_drafter
from crossdraft.vlm.live_head import head_of
from crossdraft.vlm.session import Step

#: Offered where nothing is measured: few enough nodes to widen a step little on most machines.
MODEST = Budget.tree(16, 8)


def custom_generate(
    drafter: str | Path | Drafter = "suffix", *, width: Budget | Width | None = None
) -> SpeculativeGenerate:
    """What `model.generate(..., custom_generate=…)` takes, for any model that sessions can drive.

    Args:
        drafter: a registered name, several joined by `+`, a checkpoint, or a drafter; it goes on
            learning from every answer.
        width: how much it may draft for one pass; by default 16 nodes, 8 below each other.

    Raises:
        InputError: no such drafter, or one that must be trained first.
    """
    found = drafter if isinstance(drafter, Drafter) else find_drafter(str(drafter))
    if width is None or isinstance(width, Budget):
        width = Fixed(MODEST if width is None else width)
    return SpeculativeGenerate(found, width)


class SpeculativeGenerate:
    """See `custom_generate`. One answer at a time.

    Attributes:
        drafter: proposes.
        width: decides how much it may propose.
        last: the last answer: its tau, who proposed what, when tokens came.
    """

    def __init__(self, drafter: Drafter, width: Width) -> None:
        self.drafter, self.width = drafter, width
        self.last: Generation | None = None

    def __call__(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        synced_gpus: bool = False,
        streamer: Any | None = None,
        question: str | None = None,
        stream: Stream | None = None,
        **model_kwargs: Any,
    ) -> Any:
        """Called by `generate` in place of its own loop.

        Args:
            input_ids: [1, length].
            question: an argument that `generate` passes on: what the drafter is told was asked; by
                default the prompt's ids behind the picture.
            stream: an argument that `generate` passes on: the event model's answer, for drafters
                that read it.

        Returns:
            [1, length + answer] ids, or a `GenerateDecoderOnlyOutput` without a cache.

        Raises:
            InputError: something is asked for that is no plain answer to one prompt, a model that
                sessions cannot drive, or an answer that outgrows what the model can read.
        """
        call = _call_of_generate()
        streamer = call.get("streamer") if streamer is None else streamer
        synced_gpus = synced_gpus or bool(call.get("synced_gpus"))
        refuse(unusual(model, generation_config, call.get("assistant_model"), synced_gpus))
        refuse(unfit(model, input_ids, logits_processor, generation_config, model_kwargs))
        stream = self._stream_or_none(stream)
        inputs = Inputs.of(model.config, input_ids, model_kwargs)
        target = target_of(model)
        chooser = _Chooser(input_ids, logits_processor, stopping_criteria, generation_config)

        def put(tokens: Sequence[int]) -> None:
            if streamer is not None:
                for token in tokens:
                    streamer.put(torch.tensor([token]))

        self.last = decode(
            inputs.open(target),
            inputs.prompt,
            Context(
                question or " ".join(map(str, inputs.prompt.question)),
                stream,
                head=head_of(target) if HEAD in self.drafter.needs else None,
                question_ids=inputs.prompt.question,
            ),
            Drafting(self.drafter, self.width, target.may_draft),
            chooser,
            chooser,
            put,
        )
        if chooser.end is None:
            raise _outgrown(input_ids.shape[1], len(self.last.tokens))
        if streamer is not None:
            streamer.end()
        return chooser.output()

    def _stream_or_none(self, stream: Stream | None) -> Stream:
        """The event model's answer, one without words for drafters that do not read it."""
        if stream is None:
            if OF_THE_EVENT_MODEL & self.drafter.needs:
                raise InputError(
                    f"drafter {self.drafter.name} reads an event model's answer, and generate runs "
                    "one model alone",
                    expected="a drafter that reads the target's own words, such as suffix",
                    hint="use Speculator, which runs both models, or give generate stream=…",
                )
            stream = AnswerStream()
            stream.close()
        return stream


class _Chooser:
    """Chooses token after token as `generate` does, down a tree as far as it agrees.

    Rule and stopping in one, because `generate` asks its criteria after every token. Processors,
    the global generator and criteria are used once for each token of the answer and in its order,
    so that whatever draws or remembers finds what it would have found without drafts.

    Args:
        ids: [1, length] of the prompt.
    """

    lossy = False

    def __init__(self, ids: Tensor, processors: Any, criteria: Sequence[Any], config: Any) -> None:
        self._ids, self._processors, self._criteria = ids, processors, criteria
        self._draws, self._as_dict = config.do_sample, config.return_dict_in_generate
        kept: tuple[Tensor, ...] = ()
        self._scores = kept if self._as_dict and config.output_scores else None
        self._logits = kept if self._as_dict and config.output_logits else None
        limits = [one.max_length for one in criteria if isinstance(one, MaxLengthCriteria)]
        #: Tokens of the answer at most.
        self.most = max(1, min(limits, default=sys.maxsize) - ids.shape[1])
        #: Why the answer ended.
        self.end: End | None = None

    @property
    def name(self) -> str:
        """Of the rule."""
        return "sampling in generate" if self._draws else "greedy in generate"

    def __call__(self, step: Step, tree: DraftTree, answer: Sequence[int]) -> Verification:
        """See `Rule`."""
        path: list[int] = []
        here = ROOT
        while True:
            token = self._next(step.logits[here + 1])
            child = tree.child(here, token)
            if child is None:
                return Verification(tuple(path), token)
            path.append(child)
            here = child
            if self.end is not None:
                return Verification(tuple(path), None)

    def cut(self, answer: Sequence[int], new: Sequence[int]) -> tuple[int, End | None]:
        """See `Stopping`: the rule has gone no further than the end."""
        return len(new), self.end

    def output(self) -> Any:
        """What `generate` returns."""
        if not self._as_dict:
            return self._ids
        # Its annotations name one-element tuples, and a kind of tensor that there is not.
        kept: Any = {"sequences": self._ids, "scores": self._scores, "logits": self._logits}
        return GenerateDecoderOnlyOutput(**kept)

    def _next(self, row: Tensor) -> int:
        """The token behind all chosen so far, which it joins.

        Args:
            row: [vocab] logits.
        """
        ids = self._ids
        # `generate` chooses in single precision, on the device of the ids.
        logits = row[None].to(copy=True, dtype=torch.float32, device=ids.device)
        scores = self._processors(ids, logits)
        if self._scores is not None:
            self._scores += (scores,)
        if self._logits is not None:
            self._logits += (logits,)
        if self._draws:
            chosen = torch.multinomial(scores.softmax(-1), num_samples=1)
        else:
            chosen = scores.argmax(-1, keepdim=True)
        self._ids = torch.cat([ids, chosen], -1)
        self.end = self._ending()
        return int(chosen)

    def _ending(self) -> End | None:
        said = [(one, one(self._ids, self._scores)) for one in self._criteria]
        ended = [one for one, done in said if bool(torch.as_tensor(done).all())]
        if any(isinstance(one, EosTokenCriteria) for one in ended):
            return "eos"
        if any(not isinstance(one, MaxLengthCriteria) for one in ended):
            return "stop"
        return "length" if ended else None


def _call_of_generate() -> Mapping[str, Any]:
    """Arguments of the call of `generate` that led here, none where something else did.

    It keeps some of them for loops of its own. Left alone, its streamer would never end, and
    whoever reads it wait for ever.
    """
    caller = sys._getframe(2)
    if caller.f_code.co_name == "generate" and "custom_generate" in caller.f_locals:
        return caller.f_locals
    return {}


def _outgrown(prompt: int, answer: int) -> InputError:
    return InputError(
        f"{prompt} tokens of prompt and {answer} of the answer are all that the model can read",
        expected=f"max_new_tokens of at most {answer}",
    )
