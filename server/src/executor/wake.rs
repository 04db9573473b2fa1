//! Which sockets have something to do: each has one waker that puts its number on a list, and wakes the executor.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// The numbers of sockets that became ready, and the executor to be woken.
///
/// The I/O driver runs on the executor's own thread, so the locks are never contended there; only the journal's
/// thread and signals come from elsewhere.
#[derive(Default)]
pub struct Ready {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    tokens: Vec<usize>,
    executor: Option<Waker>,
}

impl Ready {
    /// The executor's waker, set at the start of each turn.
    pub fn set_executor(&self, waker: &Waker) {
        let mut inner = self.lock();
        if !inner.executor.as_ref().is_some_and(|old| old.will_wake(waker)) {
            inner.executor = Some(waker.clone());
        }
    }

    /// The tokens on the list; `into` must be empty and gives its room to the list.
    pub fn take(&self, into: &mut Vec<usize>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut self.lock().tokens, into);
    }

    /// Lets the executor take another turn.
    pub fn wake(&self) {
        let waker = self.lock().executor.clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn push(&self, token: usize) {
        let mut inner = self.lock();
        inner.tokens.push(token);
        // The first one wakes; the executor takes them all.
        let waker = if inner.tokens.len() == 1 { inner.executor.clone() } else { None };
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The waker of one socket.
pub struct Token {
    token: usize,
    ready: Arc<Ready>,
    listed: AtomicBool,
}

impl Token {
    /// A waker for `token`, and the handle that says when it has been taken off the list.
    pub fn new(token: usize, ready: Arc<Ready>) -> Arc<Self> {
        Arc::new(Self { token, ready, listed: AtomicBool::new(false) })
    }

    /// Puts the token on the list, as the socket's readiness would.
    pub fn list(&self) {
        if !self.listed.swap(true, Ordering::AcqRel) {
            self.ready.push(self.token);
        }
    }

    /// The executor has taken the token: the next readiness lists it again.
    pub fn taken(&self) {
        self.listed.store(false, Ordering::Release);
    }
}

impl Wake for Token {
    fn wake(self: Arc<Self>) {
        self.list();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.list();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_listed_once_until_it_is_taken() {
        let ready = Arc::new(Ready::default());
        let token = Token::new(7, Arc::clone(&ready));
        token.list();
        token.list();
        let mut tokens = Vec::new();
        ready.take(&mut tokens);
        assert_eq!(tokens, [7]);
        tokens.clear();
        token.list();
        ready.take(&mut tokens);
        assert_eq!(tokens, [] as [usize; 0], "still being worked on");
        token.taken();
        token.list();
        ready.take(&mut tokens);
        assert_eq!(tokens, [7]);
    }
}
