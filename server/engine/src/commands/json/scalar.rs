//! Changes of numbers, strings and booleans, and JSON.CLEAR.

use cairn_json::{Json, NumberError, NumberOp, Path, Text};

use super::edit::{Edit, Growth};
use super::reply::{self, REPLY_LEN_MAX, is_resp3};
use super::{DEFAULT_PATH, parse_operand, text, wrong_type_of_value};
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group, Keys, READ_UPDATE, UPDATE};
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::value::Value;

/// What is there now, as an effect.
fn as_set(place: &str, value: &Json) -> Vec<Vec<u8>> {
    vec![b"JSON.SET".to_vec(), place.into(), value.to_text().into_bytes()]
}

pub(super) static JSON_NUMINCRBY: Command = Command {
    name: "json.numincrby",
    arity: 4,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::Write],
    keys: &[Keys::at(1, READ_UPDATE)],
    summary: "Adds to the numbers that a path means.",
    complexity: "O(N), N being the size of what the path looks at",
    syntax: "key path value:double",
    run: numincrby,
    ..COMMAND
};

pub(super) static JSON_NUMMULTBY: Command = Command {
    name: "json.nummultby",
    arity: 4,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::Write],
    keys: &[Keys::at(1, READ_UPDATE)],
    summary: "Multiplies the numbers that a path means.",
    complexity: "O(N), N being the size of what the path looks at",
    syntax: "key path value:double",
    run: nummultby,
    ..COMMAND
};

fn numincrby(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    calculate(cx, args, NumberOp::Add, "json.numincrby")
}

fn nummultby(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    calculate(cx, args, NumberOp::Multiply, "json.nummultby")
}

fn calculate(cx: &mut Context<'_>, args: Args<'_>, op: NumberOp, event: &'static str) -> CommandResult {
    let path = text(args.at(2))?;
    let operand_text = text(args.at(3))?;
    // What it is matters only once there is a number.
    let operand = parse_operand(operand_text.as_bytes());
    let edited = Edit { key: args.at(1), path, event, innermost_first: false, given: &[] }.run(
        cx,
        |_, value| {
            if !value.is_number() {
                return Ok(false);
            }
            match op.apply(value, operand.as_ref().map_err(CommandError::clone)?) {
                Ok(_) => Ok(true),
                Err(NumberError::NotNumber) => Err("bad input number".into()),
                Err(NumberError::OutOfRange) => Err("ERR result is not a number".into()),
                Err(NumberError::Overflow) => Err("ERR numeric overflow".into()),
            }
        },
        |value| {
            // It can fail for a number that the path means twice: then it was changed once.
            *value = op.apply(value, operand.as_ref().ok()?).ok()?;
            Some(value.clone())
        },
        |place, value, _| as_set(place, value),
    )?;
    if is_resp3(cx.reply) {
        cx.reply.array(edited.results.len());
        for result in edited.results {
            match result {
                Some(Json::Int(value)) => cx.reply.int(value),
                Some(number) => cx.reply.double(number.as_f64().unwrap_or_default()),
                None => cx.reply.null(),
            }
        }
    } else if Path::is_legacy_text(path) {
        let result = edited.into_last("does not contains a number")?;
        cx.reply.bulk(result.to_text().as_bytes());
    } else {
        let results: Vec<Json> = edited.results.into_iter().map(Option::unwrap_or_default).collect();
        cx.reply.bulk(Json::array(results).to_text().as_bytes());
    }
    Ok(())
}

pub(super) static JSON_TOGGLE: Command = Command {
    name: "json.toggle",
    arity: 3,
    group: Group::Json,
    since: "2.0.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, READ_UPDATE)],
    summary: "Turns the booleans round that a path means.",
    complexity: "O(N), N being the size of what the path looks at",
    syntax: "key path",
    run: toggle,
    ..COMMAND
};

fn toggle(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let path = text(args.at(2))?;
    let edited = Edit { key: args.at(1), path, event: "json.toggle", innermost_first: false, given: &[] }
        .run(
            cx,
            |_, value| Ok(matches!(value, Json::Bool(_))),
            |value| {
                let Json::Bool(flag) = value else { return None };
                *flag = !*flag;
                Some(*flag)
            },
            |place, value, _| as_set(place, value),
        )?;
    if Path::is_legacy_text(path) {
        let flag = edited.into_last("not a bool")?;
        cx.reply.bulk(if flag { b"true" } else { b"false" });
    } else {
        reply::ints(cx.reply, edited.results.into_iter().map(|flag| flag.map(i64::from)));
    }
    Ok(())
}

pub(super) static JSON_STRAPPEND: Command = Command {
    name: "json.strappend",
    arity: -3,
    group: Group::Json,
    since: "1.0.0",
    flags: &[Flag::Write, Flag::DenyOom],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Appends to the strings that a path means.",
    complexity: "O(N), N being the size of what the path looks at and of the strings",
    syntax: "key [path] value",
    run: strappend,
    ..COMMAND
};

fn strappend(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let first = text(args.at(2))?;
    let (path, source) = match args.get(3) {
        Some(arg) => (first, text(arg)?),
        None => (DEFAULT_PATH, first),
    };
    let suffix = parse_operand(source.as_bytes());
    let mut growth = Growth::new(source.len(), 0);
    let edited = Edit {
        key: args.at(1),
        path,
        event: "json.strappend",
        innermost_first: false,
        given: &[source.as_bytes()],
    }
    .run(
        cx,
        |place, value| {
            let Some(old) = value.as_str() else { return Ok(false) };
            match &suffix {
                Ok(Json::Str(suffix)) if old.len() + suffix.len() > REPLY_LEN_MAX => {
                    Err("ERR string exceeds maximum allowed size (proto-max-bulk-len)".into())
                }
                Ok(Json::Str(_)) => growth.check(place.steps().len()).map(|()| true),
                Ok(_) => Err(wrong_type_of_value("string")),
                Err(error) => Err(error.clone()),
            }
        },
        |value| {
            let (Some(old), Ok(Json::Str(suffix))) = (value.as_str(), &suffix) else { return None };
            let longer = [old, suffix].concat();
            *value = Json::Str(Text::new(&longer));
            Some(longer.len() as i64)
        },
        |place, _, _| vec![b"JSON.STRAPPEND".to_vec(), place.into(), source.into()],
    )?;
    if Path::is_legacy_text(path) {
        cx.reply.int(edited.into_last("not a string")?);
    } else {
        reply::ints(cx.reply, edited.results.into_iter());
    }
    Ok(())
}

pub(super) static JSON_CLEAR: Command = Command {
    name: "json.clear",
    arity: -2,
    group: Group::Json,
    since: "2.0.0",
    flags: &[Flag::Write],
    keys: &[Keys::at(1, UPDATE)],
    summary: "Empties the arrays and objects that a path means, and sets its numbers to 0.",
    complexity: "O(N), N being the size of what the path looks at",
    syntax: "key [path]",
    run: clear,
    ..COMMAND
};

fn clear(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let path = args.get(2).map_or(Ok(DEFAULT_PATH), |arg| text(arg))?;
    let is_zero = |value: &Json| value.as_f64() == Some(0.0);
    let edited = Edit { key: args.at(1), path, event: "json.clear", innermost_first: false, given: &[] }
        .run(
            cx,
            |_, value| Ok(value.len().is_some_and(|len| len > 0) || value.is_number() && !is_zero(value)),
            |value| {
                let cleared = match value {
                    Json::Array(_) => Json::array(Vec::new()),
                    Json::Object(_) => Json::Object(cairn_json::Object::new()),
                    _ => Json::Int(0),
                };
                Some(std::mem::replace(value, cleared))
            },
            |place, value, _| as_set(place, value),
        )?;
    let old: Vec<Json> = edited.results.into_iter().flatten().collect();
    cx.reply.int(old.len() as i64);
    cx.keys.discard(Value::Json(Json::array(old)));
    Ok(())
}
