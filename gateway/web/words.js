// Events as a person would tell them.

const list = (value) => (Array.isArray(value) ? value.join("; ") : String(value ?? ""));

const cause = (data) => (data.cause ? ` (${String(data.cause).replaceAll("_", " ")})` : "");

const KINDS = {
  gateway_started: ["info", () => "The gateway started"],
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
  command_failed: ["bad", (d) => `The ${d.verb || "command"} came to nothing${d.reason ? `: ${d.reason}` : ""}`],
  command_uncertain: ["warn", () => "No answer to a command: the relay is read to learn what happened"],
  topup_posted: ["ok", (d) => `Topped up by ${d.amount} ${d.currency}${d.bank ? ` through ${d.bank}` : ""}`],
  reading_suspect: ["warn", (d) => `A reading is not believed${d.text ? `: ${d.text}` : ""}`],
  bill_held: ["bad", (d) => `Billing is held${d.text ? `: ${d.text}` : ""}`],
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
  const [tone, say] = KINDS[event.kind] ?? ["info", () => event.kind.replaceAll("_", " ")];
  return [tone, say(event.data ?? {})];
}
