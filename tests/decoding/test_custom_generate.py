"""`model.generate(..., custom_generate=…)` gives what `generate` gives without it."""

from __future__ import annotations

import copy
import gc
import pickle
import random
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from torch import Tensor
from transformers import (
    LogitsProcessor,
    PreTrainedTokenizerFast,
    StoppingCriteria,
    StopStringCriteria,
)

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.decoding.custom_generate import SpeculativeGenerate, custom_generate
from crossdraft.decoding.stream import AnswerStream
from crossdraft.decoding.width import Fixed
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.drafters.registry import REGISTRY
from tests.vlm.models import DRAFTABLE, VOCAB, llama, outputs, qwen2_5_vl, tiny, word_ids

#: Models, with what they are shown.
ASKED = [
    ("llama", "text"),
    ("gpt2", "text"),
    ("mistral-sliding", "text"),
    ("gemma3", "text"),
    ("video-llava", "video"),
    ("video-llava", "text"),
    ("llava-onevision", "both"),
    ("llava-onevision-sliding", "video"),
    ("qwen2.5-vl", "video"),
    ("qwen2.5-vl", "both"),
    ("qwen2.5-vl", "text"),
]
LENGTH = 16


def inputs_of(model: Any, kind: str = "text", seed: int = 0) -> dict[str, Tensor]:
    """What the model's processor gives for a random scene and question."""
    rng = random.Random(seed)
    return outputs(model, rng, word_ids(rng, 6), kind)


class Knowing(Drafter):
    """Knows the answer to come; proposes it among wrong tokens, sometimes with a mistake in it."""

    name = "knowing"

    def __init__(self, answer: Sequence[int], wrong: Sequence[int] = (3, 4, 5)) -> None:
        self.answer, self.wrong = list(answer), wrong
        self.asked: list[str] = []

    def begin(self, context: Context) -> None:
        self.asked.append(context.question)

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        rng = random.Random(len(prefix))
        tokens: list[int] = []
        parents: list[int] = []
        above = -1
        for token in self.answer[len(prefix) : len(prefix) + budget.depth]:
            said = token if rng.random() < 0.85 else 6
            row = [*{*self.wrong} - {said}, said]
            rng.shuffle(row)
            if len(tokens) + len(row) > budget.nodes:
                break
            tokens += row
            parents += [above] * len(row)
            above = len(tokens) - len(row) + row.index(said)
        return DraftTree.from_parents(tokens, parents, source=self.name)


def plainly(model: Any, inputs: Mapping[str, Tensor], **options: Any) -> tuple[Any, Tensor]:
    """What plain `generate` returns, and the state in which it leaves the global generator."""
    torch.manual_seed(5)
    found = model.generate(**inputs, **{"max_new_tokens": LENGTH, **options})
    return found, torch.get_rng_state()


def drafted(
    model: Any, inputs: Mapping[str, Tensor], answer: Sequence[int], **options: Any
) -> tuple[Any, Tensor, SpeculativeGenerate]:
    """The same with a drafter that knows the answer."""
    speculate = custom_generate(Knowing(answer), width=Budget.tree(24, 6))
    torch.manual_seed(5)
    found = model.generate(
        **inputs, **{"max_new_tokens": LENGTH, **options}, custom_generate=speculate
    )
    return found, torch.get_rng_state(), speculate


def agree(model: Any, inputs: Mapping[str, Tensor], **options: Any) -> SpeculativeGenerate:
    """Both ways to answer agree: tokens, numbers drawn, and there were drafts to speak of."""
    prompt = inputs["input_ids"].shape[1]
    expected, state = plainly(model, inputs, **options)
    answer = expected[0, prompt:].tolist()
    found, after, speculate = drafted(model, inputs, answer, **options)
    assert found.tolist() == expected.tolist()
    assert found.dtype == expected.dtype and found.device == expected.device
    assert torch.equal(after, state)
    last = speculate.last
    assert last is not None and list(last.tokens) == answer
    assert len(last.tokens) < 4 or last.tau > 1.2
    return speculate


@pytest.mark.parametrize(("name", "kind"), ASKED)
def test_a_greedy_answer_is_the_one_of_generate(name: str, kind: str) -> None:
    model = tiny(name)
    for seed in range(3):
        agree(model, inputs_of(model, kind, seed))


@pytest.mark.parametrize(("name", "kind"), ASKED)
def test_a_sampled_answer_is_the_one_of_generate(name: str, kind: str) -> None:
    model = tiny(name)
    options = {"do_sample": True, "temperature": 1.4, "top_k": 40, "top_p": 0.95}
    for seed in range(3):
        agree(model, inputs_of(model, kind, seed), **options)


def only_odd(_: int, ids: Tensor) -> list[int]:
    """Tokens that may follow: words of the other parity."""
    return list(range(3 + int(ids[-1]) % 2, DRAFTABLE, 2))


class Tiring(LogitsProcessor):
    """Likes one token more with every call: it counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.calls += 1
        scores[:, 40] += 0.2 * self.calls  # in place: plain generate shows that in its logits
        return scores


#: What `generate` turns into processors; made anew for every call.
PROCESSORS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "repetition": lambda: {"repetition_penalty": 1.4},
    "ngrams": lambda: {"no_repeat_ngram_size": 2},
    "bad words": lambda: {"bad_words_ids": [[7], [8, 9], [30, 31]]},
    "suppressed": lambda: {"suppress_tokens": list(range(20, 60))},
    "begin": lambda: {"begin_suppress_tokens": list(range(60, 110))},
    "bias": lambda: {"sequence_bias": [[[50], 4.0], [[51, 52], 6.0]]},
    "least length": lambda: {"min_new_tokens": 9, "eos_token_id": list(range(3, 100, 2))},
    "forced end": lambda: {"forced_eos_token_id": 77, "eos_token_id": 77},
    "long-winded": lambda: {
        "exponential_decay_length_penalty": (4, 1.5),
        "eos_token_id": 77,
    },
    "allowed": lambda: {"prefix_allowed_tokens_fn": only_odd},
    "own": lambda: {"logits_processor": [Tiring()]},
    "several": lambda: {
        "repetition_penalty": 1.2,
        "no_repeat_ngram_size": 3,
        "renormalize_logits": True,
        "remove_invalid_values": True,
    },
}
SAMPLERS: Mapping[str, dict[str, Any]] = {
    "all": {"top_k": 0},
    "min_p": {"min_p": 0.05},
    "typical": {"typical_p": 0.8, "top_k": 0},
    "epsilon": {"epsilon_cutoff": 0.01, "temperature": 2.0},
    "eta": {"eta_cutoff": 0.01, "top_k": 0},
}


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("draws", [False, True], ids=["greedy", "sampled"])
@pytest.mark.parametrize(("name", "kind"), [("llama", "text"), ("qwen2.5-vl", "video")])
def test_processors_do_what_they_do_in_generate(
    name: str, kind: str, draws: bool, processor: str
) -> None:
    model = tiny(name)
    for seed in range(2):
        inputs = inputs_of(model, kind, seed)
        make = PROCESSORS[processor]
        expected, state = plainly(model, inputs, do_sample=draws, **make())
        answer = expected[0, inputs["input_ids"].shape[1] :].tolist()
        found, after, _ = drafted(model, inputs, answer, do_sample=draws, **make())
        assert found.tolist() == expected.tolist()
        assert torch.equal(after, state)


def test_positions_of_a_text_may_begin_elsewhere() -> None:
    agree(tiny("llama"), {**inputs_of(tiny("llama")), "position_ids": torch.arange(3, 9)[None]})


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_do_what_they_do_in_generate(sampler: str) -> None:
    agree(tiny("gpt2"), inputs_of(tiny("gpt2")), do_sample=True, **SAMPLERS[sampler])


def test_the_settings_of_a_checkpoint_are_applied_as_by_generate() -> None:
    model = llama(3)
    inputs = inputs_of(model)
    bare, _ = plainly(model, inputs)
    model.generation_config.repetition_penalty = 1.8
    model.generation_config.no_repeat_ngram_size = 2
    assert plainly(model, inputs)[0].tolist() != bare.tolist()
    agree(model, inputs)


@pytest.mark.parametrize("draws", [False, True], ids=["greedy", "sampled"])
@pytest.mark.parametrize("place", [0, 1, 4, 7, 10, LENGTH - 1])
def test_an_answer_ends_where_it_ends_in_generate(place: int, draws: bool) -> None:
    model = tiny("llama")
    inputs = inputs_of(model, seed=2)
    whole, _ = plainly(model, inputs, do_sample=draws)
    end = int(whole[0, inputs["input_ids"].shape[1] + place])
    speculate = agree(model, inputs, do_sample=draws, eos_token_id=[end, 2])
    assert speculate.last is not None and speculate.last.end == "eos"


class Counting(StoppingCriteria):
    """Ends an answer with its seventh token; notes what it was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[list[int], int | None]] = []

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        self.shown.append((input_ids[0].tolist(), None if scores is None else len(scores)))
        return torch.tensor([len(self.shown) == 7])


def test_criteria_are_asked_once_for_every_token() -> None:
    model = tiny("gpt2")
    inputs = inputs_of(model)
    for more in ({}, {"return_dict_in_generate": True, "output_scores": True}):
        plain, ours = Counting(), Counting()
        expected, _ = plainly(model, inputs, stopping_criteria=[plain], **more)
        ids = expected.sequences if more else expected
        answer = [*ids[0, inputs["input_ids"].shape[1] :].tolist(), 9, 9]
        _, _, speculate = drafted(model, inputs, answer, stopping_criteria=[ours], **more)
        assert ours.shown == plain.shown and len(ours.shown) == 7
        assert speculate.last is not None and speculate.last.end == "stop"


def test_stop_strings_end_an_answer_as_criteria() -> None:
    model = tiny("llama")
    inputs = inputs_of(model)
    letters = Tokenizer(BPE({chr(33 + token): token for token in range(VOCAB)}, []))
    letters.decoder = decoders.Fuse()
    wrapped: Any = PreTrainedTokenizerFast
    tokenizer = wrapped(tokenizer_object=letters)
    whole, _ = plainly(model, inputs)
    string = "".join(chr(33 + int(token)) for token in whole[0, -8:-6])
    criterion = StopStringCriteria(tokenizer, [string])
    speculate = agree(model, inputs, stopping_criteria=[criterion])
    assert speculate.last is not None
    assert speculate.last.end == "stop" and len(speculate.last.tokens) <= LENGTH - 6


@pytest.mark.parametrize("most", [1, 2, 5])
def test_the_length_is_the_one_asked_for(most: int) -> None:
    model = tiny("llama")
    inputs = inputs_of(model)
    for option in ({"max_new_tokens": most}, {"max_length": 6 + most, "max_new_tokens": None}):
        speculate = agree(model, inputs, **option)
        assert speculate.last is not None
        assert (speculate.last.end, len(speculate.last.tokens)) == ("length", most)


class Heard:
    """A streamer that notes what it is given."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def put(self, value: Tensor) -> None:
        self.heard.append((value.tolist(), value.dtype))

    def end(self) -> None:
        self.heard.append("end")


def test_a_streamer_hears_what_it_hears_in_generate() -> None:
    model = tiny("llama")
    inputs = inputs_of(model)
    plain, ours = Heard(), Heard()
    expected, _ = plainly(model, inputs, streamer=plain)
    answer = expected[0, inputs["input_ids"].shape[1] :].tolist()
    drafted(model, inputs, answer, streamer=ours)
    assert ours.heard == plain.heard
    assert ours.heard[-1] == "end" and len(ours.heard) == LENGTH + 2


@pytest.mark.parametrize("draws", [False, True], ids=["greedy", "sampled"])
def test_scores_and_logits_are_those_of_generate(draws: bool) -> None:
    model = tiny("video-llava")
    inputs = inputs_of(model, "video")
    for scores, logits in ((True, True), (True, False), (False, True), (False, False)):
        options = {
            "return_dict_in_generate": True,
            "output_scores": scores,
            "output_logits": logits,
            "do_sample": draws,
        }
        expected, _ = plainly(model, inputs, logits_processor=[Tiring()], **options)
        answer = expected.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        found, _, _ = drafted(model, inputs, answer, logits_processor=[Tiring()], **options)
        assert type(found) is type(expected)
        assert found.sequences.tolist() == expected.sequences.tolist()
        for name, asked in (("scores", scores), ("logits", logits)):
            ours, plain = getattr(found, name), getattr(expected, name)
            assert (ours is not None) == (plain is not None) == asked
            for one, other in zip(ours or (), plain or (), strict=True):
                assert one.dtype == other.dtype == torch.float32
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        assert found.past_key_values is None


def test_the_drafter_learns_from_every_answer() -> None:
    model = tiny("llama")
    inputs = inputs_of(model, seed=4)
    speculate = custom_generate()
    expected, _ = plainly(model, inputs)
    passes = []
    for _ in range(2):
        found = model.generate(**inputs, max_new_tokens=LENGTH, custom_generate=speculate)
        assert found.tolist() == expected.tolist()
        assert speculate.last is not None
        passes.append(len(speculate.last.passes))
    assert passes[1] < passes[0] <= LENGTH
    assert speculate.last is not None and set(speculate.last.by_source()) == {"suffix"}


def test_a_drafter_is_held_to_the_width() -> None:
    model = tiny("llama")
    inputs = inputs_of(model)
    answer = plainly(model, inputs)[0][0, 6:].tolist()
    for width in (Budget.chain(3), Fixed(Budget.chain(3))):
        speculate = custom_generate(Knowing(answer, wrong=()), width=width)
        model.generate(**inputs, max_new_tokens=LENGTH, custom_generate=speculate)
        assert speculate.last is not None and max(speculate.last.drafted) == 3
    speculate = custom_generate(Knowing([3] * 99, wrong=range(10, 60)))
    model.generate(**inputs, max_new_tokens=LENGTH, custom_generate=speculate)
    assert speculate.last is not None and max(speculate.last.drafted) <= 16


class Echo(Drafter):
    """The last token once more."""

    name = "echo"

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return DraftTree.chain(list(prefix[-1:])[: budget.nodes], source=self.name)


def test_a_new_drafter_is_one_file_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "echo", f"{__name__}:Echo")
    model = tiny("gpt2")
    inputs = inputs_of(model)
    expected, _ = plainly(model, inputs)
    for name in ("echo", "echo+suffix", "none"):
        speculate = custom_generate(name)
        found = model.generate(**inputs, max_new_tokens=LENGTH, custom_generate=speculate)
        assert found.tolist() == expected.tolist()


def test_the_drafter_is_told_the_question() -> None:
    model = tiny("video-llava")
    inputs = inputs_of(model, "video")
    drafter = Knowing([])
    speculate = custom_generate(drafter)
    model.generate(**inputs, max_new_tokens=2, custom_generate=speculate)
    model.generate(**inputs, max_new_tokens=2, custom_generate=speculate, question="What is it?")
    ids = " ".join(map(str, inputs["input_ids"][0, -6:].tolist()))
    assert drafter.asked == [ids, "What is it?"]


def test_words_of_an_event_model_are_read_where_they_are_given() -> None:
    model = tiny("llama")
    inputs = inputs_of(model)
    expected, _ = plainly(model, inputs)
    speculate = custom_generate("drafter-text")
    with pytest.raises(InputError, match=r"drafter-text reads an event model[\s\S]*Speculator"):
        model.generate(**inputs, max_new_tokens=LENGTH, custom_generate=speculate)
    stream = AnswerStream()
    stream.append(expected[0, 6:].tolist())
    stream.close()
    found = model.generate(
        **inputs, max_new_tokens=LENGTH, custom_generate=speculate, stream=stream
    )
    assert found.tolist() == expected.tolist()
    assert speculate.last is not None and speculate.last.tau > 2


def test_a_picture_is_encoded_once() -> None:
    model = qwen2_5_vl()
    seen: list[int] = []
    model.model.visual.register_forward_hook(lambda *_: seen.append(1))
    inputs = inputs_of(model, "video")
    model.generate(**inputs, max_new_tokens=4, custom_generate=custom_generate("none"))
    assert len(seen) == 1


def test_one_target_serves_a_model_and_goes_with_it() -> None:
    model = llama(5)
    speculate = custom_generate("none")
    passes: list[int] = []
    hook = model.model.register_forward_hook(lambda *_: passes.append(1))
    inputs = inputs_of(model)
    counts = []
    for again in (speculate, speculate, custom_generate("none")):
        before = len(passes)
        model.generate(**inputs, max_new_tokens=3, custom_generate=again)
        counts.append(len(passes) - before)
    assert counts[0] > counts[1] == counts[2] == 3
    hook.remove()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.__dict__["_crossdraft_kept"].target is None
        agree(other, inputs)
    gone = weakref.ref(model)
    del model, other, hook
    gc.collect()
    assert gone() is None


def test_a_model_that_has_changed_is_taken_apart_anew() -> None:
    model = llama(6)
    agree(model, inputs_of(model))
    model.resize_token_embeddings(60, mean_resizing=False)
    inputs = {name: value % 60 for name, value in inputs_of(model).items()}
    agree(model, inputs)
    model.set_attn_implementation("eager")
    agree(model, inputs)
    model.lm_head = torch.nn.Linear(32, 60, bias=False, dtype=torch.float64)
    agree(model, inputs)


def test_a_call_without_generate_needs_nothing_from_it() -> None:
    model = tiny("llama")
    inputs = inputs_of(model)
    expected, _ = plainly(model, inputs)
    seen: list[Any] = []
    heard = Heard()
    speculate = custom_generate()

    def around(model: Any, input_ids: Tensor, **options: Any) -> Any:
        seen.append(options["generation_config"])
        return speculate(model, input_ids, streamer=heard, **options)

    found = model.generate(**inputs, max_new_tokens=LENGTH, custom_generate=around)
    assert found.tolist() == expected.tolist()
    assert seen and heard.heard[-1] == "end" and len(heard.heard) == LENGTH + 1
