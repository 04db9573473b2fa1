//! The engine in this process as a target: no sockets, no waiting, a clock that the scripts move.

use super::{Protocol, Received, Reply, Target};
use anyhow::{Context, bail};
use cairn_engine::Slot;
use cairn_engine::testing::TestEngine;
use cairn_proto::Resp;
use std::collections::BTreeMap;
use std::time::Duration;

/// How far the clock moves while a client waits for a blocking command to end.
const STEP: Duration = Duration::from_millis(5);

/// An engine with a fake host: commands that ask something of the host (SAVE, SHUTDOWN) get no answer.
pub struct InProcess {
    engine: TestEngine,
    protocol: Protocol,
    clients: BTreeMap<String, Client>,
    control: Slot,
}

struct Client {
    slot: Slot,
    unread: Vec<u8>,
}

impl InProcess {
    /// An empty engine with the default configuration.
    #[expect(clippy::new_without_default, reason = "an engine is no plain value")]
    pub fn new() -> InProcess {
        let mut engine = TestEngine::new();
        let control = engine.connect(Resp::V2);
        InProcess { engine, protocol: Protocol::Resp2, clients: BTreeMap::new(), control }
    }

    fn client(&mut self, name: &str) -> &mut Client {
        let resp = match self.protocol {
            Protocol::Resp2 => Resp::V2,
            Protocol::Resp3 => Resp::V3,
        };
        let engine = &mut self.engine;
        let connect = || Client { slot: engine.connect(resp), unread: Vec::new() };
        self.clients.entry(name.into()).or_insert_with(connect)
    }

    /// The next reply that is complete, if there is one.
    fn next_reply(&mut self, name: &str) -> anyhow::Result<Option<Reply>> {
        let slot = self.client(name).slot;
        self.engine.release();
        let output = self.engine.output(slot);
        let resp2 = self.engine.engine.client(slot).is_some_and(|client| client.reply.resp == Resp::V2);
        let unread = &mut self.client(name).unread;
        unread.extend(output);
        let Some((reply, used)) = Reply::decode(unread)? else { return Ok(None) };
        unread.drain(..used);
        Ok(Some(if resp2 { reply.with_resp2_nulls() } else { reply }))
    }

    fn is_closed(&mut self, name: &str) -> bool {
        let slot = self.client(name).slot;
        let state = self.engine.engine.client(slot).map(|client| &client.state);
        state.is_none_or(|state| state.close_now || state.close_after_reply)
    }
}

impl Target for InProcess {
    fn reset(&mut self, protocol: Protocol) -> anyhow::Result<()> {
        *self = InProcess::new();
        self.protocol = protocol;
        Ok(())
    }

    fn send(&mut self, client: &str, args: &[Vec<u8>]) -> anyhow::Result<()> {
        let slot = self.client(client).slot;
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        self.engine.send_held(slot, &args);
        Ok(())
    }

    fn send_raw(&mut self, _: &str, _: &[u8]) -> anyhow::Result<()> {
        bail!("the engine reads no bytes: scripts with raw are for servers")
    }

    fn receive(&mut self, client: &str, limit: Duration) -> anyhow::Result<Received> {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(reply) = self.next_reply(client)? {
                return Ok(Received::Reply(reply));
            }
            if self.is_closed(client) {
                return Ok(Received::Closed);
            }
            if waited >= limit {
                return Ok(Received::Nothing);
            }
            self.elapse(STEP)?;
            waited += STEP;
        }
    }

    fn blocked_clients(&mut self) -> anyhow::Result<usize> {
        let info = self.engine.send(self.control, &[b"INFO", b"clients"]);
        let info = String::from_utf8_lossy(&info).into_owned();
        let field = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
        Ok(field.context("INFO clients has no blocked_clients")?.trim().parse()?)
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn elapse(&mut self, time: Duration) -> anyhow::Result<()> {
        self.engine.advance(i64::try_from(time.as_millis())?);
        Ok(())
    }
}
