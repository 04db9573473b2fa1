//! The query language: text in, tree out.

pub mod ast;
mod clauses;
mod error;
mod expand;
mod explain;
mod lexer;
mod parser;

pub(crate) use error::shown;
pub use error::{ErrorKind, QueryError};

use crate::index::Index;
use crate::schema::{FieldMask, Schema};
use crate::text::{Language, StopWords};
use ast::{Kind, NODES_MAX, Node};
use std::collections::BTreeMap;

/// Bytes of a query, at most.
pub const QUERY_LEN_MAX: usize = 1 << 20;

/// MINPREFIX and MAXEXPANSIONS where nothing else is said: as in RediSearch.
pub const AFFIX_LEN_MIN: usize = 2;
pub const EXPANSIONS_MAX: usize = 200;

/// How a query is read.
#[derive(Debug, Clone)]
pub struct ParseOptions<'a> {
    /// 1 to 4. Dialects from 2 on have one language; 3 and 4 differ in what the caller makes of results.
    pub dialect: u8,
    /// What `$name` stands for.
    pub params: BTreeMap<Vec<u8>, &'a [u8]>,
    /// Words are taken as they are.
    pub verbatim: bool,
    /// Stop words are words like others.
    pub no_stop_words: bool,
    /// In these TEXT fields only.
    pub in_fields: Option<FieldMask>,
    /// Among the documents with these keys only.
    pub in_keys: Option<Vec<Vec<u8>>>,
    /// Of the query's words; the index's if none is given.
    pub language: Option<Language>,
    /// Slop and order of the query as a whole, for its phrases that do not say their own.
    pub slop: Option<u32>,
    pub in_order: bool,
    /// FILTER and GEOFILTER.
    pub filters: Vec<Filter>,
    /// Letters that a prefix, suffix or infix has at least, or it finds nothing.
    pub affix_len_min: usize,
    /// Words that a pattern may stand for; more are not looked at.
    pub expansions_max: usize,
}

/// A condition beside the query.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    Numeric { field: usize, min: f64, max: f64, min_inclusive: bool, max_inclusive: bool },
    Geo { field: usize, longitude: f64, latitude: f64, radius: f64, unit: ast::GeoUnit },
}

impl Default for ParseOptions<'_> {
    fn default() -> Self {
        Self {
            dialect: 1,
            params: BTreeMap::new(),
            verbatim: false,
            no_stop_words: false,
            in_fields: None,
            in_keys: None,
            language: None,
            slop: None,
            in_order: false,
            filters: Vec::new(),
            affix_len_min: AFFIX_LEN_MIN,
            expansions_max: EXPANSIONS_MAX,
        }
    }
}

/// A query that has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub root: Node,
    pub(crate) fields: FieldMask,
    pub(crate) slop: Option<u32>,
    pub(crate) in_order: bool,
    pub(crate) affix_len_min: usize,
    pub(crate) expansions_max: usize,
}

impl Query {
    /// Reads a query over an index: syntax, fields and parameters are checked; words are joined by their stems and
    /// synonyms.
    pub fn parse(text: &[u8], index: &Index, options: &ParseOptions) -> Result<Self, QueryError> {
        let schema = index.schema();
        let mut root = parse_only(text, schema, options)?;
        if root.count() + options.filters.len() > NODES_MAX {
            return Err(QueryError::limit(format!("Query has more than {NODES_MAX} parts")));
        }
        // The last comes first.
        let keys = options.in_keys.iter().map(|keys| Kind::Keys(keys.clone()));
        let filters = options.filters.iter().rev().map(|filter| filter.clone().into());
        filter_by(&mut root, keys.chain(filters).map(Node::new).collect());
        let ordered = options.slop.is_some() || options.in_order;
        if schema.fields().iter().any(|field| field.unordered) {
            check_order(&root, schema, ordered)?;
        }
        if !options.verbatim {
            let language = options.language.unwrap_or(schema.options.language);
            // A word may be in as many groups as a query has parts.
            expand::expand(&mut root, schema, &index.synonyms, language, &mut { NODES_MAX });
        }
        let fields = options.in_fields.unwrap_or(FieldMask::MAX);
        let ParseOptions { slop, in_order, affix_len_min, expansions_max, .. } = *options;
        Ok(Self { root, fields, slop, in_order, affix_len_min, expansions_max })
    }

    /// The tree as FT.EXPLAIN shows it.
    pub fn explain(&self, index: &Index) -> String {
        explain::explain(&self.root, index)
    }
}

impl From<Filter> for Kind {
    fn from(filter: Filter) -> Self {
        match filter {
            Filter::Numeric { field, min, max, min_inclusive, max_inclusive } => {
                Self::Numeric { field, min, max, min_inclusive, max_inclusive }
            }
            Filter::Geo { field, longitude, latitude, radius, unit } => {
                Self::Geo { field, longitude, latitude, radius, unit }
            }
        }
    }
}

/// The tree as it was written.
pub(crate) fn parse_only(text: &[u8], schema: &Schema, options: &ParseOptions) -> Result<Node, QueryError> {
    if text.len() > QUERY_LEN_MAX {
        return Err(QueryError::limit("Query string is too long"));
    }
    let none = StopWords::custom([]);
    let stop_words = if options.no_stop_words { &none } else { &schema.options.stop_words };
    parser::parse(text, schema, stop_words, options)
}

/// Refuses what is about the order of words in a field where that is not defined. `ordered` if the query as a whole is about it;
/// then so are all of its phrases, even those that are only conditions side by side: so it is in RediSearch.
fn check_order(node: &Node, schema: &Schema, ordered: bool) -> Result<(), QueryError> {
    let is_phrase = matches!(node.kind, Kind::Phrase { .. });
    if is_phrase && (ordered || node.slop.is_some() || node.in_order.is_some()) {
        let mut fields = schema.fields().iter().enumerate();
        if let Some((_, field)) =
            fields.find(|(at, field)| field.unordered && schema.mask_of(*at) & node.mask != 0)
        {
            return Err(QueryError::argument(format!(
                "slop/inorder are not supported for field with undefined ordering `{}`",
                shown(&field.name)
            )));
        }
    }
    node.children().iter().try_for_each(|child| check_order(child, schema, ordered))
}

/// Puts conditions in front of a query; of a search for the nearest vectors, in front of its filter.
fn filter_by(root: &mut Node, mut conditions: Vec<Node>) {
    if conditions.is_empty() {
        return;
    }
    match &mut root.kind {
        Kind::Phrase { children, exact: false } => drop(children.splice(0..0, conditions)),
        Kind::Vector(vector) => match &mut vector.search {
            ast::VectorSearch::Nearest { filter: Some(inner), .. } => wrap(inner, conditions),
            ast::VectorSearch::Nearest { filter: inner @ None, .. } => {
                *inner = Some(Box::new(match conditions.len() {
                    1 => conditions.remove(0),
                    _ => Node::phrase(conditions),
                }));
            }
            ast::VectorSearch::Within { .. } => wrap(root, conditions),
        },
        _ => wrap(root, conditions),
    }
}

fn wrap(node: &mut Node, mut conditions: Vec<Node>) {
    conditions.push(std::mem::replace(node, Node::new(Kind::Nothing)));
    *node = Node::phrase(conditions);
}

#[cfg(test)]
mod tests;
