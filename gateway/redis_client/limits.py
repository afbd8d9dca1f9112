"""How large the values are that a gateway reads from Redis in one piece, in bytes.

The bounds hold before a value is decrypted: a foreign value may be of any size (C-43).
"""

from typing import Final

MAX_RECORD: Final = 256 * 1024 + 4096  # a sealed session record
MAX_SHARED: Final = 8 * 1024  # identity fields that are shared beside a record
