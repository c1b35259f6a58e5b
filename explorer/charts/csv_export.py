"""The numbers behind a chart, as a file that a spreadsheet opens and as a table on the page."""

import csv
from collections.abc import Mapping, Sequence
from io import SEEK_END, StringIO
from typing import Any

import numpy as np

Columns = Mapping[str, Sequence[Any] | np.ndarray]
"""Columns of a table by name, all of the same length."""


_BYTE_ORDER_MARK = "\ufeff"  # without it Excel reads UTF-8 as the machine's old code page
_MAX_ROWS = 300  # of a table on the page
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def csv_of(columns: Columns) -> str:
    """Return the columns as CSV with a header line; numbers keep six digits, unknown values stay empty.

    Text that a spreadsheet would read as a formula gets a leading apostrophe (OWASP, CSV injection). `csvOf` in
    assets/components/shared/download.js does the same for data that only the browser has; a test compares the two.
    """
    text = StringIO(_BYTE_ORDER_MARK)
    text.seek(0, SEEK_END)
    writer = csv.writer(text)  # ends lines as in RFC 4180, so that a cell with a lone \r is quoted, too
    writer.writerow(map(_cell, columns))
    writer.writerows([_cell(value) for value in row] for row in zip(*columns.values(), strict=True))
    return text.getvalue()


def table_of(columns: Columns) -> dict[str, Any]:
    """Return the "names" of the columns, at most 300 of their "rows" as text, evenly spaced, and their "count".

    `tableOf` in assets/components/shared/download.js does the same for data that only the browser has.
    """
    every = list(zip(*columns.values(), strict=True))
    shown = min(len(every), _MAX_ROWS)
    rows = [every[row * (len(every) - 1) // max(1, shown - 1)] for row in range(shown)]
    return {"names": list(columns), "rows": [list(map(_text, row)) for row in rows], "count": len(every)}


def matrix_columns(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], names: tuple[str, str, str]
) -> Columns:
    """Return one row per cell of a matrix (R, C): row, column and value; numbered from 1, because names may repeat."""
    places = [(row, column) for row in range(len(rows)) for column in range(len(columns))]
    row_name, column_name, value_name = names
    return {
        row_name: [rows[row] for row, _ in places],
        f"{row_name} no.": [row + 1 for row, _ in places],
        column_name: [columns[column] for _, column in places],
        f"{column_name} no.": [column + 1 for _, column in places],
        value_name: [values[place] for place in places],
    }


def _cell(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.6g}"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(_cell(value))
