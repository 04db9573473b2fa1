//! The Lua state that scripts run in: the globals of Redis's scripts and nothing else, and nothing to be changed.
//!
//! Redis patches Lua with a read-only flag for tables. Stock Lua has none, so what a script gets is an empty *proxy*
//! of each shared table: reads fall through to the real table by `__index` (a table, so no call is made), writes
//! meet `__newindex`. The functions that would see through a proxy (`next`, `pairs`, `rawget`, `rawset`,
//! `getmetatable`, `setmetatable`, `table.insert`) are replaced by ones that know proxies by a key in their
//! metatable that no script can make. No script ever holds a real table.
//!
//! Absent on purpose: `print`, `dofile`, `loadfile`, `require`, `io`, `debug`; and `getfenv`, `setfenv`, `newproxy`, which
//! patched releases of Redis do not have any more either.

use mlua::ffi::{self, lua_State};
use mlua::{Lua, LuaOptions, StdLib};
use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use super::api::Api;
use super::stack::{FUNCTION, NIL, NUMBER, Raise, Results, STRING, Stack, TABLE};
use super::vm::{Environment, Shared};
use super::{api, bit, cjson, cmsgpack, random, register, structs};

/// What is left of the globals that Lua's own libraries define, apart from the replaced ones.
const BUILTINS: &[&str] = &[
    "assert",
    "collectgarbage",
    "coroutine",
    "error",
    "gcinfo",
    "ipairs",
    "math",
    "os",
    "rawequal",
    "select",
    "string",
    "table",
    "tonumber",
    "tostring",
    "type",
    "unpack",
    "xpcall",
    "_VERSION",
];

/// The library tables among the globals.
const LIBRARIES: &[&str] =
    &["bit", "cjson", "cmsgpack", "coroutine", "math", "os", "redis", "server", "string", "struct", "table"];

const READONLY: &str = "Attempt to modify a readonly table";

/// In a proxy's metatable, under the address of this: the real table.
static REAL: u8 = 0;
/// In a proxy's metatable, under the address of this: what `getmetatable` answers.
static SHOWN_METATABLE: u8 = 1;

fn key(of: &'static u8) -> *mut c_void {
    ptr::from_ref(of).cast_mut().cast()
}

/// A fresh sandbox whose functions know `shared`, which must outlive it.
///
/// Leaves in `shared` the references of the real globals and of the error handler.
pub(super) fn new_lua(shared: *mut Shared) -> mlua::Result<Lua> {
    let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
    let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(true))?;
    let state = lua.exec_raw_lua(|raw| raw.state());
    // SAFETY: the state is live; `build` runs protected, with `shared` as its only argument.
    let status = unsafe { ffi::lua_cpcall(state, build, shared.cast()) };
    if status == ffi::LUA_OK {
        return Ok(lua);
    }
    // SAFETY: cpcall left the error message on the stack.
    let message = unsafe { Stack::new(state) }.text(-1).into_owned();
    Err(mlua::Error::MemoryError(message))
}

/// # Safety
/// Called by `lua_cpcall` with a pointer to [`Shared`].
unsafe extern "C-unwind" fn build(l: *mut lua_State) -> c_int {
    // SAFETY: as said above; everything below works on this C function's stack.
    unsafe {
        let shared: *mut Shared = ffi::lua_touserdata(l, 1).cast();
        let stack = Stack::new(l);

        // 2: the real globals, a fresh table with what is wanted of the old ones.
        stack.new_table();
        for name in BUILTINS {
            stack.raw_get_field(ffi::LUA_GLOBALSINDEX, name.as_bytes());
            stack.raw_set_field(name.as_bytes());
        }
        for (name, function) in [
            ("loadstring", load_string as ffi::lua_CFunction),
            ("load", load_function),
            ("next", next),
            ("rawget", raw_get),
            ("rawset", raw_set),
            ("pcall", protected_call),
        ] {
            ffi::lua_pushcclosure(l, function, 0);
            stack.raw_set_field(name.as_bytes());
        }
        ffi::lua_pushcclosure(l, next, 0);
        ffi::lua_pushcclosure(l, pairs, 1);
        stack.raw_set_field(b"pairs");
        stack.raw_get_field(ffi::LUA_GLOBALSINDEX, b"setmetatable");
        ffi::lua_pushcclosure(l, set_metatable, 1);
        stack.raw_set_field(b"setmetatable");
        ffi::lua_pushcclosure(l, error_handler, 0);
        stack.push_copy(-1);
        (*shared).error_handler = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
        if (*shared).environment == Environment::Scripts {
            stack.raw_set_field(b"__redis__err__handler");
        } else {
            stack.pop(1);
        }

        // The libraries that Lua does not have.
        for (name, push) in [
            ("bit", bit::push as fn(Stack, *mut Shared)),
            ("cjson", cjson::push),
            ("cmsgpack", cmsgpack::push),
            ("struct", structs::push),
            ("redis", api::push),
            ("server", api::push_server),
        ] {
            push(stack, shared);
            stack.raw_set_field(name.as_bytes());
        }
        // And what differs in those it has.
        stack.raw_get_field(2, b"math");
        random::register(stack, shared);
        stack.pop(1);
        stack.raw_get_field(2, b"table");
        let table = stack.top();
        stack.raw_get_field(table, b"insert");
        ffi::lua_pushcclosure(l, table_insert, 1);
        stack.raw_set_field(b"insert");
        stack.pop(1);
        stack.raw_get_field(2, b"os");
        let os = stack.top();
        stack.new_table();
        stack.raw_get_field(os, b"clock");
        stack.raw_set_field(b"clock");
        stack.remove(os);
        // [2 globals, 3 os]: in place under its name.
        ffi::lua_setfield(l, 2, c"os".as_ptr());

        for name in LIBRARIES {
            stack.raw_get_field(2, name.as_bytes());
            stack.push_nil();
            push_proxy(l);
            stack.push_bytes(name.as_bytes());
            stack.insert(-2);
            stack.raw_set(2);
        }

        // Strings: methods by the real table, the metatable shown only as a proxy.
        stack.new_table();
        stack.raw_get_field(2, b"string");
        stack.raw_set_field(b"__index");
        stack.push_nil();
        push_proxy(l);
        ffi::lua_pushcclosure(l, get_metatable, 1);
        ffi::lua_setfield(l, 2, c"getmetatable".as_ptr());

        // The globals: a missing one is an error.
        stack.new_table();
        stack.push_function(shared, 0, missing_global);
        stack.raw_set_field(b"__index");
        stack.push_copy(-1);
        ffi::lua_setmetatable(l, 2);
        stack.push_nil();
        push_proxy(l);
        // [2 globals, 3 proxy of their metatable]
        stack.push_copy(2);
        stack.insert(3);
        push_proxy(l);
        stack.push_copy(-1);
        ffi::lua_setfield(l, 2, c"_G".as_ptr());
        ffi::lua_getmetatable(l, -1);
        (*shared).proxy_metatable = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
        ffi::lua_replace(l, ffi::LUA_GLOBALSINDEX);
        stack.push_copy(2);
        (*shared).globals = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
        if (*shared).environment == Environment::Functions {
            build_load_globals(stack, shared);
        }
        0
    }
}

/// Makes the globals that a library sees while it is loaded: a `redis` table of its own, and nothing else.
///
/// # Safety
/// Part of `build`.
unsafe fn build_load_globals(stack: Stack, shared: *mut Shared) {
    // SAFETY: as said above.
    unsafe {
        let l = stack.raw();
        let globals = stack.top() + 1;
        stack.new_table();
        stack.new_table();
        stack.push_function(shared, 0, missing_global);
        stack.raw_set_field(b"__index");
        for (name, is_server) in [(c"redis", false), (c"server", true)] {
            register::push(Api { stack, shared, is_server });
            // [globals, metatable, redis]
            stack.push_copy(globals + 1);
            ffi::lua_setmetatable(l, -2);
            stack.push_nil();
            push_proxy(l);
            ffi::lua_setfield(l, globals, name.as_ptr());
        }
        ffi::lua_setmetatable(l, globals);
        (*shared).load_globals = ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
    }
}

/// Makes the global variables, of functions that are compiled already too, those of the table with this reference.
///
/// # Safety
/// Within a C function of the state of `shared`, with room for four more values.
pub(super) unsafe fn show_globals(l: *mut lua_State, shared: *mut Shared, globals: c_int) {
    // SAFETY: as said above. Only keys that are there are assigned.
    unsafe {
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, (*shared).proxy_metatable as _);
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, globals as _);
        ffi::lua_pushlightuserdata(l, key(&REAL));
        ffi::lua_pushvalue(l, -2);
        ffi::lua_rawset(l, -4);
        ffi::lua_setfield(l, -2, c"__index".as_ptr());
        ffi::lua_settop(l, -2);
    }
}

/// The globals are again those that functions see when they run.
///
/// # Safety
/// Called by `lua_cpcall` with a pointer to [`Shared`].
pub(super) unsafe extern "C-unwind" fn show_run_globals(l: *mut lua_State) -> c_int {
    // SAFETY: as said above.
    unsafe {
        let shared: *mut Shared = ffi::lua_touserdata(l, 1).cast();
        show_globals(l, shared, (*shared).globals);
        0
    }
}

/// Replaces the real table and the metatable to show (or nil), both on top, by a proxy.
///
/// # Safety
/// Within a C function with room for six more values.
unsafe fn push_proxy(l: *mut lua_State) {
    // SAFETY: as said above. Stack: real, shown.
    unsafe {
        ffi::lua_createtable(l, 0, 0);
        ffi::lua_createtable(l, 0, 4);
        // real, shown, proxy, metatable
        ffi::lua_pushvalue(l, -4);
        ffi::lua_setfield(l, -2, c"__index".as_ptr());
        ffi::lua_pushcclosure(l, refuse_write, 0);
        ffi::lua_setfield(l, -2, c"__newindex".as_ptr());
        ffi::lua_pushlightuserdata(l, key(&REAL));
        ffi::lua_pushvalue(l, -5);
        ffi::lua_rawset(l, -3);
        ffi::lua_pushlightuserdata(l, key(&SHOWN_METATABLE));
        ffi::lua_pushvalue(l, -4);
        ffi::lua_rawset(l, -3);
        ffi::lua_setmetatable(l, -2);
        ffi::lua_remove(l, -2);
        ffi::lua_remove(l, -2);
    }
}

/// Whether the argument is a proxy; if so, pushes what its metatable has under `what`.
///
/// # Safety
/// Within a C function with room for two more values.
unsafe fn proxied(l: *mut lua_State, argument: c_int, what: &'static u8) -> bool {
    // SAFETY: as said above.
    unsafe {
        if ffi::lua_type(l, argument) != TABLE || ffi::lua_getmetatable(l, argument) == 0 {
            return false;
        }
        ffi::lua_pushlightuserdata(l, key(&REAL));
        ffi::lua_rawget(l, -2);
        let found = ffi::lua_type(l, -1) == TABLE;
        ffi::lua_settop(l, -2);
        if found {
            ffi::lua_pushlightuserdata(l, key(what));
            ffi::lua_rawget(l, -2);
            ffi::lua_remove(l, -2);
        } else {
            ffi::lua_settop(l, -2);
        }
        found
    }
}

/// Puts the real table in the place of an argument that is a proxy.
///
/// # Safety
/// As [`proxied`].
unsafe fn resolve(l: *mut lua_State, argument: c_int) {
    // SAFETY: as said above.
    unsafe {
        if proxied(l, argument, &REAL) {
            ffi::lua_replace(l, argument);
        }
    }
}

/// Raises the error of a write to a proxy, without a position, as Lua's core does from a C function.
///
/// # Safety
/// As [`proxied`].
unsafe fn refuse_if_proxy(l: *mut lua_State, argument: c_int) {
    // SAFETY: as said above.
    unsafe {
        if proxied(l, argument, &REAL) {
            ffi::lua_pushlstring(l, READONLY.as_ptr().cast(), READONLY.len());
            ffi::lua_error(l);
        }
    }
}

/// `__newindex` of proxies.
unsafe extern "C-unwind" fn refuse_write(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the frame owns nothing.
    unsafe {
        ffi::luaL_where(l, 1);
        ffi::lua_pushlstring(l, READONLY.as_ptr().cast(), READONLY.len());
        ffi::lua_concat(l, 2);
        ffi::lua_error(l)
    }
}

/// `__index` of the real globals.
fn missing_global(stack: Stack) -> Results {
    if stack.top() != 2 {
        return Err(Raise::at("Wrong number of arguments to luaProtectedTableError"));
    }
    if !matches!(stack.type_of(2), STRING | NUMBER) {
        return Err(Raise::at("Second argument to luaProtectedTableError must be a string or number"));
    }
    // C prints the name up to its first NUL.
    let name = stack.text(2);
    let name = name.split('\0').next().unwrap_or_default();
    Err(Raise::at(format!("Script attempted to access nonexistent global variable '{name}'")))
}

unsafe extern "C-unwind" fn next(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the frame owns nothing.
    unsafe {
        ffi::luaL_checktype(l, 1, TABLE);
        ffi::lua_settop(l, 2);
        resolve(l, 1);
        if ffi::lua_next(l, 1) != 0 {
            return 2;
        }
        ffi::lua_pushnil(l);
        1
    }
}

/// Its upvalue is `next`.
unsafe extern "C-unwind" fn pairs(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the frame owns nothing.
    unsafe {
        ffi::luaL_checktype(l, 1, TABLE);
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(1));
        ffi::lua_pushvalue(l, 1);
        ffi::lua_pushnil(l);
        3
    }
}

unsafe extern "C-unwind" fn raw_get(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the frame owns nothing.
    unsafe {
        ffi::luaL_checktype(l, 1, TABLE);
        ffi::luaL_checkany(l, 2);
        ffi::lua_settop(l, 2);
        resolve(l, 1);
        ffi::lua_rawget(l, 1);
        1
    }
}

unsafe extern "C-unwind" fn raw_set(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the frame owns nothing.
    unsafe {
        ffi::luaL_checktype(l, 1, TABLE);
        ffi::luaL_checkany(l, 2);
        ffi::luaL_checkany(l, 3);
        ffi::lua_settop(l, 3);
        refuse_if_proxy(l, 1);
        ffi::lua_rawset(l, 1);
        1
    }
}

/// Runs the C function that is the first upvalue in its own place, so that its errors read as they always do.
///
/// # Safety
/// Within a C function whose first upvalue is one of Lua's own functions, which has no upvalues itself.
unsafe fn original(l: *mut lua_State) -> c_int {
    // SAFETY: as said above.
    unsafe {
        match ffi::lua_tocfunction(l, ffi::lua_upvalueindex(1)) {
            Some(function) => function(l),
            None => 0,
        }
    }
}

unsafe extern "C-unwind" fn set_metatable(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the frame owns nothing.
    unsafe {
        if matches!(ffi::lua_type(l, 2), NIL | TABLE) {
            refuse_if_proxy(l, 1);
        }
        original(l)
    }
}

unsafe extern "C-unwind" fn table_insert(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the frame owns nothing.
    unsafe {
        refuse_if_proxy(l, 1);
        original(l)
    }
}

/// Its upvalue is what to show for strings.
unsafe extern "C-unwind" fn get_metatable(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the frame owns nothing.
    unsafe {
        ffi::luaL_checkany(l, 1);
        if ffi::lua_type(l, 1) == STRING {
            ffi::lua_pushvalue(l, ffi::lua_upvalueindex(1));
            return 1;
        }
        if proxied(l, 1, &SHOWN_METATABLE) {
            return 1;
        }
        if ffi::lua_getmetatable(l, 1) == 0 {
            ffi::lua_pushnil(l);
            return 1;
        }
        // __metatable hides the metatable, if there is one.
        ffi::lua_pushlstring(l, c"__metatable".as_ptr(), 11);
        ffi::lua_rawget(l, -2);
        if ffi::lua_type(l, -1) == NIL {
            ffi::lua_settop(l, -2);
        }
        1
    }
}

/// `pcall` as Redis has it: of an error that is a table like those of `redis.call`, only the text.
unsafe extern "C-unwind" fn protected_call(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the frame owns nothing.
    unsafe {
        ffi::luaL_checkany(l, 1);
        let arguments = ffi::lua_gettop(l) - 1;
        ffi::lua_pushboolean(l, 1);
        ffi::lua_insert(l, 1);
        if ffi::lua_pcall(l, arguments, ffi::LUA_MULTRET, 0) == ffi::LUA_OK {
            return ffi::lua_gettop(l);
        }
        if ffi::lua_type(l, -1) == TABLE {
            ffi::lua_getfield(l, -1, c"err".as_ptr());
            if ffi::lua_isstring(l, -1) != 0 {
                ffi::lua_replace(l, -2);
            } else {
                ffi::lua_settop(l, -2);
            }
        }
        ffi::lua_pushboolean(l, 0);
        ffi::lua_replace(l, 1);
        2
    }
}

/// Compiles the string at `source`. Bytecode, which can crash the interpreter, is refused by making it text.
///
/// # Safety
/// Within a C function with room for three more values; a string at `source`; `name` is NUL-terminated.
pub(super) unsafe fn load_text(l: *mut lua_State, source: c_int, name: *const c_char) -> c_int {
    // SAFETY: as said above.
    unsafe {
        let mut len = 0;
        let mut text = ffi::lua_tolstring(l, source, &mut len);
        let mut below = 0;
        if len > 0 && *text == ffi::LUA_SIGNATURE[0] as c_char {
            ffi::lua_pushlstring(l, c" ".as_ptr(), 1);
            ffi::lua_pushvalue(l, source);
            ffi::lua_concat(l, 2);
            text = ffi::lua_tolstring(l, -1, &mut len);
            below = 1;
        }
        let status = ffi::luaL_loadbuffer(l, text, len, name);
        if below > 0 {
            ffi::lua_remove(l, -2);
        }
        status
    }
}

/// # Safety
/// As [`load_text`].
unsafe fn load_results(l: *mut lua_State, source: c_int, name: *const c_char) -> c_int {
    // SAFETY: as said above.
    unsafe {
        if load_text(l, source, name) == ffi::LUA_OK {
            return 1;
        }
        ffi::lua_pushnil(l);
        ffi::lua_insert(l, -2);
        2
    }
}

unsafe extern "C-unwind" fn load_string(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the frame owns nothing.
    unsafe {
        let source = ffi::luaL_checklstring(l, 1, ptr::null_mut());
        let name = ffi::luaL_optlstring(l, 2, source, ptr::null_mut());
        load_results(l, 1, name)
    }
}

unsafe extern "C-unwind" fn load_function(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the frame owns nothing.
    unsafe {
        ffi::luaL_checktype(l, 1, FUNCTION);
        let name = ffi::luaL_optlstring(l, 2, c"=(load)".as_ptr(), ptr::null_mut());
        ffi::lua_settop(l, 2);
        ffi::lua_pushlstring(l, c"".as_ptr(), 0);
        loop {
            ffi::lua_pushvalue(l, 1);
            if ffi::lua_pcall(l, 0, 1, 0) != ffi::LUA_OK {
                ffi::lua_pushnil(l);
                ffi::lua_insert(l, -2);
                return 2;
            }
            if ffi::lua_type(l, -1) == NIL {
                break;
            }
            if ffi::lua_isstring(l, -1) == 0 {
                ffi::lua_pushnil(l);
                ffi::lua_pushstring(l, c"reader function must return a string".as_ptr());
                return 2;
            }
            if ffi::lua_objlen(l, -1) == 0 {
                break;
            }
            ffi::lua_concat(l, 2);
        }
        load_results(l, 3, name)
    }
}

/// The message handler of a run: makes the error a table and notes in it where the error was raised.
unsafe extern "C-unwind" fn error_handler(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the frame owns nothing. lua_Debug is plain data that Lua fills in.
    unsafe {
        ffi::lua_settop(l, 1);
        if ffi::lua_type(l, 1) != TABLE {
            if ffi::lua_isstring(l, 1) == 0 {
                // What tostring() gives, metamethods included.
                ffi::luaL_tolstring(l, 1, ptr::null_mut());
                ffi::lua_replace(l, 1);
            }
            ffi::lua_createtable(l, 0, 4);
            ffi::lua_pushlstring(l, c"ERR ".as_ptr(), 4);
            ffi::lua_pushvalue(l, 1);
            ffi::lua_concat(l, 2);
            ffi::lua_setfield(l, -2, c"err".as_ptr());
        }
        // 1 raised the error; if it is a C function, its caller is the place to report.
        let mut place: ffi::lua_Debug = std::mem::zeroed();
        for level in 1..=2 {
            if ffi::lua_getstack(l, level, &mut place) == 0 {
                return 1;
            }
            ffi::lua_getinfo(l, c"Sl".as_ptr(), &mut place);
            if *place.what != b'C' as c_char {
                break;
            }
        }
        // Not through __newindex: the table may be a proxy that a script has thrown.
        for (name, is_line) in [(c"source", false), (c"line", true)] {
            ffi::lua_pushstring(l, name.as_ptr());
            if is_line {
                ffi::lua_pushnumber(l, place.currentline.into());
            } else {
                ffi::lua_pushstring(l, place.source);
            }
            if proxied(l, -3, &REAL) {
                ffi::lua_settop(l, -4);
            } else {
                ffi::lua_rawset(l, -3);
            }
        }
        1
    }
}
