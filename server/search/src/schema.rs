//! What an index is to hold of a document.

use crate::text::{Language, StopWords};

/// Fields of an index. The same limit as RediSearch has.
pub const FIELDS_MAX: usize = 1024;
/// TEXT fields of an index: each is a bit of a mask.
pub const TEXT_FIELDS_MAX: usize = 128;

/// A set of TEXT fields.
pub type FieldMask = u128;

/// The fields of an index and its options.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    fields: Vec<Field>,
    /// The TEXT fields: the bit of each is its place here.
    text: Vec<usize>,
    pub options: Options,
}

/// What FT.CREATE says of the index as a whole.
#[derive(Debug, Clone)]
pub struct Options {
    pub language: Language,
    pub stop_words: StopWords,
    /// Positions of words are kept: without them there are no phrases. Off by NOOFFSETS.
    pub offsets: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { language: Language::ENGLISH, stop_words: StopWords::Default, offsets: true }
    }
}

/// One field.
#[derive(Debug, Clone)]
pub struct Field {
    /// Where the value is found: a field of a hash, a path into a document. The caller's business.
    pub path: Vec<u8>,
    /// What queries call it.
    pub name: Vec<u8>,
    pub kind: FieldKind,
    pub sortable: bool,
    /// A sortable text is kept as it came, not in lower case.
    pub unf: bool,
    /// Not searched, only sorted by or loaded.
    pub noindex: bool,
    /// `ismissing(@field)` may be asked.
    pub index_missing: bool,
    /// The empty text is found by `""`.
    pub index_empty: bool,
    /// Its path may lead to several values, whose order is not defined: queries for words near each other are refused.
    pub unordered: bool,
}

impl Field {
    /// A field found under its own name, with nothing special about it.
    pub fn new(name: &str, kind: FieldKind) -> Self {
        Self {
            path: name.into(),
            name: name.into(),
            kind,
            sortable: false,
            unf: false,
            noindex: false,
            index_missing: false,
            index_empty: false,
            unordered: false,
        }
    }

    #[must_use]
    pub fn sortable(mut self) -> Self {
        self.sortable = true;
        self
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum FieldKind {
    /// `weight` multiplies the frequency of the field's words.
    Text {
        weight: f64,
        nostem: bool,
        with_suffix: bool,
    },
    /// `separator` is `None` if a text is one tag.
    Tag {
        separator: Option<u8>,
        case_sensitive: bool,
        with_suffix: bool,
    },
    Numeric,
    Geo,
    Vector(VectorSpec),
}

impl FieldKind {
    pub const TEXT: Self = Self::Text { weight: 1.0, nostem: false, with_suffix: false };
    /// Tags of a hash, with commas between.
    pub const TAG: Self = Self::Tag { separator: Some(b','), case_sensitive: false, with_suffix: false };

    pub fn name(&self) -> &'static str {
        match self {
            Self::Text { .. } => "TEXT",
            Self::Tag { .. } => "TAG",
            Self::Numeric => "NUMERIC",
            Self::Geo => "GEO",
            Self::Vector(_) => "VECTOR",
        }
    }
}

/// Numbers of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorType {
    Float32,
    Float64,
}

impl VectorType {
    pub fn bytes(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }
}

/// How far two vectors are from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The square of the Euclidean distance, as Redis answers it.
    L2,
    /// One minus the inner product.
    Ip,
    /// One minus the cosine.
    Cosine,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum VectorAlgorithm {
    Flat,
    Hnsw(HnswSpec),
}

/// Redis's names: M, EF_CONSTRUCTION, EF_RUNTIME, EPSILON.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HnswSpec {
    pub m: usize,
    pub ef_construction: usize,
    pub ef_runtime: usize,
    pub epsilon: f64,
}

impl Default for HnswSpec {
    fn default() -> Self {
        Self { m: 16, ef_construction: 200, ef_runtime: 10, epsilon: 0.01 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VectorSpec {
    pub algorithm: VectorAlgorithm,
    pub numbers: VectorType,
    pub dim: usize,
    pub metric: Metric,
}

impl VectorSpec {
    /// Bytes of one vector.
    pub fn blob_len(&self) -> usize {
        self.dim * self.numbers.bytes()
    }
}

/// Why a field cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("Duplicate field in schema - {0}")]
    Duplicate(String),
    #[error("Schema is limited to {FIELDS_MAX} fields")]
    TooManyFields,
    #[error("Schema is limited to {TEXT_FIELDS_MAX} TEXT fields")]
    TooManyTextFields,
}

impl Schema {
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// Adds a field at the end.
    pub fn add(&mut self, field: Field) -> Result<(), SchemaError> {
        if self.find(&field.name).is_some() {
            return Err(SchemaError::Duplicate(String::from_utf8_lossy(&field.name).into_owned()));
        }
        if self.fields.len() == FIELDS_MAX {
            return Err(SchemaError::TooManyFields);
        }
        if matches!(field.kind, FieldKind::Text { .. }) {
            if self.text.len() == TEXT_FIELDS_MAX {
                return Err(SchemaError::TooManyTextFields);
            }
            self.text.push(self.fields.len());
        }
        self.fields.push(field);
        Ok(())
    }

    /// For a schema known to be sound: adds and returns itself.
    #[must_use]
    pub fn with(mut self, field: Field) -> Self {
        self.add(field).expect("the caller's fields differ and are few");
        self
    }

    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The order of the field's values is not defined: see [`Field::unordered`].
    pub fn set_unordered(&mut self, field: usize) {
        self.fields[field].unordered = true;
    }

    /// The place of a field among `fields`. Names are case-sensitive.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// The bit of a TEXT field.
    pub fn mask_of(&self, field: usize) -> FieldMask {
        self.text.iter().position(|&at| at == field).map_or(0, |bit| 1 << bit)
    }

    /// The TEXT field of a bit.
    pub fn text_field(&self, bit: usize) -> Option<&Field> {
        self.text.get(bit).map(|&at| &self.fields[at])
    }

    pub fn text_fields(&self) -> usize {
        self.text.len()
    }

    /// Whether a word in any of these fields may be stemmed. All fields together may always.
    pub fn stems(&self, mask: FieldMask) -> bool {
        mask == FieldMask::MAX || self.stemmed(mask) != 0
    }

    /// Those of the fields whose words are stemmed.
    pub fn stemmed(&self, mask: FieldMask) -> FieldMask {
        if mask == FieldMask::MAX {
            return mask;
        }
        let nostem = |bit: &usize| {
            matches!(self.text_field(*bit).map(|f| &f.kind), Some(FieldKind::Text { nostem: true, .. }))
        };
        (0..self.text.len()).filter(nostem).fold(mask, |mask, bit| mask & !(1 << bit))
    }

    /// Whether some TEXT or TAG field does not index empty texts; queries for them are refused then.
    pub fn has_non_empty(&self) -> bool {
        self.fields
            .iter()
            .any(|f| matches!(f.kind, FieldKind::Text { .. } | FieldKind::Tag { .. }) && !f.index_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_text_fields_have_bits() {
        let schema = Schema::default()
            .with(Field::new("price", FieldKind::Numeric))
            .with(Field::new("name", FieldKind::TEXT))
            .with(Field::new("body", FieldKind::TEXT));
        assert_eq!((schema.mask_of(0), schema.mask_of(1), schema.mask_of(2)), (0, 1, 2));
        let mut schema = schema;
        let error = schema.add(Field::new("name", FieldKind::TAG)).unwrap_err();
        assert_eq!(error.to_string(), "Duplicate field in schema - name");
    }

    #[test]
    fn too_many_text_fields_are_refused() {
        let mut schema = Schema::default();
        for n in 0..TEXT_FIELDS_MAX {
            schema.add(Field::new(&format!("f{n}"), FieldKind::TEXT)).unwrap();
        }
        assert_eq!(schema.add(Field::new("one", FieldKind::TEXT)), Err(SchemaError::TooManyTextFields));
        assert_eq!(schema.mask_of(127), 1 << 127);
    }

    #[test]
    fn fields_without_stems_are_known() {
        let plain = FieldKind::Text { weight: 1.0, nostem: true, with_suffix: false };
        let schema = Schema::default().with(Field::new("a", plain)).with(Field::new("b", FieldKind::TEXT));
        assert!(!schema.stems(1) && schema.stems(2) && schema.stems(3) && schema.stems(FieldMask::MAX));
        assert_eq!(schema.stemmed(3), 2);
    }
}
