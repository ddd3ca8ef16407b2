//! Processes that end with the test, whose lines are waited for with a deadline.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

/// How long a test waits for what should take a moment. Generous: two cores may be busy with other tests.
pub const SOON: Duration = Duration::from_secs(60);

/// A running process. It is killed when this is dropped.
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<Option<String>>,
    open_pipes: u32,
    seen: Vec<String>,
}

/// How a process ended, and all that it printed.
#[derive(Debug)]
pub struct Ended {
    /// The exit status; none if a signal ended it.
    pub code: Option<i32>,
    /// Its lines on both outputs.
    pub lines: Vec<String>,
}

impl Ended {
    /// All that it printed.
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }
}

impl Process {
    /// Starts a command; its input stays open until the process ends or is dropped.
    ///
    /// # Panics
    /// If there is no such program.
    pub fn spawn(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let (sender, lines) = channel();
        read_lines(child.stdout.take().expect("it is piped"), sender.clone());
        read_lines(child.stderr.take().expect("it is piped"), sender);
        Self { name, child, lines, open_pipes: 2, seen: Vec::new() }
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its input.
    ///
    /// # Panics
    /// If it does not listen any more, with all that was printed.
    #[track_caller]
    pub fn tell(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("it is piped");
        let told = writeln!(input, "{line}");
        assert!(told.is_ok(), "{} does not listen; it printed:\n{}", self.name, self.seen.join("\n"));
    }

    /// Waits for the next line of which `choose` makes something.
    ///
    /// # Panics
    /// If none comes in time, with all that was printed.
    #[track_caller]
    pub fn wait_for<T>(&mut self, within: Duration, mut choose: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + within;
        loop {
            let Some(line) = self.next_line(deadline) else {
                let state = if self.open_pipes == 0 { "ended" } else { "went on" };
                panic!(
                    "{} {state} without the line that was waited for; it printed:\n{}",
                    self.name,
                    self.seen.join("\n")
                );
            };
            if let Some(chosen) = choose(&line) {
                return chosen;
            }
        }
    }

    /// Waits for a line that contains `text`, and returns it.
    ///
    /// # Panics
    /// If none comes in time, with all that was printed.
    #[track_caller]
    pub fn wait_for_text(&mut self, within: Duration, text: &str) -> String {
        self.wait_for(within, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// The next line, if one comes before the deadline.
    pub fn next_line(&mut self, deadline: Instant) -> Option<String> {
        while self.open_pipes > 0 {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Some(line)) => {
                    self.seen.push(line.clone());
                    return Some(line);
                }
                Ok(None) => self.open_pipes -= 1,
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => self.open_pipes = 0,
            }
        }
        None
    }

    /// All lines that were read so far.
    pub fn seen(&self) -> &[String] {
        &self.seen
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the process was waited for before.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process has a number");
        // It may have ended by itself: nobody else waits for it, so the number is still its own.
        let _ = kill_process(id, signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end in time, with all that was printed.
    #[track_caller]
    pub fn wait(mut self, within: Duration) -> Ended {
        let deadline = Instant::now() + within;
        while self.next_line(deadline).is_some() {}
        assert!(self.open_pipes == 0, "{} does not end; it printed:\n{}", self.name, self.seen.join("\n"));
        let status = self.child.wait().expect("it was not waited for before");
        Ended { code: status.code(), lines: std::mem::take(&mut self.seen) }
    }

    /// Waits for its end with this exit status.
    ///
    /// # Panics
    /// If it ends otherwise, or does not end in time, with all that was printed.
    #[track_caller]
    pub fn wait_for_status(self, within: Duration, status: i32) -> Ended {
        let name = self.name.clone();
        let ended = self.wait(within);
        assert_eq!(ended.code, Some(status), "{name} printed:\n{}", ended.text());
        ended
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends the lines as they come, and `None` at the end.
fn read_lines(pipe: impl Read + Send + 'static, sender: Sender<Option<String>>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if sender.send(Some(text)).is_err() {
                return;
            }
        }
        // The test may not listen any more.
        let _ = sender.send(None);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::spawn(Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn lines_of_both_outputs_arrive_and_the_status_too() {
        let mut process = shell("echo one; echo two >&2; read line; exit 3");
        process.wait_for_text(SOON, "o");
        process.wait_for_text(SOON, "o");
        process.signal(Signal::TERM);
        let ended = process.wait(SOON);
        assert_eq!((ended.code, ended.lines.len()), (None, 2));
        assert_eq!(shell("exit 3").wait_for_status(SOON, 3).text(), "");
    }

    #[test]
    #[should_panic(expected = "printed:\nhello")]
    fn what_was_printed_is_shown_when_a_line_does_not_come() {
        shell("echo hello").wait_for_text(SOON, "never");
    }
}
