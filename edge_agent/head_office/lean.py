"""httpx without its command line: that one alone would bring rich and pygments into every till, 6 MB and 45 ms."""

from edge_agent.lean import without

with without("httpx._main"):  # httpx copes, as it does where rich is missing
    import httpx

__all__ = ["httpx"]
