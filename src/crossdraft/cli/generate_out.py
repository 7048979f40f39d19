"""What `crossdraft generate` prints and writes: text as it is accepted, what it took, JSON, a
timeline."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from crossdraft.cli.json_out import print_json

if TYPE_CHECKING:
    from crossdraft.decoding.generation import Generation
    from crossdraft.decoding.speculator import Speculator


class Printer:
    """Prints what each accepted run adds: text, or ids where there is no tokenizer."""

    def __init__(self, speculator: Speculator, stop: Sequence[str], silent: bool) -> None:
        self._speculator, self._stop, self._silent = speculator, stop, silent
        self._push: Callable[[int], str] | None = None
        self._close: Callable[[], str] = str

    def __call__(self, tokens: Sequence[int]) -> None:
        if self._silent:
            return
        if self._push is None:
            self._begin()
        assert self._push is not None
        print("".join(map(self._push, tokens)), end="", flush=True)

    def close(self) -> None:
        """Print what was held back, and end the line."""
        if not self._silent:
            print(self._close())

    def _begin(self) -> None:
        """Look at the model only now: it is loaded by the question, and errors come from there."""
        from crossdraft.decoding.models import tokenizer_of
        from crossdraft.decoding.stopping import TextUntil
        from crossdraft.vlm.text_stream import TextStream

        tokenizer = tokenizer_of(self._speculator.models.target)
        if tokenizer is None:
            self._push = lambda token: f"{token} "
            return
        stream, until = TextStream(tokenizer), TextUntil(self._stop)
        self._push = lambda token: until.push(stream.push(token))
        self._close = lambda: until.push(stream.close()) + until.close()


@contextmanager
def python_warnings() -> Iterator[list[str]]:
    """Warnings of Python as lines on the error stream; they are in the list, too."""
    said: list[str] = []

    def show(message: Warning | str, *_: object) -> None:
        said.append(str(message))
        print(f"warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]  # ours reads the message alone
        yield said


def show_costs(answer: Generation, about: Mapping[str, object], hears: bool) -> None:
    """What it took, on the error stream, so that the answer alone can be kept.

    Args:
        hears: whether the drafter reads the event model's words.
    """
    names = ("read", "vision", "prefill", "decode", "verify", "draft")
    stages = ", ".join(
        f"{name} {total:.0f} ms"
        for name in names
        if (total := answer.spans.total_ms(name)) or name not in ("verify", "draft")
    )
    who = str(about["answer_with"])
    if who == "speculative":
        who += f" ({about['drafter']})"
    print(
        f"{who}: {len(answer.tokens)} tokens ({answer.end}) in {len(answer.passes)} passes, "
        f"{answer.tau:.2f} a pass; first after {answer.arrival_ms[0]:.0f} ms, last after "
        f"{answer.arrival_ms[-1]:.0f} ms; {stages}; prompt of {answer.prompt_tokens:,} ids, hash "
        f"{answer.prompt_hash}",
        file=sys.stderr,
    )
    if hears:
        print(_event_model(answer), file=sys.stderr)
    if answer.lossy:
        print(_lossy(answer), file=sys.stderr)


def _event_model(answer: Generation) -> str:
    """How many of the event model's words were there in time."""
    if answer.drafter_spans is None:
        return "event model not asked (none)"
    when = "before the target" if answer.overlap == "sequential" else "beside"
    first = sum(ms <= answer.arrival_ms[0] for ms in answer.drafter_arrival_ms)
    return f"event model {when} ({answer.overlap}): {first} words before the first token"


def _lossy(answer: Generation) -> str:
    return f"LOSSY: by the rule {answer.rule}, not the target's own answer"


def write_timeline(path: Path, answer: Generation, about: dict[str, object]) -> None:
    """When what ran, as a trace."""
    from crossdraft.base.trace import Moment, write_trace

    who = "drafter" if about["answer_with"] == "drafter" else "target"
    tracks = {who: answer.spans}
    if answer.drafter_spans is not None:
        tracks["drafter"] = answer.drafter_spans
    about |= {"text": answer.text, "tau": answer.tau, "rule": answer.rule, "lossy": answer.lossy}
    moments, said = [], 0
    for one in answer.passes:
        accepted = {"drafted": len(one.tree), "accepted": len(one.path)}
        moments.append(Moment(who, f"{one.emitted} tokens", answer.arrival_ms[said], accepted))
        said += one.emitted
    write_trace(path, tracks, about, moments)


def print_answer(
    answer: Generation, about: Mapping[str, object], config: dict[str, object], warned: list[str]
) -> None:
    """The result as JSON; a lossy answer is a warning."""
    from crossdraft.base.result import Result

    warned = [*warned, _lossy(answer)] if answer.lossy else warned
    result = Result("generate", {**about, **answer.to_json()}, config, warnings=warned)
    print_json(result.to_json())
