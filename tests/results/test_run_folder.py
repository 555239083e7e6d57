"""An output folder: taken for one run, and gone if that wrote nothing."""

import shutil
from contextlib import ExitStack, contextmanager

import pytest

from compdd_eval.results import run_folder
from compdd_eval.results.run_folder import LOCK_NAME, claim
from compdd_eval.utils.errors import InputError


def test_a_run_that_wrote_nothing_leaves_nothing(tmp_path):
    root = tmp_path / "results/first"
    with pytest.raises(InputError, match="bad input"), ExitStack() as held:
        claim(root, held)
        raise InputError("bad input")
    assert not (tmp_path / "results").exists()


def test_what_was_written_stays(tmp_path):
    for root, other in ((tmp_path / "a", tmp_path / "a/result"), (tmp_path / "b/c", tmp_path / "b/other")):
        with ExitStack() as held:
            claim(root, held)
            other.touch()
        assert other.exists()
    assert (tmp_path / "a" / LOCK_NAME).exists() and not (tmp_path / "b/c").exists()


def test_the_error_is_that_of_the_run_also_where_the_folder_is_gone(tmp_path):
    with pytest.raises(InputError, match="bad input"), ExitStack() as held:
        claim(tmp_path / "set", held)
        (tmp_path / "set").rename(tmp_path / "moved")
        raise InputError("bad input")


def test_who_waited_for_a_run_that_left_nothing_has_the_folder(tmp_path, monkeypatch):
    """The file whose lock it got is another one by then, or none."""
    taken, locked = [], run_folder.locked_or_refused

    @contextmanager
    def removed_meanwhile(path, message):
        with locked(path, message):
            taken.append(path)
            if len(taken) == 1:
                shutil.rmtree(path.parent)
            yield

    monkeypatch.setattr(run_folder, "locked_or_refused", removed_meanwhile)
    with ExitStack() as held:
        claim(tmp_path / "set", held)
        assert len(taken) == 2 and (tmp_path / "set" / LOCK_NAME).exists()
        with pytest.raises(InputError, match="another run"), ExitStack() as other:
            claim(tmp_path / "set", other)


def test_a_folder_that_was_there_stays(tmp_path):
    with ExitStack() as held:
        claim(tmp_path, held)
    assert tmp_path.exists()


def test_who_is_refused_takes_nothing_away(tmp_path):
    with ExitStack() as first:
        claim(tmp_path / "set", first)
        with pytest.raises(InputError, match="another run writes into it now"), ExitStack() as second:
            claim(tmp_path / "set", second)
        assert (tmp_path / "set" / LOCK_NAME).exists()
