// Events as a person would tell them.

const list = (value) => (Array.isArray(value) ? value.join("; ") : String(value ?? ""));

const plain = (name) => String(name).replaceAll("_", " ");

const cause = (data) => (data.cause ? ` (${plain(data.cause)})` : "");

const when = (ms) => new Date(ms).toLocaleString();

/** How far a meter's clock is off, like "95 s slow". */
const off = (ms) => `${Math.round(Math.abs(ms) / 1000)} s ${ms < 0 ? "slow" : "fast"}`;

const KINDS = {
  gateway_started: ["info", () => "The gateway started"],
  store_restored: ["bad", (d) => `The store was restored from a backup of ${d.backup}: no money is taken until banks and centre agree`],
  payments_brought_in: ["info", (d) => `${d.new} missing payments of ${list(d.banks)} were brought in by ${d.by}`],
  bank_agreed: ["info", (d) => `Bank ${d.bank} agrees from ${d.first} to ${d.last} (${d.count} payments, ${d.total} ${d.currency}), says ${d.by}`],
  centre_agreed: ["info", (d) => `The centre has ${d.seq === null ? `nothing to say: ${d.reason}` : `received up to ${d.seq}`}, says ${d.by}`],
  money_released: ["ok", (d) => `Money is taken again, says ${d.by}`],
  configuration_changed: ["info", () => "The configuration was changed"],
  history_unavailable: ["warn", (d) => `Values of the past will never come (${d.want}): ${d.text}`],
  completeness_missed: ["warn", (d) => `Collection ${d.scheme} of ${d.day} on line ${d.line}: ${d.complete} % of ${d.target} %`],
  meter_record: ["info", (d) => `The meter itself recorded: ${d.record}`],
  low_balance_warned: ["warn", (d) => `Low balance${d.balance ? `, ${d.balance} ${d.currency}` : ""}: the customer was warned`],
  balance_exhausted: ["warn", () => "The balance is used up"],
  cut_held: ["warn", (d) => `A cut is held back: ${list(d.missing)}`],
  cut_ordered: ["warn", (d) => `Cut ordered${cause(d)}`],
  cut_verified: ["bad", (d) => `Cut, and read back as open${cause(d)}`],
  restore_ordered: ["info", () => "Restore ordered"],
  restore_verified: ["ok", () => "Supply is back, and read back as closed"],
  close_allowed: ["ok", () => "May be closed: the customer presses the button"],
  supply_restored: ["ok", () => "Supply was seen restored"],
  supply_lost: ["bad", () => "Supply was seen lost, without an order"],
  supply_protected: ["ok", (d) => `Protected until ${when(d.until_ms)} by ${d.owner}: ${d.reason}`],
  supply_unprotected: ["info", (d) => `Not protected any more, says ${d.owner}: ${d.reason}`],
  command_failed: ["bad", (d) => `The ${d.verb || "command"} came to nothing${d.reason ? `: ${d.reason}` : ""}`],
  command_uncertain: ["warn", () => "No answer to a command: the relay is read to learn what happened"],
  topup_posted: ["ok", (d) => `Topped up by ${d.amount} ${d.currency}${d.bank ? ` through ${d.bank}` : ""}`],
  reading_suspect: ["warn", (d) => `A reading is not believed${d.text ? `: ${d.text}` : ""}`],
  bill_held: ["bad", (d) => `Billing is held${d.text ? `: ${d.text}` : ""}`],
  bill_released: ["ok", (d) => `Billing goes on${d.held_ms ? `; it was held since ${when(d.held_ms)}` : ""}`],
  ledger_unsound: ["bad", (d) => `The ledger does not prove itself, and no month is closed: ${d.text}`],
  tariff_changed: ["info", (d) => `Tariff ${d.tariff}: version ${plain(d.version)} holds from ${d.from_day}`],
  fee_basis_missing: ["warn", (d) => plain(d.text)],
  register_renewed: ["info", (d) => `Register renewed (${plain(d.change)}, by ${d.by}): ${d.last_wh / 1000} kWh, then ${d.first_wh / 1000} kWh`],
  clock_off: ["warn", (d) => `The meter's clock is ${off(d.offset_ms)}`],
  clock_set: ["ok", (d) => `The meter's clock was set; it was ${off(d.was_ms)}`],
  clock_right: ["ok", () => "The meter's clock is right again"],
  clock_fault: ["bad", (d) => `Clock: ${d.text}`],
  limit_exceeded: ["warn", (d) => `Power above the limit: ${d.power_w} W, allowed ${d.limit_w} W`],
  limit_cut: ["bad", (d) => `Cut by the load limit${d.power_w ? `: ${d.power_w} W, allowed ${d.limit_w} W` : ""}`],
  limit_reclosed: ["ok", () => "The load limit gives supply back"],
  limit_locked: ["bad", () => "The load limit locked: a person must release it"],
  limit_released: ["ok", () => "The load limit was released"],
  meter_silent: ["warn", (d) => `The meter does not answer${d.text ? `: ${d.text}` : ""}`],
  meter_back: ["ok", () => "The meter answers again"],
  line_down: ["bad", (d) => `Line ${d.line ?? ""} is down${d.text ? `: ${d.text}` : ""}`],
  line_up: ["ok", (d) => `Line ${d.line ?? ""} works again`],
  ack_refused: ["warn", () => "An acknowledgement of the centre was refused"],
  command_unreadable: ["warn", () => "A command could not be read"],
};

/** [tone, sentence] of an event; a kind this page does not know keeps its own name. */
export function words(event) {
  const [tone, say] = KINDS[event.kind] ?? ["info", () => plain(event.kind)];
  return [tone, say(event.data ?? {})];
}
