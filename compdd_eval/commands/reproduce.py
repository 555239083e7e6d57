"""Train a recorded student again and compare."""

from dataclasses import asdict

from accelerate import PartialState

from compdd_eval.config.reproduce import ReproduceConfig
from compdd_eval.evaluation.reproduce import EQUAL, Reproduction, reproduce
from compdd_eval.results.student_result import FULL, RANDOM, SET
from compdd_eval.utils.console import print_json, print_table, stdout_to_stderr

_TRAINED_ON = {SET: "the distilled set", RANDOM: "the random images", FULL: "all training images"}


def run(config: ReproduceConfig) -> None:
    """Print what is equal; exit status 1 where something differs."""
    with stdout_to_stderr(config.json):
        found = reproduce(config)
    if PartialState().is_main_process:
        print_comparisons(found, config.json)
    if any(comparison.verdict != EQUAL for comparison in found):
        raise SystemExit(1)


def print_comparisons(found: list[Reproduction], as_json: bool = False) -> None:
    """Print each student's comparison and what it amounts to, or all as JSON."""
    if as_json:
        equal = all(comparison.verdict == EQUAL for comparison in found)
        print_json({"equal": equal, "students": [asdict(comparison) for comparison in found]})
        return
    for comparison in found:
        print_table(comparison.path, ["", "recorded", "now"], _rows(comparison))
        for note in comparison.notes:
            print(f"note: {note}")
        print(f"{comparison.path}: {comparison.verdict}")


def _rows(comparison: Reproduction) -> list[tuple[str, str, str]]:
    sides = comparison.recorded, comparison.now
    tested = "validation images" if comparison.tested_on == "validation" else comparison.tested_on
    images = {"trained_digest": _TRAINED_ON[comparison.source], "tested_digest": tested}
    rows = [(f"digest of {what}", *[side[name][:16] for side in sides]) for name, what in images.items()]
    if comparison.differing is not None:
        rows.append(("accuracy", *[f"{100 * side['accuracy']:.2f} %" for side in sides]))
        rows.append(("last loss", *[str(side["last_loss"]) for side in sides]))
        rows.append(("predictions that differ", "", f"{comparison.differing} of {comparison.predictions}"))
    return rows
