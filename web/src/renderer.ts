// Answers: how do a million points get on the screen without the page getting stuck? twgl.js, drawing in portions.
// It does not know clusters, filters or themes: it gets a colour index, a state and a size per point, and a palette.
//
// Points lie in one random order. A moving view draws as many as fit in a frame (a uniform sample); a resting view adds
// the rest portion by portion. The portion follows the measured time, so a software renderer stays as responsive as a
// graphics card. Depth keeps dim points below the others although they may be drawn after them.

import * as twgl from "twgl.js";
import type { View } from "./view";

export const State = { normal: 0, dim: 1, hit: 2, noise: 3 } as const;

const VERTEX = `#version 300 es
in vec2 at;
in uvec4 info;
uniform vec4 view;
uniform float size;
uniform float alpha;
uniform vec4 dim;
uniform sampler2D palette;
out vec4 color;
out float radius;
void main() {
  float grow = info.y == 2u ? 1.7 : info.y == 1u ? 0.85 : info.y == 3u ? 0.8 : 1.0;
  float layer = info.y == 2u ? 0.1 : info.y == 0u ? 0.4 : 0.8;
  gl_Position = vec4((at - view.xy) * view.zw, layer, 1.0);
  gl_PointSize = max(size * grow * float(info.z) / 16.0, 1.0);
  radius = gl_PointSize * 0.5;
  vec4 own = texelFetch(palette, ivec2(int(info.x), 0), 0);
  color = info.y == 1u ? dim : vec4(own.rgb, info.y == 2u ? 0.95 : own.a * alpha);
}`;

const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 color;
in float radius;
out vec4 pixel;
void main() {
  float edge = radius < 1.2 ? 1.0 : clamp(radius - length(gl_PointCoord - 0.5) * 2.0 * radius + 0.5, 0.0, 1.0);
  if (edge < 0.05) discard;
  pixel = vec4(color.rgb, color.a * edge);
}`;

/** A frame should take this long, in ms: between 60 Hz with room and 25 Hz at worst. */
const FAST_MS = 22;
const SLOW_MS = 42;
const SMALLEST_PORTION = 12_000;
const PALETTE = { width: 256, height: 1 };

/** What lies on the graphics card: gone when the browser takes the context away. */
interface OnCard {
  program: twgl.ProgramInfo;
  buffers: twgl.BufferInfo;
  vertices: twgl.VertexArrayInfo;
  palette: WebGLTexture;
}

export class Renderer {
  /** Points drawn in the present picture; equal to n once the view has come to rest. */
  drawn = 0;
  /** Smoothed time from submitting a portion to its end, in ms. */
  portionMs = 0;
  portion = 60_000;
  private readonly gl: WebGL2RenderingContext;
  private readonly n: number;
  private readonly order: Uint32Array;
  private readonly info: Uint8Array;
  private palette = new Uint8Array(PALETTE.width * 4);
  private background: [number, number, number] = [1, 1, 1];
  private dim: [number, number, number, number] = [0.5, 0.5, 0.5, 0.1];
  private card: OnCard;
  private fence: WebGLSync | null = null;
  private fenceStart = 0;
  private stale = true;
  private scheduled = false;

  constructor(
    canvas: HTMLCanvasElement,
    private readonly view: View,
    private readonly x: Float32Array,
    private readonly y: Float32Array,
    /** Called at the start of each new picture, so that labels move with the points. */
    private readonly onPicture: () => void,
  ) {
    // The drawing buffer is kept because a picture is completed over several frames.
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false, depth: true, preserveDrawingBuffer: true });
    if (!gl) throw new Error("no WebGL2");
    this.gl = gl;
    this.n = x.length;
    this.order = shuffled(this.n);
    this.info = new Uint8Array(this.n * 4);
    this.card = this.upload();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault()); // or it is never restored
    canvas.addEventListener("webglcontextrestored", () => {
      this.fence = null;
      this.card = this.upload();
      this.invalidate();
    });
  }

  private upload(): OnCard {
    const { gl, n, order, x, y } = this;
    const program = twgl.createProgramInfo(gl, [VERTEX, FRAGMENT], (log) => {
      throw new Error(`shader: ${log}`);
    });
    const at = new Float32Array(n * 2);
    for (let i = 0; i < n; i++) {
      at[2 * i] = x[order[i]];
      at[2 * i + 1] = y[order[i]];
    }
    const buffers = twgl.createBufferInfoFromArrays(gl, {
      at: { numComponents: 2, data: at },
      info: { numComponents: 4, data: this.info, drawType: gl.DYNAMIC_DRAW },
    });
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    const palette = twgl.createTexture(gl, { ...PALETTE, src: this.palette, minMag: gl.NEAREST });
    return { program, buffers, vertices: twgl.createVertexArrayInfo(gl, program, buffers), palette };
  }

  /** Colour index, state and size (16 = normal) of every row. */
  setPoints(colorIndex: (row: number) => number, state: (row: number) => number, size: (row: number) => number): void {
    for (let i = 0; i < this.n; i++) {
      const row = this.order[i];
      this.info[4 * i] = colorIndex(row);
      this.info[4 * i + 1] = state(row);
      this.info[4 * i + 2] = size(row);
    }
    twgl.setAttribInfoBufferFromArray(this.gl, this.card.buffers.attribs!.info, this.info, 0);
    this.invalidate();
  }

  /** RGBA bytes of the 256 colour indices, the page's colour and the colour of dimmed points. */
  setColors(palette: Uint8Array<ArrayBuffer>, background: [number, number, number], dim: [number, number, number, number]): void {
    this.palette = palette;
    twgl.setTextureFromArray(this.gl, this.card.palette, palette, PALETTE);
    this.background = background;
    this.dim = dim;
    this.invalidate();
  }

  invalidate(): void {
    this.stale = true;
    this.schedule();
  }

  /** Point diameter in CSS pixels: fills the map without hiding its structure, and grows slowly with the zoom. */
  get pointSize(): number {
    const spacing = Math.sqrt((this.view.width * this.view.height) / Math.max(this.n, 1));
    return Math.min(Math.min(Math.max(0.4 * spacing, 1.5), 7) * Math.max(1, this.view.zoom) ** 0.33, 13);
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.frame();
    });
  }

  private frame(): void {
    const { gl } = this;
    if (gl.isContextLost()) return;
    if (this.fence) {
      // Never queue a portion behind an unfinished one: that is what makes slow renderers lag behind the hand.
      if (gl.getSyncParameter(this.fence, gl.SYNC_STATUS) !== gl.SIGNALED) return this.schedule();
      gl.deleteSync(this.fence);
      this.fence = null;
      const ms = performance.now() - this.fenceStart;
      this.portionMs = this.portionMs ? this.portionMs * 0.7 + ms * 0.3 : ms;
      if (ms < FAST_MS) this.portion = Math.min(this.portion * 1.5, 4_000_000);
      else if (ms > SLOW_MS) this.portion = Math.max(this.portion * 0.6, SMALLEST_PORTION);
    }
    if (this.stale) {
      this.stale = false;
      this.onPicture();
      this.prepare();
      this.drawn = 0;
    } else if (this.drawn >= this.n) {
      return;
    }
    const count = Math.min(Math.floor(this.portion), this.n - this.drawn);
    if (count > 0) twgl.drawBufferInfo(gl, this.card.vertices, gl.POINTS, count, this.drawn);
    this.drawn += count;
    this.fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    this.fenceStart = performance.now();
    gl.flush();
    this.schedule();
  }

  private prepare(): void {
    const { gl, view, card } = this;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    twgl.resizeCanvasToDisplaySize(gl.canvas as HTMLCanvasElement, ratio);
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(...this.background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(card.program.program);
    twgl.setBuffersAndAttributes(gl, card.program, card.vertices);
    const middle = view.toMap({ x: view.width / 2, y: view.height / 2 });
    const crowd = Math.log10(Math.max(this.n, 1000) / 1000) / Math.max(1, view.zoom) ** 0.5;
    twgl.setUniforms(card.program, {
      view: [middle.x, middle.y, (2 * view.at.k) / view.width, (2 * view.at.k) / view.height],
      size: this.pointSize * ratio,
      alpha: Math.max(0.55, 0.92 - 0.11 * crowd),
      dim: this.dim,
      palette: card.palette,
    });
  }
}

/** The same random order on every load (xorshift32, fixed seed). */
function shuffled(n: number): Uint32Array {
  const out = new Uint32Array(n);
  for (let i = 0; i < n; i++) out[i] = i;
  let seed = 0x9e3779b9;
  for (let i = n - 1; i > 0; i--) {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    const j = (seed >>> 0) % (i + 1);
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}
