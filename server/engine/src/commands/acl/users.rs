//! The subcommands of ACL that change users, or keep them.

use super::SUBCOMMAND;
use crate::acl::{Changed, DEFAULT, User, all_channels, selector::has_blanks, text};
use crate::args::Args;
use crate::command::Command;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};

const ON_ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

const NO_FILE: CommandError = CommandError::new(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
     command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users \
     in the Redis configuration.",
);

pub(super) static SETUSER: Command = Command {
    name: "setuser",
    arity: -3,
    summary: "Makes a user, or changes one, by rules.",
    complexity: "O(N) where N is the number of rules",
    syntax: "username [rule:string [rule:string ...]]",
    tips: ON_ALL_NODES,
    run: setuser,
    ..SUBCOMMAND
};

fn setuser(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let name = args.at(2);
    if has_blanks(name) {
        return Err("ERR Usernames can't contain spaces or null characters".into());
    }
    let all_channels = all_channels(&cx.shared.config);
    let user = text::changed(cx.shared.acl.get(name), name, args.from(3), all_channels)
        .map_err(|error| CommandError::Bytes([b"ERR ", &*error].concat()))?;
    let changed = cx.begin_change_of_users()?;
    cx.shared.set_user(cx.client, user);
    cx.log_users(changed, &[name]);
    cx.reply.ok();
    Ok(())
}

pub(super) static DELUSER: Command = Command {
    name: "deluser",
    arity: -3,
    summary: "Removes users, and closes their connections.",
    complexity: "O(N) where N is the number of users, and of clients for each",
    syntax: "username [username ...]",
    tips: ON_ALL_NODES,
    run: deluser,
    ..SUBCOMMAND
};

fn deluser(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let names = args.from(2);
    if names.contains(&DEFAULT) {
        return Err("ERR The 'default' user cannot be removed".into());
    }
    let mut known: Vec<&[u8]> = names.to_vec();
    known.retain(|name| cx.shared.acl.get(name).is_some());
    known.sort_unstable();
    known.dedup();
    if !known.is_empty() {
        let changed = cx.begin_change_of_users()?;
        for name in &known {
            cx.shared.delete_user(cx.client, name);
        }
        cx.log_users(changed, &known);
    }
    cx.depends_on_users();
    cx.reply.int(known.len() as i64);
    Ok(())
}

pub(super) static LOAD: Command = Command {
    name: "load",
    arity: 2,
    summary: "Reads the ACL file again: its users are all there are.",
    complexity: "O(N) where N is the number of users",
    run: load,
    ..SUBCOMMAND
};

fn load(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let users = if cx.mode.applying {
        // As an effect it has all users with it.
        let decoded: Result<Vec<User>, String> = args.from(2).iter().map(|line| text::decode(line)).collect();
        decoded.map_err(|error| format!("ERR {error}"))?
    } else {
        read_file(cx)?
    };
    let changed = match cx.begin_change_of_users()? {
        Changed::Nothing => Changed::Nothing,
        Changed::Some | Changed::All => Changed::All,
    };
    cx.shared.replace_users(cx.client, users);
    cx.log_users(changed, &[]);
    cx.reply.ok();
    Ok(())
}

fn read_file(cx: &mut Context<'_>) -> CommandResult<Vec<User>> {
    let file = cx.shared.config.aclfile.clone();
    if file.is_empty() {
        return Err(NO_FILE);
    }
    let content = cx
        .host
        .read_acl_file()
        .map_err(|error| format!("ERR Error loading ACLs, opening file '{file}': {error}"))?;
    text::parse_file(&file, &content, all_channels(&cx.shared.config))
        .map_err(|errors| CommandError::from(format!("ERR {errors}")))
}

pub(super) static SAVE: Command = Command {
    name: "save",
    arity: 2,
    summary: "Writes the users to the ACL file.",
    complexity: "O(N) where N is the number of users",
    tips: ON_ALL_NODES,
    run: save,
    ..SUBCOMMAND
};

fn save(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    if cx.shared.config.aclfile.is_empty() {
        return Err(NO_FILE);
    }
    let content = text::file(cx.shared.acl.users());
    if let Err(error) = cx.host.replace_acl_file(&content) {
        cx.host.log(crate::host::LogLevel::Warning, &format!("the ACL file was not written: {error}"));
        return Err("ERR There was an error trying to save the ACLs. Please check the server logs for more information"
            .into());
    }
    cx.reply.ok();
    Ok(())
}
