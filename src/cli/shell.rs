//! Words of command lines that are printed for a shell, or written into files that one reads. Pure.

/// `text` as one word of a command line, for `sh` and for Python's `shlex` alike: AWS clients use either.
pub(super) fn shell_quote(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@%,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_words_are_quoted_for_every_shell() {
        for (text, quoted) in
            [("/a/b-c", "/a/b-c"), ("/a b", "'/a b'"), ("", "''"), ("it's", r"'it'\''s'"), ("$x", "'$x'")]
        {
            assert_eq!(shell_quote(text), quoted);
        }
    }
}
