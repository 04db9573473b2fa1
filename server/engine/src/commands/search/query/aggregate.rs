//! FT.AGGREGATE: rows through steps.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use cairn_proto::{ReplyWriter, Resp};
use cairn_search::aggregate::{
    Expression, Pipeline, Reducer, Row, SORTED_DEFAULT, SortKey, Step, Value as Operand, number_text,
};
use cairn_search::eval::Hit;
use cairn_search::query::Query;
use cairn_search::schema::FieldKind;

use super::document::{Document, Found, Place, Show, first_operand, is_fresh};
use super::options::{Arrange, Kind, Plan, Reduce, Request, named};
use super::parsed::{Deadline, Parsed, Scoring, TIMED_OUT, error};
use super::reply::{Results, Warnings};
use super::{World, cursor, limits, look_up, said};
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::CommandResult;
use crate::search::definition::Source as Kept;

/// Fields that `LOAD *` finds in all documents together.
const FIELDS_MAX: usize = 4096;
/// Rows between two looks at the clock.
const CLOCK_EVERY: usize = 64;
/// The name of the score that ADDSCORES adds.
const SCORE: &[u8] = b"__score";

pub(super) static FT_AGGREGATE: Command = Command {
    name: "ft.aggregate",
    arity: -3,
    group: Group::Search,
    since: "1.1.0",
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    summary: "Groups, sorts and computes over what a query finds.",
    complexity: "O(N), N being the number of documents that the query finds",
    syntax: "index query [VERBATIM] [LOAD count field [field ...]] [TIMEOUT timeout:integer] \
             [GROUPBY nargs:integer property [property ...] [REDUCE function nargs:integer arg [arg ...] [AS name]]] \
             [SORTBY nargs:integer property [property ...] [MAX num:integer]] [APPLY expression AS name] \
             [LIMIT offset:integer num:integer] [FILTER filter] \
             [WITHCURSOR [COUNT read_size:integer] [MAXIDLE idle_time:integer]] \
             [PARAMS nargs:integer name [value ...]] [SCORER scorer] [ADDSCORES] [DIALECT dialect:integer]",
    run: aggregate,
    ..COMMAND
};

fn aggregate(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let request = Request::parse(Kind::Aggregate, args.from(2), &limits(cx))?;
    look_up(cx, args.at(1), request.dialect)?;
    if request.cursor.is_some() {
        return cursor::start(cx, args, &request);
    }
    let seed = cx.keys.rng.next();
    let Context { shared, keys, reply, host, .. } = cx;
    let world = World::new(shared, keys, &**host, args.at(1));
    let prepared = Prepared::new(world, &request, reply.resp)?;
    let rows = prepared.run(0, None, seed)?;
    prepared.shape().write(reply, &rows.rows, rows.total_in(reply.resp), rows.warnings);
    Ok(())
}

/// An aggregation that can run.
pub(super) struct Prepared<'w> {
    world: World<'w>,
    request: &'w Request<'w>,
    parsed: Parsed,
    columns: Vec<Column<'w>>,
    pipeline: Pipeline,
    /// Of the columns that come out, in the order in which they are shown.
    order: Vec<usize>,
    deadline: Deadline,
    /// Some step has to see all rows before the first comes out.
    pub gathers: bool,
    /// Some step cuts.
    pub cuts: bool,
    with_terms: bool,
    show: Show,
}

/// A column of the rows that go in.
struct Column<'w> {
    name: Vec<u8>,
    from: From<'w>,
    /// A step works with it: of a JSON path's values it gets the first.
    used: bool,
}

enum From<'w> {
    Distance,
    Score,
    Place(Place<'w>),
    /// A field of a hash that LOAD * has found.
    Field,
    /// A whole JSON document.
    Whole,
}

/// What a run has brought.
pub(super) struct Rows {
    pub rows: Vec<Row>,
    /// Rows that went in.
    pub seen: usize,
    /// The same, or the groups that were made of them.
    pub total: usize,
    /// How many had gone in when the first came out.
    first_total: usize,
    /// The id of the document to go on with, if the run was told to stop before all was seen.
    pub next: Option<u32>,
    pub warnings: Warnings,
}

impl Rows {
    /// The number before the rows. RESP2 says it before the first row, and so it is that of rows known by then.
    pub fn total_in(&self, resp: Resp) -> usize {
        if resp == Resp::V2 { self.first_total } else { self.total }
    }
}

impl<'w> Prepared<'w> {
    pub fn new(world: World<'w>, request: &'w Request<'w>, resp: Resp) -> CommandResult<Self> {
        super::search::check_format(request, world.entry.definition.source, resp)?;
        let parsed = Parsed::new(world, request)?;
        let deadline = Deadline::after(world.host, request.timeout_ms);
        let mut builder = Builder {
            world,
            request,
            columns: Vec::new(),
            own: Vec::new(),
            grouped: None,
            all_loaded: false,
            steps: Vec::new(),
        };
        for name in &parsed.distances {
            builder.column(name.clone(), From::Distance);
        }
        if request.add_scores {
            builder.column(SCORE.to_vec(), From::Score);
        }
        for step in &request.steps {
            builder.step(step, &parsed, deadline)?;
        }
        let Builder { columns, own, grouped, steps, .. } = builder;
        let names: Vec<Vec<u8>> = columns.iter().map(|column| column.name.clone()).collect();
        let mut pipeline = Pipeline::new(&names);
        let gathers = steps.iter().any(|step| matches!(step, Step::GroupBy { .. } | Step::SortBy { .. }));
        let cuts = steps.iter().any(|step| matches!(step, Step::Limit { .. }));
        for step in steps {
            pipeline.add(step).map_err(error)?;
        }
        let place = |name: &Vec<u8>| pipeline.columns().iter().position(|known| known == name);
        let order = match grouped {
            Some(_) => (0..pipeline.columns().len()).collect(),
            None => own.iter().filter_map(place).collect(),
        };
        let with_terms = request.steps.iter().any(|step| match step {
            Plan::Apply { expression, .. } | Plan::Filter(expression) => {
                expression.to_ascii_lowercase().windows(13).any(|window| window == b"matched_terms")
            }
            _ => false,
        });
        let show = Show::of(request.dialect, request.expand);
        Ok(Self {
            world,
            request,
            parsed,
            columns,
            pipeline,
            order,
            deadline,
            gathers,
            cuts,
            with_terms,
            show,
        })
    }

    pub fn query(&self) -> &Query {
        &self.parsed.query
    }

    /// Are there fields that have to be read from their keys?
    pub fn reads_documents(&self) -> bool {
        self.columns.iter().any(|column| match &column.from {
            From::Distance | From::Score | From::Place(Place::Kept(_)) => false,
            From::Place(_) | From::Field | From::Whole => true,
        })
    }

    pub fn shape(&self) -> Shape {
        let names = self.order.iter().map(|&at| (at, self.pipeline.columns()[at].clone())).collect();
        Shape { names, expand: self.request.expand, count_only: self.request.count_only }
    }

    /// Runs over the documents from `first` on, until `wanted` rows have come out.
    pub fn run(&self, first: u32, wanted: Option<usize>, seed: u64) -> CommandResult<Rows> {
        let World { entry, db, host, now_ms, .. } = self.world;
        let deadline = self.deadline;
        let mut goes_on = || !deadline.is_over(host);
        let source = entry.definition.source;
        let Scoring { scorer, zero, .. } = self.parsed.scorer;
        let scorer = (self.request.add_scores && !zero).then_some(scorer);
        let mut run = self.pipeline.run(seed);
        let (mut total, mut first_total) = (0, None);
        let (mut failure, mut next, mut late) = (None, None, false);
        let max = self.world.max_aggregate_results().min(wanted.unwrap_or(usize::MAX));
        let reached = entry.index.visit_from(first, &self.parsed.query, scorer, &mut goes_on, |hit| {
            if total % CLOCK_EVERY == CLOCK_EVERY - 1 && deadline.is_over(host) {
                late = true;
                next = Some(hit.doc);
                return ControlFlow::Break(());
            }
            let Some(key) = entry.index.key_of(hit.doc) else { return ControlFlow::Continue(()) };
            let Some(document) = Document::open(db, key, source, now_ms) else {
                return ControlFlow::Continue(());
            };
            total += 1;
            let row = self.row(&hit, key, document);
            match run.push(row) {
                Err(problem) => failure = Some(error(problem)),
                Ok(false) => return ControlFlow::Break(()),
                Ok(true) => {}
            }
            if failure.is_some() {
                return ControlFlow::Break(());
            }
            if !self.gathers && run.ready() > 0 {
                first_total.get_or_insert(total);
                if run.ready() >= max {
                    next = Some(hit.doc + 1);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        let late = late || reached.is_some();
        let next = next.or(reached);
        if late && self.world.settings.fail_on_timeout {
            return Err(TIMED_OUT.into());
        }
        // What was gathered until time was over is answered, for which there is as much time again.
        let deadline = if late { Deadline::after(host, self.request.timeout_ms) } else { deadline };
        let finished = run.finish_within(&mut || !deadline.is_over(host)).map_err(error)?;
        let timed_out = late || finished.stopped;
        if timed_out && self.world.settings.fail_on_timeout {
            return Err(TIMED_OUT.into());
        }
        let (mut rows, groups) = (finished.rows, finished.groups);
        let seen = total;
        let total = groups.unwrap_or(seen);
        rows.truncate(self.world.max_aggregate_results());
        let counts_all = self.gathers || self.request.count_only;
        let first_total = if counts_all { total } else { first_total.unwrap_or(total) };
        let warnings = Warnings { timed_out, truncated: false };
        Ok(Rows { rows, seen, total, first_total, next, warnings })
    }

    fn row(&self, hit: &Hit, key: &[u8], document: Document<'_>) -> Row {
        let index = &self.world.entry.index;
        let value = |column: &Column<'_>| match &column.from {
            From::Distance => {
                let distance = hit.distances.iter().find(|(name, _)| *name == column.name);
                distance.map(|(_, distance)| Operand::Number(*distance))
            }
            From::Score => Some(Operand::Number(hit.score)),
            From::Place(place) => match place.find(index, hit.doc, key, document, self.show) {
                Found::Many(values) if column.used => first_operand(&values),
                found => found.operand(),
            },
            From::Field => match document {
                Document::Hash(hash, now_ms) if is_fresh(hash, &column.name, now_ms) => {
                    hash.get(&column.name).map(|value| Operand::Text(value.to_vec()))
                }
                _ => None,
            },
            From::Whole => match (document, self.show) {
                (Document::Json(json), Show::First) => Found::Json(json).operand(),
                (Document::Json(json), _) => Found::Many(vec![json]).operand(),
                _ => None,
            },
        };
        let mut row = Row::new(self.columns.iter().map(value).collect());
        if self.with_terms {
            let mut goes_on = || !self.deadline.is_over(self.world.host);
            row.terms = index.matched_terms(&self.parsed.query, hit.doc, &mut goes_on);
        }
        row
    }
}

/// Finds out what has to be read for the steps.
struct Builder<'w> {
    world: World<'w>,
    request: &'w Request<'w>,
    columns: Vec<Column<'w>>,
    /// The names of all columns before a GROUPBY, in the order in which they came.
    own: Vec<Vec<u8>>,
    /// The names behind the last GROUPBY.
    grouped: Option<BTreeSet<Vec<u8>>>,
    /// LOAD * has been said.
    all_loaded: bool,
    steps: Vec<Step>,
}

impl<'w> Builder<'w> {
    fn column(&mut self, name: Vec<u8>, from: From<'w>) {
        if !self.own.contains(&name) {
            self.own.push(name.clone());
        }
        self.columns.push(Column { name, from, used: false });
    }

    fn knows(&self, name: &[u8]) -> bool {
        match &self.grouped {
            Some(names) => names.contains(name),
            None => self.own.iter().any(|known| known == name),
        }
    }

    /// A name that a step reads. Fields of the schema are read without being asked for if they are `implicit`, or if the
    /// index keeps them.
    fn reads(&mut self, name: &[u8], implicit: bool) -> bool {
        if let Some(column) = self.columns.iter_mut().find(|column| column.name == name) {
            column.used = true;
        }
        if self.knows(name) {
            return true;
        }
        if self.grouped.is_some() {
            return false;
        }
        let schema = &self.world.entry.definition.schema;
        let Some(at) = schema.find(name) else { return false };
        let field = &schema.fields()[at];
        let kept = field.sortable && field.kind != FieldKind::Geo;
        if !(implicit || field.sortable || self.all_loaded) {
            return false;
        }
        let place = if kept { Place::Kept(at) } else { Place::of_field(self.world.entry, at) };
        self.column(name.to_vec(), From::Place(place));
        if let Some(column) = self.columns.last_mut() {
            column.used = true;
        }
        true
    }

    fn step(&mut self, step: &'w Plan<'w>, parsed: &Parsed, deadline: Deadline) -> CommandResult {
        match step {
            Plan::Load(fields) => self.load(*fields, parsed, deadline),
            Plan::Apply { expression, name } => {
                let expression = self.expression(expression)?;
                match &mut self.grouped {
                    Some(names) => {
                        names.insert(name.to_vec());
                    }
                    None if !self.own.iter().any(|known| known == name) => self.own.push(name.to_vec()),
                    None => {}
                }
                self.steps.push(Step::Apply { expression, name: name.to_vec() });
                Ok(())
            }
            Plan::Filter(expression) => {
                let expression = self.expression(expression)?;
                self.steps.push(Step::Filter(expression));
                Ok(())
            }
            Plan::GroupBy { by, reducers } => self.group_by(by, reducers),
            Plan::Arrange(arrange) => self.arrange(arrange),
        }
    }

    fn expression(&mut self, text: &[u8]) -> CommandResult<Expression> {
        let expression = Expression::parse(text).map_err(error)?;
        for name in expression.properties() {
            if !self.reads(name, false) {
                return Err(said("Property `", name, "` not loaded nor in pipeline"));
            }
        }
        Ok(expression)
    }

    fn load(&mut self, fields: Option<&'w [&'w [u8]]>, parsed: &Parsed, deadline: Deadline) -> CommandResult {
        if self.grouped.is_some() {
            return Err("LOAD cannot be applied after projectors or reducers".into());
        }
        let entry = self.world.entry;
        let Some(fields) = fields else {
            self.all_loaded = true;
            return match entry.definition.source {
                Kept::Json if !self.knows(b"$") => {
                    self.column(b"$".to_vec(), From::Whole);
                    Ok(())
                }
                Kept::Json => Ok(()),
                Kept::Hash => self.load_all(parsed, deadline),
            };
        };
        for field in named(fields, "LOAD")? {
            let place = Place::resolve(entry, field.path);
            let known = self.knows(field.name);
            match self.columns.iter_mut().find(|column| column.name == field.name) {
                // What the index keeps of a text is not as it came.
                Some(Column { from: From::Place(old @ Place::Kept(_)), .. }) => *old = place,
                Some(_) => {}
                None if known => {}
                None => self.column(field.name.to_vec(), From::Place(place)),
            }
        }
        Ok(())
    }

    /// Which fields there are is known only from the documents.
    fn load_all(&mut self, parsed: &Parsed, deadline: Deadline) -> CommandResult {
        let World { entry, db, host, now_ms, .. } = self.world;
        let mut goes_on = || !deadline.is_over(host);
        let mut seen = BTreeSet::new();
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut looked_at = 0_usize;
        entry.index.visit(&parsed.query, None, &mut goes_on, |hit| {
            looked_at += 1;
            if looked_at.is_multiple_of(CLOCK_EVERY) && deadline.is_over(host) {
                return ControlFlow::Break(());
            }
            let key = entry.index.key_of(hit.doc).unwrap_or_default();
            let Some(Document::Hash(hash, _)) = Document::open(db, key, Kept::Hash, now_ms) else {
                return ControlFlow::Continue(());
            };
            for (name, _) in hash.iter() {
                name.with_bytes(|name| {
                    if !seen.contains(name) {
                        seen.insert(name.to_vec());
                        names.push(name.to_vec());
                    }
                });
            }
            if names.len() > FIELDS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if names.len() > FIELDS_MAX {
            return Err(format!("LOAD * finds more than {FIELDS_MAX} fields").into());
        }
        for name in names {
            let known = self.knows(&name);
            match self.columns.iter_mut().find(|column| column.name == name) {
                Some(Column { from: from @ From::Place(_), .. }) => *from = From::Field,
                Some(_) => {}
                None if known => {}
                None => self.column(name, From::Field),
            }
        }
        Ok(())
    }

    fn group_by(&mut self, by: &[&'w [u8]], reducers: &[Reduce<'w>]) -> CommandResult {
        let mut names: BTreeSet<Vec<u8>> = BTreeSet::new();
        for name in by {
            if !self.reads(name, true) {
                return Err(said("No such property `", name, "`"));
            }
            if !names.insert(name.to_vec()) {
                return Err(said("Property `", name, "` specified more than once"));
            }
        }
        let mut parsed = Vec::with_capacity(reducers.len());
        for reduce in reducers {
            let reducer = Reducer::parse(reduce.function, reduce.args, reduce.name).map_err(error)?;
            for name in reducer.reads() {
                if !self.reads(name, true) {
                    return Err(said("Property `", name, "` not present in document or pipeline"));
                }
            }
            if !names.insert(reducer.name().to_vec()) {
                return Err(said("Property `", reducer.name(), "` specified more than once"));
            }
            parsed.push(reducer);
        }
        let by = by.iter().map(|name| name.to_vec()).collect();
        self.steps.push(Step::GroupBy { by, reducers: parsed });
        self.grouped = Some(names);
        Ok(())
    }

    fn arrange(&mut self, arrange: &Arrange<'w>) -> CommandResult {
        for (name, _) in &arrange.keys {
            if !self.reads(name, true) {
                return Err(said("Property `", name, "` not loaded nor in schema"));
            }
        }
        if self.request.count_only {
            return Ok(());
        }
        let max = self.world.max_aggregate_results();
        let (offset, count) = (arrange.offset as usize, (arrange.count as usize).min(max));
        let cut = arrange.limited || count > 0;
        let step = match arrange.keys.is_empty() {
            true if !cut => return Ok(()),
            true => Step::Limit { offset, count },
            false => {
                let key = |(name, descending): &(&[u8], bool)| SortKey {
                    name: name.to_vec(),
                    descending: *descending,
                };
                let keys = arrange.keys.iter().map(key).collect();
                Step::SortBy { keys, offset, count: if cut { count } else { SORTED_DEFAULT.min(max) } }
            }
        };
        self.steps.push(step);
        Ok(())
    }
}

/// How rows are written.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// Places in a row with their names.
    names: Vec<(usize, Vec<u8>)>,
    expand: bool,
    count_only: bool,
}

impl Shape {
    /// Bytes that it takes.
    pub fn memory(&self) -> usize {
        self.names.iter().map(|(_, name)| size_of::<(usize, Vec<u8>)>() + name.len()).sum()
    }

    pub fn write<'r>(
        &self,
        reply: &mut ReplyWriter,
        rows: impl IntoIterator<Item = &'r Row>,
        total: usize,
        warnings: Warnings,
    ) {
        let mut results = Results::begin(reply, total, self.expand);
        if !self.count_only {
            for row in rows {
                self.write_row(reply, row);
                results.add(1);
            }
        }
        results.finish(reply, total, warnings);
    }

    fn write_row(&self, reply: &mut ReplyWriter, row: &Row) {
        let values =
            || self.names.iter().filter_map(|(at, name)| Some((name, row.values.get(*at)?.as_ref()?)));
        let resp3 = reply.resp == Resp::V3;
        if resp3 {
            reply.map(2);
            reply.simple("extra_attributes");
        }
        reply.map(values().count());
        for (name, value) in values() {
            reply.bulk(name);
            self.write_value(reply, value);
        }
        if resp3 {
            reply.simple("values");
            reply.array(0);
        }
    }

    fn write_value(&self, reply: &mut ReplyWriter, value: &Operand) {
        match value {
            Operand::Null => reply.null(),
            Operand::Number(number) if self.expand => {
                if *number == number.trunc() && number.abs() < i64::MAX as f64 {
                    reply.int(*number as i64);
                } else {
                    reply.double(*number);
                }
            }
            Operand::Number(number) => reply.bulk(number_text(*number).as_bytes()),
            Operand::Text(text) => reply.bulk(text),
            Operand::Array(values) => {
                reply.array(values.len());
                values.iter().for_each(|value| self.write_value(reply, value));
            }
        }
    }
}
