"""SQL as text, for statements whose parts depend on what is asked for.

Putting the same statement together from SQLAlchemy's expressions takes longer than executing it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection


def exists(select: str) -> str:
    """The condition that a query for a few rows of an index finds any. The limit keeps Postgres
    from joining instead, for which it may read all of the table."""
    return f"EXISTS ({select} LIMIT 1 OFFSET 0)"


class Sql:
    """The values that a statement refers to. Text of callers never becomes part of the statement.

    Args:
        connection: The connection that will execute it.
    """

    def __init__(self, connection: Connection) -> None:
        self.is_postgres = connection.dialect.name == "postgresql"
        self._connection = connection
        self._values: dict[str, Any] = {}

    def bind(self, value: Any) -> str:
        """Placeholder of a value."""
        name = f"v{len(self._values)}"
        self._values[name] = value
        return f":{name}"

    def bind_all(self, values: Collection[Any]) -> str:
        """Placeholders of several values, in parentheses; not for none."""
        return f"({', '.join(map(self.bind, values))})"

    def execute(self, statement: str, **options: Any) -> sa.CursorResult[Any]:
        """Executes a statement with the values that it refers to."""
        return self._connection.execute(sa.text(statement), self._values, execution_options=options)
