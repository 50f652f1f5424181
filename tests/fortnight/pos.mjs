// A till in JavaScript that sells through the loopback API: baskets come as JSON lines, what was recorded goes back as
// such. It keeps the token that it read at its start, and reads the file again when that one is refused.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";

const [home, port] = process.argv.slice(2);
const api = `http://127.0.0.1:${port}/v1`;
const PAUSE_MS = 60;
const IN_DOUBT = (status) => status === 401 || status === 408 || status === 429 || status >= 500;
let token = "";

async function readToken() {
  token = (await readFile(join(home, "local-api.token"), "utf8")).trim();
}

async function once(method, path, body) {
  if (!token) await readToken();
  const response = await fetch(api + path, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(5_000),
  });
  if (response.status === 401) token = "";
  return [response.status, await response.json()];
}

// Ends with an answer that proves something; until then the same id goes out again and again.
async function ask(method, path, body) {
  let tries = 0;
  for (let last = ""; ; tries += 1) {
    try {
      const [status, told] = await once(method, path, body);
      if (status < 300) return { told, tries, last };
      last = `${status} ${told.code ?? ""} ${told.detail ?? ""}`.trim();
      if (!IN_DOUBT(status)) return { error: last, tries };
    } catch (error) {
      last = error.cause?.code ?? error.code ?? error.message;
    }
    await pause(PAUSE_MS);
  }
}

async function answer(asked) {
  if (asked.do === "price") {
    const { told, error } = await ask("GET", `/products/${asked.product}`);
    return error ? { error } : { price: told.price === null ? null : Number(told.price).toFixed(2) };
  }
  const [path, body] = asked.do === "sell" ? ["/sales", asked.sale] : ["/usages", asked.usage];
  const { told, error, tries, last } = await ask("POST", path, body);
  if (error) return { error, tries };
  return { external_id: told.external_id, total: told.total_amount, existing: told.existing === true, tries, last };
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(JSON.parse(line))));
}
