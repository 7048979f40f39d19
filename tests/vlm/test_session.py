"""The contract of a session, on text decoders of every kind of attention."""

from __future__ import annotations

import gc
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.clock import Spans
from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Step
from crossdraft.vlm.target import Target
from tests.vlm.machine import run_machine, two_scenes
from tests.vlm.models import (
    DECODERS,
    DRAFTABLE,
    VOCAB,
    MadeScene,
    Words,
    gemma2_eager,
    gpt2,
    llama,
    scene_of,
    tiny,
    word_ids,
)
from tests.vlm.oracle import Oracle, assert_rows, close
from tests.vlm.shadow import Asked, Setting, Shadow, branch, random_tree, trees

CACHES = ("growing", "preallocated")
EMPTY = DraftTree.empty()
#: Two layers, keys and values, two key heads of 8 numbers, 8 bytes each.
BYTES_PER_ROW = 2 * 2 * 2 * 8 * 8


def opened(name: str, cache: str, *, before: int = 0, **options: object) -> Shadow:
    """A session of a text model that has read `before` ids."""
    model = tiny(name)
    scene = scene_of(model, random.Random(before), "text", before=before)
    return Shadow.open(Setting.of(model, cache, **options), Asked(scene))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", DECODERS)
def test_any_interleaving_gives_the_rows_of_a_fresh_forward(name: str) -> None:
    run_machine(tiny(name), two_scenes(tiny(name), ("text", "text")), examples=20)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("name", DECODERS)
def test_a_long_answer_in_random_trees(name: str, cache: str) -> None:
    """Far past every sliding window; compaction, positions and rollback all along."""
    rng = random.Random(3)
    shadow = opened(name, cache, before=5, room=140)
    shadow.ask(word_ids(rng, 6), random_tree(rng, 8))
    for turn in range(16):
        tree = shadow.last
        assert tree is not None
        shadow.keep(tree.path(rng.randrange(-1, len(tree))) if len(tree) else ())
        if turn % 5 == 4:
            shadow.rollback(rng.randrange(0, 4))
        shadow.extend(rng.randrange(3, DRAFTABLE), random_tree(rng, rng.randrange(0, 9)))
    assert len(shadow.answer) > 16


@settings(max_examples=15)
@given(tree=trees(9), tail=trees(9))
@pytest.mark.parametrize("name", ("llama", "qwen2-sliding"))
def test_tree_rows_equal_one_pass_for_each_branch(
    name: str, tree: DraftTree, tail: DraftTree
) -> None:
    """The same session code with chains instead of trees, beside the oracle of the machine."""
    model = tiny(name)
    root = Target(model).open(Prompt((3, 4, 5, 6, 8), cut=4))
    whole = root.fork()
    question = Prompt((3, 4, 5, 6, 9, 10), cut=4)
    for pass_of, nodes in (("ask", tail), ("extend", tree)):
        step = whole.ask(question, nodes) if pass_of == "ask" else whole.extend(12, nodes)
        whole.rollback(0)
        for node in range(len(nodes)):
            single = root.fork()
            path = nodes.path(node)
            chain = DraftTree.chain(branch(nodes, node))
            if pass_of == "ask":
                rows = single.ask(question, chain)
            else:
                single.ask(question)
                rows = single.extend(12, chain)
            close(step.kept(path).logits, rows.logits)
            close(step.kept(path).hidden, rows.hidden)


@pytest.mark.parametrize("cache", CACHES)
def test_wrong_calls_are_refused_and_change_nothing(cache: str) -> None:
    shadow = opened("llama", cache, before=3)
    fork = DraftTree.from_parents([5, 6, 7, 8], [-1, -1, 0, 2])
    # Before a question.
    shadow.extend(5, EMPTY)
    shadow.keep(())
    shadow.rollback(1)
    shadow.ask((9,), DraftTree.chain([5, DRAFTABLE]))
    shadow.ask((9,), DraftTree.chain([-1]))
    shadow.ask((9, 10), fork)
    # While a tree waits.
    shadow.ask((9, 10), EMPTY)
    shadow.extend(5, EMPTY)
    for path in ((1, 2), (2,), (0, 1), (0, 3), (4,), (-1,), (0, 0), (0, 2, 3, 3)):
        shadow.keep(path)
    shadow.rollback(1)
    shadow.keep((0, 2))
    assert shadow.answer == [5, 7]
    # Nothing waits any more.
    shadow.keep(())
    shadow.keep((0,))
    shadow.rollback(3)
    shadow.rollback(-1)
    shadow.extend(-1, EMPTY)
    shadow.extend(VOCAB, EMPTY)
    shadow.extend(6, DraftTree.chain([5, VOCAB]))
    shadow.extend(6, fork)
    shadow.rollback(0)
    shadow.keep((0,))
    shadow.extend(7, fork)
    assert shadow.answer == [5, 7, 6, 7]
    assert len(shadow.steps) == 3


@pytest.mark.parametrize("cache", CACHES)
def test_rollback_goes_to_the_prompt_and_no_further(cache: str) -> None:
    shadow = opened("qwen2-sliding", cache, before=9)
    shadow.ask((9, 10), DraftTree.chain([5, 6, 7]))
    shadow.keep((0, 1))
    for token in range(20, 26):
        shadow.extend(token, DraftTree.from_parents([5, 6], [-1, -1]))
        shadow.keep((1,))
    shadow.rollback(5)
    shadow.rollback(9)
    assert shadow.answer == []
    shadow.rollback(1)
    shadow.extend(30, DraftTree.chain([5, 6]))
    shadow.rollback(1)
    shadow.extend(31, EMPTY)
    shadow.extend(32, EMPTY)
    assert shadow.answer == [31, 32]


@pytest.mark.parametrize("cache", CACHES)
def test_a_plain_pass_right_after_keep_sees_the_kept_path(cache: str) -> None:
    for name in DECODERS:
        shadow = opened(name, cache, before=7)
        tree = DraftTree.from_parents([5, 6, 7, 8, 9, 10], [-1, -1, 1, 1, 3, 4])
        shadow.ask((9, 10), tree)
        shadow.keep((1, 3, 4))
        shadow.extend(11, EMPTY)
        shadow.extend(12, tree)
        shadow.keep(())
        shadow.extend(13, tree)
        shadow.keep((1, 3, 4, 5))
        shadow.extend(14, EMPTY)


@pytest.mark.parametrize("cache", CACHES)
def test_the_target_may_say_what_must_not_be_drafted(cache: str) -> None:
    shadow = opened("llama", cache)
    shadow.ask((9,), EMPTY)
    shadow.extend(DRAFTABLE, EMPTY)
    shadow.extend(VOCAB - 1, DraftTree.chain([DRAFTABLE - 1]))
    assert shadow.answer == [DRAFTABLE, VOCAB - 1]


@pytest.mark.parametrize("cache", CACHES)
def test_prompts_that_do_not_belong_to_the_scene_are_refused(cache: str) -> None:
    model = tiny("llama")
    session = Setting.of(model, cache).target.open(Prompt((3, 4, 5, 6), cut=3))
    other = [
        Prompt((3, 4, 9, 6), cut=3),
        Prompt((3, 4, 6), cut=2),
        Prompt((3, 4, 5, 8, 6), cut=4),
        Prompt((6,), cut=0),
    ]
    for prompt in other:
        with pytest.raises(InputError):
            session.ask(prompt)
        with pytest.raises(InputError):
            session.answer_many([prompt], 2)
    for token in (VOCAB, -1):
        with pytest.raises((InputError, ValueError)):
            session.ask(Prompt((3, 4, 5, token), cut=3))
    assert session.tokens == (3, 4, 5)
    oracle = Oracle(model, {"input_ids": torch.tensor([[3, 4, 5, 7]])})
    assert_rows(session.ask(Prompt((3, 4, 5, 7), cut=3)), [oracle.row()])


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("name", DECODERS)
def test_layers_are_the_hidden_states_of_transformers(name: str, cache: str) -> None:
    for layers in ((), (1,), (2, 0)):
        shadow = opened(name, cache, before=4, layers=layers)
        shadow.ask((9, 10, 11), DraftTree.from_parents([5, 6, 7], [-1, -1, 0]))
        shadow.keep((0, 2))
        shadow.extend(12, DraftTree.chain([5, 6]))
        assert all(sorted(step.layers) == sorted(layers) for step, _ in shadow.steps)


def test_kept_rows_are_the_root_and_the_path() -> None:
    logits, hidden = torch.arange(10.0).view(5, 2), torch.arange(5.0).view(5, 1)
    step = Step(logits, hidden, {1: hidden * 2})
    kept = step.kept((1, 3))
    assert kept.logits.tolist() == [[0, 1], [4, 5], [8, 9]]
    assert kept.hidden.tolist() == [[0], [2], [4]]
    assert kept.layers[1].tolist() == [[0], [4], [8]]
    assert step.kept(()).logits.tolist() == [[0, 1]]


@pytest.mark.parametrize("cache", CACHES)
def test_the_cache_holds_what_was_accepted_and_the_width(cache: str) -> None:
    """In rows exactly (every call of a shadow checks them), in bytes but for spare room: the
    growing cache may hold 256 rows more, the preallocated one what it was given."""
    rng = random.Random(5)
    shadow = opened("llama", cache, before=400, room=60)
    shadow.ask((9, 10), random_tree(rng, 6))
    for _ in range(8):
        rows = len(shadow.tokens) + shadow.waiting
        limit = rows + 256 if cache == "growing" else 400 + 60
        assert 0 < shadow.session.cache_bytes <= limit * BYTES_PER_ROW
        assert shadow.last is not None
        shadow.keep(shadow.last.path(len(shadow.last) - 1) if rng.random() < 0.5 else ())
        shadow.rollback(min(len(shadow.answer), 3))
        assert shadow.session.cache_bytes <= limit * BYTES_PER_ROW
        shadow.extend(8, random_tree(rng, 6))


@pytest.mark.parametrize("cache", CACHES)
def test_forks_of_one_picture_share_its_memory(cache: str) -> None:
    model = llama()
    ids = word_ids(random.Random(0), 300)
    target = Setting.of(model, cache, room=20).target
    session = target.open(Prompt((*ids, 5), cut=300))
    before = _living_bytes()
    forks = [session.fork() for _ in range(30)]
    picture = 300 * BYTES_PER_ROW
    assert _living_bytes() - before < picture
    assert all(fork.cache_bytes == session.cache_bytes for fork in forks)
    forks[3].ask(Prompt((*ids, 6, 7), cut=300))
    assert _living_bytes() - before < 3 * picture
    del forks
    assert _living_bytes() - before < picture / 2


@pytest.mark.parametrize("cache", CACHES)
def test_memory_does_not_grow_with_the_number_of_passes(cache: str) -> None:
    ids = word_ids(random.Random(0), 100)
    session = Setting.of(llama(), cache, room=30).target.open(Prompt((*ids, 5), cut=100))
    session.ask(Prompt((*ids, 6, 7), cut=100))
    tree = DraftTree.from_parents([5, 6, 7], [-1, -1, 0])
    for turn in range(40):
        session.extend(8, tree)
        session.keep((0, 2))
        session.rollback(3)
        if turn == 10:
            before = _living_bytes()
    assert _living_bytes() - before < 4 * BYTES_PER_ROW


def test_a_dropped_parent_leaves_its_forks_alone() -> None:
    parent = opened("qwen2-sliding", "growing", before=12)
    child = parent.fork()
    parent.ask((9, 10), DraftTree.chain([5, 6]))
    grandchild = parent.fork()
    del parent
    gc.collect()
    child.ask((20, 21, 22), DraftTree.chain([5]))
    grandchild.ask((9, 10), EMPTY)
    child.extend(7, EMPTY) if not child.waiting else child.keep((0,))
    grandchild.extend(8, DraftTree.chain([9]))


def test_questions_as_text_go_through_the_prompt_builder() -> None:
    model = tiny("llama")
    scene = scene_of(model, random.Random(1), "text", before=6)
    target = Target(model, Words())
    session = target.open(scene)
    assert session.tokens == scene.ids
    assert target.prompt(scene, "what is here").ids == (*scene.ids, *Words.ids("what is here"))
    step = session.fork().ask("what is here")
    assert_rows(step, [Oracle(model, scene.outputs(Words.ids("what is here"))).row()])


def test_a_target_without_a_builder_says_so_when_it_is_given_text() -> None:
    target = Target(tiny("llama"))
    session = target.open(Prompt((3, 4), cut=1))
    with pytest.raises(InputError):
        session.ask("what is here")
    with pytest.raises(InputError):
        target.prompt("a scene", "what is here")
    assert session.tokens == (3,)


@pytest.mark.parametrize(("found", "expected"), [(None, set()), (2, {2}), ([2, 7], {2, 7})])
def test_end_tokens_are_those_of_the_generation_settings(
    found: int | list[int] | None, expected: set[int]
) -> None:
    model = llama()
    model.generation_config.eos_token_id = found
    target = Target(model)
    assert target.eos_ids == frozenset(expected)
    assert target.dtype == torch.float64
    assert target.device == torch.device("cpu")


@pytest.mark.parametrize("cache", CACHES)
def test_an_end_token_is_a_token_like_any_other(cache: str) -> None:
    model = llama()
    model.generation_config.eos_token_id = [5, 7]
    scene = scene_of(model, random.Random(2), "text", before=3)
    shadow = Shadow.open(Setting.of(model, cache), Asked(scene))
    shadow.ask((9,), DraftTree.chain([5, 6]))
    shadow.keep((0, 1))
    shadow.extend(7, DraftTree.chain([8]))


def test_spans_say_what_every_call_did() -> None:
    spans = Spans()
    session = Target(tiny("llama")).open(Prompt((3, 4, 5, 6), cut=3), spans=spans)
    child = session.fork()
    assert child.spans is spans
    assert session.spans is spans

    def count(name: str) -> int:
        return sum(span.name == name for span in spans.spans)

    prefills = count("prefill")
    child.ask(Prompt((3, 4, 5, 7), cut=3))
    assert count("prefill") == prefills + 1
    child.extend(5)
    child.extend(6, DraftTree.chain([7]))
    assert (count("decode"), count("verify")) == (1, 1)
    known = {"read", "vision", "prefill", "decode", "verify"}
    assert {span.name for span in spans.spans} <= known
    assert all(span.duration_ms >= 0 for span in spans.spans)


def test_a_question_as_text_needs_the_scene() -> None:
    """Opened with a prompt, the session does not know the scene that a builder would ask for."""
    session = Target(tiny("llama"), Words()).open(Prompt((3, 4), cut=1))
    with pytest.raises(InputError):
        session.ask("what is here")
    with pytest.raises(InputError):
        session.answer_many(["what is here"])


@pytest.mark.parametrize("cache", CACHES)
def test_positions_that_the_model_does_not_have_are_refused(cache: str) -> None:
    """A GPT-2 of 16 learned positions holds 16 tokens; a tree needs its depth, not its nodes."""
    model = gpt2(positions=16)
    with pytest.raises(InputError):
        Target(model).open(Prompt(tuple(range(3, 20)), cut=4))
    session = Target(model, cache=cache).open(Prompt((3, 4, 5), cut=2))  # type: ignore[arg-type]
    with pytest.raises(InputError):
        session.ask(Prompt((3, 4, *range(5, 20)), cut=2))
    session.ask(Prompt((3, 4, *range(5, 16)), cut=2), DraftTree.chain([5]))
    session.keep((0,))
    session.extend(5, DraftTree.from_parents([5, 6, 7], [-1, -1, -1]))
    session.rollback(0)
    with pytest.raises(InputError):
        session.extend(6, DraftTree.chain([5]))
    session.extend(6)
    with pytest.raises(InputError):
        session.extend(7)
    assert len(session.tokens) == 16
    # 13 tokens of prompt and the first 3 of the answer are read; the fourth is emitted by then.
    (answer,) = session.answer_many([Prompt((3, 4, *range(5, 16)), cut=2)], 6)
    assert (len(answer.tokens), answer.end) == (4, "length")


def test_eager_attention_serves_as_well() -> None:
    model = gemma2_eager()
    scene = scene_of(model, random.Random(1), "text", before=9)
    session = Target(model).open(scene.prompt((5,)))
    tree = DraftTree.from_parents([5, 6, 7, 8], [-1, -1, 1, 2])
    oracle = Oracle(model, scene.outputs((9, 10)))
    asked = session.ask(scene.prompt((9, 10)), tree)
    session.keep((1, 2, 3))
    step = session.extend(11, tree)
    expected = [oracle.row((6, 7, 8, 11, *branch(tree, i))).logits for i in range(4)]
    roots = [oracle.row().logits, oracle.row((6, 7, 8, 11)).logits]
    torch.testing.assert_close(step.logits[1:], torch.stack(expected), rtol=1e-5, atol=1e-5)
    found = torch.stack([asked.logits[0], step.logits[0]])
    torch.testing.assert_close(found, torch.stack(roots), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cache", CACHES)
def test_answers_grow_past_what_is_allocated_at_once(cache: str) -> None:
    rng = random.Random(2)
    shadow = opened("qwen2-sliding", cache, before=240, room=120)
    fork = shadow.fork()
    for session in (shadow, fork):
        session.ask((9, 10), random_tree(rng, 6))
    while len(shadow.tokens) < 275:
        session = rng.choice((shadow, fork))
        if session.last is not None and session.waiting:
            session.keep(session.last.path(session.waiting - 1))
        session.extend(rng.randrange(3, DRAFTABLE), random_tree(rng, 7))
    fork.rollback(0)
    fork.extend(7, EMPTY)


def test_open_leaves_the_model_as_it_was() -> None:
    model = llama()
    ids = torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        names = [name for name, _ in model.named_parameters()]
        shadow = Shadow.open(Setting.of(model, "preallocated"), Asked(_text(model)))
        shadow.ask((9,), DraftTree.chain([5]))
        assert torch.equal(model(input_ids=ids).logits, before)
    assert [name for name, _ in model.named_parameters()] == names
    assert not model.training


@settings(max_examples=20)
@given(data=st.data())
def test_siblings_in_any_order_and_many_roots(data: st.DataObject) -> None:
    """Nodes in breadth-first, depth-first or mixed order give the same rows for a branch."""
    shadow = opened("gemma3", data.draw(st.sampled_from(CACHES)), before=6)
    shadow.ask((9, 10), data.draw(trees(10)))
    assert shadow.last is not None
    shadow.keep(shadow.last.path(data.draw(st.integers(-1, len(shadow.last) - 1))))
    shadow.extend(12, data.draw(trees(10)))


def _text(model: object) -> MadeScene:
    return scene_of(model, random.Random(0), "text", before=4)


def _living_bytes() -> int:
    """Bytes of all tensors alive, storages counted once."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        # What tracing leaves behind has no storage.
        if type(thing) in (torch.Tensor, torch.nn.Parameter) and thing.device.type == "cpu":
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
