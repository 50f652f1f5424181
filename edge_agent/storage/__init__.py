"""The only folder that speaks SQL: journal.db (precious) and catalog.db (can be pulled again)."""
