// Answers: how does the view move: by hand, by key, by button or by a flight to a target? d3-zoom does the work.
// It does not know points or filters and does not draw: it reports that the view has moved.

import { select } from "d3-selection";
import "d3-transition";
import { zoom, type ZoomTransform } from "d3-zoom";
import type { View } from "./view";

const FLIGHT_MS = 650;
const STEP_MS = 180;

export class Camera {
  private readonly stage;
  private readonly calm = matchMedia("(prefers-reduced-motion: reduce)");
  private readonly behaviour = zoom<HTMLElement, unknown>()
    .clickDistance(4)
    .translateExtent([[-3, -3], [3, 3]]);

  constructor(
    stage: HTMLElement,
    private readonly view: View,
    moved: (byHand: boolean) => void,
  ) {
    this.behaviour.on("zoom", (event: { transform: ZoomTransform; sourceEvent: Event | null }) => {
      view.at = event.transform;
      moved(Boolean(event.sourceEvent));
    });
    this.stage = select(stage).call(this.behaviour);
    stage.addEventListener("keydown", (event) => this.key(event));
  }

  /** After the view has got another size. */
  resized(): void {
    this.behaviour.scaleExtent([this.view.fitScale * 0.4, this.view.fitScale * 4000]);
  }

  jumpTo(target: ZoomTransform): void {
    this.behaviour.transform(this.stage, target);
  }

  flyTo(target: ZoomTransform, then = () => {}): void {
    this.behaviour.transform(this.slowly(FLIGHT_MS).on("end", then), target);
  }

  zoomBy(factor: number): void {
    const { x, y } = this.view.middle;
    this.behaviour.scaleBy(this.slowly(STEP_MS), factor, [x, y]);
  }

  private slowly(ms: number) {
    return this.stage.transition().duration(this.calm.matches ? 0 : ms);
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = (event.shiftKey ? 200 : 60) / this.view.at.k;
    const pan = (x: number, y: number) => this.behaviour.translateBy(this.stage, x, y);
    // At once, not slowly: a key that is held down repeats faster than a movement ends.
    const { x, y } = this.view.middle;
    const zoomBy = (factor: number) => this.behaviour.scaleBy(this.stage, factor, [x, y]);
    const actions: Record<string, () => void> = {
      ArrowLeft: () => pan(step, 0),
      ArrowRight: () => pan(-step, 0),
      ArrowUp: () => pan(0, step),
      ArrowDown: () => pan(0, -step),
      "+": () => zoomBy(1.3),
      "=": () => zoomBy(1.3),
      "-": () => zoomBy(1 / 1.3),
      "0": () => this.flyTo(this.view.fit()),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}
