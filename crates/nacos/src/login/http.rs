//! Logging in by HTTP: the path of Nacos 3 first, and that of its predecessors where it is not there.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::config::{Secret, TlsMaterial};
use callsign_core::{Error, ErrorKind, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, ClientBuilder, Identity, Response, StatusCode, redirect};
use serde::Deserialize;

use crate::config::{Server, Settings};
use crate::error::{CLIENT_CERTIFICATE, advice_on_tls, chain, shown};

/// Where Nacos 3, and where its predecessors are asked.
const PATHS: [&str; 2] = ["/v3/auth/user/login", "/v1/auth/users/login"];
/// No answer to a login is larger.
const LARGEST: usize = 64 * 1024;
/// What may stand as it is in a query and in a form.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Granted {
    access_token: String,
    /// In seconds.
    #[serde(default)]
    token_ttl: u64,
}

/// Nacos 3 puts what it grants into `data`, where its predecessors have it at the top.
#[derive(Deserialize)]
struct Wrapped {
    data: Granted,
}

/// A token, and how long it is good for.
pub(super) async fn log_in(
    settings: &Settings,
    server: &Server,
    user: &str,
    password: &Secret,
) -> Result<(Secret, Duration)> {
    let (client, url) = client(settings, server)?;
    let at = server.http.url();
    for path in PATHS {
        let query = encoded(user);
        let url = format!("{url}{}{path}?username={query}", settings.context_path);
        let form = format!("username={query}&password={}", encoded(password.expose()));
        let sent =
            client.post(url).header("Content-Type", "application/x-www-form-urlencoded").body(form).send();
        // Without the URL: it has the user in it.
        let response = sent.await.map_err(|error| {
            let error = error.without_url();
            let said = chain(&error);
            match advice_on_tls(&said) {
                Some(advice) => Error::config(format!("cannot log in at {at}: {said}; {advice}")),
                None if server.http.encrypted => {
                    Error::unavailable(format!("cannot log in at {at}: {said}; {CLIENT_CERTIFICATE}"))
                }
                None => Error::unavailable(format!("cannot log in at {at}: {said}")),
            }
            .with_source(error)
        })?;
        let status = response.status();
        let other_path = matches!(
            status,
            StatusCode::NOT_FOUND
                | StatusCode::GONE
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::NOT_IMPLEMENTED
        );
        if other_path && path == PATHS[0] {
            continue;
        }
        return judge(status, &body(response).await, &at);
    }
    Err(not_nacos(&at))
}

fn judge(status: StatusCode, body: &[u8], at: &str) -> Result<(Secret, Duration)> {
    if status.is_success() {
        let granted = serde_json::from_slice::<Granted>(body)
            .or_else(|_| serde_json::from_slice::<Wrapped>(body).map(|wrapped| wrapped.data));
        // Not what the body says: a token may be in it.
        let granted = granted.map_err(|_| not_nacos(at))?;
        return Ok((Secret::new(granted.access_token), Duration::from_secs(granted.token_ttl)));
    }
    let said = String::from_utf8_lossy(body);
    let lower = said.to_lowercase();
    let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        || ["unknown user", "user not found", "password"].iter().any(|words| lower.contains(words));
    if refused {
        let context = format!(
            "cannot log in at {at}: the server does not know this user with this password (`username`, `password`)"
        );
        return Err(Error::new(ErrorKind::Unauthorized, context));
    }
    if status == StatusCode::NOT_FOUND {
        return Err(not_nacos(at));
    }
    Err(Error::unavailable(format!("cannot log in at {at}: it answers {status}: {}", shown(&said))))
}

fn not_nacos(at: &str) -> Error {
    Error::unexpected(format!(
        "cannot log in at {at}: nobody answers as Nacos does: are `addresses` and `context_path` right?"
    ))
}

async fn body(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST {
            break;
        }
    }
    body
}

fn encoded(text: &str) -> impl fmt::Display + '_ {
    utf8_percent_encode(text, PLAIN)
}

/// A client for one login, and the URL to use it with: logins are hours apart, and certificates may be replaced.
fn client(settings: &Settings, server: &Server) -> Result<(Client, String)> {
    let mut builder = Client::builder()
        .user_agent(concat!("callsign/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(settings.connect_timeout)
        .pool_max_idle_per_host(0)
        .redirect(redirect::Policy::none())
        .no_proxy();
    let mut url = server.http.url();
    if let Some(material) = settings.tls()? {
        if let Some(name) = &material.server_name {
            url = server.http.url_of(name);
            builder = builder.dns_resolver(Arc::new(Instead { host: server.http.host.clone() }));
        }
        builder = with_tls(builder, &material)?;
    }
    let client = builder.build().map_err(|error| Error::config("the HTTP client").with_source(error))?;
    Ok((client, url))
}

fn with_tls(mut builder: ClientBuilder, material: &TlsMaterial) -> Result<ClientBuilder> {
    let broken = |key: &str| {
        let context = format!("`tls.{key}`: the file holds no certificates that can be used");
        move |error: reqwest::Error| Error::config(context).with_source(error)
    };
    builder = builder.https_only(true);
    if let Some(ca) = &material.ca {
        builder = builder.tls_certs_only(Certificate::from_pem_bundle(ca).map_err(broken("ca_file"))?);
    }
    if let Some(identity) = &material.identity {
        let pem = [&*identity.cert, b"\n", identity.key.expose().as_bytes()].concat();
        builder = builder.identity(Identity::from_pem(&pem).map_err(broken("cert_file"))?);
    }
    Ok(builder)
}

/// Resolves every name to the server's host: the name in the URL is the one in the certificate.
struct Instead {
    host: String,
}

impl Resolve for Instead {
    fn resolve(&self, _name: Name) -> Resolving {
        let host = self.host.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_is_found_in_both_layouts() {
        for body in [
            r#"{"accessToken":"t","tokenTtl":18000,"globalAdmin":true}"#,
            r#"{"code":0,"message":"success","data":{"accessToken":"t","tokenTtl":18000}}"#,
        ] {
            let (token, ttl) = judge(StatusCode::OK, body.as_bytes(), "http://h:1").unwrap();
            assert_eq!((token.expose(), ttl), ("t", Duration::from_secs(18000)));
        }
    }

    #[test]
    fn a_wrong_password_and_what_is_not_nacos_are_told_apart() {
        for (status, body, kind, words) in [
            (403, "unknown user!", ErrorKind::Unauthorized, "with this password (`username`, `password`)"),
            (500, "User not found! Please check", ErrorKind::Unauthorized, "with this password"),
            (404, "", ErrorKind::Unexpected, "are `addresses` and `context_path` right?"),
            (200, "<html>", ErrorKind::Unexpected, "are `addresses` and `context_path` right?"),
            (502, "bad gateway", ErrorKind::Unavailable, "it answers 502 Bad Gateway: bad gateway"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = judge(status, body.as_bytes(), "http://h:1").unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
