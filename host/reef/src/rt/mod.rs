//! The runtime's one door: the only module that names async-std, async-io and rustix's sockets
//! and pipes.
//!
//! It offers what the shell needs of them in std types: a future run to its end, named threads, channels, a set of
//! sockets that says which are ready, and non-blocking sockets. It knows nothing of peers or torrents.

mod pipe;
mod readiness;
mod socket;

pub(crate) use pipe::{Heads, Pipe, Put};
pub(crate) use readiness::{Notifier, Readiness, Ready};
pub(crate) use socket::{FileSent, More, TcpSocket, UdpSocket, is_out_of_files};

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) use async_std::channel::{Receiver, Sender, bounded};

/// Runs a future to its end on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    async_std::task::block_on(future)
}

/// The future's output, or `None` when `limit` has passed before.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    match either(future, async_io::Timer::after(limit)).await {
        Either::First(output) => Some(output),
        Either::Second(_) => None,
    }
}

/// Which of two futures was ready.
pub(crate) enum Either<A, B> {
    /// The first; both may have been.
    First(A),
    /// The second.
    Second(B),
}

/// The output of whichever future is ready first.
pub(crate) async fn either<A: Future, B: Future>(first: A, second: B) -> Either<A::Output, B::Output> {
    let mut first = pin!(first);
    let mut second = pin!(second);
    std::future::poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Either::First(output)),
        Poll::Pending => second.as_mut().poll(cx).map(Either::Second),
    })
    .await
}

/// Starts a thread with a name, which is what it is called in a debugger and in `top`.
pub(crate) fn spawn_thread(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}
