//! `redis.register_function`: what a library does while it is loaded, and all that it can do then beside logging.

use mlua::ffi;
use std::ffi::c_int;

use super::ScriptFlags;
use super::api::{self, Api, fail};
use super::library::NAME_RULE;
use super::library::is_name;
use super::stack::{FUNCTION, NIL, NUMBER, Results, STRING, Stack, TABLE};

/// A function that a library has registered.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) name: Vec<u8>,
    pub(super) description: Option<Vec<u8>>,
    pub(super) flags: ScriptFlags,
    /// The reference of the Lua function.
    pub(super) callback: c_int,
}

/// Pushes the table `redis`, or `server`, that a library sees while it is loaded.
pub(super) fn push(api: Api) {
    api.stack.new_table();
    api.register("register_function", register_function);
    api::add_log(api);
    api::add_version(api.stack);
}

/// Where the parts of a function are gathered on the stack, above the arguments.
const NAME: c_int = 3;
const DESCRIPTION: c_int = 4;
const CALLBACK: c_int = 5;

fn register_function(stack: Stack) -> Results {
    // SAFETY: set for as long as the interpreter lives; nothing of it is borrowed here while Lua is called.
    let loading = unsafe { (*stack.shared()).registering.is_some() };
    if !loading {
        return Err(fail(stack, "redis.register_function can only be called on FUNCTION LOAD command"));
    }
    let arguments = stack.top();
    stack.set_top(CALLBACK);
    let read = match arguments {
        1 => named(stack),
        2 => positional(stack),
        _ => Err("wrong number of arguments to redis.register_function"),
    };
    read.and_then(|flags| add(stack, flags)).map_err(|message| fail(stack, message))?;
    Ok(0)
}

/// `register_function('name', callback)`.
fn positional(stack: Stack) -> Result<ScriptFlags, &'static str> {
    if !matches!(stack.type_of(1), STRING | NUMBER) {
        return Err("first argument to redis.register_function must be a string");
    }
    if stack.type_of(2) != FUNCTION {
        return Err("second argument to redis.register_function must be a function");
    }
    stack.push_copy(1);
    stack.replace(NAME);
    stack.push_copy(2);
    stack.replace(CALLBACK);
    Ok(ScriptFlags::default())
}

/// `register_function{function_name=…, callback=…, description=…, flags={…}}`.
fn named(stack: Stack) -> Result<ScriptFlags, &'static str> {
    if stack.type_of(1) != TABLE {
        return Err(
            "calling redis.register_function with a single argument is only applicable to Lua table \
                    (representing named arguments).",
        );
    }
    let mut flags = ScriptFlags::default();
    stack.push_nil();
    while stack.next(1) {
        let key = match stack.type_of(-2) {
            STRING => stack.bytes(-2).expect("a string"),
            // A number would do as a string, but is none of the names.
            NUMBER => b"",
            _ => return Err("named argument key given to redis.register_function is not a string"),
        };
        let kind = stack.type_of(-1);
        let is_text = matches!(kind, STRING | NUMBER);
        if key.eq_ignore_ascii_case(b"function_name") {
            if !is_text {
                return Err("function_name argument given to redis.register_function must be a string");
            }
            stack.replace(NAME);
        } else if key.eq_ignore_ascii_case(b"description") {
            if !is_text {
                return Err("description argument given to redis.register_function must be a string");
            }
            stack.replace(DESCRIPTION);
        } else if key.eq_ignore_ascii_case(b"callback") {
            if kind != FUNCTION {
                return Err("callback argument given to redis.register_function must be a function");
            }
            stack.replace(CALLBACK);
        } else if key.eq_ignore_ascii_case(b"flags") {
            if kind != TABLE {
                return Err(
                    "flags argument to redis.register_function must be a table representing function flags",
                );
            }
            flags = read_flags(stack).ok_or("unknown flag given")?;
            stack.pop(1);
        } else {
            return Err("unknown argument given to redis.register_function");
        }
    }
    if stack.type_of(NAME) == NIL {
        return Err("redis.register_function must get a function name argument");
    }
    if stack.type_of(CALLBACK) == NIL {
        return Err("redis.register_function must get a callback argument");
    }
    Ok(flags)
}

/// The flags in the table on top.
fn read_flags(stack: Stack) -> Option<ScriptFlags> {
    let table = stack.top();
    let mut flags = ScriptFlags::default();
    for index in 1.. {
        stack.raw_get_index(table, index);
        match stack.type_of(-1) {
            NIL => break,
            STRING if flags.set(&stack.bytes(-1).expect("a string").to_ascii_lowercase()) => {}
            _ => return None,
        }
        stack.pop(1);
    }
    stack.set_top(table);
    Some(flags)
}

/// Adds the function whose parts are on the stack.
fn add(stack: Stack, flags: ScriptFlags) -> Result<(), &'static str> {
    // These turn numbers into text, which takes memory of Lua's; so it comes first.
    let name = stack.bytes(NAME).unwrap_or_default();
    let description = stack.bytes(DESCRIPTION);
    if !is_name(name) {
        return Err(NAME_RULE);
    }
    let exists = {
        // SAFETY: as in `register_function`.
        let registering = unsafe { &(*stack.shared()).registering };
        let mut others = registering.iter().flatten();
        // Functions are called in any case of letters. Redis compares exactly here, and crashes later.
        others.any(|other| other.name.eq_ignore_ascii_case(name))
    };
    if exists {
        return Err("Function already exists in the library");
    }
    stack.push_copy(CALLBACK);
    let callback = stack.reference(ffi::LUA_REGISTRYINDEX);
    let function = Registered {
        name: name.to_vec(),
        description: description.map(<[u8]>::to_vec),
        flags: ScriptFlags { declared: true, ..flags },
        callback,
    };
    // SAFETY: as in `register_function`.
    let registering = unsafe { &mut (*stack.shared()).registering };
    registering.as_mut().expect("a library is being loaded").push(function);
    Ok(())
}
