"""The table of predictability: shares in percent, what nobody measured left out."""

from __future__ import annotations

from typing import Any

from crossdraft.report.predictability import about, table

SHARE = {"value": 0.2804, "low": 0.27, "high": 0.2961}
SHARES = ("position_match", "twelve_gram", "five_gram", "with_seen", "gain_seen", "with_all",
          "gain_all", "camera_tokens")  # fmt: skip


def measured(**changes: Any) -> dict[str, Any]:
    return {
        "name": "drive", "voice": "camera", "split": "as it is", "vocabulary": 1234,
        "tau": {"value": 3.126, "low": None, "high": None}, **dict.fromkeys(SHARES, SHARE),
        "tokens": {"mean": 35.71, "min": 22, "max": 56, "per_word": 1.1234}, "distinct": 0.927,
        "data": {"drives": 20, "test_answers": 4000}, **changes,
    }  # fmt: skip


def rows(*sources: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {row[0]: row[1:] for row in table(sources)[1]}


def test_shares_are_shown_in_percent_and_tau_as_it_is() -> None:
    head, lines = table([measured()])
    assert head == ("", "drive")
    assert [line[1] for line in lines] == [
        "3.13", *["28.0 [27.0, 29.6]"] * 8, "35.7 (22 to 56)", "1.12", "92.7",
    ]  # fmt: skip


def test_what_nobody_measured_is_left_out_and_what_one_did_is_shown() -> None:
    bare = measured(gain_seen=None, tokens={"mean": 1.0, "min": 1, "max": 1, "per_word": None})
    assert {"   gain in points", "tokens per word"} <= rows(measured()).keys()
    assert "tokens per word" not in rows(bare)
    assert rows(bare, measured())["tokens per word"] == ("–", "1.12")


def test_each_source_is_told_in_a_line() -> None:
    one = measured(data={"drives": 1, "test_answers": 200}, vocabulary=None)
    none = measured(data={"drives": None, "test_answers": 9}, vocabulary=None)
    assert about([measured(), one, none]) == [
        "drive: camera voice, 4,000 answers of 20 drives tested; as it is; "
        "vocabulary of 1,234 entries",
        "drive: camera voice, 200 answers of 1 drive tested; as it is",
        "drive: camera voice, 9 answers tested; as it is",
    ]
