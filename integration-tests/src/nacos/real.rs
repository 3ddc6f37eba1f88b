//! Any real Nacos that somebody has: named, and not hurt.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Backend, Capabilities, Namespace, Result, async_trait};
use callsign_nacos::{Nacos, NacosConfig};
use callsign_testkit::Harness;

use super::capabilities;

/// Names the addresses of a real Nacos, separated by commas.
const ADDRESSES: &str = "CALLSIGN_TEST_NACOS_ADDR";
/// Name its user, and the password, where it wants them.
const USER: &str = "CALLSIGN_TEST_NACOS_USER";
const PASSWORD: &str = "CALLSIGN_TEST_NACOS_PASSWORD";

/// A real Nacos, which all cases share.
#[derive(Debug)]
pub struct RealHarness;

/// The addresses of the real Nacos that is named.
///
/// # Errors
/// That none is, and how to.
pub fn real_addresses() -> std::result::Result<Vec<String>, String> {
    match std::env::var(ADDRESSES) {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses.split(',').map(str::to_owned).collect()),
        _ => Err(format!(
            "no real nacos is named: set `{ADDRESSES}` to its addresses, such as `http://127.0.0.1:8848`"
        )),
    }
}

#[async_trait]
impl Harness for RealHarness {
    async fn client(&self) -> Result<Arc<dyn Backend>> {
        let addresses = real_addresses().map_err(callsign_core::Error::unsupported)?;
        let mut config = NacosConfig::default().with_addresses(addresses);
        if let (Ok(user), Ok(password)) = (std::env::var(USER), std::env::var(PASSWORD)) {
            config = config.with_password(user, password);
        }
        Ok(Arc::new(Nacos::new(&config, "nacos")?))
    }

    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    async fn available(&self) -> std::result::Result<(), String> {
        real_addresses().map(drop)
    }

    fn namespace(&self) -> Namespace {
        // An id may not be longer than 64 characters, and need not be that of a namespace that was made.
        let id = callsign_core::InstanceId::random();
        Namespace::new(format!("test-{id}")).unwrap_or_default()
    }

    fn propagation(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn outage_removes(&self) -> bool {
        true
    }

    fn closing_removes(&self) -> bool {
        true
    }

    fn reconnecting_restores(&self) -> bool {
        true
    }
}
