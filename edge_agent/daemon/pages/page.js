/* The status page: asks GET /v1/page, listens to GET /v1/events, and shows it in the words of texts/.
   What comes from head office or a till is only ever set as text, never as markup. */

const LANGUAGES = [...document.querySelectorAll("#language option")].map((option) => option.value);
const POLL_MS = { listening: 10_000, alone: 5_000, hidden: 60_000, failed: 1_500 };
const ANSWER_MS = 8_000;
const SYNC_MS = 120_000;
const FAILURES_CALM = 2; // one lost answer is no news
const CLOCK_WRONG_MS = 60_000;
const FOR_PEOPLE = ["journal damaged", "can't be offered again", "disk nearly full", "no backup", "no backup before an update"];
const SYMBOLS = { good: "✓", look: "!", bad: "✕", unknown: "?" };
const SUMS = ["delivered", "pending", "quarantined"];

const $ = (id) => document.getElementById(id);

/* ---- words ------------------------------------------------------------------------------------------------------- */

let language = LANGUAGES[0];
let locale = language; // the browser's own kind of it: en-GB writes dates otherwise than en-US
let texts = {};

function t(key, values = {}) {
  let text = texts[key];
  if (text === undefined) return key;
  if (typeof text === "object") text = text[new Intl.PluralRules(language).select(values.count)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    return value === undefined || value === null ? whole : typeof value === "number" ? number(value) : value;
  });
}

const has = (key) => key in texts;
const number = (value) => new Intl.NumberFormat(locale, { maximumFractionDigits: 3 }).format(value);

function money(text, currency) {
  const whole = /^-?\d+(\.0+)?$/.test(text);
  const digits = whole ? { maximumFractionDigits: 0, minimumFractionDigits: 0 } : {};
  const style = currency && currency !== "XXX" ? { style: "currency", currency, currencyDisplay: "narrowSymbol" } : {};
  return new Intl.NumberFormat(locale, { ...style, ...digits }).format(text); // of exact text: no float between
}

function span(seconds) {
  seconds = Math.max(0, Math.floor(seconds));
  if (seconds < 60) return t("age.seconds", { count: seconds });
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return t("age.minutes", { count: minutes });
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) return t("age.days", { count: Math.floor(hours / 24) });
  if (minutes % 60 === 0) return t("age.hours", { count: hours });
  return t("age.hours.minutes", { hours, minutes: minutes % 60 });
}

const ago = (seconds) => (seconds < 5 ? t("age.now") : t("age.ago", { span: span(seconds) }));

/* ---- time: what waits is stamped by this device's clock, people are shown head office's ---------------------------- */

const taken = { view: null, at: 0 };

const passed = () => performance.now() - taken.at;
const deviceNow = () => Date.parse(taken.view.device_time) + passed();
const age = (stamp) => (deviceNow() - Date.parse(stamp)) / 1000;

function zone() {
  const timeZone = taken.view?.store.timezone ?? undefined;
  try {
    new Intl.DateTimeFormat("en", { timeZone });
    return timeZone;
  } catch {
    return undefined;
  }
}

function at(ms) {
  const timeZone = zone();
  const day = (moment) => new Intl.DateTimeFormat("en-CA", { timeZone }).format(moment);
  const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone };
  const sameDay = day(ms) === day(Date.parse(taken.view.server_time) + passed());
  return new Intl.DateTimeFormat(locale, sameDay ? time : { day: "numeric", month: "short", ...time }).format(ms);
}

const clock = (stamp) => at(Date.parse(stamp) + taken.view.status.clock_offset_ms);
const date = (text, more = {}) =>
  new Intl.DateTimeFormat(locale, { day: "numeric", month: "long", timeZone: "UTC", ...more }).format(Date.parse(text));

const year = (text) => (text.slice(0, 4) === taken.view.today.business_date.slice(0, 4) ? {} : { year: "numeric" });

/* ---- making elements ---------------------------------------------------------------------------------------------- */

const living = new Map(); // elements whose words grow older, with how to say them anew

function h(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "onclick") element.addEventListener("click", value);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function live(element, say) {
  living.set(element, say);
  say1(element, say());
  return element;
}

function say1(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const foreign = (text) => h("bdi", {}, String(text)); // its direction stays its own

function tick() {
  for (const [element, say] of living) {
    if (element.isConnected) say1(element, say());
    else living.delete(element);
  }
  if (taken.view) {
    say1($("clock"), at(Date.parse(taken.view.server_time) + passed()));
    say1($("fresh"), t("page.fresh", { age: ago(passed() / 1000) }));
    showVerdict();
  }
}

const drawn = new Map();

/* Draws a part only when what it shows has changed: a focus or a reader's place in it stays. */
function draw(id, data, build) {
  const key = language + JSON.stringify(data);
  if (drawn.get(id) === key) return;
  drawn.set(id, key);
  const place = $(id);
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  place.replaceChildren(...build());
  if (focused) (place.querySelector(`[data-key="${CSS.escape(focused)}"]`) ?? place.querySelector("button") ?? $("sync")).focus();
}

function head(id, count, ...more) {
  const title = h("h2", { id: `${id}-title` }, t(`${id}.title`));
  if (count !== undefined) title.append(" ", h("span.count", {}, number(count)));
  return h("div.head", {}, title, ...more);
}

const note = (text) => h("p.note", {}, text);

/* ---- is selling safe ----------------------------------------------------------------------------------------------- */

let failures = 0;
let locked = null; // or which words say why
let broken = false;

function reasons(status) {
  const error = status.last_error;
  const open = status.incidents.filter((incident) => incident.open).map((incident) => incident.kind);
  const datasets = Object.values(status.datasets);
  const found = [];
  const add = (is, level, why, title) => is && found.push({ level, why, title: title ?? `verdict.${level}` });
  add(open.includes("disk full"), "bad", t("why.disk_full"));
  add(error?.code === "NOT_SIGNED_IN", "look", t("why.signed_out"));
  add(status.head_office.reachable === false, "look", error && t("why.offline", { time: clock(error.since) }), "verdict.offline");
  add(error?.code === "POISON_STORM", "look", t("why.storm"));
  add(status.quarantined > 0, "look", t("why.quarantined", { count: status.quarantined }));
  add(status.receipts.differences.length > 0, "look", t("why.books"));
  add(datasets.some((dataset) => dataset.held_sweep), "look", t("why.held"));
  add(open.some((kind) => FOR_PEOPLE.includes(kind)), "look", t("why.incident"));
  add(status.stalled.length > 0, "look", t("why.stalled"));
  const clock_off = Math.abs(status.clock_offset_ms);
  add(clock_off > CLOCK_WRONG_MS, "look", t("why.clock", { span: span(clock_off / 1000) }));
  const told = ["NOT_SIGNED_IN", "POISON_STORM"].includes(error?.code) || status.head_office.reachable === false;
  add(error && !told, "look", t("why.contract"));
  add(!error && !status.last_success_at, "look", t("why.not_yet"), "verdict.offline");
  return found;
}

function verdict() {
  if (locked) return { level: "unknown", title: "verdict.locked", why: t(locked), command: "edge-agent page" };
  if (broken) return { level: "bad", title: "verdict.bad", why: t("why.store") };
  if (failures >= FAILURES_CALM) {
    const words = taken.view ? t("why.away", { age: ago(passed() / 1000) }) : t("why.away.blank");
    return { level: "unknown", title: "verdict.away", why: words };
  }
  if (!taken.view) return { level: "unknown", title: "verdict.waiting", why: t("why.waiting") };
  const { status } = taken.view;
  const found = reasons(status);
  if (found.length) return { ...found[0], why: found.slice(0, 2).map((one) => one.why).filter(Boolean).join(" ") };
  const waiting = status.pending ? t("why.good.waiting", { count: status.pending }) : t("why.good");
  return { level: "good", title: "verdict.good", why: waiting };
}

function showVerdict() {
  const { level, title, why, command } = verdict();
  if ($("verdict").dataset.level !== level) $("verdict").dataset.level = level;
  say1($("verdict-symbol"), SYMBOLS[level]);
  if ($("verdict-title").textContent !== t(title)) {
    $("verdict-title").textContent = t(title);
    tell(t(title));
  }
  const words = $("verdict-words");
  if (words.dataset.why !== why + (command ?? "")) {
    words.dataset.why = why + (command ?? "");
    words.replaceChildren(why, ...(command ? [" ", h("code", {}, command)] : []));
  }
  $("sync").hidden = locked !== null || broken || (!taken.view && failures < FAILURES_CALM);
  $("sync").disabled = syncing !== null || failures >= FAILURES_CALM;
}

function tell(text) {
  $("told").textContent = text;
}

/* ---- the facts ------------------------------------------------------------------------------------------------------ */

function fact(name, value, more) {
  return h("div", {}, h("dt", {}, t(`fact.${name}`)), h("dd.value", {}, value), h("dd.more", {}, more ?? ""));
}

const aging = (say) => live(h("span"), say);

function contactWords(status) {
  if (failures >= FAILURES_CALM) return "";
  if (status.next_attempt_at) {
    const wait = -age(status.next_attempt_at);
    if (wait <= 0) return t("fact.contact.trying");
    return t(status.last_error ? "fact.contact.next" : "fact.contact.back", { span: span(wait) });
  }
  return status.last_success_at && !status.last_error ? t("fact.contact.fine") : "";
}

function pricesAsOf(status) {
  const { products, promotions } = status.datasets;
  if (!products.synced_at) return null;
  const oldest = [products.synced_at, promotions.synced_at].filter(Boolean).sort()[0];
  // A cycle that found nothing changed confirms what is here; one that may not fetch confirms nothing.
  const confirms = !status.paused && !status.sync_windows.length;
  return [oldest, (confirms && status.last_success_at) || ""].sort()[1];
}

function priceWords(status) {
  if (status.paused) return t("fact.prices.paused");
  const [next] = status.sync_windows;
  if (next) return t("fact.prices.windows", next);
  return t("fact.prices.counts", { count: status.datasets.products.count });
}

function facts(view) {
  const { status, today } = view;
  const prices = pricesAsOf(status);
  const sold = SUMS.reduce((sum, state) => sum + today.sales[state].count, 0);
  const held = status.held ? ` · ${t("fact.waiting.held", { count: status.held })}` : "";
  return [
    status.pending
      ? fact("waiting", number(status.pending), aging(() => t("fact.waiting.since", { span: span(age(status.oldest_pending_at)) }) + held))
      : fact("waiting", t("fact.waiting.none")),
    fact(
      "contact",
      status.last_success_at ? aging(() => ago(age(status.last_success_at))) : t("fact.contact.never"),
      aging(() => contactWords(status)),
    ),
    prices
      ? fact("prices", clock(prices), priceWords(status))
      : fact("prices", t("fact.prices.none"), t("fact.prices.coming")),
    fact("today", money(today.net, today.currency), t("fact.today.sales", { count: sold })),
  ];
}

/* ---- the cards ------------------------------------------------------------------------------------------------------ */

function todayCard({ today }) {
  const row = (name, one, sign = "") =>
    h("tr", {}, h("th", { scope: "row" }, t(`today.${name}`)), h("td", {}, one.count === undefined ? "" : number(one.count)),
      h("td", {}, sign + money(one.total, today.currency)));
  const title = h("h2", { id: "today-title" }, t("today.title", { date: date(today.business_date) }));
  const back = ["refunds", "voids"].filter((name) => today[name].count);
  if (SUMS.every((state) => !today.sales[state].count) && !back.length) {
    return [h("div.head", {}, title), note(t("today.none"))];
  }
  const columns = ["state", "count", "total"].map((name) => h("th", { scope: "col" }, t(`today.column.${name}`)));
  const states = SUMS.filter((state) => today.sales[state].count || state !== "quarantined");
  const others = Object.entries(today.other_currencies).map(([currency, total]) =>
    h("tr", {}, h("th", { scope: "row" }, t("today.others", { currency })), h("td"), h("td", {}, money(total, currency))));
  return [
    h("div.head", {}, title),
    h("table.sums", {},
      h("thead", {}, h("tr", {}, columns)),
      h("tbody", {}, states.map((state) => row(state, today.sales[state])), back.map((name) => row(name, today[name], "−"))),
      h("tfoot", {}, row("net", { total: today.net }), others)),
    ...hours(today),
  ];
}

function hours(today) {
  if (today.hours.length < 2) return [];
  const byHour = new Map(today.hours.map((one) => [one.hour, one]));
  const [first, last] = [Math.min(...byHour.keys()), Math.max(...byHour.keys())];
  const most = Math.max(...today.hours.map((one) => Number(one.total)), 1);
  const bars = [];
  for (let hour = first; hour <= last; hour += 1) {
    const total = byHour.get(hour)?.total ?? "0";
    const bar = h("span.pillar", { "aria-hidden": "true" });
    bar.style.height = `${Math.max(0, (Number(total) / most) * 100)}%`;
    const words = t("today.hour", { hour: `${String(hour).padStart(2, "0")}:00`, total: money(total, today.currency) });
    bars.push(h("li", { title: words }, bar, h("span.unseen", {}, words)));
  }
  const named = (hour) => h("span", {}, `${String(hour).padStart(2, "0")}:00`);
  return [
    h("ol.hours", { "aria-label": t("today.hours") }, bars),
    h("div.hour-names", { "aria-hidden": "true" }, named(first), named((last + 1) % 24)),
  ];
}

function until(one) {
  if (one.until_time && one.stops_today && one.until_time < "23:59") return t("promotions.until.time", { time: one.until_time });
  if (one.stops_today) return t("promotions.until.day");
  return one.until_date ? t("promotions.until.date", { date: date(one.until_date, { month: "short", ...year(one.until_date) }) }) : t("promotions.open");
}

function promotionsCard({ promotions }) {
  const rows = (list, words) =>
    h("ul.list", {}, list.map((one) =>
      h("li", {}, h("div.what", {}, h("p.name", {}, foreign(one.name)), one.code && h("p.small", {}, foreign(one.code))), h("p.small.figure", {}, words(one)))));
  const more = (total, listed) => (total > listed ? [note(t("promotions.more", { count: total - listed }))] : []);
  const shown = promotions.running.slice(0, 8);
  const parts = [head("promotions", promotions.running_total || undefined)];
  if (!shown.length) parts.push(note(t("promotions.none")));
  else parts.push(rows(shown, until), ...more(promotions.running_total, shown.length));
  if (promotions.later.length) {
    const later = promotions.later.slice(0, 4);
    parts.push(note(t("promotions.later")), rows(later, (one) => t("promotions.from", { time: one.from_time })), ...more(promotions.later_total, later.length));
  }
  return parts;
}

function stockCard({ low_stock: stock }) {
  const parts = [head("stock", stock.total || undefined)];
  parts.push(note(stock.total ? t("stock.as_of", { time: clock(stock.as_of) }) : t("stock.none")));
  if (!stock.is_whole) parts.push(note(t("stock.counting")));
  if (stock.total) {
    const shown = stock.listed.slice(0, 10);
    parts.push(h("ul.list", {}, shown.map((one) => {
      const out = Number(one.available) <= 0;
      const left = out ? t("stock.out") : t("stock.left", { count: Number(one.available) });
      return h("li", {}, h("p.what.name", {}, foreign(one.name)),
        h("div.figure", {}, h("p", {}, out ? h("span.tag", { "data-level": "bad" }, left) : left),
          h("p.small", {}, t("stock.level", { count: Number(one.reorder_level) }))));
    })));
    if (stock.total > shown.length) parts.push(note(t("promotions.more", { count: stock.total - shown.length })));
  }
  return parts;
}

const LEVELS = { error: "bad", warning: "look", note: "unknown" };

function findingsCard({ findings }) {
  const parts = [head("findings")];
  const { validated_at, score, counts } = findings;
  if (!validated_at) return [...parts, note(t("findings.never"))];
  const none = !Object.keys(counts).length;
  // That moment is head office's already.
  const since = () => ago((Date.parse(taken.view.server_time) + passed() - Date.parse(validated_at)) / 1000);
  parts.push(live(h("p.note"), () => t(none ? "findings.none" : "findings.score", { score, age: since() })));
  const listed = findings.listed.filter((one) => one.dataset !== "outbox" && one.kind !== "clock skew").slice(0, 12);
  const left = { ...counts };
  listed.forEach((one) => { left[one.kind] -= 1; });
  const last = new Map(listed.map((one, place) => [one.kind, place]));
  if (listed.length) {
    parts.push(h("ul.list", {}, listed.map((one, place) =>
      h("li", {}, h("div.what", {},
        h("p.name", {}, h("span.tag", { "data-level": LEVELS[one.severity] }, t(`severity.${one.severity}`)), " ", foreign(one.name ?? one.id)),
        h("p", {}, has(`finding.${one.kind}`) ? t(`finding.${one.kind}`) : one.sentence),
        one.detail && h("p.small", {}, foreign(one.detail)),
        h("p.small", {}, "→ ", has(`finding.${one.kind}.do`) ? t(`finding.${one.kind}.do`) : one.recommendation),
        last.get(one.kind) === place && left[one.kind] > 0 && h("p.small", {}, t("findings.more", { count: left[one.kind] })))))));
  }
  return parts;
}

function named(one) {
  if (one.kind === "usage") return t("quarantined.usage");
  return t(`quarantined.${one.kind}`, { number: one.receipt_number ?? String(one.device_seq ?? one.external_id) });
}

function quarantinedCard({ quarantined }) {
  const retryAll = h("button", { type: "button", "data-key": "all", onclick: () => retry(null) }, t("quarantined.retry.all"));
  return [
    head("quarantined", quarantined.total, quarantined.total > 1 && retryAll),
    note(t("quarantined.note")),
    h("ul.list", {}, quarantined.listed.map((one) => {
      const total = one.total_amount && ` · ${money(one.total_amount, one.currency)}`;
      return h("li.with-act", {}, h("div.what", {},
        h("p.name", {}, foreign(named(one)), total),
        h("p", {}, has(`code.${one.code}`) ? t(`code.${one.code}`) : t("code.other"), " · ",
          live(h("span.small"), () => t("quarantined.since", { age: ago(age(one.since)) }))),
        (one.reason || one.code) && h("p.small", {}, foreign(t("quarantined.said", { reason: one.reason ?? one.code })))),
      h("button", { type: "button", "data-key": one.external_id, "aria-label": t("quarantined.retry.one", { what: named(one) }), onclick: () => retry([one.external_id]) },
        t("quarantined.retry")));
    })),
  ];
}

function happened({ status }) {
  const found = status.incidents.map((one) => ({
    what: has(`incident.${one.kind}`) ? t(`incident.${one.kind}`) : one.kind, detail: one.detail, at: one.last_at, open: one.open,
  }));
  for (const [name, one] of Object.entries(status.datasets)) {
    const dataset = t(`dataset.${name}`);
    if (one.held_sweep) {
      found.push({ what: t("incidents.held", { dataset, count: one.held_sweep }), detail: t("incidents.held.do"), at: one.held_since, open: true });
    }
    if (one.incomplete) found.push({ what: t("incidents.incomplete", { dataset }), detail: one.incomplete, at: one.incomplete_since, open: true });
  }
  for (const one of status.stalled) {
    found.push({ what: t("incidents.stalled", { what: t(`incidents.stalled.${one.lane}`) }), detail: one.cause, at: one.since, open: true });
  }
  for (const one of status.receipts.differences) found.push({ what: t("incidents.books"), detail: one, at: status.receipts.checked_at, open: true });
  return found;
}

function incidentsCard(found) {
  return [
    head("incidents"),
    h("ul.list", {}, found.map((one) =>
      h("li", {}, h("div.what", {}, h("p.name", {}, one.what), one.detail && h("p.small", {}, foreign(one.detail))),
        h("p.small.figure", {}, h("span.tag", { "data-level": one.open ? "look" : "unknown" }, t(one.open ? "incidents.now" : "incidents.over")),
          " ", one.at ? clock(one.at) : "")))),
  ];
}

/* ---- showing all of it ------------------------------------------------------------------------------------------------ */

function show() {
  const view = taken.view;
  const device = view ? t("page.device", { device: view.device }) : "";
  document.title = `${t(verdict().title)} · ${view?.store.name ?? device}`;
  say1($("store"), view ? view.store.name ?? t("page.nameless") : "");
  say1($("device"), device);
  $("shop").hidden = !view || locked !== null;
  if (view) {
    const found = happened(view);
    draw("facts", [view.status, view.today, view.device_time.slice(0, 13)], () => facts(view));
    draw("quarantined", view.quarantined, () => quarantinedCard(view));
    draw("incidents", found, () => incidentsCard(found));
    draw("today", view.today, () => todayCard(view));
    draw("promotions", view.promotions, () => promotionsCard(view));
    draw("stock", [view.low_stock, view.server_time.slice(0, 10)], () => stockCard(view));
    draw("findings", view.findings, () => findingsCard(view));
    $("quarantined").hidden = !view.quarantined.total;
    $("incidents").hidden = !found.length;
    $("stock").hidden = view.low_stock.total === null;
    $("incidents").classList.toggle("marked", found.some((one) => one.open));
  }
  tick();
  showVerdict();
}

function showFixed() {
  document.documentElement.lang = language;
  $("language").value = language;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
  $("theme").textContent = t(isDark() ? "page.light" : "page.dark");
  const keys = [["S", "sync"], ["T", "theme"], ["L", "language"]];
  $("keys").replaceChildren(...keys.map(([key, name]) => h("li", {}, h("kbd", {}, `Alt+${key}`), " ", t(`page.key.${name}`))));
  showSync();
  show();
}

/* ---- asking ------------------------------------------------------------------------------------------------------------ */

async function ask(path, body) {
  const post = body === undefined ? {} : { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  const response = await fetch(path, { ...post, cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
  const found = await response.json().catch(() => ({}));
  return { ok: response.ok, status: response.status, found };
}

let timer;
let asking = false;

async function look() {
  clearTimeout(timer);
  if (asking) return;
  asking = true;
  try {
    const { ok, status, found } = await ask("/v1/page");
    failures = ok || status < 500 || found.code ? 0 : failures + 1;
    broken = found.code === "STORE_BROKEN";
    if (ok) {
      locked = null;
      Object.assign(taken, { view: found, at: performance.now() });
      listen();
    } else if (status === 401) {
      locked ??= "why.locked";
      deafen();
    }
  } catch {
    failures += 1;
  } finally {
    asking = false;
  }
  if (failures >= FAILURES_CALM) endSync();
  show();
  const rest = document.hidden ? POLL_MS.hidden : failures === 1 ? POLL_MS.failed : stream?.readyState === 1 ? POLL_MS.listening : POLL_MS.alone;
  timer = setTimeout(look, rest);
}

async function openSession() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (!key) return;
  history.replaceState(null, "", location.pathname); // before anything else: nobody reads it over a shoulder
  try {
    const { ok, status } = await ask("/v1/session", { key });
    locked = !ok && status < 500 ? "why.old_key" : null;
  } catch {
    failures += 1;
  }
}

/* ---- listening ------------------------------------------------------------------------------------------------------------ */

let stream = null;
let soon;

function listen() {
  if (stream && stream.readyState !== EventSource.CLOSED) return;
  stream = new EventSource("/v1/events");
  stream.addEventListener("message", ({ data }) => {
    const { event, details } = JSON.parse(data);
    if (event === "sync began") beginSync();
    else if (event === "sync progress") progress(details);
    else if (event === "sync ended" || event === "sync failed") syncEnded(event, details);
    if (event !== "sync progress" && event !== "connected") {
      clearTimeout(soon);
      soon = setTimeout(look, 300);
    }
  });
}

function deafen() {
  stream?.close();
  stream = null;
}

/* ---- sync now ------------------------------------------------------------------------------------------------------------ */

let syncing = null; // or its words and how far it is
let syncTimer;

function showSync() {
  $("sync").textContent = t(syncing ? "sync.running" : "sync.now");
  $("sync").disabled = syncing !== null || failures >= FAILURES_CALM;
  const bar = $("progress");
  bar.hidden = syncing === null;
  $("step").hidden = !(syncing?.words || outcome);
  say1($("step"), syncing ? syncing.words : outcome ?? "");
  bar.setAttribute("aria-label", t("sync.running"));
  if (syncing?.total) Object.assign(bar, { max: syncing.total, value: syncing.done });
  else bar.removeAttribute("value");
}

let outcome = null; // how the last one ended, for some seconds
let outcomeTimer;

function beginSync() {
  if (!syncing) syncing = { words: "" };
  outcome = null;
  clearTimeout(syncTimer);
  syncTimer = setTimeout(() => endSync(), SYNC_MS);
  showSync();
}

function progress({ step, done, total }) {
  if (!syncing) return;
  const [so_far, whole] = [Number(done || 0), Number(total || 0)];
  const name = has(`sync.step.${step}`) ? t(`sync.step.${step}`) : step;
  const words = t(whole ? "sync.step.of" : "sync.step.so_far", { step: name, done: so_far, total: whole });
  syncing = { words, done: so_far, total: whole };
  showSync();
}

function endSync(words = null) {
  clearTimeout(syncTimer);
  if (syncing === null && words === null) return;
  syncing = null;
  outcome = words;
  clearTimeout(outcomeTimer);
  if (words) {
    tell(words);
    outcomeTimer = setTimeout(() => { outcome = null; showSync(); }, 12_000);
  }
  showSync();
}

const said = (code, message) => (has(`error.${code}`) ? t(`error.${code}`) : message);

function syncEnded(event, { code, message }) {
  if (!syncing) return; // nobody here asked
  endSync(code ? t("sync.failed", { why: said(code, message) }) : event === "sync failed" ? t("sync.failed.plain") : t("sync.done"));
}

async function sync() {
  if (syncing || locked || failures >= FAILURES_CALM) return;
  syncing = { words: t("sync.asked") };
  beginSync();
  tell(t("sync.began"));
  try {
    const { ok, found } = await ask("/v1/sync", {});
    if (!ok) endSync(t("sync.refused", { why: said(found.code, found.detail ?? "") }));
  } catch {
    endSync(t("sync.failed.plain"));
  }
  look();
}

async function retry(ids) {
  try {
    const { ok, found } = await ask("/v1/outbox/retry", ids ? { ids } : { all: true });
    tell(ok ? t("quarantined.retried", { count: found.retried }) : t("quarantined.not_retried", { why: found.detail ?? "" }));
    if (ok) outcome = t("quarantined.retried", { count: found.retried });
  } catch {
    outcome = t("quarantined.not_retried", { why: t("verdict.away") });
  }
  clearTimeout(outcomeTimer);
  outcomeTimer = setTimeout(() => { outcome = null; showSync(); }, 12_000);
  showSync();
  look();
}

/* ---- switches ------------------------------------------------------------------------------------------------------------ */

const kept = {
  read: (name) => { try { return localStorage.getItem(`edge-agent.${name}`); } catch { return null; } },
  write: (name, value) => { try { localStorage.setItem(`edge-agent.${name}`, value); } catch { /* a browser that keeps nothing */ } },
};
const dark = matchMedia("(prefers-color-scheme: dark)");

const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";

function switchTheme() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  kept.write("theme", theme);
  $("theme").textContent = t(isDark() ? "page.light" : "page.dark");
}

async function speak(wanted, keep = true) {
  const response = await fetch(`/texts/${wanted}.json`);
  texts = await response.json();
  language = wanted;
  locale = navigator.languages.find((name) => name.toLowerCase().split("-")[0] === wanted) ?? wanted;
  if (keep) kept.write("language", wanted);
  showFixed();
}

function wantedLanguage() {
  const said = [kept.read("language"), ...navigator.languages].filter(Boolean).map((name) => name.toLowerCase().split("-")[0]);
  return said.find((name) => LANGUAGES.includes(name)) ?? LANGUAGES[0];
}

function nextLanguage() {
  speak(LANGUAGES[(LANGUAGES.indexOf(language) + 1) % LANGUAGES.length]);
}

/* With Alt: a barcode scanner types letters into whatever is open. */
const KEYS = { KeyS: sync, KeyT: switchTheme, KeyL: nextLanguage };

const theme = kept.read("theme");
if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
$("sync").addEventListener("click", sync);
$("theme").addEventListener("click", switchTheme);
$("language").addEventListener("change", ({ target }) => speak(target.value));
dark.addEventListener("change", () => showFixed());
document.addEventListener("visibilitychange", () => !document.hidden && look());
document.addEventListener("keydown", (event) => {
  if (!event.altKey || event.ctrlKey || event.metaKey || !KEYS[event.code]) return;
  event.preventDefault();
  KEYS[event.code]();
});
await openSession();
await speak(wantedLanguage(), false);
setInterval(tick, 1_000);
look();
