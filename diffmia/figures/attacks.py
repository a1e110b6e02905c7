"""How figures show an attack: what they call it, the threat model they name beside it, and its colour."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

VARIANTS = ("base", "oms")

# told apart with any kind of colour vision (Okabe & Ito 2008; Tol 2021)
_COLOURS = {
    "naive": "#0072B2",
    "secmi": "#D55E00",
    "pia": "#009E73",
    "pian": "#CC79A7",
    "quantile": "#33BBEE",
    "secmi_nns": "#882255",
    "gsa_concat": "#000000",
    "gsa_shadow": "#E0B000",
    "blind_statistics": "#88CCEE",
    "blind_cnn": "#DDCC77",
    "blind_captions": "#332288",
    "blind_files": "#999933",
}
_OTHER_COLOURS = ("#332288", "#88CCEE", "#999933", "#DDCC77", "#661100")


class ShownAttack(NamedTuple):
    """An attack as a figure shows it.

    Attributes
    ----------
    label : str
        Its name in tables and figures.
    access, supervision : str
        Its threat model, as in `metrics.csv`.
    """

    label: str
    access: str
    supervision: str

    def name(self, variant: str) -> str:
        """`GSA`, or `GSA +OMS`."""
        return f"{self.label}{' +OMS' * (variant == 'oms')}"

    @property
    def threat_model(self) -> str:
        """` (white, labelled 20 %)`; nothing for a grey box without supervision."""
        if (self.access, self.supervision) == ("grey", "none"):
            return ""
        return f" ({self.access}{f', {self.supervision}' * (self.supervision != 'none')})"


class StudiedAttack(NamedTuple):
    """An attack whose noise search a figure shows, and what it reads of the residual table.

    Attributes
    ----------
    label : str
        Its name in tables and figures.
    start : str
        The initial noise epsilon^0.
    t : int
        Its own timestep, which was fixed before anything was measured.
    norm : int or str
        p of its norm.
    columns : sequence of sequences
        For each thing the figure shows: what it is (a timestep, a norm, a pair, the number of an iterate), and the
        columns it is drawn from; see `diffmia.figures.columns`.
    """

    label: str
    start: str
    t: int
    norm: int | str
    columns: Sequence[Sequence[Any]]

    @property
    def names(self) -> list[str]:
        """Every column it reads, each once."""
        return list(dict.fromkeys(name for _, *names in self.columns for name in names))

    @property
    def search(self) -> str:
        """`NA`, and below it `Gaussian start`."""
        return f"{self.label}\n{self.start.replace('_', ', ').capitalize()} start"


def colour_of(attack: str) -> str:
    """The colour of an attack in every figure, whatever else is selected: it depends on the id alone."""
    return _COLOURS.get(attack) or _OTHER_COLOURS[zlib.crc32(attack.encode()) % len(_OTHER_COLOURS)]
