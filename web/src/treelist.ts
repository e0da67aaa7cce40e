// Answers: which groups and clusters are there, what is in what, and which one is chosen? A tree for pointer and keys.
// It does not filter points: it reports what was picked. Names are untrusted and only ever become text nodes.

import type { MapData } from "./data";
import { byId, count, element, rowParts } from "./panel";

/** More rows than this only slow the page; closing a group or the filter box brings the others. */
const MOST_ROWS = 1000;

interface Row {
  code: number;
  level: number;
  position: number;
  siblings: number;
}

export class TreeList {
  private readonly box = byId("clusters");
  private readonly names: string[];
  /** Groups that the reader has opened, and, while there is a filter, those whose state the reader has changed. */
  private readonly opened = new Set<number>();
  private readonly toggled = new Set<number>();
  private words: string[] = [];
  private filter = "";
  /** Whether a code matches the filter, and whether something below it does. */
  private matches: Uint8Array;
  private leads: Uint8Array;
  private rows: Row[] = [];
  private selected: number | null = null;
  /** The row that the Tab key reaches. */
  private current: number | null = null;

  constructor(
    private readonly data: MapData,
    private readonly pick: (code: number) => void,
  ) {
    const { clusters } = data.meta;
    this.names = data.tree.branches.map((b, code) => `${b.title} ${b.description} ${clusters[code]?.id ?? ""}`.toLowerCase());
    this.matches = new Uint8Array(this.names.length);
    this.leads = new Uint8Array(this.names.length);
    this.box.classList.add("tree");
    this.box.setAttribute("role", "tree");
    this.box.setAttribute("aria-label", "Groups and clusters");
    this.box.addEventListener("click", (event) => this.click(event));
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.box.addEventListener("focusin", (event) => this.moveTo(codeOf(event.target), false));
  }

  draw(selected: number | null, filter: string): void {
    const chosenAnew = selected !== this.selected && selected !== null;
    this.selected = selected;
    if (filter !== this.filter) this.match(filter);
    if (chosenAnew) for (const group of this.data.tree.above(selected)) this.opened.add(group);
    this.render();
    if (chosenAnew) this.element(selected)?.scrollIntoView({ block: "nearest" });
  }

  private match(filter: string): void {
    const { tree } = this.data;
    this.filter = filter;
    this.toggled.clear();
    this.words = filter.toLowerCase().split(/\s+/).filter(Boolean);
    this.leads.fill(0);
    for (const [code, name] of this.names.entries()) {
      this.matches[code] = Number(this.words.every((word) => name.includes(word)));
      if (this.matches[code]) for (const group of tree.above(code)) this.leads[group] = 1;
    }
  }

  private isOpen(code: number): boolean {
    return this.words.length ? (this.leads[code] === 1) !== this.toggled.has(code) : this.opened.has(code);
  }

  private toggle(code: number): void {
    const changed = this.words.length ? this.toggled : this.opened;
    if (!changed.delete(code)) changed.add(code);
    this.current = code;
    this.render();
  }

  private render(): void {
    const { tree, meta } = this.data;
    const hadFocus = this.box.contains(document.activeElement);
    const withNoise = meta.noise > 0 && this.words.every((word) => "noise".includes(word));
    this.rows = [];
    // Under a filter a group shows what matches in it; one that only matches itself shows everything, when opened.
    const walk = (codes: number[], level: number, all: boolean): void => {
      const kept = all ? codes : codes.filter((code) => this.matches[code] || this.leads[code]);
      const siblings = kept.length + Number(level === 1 && withNoise);
      for (const [i, code] of kept.entries()) {
        this.rows.push({ code, level, position: i + 1, siblings });
        if (this.isOpen(code)) walk(tree.children(code), level + 1, all || !this.leads[code]);
      }
    };
    walk(tree.tops, 1, this.words.length === 0);
    const more = this.rows.length - MOST_ROWS;
    if (more > 0) this.rows.length = MOST_ROWS;
    if (withNoise) {
      const last = 1 + this.rows.filter((row) => row.level === 1).length;
      this.rows.push({ code: -1, level: 1, position: last, siblings: last });
    }
    if (!this.rows.some((row) => row.code === this.current)) this.current = this.rows[0]?.code ?? null;
    const largest = Math.max(1, ...tree.tops.map((code) => tree.branches[code].size));
    this.box.replaceChildren(...this.rows.map((row) => this.treeItem(row, largest)));
    if (more > 0) this.box.append(element("p", "more", `${count(more)} more: use the filter`));
    if (this.rows.length === 0) this.box.append(element("p", "more", "No group and no cluster has that name"));
    if (hadFocus && this.current !== null) this.element(this.current)?.focus({ preventScroll: true });
  }

  private treeItem({ code, level, position, siblings }: Row, largest: number): HTMLElement {
    const { tree, meta } = this.data;
    const branch = tree.branches[code] ?? { title: "Noise", description: "Texts in no cluster", size: meta.noise, color: "" };
    const made = element("div", tree.isGroup(code) ? "row group" : "row");
    made.dataset.code = String(code);
    made.title = branch.description ? `${branch.title}\n${branch.description}` : branch.title;
    made.tabIndex = code === this.current ? 0 : -1;
    made.style.setProperty("--level", String(level - 1));
    const facts = { level, setsize: siblings, posinset: position, selected: code === this.selected };
    made.setAttribute("role", "treeitem");
    for (const [name, value] of Object.entries(facts)) made.setAttribute(`aria-${name}`, String(value));
    if (tree.isGroup(code)) made.setAttribute("aria-expanded", String(this.isOpen(code)));
    made.append(element("span", "twist"), ...rowParts({ label: branch.title, count: branch.size, color: branch.color }, largest));
    return made;
  }

  private element(code: number): HTMLElement | null {
    return this.box.querySelector(`[data-code="${code}"]`);
  }

  /** Makes a row the one that has, or would get, the focus. */
  private moveTo(code: number | null, focus = true): void {
    if (code === null) return;
    if (this.current !== null) this.element(this.current)?.setAttribute("tabindex", "-1");
    this.current = code;
    const to = this.element(code);
    to?.setAttribute("tabindex", "0");
    if (focus) to?.focus();
  }

  private click(event: MouseEvent): void {
    const code = codeOf(event.target);
    if (code === null) return;
    if (this.data.tree.isGroup(code) && (event.target as Element).closest(".twist")) this.toggle(code);
    else this.pick(code);
  }

  private key(event: KeyboardEvent): void {
    const code = codeOf(event.target);
    if (code === null || event.ctrlKey || event.metaKey || event.altKey) return;
    const { tree } = this.data;
    const at = this.rows.findIndex((row) => row.code === code);
    const go = (row: number): void => this.moveTo(this.rows[Math.max(0, Math.min(this.rows.length - 1, row))].code);
    const parent = tree.parents[code] ?? -1;
    const actions: Record<string, () => void> = {
      ArrowDown: () => go(at + 1),
      ArrowUp: () => go(at - 1),
      Home: () => go(0),
      End: () => go(this.rows.length - 1),
      ArrowRight: () => {
        if (!tree.isGroup(code)) return;
        if (this.isOpen(code)) go(at + 1);
        else this.toggle(code);
      },
      ArrowLeft: () => {
        if (tree.isGroup(code) && this.isOpen(code)) this.toggle(code);
        else if (parent >= 0) this.moveTo(parent);
      },
      Enter: () => this.pick(code),
      " ": () => this.pick(code),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}

function codeOf(target: EventTarget | null): number | null {
  const row = (target as Element | null)?.closest<HTMLElement>(".row");
  return row ? Number(row.dataset.code) : null;
}
