//! The `#[hooks]` attribute of `reef-plugin-api`. It has no dependencies and must never look inside a method.

use proc_macro::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

/// Notes which hooks an `impl SessionPlugin`, `impl TorrentPlugin` or `impl PeerPlugin` block implements, so that a host calls no
/// other.
///
/// It adds `const HOOKS`, the bits of the methods that the block defines. Forgetting it is correct and slower.
#[proc_macro_attribute]
pub fn hooks(_: TokenStream, item: TokenStream) -> TokenStream {
    let mut tokens: Vec<TokenTree> = item.into_iter().collect();
    match tokens.pop() {
        Some(TokenTree::Group(body)) if body.delimiter() == Delimiter::Brace => match trait_name(&tokens) {
            Some(name) => {
                tokens.push(TokenTree::Group(with_mask(&body, &name)));
                tokens.into_iter().collect()
            }
            None => error(
                "#[hooks] belongs on `impl SessionPlugin for …`, `impl TorrentPlugin for …` or `impl PeerPlugin for …`",
            ),
        },
        _ => error("#[hooks] belongs on an impl block"),
    }
}

/// The last name before `for` that is not inside `<…>`: `impl<T> path::PeerPlugin for X<T>`.
fn trait_name(header: &[TokenTree]) -> Option<Ident> {
    let mut name = None;
    let mut depth = 0;
    for token in header {
        match token {
            TokenTree::Punct(mark) if mark.as_char() == '<' => depth += 1,
            TokenTree::Punct(mark) if mark.as_char() == '>' => depth -= 1,
            TokenTree::Ident(word) if depth == 0 => match word.to_string().as_str() {
                "for" => return name,
                "impl" | "unsafe" => {}
                _ => name = Some(word.clone()),
            },
            _ => {}
        }
    }
    None
}

fn with_mask(body: &Group, trait_name: &Ident) -> Group {
    let inner: Vec<TokenTree> = body.stream().into_iter().collect();
    let mut mask = String::from("const HOOKS: u64 = 0");
    for pair in inner.windows(2) {
        if let [TokenTree::Ident(keyword), TokenTree::Ident(method)] = pair
            && keyword.to_string() == "fn"
        {
            mask.push_str(&format!(" | ::reef_plugin_api::bits::{trait_name}::{method}"));
        }
    }
    mask.push(';');
    let mut stream: TokenStream = match mask.parse() {
        Ok(stream) => stream,
        Err(_) => error("#[hooks] could not read this block"),
    };
    stream.extend(inner);
    let mut group = Group::new(Delimiter::Brace, stream);
    group.set_span(body.span());
    group
}

fn error(text: &str) -> TokenStream {
    let quoted = TokenTree::Literal(proc_macro::Literal::string(text));
    let mut call: TokenStream = "::core::compile_error!".parse().unwrap_or_default();
    let mut arguments = Group::new(Delimiter::Brace, quoted.into());
    arguments.set_span(Span::call_site());
    call.extend([TokenTree::Group(arguments)]);
    call
}
