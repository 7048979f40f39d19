"""A pair's YAML: found, checked to the last key, changed by single values, written out again."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.base.yaml_file import yaml_text
from crossdraft.vlm import shipped
from crossdraft.vlm.model_spec import ROLES, TEMPLATES, keys_of
from crossdraft.vlm.pair import ModelPair

WHOLE = """
name: small
load: in_turn
target: {model: video, dtype: bf16, frames: 4}
drafter:
  model: event
  template: training
  window: last:0.05s
  canvas: tight
"""


def read(folder: Path, text: str = WHOLE) -> ModelPair:
    path = folder / "pair.yaml"
    path.write_text(text, encoding="utf-8")
    return ModelPair.find(str(path))


def test_the_shipped_pairs() -> None:
    assert shipped.shipped_pairs() == ("embedded", "eventgpt-videollava")
    pair = ModelPair.find("eventgpt-videollava")
    assert (pair.name, pair.load) == ("eventgpt-videollava", "together")
    assert pair.target.model == "LanguageBind/Video-LLaVA-7B-hf"
    assert (pair.target.dtype, pair.target.frames) == ("bfloat16", 8)
    assert pair.drafter.options == {
        "template": "official", "frames": 5, "window": "last:50ms", "canvas": "sensor",
        "overlap": "last", "keep": "all",
    }  # fmt: skip


def test_the_embedded_pair_lies_in_the_package_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "embedded" / "target").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    pair = ModelPair.find("embedded")
    assert (pair.name, pair.load, pair.target.frames) == ("embedded", "together", 8)
    assert [pair.spec(role).dtype for role in ROLES] == ["float32", "float32"]
    assert [pair.spec(role).device for role in ROLES] == ["auto", "auto"]
    assert (pair.drafter.frames, pair.drafter.window) == (5, "spread:50ms")
    for role in ROLES:
        assert Path(pair.spec(role).model) == shipped.FOLDER / "embedded" / role
    assert ModelPair.find("embedded", ["target.model=./x"]).target.model == "./x"


def test_a_model_that_should_have_come_with_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in shipped.FOLDER.glob("*.yaml"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    for text in ("embedded", str(tmp_path / "embedded.yaml")):
        pair = ModelPair.find(text)
        with pytest.raises(InputError, match="comes with crossdraft, and is not in") as caught:
            pair.target.place("target")
        assert str(caught.value.where) == f"target.model: {tmp_path / 'embedded' / 'target'}"
        assert "--set target.model=FOLDER" in str(caught.value.hint)
    (tmp_path / "embedded" / "target").mkdir(parents=True)
    assert pair.target.place("target") == tmp_path / "embedded" / "target"


def test_what_is_not_said_is_left_open(tmp_path: Path) -> None:
    pair = read(tmp_path, "target: {model: a}\ndrafter: {model: b}\n")
    assert (pair.name, pair.load, pair.where) == ("pair", "together", tmp_path / "pair.yaml")
    assert (pair.target.dtype, pair.target.device, pair.target.options) == ("auto", "auto", {})
    assert pair.drafter.options == {}


def test_values_are_kept_in_one_form(tmp_path: Path) -> None:
    pair = read(tmp_path)
    assert (pair.load, pair.target.dtype, pair.target.frames) == ("in_turn", "bfloat16", 4)
    assert pair.drafter.options == {
        "template": "training",
        "window": "last:50ms",
        "canvas": "tight",
    }


def test_folders_beside_the_file_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pairs" / "video").mkdir(parents=True)
    for name in ("video", "event"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    pair = read(Path("pairs"))
    assert pair.target.place("target") == Path("pairs/video")
    assert pair.drafter.place("drafter") == Path("event")
    # What is typed on the command line means the working directory.
    assert pair.with_value("target.model=video").target.place("target") == Path("video")


def test_a_file_goes_before_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "eventgpt-videollava").write_text(WHOLE)
    monkeypatch.chdir(tmp_path)
    assert ModelPair.find("eventgpt-videollava").name == "small"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("eventgpt-videolava", "did you mean eventgpt-videollava?"),
        ("absent.yaml", "no such file, and no shipped pair of this name"),
        (".", "this is a folder"),
        ("", "--pair: this is a folder"),
        ("~nobody-of-this-name/a.yaml", "one of embedded, eventgpt-videollava"),
    ],
)
def test_pairs_that_are_not_there(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        ModelPair.find(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("load: in_turn", "load: at_once", "load is 'at_once'"),
        ("load: in_turn", "load: [together]", "load is ['together']"),
        ("load: in_turn", "laod: in_turn", "did you mean load?"),
        ("load: in_turn", "1: 2", "no key 1"),
        ("name: small", "name: 7", "name is a number"),
        ("name: small", "name:", "name is None"),
        ("target: {model: video, dtype: bf16, frames: 4}", "", "target: is missing"),
        ("target: {model: video, dtype: bf16, frames: 4}", "target: video", "target: is text"),
        ("model: video, ", "", "target: model is missing"),
        ("model: video", "model: ''", "target: model is ''"),
        ("model: event", "model: 7", "drafter: model is a number"),
        ("frames: 4", "window: all", "target: no key 'window'"),
        ("frames: 4", "frame: 4", "did you mean frames?"),
        ("frames: 4", "frames: 0", "target: frames is 0"),
        ("frames: 4", "frames: true", "target: frames is True"),
        ("frames: 4", "frames: four", "target: frames is 'four'"),
        ("dtype: bf16", "dtype: int4", "target: dtype is 'int4'"),
        ("dtype: bf16", "dtype: 16", "target: dtype is a number"),
        ("dtype: bf16", "device: abacus", "target: device is 'abacus'"),
        ("dtype: bf16", "device: {}", "target: device is {}"),
        ("dtype: bf16", "device: 0", "target: device is 0"),
        ("dtype: bf16", "device: {model: -1}", "device sends 'model' to -1"),
        ("dtype: bf16", "device: {model: gpu}", "device sends 'model' to 'gpu'"),
        ("dtype: bf16", "device: {1: 0}", "device sends 1 to 0"),
        ("template: training", "template: oficial", "drafter: template is 'oficial'"),
        ("template: training", "tokenizer: ''", "drafter: tokenizer is ''"),
        ("window: last:0.05s", "window: first:50ms", "drafter: window is 'first:50ms'"),
        ("window: last:0.05s", "window: 50", "drafter: window is a number"),
        ("canvas: tight", "canvas: loose", "drafter: canvas is 'loose'"),
        ("canvas: tight", "overlap: first", "drafter: overlap is 'first'"),
        ("canvas: tight", "canvas: tight\n  canvas: sensor", "stands twice"),
    ],
)
def test_faults_name_their_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in WHOLE
    with pytest.raises(InputError) as caught:
        read(tmp_path, WHOLE.replace(old, new))
    assert said in str(caught.value)
    assert str(tmp_path / "pair.yaml") in str(caught.value)


@pytest.mark.parametrize(
    ("text", "role", "key", "value"),
    [
        ("target.model=/data/a=b", "target", "model", "/data/a=b"),
        ("target.model=7", "target", "model", "7"),
        ("drafter.tokenizer=7", "drafter", "tokenizer", "7"),
        ("drafter.template=null", "drafter", "template", None),
        ("drafter.frames=3", "drafter", "frames", 3),
        ("drafter.window=spread:50ms", "drafter", "window", "spread:50ms"),
        ("target.dtype=4bit", "target", "dtype", "nf4"),
        ("target.device=cuda:1", "target", "device", "cuda:1"),
        (
            "target.device={model: 0, lm_head: cpu}",
            "target",
            "device",
            {"model": 0, "lm_head": "cpu"},
        ),
    ],
)
def test_single_values_in_place_of_the_files(
    tmp_path: Path, text: str, role: str, key: str, value: Any
) -> None:
    before = read(tmp_path)
    after = before.with_value(text)
    assert getattr(getattr(after, role), key) == value
    changed = after.to_json()
    changed[role][key] = before.to_json()[role][key]
    assert changed == before.to_json()


def test_later_values_win_and_top_keys_can_be_set() -> None:
    pair = ModelPair.find(
        "eventgpt-videollava", ["load=in_turn", "drafter.frames=1", "drafter.frames=2", "name=5"]
    )
    assert (pair.load, pair.drafter.frames, pair.name) == ("in_turn", 2, "5")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("drafter.modle=x", "did you mean drafter.model?"),
        ("drafter=x", "no key 'drafter' in a pair"),
        ("target.window=all", "no key 'target.window'"),
        ("drafter.frames", "expected: drafter.frames=VALUE"),
        ("drafter.frames=0", "frames is 0"),
        ("drafter.frames=1.5", "frames is 1.5"),
        ("drafter.frames=[", "not valid YAML"),
        ("drafter.model=", "model is ''"),
        ("target.device=gpu", "device is 'gpu'"),
        ("=", "no key ''"),
    ],
)
def test_wrong_values_name_the_option(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        ModelPair.find("eventgpt-videollava", [text])
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"--set {text}: ")


def specs(role: str) -> st.SearchStrategy[dict[str, Any]]:
    name = st.text(string.printable, min_size=1)
    devices = st.sampled_from(["auto", "balanced", "cpu", "cuda:1"])
    events = {
        "tower": st.none() | name,
        "window": st.sampled_from([None, "all", "last:50ms", "spread:20ms"]),
        "canvas": st.sampled_from([None, "sensor", "tight"]),
        "overlap": st.sampled_from([None, "last", "positive", "negative"]),
        "keep": st.sampled_from([None, "all", "first"]),
    }
    return st.fixed_dictionaries(
        {
            "model": name,
            "template": st.sampled_from([None, *TEMPLATES]),
            "tokenizer": st.none() | name,
            "dtype": st.sampled_from(["auto", "float32", "nf4"]),
            "device": devices | st.dictionaries(name, st.integers(0, 7) | devices, min_size=1),
            "frames": st.none() | st.integers(1, 64),
            **(events if role == "drafter" else {}),
        }
    )


@given(
    st.fixed_dictionaries(
        {
            "name": st.text(string.printable, min_size=1),
            "load": st.sampled_from(["together", "in_turn"]),
            "drafting": st.sampled_from(["suffix", "none", "suffix+runs/a", "../b"]),
            "target": specs("target"),
            "drafter": specs("drafter"),
        }
    )
)
def test_what_is_shown_reads_back(
    tmp_path_factory: pytest.TempPathFactory, keys: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "pair.yaml"
    path.write_text(yaml_text(keys), encoding="utf-8")
    pair = ModelPair.read(path)
    assert pair.to_json() == keys
    path.write_text(pair.to_yaml(), encoding="utf-8")
    assert ModelPair.read(path) == pair


def test_every_key_is_written_with_what_it_means() -> None:
    text = ModelPair.find("eventgpt-videollava").to_yaml()
    for role in ROLES:
        for key in keys_of(role):
            assert f"\n  {key}: " in text
    assert text.count("\n  # ") == sum(len(keys_of(role)) for role in ROLES)


def test_the_documented_file_and_keys(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "model_pairs.md").read_text(encoding="utf-8")
    pair = read(tmp_path, page.split("```yaml\n")[1].split("```")[0])
    assert (pair.load, pair.drafter.dtype) == ("in_turn", "nf4")
    for key in ("name", "load", *keys_of("drafter")):
        assert f"\n| `{key}` |" in page, key


def test_what_a_pair_drafts_with_lies_beside_its_file(tmp_path: Path) -> None:
    text = "target:\n  model: a\ndrafter:\n  model: b\n"
    (tmp_path / "mine.yaml").write_text(text)
    assert ModelPair.read(tmp_path / "mine.yaml").drafting == "suffix"
    (tmp_path / "mine.yaml").write_text(text + "drafting: suffix+./run+../x\n")
    assert ModelPair.read(tmp_path / "mine.yaml").drafting == f"suffix+{tmp_path / 'run'}+../x"
    for wrong in ("drafting: 3", "drafting: ''", "drafting: [suffix]"):
        (tmp_path / "mine.yaml").write_text(text + wrong)
        with pytest.raises(InputError, match="drafting is"):
            ModelPair.read(tmp_path / "mine.yaml")
    assert ModelPair.find("embedded", ["drafting=none"]).drafting == "none"
