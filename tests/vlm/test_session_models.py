"""The contract of a session, on models that read pictures: equal to `generate`, positions right.

Tiny random Video-LLaVA, LLaVA-OneVision and Qwen2.5-VL over pictures in every arrangement that
their processors give. The oracle itself is held to `generate` here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.vlm.image_text import prompt_from
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Step
from crossdraft.vlm.target import Target
from tests.vlm.machine import run_machine, two_scenes
from tests.vlm.models import (
    DECODERS,
    DRAFTABLE,
    IMAGE,
    READERS,
    VIDEO,
    MadeScene,
    Words,
    outputs,
    scene_of,
    tiny,
    word_ids,
)
from tests.vlm.oracle import Oracle, assert_rows, close, greedy
from tests.vlm.shadow import Asked, Setting, Shadow, random_tree

CACHES = ("growing", "preallocated")
LENGTH = 12
#: Every model with every kind of picture it is shown here.
SHOWN = [(name, kind) for name, (_, kinds) in READERS.items() for kind in kinds]


@pytest.mark.parametrize(("name", "kind"), [(name, "text") for name in DECODERS] + SHOWN)
def test_the_oracle_agrees_with_generate(name: str, kind: str) -> None:
    """Logits of a fresh forward equal those of every step of `generate`, in float64."""
    model = tiny(name)
    rng = random.Random(4)
    scene = scene_of(model, rng, kind)
    given = scene.outputs(word_ids(rng, 5))
    seen: list[torch.Tensor] = []
    hook = model.register_forward_hook(lambda *call: seen.append(call[2].logits[0, -1]))
    answer = greedy(model, given, LENGTH)
    hook.remove()
    oracle = Oracle(model, given)
    read = next((i for i, token in enumerate(answer) if token >= IMAGE), LENGTH - 1)
    for i in reversed(range(read + 1)):
        close(oracle.row(answer[:i]).logits.detach(), seen[i])
        assert oracle.argmax(answer[:i]) == answer[i]
    assert len(seen) == LENGTH


def test_the_oracle_takes_hidden_states_behind_the_norm() -> None:
    for name in (*DECODERS, *READERS):
        model = tiny(name)
        oracle = Oracle(model, scene_of(model, random.Random(0), "text").outputs((5, 6)))
        logits = model.get_output_embeddings()(oracle.row().hidden).detach()
        cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
        close(logits if cap is None else cap * torch.tanh(logits / cap), oracle.row().logits)


def test_the_text_behind_a_long_video_does_not_start_at_the_largest_position() -> None:
    """The trap that these tests are about is there: slots of the video lie beyond the text."""
    model = tiny("qwen2.5-vl")
    far = 0
    for seed in range(8):
        given = outputs(model, random.Random(seed), (5, 6, 7))
        positions = Oracle(model, given)._positions[1:, 0]
        slots = given["input_ids"][0] == VIDEO
        far += int(positions[:, slots].max() > positions[:, -1].max() + 1)
    assert far >= 3


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("video-llava", ("video", "image")),
        ("llava-onevision", ("video", "both")),
        ("llava-onevision-sliding", ("video", "image")),
        ("qwen2.5-vl", ("video", "videos")),
        ("qwen2.5-vl", ("both", "image")),
        ("qwen2.5-vl", ("untyped", "text")),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_any_interleaving_gives_the_rows_of_a_fresh_forward(
    name: str, kinds: tuple[str, str]
) -> None:
    run_machine(tiny(name), two_scenes(tiny(name), kinds, seed=1), examples=8, steps=25)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize(("name", "kind"), SHOWN)
def test_a_long_answer_in_random_trees(name: str, kind: str, cache: str) -> None:
    rng = random.Random(7)
    model = tiny(name)
    scene = scene_of(model, rng, kind)
    setting = Setting.of(model, cache, room=120, layers=(0, 1))
    shadow = Shadow.open(setting, Asked(scene)).fork()
    shadow.ask(word_ids(rng, 4), random_tree(rng, 6))
    for turn in range(6):
        tree = shadow.last
        assert tree is not None
        shadow.keep(tree.path(rng.randrange(-1, len(tree))) if len(tree) else ())
        if turn % 3 == 2:
            shadow.rollback(rng.randrange(0, 3))
        shadow.extend(rng.randrange(3, DRAFTABLE), random_tree(rng, rng.randrange(0, 7)))


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("name", READERS)
def test_twenty_prompts_continue_as_generate_does(name: str, cache: str) -> None:
    """Drafts always right, always wrong, none, and random trees around the right answer; another
    session and a `generate` call of another prompt run in between."""
    model = tiny(name)
    kinds = READERS[name][1]
    options: dict[str, Any] = {"cache": cache, "draftable": DRAFTABLE}
    target = Target(model, **options | ({"room": 60} if cache == "preallocated" else {}))
    disturber = scene_of(model, random.Random(99), kinds[0])
    other = target.open(disturber.prompt((5, 6))).fork()
    other.ask(disturber.prompt((7, 8, 9)))
    for seed in range(20):
        rng = random.Random(seed)
        scene = scene_of(model, rng, kinds[seed % len(kinds)])
        question = word_ids(rng, rng.randrange(1, 9))
        expected = greedy(model, scene.outputs(question), LENGTH)
        drafted = DRAFTS[seed % len(DRAFTS)](rng, expected)
        session = target.open(scene.prompt(question)).fork()

        def disturb(turn: int) -> None:
            if turn % 2:
                greedy(model, disturber.outputs((4, 3)), 2)
            else:
                other.extend(20 + turn)
                other.rollback(1)

        found = continued(session, scene.prompt(question), drafted, disturb)
        assert found == expected, f"prompt {seed}"


def continued(
    session: Any,
    prompt: Prompt,
    draft: Callable[[int], DraftTree],
    disturb: Callable[[int], object] = lambda turn: None,
) -> tuple[int, ...]:
    """The greedy answer of a session that verifies these drafts: the loop that users write."""
    tree = draft(0)
    step: Step = session.ask(prompt, tree)
    answer: list[int] = []
    for turn in range(LENGTH):
        said = step.logits.argmax(-1).tolist()
        path: list[int] = []
        token = said[0]
        while (node := tree.child(path[-1] if path else -1, token)) is not None:
            path.append(node)
            answer.append(token)
            token = said[1 + node]
        session.keep(path)
        answer.append(token)
        if len(answer) >= LENGTH:
            break
        disturb(turn)
        tree = draft(len(answer))
        step = session.extend(token, tree)
    return tuple(answer[:LENGTH])


def _words(tokens: Sequence[int]) -> list[int]:
    """Tokens up to the first that must not be drafted."""
    return list(tokens[: next((i for i, t in enumerate(tokens) if t >= DRAFTABLE), len(tokens))])


def _right(rng: random.Random, answer: Sequence[int]) -> Callable[[int], DraftTree]:
    return lambda done: DraftTree.chain(_words(answer[done : done + 5]))


def _wrong(rng: random.Random, answer: Sequence[int]) -> Callable[[int], DraftTree]:
    def draft(done: int) -> DraftTree:
        first = 3 if done >= len(answer) or answer[done] != 3 else 4
        return DraftTree.chain([first, *word_ids(rng, 3)])

    return draft


def _none(rng: random.Random, answer: Sequence[int]) -> Callable[[int], DraftTree]:
    return lambda done: DraftTree.empty()


def _tree(rng: random.Random, answer: Sequence[int]) -> Callable[[int], DraftTree]:
    """The right continuation grafted into a random tree, its nodes spread over the indices."""

    def draft(done: int) -> DraftTree:
        nodes: list[tuple[int, int]] = []
        above = -1
        for token in _words(answer[done : done + rng.randrange(0, 4)]):
            for _ in range(rng.randrange(0, 3)):
                node = (rng.randrange(-1, len(nodes)), rng.randrange(3, DRAFTABLE))
                if node not in nodes and node != (above, token):
                    nodes.append(node)
            nodes.append((above, token))
            above = len(nodes) - 1
        return DraftTree.from_parents([n[1] for n in nodes], [n[0] for n in nodes])

    return draft


DRAFTS = (_right, _wrong, _tree, _none)


@pytest.mark.parametrize("name", READERS)
def test_ten_questions_of_one_open_equal_ten_fresh_runs(name: str) -> None:
    model = tiny(name)
    rng = random.Random(11)
    scene = scene_of(model, rng, READERS[name][1][0])
    questions = [word_ids(rng, rng.randrange(1, 12)) for _ in range(10)]
    target = Target(model)
    session = target.open(scene.prompt(questions[0]))
    for question in questions:
        draft = _tree(rng, greedy(model, scene.outputs(question), LENGTH))
        found = continued(session.fork(), scene.prompt(question), draft)
        alone = continued(target.open(scene.prompt(question)), scene.prompt(question), draft)
        assert found == alone == greedy(model, scene.outputs(question), LENGTH)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("name", READERS)
def test_the_picture_is_read_once(name: str, cache: str) -> None:
    model = tiny(name)
    scene = scene_of(model, random.Random(2), "video")
    towers = [m for n, m in model.named_modules() if n.split(".")[-1] in TOWERS]
    looks: list[int] = []
    hooks = [tower.register_forward_hook(lambda *call: looks.append(1)) for tower in towers]
    session = Setting.of(model, cache).target.open(scene.prompt((5,)))
    for i in range(3):
        child = session.fork()
        child.ask(scene.prompt((6, 7 + i)))
        child.extend(9, DraftTree.chain([5]))
    session.answer_many([scene.prompt((8, 9)), scene.prompt((10,))], 3)
    for hook in hooks:
        hook.remove()
    assert looks == [1]
    assert len(scene.reads) == 1
    names = [span.name for span in session.spans.spans]
    assert names.count("vision") == names.count("read") == 1


TOWERS = ("video_tower", "vision_tower", "visual")


@pytest.mark.parametrize("name", READERS)
def test_pictures_with_equal_ids_are_not_mixed_up(name: str) -> None:
    """Two scenes whose prompts have the same ids and hash, with other pixels."""
    model = tiny(name)
    one = scene_of(model, random.Random(3), "video")
    changed = {n: t + 1 if t.is_floating_point() else t for n, t in one.pictures.items()}
    two = MadeScene(model, one.ids, changed, one.typed)
    target = Target(model)
    sessions = [target.open(scene.prompt((5,))) for scene in (one, two, one)]
    steps = [session.fork().ask(one.prompt((9, 10))) for session in sessions]
    for scene, step in zip((one, two, one), steps, strict=True):
        assert_rows(step, [Oracle(model, scene.outputs((9, 10))).row()])


@pytest.mark.parametrize(("name", "kind"), SHOWN)
def test_prompt_from_cuts_behind_the_last_picture_slot(name: str, kind: str) -> None:
    model = tiny(name)
    rng = random.Random(6)
    scene = scene_of(model, rng, kind)
    given = scene.outputs(word_ids(rng, 6))
    copies = {key: tensor.clone() for key, tensor in given.items()}
    prompt = prompt_from(given, model.config)
    assert prompt.ids == tuple(given["input_ids"][0].tolist())
    assert prompt.cut == len(scene.ids)
    step = Target(model).open(prompt).ask(prompt)
    assert_rows(step, [Oracle(model, given).row()])
    assert all(torch.equal(given[key], copies[key]) for key in copies)


@pytest.mark.parametrize("name", READERS)
def test_a_prefix_may_end_anywhere_behind_the_last_picture_slot(name: str) -> None:
    """Text behind the picture that all questions share, such as an end mark, is read once."""
    model = tiny(name)
    scene = scene_of(model, random.Random(10), READERS[name][1][0])
    row = Oracle(model, scene.outputs((9, 10, 11, 12))).row()
    made = scene.prompt((9, 10, 11, 12))
    for behind in range(4):
        prompt = Prompt(made.ids, len(made.ids) - 4 + behind, made.inputs)
        assert_rows(Target(model).open(prompt).ask(prompt), [row])


@pytest.mark.parametrize("name", READERS)
def test_placeholders_are_never_drafted(name: str) -> None:
    """Even where nobody says which ids may be drafted."""
    model = tiny(name)
    scene = scene_of(model, random.Random(4), "video")
    session = Target(model).open(scene.prompt((5,)))
    for token in (IMAGE, VIDEO):
        with pytest.raises(ValueError, match=str(token)):
            session.ask(scene.prompt((9,)), DraftTree.from_parents([5, token], [-1, 0]))
    assert session.tokens == scene.ids
    session.ask(scene.prompt((9,)), DraftTree.chain([DRAFTABLE - 1]))


@pytest.mark.parametrize("name", READERS)
def test_a_padded_prompt_is_refused(name: str) -> None:
    """Padding would shift every position."""
    model = tiny(name)
    given = scene_of(model, random.Random(5), "video").outputs((5, 6, 7))
    given["attention_mask"][0, 0] = 0
    with pytest.raises(InputError):
        Target(model).open(prompt_from(given, model.config))


def test_scenes_and_questions_go_through_the_prompt_builder() -> None:
    model = tiny("qwen2.5-vl")
    scene = scene_of(model, random.Random(8), "both")
    target = Target(model, Words())
    session = target.open(scene)
    assert session.tokens == scene.ids
    step = session.ask("what is this", DraftTree.chain([5]))
    oracle = Oracle(model, scene.outputs(Words.ids("what is this")))
    assert_rows(step, [oracle.row(), oracle.row((5,))])


def test_a_stale_offset_on_the_model_is_not_read() -> None:
    """Qwen2.5-VL keeps the last prompt's offset on itself, where any call may change it."""
    model = tiny("qwen2.5-vl")
    scene = scene_of(model, random.Random(9), "videos")
    oracle = Oracle(model, scene.outputs((9, 10)))
    session = Target(model).open(scene.prompt((5,)))
    for offset in (None, torch.tensor([[500]]), torch.tensor([[0]])):
        child = session.fork()
        model.model.rope_deltas = offset
        rows = child.ask(scene.prompt((9, 10)), DraftTree.chain([5]))
        child.keep((0,))
        model.model.rope_deltas = offset
        step = child.extend(6)
        assert_rows(step, [oracle.row((5, 6))])
        assert_rows(rows, [oracle.row(), oracle.row((5,))])
