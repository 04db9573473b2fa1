//! How long commands run: histograms with about two significant digits, as INFO's `latencystats` and LATENCY HISTOGRAM
//! show them; and what took longer than `latency-monitor-threshold`, which LATENCY's other subcommands are about.

use std::collections::{BTreeMap, VecDeque};

/// Buckets for each power of two beyond the first 256 nanoseconds: two significant digits.
const HALF: usize = 128;
/// Longer runs count as this long.
const MAX_NS: u64 = 1_000_000_000;
/// Buckets that get their memory together.
const PART: usize = 32;

/// Counts of run times. Memory is taken only near the times that have come up: there is a histogram for each command, and
/// what they take is no room for data.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// The counts of all buckets, in parts; those at the end may be missing.
    parts: Vec<Option<Box<[u64; PART]>>>,
    total: u64,
}

impl Histogram {
    /// Counts one run.
    pub fn record(&mut self, microseconds: u64) {
        let bucket = bucket_of((microseconds.saturating_mul(1000)).min(MAX_NS));
        let (part, place) = (bucket / PART, bucket % PART);
        if part >= self.parts.len() {
            self.parts.resize(part + 1, None);
        }
        self.parts[part].get_or_insert_default()[place] += 1;
        self.total += 1;
    }

    /// The count of every bucket, zeros at the end left out.
    fn counts(&self) -> impl Iterator<Item = u64> {
        self.parts.iter().flat_map(|part| part.as_deref().copied().unwrap_or([0; PART]))
    }

    /// Has nothing been counted?
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The number of runs.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// How many runs took at most so many microseconds, for each power of two of 1.024 microseconds; without those that
    /// add nothing.
    pub fn cumulative(&self) -> Vec<(u64, u64)> {
        let (mut found, mut from, mut seen) = (Vec::new(), 0, 0);
        for level in (10..).map(|power| 1u64 << power) {
            if seen == self.total {
                return found;
            }
            let to = bucket_of(level) + 1;
            let more: u64 = self.counts().take(to).skip(from).sum();
            if more > 0 {
                seen += more;
                found.push((highest_in(to - 1) / 1000, seen));
            }
            from = to;
        }
        found
    }

    /// The run time, in microseconds, that `percentile` percent of the runs did not exceed.
    pub fn percentile_us(&self, percentile: f64) -> f64 {
        let wanted = ((percentile.min(100.0) / 100.0 * self.total as f64) + 0.5) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return highest_in(bucket) as f64 / 1000.0;
            }
        }
        0.0
    }
}

/// Samples kept of one event, one for each second at most.
const SAMPLES_MAX: usize = 160;

/// What LATENCY knows of, by the names of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Of a command that may take long.
    Command,
    /// Of a command that Redis calls fast.
    FastCommand,
    /// A step of active expiry.
    ExpireCycle,
    /// A step of eviction.
    EvictionCycle,
    /// The log was synced while replies waited for it (`appendfsync always`).
    LogSyncAlways,
    /// The log was synced beside commands.
    LogSync,
}

impl Event {
    /// The name in LATENCY.
    pub fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::FastCommand => "fast-command",
            Self::ExpireCycle => "expire-cycle",
            Self::EvictionCycle => "eviction-cycle",
            Self::LogSyncAlways => "aof-fsync-always",
            Self::LogSync => "aof-fsync",
        }
    }
}

/// What was slow, and when.
#[derive(Clone, Debug, Default)]
pub struct Monitor {
    events: BTreeMap<&'static str, Series>,
}

/// The samples of one event.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Oldest first: Unix seconds and milliseconds, the worst of its second.
    pub samples: VecDeque<(i64, u64)>,
    /// The worst ever, in milliseconds.
    pub worst_ms: u64,
}

impl Monitor {
    /// Keeps a sample if it reaches the threshold (milliseconds; 0: never).
    pub fn note(&mut self, event: Event, threshold_ms: u64, microseconds: u64, now_s: i64) {
        let ms = microseconds / 1000;
        if threshold_ms == 0 || ms < threshold_ms {
            return;
        }
        let series = self.events.entry(event.name()).or_default();
        series.worst_ms = series.worst_ms.max(ms);
        match series.samples.back_mut() {
            Some((at_s, worst)) if *at_s == now_s => *worst = ms.max(*worst),
            _ => {
                if series.samples.len() == SAMPLES_MAX {
                    series.samples.pop_front();
                }
                series.samples.push_back((now_s, ms));
            }
        }
    }

    /// The samples of the event of this name.
    pub fn series(&self, name: &[u8]) -> Option<(&'static str, &Series)> {
        let name = std::str::from_utf8(name).ok()?;
        self.events.get_key_value(name).map(|(&name, series)| (name, series))
    }

    /// All events that have samples, by name.
    pub fn events(&self) -> impl ExactSizeIterator<Item = (&'static str, &Series)> {
        self.events.iter().map(|(&name, series)| (name, series))
    }

    /// Forgets the event of this name, in any case. False: there was none.
    pub fn forget(&mut self, name: &[u8]) -> bool {
        let before = self.events.len();
        self.events.retain(|event, _| !event.as_bytes().eq_ignore_ascii_case(name));
        self.events.len() < before
    }

    /// Forgets all; how many events there were.
    pub fn forget_all(&mut self) -> usize {
        std::mem::take(&mut self.events).len()
    }
}

fn bucket_of(ns: u64) -> usize {
    let shift = (ns | (2 * HALF as u64 - 1)).ilog2() as usize - HALF.ilog2() as usize;
    shift * HALF + (ns >> shift) as usize
}

/// The longest run, in nanoseconds, that is counted in this bucket.
fn highest_in(bucket: usize) -> u64 {
    let shift = (bucket / HALF).saturating_sub(1);
    let mantissa = bucket - shift * HALF;
    ((mantissa as u64 + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_falls_into_a_bucket_that_ends_within_a_hundredth_of_it() {
        let mut previous = 0;
        for ns in (0..100_000).chain((1..1000).map(|n| n * 1_000_000)) {
            let highest = highest_in(bucket_of(ns));
            assert!(highest >= ns, "{ns} counts as {highest}");
            assert!(highest - ns <= ns / 100, "{ns} counts as {highest}");
            if ns < 100_000 {
                assert!(highest >= previous);
                previous = highest;
            }
        }
    }

    #[test]
    fn percentiles_are_those_of_redis() {
        let mut histogram = Histogram::default();
        assert!(histogram.is_empty());
        for _ in 0..99 {
            histogram.record(1);
        }
        histogram.record(5_000_000);
        assert_eq!(histogram.percentile_us(50.0), 1.003);
        assert_eq!(histogram.percentile_us(99.0), 1.003);
        assert!(histogram.percentile_us(99.9) > 999_000.0, "longer than a second counts as a second");
    }

    #[test]
    fn one_slow_run_takes_no_memory_for_the_times_between() {
        let mut histogram = Histogram::default();
        for us in [1, 2, 900_000] {
            histogram.record(us);
        }
        let taken = histogram.parts.iter().flatten().count();
        assert!(taken <= 3, "{taken} parts for three times");
    }

    #[test]
    fn the_distribution_is_that_of_redis() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.cumulative(), []);
        for us in [1, 3, 3, 30, 40, 33_000] {
            histogram.record(us);
        }
        assert_eq!(histogram.cumulative(), [(1, 1), (4, 3), (33, 4), (66, 5), (33_816, 6)]);
        assert_eq!(histogram.count(), 6);
        histogram.record(u64::MAX);
        assert_eq!(histogram.cumulative().last(), Some(&(1_082_130, 7)));
    }

    #[test]
    fn of_each_second_the_worst_is_kept_and_of_all_the_last_ones() {
        let mut monitor = Monitor::default();
        monitor.note(Event::Command, 0, 9_000_000, 1);
        monitor.note(Event::Command, 100, 99_999, 1);
        assert_eq!(monitor.events().len(), 0);
        for (us, at_s) in [(150_000, 1), (250_000, 1), (200_000, 1), (100_000, 2)] {
            monitor.note(Event::Command, 100, us, at_s);
        }
        let (name, series) = monitor.series(b"command").unwrap();
        assert_eq!((name, series.worst_ms), ("command", 250));
        assert_eq!(series.samples, [(1, 250), (2, 100)]);
        for at_s in 3..=1000 {
            monitor.note(Event::Command, 1, 1000, at_s);
        }
        let (_, series) = monitor.series(b"command").unwrap();
        assert_eq!((series.samples.len(), series.samples[0]), (160, (841, 1)));
        assert!(monitor.forget(b"COMMAND") && !monitor.forget(b"command"));
    }
}
