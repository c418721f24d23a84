//! A URL shortener:
//!
//! - `POST /`: the body is a URL; answers with its code
//! - `GET /CODE`: redirects to the URL, and counts
//! - `GET /CODE/visits`: how often that happened
//! - `GET /`: the most visited links

mod links;

use millpond_guest::ErrorKind;
use wstd::http::{Body, Error, Method, Request, Response, StatusCode};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path().trim_start_matches('/');
    let outcome = match (head.method, path) {
        (Method::GET, "") => list(),
        (Method::POST, "") => shorten(body.str_contents().await.unwrap_or_default().trim()),
        (Method::GET, path) => match path.strip_suffix("/visits") {
            Some(code) => visits(code),
            None => follow(path),
        },
        _ => Ok(text(
            StatusCode::METHOD_NOT_ALLOWED,
            "Only GET, and POST to /",
        )),
    };
    Ok(outcome.unwrap_or_else(|error| failed(&error)))
}

type Outcome = Result<Response<Body>, millpond_guest::Error>;

fn shorten(url: &str) -> Outcome {
    let is_url = url.starts_with("https://") || url.starts_with("http://");
    if !is_url || url.len() > 2000 || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        let hint = "Send one URL, https: or http:, as the body of the request";
        return Ok(text(StatusCode::BAD_REQUEST, hint));
    }
    Ok(text(StatusCode::CREATED, &links::shorten(url)?))
}

fn follow(code: &str) -> Outcome {
    let Some(url) = links::follow(code)? else {
        return Ok(text(StatusCode::NOT_FOUND, "No such link"));
    };
    let mut response = text(StatusCode::FOUND, &url);
    if let Ok(url) = url.parse() {
        response.headers_mut().insert("location", url);
    }
    Ok(response)
}

fn visits(code: &str) -> Outcome {
    Ok(match links::visits(code)? {
        Some(visits) => text(StatusCode::OK, &visits.to_string()),
        None => text(StatusCode::NOT_FOUND, "No such link"),
    })
}

fn list() -> Outcome {
    let lines = links::most_visited()?.into_iter();
    let lines = lines.map(|link| format!("{}\t{}\t{}", link.code, link.visits, link.url));
    Ok(text(StatusCode::OK, &lines.collect::<Vec<_>>().join("\n")))
}

/// The client learns only whether it may try again.
fn failed(error: &millpond_guest::Error) -> Response<Body> {
    eprintln!("{error:?}");
    match error.kind() {
        ErrorKind::Busy | ErrorKind::PoolTimeout => {
            text(StatusCode::SERVICE_UNAVAILABLE, "Busy: try again")
        }
        _ => text(StatusCode::INTERNAL_SERVER_ERROR, "Internal error"),
    }
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response
}
