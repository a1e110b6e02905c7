"""What a run ends with on the terminal: the main table, and where the rest is."""

from __future__ import annotations

from pathlib import Path

from diffmia.config import Config


def summary(config: Config) -> str:
    """The run's first table and the folders of its results; only what is there."""
    out = Path(config.out)
    lines = []
    tables = [path for name in config.run.tables if (path := out / "tables" / f"{name}.md").exists()]
    if tables:
        lines += ["", tables[0].read_text()]
    for what, pattern in (("metrics", "metrics.csv"), ("tables", "tables/*.md"), ("figures", "figures/*.png")):
        if found := sorted(out.glob(pattern)):
            lines.append(f"{what:8} {', '.join(map(str, found))}")
    return "\n".join(lines)
