//! The attribute of `millpond-test`, which documents it: `millpond_test::test`.

use proc_macro::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

/// See `millpond_test::test`.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(arguments, item).unwrap_or_else(|(message, span)| {
        let mut error: TokenStream = format!("::core::compile_error! {{ {message:?} }}")
            .parse()
            .unwrap_or_default();
        error = error
            .into_iter()
            .map(|mut token| {
                token.set_span(span);
                token
            })
            .collect();
        error
    })
}

type Mistake = (String, Span);

/// The parts of the function below the attribute.
struct Function {
    attributes: TokenStream,
    name: Ident,
    /// `-> T`, or nothing.
    returns: TokenStream,
    /// Without the attributes.
    whole: TokenStream,
}

fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream, Mistake> {
    let function = function(item)?;
    let builder = builder(arguments)?;
    let Function {
        attributes,
        name,
        returns,
        whole,
    } = function;
    let body: TokenStream = [whole, stream("::millpond_test::run_test")]
        .into_iter()
        .chain([group(
            Delimiter::Parenthesis,
            [builder, stream(","), TokenTree::from(name.clone()).into()],
        )])
        .collect();
    Ok([
        stream("#[::core::prelude::v1::test]"),
        attributes,
        stream("fn"),
        TokenTree::from(name).into(),
        stream("()"),
        returns,
        group(Delimiter::Brace, [body]),
    ]
    .into_iter()
    .collect())
}

fn stream(code: &str) -> TokenStream {
    code.parse().unwrap_or_default()
}

fn group(delimiter: Delimiter, parts: impl IntoIterator<Item = TokenStream>) -> TokenStream {
    TokenTree::from(Group::new(delimiter, parts.into_iter().collect())).into()
}

fn function(item: TokenStream) -> Result<Function, Mistake> {
    let mut attributes = Vec::new();
    let mut rest = item.into_iter().peekable();
    while let Some(token) = rest.next_if(|token| is_punct(token, '#')) {
        attributes.push(token);
        attributes.extend(rest.next());
    }
    let whole: Vec<TokenTree> = rest.collect();
    let is = |token: &TokenTree, word: &str| token.to_string() == word;
    let at = whole.iter().position(|token| is(token, "fn"));
    let name = at.and_then(|at| match whole.get(at + 1) {
        Some(TokenTree::Ident(name)) => Some((at, name.clone())),
        _ => None,
    });
    let Some((at, name)) = name else {
        let message = "`millpond_test::test` belongs on a function: `async fn name(app: App)`";
        return Err((message.to_owned(), Span::call_site()));
    };
    if !whole[..at].iter().any(|token| is(token, "async")) {
        let message = "the function must be `async`, and take an `App`";
        return Err((message.to_owned(), name.span()));
    }
    // After the name come the parameters, and the body is last.
    let returns = whole[at + 2..].iter().skip(1);
    let is_body = |token: &&TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    };
    let returns = returns.take_while(|token| !is_body(token)).cloned();
    Ok(Function {
        attributes: attributes.into_iter().collect(),
        name,
        returns: returns.collect(),
        whole: whole.into_iter().collect(),
    })
}

fn is_punct(token: &TokenTree, punct: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == punct)
}

/// The expression that prepares the app: a `Result<AppBuilder, Mistake>`.
fn builder(arguments: TokenStream) -> Result<TokenStream, Mistake> {
    const KNOWN: &str = "component, component_env, migrations, seed";
    let mut begin = None;
    let mut changes = TokenStream::new();
    let tokens: Vec<TokenTree> = arguments.into_iter().collect();
    for argument in tokens.split(|token| is_punct(token, ',')) {
        let (name, value) = match argument {
            [] => continue,
            [TokenTree::Ident(name), equals, value @ ..]
                if is_punct(equals, '=') && !value.is_empty() =>
            {
                (name, value)
            }
            [first, ..] => {
                let message = format!("write NAME = VALUE, with one of {KNOWN}");
                return Err((message, first.span()));
            }
        };
        let value: TokenStream = value.iter().cloned().collect();
        let value = group(Delimiter::Parenthesis, [value]);
        match name.to_string().as_str() {
            "component" => {
                let builder = [stream("::millpond_test::App::builder"), value];
                let builder = group(Delimiter::Parenthesis, builder);
                begin = Some([stream("::core::result::Result::Ok"), builder]);
            }
            "component_env" => begin = Some([stream("::millpond_test::App::from_env"), value]),
            "migrations" => changes.extend([stream(".migrations"), value]),
            "seed" => changes.extend([stream(".seed"), value]),
            other => {
                let message = format!("`{other}` is not an argument: write one of {KNOWN}");
                return Err((message, name.span()));
            }
        }
    }
    let Some(begin) = begin else {
        let message = "name the component: `component = \"path.wasm\"`, or `component_env = \
                       \"VARIABLE\"`";
        return Err((message.to_owned(), Span::call_site()));
    };
    let changed = group(
        Delimiter::Parenthesis,
        [stream("|app: ::millpond_test::AppBuilder| app"), changes],
    );
    Ok([begin.into_iter().collect(), stream(".map"), changed]
        .into_iter()
        .collect())
}
