//! A thin layer over the Lua C API, on which the rest of this module is written.
//!
//! mlua's safe calls cannot express what Redis's scripts see: an error raised by a Rust function reaches
//! the script's `pcall` as a userdata (scripts expect a string or a table), and the "script: …, on
//! @user_script:3." of an error reply needs the function that raises to be a plain C function. So the functions
//! given to scripts are C functions, and all the `unsafe` of the module is here, in [`super::sandbox`] and
//! [`super::vm`].
//!
//! The rules that make it sound:
//! - A library function returns `Result<results, Raise>`; only the outermost frame ([`entry`]) calls `lua_error`,
//!   once every Rust value of the function is dropped.
//! - Lua can still `longjmp` out of a call that allocates (out of memory). So no frame owns heap memory
//!   across such a call: buffers live in [`Shared`](super::vm::Shared).
//! - Whoever pushes has asked [`Stack::check`] or pushes fewer than the 20 slots every C function is given.

use mlua::ffi;
use std::borrow::Cow;
use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;
use std::slice;

use super::vm::Shared;

pub(super) const NIL: c_int = ffi::LUA_TNIL;
pub(super) const BOOLEAN: c_int = ffi::LUA_TBOOLEAN;
pub(super) const LIGHT_USERDATA: c_int = ffi::LUA_TLIGHTUSERDATA;
pub(super) const NUMBER: c_int = ffi::LUA_TNUMBER;
pub(super) const STRING: c_int = ffi::LUA_TSTRING;
pub(super) const TABLE: c_int = ffi::LUA_TTABLE;
pub(super) const FUNCTION: c_int = ffi::LUA_TFUNCTION;

/// How a library function fails.
#[derive(Debug)]
pub(super) enum Raise {
    /// A message, preceded by the position of the caller (`user_script:1: `), as `luaL_error` does.
    At(Cow<'static, str>),
    /// A message as it is.
    Bare(&'static str),
    /// `bad argument #n to 'f' (message)`.
    Arg(c_int, Cow<'static, str>),
    /// `bad argument #n to 'f' (<name> expected, got …)`.
    Type(c_int, &'static CStr),
    /// The value on top of the stack.
    Top,
}

impl Raise {
    pub(super) fn at(message: impl Into<Cow<'static, str>>) -> Raise {
        Raise::At(message.into())
    }

    pub(super) fn arg(index: c_int, message: impl Into<Cow<'static, str>>) -> Raise {
        Raise::Arg(index, message.into())
    }
}

/// What a library function returns: the number of results on top of the stack.
pub(super) type Results = Result<c_int, Raise>;

/// A library function. Implemented by function items, which carry no data, so that the C function made of one
/// needs no upvalue to find it.
pub(super) trait Entry: Fn(Stack) -> Results + Copy + 'static {}
impl<F: Fn(Stack) -> Results + Copy + 'static> Entry for F {}

/// The C function that runs `F`.
///
/// # Safety
/// To be called by Lua only.
pub(super) unsafe extern "C-unwind" fn entry<F: Entry>(l: *mut ffi::lua_State) -> c_int {
    const { assert!(size_of::<F>() == 0, "a library function must not capture anything") };
    // SAFETY: F has no bytes, and an instance existed when the C function was registered.
    let f: F = unsafe { NonNull::<F>::dangling().read() };
    match f(Stack { l }) {
        Ok(results) => results,
        // SAFETY: called from a C function that Lua called, with nothing left to drop here.
        Err(raise) => unsafe { throw(l, raise) },
    }
}

/// # Safety
/// `l` is running a C function; frames up to it own nothing.
unsafe fn throw(l: *mut ffi::lua_State, raise: Raise) -> c_int {
    // SAFETY: a C function has LUA_MINSTACK slots; errors are raised when at most a few values are pending,
    // or after `settop` has made room.
    unsafe {
        match raise {
            Raise::Top => {}
            Raise::Bare(message) => {
                make_room(l);
                ffi::lua_pushlstring(l, message.as_ptr().cast(), message.len());
            }
            Raise::At(message) => {
                make_room(l);
                ffi::luaL_where(l, 1);
                ffi::lua_pushlstring(l, message.as_ptr().cast(), message.len());
                drop(message);
                ffi::lua_concat(l, 2);
            }
            Raise::Type(index, name) => {
                make_room_keeping_args(l);
                return ffi::luaL_typerror(l, index, name.as_ptr());
            }
            Raise::Arg(index, message) => {
                make_room_keeping_args(l);
                // The copy on the Lua stack is NUL-terminated and outlives the Rust string.
                ffi::lua_pushlstring(l, message.as_ptr().cast(), message.len());
                drop(message);
                let text = ffi::lua_tolstring(l, -1, std::ptr::null_mut());
                return ffi::luaL_argerror(l, index, text);
            }
        }
        ffi::lua_error(l)
    }
}

/// # Safety
/// As [`throw`].
unsafe fn make_room(l: *mut ffi::lua_State) {
    // SAFETY: dropping values of the failing function's own frame.
    unsafe { ffi::lua_settop(l, 0) }
}

/// # Safety
/// As [`throw`].
unsafe fn make_room_keeping_args(l: *mut ffi::lua_State) {
    // SAFETY: at most shrinks the failing function's own frame; the arguments named in messages are the first few.
    unsafe {
        if ffi::lua_gettop(l) > 8 {
            ffi::lua_settop(l, 8);
        }
    }
}

/// The stack of the running C function. Indices are as in the C API: from the bottom from 1, from the top from -1.
///
/// Callers keep the stack discipline of the C API: indices name existing values (asserted in debug builds), and a
/// slice taken from a string is used only while that string is on the stack or in a table.
#[derive(Clone, Copy)]
pub(super) struct Stack {
    l: *mut ffi::lua_State,
}

// The SAFETY of each body is the contract in the type's documentation.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Stack {
    /// # Safety
    /// `l` must be a live Lua state, used only within a protected call.
    pub(super) unsafe fn new(l: *mut ffi::lua_State) -> Stack {
        Stack { l }
    }

    pub(super) fn raw(self) -> *mut ffi::lua_State {
        self.l
    }

    /// The interpreter's state: the first upvalue of every function registered by [`Stack::register`].
    pub(super) fn shared(self) -> *mut Shared {
        unsafe { ffi::lua_touserdata(self.l, ffi::lua_upvalueindex(1)).cast() }
    }

    /// The scratch buffer, emptied. One at a time: nothing that runs while it is used calls back into Lua code.
    pub(super) fn scratch<'a>(self) -> &'a mut Vec<u8> {
        let scratch = unsafe { &mut (*self.shared()).scratch };
        scratch.clear();
        scratch
    }

    #[inline]
    fn assert_index(self, index: c_int) {
        debug_assert!(
            index != 0 && (index <= ffi::LUA_REGISTRYINDEX || index.abs() <= self.top()),
            "stack index {index} of {}",
            self.top()
        );
    }

    pub(super) fn top(self) -> c_int {
        unsafe { ffi::lua_gettop(self.l) }
    }

    pub(super) fn set_top(self, top: c_int) {
        unsafe { ffi::lua_settop(self.l, top) }
    }

    pub(super) fn pop(self, n: c_int) {
        debug_assert!(n <= self.top());
        unsafe { ffi::lua_settop(self.l, -n - 1) }
    }

    /// Whether `n` more values fit, growing the stack if needed. Lua caps a C function's stack at 8000 slots.
    #[must_use]
    pub(super) fn check(self, n: c_int) -> bool {
        unsafe { ffi::lua_checkstack(self.l, n) != 0 }
    }

    /// The type of an argument or value; an argument that is absent has none of the type constants.
    pub(super) fn type_of(self, index: c_int) -> c_int {
        unsafe { ffi::lua_type(self.l, index) }
    }

    pub(super) fn is_none(self, index: c_int) -> bool {
        self.type_of(index) == ffi::LUA_TNONE
    }

    pub(super) fn is_none_or_nil(self, index: c_int) -> bool {
        self.type_of(index) <= NIL
    }

    /// A number, or a string that reads as one.
    pub(super) fn is_numeric(self, index: c_int) -> bool {
        unsafe { ffi::lua_isnumber(self.l, index) != 0 }
    }

    pub(super) fn type_name(self, index: c_int) -> Cow<'static, str> {
        // Names are static strings of the Lua library.
        unsafe { CStr::from_ptr(ffi::lua_typename(self.l, self.type_of(index))) }.to_string_lossy()
    }

    pub(super) fn push_nil(self) {
        unsafe { ffi::lua_pushnil(self.l) }
    }

    pub(super) fn push_bool(self, value: bool) {
        unsafe { ffi::lua_pushboolean(self.l, value.into()) }
    }

    pub(super) fn push_number(self, value: f64) {
        unsafe { ffi::lua_pushnumber(self.l, value) }
    }

    pub(super) fn push_bytes(self, value: &[u8]) {
        unsafe {
            ffi::lua_pushlstring(self.l, value.as_ptr().cast(), value.len());
        }
    }

    /// `cjson.null`.
    pub(super) fn push_null(self) {
        unsafe { ffi::lua_pushlightuserdata(self.l, std::ptr::null_mut()) }
    }

    pub(super) fn is_null(self, index: c_int) -> bool {
        self.type_of(index) == LIGHT_USERDATA && unsafe { ffi::lua_touserdata(self.l, index).is_null() }
    }

    pub(super) fn push_copy(self, index: c_int) {
        self.assert_index(index);
        unsafe { ffi::lua_pushvalue(self.l, index) }
    }

    /// Moves the top value down to `index`.
    pub(super) fn insert(self, index: c_int) {
        self.assert_index(index);
        unsafe { ffi::lua_insert(self.l, index) }
    }

    /// Pops the top value into the place of the one at `index`.
    pub(super) fn replace(self, index: c_int) {
        self.assert_index(index);
        unsafe { ffi::lua_replace(self.l, index) }
    }

    /// Pops the top value into a table, usually the registry, and returns its number there.
    pub(super) fn reference(self, table: c_int) -> c_int {
        self.assert_index(table);
        unsafe { ffi::luaL_ref(self.l, table) }
    }

    pub(super) fn remove(self, index: c_int) {
        self.assert_index(index);
        unsafe { ffi::lua_remove(self.l, index) }
    }

    pub(super) fn new_table(self) {
        unsafe { ffi::lua_createtable(self.l, 0, 0) }
    }

    /// Replaces the key on top by `table[key]`.
    pub(super) fn raw_get(self, table: c_int) {
        self.assert_index(table);
        unsafe {
            ffi::lua_rawget(self.l, table);
        }
    }

    pub(super) fn raw_get_index(self, table: c_int, n: c_int) {
        self.assert_index(table);
        unsafe {
            ffi::lua_rawgeti(self.l, table, n.into());
        }
    }

    pub(super) fn raw_get_field(self, table: c_int, name: &[u8]) {
        debug_assert!(table > 0 || table <= ffi::LUA_REGISTRYINDEX, "an absolute index");
        self.push_bytes(name);
        self.raw_get(table);
    }

    /// `table[key] = value` with the key and the value on top. The key is neither nil nor NaN.
    pub(super) fn raw_set(self, table: c_int) {
        self.assert_index(table);
        debug_assert!(self.type_of(-2) != NIL && !(self.type_of(-2) == NUMBER && self.number(-2).is_nan()));
        unsafe { ffi::lua_rawset(self.l, table) }
    }

    /// `table[n] = value` with the value on top.
    pub(super) fn raw_set_index(self, table: c_int, n: c_int) {
        self.assert_index(table);
        unsafe { ffi::lua_rawseti(self.l, table, n.into()) }
    }

    /// `table[name] = value` for the table just below the value on top.
    pub(super) fn raw_set_field(self, name: &[u8]) {
        self.push_bytes(name);
        self.insert(-2);
        self.raw_set(-3);
    }

    /// Replaces the key on top by the next key and its value, or pops it at the end of the table.
    #[must_use]
    pub(super) fn next(self, table: c_int) -> bool {
        self.assert_index(table);
        unsafe { ffi::lua_next(self.l, table) != 0 }
    }

    /// Replaces the `n` strings on top by their concatenation.
    pub(super) fn concat(self, n: c_int) {
        unsafe { ffi::lua_concat(self.l, n) }
    }

    pub(super) fn length(self, index: c_int) -> usize {
        self.assert_index(index);
        unsafe { ffi::lua_objlen(self.l, index) }
    }

    pub(super) fn number(self, index: c_int) -> f64 {
        unsafe { ffi::lua_tonumber(self.l, index) }
    }

    pub(super) fn integer(self, index: c_int) -> i64 {
        unsafe { ffi::lua_tointeger(self.l, index) as i64 }
    }

    pub(super) fn boolean(self, index: c_int) -> bool {
        unsafe { ffi::lua_toboolean(self.l, index) != 0 }
    }

    /// The bytes of a string, or of a number turned into a string *in place* (never do that to a key of a
    /// table being walked). None for other types.
    pub(super) fn bytes<'a>(self, index: c_int) -> Option<&'a [u8]> {
        let mut len = 0;
        let data = unsafe { ffi::lua_tolstring(self.l, index, &mut len) };
        if data.is_null() {
            return None;
        }
        Some(unsafe { slice::from_raw_parts(data.cast(), len) })
    }

    pub(super) fn text(self, index: c_int) -> Cow<'static, str> {
        String::from_utf8_lossy(self.bytes(index).unwrap_or_default())
    }

    pub(super) fn check_bytes<'a>(self, index: c_int) -> Result<&'a [u8], Raise> {
        self.bytes(index).ok_or(Raise::Type(index, c"string"))
    }

    pub(super) fn check_number(self, index: c_int) -> Result<f64, Raise> {
        if self.is_numeric(index) { Ok(self.number(index)) } else { Err(Raise::Type(index, c"number")) }
    }

    pub(super) fn check_integer(self, index: c_int) -> Result<i64, Raise> {
        self.check_number(index).map(|_| self.integer(index))
    }

    pub(super) fn integer_or(self, index: c_int, default: i64) -> Result<i64, Raise> {
        if self.is_none_or_nil(index) { Ok(default) } else { self.check_integer(index) }
    }

    /// Adds a function to the table on top. Its first upvalue is `shared`.
    pub(super) fn register<F: Entry>(self, name: &str, shared: *mut Shared, function: F) {
        self.push_function(shared, 0, function);
        self.raw_set_field(name.as_bytes());
    }

    /// Pushes a function whose upvalues are `shared` and the `more` values on top, which are popped.
    pub(super) fn push_function<F: Entry>(self, shared: *mut Shared, more: c_int, _function: F) {
        unsafe {
            ffi::lua_pushlightuserdata(self.l, shared.cast::<c_void>());
            if more > 0 {
                ffi::lua_insert(self.l, -more - 1);
            }
            ffi::lua_pushcclosure(self.l, entry::<F>, more + 1);
        }
    }

    /// The pseudo-index of the nth upvalue (1 is [`Stack::shared`]).
    pub(super) fn upvalue(n: c_int) -> c_int {
        ffi::lua_upvalueindex(n)
    }
}
