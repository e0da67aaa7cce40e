//! The only place where memory crosses between Python and Rust: matrices, labels, weights and texts in; arrays out.
//! A contiguous float32 matrix is read where it lies (numpy, Arrow or DLPack); anything else is converted once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, Float32Type};
use numpy::{
    Element, IntoPyArray, PyArray1, PyArray2, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3_arrow::input::AnyArray;

use super::boundary;
use crate::error::Error;
use crate::vectors::{BLOCK_ROWS, Vectors};

/// A matrix that was handed in; keeps its memory alive while a kernel reads it.
pub struct Matrix<'py> {
    /// The parameter, for errors.
    name: &'static str,
    memory: Memory<'py>,
}

enum Memory<'py> {
    Numpy(PyReadonlyArray2<'py, f32>),
    Arrow { values: ArrayRef, n: usize, dim: usize },
}

impl<'py> Matrix<'py> {
    pub fn from_python(object: &Bound<'py, PyAny>, name: &'static str) -> PyResult<Self> {
        // what a single query is: the questions below take longer than its search
        if let Ok(array) = object.cast::<PyArray2<f32>>()
            && array.is_c_contiguous()
        {
            return Ok(Self { name, memory: Memory::Numpy(array.try_readonly().map_err(borrowed)?) });
        }
        if let Some(array) = arrow_array(object)?
            && let Some(memory) = from_lists(&array, name)?
        {
            return Ok(Self { name, memory });
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
        let array = to_dtype(&array, "float32")?;
        Ok(Self { name, memory: Memory::Numpy(array.cast::<PyArray2<f32>>()?.try_readonly().map_err(borrowed)?) })
    }

    /// Checks the values, in the pool: outside it rayon would start a second one.
    pub fn view(&self) -> crate::Result<Vectors<'_>> {
        let (data, n, dim) = match &self.memory {
            Memory::Numpy(array) => {
                let data = array.as_slice().map_err(|_| Error::invalid("the array is not contiguous"))?;
                (data, array.shape()[0], array.shape()[1])
            }
            Memory::Arrow { values, n, dim } => (&values.as_primitive::<Float32Type>().values()[..], *n, *dim),
        };
        let checked = match n <= BLOCK_ROWS {
            true => Vectors::new(data, n, dim),
            false => boundary::pool()?.install(|| Vectors::new(data, n, dim)),
        };
        checked.map_err(|error| match error {
            Error::InvalidInput { message, hint } => {
                Error::InvalidInput { message: format!("{}: {message}", self.name), hint }
            }
            other => other,
        })
    }

    /// The values as a read-only array: a view of the array that was handed in where that was float32 and contiguous, else
    /// of the memory it was converted into.
    pub fn to_numpy(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.memory {
            // a view, because the caller may still write into its own array
            Memory::Numpy(array) => read_only(array.call_method0("view")?),
            Memory::Arrow { values, dim, .. } => {
                // copied: numpy does not keep Arrow's memory alive
                let values = values.as_primitive::<Float32Type>().values().to_vec();
                read_only(table(py, values, *dim)?)
            }
        }
    }

    /// A copy of the checked values, and the shape: for what outlives the call.
    pub fn parts(&self) -> PyResult<(Vec<f32>, usize, usize)> {
        let vectors = self.view()?;
        Ok((vectors.data().to_vec(), vectors.n(), vectors.dim()))
    }
}

/// Lists of one length as a matrix; float32 of fixed size is read where it lies, other numbers are converted.
fn from_lists<'py>(array: &ArrayRef, name: &str) -> PyResult<Option<Memory<'py>>> {
    let (item, dim) = match array.data_type() {
        DataType::FixedSizeList(field, dim) => (field.data_type(), *dim),
        DataType::List(field) | DataType::LargeList(field) => {
            let first = match array.data_type() {
                DataType::List(_) => {
                    array.as_list::<i32>().offsets().windows(2).next().map(|pair| (pair[1] - pair[0]) as i64)
                }
                _ => array.as_list::<i64>().offsets().windows(2).next().map(|pair| pair[1] - pair[0]),
            };
            (field.data_type(), first.unwrap_or(0) as i32)
        }
        _ => return Ok(None),
    };
    if !item.is_numeric() {
        return Err(Error::invalid(format!("{name} must hold real numbers: got lists of {item}")).into());
    }
    let wanted = DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Float32, true)), dim);
    let array = cast(array, &wanted).map_err(|error| PyErr::from(Error::invalid(format!("{name}: {error}"))))?;
    let lists = array.as_fixed_size_list();
    let (n, dim) = (lists.len(), dim as usize);
    let values = lists.values().slice(lists.value_offset(0) as usize, n * dim);
    let nulls = lists.null_count() + values.null_count();
    if nulls > 0 {
        return Err(Error::invalid(format!("{name} must not hold nulls: got {nulls}")).into());
    }
    Ok(Some(Memory::Arrow { values, n, dim }))
}

/// Whatever speaks the Arrow PyCapsule interface as one array; None for what does not, or is a table.
fn arrow_array(object: &Bound<'_, PyAny>) -> PyResult<Option<ArrayRef>> {
    if !(object.hasattr("__arrow_c_array__")? || object.hasattr("__arrow_c_stream__")?) {
        return Ok(None);
    }
    // one that arrow-rs can't import (a column of type null, say) is read by other means
    let Ok(any) = object.extract::<AnyArray>() else { return Ok(None) };
    let Ok(chunked) = any.into_chunked_array() else { return Ok(None) };
    Ok(Some(match chunked.chunks() {
        [] => arrow::array::new_empty_array(chunked.data_type()),
        [one] => one.clone(),
        many => concat(&many.iter().map(AsRef::as_ref).collect::<Vec<_>>()).map_err(internal)?,
    }))
}

/// Texts that were handed in: Arrow strings of any kind without a copy of the bytes where they are 64-bit strings, or
/// any sequence of str.
pub struct Texts(LargeStringArray);

impl Texts {
    pub fn from_python(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Self> {
        if let Some(array) = arrow_array(object)? {
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
            texts.push(Some(match text.to_str() {
                Ok(text) => text.to_owned(),
                Err(_) => without_surrogates(text)?,
            }));
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

/// A str with lone surrogates has no UTF-8: each becomes one U+FFFD, as in JSON.
fn without_surrogates(text: &Bound<'_, PyString>) -> PyResult<String> {
    let bytes: Vec<u8> = text.call_method1("encode", ("utf-16-le", "surrogatepass"))?.extract()?;
    let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    Ok(String::from_utf16_lossy(&units))
}

/// One value per row as i32 labels, from any integer array.
pub fn labels<'py>(object: &Bound<'py, PyAny>, name: &str) -> PyResult<PyReadonlyArray1<'py, i32>> {
    typed(object, name, "int32", "iu")
}

/// Positive weights as f32, from any real array.
pub fn weights<'py>(object: Option<&Bound<'py, PyAny>>, name: &str) -> PyResult<Option<PyReadonlyArray1<'py, f32>>> {
    object.map(|object| typed(object, name, "float32", "fiu")).transpose()
}

/// A count or size; negative ones are refused by name.
pub fn count(value: i64, name: &str) -> PyResult<usize> {
    usize::try_from(value).map_err(|_| Error::invalid(format!("{name} must not be negative: got {value}")).into())
}

/// A boolean filter.
pub fn mask<'py>(object: Option<&Bound<'py, PyAny>>) -> PyResult<Option<PyReadonlyArray1<'py, bool>>> {
    object.map(|object| typed(object, "where", "bool", "b")).transpose()
}

/// Row ids, from any integers.
pub fn row_ids<'py>(object: &Bound<'py, PyAny>, name: &str) -> PyResult<PyReadonlyArray1<'py, u32>> {
    typed(object, name, "uint32", "iu")
}

/// Row ids where the object is an array of unsigned integers: signed ones could be a filter of 0 and 1.
pub fn unsigned<'py>(object: &Bound<'py, PyAny>, name: &str) -> PyResult<Option<PyReadonlyArray1<'py, u32>>> {
    let Ok(array) = object.cast::<PyUntypedArray>() else { return Ok(None) };
    match array.dtype().kind() {
        b'u' => typed(object, name, "uint32", "u").map(Some),
        _ => Ok(None),
    }
}

/// float32 values that nobody can write to, where they lie: of a mapped file, say.
pub struct Unwritable {
    /// Keeps the memory alive.
    _array: Py<PyAny>,
    values: *const f32,
    n: usize,
}

// SAFETY: the memory belongs to an array that can't be written to, as can't those it is a view of, so neither its values nor
// its address change; Python objects may be dropped on any thread
unsafe impl Send for Unwritable {}
// SAFETY: as above
unsafe impl Sync for Unwritable {}

impl AsRef<[f32]> for Unwritable {
    fn as_ref(&self) -> &[f32] {
        // SAFETY: the array is C-contiguous with `n` values and lives as long as this; nobody writes to it
        unsafe { std::slice::from_raw_parts(self.values, self.n) }
    }
}

/// The values of a contiguous float32 array that nobody can write to, such as one of a file mapped for reading.
pub fn unwritable(object: &Bound<'_, PyAny>) -> PyResult<Option<Unwritable>> {
    let mut owner = object.clone();
    while let Ok(array) = owner.cast::<PyUntypedArray>() {
        if array.getattr("flags")?.getattr("writeable")?.extract()? {
            return Ok(None);
        }
        owner = owner.getattr("base")?;
    }
    // an array that owns its memory could be made writable again: only a map of a file can't
    if owner.is_none() {
        return Ok(None);
    }
    let array = object.clone().unbind();
    let found = if let Ok(array) = object.cast::<PyArray1<f32>>() {
        array.try_readonly().map_err(borrowed)?.as_slice().map(|values| (values.as_ptr(), values.len()))
    } else if let Ok(array) = object.cast::<PyArray2<f32>>() {
        array.try_readonly().map_err(borrowed)?.as_slice().map(|values| (values.as_ptr(), values.len()))
    } else {
        return Ok(None);
    };
    Ok(found.ok().map(|(values, n)| Unwritable { _array: array, values, n }))
}

/// Maps `n` float32 values at `offset` of a file.
pub fn mapped(py: Python<'_>, path: &std::path::Path, offset: u64, n: usize) -> PyResult<Unwritable> {
    let keywords = PyDict::new(py);
    keywords.set_item("dtype", "float32")?;
    keywords.set_item("mode", "r")?;
    keywords.set_item("offset", offset)?;
    keywords.set_item("shape", (n,))?;
    let array = py.import("numpy")?.call_method("memmap", (path,), Some(&keywords))?;
    unwritable(&array)?.ok_or_else(|| internal("a file mapped for reading can be written to"))
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
    if let Ok(array) = object.cast::<PyArray1<T>>()
        && array.is_c_contiguous()
    {
        return array.try_readonly().map_err(borrowed);
    }
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
    let array = to_dtype(&array, dtype).map_err(|error| named(error, name))?;
    array.cast::<PyArray1<T>>()?.try_readonly().map_err(borrowed)
}

/// A matrix of ids as u32 values and its shape.
pub fn ids<'py>(object: &Bound<'py, PyAny>, name: &str) -> PyResult<PyReadonlyArray2<'py, u32>> {
    let array = object.py().import("numpy")?.call_method1("asarray", (object,))?;
    let untyped = array.cast::<PyUntypedArray>()?;
    let kind: String = untyped.dtype().getattr("kind")?.extract()?;
    if untyped.ndim() != 2 || !matches!(kind.as_str(), "i" | "u") {
        let got = format!("{} of shape {:?}", untyped.dtype().str()?, untyped.shape());
        return Err(Error::invalid(format!("{name} must be 2-D integers: got {got}")).into());
    }
    let array = to_dtype(&array, "uint32").map_err(|error| named(error, name))?;
    array.cast::<PyArray2<u32>>()?.try_readonly().map_err(borrowed)
}

/// Signatures of `width` values, uint16.
pub fn signatures<'py>(object: &Bound<'py, PyAny>, width: usize) -> PyResult<PyReadonlyArray2<'py, u16>> {
    let array = object.py().import("numpy")?.call_method1("ascontiguousarray", (object,))?;
    let untyped = array.cast::<PyUntypedArray>()?;
    let kind: String = untyped.dtype().str()?.extract()?;
    if untyped.ndim() != 2 || untyped.shape()[1] != width || kind != "uint16" {
        let got = format!("{kind} of shape {:?}", untyped.shape());
        return Err(Error::invalid(format!("signatures must have {width} values of uint16 per row: got {got}")).into());
    }
    array.cast::<PyArray2<u16>>()?.try_readonly().map_err(borrowed)
}

/// The array as contiguous `dtype`, without a copy where it is that already. Integers that do not fit are refused,
/// not wrapped; reals beyond float32 become infinite, which `Vectors` refuses.
fn to_dtype<'py>(array: &Bound<'py, PyAny>, dtype: &str) -> PyResult<Bound<'py, PyAny>> {
    let py = array.py();
    let numpy = py.import("numpy")?;
    let keywords = PyDict::new(py);
    keywords.set_item("dtype", dtype)?;
    let quiet = PyDict::new(py);
    quiet.set_item("all", "ignore")?;
    let state = numpy.call_method("errstate", (), Some(&quiet))?;
    state.call_method0("__enter__")?;
    let converted = numpy.call_method("ascontiguousarray", (array,), Some(&keywords));
    state.call_method1("__exit__", (py.None(), py.None(), py.None()))?;
    let converted = converted?;
    if dtype.contains("int") && !numpy.call_method1("array_equal", (&converted, array))?.extract::<bool>()? {
        let unequal = numpy.call_method1("not_equal", (&converted, array))?;
        let first: usize = numpy.call_method1("argmax", (unequal,))?.extract()?;
        let value = array.call_method0("ravel")?.get_item(first)?.str()?;
        return Err(Error::invalid(format!("values must fit {dtype}: got {value}")).into());
    }
    Ok(converted)
}

/// "name: message" of an error of ours.
fn named(error: PyErr, name: &str) -> PyErr {
    Python::attach(|py| match error.is_instance_of::<super::error::InvalidInputError>(py) {
        true => Error::invalid(format!("{name}: {}", error.value(py))).into(),
        false => error,
    })
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
    let view = ndarray::ArrayView2::from_shape((values.len() / k.max(1), k), values).map_err(internal)?;
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

fn borrowed(error: numpy::BorrowError) -> PyErr {
    Error::invalid(format!("the array is being written by another call: {error}")).into()
}

fn internal(error: impl std::fmt::Display) -> PyErr {
    Error::Internal { message: error.to_string() }.into()
}
