//! What a query says, as a tree.

use crate::schema::FieldMask;

/// Nodes of a query, at most: each costs a reader.
pub const NODES_MAX: usize = 4096;
/// How deep a query nests. As deep as RediSearch's parser goes.
pub const DEPTH_MAX: usize = 200;

/// Bytes of a pattern: no word is longer.
pub const PATTERN_LEN_MAX: usize = 1024;

/// A part of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub kind: Kind,
    /// In which TEXT fields.
    pub mask: FieldMask,
    /// Its share in the score.
    pub weight: f64,
    /// Words that may stand between the words of a phrase; `None` if any.
    pub slop: Option<u32>,
    /// Whether its words have to be in order; `None` if that is not said.
    pub in_order: Option<bool>,
    /// Words are taken as they are, without stems and synonyms.
    pub verbatim: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A word. `expanded` if it is not the query's own.
    Term {
        term: Vec<u8>,
        expanded: bool,
    },
    /// Words of a dictionary.
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    Infix(Vec<u8>),
    Wildcard(Vec<u8>),
    Fuzzy {
        term: Vec<u8>,
        distance: usize,
    },
    /// All of them; `exact` one after the other.
    Phrase {
        children: Vec<Node>,
        exact: bool,
    },
    Union(Vec<Node>),
    Not(Box<Node>),
    Optional(Box<Node>),
    Numeric {
        field: usize,
        min: f64,
        max: f64,
        min_inclusive: bool,
        max_inclusive: bool,
    },
    /// `unit` is its metres; the radius is in it.
    Geo {
        field: usize,
        longitude: f64,
        latitude: f64,
        radius: f64,
        unit: GeoUnit,
    },
    /// One of the values: terms, phrases (whose words have single spaces between), patterns.
    Tag {
        field: usize,
        values: Vec<Node>,
    },
    Missing(usize),
    /// All documents.
    All,
    /// No document: what is left of a query of stop words.
    Nothing,
    /// The documents with these keys.
    Keys(Vec<Vec<u8>>),
    Vector(Box<VectorQuery>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeoUnit {
    Metres,
    Kilometres,
    Feet,
    Miles,
}

impl GeoUnit {
    pub fn parse(name: &[u8]) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_slice() {
            b"m" => Self::Metres,
            b"km" => Self::Kilometres,
            b"ft" => Self::Feet,
            b"mi" => Self::Miles,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Metres => "m",
            Self::Kilometres => "km",
            Self::Feet => "ft",
            Self::Miles => "mi",
        }
    }

    pub fn metres(self) -> f64 {
        match self {
            Self::Metres => 1.0,
            Self::Kilometres => 1000.0,
            Self::Feet => 0.3048,
            Self::Miles => 1609.34,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct VectorQuery {
    pub field: usize,
    pub vector: Vec<u8>,
    /// The parameter that the vector came by, for EXPLAIN.
    pub parameter: Vec<u8>,
    pub search: VectorSearch,
    /// Under which name results have the distance, if they do.
    pub score_field: Option<Vec<u8>>,
    /// As they were given, for EXPLAIN.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub ef_runtime: Option<usize>,
    pub epsilon: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum VectorSearch {
    /// The nearest, of what the filter finds.
    Nearest {
        k: usize,
        filter: Option<Box<Node>>,
    },
    Within {
        radius: f64,
    },
}

impl Node {
    pub fn new(kind: Kind) -> Self {
        Self { kind, mask: FieldMask::MAX, weight: 1.0, slop: None, in_order: None, verbatim: false }
    }

    pub fn term(term: Vec<u8>) -> Self {
        Self::new(Kind::Term { term, expanded: false })
    }

    pub fn phrase(children: Vec<Self>) -> Self {
        Self::new(Kind::Phrase { children, exact: false })
    }

    pub fn children(&self) -> &[Self] {
        match &self.kind {
            Kind::Phrase { children, .. } | Kind::Union(children) | Kind::Tag { values: children, .. } => {
                children
            }
            Kind::Not(child) | Kind::Optional(child) => std::slice::from_ref(child),
            Kind::Vector(vector) => match &vector.search {
                VectorSearch::Nearest { filter: Some(filter), .. } => std::slice::from_ref(filter),
                _ => &[],
            },
            _ => &[],
        }
    }

    pub fn children_mut(&mut self) -> &mut [Self] {
        match &mut self.kind {
            Kind::Phrase { children, .. } | Kind::Union(children) | Kind::Tag { values: children, .. } => {
                children
            }
            Kind::Not(child) | Kind::Optional(child) => std::slice::from_mut(child),
            Kind::Vector(vector) => match &mut vector.search {
                VectorSearch::Nearest { filter: Some(filter), .. } => std::slice::from_mut(filter),
                _ => &mut [],
            },
            _ => &mut [],
        }
    }

    /// This and all below.
    pub fn count(&self) -> usize {
        1 + self.children().iter().map(Self::count).sum::<usize>()
    }

    /// Restricts this and all below to fields.
    pub fn restrict(&mut self, mask: FieldMask) {
        self.mask &= mask;
        self.children_mut().iter_mut().for_each(|child| child.restrict(mask));
    }
}
