//! The words of an index: FT.TAGVALS, FT.SPELLCHECK.

use std::collections::BTreeMap;

use cairn_proto::Resp;
use cairn_search::query::ParseOptions;
use cairn_search::spellcheck::{DISTANCE_MAX, Dictionary, Options, spellcheck};

use super::options::{Limits, dialect};
use super::parsed::{Deadline, TIMED_OUT, error};
use super::{World, limits, look_up, look_up_only, said};
use crate::args::{Args, parse_i64};
use crate::command::{COMMAND, Category, Command, Flag, Group};
use crate::context::Context;
use crate::error::CommandResult;
use crate::search::cursor::Cursor;

/// Values between two looks at the clock.
const CLOCK_EVERY: usize = 1024;

pub(super) static FT_TAGVALS: Command = Command {
    name: "ft.tagvals",
    arity: 3,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    categories: &[Category::Dangerous],
    summary: "Returns the values of a TAG field.",
    complexity: "O(N), N being the number of values",
    syntax: "index field",
    run: tagvals,
    ..COMMAND
};

fn tagvals(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    look_up(cx, args.at(1), 0)?;
    let timeout_ms = cx.shared.search.settings.timeout_ms;
    let Context { shared, keys, reply, host, .. } = cx;
    let World { entry, host, .. } = World::new(shared, keys, &**host, args.at(1));
    let deadline = Deadline::after(host, timeout_ms);
    let Some(field) = entry.definition.schema.find(args.at(2)) else { return Err("No such field".into()) };
    let Some(values) = entry.index.tag_values(field) else { return Err("Not a tag field".into()) };
    let set = reply.defer();
    let mut count = 0_usize;
    for (value, docs) in values {
        if docs == 0 {
            continue;
        }
        count += 1;
        reply.bulk(value);
        if count.is_multiple_of(CLOCK_EVERY) && deadline.is_over(host) {
            return Err(TIMED_OUT.into());
        }
    }
    reply.finish_set(set, count);
    Ok(())
}

pub(super) static FT_SPELLCHECK: Command = Command {
    name: "ft.spellcheck",
    arity: -3,
    group: Group::Search,
    since: "1.4.0",
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    summary: "Returns what the words of a query may have been meant to be.",
    complexity: "O(N), N being the number of words of the index that are like one of the query",
    syntax: "index query [DISTANCE distance:integer] [TERMS inclusion dictionary] [FULLSCOREINFO] \
             [PARAMS nargs:integer name [value ...]] [DIALECT dialect:integer]",
    run: spell_check,
    ..COMMAND
};

fn spell_check(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let asked = Asked::parse(args, &limits(cx))?;
    look_up_only(cx, args.at(1), asked.dialect)?;
    let timeout_ms = cx.shared.search.settings.timeout_ms;
    let Context { shared, keys, reply, host, .. } = cx;
    let World { entry, host, settings, .. } = World::new(shared, keys, &**host, args.at(1));
    let deadline = Deadline::after(host, timeout_ms);
    let dictionaries = |names: &[&[u8]]| -> CommandResult<Vec<&Dictionary>> {
        let of = |name: &&[u8]| {
            let known = shared.search.dictionaries().get(*name);
            known.ok_or_else(|| said("Dict does not exist: ", name, ""))
        };
        names.iter().map(of).collect()
    };
    let options = Options {
        distance: asked.distance,
        include: dictionaries(&asked.include)?,
        exclude: dictionaries(&asked.exclude)?,
        full_score: asked.full_score,
    };
    let parse =
        ParseOptions { dialect: asked.dialect as u8, params: asked.params, ..ParseOptions::default() };
    let mut late = false;
    let mut goes_on = || {
        late |= deadline.is_over(host);
        !late
    };
    let checked = spellcheck(&entry.index, args.at(2), &parse, &options, &mut goes_on).map_err(error)?;
    if late && settings.fail_on_timeout {
        return Err(TIMED_OUT.into());
    }
    let docs = entry.index.len() as i64;
    let resp3 = reply.resp == Resp::V3;
    if resp3 {
        reply.map(1 + usize::from(asked.full_score));
        if asked.full_score {
            reply.simple("total_docs");
            reply.int(docs);
        }
        reply.simple("results");
        reply.map(checked.len());
    } else {
        reply.array(checked.len() + usize::from(asked.full_score));
        if asked.full_score {
            reply.int(docs);
        }
    }
    for word in &checked {
        if !resp3 {
            reply.array(3);
            reply.simple("TERM");
        }
        reply.bulk(&word.word);
        let Some(suggestions) = &word.suggestions else {
            match resp3 {
                true => reply.error(IN_INDEX),
                false => reply.simple(IN_INDEX),
            }
            continue;
        };
        reply.array(suggestions.len());
        for (score, suggestion) in suggestions {
            if resp3 {
                reply.map(1);
                reply.bulk(suggestion);
                reply.double(*score);
            } else {
                reply.array(2);
                reply.double(*score);
                reply.bulk(suggestion);
            }
        }
    }
    Ok(())
}

/// What FULLSCOREINFO says of a word that needs no suggestions.
const IN_INDEX: &str = "term exists in index";

/// FT.SPELLCHECK's options.
struct Asked<'a> {
    distance: usize,
    include: Vec<&'a [u8]>,
    exclude: Vec<&'a [u8]>,
    full_score: bool,
    params: BTreeMap<Vec<u8>, &'a [u8]>,
    dialect: usize,
}

impl<'a> Asked<'a> {
    /// Words count wherever they stand, and others do not: so it is in RediSearch.
    fn parse(args: Args<'a>, limits: &Limits) -> CommandResult<Self> {
        let options = args.from(3);
        let behind = |word: &str| {
            options
                .iter()
                .position(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
                .map(|at| &options[at + 1..])
        };
        let dialect = match behind("DIALECT") {
            Some(rest) => dialect(&mut Cursor::new(rest))?,
            None => limits.dialect,
        };
        let mut asked = Self {
            distance: 1,
            include: Vec::new(),
            exclude: Vec::new(),
            full_score: behind("FULLSCOREINFO").is_some(),
            params: BTreeMap::new(),
            dialect,
        };
        if let Some(rest) = behind("PARAMS") {
            let given = Cursor::new(rest).counted().map_err(|bad| bad.of("PARAMS"))?;
            if given.is_empty() || !given.len().is_multiple_of(2) {
                return Err("Parameters must be specified in PARAM VALUE pairs".into());
            }
            asked.params.extend(given.chunks_exact(2).map(|pair| (pair[0].to_vec(), pair[1])));
        }
        if let Some(rest) = behind("DISTANCE") {
            let given = rest.first().ok_or("DISTANCE arg is given but no DISTANCE comes after")?;
            let distance = parse_i64(given).filter(|distance| (1..=DISTANCE_MAX as i64).contains(distance));
            asked.distance = distance
                .ok_or("bad distance given, distance must be a natural number between 1 to 4")?
                as usize;
        }
        let mut rest = options;
        while let Some(at) = rest.iter().position(|arg| arg.eq_ignore_ascii_case(b"TERMS")) {
            rest = &rest[at + 1..];
            let [operation, name, ..] = rest else {
                return Err("TERM arg is given but no TERM params comes after".into());
            };
            if operation.eq_ignore_ascii_case(b"INCLUDE") {
                asked.include.push(name);
            } else if operation.eq_ignore_ascii_case(b"EXCLUDE") {
                asked.exclude.push(name);
            } else {
                return Err("bad format, exclude/include operation was not given".into());
            }
        }
        Ok(asked)
    }
}
