//! Agglomerative clustering as a Python estimator.

use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arrays::{self, Matrix, count};
use super::boundary::run;
use super::estimator::{Learned, estimator};
use crate::cluster::agglomerative::{self, Agglomeration, Linkage, Merge};
use crate::error::Error;

/// Agglomerative clustering of up to 32,768 rows, centroids with their sizes for instance: the whole tree, in O(n^2)
/// time (Muellner 2011). Its arrays are the columns of SciPy's linkage matrix.
///
/// Args:
///     n_clusters: where labels_ cuts the tree.
///     distance_threshold: instead: clusters this far apart or farther stay apart. With neither, labels_ cuts where
///         successive merges are farthest apart in distance.
///     linkage: "average" (mean distance of the rows; Sokal, Michener 1958) or "ward" (growth of the sum of squared
///         distances to the centroids; Ward 1963).
///
/// Raises:
///     InvalidInputError: if a parameter is out of range, or both n_clusters and distance_threshold are given.
#[pyclass(name = "Agglomerative", module = "lmsys_rs._core", frozen)]
pub struct PyAgglomerative {
    n_clusters: Option<usize>,
    distance_threshold: Option<f64>,
    linkage: String,
    learned: Learned,
}

#[pymethods]
impl PyAgglomerative {
    #[new]
    #[pyo3(signature = (n_clusters=None, *, distance_threshold=None, linkage="average".to_owned()))]
    fn new(n_clusters: Option<i64>, distance_threshold: Option<f64>, linkage: String) -> PyResult<Self> {
        let n_clusters = n_clusters.map(|value| count(value, "n_clusters")).transpose()?;
        if n_clusters == Some(0) {
            return Err(Error::invalid("n_clusters must be at least 1: got 0").into());
        }
        if let Some(distance) = distance_threshold {
            if n_clusters.is_some() {
                return Err(Error::invalid("n_clusters and distance_threshold exclude each other: got both").into());
            }
            if distance.is_nan() || distance < 0.0 {
                let message = format!("distance_threshold must be a number >= 0: got {distance}");
                return Err(Error::invalid(message).into());
            }
        }
        let this = Self { n_clusters, distance_threshold, linkage, learned: Learned::new("Agglomerative") };
        this.to_linkage()?;
        Ok(this)
    }

    /// Join the rows of X.
    ///
    /// Args:
    ///     X: (n, dim) real numbers; numpy, Arrow fixed-size lists or DLPack.
    ///     sample_weight: (n,) how often each row occurs, > 0; the sizes of clusters where X are their centroids.
    ///     progress: called with (done, total) units of work.
    ///
    /// Returns:
    ///     self, with labels_, n_clusters_, children_, distances_ and sizes_.
    ///
    /// Raises:
    ///     InvalidInputError: if X is empty, has NaN, fewer rows than n_clusters, or more than 32,768.
    #[pyo3(signature = (X, *, sample_weight=None, progress=None))]
    #[allow(non_snake_case)]
    fn fit<'py>(
        slf: Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        sample_weight: Option<&Bound<'py, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let this = slf.get();
        let matrix = Matrix::from_python(X, "X")?;
        let vectors = matrix.view()?;
        let weights = arrays::weights(sample_weight, "sample_weight")?;
        let weights = weights.as_ref().map(|weights| weights.as_slice()).transpose()?;
        let linkage = this.to_linkage()?;
        if let Some(n_clusters) = this.n_clusters
            && n_clusters > vectors.n()
        {
            let n = vectors.n();
            return Err(Error::invalid(format!("n_clusters must be <= the number of rows: {n_clusters} > {n}")).into());
        }
        let (tree, labels) = run(py, progress, |task| {
            let tree = agglomerative::agglomerate(vectors, weights, linkage, task)?;
            let labels = match (this.n_clusters, this.distance_threshold) {
                (Some(n_clusters), _) => tree.cut(n_clusters)?,
                (None, Some(distance)) => tree.cut_at(distance)?,
                (None, None) => tree.cut(tree.widest_gap())?,
            };
            Ok((tree, labels))
        })?;
        let children = tree.merges.iter().flat_map(|merge| [merge.left as i64, merge.right as i64]).collect();
        let n_clusters = labels.iter().max().map_or(0, |label| label + 1);
        this.learned.set(
            py,
            [
                ("labels_", arrays::column(py, labels)),
                ("n_clusters_", n_clusters.into_pyobject(py)?.into_any()),
                ("children_", arrays::table(py, children, 2)?),
                ("distances_", arrays::column(py, tree.merges.iter().map(|merge| merge.distance).collect())),
                ("sizes_", arrays::column(py, tree.merges.iter().map(|merge| merge.size).collect())),
                // of the rows, which cuts need for the numbers of clusters
                ("weights", arrays::column(py, tree.weights)),
            ],
        )?;
        Ok(slf)
    }

    /// `fit(X).labels_`.
    #[pyo3(signature = (X, *, sample_weight=None, progress=None))]
    #[allow(non_snake_case)]
    fn fit_predict<'py>(
        slf: Bound<'py, Self>,
        X: &Bound<'py, PyAny>,
        sample_weight: Option<&Bound<'py, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        Self::fit(slf, X, sample_weight, progress)?.get().learned.get(py, "labels_")
    }

    /// Labels at any other level of the tree, without joining anew: (n,) int32, numbered by falling weight.
    ///
    /// Raises:
    ///     InvalidInputError: if n_clusters is 0 or more than the rows.
    fn cut<'py>(&self, py: Python<'py>, n_clusters: i64) -> PyResult<Bound<'py, PyAny>> {
        let n_clusters = count(n_clusters, "n_clusters")?;
        let tree = self.tree(py)?;
        Ok(arrays::column(py, run(py, None, |_| tree.cut(n_clusters))?))
    }

    /// (n,) int32 cluster of each row, numbered by falling weight.
    #[getter]
    fn labels_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "labels_")
    }

    /// Number of clusters in labels_.
    #[getter]
    fn n_clusters_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "n_clusters_")
    }

    /// (n - 1, 2) int64 nodes that join, by distance: rows are 0..n-1, merge m makes node n + m.
    #[getter]
    fn children_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "children_")
    }

    /// (n - 1,) float64 distance of each merge, ascending.
    #[getter]
    fn distances_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "distances_")
    }

    /// (n - 1,) float64 weight of each merged cluster.
    #[getter]
    fn sizes_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.learned.get(py, "sizes_")
    }
}

impl PyAgglomerative {
    fn to_linkage(&self) -> PyResult<Linkage> {
        match self.linkage.as_str() {
            "average" => Ok(Linkage::Average),
            "ward" => Ok(Linkage::Ward),
            other => Err(Error::invalid(format!("linkage must be average or ward: got '{other}'")).into()),
        }
    }

    fn tree(&self, py: Python<'_>) -> PyResult<Agglomeration> {
        let children: PyReadonlyArray2<'_, i64> = self.learned.get(py, "children_")?.extract()?;
        let distances: PyReadonlyArray1<'_, f64> = self.learned.get(py, "distances_")?.extract()?;
        let sizes: PyReadonlyArray1<'_, f64> = self.learned.get(py, "sizes_")?.extract()?;
        let weights: PyReadonlyArray1<'_, f64> = self.learned.get(py, "weights")?.extract()?;
        let nodes = children.as_slice()?.as_chunks::<2>().0.iter();
        let merges = nodes
            .zip(distances.as_slice()?.iter().zip(sizes.as_slice()?))
            .map(|([left, right], (distance, size))| Merge {
                left: *left as u32,
                right: *right as u32,
                distance: *distance,
                size: *size,
            })
            .collect();
        Ok(Agglomeration { merges, weights: weights.as_slice()?.to_vec() })
    }

    fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let params = PyDict::new(py);
        params.set_item("n_clusters", self.n_clusters)?;
        params.set_item("distance_threshold", self.distance_threshold)?;
        params.set_item("linkage", &self.linkage)?;
        Ok(params)
    }
}

estimator!(PyAgglomerative, "Agglomerative");
