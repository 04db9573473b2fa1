//! One set of permissions: commands, keys, channels. A user has a root selector and any number of others; what any one of
//! them allows as a whole is allowed.

use super::category;
use crate::args::Args;
use crate::command::{Entry, Flag, Group, KeyAccess, table};
use crate::glob;

/// Why a rule was refused. The texts are Redis's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error("Unknown command or category name in ACL")]
    UnknownCommand,
    #[error("Syntax error")]
    Syntax,
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try \
         'resetkeys' to start with an empty list of patterns"
    )]
    KeysAfterAll,
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. \
         Try 'resetchannels' to start with an empty list of channels"
    )]
    ChannelsAfterAll,
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
    )]
    BadHash,
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgOfSubcommand,
}

/// What stands in the way of a command. Ordered as Redis weighs them: of what several selectors say, the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denial {
    Command,
    /// The key that is this argument.
    Key(usize),
    /// The channel that is this argument.
    Channel(usize),
}

/// What a command does to one of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub read: bool,
    pub write: bool,
}

impl Access {
    fn of(access: &KeyAccess) -> Self {
        Self {
            read: access.flags.contains(&"ACCESS"),
            write: access.flags.iter().any(|flag| matches!(*flag, "INSERT" | "DELETE" | "UPDATE")),
        }
    }
}

/// The keys of one command, found at most once however many selectors look at them.
#[derive(Default)]
pub struct KeysOf {
    found: Option<Vec<(usize, Access)>>,
}

impl KeysOf {
    fn of(&mut self, entry: &Entry, args: Args<'_>) -> &[(usize, Access)] {
        self.found.get_or_insert_with(|| {
            // Keys that cannot be told apart here make the handler fail on the same arguments.
            let keys = entry.keys_with_access(args).unwrap_or_default();
            keys.into_iter().map(|(at, access)| (at, Access::of(&access))).collect()
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    access: Access,
    glob: Box<[u8]>,
}

impl KeyPattern {
    fn describe(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(match (self.access.read, self.access.write) {
            (true, false) => b"%R~",
            (false, true) => b"%W~",
            _ => b"~",
        });
        into.extend_from_slice(&self.glob);
    }

    fn allows(&self, access: Access) -> bool {
        (self.access.read || !access.read) && (self.access.write || !access.write)
    }
}

/// `+get`, `-@dangerous`: kept as given, so that they can be shown and applied again to another version's commands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CommandRule {
    allow: bool,
    /// Without the sign, in lower case.
    text: Box<[u8]>,
}

/// One set of permissions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    all_keys: bool,
    pub(super) all_channels: bool,
    /// Not a single command has been taken away since `+@all`.
    all_commands: bool,
    /// The command rules start from `+@all`, not from `-@all`.
    from_all: bool,
    rules: Vec<CommandRule>,
    /// A bit for each command, by [`Entry::index`].
    commands: Box<[u64]>,
    /// First arguments with which a command that is otherwise not allowed may be called: `+select|0`.
    first_args: Vec<(usize, Box<[u8]>)>,
    keys: Vec<KeyPattern>,
    pub(super) channels: Vec<Box<[u8]>>,
}

impl Selector {
    /// Allows nothing; `all_channels` as `acl-pubsub-default` says.
    pub fn new(all_channels: bool) -> Self {
        let words = table().entries().len().div_ceil(64);
        Self { all_channels, commands: vec![0; words].into(), ..Self::default() }
    }

    /// Reads the rules of `(…)`.
    pub fn parse(text: &[u8], all_channels: bool) -> Result<Self, RuleError> {
        let mut selector = Self::new(all_channels);
        for rule in cairn_proto::split_args(text).ok_or(RuleError::Syntax)? {
            selector.apply(&rule)?;
        }
        Ok(selector)
    }

    /// Is there nothing that it does not allow?
    pub fn allows_all(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels
    }

    /// Changes the permissions by one rule.
    pub fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let is = |words: [&str; 2]| words.iter().any(|word| rule.eq_ignore_ascii_case(word.as_bytes()));
        if is(["allkeys", "~*"]) {
            self.all_keys = true;
            self.keys.clear();
        } else if is(["resetkeys", "resetkeys"]) {
            self.all_keys = false;
            self.keys.clear();
        } else if is(["allchannels", "&*"]) {
            self.all_channels = true;
            self.channels.clear();
        } else if is(["resetchannels", "resetchannels"]) {
            self.all_channels = false;
            self.channels.clear();
        } else if is(["allcommands", "+@all"]) {
            self.set_all_commands(true);
        } else if is(["nocommands", "-@all"]) {
            self.set_all_commands(false);
        } else {
            match rule {
                [b'~', glob @ ..] => self.add_key(glob, Access { read: true, write: true })?,
                [b'%', rest @ ..] => {
                    let (access, glob) = permissions(rest).ok_or(RuleError::Syntax)?;
                    self.add_key(glob, access)?;
                }
                [b'&', glob @ ..] => self.add_channel(glob)?,
                [sign @ (b'+' | b'-'), b'@', name @ ..] => self.set_category(name, *sign == b'+')?,
                [b'+', name @ ..] => self.allow(name)?,
                [b'-', name @ ..] => {
                    let entry = table().find_full(name).ok_or(RuleError::UnknownCommand)?;
                    self.set_command(entry, false);
                    self.keep_rule(entry.full_name.as_bytes(), false);
                }
                _ => return Err(RuleError::Syntax),
            }
        }
        Ok(())
    }

    fn add_key(&mut self, glob: &[u8], access: Access) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::KeysAfterAll);
        }
        if has_blanks(glob) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| *known.glob == *glob) {
            Some(known) => {
                known.access.read |= access.read;
                known.access.write |= access.write;
            }
            None => self.keys.push(KeyPattern { access, glob: glob.into() }),
        }
        Ok(())
    }

    fn add_channel(&mut self, glob: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::ChannelsAfterAll);
        }
        if has_blanks(glob) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| **known == *glob) {
            self.channels.push(glob.into());
        }
        Ok(())
    }

    fn set_all_commands(&mut self, allow: bool) {
        self.commands.fill(if allow { u64::MAX } else { 0 });
        self.all_commands = allow;
        self.from_all = allow;
        self.rules.clear();
        self.first_args.clear();
    }

    fn set_category(&mut self, name: &[u8], allow: bool) -> Result<(), RuleError> {
        let category = category::find(name).ok_or(RuleError::UnknownCommand)?;
        self.keep_rule(format!("@{category}").as_bytes(), allow);
        for entry in table().entries() {
            if category::contains(category, entry) {
                self.set_command(entry, allow);
            }
        }
        Ok(())
    }

    /// `+get`, `+config|get`, `+select|0`.
    fn allow(&mut self, name: &[u8]) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|&byte| byte == b'|') else {
            let entry = table().find(name).ok_or(RuleError::UnknownCommand)?;
            self.set_command(entry, true);
            self.keep_rule(entry.full_name.as_bytes(), true);
            return Ok(());
        };
        let (command, arg) = (&name[..bar], &name[bar + 1..]);
        let entry = table().find_full(command).ok_or(RuleError::UnknownCommand)?;
        if entry.parent.is_some() {
            return Err(RuleError::FirstArgOfSubcommand);
        }
        // Blanks would fall apart where the rule is written down.
        if arg.is_empty() || has_blanks(arg) {
            return Err(RuleError::Syntax);
        }
        if entry.subcommands.is_empty() {
            let arg: Box<[u8]> = arg.to_ascii_lowercase().into();
            if !self.first_args.contains(&(entry.index, arg.clone())) {
                self.first_args.push((entry.index, arg));
            }
        } else {
            let sub = table().find_sub(entry, arg).ok_or(RuleError::UnknownCommand)?;
            self.set_command(sub, true);
        }
        self.keep_rule(name, true);
        Ok(())
    }

    /// A container's subcommands go with it.
    fn set_command(&mut self, entry: &Entry, allow: bool) {
        self.first_args.retain(|(index, _)| *index != entry.index);
        self.set_bit(entry.index, allow);
        for &index in entry.subcommands.values() {
            self.set_bit(index, allow);
        }
    }

    fn set_bit(&mut self, index: usize, allow: bool) {
        let bit = 1 << (index % 64);
        if allow {
            self.commands[index / 64] |= bit;
        } else {
            self.commands[index / 64] &= !bit;
            self.all_commands = false;
        }
    }

    /// The newest rule about a command replaces those before it, also about its subcommands.
    fn keep_rule(&mut self, text: &[u8], allow: bool) {
        let text: Box<[u8]> = text.to_ascii_lowercase().into();
        self.rules.retain(|rule| match rule.text.strip_prefix(&*text) {
            Some(rest) => !(rest.is_empty() || rest[0] == b'|'),
            None => true,
        });
        self.rules.push(CommandRule { allow, text });
    }

    /// May a user with only this selector run the command?
    pub fn check(&self, entry: &Entry, args: Args<'_>, keys: &mut KeysOf) -> Result<(), Denial> {
        if !(self.all_commands || entry.flags.has(Flag::NoAuth) || self.allows_command(entry, args)) {
            return Err(Denial::Command);
        }
        if !self.all_keys && !entry.spec.keys.is_empty() {
            for &(at, access) in keys.of(entry, args) {
                if !self.allows_key(args[at], access) {
                    return Err(Denial::Key(at));
                }
            }
        }
        if !self.all_channels
            && let Some((channels, literal)) = channels_of(entry, args)
        {
            for at in channels {
                if !self.allows_channel(args[at], literal) {
                    return Err(Denial::Channel(at));
                }
            }
        }
        Ok(())
    }

    fn allows_command(&self, entry: &Entry, args: Args<'_>) -> bool {
        if self.commands[entry.index / 64] >> (entry.index % 64) & 1 == 1 {
            return true;
        }
        let Some(first) = args.get(1) else { return false };
        self.first_args.iter().any(|(index, arg)| *index == entry.index && first.eq_ignore_ascii_case(arg))
    }

    fn allows_key(&self, key: &[u8], access: Access) -> bool {
        self.keys.iter().any(|pattern| pattern.allows(access) && glob::matches(&pattern.glob, key, false))
    }

    /// Does it let every key be read?
    pub fn reads_all_keys(&self) -> bool {
        let read = Access { read: true, write: false };
        self.all_keys || self.keys.iter().any(|pattern| pattern.allows(read) && *pattern.glob == *b"*")
    }

    fn allows_channel(&self, channel: &[u8], literal: bool) -> bool {
        self.all_channels || matches_any(&self.channels, channel, literal)
    }

    /// `+@all -@dangerous`: the command rules.
    pub fn describe_commands(&self) -> Vec<u8> {
        let mut text = if self.from_all { b"+@all".to_vec() } else { b"-@all".to_vec() };
        for rule in &self.rules {
            text.extend_from_slice(if rule.allow { b" +" } else { b" -" });
            text.extend_from_slice(&rule.text);
        }
        text
    }

    /// The key patterns, as rules.
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let mut text = Vec::new();
        for pattern in &self.keys {
            if !text.is_empty() {
                text.push(b' ');
            }
            pattern.describe(&mut text);
        }
        text
    }

    /// The channel patterns, as rules.
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let channels: Vec<Vec<u8>> = self.channels.iter().map(|glob| [b"&", &**glob].concat()).collect();
        channels.join(&b' ')
    }

    /// The rules that make it of one that allows nothing.
    pub fn describe(&self) -> Vec<u8> {
        let mut parts = vec![self.describe_keys()];
        if !self.all_channels {
            parts.push(b"resetchannels".to_vec());
        }
        parts.push(self.describe_channels());
        parts.push(self.describe_commands());
        parts.retain(|part| !part.is_empty());
        parts.join(&b' ')
    }
}

/// `RW~glob`: what may be done to which keys.
fn permissions(text: &[u8]) -> Option<(Access, &[u8])> {
    let tilde = text.iter().position(|&byte| byte == b'~')?;
    let mut access = Access { read: false, write: false };
    for letter in &text[..tilde] {
        let flag = match letter.to_ascii_uppercase() {
            b'R' => &mut access.read,
            b'W' => &mut access.write,
            _ => return None,
        };
        if std::mem::replace(flag, true) {
            return None;
        }
    }
    (access.read || access.write).then_some((access, &text[tilde + 1..]))
}

/// Which arguments are channels to publish to or to listen to; and whether they are patterns, which have to be allowed to the
/// letter.
fn channels_of(entry: &Entry, args: Args<'_>) -> Option<(std::ops::Range<usize>, bool)> {
    if entry.spec.group != Group::PubSub {
        return None;
    }
    match entry.full_name.as_str() {
        "publish" | "spublish" => Some((1..2, false)),
        "subscribe" | "ssubscribe" => Some((1..args.len(), false)),
        "psubscribe" => Some((1..args.len(), true)),
        _ => None,
    }
}

/// Is the channel, or the pattern to the letter, among those allowed?
pub(super) fn matches_any(allowed: &[Box<[u8]>], channel: &[u8], literal: bool) -> bool {
    allowed.iter().any(|pattern| match literal {
        true => **pattern == *channel,
        false => glob::matches(pattern, channel, false),
    })
}

/// What cannot be told from the end of a word in a file.
pub fn has_blanks(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0))
}
