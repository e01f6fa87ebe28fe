"""The history's data: each date well formed and in order, each source in the bibliography; and what bad rows say."""

import csv
import re
from datetime import date
from pathlib import Path

import pytest
from dlbook import data

ROOT = Path(__file__).resolve().parents[1]


def test_history_equals_an_independent_reading():
    history = data.load("history")
    with open(data.DIRECTORY / "history.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [vars(event) for event in history.events] == rows
    assert len(rows) > 40
    assert {event.strand for event in history.events} == {"python", "networks"}
    names = [event.event for event in history.events]
    assert len(set(names)) == len(names)


def test_dates_are_dates_in_order():
    """`datetime` refuses a 31 June, which the loader's pattern lets pass."""
    dates = [event.date for event in data.load("history").events]
    for text in dates:
        year, month, day = (*map(int, text.split("-")), 1, 1)[:3]
        assert date(1940, 1, 1) <= date(year, month, day) <= date(2025, 12, 31)
    assert dates == sorted(dates)


def test_every_source_stands_in_the_bibliography():
    text = (ROOT / "book/references.bib").read_text(encoding="utf-8")
    keys = re.findall(r"^@\w+\{(\w+),", text, flags=re.MULTILINE)
    references = {event.reference for event in data.load("history").events}
    assert references - set(keys) == set()


HEADER = "date,strand,event,people,reference"


@pytest.mark.parametrize(
    "lines, message",
    [
        ([], "the first line must be date,strand,event,people,reference"),
        (["date,event"], "the first line must be"),
        ([HEADER, "1943,networks,units,nobody"], r"line 2: expected 5 fields, got \['1943'"),
        ([HEADER, "1943,networks,,nobody,key"], "line 2: expected 5 fields"),
        ([HEADER, "43,networks,units,nobody,key"], "line 2: date is '43'; expected year"),
        ([HEADER, "1943-13,networks,units,nobody,key"], "date is '1943-13'"),
        ([HEADER, "1943,perl,units,nobody,key"], "strand is 'perl'; expected 'python' or"),
        (
            [HEADER, "1991,python,a,b,c", "1990-12,python,a,b,c"],
            "line 3: 1990-12 after 1991; sort the lines",
        ),
    ],
)
def test_bad_row_is_named(lines, message):
    with pytest.raises(ValueError, match=message):
        data.read_history(lines)


def test_missing_file(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "DIRECTORY", tmp_path)
    with pytest.raises(FileNotFoundError, match="history.csv is missing; install dlbook again"):
        data.load("history")
