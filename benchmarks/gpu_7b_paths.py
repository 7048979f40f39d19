"""The ways in which a decoding step can run, from plain to captured, and how they are timed.

Sessions drive all but the last. `graph` is the same pass with static inputs, captured as one CUDA
graph: what a session could reach that launches nothing by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from crossdraft.base.clock import Spans, now_ms
from crossdraft.base.errors import InputError, gist
from crossdraft.base.tree import DraftTree
from crossdraft.vlm.cache import PreallocatedCache
from crossdraft.vlm.decoder import Decoder
from crossdraft.vlm.picture import prefill
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target

#: Tokens of the timed passes: a plain step, and a chain of seven drafts behind its root.
WIDTHS = (1, 8)
#: Least rows behind the prompt. The whole buffer is a multiple of `ALIGNED`, as attention kernels
#: want the rows of a mask.
ROOM, ALIGNED = 64, 64
#: Passes before the first that counts. Captured trees of graphs are recorded in the second.
WARMUP = 3


class DecodePath(Protocol):
    """One way to run a pass behind a prompt, to which it returns each time."""

    def run(self, tokens: Sequence[int]) -> list[int]:
        """A pass over a chain; what the model would say behind each of its tokens."""
        ...


class SessionPath:
    """Through a session, as the decoding loop runs a pass: every row's token is read, half of the
    drafts are kept, then forgotten with the root."""

    def __init__(self, target: Target, prompt: Prompt, static: bool = False) -> None:
        self._session = target.open(prompt)
        if static:
            _mark_static(self._session)
        self._session.ask(prompt)

    def run(self, tokens: Sequence[int]) -> list[int]:
        """See `DecodePath.run`."""
        drafts = DraftTree.chain(tokens[1:])
        said: list[int] = self._session.extend(tokens[0], drafts).logits.argmax(-1).tolist()
        kept = range(len(drafts) // 2)
        self._session.keep(kept)
        self._session.rollback(1 + len(kept))
        return said


class StaticStep:
    """A pass of one width whose inputs keep their places in memory, so that it can be captured.

    Args:
        cache: holds the prompt's rows and stays as it is: new rows are written behind them.
    """

    def __init__(self, decoder: Decoder, cache: PreallocatedCache, width: int) -> None:
        self._decoder, self._cache = decoder, cache
        device = decoder.device
        #: Ids, and their places.
        self._inputs = torch.zeros((2, width), dtype=torch.int64, device=device)
        assert cache.capacity is not None
        self._columns = torch.arange(cache.capacity, device=device)
        self._places = torch.arange(cache.length, cache.length + width)
        self._graph: Any = None
        self._said: Tensor | None = None
        self._feed(range(width))

    @torch.no_grad()
    def capture(self) -> None:
        """Record the pass as a CUDA graph.

        Raises:
            InputError: the model is on another device.
        """
        device = self._decoder.device
        if device.type != "cuda":
            raise InputError(f"a CUDA graph on {device.type}", expected="a CUDA device")
        # Libraries choose kernels and take memory in their first calls, which must not be recorded.
        gpu: Any = torch.cuda
        stream = gpu.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(WARMUP):
                self._forward()
        torch.cuda.current_stream(device).wait_stream(stream)
        torch.cuda.synchronize(device)
        graph = gpu.CUDAGraph()
        with torch.cuda.graph(graph):
            self._said = self._forward()
        self._graph = graph

    @torch.no_grad()
    def run(self, tokens: Sequence[int]) -> list[int]:
        """See `DecodePath.run`; launched kernel by kernel unless it was captured."""
        self._feed(tokens)
        if self._graph is None:
            said: list[int] = self._forward().tolist()
            return said
        assert self._said is not None
        self._graph.replay()
        found: list[int] = self._said.tolist()
        return found

    def _feed(self, tokens: Sequence[int]) -> None:
        self._inputs.copy_(torch.stack([torch.tensor(list(tokens)), self._places]))

    def _forward(self) -> Tensor:
        """[width] the best token of every row. Everything in it is on the device."""
        ids, places = self._inputs[:1], self._inputs[1:]
        mask = (self._columns <= places[0][:, None])[None, None]
        self._cache.cursor.slots = places[0]
        try:
            hidden, _ = self._decoder.run(ids, places, self._cache, mask)
        finally:
            self._cache.cursor.slots = None
        return self._decoder.logits(hidden[0]).argmax(-1)


class GraphPath:
    """A captured pass for every width, over one cache."""

    def __init__(self, model: Any, prompt: Prompt) -> None:
        decoder = Decoder(model)
        cache = PreallocatedCache(decoder.caches, _capacity(prompt))
        ids = torch.tensor([prompt.ids], device=decoder.device)
        at = torch.arange(ids.shape[1], device=decoder.device)[None]
        with torch.no_grad():
            prefill(decoder, ids, {}, at, cache, Spans())
        self._steps = {width: StaticStep(decoder, cache, width) for width in WIDTHS}
        for step in self._steps.values():
            step.capture()

    def run(self, tokens: Sequence[int]) -> list[int]:
        """See `DecodePath.run`."""
        return self._steps[len(tokens)].run(tokens)


def _growing(model: Any, prompt: Prompt) -> DecodePath:
    return SessionPath(Target(model), prompt)


def _preallocated(model: Any, prompt: Prompt) -> DecodePath:
    return SessionPath(Target(model, cache="preallocated", room=_room(prompt)), prompt)


def _compiled(model: Any, prompt: Prompt) -> DecodePath:
    target = Target(model, cache="preallocated", room=_room(prompt), compiled=True)
    return SessionPath(target, prompt)


def _reduce_overhead(model: Any, prompt: Prompt) -> DecodePath:
    """As `compiled`, recorded by torch itself in trees of CUDA graphs."""
    if model.device.type != "cuda":
        raise InputError(f"CUDA graphs on {model.device.type}", expected="a CUDA device")
    target = Target(model, cache="preallocated", room=_room(prompt), compiled=True)
    fresh: Any = torch.compiler.cudagraph_mark_step_begin
    run = torch.compile(target.decoder.run, fullgraph=True, dynamic=False, mode="reduce-overhead")

    def step(*arguments: Any) -> Any:
        fresh()  # what the last step gave may be written over from here on
        return run(*arguments)

    target._step = step
    return SessionPath(target, prompt, static=True)


#: By name, the plainest first; those that compile last, because they take longest to prepare.
PATHS: dict[str, Callable[[Any, Prompt], DecodePath]] = {
    "growing": _growing,
    "preallocated": _preallocated,
    "graph": GraphPath,
    "compiled": _compiled,
    "reduce-overhead": _reduce_overhead,
}
#: What runs where nothing else is asked for: a CPU has no graphs, and its compiler takes minutes.
USUAL = {"cuda": tuple(PATHS), "cpu": ("growing", "preallocated")}


def warmed(path: DecodePath, chains: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    """Run every width a few times; what the last of each said, by width."""
    for _ in range(WARMUP):
        said = {width: path.run(chain) for width, chain in chains.items()}
    return said


def skipped_graphs() -> int:
    """How often torch's compiler has run without a CUDA graph that it was asked for: it says so in
    a counter alone, and runs the same kernels one by one."""
    counters = getattr(sys.modules.get("torch._dynamo.utils"), "counters", {})
    return int(counters.get("inductor", {}).get("cudagraph_skips", 0))


def reason(error: Exception) -> str:
    """An error in one line, with its class."""
    return f"{type(error).__name__}: {gist(error)}"


def times_in_turn(
    paths: Mapping[str, DecodePath], chains: Mapping[int, Sequence[int]], repeats: int
) -> tuple[dict[str, dict[int, list[float]]], dict[str, str]]:
    """Time the paths; the order turns from round to round.

    Returns:
        [repeats] ms of every path and width, and why paths failed: those are timed no further.
    """
    lost: dict[str, str] = {}
    tasks = [(name, width) for name in paths for width in chains]
    times_ms: dict[str, dict[int, list[float]]] = {
        name: {width: [] for width in chains} for name in paths
    }
    for turn in range(repeats):
        start = turn % max(1, len(tasks))
        for name, width in tasks[start:] + tasks[:start]:
            if name in lost:
                continue
            began_ms = now_ms()
            try:
                # Ends with tokens on the host, so the device is idle before and behind it.
                paths[name].run(chains[width])
            except Exception as error:  # as `Run.attempt`: the other paths go on
                lost[name] = reason(error)
                continue
            times_ms[name][width].append(now_ms() - began_ms)
    return {name: times for name, times in times_ms.items() if name not in lost}, lost


def _capacity(prompt: Prompt) -> int:
    """Rows of a preallocated cache."""
    return -(-(len(prompt.ids) + ROOM) // ALIGNED) * ALIGNED


def _room(prompt: Prompt) -> int:
    """The same as targets count it: behind the picture."""
    return _capacity(prompt) - prompt.cut


def _mark_static(session: Any) -> None:
    """Tell the compiler that the cache's buffers stay where they are: it records no graph that
    writes to others."""
    import torch._dynamo as dynamo

    for row in session._picture.cache.rows:
        for buffer in row.buffers():
            dynamo.mark_static_address(buffer)
