"""The grammar of configurations."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.bench.wallclock.configuration import Configuration, configurations

BASES = ("suffix", "suffix+translator", "runs/a+b/checkpoint", "suffix+overlap+translator", "+x")
#: At most one of each group.
GROUPS = st.tuples(
    st.sampled_from([None, "tail", "separate-verify"]),
    st.sampled_from([None, "overlap", "sequential", "unasked"]),
    st.sampled_from([None, "shuffled"]),
    st.one_of(st.none(), st.integers(0, 9999).map(lambda n: f"nodes={n}")),
).filter(lambda groups: groups[1:3] != ("unasked", "shuffled"))


@given(st.sampled_from(BASES), GROUPS, st.randoms(use_true_random=False))
def test_modifiers_stand_behind_a_drafter_in_any_order(
    base: str, groups: tuple[str | None, ...], random: Random
) -> None:
    said = [word for word in groups if word is not None]
    random.shuffle(said)
    name = "+".join([base, *said])
    verify, beside, shuffled, nodes = groups
    assert Configuration.parse(f" {name} ") == Configuration(
        name,
        "speculative",
        base,
        tail=verify != "separate-verify",
        beside=beside or "unsaid",  # type: ignore[arg-type]
        shuffled=shuffled is not None,
        nodes=None if nodes is None else int(nodes.partition("=")[2]),
    )


@given(st.text())
def test_a_name_is_what_was_written(text: str) -> None:
    try:
        one = Configuration.parse(text)
    except InputError:
        return
    assert one.name == text.strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", Configuration("none", "plain")),
        ("none+overlap", Configuration("none+overlap", "plain", beside="overlap")),
        ("hf-generate", Configuration("hf-generate", "hf")),
        ("hf-prompt-lookup", Configuration("hf-prompt-lookup", "hf")),
        ("drafter-only", Configuration("drafter-only", "drafter-only")),
        (
            "seed-procedure",
            Configuration("seed-procedure", "seed-procedure", "drafter-text", tail=False),
        ),
        (
            "seed-procedure=runs/translator+shuffled",
            Configuration(
                "seed-procedure=runs/translator+shuffled", "seed-procedure", "runs/translator",
                tail=False, shuffled=True,
            ),
        ),
        # What is nearly a modifier belongs to the drafter's name.
        ("suffix+nodes=-1", Configuration("suffix+nodes=-1", "speculative", "suffix+nodes=-1")),
        ("tail", Configuration("tail", "speculative", "tail")),
        ("suffix+gamma=5", Configuration("suffix+gamma=5", "speculative", "suffix", gamma=5)),
        (
            "suffix+top-k=3",
            Configuration("suffix+top-k=3", "speculative", "suffix", rule="top-k=3"),
        ),
        (
            "typical+typical",
            Configuration("typical+typical", "speculative", "typical", rule="typical"),
        ),
    ],
)  # fmt: skip
def test_kinds(text: str, expected: Configuration) -> None:
    assert Configuration.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("suffix+tail+separate-verify", "tail and separate-verify"),
        ("suffix+sequential+nodes=3+overlap", "overlap and sequential"),
        ("runs/x+unasked+overlap", "overlap and unasked"),
        ("runs/x+unasked+sequential", "sequential and unasked"),
        ("runs/x+unasked+shuffled", "shuffled and unasked"),
        ("none+unasked", "unasked behind none"),
        ("suffix+nodes=3+nodes=4", "nodes stands twice"),
        ("suffix+shuffled+shuffled", "shuffled stands twice"),
        ("none+nodes=3", "nodes=3 behind none"),
        ("none+shuffled", "shuffled behind none"),
        ("hf-generate+overlap", "overlap behind hf-generate"),
        ("hf-prompt-lookup+tail", "tail behind hf-prompt-lookup"),
        ("drafter-only+sequential", "sequential behind drafter-only"),
        ("seed-procedure+tail", "tail behind seed-procedure"),
        ("seed-procedure=x+separate-verify", "separate-verify behind seed-procedure"),
        ("seed-procedure+nodes=5", "nodes=5 behind seed-procedure"),
        ("seed-procedure+gamma=5", "gamma=5 behind seed-procedure"),
        ("suffix+nodes=3+gamma=4", "nodes and gamma"),
        ("suffix+top-k=3+typical", "top-k and typical"),
        ("suffix+top-k=0", "k is 0"),
        ("none+typical", "typical behind none"),
    ],
)
def test_modifiers_that_exclude_each_other_or_say_nothing(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        Configuration.parse(text)


def test_plain_decoding_comes_first() -> None:
    assert [one.name for one in configurations("suffix")] == ["none", "suffix"]
    found = configurations(" suffix, ,none+overlap,none , hf-generate,")
    assert [one.name for one in found] == ["none", "suffix", "none+overlap", "hf-generate"]


@pytest.mark.parametrize(
    ("text", "why"), [(" , ", "no configuration"), ("suffix,none,suffix", "suffix stands twice")]
)
def test_lists_that_say_nothing_or_one_twice(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        configurations(text)
