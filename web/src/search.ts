// Answers: which rows contain all the words of a query, ignoring case? Substrings, no ranking, no stemming.
// It does not block the page: it works in slices and stops when a newer query arrives.

import type { Texts } from "./data";

/** `found` grows from report to report: copy what should stay. */
export interface SearchResult {
  found: number[];
  done: boolean;
}

const SLICE_MS = 12;

/** Calls `report` with what was found so far after each slice and once more when done; `stopped` ends it early. */
export async function search(texts: Texts, words: string[], stopped: () => boolean, report: (result: SearchResult) => void): Promise<void> {
  const order = await rarestFirst(texts, words);
  const found: number[] = [];
  let sliceStart = performance.now();
  for (let number = 0; number < texts.nBlocks; number++) {
    const text = await texts.folded(number);
    if (stopped()) return;
    searchBlock(texts, number, text, order, found);
    if (performance.now() - sliceStart > SLICE_MS) {
      report({ found, done: false });
      await new Promise((resume) => setTimeout(resume));
      if (stopped()) return;
      sliceStart = performance.now();
    }
  }
  report({ found, done: true });
}

function searchBlock(texts: Texts, number: number, text: string, [first, ...others]: string[], found: number[]): void {
  let at = text.indexOf(first);
  if (at < 0) return;
  const starts = texts.startsOf(number, text);
  for (let row = 0; at >= 0; at = text.indexOf(first, starts[row])) {
    while (starts[row + 1] <= at) row++;
    const end = starts[++row] - 1;
    if (others.every((word) => text.slice(starts[row - 1], end).includes(word))) found.push(number * texts.blockRows + row - 1);
  }
}

/** The words in the order of how often the first texts hold them: only rows with the rarest one are looked at. */
async function rarestFirst(texts: Texts, words: string[]): Promise<string[]> {
  if (texts.nBlocks === 0 || words.length < 2) return words;
  const sample = (await texts.folded(0)).slice(0, 500_000);
  const counted = words.map((word) => ({ word, times: sample.split(word).length }));
  return counted.sort((a, b) => a.times - b.times || b.word.length - a.word.length).map((c) => c.word);
}

export function wordsOf(query: string): string[] {
  return query.normalize("NFC").toLowerCase().split(/\s+/u).filter(Boolean);
}

/** The text as nodes, with what matches marked. */
export function highlighted(text: string, words: string[]): Node[] {
  return marked(text, words).map((part) => {
    const node = document.createTextNode(part.text);
    if (!part.hit) return node;
    const mark = document.createElement("mark");
    mark.append(node);
    return mark;
  });
}

function marked(text: string, words: string[]): { text: string; hit: boolean }[] {
  const lower = text.toLowerCase();
  if (words.length === 0 || lower.length !== text.length) return [{ text, hit: false }];
  const hit = new Uint8Array(text.length);
  for (const word of words) {
    for (let at = lower.indexOf(word); at >= 0; at = lower.indexOf(word, at + word.length)) hit.fill(1, at, at + word.length);
  }
  const parts: { text: string; hit: boolean }[] = [];
  for (let i = 0; i < text.length; ) {
    let j = i + 1;
    while (j < text.length && hit[j] === hit[i]) j++;
    parts.push({ text: text.slice(i, j), hit: hit[i] === 1 });
    i = j;
  }
  return parts;
}
