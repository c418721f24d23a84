//! The web page: four files, compiled in.

use crate::wasi_http::Response;

/// A file of the page.
#[derive(Debug)]
pub(crate) struct File {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

static FILES: [File; 4] = [
    File {
        path: "/",
        content_type: "text/html; charset=utf-8",
        text: include_str!("../page/notes.html"),
    },
    File {
        path: "/notes.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("../page/notes.css"),
    },
    File {
        path: "/notes.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("../page/notes.js"),
    },
    File {
        path: "/notes.svg",
        content_type: "image/svg+xml",
        text: include_str!("../page/notes.svg"),
    },
];

/// The file at a path.
pub(crate) fn file(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

/// A response with a file. Browsers must revalidate it each time, so that they never run an old
/// script with a new API.
pub(crate) fn serve(file: &'static File) -> Response {
    Response::new(file.text)
        .header("content-type", file.content_type)
        .header("cache-control", "no-cache")
}
