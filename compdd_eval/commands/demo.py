"""The whole job on drawn images."""

import os
from pathlib import Path

from accelerate import Accelerator

from compdd_eval.commands.prepare import prepare
from compdd_eval.commands.report import print_written
from compdd_eval.config.demo import DemoConfig
from compdd_eval.config.evaluate import EvaluateConfig
from compdd_eval.config.prepare import PrepareConfig
from compdd_eval.config.report import ReportConfig
from compdd_eval.data.drawn_imagenet import draw_imagenet
from compdd_eval.data.splits import load_comp_dd
from compdd_eval.data.subset_files import DIFFICULTIES
from compdd_eval.distilled.formats.published import save_published
from compdd_eval.distilled.preview import save_preview
from compdd_eval.distilled.random_images import random_images
from compdd_eval.evaluation.evaluate import evaluate
from compdd_eval.reports.report.write import report
from compdd_eval.results.aggregate import mean_and_spread
from compdd_eval.utils.console import print_json, print_table, stdout_to_stderr
from compdd_eval.utils.files import check_writable
from compdd_eval.utils.processes import make_accelerator, on_main_process

CATEGORY = "round"
IPCS = (1, 10)
RESOLUTION = 32
STUDENT = "ConvNetD3"
_TITLE = "random images of a drawn stand-in, not ImageNet"
_NOTE = "The demo trains on images that it draws. They are not ImageNet: the numbers mean nothing outside the demo."


def run(config: DemoConfig) -> None:
    """Draw, prepare, evaluate; leave results and pictures in the output folder. Every process must call this."""
    output = Path(config.output_dir)
    with stdout_to_stderr(config.json):
        accelerator = make_accelerator()
        speaks = accelerator.is_main_process and not config.json
        if speaks:
            print(_NOTE)
        on_main_process(accelerator, lambda: _prepare_images(output))
        if speaks:
            print(f"drawn images: {_imagenet()}\nprepared subsets: {demo_cache() / 'comp_dd'}")
        summaries = [_evaluate(config, difficulty, ipc, accelerator) for difficulty in DIFFICULTIES for ipc in IPCS]
        page = ReportConfig([str(output)], title=f"Comp-DD: {_TITLE}")
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
    """Draw and prepare both subsets, take random images of them and write these as distilled sets."""
    check_writable(output_dir, "--output_dir")
    check_writable(demo_cache(), "cache folder with XDG_CACHE_HOME")
    draw_imagenet(_imagenet(), CATEGORY, progress=True)
    prepare(PrepareConfig(str(_imagenet()), CATEGORY, cache_dir=str(demo_cache())), progress=True)
    for difficulty in DIFFICULTIES:
        size = (RESOLUTION, RESOLUTION)
        data = load_comp_dd(str(_imagenet()), CATEGORY, difficulty, size, cache_dir=demo_cache())
        for ipc in IPCS:
            distilled, folder = random_images(data.dst_train, ipc), _folder(output_dir, difficulty, ipc)
            save_published(distilled, folder)
            what = "drawn shapes under names of ImageNet"
            save_preview(distilled, data.dst_train.label_names, folder / "distilled.png", what)


def _folder(output_dir: Path, difficulty: str, ipc: int) -> Path:
    return output_dir / f"{CATEGORY}-{difficulty}-ipc{ipc}"


def _evaluate(config: DemoConfig, difficulty: str, ipc: int, accelerator: Accelerator) -> dict[str, object]:
    folder = _folder(Path(config.output_dir), difficulty, ipc)
    settings = EvaluateConfig(
        data_path=str(_imagenet()),
        category=CATEGORY,
        subset=difficulty,
        data_dir=str(folder),
        model=STUDENT,
        res=RESOLUTION,
        epoch_eval_train=config.epoch_eval_train,
        num_eval=config.num_eval,
        threads=config.threads,
        output_dir=str(folder / "results"),
    )
    return evaluate(settings, accelerator=accelerator, cache_dir=demo_cache(), quiet=True)


def _show(summaries: list[dict[str, object]], output_dir: Path) -> None:
    rows = []
    for summary in summaries:
        for entry in summary["results"]:
            mean = mean_and_spread(entry, digits=1)
            rows.append([summary["config_name"], summary["ipc"], entry["model"], mean, len(entry["accuracies"])])
    columns = ["config", "IPC>", "student", "accuracy in %>", "n>"]
    print_table("Random images of the drawn stand-in (not ImageNet); chance is 10 %", columns, rows)
    print(f"images: {output_dir}/*/distilled.png\nnumbers: {output_dir}/*/results")
