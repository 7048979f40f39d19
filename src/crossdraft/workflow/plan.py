"""A study's steps: what each does, what it reads, and behind which others it comes.

What loads models is imported where it runs: that takes seconds, and many studies do without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossdraft.base.progress import ProgressSink
from crossdraft.decoding.answers import read_answers
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.pairs.leak import check_leak, without_neighbours
from crossdraft.pairs.store.manifest import MANIFEST
from crossdraft.training.loop import BEST, STATE
from crossdraft.training.settings import TrainConfig
from crossdraft.vlm.model_spec import ROLES
from crossdraft.workflow import steps as work
from crossdraft.workflow.config import StudyConfig
from crossdraft.workflow.engine import RESULT, Report, Step
from crossdraft.workflow.files import InputFiles
from crossdraft.workflow.sections import (
    SCENES,
    WALLCLOCK,
    WORLD,
    Dataset,
    Setting,
    Wallclock,
    WithPair,
    extract_folder,
    located,
    made_split,
    with_places,
    words_of,
)

if TYPE_CHECKING:
    from crossdraft.bench.wallclock.plan import WallclockConfig

#: Fields of the configurations that name files or follow from the step's place.
_PATHS = {
    "pairs", "val_pairs", "train_pairs", "shuffled_pairs", "cost_curve", "lm_head", "drafters",
    "named",
}  # fmt: skip
#: Files of a data set that an evaluation reads.
_TESTED = ("train", "test", "shuffled")
#: What of a section decides how a result is made, but not which.
_HOW = {"workers", "pair", "set", "scenes"}


def plan(config: StudyConfig, out: Path) -> list[Step]:
    """The steps of a study, each behind those that it needs.

    Raises:
        InputError: a pair that is not there, where the study loads one.
    """
    made: list[Step] = []
    if config.scenes is not None:
        made.append(_scenes_step(config))
    if config.extract is not None:
        made += [_extract_step(config, out, split) for split in config.extract.splits]
    for dataset in config.datasets:
        trained = config.networks if dataset.test is not None else ()
        made += [_train_step(config, out, dataset, name) for name in trained]
        made += [_evaluate_step(config, out, dataset, s, trained) for s in config.evaluate]
    if config.wallclock is not None:
        made.append(_wallclock_step(config, config.wallclock, out))
    return made


def training_folder(dataset: Dataset, name: str) -> str:
    """Where a drafter is trained, below the study's folder."""
    return f"{dataset.name}/train-{name}"


def world_of(config: StudyConfig, section: WithPair, out: Path) -> Path:
    """The dataset of scenes that a section reads."""
    return section.scenes if section.scenes is not None else out / SCENES / WORLD


def timed_dataset(config: StudyConfig, asked: Wallclock) -> Dataset | None:
    """The data set whose checkpoints are timed; None where there is none."""
    tested = (dataset for dataset in config.datasets if dataset.test is not None)
    named = (dataset for dataset in tested if asked.dataset in (None, dataset.name))
    return next(named, None)


def timed_models(config: StudyConfig, asked: Wallclock, out: Path) -> dict[str, Path]:
    """Folders of the checkpoints that are timed, by the drafter's name in the study."""
    dataset = timed_dataset(config, asked)
    words = {word for text in asked.configs for word in words_of(text)}
    named = [name for name in config.networks if name in words]
    return {} if dataset is None else {name: out / training_folder(dataset, name) for name in named}


def _scenes_step(config: StudyConfig) -> Step:
    assert config.scenes is not None
    return Step(
        name=SCENES,
        kind="scenes synth",
        options=config.scenes.model_dump(mode="json", exclude={"workers"}),
        inputs={},
        needs=(),
        run=partial(_scenes, config),
        outputs=(RESULT, f"{WORLD}/scenes.json"),
    )


def _extract_step(config: StudyConfig, out: Path, split: str) -> Step:
    asked = config.extract
    assert asked is not None
    options = asked.model_dump(mode="json", exclude=_HOW | {"splits", "questions", "save_interval"})
    return Step(
        name=extract_folder(split),
        kind="extract",
        options={
            **options, "split": split, "models": _models(asked),
            "questions": asked.texts(),
        },
        inputs=_manifest(asked),
        needs=_scenes_needed(asked),
        run=partial(_extract, config, split, world_of(config, asked, out)),
        outputs=(RESULT, f"{split}/{MANIFEST}"),
    )  # fmt: skip


def _train_step(config: StudyConfig, out: Path, dataset: Dataset, name: str) -> Step:
    here = dataset.located(out)
    resolved = config.training(here, name)
    return Step(
        name=training_folder(dataset, name),
        kind="train",
        options=resolved.model_dump(mode="json", exclude=_PATHS),
        inputs=_given(dataset, "train", "val"),
        needs=_made(dataset, "train", "val"),
        run=partial(_train, resolved, here),
        outputs=(RESULT, BEST),
        leftovers=(STATE,),
    )


def _evaluate_step(
    config: StudyConfig, out: Path, dataset: Dataset, setting: Setting, trained: Iterable[str]
) -> Step:
    here = dataset.located(out)
    resolved = config.evaluation(here, setting)
    names = config.evaluated(setting)
    words = {word for name in names for word in words_of(name)}
    behind = [name for name in trained if name in words]
    models = {name: out / training_folder(dataset, name) / BEST for name in behind}
    curve = {} if resolved.cost_curve is None else {"cost_curve": resolved.cost_curve}
    return Step(
        name=f"{dataset.name}/{setting.folder}",
        kind="evaluate",
        options={
            **resolved.model_dump(mode="json", exclude=_PATHS), "drafters": list(names)
        },
        inputs={**_given(dataset, *_TESTED), **curve},
        needs=(
            *_made(dataset, *_TESTED), *(training_folder(dataset, name) for name in behind)
        ),
        # The checkpoints exist only when the step runs, and the configuration asks for them.
        run=partial(_evaluate, lambda: config.evaluation(here, setting, models)),
        leftovers=(work.FOLD_STATES,),
    )  # fmt: skip


def _wallclock_step(config: StudyConfig, asked: Wallclock, out: Path) -> Step:
    section = _paired(config, asked)
    models = timed_models(config, asked, out)
    dataset = timed_dataset(config, asked)
    learned = asked.learn_from
    split = None if learned is None else made_split(learned)
    options = asked.model_dump(mode="json", exclude=_HOW | {"learn_from", "questions_file"})
    inputs = {**_manifest(asked), **({} if learned is None or split else {"learned": learned})}
    return Step(
        name=WALLCLOCK,
        kind="bench wallclock",
        options={**options, "models": _models(section), "texts": list(_asked(config, asked))},
        inputs=inputs,
        needs=(
            *_scenes_needed(asked),
            *((extract_folder(split),) if split else ()),
            *(training_folder(dataset, name) for name in models if dataset is not None),
        ),
        run=partial(_wallclock, lambda: _wallclock_config(config, asked, out)),
    )


def _wallclock_config(config: StudyConfig, asked: Wallclock, out: Path) -> WallclockConfig:
    from crossdraft.bench.wallclock.configuration import configurations
    from crossdraft.bench.wallclock.plan import WallclockConfig

    models = {name: str(path) for name, path in timed_models(config, asked, out).items()}
    configs = ",".join(asked.configs)
    drafting = {one.drafter for one in configurations(configs) if one.drafter is not None}
    return WallclockConfig(
        pair=_paired(config, asked).chosen_pair(),
        scenes=world_of(config, asked, out),
        configs=configs,
        drafters={name: with_places(name, models) for name in sorted(drafting)},
        questions=asked.questions,
        validation=asked.validation,
        learn_from=None if asked.learn_from is None else located(asked.learn_from, out),
        texts=_asked(config, asked),
        rounds=asked.alternations,
        warmup=asked.warmup,
        max_new_tokens=asked.max_new_tokens,
        picture=asked.picture,
        threads=asked.threads,
        cores=asked.cores,
        rivals=tuple(asked.rivals),
        kth=asked.kth,
        seed=asked.seed,
    )


def _asked(config: StudyConfig, asked: Wallclock) -> tuple[str, ...]:
    """What is asked about each scene: what was learned, where the section does not say."""
    if asked.questions_file is None and config.extract is not None:
        return tuple(config.extract.texts())
    return asked.texts()


def _paired(config: StudyConfig, asked: Wallclock) -> WithPair:
    """The section that says which pair is timed: the extraction's where its own does not."""
    says = {"pair", "set"} & asked.model_fields_set
    return config.extract if config.extract is not None and not says else asked


def _models(section: WithPair) -> dict[str, Any]:
    """What decides what both models say, wherever they lie."""
    from crossdraft.pairs.extract.model_facts import ModelFacts

    pair = section.chosen_pair()
    return {role: ModelFacts.of(pair.spec(role), role).identity for role in ROLES}


def _manifest(section: WithPair) -> dict[str, Path]:
    """The file that stands for scenes which the study does not make."""
    return {} if section.scenes is None else {"scenes": section.scenes / "scenes.json"}


def _scenes_needed(section: WithPair) -> tuple[str, ...]:
    return (SCENES,) if section.scenes is None else ()


def _given(dataset: Dataset, *roles: str) -> dict[str, Path]:
    """Files of a data set that the study finds."""
    made = dataset.made
    return {role: p for role, p in dataset.files.items() if role in roles and role not in made}


def _made(dataset: Dataset, *roles: str) -> tuple[str, ...]:
    """Steps that make the files of a data set."""
    splits = [split for role, split in dataset.made.items() if role in roles]
    return tuple(dict.fromkeys(extract_folder(split) for split in splits))


def _scenes(config: StudyConfig, folder: Path, sink: ProgressSink, report: Report) -> None:
    assert config.scenes is not None
    from crossdraft.workflow.making import run_scenes

    run_scenes(config.scenes, folder, sink)


def _extract(
    config: StudyConfig, split: str, scenes: Path, folder: Path, sink: ProgressSink, report: Report
) -> None:
    assert config.extract is not None
    from crossdraft.workflow.making import run_extraction

    run_extraction(config.extract, split, scenes, folder, sink)


def _train(
    config: TrainConfig, dataset: Dataset, folder: Path, sink: ProgressSink, report: Report
) -> None:
    # The evaluation refuses a leak too, but only after the training's hours.
    if dataset.test is not None and InputFiles().fault(dataset.test) is None:
        train, test = (read_answers(p, config.eos).pairs for p in (dataset.train, dataset.test))
        kept, _ = without_neighbours(train, test, config.settings.gap)
        check_leak(kept, test, config.settings.gap)
    work.run_training(config, folder, sink, report)


def _evaluate(
    config: Callable[[], EvaluateConfig], folder: Path, sink: ProgressSink, report: Report
) -> None:
    work.run_evaluation(config(), folder, sink)


def _wallclock(
    config: Callable[[], WallclockConfig], folder: Path, sink: ProgressSink, report: Report
) -> None:
    work.run_wallclock(config(), folder, sink)
