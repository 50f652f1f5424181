-- What a ledger needs to be trusted over years: receipts, adopted lives, a breaker for the whole head office, incidents.
--
-- A journal with a negative number is an adopted life: sales of another device, or of this one's earlier journal, which
-- came by import or salvage and keep their identity. New sales draw their numbers from the life with the largest number,
-- so an older program beside this one never writes into an adopted life. `last_seq` of an adopted life says how many of
-- its sales are here. Additive: an older program goes on selling with this file.

ALTER TABLE journals ADD COLUMN confirmed_seq INTEGER NOT NULL DEFAULT 0;  -- receipts confirmed all sales up to it
ALTER TABLE journals ADD COLUMN checked_ms INTEGER;  -- when receipts were last compared
ALTER TABLE journals ADD COLUMN checked_epoch TEXT;  -- of which life of head office
ALTER TABLE journals ADD COLUMN difference TEXT;  -- what the last comparison could not mend, in words

-- Which life a use belongs to: receipts count uses by journal.
ALTER TABLE usages ADD COLUMN journal_number INTEGER;
UPDATE usages SET journal_number =
    (SELECT number FROM journals WHERE journal_id = json_extract(CAST(usages.body AS TEXT), '$.journal_id'));
CREATE TRIGGER usages_know_their_journal
AFTER INSERT ON usages WHEN NEW.journal_number IS NULL
BEGIN
    UPDATE usages SET journal_number =
        (SELECT number FROM journals WHERE journal_id = json_extract(CAST(NEW.body AS TEXT), '$.journal_id'))
    WHERE entry = NEW.entry;
END;

-- Retention may empty the bytes of a use that head office has, and drop those of such a sale; never any others.
DROP TRIGGER usages_are_frozen;
CREATE TRIGGER usages_are_frozen
BEFORE UPDATE OF entry, external_id, sale_external_id, promotion_id, bill_id, fingerprint, recorded_ms ON usages
BEGIN
    SELECT RAISE(ABORT, 'a recorded use never changes');
END;
CREATE TRIGGER usage_bodies_are_frozen
BEFORE UPDATE OF body ON usages WHEN NOT (length(NEW.body) = 0 AND OLD.state = 'delivered')
BEGIN
    SELECT RAISE(ABORT, 'a recorded use never changes');
END;
CREATE TRIGGER bodies_go_after_delivery
BEFORE DELETE ON sale_bodies WHEN (SELECT state FROM sales WHERE entry = OLD.entry) <> 'delivered'
BEGIN
    SELECT RAISE(ABORT, 'the bytes of a sale stay until head office has it');
END;

CREATE INDEX sales_warned ON sales (entry) WHERE warnings IS NOT NULL;

-- The progress watchdog: what stood at the head of a lane while head office answered, and since when.
ALTER TABLE lanes ADD COLUMN head TEXT;
ALTER TABLE lanes ADD COLUMN head_since_ms INTEGER;
ALTER TABLE lanes ADD COLUMN head_cause TEXT;
ALTER TABLE lanes ADD COLUMN moved_ms INTEGER;  -- when something behind such a head was taken

-- One breaker for the whole head office: while it is open, a dead line gets one probe and not one request a lane.
CREATE TABLE circuit (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    failures INTEGER NOT NULL DEFAULT 0,
    next_attempt_ms INTEGER,
    retry_after_ms INTEGER,  -- until when head office itself asked us to stay away
    code TEXT,
    reason TEXT,
    since_ms INTEGER,
    resume_ms INTEGER  -- after a long outage the devices of a chain come back one after another
);
INSERT INTO circuit (id) VALUES (1);

-- What happened that people should know of, with its age: one row a kind.
CREATE TABLE incidents (
    kind TEXT PRIMARY KEY,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    times INTEGER NOT NULL DEFAULT 1,
    detail TEXT NOT NULL,
    is_open INTEGER NOT NULL DEFAULT 1
);
