//! Rate limits of each client, for requests and for wrong keys.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::event::EventId;
use crate::server::peer::Peer;
use crate::server::problem::{Kind, Problem};

/// Clients that have a rate of their own, in some dozens of bytes each. If there are more, clients share one
/// rate.
const CLIENTS_MAX: usize = 16_384;

/// Least time between two removals of clients that have not asked for a while.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// The sender of a request, as far as rates are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    Key(EventId),
    Address(IpAddr),
    /// Clients on unix sockets, and every client while too many are remembered.
    Others,
}

impl Client {
    fn of(principal: Option<EventId>, peer: &Peer) -> Client {
        // A key has one rate, whatever addresses it is used from.
        match (principal, peer.ip()) {
            (Some(key), _) => Client::Key(key),
            (None, Some(address)) => Client::Address(network(address)),
            (None, None) => Client::Others,
        }
    }
}

/// The part of an address that one client cannot change as it likes: of IPv6 the upper 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        },
    }
}

/// A rate for each client, in bounded memory.
struct Rate<C: Clone + Hash + Eq> {
    limiter: DefaultKeyedRateLimiter<C>,
    others: C,
    forgotten: Mutex<Instant>,
}

impl<C: Clone + Hash + Eq> Rate<C> {
    fn new(quota: Quota, others: C) -> Rate<C> {
        Rate { limiter: RateLimiter::keyed(quota), others, forgotten: Mutex::new(Instant::now()) }
    }

    /// Counts one request. The error is the time until the client may ask again.
    fn count(&self, client: &C) -> Result<(), Duration> {
        let client = if self.is_full() { &self.others } else { client };
        self.limiter.check_key(client).map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }

    fn is_full(&self) -> bool {
        if self.limiter.len() < CLIENTS_MAX {
            return false;
        }
        // One thread removes clients. The others do not wait for it.
        if let Ok(mut forgotten) = self.forgotten.try_lock()
            && forgotten.elapsed() >= FORGET_EVERY
        {
            *forgotten = Instant::now();
            self.limiter.retain_recent();
        }
        // Threads that pass this check at the same time may each add a client beyond the bound.
        self.limiter.len() >= CLIENTS_MAX
    }
}

/// The rates of a server.
pub(crate) struct Rates {
    requests: Option<Rate<Client>>,
    wrong_keys: Option<Rate<Client>>,
}

impl Rates {
    pub(in crate::server) fn new(requests_per_second: u32, wrong_keys_per_minute: u32) -> Rates {
        let rate = |number, quota: fn(NonZeroU32) -> Quota| {
            NonZeroU32::new(number).map(|number| Rate::new(quota(number), Client::Others))
        };
        Rates {
            requests: rate(requests_per_second, Quota::per_second),
            wrong_keys: rate(wrong_keys_per_minute, Quota::per_minute),
        }
    }

    /// Counts a request.
    pub(crate) fn request(&self, principal: Option<EventId>, peer: &Peer) -> Result<(), Problem> {
        let Some(rate) = &self.requests else { return Ok(()) };
        rate.count(&Client::of(principal, peer))
            .map_err(|wait| too_many("this client sends too many requests", wait))
    }

    /// Counts a wrong key. A right key is accepted at any rate: nobody shuts others at the same address out
    /// with wrong keys, and nobody finds a key of 256 bits by trying.
    pub(crate) fn wrong_key(&self, peer: &Peer) -> Result<(), Problem> {
        let Some(rate) = &self.wrong_keys else { return Ok(()) };
        rate.count(&Client::of(None, peer)).map_err(|wait| too_many("too many wrong keys", wait))
    }
}

fn too_many(what: &str, wait: Duration) -> Problem {
    let seconds = wait.as_secs().saturating_add(1);
    Problem::new(Kind::TooManyRequests, format!("{what}; wait {seconds} s")).retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::Tcp(([192, 0, 2, last], 7).into())
    }

    #[test]
    fn each_client_has_its_own_rate() {
        let rates = Rates::new(2, 0);
        assert!(rates.request(None, &peer(1)).is_ok());
        assert!(rates.request(None, &peer(1)).is_ok());
        let problem = rates.request(None, &peer(1)).unwrap_err();
        assert_eq!((problem.kind, problem.retry_after), (Kind::TooManyRequests, Some(1)));
        assert!(rates.request(None, &peer(2)).is_ok());
        assert!(rates.request(Some(EventId::generate()), &peer(1)).is_ok());
        assert!((0..100).all(|_| rates.wrong_key(&peer(1)).is_ok()), "0 is no bound");
    }

    #[test]
    fn an_address_of_version_6_is_taken_by_its_network() {
        let first: IpAddr = "2001:db8::1".parse().unwrap();
        let second: IpAddr = "2001:db8::ffff:1".parse().unwrap();
        let other: IpAddr = "2001:db8:0:1::1".parse().unwrap();
        assert_eq!(network(first), network(second));
        assert_ne!(network(first), network(other));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), "192.0.2.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn clients_without_number_take_up_bounded_memory_and_share_a_rate() {
        let rate = Rate::new(Quota::per_minute(NonZeroU32::MIN), u64::MAX);
        let clients = CLIENTS_MAX as u64;
        assert!((0..clients).all(|client| rate.count(&client).is_ok()));
        assert!(rate.count(&clients).is_ok());
        assert!(rate.count(&(clients + 1)).is_err());
        assert!(rate.limiter.len() <= CLIENTS_MAX + 1);
    }
}
