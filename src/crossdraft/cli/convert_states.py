"""The work behind `crossdraft convert`: one function per way, and what each says in the end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from crossdraft.cli.progress import progress_bar

if TYPE_CHECKING:
    from crossdraft.pairs.seed_states import SideHead
    from crossdraft.pairs.store.kinds import Side


def answers_to_answers(source: Path, target: Path, own: bool) -> None:
    """Recorded answers of any format, in our own or as an extraction."""
    from crossdraft.pairs.formats import read_pairs, write_extraction, write_pairs

    found = read_pairs(source)
    lost = (
        "" if own or not any(p.draft_stages_ms or p.drive for p in found.pairs)
        else " (drives and stage times have no place in the extraction format)"
    )  # fmt: skip
    (write_pairs if own else write_extraction)(found, target)
    wanted = "pairs" if own else "extraction"
    print(f"{target}: {len(found)} pairs, {found.format} -> {wanted}{lost}")
    for reason, count in sorted(found.skipped.items()):
        print(f"skipped {count}: {reason}")


def states_to_store(
    source: Path,
    target: Path,
    dtype: str,
    lm_head: Path | None,
    drafter_lm_head: Path | None,
    device: str,
) -> None:
    """The seed study's states as a pair store."""
    from crossdraft.base.result import provenance
    from crossdraft.pairs.seed_index import open_states
    from crossdraft.pairs.seed_states import convert_states
    from crossdraft.scenes.disk import format_bytes

    states = open_states(source)
    heads: dict[Side, SideHead] = {}
    if lm_head is not None:
        heads["target"] = _head(lm_head, device)
    if drafter_lm_head is not None:
        heads["own"] = _head(drafter_lm_head, device)
    with progress_bar() as progress:
        made = convert_states(
            states,
            target,
            dtype=dtype,
            heads=heads,
            provenance=provenance((), sys.argv),
            progress=progress,
        )
    size = sum(shard.bytes for shard in made.shards)
    kinds = ", ".join(f"{kind.name} {kind.dtype}" for kind in made.schema.kinds)
    print(f"{target}: {made.pairs:,} pairs, states {kinds}, {format_bytes(size)}")
    for side, how in made.schema.tokens.items():
        print(f"{side} ids: {how}")
    if dropped := made.source.get("dropped"):
        print(f"not a field of the study, left out: {', '.join(dropped)}")
    if "target" not in made.schema.tokens:
        print("no target ids: --lm-head FILE recovers them")


def store_to_states(
    source: Path, target: Path, chunks: bool, chunk_size: int | None, min_length: int | None
) -> None:
    """A pair store as the seed study's chunks or single file."""
    from crossdraft.pairs.seed_export import write_chunks, write_single
    from crossdraft.pairs.store.store import PairStore

    store = PairStore.open(source)
    with progress_bar() as progress:
        if chunks:
            done = write_chunks(
                store, target, chunk_size=chunk_size, min_length=min_length, progress=progress
            )
        else:
            done = write_single(store, target, min_length=min_length, progress=progress)
    where = f" in {done.files:,} chunk{'' if done.files == 1 else 's'}" if chunks else ""
    print(f"{target}: {done.pairs:,} pairs{where}")
    if done.left_out:
        print(f"left out {done.left_out:,}: an answer of fewer than {done.shortest} states")
    if done.lost:
        print(f"no place in this format for: {', '.join(done.lost)}")


def head_to_head(source: Path, target: Path) -> None:
    """A model's head in our format or the seed study's, by the name of the target."""
    from crossdraft.vlm.lm_head import write_lm_head
    from crossdraft.vlm.lm_head_pt import read_head, write_lm_head_pt

    head = read_head(source)
    if target.suffix.lower() == ".pt":
        write_lm_head_pt(head, target)
        lost = [
            name
            for name, part in (("final norm", head.norm), ("input embedding", head.embedding))
            if part is not None
        ]
    else:
        write_lm_head(head, target)
        lost = []
    facts = head.facts
    print(
        f"{target}: {facts.vocab:,} x {facts.hidden:,}; "
        f"ids below {facts.draftable:,} may be drafted"
    )
    if lost:
        print(f"no place in this format for: {', '.join(lost)}")


def _head(path: Path, device: str) -> SideHead:
    """A head that gives every caller the same ids: in float32, whatever it is stored in."""
    import torch

    from crossdraft.base.device import find_device
    from crossdraft.pairs.seed_states import SideHead
    from crossdraft.vlm.lm_head_pt import read_head

    return SideHead(path.name, read_head(path).to(torch.float32).to(find_device(device)))
