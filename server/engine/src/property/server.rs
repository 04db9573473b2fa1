//! Random commands that are of no type: databases as a whole, transactions, messages.

use super::{one_in, pick, words};
use crate::rng::Rng;

/// One command; transactions come in pieces, and now and then without beginning or end. `DEBUG` must be allowed.
pub fn random_command(rng: &Rng) -> Vec<Vec<u8>> {
    if one_in(rng, 20) {
        return words(
            rng,
            pick(rng, &["FLUSHDB", "FLUSHDB ASYNC", "FLUSHALL", "FLUSHALL SYNC", "FLUSHALL NOW"]),
        );
    }
    let line = pick(
        rng,
        &[
            "SELECT 0",
            "SELECT 0",
            "SELECT 1",
            "SELECT 2",
            "SELECT 99",
            "MULTI",
            "MULTI",
            "EXEC",
            "EXEC",
            "EXEC",
            "DISCARD",
            "WATCH K",
            "WATCH K K",
            "UNWATCH",
            "PUBLISH K m",
            "DBSIZE",
            "SWAPDB 0 1",
            "SWAPDB 1 0",
            "SWAPDB 1 1",
            "SWAPDB 0 99",
            "PING",
            "RESET",
            "DEBUG POPULATE 3 k 5",
            "DEBUG POPULATE 20 k",
            "GET K",
            "SET K v",
            "SET K v PX 5",
            "NOSUCH K",
        ],
    );
    words(rng, line)
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::config::{Config, ProtectedAction};
    use crate::rng::Rng;
    use crate::testing::TestEngine;

    #[test]
    fn effects_of_random_transactions_rebuild_the_state() {
        for seed in 0..60 {
            let rng = Rng::new(seed);
            let config = Config { enable_debug_command: ProtectedAction::Yes, ..Config::default() };
            let mut server = TestEngine::with_config(config, seed);
            let clients: Vec<_> = (0..3).map(|_| server.connect(Resp::V2)).collect();
            for _ in 0..200 {
                let command = super::random_command(&rng);
                let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
                server.send(clients[rng.below(3) as usize], &args);
                if rng.below(10) == 0 {
                    server.advance(rng.below(4) as i64);
                }
            }
            let replica = server.replica();
            let digest = |server: &TestEngine| crate::digest::keyspace(server.engine.keys.dbs());
            assert_eq!(digest(&server), digest(&replica), "seed {seed}");
        }
    }
}
