// A statement of account: one account, one month, as the gateway states it; every figure comes ready from the API.

import { download, get } from "./api.js";

const HASH = /^#statement\/([^/]*)\/(\d{4}-\d{2})$/;

const $ = (id) => document.getElementById(id);

/** Whether the address names a statement; then it is not the table's. */
export const stating = () => HASH.test(location.hash);

const address = (account, month) => `#statement/${encodeURIComponent(account)}/${month}`;

/** First and last day of a month like 2026-10. */
function days(month) {
  const [year, number] = month.split("-").map(Number);
  return [`${month}-01`, `${month}-${new Date(Date.UTC(year, number, 0)).getUTCDate()}`];
}

function path(account, month) {
  const [from, to] = days(month);
  return `/api/v1/accounts/${encodeURIComponent(account)}/statement?from=${from}&to=${to}`;
}

function row(cells, className = "") {
  const element = document.createElement("tr");
  element.className = className;
  element.append(...cells.map((text, place) => {
    const cell = document.createElement("td");
    cell.textContent = text ?? "";
    if (place > 1) cell.className = "num";
    return cell;
  }));
  return element;
}

/** Rows of one of the account's books. */
function rows({ text, opening, lines, carried, closing, sums }) {
  const registers = ({ first_kwh: first, last_kwh: last }) => (first === null ? "" : `${first} – ${last}`);
  const used = (energy) => (energy && Number(energy.kwh) ? [registers(energy), energy.kwh, Number(energy.price) ? energy.price : ""] : ["", "", ""]);
  return [
    row([text, "", "", "", "", ""], "head"),
    row(["", "Opening balance", "", "", "", opening.shown], "total"),
    ...lines.map((line) => {
      const drawn = row([line.day, line.text, ...used(line.energy), line.shown]);
      drawn.title = [line.energy?.rule, `exactly ${line.amount}`].filter(Boolean).join("; ");
      return drawn;
    }),
    ...(Number(carried) ? [row(["", "Fractions of a coin, carried", "", "", "", carried], "total")] : []),
    row(["", "Closing balance", "", "", "", closing.shown], "total"),
    ...sums.map((sum) => row(["", `Sum: ${sum.text}`, "", Number(sum.kwh) ? sum.kwh : "", "", sum.shown], "sum")),
  ];
}

function draw(statement) {
  const { account, holder, from_day: from, to_day: to, zone, currency, gateway, head } = statement;
  $("statement-title").textContent = `Statement of ${account}`;
  $("statement-about").textContent = [holder, `${from} to ${to} (${zone})`, currency, gateway].filter(Boolean).join(" · ");
  $("statement-rows").replaceChildren(...statement.sections.flatMap(rows));
  $("statement-proof").textContent = `${statement.note} Journal entry ${head.entry}, hash ${head.hash.slice(0, 16)}.`;
}

export class StatementView {
  /** attempt: runs a task and shows what went wrong. accounts: the ids there are. */
  constructor(attempt, accounts) {
    this.attempt = attempt;
    this.accounts = accounts;
    addEventListener("hashchange", () => this.show());
    for (const id of ["statement-account", "statement-month"]) {
      $(id).addEventListener("change", () => this.open($("statement-account").value, $("statement-month").value));
    }
    for (const kind of ["csv", "pdf"]) $(`statement-${kind}`).addEventListener("click", () => this.#save(kind));
    $("statement-print").addEventListener("click", () => print());
    $("statement-close").addEventListener("click", () => {
      location.hash = "";
    });
  }

  /** Goes there; without a month to the present one. */
  open(account, month) {
    if (account) location.hash = address(account, month || new Date().toISOString().slice(0, 7));
  }

  /** What the address says. */
  async show() {
    const [, name, month] = HASH.exec(location.hash) ?? [];
    $("statement").hidden = name === undefined;
    document.body.classList.toggle("stating", name !== undefined);
    if (name === undefined) return;
    const account = decodeURIComponent(name);
    const known = new Set([...this.accounts(), account]);
    $("statement-account").replaceChildren(...[...known].sort().map((id) => new Option(id, id, false, id === account)));
    $("statement-month").value = month;
    $("statement-rows").replaceChildren();
    await this.attempt(async () => draw(await get(path(account, month))));
  }

  #save(kind) {
    const [account, month] = [$("statement-account").value, $("statement-month").value];
    return this.attempt(() => download(`${path(account, month)}&format=${kind}`, `statement-${account}-${month}.${kind}`));
  }
}
