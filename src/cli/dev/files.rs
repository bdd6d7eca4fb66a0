//! The files that `subgate dev` writes at each start: `store.json`, `proxy.toml`, `aws/config`, `dev.json`.
//! \[IO\]

use std::{net::SocketAddr, path::Path};

use super::{
    Addresses, BUCKET, REGION, SOURCES, Workspace,
    certificates::DevCertificates,
    data_file::{remove, write, write_json},
    identities::HOTKEY,
    keys::StoreFile,
};
use crate::cli::{exit::CommandError, shell::shell_quote};

impl Workspace {
    /// `store.json`: the keys, which are kept, and where the store listens this time.
    pub(super) fn write_store_file(&self, store: SocketAddr) -> Result<(), CommandError> {
        write_json(
            &self.layout.store_file(),
            &StoreFile {
                access_key: self.store_keys.access_key.clone(),
                secret_key: self.store_keys.secret_key.expose().to_owned(),
                endpoint: format!("http://{store}"),
                bucket: BUCKET.to_owned(),
                region: REGION.to_owned(),
            },
        )
    }

    /// `proxy.toml`: the server's configuration.
    pub(super) fn write_proxy_config(
        &self,
        listen: SocketAddr,
        store: SocketAddr,
        tls: Option<&DevCertificates>,
    ) -> Result<(), CommandError> {
        let quote = |path: &Path| toml::Value::String(path.display().to_string()).to_string();
        let sources = SOURCES.map(|source| format!("\"{source}\"")).join(", ");
        let tls = tls.map(|tls| {
            let (certificate, key) = (quote(&tls.certificate_file), quote(&tls.key_file));
            format!("[server.tls]\ncertificates = [{{ certificate = {certificate}, key = {key} }}]\n\n")
        });
        let text = format!(
            "# Written by `subgate dev` at each start, so edits here are lost.\n\
             # Copy it as a start for your own `subgate serve`.\n\
             [server]\n\
             listen = \"{listen}\"\n\
             admin = \"127.0.0.1:0\"\n\n\
             {tls}\
             [bucket]\n\
             name = \"{BUCKET}\"\n\
             region = \"{REGION}\"\n\n\
             [store]\n\
             endpoint = \"http://{store}\"\n\
             bucket = \"{BUCKET}\"\n\
             region = \"{REGION}\"\n\
             addressing = \"path\"\n\
             credentials = {{ file = {store_file} }}\n\
             trailers = \"forward\"\n\
             verifies = []\n\n\
             [session]\n\
             issue_with = \"dev\"\n\
             allow_no_receiver = true\n\n\
             [[session.keys]]\n\
             id = \"dev\"\n\
             file = {session_key}\n\n\
             [chain]\n\
             source = \"file\"\n\
             file = {registry}\n\n\
             [policy]\n\
             # The layouts of both eras of the vending server's clients.\n\
             folders = [\"data/{{source}}/{{coldkey}}/\", \"data/hotkey={{hotkey}}/job_id={{job_id}}/\"]\n\n\
             [policy.variables]\n\
             source = [{sources}]\n\
             job_id = {{ pattern = \"[A-Za-z0-9_-]{{1,64}}\" }}\n",
            tls = tls.unwrap_or_default(),
            store_file = quote(&self.layout.store_file()),
            session_key = quote(&self.layout.session_key()),
            registry = quote(&self.layout.registry()),
        );
        write(&self.layout.proxy_config(), text.as_bytes())
    }

    /// `aws/config`: a profile for each identity.
    pub(super) fn write_aws_config(&self, addresses: &Addresses) -> Result<(), CommandError> {
        let program = std::env::current_exe()
            .map_err(|error| CommandError::software(format!("the path of this program: {error}")))?;
        let profiles =
            self.identities.iter().map(|identity| self.profile(identity.name, &program, addresses));
        write(&self.layout.aws_config(), profiles.collect::<String>().as_bytes())
    }

    fn profile(&self, name: &str, program: &Path, addresses: &Addresses) -> String {
        let quote = |path: &Path| shell_quote(&path.display().to_string());
        let url = addresses.server_url();
        // A path in an INI file is not quoted, and a word of a command is.
        let ca_file = addresses.tls.as_ref().map(|tls| tls.ca_file.as_path());
        let ca_bundle = ca_file.map(|path| format!("ca_bundle = {}\n", path.display())).unwrap_or_default();
        let ca_option = ca_file.map(|path| format!(" --ca-file {}", quote(path))).unwrap_or_default();
        format!(
            "[profile {name}]\n\
             region = {REGION}\n\
             endpoint_url = {url}\n{ca_bundle}\
             credential_process = {program} credentials --wallet-path {wallets} --wallet-name {name} \
             --wallet-hotkey {HOTKEY} --endpoint {url}{ca_option} --cache-dir {cache}\n\
             s3 =\n  addressing_style = path\n  signature_version = s3v4\n\n",
            program = quote(program),
            wallets = quote(&self.layout.wallets()),
            cache = quote(&self.layout.session_cache()),
        )
    }

    /// `dev.json`: addresses and identities, for scripts that wait for the server.
    pub(super) fn write_dev_json(&self, addresses: &Addresses) -> Result<(), CommandError> {
        let identities: Vec<_> = self
            .identities
            .iter()
            .map(|identity| {
                serde_json::json!({
                    "name": identity.name,
                    "role": identity.role.name(),
                    "hotkey": identity.hotkey,
                    "coldkey": identity.coldkey,
                    "folders": identity.folders(),
                })
            })
            .collect();
        write_json(
            &self.layout.dev_json(),
            &serde_json::json!({
                "endpoint": addresses.server_url(),
                "ca_file": addresses.tls.as_ref().map(|tls| &tls.ca_file),
                "bucket": BUCKET,
                "region": REGION,
                "admin": addresses.admin.map(|admin| format!("http://{admin}")),
                "store_endpoint": format!("http://{}", addresses.store),
                "aws_config": self.layout.aws_config(),
                "wallets": self.layout.wallets(),
                "registry": self.layout.registry(),
                "identities": identities,
            }),
        )
    }

    /// Removes `dev.json`: the server has stopped.
    pub(super) fn remove_dev_json(&self) {
        remove(&self.layout.dev_json());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::dev::layout::Layout;

    #[test]
    fn the_configuration_is_toml_with_the_paths_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(&dir.path().join("it's \"here\"")).unwrap();
        let workspace = Workspace::prepare(layout).unwrap();
        let address = "127.0.0.1:1".parse().unwrap();
        workspace.write_proxy_config(address, address, None).unwrap();
        let layout = &workspace.layout;
        let text = std::fs::read_to_string(layout.proxy_config()).unwrap();
        let config: toml::Table = text.parse().unwrap();
        assert_eq!(config["chain"]["file"].as_str(), layout.registry().to_str());
        assert_eq!(config["session"]["keys"][0]["file"].as_str(), layout.session_key().to_str());
        assert_eq!(config["policy"]["folders"][0].as_str(), Some("data/{source}/{coldkey}/"));
    }
}
