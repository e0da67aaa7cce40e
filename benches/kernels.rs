//! How fast are the kernels? The layers of an encoder on every instruction set of this CPU, blocks of dot products (the
//! crate `gemm` beside the scalar oracle), the nearest of 1,000 centroids on every instruction set, and the exact kNN graph of 2,000 rows.
//! Throughput counts two operations per multiply-add: Gelem/s is GFLOP/s.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lmsys_core::kernels::tiles::{AttentionScratch, Columns, Floats, Kernels, Norm, Packed, Rows, TopTwos, Values};
use lmsys_core::kernels::{self, Isa};
use lmsys_core::random::Rng;
use lmsys_core::{Task, Vectors, graph};

/// Columns of all-MiniLM-L6-v2, of its feed-forward layer, and its heads.
const DIM: usize = 384;
const WIDE: usize = 1_536;
const HEADS: usize = 12;

const DOTS: [(&str, Isa); 2] = [("scalar", Isa::Scalar), ("gemm", Isa::Avx512)];

fn unit_rows(n: usize, seed: u64) -> Vec<f32> {
    let mut rows = Vec::with_capacity(n * DIM);
    for i in 0..n {
        let mut rng = Rng::new(seed, i as u64);
        let row: Vec<f32> = (0..DIM).map(|_| rng.normal() as f32).collect();
        let length = kernels::squared_norm(&row).sqrt() as f32;
        rows.extend(row.iter().map(|value| value / length));
    }
    rows
}

fn operations(m: usize, n: usize) -> Throughput {
    Throughput::Elements(2 * (m * n * DIM) as u64)
}

fn dots(criterion: &mut Criterion) {
    let (m, n) = (256, 512);
    let (a, b) = (unit_rows(m, 1), unit_rows(n, 2));
    let mut out = vec![0f32; m * n];
    let mut group = criterion.benchmark_group("dots 256 x 512 x 384");
    group.throughput(operations(m, n));
    for (name, isa) in DOTS {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| kernels::dots(isa, black_box(&a), black_box(&b), DIM, &mut out));
        });
    }
    group.finish();
}

fn nearest_centroid(criterion: &mut Criterion) {
    let (m, k) = (256, 1_000);
    let (rows, centroids) = (unit_rows(m, 3), unit_rows(k, 4));
    let mut group = criterion.benchmark_group("two best of each 32 of 1,000 centroids, 256 rows");
    group.throughput(operations(m, k));
    for isa in [Isa::Scalar, Isa::Neon, Isa::Avx2, Isa::Avx512f, Isa::Avx512, Isa::Amx] {
        let Some(kernels) = Kernels::of(isa) else { continue };
        let left = Rows::new(kernels, m, DIM, 1.0, |i| &rows[i * DIM..(i + 1) * DIM]);
        let right = Columns::new(kernels, k, DIM, 1.0, |i| &centroids[i * DIM..(i + 1) * DIM]);
        let mut found = TopTwos::default();
        group.bench_function(BenchmarkId::from_parameter(kernels.name()), |bencher| {
            bencher.iter(|| kernels.top_two(black_box(&left), m, &right, 0, right.n_groups(), &mut found));
        });
    }
    group.finish();
}

fn exact_graph(criterion: &mut Criterion) {
    let (n, k) = (2_000, 15);
    let data = unit_rows(n, 5);
    let vectors = Vectors::new(&data, n, DIM).expect("finite rows");
    let mut group = criterion.benchmark_group("exact graph, k = 15");
    group.throughput(operations(n, n)).sample_size(20);
    group.bench_function(BenchmarkId::from_parameter("2,000 x 384, all threads"), |bencher| {
        bencher.iter(|| graph::exact::build(black_box(vectors), k, &Task::new()).expect("not cancelled"));
    });
    group.finish();
}

/// The parts of one MiniLM layer on a batch of 256 tokens.
fn layer(criterion: &mut Criterion) {
    const TOKENS: usize = 256;
    for isa in [Isa::Scalar, Isa::Neon, Isa::Avx2, Isa::Avx512f, Isa::Avx512, Isa::Amx] {
        let Some(kernels) = Kernels::of(isa) else { continue };
        let name = kernels.name();
        let weights = |n_in: usize, n_out: usize| {
            let weight: Vec<f32> = unit_rows((n_in * n_out).div_ceil(DIM), 6)[..n_in * n_out].to_vec();
            Packed::new(kernels, &weight, &vec![0.1; n_out], n_in)
        };
        let (qkv, wide, narrow) = (weights(DIM, 3 * DIM), weights(DIM, WIDE), weights(WIDE, DIM));
        let mut x = Floats::zeros(TOKENS, DIM);
        for row in 0..TOKENS {
            x.row_mut(row).copy_from_slice(&unit_rows(1, row as u64));
        }
        let values = |columns| Values::zeros(kernels, TOKENS, columns);
        let (mut hidden, mut heads, mut context, mut inner) = (values(DIM), values(3 * DIM), values(DIM), values(WIDE));
        let norm = Norm::new(&[1.0; DIM], &[0.0; DIM], 1e-12);
        let mut scratch = AttentionScratch::new(TOKENS, DIM / HEADS);
        kernels.layer_norm(&mut x, TOKENS, &norm, &mut hidden);
        kernels.store(&hidden, TOKENS, &qkv, false, &mut heads);
        let mut group = criterion.benchmark_group("MiniLM layer, 256 tokens");
        let products = |n_out: usize, n_in: usize| Throughput::Elements(2 * (TOKENS * n_out * n_in) as u64);
        group.throughput(products(3 * DIM, DIM));
        group.bench_function(BenchmarkId::new("queries, keys, values", name), |bencher| {
            bencher.iter(|| kernels.store(black_box(&hidden), TOKENS, &qkv, false, &mut heads));
        });
        group.throughput(products(WIDE, DIM));
        group.bench_function(BenchmarkId::new("feed-forward in, GELU", name), |bencher| {
            bencher.iter(|| kernels.store(black_box(&hidden), TOKENS, &wide, true, &mut inner));
        });
        group.bench_function(BenchmarkId::new("feed-forward out, residual", name), |bencher| {
            bencher.iter(|| kernels.add(black_box(&inner), TOKENS, &narrow, &mut x));
        });
        for length in [16, 256] {
            group.throughput(Throughput::Elements(4 * (TOKENS * length * DIM) as u64));
            let lengths = vec![length; TOKENS / length];
            group.bench_function(BenchmarkId::new(format!("attention, texts of {length}"), name), |bencher| {
                bencher.iter(|| kernels.attend(black_box(&heads), &lengths, HEADS, &mut scratch, &mut context));
            });
        }
        group.throughput(Throughput::Elements((TOKENS * DIM) as u64));
        group.bench_function(BenchmarkId::new("LayerNorm (values)", name), |bencher| {
            bencher.iter(|| kernels.layer_norm(black_box(&mut x), TOKENS, &norm, &mut hidden));
        });
        group.finish();
    }
}

criterion_group!(benches, layer, dots, nearest_centroid, exact_graph);
criterion_main!(benches);
