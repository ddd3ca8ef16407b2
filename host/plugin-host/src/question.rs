//! Questions from plugins' own threads: each waits in the queue of requests, and is answered on the session's thread from the
//! same view of the session that hooks have.
//!
//! A hook must never wait for an answer: the session waits for the hook. So the thread that runs hooks is known, and asking there
//! is an error. Every other wait has an end.

use crate::context::Context;
use reef_plugin_api::HostError;
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// How long a thread waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a thread waits for bytes from a disk.
pub(crate) const PATIENCE_FOR_DISKS: Duration = Duration::from_secs(30);

/// A question with a way back to whoever asked. Dropped unanswered, it tells that there is nobody to answer.
pub(crate) struct Question(Box<dyn FnOnce(&Context<'_>) + Send>);

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Question")
    }
}

impl Question {
    /// A question, and where its answer comes.
    pub(crate) fn new<T: Send + 'static>(
        ask: impl FnOnce(&Context<'_>) -> Result<T, HostError> + Send + 'static,
    ) -> (Self, Waiting<T>) {
        let (sender, receiver) = sync_channel(1);
        // Who asked may have given up.
        let answer = move |context: &Context<'_>| drop(sender.try_send(ask(context)));
        (Self(Box::new(answer)), Waiting(receiver))
    }

    /// Answers it.
    pub(crate) fn answer(self, context: &Context<'_>) {
        (self.0)(context);
    }
}

/// Where the answer to a question comes.
pub(crate) struct Waiting<T>(pub(crate) Receiver<Result<T, HostError>>);

impl<T> Waiting<T> {
    /// Waits for it.
    pub(crate) fn wait(self, patience: Duration) -> Result<T, HostError> {
        match self.0.recv_timeout(patience) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(HostError::TimedOut),
            Err(RecvTimeoutError::Disconnected) => Err(HostError::Gone),
        }
    }
}

/// A number for the thread that runs, other than that of any other thread that lives.
pub(crate) fn this_thread() -> usize {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.with(|mark| std::ptr::from_ref(mark).addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_nobody_answers_has_an_end() {
        let (question, waiting) = Question::new(|_| Ok(()));
        drop(question);
        assert_eq!(waiting.wait(PATIENCE), Err(HostError::Gone));
        let (_kept, waiting) = Question::new(|_| Ok(()));
        assert_eq!(waiting.wait(Duration::from_millis(1)), Err(HostError::TimedOut));
    }

    #[test]
    fn threads_have_numbers_of_their_own() {
        let here = this_thread();
        assert_eq!(here, this_thread());
        let there = std::thread::spawn(this_thread).join().expect("it ends");
        assert_ne!(here, there);
    }
}
