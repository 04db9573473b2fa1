//! One value into bytes.

use super::format::kind;
use super::writer::Writer;
use crate::types::Str;
use crate::value::Value;

/// The type under which the value is written, which follows from its encoding.
pub fn kind_of(value: &Value) -> u8 {
    match value {
        Value::Str(_) => kind::STRING,
        _ => todo!(),
    }
}

/// Writes the value without its type.
pub fn put_value(writer: &mut Writer<'_>, value: &Value) {
    match value {
        Value::Str(Str::Int(value)) => writer.int_string(*value),
        Value::Str(text) => text.with_bytes(|bytes| writer.string(bytes)),
        _ => todo!(),
    }
}
