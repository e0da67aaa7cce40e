// Answers: which level of the tree has its titles on the map at this scale? A group gives way to what is in it as soon as
// that has room. It depends on the scale alone, so that panning changes no title; it does not place labels.

import type { Tree } from "./tree";

/** Pixels from a title to the nearest one of the same group: at this distance most of them can be read side by side. */
const ROOM = 120;
/** Every level is seen while the view grows by this factor, and at most by this one, however close its parts lie. */
const SHORTEST = 1.5;
const LONGEST = 6;
/** A chosen group opens at a scale smaller by this factor: the titles around it are faint and need no room. */
const EARLIER = 2;

export class Levels {
  /** All codes, most points first: the order in which titles take their place. */
  readonly order: number[];
  /** Pixels per map unit at which most children of a group are ROOM apart. */
  private readonly roomy: Float64Array;
  /** Pixels per map unit from which on a group shows what is in it; Infinity for a cluster. */
  private readonly opens: Float64Array;
  private fitScale = 0;

  constructor(private readonly tree: Tree) {
    const { branches } = tree;
    this.order = [...branches.keys()].sort((a, b) => branches[b].points - branches[a].points || b - a);
    this.roomy = Float64Array.from(branches, (_, code) => ROOM / this.distance(tree.children(code)));
    this.opens = new Float64Array(branches.length).fill(Infinity);
  }

  /** `fitScale`: pixels per map unit when everything is seen. */
  fit(fitScale: number): void {
    if (fitScale === this.fitScale) return;
    this.fitScale = fitScale;
    const open = (code: number, from: number): void => {
      if (!this.tree.isGroup(code)) return;
      this.opens[code] = Math.min(Math.max(this.roomy[code], from * SHORTEST), from * LONGEST);
      for (const child of this.tree.children(code)) open(child, this.opens[code]);
    };
    for (const top of this.tree.tops) open(top, fitScale);
  }

  /** `chosen`: what lies around it is shown on its own level, at any scale, and what is in it earlier than otherwise. */
  shown(scale: number, chosen: number | null): number[] {
    const { parents } = this.tree;
    const path = new Set(chosen === null || chosen < 0 ? [] : this.tree.above(chosen));
    if (chosen !== null && scale * EARLIER >= this.opens[chosen]) path.add(chosen);
    return this.order.filter((code) => {
      const parent = parents[code];
      const reached = parent < 0 || path.has(parent) || scale >= this.opens[parent];
      return reached && scale < this.opens[code] && !path.has(code);
    });
  }

  /** The median distance of a place to the nearest other one. */
  private distance(codes: number[]): number {
    const places = codes.map((code) => this.tree.branches[code]).filter((b) => b.x !== null && b.y !== null);
    const nearest = places.map((a) =>
      places.reduce((least, b) => (a === b ? least : Math.min(least, Math.hypot(a.x! - b.x!, a.y! - b.y!))), Infinity),
    );
    return nearest.sort((a, b) => a - b)[nearest.length >> 1] ?? Infinity;
  }
}
