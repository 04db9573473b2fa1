//! All commands, family by family. Each file opens with its list; a handler stands beside its declaration.

mod acl;
mod bitmap;
mod cluster;
pub(crate) mod connection;
mod geo;
mod hash;
mod help;
mod hyperloglog;
mod json;
mod keys;
mod list;
mod pubsub;
mod scanning;
pub(crate) mod scripting;
pub(crate) mod search;
mod sentinel;
pub(crate) mod server;
mod set;
mod stream;
mod string;
mod suggest;
mod transactions;
mod vector_set;
mod zset;

use crate::command::Command;

/// Every command of every family.
pub fn all() -> Vec<&'static Command> {
    [
        acl::COMMANDS,
        bitmap::COMMANDS,
        cluster::COMMANDS,
        connection::COMMANDS,
        geo::COMMANDS,
        hash::COMMANDS,
        hyperloglog::COMMANDS,
        json::COMMANDS,
        keys::COMMANDS,
        list::COMMANDS,
        pubsub::COMMANDS,
        scripting::COMMANDS,
        search::COMMANDS,
        search::query::COMMANDS,
        sentinel::COMMANDS,
        server::COMMANDS,
        set::COMMANDS,
        stream::COMMANDS,
        string::COMMANDS,
        suggest::COMMANDS,
        transactions::COMMANDS,
        vector_set::COMMANDS,
        zset::COMMANDS,
    ]
    .concat()
}
