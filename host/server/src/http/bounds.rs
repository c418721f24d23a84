//! What all clients, one client or one tenant may use at the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Name;
use crate::log::{Event, Log};

/// Counts how much is in use, by its user.
#[derive(Debug)]
pub(super) struct Tally<K>(Arc<Mutex<HashMap<K, u32>>>);

/// One thing in use. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Counted<K: Eq + Hash> {
    tally: Tally<K>,
    user: K,
}

impl<K> Clone for Tally<K> {
    fn clone(&self) -> Tally<K> {
        Tally(Arc::clone(&self.0))
    }
}

impl<K> Default for Tally<K> {
    fn default() -> Tally<K> {
        Tally(Arc::default())
    }
}

impl<K: Clone + Eq + Hash> Tally<K> {
    /// One more for `user`, unless it has `most` already.
    pub(super) fn add(&self, user: K, most: u32) -> Option<Counted<K>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(user.clone()).or_insert(0);
        if *count >= most {
            if *count == 0 {
                counts.remove(&user);
            }
            return None;
        }
        *count += 1;
        Some(Counted {
            tally: self.clone(),
            user,
        })
    }
}

impl<K: Eq + Hash> Drop for Counted<K> {
    fn drop(&mut self) {
        let mut counts = self.tally.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.user);
            }
        }
    }
}

/// The user has as much as it may.
#[derive(Debug)]
pub(super) struct Full;

impl<K: Clone + Eq + Hash> Tally<K> {
    /// As [`add`](Tally::add), if there is a limit and a user.
    pub(super) fn limited(
        &self,
        user: Option<K>,
        most: Option<u32>,
    ) -> Result<Option<Counted<K>>, Full> {
        match user.zip(most) {
            Some((user, most)) => self.add(user, most).map(Some).ok_or(Full),
            None => Ok(None),
        }
    }
}

/// The place of one request.
#[derive(Debug)]
pub(super) struct RequestPlace {
    _of_all: OwnedSemaphorePermit,
    _of_client: Option<Counted<IpAddr>>,
    _of_tenant: Option<Counted<(Name, String)>>,
}

impl RequestPlace {
    pub(super) fn new(
        of_all: OwnedSemaphorePermit,
        of_client: Option<Counted<IpAddr>>,
        of_tenant: Option<Counted<(Name, String)>>,
    ) -> RequestPlace {
        RequestPlace {
            _of_all: of_all,
            _of_client: of_client,
            _of_tenant: of_tenant,
        }
    }
}

/// The address that a client is counted by. One client usually has a whole /64 network of IPv6.
pub(super) fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// Places for the connections of all clients.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    all: Arc<Semaphore>,
    by_client: Tally<IpAddr>,
    most_by_client: u32,
    /// When it was last reported that a client has too many.
    reported: Arc<Mutex<Option<Instant>>>,
    log: Arc<dyn Log>,
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Place {
    _of_all: Option<OwnedSemaphorePermit>,
    _of_client: Counted<IpAddr>,
}

impl Connections {
    /// For a server that runs up to `max_requests` at the same time: 16 connections for each, at
    /// least 1,024 together, but never more than need half of the descriptors that the process may
    /// open. One client may have half of them.
    pub(super) fn new(max_requests: u32, log: Arc<dyn Log>) -> Connections {
        const PER_REQUEST: u32 = 16;
        const FEW: u32 = 1024;
        /// Of the connection, one to watch it, and as many for everything else.
        const DESCRIPTORS_EACH: u64 = 4;
        let wanted = (PER_REQUEST * max_requests).max(FEW);
        let possible = descriptors() / DESCRIPTORS_EACH;
        let most = wanted
            .min(u32::try_from(possible).unwrap_or(u32::MAX))
            .max(2);
        Connections {
            all: Arc::new(Semaphore::new(most as usize)),
            by_client: Tally::default(),
            most_by_client: most / 2,
            reported: Arc::default(),
            log,
        }
    }

    /// Wait until there may be one more.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        // An error means that it is closed, which it never is.
        Arc::clone(&self.all).acquire_owned().await.ok()
    }

    /// Give the place to a connection of this client, unless it has too many.
    pub(super) fn admit(
        &self,
        place: Option<OwnedSemaphorePermit>,
        client: IpAddr,
    ) -> Option<Place> {
        match self.by_client.add(counted_as(client), self.most_by_client) {
            Some(of_client) => Some(Place {
                _of_all: place,
                _of_client: of_client,
            }),
            None => {
                self.report(client);
                None
            }
        }
    }

    fn report(&self, client: IpAddr) {
        /// So that a client cannot fill the log.
        const EVERY: Duration = Duration::from_secs(60);
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.is_none_or(|last| last.elapsed() >= EVERY) {
            *reported = Some(Instant::now());
            let most = self.most_by_client;
            self.log.event(&Event::TooManyConnections { client, most });
        }
    }
}

/// How many descriptors the process may open.
#[cfg(unix)]
fn descriptors() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
fn descriptors() -> u64 {
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_not_counted_any_more() {
        let tally = Tally::default();
        let one = tally.add("a", 2).expect("the first");
        let two = tally.add("a", 2).expect("the second");
        assert!(tally.add("a", 2).is_none());
        assert!(tally.add("b", 2).is_some());
        drop(one);
        assert!(tally.add("a", 2).is_some());
        drop(two);
        assert!(tally.add("c", 0).is_none());
        assert!(tally.0.lock().expect("the counts").is_empty());
    }

    #[test]
    fn clients_are_counted_by_address_or_network() {
        for (address, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(counted_as(address).to_string(), expected);
        }
    }
}
