//! A query's tree as FT.EXPLAIN shows it.

use super::ast::{Kind, Node, VectorSearch};
use super::shown;
use crate::aggregate::general;
use crate::index::Index;
use crate::schema::FieldMask;
use std::fmt::Write;

pub fn explain(root: &Node, index: &Index) -> String {
    let mut out = String::new();
    write_node(&mut out, root, index, 0);
    out
}

fn pad(out: &mut String, depth: usize) {
    (0..depth).for_each(|_| out.push_str("  "));
}

fn write_children(out: &mut String, node: &Node, index: &Index, depth: usize) {
    node.children().iter().for_each(|child| write_node(out, child, index, depth + 1));
    pad(out, depth);
    out.push('}');
}

fn write_node(out: &mut String, node: &Node, index: &Index, depth: usize) {
    pad(out, depth);
    write_fields(out, node, index);
    let name = |field: usize| shown(&index.schema().fields()[field].name);
    match &node.kind {
        Kind::Term { term, expanded } => {
            let word = if term.is_empty() { "\"\"".to_string() } else { shown(term) };
            let expanded = if *expanded { "(expanded)" } else { "" };
            let _ = write!(out, "{word}{expanded}");
            if node.weight != 1.0 {
                let _ = write!(out, " => {{$weight: {};}}", general(node.weight, 6));
            }
            out.push('\n');
            return;
        }
        Kind::Phrase { exact, .. } => {
            out.push_str(if *exact { "EXACT {\n" } else { "INTERSECT {\n" });
            write_children(out, node, index, depth);
        }
        Kind::Union(_) => {
            out.push_str("UNION {\n");
            write_children(out, node, index, depth);
        }
        Kind::Not(_) => {
            out.push_str("NOT{\n");
            write_children(out, node, index, depth);
        }
        Kind::Optional(_) => {
            out.push_str("OPTIONAL{\n");
            write_children(out, node, index, depth);
        }
        Kind::Tag { field, .. } => {
            let _ = writeln!(out, "TAG:@{} {{", name(*field));
            write_children(out, node, index, depth);
        }
        Kind::Prefix(text) => {
            let _ = write!(out, "PREFIX{{{}*}}", shown(text));
        }
        Kind::Suffix(text) => {
            let _ = write!(out, "SUFFIX{{*{}}}", shown(text));
        }
        Kind::Infix(text) => {
            let _ = write!(out, "INFIX{{*{}*}}", shown(text));
        }
        Kind::Wildcard(text) => {
            let _ = write!(out, "WILDCARD{{{}}}", shown(text));
        }
        Kind::Fuzzy { term, .. } => {
            let _ = write!(out, "FUZZY{{{}}}", shown(term));
        }
        Kind::Numeric { field, min, max, min_inclusive, max_inclusive } => {
            let sign = |inclusive: &bool| if *inclusive { "<=" } else { "<" };
            let (low, high) = (sign(min_inclusive), sign(max_inclusive));
            let _ = write!(out, "NUMERIC {{{min:.6} {low} @{} {high} {max:.6}}}", name(*field));
        }
        Kind::Geo { field, longitude, latitude, radius, unit } => {
            let unit = unit.name();
            let _ =
                write!(out, "GEO {}:{{{longitude:.6},{latitude:.6} --> {radius:.6} {unit}}}", name(*field));
        }
        Kind::Missing(field) => {
            let _ = write!(out, "ISMISSING{{{}}}", name(*field));
        }
        Kind::All => out.push_str("<WILDCARD>"),
        Kind::Nothing => out.push_str("<empty>"),
        Kind::Keys(keys) => {
            out.push_str("IDS {");
            for id in keys.iter().filter_map(|key| index.id_of(key)) {
                let _ = write!(out, "{id},");
            }
            out.push('}');
        }
        Kind::Vector(_) => write_vector(out, node, index, depth),
    }
    write_attributes(out, node);
    out.push('\n');
}

fn write_fields(out: &mut String, node: &Node, index: &Index) {
    if node.mask == 0 {
        out.push_str("@NULL:");
    } else if node.mask != FieldMask::MAX
        && !matches!(node.kind, Kind::Numeric { .. } | Kind::Geo { .. } | Kind::Keys(_))
    {
        out.push('@');
        let bits = (0..index.schema().text_fields()).filter(|bit| node.mask & (1 << bit) != 0);
        let names = bits.filter_map(|bit| index.schema().text_field(bit)).map(|field| shown(&field.name));
        out.push_str(&names.collect::<Vec<_>>().join("|"));
        out.push(':');
    }
}

fn write_vector(out: &mut String, node: &Node, index: &Index, depth: usize) {
    let Kind::Vector(query) = &node.kind else { return };
    out.push_str("VECTOR {");
    if !node.children().is_empty() {
        out.push('\n');
        write_children(out, node, index, depth);
        out.push_str(" => {");
    }
    let parameter = shown(&query.parameter);
    let _ = match &query.search {
        VectorSearch::Nearest { k, .. } => write!(out, "K={k} nearest vectors to `${parameter}` "),
        VectorSearch::Within { radius } => {
            let radius = general(*radius, 6);
            write!(out, "Vectors that are within {radius} distance radius from `${parameter}` ")
        }
    };
    let name = shown(&index.schema().fields()[query.field].name);
    let _ = write!(out, "in vector index associated with field @{name}");
    for (name, value) in &query.attributes {
        let _ = write!(out, ", {} = {}", shown(name), shown(value));
    }
    if let Some(score_field) = &query.score_field {
        let _ = write!(out, ", yields distance as `{}`", shown(score_field));
    }
    out.push('}');
}

fn write_attributes(out: &mut String, node: &Node) {
    let in_order = node.in_order == Some(true);
    if node.weight == 1.0 && node.slop.is_none() && !in_order {
        return;
    }
    out.push_str(" => {");
    if node.weight != 1.0 {
        let _ = write!(out, " $weight: {};", general(node.weight, 6));
    }
    if let Some(slop) = node.slop {
        let _ = write!(out, " $slop: {slop};");
    }
    if in_order || node.slop.is_some() {
        let _ = write!(out, " $inorder: {in_order};");
    }
    out.push_str(" }");
}
