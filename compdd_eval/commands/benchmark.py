"""Evaluate a method on the whole benchmark, and print the table of a paper."""

import contextlib
import io
import logging
from pathlib import Path

from compdd_eval.config.benchmark import BenchmarkConfig
from compdd_eval.evaluation.benchmark import benchmark_cells, find_sets
from compdd_eval.evaluation.evaluate import accelerator_of
from compdd_eval.evaluation.grid import Cell, evaluate_cells, grid_content, raise_failures
from compdd_eval.reports.benchmark import BenchmarkTable, benchmark_tables, latex_of, markdown_of
from compdd_eval.reports.compare.measured import method_of
from compdd_eval.results.student_result import SUMMARY_NAME
from compdd_eval.utils.console import counted, print_json, print_table, stdout_to_stderr
from compdd_eval.utils.files import write_json, write_text
from compdd_eval.utils.processes import on_main_process

_logger = logging.getLogger(__name__)
NAME = "benchmark"  # of the files: .json, .txt, .md, .tex


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
            tables = _tables(config, cells)
            _write(config, tables, missing)
    if main and config.json:
        found = [table.to_dict() for table in tables]
        print_json(grid_content(config, cells) | {"missing": missing, "tables": found})
    elif main and tables:
        _print(tables, config.across)
        print(f"tables: {Path(config.output_dir) / NAME}.json, .txt, .md, .tex")
    raise_failures(cells)


def _tables(config: BenchmarkConfig, cells: list[Cell]) -> list[BenchmarkTable]:
    """Make tables of what the cells have found: other results may lie in the folder, too."""
    root = Path(config.output_dir)
    files = [str(root / cell.name / SUMMARY_NAME) for cell in cells if cell.state == "done"]
    return benchmark_tables(method_of(config.method, files), config.config_names, config.ipcs)


def _write(config: BenchmarkConfig, tables: list[BenchmarkTable], missing: list[str]) -> None:
    root = Path(config.output_dir)
    content = {"method": config.method, "sets": config.sets, "missing_sets": missing}
    write_json(root / f"{NAME}.json", content | {"tables": [table.to_dict() for table in tables]})
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        _print(tables, config.across)
    write_text(root / f"{NAME}.txt", printed.getvalue())
    write_text(root / f"{NAME}.md", markdown_of(tables, config.across))
    write_text(root / f"{NAME}.tex", latex_of(tables, config.across))


def _print(tables: list[BenchmarkTable], across: str) -> None:
    for table in tables:
        header, rows = table.rows("text", across)
        print_table(table.title, [header[0], *[f"{name}>" for name in header[1:]]], rows)
        for note in table.notes:
            print(note)
