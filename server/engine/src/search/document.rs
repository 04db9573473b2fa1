//! What an index takes of a key: the value of each of its fields.

use cairn_json::{Json, Path};
use cairn_search::aggregate::{Properties, Value as Operand};
use cairn_search::index::{Document, FieldValue, IndexError, parse_place};
use cairn_search::schema::{Field, FieldKind, VectorSpec, VectorType};
use cairn_search::text::Language;

use super::definition::{Definition, Source};
use crate::args::parse_f64;
use crate::types::Hash;
use crate::value::Value;

/// Why a key is not in an index that covers it.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The field whose value does not do.
    pub field: Option<usize>,
    pub why: String,
}

/// The values of a key's fields, in the order of the schema.
#[derive(Debug)]
pub struct Content {
    fields: Vec<Parts>,
    score: f32,
    language: Option<Language>,
}

/// [`FieldValue`] that owns what it is made of.
#[derive(Debug, PartialEq)]
enum Parts {
    Missing,
    Texts(Vec<Vec<u8>>),
    Numbers(Vec<f64>),
    Places(Vec<(f64, f64)>),
    Vectors(Vec<Vec<u8>>),
}

impl Content {
    /// As the index takes it.
    pub fn document(&self) -> Document<'_> {
        fn value(parts: &Parts) -> FieldValue<'_> {
            match parts {
                Parts::Missing => FieldValue::Missing,
                Parts::Texts(texts) => FieldValue::Texts(texts.iter().map(Vec::as_slice).collect()),
                Parts::Numbers(numbers) => FieldValue::Numbers(numbers.clone()),
                Parts::Places(places) => FieldValue::Places(places.clone()),
                Parts::Vectors(vectors) => FieldValue::Vectors(vectors.iter().map(Vec::as_slice).collect()),
            }
        }
        let fields = self.fields.iter().map(value).collect();
        Document { fields, score: self.score, language: self.language }
    }
}

/// What the index takes of this value; `None` if nothing: it is of another type, or the filter is against it.
pub fn read(definition: &Definition, value: &Value) -> Result<Option<Content>, Failure> {
    let root = match (definition.source, value) {
        (Source::Hash, Value::Hash(hash)) => Root::Hash(hash),
        (Source::Json, Value::Json(json)) => Root::Json(json),
        _ => return Ok(None),
    };
    if let Some((_, filter)) = &definition.filter {
        let row = Row::new(definition, &root, filter.properties());
        if !filter.evaluate(&row).is_ok_and(|value| value.is_true()) {
            return Ok(None);
        }
    }
    let mut fields = Vec::with_capacity(definition.schema.fields().len());
    for (at, field) in definition.schema.fields().iter().enumerate() {
        let parts = match &root {
            Root::Hash(hash) => hash_field(hash, field),
            Root::Json(json) => json_field(json, field, definition.paths[at].as_ref()),
        };
        fields.push(parts.map_err(|why| Failure { field: Some(at), why })?);
    }
    let content = Content { fields, score: score(definition, &root), language: language(definition, &root) };
    // What the library would refuse is found out before anything is changed, and of which field it is.
    for (at, value) in content.document().fields.iter().enumerate() {
        let failed = |error: IndexError| Failure { field: Some(at), why: error.to_string() };
        value.check(&definition.schema.fields()[at]).map_err(failed)?;
    }
    Ok(Some(content))
}

enum Root<'a> {
    Hash(&'a Hash),
    Json(&'a Json),
}

impl Root<'_> {
    /// The text at a field or path that is not of the schema.
    fn text(&self, path: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Hash(hash) => hash.get(path).map(|value| value.to_vec()),
            Self::Json(json) => {
                let path = Path::parse(std::str::from_utf8(path).ok()?).ok()?;
                scalar_text(path.select(json).ok()?.first()?)
            }
        }
    }
}

/// A string, number or truth as text; `None` of anything else.
fn scalar_text(json: &Json) -> Option<Vec<u8>> {
    match json {
        Json::Str(text) => Some(text.as_str().into()),
        Json::Int(_) | Json::Uint(_) | Json::Double(_) | Json::Bool(_) => Some(json.to_text().into()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

fn score(definition: &Definition, root: &Root<'_>) -> f32 {
    let own = definition.score_field.as_ref().and_then(|field| root.text(field));
    let own = own.and_then(|text| parse_f64(&text)).map(|score| score as f32);
    // What is finite may be too much for a score.
    own.filter(|score| score.is_finite()).unwrap_or(definition.score as f32)
}

fn language(definition: &Definition, root: &Root<'_>) -> Option<Language> {
    let own = definition.language_field.as_ref().and_then(|field| root.text(field));
    own.and_then(|name| Language::parse(&name))
}

fn hash_field(hash: &Hash, field: &Field) -> Result<Parts, String> {
    let Some(value) = hash.get(&field.path) else { return Ok(Parts::Missing) };
    value.with_bytes(|bytes| {
        Ok(match FieldValue::of_string(field, bytes).map_err(|error| error.to_string())? {
            FieldValue::Missing => Parts::Missing,
            FieldValue::Texts(_) | FieldValue::Tags(_) => Parts::Texts(vec![bytes.to_vec()]),
            FieldValue::Numbers(numbers) => Parts::Numbers(numbers),
            FieldValue::Places(places) => Parts::Places(places),
            FieldValue::Vectors(_) => Parts::Vectors(vec![bytes.to_vec()]),
        })
    })
}

fn json_field(json: &Json, field: &Field, path: Option<&Path>) -> Result<Parts, String> {
    let Some(found) = path.and_then(|path| path.select(json).ok()) else { return Ok(Parts::Missing) };
    match (&field.kind, &found[..]) {
        (_, []) => Ok(Parts::Missing),
        (FieldKind::Vector(spec), [one]) => json_vector(spec, one),
        (FieldKind::Vector(spec), many) => json_vectors(spec, many.iter().copied()),
        (_, [Json::Array(elements)]) => json_values(field, elements.iter()),
        (_, [one]) => json_value(field, one),
        (_, many) => json_values(field, many.iter().copied()),
    }
}

/// A path has led to one value that is no array.
fn json_value(field: &Field, json: &Json) -> Result<Parts, String> {
    match (&field.kind, json) {
        (_, Json::Null) => Ok(Parts::Missing),
        (FieldKind::Numeric, Json::Int(_) | Json::Uint(_) | Json::Double(_)) => {
            Ok(Parts::Numbers(json.as_f64().into_iter().collect()))
        }
        (FieldKind::Geo, Json::Str(text)) => places([text.as_str().as_bytes()]),
        (FieldKind::Text { .. } | FieldKind::Tag { .. }, Json::Str(text)) => {
            Ok(Parts::Texts(vec![text.as_str().into()]))
        }
        (FieldKind::Tag { .. }, Json::Bool(_)) => Ok(Parts::Texts(vec![json.to_text().into()])),
        _ => Err(wrong_type(json)),
    }
}

fn wrong_type(json: &Json) -> String {
    let why = match json {
        Json::Str(_) => "String type can represent only TEXT, TAG, GEO or GEOMETRY field",
        Json::Int(_) | Json::Uint(_) | Json::Double(_) => "Numeric type can represent only NUMERIC field",
        Json::Bool(_) => "Boolean type can be represent only TAG field",
        Json::Object(_) => "Object type can represent only GEOMETRY fields",
        Json::Null => "Null type is not supported",
        Json::Array(_) => "Array type cannot represent GEOMETRY field",
    };
    format!("Invalid JSON type: {why}")
}

/// The elements of an array, or all that a path has led to.
fn json_values<'a>(field: &Field, values: impl Iterator<Item = &'a Json>) -> Result<Parts, String> {
    let values = values.filter(|value| **value != Json::Null);
    if field.kind == FieldKind::Numeric {
        let number = |json: &Json| json.is_number().then(|| json.as_f64()).flatten();
        let numbers: Option<Vec<f64>> = values.map(number).collect();
        return numbers.map(Parts::Numbers).ok_or("NUMERIC fields can only contain numeric or nulls".into());
    }
    let texts: Option<Vec<&str>> = values.map(Json::as_str).collect();
    let texts = texts.ok_or("TEXT/TAG fields can only contain strings or nulls")?;
    match field.kind {
        FieldKind::Geo => places(texts.into_iter().map(str::as_bytes)),
        _ => Ok(Parts::Texts(texts.into_iter().map(Vec::from).collect())),
    }
}

fn places<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Result<Parts, String> {
    let places: Option<Vec<(f64, f64)>> = texts.into_iter().map(parse_place).collect();
    places.map(Parts::Places).ok_or("Invalid geo string".into())
}

fn json_vector(spec: &VectorSpec, json: &Json) -> Result<Parts, String> {
    match json {
        Json::Null => Ok(Parts::Missing),
        Json::Array(elements) => match elements.first() {
            None => Err("Empty array for vector field on JSON document".into()),
            Some(first) if first.is_number() => Ok(Parts::Vectors(vec![vector_blob(spec, elements)?])),
            Some(Json::Array(_)) => json_vectors(spec, elements.iter()),
            Some(_) => Err(NOT_VECTORS.into()),
        },
        _ => Err(wrong_type(json)),
    }
}

const NOT_VECTORS: &str = "VECTOR fields can only contain arrays of numbers or nulls";

fn json_vectors<'a>(spec: &VectorSpec, values: impl Iterator<Item = &'a Json>) -> Result<Parts, String> {
    let mut blobs = Vec::new();
    for value in values.filter(|value| **value != Json::Null) {
        blobs.push(vector_blob(spec, value.as_array().ok_or(NOT_VECTORS)?)?);
    }
    Ok(Parts::Vectors(blobs))
}

fn vector_blob(spec: &VectorSpec, elements: &[Json]) -> Result<Vec<u8>, String> {
    if elements.len() != spec.dim {
        return Err(format!("Invalid vector length. Expected {}, got {}", spec.dim, elements.len()));
    }
    let mut blob = Vec::with_capacity(spec.blob_len());
    for (at, element) in elements.iter().enumerate() {
        let number = element.is_number().then(|| element.as_f64()).flatten();
        let number = number.ok_or_else(|| format!("Invalid vector element at index {at}"))?;
        match spec.numbers {
            VectorType::Float32 => blob.extend_from_slice(&(number as f32).to_le_bytes()),
            VectorType::Float64 => blob.extend_from_slice(&number.to_le_bytes()),
        }
    }
    Ok(blob)
}

/// What FILTER's expression asks for.
struct Row<'e> {
    values: Vec<(&'e [u8], Operand)>,
}

impl<'e> Row<'e> {
    fn new(definition: &Definition, root: &Root<'_>, names: Vec<&'e [u8]>) -> Self {
        let schema = &definition.schema;
        let value = |name: &'e [u8]| {
            let field = schema.find(name).map(|at| &schema.fields()[at]);
            let text = root.text(field.map_or(name, |field| &field.path))?;
            let number = parse_f64(&text).filter(|_| match (field, root) {
                (Some(field), _) => field.kind == FieldKind::Numeric,
                (None, root) => matches!(root, Root::Json(_)),
            });
            Some((name, number.map_or_else(|| Operand::text(text), Operand::Number)))
        };
        Self { values: names.into_iter().filter_map(value).collect() }
    }
}

impl Properties for Row<'_> {
    fn get(&self, name: &[u8]) -> Option<&Operand> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}
