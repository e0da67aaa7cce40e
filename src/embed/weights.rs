//! Tensors of a safetensors file as f32, each with the shape it must have; whatever does not fit is an error that names
//! the tensor.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};

/// Longest header that is read; that of a model with thousands of tensors has some hundred KiB.
const LONGEST_HEADER: u64 = 100 << 20;
/// Bytes of a tensor that are in memory beside its values.
const CHUNK: usize = 1 << 20;

/// The bytes of a file of weights.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::model(format!("cannot read {}: {error}", path.display())))
}

pub struct Tensors<'a> {
    content: Content<'a>,
    prefix: &'static str,
}

enum Content<'a> {
    Memory(SafeTensors<'a>),
    /// Read when it is asked for, so that a model takes no more memory while it is loaded than afterwards.
    File {
        file: File,
        metadata: Metadata,
        /// Where the data of the tensors begins.
        start: u64,
    },
}

impl<'a> Tensors<'a> {
    /// The tensors of a file; `landmark` is one that must be there, with or without one of `prefixes` in front:
    /// checkpoints are saved with and without the class around the encoder.
    pub fn parse(bytes: &'a [u8], landmark: &str, prefixes: &[&'static str]) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| Error::model(format!("the safetensors file is damaged: {error}")))?;
        let prefix = prefix_of(|name| file.tensor(name).is_ok(), landmark, prefixes)?;
        Ok(Self { content: Content::Memory(file), prefix })
    }

    /// As [`Tensors::parse`], of a file of which each tensor is read when it is asked for.
    pub fn open(path: &Path, landmark: &str, prefixes: &[&'static str]) -> Result<Tensors<'static>> {
        let failed = |error: std::io::Error| Error::model(format!("cannot read {}: {error}", path.display()));
        let damaged = |why: String| Error::model(format!("the safetensors file is damaged: {why}"));
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut size = [0u8; 8];
        file.read_exact(&mut size).map_err(|_| damaged("HeaderTooSmall".to_owned()))?;
        let size = u64::from_le_bytes(size);
        if size > LONGEST_HEADER.min(length.saturating_sub(8)) {
            return Err(damaged(format!("a header of {size} bytes in a file of {length}")));
        }
        let mut header = vec![0u8; size as usize];
        file.read_exact(&mut header).map_err(failed)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| damaged(error.to_string()))?;
        let start = 8 + size;
        for (name, info) in metadata.tensors() {
            let (from, to) = info.data_offsets;
            let n_values = info.shape.iter().try_fold(1usize, |n, side| n.checked_mul(*side));
            let n_bytes = n_values.and_then(|n| n.checked_mul(info.dtype.bitsize())).map(|bits| bits / 8);
            if to < from || to as u64 > length - start || n_bytes != Some(to - from) {
                return Err(damaged(format!("tensor '{name}' does not lie in the file")));
            }
        }
        let prefix = prefix_of(|name| metadata.info(name).is_some(), landmark, prefixes)?;
        Ok(Tensors { content: Content::File { file, metadata, start }, prefix })
    }

    /// # Errors
    /// `Model` when the tensor is missing.
    pub fn shape(&self, name: &str) -> Result<Vec<usize>> {
        self.find(&format!("{}{name}", self.prefix)).map(|(_, shape)| shape)
    }

    /// Values and the shape found; a 0 in `shape` fits any size but 0.
    ///
    /// # Errors
    /// `Model` when the tensor is missing, of another shape or type, or holds NaN or infinity.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<(Vec<f32>, Vec<usize>)> {
        let name = format!("{}{name}", self.prefix);
        let (dtype, found) = self.find(&name)?;
        let fits = found.len() == shape.len()
            && found.iter().zip(shape).all(|(got, need)| if *need == 0 { *got > 0 } else { got == need });
        if !fits {
            return Err(Error::model(format!("tensor '{name}' has shape {found:?}: need {shape:?} (0 = any)")));
        }
        let n_values = found.iter().product();
        let values = match &self.content {
            Content::Memory(file) => {
                let view = file.tensor(&name).map_err(|_| missing(&name))?;
                values_of(&name, dtype, n_values, view.data())?
            }
            Content::File { file, metadata, start } => {
                let info: &TensorInfo = metadata.info(&name).ok_or_else(|| missing(&name))?;
                let mut file = file;
                file.seek(SeekFrom::Start(start + info.data_offsets.0 as u64))
                    .map_err(|error| Error::model(format!("cannot read tensor '{name}': {error}")))?;
                values_of(&name, dtype, n_values, file)?
            }
        };
        if !values.iter().all(|value| value.is_finite()) {
            return Err(Error::model(format!("tensor '{name}' holds NaN or infinity")));
        }
        Ok((values, found))
    }

    /// Type and shape of a tensor, prefix included.
    fn find(&self, name: &str) -> Result<(Dtype, Vec<usize>)> {
        match &self.content {
            Content::Memory(file) => file.tensor(name).ok().map(|view| (view.dtype(), view.shape().to_vec())),
            Content::File { metadata, .. } => metadata.info(name).map(|info| (info.dtype, info.shape.clone())),
        }
        .ok_or_else(|| missing(name))
    }
}

fn prefix_of(exists: impl Fn(&str) -> bool, landmark: &str, prefixes: &[&'static str]) -> Result<&'static str> {
    prefixes
        .iter()
        .find(|prefix| exists(&format!("{prefix}{landmark}")))
        .copied()
        .ok_or_else(|| Error::model(format!("the safetensors file has no tensor '{landmark}'")))
}

fn missing(name: &str) -> Error {
    Error::model(format!("the safetensors file has no tensor '{name}'"))
}

/// The next `n_values` values of `source`, a chunk at a time.
fn values_of(name: &str, dtype: Dtype, n_values: usize, mut source: impl Read) -> Result<Vec<f32>> {
    let width = match dtype {
        Dtype::F32 => 4,
        Dtype::BF16 | Dtype::F16 => 2,
        other => return Err(Error::model(format!("tensor '{name}' has type {other:?}: need F32, F16 or BF16"))),
    };
    let mut values = Vec::with_capacity(n_values);
    let mut chunk = vec![0u8; CHUNK.min(n_values * width)];
    while values.len() < n_values {
        let part = &mut chunk[..CHUNK.min((n_values - values.len()) * width)];
        source.read_exact(part).map_err(|error| Error::model(format!("cannot read tensor '{name}': {error}")))?;
        match dtype {
            Dtype::F32 => values.extend(part.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))),
            Dtype::BF16 => values
                .extend(part.as_chunks::<2>().0.iter().map(|b| f32::from_bits((u16::from_le_bytes(*b) as u32) << 16))),
            _ => values.extend(part.as_chunks::<2>().0.iter().map(|b| half_to_f32(u16::from_le_bytes(*b)))),
        }
    }
    Ok(values)
}

/// IEEE 754 half precision, subnormals included.
fn half_to_f32(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = ((bits >> 10 & 0x1f) as i32, (bits & 0x3ff) as f32);
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_read() {
        for (bits, want) in [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 5.960_464_5e-8), (0x0000, 0.0)]
        {
            assert_eq!(half_to_f32(bits), want);
        }
        assert!(half_to_f32(0x7e00).is_nan());
    }

    fn written(name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("lmsys-weights-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn file_of(tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
        let views = tensors.iter().map(|(name, dtype, shape, data)| {
            (*name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }

    #[test]
    fn a_file_gives_what_its_bytes_give() {
        let long: Vec<u8> = (0..700_000u32).flat_map(|i| (i as f32 * 0.5).to_le_bytes()).collect();
        let bytes = file_of(&[
            ("bert.a", Dtype::F32, vec![700, 1000], long),
            ("bert.b", Dtype::BF16, vec![2], vec![0x80, 0x3f, 0, 0x40]),
            ("bert.c", Dtype::F16, vec![1, 1], vec![0, 0x3c]),
            ("bert.d", Dtype::I64, vec![1], vec![0; 8]),
        ]);
        let path = written("same", &bytes);
        let (memory, file) =
            (Tensors::parse(&bytes, "a", &["", "bert."]).unwrap(), Tensors::open(&path, "a", &["", "bert."]).unwrap());
        for (name, shape) in [("a", vec![0, 1000]), ("b", vec![2]), ("c", vec![1, 0])] {
            assert_eq!(memory.get(name, &shape).unwrap(), file.get(name, &shape).unwrap());
            assert_eq!(memory.shape(name).unwrap(), file.shape(name).unwrap());
        }
        assert_eq!(file.get("b", &[2]).unwrap().0, [1.0, 2.0]);
        for (name, shape) in [("a", vec![1, 1]), ("d", vec![1]), ("e", vec![1])] {
            assert_eq!(
                memory.get(name, &shape).unwrap_err().to_string(),
                file.get(name, &shape).unwrap_err().to_string()
            );
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn damaged_files_are_errors() {
        let bytes = file_of(&[("a", Dtype::F32, vec![2], vec![0; 8])]);
        let mut long_header = bytes.clone();
        long_header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        let empty: Vec<u8> = Vec::new();
        for (name, content) in [
            ("empty", empty.as_slice()),
            ("short", &bytes[..7]),
            ("header", &bytes[..20]),
            ("data", &bytes[..bytes.len() - 1]),
            ("size", long_header.as_slice()),
        ] {
            let path = written(name, content);
            assert!(Tensors::open(&path, "a", &[""]).is_err(), "{name}");
            std::fs::remove_file(path).unwrap();
        }
        assert!(Tensors::open(Path::new("/nowhere/at/all"), "a", &[""]).is_err());
    }
}
