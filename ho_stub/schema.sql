-- Head office's database. One file, one company.
-- Every catalogue change takes the next number of the counter 'change'; the writers' lock makes that commit order.

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO counter VALUES ('change', 0), ('stock', 0);

-- One random mark for each transaction that took numbers: a cursor carries it, so that a database restored from a backup
-- notices a cursor of the life it lost, even when its numbers have passed it again.
CREATE TABLE mark (counter TEXT NOT NULL, seq INTEGER NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (counter, seq));

CREATE TABLE brand (id TEXT PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE store (
  id TEXT PRIMARY KEY, code TEXT NOT NULL, name TEXT NOT NULL, timezone TEXT NOT NULL, day_start TEXT NOT NULL,
  currency TEXT NOT NULL, brand_id TEXT);

-- A device account belongs to one store; an office account (store_id NULL) to the company. One without a company may sign
-- in and see nothing.
CREATE TABLE account (
  username TEXT PRIMARY KEY, salt BLOB NOT NULL, password_hash BLOB NOT NULL, static_key TEXT NOT NULL UNIQUE,
  store_id TEXT, has_company INTEGER NOT NULL DEFAULT 1);
CREATE TABLE token (
  token TEXT PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('access', 'refresh')), username TEXT NOT NULL,
  expires_at REAL NOT NULL);

-- Categories, products and promotions as they are sent: `body` is the row's JSON, row_version inside.
-- `seq` is the row's place in the feed, and its row_version. `brands` and `stores` say whom a row is for: ids joined by
-- a space, '' = all.
CREATE TABLE feed (
  dataset TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL, row_version INTEGER NOT NULL, leaf INTEGER NOT NULL,
  updated_us INTEGER NOT NULL, brands TEXT NOT NULL, stores TEXT NOT NULL,
  is_active INTEGER NOT NULL, starts TEXT, ends TEXT, sku TEXT, is_volatile INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (dataset, id));
CREATE INDEX feed_by_seq ON feed (dataset, seq);
CREATE INDEX feed_by_sku ON feed (sku) WHERE sku IS NOT NULL;

-- Promotions are sent through windows: one for each strategy that a store has (`key`: its fields). `listing` says which
-- promotions are in it, and each one's place in that window's feed: the number of its last edit, or of the day when it
-- entered. `born`: the number when the window was opened, so older cursors end; `head`: of its last change.
CREATE TABLE promotion_window (key TEXT PRIMARY KEY, born INTEGER NOT NULL, head INTEGER NOT NULL);
CREATE TABLE listing (
  window_key TEXT NOT NULL, promotion_id TEXT NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (window_key, promotion_id));
CREATE INDEX listing_by_place ON listing (window_key, place);
CREATE INDEX listing_by_promotion ON listing (promotion_id);

-- A row left a scope: deleted, moved to another brand or store, out of its window (`window_key`, '' for rows that have
-- none). The feed's tombstones.
CREATE TABLE departure (
  dataset TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL, at_us INTEGER NOT NULL, brands TEXT NOT NULL,
  stores TEXT NOT NULL, window_key TEXT NOT NULL DEFAULT '');
CREATE INDEX departure_by_seq ON departure (dataset, seq);
CREATE INDEX departure_by_id ON departure (dataset, id);

-- Stock in thousandths. A feed of its own (counter 'stock'): each sale moves it.
CREATE TABLE stock (
  store_id TEXT NOT NULL, product_id TEXT NOT NULL, quantity INTEGER NOT NULL, reorder_level INTEGER, seq INTEGER NOT NULL,
  deleted INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (store_id, product_id));
CREATE INDEX stock_by_seq ON stock (store_id, seq);
CREATE INDEX stock_by_product ON stock (product_id);

-- The books. Money in minor units of the sale's currency (`exponent` decimals), without the kind's sign.
CREATE TABLE sale (
  id TEXT PRIMARY KEY, external_id TEXT NOT NULL UNIQUE, fingerprint TEXT, device_id TEXT, journal_id TEXT,
  device_seq INTEGER, store_id TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('sale', 'refund', 'void')),
  business_date TEXT NOT NULL, currency TEXT NOT NULL, exponent INTEGER NOT NULL, total INTEGER NOT NULL,
  declared INTEGER NOT NULL, warnings TEXT NOT NULL, products TEXT NOT NULL, body BLOB NOT NULL,
  received_at TEXT NOT NULL);
CREATE INDEX sale_by_journal ON sale (device_id, journal_id, device_seq);
CREATE INDEX sale_by_date ON sale (business_date);
CREATE TABLE sale_line (
  sale_id TEXT NOT NULL, line INTEGER NOT NULL, product_id TEXT NOT NULL, quantity INTEGER NOT NULL,
  unit_price INTEGER NOT NULL, discount INTEGER NOT NULL, amount INTEGER NOT NULL, PRIMARY KEY (sale_id, line));
CREATE INDEX sale_line_by_product ON sale_line (product_id);

-- A rejection is a receipt too: the body is kept, byte for byte as canonicalised (or as parsed, when it can't be).
CREATE TABLE refusal (
  body_sha256 TEXT PRIMARY KEY, external_id TEXT, device_id TEXT, journal_id TEXT, device_seq INTEGER,
  code TEXT NOT NULL, error TEXT NOT NULL, body BLOB NOT NULL, attempts INTEGER NOT NULL DEFAULT 1,
  received_at TEXT NOT NULL);
CREATE INDEX refusal_by_journal ON refusal (device_id, journal_id, device_seq);

-- Every sequence number that a journal has shown us, accepted or refused. `stock_seq`: the stock feed's figures from
-- this number on contain it.
CREATE TABLE seen (
  device_id TEXT NOT NULL, journal_id TEXT NOT NULL, device_seq INTEGER NOT NULL, accepted INTEGER NOT NULL,
  stock_seq INTEGER NOT NULL, PRIMARY KEY (device_id, journal_id, device_seq));
CREATE INDEX seen_by_stock ON seen (device_id, journal_id, stock_seq);
CREATE INDEX seen_refused ON seen (device_id, journal_id, device_seq) WHERE accepted = 0;
CREATE TABLE journal (
  device_id TEXT NOT NULL, journal_id TEXT NOT NULL, contiguous_seq INTEGER NOT NULL, PRIMARY KEY (device_id, journal_id));

CREATE TABLE usage (
  external_id TEXT PRIMARY KEY, device_id TEXT, journal_id TEXT, promotion_id TEXT NOT NULL, sale_external_id TEXT,
  body BLOB NOT NULL, received_at TEXT NOT NULL);
CREATE INDEX usage_by_journal ON usage (device_id, journal_id);
CREATE TABLE heartbeat (
  device_id TEXT PRIMARY KEY, store_id TEXT, body BLOB NOT NULL, received_at TEXT NOT NULL);

-- Who changed what, when: every change made by people. JSON before and after.
CREATE TABLE audit (
  number BIGINT PRIMARY KEY, at TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
  before_json TEXT NOT NULL, after_json TEXT NOT NULL);
INSERT INTO counter VALUES ('audit', 0);

-- One open alert for each product and store whose stock is below its reorder level. Quantities in thousandths.
CREATE TABLE low_stock_alert (
  id TEXT PRIMARY KEY, store_id TEXT NOT NULL, product_id TEXT NOT NULL, quantity BIGINT NOT NULL,
  reorder_level BIGINT NOT NULL, opened_at TEXT NOT NULL, acknowledged_at TEXT, acknowledged_by TEXT, closed_at TEXT);
CREATE UNIQUE INDEX low_stock_alert_open ON low_stock_alert (store_id, product_id) WHERE closed_at IS NULL;
CREATE INDEX low_stock_alert_by_time ON low_stock_alert (opened_at, id);

-- How many requests a store's devices may make a minute ('' = every store without a line of its own), and how many
-- they made in the last minute in which they made any (whole minutes since 1970).
CREATE TABLE rate_limit (store_id TEXT PRIMARY KEY, per_minute BIGINT NOT NULL);
CREATE TABLE rate_used (store_id TEXT PRIMARY KEY, minute BIGINT NOT NULL, requests BIGINT NOT NULL);

-- People signed in to the pages: the SHA-256 of the cookie's token, the mark that every form of theirs carries, the end.
CREATE TABLE session (
  token_hash TEXT PRIMARY KEY, username TEXT NOT NULL, csrf TEXT NOT NULL, expires_at REAL NOT NULL);
CREATE TABLE wrong_sign_in (address TEXT NOT NULL, username TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX wrong_sign_in_by_address ON wrong_sign_in (address, at);

-- What a device is asked in the answer to its heartbeat, until it reports what became of it (JSON).
CREATE TABLE repair_order (
  id TEXT PRIMARY KEY, device_id TEXT NOT NULL, dataset TEXT, repair INTEGER NOT NULL, given_at TEXT NOT NULL,
  given_by TEXT NOT NULL, done_at TEXT, result TEXT);
CREATE INDEX repair_order_by_device ON repair_order (device_id, given_at);

-- Promotions as people define them (JSON); the compiled row of each stands in the feed.
CREATE TABLE promotion_definition (
  id TEXT PRIMARY KEY, code TEXT NOT NULL UNIQUE, definition TEXT NOT NULL, updated_at TEXT NOT NULL,
  updated_by TEXT NOT NULL);

-- What a brand or a store has of its own among the sync settings: JSON of its fields, the others are inherited.
CREATE TABLE sync_override (
  level TEXT NOT NULL CHECK (level IN ('brand', 'store')), id TEXT NOT NULL, body TEXT NOT NULL,
  updated_at TEXT NOT NULL, updated_by TEXT NOT NULL, PRIMARY KEY (level, id));

-- What a gap of the baseline profile has met already, where several workers share the database.
CREATE TABLE gap_met (name TEXT NOT NULL, what TEXT NOT NULL, PRIMARY KEY (name, what));
