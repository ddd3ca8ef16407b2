//! What a hook answers and what a call to the host answers, on both sides of the boundary.
//!
//! Only plain integers cross, never a Rust enum: a value that the other side does not know is data, not undefined behaviour.

use abi_stable::StableAbi;
use std::fmt;

/// An author's answer to a hook that has a say.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on: later plugins are asked, then the standard behaviour runs.
    Pass,
    /// Stop here: later plugins are not asked and the standard behaviour is skipped.
    Handled,
    /// Remove this object: no hook of it is called again. Later plugins and the standard behaviour go on.
    Detach,
}

/// Why a hook failed. Made by `?` from any error, or from a text.
///
/// From a peer hook it closes that peer, with this text as the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginError(String);

impl PluginError {
    /// An error with this text: one line that names the thing.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

// No `Error` and no `Display` for `PluginError` itself: they would collide with this conversion.
impl<E: std::error::Error> From<E> for PluginError {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// The result of a hook.
pub type HookResult = Result<Flow, PluginError>;

/// What one hook call came to, as the host sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Go on with the next plugin. Also what a hook that is not implemented answers.
    Pass,
    /// Ask no further plugin and skip the standard behaviour.
    Handled,
    /// Drop this object.
    Detach,
    /// The hook failed with this text.
    Error(String),
    /// The hook panicked, with its message and place. The object is poisoned: it answers this to every later call.
    Panicked(String),
}

/// Why a call to the host was not carried out.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostError {
    /// The host has taken back this handle: the plugin was removed or quarantined, or the session is over.
    Gone,
    /// This host does not offer the call, or not here: a simulation has no folders.
    Unsupported,
    /// Too many actions are queued, or too many timers, reads or statistics are held; try again later.
    Busy,
    /// An argument makes no sense, for example a message that is too long.
    BadArgument,
    /// No such torrent, peer, piece, block, setting or statistic.
    NotFound,
    /// The host failed inside.
    Failed,
    /// The name belongs to another plugin or to the session; the log says to whom.
    Taken,
    /// The call waits for the session, which waits for the hook that makes it: use the hook's context.
    InHook,
    /// The session did not answer in time.
    TimedOut,
    /// A code that this version does not know.
    Unknown(i32),
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Gone => "the host has taken back this plugin's handle",
            Self::Unsupported => "the host does not offer this call here",
            Self::Busy => "too many actions, timers, reads or statistics",
            Self::BadArgument => "the host refused an argument",
            Self::NotFound => "no such torrent, peer, piece, block, setting or statistic",
            Self::Failed => "the host failed inside the call",
            Self::Taken => "the name belongs to another plugin or to the session",
            Self::InHook => "a hook must not wait for the session: use its context",
            Self::TimedOut => "the session did not answer in time",
            Self::Unknown(code) => return write!(f, "the host answered with unknown code {code}"),
        };
        f.write_str(text)
    }
}

impl std::error::Error for HostError {}

/// The result of a hook as it crosses.
#[repr(transparent)]
#[derive(StableAbi, Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct HookRet(i32);

impl HookRet {
    pub(crate) const PASS: Self = Self(0);
    pub(crate) const HANDLED: Self = Self(1);
    pub(crate) const DETACH: Self = Self(2);
    pub(crate) const ERROR: Self = Self(-1);
    pub(crate) const PANICKED: Self = Self(-2);

    pub(crate) fn code(self) -> i32 {
        self.0
    }
}

/// The result of a call to the host as it crosses.
#[repr(transparent)]
#[derive(StableAbi, Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostRet(i32);

impl HostRet {
    pub(crate) const GONE: Self = Self(-1);
    pub(crate) const FAILED: Self = Self(-6);

    #[cfg(feature = "host")]
    pub(crate) fn code(self) -> i32 {
        self.0
    }

    #[cfg(feature = "host")]
    pub(crate) fn from_code(code: i32) -> Self {
        Self(code)
    }

    pub(crate) fn result(self) -> Result<(), HostError> {
        Err(match self.0 {
            0 => return Ok(()),
            -1 => HostError::Gone,
            -2 => HostError::Unsupported,
            -3 => HostError::Busy,
            -4 => HostError::BadArgument,
            -5 => HostError::NotFound,
            -6 => HostError::Failed,
            -7 => HostError::Taken,
            -8 => HostError::InHook,
            -9 => HostError::TimedOut,
            code => HostError::Unknown(code),
        })
    }
}

impl From<Result<(), HostError>> for HostRet {
    fn from(result: Result<(), HostError>) -> Self {
        Self(match result {
            Ok(()) => 0,
            Err(HostError::Gone) => -1,
            Err(HostError::Unsupported) => -2,
            Err(HostError::Busy) => -3,
            Err(HostError::BadArgument) => -4,
            Err(HostError::NotFound) => -5,
            Err(HostError::Failed) => -6,
            Err(HostError::Taken) => -7,
            Err(HostError::InHook) => -8,
            Err(HostError::TimedOut) => -9,
            Err(HostError::Unknown(code)) => code,
        })
    }
}
