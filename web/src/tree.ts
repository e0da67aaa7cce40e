// Answers: which groups lie above the clusters, and what is in each? Without a hierarchy every cluster is a top.
// It does not draw and knows no screens. Clusters keep their codes; groups have the codes after them.

import type { Cluster, Group } from "./data";

/** What clusters and groups have in common. */
export type Branch = Omit<Cluster, "id" | "group">;

export class Tree {
  readonly branches: Branch[];
  /** Code of the group right above, -1 = none. */
  readonly parents: Int32Array;
  readonly tops: number[] = [];
  private readonly below: number[][];

  constructor(
    private readonly clusters: Cluster[],
    private readonly groups: Group[],
  ) {
    const above = (group: number): number => (group < 0 ? -1 : clusters.length + group);
    this.branches = [...clusters, ...groups];
    this.parents = Int32Array.from([...clusters.map((c) => above(c.group ?? -1)), ...groups.map((g) => above(g.parent))]);
    this.below = this.branches.map(() => []);
    for (const [code, parent] of this.parents.entries()) (parent < 0 ? this.tops : this.below[parent]).push(code);
    const largest = (a: number, b: number): number =>
      this.branches[b].size - this.branches[a].size || Number(this.isGroup(b)) - Number(this.isGroup(a)) || a - b;
    for (const siblings of [this.tops, ...this.below]) siblings.sort(largest);
  }

  get hasGroups(): boolean {
    return this.groups.length > 0;
  }

  isGroup(code: number): boolean {
    return code >= this.clusters.length;
  }

  /** Largest first; nothing for a cluster and for noise. */
  children(code: number): number[] {
    return this.below[code] ?? [];
  }

  /** The groups above, nearest first. */
  *above(code: number): Generator<number> {
    for (let at = this.parents[code] ?? -1; at >= 0; at = this.parents[at]) yield at;
  }

  contains(code: number, inner: number): boolean {
    for (let at = inner; at >= 0; at = this.parents[at]) if (at === code) return true;
    return false;
  }

  /** 1 for each cluster that belongs to the code, at its own code plus one: place 0 is noise, code -1. */
  mask(code: number): Uint8Array {
    const mask = new Uint8Array(this.clusters.length + 1);
    const add = (inner: number): void => {
      if (this.isGroup(inner)) this.children(inner).forEach(add);
      else mask[inner + 1] = 1;
    };
    add(code);
    return mask;
  }
}
