//! What is wrong with a query, in Redis's words.

/// What kind of wrong, for callers who answer kinds differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    Syntax,
    /// An argument or an attribute that is not known or has a bad value.
    Argument,
    Limit,
    /// An expression that cannot be evaluated.
    Expression,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    pub kind: ErrorKind,
    pub message: String,
}

impl QueryError {
    pub fn syntax(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Syntax, message: message.into() }
    }

    pub fn argument(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Argument, message: message.into() }
    }

    pub fn limit(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Limit, message: message.into() }
    }

    pub fn expression(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Expression, message: message.into() }
    }
}

/// Bytes as a message shows them.
pub fn shown(bytes: &[u8]) -> String {
    // A C string ends at its first zero, and so do Redis's messages.
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
