//! Joins the words of a query with their synonyms and stems.

use super::ast::{Kind, Node};
use crate::schema::{FieldMask, Schema};
use crate::synonyms::Synonyms;
use crate::text::{self, Language};

pub fn expand(node: &mut Node, schema: &Schema, synonyms: &Synonyms, language: Language) {
    let as_they_are = matches!(node.kind, Kind::Phrase { exact: true, .. } | Kind::Tag { .. });
    if node.verbatim || as_they_are || !schema.stems(node.mask) {
        return;
    }
    let Kind::Term { term, .. } = &node.kind else {
        return node.children_mut().iter_mut().for_each(|child| expand(child, schema, synonyms, language));
    };
    if term.is_empty() {
        return;
    }
    let mask = node.mask;
    let expanded =
        |term: Vec<u8>, mask: FieldMask| Node { mask, ..Node::new(Kind::Term { term, expanded: true }) };
    let mut others: Vec<Node> = synonyms.terms_of(term).map(|group| expanded(group, mask)).collect();
    if let Some(stem) = language.stem(term) {
        let stemmed = schema.stemmed(mask);
        others.push(expanded(text::prefixed(&stem), stemmed));
        if stem != *term {
            others.push(expanded(stem, stemmed));
        }
    }
    if !others.is_empty() {
        let own = std::mem::replace(node, Node::new(Kind::Nothing));
        let children = std::iter::once(own).chain(others).collect();
        *node = Node { mask, ..Node::new(Kind::Union(children)) };
    }
}
