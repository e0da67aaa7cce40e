//! k-means of `linfa-clustering`, for benches/clustering.py: `linfa_kmeans ROWS.npy START.npy ITERATIONS` prints seconds
//! and inertia as JSON. A program of its own, as linfa has no door to Python.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::time::Instant;

use linfa::DatasetBase;
use linfa::traits::{Fit, Predict};
use linfa_clustering::{KMeans, KMeansInit};
use linfa_nn::distance::L2Dist;
use ndarray016::Array2;
use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::SeedableRng;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo bench` adds --bench
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [rows, start, iterations] = arguments.as_slice() else {
        // `cargo bench` without names runs every program
        println!("linfa_kmeans: benches/clustering.py runs it");
        return Ok(());
    };
    let (rows, start) = (read_npy(rows)?, read_npy(start)?);
    let data = DatasetBase::from(rows);
    let params = KMeans::params_with(start.nrows(), Xoshiro256Plus::seed_from_u64(0), L2Dist)
        .init_method(KMeansInit::Precomputed(start))
        .n_runs(1)
        .max_n_iterations(iterations.parse()?)
        // as good as none; linfa refuses 0
        .tolerance(1e-12);
    let clock = Instant::now();
    // at the bound linfa fails where others return what they have
    let fit = params.fit(&data);
    let seconds = clock.elapsed().as_secs_f64();
    let inertia = fit.ok().map(|model| {
        let labels = model.predict(&data.records);
        let rows = data.records.rows().into_iter().zip(labels.iter());
        rows.map(|(row, &label)| {
            let centroid = model.centroids().row(label);
            row.iter().zip(centroid).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        })
        .sum::<f64>()
    });
    let inertia = inertia.map_or_else(|| "null".to_owned(), |value| value.to_string());
    println!("{{\"s\": {seconds}, \"inertia\": {inertia}}}");
    Ok(())
}

/// A C-ordered float32 matrix of a .npy file (NEP 1, version 1).
fn read_npy(path: &str) -> Result<Array2<f32>, Box<dyn Error>> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..10 + length])?;
    let shape = header.split('(').nth(1).and_then(|rest| rest.split(')').next()).ok_or("no shape")?;
    let shape: Vec<usize> = shape.split(',').map(|part| part.trim().parse()).collect::<Result<_, _>>()?;
    let values =
        bytes[10 + length..].chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    Ok(Array2::from_shape_vec((shape[0], shape[1]), values.collect())?)
}
