-- The ledger, the outbox and the stock moves of a device's sales.
--
-- One row in `journals` is one unbroken life of this journal (contract, section 5). `entry` is the journal's number
-- times 2^40 plus device_seq: the order of sales, unique without an index of its own, and free of gaps (G2).
-- Sales and bodies are written once; only the outbox columns of `sales` and `usages` ever change.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
INSERT INTO meta VALUES ('min_writer', '1');

CREATE TABLE journals (
    number INTEGER PRIMARY KEY,
    journal_id TEXT NOT NULL UNIQUE,
    device_id TEXT NOT NULL,
    last_seq INTEGER NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
    reason TEXT NOT NULL,
    created_ms INTEGER NOT NULL
);

CREATE TABLE sales (
    entry INTEGER PRIMARY KEY CHECK (entry = journal_number * 1099511627776 + device_seq),
    journal_number INTEGER NOT NULL,
    device_seq INTEGER NOT NULL CHECK (device_seq > 0),
    external_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('sale', 'refund', 'void')),
    refers_to TEXT,
    business_date TEXT NOT NULL,
    currency TEXT NOT NULL,
    exponent INTEGER NOT NULL,
    total_minor INTEGER NOT NULL CHECK (total_minor >= 0),
    fingerprint TEXT NOT NULL,
    recorded_ms INTEGER NOT NULL,
    -- the outbox: domain/outbox.py has the table of moves
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'quarantined')),
    attempts INTEGER NOT NULL DEFAULT 0,
    unknown_outcomes INTEGER NOT NULL DEFAULT 0,
    next_attempt_ms INTEGER,
    code TEXT,
    reason TEXT,
    first_failed_ms INTEGER,
    last_attempt_ms INTEGER,
    settled_ms INTEGER,
    ho_id TEXT,
    warnings TEXT
);
CREATE INDEX sales_pending ON sales (entry) WHERE state = 'pending';
CREATE INDEX sales_quarantined ON sales (entry) WHERE state = 'quarantined';

CREATE TRIGGER sales_are_append_only
BEFORE DELETE ON sales
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
CREATE TRIGGER sales_are_frozen
BEFORE UPDATE OF entry, journal_number, device_seq, external_id, kind, refers_to, business_date, currency, exponent,
    total_minor, fingerprint, recorded_ms ON sales
BEGIN
    SELECT RAISE(ABORT, 'a recorded sale never changes');
END;

CREATE TABLE sale_bodies (
    entry INTEGER PRIMARY KEY REFERENCES sales (entry),
    body BLOB NOT NULL
);
CREATE TRIGGER bodies_are_frozen
BEFORE UPDATE ON sale_bodies
BEGIN
    SELECT RAISE(ABORT, 'a recorded sale never changes');
END;

-- Thousandths that left the shop (negative: came back), so that available stock is computed and never stored.
CREATE TABLE stock_moves (
    product_id TEXT NOT NULL,
    entry INTEGER NOT NULL,
    line INTEGER NOT NULL,
    quantity_milli INTEGER NOT NULL,
    PRIMARY KEY (product_id, entry, line)
) WITHOUT ROWID;

CREATE TABLE usages (
    entry INTEGER PRIMARY KEY,
    external_id TEXT NOT NULL UNIQUE,
    sale_external_id TEXT,
    promotion_id TEXT NOT NULL,
    bill_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    recorded_ms INTEGER NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'quarantined')),
    attempts INTEGER NOT NULL DEFAULT 0,
    unknown_outcomes INTEGER NOT NULL DEFAULT 0,
    next_attempt_ms INTEGER,
    code TEXT,
    reason TEXT,
    first_failed_ms INTEGER,
    last_attempt_ms INTEGER,
    settled_ms INTEGER,
    ho_id TEXT,
    warnings TEXT
);
CREATE TRIGGER usages_are_append_only
BEFORE DELETE ON usages
BEGIN
    SELECT RAISE(ABORT, 'recorded uses are never deleted');
END;
CREATE TRIGGER usages_are_frozen
BEFORE UPDATE OF entry, external_id, sale_external_id, promotion_id, bill_id, fingerprint, recorded_ms, body ON usages
BEGIN
    SELECT RAISE(ABORT, 'a recorded use never changes');
END;
CREATE INDEX usages_pending ON usages (entry) WHERE state = 'pending';
CREATE INDEX usages_quarantined ON usages (entry) WHERE state = 'quarantined';
CREATE INDEX usages_by_sale ON usages (sale_external_id) WHERE sale_external_id IS NOT NULL AND state <> 'delivered';

-- When each lane may ask head office again, and why it waits: a restart does not forget it.
CREATE TABLE lanes (
    name TEXT PRIMARY KEY CHECK (name IN ('sales', 'usages', 'pull')),
    failures INTEGER NOT NULL DEFAULT 0,
    next_attempt_ms INTEGER,
    retry_after_ms INTEGER,  -- until when head office itself asked us to stay away
    code TEXT,
    reason TEXT,
    failing_since_ms INTEGER,
    refusal_code TEXT,
    refusals INTEGER NOT NULL DEFAULT 0
);
INSERT INTO lanes (name) VALUES ('sales'), ('usages'), ('pull');

-- Who did what to an entry by hand, and what the agent decided by itself.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    event TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT
);
