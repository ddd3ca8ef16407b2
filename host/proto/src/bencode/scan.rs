//! The walk over untrusted bytes that everything else relies on: iterative, bounded, and without allocation but for
//! one entry a level.

use super::{BencodeError, Limits};

/// What a scan found out about the value it passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// How many bytes the value has; more may follow it.
    pub len: usize,
    /// Whether there is no other way to write the value: keys sorted and none twice, no needless zeros, no minus zero.
    pub canonical: bool,
}

/// Walks over the one value at the start of `bytes`.
///
/// # Errors
/// When it is malformed, cut off, or passes one of `limits`.
pub fn scan(bytes: &[u8], limits: &Limits) -> Result<Scan, BencodeError> {
    let mut scanner = Scanner { bytes, at: 0, items: 0, canonical: true, open: Vec::new(), limits };
    scanner.run()?;
    Ok(Scan { len: scanner.at, canonical: scanner.canonical })
}

/// A list or dictionary whose end has not been met.
enum Open<'a> {
    List,
    Dict { last_key: Option<&'a [u8]>, needs_value: bool },
}

struct Scanner<'a, 'l> {
    bytes: &'a [u8],
    at: usize,
    items: usize,
    canonical: bool,
    open: Vec<Open<'a>>,
    limits: &'l Limits,
}

impl<'a> Scanner<'a, '_> {
    fn run(&mut self) -> Result<(), BencodeError> {
        loop {
            let byte = self.peek()?;
            match self.open.last() {
                Some(Open::Dict { needs_value: false, .. }) if byte != b'e' => {
                    self.key(byte)?;
                    continue;
                }
                Some(Open::Dict { needs_value: true, .. }) if byte == b'e' => {
                    return Err(BencodeError::BadEntry { at: self.at });
                }
                Some(_) if byte == b'e' => {
                    self.at += 1;
                    self.open.pop();
                }
                _ => {
                    self.count_item()?;
                    if self.value(byte)? {
                        continue;
                    }
                }
            }
            match self.open.last_mut() {
                None => return self.check_size(),
                Some(Open::Dict { needs_value, .. }) => *needs_value = false,
                Some(Open::List) => {}
            }
        }
    }

    /// Passes an integer or a string, or enters a list or dictionary; in the latter case the answer is true.
    fn value(&mut self, byte: u8) -> Result<bool, BencodeError> {
        match byte {
            b'i' => self.integer().map(|()| false),
            b'0'..=b'9' => self.string().map(|_| false),
            b'l' => self.enter(Open::List).map(|()| true),
            b'd' => self.enter(Open::Dict { last_key: None, needs_value: false }).map(|()| true),
            _ => Err(BencodeError::UnexpectedByte { at: self.at }),
        }
    }

    fn enter(&mut self, open: Open<'a>) -> Result<(), BencodeError> {
        let limit = self.limits.max_depth;
        if self.open.len() >= limit {
            return Err(BencodeError::TooDeep { limit });
        }
        self.open.push(open);
        self.at += 1;
        Ok(())
    }

    fn key(&mut self, byte: u8) -> Result<(), BencodeError> {
        if !byte.is_ascii_digit() {
            return Err(BencodeError::BadEntry { at: self.at });
        }
        self.count_item()?;
        let key = self.string()?;
        if let Some(Open::Dict { last_key, needs_value }) = self.open.last_mut() {
            self.canonical &= last_key.is_none_or(|last| last < key);
            *last_key = Some(key);
            *needs_value = true;
        }
        Ok(())
    }

    fn integer(&mut self) -> Result<(), BencodeError> {
        let start = self.at;
        self.at += 1;
        let negative = self.peek()? == b'-';
        if negative {
            self.at += 1;
        }
        let digits = self.digits(start)?;
        self.canonical &= match digits {
            [b'0'] => !negative,
            [b'0', ..] => false,
            _ => true,
        };
        self.expect(b'e')
    }

    fn string(&mut self) -> Result<&'a [u8], BencodeError> {
        let start = self.at;
        let digits = self.digits(start)?;
        self.canonical &= digits.len() == 1 || digits.first() != Some(&b'0');
        let length: Option<usize> = number(digits);
        self.expect(b':')?;
        let too_short = BencodeError::UnexpectedEnd { at: self.bytes.len() };
        let end =
            length.and_then(|length| self.at.checked_add(length)).ok_or(BencodeError::NumberTooLong { at: start })?;
        if end > self.limits.max_size {
            return Err(BencodeError::TooLarge { limit: self.limits.max_size });
        }
        let content = self.bytes.get(self.at..end).ok_or(too_short)?;
        self.at = end;
        Ok(content)
    }

    /// Passes at least one digit and at most as many as the largest 64-bit number has.
    fn digits(&mut self, start: usize) -> Result<&'a [u8], BencodeError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.iter().take(MAX_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            self.peek()?;
            return Err(BencodeError::UnexpectedByte { at: self.at });
        }
        if count > MAX_DIGITS {
            return Err(BencodeError::NumberTooLong { at: start });
        }
        self.at += count;
        Ok(rest.get(..count).unwrap_or_default())
    }

    fn peek(&self) -> Result<u8, BencodeError> {
        self.bytes.get(self.at).copied().ok_or(BencodeError::UnexpectedEnd { at: self.at })
    }

    fn expect(&mut self, wanted: u8) -> Result<(), BencodeError> {
        if self.peek()? != wanted {
            return Err(BencodeError::UnexpectedByte { at: self.at });
        }
        self.at += 1;
        Ok(())
    }

    fn count_item(&mut self) -> Result<(), BencodeError> {
        let limit = self.limits.max_items;
        if self.items >= limit {
            return Err(BencodeError::TooManyItems { limit });
        }
        self.items += 1;
        self.check_size()
    }

    fn check_size(&self) -> Result<(), BencodeError> {
        let limit = self.limits.max_size;
        if self.at > limit {
            return Err(BencodeError::TooLarge { limit });
        }
        Ok(())
    }
}

/// The number that ASCII `digits` write, if it fits.
pub(super) fn number(digits: &[u8]) -> Option<usize> {
    digits
        .iter()
        .try_fold(0_usize, |sum, digit| sum.checked_mul(10)?.checked_add(usize::from(digit.checked_sub(b'0')?)))
}

/// The digits of `u64::MAX`.
const MAX_DIGITS: usize = 20;
