//! Alerts on their way to whoever subscribed. Each subscriber has a bounded queue of its own, so a slow one loses its
//! own alerts and is told how many, and the session never waits for it.

use super::inbox::{Event, Inbox};
use reef_engine::Alert;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// The alerts of one subscriber, in order. Dropping it ends the subscription.
pub struct AlertStream {
    queue: Arc<AlertQueue>,
    subscribers: Arc<Subscribers>,
    inbox: Arc<Inbox>,
}

/// What a wait for an alert brought.
#[derive(Clone, PartialEq, Debug)]
pub enum NextAlert {
    /// An alert.
    Alert(Alert),
    /// The time is over.
    TimedOut,
    /// The session has ended, and with it the alerts.
    Ended,
}

impl AlertStream {
    /// The next alert; `None` when the session has ended.
    pub async fn next(&mut self) -> Option<Alert> {
        std::future::poll_fn(|cx| {
            let mut state = self.queue.state();
            match state.pop() {
                Some(alert) => Poll::Ready(Some(alert)),
                None if state.ended => Poll::Ready(None),
                None => {
                    state.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// The next alert, waited for on this thread for at most `limit`.
    pub fn next_blocking(&mut self, limit: Duration) -> NextAlert {
        let end = Instant::now() + limit;
        let mut state = self.queue.state();
        loop {
            if let Some(alert) = state.pop() {
                return NextAlert::Alert(alert);
            }
            if state.ended {
                return NextAlert::Ended;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return NextAlert::TimedOut;
            }
            state = self.queue.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next alert, if one is there.
    pub fn try_next(&mut self) -> Option<Alert> {
        self.queue.state().pop()
    }
}

impl Drop for AlertStream {
    fn drop(&mut self) {
        self.subscribers.list().retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        self.inbox.push(Event::Subscribers);
    }
}

/// Everybody who subscribed.
#[derive(Default)]
pub(super) struct Subscribers {
    list: Mutex<Vec<Arc<AlertQueue>>>,
}

impl Subscribers {
    /// Adds one that wants the categories of `mask` and holds `capacity` alerts.
    pub(super) fn subscribe(self: &Arc<Self>, inbox: &Arc<Inbox>, mask: u32, capacity: usize) -> AlertStream {
        let queue = Arc::new(AlertQueue { mask, capacity: capacity.max(1), ..AlertQueue::default() });
        self.list().push(Arc::clone(&queue));
        inbox.push(Event::Subscribers);
        AlertStream { queue, subscribers: Arc::clone(self), inbox: Arc::clone(inbox) }
    }

    /// The categories that anybody wants.
    pub(super) fn mask(&self) -> u32 {
        self.list().iter().fold(0, |mask, queue| mask | queue.mask)
    }

    /// Gives an alert to everybody who wants it.
    pub(super) fn deliver(&self, alert: &Alert) {
        self.list().iter().filter(|queue| queue.mask & alert.category() != 0).for_each(|queue| queue.push(alert));
    }

    /// No more alerts come.
    pub(super) fn end(&self) {
        for queue in self.list().iter() {
            queue.state().ended = true;
            queue.wake_up();
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<AlertQueue>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct AlertQueue {
    mask: u32,
    capacity: usize,
    state: Mutex<QueueState>,
    wake: Condvar,
}

#[derive(Default)]
struct QueueState {
    alerts: VecDeque<Alert>,
    /// Left out since the last alert of the queue.
    dropped: u64,
    ended: bool,
    waker: Option<Waker>,
}

impl AlertQueue {
    fn push(&self, alert: &Alert) {
        let mut state = self.state();
        // The note about what was left out takes a place too.
        let needed = if state.dropped > 0 { 2 } else { 1 };
        if state.alerts.len() + needed > self.capacity.max(2) {
            state.dropped += 1;
            return;
        }
        if let Some(note) = state.take_note() {
            state.alerts.push_back(note);
        }
        state.alerts.push_back(alert.clone());
        drop(state);
        self.wake_up();
    }

    fn wake_up(&self) {
        let waker = self.state().waker.take();
        self.wake.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    fn pop(&mut self) -> Option<Alert> {
        self.alerts.pop_front().or_else(|| self.take_note())
    }

    fn take_note(&mut self) -> Option<Alert> {
        let count = std::mem::take(&mut self.dropped);
        (count > 0).then_some(Alert::AlertsDropped { count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reef_engine::TorrentId;
    use reef_engine::alert::Category;

    fn piece(piece: u32) -> Alert {
        Alert::PieceFinished { torrent: TorrentId(1), piece }
    }

    fn check(capacity: usize, pushed: u32, expected: &[Alert]) {
        let (subscribers, inbox) = (Arc::<Subscribers>::default(), Arc::new(Inbox::new().unwrap()));
        let mut stream = subscribers.subscribe(&inbox, Category::PROGRESS.0, capacity);
        (0..pushed).for_each(|i| subscribers.deliver(&piece(i)));
        let got: Vec<_> = std::iter::from_fn(|| stream.try_next()).collect();
        assert_eq!(got, expected);
        subscribers.deliver(&piece(99));
        assert_eq!(stream.try_next(), Some(piece(99)));
    }

    #[test]
    fn a_slow_subscriber_is_told_how_many_alerts_it_missed() {
        check(3, 3, &[piece(0), piece(1), piece(2)]);
        check(3, 7, &[piece(0), piece(1), piece(2), Alert::AlertsDropped { count: 4 }]);
    }

    #[test]
    fn what_was_left_out_is_said_where_it_was_left_out() {
        let (subscribers, inbox) = (Arc::<Subscribers>::default(), Arc::new(Inbox::new().unwrap()));
        let mut stream = subscribers.subscribe(&inbox, Category::PROGRESS.0, 2);
        (0..3).for_each(|i| subscribers.deliver(&piece(i)));
        assert_eq!((stream.try_next(), stream.try_next()), (Some(piece(0)), Some(piece(1))));
        subscribers.deliver(&piece(3));
        assert_eq!(stream.try_next(), Some(Alert::AlertsDropped { count: 1 }));
        assert_eq!(stream.try_next(), Some(piece(3)));
    }

    #[test]
    fn a_subscriber_gets_its_categories_and_the_mask_is_what_anybody_wants() {
        let (subscribers, inbox) = (Arc::<Subscribers>::default(), Arc::new(Inbox::new().unwrap()));
        let mut errors = subscribers.subscribe(&inbox, Category::ERROR.0, 9);
        let all = subscribers.subscribe(&inbox, Category::PROGRESS.0, 9);
        assert_eq!(subscribers.mask(), Category::ERROR.0 | Category::PROGRESS.0);
        subscribers.deliver(&piece(0));
        assert_eq!(errors.try_next(), None);
        drop(all);
        assert_eq!(subscribers.mask(), Category::ERROR.0);
    }

    #[test]
    fn a_wait_ends_with_an_alert_its_time_or_the_session() {
        let (subscribers, inbox) = (Arc::<Subscribers>::default(), Arc::new(Inbox::new().unwrap()));
        let mut stream = subscribers.subscribe(&inbox, Category::ALL.0, 9);
        assert_eq!(stream.next_blocking(Duration::ZERO), NextAlert::TimedOut);
        let other = Arc::clone(&subscribers);
        let thread = std::thread::spawn(move || {
            other.deliver(&piece(5));
            other.end();
        });
        assert_eq!(stream.next_blocking(Duration::from_secs(10)), NextAlert::Alert(piece(5)));
        assert_eq!(crate::rt::block_on(stream.next()), None);
        assert_eq!(stream.next_blocking(Duration::from_secs(10)), NextAlert::Ended);
        thread.join().unwrap();
    }
}
