// Answers: what has the reader chosen, and which rows pass all of it? Cluster, category of the colouring, and search.
// It does not draw and does not listen: whoever changes it says so to the page.

import { type Coloring, coloring } from "./coloring";
import type { MapData } from "./data";

export class Choice {
  colors: Coloring;
  /** Code of the chosen cluster; -1 = noise. */
  cluster: number | null = null;
  /** Code of the chosen legend entry of the present colouring. */
  category: number | null = null;
  words: string[] = [];
  hits: Uint32Array | null = null;
  private isHit: Uint8Array | null = null;

  constructor(private readonly data: MapData) {
    this.colors = coloring(data, "cluster");
  }

  get active(): boolean {
    return this.cluster !== null || this.category !== null || this.hits !== null;
  }

  readonly passes = (row: number): boolean =>
    (this.cluster === null || this.data.cluster[row] === this.cluster) &&
    (this.category === null || this.colors.codeOf(row) === this.category) &&
    (this.isHit === null || this.isHit[row] === 1);

  setHits(words: string[], rows: number[] | null): void {
    this.words = words;
    this.hits = rows && Uint32Array.from(rows);
    this.isHit = rows && new Uint8Array(this.data.meta.n);
    for (const row of rows ?? []) this.isHit![row] = 1;
  }
}

export function clusterTitle(data: MapData, code: number): string {
  return code < 0 ? "Noise" : data.meta.clusters[code].title;
}

export function clusterColor(data: MapData, code: number): string {
  return code < 0 ? "" : data.meta.clusters[code].color;
}
