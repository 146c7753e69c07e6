"""What tells on a page which metrics it was drawn from."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

NAME = "sentiment-batch-report"
MARK = f'<meta name="{NAME}" content="'.encode()  # near the beginning of every page
_VOLATILE = ("run", "performance", "headline")  # another run of the same job has its own
_LOOKED_AT = 4_096


def stamp(metrics: dict[str, Any], texts: Mapping[int, str] | None = None) -> str:
    """What two pages have in common that say the same: all but when and how fast it was done."""
    said = {name: value for name, value in metrics.items() if name not in _VOLATILE}
    shown = sorted(texts.items()) if texts is not None else None
    return sha256(json.dumps([said, shown], sort_keys=True).encode()).hexdigest()


def is_stamped(page: bytes | None, stamp: str) -> bool:
    """Whether these are the bytes of a whole page with that stamp."""
    meta = MARK + f'{stamp}">'.encode()
    return page is not None and meta in page[:_LOOKED_AT] and page.endswith(b"</html>\n")
