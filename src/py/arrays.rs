//! The only place where memory crosses between Python and Rust: matrices, labels, weights and texts in; arrays out.
//! A contiguous float32 matrix is read where it lies (numpy, Arrow or DLPack); anything else is converted once.

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Float32Type};
use numpy::{
    Element, IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3_arrow::PyChunkedArray;

use super::boundary;
use crate::error::Error;
use crate::vectors::Vectors;

/// A matrix that was handed in; keeps its memory alive while a kernel reads it.
pub enum Matrix<'py> {
    Numpy(PyReadonlyArray2<'py, f32>),
    Arrow { values: ArrayRef, n: usize, dim: usize },
}

impl<'py> Matrix<'py> {
    /// `name` is the parameter, for errors.
    pub fn from_python(object: &Bound<'py, PyAny>, name: &str) -> PyResult<Self> {
        if let Some(matrix) = Self::from_arrow(object, name)? {
            return Ok(matrix);
        }
        let py = object.py();
        let numpy = py.import("numpy")?;
        let is_array = object.cast::<PyUntypedArray>().is_ok();
        let array = if !is_array && object.hasattr("to_numpy")? {
            object.call_method0("to_numpy")?
        } else if !is_array && object.hasattr("__dlpack__")? {
            numpy.call_method1("from_dlpack", (object,))?
        } else {
            numpy.call_method1("asarray", (object,))?
        };
        let untyped = array.cast::<PyUntypedArray>()?;
        let kind: String = untyped.dtype().getattr("kind")?.extract()?;
        if !matches!(kind.as_str(), "f" | "i" | "u" | "b") {
            return Err(
                Error::invalid(format!("{name} must hold real numbers: got dtype {}", untyped.dtype().str()?)).into()
            );
        }
        if untyped.ndim() != 2 {
            return Err(Error::invalid(format!(
                "{name} must be 2-D (n rows, dim columns): got shape {:?}",
                untyped.shape()
            ))
            .into());
        }
        let keywords = PyDict::new(py);
        keywords.set_item("dtype", numpy.getattr("float32")?)?;
        // no copy when it is contiguous float32 already
        let array = numpy.call_method("ascontiguousarray", (array,), Some(&keywords))?;
        Ok(Self::Numpy(array.cast::<PyArray2<f32>>()?.try_readonly().map_err(borrowed)?))
    }

    fn from_arrow(object: &Bound<'py, PyAny>, name: &str) -> PyResult<Option<Self>> {
        if !(object.hasattr("__arrow_c_array__")? || object.hasattr("__arrow_c_stream__")?) {
            return Ok(None);
        }
        let Ok(chunked) = object.extract::<PyChunkedArray>() else { return Ok(None) };
        let DataType::FixedSizeList(field, dim) = chunked.data_type() else { return Ok(None) };
        if *field.data_type() != DataType::Float32 {
            return Ok(None);
        }
        let dim = *dim as usize;
        let array = one_chunk(chunked.chunks(), chunked.data_type())?;
        let lists = array.as_fixed_size_list();
        if lists.null_count() > 0 || lists.values().null_count() > 0 {
            return Err(Error::invalid(format!("{name} must not hold nulls: got {}", lists.null_count().max(1))).into());
        }
        let n = lists.len();
        let values = lists.values().slice(lists.value_offset(0) as usize, n * dim);
        Ok(Some(Self::Arrow { values, n, dim }))
    }

    /// Checks the values, in the pool: outside it rayon would start a second one.
    pub fn view(&self) -> crate::Result<Vectors<'_>> {
        let pool = boundary::pool()?;
        match self {
            Self::Numpy(array) => {
                let shape = array.shape();
                let data = array.as_slice().map_err(|_| Error::invalid("the array is not contiguous"))?;
                pool.install(|| Vectors::new(data, shape[0], shape[1]))
            }
            Self::Arrow { values, n, dim } => {
                let data = values.as_primitive::<Float32Type>().values();
                pool.install(|| Vectors::new(data, *n, *dim))
            }
        }
    }

    /// The values and shape, unchecked: for results that are only carried.
    pub fn parts(&self) -> PyResult<(Vec<f32>, usize, usize)> {
        let vectors = self.view()?;
        Ok((vectors.data().to_vec(), vectors.n(), vectors.dim()))
    }
}

/// Texts that were handed in: Arrow strings of any kind without a copy of the bytes where they are 64-bit strings, or
/// any sequence of str.
pub struct Texts(LargeStringArray);

impl Texts {
    pub fn from_python(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Self> {
        if object.hasattr("__arrow_c_array__")? || object.hasattr("__arrow_c_stream__")? {
            let chunked: PyChunkedArray = object.extract()?;
            let array = one_chunk(chunked.chunks(), chunked.data_type())?;
            if !matches!(array.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null)
            {
                return Err(Error::invalid(format!("{name} must hold strings: got {}", array.data_type())).into());
            }
            let array = cast(&array, &DataType::LargeUtf8).map_err(internal)?;
            return Ok(Self(array.as_string::<i64>().clone()));
        }
        if object.is_instance_of::<PyString>() {
            return Err(Error::invalid(format!("{name} must be a sequence of texts: got one str"))
                .hint(format!("pass [{name}]"))
                .into());
        }
        let mut texts = Vec::with_capacity(object.len().unwrap_or(0));
        for item in object.try_iter()? {
            let item = item?;
            if item.is_none() {
                texts.push(None);
                continue;
            }
            let text = item.cast::<PyString>().map_err(|_| {
                PyTypeError::new_err(format!("{name} must hold str: position {} has {}", texts.len(), item.get_type()))
            })?;
            // a lone surrogate has no UTF-8: it becomes U+FFFD
            texts.push(Some(text.to_string_lossy().into_owned()));
        }
        Ok(Self(LargeStringArray::from(texts)))
    }

    pub fn array(&self) -> &LargeStringArray {
        &self.0
    }

    /// All texts.
    ///
    /// # Errors
    /// `InvalidInput` when one is null.
    pub fn all(&self, name: &str) -> crate::Result<Vec<&str>> {
        if let Some(row) = (0..self.0.len()).find(|row| self.0.is_null(*row)) {
            return Err(Error::invalid(format!("{name} must not hold nulls: row {row} is null")));
        }
        Ok((0..self.0.len()).map(|row| self.0.value(row)).collect())
    }
}

/// One value per row as i32 labels, from any integer array.
pub fn labels<'py>(object: &Bound<'py, PyAny>, name: &str) -> PyResult<PyReadonlyArray1<'py, i32>> {
    typed(object, name, "int32", "iu")
}

/// Positive weights as f32, from any real array.
pub fn weights<'py>(object: Option<&Bound<'py, PyAny>>) -> PyResult<Option<PyReadonlyArray1<'py, f32>>> {
    object.map(|object| typed(object, "sample_weight", "float32", "fiu")).transpose()
}

/// A boolean filter.
pub fn mask<'py>(object: Option<&Bound<'py, PyAny>>) -> PyResult<Option<PyReadonlyArray1<'py, bool>>> {
    object.map(|object| typed(object, "where", "bool", "b")).transpose()
}

/// Classes of any kind (numbers or strings) as their rank among the distinct ones.
pub fn classes(object: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    let py = object.py();
    let numpy = py.import("numpy")?;
    let keywords = PyDict::new(py);
    keywords.set_item("return_inverse", true)?;
    let pair = numpy.call_method("unique", (object,), Some(&keywords))?;
    let ranks = pair.cast::<PyTuple>()?.get_item(1)?.call_method0("ravel")?.call_method1("astype", ("int64",))?;
    ranks.extract()
}

fn typed<'py, T: Element>(
    object: &Bound<'py, PyAny>,
    name: &str,
    dtype: &str,
    kinds: &str,
) -> PyResult<PyReadonlyArray1<'py, T>> {
    let py = object.py();
    let numpy = py.import("numpy")?;
    let array = numpy.call_method1("asarray", (object,))?;
    let untyped = array.cast::<PyUntypedArray>()?;
    let kind: String = untyped.dtype().getattr("kind")?.extract()?;
    // an empty list is float64 to numpy
    if !kinds.contains(kind.as_str()) && untyped.len() > 0 {
        return Err(Error::invalid(format!("{name} must be of type {dtype}: got {}", untyped.dtype().str()?)).into());
    }
    if untyped.ndim() != 1 {
        return Err(Error::invalid(format!("{name} must be 1-D: got shape {:?}", untyped.shape())).into());
    }
    let keywords = PyDict::new(py);
    keywords.set_item("dtype", dtype)?;
    let array = numpy.call_method("ascontiguousarray", (array,), Some(&keywords))?;
    array.cast::<PyArray1<T>>()?.try_readonly().map_err(borrowed)
}

/// A new 1-D array; the memory moves.
pub fn column<T: Element>(py: Python<'_>, values: Vec<T>) -> Bound<'_, PyAny> {
    values.into_pyarray(py).into_any()
}

/// A new 2-D array of `width` columns; the memory moves.
pub fn table<T: Element>(py: Python<'_>, values: Vec<T>, width: usize) -> PyResult<Bound<'_, PyAny>> {
    let rows = values.len() / width.max(1);
    Ok(values.into_pyarray(py).reshape([rows, width])?.into_any())
}

/// Learned results are made once and shared: nobody may write into them.
pub fn read_only<'py>(array: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let keywords = PyDict::new(array.py());
    keywords.set_item("write", false)?;
    array.call_method("setflags", (), Some(&keywords))?;
    Ok(array)
}

/// A read-only n x k view of memory that `owner` keeps.
pub fn borrowed_table<'py, T: Element>(
    values: &[T],
    k: usize,
    owner: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let view = numpy::ndarray::ArrayView2::from_shape((values.len() / k.max(1), k), values).map_err(internal)?;
    // SAFETY: `values` lies in a frozen pyclass that never changes or moves it, and `owner` is that object: numpy
    // keeps it alive as the base of the array. The array is made read-only before anybody sees it.
    let array = unsafe { PyArray2::borrow_from_array(&view, owner) };
    read_only(array.into_any())
}

pub fn writable<'py>(object: &Bound<'py, PyAny>, name: &str) -> PyResult<numpy::PyReadwriteArray2<'py, f32>> {
    let wrong = || Error::invalid(format!("{name} must be a writable, contiguous 2-D float32 array"));
    let array = object.cast::<PyArray2<f32>>().map_err(|_| PyErr::from(wrong()))?;
    if !array.is_c_contiguous() {
        return Err(wrong().into());
    }
    array.try_readwrite().map_err(|_| wrong().into())
}

fn one_chunk(chunks: &[ArrayRef], data_type: &DataType) -> PyResult<ArrayRef> {
    match chunks {
        [] => Ok(arrow::array::new_empty_array(data_type)),
        [one] => Ok(one.clone()),
        many => concat(&many.iter().map(AsRef::as_ref).collect::<Vec<_>>()).map_err(internal),
    }
}

fn borrowed(error: numpy::BorrowError) -> PyErr {
    Error::invalid(format!("the array is being written by another call: {error}")).into()
}

fn internal(error: impl std::fmt::Display) -> PyErr {
    Error::Internal { message: error.to_string() }.into()
}
