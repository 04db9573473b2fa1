//! Numbers in order, each with its document: exact ranges.
//!
//! Buckets of neighbours are the leaves of a map. Each has the set of its documents besides, so that a range takes
//! whole buckets as sets and looks at single numbers only in the buckets at its two ends.

use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Numbers of a bucket, at most.
const BUCKET_MAX: usize = 1024;
/// Buckets of a range between two looks at the clock.
const BUCKETS_UNASKED: usize = 64;

/// A number as bits that compare as the numbers do. Both zeros are one number.
pub fn key_of(number: f64) -> u64 {
    let bits = (number + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// The number of a key.
#[cfg(test)]
fn number_of(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
}

/// Keys in order, with their documents.
#[derive(Debug, Default)]
pub struct Numbers {
    /// By the least entry that ever was in each.
    buckets: BTreeMap<(u64, u32), Bucket>,
}

/// Entries in order, keys and documents apart.
#[derive(Debug, Default)]
struct Bucket {
    keys: Vec<u64>,
    docs: Vec<u32>,
    set: RoaringBitmap,
}

impl Bucket {
    fn position(&self, entry: (u64, u32)) -> usize {
        let start = self.keys.partition_point(|&key| key < entry.0);
        let same = self.keys[start..].partition_point(|&key| key == entry.0);
        start + self.docs[start..start + same].partition_point(|&doc| doc < entry.1)
    }

    fn first(&self) -> (u64, u32) {
        (self.keys[0], self.docs[0])
    }
}

impl Numbers {
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.buckets.values().map(|bucket| bucket.keys.len()).sum()
    }

    /// Adds a key of a document. The same pair twice is once.
    pub fn insert(&mut self, key: u64, doc: u32) {
        let entry = (key, doc);
        let at = self
            .buckets
            .range(..=entry)
            .next_back()
            .or_else(|| self.buckets.iter().next())
            .map(|(&at, _)| at);
        let Some(at) = at else {
            self.buckets
                .insert(entry, Bucket { keys: vec![key], docs: vec![doc], set: [doc].into_iter().collect() });
            return;
        };
        let bucket = self.buckets.get_mut(&at).expect("it was just found");
        let place = bucket.position(entry);
        if bucket.keys.get(place) == Some(&key) && bucket.docs[place] == doc {
            return;
        }
        bucket.keys.insert(place, key);
        bucket.docs.insert(place, doc);
        bucket.set.insert(doc);
        if bucket.keys.len() > BUCKET_MAX {
            let keys = bucket.keys.split_off(BUCKET_MAX / 2);
            let docs = bucket.docs.split_off(BUCKET_MAX / 2);
            bucket.set = bucket.docs.iter().copied().collect();
            let right = Bucket { set: docs.iter().copied().collect(), keys, docs };
            self.buckets.insert(right.first(), right);
        }
        // The least bucket may have got a lesser entry than it is known by.
        if entry < at {
            let bucket = self.buckets.remove(&at).expect("it is there");
            self.buckets.insert(bucket.first(), bucket);
        }
    }

    pub fn remove(&mut self, key: u64, doc: u32) {
        let entry = (key, doc);
        let Some((&at, bucket)) = self.buckets.range_mut(..=entry).next_back() else { return };
        let place = bucket.position(entry);
        if bucket.keys.get(place) != Some(&key) || bucket.docs[place] != doc {
            return;
        }
        bucket.keys.remove(place);
        bucket.docs.remove(place);
        if !bucket.docs.contains(&doc) {
            bucket.set.remove(doc);
        }
        if bucket.keys.is_empty() {
            self.buckets.remove(&at);
        } else if bucket.keys.len() < BUCKET_MAX / 4 {
            self.merge_with_next(at);
        }
    }

    fn merge_with_next(&mut self, at: (u64, u32)) {
        let next = self.buckets.range((Bound::Excluded(at), Bound::Unbounded)).next();
        let Some((&next, neighbour)) = next else { return };
        if neighbour.keys.len() > BUCKET_MAX / 2 {
            return;
        }
        let right = self.buckets.remove(&next).expect("it was just found");
        let left = self.buckets.get_mut(&at).expect("the caller has it");
        left.keys.extend(right.keys);
        left.docs.extend(right.docs);
        left.set |= right.set;
    }

    /// The documents with a key from `min` to `max`, both included.
    pub fn range(&self, min: u64, max: u64, goes_on: &mut dyn FnMut() -> bool) -> RoaringBitmap {
        let mut found = RoaringBitmap::new();
        self.range_into(min, max, None, &mut found, goes_on);
        found
    }

    /// Adds those for which `filter` holds. `goes_on` is asked now and then; when it says no, that is all.
    pub fn range_into(
        &self,
        min: u64,
        max: u64,
        filter: Option<&dyn Fn(u64) -> bool>,
        found: &mut RoaringBitmap,
        goes_on: &mut dyn FnMut() -> bool,
    ) {
        if min > max {
            return;
        }
        let start = self.buckets.range(..=(min, 0)).next_back().map_or((0, 0), |(&at, _)| at);
        for (nth, (_, bucket)) in self.buckets.range(start..=(max, u32::MAX)).enumerate() {
            if nth % BUCKETS_UNASKED == BUCKETS_UNASKED - 1 && !goes_on() {
                return;
            }
            let whole = bucket.keys[0] >= min && bucket.keys[bucket.keys.len() - 1] <= max;
            if whole && filter.is_none() {
                *found |= &bucket.set;
                continue;
            }
            let from = bucket.keys.partition_point(|&key| key < min);
            let to = bucket.keys.partition_point(|&key| key <= max);
            for place in from..to.max(from) {
                if filter.is_none_or(|holds| holds(bucket.keys[place])) {
                    found.insert(bucket.docs[place]);
                }
            }
        }
    }

    /// Pairs in the order of the keys.
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        self.buckets.values().flat_map(|b| b.keys.iter().copied().zip(b.docs.iter().copied()))
    }

    pub fn memory(&self) -> usize {
        let bucket =
            |b: &Bucket| b.keys.capacity() * 8 + b.docs.capacity() * 4 + b.set.serialized_size() + 32;
        self.buckets.values().map(bucket).sum::<usize>() + self.buckets.len() * (size_of::<Bucket>() + 24)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_compare_as_their_numbers() {
        let numbers = [f64::NEG_INFINITY, -1e300, -1.5, -1e-300, 0.0, 1e-300, 1.5, 1e300, f64::INFINITY];
        let keys: Vec<u64> = numbers.iter().map(|&n| key_of(n)).collect();
        assert!(keys.is_sorted());
        assert_eq!(key_of(-0.0), key_of(0.0));
        numbers.iter().for_each(|&n| assert_eq!(number_of(key_of(n)), n));
    }

    #[test]
    fn many_documents_with_one_number_are_many_buckets() {
        let mut numbers = Numbers::default();
        (1..=10_000).for_each(|doc| numbers.insert(key_of(7.0), doc));
        assert_eq!(numbers.range(key_of(7.0), key_of(7.0), &mut || true).len(), 10_000);
        assert!(numbers.range(key_of(7.1), key_of(8.0), &mut || true).is_empty());
        (1..=10_000).for_each(|doc| numbers.remove(key_of(7.0), doc));
        assert_eq!((numbers.len(), numbers.buckets.len()), (0, 0));
    }

    #[test]
    fn a_range_ends_when_the_time_does() {
        let mut numbers = Numbers::default();
        (1..=200_000).for_each(|doc| numbers.insert(key_of(f64::from(doc)), doc));
        let mut asked = 0;
        let found = numbers.range(0, u64::MAX, &mut || {
            asked += 1;
            asked < 3
        });
        assert!((1..200_000).contains(&found.len()) && asked == 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn ranges_are_those_of_a_sorted_set(
            steps in prop::collection::vec((any::<bool>(), -40i32..40, 1u32..60), 0..800), min in -50i32..50, max in -50i32..50,
        ) {
            let mut numbers = Numbers::default();
            let mut model = BTreeSet::new();
            for (put, number, doc) in steps {
                let key = key_of(f64::from(number));
                // Documents by the hundred, so that buckets split.
                for doc in (0..20).map(|n| doc * 20 + n) {
                    if put {
                        numbers.insert(key, doc);
                        model.insert((key, doc));
                    } else {
                        numbers.remove(key, doc);
                        model.remove(&(key, doc));
                    }
                }
            }
            prop_assert_eq!(numbers.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(numbers.len(), model.len());
            let (min, max) = (key_of(f64::from(min)), key_of(f64::from(max)));
            let expected: RoaringBitmap = model.iter().filter(|e| e.0 >= min && e.0 <= max).map(|e| e.1).collect();
            prop_assert_eq!(numbers.range(min, max, &mut || true), expected);
        }
    }
}
