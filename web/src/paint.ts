// Answers: which colour, state and size does each point get, given the choice and the theme?
// It does not draw: the renderer does that with the bytes it gets here.

import type { Choice } from "./choice";
import { type Coloring, NONE, rgb } from "./coloring";
import type { MapData } from "./data";
import { type Renderer, State } from "./renderer";

/** Returns how many rows are emphasised. */
export function paintPoints(renderer: Renderer, data: MapData, choice: Choice): number {
  const { active, hits, colors, passes } = choice;
  let emphasised = 0;
  const state = (row: number): number => {
    if (active && !passes(row)) return State.dim;
    emphasised++;
    if (hits) return State.hit;
    return !active && colors.mode === "cluster" && data.cluster[row] < 0 ? State.noise : State.normal;
  };
  const { weight } = data;
  // A text that occurs often is drawn larger, by its logarithm and at most 2.5 times.
  const size = (row: number): number => (weight ? Math.min(40, 16 + 2.5 * Math.log2(Math.max(1, weight[row]))) : 16);
  renderer.setPoints(colors.colorOf, state, size);
  return emphasised;
}

export function paintTheme(renderer: Renderer, colors: Coloring, nPoints: number): void {
  const root = document.documentElement;
  const style = getComputedStyle(root);
  const color = (name: string) => rgb(style.getPropertyValue(name).trim());
  const share = (name: string) => color(name).map((v) => v / 255) as [number, number, number];
  const palette = new Uint8Array(256 * 4);
  for (const [i, hex] of colors.palette.entries()) {
    // On a dark page the darker hues are lifted a little towards white.
    palette.set([...rgb(hex).map((v) => (root.dataset.theme === "dark" ? v + (255 - v) * 0.16 : v)), 255], 4 * i);
  }
  palette.set([...color("--other"), 220], 4 * (NONE - 1));
  palette.set([...color("--noise"), 120], 4 * NONE);
  const faint = nPoints > 200_000 ? 0.1 : nPoints > 20_000 ? 0.16 : 0.26;
  renderer.setColors(palette, share("--page"), [...share("--dim"), faint]);
}
