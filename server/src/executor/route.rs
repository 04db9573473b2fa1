//! Where a client's request is to be answered: here, or by the node that leads.

use std::time::Duration;

use cairn_engine::client::{Client, ClientState};
use cairn_engine::cluster::SWITCH_MASTER;
use cairn_engine::command::{Group, table};
use cairn_engine::config::ClusterRedirect;
use cairn_engine::host::Host;
use cairn_engine::routing::{self, Need};
use cairn_engine::{Args, Slot};
use tokio::time::Instant;

use super::Executor;
use cairn_replication::handle::SessionDoor;

use super::forward::{Away, Next};
use super::session::{Guest, Identity, NOT_LEADER, SUBCOMMAND, Session, SessionState, is_token};

/// What a request gets for which there is no leader. The text is Redis's.
pub const CLUSTER_DOWN: &str = "CLUSTERDOWN The cluster is down";

/// Who answers what only a leader may answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Leading {
    /// This node does.
    #[default]
    Myself,
    /// The node with these ports for clients (`tls_port` 0: none for TLS). Without its `door` it cannot be talked to yet.
    Elsewhere { host: String, port: u16, tls_port: u16, door: Option<SessionDoor> },
    /// Nobody, as far as this node knows.
    Nobody,
}

/// What the executor knows of leaders, and who waits for one.
#[derive(Default)]
pub struct Forwarding {
    /// As it was at the start of the turn.
    pub leading: Leading,
    /// Stands for what the group says, in tests of forwarding alone.
    pub fixed_leader: Option<Leading>,
    /// What sessions show that come to this node, in such tests.
    pub fixed_token: Option<[u8; 16]>,
    /// Sessions with requests to be written to the leader at the end of the turn.
    pub outgoing: Vec<Slot>,
    /// When a session that waits is to be looked at next.
    pub due: Option<Instant>,
}

/// The number of a node's first client. Those of different nodes are far apart, so that a client keeps its number where
/// its session goes; and none is too large for a double.
pub(super) fn first_client_id(node: u64) -> u64 {
    const NODE_BITS: u32 = 20;
    ((node >> (u64::BITS - NODE_BITS)) << 32) + 1
}

/// What becomes of a request.
pub enum Routed {
    /// It is executed here.
    Here,
    /// It has been passed on, or answered.
    Taken,
    /// Not now: it stays where it is, and nothing behind it is looked at.
    Wait,
}

/// Who is to answer a request of a session at the leader.
enum Place {
    Here,
    Leader,
    /// Here, unless answers of the leader are outstanding, which must come first.
    Either,
}

impl Executor {
    /// Who leads, as far as this node knows.
    pub fn leading(&self) -> Leading {
        match (&self.forwarding.fixed_leader, &self.cluster) {
            (Some(fixed), _) => fixed.clone(),
            (None, Some(cluster)) => cluster.leading(),
            (None, None) => Leading::Myself,
        }
    }

    /// What a session has to show that comes to this node from another; `None`: none may come.
    fn session_token(&self) -> Option<[u8; 16]> {
        self.forwarding
            .fixed_token
            .or_else(|| self.cluster.as_ref().map(|cluster| cluster.handle.session_token()))
    }

    /// Has it that this is the leader, whatever the group says; `token` is what sessions from other nodes show. For tests
    /// of forwarding alone.
    pub fn fix_leader(&mut self, leader: Leading, token: [u8; 16]) {
        self.forwarding.fixed_leader = Some(leader);
        self.forwarding.fixed_token = Some(token);
    }

    /// How long a request waits for a leader: long enough for an election that needs a second attempt.
    pub(super) fn leader_wait(&self) -> Duration {
        Duration::from_millis(2 * self.engine.shared.config.cluster_node_timeout + 1000)
    }

    /// Decides about a request of a client. `raw` is the request as received.
    pub(super) fn route(&mut self, session: &mut Session, slot: Slot, args: Args<'_>, raw: &[u8]) -> Routed {
        match session {
            Session::Local if self.forwarding.leading == Leading::Myself => {
                if asks_for_session(args) {
                    self.welcome(session, slot, args)
                } else if self.forgets_this_leader(args) && self.engine.is_authenticated(slot) {
                    // Somebody else leads first, and is asked then.
                    self.begin_hand_over(None, None);
                    self.send_away(session, slot)
                } else {
                    Routed::Here
                }
            }
            Session::Local => self.route_local(session, slot, args),
            Session::Away(away) => self.route_away(away, slot, args, raw),
            Session::Guest(_) => {
                session.count_request();
                Routed::Here
            }
        }
    }

    /// A session that has not needed the leader so far, on a node that does not lead.
    fn route_local(&mut self, session: &mut Session, slot: Slot, args: Args<'_>) -> Routed {
        if asks_for_session(args) && self.shows_token(args) {
            // The other node's view is older than this one's, or newer. Never pass on what was passed on.
            return self.turn_away(slot, &format!("{NOT_LEADER} this node does not lead"));
        }
        if self.engine.would_refuse_login(args) {
            // The leader may know of users and passwords that this node has not heard of yet.
            return self.send_away(session, slot);
        }
        let must_authenticate = !self.engine.is_authenticated(slot);
        let Some(client) = self.engine.client(slot) else { return Routed::Taken };
        // A stranger is refused here, by the same rules as at the leader.
        if must_authenticate {
            return Routed::Here;
        }
        if !leader_needed(args, &client.state) && !is_takeover(args) {
            return Routed::Here;
        }
        if self.engine.shared.config.cluster_redirect == ClusterRedirect::Moved
            && let Some(routed) = self.redirect(slot, args)
        {
            return routed;
        }
        self.send_away(session, slot)
    }

    /// The session goes to whoever leads.
    fn send_away(&mut self, session: &mut Session, slot: Slot) -> Routed {
        let Some(client) = self.engine.client(slot) else { return Routed::Taken };
        let state = SessionState::of(client);
        let token = self.upstream_token(slot);
        *session = Session::Away(Box::new(Away::new(state, token, Instant::now() + self.leader_wait())));
        self.forwarding.due = Some(Instant::now());
        Routed::Wait
    }

    /// A session at the leader, or on its way there.
    fn route_away(&mut self, away: &mut Away, slot: Slot, args: Args<'_>, raw: &[u8]) -> Routed {
        let now_ms = self.engine.shared.now_ms;
        // CLUSTER FAILOVER to a replica: the leader is asked to hand over to this node.
        let takeover = if is_takeover(args) { self.ask_for_leadership() } else { None };
        let Some(client) = self.engine.client(slot) else { return Routed::Taken };
        let raw = takeover.as_deref().unwrap_or(raw);
        // A user whom this node has not heard of yet has permissions only there.
        let stranger = away.is_open() && !client.state.login.is_known();
        let place = if takeover.is_some() || away.claims_all() || stranger {
            Place::Leader
        } else if away.is_open() {
            place(args, &client.state)
        } else if leader_needed(args, &client.state) {
            Place::Leader
        } else {
            Place::Here
        };
        let idle = away.is_idle();
        if idle && matches!(place, Place::Here | Place::Either) {
            return Routed::Here;
        }
        if matches!(place, Place::Here) {
            away.wait_for_answers();
            return Routed::Wait;
        }
        match away.relay(raw) {
            Next::Relayed => {
                client.state.last_command_at_ms = now_ms;
                if args.is(0, "reset") {
                    // READONLY is this node's to know.
                    client.state.readonly = false;
                }
                if away.list() {
                    self.forwarding.outgoing.push(slot);
                }
                Routed::Taken
            }
            Next::NoRoom => Routed::Wait,
            Next::NoLeader => {
                if away.is_given_up() {
                    self.engine.refuse(slot, CLUSTER_DOWN);
                    return Routed::Taken;
                }
                away.wait_for_leader(Instant::now() + self.leader_wait());
                self.forwarding.due = Some(Instant::now());
                Routed::Wait
            }
        }
    }

    /// `cluster-redirect moved`: what clients of a Redis cluster expect. `None`: it is passed on all the same, because
    /// they would not know where to go.
    fn redirect(&mut self, slot: Slot, args: Args<'_>) -> Option<Routed> {
        let command = table().resolve(args);
        let group = command.map(|command| command.spec.group);
        let mut keys = Vec::new();
        let keyed = command.is_some_and(|command| command.key_positions(args, &mut keys) && !keys.is_empty());
        let in_multi = self.engine.client(slot).is_some_and(|client| client.state.transaction.is_some());
        if !keyed && (in_multi || group == Some(Group::Transactions)) {
            // Only what is queued tells where it belongs.
            return Some(Routed::Here);
        }
        // Nor would those who want to hear of changes: they hear of them through this node.
        let tracks = command.is_some_and(|command| command.full_name == "client|tracking");
        if !keyed && (group == Some(Group::PubSub) || tracks) {
            return None;
        }
        let text = match &self.forwarding.leading {
            Leading::Elsewhere { host, port, tls_port, .. } => {
                let by_tls = self.engine.client(slot).is_some_and(|client| client.state.info.tls);
                let port = if by_tls && *tls_port != 0 { tls_port } else { port };
                format!("MOVED {} {host}:{port}", routing::slot(args))
            }
            Leading::Nobody => CLUSTER_DOWN.to_owned(),
            Leading::Myself => return Some(Routed::Here),
        };
        self.engine.refuse(slot, &text);
        Some(Routed::Taken)
    }

    /// A session comes from another node to this one, which leads.
    fn welcome(&mut self, session: &mut Session, slot: Slot, args: Args<'_>) -> Routed {
        if !self.shows_token(args) {
            // As if there were no such subcommand.
            return Routed::Here;
        }
        let Some(identity) = args.get(3).and_then(|&bytes| Identity::decode(bytes)) else {
            return self
                .turn_away(slot, "ERR this node does not understand the other's identity of a client");
        };
        let databases = self.engine.keys.dbs().len();
        let login = self.engine.login(&identity.state.user);
        if !login.is_known() {
            // Deleted: the other node will hear of it, and disconnect the client.
            return self.turn_away(slot, "ERR this node does not know the client's user");
        }
        let Some(client) = self.engine.client(slot) else { return Routed::Taken };
        if !identity.state.give_to(client, login, databases) {
            return self.turn_away(slot, "ERR this node has fewer databases than the other");
        }
        client.state.info.address = identity.address;
        client.state.info.local_address = identity.local_address;
        client.state.info.tls = identity.tls;
        self.engine.shared.adopt_id(slot, identity.id);
        *session = Session::Guest(Box::new(Guest::new()));
        Routed::Taken
    }

    /// `FAILOVER TO` this node, for the leader.
    fn ask_for_leadership(&self) -> Option<Vec<u8>> {
        let me = self.cluster.as_ref()?.me_as_member()?;
        let port = me.port.to_string();
        let words = ["FAILOVER", "TO", &me.host, &port];
        let mut request = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| request.push_str(&format!("${}\r\n{word}\r\n", word.len())));
        Some(request.into_bytes())
    }

    /// CLUSTER FORGET of the leader, to the leader itself, while somebody else can take over.
    fn forgets_this_leader(&self, args: Args<'_>) -> bool {
        args.len() == 3
            && args.is(0, "cluster")
            && args.is(1, "forget")
            && self.can_hand_over()
            && self.cluster.as_ref().is_some_and(|cluster| cluster.is_called(args[2]))
    }

    fn shows_token(&self, args: Args<'_>) -> bool {
        let token = self.session_token();
        token.is_some_and(|token| args.get(2).is_some_and(|shown| is_token(shown, &token)))
    }

    /// Refuses the session and ends the connection.
    fn turn_away(&mut self, slot: Slot, text: &str) -> Routed {
        if let Some(client) = self.engine.client(slot) {
            client.reply.error(text);
            client.state.close_after_reply = true;
        }
        Routed::Taken
    }

    /// Takes note of a leadership won, lost or moved since the last turn.
    pub(super) fn observe_leading(&mut self) {
        let leading = self.leading();
        if leading == self.forwarding.leading {
            return;
        }
        tracing::debug!(?leading, "sessions go elsewhere");
        let deposed = std::mem::replace(&mut self.forwarding.leading, leading) == Leading::Myself;
        for slot in 0..self.connections.len() {
            let Some(connection) = self.connections[slot].as_mut() else { continue };
            match &mut connection.session {
                Session::Guest(_) => self.say_goodbye(slot),
                // What it has queued, watches or listens to is in tables that no longer count.
                Session::Local if deposed && self.engine.client(slot).is_some_and(is_bound_here) => {
                    self.say_goodbye(slot);
                }
                Session::Local => {}
                Session::Away(_) => self.leader_changed(slot),
            }
        }
    }

    /// Ends a connection after what may be sent has been sent.
    fn say_goodbye(&mut self, slot: Slot) {
        if let Some(client) = self.engine.client(slot) {
            client.state.close_after_reply = true;
        }
        self.list_for_flush(slot);
    }

    /// The end of a session of another node's client, on purpose: the other node is told to end the client's connection.
    /// Without that, as when this node no longer leads, it would look for the session's continuation elsewhere.
    pub(super) fn say_bye(&mut self, slot: Slot) {
        if let Some(Some(connection)) = self.connections.get_mut(slot)
            && let Session::Guest(guest) = &connection.session
            && self.forwarding.leading == Leading::Myself
            && let Some(bye) = guest.bye()
        {
            // Best effort: a socket that is full has an answer outstanding, whose loss ends the client as well.
            let _ = connection.stream.write_now(&[std::io::IoSlice::new(&bye)]);
        }
    }

    /// Looks after the output limits of a client whose output comes from elsewhere.
    pub(super) fn check_output(&mut self, slot: Slot) {
        let host: &dyn Host = &self.host;
        self.engine.check_output(host, slot);
    }
}

/// Does the client's session end with this node's leadership? Who listens to Sentinel's event hears it from any node.
fn is_bound_here(client: &mut Client) -> bool {
    let subscribed = client.state.subscriptions.any_but(SWITCH_MASTER);
    SessionState { subscribed, ..SessionState::of(client) }.is_bound()
}

fn is_takeover(args: Args<'_>) -> bool {
    args.len() > 1 && args.is(0, "cluster") && args.is(1, "failover")
}

pub(super) fn asks_for_session(args: Args<'_>) -> bool {
    args.len() > 1 && args.is(0, "cluster") && args[1].eq_ignore_ascii_case(SUBCOMMAND)
}

/// Who answers a request of a session that is at the leader, which then owns the connection's state: that is changed and
/// read there, and mirrored here.
fn place(args: Args<'_>, state: &ClientState) -> Place {
    let name = args[0];
    let is = |names: &[&str]| names.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()));
    if is(&["ping", "echo", "quit"]) {
        return Place::Either;
    }
    if is(&["select", "hello", "auth", "reset"]) {
        return Place::Leader;
    }
    if is(&["client"]) && args.get(1).is_some_and(|sub| is_about_itself(sub)) {
        return Place::Leader;
    }
    if leader_needed(args, state) { Place::Leader } else { Place::Here }
}

fn leader_needed(args: Args<'_>, state: &ClientState) -> bool {
    // About clients whose sessions are there, and what they do.
    let others = args.is(0, "client") && ["unblock", "pause", "unpause"].iter().any(|sub| args.is(1, sub));
    if others || args.is(0, "monitor") {
        return true;
    }
    match routing::needs_leader(args, state) {
        Need::Local => false,
        Need::Leader => true,
        Need::LeaderUnlessReadonlyRead => !state.readonly,
    }
}

/// Is this subcommand of CLIENT about the connection that sends it?
fn is_about_itself(sub: &[u8]) -> bool {
    [
        "caching",
        "getname",
        "getredir",
        "id",
        "info",
        "no-evict",
        "no-touch",
        "reply",
        "setinfo",
        "setname",
        "trackinginfo",
    ]
    .iter()
    .any(|other| sub.eq_ignore_ascii_case(other.as_bytes()))
}
