//! How two nodes make sure of each other.
//!
//! ```text
//!   caller                                                            callee
//!     │ Hello { caller, callee?, purpose, nonce, secret? } ──────────────▶ │
//!     │ ◀─────────────────────── Challenge { callee, nonce, secret? }      │  or Refusal
//!     │ Proof = HMAC(secret, "caller" ‖ Hello ‖ Challenge) ──────────────▶ │
//!     │ ◀─ Welcome { HMAC(secret, "callee" ‖ Hello ‖ Challenge), info }    │  or Refusal
//!     │ Introduction { info } ───────────────────────────────────────────▶ │
//! ```
//!
//! Both nonces are new each time, so that a recording proves nothing; the proofs differ by who gives them, so that sending one
//! back does not either. A node that has a secret speaks to none that has not, and the other way round: a secret set on one
//! node alone is a mistake to be noticed. What a node says of itself, with the token that forwarded sessions show, comes only after
//! the other one's proof. Who can change what is on the wire later on is kept out by TLS alone.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::conn::{Conn, ConnError};
use super::message::{Challenge, Control, Hello, NONCE_LEN, Purpose, Refusal};
use super::net::Net;
use crate::admin::PeerInfo;
use crate::types::NodeId;

const MAGIC: [u8; 8] = *b"CAIRNPER";

/// Who has called, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    pub id: NodeId,
    pub purpose: Purpose,
    pub alive_ms: u32,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error(transparent)]
    Conn(#[from] ConnError),
    /// This node turns the other one away.
    #[error("{0}")]
    Refuse(#[from] Refusal),
    /// The other one turns this node away: as it sees it.
    #[error("turned away: {0}")]
    Refused(Refusal),
    #[error("another node answers there: {actual:016x} instead of {wanted:016x}")]
    WrongNode { wanted: NodeId, actual: NodeId },
}

/// What a node brings to a handshake.
pub struct Credentials<'a> {
    pub secret: Option<&'a [u8]>,
    pub net: &'a dyn Net,
    pub me: PeerInfo,
}

/// The caller's side. Returns what the callee says of itself.
pub async fn call(
    conn: &mut Conn,
    credentials: &Credentials<'_>,
    callee: Option<NodeId>,
    purpose: Purpose,
    alive_ms: u32,
) -> Result<PeerInfo, HandshakeError> {
    let secret = credentials.secret;
    let hello = Hello {
        magic: MAGIC,
        caller: credentials.me.id,
        callee,
        purpose,
        nonce: nonce(credentials.net),
        secret: secret.is_some(),
        alive_ms,
    };
    conn.send_control(0, &Control::Hello(hello.clone()));
    let challenge = match conn.recv_control().await?.1 {
        Control::Challenge(challenge) => challenge,
        other => return Err(unexpected(other)),
    };
    if let Some(wanted) = callee.filter(|wanted| *wanted != challenge.callee) {
        return Err(HandshakeError::WrongNode { wanted, actual: challenge.callee });
    }
    agree(secret.is_some(), challenge.secret)?;
    conn.send_control(0, &Control::Proof(proof(secret, Role::Caller, &hello, &challenge)));
    let info: PeerInfo = match conn.recv_control().await?.1 {
        Control::Welcome { proof, info } => {
            verify(secret, Role::Callee, &hello, &challenge, &proof)?;
            info.into()
        }
        other => return Err(unexpected(other)),
    };
    if info.id != challenge.callee {
        return Err(Refusal::Identity.into());
    }
    conn.trust();
    conn.send_control(0, &Control::Introduction((&credentials.me).into()));
    Ok(info)
}

/// The callee's side, up to the welcome: the introduction is the caller's first message. When it turns the caller away, it has told it
/// so.
pub async fn answer(conn: &mut Conn, credentials: &Credentials<'_>) -> Result<Caller, HandshakeError> {
    let answered = try_answer(conn, credentials).await;
    if let Err(HandshakeError::Refuse(refusal)) = &answered {
        conn.send_control(0, &Control::Refusal(refusal.clone()));
        conn.flush().await?;
    }
    answered
}

async fn try_answer(conn: &mut Conn, credentials: &Credentials<'_>) -> Result<Caller, HandshakeError> {
    let (secret, me) = (credentials.secret, &credentials.me);
    let Control::Hello(hello) = conn.recv_control().await?.1 else {
        return Err(Refusal::Magic.into());
    };
    if hello.magic != MAGIC {
        return Err(Refusal::Magic.into());
    }
    agree(secret.is_some(), hello.secret)?;
    let challenge = Challenge { callee: me.id, nonce: nonce(credentials.net), secret: secret.is_some() };
    conn.send_control(0, &Control::Challenge(challenge.clone()));
    match conn.recv_control().await?.1 {
        Control::Proof(proof) => verify(secret, Role::Caller, &hello, &challenge, &proof)?,
        other => return Err(unexpected(other)),
    }
    if let Some(wanted) = hello.callee.filter(|wanted| *wanted != me.id) {
        return Err(Refusal::WrongNode { wanted, actual: me.id }.into());
    }
    let proof = proof(secret, Role::Callee, &hello, &challenge);
    conn.send_control(0, &Control::Welcome { proof, info: me.into() });
    conn.flush().await?;
    conn.trust();
    Ok(Caller { id: hello.caller, purpose: hello.purpose, alive_ms: hello.alive_ms })
}

fn unexpected(control: Control) -> HandshakeError {
    match control {
        Control::Refusal(refusal) => HandshakeError::Refused(refusal),
        other => ConnError::Unexpected(other.name()).into(),
    }
}

fn nonce(net: &dyn Net) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    net.fill_random(&mut nonce);
    nonce
}

fn agree(mine: bool, theirs: bool) -> Result<(), Refusal> {
    match (mine, theirs) {
        (true, false) => Err(Refusal::SecretMissing),
        (false, true) => Err(Refusal::SecretUnknown),
        _ => Ok(()),
    }
}

#[derive(Clone, Copy)]
enum Role {
    Caller,
    Callee,
}

fn mac(secret: &[u8], role: Role, hello: &Hello, challenge: &Challenge) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length will do");
    mac.update(match role {
        Role::Caller => b"caller",
        Role::Callee => b"callee",
    });
    for part in [Control::Hello(hello.clone()), Control::Challenge(challenge.clone())] {
        let part = part.encode();
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(&part);
    }
    mac
}

/// Zeros where there is no secret.
fn proof(secret: Option<&[u8]>, role: Role, hello: &Hello, challenge: &Challenge) -> [u8; NONCE_LEN] {
    secret.map_or([0; NONCE_LEN], |secret| mac(secret, role, hello, challenge).finalize().into_bytes().into())
}

/// In constant time.
fn verify(
    secret: Option<&[u8]>,
    role: Role,
    hello: &Hello,
    challenge: &Challenge,
    proof: &[u8; NONCE_LEN],
) -> Result<(), Refusal> {
    let Some(secret) = secret else { return Ok(()) };
    mac(secret, role, hello, challenge).verify_slice(proof).map_err(|_| Refusal::Secret)
}
