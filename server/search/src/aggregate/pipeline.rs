//! Rows through steps.

use super::evaluate::Properties;
use super::expression::Expression;
use super::reducers::{Reducer, State};
use super::value::Value;
use crate::query::{QueryError, shown};
use std::collections::BTreeMap;

/// Groups of a GROUPBY, at most.
pub const GROUPS_MAX: usize = 1 << 20;
/// Groups that one row may belong to, by way of arrays.
const ROW_GROUPS_MAX: usize = 1 << 12;
/// Rows that a SORTBY leaves if it does not say how many.
pub const SORTED_DEFAULT: usize = 10;
const STEPS_MAX: usize = 256;
/// Rows between two looks at the clock.
const CLOCK_EVERY: usize = 64;
/// Bytes of all that a run holds: rows, groups and the values that steps make.
const BYTES_MAX: usize = 1 << 30;
/// Bytes of a group beside its values.
const GROUP: usize = 96;

/// A step. Names are without the `@`.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    GroupBy {
        by: Vec<Vec<u8>>,
        reducers: Vec<Reducer>,
    },
    Apply {
        expression: Expression,
        name: Vec<u8>,
    },
    Filter(Expression),
    /// The first rows in order, from `offset` on and at most `count` of them.
    SortBy {
        keys: Vec<SortKey>,
        offset: usize,
        count: usize,
    },
    Limit {
        offset: usize,
        count: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    pub name: Vec<u8>,
    pub descending: bool,
}

/// Values of a row, by column; what it does not have is none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    pub values: Vec<Option<Value>>,
    /// The terms that its document matched, for `matched_terms`.
    pub terms: Vec<Vec<u8>>,
}

impl Row {
    pub fn new(values: Vec<Option<Value>>) -> Self {
        Self { values, terms: Vec::new() }
    }

    /// Bytes that it takes.
    pub fn memory(&self) -> usize {
        let terms: usize = self.terms.iter().map(|term| size_of::<Vec<u8>>() + term.len()).sum();
        size_of::<Self>() + terms + self.values.iter().map(size_of_value).sum::<usize>()
    }
}

fn size_of_value(value: &Option<Value>) -> usize {
    size_of::<Option<Value>>() + value.as_ref().map_or(0, Value::held)
}

/// Steps with their columns.
#[derive(Debug, Clone)]
pub struct Pipeline {
    steps: Vec<Step>,
    /// Names of the columns before each step, and behind the last.
    columns: Vec<Vec<Vec<u8>>>,
}

impl Pipeline {
    /// A pipeline whose rows come with these columns.
    pub fn new(columns: &[Vec<u8>]) -> Self {
        Self { steps: Vec::new(), columns: vec![columns.to_vec()] }
    }

    /// The columns that come out.
    pub fn columns(&self) -> &[Vec<u8>] {
        self.columns.last().expect("there are those that come in")
    }

    pub fn has_column(&self, name: &[u8]) -> bool {
        self.columns().iter().any(|known| known == name)
    }

    /// The properties of a step that are no column before it: what the caller has to load, if the step is before any
    /// GROUPBY.
    pub fn missing<'a>(&self, step: &'a Step) -> Vec<&'a [u8]> {
        let read: Vec<&[u8]> = match step {
            Step::GroupBy { by, reducers } => {
                let read = reducers.iter().flat_map(|reducer| &reducer.reads);
                by.iter().chain(read).map(Vec::as_slice).collect()
            }
            Step::Apply { expression, .. } | Step::Filter(expression) => expression.properties(),
            Step::SortBy { keys, .. } => keys.iter().map(|key| &key.name[..]).collect(),
            Step::Limit { .. } => Vec::new(),
        };
        read.into_iter().filter(|name| !self.has_column(name)).collect()
    }

    /// Adds a step. What it reads must be a column.
    pub fn add(&mut self, step: Step) -> Result<(), QueryError> {
        if self.steps.len() == STEPS_MAX {
            return Err(QueryError::limit(format!("More than {STEPS_MAX} steps")));
        }
        if let Some(name) = self.missing(&step).first() {
            let name = shown(name);
            return Err(QueryError::argument(format!("Property `{name}` not loaded nor in pipeline")));
        }
        let mut columns = self.columns().to_vec();
        match &step {
            Step::GroupBy { by, reducers } => {
                columns = by.clone();
                for reducer in reducers {
                    if columns.contains(&reducer.name) {
                        let name = shown(&reducer.name);
                        return Err(QueryError::argument(format!(
                            "Property `{name}` specified more than once"
                        )));
                    }
                    columns.push(reducer.name.clone());
                }
            }
            Step::Apply { name, .. } if !columns.contains(name) => columns.push(name.clone()),
            _ => {}
        }
        self.steps.push(step);
        self.columns.push(columns);
        Ok(())
    }

    /// Starts to run. `seed` decides what a random sample takes.
    pub fn run(&self, seed: u64) -> Run<'_> {
        let column_of = |at: usize, name: &[u8]| {
            self.columns[at]
                .iter()
                .position(|known| known == name)
                .expect("a step reads columns that are there")
        };
        let stage = |(at, step): (usize, &Step)| match step {
            Step::GroupBy { by, reducers } => Stage::Group {
                by: by.iter().map(|name| column_of(at, name)).collect(),
                reads: reducers
                    .iter()
                    .map(|reducer| reducer.reads.iter().map(|name| column_of(at, name)).collect())
                    .collect(),
                places: BTreeMap::new(),
                groups: Vec::new(),
                held: 0,
            },
            Step::Apply { name, .. } => Stage::Apply { column: column_of(at + 1, name) },
            Step::Filter(_) => Stage::Filter,
            Step::SortBy { keys, .. } => Stage::Sort {
                keys: keys.iter().map(|key| (column_of(at, &key.name), key.descending)).collect(),
                rows: Vec::new(),
            },
            Step::Limit { .. } => Stage::Limit { seen: 0 },
        };
        Run {
            pipeline: self,
            stages: self.steps.iter().enumerate().map(stage).collect(),
            rows: Vec::new(),
            seed: seed | 1,
            held: 0,
            bytes_max: BYTES_MAX,
        }
    }
}

/// What comes out of a run.
#[derive(Debug)]
pub struct Finished {
    pub rows: Vec<Row>,
    /// How many groups the last GROUPBY has made, if there is one.
    pub groups: Option<usize>,
    /// It was told to stop: rows are missing.
    pub stopped: bool,
}

/// A run of a pipeline.
pub struct Run<'a> {
    pipeline: &'a Pipeline,
    stages: Vec<Stage>,
    rows: Vec<Row>,
    seed: u64,
    /// Bytes of the rows and groups that are kept.
    held: usize,
    bytes_max: usize,
}

/// What a step remembers.
enum Stage {
    Group {
        by: Vec<usize>,
        reads: Vec<Vec<usize>>,
        places: BTreeMap<Vec<u8>, usize>,
        /// In the order in which they were met.
        groups: Vec<(Vec<Option<Value>>, Vec<State>)>,
        held: usize,
    },
    Apply {
        column: usize,
    },
    Filter,
    Sort {
        keys: Vec<(usize, bool)>,
        rows: Vec<Row>,
    },
    Limit {
        seen: usize,
    },
}

/// A row with the names of its columns.
struct Named<'a> {
    columns: &'a [Vec<u8>],
    row: &'a Row,
}

impl Properties for Named<'_> {
    fn get(&self, name: &[u8]) -> Option<&Value> {
        let column = self.columns.iter().position(|known| known == name)?;
        self.row.values.get(column)?.as_ref()
    }

    fn terms(&self) -> &[Vec<u8>] {
        &self.row.terms
    }
}

impl Run<'_> {
    /// A row comes in. False if no more are wanted.
    pub fn push(&mut self, row: Row) -> Result<bool, QueryError> {
        let size = row.memory();
        self.push_at(0, row, size)?;
        Ok(!self.is_full())
    }

    /// Whether a LIMIT before any other step that gathers rows has had enough.
    fn is_full(&self) -> bool {
        for (step, stage) in self.pipeline.steps.iter().zip(&self.stages) {
            match (step, stage) {
                (Step::Limit { offset, count }, Stage::Limit { seen })
                    if *seen >= offset.saturating_add(*count) =>
                {
                    return true;
                }
                (Step::GroupBy { .. } | Step::SortBy { .. }, _) => return false,
                _ => {}
            }
        }
        false
    }

    /// A row of this size comes to a step.
    fn push_at(&mut self, at: usize, mut row: Row, mut size: usize) -> Result<(), QueryError> {
        let Some(step) = self.pipeline.steps.get(at) else {
            self.held += size;
            if self.held > self.bytes_max {
                return Err(too_large());
            }
            self.rows.push(row);
            return Ok(());
        };
        let named = Named { columns: &self.pipeline.columns[at], row: &row };
        match (step, &mut self.stages[at]) {
            (Step::Apply { expression, .. }, Stage::Apply { column }) => {
                let value = expression.evaluate(&named)?;
                let column = *column;
                if row.values.len() <= column {
                    size += (column + 1 - row.values.len()) * size_of::<Option<Value>>();
                    row.values.resize(column + 1, None);
                }
                size += value.held();
                size -= row.values[column].as_ref().map_or(0, Value::held);
                row.values[column] = Some(value);
                // A sort behind may drop what is kept, and so a row has the whole room for itself.
                if size > self.bytes_max {
                    return Err(too_large());
                }
            }
            (Step::Filter(expression), Stage::Filter) => {
                if !expression.evaluate(&named)?.is_true() {
                    return Ok(());
                }
            }
            (Step::Limit { offset, count }, Stage::Limit { seen }) => {
                *seen += 1;
                if *seen <= *offset || *seen > offset.saturating_add(*count) {
                    return Ok(());
                }
            }
            (Step::SortBy { offset, count, .. }, Stage::Sort { keys, rows }) => {
                rows.push(row);
                self.held += size;
                let wanted = offset.saturating_add(*count);
                // Now and then, and when room is short, those are dropped that will not be among the first.
                let short = self.held > self.bytes_max;
                if rows.len() >= wanted.saturating_mul(2).max(1024) || short && rows.len() > wanted {
                    sort(rows, keys);
                    self.held -= rows.drain(wanted..).map(|row| row.memory()).sum::<usize>();
                }
                // Room for a few more only would mean to sort again and again.
                if short && self.held > self.bytes_max / 4 * 3 {
                    return Err(too_large());
                }
                return Ok(());
            }
            (Step::GroupBy { reducers, .. }, Stage::Group { by, reads, places, groups, held }) => {
                let before = *held;
                let room = self.bytes_max.saturating_sub(self.held);
                let seed = &mut self.seed;
                let mut random = || {
                    *seed ^= *seed << 13;
                    *seed ^= *seed >> 7;
                    *seed ^= *seed << 17;
                    *seed
                };
                for key in keys_of(&row, by, room)? {
                    let mut identity = Vec::new();
                    key.iter()
                        .for_each(|value| value.as_ref().unwrap_or(&Value::Null).identity(&mut identity));
                    if !places.contains_key(&identity) && groups.len() == GROUPS_MAX {
                        return Err(QueryError::limit(format!(
                            "GROUPBY makes more than {GROUPS_MAX} groups"
                        )));
                    }
                    let identity_len = identity.len();
                    let place = *places.entry(identity).or_insert_with(|| {
                        let states = reducers.iter().map(|reducer| reducer.kind.start_size());
                        *held += GROUP + identity_len + states.sum::<usize>();
                        *held += key.iter().map(size_of_value).sum::<usize>();
                        groups.push((key, reducers.iter().map(|reducer| reducer.kind.start()).collect()));
                        groups.len() - 1
                    });
                    for ((reducer, columns), state) in reducers.iter().zip(&*reads).zip(&mut groups[place].1)
                    {
                        let read: Vec<Option<&Value>> =
                            columns.iter().map(|&c| row.values.get(c).and_then(Option::as_ref)).collect();
                        let grown = reducer.kind.add(state, &read, &mut random);
                        *held = held.saturating_add_signed(grown);
                    }
                    if held.saturating_sub(before) > room {
                        return Err(too_large());
                    }
                }
                self.held = (self.held + *held).saturating_sub(before);
                return Ok(());
            }
            _ => unreachable!("each stage is of its step"),
        }
        self.push_at(at + 1, row, size)
    }

    /// Rows that have come out so far.
    pub fn ready(&self) -> usize {
        self.rows.len()
    }

    /// No more rows: what comes out. Rows have a value or none for each column.
    pub fn finish(self) -> Result<Vec<Row>, QueryError> {
        self.finish_within(&mut || true).map(|finished| finished.rows)
    }

    /// [`Run::finish`] while `goes_on`, which is asked every few rows. When it says no, the steps behind get no more rows.
    pub fn finish_within(mut self, goes_on: &mut dyn FnMut() -> bool) -> Result<Finished, QueryError> {
        let (mut made, mut stopped) = (None, false);
        for at in 0..self.stages.len() {
            let rows: Vec<Row> = match (&self.pipeline.steps[at], &mut self.stages[at]) {
                (Step::SortBy { offset, count, .. }, Stage::Sort { keys, rows }) => {
                    let mut rows = std::mem::take(rows);
                    sort(&mut rows, keys);
                    // From here on they are counted where they come to.
                    self.held -= rows.iter().map(Row::memory).sum::<usize>();
                    rows.into_iter().skip(*offset).take(*count).collect()
                }
                (Step::GroupBy { reducers, .. }, Stage::Group { groups, places, held, .. }) => {
                    self.held -= std::mem::take(held);
                    places.clear();
                    let row = |(mut values, states): (Vec<Option<Value>>, Vec<State>)| {
                        let results = reducers.iter().zip(states);
                        values.extend(results.map(|(reducer, state)| Some(reducer.kind.finish(state))));
                        Row::new(values)
                    };
                    made = Some(groups.len());
                    std::mem::take(groups).into_iter().map(row).collect()
                }
                _ => continue,
            };
            for (nth, row) in rows.into_iter().enumerate() {
                if nth % CLOCK_EVERY == CLOCK_EVERY - 1 && !goes_on() {
                    stopped = true;
                    break;
                }
                let size = row.memory();
                self.push_at(at + 1, row, size)?;
            }
        }
        let width = self.pipeline.columns().len();
        self.rows.iter_mut().for_each(|row| row.values.resize(width, None));
        Ok(Finished { rows: self.rows, groups: made, stopped })
    }
}

/// Rows in order; those without a value come last; equal ones stay as they were.
fn sort(rows: &mut [Row], keys: &[(usize, bool)]) {
    rows.sort_by(|a, b| {
        for &(column, descending) in keys {
            let (a, b) = (
                a.values.get(column).and_then(Option::as_ref),
                b.values.get(column).and_then(Option::as_ref),
            );
            let order = match (a, b) {
                (Some(a), Some(b)) if descending => b.order(a),
                (Some(a), Some(b)) => a.order(b),
                (a, b) => b.is_some().cmp(&a.is_some()),
            };
            if order.is_ne() {
                return order;
            }
        }
        std::cmp::Ordering::Equal
    });
}

fn too_large() -> QueryError {
    QueryError::limit("The rows of the aggregation take too much memory")
}

/// The groups of a row: each value of an array is a group of its own. They take `room` bytes at most.
fn keys_of(row: &Row, by: &[usize], room: usize) -> Result<Vec<Vec<Option<Value>>>, QueryError> {
    let mut keys = vec![Vec::with_capacity(by.len())];
    let mut size = 0_usize;
    for &column in by {
        let value = row.values.get(column).and_then(Option::as_ref);
        let times = if let Some(Value::Array(values)) = value { values.len().max(1) } else { 1 };
        let added = keys.len() * value.map_or(0, Value::held);
        size = size.saturating_mul(times).saturating_add(added);
        if size > room {
            return Err(too_large());
        }
        match row.values.get(column).and_then(Option::as_ref) {
            Some(Value::Array(values)) if !values.is_empty() => {
                if keys.len().saturating_mul(values.len()) > ROW_GROUPS_MAX {
                    let what = format!("A row belongs to more than {ROW_GROUPS_MAX} groups");
                    return Err(QueryError::limit(what));
                }
                let longer =
                    |key: &Vec<Option<Value>>, value: &Value| [&key[..], &[Some(value.clone())]].concat();
                keys =
                    keys.iter().flat_map(|key| values.iter().map(move |value| longer(key, value))).collect();
            }
            Some(Value::Array(_)) | None => keys.iter_mut().for_each(|key| key.push(Some(Value::Null))),
            Some(value) => keys.iter_mut().for_each(|key| key.push(Some(value.clone()))),
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(brand: Option<&str>, price: Option<f64>) -> Row {
        Row::new(vec![brand.map(Value::text), price.map(Value::Number)])
    }

    fn products() -> Vec<Row> {
        vec![
            row(Some("a"), Some(3.0)),
            row(Some("b"), Some(1.0)),
            row(Some("a"), Some(5.0)),
            row(None, Some(9.0)),
            row(Some("c"), None),
        ]
    }

    fn run(steps: Vec<Step>) -> Result<Vec<Vec<Option<Value>>>, QueryError> {
        let mut pipeline = Pipeline::new(&[b"brand".to_vec(), b"price".to_vec()]);
        steps.into_iter().try_for_each(|step| pipeline.add(step))?;
        let mut run = pipeline.run(1);
        for row in products() {
            if !run.push(row)? {
                break;
            }
        }
        Ok(run.finish()?.into_iter().map(|row| row.values).collect())
    }

    fn number(n: f64) -> Option<Value> {
        Some(Value::Number(n))
    }

    fn text(t: &str) -> Option<Value> {
        Some(Value::text(t))
    }

    fn reducer(function: &str, property: &str, name: &str) -> Reducer {
        Reducer::parse(function.as_bytes(), &[property.as_bytes()], Some(name.as_bytes())).unwrap()
    }

    fn expression(text: &str) -> Expression {
        Expression::parse(text.as_bytes()).unwrap()
    }

    fn by(name: &str, descending: bool) -> SortKey {
        SortKey { name: name.into(), descending }
    }

    #[test]
    fn groups_are_reduced_and_sorted() {
        let steps = vec![
            Step::Filter(expression("exists(@price)")),
            Step::GroupBy { by: vec![b"brand".to_vec()], reducers: vec![reducer("SUM", "@price", "sum")] },
            Step::Apply { expression: expression("@sum * 2"), name: b"twice".to_vec() },
            Step::SortBy { keys: vec![by("sum", true)], offset: 0, count: 2 },
        ];
        assert_eq!(
            run(steps).unwrap(),
            [[Some(Value::Null), number(9.0), number(18.0)], [text("a"), number(8.0), number(16.0)]]
        );
    }

    #[test]
    fn rows_without_the_value_are_sorted_last_in_both_directions() {
        let sorted = |descending| {
            let step = Step::SortBy { keys: vec![by("price", descending)], offset: 0, count: 10 };
            run(vec![step]).unwrap().into_iter().map(|values| values[1].clone()).collect::<Vec<_>>()
        };
        assert_eq!(sorted(false), [number(1.0), number(3.0), number(5.0), number(9.0), None]);
        assert_eq!(sorted(true), [number(9.0), number(5.0), number(3.0), number(1.0), None]);
    }

    #[test]
    fn arrays_are_groups_of_their_values() {
        let mut pipeline = Pipeline::new(&[b"tags".to_vec()]);
        let count = Reducer::parse(b"COUNT", &[], Some(b"n")).unwrap();
        pipeline.add(Step::GroupBy { by: vec![b"tags".to_vec()], reducers: vec![count] }).unwrap();
        let mut run = pipeline.run(1);
        for tags in [&["x", "y"][..], &["y"], &[]] {
            let tags = tags.iter().map(|t| Value::text(*t)).collect();
            run.push(Row::new(vec![Some(Value::Array(tags))])).unwrap();
        }
        let rows: Vec<_> = run.finish().unwrap().into_iter().map(|r| r.values).collect();
        assert_eq!(
            rows,
            [[text("x"), number(1.0)], [text("y"), number(2.0)], [Some(Value::Null), number(1.0)]]
        );
        let many = (0..100).map(|n| Value::Number(f64::from(n))).collect::<Vec<_>>();
        let mut pipeline = Pipeline::new(&[b"a".to_vec(), b"b".to_vec()]);
        pipeline.add(Step::GroupBy { by: vec![b"a".to_vec(), b"b".to_vec()], reducers: Vec::new() }).unwrap();
        let row = Row::new(vec![Some(Value::Array(many.clone())), Some(Value::Array(many))]);
        assert!(pipeline.run(1).push(row).is_err());
    }

    /// A limit of a few rows of a kilobyte.
    const FEW: usize = 10_000;

    fn run_of_texts(steps: Vec<Step>, rows: usize) -> Result<usize, QueryError> {
        let mut pipeline = Pipeline::new(&[b"t".to_vec()]);
        steps.into_iter().try_for_each(|step| pipeline.add(step))?;
        let mut run = pipeline.run(1);
        run.bytes_max = FEW;
        for n in 0..rows {
            run.push(Row::new(vec![Some(Value::text(format!("{n:01000}")))]))?;
        }
        Ok(run.finish()?.len())
    }

    #[test]
    fn what_a_run_holds_has_a_limit() {
        let too_large = "The rows of the aggregation take too much memory";
        let twice = |name: &str| Step::Apply {
            expression: expression(&format!("format('%s%s',@{name},@{name})")),
            name: name.into(),
        };
        let copy = |n: usize| Step::Apply { expression: expression("@t"), name: format!("{n}").into() };
        let group = |function: &str, arguments: &[&[u8]]| Step::GroupBy {
            by: vec![],
            reducers: vec![Reducer::parse(function.as_bytes(), arguments, Some(b"r")).unwrap()],
        };
        let sort = |count| Step::SortBy { keys: vec![by("t", false)], offset: 0, count };
        let t: &[u8] = b"@t";
        let large: Vec<(Vec<Step>, usize)> = vec![
            (vec![], 20),
            ((0..5).map(|_| twice("t")).collect(), 1),
            ((0..20).map(copy).collect(), 1),
            // What is dropped afterwards was there nevertheless.
            ((0..20).map(copy).chain([group("COUNT", &[])]).collect(), 1),
            (vec![sort(1_000_000)], 20),
            (vec![group("TOLIST", &[t])], 20),
            (vec![group("COUNT_DISTINCT", &[t])], 20),
            (vec![group("RANDOM_SAMPLE", &[t, b"50"])], 20),
            (vec![Step::GroupBy { by: vec![b"t".to_vec()], reducers: vec![] }], 20),
            (
                vec![
                    group("FIRST_VALUE", &[t]),
                    Step::Apply {
                        expression: expression(
                            "format('%s%s%s%s%s%s%s%s%s%s',@r,@r,@r,@r,@r,@r,@r,@r,@r,@r)",
                        ),
                        name: b"s".to_vec(),
                    },
                ],
                20,
            ),
        ];
        for (steps, rows) in large {
            let shown = format!("{steps:?}");
            assert_eq!(run_of_texts(steps, rows).unwrap_err().to_string(), too_large, "{shown}");
        }
        // What is not kept does not count.
        assert_eq!(run_of_texts(vec![sort(3)], 2000).unwrap(), 3);
        assert_eq!(run_of_texts(vec![group("SUM", &[t])], 2000).unwrap(), 1);
        assert_eq!(run_of_texts(vec![group("FIRST_VALUE", &[t, b"BY", t, b"DESC"])], 2000).unwrap(), 1);
        assert_eq!(run_of_texts(vec![group("RANDOM_SAMPLE", &[t, b"2"])], 2000).unwrap(), 1);
        let nothing = Step::Filter(expression("@t == 'x'"));
        assert_eq!(run_of_texts(vec![twice("t"), nothing], 2000).unwrap(), 0);
        assert_eq!(
            run_of_texts(vec![sort(5), twice("t"), sort(3), Step::Limit { offset: 0, count: 1 }], 50)
                .unwrap(),
            1
        );
    }

    #[test]
    fn groups_of_one_row_are_counted_before_they_are_made() {
        let mut pipeline = Pipeline::new(&[b"list".to_vec(), b"t".to_vec()]);
        pipeline.add(Step::GroupBy { by: vec![b"list".to_vec(), b"t".to_vec()], reducers: vec![] }).unwrap();
        let list = Value::Array((0..1000).map(|n| Value::Number(f64::from(n))).collect());
        let mut run = pipeline.run(1);
        assert!(run.push(Row::new(vec![Some(list.clone()), text("x")])).is_ok());
        let big = Some(Value::text(vec![b'x'; 16 << 20]));
        assert!(run.push(Row::new(vec![Some(list), big])).is_err());
    }

    #[test]
    fn what_follows_a_sort_or_groups_stops_when_it_is_told_to() {
        let sort = Step::SortBy { keys: vec![by("n", false)], offset: 0, count: 1000 };
        let group = Step::GroupBy { by: vec![b"n".to_vec()], reducers: vec![] };
        for (first, groups) in [(sort, None), (group, Some(1000))] {
            let mut pipeline = Pipeline::new(&[b"n".to_vec()]);
            pipeline.add(first).unwrap();
            pipeline.add(Step::Apply { expression: expression("@n + 1"), name: b"m".to_vec() }).unwrap();
            let finished = |looks: usize| {
                let mut run = pipeline.run(1);
                for n in 0..1000 {
                    run.push(Row::new(vec![number(f64::from(n))])).unwrap();
                }
                let mut left = looks;
                let mut goes_on = || {
                    left = left.saturating_sub(1);
                    left > 0
                };
                run.finish_within(&mut goes_on).unwrap()
            };
            let short = finished(3);
            assert_eq!((short.rows.len(), short.groups, short.stopped), (3 * 64 - 1, groups, true));
            let whole = finished(1000);
            assert_eq!((whole.rows.len(), whole.groups, whole.stopped), (1000, groups, false));
        }
    }

    #[test]
    fn limits_say_when_they_have_had_enough() {
        let mut pipeline = Pipeline::new(&[b"brand".to_vec(), b"price".to_vec()]);
        pipeline.add(Step::Limit { offset: 1, count: 1 }).unwrap();
        let mut run = pipeline.run(1);
        let mut rows = products().into_iter();
        assert!(run.push(rows.next().unwrap()).unwrap());
        assert!(!run.push(rows.next().unwrap()).unwrap());
        assert_eq!(run.finish().unwrap()[0].values, [text("b"), number(1.0)]);
    }

    /// Rust's sort panics where the order is none, and NaN once was equal to all numbers.
    #[test]
    fn rows_are_sorted_by_what_is_not_a_number() {
        let mut pipeline = Pipeline::new(&[b"n".to_vec()]);
        pipeline.add(Step::Apply { expression: expression("sqrt(@n)"), name: b"x".to_vec() }).unwrap();
        pipeline.add(Step::SortBy { keys: vec![by("x", false)], offset: 0, count: 100 }).unwrap();
        let mut run = pipeline.run(1);
        for n in 0..32u32 {
            let n_signed = f64::from(n * 20 % 37) * if n % 5 == 0 { -1.0 } else { 1.0 };
            run.push(Row::new(vec![number(n_signed)])).unwrap();
        }
        let sorted: Vec<f64> =
            run.finish().unwrap().iter().filter_map(|row| row.values[1].as_ref()?.number()).collect();
        assert!(sorted.windows(2).all(|pair| pair[1].is_nan() || pair[0] <= pair[1]), "{sorted:?}");
        assert_eq!(sorted.iter().filter(|x| x.is_nan()).count(), 6);
    }

    #[test]
    fn a_long_sort_keeps_only_what_it_needs() {
        let mut pipeline = Pipeline::new(&[b"n".to_vec()]);
        pipeline.add(Step::SortBy { keys: vec![by("n", false)], offset: 1, count: 2 }).unwrap();
        let mut run = pipeline.run(1);
        for n in 0..10_000u32 {
            run.push(Row::new(vec![number(f64::from(n * 7919 % 10_007))])).unwrap();
        }
        let Stage::Sort { rows, .. } = &run.stages[0] else { panic!() };
        assert!(rows.len() <= 1024);
        let mut all: Vec<u32> = (0..10_000u32).map(|n| n * 7919 % 10_007).collect();
        all.sort_unstable();
        let rows: Vec<_> = run.finish().unwrap().into_iter().map(|r| r.values[0].clone()).collect();
        assert_eq!(rows, [number(f64::from(all[1])), number(f64::from(all[2]))]);
    }

    #[test]
    fn what_is_not_there_cannot_be_read() {
        let steps = vec![
            Step::GroupBy { by: vec![b"brand".to_vec()], reducers: vec![] },
            Step::Filter(expression("@price")),
        ];
        assert_eq!(run(steps).unwrap_err().to_string(), "Property `price` not loaded nor in pipeline");
        let twice =
            Step::GroupBy { by: vec![b"brand".to_vec()], reducers: vec![reducer("SUM", "@price", "brand")] };
        assert_eq!(run(vec![twice]).unwrap_err().to_string(), "Property `brand` specified more than once");
    }
}
