//! Which of many sockets are ready, at a cost that does not grow with those that are not.
//!
//! The sockets lie in an `epoll` set of their own, which the async reactor sees as one descriptor. A busy loop asks the
//! set itself, and waits in it for the moment that its peers need; the reactor, whose every wait costs half a dozen
//! system calls and may pass through its helper thread, only sees a loop that has nothing to do. One registration a
//! socket is enough for its life, because events are edges: a ready socket is reported once and again only after
//! something changed, so whoever takes an event must use the socket until it says "would block".

use async_io::{Async, Timer};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
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
    /// What a wait found, for the next [`Self::collect`].
    found: Vec<Ready>,
    timer: Timer,
    armed: Option<Instant>,
    notifier: Notifier,
}

impl Readiness {
    /// A set of nothing but the notifier, which ends a wait.
    pub(crate) fn new(notifier: Notifier) -> io::Result<Self> {
        let set = Async::new_nonblocking(epoll::create(epoll::CreateFlags::CLOEXEC)?)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(set.get_ref(), &notifier.0.event, epoll::EventData::new_u64(NOTIFIED), flags)?;
        Ok(Self { set, found: Vec::new(), timer: Timer::never(), armed: None, notifier })
    }

    /// Adds a socket. It leaves the set when it is closed.
    pub(crate) fn add(&self, socket: impl AsFd, key: u64) -> io::Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        Ok(epoll::add(self.set.get_ref(), socket, epoll::EventData::new_u64(key), flags)?)
    }

    /// Appends what happened since the last call, without waiting.
    pub(crate) fn collect(&mut self, out: &mut Vec<Ready>) {
        while self.look(&IMMEDIATELY) == EVENTS_A_CALL {}
        out.append(&mut self.found);
    }

    /// Waits until a socket is ready, the notifier was used, or `until` has come (`None`: however long it takes).
    /// It may also come back without any of these.
    pub(crate) async fn wait(&mut self, until: Option<Instant>) {
        if self.notifier.is_set() || self.wait_briefly(until) {
            return;
        }
        self.arm(until);
        let Self { set, timer, armed, .. } = self;
        std::future::poll_fn(|cx| {
            if set.poll_readable(cx).is_ready() {
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

    /// Waits in the set itself, for so short a time that nobody else on this thread minds. Whether that was enough.
    fn wait_briefly(&mut self, until: Option<Instant>) -> bool {
        let left = until.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        // A moment that is near, such as a rate limit's next, is not worth setting a timer for.
        let is_near = left <= NEAR;
        let wait = if is_near { left } else { BRIEFLY };
        let found = self.look(&Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() });
        found > 0 || is_near
    }

    /// One look into the set. Returns how many events there were.
    fn look(&mut self, timeout: &Timespec) -> usize {
        let mut events = [const { MaybeUninit::uninit() }; EVENTS_A_CALL];
        // An error here could only be a signal; what is ready is then told at the next call.
        let Ok((events, _)) = epoll::wait(self.set.get_ref(), &mut events, Some(timeout)) else { return 0 };
        self.found.extend(events.iter().map(Ready::from).filter(|event| event.key != NOTIFIED));
        events.len()
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
#[derive(Clone)]
pub(crate) struct Notifier(Arc<NotifierState>);

struct NotifierState {
    is_set: AtomicBool,
    /// Never read: each write is an edge of its own.
    event: OwnedFd,
}

impl Notifier {
    /// A notifier that was not used.
    pub(crate) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(NotifierState { is_set: AtomicBool::new(false), event })))
    }

    /// Ends the current wait of the loop, or its next one.
    pub(crate) fn notify(&self) {
        if !self.0.is_set.swap(true, Ordering::SeqCst) {
            // It could only fail after 2^64 writes.
            let _ = rustix::io::write(&self.0.event, &1_u64.to_ne_bytes());
        }
    }

    /// Forgets earlier notifications; whoever calls this looks at its queues afterwards.
    pub(crate) fn clear(&self) {
        self.0.is_set.store(false, Ordering::SeqCst);
    }

    fn is_set(&self) -> bool {
        self.0.is_set.load(Ordering::SeqCst)
    }
}

const EVENTS_A_CALL: usize = 128;
const EARLY_ENOUGH: Duration = Duration::from_millis(100);
const IMMEDIATELY: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
const BRIEFLY: Duration = Duration::from_millis(1);
const NEAR: Duration = Duration::from_millis(25);
const NOTIFIED: u64 = u64::MAX;

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
        let mut readiness = Readiness::new(Notifier::new().unwrap()).unwrap();
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
        let mut readiness = Readiness::new(Notifier::new().unwrap()).unwrap();
        let until = Instant::now() + Duration::from_millis(5);
        while Instant::now() < until {
            crate::rt::block_on(readiness.wait(Some(until)));
        }
    }

    #[test]
    fn a_notification_ends_a_wait_from_another_thread_and_is_not_lost_before_it() {
        let notifier = Notifier::new().unwrap();
        let mut readiness = Readiness::new(notifier.clone()).unwrap();
        notifier.notify();
        crate::rt::block_on(readiness.wait(None));
        notifier.clear();
        let other = std::thread::spawn(move || notifier.notify());
        crate::rt::block_on(readiness.wait(None));
        other.join().unwrap();
    }
}
