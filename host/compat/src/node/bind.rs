//! Which value goes to which parameter.

use std::collections::HashMap;

use millpond_pool::{Parameters, Value};
use tokio::task::spawn_blocking;

use super::failure::{Failure, Result, too_many_values};
use super::options::Options;
use super::values::bound;
use super::wit;
use crate::yielding::COPIED_AT_ONCE;

/// The values in the order of the statement's parameters, whose names these are without prefix.
/// A parameter that is not given is null.
pub(super) async fn bind(
    names: &[Option<String>],
    bindings: wit::Bindings,
    options: Options,
) -> Result<Parameters> {
    let mut values = vec![Value::Null; names.len()];
    if let Some(named) = bindings.named {
        let places = Places::of(names);
        for (name, value) in named {
            if let Some(place) = places.find(&name, options)? {
                values[place] = bound(value);
            }
        }
    }
    let mut places = (0..names.len()).filter(|place| !is_named(names[*place].as_deref()));
    for value in bindings.positional {
        let place = places.next().ok_or_else(too_many_values)?;
        values[place] = bound(value);
    }
    copied(values).await
}

/// The values in one piece. A long copy is made on another thread.
async fn copied(values: Vec<Value>) -> Result<Parameters> {
    let sizes = values.iter().map(|value| match value {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        _ => 0,
    });
    if sizes.sum::<usize>() <= COPIED_AT_ONCE {
        return Ok(Parameters::positional(values));
    }
    let copy = spawn_blocking(|| Parameters::positional(values)).await;
    copy.map_err(|error| Failure::Trap(error.into()))
}

/// `?` and `?1` are bound by position.
fn is_named(name: Option<&str>) -> bool {
    name.is_some_and(|name| !name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Where the parameters of each name are.
struct Places<'a>(HashMap<&'a str, Vec<usize>>);

impl<'a> Places<'a> {
    fn of(names: &'a [Option<String>]) -> Places<'a> {
        let mut places = HashMap::<_, Vec<_>>::new();
        for (place, name) in names.iter().enumerate() {
            if let Some(name) = name {
                places.entry(&**name).or_default().push(place);
            }
        }
        Places(places)
    }

    /// `None` for a name that the statement does not have, if the options allow it.
    fn find(&self, name: &str, options: Options) -> Result<Option<usize>> {
        // The guest chose it, and it may be long.
        let shown = || name.chars().take(64).collect::<String>();
        let bare = name.strip_prefix(['$', ':', '@', '?']);
        let bare = match options.allow_bare {
            true => Some(bare.unwrap_or(name)),
            false => bare,
        };
        match bare.and_then(|bare| self.0.get(bare)).map(Vec::as_slice) {
            Some([place]) => Ok(Some(*place)),
            Some(_) => Err(Failure::state(format!(
                "Cannot bind the parameter '{}', because others of the statement differ from it only \
                 in their prefix.",
                shown()
            ))),
            None if options.allow_unknown => Ok(None),
            None => Err(Failure::state(format!(
                "Unknown named parameter '{}'",
                shown()
            ))),
        }
    }
}
