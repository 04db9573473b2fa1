//! Changes of arrays.

use cairn_json::{Format, Json, Location, Path};
use cairn_proto::ReplyWriter;

use super::edit::{Edit, Growth};
use super::reply::{self, Shape, is_resp3};
use super::{DEFAULT_PATH, NOT_INTEGER, no_path_or, parse_json, text};
use crate::args::{Args, parse_i64};
use crate::command::{COMMAND, Command, Flag, Group, INSERT, Keys, READ_DELETE, UPDATE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::value::Value;

const NOT_AN_ARRAY: &str = "not an array";

/// Values to be put into arrays.
struct Elements<'a> {
    values: Vec<Json>,
    sources: &'a [&'a [u8]],
    growth: Growth,
    /// They are in an array already, and others get copies.
    used: bool,
}

impl<'a> Elements<'a> {
    fn parse(sources: &'a [&'a [u8]]) -> CommandResult<Self> {
        let values: Vec<Json> =
            sources.iter().map(|source| parse_json(source)).collect::<CommandResult<_>>()?;
        let depth = values.iter().map(Json::depth).max().unwrap_or(0);
        let growth = Growth::new(sources.iter().map(|source| source.len()).sum(), depth);
        Ok(Self { values, sources, growth, used: false })
    }

    /// They may go into the array at this place.
    fn check(&mut self, array: &Location) -> CommandResult {
        self.growth.check(array.steps().len() + 1)
    }

    fn take(&mut self) -> Vec<Json> {
        if std::mem::replace(&mut self.used, true) {
            self.values.iter().map(Json::unshared).collect()
        } else {
            self.values.clone()
        }
    }

    /// Words of an effect, and the values.
    fn effect(&self, words: &[&[u8]]) -> Vec<Vec<u8>> {
        words.iter().chain(self.sources).map(|word| word.to_vec()).collect()
    }
}

/// Answers the new lengths of arrays.
fn reply_lengths(reply: &mut ReplyWriter, path: &str, edited: super::edit::Edited<i64>) -> CommandResult {
    if Path::is_legacy_text(path) {
        reply.int(edited.into_last(NOT_AN_ARRAY)?);
    } else {
        reply::ints(reply, edited.results.into_iter());
    }
    Ok(())
}

pub(super) static JSON_ARRAPPEND: Command = Command {
    name: "json.arrappend",
    arity: -4,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, INSERT)],
    summary: "Appends values to the arrays that a path means.",
    complexity: "O(N), N being the size of what the path looks at and of the values",
    syntax: "key path value [value ...]",
    run: arrappend,
    ..COMMAND
};

fn arrappend(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let path = text(args.at(2))?;
    let elements = std::cell::RefCell::new(Elements::parse(args.from(3))?);
    let edited =
        Edit { key: args.at(1), path, event: "json.arrappend", innermost_first: false, given: args.from(3) }
            .run(
                cx,
                |place, value| match value {
                    Json::Array(_) => elements.borrow_mut().check(place).map(|()| true),
                    _ => Ok(false),
                },
                |value| {
                    let array = value.as_array_mut()?;
                    array.extend(elements.borrow_mut().take());
                    Some(array.len() as i64)
                },
                |place, _, _| elements.borrow().effect(&[b"JSON.ARRAPPEND", place.as_bytes()]),
            )?;
    reply_lengths(cx.reply, path, edited)
}

pub(super) static JSON_ARRINSERT: Command = Command {
    name: "json.arrinsert",
    arity: -5,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, INSERT)],
    summary: "Inserts values before an element of the arrays that a path means.",
    complexity: "O(N), N being the size of what the path looks at and of the arrays",
    syntax: "key path index:integer value [value ...]",
    run: arrinsert,
    ..COMMAND
};

fn arrinsert(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let path = text(args.at(2))?;
    let index = parse_i64(args.at(3)).ok_or(NOT_INTEGER)?;
    let elements = std::cell::RefCell::new(Elements::parse(args.from(4))?);
    let at = |len: usize| {
        let from_start = if index < 0 { index.saturating_add(len as i64) } else { index };
        usize::try_from(from_start).ok().filter(|&at| at <= len)
    };
    let edited =
        Edit { key: args.at(1), path, event: "json.arrinsert", innermost_first: true, given: args.from(3) }
            .run(
            cx,
            |place, value| {
                let Some(array) = value.as_array() else { return Ok(false) };
                at(array.len()).ok_or(CommandError::new("ERR index out of bounds"))?;
                elements.borrow_mut().check(place).map(|()| true)
            },
            |value| {
                let array = value.as_array_mut()?;
                let at = at(array.len())?;
                array.splice(at..at, elements.borrow_mut().take());
                Some(array.len() as i64)
            },
            |place, _, _| elements.borrow().effect(&[b"JSON.ARRINSERT", place.as_bytes(), args.at(3)]),
        )?;
    reply_lengths(cx.reply, path, edited)
}

pub(super) static JSON_ARRTRIM: Command = Command {
    name: "json.arrtrim",
    arity: 5,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::Write],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Keeps a range of the elements of the arrays that a path means.",
    complexity: "O(N), N being the size of what the path looks at and of the arrays",
    syntax: "key path start:integer stop:integer",
    run: arrtrim,
    ..COMMAND
};

fn arrtrim(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let path = text(args.at(2))?;
    let start = parse_i64(args.at(3)).ok_or(NOT_INTEGER)?;
    let stop = parse_i64(args.at(4)).ok_or(NOT_INTEGER)?;
    let mut removed = Vec::new();
    let edited =
        Edit { key: args.at(1), path, event: "json.arrtrim", innermost_first: true, given: args.from(3) }
            .run(
                cx,
                |_, value| Ok(value.as_array().is_some()),
                |value| {
                    let array = value.as_array_mut()?;
                    let kept = kept_range(start, stop, array.len());
                    removed.extend(array.drain(kept.end..));
                    removed.extend(array.drain(..kept.start));
                    Some(array.len() as i64)
                },
                |place, _, _| {
                    [b"JSON.ARRTRIM", place.as_bytes(), args.at(3), args.at(4)]
                        .iter()
                        .map(|word| word.to_vec())
                        .collect()
                },
            )?;
    cx.keys.discard(Value::Json(Json::array(removed)));
    reply_lengths(cx.reply, path, edited)
}

/// The elements that remain of so many. Negative bounds count from the end; beyond it they mean it.
fn kept_range(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let place = |bound: i64| match usize::try_from(bound) {
        Ok(bound) => bound,
        Err(_) => len.saturating_sub(usize::try_from(bound.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let (start, stop) = (place(start), place(stop).min(len.saturating_sub(1)));
    if len == 0 || start > stop { 0..0 } else { start..stop + 1 }
}

pub(super) static JSON_ARRPOP: Command = Command {
    name: "json.arrpop",
    arity: -2,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::Write],
    keys: &[Keys::at(1, READ_DELETE)],
    summary: "Removes and returns an element of the arrays that a path means, the last one if not told otherwise.",
    complexity: "O(N), N being the size of what the path looks at and of the arrays",
    syntax: "key [path [index:integer]]",
    run: arrpop,
    ..COMMAND
};

fn arrpop(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let mut shape = Shape::Text;
    let mut at = 2;
    // A single FORMAT is a path.
    if args.is(2, "FORMAT") && args.len() > 3 {
        shape = Shape::parse(args.at(3), "STRINGS")?;
        if !is_resp3(cx.reply) {
            return Err("ERR FORMAT argument is not supported on RESP2".into());
        }
        at = 4;
    }
    let path = args.get(at).map_or(Ok(DEFAULT_PATH), |arg| text(arg))?;
    let index = args.get(at + 1).and_then(|arg| parse_i64(arg)).unwrap_or(-1);
    let legacy = Path::is_legacy_text(path);
    if legacy && shape != Shape::Text {
        return Err("Legacy paths are supported only with FORMAT STRINGS".into());
    }
    let place = |len: usize| match usize::try_from(index) {
        Ok(index) => index.min(len - 1),
        Err(_) => len.saturating_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let edited = Edit { key: args.at(1), path, event: "json.arrpop", innermost_first: true, given: &[] }
        .run(
            cx,
            |_, value| Ok(value.as_array().is_some()),
            |value| {
                if value.is_empty() {
                    return None;
                }
                let array = value.as_array_mut()?;
                let at = place(array.len());
                Some((at, array.remove(at)))
            },
            |place, _, (at, _)| vec![b"JSON.ARRPOP".to_vec(), place.into(), at.to_string().into_bytes()],
        )?;
    // What has been taken out is answered: each value by itself may be as long as a reply, and together they were in one document.
    let format = Format::default();
    let start = reply::Start::of;
    if legacy {
        let last = edited.last.ok_or_else(|| no_path_or(NOT_AN_ARRAY))?;
        match &edited.results[last] {
            Some((_, value)) => reply::value_text(cx.reply, value, &format, start(cx.reply))?,
            None => cx.reply.null(),
        }
        return Ok(());
    }
    cx.reply.array(edited.results.len());
    for result in &edited.results {
        match result {
            Some((_, value)) => reply::shaped(cx.reply, value, shape, &format, start(cx.reply))?,
            None => cx.reply.null(),
        }
    }
    Ok(())
}
