//! Users and roles: root, and a tenant that has one part of the keys.

use callsign_core::Result;
use etcd_client::{Client, Permission};

use super::raw::{Login, failed};

/// What a tenant's namespaces begin with.
pub const NAMESPACES: &str = "test-";
/// What all keys begin with.
pub const PREFIX: &str = "/callsign/v1";

const TENANT: &str = "tenant";
const ROOT: &str = "root";

/// Who may log in.
#[derive(Debug)]
pub(super) struct Logins {
    pub(super) root: Login,
    pub(super) tenant: Login,
}

impl Logins {
    pub(super) fn random() -> Self {
        let login = |user: &str| Login {
            user: user.to_owned(),
            password: std::iter::repeat_with(fastrand::alphanumeric).take(24).collect(),
        };
        Self { root: login(ROOT), tenant: login(TENANT) }
    }

    /// Makes users and roles, and has everybody log in from now on. Succeeds also where that was done.
    pub(super) async fn enable(&self, client: &mut Client) -> Result<()> {
        let keys = Permission::read_write(format!("{PREFIX}/{NAMESPACES}")).with_prefix();
        unless_done(client.role_add(ROOT).await)?;
        unless_done(client.role_add(TENANT).await)?;
        unless_done(client.role_grant_permission(TENANT, keys).await)?;
        for (login, role) in [(&self.root, ROOT), (&self.tenant, TENANT)] {
            unless_done(client.user_add(&login.user, &login.password, None).await)?;
            unless_done(client.user_grant_role(&login.user, role).await)?;
        }
        unless_done(client.auth_enable().await)
    }
}

fn unless_done<T>(result: std::result::Result<T, etcd_client::Error>) -> Result<()> {
    match result {
        Err(error) if !error.to_string().contains("already exists") => {
            Err(failed("cannot set up users and roles", &error))
        }
        _ => Ok(()),
    }
}
