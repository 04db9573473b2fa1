//! Errors of commands. They are replies to the client, never reasons to stop.

use std::borrow::Cow;

/// What a command handler returns. The reply of a success has been written to `cx.reply`; of an error, the dispatcher
/// takes back whatever was written and sends the error.
pub type CommandResult<T = ()> = Result<T, CommandError>;

/// An error reply. [`CommandError::text`] is the line sent to the client, code first, as Redis words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// The key holds another type.
    WrongType,
    /// The arguments make no sense together.
    Syntax,
    /// An argument is not a 64-bit integer.
    NotInteger,
    /// An argument is not a finite-or-infinite double.
    NotFloat,
    /// A result would leave the 64-bit range.
    Overflow,
    /// An index is outside of its range.
    IndexOutOfRange,
    /// RENAME, LSET … of a key that is not there.
    NoSuchKey,
    /// `maxmemory` is reached and nothing may be evicted.
    OutOfMemory,
    /// Wrong number of arguments for the named command.
    Arity(String),
    /// Anything else: the whole line, code included, e.g. `"ERR value is out of range"`.
    Text(Cow<'static, str>),
    /// A line that the error statistics have already: a script fails with the error of a command that it called.
    Counted(Vec<u8>),
    /// A line that holds bytes of the client's, which need not be UTF-8.
    Bytes(Vec<u8>),
}

impl CommandError {
    /// An error with a fixed text (code included).
    pub const fn new(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// The reply line without the leading `-` and the line end.
    pub fn text(&self) -> Cow<'_, [u8]> {
        let fixed: &'static str = match self {
            Self::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Self::Syntax => "ERR syntax error",
            Self::NotInteger => "ERR value is not an integer or out of range",
            Self::NotFloat => "ERR value is not a valid float",
            Self::Overflow => "ERR increment or decrement would overflow",
            Self::IndexOutOfRange => "ERR index out of range",
            Self::NoSuchKey => "ERR no such key",
            Self::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
            Self::Arity(name) => {
                return format!("ERR wrong number of arguments for '{name}' command").into_bytes().into();
            }
            Self::Text(text) => return Cow::Borrowed(text.as_bytes()),
            Self::Bytes(bytes) | Self::Counted(bytes) => return Cow::Borrowed(bytes),
        };
        Cow::Borrowed(fixed.as_bytes())
    }
}

/// The part of a client's bytes that Redis reads or repeats as a C string, which ends at the first NUL.
pub fn printed(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

impl From<String> for CommandError {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<&'static str> for CommandError {
    fn from(text: &'static str) -> Self {
        Self::new(text)
    }
}
