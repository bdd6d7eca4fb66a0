//! Who may look in at the admin listener, and over what (P70).

use std::{net::SocketAddr, path::Path};

use super::{secrets::read_private_file, section::Section};
use crate::{file_access::SecretReaders, secret::SecretText};

/// A token of less than this could be guessed.
const TOKEN_BYTES_MIN: usize = 32;

/// Who may look in at the admin listener, and over what.
#[derive(Debug, Clone)]
pub struct AdminEntry {
    /// What who looks in must show; none where it is on loopback and asks nobody.
    pub token: Option<SecretText>,
    /// Over what it is looked at.
    pub transport: AdminTransport,
}

/// What the admin listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminTransport {
    /// Plain HTTP, on loopback alone.
    Plain,
    /// HTTPS, with the certificates of `[server.tls]`.
    Tls,
}

impl AdminEntry {
    /// For a listener at `admin`, beside a `[server.tls]` that `has_tls` says is there.
    pub(super) fn read(
        section: &mut Section,
        admin: Option<SocketAddr>,
        has_tls: bool,
        readers: SecretReaders,
    ) -> Self {
        let file = section.path("admin_token_file", "the path of a file with a token");
        let transport = match section.or("admin_tls", false, "true or false") {
            true => AdminTransport::Tls,
            false => AdminTransport::Plain,
        };
        let beyond = admin.filter(|admin| !admin.ip().is_loopback());
        if let Some(admin) = beyond.filter(|_| file.is_none()) {
            section.error(
                "admin_token_file",
                format_args!(
                    "is missing, and server.admin {admin} is beyond loopback: name a file with a token that \
                     who looks in must show (openssl rand -hex 32)"
                ),
            );
        }
        match (transport, beyond) {
            (AdminTransport::Plain, Some(admin)) => section.error(
                "admin_tls",
                format_args!(
                    "is not set, and server.admin {admin} is beyond loopback, where its token could be read \
                     on the way: set it to true, or listen on 127.0.0.1"
                ),
            ),
            (AdminTransport::Tls, _) if !has_tls => {
                section.error("admin_tls", "takes the certificates of server.tls, and there are none");
            }
            (AdminTransport::Plain, None) | (AdminTransport::Tls, _) => {}
        }
        let token = file.and_then(|path| match read_token(&path, readers) {
            Ok(token) => Some(token),
            Err(what) => {
                section.error("admin_token_file", what);
                None
            }
        });
        Self { token, transport }
    }
}

/// The token in a file that nobody else can read.
fn read_token(path: &Path, readers: SecretReaders) -> Result<SecretText, String> {
    let text = read_private_file(path, readers)?;
    let token = text.trim();
    let is_fine = token.len() >= TOKEN_BYTES_MIN && token.bytes().all(|byte| byte.is_ascii_graphic());
    is_fine.then(|| SecretText::new(token)).ok_or_else(|| {
        format!(
            "{} does not hold one token of {TOKEN_BYTES_MIN} or more visible ASCII characters (openssl rand \
             -hex 32)",
            path.display()
        )
    })
}
