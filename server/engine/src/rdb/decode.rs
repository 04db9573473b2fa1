//! Bytes into one value. Packed forms are checked in depth, and become tables where the configuration says so.

use cairn_json::Json;
use cairn_search::suggest::Suggestions;
use triomphe::Arc;

use super::error::Problem;
use super::format::{
    ENTRIES_READ_UNKNOWN, FIELD_TIME_MAX_MS, JSON_ENCODINGS, JSON_MODULE_ID, MODULE_CHARACTERS,
    MODULE_VERSION_MASK, NEVER_ACTIVE, NO_FIELD_TIME, SUGGESTIONS_ENCODING_MAX, SUGGESTIONS_MODULE_ID,
    VECTOR_SET_MODULE_ID, kind, module, node,
};
use super::load::LoadOptions;
use super::old;
use super::reader::{Reader, Text};
use super::vector_set;
use crate::ds::{Intset, Listpack, Member};
use crate::types::element::ElementsError;
use crate::types::hash::HashLimits;
use crate::types::list::{End, ListLimits, ListLoader};
use crate::types::set::SetLimits;
use crate::types::stream::{Counters, Group, GroupLoader, LoadError as StreamError, StreamId, StreamLoader};
use crate::types::zset::Limits as ZsetLimits;
use crate::types::{Hash, List, Set, Str, Stream, Zset};
use crate::value::Value;

/// Reads a value of type `kind`. [`Problem::Empty`] if it has no elements.
pub fn value(reader: &mut Reader<'_>, kind: u8, options: &LoadOptions<'_>) -> Result<Value, Problem> {
    Ok(match kind {
        kind::STRING => Value::Str(string(reader)?),
        kind::LIST | kind::LIST_ZIPLIST | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => {
            Value::List(list(reader, kind, options)?)
        }
        kind::SET | kind::SET_INTSET | kind::SET_LISTPACK => Value::Set(set(reader, kind, options)?),
        kind::HASH | kind::HASH_ZIPMAP | kind::HASH_ZIPLIST | kind::HASH_LISTPACK => {
            Value::Hash(hash(reader, kind, options)?)
        }
        kind::HASH_TIMES_RC | kind::HASH_LISTPACK_TIMES_RC | kind::HASH_TIMES | kind::HASH_LISTPACK_TIMES => {
            Value::Hash(timed_hash(reader, kind, options)?)
        }
        kind::ZSET | kind::ZSET_2 | kind::ZSET_ZIPLIST | kind::ZSET_LISTPACK => {
            Value::Zset(zset(reader, kind, options)?)
        }
        kind::STREAM_LISTPACKS | kind::STREAM_LISTPACKS_2 | kind::STREAM_LISTPACKS_3 => {
            Value::Stream(Arc::new(stream(reader, kind)?))
        }
        kind::MODULE_2 => module_value(reader)?,
        kind::MODULE_PRE_GA => return Err(Problem::Module("(before Redis 4.0)".to_owned())),
        _ => return Err(Problem::UnknownType(kind)),
    })
}

/// Is there such a type, be it one that is refused?
pub fn is_kind(kind: u8) -> bool {
    kind <= kind::HASH_LISTPACK_TIMES && kind != kind::MODULE_2 + 1
}

/// The name that a module's id stands for: nine characters of six bits above ten bits of a version.
pub fn module_name(id: u64) -> String {
    (0..9).map(|i| char::from(MODULE_CHARACTERS[(id >> (58 - 6 * i) & 63) as usize])).collect()
}

/// What is a module's data in Redis, and a type here.
fn module_value(reader: &mut Reader<'_>) -> Result<Value, Problem> {
    let id = reader.len()?;
    let is = |known: u64| id | MODULE_VERSION_MASK == known | MODULE_VERSION_MASK;
    let encoding = id & MODULE_VERSION_MASK;
    if is(JSON_MODULE_ID) {
        Ok(Value::Json(json(reader, encoding)?))
    } else if is(SUGGESTIONS_MODULE_ID) {
        Ok(Value::Suggestions(suggestions(reader, encoding)?))
    } else if is(VECTOR_SET_MODULE_ID) {
        match encoding {
            0 => Ok(Value::VectorSet(Arc::new(vector_set::read(reader)?))),
            _ => Err(Problem::VectorSetEncoding(encoding)),
        }
    } else {
        Err(Problem::Module(module_name(id)))
    }
}

fn json(reader: &mut Reader<'_>, encoding: u64) -> Result<Json, Problem> {
    if !JSON_ENCODINGS.contains(&encoding) {
        return Err(Problem::JsonEncoding(encoding));
    }
    let document = module_string(reader)?;
    if encoding == JSON_ENCODINGS[0] {
        // Room for what the search module once kept here.
        expect_module_opcode(reader, module::UNSIGNED)?;
        if reader.len()? > 0 {
            module_string(reader)?;
            module_string(reader)?;
        }
    }
    expect_module_opcode(reader, module::EOF)?;
    document.with_bytes(|bytes| {
        let text = std::str::from_utf8(bytes).map_err(|_| Problem::Content("a document is not UTF-8"))?;
        Ok(Json::parse_deep(text)?)
    })
}

fn suggestions(reader: &mut Reader<'_>, encoding: u64) -> Result<Suggestions, Problem> {
    if encoding > SUGGESTIONS_ENCODING_MAX {
        return Err(Problem::SuggestionsEncoding(encoding));
    }
    expect_module_opcode(reader, module::UNSIGNED)?;
    // Two opcodes, a string and a double.
    let count = reader.count(11)?;
    let mut suggestions = Suggestions::default();
    for _ in 0..count {
        let text = module_string(reader)?;
        expect_module_opcode(reader, module::DOUBLE)?;
        let score = reader.double()?;
        if score.is_nan() {
            return Err(Problem::Content("the score of a suggestion is not a number"));
        }
        let payload = if encoding >= 1 { Some(module_string(reader)?) } else { None };
        if encoding >= 2 {
            expect_module_opcode(reader, module::UNSIGNED)?;
            reader.len()?;
        }
        let kept = without_zero(&text, |text| match payload {
            Some(payload) => {
                without_zero(&payload, |payload| Ok(suggestions.add(text, score, false, Some(payload))))
            }
            None => Ok(suggestions.add(text, score, false, None)),
        })?;
        if !kept {
            return Err(Problem::Content("a suggestion is empty or too long"));
        }
    }
    expect_module_opcode(reader, module::EOF)?;
    if suggestions.is_empty() { Err(Problem::Empty) } else { Ok(suggestions) }
}

/// Calls `f` with a string that ends with a zero, without it.
fn without_zero<R>(text: &Text<'_>, f: impl FnOnce(&[u8]) -> Result<R, Problem>) -> Result<R, Problem> {
    text.with_bytes(|bytes| match bytes.split_last() {
        Some((0, text)) => f(text),
        _ => Err(Problem::Content("a string of suggestions does not end with a zero")),
    })
}

pub(super) fn module_string<'a>(reader: &mut Reader<'a>) -> Result<Text<'a>, Problem> {
    expect_module_opcode(reader, module::STRING)?;
    reader.string()
}

pub(super) fn expect_module_opcode(reader: &mut Reader<'_>, opcode: u64) -> Result<(), Problem> {
    if reader.len()? == opcode {
        Ok(())
    } else {
        Err(Problem::Content("the parts of a module's data are not those of its type"))
    }
}

fn string(reader: &mut Reader<'_>) -> Result<Str, Problem> {
    Ok(match reader.string()? {
        Text::Int(value) => Str::Int(value),
        Text::Slice(bytes) => Str::new(bytes),
        Text::Inflated(buf) => Str::from_shared(buf),
    })
}

fn listpack(reader: &mut Reader<'_>) -> Result<Listpack, Problem> {
    Ok(Listpack::from_bytes(reader.blob()?)?)
}

fn list(reader: &mut Reader<'_>, kind: u8, options: &LoadOptions<'_>) -> Result<List, Problem> {
    let limits = ListLimits::new(options.config);
    match kind {
        kind::LIST => {
            let mut list = List::new();
            for _ in 0..reader.count(1)? {
                reader.string()?.with_elem(|element| list.push(End::Right, element, &limits));
            }
            return if list.is_empty() { Err(Problem::Empty) } else { Ok(list) };
        }
        kind::LIST_ZIPLIST => {
            let list = List::from_elements(old::ziplist(&reader.blob()?)?, &limits);
            return if list.is_empty() { Err(Problem::Empty) } else { Ok(list) };
        }
        _ => {}
    }
    let mut nodes = ListLoader::new();
    for _ in 0..reader.count(1)? {
        if kind == kind::LIST_QUICKLIST {
            nodes.packed(old::ziplist_to_listpack(&reader.blob()?)?);
            continue;
        }
        match reader.len()? {
            node::PACKED => nodes.packed(listpack(reader)?),
            node::PLAIN => {
                let element = reader.blob()?;
                if element.is_empty() {
                    return Err(Problem::Content("a node of the list is empty"));
                }
                nodes.plain(element);
            }
            _ => return Err(Problem::Content("a node of the list is neither packed nor plain")),
        }
    }
    nodes.finish(&limits).ok_or(Problem::Empty)
}

fn set(reader: &mut Reader<'_>, kind: u8, options: &LoadOptions<'_>) -> Result<Set, Problem> {
    let limits = SetLimits::new(options.config, options.seed);
    match kind {
        kind::SET_INTSET => return Ok(Set::from_intset(Intset::from_bytes(reader.blob()?)?, &limits)?),
        kind::SET_LISTPACK => return Ok(Set::from_listpack(listpack(reader)?, &limits)?),
        _ => {}
    }
    let count = reader.count(1)?;
    if count == 0 {
        return Err(Problem::Empty);
    }
    let first = reader.string()?.into_blob();
    let mut set = Set::for_members(&first, count, &limits);
    set.insert(&first, &limits);
    for _ in 1..count {
        if !reader.string()?.with_elem(|member| set.insert(member, &limits)) {
            return Err(ElementsError::Duplicate.into());
        }
    }
    Ok(set)
}

fn hash(reader: &mut Reader<'_>, kind: u8, options: &LoadOptions<'_>) -> Result<Hash, Problem> {
    let limits = HashLimits::new(options.config, options.seed);
    match kind {
        kind::HASH_LISTPACK => return Ok(Hash::from_listpack(listpack(reader)?, &limits)?),
        kind::HASH_ZIPLIST => {
            let blob = reader.blob()?;
            return Ok(Hash::from_listpack(old::ziplist_to_listpack(&blob)?, &limits)?);
        }
        kind::HASH_ZIPMAP => {
            let blob = reader.blob()?;
            let pairs = old::zipmap(&blob)?;
            let mut hash = Hash::for_fields(pairs.len(), &limits);
            for (field, value) in pairs {
                if !hash.set(field, value, &limits) {
                    return Err(ElementsError::Duplicate.into());
                }
            }
            return if hash.is_empty() { Err(Problem::Empty) } else { Ok(hash) };
        }
        _ => {}
    }
    let count = reader.count(2)?;
    if count == 0 {
        return Err(Problem::Empty);
    }
    let mut hash = Hash::for_fields(count, &limits);
    for _ in 0..count {
        let (field, value) = (reader.string()?, reader.string()?);
        if !field.with_bytes(|field| value.with_elem(|value| hash.set(field, value, &limits))) {
            return Err(ElementsError::Duplicate.into());
        }
    }
    Ok(hash)
}

/// A hash with fields that expire. Some may have done so: that they go is the engine's decision.
fn timed_hash(reader: &mut Reader<'_>, kind: u8, options: &LoadOptions<'_>) -> Result<Hash, Problem> {
    let limits = HashLimits::new(options.config, options.seed);
    let has_base = matches!(kind, kind::HASH_TIMES | kind::HASH_LISTPACK_TIMES);
    let base_ms = if has_base { reader.i64_le()? } else { 0 };
    if matches!(kind, kind::HASH_LISTPACK_TIMES | kind::HASH_LISTPACK_TIMES_RC) {
        return hash_of_rows(&listpack(reader)?, &limits);
    }
    // A time, a field, a value.
    let count = reader.count(3)?;
    if count == 0 {
        return Err(Problem::Empty);
    }
    let mut hash = Hash::for_fields(count, &limits);
    for _ in 0..count {
        let time = match (reader.len()?, has_base) {
            (0, _) => Some(NO_FIELD_TIME),
            (time, false) => i64::try_from(time).ok(),
            (time, true) => base_ms.checked_add_unsigned(time - 1),
        };
        let (field, value) = (reader.string()?, reader.string()?);
        field.with_bytes(|field| {
            if !value.with_elem(|value| hash.set(field, value, &limits)) {
                return Err(ElementsError::Duplicate.into());
            }
            set_field_time(&mut hash, field, time, &limits)
        })?;
    }
    Ok(hash)
}

/// Fields, values and times in turn.
fn hash_of_rows(pack: &Listpack, limits: &HashLimits) -> Result<Hash, Problem> {
    let count = pack.len();
    if count == 0 {
        return Err(Problem::Empty);
    }
    if !count.is_multiple_of(3) {
        return Err(Problem::Content(
            "the elements of the listpack are not fields, values and times in turn",
        ));
    }
    let mut hash = Hash::for_fields(count / 3, limits);
    let mut items = pack.iter();
    while let (Some(field), Some(value), Some(time)) = (items.next(), items.next(), items.next()) {
        let mut digits = itoa::Buffer::new();
        let field = field.to_bytes(&mut digits);
        if !hash.set(field, value, limits) {
            return Err(ElementsError::Duplicate.into());
        }
        set_field_time(&mut hash, field, time.as_int(), limits)?;
    }
    Ok(hash)
}

/// `at_ms` is `None` if it could not be read.
fn set_field_time(
    hash: &mut Hash,
    field: &[u8],
    at_ms: Option<i64>,
    limits: &HashLimits,
) -> Result<(), Problem> {
    let at_ms = at_ms.filter(|at_ms| (0..=FIELD_TIME_MAX_MS).contains(at_ms));
    let at_ms = at_ms.ok_or(Problem::Content("the time of a field is out of range"))?;
    if at_ms != NO_FIELD_TIME {
        hash.set_time(field, at_ms, limits.seed);
    }
    Ok(())
}

fn zset(reader: &mut Reader<'_>, kind: u8, options: &LoadOptions<'_>) -> Result<Zset, Problem> {
    let limits = ZsetLimits::new(options.config, options.seed);
    let pack = match kind {
        kind::ZSET_LISTPACK => Some(listpack(reader)?),
        kind::ZSET_ZIPLIST => Some(old::ziplist_to_listpack(&reader.blob()?)?),
        _ => None,
    };
    if let Some(pack) = pack {
        return if pack.is_empty() { Err(Problem::Empty) } else { Ok(Zset::from_listpack(pack, &limits)?) };
    }
    let count = reader.count(2)?;
    if count == 0 {
        return Err(Problem::Empty);
    }
    let mut pairs = Vec::new();
    for _ in 0..count {
        let member: Member = reader.string()?.into_blob();
        let score = if kind == kind::ZSET { reader.double_text()? } else { reader.double()? };
        pairs.push((member, score));
    }
    Ok(Zset::from_pairs(pairs, &limits)?)
}

fn stream(reader: &mut Reader<'_>, kind: u8) -> Result<Stream, Problem> {
    let has_offsets = kind >= kind::STREAM_LISTPACKS_2;
    let mut nodes = StreamLoader::new();
    // An id and a listpack.
    for _ in 0..reader.count(2)? {
        let master = reader.string()?.with_bytes(|bytes| bytes.try_into().map(id_of_raw));
        let master = master.map_err(|_| Problem::Content("the id of a stream's node has not 16 bytes"))?;
        nodes.push_node(master, reader.blob()?)?;
    }
    let mut counters = Counters { len: reader.len()?, last_id: id(reader)?, ..Counters::default() };
    if has_offsets {
        let _first_id = id(reader)?;
        counters.max_deleted_id = Some(id(reader)?);
        counters.added = Some(reader.len()?);
    }
    let mut stream = nodes.finish(counters)?;
    // A name, an id, two counts.
    for _ in 0..reader.count(5)? {
        let name = reader.string()?;
        let last_id = id(reader)?;
        let entries_read = if has_offsets {
            Some(reader.len()?).filter(|&count| count != ENTRIES_READ_UNKNOWN)
        } else {
            stream.entries.added_up_to(last_id)
        };
        let group = group(reader, kind, GroupLoader::new(last_id, entries_read))?;
        if !name.with_bytes(|name| stream.add_group(name, group)) {
            return Err(StreamError::NameTwice.into());
        }
    }
    Ok(stream)
}

fn group(reader: &mut Reader<'_>, kind: u8, mut group: GroupLoader) -> Result<Group, Problem> {
    // An id, a time, a count.
    for _ in 0..reader.count(25)? {
        let id = raw_id(reader)?;
        group.push_pending(id, reader.i64_le()?, reader.len()?)?;
    }
    // A name, a time, a count.
    for _ in 0..reader.count(10)? {
        let name = reader.string()?;
        let seen_at_ms = reader.i64_le()?;
        let active_at_ms = if kind >= kind::STREAM_LISTPACKS_3 { reader.i64_le()? } else { seen_at_ms };
        let active_at_ms = Some(active_at_ms).filter(|&at| at != NEVER_ACTIVE);
        let mut pending: Vec<StreamId> = Vec::new();
        for _ in 0..reader.count(16)? {
            let id = raw_id(reader)?;
            if pending.last().is_some_and(|&last| last >= id) {
                return Err(StreamError::PendingTwice { id }.into());
            }
            pending.push(id);
        }
        name.with_bytes(|name| group.push_consumer(name, seen_at_ms, active_at_ms, &pending))?;
    }
    Ok(group.finish()?)
}

fn id(reader: &mut Reader<'_>) -> Result<StreamId, Problem> {
    Ok(StreamId::new(reader.len()?, reader.len()?))
}

fn raw_id(reader: &mut Reader<'_>) -> Result<StreamId, Problem> {
    Ok(id_of_raw(&reader.array()?))
}

fn id_of_raw(raw: &[u8; 16]) -> StreamId {
    let id = u128::from_be_bytes(*raw);
    StreamId::new((id >> 64) as u64, id as u64)
}
