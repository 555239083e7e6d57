"""The record of summary.json: it is what files hold, in their order, and all that readers look for."""

import json
from dataclasses import fields

import pytest

from compdd_eval.reports.summaries import parse_run
from compdd_eval.results.statistics import Ratio
from compdd_eval.results.summary import Improvement, Students, Summary, SummaryEntry
from tests.results.test_results_before import RESULTS

FILES = sorted(RESULTS.rglob("summary.json"))


def names(record: type) -> list[str]:
    return [field.name for field in fields(record)]


class Asked(dict):
    """A table that remembers which of its keys were asked for."""

    def __init__(self, content: dict, asked: set[str]):
        super().__init__({key: self._inner(value, asked) for key, value in content.items()})
        self.asked = asked

    def _inner(self, value: object, asked: set[str]) -> object:
        if isinstance(value, list):
            return [self._inner(part, asked) for part in value]
        return Asked(value, asked) if isinstance(value, dict) else value

    def get(self, key: str, default: object = None) -> object:
        self.asked.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> object:
        self.asked.add(key)
        return super().__getitem__(key)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.parent.name)
def test_the_record_is_the_file(path):
    content = json.loads(path.read_text())
    assert list(content) == ["schema_version", *names(Summary)]
    for entry in content["results"]:
        assert list(entry) == names(SummaryEntry)
        if entry["random"]:
            assert list(entry["random"]) == list(entry["full"]) == names(Students)
            assert list(entry["improvement"]) == names(Improvement)
            assert list(entry["recovery_ratio"]) == names(Ratio)


def test_a_reader_looks_for_fields_of_the_record_alone():
    asked: set[str] = set()
    content = Asked(json.loads(FILES[0].read_text()), asked)
    assert parse_run(content, "x", FILES[0]).config_name == "bird-easy"
    of_tables = {"schema_version", "validation"}  # of the file itself, of `digests`
    assert asked - of_tables <= {*names(Summary), *names(SummaryEntry)}


@pytest.mark.parametrize("record", [Summary, SummaryEntry, Improvement, Ratio])
def test_each_field_is_explained(record):
    explained = "\n".join(base.__doc__ for base in record.__mro__ if base is not object)
    assert all(f"\n        {name}: " in explained for name in names(record))
