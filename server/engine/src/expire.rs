//! Active expiry: keys that nobody asks for go as well, a little at a time.

use crate::context::Context;
use crate::dispatch::expire_if_due;

/// Keys looked at between two looks at the clock.
const KEYS_PER_STEP: usize = 64;
/// Keys looked at in one database when hardly any of them has expired.
const KEYS_PER_CALM_CYCLE: usize = 512;

/// Walks on through the keys with a time to live and removes those whose time has come, for at most `budget_us`.
/// A database where many have expired is walked on with; a calm one gets a short look.
pub(crate) fn cycle(cx: &mut Context<'_>, budget_us: u64) {
    let started_us = cx.host.monotonic_us();
    let mut due: Vec<Box<[u8]>> = Vec::new();
    for db in 0..cx.keys.dbs().len() {
        cx.keys.select(db);
        let mut seen = 0;
        let mut expired = 0;
        let mut wrapped = false;
        while !cx.keys.db().expires.is_empty() && !wrapped {
            let now_ms = cx.keys.now_ms();
            let (mut ttl_sum, mut ttl_count) = (0i64, 0i64);
            let cursor = cx.keys.db().expire_cursor;
            let next = cx.keys.db().expires.scan(cursor, KEYS_PER_STEP, &mut |entry| {
                seen += 1;
                if entry.at_ms <= now_ms {
                    due.push((*entry.key).into());
                } else {
                    ttl_sum += entry.at_ms - now_ms;
                    ttl_count += 1;
                }
            });
            wrapped = next == 0;
            let state = cx.keys.db_mut();
            state.expire_cursor = next;
            if ttl_count > 0 {
                let average = ttl_sum / ttl_count;
                state.average_ttl_ms = match state.average_ttl_ms {
                    0 => average,
                    old => (old / 50) * 49 + average / 50,
                };
            }
            for key in due.drain(..) {
                expired += usize::from(expire_if_due(cx, &key));
            }
            if cx.host.monotonic_us().saturating_sub(started_us) > budget_us {
                cx.shared.stats.expired_time_cap_reached += 1;
                cx.keys.select(0);
                return;
            }
            // Fewer than a tenth of them: the walk goes on in the next cycle.
            if seen >= KEYS_PER_CALM_CYCLE && expired * 10 < seen {
                break;
            }
        }
    }
    cx.keys.select(0);
}
