//! Nearest rows of unseen vectors, from Python.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use numpy::PyReadonlyArray1;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use super::arrays::{self, Matrix};
use super::boundary::{run, run_here};
use crate::error::Error;
use crate::index::{self, Exact, Filter, Hnsw, HnswParams, Index, Partitioned, PartitionedParams};

/// An index over the rows of a matrix; ids are row numbers.
///
/// Engine "partitioned" grows and shrinks (`insert`, `delete`) and can be saved. Threads may share an index: searches run
/// beside each other, `insert` and `delete` wait for those that run.
#[pyclass(name = "Index", module = "lmsys_rs._core", frozen)]
pub struct PyIndex(Engine);

enum Engine {
    Fixed(Box<dyn Index>),
    Partitioned(Box<RwLock<Partitioned>>),
}

/// Which rows may be found, as they were handed in.
enum Where<'py> {
    Mask(PyReadonlyArray1<'py, bool>),
    Ids(PyReadonlyArray1<'py, u32>),
}

impl PyIndex {
    fn partitioned(&self, what: &str) -> PyResult<&RwLock<Partitioned>> {
        match &self.0 {
            Engine::Partitioned(index) => Ok(index.as_ref()),
            Engine::Fixed(index) => {
                Err(Error::invalid(format!("an index of engine \"{}\" can't {what}", index.name()))
                    .hint("build it with engine=\"partitioned\"")
                    .into())
            }
        }
    }

    fn describe(&self) -> (&'static str, usize, usize) {
        match &self.0 {
            Engine::Fixed(index) => (index.name(), index.n(), index.dim()),
            Engine::Partitioned(index) => {
                let index = index.read().unwrap_or_else(PoisonError::into_inner);
                ("partitioned", index.n(), index.dim())
            }
        }
    }
}

#[pymethods]
impl PyIndex {
    /// Build an index.
    ///
    /// Args:
    ///     X: (n, dim) real numbers. They are copied; only the partitioned engine reads those of a float32 file that is mapped
    ///         for reading (`np.load(path, mmap_mode="r")`) where they lie.
    ///     engine: "auto" (partitioned, which looks at every row where there are few), "exact" (every row is looked at),
    ///         "partitioned" (only lists of rows near the query, see recall) or "hnsw" (approximate; Malkov, Yashunin 2016).
    ///     recall: share of the true neighbors that a search is to find (partitioned): how far to look for that is learned
    ///         on a sample of the rows. 1 looks at every row.
    ///     ef_construction: candidates kept while building (hnsw).
    ///     ef_search: candidates kept while searching (hnsw): the recall knob.
    ///     random_state: seed of the lists (partitioned) or of the layers (hnsw).
    ///     progress: called with (done, total).
    ///
    /// Raises:
    ///     InvalidInputError: if X is empty or has NaN, the engine is unknown or recall is not in (0, 1].
    #[staticmethod]
    #[pyo3(signature = (
        X, *, engine="auto", recall=0.95, ef_construction=200, ef_search=100, random_state=0, progress=None
    ))]
    #[allow(non_snake_case, clippy::too_many_arguments)]
    fn build(
        py: Python<'_>,
        X: &Bound<'_, PyAny>,
        engine: &str,
        recall: f64,
        ef_construction: usize,
        ef_search: usize,
        random_state: u64,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let matrix = Matrix::from_python(X, "X")?;
        let vectors = matrix.view()?;
        let params = PartitionedParams::new(recall, random_state)?;
        Ok(Self(match engine {
            "exact" => Engine::Fixed(Box::new(run(py, progress, |_| Ok(Exact::build(vectors)))?)),
            "auto" | "partitioned" => {
                let shared = arrays::unwritable(X)?;
                let index = run(py, progress, |task| match shared {
                    Some(rows) => Partitioned::build_on(vectors, Box::new(rows), &params, task),
                    None => Partitioned::build(vectors, &params, task),
                })?;
                Engine::Partitioned(Box::new(RwLock::new(index)))
            }
            "hnsw" => {
                let params = HnswParams { ef_construction, ef_search, random_state };
                Engine::Fixed(Box::new(run(py, progress, |task| Hnsw::build(vectors, &params, task))?))
            }
            other => {
                let message = format!("engine must be auto, exact, partitioned or hnsw: got '{other}'");
                return Err(Error::invalid(message).into());
            }
        }))
    }

    /// Read an index that `save` wrote.
    ///
    /// Args:
    ///     path: the file.
    ///     mmap: leave the rows in the file, where the system reads what is needed: only the lists take memory. They are
    ///         then not compared with their hash. The file must not be written to while the index lives.
    ///
    /// Raises:
    ///     InvalidInputError: if the file is no index, was cut off or has changed.
    ///     OSError: if it can't be read.
    #[staticmethod]
    #[pyo3(signature = (path, *, mmap=true))]
    fn load(py: Python<'_>, path: PathBuf, mmap: bool) -> PyResult<Self> {
        let mut file = BufReader::new(File::open(&path).map_err(|error| named(&error, &path))?);
        let len = file.get_ref().metadata()?.len();
        let saved = run(py, None, |_| index::read(&mut file, len))?;
        let index = if mmap {
            let ((n, dim), offset) = (saved.shape(), saved.rows_at);
            saved.on(Box::new(arrays::mapped(py, &path, offset, n * dim)?))?
        } else {
            file.seek(SeekFrom::Start(saved.rows_at))?;
            run(py, None, |_| saved.with_rows(&mut file))?
        };
        Ok(Self(Engine::Partitioned(Box::new(RwLock::new(index)))))
    }

    /// Write the index to a file, which is replaced at once when all is written (partitioned).
    ///
    /// Raises:
    ///     InvalidInputError: if the engine is another one.
    ///     OSError: if it can't be written.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let index = self.partitioned("be saved")?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let part = path.with_file_name(name);
        let written = py.detach(|| {
            let index = index.read().unwrap_or_else(PoisonError::into_inner);
            let mut file = BufWriter::with_capacity(1 << 20, File::create(&part)?);
            index.write(&mut file)?;
            file.flush()?;
            file.get_ref().sync_all()?;
            std::fs::rename(&part, &path)
        });
        if written.is_err() {
            // what is left of a failed save is of no use; the error that counts is the first
            let _ = std::fs::remove_file(&part);
        }
        written.map_err(|error| named(&error, &path))
    }

    /// The engine's name.
    #[getter]
    fn engine(&self) -> &'static str {
        self.describe().0
    }

    /// Columns of the rows.
    #[getter]
    fn dim(&self) -> usize {
        self.describe().2
    }

    /// The k nearest rows of each query.
    ///
    /// Args:
    ///     Q: (m, dim) queries.
    ///     k: rows per query.
    ///     where: (n,) bool, or the ids of the rows to rank as unsigned integers; all passing rows are ranked, so a filtered
    ///         search gives the true filtered top k. Deleted rows count in n.
    ///     recall: share of the true neighbors to find (partitioned); None is what the index was built for.
    ///     progress: called with (queries done, m).
    ///
    /// Returns:
    ///     (m, k) uint32 ids and (m, k) float32 Euclidean distances, ascending; where fewer than k rows pass, the
    ///     rest is 4294967295 and inf.
    #[pyo3(signature = (Q, k=10, *, r#where=None, recall=None, progress=None))]
    #[allow(non_snake_case)]
    fn search<'py>(
        &self,
        py: Python<'py>,
        Q: &Bound<'py, PyAny>,
        k: usize,
        r#where: Option<&Bound<'py, PyAny>>,
        recall: Option<f64>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let matrix = Matrix::from_python(Q, "Q")?;
        let queries = matrix.view()?;
        let passing = match r#where {
            Some(object) => match arrays::unsigned(object, "where")? {
                Some(ids) => Some(Where::Ids(ids)),
                None => arrays::mask(Some(object))?.map(Where::Mask),
            },
            None => None,
        };
        let filter = match &passing {
            Some(Where::Mask(mask)) => Some(Filter::Mask(mask.as_slice()?)),
            Some(Where::Ids(ids)) => Some(Filter::Ids(ids.as_slice()?)),
            None => None,
        };
        let found = match &self.0 {
            Engine::Partitioned(index) => {
                let quick = {
                    let index = index.read().unwrap_or_else(PoisonError::into_inner);
                    progress.is_none() && index.is_quick(queries.n(), filter)
                };
                let search = |task: &crate::Task| {
                    let index = index.read().unwrap_or_else(PoisonError::into_inner);
                    index.search(queries, k, recall, filter, task)
                };
                if quick { run_here(py, search)? } else { run(py, progress, search)? }
            }
            Engine::Fixed(index) => {
                if recall.is_some() {
                    let message = format!("engine \"{}\" takes no recall", index.name());
                    return Err(Error::invalid(message).hint("build it with engine=\"partitioned\"").into());
                }
                let mask = filter.map(|filter| filter.mask(index.n())).transpose()?;
                run(py, progress, |task| index.search(queries, k, mask.as_deref(), task))?
            }
        };
        Ok((arrays::table(py, found.ids, k)?, arrays::table(py, found.distances, k)?))
    }

    /// Add rows (partitioned).
    ///
    /// Args:
    ///     X: (m, dim) real numbers.
    ///
    /// Returns:
    ///     (m,) uint32 ids: the numbers after all that were given before. None is ever given twice.
    ///
    /// Raises:
    ///     InvalidInputError: if the width is another one, or a value is far larger than those the index was built on.
    #[allow(non_snake_case)]
    fn insert<'py>(&self, py: Python<'py>, X: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let index = self.partitioned("take new rows")?;
        let matrix = Matrix::from_python(X, "X")?;
        let vectors = matrix.view()?;
        let ids = run(py, None, |_| index.write().unwrap_or_else(PoisonError::into_inner).insert(vectors))?;
        Ok(arrays::column(py, ids.collect::<Vec<u32>>()))
    }

    /// Remove rows (partitioned); they are never found again. Ids that are gone already are passed over.
    ///
    /// Args:
    ///     ids: unsigned integers.
    ///
    /// Returns:
    ///     How many rows went.
    ///
    /// Raises:
    ///     InvalidInputError: if an id was never given; nothing is removed then.
    fn delete(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<usize> {
        let index = self.partitioned("remove rows")?;
        let ids = arrays::row_ids(ids, "ids")?;
        let ids = ids.as_slice()?;
        run_here(py, |_| index.write().unwrap_or_else(PoisonError::into_inner).delete(ids))
    }

    fn __len__(&self) -> usize {
        self.describe().1
    }

    fn __repr__(&self) -> String {
        let (name, n, dim) = self.describe();
        format!("Index(engine='{name}', n={n}, dim={dim})")
    }
}

/// An OSError, of the class that fits, that names the file.
fn named(error: &std::io::Error, path: &Path) -> PyErr {
    match error.raw_os_error() {
        Some(code) => PyOSError::new_err((code, error.to_string(), path.to_owned())),
        None => PyOSError::new_err(format!("{}: {error}", path.display())),
    }
}
