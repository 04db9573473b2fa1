//! The grammar: precedence from the loosest: `|`, juxtaposition, `-` and `~`, `=>{…}`, field modifiers.
//!
//! In dialect 1 `|` binds closer than juxtaposition, consecutive words belong together, and a modifier reaches over all
//! of them.

use super::ast::{DEPTH_MAX, Kind, NODES_MAX, Node, PATTERN_LEN_MAX};
use super::lexer::{Lexer, Token, TokenKind as T};
use super::{ParseOptions, QueryError, shown};
use crate::schema::{FieldKind, FieldMask, Schema};
use crate::text::{self, StopWords};

pub(super) struct Parser<'a> {
    pub(super) schema: &'a Schema,
    pub(super) options: &'a ParseOptions<'a>,
    stop_words: &'a StopWords,
    lexer: Lexer<'a>,
    pub(super) token: Token<'a>,
    depth: usize,
    nodes: usize,
    /// What is wrong with a parameter or a value: said only if the syntax is right.
    deferred: Option<QueryError>,
}

/// A part of a query; none if only stop words were in it. `text` if nothing in it asks for other than words: only
/// such may follow the modifier of TEXT fields.
struct Part {
    node: Option<Node>,
    text: bool,
}

impl Part {
    fn text(node: Option<Node>) -> Self {
        Self { node, text: true }
    }

    fn other(node: Option<Node>) -> Self {
        Self { node, text: false }
    }
}

pub fn parse(
    query: &[u8],
    schema: &Schema,
    stop_words: &StopWords,
    options: &ParseOptions,
) -> Result<Node, QueryError> {
    let mut lexer = Lexer::new(query);
    let token = lexer.next();
    let mut parser = Parser { schema, options, stop_words, lexer, token, depth: 0, nodes: 0, deferred: None };
    let root = parser.query()?;
    match parser.deferred {
        Some(error) => Err(error),
        None => {
            let root = root.unwrap_or_else(|| Node::new(Kind::Nothing));
            check(&root, schema)?;
            Ok(root)
        }
    }
}

impl<'a> Parser<'a> {
    pub(super) fn dialect_1(&self) -> bool {
        self.options.dialect < 2
    }

    pub(super) fn advance(&mut self) -> Token<'a> {
        std::mem::replace(&mut self.token, self.lexer.next())
    }

    pub(super) fn syntax_error<T>(&self) -> Result<T, QueryError> {
        let Token { offset, near, .. } = self.token;
        Err(QueryError::syntax(format!("Syntax error at offset {offset} near {}", shown(near))))
    }

    /// Something about a token that was read.
    pub(super) fn error_at<T>(&self, what: &str, token: &Token) -> Result<T, QueryError> {
        Err(QueryError::syntax(format!("{what} at offset {} near {}", token.offset, shown(token.near))))
    }

    pub(super) fn expect(&mut self, kind: T) -> Result<Token<'a>, QueryError> {
        if self.token.kind == kind { Ok(self.advance()) } else { self.syntax_error() }
    }

    /// To be said if the rest is well.
    pub(super) fn defer(&mut self, error: QueryError) {
        self.deferred.get_or_insert(error);
    }

    pub(super) fn node(&mut self, kind: Kind) -> Result<Node, QueryError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(QueryError::limit(format!("Query has more than {NODES_MAX} parts")));
        }
        Ok(Node::new(kind))
    }

    fn deeper<R>(&mut self, inner: impl FnOnce(&mut Self) -> Result<R, QueryError>) -> Result<R, QueryError> {
        if self.depth == DEPTH_MAX {
            return Err(QueryError::syntax(
                "Parser stack overflow. Try moving nested parentheses more to the left",
            ));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn query(&mut self) -> Result<Option<Node>, QueryError> {
        if self.token.kind == T::End {
            return Ok(None);
        }
        let root = match self.star()? {
            Some(star) => Some(star),
            None => {
                let first = self.unary(false, true)?;
                if self.token.kind != T::Arrow {
                    let rest = self.alternatives_after(first, false)?;
                    return self.end(rest.node);
                }
                first.node
            }
        };
        if self.token.kind == T::Arrow && !self.dialect_1() {
            self.advance();
            let nearest = self.nearest(root)?;
            return self.end(Some(nearest));
        }
        self.end(root)
    }

    fn end(&self, root: Option<Node>) -> Result<Option<Node>, QueryError> {
        if self.token.kind == T::End { Ok(root) } else { self.syntax_error() }
    }

    /// `*`, maybe in parentheses but for dialect 1: only as the whole of a query.
    fn star(&mut self) -> Result<Option<Node>, QueryError> {
        let mut ahead = self.lexer.clone();
        let mut kind = self.token.kind;
        let mut parentheses = 0;
        while kind == T::Open {
            parentheses += 1;
            kind = ahead.next().kind;
        }
        if kind != T::Star || (parentheses > 0 && self.dialect_1()) {
            return Ok(None);
        }
        for _ in 0..=parentheses {
            self.advance();
        }
        for _ in 0..parentheses {
            self.expect(T::Close)?;
        }
        self.node(Kind::All).map(Some)
    }

    /// `a b | c d`.
    fn expression(&mut self, text_only: bool) -> Result<Part, QueryError> {
        let first = self.unary(text_only, false)?;
        self.alternatives_after(first, text_only)
    }

    fn alternatives_after(&mut self, first: Part, text_only: bool) -> Result<Part, QueryError> {
        if self.dialect_1() {
            let first = self.union_after(first)?;
            return self.sequence_after(first, text_only);
        }
        let mut left = self.sequence_after(first, text_only)?;
        while self.token.kind == T::Or {
            self.advance();
            let first = self.unary(text_only, false)?;
            let right = self.sequence_after(first, text_only)?;
            left = self.unite(left, right)?;
        }
        Ok(left)
    }

    /// Dialect 1: `a | b` before anything else.
    fn union_after(&mut self, mut left: Part) -> Result<Part, QueryError> {
        while self.token.kind == T::Or {
            self.advance();
            let right = self.unary(false, false)?;
            left = self.unite(left, right)?;
        }
        Ok(left)
    }

    fn sequence_after(&mut self, mut left: Part, text_only: bool) -> Result<Part, QueryError> {
        while self.starts_part(text_only) {
            let mut right = self.unary(text_only, false)?;
            if self.dialect_1() {
                right = self.union_after(right)?;
            }
            left = self.join(left, right)?;
        }
        Ok(left)
    }

    fn starts_part(&self, text_only: bool) -> bool {
        match self.token.kind {
            T::Term
            | T::As
            | T::IsMissing
            | T::Size
            | T::Number
            | T::Exact
            | T::Quote
            | T::Prefix
            | T::Suffix
            | T::Infix
            | T::Wildcard
            | T::Percent
            | T::Open
            | T::Minus
            | T::Tilde => true,
            T::Attribute => !self.dialect_1(),
            T::Modifier => !text_only,
            _ => false,
        }
    }

    /// Both, as one list if one of them is such already.
    fn join(&mut self, left: Part, right: Part) -> Result<Part, QueryError> {
        let text = left.text && right.text;
        let node = match (left.node, right.node) {
            (Some(mut left), Some(mut right)) => Some(if let Some(children) = list_of_all(&mut left) {
                children.push(right);
                left
            } else if let Some(children) = list_of_all(&mut right) {
                children.push(left);
                right
            } else {
                self.node(Kind::Phrase { children: vec![left, right], exact: false })?
            }),
            (left, right) => left.or(right),
        };
        Ok(Part { node, text })
    }

    /// Either, as one union if one of them is such already.
    fn unite(&mut self, left: Part, right: Part) -> Result<Part, QueryError> {
        let text = left.text && right.text;
        let node = match (left.node, right.node) {
            (Some(mut left), Some(mut right)) => Some(if let Some(children) = union_of_all(&mut left) {
                children.push(right);
                left
            } else if let Some(children) = union_of_all(&mut right) {
                children.push(left);
                right
            } else {
                self.node(Kind::Union(vec![left, right]))?
            }),
            (left, right) => left.or(right),
        };
        Ok(Part { node, text })
    }

    /// `-a`, `~a`, `a=>{…}`. `top` if the query starts here: then `=>[` may follow, and is left to the caller.
    fn unary(&mut self, text_only: bool, top: bool) -> Result<Part, QueryError> {
        match self.token.kind {
            T::Minus => {
                self.advance();
                let part = self.deeper(|p| p.operand(text_only))?;
                let node = match part.node {
                    Some(Node { kind: Kind::Not(inner), .. }) => Some(*inner),
                    Some(node) => Some(self.node(Kind::Not(Box::new(node)))?),
                    None => None,
                };
                Ok(Part { node, ..part })
            }
            T::Tilde => {
                self.advance();
                let part = self.deeper(|p| p.operand(text_only))?;
                let node = match part.node {
                    Some(node) => Some(self.node(Kind::Optional(Box::new(node)))?),
                    None => None,
                };
                Ok(Part { node, ..part })
            }
            _ => {
                let part = self.primary(text_only)?;
                self.attributes_after(part, top)
            }
        }
    }

    /// What `-` and `~` take: in dialect 1 all up to the next of them.
    fn operand(&mut self, text_only: bool) -> Result<Part, QueryError> {
        let mut part = self.unary(text_only, false)?;
        if self.dialect_1() {
            part = self.union_after(part)?;
            while self.starts_part(text_only) && !matches!(self.token.kind, T::Minus | T::Tilde | T::Exact) {
                let next = self.unary(text_only, false)?;
                let next = self.union_after(next)?;
                part = self.join(part, next)?;
            }
        }
        Ok(part)
    }

    fn attributes_after(&mut self, mut part: Part, top: bool) -> Result<Part, QueryError> {
        while self.token.kind == T::Arrow {
            if top && self.lexer.clone().next().kind == T::BracketOpen {
                return Ok(part);
            }
            self.advance();
            self.attributes(part.node.as_mut())?;
        }
        Ok(part)
    }

    fn primary(&mut self, text_only: bool) -> Result<Part, QueryError> {
        match self.token.kind {
            T::Open => {
                self.advance();
                let part = self.deeper(|p| p.expression(text_only))?;
                self.expect(T::Close)?;
                Ok(part)
            }
            T::Modifier if !text_only => self.modified().map(Part::other),
            T::IsMissing if !text_only && !self.dialect_1() => self.is_missing().map(Part::other),
            _ => self.words().map(Part::text),
        }
    }

    /// A word, a phrase, a pattern. In dialect 1 all words that follow each other.
    fn words(&mut self) -> Result<Option<Node>, QueryError> {
        match self.token.kind {
            T::Exact => {
                let token = self.advance();
                self.exact(token.text).map(Some)
            }
            T::Quote => {
                self.advance();
                let name = self.expect(T::Attribute)?;
                self.expect(T::Quote)?;
                let term = text::normalize_query_term(&[b"$", name.text].concat());
                let node = self.node(Kind::Term { term, expanded: false })?;
                Ok(Some(Node { verbatim: true, ..node }))
            }
            T::Prefix | T::Suffix | T::Infix | T::Wildcard => self.pattern().map(Some),
            T::Percent => self.fuzzy().map(Some),
            _ if self.is_word() => {
                let first = self.word()?;
                let mut all = Part::text(first);
                while self.dialect_1() && self.is_word() {
                    let next = Part::text(self.word()?);
                    all = self.join(all, next)?;
                }
                Ok(all.node)
            }
            _ => self.syntax_error(),
        }
    }

    /// A term, a number or a parameter.
    pub(super) fn is_word(&self) -> bool {
        match self.token.kind {
            T::Term | T::As | T::IsMissing | T::Size | T::Number => true,
            T::Attribute => !self.dialect_1(),
            _ => false,
        }
    }

    fn word(&mut self) -> Result<Option<Node>, QueryError> {
        let token = self.advance();
        let (term, verbatim) = match token.kind {
            T::Attribute => {
                let value = self.parameter(&token);
                let is_number =
                    std::str::from_utf8(value).is_ok_and(|v| crate::index::parse_number(v).is_some());
                (text::normalize_query_term(value), is_number)
            }
            T::Size | T::Number => (text::lower(token.text), true),
            _ => {
                let term = text::normalize_query_term(token.text);
                if !term.is_empty() && self.stop_words.contains(&text::lower(token.text)) {
                    return Ok(None);
                }
                (term, false)
            }
        };
        let node = self.node(Kind::Term { term, expanded: false })?;
        Ok(Some(Node { verbatim, ..node }))
    }

    /// Words one after the other. Stop words are words here, except in dialect 1.
    fn exact(&mut self, quoted: &[u8]) -> Result<Node, QueryError> {
        let mut children = Vec::new();
        let mut start = 0;
        let mut escaped = false;
        for at in 0..=quoted.len() {
            // Unlike in texts a dollar does not separate.
            let ends = match quoted.get(at) {
                Some(b'$') => false,
                Some(&byte) => !escaped && text::is_separator(byte),
                None => true,
            };
            if ends {
                let word = &quoted[start..at];
                start = at + 1;
                let stopped = self.dialect_1() && self.stop_words.contains(&text::lower(word));
                if !word.is_empty() && !stopped {
                    let term = text::normalize_query_term(word);
                    children.push(self.node(Kind::Term { term, expanded: false })?);
                }
            }
            escaped = !escaped && quoted.get(at) == Some(&b'\\');
        }
        let node = self.node(Kind::Phrase { children, exact: true })?;
        Ok(Node { verbatim: true, ..node })
    }

    /// A prefix, suffix, infix or wildcard.
    pub(super) fn pattern(&mut self) -> Result<Node, QueryError> {
        let token = self.advance();
        let text = match (token.parameter, token.kind) {
            (true, T::Wildcard) => self.parameter(&token).to_vec(),
            (true, _) => text::normalize_query_term(self.parameter(&token)),
            (false, T::Wildcard) => token.text.to_vec(),
            (false, _) => text::unescape(token.text),
        };
        self.node(match token.kind {
            T::Prefix => Kind::Prefix(text),
            T::Suffix => Kind::Suffix(text),
            T::Infix => Kind::Infix(text),
            _ => Kind::Wildcard(text),
        })
    }

    fn fuzzy(&mut self) -> Result<Node, QueryError> {
        let mut distance = 0;
        while distance < 3 && self.token.kind == T::Percent {
            self.advance();
            distance += 1;
        }
        if !self.is_word() {
            return self.syntax_error();
        }
        let token = self.advance();
        let text = if token.kind == T::Attribute { self.parameter(&token) } else { token.text };
        let term = text::normalize_query_term(text);
        for _ in 0..distance {
            self.expect(T::Percent)?;
        }
        self.node(Kind::Fuzzy { term, distance })
    }

    /// What follows the modifier of TEXT fields.
    pub(super) fn in_fields(&mut self) -> Result<Option<Node>, QueryError> {
        if self.dialect_1() {
            let part = self.deeper(|p| p.unary(false, false))?;
            return Ok(self.union_after(part)?.node);
        }
        // The modifier binds closer than `=>{…}`, which is then the whole clause's.
        match self.token.kind {
            T::Minus | T::Tilde => Ok(self.unary(true, false)?.node),
            _ => Ok(self.deeper(|p| p.primary(true))?.node),
        }
    }

    /// The value of a parameter; nothing, and an error for later, if there is none of this name.
    pub(super) fn parameter(&mut self, token: &Token) -> &'a [u8] {
        match self.options.params.get(token.text) {
            Some(value) => value,
            None => {
                self.defer(QueryError::argument(format!("No such parameter `{}`", shown(token.text))));
                &[]
            }
        }
    }
}

fn list_of_all(node: &mut Node) -> Option<&mut Vec<Node>> {
    match &mut node.kind {
        Kind::Phrase { children, exact: false } if node.mask == FieldMask::MAX => Some(children),
        _ => None,
    }
}

fn union_of_all(node: &mut Node) -> Option<&mut Vec<Node>> {
    match &mut node.kind {
        Kind::Union(children) if node.mask == FieldMask::MAX => Some(children),
        _ => None,
    }
}

/// What is grammatical and yet means nothing.
fn check(node: &Node, schema: &Schema) -> Result<(), QueryError> {
    match &node.kind {
        Kind::Numeric { field, min, max, .. } if min > max => {
            let name = shown(&schema.fields()[*field].name);
            return Err(QueryError::syntax(format!(
                "Invalid numeric range (min > max): @{name}:[{min:.6} {max:.6}]"
            )));
        }
        Kind::Prefix(text)
        | Kind::Suffix(text)
        | Kind::Infix(text)
        | Kind::Wildcard(text)
        | Kind::Fuzzy { term: text, .. }
            if text.len() > PATTERN_LEN_MAX =>
        {
            let kind = match node.kind {
                Kind::Prefix(_) => "PREFIX",
                Kind::Suffix(_) => "SUFFIX",
                Kind::Infix(_) => "INFIX",
                Kind::Wildcard(_) => "WILDCARD",
                _ => "FUZZY",
            };
            return Err(QueryError::limit(format!(
                "{kind} query string is too long. Maximum allowed length is {PATTERN_LEN_MAX}"
            )));
        }
        Kind::Term { term, .. } if term.is_empty() => {
            let bits = (0..schema.text_fields()).filter(|bit| node.mask & (1 << bit) != 0);
            if bits.into_iter().any(|bit| schema.text_field(bit).is_some_and(|f| !f.index_empty)) {
                return Err(no_empty());
            }
        }
        Kind::Tag { field, values } => {
            let empty = |value: &Node| matches!(&value.kind, Kind::Term { term, .. } if term.is_empty());
            if values.iter().any(empty) && !schema.fields()[*field].index_empty {
                return Err(no_empty());
            }
            // An empty value is none of a TEXT field.
            return values.iter().filter(|value| !empty(value)).try_for_each(|value| check(value, schema));
        }
        Kind::Geo { longitude, latitude, radius, .. } => {
            if !(longitude.abs() <= 180.0 && latitude.abs() <= 90.0) {
                return Err(QueryError::syntax("Invalid GeoFilter lat/lon"));
            }
            if radius.is_nan() || *radius <= 0.0 {
                return Err(QueryError::syntax("Invalid GeoFilter radius"));
            }
        }
        Kind::Vector(vector) => {
            let FieldKind::Vector(spec) = &schema.fields()[vector.field].kind else { return Ok(()) };
            if vector.vector.len() != spec.blob_len() {
                return Err(QueryError::argument(format!(
                    "Error parsing vector similarity query: query vector blob size ({}) does not match index's expected \
                     size ({}).",
                    vector.vector.len(),
                    spec.blob_len()
                )));
            }
        }
        _ => {}
    }
    node.children().iter().try_for_each(|child| check(child, schema))
}

fn no_empty() -> QueryError {
    QueryError::syntax("Use `INDEXEMPTY` in field creation in order to index and query for empty strings")
}
