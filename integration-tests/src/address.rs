//! Loopback addresses, one for each server, so that well-known ports never collide.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use callsign_core::{Error, Result};

/// The port that is held on an address as long as the address is. It lies above the ports that Linux gives to
/// outgoing connections by default.
const HELD: u16 = 61_099;
const TRIES: usize = 100;

/// An address in 127.0.0.0/8 that no other holder of an `Address` has, in this process or in another, until it is
/// dropped.
#[derive(Debug)]
pub struct Address {
    ip: Ipv4Addr,
    _held: TcpListener,
}

impl Address {
    /// Takes an address that is free.
    ///
    /// # Errors
    /// `Unexpected` when none of a hundred was free.
    pub fn reserve() -> Result<Self> {
        let mut last = None;
        for _ in 0..TRIES {
            // 127.0 and 127.1 are what people use by hand.
            let ip = Ipv4Addr::new(127, fastrand::u8(2..=254), fastrand::u8(..), fastrand::u8(1..=254));
            match TcpListener::bind((ip, HELD)) {
                Ok(held) => return Ok(Self { ip, _held: held }),
                Err(error) => last = Some(error),
            }
        }
        let error = Error::unexpected(format!("none of {TRIES} loopback addresses could be taken"));
        Err(match last {
            Some(source) => error.with_source(source),
            None => error,
        })
    }

    /// The address.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// `port` on the address.
    #[must_use]
    pub fn at(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_until_it_is_dropped() {
        let address = Address::reserve().unwrap();
        let ip = address.ip();
        assert!(ip.is_loopback());
        TcpListener::bind((ip, HELD)).unwrap_err();
        TcpListener::bind(address.at(2379)).unwrap();
        drop(address);
        TcpListener::bind((ip, HELD)).unwrap();
    }
}
