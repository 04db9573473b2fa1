//! JSON documents, as RedisJSON has them: the same replies, errors and events, in Redis 8's words.
//!
//! `document`: whole documents and parts, in and out; `read`: questions; `array`, `scalar`: changes of what a path means;
//! `edit`: what all changes have in common; `reply`: values as replies.
//!
//! Two notations of paths decide about the shape of a reply. A path that begins with `$` may mean many values, and the reply is
//! a list; a legacy path means the first value it finds, and the reply is that.
//!
//! Effects name the one place that has changed and what is there now, never a path to be evaluated again: `JSON.SET k
//! $["a"][3] 7` is written down of a NUMINCRBY.

mod array;
mod document;
mod edit;
mod read;
mod reply;
mod scalar;
#[cfg(test)]
mod tests;

use cairn_json::{Json, Path, STEPS_MAX, Steps, TooManySteps};

use crate::command::Command;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::value::Value;

/// Every command of the family.
pub(super) const COMMANDS: &[&Command] = &[
    &array::JSON_ARRAPPEND,
    &array::JSON_ARRINSERT,
    &array::JSON_ARRPOP,
    &array::JSON_ARRTRIM,
    &document::JSON_DEL,
    &document::JSON_FORGET,
    &document::JSON_GET,
    &document::JSON_MERGE,
    &document::JSON_MGET,
    &document::JSON_MSET,
    &document::JSON_SET,
    &read::JSON_ARRINDEX,
    &read::JSON_ARRLEN,
    &read::JSON_DEBUG,
    &read::JSON_OBJKEYS,
    &read::JSON_OBJLEN,
    &read::JSON_RESP,
    &read::JSON_STRLEN,
    &read::JSON_TYPE,
    &scalar::JSON_CLEAR,
    &scalar::JSON_NUMINCRBY,
    &scalar::JSON_NUMMULTBY,
    &scalar::JSON_STRAPPEND,
    &scalar::JSON_TOGGLE,
];

/// The path that commands take when none is given.
const DEFAULT_PATH: &str = ".";

/// The steps that one command may make for all its paths and keys. Tests get to the end of them soon.
fn steps() -> Steps {
    Steps::new(if cfg!(test) { 1_000_000 } else { STEPS_MAX })
}

const NO_KEY: CommandError =
    CommandError::new("ERR could not perform this operation on a key that doesn't exist");
const NO_PATH: CommandError = CommandError::new("ERR Path does not exist");
const NOT_AT_ROOT: CommandError = CommandError::new("ERR new objects must be created at the root");
const NOT_INTEGER: CommandError = CommandError::new("Couldn't parse as integer");

/// No value is at the path, or none that the command can work with.
fn no_path_or(what: &str) -> CommandError {
    format!("ERR Path does not exist or {what}").into()
}

/// The value at the path is of another type.
fn wrong_type_of_value(expected: &str) -> CommandError {
    format!("WRONGTYPE wrong type of path value - expected {expected}").into()
}

impl From<TooManySteps> for CommandError {
    fn from(_: TooManySteps) -> Self {
        Self::new("ERR the path means too many values")
    }
}

fn text(arg: &[u8]) -> CommandResult<&str> {
    std::str::from_utf8(arg).map_err(|_| CommandError::new("Couldn't parse as UTF-8 string"))
}

fn parse_path(text: &str) -> CommandResult<Path> {
    Path::parse(text).map_err(|error| error.to_string().into())
}

fn parse_json(arg: &[u8]) -> CommandResult<Json> {
    Json::parse(text(arg)?).map_err(|error| error.to_string().into())
}

/// [`parse_json`] for what something is done with: RedisJSON words those errors otherwise.
fn parse_operand(arg: &[u8]) -> CommandResult<Json> {
    Json::parse(text(arg)?).map_err(|error| format!("ERR {error}").into())
}

/// The document in a value.
fn document_in(value: &Value) -> CommandResult<&Json> {
    match value {
        Value::Json(document) => Ok(document),
        _ => Err("Existing key has wrong Redis type".into()),
    }
}

/// The document at the key, for a command that reads it.
fn read<'a>(cx: &'a Context<'_>, key: &[u8]) -> CommandResult<Option<&'a Json>> {
    cx.keys.get(key).map(document_in).transpose()
}

/// The document at the key, for a command that goes on to change it.
fn peek<'a>(cx: &'a Context<'_>, key: &[u8]) -> CommandResult<Option<&'a Json>> {
    cx.keys.peek(key).map(document_in).transpose()
}

/// The document at the key, to be changed, where [`peek`] has found one.
fn document_mut<'a>(cx: &'a mut Context<'_>, key: &[u8]) -> Option<&'a mut Json> {
    match cx.keys.get_mut(key) {
        Some(Value::Json(document)) => Some(document),
        _ => None,
    }
}
