// Answers: what has the reader chosen, and which rows pass all of it? Cluster or group, category of the colouring, search.
// It does not draw and does not listen: whoever changes it says so to the page.

import { type Coloring, coloring } from "./coloring";
import type { MapData } from "./data";

export class Choice {
  colors: Coloring;
  /** Code of the chosen legend entry of the present colouring. */
  category: number | null = null;
  words: string[] = [];
  hits: Uint32Array | null = null;
  private chosen: number | null = null;
  /** Of the chosen code, see `Tree.mask`. */
  private mask: Uint8Array | null = null;
  private isHit: Uint8Array | null = null;

  constructor(private readonly data: MapData) {
    this.colors = coloring(data, "cluster");
  }

  /** Code of the chosen cluster or group; -1 = noise. */
  get branch(): number | null {
    return this.chosen;
  }

  set branch(code: number | null) {
    this.chosen = code;
    this.mask = code === null ? null : this.data.tree.mask(code);
  }

  get active(): boolean {
    return this.chosen !== null || this.category !== null || this.hits !== null;
  }

  readonly passes = (row: number): boolean =>
    (this.mask === null || this.mask[this.data.cluster[row] + 1] === 1) &&
    (this.category === null || this.colors.codeOf(row) === this.category) &&
    (this.isHit === null || this.isHit[row] === 1);

  setHits(words: string[], rows: number[] | null): void {
    this.words = words;
    this.hits = rows && Uint32Array.from(rows);
    this.isHit = rows && new Uint8Array(this.data.meta.n);
    for (const row of rows ?? []) this.isHit![row] = 1;
  }
}

/** Of a cluster or a group. */
export function branchTitle(data: MapData, code: number): string {
  return code < 0 ? "Noise" : data.tree.branches[code].title;
}

export function branchColor(data: MapData, code: number): string {
  return code < 0 ? "" : data.tree.branches[code].color;
}
