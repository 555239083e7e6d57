"""Evaluate a method on the whole benchmark, and print the table of a paper."""

import contextlib
import io
import logging
from pathlib import Path

from compdd_eval.config.benchmark import BenchmarkConfig
from compdd_eval.evaluation.benchmark import benchmark_cells, find_sets
from compdd_eval.evaluation.evaluate import accelerator_of
from compdd_eval.evaluation.grid import evaluate_cells, grid_content, raise_failures
from compdd_eval.reports.benchmark import BenchmarkTable, benchmark_tables, latex_of, markdown_of
from compdd_eval.reports.benchmark_file import BENCHMARK_NAME, Benchmark
from compdd_eval.utils.console import counted, print_json, print_table, stdout_to_stderr
from compdd_eval.utils.files import write_text
from compdd_eval.utils.processes import on_main_process

_logger = logging.getLogger(__name__)


def run(config: BenchmarkConfig) -> None:
    """Evaluate all sets; write and print the tables."""
    with stdout_to_stderr(config.json):
        accelerator = accelerator_of(config)
        main = accelerator.is_main_process
        sets, missing = on_main_process(accelerator, lambda: find_sets(config))
        if main and missing:
            shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            _logger.warning(f"{counted(len(missing), 'set')} of {len(missing) + len(sets)} not there: {shown}")
        cells = evaluate_cells(lambda: benchmark_cells(config, sets), config, accelerator, quiet=config.json)
        tables = []
        if main and not config.dry_run and any(cell.state == "done" for cell in cells):
            asked = config.method, config.sets, config.config_names, config.ipcs
            done = [cell.name for cell in cells if cell.state == "done"]
            measured = Benchmark(*asked, missing, Path(config.output_dir), done)
            tables = benchmark_tables(config.method, measured.runs(), config.config_names, config.ipcs)
            measured.write(tables)
            _write(measured.root / BENCHMARK_NAME, tables, config.across)
    if main and config.json:
        found = [table.to_dict() for table in tables]
        print_json(grid_content(config, cells) | {"missing": missing, "tables": found})
    elif main and tables:
        _print(tables, config.across)
        print(f"tables: {Path(config.output_dir) / BENCHMARK_NAME}, .txt, .md, .tex")
    raise_failures(cells)


def _write(path: Path, tables: list[BenchmarkTable], across: str) -> None:
    """Write the tables as text, Markdown and LaTeX beside their numbers."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        _print(tables, across)
    write_text(path.with_suffix(".txt"), printed.getvalue())
    write_text(path.with_suffix(".md"), markdown_of(tables, across))
    write_text(path.with_suffix(".tex"), latex_of(tables, across))


def _print(tables: list[BenchmarkTable], across: str) -> None:
    for table in tables:
        header, rows = table.rows("text", across)
        print_table(table.title, [header[0], *[f"{name}>" for name in header[1:]]], rows)
        for note in table.notes:
            print(note)
