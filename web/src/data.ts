// Answers: which rows, clusters and columns did map.py put into this page? It decodes the data blocks of the document.
// It does not draw, filter or search, and it fetches nothing: the blocks are script elements of an unknown type.

import { Tree } from "./tree";

export interface Cluster {
  id: number;
  title: string;
  description: string;
  size: number;
  points: number;
  x: number | null;
  y: number | null;
  color: string;
  /** Index of the group it is in, -1 = none; only where there are groups. */
  group?: number;
}

/** A group of clusters, or of groups, of a hierarchy. */
export interface Group extends Omit<Cluster, "id" | "group"> {
  /** Index of the group it is in, which comes before it; -1 = a top. */
  parent: number;
}

interface Meta {
  title: string;
  note: string;
  n: number;
  blockRows: number;
  columns: { model?: string[]; language?: string[]; time?: boolean };
  clusters: Cluster[];
  groups?: Group[];
  noise: number;
  /** x0, x1, y0, y1 of the first view. */
  box: [number, number, number, number];
  palettes: { few: string[]; many: string[] };
}

export interface MapData {
  meta: Meta;
  tree: Tree;
  x: Float32Array;
  y: Float32Array;
  cluster: Int32Array;
  model: Uint16Array | null;
  language: Uint16Array | null;
  time: Float64Array | null;
  weight: Uint32Array | null;
}

/** The code of "no value"; map.py knows the same number. */
export const NO_CODE = 65535;

export async function readData(): Promise<MapData> {
  const meta = JSON.parse(new TextDecoder().decode(await bytes("meta"))) as Meta;
  const { x, y } = unpackXY(await bytes("xy"), meta.n);
  const { columns } = meta;
  return {
    meta,
    tree: new Tree(meta.clusters, meta.groups ?? []),
    x,
    y,
    cluster: new Int32Array((await bytes("cluster")).buffer),
    model: columns.model ? new Uint16Array((await bytes("model")).buffer) : null,
    language: columns.language ? new Uint16Array((await bytes("language")).buffer) : null,
    time: columns.time ? new Float64Array((await bytes("time")).buffer) : null,
    weight: has("weight") ? new Uint32Array((await bytes("weight")).buffer) : null,
  };
}

/** All the texts, one string per block with NUL between rows: a million separate strings would cost too much memory. */
export class Texts {
  private readonly blocks: Promise<string>[] = [];
  private readonly starts = new Map<number, Uint32Array>();
  private readonly lowered = new Map<number, string>();
  readonly nBlocks: number;

  constructor(
    private readonly n: number,
    readonly blockRows: number,
  ) {
    this.nBlocks = Math.ceil(n / blockRows);
  }

  /** The text of one row. */
  async row(row: number): Promise<string> {
    const number = Math.floor(row / this.blockRows);
    const text = await this.block(number);
    let starts = this.starts.get(number);
    if (!starts) this.starts.set(number, (starts = rowStarts(text, this.rowsIn(number))));
    const at = row - number * this.blockRows;
    return text.slice(starts[at], starts[at + 1] - 1);
  }

  /** One block in lower case, for searching. */
  async folded(number: number): Promise<string> {
    let text = this.lowered.get(number);
    if (text === undefined) this.lowered.set(number, (text = (await this.block(number)).toLowerCase()));
    return text;
  }

  /** Where each row of a folded block starts. Lower case can be longer ("\u0130"), so its offsets are its own. */
  startsOf(number: number, folded: string): Uint32Array {
    return rowStarts(folded, this.rowsIn(number));
  }

  /** Decodes and folds everything in the background, so that the first search need not wait for it. */
  async readAll(): Promise<void> {
    for (let number = 0; number < this.nBlocks; number++) {
      await this.folded(number);
      await new Promise((resume) => setTimeout(resume));
    }
  }

  private rowsIn(number: number): number {
    return Math.min(this.blockRows, this.n - number * this.blockRows);
  }

  private block(number: number): Promise<string> {
    this.blocks[number] ??= bytes(`text-${number}`).then((raw) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(raw));
    return this.blocks[number];
  }
}

function rowStarts(text: string, nRows: number): Uint32Array {
  const starts = new Uint32Array(nRows + 1);
  let at = 0;
  for (let row = 1; row < nRows; row++) starts[row] = at = text.indexOf("\0", at) + 1;
  starts[nRows] = text.length + 1;
  return starts;
}

function unpackXY(planes: Uint8Array, n: number): { x: Float32Array; y: Float32Array } {
  const x = new Float32Array(n);
  const y = new Float32Array(n);
  const step = 2 / (2 ** 24 - 1);
  for (let row = 0, at = 0; row < n; row++, at += 2) {
    x[row] = (planes[at] | (planes[at + 2 * n] << 8) | (planes[at + 4 * n] << 16)) * step - 1;
    y[row] = (planes[at + 1] | (planes[at + 1 + 2 * n] << 8) | (planes[at + 1 + 4 * n] << 16)) * step - 1;
  }
  return { x, y };
}

function has(name: string): boolean {
  return document.getElementById(`lmsys-${name}`) !== null;
}

async function bytes(name: string): Promise<Uint8Array<ArrayBuffer>> {
  const element = document.getElementById(`lmsys-${name}`);
  if (!element) throw new Error(`the page holds no data block "${name}"`);
  const encoded = element.textContent ?? "";
  element.remove(); // the base64 text is not needed twice
  const stream = new Blob([fromBase64(encoded)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function fromBase64(encoded: string): Uint8Array<ArrayBuffer> {
  const native = Uint8Array as unknown as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> };
  if (native.fromBase64) return native.fromBase64(encoded);
  const binary = atob(encoded);
  const out = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) out[i] = binary.charCodeAt(i);
  return out;
}
