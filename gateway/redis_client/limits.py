"""How large the values are that a gateway reads from Redis in one piece.

The bounds hold before anything is opened: a foreign value may be of any size (C-43). Sizes are in bytes.
"""

from typing import Final

MAX_RECORD: Final = 256 * 1024 + 4096  # a sealed session record
MAX_SHARED: Final = 8 * 1024  # what lies beside a record
