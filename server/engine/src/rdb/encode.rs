//! One value into bytes.

use super::format::kind;
use super::writer::Writer;
use crate::types::element::Elem;
use crate::types::{Hash, Set, Str, Zset};
use crate::value::Value;

/// The type under which the value is written, which follows from its encoding.
pub fn kind_of(value: &Value) -> u8 {
    match value {
        Value::Str(_) => kind::STRING,
        Value::Set(set) if set.as_intset().is_some() => kind::SET_INTSET,
        Value::Set(set) if set.as_listpack().is_some() => kind::SET_LISTPACK,
        Value::Set(_) => kind::SET,
        Value::Hash(hash) if hash.as_listpack().is_some() => kind::HASH_LISTPACK,
        Value::Hash(_) => kind::HASH,
        Value::Zset(zset) if zset.as_listpack().is_some() => kind::ZSET_LISTPACK,
        Value::Zset(_) => kind::ZSET_2,
        _ => todo!(),
    }
}

/// Writes the value without its type.
pub fn put_value(writer: &mut Writer<'_>, value: &Value) {
    match value {
        Value::Str(Str::Int(value)) => writer.int_string(*value),
        Value::Str(text) => text.with_bytes(|bytes| writer.string(bytes)),
        Value::Set(set) => put_set(writer, set),
        Value::Hash(hash) => put_hash(writer, hash),
        Value::Zset(zset) => put_zset(writer, zset),
        _ => todo!(),
    }
}

fn put_set(writer: &mut Writer<'_>, set: &Set) {
    if let Some(ints) = set.as_intset() {
        return writer.string(ints.bytes());
    }
    if let Some(pack) = set.as_listpack() {
        return writer.string(pack.bytes());
    }
    writer.len(set.len());
    for member in set {
        put_elem(writer, &member);
    }
}

fn put_hash(writer: &mut Writer<'_>, hash: &Hash) {
    if let Some(pack) = hash.as_listpack() {
        return writer.string(pack.bytes());
    }
    writer.len(hash.len());
    for (field, value) in hash {
        put_elem(writer, &field);
        put_elem(writer, &value);
    }
}

fn put_zset(writer: &mut Writer<'_>, zset: &Zset) {
    if let Some(pack) = zset.as_listpack() {
        return writer.string(pack.bytes());
    }
    writer.len(zset.len());
    // From the highest down, as Redis does: that is what its loading is fastest with.
    for (member, score) in zset.range(0..zset.len(), true) {
        put_elem(writer, &member);
        writer.double(score);
    }
}

fn put_elem(writer: &mut Writer<'_>, elem: &Elem<'_>) {
    match *elem {
        Elem::Int(value) => writer.int_string(value),
        Elem::Bytes(bytes) => writer.string(bytes),
        Elem::Member(member) => writer.string(member),
    }
}
