"""Build a static site that ranks results."""

from compdd_eval.config.leaderboard import LeaderboardConfig
from compdd_eval.reports.html import short
from compdd_eval.reports.leaderboard.build import build
from compdd_eval.reports.leaderboard.pages import site_json
from compdd_eval.reports.leaderboard.rows import BY_NONE
from compdd_eval.utils.console import print_json, print_table


def run(config: LeaderboardConfig) -> None:
    """Build the site, send it to the Hub if asked for; print where it lies and what is in it, or the rows as JSON."""
    built = build(config)
    rows = built.rows.rows
    doubtful = sum(bool(row.marks) for row in rows)
    if config.json:
        counts = {"left_out": built.left_out, "twice": built.rows.twice, "marked": doubtful}
        about = {"output": str(built.output), "pushed": built.pushed, **counts}
        print_json(about | site_json(built.title, built.rows))
        return
    lines = [
        ("results", f"{len(rows):,}"),
        ("marked as not canonical", f"{doubtful:,}"),
        ("there twice, shown once", f"{built.rows.twice:,}"),
        ("files left out", f"{built.left_out:,}"),
        ("protocols", f"{len({row.protocol for row in rows}):,}"),
    ]
    unclear = [name for name, one in built.rows.canonical.items() if one.rule == BY_NONE]
    if unclear:
        named = ", ".join(short(name, 40) for name in unclear[:8]) + (", ..." if len(unclear) > 8 else "")
        lines.append(("canonical images not known", named))
    print_table(short(built.title), ["", ">"], lines)
    print(f"open {built.output / 'index.html'}")
    if built.pushed is not None:
        print(built.pushed)
