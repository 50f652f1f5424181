-- Digests kept up by the transaction that applies a page, and what was seen of held sweeps, lost places and repairs.
--
-- A dataset's 256 leaves are sums over its rows (contract, section 6): `versions` over (id, row_version) of rows in use
-- and refused ones, as head office counts them; `contents` over the bytes of the rows in use, which only this device
-- keeps: it shows a row that was damaged here. Sums are modulo 2^64, kept as signed integers. `leaves_kept` = 0: nobody
-- keeps them up just now (a baseline head office gives no versions), and they are made anew when they are next needed.

CREATE TABLE leaves (
    dataset TEXT NOT NULL,
    leaf INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    versions INTEGER NOT NULL,
    contents INTEGER NOT NULL,
    PRIMARY KEY (dataset, leaf)
) WITHOUT ROWID;

ALTER TABLE datasets ADD COLUMN leaves_kept INTEGER NOT NULL DEFAULT 0;
-- The last complete snapshot.
ALTER TABLE datasets ADD COLUMN snapshot_ms INTEGER;
-- A held sweep: the generation of the first snapshot that asked for it, and how many have by now.
ALTER TABLE datasets ADD COLUMN held_first_generation INTEGER;
ALTER TABLE datasets ADD COLUMN held_snapshots INTEGER NOT NULL DEFAULT 0;
-- This device was given another company, brand or store, and no whole list of it has come yet.
ALTER TABLE datasets ADD COLUMN is_elsewhere INTEGER NOT NULL DEFAULT 0;
-- How often in a row head office lost our place without a change coming through between, and when it last did.
ALTER TABLE datasets ADD COLUMN resets INTEGER NOT NULL DEFAULT 0;
ALTER TABLE datasets ADD COLUMN reset_ms INTEGER;
-- Since when head office's list has been cut short.
ALTER TABLE datasets ADD COLUMN incomplete_since_ms INTEGER;
-- When the digest last equalled head office's, and what of it differed when it last did not.
ALTER TABLE datasets ADD COLUMN verified_ms INTEGER;
ALTER TABLE datasets ADD COLUMN differs TEXT;

-- Rows that a whole list of a baseline head office brought in an older state than ours: once that may be a copy that
-- lags behind, twice it is head office, restored from a backup perhaps.
CREATE TABLE older (
    dataset TEXT NOT NULL,
    id TEXT NOT NULL,
    updated_us INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    PRIMARY KEY (dataset, id)
) WITHOUT ROWID;
