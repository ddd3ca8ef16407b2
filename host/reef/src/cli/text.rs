//! Words and numbers for people: sizes, speeds, times, and text from strangers made safe to show.
//!
//! What torrents, trackers and peers say must never reach a terminal as it came: it could move the cursor, rename the
//! window or hide what else is on the line. Everything shown goes through [`clean`].

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// The text on one line, without anything that a terminal would act on: control characters and those that change the
/// direction of writing appear as `\u{1b}`.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// Whether a terminal would act on the character rather than show it.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text cut to `width` characters, with an ellipsis if something was cut.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A number of bytes with a binary unit: `1.5 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Precise enough to show: three or four digits.
    #[allow(clippy::cast_precision_loss)]
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"KiB");
    while value >= 1023.95
        && let Some(larger) = units.next()
    {
        value /= 1024.0;
        unit = larger;
    }
    if value < 99.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// Bytes a second: `1.5 MiB/s`.
pub(crate) fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", size(bytes_per_second))
}

/// A time in its two largest units: `3h 20m`, `12s`.
pub(crate) fn duration(time: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let mut rest = time.as_secs();
    let mut text = String::new();
    let mut parts = 0;
    for (seconds, unit) in UNITS {
        let count = rest / seconds;
        rest %= seconds;
        if (count > 0 || seconds == 1 && parts == 0) && parts < 2 {
            let _ = write!(text, "{}{count}{unit}", if parts > 0 { " " } else { "" });
            parts += 1;
        } else if parts > 0 {
            break;
        }
    }
    text
}

/// How long something took: [`duration`], with parts of a second where they matter.
pub(crate) fn elapsed(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{seconds:.2}s"),
        seconds if seconds < 10.0 => format!("{seconds:.1}s"),
        _ => duration(time),
    }
}

/// How long the rest takes at this speed; none while nothing moves or when it would take over a hundred days.
pub(crate) fn time_left(bytes: u64, bytes_per_second: u64) -> Option<Duration> {
    let seconds = bytes.checked_div(bytes_per_second)?;
    (seconds < 8_640_000).then(|| Duration::from_secs(seconds))
}

/// A count with its noun: `1 piece`, `2 pieces`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// How much of `total` is done, in whole percent, rounded down so that 100 means all.
pub(crate) fn percent(done: u64, total: u64) -> u64 {
    if total == 0 {
        return 100;
    }
    let percent = u128::from(done) * 100 / u128::from(total);
    u64::try_from(percent).unwrap_or(100).min(100)
}

/// A moment in seconds since 1970 as `2024-05-06 07:08:09 UTC`; none before 1970 or after the year 9999.
pub(crate) fn date(seconds: i64) -> Option<String> {
    let seconds = u64::try_from(seconds).ok().filter(|&s| s < 253_402_300_800)?;
    let (year, month, day) = civil_from_days(seconds / 86_400);
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    Some(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"))
}

/// Year, month and day of the Gregorian calendar, from days since 1970-01-01.
fn civil_from_days(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

/// Reads a number of bytes: `500k` and `2M` are thousands and millions, `1.5MiB` is binary; a plain number is bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || "a size looks like 500k, 2M or 1.5MiB".to_owned();
    let (number, unit) = split_unit(text);
    let power: f64 = match unit.to_ascii_lowercase().trim_end_matches("/s") {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "ki" | "kib" => 1024.0,
        "mi" | "mib" => 1024.0 * 1024.0,
        "gi" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "ti" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    if unit.is_empty()
        && let Ok(bytes) = number.parse()
    {
        return Ok(bytes);
    }
    let value = number.parse::<f64>().map_err(|_| wrong())? * power;
    if !(0.0..1e18).contains(&value) {
        return Err(wrong());
    }
    // In range by the check above; a fraction of a byte is dropped.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(value as u64)
}

/// Reads a time: `90s`, `30m`, `2h`, `1d`; a plain number is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time looks like 90s, 30m or 2h".to_owned();
    let (number, unit) = split_unit(text);
    let seconds = match unit {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let value = number.parse::<f64>().map_err(|_| wrong())? * seconds;
    if !(0.0..1e10).contains(&value) {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(value))
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    (number.trim_end(), unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_is_left() {
        let check = |text: &str, expected: &str| assert_eq!(clean(text), expected, "{text:?}");
        check("plain naïve 文 name.txt", "plain naïve 文 name.txt");
        check("\x1b[31mred", "\\u{1b}[31mred");
        check("two\nlines\r\t", "two\\u{a}lines\\u{d}\\u{9}");
        check("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}");
        check("gpj.\u{202e}exe", "gpj.\\u{202e}exe");
    }

    #[test]
    fn sizes_have_a_fitting_unit() {
        let check = |bytes: u64, expected: &str| assert_eq!(size(bytes), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1024, "1.0 KiB");
        check(1_572_864, "1.5 MiB");
        check(1_048_575, "1.0 MiB");
        check(734_003_200, "700 MiB");
        check(u64::MAX, "16.0 EiB");
    }

    #[test]
    fn times_show_their_two_largest_units() {
        let check = |seconds: u64, expected: &str| assert_eq!(duration(Duration::from_secs(seconds)), expected);
        check(0, "0s");
        check(59, "59s");
        check(60, "1m");
        check(3661, "1h 1m");
        check(3605, "1h");
        check(90_000, "1d 1h");
        assert_eq!(elapsed(Duration::from_millis(123)), "0.12s");
        assert_eq!(elapsed(Duration::from_secs(60)), "1m");
        assert_eq!(time_left(10, 0), None);
        assert_eq!(time_left(u64::MAX, 1), None);
        assert_eq!(time_left(100, 10), Some(Duration::from_secs(10)));
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let check = |text: &str, expected: u64| assert_eq!(parse_size(text), Ok(expected), "{text}");
        check("0", 0);
        check("18446744073709551615", u64::MAX);
        check("500k", 500_000);
        check("2M", 2_000_000);
        check("1.5MiB", 1_572_864);
        check("1 GiB", 1 << 30);
        check("10kB/s", 10_000);
        for wrong in ["", "k", "-1", "-1k", "1x", "nan", "inf", "1e30M", "1.5.5k"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let check = |text: &str, seconds: f64| {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        };
        check("90", 90.0);
        check("90s", 90.0);
        check("1.5m", 90.0);
        check("2h", 7200.0);
        for wrong in ["", "m", "-1", "1y", "inf"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn dates_follow_the_calendar() {
        let check = |seconds: i64, expected: Option<&str>| assert_eq!(date(seconds).as_deref(), expected);
        check(0, Some("1970-01-01 00:00:00 UTC"));
        check(951_782_399, Some("2000-02-28 23:59:59 UTC"));
        check(951_782_400, Some("2000-02-29 00:00:00 UTC"));
        check(1_714_979_289, Some("2024-05-06 07:08:09 UTC"));
        check(253_402_300_799, Some("9999-12-31 23:59:59 UTC"));
        check(253_402_300_800, None);
        check(-1, None);
    }

    #[test]
    fn a_hundred_percent_means_all() {
        assert_eq!([percent(0, 0), percent(999, 1000), percent(1000, 1000), percent(5, 4)], [100, 99, 100, 100]);
        assert_eq!(shorten("abcdef", 4), "abc…");
    }
}
