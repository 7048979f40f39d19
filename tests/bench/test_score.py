"""The score of a pair: tiny models on a tiny drive, and answers whose score is known."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.bench.score import PROBED, checkpoints, score, score_answers
from crossdraft.bench.score_answers import Said, SceneSaid, answer_lines, answers_of
from crossdraft.bench.score_source import VOICE_OF, Asked, AskedScenes, in_place_of, read_asked
from crossdraft.scenes.answers import Answer, SceneAnswers, read_answers, write_answers
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.scene import SIMULATED, Scene
from crossdraft.vlm.drafting import Follower
from crossdraft.vlm.model_spec import ROLES, Role
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from tests.bench.tiny_pair import write_pair
from tests.evaluation.test_predictability_source import write_drive
from tests.scenes.synth_world import draw_waves, make

MOST = 5


def write_world(folder: Path, questions: int = 2) -> Path:
    """Four clips of two drives with video, events and true answers to the first questions."""
    with pytest.MonkeyPatch.context() as patched:
        draw_waves(patched)
        make(folder, split="test")
    entries = list(read_answers(folder))
    kept = [entry for n, entry in enumerate(entries) if n % 10 < questions]
    write_answers(folder, kept)
    return folder


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> AskedScenes:
    return read_asked(write_world(tmp_path_factory.mktemp("world") / "drive"), "test", ROLES)


@pytest.fixture
def no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of the time, and are of no matter here."""
    monkeypatch.setattr("crossdraft.bench.score.probe", lambda *_: None)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PairModels]:
    with PairModels(ModelPair.find(str(write_pair(tmp_path_factory.mktemp("pair"))))) as loaded:
        yield loaded


@pytest.mark.parametrize("role", ROLES)
def test_swapped_data_gives_the_answers_of_the_scene_that_was_swapped_in(
    asked: AskedScenes, models: PairModels, role: Role
) -> None:
    model = models.target if role == "target" else models.drafter
    own = answers_of(model, role, asked.asked, MOST)
    others = in_place_of(asked.drives)
    swapped = []
    for one, other in zip(asked.asked, others, strict=True):
        there = asked.asked[other].scene
        shown = replace(
            one.scene, events_file=there.events_file, video_file=there.video_file,
            window_us=there.window_us,
        )  # fmt: skip
        swapped.append(replace(one, scene=shown))
    really = answers_of(model, role, swapped, MOST)
    for place, other in enumerate(others):
        assert really[place].answers == own[other].answers
    tokens = [[said.tokens for said in one.answers.values()] for one in own]
    assert any(tokens[place] != tokens[other] for place, other in enumerate(others)), "it looks"


def test_states_are_those_of_a_pass_over_the_answer(asked: AskedScenes, models: PairModels) -> None:
    one = asked.asked[0]
    (said,) = answers_of(models.drafter, "drafter", [one], MOST)
    prompts, answers = [], []
    for question, answer in said.answers.items():
        follower = Follower(models.drafter.open(one.scene), question)
        follower.follow(answer.tokens[:-1])
        prompts.append(follower.states[0].double())
        answers.append(follower.states.double().mean(0))
    for mine, passes in ((said.prompt_state, prompts), (said.answer_state, answers)):
        np.testing.assert_allclose(mine, torch.stack(passes).mean(0).numpy(), rtol=0, atol=1e-4)


@pytest.mark.usefixtures("no_probes")
def test_a_whole_score(asked: AskedScenes, models: PairModels) -> None:
    outcome = score(models, asked, ROLES, MOST)
    assert json.loads(json.dumps(outcome.payload)) == outcome.payload
    data = outcome.payload["data"]
    assert (data["clips"], data["drives"], data["split"]) == (4, 2, "test")
    assert data["fingerprint"] == asked.dataset.fingerprint
    for role in ROLES:
        scored = outcome.payload[role]
        assert scored["answers"] == 8
        assert scored["probes"].keys() == set(PROBED)
        lengths = [len(said.tokens) for one in outcome.said[role] for said in one.answers.values()]
        assert scored["calibration"]["tokens"]["mean"] == sum(lengths) / 8
    assert outcome.payload["target"]["unseen"] is None
    assert outcome.warnings[0] == SIMULATED
    assert any("2 blocks" in warning for warning in outcome.warnings)
    lines = [json.loads(line) for line in answer_lines(asked, outcome.said)]
    assert len(lines) == 8
    first = outcome.said["drafter"][0].answers[lines[0]["question"]]
    assert lines[0]["drafter"] == {
        "text": first.text, "tokens": list(first.tokens), "end": first.end
    }  # fmt: skip
    assert lines[0].keys() == {"drive", "clip", "question", "target", "drafter"}


def test_the_files_of_the_models_that_are_asked(tmp_path: Path) -> None:
    pair = ModelPair.find(str(write_pair(tmp_path)))
    about, files = checkpoints(pair, ["drafter"])
    assert about.keys() == {"drafter"} and about["drafter"]["parameters"] > 1000
    assert files == [tmp_path / "drafter" / "config.json", tmp_path / "drafter/model.safetensors"]
    assert len(checkpoints(pair, ROLES)[1]) == 4


# --- answers whose score is known -----------------------------------------------------------------


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> AskedScenes:
    folder = write_drive(tmp_path_factory.mktemp("known"), {"test": 5}, clips=2)
    write_answers(folder, (e for n, e in enumerate(read_answers(folder)) if n % 10 < 2))
    return read_asked(folder, "test", ROLES)


def told(asked: AskedScenes, role: Role, end: str = "") -> list[SceneSaid]:
    """A model that says the truth, `end` behind it."""
    said = []
    for one in asked.asked:
        answers = {}
        for question, entry in one.truths.items():
            text = entry.answers[VOICE_OF[role]].text + end
            ids = (10 + zlib.crc32(word.encode()) % 5000 for word in text.split())
            answers[question] = Said(text, (*ids, 2), "eos")
        said.append(SceneSaid(answers, np.zeros(2), np.zeros(2)))
    return said


@pytest.mark.usefixtures("no_probes")
@pytest.mark.parametrize("role", ROLES)
def test_the_truth_is_right_and_no_better_than_chance_when_swapped(
    known: AskedScenes, role: Role
) -> None:
    scored = score_answers(known, role, told(known, role), [])
    assert scored["exact"] == scored["ended"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert {"road", "vehicle", "motion"} <= scored["attributes"].keys()
    for name, one in scored["attributes"].items():
        assert one["accuracy"]["value"] == 1.0 and one["right"] == one["of"], name
        assert one["swapped"] == one["chance"], "the truth of another scene is that"
    values = [one["chance"]["value"] for one in scored["attributes"].values()]
    assert sum(values) / len(values) < 0.6
    if role == "drafter":
        assert {one["answers"] for one in scored["unseen"].values()} == {0}


@pytest.mark.usefixtures("no_probes")
def test_an_event_model_that_names_colours_is_found_out(known: AskedScenes) -> None:
    scored = score_answers(known, "drafter", told(known, "drafter", " A red car at night."), [])
    assert scored["unseen"]["colour"]["share"]["value"] == 1.0
    assert scored["unseen"]["time"]["answers"] == scored["answers"] == 20
    assert scored["unseen"]["weather"]["answers"] == 0
    assert scored["exact"]["value"] == 0.0


@pytest.mark.usefixtures("no_probes")
def test_a_question_that_the_other_scene_was_not_asked_has_no_control(
    known: AskedScenes,
) -> None:
    first, second = known.questions
    truths = [{first: one.truths[first]} for one in known.asked]
    truths[0] = {second: known.asked[0].truths[second]}
    asked = [replace(one, truths=own) for one, own in zip(known.asked, truths, strict=True)]
    fewer = replace(known, asked=tuple(asked))
    scored = score_answers(fewer, "target", told(fewer, "target"), [])
    assert scored["answers"] == len(asked)
    # Neither the one that was asked something else nor the one that it stands in for.
    whole = score_answers(known, "target", told(known, "target"), [])
    assert scored["attributes"]["vehicle"]["accuracy"]["value"] == 1.0
    assert whole["attributes"]["vehicle"]["of"] == 2 * scored["attributes"]["vehicle"]["of"]


@pytest.mark.usefixtures("no_probes")
@pytest.mark.parametrize("alike", [True, False])
def test_tables_are_learned_on_answers_about_other_drives(known: AskedScenes, alike: bool) -> None:
    said = []
    for one in known.asked:
        start = 10 if alike else 10 + 100 * known.dataset.drives.index(one.scene.drive)
        answer = Said("A car.", (*range(start, start + 12), 2), "eos")
        said.append(SceneSaid(dict.fromkeys(one.truths, answer), np.zeros(2), np.zeros(2)))
    found = score_answers(known, "target", said, [])["calibration"]
    if alike:
        assert found["tau"]["value"] > 3 and found["position_match"]["value"] == 1.0
    else:
        assert found["tau"]["value"] < 1.2, "no word of a drive is said about another"
        assert found["position_match"]["value"] < 0.2


def test_probes_find_what_the_states_hold_among_scenes_with_a_road_user(tmp_path: Path) -> None:
    entry = SceneAnswers("", 0, "Q?", {"camera": Answer("A car."), "event": Answer("A car.")})
    asked, said = [], []
    for number in range(24):
        red, car = number % 2 == 0, number % 6 != 5
        user = {"vehicle": "car", "motion": "ahead"} if car else {}
        paint = {"colour": "red" if red else "blue"} if car else {}
        # Times of day of empty scenes alone: whoever probed those too would find two labels.
        light = {} if car else {"time": "day" if number % 12 == 5 else "night"}
        truth = {"event_visible": {"road": "tunnel", **user}, "camera_only": paint | light}
        asked.append(Asked(Scene(f"d{number // 6}", number, tmp_path, truth=truth), {"Q?": entry}))
        state = np.array([1.0, -1.0] if red else [-1.0, 1.0])
        said.append(SceneSaid({"Q?": Said("A car.", (5, 6, 2), "eos")}, state, np.ones(2)))
    dataset = SceneDataset((one.scene for one in asked), tmp_path, "flat")
    whole = AskedScenes(dataset, tuple(asked), "all", ())
    probes = score_answers(whole, "target", said, [])["probes"]
    colour = probes["colour"]
    assert colour["prompt"]["accuracy"]["value"] == 1.0
    assert colour["prompt"]["rows"] == 20, "scenes with a road user"
    assert colour["answer"]["accuracy"]["value"] <= colour["answer"]["chance"]
    nothing = {"prompt": None, "answer": None}
    assert probes["vehicle"] == probes["motion"] == probes["time"] == nothing


def test_a_model_without_a_tokenizer_is_refused(asked: AskedScenes) -> None:
    class Mute:
        prompts = None

    with pytest.raises(InputError, match="the target has no tokenizer"):
        answers_of(Mute(), "target", asked.asked, MOST)  # type: ignore[arg-type]
