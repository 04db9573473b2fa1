//! Questions about values.

use cairn_json::{Json, Path, Steps, TooManySteps, Type};
use cairn_proto::ReplyWriter;

use super::reply::{self, Start, is_resp3};
use super::{
    DEFAULT_PATH, NO_KEY, NO_PATH, NOT_INTEGER, no_path_or, parse_operand, parse_path, read, steps, text,
    wrong_type_of_value,
};
use crate::args::{Args, parse_i64};
use crate::command::{COMMAND, Command, Flag, Group, Keys, METADATA, READ};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};

/// The path argument, or the whole document.
fn path_at(args: Args<'_>, at: usize) -> CommandResult<&str> {
    args.get(at).map_or(Ok(DEFAULT_PATH), |arg| text(arg))
}

/// Answers what `of` makes of each value that a path means; null for `None`.
fn reply_each<T>(
    cx: &mut Context<'_>,
    values: &[&Json],
    mut of: impl FnMut(&Json) -> CommandResult<Option<T>>,
    write: impl Fn(&mut ReplyWriter, T),
) -> CommandResult {
    let start = Start::of(cx.reply);
    cx.reply.array(values.len());
    for value in values {
        match of(value)? {
            Some(answer) => write(cx.reply, answer),
            None => cx.reply.null(),
        }
        start.check(cx.reply)?;
    }
    Ok(())
}

pub(super) static JSON_TYPE: Command = Command {
    name: "json.type",
    arity: -2,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, METADATA)],
    summary: "Returns the types of the values that a path means.",
    complexity: "O(N), N being the size of what the path looks at",
    syntax: "key [path]",
    run: type_of,
    ..COMMAND
};

fn type_of(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let path = path_at(args, 2)?;
    let document = read(cx, args.at(1))?.cloned();
    if is_resp3(cx.reply) {
        cx.reply.array(1);
    }
    let Some(document) = document else {
        cx.reply.null();
        return Ok(());
    };
    if Path::is_legacy_text(path) {
        let value = match Path::parse(path) {
            Ok(path) => path.first(&document)?,
            Err(_) => None,
        };
        match value {
            Some(value) => cx.reply.bulk(value.type_of().name().as_bytes()),
            None => cx.reply.null(),
        }
        return Ok(());
    }
    let values = parse_path(path)?.select(&document)?;
    reply_each(
        cx,
        &values,
        |value| Ok(Some(value.type_of())),
        |reply, kind: Type| reply.bulk(kind.name().as_bytes()),
    )
}

pub(super) static JSON_STRLEN: Command = Command {
    name: "json.strlen",
    arity: -2,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, METADATA)],
    summary: "Returns the lengths of the strings that a path means, in bytes.",
    complexity: "O(N), N being the size of what the path looks at",
    syntax: "key [path]",
    run: strlen,
    ..COMMAND
};

fn strlen(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let path = path_at(args, 2)?;
    let document = read(cx, args.at(1))?.cloned();
    let len = |value: &Json| value.as_str().map(|text| text.len() as i64);
    if Path::is_legacy_text(path) {
        let Some(document) = document else {
            cx.reply.null();
            return Ok(());
        };
        let value = parse_path(path)?.first(&document)?.ok_or(NO_PATH)?;
        cx.reply.int(len(value).ok_or_else(|| wrong_type_of_value("string"))?);
        return Ok(());
    }
    let document = document.ok_or(NO_KEY)?;
    let values = parse_path(path)?.select(&document)?;
    reply_each(cx, &values, |value| Ok(len(value)), |reply, len| reply.int(len))
}

pub(super) static JSON_ARRLEN: Command = Command {
    name: "json.arrlen",
    arity: -2,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, METADATA)],
    summary: "Returns the lengths of the arrays that a path means.",
    complexity: "O(N), N being the size of what the path looks at",
    syntax: "key [path]",
    run: arrlen,
    ..COMMAND
};

fn arrlen(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let path = path_at(args, 2)?;
    let document = read(cx, args.at(1))?.cloned();
    let len = |value: &Json| value.as_array().map(|elements| elements.len() as i64);
    if Path::is_legacy_text(path) {
        let Some(document) = document else {
            cx.reply.null();
            return Ok(());
        };
        let value = parse_path(path)?.first(&document)?.ok_or(NO_PATH)?;
        cx.reply.int(len(value).ok_or_else(|| no_path_or("not an array"))?);
        return Ok(());
    }
    let document = document.ok_or(NO_KEY)?;
    let values = parse_path(path)?.select(&document)?;
    reply_each(cx, &values, |value| Ok(len(value)), |reply, len| reply.int(len))
}

pub(super) static JSON_ARRINDEX: Command = Command {
    name: "json.arrindex",
    arity: -4,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns where a value is first found in the arrays that a path means.",
    complexity: "O(N), N being the size of what the path looks at and of the arrays",
    syntax: "key path value [start:integer [stop:integer]]",
    run: arrindex,
    ..COMMAND
};

fn arrindex(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let path = text(args.at(2))?;
    let bound = |at: usize| match args.get(at) {
        Some(arg) => parse_i64(arg).ok_or(NOT_INTEGER),
        None => Ok(0),
    };
    let (start, stop) = (bound(4)?, bound(5)?);
    if args.len() > 6 {
        return Err(CommandError::Arity(cx.command.full_name.clone()));
    }
    let document = read(cx, args.at(1))?.cloned();
    let wanted = parse_operand(args.at(3))?;
    let document = document.ok_or(NO_PATH)?;
    let mut steps = steps();
    let values = parse_path(path)?.select_within(&document, &mut steps)?;
    let wanted = Wanted { value: &wanted, text_len: args.at(3).len() };
    let mut place = |value: &Json| match value.as_array() {
        Some(elements) => Ok(Some(index_of(elements, &wanted, start, stop, &mut steps)?)),
        None => Ok(None),
    };
    if Path::is_legacy_text(path) {
        let value = values.first().ok_or(NO_PATH)?;
        cx.reply.int(place(value)?.ok_or_else(|| wrong_type_of_value("array"))?);
        Ok(())
    } else {
        reply_each(cx, &values, place, |reply, place| reply.int(place))
    }
}

/// Bytes of a value's text that count as one step when another value is compared with it.
const BYTES_PER_STEP: usize = 8;

/// What is looked for.
struct Wanted<'a> {
    value: &'a Json,
    text_len: usize,
}

impl Wanted<'_> {
    /// What comparing it with `other` takes at most: they are different at once unless both have the same length.
    fn steps(&self, other: &Json) -> u64 {
        let alike = match (self.value, other) {
            (Json::Str(value), Json::Str(other)) => value.len() == other.len(),
            (value, other) => value.len().is_some() && value.len() == other.len(),
        };
        1 + if alike { (self.text_len / BYTES_PER_STEP) as u64 } else { 0 }
    }
}

/// The first place of `wanted` from `start` up to but not including `stop`, of which 0 means the end; -1: nowhere.
/// Negative bounds count from the end, those beyond it mean it.
fn index_of(
    elements: &[Json],
    wanted: &Wanted<'_>,
    start: i64,
    stop: i64,
    steps: &mut Steps,
) -> Result<i64, TooManySteps> {
    let len = elements.len() as i64;
    let start = if start < 0 { len.saturating_add(start).max(0) } else { start.min((len - 1).max(0)) };
    let stop = match stop {
        0 => len,
        ..0 => len.saturating_add(stop).max(0),
        _ => stop.min(len),
    };
    let found = elements.get(start as usize..stop as usize).unwrap_or_default();
    for (at, element) in found.iter().enumerate() {
        steps.count(wanted.steps(element))?;
        // In this order the names that are looked up are those of `wanted`, which are counted.
        if wanted.value == element {
            return Ok(start + at as i64);
        }
    }
    Ok(-1)
}

pub(super) static JSON_OBJKEYS: Command = Command {
    name: "json.objkeys",
    arity: -2,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the names of the fields of the objects that a path means.",
    complexity: "O(N), N being the size of what the path looks at and the number of fields",
    syntax: "key [path]",
    run: objkeys,
    ..COMMAND
};

fn objkeys(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let path = path_at(args, 2)?;
    let document = read(cx, args.at(1))?.cloned();
    let names = |reply: &mut cairn_proto::ReplyWriter, object: &cairn_json::Object| {
        reply.array(object.len());
        for (name, _) in object.iter() {
            reply.bulk(name.as_bytes());
        }
    };
    if Path::is_legacy_text(path) {
        let value = match (&document, Path::parse(path)) {
            (Some(document), Ok(path)) => path.first(document)?,
            _ => None,
        };
        match value {
            Some(value) => names(cx.reply, value.as_object().ok_or_else(|| no_path_or("not an object"))?),
            None => cx.reply.null(),
        }
        return Ok(());
    }
    let document = document.ok_or(NO_KEY)?;
    let values = parse_path(path)?.select(&document)?;
    let start = Start::of(cx.reply);
    cx.reply.array(values.len());
    for value in values {
        match value.as_object() {
            Some(object) => names(cx.reply, object),
            None => cx.reply.null(),
        }
        start.check(cx.reply)?;
    }
    Ok(())
}

pub(super) static JSON_OBJLEN: Command = Command {
    name: "json.objlen",
    arity: -2,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, METADATA)],
    summary: "Returns the numbers of fields of the objects that a path means.",
    complexity: "O(N), N being the size of what the path looks at",
    syntax: "key [path]",
    run: objlen,
    ..COMMAND
};

fn objlen(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let path = path_at(args, 2)?;
    let document = read(cx, args.at(1))?.cloned();
    let len = |value: &Json| value.as_object().map(|object| object.len() as i64);
    if Path::is_legacy_text(path) {
        let value = match (&document, Path::parse(path)) {
            (Some(document), Ok(path)) => path.first(document)?,
            _ => None,
        };
        match value {
            Some(value) => cx.reply.int(len(value).ok_or_else(|| wrong_type_of_value("object"))?),
            None => cx.reply.null(),
        }
        return Ok(());
    }
    let document = document.ok_or_else(|| no_path_or("not an object"))?;
    let values = parse_path(path)?.select(&document)?;
    reply_each(cx, &values, |value| Ok(len(value)), |reply, len| reply.int(len))
}

pub(super) static JSON_RESP: Command = Command {
    name: "json.resp",
    arity: -2,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the values that a path means as the protocol's own types.",
    complexity: "O(N), N being the size of what the path looks at and of what it means",
    syntax: "key [path]",
    run: resp,
    ..COMMAND
};

fn resp(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let path = path_at(args, 2)?;
    let Some(document) = read(cx, args.at(1))?.cloned() else {
        cx.reply.null();
        return Ok(());
    };
    let values = parse_path(path)?.select(&document)?;
    let start = Start::of(cx.reply);
    if Path::is_legacy_text(path) {
        return reply::resp(cx.reply, values.first().ok_or(NO_PATH)?, start);
    }
    cx.reply.array(values.len());
    values.iter().try_for_each(|value| reply::resp(cx.reply, value, start))
}

pub(super) static JSON_DEBUG: Command = Command {
    name: "json.debug",
    arity: -2,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(2, METADATA)],
    summary: "Says how much memory the values take that a path means.",
    complexity: "O(N), N being the size of what the path looks at and of what it means",
    syntax: "<MEMORY key [path] | HELP>",
    run: debug,
    ..COMMAND
};

fn debug(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    if args.is(1, "HELP") {
        cx.reply.array(2);
        cx.reply.bulk(b"MEMORY <key> [path] - reports memory usage");
        cx.reply.bulk(b"HELP                - this message");
        return Ok(());
    }
    if !args.is(1, "MEMORY") {
        return Err("ERR unknown subcommand - try `JSON.DEBUG HELP`".into());
    }
    let key = reply::required(args, 2, "json.debug")?;
    let path = path_at(args, 3)?;
    let document = read(cx, key)?.cloned();
    let Some(document) = document else {
        match Path::is_legacy_text(path) {
            true => cx.reply.int(0),
            false => cx.reply.array(0),
        }
        return Ok(());
    };
    let mut steps = steps();
    let values = parse_path(path)?.select_within(&document, &mut steps)?;
    let mut size = |value: &Json| {
        let limit = usize::try_from(steps.left()).unwrap_or(usize::MAX).saturating_add(1);
        steps.count(value.node_count(limit) as u64)?;
        Ok((size_of::<Json>() + value.heap_size(0)) as i64)
    };
    if Path::is_legacy_text(path) {
        cx.reply.int(size(values.first().ok_or(NO_PATH)?)?);
        Ok(())
    } else {
        reply_each(cx, &values, |value| size(value).map(Some), |reply, size| reply.int(size))
    }
}
