//! String values: integers, short strings in place, long ones behind a shared buffer.

use std::borrow::Cow;

use crate::ds::SharedBuf;

/// Longest string that OBJECT ENCODING calls `embstr`.
const EMBSTR_MAX: usize = 44;
/// Longest string kept in place.
const SHORT_MAX: usize = 22;
/// Bytes of the longest 64-bit integer.
const INT_TEXT_MAX: usize = 20;

/// A string. 24 bytes; what it is called outside ([`Str::encoding`]) follows Redis, not this layout.
#[derive(Clone, Debug)]
pub enum Str {
    /// A canonical decimal integer.
    Int(i64),
    Short {
        len: u8,
        bytes: [u8; SHORT_MAX],
    },
    Heap(SharedBuf),
    /// Was changed in place (APPEND, SETRANGE, SETBIT): `raw` whatever its length, and grows cheaply.
    Raw(SharedBuf),
}

impl Str {
    /// The most compact encoding of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        if bytes.len() <= INT_TEXT_MAX
            && let Some(value) = crate::args::parse_i64(bytes)
        {
            return Self::Int(value);
        }
        Self::text(bytes)
    }

    /// These bytes as text, even when they are a number.
    pub fn text(bytes: &[u8]) -> Self {
        if bytes.len() > SHORT_MAX {
            return Self::Heap(SharedBuf::from_slice(bytes));
        }
        let mut short = [0; SHORT_MAX];
        short[..bytes.len()].copy_from_slice(bytes);
        Self::Short { len: bytes.len() as u8, bytes: short }
    }

    /// These bytes in their most compact encoding; long ones are not copied.
    pub fn from_shared(bytes: SharedBuf) -> Self {
        if bytes.len() > SHORT_MAX { Self::Heap(bytes) } else { Self::new(&bytes) }
    }

    /// A buffer that will be changed in place.
    pub fn raw(bytes: SharedBuf) -> Self {
        Self::Raw(bytes)
    }

    /// Calls `f` with the bytes; an integer's are made on the stack.
    pub fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Int(value) => f(itoa::Buffer::new().format(*value).as_bytes()),
            Self::Short { len, bytes } => f(&bytes[..usize::from(*len)]),
            Self::Heap(buf) | Self::Raw(buf) => f(buf),
        }
    }

    /// The bytes; only an integer's are a copy.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Int(value) => Cow::Owned(itoa::Buffer::new().format(*value).as_bytes().to_vec()),
            Self::Short { len, bytes } => Cow::Borrowed(&bytes[..usize::from(*len)]),
            Self::Heap(buf) | Self::Raw(buf) => Cow::Borrowed(buf),
        }
    }

    /// A copy of the bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        self.with_bytes(<[u8]>::to_vec)
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.with_bytes(<[u8]>::len)
    }

    /// Has it no bytes?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The integer that the string is, if it is one in canonical form.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => self.with_bytes(crate::args::parse_i64),
        }
    }

    /// The string as a buffer to be changed in place; from now on it is `raw`.
    pub fn make_raw(&mut self) -> &mut SharedBuf {
        let buf = match self {
            Self::Raw(buf) | Self::Heap(buf) => std::mem::replace(buf, SharedBuf::from_slice(&[])),
            _ => self.with_bytes(SharedBuf::from_slice),
        };
        *self = Self::Raw(buf);
        match self {
            Self::Raw(buf) => buf,
            _ => unreachable!("just set"),
        }
    }

    /// Writes it as a bulk string; a long one is shared with the output, not copied.
    pub fn reply(&self, reply: &mut cairn_proto::ReplyWriter) {
        match self {
            Self::Int(value) => reply.bulk_int(*value),
            Self::Short { len, bytes } => reply.bulk(&bytes[..usize::from(*len)]),
            Self::Heap(buf) | Self::Raw(buf) if buf.len() < cairn_proto::SHARED_BULK_MIN => reply.bulk(buf),
            Self::Heap(buf) | Self::Raw(buf) => reply.bulk_shared(buf.clone().into()),
        }
    }

    /// Starts loading the bytes into the processor's caches.
    pub fn prefetch(&self) {
        if let Self::Heap(buf) | Self::Raw(buf) = self {
            // The count and the first bytes share a line more often than not.
            crate::ds::prefetch::prefetch(buf.as_ptr());
        }
    }

    /// OBJECT ENCODING's reply.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Raw(_) => "raw",
            _ if self.len() <= EMBSTR_MAX => "embstr",
            _ => "raw",
        }
    }

    /// Bytes of heap that the value holds.
    pub fn heap_size(&self) -> usize {
        match self {
            Self::Int(_) | Self::Short { .. } => 0,
            Self::Heap(buf) | Self::Raw(buf) => buf.heap_size(),
        }
    }
}
