//! The `cjson` library (lua-cjson 2.1.0, as bundled with Redis): encoding. Decoding is in [`super::cjson_decode`].
//!
//! An empty table is `{}`, numbers are `%.14g`, a table with integer keys from 1 is an array (holes are `null`)
//! unless it is too sparse, which is an error. `cjson.null` is a light userdata of NULL. The settings
//! (`encode_sparse_array` and so on) live as long as the interpreter; `cjson.new()` makes a library with its own.

use mlua::ffi;

use super::cjson_decode::decode;
use super::number;
use super::stack::{BOOLEAN, LIGHT_USERDATA, NIL, NUMBER, Raise, Results, STRING, Stack, TABLE};
use super::vm::Shared;
use super::{JSON_NESTING_MAX, LIBRARY_BYTES_MAX};

/// What the library's setter functions set. Kept in a Lua userdata, the second upvalue of every function.
#[derive(Clone, Copy)]
pub(super) struct Config {
    sparse_convert: i32,
    sparse_ratio: i32,
    sparse_safe: i32,
    encode_max_depth: i32,
    encode_invalid_numbers: i32,
    number_precision: i32,
    keep_buffer: i32,
    pub(super) decode_invalid_numbers: i32,
    pub(super) decode_max_depth: i32,
}

const DEFAULTS: Config = Config {
    sparse_convert: 0,
    sparse_ratio: 2,
    sparse_safe: 10,
    encode_max_depth: 1000,
    encode_invalid_numbers: INVALID_REFUSED,
    number_precision: 14,
    keep_buffer: 1,
    decode_invalid_numbers: 1,
    decode_max_depth: 1000,
};

const INVALID_REFUSED: i32 = 0;
const INVALID_AS_TEXT: i32 = 1;

/// Pushes the library's table, with default settings.
pub(super) fn push(stack: Stack, shared: *mut Shared) {
    stack.new_table();
    // SAFETY: the block is large enough and aligned (Lua aligns userdata for doubles), and Config is plain data.
    unsafe { ffi::lua_newuserdata(stack.raw(), size_of::<Config>()).cast::<Config>().write(DEFAULTS) };
    register(stack, shared, "encode", encode);
    register(stack, shared, "decode", decode);
    register(stack, shared, "encode_sparse_array", |s| {
        let config = arguments(s, 3)?;
        choice(s, 1, &mut config.sparse_convert, ON_OFF, 1)?;
        integer(s, 2, &mut config.sparse_ratio, 0, i32::MAX)?;
        integer(s, 3, &mut config.sparse_safe, 0, i32::MAX)?;
        Ok(3)
    });
    register(stack, shared, "encode_max_depth", |s| {
        integer(s, 1, &mut arguments(s, 1)?.encode_max_depth, 1, i32::MAX)
    });
    register(stack, shared, "decode_max_depth", |s| {
        integer(s, 1, &mut arguments(s, 1)?.decode_max_depth, 1, i32::MAX)
    });
    register(stack, shared, "encode_number_precision", |s| {
        integer(s, 1, &mut arguments(s, 1)?.number_precision, 1, 14)
    });
    // The buffer is always kept; the setting is only remembered.
    register(stack, shared, "encode_keep_buffer", |s| {
        choice(s, 1, &mut arguments(s, 1)?.keep_buffer, ON_OFF, 1)
    });
    register(stack, shared, "encode_invalid_numbers", |s| {
        choice(s, 1, &mut arguments(s, 1)?.encode_invalid_numbers, &["off", "on", "null"], 1)
    });
    register(stack, shared, "decode_invalid_numbers", |s| {
        choice(s, 1, &mut arguments(s, 1)?.decode_invalid_numbers, ON_OFF, 1)
    });
    register(stack, shared, "new", |s| {
        push(s, s.shared());
        Ok(1)
    });
    stack.pop(1);
    stack.push_null();
    stack.raw_set_field(b"null");
    for (name, text) in [("_NAME", "cjson"), ("_VERSION", "2.1.0")] {
        stack.push_bytes(text.as_bytes());
        stack.raw_set_field(name.as_bytes());
    }
}

/// Adds a function to the table below the configuration on top.
fn register<F: super::stack::Entry>(stack: Stack, shared: *mut Shared, name: &str, function: F) {
    stack.push_bytes(name.as_bytes());
    stack.push_copy(-2);
    stack.push_function(shared, 1, function);
    stack.raw_set(-4);
}

/// The settings of the library that the running function belongs to.
pub(super) fn config<'a>(stack: Stack) -> &'a mut Config {
    // SAFETY: registered with the userdata of `push` as second upvalue, which lives as long as the function; only
    // one library function runs at a time.
    unsafe { &mut *ffi::lua_touserdata(stack.raw(), Stack::upvalue(2)).cast::<Config>() }
}

/// Checks the number of arguments of a setter.
fn arguments<'a>(stack: Stack, max: i32) -> Result<&'a mut Config, Raise> {
    if stack.top() > max {
        return Err(Raise::arg(max + 1, "found too many arguments"));
    }
    stack.set_top(max);
    Ok(config(stack))
}

/// Sets an integer setting if argument `index` is there, and pushes what it now is.
fn integer(stack: Stack, index: i32, setting: &mut i32, min: i32, max: i32) -> Results {
    if stack.type_of(index) != NIL {
        let value = stack.check_integer(index)? as i32;
        if !(min..=max).contains(&value) {
            return Err(Raise::arg(1, format!("expected integer between {min} and {max}")));
        }
        *setting = value;
    }
    stack.push_number((*setting).into());
    Ok(1)
}

const ON_OFF: &[&str] = &["off", "on"];

/// Sets a setting to one of `options` (or by a boolean, true meaning `on`) and pushes what it now is.
fn choice(stack: Stack, index: i32, setting: &mut i32, options: &'static [&'static str], on: i32) -> Results {
    match stack.type_of(index) {
        NIL => {}
        BOOLEAN => *setting = if stack.boolean(index) { on } else { 0 },
        _ => {
            let name = stack.check_bytes(index)?;
            let found = options.iter().position(|option| option.as_bytes() == name);
            *setting = found.ok_or_else(|| {
                Raise::arg(index, format!("invalid option '{}'", String::from_utf8_lossy(name)))
            })? as i32;
        }
    }
    if *setting == 0 || *setting == on {
        stack.push_bool(*setting == on);
    } else {
        stack.push_bytes(options[*setting as usize].as_bytes());
    }
    Ok(1)
}

fn encode(stack: Stack) -> Results {
    if stack.top() != 1 {
        return Err(Raise::arg(1, "expected 1 argument"));
    }
    let out = stack.scratch();
    append(stack, config(stack), out, 0)?;
    stack.push_bytes(out);
    Ok(1)
}

fn refuse(stack: Stack, index: i32, reason: &str) -> Raise {
    Raise::at(format!("Cannot serialise {}: {reason}", stack.type_name(index)))
}

/// Appends the value on top.
fn append(stack: Stack, config: &Config, out: &mut Vec<u8>, depth: i32) -> Result<(), Raise> {
    if out.len() > LIBRARY_BYTES_MAX {
        return Err(refuse(stack, -1, "result too large"));
    }
    match stack.type_of(-1) {
        STRING => append_string(out, stack.bytes(-1).expect("a string")),
        NUMBER => append_number(stack, config, out, -1)?,
        BOOLEAN => out.extend_from_slice(if stack.boolean(-1) { b"true" } else { b"false" }),
        TABLE => {
            let depth = depth + 1;
            if depth > config.encode_max_depth.min(JSON_NESTING_MAX) || !stack.check(6) {
                return Err(Raise::at(format!("Cannot serialise, excessive nesting ({depth})")));
            }
            match array_length(stack, config)? {
                Some(len) if len > 0 => append_array(stack, config, out, depth, len)?,
                _ => append_object(stack, config, out, depth)?,
            }
        }
        NIL => out.extend_from_slice(b"null"),
        LIGHT_USERDATA if stack.is_null(-1) => out.extend_from_slice(b"null"),
        _ => return Err(refuse(stack, -1, "type not supported")),
    }
    Ok(())
}

fn append_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'/' => out.extend_from_slice(b"\\/"),
            8 => out.extend_from_slice(b"\\b"),
            9 => out.extend_from_slice(b"\\t"),
            10 => out.extend_from_slice(b"\\n"),
            12 => out.extend_from_slice(b"\\f"),
            13 => out.extend_from_slice(b"\\r"),
            0..=31 | 127 => {
                let digit = |n: u8| b"0123456789abcdef"[usize::from(n)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

fn append_number(stack: Stack, config: &Config, out: &mut Vec<u8>, index: i32) -> Result<(), Raise> {
    let n = stack.number(index);
    if !n.is_finite() {
        match config.encode_invalid_numbers {
            INVALID_REFUSED => return Err(refuse(stack, index, "must not be NaN or Inf")),
            INVALID_AS_TEXT if n.is_nan() => {
                out.extend_from_slice(b"nan");
                return Ok(());
            }
            INVALID_AS_TEXT => {}
            _ => {
                out.extend_from_slice(b"null");
                return Ok(());
            }
        }
    }
    number::append_g(out, n, config.number_precision as usize);
    Ok(())
}

/// The largest key of the table on top if its keys are all integers from 1, and dense enough; None for an object.
fn array_length(stack: Stack, config: &Config) -> Result<Option<i32>, Raise> {
    let table = stack.top();
    let (mut max, mut items) = (0i32, 0i32);
    stack.push_nil();
    while stack.next(table) {
        let key = if stack.type_of(-2) == NUMBER { stack.number(-2) } else { 0.0 };
        if key.floor() != key || key < 1.0 {
            stack.set_top(table);
            return Ok(None);
        }
        // A key past the range is as sparse as can be, whatever its exact value.
        max = max.max(key as i32);
        items = items.saturating_add(1);
        stack.pop(1);
    }
    let sparse = config.sparse_ratio > 0
        && i64::from(max) > i64::from(items) * i64::from(config.sparse_ratio)
        && max > config.sparse_safe;
    if !sparse {
        return Ok(Some(max));
    }
    if config.sparse_convert == 0 {
        return Err(refuse(stack, -1, "excessively sparse array"));
    }
    Ok(None)
}

fn append_array(stack: Stack, config: &Config, out: &mut Vec<u8>, depth: i32, len: i32) -> Result<(), Raise> {
    let table = stack.top();
    out.push(b'[');
    for index in 1..=len {
        if index > 1 {
            out.push(b',');
        }
        stack.raw_get_index(table, index);
        append(stack, config, out, depth)?;
        stack.pop(1);
    }
    out.push(b']');
    Ok(())
}

fn append_object(stack: Stack, config: &Config, out: &mut Vec<u8>, depth: i32) -> Result<(), Raise> {
    let table = stack.top();
    out.push(b'{');
    let mut first = true;
    stack.push_nil();
    while stack.next(table) {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        match stack.type_of(-2) {
            NUMBER => {
                out.push(b'"');
                append_number(stack, config, out, -2)?;
                out.extend_from_slice(b"\":");
            }
            STRING => {
                append_string(out, stack.bytes(-2).expect("a string"));
                out.push(b':');
            }
            _ => return Err(refuse(stack, -2, "table key must be a number or string")),
        }
        append(stack, config, out, depth)?;
        stack.pop(1);
    }
    out.push(b'}');
    Ok(())
}
