//! One value into bytes.

use cairn_json::Json;
use cairn_search::suggest::Suggestions;

use super::format::{
    ENTRIES_READ_UNKNOWN, JSON_MODULE_ID, NEVER_ACTIVE, NO_FIELD_TIME, SUGGESTIONS_MODULE_ID, VERSION, kind,
    module, node,
};
use super::vector_set;
use super::writer::Writer;
use crate::ds::Listpack;
use crate::ds::listpack::Item;
use crate::types::element::Elem;
use crate::types::list::ListNode;
use crate::types::stream::{Group, StreamId};
use crate::types::{Hash, List, Set, Str, Stream, Zset};
use crate::value::Value;

/// The type under which the value is written in this version, which follows from its encoding.
pub fn kind_of(value: &Value, version: u16) -> u8 {
    let old = version < VERSION;
    match value {
        Value::Str(_) => kind::STRING,
        Value::Set(set) if set.as_intset().is_some() => kind::SET_INTSET,
        Value::Set(set) if set.as_listpack().is_some() && !old => kind::SET_LISTPACK,
        Value::Set(_) => kind::SET,
        Value::Hash(hash) if hash.has_times() => match hash.as_listpack() {
            Some(_) => kind::HASH_LISTPACK_TIMES,
            None => kind::HASH_TIMES,
        },
        Value::Hash(hash) if hash.as_listpack().is_some() => kind::HASH_LISTPACK,
        Value::Hash(_) => kind::HASH,
        Value::Zset(zset) if zset.as_listpack().is_some() => kind::ZSET_LISTPACK,
        Value::Zset(_) => kind::ZSET_2,
        Value::Stream(_) if old => kind::STREAM_LISTPACKS_2,
        Value::Stream(_) => kind::STREAM_LISTPACKS_3,
        Value::List(_) => kind::LIST_QUICKLIST_2,
        Value::Json(_) | Value::Suggestions(_) | Value::VectorSet(_) => kind::MODULE_2,
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
        Value::Stream(stream) => put_stream(writer, stream),
        Value::List(list) => put_list(writer, list),
        Value::Json(document) => put_json(writer, document),
        Value::Suggestions(suggestions) => put_suggestions(writer, suggestions),
        Value::VectorSet(set) => vector_set::put(writer, set),
    }
}

fn put_list(writer: &mut Writer<'_>, list: &List) {
    writer.len(list.node_count());
    for list_node in list.nodes() {
        match list_node {
            ListNode::Packed(pack) => {
                writer.number(node::PACKED);
                writer.string(pack.bytes());
            }
            ListNode::Plain(element) => {
                writer.number(node::PLAIN);
                writer.string(element);
            }
        }
    }
}

fn put_set(writer: &mut Writer<'_>, set: &Set) {
    if let Some(ints) = set.as_intset() {
        return writer.string(ints.bytes());
    }
    if let Some(pack) = set.as_listpack().filter(|_| writer.version() >= VERSION) {
        return writer.string(pack.bytes());
    }
    writer.len(set.len());
    for member in set {
        put_elem(writer, &member);
    }
}

fn put_hash(writer: &mut Writer<'_>, hash: &Hash) {
    if let Some(next_ms) = hash.next_time() {
        return put_timed_hash(writer, hash, next_ms);
    }
    if let Some(pack) = hash.as_listpack() {
        return writer.string(pack.bytes());
    }
    writer.len(hash.len());
    for (field, value) in hash {
        put_elem(writer, &field);
        put_elem(writer, &value);
    }
}

fn put_timed_hash(writer: &mut Writer<'_>, hash: &Hash, next_ms: i64) {
    writer.i64_le(next_ms);
    let time_of = |field: &Elem<'_>| field.with_bytes(|name| hash.time_of(name));
    if hash.as_listpack().is_some() {
        let mut rows: Vec<_> = hash.iter().map(|(field, value)| (time_of(&field), field, value)).collect();
        // Redis finds the next one to expire at the front, and those that do not at the end.
        rows.sort_by_key(|(time, ..)| time.unwrap_or(i64::MAX));
        let mut pack = Listpack::new();
        pack.append_many(rows.iter().flat_map(|(time, field, value)| {
            [field.to_item(), value.to_item(), Item::Int(time.unwrap_or(NO_FIELD_TIME))]
        }));
        return writer.string(pack.bytes());
    }
    writer.len(hash.len());
    for (field, value) in hash {
        // One more, because 0 means that there is none.
        writer.number(time_of(&field).map_or(0, |at_ms| at_ms.abs_diff(next_ms) + 1));
        put_elem(writer, &field);
        put_elem(writer, &value);
    }
}

/// As the module does that Redis has for it: its id, one string, the end.
fn put_json(writer: &mut Writer<'_>, document: &Json) {
    writer.number(JSON_MODULE_ID);
    writer.number(module::STRING);
    writer.string(document.to_text().as_bytes());
    writer.number(module::EOF);
}

/// As the module does that Redis has for it: how many, then of each the text, the score and the payload. Texts and payloads
/// end with a zero.
fn put_suggestions(writer: &mut Writer<'_>, suggestions: &Suggestions) {
    writer.number(SUGGESTIONS_MODULE_ID);
    writer.number(module::UNSIGNED);
    writer.len(suggestions.len());
    let mut string = Vec::new();
    suggestions.for_each(|text, score, payload| {
        let mut put = |writer: &mut Writer<'_>, bytes: &[u8]| {
            string.clear();
            string.extend_from_slice(bytes);
            string.push(0);
            writer.number(module::STRING);
            writer.string(&string);
        };
        put(writer, text.as_bytes());
        writer.number(module::DOUBLE);
        writer.double(score);
        put(writer, payload.unwrap_or_default());
    });
    writer.number(module::EOF);
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

fn put_stream(writer: &mut Writer<'_>, stream: &Stream) {
    let entries = &stream.entries;
    writer.len(entries.node_count());
    for (master, node) in entries.nodes() {
        writer.string(&raw_id(*master));
        writer.string(node.bytes());
    }
    writer.number(entries.len());
    put_id(writer, entries.last_id());
    put_id(writer, entries.first_id());
    put_id(writer, entries.max_deleted_id());
    writer.number(entries.added());
    writer.len(stream.groups().len());
    for (name, group) in stream.groups() {
        writer.string(name);
        put_group(writer, group);
    }
}

fn put_group(writer: &mut Writer<'_>, group: &Group) {
    put_id(writer, group.last_id);
    writer.number(group.entries_read.unwrap_or(ENTRIES_READ_UNKNOWN));
    writer.len(group.pending().len());
    for (id, nack) in group.pending() {
        writer.raw(&raw_id(*id));
        writer.i64_le(nack.delivered_at_ms);
        writer.number(nack.deliveries);
    }
    writer.len(group.consumers().len());
    for consumer in group.consumers() {
        writer.string(&consumer.name);
        writer.i64_le(consumer.seen_at_ms);
        if writer.version() >= VERSION {
            writer.i64_le(consumer.active_at_ms.unwrap_or(NEVER_ACTIVE));
        }
        writer.len(consumer.pending().len());
        for (id, ()) in consumer.pending() {
            writer.raw(&raw_id(*id));
        }
    }
}

fn put_id(writer: &mut Writer<'_>, id: StreamId) {
    writer.number(id.ms);
    writer.number(id.seq);
}

/// As it is among pending entries and before nodes: so that the order of the bytes is that of the ids.
fn raw_id(id: StreamId) -> [u8; 16] {
    (u128::from(id.ms) << 64 | u128::from(id.seq)).to_be_bytes()
}

fn put_elem(writer: &mut Writer<'_>, elem: &Elem<'_>) {
    match *elem {
        Elem::Int(value) => writer.int_string(value),
        Elem::Bytes(bytes) => writer.string(bytes),
        Elem::Member(member) => writer.string(member),
        Elem::Shared(buf) => writer.string(buf),
    }
}
