// Answers: what is chosen now, and how do I undo it? One button per filter, and one for all of them.
// It does not filter: it reports what was clicked. Names are untrusted and only ever become text nodes.

import { type Choice, branchColor, branchTitle } from "./choice";
import type { MapData } from "./data";
import { button, byId, count, dot, element } from "./panel";

interface Undo {
  branch: () => void;
  category: () => void;
  search: () => void;
  all: () => void;
}

export function showChips(data: MapData, choice: Choice, emphasised: number, undo: Undo): void {
  const chips: HTMLElement[] = [];
  const chip = (text: string, color: string, clear: () => void): void => {
    const made = button("chip", "Remove this filter", clear);
    if (color) made.append(dot(color));
    made.append(element("span", "name", text), element("span", "x", "\u00d7"));
    chips.push(made);
  };
  const { branch, category, colors, hits, words } = choice;
  if (branch !== null) chip(branchTitle(data, branch), branchColor(data, branch), undo.branch);
  if (category !== null) chip(`${colors.title}: ${colors.entries[category].label}`, colors.entries[category].color, undo.category);
  if (hits) chip(`\u201c${words.join(" ")}\u201d`, "", undo.search);
  if (chips.length) {
    const clear = button("clear", "Show all texts (Esc)", undo.all);
    clear.id = "clear";
    clear.textContent = "Clear";
    chips.push(element("span", "shown", `${count(emphasised)} of ${count(data.meta.n)} texts`), clear);
  }
  byId("filters").replaceChildren(...chips);
}
