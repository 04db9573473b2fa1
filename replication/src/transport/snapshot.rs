//! A snapshot's way to another node.
//!
//! ```text
//!   leader                                        follower
//!     │ SnapshotBegin { vote, meta, len } ───────▶ │
//!     │ ◀──────────── SnapshotOffer { offset, crc }│  what an earlier connection has left of the same snapshot
//!     │ SnapshotStart { offset } ────────────────▶ │  that, if the checksum is right; otherwise zero
//!     │ Chunk { offset, bytes } … ───────────────▶ │
//!     │ ◀─────────────────── SnapshotTaken { offset } …
//!     │ SnapshotEnd { crc } ─────────────────────▶ │
//!     │ ◀──────────────── SnapshotInstalled { vote }│
//! ```
//!
//! At most [`WINDOW`] bytes are under way without having been written. Files are read and written beside the thread that all this
//! runs on: a disk that is slow must not make heartbeats late.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cairn_storage::snapshot::{SnapshotDir, SnapshotWriter};
use tokio::time::Instant;

use super::Shared;
use super::client::{CallError, Link};
use super::frame::Kind;
use super::message::{Control, encode_chunk};
use super::net::{Net, blocking};
use crate::admin::Installed;
use crate::snapshot::Received;
use crate::types::{LogId, SnapshotMeta, Vote};

/// Bytes of a snapshot in one message.
pub const CHUNK_LEN: usize = 256 * 1024;
/// Bytes sent and not yet written at the other end.
const WINDOW: u64 = 16 * CHUNK_LEN as u64;
/// What is left of a transfer is kept so long.
const KEPT: Duration = Duration::from_secs(600);

/// Sends a snapshot over a connection that nothing else uses meanwhile. Done when it is installed.
pub async fn send(
    shared: &Shared,
    link: &mut Link,
    vote: &Vote,
    meta: &SnapshotMeta,
    content: Bytes,
    silence: Duration,
) -> Result<Installed, CallError> {
    let len = content.len() as u64;
    let begin = Control::SnapshotBegin { vote: vote.into(), meta: meta.into(), len };
    let number = link.send_control(&begin);
    let (offset, crc) = loop {
        match link.answer(shared, number, silence).await? {
            Control::SnapshotOffer { offset, crc } => break (offset, crc),
            Control::Alive => {}
            other => return Err(CallError::unexpected(&other)),
        }
    };
    let mut sent = 0;
    let mut sum = crc32fast::Hasher::new();
    if offset > 0 && offset <= len {
        let start = content.slice(..offset as usize);
        let found = blocking(&shared.net, move || checksum(&start)).await?;
        if found.clone().finalize() == crc {
            (sent, sum) = (offset, found);
        }
    }
    link.send_numbered(number, &Control::SnapshotStart { offset: sent });
    let mut taken = sent;
    let mut ended = false;
    loop {
        while sent < len && sent - taken < WINDOW {
            let end = len.min(sent + CHUNK_LEN as u64);
            let piece = content.slice(sent as usize..end as usize);
            // Copied, so that the file's pages are read there and not when the frame is written.
            let (piece, piece_sum) =
                blocking(&shared.net, move || (Bytes::copy_from_slice(&piece), checksum(&piece))).await?;
            sum.combine(&piece_sum);
            link.conn.send(Kind::Chunk, number, encode_chunk(sent, piece));
            sent = end;
        }
        if sent == len && !ended {
            link.send_numbered(number, &Control::SnapshotEnd { crc: sum.clone().finalize() });
            ended = true;
        }
        match link.answer(shared, number, silence).await? {
            Control::SnapshotTaken { offset } if offset <= sent => taken = offset,
            Control::SnapshotInstalled { vote } if ended => return Ok(Installed::new(vote.into())),
            Control::Alive => {}
            other => return Err(CallError::unexpected(&other)),
        }
    }
}

fn checksum(bytes: &[u8]) -> crc32fast::Hasher {
    let mut crc = crc32fast::Hasher::new();
    crc.update(bytes);
    crc
}

/// Snapshots on their way in: one at a time. What has arrived outlives the connection.
#[derive(Clone)]
pub struct Receiving {
    dir: SnapshotDir,
    /// The name that it is to have.
    file: String,
    partial: Arc<Mutex<Option<Partial>>>,
}

struct Partial {
    log_id: Option<LogId>,
    len: u64,
    writer: SnapshotWriter,
    crc: crc32fast::Hasher,
    /// The transfer that writes it. A later one takes it over: the leader sends one at a time, so the earlier one is dead.
    transfer: u64,
    touched: Instant,
}

/// A transfer under way.
pub struct Transfer {
    receiving: Receiving,
    net: Arc<dyn Net>,
    number: u64,
}

impl Receiving {
    pub fn new(dir: SnapshotDir, file: String) -> Receiving {
        Receiving { dir, file, partial: Arc::default() }
    }

    /// Begins a transfer, or goes on with one. Returns how much is there, and its checksum.
    pub async fn begin(
        &self,
        net: &Arc<dyn Net>,
        meta: &SnapshotMeta,
        len: u64,
    ) -> io::Result<(Transfer, u64, u32)> {
        let (receiving, log_id, now) = (self.clone(), meta.last_log_id, Instant::now());
        let (number, offset, crc) = blocking(net, move || {
            let mut slot = receiving.lock();
            let number = slot.as_ref().map_or(0, |partial| partial.transfer + 1);
            if slot.as_ref().is_none_or(|partial| (partial.log_id, partial.len) != (log_id, len)) {
                // First away with the old one: it removes its file when dropped, and the names are the same.
                *slot = None;
                let writer = receiving.dir.create_received(&receiving.file)?;
                let crc = crc32fast::Hasher::new();
                *slot = Some(Partial { log_id, len, writer, crc, transfer: number, touched: now });
            }
            let partial = slot.as_mut().expect("made above if it was not there");
            partial.transfer = number;
            partial.touched = now;
            io::Result::Ok((number, partial.writer.len(), partial.crc.clone().finalize()))
        })
        .await??;
        Ok((Transfer { receiving: self.clone(), net: Arc::clone(net), number }, offset, crc))
    }

    /// Forgets a transfer that nobody has gone on with for long.
    pub fn forget_old(&self, net: &Arc<dyn Net>) -> futures_util::future::BoxFuture<'static, ()> {
        let (receiving, now) = (self.clone(), Instant::now());
        net.run_blocking(Box::new(move || {
            receiving.lock().take_if(|partial| now.duration_since(partial.touched) > KEPT);
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Partial>> {
        // A panic while writing leaves a file that is checked against the sender's checksum before it is gone on with.
        self.partial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transfer {
    /// The sender goes on from here.
    pub async fn start(&self, offset: u64) -> io::Result<()> {
        self.change(move |receiving, slot| {
            let partial = slot.as_ref().expect("checked by the caller");
            if offset == partial.writer.len() {
                return Ok(());
            }
            if offset != 0 {
                return Err(out_of_place(offset, partial.writer.len()));
            }
            let (log_id, len) = (partial.log_id, partial.len);
            let (transfer, touched) = (partial.transfer, partial.touched);
            *slot = None;
            let writer = receiving.dir.create_received(&receiving.file)?;
            *slot = Some(Partial { log_id, len, writer, crc: crc32fast::Hasher::new(), transfer, touched });
            Ok(())
        })
        .await
    }

    /// Writes a piece; returns how much is there then.
    pub async fn write(&self, offset: u64, bytes: Bytes) -> io::Result<u64> {
        let now = Instant::now();
        self.change(move |_, slot| {
            let partial = slot.as_mut().expect("checked by the caller");
            let end = offset.saturating_add(bytes.len() as u64);
            if offset != partial.writer.len() || end > partial.len {
                return Err(out_of_place(offset, partial.writer.len()));
            }
            let written = partial.writer.write_all(&bytes);
            if written.is_err() {
                // It cannot be gone on with: nobody knows what is in it.
                *slot = None;
                return written.map(|()| end);
            }
            partial.crc.update(&bytes);
            partial.touched = now;
            Ok(end)
        })
        .await
    }

    /// All is there.
    pub async fn finish(&self, meta: SnapshotMeta, crc: u32) -> io::Result<Received> {
        self.change(move |_, slot| {
            let mut partial = slot.take().expect("checked by the caller");
            let found = partial.crc.finalize();
            if partial.writer.len() != partial.len || found != crc {
                let (found_len, len) = (partial.writer.len(), partial.len);
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "the snapshot has {found_len} of {len} bytes, checksum {found:08x}, not {crc:08x}"
                    ),
                ));
            }
            let content = partial.writer.map()?;
            Ok(Received { meta, file: partial.writer, content })
        })
        .await
    }

    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Receiving, &mut Option<Partial>) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (receiving, number) = (self.receiving.clone(), self.number);
        blocking(&self.net, move || {
            let mut slot = receiving.lock();
            if slot.as_ref().is_none_or(|partial| partial.transfer != number) {
                return Err(io::Error::other("another transfer has taken this one's place"));
            }
            work(&receiving, &mut slot)
        })
        .await?
    }
}

fn out_of_place(offset: u64, expected: u64) -> io::Error {
    let text = format!("a piece of the snapshot begins at {offset}, not at {expected}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}
