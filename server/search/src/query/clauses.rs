//! Clauses about fields: `@field:…`, comparisons, vectors, and attributes.

use super::ast::{GeoUnit, Kind, Node, VectorQuery, VectorSearch};
use super::lexer::{Token, TokenKind as T};
use super::parser::Parser;
use super::{QueryError, shown};
use crate::index::parse_number;
use crate::schema::{Field, FieldKind, FieldMask};
use crate::text;

/// The most neighbours that may be asked for.
const KNN_MAX: usize = 1 << 58;

/// A number with its place, or what a parameter says it is.
#[derive(Clone, Copy)]
struct Bound {
    value: f64,
    inclusive: bool,
}

impl Parser<'_> {
    /// The field of a name; `None` in dialect 1 if there is none, which then finds nothing.
    fn field(&self, token: &Token) -> Result<Option<usize>, QueryError> {
        match self.schema.find(&text::unescape(token.text)) {
            Some(field) => Ok(Some(field)),
            None if self.dialect_1() => Ok(None),
            None => self.error_at("Unknown field", token),
        }
    }

    fn expect_kind(
        &self,
        field: usize,
        is: fn(&Field) -> bool,
        name: &str,
        token: &Token,
    ) -> Result<(), QueryError> {
        if is(&self.schema.fields()[field]) {
            return Ok(());
        }
        self.error_at(&format!("Expected a {name} field"), token)
    }

    /// A clause that starts with `@field`.
    pub(super) fn modified(&mut self) -> Result<Option<Node>, QueryError> {
        let token = self.advance();
        let field = self.field(&token)?;
        match self.token.kind {
            T::Colon => {
                self.advance();
                match self.token.kind {
                    T::BraceOpen => self.tags(field, &token),
                    T::BracketOpen => self.range(field, &token),
                    _ => {
                        let node = self.in_fields()?;
                        // Dialect 1 asks of fields without text what nothing answers.
                        if let Some(field) = field.filter(|_| !self.dialect_1()) {
                            self.expect_kind(field, is_text, "TEXT", &token)?;
                        }
                        let mask = field.map_or(0, |field| self.schema.mask_of(field));
                        Ok(restricted(node, mask))
                    }
                }
            }
            T::Or => self.fields(field, &token),
            T::NotEqual | T::Equal | T::Greater | T::GreaterEqual | T::Less | T::LessEqual
                if !self.dialect_1() =>
            {
                self.comparison(field, &token).map(Some)
            }
            _ => self.syntax_error(),
        }
    }

    /// `@a|b|c:words`.
    fn fields(&mut self, first: Option<usize>, token: &Token) -> Result<Option<Node>, QueryError> {
        let mut mask: FieldMask = 0;
        let mut add = |parser: &Self, field: Option<usize>, token: &Token| {
            let Some(field) = field else { return Ok(()) };
            if !parser.dialect_1() {
                parser.expect_kind(field, is_text, "TEXT", token)?;
            }
            mask |= parser.schema.mask_of(field);
            Ok(())
        };
        let mut added_first = false;
        while self.token.kind == T::Or {
            self.advance();
            if !matches!(self.token.kind, T::Term | T::As | T::IsMissing | T::Size | T::Number | T::Exact) {
                return self.syntax_error();
            }
            let name = self.advance();
            if !std::mem::replace(&mut added_first, true) {
                add(self, first, token)?;
            }
            let field = self.field(&name)?;
            add(self, field, &name)?;
        }
        self.expect(T::Colon)?;
        let node = self.in_fields()?;
        Ok(restricted(node, mask))
    }

    /// `@n==1` and its kin.
    fn comparison(&mut self, field: Option<usize>, token: &Token) -> Result<Node, QueryError> {
        let operator = self.advance();
        let value = self.number()?;
        let field = field.expect("dialect 1 has no comparisons");
        self.expect_kind(field, |f| f.kind == FieldKind::Numeric, "NUMERIC", token)?;
        let numeric = |min: f64, max: f64, inclusive: bool| Kind::Numeric {
            field,
            min,
            max,
            min_inclusive: inclusive,
            max_inclusive: inclusive,
        };
        let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
        let kind = match operator.kind {
            T::Greater => {
                Kind::Numeric { field, min: value, max: high, min_inclusive: false, max_inclusive: true }
            }
            T::GreaterEqual => numeric(value, high, true),
            T::Less => {
                Kind::Numeric { field, min: low, max: value, min_inclusive: true, max_inclusive: false }
            }
            T::LessEqual => numeric(low, value, true),
            _ => numeric(value, value, true),
        };
        let node = self.node(kind)?;
        if operator.kind == T::NotEqual { self.node(Kind::Not(Box::new(node))) } else { Ok(node) }
    }

    /// `ismissing(@field)`.
    pub(super) fn is_missing(&mut self) -> Result<Option<Node>, QueryError> {
        self.advance();
        self.expect(T::Open)?;
        let token = self.expect(T::Modifier)?;
        let field = self.field(&token)?.expect("dialect 1 does not come here");
        self.expect(T::Close)?;
        if !self.schema.fields()[field].index_missing {
            return self.error_at("'ismissing' requires defining the field with 'INDEXMISSING'", &token);
        }
        self.node(Kind::Missing(field)).map(Some)
    }

    /// `{a | b c | d*}`.
    fn tags(&mut self, field: Option<usize>, token: &Token) -> Result<Option<Node>, QueryError> {
        self.advance();
        let mut values = vec![self.tag()?];
        while self.token.kind == T::Or {
            self.advance();
            values.push(self.tag()?);
        }
        self.expect(T::BraceClose)?;
        let Some(field) = field else { return Ok(None) };
        self.expect_kind(field, |f| matches!(f.kind, FieldKind::Tag { .. }), "TAG", token)?;
        self.node(Kind::Tag { field, values }).map(Some)
    }

    fn tag(&mut self) -> Result<Node, QueryError> {
        if matches!(self.token.kind, T::Prefix | T::Suffix | T::Infix | T::Wildcard) {
            return self.pattern();
        }
        let mut words = Vec::new();
        while self.is_word() || self.token.kind == T::Exact {
            let token = self.advance();
            // As it is written: whether case counts is the field's to say.
            let term = if token.kind == T::Attribute { self.parameter(&token) } else { token.text };
            words.push(self.node(Kind::Term { term: text::unescape(term), expanded: false })?);
        }
        match words.len() {
            0 => self.syntax_error(),
            1 => Ok(words.remove(0)),
            _ => self.node(Kind::Phrase { children: words, exact: false }),
        }
    }

    /// `[…]`: numbers, a place, or vectors in reach.
    fn range(&mut self, field: Option<usize>, token: &Token) -> Result<Option<Node>, QueryError> {
        self.advance();
        if matches!(self.token.kind, T::Term | T::Exact | T::As | T::IsMissing) && !self.dialect_1() {
            return self.vectors_within(field, token);
        }
        let first = self.bound(true)?;
        if self.token.kind == T::BracketClose && first.inclusive && !self.dialect_1() {
            self.advance();
            return self.numeric(field, first, first, token);
        }
        let second = self.bound(false)?;
        if self.token.kind == T::BracketClose {
            self.advance();
            return self.numeric(field, first, second, token);
        }
        if !first.inclusive || !second.inclusive {
            return self.syntax_error();
        }
        let radius = self.number()?;
        if !self.is_word() && self.token.kind != T::Exact {
            return self.syntax_error();
        }
        let unit_token = self.advance();
        let is_parameter = unit_token.kind == T::Attribute;
        let unit = if is_parameter { self.parameter(&unit_token) } else { unit_token.text };
        let unit = GeoUnit::parse(unit);
        self.expect(T::BracketClose)?;
        let Some(field) = field else { return Ok(None) };
        self.expect_kind(field, |f| f.kind == FieldKind::Geo, "GEO", token)?;
        if unit.is_none() {
            self.defer(QueryError::syntax("Invalid GeoFilter unit"));
        }
        let unit = unit.unwrap_or(GeoUnit::Metres);
        self.node(Kind::Geo { field, longitude: first.value, latitude: second.value, radius, unit }).map(Some)
    }

    fn numeric(
        &mut self,
        field: Option<usize>,
        min: Bound,
        max: Bound,
        token: &Token,
    ) -> Result<Option<Node>, QueryError> {
        let Some(field) = field else { return Ok(None) };
        self.expect_kind(field, |f| f.kind == FieldKind::Numeric, "NUMERIC", token)?;
        self.node(Kind::Numeric {
            field,
            min: min.value,
            max: max.value,
            min_inclusive: min.inclusive,
            max_inclusive: max.inclusive,
        })
        .map(Some)
    }

    /// A number, or `(` and a number.
    fn bound(&mut self, lower: bool) -> Result<Bound, QueryError> {
        let inclusive = self.token.kind != T::Open;
        if !inclusive {
            self.advance();
        }
        let name = if lower { "Bad lower range" } else { "Bad upper range" };
        let value = self.number_or(|value, _| QueryError::argument(format!("{name}: {}", shown(value))))?;
        Ok(Bound { value, inclusive })
    }

    fn number(&mut self) -> Result<f64, QueryError> {
        self.number_or(bad_number)
    }

    /// A number or a parameter that is one, with any number of minuses before.
    fn number_or(&mut self, error: impl Fn(&[u8], &[u8]) -> QueryError) -> Result<f64, QueryError> {
        let mut sign = 1.0;
        let mut minuses = 0;
        while self.token.kind == T::Minus {
            self.advance();
            sign = -sign;
            minuses += 1;
        }
        match self.token.kind {
            T::Size | T::Number => Ok(sign * self.advance().number),
            // The grammar has one minus before a parameter, at most.
            T::Attribute if minuses <= 1 && !self.dialect_1() => {
                let token = self.advance();
                let value = self.parameter(&token);
                let number = std::str::from_utf8(value).ok().and_then(parse_number);
                if number.is_none() {
                    self.defer(error(value, token.text));
                }
                Ok(sign * token.sign * number.unwrap_or(0.0))
            }
            _ => self.syntax_error(),
        }
    }

    /// `[VECTOR_RANGE radius $vector]`, behind the bracket.
    fn vectors_within(&mut self, field: Option<usize>, token: &Token) -> Result<Option<Node>, QueryError> {
        let command = self.advance();
        if self.token.kind == T::Attribute && !command.text.eq_ignore_ascii_case(b"VECTOR_RANGE") {
            // A shape: there are no fields for such.
            return self.error_at("Expected a GEOSHAPE field", token);
        }
        let radius = self.number()?;
        let vector = self.expect(T::Attribute)?;
        if !command.text.eq_ignore_ascii_case(b"VECTOR_RANGE") {
            return self.error_at("Syntax error: expecting vector similarity range command", &command);
        }
        self.expect(T::BracketClose)?;
        let field = field.expect("dialect 1 does not come here");
        self.expect_kind(field, is_vector, "VECTOR", token)?;
        if radius < 0.0 {
            self.defer(QueryError::argument(format!(
                "Error parsing vector similarity query: negative radius ({radius}) given in a range query"
            )));
        }
        let blob = self.parameter(&vector).to_vec();
        let query = VectorQuery {
            field,
            vector: blob,
            parameter: vector.text.to_vec(),
            search: VectorSearch::Within { radius },
            score_field: None,
            attributes: Vec::new(),
            ef_runtime: None,
            epsilon: None,
        };
        self.node(Kind::Vector(Box::new(query))).map(Some)
    }

    /// `=>[KNN k @field $vector …]`, behind the arrow.
    pub(super) fn nearest(&mut self, filter: Option<Node>) -> Result<Node, QueryError> {
        self.expect(T::BracketOpen)?;
        if !matches!(self.token.kind, T::Term | T::Exact) {
            return self.syntax_error();
        }
        let command = self.advance();
        let k = self.k()?;
        if k > KNN_MAX {
            self.defer(QueryError::argument(format!(
                "Error parsing vector similarity query: query KNN K parameter is too large, must not exceed {KNN_MAX}"
            )));
        }
        let modifier = self.expect(T::Modifier)?;
        let field = self.field(&modifier)?.expect("dialect 1 does not come here");
        let vector = self.expect(T::Attribute)?;
        self.expect_kind(field, is_vector, "VECTOR", &modifier)?;
        if !command.text.eq_ignore_ascii_case(b"KNN") {
            return self.error_at("Syntax error: Expecting Vector Similarity command", &command);
        }
        let name = &self.schema.fields()[field].name;
        let mut query = VectorQuery {
            field,
            vector: self.parameter(&vector).to_vec(),
            parameter: vector.text.to_vec(),
            search: VectorSearch::Nearest { k, filter: filter.filter(|f| f.kind != Kind::All).map(Box::new) },
            score_field: Some([b"__", &name[..], b"_score"].concat()),
            attributes: Vec::new(),
            ef_runtime: None,
            epsilon: None,
        };
        while self.token.kind == T::Term {
            let attribute = self.advance();
            if !self.is_word() && self.token.kind != T::Exact {
                return self.syntax_error();
            }
            let token = self.advance();
            let value = if token.kind == T::Attribute { self.parameter(&token) } else { token.text };
            match set_vector_attribute(&mut query, attribute.text, value) {
                Ok(true) => {}
                Ok(false) => {
                    self.defer(bad_vector_attribute(&format!("Invalid option `{}`", shown(attribute.text))));
                }
                Err(error) => self.defer(error),
            }
        }
        if self.token.kind == T::As {
            self.advance();
            if !self.is_word() && self.token.kind != T::Exact {
                return self.syntax_error();
            }
            let token = self.advance();
            let name = if token.kind == T::Attribute { self.parameter(&token) } else { token.text };
            query.score_field = Some(name.to_vec());
        }
        self.expect(T::BracketClose)?;
        let mut node = self.node(Kind::Vector(Box::new(query)))?;
        if self.token.kind == T::Arrow {
            self.advance();
            self.attributes(Some(&mut node))?;
        }
        Ok(node)
    }

    fn k(&mut self) -> Result<usize, QueryError> {
        let token = match self.token.kind {
            T::Size => return Ok(self.advance().number as usize),
            T::Attribute => self.advance(),
            _ => return self.syntax_error(),
        };
        let value = self.parameter(&token);
        let k = std::str::from_utf8(value).ok().and_then(|v| v.parse::<usize>().ok());
        if k.is_none() {
            self.defer(bad_number(value, token.text));
        }
        Ok(k.unwrap_or(0))
    }

    /// `{$name: value; …}`, behind the arrow.
    pub(super) fn attributes(&mut self, mut node: Option<&mut Node>) -> Result<(), QueryError> {
        self.expect(T::BraceOpen)?;
        loop {
            match self.token.kind {
                T::BraceClose => {
                    self.advance();
                    return Ok(());
                }
                T::Attribute => {
                    let name = self.advance();
                    self.expect(T::Colon)?;
                    if !self.is_word() && self.token.kind != T::Exact && self.token.kind != T::Attribute {
                        return self.syntax_error();
                    }
                    let token = self.advance();
                    let value = if token.kind == T::Attribute { self.parameter(&token) } else { token.text };
                    if let Some(node) = &mut node
                        && let Err(error) = set_attribute(node, name.text, value)
                    {
                        self.defer(error);
                    }
                    if !matches!(self.token.kind, T::Semicolon | T::BraceClose) {
                        return self.syntax_error();
                    }
                }
                // One behind each attribute.
                T::Semicolon => {
                    self.advance();
                }
                _ => return self.syntax_error(),
            }
        }
    }
}

fn is_text(field: &Field) -> bool {
    matches!(field.kind, FieldKind::Text { .. })
}

fn is_vector(field: &Field) -> bool {
    matches!(field.kind, FieldKind::Vector(_))
}

fn restricted(node: Option<Node>, mask: FieldMask) -> Option<Node> {
    node.map(|mut node| {
        node.restrict(mask);
        node
    })
}

fn bad_number(value: &[u8], parameter: &[u8]) -> QueryError {
    let (value, parameter) = (shown(value), shown(parameter));
    QueryError::argument(format!("Invalid numeric value ({value}) for parameter `{parameter}`"))
}

fn set_attribute(node: &mut Node, name: &[u8], value: &[u8]) -> Result<(), QueryError> {
    let bad = || {
        let (value, name) = (shown(value), shown(name));
        Err(QueryError::syntax(format!("Invalid value ({value}) for `{name}`")))
    };
    if value.is_empty() {
        return bad();
    }
    let text = std::str::from_utf8(value).unwrap_or_default();
    match name.to_ascii_lowercase().as_slice() {
        b"slop" => match text.parse::<i64>() {
            Ok(-1) => node.slop = None,
            Ok(slop) if slop >= 0 => node.slop = Some(u32::try_from(slop).unwrap_or(u32::MAX)),
            _ => return bad(),
        },
        b"inorder" => match parse_bool(value) {
            said @ Some(_) => node.in_order = said,
            None => return bad(),
        },
        b"weight" => match parse_number(text) {
            Some(weight) if weight >= 0.0 => node.weight = weight,
            _ => return bad(),
        },
        // Words that sound alike are not joined: asked not to, that is what is done.
        b"phonetic" => match parse_bool(value) {
            Some(false) => {}
            Some(true) => return Err(QueryError::argument("field does not support phonetics")),
            None => return bad(),
        },
        name_in_lower_case => {
            let Kind::Vector(query) = &mut node.kind else {
                return Err(QueryError::argument(format!("Invalid attribute {}", shown(name))));
            };
            if name_in_lower_case == b"yield_distance_as" {
                query.score_field = Some(value.to_vec());
            } else if !set_vector_attribute(query, name, value)? {
                return Err(QueryError::argument(format!("Invalid attribute {}", shown(name))));
            }
        }
    }
    Ok(())
}

fn bad_vector_attribute(why: &str) -> QueryError {
    QueryError::argument(format!("Error parsing vector similarity parameters: {why}"))
}

/// False if there is no such attribute.
fn set_vector_attribute(query: &mut VectorQuery, name: &[u8], value: &[u8]) -> Result<bool, QueryError> {
    let bad = || bad_vector_attribute("Invalid value was given");
    let text = std::str::from_utf8(value).unwrap_or_default();
    let (nearest, filtered) = match &query.search {
        VectorSearch::Nearest { filter, .. } => (true, filter.is_some()),
        VectorSearch::Within { .. } => (false, false),
    };
    match name.to_ascii_lowercase().as_slice() {
        b"ef_runtime" => {
            query.ef_runtime = Some(text.parse().ok().filter(|&ef: &usize| ef > 0).ok_or_else(bad)?);
        }
        b"epsilon" if nearest => {
            let why = "range query attributes were sent for a non-range query";
            return Err(bad_vector_attribute(why));
        }
        b"epsilon" => {
            query.epsilon = Some(parse_number(text).filter(|&epsilon| epsilon > 0.0).ok_or_else(bad)?);
        }
        b"hybrid_policy" | b"batch_size" if !filtered => {
            let why = "hybrid query attributes were sent for a non-hybrid query";
            return Err(bad_vector_attribute(why));
        }
        // How to go about it is ours to decide.
        b"hybrid_policy" => {
            let known = matches!(value.to_ascii_lowercase().as_slice(), b"batches" | b"adhoc_bf");
            known.then_some(()).ok_or_else(bad)?;
        }
        b"batch_size" => text.parse().ok().filter(|&size: &usize| size > 0).map(drop).ok_or_else(bad)?,
        b"shard_k_ratio" => {
            parse_number(text).filter(|&ratio| ratio > 0.0 && ratio <= 1.0).map(drop).ok_or_else(bad)?;
        }
        _ => return Ok(false),
    }
    if query.attributes.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Err(bad_vector_attribute("Parameter was specified twice"));
    }
    query.attributes.push((name.to_vec(), value.to_vec()));
    Ok(true)
}

fn parse_bool(value: &[u8]) -> Option<bool> {
    match value.to_ascii_lowercase().as_slice() {
        b"true" | b"1" => Some(true),
        b"false" | b"0" => Some(false),
        _ => None,
    }
}
