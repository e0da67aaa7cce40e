// Answers: what does the point under the pointer, or the hit that was flown to, say? Its text and facts beside a ring.
// It does not find the point. Texts are untrusted and only ever become text nodes.

import { type Choice, branchColor, branchTitle } from "./choice";
import { minute } from "./coloring";
import { type MapData, NO_CODE, type Texts } from "./data";
import { byId, count, dot, element } from "./panel";
import { highlighted } from "./search";
import type { View } from "./view";

export class Tooltip {
  private readonly box = byId("tooltip");
  private readonly ring = byId("ring");
  private hovered = -1;
  private pinned = -1;
  /** The row that the box describes now. */
  private filled = -1;

  constructor(
    private readonly data: MapData,
    private readonly texts: Texts,
    private readonly choice: Choice,
    private readonly view: View,
  ) {}

  hover(row: number): void {
    if (row === this.hovered) return;
    this.hovered = row;
    this.show();
  }

  /** Shown while nothing is hovered; -1 = no more. */
  pin(row: number): void {
    this.pinned = row;
    if (row >= 0) this.hovered = -1;
    this.show();
  }

  /** Puts the box beside its point, after either has moved. */
  place(): void {
    const { box, ring, view, data, wanted } = this;
    const { x, y } = view.toScreen(data.x[wanted], data.y[wanted]);
    const shown = wanted >= 0 && wanted === this.filled && x >= 0 && y >= 0 && x <= view.width && y <= view.height;
    box.hidden = ring.hidden = !shown;
    if (!shown) return;
    ring.style.transform = `translate(${x}px, ${y}px)`;
    const [width, height] = [box.offsetWidth, box.offsetHeight];
    const left = x + 16 + width > view.width - 8 ? x - 16 - width : x + 16;
    const top = Math.min(Math.max(y - 20, 8), view.height - height - 8);
    box.style.transform = `translate(${Math.round(Math.max(8, left))}px, ${Math.round(Math.max(8, top))}px)`;
  }

  private get wanted(): number {
    return this.hovered >= 0 ? this.hovered : this.pinned;
  }

  private show(): void {
    if (this.wanted >= 0) void this.fill(this.wanted);
    this.place();
  }

  private async fill(row: number): Promise<void> {
    const text = await this.texts.row(row);
    if (row !== this.wanted) return;
    const code = this.data.cluster[row];
    const head = element("div", "tip-head");
    head.append(dot(branchColor(this.data, code)), element("span", "", branchTitle(this.data, code)));
    const body = element("div", "tip-text");
    body.dir = "auto";
    body.append(...highlighted(text, this.choice.words));
    const foot = element("div", "tip-facts");
    foot.append(...this.facts(row).map((fact) => element("span", "", fact)));
    foot.hidden = foot.childElementCount === 0;
    this.box.replaceChildren(head, body, foot);
    this.filled = row;
    this.place();
  }

  private facts(row: number): string[] {
    const { model, language, time, weight, meta } = this.data;
    const facts: string[] = [];
    if (model && model[row] !== NO_CODE) facts.push(meta.columns.model![model[row]]);
    if (language && language[row] !== NO_CODE) facts.push(meta.columns.language![language[row]]);
    if (time && !Number.isNaN(time[row])) facts.push(minute(time[row]));
    if (weight && weight[row] > 1) facts.push(`${count(weight[row])} times`);
    return facts;
  }
}
