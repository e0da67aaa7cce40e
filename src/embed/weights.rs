//! Tensors of a safetensors file as f32, each with the shape it must have; whatever does not fit is an error that names
//! the tensor.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};

/// The bytes of a file of weights.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::model(format!("cannot read {}: {error}", path.display())))
}

pub struct Tensors<'a> {
    file: SafeTensors<'a>,
    prefix: &'static str,
}

impl<'a> Tensors<'a> {
    /// The tensors of a file; `landmark` is one that must be there, with or without one of `prefixes` in front:
    /// checkpoints are saved with and without the class around the encoder.
    pub fn parse(bytes: &'a [u8], landmark: &str, prefixes: &[&'static str]) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| Error::model(format!("the safetensors file is damaged: {error}")))?;
        let prefix = prefixes
            .iter()
            .find(|prefix| file.tensor(&format!("{prefix}{landmark}")).is_ok())
            .ok_or_else(|| Error::model(format!("the safetensors file has no tensor '{landmark}'")))?;
        Ok(Self { prefix, file })
    }

    /// # Errors
    /// `Model` when the tensor is missing.
    pub fn shape(&self, name: &str) -> Result<Vec<usize>> {
        let name = format!("{}{name}", self.prefix);
        let view = self.file.tensor(&name);
        view.map(|view| view.shape().to_vec())
            .map_err(|_| Error::model(format!("the safetensors file has no tensor '{name}'")))
    }

    /// Values and the shape found; a 0 in `shape` fits any size but 0.
    ///
    /// # Errors
    /// `Model` when the tensor is missing, of another shape or type, or holds NaN or infinity.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<(Vec<f32>, Vec<usize>)> {
        let name = format!("{}{name}", self.prefix);
        let view = self
            .file
            .tensor(&name)
            .map_err(|_| Error::model(format!("the safetensors file has no tensor '{name}'")))?;
        let fits = view.shape().len() == shape.len()
            && view.shape().iter().zip(shape).all(|(got, need)| if *need == 0 { *got > 0 } else { got == need });
        if !fits {
            return Err(Error::model(format!(
                "tensor '{name}' has shape {:?}: need {shape:?} (0 = any)",
                view.shape()
            )));
        }
        let bytes = view.data();
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::BF16 => {
                bytes.as_chunks::<2>().0.iter().map(|b| f32::from_bits((u16::from_le_bytes(*b) as u32) << 16)).collect()
            }
            Dtype::F16 => bytes.as_chunks::<2>().0.iter().map(|b| half_to_f32(u16::from_le_bytes(*b))).collect(),
            other => return Err(Error::model(format!("tensor '{name}' has type {other:?}: need F32, F16 or BF16"))),
        };
        if !values.iter().all(|value| value.is_finite()) {
            return Err(Error::model(format!("tensor '{name}' holds NaN or infinity")));
        }
        Ok((values, view.shape().to_vec()))
    }
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
}
