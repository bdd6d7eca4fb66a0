//! The operator's `proxy.toml`.

use std::path::Path;

use subgate::config::Config;

/// Either a configuration, or faults that are named.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // No file is read: none is there.
    match Config::parse(text, Path::new("/nonexistent")) {
        Ok(config) => assert!(!config.bucket.name.is_empty()),
        Err(errors) => {
            assert!(errors.0.iter().all(|error| !error.message.trim().is_empty()) && !errors.0.is_empty())
        }
    }
}

/// The commented configuration itself, and with every setting in it.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let text = include_str!("../../../proxy.toml");
    let shown = text.replace("\n#: ", "\n");
    vec![("defaults", text.into()), ("everything", shown.into())]
}
