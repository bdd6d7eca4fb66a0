//! stub
use crate::secret::SecretText;
use std::{io, net::SocketAddr, path::Path};
/// stub
pub struct EmbeddedStore(SocketAddr);
impl EmbeddedStore {
    /// stub
    pub async fn start(_: &Path, _: &str, _: &SecretText, listen: SocketAddr) -> io::Result<Self> {
        Ok(Self(listen))
    }
    /// stub
    pub fn address(&self) -> SocketAddr {
        self.0
    }
    /// stub
    pub fn create_bucket(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    /// stub
    pub async fn stop(self) {}
}
