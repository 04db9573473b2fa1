//! Documents as results show them: read from the keys at the moment of the reply.

use cairn_json::{Json, Path};
use cairn_proto::ReplyWriter;
use cairn_search::aggregate::{Value as Operand, number_text};
use cairn_search::index::{Index, SortValue};
use cairn_search::schema::FieldKind;

use crate::args::parse_f64;
use crate::keyspace::Db;
use crate::search::IndexEntry;
use crate::search::definition::Source;
use crate::types::Hash;
use crate::types::element::Elem;
use crate::value::Value;

/// The name by which the key of a document is loaded.
pub(super) const KEY: &[u8] = b"__key";

/// A document that is there.
#[derive(Clone, Copy)]
pub(super) enum Document<'a> {
    Hash(&'a Hash, i64),
    Json(&'a Json),
}

impl<'a> Document<'a> {
    /// The document at the key. `None` if there is none any more: gone, expired, or of another type.
    pub fn open(db: &'a Db, key: &[u8], source: Source, now_ms: i64) -> Option<Self> {
        if db.expire_at(key).is_some_and(|at_ms| at_ms <= now_ms) {
            return None;
        }
        match (&db.dict.get(key)?.value, source) {
            (Value::Hash(hash), Source::Hash) if !hash.is_gone_by(now_ms) => Some(Self::Hash(hash, now_ms)),
            (Value::Json(json), Source::Json) => Some(Self::Json(json)),
            _ => None,
        }
    }
}

/// Whether the field of a hash is still there.
pub(super) fn is_fresh(hash: &Hash, field: &[u8], now_ms: i64) -> bool {
    !hash.has_times() || hash.time_of(field).is_none_or(|at_ms| at_ms > now_ms)
}

/// Where in a document a value is.
#[derive(Debug)]
pub(super) enum Place<'a> {
    /// The document's key.
    Key,
    /// Of a hash. Numbers are shown as numbers, whatever their text.
    Field {
        name: &'a [u8],
        numeric: bool,
    },
    /// Of a JSON document: what the client says, or the schema.
    Path(Path),
    Known(&'a Path),
    /// What the index keeps to sort by.
    Kept(usize),
    Nowhere,
}

/// A value that was found.
pub(super) enum Found<'a> {
    Missing,
    Number(f64),
    Elem(Elem<'a>),
    Text(&'a [u8]),
    /// The first of what a path means.
    Json(&'a Json),
    /// All of what a path means.
    Many(Vec<&'a Json>),
}

/// How values of JSON documents are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// The first value, as text: dialects 1 and 2.
    First,
    /// All values, as the text of an array.
    All,
    /// All values, as arrays and maps.
    Expanded,
}

impl Show {
    pub fn of(dialect: usize, expand: bool) -> Self {
        match (dialect, expand) {
            (_, true) => Self::Expanded,
            (3.., _) => Self::All,
            _ => Self::First,
        }
    }
}

impl<'a> Place<'a> {
    /// Where the value is that `RETURN` or `LOAD` calls by `path`: a field of the schema, or whatever the path says.
    pub fn resolve(entry: &'a IndexEntry, path: &'a [u8]) -> Self {
        let definition = &entry.definition;
        match (definition.schema.find(path), definition.source) {
            (Some(field), _) => Self::of_field(entry, field),
            (None, _) if path == KEY => Self::Key,
            (None, Source::Hash) => Self::Field { name: path, numeric: false },
            (None, Source::Json) if path.starts_with(b"$") => {
                let path = std::str::from_utf8(path).ok().and_then(|text| Path::parse(text).ok());
                path.map_or(Self::Nowhere, Self::Path)
            }
            (None, Source::Json) => Self::Nowhere,
        }
    }

    /// Where the value of a field of the schema is.
    pub fn of_field(entry: &'a IndexEntry, at: usize) -> Self {
        let field = &entry.definition.schema.fields()[at];
        match entry.definition.source {
            // What is kept of a number is all there is to it.
            Source::Hash if field.sortable && field.kind == FieldKind::Numeric => Self::Kept(at),
            Source::Hash => Self::Field { name: &field.path, numeric: field.kind == FieldKind::Numeric },
            Source::Json => match entry.definition.paths.get(at) {
                Some(Some(path)) => Self::Known(path),
                _ => Self::Nowhere,
            },
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Known(path) => Some(path),
            _ => None,
        }
    }

    /// The value in a document.
    pub fn find<'d>(
        &self,
        index: &'d Index,
        doc: u32,
        key: &'d [u8],
        document: Document<'d>,
        show: Show,
    ) -> Found<'d> {
        match (self, document) {
            (Self::Key, _) => Found::Text(key),
            (Self::Kept(field), _) => kept(index, doc, *field),
            (Self::Field { name, numeric }, Document::Hash(hash, now_ms)) => match hash.get(name) {
                Some(value) if is_fresh(hash, name, now_ms) => {
                    if *numeric {
                        Found::Number(value.with_bytes(|text| parse_f64(text).unwrap_or(0.0)))
                    } else {
                        Found::Elem(value)
                    }
                }
                _ => Found::Missing,
            },
            (_, Document::Json(json)) => match (self.path(), show) {
                (None, _) => Found::Missing,
                (Some(path), Show::First) => {
                    path.first(json).ok().flatten().map_or(Found::Missing, Found::Json)
                }
                (Some(path), _) => match path.select(json) {
                    Ok(values) if !values.is_empty() => Found::Many(values),
                    _ => Found::Missing,
                },
            },
            _ => Found::Missing,
        }
    }
}

/// The value that the index keeps of a sortable field.
pub(super) fn kept(index: &Index, doc: u32, field: usize) -> Found<'_> {
    match index.sort_value(doc, field) {
        Some(SortValue::Number(number)) => Found::Number(*number),
        Some(SortValue::Text(text)) => Found::Text(text),
        Some(SortValue::Missing) | None => Found::Missing,
    }
}

impl Found<'_> {
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Missing => true,
            // An array without elements has no first value.
            Self::Many(values) => matches!(&values[..], [Json::Array(elements)] if elements.is_empty()),
            _ => false,
        }
    }

    /// Writes the value; something is there.
    pub fn reply(&self, reply: &mut ReplyWriter, show: Show) {
        match self {
            Self::Missing => reply.null(),
            Self::Number(number) => reply_number(reply, *number, show),
            Self::Elem(value) => value.reply(reply),
            Self::Text(text) => reply.bulk(text),
            Self::Json(json) => reply_json(reply, json),
            Self::Many(values) if show == Show::Expanded => {
                reply.array(values.len());
                values.iter().for_each(|value| expand(reply, value));
            }
            Self::Many(values) => reply.bulk(&array_text(values)),
        }
    }

    /// As a value of FT.AGGREGATE's rows.
    pub fn operand(&self) -> Option<Operand> {
        Some(match self {
            Self::Missing => return None,
            Self::Number(number) => Operand::Number(*number),
            Self::Elem(value) => Operand::Text(value.to_vec()),
            Self::Text(text) => Operand::text(*text),
            Self::Json(json) => json_operand(json),
            Self::Many(values) => Operand::Text(array_text(values)),
        })
    }

    /// Calls `f` with the text, if the value is one.
    pub fn with_text<R>(&self, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        match self {
            Self::Elem(value) => Some(value.with_bytes(f)),
            Self::Text(text) => Some(f(text)),
            Self::Json(Json::Str(text)) => Some(f(text.as_str().as_bytes())),
            Self::Many(values) => match values[..] {
                [Json::Str(text)] => Some(f(text.as_str().as_bytes())),
                _ => None,
            },
            _ => None,
        }
    }
}

fn reply_number(reply: &mut ReplyWriter, number: f64, show: Show) {
    if show == Show::Expanded {
        return expand_number(reply, number);
    }
    reply.bulk(number_text(number).as_bytes());
}

/// A JSON value by itself: texts without quotes, truths as numbers, containers as JSON.
fn reply_json(reply: &mut ReplyWriter, json: &Json) {
    match json {
        Json::Null => reply.null(),
        Json::Str(text) => reply.bulk(text.as_str().as_bytes()),
        Json::Bool(truth) => reply.bulk(if *truth { b"1" } else { b"0" }),
        Json::Int(_) | Json::Uint(_) | Json::Double(_) => {
            reply.bulk(number_text(json.as_f64().unwrap_or_default()).as_bytes());
        }
        Json::Array(_) | Json::Object(_) => {
            let mut text = Vec::new();
            json.write(&mut text);
            reply.bulk_shared(text.into());
        }
    }
}

fn json_operand(json: &Json) -> Operand {
    match json {
        Json::Null => Operand::Null,
        Json::Str(text) => Operand::text(text.as_str()),
        Json::Bool(truth) => Operand::Number(f64::from(u8::from(*truth))),
        Json::Int(_) | Json::Uint(_) | Json::Double(_) => Operand::Number(json.as_f64().unwrap_or_default()),
        Json::Array(_) | Json::Object(_) => Operand::text(json.to_text()),
    }
}

/// The first of all values: what an expression works with where a reply shows all.
pub(super) fn first_operand(values: &[&Json]) -> Option<Operand> {
    match values.first()? {
        Json::Array(elements) => elements.first().map(json_operand),
        first => Some(json_operand(first)),
    }
}

fn array_text(values: &[&Json]) -> Vec<u8> {
    let mut text = vec![b'['];
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        value.write(&mut text);
    }
    text.push(b']');
    text
}

fn expand(reply: &mut ReplyWriter, json: &Json) {
    match json {
        Json::Object(object) => {
            reply.map(object.len());
            for (name, value) in object.iter() {
                reply.bulk(name.as_bytes());
                expand(reply, value);
            }
        }
        Json::Array(elements) => {
            reply.array(elements.len());
            elements.iter().for_each(|element| expand(reply, element));
        }
        Json::Null => reply.null(),
        Json::Str(text) => reply.bulk(text.as_str().as_bytes()),
        Json::Bool(truth) => reply.int(i64::from(*truth)),
        Json::Int(_) | Json::Uint(_) | Json::Double(_) => {
            expand_number(reply, json.as_f64().unwrap_or_default())
        }
    }
}

fn expand_number(reply: &mut ReplyWriter, number: f64) {
    if number == number.trunc() && number.abs() < i64::MAX as f64 {
        reply.int(number as i64);
    } else {
        reply.double(number);
    }
}
