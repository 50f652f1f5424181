-- The catalogue as head office sends it, with where each download stands.
--
-- A row's `body` is its JSON as it came, unknown fields included; the columns beside it serve look-ups alone.
-- `generation` is the snapshot that last brought the row: what a complete snapshot did not bring is swept (G6).

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
INSERT INTO meta VALUES ('min_writer', '1');

CREATE TABLE datasets (
    name TEXT PRIMARY KEY CHECK (name IN ('categories', 'products', 'promotions', 'stock')),
    scope TEXT NOT NULL DEFAULT '',
    cursor TEXT,
    generation INTEGER NOT NULL DEFAULT 0,
    in_snapshot INTEGER NOT NULL DEFAULT 0,
    held_generation INTEGER,
    held_rows INTEGER,
    held_since_ms INTEGER,
    incomplete TEXT,
    synced_ms INTEGER,
    changed_ms INTEGER
);
INSERT INTO datasets (name) VALUES ('categories'), ('products'), ('promotions'), ('stock');

CREATE TABLE categories (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    parent_id TEXT,
    name TEXT NOT NULL,
    is_active INTEGER NOT NULL,
    display_order INTEGER NOT NULL,
    row_version INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE products (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    category_id TEXT,
    name TEXT NOT NULL,
    sku TEXT,
    barcode TEXT,
    price TEXT,
    is_active INTEGER NOT NULL,
    is_volatile INTEGER NOT NULL,
    row_version INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE promotions (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    code TEXT,
    name TEXT NOT NULL,
    is_active INTEGER NOT NULL,
    start_date TEXT,
    end_date TEXT,
    row_version INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE stock (
    product_id TEXT PRIMARY KEY,
    quantity TEXT NOT NULL,
    reorder_level TEXT,
    generation INTEGER NOT NULL
);

-- Rows that break the contract, beside the last good one of the same id (G7).
CREATE TABLE refused (
    dataset TEXT NOT NULL,
    id TEXT NOT NULL,
    row_version INTEGER NOT NULL,
    reason TEXT NOT NULL,
    body BLOB NOT NULL,
    generation INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    PRIMARY KEY (dataset, id)
);

CREATE TABLE sync_runs (
    id INTEGER PRIMARY KEY,
    finished_ms INTEGER NOT NULL,
    report TEXT NOT NULL
);
