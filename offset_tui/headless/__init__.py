"""The verbs of the screens as commands: for scripts, for readers of screens, for terminals that show no app.

    session     one command at work on a card that runs; the flags all of them have
    flags       what is typed: amounts, ids, currencies, how long
    artifacts   what is given: a file, a text, or standard input
    printing    tables, facts and values
    looking     `status`, `history`, `receipts`
    paying      `pay`
    selling     `invoice`, `collect`, `hold`, `refund`
    sharing     `share`, `qr`
    befriending what `accept` and `friend add` do to become somebody's friend
    accepting   `accept`
    friends     `friend`
    network     `servers`
    owning      `settings`, `apps`

They say what the screens say, from the same modules, and paint nothing: results on stdout, plain where no
terminal is, one object with `--json`; questions and reviews on stderr. Amounts are typed and shown in the card's
decimals; in JSON they are credits, as strings.

Source: design R7, R8, R31, R47; tui.md §2.6, §14.
"""
