"""What `crossdraft extract` says: before, while it runs, in the end, and from outside."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossdraft.base.clock import now_ms
from crossdraft.base.errors import InputError
from crossdraft.base.progress import Progress, ProgressSink
from crossdraft.cli.json_out import print_json

if TYPE_CHECKING:
    from crossdraft.pairs.extract.estimate import Measured
    from crossdraft.pairs.extract.events import Event
    from crossdraft.pairs.extract.plan import Plan
    from crossdraft.pairs.extract.run import Outcome
    from crossdraft.pairs.store.manifest import Missing


class Following:
    """Says what will be done, then draws a bar, and without a terminal a line per shard.

    Args:
        workers: processes of this call.
        bars: draws progress.
    """

    def __init__(self, plan: Plan, workers: int, bars: ProgressSink) -> None:
        from crossdraft.pairs.extract.plan import NOTE
        from crossdraft.pairs.extract.status import read_status

        self._plan, self._workers, self._bars = plan, workers, bars
        self._shards = self._pairs_before = 0
        if (plan.out / NOTE).is_file():
            there = read_status(plan.out)
            self._shards, self._pairs_before = there.done, there.pairs + there.saved
        self._clips = {"target": 0, "both": self._pairs_before // len(plan.questions)}
        self._began_ms, self._made = now_ms(), 0
        #: By role the first clips, as many as a process does in one batch.
        self._first: dict[str, list[Event]] = {"target": [], "both": []}
        _say(_most(plan) + (f"; {self._pairs_before:,} are there" if self._pairs_before else ""))

    def tell(self, event: Event) -> None:
        """Show what has happened."""
        if event.what in ("clip", "failure"):
            self._clips[event.role] += 1
            stage = "clips" if event.role == "both" else "clips: target"
            self._bars(Progress(stage, self._clips[event.role], len(self._plan.scenes)))
        if event.what == "clip":
            self._made += event.pairs if event.role == "both" else 0
            self._estimate(event)
        elif event.what == "failure":
            _say(f"failed {event.clip}: {event.reason}")
        elif event.what == "alone":
            _say(f"a batch of clips failed, each is asked alone: {event.reason}")
        elif event.what == "lost":
            _say(f"damaged, and made again: {event.reason}")
        elif event.what == "shard":
            # Those that are made again for clips that had failed were counted before.
            self._shards = min(self._shards + 1, self._plan.shards)
            self._shard(event)

    def _estimate(self, event: Event) -> None:
        """The estimate, as soon as a batch is done."""
        from crossdraft.pairs.extract.estimate import Measured

        plan, first = self._plan, self._first[event.role]
        wanted = min(plan.batch_clips, plan.clips_per_shard, len(plan.scenes))
        if len(first) == wanted:
            return
        first.append(event)
        if len(first) < wanted:
            return
        found = Measured(
            len(first),
            sum(one.pairs for one in first),
            (sum(one.positions[0] for one in first), sum(one.positions[1] for one in first)),
            sum(one.seconds for one in first),
        )
        left = len(self._plan.scenes) - self._clips[event.role]
        if event.role == "target":
            _say(f"{_duration(found.seconds_of(left, self._workers))} for the target's answers")
            return
        _say(_about(self._plan, found, left, self._workers))

    def _shard(self, event: Event) -> None:
        if sys.stderr.isatty():
            return
        seconds = (now_ms() - self._began_ms) / 1e3
        rate = self._made / seconds if seconds else 0.0
        left = self._plan.pairs - self._pairs_before - self._made
        more = f", {_duration(left / rate)} left" if rate and left > 0 else ""
        _say(
            f"shard {self._shards:,} of {self._plan.shards:,} is done: {event.pairs:,} pairs; "
            f"{rate:.3g} pairs/s{more}"
        )


def dry_run(plan: Plan, workers: int, config: dict[str, Any] | None) -> None:
    """Measure a clip, and say what the plan takes; as JSON where the configuration is given."""
    from crossdraft.pairs.extract.estimate import measure, most_bytes
    from crossdraft.scenes.disk import free_bytes

    if config is None:
        print(_most(plan))
    measured = measure(plan)
    if config is None:
        print(_about(plan, measured, len(plan.scenes), workers))
        return
    payload = {
        "clips": len(plan.scenes),
        "pairs": plan.pairs,
        "shards": plan.shards,
        "most_bytes": most_bytes(plan),
        "free_bytes": free_bytes(plan.out),
        "bytes": measured.bytes_of(plan),
        "seconds": measured.seconds_of(len(plan.scenes), workers),
        "measured": asdict(measured),
    }
    _print_json(payload, config, plan)


def result(plan: Plan, outcome: Outcome, config: dict[str, Any] | None) -> bool:
    """Say what came out, as JSON where the configuration is given; whether no clip has failed."""
    from crossdraft.scenes.disk import format_bytes

    manifest = outcome.manifest
    spent = outcome.working_seconds
    rate = outcome.made / spent if outcome.made and spent else None
    if manifest is None:
        if config is not None:
            payload = {"out": str(plan.out), "finished": False, "made": outcome.made}
            _print_json(payload, config, plan)
        else:
            print(
                f"{plan.out}: {outcome.made:,} pairs made here; other processes hold what is left "
                "(--status says how far they are)"
            )
        return True
    size = sum(info.bytes for info in manifest.shards)
    tokens = {
        side: sum(info.positions[side] for info in manifest.shards) for side in ("target", "own")
    }
    if config is not None:
        payload = {
            "out": str(plan.out), "finished": True, "pairs": manifest.pairs,
            "made": outcome.made, "shards": len(manifest.shards), "tokens": tokens,
            "bytes": size, "seconds": round(outcome.seconds, 3), "pairs_per_s": rate,
            "failed": [asdict(one) for one in manifest.missing],
        }  # fmt: skip
        _print_json(payload, config, plan)
        return not manifest.missing
    _failed(manifest.missing)
    speed = "all of it was there" if rate is None else f"{rate:.3g} pairs/s"
    print(
        f"{plan.out}: {manifest.pairs:,} pairs in {_count(len(manifest.shards), 'shard')}, "
        f"{tokens['target']:,} target and {tokens['own']:,} drafter tokens, "
        f"{format_bytes(size)}; {speed}"
    )
    if manifest.missing:
        print(f"{_count(len(manifest.missing), 'clip')} failed; the same call tries again")
    for warning in _warnings(plan):
        print(f"warning: {warning}")
    return not manifest.missing


def status(out: Path, as_json: bool) -> None:
    """Say how far an extraction is."""
    from crossdraft.pairs.extract.status import read_status
    from crossdraft.scenes.disk import format_bytes

    found = read_status(out)
    if as_json:
        from crossdraft.base.result import Result

        print_json(Result("extract", found.to_json(), {"out": str(out), "status": True}).to_json())
        return
    how_far = "finished" if found.finished else _working(found.running)
    print(
        f"{out}: {how_far}; of {_count(found.shards, 'shard')} {found.done:,} done, "
        f"{found.busy:,} being made, {found.waiting:,} waiting"
    )
    saved = f", {found.saved:,} of them in open shards" if found.saved else ""
    print(f"{found.pairs + found.saved:,} of {found.planned:,} pairs{saved}")
    if found.pairs_per_s is not None and found.seconds_left is not None:
        print(f"{found.pairs_per_s:.3g} pairs/s, {_duration(found.seconds_left)} left")
    print(f"{format_bytes(found.bytes)} on the disk, {format_bytes(found.free_bytes)} are free")
    _failed(found.failed)


def _working(processes: int) -> str:
    return f"{_count(processes, 'process', 'es')} at work" if processes else "nobody is at work"


def _failed(failed: Sequence[Missing]) -> None:
    for one in failed:
        print(f"failed {one.clip}: {one.reason} (tried {one.tries} times)")


def _most(plan: Plan) -> str:
    """What is asked for, and what it can take at most."""
    from crossdraft.pairs.extract.estimate import most_bytes
    from crossdraft.scenes.disk import format_bytes, free_bytes

    needed, free = most_bytes(plan), free_bytes(plan.out)
    warning = "; warning: that may not fit" if needed > free else ""
    return (
        f"{_count(len(plan.scenes), 'clip')} x {_count(len(plan.questions), 'question')} = "
        f"{plan.pairs:,} pairs in {_count(plan.shards, 'shard')}; at most {format_bytes(needed)} "
        f"({format_bytes(free)} are free){warning}"
    )


def _about(plan: Plan, measured: Measured, clips: int, workers: int) -> str:
    """What it takes as far as clips have shown."""
    from crossdraft.scenes.disk import format_bytes

    seconds = measured.seconds / measured.clips
    with_ = f" with {workers} processes" if workers > 1 else ""
    return (
        f"{seconds:.2g} s a clip: about {_duration(measured.seconds_of(clips, workers))}{with_} "
        f"for {clips:,}; the store about {format_bytes(measured.bytes_of(plan))}"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _count(number: int, name: str, plural: str = "s") -> str:
    return f"{number:,} {name}{'' if number == 1 else plural}"


def _warnings(plan: Plan) -> list[str]:
    """What whoever uses the pairs must know of their events."""
    from crossdraft.scenes.scene import SIMULATED
    from crossdraft.vlm.scene_events import with_events

    if any(one.simulated for one in plan.scenes):
        return [SIMULATED]
    plain = next((one for one in plan.scenes if one.events_path is None), None)
    try:
        return [SIMULATED] if plain and with_events(plan.pair, plain).simulated else []
    except InputError:  # a video that cannot be read; what it gave is a failure
        return [SIMULATED]


def _print_json(payload: dict[str, Any], config: dict[str, Any], plan: Plan) -> None:
    from crossdraft.base.result import Result

    print_json(Result("extract", payload, config, warnings=_warnings(plan)).to_json())


def _say(text: str) -> None:
    print(text, file=sys.stderr)
