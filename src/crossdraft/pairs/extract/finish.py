"""From an extraction's folder to a store, and back where clips have failed: beginning and end."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.files import parse_json, read_text, sweep, write_json
from crossdraft.base.lock import locked_file
from crossdraft.base.result import provenance
from crossdraft.pairs.extract.plan import Plan
from crossdraft.pairs.extract.workplace import Record, Workplace
from crossdraft.pairs.store.manifest import MANIFEST, Manifest
from crossdraft.pairs.store.store import PairStore
from crossdraft.pairs.store.thoughts import HEAD_FILE
from crossdraft.vlm.lm_head import lm_head_of, write_lm_head

#: When, with what and by which call the store was begun.
_BEGUN = "begun.json"


def begin(plan: Plan, argv: Sequence[str] = ()) -> Manifest | None:
    """Make the folder ready, or say that its store is finished.

    A finished store with clips that failed is opened again: what it lacks is to be made.

    Returns:
        The manifest of a store that lacks nothing; None where there is something to do.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """
    place = Workplace(plan.out)
    plan.note.check(plan.out)
    with locked_file(plan.out / MANIFEST):
        plan.note.check(plan.out)  # another process may have begun it meanwhile
        try:
            if place.finished:
                manifest = PairStore.open(plan.out).manifest
                if not manifest.missing:
                    return manifest
                _reopen(plan, place, manifest)
            plan.note.write(plan.out)
            place.open.mkdir(exist_ok=True)
            if not (place.open / _BEGUN).is_file():
                write_json(place.open / _BEGUN, provenance((), argv))
        except OSError as error:
            raise InputError(f"cannot write here ({error.strerror})", where=plan.out) from error
    return None


def finish(plan: Plan) -> Manifest | None:
    """Write the manifest if all shards are done, and clear the workplace away.

    Returns:
        The manifest, also where another process was quicker; None where shards are not done.

    Raises:
        InputError: every clip has failed, and there is no store.
    """
    place = Workplace(plan.out)
    with locked_file(plan.out / MANIFEST):
        if place.finished:
            manifest = PairStore.open(plan.out).manifest
        else:
            if not all(place.is_done(shard) for shard in range(plan.shards)):
                return None
            records = [place.record(shard) for shard in range(plan.shards)]
            manifest = _manifest(plan, place, [one for one in records if one is not None])
            _put_head(plan)
            write_json(plan.out / MANIFEST, manifest.to_json())
        # Whatever a killed process has left beside them; nobody writes any more.
        sweep(plan.out)
        shutil.rmtree(place.open, ignore_errors=True)
    return manifest


def _manifest(plan: Plan, place: Workplace, records: Sequence[Record]) -> Manifest:
    missing = tuple(one for record in records for one in record.missing)
    shards = tuple(record.info for record in records if record.info is not None)
    if not shards:
        # Its records say that nothing is left to do; without them the same call tries again.
        shutil.rmtree(place.open, ignore_errors=True)
        raise InputError(
            f"all {len(plan.scenes):,} clips failed, and there is no store; the first, "
            f"{missing[0].clip}: {missing[0].reason}",
            where=plan.out,
            expected="a clip that both models can answer about",
            hint="ask one clip: crossdraft generate --scene DATASET/drive/clip; the same call "
            "tries all of them again",
        )
    begun = _begun(place)
    asked = plan.question_ids
    return Manifest(plan.schema, shards, plan.questions, plan.source, begun, missing, asked)


def _put_head(plan: Plan) -> None:
    """The target's head beside its states, for the drafters that read them.

    A head that cannot be taken out of its checkpoint, a quantised one say, is missed by whoever
    asks for it, and told how to name one.
    """
    if not plan.keep.last:
        return
    with contextlib.suppress(InputError):
        write_lm_head(lm_head_of(plan.pair.target.place("target")), plan.out / HEAD_FILE)


def _begun(place: Workplace) -> Mapping[str, Any]:
    path = place.open / _BEGUN
    try:
        found = parse_json(read_text(path), path)
    except InputError:
        return provenance((), ())
    return found if isinstance(found, dict) else {}


def _reopen(plan: Plan, place: Workplace, manifest: Manifest) -> None:
    """Make a finished store one that lacks the shards of clips that failed.

    The manifest goes last: a kill before that leaves the store as it was.
    """
    shutil.rmtree(place.open, ignore_errors=True)
    place.open.mkdir()
    write_json(place.open / _BEGUN, dict(manifest.provenance))
    again = {plan.number_of[one.clip] // plan.clips_per_shard for one in manifest.missing}
    infos = {info.file: info for info in manifest.shards}
    for shard in range(plan.shards):
        info = infos.get(place.shard_name(shard))
        if shard not in again:
            place.keep_record(shard, Record(info))
        elif info is not None:
            place.adopt(shard)
    (plan.out / MANIFEST).unlink()
