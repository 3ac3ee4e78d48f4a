// The table of meters: one row each, kept and changed in place, so that focus and selection stay where they are.

import { now } from "./api.js";

const TONES = {
  closed: "ok", open: "bad", allowed: "warn", unknown: "dim",
  normal: "ok", low: "warn", very_low: "warn", emergency: "bad", exhausted: "bad", cut: "bad",
};

export const reading = (meter, quantity) =>
  meter.last_reading?.items.find((item) => item.quantity === quantity) ?? null;

const shown = (item) => item?.value ?? "–"; // the units stand in the head of the table, and the contract fixes them

function badge(text, tone = TONES[text] ?? "dim") {
  const span = document.createElement("span");
  span.className = `badge ${tone}`;
  span.textContent = text;
  return span;
}

function relay({ desired, observed }) {
  const seen = badge(observed);
  seen.title = `read back: ${observed}; ordered: ${desired}`;
  return desired === observed || observed === "unknown" ? [seen] : [seen, badge(`→ ${desired}`, "wait")];
}

/** Age in words short enough for a column. */
export function age(at) {
  const seconds = Math.max(0, Math.round((now() - Date.parse(at)) / 1000));
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

function setText(cell, text) {
  if (cell.textContent !== text) cell.textContent = text;
}

function setBadges(cell, key, make) {
  if (cell.dataset.key === key) return;
  cell.dataset.key = key;
  cell.replaceChildren(...make());
}

const COLUMNS = [
  "account mid", "protocol wide", "line wide", "voltage num mid", "power num", "energy num mid", "balance num", "credit", "relay", "read num",
];

export class Table {
  constructor(body, onSelect) {
    this.body = body;
    this.onSelect = onSelect;
    this.rows = new Map();
    this.selected = null;
    this.filter = "";
    body.addEventListener("keydown", (event) => this.#keys(event));
  }

  update(meters, accounts) {
    const currencies = new Set([...accounts.values()].map((account) => account.currency));
    const currency = currencies.size === 1 ? [...currencies][0] : "";
    setText(document.getElementById("currency"), currency);
    for (const meter of meters) {
      const row = this.rows.get(meter.meter) ?? this.#add(meter.meter);
      this.#fill(row, meter, accounts.get(meter.account), currency);
    }
    const known = new Set(meters.map((meter) => meter.meter));
    for (const [id, row] of this.rows) {
      if (known.has(id)) continue;
      row.remove();
      this.rows.delete(id);
    }
    this.find(this.filter);
  }

  find(text) {
    this.filter = text.trim().toLowerCase();
    let visible = 0;
    for (const row of this.rows.values()) {
      row.hidden = !row.dataset.words?.includes(this.filter);
      visible += row.hidden ? 0 : 1;
    }
    return visible;
  }

  select(id) {
    for (const [name, row] of this.rows) {
      row.classList.toggle("selected", name === id);
      row.querySelector("button").setAttribute("aria-pressed", String(name === id));
    }
    if (this.selected === id) return;
    this.selected = id;
    this.onSelect(id);
  }

  ages() {
    for (const row of this.rows.values()) {
      const at = row.dataset.at;
      const cell = row.querySelector(".read");
      setText(cell, at ? age(at) : "never");
      cell.classList.toggle("stale", !at || now() - Date.parse(at) > 120000);
    }
  }

  #add(id) {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    const button = document.createElement("button");
    head.scope = "row";
    button.type = "button";
    button.textContent = id;
    button.setAttribute("aria-pressed", "false");
    head.append(button);
    row.append(head);
    for (const name of COLUMNS) {
      const cell = document.createElement("td");
      cell.className = name;
      row.append(cell);
    }
    row.addEventListener("click", () => this.select(id));
    this.rows.set(id, row);
    this.body.append(row);
    return row;
  }

  #fill(row, meter, account, currency) {
    const cell = (name) => row.querySelector(`.${name}`);
    row.dataset.words = [meter.meter, meter.account, meter.line, meter.protocol, meter.address].join(" ").toLowerCase();
    row.dataset.at = meter.last_reading?.answered ?? "";
    setText(cell("account"), meter.account ?? "–");
    setText(cell("protocol"), meter.protocol);
    setText(cell("line"), meter.line);
    setText(cell("voltage"), shown(reading(meter, "voltage_a")));
    setText(cell("power"), shown(reading(meter, "power") ?? reading(meter, "power_a")));
    setText(cell("energy"), shown(reading(meter, "energy_import")));
    setText(cell("balance"), account ? `${account.balance} ${currency ? "" : account.currency}`.trim() : "–");
    cell("balance").classList.toggle("below", account?.balance.startsWith("-") ?? false);
    const state = account?.state ?? "–";
    setBadges(cell("credit"), state, () => [badge(state)]);
    setBadges(cell("relay"), `${meter.relay.desired}/${meter.relay.observed}`, () => relay(meter.relay));
  }

  #keys(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (!(event.key in steps)) return;
    const buttons = [...this.body.querySelectorAll("tr:not([hidden]) button")];
    const next = buttons[buttons.indexOf(document.activeElement) + steps[event.key]];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  }
}
