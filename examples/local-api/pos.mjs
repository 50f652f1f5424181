// Sells through the loopback API from JavaScript (node 20 or newer, nothing to install).
//
//   node pos.mjs /var/lib/edge-agent 00000006-0000-4000-8000-000000000000 [port] [how many sales]
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const PAUSES_MS = [0, 500, 1_000, 2_000, 4_000];
const IN_DOUBT = (status) => status === 408 || status === 429 || status >= 500;

/** The agent understood, and said no: the sale must be changed, sending it again helps nothing. */
export class Refused extends Error {
  constructor(problem) {
    super(`${problem.field ? `${problem.field}: ` : ""}${problem.detail} ${problem.hint ?? ""}`.trim());
    this.problem = problem;
  }
}

export class Agent {
  constructor(home, port = 8780) {
    this.home = home;
    this.api = `http://127.0.0.1:${port}/v1`;
  }

  async ask(method, path, body) {
    // Read each time: a new token needs no restart of the till.
    const token = (await readFile(join(this.home, "local-api.token"), "utf8")).trim();
    return fetch(this.api + path, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body && { "content-type": "application/json" }) },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(15_000),
    });
  }

  async get(path) {
    const response = await this.ask("GET", path).catch((error) => {
      throw new Error("nobody answers on this device: start edge-agent run, and check home and port", { cause: error });
    });
    const told = await response.json();
    if (!response.ok) throw new Refused(told);
    return told;
  }

  /** Records a sale. Its external_id is what makes every retry harmless: keep it with the sale until this returns. */
  async sell(sale) {
    if (!sale.external_id) throw new Error("give the sale an id of its own first");
    let last;
    for (const ms of PAUSES_MS) {
      await pause(ms);
      try {
        const response = await this.ask("POST", "/sales", sale);
        const told = await response.json();
        if (response.ok) return told; // 201: recorded now. 200: an earlier try had recorded it.
        if (!IN_DOUBT(response.status)) throw new Refused(told);
        last = new Error(told.detail);
      } catch (error) {
        if (error instanceof Refused) throw error;
        last = error; // no answer proves nothing: it may be recorded
      }
    }
    throw new Error(`sale ${sale.external_id} is in doubt: send it again later (${last.message})`, { cause: last });
  }
}

async function main([home, product, port = "8780", count = "1"]) {
  if (!product) throw new Error("usage: node pos.mjs HOME PRODUCT_ID [PORT] [COUNT]");
  const agent = new Agent(home, Number(port));
  const { name, price } = await agent.get(`/products/${product}`);
  if (price === null) throw new Error(`${name} has no price: ask`);
  for (let number = 0; number < Number(count); number += 1) {
    // Amounts stay text: 0.1 + 0.2 is not 0.3 in JavaScript, and the agent refuses such numbers.
    const sale = { external_id: randomUUID(), items: [{ product, quantity: "1", unit_price: price }] };
    const told = await agent.sell(sale);
    console.log(`sold ${told.external_id} number ${told.device_seq}: ${told.total_amount} ${told.currency}`);
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  main(process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
