//! FT.GET, FT.MGET: documents by their keys. Words of the past, that clients still know.

use cairn_proto::ReplyWriter;

use super::document::{Document, is_fresh};
use super::{World, look_up};
use crate::args::Args;
use crate::command::{COMMAND, Command, Flag, Group, Keys, READ};
use crate::context::Context;
use crate::error::CommandResult;

pub(super) static FT_GET: Command = Command {
    name: "ft.get",
    arity: 3,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    keys: &[Keys::at(2, READ)],
    summary: "Returns the fields of a document that is in an index.",
    complexity: "O(N), N being the number of fields",
    syntax: "index key",
    run: get,
    ..COMMAND
};

fn get(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    look_up(cx, args.at(1), 0)?;
    let Context { shared, keys, reply, host, .. } = cx;
    write(World::new(shared, keys, &**host, args.at(1)), args.at(2), reply);
    Ok(())
}

pub(super) static FT_MGET: Command = Command {
    name: "ft.mget",
    arity: -3,
    group: Group::Search,
    since: "1.0.0",
    flags: &[Flag::ReadOnly, Flag::KeylessRead],
    summary: "Returns the fields of documents that are in an index.",
    complexity: "O(N), N being the number of fields of all of them",
    syntax: "index key [key ...]",
    run: mget,
    ..COMMAND
};

fn mget(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    look_up(cx, args.at(1), 0)?;
    let Context { shared, keys, reply, host, .. } = cx;
    let world = World::new(shared, keys, &**host, args.at(1));
    reply.array(args.len() - 2);
    args.from(2).iter().for_each(|key| write(world, key, reply));
    Ok(())
}

/// Null for what is not in the index; a list without elements for what is no hash. Not a map in RESP3 either.
fn write(world: World<'_>, key: &[u8], reply: &mut ReplyWriter) {
    let definition = &world.entry.definition;
    if !world.entry.index.contains(key) {
        return reply.null();
    }
    let Some(Document::Hash(hash, now_ms)) = Document::open(world.db, key, definition.source, world.now_ms)
    else {
        return reply.array(0);
    };
    // What is said of the document is no part of it.
    let said = [&definition.language_field, &definition.score_field, &definition.payload_field];
    let is_said =
        |name: &[u8]| said.iter().any(|field| field.as_ref().is_some_and(|f| f.eq_ignore_ascii_case(name)));
    let list = reply.defer();
    let mut count = 0;
    for (name, value) in hash.iter() {
        let mut buffer = itoa::Buffer::new();
        let name = name.to_bytes(&mut buffer);
        if is_fresh(hash, name, now_ms) && !is_said(name) {
            reply.bulk(name);
            value.reply(reply);
            count += 2;
        }
    }
    reply.finish_array(list, count);
}
