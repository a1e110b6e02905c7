"""A table as one page for a browser, which is what the report shows."""

from __future__ import annotations

from html import escape

import pandas as pd

_STYLE = """
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem; color: #222; }}
h1 {{ font-size: 1.15rem; max-width: 60rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .2rem .8rem; white-space: nowrap; text-align: right; }}
th:nth-child(-n + {text}), td:nth-child(-n + {text}) {{ text-align: left; }}
thead tr:last-child th {{ border-bottom: 1px solid #222; }}
tbody tr:nth-child({block}n + 1) td {{ border-top: 1px solid #ccc; }}
ul {{ max-width: 60rem; padding-left: 1.2rem; color: #444; font-size: .9rem; }}
"""


def html_page(title: str, cells: pd.DataFrame, notes: list[str], alignment: str, block: int) -> str:
    """The table with its title above and its notes below; without rows only these.

    Parameters
    ----------
    cells : DataFrame of str
        What is printed; column names may have two levels.
    alignment : str
        A letter a column, l or r; those flush left come first.
    block : int
        How many rows belong together; a line stands between blocks.
    """
    parts = [f"<h1>{escape(title)}</h1>"]
    if len(cells):
        parts.append(f'<div class="wide">{cells.to_html(index=False, border=0, justify="unset")}</div>')
    if notes:
        parts.append(f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>")
    style = _STYLE.format(text=alignment.count("l"), block=block)
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{style}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"
