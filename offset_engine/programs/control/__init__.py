"""The subcommands of `stctrl`, group by group.

    session     what every subcommand has: the node, the flags, names, files, consent
    showing     reports as tables and as JSON
    amounts     numbers as they are typed: credits, units, percent
    profile     which node is meant when no flag says it
    info        looking             config      settings
    buyer       paying              seller      invoices and commits

Source: apps.md §2.3, design R31.
"""
