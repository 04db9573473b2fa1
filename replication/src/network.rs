//! Between openraft and the transport: what is done to every stream of entries, whatever carries it.
//!
//! Each answer is matched with the moment at which its request was sent, for the lease; see `acks`.
//!
//! And news of a commit do not travel alone while entries flow. openraft tells the followers of each commit at once, with a
//! request of its own, which wakes them and is answered. Under load the next entries are only a moment behind and say the same,
//! so a request without entries waits a little for them ([`COMMIT_DELAY`]). Nobody but a reader of a follower can tell.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use openraft::RaftNetworkFactory;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
};
use openraft::raft::StreamAppendError;
use tokio::time::{Instant, Sleep};

use crate::admin::{
    AppendEntriesRequest, Appended, Installed, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
    VoteResponse,
};
use crate::snapshot::{Snapshot, SnapshotData};
use crate::types::{NodeId, Peer, TypeConfig, Vote};

/// News of a commit wait so long for entries to travel with. Followers' reads are so much older.
const COMMIT_DELAY: Duration = Duration::from_millis(5);

type Rpc<T> = Result<T, RPCError<TypeConfig>>;

/// Told that a node has answered what it was sent in this term at this moment.
pub(crate) type Acked = Arc<dyn Fn(NodeId, u64, Instant) + Send + Sync>;

/// A transport's factory, with this in between.
pub(crate) struct Factory<F> {
    factory: F,
    acked: Acked,
}

impl<F> Factory<F> {
    pub(crate) fn new(factory: F, acked: Acked) -> Factory<F> {
        Factory { factory, acked }
    }

    fn client<N>(&self, target: NodeId, network: N) -> Client<N> {
        Client { network, target, acked: Arc::clone(&self.acked) }
    }
}

impl<F> RaftNetworkFactory<TypeConfig> for Factory<F>
where
    F: RaftNetworkFactory<TypeConfig, Network: NetSnapshot<TypeConfig, SnapshotData = SnapshotData>>,
{
    type Network = Client<F::Network>;

    async fn new_client(&mut self, target: NodeId, node: &Peer) -> Client<F::Network> {
        let network = self.factory.new_client(target, node).await;
        self.client(target, network)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &Peer) -> Client<F::Network> {
        let network = self.factory.new_heartbeat_client(target, node).await;
        self.client(target, network)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, node: &Peer) -> Client<F::Network> {
        let network = self.factory.new_snapshot_client(target, node).await;
        self.client(target, network)
    }
}

/// A transport's client, with this in between.
pub(crate) struct Client<N> {
    network: N,
    target: NodeId,
    acked: Acked,
}

impl<N: NetStreamAppend<TypeConfig>> NetStreamAppend<TypeConfig> for Client<N> {
    fn stream_append<'s, S>(
        &'s mut self,
        requests: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Rpc<Appended>>>>
    where
        S: Stream<Item = AppendEntriesRequest> + Send + Unpin + 'static,
    {
        let (target, acked) = (self.target, &self.acked);
        let under_way = UnderWay::default();
        let requests = Requests::new(requests, under_way.clone());
        let answers = self.network.stream_append(requests, option);
        Box::pin(async move {
            let answers = answers.await?.inspect(move |answer| {
                let Some((term, sent_at)) = under_way.answered() else { return };
                // Who has a conflict has taken this leader for its own, too.
                if let Ok(Ok(_) | Err(StreamAppendError::Conflict(_))) = answer {
                    acked(target, term, sent_at);
                }
            });
            Ok(answers.boxed())
        })
    }
}

impl<N: NetBackoff<TypeConfig>> NetBackoff<TypeConfig> for Client<N> {
    fn backoff(&self) -> Option<Backoff> {
        self.network.backoff()
    }
}

impl<N: NetVote<TypeConfig>> NetVote<TypeConfig> for Client<N> {
    async fn vote(&mut self, request: VoteRequest, option: RPCOption) -> Rpc<VoteResponse> {
        self.network.vote(request, option).await
    }

    async fn pre_vote(&mut self, request: VoteRequest, option: RPCOption) -> Rpc<VoteResponse> {
        self.network.pre_vote(request, option).await
    }
}

impl<N> NetSnapshot<TypeConfig> for Client<N>
where
    N: NetSnapshot<TypeConfig, SnapshotData = SnapshotData>,
{
    type SnapshotData = SnapshotData;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<Installed, StreamingError<TypeConfig>> {
        self.network.full_snapshot(vote, snapshot, cancel, option).await
    }
}

impl<N: NetTransferLeader<TypeConfig>> NetTransferLeader<TypeConfig> for Client<N> {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse> {
        self.network.transfer_leader(request, option).await
    }
}

/// Term and moment of each request without an answer. Answers come in the order of the requests.
#[derive(Clone, Default)]
struct UnderWay(Arc<Mutex<VecDeque<(u64, Instant)>>>);

impl UnderWay {
    fn queue(&self) -> MutexGuard<'_, VecDeque<(u64, Instant)>> {
        self.0.lock().expect("nothing panics while it has the queue")
    }

    fn sent(&self, request: &AppendEntriesRequest) {
        self.queue().push_back((request.vote.leader_id.term, Instant::now()));
    }

    fn answered(&self) -> Option<(u64, Instant)> {
        self.queue().pop_front()
    }
}

/// openraft's requests on their way to the transport.
struct Requests<S> {
    requests: S,
    under_way: UnderWay,
    /// Entries have been sent. What has none before that is a question.
    flowing: bool,
    /// News of a commit, and until when they wait.
    held: Option<(AppendEntriesRequest, Instant)>,
    /// Goes off when something held is due, or before.
    alarm: Option<Pin<Box<Sleep>>>,
    /// There are no more requests.
    exhausted: bool,
}

impl<S> Requests<S> {
    fn new(requests: S, under_way: UnderWay) -> Requests<S> {
        Requests { requests, under_way, flowing: false, held: None, alarm: None, exhausted: false }
    }

    /// Whether what is held has waited for long enough.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<AppendEntriesRequest> {
        let Some((request, due)) = self.held.take() else { return Poll::Pending };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        while alarm.as_mut().poll(cx).is_ready() {
            if due <= Instant::now() {
                return Poll::Ready(request);
            }
            // It was set for something that has gone since.
            alarm.as_mut().reset(due);
        }
        self.held = Some((request, due));
        Poll::Pending
    }
}

impl<S: Stream<Item = AppendEntriesRequest> + Unpin> Requests<S> {
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Option<AppendEntriesRequest>> {
        while !self.exhausted {
            match self.requests.poll_next_unpin(cx) {
                Poll::Ready(Some(request)) if self.flowing && request.entries.is_empty() => {
                    let due = self.held.take().map_or_else(|| Instant::now() + COMMIT_DELAY, |(_, due)| due);
                    self.held = Some((request, due));
                }
                Poll::Ready(Some(request)) => {
                    // It tells of the newest commit itself.
                    self.held = None;
                    self.flowing |= !request.entries.is_empty();
                    return Poll::Ready(Some(request));
                }
                Poll::Ready(None) => self.exhausted = true,
                Poll::Pending => return self.poll_due(cx).map(Some),
            }
        }
        Poll::Ready(self.held.take().map(|(request, _)| request))
    }
}

impl<S: Stream<Item = AppendEntriesRequest> + Unpin> Stream for Requests<S> {
    type Item = AppendEntriesRequest;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<AppendEntriesRequest>> {
        let this = self.get_mut();
        let request = std::task::ready!(this.poll_request(cx));
        if let Some(request) = &request {
            this.under_way.sent(request);
        }
        Poll::Ready(request)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use openraft::EntryPayload;
    use tokio::sync::mpsc;
    use tokio::time::{advance, sleep};

    use super::*;
    use crate::entry::log_id;
    use crate::types::Entry;

    const TERM: u64 = 7;

    /// A request with the entry `index`, or with none, when those up to `committed` are committed.
    fn request(index: Option<u64>, committed: u64) -> AppendEntriesRequest {
        let entries = index.map(|index| Entry { log_id: log_id(TERM, index), payload: EntryPayload::Blank });
        AppendEntriesRequest {
            vote: Vote::new_committed(TERM, 1),
            prev_log_id: index.map(|index| log_id(TERM, index - 1)),
            entries: entries.into_iter().collect(),
            leader_commit: Some(log_id(TERM, committed)),
        }
    }

    type Incoming = mpsc::UnboundedSender<AppendEntriesRequest>;

    fn requests() -> (Incoming, impl Stream<Item = AppendEntriesRequest> + Send + Unpin + 'static) {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        (sender, futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx)))
    }

    /// The entry that a request has, and up to where it says that entries are committed.
    fn said(request: AppendEntriesRequest) -> (Option<u64>, u64) {
        let entry = request.entries.first().map(|entry| entry.log_id.index);
        (entry, request.leader_commit.expect("it says so").index)
    }

    fn begin() -> (Incoming, impl Stream<Item = (Option<u64>, u64)> + Unpin) {
        let (incoming, requests) = requests();
        (incoming, Requests::new(requests, UnderWay::default()).map(said))
    }

    #[tokio::test(start_paused = true)]
    async fn news_of_a_commit_travel_with_the_next_entries() {
        let (incoming, mut requests) = begin();
        incoming.send(request(Some(1), 0)).unwrap();
        incoming.send(request(None, 1)).unwrap();
        assert_eq!(requests.next().await, Some((Some(1), 0)));
        assert_eq!(requests.next().now_or_never(), None);
        incoming.send(request(Some(2), 1)).unwrap();
        assert_eq!(requests.next().await, Some((Some(2), 1)));
        sleep(2 * COMMIT_DELAY).await;
        assert_eq!(requests.next().now_or_never(), None, "they have been told");
    }

    #[tokio::test(start_paused = true)]
    async fn without_entries_the_newest_news_go_when_the_oldest_are_due() {
        let (incoming, mut requests) = begin();
        incoming.send(request(Some(1), 0)).unwrap();
        requests.next().await.unwrap();
        let begun = Instant::now();
        incoming.send(request(None, 1)).unwrap();
        assert_eq!(requests.next().now_or_never(), None);
        advance(COMMIT_DELAY / 2).await;
        incoming.send(request(None, 2)).unwrap();
        assert_eq!(requests.next().await, Some((None, 2)));
        assert!((COMMIT_DELAY..2 * COMMIT_DELAY).contains(&begun.elapsed()), "{:?}", begun.elapsed());

        // An alarm that was set for news that went with entries is no alarm for later ones.
        incoming.send(request(None, 3)).unwrap();
        assert_eq!(requests.next().now_or_never(), None);
        incoming.send(request(Some(2), 3)).unwrap();
        requests.next().await.unwrap();
        advance(COMMIT_DELAY / 2).await;
        let begun = Instant::now();
        incoming.send(request(None, 4)).unwrap();
        assert_eq!(requests.next().await, Some((None, 4)));
        assert!(begun.elapsed() >= COMMIT_DELAY, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn questions_and_last_words_do_not_wait() {
        let (incoming, mut requests) = begin();
        incoming.send(request(None, 0)).unwrap();
        assert_eq!(requests.next().now_or_never(), Some(Some((None, 0))), "a question");
        incoming.send(request(Some(1), 0)).unwrap();
        incoming.send(request(None, 1)).unwrap();
        drop(incoming);
        requests.next().await.unwrap();
        assert_eq!(requests.next().now_or_never(), Some(Some((None, 1))));
        assert_eq!(requests.next().now_or_never(), Some(None));
    }

    /// Sends everything, and answers when it is told to.
    struct Wire(Option<mpsc::UnboundedReceiver<Rpc<Appended>>>);

    impl NetStreamAppend<TypeConfig> for Wire {
        fn stream_append<'s, S>(
            &'s mut self,
            mut requests: S,
            _option: RPCOption,
        ) -> BoxFuture<'s, Rpc<BoxStream<'s, Rpc<Appended>>>>
        where
            S: Stream<Item = AppendEntriesRequest> + Send + Unpin + 'static,
        {
            let mut answers = self.0.take().expect("one stream");
            let answers = futures_util::stream::poll_fn(move |cx| {
                while let Poll::Ready(Some(_)) = requests.poll_next_unpin(cx) {}
                answers.poll_recv(cx)
            });
            Box::pin(async { Ok(answers.boxed()) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_for_its_own_request_and_no_later_one() {
        let (answer, answers) = mpsc::unbounded_channel();
        let noted = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&noted);
        let acked: Acked =
            Arc::new(move |node, term, sent_at| notes.lock().unwrap().push((node, term, sent_at)));
        let mut client = Client { network: Wire(Some(answers)), target: 2, acked };
        let (incoming, requests) = requests();
        let option = RPCOption::new(Duration::from_secs(1));
        let mut stream = client.stream_append(requests, option).await.unwrap();

        let entries_at = Instant::now();
        incoming.send(request(Some(1), 0)).unwrap();
        assert!(stream.next().now_or_never().is_none());
        advance(Duration::from_millis(100)).await;
        incoming.send(request(None, 1)).unwrap();
        assert!(stream.next().now_or_never().is_none());
        sleep(COMMIT_DELAY).await;
        let commit_at = Instant::now();
        assert!(stream.next().now_or_never().is_none());
        advance(Duration::from_millis(100)).await;

        // By its log id this would be the answer to both.
        answer.send(Ok(Ok(Some(log_id(TERM, 1))))).unwrap();
        stream.next().await.unwrap().unwrap().unwrap();
        assert_eq!(*noted.lock().unwrap(), [(2, TERM, entries_at)]);
        answer.send(Ok(Err(StreamAppendError::Conflict(log_id(TERM, 1))))).unwrap();
        stream.next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(noted.lock().unwrap()[1..], [(2, TERM, commit_at)]);

        incoming.send(request(Some(2), 1)).unwrap();
        assert!(stream.next().now_or_never().is_none());
        answer.send(Ok(Err(StreamAppendError::HigherVote(Vote::new(TERM + 1, 3))))).unwrap();
        stream.next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(noted.lock().unwrap().len(), 2, "it follows another leader");
    }
}
