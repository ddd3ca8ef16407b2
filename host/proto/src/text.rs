//! Text from strangers, made fit to show: in a terminal, a log or a window.
//!
//! What comes out never holds a control character, never turns the direction of the text around it, and has a bounded length.

/// `bytes` as text of at most `max_chars` characters. Bytes that are not UTF-8 become U+FFFD; control characters and those that reorder text become spaces.
pub fn printable(bytes: &[u8], max_chars: usize) -> String {
    // A character has at most four bytes, so more than this is cut in any case.
    let start = bytes.get(..max_chars.saturating_mul(4)).unwrap_or(bytes);
    let text = String::from_utf8_lossy(start);
    let shown = text.chars().take(max_chars).map(|c| if is_harmful(c) { ' ' } else { c });
    shown.collect::<String>().trim().to_owned()
}

fn is_harmful(c: char) -> bool {
    let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks_line = matches!(c, '\u{2028}' | '\u{2029}');
    c.is_control() || reorders || breaks_line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_text_is_bounded_and_tame() {
        let cases: [(&[u8], &str); 7] = [
            (b"plain", "plain"),
            (b" \r\n padded \0", "padded"),
            (b"\x1b[31mred", "[31mred"),
            (b"a\xff\xfeb", "a\u{fffd}\u{fffd}b"),
            ("\u{202e}gpj.exe".as_bytes(), "gpj.exe"),
            ("gr\u{fc}n".as_bytes(), "gr\u{fc}n"),
            (b"0123456789abcdefghij", "0123456789abcdef"),
        ];
        for (given, expected) in cases {
            assert_eq!(printable(given, 16), expected);
        }
    }
}
