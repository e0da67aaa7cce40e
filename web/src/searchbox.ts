// Answers: what does the reader see while typing a search: count, list of hits, keys to walk through it?
// It does not search itself and does not move the map: it reports hits and the row that was picked.

import { type Choice, branchColor } from "./choice";
import type { MapData, Texts } from "./data";
import { button, byId, count, dot, element } from "./panel";
import { highlighted, search, wordsOf } from "./search";

const HIT_ROWS = 100;
/** While a search runs, the map shows what was found so far at most this often. */
const REPORT_MS = 500;

export class SearchBox {
  private readonly input = byId<HTMLInputElement>("search");
  private readonly list = byId("hits");
  private number = 0;

  constructor(
    private readonly data: MapData,
    private readonly texts: Texts,
    private readonly choice: Choice,
    private readonly changed: () => void,
    private readonly pick: (row: number) => void,
  ) {
    this.listen();
  }

  focus(): void {
    this.input.focus();
  }

  hideList(): void {
    this.list.hidden = true;
  }

  clear(): void {
    this.number++;
    this.input.value = byId("hit-count").textContent = "";
    this.hideList();
    this.choice.setHits([], null);
    this.changed();
  }

  private async run(): Promise<void> {
    const number = ++this.number;
    const words = wordsOf(this.input.value);
    if (words.length === 0) {
      if (this.choice.hits) this.clear();
      return this.hideList();
    }
    let reported = 0;
    await search(this.texts, words, () => number !== this.number, ({ found, done }) => {
      byId("hit-count").textContent = `${count(found.length)}${done ? "" : "\u2026"}`;
      if (!done && performance.now() - reported < REPORT_MS) return;
      reported = performance.now();
      this.choice.setHits(words, found);
      this.changed();
    });
    if (number === this.number) await this.showList(number);
  }

  private async showList(number: number): Promise<void> {
    const { hits, passes, words } = this.choice;
    // Hits that another filter hides are counted but not listed.
    const visible = (hits ?? new Uint32Array()).filter(passes);
    const rows = [...visible.subarray(0, HIT_ROWS)];
    const found = await Promise.all(rows.map((row) => this.texts.row(row)));
    if (number !== this.number) return;
    this.list.replaceChildren(...rows.map((row, i) => this.hit(row, found[i], words)));
    const rest = visible.length - rows.length;
    if (rest) this.list.append(element("p", "more", `${count(rest)} more on the map`));
    if (rows.length === 0) this.list.append(element("p", "more", hits?.length ? "The other filters hide all hits" : "No text holds all these words"));
    this.list.hidden = document.activeElement !== this.input;
  }

  private hit(row: number, text: string, words: string[]): HTMLElement {
    const made = button("hit", "", () => {
      this.hideList();
      this.pick(row);
    });
    made.setAttribute("role", "option");
    const part = element("span", "snippet");
    part.append(...highlighted(snippet(text, words), words));
    made.append(dot(branchColor(this.data, this.data.cluster[row])), part);
    return made;
  }

  private listen(): void {
    const { input, list } = this;
    let waiting = 0;
    input.addEventListener("input", () => {
      clearTimeout(waiting);
      // Long enough not to search for every letter, short enough to feel immediate.
      waiting = window.setTimeout(() => void this.run(), this.data.meta.n > 100_000 ? 220 : 90);
    });
    input.addEventListener("focus", () => (list.hidden = this.choice.hits === null));
    input.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowDown" && event.key !== "Enter") return;
      const first = list.querySelector<HTMLElement>(".hit");
      if (event.key === "Enter") first?.click();
      else first?.focus();
      event.preventDefault();
    });
    list.addEventListener("keydown", (event) => {
      const to = event.key === "ArrowDown" ? "nextElementSibling" : event.key === "ArrowUp" ? "previousElementSibling" : null;
      if (!to) return;
      event.preventDefault();
      ((document.activeElement?.[to] as HTMLElement | null) ?? input).focus();
    });
    document.addEventListener("pointerdown", (event) => {
      if (!(event.target as Element).closest(".search")) this.hideList();
    });
  }
}

/** The part of a text around its first match. */
function snippet(text: string, words: string[]): string {
  const at = Math.min(...words.map((word) => text.toLowerCase().indexOf(word)).filter((i) => i >= 0), text.length);
  const from = at > 60 ? at - 40 : 0;
  return (from ? "\u2026" : "") + text.slice(from, from + 180).replace(/\s+/g, " ");
}
