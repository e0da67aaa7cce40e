//! Every instruction set of this CPU against oracles in f64, on shapes that fit no tile.

use proptest::prelude::*;

use super::*;
use crate::random::Rng;

/// Those of this CPU, and AMX in software where it has everything else that AMX needs.
fn kernels() -> Vec<Kernels> {
    let all = [Isa::Scalar, Isa::Neon, Isa::Avx2, Isa::Avx512f, Isa::Avx512, Isa::Amx];
    let mut found: Vec<Kernels> = all.into_iter().filter_map(Kernels::of).collect();
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if Kernels::of(Isa::Amx).is_none() && Kernels::of(Isa::Avx512).is_some_and(Kernels::is_bf16) {
        amx_emulator::install();
        found.push(Kernels { table: &AMX });
    }
    found
}

/// Random numbers that are bf16 exactly, so that only sums and results are rounded.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed, 3);
    (0..len).map(|_| f32::from_bits((bf16(rng.normal() as f32) as u32) << 16)).collect()
}

fn fill(values: &mut Values, rows: &[f32], columns: usize) {
    let (row_words, per_word) = (values.row_words(), values.per_word);
    for (row, numbers) in rows.chunks_exact(columns).enumerate() {
        let words = &mut values.data.words_mut()[row * row_words..(row + 1) * row_words];
        for (i, number) in numbers.iter().enumerate() {
            match per_word {
                1 => words[i] = number.to_bits(),
                _ => words[i / 2] |= (bf16(*number) as u32) << (16 * (i % 2)),
            }
        }
    }
}

/// a . weight^T + bias
fn linear(a: &[f32], weight: &[f32], bias: &[f32], n_inputs: usize) -> Vec<f64> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| *x as f64 * *y as f64).sum::<f64>();
    a.chunks_exact(n_inputs)
        .flat_map(|row| weight.chunks_exact(n_inputs).zip(bias).map(move |(w, b)| dot(row, w) + *b as f64))
        .collect()
}

fn exact_gelu(x: f64) -> f64 {
    // erf by its series: converges for what is tested here
    let z = x / std::f64::consts::SQRT_2;
    if z.abs() > 5.0 {
        return if x > 0.0 { x } else { 0.0 };
    }
    let (mut term, mut sum) = (z, z);
    for n in 1..200 {
        term *= -z * z / n as f64;
        sum += term / (2 * n + 1) as f64;
    }
    0.5 * x * (1.0 + sum * std::f64::consts::FRAC_2_SQRT_PI)
}

/// Half a unit in the last place of the format.
fn rounding(kernels: Kernels) -> f64 {
    if kernels.is_bf16() { 1.0 / 256.0 } else { 1e-6 }
}

fn close(got: f32, want: f64, scale: f64, kernels: Kernels) -> bool {
    (got as f64 - want).abs() <= rounding(kernels) * want.abs() + 2e-6 * scale
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn products_equal_the_oracle(n_rows in 1usize..70, n_in in 1usize..150, n_out in 1usize..150, seed in 0u64..1000) {
        let (a, weight, bias) = (numbers(n_rows * n_in, seed), numbers(n_out * n_in, seed + 1), numbers(n_out, seed + 2));
        let want = linear(&a, &weight, &bias, n_in);
        let scale = (n_in as f64).sqrt() * 4.0;
        for kernels in kernels() {
            let packed = Packed::new(kernels, &weight, &bias, n_in);
            let mut input = Values::zeros(kernels, n_rows, n_in);
            fill(&mut input, &a, n_in);
            let mut out = Values::zeros(kernels, n_rows, n_out);
            let mut activated = Values::zeros(kernels, n_rows, n_out);
            kernels.store(&input, n_rows, &packed, false, &mut out);
            kernels.store(&input, n_rows, &packed, true, &mut activated);
            let mut x = Floats::zeros(n_rows, n_out);
            (0..n_rows).for_each(|row| x.row_mut(row)[..n_out].fill(1.5));
            kernels.add(&input, n_rows, &packed, &mut x);
            for row in 0..n_rows {
                let (got, active, sums) = (out.row(row), activated.row(row), x.row(row));
                for column in 0..n_out {
                    let want = want[row * n_out + column];
                    prop_assert!(close(got[column], want, scale, kernels), "{} {}", kernels.name(), got[column]);
                    prop_assert!((sums[column] as f64 - 1.5 - want).abs() <= 2e-6 * scale, "{}", kernels.name());
                    let gelu = exact_gelu(want);
                    let error = (active[column] as f64 - gelu).abs();
                    let floor = if kernels.is_bf16() { 2e-4 } else { 3e-6 };
                    prop_assert!(error <= rounding(kernels) * gelu.abs() + floor + 2e-6 * scale,
                        "{} gelu({want}) {} {gelu}", kernels.name(), active[column]);
                }
                prop_assert!(got[n_out..].iter().chain(&active[n_out..]).all(|value| *value == 0.0));
                prop_assert!(sums[n_out..].iter().all(|value| *value == 0.0));
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_rows_beside_it(n_rows in 2usize..70, n_in in 1usize..100, seed in 0u64..1000) {
        let (a, weight, bias) = (numbers(n_rows * n_in, seed), numbers(40 * n_in, seed + 1), numbers(40, seed + 2));
        for kernels in kernels() {
            let packed = Packed::new(kernels, &weight, &bias, n_in);
            let product = |rows: &[f32]| {
                let mut input = Values::zeros(kernels, rows.len() / n_in, n_in);
                fill(&mut input, rows, n_in);
                let mut out = Values::zeros(kernels, rows.len() / n_in, 40);
                kernels.store(&input, rows.len() / n_in, &packed, true, &mut out);
                (0..rows.len() / n_in).map(|row| out.row(row)).collect::<Vec<_>>()
            };
            let (all, last) = (product(&a), product(&a[(n_rows - 1) * n_in..]));
            prop_assert_eq!(&all[n_rows - 1], &last[0]);
        }
    }

    #[test]
    fn layer_norm_equals_the_oracle(n_rows in 1usize..10, n in 2usize..200, seed in 0u64..1000) {
        let (rows, weight, bias) = (numbers(n_rows * n, seed), numbers(n, seed + 1), numbers(n, seed + 2));
        for kernels in kernels() {
            let norm = Norm::new(&weight, &bias, 1e-12);
            let (mut x, mut out) = (Floats::zeros(n_rows, n), Values::zeros(kernels, n_rows, n));
            for (row, numbers) in rows.chunks_exact(n).enumerate() {
                x.row_mut(row)[..n].copy_from_slice(numbers);
            }
            kernels.layer_norm(&mut x, n_rows, &norm, &mut out);
            for (row, numbers) in rows.chunks_exact(n).enumerate() {
                let mean = numbers.iter().map(|v| *v as f64).sum::<f64>() / n as f64;
                let variance = numbers.iter().map(|v| (*v as f64 - mean).powi(2)).sum::<f64>() / n as f64;
                for column in 0..n {
                    let unit = (numbers[column] as f64 - mean) / (variance + 1e-12).sqrt();
                    let want = unit * weight[column] as f64 + bias[column] as f64;
                    prop_assert!((x.row(row)[column] as f64 - want).abs() <= 1e-4 * (1.0 + want.abs()), "{}", kernels.name());
                    prop_assert!(close(out.row(row)[column], want, 50.0, kernels), "{}", kernels.name());
                }
                prop_assert!(x.row(row)[n..].iter().all(|value| *value == 0.0));
            }
        }
    }

    #[test]
    fn attention_equals_the_oracle(
        lengths in prop::collection::vec(0usize..75, 1..4), n_heads in 1usize..3, width in 1usize..40, seed in 0u64..1000
    ) {
        let n_rows: usize = lengths.iter().sum();
        let wide = padded(width);
        let columns = 3 * n_heads * wide;
        let mut rows = numbers(n_rows * columns, seed);
        for (i, value) in rows.iter_mut().enumerate() {
            if i % wide >= width {
                *value = 0.0;
            }
        }
        for kernels in kernels() {
            let mut qkv = Values::zeros(kernels, n_rows, columns);
            fill(&mut qkv, &rows, columns);
            let mut out = Values::zeros(kernels, n_rows, n_heads * wide);
            kernels.attend(&qkv, &lengths, n_heads, &mut AttentionScratch::new(75, width), &mut out);
            let mut first = 0;
            for length in &lengths {
                let text = &rows[first * columns..(first + length) * columns];
                for row in 0..*length {
                    let got = out.row(first + row);
                    for head in 0..n_heads {
                        let want = attention_of(text, columns, row, head, n_heads, wide);
                        for (got, want) in got[head * wide..].iter().zip(want) {
                            // powers of two are rounded to the format before they are summed
                            let tolerance = if kernels.is_bf16() { 0.03 } else { 2e-5 };
                            prop_assert!((*got as f64 - want).abs() <= tolerance, "{} {got} {want}", kernels.name());
                        }
                    }
                }
                first += length;
            }
        }
    }
}

fn attention_of(text: &[f32], columns: usize, row: usize, head: usize, n_heads: usize, wide: usize) -> Vec<f64> {
    let part = |row: usize, which: usize| {
        let first = row * columns + (which * n_heads + head) * wide;
        &text[first..first + wide]
    };
    let scores: Vec<f64> = (0..text.len() / columns)
        .map(|key| part(row, 0).iter().zip(part(key, 1)).map(|(q, k)| *q as f64 * *k as f64).sum())
        .collect();
    let largest = scores.iter().copied().fold(f64::MIN, f64::max);
    let powers: Vec<f64> = scores.iter().map(|score| (score - largest).exp2()).collect();
    let sum: f64 = powers.iter().sum();
    (0..wide)
        .map(|column| powers.iter().enumerate().map(|(key, p)| p / sum * part(key, 2)[column] as f64).sum())
        .collect()
}

#[test]
fn extreme_scores_give_numbers() {
    for kernels in kernels() {
        let mut qkv = Values::zeros(kernels, 3, 3 * 32);
        let mut rows = vec![0f32; 3 * 96];
        rows.iter_mut().enumerate().for_each(|(i, value)| *value = if i % 7 == 0 { 1e15 } else { -1e15 });
        fill(&mut qkv, &rows, 96);
        let mut out = Values::zeros(kernels, 3, 32);
        kernels.attend(&qkv, &[3], 1, &mut AttentionScratch::new(3, 32), &mut out);
        assert!((0..3).all(|row| out.row(row).iter().all(|value| value.is_finite())), "{}", kernels.name());
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn no_tile_stays_configured() {
    let amx = kernels().into_iter().find(|kernels| kernels.name().starts_with("amx"));
    assert_eq!(amx.is_some(), Kernels::of(Isa::Avx512).is_some_and(Kernels::is_bf16), "AMX is tested where it can be");
    let Some(amx) = amx else { return };
    let (packed, mut out) = (Packed::new(amx, &[1.0; 64], &[0.0; 2], 32), Values::zeros(amx, 3, 2));
    amx.store(&Values::zeros(amx, 3, 32), 3, &packed, false, &mut out);
    assert!(!amx_emulator::is_configured());
}

/// Scores of all pairs in f64, and how far the kernels may be off.
fn scores(rows: &[f32], columns: &[f32], dim: usize) -> Vec<Vec<f64>> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| *x as f64 * *y as f64).sum::<f64>();
    rows.chunks_exact(dim)
        .map(|row| columns.chunks_exact(dim).map(|column| dot(row, column) - 0.5 * dot(column, column)).collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_two_best_of_each_group_are_within_the_margin(
        m in 1usize..70, n in 1usize..140, dim in 1usize..130, scale in -60i32..60, seed in 0u64..1000
    ) {
        let (mut rng, size) = (Rng::new(seed, 1), 2f32.powi(scale));
        let mut draw = |len: usize| (0..len).map(|_| size * rng.normal() as f32).collect::<Vec<f32>>();
        let (left, right) = (draw(m * dim), draw(n * dim));
        let want = scores(&left, &right, dim);
        let factor = scale_for(left.iter().chain(&right).fold(0f32, |a, b| a.max(b.abs())));
        for kernels in kernels() {
            let rows = Rows::new(kernels, m, dim, factor, |i| &left[i * dim..(i + 1) * dim]);
            let columns = Columns::new(kernels, n, dim, factor, |i| &right[i * dim..(i + 1) * dim]);
            let mut found = TopTwos::default();
            kernels.top_two(&rows, m, &columns, 0, columns.n_groups(), &mut found);
            let squared = (factor as f64).powi(2);
            for (row, want) in want.iter().enumerate() {
                let margin = margin(dim, rows.lengths(row), columns.largest()) as f64;
                for (group, want) in want.chunks(GROUP).enumerate() {
                    let at = row * columns.n_groups() + group;
                    let mut sorted: Vec<f64> = want.iter().map(|score| score * squared).collect();
                    sorted.sort_by(|a, b| b.total_cmp(a));
                    prop_assert!((found.best[at] as f64 - sorted[0]).abs() <= margin, "{}", kernels.name());
                    let own = found.columns[at] as usize - group * GROUP;
                    prop_assert!((want[own] * squared - sorted[0]).abs() <= 2.0 * margin);
                    match sorted.get(1) {
                        Some(second) => prop_assert!((found.second[at] as f64 - second).abs() <= margin),
                        None => prop_assert_eq!(found.second[at], f32::NEG_INFINITY),
                    }
                }
            }
            if columns.n_groups() > 1 {
                let mut last = TopTwos::default();
                kernels.top_two(&rows, m, &columns, columns.n_groups() - 1, 1, &mut last);
                for row in 0..m {
                    prop_assert_eq!(last.columns[row], found.columns[(row + 1) * columns.n_groups() - 1]);
                }
            }
        }
    }

    #[test]
    fn pairs_above_a_threshold_are_found_once(
        m in 1usize..70, n in 1usize..100, dim in 1usize..70, first in 0usize..20, seed in 0u64..1000
    ) {
        let first = first.min(m - 1);
        let (left, right) = (numbers(m * dim, seed), numbers(n * dim, seed + 1));
        let (for_columns, for_rows) = (scores(&right, &left, dim), scores(&left, &right, dim));
        let mut rng = Rng::new(seed, 2);
        for kernels in kernels() {
            let rows = Rows::new(kernels, m, dim, 1.0, |i| &left[i * dim..(i + 1) * dim]);
            let columns = Columns::new(kernels, n, dim, 1.0, |i| &right[i * dim..(i + 1) * dim]);
            let of_rows: Vec<f32> = (first..m).map(|_| rng.normal() as f32).collect();
            let mut of_columns = vec![f32::INFINITY; columns.n_groups() * GROUP];
            of_columns[..n].iter_mut().for_each(|threshold| *threshold = rng.normal() as f32);
            let mut hits = Hits::default();
            kernels.above(&rows, first, m - first, &columns, &of_rows, &of_columns, &mut hits);
            let mut seen = vec![false; m * n];
            for hit in hits.iter() {
                let at = (first + hit.row as usize) * n + hit.column as usize;
                prop_assert!(!std::mem::replace(&mut seen[at], true), "{}", kernels.name());
            }
            for row in first..m {
                for column in 0..n {
                    let by = (for_columns[column][row] - of_columns[column] as f64).max(for_rows[row][column] - of_rows[row - first] as f64);
                    prop_assert!(by.abs() < 1e-3 || seen[row * n + column] == (by > 0.0), "{} {by}", kernels.name());
                }
            }
        }
    }
}
