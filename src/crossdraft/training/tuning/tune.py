"""Tune the event model of a pair, and write the pair that comes out.

Goes through the project's own loop, so a killed tuning goes on from its last epoch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch

from crossdraft.base.errors import InputError
from crossdraft.base.files import atomic_path, write_json, write_text
from crossdraft.base.progress import ProgressSink, silent
from crossdraft.base.result import RunFolder, machine, package_versions, refuse_taken
from crossdraft.drafters.checkpoint import TrainedOn
from crossdraft.training.epochs import STATE, EpochSink, run_epochs
from crossdraft.training.tuning.course import TuneCourse
from crossdraft.training.tuning.lessons import Lessons, read_lessons
from crossdraft.training.tuning.reader import Reader
from crossdraft.training.tuning.settings import TuneConfig
from crossdraft.training.tuning.stored import write_tuned
from crossdraft.training.tuning.students import require_peft, student_of
from crossdraft.vlm.checkpoint import inspect
from crossdraft.vlm.eventgpt.modeling import EventGPTForConditionalGeneration
from crossdraft.vlm.fingerprint import fingerprint_of
from crossdraft.vlm.model_spec import FOLDER_KEYS, ModelSpec
from crossdraft.vlm.pair import DRAFTING, PAIR_FILE, ModelPair
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.placement import Placement
from crossdraft.vlm.tuned import FORMAT, TUNED, tuned_on

DRAFTER, ADAPTER = "drafter", "adapter"


@dataclass(frozen=True)
class Tuned:
    """A tuned pair.

    Attributes:
        folder: of the pair.
        before: figures of the held-out answers before anything was trained.
        history: one record per epoch; times in milliseconds.
        best_epoch: whose weights were kept, by validation tau.
        made: when, with what, from and on what: plain JSON.
        warnings: what a reader of the figures must know.
    """

    folder: Path
    before: Mapping[str, float]
    history: tuple[dict[str, float], ...]
    best_epoch: int
    made: Mapping[str, Any]
    warnings: tuple[str, ...]

    @property
    def best(self) -> Mapping[str, float]:
        """The held-out figures of the weights that were kept."""
        return self.history[self.best_epoch - 1]


def tune(
    pair: ModelPair,
    config: TuneConfig,
    out: Path,
    *,
    sink: ProgressSink = silent,
    on_epoch: EpochSink = lambda _: None,
) -> Tuned:
    """Tune the pair's drafter; the pair with the tuned one is written to `out`.

    Args:
        out: a tuning found there is gone on with.

    Raises:
        InputError: a drafter that is no EventGPT, weights that are packed, PEFT is missing, data
            that cannot be learned from, or `out` holds a result or another tuning.
    """
    refuse_taken(out)
    if config.method == "lora":
        require_peft()
    ready = _ready(pair, config)
    source = pair.drafter.place("drafter")
    with PairModels(ready, asked=("drafter",)) as models:
        reader = _reader(models, source)
        longest = int(reader.model.config.max_position_embeddings)
        prompts: Any = models.drafter.prompts
        lessons = read_lessons(pair, prompts, longest, config)
        student = student_of(reader, config)
        course = TuneCourse(student, lessons, config, fingerprint_of(source))
        run = RunFolder.create("tune", out)
        if not (run.path / STATE).exists():
            run.write_config({"pair": pair.to_json(), **config.model_dump(mode="json")})
        course.network.eval()
        with torch.no_grad():
            before = course.validate()
        progression = run_epochs(course, config.settings, folder=out, sink=sink, on_epoch=on_epoch)
        course.network.load_state_dict(progression.best_state)
        write_tuned(source, out / DRAFTER, student.changes())
        with tempfile.TemporaryDirectory(dir=out) as scratch:
            student.save_adapter(Path(scratch))
            _moved(Path(scratch), out / ADAPTER)
        made = _made(pair, config, lessons, course, source)
    write_json(out / DRAFTER / TUNED, {"format": FORMAT, **made})
    write_text(out / PAIR_FILE, _tuned_pair(pair, config).to_yaml())
    history, best = tuple(progression.history), progression.best_epoch
    warnings = list(lessons.warnings)
    if course.merit(history[best - 1]) <= course.merit(before):
        warnings.append("the held-out answers gained nothing: the model as it was drafts no worse")
    return Tuned(out, before, history, best, made, tuple(warnings))


def _ready(pair: ModelPair, config: TuneConfig) -> ModelPair:
    """The pair, its drafter on the device that was asked for; on a CPU in float32, which alone
    trains well there."""
    if config.settings.device != "auto":
        pair = pair.with_value(f"drafter.device={config.settings.device}")
    placement = Placement.parse(pair.drafter.device)
    if not placement.single:
        raise InputError(
            f"drafter.device is {pair.drafter.device!r}",
            expected="one device: an event model is tuned on one",
            hint="--device cuda",
        )
    if placement.first.type == "cpu" and pair.drafter.dtype in ("auto", "float16", "bfloat16"):
        pair = pair.with_value("drafter.dtype=float32")
    return pair


def _reader(models: PairModels, source: Path) -> Reader:
    checkpoint = inspect(source)
    if checkpoint.quantised:
        raise InputError(
            "weights that are stored quantised",
            where=checkpoint.config_path,
            expected="a dense checkpoint: what is trained is added to its weights",
        )
    drafter: Any = models.drafter
    if not isinstance(drafter.model, EventGPTForConditionalGeneration):
        raise InputError(
            f"a drafter of {checkpoint.architectures[0]}",
            where=source,
            expected="an EventGPT: no other event model is known",
        )
    return Reader(drafter.model, drafter.prompts)


def _moved(scratch: Path, out: Path) -> None:
    """Move what PEFT has written to its place, file by file."""
    for path in sorted(scratch.iterdir()):
        if path.suffix in (".json", ".safetensors"):
            out.mkdir(exist_ok=True)
            with atomic_path(out / path.name) as part:
                path.replace(part)


def _tuned_pair(pair: ModelPair, config: TuneConfig) -> ModelPair:
    """The pair's file: the drafter beside it, everything else named so that it is found from
    anywhere."""
    target, drafter = _absolute(pair.target), _absolute(pair.drafter)
    # A tower of its own is still its own: only the language model was trained.
    return replace(
        pair, name=f"{pair.name}-{config.method}", target=target,
        drafter=replace(drafter, model=f"./{DRAFTER}"),
        drafting=DRAFTING,  # what was trained on the states of the old one is not this one's
    )  # fmt: skip


def _absolute(spec: ModelSpec) -> ModelSpec:
    """Folders by their whole path; names of the hub stay names."""
    paths: dict[str, Any] = {
        key: str(Path(value).resolve())
        for key in FOLDER_KEYS
        if (value := getattr(spec, key)) is not None and Path(value).is_dir()
    }
    return replace(spec, **paths)


def _made(
    pair: ModelPair, config: TuneConfig, lessons: Lessons, course: TuneCourse, source: Path
) -> dict[str, Any]:
    sides = (("train", lessons.train), ("val", lessons.val))
    return {
        "date": date.today().isoformat(),
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "packages": package_versions(),
        "pair": pair.name,
        "drafter": {"model": str(source), "fingerprint": fingerprint_of(source)},
        "method": config.method,
        "trained_parameters": sum(w.numel() for w in course.network.parameters()),
        "scenes_fingerprint": lessons.fingerprint,
        "split": "whole drives" if lessons.by_drive else f"blocks, gap {config.settings.gap} clips",
        **{f"{name}_clips": len(clips) for name, clips in sides},
        **{f"{name}_answers": sum(len(c.turns) for c in clips) for name, clips in sides},
        "trained_on": asdict(_all_seen(lessons.trained_on, source)),
    }


def _all_seen(here: TrainedOn, source: Path) -> TrainedOn:
    """What this tuning has seen, and those that the model had behind it."""
    before = tuned_on(source)
    return TrainedOn(
        tuple(sorted({*here.clips, *before.clips})),
        tuple(sorted({*here.drives, *before.drives})),
        here.task,
    )
