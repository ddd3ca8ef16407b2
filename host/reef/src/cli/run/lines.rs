//! Lines of standard input, each of bounded length: one that is longer is said to be so, and the rest of it is skipped.

use std::io::BufRead;

/// Bytes of a line at most.
pub(super) const LONGEST: usize = 1 << 20;

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Line {
    /// Its bytes, without the line feed.
    Text(Vec<u8>),
    /// It was too long.
    TooLong,
}

/// The lines of an input until it ends or fails.
pub(super) struct Lines<R> {
    input: R,
    longest: usize,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, longest: LONGEST }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let mut line = Vec::new();
        let (mut is_too_long, mut is_there) = (false, false);
        loop {
            let part = match self.input.fill_buf() {
                Ok(part) => part,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return None,
            };
            if part.is_empty() {
                break;
            }
            is_there = true;
            let end = part.iter().position(|&byte| byte == b'\n');
            let text = &part[..end.unwrap_or(part.len())];
            if line.len() + text.len() > self.longest {
                is_too_long = true;
                line.clear();
            }
            if !is_too_long {
                line.extend_from_slice(text);
            }
            let used = end.map_or(part.len(), |end| end + 1);
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        is_there.then_some(if is_too_long { Line::TooLong } else { Line::Text(line) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    #[test]
    fn lines_come_whole_and_long_ones_are_skipped() {
        let text: &[u8] = b"one\n\n1234567\n12345678\nabcdefghijklmnopqrstuvwxyz\nlast";
        for buffer in [1, 3, 100] {
            let lines = Lines { input: BufReader::with_capacity(buffer, text), longest: 7 };
            let text = |text: &str| Line::Text(text.into());
            let expected = [text("one"), text(""), text("1234567"), Line::TooLong, Line::TooLong, text("last")];
            assert_eq!(lines.collect::<Vec<_>>(), expected, "{buffer}");
        }
    }
}
