"""Pictures of results; reads summaries and nothing else."""

from pathlib import Path

from compdd_eval.results import chance


def save_bars(summaries: list[dict], path: Path, title: str = "") -> None:
    """Write a PNG bar chart of mean accuracies: a group for each configuration, a bar for each student and IPC.

    Error bars are sample standard deviations over seeds, points the single students, the dashed line is chance.

    Args:
        summaries: Contents of `summary.json` files.
        path: Where to.
        title: Printed above the chart.
    """
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys(summary["config_name"] for summary in summaries))
    bars = [(summary, entry) for summary in summaries for entry in summary["results"]]
    series = list(dict.fromkeys(_series(*bar) for bar in bars))
    width = 0.8 / len(series)
    figure = Figure(figsize=(2.5 + 1.2 * len(groups) * len(series) ** 0.7, 4), layout="constrained")
    axes = figure.add_subplot()
    for number, name in enumerate(series):
        drawn = [bar for bar in bars if _series(*bar) == name]
        offset = (number - (len(series) - 1) / 2) * width
        places = [groups.index(summary["config_name"]) + offset for summary, _ in drawn]
        means = [100 * entry["accuracy_mean"] for _, entry in drawn]
        spreads = [100 * (entry["accuracy_std"] or 0) for _, entry in drawn]
        axes.bar(places, means, width * 0.9, yerr=spreads, capsize=4, label=name)
        for place, (_, entry) in zip(places, drawn, strict=True):
            accuracies = [100 * accuracy for accuracy in entry["accuracies"]]
            axes.plot([place] * len(accuracies), accuracies, "k.", markersize=3)
    axes.axhline(100 * chance(bars[0][1]), color="grey", linestyle="--", linewidth=1, label="chance")
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel("accuracy in % (mean ± std over seeds)")
    axes.set_ylim(bottom=0)
    axes.set_title(title)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _series(summary: dict, entry: dict) -> str:
    return f"{entry['model']}, IPC {summary['ipc']:g}"
