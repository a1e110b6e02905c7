"""A table as LaTeX that plain pdflatex sets, to be taken into a paper by its `input` command."""

from __future__ import annotations

import pandas as pd

# one pass over the text, so that what a replacement brings in is not replaced again
_REPLACEMENTS = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": "$<$",  # in text, pdflatex's default font prints other characters for these three
        ">": "$>$",
        "|": "$|$",
        "Δ": r"$\Delta$",
        "ε": r"$\epsilon$",
        "⁰": r"\textsuperscript{0}",
        "¹": r"\textsuperscript{1}",
        "²": r"\textsuperscript{2}",
        "‖": r"$\|$",
        "·": r"$\cdot$",
        "†": r"$^{\dagger}$",
        "±": r"$\pm$",
        "√": r"$\surd$",
        "−": "$-$",
        "×": r"$\times$",
        "–": "--",
        "“": "``",
        "”": "''",
        "\N{NO-BREAK SPACE}": "~",
    }
)


def escape(text: str) -> str:
    """Text as LaTeX prints it literally; the marks that tables use become commands."""
    return text.translate(_REPLACEMENTS)


def latex_table(name: str, title: str, cells: pd.DataFrame, notes: list[str], columns: str, block: int) -> str:
    """A floating table with caption, label `tab:<name>` and notes; without rows only the caption and the notes."""
    lines = [
        r"% In the preamble: \usepackage{booktabs}. With graphicx a table wider than the line is shrunk to fit it.",
        r"\providecommand{\resizebox}[3]{#3}",
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escape(title)}}}",
        rf"\label{{tab:{name}}}",
    ]
    if len(cells):
        lines += [
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            _tabular(cells, columns, block).rstrip() + "}",
        ]
    lines += [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize"]
    lines += [escape(note) + r"\par" for note in notes]
    return "\n".join([*lines, r"\end{minipage}", r"\end{table}"]) + "\n"


def _tabular(cells: pd.DataFrame, columns: str, block: int) -> str:
    escaped = cells.map(escape).rename(columns=escape)
    first = escaped.columns[0]
    escaped[first] = escaped[first].str.replace("[", "{[}")  # after the end of a row it would open an argument
    starts = escaped.index[block::block] if block > 1 else []
    escaped.loc[starts, first] = r"\addlinespace " + escaped.loc[starts, first]
    return escaped.to_latex(index=False, escape=False, column_format=columns, multicolumn_format="c")
