//! Joins the words of a query with their synonyms and stems.

use super::ast::{Kind, Node};
use crate::schema::{FieldMask, Schema};
use crate::synonyms::Synonyms;
use crate::text::{self, Language};

/// `left` is how many groups of synonyms may still be asked for; of stems no word has more than two.
pub fn expand(node: &mut Node, schema: &Schema, synonyms: &Synonyms, language: Language, left: &mut usize) {
    let as_they_are = matches!(node.kind, Kind::Phrase { exact: true, .. } | Kind::Tag { .. });
    if node.verbatim || as_they_are || !schema.stems(node.mask) {
        return;
    }
    let Kind::Term { term, .. } = &node.kind else {
        let children = node.children_mut().iter_mut();
        return children.for_each(|child| expand(child, schema, synonyms, language, left));
    };
    if term.is_empty() {
        return;
    }
    let mask = node.mask;
    let expanded =
        |term: Vec<u8>, mask: FieldMask| Node { mask, ..Node::new(Kind::Term { term, expanded: true }) };
    let groups = synonyms.terms_of(term).take(*left);
    let mut others: Vec<Node> = groups.map(|group| expanded(group, mask)).collect();
    *left -= others.len();
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
