//! What there is to know of each component's requests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::times::Times;
use crate::log::Access;

/// The counts of each component since the start, by its name. Requests that no component got have
/// none.
#[derive(Debug, Default)]
pub(super) struct Requests {
    components: RwLock<BTreeMap<Box<str>, Arc<Component>>>,
}

/// The counts of one component.
#[derive(Debug, Default)]
pub(super) struct Component {
    /// By [`class`].
    classes: [AtomicU64; CLASSES.len()],
    bytes: AtomicU64,
    times: Times,
    instances: AtomicI64,
    /// By the kind of failure, of which there are few.
    failures: Mutex<BTreeMap<&'static str, u64>>,
}

/// The classes of a request's outcome: that of its status, or that there was no response.
pub(super) const CLASSES: [&str; 5] = ["none", "2xx", "3xx", "4xx", "5xx"];

/// The index of the class of a status.
fn index(status: Option<StatusCode>) -> usize {
    match status.map(|status| status.as_u16() / 100) {
        None | Some(0 | 1) => 0,
        Some(hundreds @ 2..=4) => usize::from(hundreds) - 1,
        Some(_) => 4,
    }
}

/// The class of a status.
pub(super) fn class(status: Option<StatusCode>) -> &'static str {
    CLASSES[index(status)]
}

impl Requests {
    /// The counts of a component.
    pub(super) fn of(&self, component: &str) -> Arc<Component> {
        let known = self
            .components
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(component) = known.get(component) {
            return Arc::clone(component);
        }
        drop(known);
        let mut known = self
            .components
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(component.into()).or_default())
    }

    /// The counts of each component, by name.
    pub(super) fn to_json(&self) -> Value {
        let known = self
            .components
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let known = known.iter();
        let components = known.map(|(name, component)| (name.to_string(), component.to_json()));
        Value::Object(components.collect())
    }

    /// How many instances of each component run, by name.
    pub(super) fn instances(&self) -> Vec<(Box<str>, i64)> {
        let known = self
            .components
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let known = known.iter();
        let of = |component: &Component| component.instances.load(Ordering::Relaxed);
        known
            .map(|(name, component)| (name.clone(), of(component)))
            .collect()
    }
}

impl Component {
    pub(super) fn add(&self, access: &Access<'_>) {
        let status = access.response.map(|sent| sent.status);
        self.classes[index(status)].fetch_add(1, Ordering::Relaxed);
        let bytes = access.response.map_or(0, |sent| sent.bytes);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.times.add(access.time);
    }

    pub(super) fn refuse(&self, status: StatusCode) {
        self.classes[index(Some(status))].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, cause: &'static str) {
        *self.failures().entry(cause).or_default() += 1;
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn to_json(&self) -> Value {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let classes = CLASSES.iter().zip(&self.classes);
        let classes = classes.map(|(class, number)| ((*class).to_owned(), count(number).into()));
        json!({
            "classes": classes.collect::<Map<_, _>>(),
            "bytes": count(&self.bytes),
            "times": self.times.to_json(),
            "instances": self.instances.load(Ordering::Relaxed),
            "failures": *self.failures(),
        })
    }
}

/// An instance that runs. Dropped when it ends.
#[derive(Debug)]
pub(crate) struct Running(Arc<Component>);

impl Running {
    pub(super) fn new(component: Arc<Component>) -> Running {
        component.instances.fetch_add(1, Ordering::Relaxed);
        Running(component)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.instances.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_class() {
        let class = |status| class(StatusCode::from_u16(status).ok());
        for (status, expected) in [
            (103, "none"),
            (200, "2xx"),
            (304, "3xx"),
            (404, "4xx"),
            (599, "5xx"),
            (999, "5xx"),
        ] {
            assert_eq!(class(status), expected, "{status}");
        }
        assert_eq!(super::class(None), "none");
    }
}
