// Answers: which colour does each row have under "colour by cluster, model, language or time", and what does the legend
// say? It does not draw: it turns columns into codes and codes into colours.

import { type MapData, NO_CODE } from "./data";

export type Mode = "cluster" | "model" | "language" | "time";

export interface Entry {
  label: string;
  count: number;
  color: string;
}

export interface Coloring {
  mode: Mode;
  title: string;
  /** Index into `entries` per row; -1 = no value. */
  codeOf: (row: number) => number;
  /** Index into `palette` per row. */
  colorOf: (row: number) => number;
  palette: string[];
  entries: Entry[];
}

/** Palette index of rows without a value and of noise. */
export const NONE = 255;
const OTHER = 254;
const TIME_BINS = 24;
/** Categories with a colour of their own; the others share one grey. */
const OWN_COLORS = 20;

export function coloring(data: MapData, mode: Mode): Coloring {
  if (mode === "model" && data.model) return byCategory(data, mode, "Model", data.meta.columns.model ?? [], data.model);
  if (mode === "language" && data.language) return byCategory(data, mode, "Language", data.meta.columns.language ?? [], data.language);
  if (mode === "time" && data.time) return byTime(data.time);
  return byCluster(data);
}

export function modes(data: MapData): Mode[] {
  const all: Mode[] = ["cluster"];
  if (data.model) all.push("model");
  if (data.language) all.push("language");
  if (data.time && data.time.some((t) => !Number.isNaN(t))) all.push("time");
  return all;
}

export function rgb(hex: string): [number, number, number] {
  const value = parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

function byCluster(data: MapData): Coloring {
  const { clusters } = data.meta;
  const palette = [...new Set(clusters.map((c) => c.color))];
  const index = Uint8Array.from(clusters, (c) => palette.indexOf(c.color));
  return {
    mode: "cluster",
    title: "Cluster",
    codeOf: (row) => data.cluster[row],
    colorOf: (row) => (data.cluster[row] < 0 ? NONE : index[data.cluster[row]]),
    palette,
    entries: clusters.map((c) => ({ label: c.title, count: c.size, color: c.color })),
  };
}

function byCategory(data: MapData, mode: Mode, title: string, names: string[], codes: Uint16Array): Coloring {
  const counts = new Uint32Array(names.length);
  for (const code of codes) if (code !== NO_CODE) counts[code]++;
  const { few, many } = data.meta.palettes;
  const palette = names.length <= few.length ? few : many.slice(0, OWN_COLORS);
  return {
    mode,
    title,
    codeOf: (row) => (codes[row] === NO_CODE ? -1 : codes[row]),
    colorOf: (row) => (codes[row] === NO_CODE ? NONE : codes[row] < palette.length ? codes[row] : OTHER),
    palette,
    entries: names.map((label, i) => ({ label, count: counts[i], color: palette[i] ?? "" })),
  };
}

function byTime(time: Float64Array): Coloring {
  const known = time.filter((t) => !Number.isNaN(t)).sort();
  // The ends of the scale leave out the outermost 0.5%: one wrong clock must not turn everything else into one colour.
  const low = known[Math.floor((known.length - 1) * 0.005)];
  const high = Math.max(known[Math.ceil((known.length - 1) * 0.995)], low + 1);
  const binOf = (t: number) => Math.min(TIME_BINS - 1, Math.max(0, Math.floor(((t - low) / (high - low)) * TIME_BINS)));
  const codes = Int8Array.from(time, (t) => (Number.isNaN(t) ? -1 : binOf(t)));
  const counts = new Uint32Array(TIME_BINS);
  for (const code of codes) if (code >= 0) counts[code]++;
  const palette = Array.from({ length: TIME_BINS }, (_, i) => sequential(i / (TIME_BINS - 1)));
  const width = (high - low) / TIME_BINS;
  const entries = palette.map((color, i) => ({
    label: `${day(low + i * width)} \u2013 ${day(low + (i + 1) * width)}`,
    count: counts[i],
    color,
  }));
  return { mode: "time", title: "Time", codeOf: (row) => codes[row], colorOf: (row) => (codes[row] < 0 ? NONE : codes[row]), palette, entries };
}

export function day(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().slice(0, 10);
}

export function minute(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? "" : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** From blue over violet and red to yellow: light enough for a dark page, dark enough for a light one. */
const STOPS = ["#3355c8", "#7b4fc9", "#b8479f", "#df5a6b", "#ee8442", "#e9b824"];

function sequential(t: number): string {
  const at = Math.min(t * (STOPS.length - 1), STOPS.length - 1.0001);
  const [a, b] = [rgb(STOPS[Math.floor(at)]), rgb(STOPS[Math.floor(at) + 1])];
  const mixed = a.map((v, i) => Math.round(v + (b[i] - v) * (at % 1)));
  return `#${mixed.map((v) => v.toString(16).padStart(2, "0")).join("")}`;
}
