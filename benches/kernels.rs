//! How fast are the kernels? Blocks of dot products (native beside the scalar oracle), the nearest of 1,000 centroids,
//! and the exact kNN graph of 2,000 rows. Throughput counts two operations per multiply-add: Gelem/s is GFLOP/s.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lmsys_core::kernels::{self, ISAS, Nearest};
use lmsys_core::random::Rng;
use lmsys_core::{Task, Vectors, graph};

/// Columns of all-MiniLM-L6-v2.
const DIM: usize = 384;

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
    for (name, isa) in ISAS {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| kernels::dots(isa, black_box(&a), black_box(&b), DIM, &mut out));
        });
    }
    group.finish();
}

fn nearest_centroid(criterion: &mut Criterion) {
    let (m, k) = (256, 1_000);
    let (rows, centroids) = (unit_rows(m, 3), unit_rows(k, 4));
    let norms: Vec<f32> = centroids.chunks_exact(DIM).map(|row| kernels::squared_norm(row) as f32).collect();
    let mut out = vec![Nearest { id: u32::MAX, squared_distance: f64::INFINITY }; m];
    let mut group = criterion.benchmark_group("nearest of 1,000 centroids, 256 rows");
    group.throughput(operations(m, k));
    for (name, isa) in ISAS {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| kernels::nearest_centroid(isa, black_box(&rows), &centroids, &norms, DIM, &mut out));
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

criterion_group!(benches, dots, nearest_centroid, exact_graph);
criterion_main!(benches);
