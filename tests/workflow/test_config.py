"""A study's YAML: what it means, and that every fault names its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.workflow.config import StudyConfig, read_study

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
    assert made.drafters == ("suffix", str(model))
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
