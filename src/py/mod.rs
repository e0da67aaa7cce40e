//! How the core is seen from Python: the module `lmsys_rs._core`. Thin classes; every long call goes through
//! [`boundary::run`], every array through [`arrays`].

mod agglomerative;
mod arrays;
mod boundary;
mod cluster;
mod density;
mod embed;
mod error;
mod estimator;
mod graph;
mod index;
mod insight;
mod mixture;
mod project;
mod read;
mod signals;
mod streaming;
mod text;
mod tsne;

use pyo3::prelude::*;
use pyo3::types::IntoPyDict;

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::agglomerative::PyAgglomerative;
    #[pymodule_export]
    use super::boundary::{available_isas, configure};
    #[pymodule_export]
    use super::cluster::{PyHdbscan, PyKMeans};
    #[pymodule_export]
    use super::density::{PyDensity, PyLeiden};
    #[pymodule_export]
    use super::embed::{PyEmbedder, PyTokenizer};
    #[pymodule_export]
    use super::graph::PyKnnGraph;
    #[pymodule_export]
    use super::index::PyIndex;
    #[pymodule_export]
    use super::insight::{
        adjusted_rand_score, best_jaccard, bootstrap_stability, central_representatives, cluster_quality,
        covering_representatives, diverse_representatives, knn_outlier_scores, medoids, merge_suggestions,
        neighbors_kept, normalized_mutual_info_score, trustworthiness, v_measure_score,
    };
    #[pymodule_export]
    use super::mixture::{PyDbscan, PyGaussianMixture, PyOptics};
    #[pymodule_export]
    use super::project::{PyPca, PyUmap, place_in_layout};
    #[pymodule_export]
    use super::read::PyJsonReader;
    #[pymodule_export]
    use super::signals::{
        PySeenHashes, group_pairs, minhash_signatures, near_duplicate_pairs, near_duplicate_pairs_from_graph,
        redact_texts, shingle_similarity, text_signals,
    };
    #[pymodule_export]
    use super::streaming::PyMiniBatchKMeans;
    #[pymodule_export]
    use super::text::{cut_texts, normalize_texts, text_hashes, top_terms};
    #[pymodule_export]
    use super::tsne::PyTsne;

    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("PERSONAL_KINDS", super::signals::personal_kinds().into_py_dict(module.py())?)?;
        let mut names: Vec<String> =
            module.dict().keys().iter().map(|name| name.extract()).collect::<PyResult<Vec<String>>>()?;
        names.retain(|name| !name.starts_with("__") || name == "__version__");
        names.sort();
        module.add("__all__", names)
    }
}
