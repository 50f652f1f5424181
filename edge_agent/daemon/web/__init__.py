"""The loopback API: tills in any language sell through it, and the status page asks it (docs/local-api.md)."""
