//! Active expiry: keys and fields that nobody asks for go as well, a little at a time.

use crate::context::Context;
use crate::dispatch::{expire_fields, expire_if_due};
use crate::latency::Event;

/// Keys looked at between two looks at the clock, at `active-expire-effort` 1. More than Redis's 20, because a walk
/// goes from leaf to leaf of the table, and the rest of a leaf costs little.
const KEYS_PER_STEP: usize = 64;
/// Fields of one hash that go between two looks at the clock.
const FIELDS_PER_STEP: usize = 256;
/// A database with a smaller part of expired keys, in percent, is left until the next cycle (Redis's figure).
const ACCEPTABLE_STALE_PERCENT: usize = 10;

/// Walks on through the keys with a time to live and removes those whose time has come, for at most about `budget_us`.
/// A database where many have expired is walked on with; a calm one gets a short look. Fields come first: which of them
/// are due is known, so that nothing is walked through for them.
pub(crate) fn cycle(cx: &mut Context<'_>, budget_us: u64) {
    let started_us = cx.host.monotonic_us();
    let home = cx.keys.selected();
    let effort = cx.shared.config.active_expire_effort as usize - 1;
    let keys_per_step = KEYS_PER_STEP + KEYS_PER_STEP / 4 * effort;
    let acceptable_percent = ACCEPTABLE_STALE_PERCENT - effort;
    let mut due: Vec<Box<[u8]>> = Vec::new();
    'dbs: for _ in 0..cx.keys.dbs().len() {
        let db = cx.keys.expire_db;
        // Counted on first: a cycle that runs out of time goes on with the next database, so that all get their share.
        cx.keys.expire_db = (db + 1) % cx.keys.dbs().len();
        cx.keys.select(db);
        while let Some(key) = cx.keys.first_with_due_fields() {
            expire_fields(cx, &key, FIELDS_PER_STEP);
            if cx.host.monotonic_us().saturating_sub(started_us) > budget_us {
                cx.shared.stats.expired_time_cap_reached += 1;
                break 'dbs;
            }
        }
        while !cx.keys.db().expires.is_empty() {
            let seen = step(cx, keys_per_step, &mut due);
            let mut expired = 0;
            for key in due.drain(..) {
                expired += usize::from(expire_if_due(cx, &key));
            }
            if cx.host.monotonic_us().saturating_sub(started_us) > budget_us {
                cx.shared.stats.expired_time_cap_reached += 1;
                break 'dbs;
            }
            if expired * 100 <= seen * acceptable_percent {
                break;
            }
        }
        if cx.keys.db().expires.is_empty() {
            cx.keys.db_mut().average_ttl_ms = 0;
        }
    }
    cx.keys.select(home);
    let spent_us = cx.host.monotonic_us().saturating_sub(started_us);
    cx.shared.note_latency(Event::ExpireCycle, spent_us);
    cx.keys.expire_spent_us += spent_us;
    cx.shared.stats.expire_cycle_cpu_ms = cx.keys.expire_spent_us / 1000;
}

/// Looks at the next keys of the selected database, collects those that are due, and answers how many it saw.
fn step(cx: &mut Context<'_>, count: usize, due: &mut Vec<Box<[u8]>>) -> usize {
    let now_ms = cx.keys.now_ms();
    let (mut seen, mut ttl_sum, mut ttl_count) = (0, 0i64, 0i64);
    let db = cx.keys.db();
    let next = db.expires.scan(db.expire_cursor, count, &mut |entry| {
        seen += 1;
        if entry.at_ms <= now_ms {
            due.push((*entry.key).into());
        } else {
            ttl_sum = ttl_sum.saturating_add(entry.at_ms - now_ms);
            ttl_count += 1;
        }
    });
    let db = cx.keys.db_mut();
    db.expire_cursor = next;
    if let Some(average) = ttl_sum.checked_div(ttl_count) {
        // A running average: each look counts for 2 %.
        db.average_ttl_ms = match db.average_ttl_ms {
            0 => average,
            old => old / 50 * 49 + average / 50,
        };
    }
    seen
}

#[cfg(test)]
mod tests {
    use cairn_proto::Resp;

    use crate::testing::TestEngine;

    #[test]
    fn keys_that_nobody_asks_for_expire_in_every_database() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        for i in 0..1000 {
            let (key, value) = (format!("k{i}"), "v");
            server.send(a, &[b"SET", key.as_bytes(), value.as_bytes(), b"PX", b"100"]);
            server.send(a, &[b"SET", format!("stays{i}").as_bytes(), b"v"]);
        }
        server.send(a, &[b"SET", b"moved", b"v", b"PX", b"100"]);
        server.send(a, &[b"MOVE", b"moved", b"9"]);
        server.advance(99);
        assert_eq!(server.engine.keys.dbs()[0].len(), 2000);
        server.advance(1);
        assert_eq!(server.engine.keys.dbs()[0].len(), 1000);
        assert_eq!(server.engine.keys.dbs()[9].len(), 0);
        assert_eq!(server.engine.shared.stats.expired_keys, 1001);
        assert_eq!(server.replica().engine.keys.dbs()[0].len(), 1000, "an expiry is an effect");
    }

    #[test]
    fn a_cycle_without_time_goes_on_with_the_next_database() {
        let mut server = TestEngine::new();
        let a = server.connect(Resp::V2);
        for db in ["0", "1"] {
            for i in 0..500 {
                let key = format!("{db}:{i}");
                server.send(a, &[b"SET", key.as_bytes(), b"v", b"PX", b"1"]);
                if db == "1" {
                    server.send(a, &[b"MOVE", key.as_bytes(), b"1"]);
                }
            }
        }
        server.now_ms += 1;
        server.engine.begin_turn(server.now_ms, 0);
        for _ in 0..2 {
            server.engine.cron(&mut server.host, 0);
        }
        let left: Vec<usize> = server.engine.keys.dbs()[..2].iter().map(|db| db.len()).collect();
        assert!(left.iter().all(|&len| (1..500).contains(&len)), "{left:?}");
        assert_eq!(server.engine.shared.stats.expired_time_cap_reached, 2);
    }
}
