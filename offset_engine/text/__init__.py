"""What people read and type: foreign text, amounts, fees, keys and times. Pure.

    foreign   text of others, made harmless and clipped in cells of the terminal
    amounts   credits ⇄ text with a point
    fees      percent and rates ⇄ text
    keys      short forms and words to compare keys by
    times     ago, local time, durations

Nothing here raises for what others sent; what a person typed is answered with an `EntryError`.

Source: tui.md §6–§8, design R8; PROTOCOL.md, "Keys in words".
"""

from offset_engine.text.amounts import (
    AMOUNT_CHARS,
    TYPED_CHARS_MAX,
    EntryError,
    balance_text,
    format_amount,
    money_text,
    parse_amount,
    readings_text,
    tidy_amount,
)
from offset_engine.text.fees import (
    format_percent,
    format_rate,
    parse_percent,
    parse_rate,
    share_text,
)
from offset_engine.text.foreign import cells, clip_cells, pad_cells, quoted, safe, skeleton
from offset_engine.text.keys import fingerprint, fingerprint_words, name_and_key
from offset_engine.text.times import duration, iso_local, iso_offset, relative

__all__ = [
    "AMOUNT_CHARS",
    "TYPED_CHARS_MAX",
    "EntryError",
    "balance_text",
    "cells",
    "clip_cells",
    "duration",
    "fingerprint",
    "fingerprint_words",
    "format_amount",
    "format_percent",
    "format_rate",
    "iso_local",
    "iso_offset",
    "money_text",
    "name_and_key",
    "pad_cells",
    "parse_amount",
    "parse_percent",
    "parse_rate",
    "quoted",
    "readings_text",
    "relative",
    "safe",
    "share_text",
    "skeleton",
    "tidy_amount",
]
