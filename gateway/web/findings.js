// What needs a person, in the order of how long it has: each finding stays until it is over.

import { age } from "./table.js";

const BAD = new Set(["calendar_ended", "unreachable_exhausted", "transfer_uncertain", "wallet_differs", "switch_defective", "disk_low"]);

export function drawFindings(card, list, findings) {
  card.hidden = findings.length === 0;
  const oldest = [...findings].sort((one, other) => one.since.localeCompare(other.since));
  list.replaceChildren(...oldest.map((finding) => {
    const [item, since, text, what] = ["li", "time", "span", "b"].map((tag) => document.createElement(tag));
    item.className = BAD.has(finding.kind) ? "bad" : "warn";
    since.dateTime = finding.since;
    since.textContent = age(finding.since);
    what.textContent = finding.subject;
    text.append(what, ` ${finding.text}`);
    item.append(since, text);
    return item;
  }));
}
