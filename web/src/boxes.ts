// Answers: where is most of a cluster or group? Outliers must not make the view useless, so 3% on each side are left out.
// It does not know screens: the view fits itself to the box.

import type { MapData } from "./data";
import type { Box } from "./view";

/** null: it has no points. */
export function boxOf(data: MapData, code: number): Box | null {
  const rows: number[] = [];
  const mask = data.tree.mask(code);
  for (let row = 0; row < data.meta.n; row++) if (mask[data.cluster[row] + 1]) rows.push(row);
  if (rows.length === 0) return null;
  const ends = (values: Float32Array): [number, number] => {
    const sorted = Float32Array.from(rows, (row) => values[row]).sort();
    const cut = Math.floor(sorted.length * 0.03);
    const [low, high] = [sorted[cut], sorted[sorted.length - 1 - cut]];
    const margin = Math.max((high - low) * 0.35, 0.01);
    return [low - margin, high + margin];
  };
  const [[x0, x1], [y0, y1]] = [ends(data.x), ends(data.y)];
  return { x0, x1, y0, y1 };
}
