"""Drives persist and change as drives do, and train never shows what test holds out."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from crossdraft.scenes.drive.plan import HELD_OUT_LIGHT, drive_name, plan_drive
from crossdraft.scenes.drive.traffic import HELD_OUT_PAINT, Split
from crossdraft.scenes.drive.world import Clip

SPLITS: tuple[Split, ...] = ("train", "test")
seeds = st.integers(0, 2**64)
numbers = st.integers(0, 9999)
splits = st.sampled_from(SPLITS)
drives = st.builds(plan_drive, seeds, splits, numbers, st.just(30))


def held_out(clip: Clip) -> list[str]:
    """Combinations of the clip that training must not show."""
    found = [a.kind for a in clip.agents if a.colour == HELD_OUT_PAINT[a.kind]]
    return [*found, *([clip.road] if HELD_OUT_LIGHT.get(clip.road) == clip.time else [])]


@given(seeds, splits, numbers, st.integers(1, 30), st.integers(0, 20))
def test_a_longer_drive_begins_with_the_shorter_one(
    seed: int, split: Split, number: int, clips: int, more: int
) -> None:
    drive = plan_drive(seed, split, number, clips)
    assert plan_drive(seed, split, number, clips + more)[:clips] == drive
    assert [clip.number for clip in drive] == list(range(clips))
    assert {clip.drive for clip in drive} == {drive_name(split, number)}


@given(seeds, numbers)
def test_seeds_splits_and_numbers_give_other_drives(seed: int, number: int) -> None:
    one = plan_drive(seed, "train", number, 10)
    for other in (
        plan_drive(seed + 1, "train", number, 10),
        plan_drive(seed, "train", number + 1, 10),
        plan_drive(seed, "test", number, 10),
    ):
        assert [c.agents for c in one] != [c.agents for c in other]


@given(seeds, numbers)
def test_train_never_shows_what_is_held_out_and_every_test_drive_does(
    seed: int, number: int
) -> None:
    assert not [found for clip in plan_drive(seed, "train", number, 30) for found in held_out(clip)]
    assert held_out(plan_drive(seed, "test", number, 1)[0])


@given(drives)
def test_light_and_weather_last(clips: tuple[Clip, ...]) -> None:
    order = ["day", "dusk", "night"]
    times = [order.index(clip.time) for clip in clips]
    assert times == sorted(times)
    assert {clip.world_seed for clip in clips} == {clips[0].world_seed}


def test_light_and_weather_seldom_change() -> None:
    pairs = [pair for n in range(50) for pair in itertools.pairwise(plan_drive(1, "train", n, 30))]
    for attribute in ("time", "weather"):
        changes = sum(getattr(a, attribute) != getattr(b, attribute) for a, b in pairs)
        assert 0 < changes < 0.06 * len(pairs), attribute


def stretches(drive: tuple[Clip, ...]) -> list[int]:
    """Lengths of the runs of clips with one road and its surroundings, the last one left out."""
    keys = [(c.road, c.bend, c.left, c.right, c.mountains) for c in drive]
    return [len(list(run)) for _, run in itertools.groupby(keys)][:-1]


@given(seeds, numbers)
def test_a_stretch_lasts_some_clips_on_test_drives(seed: int, number: int) -> None:
    assert min(stretches(plan_drive(seed, "test", number, 30)), default=3) >= 3


@given(seeds, numbers)
def test_nightfall_may_end_a_stretch_early_on_train_drives(seed: int, number: int) -> None:
    drive = plan_drive(seed, "train", number, 30)
    for one, two in itertools.pairwise(drive):
        if two.time != one.time and HELD_OUT_LIGHT.get(one.road) == two.time:
            assert two.road != one.road
    assert min(stretches(drive), default=1) >= 1


def test_a_leader_stays_for_some_clips() -> None:
    stayed = led = 0
    for number in range(50):
        for one, two in itertools.pairwise(plan_drive(2, "train", number, 20)):
            ahead = {(a.kind, a.colour) for a in one.agents if a.motion == "ahead"}
            led += bool(ahead)
            stayed += bool(ahead & {(a.kind, a.colour) for a in two.agents})
    assert 0.4 < stayed / led < 0.9


@given(drives)
def test_clips_are_sound(clips: tuple[Clip, ...]) -> None:
    for clip in clips:
        assert len(clip.agents) <= 2
        assert len({agent.kind for agent in clip.agents}) == len(clip.agents)
        assert (clip.pace == "standing") == (clip.speed_mps == 0)
        assert clip.pace != "standing" or (clip.light and clip.light.state != "yellow")
        assert clip.pace != "fast" or not (clip.light and clip.light.state == "red")
        assert clip.bend == "straight" or clip.road == "winding road"
        assert not clip.mountains or clip.road in ("winding road", "highway")
        for agent in clip.agents:
            assert agent.kind != "person" or agent.motion in ("crossing", "parked")
            assert agent.motion != "oncoming" or agent.side == "left"
            assert (agent.motion == "ahead") == (agent.side == "middle")
        distances = [agent.at(0.5)[1] for agent in clip.agents]
        assert distances == sorted(distances), "the nearer one first"


@given(drives)
def test_a_drive_goes_on_where_it_was(clips: tuple[Clip, ...]) -> None:
    for one, two in itertools.pairwise(clips):
        assert abs(two.start_m - one.start_m - one.speed_mps) < 0.002


def test_at_a_red_light_nothing_rolls() -> None:
    stays = goes = 0
    for number in range(40):
        for one, two in itertools.pairwise(plan_drive(5, "train", number, 30)):
            if one.pace != "standing":
                continue
            assert all(a.closing_mps == 0 for a in one.agents if a.motion in ("ahead", "parked"))
            if one.light and two.light:
                same = one.light.distance_m == two.light.distance_m
                stays, goes = stays + same, goes + (not same)
    # Another stretch of road, with a light of its own, may begin at any time.
    assert stays > 10 * goes > 0


def test_standing_still_says_much_about_the_light_and_not_all() -> None:
    clips = [clip for number in range(80) for clip in plan_drive(6, "train", number, 20)]
    lit = [(clip.pace == "standing", clip.light.state == "red") for clip in clips if clip.light]
    both, stand, red = (
        sum(s and r for s, r in lit),
        sum(s for s, _ in lit),
        sum(r for _, r in lit),
    )
    assert 0.7 < both / stand < 0.95
    assert 0.6 < both / red < 0.95


def test_who_is_parked_stays_while_the_own_car_stands() -> None:
    stays = goes = 0
    for number in range(80):
        for one, two in itertools.pairwise(plan_drive(6, "train", number, 20)):
            if one.pace == two.pace == "standing" and one.light and two.light:
                if one.light.distance_m != two.light.distance_m:
                    continue  # another stretch of road
                parked = {a for a in one.agents if a.motion == "parked"}
                stays, goes = (
                    stays + len(parked & {*two.agents}),
                    goes + len(parked - {*two.agents}),
                )
    assert stays > 10
    assert goes == 0


def test_nobody_drives_through_anybody() -> None:
    clips = [clip for number in range(60) for clip in plan_drive(7, "test", number, 20)]
    own_car = ((-0.9, 0.9), (-4.0, 0.0))
    for clip in clips:
        for time_s in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
            bodies = [own_car, *(agent.body(time_s) for agent in clip.agents)]
            for one, other in itertools.combinations(bodies, 2):
                apart = [a[0] >= b[1] or b[0] >= a[1] for a, b in zip(one, other, strict=True)]
                assert any(apart), (clip.drive, clip.number, time_s)


def test_whoever_is_there_can_be_seen() -> None:
    """Most of everyone lies within the picture and beside whoever is nearer, most of the time."""
    clips = [clip for number in range(60) for clip in plan_drive(4, "train", number, 20)]
    for clip in clips:
        for far in clip.agents:
            seen = 0
            for time_s in (0.1, 0.3, 0.5, 0.7, 0.9):
                distance = far.at(time_s)[1]
                if distance <= 0:
                    continue
                left, right = far.spread(time_s)
                hides = [a for a in clip.agents if 0 < a.at(time_s)[1] < distance]
                places = [left + (right - left) * (i + 0.5) / 20 for i in range(20)]
                shown = [
                    x for x in places
                    if abs(x) < 0.45
                    and not any(a.spread(time_s)[0] < x < a.spread(time_s)[1] for a in hides)
                ]  # fmt: skip
                seen += len(shown) >= 11
            assert seen >= 3, (clip.drive, clip.number, far)
