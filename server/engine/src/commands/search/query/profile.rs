//! FT.PROFILE: an answer, and how it came about.
//!
//! The shape is RediSearch's. What is counted is ours: the documents that each part of a query finds by itself.

use cairn_proto::{ReplyWriter, Resp};
use cairn_search::aggregate::number_text;
use cairn_search::eval::{SearchOptions, Sort};
use cairn_search::query::Query;
use cairn_search::query::ast::VectorSearch;
use cairn_search::query::ast::{Kind as NodeKind, Node};

use super::aggregate::Prepared;
use super::options::{Kind, Plan, Request};
use super::parsed::Deadline;
use super::reply::Warnings;
use super::search::Answer;
use super::{World, limits, look_up};
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::CommandResult;

/// Parts of a query that are looked at one by one.
const PARTS_MAX: usize = 256;

pub(super) static FT_PROFILE: Command = Command {
    name: "ft.profile",
    arity: -5,
    group: Group::Search,
    since: "2.2.0",
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    summary: "Runs a search or an aggregation and says how it went.",
    complexity: "O(N), N being the number of documents that the query finds",
    syntax: "index <SEARCH | AGGREGATE> [LIMITED] QUERY query",
    run: profile,
    ..COMMAND
};

fn profile(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let kind = match args.at(2) {
        word if word.eq_ignore_ascii_case(b"SEARCH") => Kind::Search,
        word if word.eq_ignore_ascii_case(b"AGGREGATE") => Kind::Aggregate,
        _ => return Err("No `SEARCH` or `AGGREGATE` provided".into()),
    };
    let limited = args.is(3, "LIMITED");
    let query_at = 3 + usize::from(limited);
    if !args.is(query_at, "QUERY") {
        return Err("The QUERY keyword is expected".into());
    }
    let started_us = cx.host.monotonic_us();
    let request = Request::parse(kind, args.from(query_at + 1), &limits(cx))?;
    if request.cursor.is_some() {
        return Err("FT.PROFILE does not support cursor".into());
    }
    look_up(cx, args.at(1), request.dialect)?;
    let seed = cx.keys.rng.next();
    let Context { shared, keys, reply, host, .. } = cx;
    let world = World::new(shared, keys, &**host, args.at(1));
    let resp3 = reply.resp == Resp::V3;
    reply.map(if resp3 { 2 } else { 1 });
    if resp3 {
        reply.simple("Results");
    }
    let report = if kind == Kind::Search {
        let answer = Answer::of(world, &request, reply.resp)?;
        let found_us = world.host.monotonic_us();
        let written = answer.write(reply)?;
        let mut steps = vec![("Index".to_owned(), answer.total)];
        if !answer.parsed.distances.is_empty() {
            steps.push(("Metrics Applier".to_owned(), answer.total));
        }
        if request.with_scores || answer.is_by_score() {
            steps.push(("Scorer".to_owned(), answer.total));
        }
        steps.push(("Sorter".to_owned(), written));
        if answer.content {
            steps.push(("Loader".to_owned(), written));
        }
        let query = answer.parsed.query.clone();
        Report { started_us, found_us, query, total: answer.total, steps, warnings: answer.warnings, limited }
    } else {
        let prepared = Prepared::new(world, &request, reply.resp)?;
        let rows = prepared.run(0, None, seed)?;
        let found_us = world.host.monotonic_us();
        prepared.shape().write(reply, &rows.rows, rows.total_in(reply.resp), rows.warnings);
        let mut steps = vec![("Index".to_owned(), rows.seen)];
        if prepared.reads_documents() {
            steps.push(("Loader".to_owned(), rows.seen));
        }
        for step in &request.steps {
            let shown = |what: &str, text: &[u8]| format!("{what} - {}", String::from_utf8_lossy(text));
            let name = match step {
                Plan::GroupBy { .. } => "Grouper".to_owned(),
                Plan::Apply { expression, .. } => shown("Projector", expression),
                Plan::Filter(expression) => shown("Filter", expression),
                Plan::Arrange(arrange) if arrange.keys.is_empty() => "Pager/Limiter".to_owned(),
                Plan::Arrange(_) => "Sorter".to_owned(),
                Plan::Load(_) => continue,
            };
            steps.push((name, rows.rows.len()));
        }
        let query = prepared.query().clone();
        Report { started_us, found_us, query, total: rows.seen, steps, warnings: rows.warnings, limited }
    };
    if resp3 {
        reply.simple("Profile");
    }
    reply.map(2);
    reply.simple("Shards");
    reply.array(1);
    report.write(world, reply);
    reply.simple("Coordinator");
    reply.map(0);
    Ok(())
}

struct Report {
    started_us: u64,
    found_us: u64,
    query: Query,
    total: usize,
    /// What the rows went through, and how many came out.
    steps: Vec<(String, usize)>,
    warnings: Warnings,
    limited: bool,
}

impl Report {
    fn write(&self, world: World<'_>, reply: &mut ReplyWriter) {
        let ms = |us: u64| us as f64 / 1000.0;
        let now_us = world.host.monotonic_us();
        reply.map(7);
        let times = [
            ("Total profile time", now_us.saturating_sub(self.started_us)),
            ("Parsing time", 0),
            ("Workers queue time", 0),
            ("Pipeline creation time", 0),
        ];
        for (name, us) in times {
            reply.simple(name);
            reply.double(ms(us));
        }
        reply.simple("Warning");
        self.warnings.write(reply, Some("None"));
        reply.simple("Iterators profile");
        let mut parts =
            Parts { world, report: self, left: PARTS_MAX, deadline: Deadline::after(world.host, 500) };
        parts.write(reply, &self.query.root, Some(self.total));
        reply.simple("Result processors profile");
        reply.array(self.steps.len());
        let spent = ms(self.found_us.saturating_sub(self.started_us));
        for (nth, (name, rows)) in self.steps.iter().enumerate() {
            reply.map(3);
            reply.simple("Type");
            reply.simple(name);
            reply.simple("Time");
            reply.double(if nth == 0 { spent } else { 0.0 });
            reply.simple("Results processed");
            reply.int(*rows as i64);
        }
    }
}

/// The parts of a query, each with what it finds.
struct Parts<'w> {
    world: World<'w>,
    report: &'w Report,
    left: usize,
    deadline: Deadline,
}

impl Parts<'_> {
    /// Documents that a part finds by itself.
    fn count(&mut self, node: &Node) -> usize {
        if self.left == 0 {
            return 0;
        }
        self.left -= 1;
        let mut query = self.report.query.clone();
        query.root = node.clone();
        let (deadline, host) = (self.deadline, self.world.host);
        let options = SearchOptions { sort: Sort::Id, ..SearchOptions::default() };
        self.world.entry.index.search(&query, &options, &mut || !deadline.is_over(host)).total
    }

    fn write(&mut self, reply: &mut ReplyWriter, node: &Node, total: Option<usize>) {
        let total = total.unwrap_or_else(|| self.count(node));
        let name = |field: usize| {
            let field = &self.world.entry.definition.schema.fields()[field];
            String::from_utf8_lossy(&field.name).into_owned()
        };
        let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let (kind, label): (&str, Option<(&str, String)>) = match &node.kind {
            NodeKind::Term { .. } if total == 0 => ("EMPTY", None),
            NodeKind::Term { term, .. } => ("TEXT", Some(("Term", shown(term)))),
            NodeKind::Prefix(text) => ("UNION", Some(("Query type", format!("PREFIX - {}", shown(text))))),
            NodeKind::Suffix(text) => ("UNION", Some(("Query type", format!("SUFFIX - {}", shown(text))))),
            NodeKind::Infix(text) => ("UNION", Some(("Query type", format!("INFIX - {}", shown(text))))),
            NodeKind::Wildcard(text) => {
                ("UNION", Some(("Query type", format!("WILDCARD - {}", shown(text)))))
            }
            NodeKind::Fuzzy { term, .. } => {
                ("UNION", Some(("Query type", format!("FUZZY - {}", shown(term)))))
            }
            NodeKind::Phrase { .. } => ("INTERSECT", None),
            NodeKind::Union(_) => ("UNION", Some(("Query type", "UNION".to_owned()))),
            NodeKind::Not(_) => ("NOT", None),
            NodeKind::Optional(_) => ("OPTIONAL", None),
            NodeKind::Numeric { min, max, .. } => {
                ("NUMERIC", Some(("Term", format!("{} - {}", number_text(*min), number_text(*max)))))
            }
            NodeKind::Geo { .. } => ("UNION", Some(("Query type", "GEO".to_owned()))),
            NodeKind::Tag { values, .. } => match &values[..] {
                [Node { kind: NodeKind::Term { term, .. }, .. }] => ("TAG", Some(("Term", shown(term)))),
                _ => ("UNION", Some(("Query type", "TAG".to_owned()))),
            },
            NodeKind::Missing(field) => ("MISSING", Some(("Field", name(*field)))),
            NodeKind::All => ("WILDCARD", None),
            NodeKind::Nothing => ("EMPTY", None),
            NodeKind::Keys(_) => ("ID-LIST-SORTED", None),
            NodeKind::Vector(vector) => match &vector.search {
                VectorSearch::Nearest { .. } => ("VECTOR", None),
                VectorSearch::Within { .. } => ("METRIC - VECTOR DISTANCE", None),
            },
        };
        // Expansions that find nothing are not gone through.
        let mut children: Vec<(&Node, usize)> = Vec::new();
        if kind != "TAG" && kind != "EMPTY" {
            let of_tag = matches!(node.kind, NodeKind::Tag { .. });
            for child in node.children().iter().filter(|_| !of_tag) {
                let found = self.count(child);
                let expanded = matches!(child.kind, NodeKind::Term { expanded: true, .. });
                if found > 0 || !expanded {
                    children.push((child, found));
                }
            }
        }
        if let (NodeKind::Union(_), [(only, found)]) = (&node.kind, &children[..]) {
            return self.write(reply, only, Some(*found));
        }
        let leaf = matches!(kind, "TEXT" | "TAG" | "NUMERIC");
        let fields = 3 + usize::from(label.is_some()) + usize::from(leaf) + usize::from(!children.is_empty());
        reply.map(fields);
        reply.simple("Type");
        reply.simple(kind);
        if let Some((name, text)) = label {
            reply.simple(name);
            reply.bulk(text.as_bytes());
        }
        reply.simple("Time");
        reply.double(0.0);
        reply.simple("Number of reading operations");
        reply.int(total as i64);
        if leaf {
            reply.simple("Estimated number of matches");
            reply.int(total as i64);
        }
        match &children[..] {
            [] => {}
            [(child, found)] if matches!(kind, "NOT" | "OPTIONAL" | "VECTOR") => {
                reply.simple("Child iterator");
                self.write(reply, child, Some(*found));
            }
            many if self.report.limited && kind == "UNION" => {
                reply.simple("Child iterators");
                reply.simple(&format!("The number of iterators in the union is {}", many.len()));
            }
            many => {
                reply.simple("Child iterators");
                reply.array(many.len());
                for (child, found) in many {
                    self.write(reply, child, Some(*found));
                }
            }
        }
    }
}
