//! One ordered table a level makes everything of that level: the bits of the mask, the author's trait with its defaults, the
//! table of functions that crosses, the glue that catches panics, and the host's wrappers.
//!
//! A row is a field of the crossing table and a bit of the mask. Rows are appended, never moved, removed or changed: their
//! order is the interface. An object's table may have 64 fields; two are taken.

use crate::buffer::Buffer;
use crate::endpoint::Endpoint;
use crate::info::TorrentState;
use crate::new_torrent::NewTorrent;
use abi_stable::std_types::{ROption, RResult, RSlice, RStr, RString, RVec};
use std::net::SocketAddr;

/// From the form of one side to that of the other: a row's `(what crosses) as (what authors and hosts see)`.
pub(crate) trait Conv<T> {
    fn conv(self) -> T;
}

impl<T> Conv<T> for T {
    #[inline(always)]
    fn conv(self) -> T {
        self
    }
}

macro_rules! conversions {
    ($( [$($life:lifetime)?] $abi:ty, $auth:ty: |$from_abi:ident| $to_auth:expr, |$from_auth:ident| $to_abi:expr; )*) => { $(
        impl<$($life)?> Conv<$auth> for $abi {
            #[inline(always)]
            fn conv(self) -> $auth { let $from_abi = self; $to_auth }
        }
        impl<$($life)?> Conv<$abi> for $auth {
            #[inline(always)]
            fn conv(self) -> $abi { let $from_auth = self; $to_abi }
        }
    )* };
}

conversions! {
    ['a] RSlice<'a, u8>, &'a [u8]: |bytes| bytes.as_slice(), |bytes| bytes.into();
    ['a] RStr<'a>, &'a str: |text| text.as_str(), |text| text.into();
    [] Endpoint, SocketAddr: |endpoint| endpoint.addr_or_unspecified(), |addr| addr.into();
    [] u32, TorrentState: |state| TorrentState(state), |state| state.0;
    [] RResult<Buffer, RString>, Result<Buffer, String>: |read| read.into_result().map_err(String::from), |read| read.map_err(RString::from).into();
    [] RVec<u8>, Vec<u8>: |bytes| bytes.into(), |bytes| bytes.into();
    [] RVec<u8>, Option<NewTorrent>: |bytes| NewTorrent::from_bytes(&bytes), |torrent| torrent.map(|torrent| torrent.to_bytes()).unwrap_or_default().into();
}

impl<T> Conv<Option<T>> for ROption<T> {
    #[inline(always)]
    fn conv(self) -> Option<T> {
        self.into_option()
    }
}

impl<T> Conv<ROption<T>> for Option<T> {
    #[inline(always)]
    fn conv(self) -> ROption<T> {
        self.into()
    }
}

macro_rules! define_level {
    (
        $(#[$tdoc:meta])*
        trait $Tr:ident($Cx:ident): $(#[$odoc:meta])* object $Obj:ident table $Vt:ident $Vt_Ref:ident glue $Glue:ident bits $bits:ident;
        beside { $($beside:tt)* } besides { $($zero:ident)* }
        $(
            $(#[$doc:meta])*
            [$bit:literal] fn $name:ident($($arg:ident: ($($abi:tt)*) as ($($auth:tt)*)),*)
                $(-> ($($out_abi:tt)*) as ($($out:tt)*) = $default:expr)?;
        )*
    ) => {
        $(#[$tdoc])*
        #[allow(unused_variables)]
        pub trait $Tr: Send + Sized + 'static {
            /// Which hooks are implemented: written by `#[hooks]`. Without it every hook is called, which is correct and slower.
            const HOOKS: u64 = !0;
            $($beside)*
            $(
                $(#[$doc])*
                fn $name(&mut self, cx: &mut $crate::$Cx<'_> $(, $arg: $($auth)*)*) -> $crate::level::answer!($($($out)*)?) {
                    $crate::level::standard!($($default)?)
                }
            )*
        }

        #[allow(non_upper_case_globals)]
        pub mod $bits {
            //! The bit of each hook of this level in an object's mask.
            $( #[doc = concat!("`", stringify!($name), "`")] pub const $name: u64 = 1 << $bit; )*
            $( #[doc = "No hook: always called."] pub const $zero: u64 = 0; )*
            /// Each hook of this level by name, with its bit, in the order of the table.
            pub const ALL: &[(&str, u64)] = &[$((stringify!($name), 1 << $bit)),*];
        }

        #[repr(C)]
        #[derive(::abi_stable::StableAbi)]
        #[sabi(kind(Prefix(prefix_ref = $Vt_Ref)))]
        #[sabi(missing_field(option))]
        pub(crate) struct $Vt {
            drop: unsafe extern "C" fn(*mut ()),
            #[sabi(last_prefix_field)]
            take_error: unsafe extern "C" fn(*mut ()) -> ::abi_stable::std_types::RString,
            $(
                $name: unsafe extern "C" fn(
                    *mut (), &$crate::table::RawCx $(, $($abi)*)* $(, &mut $($out_abi)*)?
                ) -> $crate::result::HookRet,
            )*
        }

        $(#[$odoc])*
        #[repr(C)]
        #[derive(::abi_stable::StableAbi)]
        pub struct $Obj {
            slot: *mut (),
            table: $Vt_Ref,
            hooks: u64,
        }

        // SAFETY: owns a `Slot<T>`, and the author's `T` is `Send`.
        unsafe impl Send for $Obj {}

        impl Drop for $Obj {
            fn drop(&mut self) {
                // SAFETY: the slot is dropped here alone.
                unsafe { (self.table.drop())(self.slot) }
            }
        }

        struct $Glue<T>(std::marker::PhantomData<T>);

        impl<T: $Tr> $Glue<T> {
            const TABLE: &'static ::abi_stable::prefix_type::WithMetadata<$Vt> =
                &::abi_stable::prefix_type::WithMetadata::new($Vt {
                    drop: $crate::glue::drop_slot::<T>,
                    take_error: $crate::glue::take_error::<T>,
                    $( $name: Self::$name, )*
                });
            $(
                unsafe extern "C" fn $name(
                    slot: *mut (), cx: &$crate::table::RawCx $(, $arg: $($abi)*)* $(, out: &mut $($out_abi)*)?
                ) -> $crate::result::HookRet {
                    // SAFETY: the host calls with the object's own slot, from one thread at a time.
                    unsafe {
                        $crate::glue::guard::<T>(slot, cx, stringify!($name), move |plugin| {
                            let answer = plugin.$name(&mut $crate::$Cx::new(cx) $(, $crate::level::Conv::<$($auth)*>::conv($arg))*);
                            $crate::level::deliver!(answer $(, out, ($($out_abi)*))?)
                        })
                    }
                }
            )*
        }

        /// The same hooks for an object that is in another process.
        #[cfg(feature = "host")]
        mod remote {
            use super::*;
            use crate::remote::{Line, Remote};
            use crate::result::HookRet;
            use crate::table::RawCx;
            use crate::wire::{Arg, Reader, Writer};
            use abi_stable::{prefix_type::WithMetadata, std_types::RString};
            use std::sync::Arc;

            /// What both processes must have alike.
            pub(crate) const ROWS: &str =
                concat!($(stringify!($bit $name $($($abi)*)* $($($out_abi)*)?), "\n"),*);

            struct Far;

            impl Far {
                const TABLE: &'static WithMetadata<$Vt> =
                    &WithMetadata::new($Vt { drop: Self::drop, take_error: Self::take_error, $( $name: Self::$name, )* });

                unsafe extern "C" fn drop(slot: *mut ()) {
                    // SAFETY: `slot` came from `Box::into_raw` in `remote` and is used no more.
                    unsafe { Box::from_raw(slot.cast::<Remote>()) }.end();
                }

                unsafe extern "C" fn take_error(slot: *mut ()) -> RString {
                    // SAFETY: the object's own slot, and no hook of it is running.
                    unsafe { &mut *slot.cast::<Remote>() }.take_error().into()
                }

                $(
                    unsafe extern "C" fn $name(
                        slot: *mut (), cx: &RawCx $(, mut $arg: $($abi)*)* $(, out: &mut $($out_abi)*)?
                    ) -> HookRet {
                        // SAFETY: the host calls with the object's own slot, from one thread at a time.
                        let remote = unsafe { &mut *slot.cast::<Remote>() };
                        remote.call($bit, stringify!($name), cx, |call| {
                            $( Arg::send(&$arg, &mut call.request); )*
                            call.exchange()?;
                            let mut reply = call.reply();
                            $( Arg::receive_back(&mut $arg, &mut reply)?; )*
                            $( let mut out: &mut $($out_abi)* = out; Arg::receive_back(&mut out, &mut reply)?; )?
                            reply.end()
                        })
                    }
                )*
            }

            impl $Obj {
                /// An object on the other side of `line`, where it has this number and implements these hooks.
                pub(crate) fn remote(line: Arc<dyn Line>, id: u64, hooks: u64) -> Self {
                    let hooks = line.wanted(Remote::level(stringify!($Tr)), hooks);
                    let slot = Box::new(Remote::new(line, stringify!($Tr), id));
                    Self { slot: Box::into_raw(slot).cast(), table: $Vt_Ref(Far::TABLE.static_as_prefix()), hooks }
                }

                /// Calls the hook that a request from the other process names, as it would be called here.
                pub(crate) fn serve(
                    &mut self, bit: u32, cx: &RawCx, from: &mut Reader<'_>, to: &mut Writer
                ) -> Option<$crate::Outcome> {
                    $( if bit == $bit {
                        let hook = self.table.$name()?;
                        $( let mut $arg = <$($abi)* as Arg<'_>>::receive(from)?; )*
                        $( let mut out = <&mut $($out_abi)* as Arg<'_>>::receive(from)?; )?
                        // SAFETY: this object's slot; `&mut self` makes the call the only one.
                        let ret = unsafe {
                            hook(
                                self.slot,
                                cx
                                $(, <$($abi)* as Arg<'_>>::lend(&mut $arg))*
                                $(, <&mut $($out_abi)* as Arg<'_>>::lend(&mut out))?
                            )
                        };
                        $( <$($abi)* as Arg<'_>>::send_back(&mut $arg, to); )*
                        $( <&mut $($out_abi)* as Arg<'_>>::send_back(&mut out, to); )?
                        return Some(self.outcome(ret));
                    } )*
                    None
                }
            }
        }
        #[cfg(feature = "host")]
        pub(crate) use remote::ROWS;

        impl $Obj {
            pub(crate) fn from_slot<T: $Tr>(slot: $crate::glue::Slot<T>) -> Self {
                let slot = Box::into_raw(Box::new(slot)).cast();
                Self { slot, table: $Vt_Ref($Glue::<T>::TABLE.static_as_prefix()), hooks: T::HOOKS }
            }

            /// For a host: the bits of the hooks that this object implements.
            #[inline(always)]
            pub fn hooks(&self) -> u64 {
                self.hooks
            }

            #[inline(always)]
            fn outcome(&mut self, answer: $crate::result::HookRet) -> $crate::Outcome {
                match answer {
                    $crate::result::HookRet::PASS => $crate::Outcome::Pass,
                    $crate::result::HookRet::HANDLED => $crate::Outcome::Handled,
                    other => self.rare_outcome(other),
                }
            }

            #[cold]
            #[inline(never)]
            fn rare_outcome(&mut self, answer: $crate::result::HookRet) -> $crate::Outcome {
                // SAFETY: this object's slot, and no hook of it is running.
                let text = || unsafe { (self.table.take_error())(self.slot) }.into_string();
                match answer {
                    $crate::result::HookRet::DETACH => $crate::Outcome::Detach,
                    $crate::result::HookRet::ERROR => $crate::Outcome::Error(text()),
                    $crate::result::HookRet::PANICKED => $crate::Outcome::Panicked(text()),
                    other => $crate::Outcome::Error(format!("unknown hook result {}", other.code())),
                }
            }

            $(
                $(#[$doc])*
                #[inline]
                pub fn $name(&mut self, call: &$crate::Call<'_> $(, $arg: $($auth)*)*) -> $crate::level::host_answer!($($($out)*)?) {
                    $crate::level::host_call_hook!(self, call, $bit, $name, ($($arg),*); $(($($out_abi)*) $default)?)
                }
            )*
        }
    };
}

macro_rules! answer {
    () => { $crate::HookResult };
    ($($out:tt)+) => { Result<$($out)+, $crate::PluginError> };
}

macro_rules! standard {
    () => {
        Ok($crate::Flow::Pass)
    };
    ($default:expr) => {
        Ok($default)
    };
}

macro_rules! deliver {
    ($answer:ident) => { $answer };
    ($answer:ident, $out:ident, ($($out_abi:tt)*)) => {{
        *$out = $crate::level::Conv::<$($out_abi)*>::conv($answer?);
        Ok($crate::Flow::Pass)
    }};
}

macro_rules! host_answer {
    () => { $crate::Outcome };
    ($($out:tt)+) => { Result<$($out)+, $crate::Outcome> };
}

/// A host's call of one hook: nothing happens where the plugin does not implement it, by its mask or for its age.
macro_rules! host_call_hook {
    ($self:ident, $call:ident, $bit:literal, $name:ident, ($($arg:ident),*);) => {{
        if $self.hooks & (1 << $bit) == 0 {
            return $crate::Outcome::Pass;
        }
        let Some(hook) = $self.table.$name() else { return $crate::Outcome::Pass };
        // SAFETY: this object's slot; `&mut self` makes the call the only one.
        let answer = unsafe { hook($self.slot, $call.raw() $(, $crate::level::Conv::conv($arg))*) };
        $self.outcome(answer)
    }};
    ($self:ident, $call:ident, $bit:literal, $name:ident, ($($arg:ident),*); ($($out_abi:tt)*) $default:expr) => {{
        if $self.hooks & (1 << $bit) == 0 {
            return Ok($default);
        }
        let Some(hook) = $self.table.$name() else { return Ok($default) };
        let mut out: $($out_abi)* = $crate::level::Conv::conv($default);
        // SAFETY: this object's slot; `&mut self` makes the call the only one.
        let answer = unsafe { hook($self.slot, $call.raw() $(, $crate::level::Conv::conv($arg))*, &mut out) };
        match $self.outcome(answer) {
            $crate::Outcome::Pass | $crate::Outcome::Handled => Ok($crate::level::Conv::conv(out)),
            other => Err(other),
        }
    }};
}

pub(crate) use {answer, define_level, deliver, host_answer, host_call_hook, standard};
