"""A study's YAML: what it means, and that every fault names its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.drafters.registry import LADDER
from crossdraft.workflow.check import read_study
from crossdraft.workflow.config import StudyConfig
from crossdraft.workflow.sections import words_of

ROOT = Path(__file__).parents[2]

WHOLE = """
name: small
datasets:
  - {name: 1s, train: data/train.jsonl, test: data/test.jsonl}
  - {name: folds, train: more.jsonl}
drafters: [suffix, token-adapter]
train: {num_epochs: 3, learning_rate: 1e-4}
evaluate: {gamma: 4}
"""


def read(folder: Path, text: str) -> StudyConfig:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return read_study(path)


def test_the_shipped_study_is_valid() -> None:
    config = read_study(ROOT / "configs" / "tokens.yaml")
    assert config.name == "tokens"
    assert [dataset.name for dataset in config.datasets] == ["1s", "500ms"]
    assert config.datasets[0].train == ROOT / "configs" / "data" / "train_tokens_1s.json.gz"
    assert config.networks == ("token-adapter", "translator")
    training = config.training(config.datasets[1], "token-adapter")
    assert (training.settings.learning_rate, training.options["num_layers"]) == (1e-4, 4)
    assert training.task_name == "500ms"
    other = config.training(config.datasets[1], "translator")
    assert other.settings.early_stopping == 10
    assert other.settings.learning_rate != 1e-4, "options of one drafter reach no other"
    widths = [config.evaluation(config.datasets[0], s).budget.nodes for s in config.evaluate]
    assert widths == [5, 60]


def test_the_shipped_ladder_names_all_levels() -> None:
    config = read_study(ROOT / "configs" / "ladder.yaml")
    levels = {config.variant(name).drafter for name in config.networks}
    assert levels == set(LADDER)
    trained = {name: config.training(config.datasets[0], name).options for name in config.networks}
    assert trained["l1-own"] == {**trained["l1"], "alignment": "own"}
    assert trained["l4-seed"] == {**trained["l4"], "loss": "seed"}
    assert config.wallclock is not None
    timed = {word for text in config.wallclock.configs for word in words_of(text)}
    assert set(config.networks) - {"l1-own", "l4-own", "l1-seed"} < timed


def test_paths_start_at_the_file_and_numbers_are_numbers(tmp_path: Path) -> None:
    config = read(tmp_path, WHOLE)
    assert config.datasets[0].test == tmp_path / "data" / "test.jsonl"
    assert config.train["learning_rate"] == 1e-4
    assert [setting.folder for setting in config.evaluate] == ["evaluate"]
    absolute = read(tmp_path, WHOLE.replace("more.jsonl", str(tmp_path / "x" / "y.jsonl")))
    assert absolute.datasets[1].train == tmp_path / "x" / "y.jsonl"


def test_where_networks_are_trained(tmp_path: Path) -> None:
    config = read(tmp_path, WHOLE.replace("[suffix,", "[suffix+translator,"))
    tested, folds = config.datasets
    assert config.networks == ("token-adapter",)
    assert config.parts_trained_inside(tested) == ("translator",)
    assert config.parts_trained_inside(folds) == ("token-adapter", "translator")
    assert config.evaluation(folds, config.evaluate[0]).train == config.train
    plain = read(tmp_path, WHOLE)
    assert plain.evaluation(plain.datasets[0], plain.evaluate[0]).train == {}


def test_options_of_one_drafter_reach_every_training_of_it(tmp_path: Path) -> None:
    text = WHOLE + "train_options: {token-adapter: {num_layers: 2}, translator: {num_epochs: 9}}\n"
    config = read(tmp_path, text.replace("[suffix,", "[suffix+translator,"))
    tested, folds = config.datasets
    assert config.training(tested, "token-adapter").options["num_layers"] == 2
    inside = config.evaluation(tested, config.evaluate[0]).train
    assert inside == {**config.train, "translator": {"num_epochs": 9}}
    everywhere = config.evaluation(folds, config.evaluate[0]).train
    assert everywhere == {**config.train, **config.train_options}


def test_a_checkpoint_stands_for_its_drafter(tmp_path: Path) -> None:
    config = read(tmp_path, WHOLE)
    model = tmp_path / "model.safetensors"
    model.touch()
    made = config.evaluation(config.datasets[0], config.evaluate[0], {"token-adapter": model})
    assert (made.drafters, made.named) == (("suffix",), {"token-adapter": str(model)})
    assert (made.pairs, made.train_pairs) == (config.datasets[0].test, config.datasets[0].train)


def test_several_settings_have_names(tmp_path: Path) -> None:
    text = WHOLE.replace(
        "evaluate: {gamma: 4}",
        "evaluate: [{name: a, gamma: 2}, {name: b, nodes: 9, depth: 3, cost_curve: c.json}]",
    )
    config = read(tmp_path, text)
    assert [setting.folder for setting in config.evaluate] == ["evaluate-a", "evaluate-b"]
    evaluation = config.evaluation(config.datasets[0], config.evaluate[1])
    assert evaluation.cost_curve == tmp_path / "c.json"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("name: small", "", "name is missing"),
        ("name: small", "name: 500", "name is 500"),
        ("name: small", "name: ../up", "letters, digits"),
        ("name: small", "name: small\nnames: x", "names is no key of a study"),
        ("name: small", "name: small\nname: again", "stands twice"),
        ("name: small", "name: [", "not valid YAML in line"),
        ("name: small", "name: small\n? [a]\n: b", "not valid YAML"),
        ("name: small", "name: small\nwait_minutes: -1", "wait_minutes is -1"),
        ("name: small", "name: small\nwait_minutes: .inf", "wait_minutes is inf"),
        ("name: small", "name: small\nwait_minutes: soon", "wait_minutes is 'soon'"),
        ("name: small", "name: small\nwait_minutes: 2026-13-45", "not valid YAML"),
        ("train: data/train.jsonl, ", "", "datasets[0].train is missing"),
        ("train: data/train.jsonl", "trian: a, train: b", "datasets[0].trian is no key"),
        ("train: data/train.jsonl", "train: ''", "datasets[0].train is ''"),
        ("train: data/train.jsonl", "train: 7", "datasets[0].train is 7"),
        ("name: folds", "name: 1S", "1s stands twice"),
        ("name: folds", "name: result.json", "result.json is a file of the study"),
        ("train: more.jsonl", "train: more.jsonl, val: v", "datasets[1].val has no effect"),
        ("[suffix, token-adapter]", "[telepathy]", "no drafter is called 'telepathy'"),
        ("[suffix, token-adapter]", "[suffix, suffix]", "suffix stands twice"),
        ("[suffix, token-adapter]", "suffix", "drafters is 'suffix'"),
        ("num_epochs: 3", "num_epochs: 0", "train.num_epochs"),
        ("num_epochs: 3", "num_epochs: '3'", "train.num_epochs"),
        ("num_epochs: 3", "epochs: 3", "train.epochs is no option of token-adapter"),
        ("num_epochs: 3", "pairs: x", "train.pairs is no option"),
        ("num_epochs: 3", "num_layers: 2.5", "train.num_layers is 2.5"),
        ("num_epochs: 3", "embed_dim: 15", "multiple of 8 heads"),
        ("train: {num", "train_options: {suffix: {}}\ntrain: {num", "train_options.suffix"),
        ("gamma: 4", "gamma: 0", "evaluate.gamma"),
        ("gamma: 4", "gamma: 4, nodes: 3", "choose one"),
        ("gamma: 4", "gama: 4", "evaluate.gama is no option"),
        ("gamma: 4", "train: {}", "evaluate.train is no option"),
        ("{gamma: 4}", "[]", "evaluate is []"),
        ("{gamma: 4}", "[{gamma: 4}]", "set 1 of the list has no name"),
        ("{gamma: 4}", "[{name: a}, {name: a}]", "a stands twice"),
        ("{gamma: 4}", "[{name: a}, {name: b, gamma: 0}]", "evaluate[1].gamma"),
    ],
)
def test_faults_name_their_key(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in WHOLE
    with pytest.raises(InputError) as caught:
        read(tmp_path, WHOLE.replace(old, new, 1))
    assert named in str(caught.value)
    assert "study.yaml" in str(caught.value)


@pytest.mark.parametrize("text", ["", "just words", "- a\n- b", "a: &a [*a", "\x00"])
def test_what_is_no_study_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"study\.yaml"):
        read(tmp_path, text)


def test_own_options_of_a_drafter_are_named_as_such(tmp_path: Path) -> None:
    text = WHOLE.replace("  - {name: folds, train: more.jsonl}\n", "") + "train_options: {}\n"
    for options, named in (
        ("{width: 3}", "train_options.token-adapter.width is no option"),
        ("{batch_size: 0}", "train_options.token-adapter.batch_size"),
    ):
        with pytest.raises(InputError, match=named):
            read(tmp_path, text.replace("{}", f"{{token-adapter: {options}}}"))


MADE = """
name: made
scenes: {train: {drives: 2, clips_per_drive: 2}, test: {drives: 1, clips_per_drive: 2}, seed: 3}
extract: {pair: mine.yaml, states: last, top_logits: 4, max_questions: 2}
datasets:
  - {name: pairs, train: extract:train, test: extract:test}
drafters:
  - suffix
  - token-adapter
  - slow: {drafter: token-adapter, learning_rate: 1e-5, num_layers: 2}
train_options: {token-adapter: {num_layers: 3}}
evaluate:
  - {name: all, gamma: 3}
  - {name: few, nodes: 9, depth: 3, drafters: [slow]}
wallclock:
  {configs: [suffix, seed-procedure=slow, token-adapter+overlap], learn_from: extract:train}
"""


def test_variants_are_trained_by_their_own_options(tmp_path: Path) -> None:
    config = read(tmp_path, MADE)
    assert config.names == ("suffix", "token-adapter", "slow")
    assert config.networks == ("token-adapter", "slow")
    plain, slow = (config.training(config.datasets[0], name) for name in config.networks)
    assert (plain.drafter, slow.drafter) == ("token-adapter", "token-adapter")
    assert (plain.options["num_layers"], slow.options["num_layers"]) == (3, 2)
    assert slow.settings.learning_rate == 1e-5 != plain.settings.learning_rate
    few = config.evaluation(config.datasets[0], config.evaluate[1])
    assert few.drafters == ("token-adapter",)


def test_two_in_turn_run_the_studys_checkpoints(tmp_path: Path) -> None:
    config = read(tmp_path, MADE.replace("  - suffix\n", "  - suffix\n  - slow:token-adapter\n"))
    places = {name: tmp_path / f"{name}.safetensors" for name in ("token-adapter", "slow")}
    for path in places.values():
        path.touch()
    setting, (dataset,) = config.evaluate[0], config.datasets
    made = config.evaluation(dataset, setting, places)
    assert made.named["slow:token-adapter"] == f"{places['slow']}:{places['token-adapter']}"
    assert made.train == {}, "nothing is trained inside"
    with pytest.raises(InputError, match="called 'quick'"):
        read(tmp_path, MADE.replace("  - suffix\n", "  - suffix\n  - quick:suffix\n"))


def test_made_stores_lie_in_the_study(tmp_path: Path) -> None:
    config = read(tmp_path, MADE)
    (dataset,) = config.datasets
    assert dataset.made == {"train": "train", "test": "test"}
    here = dataset.located(tmp_path / "out")
    assert here.train == tmp_path / "out" / "extract-train" / "train"
    assert here.test == tmp_path / "out" / "extract-test" / "test"
    assert config.extract is not None
    assert config.extract.pair == str(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("seed: 3", "seed: -1", "scenes.seed is -1"),
        ("seed: 3", "size: 33", "scenes.size is 33"),
        ("seed: 3", "threshold: 0.0", "scenes.threshold"),
        ("seed: 3", "sead: 3", "scenes.sead is no key"),
        ("train: {drives: 2, clips", "train: {clips", "scenes.train.drives is missing"),
        ("train: {drives: 2, ", "train: {drives: 2, n: 1, ", "scenes.train.n is no key"),
        ("{train: {drives: 2, clips_per_drive: 2}, test: {drives: 1, clips_per_drive: 2}, seed: 3}",
         "{}", "scenes: no drives"),
        ("states: last", "states: first", "extract.states is 'first'"),
        ("states: last", "status: last", "extract.status is no key"),
        ("states: last", "splits: []", "extract.splits is []"),
        ("states: last", "splits: [test]", "datasets[0].train is extract:train, which"),
        ("name: pairs", "name: scenes", "folder of another step"),
        ("name: pairs", "name: extract-test", "folder of another step"),
        (", test: extract:test", "", "slow cannot be trained in folds"),
        ("slow: {drafter: token-adapter", "suffix: {drafter: token-adapter", "suffix is a drafter"),
        ("slow: {drafter: token-adapter", "a+b: {drafter: token-adapter", "'a+b' is no name"),
        ("slow: {drafter: token-adapter", "slow: {drafter: telepathy", "called 'telepathy'"),
        ("slow: {drafter: token-adapter", "slow: {drafter: suffix", "no network to train"),
        ("slow: {drafter: token-adapter, ", "slow: {", "expected names, or entries"),
        ("rate: 1e-5", "rate: fast", "drafters.slow.learning_rate"),
        ("rate: 1e-5", "rat: 1e-5", "drafters.slow.learning_rat is no option"),
        ("drafters: [slow]", "drafters: [quick]", "evaluate[1].drafters: quick"),
        ("seed-procedure=slow", "suffix", "suffix stands twice"),
        ("seed-procedure=slow", "slow+tail+separate-verify", "tail and separate-verify"),
        ("seed-procedure=slow", "suffix+translator", "needs translator, which"),
        ("learn_from: extract:train", "learn_from: extract:all", "wallclock.learn_from is"),
        ("learn_from: extract:train", "dataset: other", "wallclock.dataset is 'other'"),
        ("learn_from: extract:train", "questions: 0", "wallclock.questions is 0"),
        ("learn_from: extract:train", "rounds: 2", "wallclock.rounds is no key"),
    ],
)  # fmt: skip
def test_faults_of_what_is_made_and_timed(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in MADE
    with pytest.raises(InputError) as caught:
        read(tmp_path, MADE.replace(old, new, 1))
    assert named in str(caught.value)
    assert "study.yaml" in str(caught.value)


def test_what_needs_scenes_says_so(tmp_path: Path) -> None:
    lines = MADE.splitlines()
    text = "\n".join(line for line in lines if not line.startswith("scenes:"))
    with pytest.raises(InputError, match=r"extract\.scenes is missing"):
        read(tmp_path, text)
    text = text.replace("{pair:", "{scenes: there, pair:").replace(
        "{configs", "{scenes: x, configs"
    )
    config = read(tmp_path, text)
    assert config.extract is not None
    assert config.extract.scenes == tmp_path / "there"
    with pytest.raises(InputError, match="datasets is missing"):
        read(tmp_path, "name: nothing\n")
