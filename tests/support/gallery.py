"""Draw the README's picture from what the smoke table measured: python -m tests.support.gallery smoke/results

The results are those of `python -m tests.support.smoke_table --category insect --subset easy --output_dir smoke` with
`--methods random,k-center,herding,dm --model ConvNetW32 --precision float32 --epoch_eval_train 100`.
"""

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

PICTURE = Path(__file__).resolve().parents[2] / ".gallery/comparison.png"
METHODS = {"random": "#9aa3ab", "k-center": "#c9a227", "herding": "#b34700", "dm": "#0b62b0"}
IPCS = (1, 10)
_CHANCE = 10  # percent, of ten classes
_WIDTH = 0.2  # of a bar; four of them and a gap make a group


def make(results: Path, picture: Path = PICTURE) -> None:
    """Draw a group of bars for each IPC: mean and 95 % interval over seeds, and a point for each seed."""
    figure = Figure(figsize=(7, 3.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for number, (method, color) in enumerate(METHODS.items()):
        shift = (number - (len(METHODS) - 1) / 2) * _WIDTH
        for group, ipc in enumerate(IPCS):
            _draw(axes, group + shift, read(results / method / f"ipc{ipc}"), color, method if group == 0 else None)
    axes.axhline(_CHANCE, color="black", linestyle=":", linewidth=1, label="chance")
    axes.set_xticks(range(len(IPCS)), [f"IPC {ipc}" for ipc in IPCS])
    axes.set_ylabel("accuracy in %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(METHODS) + 1)
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture)


def read(run: Path) -> dict:
    """Return the numbers of the only student network of a run."""
    (result,) = json.loads((run / "summary.json").read_text(encoding="utf-8"))["results"]
    return result


def _draw(axes, place, result, color, label):
    mean = 100 * result["accuracy_mean"]
    low, high = (100 * end for end in result["accuracy_interval"])
    axes.bar(place, mean, 0.9 * _WIDTH, color=color, label=label)
    axes.errorbar(place, mean, [[mean - low], [high - mean]], color="black", capsize=3, linewidth=1)
    points = [100 * accuracy for accuracy in result["accuracies"]]
    axes.scatter([place - 0.06] * len(points), points, s=9, color="white", edgecolor="black", linewidth=0.6, zorder=3)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
