"""The network shell: what moves the bytes, and nothing that decides.

Everything here is anyio tasks around the state machines of `core`. One connection is one `Link`
driven by two small loops (`connection`); `transport` makes connections by dialling, through a relay or
by accepting; `servers` puts the relay and the index server behind a listening socket.

| rule | how |
|---|---|
| no task outlives its owner | every connection runs in a task group its owner gave |
| no shared loop waits for a peer | `send_nowait` into a bounded output, emptied by that peer's writer |
| no unbounded memory | output above a mark makes the sender wait; four undelivered messages stop reading |
| one connection fails alone | its exceptions close it; only a broken invariant of ours goes further |
| time and randomness are given | an `Endpoint` carries the clock, the random source and the resolver |

Logs name a peer by the first eight characters of its key and never show what was said.
"""
