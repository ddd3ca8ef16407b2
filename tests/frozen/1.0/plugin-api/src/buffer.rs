//! Bytes that either side made and both may hold: a block, a torrent's metadata. Reference-counted, never copied on the way.
//!
//! Whoever made the memory frees it: the buffer carries its maker's functions with it.

use abi_stable::{StableAbi, prefix_type::WithMetadata};
use std::{fmt, ops::Deref, ptr, slice, sync::Arc};

/// Reference-counted, immutable bytes.
#[repr(C)]
#[derive(StableAbi)]
pub struct Buffer {
    data: *const u8,
    len: usize,
    owner: *const (),
    ops: BufferOps_Ref,
}

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = BufferOps_Ref)))]
#[sabi(missing_field(panic))]
pub(crate) struct BufferOps {
    retain: unsafe extern "C" fn(*const ()),
    #[sabi(last_prefix_field)]
    release: unsafe extern "C" fn(*const ()),
}

impl Buffer {
    /// No bytes.
    pub fn empty() -> Self {
        Self::from_owner([0u8; 0])
    }

    /// The bytes of `owner`, which is kept until the last clone is gone. They must not move while it is kept, which is true of
    /// `Vec<u8>`, `Arc<[u8]>` and `bytes::Bytes`.
    pub fn from_owner<T: AsRef<[u8]> + Send + Sync + 'static>(owner: T) -> Self {
        let owner = Arc::new(owner);
        let bytes: &[u8] = (*owner).as_ref();
        let (data, len) = (bytes.as_ptr(), bytes.len());
        Self { data, len, owner: Arc::into_raw(owner).cast(), ops: BufferOps_Ref(Owner::<T>::OPS.static_as_prefix()) }
    }

    /// The same memory, from `start` to `end`; `None` if that is not within it.
    pub fn slice(&self, start: usize, end: usize) -> Option<Self> {
        let part = self.get(start..end)?;
        let (data, len) = (part.as_ptr(), part.len());
        let mut slice = self.clone();
        (slice.data, slice.len) = (data, len);
        Some(slice)
    }
}

struct Owner<T>(T);

impl<T: Send + Sync + 'static> Owner<T> {
    const OPS: &'static WithMetadata<BufferOps> =
        &WithMetadata::new(BufferOps { retain: Self::retain, release: Self::release });

    unsafe extern "C" fn retain(owner: *const ()) {
        // SAFETY: `owner` came from `Arc::into_raw` of this `T` and is held by the calling buffer.
        unsafe { Arc::increment_strong_count(owner.cast::<T>()) }
    }

    unsafe extern "C" fn release(owner: *const ()) {
        // SAFETY: gives back the count that the dropped buffer held.
        let owner = unsafe { Arc::from_raw(owner.cast::<T>()) };
        // The last drop may run foreign code, whose panic must not cross.
        crate::at_work::contain("dropping a buffer", move || drop(owner));
    }
}

// SAFETY: immutable bytes, kept by an owner that is `Send + Sync` and counted atomically.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        // SAFETY: this buffer holds a count of `owner`.
        unsafe { (self.ops.retain())(self.owner) }
        Self { data: self.data, len: self.len, owner: self.owner, ops: self.ops }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: gives back this buffer's own count, once.
        unsafe { (self.ops.release())(self.owner) }
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `data` and `len` came from a slice of the owner, which lives as long as this buffer.
        unsafe { slice::from_raw_parts(self.data, self.len) }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from_owner(bytes)
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len)
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        (ptr::eq(self.data, other.data) && self.len == other.len) || **self == **other
    }
}

impl Eq for Buffer {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_lives_until_the_last_clone() {
        let owner: Arc<[u8]> = Arc::from(&b"abcdef"[..]);
        let whole = Buffer::from_owner(owner.clone());
        let part = whole.slice(2, 5).expect("within");
        assert_eq!((&*part, part.as_ptr()), (&b"cde"[..], owner[2..].as_ptr()));
        drop(whole);
        assert_eq!(Arc::strong_count(&owner), 2);
        drop(part);
        assert_eq!(Arc::strong_count(&owner), 1);
    }

    #[test]
    fn a_slice_outside_is_none() {
        let buffer = Buffer::from(vec![1, 2, 3]);
        assert_eq!((buffer.slice(2, 4), buffer.slice(3, 2)), (None, None));
        assert_eq!(buffer.slice(3, 3).as_deref(), Some(&[][..]));
        assert!(Buffer::empty().is_empty());
    }
}
