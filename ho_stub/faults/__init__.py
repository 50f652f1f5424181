"""Faults on demand: what lines, proxies and sick head offices do, one switch for each (docs/faults.md).

table       every fault by name, with its sentence
switched    those that are on: for which requests, how often, how long
exchange    one request and its answer
instead, change, sending
            what the faults do, by step
wire        the application's outermost part, which does it
server      uvicorn, whose door and connections can be closed
plan        faults from a file
route       /_bench/faults/: faults switched over HTTP
"""
