//! Access control: users, what they may do, and what was refused.
//!
//! ```text
//! user      a user: log-in and permissions; the rules of ACL SETUSER
//! selector  one set of permissions: commands, keys, channels
//! category  which commands are in `@read`, `@dangerous` …
//! password  hashes
//! text      users from and to text: the ACL file, the config file, snapshots
//! clients   what a change of users means for those who are logged in
//! log       ACL LOG
//! ```
//!
//! A client holds a [`Login`], the place of its user in the table. A user who may do everything costs a command one look at
//! a flag; for all others the selectors are looked at.
//!
//! **Where the truth is.** On a single server the users are those of the config file or of the ACL file, and what ACL
//! SETUSER changes lasts until the process ends unless it is saved (ACL SAVE, CONFIG REWRITE), as in Redis. In a cluster
//! they begin so on each node; with the first change by a command they become part of the replicated state: that change
//! is logged with all users, later ones with the user that they are about, and snapshots hold all.

pub mod category;
mod clients;
pub mod log;
pub mod password;
pub mod selector;
#[cfg(test)]
mod tests;
pub mod text;
pub mod user;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::client::ClientState;
use crate::command::Entry;
use crate::config::Config;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use log::{AccessLog, Reason, Refusal, Setting};
use password::PasswordHash;
use selector::Denial;
pub use user::{DEFAULT, User};

/// The place of the default user in the table.
const DEFAULT_ID: usize = 0;
/// In place of an id: a user whom this node does not know, or not yet. They may do nothing here.
const UNKNOWN_ID: usize = usize::MAX;
/// So many failed log-ins are answered at once; those who come after them wait.
const FAILURES_FREE: i64 = 10;
/// How much longer each further one waits, and how long at most.
const FAILURE_DELAY_MS: i64 = 50;
const FAILURE_DELAY_MAX_MS: i64 = 1000;
/// One failure is forgotten after each of these.
const FAILURE_FORGOTTEN_MS: i64 = 1000;

/// Who a client is logged in as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    id: usize,
    name: Arc<[u8]>,
}

impl Login {
    /// The default user.
    pub fn default_user() -> Self {
        Self { id: DEFAULT_ID, name: DEFAULT.into() }
    }

    /// The user's name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Is this a user whom this node knows?
    pub fn is_known(&self) -> bool {
        self.id != UNKNOWN_ID
    }
}

/// The users, and what was refused to them.
#[derive(Clone, Debug)]
pub struct Acl {
    /// By id; the default user first.
    users: Vec<Option<Box<User>>>,
    by_name: BTreeMap<Arc<[u8]>, usize>,
    /// New connections are logged in as the default user.
    default_open: bool,
    /// In a cluster: the users are part of the replicated state; then those from before that are here.
    before_replication: Option<Vec<User>>,
    /// The journal position of the last change.
    seq: u64,
    pub log: AccessLog,
    /// Refusals by [`Reason`], for INFO.
    refused: [u64; 4],
    failures: Failures,
}

/// Recent failed log-ins.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: i64,
    counted_at_ms: i64,
}

impl Failures {
    /// One more; how long its answer is to wait.
    fn add(&mut self, now_ms: i64) -> i64 {
        let forgotten = (now_ms - self.counted_at_ms) / FAILURE_FORGOTTEN_MS;
        if forgotten > 0 {
            self.count = (self.count - forgotten).max(0);
            self.counted_at_ms = now_ms;
        }
        self.count += 1;
        ((self.count - FAILURES_FREE) * FAILURE_DELAY_MS).clamp(0, FAILURE_DELAY_MAX_MS)
    }
}

impl Acl {
    /// The users of a configuration, but for those of an ACL file.
    pub fn new(config: &Config) -> Result<Self, String> {
        let mut default = User::default_user();
        set_password(&mut default, &config.requirepass);
        let mut acl = Self {
            users: Vec::new(),
            by_name: BTreeMap::new(),
            default_open: false,
            before_replication: None,
            seq: 0,
            log: AccessLog::default(),
            refused: [0; 4],
            failures: Failures::default(),
        };
        acl.put(default);
        for words in &config.users {
            acl.put(text::configured(words, all_channels(config))?);
        }
        Ok(acl)
    }

    /// The user of this name.
    pub fn get(&self, name: &[u8]) -> Option<&User> {
        self.by_id(*self.by_name.get(name)?)
    }

    /// All users, by name.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &User> {
        self.by_name.values().map(|&id| self.by_id(id).expect("names lead to users"))
    }

    fn by_id(&self, id: usize) -> Option<&User> {
        self.users.get(id)?.as_deref()
    }

    /// Who `login` is; `None` for a user whom this node does not know.
    pub fn user(&self, login: &Login) -> Option<&User> {
        self.by_id(login.id)
    }

    /// As the user of this name, known here or not.
    pub fn login(&self, name: &[u8]) -> Login {
        match self.by_name.get_key_value(name) {
            Some((name, &id)) => Login { id, name: Arc::clone(name) },
            None => Login { id: UNKNOWN_ID, name: name.into() },
        }
    }

    /// Is a new connection logged in as the default user?
    pub fn default_is_open(&self) -> bool {
        self.default_open
    }

    /// Does the default user need no password?
    pub fn default_needs_no_password(&self) -> bool {
        self.by_id(DEFAULT_ID).is_some_and(|user| user.nopass)
    }

    /// Puts a user into the table, in place of the one of the same name.
    fn put(&mut self, user: User) {
        let id = match self.by_name.get(&user.name) {
            Some(&id) => id,
            None => {
                let free = self.users.iter().position(Option::is_none);
                let id = free.unwrap_or(self.users.len());
                if id == self.users.len() {
                    self.users.push(None);
                }
                self.by_name.insert(Arc::clone(&user.name), id);
                id
            }
        };
        if id == DEFAULT_ID {
            self.default_open = user.nopass && user.enabled;
        }
        self.users[id] = Some(Box::new(user));
    }

    fn remove(&mut self, name: &[u8]) -> Option<usize> {
        let id = self.by_name.remove(name)?;
        assert_ne!(id, DEFAULT_ID, "the default user stays");
        self.users[id] = None;
        Some(id)
    }

    /// The default user has this password and no other; without one when it is empty.
    fn set_requirepass(&mut self, password: &str) {
        let mut user = self.by_id(DEFAULT_ID).expect("the default user stays").clone();
        set_password(&mut user, password);
        self.put(user);
    }

    /// Is the password that of the user, who may log in?
    pub fn accepts(&self, name: &[u8], password: &[u8]) -> bool {
        // Hashed in any case: the time taken tells nobody which users there are.
        let hash = PasswordHash::of(password);
        self.get(name).is_some_and(|user| user.accepts(&hash))
    }

    /// How often something was refused for this reason.
    pub fn refused(&self, reason: Reason) -> u64 {
        self.refused[reason as usize]
    }

    /// The users as a snapshot holds them; `None` while they are not part of the replicated state.
    pub fn snapshot(&self) -> Option<String> {
        self.before_replication.as_ref().map(|_| text::encode_all(self.users()))
    }

    /// Those that there were before any were replicated: what a state is built again from.
    pub fn without_replication(&self) -> Self {
        let Some(before) = &self.before_replication else { return self.clone() };
        let mut acl = Self { users: Vec::new(), by_name: BTreeMap::new(), ..self.clone() };
        acl.before_replication = None;
        acl.seq = 0;
        // The default user's place is the first.
        let (default, others): (Vec<User>, Vec<User>) =
            before.iter().cloned().partition(|user| *user.name == *DEFAULT);
        default.into_iter().chain(others).for_each(|user| acl.put(user));
        acl
    }

    /// Whether the users are part of the replicated state is as in `other`, whose users are about to be taken over.
    pub(crate) fn take_origin_of(&mut self, other: Self) {
        self.before_replication = other.before_replication;
        self.seq = 0;
    }

    /// From here on the users are part of the replicated state. False when they were already.
    pub fn begin_replication(&mut self) -> bool {
        if self.before_replication.is_some() {
            return false;
        }
        self.before_replication = Some(self.users().cloned().collect());
        true
    }
}

/// What `requirepass` says.
fn set_password(user: &mut User, password: &str) {
    user.nopass = password.is_empty();
    user.passwords.clear();
    if !user.nopass {
        user.passwords.push(PasswordHash::of(password.as_bytes()));
    }
}

/// Does a new user hear all channels?
pub fn all_channels(config: &Config) -> bool {
    config.acl_pubsub_default == "allchannels"
}

impl Denial {
    /// Redis's words, without the code; `verbose`: with the name of what is out of bounds, as ACL DRYRUN tells.
    pub fn text(self, user: &[u8], entry: &Entry, args: &[&[u8]], verbose: bool) -> Vec<u8> {
        let named = |at: usize, what: &str| {
            let what = format!("' {what}");
            [b"User ", user, b" has no permissions to access the '", args[at], what.as_bytes()].concat()
        };
        match self {
            Self::Command => {
                let name = entry.said_name();
                [b"User ", user, b" has no permissions to run the '", name.as_bytes(), b"' command"].concat()
            }
            Self::Key(at) if verbose => named(at, "key"),
            Self::Key(_) => b"No permissions to access a key".to_vec(),
            Self::Channel(at) if verbose => named(at, "channel"),
            Self::Channel(_) => b"No permissions to access a channel".to_vec(),
        }
    }
}

impl Context<'_> {
    /// May the client run the command of this context? A refusal is written down.
    pub(crate) fn check_permissions(&mut self, setting: Setting) -> Result<(), Denial> {
        let (command, args) = (self.command, self.args);
        self.check_permissions_for(command, args, setting)
    }

    /// [`Context::check_permissions`] of another command than the context's: one that a script calls.
    pub(crate) fn check_permissions_for(
        &mut self,
        command: &'static Entry,
        args: crate::args::Args<'_>,
        setting: Setting,
    ) -> Result<(), Denial> {
        if self.client.primary {
            return Ok(());
        }
        let checked = match self.shared.acl.user(&self.client.login) {
            Some(user) => user.check(command, args),
            None => Err(Denial::Command),
        };
        let Err(denial) = checked else { return Ok(()) };
        let (reason, object) = match denial {
            Denial::Command => (Reason::Command, command.full_name.as_bytes()),
            Denial::Key(at) => (Reason::Key, args[at]),
            Denial::Channel(at) => (Reason::Channel, args[at]),
        };
        let user = self.client.login.name().to_vec();
        self.note_refusal(Refusal { reason, setting, object: object.to_vec(), user });
        Err(denial)
    }

    /// Refuses what [`Context::check_permissions`] has found to be out of bounds.
    pub(crate) fn no_permission(&self, denial: Denial) -> CommandError {
        let text = denial.text(self.client.login.name(), self.command, self.args.as_slice(), false);
        CommandError::Bytes([b"NOPERM ", &*text].concat())
    }

    /// May the client run the command of this context and, with the permissions that allow it, read every key?
    pub(crate) fn may_read_all_keys(&self) -> bool {
        let user = self.shared.acl.user(&self.client.login);
        self.mode.applying || user.is_some_and(|user| user.check_reading_all(self.command, self.args))
    }

    fn note_refusal(&mut self, refusal: Refusal) {
        let client = crate::commands::connection::describe_own(self);
        let len_max = usize::try_from(self.shared.config.acllog_max_len).unwrap_or(usize::MAX);
        let now_ms = self.shared.now_ms;
        let acl = &mut self.shared.acl;
        acl.refused[refusal.reason as usize] += 1;
        acl.log.add(refusal, client, now_ms, len_max);
    }

    /// Makes the client that user, if the password is right. `Err`: how many milliseconds the refusal is to wait.
    pub(crate) fn authenticate(&mut self, name: &[u8], password: &[u8]) -> Result<(), i64> {
        // A password that could still be lost lets nobody in.
        self.depends_on_users();
        if self.shared.acl.accepts(name, password) {
            self.client.login = self.shared.acl.login(name);
            self.client.authenticated = true;
            return Ok(());
        }
        let in_multi = self.client.transaction.is_some() || self.mode.in_exec;
        let setting = if in_multi { Setting::Multi } else { Setting::TopLevel };
        let object = self.args[0].to_vec();
        self.note_refusal(Refusal { reason: Reason::Auth, setting, object, user: name.to_vec() });
        Err(self.shared.acl.failures.add(self.shared.now_ms))
    }

    /// To be called before users change. In a cluster the change is an effect, so only a leader that may write makes it.
    /// Says how much is to be written down by [`Context::log_users`].
    pub(crate) fn begin_change_of_users(&mut self) -> CommandResult<Changed> {
        if !self.shared.config.cluster_enabled {
            return Ok(Changed::Nothing);
        }
        if self.mode.applying {
            self.shared.acl.begin_replication();
            return Ok(Changed::Nothing);
        }
        if self.shared.replica {
            return Err(crate::dispatch::READONLY);
        }
        if let Some(refusal) = &self.shared.write_refusal {
            return Err(refusal.clone());
        }
        Ok(if self.shared.acl.begin_replication() { Changed::All } else { Changed::Some })
    }

    /// Writes down that the users of these names have changed or are gone. Redis's replicas have users of their own.
    pub(crate) fn log_users(&mut self, changed: Changed, names: &[&[u8]]) {
        match changed {
            Changed::Nothing => return,
            Changed::All => {
                let lines: Vec<String> = self.shared.acl.users().map(text::encode).collect();
                let mut effect: Vec<&[u8]> = vec![b"ACL", b"LOAD"];
                effect.extend(lines.iter().map(String::as_bytes));
                self.keep(&effect);
            }
            Changed::Some => {
                for &name in names {
                    match self.shared.acl.get(name).map(User::rules) {
                        Some(rules) => {
                            let mut effect: Vec<&[u8]> = vec![b"ACL", b"SETUSER", name, b"reset"];
                            effect.extend(rules.iter().map(Vec::as_slice));
                            self.keep(&effect);
                        }
                        None => self.keep(&[b"ACL", b"DELUSER", name]),
                    }
                }
            }
        }
        self.shared.acl.seq = self.shared.effects.newest_seq();
    }

    /// The reply tells of users: it waits for what could still be lost of them.
    pub(crate) fn depends_on_users(&mut self) {
        let seq = self.shared.acl.seq;
        self.shared.need(seq);
    }
}

/// What a change of users is written down as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// It is no part of the replicated state, or is being applied.
    Nothing,
    /// The users that have changed.
    Some,
    /// All users, because none has been written down before or all may have changed.
    All,
}

impl ClientState {
    /// Must it say AUTH first?
    pub fn must_authenticate(&self, acl: &Acl) -> bool {
        !self.authenticated && !acl.default_is_open()
    }
}
