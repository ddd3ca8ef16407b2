//! The whole binary layout as text, for the test in `golden`: every table's rows with their types, every record's fields, the
//! bits of the masks, the numbers of results. No part of a build but of the tests'.

mod golden;
mod numbers;

use crate::endpoint::{BlockSender, PeerKey};
use crate::export::PluginRoot_Ref;
use crate::info::{PeerInfo, TorrentInfo};
use crate::records::{Record, sealed::Plain};
use abi_stable::StableAbi;
use abi_stable::type_layout::{TLData, TLEnum, TLField, TLFunction, TypeLayout};
use std::collections::{BTreeMap, BTreeSet};

/// A part of the page: its first line names it, the rest are its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Section {
    title: String,
    rows: Vec<String>,
}

impl Section {
    fn new(title: impl Into<String>, rows: impl IntoIterator<Item = String>) -> Self {
        Self { title: title.into(), rows: rows.into_iter().collect() }
    }
}

/// Every section, in the order of their titles: an addition elsewhere moves none of them.
fn sections() -> Vec<Section> {
    let mut sections = crossing_types();
    sections.extend([record::<TorrentInfo>(), record::<PeerInfo>(), record::<BlockSender>(), record::<PeerKey>()]);
    sections.extend(numbers::sections());
    sections.sort_by(|a, b| a.title.cmp(&b.title));
    sections
}

/// The layout of every type that can be reached from the root: what is compared when a plugin is loaded.
fn crossing_types() -> Vec<Section> {
    let mut seen = BTreeSet::new();
    let mut found = BTreeMap::new();
    let mut waiting = vec![<PluginRoot_Ref as StableAbi>::LAYOUT];
    while let Some(layout) = waiting.pop() {
        if !seen.insert(format!("{:?}", layout.get_utypeid())) {
            continue;
        }
        if let Some(section) = crossing_type(layout) {
            let before = found.insert(section.title.clone(), section.clone());
            assert!(before.is_none_or(|before| before == section), "two types are called {}", section.title);
        }
        waiting.extend(layout.shared_vars().type_layouts().iter().map(|layout| layout()));
    }
    found.into_values().collect()
}

/// Nothing for numbers, pointers and what takes no room: their names say it all.
fn crossing_type(layout: &'static TypeLayout) -> Option<Section> {
    if layout.size() == 0 {
        return None;
    }
    let (package, _) = layout.item_info().package_and_version();
    let name = format!("{} of {package}", name(layout));
    let size = format!("{} bytes aligned to {}", layout.size(), layout.alignment());
    Some(match layout.data() {
        TLData::PrefixType(table) => {
            let title = format!("table {name}, {} rows in every version", table.first_suffix_field);
            let row = |(index, field)| format!("{index} {}", crossing_field(&field));
            Section::new(title, table.fields.iter().enumerate().map(row))
        }
        TLData::Struct { fields } => Section::new(format!("struct {name}, {size}"), offsets(fields.iter())),
        TLData::Union { fields } => Section::new(format!("union {name}, {size}"), offsets(fields.iter())),
        TLData::Enum(variants) => Section::new(format!("enum {name}, {size}"), variants_of(&variants)),
        TLData::Primitive(_) | TLData::Opaque => return None,
    })
}

/// A type's name, with the types that it is made for, which abi_stable's own form leaves out.
fn name(layout: &'static TypeLayout) -> String {
    let bare = layout.full_type().to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let inner = |index: usize| layout.phantom_fields().iter().nth(index).map(|field| name(field.layout()));
    let field = |index: usize| layout.get_fields().and_then(|fields| fields.iter().nth(index));
    let of_field = |index: usize| field(index).map(|field| name(field.layout())).unwrap_or_default();
    match layout.name() {
        "ROption" => format!("ROption<{}>", of_field(0)),
        "RResult" => format!("RResult<{}, {}>", of_field(0), of_field(1)),
        "RVec" | "RSlice" => {
            let marker = layout.get_fields().and_then(|fields| fields.iter().last()).expect("it has a marker");
            let of = marker.layout().phantom_fields().iter().next().expect("it is of a type");
            format!("{}<{}>", layout.name(), name(of.layout()).trim_start_matches("&'a "))
        }
        _ => match (bare.rsplit_once(' '), inner(0)) {
            // A reference or a pointer.
            (Some((sigil, _)), Some(to)) if bare.starts_with(['&', '*']) && layout.get_fields().is_none() => {
                format!("{sigil} {to}")
            }
            _ => bare,
        },
    }
}

/// The fields of a `repr(C)` structure with their offsets, which follow from sizes and alignments.
fn offsets(fields: impl Iterator<Item = TLField>) -> Vec<String> {
    let mut end = 0usize;
    let row = |field: TLField| {
        let start = end.next_multiple_of(field.layout().alignment().max(1));
        end = start + field.layout().size();
        format!("{start} {}", crossing_field(&field))
    };
    fields.map(row).collect()
}

fn variants_of(variants: &TLEnum) -> Vec<String> {
    let mut fields = variants.fields.iter();
    let counts = variants.field_count.iter().map(|count| usize::from(*count));
    let row = |(name, count): (&str, usize)| {
        let fields: Vec<_> = fields.by_ref().take(count).map(|field| crossing_field(&field)).collect();
        format!("{name}({})", fields.join(", "))
    };
    let mut rows: Vec<String> = variants.variant_names_iter().zip(counts).map(row).collect();
    rows.push(format!("discriminants {:?}", variants.discriminants));
    rows
}

/// Name and type; of a function its signature.
fn crossing_field(field: &TLField) -> String {
    let functions: Vec<String> = field.function_range().iter().map(|function| signature(&function)).collect();
    match functions.is_empty() {
        true => format!("{}: {}", field.name(), name(field.layout())),
        false => format!("{}: {}", field.name(), functions.join(", ")),
    }
}

fn signature(function: &TLFunction) -> String {
    let unsafety = if function.fn_qualifs.is_unsafe() { "unsafe " } else { "" };
    let parameters: Vec<String> = function.param_type_layouts.iter().map(|layout| name(layout())).collect();
    let returned = function.return_type_layout().map(|layout| format!(" -> {}", name(layout()))).unwrap_or_default();
    // They are compared at load as well; in a function's type all are anonymous, so their number says it all.
    let lifetimes = format!("{:?}", function.paramret_lifetime_indices).matches("ANONYMOUS").count();
    let lifetimes = if lifetimes > 0 { format!(", {lifetimes} lifetimes") } else { String::new() };
    format!("{unsafety}fn({}){returned}{lifetimes}", parameters.join(", "))
}

/// A record, which may grow: its layout is not compared at load.
fn record<T: Record>() -> Section {
    let name = short(std::any::type_name::<T>());
    let mut end = 0;
    let row = |field: crate::records::sealed::Field| {
        assert_eq!(field.offset, end, "{name}: fields are named in order, and there is no padding");
        end += field.size;
        format!("{} {}: {}", field.offset, field.name, short(field.ty))
    };
    let rows: Vec<String> = T::Raw::fields().into_iter().map(row).collect();
    assert_eq!(end, size_of::<T::Raw>(), "{name}");
    Section::new(format!("record {name}"), rows)
}

/// A type's name without the path to it.
fn short(name: &'static str) -> &'static str {
    name.rsplit("::").next().unwrap_or(name)
}
