"""The reference head office of the edge agent's wire contract. It shares no code with the agent.

Run it with `ho-stub run`, test against it with `ho_stub.testing.HeadOffice`.

    cli, testing      the doors: a command, and an office on a real port for tests
    app, call         the application; one request: who asks, its reach, its body, the answer
    version, downloads, baseline, uploads
                      the routes, by section of the contract
    events, bell      a stream of hints: the version moved; what rings when it does
    gaps              the gaps of head offices in the field, each a switch of the profile baseline
    front, held       the gaps on the wire; what a gap lets happen later than it should
    world             one company and its data; every change to it is one commit
    feed, stock       what changed, in commit order, read by cursor
    books, receipts, usages, ledger
                      sales taken or refused; sequence numbers; uses of promotions; sums
    sale, settings, rows, canonical, cursor
                      the contract's values: pure
    accounts, database, errors, seed, loader
                      sign-in; one SQLite connection; errors by code; what a head office starts with
"""
