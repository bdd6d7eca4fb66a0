//! Values in texts of other languages: HTML, shells, Python, JSON. Pure.

use std::fmt::Write as _;

/// A text as HTML, in an element or in a quoted attribute.
pub(super) fn html(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

/// A text as one word of a shell.
pub(super) fn shell(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:=@%,".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A text as a literal of Python, of JSON and of jq: what JSON escapes, the others read alike.
pub(super) fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `template` with the values of the names that stand in it as `@name@`. A value is not looked through again,
/// and an `@` that begins no such name stays.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('@') {
        filled.push_str(before);
        let named = after.split_once('@').and_then(|(name, rest)| {
            let (_, value) = values.iter().find(|(other, _)| *other == name)?;
            Some((*value, rest))
        });
        rest = match named {
            Some((value, rest)) => {
                filled.push_str(value);
                rest
            }
            None => {
                filled.push('@');
                after
            }
        };
    }
    filled.push_str(rest);
    filled
}

/// `10,000`
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `5,368,709,120 bytes (5 GiB)`; the larger unit only where it is exact.
pub(super) fn bytes(count: u64) -> String {
    let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let exact = units.into_iter().find(|(unit, _)| count >= *unit && count.is_multiple_of(*unit));
    let mut text = format!("{} bytes", number(count));
    if let Some((unit, name)) = exact
        && let Some(units) = count.checked_div(unit)
    {
        // Writing to a text does not fail.
        let _ = write!(text, " ({} {name})", number(units));
    }
    text
}

/// `24 hours`, `20 minutes`, `90 seconds`: the largest unit that is exact.
pub(super) fn duration(seconds: u64) -> String {
    let (count, unit) = match seconds {
        seconds if seconds >= 3600 && seconds.is_multiple_of(3600) => (seconds / 3600, "hour"),
        seconds if seconds >= 60 && seconds.is_multiple_of(60) => (seconds / 60, "minute"),
        seconds => (seconds, "second"),
    };
    format!("{} {unit}{}", number(count), if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_is_not_looked_through_again() {
        let values = [("a", "@b@"), ("b", "B")];
        for (template, filled) in [
            ("", ""),
            ("@a@@b@", "@b@B"),
            ("x@a@y", "x@b@y"),
            ("@c@ @", "@c@ @"),
            ("mail@b@host", "mailBhost"),
            ("@media (x) { @b@ }", "@media (x) { B }"),
        ] {
            assert_eq!(fill(template, &values), filled, "{template}");
        }
    }

    #[test]
    fn a_value_stays_one_value() {
        let hostile = "\"';$(x)`y`\\<b>&\n";
        assert_eq!(html(hostile), "&quot;&apos;;$(x)`y`\\&lt;b&gt;&amp;\n");
        assert_eq!(shell(hostile), "'\"'\\'';$(x)`y`\\<b>&\n'");
        assert_eq!(literal(hostile), r#""\"';$(x)`y`\\<b>&\n""#);
        for (text, word) in
            [("", "''"), ("a b", "'a b'"), ("https://s3.example.com/a", "https://s3.example.com/a")]
        {
            assert_eq!(shell(text), word);
        }
    }

    #[test]
    fn numbers_are_written_for_people() {
        for (value, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (110_000, "110,000"), (5 << 30, "5,368,709,120")]
        {
            assert_eq!(number(value), text);
        }
        for (value, text) in [
            (0, "0 bytes"),
            (1000, "1,000 bytes"),
            (1024, "1,024 bytes (1 KiB)"),
            (3 << 29, "1,610,612,736 bytes (1,536 MiB)"),
        ] {
            assert_eq!(bytes(value), text);
        }
        for (value, text) in [
            (1, "1 second"),
            (90, "90 seconds"),
            (1200, "20 minutes"),
            (3600, "1 hour"),
            (86_400, "24 hours"),
        ] {
            assert_eq!(duration(value), text);
        }
    }
}
