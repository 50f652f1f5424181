"""The only folder that speaks HTTP: the client's side of the wire contract."""
