// Answers: which titles fit on the screen at this zoom? Largest cluster or group first, none over another.
// It does not decide what a click does; titles are untrusted and only ever become text nodes.

import { Levels } from "./levels";
import type { Branch, Tree } from "./tree";
import type { View } from "./view";

const MAX_WIDTH = 168;
const LINE = 1.18;
const GAP = 3;
/** One label per this many square pixels at most, so that a map of many small clusters stays calm. */
const PIXELS_PER_LABEL = 18_000;
/** So many of a group's parts can bear its title, if its own place is taken. */
const SPOTS = 3;

interface Size {
  width: number;
  height: number;
  font: number;
}

export class Labels {
  /** Codes of the clusters and groups whose title is on the screen now. */
  visible: number[] = [];
  private readonly elements = new Map<number, HTMLElement>();
  private readonly sizes: (Size | undefined)[] = [];
  private readonly largest: number;
  private readonly all: number[];
  /** Without groups: every cluster, at every zoom. */
  private readonly levels: Levels | null;
  private readonly measure = document.createElement("canvas").getContext("2d");

  constructor(
    private readonly parent: HTMLElement,
    private readonly tree: Tree,
    private readonly view: View,
  ) {
    this.all = [...tree.branches.keys()];
    this.levels = tree.hasGroups ? new Levels(tree) : null;
    this.largest = tree.branches.reduce((most, { points }) => Math.max(most, points), 1);
    parent.classList.toggle("levels", tree.hasGroups);
  }

  /** `top`: nothing above this y, where the header and the filters are. */
  update(selected: number | null, top: number): void {
    const { view, tree, levels } = this;
    levels?.fit(view.fitScale);
    const candidates = levels ? levels.shown(view.at.k, selected) : this.all;
    const area = (view.width - view.inset.left - view.inset.right) * (view.height - view.inset.top - view.inset.bottom);
    const most = Math.min(60, Math.max(4, Math.floor(area / PIXELS_PER_LABEL)));
    const placed: { code: number; x: number; y: number; size: Size }[] = [];
    const place = (code: number, spot: Branch): boolean => {
      if (spot.x === null || spot.y === null) return false;
      let { x, y } = view.toScreen(spot.x, spot.y);
      if (x < view.inset.left || x > view.width - view.inset.right || y < top || y > view.height - view.inset.bottom) return false;
      const size = (this.sizes[code] ??= this.sizeOf(tree.branches[code]));
      // Close to an edge a title moves inwards rather than vanish or be cut.
      x = Math.max(view.inset.left + size.width / 2, Math.min(x, view.width - view.inset.right - size.width / 2));
      y = Math.max(top + size.height / 2, y);
      const free = placed.every(
        (p) => Math.abs(p.x - x) > (p.size.width + size.width) / 2 + GAP || Math.abs(p.y - y) > (p.size.height + size.height) / 2 + GAP,
      );
      if (free) placed.push({ code, x, y, size });
      return free;
    };
    const isChosen = (code: number): boolean => selected !== null && tree.contains(selected, code);
    const chosen = selected === null ? [] : candidates.filter(isChosen);
    const others = selected === null ? candidates : candidates.filter((code) => !isChosen(code));
    for (const code of [...chosen, ...others]) {
      if (placed.length >= most) break;
      // A group can lie in several places: what is taken or outside the window in one may be free in another.
      place(code, tree.branches[code]) || tree.children(code).slice(0, SPOTS).some((child) => place(code, tree.branches[child]));
    }
    this.visible = placed.map((p) => p.code);
    const keep = new Set(this.visible);
    for (const [code, element] of this.elements) {
      if (!keep.has(code)) {
        element.remove();
        this.elements.delete(code);
      }
    }
    for (const { code, x, y, size } of placed) {
      let element = this.elements.get(code);
      if (!element) this.elements.set(code, (element = this.create(code, size)));
      element.style.transform = `translate(${Math.round(x - size.width / 2)}px, ${Math.round(y - size.height / 2)}px)`;
      element.classList.toggle("faint", selected !== null && !isChosen(code));
      element.classList.toggle("chosen", selected === code);
    }
  }

  private create(code: number, size: Size): HTMLElement {
    const element = document.createElement("div");
    element.className = this.tree.isGroup(code) ? "label group" : "label";
    element.dataset.code = String(code);
    element.style.width = `${size.width}px`;
    element.style.fontSize = `${size.font}px`;
    const text = document.createElement("span");
    text.textContent = this.tree.branches[code].title;
    element.append(text);
    this.parent.append(element);
    return element;
  }

  private sizeOf({ points, title: whole }: Branch): Size {
    const font = Math.round((11.5 + 5 * Math.sqrt(points / this.largest)) * 2) / 2;
    const { measure } = this;
    if (measure) measure.font = `650 ${font}px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif`;
    const widthOf = (text: string): number => (measure ? measure.measureText(text).width : text.length * font * 0.6) * 1.03 + 8;
    const title = whole.slice(0, 90);
    const natural = widthOf(title);
    let width = natural;
    let lines = 1;
    // Two lines of about equal length are more compact than one long line.
    if (natural > MAX_WIDTH * 0.6) {
      lines = 2;
      const breaks = [...title.matchAll(/\s+/g)].map((gap) => gap.index);
      const halves = breaks.map((at) => Math.max(widthOf(title.slice(0, at)), widthOf(title.slice(at).trim())));
      width = Math.min(natural, ...halves);
      if (width === natural) lines = natural > MAX_WIDTH ? 2 : 1;
    }
    return { width: Math.ceil(Math.min(MAX_WIDTH, width)), height: Math.ceil(lines * font * LINE), font };
  }
}
