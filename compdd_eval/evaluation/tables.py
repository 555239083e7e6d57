"""What `evaluate` prints: the plan, then the numbers."""

from collections.abc import Sequence
from pathlib import Path

from compdd_eval.config.checks import AUTO
from compdd_eval.config.protocol import PRESET_SOURCES, VIEWS
from compdd_eval.distilled.raw_set import name_of, notes_of
from compdd_eval.evaluation.plan import EvaluationInputs, Task, Teacher, baseline_dir
from compdd_eval.evaluation.student_weights import is_done
from compdd_eval.results.aggregate import mean_and_spread
from compdd_eval.results.statistics import chance
from compdd_eval.results.student_result import FULL, RANDOM
from compdd_eval.utils.console import print_table


def print_plan(
    inputs: EvaluationInputs,
    environment: dict[str, object],
    number: int,
    tasks: list[Task],
    teacher: Teacher | None,
    costs: Sequence[str] = (),
) -> None:
    """Say what will be run, and what each network's students take, where that was measured."""
    config, tested, distilled = inputs.config, inputs.validation, inputs.distilled
    rows = [
        ("subset", f"{inputs.subset.name}: {', '.join(inputs.subset.label_names)}"),
        ("validation", f"{len(tested.labels)} images ({tested.expected} expected) from {tested.origin}"),
        ("", f"digest {tested.digest[:16]}, the same wherever the same images were used"),
        ("distilled set", f"{len(distilled.images)} images, {distilled.ipc_in_words}, {distilled.resolution} px"),
        ("", name_of(distilled.origin)),
        *notes_of(distilled.origin),
        ("labels", _labels(inputs)),
        ("learning rate", _rate(inputs, tasks)),
        *_protocol(inputs),
        *([("teacher", f"{teacher.name}, {100 * teacher.accuracy:.1f} %: {teacher.recipe}")] if teacher else []),
        *([("baselines", _baselines(inputs))] if config.baselines else []),
        ("students", _students(inputs, number, tasks)),
        ("processes", "{processes} on {device}, {threads} CPU threads each, {precision}".format(**environment)),
        *[("measured" if cost == costs[0] else "", cost) for cost in costs],
        *([("results", _results(inputs))] if config.output_dir is not None else []),
    ]
    print_table("Comp-DD evaluation", ["", ""], rows)


def _results(inputs: EvaluationInputs) -> str:
    return str(Path(inputs.config.output_dir) / inputs.set_name / inputs.subset.name)


def _labels(inputs: EvaluationInputs) -> str:
    kind, regime, views = inputs.distilled.label_kind, inputs.config.labels, inputs.distilled.view_labels
    if regime == VIEWS:
        return f"views: {views.record.views}"
    own = regime == "given" or (regime == "hard" and kind == "hard")
    text = kind if own else f"{regime} (the set has {kind})"
    return f"{text}; the set has labels of views, too: --labels views" if views else text


def _rate(inputs: EvaluationInputs, tasks: list[Task]) -> str:
    config = inputs.config
    if config.lr_net == AUTO:
        candidates = ", ".join(f"{rate:g}" for rate in config.candidates)
        tried = f"searched among {candidates} on {len(inputs.held_out.labels)} held-out training images"
        chosen = dict.fromkeys(f"{task.source} {task.model} {task.lr:g}" for task in tasks if task.source != FULL)
        return f"{tried}: {', '.join(chosen)}" if chosen else tried
    learned = inputs.distilled.lr
    return f"{config.rate:g} (--lr_net)" if learned is None else f"{learned:g} (learned with the set)"


def _protocol(inputs: EvaluationInputs) -> list[tuple[str, str]]:
    config = inputs.config
    changed = f", changed in {', '.join(config.changes())}" if config.changes() else ""
    settings = {name: value for name, value in config.settings().items() if name not in ("protocol", "lr_net")}
    numbers = ", ".join(f"{name} {value}" for name, value in settings.items())
    said = f"{config.protocol}{changed} ({config.passes} passes): {numbers}"
    return [("protocol", said), ("", f"source: {PRESET_SOURCES[config.protocol]}")]


def _baselines(inputs: EvaluationInputs) -> str:
    config, parts = inputs.config, []
    if RANDOM in config.baselines:
        parts.append(f"random: {inputs.distilled.ipc:g} real images a class, drawn by each student's seed")
    if FULL in config.baselines:
        recipe = config.full_protocol
        parts.append(f"full: all training images, {recipe.passes} passes, {recipe.optimizer}, rate {recipe.lr_net:g}")
    folder = baseline_dir(config)
    return "; ".join([*parts, *([] if folder is None else [f"kept in {folder}"])])


def _students(inputs: EvaluationInputs, number: int, tasks: list[Task]) -> str:
    config = inputs.config
    seeds = f"{config.seeds[0]}-{config.seeds[-1]}" if len(config.seeds) > 1 else str(config.seeds[0])
    done = 0 if config.overwrite else sum(map(is_done, tasks))
    some = f"{number - done} to train, {done} done" if tasks else f"{number} in all"
    return f"{', '.join(config.models)}; seeds {seeds}; {some}"


def print_results(summary: dict[str, object], path: Path | None) -> None:
    """Show the numbers of a run, and where its summary lies."""
    entries = summary["results"]
    images = f"{summary['validation_images']} of {summary['validation_images_expected']} validation images"
    guessing = f"chance: {100 * chance(entries[0]['per_class_accuracy']):.3g}"
    decoded = f" ({summary['decoded_ipc']:g} decoded)" if summary["decoded_ipc"] != summary["ipc"] else ""
    size = f"IPC {summary['ipc']:g}{decoded}, {summary['resolution']} px"
    teacher = f", with the teacher {entries[0]['teacher']['name']}" if entries[0]["teacher"] else ""
    title = f"{summary['config_name']}, {size}{teacher}: accuracy in % on {images} ({guessing})"
    columns = ["student", "mean ± std>", "95 % over seeds>", "95 % over images>", "n>", "each seed"]
    print_table(title, columns, map(_row, entries))
    if any(entry["random"] or entry["full"] for entry in entries):
        _print_comparison(entries)
    _print_classes(summary)
    if entries[0]["accuracy_by_complexity"]:
        _print_quarters(entries)
    for regime in summary["regimes"]:
        for line in regime["lines"]:
            print(line)
    for entry in summary["scores"]:
        parts = [f"{name.upper()} {entry[name]:.3f}" for name in ("lrs", "ars") if name in entry]
        print(f"{entry['model']}: {', '.join(parts)} (in [0, 1]; from accuracies as fractions, w = gamma = 0.5)")
    if path is not None:
        print(f"summary: {path}")


def _row(entry: dict[str, object]) -> list[object]:
    each = " ".join(f"{100 * accuracy:.1f}" for accuracy in entry["accuracies"])
    spans = [percent_span(entry["accuracy_interval"]), percent_span(entry["bootstrap_interval"])]
    return [entry["model"], mean_and_spread(entry), *spans, entry["n"], each]


def percent_span(interval: list[float] | None, sign: str = "") -> str:
    """Write an interval of fractions in percent."""
    return "-" if interval is None else f"{100 * interval[0]:{sign}.1f} to {100 * interval[1]:{sign}.1f}"


def _print_comparison(entries: list[dict[str, object]]) -> None:
    rows = []
    for entry in entries:
        if entry["random"]:
            gain = entry["improvement"]
            said = f"{100 * gain['mean']:+.2f}", percent_span(gain["interval"], "+"), gain["verdict"]
            rows.append([entry["model"], "random", mean_and_spread(entry["random"]), *said])
        if entry["full"]:
            of_random = entry["random_recovery_ratio"]
            ratio = f"recovery ratio {_ratio(entry['recovery_ratio'])}"
            ratio += f"; of random {_ratio(of_random)}" if of_random else ""
            rows.append([entry["model"], "all images", mean_and_spread(entry["full"]), "", "", ratio])
    columns = ["student", "baseline", "its accuracy>", "set - it>", "95 % paired>", ""]
    print_table("Beside the baselines, in % (same protocol and seeds)", columns, rows)


def _ratio(ratio: dict[str, object]) -> str:
    if ratio["ratio"] is None:
        return "-"
    return f"{100 * ratio['ratio']:.1f} %" + (f" ({percent_span(ratio['interval'])})" if ratio["interval"] else "")


def _percent(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{100 * accuracy:.1f}"


def _print_quarters(entries: list[dict[str, object]]) -> None:
    rows = []
    for quarters in zip(*[entry["accuracy_by_complexity"] for entry in entries], strict=True):
        first = quarters[0]  # all students were tested on the same images
        bounds = percent_span([first["low"], first["high"]]) if first["images"] else "-"
        rows.append([bounds, first["images"], *[_percent(quarter["accuracy"]) for quarter in quarters]])
    columns = ["complexity in %", "images>", *[f"{entry['model']}>" for entry in entries]]
    print_table("Accuracy in % by quarters of the validation images, the least complex first", columns, rows)


def _print_classes(summary: dict[str, object]) -> None:
    accuracies = zip(*[map(_percent, entry["per_class_accuracy"]) for entry in summary["results"]], strict=True)
    rows = [[name, *values] for name, values in zip(summary["class_names"], accuracies, strict=True)]
    columns = ["class", *[f"{entry['model']}>" for entry in summary["results"]]]
    print_table("Accuracy of each class in %, mean over students", columns, rows)
