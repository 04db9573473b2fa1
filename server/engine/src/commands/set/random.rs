//! SPOP and SRANDMEMBER.

use super::find;
use crate::args::{Args, parse_i64};
use crate::command::{COMMAND, Command, Flag, Group, Keys, READ, READ_DELETE};
use crate::commands::hash::{check_drawn, random_count};
use crate::context::Context;
use crate::ds::Member;
use crate::effects::removal;
use crate::error::{CommandError, CommandResult};
use crate::notify::Class;
use crate::rng::Rng;
use crate::types::{Elem, Set};

pub(super) static SPOP: Command = Command {
    name: "spop",
    arity: -2,
    group: Group::Set,
    flags: &[Flag::Write, Flag::Fast],
    keys: &[Keys::at(1, READ_DELETE)],
    summary: "Takes random members out of a set and returns them; an empty set goes away.",
    complexity: "O(N) for N members taken out",
    syntax: "key [count:integer]",
    tips: &["nondeterministic_output"],
    run: spop,
    ..COMMAND
};

fn spop(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let count = match args.len() {
        2 => None,
        3 => {
            let count = parse_i64(args.at(2)).and_then(|count| usize::try_from(count).ok());
            Some(count.ok_or(CommandError::new("ERR value is out of range, must be positive"))?)
        }
        _ => return Err(CommandError::Syntax),
    };
    // The set is borrowed while the dice roll: they get a generator of their own.
    let rng = Rng::new(cx.keys.rng.next());
    let Some(value) = cx.keys.get_mut(key) else {
        match count {
            None => cx.reply.null(),
            Some(_) => cx.reply.set(0),
        }
        return Ok(());
    };
    let set = value.as_set_mut()?;
    match count {
        None => {
            let member = set.pop(&rng).expect("a stored set has members");
            let empty = set.is_empty();
            popped(cx, key, std::slice::from_ref(&member), empty);
            Elem::from(&member).reply(cx.reply);
        }
        Some(0) => cx.reply.set(0),
        Some(count) if count < set.len() => {
            let members = set.pop_many(count, &rng);
            popped(cx, key, &members, false);
            cx.reply.set(members.len());
            members.iter().for_each(|member| Elem::from(member).reply(cx.reply));
        }
        Some(_) => {
            let len = set.len();
            cx.reply.set(len);
            set.iter().for_each(|member| member.reply(cx.reply));
            cx.keys.delete(key);
            cx.changed(key, Class::Set, "spop");
            cx.shared.effects.add_dirty(len as u64 - 1);
            cx.notify(Class::Generic, "del", key);
            let word = removal(cx.config().lazyfree_lazy_server_del);
            cx.log(&[word, key]);
        }
    }
    Ok(())
}

/// Some members were taken out by chance: what is written down is which.
fn popped(cx: &mut Context<'_>, key: &[u8], members: &[Member], empty: bool) {
    cx.changed(key, Class::Set, "spop");
    cx.shared.effects.add_dirty(members.len() as u64 - 1);
    cx.remove_if_empty(key, empty);
    if cx.shared.effects.recorded() {
        let mut effect: Vec<&[u8]> = vec![b"SREM", key];
        effect.extend(members.iter().map(|member| &**member));
        cx.log(&effect);
    }
}

pub(super) static SRANDMEMBER: Command = Command {
    name: "srandmember",
    arity: -2,
    group: Group::Set,
    flags: &[Flag::ReadOnly],
    keys: &[Keys::at(1, READ)],
    summary: "Returns random members of a set: different ones, or with repetition for a negative count.",
    complexity: "O(N) for N members returned",
    syntax: "key [count:integer]",
    tips: &["nondeterministic_output"],
    run: srandmember,
    ..COMMAND
};

fn srandmember(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let keys = &*cx.keys;
    let reply = &mut *cx.reply;
    match args.len() {
        2 => {
            match find(keys, key)?.and_then(|set| set.random(&keys.rng)) {
                Some(member) => member.reply(reply),
                None => reply.null(),
            }
            return Ok(());
        }
        3 => {}
        _ => return Err(CommandError::Syntax),
    }
    let count = random_count(args)?;
    let set = find(keys, key)?;
    let len = set.map_or(0, Set::len);
    let Some(set) = set else {
        reply.array(0);
        return Ok(());
    };
    check_drawn(count)?;
    match usize::try_from(count) {
        Ok(count) => {
            reply.array(count.min(len));
            set.sample(count, &keys.rng, |member| member.reply(reply));
        }
        Err(_) => {
            let count = count.unsigned_abs() as usize;
            reply.array(count);
            set.draw(count, &keys.rng, |member| member.reply(reply));
        }
    }
    Ok(())
}
