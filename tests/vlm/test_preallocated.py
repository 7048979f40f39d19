"""The preallocated cache: what fits, what it allocates, and passes padded for a compiler."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target
from tests.vlm.models import DECODERS, DRAFTABLE, READERS, llama, scene_of, tiny, word_ids
from tests.vlm.oracle import Oracle, assert_rows, close
from tests.vlm.shadow import Asked, Setting, Shadow, random_tree

EMPTY = DraftTree.empty()
ALL = [
    *((name, "text") for name in DECODERS),
    *((name, kinds[0]) for name, (_, kinds) in READERS.items()),
]


def opened(name: str, cache: str = "preallocated", *, room: int = 10, before: int = 5) -> Shadow:
    """A session over `before` ids and, where the model reads pictures, the first kind of them."""
    model = tiny(name)
    kind = "text" if name in DECODERS else READERS[name][1][0]
    scene = scene_of(model, random.Random(1), kind, before=before)
    return Shadow.open(Setting.of(model, cache, room=room), Asked(scene))


@pytest.mark.parametrize("before", (0, 5))
def test_the_room_holds_question_answer_and_tree_to_the_last_row(before: int) -> None:
    """`Shadow` expects a refusal exactly where one row more than `room` would be needed."""
    question = (9, 10, 11)
    root = opened("llama", before=before)
    root.fork().ask(tuple(range(20, 31)), EMPTY)
    root.fork().ask(tuple(range(20, 30)), EMPTY)
    shadow = root.fork()
    shadow.ask(question, DraftTree.chain([5] * 8))
    assert shadow.question is None
    shadow.ask(question, DraftTree.chain([5, 6, 7, 8, 5, 6, 7]))
    shadow.keep((0, 1, 2, 3))
    shadow.extend(8, DraftTree.chain([5, 6, 7]))
    assert len(shadow.answer) == 4
    shadow.extend(8, DraftTree.from_parents([5, 6], [-1, -1]))
    assert len(shadow.answer) == 5
    shadow.keep((1,))
    shadow.extend(8, DraftTree.chain([5]))
    shadow.extend(8, EMPTY)
    assert len(shadow.tokens) == before + 10
    shadow.extend(9, EMPTY)
    shadow.rollback(7)
    shadow.extend(9, DraftTree.from_parents([5, 6, 7, 8, 5, 6], [-1, -1, -1, 0, 1, 2]))
    shadow.keep((2, 5))
    assert len(shadow.steps) == 4


def test_forks_have_room_of_their_own() -> None:
    root = opened("llama", room=8, before=6)
    children = [root.fork() for _ in range(4)]
    for i, child in enumerate(children):
        child.ask((9, 10 + i), DraftTree.chain([5, 6, 7]))
    for i, child in enumerate(children):
        child.keep((0, 1)[: i % 3])
        child.extend(20 + i, EMPTY)
    del children[1:3]
    again = [root.fork(), root.fork(), root]
    for i, child in enumerate(again):
        child.ask((30 + i,), DraftTree.from_parents([5, 6, 7], [-1, -1, 0]))
    for child in (*again, *children):
        if child.waiting:
            child.keep((0,))
        child.extend(8, DraftTree.chain([9]))


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_it_equals_the_growing_cache(name: str, kind: str) -> None:
    model = tiny(name)
    scene = scene_of(model, random.Random(2), kind, before=7)
    sessions = [
        Target(model, cache="growing", layers=(1,)).open(scene.prompt((5,))),
        Target(model, cache="preallocated", room=90, layers=(1,)).open(scene.prompt((5,))),
    ]
    rng = random.Random(3)
    tree = random_tree(rng, 6)
    steps = [session.ask(scene.prompt((9, 10)), tree) for session in sessions]
    for _ in range(8):
        for found, expected in zip(steps[1:], steps[:1], strict=True):
            close(found.logits, expected.logits)
            close(found.hidden, expected.hidden)
            close(found.layers[1], expected.layers[1])
        path = tree.path(rng.randrange(-1, len(tree))) if len(tree) else ()
        token, tree = rng.randrange(3, DRAFTABLE), random_tree(rng, rng.randrange(0, 8))
        for session in sessions:
            session.keep(path)
        steps = [session.extend(token, tree) for session in sessions]
        assert sessions[0].tokens == sessions[1].tokens


@pytest.fixture
def nan_filled() -> Iterator[None]:
    """Fresh memory reads as NaN, as it may on any machine."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("nan_filled")
@pytest.mark.parametrize("cache", ("growing", "preallocated"))
def test_rows_never_written_do_not_reach_the_answer(cache: str) -> None:
    """A masked score of NaN is still NaN, so unused rows must be finite."""
    model = llama()
    session = Setting.of(model, cache, room=50).target.open(Prompt((3, 4, 5, 6), cut=3))
    child = session.fork()
    tree = DraftTree.from_parents([5, 6, 7], [-1, -1, 0])
    steps = [child.ask(Prompt((3, 4, 5, 9, 10), cut=3), tree)]
    child.keep((0, 2))
    steps.append(child.extend(8, tree))
    assert all(step.logits.isfinite().all() for step in steps)


class _Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sizes of all tensors made that are no views of their inputs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        known = {_place(a) for a in torch.utils._pytree.tree_leaves(args) if _is_tensor(a)}
        for made in torch.utils._pytree.tree_leaves(out):
            if _is_tensor(made) and _place(made) not in known:
                self.sizes.append(made.numel())
        return out


def _is_tensor(thing: object) -> bool:
    return isinstance(thing, Tensor)


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def test_a_step_allocates_nothing_of_the_size_of_the_cache() -> None:
    """One key head for each query head, since transformers would copy shared ones itself."""
    model = llama(num_key_value_heads=4)
    ids = word_ids(random.Random(0), 450)
    target = Target(model, cache="preallocated", room=40)
    session = target.open(Prompt((*ids, 5), cut=450)).fork()
    session.ask(Prompt((*ids, 6, 7), cut=450))
    tree = DraftTree.from_parents([5, 6, 7, 8], [-1, -1, 1, 2])
    with _Allocations() as made:
        for _ in range(3):
            session.extend(8, tree)
            session.keep((1, 2))
            session.rollback(1)
    assert made.sizes
    # Scores and masks are 4 heads x 5 rows x 490 columns; keys alone 4 x 490 x 8.
    assert max(made.sizes) < 4 * 450 * 8


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_padded_passes_give_the_rows_of_a_fresh_forward(name: str, kind: str) -> None:
    rng = random.Random(6)
    root = opened(name, "padded")
    for _ in range(2):
        shadow = root.fork()
        shadow.ask(word_ids(rng, rng.randrange(1, 12)), random_tree(rng, 6))
        for turn in range(8):
            tree = shadow.last
            assert tree is not None
            shadow.keep(tree.path(rng.randrange(-1, len(tree))) if len(tree) else ())
            if turn % 3 == 2:
                shadow.rollback(rng.randrange(0, 3))
            shadow.extend(rng.randrange(3, DRAFTABLE), random_tree(rng, (0, 1, 4, 7, 9)[turn % 5]))


def test_a_tree_wider_than_any_padded_pass() -> None:
    rng = random.Random(7)
    shadow = opened("qwen2-sliding", "padded")
    shadow.ask((9, 10), random_tree(rng, 90))
    assert shadow.last is not None
    shadow.keep(shadow.last.path(60))
    shadow.extend(8, random_tree(rng, 60))
    shadow.rollback(0)
    shadow.extend(9, random_tree(rng, 90))


def test_padding_takes_no_room() -> None:
    """`room` is what question, answer and tree need, however their passes are padded."""
    model = tiny("llama")
    with mock.patch.object(torch, "compile", lambda function, **_: function):
        target = Target(model, cache="preallocated", room=10, compiled=True)
    scene = scene_of(model, random.Random(1), "text", before=5)
    shadow = Shadow.open(Setting(target, 10), Asked(scene))
    shadow.ask((9, 10, 11), EMPTY)
    for token in range(20, 24):
        shadow.extend(token, EMPTY)
    shadow.extend(8, DraftTree.from_parents([5, 6], [-1, -1]))
    shadow.keep((1,))
    shadow.extend(8, DraftTree.chain([5]))
    shadow.extend(8, EMPTY)
    assert len(shadow.answer) == 7


@pytest.mark.parametrize("cache", ("growing", "preallocated", "padded"))
def test_a_pass_that_fails_half_way_leaves_the_session_as_it_was(cache: str) -> None:
    """Memory can run out in the second layer of a pass; the next call must not notice."""
    model = llama()
    scene = scene_of(model, random.Random(3), "text", before=5)
    shadow = Shadow.open(Setting.of(model, cache, room=300), Asked(scene)).fork()
    rng = random.Random(1)

    def fail(*_: object) -> None:
        raise MemoryError("made up")

    def failing(call: Any, *arguments: Any) -> None:
        handle = model.model.layers[1].register_forward_pre_hook(fail)
        with pytest.raises(MemoryError):
            call(*arguments)
        handle.remove()
        shadow.check()

    failing(shadow.session.ask, scene.prompt((9, 10)), DraftTree.chain([5, 6]))
    shadow.ask((9, 10), DraftTree.chain([5, 6]))
    shadow.keep((0,))
    failing(shadow.session.extend, 7, DraftTree.chain([8, 9, 10]))
    shadow.extend(8, random_tree(rng, 80))
    assert shadow.last is not None
    shadow.keep(shadow.last.path(40))
    failing(shadow.session.extend, 7, random_tree(rng, 80))
    shadow.extend(9, DraftTree.from_parents([5, 6], [-1, -1]))


def test_what_cannot_be_compiled_is_refused() -> None:
    with pytest.raises(InputError):
        Target(tiny("llama"), cache="growing", compiled=True)
    with pytest.raises(InputError):
        Target(tiny("llama"), cache="elastic")  # type: ignore[arg-type]


def test_it_is_as_good_for_one_question_without_a_picture() -> None:
    model = tiny("gpt2")
    session = Target(model, cache="preallocated", room=12).open(Prompt((5,), cut=0))
    assert session.cache_length == 0
    oracle = Oracle(model, {"input_ids": torch.tensor([[9, 10]])})
    step = session.ask(Prompt((9, 10), cut=0), DraftTree.chain([4]))
    assert_rows(step, [oracle.row(), oracle.row((4,))])


@pytest.mark.parametrize("room", [0, -5])
def test_no_room_at_all_is_refused(room: int) -> None:
    with pytest.raises(InputError, match=f"room for {room} tokens"):
        Target(llama(), cache="preallocated", room=room)
