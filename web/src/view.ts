// Answers: where on the screen is a point of the map, and which view shows a box or a point? Pure arithmetic.
// It does not listen to events, does not move by itself and does not draw.

import { type ZoomTransform, zoomIdentity } from "d3-zoom";

export interface Place {
  x: number;
  y: number;
}

export interface Box {
  x0: number;
  x1: number;
  y0: number;
  y1: number;
}

/** The map is [-1, 1] x [-1, 1], y up; the screen is in CSS pixels, y down. */
export class View {
  /** `k` = pixels per map unit, (`x`, `y`) = where on the screen the middle of the map is. */
  at: ZoomTransform = zoomIdentity;
  width = 1;
  height = 1;
  /** Screen edges that are covered by the header and the panel; the fit leaves them free. */
  inset = { top: 0, right: 0, bottom: 0, left: 0 };
  /** The part of the map that "show everything" shows. */
  whole: Box = { x0: -1, x1: 1, y0: -1, y1: 1 };

  get fitScale(): number {
    return this.scaleFor(this.whole);
  }

  /** How many times larger than the whole map. */
  get zoom(): number {
    return this.at.k / this.fitScale;
  }

  /** The middle of the free part of the screen. */
  get middle(): Place {
    const { left, right, top, bottom } = this.inset;
    return { x: (left + this.width - right) / 2, y: (top + this.height - bottom) / 2 };
  }

  fit(box: Box = this.whole, maxZoom = 40): ZoomTransform {
    const scale = Math.min(this.scaleFor(box), this.fitScale * maxZoom);
    return this.centred({ x: (box.x0 + box.x1) / 2, y: (box.y0 + box.y1) / 2 }, scale);
  }

  /** The view that shows a map point in the middle of the free part of the screen. */
  centred(point: Place, scale: number): ZoomTransform {
    return zoomIdentity.translate(this.middle.x - point.x * scale, this.middle.y + point.y * scale).scale(scale);
  }

  toScreen(x: number, y: number): Place {
    return { x: this.at.x + x * this.at.k, y: this.at.y - y * this.at.k };
  }

  toMap({ x, y }: Place): Place {
    return { x: (x - this.at.x) / this.at.k, y: (this.at.y - y) / this.at.k };
  }

  private scaleFor(box: Box): number {
    const width = Math.max(60, this.width - this.inset.left - this.inset.right);
    const height = Math.max(60, this.height - this.inset.top - this.inset.bottom);
    return Math.min(width / Math.max(box.x1 - box.x0, 1e-9), height / Math.max(box.y1 - box.y0, 1e-9));
  }
}
