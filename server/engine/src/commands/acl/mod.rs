//! ACL: users and what they may do. The rules themselves are in [`crate::acl`].

mod show;
#[cfg(test)]
mod tests;
mod users;

use crate::args::{Args, parse_i64};
use crate::command::{COMMAND, Command, Flag, Group};
use crate::context::Context;
use crate::error::{CommandError, CommandResult, printed};

pub(super) const COMMANDS: &[&Command] = &[&ACL];

static ACL: Command = Command {
    name: "acl",
    arity: -2,
    group: Group::Server,
    since: "6.0.0",
    summary: "Looks at users and their permissions, and changes them.",
    complexity: "Depends on subcommand.",
    subcommands: &[
        &show::CAT,
        &users::DELUSER,
        &show::DRYRUN,
        &GENPASS,
        &show::GETUSER,
        &HELP,
        &show::LIST,
        &users::LOAD,
        &show::LOG,
        &users::SAVE,
        &users::SETUSER,
        &show::USERS,
        &show::WHOAMI,
    ],
    ..COMMAND
};

/// What most subcommands have in common.
const SUBCOMMAND: Command = Command {
    group: Group::Server,
    since: "6.0.0",
    flags: &[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale],
    ..COMMAND
};

/// Flags of what anybody may ask.
const FOR_ALL: &[Flag] = &[Flag::NoScript, Flag::Loading, Flag::Stale];

static HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: &[Flag::Loading, Flag::Stale],
    summary: "Describes the subcommands.",
    run: crate::commands::help::help,
    ..SUBCOMMAND
};

static GENPASS: Command = Command {
    name: "genpass",
    arity: -2,
    flags: FOR_ALL,
    summary: "Makes a password of random bits, written in hexadecimal.",
    syntax: "[bits:integer]",
    run: genpass,
    ..SUBCOMMAND
};

fn genpass(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    const BITS_MAX: i64 = 4096;
    const BITS_DEFAULT: i64 = 256;
    let bits = match args.from(2) {
        [] => BITS_DEFAULT,
        [bits] => parse_i64(bits).ok_or(CommandError::NotInteger)?,
        _ => return Err(wrong_arguments(args)),
    };
    if !(1..=BITS_MAX).contains(&bits) {
        return Err(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {BITS_MAX}"
        )
        .into());
    }
    let digits = (bits as usize).div_ceil(4);
    let mut random = vec![0; digits.div_ceil(2)];
    cx.host.fill_with_secrets(&mut random);
    let mut text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    cx.reply.bulk(text.as_bytes());
    Ok(())
}

/// Too many arguments for a subcommand whose arity does not say so.
fn wrong_arguments(args: Args<'_>) -> CommandError {
    let text = [
        b"ERR unknown subcommand or wrong number of arguments for '",
        printed(args.at(1)),
        b"'. Try ACL HELP.",
    ];
    CommandError::Bytes(text.concat())
}
