//! CLIENT KILL.

use super::list::parse_class;
use super::{ADMIN_FLAGS, SUBCOMMAND};
use crate::acl::Acl;
use crate::args::Args;
use crate::client::{ClientClass, ClientState};
use crate::command::Command;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};

pub(super) static KILL: Command = Command {
    name: "kill",
    arity: -3,
    since: "2.4.0",
    flags: ADMIN_FLAGS,
    summary: "Closes connections: the one from an address, or all that fit the filters.",
    complexity: "O(N) where N is the number of clients",
    syntax: "<addr | <[ID client-id:integer] | [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] | \
             [USER username] | [ADDR addr] | [LADDR laddr] | [SKIPME <YES | NO>] | [MAXAGE maxage:integer]> ...>",
    run: kill,
    ..SUBCOMMAND
};

/// Who is to go.
#[derive(Default)]
struct Filter<'a> {
    id: Option<u64>,
    /// `Some(None)`: a class without members.
    class: Option<Option<ClientClass>>,
    user: Option<&'a [u8]>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    spare_own: bool,
    min_age_s: i64,
}

impl<'a> Filter<'a> {
    fn parse(args: Args<'a>, acl: &Acl) -> CommandResult<Self> {
        if let [address] = args.from(2) {
            return Ok(Self { address: Some(address), ..Self::default() });
        }
        let mut filter = Self { spare_own: true, ..Self::default() };
        for pair in args.from(2).chunks(2) {
            let &[option, value] = pair else { return Err(CommandError::Syntax) };
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            if is("id") {
                let id =
                    crate::args::parse_i64(value).and_then(|id| u64::try_from(id).ok()).filter(|&id| id > 0);
                filter.id = Some(id.ok_or(CommandError::new("ERR client-id should be greater than 0"))?);
            } else if is("type") {
                filter.class = Some(parse_class(value)?);
            } else if is("addr") {
                filter.address = Some(value);
            } else if is("laddr") {
                filter.local_address = Some(value);
            } else if is("user") {
                if acl.get(value).is_none() {
                    return Err(CommandError::Bytes([b"ERR No such user '", value, b"'"].concat()));
                }
                filter.user = Some(value);
            } else if is("skipme") && value.eq_ignore_ascii_case(b"yes") {
                filter.spare_own = true;
            } else if is("skipme") && value.eq_ignore_ascii_case(b"no") {
                filter.spare_own = false;
            } else if is("maxage") {
                const NO_NUMBER: CommandError =
                    CommandError::new("ERR maxage is not an integer or out of range");
                filter.min_age_s = crate::args::parse_i64(value).ok_or(NO_NUMBER)?;
                if filter.min_age_s <= 0 {
                    return Err("ERR maxage should be greater than 0".into());
                }
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(filter)
    }

    fn fits(&self, client: &ClientState, now_ms: i64) -> bool {
        self.id.is_none_or(|id| id == client.id)
            && self.class.is_none_or(|class| class == Some(client.class()))
            && self.user.is_none_or(|user| user == client.login.name())
            && self.address.is_none_or(|address| address == client.info.address.as_bytes())
            && self.local_address.is_none_or(|address| address == client.info.local_address.as_bytes())
            && (now_ms - client.connected_at_ms) / 1000 >= self.min_age_s
            && !client.close_now
    }
}

fn kill(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let filter = Filter::parse(args, &cx.shared.acl)?;
    let now_ms = cx.now_ms();
    let others: Vec<usize> = cx
        .shared
        .clients
        .iter()
        .filter(|(_, client)| client.as_deref().is_some_and(|client| filter.fits(&client.state, now_ms)))
        .map(|(slot, _)| slot)
        .collect();
    let own = !filter.spare_own && filter.fits(cx.client, now_ms);
    for &slot in &others {
        cx.shared.kill(slot);
    }
    // It is still told.
    cx.client.close_after_reply |= own;
    let killed = others.len() + usize::from(own);
    if args.len() > 3 {
        cx.reply.int(killed as i64);
    } else if killed > 0 {
        cx.reply.ok();
    } else {
        return Err("ERR No such client".into());
    }
    Ok(())
}
