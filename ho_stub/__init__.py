"""The reference head office of the edge agent's wire contract. It shares no code with the agent.

Run it with `ho-stub run`, test against it with `ho_stub.testing.HeadOffice`.

    cli, testing      the doors: a command, and an office on a real port for tests
    app, call         the application; one request: who asks, its reach, its body, the answer
    version, downloads, baseline, uploads
                      the routes, by section of the contract
    events, bell      a stream of hints: the version moved; what rings when it does
    faults/           what lines, proxies and sick head offices do, one switch for each
    pytest_plugin     the fixtures and the marker for the tests of a POS
    gaps              the gaps of head offices in the field, each a switch of the profile baseline
    front, held       the gaps on the wire; what a gap lets happen later than it should
    world             one company and its data; every change to it is one commit
    feed, stock       what changed, in commit order, read by cursor
    books, receipts, usages, ledger
                      sales taken or refused; sequence numbers; uses of promotions; sums
    alerts, analytics, reports, paging
                      low stock; sums by business date; what people read of all this, in pages
    ratelimit, audit  requests a minute; who changed what
    sale, rows, canonical, cursor
                      the contract's values: pure
    settings, policy, preview
                      sync settings: the contract's values; as kept, with overrides and history; what they would send
    promotions/       definitions of people, compiled to the contract's promotions by a table of twelve
    check/            tries the contract against any head office; stands on nothing of the rest
    orders, fleet     what a device is asked with its heartbeat; how each device is, and who lacks what
    sqlite, postgresql, schema, workers
                      where it is kept, and the processes that serve
    web/              pages for people
    listings          which promotions each strategy's window lists
    upgrade           what a database of an earlier release lacks
    accounts, database, errors, seed, loader
                      sign-in; transactions and counters; errors by code; what a head office starts with
"""
