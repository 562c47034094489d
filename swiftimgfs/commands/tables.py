"""Tables that can be read in a narrow terminal too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions

UNBOUNDED: Final = 100_000  # columns


class FittingTable:
    """A table whose last columns stand one below the other where there is no room for all.

    Side by side each would be a few characters wide: a reason is read by the word, and an id
    is copied.
    """

    def __init__(self, names: Sequence[str], *, stacked: int) -> None:
        """Have columns of these names, the last `stacked` of which may be stacked."""
        self._names: Final = names
        self._stacked: Final = stacked
        self._rows: Final[list[tuple[list[Text], str]]] = []

    def add_row(self, *cells: Text, style: str = "") -> None:
        """Add a row, a cell for each column."""
        self._rows.append((list(cells), style))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """Yield the table that fits."""
        wide = _table(self._names, self._rows)
        whole = Measurement.get(console, options.update(width=UNBOUNDED), wide).maximum
        yield wide if whole <= options.max_width else self._narrow()

    def _narrow(self) -> Table:
        first, last = self._names[: -self._stacked], self._names[-self._stacked :]
        rows = [
            ([*cells[: -self._stacked], _stack(cells[-self._stacked :])], style)
            for cells, style in self._rows
        ]
        return _table([*first, ", ".join(last)], rows)


def _table(names: Sequence[str], rows: Sequence[tuple[list[Text], str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, overflow="fold")
    for cells, style in rows:
        table.add_row(*cells, style=style)
    return table


def _stack(cells: Sequence[Text]) -> Text:
    return Text("\n").join(cell for cell in cells if cell.plain)
