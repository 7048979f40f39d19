"""Events as text: the conventions of the tools that write it, exact times, faults with a line."""

from __future__ import annotations

import gzip
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.text_events import read_text_events
from tests.scenes.event_files import assert_same, made_stream, text_of


def read(text: str | bytes, folder: Path, sensor: tuple[int, int] | None = None) -> EventStream:
    path = folder / "events.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_text_events(path, sensor)


def rows(stream: EventStream) -> list[tuple[int, ...]]:
    """x, y, t, p of every event."""
    columns = (stream.x, stream.y, stream.t, stream.p)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize("kind", ["rpg", "prophesee", "v2e"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_files_of_known_tools(kind: str, packed: bool, tmp_path: Path) -> None:
    stream = made_stream(300, start_us=0)
    data = text_of(stream, kind=kind).encode()
    assert_same(read(gzip.compress(data) if packed else data, tmp_path), stream)


TWO = [(3, 4, 1_500_000, 1), (5, 6, 1_500_002, 0)]


@pytest.mark.parametrize(
    "text",
    [
        "1500000 3 4 1\n1500002 5 6 0\n",
        "1.5 3 4 1\n1.500002 5 6 0",
        "1.5e0\t3\t4\t1\n 1500002e-6  5 6 0  \r\n",
        "1.5 3 4 1\n1.5000016 5 6 0\n",
        "3,4,1,1500000\n5,6,0,1500002\n",
        "3, 4, 1, 1500000\r\n5, 6, 0, 1500002\r\n",
        "t,x,y,p\n1500000,3,4,1\n1500002,5,6,0\n",
        "timestamp;polarity;x;y\n1500000;1;3;4\n1500002;0;5;6\n",
        '"x","y","polarity","t"\n3,4,1,1.5\n5,6,0,1.500002\n',
        "x y t p\n3 4 1500000 1\n5 6 1500002 0\n",
        "# x,y,t,p\n3,4,1500000,1\n5,6,1500002,0\n",
        "% p x y t\n\n# more\n1 3 4 1500000\n\n# between\n0 5 6 1500002\n",
        "t_ms,x,y,p\n1500,3,4,1\n1500.002,5,6,0\n",
        "time [s] , x , y , p\n1.5,3,4,1\n1.500002,5,6,0\n",
        "t_ns,x,y,p\n1500000000,3,4,1\n1500002000,5,6,0\n",
        "t_us,x,y,p\n1500000.0,3,4,1\n1500002.0,5,6,0\n",
        "index,t,x,y,p\n0,1500000,3,4,1\n1,1500002,5,6,0\n",
        "1.5 3 4 1 1\n1.500002 5 6 0 0\n",
        "1.5 3.0 4.0 1.0\n1.500002 5 6 0\n",
        "1.5 3 4 1\n1.500002 5 6 -1\n",
        "\ufeff1.5 3 4 1\n1.500002 5 6 0\n",
        "640 480\n1.5 3 4 1\n1.500002 5 6 0\n",
        "1.5 3 4 1\r1.500002 5 6 0\r",
        "# a comment\rt,x,y,p\r\n1500000,3,4,1\r1500002,5,6,0\n",
        "# Format: t x y p\n1500000 3 4 1\n1500002 5 6 0\n",
        "# Format: x y p t\n3 4 1 1500000\n5 6 0 1500002\n",
        "# columns: t, x, y, p\n1500000,3,4,1\n1500002,5,6,0\n",
        "# events t x y p of a drive\n1500000 3 4 1\n1500002 5 6 0\n",
        "# t x y p\n# p as x y t say\n1500000 3 4 1\n1500002 5 6 0\n",
        "t [ms] x y p\n1500 3 4 1\n1500.002 5 6 0\n",
        "# x y time (us) p\n3 4 1500000 1\n5 6 1500002 0\n",
        "time (seconds),x,y,p\n1.5,3,4,1\n1.500002,5,6,0\n",
        "t_milliseconds,x,y,p\n1500,3,4,1\n1500.002,5,6,0\n",
        "t_nanoseconds,x,y,p\n1500000000,3,4,1\n1500002000,5,6,0\n",
        "time [microseconds],x,y,p\n1500000,3,4,1\n1500002.0,5,6,0\n",
        "t [\u00b5s],x,y,p\n1500000.0,3,4,1\n1500002.0,5,6,0\n",
        "t [\u03bcs],x,y,p\n1500000.0,3,4,1\n1500002.0,5,6,0\n",
        ",x,y,p,t\n0,3,4,1,1500000\n1,5,6,0,1500002\n",
        "t,x,y,p\n1500000,3,4,True\n1500002,5,6,False\n",
        "p,x,y,t\ntrue,3,4,1500000\nfalse,5,6,1500002\n",
        "1.5 3 4 TRUE\n1.500002 5 6 FALSE\n",
        "3\t,4\t ,1\f,1500000\t\n5,6,0\t,1500002\n",
        "1.5\f3 4 1\n1.500002 5 6\f0\n",
        "1.5 3 4 1 1 7\n1.500002 5 6 0 0 8\n",
    ],
    ids=range(44),
)
def test_the_same_two_events(text: str, tmp_path: Path) -> None:
    if "-1" in text:
        text = text.replace(" 0\n", " -1\n")
    assert rows(read(text, tmp_path)) == TWO


def test_the_sensor_named_in_the_text(tmp_path: Path) -> None:
    assert read("%geometry:1280,720\n1000,4,1,5\n", tmp_path).sensor == (1280, 720)
    assert read("346 260\n0.1 3 4 1\n", tmp_path).sensor == (346, 260)
    assert read("346 260\n0.1 3 4 1\n", tmp_path, (320, 240)).sensor == (320, 240)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1 3 4 1\n2 3 4\n", r"line 2: fewer or more fields than the first event \('2 3 4'\)"),
        ("# a\n\n1 3 4 1\n2 3 4 1 5\n", "line 4: fewer or more fields"),
        ("1 3 4 1\n2 a 4 1\n", r"line 2: a field is no number \('2 a 4 1'\)"),
        ("1 3 4 1\n2 3.5 4 1\n", "line 2: a coordinate or polarity has a fraction"),
        ("1 3 4 1\n9999999999999999999999 3 4 1\n", "line 2: a number is too large"),
        ("1 3 4 1\n2e99 3 4 1\n", "line 2: a number is too large"),
        ("3,4,1,1\n3,,1,2\n", "line 2: a field is no number"),
        ("3,4,1,1\n3,4,1,\n", "line 2: a field is no number"),
        ("1 3\n2 4\n", "no events"),
        ("1 3 4\n", "line 1: 3 fields"),
        ("t,x,y,p\n1,3,4,1,7\n", "line 2: 5 fields"),
        ("# Format: t x y p\n1 3 4 1 0\n", "line 2: 5 fields"),
        ("# Format t x y p\n0 1 3 1 0\n", "line 2: 5 fields .* after a comment that may name"),
        ("# id t x y p\n0 1 3 1 0\n", "line 2: 5 fields .* after a comment that may name"),
        ("1 3 4 1 5 6 7\n", "line 1: 7 fields"),
        ("1 3 4 1\r2 3 4\r3 3 4 1\r", r"line 2: fewer or more fields .*\('2 3 4'\)"),
        ("1 3 4 1\r\n2 3 4\r\n", r"line 2: fewer or more fields .*\('2 3 4'\)"),
        ("0.0038,96,133,0\n", r"a fraction if the columns are x,y,p,t \('0.0038,96,133,0'\)"),
        ("3000000000,3,1,1\n", "a coordinate or polarity is too large if the columns are x,y,p,t"),
        ("1 3 true 1\n", "a field is no number"),
        ("1 3 4 truth\n", "a field is no number"),
        (",1,2,3\n", "line 1: not an event and not the names of columns"),
        ("alpha,beta\n1,2\n", "line 1: not an event and not the names of columns"),
        ("# only a comment\n", "no events"),
        ("t,x,y,p\n", "no events"),
        (" \n\n", "the file is empty"),
        ("1000,3,4,1\n1001,3,4,1\n", "has p = 4 if the columns are x,y,p,t"),
        ("5 3 4 1\n4 3 4 1\n", "event 1 has t = 4"),
        ("5 640 4 1\n", "event 0 has x = 640"),
        ("51835949776.0 3 4 1\n51835949777.0 3 4 1\n", "seconds or microseconds"),
        (gzip.compress(b"1 3 4 1\n")[:-6], "gzip data is cut"),
    ],
    ids=range(31),
)
def test_faults_name_the_line(text: str | bytes, found: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=found):
        read(text, tmp_path)


def test_columns_in_doubt_are_to_be_named(tmp_path: Path) -> None:
    for text in ("0.0038,96,133,0\n", "51835949776,3,1,1\n", "1,3,4,1\n", "1 3 4 1 5 6 7\n"):
        with pytest.raises(InputError, match="name the columns in the first line, such as t,x,y,p"):
            read(text, tmp_path)


def test_whole_numbers_with_a_point_are_seconds(tmp_path: Path) -> None:
    assert read("100.0 3 4 1\n100.5 3 4 1\n", tmp_path).t.tolist() == [100_000_000, 100_500_000]


def test_a_stream_keeps_no_more_than_its_own_bytes(tmp_path: Path) -> None:
    stream = read("# t x y p\n" + "\n".join(f"{t} 3 4 1" for t in range(1000)) + "\n\n", tmp_path)
    for name in "xytp":
        column = getattr(stream, name)
        owner = column if column.base is None else column.base
        assert owner.nbytes == column.nbytes, name


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.text("0123456789", max_size=12), st.integers(-3, 3)),
        min_size=1,
        max_size=20,
    )
)
def test_times_are_exact(parts: list[tuple[int, str, int]]) -> None:
    """Decimal arithmetic is the judge: seconds to microseconds, halves away from zero."""
    written = sorted((f"{whole}.{rest}e{exp}" for whole, rest, exp in parts), key=Decimal)
    expected = [int((Decimal(t) * 10**6).to_integral_value(ROUND_HALF_UP)) for t in written]
    with TemporaryDirectory() as folder:
        text = "t_s,x,y,p\n" + "".join(f"{t},1,2,1\n" for t in written)
        assert read(text, Path(folder)).t.tolist() == expected


def test_many_events_are_read_in_one_pass(tmp_path: Path) -> None:
    """Every line of a large file lands where it belongs."""
    stream = made_stream(100_000, start_us=0, span_us=10**7)
    found = read(text_of(stream), tmp_path)
    assert_same(found, stream)
    assert np.all(found.t[1:] >= found.t[:-1])
