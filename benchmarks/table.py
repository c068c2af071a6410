"""A table as Markdown, which a terminal shows as well as a page."""

from __future__ import annotations

from collections.abc import Sequence


class Table:
    """Rows under a title, and notes below them."""

    def __init__(self, title: str, header: Sequence[str]) -> None:
        self._title = title
        self._rows: list[tuple[str, ...]] = [tuple(header)]
        self._notes: list[str] = []

    def row(self, *cells: str) -> None:
        """Add a row."""
        self._rows.append(cells)

    def note(self, text: str) -> None:
        """Add a line below the table."""
        self._notes.append(text)

    def __str__(self) -> str:
        widths = [max(len(row[column]) for row in self._rows) for column in range(len(self._rows[0]))]
        lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in self._rows]
        lines.insert(1, "-|-".join("-" * width for width in widths))
        return "\n".join([f"## {self._title}", "", *(f"| {line} |" for line in lines), "", *self._notes, ""])
