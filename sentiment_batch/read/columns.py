"""The columns of a file as messages name them. Of a file without a header line the first review is taken for names."""

import re
from collections.abc import Sequence

_NAME = re.compile(r"[\w.-]{1,30}")
_SHOWN, _SHOWN_CHARACTERS = 20, 40


def is_name(text: str) -> bool:
    """Whether it looks like the name of a column: one word."""
    return _NAME.fullmatch(text) is not None


def shown_columns(names: Sequence[str], sure: bool = False) -> str:
    """The names, or how many there are, if one of them may be a review; `sure` says that they are names."""
    if not sure and not all(map(is_name, names)):
        return f"{len(names)} columns, not shown here, since without a header line they would be a review"
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(repr(name[:_SHOWN_CHARACTERS]) for name in names[:_SHOWN]) + more
