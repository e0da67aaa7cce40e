//! Where ONNX Runtime computes: its execution providers. One that was asked for and can't be had is an error, never the
//! CPU without a word.

use std::fmt;

use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};

use crate::error::{Error, Result};

/// "cpu", "cuda", "cuda:1": a kind and, where the machine has several, the number of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provider {
    kind: Kind,
    device: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cpu,
    Cuda,
    TensorRt,
    Rocm,
    MiGraphX,
    CoreMl,
    DirectMl,
    OpenVino,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Cpu,
        Self::Cuda,
        Self::TensorRt,
        Self::Rocm,
        Self::MiGraphX,
        Self::CoreMl,
        Self::DirectMl,
        Self::OpenVino,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::Rocm => "rocm",
            Self::MiGraphX => "migraphx",
            Self::CoreMl => "coreml",
            Self::DirectMl => "directml",
            Self::OpenVino => "openvino",
        }
    }

    /// The package whose runtime has it.
    fn package(self) -> &'static str {
        match self {
            Self::Cpu | Self::CoreMl => "onnxruntime",
            Self::Cuda | Self::TensorRt => "onnxruntime-gpu",
            Self::Rocm => "onnxruntime-rocm",
            Self::MiGraphX => "onnxruntime-migraphx",
            Self::DirectMl => "onnxruntime-directml",
            Self::OpenVino => "onnxruntime-openvino",
        }
    }

    /// Whether the loaded runtime was built with it.
    fn is_built_in(self) -> ort::Result<bool> {
        match self {
            Self::Cpu => Ok(true),
            Self::Cuda => ep::CUDA::is_available(),
            Self::TensorRt => ep::TensorRT::is_available(),
            Self::Rocm => ep::ROCm::is_available(),
            Self::MiGraphX => ep::MIGraphX::is_available(),
            Self::CoreMl => ep::CoreML::is_available(),
            Self::DirectMl => ep::DirectML::is_available(),
            Self::OpenVino => ep::OpenVINO::is_available(),
        }
    }
}

impl Default for Provider {
    fn default() -> Self {
        Self { kind: Kind::Cpu, device: None }
    }
}

impl Provider {
    /// # Errors
    /// `InvalidInput` for another name, or a device that is no number.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, device) = match text.split_once(':') {
            Some((name, device)) => (name, Some(device)),
            None => (text, None),
        };
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        let device = device.map(|device| device.parse::<u16>().ok().map(i32::from));
        match (kind, device) {
            (Some(kind), None) => Ok(Self { kind, device: None }),
            // these two choose by themselves
            (Some(kind), Some(Some(device))) if !matches!(kind, Kind::Cpu | Kind::CoreMl) => {
                Ok(Self { kind, device: Some(device) })
            }
            _ => {
                let known = Kind::ALL.map(Kind::name).join(", ");
                Err(Error::invalid(format!(
                    "provider must be one of {known}, or such a name with the number of a device (cuda:1): got '{text}'"
                )))
            }
        }
    }

    pub fn is_cpu(self) -> bool {
        self.kind == Kind::Cpu
    }

    /// What a session registers; `library` says in errors which runtime was asked.
    ///
    /// # Errors
    /// `Model` when the loaded runtime was built without it.
    pub fn register(self, library: &str) -> Result<Vec<ExecutionProviderDispatch>> {
        if !self.kind.is_built_in().map_err(super::graph::failed)? {
            let name = self.kind.name();
            return Err(Error::model(format!("the ONNX Runtime {library} has no provider {name}"))
                .hint(format!("pip install {} instead of onnxruntime, or provider cpu", self.kind.package())));
        }
        let device = self.device.unwrap_or(0);
        let cuda = || ep::CUDA::default().with_device_id(device).build();
        let chosen = match self.kind {
            Kind::Cpu => vec![],
            Kind::Cuda => vec![cuda()],
            // what TensorRT can't do stays on the device
            Kind::TensorRt => vec![ep::TensorRT::default().with_device_id(device).build(), cuda()],
            Kind::Rocm => vec![ep::ROCm::default().with_device_id(device).build()],
            Kind::MiGraphX => vec![ep::MIGraphX::default().with_device_id(device).build()],
            Kind::CoreMl => vec![ep::CoreML::default().build()],
            Kind::DirectMl => vec![ep::DirectML::default().with_device_id(device).build()],
            Kind::OpenVino => {
                let default = ep::OpenVINO::default();
                let device = self.device.map(|device| format!("GPU.{device}"));
                vec![
                    match device {
                        Some(device) => default.with_device_type(device),
                        None => default,
                    }
                    .build(),
                ]
            }
        };
        Ok(chosen.into_iter().map(ExecutionProviderDispatch::error_on_failure).collect())
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        self.device.map_or(Ok(()), |device| write!(f, ":{device}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in ["cpu", "cuda", "cuda:3", "tensorrt:0", "coreml", "openvino:1"] {
            assert_eq!(Provider::parse(name).map(|provider| provider.to_string()), Ok(name.to_owned()));
        }
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1:2", "cpu:0", "CUDA"] {
            assert!(Provider::parse(wrong).is_err(), "{wrong}");
        }
    }
}
