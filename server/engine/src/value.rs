//! What a key holds.

use cairn_json::Json;
use cairn_search::suggest::Suggestions;
use triomphe::Arc;

use crate::error::{CommandError, CommandResult};
use crate::types::{Hash, List, Set, Str, Stream, VectorSet, Zset};

/// A value of any type; 24 bytes, cheap to clone (collections share their structure until one side writes).
#[derive(Clone, Debug)]
pub enum Value {
    Str(Str),
    List(List),
    Set(Set),
    Zset(Zset),
    Hash(Hash),
    Stream(Arc<Stream>),
    Json(Json),
    Suggestions(Suggestions),
    VectorSet(Arc<VectorSet>),
}

const _: () = assert!(size_of::<Value>() <= 24);

/// Documents are looked at up to so many values to see whether dropping them takes long.
const DROP_EFFORT_COUNTED: usize = 1024;

/// The names of TYPE, in the order of RDB's type numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Str,
    List,
    Set,
    Zset,
    Hash,
    Stream,
    Json,
    Suggestions,
    VectorSet,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Str,
        Self::List,
        Self::Set,
        Self::Zset,
        Self::Hash,
        Self::Stream,
        Self::Json,
        Self::Suggestions,
        Self::VectorSet,
    ];

    /// TYPE's reply.
    pub fn name(self) -> &'static str {
        match self {
            Self::Str => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::Zset => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
            Self::Json => "ReJSON-RL",
            Self::Suggestions => "trietype0",
            Self::VectorSet => "vectorset",
        }
    }
}

impl Value {
    /// A string value in its most compact encoding.
    pub fn string(bytes: &[u8]) -> Self {
        Self::Str(Str::new(bytes))
    }

    /// Which type it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Str(_) => Kind::Str,
            Self::List(_) => Kind::List,
            Self::Set(_) => Kind::Set,
            Self::Zset(_) => Kind::Zset,
            Self::Hash(_) => Kind::Hash,
            Self::Stream(_) => Kind::Stream,
            Self::Json(_) => Kind::Json,
            Self::Suggestions(_) => Kind::Suggestions,
            Self::VectorSet(_) => Kind::VectorSet,
        }
    }

    /// Starts loading the value's bytes into the processor's caches.
    pub fn prefetch(&self) {
        if let Self::Str(string) = self {
            string.prefetch();
        }
    }

    /// OBJECT ENCODING's reply.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Str(v) => v.encoding(),
            Self::List(v) => v.encoding(),
            Self::Set(v) => v.encoding(),
            Self::Zset(v) => v.encoding(),
            Self::Hash(v) => v.encoding(),
            Self::Stream(_) => "stream",
            // As Redis says it of what modules keep.
            Self::Json(_) | Self::Suggestions(_) | Self::VectorSet(_) => "raw",
        }
    }

    /// Is it a hash with fields that expire?
    pub fn has_times(&self) -> bool {
        matches!(self, Self::Hash(hash) if hash.has_times())
    }

    /// Elements that dropping the value must visit: large ones are dropped off the executor's thread.
    pub fn drop_effort(&self) -> usize {
        match self {
            Self::Str(_) => 1,
            Self::List(v) => v.drop_effort(),
            Self::Set(v) => v.drop_effort(),
            Self::Zset(v) => v.drop_effort(),
            Self::Hash(v) => v.drop_effort(),
            Self::Stream(v) => v.drop_effort(),
            Self::Json(v) => v.node_count(DROP_EFFORT_COUNTED),
            Self::Suggestions(v) => v.len(),
            Self::VectorSet(v) => v.len(),
        }
    }

    /// Is it a string on the heap that somebody else holds as well?
    pub fn is_shared_string(&self) -> bool {
        matches!(self, Self::Str(Str::Heap(buf) | Str::Raw(buf)) if !buf.is_empty() && !buf.is_unique())
    }

    /// Bytes of heap that the value holds. `samples` elements of a large collection stand for the rest (0: all).
    pub fn heap_size(&self, samples: usize) -> usize {
        match self {
            Self::Str(v) => v.heap_size(),
            Self::List(v) => v.heap_size(samples),
            Self::Set(v) => v.heap_size(samples),
            Self::Zset(v) => v.heap_size(samples),
            Self::Hash(v) => v.heap_size(samples),
            Self::Stream(v) => v.heap_size(samples),
            Self::Json(v) => v.heap_size(samples),
            Self::Suggestions(v) => v.memory(samples),
            Self::VectorSet(v) => v.heap_size(samples),
        }
    }
}

macro_rules! accessors {
    ($($variant:ident, $type:ty, $get:ident, $get_mut:ident;)*) => {
        impl Value {
            $(
                /// The value as this type, or `-WRONGTYPE`.
                pub fn $get(&self) -> CommandResult<&$type> {
                    match self { Self::$variant(v) => Ok(v), _ => Err(CommandError::WrongType) }
                }
                /// The value as this type, to be changed, or `-WRONGTYPE`.
                pub fn $get_mut(&mut self) -> CommandResult<&mut $type> {
                    match self { Self::$variant(v) => Ok(v), _ => Err(CommandError::WrongType) }
                }
            )*
        }
    };
}

accessors! {
    Str, Str, as_str, as_str_mut;
    List, List, as_list, as_list_mut;
    Set, Set, as_set, as_set_mut;
    Zset, Zset, as_zset, as_zset_mut;
    Hash, Hash, as_hash, as_hash_mut;
    Suggestions, Suggestions, as_suggestions, as_suggestions_mut;
}

impl Value {
    /// The value as a stream, or `-WRONGTYPE`.
    pub fn as_stream(&self) -> CommandResult<&Stream> {
        match self {
            Self::Stream(v) => Ok(v),
            _ => Err(CommandError::WrongType),
        }
    }

    /// The value as a stream, to be changed (copied first when a snapshot shares it), or `-WRONGTYPE`.
    pub fn as_stream_mut(&mut self) -> CommandResult<&mut Stream> {
        match self {
            Self::Stream(v) => Ok(Arc::make_mut(v)),
            _ => Err(CommandError::WrongType),
        }
    }

    /// The value as a vector set, or `-WRONGTYPE`.
    pub fn as_vector_set(&self) -> CommandResult<&VectorSet> {
        match self {
            Self::VectorSet(v) => Ok(v),
            _ => Err(CommandError::WrongType),
        }
    }

    /// The value as a vector set, to be changed (copied first when a snapshot shares it), or `-WRONGTYPE`.
    pub fn as_vector_set_mut(&mut self) -> CommandResult<&mut VectorSet> {
        match self {
            Self::VectorSet(v) => Ok(Arc::make_mut(v)),
            _ => Err(CommandError::WrongType),
        }
    }
}
