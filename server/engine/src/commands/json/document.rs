//! Whole documents and parts of them, in and out.

use std::collections::HashMap;

use cairn_json::{Format, Json, Last, Location, Path, Step, Steps};

use super::edit::{EffectRoom, Growth, outermost};
use super::reply::{self, REPLY_LEN_MAX, Shape, is_resp3};
use super::{
    DEFAULT_PATH, NO_PATH, NOT_AT_ROOT, document_in, document_mut, parse_json, parse_path, peek, read, steps,
    text,
};
use crate::args::Args;
use crate::command::{COMMAND, Command, DELETE, Flag, Group, Keys, READ, UPDATE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;
use crate::value::Value;

pub(super) static JSON_SET: Command = Command {
    name: "json.set",
    arity: -4,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Sets a document, or the values in it that a path means; adds a field that is not there.",
    complexity: "O(M+N), M being the size of the value and N that of what the path looks at",
    syntax: "key path value [NX | XX]",
    run: set,
    ..COMMAND
};

fn set(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, path) = (args.at(1), text(args.at(2))?);
    let (mut new_only, mut present_only) = (false, false);
    let mut at = 4;
    while at < args.len() {
        if args.is(at, "NX") && !new_only && !present_only {
            new_only = true;
        } else if args.is(at, "XX") && !new_only && !present_only {
            present_only = true;
        } else if args.is(at, "FORMAT") {
            at += 1;
            check_format(reply::required(args, at, "json.set")?)?;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    let there = peek(cx, key)?.is_some();
    let value = parse_json(args.at(3))?;
    if is_root(path) {
        if new_only && there || present_only && !there {
            cx.reply.null();
            return Ok(());
        }
        set_root(cx, key, value, args.at(3), "json.set");
        cx.reply.ok();
        return Ok(());
    }
    let Some(document) = peek(cx, key)? else {
        if present_only {
            cx.reply.null();
            return Ok(());
        }
        return Err(NOT_AT_ROOT);
    };
    let path = parse_path(path)?;
    let changes = match new_only {
        true => places_to_add(&path, document, &mut steps())?,
        false => match path.locate(document)? {
            found if !found.is_empty() => outermost(found.into_iter().map(|(place, _)| place).collect())
                .into_iter()
                .map(Change::Set)
                .collect(),
            _ if present_only => Vec::new(),
            _ => places_to_add(&path, document, &mut steps())?,
        },
    };
    let written = check_changes(cx, &mut EffectRoom::default(), key, &changes, &value, args.at(3))?;
    if put_all(cx, key, changes, &value, &written, "json.set") {
        cx.reply.ok();
    } else {
        cx.reply.null();
    }
    Ok(())
}

/// FORMAT of JSON.SET and JSON.MERGE, with which RedisJSON also takes BSON.
fn check_format(arg: &[u8]) -> CommandResult {
    if matches!(arg, b"JSON" | b"STRING") { Ok(()) } else { Err("ERR wrong format".into()) }
}

fn is_root(path: &str) -> bool {
    matches!(path, "$" | ".")
}

/// Makes `value` the key's document; a time to live stays. `source` is its text.
fn set_root(cx: &mut Context<'_>, key: &[u8], value: Json, source: &[u8], event: &str) {
    cx.keys.set_keep_ttl(key, Value::Json(value));
    cx.changed(key, Class::Module, event);
    cx.log(&[b"JSON.SET", key, b"$", source]);
}

/// What becomes of one place.
enum Change {
    /// There is a value.
    Set(Location),
    /// There is an object, which gets a field.
    Add(Location, Step),
}

impl Change {
    fn place(&self) -> Location {
        match self {
            Self::Set(place) => place.clone(),
            Self::Add(object, field) => object.with(field.clone()),
        }
    }

    /// Puts a value there; what was there before. `None` if the place is not what it was.
    fn put(&self, document: &mut Json, value: Json) -> Option<Json> {
        match self {
            Self::Set(place) => Some(std::mem::replace(document.at_mut(place.steps())?, value)),
            Self::Add(object, field) => {
                let object = document.at_mut(object.steps())?.as_object_mut()?;
                let Step::Key(name) = field else { return None };
                if object.get(name).is_some() {
                    return None;
                }
                object.insert(name.clone(), value);
                Some(Json::Null)
            }
        }
    }
}

/// Where a field would be added, if the path says so clearly.
fn places_to_add(path: &Path, document: &Json, steps: &mut Steps) -> CommandResult<Vec<Change>> {
    let name = match path.last_if_static() {
        None => return Err("Err wrong static path".into()),
        Some(Last::Index) if path.locate_within(document, steps)?.is_empty() => {
            return Err("ERR array index out of range".into());
        }
        Some(Last::Index) => return Ok(Vec::new()),
        Some(Last::Key(name)) => name,
    };
    let objects = path.locate_parents_within(document, steps)?.into_iter();
    Ok(objects.map(|(object, _)| Change::Add(object, Step::Key(name.clone()))).collect())
}

/// May all the changes be made? Then the text of the value as their effects will have it.
fn check_changes(
    cx: &Context<'_>,
    room: &mut EffectRoom,
    key: &[u8],
    changes: &[Change],
    value: &Json,
    source: &[u8],
) -> CommandResult<String> {
    let mut growth = Growth::new(source.len(), value.depth());
    let written = value.to_text();
    for change in changes {
        let place = change.place();
        growth.check(place.steps().len())?;
        room.check(cx, key, &place, written.len())?;
    }
    Ok(written)
}

/// Makes the changes, tells of them and writes them down, the value as [`check_changes`] has it. False if nothing has changed.
fn put_all(
    cx: &mut Context<'_>,
    key: &[u8],
    changes: Vec<Change>,
    value: &Json,
    written: &str,
    event: &str,
) -> bool {
    let mut done = Vec::new();
    for (count, change) in changes.into_iter().enumerate() {
        let Some(document) = document_mut(cx, key) else { break };
        let value = if count == 0 { value.clone() } else { value.unshared() };
        if let Some(old) = change.put(document, value) {
            done.push(change.place());
            cx.keys.discard(Value::Json(old));
        }
    }
    if done.is_empty() {
        return false;
    }
    cx.changed(key, Class::Module, event);
    for place in done {
        cx.log(&[b"JSON.SET", key, place.to_path().as_bytes(), written.as_bytes()]);
    }
    true
}

pub(super) static JSON_MSET: Command = Command {
    name: "json.mset",
    arity: -4,
    group: Group::Json,
    since: "2.6.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::range(1, -1, 3, UPDATE)],
    summary: "Sets values in several documents at once.",
    complexity: "O(K*(M+N)) for K keys, M being the size of a value and N that of what a path looks at",
    syntax: "key path value [key path value ...]",
    run: mset,
    ..COMMAND
};

fn mset(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (triples, []) = args.from(1).as_chunks::<3>() else {
        return Err(CommandError::Arity(cx.command.full_name.clone()));
    };
    // All places are found before anything changes: those that an earlier change takes away are left out.
    let mut planned = Vec::with_capacity(triples.len());
    let mut room = EffectRoom::default();
    let mut steps = steps();
    for &[key, path, source] in triples {
        let path = text(path)?;
        let document = peek(cx, key)?;
        let changes = match document {
            _ if is_root(path) => None,
            None => return Err(NOT_AT_ROOT),
            Some(document) => {
                let path = parse_path(path)?;
                let found = path.locate_within(document, &mut steps)?;
                Some(if found.is_empty() {
                    places_to_add(&path, document, &mut steps)?
                } else {
                    let places = outermost(found.into_iter().map(|(place, _)| place).collect());
                    places.into_iter().map(Change::Set).collect()
                })
            }
        };
        let value = parse_json(source)?;
        let changes = match changes {
            None => None,
            Some(changes) => {
                let written = check_changes(cx, &mut room, key, &changes, &value, source)?;
                Some((changes, written))
            }
        };
        planned.push((key, changes, value, source));
    }
    for (key, changes, value, source) in planned {
        match changes {
            None => set_root(cx, key, value, source, "json.mset"),
            Some((changes, written)) => {
                put_all(cx, key, changes, &value, &written, "json.mset");
            }
        }
    }
    cx.reply.ok();
    Ok(())
}

pub(super) static JSON_MERGE: Command = Command {
    name: "json.merge",
    arity: -4,
    group: Group::Json,
    since: "2.6.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Merges a value into those that a path means (RFC 7396): null removes a field.",
    complexity: "O(M+N), M being the size of the value and N that of what the path looks at",
    syntax: "key path value",
    run: merge,
    ..COMMAND
};

fn merge(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let (key, path, source) = (args.at(1), text(args.at(2))?, args.at(3));
    let mut at = 4;
    while at < args.len() {
        if !args.is(at, "FORMAT") {
            return Err(CommandError::Syntax);
        }
        check_format(reply::required(args, at + 1, "json.merge")?)?;
        at += 2;
    }
    let document = peek(cx, key)?;
    let patch = parse_json(source)?;
    let Some(document) = document else {
        if !is_root(path) {
            return Err(NOT_AT_ROOT);
        }
        set_root(cx, key, patch, source, "json.merge");
        cx.reply.ok();
        return Ok(());
    };
    let path = parse_path(path)?;
    let found = path.locate(document)?;
    if found.is_empty() {
        let changes = places_to_add(&path, document, &mut steps())?;
        let written = check_changes(cx, &mut EffectRoom::default(), key, &changes, &patch, source)?;
        match put_all(cx, key, changes, &patch, &written, "json.merge") {
            true => cx.reply.ok(),
            false => cx.reply.null(),
        }
        return Ok(());
    }
    let places: Vec<Location> = found.into_iter().map(|(place, _)| place).collect();
    let mut growth = Growth::new(source.len(), patch.depth());
    let mut room = EffectRoom::default();
    for place in &places {
        growth.check(place.steps().len())?;
        room.check(cx, key, place, source.len())?;
    }
    let (mut merged, mut removed) = (Vec::new(), Vec::new());
    for (count, place) in places.into_iter().enumerate() {
        // One that an earlier merge has taken away is left out.
        let value = document_mut(cx, key).and_then(|document| document.at_mut(place.steps()));
        if let Some(value) = value {
            match count {
                0 => value.merge(&patch, &mut removed),
                _ => value.merge(&patch.unshared(), &mut removed),
            }
            merged.push(place);
        }
    }
    for value in removed {
        cx.keys.discard(Value::Json(value));
    }
    if merged.is_empty() {
        cx.reply.null();
        return Ok(());
    }
    cx.changed(key, Class::Module, "json.merge");
    for place in merged {
        cx.log(&[b"JSON.MERGE", key, place.to_path().as_bytes(), source]);
    }
    cx.reply.ok();
    Ok(())
}

pub(super) static JSON_DEL: Command = Command {
    name: "json.del",
    arity: -2,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::Write],
    keys: &[Keys::at(1, DELETE)],
    summary: "Removes the values that a path means; a document that is empty then goes away.",
    complexity: "O(N), N being the size of what the path looks at",
    syntax: "key [path]",
    run: del,
    ..COMMAND
};

pub(super) static JSON_FORGET: Command = Command {
    name: "json.forget",
    arity: -2,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::Write],
    keys: &[Keys::at(1, DELETE)],
    summary: "Another name of JSON.DEL.",
    complexity: "O(N), N being the size of what the path looks at",
    syntax: "key [path]",
    run: del,
    ..COMMAND
};

fn del(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let path = args.get(2).map_or(Ok(DEFAULT_PATH), |arg| text(arg))?;
    let Some(document) = peek(cx, key)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let places = match is_root(path) {
        true => vec![Location::root()],
        false => {
            let found = parse_path(path)?.locate(document)?;
            outermost(found.into_iter().map(|(place, _)| place).collect())
        }
    };
    if places.iter().any(|place| place.steps().is_empty()) {
        cx.delete_key(key, Class::Module, "json.del");
        cx.reply.int(1);
        return Ok(());
    }
    let mut room = EffectRoom::default();
    places.iter().try_for_each(|place| room.check(cx, key, place, 0))?;
    let mut removed = Vec::new();
    let mut empty = false;
    for place in places {
        let Some(document) = document_mut(cx, key) else { break };
        if let Some(value) = document.remove_at(place.steps()) {
            empty = document.is_empty();
            removed.push(place);
            cx.keys.discard(Value::Json(value));
        }
    }
    if !removed.is_empty() && empty {
        cx.delete_key(key, Class::Module, "json.del");
    } else if !removed.is_empty() {
        cx.changed(key, Class::Module, "json.del");
        for place in &removed {
            cx.log(&[b"JSON.DEL", key, place.to_path().as_bytes()]);
        }
    }
    cx.reply.int(removed.len() as i64);
    Ok(())
}

pub(super) static JSON_GET: Command = Command {
    name: "json.get",
    arity: -2,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns the values that paths mean, as text.",
    complexity: "O(N), N being the size of what the paths look at and of what they mean",
    syntax: "key [INDENT indent] [NEWLINE newline] [SPACE space] [path [path ...]]",
    run: get,
    ..COMMAND
};

/// The longest option: anything longer is a path.
const OPTION_LEN_MAX: usize = "NOESCAPE".len();
/// Paths of one JSON.GET at most: each of them may look at the whole document.
const PATHS_MAX: usize = 1024;

fn get(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let resp3 = is_resp3(cx.reply);
    let mut format = Format { len_max: REPLY_LEN_MAX, ..Format::default() };
    let mut shape = Shape::Text;
    let mut paths: Vec<&str> = Vec::new();
    let mut at = 2;
    while at < args.len() {
        let arg = args.at(at);
        let option = |name| arg.len() <= OPTION_LEN_MAX && args.is(at, name);
        let value = || reply::required(args, at + 1, "json.get");
        at += if option("INDENT") {
            format.indent = text(value()?)?.as_bytes();
            2
        } else if option("NEWLINE") {
            format.newline = text(value()?)?.as_bytes();
            2
        } else if option("SPACE") {
            format.space = text(value()?)?.as_bytes();
            2
        } else if option("FORMAT") {
            if !resp3 && paths.is_empty() {
                return Err("ERR FORMAT argument is not supported on RESP2".into());
            }
            shape = Shape::parse(value()?, "STRING")?;
            2
        } else if option("NOESCAPE") {
            // Of RedisJSON 1; nothing is escaped that need not be.
            1
        } else {
            paths.push(text(arg)?);
            1
        };
    }
    if paths.is_empty() {
        paths.push(DEFAULT_PATH);
    }
    if paths.len() > PATHS_MAX {
        return Err("ERR too many paths".into());
    }
    // Not `read`, which would borrow the reply too.
    let Some(document) = cx.keys.get(args.at(1)).map(document_in).transpose()? else {
        cx.reply.null();
        return Ok(());
    };
    let (start, mut steps) = (reply::Start::of(cx.reply), steps());
    let legacy = paths.iter().all(|path| Path::is_legacy_text(path));
    if resp3 && shape != Shape::Text {
        cx.reply.array(paths.len());
        for path in paths {
            let values = match Path::parse(path) {
                Ok(path) => path.select_within(document, &mut steps)?,
                Err(_) => Vec::new(),
            };
            cx.reply.array(values.len());
            for value in values {
                reply::shaped(cx.reply, value, shape, &format, start)?;
            }
        }
        return Ok(());
    }
    if let [path] = paths[..] {
        let values = parse_path(path)?.select_within(document, &mut steps)?;
        return match legacy {
            true => reply::value_text(cx.reply, values.first().ok_or(NO_PATH)?, &format, start),
            false => reply::values_text(cx.reply, &values, &format, start),
        };
    }
    // An object with a field for each path. What is no path is left out.
    let mut found: Vec<(&str, Vec<&Json>)> = Vec::with_capacity(paths.len());
    let mut places = HashMap::with_capacity(paths.len());
    for text in paths {
        let Ok(path) = Path::parse(text) else { continue };
        let values = path.select_within(document, &mut steps)?;
        if legacy && values.is_empty() {
            return Err(NO_PATH);
        }
        let at = *places.entry(text).or_insert(found.len());
        match found.get_mut(at) {
            Some((_, known)) => *known = values,
            None => found.push((text, values)),
        }
    }
    let mut out = Vec::new();
    format.container(&mut out, *b"{}", 0, found.iter(), |out, (path, values)| {
        format.name(out, path);
        match legacy {
            true => values[0].write_formatted(out, &format, 1),
            false => reply::write_values(out, values, &format, 1),
        }
    });
    reply::text(cx.reply, out, start)
}

pub(super) static JSON_MGET: Command = Command {
    name: "json.mget",
    arity: -3,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::ReadOnly],
    keys: &[Keys::range(1, -2, 1, READ)],
    summary: "Returns the values that one path means in several documents.",
    complexity: "O(K*N) for K keys, N being the size of what the path looks at",
    syntax: "key [key ...] path",
    run: mget,
    ..COMMAND
};

fn mget(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let text = text(args.at(args.len() - 1))?;
    let keys = &args[1..args.len() - 1];
    let path = Path::parse(text);
    let format = Format::default();
    let (start, mut steps) = (reply::Start::of(cx.reply), steps());
    cx.reply.array(keys.len());
    for key in keys {
        // What is no document, or has nothing there, is null.
        let document = read(cx, key).ok().flatten().cloned();
        let (Some(document), Ok(path)) = (document, &path) else {
            cx.reply.null();
            continue;
        };
        let values = path.select_within(&document, &mut steps)?;
        match (path.is_legacy(), values.first()) {
            (false, _) => reply::values_text(cx.reply, &values, &format, start)?,
            (true, Some(value)) => reply::value_text(cx.reply, value, &format, start)?,
            (true, None) => cx.reply.null(),
        }
    }
    Ok(())
}
