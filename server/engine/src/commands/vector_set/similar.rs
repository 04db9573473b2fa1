//! VSIM: the elements whose vectors are most alike.

use cairn_proto::{ReplyWriter, Resp};
use cairn_search::vector::filter::Filter;
use cairn_search::vector::graph::Near;
use cairn_search::vector::quantised::Quants;
use cairn_search::vector::set::{EF_MAX, Normalised, Sieve};

use super::{Given, INVALID_VECTOR, bounded};
use crate::args::{Args, parse_f64};
use crate::command::{COMMAND, Command, Flag, Group, Keys, READ};
use crate::commands::search::query::Deadline;
use crate::context::Context;
use crate::error::{CommandError, CommandResult, printed};
use crate::types::VectorSet;
use crate::value::Value;

const COUNT_DEFAULT: usize = 10;
/// Candidates of a search.
const EF_DEFAULT: usize = 100;
/// Elements that a filtered search may go by for each one that it is to find.
const FILTER_EFFORT: usize = 100;

/// Others wait meanwhile, so that a search of vectors may take as long as one of documents.
const TIMED_OUT: CommandError = CommandError::new("ERR Timeout limit was reached");

pub(super) static VSIM: Command = Command {
    name: "vsim",
    arity: -4,
    group: Group::VectorSet,
    since: "8.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the elements whose vectors are most alike a vector, or the vector of an element.",
    complexity: "O(log(N)), N being the elements of the set; O(N) with TRUTH",
    syntax: "key <ELE | FP32 | VALUES> vector-or-element [WITHSCORES] [WITHATTRIBS] [COUNT num:integer] \
             [EPSILON max-distance:double] [EF search-exploration-factor:integer] [FILTER expression] \
             [FILTER-EF max-filtering-effort:integer] [TRUTH] [NOTHREAD]",
    run: vsim,
    ..COMMAND
};

struct Options {
    scores: bool,
    attributes: bool,
    count: usize,
    /// Half of the greatest distance.
    epsilon: f64,
    ef: usize,
    filter: Option<Filter>,
    effort_max: Option<usize>,
    truth: bool,
}

impl Options {
    fn parse(args: Args<'_>, mut at: usize) -> CommandResult<Self> {
        let mut options = Self {
            scores: false,
            attributes: false,
            count: COUNT_DEFAULT,
            epsilon: 2.0,
            ef: EF_DEFAULT,
            filter: None,
            effort_max: None,
            truth: false,
        };
        while at < args.len() {
            let value = args.get(at + 1).copied();
            match value {
                _ if args.is(at, "WITHSCORES") => options.scores = true,
                _ if args.is(at, "WITHATTRIBS") => options.attributes = true,
                _ if args.is(at, "TRUTH") => options.truth = true,
                _ if args.is(at, "NOTHREAD") => {}
                Some(value) => {
                    options.option_with_value(args, at, value)?;
                    at += 1;
                }
                None => return Err("ERR syntax error in VSIM command".into()),
            }
            at += 1;
        }
        Ok(options)
    }

    fn option_with_value(&mut self, args: Args<'_>, at: usize, value: &[u8]) -> CommandResult {
        if args.is(at, "COUNT") {
            self.count = bounded(value, 1..=i64::MAX, "ERR invalid COUNT")?;
        } else if args.is(at, "EPSILON") {
            let epsilon = parse_f64(value).filter(|&epsilon| epsilon > 0.0);
            self.epsilon = epsilon.ok_or(CommandError::new("ERR invalid EPSILON"))?;
        } else if args.is(at, "EF") {
            self.ef = bounded(value, 1..=EF_MAX as i64, "ERR invalid EF")?;
        } else if args.is(at, "FILTER-EF") {
            self.effort_max = Some(bounded(value, 1..=i64::MAX, "ERR invalid FILTER-EF")?);
        } else if args.is(at, "FILTER") {
            let filter = Filter::parse(value).map_err(|at| {
                let near = value.get(at..).filter(|near| !near.is_empty()).unwrap_or(value);
                let text = [b"ERR syntax error in FILTER expression near: ", printed(near)].concat();
                CommandError::Bytes(text)
            })?;
            self.filter = Some(filter);
        } else {
            return Err("ERR syntax error in VSIM command".into());
        }
        Ok(())
    }
}

fn vsim(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let timeout_ms = cx.shared.search.settings.timeout_ms;
    let Context { keys, reply, host, .. } = cx;
    let Some(set) = keys.get(args.at(1)).map(Value::as_vector_set).transpose()? else {
        reply.array(0);
        return Ok(());
    };
    let (query, next) = if args.is(2, "ELE") {
        let slot = set.slot(args.at(3)).ok_or(CommandError::new("ERR element not found in set"))?;
        (query_like(set, slot), 4)
    } else {
        let given = Given::parse(args, 2, false)?;
        let next = given.next;
        (query_of(given, set)?, next)
    };
    let options = Options::parse(args, next)?;
    let (deadline, mut late) = (Deadline::after(&**host, timeout_ms), false);
    let found = search(set, &query, &options, &mut || {
        late = deadline.is_over(&**host);
        !late
    });
    if late {
        return Err(TIMED_OUT);
    }
    let near =
        found.iter().take(options.count).take_while(|near| f64::from(near.distance) / 2.0 <= options.epsilon);
    write(reply, set, near.collect(), &options);
    Ok(())
}

/// The vector of an element as it is asked for: Redis makes it of the numbers that it answers for the element, so that it is not to the
/// last digit what the set keeps.
fn query_like(set: &VectorSet, slot: u32) -> Quants {
    let slots = set.slots();
    let vector = Normalised::new(slots.vector(slot), slots.quantisation());
    vector.map_or_else(|| slots.quants(slot), |vector| vector.quants)
}

fn query_of(given: Given, set: &VectorSet) -> CommandResult<Quants> {
    let dim = set.slots().dim();
    // What has the dimensions of the set is taken as reduced already.
    let vector = if given.vector.len() == dim { given.vector } else { given.for_set(set)? };
    let vector = Normalised::new(vector, set.slots().quantisation()).ok_or(INVALID_VECTOR)?;
    Ok(vector.quants)
}

fn search(
    set: &VectorSet,
    query: &Quants,
    options: &Options,
    goes_on: &mut dyn FnMut() -> bool,
) -> Vec<Near> {
    let passes = |slot: u32| match &options.filter {
        // Without attributes there is nothing that an expression could hold for.
        Some(filter) => {
            let attributes = set.attributes(slot);
            !attributes.is_empty() && filter.matches(attributes)
        }
        None => true,
    };
    if options.truth {
        return set.slots().scan(query, options.count.min(set.len()), &passes, goes_on);
    }
    let effort_max = options.effort_max.unwrap_or(options.count.saturating_mul(FILTER_EFFORT));
    let sieve = options.filter.as_ref().map(|_| Sieve { passes: &passes, effort_max });
    set.slots().search(query, options.ef.max(options.count), sieve.as_ref(), goes_on)
}

fn write(reply: &mut ReplyWriter, set: &VectorSet, found: Vec<&Near>, options: &Options) {
    let parts = usize::from(options.scores) + usize::from(options.attributes);
    let as_map = parts > 0 && reply.resp == Resp::V3;
    if as_map {
        reply.map(found.len());
    } else {
        reply.array(found.len() * (1 + parts));
    }
    for near in found {
        reply.bulk(set.name(near.slot));
        if as_map && parts > 1 {
            reply.array(parts);
        }
        if options.scores {
            reply.double(1.0 - f64::from(near.distance) / 2.0);
        }
        if options.attributes {
            match set.attributes(near.slot) {
                [] => reply.null(),
                attributes => reply.bulk(attributes),
            }
        }
    }
}
