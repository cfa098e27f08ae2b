"""What a model answers for a table: its cells, of which code writes the text."""

from typing import Annotated

from pydantic import Field

from jobchain.chains.fields import Answer, entries
from jobchain.markdown import table

_MOST_ROWS = 200


class TableAnswer(Answer):
    """What a model answers for a `Table`: the cells. Code writes the table, and escapes every text in it."""

    header: Annotated[list[str], entries(1, 20)]
    rows: Annotated[list[list[str]], entries(0, _MOST_ROWS)] = Field(
        description="As many cells each as the header has."
    )

    @property
    def text(self) -> str:
        """The table as Markdown. A row that is too short gets empty cells."""
        width = len(self.header)
        return table(self.header, [[*row, *[""] * width][:width] for row in self.rows])
