// Answers: what does the reader see and do on this page? It joins data, drawing, lists and gestures into the map.
// It does not decode, draw or search itself, and never puts a text into the page other than as a text node.

import { boxOf } from "./boxes";
import { Camera } from "./camera";
import { showChips } from "./chips";
import { Choice } from "./choice";
import { coloring, type Mode, modes } from "./coloring";
import { type MapData, readData, Texts } from "./data";
import { Labels } from "./labels";
import { finder } from "./nearest";
import { paintPoints, paintTheme } from "./paint";
import { byId, clusterList, count, legend } from "./panel";
import { Renderer } from "./renderer";
import { SearchBox } from "./searchbox";
import { Tooltip } from "./tooltip";
import { TreeList } from "./treelist";
import { type Place, View } from "./view";

const HOVER_PIXELS = 9;
/** On narrower windows the list covers the map, so it is hidden until asked for. */
const NARROW = 760;

async function start(): Promise<void> {
  const data = await readData();
  const { meta } = data;
  const texts = new Texts(meta.n, meta.blockRows);
  const view = new View();
  const [x0, x1, y0, y1] = meta.box;
  view.whole = { x0, x1, y0, y1 };
  const choice = new Choice(data);
  const labels = new Labels(byId("labels"), data.tree, view);
  const tooltip = new Tooltip(data, texts, choice, view);
  const canvas = byId<HTMLCanvasElement>("canvas");
  const renderer = new Renderer(canvas, view, data.x, data.y, () => {
    labels.update(choice.branch, view.inset.top + (choice.active ? 36 : 0));
    tooltip.place();
  });
  const camera = new Camera(byId("stage"), view, (byHand) => {
    if (byHand) hover(-1);
    renderer.invalidate();
  });
  const searchBox = new SearchBox(data, texts, choice, repaint, (row) => {
    tooltip.pin(-1);
    const target = view.centred({ x: data.x[row], y: data.y[row] }, Math.max(view.at.k, view.fitScale * 6));
    camera.flyTo(target, () => tooltip.pin(row));
  });
  const pick = (code: number): void => selectBranch(code === choice.branch ? null : code, true);
  const treeList = data.tree.hasGroups ? new TreeList(data, pick) : null;
  let emphasised = meta.n;

  // --- what is shown ------------------------------------------------------------------------------------------------

  function repaint(): void {
    emphasised = paintPoints(renderer, data, choice);
    showChips(data, choice, emphasised, {
      branch: () => selectBranch(null),
      category: () => selectCategory(null),
      search: () => searchBox.clear(),
      all: clearAll,
    });
  }

  function drawLists(): void {
    const filter = byId<HTMLInputElement>("cluster-filter").value;
    if (treeList) treeList.draw(choice.branch, filter);
    else clusterList(data, choice.branch, filter, pick);
    legend(choice.colors, choice.category, (code) => selectCategory(code === choice.category ? null : code));
  }

  /** A cluster, a group, or (-1) noise. */
  function selectBranch(code: number | null, fly = false): void {
    choice.branch = code;
    tooltip.pin(-1);
    drawLists();
    repaint();
    if (code !== null && fly) camera.flyTo(view.fit(boxOf(data, code) ?? view.whole));
  }

  function selectCategory(code: number | null): void {
    choice.category = code;
    drawLists();
    repaint();
  }

  function colorBy(mode: Mode): void {
    choice.colors = coloring(data, mode);
    paintTheme(renderer, choice.colors, meta.n);
    selectCategory(null);
  }

  function clearAll(): void {
    choice.branch = choice.category = null;
    tooltip.pin(-1);
    tooltip.hover(-1);
    drawLists();
    searchBox.clear();
  }

  function setTheme(dark: boolean): void {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    paintTheme(renderer, choice.colors, meta.n);
  }

  function resize(): void {
    const whole = Math.abs(view.zoom - 1) < 0.2;
    const middle = view.toMap(view.middle);
    const panelShown = !document.body.classList.contains("no-panel") && innerWidth > NARROW;
    view.width = innerWidth;
    view.height = innerHeight;
    view.inset = { top: 62, right: panelShown ? 316 : 8, bottom: meta.note ? 30 : 12, left: 8 };
    camera.resized();
    camera.jumpTo(whole ? view.fit() : view.centred(middle, view.at.k));
  }

  // --- the pointer --------------------------------------------------------------------------------------------------

  const nearest = finder(data.x, data.y);

  function pointAt(place: Place): number {
    const radius = Math.max(HOVER_PIXELS, renderer.pointSize / 2 + 3) / view.at.k;
    return nearest(view.toMap(place), radius, choice.passes);
  }

  function hover(row: number): void {
    canvas.classList.toggle("pointing", row >= 0);
    tooltip.hover(row);
  }

  const stage = byId("stage");
  stage.addEventListener("pointermove", (event) => {
    if (event.buttons === 0) hover(pointAt(event));
  });
  stage.addEventListener("pointerleave", () => hover(-1));
  stage.addEventListener("click", (event) => {
    canvas.focus({ preventScroll: true });
    const label = (event.target as Element).closest<HTMLElement>(".label");
    if (label) return selectBranch(Number(label.dataset.code));
    const row = pointAt(event);
    selectBranch(row < 0 ? null : data.cluster[row]);
  });

  // --- buttons and keys ---------------------------------------------------------------------------------------------

  byId("cluster-filter").addEventListener("input", drawLists);
  byId("color-by").addEventListener("change", (event) => colorBy((event.target as HTMLSelectElement).value as Mode));
  byId("zoom-in").addEventListener("click", () => camera.zoomBy(1.6));
  byId("zoom-out").addEventListener("click", () => camera.zoomBy(1 / 1.6));
  byId("fit").addEventListener("click", () => camera.flyTo(view.fit()));
  byId("panel-toggle").addEventListener("click", () => {
    document.body.classList.toggle("no-panel");
    resize();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      clearAll();
      canvas.focus({ preventScroll: true });
    } else if (event.key === "/" && !(event.target instanceof HTMLInputElement)) {
      event.preventDefault();
      searchBox.focus();
    }
  });
  window.addEventListener("resize", resize);
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", () => setTheme(system.matches));
  byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme !== "dark"));
  const greet = () => message(meta.n === 0 ? "There are no texts on this map." : "");
  canvas.addEventListener("webglcontextlost", () => message("The graphics card was reset. If the map does not come back, reload the page."));
  canvas.addEventListener("webglcontextrestored", greet);

  // --- first picture ------------------------------------------------------------------------------------------------

  writeHeader(data);
  document.body.classList.toggle("no-panel", innerWidth <= NARROW);
  resize();
  camera.jumpTo(view.fit());
  setTheme(system.matches);
  colorBy("cluster");
  greet();

  window.lmsysMap = {
    ready: true,
    counts: { points: meta.n, clusters: meta.clusters.length, noise: meta.noise },
    screen: (row) => view.toScreen(data.x[row], data.y[row]),
    zoom: () => view.zoom,
    visibleLabels: () => labels.visible.map((code) => data.tree.branches[code].title),
    selectedCluster: () => (choice.branch === null ? null : choice.branch < 0 ? -1 : (meta.clusters[choice.branch]?.id ?? null)),
    selectedGroup: () => (choice.branch !== null && data.tree.isGroup(choice.branch) ? data.tree.branches[choice.branch].title : null),
    searchHits: () => (choice.hits ? [...choice.hits] : null),
    emphasised: () => emphasised,
    drawing: () => ({ drawn: renderer.drawn, portion: Math.round(renderer.portion), portionMs: renderer.portionMs }),
    textsRead: texts.readAll(),
  };
}

function writeHeader(data: MapData): void {
  const { meta } = data;
  document.title = byId("title").textContent = byId("title").title = meta.title || "Map";
  const parts = [`${count(meta.n)} texts`, `${count(meta.clusters.filter((c) => c.points > 0).length)} clusters`];
  if (meta.noise) parts.push(`${((100 * meta.noise) / meta.n).toFixed(meta.noise / meta.n < 0.01 ? 1 : 0)}% noise`);
  byId("counts").textContent = parts.join(" \u00b7 ");
  byId("note").textContent = meta.note;
  byId("note").hidden = !meta.note;
  const names: Record<Mode, string> = { cluster: "Cluster", model: "Model", language: "Language", time: "Time" };
  byId("color-by").append(...modes(data).map((mode) => new Option(names[mode], mode)));
}

function message(text: string): void {
  byId("message").textContent = text;
  byId("message").hidden = !text;
}

/** For tests and for the curious; nothing in the page reads it. */
interface TestHandle {
  ready: boolean;
  counts: { points: number; clusters: number; noise: number };
  screen: (row: number) => Place;
  zoom: () => number;
  visibleLabels: () => string[];
  selectedCluster: () => number | null;
  selectedGroup: () => string | null;
  searchHits: () => number[] | null;
  emphasised: () => number;
  drawing: () => { drawn: number; portion: number; portionMs: number };
  textsRead: Promise<void>;
}

declare global {
  interface Window {
    lmsysMap?: TestHandle;
  }
}

start().catch((error: unknown) => {
  const reason = error instanceof Error ? error.message : String(error);
  if (reason === "no WebGL2") {
    message("This map needs WebGL 2, and this browser does not offer it. Switch on hardware acceleration, or open the file in another browser.");
  } else {
    message(`The map could not be shown: ${reason}`);
    console.error(error);
  }
});
