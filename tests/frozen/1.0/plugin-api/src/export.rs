//! What a plugin's image exports: the root of its functions, under a symbol of our own, and the manifest beside it.

use crate::session::{SessionObj, SessionPlugin};
use crate::table::RawHandle;
use crate::{glue, logger};
use abi_stable::{
    StableAbi,
    library::{__call_root_module_loader, CheckTypeLayout, LibHeader, RootModule, RootModuleResult},
    package_version_strings,
    prefix_type::WithMetadata,
    sabi_types::VersionStrings,
    std_types::{RResult, RStr, RString},
};

/// The root of a plugin's functions.
#[doc(hidden)]
#[allow(missing_docs)]
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRoot_Ref)))]
#[sabi(missing_field(option))]
pub struct PluginRoot {
    pub api_major: u32,
    pub api_minor: u32,
    pub name: RStr<'static>,
    pub version: RStr<'static>,
    #[sabi(last_prefix_field)]
    pub init: extern "C" fn(host: RawHandle, settings: RStr<'_>, log_level: u32) -> RResult<SessionObj, RString>,
    pub set_log_level: extern "C" fn(u32),
}

impl RootModule for PluginRoot_Ref {
    abi_stable::declare_root_module_statics! {PluginRoot_Ref}
    const BASE_NAME: &'static str = "reef_plugin";
    const NAME: &'static str = "reef_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// What [`export_plugin!`](crate::export_plugin) says of the plugin.
#[doc(hidden)]
pub trait Exported: 'static {
    /// The session object's type.
    type Plugin: SessionPlugin;
    /// The author's package version.
    const VERSION: &'static str;
}

/// What the exported symbol is.
#[doc(hidden)]
#[repr(transparent)]
pub struct Header(LibHeader);

/// The exported symbol's value.
#[doc(hidden)]
pub const fn header<E: Exported>() -> Header {
    // SAFETY: the constructor returns a `PluginRoot_Ref`, as the type says.
    Header(unsafe { LibHeader::from_constructor::<PluginRoot_Ref>(construct::<E>, CheckTypeLayout::Yes) })
}

extern "C" fn construct<E: Exported>() -> RootModuleResult {
    __call_root_module_loader(root::<E>)
}

pub(crate) fn root<E: Exported>() -> PluginRoot_Ref {
    PluginRoot_Ref(Root::<E>::ROOT.static_as_prefix())
}

struct Root<E>(std::marker::PhantomData<E>);

impl<E: Exported> Root<E> {
    const ROOT: &'static WithMetadata<PluginRoot> = &WithMetadata::new(PluginRoot {
        api_major: crate::API_MAJOR,
        api_minor: crate::API_MINOR,
        name: RStr::from_str(E::Plugin::NAME),
        version: RStr::from_str(E::VERSION),
        init: Self::init,
        set_log_level: Self::set_log_level,
    });

    extern "C" fn init(host: RawHandle, settings: RStr<'_>, log_level: u32) -> RResult<SessionObj, RString> {
        glue::create::<E::Plugin>(host, settings, log_level)
    }

    extern "C" fn set_log_level(level: u32) {
        logger::set_level(level);
    }
}

/// Makes this library a plugin: exports its manifest and the root of its functions.
///
/// Once in a `cdylib`, with the type that implements [`SessionPlugin`]. Does not compile with
/// `panic = "abort"`: a panic has to be caught, or it would take the host down.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty) => {
        const _: () = {
            assert!(cfg!(panic = "unwind"), "a plugin must be built with panic = \"unwind\"");

            struct Export;
            impl $crate::__private::Exported for Export {
                type Plugin = $plugin;
                const VERSION: &'static str = env!("CARGO_PKG_VERSION");
            }

            #[unsafe(no_mangle)]
            #[used]
            static REEF_PLUGIN_MANIFEST: $crate::manifest::RawManifest =
                $crate::manifest::RawManifest::of::<$plugin>(env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"));

            #[unsafe(no_mangle)]
            static REEF_PLUGIN_ROOT: $crate::__private::Header = $crate::__private::header::<Export>();
        };
    };
}
