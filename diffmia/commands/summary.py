"""What a run ends with on the terminal: the main table, and where the rest is."""

from __future__ import annotations

from pathlib import Path

from diffmia.config.config import Config


def summary(config: Config) -> str:
    """The run's first table and the folders of its results; only what is there, and no table older than its metrics."""
    out = Path(config.out)
    lines = []
    metrics, table = out / "metrics.csv", out / "tables" / f"{next(iter(config.run.tables), '')}.md"
    if table.exists() and metrics.exists() and table.stat().st_mtime >= metrics.stat().st_mtime:
        lines += ["", table.read_text()]
    for what, pattern in (("metrics", "metrics.csv"), ("tables", "tables/*.md"), ("figures", "figures/*.png")):
        if found := sorted(out.glob(pattern)):
            lines.append(f"{what:8} {', '.join(map(str, found))}")
    return "\n".join(lines)
