"""The daemon, ``edge-agent run``: syncs one home for months, and serves the loopback API and the status page."""
