//! CLIENT TRACKING and what belongs to it: client-side caching, see [`crate::tracking`].

use std::collections::BTreeSet;

use super::SUBCOMMAND;
use crate::args::Args;
use crate::command::Command;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::tracking::{Tracking, TrackingMode};

pub(super) static TRACKING: Command = Command {
    name: "tracking",
    arity: -3,
    since: "6.0.0",
    summary: "Lets the server tell the client which keys it must not cache any longer.",
    complexity: "O(1), and O(P) with P prefixes",
    syntax: "<ON | OFF> [REDIRECT client-id:integer] [PREFIX prefix:string [PREFIX prefix:string ...]] [BCAST] \
             [OPTIN] [OPTOUT] [NOLOOP]",
    run: tracking,
    ..SUBCOMMAND
};

const ONE_REDIRECT: CommandError =
    CommandError::new("ERR A client can only redirect to a single other client");
const NO_SUCH_CLIENT: CommandError =
    CommandError::new("ERR The client ID you want redirect to does not exist");
const PREFIX_WITHOUT_BCAST: CommandError =
    CommandError::new("ERR PREFIX option requires BCAST mode to be enabled");
const BCAST_SWITCHED: CommandError = CommandError::new(
    "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a \
     different mode.",
);
const BCAST_WITH_OPT: CommandError = CommandError::new("ERR OPTIN and OPTOUT are not compatible with BCAST");
const BOTH_OPTS: CommandError = CommandError::new("ERR You can't specify both OPTIN mode and OPTOUT mode");
const OPT_SWITCHED: CommandError = CommandError::new(
    "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a \
     different mode.",
);

/// The options as they were given.
#[derive(Default)]
struct Options<'a> {
    redirect: Option<u64>,
    prefixes: Vec<&'a [u8]>,
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    no_loop: bool,
}

impl<'a> Options<'a> {
    fn parse(cx: &Context<'_>, args: Args<'a>) -> CommandResult<Self> {
        let mut options = Self::default();
        let mut i = 3;
        while i < args.len() {
            let has_value = i + 1 < args.len();
            if args.is(i, "REDIRECT") && has_value {
                if options.redirect.is_some() {
                    return Err(ONE_REDIRECT);
                }
                // 0 is nobody, and the same as no redirection.
                let id = u64::try_from(args.int(i + 1)?).map_err(|_| NO_SUCH_CLIENT)?;
                if !cx.shared.slots_by_id.contains_key(&id) {
                    return Err(NO_SUCH_CLIENT);
                }
                options.redirect = Some(id);
                i += 1;
            } else if args.is(i, "PREFIX") && has_value {
                options.prefixes.push(args.at(i + 1));
                i += 1;
            } else if args.is(i, "BCAST") {
                options.broadcast = true;
            } else if args.is(i, "OPTIN") {
                options.opt_in = true;
            } else if args.is(i, "OPTOUT") {
                options.opt_out = true;
            } else if args.is(i, "NOLOOP") {
                options.no_loop = true;
            } else {
                return Err(CommandError::Syntax);
            }
            i += 1;
        }
        Ok(options)
    }

    /// The mode, if the client may have it.
    fn mode(&self, before: Option<&Tracking>) -> CommandResult<TrackingMode> {
        let was = before.map(|tracking| tracking.mode);
        if !self.broadcast && !self.prefixes.is_empty() {
            return Err(PREFIX_WITHOUT_BCAST);
        }
        if was.is_some_and(|was| (was == TrackingMode::Broadcast) != self.broadcast) {
            return Err(BCAST_SWITCHED);
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return Err(BCAST_WITH_OPT);
        }
        match (self.opt_in, self.opt_out) {
            (true, true) => Err(BOTH_OPTS),
            (true, false) if was == Some(TrackingMode::OptOut) => Err(OPT_SWITCHED),
            (false, true) if was == Some(TrackingMode::OptIn) => Err(OPT_SWITCHED),
            (true, false) => Ok(TrackingMode::OptIn),
            (false, true) => Ok(TrackingMode::OptOut),
            (false, false) if self.broadcast => Ok(TrackingMode::Broadcast),
            (false, false) => Ok(TrackingMode::Default),
        }
    }

    /// No key may have two prefixes of one client, or the client would hear of it twice.
    fn check_prefixes(&self, before: Option<&Tracking>) -> CommandResult {
        let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
        for (at, &prefix) in self.prefixes.iter().enumerate() {
            let existing =
                before.and_then(|tracking| tracking.prefixes.iter().find(|old| overlap(old, prefix)));
            if let Some(existing) = existing {
                return Err(overlapping(prefix, b"an existing prefix", existing));
            }
            if let Some(other) = self.prefixes[at + 1..].iter().find(|other| overlap(other, prefix)) {
                return Err(overlapping(prefix, b"another provided prefix", other));
            }
        }
        Ok(())
    }
}

fn overlapping(prefix: &[u8], what: &[u8], other: &[u8]) -> CommandError {
    let rest = b"'. Prefixes for a single client must not overlap.";
    CommandError::Bytes([b"ERR Prefix '", prefix, b"' overlaps with ", what, b" '", other, rest].concat())
}

fn tracking(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let options = Options::parse(cx, args)?;
    if args.is(2, "off") {
        cx.shared.tracking.disable(cx.client);
        cx.reply.ok();
        return Ok(());
    }
    if !args.is(2, "on") {
        return Err(CommandError::Syntax);
    }
    let before = cx.client.tracking.as_deref();
    let mode = options.mode(before)?;
    options.check_prefixes(before)?;
    let mut prefixes: BTreeSet<Box<[u8]>> = options.prefixes.iter().map(|&prefix| prefix.into()).collect();
    if mode == TrackingMode::Broadcast && prefixes.is_empty() {
        // Every key begins with nothing.
        prefixes.insert(Box::default());
    }
    let tracking = Tracking {
        mode,
        redirect: options.redirect,
        redirect_broken: false,
        no_loop: options.no_loop,
        caching: before.is_some_and(|before| before.caching),
        prefixes,
        prefix_bytes: 0,
    };
    cx.shared.tracking.enable(cx.client, tracking);
    cx.reply.ok();
    Ok(())
}

pub(super) static CACHING: Command = Command {
    name: "caching",
    arity: 3,
    since: "6.0.0",
    summary: "Says of the next command that its keys will be cached, or will not.",
    syntax: "<YES | NO>",
    run: caching,
    ..SUBCOMMAND
};

fn caching(cx: &mut Context<'_>, args: Args<'_>) -> CommandResult {
    let Some(tracking) = &mut cx.client.tracking else {
        return Err(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT \
                    mode enabled"
                .into(),
        );
    };
    if args.is(2, "yes") {
        if tracking.mode != TrackingMode::OptIn {
            return Err("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.".into());
        }
    } else if args.is(2, "no") {
        if tracking.mode != TrackingMode::OptOut {
            return Err("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.".into());
        }
    } else {
        return Err(CommandError::Syntax);
    }
    tracking.caching = true;
    cx.reply.ok();
    Ok(())
}

pub(super) static GETREDIR: Command = Command {
    name: "getredir",
    arity: 2,
    since: "6.0.0",
    summary: "Returns the number of the client that is told in place of this one; 0: none, -1: nothing is tracked.",
    run: getredir,
    ..SUBCOMMAND
};

fn getredir(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    cx.reply.int(redirection(cx.client.tracking.as_deref()));
    Ok(())
}

/// As GETREDIR and CLIENT LIST tell it.
pub(super) fn redirection(tracking: Option<&Tracking>) -> i64 {
    tracking.map_or(-1, |tracking| tracking.redirect.unwrap_or(0) as i64)
}

pub(super) static TRACKINGINFO: Command = Command {
    name: "trackinginfo",
    arity: 2,
    since: "6.2.0",
    summary: "Describes what is tracked for this connection.",
    run: trackinginfo,
    ..SUBCOMMAND
};

fn trackinginfo(cx: &mut Context<'_>, _args: Args<'_>) -> CommandResult {
    let tracking = cx.client.tracking.as_deref();
    let mut flags = vec![if tracking.is_some() { "on" } else { "off" }];
    if let Some(tracking) = tracking {
        match tracking.mode {
            TrackingMode::Default => {}
            TrackingMode::Broadcast => flags.push("bcast"),
            TrackingMode::OptIn => {
                flags.push("optin");
                flags.extend(tracking.caching.then_some("caching-yes"));
            }
            TrackingMode::OptOut => {
                flags.push("optout");
                flags.extend(tracking.caching.then_some("caching-no"));
            }
        }
        flags.extend(tracking.no_loop.then_some("noloop"));
        flags.extend(tracking.redirect_broken.then_some("broken_redirect"));
    }
    cx.reply.map(3);
    cx.reply.bulk(b"flags");
    cx.reply.set(flags.len());
    for flag in flags {
        cx.reply.bulk(flag.as_bytes());
    }
    cx.reply.bulk(b"redirect");
    cx.reply.int(redirection(tracking));
    cx.reply.bulk(b"prefixes");
    cx.reply.array(tracking.map_or(0, |tracking| tracking.prefixes.len()));
    for prefix in tracking.into_iter().flat_map(|tracking| &tracking.prefixes) {
        cx.reply.bulk(prefix);
    }
    Ok(())
}
