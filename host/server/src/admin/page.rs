//! The operator's page. Its files are part of the program.

/// The media type and the text of the page's file at this path.
pub(super) fn file(path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        "/" => ("text/html; charset=utf-8", include_str!("page/index.html")),
        "/page.css" => ("text/css; charset=utf-8", include_str!("page/page.css")),
        "/page.js" => (
            "text/javascript; charset=utf-8",
            include_str!("page/page.js"),
        ),
        "/series.js" => (
            "text/javascript; charset=utf-8",
            include_str!("page/series.js"),
        ),
        "/dom.js" => (
            "text/javascript; charset=utf-8",
            include_str!("page/dom.js"),
        ),
        _ => return None,
    })
}
