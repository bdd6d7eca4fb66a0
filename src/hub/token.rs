//! The token of the Hub's user, from the places where `huggingface_hub` looks for it. \[IO\]
//!
//! In this order: `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, the file that `HF_TOKEN_PATH` names, the file `token`
//! in `HF_HOME`, in `XDG_CACHE_HOME/huggingface`, in `~/.cache/huggingface`. Where a file is not there, there
//! is no token: public repositories need none.

use std::{
    ffi::OsString,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use http::HeaderValue;

use crate::{file_access::read_regular_file, secret::SecretText};

/// A token has some forty characters; one by OAuth is longer.
const TOKEN_BYTES_MAX: u64 = 16 * 1024;

/// A token, as the header `Authorization` takes it.
#[derive(Debug, Clone)]
pub(crate) struct Token(SecretText);

impl Token {
    /// Takes a token without the white space around it; `Ok(None)` where nothing else is there.
    fn new(text: &str) -> Result<Option<Self>, &'static str> {
        // Copied from a page, it often has a line break in it.
        let text = text.replace(['\r', '\n'], "");
        match text.trim() {
            "" => Ok(None),
            token if token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Some(Self(SecretText::new(token))))
            }
            _ => Err("a token of visible characters is expected, such as hf_…"),
        }
    }

    /// A text in which the token does not stand.
    pub(super) fn hidden_in(&self, text: &str) -> String {
        text.replace(self.0.expose(), "***")
    }

    /// The header's value, which is never shown.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0.expose())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// The token, and where it came from.
///
/// # Errors
/// Which place holds something that is none, or cannot be read.
pub(crate) fn find_token(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<Token>, String> {
    for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
        let Some(text) = variable(name).filter(|text| !text.is_empty()) else { continue };
        let text = text.into_string().map_err(|_| format!("{name}: it is not UTF-8"))?;
        if let Some(token) = Token::new(&text).map_err(|why| format!("{name}: {why}"))? {
            return Ok(Some(token));
        }
    }
    let Some(path) = token_file(&variable) else { return Ok(None) };
    let fault = |why: &str| format!("{}: {why}", path.display());
    match read_regular_file(&path, TOKEN_BYTES_MAX) {
        Ok(file) => {
            let text = std::str::from_utf8(&file.bytes).map_err(|_| fault("it is not UTF-8"))?;
            Token::new(text).map_err(fault)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(&error.to_string())),
    }
}

fn token_file(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let home = variable("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let path = |name: &str| {
        let path = variable(name).filter(|path| !path.is_empty()).map(PathBuf::from)?;
        Some(match (path.strip_prefix("~"), &home) {
            (Ok(rest), Some(home)) => home.join(rest),
            (Ok(_) | Err(_), _) => path,
        })
    };
    let below = |cache: &Path| cache.join("huggingface/token");
    path("HF_TOKEN_PATH")
        .or_else(|| path("HF_HOME").map(|home| home.join("token")))
        .or_else(|| path("XDG_CACHE_HOME").map(|cache| below(&cache)))
        .or_else(|| home.as_deref().map(|home| below(&home.join(".cache"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable = |name: &str| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| OsString::from(value))
        };
        find_token(variable).map(|token| token.map(|token| token.0.expose().to_owned()))
    }

    #[test]
    fn the_places_are_looked_into_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(found(&[]), Ok(None));
        assert_eq!(found(&[("HOME", home)]), Ok(None));
        write(".cache/huggingface/token", "hf_cache\n");
        write("xdg/huggingface/token", "hf_xdg");
        write("hub/token", " hf_home ");
        write("other", "hf_path");
        let mut variables = vec![("HOME", home)];
        assert_eq!(found(&variables).unwrap().unwrap(), "hf_cache");
        let (xdg, hub, other) = (format!("{home}/xdg"), format!("{home}/hub"), "~/other");
        variables.push(("XDG_CACHE_HOME", &xdg));
        assert_eq!(found(&variables).unwrap().unwrap(), "hf_xdg");
        variables.push(("HF_HOME", &hub));
        assert_eq!(found(&variables).unwrap().unwrap(), "hf_home");
        variables.push(("HF_TOKEN_PATH", other));
        assert_eq!(found(&variables).unwrap().unwrap(), "hf_path");
        variables.push(("HUGGING_FACE_HUB_TOKEN", "hf_old"));
        assert_eq!(found(&variables).unwrap().unwrap(), "hf_old");
        variables.push(("HF_TOKEN", "hf_new\n"));
        assert_eq!(found(&variables).unwrap().unwrap(), "hf_new");
    }

    #[test]
    fn p51_what_is_no_token_is_named_by_its_place_and_not_shown() {
        let error = found(&[("HF_TOKEN", "hf secret")]).unwrap_err();
        assert!(error.starts_with("HF_TOKEN: ") && !error.contains("secret"), "{error}");
        let token = Token::new("hf_secret").unwrap().unwrap();
        let shown = format!("{token:?} {:?}", token.authorization());
        assert!(!shown.contains("hf_secret"), "{shown}");
        assert_eq!(token.authorization().unwrap(), "Bearer hf_secret");
    }
}
