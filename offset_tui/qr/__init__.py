"""QR codes on screen: what fits, and how it is drawn.

    fit      payload and room → plan and rows, pure
    widget   draws a plan

Source: tui.md §11.
"""
