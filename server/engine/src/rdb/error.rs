//! Why bytes could not be loaded.

use std::fmt;

use super::format::VERSIONS;
use crate::ds::intset::IntsetError;
use crate::ds::listpack::ListpackError;
use crate::error::CommandError;
use crate::types::element::ElementsError;
use crate::types::stream::LoadError as StreamError;
use crate::types::zset::ZsetError;

/// A file that is damaged, or that holds what Cairn does not have. Reads well after `file X is damaged: `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// Where the item begins that is wrong.
    pub offset: u64,
    /// The key whose value it belongs to, if any.
    pub key: Option<Vec<u8>>,
    pub problem: Problem,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}", self.offset)?;
        if let Some(key) = &self.key {
            write!(f, ", in key \"{}\"", key.escape_ascii())?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for LoadError {}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("it does not begin with \"REDIS\" and a version")]
    NotRdb,
    #[error("version {0} was found, {first} to {last} can be read", first = VERSIONS.start(), last = VERSIONS.end())]
    Version(u32),
    #[error("{needed} more bytes were expected, {left} are left")]
    Truncated { needed: u64, left: u64 },
    #[error("a length was expected, byte {0:#04x} was found")]
    NotALength(u8),
    #[error("{count} elements were announced, the {left} bytes left cannot hold them")]
    TooMany { count: u64, left: u64 },
    #[error("a compressed string does not unpack to the {0} bytes announced")]
    Lzf(u64),
    #[error("a type of value or an opcode was expected, byte {0} was found")]
    UnknownType(u8),
    #[error("it holds data of the module {0}, and modules are not supported")]
    Module(String),
    #[error("it holds a JSON document in encoding {0}, 2 and 3 can be read")]
    JsonEncoding(u64),
    #[error("it holds suggestions in encoding {0}, 0 to 2 can be read")]
    SuggestionsEncoding(u64),
    #[error("it holds a vector set in encoding {0}, 0 can be read")]
    VectorSetEncoding(u64),
    #[error("a JSON document cannot be parsed: {0}")]
    Json(#[from] cairn_json::ParseError),
    #[error("a library of functions cannot be loaded: {0}")]
    Library(String),
    #[error("it holds functions in the format of a release candidate of Redis 7.0, which is not supported")]
    FunctionPreGa,
    #[error("database {index} was found, the configuration allows for {databases} (see `databases`)")]
    Database { index: u64, databases: usize },
    #[error("the checksum is {computed:016x}, {stored:016x} was expected")]
    Checksum { stored: u64, computed: u64 },
    #[error("there are {0} bytes after the end")]
    Trailing(u64),
    #[error("the key was there before")]
    DuplicateKey,
    #[error("the value has no elements")]
    Empty,
    #[error("listpack: {0}")]
    Listpack(#[from] ListpackError),
    #[error("intset: {0}")]
    Intset(#[from] IntsetError),
    #[error("elements: {0}")]
    Elements(ElementsError),
    #[error("{0}")]
    Zset(#[from] ZsetError),
    #[error("stream: {0}")]
    Stream(#[from] StreamError),
    #[error("{0}")]
    Content(&'static str),
}

impl From<ElementsError> for Problem {
    fn from(error: ElementsError) -> Self {
        match error {
            ElementsError::Empty => Self::Empty,
            other => Self::Elements(other),
        }
    }
}

/// Why RESTORE refused a payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The footer is missing, is of an unknown version, or its checksum is not that of the payload.
    #[error("DUMP payload version or checksum are wrong")]
    Footer,
    /// The footer is right, and the payload is nevertheless not a value.
    #[error("Bad data format")]
    Payload(#[source] Problem),
}

impl From<RestoreError> for CommandError {
    fn from(error: RestoreError) -> Self {
        Self::new(match error {
            RestoreError::Footer => "ERR DUMP payload version or checksum are wrong",
            RestoreError::Payload(_) => "ERR Bad data format",
        })
    }
}
