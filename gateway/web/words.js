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
  delivery_changed: [
    "info",
    (d) => `${d.amount} ${d.currency} ${d.act === "refund" ? "out of" : "into"} the meter: ${plain(d.state)}${d.reason ? `, ${d.reason}` : ""}`,
  ],
  wallet_aligned: ["warn", (d) => `The books follow the meter's wallet: ${d.reason}`],
  authority_changed: ["info", (d) => `The account's money is held by the ${d.to} from now on`],
  authority_kept: ["warn", (d) => `Who holds the account's money does not change: ${d.reason}`],
  meter_record: ["info", (d) => `The meter itself recorded: ${d.record}`],
  low_balance_warned: ["warn", (d) => `Low balance${d.balance ? `, ${d.balance} ${d.currency}` : ""}: the customer was warned`],
  customer_told: ["info", (d) => `The customer was told (${plain(d.step)})`],
  notices_failed: ["warn", (d) => `Notices of the last day: ${d.failed} reached nobody, ${d.bad_contacts} contacts are bad`],
  balance_exhausted: ["warn", () => "The balance is used up"],
  emergency_offered: ["warn", (d) => `Emergency credit of ${d.amount} ${d.currency} is offered`],
  emergency_lent: ["warn", (d) => `Emergency credit of ${d.amount} ${d.currency} was taken${d.by === "rules" ? "" : `, says ${d.by}`}`],
  cut_announced: ["warn", (d) => `A cut is announced for ${when(d.due_ms)}`],
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
  meter_told: ["info", (d) => `The meter was told: ${d.verb} (${(d.evidence || []).join(", ")})`],
  topup_posted: ["ok", (d) => `Topped up by ${d.amount} ${d.currency}${d.bank ? ` through ${d.bank}` : ""}`],
  topup_reversed: ["warn", (d) => `A payment of ${d.amount} ${d.currency} was taken back${d.bank ? ` by ${d.bank}` : ""}${d.reason ? `: ${d.reason}` : ""}`],
  bank_settled: ["ok", (d) => `${d.bank} paid over ${d.amount} ${d.currency} for ${d.accounting_date}`],
  day_reconciled: ["info", (d) => `${d.bank}'s file of ${d.accounting_date}: ${d.matched} lines match, ${d.differences} differ`],
  day_closed: ["ok", (d) => `${d.bank}'s day ${d.accounting_date} is closed`],
  difference_resolved: ["info", (d) => `A difference with ${d.bank} is resolved (${d.action}): ${d.told}`],
  reading_suspect: ["warn", (d) => `A reading is not believed${d.text ? `: ${d.text}` : ""}`],
  bill_held: ["bad", (d) => `Billing is held${d.text ? `: ${d.text}` : ""}`],
  bill_released: ["ok", (d) => `Billing goes on${d.held_ms ? `; it was held since ${when(d.held_ms)}` : ""}`],
  ledger_unsound: ["bad", (d) => `The ledger does not prove itself, and no month is closed: ${d.text}`],
  tariff_changed: ["info", (d) => `Tariff ${d.tariff}: version ${plain(d.version)} holds from ${d.from_day}`],
  fee_basis_missing: ["warn", (d) => plain(d.text)],
  register_renewed: ["info", (d) => `Register renewed (${plain(d.change)}, by ${d.by}): ${d.last_wh / 1000} kWh, then ${d.first_wh / 1000} kWh`],
  account_opened: ["ok", (d) => `The account was opened with ${d.balance} ${d.currency}, says ${d.by}`],
  account_closed: ["info", (d) => `The account was closed with ${d.balance} ${d.currency}, says ${d.by}`],
  meter_moved: ["info", (d) => `The meter ${d.way === "came" ? "came to" : "left"} the account${d.wh === null ? "" : ` at ${d.wh / 1000} kWh`}, says ${d.by}`],
  meter_changed: ["info", (d) => `The meter was exchanged (${d.was}, now ${d.address}), says ${d.by}`],
  ct_changed: ["info", (d) => `The transformers were changed: ratio ${d.was}, now ${d.ratio}, says ${d.by}`],
  refund_begun: ["info", (d) => `${d.amount} ${d.currency} are put aside to be refunded through ${d.via}, says ${d.by}`],
  refund_paid: ["info", (d) => `${d.amount} ${d.currency} were refunded against receipt ${d.receipt}, says ${d.by}`],
  refund_voided: ["info", (d) => `${d.amount} ${d.currency} were not refunded and are back on the account, says ${d.by}`],
  archive_changed: ["info", (d) => `The archive was changed: ${d.accounts} accounts, ${d.meters} meters, ${d.removed} removed, ${d.tariffs || 0} tariffs, ${d.calendars || 0} calendars, says ${d.by}`],
  clock_off: ["warn", (d) => `The meter's clock is ${off(d.offset_ms)}`],
  clock_set: ["ok", (d) => `The meter's clock was set; it was ${off(d.was_ms)}`],
  clock_right: ["ok", () => "The meter's clock is right again"],
  clock_fault: ["bad", (d) => `Clock: ${d.text}`],
  cuts_stopped: ["bad", (d) => `Cuts are stopped by ${d.who}: ${d.reason}`],
  cuts_resumed: ["ok", (d) => `Cuts go on, says ${d.who}: ${d.reason}`],
  cut_quarantined: ["warn", (d) => `A cut of ${d.who} waits for another person: ${d.why}`],
  cut_delayed: ["warn", () => "The meter holds the cut back until the current falls"],
  order_overruled: ["warn", (d) => `${d.order} was overruled: ${d.rule}`],
  approval_asked: ["warn", (d) => `${d.who} asks a second person for ${d.act} of ${d.subject}`],
  approval_decided: ["ok", (d) => `${d.act} of ${d.subject}: ${d.state}${d.who ? ` by ${d.who}` : ""}`],
  limit_warned: ["warn", (d) => `Power near the limit: ${d.power_w} W of ${d.limit_w} W`],
  limit_exceeded: ["warn", (d) => `Power above the limit: ${d.power_w} W, allowed ${d.limit_w} W`],
  limit_cut: ["bad", (d) => `Cut by the load limit${d.power_w ? `: ${d.power_w} W, allowed ${d.limit_w} W` : ""}`],
  limit_reclosed: ["ok", () => "The load limit gives supply back"],
  limit_locked: ["bad", () => "The load limit locked: a person must release it"],
  limit_released: ["ok", () => "The load limit was released"],
  limit_changed: ["ok", (d) => `The load limit was changed by ${d.by}`],
  limit_written: ["ok", (d) => `The meter holds ${d.parameter} = ${d.value}`],
  malignant_load: ["bad", (d) => `Load like a heater's was switched on: ${d.step_w} W at power factor ${d.power_factor / 1000} (advisory)`],
  month_amount_used: ["warn", (d) => `The month's ${d.amount_wh / 1000} kWh are used up${d.off ? ": supply is switched off" : ""}`],
  meter_silent: ["warn", (d) => `The meter does not answer${d.text ? `: ${d.text}` : ""}`],
  meter_back: ["ok", () => "The meter answers again"],
  line_down: ["bad", (d) => `Line ${d.line ?? ""} is down${d.text ? `: ${d.text}` : ""}`],
  line_up: ["ok", (d) => `Line ${d.line ?? ""} works again`],
  ack_refused: ["warn", () => "An acknowledgement of the centre was refused"],
  dropped: ["warn", (d) => `Messages were dropped before the centre had them: ${d.reason}`],
  finding_opened: ["warn", (d) => `${d.subject ? `${d.subject}: ` : ""}${d.text}`],
  finding_closed: ["ok", (d) => `${d.subject ? `${d.subject}: ` : ""}over (${plain(d.finding)})`],
  command_unreadable: ["warn", () => "A command could not be read"],
  command_refused: ["warn", (d) => `A command of the centre was refused: ${d.reason || d.code || ""}`],
  uplink_key_changed: ["warn", (d) => `A key of the centre changed: ${d.key || ""}`],
};

/** [tone, sentence] of an event; a kind this page does not know keeps its own name. */
export function words(event) {
  const [tone, say] = KINDS[event.kind] ?? ["info", () => plain(event.kind)];
  return [tone, say(event.data ?? {})];
}
