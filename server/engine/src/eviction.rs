//! What goes when memory is full: `maxmemory` and its policies.
//!
//! Before every command, and in the background, keys are evicted until the data fits again; each is an effect (`DEL`)
//! like any other removal. One call is bounded in time (`maxmemory-eviction-tenacity`), so that a much lower limit is
//! reached in many small steps, and commands go on meanwhile.
//!
//! What counts is what the allocator has given out, less what is not data: values on their way to the thread that
//! drops them, effects on their way to the journal, and what a running snapshot costs ([`Keyspace::passing_bytes`]).
//! Without that, eviction would feed on its own doing, or take keys for memory that comes back by itself.
//!
//! [`Keyspace::passing_bytes`]: crate::keyspace::Keyspace::passing_bytes

use crate::config::MaxmemoryPolicy;
use crate::context::Context;
use crate::effects::removal;
use crate::keyspace::ELEMENT_SAMPLES;
use crate::latency::Event;
use crate::notify::Class;

/// Keys evicted between two looks at the clock.
const KEYS_PER_STEP: usize = 16;

/// Evicts keys until the data is below `maxmemory`, as the policy says. False when it is above and nothing may be
/// evicted; true also when the time is up and a later call must go on.
pub(crate) fn make_room(cx: &mut Context<'_>) -> bool {
    let tenacity = cx.shared.config.maxmemory_eviction_tenacity;
    go_on(cx, time_limit_us(tenacity))
}

/// [`make_room`] for at most about `budget_us`.
pub(crate) fn go_on(cx: &mut Context<'_>, budget_us: u64) -> bool {
    if !is_full(cx) {
        return true;
    }
    // Redis evicts nothing while CLIENT PAUSE holds; and what cannot be logged must not happen.
    if cx.shared.pause.holds_writes(cx.shared.now_ms) || cx.shared.write_refusal.is_some() {
        return true;
    }
    if cx.shared.config.maxmemory_policy == MaxmemoryPolicy::Noeviction {
        return false;
    }
    let started_us = cx.host.monotonic_us();
    let home = cx.keys.selected();
    let mut evicted = 0;
    let has_room = loop {
        let Some((db, key)) = pick(cx) else { break false };
        cx.keys.select(db);
        evict(cx, &key);
        evicted += 1;
        if !is_full(cx) {
            break true;
        }
        if evicted % KEYS_PER_STEP == 0 && cx.host.monotonic_us().saturating_sub(started_us) > budget_us {
            break true;
        }
    };
    cx.keys.select(home);
    let spent_us = cx.host.monotonic_us().saturating_sub(started_us);
    cx.shared.note_latency(Event::EvictionCycle, spent_us);
    has_room
}

fn is_full(cx: &Context<'_>) -> bool {
    let used = cx.host.used_memory();
    let limit = usize::try_from(cx.shared.config.maxmemory).unwrap_or(usize::MAX);
    // The rest takes a little time to find out, and nobody is nearly full all the time.
    let passing = || cx.keys.passing_bytes() + cx.shared.effects.collected_bytes() + cx.shared.fed_bytes;
    used > limit && used.saturating_sub(passing()) > limit
}

fn pick(cx: &mut Context<'_>) -> Option<(usize, Box<[u8]>)> {
    let config = &cx.shared.config;
    cx.keys.pick_to_evict(config.maxmemory_policy, config.maxmemory_samples)
}

/// Removes the key of the selected database.
fn evict(cx: &mut Context<'_>, key: &[u8]) {
    let data_bytes = |cx: &Context<'_>| cx.host.used_memory().saturating_sub(cx.keys.passing_bytes());
    let size = cx.keys.db().key_size(key, ELEMENT_SAMPLES).unwrap_or(0);
    let before = data_bytes(cx);
    cx.keys.delete(key);
    let freed = before.saturating_sub(data_bytes(cx));
    cx.keys.hold_for_snapshot(size.saturating_sub(freed));

    let db = cx.keys.selected();
    cx.touch_key_gone(key);
    // Not `cx.log`: the running command's reply does not depend on it.
    let word = removal(cx.config().lazyfree_lazy_eviction);
    cx.shared.effects.log(db, &[word, key]);
    cx.notify(Class::Evicted, "evicted", key);
    cx.shared.stats.evicted_keys += 1;
}

/// How long one call may take at this `maxmemory-eviction-tenacity`, on Redis's scale: up to half a millisecond at
/// 10, then 15 % more with every point, no limit at 100.
fn time_limit_us(tenacity: u32) -> u64 {
    match tenacity {
        0..=10 => 50 * u64::from(tenacity),
        11..=99 => (500.0 * 1.15f64.powi(tenacity as i32 - 10)) as u64,
        _ => u64::MAX,
    }
}

#[cfg(test)]
#[path = "eviction_tests.rs"]
mod tests;
