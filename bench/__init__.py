"""What the agent costs, against raw sqlite3 doing the same work in the same run. ``python -m bench`` runs everything.

Figures are ratios and counts: milliseconds say more about a disk than about a program.
"""
