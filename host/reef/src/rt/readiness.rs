//! Which of many sockets are ready, at a cost that does not grow with those that are not.
//!
//! The sockets lie in an `epoll` set of their own, which the async reactor sees as one descriptor. A turn of a busy
//! loop asks the set and leaves the reactor alone; only a loop with nothing to do waits through the reactor. One
//! registration a socket is enough for its life, because events are edges: a ready socket is reported once and again
//! only after something changed, so whoever takes an event must use the socket until it says "would block".

use async_io::{Async, Timer};
use rustix::event::epoll;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// What happened to a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ready {
    /// The key it was added with.
    pub(crate) key: u64,
    /// Something can be read, or accepted.
    pub(crate) readable: bool,
    /// Something can be written, or a connect has ended.
    pub(crate) writable: bool,
    /// The peer will send nothing more, or the connection broke: read on until the end shows.
    pub(crate) hangup: bool,
}

/// A set of sockets, with a way to wait for them, for a moment, or for another thread.
pub(crate) struct Readiness {
    set: Async<OwnedFd>,
    timer: Timer,
    armed: Option<Instant>,
    notifier: Notifier,
}

impl Readiness {
    /// An empty set.
    pub(crate) fn new(notifier: Notifier) -> io::Result<Self> {
        Ok(Self {
            set: Async::new_nonblocking(epoll::create(epoll::CreateFlags::CLOEXEC)?)?,
            timer: Timer::never(),
            armed: None,
            notifier,
        })
    }

    /// Adds a socket. It leaves the set when it is closed.
    pub(crate) fn add(&self, socket: impl AsFd, key: u64) -> io::Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        Ok(epoll::add(self.set.get_ref(), socket, epoll::EventData::new_u64(key), flags)?)
    }

    /// Appends what happened since the last call, without waiting.
    pub(crate) fn collect(&self, out: &mut Vec<Ready>) {
        loop {
            let mut events = [const { MaybeUninit::uninit() }; EVENTS_A_CALL];
            // An error here could only be a signal; what is ready is then told at the next call.
            let Ok((events, _)) = epoll::wait(self.set.get_ref(), &mut events, Some(&IMMEDIATELY)) else { return };
            out.extend(events.iter().map(Ready::from));
            if events.len() < EVENTS_A_CALL {
                return;
            }
        }
    }

    /// Waits until a socket is ready, the notifier was used, or `until` has come (`None`: however long it takes).
    /// It may also come back without any of these.
    pub(crate) async fn wait(&mut self, until: Option<Instant>) {
        self.arm(until);
        let Self { set, timer, armed, notifier, .. } = self;
        std::future::poll_fn(|cx| {
            notifier.listen(cx);
            if notifier.is_set() || set.poll_readable(cx).is_ready() {
                return Poll::Ready(());
            }
            if Pin::new(&mut *timer).poll(cx).is_ready() {
                *armed = None;
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }

    /// Sets the timer, unless it comes early enough already: a wait that ends too early costs less than a change.
    fn arm(&mut self, until: Option<Instant>) {
        match (until, self.armed) {
            (None, _) => {}
            (Some(at), Some(armed)) if armed <= at && at - armed < EARLY_ENOUGH => {}
            (Some(at), _) => {
                self.timer.set_at(at);
                self.armed = Some(at);
            }
        }
    }
}

impl From<&epoll::Event> for Ready {
    fn from(event: &epoll::Event) -> Self {
        let flags = event.flags;
        let broken = flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
        let hangup = broken || flags.contains(epoll::EventFlags::RDHUP);
        Self {
            key: event.data.u64(),
            readable: hangup || flags.contains(epoll::EventFlags::IN),
            writable: broken || flags.contains(epoll::EventFlags::OUT),
            hangup,
        }
    }
}

/// Wakes a loop from another thread. Many notifications before the loop looks are one wake-up.
#[derive(Clone, Default)]
pub(crate) struct Notifier(Arc<NotifierState>);

#[derive(Default)]
struct NotifierState {
    set: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Notifier {
    /// Ends the current wait of the loop, or its next one.
    pub(crate) fn notify(&self) {
        if !self.0.set.swap(true, Ordering::SeqCst) {
            let waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Forgets earlier notifications; whoever calls this looks at its queues afterwards.
    pub(crate) fn clear(&self) {
        self.0.set.store(false, Ordering::SeqCst);
    }

    fn is_set(&self) -> bool {
        self.0.set.load(Ordering::SeqCst)
    }

    fn listen(&self, cx: &Context<'_>) {
        let mut waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}

const EVENTS_A_CALL: usize = 128;
const EARLY_ENOUGH: Duration = Duration::from_millis(100);
const IMMEDIATELY: rustix::time::Timespec = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (b, _) = listener.accept().unwrap();
        (a, b)
    }

    fn collect(readiness: &mut Readiness) -> Vec<Ready> {
        let mut out = Vec::new();
        readiness.collect(&mut out);
        out
    }

    #[test]
    fn a_socket_is_reported_once_a_change() {
        let mut readiness = Readiness::new(Notifier::default()).unwrap();
        let (mut a, b) = pair();
        readiness.add(&b, 7).unwrap();
        let first = collect(&mut readiness);
        assert_eq!(first, [Ready { key: 7, readable: false, writable: true, hangup: false }]);
        assert!(collect(&mut readiness).is_empty());
        a.write_all(b"x").unwrap();
        crate::rt::block_on(readiness.wait(None));
        assert_eq!(collect(&mut readiness), [Ready { key: 7, readable: true, writable: true, hangup: false }]);
        drop(a);
        crate::rt::block_on(readiness.wait(None));
        assert!(collect(&mut readiness)[0].hangup);
    }

    #[test]
    fn a_wait_ends_at_its_moment() {
        let mut readiness = Readiness::new(Notifier::default()).unwrap();
        let until = Instant::now() + Duration::from_millis(5);
        while Instant::now() < until {
            crate::rt::block_on(readiness.wait(Some(until)));
        }
    }

    #[test]
    fn a_notification_ends_a_wait_from_another_thread_and_is_not_lost_before_it() {
        let notifier = Notifier::default();
        let mut readiness = Readiness::new(notifier.clone()).unwrap();
        notifier.notify();
        crate::rt::block_on(readiness.wait(None));
        notifier.clear();
        let other = std::thread::spawn(move || notifier.notify());
        crate::rt::block_on(readiness.wait(None));
        other.join().unwrap();
    }
}
