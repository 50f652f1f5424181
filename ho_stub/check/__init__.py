"""The conformance check: the contract tried against any head office over HTTP, and a report of what was found.

It shares nothing with the agent, and nothing with the stub's own server: what it knows of a head office it was told on
the wire. `docs/conformance.md` tells how to read a report.

    options  where and how to ask                line      one request and its answer, within bounds
    table    what a check is                     visit     what is asked once and read by many checks
    walk     does the checks, one by one         report    what was found, as text and as JSON

The checks themselves are in files of their own, one a part of the contract.
"""
