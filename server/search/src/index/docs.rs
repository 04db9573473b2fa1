//! The table of documents.
//!
//! Ids rise with every write, so that the documents of a list are in the order of their writes. The table is pages of
//! ids; a page whose documents have all gone is given back.

use super::terms::TermId;
use super::varint;
use std::sync::Arc;

const PAGE: usize = 256;

/// What is known of a document.
#[derive(Debug)]
pub struct Doc {
    pub key: Arc<[u8]>,
    /// What of it is where, to be taken out again.
    pub forward: Box<[u8]>,
    /// Of each sortable field.
    pub sort: Box<[SortValue]>,
}

/// What scorers ask of a document.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weight {
    /// What all its scores are multiplied with.
    pub score: f32,
    /// Its words, each as often as its field weighs.
    pub words: u32,
    /// The frequency of its most frequent term.
    pub max_frequency: u32,
}

/// What results are sorted by.
#[derive(Debug, Clone, PartialEq)]
pub enum SortValue {
    Missing,
    Number(f64),
    Text(Box<[u8]>),
}

impl SortValue {
    /// Numbers come before texts; `Missing` is the caller's to put last.
    pub fn order(&self, other: &Self) -> std::cmp::Ordering {
        use std::cmp::Ordering;
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Missing, Self::Missing) => Ordering::Equal,
            (Self::Missing, _) | (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (_, Self::Missing) | (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

#[derive(Debug, Default)]
pub struct Docs {
    pages: Vec<Option<Box<Page>>>,
    /// Not a hash map: growing one moves all of it, in one write.
    ids: std::collections::BTreeMap<Arc<[u8]>, u32>,
    max_id: u32,
    /// Bytes of all documents, and of the values to sort by.
    doc_bytes: usize,
    sort_bytes: usize,
}

#[derive(Debug)]
struct Page {
    docs: [Option<Box<Doc>>; PAGE],
    /// The documents' own, side by side: a query that scores asks for all of them.
    weights: [Weight; PAGE],
    len: usize,
}

impl Docs {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn max_id(&self) -> u32 {
        self.max_id
    }

    /// The id of the next document; none if all have been given out.
    pub fn next_id(&self) -> Option<u32> {
        // The last is no document's: it means the end of a list.
        self.max_id.checked_add(1).filter(|&id| id < u32::MAX)
    }

    pub fn id_of(&self, key: &[u8]) -> Option<u32> {
        self.ids.get(key).copied()
    }

    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.ids.keys().map(|key| &**key)
    }

    pub fn get(&self, id: u32) -> Option<&Doc> {
        self.pages.get(id as usize / PAGE)?.as_ref()?.docs[id as usize % PAGE].as_deref()
    }

    /// Of a document that is there.
    pub fn weight(&self, id: u32) -> Weight {
        match self.pages.get(id as usize / PAGE) {
            Some(Some(page)) => page.weights[id as usize % PAGE],
            _ => Weight::default(),
        }
    }

    pub fn insert(&mut self, id: u32, doc: Doc, weight: Weight) {
        assert!(id > self.max_id, "ids rise");
        self.max_id = id;
        self.ids.insert(Arc::clone(&doc.key), id);
        self.doc_bytes += doc.bytes();
        self.sort_bytes += doc.sort_bytes();
        let page = id as usize / PAGE;
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let empty =
            || Box::new(Page { docs: [const { None }; PAGE], weights: [Weight::default(); PAGE], len: 0 });
        let page = self.pages[page].get_or_insert_with(empty);
        page.weights[id as usize % PAGE] = weight;
        page.docs[id as usize % PAGE] = Some(Box::new(doc));
        page.len += 1;
    }

    pub fn remove(&mut self, id: u32) -> Option<(Doc, Weight)> {
        let slot = self.pages.get_mut(id as usize / PAGE)?;
        let page = slot.as_mut()?;
        let doc = page.docs[id as usize % PAGE].take()?;
        let weight = page.weights[id as usize % PAGE];
        page.len -= 1;
        if page.len == 0 {
            *slot = None;
        }
        self.ids.remove(&doc.key);
        self.doc_bytes -= doc.bytes();
        self.sort_bytes -= doc.sort_bytes();
        Some((*doc, weight))
    }

    pub fn rename(&mut self, id: u32, key: &[u8]) {
        let Some(page) = self.pages.get_mut(id as usize / PAGE).and_then(Option::as_mut) else { return };
        let Some(doc) = &mut page.docs[id as usize % PAGE] else { return };
        self.ids.remove(&doc.key);
        self.doc_bytes -= doc.bytes();
        doc.key = key.into();
        self.doc_bytes += doc.bytes();
        self.ids.insert(Arc::clone(&doc.key), id);
    }

    /// Bytes of the table, and of the values to sort by.
    pub fn memory(&self) -> (usize, usize) {
        let pages = self.pages.len() * 8 + self.pages.iter().flatten().count() * size_of::<Page>();
        (pages + self.doc_bytes, self.sort_bytes)
    }
}

impl Doc {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.key.len() + 16 + self.forward.len() + 36
    }

    fn sort_bytes(&self) -> usize {
        let text = |value: &SortValue| match value {
            SortValue::Text(text) => text.len(),
            _ => 0,
        };
        self.sort.iter().map(|value| size_of::<SortValue>() + text(value)).sum()
    }
}

/// Writes down what of a document is where: its terms, then of each field the values.
///
/// ```text
/// number of terms, their ids in order as deltas; of each field with values: its place, their number, the values as deltas
/// ```
#[derive(Default)]
pub struct Forward {
    data: Vec<u8>,
}

impl Forward {
    /// First of all.
    pub fn terms(&mut self, mut ids: Vec<TermId>) {
        assert!(self.data.is_empty(), "terms come first");
        ids.sort_unstable();
        let ids: Vec<u64> = ids.into_iter().map(u64::from).collect();
        self.put(&ids);
    }

    /// The values of a field, in order.
    pub fn values(&mut self, field: usize, values: &[u64]) {
        if !values.is_empty() {
            varint::put(&mut self.data, field as u128);
            self.put(values);
        }
    }

    fn put(&mut self, values: &[u64]) {
        varint::put(&mut self.data, values.len() as u128);
        let mut last = 0;
        for &value in values {
            varint::put(&mut self.data, u128::from(value - last));
            last = value;
        }
    }

    pub fn finish(self) -> Box<[u8]> {
        self.data.into_boxed_slice()
    }
}

/// Reads what `Forward` wrote.
pub fn read_forward(data: &[u8], mut term: impl FnMut(TermId), mut value: impl FnMut(usize, u64)) {
    let mut at = 0;
    let list = |at: &mut usize, each: &mut dyn FnMut(u64)| {
        let mut last = 0;
        for _ in 0..varint::get(data, at) {
            last += varint::get(data, at);
            each(last);
        }
    };
    list(&mut at, &mut |id| term(id as TermId));
    while at < data.len() {
        let field = varint::get(data, &mut at) as usize;
        list(&mut at, &mut |v| value(field, v));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc(key: &str) -> Doc {
        Doc { key: key.as_bytes().into(), forward: Box::default(), sort: Box::default() }
    }

    #[test]
    fn what_was_written_down_is_read() {
        let mut forward = Forward::default();
        forward.terms(vec![7, 3, 1000]);
        forward.values(0, &[5, 6]);
        forward.values(2, &[u64::MAX]);
        forward.values(3, &[]);
        let (mut terms, mut values) = (Vec::new(), Vec::new());
        read_forward(&forward.finish(), |t| terms.push(t), |f, v| values.push((f, v)));
        assert_eq!(terms, [3, 7, 1000]);
        assert_eq!(values, [(0, 5), (0, 6), (2, u64::MAX)]);
    }

    #[test]
    fn pages_without_documents_are_given_back() {
        let mut docs = Docs::default();
        (1..=1000).for_each(|id| docs.insert(id, doc(&format!("k{id}")), Weight::default()));
        (1..=990).for_each(|id| assert!(docs.remove(id).is_some()));
        assert_eq!(docs.pages.iter().flatten().count(), 1);
        assert_eq!(docs.id_of(b"k995"), Some(995));
        assert!(docs.get(3).is_none() && docs.get(5000).is_none());
    }

    #[test]
    fn a_renamed_document_is_found_by_its_new_key() {
        let mut docs = Docs::default();
        docs.insert(1, doc("a"), Weight::default());
        docs.rename(1, b"b");
        assert_eq!((docs.id_of(b"a"), docs.id_of(b"b")), (None, Some(1)));
        assert_eq!(&*docs.get(1).unwrap().key, b"b");
    }

    #[test]
    fn the_last_id_is_never_given_out() {
        let docs = Docs { max_id: u32::MAX - 1, ..Docs::default() };
        assert_eq!(docs.next_id(), None);
    }
}
