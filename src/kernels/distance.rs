//! Distances as they are settled: f64 sums in one order of additions, the same bits on every instruction set. The
//! compiler gets the same source once per instruction set; it never merges a product and a sum by itself.

use std::sync::OnceLock;

/// Sums that run beside each other, added up at the end in a fixed order: enough to keep every vector unit busy.
const LANES: usize = 32;

type Sum = unsafe fn(&[f32], &[f32]) -> f64;

struct Table {
    squared_distance: Sum,
    dot: Sum,
}

/// Sum of squared differences.
pub fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    // SAFETY: the table holds what this CPU can run
    unsafe { (table().squared_distance)(a, b) }
}

/// Dot product.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    // SAFETY: as above
    unsafe { (table().dot)(a, b) }
}

pub fn squared_norm(row: &[f32]) -> f64 {
    dot(row, row)
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
            {
                return Table { squared_distance: avx512::squared_distance, dot: avx512::dot };
            }
            if is_x86_feature_detected!("avx2") {
                return Table { squared_distance: avx2::squared_distance, dot: avx2::dot };
            }
        }
        Table { squared_distance: plain::squared_distance, dot: plain::dot }
    })
}

#[inline(always)]
fn sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    debug_assert_eq!(a.len(), b.len());
    let mut lanes = [0f64; LANES];
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            lanes[lane] += term(x[lane] as f64, y[lane] as f64);
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    let mut total = lanes[0];
    for (x, y) in a_rest.iter().zip(b_rest) {
        total += term(*x as f64, *y as f64);
    }
    total
}

macro_rules! compiled {
    ($module:ident, [$($attribute:meta)?]) => {
        mod $module {
            $(#[$attribute])?
            pub fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
                super::sum(a, b, |x, y| (x - y) * (x - y))
            }
            $(#[$attribute])?
            pub fn dot(a: &[f32], b: &[f32]) -> f64 {
                super::sum(a, b, |x, y| x * y)
            }
        }
    };
}

compiled!(plain, []);
#[cfg(target_arch = "x86_64")]
compiled!(avx2, [target_feature(enable = "avx2")]);
#[cfg(target_arch = "x86_64")]
compiled!(avx512, [target_feature(enable = "avx512f,avx512vl,avx512dq")]);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matrix(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut rng = crate::random::Rng::new(seed, 0);
        (0..rows * dim).map(|_| rng.normal() as f32).collect()
    }

    proptest! {
        #[test]
        fn squared_distance_is_symmetric_to_the_bit(dim in 1usize..100, seed in 0u64..1000) {
            let (a, b) = (matrix(1, dim, seed), matrix(1, dim, seed + 1));
            prop_assert_eq!(squared_distance(&a, &b).to_bits(), squared_distance(&b, &a).to_bits());
            let plain: f64 = a.iter().zip(&b).map(|(x, y)| (*x as f64 - *y as f64).powi(2)).sum();
            prop_assert!((squared_distance(&a, &b) - plain).abs() <= 1e-9 * (1.0 + plain));
        }

        #[test]
        fn every_instruction_set_gives_the_same_bits(dim in 1usize..400, seed in 0u64..1000) {
            let (a, b) = (matrix(1, dim, seed), matrix(1, dim, seed + 1));
            prop_assert_eq!(squared_distance(&a, &b).to_bits(), plain::squared_distance(&a, &b).to_bits());
            prop_assert_eq!(dot(&a, &b).to_bits(), plain::dot(&a, &b).to_bits());
        }
    }
}
