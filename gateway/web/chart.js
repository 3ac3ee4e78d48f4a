// Balance (steps, left axis) and power (line, right axis) of one meter. Points are kept in order of time and thrown away by age.

import { get, now } from "./api.js";

const MOST_POINTS = 6000; // six hours at one value in 4 s; older points go first
const PAGES = 4; // of readings, 5000 each, oldest first

const uPlot = window.uPlot;
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Time of day, 24 hours. */
export const clock = (at, parts = { hour: "2-digit", minute: "2-digit", second: "2-digit" }) =>
  new Date(at).toLocaleTimeString([], { hourCycle: "h23", ...parts });

const since = (minutes) => encodeURIComponent(new Date(now() - minutes * 60000).toISOString());

async function powerHistory(meter, minutes) {
  const points = [];
  let from = since(minutes);
  for (let page = 0; page < PAGES; page += 1) {
    const part = await get(`/api/v1/meters/${meter}/readings?quantity=power&limit=5000&since=${from}`);
    for (const read of part) points.push([Date.parse(read.answered) / 1000, read.items[0].value]);
    const last = part.at(-1)?.answered;
    if (!last || now() - Date.parse(last) < 60000) break;
    from = encodeURIComponent(new Date(Date.parse(last) + 1).toISOString());
  }
  return points;
}

async function balanceHistory(account, minutes) {
  if (!account) return [[], ""];
  const history = await get(`/api/v1/accounts/${account}/balance_history?since=${since(minutes)}`);
  return [history.points.map((point) => [Date.parse(point.at) / 1000, point.balance]), history.currency];
}

export class Chart {
  constructor(box) {
    this.box = box;
    this.plot = null;
    this.series = { balance: [], power: [] };
    new ResizeObserver(() => this.plot?.setSize(this.#size())).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#build());
  }

  /** Load a meter's past and draw it; an answer that comes after another meter was chosen is dropped. */
  async show(meter, minutes) {
    this.wanted = `${meter.meter}/${minutes}`;
    const wanted = this.wanted;
    const [[balance, currency], power] = await Promise.all([
      balanceHistory(meter.account, minutes),
      powerHistory(meter.meter, minutes),
    ]);
    if (this.wanted !== wanted) return;
    this.shown = meter.meter;
    this.minutes = minutes;
    this.series = { balance, power };
    this.currency = currency;
    this.#build();
  }

  /** The newest values of a meter, as decimal strings; ignored while another one is shown. */
  add(meter, { balance, power, at }) {
    if (!this.plot || this.shown !== meter) return;
    this.#push(this.series.balance, now() / 1000, balance);
    this.#push(this.series.power, Date.parse(at) / 1000, power);
    this.#draw();
  }

  #push(points, at, value) {
    const last = points.at(-1);
    if (value == null || !at || (last && at <= last[0])) return;
    if (points.length > 1 && last[1] === value && points.at(-2)[1] === value) points.pop(); // flat: move its end
    points.push([at, value]);
    if (points.length > MOST_POINTS) points.shift();
  }

  #draw() {
    const from = now() / 1000 - this.minutes * 60;
    const tables = Object.values(this.series).map((points) => {
      const kept = points.filter((point) => point[0] >= from);
      return [kept.map((point) => point[0]), kept.map((point) => (point[1] == null ? null : Number(point[1])))];
    });
    this.plot.setData(uPlot.join(tables));
  }

  /** The text that stood at or before this moment: what is shown is what was given, not the number that was drawn. */
  #text(points, at) {
    let found = "–";
    for (const point of points) {
      if (point[0] > at) break;
      found = point[1] ?? "–";
    }
    return found;
  }

  #size() {
    return { width: Math.max(240, this.box.clientWidth), height: 230 };
  }

  #build() {
    this.plot?.destroy();
    const [ink, grid, money, load] = ["--ink-soft", "--grid", "--money", "--load"].map(style);
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid }, font: "12px system-ui" };
    const legend = (points, unit) => (plot, value, series, index) =>
      `${this.#text(this.series[points], index == null ? Infinity : plot.data[0][index])} ${unit}`;
    this.plot = new uPlot({
      ...this.#size(),
      cursor: { y: false },
      scales: { x: { time: true }, balance: { range: { min: { pad: 0.1 }, max: { pad: 0.1 } } }, power: { range: { min: { pad: 0, soft: 0, mode: 1 }, max: { pad: 0.1, soft: 1, mode: 2 } } } },
      axes: [
        { ...axis, values: (plot, ticks) => ticks.map((tick) => clock(tick * 1000, { hour: "2-digit", minute: "2-digit" })) },
        { ...axis, scale: "balance", stroke: money, size: 56 },
        { ...axis, scale: "power", side: 1, stroke: load, size: 46, grid: { show: false } },
      ],
      series: [
        { label: "at", value: (plot, at) => (at == null ? "now" : clock(at * 1000)) },
        { label: "balance", scale: "balance", stroke: money, width: 2, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false }, value: legend("balance", this.currency) },
        { label: "power", scale: "power", stroke: load, width: 1.5, points: { show: false }, value: legend("power", "kW") },
      ],
    }, [[], [], []], this.box);
    this.#draw();
  }
}
