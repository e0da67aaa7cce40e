//! What can go wrong in the core, in words a user can act on. One variant per thing a caller does differently;
//! `py/error.rs` maps them to the Python exception tree.

use std::fmt;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// An argument or array cannot be used: "what: got, need".
    InvalidInput { message: String, hint: Option<String> },
    /// A model is missing, damaged or of an unsupported kind.
    Model { message: String, hint: Option<String> },
    /// A learned result was asked for before fitting.
    NotFitted { what: &'static str },
    /// The caller set the stop flag of its [`crate::Task`].
    Cancelled,
    /// A defect of this library: a worker panicked.
    Internal { message: String },
}

impl Error {
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidInput { message: message.into(), hint: None }
    }

    pub fn model(message: impl Into<String>) -> Self {
        Self::Model { message: message.into(), hint: None }
    }

    /// Adds the one action that helps.
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        if let Self::InvalidInput { hint, .. } | Self::Model { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidInput { message, hint } | Self::Model { message, hint } => {
                f.write_str(message)?;
                if let Some(hint) = hint {
                    write!(f, "\nhint: {hint}")?;
                }
                Ok(())
            }
            Self::NotFitted { what } => write!(f, "this {what} is not fitted yet: call fit() first"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Internal { message } => write!(f, "internal error, please report it: {message}"),
        }
    }
}

impl std::error::Error for Error {}
