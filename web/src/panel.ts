// Answers: which clusters and categories are there, how large are they, and which one is chosen? Lists of buttons.
// It does not filter points: it reports what was clicked. Names are untrusted and only ever become text nodes.

import type { Coloring, Entry } from "./coloring";
import { day } from "./coloring";
import type { MapData } from "./data";

/** More buttons than this only slow the page; the filter box finds the others. */
const MOST_ROWS = 500;

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element ${id}`);
  return element as T;
}

export function element(tag: string, className: string, text = ""): HTMLElement {
  const made = document.createElement(tag);
  made.className = className;
  if (text) made.textContent = text;
  return made;
}

export function button(className: string, title: string, click: () => void): HTMLButtonElement {
  const made = element("button", className) as HTMLButtonElement;
  made.type = "button";
  if (title) made.title = title;
  made.addEventListener("click", click);
  return made;
}

/** A cluster's or category's colour as a dot; "" = it has none. */
export function dot(color: string): HTMLElement {
  const made = element("i", color ? "dot" : "dot none");
  if (color) made.style.background = color;
  return made;
}

export const count = (n: number): string => n.toLocaleString("en-US");

export function clusterList(data: MapData, selected: number | null, filter: string, pick: (code: number) => void): void {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const { clusters } = data.meta;
  const rows: { code: number; entry: Entry; hint: string }[] = [];
  let more = 0;
  for (const [code, c] of clusters.entries()) {
    const name = `${c.title} ${c.description} ${c.id}`.toLowerCase();
    if (!words.every((word) => name.includes(word))) continue;
    if (rows.length >= MOST_ROWS) more++;
    else rows.push({ code, entry: { label: c.title, count: c.size, color: c.color }, hint: c.description });
  }
  if (data.meta.noise > 0 && words.every((word) => "noise".includes(word))) {
    rows.push({ code: -1, entry: { label: "Noise", count: data.meta.noise, color: "" }, hint: "Texts in no cluster" });
  }
  const largest = Math.max(1, ...rows.filter((r) => r.code >= 0).map((r) => r.entry.count));
  const list = byId("clusters");
  list.replaceChildren(...rows.map((r) => rowButton(r.entry, r.code === selected, largest, r.hint, r.code, () => pick(r.code))));
  if (more) list.append(element("p", "more", `${count(more)} more: use the filter`));
  if (rows.length === 0) list.append(element("p", "more", clusters.length ? "No cluster has that name" : "There are no clusters"));
}

export function legend(coloring: Coloring, selected: number | null, pick: (code: number) => void): void {
  const section = byId("legend");
  section.hidden = coloring.mode === "cluster";
  if (section.hidden) return;
  byId("legend-title").textContent = coloring.title;
  const body = byId("legend-body");
  if (coloring.mode === "time") {
    body.replaceChildren(...timeScale(coloring.entries, selected, pick));
    return;
  }
  const largest = Math.max(1, ...coloring.entries.map((e) => e.count));
  const shown = coloring.entries.slice(0, MOST_ROWS);
  body.replaceChildren(...shown.map((entry, code) => rowButton(entry, code === selected, largest, "", code, () => pick(code))));
  if (shown.length === 0) body.append(element("p", "more", "No values"));
}

function rowButton(entry: Entry, chosen: boolean, largest: number, hint: string, code: number, pick: () => void): HTMLElement {
  const row = button("row", hint ? `${entry.label}\n${hint}` : entry.label, pick);
  row.dataset.code = String(code);
  row.setAttribute("aria-pressed", String(chosen));
  row.append(...rowParts(entry, largest));
  return row;
}

export function rowParts(entry: Entry, largest: number): HTMLElement[] {
  const bar = element("span", "bar");
  bar.style.width = `${Math.max(1, Math.min(100, (100 * entry.count) / largest))}%`;
  if (entry.color) bar.style.background = entry.color;
  return [dot(entry.color), element("span", "name", entry.label), element("span", "num", count(entry.count)), bar];
}

/** A small histogram: the colour scale, how many texts each period holds, and a filter by period in one. */
function timeScale(entries: Entry[], selected: number | null, pick: (code: number) => void): HTMLElement[] {
  const largest = Math.max(1, ...entries.map((e) => e.count));
  const bars = element("div", "time-bars");
  for (const [code, entry] of entries.entries()) {
    const bar = button("time-bar", `${entry.label}: ${count(entry.count)}`, () => pick(code));
    bar.setAttribute("aria-label", bar.title);
    bar.setAttribute("aria-pressed", String(code === selected));
    if (selected !== null && selected !== code) bar.classList.add("faint");
    const fill = element("span", "");
    fill.style.height = `${entry.count ? Math.max(6, (100 * entry.count) / largest) : 0}%`;
    fill.style.background = entry.color;
    bar.append(fill);
    bars.append(bar);
  }
  const ends = element("div", "time-ends");
  const [first, last] = [entries[0].label.split(" ")[0], entries[entries.length - 1].label.split(" ").pop() ?? ""];
  const middle = day((Date.parse(first) + Date.parse(last)) / 2000);
  ends.append(element("span", "", first), element("span", "", middle), element("span", "", last));
  return [bars, ends];
}
