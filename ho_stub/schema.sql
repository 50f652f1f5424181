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

-- A device account belongs to one store; a company account (store_id NULL) to the company.
CREATE TABLE account (
  username TEXT PRIMARY KEY, salt BLOB NOT NULL, password_hash BLOB NOT NULL, static_key TEXT NOT NULL UNIQUE,
  store_id TEXT);
CREATE TABLE token (
  token TEXT PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('access', 'refresh')), username TEXT NOT NULL,
  expires_at REAL NOT NULL);

-- Categories, products and promotions as they are sent: `body` is the row's JSON, row_version inside.
-- `seq` is the row's place in the feed. It is row_version too, except for a promotion that entered its window
-- because a day passed: it moves to the feed's end though nobody edited it.
-- `brands` and `stores` say whom a row is for: ids joined by a space, '' = all. `listed` = 0: a promotion outside its
-- window, or deactivated.
CREATE TABLE feed (
  dataset TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL, row_version INTEGER NOT NULL, leaf INTEGER NOT NULL,
  updated_us INTEGER NOT NULL, brands TEXT NOT NULL, stores TEXT NOT NULL, listed INTEGER NOT NULL,
  is_active INTEGER NOT NULL, starts TEXT, ends TEXT, sku TEXT, is_volatile INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (dataset, id));
CREATE INDEX feed_by_seq ON feed (dataset, seq);
CREATE INDEX feed_by_sku ON feed (sku) WHERE sku IS NOT NULL;

-- A row left a scope: deleted, moved to another brand or store, out of its window. The feed's tombstones.
CREATE TABLE departure (
  dataset TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL, at_us INTEGER NOT NULL, brands TEXT NOT NULL,
  stores TEXT NOT NULL);
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
CREATE INDEX seen_refused ON seen (device_id, journal_id, device_seq) WHERE NOT accepted;
CREATE TABLE journal (
  device_id TEXT NOT NULL, journal_id TEXT NOT NULL, contiguous_seq INTEGER NOT NULL, PRIMARY KEY (device_id, journal_id));

CREATE TABLE usage (
  external_id TEXT PRIMARY KEY, device_id TEXT, journal_id TEXT, promotion_id TEXT NOT NULL, sale_external_id TEXT,
  body BLOB NOT NULL, received_at TEXT NOT NULL);
CREATE INDEX usage_by_journal ON usage (device_id, journal_id);
CREATE TABLE heartbeat (device_id TEXT PRIMARY KEY, body BLOB NOT NULL, received_at TEXT NOT NULL);
