//! The languages of configurations: their comments, and how a value is written at the place where it lands.
//!
//! A [`Scanner`] reads the text before a placeholder and knows whether the value lands in a string, in a
//! comment or in code. Invariant: a value never ends the string or comment it lands in, and it lands in code
//! in a shell alone, as one word; what cannot be written so is refused.

use std::fmt;

use crate::cli::shell::shell_quote;

/// What ends a string in one of the languages, or makes a shell do something.
const ACTIVE: [char; 12] = ['"', '\'', '`', '\\', '$', ';', '|', '&', '<', '>', '(', ')'];

/// What a configuration is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Sql,
    Python,
    Shell,
    Ini,
    JavaScript,
    Go,
    Toml,
    Rust,
    Java,
}

/// Why a text cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The text of the table is wrong, which the tests rule out.
    Template(String),
    /// The value has no safe form here.
    Value { value: String, language: Language, reason: &'static str },
}

/// The string that a scanner is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Quote {
    mark: char,
    /// Delimited by three marks.
    is_long: bool,
    /// A raw or formatted string, in which values are not escaped as in others.
    is_special: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// Code, with so many open parentheses; only a shell's are counted.
    Code(usize),
    Comment,
    BlockComment,
    Quoted(Quote),
}

impl Language {
    const ALL: [Self; 9] = [
        Self::Sql,
        Self::Python,
        Self::Shell,
        Self::Ini,
        Self::JavaScript,
        Self::Go,
        Self::Toml,
        Self::Rust,
        Self::Java,
    ];

    /// The language of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.name() == name)
    }

    /// Its name, in the table and at a fenced block of Markdown.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Python => "python",
            Self::Shell => "sh",
            Self::Ini => "ini",
            Self::JavaScript => "javascript",
            Self::Go => "go",
            Self::Toml => "toml",
            Self::Rust => "rust",
            Self::Java => "java",
        }
    }

    /// What begins a comment that ends with its line.
    pub(super) fn comment(self) -> &'static str {
        match self {
            Self::Sql => "--",
            Self::Python | Self::Shell | Self::Ini | Self::Toml => "#",
            Self::JavaScript | Self::Go | Self::Rust | Self::Java => "//",
        }
    }

    fn has_block_comments(self) -> bool {
        matches!(self, Self::Sql | Self::JavaScript | Self::Go | Self::Rust | Self::Java)
    }

    fn quotes(self) -> &'static str {
        match self {
            Self::Ini => "",
            Self::Rust => "\"",
            Self::Sql | Self::Python | Self::Shell | Self::Toml | Self::Java => "'\"",
            Self::JavaScript | Self::Go => "'\"`",
        }
    }

    /// Whether a backslash within these quotes escapes what follows.
    fn has_escapes(self, mark: char) -> bool {
        match self {
            Self::Ini | Self::Sql => false,
            Self::Shell | Self::Toml => mark == '"',
            Self::Go => mark != '`',
            Self::Python | Self::JavaScript | Self::Rust | Self::Java => true,
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sql => "SQL",
            Self::Python => "Python",
            Self::Shell => "a shell",
            Self::Ini => "an INI file",
            Self::JavaScript => "JavaScript",
            Self::Go => "Go",
            Self::Toml => "TOML",
            Self::Rust => "Rust",
            Self::Java => "Java",
        })
    }
}

/// Follows a text to the place where a value lands.
#[derive(Debug, Clone)]
pub(super) struct Scanner {
    language: Language,
    /// Only a shell has more than two: `"$(command "word")"`.
    frames: Vec<Frame>,
    /// The letters and digits just before, such as the `f` of a Python string.
    word: String,
    before: char,
}

impl Scanner {
    pub(super) fn new(language: Language) -> Self {
        Self { language, frames: vec![Frame::Code(0)], word: String::new(), before: '\n' }
    }

    /// Reads on over text of the table.
    pub(super) fn read(&mut self, text: &str) -> Result<(), Fault> {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let mut taken = self.step(rest, first)?;
            while !rest.is_char_boundary(taken) {
                taken = taken.saturating_add(1);
            }
            let (read, left) = rest.split_at_checked(taken).unwrap_or((rest, ""));
            self.before = read.chars().next_back().unwrap_or(first);
            if self.before.is_ascii_alphanumeric() {
                self.word.push(self.before);
            } else {
                self.word.clear();
            }
            rest = left;
        }
        Ok(())
    }

    /// Where a text may end: in code, with nothing open.
    pub(super) fn end(&self) -> Result<(), Fault> {
        match *self.frames {
            [Frame::Code(0)] | [Frame::Code(0), Frame::Comment] => Ok(()),
            _ => self.fault("it ends within a string, a comment or parentheses"),
        }
    }

    /// A value as it is written here. `is_command` says that it is a whole command line, which a shell's code
    /// takes as it is.
    pub(super) fn write(&mut self, value: &str, is_command: bool) -> Result<String, Fault> {
        let written = self.written(value, is_command)?;
        self.before = 'x';
        self.word.clear();
        Ok(written)
    }

    fn written(&self, value: &str, is_command: bool) -> Result<String, Fault> {
        let refuse = |reason| Err(Fault::Value { value: value.to_owned(), language: self.language, reason });
        if !value.chars().all(is_plain_text) {
            return refuse("it has control characters");
        }
        match self.frames.last() {
            // Comments hold examples that people run; and a zsh at a terminal knows no comments.
            Some(Frame::Comment) if is_command || !value.contains(ACTIVE) => Ok(value.to_owned()),
            Some(Frame::Comment) if self.language == Language::Shell => Ok(shell_quote(value)),
            Some(Frame::Comment) => refuse("the example in a comment cannot quote it"),
            Some(Frame::Code(_)) if self.language == Language::Ini => match fault_in_ini(value) {
                Some(reason) => refuse(reason),
                None => Ok(value.to_owned()),
            },
            Some(Frame::Code(_)) if self.language == Language::Shell => {
                Ok(if is_command { value.to_owned() } else { shell_quote(value) })
            }
            Some(Frame::Quoted(quote)) if !quote.is_special => match quoted(self.language, quote.mark, value)
            {
                Ok(written) => Ok(written),
                Err(reason) => refuse(reason),
            },
            Some(Frame::Code(_) | Frame::BlockComment | Frame::Quoted(_)) | None => {
                self.fault("a value stands neither in a plain string nor in a comment")
            }
        }
    }

    fn fault<T>(&self, reason: &str) -> Result<T, Fault> {
        Err(Fault::Template(format!("{reason} ({})", self.language)))
    }

    /// Reads what stands at the beginning of `rest`, and says how many bytes that is.
    fn step(&mut self, rest: &str, first: char) -> Result<usize, Fault> {
        match self.frames.last().copied() {
            Some(Frame::Comment) if first == '\n' => Ok(self.leave(1)),
            Some(Frame::BlockComment) if rest.starts_with("*/") => Ok(self.leave(2)),
            Some(Frame::Comment | Frame::BlockComment) => Ok(first.len_utf8()),
            Some(Frame::Quoted(quote)) => self.step_in_string(rest, first, quote),
            Some(Frame::Code(open)) => self.step_in_code(rest, first, open),
            None => self.fault("nothing is open"),
        }
    }

    fn step_in_string(&mut self, rest: &str, first: char, quote: Quote) -> Result<usize, Fault> {
        let Quote { mark, is_long, .. } = quote;
        if first == '\\' && self.language.has_escapes(mark) {
            return Ok(2);
        }
        if first == mark && !is_long {
            return Ok(self.leave(1));
        }
        if is_long && rest.starts_with(&mark.to_string().repeat(3)) {
            return Ok(self.leave(3));
        }
        let may_span = is_long || mark == '`' || matches!(self.language, Language::Shell | Language::Sql);
        if first == '\n' && !may_span {
            return self.fault("a string does not end on its line");
        }
        if self.language == Language::Shell && mark == '"' {
            if rest.starts_with("$(") {
                return Ok(self.enter(Frame::Code(0), 2));
            }
            if first == '`' {
                return self.fault("a command stands in backticks: write $(…)");
            }
        }
        Ok(first.len_utf8())
    }

    fn step_in_code(&mut self, rest: &str, first: char, open: usize) -> Result<usize, Fault> {
        if self.begins_comment(rest, first) {
            return Ok(self.enter(Frame::Comment, 1));
        }
        if self.language.has_block_comments() && rest.starts_with("/*") {
            return Ok(self.enter(Frame::BlockComment, 2));
        }
        if self.language == Language::Shell {
            match first {
                '\\' => return Ok(2),
                '`' => return self.fault("a command stands in backticks: write $(…)"),
                '$' if rest.starts_with("$(") => return Ok(self.enter(Frame::Code(0), 2)),
                '$' if rest.starts_with("$'") || rest.starts_with("$\"") => {
                    return self.fault("$'…' is not sh");
                }
                '<' if rest.starts_with("<<") => return self.fault("a here-document has no quotes"),
                '(' => return Ok(self.replace(Frame::Code(open.saturating_add(1)))),
                ')' if open > 0 => return Ok(self.replace(Frame::Code(open.saturating_sub(1)))),
                ')' if self.frames.len() > 1 => return Ok(self.leave(1)),
                ')' => return self.fault("a parenthesis is closed that is not open"),
                _ => {}
            }
        }
        if self.language.quotes().contains(first) {
            let long = first.to_string().repeat(3);
            let is_long = matches!(self.language, Language::Python | Language::Toml | Language::Java)
                && rest.starts_with(&long);
            let has_prefix = self.language == Language::Python
                && self.word.contains(['r', 'f', 'R', 'F', 't'])
                || self.language == Language::Rust && self.word == "r";
            let is_special = has_prefix || first == '`';
            let quote = Quote { mark: first, is_long, is_special };
            return Ok(self.enter(Frame::Quoted(quote), if is_long { 3 } else { 1 }));
        }
        Ok(first.len_utf8())
    }

    fn begins_comment(&self, rest: &str, first: char) -> bool {
        match self.language {
            Language::Ini => self.before == '\n' && "#;".contains(first),
            Language::Shell => first == '#' && (self.before.is_whitespace() || self.before == ';'),
            Language::Sql
            | Language::Python
            | Language::JavaScript
            | Language::Go
            | Language::Toml
            | Language::Rust
            | Language::Java => rest.starts_with(self.language.comment()),
        }
    }

    fn enter(&mut self, frame: Frame, bytes: usize) -> usize {
        self.frames.push(frame);
        bytes
    }

    fn leave(&mut self, bytes: usize) -> usize {
        self.frames.pop();
        bytes
    }

    fn replace(&mut self, frame: Frame) -> usize {
        self.frames.pop();
        self.enter(frame, 1)
    }
}

/// Neither ends a line nor changes how others are shown, as the marks of a writing direction do.
fn is_plain_text(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}')
        && !matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// What an INI file cannot say. There are no quotes; some readers take ` #` and ` ;` for a comment.
fn fault_in_ini(value: &str) -> Option<&'static str> {
    if value.trim() != value {
        return Some("it begins or ends with a space");
    }
    [" #", " ;"]
        .iter()
        .any(|comment| value.contains(comment))
        .then_some("\" #\" and \" ;\" begin a comment there")
}

/// A value within quotes.
fn quoted(language: Language, mark: char, value: &str) -> Result<String, &'static str> {
    let escaped = |special: &[char]| {
        let mut text = String::with_capacity(value.len());
        for c in value.chars() {
            if special.contains(&c) {
                text.push('\\');
            }
            text.push(c);
        }
        text
    };
    match language {
        Language::Sql => Ok(value.replace(mark, &format!("{mark}{mark}"))),
        Language::Shell if mark == '\'' => Ok(value.replace('\'', r"'\''")),
        // An interactive shell replaces what follows `!`, and a backslash before it would stay.
        Language::Shell if value.contains('!') => Err("a ! within double quotes is not safe"),
        Language::Shell => Ok(escaped(&['\\', '"', '$', '`'])),
        Language::Toml if mark == '\'' && value.contains('\'') => Err("a string in ' ' cannot hold a '"),
        Language::Toml if mark == '\'' => Ok(value.to_owned()),
        Language::Ini => Ok(value.to_owned()),
        Language::Python
        | Language::JavaScript
        | Language::Go
        | Language::Toml
        | Language::Rust
        | Language::Java => Ok(escaped(&['\\', mark])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value at the end of `before`, followed by `after`.
    fn written(language: Language, before: &str, value: &str, after: &str) -> Result<String, Fault> {
        let mut scanner = Scanner::new(language);
        scanner.read(before)?;
        let value = scanner.write(value, false)?;
        scanner.read(after)?;
        scanner.end()?;
        Ok(value)
    }

    #[track_caller]
    fn check(language: Language, before: &str, value: &str, after: &str, expected: &str) {
        let found = written(language, before, value, after);
        assert_eq!(found.as_deref(), Ok(expected), "{language}: {before}…{after}");
    }

    #[track_caller]
    fn check_refused(language: Language, before: &str, value: &str, after: &str) {
        let found = written(language, before, value, after);
        assert!(matches!(found, Err(Fault::Value { .. })), "{language}: {before}…{after}: {found:?}");
    }

    #[track_caller]
    fn check_template(language: Language, before: &str, after: &str) {
        let found = written(language, before, "a", after);
        assert!(matches!(found, Err(Fault::Template(_))), "{language}: {before}…{after}: {found:?}");
    }

    const AWKWARD: &str = r#"a b'c"d\e$f`g"#;

    #[test]
    fn strings_with_backslashes_escape_their_mark_and_the_backslash() {
        use Language::{Go, Java, JavaScript, Python, Rust, Toml};
        for language in [Go, Java, JavaScript, Python, Rust, Toml] {
            check(language, "x = \"", AWKWARD, "/y\"", r#"a b'c\"d\\e$f`g"#);
        }
        check(Language::Python, "x = '", AWKWARD, "'", r#"a b\'c"d\\e$f`g"#);
        check(Language::JavaScript, "x = '", AWKWARD, "'", r#"a b\'c"d\\e$f`g"#);
        check(Language::Python, "x = \"\"\"\n\"quoted\" ", AWKWARD, "\n\"\"\"\n", r#"a b'c\"d\\e$f`g"#);
        check(Language::Python, "x = \"it's \\\" \"; y = b'", "'", "'", r"\'");
        check(Language::Toml, "x = '", r#"a"b\c"#, "'", r#"a"b\c"#);
        check_refused(Language::Toml, "x = '", "it's", "'");
    }

    #[test]
    fn sql_doubles_the_mark() {
        check(Language::Sql, "SELECT '", AWKWARD, "';", r#"a b''c"d\e$f`g"#);
        check(Language::Sql, "SELECT \"", AWKWARD, "\";", r#"a b'c""d\e$f`g"#);
        check(Language::Sql, "SELECT 'it''s ", "'", "'", "''");
        check(Language::Sql, "-- it's\nSELECT '", "'", "' /* it's */", "''");
        check(Language::Sql, "-- ", "it is", "\n", "it is");
    }

    #[test]
    fn what_an_example_in_a_comment_would_run_is_quoted_or_refused() {
        check(Language::Shell, "# ls s3://b/", "data/x/5F…/", "\n", "data/x/5F…/");
        check(Language::Shell, "# ls s3://b/", "data/$(x)'\"/", "\n", r#"'data/$(x)'\''"/'"#);
        check_refused(Language::Sql, "-- FROM 's3://b/", "it's", "'\n");
        check_refused(Language::Python, "# ls(\"", "a\") or x(\"", "\")\n");
    }

    #[test]
    fn an_ini_file_takes_values_as_they_are_or_not_at_all() {
        check(Language::Ini, "[a]\nb = 'c' ", AWKWARD, "\n", AWKWARD);
        check(Language::Ini, "# it's\n; \"\nb = ", "/a/it's", "", "/a/it's");
        for value in ["/a #b", "/a ;b", " a", "a ", "a\nb = c", "a\tb"] {
            check_refused(Language::Ini, "b = ", value, "\n");
        }
        check_refused(Language::Ini, "# ", "a\nb", "\n");
    }

    #[test]
    fn a_shell_gets_the_very_words_wherever_they_stand() {
        for value in [AWKWARD, "plain", "~", "a*", "", "#x", "-n", "a;b", "$(x)", "(a)", "a=b&c", "é"] {
            let cases = [
                ("printf %s \\\n  ", ""),
                ("printf %s pre/", "/post"),
                ("printf %s \"pre ", " post\""),
                ("printf %s 'pre ", " post'"),
                ("printf %s \"$(printf %s ", ")\""),
                ("printf %s \"$(printf %s \"pre $(printf %s ", ") post\")\" # it's"),
                ("f() {\n  printf %s \"$@\"\n}\nf ", ""),
            ];
            for (before, after) in cases {
                let text = written(Language::Shell, before, value, after).unwrap();
                let script = format!("{before}{text}{after}");
                let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
                let printed = String::from_utf8(output.stdout).unwrap();
                let printed = printed.trim_start_matches("pre").trim_end_matches("post");
                let printed = if before.contains("pre ") { printed.trim() } else { printed };
                let printed = if before.ends_with('/') { printed.trim_matches('/') } else { printed };
                assert_eq!(printed, value, "{script}");
            }
        }
        check_refused(Language::Shell, "echo \"", "a!b", "\"");
        check(Language::Shell, "echo ", "a!b", "", "'a!b'");
    }

    #[test]
    fn a_command_line_is_code_of_a_shell_and_a_text_elsewhere() {
        let command = "subgate credentials --wallet-name 'a b'";
        let write = |language, before: &str| {
            let mut scanner = Scanner::new(language);
            scanner.read(before).unwrap();
            scanner.write(command, true)
        };
        assert_eq!(write(Language::Shell, "eval \"$(").as_deref(), Ok(command));
        assert_eq!(write(Language::Ini, "credential_process = ").as_deref(), Ok(command));
        assert_eq!(write(Language::Python, "run(\"").as_deref(), Ok(command));
        let within = r"subgate credentials --wallet-name '\''a b'\''";
        assert_eq!(write(Language::Shell, "sh -c '").as_deref(), Ok(within));
    }

    #[test]
    fn no_value_ends_a_line_or_turns_the_writing_around() {
        for value in
            ["a\nb", "a\rb", "a\0b", "a\u{1b}[31mb", "a\u{2028}b", "a\u{202e}b", "a\u{2066}b", "a\u{85}b"]
        {
            for language in Language::ALL {
                check_refused(language, language.comment(), value, "\n");
            }
            check_refused(Language::Python, "x = \"", value, "\"");
            check_refused(Language::Shell, "echo ", value, "");
            check_refused(Language::Sql, "SELECT '", value, "'");
        }
    }

    #[test]
    fn a_text_whose_values_would_be_code_is_wrong() {
        for language in [Language::Python, Language::Sql, Language::JavaScript, Language::Go, Language::Toml]
        {
            check_template(language, "x = ", "");
        }
        for (language, before, after) in [
            // Others escape differently there.
            (Language::Python, "x = f\"", "\""),
            (Language::Python, "x = rb'", "'"),
            (Language::JavaScript, "x = `", "`"),
            (Language::Go, "x := `", "`"),
            (Language::Rust, "let x = r\"", "\";"),
            (Language::Sql, "/* ", " */"),
            // What is not followed here.
            (Language::Shell, "cat <<EOF\n", "\nEOF"),
            (Language::Shell, "echo `", "`"),
            (Language::Shell, "echo $'", "'"),
            (Language::Shell, "echo \"`", "`\""),
            // What is left open.
            (Language::Python, "x = \"", "\n\""),
            (Language::Python, "x = \"", ""),
            (Language::Shell, "echo \"", ""),
            (Language::Shell, "echo \"$(echo ", ")"),
            (Language::Shell, "echo $(", ""),
            (Language::Shell, "echo ", ")"),
            (Language::Sql, "SELECT '", ";"),
        ] {
            check_template(language, before, after);
        }
    }

    #[test]
    fn languages_are_found_by_their_names() {
        for language in Language::ALL {
            assert_eq!(Language::named(language.name()), Some(language));
        }
        assert_eq!(Language::named("cobol"), None);
    }
}
