//! Bytes into one value.

use super::error::Problem;
use super::format::kind;
use super::load::LoadOptions;
use super::reader::{Reader, Text};
use crate::types::Str;
use crate::value::Value;

/// Reads a value of type `kind`. [`Problem::Empty`] if it has no elements.
pub fn value(reader: &mut Reader<'_>, kind: u8, _options: &LoadOptions<'_>) -> Result<Value, Problem> {
    Ok(match kind {
        kind::STRING => Value::Str(match reader.string()? {
            Text::Int(value) => Str::Int(value),
            text => text.with_bytes(Str::new),
        }),
        kind::MODULE_2 => return Err(Problem::Module(module_name(reader.len()?))),
        kind::MODULE_PRE_GA => return Err(Problem::Module("(before Redis 4.0)".to_owned())),
        _ if kind::HASH_FIELD_TTL.contains(&kind) => return Err(Problem::FieldTtl),
        _ => return Err(Problem::UnknownType(kind)),
    })
}

/// Is there such a type, be it one that is refused?
pub fn is_kind(kind: u8) -> bool {
    kind <= kind::ZSET_2
        || (kind::MODULE_PRE_GA..=kind::MODULE_2).contains(&kind)
        || (kind::HASH_ZIPMAP..=*kind::HASH_FIELD_TTL.end()).contains(&kind)
}

/// The name that a module's id stands for: nine characters of six bits above ten bits of a version.
pub fn module_name(id: u64) -> String {
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).map(|i| char::from(CHARACTERS[(id >> (58 - 6 * i) & 63) as usize])).collect()
}
