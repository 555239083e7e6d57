"""The whole job on drawn images: distil, evaluate beside random images, report."""

import os
from pathlib import Path

from accelerate import Accelerator

from compdd_eval.commands.prepare import prepare
from compdd_eval.commands.report import print_written
from compdd_eval.config.demo import DemoConfig
from compdd_eval.config.distill import DistillConfig
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.prepare import PrepareConfig
from compdd_eval.config.report import ReportConfig
from compdd_eval.data.drawn_imagenet import draw_imagenet
from compdd_eval.data.subset_files import DIFFICULTIES
from compdd_eval.evaluation.evaluate import evaluate
from compdd_eval.evaluation.tables import percent_span
from compdd_eval.methods.distill import distill
from compdd_eval.reports.report.write import report
from compdd_eval.results.aggregate import mean_and_spread
from compdd_eval.utils.console import print_json, print_table, stdout_to_stderr
from compdd_eval.utils.files import check_writable
from compdd_eval.utils.processes import make_accelerator, on_main_process

CATEGORY = "round"
IPCS = (1, 10)
RESOLUTION = 32
STUDENT = "ConvNetW32"
METHOD = "dm"
_TITLE = "Comp-DD: {} against random images, on a drawn stand-in that is not ImageNet"
_NOTE = "The demo trains on images that it draws. They are not ImageNet: the numbers mean nothing outside the demo."


def run(config: DemoConfig) -> None:
    """Draw, prepare, distil, evaluate; leave sets, results and a report. Every process must call this."""
    output = Path(config.output_dir)
    with stdout_to_stderr(config.json):
        accelerator = make_accelerator()
        speaks = accelerator.is_main_process and not config.json
        if speaks:
            print(_NOTE)
        on_main_process(accelerator, lambda: _prepare_images(output))
        if speaks:
            print(f"drawn images: {_imagenet()}\nprepared subsets: {demo_cache() / 'comp_dd'}")
        settings = [(difficulty, ipc) for difficulty in DIFFICULTIES for ipc in IPCS]
        for one in settings:
            _distil(config, *one, accelerator)
        summaries = [_evaluate(config, *one, accelerator) for one in settings]
        page = ReportConfig([str(output)], title=_TITLE.format(METHOD))
        written = on_main_process(accelerator, lambda: report(page))
    if speaks:
        _show(summaries, output)
        print_written(written)
    elif accelerator.is_main_process:
        content = {"note": _NOTE, "drawn_images": str(_imagenet()), "prepared_subsets": str(demo_cache() / "comp_dd")}
        print_json(content | {"report": page.output, "summaries": summaries})


def demo_cache() -> Path:
    """Return the demo's own cache, in which `load_dataset` does not look."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "compdd_eval" / "demo"


def _imagenet() -> Path:
    return demo_cache() / "drawn-imagenet"


def _prepare_images(output_dir: Path) -> None:
    """Draw and prepare both subsets."""
    check_writable(output_dir, "--output_dir")
    check_writable(demo_cache(), "cache folder with XDG_CACHE_HOME")
    draw_imagenet(_imagenet(), CATEGORY, progress=True)
    prepare(PrepareConfig(str(_imagenet()), CATEGORY, cache_dir=str(demo_cache())), progress=True)


def _distil(config: DemoConfig, difficulty: str, ipc: int, accelerator: Accelerator) -> None:
    settings = DistillConfig(
        method=METHOD,
        data_path=str(_imagenet()),
        category=CATEGORY,
        subset=difficulty,
        ipc=ipc,
        model=STUDENT,
        res=RESOLUTION,
        preset="smoke",
        steps=config.steps,
        threads=config.threads,
        output_dir=str(_folder(config, difficulty, ipc)),
    )
    distill(settings, accelerator, quiet=config.json)


def _folder(config: DemoConfig, difficulty: str, ipc: int) -> Path:
    return Path(config.output_dir) / f"{CATEGORY}-{difficulty}-ipc{ipc}"


def _evaluate(config: DemoConfig, difficulty: str, ipc: int, accelerator: Accelerator) -> dict[str, object]:
    folder = _folder(config, difficulty, ipc)
    settings = EvaluateConfig(
        data_path=str(_imagenet()),
        category=CATEGORY,
        subset=difficulty,
        distilled=str(folder),
        model=STUDENT,
        res=RESOLUTION,
        epoch_eval_train=config.epoch_eval_train,
        num_eval=config.num_eval,
        baseline="random",
        threads=config.threads,
        output_dir=str(folder / "results"),
    )
    return evaluate(settings, accelerator=accelerator, cache_dir=demo_cache(), quiet=True)


def _show(summaries: list[dict[str, object]], output_dir: Path) -> None:
    rows = []
    for summary in summaries:
        for entry in summary["results"]:
            gain = entry["improvement"]
            means = [mean_and_spread(group, digits=1) for group in (entry, entry["random"])]
            sure = f"{100 * gain['mean']:+.1f}", percent_span(gain["interval"], "+")
            rows.append([summary["config_name"], summary["ipc"], *means, *sure, gain["verdict"]])
    columns = ["config", "IPC>", f"{METHOD}>", "random>", "difference>", "95 % paired>", ""]
    print_table(f"Accuracy in % of {STUDENT} on the drawn stand-in (not ImageNet); chance is 10", columns, rows)
    print(f"distilled sets and results: {output_dir}/{CATEGORY}-*")
