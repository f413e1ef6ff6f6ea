"""Runs kosoku with a fault of its version 0.1.0 mended.

On a connection with permessage-deflate it passes text that came uncompressed, which is allowed, as
`str` to its cases 12.* and 13.*; these hash bytes and fail with `Strings must be encoded before
hashing`.
"""

import sys

from kosoku._cli import main
from kosoku.cases import CASES


def with_bytes(on_message):
    def on_message_with_bytes(self, message, binary):
        on_message(self, message.encode() if isinstance(message, str) else message, binary)

    return on_message_with_bytes


for name, case in CASES.items():
    if name.startswith(("12.", "13.")):
        case.onMessage = with_bytes(case.onMessage)

sys.exit(main())
