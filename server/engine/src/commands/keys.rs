//! Keys of any type.

use crate::command::Command;
use crate::context::Context;
use crate::notify::Class;

pub(super) const COMMANDS: &[&Command] = &[];

/// Gives an existing key a time to live, an absolute time in Unix milliseconds; one that has passed removes the key.
pub(super) fn expire_at(cx: &mut Context<'_>, key: &[u8], at_ms: i64) {
    if at_ms <= cx.now_ms() && !cx.mode.applying {
        cx.delete_key(key, Class::Generic, "del");
        return;
    }
    cx.keys.set_expire(key, at_ms);
    cx.changed(key, Class::Generic, "expire");
    cx.log(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at_ms).as_bytes()]);
}
