"""Every module that says which screen shows an imported artifact; importing this makes them known."""

from typing import Final

from offset_tui.screens import commit, introduce, pay_review, receipt, token

REGISTERED: Final = (commit, introduce, pay_review, receipt, token)
