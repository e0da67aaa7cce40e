// Answers: which point lies nearest to a place? Flatbush does, over all points.
// It does not know screens: the caller gives a radius in map units.

import Flatbush from "flatbush";
import type { Place } from "./view";

/** When to build the index (0.2 s at 1M points), in ms: after the first portion of the first picture. */
const BUILD_AFTER = 100;

/** A function that finds the nearest row for which `accept` holds, or -1. */
export function finder(x: Float32Array, y: Float32Array): (place: Place, radius: number, accept: (row: number) => boolean) => number {
  if (x.length === 0) return () => -1;
  let built: Flatbush | null = null;
  const index = () => (built ??= build(x, y));
  setTimeout(index, BUILD_AFTER);
  return (place, radius, accept) => index().neighbors(place.x, place.y, 1, radius, accept)[0] ?? -1;
}

function build(x: Float32Array, y: Float32Array): Flatbush {
  const index = new Flatbush(x.length, 16, Float32Array);
  for (let row = 0; row < x.length; row++) index.add(x[row], y[row]);
  index.finish();
  return index;
}
