"""Cells of tables that programs read: spreadsheets, which compute formulas, Markdown, and LaTeX."""

from __future__ import annotations

import csv
import io
import re
import string
from collections.abc import Iterable, Sequence
from typing import Any

from .text import printable

#: What begins a formula, also in full width, behind apostrophes that stand for themselves.
_FORMULA = r"[=+\-@\t\r\n\uff0b\uff0d\uff1d\uff20]"

#: What LaTeX reads as an order, or prints as something else, in the fonts that it has without a package.
_LATEX = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "`": "\\textasciigrave{}"}
_LATEX |= {character: f"\\{character}" for character in "&%$#_{}"} | {"\n": " ", "\t": " "}
_LATEX |= {"<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", "§": "\\S{}", "¶": "\\P{}"}
_MATH = {
    "×": "times",
    "±": "pm",
    "†": "dagger",
    "‡": "ddagger",
    "·": "cdot",
    "°": "circ",
    "◇": "diamond",
    "−": "mathord-",
}
_MATH |= {"≤": "leq", "≥": "geq", "≠": "neq", "≈": "approx", "←": "leftarrow", "→": "rightarrow"}
_MATH |= {"↑": "uparrow", "↓": "downarrow", "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Σ": "Sigma"}
_MATH |= {"Π": "Pi", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega", "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta"}
_MATH |= {"ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu"}
_MATH |= {"ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega"}
_LATEX |= {character: f"$\\{name}$" for character, name in _MATH.items()}
#: Characters that LaTeX prints as they are, tried with pdflatex of TeX Live 2022.
_PRINTED = frozenset(
    string.ascii_letters + string.digits + " !()*+,-./:;=?@[]'\""
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ"
    "ĀāĂăĆćĈĉĊċČčĎďĒēĔĕĖėĚěĜĝĞğĠġĢģĤĥĨĩĪīĬĭİıĲĳĴĵĶķĹĺĻļĽľŁłŃńŅņŇňŌōŎŏŐőŒœŔŕŖŗŘřŚśŜŝŞşŠšŢţŤťŨũŪūŬŭŮůŰűŴŵŶŷŸŹźŻżŽž"
    "¡¿–—‘’“”…"
)


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV; no text in it is a formula for spreadsheets (see `guarded`)."""
    return "".join(_csv_line([guarded(cell) if isinstance(cell, str) else cell for cell in row]) for row in rows)


def _csv_line(row: Sequence[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(row)  # so that it quotes a cell with either of the two
    return out.getvalue().removesuffix("\r\n") + "\n"


def guarded(text: str) -> str:
    """A cell that spreadsheets do not read as a formula: an apostrophe is put before characters that begin one."""
    return "'" + text if re.match("'*" + _FORMULA, text) else text


def unguarded(text: str) -> str:
    """Undo `guarded`."""
    return text[1:] if re.match("'+" + _FORMULA, text) else text


def markdown_row(cells: Iterable[str]) -> str:
    """A row of a Markdown table. Cells are plain text: they end no cell, and are neither HTML nor a link."""
    return "| " + " | ".join(map(markdown_text, cells)) + " |"


def markdown_text(text: str) -> str:
    """Plain text as the cell of a Markdown table."""
    line = " ".join(printable(text).split("\n"))
    for character in "\\|`":
        line = line.replace(character, "\\" + character)
    return line.replace("<", "&lt;").replace("](", "]\\(")


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it stands, without a package; `[U+65E5]` for characters that its fonts do not have."""
    found = "".join(map(_latex, printable(text)))
    return re.sub("(?<=-)(?=-)|(?<=')(?=')", "{}", found)  # two of them are another character


def _latex(character: str) -> str:
    return character if character in _PRINTED else _LATEX.get(character, f"[U+{ord(character):04X}]")


def latex_row(cells: Iterable[str]) -> str:
    """A row of a LaTeX table.

    Args:
        cells: LaTeX.
    """
    row = " & ".join(cells)
    # What follows a line break or a rule and begins so is read as its option.
    return ("{}" if row.startswith(("[", "*")) else "") + row + " \\\\"
