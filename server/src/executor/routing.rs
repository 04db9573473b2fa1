//! Which commands need the leader.

use cairn_engine::Args;
use cairn_engine::client::ClientState;

pub enum Need {
    Local,
    Leader,
    LeaderUnlessReadonlyRead,
}

const LOCAL: &[&str] = &[
    "ping",
    "echo",
    "quit",
    "select",
    "hello",
    "auth",
    "reset",
    "command",
    "config",
    "info",
    "cluster",
    "role",
    "slowlog",
    "latency",
    "shutdown",
    "time",
    "memory",
    "lolwut",
    "save",
    "bgsave",
    "lastsave",
    "bgrewriteaof",
];

pub fn needs_leader(args: Args<'_>, _state: &ClientState) -> Need {
    let local = LOCAL.iter().any(|name| args.is(0, name));
    let own = args.is(0, "client")
        && ["setname", "setinfo", "getname", "reply", "id", "info"].iter().any(|name| args.is(1, name));
    match () {
        () if local || own => Need::Local,
        () if args.is(0, "get") => Need::LeaderUnlessReadonlyRead,
        () => Need::Leader,
    }
}

pub fn is_readonly(_state: &ClientState) -> bool {
    false
}

pub fn slot_of(_args: Args<'_>) -> u16 {
    0
}
