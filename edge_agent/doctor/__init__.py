"""What is wrong with this device, each thing with its mend, in words for whoever stands in front of it.

It changes nothing, waits for no till and keeps no till waiting; it works when the home is broken, since that is when it
is needed. ``check`` is what a check is; ``place``, ``store``, ``time`` and ``line`` hold the checks by what they are
about; ``report`` runs them in order; ``bundle`` packs what support wants to see.
"""
