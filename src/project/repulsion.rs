//! How strongly do all points push each other apart in t-SNE, in O(n): kernel sums by interpolation on a regular grid
//! and convolution by FFT (Linderman, Rachh, Hoskins, Steinerberger, Kluger 2019). It moves nothing.

use rayon::prelude::*;

use super::fft::{Fft, LANES, Planes, length_for};

/// Widest distance of grid lines: the kernel falls to a quarter within one unit. Closer lines keep no more neighbors
/// (decision 0022).
const SPACING: f32 = 0.6;
/// Least cells across a map: on a small one, where single pairs count, finer lines cost little.
const LEAST_CELLS: f32 = 150.0;
/// Points in a stencil along one axis: cubic interpolation.
const STENCIL: usize = 4;
/// Parts of the points that fill a grid of their own: a fixed number, so that sums do not depend on threads.
const PARTS: usize = 8;
/// Rows of one block of work.
const BLOCK: usize = 1_024;

/// Spectra of the kernels for one grid; made again when the grid changes.
struct Kernels {
    spacing: f32,
    /// Cells along x and y, multiples of `LANES`.
    cells: [usize; 2],
    fft: [Fft; 2],
    /// Spectra of (1 + d^2)^-2 and of (1 + d^2)^-1, real because the kernels are even.
    spectra: Planes,
    /// Reused by every step, because fresh memory costs as much as the work on it: charges of each part of the points,
    /// and the stages of a convolution.
    parts: Vec<[Vec<f32>; 3]>,
    first: Stages,
    second: Stages,
}

/// A convolution on its way: the grid, its columns transformed, its spectrum, the product, the way back.
struct Stages {
    grid: Planes,
    by_column: Planes,
    spectrum: Planes,
    product: Planes,
    by_row: Planes,
}

/// The grid, kept between steps.
#[derive(Default)]
pub struct Repulsion {
    kernels: Option<Kernels>,
}

/// Where one coordinate stands on the grid: the first line of its stencil, and the weights of the four.
#[derive(Clone, Copy)]
struct Stencil {
    first: usize,
    weights: [f32; STENCIL],
}

impl Repulsion {
    /// For every point `i` writes `sum_j (y_i - y_j) / (1 + d_ij^2)^2` into `forces` and returns
    /// `Z = sum_ij 1 / (1 + d_ij^2)` over pairs of different points.
    pub fn sums(&mut self, points: &[[f32; 2]], forces: &mut [[f32; 2]]) -> f64 {
        let (low, extent) = bounds(points);
        let kernels = self.kernels_for(extent);
        let width = kernels.cells[0];
        let (spacing, cells) = (kernels.spacing, kernels.cells);
        // coordinates relative to the middle keep the cancellation in y_i * sum - sum small
        let middle: [f32; 2] = std::array::from_fn(|axis| low[axis] + extent[axis] / 2.0);
        let stencils = |point: &[f32; 2]| -> [Stencil; 2] {
            std::array::from_fn(|axis| stencil((point[axis] - low[axis]) / spacing, cells[axis]))
        };
        let chunks = points.par_chunks(points.len().div_ceil(PARTS));
        kernels.parts.par_iter_mut().zip(chunks).for_each(|(grids, part)| {
            grids.iter_mut().for_each(|grid| grid.fill(0.0));
            for point in part {
                let [x, y] = stencils(point);
                let charges = [1.0, point[0] - middle[0], point[1] - middle[1]];
                for (row, by) in y.weights.iter().enumerate() {
                    let place = (y.first + row) * width + x.first;
                    for (grid, charge) in grids.iter_mut().zip(charges) {
                        for (cell, bx) in grid[place..place + STENCIL].iter_mut().zip(&x.weights) {
                            *cell += charge * by * bx;
                        }
                    }
                }
            }
        });
        // two real grids are the real and the imaginary part of one transform
        let parts = &kernels.parts;
        let (first, second) = (&mut kernels.first, &mut kernels.second);
        add(parts, 0, &mut first.grid.re);
        add(parts, 1, &mut first.grid.im);
        add(parts, 2, &mut second.grid.re);
        second.grid.im.copy_from_slice(&first.grid.re);
        first.convolve(&kernels.fft, &kernels.spectra, false);
        second.convolve(&kernels.fft, &kernels.spectra, true);
        let (first, second) = (&first.grid, &second.grid);
        let near: [[f32; STENCIL]; STENCIL] =
            std::array::from_fn(|y| std::array::from_fn(|x| 1.0 / (1.0 + (x * x + y * y) as f32 * spacing * spacing)));
        let sums: Vec<f64> = forces
            .par_chunks_mut(BLOCK)
            .zip(points.par_chunks(BLOCK))
            .map(|(forces, points)| {
                let mut z = 0.0;
                for (force, point) in forces.iter_mut().zip(points) {
                    let [x, y] = stencils(point);
                    let mut found = [0f32; 4];
                    for (row, by) in y.weights.iter().enumerate() {
                        let place = (y.first + row) * width + x.first;
                        let grids = [&first.re, &first.im, &second.re, &second.im];
                        for (found, grid) in found.iter_mut().zip(grids) {
                            for (value, bx) in grid[place..place + STENCIL].iter().zip(&x.weights) {
                                *found += by * bx * value;
                            }
                        }
                    }
                    let [weight, by_x, by_y, of_z] = found;
                    *force = [(point[0] - middle[0]) * weight - by_x, (point[1] - middle[1]) * weight - by_y];
                    z += (of_z - itself(x, y, &near)) as f64;
                }
                z
            })
            .collect();
        sums.iter().sum::<f64>().max(f64::MIN_POSITIVE)
    }

    fn kernels_for(&mut self, extent: [f32; 2]) -> &mut Kernels {
        let longest = extent[0].max(extent[1]).max(1e-6);
        let mut spacing = SPACING;
        while spacing * LEAST_CELLS > longest {
            spacing /= 2.0;
        }
        // a line before and two behind each stencil
        let cells = extent.map(|extent| ((extent / spacing) as usize + STENCIL).next_multiple_of(LANES));
        let fits = |kernels: &Kernels| kernels.spacing == spacing && kernels.cells == cells;
        if !self.kernels.as_ref().is_some_and(fits) {
            self.kernels = None;
        }
        self.kernels.get_or_insert_with(|| Kernels::new(spacing, cells))
    }
}

impl Kernels {
    fn new(spacing: f32, cells: [usize; 2]) -> Self {
        let fft = cells.map(|cells| Fft::new(length_for(2 * cells)));
        let [width, height] = [fft[0].length(), fft[1].length()];
        // the kernel around line 0, wrapped: distances beyond half the length are the negative ones
        let mut kernels = Planes::zeros(width * height);
        let squared = |line: usize, length: usize| (line.min(length - line) as f32 * spacing).powi(2);
        for y in 0..height {
            for x in 0..width {
                let near = 1.0 / (1.0 + squared(x, width) + squared(y, height));
                (kernels.re[y * width + x], kernels.im[y * width + x]) = (near * near, near);
            }
        }
        let mut half = Planes::zeros(width * height);
        fft[1].columns(&kernels, width, false, height, &mut half);
        let mut spectra = Planes::zeros(width * height);
        fft[0].columns(&half, height, false, width, &mut spectra);
        let scale = 1.0 / (width * height) as f32;
        spectra.re.iter_mut().chain(&mut spectra.im).for_each(|value| *value *= scale);
        let parts = vec![std::array::from_fn(|_| vec![0f32; cells[0] * cells[1]]); PARTS];
        let stages = || Stages {
            grid: Planes::zeros(cells[0] * cells[1]),
            by_column: Planes::zeros(cells[0] * height),
            spectrum: Planes::zeros(width * height),
            product: Planes::zeros(width * height),
            by_row: Planes::zeros(width * cells[1]),
        };
        let (first, second) = (stages(), stages());
        Self { spacing, cells, fft, spectra, parts, first, second }
    }
}

impl Stages {
    /// Replaces both parts of the grid by their convolution with (1 + d^2)^-2; with `mixed` the imaginary part by that
    /// with (1 + d^2)^-1.
    fn convolve(&mut self, fft: &[Fft; 2], spectra: &Planes, mixed: bool) {
        let [long, high] = [fft[0].length(), fft[1].length()];
        let width = self.by_column.re.len() / high;
        let height = self.by_row.re.len() / long;
        fft[1].columns(&self.grid, width, false, high, &mut self.by_column);
        fft[0].columns(&self.by_column, high, false, long, &mut self.spectrum);
        self.multiply(spectra, long, high, mixed);
        fft[1].columns(&self.product, long, true, height, &mut self.by_row);
        fft[0].columns(&self.by_row, height, true, width, &mut self.grid);
    }

    fn multiply(&mut self, spectra: &Planes, long: usize, high: usize, mixed: bool) {
        let (spectrum, product) = (&self.spectrum, &mut self.product);
        product.re.par_chunks_mut(long).zip(product.im.par_chunks_mut(long)).enumerate().for_each(|(y, (re, im))| {
            let row = y * long;
            let opposite_row = (high - y) % high * long;
            for x in 0..long {
                let (near, far) = (spectra.re[row + x], spectra.im[row + x]);
                let (a, b) = (spectrum.re[row + x], spectrum.im[row + x]);
                if mixed {
                    // the transform of a real grid is its own mirror image, which tells the two grids apart
                    let opposite = opposite_row + if x == 0 { 0 } else { long - x };
                    let (c, d) = (spectrum.re[opposite], -spectrum.im[opposite]);
                    let (own, mirrored) = (0.5 * (near + far), 0.5 * (near - far));
                    (re[x], im[x]) = (own * a + mirrored * c, own * b + mirrored * d);
                } else {
                    (re[x], im[x]) = (near * a, near * b);
                }
            }
        });
    }
}

/// The sum of one charge over the parts, in their order.
fn add(parts: &[[Vec<f32>; 3]], charge: usize, into: &mut [f32]) {
    into.par_chunks_mut(BLOCK).enumerate().for_each(|(block, sum)| {
        sum.fill(0.0);
        for grids in parts {
            for (sum, value) in sum.iter_mut().zip(&grids[charge][block * BLOCK..]) {
                *sum += value;
            }
        }
    });
}

/// What a point finds of itself at its own place: not quite the 1 of the kernel, because it was spread over the lines of
/// its stencil and gathered from them. `near` is the kernel at distances of whole lines.
#[inline]
fn itself(x: Stencil, y: Stencil, near: &[[f32; STENCIL]; STENCIL]) -> f32 {
    let apart = |weights: [f32; STENCIL]| -> [f32; STENCIL] {
        std::array::from_fn(|lines| {
            let pairs = weights.iter().zip(&weights[lines..]).map(|(a, b)| a * b).sum::<f32>();
            if lines == 0 { pairs } else { 2.0 * pairs }
        })
    };
    let (x, y) = (apart(x.weights), apart(y.weights));
    let row = |near: &[f32; STENCIL]| near.iter().zip(&x).map(|(near, x)| near * x).sum::<f32>();
    near.iter().zip(&y).map(|(near, y)| y * row(near)).sum()
}

/// The least coordinates and the extents.
fn bounds(points: &[[f32; 2]]) -> ([f32; 2], [f32; 2]) {
    let mut low = [f32::INFINITY; 2];
    let mut high = [f32::NEG_INFINITY; 2];
    for point in points {
        for axis in 0..2 {
            low[axis] = low[axis].min(point[axis]);
            high[axis] = high[axis].max(point[axis]);
        }
    }
    (low, std::array::from_fn(|axis| high[axis] - low[axis]))
}

/// Lagrange's cubic through lines -1, 0, 1, 2 around `position` (in lines from the least coordinate).
#[inline]
fn stencil(position: f32, cells: usize) -> Stencil {
    let cell = (position as usize).min(cells - STENCIL);
    let t = position - cell as f32;
    let weights = [
        -t * (t - 1.0) * (t - 2.0) / 6.0,
        (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0,
        -(t + 1.0) * t * (t - 2.0) / 2.0,
        (t + 1.0) * t * (t - 1.0) / 6.0,
    ];
    // lines are counted from the one before the first
    Stencil { first: cell, weights }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Rng;

    fn exact(points: &[[f32; 2]]) -> (Vec<[f64; 2]>, f64) {
        let mut z = 0.0;
        let forces = points.iter().enumerate().map(|(i, a)| {
            let mut force = [0.0; 2];
            for (_, b) in points.iter().enumerate().filter(|(j, _)| *j != i) {
                let (x, y) = ((a[0] - b[0]) as f64, (a[1] - b[1]) as f64);
                let near = 1.0 / (1.0 + x * x + y * y);
                z += near;
                force = [force[0] + x * near * near, force[1] + y * near * near];
            }
            force
        });
        (forces.collect(), z)
    }

    #[test]
    fn sums_are_those_of_all_pairs() {
        // few points on a wide map push each other hardest: there the lines are coarse
        for (scale, tolerance) in [(1e-4, 1e-2), (0.5, 1e-2), (5.0, 4e-2), (40.0, 8e-2)] {
            for flat in [1.0, 0.0] {
                let mut rng = Rng::new(1, 0);
                let points: Vec<[f32; 2]> =
                    (0..900).map(|_| [scale * rng.normal() as f32, flat * scale * rng.normal() as f32]).collect();
                let mut forces = vec![[0f32; 2]; 900];
                let z = Repulsion::default().sums(&points, &mut forces);
                let (want, want_z) = exact(&points);
                assert!((z / want_z - 1.0).abs() < 2e-3, "{scale}: {z} {want_z}");
                let size = want.iter().flatten().map(|value| value * value).sum::<f64>().sqrt();
                let error = want.iter().flatten().zip(forces.iter().flatten()).map(|(a, b)| (a - *b as f64).powi(2));
                let error = error.sum::<f64>().sqrt();
                assert!(error < tolerance * size, "{scale} {flat}: {error} of {size}");
            }
        }
    }
}
