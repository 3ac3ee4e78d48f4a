// The operator's page over the public API: draws what the gateway says, keeps nothing of its own.

import { all, get, signIn, signOut, Unauthorized, watch } from "./api.js";
import { Chart, clock } from "./chart.js";
import { drawFindings } from "./findings.js";
import { StatementView, stating } from "./statement.js";
import { reading, Table } from "./table.js";
import { words } from "./words.js";

const POLL_MS = 3000; // without a stream
const STATE_MS = 5000; // health, broker, outbox
const RETRY_STREAM_MS = 10000;

const $ = (id) => document.getElementById(id);
const state = { meters: [], accounts: new Map(), seen: {}, busy: false, again: null };
const chart = new Chart($("chart"));
const table = new Table($("rows"), () => showChosen());

function chip(id, tone, text, title = "") {
  const element = $(id);
  element.className = `chip ${tone}`;
  element.textContent = text;
  element.title = title;
}

function notice(text) {
  $("notice").hidden = !text;
  $("notice").textContent = text;
}

// -- drawing

function drawMeters() {
  table.update(state.meters, state.accounts);
  table.ages();
  $("empty").hidden = table.find(table.filter) > 0 || state.meters.length === 0;
  const count = (test) => state.meters.filter(test).length;
  const watts = state.meters.reduce((sum, meter) => sum + Math.round(1000 * Number(reading(meter, "power")?.value ?? 0)), 0);
  $("n-meters").textContent = state.meters.length;
  $("n-supplied").textContent = count((meter) => meter.relay.observed === "closed");
  $("n-open").textContent = count((meter) => ["open", "allowed"].includes(meter.relay.observed));
  $("n-low").textContent = [...state.accounts.values()].filter((account) => account.state !== "normal").length;
  $("n-power").textContent = `${(watts / 1000).toFixed(1)} kW`;
  const wanted = decodeURIComponent(location.hash.slice(1));
  const known = state.meters.some((meter) => meter.meter === wanted);
  if (!table.selected && state.meters.length) table.select(known ? wanted : state.meters[0].meter);
  drawChosen();
}

const chosen = () => state.meters.find((meter) => meter.meter === table.selected);

function drawChosen() {
  const meter = chosen();
  if (!meter) return;
  const account = state.accounts.get(meter.account);
  $("state-account").hidden = !account;
  $("detail").textContent = [
    meter.account && `account ${meter.account}`,
    `address ${meter.address}`,
    `${meter.protocol} on ${meter.line}`,
    `relay ${meter.relay.observed}${meter.relay.desired === meter.relay.observed || meter.relay.observed === "unknown" ? "" : `, ordered ${meter.relay.desired}`}`,
  ].filter(Boolean).join(" · ");
  chart.add(meter.meter, { balance: account?.balance, power: reading(meter, "power")?.value, at: meter.last_reading?.answered });
}

async function showChosen() {
  const meter = chosen();
  if (!meter) return;
  if (!stating()) history.replaceState(null, "", `#${encodeURIComponent(meter.meter)}`);
  $("detail-title").textContent = meter.meter;
  drawChosen();
  await attempt(() => chart.show(meter, Number($("span").value)));
}

const many = (count, what) => `${count.toLocaleString()} ${what}${count === 1 ? "" : "s"}`;

function drawLines(lines) {
  $("lines").replaceChildren(...lines.map((line) => {
    const item = document.createElement("li");
    const percent = Math.round(line.utilisation * 100);
    const errors = Object.entries(line.errors).map(([kind, count]) => `${count} ${kind.replaceAll("_", " ")}`).join(", ");
    const [name, value, bar, facts] = ["b", "span", "progress", "small"].map((tag) => document.createElement(tag));
    name.textContent = line.line;
    value.textContent = line.state === "up" ? `${percent} %` : line.state;
    value.className = line.state === "up" ? "" : "badge bad";
    bar.max = 100;
    bar.value = percent;
    bar.className = percent > 90 ? "full" : "";
    bar.setAttribute("aria-label", `utilisation of ${line.line}`);
    facts.textContent = [line.endpoint, many(line.meters, "meter"), many(line.exchanges, "exchange"), errors].filter(Boolean).join(" · ");
    item.append(name, value, bar, facts);
    return item;
  }));
}

function drawEvents(events) {
  $("events").replaceChildren(...events.map((event) => {
    const [tone, sentence] = words(event);
    const [item, when, text, what] = ["li", "time", "span", "b"].map((tag) => document.createElement(tag));
    item.className = tone;
    when.dateTime = event.at;
    when.textContent = clock(event.at);
    what.textContent = event.meter ?? event.account ?? "";
    text.append(what, ` ${sentence}`);
    item.append(when, text);
    return item;
  }));
}

function drawState(health, outbox, outputs) {
  $("gateway").textContent = health.gateway;
  document.title = `${health.gateway} · wattgate`;
  const trouble = [...health.reasons, ...health.holds];
  if (health.reasons.length) chip("health", "bad", "not taking money", trouble.join("\n"));
  else if (health.holds.length) chip("health", "warn", "cuts held", trouble.join("\n"));
  else chip("health", "ok", "healthy", `wattgate ${health.version}`);
  notice(trouble.join(" · "));
  if (outbox.broker === null) chip("broker", "dim", "no broker");
  else chip("broker", outbox.connected ? "ok" : "bad", outbox.connected ? "broker connected" : "broker away", outbox.broker);
  chip("outbox", outbox.waiting > 1000 ? "warn" : "ok", `${outbox.waiting.toLocaleString()} waiting for the centre`, `${outbox.acknowledged} of ${outbox.published} published messages acknowledged`);
  const away = outputs.filter((each) => !each.connected);
  const told = outputs.map((each) => `${each.output} (${each.address}): ${each.connected ? "connected" : "away"}, ${each.waiting} waiting, ${each.dropped} dropped`);
  $("outputs").hidden = !outputs.length;
  chip("outputs", away.length ? "bad" : "ok", away.length ? `outputs away: ${away.map((each) => each.output).join(", ")}` : `${outputs.length} outputs`, told.join("\n"));
}

function drawSession(session) {
  $("sign-out").hidden = session.name === "anybody";
  $("sign-out").textContent = `Sign out ${session.name}`;
}

// -- asking

/** Whether the task succeeded; a refusal opens the question for the token, anything else is said in the head line. */
async function attempt(task) {
  try {
    await task();
    return true;
  } catch (error) {
    if (error instanceof Unauthorized) {
      if (!$("login").open) $("login").showModal();
    } else {
      chip("live", "bad", "no answer", error.message);
    }
    return false;
  }
}

const statement = new StatementView(attempt, () => state.accounts.keys());

const ASK = {
  accounts: async () => { state.accounts = new Map((await all("/api/v1/accounts", "account")).map((a) => [a.account, a])); },
  meters: async () => { state.meters = await all("/api/v1/meters", "meter"); },
  lines: async () => drawLines(await get("/api/v1/lines")),
  events: async () => {
    drawEvents(await get("/api/v1/events?limit=40"));
    drawFindings($("findings-card"), $("findings"), await get("/api/v1/findings"));
  },
};

/** Ask for what changed; a tick that comes meanwhile is asked for afterwards, once. */
async function refresh(ids) {
  if (state.busy) {
    state.again = ids;
    return;
  }
  state.busy = true;
  const parts = Object.keys(ASK).filter((part) => ids === null || ids[part] !== state.seen[part]);
  const done = await Promise.all(parts.map(async (part) => (await attempt(ASK[part])) && part));
  for (const part of done) if (part) state.seen[part] = ids?.[part];
  if (done.includes("meters") || done.includes("accounts")) drawMeters();
  state.busy = false;
  const next = state.again;
  state.again = null;
  if (next) refresh(next);
}

const refreshState = () => attempt(async () => drawState(...(await Promise.all([get("/healthz"), get("/api/v1/outbox"), get("/api/v1/outputs")]))));

async function follow() {
  try {
    await watch((ids) => {
      chip("live", "ok", "live");
      refresh(ids);
    });
  } catch (error) {
    if (error instanceof Unauthorized) return;
  }
  chip("live", "warn", `every ${POLL_MS / 1000} s`, "There is no stream of changes now; the page asks again and again.");
  const poll = setInterval(() => refresh(null), POLL_MS);
  setTimeout(() => {
    clearInterval(poll);
    follow();
  }, RETRY_STREAM_MS);
}

/** One question first: where a token is needed, it is asked for before anything else is. */
async function start() {
  await refreshState();
  if ($("login").open) return;
  attempt(async () => drawSession(await get("/api/v1/session")));
  refresh(null);
  follow();
  statement.show();
}

$("find").addEventListener("input", () => { $("empty").hidden = table.find($("find").value) > 0; });
$("span").addEventListener("change", showChosen);
$("state-account").addEventListener("click", () => statement.open(chosen()?.account));
$("login").addEventListener("close", async () => {
  await attempt(() => signIn($("token").value));
  $("token").value = "";
  start();
});
$("sign-out").addEventListener("click", async () => {
  await signOut();
  location.reload();
});
setInterval(() => table.ages(), 1000);
setInterval(() => $("login").open || refreshState(), STATE_MS);
start();
