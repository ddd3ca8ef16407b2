//! Structures that may grow and still cross: each goes as bytes with a size, and the reader takes what both sides know.
//!
//! A writer with fewer fields leaves the rest zero, a reader with fewer ignores the rest. So fields are only appended, and zero
//! must mean "unknown" or "no". abi_stable does not see these layouts; `tests/layout.txt` pins them.

use abi_stable::{StableAbi, std_types::RVec};
use std::{mem::MaybeUninit, ptr};

pub(crate) mod sealed {
    /// A `repr(C)` structure of integers and integer arrays without padding: every bit pattern, zero too, is a value.
    /// Implemented by [`plain!`](super::plain).
    pub(crate) trait Plain: Copy + 'static {
        /// Name, type, offset and size of each field, for the page of the whole layout.
        #[cfg(test)]
        fn fields() -> Vec<Field>;
    }

    /// A field of a record.
    #[cfg(test)]
    pub(crate) struct Field {
        pub(crate) name: &'static str,
        pub(crate) ty: &'static str,
        pub(crate) offset: usize,
        pub(crate) size: usize,
    }
}
use sealed::Plain;

/// Makes a structure [`Plain`]. Names all its fields in order, or it does not compile; nor with padding.
macro_rules! plain {
    ($Raw:ident { $($field:ident),* $(,)? }) => {
        const _: () = {
            const fn size_of_field<T, F>(_: fn(&T) -> &F) -> usize {
                size_of::<F>()
            }
            let sizes = 0 $(+ size_of_field(|raw: &$Raw| &raw.$field))*;
            assert!(sizes == size_of::<$Raw>(), "a record has no padding");
        };

        impl $crate::records::sealed::Plain for $Raw {
            #[cfg(test)]
            fn fields() -> Vec<$crate::records::sealed::Field> {
                fn type_of<T, F>(_: fn(&T) -> &F) -> (&'static str, usize) {
                    (std::any::type_name::<F>(), size_of::<F>())
                }
                // Fails to compile where a field is left out.
                let _all = |raw: $Raw| {
                    let $Raw { $($field: _),* } = raw;
                };
                vec![$({
                    let (ty, size) = type_of(|raw: &$Raw| &raw.$field);
                    let offset = std::mem::offset_of!($Raw, $field);
                    $crate::records::sealed::Field { name: stringify!($field), ty, offset, size }
                }),*]
            }
        }
    };
}
pub(crate) use plain;

/// A value of the interface with its form as bytes.
pub(crate) trait Record: Sized {
    type Raw: Plain;
    fn to_raw(&self) -> Self::Raw;
    fn from_raw(raw: Self::Raw) -> Self;
}

/// One record on its way from the host: the place and size that the caller has for it.
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RecordOut {
    at: *mut u8,
    size: u32,
}

impl RecordOut {
    /// Calls `fill` with room for one `T`, and reads what it left there.
    pub(crate) fn read<T: Record, E>(fill: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<T, E> {
        // All zero is a value of every `Plain` type.
        let mut raw = MaybeUninit::<T::Raw>::zeroed();
        let mut out = Self { at: raw.as_mut_ptr().cast(), size: size_of::<T::Raw>() as u32 };
        fill(&mut out)?;
        // SAFETY: zeroed above, then at most overwritten with a record's bytes; `Plain` takes any of them.
        Ok(T::from_raw(unsafe { raw.assume_init() }))
    }

    /// Writes as much of `value` as the other side has room for.
    pub(crate) fn write<T: Record>(&mut self, value: &T) {
        let raw = value.to_raw();
        let size = (self.size as usize).min(size_of::<T::Raw>());
        // SAFETY: the caller made room for `self.size` bytes, and `raw` is at least `size` long.
        unsafe { ptr::copy_nonoverlapping(ptr::from_ref(&raw).cast::<u8>(), self.at, size) }
    }
}

/// Records on their way to another process: bytes, whatever they are.
#[cfg(feature = "host")]
impl RecordOut {
    /// Room at this place, which must outlive it.
    pub(crate) fn at(place: &mut [u8]) -> Self {
        Self { at: place.as_mut_ptr(), size: u32::try_from(place.len()).unwrap_or(u32::MAX) }
    }

    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Writes as much of a record's bytes as the other side has room for.
    pub(crate) fn fill(&mut self, bytes: &[u8]) {
        let size = (self.size as usize).min(bytes.len());
        // SAFETY: the caller made room for `self.size` bytes, and `bytes` is at least `size` long.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.at, size) }
    }
}

#[cfg(feature = "host")]
impl RecordList {
    pub(crate) fn stride(&self) -> u32 {
        self.stride
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn from_parts(stride: u32, bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec().into(), stride }
    }
}

/// A list of records from the host, each `stride` bytes apart.
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RecordList {
    bytes: RVec<u8>,
    stride: u32,
}

impl RecordList {
    pub(crate) fn new() -> Self {
        Self { bytes: RVec::new(), stride: 0 }
    }

    pub(crate) fn from_records<T: Record>(records: &[T]) -> Self {
        let stride = size_of::<T::Raw>();
        let mut bytes = vec![0u8; records.len() * stride];
        for (record, place) in records.iter().zip(bytes.chunks_exact_mut(stride)) {
            let mut out = RecordOut { at: place.as_mut_ptr(), size: stride as u32 };
            out.write(record);
        }
        Self { bytes: bytes.into(), stride: stride as u32 }
    }

    pub(crate) fn records<T: Record>(&self) -> Vec<T> {
        let stride = self.stride as usize;
        if stride == 0 {
            return Vec::new();
        }
        let size = stride.min(size_of::<T::Raw>());
        self.bytes
            .chunks_exact(stride)
            .map(|chunk| {
                let mut raw = MaybeUninit::<T::Raw>::zeroed();
                // SAFETY: `size` is within both; the result is a `Plain` value (see `RecordOut::read`).
                let raw = unsafe {
                    ptr::copy_nonoverlapping(chunk.as_ptr(), raw.as_mut_ptr().cast::<u8>(), size);
                    raw.assume_init()
                };
                T::from_raw(raw)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Short(u32);
    #[derive(Debug, PartialEq)]
    struct Long(u32, u32);
    #[repr(C)]
    #[derive(Copy, Clone)]
    struct RawLong {
        a: u32,
        b: u32,
    }
    impl Plain for u32 {
        fn fields() -> Vec<sealed::Field> {
            Vec::new()
        }
    }
    plain!(RawLong { a, b });
    impl Record for Short {
        type Raw = u32;
        fn to_raw(&self) -> u32 {
            self.0
        }
        fn from_raw(raw: u32) -> Self {
            Self(raw)
        }
    }
    impl Record for Long {
        type Raw = RawLong;
        fn to_raw(&self) -> RawLong {
            RawLong { a: self.0, b: self.1 }
        }
        fn from_raw(raw: RawLong) -> Self {
            Self(raw.a, raw.b)
        }
    }

    #[test]
    fn a_longer_record_reads_a_shorter_one_with_the_rest_zero() {
        let read = RecordOut::read::<Long, ()>(|out| {
            out.write(&Short(7));
            Ok(())
        });
        assert_eq!(read, Ok(Long(7, 0)));
        assert_eq!(RecordList::from_records(&[Short(1), Short(2)]).records::<Long>(), [Long(1, 0), Long(2, 0)]);
    }

    #[test]
    fn a_shorter_record_reads_the_head_of_a_longer_one() {
        let read = RecordOut::read::<Short, ()>(|out| {
            out.write(&Long(7, 9));
            Ok(())
        });
        assert_eq!(read, Ok(Short(7)));
        assert_eq!(RecordList::from_records(&[Long(1, 9), Long(2, 9)]).records::<Short>(), [Short(1), Short(2)]);
    }

    #[test]
    fn an_empty_list_has_no_records() {
        assert_eq!(RecordList::new().records::<Short>(), []);
    }
}
